"""Pages of a connection, the ends they come to, and how large a page is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from scripted import Heard, Say, Scripted

from mirror.errors import NotFound, StuckCursor
from mirror.remote.client import Client
from mirror.remote.pages import Page, PageSize, entity_projects, page_of


def edge(name: str | None, cursor: str | None = None) -> dict[str, Any]:
    return {"cursor": cursor or name, "node": None if name is None else {"name": name}}


def connection(*edges: Any, more: bool = False, end: str | None = None) -> dict[str, Any]:
    return {"edges": [*edges], "pageInfo": {"endCursor": end, "hasNextPage": more}}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (None, Page()),
        ({}, Page()),
        (connection(), Page([])),
        (connection(edge("a"), edge("b")), Page([{"name": "a"}, {"name": "b"}], "b")),
        (connection(edge(None, "1"), edge("b")), Page([{"name": "b"}], "b", nulls=1)),
        (connection(None, edge("b")), Page([{"name": "b"}], "b", nulls=1)),
        # Rows that a key may not see leave short and empty pages with more behind them.
        (connection(more=True, end="7"), Page([], "7", True)),
        (connection(edge("a", "3"), more=True, end="7"), Page([{"name": "a"}], "3", True)),
        ({"edges": None, "pageInfo": None}, Page([])),
    ],
    ids=["null", "empty object", "empty", "two", "null node", "null edge", "empty, more", "cursors differ", "nulls"],
)  # fmt: skip
def test_a_connection_is_read_as_a_page(node: Mapping[str, Any] | None, expected: Page) -> None:
    found = page_of(node)
    assert list(found.nodes) == list(expected.nodes)
    assert (found.end_cursor, found.has_next, found.nulls) == (
        expected.end_cursor,
        expected.has_next,
        expected.nulls,
    )


def names(pages: Mapping[str | None, Any]) -> tuple[list[str], list[str | None]]:
    """The projects listed, and the cursors asked for, by a server that has these pages."""

    def answer(heard: Heard) -> Say:
        return Say({"data": {"models": pages[heard.body["variables"]["after"]]}})

    with Scripted(answer) as server, Client(server.url, None) as client:
        listed = [node["name"] for node in entity_projects(client, "team")]
        return listed, [heard.body["variables"]["after"] for heard in server.heard]


def test_pages_are_followed_through_short_and_empty_ones() -> None:
    listed, asked = names(
        {
            None: connection(edge("a"), edge(None, "1"), more=True, end="1"),
            "1": connection(more=True, end="2"),
            "2": connection(edge("b"), end="b"),
        }
    )
    assert listed == ["a", "b"]
    assert asked == [None, "1", "2"]


@pytest.mark.parametrize(
    "pages",
    [
        {None: connection(edge("a"), more=True), "a": connection(edge("a"), more=True)},
        {None: connection(more=True)},
        {None: connection(edge("a"), more=True), "a": connection(more=True)},
        {
            None: connection(edge("a"), more=True),
            "a": connection(edge("b"), more=True),
            "b": connection(edge("a"), more=True),
        },
    ],
    ids=["the same again", "none", "none later", "a circle"],
)
def test_a_cursor_that_does_not_move_on_raises(pages: Mapping[str | None, Any]) -> None:
    with pytest.raises(StuckCursor, match="MirrorEntityProjects: the server says there is more"):
        names(pages)


def test_an_unknown_name_is_not_found() -> None:
    with pytest.raises(NotFound, match=r"'team'.*has nothing of that name"):
        names({None: None})


# ------------------------------------------------------------------ page sizes


@pytest.mark.parametrize(
    ("row_ms", "settles_at"),
    [(0.1, 1000), (4.5, 800), (8, 400), (30, 100), (60, 50), (700, 6), (9000, 1)],
)
def test_a_page_settles_where_it_takes_seconds(row_ms: float, settles_at: int) -> None:
    size = PageSize()
    for _ in range(20):
        size.answered(size.value * row_ms / 1000, size.value)
    assert size.value == settles_at


@pytest.mark.parametrize("start", [1, 3, 100, 1000])
def test_a_size_stays_between_one_and_the_maximum(start: int) -> None:
    size = PageSize(start, maximum=1000)
    for _ in range(12):
        size.shrink()
    assert size.value == 1
    for _ in range(40):
        size.answered(0.01, size.value)
    assert size.value == 1000


def test_a_short_last_page_says_nothing_about_growing() -> None:
    size = PageSize(100)
    size.answered(0.1, 20)
    assert size.value == 100


def test_a_size_that_failed_is_not_tried_again_soon() -> None:
    size = PageSize(400)
    tried = []
    for _ in range(60):
        tried.append(size.value)
        if size.value >= 400:  # more than this server can do
            size.shrink()
        else:
            size.answered(0.5, size.value)
    failures = sum(value >= 400 for value in tried)
    assert failures <= 6
    assert tried.count(200) >= 45


def test_a_servers_bad_moment_is_forgotten() -> None:
    size = PageSize(400)
    size.shrink()
    for _ in range(PageSize.CALM + 3):
        size.answered(0.5, size.value)
    assert size.value == 1000
