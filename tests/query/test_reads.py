"""What callers see: columns, pages, explanations, warnings, mistakes under a caret, and some of the SQL."""

from __future__ import annotations

import random
from typing import Any

import pytest
import re2
from chance import PATTERNS, TEXTS
from runs import put

from mirror import indexes
from mirror.errors import QueryError
from mirror.explain import explain, format_query_error, warnings
from mirror.jsontext import Type, escape, unescape, unpack
from mirror.query.compile import Catalogue, Compiler, run_source, simplify
from mirror.query.parse import parse_filters
from mirror.query.tree import tests as leaves
from mirror.reads import RunQuery
from mirror.regex import find, plain, prefix_range, required_literal
from mirror.store.json import POSTGRES, SQLITE, Engine
from mirror.store.sql import Sql, render
from mirror.store.store import Store

RUNS: list[dict[str, Any]] = [
    {
        "name": "b", "display_name": "n\x00l", "tags": ["x", "\ud800"], "created_at": "2024-01-02T03:04:05.5+01:00",
        "duration": 1.5, "config": {"lr": 0.1, "on": True, "opt": {"name": "adam"}, "dims": [1, {"a": "\x00"}]},
        "summary_metrics": {"val/acc": 0.9, "loss": float("nan"), "a.b": 1},
    },
    {"name": "a", "tags": [], "created_at": "2024-01-01", "config": {"lr": None, "on": 1}, "summary_metrics": {}},
    {"name": "c", "tags": [], "created_at": None, "config": {"dims": 3}, "summary_metrics": {"val/acc": 2**62 + 1}},
]  # fmt: skip


@pytest.fixture
def held(store: Store) -> Store:
    put(store, "p", RUNS)
    return store


def test_columns_are_projected_in_order(held: Store) -> None:
    keys = ("name", "created_at", "config.lr", "config.on", "config.dims", "config.dims.1.a",
            "summary_metrics.val/acc", "summary_metrics.loss", "summaryMetrics.a.b", "tags", "tags.1",
            "displayName", "duration", "config.nope", "config.opt")  # fmt: skip
    rows = list(RunQuery(held, "p").columns(keys))
    assert rows == [
        ("a", "2024-01-01T00:00:00Z", None, 1, None, None, None, None, None, [], None, None, None, None, None),
        ("b", "2024-01-02T02:04:05.500000Z", 0.1, True, [1, {"a": "\x00"}], "\x00", 0.9, "NaN", 1,
         ["x", "\ud800"], "\ud800", "n\x00l", 1.5, None, {"name": "adam"}),
        ("c", None, None, None, 3, None, 2**62 + 1, None, None, [], None, None, None, None, None),
    ]  # fmt: skip
    assert list(RunQuery(held, "p", None, "-name").columns(["name"], start=1, stop=2)) == [("b",)]
    assert [row[0] for row in rows] == RunQuery(held, "p").names()


def test_a_row_brings_the_servers_own_texts_unparsed(held: Store) -> None:
    rows, after = RunQuery(held, "p", {"config.lr": 0.1}).page(10)
    assert after is None
    (row,) = rows
    assert (row.name, row.display_name, row.tags) == ("b", "n\x00l", ["x", "\ud800"])
    assert row.created_at == "2024-01-02T03:04:05.5+01:00"
    assert '"loss": NaN' in str(unpack(row.summary_metrics))


def test_other_projects_and_runs_that_are_gone_are_not_seen(held: Store) -> None:
    from mirror.ingest import tombstone_runs

    put(held, "q", [{**RUNS[0], "name": "z"}])
    indexes.add(held, "config.lr")
    with held.begin() as tx:
        tombstone_runs(tx, "p", ["b"], at="2025-01-01T00:00:00Z")
    for filters in (
        None,
        {"config.lr": {"$ne": 5}},
        {"name": {"$ne": "x"}},
        {"$nor": [{"config.lr": 7}]},
    ):
        query = RunQuery(held, "p", filters, "-config.lr")
        assert sorted(query.names()) == ["a", "c"]
        assert query.count() == 2
    assert RunQuery(held, "q", {"config.lr": 0.1}).names() == ["z"]


def test_a_page_of_nothing_and_a_slice_past_the_end_are_empty(held: Store) -> None:
    assert RunQuery(held, "p", {"config.nope": 1}).page(5) == ([], None)
    assert RunQuery(held, "p").slice(3, 9) == []
    assert RunQuery(held, "nowhere").count() == 0


