"""What `mirror status` tells, from a store put into known states."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from test_ingest import LATER, PROJECT, node, put
from test_projects import bury, put_project

from mirror import instants
from mirror.errors import NotMirrored
from mirror.ingest import tombstone_runs
from mirror.status import ProjectStatus, status
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import lease


def say(store: Store, project_id: str = PROJECT, **state: Any) -> None:
    with store.begin() as tx:
        tx.upsert_all(tables.sync_state, [{"project_id": project_id, "stage": "runs", **state}])


@pytest.fixture
def filled(store: Store) -> Store:
    put_project(store, int(PROJECT), "ent/proj")
    put(store, *(node(name) for name in "abcd"), node("e", state="running"), node("f"))
    with store.begin() as tx:
        tombstone_runs(tx, PROJECT, ["a", "b"], at=LATER)
        tombstone_runs(tx, PROJECT, ["c"], at=LATER, column="out_of_selection_at")
    return store


def one(store: Store) -> ProjectStatus:
    (found,) = status(store).projects
    return found


def test_runs_are_counted_by_what_became_of_them(filled: Store) -> None:
    found = one(filled)
    assert (found.path, found.runs, found.unfinished) == ("ent/proj", 3, 1)
    assert (found.tombstones, found.out_of_selection, found.quarantined) == (2, 1, 0)


def test_a_project_never_synced_is_not_fresh(filled: Store) -> None:
    found = one(filled)
    assert (found.synced_at, found.age_s, found.complete) == (None, None, False)
    assert status(filled).stale(1e12) == [found]


def test_freshness_is_the_age_of_the_last_sync(filled: Store) -> None:
    now = instants.now()
    say(filled, synced_at=now, walk_complete_at=now)
    found = one(filled)
    assert found.complete
    assert found.age_s is not None
    assert 0 <= found.age_s < 60
    assert status(filled).stale(3600) == []
    say(filled, synced_at="2020-01-01T00:00:00Z")
    assert [each.path for each in status(filled).stale(3600)] == ["ent/proj"]


@pytest.mark.parametrize(
    ("state", "behind"),
    [
        pytest.param({}, None, id="the server never counted"),
        pytest.param({"server_count": 3}, 0, id="all there"),
        pytest.param({"server_count": 10}, 7, id="some missing"),
        pytest.param({"server_count": 5, "count_difference": 2}, 0, id="the rest is explained"),
        pytest.param({"server_count": 1}, 0, id="never below nothing"),
    ],
)
def test_what_is_missing_is_told(filled: Store, state: dict[str, int], behind: int | None) -> None:
    say(filled, **state)
    assert one(filled).behind == behind


def test_quarantine_and_errors_are_told(filled: Store) -> None:
    row = {"project_id": PROJECT, "name": "bad", "since": LATER, "tries": 1, "next_try_at_us": 0, "error": "502"}  # fmt: skip
    with filled.begin() as tx:
        tx.upsert_all(tables.quarantine, [row])
    say(filled, last_error="the server failed", last_error_at=LATER, missed=4)
    found = one(filled)
    assert (found.quarantined, found.missed) == (1, 4)
    assert (found.last_error, found.last_error_at) == ("the server failed", LATER)


def test_a_deleted_project_is_listed_and_not_stale(filled: Store) -> None:
    bury(filled, PROJECT)
    assert one(filled).deleted_at is not None
    assert status(filled).stale(1) == []


def test_one_project_can_be_asked_for(filled: Store) -> None:
    put_project(filled, 7, "ent/other")
    assert [each.path for each in status(filled).projects] == ["ent/other", "ent/proj"]
    assert [each.path for each in status(filled, path="ent/proj").projects] == ["ent/proj"]
    with pytest.raises(NotMirrored):
        status(filled, path="ent/nope")


def test_who_holds_the_lease_is_told(filled: Store) -> None:
    assert status(filled).holder is None
    with lease.held(filled):
        assert "since" in str(status(filled).holder)
    assert status(filled).holder is None


def test_the_last_syncs_are_told_newest_first(filled: Store) -> None:
    with filled.begin() as tx:
        for i in range(7):
            report = json.dumps({"runs": i})
            entry = {"started_at": f"2026-01-0{i + 1}", "path": "ent/proj", "outcome": "ok", "report": report}  # fmt: skip
            tx.execute(sa.insert(tables.sync_log).values(entry))
    found = status(filled, syncs=3).syncs
    assert [each.report["runs"] for each in found] == [6, 5, 4]
    assert status(filled, path="ent/proj", syncs=1).syncs[0].started_at == "2026-01-07"


def test_an_empty_store_has_a_status(store: Store) -> None:
    found = status(store)
    assert (found.projects, found.syncs, found.holder) == ([], [], None)
    assert found.size_bytes > 0
    json.dumps(found.to_dict())
