"""A server for a test's own `world`, and settings for a store of either engine that mirrors it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.config import Config, resolve
from mirror.sandbox import Server, World
from mirror.store.store import Store

KEY = "a1b2c3d4e5" * 4


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with Server(world) as running:
        yield running


@pytest.fixture
def config(server: Server, store_url: str, store: Store, tmp_path: Path) -> Config:
    """Settings for a store that holds nothing yet."""
    return resolve(store=store_url, base_url=server.url, api_key=KEY, environ={}, cwd=tmp_path)