# ------------------------------------------------------------------ explanations and warnings


def test_an_explanation_says_all_there_is(held: Store) -> None:
    found = explain(RunQuery(held, "p", {"summary_metrics.a.b": {"$gt": 0}, "config.dims.a": 1, "tags": {"$size": 0}}))  # fmt: skip
    assert found.tree.splitlines() == [
        "all of", "  summary_metrics.a.b $gt 0", "  config.dims.a $eq 1", "  tags $size 0"
    ]  # fmt: skip
    assert "SELECT" in found.sql
    assert set(found.parameters.values()) >= {"p"}
    assert found.plan
    assert found.rows_found == 0
    assert found.rows_examined <= 3
    notes = " ".join(found.notes)
    assert "a key with dots" in notes
    assert "inside a list" in notes
    assert "`$size`" in notes


def test_an_explanation_of_what_cannot_match_asks_nothing(held: Store) -> None:
    found = explain(RunQuery(held, "p", {"config.zzzzz": 1}))
    assert (found.rows_examined, found.rows_found) == (0, 0)
    assert found.warnings == ["`config.zzzzz`: no run of this project has it"]


def test_a_key_no_run_has_is_a_warning_with_the_likely_one(held: Store) -> None:
    put(held, "p", [{**RUNS[0], "name": f"r{i}"} for i in range(1_203)])
    said = warnings(
        RunQuery(held, "p", {"config.name": 1, "config.Lr": 2}, "-summary_metrics.val/ac")
    )
    assert said == [
        "`config.name`: no run of this project has it; did you mean `config.opt.name` (1,204 runs)?",
        "`config.Lr`: no run of this project has it; did you mean `config.lr` (1,205 runs)?",
        "`summary_metrics.val/ac`: no run of this project has it; did you mean `summary_metrics.val/acc` (1,205 runs)?",
    ]
    assert warnings(RunQuery(held, "p", {"config.opt.name": "x", "summary_metrics.a.b": 1})) == []


def shown(text: str) -> str:
    with pytest.raises(QueryError) as error:
        parse_filters(text)
    return format_query_error(error.value, text)


