"""What every part of a round over artifacts works with: its place, its state, how it asks and writes.

`ArtifactTask` is the hands of `artifacts`, `members`, `aliases`, `older` and `lineage`, as `task.Task` is
those of the runs. It decides nothing about when to do what.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from mirror import ingest_artifacts as door
from mirror import instants
from mirror.errors import GraphQLError, NotFound, StuckCursor
from mirror.jsontext import escape, unescape
from mirror.remote.client import Client
from mirror.remote.pages import Page, PageSize, page_of
from mirror.store import tables
from mirror.store.store import Row, Store
from mirror.sync import collector, state
from mirror.sync.pulse import STAGE
from mirror.sync.report import Event, ProjectReport

__all__ = [
    "IDS_A_REQUEST",
    "LIGHT_PAGE",
    "ArtifactTask",
    "Choice",
    "Place",
    "escaped",
    "following",
]

LIGHT_PAGE = 1000
IDS_A_REQUEST = 50


@dataclass(frozen=True, slots=True)
class Choice:
    """Which collections are taken, by globs over their types and names; empty means all."""

    types: Sequence[str] = ()
    collections: Sequence[str] = ()

    def takes(self, node: Mapping[str, Any]) -> bool:
        """Whether a collection's node is one to mirror."""
        kind = (node.get("defaultArtifactType") or {}).get("name") or ""
        return _fits(kind, self.types) and _fits(node["name"], self.collections)


