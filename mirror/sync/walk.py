"""Keyset windows over a listing whose cursors are offsets. Pure: no HTTP, no database.

The server's run cursors are offsets (contract 3.7): a page border shifts when runs come, go or
move. So a walk goes `+created_at` and each page asks `createdAt >= the last one seen`, inclusive;
the cursor is used only where a time cannot move the window on: inside a group of equal times, and
after a page that holds nothing although more is promised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mirror import instants
from mirror.errors import StuckCursor

__all__ = ["START", "Window", "advance", "all_of", "created_us"]


@dataclass(frozen=True, slots=True)
class Window:
    """Where a walk stands: runs created at `start` or later; `after` only inside a group."""

    start: str | None = None
    after: str | None = None

    @property
    def start_us(self) -> int | None:
        """The start as microseconds UTC; None at the very beginning."""
        return instants.to_us(self.start)

    def filters(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """The base filter narrowed to this window."""
        if self.start is None:
            return dict(base)
        return all_of(base, {"createdAt": {"$gte": self.start}})


START = Window()


def all_of(*filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """AND filters together, leaving out the empty ones."""
    given = [dict(item) for item in filters if item]
    if not given:
        return {}
    return given[0] if len(given) == 1 else {"$and": given}


def created_us(node: Mapping[str, Any]) -> int | None:
    """When a listed run was created, in microseconds UTC; None where the server does not say."""
    return instants.to_us(node.get("createdAt"))


def advance(
    window: Window,
    nodes: Sequence[Mapping[str, Any]],
    end_cursor: str | None,
    has_next: bool,
) -> Window | None:
    """Return the window of the next page, or None when the listing has ended.

    Raises StuckCursor when the server promises more and gives no way to reach it.
    """
    if not has_next:
        return None
    times = [micros for node in nodes if (micros := created_us(node)) is not None]
    if times and _ascending(times) and (window.start_us is None or times[-1] > window.start_us):
        return Window(instants.from_us(times[-1]))
    if not end_cursor or end_cursor == window.after:
        raise StuckCursor(
            f"the listing of runs says there is more after {window.after or window.start or 'its start'}"
            f" and gives the same cursor again ({end_cursor!r}): nothing was lost, try again later"
        )
    return Window(window.start, end_cursor)


def _ascending(times: Sequence[int]) -> bool:
    """Whether the page really is in order: a server that ignores `order` must not cost us runs."""
    return all(earlier <= later for earlier, later in pairwise(times))
