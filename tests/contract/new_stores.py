"""Empty stores on either engine, for fixtures that outlive a test."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

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
