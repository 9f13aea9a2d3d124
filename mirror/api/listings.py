"""Listings of runs, read forward: from the store, or page by page from the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mirror.api.raising import edge
from mirror.api.rows import page, read, row_of

if TYPE_CHECKING:
    from mirror.api.held import Held
    from mirror.api.rows import Row
    from mirror.api.run_door import RunDoor
    from mirror.reads import After, RunQuery

__all__ = ["Listing", "PageListing", "StoreListing"]

READ_AHEAD = 1000


class Listing:
    """Runs in an order, read forward: how many there are, and the next few."""

    synced_at: str | None = None

    def count(self) -> int:
        """Return how many runs there are, now."""
        raise NotImplementedError

    def take(self, limit: int) -> list[Row]:
        """Return the next `limit` runs, fewer at the end."""
        raise NotImplementedError

    @property
    def more(self) -> bool:
        """Whether `take` has more to give."""
        raise NotImplementedError

    rereads = False
    """Whether runs can be read again by key, so that they need not be held."""

    def again(self, keys: Sequence[int]) -> list[Row]:
        """Return runs that `take` gave, by key."""
        raise NotImplementedError

    def skip(self, number: int) -> None:
        """Pass over runs."""
        while number > 0 and self.more:
            number -= max(1, len(self.take(min(number, READ_AHEAD))))


class StoreListing(Listing):
    """A listing from the store. Reads ahead, more each time, so that long loops ask rarely."""

    rereads = True

    def __init__(
        self, held: Held, query: RunQuery, key: tuple[Any, ...], synced_at: str | None
    ) -> None:
        self.held = held
        self.query = query
        self.memo = held.memo
        self.key = key
        self.synced_at = synced_at
        self._ahead: list[Row] = []
        self._at = 0
        self._after: After | None = None
        self._ended = False
        self._size = 0

    @edge
    def count(self) -> int:
        return self.memo.answer(("count", *self.key), self.query.count)

    @edge
    def again(self, keys: Sequence[int]) -> list[Row]:
        return read(self.held.opened, keys)

    @edge
    def take(self, limit: int) -> list[Row]:
        # One more than asked for tells whether more follow.
        while len(self._ahead) - self._at <= limit and not self._ended:
            self._size = max(limit + 1, min(READ_AHEAD, 4 * self._size))
            rows, self._after = self._page()
            self._ended = self._after is None
            self._ahead = self._ahead[self._at :] + rows
            self._at = 0
        some = self._ahead[self._at : self._at + limit]
        self._at += len(some)
        return some

    def _page(self) -> tuple[list[Row], After | None]:
        return self.memo.answer(
            ("page", *self.key, self._size, self._after),
            lambda: page(self.query, self._size, self._after, self.held.opened),
            lambda found: len(found[0]),
        )

    @property
    def more(self) -> bool:
        return self._at < len(self._ahead) or not self._ended


class PageListing(Listing):
    """A listing from the server, page by page; what is read is kept in the store."""

    def __init__(
        self, source: RunDoor, entity: str, project: str, filters: Mapping[str, Any], order: str
    ) -> None:
        self.source = source
        self.path = (entity, project)
        self.filters = filters
        self.order = order
        self._after: str | None = None
        self._count: int | None = None
        self._more = True

    @edge
    def count(self) -> int:
        if self._count is None:
            self._ask(first=1, light=True)
        assert self._count is not None
        return self._count

    @edge
    def take(self, limit: int) -> list[Row]:
        while self._more:  # empty pages with more behind them are walked through
            page = self._ask(first=limit, after=self._after)
            self._more = page.has_next and page.end_cursor != self._after
            self._after = page.end_cursor
            if page.nodes:
                now = self.source.now()
                return [row_of(node, now) for node in page.nodes]
        return []

    def _ask(self, **page: Any) -> Any:
        from mirror.remote.operations import Runs

        wanted = Runs(self.filters, order=self.order, **page)
        found = self.source.fetch_page(*self.path, wanted, self.filters)
        if found is None:
            raise ValueError(f"Could not find project {self.path[1]}")
        answer, self._count = found
        return answer

    @property
    def more(self) -> bool:
        return self._more
