"""How fresh the mirror is and what is in it: what `mirror status` prints, as values.

Reads the store only; nothing here asks the server. Ages are by the local clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from mirror import instants, projects
from mirror.jsontext import unescape
from mirror.paths import REGISTRY_PREFIX
from mirror.store import tables
from mirror.store.store import HEAD, Row, Store
from mirror.sync.lease import holder

__all__ = ["OrganizationStatus", "ProjectStatus", "Status", "SyncEntry", "status"]

UNFINISHED = ("running", "pending", "preempting")


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project: what the mirror holds of it and as of when."""

    path: str
    synced_at: str | None
    """server time the runs are fresh as of; None: never"""
    age_s: float | None
    complete: bool
    """whether the first walk over all runs has ended"""
    runs: int
    unfinished: int
    tombstones: int
    out_of_selection: int
    quarantined: int
    server_count: int | None
    """runs the server last counted"""
    behind: int | None
    """server_count less what is mirrored and explained; 0 when all is there"""
    reconciled_at: str | None
    updated_at_trust: str | None
    missed: int
    """edits that only a reconcile found, since the project was first synced"""
    last_error: str | None
    last_error_at: str | None
    deleted_at: str | None
    """when the mirror found the project gone"""
    collections: int = 0
    """artifact collections"""
    versions: int = 0
    """artifact versions in them, links counted where they are linked to"""
    artifacts_synced_at: str | None = None
    artifacts_error: str | None = None

    @property
    def note(self) -> str:
        """What a reader should know, in a few words; empty where all is well."""
        said = []
        if self.deleted_at:
            said.append(f"gone from the server since {self.deleted_at}")
        elif (
            not self.complete
            and self.synced_at is None
            and not self.runs
            and self.server_count is None
        ):
            said.append("not synced: only what was asked for is here")
        elif not self.complete:
            of = f" of {self.server_count:,}" if self.server_count else ""
            said.append(f"first sync not ended: {self.runs:,}{of}")
        if self.quarantined:
            said.append(f"{self.quarantined:,} in quarantine")
        if self.out_of_selection:
            said.append(f"{self.out_of_selection:,} out of selection")
        if self.artifacts_error:
            said.append("artifacts were not read to the end")
        if self.missed:
            said.append(f"{self.missed:,} edits found by reconcile only")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class OrganizationStatus:
    """The registries of one organization, which every round reads besides the projects."""

    name: str
    entity: str
    """who owns the registries"""
    registries: int
    synced_at: str | None
    """server time of the last round that read all of them; None: never"""
    age_s: float | None
    last_error: str | None
    """what of the last round could not be read"""
    last_error_at: str | None


@dataclass(frozen=True, slots=True)
class SyncEntry:
    """One entry of the sync log."""

    started_at: str
    finished_at: str | None
    path: str | None
    kind: str | None
    outcome: str | None
    error: str | None
    report: Mapping[str, Any]

    @property
    def took(self) -> str:
        """How long it took; empty while it runs, or if it was killed."""
        if self.finished_at is None:
            return ""
        took_us = instants.parse(self.finished_at) - instants.parse(self.started_at)
        return f"{took_us / 1_000_000:.0f} s"


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a store: where it is, who is syncing, its projects, what went on lately."""

    store: str
    revision: str
    size_bytes: int
    holder: str | None
    """who holds the sync lease now, since when"""
    projects: list[ProjectStatus] = field(default_factory=list)
    organizations: list[OrganizationStatus] = field(default_factory=list)
    syncs: list[SyncEntry] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The status as JSON-ready values."""
        return asdict(self)

    def stale(self, max_age_s: float) -> list[ProjectStatus]:
        """Return the live projects that are older than `max_age_s`, or were never synced whole."""
        return [
            one
            for one in self.projects
            if one.deleted_at is None
            and (not one.complete or one.age_s is None or one.age_s > max_age_s)
        ]


def status(store: Store, *, path: str | None = None, syncs: int = 5) -> Status:
    """Return the state of a store, of one project if `path` is given, with the last `syncs` syncs."""
    lease = holder(store)
    found = projects.every(store)
    if path is not None:
        entity, _, name = path.partition("/")
        found = [projects.find(store, entity, name)]
    counts = _Counts(store)
    return Status(
        store=str(store.path or store.engine.url.render_as_string(hide_password=True)),
        revision=store.revision() or HEAD,
        size_bytes=store.size_bytes(),
        holder=_said(lease) if lease else None,
        projects=[counts.project(one) for one in found],
        organizations=_organizations(store) if path is None else [],
        syncs=_last_syncs(store, syncs, path, lease),
    )


def _said(lease: Row) -> str:
    return f"{lease['owner']} on {lease['host']} since {lease['acquired_at']}"


