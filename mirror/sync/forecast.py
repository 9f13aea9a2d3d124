"""`mirror sync --plan`: what a sync would cost, by asking the server and writing nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mirror import config as configuration
from mirror import instants
from mirror.config import Config
from mirror.errors import MirrorError, RemoteError, SchemaOutdated
from mirror.ingest import project_key
from mirror.paths import REGISTRY_PREFIX
from mirror.remote.client import Client
from mirror.remote.operations import Count, Runs
from mirror.store import tables
from mirror.store.store import Store, parse_url
from mirror.sync import state
from mirror.sync.artifact_task import Choice
from mirror.sync.engine import NEWEST_FIRST, SMALL_PROJECT
from mirror.sync.listing import Project
from mirror.sync.pulse import pulse, registry_pulse
from mirror.sync.registries import owner_of
from mirror.sync.round import check_asked, connect, targets_of, viewer
from mirror.sync.task import LIGHT_PAGE
from mirror.sync.walk import all_of

__all__ = ["Plan", "ProjectPlan", "plan"]

VERSION_BYTES = 1500
"""What one version takes in an answer, roughly; its metadata may be much more."""
LIGHT_BYTES = 400
"""What a run takes in a listing without its documents, roughly."""
SAMPLE = 20
"""Documents read of a project to learn how large its runs are."""


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """What a sync of one project, or of an organization's registries, would read.

    Bytes are response bodies after decompression.
    """

    path: str
    kind: str
    runs: int
    requests: int
    bytes: int
    server_count: int
    mirrored: int
    versions: int = 0
    """artifact versions to read, as far as the first 100 collections of each project tell"""


@dataclass(slots=True)
class Plan:
    """What a sync would read, project by project; `spent` is what asking has cost."""

    projects: list[ProjectPlan] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    spent_requests: int = 0
    spent_bytes: int = 0

    @property
    def runs(self) -> int:
        """Runs whose documents would be read."""
        return sum(project.runs for project in self.projects)

    @property
    def requests(self) -> int:
        """HTTP requests to come, the one for the viewer included."""
        return 1 + sum(project.requests for project in self.projects)

    @property
    def bytes(self) -> int:
        """Bytes to come."""
        return sum(project.bytes for project in self.projects)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready values."""
        return {**asdict(self), "runs": self.runs, "requests": self.requests, "bytes": self.bytes}


def plan(
    paths: Sequence[str] | str | None = None,
    *,
    store: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    config: str | os.PathLike[str] | Config | None = None,
    full: bool = False,
) -> Plan:
    """Return what `sync` with the same arguments would read. Nothing is written, none is made."""
    settings = (
        config
        if isinstance(config, Config)
        else configuration.resolve(
            store=None if store is None else os.fspath(store),
            base_url=base_url,
            api_key=api_key,
            config=config,
        )
    )
    wanted = [paths] if isinstance(paths, str) else paths
    check_asked(settings, wanted)
    made = Plan()
    with connect(settings) as client:
        opened = _open_if_there(settings)
        try:
            who = viewer(client)
            for target in targets_of(client, settings, who, wanted, made.failures):
                try:
                    one = _project(client, opened, settings, target, full)
                    made.projects.append(_with_artifacts(client, opened, settings, target, one))
                except MirrorError as error:
                    made.failures["/".join(target)] = str(error)
            if settings.sync.registries:
                made.projects += _registries(client, opened, settings, who)
        finally:
            if opened is not None:
                opened.close()
        made.spent_requests, made.spent_bytes = client.stats.requests, client.stats.bytes
    return made


def _open_if_there(settings: Config) -> Store | None:
    """The store; None where sync would make or migrate it: then everything is to come."""
    url = parse_url(settings.store)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").expanduser().exists():
        return None
    try:
        return Store.open(settings.store, read_only=True, journal_mode=settings.journal_mode)
    except SchemaOutdated as error:
        if error.newer:
            raise
        return None


