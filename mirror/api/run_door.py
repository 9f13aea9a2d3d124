"""What is asked about runs and sweeps: listings, single ones, pages from the server."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mirror.api.held import Stored
from mirror.api.listings import Listing, PageListing, StoreListing
from mirror.api.project_door import ProjectDoor
from mirror.api.raising import edge
from mirror.api.rows import row_of
from mirror.api.sweep_filters import matchers_of
from mirror.errors import NotMirrored, StoreBusy, StoreError, UnsupportedError
from mirror.jsontext import dumps

if TYPE_CHECKING:
    from mirror.api.rows import Row
    from mirror.projects import Project
    from mirror.query_log import QueryLog

__all__ = ["RunDoor"]

NOTES = 32
"""Different questions after which the notes for `mirror index advise` are written."""


class RunDoor(ProjectDoor):
    """Answers about runs and sweeps."""

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
        query = self.held.memo.answer(
            ("query", *key),
            lambda: self.held.query(known.project_id, filters, order, self._noted()),
        )
        return StoreListing(self.held, query, key, known.synced_at)

    def _noted(self) -> QueryLog | None:
        """Where queries are noted for `mirror index advise`; written now and then, never waited for."""
        if self.mode == "offline" or not self.config.query_log:
            return None
        from mirror.query_log import QueryLog

        if self._log is None or self._log.pid != os.getpid():  # a parent writes its counts itself
            self._log = QueryLog(lambda: self.store)
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
            row = self.held.run(found.project_id, name)
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
        if self.held.hides_run(found.project_id, name):
            raise NotMirrored(f"run {path}/{name}", path=path, synced_at=found.synced_at)
        return None

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
            held = next(iter(self.held.sweeps(found.project_id, name)), None)
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
        return None if found is None else self.held.sweeps(found.project_id)

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