class _Counts:
    """A few GROUP BYs over all projects, each answered from an index."""

    def __init__(self, store: Store) -> None:
        r, q = tables.runs.c, tables.quarantine.c
        count = sa.func.count()
        self.live = _grouped(store, sa.select(r.project_id, count).where(r.live == 1), r.project_id)
        gone = sa.select(r.project_id, sa.func.count(r.deleted_at)).where(r.live == 0)
        self.tombstones = _grouped(store, gone, r.project_id)
        out = sa.select(r.project_id, count).where(r.live == 0, r.deleted_at.is_(None))
        self.out_of_selection = _grouped(store, out, r.project_id)
        running = sa.select(r.project_id, count).where(r.state.in_(UNFINISHED), r.live == 1)
        self.unfinished = _grouped(store, running, r.project_id)
        self.quarantined = _grouped(store, sa.select(q.project_id, count), q.project_id)
        state = tables.sync_state
        rows = store.rows(sa.select(state).where(state.c.stage.in_(("runs", "artifacts"))))
        self.state = {row["project_id"]: row for row in rows if row["stage"] == "runs"}
        self.artifacts = {row["project_id"]: row for row in rows if row["stage"] == "artifacts"}
        known = store.rows(sa.select(tables.registries.c.project_id))
        self.registries = {row["project_id"] for row in known}
        c, m = tables.artifact_collections.c, tables.artifact_memberships.c
        there = sa.select(c.project_id, count).where(c.deleted_at.is_(None))
        self.collections = _grouped(store, there, c.project_id)
        members = sa.select(c.project_id, count).join_from(
            tables.artifact_memberships, tables.artifact_collections, c.id == m.collection_id
        )
        self.versions = _grouped(store, members.where(m.deleted_at.is_(None)), c.project_id)

    def project(self, project: projects.Project) -> ProjectStatus:
        key = project.project_id
        state: Mapping[Any, Any] = self.state.get(key, {})
        artifacts: Mapping[Any, Any] = self.artifacts.get(key, {})
        # A registry is mirrored without runs: its artifacts are all there is to be fresh.
        synced_at, complete = project.synced_at, project.complete
        if key in self.registries and not state:
            synced_at = artifacts.get("synced_at")
            complete = artifacts.get("walk_complete_at") is not None
        runs = self.live[key]
        server_count = state.get("server_count")
        return ProjectStatus(
            path=project.path,
            synced_at=synced_at,
            age_s=_age_s(synced_at),
            complete=complete,
            runs=runs,
            unfinished=self.unfinished[key],
            tombstones=self.tombstones[key],
            out_of_selection=self.out_of_selection[key],
            quarantined=self.quarantined[key],
            server_count=server_count,
            behind=_behind(server_count, runs, state),
            reconciled_at=state.get("reconciled_at"),
            updated_at_trust=state.get("updated_at_trust"),
            missed=state.get("missed") or 0,
            last_error=_unescaped(state.get("last_error")),
            last_error_at=state.get("last_error_at"),
            deleted_at=project.deleted_at,
            collections=self.collections[key],
            versions=self.versions[key],
            artifacts_synced_at=artifacts.get("synced_at"),
            artifacts_error=_unescaped(artifacts.get("last_error")),
        )


def _grouped(store: Store, statement: sa.Select[Any], by: Any) -> defaultdict[str, int]:
    rows = store.rows(statement.group_by(by))
    return defaultdict(int, {key: int(count) for key, count in (row.values() for row in rows)})


def _behind(server_count: int | None, runs: int, state: Mapping[Any, Any]) -> int | None:
    if server_count is None:
        return None
    return max(0, server_count - runs - (state.get("count_difference") or 0))


def _age_s(synced_at: str | None) -> float | None:
    if synced_at is None:
        return None
    return max(0.0, (instants.parse(instants.now()) - instants.parse(synced_at)) / 1_000_000)


def _unescaped(text: str | None) -> str | None:
    return text and unescape(text)


def _organizations(store: Store) -> list[OrganizationStatus]:
    o, r, s = tables.organizations.c, tables.registries.c, tables.sync_state.c
    count = sa.select(r.org_entity, sa.func.count()).where(r.deleted_at.is_(None))
    registries = _grouped(store, count, r.org_entity)
    rows = store.rows(
        sa.select(o.name, o.org_entity, s.synced_at, s.last_error, s.last_error_at)
        .join(tables.sync_state, s.project_id == o.org_entity)
        .where(s.stage == "registries")
        .order_by(o.name)
    )
    return [
        OrganizationStatus(
            name=unescape(row["name"]),
            entity=unescape(row["org_entity"]),
            registries=registries[row["org_entity"]],
            synced_at=row["synced_at"],
            age_s=_age_s(row["synced_at"]),
            last_error=_unescaped(row["last_error"]),
            last_error_at=row["last_error_at"],
        )
        for row in rows
    ]


def _last_syncs(store: Store, limit: int, path: str | None, lease: Row | None) -> list[SyncEntry]:
    log = tables.sync_log
    statement = sa.select(log).order_by(log.c.id.desc()).limit(limit)
    if path is not None:
        entity, _, name = path.partition("/")
        shared = [f"{entity}/{REGISTRY_PREFIX}*"] if name.startswith(REGISTRY_PREFIX) else []
        statement = statement.where(log.c.path.in_([path, *shared]))
    return [_entry(row, lease) for row in store.rows(statement)]


def _entry(row: Row, lease: Row | None) -> SyncEntry:
    outcome = row["outcome"]
    if outcome == "running" and (lease is None or row["started_at"] < lease["acquired_at"]):
        outcome = "interrupted"  # whoever began it holds the lease no more
    return SyncEntry(
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        path=row["path"],
        kind=row["kind"],
        outcome=outcome,
        error=_unescaped(row["error"]),
        report=orjson.loads(unescape(row["report"])) if row["report"] else {},
    )
