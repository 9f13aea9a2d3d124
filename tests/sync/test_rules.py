"""The engine's smaller rules: trust, tombstones, selection, identity, rolling re-reads, stopping."""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3

import pytest
import sqlalchemy as sa
from worlds import KEY, PATH, add_runs, differences

from mirror.config import ProjectSettings, resolve
from mirror.errors import StoreBusy, StoreError
from mirror.sandbox import World
from mirror.settings import KINDS
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import plan, state, sync, verify
from mirror.sync.lease import held


@pytest.fixture
def config(server, tmp_path):
    return resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)


def project_id(world: World, path: str = PATH) -> str:
    return str(world.project(path).internal_number)


# ------------------------------------------------------------------ trust in updatedAt


@pytest.mark.parametrize(
    ("character", "trust"),
    [("trustworthy", "trusted"), ("frozen", "trusted"), ("unfilterable", "unfilterable")],
)
def test_updated_at_is_proven_to_filter_before_it_is_used(character, trust, world, mirror, store):
    world.updated_at = character
    add_runs(world, 10)
    mirror()
    assert state.load(store, project_id(world))["updated_at_trust"] == trust


def test_a_server_that_fails_at_a_filter_by_updated_at_is_not_asked_each_round(world, mirror):
    world.updated_at, world.unfilterable = "unfilterable", "fail"
    add_runs(world, 260)
    assert mirror().failures == {}
    before = len(world.requests)
    report = mirror()
    assert [one.status for one in list(world.requests)[before:]] == [200] * report.requests
    assert report.requests <= 4


def test_an_edit_that_left_updated_at_where_it_was_revokes_its_trust(world, mirror, store):
    world.updated_at = "frozen"
    add_runs(world, 10)
    mirror()
    world.edit(PATH, "run00003", tags=["late"])
    report = mirror(reconcile=True)
    assert report.counts["missed"] == 1
    found = state.load(store, project_id(world))
    assert found["updated_at_trust"] == "frozen"
    assert found["missed"] == 1


# ------------------------------------------------------------------ tombstones


def test_more_than_a_fifth_missing_waits_for_a_word(world, mirror, store):
    add_runs(world, 30)
    mirror()
    for number in range(10):
        world.delete(PATH, f"run{number:05d}")
    report = mirror()
    assert report.counts["tombstoned"] == 0
    assert report.exit_code == 3
    assert "--reconcile --yes" in report.projects[0].warnings[0]
    assert mirror(reconcile=True, yes=True).counts["tombstoned"] == 10
    assert differences(world, store) == []


def test_a_run_missing_from_one_listing_and_returned_by_name_is_not_tombstoned(
    world, mirror, store
):
    add_runs(world, 30)
    mirror()
    world.run(PATH, "run00003").hidden = True  # gone from the listing only
    world.project(PATH).touch(members=True)
    world.on_page("runs", 2, lambda w: setattr(w.run(PATH, "run00003"), "hidden", False))
    assert mirror().counts["tombstoned"] == 0
    assert differences(world, store) == []


def test_tombstones_keep_their_rows_and_say_when(world, mirror, store):
    add_runs(world, 10)
    mirror()
    world.delete(PATH, "run00003")
    mirror()
    c = tables.runs.c
    row = store.one(sa.select(c.live, c.deleted_at).where(c.name == "run00003"))
    assert row["live"] == 0
    assert row["deleted_at"] is not None


# ------------------------------------------------------------------ selection


def with_filter(config, filters):
    return dataclasses.replace(config, projects=((PATH, ProjectSettings(filters=filters)),))


def test_a_run_filter_mirrors_only_what_it_takes(world, mirror, store, config):
    add_runs(world, 20)
    report = mirror(config=with_filter(config, {"tags": "base"}))
    assert report.counts["new"] == 10
    assert state.live_count(store, project_id(world)) == 10


def test_a_run_that_left_the_selection_is_not_called_deleted(world, mirror, store, config):
    add_runs(world, 20)
    only = with_filter(config, {"tags": "base"})
    mirror(config=only)
    world.edit(PATH, "run00001", tags=[])
    report = mirror(config=only)
    assert (report.counts["tombstoned"], report.counts["out_of_selection"]) == (0, 1)
    assert state.live_count(store, project_id(world)) == 9


