"""Idle is cheap, a walk repeats little, and a group of equal times loses nothing."""

from __future__ import annotations

from worlds import PATH, add_runs, differences

from mirror.sandbox import generate

IDLE_REQUESTS, IDLE_BYTES = 4, 64 * 1024


def test_an_idle_sync_of_2000_runs_is_a_few_small_requests(world, mirror, store):
    generate(world, PATH, runs=2000, seed=7)
    first = mirror()
    assert first.exit_code == 0, first
    assert differences(world, store) == []
    idle = mirror()
    assert idle.exit_code == 0
    assert idle.counts["runs"] == 0
    assert idle.requests <= IDLE_REQUESTS, world.requests
    assert idle.bytes <= IDLE_BYTES


def test_a_reconcile_reads_a_thousand_runs_a_request_and_no_documents(world, mirror, store):
    generate(world, PATH, runs=2000, seed=7)
    mirror()
    report = mirror(reconcile=True)
    assert report.counts["runs"] == 0
    assert report.requests <= 2000 / 1000 + 1 + 3  # a border falls into a group: one page more


def test_a_group_of_equal_times_larger_than_a_page_is_mirrored_whole(world, mirror, store):
    add_runs(world, 450, ties=450)
    assert mirror().exit_code == 0
    assert differences(world, store) == []


def test_a_deletion_inside_a_large_group_slips_no_run_through_the_cursor(world, mirror, store):
    add_runs(world, 450, ties=450)
    # Pages of a group go by offset: without a check, five runs would slip below the border.
    world.on_page("runs", 2, lambda w: [w.delete(PATH, f"run{i:05d}") for i in range(5)])
    mirror()
    mirror()
    assert differences(world, store) == []


def test_short_and_empty_pages_do_not_end_a_walk(world, mirror, store):
    add_runs(world, 260)
    for run in list(world.project(PATH).runs.values())[50:180]:
        run.hidden = True
    world.project(PATH).touch(members=True)
    report = mirror()
    assert report.exit_code == 0, report
    assert differences(world, store) == []
    again = mirror()
    assert again.counts["runs"] == 0  # the difference of counts is explained, not chased for ever
