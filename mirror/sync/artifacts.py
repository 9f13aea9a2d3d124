"""The artifacts of one project or registry: pulse → collections that moved → memberships, lineage.

A pulse is one request: every collection with its tags, its aliases, the number and the newest of
its memberships, and the versions edited since the mark. What it shows is held against the store;
only a collection that differs is read. Aliases and links move no `updatedAt` of a version (contract
7.11), so they are never looked for by time. A membership is taken for gone only after a complete
light walk of its collection and a second look at the version itself.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from mirror import ingest_artifacts as door
from mirror import instants
from mirror.errors import GraphQLError, NotFound, ServerFailed, StuckCursor, TooLarge
from mirror.jsontext import dumps, escape, unescape
from mirror.remote.client import Client
from mirror.remote.pages import Page, PageSize, page_of
from mirror.store import tables
from mirror.store.store import Row, Store
from mirror.sync import state
from mirror.sync.pulse import ALIASES_A_PAGE, COLLECTIONS_A_PAGE, STAGE, edited_since, since_us
from mirror.sync.report import Event, ProjectReport

__all__ = ["ArtifactSync", "Choice", "Place"]

LIGHT_PAGE = 1000
IDS_A_REQUEST = 50
RUNS_A_REQUEST = 100
RUNS_A_ROUND = 2000
"""Runs whose lineage is read in one round; the others' in the next."""
LINKS_A_RUN = 200
_SIZES = ("first", "aliases", "links", "collections")
"""Variables that say how large a page is to be."""
FOREIGN_A_ROUND = 500
"""Versions of other projects, met in lineage, that are read in one round."""


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