def test_a_wider_selection_brings_the_rest(world, mirror, store, config):
    add_runs(world, 20)
    mirror(config=with_filter(config, {"tags": "base"}))
    assert mirror().exit_code == 0
    assert differences(world, store) == []


# ------------------------------------------------------------------ identity


def test_a_new_project_under_an_old_name_does_not_inherit_its_runs(world, mirror, store):
    add_runs(world, 10)
    mirror()
    world.delete_project(PATH)
    world.add_project("team", "vision")
    add_runs(world, 3, first=100)
    assert mirror().exit_code == 0
    assert differences(world, store) == []


def test_a_swap_of_names_leaves_both_projects_whole(world, mirror, store):
    add_runs(world, 10)
    mirror()
    world.rename_project(PATH, "old")
    world.add_project("team", "vision")
    add_runs(world, 4, first=100)
    mirror([PATH, "team/old"])
    assert differences(world, store) == []
    assert differences(world, store, "team/old") == []


def test_globs_take_what_they_match_and_say_what_they_do_not(world, mirror, store):
    world.add_project("team", "audio")
    add_runs(world, 3)
    report = mirror(["team/*", "team/nothing-*"])
    assert sorted(p.path for p in report.projects) == ["team/audio", "team/vision"]
    assert "team/nothing-*" in report.failures
    assert report.exit_code == 3


# ------------------------------------------------------------------ documents that leave no trace


def test_documents_unread_for_long_are_read_again(world, mirror, store, config):
    world.updated_at = "frozen"
    add_runs(world, 20)
    daily = dataclasses.replace(config, sync=dataclasses.replace(config.sync, reread_days=7))
    mirror(config=daily)
    world.edit(PATH, "run00003", config={"lr": 42})
    with store.begin() as tx:  # a week passes
        tx.execute(sa.update(tables.runs).values(read_at_us=1))
        tx.execute(sa.update(tables.sync_state).values(reconciled_at="2024-01-01T00:00:00Z"))
    report = mirror(config=daily)
    assert report.counts["reread"] == 20
    assert differences(world, store) == []


# ------------------------------------------------------------------ rounds


def test_a_round_told_to_stop_ends_after_its_page_and_the_next_goes_on(
    world, mirror, store, config
):
    add_runs(world, 120)
    small = dataclasses.replace(
        config, sync=dataclasses.replace(config.sync, page_size=20, page_size_max=20)
    )
    asked = itertools.count()
    report = mirror(config=small, stopping=lambda: next(asked) > 2)
    assert report.exit_code == 3
    assert 0 < state.live_count(store, project_id(world)) < 120
    assert mirror(config=small).exit_code == 0
    assert differences(world, store) == []


def test_a_round_told_to_stop_does_not_sit_out_the_servers_wait(world, mirror, store, config):
    add_runs(world, 120)
    world.fail("runs", status=429, retry_after=100, skip=2)
    small = dataclasses.replace(
        config, sync=dataclasses.replace(config.sync, page_size=20, page_size_max=20)
    )

    report = mirror(
        config=small, stopping=lambda: any(item.status == 429 for item in list(world.requests))
    )
    assert report.exit_code == 3
    assert "goes on from there" in report.failures[PATH]


def test_a_second_sync_is_told_who_holds_the_store(world, mirror, store):
    with held(store), pytest.raises(StoreBusy, match="another sync holds this store"):
        mirror()


def test_several_projects_sync_in_one_round(world, mirror, store):
    for number in range(5):
        world.add_project("team", f"p{number}")
        add_runs(world, 15, path=f"team/p{number}")
    report = mirror(["team/p*"])
    assert report.exit_code == 0
    for number in range(5):
        assert differences(world, store, f"team/p{number}") == []


# ------------------------------------------------------------------ plan and verify


def test_a_plan_writes_nothing_and_says_what_would_come(world, server, tmp_path):
    add_runs(world, 250)
    path = tmp_path / "none.db"
    made = plan([PATH], store=path, base_url=server.url, api_key=KEY)
    assert not path.exists()
    assert made.runs == 250
    done = sync([PATH], store=path, base_url=server.url, api_key=KEY)
    assert abs(made.requests - done.requests) <= 5
    assert 0.5 < made.bytes / done.bytes < 2
    after = plan([PATH], store=path, base_url=server.url, api_key=KEY)
    assert after.runs == 0


