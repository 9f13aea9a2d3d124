"""Complete after one sync, whatever happened in between: events × characters of `updatedAt`."""

from __future__ import annotations

import pytest
from worlds import KEY, PATH, add_runs, differences

from mirror.sandbox import World

SMALL, LARGE = 30, 260  # below and above the size that is reconciled every time

# event → what happens to the world between two syncs, by somebody who did not tell us
EVENTS = {
    "tags edited after the end": lambda w: w.edit(PATH, "run00003", tags=["late", "ünïcode"]),
    "notes edited after the end": lambda w: w.edit(PATH, "run00003", notes="looked again"),
    "renamed after the end": lambda w: w.edit(PATH, "run00003", display_name="better name"),
    "group changed after the end": lambda w: w.edit(PATH, "run00003", group="g2"),
    "config edited after the end": lambda w: w.edit(PATH, "run00003", config={"lr": 9}),
    "summary edited after the end": lambda w: w.edit(PATH, "run00003", summary={"loss": -1}),
    "deleted": lambda w: w.delete(PATH, "run00003"),
    "several deleted": lambda w: [w.delete(PATH, f"run{i:05d}") for i in (0, 7, 29)],
    "arrived late with an old creation time": lambda w: w.add_run(
        PATH, name="late0001", created_at="2023-06-01T00:00:00Z"
    ),
    "one deleted and one arrived late": lambda w: (
        w.delete(PATH, "run00003"),
        w.add_run(PATH, name="late0001", created_at="2023-06-01T00:00:00Z"),
    ),
    "created now": lambda w: w.add_run(PATH, name="new00001", state="running"),
    "a tie on the newest second": lambda w: w.add_run(
        PATH, name="tie00001", created_at=max(r.created_at for r in w.project(PATH).runs.values())
    ),
    "resumed": lambda w: w.resume(PATH, "run00003", summary={"loss": 2}),
    "resumed and ended again": lambda w: (
        w.resume(PATH, "run00003", summary={"loss": 2}),
        w.finish(PATH, "run00003", summary={"loss": 3}),
    ),
}
BALANCED = "one deleted and one arrived late"  # the counts agree, and no time moved
DOCUMENTS = ("config edited after the end", "summary edited after the end")


@pytest.fixture(params=["trustworthy", "unfilterable", "ignored", "frozen"])
def world(request) -> World:
    """The world by the character of its `updatedAt`."""
    character = "unfilterable" if request.param == "ignored" else request.param
    ignore = "ignore" if request.param == "ignored" else "error"
    made = World(updated_at=character, unfilterable=ignore)
    made.add_user("alice", key=KEY, entity="alice", teams=["team"])
    made.add_project("team", "vision")
    return made


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("event", EVENTS)
def test_the_mirror_is_equal_at_the_latest_after_the_reconcile_promised(
    event, size, world, mirror, store
):
    add_runs(world, size)
    assert mirror().exit_code == 0
    assert differences(world, store) == []
    world.advance(3600)
    EVENTS[event](world)
    report = mirror()
    assert report.exit_code == 0, report
    if differences(world, store):
        # Only what leaves no trace in times or counts may wait for the reconcile.
        assert any(word in event for word in ("edited", "renamed", "changed", BALANCED))
        assert size > 200 or event in DOCUMENTS
        mirror(reconcile=True)
    if differences(world, store):
        assert world.updated_at == "frozen"
        assert event in DOCUMENTS
        mirror(full=True)
    assert differences(world, store) == []


def test_a_deletion_undone_is_a_run_again(world, mirror, store):
    add_runs(world, LARGE)
    mirror()
    world.delete(PATH, "run00003")
    assert mirror().counts["tombstoned"] == 1
    assert differences(world, store) == []
    world.undelete(PATH, "run00003")
    assert mirror().counts["revived"] == 1
    assert differences(world, store) == []


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lambda w: w.delete(PATH, "run00001"), id="deleted before the page"),
        pytest.param(lambda w: w.delete(PATH, "run00250"), id="deleted behind the page"),
        pytest.param(
            lambda w: w.add_run(PATH, name="late0001", created_at="2023-06-01T00:00:00Z"),
            id="arrived before the page",
        ),
        pytest.param(lambda w: w.add_run(PATH, name="new00001", state="running"), id="created"),
        pytest.param(
            lambda w: [w.delete(PATH, f"run{i:05d}") for i in range(90, 110)],
            id="the border deleted",
        ),
    ],
)
def test_changes_between_two_pages_of_the_first_listing_lose_nothing(
    event, page, world, mirror, store
):
    add_runs(world, LARGE)
    world.on_page("runs", page, event)
    assert mirror().exit_code == 0
    mirror()
    assert differences(world, store) == []


def test_a_project_renamed_is_found_again_and_keeps_its_runs(world, mirror, store):
    add_runs(world, SMALL)
    mirror()
    world.rename_project(PATH, "vision2")
    report = mirror()
    assert report.exit_code == 0, report
    assert differences(world, store, "team/vision2") == []
    assert report.counts["runs"] <= SMALL


def test_a_project_that_is_gone_tombstones_nothing(world, mirror, store):
    add_runs(world, SMALL)
    mirror()
    world.delete_project(PATH)
    report = mirror()
    assert report.exit_code == 1
    assert "team/vision" in report.failures[PATH]
    assert report.counts["tombstoned"] == 0
