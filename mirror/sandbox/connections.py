"""Relay connections with offset cursors: a window on a list, as edges and page info."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mirror.sandbox.faults import Fault
from mirror.sandbox.ids import cursor, global_id, offset_of

DEFAULT_PAGE = 50


class Refused(Exception):
    """A request the server refuses with a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Edge(NamedTuple):
    cursor: str
    node: Any


@dataclass(frozen=True, slots=True)
class PageInfo:
    start_cursor: str | None
    end_cursor: str | None
    has_next_page: bool
    has_previous_page: bool


@dataclass(slots=True)
class Page:
    """A page of a listing; the attributes are the fields of a connection type."""

    edges: list[Any]
    "Edges of any kind: an `Edge`, or one with more fields than a cursor and a node."
    page_info: PageInfo
    total_count: int
    extra: dict[str, Any] = field(default_factory=dict)


def page_of(
    rows: Sequence[Any],
    args: Mapping[str, Any],
    *,
    cap: int | None = None,
    over_cap: int | None = None,
    faults: Sequence[Fault] = (),
    default: int = DEFAULT_PAGE,
) -> Page:
    """Return the page that `first`, `after`, `last` and `before` ask for. Raises Refused."""
    start, end = bounds(len(rows), args, cap=cap, over_cap=over_cap, default=default)
    edges = [
        Edge(cursor(at), row)
        for at, row in enumerate(rows[start:end], start)
        if not getattr(row, "hidden", False)
    ]
    info = PageInfo(
        cursor(start) if end > start else None,
        cursor(end - 1) if end > start else args.get("after"),
        end < len(rows),
        start > 0,
    )
    page = Page(edges, info, len(rows))
    for fault in faults:
        spoil(page, fault, start)
    return page


def bounds(
    count: int, args: Mapping[str, Any], *, cap: int | None, over_cap: int | None, default: int
) -> tuple[int, int]:
    first, last = args.get("first"), args.get("last")
    for asked in (first, last):
        if asked is not None and asked < 0:
            raise Refused(400, "first and last must not be negative")
        if asked is not None and cap is not None and asked > cap and over_cap is not None:
            said = f"page size {asked} exceeds the maximum of {cap}"
            raise Refused(over_cap, said if over_cap < 500 else "internal server error")
    start, end = 0, count
    if args.get("after") is not None:
        start = min(count, position(args["after"]) + 1)
    if args.get("before") is not None:
        end = max(start, min(count, position(args["before"])))
    if last is not None and first is None:
        return max(start, end - min(last, cap or last)), end
    size = default if first is None else first
    return start, min(end, start + min(size, cap or size))


def position(text: str) -> int:
    offset = offset_of(text)
    if offset is None:
        raise Refused(400, f"invalid cursor {text!r}")
    return offset


def spoil(page: Page, fault: Fault, start: int) -> None:
    """Take rows out of a page, or put nulls in, as a fault says."""
    if fault.stuck:
        page.edges = []
        page.page_info = PageInfo(None, cursor(start - 1) if start else None, True, start > 0)
    elif fault.empty or fault.short is not None:
        page.edges = page.edges[: fault.short or 0]
        # The cursor differs from any the client holds, and leads to the first row left out.
        last = offset_of(page.edges[-1].cursor) if page.edges else start - 1
        end = global_id("arrayconnection", last, fault.struck)
        page.edges[-1:] = [Edge(end, edge.node) for edge in page.edges[-1:]]
        page.page_info = PageInfo(page.page_info.start_cursor, end, True, start > 0)
    for at in range(min(fault.null_nodes, len(page.edges))):
        page.edges[at] = Edge(page.edges[at].cursor, None)