def _project(
    client: Client, store: Store | None, settings: Config, target: tuple[str, str], full: bool
) -> ProjectPlan:
    project = Project(client, *target)
    filters = settings.project_settings(project.path).filters
    before = client.stats.bytes
    sample = Runs(filters, order="-created_at", first=SAMPLE)
    answer = project.ask({"total": Count(filters), "sample": sample})
    seen = len(answer.pages["sample"].nodes)
    each = (client.stats.bytes - before) / seen if seen else 0.0
    total = answer.counts["total"]
    known = state.load(store, project_key(answer.info)) if store is not None else {}
    mirrored = state.live_count(store, project_key(answer.info)) if store is not None else 0
    if full or not known.get("walk_complete_at"):
        left = total if full else max(0, total - mirrored)
        pages = math.ceil(left / settings.sync.page_size) if left else 0
        listed = total if full or total <= SMALL_PROJECT else 0
        if total > 2 * NEWEST_FIRST:  # what is read first is listed once the walk has come to it
            listed += NEWEST_FIRST
        reconcile = math.ceil(listed / LIGHT_PAGE) + 1 if listed else 0
        kind = "full" if full else "first"
        size = int(left * each) + listed * LIGHT_BYTES
        return ProjectPlan(project.path, kind, left, pages + reconcile + 4, size, total, mirrored)
    changed = _changed(project, filters, known, settings)
    pages = math.ceil(changed / settings.sync.page_size)
    listed = total if total != mirrored or total <= SMALL_PROJECT else 0
    walk = math.ceil(listed / LIGHT_PAGE) + 2 if listed else 0
    size = int(changed * each) + (listed + changed) * LIGHT_BYTES
    return ProjectPlan(
        project.path, "incremental", changed, pages + walk + 3, size, total, mirrored
    )


def _with_artifacts(
    client: Client,
    store: Store | None,
    settings: Config,
    target: tuple[str, str],
    runs: ProjectPlan,
) -> ProjectPlan:
    """The plan with what the artifacts add: a pulse, and pages of versions that are not held."""
    chosen = settings.project_settings(runs.path)
    if "artifacts" not in chosen.take:
        return runs
    choice = Choice(chosen.artifact_types, chosen.artifact_collections)
    try:
        nodes = pulse(client, *target)
    except RemoteError:
        return runs  # a sync would say it too, and fail no project for it
    taken = [node for node in nodes if choice.takes(node)]
    versions, requests = _versions(store, taken, settings.sync.page_size)
    return replace(
        runs,
        requests=runs.requests + 1 + requests,
        bytes=runs.bytes + versions * VERSION_BYTES,
        versions=versions,
    )


def _registries(
    client: Client, store: Store | None, settings: Config, who: Mapping[str, Any]
) -> Iterator[ProjectPlan]:
    """What the registries of the key's organizations add: versions that are not held."""
    for owner in filter(None, (owner_of(each) for each in who.get("organizations") or () if each)):
        try:
            nodes = registry_pulse(client, owner)
        except RemoteError:
            continue  # a sync would say it too, and fail no project for it
        if nodes:
            versions, requests = _versions(store, nodes, settings.sync.page_size)
            yield ProjectPlan(
                f"{owner}/{REGISTRY_PREFIX}*", "registries", 0, requests + 1,
                versions * VERSION_BYTES, 0, 0, versions,
            )  # fmt: skip


def _versions(
    store: Store | None, nodes: Sequence[Mapping[str, Any]], page_size: int
) -> tuple[int, int]:
    """How many versions of collections are not held, and the requests to read them."""
    held = _members_held(store, [node["id"] for node in nodes]) if store is not None else {}
    left = [
        max(0, ((node.get("newest") or {}).get("totalCount") or 0) - held.get(node["id"], 0))
        for node in nodes
    ]
    return sum(left), sum(math.ceil(each / page_size) for each in left)


def _members_held(store: Store, ids: Sequence[str]) -> dict[str, int]:
    m = tables.artifact_memberships.c
    rows = store.rows(
        sa.select(m.collection_id, sa.func.count().label("n"))
        .where(m.collection_id.in_(ids), m.deleted_at.is_(None))
        .group_by(m.collection_id)
    )
    return {row["collection_id"]: row["n"] for row in rows}


def _changed(
    project: Project, filters: Mapping[str, Any], known: Mapping[str, Any], settings: Config
) -> int:
    """How many runs moved since the mark, as the server counts."""
    micros = (instants.to_us(known["mark"]) or 0) - int(settings.sync.lag_s * 1_000_000)
    moved = {"$gte": instants.from_us(max(0, micros))}
    ways: list[dict[str, Any]] = [{"heartbeatAt": moved}, {"createdAt": moved}]
    if known["updated_at_trust"] == "trusted":
        ways.append({"updatedAt": moved})
    return project.ask({"moved": Count(all_of(filters, {"$or": ways}))}).counts["moved"]