def _newer(path):
    Store.open(path, create=True, upgrade=True).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()


def _foreign(path):
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE films (title TEXT)")
    raw.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_text("notes " * 100), "is not a SQLite database"),
        (_foreign, "is a database of something else"),
        (_newer, "it was written by a newer mirror"),
    ],
)
def test_a_plan_is_refused_where_the_sync_would_be(make, said, world, server, tmp_path):
    make(tmp_path / "m.db")
    with pytest.raises(StoreError, match=said):
        plan([PATH], store=tmp_path / "m.db", base_url=server.url, api_key=KEY)


def test_an_empty_file_is_planned_as_a_first_sync(world, server, tmp_path):
    add_runs(world, 5)
    path = tmp_path / "m.db"
    path.touch()
    (made,) = plan([PATH], store=path, base_url=server.url, api_key=KEY).projects
    assert (made.kind, made.runs) == ("first", 5)


def test_a_first_sync_reads_and_counts_every_run_once(world, mirror, store):
    add_runs(world, 2600, ties=1)
    report = mirror()
    assert report.counts["new"] == 2600
    assert report.counts["runs"] <= 2602  # the border of two pages is in both
    k = tables.run_keys.c
    most = store.one(sa.select(sa.func.max(k.count).label("n")))
    assert most["n"] <= 2602
    assert differences(world, store) == []


@pytest.mark.parametrize("deep", [False, True])
def test_verify_finds_nothing_after_a_sync_and_writes_nothing(deep, world, mirror, store, config):
    add_runs(world, 30)
    mirror()
    assert verify([PATH], deep=deep, store=store, config=config) == []


def test_verify_makes_no_store(server, tmp_path):
    with pytest.raises(StoreError, match="there is no store at"):
        verify([PATH], store=tmp_path / "new.db", base_url=server.url, api_key=KEY)
    assert list(tmp_path.iterdir()) == []


def test_verify_names_every_kind_of_difference(world, mirror, store, config):
    add_runs(world, 30)
    mirror()
    world.updated_at = "frozen"  # so that only a look at the text can tell
    world.edit(PATH, "run00001", config={"lr": 9})
    world.edit(PATH, "run00002", tags=["x"])
    world.delete(PATH, "run00003")
    world.add_run(PATH, name="late0001", created_at="2023-06-01T00:00:00Z")
    found = {(d.kind, d.name) for d in verify([PATH], deep=True, store=store, config=config)}
    assert found == {
        ("document", "run00001"),
        ("stale", "run00002"),
        ("extra", "run00003"),
        ("missing", "late0001"),
    }


def test_verify_takes_no_run_for_extra_that_slipped_between_two_pages(world, mirror, store, config):
    for number in range(10):
        world.add_run(PATH, name=f"tie{number}", created_at="2023-06-01T00:00:00Z")
    mirror()
    world.page_cap = 4
    gone = ("tie0", "tie9")  # one of them stood on the first page, so that another slips

    def delete(now: World) -> None:
        for name in gone:
            now.delete(PATH, name)

    world.on_page("runs", 3, delete)  # the second lists from the time that the first ended at
    found = [d.name for d in verify([PATH], store=store, config=config) if d.kind == "extra"]
    assert set(found) <= set(gone)


@pytest.mark.parametrize("take", [(), ("files",), KINDS])
def test_only_the_kinds_that_are_taken_are_asked_for(config, store, world, take):
    chosen = dataclasses.replace(config, projects=((PATH, ProjectSettings(take=take)),))
    add_runs(world, 3)
    report = sync([PATH], store=store, config=chosen)
    assert report.exit_code == 0
    asked = {
        "reports": world.requests.count("MirrorProjectKinds"),
        "team": world.requests.count("MirrorTeam"),
        "artifacts": world.requests.count("MirrorArtifactPulse"),
    }
    assert {name for name, count in asked.items() if count} == set(take) - {"files"}
    kept = {row["kind"] for row in store.rows(sa.select(tables.objects.c.kind).distinct())}
    assert ("file_list" in kept) == ("files" in take)