CARETS = [
    pytest.param(
        '{"$and": [{"state": "x"}, {"config.lr": {"$in": 5}}]}',
        '{"$and": [{"state": "x"}, {"config.lr": {"$in": 5}}]}\n'
        "                                         ^^^^^\n"
        "$and[1].config.lr.$in: expected a list, not 5",
        id="an operand",
    ),
    pytest.param(
        '{\n  "stat": "x"\n}',
        "  \"stat\": \"x\"\n  ^^^^^^\nstat: unknown field 'stat'; did you mean 'state'?",
        id="the line of a field",
    ),
    pytest.param(
        '{"config.lr": {"$in": [1]}, "state": {"$in": 5}}',
        '{"config.lr": {"$in": [1]}, "state": {"$in": 5}}\n'
        "                                      ^^^^^\n"
        "state.$in: expected a list, not 5",
        id="the second of its name",
    ),
    pytest.param("{", "not JSON at line 1 column 2: Expecting property name enclosed in double quotes", id="no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), CARETS)
def test_a_mistake_is_shown_under_its_text(text: str, wanted: str) -> None:
    assert shown(text) == wanted


# ------------------------------------------------------------------ the SQL of a few shapes

SEEN = {("config", ("lr",)): Type.FLOAT | Type.INTEGER, ("config", ("n",)): Type.STRING | Type.LIST}
SHAPES = [
    pytest.param(
        SQLITE, {"config.lr": {"$gt": 1}}, 'json_extract(run_documents."config", :p0) > :p1',
        id="one type seen: no bracketing on SQLite",
    ),
    pytest.param(
        POSTGRES, {"config.lr": {"$gt": 1}},
        '(run_documents."config" -> CAST(%(p0)s AS text)) > CAST(%(p1)s AS jsonb)',
        id="nor on PostgreSQL",
    ),
    pytest.param(SQLITE, {"config.never": 1}, False, id="never seen: false"),
    pytest.param(SQLITE, {"config.never": {"$ne": 1}}, True, id="never seen, negated: true"),
    pytest.param(SQLITE, {"config.lr": "a"}, False, id="a type never seen: false"),
    pytest.param(SQLITE, {"config.lr": None}, 'json_extract(run_documents."config", :p0) IS NULL', id="null"),
    pytest.param(
        SQLITE, {"config.lr": {"$ne": 1}},
        'NOT coalesce(json_extract(run_documents."config", :p0) = :p1, FALSE)',
        id="NULL never meets a NOT",
    ),
    pytest.param(
        SQLITE, {"$or": [{"state": "a"}, {"state": "b"}]}, 'runs."state" IN (:p0, :p1)',
        id="an OR of equalities is one IN",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("engine", "filters", "wanted"), SHAPES)
def test_the_sql_is_no_more_than_the_catalogue_asks_for(
    engine: Engine, filters: Any, wanted: str | bool
) -> None:
    tree = parse_filters(filters)
    source = run_source(test.field for test in leaves(tree))
    condition = Compiler(engine, source, Catalogue(SEEN)).filter(tree)
    assert (
        render(condition, engine.name)[0] if isinstance(condition, Sql) else condition
    ) == wanted


def test_a_filter_is_an_expression_that_sqlalchemy_can_use(held: Store) -> None:
    import sqlalchemy as sa

    tree = parse_filters({"config.lr": {"$gt": 0.05}, "state": None})
    source = run_source(test.field for test in leaves(tree))
    engine = SQLITE if held.backend == "sqlite" else POSTGRES
    condition = Compiler(engine, source).filter(tree)
    assert isinstance(condition, Sql)
    from mirror.store.tables import run_documents, runs

    joined = run_documents.join(runs, runs.c.run_key == run_documents.c.run_key)
    statement = sa.select(run_documents.c.name).select_from(joined).where(condition)
    assert [row["name"] for row in held.rows(statement)] == ["b"]


# ------------------------------------------------------------------ patterns


def test_what_a_pattern_requires_is_in_every_text_it_finds() -> None:
    rng = random.Random(7)
    pieces = ["a", "b", "ab", "\\.", ".", "a?", "b*", "a+", "a{2}", "b{0,2}", "[ab]", "(ab)?", "(a|b)", "^", "$", "\\d", "(?i)a", "x", "é", "\\-", "\\+"]  # fmt: skip
    made = ["".join(rng.choices(pieces, k=rng.randint(1, 5))) for _ in range(1500)]
    texts = [*TEXTS, *("".join(rng.choices("abx.é1\n", k=rng.randint(0, 6))) for _ in range(300))]
    checked = 0
    for pattern in [*PATTERNS, *made]:
        try:
            re2.compile(pattern)
        except re2.error:
            continue
        literal, bounds = escape(required_literal(pattern)), prefix_range(pattern)
        words = plain(pattern)
        for text in map(escape, texts):
            if words is not None:
                ask, word = words
                own = unescape(text)
                held = {"equals": own == word, "starts": own.startswith(word), "contains": word in own}  # fmt: skip
                assert find(pattern, text) is held[ask], (pattern, text)
            if find(pattern, text):
                assert literal in text, (pattern, text)
                assert bounds is None or bounds[0] <= text < bounds[1], (pattern, text)
                checked += 1
    assert checked > 10_000


def test_a_simplified_tree_keeps_its_leaves() -> None:
    tree = parse_filters({"$or": [{"state": {"$in": ["a", "b"]}}, {"name": "x"}, {"$not": {"$not": {"config.a": 1}}}]})  # fmt: skip
    once = simplify(tree)
    assert [id(leaf) for leaf in leaves(simplify(once))] == [id(leaf) for leaf in leaves(once)]


# ------------------------------------------------------------------ the edge of 64 bits


@pytest.mark.parametrize(
    ("operator", "literal", "found"),
    [
        ("$lte", -(2**63) - 1, "lowest lowest_double below"),
        ("$eq", -(2**63) - 1, "lowest lowest_double below"),
        ("$eq", -(2.0**63), "lowest lowest_double below"),
        ("$lt", -(2**63) - 1, ""),
        ("$lte", -(2**64), ""),
        ("$gte", 2**63, "above"),
        ("$gt", 2**63 - 1, "above"),
    ],
)
def test_integers_past_64_bits_compare_as_the_doubles_next_to_them(
    operator: str, literal: float, found: str, store: Store
) -> None:
    values = {
        "lowest": -(2**63), "lowest_double": -(2.0**63), "below": -(2**63) - 1, "zero": 0,
        "highest": 2**63 - 1, "above": 2**63,
    }  # fmt: skip
    put(store, "1", [{"name": name, "config": {"k": value}} for name, value in values.items()])
    query = RunQuery(store, "1", {"config.k": {operator: literal}})
    assert sorted(query.names()) == sorted(found.split())