@dataclass(slots=True)
class ArtifactSync:
    """One round over the artifacts of one place. `run` does everything."""

    client: Client
    store: Store
    place: Place
    report: ProjectReport
    lease: int | None = None
    mark: str | None = None
    lag_s: float = 300.0
    reconcile: bool = False
    reconcile_every_s: float = 86_400.0
    choice: Choice = Choice()
    emit: Callable[[Event], None] = lambda _event: None
    keep_going: Callable[[], None] = lambda: None
    """called after every page; raises to end the round there"""
    state: dict[str, Any] = field(default_factory=dict)
    page_size: PageSize = field(default_factory=PageSize)
    long: dict[str, Row] = field(default_factory=dict)
    """collections with more aliases than a pulse shows, as held"""
    page_cap: int = LIGHT_PAGE
    """the largest page that the server has not refused"""
    first: Mapping[str, Any] | None = None
    """the first page of the pulse, where it was asked ahead"""
    answered: bool = False
    """whether the server has answered a question about artifacts at all, now or ever"""

    # -------------------------------------------------------------- the round

    def run(self, nodes: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Bring the place up to date; `nodes` are the collections where a pulse has shown them all."""
        self.state = state.load(self.store, self.place.project_id, STAGE)
        self.answered = self.state["walk_complete_at"] is not None
        compare = self.reconcile or self._reconcile_is_due()
        listed: set[str] = set()
        for page in [nodes] if nodes is not None else self._pulse():
            held = self._held(page)
            for node in page:
                listed.add(node["id"])
                if self.choice.takes(node):
                    self._collection(node, held.get(node["id"]), compare=compare)
        self._known_aliases()
        self._bury_collections(listed)
        self._lineage()
        whole = compare or self.state["walk_complete_at"] is None
        done = {"reconciled_at": instants.now()} if whole else {}
        self._save(
            walk_complete_at=self.state["walk_complete_at"] or instants.now(),
            mark=self.mark, synced_at=self._at(), last_error=None, last_error_at=None, **done,
        )  # fmt: skip

    def _reconcile_is_due(self) -> bool:
        if self.state["walk_complete_at"] is None:
            return False
        last_us = instants.to_us(self.state["reconciled_at"]) or 0
        return time.time_ns() // 1000 - last_us >= self.reconcile_every_s * 1_000_000

    def since(self) -> str:
        """The filter for versions edited since the last round, with its overlap."""
        return edited_since(since_us(self.state, self.lag_s))

    def looks_for_edits(self) -> bool:
        """Whether to ask for versions by `updatedAt`: not at first, nor where the server refused."""
        return self.state["mark"] is not None and not self.state["details"].get("edits_refused")

    def _ask(self, operation: str, **variables: Any) -> dict[str, Any]:
        """Send an operation; where the server refuses pages so large, smaller ones from then on."""
        while True:
            capped = {
                name: min(value, self.page_cap) if name in _SIZES else value
                for name, value in variables.items()
            }
            try:
                return self.client.execute(operation, **capped)
            except TooLarge:
                if self.page_cap == 1:
                    raise
                self.page_cap = max(1, max(v for k, v in capped.items() if k in _SIZES) // 2)

    # -------------------------------------------------------------- pulse

    def _pulse(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield pages of collections; the first also brings the artifact types."""
        for number, project in enumerate(self._pulse_pages()):
            if number == 0:
                self._types(project)
            yield page_of(project.get("artifactCollections")).nodes

    def _pulse_pages(self) -> Iterator[Mapping[str, Any]]:
        after, used = None, set[str | None]()
        while True:
            project = self._ask_pulse(after)
            self.answered = True
            yield project
            page = page_of(project.get("artifactCollections"))
            if not page.has_next:
                return
            used.add(after)
            after = _following(page, used, f"{self.place.path}: the listing of collections")

    def _ask_pulse(self, after: str | None) -> Mapping[str, Any]:
        variables = {
            "entity": self.place.entity, "project": self.place.name, "after": after,
            "first": COLLECTIONS_A_PAGE,
            "aliases": ALIASES_A_PAGE, "since": self.since(), "edited": self.looks_for_edits(),
        }  # fmt: skip
        if after is None and self.first is not None:
            return self.first
        try:
            data = self._ask("MirrorArtifactPulse", **variables)
        except TooLarge:
            raise
        except GraphQLError:
            if not variables["edited"]:
                raise
            data = self._ask("MirrorArtifactPulse", **{**variables, "edited": False})
            self._save(details={**self.state["details"], "edits_refused": True})
        project = data.get("project")
        if project is None:
            raise NotFound(
                f"artifacts of {self.place.path!r}: the server shows no such project to this key",
                operation="MirrorArtifactPulse",
            )
        return dict(project)

    def _types(self, project: Mapping[str, Any]) -> None:
        if project.get("artifactTypes") is None:
            return
        page, used = page_of(project["artifactTypes"]), set[str | None]()
        nodes = list(page.nodes)
        while page.has_next:
            after = _following(page, used, f"{self.place.path}: the listing of artifact types")
            used.add(after)
            data = self._ask(
                "MirrorTypesOfArtifacts", entity=self.place.entity, project=self.place.name,
                first=LIGHT_PAGE, after=after,
            )  # fmt: skip
            page = page_of((data.get("project") or {}).get("artifactTypes"))
            nodes += page.nodes
        c = tables.artifact_types.c
        held = self.store.rows(
            sa.select(c.name, c.description)
            .where(c.project_id == self.place.project_id, c.deleted_at.is_(None))
            .order_by(c.position)
        )
        known = [(unescape(row["name"]), row["description"]) for row in held]
        if known != [(node["name"], _escaped(node.get("description"))) for node in nodes]:
            with self._begin() as tx:
                door.ingest_types(
                    tx, nodes, project_id=self.place.project_id, synced_at=self._at(), listing=True
                )  # fmt: skip

    def _held(self, nodes: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
        """What is held of the listed collections, by id: the row, live members, aliases.

        `alone` is how many of the members no sync has seen yet: they were read by themselves.
        """
        ids = [node["id"] for node in nodes]
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

    # -------------------------------------------------------------- one collection

    def _collection(self, node: Mapping[str, Any], held: Row | None, *, compare: bool) -> None:
        """Hold one collection of the pulse against the store, and read what differs."""
        if node.get("state") == "DELETED":
            if held is not None and held["deleted_at"] is None:
                with self._begin() as tx:
                    door.tombstone_collections(tx, [node["id"]], at=self._at())
            return
        if held is None or held["deleted_at"] is not None or _differs(node, held):
            with self._begin() as tx:
                door.ingest_collections(
                    tx, [node], project_id=self.place.project_id, synced_at=self._at()
                )
            self.report.collections += 1
        total = (node.get("newest") or {}).get("totalCount")
        if held is None or held["walked_at"] is None:
            self._walk(node, total)
        elif compare or not self._stands(node, held, total):
            self._light_walk(node)
        else:
            self._edited(node)
        self._aliases(node)

    def _stands(self, node: Mapping[str, Any], held: Row, total: int | None) -> bool:
        """Whether nothing says that versions came or went: their number, the newest, who has aliases."""
        if held["alone"]:
            return False
        newest = [each["id"] for each in door.nodes_of(node.get("newest"))]
        holders, whole = self._holders(node)
        m = tables.artifact_memberships.c
        known = self.store.rows(
            sa.select(m.id, m.artifact_id).where(
                m.collection_id == held["id"], m.deleted_at.is_(None),
                m.id.in_(newest) | m.artifact_id.in_(sorted(set(holders.values()))),
            )
        )  # fmt: skip
        ids, artifacts = {row["id"] for row in known}, {row["artifact_id"] for row in known}
        if not set(newest) <= ids or not set(holders.values()) <= artifacts:
            return False
        edits = node.get("edited") or {}
        if (edits.get("pageInfo") or {}).get("hasNextPage"):
            return False
        return total == held["live"] if total is not None else whole or bool(newest) == bool(held["live"])  # fmt: skip

    def _holders(self, node: Mapping[str, Any]) -> tuple[dict[str, str], bool]:
        """Who has the collection's aliases, as far as the pulse shows them; whether that is all."""
        page = page_of(node.get("aliases"))
        given = {
            each["alias"]: each["artifact"]["id"] for each in page.nodes if each.get("artifact")
        }
        return {name: given[name] for name in door.aliases_of(page.nodes) if name in given}, not page.has_next  # fmt: skip

    def _aliases(self, node: Mapping[str, Any]) -> None:
        """Write who has which alias now, where the pulse shows another holder than the store."""
        holders, whole = self._holders(node)
        held = self._held([node]).get(node["id"])
        if held is None:
            return
        if not whole:
            self.long[node["id"]] = held
            return
        if holders == held["holders"]:
            return
        with self._begin() as tx:
            moved = door.move_aliases(tx, node["id"], holders, synced_at=self._at())
        self.report.collections += moved > 0

    def _known_aliases(self) -> None:
        """Where a pulse could not show all aliases: who has those that are held, in one request.

        An alias that is new there, on a version that is not, is found by the next comparison.
        """
        asked = [
            (identifier, alias)
            for identifier, held in self.long.items()
            for alias in held["holders"]
        ]
        if not asked:
            return
        found = self.client.members_by_alias(asked[:ALIASES_A_PAGE])
        now: dict[str, dict[str, str]] = {key: dict(held["holders"]) for key, held in self.long.items()}  # fmt: skip
        for (identifier, alias), holder in zip(asked, found, strict=False):
            if holder is None:
                now[identifier].pop(alias)
            else:
                now[identifier][alias] = holder
        for identifier, holders in now.items():
            if holders != self.long[identifier]["holders"]:
                with self._begin() as tx:
                    moved = door.move_aliases(tx, identifier, holders, synced_at=self._at())
                self.report.collections += moved > 0

    def _edited(self, node: Mapping[str, Any]) -> None:
        """Read the versions that the pulse says were edited."""
        listed = {each["id"]: each.get("updatedAt") for each in door.nodes_of(node.get("edited"))}
        if not listed:
            return
        c = tables.artifacts.c
        held = self.store.rows(sa.select(c.id, c.updated_at).where(c.id.in_(sorted(listed))))
        moved = [row["id"] for row in held if row["updated_at"] != listed[row["id"]]]
        self._fetch(moved)

    # -------------------------------------------------------------- walks

    def _pages(
        self,
        operation: str,
        path: Sequence[str],
        node: Mapping[str, Any],
        first: int,
        after: str | None = None,
    ) -> Iterator[Page]:
        """Yield the pages of a connection of one collection."""
        used: set[str | None] = set()
        while True:
            found: Any = self._ask(
                operation, entity=self.place.entity, project=self.place.name,
                collection=node["name"], first=first, after=after,
            )  # fmt: skip
            for name in path:
                found = (found or {}).get(name)
            if found is None:
                raise NotFound(
                    f"collection {self.place.path}/{node['name']}: the server shows it no more",
                    operation=operation,
                )
            page = page_of(found)
            yield page
            if not page.has_next:
                return
            used.add(after)
            after = _following(page, used, f"{self.place.path}/{node['name']}: its listing")

    def _walk(self, node: Mapping[str, Any], total: int | None) -> None:
        """Read all memberships of a collection with their versions, from where a walk was ended."""
        progress = (self.state["details"].get("walks") or {}).get(node["id"])
        resumed, after, used = progress is not None, progress, set[str | None]()
        done = 0
        while True:
            page = self._documents(node, after)
            self._keep(node, page.nodes, after=page.end_cursor if page.has_next else None)
            done += len(page.nodes)
            self.emit(
                Event(
                    "page", self.place.path, f"versions of {node['name']}", done=done, total=total
                )
            )
            self.keep_going()
            if not page.has_next:
                break
            used.add(after)
            after = _following(page, used, f"{self.place.path}/{node['name']}: its versions")
        held = self._held([node]).get(node["id"]) or {"live": 0, "alone": 0}
        if resumed or held["alone"] or (total is not None and total != held["live"]):
            self._light_walk(node)  # borders may have moved meanwhile
        with self._begin() as tx:
            self._walked(tx, node)

    def _walked(self, tx: Any, node: Mapping[str, Any]) -> None:
        c = tables.artifact_collections.c
        tx.execute(
            sa.update(tables.artifact_collections)
            .where(c.id == escape(node["id"]))
            .values(
                walked_at=self._at(),
                member_count=(node.get("newest") or {}).get("totalCount"),
                seq=tx.seq,
            )
        )

    def _documents(self, node: Mapping[str, Any], after: str | None) -> Page:
        """One page of whole memberships; smaller where the server cannot give as many."""
        while True:
            size, began = min(self.page_size.value, self.page_cap), time.monotonic()
            try:
                data = self.client.execute(
                    "MirrorMemberships", entity=self.place.entity, project=self.place.name,
                    collection=node["name"], first=size, after=after,
                )  # fmt: skip
            except (TooLarge, ServerFailed) as error:
                if size == 1:
                    raise
                if isinstance(error, TooLarge):
                    self.page_cap = size // 2
                self.page_size.shrink()
                continue
            self.page_size.answered(time.monotonic() - began, size)
            found = (data.get("project") or {}).get("artifactCollection")
            if found is None:
                raise NotFound(
                    f"collection {self.place.path}/{node['name']}: the server shows it no more",
                    operation="MirrorMemberships",
                )
            return page_of(found.get("artifactMemberships"))

    def _keep(
        self, node: Mapping[str, Any], members: Sequence[Mapping[str, Any]], **progress: str | None
    ) -> None:
        """Write a page of memberships, and where to go on, in one transaction."""
        details = self.state["details"]
        if progress:
            walks = {**(details.get("walks") or {}), node["id"]: progress["after"]}
            walks = {key: value for key, value in walks.items() if value is not None}
            details = {**details, "walks": walks}
        with self._begin() as tx:
            kept = door.ingest_memberships(tx, node["id"], members, synced_at=self._at())
            state.save(tx, self.place.project_id, stage=STAGE, details=details)
        self.state["details"] = details
        self.report.versions += kept.memberships
        self.report.versions_new += kept.new + kept.revived
        self._more_users([member["artifact"] for member in members if member.get("artifact")])

    def _more_users(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Where more runs use a version than a page shows: the others."""
        for node in nodes:
            page = page_of(node.get("usedBy"))
            used: set[str | None] = set()
            users = list((node.get("usedBy") or {}).get("edges") or ())
            if not page.has_next:
                continue
            while page.has_next:
                after = _following(page, used, f"the runs that use {node['id']}")
                used.add(after)
                data = self._ask(
                    "MirrorArtifactUsers", id=node["id"], first=LIGHT_PAGE, after=after
                )
                found = (data.get("artifact") or {}).get("usedBy")
                page = page_of(found)
                users += (found or {}).get("edges") or ()
            whole = {
                "id": node["id"],
                "createdBy": node.get("createdBy"),
                "usedBy": {"edges": users},
            }
            with self._begin() as tx:
                door.ingest_uses(tx, [whole], synced_at=self._at())

    def _light_walk(self, node: Mapping[str, Any]) -> None:
        """List all memberships without documents; read those that differ, bury those that are gone."""
        began = self._sequence()
        seen: set[str] = set()
        path = ["project", "artifactCollection", "artifactMemberships"]
        for page in self._pages("MirrorLightMemberships", path, node, LIGHT_PAGE):
            seen |= {member["id"] for member in page.nodes}
            self._mend(node, page.nodes)
            self.emit(Event("page", self.place.path, f"comparing {node['name']}", done=len(seen)))
            self.keep_going()
        m = tables.artifact_memberships.c
        missing = [
            row
            for row in self.store.rows(
                sa.select(m.id, m.artifact_id, m.version_index).where(
                    m.collection_id == escape(node["id"]), m.deleted_at.is_(None), m.seq <= began
                )
            )
            if row["id"] not in seen
        ]
        self._bury(node, missing)
        with self._begin() as tx:
            self._walked(tx, node)
        self.report.collections += 1

    def _mend(self, node: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> None:
        """Read the versions of a light page that are not held as it shows them."""
        held = self._members([member["id"] for member in members])
        wanted = {
            member["artifact"]["id"]: member
            for member in members
            if member.get("artifact") and _is_other(member, held.get(member["id"]))
        }
        for ids in _chunks(sorted(wanted), IDS_A_REQUEST):
            found = self._versions(ids)
            self._keep(
                node,
                [
                    {**wanted[each["id"]], "artifact": each, "commitHash": each.get("commitHash")}
                    for each in found
                    if each
                ],
            )
            self.keep_going()

    def _members(self, ids: Sequence[str]) -> dict[str, Row]:
        """What light memberships are compared with, by id."""
        m, v, u = tables.artifact_memberships.c, tables.artifacts.c, tables.artifact_uses.c
        used = (
            sa.select(sa.func.count())
            .where(u.artifact_id == v.id, u.direction == "used", u.deleted_at.is_(None))
            .scalar_subquery()
        )
        columns = (
            m.id, m.deleted_at, m.version_index, m.aliases, v.state, v.updated_at, v.tags,
            v.description, v.ttl_seconds, used.label("used"),
        )  # fmt: skip
        query = sa.select(*columns).join(tables.artifacts, v.id == m.artifact_id)
        query = query.where(m.alone.is_(None))
        return {
            row["id"]: row
            for some in _chunks(ids, 500)
            for row in self.store.rows(query.where(m.id.in_([escape(each) for each in some])))
        }

    # -------------------------------------------------------------- verify

    def differences(self) -> Iterator[tuple[str, str, str]]:
        """Yield (kind, name, detail) of all in which a light walk and the store differ; write nothing.

        Kinds are those of `mirror.sync.compare.Difference`: missing, extra, stale.
        """
        self.state = {**state.load(self.store, self.place.project_id, STAGE), "mark": None}
        listed: set[str] = set()
        for project in self._pulse_pages():
            nodes = page_of(project.get("artifactCollections")).nodes
            held = self._held(nodes)
            for node in nodes:
                listed.add(node["id"])
                if self.choice.takes(node) and node.get("state") != "DELETED":
                    yield from self._collection_differs(node, held.get(node["id"]))
        c = tables.artifact_collections.c
        for row in self.store.rows(
            sa.select(c.id, c.name).where(
                c.project_id == self.place.project_id, c.deleted_at.is_(None)
            )
        ):
            if row["id"] not in listed:
                yield "extra", unescape(row["name"]), "a collection the server does not list"

    def _collection_differs(
        self, node: Mapping[str, Any], held: Row | None
    ) -> Iterator[tuple[str, str, str]]:
        name = node["name"]
        if held is None or held["deleted_at"] is not None:
            yield "missing", name, "a collection on the server, not in the mirror"
            return
        if _differs(node, held):
            yield "stale", name, "name, type, tags or description of the collection differ"
        seen: set[str] = set()
        path = ["project", "artifactCollection", "artifactMemberships"]
        for page in self._pages("MirrorLightMemberships", path, node, LIGHT_PAGE):
            rows = self._members([member["id"] for member in page.nodes])
            for member in page.nodes:
                seen.add(member["id"])
                version, row = f"{name}:v{member.get('versionIndex')}", rows.get(member["id"])
                if row is None or row["deleted_at"] is not None:
                    yield "missing", version, "a version on the server, not in the mirror"
                elif member.get("artifact") and _is_other(member, row):
                    yield "stale", version, "aliases, tags, state or uses of the version differ"
        m = tables.artifact_memberships.c
        for row in self.store.rows(
            sa.select(m.id, m.version_index).where(
                m.collection_id == held["id"], m.deleted_at.is_(None)
            )
        ):
            if row["id"] not in seen:
                yield (
                    "extra",
                    f"{name}:v{row['version_index']}",
                    "a version the server does not list",
                )

    # -------------------------------------------------------------- gone

    def _bury(self, node: Mapping[str, Any], missing: Sequence[Row]) -> None:
        """Mark memberships gone that a complete walk lacked, once a second look confirms each."""
        gone: list[str] = []
        for rows in _chunks(missing, IDS_A_REQUEST):
            ids = [row["artifact_id"] for row in rows]
            found = self._versions(ids)
            deleted = [each for each in found if each and each.get("state") == "DELETED"]
            with self._begin() as tx:
                door.ingest_artifacts(tx, deleted, synced_at=self._at())
            for row, artifact in zip(rows, found, strict=True):
                is_deleted = artifact is not None and artifact.get("state") == "DELETED"
                if is_deleted or not self._answers(node, row):
                    gone.append(row["id"])
        with self._begin() as tx:
            self.report.versions_gone += door.tombstone_memberships(tx, gone, at=self._at())

    def _answers(self, node: Mapping[str, Any], row: Row) -> bool:
        """Whether the collection still answers to the version's number with this membership."""
        data = self.client.execute(
            "MirrorMember", entity=self.place.entity, project=self.place.name,
            collection=node["name"], alias=f"v{row['version_index']}",
        )  # fmt: skip
        found = ((data.get("project") or {}).get("artifactCollection") or {}).get(
            "artifactMembership"
        )
        return found is not None and bool(found["id"] == row["id"])

    def _bury_collections(self, listed: set[str]) -> None:
        """Mark collections gone that a complete listing lacked and that do not answer by their id."""
        c = tables.artifact_collections.c
        rows = self.store.rows(
            sa.select(c.id).where(c.project_id == self.place.project_id, c.deleted_at.is_(None))
        )
        missing = [row["id"] for row in rows if row["id"] not in listed]
        gone = []
        for identifier in missing:
            found = self.client.execute("MirrorCollectionById", id=identifier)
            node = found.get("artifactCollection")
            if not node or node.get("state") == "DELETED":
                gone.append(identifier)
        if gone:
            with self._begin() as tx:
                door.tombstone_collections(tx, gone, at=self._at())

    # -------------------------------------------------------------- lineage

    def _lineage(self) -> None:
        """Read what runs used and logged: those written since the last round, and `usedAs` of uses."""
        known = self.state["details"].get("lineage_seq")
        wanted, upto = self._runs_to_ask(known)
        foreign: set[str] = set()
        for names in _chunks(wanted, RUNS_A_REQUEST):
            nodes = self._lineage_of(list(names))
            with self._begin() as tx:
                foreign |= door.ingest_run_lineage(
                    tx, self.place.project_id, nodes, synced_at=self._at()
                )
            self.keep_going()
        if upto != known:
            self._save(details={**self.state["details"], "lineage_seq": upto})
        self._fetch(sorted(foreign)[:FOREIGN_A_ROUND])

    def _lineage_of(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        """Nodes of runs with all that they used and logged."""
        nodes: list[Mapping[str, Any]] = []
        left = list(names)
        while left:
            data = self._ask(
                "MirrorLineageOfRuns", entity=self.place.entity, project=self.place.name,
                filters=dumps({"name": {"$in": left}}), first=len(left), links=LINKS_A_RUN,
            )  # fmt: skip
            page = page_of((data.get("project") or {}).get("runs"))
            nodes += [self._all_links(node) for node in page.nodes]
            given = {node["name"] for node in page.nodes}
            left = [name for name in left if name not in given] if page.has_next and given else []
        return nodes

    def _all_links(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """A run's node with all of its links, where there are more than a page."""
        pages = {name: page_of(node.get(name)) for name in ("inputArtifacts", "outputArtifacts")}
        edges = {name: list((node.get(name) or {}).get("edges") or ()) for name in pages}
        used: set[str | None] = set()
        while any(page.has_next for page in pages.values()):
            at = {name: page.end_cursor for name, page in pages.items()}
            key = "\n".join(str(each) for each in at.values())
            _following(Page(end_cursor=key), used, f"the artifacts of run {node['name']}")
            used.add(key)
            data = self._ask(
                "MirrorLinksOfRun", entity=self.place.entity, project=self.place.name,
                run=node["name"], first=LIGHT_PAGE, used=at["inputArtifacts"],
                logged=at["outputArtifacts"],
            )  # fmt: skip
            run = (data.get("project") or {}).get("run") or {}
            for name, page in pages.items():
                if page.has_next:
                    edges[name] += (run.get(name) or {}).get("edges") or ()
                    pages[name] = page_of(run.get(name))
        told = {name: {"edges": rows} for name, rows in edges.items() if node.get(name) is not None}
        return {**node, **told}

    def _runs_to_ask(self, known: int | None) -> tuple[list[str], int]:
        """Names of the runs whose lineage is to be read, and up to which `seq` that reads them."""
        r, u = tables.runs.c, tables.artifact_uses.c
        now = self._sequence()
        here = (r.project_id == self.place.project_id) & (r.live == 1)
        theirs = (u.project_id == self.place.project_id) & u.deleted_at.is_(None)
        unnamed = self.store.rows(
            sa.select(u.run).distinct()
            .where(theirs, u.direction == "used", u.used_as.is_(None)).limit(RUNS_A_ROUND)
        )  # fmt: skip
        unordered = self.store.rows(  # in which order a run lists several is known to it only
            sa.select(u.run)
            .join(tables.runs, here & (r.name == u.run))
            .where(theirs)
            .group_by(u.run, u.direction)
            .having(sa.func.count() > 1, sa.func.count(u.run_position) < sa.func.count())
            .limit(RUNS_A_ROUND)
        )
        names = {unescape(row["run"]): None for row in (*unnamed, *unordered)}
        if known is None:  # the versions themselves have told who made and who used them
            return list(names), now
        moved = self.store.rows(
            sa.select(r.name, r.seq).where(here, r.seq > known).order_by(r.seq).limit(RUNS_A_ROUND)
        )
        names |= dict.fromkeys(unescape(row["name"]) for row in moved)
        upto = now if len(moved) < RUNS_A_ROUND else int(moved[-1]["seq"]) - 1
        return list(names), max(upto, known)

    def _versions(self, ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Versions by id, in one request; None for those the server does not have.

        A server may answer null for such an id, or refuse the whole document for it.
        """
        try:
            return self.client.each_by_id("artifact", "ArtifactFields", ids)
        except NotFound:
            if len(ids) == 1:
                return [None]
        except GraphQLError as error:
            if len(ids) == 1:
                if "not found" in str(error).lower():
                    return [None]
                raise
        return [node for one in ids for node in self._versions([one])]

    def _fetch(self, ids: Sequence[str]) -> None:
        """Read versions by id and write them."""
        for some in _chunks(ids, IDS_A_REQUEST):
            found = self._versions(some)
            with self._begin() as tx:
                door.ingest_artifacts(tx, [node for node in found if node], synced_at=self._at())
            self.report.versions += sum(node is not None for node in found)
            self._more_users([node for node in found if node])
            self.keep_going()

    # -------------------------------------------------------------- the store

    def _begin(self) -> Any:
        return self.store.begin(lease=self.lease)

    def _save(self, **values: Any) -> None:
        with self._begin() as tx:
            state.save(tx, self.place.project_id, stage=STAGE, **values)
        self.state.update(values)

    def _sequence(self) -> int:
        row = self.store.one(sa.select(tables.change_counter.c.seq))
        return int(row["seq"]) if row else 0

    def _at(self) -> str:
        return self.mark or instants.now()


def _following(page: Page, used: set[str | None], what: str) -> str:
    """The cursor of the next page. Raises StuckCursor when it does not move on."""
    if not page.end_cursor or page.end_cursor in used:
        raise StuckCursor(f"{what} does not move on: the server gave the cursor {page.end_cursor!r} again")  # fmt: skip
    return page.end_cursor


def _differs(node: Mapping[str, Any], held: Row) -> bool:
    """Whether a collection's own fields or tags are not as held."""
    tags = [escape(tag["name"]) for tag in door.nodes_of(node.get("tags"))]
    return (
        held["name"] != escape(node["name"])
        or held["type"] != _escaped((node.get("defaultArtifactType") or {}).get("name"))
        or held["description"] != _escaped(node.get("description"))
        or held["state"] != node.get("state")
        or ("updatedAt" in node and held["updated_at"] != node["updatedAt"])
        or [escape(name) for name in _names(held["tags"])] != tags
    )


def _is_other(member: Mapping[str, Any], held: Row | None) -> bool:
    """Whether a light membership is not as held."""
    if held is None or held["deleted_at"] is not None:
        return True
    artifact = member["artifact"]
    used = artifact.get("usedCount")
    return (
        held["version_index"] != member.get("versionIndex")
        or set(_names(held["aliases"])) != set(door.aliases_of(member.get("aliases") or ()))
        or held["state"] != artifact.get("state")
        or ("updatedAt" in artifact and held["updated_at"] != artifact["updatedAt"])
        or _names(held["tags"]) != [tag["name"] for tag in artifact.get("tags") or ()]
        or ("description" in artifact and held["description"] != _escaped(artifact["description"]))
        or held["ttl_seconds"] != artifact.get("ttlDurationSeconds")
        or (used is not None and used != held["used"])
    )


def _escaped(value: Any) -> str | None:
    return None if value is None else escape(str(value))


def _names(value: Any) -> list[str]:
    held = orjson.loads(value) if isinstance(value, str) else value or ()
    return [unescape(name) for name in held]


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
