"""docs/filters.md tells the truth: every example of it is executed, on both engines."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from runs import put

from mirror.errors import QueryError
from mirror.reads import RunQuery

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text("utf-8")
RUNS = json.loads(re.search(r"<!-- runs -->\n```json\n(.*?)\n```", PAGE, re.DOTALL)[1])
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]


def names(cell: str) -> list[str] | None:
    """The run names in a table's last cell; None where it holds something else."""
    words = cell.strip("| ").split()
    return words if all(re.fullmatch(r"r\d", word) for word in words) else None


def code(cell: str) -> str | None:
    match = re.fullmatch(r"`(.*)`", cell)
    return match[1] if match else None


FINDS = [
    (code(row[-2]), names(row[-1]))
    for row in ROWS
    if len(row) >= 3 and (code(row[-2]) or "").startswith("{") and names(row[-1]) is not None
]
ORDERS = [
    (code(row[0]), names(row[1]))
    for row in ROWS
    if len(row) == 2 and code(row[0]) and names(row[1])
]
MISTAKES = [
    (code(row[0]), row[1])
    for row in ROWS
    if len(row) == 2 and (code(row[0]) or "").startswith("{") and names(row[1]) is None
]


def test_the_page_has_examples():
    assert (len(FINDS), len(ORDERS), len(MISTAKES)) >= (50, 5, 7)


@pytest.fixture
def filled(store):
    put(store, "1", RUNS)
    return store


def test_every_example_finds_what_the_page_says(filled):
    wrong = []
    for text, expected in FINDS:
        found = sorted(RunQuery(filled, "1", json.loads(text)).names())
        if found != expected:
            wrong.append((text, found, expected))
    assert wrong == []


def test_every_order_gives_what_the_page_says(filled):
    given = {order: list(RunQuery(filled, "1", None, order).names()) for order, _ in ORDERS}
    assert given == dict(ORDERS)


@pytest.mark.parametrize(("text", "says"), MISTAKES)
def test_every_mistake_is_told_as_the_page_says(text, says, store):
    with pytest.raises(QueryError, match=re.escape(says)):
        RunQuery(store, "1", json.loads(text)).count()
