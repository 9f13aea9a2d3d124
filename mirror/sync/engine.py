"""The sync of one project: first walk, incremental pass, reconcile. Plan → pages → ingest → cursor.

Read `ProjectSync.run` first; docs/how-it-works.md tells the same in words. Three rules hold it:

* rows and the resume point of a page are one transaction, so a kill costs at most that page;
* the mark of a pass is server time taken before its first listing and saved after its last page;
* nothing is tombstoned or called complete on the evidence of a single listing.

Nothing here prints, sleeps or exits: `emit` receives events, the caller decides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from mirror import ingest, instants
from mirror.errors import (
    GraphQLError,
    MirrorError,
    NotFound,
    RemoteError,
    ServerFailed,
    StuckCursor,
)
from mirror.jsontext import dumps, escape
from mirror.remote.client import Client
from mirror.remote.operations import Count, Runs, Selection, SweepPulse, Sweeps
from mirror.remote.pages import Page, PageSize, entity_projects
from mirror.store import tables
from mirror.store.store import Row, Store
from mirror.sync import state
from mirror.sync.listing import Answer, Project, windows
from mirror.sync.report import Event, ProjectReport
from mirror.sync.walk import START, Window, all_of, created_us

__all__ = ["ProjectSync", "Settings", "Stopped", "differs"]

LIGHT_PAGE = 1000
NEWEST_FIRST = 1000
"""A first sync brings so many of the newest runs before it walks from the oldest."""
SMALL_PROJECT = 200
"""Projects up to this size are reconciled on every sync: it is one request."""
NAMES_A_REQUEST = 500
MISSING_SHARE, MISSING_FLOOR = 0.20, 5
TRUST_DAYS = 7
DOCUMENT_TRIES, SPLIT_TRIES = 3, 2
"""Pages of documents are given up sooner than listings: what follows is not an error but halves."""
MAX_PULSES = 50
"""Open sweeps whose state is asked along with an incremental pass; about 70 bytes each."""
MAX_BARREN = 3
"""So many single runs failing in a row, none answering, is the server's trouble, not theirs."""

_OPEN_SWEEPS = ("RUNNING", "PENDING", "PAUSED")
_DAY_US = 86_400_000_000
_SECOND_US = 1_000_000


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


@dataclass(slots=True)
class _Seen:
    """What a reconcile gathers while it walks; never more than a page of names at a time."""

    group: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    listed: int = 0
    updated_moved: bool = False
    updated_stood: bool = False


