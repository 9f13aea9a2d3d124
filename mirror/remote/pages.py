"""Relay connections as pages, and how large a page to ask for.

A page is a value; only `connection` talks to the server. Short and empty pages with more behind
them are normal (rows the key may not see are taken out after paging, contract 3.5), null nodes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mirror.errors import NotFound, StuckCursor
from mirror.remote.client import Client

__all__ = ["Page", "PageSize", "connection", "entity_projects", "page_of"]


@dataclass(frozen=True, slots=True)
class Page:
    """Nodes of one page; `nulls` counts the nodes the server left empty."""

    nodes: Sequence[Mapping[str, Any]] = ()
    end_cursor: str | None = None
    has_next: bool = False
    nulls: int = 0


def page_of(node: Mapping[str, Any] | None) -> Page:
    """Read a Relay connection. A null connection is an empty page."""
    if not node:
        return Page()
    edges = node.get("edges") or []
    info = node.get("pageInfo") or {}
    nodes = [edge["node"] for edge in edges if edge and edge.get("node")]
    # Both habits of the real client are served (contract 3.2); the last edge decides.
    cursor = next((edge["cursor"] for edge in reversed(edges) if edge and edge.get("cursor")), None)
    return Page(
        nodes=nodes,
        end_cursor=cursor or info.get("endCursor"),
        has_next=bool(info.get("hasNextPage")),
        nulls=len(edges) - len(nodes),
    )


def connection(
    client: Client, operation: str, path: Sequence[str], *, first: int = 200, **variables: Any
) -> Iterator[Page]:
    """Yield every page of a connection that has no time to walk by.

    `path` leads from `data` to the connection. Raises NotFound when something on the way is null,
    StuckCursor when the server promises more and its cursor does not move on.
    """
    after: str | None = None
    used: set[str] = set()  # a listing may also go round in circles
    while True:
        node: Any = client.execute(operation, first=first, after=after, **variables)
        for name in path:
            node = (node or {}).get(name)
        if node is None:
            asked = "/".join(str(value) for value in variables.values())
            raise NotFound(
                f"{asked!r}: the server has nothing of that name, or does not show it to this key",
                operation=operation,
            )
        page = page_of(node)
        yield page
        if not page.has_next:
            return
        if not page.end_cursor or page.end_cursor in used:
            raise StuckCursor(
                f"{operation}: the server says there is more and gives the same cursor again "
                f"({page.end_cursor!r})",
                operation=operation,
            )
        after = page.end_cursor
        used.add(after)


def entity_projects(client: Client, entity: str) -> Iterator[Mapping[str, Any]]:
    """Yield the projects of an entity that the key may see. Raises NotFound for an unknown one."""
    for page in connection(client, "MirrorEntityProjects", ["models"], entity=entity):
        yield from page.nodes


@dataclass(slots=True)
class PageSize:
    """How many documents to ask for, so that a page answers in `low_s` to `high_s` seconds.

    A size that failed is not tried again soon: growth stops at half of it, until CALM quick pages
    in a row say that it was the server's bad moment.
    """

    value: int = 100
    maximum: int = 1000
    low_s: float = 2.0
    high_s: float = 5.0
    _failed: int | None = field(default=None, repr=False)
    _calm: int = field(default=0, repr=False)

    CALM: ClassVar[int] = 10

    def answered(self, elapsed_s: float, asked: int) -> None:
        """Learn from a page that came: grow while it is quick, shrink when it is slow."""
        if elapsed_s > self.high_s:
            self._calm = 0
            self.value = max(1, min(self.value, asked) // 2)
        elif elapsed_s < self.low_s and asked >= self.value:
            self._calm += 1
            if self._calm >= self.CALM:
                self._failed = None
            limit = self.maximum if self._failed is None else max(1, self._failed // 2)
            self.value = max(self.value, min(limit, self.maximum, self.value * 2))

    def shrink(self) -> None:
        """A page failed or was too large: ask for a quarter."""
        self._failed, self._calm = self.value, 0
        self.value = max(1, self.value // 4)
