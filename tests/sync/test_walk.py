"""Keyset windows: which page is asked next, whatever a page looked like."""

from __future__ import annotations

import pytest

from mirror.errors import StuckCursor
from mirror.sync.walk import START, Window, advance, all_of

T1, T2, T3 = "2024-01-01T00:00:01Z", "2024-01-01T00:00:02Z", "2024-01-01T00:00:03Z"


def runs(*times: str | None) -> list[dict[str, str | None]]:
    return [{"name": f"r{i}", "createdAt": time} for i, time in enumerate(times)]


@pytest.mark.parametrize(
    ("window", "nodes", "cursor", "has_next", "expected"),
    [
        pytest.param(START, runs(T1, T2), "c", False, None, id="the last page ends the walk"),
        pytest.param(START, runs(), None, False, None, id="an empty project"),
        pytest.param(START, runs(T1, T2), "c", True, Window(T2), id="time moves the window on"),
        pytest.param(
            Window(T1),
            runs(T1, T1, T2),
            "c",
            True,
            Window(T2),
            id="the group of the border comes again",
        ),
        pytest.param(
            Window(T1),
            runs(T1, T1),
            "c2",
            True,
            Window(T1, "c2"),
            id="a page of one time goes on by cursor",
        ),
        pytest.param(
            Window(T1, "c2"),
            runs(T1, T1),
            "c3",
            True,
            Window(T1, "c3"),
            id="and on, inside the group",
        ),
        pytest.param(
            Window(T1, "c3"),
            runs(T1, T3),
            "c4",
            True,
            Window(T3),
            id="leaving the group drops the cursor",
        ),
        pytest.param(
            Window(T1), runs(), "c9", True, Window(T1, "c9"), id="an empty page with more behind it"
        ),
        pytest.param(
            START,
            runs(T2, T1, T3),
            "c",
            True,
            Window(None, "c"),
            id="a page out of order goes by cursor",
        ),
        pytest.param(
            START, runs(None, T2), "c", True, Window(T2), id="a run without a time does not stop it"
        ),
        pytest.param(
            START,
            runs("2024-01-01T00:00:01", "2024-01-01T00:00:02.1234567"),
            "c",
            True,
            Window("2024-01-01T00:00:02.123456Z"),
            id="times are sent with a zone, and cut rather than rounded up",
        ),
    ],
)
def test_advance_chooses_the_next_window(window, nodes, cursor, has_next, expected):
    assert advance(window, nodes, cursor, has_next) == expected


@pytest.mark.parametrize(
    ("window", "cursor"), [(Window(T1, "c"), "c"), (Window(T1), None), (START, "")]
)
def test_a_cursor_that_does_not_move_is_an_error_not_a_loop(window, cursor):
    with pytest.raises(StuckCursor, match="same cursor"):
        advance(window, [], cursor, True)


def test_a_window_narrows_the_filter_with_gte_only():
    assert START.filters({"state": "x"}) == {"state": "x"}
    assert Window(T1).filters({}) == {"createdAt": {"$gte": T1}}
    assert Window(T1, "c").filters({"state": "x"}) == {
        "$and": [{"state": "x"}, {"createdAt": {"$gte": T1}}]
    }


def test_empty_filters_are_left_out_of_an_and():
    assert all_of(None, {}) == {}
    assert all_of({"a": 1}, None) == {"a": 1}
