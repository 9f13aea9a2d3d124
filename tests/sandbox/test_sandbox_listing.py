"""The fast listing of runs answers as the plain matcher does, for any filter, order and change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.sandbox import World
from mirror.sandbox.listing import Listings
from mirror.sandbox.matcher import FilterError, compile_filter, compile_order
from mirror.sandbox.objects import RunDocument

PATH = "team/vision"
TIMES = [f"2024-01-0{day}T00:00:0{second}Z" for day in (1, 2, 3) for second in (0, 0, 1)]


def small_world() -> World:
    """Twenty-seven runs that tie on creation, some without a heartbeat, some deleted."""
    world = World("2024-02-01T00:00:00Z")
    world.add_user("alice", key="a" * 40, teams=["team"])
    world.add_project("team", "vision")
    for index in range(27):
        world.add_run(
            PATH,
            name=f"run{index * 7 % 27:02}",
            config={"lr": [0.1, "0.1", None][index % 3], "n": index % 4},
            summary={"loss": [1, float("nan"), 0.5, True, None][index % 5]},
            state="running" if index % 9 == 0 else "finished",
            tags=["best"] if index % 2 else [],
            created_at=TIMES[index % 9],
            heartbeat_at=None if index % 6 == 5 else TIMES[(index * 5) % 9],
            updated_at=TIMES[(index * 4) % 9],
        )
    world.delete(PATH, "run07")
    return world


def plainly(world: World, filters: Any, order: str) -> list[str]:
    live = [run for run in world.projects[PATH].runs.values() if run.deleted_at is None]
    test, sort = compile_filter(filters), compile_order(order)
    documents = [document for document in map(RunDocument, live) if test(document)]
    return [document.run.name for document in sort(documents)]


TIME_FIELDS = st.sampled_from(
    ["createdAt", "created_at", "heartbeatAt", "heartbeat_at", "updatedAt"]
)
TIME = st.sampled_from(
    [*TIMES, "2024-01-02", "2024-01-02T00:00:00.5Z", "2023-12-31T23:00:00-01:00"]
)
RANGES = st.dictionaries(
    st.sampled_from(["$gte", "$gt", "$lt", "$lte"]), st.one_of(TIME, st.none()), min_size=1
)
NAMES = st.lists(st.sampled_from([f"run{n:02}" for n in range(29)]), max_size=6)
CONDITIONS = st.one_of(
    st.builds(lambda field, value: {field: value}, TIME_FIELDS, RANGES),
    st.builds(lambda field, value: {field: value}, TIME_FIELDS, st.one_of(TIME, st.none())),
    st.builds(lambda op, names: {"name": {op: names}}, st.sampled_from(["$in", "$nin"]), NAMES),
    st.builds(lambda names: {"name": {"$nin": names, "$gt": "run03"}}, NAMES),
    st.sampled_from(
        [
            {"name": "run03"},
            {"name": {"$ne": "run03"}},
            {"state": "running"},
            {"config.n": {"$gte": 2}, "tags": "best"},
            {"$or": [{"config.lr": None}, {"summary_metrics.loss": {"$gt": 0}}]},
            {"$nor": [{"createdAt": {"$gte": "2024-01-02"}}]},
        ]
    ),
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda parts: st.builds(
        lambda several: {"$and": several}, st.lists(parts, min_size=1, max_size=3)
    ),
    max_leaves=5,
).flatmap(lambda one: st.one_of(st.just(one), CONDITIONS.map(lambda other: {**one, **other})))
ORDERS = st.sampled_from(
    [
        "+created_at", "-created_at", "-createdAt", "+heartbeat_at", "-heartbeatAt", "-updated_at",
        "-summary_metrics.loss", "+config.lr", "name", "-created_at,+name", "+heartbeat_at,-name",
        "state,-heartbeat_at",
    ]
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.tuples(FILTERS, ORDERS), min_size=1, max_size=3))
def test_a_listing_equals_the_matcher(asked: list[tuple[Any, str]]) -> None:
    world = small_world()
    listings = Listings(world.projects[PATH])
    for step in range(3):
        for filters, order in asked:
            found = [run.name for run in listings.runs(json.dumps(filters), order)]
            assert found == plainly(world, filters, order)
            assert listings.count(json.dumps(filters)) == len(found)
        # Answers that were kept must not outlive a change.
        if step == 0:
            world.edit(PATH, "run03", tags=[], config={"n": 3}, created_at="2024-01-09T00:00:00Z")
            world.delete(PATH, "run05")
        elif step == 1:
            world.undelete(PATH, "run05")
            world.heartbeat(PATH, "run04")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"config.x": NaN}',
        '{"createdAt": {"$gte": 5}}',
        '{"createdAt": {"$gte": "yesterday"}}',
        '{"nonsense": 1}',
        '{"$and": {"name": "x"}}',
        '{"name": {"$in": "x"}}',
    ],
)
def test_a_bad_filter_is_refused(text: str) -> None:
    world = small_world()
    with pytest.raises(FilterError):
        Listings(world.projects[PATH]).runs(text, None)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            "method: bayes\nmetric:\n  goal: maximize\n  name: val/acc\n",
            ("bayes", "val/acc", False),
        ),
        (
            '{"method": "grid", "metric": {"name": "loss", "goal": "minimize"}}',
            ("grid", "loss", True),
        ),
        ("parameters:\n  lr:\n    values: [1]\n", ("random", None, True)),
    ],
)
def test_a_sweep_takes_method_and_metric_from_its_config(
    config: str, expected: tuple[Any, ...]
) -> None:
    sweep = small_world().add_sweep(PATH, "abc", config=config)
    assert (sweep.method, sweep.metric, sweep.minimize) == expected
