"""The artifacts of one project or registry: pulse → collections that moved → memberships, lineage.

A pulse is one request: every collection with its tags, its aliases, the number and the newest of
its memberships, and the versions edited since the mark (`pulse`). What it shows is held against the
store; only a collection that differs is read (`members`, `aliases`). Aliases and links move no
`updatedAt` of a version (contract 7.11), so they are never looked for by time. A server without such
listings is read another way (`older`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from mirror import ingest_artifacts as door
from mirror import instants
from mirror.errors import (
    Forbidden,
    GraphQLError,
    NotFound,
    RemoteError,
    ServerFailed,
    StuckCursor,
)
from mirror.global_ids import number_of
from mirror.jsontext import escape, names_in, unescape
from mirror.remote.pages import Page, page_of
from mirror.store import tables
from mirror.store.store import Row
from mirror.sync import older, state
from mirror.sync.aliases import Aliases
from mirror.sync.artifact_task import (
    IDS_A_REQUEST,
    LIGHT_PAGE,
    ArtifactTask,
    Choice,
    escaped,
)
from mirror.sync.lineage import Lineage
from mirror.sync.members import Members
from mirror.sync.pulse import COLLECTIONS_A_PAGE, STAGE, Question, edited_since, since_us

__all__ = ["ArtifactSync"]

MAX_BARREN = 3
"""So many collections failing in a row, none answering, end the round over a place."""

_ABOUT_ALIASES = re.compile(r"alias|artifactMembership\b|\blast\b", re.I)
"""What a server says that counts no aliases, or does not say who has one."""


@dataclass(slots=True)
class ArtifactSync:
    """One round over the artifacts of one place. `run` does everything."""

    task: ArtifactTask
    question: Question
    lag_s: float = 300.0
    reconcile: bool = False
    reconcile_every_s: float = 86_400.0
    choice: Choice = field(default_factory=Choice)
    first: Mapping[str, Any] | None = None
    """the first page of the pulse, where it was asked ahead"""
    answered: bool = False
    """whether the server has answered a question about artifacts at all, now or ever"""
    broken: dict[str, RemoteError] = field(default_factory=dict)
    """collections that could not be read, by name"""
    barren: int = 0
    """so many of them in a row, none answering"""
    members: Members = field(init=False)
    aliases: Aliases = field(init=False)

    def __post_init__(self) -> None:
        self.members = Members(self.task)
        self.aliases = Aliases(self.task, self.question)

    @property
    def state(self) -> dict[str, Any]:
        """The state of the stage."""
        return self.task.state

    # -------------------------------------------------------------- the round

    def run(self, nodes: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Bring the place up to date; `nodes` are the collections where a pulse has shown them all."""
        self.task.state = state.load(self.task.store, self.task.place.project_id, STAGE)
        self.answered = self.state["walk_complete_at"] is not None
        compare = self.reconcile or self._reconcile_is_due()
        listed: dict[str, None] = {}
        for page in [nodes] if nodes is not None else self._pages(anew=compare):
            held = self.task.held(page)
            for node in page:
                listed[escape(node["id"])] = None
                if self.choice.takes(node):
                    self._read(node, held.get(escape(node["id"])), compare=compare)
        self.aliases.finish()
        self._bury_collections(listed.keys())
        Lineage(self.task).run()
        if self.broken:
            raise _could_not_be_read(self.broken)
        whole = compare or self.state["walk_complete_at"] is None
        done = {"reconciled_at": instants.now()} if whole else {}
        self.task.save(
            walk_complete_at=self.state["walk_complete_at"] or instants.now(),
            mark=self.task.mark, synced_at=self.task.at(), last_error=None, last_error_at=None, **done,
            details={**self.state["details"], "newest_first": _is_newest_first([*listed])},
        )  # fmt: skip

    def _reconcile_is_due(self) -> bool:
        if self.state["walk_complete_at"] is None:
            return False
        last_us = instants.to_us(self.state["reconciled_at"]) or 0
        return time.time_ns() // 1000 - last_us >= self.reconcile_every_s * 1_000_000

    # -------------------------------------------------------------- pulse

    def _pages(self, *, anew: bool) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield pages of collections, however this server lists them; write the artifact types.

        What it cannot do is remembered; where everything is compared `anew`, it is asked again.
        """
        if anew or not self.state["details"].get("older"):
            refusal = None
            try:
                first = self._ask_pulse(None)
            except GraphQLError as error:
                if self.answered or not older.LACKS.search(str(error)):
                    raise
                refusal, first = error, {}
            if first and not older.is_older(first):
                self._note_older(older=False)
                yield from self._pulse(first)
                return
            try:
                yield from self._older()
            except GraphQLError as error:
                raise refusal or error from None
            return
        yield from self._older()

    def _pulse(self, first: Mapping[str, Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
        self.answered = True
        self._types(first)

        def fetch(after: str | None) -> Page:
            project = first if after is None else self._ask_pulse(after)
            return page_of(project.get("artifactCollections"))

        for page in self.task.pages(fetch, f"{self.task.place.path}: the listing of collections"):
            yield page.nodes

    def _older(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The collections of a server that lists them by type only, or lists no memberships."""
        self.members.older = True
        for types, nodes in older.collections(self.task):
            if types is not None:
                self.answered = True
                self._keep_types(types)
                self._note_older(older=True)
            yield nodes

    def _note_older(self, *, older: bool) -> None:
        details = self.state["details"]
        if bool(details.get("older")) == older or self.task.lease is None:
            return
        left = {key: value for key, value in details.items() if key != "older"}
        self.task.save(details=left | ({"older": True} if older else {}))
        if older:
            self.task.report.warnings.append(
                f"{self.task.report.path}: this server does not list collections and links as W&B does "
                "now: artifacts are read type by type, a request a collection in every round"
            )

    def _ask_pulse(self, after: str | None) -> Mapping[str, Any]:
        """One page of the pulse, with as much in the question as this server answers."""
        if after is None and self.first is not None:
            return self.first
        refusal: RemoteError | None = None
        ways = list(self._ways())
        for question, edited in ways:
            variables = {
                **self.task.place.variables, **question.variables, "after": after, "edited": edited,
                "first": COLLECTIONS_A_PAGE, "since": edited_since(since_us(self.state, self.lag_s)),
            }  # fmt: skip
            try:
                data = self.task.ask("MirrorArtifactPulse", names=question.names, **variables)
            except (GraphQLError, ServerFailed) as error:
                # Some servers fail at a filter they cannot read; one that fails without is not well.
                refusal = refusal or error
                failed = isinstance(error, ServerFailed) and not edited
                if failed or (question, edited) == ways[-1]:
                    raise refusal from None
                continue
            if refusal is not None:
                self._note_refused(question, edited=edited, said=str(refusal))
            break
        project = data.get("project")
        if project is None:
            raise NotFound(
                f"artifacts of {self.task.place.path!r}: the server shows no such project to this key",
                operation="MirrorArtifactPulse",
            )
        return dict(project)

    def _ways(self) -> Iterator[tuple[Question, bool]]:
        """What may be asked, the fullest question first: how for aliases, and whether for edits."""
        edited = self.state["mark"] is not None and not self.state["details"].get("edits_refused")
        for question in dict.fromkeys((self.question, Question("listed"))):
            if edited:
                yield question, True
            yield question, False

    def _note_refused(self, question: Question, *, edited: bool, said: str) -> None:
        """Ask as this server answers for the rest of the round; for good, if it says why."""
        if question != self.question:
            self.question = self.aliases.question = question
            if self.task.lease is not None and _ABOUT_ALIASES.search(said):
                with self.task.begin() as tx:
                    question.learned(tx, self.task.client.base_url, "listed", versions=False)
        elif not edited and self.task.lease is not None:
            self.task.save(details={**self.state["details"], "edits_refused": True})

    def _types(self, project: Mapping[str, Any]) -> None:
        """Write the artifact types that a pulse shows, and those on further pages."""
        if project.get("artifactTypes") is None:
            return

        def fetch(after: str | None) -> Page:
            if after is None:
                return page_of(project["artifactTypes"])
            data = self.task.ask(
                "MirrorTypesOfArtifacts", first=LIGHT_PAGE, after=after, **self.task.place.variables
            )
            return page_of((data.get("project") or {}).get("artifactTypes"))

        what = f"{self.task.place.path}: the listing of artifact types"
        self._keep_types([node for page in self.task.pages(fetch, what) for node in page.nodes])

    def _keep_types(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        if self.task.lease is None:
            return
        c = tables.artifact_types.c
        held = self.task.store.rows(
            sa.select(c.name, c.description)
            .where(c.project_id == self.task.place.project_id, c.deleted_at.is_(None))
            .order_by(c.position)
        )
        known = [(unescape(row["name"]), row["description"]) for row in held]
        if known != [(node["name"], escaped(node.get("description"))) for node in nodes]:
            with self.task.begin() as tx:
                door.ingest_types(
                    tx, nodes, project_id=self.task.place.project_id, synced_at=self.task.at(), listing=True
                )  # fmt: skip

    # -------------------------------------------------------------- one collection

    def _read(self, node: Mapping[str, Any], held: Row | None, *, compare: bool) -> None:
        """Bring one collection up to date. One that fails keeps none of the others from being read."""
        before = self.task.client.stats.requests
        try:
            self._collection(node, held, compare=compare)
        except (Forbidden, GraphQLError, NotFound, ServerFailed, StuckCursor) as error:
            self.broken[node["name"]] = error
            self.barren += 1
            if self.barren == MAX_BARREN:  # the server's trouble, not theirs
                raise _could_not_be_read(self.broken) from error
        else:
            if self.task.client.stats.requests != before:
                self.barren = 0

    def _collection(self, node: Mapping[str, Any], held: Row | None, *, compare: bool) -> None:
        """Hold one collection of the pulse against the store, and read what differs."""
        if node.get("state") == "DELETED":
            if held is not None and held["deleted_at"] is None:
                with self.task.begin() as tx:
                    door.tombstone_collections(tx, [held["id"]], at=self.task.at())
            return
        if held is None or held["deleted_at"] is not None or _differs(node, held):
            with self.task.begin() as tx:
                door.ingest_collections(
                    tx, [node], project_id=self.task.place.project_id, synced_at=self.task.at()
                )
            self.task.report.collections += 1
        total = (node.get("newest") or {}).get("totalCount")
        walked = held is None or held["walked_at"] is None
        if held is None or held["walked_at"] is None:
            self.members.walk(node, total)
        elif compare or self.members.older or not self._stands(node, held, total):
            self.members.compare(node)
        else:
            self._edited(node)
        if not self.members.older:
            self.aliases.check(node, walked=walked)

    def _stands(self, node: Mapping[str, Any], held: Row, total: int | None) -> bool:
        """Whether nothing says that versions came or went: their number, the newest, who has aliases."""
        if held["alone"] or self.aliases.are_blind(node):
            return False
        newest = [escape(each["id"]) for each in door.nodes_of(node.get("newest"))]
        holders = {escape(who) for who in self.aliases.shown(node).values()}
        m = tables.artifact_memberships.c
        known = self.task.store.rows(
            sa.select(m.id, m.artifact_id).where(
                m.collection_id == held["id"], m.deleted_at.is_(None),
                m.id.in_(newest) | m.artifact_id.in_(sorted(holders)),
            )
        )  # fmt: skip
        ids, artifacts = {row["id"] for row in known}, {row["artifact_id"] for row in known}
        if not set(newest) <= ids or not holders <= artifacts:
            return False
        edits = node.get("edited") or {}
        if (edits.get("pageInfo") or {}).get("hasNextPage"):
            return False
        if total is None:  # older servers count no memberships; their aliases may tell
            total = self.aliases.versions_shown(node, held)
        return total == held["live"] if total is not None else bool(newest) == bool(held["live"])

    def _edited(self, node: Mapping[str, Any]) -> None:
        """Read the versions that the pulse says were edited."""
        listed = {
            escape(each["id"]): each.get("updatedAt") for each in door.nodes_of(node.get("edited"))
        }
        if not listed:
            return
        c = tables.artifacts.c
        held = self.task.store.rows(sa.select(c.id, c.updated_at).where(c.id.in_(sorted(listed))))
        self.task.fetch([row["id"] for row in held if row["updated_at"] != listed[row["id"]]])

    # -------------------------------------------------------------- verify

    def differences(self) -> Iterator[tuple[str, str, str]]:
        """Yield (kind, name, detail) of all in which a light walk and the store differ; write nothing.

        Kinds are those of `mirror.sync.compare.Difference`: missing, extra, stale.
        """
        self.task.state = {
            **state.load(self.task.store, self.task.place.project_id, STAGE),
            "mark": None,
        }
        self.answered = self.state["walk_complete_at"] is not None
        listed: set[str] = set()
        for nodes in self._pages(anew=False):
            held = self.task.held(nodes)
            for node in nodes:
                listed.add(escape(node["id"]))
                if self.choice.takes(node) and node.get("state") != "DELETED":
                    yield from self._collection_differs(node, held.get(escape(node["id"])))
        c = tables.artifact_collections.c
        for row in self.task.store.rows(
            sa.select(c.id, c.name).where(
                c.project_id == self.task.place.project_id, c.deleted_at.is_(None)
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
        yield from self.members.differences(node)

    # -------------------------------------------------------------- gone

    def _bury_collections(self, listed: Set[str]) -> None:
        """Mark collections gone that a complete listing lacked and that do not answer by their id."""
        c = tables.artifact_collections.c
        rows = self.task.store.rows(
            sa.select(c.id).where(
                c.project_id == self.task.place.project_id, c.deleted_at.is_(None)
            )
        )
        missing = [unescape(row["id"]) for row in rows if row["id"] not in listed]
        gone = [
            escape(identifier)
            for some in state.chunks(missing, IDS_A_REQUEST)
            for identifier, node in zip(some, self.task.collections(some), strict=True)
            if node is None or node.get("state") == "DELETED"
        ]
        if gone:
            with self.task.begin() as tx:
                door.tombstone_collections(tx, gone, at=self.task.at())


def _could_not_be_read(broken: Mapping[str, RemoteError]) -> RemoteError:
    """What to raise for collections that failed: the first of them with what the server said."""
    name, error = next(iter(broken.items()))
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    return RemoteError(f"collection {name!r}{more}: {error}", operation=error.operation)


def _differs(node: Mapping[str, Any], held: Row) -> bool:
    """Whether a collection's own fields or tags are not as held."""
    tags = [escape(tag["name"]) for tag in door.nodes_of(node.get("tags"))]
    return (
        held["name"] != escape(node["name"])
        or held["type"] != escaped((node.get("defaultArtifactType") or {}).get("name"))
        or held["description"] != escaped(node.get("description"))
        or held["state"] != node.get("state")
        or ("updatedAt" in node and held["updated_at"] != node["updatedAt"])
        or [escape(name) for name in names_in(held["tags"])] != tags
    )


def _is_newest_first(ids: Sequence[str]) -> bool:
    """Whether a listing of collections goes down by the numbers in their ids; so W&B says of its own."""
    numbers = [number_of(unescape(each)) for each in ids]
    falls = sum(before > after for before, after in pairwise(numbers))
    return 2 * falls >= len(numbers) - 1
