"""The versions in one collection: read whole the first time, compared with a light walk from then on.

A membership is taken for gone only after a complete light walk of its collection and a second look
at the version itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mirror import ingest_artifacts as door
from mirror.errors import GraphQLError, NotFound, ServerFailed
from mirror.jsontext import escape, names_in
from mirror.remote.pages import Page, page_of
from mirror.store import tables
from mirror.store.store import Row
from mirror.sync import older, state
from mirror.sync.artifact_task import (
    IDS_A_REQUEST,
    LIGHT_PAGE,
    ArtifactTask,
    escaped,
)
from mirror.sync.pulse import STAGE
from mirror.sync.report import Event

__all__ = ["Members"]

ROWS_A_READ = 1000


@dataclass(slots=True)
class Members:
    """Reads and compares the memberships of collections of one place."""

    task: ArtifactTask
    older: bool = False
    """whether the server lists versions only"""

    # -------------------------------------------------------------- listings

    def _page(self, node: Mapping[str, Any], first: int, after: str | None, *, light: bool) -> Page:
        """One page of memberships, whole or light."""
        where = {**self.task.place.variables, "collection": node["name"]}
        if self.older:
            where["type"] = (node.get("defaultArtifactType") or {}).get("name") or ""
            operation = "MirrorLightVersions" if light else "MirrorVersionsOfCollection"
        else:
            operation = "MirrorLightMemberships" if light else "MirrorMemberships"
        ask = self.task.ask if light else self.task.client.execute
        project = ask(operation, first=first, after=after, **where).get("project") or {}
        if self.older:
            project = project.get("artifactType") or {}
        found = project.get("artifactCollection")
        if found is None:
            raise NotFound(
                f"collection {self.task.place.path}/{node['name']}: the server shows it no more",
                operation=operation,
            )
        if self.older:
            return older.members_of(node, found.get("artifacts"))
        return page_of(found.get("artifactMemberships"))

    def _documents(self, node: Mapping[str, Any], after: str | None) -> Page:
        """One page of whole memberships; smaller where the server cannot give as many."""
        task = self.task
        while True:
            size, began = task.page_size.value, time.monotonic()
            try:
                page = self._page(node, size, after, light=False)
            except ServerFailed:
                if size == 1:
                    raise
                task.page_size.shrink()
                continue
            task.page_size.answered(time.monotonic() - began, size)
            return page

    def _light(self, node: Mapping[str, Any]) -> Iterator[Page]:
        """The pages of all memberships, without documents."""
        return self.task.pages(
            lambda after: self._page(node, LIGHT_PAGE, after, light=True),
            f"{self.task.place.path}/{node['name']}: its listing",
        )

    # -------------------------------------------------------------- the first walk

    def walk(self, node: Mapping[str, Any], total: int | None) -> None:
        """Read all memberships of a collection with their versions, from where a walk was ended."""
        task = self.task
        progress = (task.state["details"].get("walks") or {}).get(node["id"])
        what = f"{task.place.path}/{node['name']}: its versions"
        done = 0
        for page in task.pages(lambda after: self._documents(node, after), what, progress):
            self._keep(node, page.nodes, after=page.end_cursor if page.has_next else None)
            done += len(page.nodes)
            stage = f"versions of {node['name']}"
            task.emit(Event("page", task.place.path, stage, done=done, total=total))
            task.keep_going()
        held = task.held([node]).get(node["id"]) or {"live": 0, "alone": 0}
        if progress is not None or held["alone"] or (total is not None and total != held["live"]):
            self.compare(node)  # borders may have moved meanwhile
        with task.begin() as tx:
            self._walked(tx, node)

    def _walked(self, tx: Any, node: Mapping[str, Any]) -> None:
        c = tables.artifact_collections.c
        tx.execute(
            sa.update(tables.artifact_collections)
            .where(c.id == escape(node["id"]))
            .values(
                walked_at=self.task.at(),
                member_count=(node.get("newest") or {}).get("totalCount"),
                seq=tx.seq,
            )
        )

    def _keep(
        self, node: Mapping[str, Any], members: Sequence[Mapping[str, Any]], **progress: str | None
    ) -> None:
        """Write a page of memberships, and where to go on, in one transaction."""
        task = self.task
        details = task.state["details"]
        if progress:
            walks = {**(details.get("walks") or {}), node["id"]: progress["after"]}
            walks = {key: value for key, value in walks.items() if value is not None}
            details = {**details, "walks": walks}
        with task.begin() as tx:
            kept = door.ingest_memberships(tx, node["id"], members, synced_at=task.at())
            state.save(tx, task.place.project_id, stage=STAGE, details=details)
        task.state["details"] = details
        task.report.versions += kept.memberships
        task.report.versions_new += kept.new + kept.revived
        task.more_users([member["artifact"] for member in members if member.get("artifact")])

    # -------------------------------------------------------------- comparing

    def compare(self, node: Mapping[str, Any]) -> None:
        """List all memberships without documents; read those that differ, bury those that are gone."""
        task = self.task
        began = task.sequence()
        seen: set[str] = set()
        for page in self._light(node):
            seen |= {member["id"] for member in page.nodes}
            self._mend(node, page.nodes)
            stage = f"comparing {node['name']}"
            task.emit(Event("page", task.place.path, stage, done=len(seen)))
            task.keep_going()
        for rows in self._held_members(node["id"]):
            missing = [row for row in rows if row["id"] not in seen and row["seq"] <= began]
            if missing:
                self._bury(node, missing)
        with task.begin() as tx:
            self._walked(tx, node)
        task.report.collections += 1

    def _held_members(self, collection_id: str) -> Iterator[Sequence[Row]]:
        """The live memberships held of a collection, a page at a time."""
        m = tables.artifact_memberships.c
        query = (
            sa.select(m.id, m.artifact_id, m.version_index, m.seq)
            .where(m.collection_id == escape(collection_id), m.deleted_at.is_(None))
            .order_by(m.id)
            .limit(ROWS_A_READ)
        )
        rows = self.task.store.rows(query)
        while rows:
            yield rows
            rows = self.task.store.rows(query.where(m.id > rows[-1]["id"]))

    def _mend(self, node: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> None:
        """Read the versions of a light page that are not held as it shows them."""
        held = self.rows([member["id"] for member in members])
        wanted = {
            member["artifact"]["id"]: member
            for member in members
            if member.get("artifact") and is_other(member, held.get(escape(member["id"])))
        }
        for ids in state.chunks(sorted(wanted), IDS_A_REQUEST):
            found = self.task.versions(ids)
            self._keep(
                node,
                [
                    {**wanted[each["id"]], "artifact": each, "commitHash": each.get("commitHash")}
                    for each in found
                    if each
                ],
            )
            self.task.keep_going()

    def rows(self, ids: Sequence[str]) -> dict[str, Row]:
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
            for some in state.chunks(ids, 500)
            for row in self.task.store.rows(query.where(m.id.in_([escape(each) for each in some])))
        }

    # -------------------------------------------------------------- verify

    def differences(self, node: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Yield (kind, name, detail) of all in which a light walk and the store differ."""
        name, seen = node["name"], set[str]()
        for page in self._light(node):
            rows = self.rows([member["id"] for member in page.nodes])
            for member in page.nodes:
                seen.add(member["id"])
                version = f"{name}:v{member.get('versionIndex')}"
                row = rows.get(escape(member["id"]))
                if row is None or row["deleted_at"] is not None:
                    yield "missing", version, "a version on the server, not in the mirror"
                elif member.get("artifact") and is_other(member, row):
                    yield "stale", version, "aliases, tags, state or uses of the version differ"
        for held in self._held_members(node["id"]):
            for row in held:
                if row["id"] not in seen:
                    version = f"{name}:v{row['version_index']}"
                    yield "extra", version, "a version the server does not list"

    # -------------------------------------------------------------- gone

    def _bury(self, node: Mapping[str, Any], missing: Sequence[Row]) -> None:
        """Mark memberships gone that a complete walk lacked, once a second look confirms each."""
        for rows in state.chunks(missing, IDS_A_REQUEST):
            found = self.task.versions([row["artifact_id"] for row in rows])
            deleted = [each for each in found if each and each.get("state") == "DELETED"]
            with self.task.begin() as tx:
                door.ingest_artifacts(tx, deleted, synced_at=self.task.at())
            gone = [
                row["id"]
                for row, each in zip(rows, found, strict=True)
                if each is not None and each.get("state") == "DELETED"
            ]
            doubtful = [row for row in rows if row["id"] not in gone]
            if doubtful:
                answering = self._answering(node, doubtful, found)
                gone += [row["id"] for row in doubtful if row["id"] not in answering]
            with self.task.begin() as tx:
                self.task.report.versions_gone += door.tombstone_memberships(
                    tx, gone, at=self.task.at()
                )
            self.task.keep_going()

    def _answering(
        self,
        node: Mapping[str, Any],
        rows: Sequence[Row],
        versions: Sequence[Mapping[str, Any] | None],
    ) -> set[str]:
        """Ids of memberships that the collection still answers with to the version's number."""
        if not self.older:
            asked = [(node["id"], f"v{row['version_index']}") for row in rows]
            try:
                return {str(member["id"]) for member in self.task.members_by_alias(asked) if member}
            except GraphQLError as error:
                if not older.LACKS.search(str(error)):
                    raise
        own = {  # the server has none to ask for: a version stands in its own sequence
            str(each["id"])
            for each in versions
            if each and (each.get("artifactSequence") or {}).get("id") == node["id"]
        }
        return {row["id"] for row in rows if row["artifact_id"] in own}


def is_other(member: Mapping[str, Any], held: Row | None) -> bool:
    """Whether a light membership is not as held."""
    if held is None or held["deleted_at"] is not None:
        return True
    artifact = member["artifact"]
    used = artifact.get("usedCount")
    return (
        held["version_index"] != member.get("versionIndex")
        or set(names_in(held["aliases"])) != set(door.aliases_of(member.get("aliases") or ()))
        or held["state"] != artifact.get("state")
        or ("updatedAt" in artifact and held["updated_at"] != artifact["updatedAt"])
        or names_in(held["tags"]) != [tag["name"] for tag in artifact.get("tags") or ()]
        or ("description" in artifact and held["description"] != escaped(artifact["description"]))
        or held["ttl_seconds"] != artifact.get("ttlDurationSeconds")
        or (used is not None and used != held["used"])
    )
