"""What looks like SQL, like a path, like a pattern; what is very long or very deep: the right answer."""

from __future__ import annotations

from typing import Any

import pytest
from judge import answer
from judge import ordered as judged_order
from runs import put

from mirror import indexes
from mirror.errors import QueryError
from mirror.reads import RunQuery
from mirror.store.store import Store

TEXTS = [
    "'; DROP TABLE runs; --", '" OR 1=1 --', "1) OR (1=1", "?", "%s", "%(name)s", ":name", "{y}", "{{y}}",
    "$.a", '$."a"', "$[0]", "a.b", "a'b", 'a"b', "a\\b", "\\", "\\'", "%", "_", "a%", "*", "[^a]",
    "\x00", "a\x00b", "\x01", "\x02", "\x01\x02", "\ud800", "\udfff", "d800", "\ue000", "\uffff",
    "\U0001f600", "NaN", "Infinity", "null", "true", "1", "{}", "[]", "$gt", "x" * 5000, "é", "e\u0301",
]  # fmt: skip
RUNS: list[dict[str, Any]] = [
    {
        "name": f"run{i:02d}",
        "display_name": text,
        "state": "finished",
        "tags": [text, "all"],
        "created_at": f"2024-01-{i % 28 + 1:02d}",
        "config": {text: i, "text": text, "list": [text], "deep": {text: {text: text}}},
        "summary_metrics": {"text": text, "n": i},
    }
    for i, text in enumerate(TEXTS)
]


def key(text: str) -> str:
    return text.replace("\\", "\\\\").replace(".", "\\.")


@pytest.fixture
def hostile(store: Store) -> Store:
    put(store, "p", RUNS)
    put(store, "open", RUNS, catalogue=False)
    return store


def ask(store: Store, filters: Any, order: str | None = None) -> list[str]:
    """Ask with a complete catalogue and an open one; both answers must be the same."""
    names = RunQuery(store, "p", filters, order).names()
    assert RunQuery(store, "open", filters, order).names() == names
    return names


def test_hostile_texts_are_only_texts(hostile: Store) -> None:
    for text in TEXTS:
        for filters in (
            {"display_name": text},
            {"config.text": {"$in": [text, 5]}},
            {"config.text": {"$contains": text}},
            {"config.list": text},
            {"tags": {"$in": [text]}},
            {"tags": {"$contains": text}},
            {"display_name": {"$gte": text}},
            {"config.text": {"$not": {"$lt": text}}},
            {"config.text": {"$ne": text}},
        ):
            assert ask(hostile, filters) == answer(RUNS, filters), (text, filters)


def test_hostile_keys_are_only_keys(hostile: Store) -> None:
    for i, text in enumerate(TEXTS):
        deep = f"config.deep.{key(text)}.{key(text)}"
        for filters in (
            {f"config.{key(text)}": i},
            {f"config.{key(text)}": {"$exists": True}},
            {f"config.{key(text)}": {"$not": {"$gte": 0}}},
            {deep: text},
            {deep: {"$exists": False}},
        ):
            assert ask(hostile, filters) == answer(RUNS, filters), (text, filters)
        order = f"-config.{key(text)}".replace(",", "\\,") + ",summary_metrics.n"
        assert ask(hostile, {}, order) == answer(RUNS, {}, order), order


def test_hostile_keys_can_be_indexed_or_are_refused(hostile: Store) -> None:
    for i, text in enumerate(TEXTS):
        field = f"config.{key(text)}"
        try:
            built = indexes.add(hostile, field)
        except QueryError as error:
            refused = str(error)
            assert hostile.backend == "sqlite"
            assert "SQLite cannot index" in refused
            continue
        assert built.field == field
        assert ask(hostile, {field: {"$gte": i}}) == answer(RUNS, {field: {"$gte": i}})


