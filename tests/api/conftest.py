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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is read through is the same on both engines; all of it on PostgreSQL runs in CI."""
    for item in items:
        if "test_artifact_reading.py" not in item.nodeid or "postgresql" not in item.nodeid:
            continue
        if "is_found_offline_and_nothing_else" not in item.nodeid:
            item.add_marker(pytest.mark.slow)
