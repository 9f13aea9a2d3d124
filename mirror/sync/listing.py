"""What the engine asks of a server about one project, as values: Runs, Count, Sweeps → Answer.

One `ask` is one HTTP request: several selections go as aliases in one GraphQL document. A combined
document that the server refuses is sent again in parts, so that one bad selection does not void
the others. Knows names of operations; the text and the wire are `mirror.remote`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mirror.errors import GraphQLError, NotFound, StuckCursor
from mirror.remote.client import Client
from mirror.remote.operations import Count, Runs, Selection, SweepPulse, Sweeps
from mirror.remote.pages import Page, page_of
from mirror.sync.walk import START, Window, advance

__all__ = ["Answer", "Project", "windows"]

EMPTY_PAGES = 300
"""So many pages in a row may hold nothing, for rows that the key may not see; then it is a circle."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request brought: the project, pages and counts by alias, sweeps by name."""

    info: Mapping[str, Any]
    pages: Mapping[str, Page] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    sweeps: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    date: str | None = None


class Project:
    """One project of a server, by its path."""

    def __init__(self, client: Client, entity: str, name: str) -> None:
        self.client = client
        self.entity = entity
        self.name = name

    @property
    def path(self) -> str:
        """`entity/name`."""
        return f"{self.entity}/{self.name}"

    def ask(self, selections: Mapping[str, Selection], *, tries: int | None = None) -> Answer:
        """Send the selections in one request. Raises NotFound when the project answers null."""
        try:
            return self._ask(selections, tries)
        except GraphQLError:
            if len(selections) < 2:
                raise
        parts = [self._ask({alias: selection}, tries) for alias, selection in selections.items()]
        return Answer(
            info=parts[0].info,
            pages={alias: page for part in parts for alias, page in part.pages.items()},
            counts={alias: count for part in parts for alias, count in part.counts.items()},
            sweeps={alias: sweep for part in parts for alias, sweep in part.sweeps.items()},
            date=parts[0].date,
        )

    def _ask(self, selections: Mapping[str, Selection], tries: int | None) -> Answer:
        reply = self.client.combined(selections, tries=tries, entity=self.entity, project=self.name)
        node = reply.data.get("project")
        if node is None:
            raise NotFound(
                f"project {self.path!r}: the server has none of that name, or does not show it to "
                "this key: check the spelling, and the key with `mirror doctor`",
                operation="MirrorProject",
            )
        return Answer(
            info=node,
            pages={
                alias: page_of(node.get(alias))
                for alias, item in selections.items()
                if isinstance(item, Runs | Sweeps)
            },
            counts={
                alias: int(node.get(alias) or 0)
                for alias, item in selections.items()
                if isinstance(item, Count)
            },
            sweeps={
                item.name: node.get(alias)
                for alias, item in selections.items()
                if isinstance(item, SweepPulse)
            },
            date=reply.date,
        )


def windows(
    fetch: Callable[[Window], Page], window: Window = START
) -> Iterator[tuple[Page, Window, Window | None]]:
    """Yield (page, its window, the next window) until a listing ends.

    The next page is fetched by a thread while the caller works on this one: which page is next
    depends on what was listed, not on what is done with it.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="mirror-fetch") as ahead:
        pending: Future[Page] = ahead.submit(fetch, window)
        here: Window | None = window
        empty = 0
        while here is not None:
            page = pending.result()
            empty = 0 if page.nodes or page.nulls else empty + 1
            if empty > EMPTY_PAGES:
                raise StuckCursor(
                    f"the listing of runs gave {empty} empty pages in a row and says that there is more: "
                    "nothing was lost, try again later"
                )
            following = advance(here, page.nodes, page.end_cursor, page.has_next)
            if following is not None:
                pending = ahead.submit(fetch, following)
            yield page, here, following
            here = following