@pytest.mark.slow
def test_a_list_of_100_000_literals_is_one_bound_value(hostile: Store) -> None:
    many = [*range(7, 100_000), *map(str, range(100_000)), "a'b", True, None, {"a": 1}]
    everyone = [run["name"] for run in judged_order(RUNS, None)]
    quoted = [
        run["name"] for run in judged_order(RUNS, None) if run["display_name"] in ("a'b", "1")
    ]
    high = [run["name"] for run in judged_order(RUNS, None) if run["summary_metrics"]["n"] >= 7]
    for filters, names in (
        ({"summary_metrics.n": {"$in": many}}, high),
        ({"summary_metrics.n": {"$nin": many}}, [n for n in everyone if n not in high]),
        ({"summary_metrics.text": {"$in": many}}, quoted),
        ({"display_name": {"$nin": many}}, [n for n in everyone if n not in quoted]),
        ({"tags": {"$in": many}}, quoted),
    ):
        assert RunQuery(hostile, "p", filters).names() == names


@pytest.mark.parametrize("number", [10**400, -(10**400)], ids=["above", "below"])
def test_an_integer_beyond_all_doubles_equals_nothing_and_has_an_order(
    hostile: Store, number: int
) -> None:
    for column in ("config.text", "config.list", "summary_metrics.n", "tags", "display_name"):
        for test in (
            {"$eq": number},
            {"$ne": number},
            {"$in": [number, 3]},
            {"$all": [number]},
            {"$gt": number},
            {"$lte": number},
        ):
            filters = {column: test}
            assert ask(hostile, filters) == answer(RUNS, filters), filters


@pytest.mark.slow
def test_an_or_of_5_000_entries_is_answered(hostile: Store) -> None:
    same = {"$or": [{"summary_metrics.n": i} for i in range(5, 5_005)]}
    assert ask(hostile, same) == answer(RUNS, same)
    mixed = {"$or": [{f"summary_metrics.k{i}": {"$gt": i}} for i in range(5_000)] + [{"summary_metrics.n": 3}]}  # fmt: skip
    assert ask(hostile, mixed) == ["run03"]
    none = {"$nor": [{"config.text": {"$gt": text}} for text in map(str, range(5_000))]}
    assert RunQuery(hostile, "p", none).names() == answer(RUNS, none)


@pytest.mark.slow
def test_more_literals_than_a_database_takes_are_refused_with_a_remedy(hostile: Store) -> None:
    filters = {"$or": [{"config.text": {"$gt": str(i)}} for i in range(40_000)]}
    with pytest.raises(QueryError, match=r"more than a database takes.*use \$in"):
        RunQuery(hostile, "p", filters).count()


def nested(depth: int, leaf: dict[str, Any], *operators: str) -> dict[str, Any]:
    """Nest so many containers around a leaf, a condition beside each."""
    made = leaf
    while depth > 1:
        operator = operators[depth % len(operators)]
        made = {operator: made} if operator == "$not" else {operator: [made, {"config.list": "é"}]}
        depth -= 1 if operator == "$not" else 2
    return made


@pytest.mark.parametrize(
    "operators", [("$not",), ("$and", "$or"), ("$and", "$nor"), ("$or", "$not", "$and")]
)
def test_ninety_eight_levels_are_answered(hostile: Store, operators: tuple[str, ...]) -> None:
    for leaf in ({"summary_metrics.n": {"$gt": 3}}, {"config.list.0": {"$regex": "a"}}):
        filters = nested(96, leaf, *operators)
        assert ask(hostile, filters) == answer(RUNS, filters)


def test_operators_nested_in_a_field_are_answered(hostile: Store) -> None:
    inner: dict[str, Any] = {"$gt": 3}
    for _ in range(48):
        inner = {"$or": [{"$not": inner}, {"$eq": 1}]} if _ % 2 else {"$not": inner}
    filters = {"summary_metrics.n": inner}
    assert ask(hostile, filters) == answer(RUNS, filters)


def test_the_longest_path_is_answered(hostile: Store) -> None:
    for tail in ("a", "0"):
        filters = {"config.deep." + ".".join([tail] * 28): None}
        assert len(ask(hostile, filters)) == len(RUNS)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y", "(?i)(X+)*é"]
)  # fmt: skip
def test_patterns_that_explode_elsewhere_come_back_at_once(hostile: Store, pattern: str) -> None:
    filters = {"config.text": {"$regex": pattern}}
    assert ask(hostile, filters) == answer(RUNS, filters)


def test_more_distinct_strings_than_are_held_are_streamed(
    hostile: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.plan.MANY", 3)
    filters = {"config.text": {"$regex": "a"}}
    assert ask(hostile, filters) == answer(RUNS, filters)
