"""What every part of a project's round works with: its state, its pages, its documents.

`Task` is the hands of `engine` and `reconcile`: walk a listing, tell which listed runs changed,
read documents (halving what the server cannot deliver, down to a quarantined run), keep them in the
same transaction as the progress they are. It decides nothing about when to do what.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from mirror import ingest, instants
from mirror.errors import MirrorError, ServerFailed
from mirror.jsontext import escape
from mirror.remote.client import Client
from mirror.remote.operations import Runs, Selection
from mirror.remote.pages import Page, PageSize
from mirror.settings import KINDS
from mirror.store import tables
from mirror.store.store import Row, Store
from mirror.sync import state
from mirror.sync.listing import Project, windows
from mirror.sync.pulse import Ahead, Question
from mirror.sync.report import Event, ProjectReport
from mirror.sync.walk import Window, all_of

__all__ = [
    "LIGHT_PAGE",
    "NAMES_A_REQUEST",
    "SECOND_US",
    "Settings",
    "Stopped",
    "Task",
    "differs",
    "latest_us",
]

LIGHT_PAGE, SURE_PAGE = 1000, 50
"""Runs in a page of a listing; where the server fails at that, as many as W&B's own client asks for."""
NAMES_A_REQUEST = 500
DOCUMENT_TRIES, SPLIT_TRIES = 3, 2
"""Pages of documents are given up sooner than listings: what follows is not an error but halves."""
MAX_BARREN = 3
"""So many single runs failing in a row, none answering, is the server's trouble, not theirs."""

SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What the algorithm is told; units in the names."""

    lag_s: float = 300.0
    reconcile_every_s: float = 86_400.0
    reread_days: float = 7.0
    page_size: int = 100
    page_size_max: int = 1000
    catalogue: bool = True
    reconcile: bool = False
    full: bool = False
    yes: bool = False
    filters: Mapping[str, Any] = field(default_factory=dict)
    take: Sequence[str] = KINDS
    """what to read besides runs and sweeps"""
    depth: str = "graph"
    artifact_types: Sequence[str] = ()
    artifact_collections: Sequence[str] = ()


class Stopped(MirrorError):
    """The round was asked to end (SIGTERM) and did, after the current page."""

    def __init__(self) -> None:
        super().__init__("stopped after the current page; the next sync goes on from there")


class Task:
    """One project's round: what it knows, and how it reads and keeps runs."""

    def __init__(
        self,
        client: Client,
        store: Store,
        project: Project,
        settings: Settings,
        *,
        lease: int | None,
        mark: str | None,
        emit: Callable[[Event], None],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = client
        self.store = store
        self.project = project
        self.settings = settings
        self.lease = lease
        self.mark = mark
        self.dated = mark is not None
        self.emit = emit
        self.stopping = stopping
        self.report = ProjectReport(path=project.path)
        self.project_id = ""
        self.state: dict[str, Any] = {}
        self.page_size = PageSize(settings.page_size, maximum=settings.page_size_max)
        self.light_size = LIGHT_PAGE
        self.quarantined: dict[str, Row] = {}
        self.pulses: Mapping[str, Mapping[str, Any] | None] = {}
        self.sweep_page: Page | None = None
        self.counted: int | None = None
        self.ahead: Ahead | None = None
        self.question: Question = Question()

    # -------------------------------------------------------------- listings

    def walk(
        self,
        window: Window,
        base: Mapping[str, Any],
        *,
        documents: bool = False,
        extra: Callable[[bool], Mapping[str, Selection]] | None = None,
    ) -> Iterator[tuple[Page, Window, Window | None]]:
        """Yield (page, its window, the next window) to the end of a listing.

        `extra` says what else to ask in the same requests; it is told whether this is the first.
        """
        first = True

        def fetch(here: Window) -> Page:
            nonlocal first
            more = extra(first) if extra is not None else {}
            first = False
            filters = here.filters(base)
            if documents:
                size = self.page_size.value
                return self.documents_page(filters, "+created_at", size, here.after)
            return self._light_page(filters, here.after, more)

        for page, here, following in windows(fetch, window):
            yield page, here, following
            if self.stopping():
                raise Stopped

    def _light_page(
        self, filters: Mapping[str, Any], after: str | None, more: Mapping[str, Selection]
    ) -> Page:
        """One page of light rows, and what was asked along with it."""
        runs = Runs(filters, order="+created_at", first=self.light_size, after=after, light=True)
        tries = None if self.light_size == SURE_PAGE else DOCUMENT_TRIES
        try:
            answer = self.project.ask({"page": runs, **more}, tries=tries)
        except ServerFailed:  # some servers fail at a page larger than they give
            if self.light_size == SURE_PAGE:
                raise
            self.light_size = SURE_PAGE
            return self._light_page(filters, after, more)
        self.counted = answer.counts.get("total", self.counted)
        self.sweep_page = answer.pages.get("sweeps", self.sweep_page)
        self.pulses = {**self.pulses, **answer.sweeps}
        return answer.pages["page"]

    def since(self) -> str:
        """Where the pass looks back to: `lag_s` before the mark, or the newest time held if earlier.

        The second is for a server whose Date header runs ahead of its own timestamps.
        """
        mark = instants.to_us(self.state["mark"] or self.mark) or 0
        newest = state.newest_us(self.store, self.project_id)
        since = mark - int(self.settings.lag_s * SECOND_US)
        return instants.from_us(max(0, since if newest is None else min(since, newest)))

    def changed(
        self,
        nodes: Sequence[Mapping[str, Any]],
        edited: Callable[[Mapping[str, Any], Row], None] | None = None,
    ) -> list[str]:
        """Names of the listed runs whose documents must be read; `edited` is told of each edit."""
        held = state.stored(self.store, self.project_id, [node["name"] for node in nodes])
        names, ids = [], []
        for node in nodes:
            name = node["name"]
            row = held.get(name)
            if name in self.quarantined:
                continue
            if row is None or not row["live"] or differs(node, row):
                names.append(name)
                if row is not None and row["live"]:
                    self.report.changed += 1
                    if edited is not None:
                        edited(node, row)
            elif self._unsettled(node):
                names.append(name)
            elif node.get("id") and node["id"] != row["id"]:
                ids.append({"project_id": self.project_id, "name": row["name"], "id": node["id"]})
        if ids:  # global ids hold the project's name: a rename changes them, and nothing else
            with self.begin() as tx:
                text = sa.update(tables.runs).where(
                    tables.runs.c.project_id == self.project_id,
                    tables.runs.c.name == sa.bindparam("held"),
                )
                tx.connection.execute(
                    text.values(id=sa.bindparam("new"), seq=tx.seq),
                    [{"held": row["name"], "new": row["id"]} for row in ids],
                )
        return names

    def _unsettled(self, node: Mapping[str, Any]) -> bool:
        """Whether equal times prove nothing: the run was last read in the second it moved in.

        A server may send whole seconds, so a run written again in the second it was read in shows
        the same times. From the last mark on, such a run is read again; times beyond the server's
        clock are left out, they would be read again for ever.
        """
        latest = latest_us(node)
        mark = instants.to_us(self.state["mark"] or self.mark)
        now = instants.to_us(self.mark)
        if latest is None or mark is None or now is None:
            return False
        return mark - SECOND_US <= latest <= now + int(self.settings.lag_s * SECOND_US)

    # -------------------------------------------------------------- documents

    def documents_page(
        self, filters: Mapping[str, Any], order: str, size: int, after: str | None
    ) -> Page:
        """One page of full runs. Where the server cannot give it: its names, then halves by name."""
        if self.quarantined:
            filters = all_of(filters, {"name": {"$nin": sorted(self.quarantined)}})
        began = time.monotonic()
        try:
            answer = self.project.ask(
                {"page": Runs(filters, order=order, first=size, after=after)}, tries=DOCUMENT_TRIES
            )
        except ServerFailed:
            self.page_size.shrink()
            light = self.project.ask(
                {"page": Runs(filters, order=order, first=size, after=after, light=True)}
            ).pages["page"]
            nodes = self._documents([node["name"] for node in light.nodes])
            by_name = {node["name"]: node for node in nodes}
            delivered = [by_name[node["name"]] for node in light.nodes if node["name"] in by_name]
            # The window goes on from what was listed, delivered or not.
            last = (
                [light.nodes[-1]] if light.nodes and light.nodes[-1]["name"] not in by_name else []
            )
            return Page(delivered + last, light.end_cursor, light.has_next)
        self.page_size.answered(time.monotonic() - began, size)
        return answer.pages["page"]

    def _documents(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        """Full nodes of the named runs; what the server cannot deliver is quarantined."""
        nodes: list[Mapping[str, Any]] = []
        barren = 0
        todo = [list(some) for some in state.chunks(names, max(1, self.page_size.value))]
        while todo:
            some = todo.pop(0)
            try:
                answer = self.project.ask(
                    {"page": Runs({"name": {"$in": some}}, first=len(some))}, tries=SPLIT_TRIES
                )
            except ServerFailed as error:
                if len(some) > 1:
                    half = len(some) // 2
                    todo[:0] = [some[:half], some[half:]]
                    continue
                barren += 1
                if barren >= MAX_BARREN and not nodes:
                    raise
                if not nodes:  # nothing was delivered: is it the run, or the server?
                    light = Runs({"name": {"$in": some}}, first=1, light=True)
                    self.project.ask({"page": light}, tries=SPLIT_TRIES)
                self._quarantine(some[0], str(error))
                continue
            page = answer.pages["page"]
            nodes += page.nodes
            if page.has_next:  # the server gives fewer at once than it was asked for
                given = {node["name"] for node in page.nodes}
                left = [name for name in some if name not in given]
                if 0 < len(left) < len(some):
                    todo.insert(0, left)
        return nodes

    def fetch(self, names: Sequence[str]) -> None:
        """Read the documents of the named runs and store them, a page a transaction."""
        wanted = [name for name in names if name not in self.quarantined]
        position = 0
        while position < len(wanted):
            some = wanted[position : position + self.page_size.value]
            position += len(some)
            began = time.monotonic()
            nodes = self._documents(some)
            self.page_size.answered(time.monotonic() - began, len(some))
            self.keep(nodes)
            self.emit(
                Event("page", self.project.path, "changed runs", done=position, total=len(wanted))
            )
            if self.stopping():
                raise Stopped

    def keep(self, nodes: Sequence[Mapping[str, Any]], **progress: Any) -> None:
        """Write a page's rows and the resume point in one transaction."""
        full = [node for node in nodes if "config" in node]
        with self.begin() as tx:
            done = ingest.ingest_runs(
                tx,
                full,
                project_id=self.project_id,
                synced_at=self.now(),
                catalogue=self.settings.catalogue,
            )
            if progress:
                state.save(tx, self.project_id, **progress)
        self.state.update(progress)
        self.report.runs += done.runs
        self.report.new += done.new
        self.report.revived += done.revived

    # -------------------------------------------------------------- quarantine

    def _quarantine(self, name: str, error: str) -> None:
        tries = int(self.quarantined[name]["tries"]) + 1 if name in self.quarantined else 1
        next_us = time.time_ns() // 1000 + min(3600 * 2 ** (tries - 1), 7 * 86_400) * SECOND_US
        with self.begin() as tx:
            state.put_quarantine(
                tx, self.project_id, name, error, tries=tries, next_try_at_us=next_us
            )
        self.quarantined = state.quarantined(self.store, self.project_id)
        self.report.quarantined = sorted(self.quarantined)
        self.emit(Event("quarantined", self.project.path, message=f"{name}: {error}"))

    def retry_quarantine(self) -> None:
        """Ask again for the quarantined runs whose time has come."""
        now_us = time.time_ns() // 1000
        for name, row in list(self.quarantined.items()):
            if int(row["next_try_at_us"]) > now_us and not self.settings.full:
                continue
            try:
                page = self.project.ask(
                    {"page": Runs({"name": {"$in": [name]}}, first=1)}, tries=SPLIT_TRIES
                ).pages["page"]
            except ServerFailed as error:
                self._quarantine(name, str(error))
                continue
            with self.begin() as tx:
                state.clear_quarantine(tx, self.project_id, [name])
            del self.quarantined[name]
            self.keep(page.nodes)
        self.report.quarantined = sorted(self.quarantined)

    # -------------------------------------------------------------- the store

    def held(self) -> int:
        """Runs the server should count: those readers see, and the quarantined never delivered."""
        live = state.live_count(self.store, self.project_id)
        rows = state.stored(self.store, self.project_id, list(self.quarantined))
        return live + sum(
            1 for name in self.quarantined if name not in rows or not rows[name]["live"]
        )

    def keep_going(self) -> None:
        """Raise Stopped if the round is to end here."""
        if self.stopping():
            raise Stopped

    def begin(self) -> Any:
        return self.store.begin(lease=self.lease)

    def save(self, **values: Any) -> None:
        with self.begin() as tx:
            state.save(tx, self.project_id, **values)
        self.state.update(values)

    def sequence(self) -> int:
        row = self.store.one(sa.select(tables.change_counter.c.seq))
        return int(row["seq"]) if row else 0

    def now(self) -> str:
        return self.mark or instants.now()


def latest_us(node: Mapping[str, Any]) -> int | None:
    """The newest of a run's times, in microseconds UTC; None if it has none."""
    times = [instants.to_us(node.get(name)) for name in ("createdAt", "heartbeatAt", "updatedAt")]
    return max((micros for micros in times if micros is not None), default=None)


_COMPARED = (
    ("displayName", "display_name"),
    ("state", "state"),
    ("group", "group"),
    ("jobType", "job_type"),
    ("notes", "notes"),
    ("createdAt", "created_at"),
    ("heartbeatAt", "heartbeat_at"),
    ("updatedAt", "updated_at"),
    ("sweepName", "sweep"),
)


def differs(node: Mapping[str, Any], row: Row) -> bool:
    """Whether a light row tells that the run was edited; only what the listing holds is compared."""
    for sent, column in _COMPARED:
        if sent in node:
            value = node[sent]
            if (None if value is None else escape(str(value))) != row[column]:
                return True
    user = node.get("user")
    if user and "username" in user and user["username"] != row["username"]:
        return True
    if "tags" not in node:
        return False
    tags = [escape(str(tag)) for tag in node["tags"] or ()]
    return tags != _tags(row["tags"])


def _tags(value: Any) -> list[str]:

    return json.loads(value) if isinstance(value, str) else list(value or ())