def _fits(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatch.fnmatchcase(name, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class Place:
    """A project that holds collections, by the names the server knows now."""

    project_id: str
    entity: str
    name: str

    @property
    def path(self) -> str:
        """`entity/name`."""
        return f"{self.entity}/{self.name}"

    @property
    def variables(self) -> dict[str, str]:
        """How operations name it."""
        return {"entity": self.entity, "project": self.name}


@dataclass(slots=True)
class ArtifactTask:
    """One round over the artifacts of one place: what it knows, how it asks and keeps."""

    client: Client
    store: Store
    place: Place
    report: ProjectReport
    lease: int | None = None
    mark: str | None = None
    emit: Callable[[Event], None] = lambda _event: None
    on_page: Callable[[], None] = lambda: None
    """called after every page; raises to end the round there"""
    page_size: PageSize = field(default_factory=PageSize)
    state: dict[str, Any] = field(default_factory=dict)

    # -------------------------------------------------------------- asking

    def ask(self, operation: str, *, names: Sequence[str] = (), **variables: Any) -> dict[str, Any]:
        """Send an operation; `names` are aliases that collections are asked for, too."""
        return self.client.pulse(operation, names, **variables)

    def pages(
        self, fetch: Callable[[str | None], Page], what: str, after: str | None = None
    ) -> Iterator[Page]:
        """Yield the pages of a listing. Raises StuckCursor when its cursor does not move on."""
        used: set[str | None] = set()
        while True:
            page = fetch(after)
            yield page
            if not page.has_next:
                return
            used.add(after)
            after = following(page, used, what)

    def versions(self, ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Versions by id, in one request; None for those the server does not have.

        A server may answer null for such an id, or refuse the whole document for it.
        """
        return self._each(
            lambda some: self.client.each_by_id("artifact", "ArtifactFields", some), ids
        )

    def collections(self, ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Collections by id, in one request; None for those the server does not have."""
        return self._each(
            lambda some: self.client.each_by_id("artifactCollection", "CollectionFields", some), ids
        )

    def members_by_alias(self, asked: Sequence[tuple[str, str]]) -> list[Mapping[str, Any] | None]:
        """Members (`id`, `artifact {id}`) that (collection id, alias) name, in one request."""
        return self._each(self.client.members_by_alias, asked)

    def _each(self, ask: Callable[[Sequence[Any]], list[Any]], asked: Sequence[Any]) -> list[Any]:
        try:
            return ask(asked)
        except NotFound:
            if len(asked) == 1:
                return [None]
        except GraphQLError as error:
            if len(asked) == 1:
                if "not found" in str(error).lower():
                    return [None]
                raise
        half = len(asked) // 2
        return self._each(ask, asked[:half]) + self._each(ask, asked[half:])

    # -------------------------------------------------------------- keeping

    def keep_going(self) -> None:
        """End a page: free what it left in memory, and raise where the round is to end here."""
        collector.tidy()
        self.on_page()

    def begin(self) -> Any:
        """A transaction that fails if the lease is another's."""
        return self.store.begin(lease=self.lease)

    def save(self, **values: Any) -> None:
        """Write columns of the stage's state."""
        with self.begin() as tx:
            state.save(tx, self.place.project_id, stage=STAGE, **values)
        self.state.update(values)

    def sequence(self) -> int:
        """The change counter."""
        row = self.store.one(sa.select(tables.change_counter.c.seq))
        return int(row["seq"]) if row else 0

    def at(self) -> str:
        """The time that what is written now is of."""
        return self.mark or instants.now()

    def keep_versions(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Write versions met by their id, with all that use them."""
        with self.begin() as tx:
            door.ingest_artifacts(tx, nodes, synced_at=self.at())
        self.report.versions += len(nodes)
        self.more_users(nodes)

    def fetch(self, ids: Sequence[str]) -> None:
        """Read versions by id and write them."""
        for some in state.chunks(ids, IDS_A_REQUEST):
            self.keep_versions([node for node in self.versions(some) if node])
            self.keep_going()

    def more_users(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Where more runs use a version than a page shows: the others."""
        for node in nodes:
            if not page_of(node.get("usedBy")).has_next:
                continue

            def fetch(after: str | None, node: Mapping[str, Any] = node) -> Page:
                if after is None:
                    return page_of(node["usedBy"])
                data = self.ask("MirrorArtifactUsers", id=node["id"], first=LIGHT_PAGE, after=after)
                return page_of((data.get("artifact") or {}).get("usedBy"))

            pages = self.pages(fetch, f"the runs that use {node['id']}")
            whole = {
                "id": node["id"],
                "createdBy": node.get("createdBy"),
                "usedBy": {"edges": [{"node": run} for page in pages for run in page.nodes]},
            }
            with self.begin() as tx:
                door.ingest_uses(tx, [whole], synced_at=self.at())

    def held(self, nodes: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
        """What is held of the listed collections, by id: the row, live members, aliases.

        `alone` is how many of the members no sync has seen yet: they were read by themselves.
        """
        ids = [escape(node["id"]) for node in nodes]
        c, m = tables.artifact_collections.c, tables.artifact_memberships.c
        a = tables.artifact_aliases.c
        rows = self.store.rows(sa.select(tables.artifact_collections).where(c.id.in_(ids)))
        live = self.store.rows(
            sa.select(
                m.collection_id, sa.func.count().label("n"), sa.func.count(m.alone).label("alone")
            )
            .where(m.collection_id.in_(ids), m.deleted_at.is_(None))
            .group_by(m.collection_id)
        )
        counts = {row["collection_id"]: row for row in live}
        holders: dict[str, dict[str, str]] = {}
        standing = sa.select(a.collection_id, a.alias, a.artifact_id).where(
            a.collection_id.in_(ids), a.until_us.is_(None)
        )
        for row in self.store.rows(standing):
            named = holders.setdefault(row["collection_id"], {})
            named[unescape(row["alias"])] = row["artifact_id"]
        return {
            row["id"]: {
                **row,
                "live": counts[row["id"]]["n"] if row["id"] in counts else 0,
                "alone": counts[row["id"]]["alone"] if row["id"] in counts else 0,
                "holders": holders.get(row["id"], {}),
            }
            for row in rows
        }


def following(page: Page, used: set[str | None], what: str) -> str:
    """The cursor of the next page. Raises StuckCursor when it does not move on."""
    if not page.end_cursor or page.end_cursor in used:
        raise StuckCursor(f"{what} does not move on: the server gave the cursor {page.end_cursor!r} again")  # fmt: skip
    return page.end_cursor


def escaped(value: Any) -> str | None:
    """A text as it is stored."""
    return None if value is None else escape(str(value))