class ProjectSync:
    """One project's sync round. `run` does everything and returns the report."""

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
        self.quarantined: dict[str, Row] = {}
        self.pulses: Mapping[str, Mapping[str, Any] | None] = {}
        self.sweep_page: Page | None = None
        self.counted: int | None = None

    # -------------------------------------------------------------- the round

    def run(self) -> ProjectReport:
        """Bring the project up to date and return what was done. Raises MirrorError."""
        answer = self._open()
        self._retry_quarantine()
        first = self.state["walk_complete_at"] is None
        walked = resumed = False
        if self.settings.full and self.state["walk_started_mark"] is None:
            self._save(
                walk_started_mark=self.mark,
                resume_created_at=None,
                resume_after=None,
                reconciled_at=None,
            )
        if first or self.state["walk_started_mark"] is not None:
            resumed = self.state["resume_created_at"] is not None
            self._first_walk(answer, newest=first)
            walked = True
        self._prove_updated_at()
        due = self._reconcile_is_due(answer, walked=walked, resumed=resumed)
        if not due:
            if not walked:
                self._incremental()
            due = self._counts_disagree(walked=walked)
        if due:
            self._reconcile()
        self._finish(answer, walked=walked, resumed=resumed, reconciled=due)
        return self.report

    def _open(self) -> Answer:
        """Learn who the project is now, store it, load its state."""
        answer = self._identify()
        with self._begin() as tx:
            (self.project_id,) = ingest.ingest_projects(
                tx, [answer.info], synced_at=self.mark or instants.now()
            )
        if not self.dated:  # no Date header: what the server last wrote, never our clock
            self.mark = answer.info.get("lastActive") or answer.info.get("createdAt")
        self._displaced(answer)
        self.state = state.load(self.store, self.project_id)
        self.quarantined = state.quarantined(self.store, self.project_id)
        self.report.quarantined = sorted(self.quarantined)
        wanted = dumps(dict(self.settings.filters)) if self.settings.filters else None
        if self.state["selection"] != wanted and self.state["project_id"] is not None:
            # Another selection: what it leaves out and lets in is found by walking all of it again.
            self._save(
                selection=wanted,
                walk_complete_at=None,
                resume_created_at=None,
                resume_after=None,
                walk_started_mark=None,
            )
        elif wanted is not None:
            self._save(selection=wanted)
        if self.state["generation"] not in (None, ingest.GENERATION):
            with self._begin() as tx:
                ingest.rebuild_runs(tx, self.project_id)
        self.report.kind = "first" if self.state["walk_complete_at"] is None else "incremental"
        self.emit(Event("project", self.project.path, total=answer.counts["total"]))
        return answer

    def _identify(self) -> Answer:
        selections = {"total": Count(self.settings.filters)}
        try:
            return self.project.ask(selections)
        except NotFound:
            renamed = self._renamed()
            if renamed is None:
                raise
            self.emit(Event("warning", self.project.path, message=f"was renamed to {renamed.path}"))
            self.project = renamed
            self.report.warnings.append(f"{self.report.path} is now {renamed.path}")
            return self.project.ask(selections)

    def _renamed(self) -> Project | None:
        """Look once through the entity's projects for one this path used to name."""
        c = tables.project_aliases.c
        rows = self.store.rows(
            sa.select(c.project_id)
            .where(c.entity == escape(self.project.entity), c.name == escape(self.project.name))
            .order_by(c.last_seen_at.desc())
        )
        wanted = [row["project_id"] for row in rows]
        if not wanted:
            return None
        for node in entity_projects(self.client, self.project.entity):
            if ingest.project_key(node) in wanted:
                return Project(
                    self.client, node.get("entityName") or self.project.entity, node["name"]
                )
        with self._begin() as tx:
            ingest.tombstone_projects(tx, wanted, at=self._now())
        return None

    def _displaced(self, answer: Answer) -> None:
        """Another project held under this path was renamed, or is gone: find out which, once."""
        c = tables.projects.c
        others = {
            row["project_id"]
            for row in self.store.rows(
                sa.select(c.project_id).where(
                    c.entity == escape(answer.info["entityName"]),
                    c.name == escape(answer.info["name"]),
                    c.project_id != self.project_id,
                    c.deleted_at.is_(None),
                )
            )
        }
        if not others:
            return
        listed = entity_projects(self.client, answer.info["entityName"])
        renamed = [node for node in listed if ingest.project_key(node) in others]
        gone = others - {ingest.project_key(node) for node in renamed}
        with self._begin() as tx:
            ingest.ingest_projects(tx, renamed, synced_at=self._now())
            ingest.tombstone_projects(tx, sorted(gone), at=self._now())

    # -------------------------------------------------------------- first walk

    def _first_walk(self, answer: Answer, *, newest: bool) -> None:
        """Read every run, oldest first, from where the last walk was interrupted."""
        if self.state["walk_started_mark"] is None:
            self._save(walk_started_mark=self.mark, generation=ingest.GENERATION)
        if not newest:
            self.report.kind = "full"
        elif answer.counts["total"] > 2 * NEWEST_FIRST:
            self._newest_first()
        window = Window(self.state["resume_created_at"], self.state["resume_after"])
        total = answer.counts["total"]
        done = state.live_count(self.store, self.project_id) if newest else 0
        known = self._newest_known() if newest else None
        after: Window | None = None
        for page, here, after in self._walk(
            window, self.settings.filters, documents=True, until_us=known
        ):
            ahead = after or here
            self._store(page.nodes, resume_created_at=ahead.start, resume_after=ahead.after)
            self._check_group(here, after)
            done += len(page.nodes)
            self.emit(Event("page", self.project.path, "runs", done=min(done, total), total=total))
        if after is not None:
            self._rest_of_walk(after)
        details = {name: value for name, value in self.state["details"].items() if name != "newest"}
        # From here on the incremental pass is enough, even if this process ends now. A walk that
        # was interrupted has seen its first part long ago: `reconciled_at` stays empty for it.
        self._save(
            walk_complete_at=instants.now(),
            mark=self.state["walk_started_mark"],
            walk_started_mark=None,
            resume_created_at=None,
            resume_after=None,
            details=details,
        )

    def _newest_known(self) -> int | None:
        """From which creation time on the newest runs were read already, in microseconds."""
        progress = self.state["details"].get("newest") or {}
        return None if progress.get("left") else progress.get("oldest_us")

    def _rest_of_walk(self, window: Window) -> None:
        """The walk has reached the runs that were read first: list them, read what is new or moved."""
        for page, here, after in self._walk(window, self.settings.filters):
            self._fetch(self._changed(page.nodes))
            ahead = after or here
            self._save(resume_created_at=ahead.start, resume_after=ahead.after)
            self._check_group(here, after)

    def _newest_first(self) -> None:
        """Bring the newest runs first, so that the mirror is of use while the walk goes on.

        Its cursor is an offset and may slip when runs arrive; the walk behind it lists these runs
        again, and reads what slipped.
        """
        details = self.state["details"]
        if self.state["resume_created_at"] is not None:
            return
        progress = details.get("newest") or {"left": NEWEST_FIRST, "after": None, "oldest_us": None}
        while progress["left"] > 0:
            size = min(progress["left"], self.page_size.value)
            page = self._documents_page(
                self.settings.filters, "-created_at", size, progress["after"]
            )
            progress = {
                "left": progress["left"] - max(1, len(page.nodes)),
                "after": page.end_cursor,
                "oldest_us": min(
                    (us for node in page.nodes if (us := created_us(node)) is not None),
                    default=progress["oldest_us"],
                ),
            }
            if not page.has_next or not page.end_cursor:
                progress["left"] = 0
            self._store(page.nodes, details={**details, "newest": progress})
            self.emit(
                Event(
                    "page",
                    self.project.path,
                    "newest runs",
                    done=NEWEST_FIRST - progress["left"],
                    total=NEWEST_FIRST,
                )
            )

    def _check_group(self, here: Window, after: Window | None) -> None:
        """After a group of equal times larger than a page: fetch what slipped through its cursor."""
        if here.after is None or (after is not None and after.start == here.start):
            return
        bounds: dict[str, Any] = {} if here.start is None else {"$gte": here.start}
        if after is not None:
            bounds["$lt"] = after.start
        group = all_of(self.settings.filters, {"createdAt": bounds} if bounds else None)
        end_us = None if after is None else after.start_us
        held = state.names_between(self.store, self.project_id, here.start_us, end_us)
        if self.project.ask({"group": Count(group)}).counts["group"] <= len(held):
            return
        rest = all_of(self.settings.filters, {"createdAt": bounds} if bounds else None)
        rest = all_of(rest, {"name": {"$nin": sorted(held)}})
        for page, _here, _after in self._walk(START, rest, documents=True):
            self._store(page.nodes)

    # -------------------------------------------------------------- incremental pass

    def _incremental(self) -> None:
        """Find what moved since the mark, in one listing of light rows; fetch the documents of those."""
        since = self._since()
        changed: list[str] = []
        held = state.unfinished(self.store, self.project_id)
        try:
            changed += self._moved(since, held, updated=self.state["updated_at_trust"] == "trusted")
        except GraphQLError:
            if self.state["updated_at_trust"] != "trusted":
                raise
            self._save(updated_at_trust="unfilterable", trust_checked_at=self._now())
            changed += self._moved(since, held, updated=False)
        self._fetch(list(dict.fromkeys(changed)))

    def _moved(self, since: str, held: Sequence[str], *, updated: bool) -> list[str]:
        """List what moved since a time, and the unfinished runs held; return what changed of it."""
        moved: dict[str, Any] = {"$gte": since}
        ways: list[dict[str, Any]] = [{"heartbeatAt": moved}, {"createdAt": moved}]
        if updated:
            ways.append({"updatedAt": moved})
        changed: list[str] = []
        parts = [list(some) for some in _chunks(held, NAMES_A_REQUEST)] or [[]]
        for some in parts:  # nearly always one
            if some:
                ways.append({"name": {"$in": some}})
            base = all_of(self.settings.filters, {"$or": ways})
            for page, _here, _after in self._walk(START, base, extra=self._with_pulses):
                changed += self._changed(page.nodes)
            ways = []
        return changed

    def _since(self) -> str:
        """Where the pass looks back to: `lag_s` before the mark, or the newest time held if earlier.

        The second is for a server whose Date header runs ahead of its own timestamps.
        """
        mark = instants.to_us(self.state["mark"] or self.mark) or 0
        newest = state.newest_us(self.store, self.project_id)
        since = mark - int(self.settings.lag_s * _SECOND_US)
        return instants.from_us(max(0, since if newest is None else min(since, newest)))

    def _unsettled(self, node: Mapping[str, Any]) -> bool:
        """Whether equal times prove nothing: the run was last read in the second it moved in.

        A server may send whole seconds, so a run written again in the second it was read in shows
        the same times. From the last mark on, such a run is read again; times beyond the server's
        clock are left out, they would be read again for ever.
        """
        latest = _latest_us(node)
        mark = instants.to_us(self.state["mark"] or self.mark)
        now = instants.to_us(self.mark)
        if latest is None or mark is None or now is None:
            return False
        return mark - _SECOND_US <= latest <= now + int(self.settings.lag_s * _SECOND_US)

    def _changed(self, nodes: Sequence[Mapping[str, Any]], seen: _Seen | None = None) -> list[str]:
        """Names of the listed runs whose documents must be read."""
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
                    if seen is not None:
                        self._judge(node, row, seen)
            elif self._unsettled(node):
                names.append(name)
            elif node.get("id") and node["id"] != row["id"]:
                ids.append({"project_id": self.project_id, "name": row["name"], "id": node["id"]})
        if ids:  # global ids hold the project's name: a rename changes them, and nothing else
            with self._begin() as tx:
                text = sa.update(tables.runs).where(
                    tables.runs.c.project_id == self.project_id,
                    tables.runs.c.name == sa.bindparam("held"),
                )
                tx.connection.execute(
                    text.values(id=sa.bindparam("new"), seq=tx.seq),
                    [{"held": row["name"], "new": row["id"]} for row in ids],
                )
        return names

    def _judge(self, node: Mapping[str, Any], row: Row, seen: _Seen) -> None:
        """Learn from an edit of an ended run whether `updatedAt` moves with edits here."""
        if row["heartbeat_at"] != node.get("heartbeatAt") or row["state"] != node.get("state"):
            return  # alive: the incremental pass would have found it by its heartbeat
        seen.updated_moved |= row["updated_at"] != node.get("updatedAt")
        seen.updated_stood |= row["updated_at"] == node.get("updatedAt")

    # -------------------------------------------------------------- reconcile

    def _reconcile(self) -> None:
        """Compare a light listing of everything with the store, and mend every difference."""
        self.emit(Event("reconcile", self.project.path))
        began = self._sequence()
        since_us = instants.to_us(self._since()) or 0
        seen = _Seen()
        missed = 0

        def extra(first: bool) -> dict[str, Selection]:
            # The last page's count is the one that belongs to what was listed.
            total: dict[str, Selection] = {"total": Count(self.settings.filters)}
            return total | {"sweeps": Sweeps()} if first else total

        for page, here, after in self._walk(START, self.settings.filters, extra=extra):
            changed = self._changed(page.nodes, seen)
            wanted = set(changed)
            # What a pass by times would not have found.
            missed += sum(
                1
                for node in page.nodes
                if node["name"] in wanted and (_latest_us(node) or 0) < since_us
            )
            self._fetch(changed)
            self._note_missing(page, here, after, seen)
            self.emit(Event("page", self.project.path, "reconcile", done=seen.listed))
        self._bury(seen.missing, began)
        self._learn(seen)
        if self.report.kind == "incremental":
            self.report.kind = "reconcile"
            self.report.missed += missed
        self._reread()

    def _note_missing(self, page: Page, here: Window, after: Window | None, seen: _Seen) -> None:
        """Once a stretch of creation times is listed whole, note which held runs were not in it."""
        seen.listed += len(page.nodes)
        seen.group |= {node["name"] for node in page.nodes}
        if after is not None and after.start == here.start:
            return
        end_us = None if after is None else after.start_us
        held = state.names_between(self.store, self.project_id, here.start_us, end_us)
        seen.missing += sorted(held - seen.group - self.quarantined.keys())
        seen.group = set()

    def _bury(self, missing: Sequence[str], began: int) -> None:
        """Tombstone runs that a complete walk lacked and a second look-up does not return either."""
        if not missing:
            return
        held = state.live_count(self.store, self.project_id)
        gone: list[str] = []
        for some in _chunks(missing, NAMES_A_REQUEST):
            gone += self._second_look(some, began)
        if (
            len(gone) > MISSING_SHARE * held
            and len(gone) >= MISSING_FLOOR
            and not self.settings.yes
        ):
            text = (
                f"{len(gone)} of {held} runs are missing on the server; if that is right, "
                f"run `mirror sync {self.project.path} --reconcile --yes`"
            )
            self.report.warnings.append(text)
            self.emit(Event("warning", self.project.path, message=text))
            return
        with self._begin() as tx:
            self.report.tombstoned += ingest.tombstone_runs(
                tx, self.project_id, gone, at=self._now()
            )

    def _second_look(self, names: Sequence[str], began: int) -> list[str]:
        """Ask for the names themselves; return those truly gone, and deal with the others."""
        found: dict[str, Mapping[str, Any]] = {}
        for page, _here, _after in self._walk(START, {"name": {"$in": list(names)}}):
            found |= {node["name"]: node for node in page.nodes}
        if self.settings.filters and found:
            selected: set[str] = set()
            base = all_of(self.settings.filters, {"name": {"$in": sorted(found)}})
            for page, _here, _after in self._walk(START, base):
                selected |= {node["name"] for node in page.nodes}
            left = sorted(found.keys() - selected)
            with self._begin() as tx:
                self.report.out_of_selection += ingest.tombstone_runs(
                    tx, self.project_id, left, at=self._now(), column="out_of_selection_at"
                )
            found = {name: found[name] for name in selected}
        self._fetch(sorted(found))
        rows = state.stored(self.store, self.project_id, names)
        # Written since the walk began: somebody has just seen it alive.
        return [
            name
            for name in names
            if name not in found
            and name in rows
            and rows[name]["live"]
            and rows[name]["seq"] <= began
        ]

    def _learn(self, seen: _Seen) -> None:
        """Keep what the edits found tell of `updatedAt`; an edit below the mark revokes its trust."""
        details = dict(self.state["details"])
        if seen.updated_stood:
            details["updated_at_moves"] = False
            if self.state["updated_at_trust"] == "trusted":
                self._save(updated_at_trust="frozen", trust_checked_at=self._now())
        elif seen.updated_moved:
            details["updated_at_moves"] = True
        if details != self.state["details"]:
            self._save(details=details)

    def _reread(self) -> None:
        """Read again the documents longest unread, where an edit could have left no trace."""
        days = self.settings.reread_days
        if not days or self.state["details"].get("updated_at_moves") is True:
            return
        held = state.live_count(self.store, self.project_id)
        now_us = time.time_ns() // 1000
        last_us = instants.to_us(self.state["reconciled_at"]) or now_us
        share = min(1.0, max(0.0, (now_us - last_us) / (days * _DAY_US)))
        due = state.longest_unread(
            self.store, self.project_id, math.ceil(held * share), before_us=now_us - 60 * _SECOND_US
        )
        due = [name for name in due if name not in self.quarantined]
        self._fetch(due)
        self.report.reread += len(due)

    # -------------------------------------------------------------- the end of a round

    def _finish(self, answer: Answer, *, walked: bool, resumed: bool, reconciled: bool) -> None:
        """Read the sweeps if they moved, and save the mark: only now is the pass complete."""
        total = self._total()
        if walked or reconciled:
            self._save(reconciled_at=instants.now(), count_difference=total - self._held())
        self._sweeps(answer, walked=walked)
        mark = self.state["mark"] if walked and not resumed else self.mark
        if not self.dated:
            newest = state.newest_us(self.store, self.project_id)
            mark = mark if newest is None else instants.from_us(newest)
        self.report.complete = True
        self.report.server_count = total
        self.report.synced_at = mark
        missed = int(self.state["missed"] or 0) + self.report.missed
        self._save(
            mark=mark, synced_at=mark, server_count=total, missed=missed,
            generation=ingest.GENERATION, last_error=None, last_error_at=None,
        )  # fmt: skip

    def _total(self) -> int:
        """The server's count of the runs selected, as of the last listing that told it."""
        if self.counted is None:
            self.counted = self.project.ask({"total": Count(self.settings.filters)}).counts["total"]
        return self.counted

    def _held(self) -> int:
        """Runs the server should count: those readers see, and the quarantined never delivered."""
        live = state.live_count(self.store, self.project_id)
        rows = state.stored(self.store, self.project_id, list(self.quarantined))
        return live + sum(
            1 for name in self.quarantined if name not in rows or not rows[name]["live"]
        )

    def _reconcile_is_due(self, answer: Answer, *, walked: bool, resumed: bool) -> bool:
        """Whether to compare everything, by what was asked, the project's size, or the schedule."""
        if self.settings.reconcile or self.settings.full or resumed:
            return True
        if max(answer.counts["total"], self._held()) <= SMALL_PROJECT:
            return True
        if walked:
            return False
        last_us = instants.to_us(self.state["reconciled_at"]) or 0
        return time.time_ns() // 1000 - last_us >= self.settings.reconcile_every_s * _SECOND_US

    def _counts_disagree(self, *, walked: bool) -> bool:
        """Whether the server counts other runs than are held, beyond what a reconcile explained."""
        expected = 0 if walked else int(self.state["count_difference"] or 0)
        return self._total() - self._held() != expected

    def _prove_updated_at(self) -> None:
        """Once a week: does the server filter on `updatedAt` at all? Alone: a 400 would void more."""
        checked_us = instants.to_us(self.state["trust_checked_at"])
        if checked_us is not None and time.time_ns() // 1000 - checked_us < TRUST_DAYS * _DAY_US:
            return
        try:
            counts = self.project.ask(
                {
                    "never": Count({"updatedAt": {"$gte": "2999-01-01T00:00:00Z"}}),
                    "ever": Count({"updatedAt": {"$gte": "1970-01-01T00:00:00Z"}}),
                    "all": Count(),
                }
            ).counts
            proven = counts["never"] == 0 and counts["ever"] == counts["all"] and counts["all"] > 0
        except ServerFailed:
            return  # a bad day proves nothing; asked again next time
        except RemoteError:
            proven = False
        self._save(
            updated_at_trust="trusted" if proven else "unfilterable", trust_checked_at=self._now()
        )

    def _sweeps(self, answer: Answer, *, walked: bool) -> None:
        """Read the sweeps again when something says they moved: their number, a run, an open one."""
        if self._sweeps_stand(answer, walked=walked):
            return
        nodes = list(self._all_sweeps())
        listed = {node["name"] for node in nodes}
        with self._begin() as tx:
            self.report.sweeps += ingest.ingest_sweeps(
                tx, nodes, project_id=self.project_id, synced_at=self._now()
            )
        missing = [
            name for name in state.live_sweeps(self.store, self.project_id) if name not in listed
        ]
        gone = [sweep for sweep in missing if not self._sweep_answers(sweep)]
        if gone:
            with self._begin() as tx:
                ingest.tombstone_sweeps(tx, self.project_id, gone, at=self._now())

    def _all_sweeps(self) -> Iterator[Mapping[str, Any]]:
        page = self.sweep_page or self.project.ask({"sweeps": Sweeps()}).pages["sweeps"]
        yield from page.nodes
        after = None
        while page.has_next:
            if not page.end_cursor or page.end_cursor == after:
                raise StuckCursor(f"{self.project.path}: the listing of sweeps does not move on")
            after = page.end_cursor
            page = self.project.ask({"sweeps": Sweeps(after=after)}).pages["sweeps"]
            yield from page.nodes

    def _sweeps_stand(self, answer: Answer, *, walked: bool) -> bool:
        """Whether nothing says that a sweep moved: no run of one, no count, no open one's pulse."""
        held = state.live_sweeps(self.store, self.project_id)
        total = answer.info.get("totalSweeps")
        if total == 0 and not held:
            return True
        if self.sweep_page is not None or walked or self.report.runs or total != len(held):
            return False
        return all(
            pulse is not None
            and (pulse["state"], pulse["runCount"])
            == (held[name]["state"], held[name]["run_count"])
            for name, pulse in self.pulses.items()
            if name in held
        )

    def _with_pulses(self, first: bool) -> dict[str, Selection]:
        """The count, and the open sweeps held, asked for in a request that is sent anyway."""
        if not first:
            return {}
        held = state.live_sweeps(self.store, self.project_id)
        names = [name for name, row in held.items() if row["state"] in _OPEN_SWEEPS][:MAX_PULSES]
        pulses = {f"sweep{number}": SweepPulse(name) for number, name in enumerate(names)}
        return {"total": Count(self.settings.filters), **pulses}

    def _sweep_answers(self, name: str) -> bool:
        """A second look at a sweep that a listing lacked."""
        data = self.client.execute(
            "MirrorSweep", entity=self.project.entity, project=self.project.name, sweep=name
        )
        return bool((data.get("project") or {}).get("sweep"))

    # -------------------------------------------------------------- pages and documents

    def _walk(
        self,
        window: Window,
        base: Mapping[str, Any],
        *,
        documents: bool = False,
        until_us: int | None = None,
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
                return self._documents_page(filters, "+created_at", size, here.after)
            return self._light_page(filters, here.after, more)

        for page, here, following in windows(fetch, window, until_us=until_us):
            yield page, here, following
            if self.stopping():
                raise Stopped(self.project.path)

    def _light_page(
        self, filters: Mapping[str, Any], after: str | None, more: Mapping[str, Selection]
    ) -> Page:
        """One page of light rows, and what was asked along with it."""
        runs = Runs(filters, order="+created_at", first=LIGHT_PAGE, after=after, light=True)
        answer = self.project.ask({"page": runs, **more})
        self.counted = answer.counts.get("total", self.counted)
        self.sweep_page = answer.pages.get("sweeps", self.sweep_page)
        self.pulses = {**self.pulses, **answer.sweeps}
        return answer.pages["page"]

    def _documents_page(
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
        todo = [list(some) for some in _chunks(names, max(1, self.page_size.value))]
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
                self._quarantine(some[0], str(error))
                continue
            nodes += answer.pages["page"].nodes
        return nodes

    def _fetch(self, names: Sequence[str]) -> None:
        """Read the documents of the named runs and store them, a page a transaction."""
        wanted = [name for name in names if name not in self.quarantined]
        position = 0
        while position < len(wanted):
            some = wanted[position : position + self.page_size.value]
            position += len(some)
            began = time.monotonic()
            nodes = self._documents(some)
            self.page_size.answered(time.monotonic() - began, len(some))
            self._store(nodes)
            self.emit(
                Event("page", self.project.path, "changed runs", done=position, total=len(wanted))
            )
            if self.stopping():
                raise Stopped(self.project.path)

    def _store(self, nodes: Sequence[Mapping[str, Any]], **progress: Any) -> None:
        """Write a page's rows and the resume point in one transaction."""
        full = [node for node in nodes if "config" in node]
        with self._begin() as tx:
            done = ingest.ingest_runs(
                tx,
                full,
                project_id=self.project_id,
                synced_at=self._now(),
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
        next_us = time.time_ns() // 1000 + min(3600 * 2 ** (tries - 1), 7 * 86_400) * _SECOND_US
        with self._begin() as tx:
            state.put_quarantine(
                tx, self.project_id, name, error, tries=tries, next_try_at_us=next_us
            )
        self.quarantined = state.quarantined(self.store, self.project_id)
        self.report.quarantined = sorted(self.quarantined)
        self.emit(Event("quarantined", self.project.path, message=f"{name}: {error}"))

    def _retry_quarantine(self) -> None:
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
            with self._begin() as tx:
                state.clear_quarantine(tx, self.project_id, [name])
            del self.quarantined[name]
            self._store(page.nodes)
        self.report.quarantined = sorted(self.quarantined)

    # -------------------------------------------------------------- small

    def _begin(self) -> Any:
        return self.store.begin(lease=self.lease)

    def _save(self, **values: Any) -> None:
        with self._begin() as tx:
            state.save(tx, self.project_id, **values)
        self.state.update(values)

    def _sequence(self) -> int:
        row = self.store.one(sa.select(tables.change_counter.c.seq))
        return int(row["seq"]) if row else 0

    def _now(self) -> str:
        return self.mark or instants.now()


class Stopped(MirrorError):
    """The round was asked to end (SIGTERM) and did, after the current page."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: stopped after the current page; the next sync goes on from there"
        )


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _latest_us(node: Mapping[str, Any]) -> int | None:
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
    import json

    return json.loads(value) if isinstance(value, str) else list(value or ())
