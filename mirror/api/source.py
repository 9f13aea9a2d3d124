"""Where the facade's answers come from: the store first, the server for what the mode lets through.

Every read of the store and every read-through of `mirror.Api` is here; the object classes hold a
Source and ask it. What is fetched goes through `ingest` and is then answered like what was stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from mirror import instants
from mirror.api import notices
from mirror.api.listings import Listing, PageListing, StoreListing
from mirror.api.raising import adapt, edge
from mirror.api.rows import row_of
from mirror.api.sweep_filters import matchers_of
from mirror.config import Config
from mirror.errors import (
    NotMirrored,
    OfflineError,
    RemoteError,
    StaleError,
    StoreBusy,
    StoreError,
    UnsupportedError,
)
from mirror.jsontext import dumps, escape, loads, unpack

if TYPE_CHECKING:
    from mirror.api.files import File
    from mirror.api.memo import Memo
    from mirror.api.rows import Row
    from mirror.api.runs import Run
    from mirror.indexes import QueryLog
    from mirror.projects import Project
    from mirror.reads import RunQuery
    from mirror.remote.client import Client
    from mirror.store.store import Store

__all__ = ["Source", "Stored"]

RETRY_AFTER_S = 30.0
"""How long a server found down is left alone before an answer is refreshed again."""
TRIES = 3
NOTES = 32
"""Different questions after which the notes for `mirror index advise` are written."""
WINDOW = 1000
"""Steps of a history that are read and kept together."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A node as the server sent it, and when it was."""

    node: Any
    synced_at: str


