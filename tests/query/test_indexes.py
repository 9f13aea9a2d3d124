"""Value indexes: they serve, they never change an answer, and they come and go while others read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from judge import answer
from runs import put

from mirror import indexes
from mirror.errors import QueryError
from mirror.explain import explain
from mirror.query_log import QueryLog
from mirror.reads import RunQuery
from mirror.store import tables
from mirror.store.store import Store


def run(i: int, /, **config: Any) -> dict[str, Any]:
    created = f"2024-01-01T00:{i // 60:02d}:{i % 60:02d}"
    return {"name": f"r{i:04d}", "state": "finished", "created_at": created, "config": config}


LRS: list[Any] = [
    0.1,
    5,
    "Infinity",
    "NaN",
    "a",
    None,
    True,
    {"a": 1},
    1e-5,
    "-Infinity",
    False,
    2**62,
]
RUNS = [run(i, lr=LRS[i % len(LRS)], i=i) for i in range(60)]
ORDERS = ("+config.lr", "-config.lr", "-config.lr,+config.i", "+config.i", "-config.i", None)
FILTERS: list[dict[str, Any]] = [
    {}, {"config.lr": 5}, {"config.lr": {"$gt": 0.05}}, {"config.lr": {"$lte": 5}}, {"config.lr": None},
    {"config.lr": {"$ne": "a"}}, {"config.lr": {"$exists": False}}, {"config.lr": {"$in": [5, "a", None, True]}},
    {"config.lr": {"$regex": "^I"}}, {"config.lr": {"$contains": "N"}}, {"config.lr": {"a": 1}},
    {"config.lr": {"$gte": "Infinity"}}, {"config.lr": {"$nin": ["NaN", 0.1]}}, {"config.lr": {"$lt": float("inf")}},
    {"config.lr": "NaN"}, {"config.i": {"$lt": 7}, "config.lr": {"$gt": 1}}, {"config.lr": {"$lt": "b"}},
    {"$or": [{"config.lr": 5}, {"config.i": {"$gt": 50}}]}, {"$nor": [{"config.lr": True}, {"config.i": 3}]},
    {"state": "finished", "config.i": {"$gte": 55}}, {"config.i": {"$in": list(range(0, 60, 5))}},
]  # fmt: skip


def check(store: Store, runs: list[dict[str, Any]]) -> None:
    for filters in FILTERS:
        for order in ORDERS:
            query = RunQuery(store, "p", filters, order)
            wanted = answer(runs, filters, order)
            first = [row.name for row in query.page(7)[0]]
            assert (query.names(), query.count(), first) == (wanted, len(wanted), wanted[:7]), (filters, order)  # fmt: skip


def test_an_index_changes_no_answer(store: Store) -> None:
    put(store, "p", RUNS)
    check(store, RUNS)
    for key in ("config.lr", "config.i"):
        indexes.add(store, key)
        check(store, RUNS)


def test_a_key_that_becomes_a_list_later_is_still_answered(store: Store) -> None:
    indexes.add(store, "config.lr")
    put(store, "p", RUNS)
    later = [run(100, lr=[5, "a", None], i=100), run(101, lr=[], i=101), run(102, lr=[[5]], i=102)]
    put(store, "p", later)
    check(store, RUNS + later)


def test_a_key_whose_parent_becomes_a_list_later_is_still_answered(store: Store) -> None:
    before = [run(i, opt={"lr": i}) for i in range(5)]
    put(store, "p", before)
    indexes.add(store, "config.opt.lr")
    query = RunQuery(store, "p", {"config.opt.lr": {"$gte": 3}})
    assert query.names() == ["r0003", "r0004"]
    put(store, "p", [run(9, opt=[{"lr": 1}, {"lr": 8}])])
    assert query.names() == ["r0003", "r0004", "r0009"]
    assert RunQuery(store, "p", {"config.opt.lr": 1}).names() == ["r0001", "r0009"]


def test_a_flat_key_that_comes_later_is_still_answered(store: Store) -> None:
    put(store, "p", [run(1, opt={"lr": 1})])
    indexes.add(store, "config.opt.lr")
    put(store, "p", [run(2, **{"opt.lr": 1}), run(3, **{"opt.lr": 1, "opt": {"lr": 2}})])
    assert RunQuery(store, "p", {"config.opt.lr": 1}).names() == ["r0001", "r0002"]


def test_long_values_and_many_types_do_not_break_an_index(store: Store) -> None:
    indexes.add(store, "config.lr")
    long = [
        "x" * 5000,
        "x" * 5001,
        "é" * 600,
        "é" * 400,
        list(range(3000)),
        {"k" * 3000: 1},
        "x" * 200,
    ]
    runs = [run(i, lr=value) for i, value in enumerate(long)]
    put(store, "p", runs)
    for value in long:
        for filters in ({"config.lr": value}, {"config.lr": {"$in": [value, 1]}}, {"config.lr": {"$ne": value}}):  # fmt: skip
            assert RunQuery(store, "p", filters).names() == answer(runs, filters)


def test_the_index_serves_ranges_and_orders(store: Store) -> None:
    put(store, "p", [run(i, i=i, lr=i / 7) for i in range(2_000)])
    built = indexes.add(store, "config.i")
    for filters, order in (({"config.i": {"$lt": 20}}, None), ({}, "-config.i"), ({}, "+config.i")):
        found = explain(RunQuery(store, "p", filters, order), limit=10)
        assert found.indexes == [built.name]
        assert found.rows_found == 10
        assert found.rows_examined <= 50


def test_a_walk_goes_on_when_an_index_comes_or_goes_between_pages(store: Store) -> None:
    put(store, "p", RUNS)
    wanted = answer(RUNS, {}, "-config.lr")
    for change in (indexes.add, indexes.drop):
        query = RunQuery(store, "p", {}, "-config.lr")
        rows, after = query.page(25)
        change(store, "config.lr")
        rest, _ = query.page(100, after)
        assert [row.name for row in [*rows, *rest]] == wanted


def test_an_index_is_added_once_listed_and_dropped(store: Store) -> None:
    put(store, "p", RUNS)
    first = indexes.add(store, "config.lr.value")
    assert indexes.add(store, "config.lr") == first
    assert indexes.listed(store) == [first]
    assert (first.field, first.ready) == ("config.lr", True)
    assert indexes.drop(store, "config.lr") == first
    assert indexes.drop(store, "config.lr") is None
    assert indexes.listed(store) == []


def test_the_reading_that_most_runs_have_is_indexed(store: Store) -> None:
    put(store, "p", [run(1, **{"a.b": 1}), run(2, **{"a.b": 2}), run(3, a={"b": 3})])
    assert indexes.add(store, "config.a.b").path == ("a.b",)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("state", "only keys of config and summary_metrics"),
        ("config", "only keys of config and summary_metrics"),
        ("nope", "unknown field"),
        ("config.layers.units", "config.layers is a list in some runs"),
    ],
)
def test_what_cannot_be_indexed_is_refused(store: Store, field: str, said: str) -> None:
    put(store, "p", [run(1, layers=[{"units": 1}])])
    with pytest.raises(QueryError, match=said):
        indexes.add(store, field)


def test_what_an_interrupted_build_left_is_not_used_and_is_built_anew(store: Store) -> None:
    put(store, "p", RUNS)
    built = indexes.add(store, "config.i")
    with store.begin() as tx:
        tx.execute(sa.update(tables.value_indexes).values(ready=0))
    query = RunQuery(store, "p", {"config.i": {"$lt": 5}})
    assert explain(query).indexes != [built.name]
    assert query.count() == 5
    assert indexes.add(store, "config.i").ready
    assert indexes.listed(store)[0].ready


def test_an_index_that_is_gone_from_the_database_is_not_missed(store: Store) -> None:
    put(store, "p", RUNS)
    built = indexes.add(store, "config.i")
    with store.begin() as tx:
        tx.connection.exec_driver_sql(f"DROP INDEX {built.name}")
    assert RunQuery(store, "p", {"config.i": {"$lt": 5}}, "-config.i").count() == 5


def test_readers_read_while_an_index_is_built(
    store: Store, open_store: Callable[..., Store]
) -> None:
    put(store, "p", RUNS)
    with open_store().read() as connection:
        before = connection.execute(sa.select(sa.func.count()).select_from(tables.runs)).scalar()
        if store.backend == "sqlite":  # CONCURRENTLY waits for old transactions, readers do not
            indexes.add(store, "config.i")
        again = connection.execute(sa.select(sa.func.count()).select_from(tables.runs)).scalar()
    assert before == again == len(RUNS)


# ------------------------------------------------------------------ the query log


def test_advice_follows_what_queries_used(store: Store) -> None:
    put(store, "p", RUNS)
    log = QueryLog(lambda: store)
    for _ in range(3):
        RunQuery(store, "p", {"config.i": {"$lt": 5}, "state": "finished"}, log=log).count()
        RunQuery(store, "p", {"config.lr": 5}, "-config.i", log=log).page(5)
    RunQuery(store, "p", {"config.rare": 1}, log=log).count()
    assert indexes.advise(store) == []
    assert log.flush() == 4
    assert log.flush() == 0
    advised = {each.field: (each.uses, each.kinds) for each in indexes.advise(store)}
    assert advised == {"config.i": (6, ("order", "range")), "config.lr": (3, ("equality",))}
    indexes.add(store, "config.i")
    assert [each.field for each in indexes.advise(store)] == ["config.lr"]


def test_counts_add_up_over_processes(store: Store) -> None:
    put(store, "p", RUNS)
    for _ in range(2):
        log = QueryLog(lambda: store)
        for _ in range(2):
            RunQuery(store, "p", {"config.i": 1}, log=log).count()
        log.flush()
    assert [each.uses for each in indexes.advise(store)] == [4]


def test_a_log_that_is_off_notes_nothing(store: Store) -> None:
    put(store, "p", RUNS)
    log = QueryLog(lambda: store, enabled=False)
    RunQuery(store, "p", {"config.i": 1}, log=log).count()
    assert log.flush() == 0
