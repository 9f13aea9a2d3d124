"""A world, its server, and a sync of it into a store of either engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from worlds import KEY, PATH

from mirror.config import resolve
from mirror.sandbox import Server, World
from mirror.store.store import Store
from mirror.sync import SyncReport, sync

ARTIFACT_FILES = ("test_artifacts.py", "test_aliases.py", "test_older_servers.py")
ARTIFACT_CASES = (
    "first_sync", "alias that moves", "is deleted and one", "comes_back", "registry",
    "change places", "follow_what_moves[postgresql-neither-unknown",
)  # fmt: skip
"""Of the tests of artifacts, those that run on PostgreSQL by default; the others do in CI."""

Mirror = Callable[..., SyncReport]


@pytest.fixture
def world() -> World:
    made = World()
    made.add_user("alice", key=KEY, entity="alice", teams=["team"])
    made.add_project("team", "vision")
    return made


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with Server(world, port=0) as running:
        yield running


@pytest.fixture
def mirror(server: Server, store: Store, tmp_path) -> Mirror:
    """Run one sync of PATH into the store; keyword arguments go to `sync`."""
    config = resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)

    def run(paths: Any = (PATH,), **options: Any) -> SyncReport:
        return sync(list(paths), store=store, config=options.pop("config", config), **options)

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The whole table of events runs in CI; by default, what differs most, and once PostgreSQL."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        artifacts = any(name in item.nodeid for name in ARTIFACT_FILES)
        if artifacts and "postgresql" in item.nodeid:
            if not any(part in item.nodeid for part in ARTIFACT_CASES):
                item.add_marker(pytest.mark.slow)
            continue
        if (
            callspec is None
            or "test_events.py" not in item.nodeid
            or "event" not in callspec.params
        ):
            continue
        character, size = callspec.params["world"], callspec.params.get("size", 260)
        sqlite = "sqlite" in callspec.id
        kept = {"trustworthy": size == 30 or sqlite, "frozen": sqlite and size == 260}
        if not kept.get(character, False):
            item.add_marker(pytest.mark.slow)
