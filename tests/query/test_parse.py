"""Filters and orders are read into trees, or refused with the place and what to write instead."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pytest

from mirror.errors import QueryError
from mirror.query.fields import COLLECTIONS, VERSIONS, readings, resolve
from mirror.query.parse import parse_filters, parse_order
from mirror.query.tree import (
    And,
    Compare,
    Constant,
    Exists,
    Field,
    In,
    Kind,
    Match,
    Node,
    Not,
    Or,
    OrderKey,
    Size,
)

STATE = Field("state", Kind.TEXT)
TAGS = Field("tags", Kind.LIST)
CREATED = Field("created_at", Kind.INSTANT)
LR = Field("config", Kind.DOCUMENT, ("lr",), wrapped=True)
LOSS = Field("summary_metrics", Kind.DOCUMENT, ("loss",))
NEW_YEAR = 1_704_067_200_000_000

READ = [
    pytest.param(None, Constant(True), id="None matches every run"),
    pytest.param({}, Constant(True), id="so does {}"),
    pytest.param("null", Constant(True), id="and JSON null"),
    pytest.param({"state": "x"}, Compare("$eq", STATE, "x"), id="a literal is equality"),
    pytest.param('{"state": "x"}', Compare("$eq", STATE, "x"), id="JSON text"),
    pytest.param({"$and": []}, Constant(True), id="an empty $and is all"),
    pytest.param({"$or": []}, Constant(False), id="an empty $or is none"),
    pytest.param({"$nor": []}, Not(Constant(False)), id="an empty $nor is all"),
    pytest.param({"$not": {}}, Not(Constant(True)), id="not everything is nothing"),
    pytest.param({"state": {"$ne": "x"}}, Not(Compare("$eq", STATE, "x")), id="$ne"),
    pytest.param({"tags": {"$nin": ["a"]}}, Not(In(TAGS, ("a",))), id="$nin"),
    pytest.param({"tags": {"$all": []}}, Constant(False), id="$all of nothing is none"),
    pytest.param(
        {"tags": {"$all": ["a", "b"]}},
        And((Compare("$eq", TAGS, "a"), Compare("$eq", TAGS, "b"))),
        id="$all is every equality",
    ),
    pytest.param({"tags": {"$size": 2.0}}, Size(TAGS, 2), id="a whole float is a size"),
    pytest.param({"config.lr": {"$exists": 0}}, Not(Exists(LR)), id="0 is false"),
    pytest.param(
        {"config.lr": {"$gt": 1, "$lt": 2}},
        And((Compare("$gt", LR, 1), Compare("$lt", LR, 2))),
        id="operators of one object are ANDed",
    ),
    pytest.param(
        {"state": {"$or": [{"$eq": "a"}, {"$regex": "b"}]}},
        Or((Compare("$eq", STATE, "a"), Match(STATE, "b"))),
        id="logic inside a field",
    ),
    pytest.param(
        {"state": {"$regex": "b", "$options": "smi"}},
        And((Match(STATE, "(?ims)b"), Constant(True))),
        id="options become flags",
    ),
    pytest.param(
        {"config.lr": {"$eq": {"$gt": 1}}},
        Compare("$eq", LR, {"$gt": 1}),
        id="$eq takes its operand literally",
    ),
    pytest.param({"createdAt": "2024-01-01"}, Compare("$eq", CREATED, NEW_YEAR), id="a date"),
    pytest.param(
        {"createdAt": dt.date(2024, 1, 1)}, Compare("$eq", CREATED, NEW_YEAR), id="a date object"
    ),
    pytest.param(
        {"created_at": dt.datetime(2024, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))},
        Compare("$eq", CREATED, NEW_YEAR),
        id="an aware datetime",
    ),
    pytest.param({"config.lr": math.nan}, Compare("$eq", LR, "NaN"), id="NaN is W&B's string"),
    pytest.param(
        {"config.lr": [math.inf, {"a": -math.inf}]},
        Compare("$eq", LR, ["Infinity", {"a": "-Infinity"}]),
        id="infinities inside a literal",
    ),
    pytest.param(
        {"config.lr": {"$lt": math.inf}},
        Compare("$lt", LR, math.inf),
        id="infinity stays a number in a range",
    ),
    pytest.param({"config.lr": np.int64(3)}, Compare("$eq", LR, 3), id="a number of numpy"),
    pytest.param({"config.lr": np.float32(0.5)}, Compare("$eq", LR, 0.5), id="a float of numpy"),
    pytest.param({"config.lr": (1, 2)}, Compare("$eq", LR, [1, 2]), id="a tuple is a list"),
    pytest.param({"summaryMetrics.loss": 1}, Compare("$eq", LOSS, 1), id="camelCase"),
    pytest.param({"user": "a"}, Compare("$eq", Field("username", Kind.TEXT), "a"), id="user"),
]


@pytest.mark.parametrize(("filters", "tree"), READ)
def test_a_filter_is_read_as(filters: Any, tree: Node) -> None:
    assert parse_filters(filters) == tree


DEEP: dict[str, Any] = {"state": "x"}
for _ in range(100):
    DEEP = {"$not": DEEP}

REFUSED = [
    pytest.param([], "", "expected an object", id="a list"),
    pytest.param("{", "", "not JSON at line 1 column 2", id="broken JSON"),
    pytest.param('{"state": 1, "state": 2}', "", "key 'state' is written twice", id="twice"),
    pytest.param({1: 2}, "", "strings, not 1", id="a key that is no string"),
    pytest.param({"foo": 1}, "foo", "did you mean 'config.foo' or 'summary_metrics.foo'?", id="foo"),
    pytest.param({"State": 1}, "State", "did you mean 'state'?", id="case"),
    pytest.param({"id": 1}, "id", "use 'name' for the run id", id="id"),
    pytest.param({"summary.loss": 1}, "summary.loss", "use 'summary_metrics'", id="summary"),
    pytest.param({"_step": 1}, "_step", "use 'summary_metrics._step'", id="_step"),
    pytest.param({"keys_info.keys.a": 1}, "keys_info.keys.a", "$exists", id="keys_info"),
    pytest.param({"tags.best": 1}, "tags.best", "write {'tags': 'best'}", id="tags.best"),
    pytest.param({"name.x": 1}, "name.x", "has no sub-field 'x'", id="below a text"),
    pytest.param({"": 1}, "", "a name is empty", id="no name"),
    pytest.param({"config..a": 1}, "config..a", "between the dots", id="an empty key"),
    pytest.param({"config." + "a." * 30 + "a": 1}, None, "at most 30 keys", id="a long path"),
    pytest.param({"$and": {}}, "$and", "expected a list", id="$and of an object"),
    pytest.param({"$or": [{}, 1]}, "$or[1]", "expected an object", id="a number in $or"),
    pytest.param({"$gt": 1}, "$gt", "stands without a field", id="an operator without a field"),
    pytest.param({"$xor": []}, "$xor", "unknown operator '$xor'; there are $all", id="$xor"),
    pytest.param({"$where": "1"}, "$where", "is not supported", id="$where"),
    pytest.param({"state": {"$foo": 1}}, "state.$foo", "unknown operator", id="$foo"),
    pytest.param({"state": {"$eq": 1, "b": 1}}, "state", "beside the key 'b'", id="mixed"),
    pytest.param({"state": {"$in": "x"}}, "state.$in", "expected a list", id="$in of a text"),
    pytest.param({"state": {"$in": [{"$regex": "x"}]}}, "state.$in[0]", "use $or with $regex", id="a pattern in $in"),
    pytest.param({"state": {"$not": {}}}, "state.$not", "an object of operators", id="empty $not"),
    pytest.param({"state": {"$not": "x"}}, "state.$not", "an object of operators", id="$not of a text"),
    pytest.param({"state": {"$or": [{"a": 1}]}}, "state.$or[0]", "of operators", id="no operators in $or"),
    pytest.param({"state": {"$exists": "yes"}}, "state.$exists", "true or false", id="$exists: yes"),
    pytest.param({"state": {"$exists": 2}}, "state.$exists", "true or false", id="$exists: 2"),
    pytest.param({"state": {"$gt": [1]}}, "state.$gt", "a number, string, boolean or null", id="range over a list"),
    pytest.param({"config.a": {"$gt": math.nan}}, "config.a.$gt", "NaN has no order", id="NaN in a range"),
    pytest.param({"state": {"$size": -1}}, "state.$size", "a whole number", id="$size: -1"),
    pytest.param({"state": {"$size": True}}, "state.$size", "a whole number", id="$size: true"),
    pytest.param({"state": {"$size": math.inf}}, "state.$size", "a whole number", id="$size: Infinity"),
    pytest.param({"state": {"$regex": "("}}, "state.$regex", "bad pattern '(': missing )", id="open group"),
    pytest.param({"state": {"$regex": "(?=a)"}}, "state.$regex", "no look-around", id="look-ahead"),
    pytest.param({"state": {"$regex": r"(a)\1"}}, "state.$regex", "no back-references", id="back-reference"),
    pytest.param({"state": {"$regex": "a{1001}"}}, "state.$regex", "repetition", id="repetition"),
    pytest.param({"state": {"$regex": "a" * 4097}}, "state.$regex", "at most 4096", id="long pattern"),
    pytest.param({"state": {"$regex": "\ud800"}}, "state.$regex", "Unicode", id="surrogate in a pattern"),
    pytest.param({"state": {"$regex": 1}}, "state.$regex", "expected a pattern", id="$regex: 1"),
    pytest.param({"state": {"$regex": "a", "$options": "x"}}, "state.$regex", "i, m and s", id="option x"),
    pytest.param({"state": {"$options": "i"}}, "state.$options", "without $regex", id="$options alone"),
    pytest.param({"state": {"$contains": 1}}, "state.$contains", "expected a string", id="$contains: 1"),
    pytest.param({"createdAt": "soon"}, "createdAt", "not a date", id="soon"),
    pytest.param({"createdAt": "2024-02-30"}, "createdAt", "not a date", id="an impossible date"),
    pytest.param({"$and": [{}, {"createdAt": {"$in": ["2024-01-01", 5]}}]}, "$and[1].createdAt.$in[1]", "expected a date, not 5", id="a number as date"),
    pytest.param({"createdAt": {"$regex": "2024"}}, "createdAt.$regex", "use $gte and $lt", id="regex on a date"),
    pytest.param({"config.a": dt.date(2024, 1, 1)}, "config.a", "only for date fields", id="a date object in config"),
    pytest.param({"config.a": {1, 2}}, "config.a", "not a JSON value", id="a set"),
    pytest.param(DEEP, "", "nested deeper than 100", id="too deep"),
]  # fmt: skip


@pytest.mark.parametrize(("filters", "place", "said"), REFUSED)
def test_a_mistake_is_refused_at_its_place(filters: Any, place: str | None, said: str) -> None:
    with pytest.raises(QueryError) as error:
        parse_filters(filters)
    assert said in str(error.value)
    assert place is None or error.value.path == place


def test_two_spellings_of_a_field_are_both_applied_but_not_for_registries() -> None:
    both = {"createdAt": "2024-01-01", "created_at": None}
    assert isinstance(parse_filters(both), And)
    with pytest.raises(QueryError, match="are the same field"):
        parse_filters(both, COLLECTIONS)


def test_versions_filter_on_metadata_as_runs_do_on_summaries() -> None:
    tree = parse_filters({"metadata.acc": {"$gt": 0.9}, "aliases": "best"}, VERSIONS)
    assert isinstance(tree, And)
    assert [str(part.field) for part in tree.parts if isinstance(part, Compare)] == ["metadata.acc", "alias"]  # fmt: skip


PATHS = [
    pytest.param("config.lr", [("lr",)], id="one key"),
    pytest.param("config.a.b", [("a", "b"), ("a.b",)], id="nested, then flat"),
    pytest.param(r"config.a\.b", [("a.b",)], id="an escaped dot is never nested"),
    pytest.param("config.lr.value", [("lr", "value"), ("lr",), ("lr.value",)], id="W&B's wrapper"),
    pytest.param("summary_metrics.lr.value", [("lr", "value"), ("lr.value",)], id="no wrapper in summaries"),
    pytest.param("config.a.value.b", [("a", "value", "b"), ("a", "b"), ("a.value", "b"), ("a.value.b",)], id="a wrapper inside"),
    pytest.param(r"config.a\\b\c", [("a\\b\\c",)], id="backslashes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "paths"), PATHS)
def test_a_path_can_be_read_as(name: str, paths: list[tuple[str, ...]]) -> None:
    from mirror.query.fields import RUNS

    assert readings(resolve(name, RUNS, name)) == paths


ORDERS = [
    pytest.param(None, (OrderKey(CREATED),), id="the default"),
    pytest.param("", (OrderKey(CREATED),), id="an empty text is the default"),
    pytest.param("-created_at", (OrderKey(CREATED, True),), id="descending"),
    pytest.param("state , -config.lr", (OrderKey(STATE), OrderKey(LR, True)), id="two keys"),
    pytest.param(["-state", "+config.lr"], (OrderKey(STATE, True), OrderKey(LR)), id="a list"),
    pytest.param(
        r"config.a\,b",
        (OrderKey(Field("config", Kind.DOCUMENT, ("a,b",), wrapped=True)),),
        id="an escaped comma",
    ),
]


@pytest.mark.parametrize(("order", "keys"), ORDERS)
def test_an_order_is_read_as(order: Any, keys: tuple[OrderKey, ...]) -> None:
    assert parse_order(order) == keys


@pytest.mark.parametrize(
    "order", ["+", "++state", "- state", "state,", ",", "foo", "config", "summary.x", [], [1], 5, "state desc"]
)  # fmt: skip
def test_a_wrong_order_is_refused(order: Any) -> None:
    with pytest.raises(QueryError) as error:
        parse_order(order)
    assert error.value.path == "order"


def test_a_query_error_survives_pickling() -> None:
    import pickle

    error = QueryError("$and[0].x", "unknown", "write y")
    again = pickle.loads(pickle.dumps(error))
    assert (again.path, again.problem, again.hint, str(again)) == (error.path, error.problem, error.hint, str(error))  # fmt: skip
