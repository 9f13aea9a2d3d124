"""The sync of one project: first walk, incremental pass, reconcile. Plan → pages → ingest → cursor.

Read `ProjectSync.run` first; docs/how-it-works.md tells the same in words. Three rules hold it:

* rows and the resume point of a page are one transaction, so a kill costs at most that page;
* the mark of a pass is server time taken before its first listing and saved after its last page;
* nothing is tombstoned or called complete on the evidence of a single listing.

Nothing here prints, sleeps or exits: `emit` receives events, the caller decides.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mirror import ingest, instants
from mirror.errors import GraphQLError, NotFound, RemoteError, ServerFailed, StuckCursor
from mirror.jsontext import dumps, escape
from mirror.remote.operations import Count, Selection, SweepPulse, Sweeps
from mirror.remote.pages import entity_projects
from mirror.store import tables
from mirror.sync import state
from mirror.sync.listing import Answer, Project
from mirror.sync.reconcile import Reconcile
from mirror.sync.report import Event, ProjectReport
from mirror.sync.task import NAMES_A_REQUEST, SECOND_US, Task
from mirror.sync.walk import START, Window, all_of, created_us

__all__ = ["SMALL_PROJECT", "ProjectSync"]

NEWEST_FIRST = 1000
"""A first sync brings so many of the newest runs before it walks from the oldest."""
SMALL_PROJECT = 200
"""Projects up to this size are reconciled on every sync: it is one request."""
TRUST_DAYS, PROBE_TRIES = 7, 2
MAX_PULSES = 50
"""Open sweeps whose state is asked along with an incremental pass; about 70 bytes each."""

_OPEN_SWEEPS = ("RUNNING", "PENDING", "PAUSED")
_DAY_US = 86_400_000_000


class ProjectSync(Task):
    """One project's sync round. `run` does everything and returns the report."""

    def run(self) -> ProjectReport:
        """Bring the project up to date and return what was done. Raises MirrorError."""
        answer = self._open()
        self.retry_quarantine()
        first = self.state["walk_complete_at"] is None
        walked = resumed = False
        if self.settings.full and self.state["walk_started_mark"] is None:
            self.save(
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
            Reconcile(self).run()
        self._finish(answer, walked=walked, resumed=resumed, reconciled=due)
        return self.report

    def _open(self) -> Answer:
        """Learn who the project is now, store it, load its state."""
        answer = self._identify()
        with self.begin() as tx:
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
            self.save(
                selection=wanted,
                walk_complete_at=None,
                resume_created_at=None,
                resume_after=None,
                walk_started_mark=None,
            )
        elif wanted is not None:
            self.save(selection=wanted)
        if self.state["generation"] not in (None, ingest.GENERATION):
            with self.begin() as tx:
                ingest.rebuild_runs(tx, self.project_id)
        self.report.kind = "first" if self.state["walk_complete_at"] is None else "incremental"
        self.emit(Event("project", self.project.path, total=answer.counts["total"]))
        return answer

    def _identify(self) -> Answer:
        if self.ahead is not None and (
            found := self.ahead.ask(self.project, self.settings.filters)
        ):
            return found
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
        with self.begin() as tx:
            ingest.tombstone_projects(tx, wanted, at=self.now())
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
        with self.begin() as tx:
            ingest.ingest_projects(tx, renamed, synced_at=self.now())
            ingest.tombstone_projects(tx, sorted(gone), at=self.now())

    # -------------------------------------------------------------- first walk

    def _first_walk(self, answer: Answer, *, newest: bool) -> None:
        """Read every run, oldest first, from where the last walk was interrupted."""
        if self.state["walk_started_mark"] is None:
            self.save(walk_started_mark=self.mark, generation=ingest.GENERATION)
        if not newest:
            self.report.kind = "full"
        elif answer.counts["total"] > 2 * NEWEST_FIRST:
            self._newest_first()
        window = Window(self.state["resume_created_at"], self.state["resume_after"])
        total = answer.counts["total"]
        done = state.live_count(self.store, self.project_id) if newest else 0
        known = self._newest_known() if newest else None
        base = self.settings.filters
        if known is not None:  # what was read first is listed below, and not read twice
            base = all_of(base, {"createdAt": {"$lt": instants.from_us(known)}})
        for page, here, after in self.walk(window, base, documents=True):
            ahead = after or here
            self.keep(page.nodes, resume_created_at=ahead.start, resume_after=ahead.after)
            self._check_group(here, after)
            done += len(page.nodes)
            self.emit(Event("page", self.project.path, "runs", done=min(done, total), total=total))
        if known is not None:
            passed = window.start_us is not None and window.start_us >= known
            self._rest_of_walk(window if passed else Window(instants.from_us(known)))
        details = {name: value for name, value in self.state["details"].items() if name != "newest"}
        # From here on the incremental pass is enough, even if this process ends now. A walk that
        # was interrupted has seen its first part long ago: `reconciled_at` stays empty for it.
        self.save(
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
        for page, here, after in self.walk(window, self.settings.filters):
            self.fetch(self.changed(page.nodes))
            ahead = after or here
            self.save(resume_created_at=ahead.start, resume_after=ahead.after)
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
            page = self.documents_page(
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
            self.keep(page.nodes, details={**details, "newest": progress})
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
        for page, _here, _after in self.walk(START, rest, documents=True):
            self.keep(page.nodes)

    # -------------------------------------------------------------- incremental pass

    def _incremental(self) -> None:
        """Find what moved since the mark, in one listing of light rows; fetch the documents of those."""
        since = self.since()
        changed: list[str] = []
        held = state.unfinished(self.store, self.project_id)
        try:
            changed += self._moved(since, held, updated=self.state["updated_at_trust"] == "trusted")
        except GraphQLError:
            if self.state["updated_at_trust"] != "trusted":
                raise
            self.save(updated_at_trust="unfilterable", trust_checked_at=self.now())
            changed += self._moved(since, held, updated=False)
        self.fetch(list(dict.fromkeys(changed)))

    def _moved(self, since: str, held: Sequence[str], *, updated: bool) -> list[str]:
        """List what moved since a time, and the unfinished runs held; return what changed of it."""
        moved: dict[str, Any] = {"$gte": since}
        ways: list[dict[str, Any]] = [{"heartbeatAt": moved}, {"createdAt": moved}]
        if updated:
            ways.append({"updatedAt": moved})
        changed: list[str] = []
        parts = [list(some) for some in state.chunks(held, NAMES_A_REQUEST)] or [[]]
        for some in parts:  # nearly always one
            if some:
                ways.append({"name": {"$in": some}})
            base = all_of(self.settings.filters, {"$or": ways})
            for page, _here, _after in self.walk(START, base, extra=self._with_pulses):
                changed += self.changed(page.nodes)
            ways = []
        return changed

    # -------------------------------------------------------------- the end of a round

    def _finish(self, answer: Answer, *, walked: bool, resumed: bool, reconciled: bool) -> None:
        """Read the sweeps if they moved, and save the mark: only now is the pass complete."""
        total = self._total()
        if walked or reconciled:
            self.save(reconciled_at=instants.now(), count_difference=total - self.held())
        self._sweeps(answer, walked=walked)
        mark = self.state["mark"] if walked and not resumed else self.mark
        if not self.dated:
            newest = state.newest_us(self.store, self.project_id)
            mark = mark if newest is None else instants.from_us(newest)
        self.report.complete = True
        self.report.server_count = total
        self.report.synced_at = mark
        missed = int(self.state["missed"] or 0) + self.report.missed
        self.save(
            mark=mark, synced_at=mark, server_count=total, missed=missed,
            generation=ingest.GENERATION, last_error=None, last_error_at=None,
        )  # fmt: skip

    def _total(self) -> int:
        """The server's count of the runs selected, as of the last listing that told it."""
        if self.counted is None:
            self.counted = self.project.ask({"total": Count(self.settings.filters)}).counts["total"]
        return self.counted

    def _reconcile_is_due(self, answer: Answer, *, walked: bool, resumed: bool) -> bool:
        """Whether to compare everything, by what was asked, the project's size, or the schedule."""
        if self.settings.reconcile or self.settings.full or resumed:
            return True
        if max(answer.counts["total"], self.held()) <= SMALL_PROJECT:
            return True
        if walked:
            return False
        last_us = instants.to_us(self.state["reconciled_at"]) or 0
        return time.time_ns() // 1000 - last_us >= self.settings.reconcile_every_s * SECOND_US

    def _counts_disagree(self, *, walked: bool) -> bool:
        """Whether the server counts other runs than are held, beyond what a reconcile explained."""
        expected = 0 if walked else int(self.state["count_difference"] or 0)
        return self._total() - self.held() != expected

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
                },
                tries=PROBE_TRIES,
            ).counts
            proven = counts["never"] == 0 and counts["ever"] == counts["all"] and counts["all"] > 0
        except ServerFailed:
            # A bad day proves nothing, and some servers fail at a filter they cannot read: again
            # tomorrow.
            day_ago_us = time.time_ns() // 1000 - (TRUST_DAYS - 1) * _DAY_US
            self.save(trust_checked_at=instants.from_us(day_ago_us))
            return
        except RemoteError:
            proven = False
        self.save(
            updated_at_trust="trusted" if proven else "unfilterable", trust_checked_at=self.now()
        )

    # -------------------------------------------------------------- sweeps

    def _sweeps(self, answer: Answer, *, walked: bool) -> None:
        """Read the sweeps again when something says they moved: their number, a run, an open one."""
        if self._sweeps_stand(answer, walked=walked):
            return
        nodes = list(self._all_sweeps())
        listed = {node["name"] for node in nodes}
        with self.begin() as tx:
            self.report.sweeps += ingest.ingest_sweeps(
                tx, nodes, project_id=self.project_id, synced_at=self.now(), listing=True
            )
        missing = [
            name for name in state.live_sweeps(self.store, self.project_id) if name not in listed
        ]
        gone = [sweep for sweep in missing if not self._sweep_answers(sweep)]
        if gone:
            with self.begin() as tx:
                ingest.tombstone_sweeps(tx, self.project_id, gone, at=self.now())

    def _all_sweeps(self) -> Iterator[Mapping[str, Any]]:
        page = self.sweep_page or self.project.ask({"sweeps": Sweeps()}).pages["sweeps"]
        yield from page.nodes
        asked: set[str] = set()
        while page.has_next:
            if not page.end_cursor or page.end_cursor in asked:
                raise StuckCursor(f"{self.project.path}: the listing of sweeps does not move on")
            asked.add(page.end_cursor)
            page = self.project.ask({"sweeps": Sweeps(after=page.end_cursor)}).pages["sweeps"]
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
