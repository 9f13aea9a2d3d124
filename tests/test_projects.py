"""Which project a path means."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import sqlalchemy as sa

from mirror import projects
from mirror.errors import NotMirrored
from mirror.ingest import ingest_projects
from mirror.store import tables
from mirror.store.store import Store


def put_project(
    store: Store, number: int, path: str, *, created: str = "2024-01-01", **more: Any
) -> str:
    """Store a project as the server would tell of it; return its key."""
    entity, _, name = path.partition("/")
    internal = base64.b64encode(f"ProjectInternalId:{number}".encode()).decode()
    node = {
        "internalId": internal,
        "id": f"global {number}",
        "name": name,
        "entityName": entity,
        "createdAt": created,
    }
    with store.begin() as tx:
        (key,) = ingest_projects(tx, [node | more], synced_at="2026-01-01T00:00:00Z")
    return key


def bury(store: Store, key: str) -> None:
    with store.begin() as tx:
        p = tables.projects
        tx.execute(
            sa.update(p).where(p.c.project_id == key).values(deleted_at="2026-01-02T00:00:00Z")
        )


def test_a_path_means_the_project_of_that_name(store: Store) -> None:
    put_project(store, 1, "ent/one")
    put_project(store, 2, "ent/two")
    put_project(store, 3, "other/one")
    found = projects.find(store, "ent", "one")
    assert (found.project_id, found.path, found.complete) == ("1", "ent/one", False)


def test_a_path_of_two_projects_means_the_newest_live_one(store: Store) -> None:
    put_project(store, 1, "ent/p", created="2024-01-01")
    put_project(store, 2, "ent/p", created="2025-01-01")
    assert projects.find(store, "ent", "p").project_id == "2"
    bury(store, "2")
    assert projects.find(store, "ent", "p").project_id == "1"
    bury(store, "1")
    assert projects.find(store, "ent", "p").project_id == "2"


def test_an_old_path_finds_the_renamed_project(store: Store) -> None:
    put_project(store, 1, "ent/old")
    put_project(store, 1, "ent/new")
    assert projects.find(store, "ent", "old").path == "ent/new"


def test_a_new_project_takes_over_an_old_path(store: Store) -> None:
    put_project(store, 1, "ent/name")
    put_project(store, 1, "ent/renamed")
    put_project(store, 2, "ent/name")
    assert projects.find(store, "ent", "name").project_id == "2"


def test_a_project_never_seen_says_how_to_get_it(store: Store) -> None:
    with pytest.raises(
        NotMirrored, match=r"project 'ent/nope' is not in the mirror.*mirror sync ent/nope"
    ):
        projects.find(store, "ent", "nope")


def test_names_are_compared_exactly(store: Store) -> None:
    put_project(store, 1, "ent/Ünïcode p'roj %")
    assert projects.find(store, "ent", "Ünïcode p'roj %").project_id == "1"
    with pytest.raises(NotMirrored):
        projects.find(store, "ENT", "Ünïcode p'roj %")


def test_all_projects_are_listed_by_path(store: Store) -> None:
    for number, path in ((1, "b/x"), (2, "a/y"), (3, "a/x")):
        put_project(store, number, path)
    assert [each.path for each in projects.every(store)] == ["a/x", "a/y", "b/x"]