class Source:
    """A store, a server and the rules between them. Opens neither before the first read."""

    def __init__(
        self,
        config: Config,
        *,
        store: Any = None,
        partial: bool = False,
        by_page: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        self.config = config
        self.mode = config.mode
        self.max_age_s = config.max_age_s
        self.partial = partial
        self.by_page = by_page
        self.timeout_s = timeout_s
        self.app_url = app_url(config.base_url)
        self.base_url = config.base_url
        self._start(store)

    def _start(self, store: Any) -> None:
        self._given = store
        self._store: Store | None = None
        self._client: Client | None = None
        self._memo: Memo | None = None
        self._log: QueryLog | None = None
        self._queries = 0
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._down_until = 0.0
        self._warned = self._stale = False

    def __getstate__(self) -> dict[str, Any]:
        # Neither connections nor the key travel: the key is looked up again where it is needed.
        kept = ("mode", "max_age_s", "partial", "by_page", "timeout_s", "app_url", "base_url")
        state = {name: self.__dict__[name] for name in kept}
        return {**state, "config": replace(self.config, api_key=None, sources={})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start(None)

    def __repr__(self) -> str:
        return f"<Source {self.mode} {self.base_url}>"

    # -------------------------------------------------------------- opening

    @property
    def store(self) -> Store:
        """The store, opened at the first read; again in a forked process. Raises StoreError."""
        if self._store is not None and self._pid == os.getpid():
            return self._store
        with self._lock:
            return self._open()

    @property
    def memo(self) -> Memo:
        """Answers that hold as long as the store does not change."""
        store = self.store
        if self._memo is None:
            from mirror.api.memo import Memo

            self._memo = Memo(store)
        return self._memo

    def _open(self) -> Store:
        from mirror.store.store import Store

        if self._pid != os.getpid():  # connections of the parent are not ours to use
            self._client = self._store = self._memo = self._log = None
            self._pid = os.getpid()
            self._given = None if isinstance(self._given, Store) else self._given
        if isinstance(self._given, Store):
            self._store = self._given
        elif self._store is None:
            offline = self.mode == "offline"
            self._store = Store.open(
                self.config.store,
                create=not offline,
                upgrade=not offline,
                read_only=offline,
                journal_mode=self.config.journal_mode,
            )
        return self._store

    @property
    def client(self) -> Client:
        """The client of the server. Raises OfflineError in offline mode, before any socket."""
        if self.mode == "offline":
            raise OfflineError("the mode is offline: this needs the server, and nothing was sent")
        if self._client is None or self._pid != os.getpid():
            from mirror.remote.client import Client

            config = self._keyed()
            wait_s = self.timeout_s or config.sync.timeout_s
            self._client = Client(
                config.base_url,
                config.api_key,
                timeout_s=min(wait_s, config.sync.timeout_s),
                max_rps=config.sync.max_rps or _pace(config.base_url),
                tries=TRIES,
                wait_max_s=wait_s,
            )
            weakref.finalize(self, self._client.close)
        return self._client

    def _keyed(self) -> Config:
        """The configuration with its key; a source that was pickled lost it and looks again."""
        if not self.config.api_key:
            from mirror.config import resolve

            key = resolve(base_url=self.base_url, store=self.config.store).api_key
            self.config = replace(self.config, api_key=key)
        return self.config

    # -------------------------------------------------------------- refusing

    def refuse(self, member: str, why: str) -> NoReturn:
        """Raise UnsupportedError for a member that mirror does not offer."""
        raise adapt(UnsupportedError(f"mirror.Api does not offer {member}: {why}"))

    def refuse_artifacts(self, member: str) -> NoReturn:
        """Raise UnsupportedError for a member about artifacts, jobs or registries."""
        self.refuse(member, "artifacts are not mirrored yet; use the same member of wandb.Api()")

    def refuse_write(self, member: str) -> NoReturn:
        """Raise for a member that writes; offline OfflineError. Nothing is sent either way."""
        if self.mode == "offline":
            raise adapt(
                OfflineError(
                    f"{member} writes to the server and the mode is offline: nothing was sent"
                )
            )
        self.refuse(member, "it writes to the server; use the same member of wandb.Api()")

    # -------------------------------------------------------------- the server

    @edge
    def execute(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Send a GraphQL document and return its `data`. Raises OfflineError, RemoteError."""
        return self.client.request_document(document, variables, timeout_s=timeout_s).data

    @edge
    def fetch(self, operation: str, **variables: Any) -> dict[str, Any]:
        """Send a named operation and return its `data`. Raises OfflineError, RemoteError."""
        return self.client.execute(operation, **variables)

    def now(self) -> str:
        """The server's clock where it shows one, else ours."""
        return (self._client.server_time if self._client else None) or instants.now()

    def _answered(self, ask: Callable[[], Any], held: bool) -> bool:
        """Ask the server to refresh an answer; False when it is down and the store has one."""
        if held and self.mode == "auto" and time.monotonic() < self._down_until:
            return False
        try:
            ask()
        except (RemoteError, StoreBusy) as error:
            if not held or self.mode != "auto":
                raise
            self._down_until = time.monotonic() + RETRY_AFTER_S
            self._stale = True
            if not self._warned:
                self._warned = True
                notices.warn(f"answering from the mirror, which may be stale: {error}")
            return False
        self._stale = False
        return True

    # -------------------------------------------------------------- projects

    def find(self, entity: str, name: str) -> Project | None:
        """Return the project of the store that a path means, or None."""
        return self.memo.answer(("project", entity, name), lambda: self._find(entity, name))

    def _find(self, entity: str, name: str) -> Project | None:
        from mirror import projects

        try:
            return projects.find(self.store, entity, name)
        except NotMirrored:
            return None

    @edge
    def project(self, entity: str, name: str) -> Project | None:
        """Return a project whose listings can be answered from the store; None: there is none.

        Offline it must be mirrored to the end (or `partial`) and young enough: else NotMirrored and
        StaleError. In the other modes it is synced when it is not, or when it is too old.
        """
        found = self.find(entity, name)
        if self.mode == "offline":
            return self._offline(found, entity, name)
        usable = found is not None and found.deleted_at is None
        if found is not None and usable and (found.complete or self.partial):
            if not self._must_refresh(found):
                return found
            self._answered(lambda: self._sync(entity, name), held=True)
            return self.find(entity, name)
        if self._ask_project(entity, name) is None:
            return None
        self._sync(entity, name, asked=True)
        return self.find(entity, name)

    def _offline(self, found: Project | None, entity: str, name: str) -> Project | None:
        path = f"{entity}/{name}"
        if found is None:
            raise NotMirrored(f"project {path!r}", path=path)
        if found.deleted_at is not None:
            return None
        if not found.complete and not self.partial:
            raise self._incomplete(found, f"all of project {path!r}")
        self._refuse_stale(found.synced_at, f"project {path!r}", path)
        return found

    def _refuse_stale(self, synced_at: str | None, what: str, path: str | None) -> None:
        if not self._too_old(synced_at):
            return
        age = _age_s(synced_at)
        held = "its age is not known" if age is None else f"it is {age:,.0f} s old"
        limit = f"no older than max_age ({self.max_age_s:,.0f} s)"
        raise StaleError(f"{what} {limit}, {held}, and so it", path=path, synced_at=synced_at)

    def _incomplete(self, found: Project, what: str) -> NotMirrored:
        held, total = self._progress(found.project_id)
        so_far = f"{held:,} of {total:,} runs so far" if total else f"{held:,} runs so far"
        return NotMirrored(
            f"{what} (its first sync has not ended: {so_far})",
            path=found.path,
            synced_at=found.synced_at,
            remedy=f"run `mirror sync {found.path}`, or pass partial=True to read what is there",
        )

    def _progress(self, project_id: str) -> tuple[int, int | None]:
        held = self._scalar(
            "SELECT count(*) FROM runs WHERE project_id = ? AND live = 1", project_id
        )
        total = self._scalar("SELECT run_count FROM projects WHERE project_id = ?", project_id)
        return int(held), total

    def _rows(self, text: str, *values: Any) -> Sequence[Any]:
        """Run a statement written with ? for its values; in a read transaction of its own."""
        if self.store.backend != "sqlite":
            text = text.replace("?", "%s")
        with self.store.read() as connection:
            return connection.exec_driver_sql(text, values).all()

    def _scalar(self, text: str, *values: Any) -> Any:
        rows = self._rows(text, *values)
        return rows[0][0] if rows else None

    def _too_old(self, synced_at: str | None) -> bool:
        if self.max_age_s is None:
            return False
        age = _age_s(synced_at)
        return age is None or age > self.max_age_s

    def _must_refresh(self, found: Project) -> bool:
        return self.mode == "online" or self._too_old(found.synced_at)

    def is_stale(self, synced_at: str | None) -> bool:
        """Whether an answer of that age is older than `max_age`, or could not be refreshed."""
        return self._stale or self._too_old(synced_at)

    @edge
    def synced_at(self, entity: str, name: str) -> str | None:
        """Return the server's time that a project's mirror is fresh as of; None: never synced."""
        found = self.find(entity, name)
        return None if found is None else found.synced_at

    def _ask_project(self, entity: str, name: str) -> Mapping[str, Any] | None:
        """The project's node from the server, now; None where it says there is none."""
        data = self.client.combined({}, tries=2, entity=entity, project=name).data
        node: Mapping[str, Any] | None = data.get("project")
        return node

    def _sync(self, entity: str, name: str, *, asked: bool = False) -> None:
        """Sync one project into the store. Raises RemoteError, StoreBusy."""
        from mirror.sync import sync

        if not asked:
            self._ask_project(entity, name)  # one quick request tells whether the server is there
        path = f"{entity}/{name}"
        report = sync([path], store=self.store, config=self._keyed(), on_event=notices.progress())
        failure = report.failures.get(path)
        if failure is not None:
            raise RemoteError(f"{path} could not be synced: {failure}")

    @edge
    def project_node(self, entity: str, name: str) -> Stored | None:
        """Return the project's own node; None: there is none. Read through in auto mode."""
        found = self.find(entity, name)
        if found is not None and found.deleted_at is not None:
            found = None if self.mode != "offline" else found
            if self.mode == "offline":
                return None
        if self.mode == "offline":
            if found is None:
                raise NotMirrored(f"project '{entity}/{name}'", path=f"{entity}/{name}")
            return self._project_node(found.project_id)
        if found is not None and self.mode == "auto":
            return self._project_node(found.project_id)
        key: str | None = None

        def ask() -> None:
            nonlocal key
            node = self._ask_project(entity, name)
            key = None if node is None else self._keep_project(node)

        if self._answered(ask, held=found is not None):
            return None if key is None else self._project_node(key)
        assert found is not None
        return self._project_node(found.project_id)

    def _keep_project(self, node: Mapping[str, Any]) -> str:
        from mirror.ingest import ingest_projects

        with self.store.begin() as tx:
            return ingest_projects(tx, [node], synced_at=self.now())[0]

    def _project_node(self, project_id: str) -> Stored:
        ((node, synced_at),) = self._rows(
            "SELECT node, synced_at FROM projects WHERE project_id = ?", project_id
        )
        owner = self._object("project_owner", project_id, "owner")
        found: dict[str, Any] = loads(unpack(node) or "{}")
        if owner is not None:
            found["user"] = owner.node
        return Stored(found, synced_at)

    @edge
    def projects(self, entity: str) -> list[Stored] | None:
        """Return the nodes of an entity's projects; None where the server says there is none.

        Offline these are the mirrored ones. Raises NotMirrored when there is not one.
        """
        if self.mode == "offline":
            return self._mirrored_projects(entity)
        from mirror.errors import NotFound
        from mirror.remote.pages import entity_projects

        listed: list[Mapping[str, Any]] | None = None

        def ask() -> None:
            nonlocal listed
            try:
                listed = list(entity_projects(self.client, entity))
            except NotFound:
                listed = None

        if not self._answered(ask, held=self._holds_entity(entity)):
            return self._mirrored_projects(entity)
        if listed is None:
            return None
        self._keep_listing(entity, listed)
        return [Stored(node, self.now()) for node in listed]

    def _keep_listing(self, entity: str, nodes: Sequence[Mapping[str, Any]]) -> None:
        if not self.config.read_through:
            return
        from mirror.ingest import ingest_objects, ingest_projects

        named = {str(node["name"]): dict(node) for node in nodes}
        with self.store.begin() as tx:
            ingest_projects(tx, nodes, synced_at=self.now())
            ingest_objects(tx, "project_list", entity, named, synced_at=self.now(), listing={})

    def _holds_entity(self, entity: str) -> bool:
        from mirror import projects

        return any(project.entity == entity for project in projects.every(self.store))

    def _mirrored_projects(self, entity: str) -> list[Stored]:
        from mirror import projects

        held = [
            project
            for project in projects.every(self.store)
            if project.entity == entity and project.deleted_at is None
        ]
        if not held:
            raise NotMirrored(f"entity {entity!r}", remedy=f"run `mirror sync '{entity}/*'`")
        listed = self._objects("project_list", entity) or []
        places = {item.node["name"]: place for place, item in enumerate(listed)}
        nodes = [self._project_node(project.project_id) for project in held]

        def place(item: Stored) -> tuple[int, int, int]:
            made_us = instants.to_us(item.node.get("createdAt")) or 0
            listed_at = places.get(item.node["name"], len(places))
            return listed_at, made_us, _number(item.node.get("internalId"))

        return sorted(nodes, key=place)

    # -------------------------------------------------------------- runs

    @edge
    def runs(
        self, entity: str, project: str, filters: Mapping[str, Any], order: str | None
    ) -> Listing | None:
        """Return the listing of a project's runs; None where the server says there is no project.

        Raises NotMirrored, StaleError, QueryError, RemoteError.
        """
        if self.by_page and self.mode != "offline":
            found = self.find(entity, project)
            if found is None or not found.complete:
                return PageListing(self, entity, project, filters, order or "+created_at")
        try:
            known = self.project(entity, project)
        except StoreBusy:  # somebody else is syncing it for the first time: do not wait for that
            return PageListing(self, entity, project, filters, order or "+created_at")
        if known is None:
            return None
        text = json.dumps(filters)
        key = (known.project_id, text, order)
        query = self.memo.answer(
            ("query", *key), lambda: self._query(known.project_id, filters, order)
        )
        return StoreListing(query, self.memo, key, known.synced_at)

    def _query(self, project_id: str, filters: Mapping[str, Any], order: str | None) -> RunQuery:
        from mirror.reads import RunQuery

        return RunQuery(self.store, project_id, filters, order or None, log=self._noted())

    def _noted(self) -> QueryLog | None:
        """Where queries are noted for `mirror index advise`; written now and then, never waited for."""
        if self.mode == "offline" or not self.config.query_log:
            return None
        from mirror.indexes import QueryLog

        if self._log is None or self._log.store is not self.store:
            self._log = QueryLog(self.store)
        self._queries += 1
        if self._queries % NOTES == 0:
            with contextlib.suppress(StoreError):  # another writer is at work: the notes are lost
                self._log.flush()
        return self._log

    @edge
    def run(self, entity: str, project: str, name: str, *, again: bool = False) -> Row | None:
        """Return one run; None where there is none. Read through in auto mode, with `again` always.

        Raises NotMirrored offline when the mirror cannot know.
        """
        found = self.find(entity, project)
        row = None
        if found is not None and found.deleted_at is None:
            row = self._run_row(found.project_id, name)
        if self.mode == "offline":
            return self._offline_run(found, row, entity, project, name)
        if row is not None and found is not None and not (again or self._must_refresh(found)):
            return row
        fetched: Row | None = None

        def ask() -> None:
            nonlocal fetched
            fetched = self._fetch_run(entity, project, name)

        return fetched if self._answered(ask, held=row is not None) else row

    def _offline_run(
        self, found: Project | None, row: Row | None, entity: str, project: str, name: str
    ) -> Row | None:
        path = f"{entity}/{project}"
        if found is None:
            raise NotMirrored(f"run {path}/{name}", path=path)
        if found.deleted_at is not None:
            return None
        if row is not None:
            self._refuse_stale(found.synced_at, f"run {path}/{name}", path)
            return row
        if not found.complete:
            raise self._incomplete(found, f"run {path}/{name}")
        if self._hides_run(found.project_id, name):
            raise NotMirrored(f"run {path}/{name}", path=path, synced_at=found.synced_at)
        return None

    def _hides_run(self, project_id: str, name: str) -> bool:
        """Whether a run that is not held may exist: a filter of the sync, or the quarantine."""
        selection = self._scalar(
            "SELECT selection FROM sync_state WHERE project_id = ? AND stage = 'runs'", project_id
        )
        held_back = self._rows(
            "SELECT 1 FROM quarantine WHERE project_id = ? AND name = ?", project_id, escape(name)
        )
        return selection is not None or bool(held_back)

    def _run_row(self, project_id: str, name: str) -> Row | None:
        from mirror.api.rows import single

        return single(self.store, project_id, name)

    def _fetch_run(self, entity: str, project: str, name: str) -> Row | None:
        data = self.client.execute("MirrorRun", entity=entity, project=project, run=name)
        info: dict[str, Any] | None = data.get("project")
        node = info.pop("run", None) if info else None
        if info is None or node is None:
            return None
        self._keep_runs(info, [node])
        return row_of(node, self.now())

    def _keep_runs(self, project: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
        if not self.config.read_through:
            return
        from mirror.ingest import ingest_projects, ingest_runs

        with self.store.begin() as tx:
            (key,) = ingest_projects(tx, [project], synced_at=self.now())
            ingest_runs(tx, nodes, project_id=key, synced_at=self.now())

    def fetch_page(
        self, entity: str, project: str, runs: Any, filters: Mapping[str, Any]
    ) -> tuple[Any, int] | None:
        """Fetch one page of full runs and the count for its filter; None: there is no project."""
        from mirror.remote.operations import Count
        from mirror.remote.pages import page_of

        reply = self.client.combined(
            {"page": runs, "count": Count(filters)}, entity=entity, project=project
        )
        info = reply.data.get("project")
        if info is None:
            return None
        page = page_of(info.pop("page", None))
        count = int(info.pop("count", 0) or 0)
        if not runs.light:
            self._keep_runs(info, page.nodes)
        return page, count

    # -------------------------------------------------------------- sweeps

    @edge
    def sweep(self, entity: str, project: str, name: str) -> Stored | None:
        """Return a sweep's node; None where there is none. Read through in auto mode."""
        found = self.find(entity, project)
        held = None
        if found is not None and found.deleted_at is None:
            held = next(iter(self._sweeps(found.project_id, name)), None)
        if self.mode == "offline":
            path = f"{entity}/{project}"
            if found is None:
                raise NotMirrored(f"sweep {path}/{name}", path=path)
            if held is None and found.deleted_at is None and not found.complete:
                raise self._incomplete(found, f"sweep {path}/{name}")
            return held
        if held is not None and found is not None and not self._must_refresh(found):
            return held
        fetched: Stored | None = None

        def ask() -> None:
            nonlocal fetched
            data = self.client.execute("MirrorSweep", entity=entity, project=project, sweep=name)
            node = (data.get("project") or {}).get("sweep")
            fetched = Stored(node, self.now()) if node else None
            if node and found is not None and self.config.read_through:
                from mirror.ingest import ingest_sweeps

                with self.store.begin() as tx:
                    ingest_sweeps(tx, [node], project_id=found.project_id, synced_at=self.now())

        return fetched if self._answered(ask, held=held is not None) else held

    @edge
    def sweeps(self, entity: str, project: str) -> list[Stored] | None:
        """Return the nodes of all sweeps of a project, newest first; None: there is no project."""
        found = self.project(entity, project)
        return None if found is None else self._sweeps(found.project_id)

    def _sweeps(self, project_id: str, name: str | None = None) -> list[Stored]:
        text = "SELECT node, synced_at FROM sweeps WHERE project_id = ? AND deleted_at IS NULL"
        values = [project_id]
        if name is not None:
            text, values = f"{text} AND name = ?", [project_id, escape(name)]
        rows = self._rows(f"{text} ORDER BY created_at_us DESC, name", *values)
        found = [Stored(loads(unpack(node) or "{}"), synced_at) for node, synced_at in rows]
        listed = self._object("sweep_list", project_id, "") if name is None else None
        if listed is not None:  # the server's own order; what came later is newer
            places = {held: place for place, held in enumerate(listed.node)}
            found.sort(key=lambda item: places.get(item.node["name"], -1))
        return found

    @edge
    def matching_sweeps(self, sweeps: list[Stored], filters: Mapping[str, Any]) -> list[Stored]:
        """Return the sweeps that a filter takes. Raises UnsupportedError for more than equality."""
        if not filters:
            return sweeps
        tests = matchers_of(filters)
        if tests is None:
            raise UnsupportedError(
                "filters on sweeps: only equality, $in and $ne on fields of the sweep, joined by $and, "
                f"are understood here, not {filters!r}"
            )
        return [item for item in sweeps if all(test(item.node) for test in tests)]

    # -------------------------------------------------------------- people

    @edge
    def viewer(self, *, needed: bool = False) -> dict[str, Any] | None:
        """Return the node of the key's owner; None: nobody, or offline nobody was noted.

        Wherever there is a server it is asked: the key may be another's than at the last sync. With
        `needed`, what cannot be told is raised.
        """
        try:
            found: dict[str, Any] | None = self.cached(
                "viewer",
                "",
                "viewer",
                "the viewer (who the API key belongs to)",
                lambda: self.client.execute("MirrorViewerUser").get("viewer"),
                fresh=lambda _node: False,
            )
        except (NotMirrored, RemoteError):
            if needed:
                raise
            return None
        return found

    @edge
    def users(self, query: str) -> list[dict[str, Any]]:
        """Return the users a search finds; offline the kept answer, else those the mirror knows."""

        def fetch() -> list[dict[str, Any]]:
            found = self.client.execute("MirrorUsers", query=query).get("users") or {}
            return [edge["node"] for edge in found.get("edges") or [] if edge.get("node")]

        try:
            nodes: list[dict[str, Any]] = self.cached("users", "", query, f"user {query!r}", fetch)
        except NotMirrored:
            known = self._known_users()
            if not known:
                raise
            asked = query.lower()
            seen = ("username", "email", "name")
            return [
                user
                for user in known.values()
                if any(asked in str(user.get(name) or "").lower() for name in seen)
            ]
        return nodes

    def _known_users(self) -> dict[str, dict[str, Any]]:
        """Everybody of whom the mirror knows more than a name: teams' members, owners, the viewer."""
        known: dict[str, dict[str, Any]] = {}
        rows = self._rows(
            "SELECT kind, node FROM objects"
            " WHERE kind IN ('team', 'project_owner', 'viewer') AND deleted_at IS NULL"
        )
        nodes = [(kind, loads(unpack(node) or "null") or {}) for kind, node in rows]
        for kind, node in sorted(nodes, key=lambda item: item[0] == "team", reverse=True):
            for user in node.get("members") or () if kind == "team" else (node,):
                if user.get("username"):
                    fields = ("id", "name", "username", "email")
                    person = {name: user.get(name) for name in fields} if kind == "team" else user
                    known.setdefault(user["username"], {}).update(person)
        return known

    @edge
    def organization(self, name: str | None, entity: str | None) -> dict[str, Any] | None:
        """Return an organization by name, else the one an entity belongs to; None: there is none."""
        if name is None:
            if entity is None:
                raise ValueError("No entity specified and can't fetch organization from the entity")
            name = self._organization_of(entity)
        wanted = name
        found: dict[str, Any] | None = self.cached(
            "organization",
            "",
            wanted,
            f"organization {wanted!r}",
            lambda: self.client.execute("MirrorOrganization", name=wanted).get("organization"),
        )
        return found

    def _organization_of(self, entity: str) -> str:
        def fetch() -> Any:
            return self.client.execute("MirrorEntityOrganization", entity=entity).get("entity")

        node = self.cached(
            "entity_organization", "", entity, f"the organization of {entity!r}", fetch
        )
        organization = (node or {}).get("organization")
        if organization:
            return str(organization["name"])
        user = (node or {}).get("user") or {}
        names = [item["name"] for item in user.get("organizations") or []]
        if len(names) == 1:
            return str(names[0])
        number = "Multiple organizations" if names else "No organizations"
        raise ValueError(
            f"{number} found for entity. Please specify an organization in the settings."
        )

    # -------------------------------------------------------------- objects read whole

    def _object(self, kind: str, scope: str, name: str) -> Stored | None:
        rows = self._rows(
            "SELECT node, synced_at FROM objects"
            " WHERE kind = ? AND scope = ? AND name = ? AND deleted_at IS NULL",
            kind,
            escape(scope),
            escape(name),
        )
        return Stored(loads(unpack(rows[0][0]) or "null"), rows[0][1]) if rows else None

    def _objects(self, kind: str, scope: str) -> list[Stored] | None:
        """All objects of a listing, in the server's order; None when it was never listed."""
        rows = self._rows(
            "SELECT position, node, synced_at FROM objects"
            " WHERE kind = ? AND scope = ? AND deleted_at IS NULL ORDER BY position",
            kind,
            escape(scope),
        )
        if not rows or rows[0][0] != -1:
            return None
        return [Stored(loads(unpack(node) or "null"), at) for _, node, at in rows[1:]]

    @edge
    def cached(
        self,
        kind: str,
        scope: str,
        name: str,
        what: str,
        fetch: Callable[[], Any],
        *,
        path: str | None = None,
        fresh: Callable[[Any], bool] = bool,
    ) -> Any:
        """Return the node of an object that is read whole; a null node says "there is none".

        Auto: from the store unless older than `max_age` or not `fresh` ("there is none" is asked
        again), else fetched and kept.
        Raises NotMirrored, StaleError.
        """
        held = self._object(kind, scope, name)
        if self.mode == "offline":
            if held is None:
                raise self._never_read(kind, what, path)
            self._refuse_stale(held.synced_at, what, path)
            return held.node
        if held is not None and self.mode == "auto" and not self._too_old(held.synced_at) and fresh(held.node):  # fmt: skip
            return held.node
        fetched: Any = None

        def ask() -> None:
            nonlocal fetched
            fetched = fetch()
            if self.config.read_through:
                from mirror.ingest import ingest_objects

                with self.store.begin() as tx:
                    ingest_objects(tx, kind, scope, {name: fetched}, synced_at=self.now())

        if self._answered(ask, held=held is not None):
            return fetched
        assert held is not None
        return held.node

    def _never_read(self, kind: str, what: str, path: str | None) -> NotMirrored:
        at = self.synced_at(*path.split("/", 1)) if path else None
        by_sync = path is not None and kind in ("view", "file_list")
        return NotMirrored(what, path=path, synced_at=at, remedy=None if by_sync else _ONCE)

    def scope_of(self, entity: str, project: str) -> str:
        """Return what objects of a project are kept under: its key, or its path when not mirrored."""
        found = self.find(entity, project)
        return f"{entity}/{project}" if found is None else found.project_id

    def _listed(
        self,
        kind: str,
        scope: str,
        what: str,
        pages: Callable[[], list[dict[str, Any]]],
        *,
        path: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return all nodes of a listing that is kept whole; as `cached` does it."""
        held = self._objects(kind, scope)
        if self.mode == "offline" and held is None:
            raise self._never_read(kind, what, path)
        if held is not None and self.mode != "online":
            return [item.node for item in held]
        nodes: list[dict[str, Any]] = []

        def ask() -> None:
            nonlocal nodes
            nodes = pages()
            if self.config.read_through:
                from mirror.ingest import ingest_objects

                named = {str(node.get("id") or at): node for at, node in enumerate(nodes)}
                with self.store.begin() as tx:
                    ingest_objects(tx, kind, scope, named, synced_at=self.now(), listing={})

        if self._answered(ask, held=held is not None):
            return nodes
        return [item.node for item in held or ()]

    def _pages(
        self, operation: str, way: Sequence[str], first: int = 100, **variables: Any
    ) -> list[dict[str, Any]]:
        from mirror.remote.pages import connection

        pages = connection(self.client, operation, way, first=first, **variables)
        return [dict(node) for page in pages for node in page.nodes]

    @edge
    def views(self, entity: str, project: str) -> list[dict[str, Any]] | None:
        """Return the nodes of a project's reports; None: there is no project."""
        from mirror.errors import NotFound

        path = f"{entity}/{project}"
        found = self.find(entity, project)
        if self.mode == "offline":
            if found is None:
                raise NotMirrored(f"the list of reports of project {path!r}", path=path)
            if found.deleted_at is not None:
                return None
        try:
            return self._listed(
                "view",
                path if found is None else found.project_id,
                f"the list of reports of {path!r}",
                lambda: self._pages(
                    "MirrorViews", ["project", "allViews"], entity=entity, project=project
                ),
                path=path,
            )
        except NotFound:
            return None

    @edge
    def automations(self, entity: str | None) -> list[dict[str, Any]]:
        """Return the nodes of an entity's automations, else of all that the viewer may see."""
        what = f"automations of {entity!r}" if entity else "automations"
        return self._listed("automation", entity or "", what, lambda: self._triggers(entity))

    def _triggers(self, entity: str | None) -> list[dict[str, Any]]:
        if entity is None:
            projects = self._pages("MirrorViewerTriggers", ["viewer", "projects"])
            return [node for project in projects for node in project["triggers"]]
        from mirror.errors import GraphQLError

        try:
            return self._pages("MirrorEntityTriggers", ["entity", "triggers"], entity=entity)
        except GraphQLError:  # servers before 0.83 list them by project only
            projects = self._pages("MirrorProjectTriggers", ["entity", "projects"], entity=entity)
            return [node for project in projects for node in project["triggers"]]

    @edge
    def integrations(self, entity: str) -> list[dict[str, Any]]:
        """Return the nodes of an entity's integrations."""
        return self._listed(
            "integration",
            entity,
            f"integrations of {entity!r}",
            lambda: self._pages("MirrorIntegrations", ["entity", "integrations"], entity=entity),
        )

    @edge
    def run_queue(
        self, entity: str, project: str, name: str, *, fresh: bool = False
    ) -> dict[str, Any]:
        """Return a run queue's node with its items. Raises ValueError where there is none."""

        def fetch() -> Any:
            data = self.client.execute("MirrorRunQueue", entity=entity, project=project, queue=name)
            return (data.get("project") or {}).get("runQueue")

        node: dict[str, Any] | None = self.cached(
            "run_queue",
            f"{entity}/{project}",
            name,
            f"run queue {entity}/{name}",
            fetch,
            fresh=lambda node: bool(node) and not fresh,
        )
        if node is None:
            raise ValueError(f"Could not find run queue {name!r} of entity {entity!r}")
        return node

    @edge
    def resource_config(self, entity: str, number: str) -> dict[str, Any] | None:
        """Return the default resource configuration of a queue."""

        def fetch() -> Any:
            data = self.client.execute("MirrorResourceConfig", entity=entity, id=number)
            return (data.get("entity") or {}).get("defaultResourceConfig")

        found: dict[str, Any] | None = self.cached(
            "resource_config", entity, str(number), f"resource configuration {number}", fetch
        )
        return found

    # -------------------------------------------------------------- files and histories of a run

    def _place(self, run: Run) -> dict[str, str]:
        return {"entity": run.entity, "project": run.project, "run": run.id}

    def _fresh_for(self, run: Run) -> tuple[Any, Callable[[Any], bool]]:
        """What of a run an answer about it depends on, and whether a kept answer still holds.

        Of a run that has not ended nothing kept holds: it moves between two syncs.
        """
        mark = [run.state, run._attrs.get("historyLineCount"), run._attrs.get("heartbeatAt")]
        ended = run.state not in ("running", "pending", "preempting")
        return mark, lambda node: ended and node is not None and node.get("mark") == mark

    @edge
    def files(self, run: Run) -> dict[str, Any] | None:
        """Return a run's files, {"fileCount": …, "files": [nodes]}; None: there is no such run."""
        mark, fresh = self._fresh_for(run)
        found: dict[str, Any] | None = self.cached(
            "file_list",
            self.scope_of(run.entity, run.project),
            run.id,
            f"the list of files of run {run.entity}/{run.project}/{run.id}",
            lambda: self._fetch_files(run, mark),
            path=f"{run.entity}/{run.project}",
            fresh=fresh,
        )
        return found

    def _fetch_files(self, run: Run, mark: Any) -> dict[str, Any] | None:
        from mirror.remote.pages import page_of

        nodes: list[Any] = []
        after: str | None = None
        while True:
            data = self.client.execute("MirrorFiles", first=500, after=after, **self._place(run))
            node = (data.get("project") or {}).get("run")
            if node is None:
                return None
            page = page_of(node.get("files"))
            nodes += page.nodes
            if not page.has_next or page.end_cursor in (None, after):
                return {"mark": mark, "fileCount": node.get("fileCount"), "files": nodes}
            after = page.end_cursor

    @edge
    def blob(self, file: File) -> Path:
        """Return the path of a file's contents beside the store, downloaded when it is not there."""
        run, attrs = file.run, file._attrs
        if run is None:
            raise ValueError(f"file {attrs.get('name')!r} belongs to no run")
        about = (attrs["name"], attrs.get("md5"), attrs.get("updatedAt"), attrs.get("sizeBytes"))
        digest = hashlib.sha256(repr(about).encode()).hexdigest()[:32]
        folder = self.blob_folder() / escape(self.scope_of(run.entity, run.project)) / run.id
        path = folder / digest
        if path.exists() and self.mode != "online":
            return path
        if self.mode == "offline":
            what = f"file {attrs['name']!r} of run {run.entity}/{run.project}/{run.id}"
            raise self._never_read("file", what, f"{run.entity}/{run.project}")
        from mirror.errors import NotFound, Unauthorized
        from mirror.remote.downloads import download

        try:
            download(self.client, attrs["url"], path)
        except (NotFound, Unauthorized):  # the address has expired: ask for a new one, once
            listed = self._fetch_files(run, None)
            again = [node for node in (listed or {}).get("files", ()) if node["id"] == attrs["id"]]
            if not again:
                raise
            download(self.client, again[0]["url"], path)
        return path

    def blob_folder(self) -> Path:
        """Return the folder of downloaded files: beside a SQLite store, else in the user's data folder."""
        path = self.store.path
        if path is not None:
            return path.with_name(f"{path.name}.blobs")
        name = hashlib.sha256(str(self.store.engine.url).encode()).hexdigest()[:16]
        return Path.home() / ".local" / "share" / "mirror" / "blobs" / name

    @edge
    def of_run(self, run: Run, operation: str, **asked: Any) -> dict[str, Any]:
        """Return the answer to an operation about a run, read through and kept."""
        mark, fresh = self._fresh_for(run)
        node = self.cached(
            "answer",
            self.scope_of(run.entity, run.project),
            dumps([operation, run.id, asked]),
            f"{operation.removeprefix('Mirror')} of run {run.entity}/{run.project}/{run.id}",
            lambda: {
                "mark": mark,
                "data": self.client.execute(operation, **asked, **self._place(run)),
            },
            path=f"{run.entity}/{run.project}",
            fresh=fresh,
        )
        found: dict[str, Any] = node["data"]
        return found

    @edge
    def of_sweep(self, operation: str, **asked: Any) -> dict[str, Any]:
        """Return the answer to an operation about a sweep; asked again wherever there is a server."""
        entity, project, sweep = asked["entity"], asked["project"], asked["sweep"]
        found: dict[str, Any] = self.cached(
            "answer",
            self.scope_of(entity, project),
            dumps([operation, asked]),
            f"{operation.removeprefix('Mirror')} of sweep {entity}/{project}/{sweep}",
            lambda: self.client.execute(operation, **asked),
            fresh=lambda _node: False,
        )
        return found

    @edge
    def history(
        self, run: Run, samples: int, keys: list[str] | None, x_axis: str, stream: str
    ) -> list[dict[str, Any]]:
        """Return the sampled rows of a history, fresh dicts each time."""
        mark, fresh = self._fresh_for(run)
        asked = [run.id, stream, samples, keys, x_axis if keys else None]
        node = self.cached(
            "history",
            self.scope_of(run.entity, run.project),
            dumps(asked),
            f"the history of run {run.entity}/{run.project}/{run.id}",
            lambda: {"mark": mark, "rows": self._fetch_history(run, samples, keys, x_axis, stream)},
            path=f"{run.entity}/{run.project}",
            fresh=fresh,
        )
        return [loads(row) if isinstance(row, str) else dict(row) for row in node["rows"]]

    def _fetch_history(
        self, run: Run, samples: int, keys: list[str] | None, x_axis: str, stream: str
    ) -> list[Any]:
        place = self._place(run)
        if keys:
            from mirror.api.history import spec_of

            specs = [spec_of(keys, x_axis, samples)]
            data = self.client.execute("MirrorSampledHistory", specs=specs, **place)
            return list(data["project"]["run"]["sampledHistory"][0])
        operation = "MirrorHistory" if stream == "default" else "MirrorEvents"
        run_node = self.client.execute(operation, samples=samples, **place)["project"]["run"]
        return list(run_node["history" if stream == "default" else "events"])

    def last_step(self, run: Run) -> int | None:
        """Ask the server for the last step of a run that has not ended; None: what is held counts."""
        if self.mode == "offline" or run.state not in ("running", "pending", "preempting"):
            return None
        try:
            data = self.client.execute("MirrorHistoryKeys", **self._place(run))
        except RemoteError:
            return None
        node = (data.get("project") or {}).get("run") or {}
        return int((node.get("historyKeys") or {}).get("lastStep", -1))

    @edge
    def history_rows(
        self, run: Run, start: int, stop: int, *, use_cache: bool = True
    ) -> list[dict[str, Any]]:
        """Return all rows of the steps [start, stop), read and kept in windows of 1,000 steps."""
        mark, fresh = self._fresh_for(run)
        scope = self.scope_of(run.entity, run.project)
        rows: list[dict[str, Any]] = []
        for window in range(start // WINDOW, (stop - 1) // WINDOW + 1):
            low = window * WINDOW

            def fetch(low: int = low) -> Any:
                data = self.client.execute(
                    "MirrorHistoryPage",
                    minStep=low,
                    maxStep=low + WINDOW,
                    samples=WINDOW,
                    **self._place(run),
                )
                return {"mark": mark, "rows": data["project"]["run"]["history"]}

            node = self.cached(
                "history_page",
                scope,
                dumps([run.id, window]),
                f"the history of run {run.entity}/{run.project}/{run.id}",
                fetch,
                path=f"{run.entity}/{run.project}",
                fresh=lambda node: use_cache and fresh(node),
            )
            rows += [loads(text) for text in node["rows"]]
        return [row for row in rows if start <= row.get("_step", start) < stop]


_ONCE = "ask for it once in auto mode, which keeps it"

# ------------------------------------------------------------------ small


def _pace(base_url: str) -> float | None:
    """Requests a second: somebody waits for each, as with the real client; a sync is more patient."""
    return None if urlsplit(base_url).hostname in ("localhost", "127.0.0.1", "::1") else 10.0


def _number(identifier: str | None) -> int:
    """The number in a global id; 0 where there is none."""
    from mirror.ingest import decode_global_id

    parts = decode_global_id(identifier or "")
    return int(parts[-1]) if parts and parts[-1].isdecimal() else 0


def _age_s(synced_at: str | None) -> float | None:
    micros = instants.to_us(synced_at)
    return None if micros is None else max(0.0, time.time() - micros / 1e6)


_FORGE = {
    "api.wandb.ai": "forge.coreweave.com",
    "api.qa.wandb.ai": "qa.forge.coreweave.com",
}
"""W&B's API hosts → the host whose /wandb is the app of the same deployment."""


def app_url(base_url: str) -> str:
    """Return the address of the web app behind an API's address, ending in a slash."""
    host = urlsplit(base_url).hostname or ""
    for api, forge in _FORGE.items():
        if host in (api, forge, f"api.{forge}"):
            return f"https://{forge}/wandb/"
    url = base_url.rstrip("/")
    if "://api.wandb." in url and "://api.wandb.test" not in url:
        return url.replace("://api.", "://") + "/"
    return url.replace("://api.", "://app.") + "/"
