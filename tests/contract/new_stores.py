"""Empty stores on either engine and settings for them, for fixtures that outlive a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from filled import KEY

from mirror.config import Config, resolve
from mirror.sandbox import Server
from mirror.store.store import Store


def new_store(
    engine: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    stack: ExitStack,
) -> str:
    """Make one; the stack drops it."""
    if engine == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('synced') / 'mirror.db'}"
        Store.open(url, create=True, upgrade=True).close()
        return url
    server = request.getfixturevalue("postgres_server")
    template = request.getfixturevalue("postgres_template")
    new_database = request.getfixturevalue("new_database")
    return stack.enter_context(new_database(server, template=template))


@contextmanager
def new_settings(
    engine: str,
    server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    **told: Any,
) -> Iterator[Config]:
    """Settings for a new store and a server, with nothing of the machine's; the store is dropped at the end."""
    with ExitStack() as stack:
        url = new_store(engine, tmp_path_factory, request, stack)
        yield resolve(store=url, base_url=server.url, api_key=KEY, environ={}, cwd="/", **told)
