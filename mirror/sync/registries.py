"""What a round reads besides runs that has stages of its own: artifacts of projects, registries.

Nothing here fails a project: what cannot be read is a failed stage in the report, and exit code 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from mirror import ingest, instants
from mirror import ingest_artifacts as door
from mirror.errors import (
    Forbidden,
    GraphQLError,
    MirrorError,
    NotFound,
    RemoteError,
    ServerFailed,
    TooLarge,
)
from mirror.jsontext import escape, unescape
from mirror.paths import REGISTRY_PREFIX
from mirror.remote.client import Client
from mirror.remote.pages import PageSize, entity_projects, page_of
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import state
from mirror.sync.artifact_task import ArtifactTask, Choice, Place, following
from mirror.sync.artifacts import ArtifactSync
from mirror.sync.engine import ProjectSync
from mirror.sync.manifests import read_manifest, unread
from mirror.sync.older import LACKS, is_older
from mirror.sync.pulse import (
    COLLECTIONS_A_PAGE,
    REGISTRIES_A_PAGE,
    STAGE,
    Beside,
    Question,
    edited_since,
    registry_filter,
)
from mirror.sync.report import Event, ProjectReport
from mirror.sync.task import Stopped

__all__ = ["REGISTRIES", "Registries", "owner_of", "read_artifacts"]

REGISTRIES = "registries"
"""The stage of sync_state that tells of an organization, under the entity that owns its registries."""
FAILURES_TOLD = 3
"""So many registries that failed are named in the sync log."""
MANIFESTS_A_ROUND = 1000
REFUSED_DAYS = 7
"""So long a server that refused to tell edits is not asked for them again: comparisons find them."""

_DAY_US = 86_400_000_000


def read_artifacts(work: ProjectSync) -> None:
    """Read the artifacts of a project after its runs, as deep as its settings say."""
    settings = work.settings
    if "artifacts" not in settings.take or work.stopping():
        return
    stage = ArtifactSync(
        ArtifactTask(
            client=work.client,
            store=work.store,
            place=Place(work.project_id, work.project.entity, work.project.name),
            report=work.report,
            lease=work.lease,
            mark=work.mark,
            emit=work.emit,
            on_page=work.keep_going,
            page_size=PageSize(settings.page_size, maximum=settings.page_size_max),
        ),
        question=work.question,
        lag_s=settings.lag_s,
        reconcile=settings.reconcile or settings.full,
        reconcile_every_s=settings.reconcile_every_s,
        choice=Choice(settings.artifact_types, settings.artifact_collections),
        first=_first(work),
    )
    try:
        stage.run()
        if settings.depth == "manifests":
            _manifests(work)
    except RemoteError as error:
        if isinstance(error, GraphQLError) and not stage.answered and LACKS.search(str(error)):
            # A server that has none: told each time, and no reason to call the round failed.
            work.report.warnings.append(f"{work.report.path} has no artifacts to read: {error}")
            return
        _failed(work.report, "artifacts", work.store, work.lease, work.project_id, error)


def _first(work: ProjectSync) -> Mapping[str, Any] | None:
    """The page that was asked together with the project, if it is of this one."""
    ahead = work.ahead
    return ahead.pulse if ahead is not None and ahead.project_id == work.project_id else None


def _failed(
    report: ProjectReport,
    name: str,
    store: Store,
    lease: int | None,
    project_id: str,
    error: RemoteError,
) -> None:
    report.failed_stages.append(name)
    report.warnings.append(f"{name} of {report.path} were not read to the end: {error}")
    with store.begin(lease=lease) as tx:
        state.save(tx, project_id, stage=STAGE, last_error=str(error), last_error_at=instants.now())


def _manifests(work: ProjectSync) -> None:
    """Read the manifests that were not read yet, the newest versions first."""
    c = tables.artifact_collections.c
    rows = work.store.rows(
        sa.select(c.id).where(c.project_id == work.project_id, c.deleted_at.is_(None))
    )
    missing = 0
    for identifier in unread(work.store, [row["id"] for row in rows], MANIFESTS_A_ROUND):
        try:
            read_manifest(work.client, work.store, identifier, lease=work.lease)
            work.report.manifests += 1
        except NotFound:  # one that the server has lost keeps none of the others
            missing += 1
        work.keep_going()
    if missing:
        work.report.warnings.append(
            f"{missing} manifests of {work.report.path} are not on the server"
        )


@dataclass(slots=True)
class Registries:
    """The registries of the organizations that the key belongs to."""

    client: Client
    store: Store
    lease: int
    mark: str | None
    question: Question
    lag_s: float = 300.0
    reconcile: bool = False
    reconcile_every_s: float = 86_400.0
    emit: Callable[[Event], None] = lambda _event: None
    keep_going: Callable[[], None] = lambda: None
    page_size: PageSize = field(default_factory=PageSize)
    reports: list[ProjectReport] = field(default_factory=list)
    beside: Beside | None = None

    def ahead(self, organizations: Sequence[Mapping[str, Any]]) -> Beside | None:
        """What a project's pulse may ask along, where the key has one organization and no more."""
        owners = [owner_of(each) for each in organizations if each]
        if len(owners) == 1 and owners[0]:
            self.beside = Beside(self._asked(owners[0]), self._since_us(owners[0]))
        return self.beside

    def run(self, organizations: Sequence[Mapping[str, Any]]) -> list[ProjectReport]:
        """Read all of them; return a report for each registry, and for an organization that failed.

        Each organization is an entry of the sync log, and has a state: when it was last read whole.
        """
        known = [each for each in organizations if each]
        self._note(known)
        for organization in known:
            if owner_of(organization):
                self._logged(organization["name"], str(owner_of(organization)))
        return self.reports

    # -------------------------------------------------------------- one organization

    def _logged(self, organization: str, owner: str) -> None:
        """Read an organization's registries, and write into the log what came of it."""
        pattern = f"{owner}/{REGISTRY_PREFIX}*"
        with self.store.begin(lease=self.lease) as tx:
            entry = state.start_log(tx, pattern, instants.now())
        before = len(self.reports)
        try:
            error = self._trouble(organization, owner)
        except Stopped as stopped:
            self._log(owner, entry, "interrupted", str(stopped), self.reports[before:])
            raise
        outcome = "ok" if error is None else "failed"
        self._log(owner, entry, outcome, error, self.reports[before:])

    def _trouble(self, organization: str, owner: str) -> str | None:
        """Read an organization's registries; return what of them could not be read, or None."""
        before = len(self.reports)
        try:
            self._organization(organization, owner)
        except RemoteError as error:
            self._not_read(organization, owner, str(error))
        except MirrorError:
            raise  # the store, the lease, or the end of the round
        except Exception as error:  # noqa: BLE001 - the boundary: the projects are synced by now
            text = f"internal error: {type(error).__name__}: {error}"
            self._not_read(organization, owner, text)
        failed = [report for report in self.reports[before:] if report.failed_stages]
        return "; ".join(report.warnings[-1] for report in failed[:FAILURES_TOLD]) or None

    def _log(
        self,
        owner: str,
        entry: int,
        outcome: str,
        error: str | None,
        reports: Sequence[ProjectReport],
    ) -> None:
        counts = ("collections", "versions", "versions_new", "versions_gone", "registries_gone")
        report = {
            "kind": "registries",
            "registries": sum(each.kind == "registry" for each in reports),
            **{name: sum(getattr(each, name) for each in reports) for name in counts},
        }
        told: dict[str, Any] = {"last_error": error, "last_error_at": error and instants.now()}
        if outcome == "ok":
            told |= {"synced_at": self._at(), "mark": self.mark}
        with self.store.begin(lease=self.lease) as tx:
            state.end_log(tx, entry, outcome=outcome, report=report, error=error)
            state.save(tx, owner, stage=REGISTRIES, **told)

    def _not_read(self, organization: str, owner: str, why: str) -> None:
        self._failure(f"{owner}/{REGISTRY_PREFIX}*", f"registries of {organization} were not read: {why}")  # fmt: skip

    def _failure(self, path: str, text: str) -> None:
        report = ProjectReport(path=path, kind="registries")
        report.failed_stages.append("registries")
        report.warnings.append(text)
        self.reports.append(report)

    def _note(self, organizations: Sequence[Mapping[str, Any]]) -> None:
        """Write the organizations where they are not as held."""
        c = tables.organizations.c
        held = {
            (row["name"], row["org_entity"])
            for row in self.store.rows(sa.select(c.name, c.org_entity))
        }
        new = [each for each in organizations if (each["name"], owner_of(each)) not in held]
        if new:
            with self.store.begin(lease=self.lease) as tx:
                door.ingest_organizations(tx, new, synced_at=self._at())

    def _organization(self, organization: str, owner: str) -> None:
        listed: set[str] = set()
        for position, (key, node) in enumerate(self._listed(owner)):
            listed.add(key)
            if node is not None:
                self._registry(node, key, organization, owner, position)
            self.keep_going()
        r = tables.registries.c
        held = self.store.rows(
            sa.select(r.project_id, r.full_name).where(
                r.org_entity == escape(owner), r.deleted_at.is_(None)
            )
        )
        gone = [
            row["project_id"]
            for row in held
            if row["project_id"] not in listed and not self._answers(owner, row["full_name"])
        ]
        if not gone:
            return
        with self.store.begin(lease=self.lease) as tx:
            door.tombstone_registries(tx, gone, at=self._at())
            ingest.tombstone_projects(tx, gone, at=self._at())
        self.reports.append(
            ProjectReport(
                path=f"{owner}/{REGISTRY_PREFIX}*",
                kind="registries",
                registries_gone=len(gone),
            )
        )

    def _answers(self, owner: str, name: str) -> bool:
        """A second look at a registry that a listing lacked. One that is refused is there."""
        try:
            found = self.client.execute("MirrorProjectOwner", entity=owner, project=unescape(name))
        except NotFound:
            return False
        except Forbidden:
            return True
        return found.get("project") is not None

    # -------------------------------------------------------------- listing them

    def _listed(self, owner: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """Yield the registries of an organization, a page in memory at a time: key and node.

        With its collections where one request tells both; None for one that could not be read.
        """
        after, used = None, set[str | None]()
        edited, refused = not self._edits_are_refused(owner), False
        while True:
            variables = {
                "page": after, "first": REGISTRIES_A_PAGE, "edited": edited,
                "since": edited_since(self._since_us(owner) or 0), **self._asked(owner),
            }  # fmt: skip
            try:
                data = self._along(after) or self.client.pulse(
                    "MirrorRegistryPulse", self.question.names, **variables
                )
            except (GraphQLError, TooLarge, Forbidden, ServerFailed) as error:
                if edited and not isinstance(error, TooLarge | Forbidden):
                    edited, refused = False, True  # some servers fail at a filter they cannot read
                    continue
                # Too much at once, an older server, or trouble with one of them: each by itself.
                yield from self._one_by_one(owner)
                return
            if refused:
                self._note_refused(owner)
                refused = False
            found = (data.get("entity") or {}).get("projects")
            if found is None:
                yield from self._one_by_one(owner)
                return
            page = page_of(found)
            del data, found
            for node in page.nodes:
                if node["name"].startswith(REGISTRY_PREFIX):
                    yield ingest.project_key(node), node
            if not page.has_next:
                return
            used.add(after)
            after = following(page, used, f"{owner}: the listing of registries")

    def _edits_are_refused(self, owner: str) -> bool:
        """Whether the server lately refused to say which versions were edited."""
        told = state.load(self.store, owner, REGISTRIES)["details"].get("edits_refused_at")
        told_us = instants.to_us(told)
        return told_us is not None and time.time_ns() // 1000 - told_us < REFUSED_DAYS * _DAY_US

    def _note_refused(self, owner: str) -> None:
        details = state.load(self.store, owner, REGISTRIES)["details"]
        with self.store.begin(lease=self.lease) as tx:
            told = {**details, "edits_refused_at": instants.now()}
            state.save(tx, owner, stage=REGISTRIES, details=told)

    def _along(self, after: str | None) -> dict[str, Any] | None:
        """The first page, where a project has asked for it along with its own; it is kept no longer."""
        if after is not None or self.beside is None or self.beside.answer is None:
            return None
        answer, self.beside.answer = self.beside.answer, None
        return {"entity": answer}

    def _one_by_one(self, owner: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """The registries of an organization, each asked for by itself; trouble with one is its own."""
        for project in entity_projects(self.client, owner):
            if not project["name"].startswith(REGISTRY_PREFIX):
                continue
            key = ingest.project_key(project)
            try:
                data = self.client.execute("MirrorRegistry", entity=owner, project=project["name"])
            except RemoteError as error:
                path = f"{owner}/{project['name']}"
                self._failure(path, f"registry {path} was not read: {error}")
                yield key, None
                continue
            yield key, {**project, **(data.get("project") or {})}

    def _since_us(self, owner: str) -> int | None:
        """The oldest mark of the registries held, with the overlap; None where there is none."""
        r, s = tables.registries.c, tables.sync_state.c
        row = self.store.one(
            sa.select(sa.func.min(s.mark).label("mark"))
            .select_from(tables.registries.join(tables.sync_state, s.project_id == r.project_id))
            .where(r.org_entity == escape(owner), s.stage == STAGE, r.deleted_at.is_(None))
        )
        mark_us = instants.to_us(row["mark"]) if row and row["mark"] else None
        return None if mark_us is None else max(0, mark_us - int(self.lag_s * 1_000_000))

    def _asked(self, owner: str) -> dict[str, Any]:
        return {
            "owner": owner,
            "registries": REGISTRIES_A_PAGE,
            "filters": registry_filter(),
            "collections": COLLECTIONS_A_PAGE,
            **self.question.variables,
        }

    # -------------------------------------------------------------- one registry

    def _registry(
        self, node: Mapping[str, Any], key: str, organization: str, owner: str, position: int
    ) -> None:
        report = ProjectReport(path=f"{owner}/{node['name']}", kind="registry", complete=True)
        self.reports.append(report)
        project = {name: value for name, value in node.items() if name in _PROJECT_FIELDS}
        project.setdefault("entityName", owner)
        if self._is_other(node, key):
            with self.store.begin(lease=self.lease) as tx:
                ingest.ingest_projects(tx, [project], synced_at=self._at())
                door.ingest_registry(
                    tx, node, project_id=key, organization=organization, org_entity=owner,
                    synced_at=self._at(), position=position,
                )  # fmt: skip
        stage = ArtifactSync(
            ArtifactTask(
                client=self.client,
                store=self.store,
                place=Place(key, owner, node["name"]),
                report=report,
                lease=self.lease,
                mark=self.mark,
                emit=self.emit,
                on_page=self.keep_going,
                page_size=self.page_size,
            ),
            question=self.question,
            lag_s=self.lag_s,
            reconcile=self.reconcile,
            reconcile_every_s=self.reconcile_every_s,
        )
        page = page_of(node.get("artifactCollections"))
        whole = not page.has_next and not is_older(node)
        try:
            stage.run(page.nodes if whole else None)
        except RemoteError as error:
            _failed(report, "registry", self.store, self.lease, key, error)
        else:
            report.synced_at = self._at()

    def _is_other(self, node: Mapping[str, Any], key: str) -> bool:
        """Whether a registry is not as held; its collections are compared one by one."""
        r = tables.registries.c
        row = self.store.one(sa.select(r.node, r.deleted_at).where(r.project_id == key))
        if row is None or row["deleted_at"] is not None:
            return True
        return bool(door.registry_node(node) != row["node"])

    def _at(self) -> str:
        return self.mark or instants.now()


def owner_of(organization: Mapping[str, Any]) -> str | None:
    """The entity that owns an organization's registries."""
    return (organization.get("orgEntity") or {}).get("name")


_PROJECT_FIELDS = (
    "id", "internalId", "name", "entityName", "description", "access", "readOnly", "isBenchmark",
    "createdAt", "lastActive",
)  # fmt: skip
