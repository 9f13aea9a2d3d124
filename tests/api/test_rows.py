"""Runs read from the store: whole names, hard texts, and fetched nodes in the same form."""

from __future__ import annotations

from typing import Any

import pytest

from mirror.api.rows import page, read, row_of, single
from mirror.ingest import ingest_runs
from mirror.jsontext import load_packed, loads
from mirror.reads import RunQuery
from mirror.store.store import Store

NODES: list[dict[str, Any]] = [
    {"id": f"id{n}", "name": name, "displayName": shown, "state": "finished", "sweepName": sweep,
     "createdAt": f"2024-01-0{n + 1}T00:00:00Z", "config": '{"a": {"value": NaN}}', "summaryMetrics": None,
     "systemMetrics": "{}", "tags": ["t"], "user": {"username": "u"}}
    for n, (name, shown, sweep) in enumerate(
        [("plain", "shown", None), ("nul\x00name", "größe\x01", "sw\x00"), ("😀", None, "s")]
    )
]  # fmt: skip


@pytest.fixture
def filled(store: Store) -> Store:
    with store.begin() as tx:
        ingest_runs(tx, NODES, project_id="7", synced_at="2024-02-01T00:00:00Z")
    return store


def _seen(row: Any) -> tuple[Any, ...]:
    return (
        row.name,
        row.display_name,
        row.state,
        row.sweep,
        row.config,
        load_packed(row.texts.node),
    )


def test_a_run_is_the_same_by_page_by_key_by_name_and_as_fetched(filled: Store) -> None:
    rows, end = page(RunQuery(filled, "7"), 10, None, lambda: filled)
    assert end is None
    assert [_seen(row) for row in rows] == [_seen(row_of(node, "")) for node in NODES]
    keys = [row.run_key for row in rows]
    again = read(lambda: filled, keys[::-1])
    assert [_seen(row) for row in again[::-1]] == [_seen(row) for row in rows]
    single_rows = [single(lambda: filled, "7", node["name"]) for node in NODES]
    assert [_seen(row) for row in single_rows] == [_seen(row) for row in rows]


def test_pages_go_on_where_they_ended(filled: Store) -> None:
    query = RunQuery(filled, "7")
    first, end = page(query, 2, None, lambda: filled)
    rest, last = page(query, 2, end, lambda: filled)
    assert [row.name for row in first + rest] == [node["name"] for node in NODES]
    assert last is None


def test_a_run_that_is_not_held_is_none(filled: Store) -> None:
    assert single(lambda: filled, "7", "nope") is None
    assert single(lambda: filled, "8", "plain") is None


@pytest.mark.parametrize(
    "text",
    ["{}", '{"a": 1e5, "b": -0.0, "c": 1.0}', '{"a": NaN, "b": "NaN"}', '{"a": 1180591620717411303424}',
     '{"a": -9999999999999999999, "b": 9999999999999999999, "c": 18446744073709551616}',
     '{"a": "\\u0000", "b": "\\ud800", "c": "x\ty"}', "[1]"],
)  # fmt: skip
def test_a_packed_text_reads_as_its_text(text: str) -> None:
    from mirror.jsontext import pack

    assert repr(load_packed(pack(text))) == repr(loads(text))
    assert load_packed(None) is None
