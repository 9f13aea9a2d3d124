"""Reconcile: a light listing of everything, compared with the store, every difference mended.

This is what finds what times do not tell: edits of ended runs, deletions, late arrivals. A run is
tombstoned only after a complete walk that lacked it, if nobody wrote it meanwhile, and if a second
look-up by its name does not return it either.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mirror import ingest, instants
from mirror.remote.operations import Count, Selection, Sweeps
from mirror.remote.pages import Page
from mirror.store.store import Row
from mirror.sync import state
from mirror.sync.report import Event
from mirror.sync.task import NAMES_A_REQUEST, SECOND_US, Task, latest_us
from mirror.sync.walk import START, Window, all_of

__all__ = ["Reconcile"]

MISSING_SHARE, MISSING_FLOOR = 0.20, 5
"""More than this share missing, and at least so many runs, wants a person's word (`--yes`)."""

_DAY_US = 86_400_000_000


@dataclass(slots=True)
class _Seen:
    """What a reconcile gathers while it walks; never more than a page of names at a time."""

    group: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    listed: int = 0
    updated_moved: bool = False
    updated_stood: bool = False


class Reconcile:
    """One reconcile of a project. `run` does everything."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.seen = _Seen()

    def run(self) -> None:
        """Compare a light listing of everything with the store, and mend every difference."""
        self.task.emit(Event("reconcile", self.task.project.path))
        began = self.task.sequence()
        since_us = instants.to_us(self.task.since()) or 0
        seen = self.seen
        missed = 0

        def extra(first: bool) -> dict[str, Selection]:
            # The last page's count is the one that belongs to what was listed.
            total: dict[str, Selection] = {"total": Count(self.task.settings.filters)}
            return total | {"sweeps": Sweeps()} if first else total

        for page, here, after in self.task.walk(START, self.task.settings.filters, extra=extra):
            changed = self.task.changed(page.nodes, self._judge)
            wanted = set(changed)
            # What a pass by times would not have found.
            missed += sum(
                1
                for node in page.nodes
                if node["name"] in wanted and (latest_us(node) or 0) < since_us
            )
            self.task.fetch(changed)
            self._note_missing(page, here, after, seen)
            self.task.emit(Event("page", self.task.project.path, "reconcile", done=seen.listed))
        self._bury(seen.missing, began)
        self._learn(seen)
        if self.task.report.kind == "incremental":
            self.task.report.kind = "reconcile"
            self.task.report.missed += missed
        self._reread()

    def _judge(self, node: Mapping[str, Any], row: Row) -> None:
        """Learn from an edit of an ended run whether `updatedAt` moves with edits here."""
        if row["heartbeat_at"] != node.get("heartbeatAt") or row["state"] != node.get("state"):
            return  # alive: the incremental pass would have found it by its heartbeat
        self.seen.updated_moved |= row["updated_at"] != node.get("updatedAt")
        self.seen.updated_stood |= row["updated_at"] == node.get("updatedAt")

    def _note_missing(self, page: Page, here: Window, after: Window | None, seen: _Seen) -> None:
        """Once a stretch of creation times is listed whole, note which held runs were not in it."""
        seen.listed += len(page.nodes)
        seen.group |= {node["name"] for node in page.nodes}
        if after is not None and after.start == here.start:
            return
        end_us = None if after is None else after.start_us
        held = state.names_between(self.task.store, self.task.project_id, here.start_us, end_us)
        seen.missing += sorted(held - seen.group - self.task.quarantined.keys())
        seen.group = set()

    def _bury(self, missing: Sequence[str], began: int) -> None:
        """Tombstone runs that a complete walk lacked and a second look-up does not return either."""
        if not missing:
            return
        held = state.live_count(self.task.store, self.task.project_id)
        gone: list[str] = []
        for some in state.chunks(missing, NAMES_A_REQUEST):
            gone += self._second_look(some, began)
        if (
            len(gone) > MISSING_SHARE * held
            and len(gone) >= MISSING_FLOOR
            and not self.task.settings.yes
        ):
            text = (
                f"{len(gone)} of {held} runs are missing on the server; if that is right, "
                f"run `mirror sync {self.task.project.path} --reconcile --yes`"
            )
            self.task.report.warnings.append(text)
            self.task.emit(Event("warning", self.task.project.path, message=text))
            return
        with self.task.begin() as tx:
            self.task.report.tombstoned += ingest.tombstone_runs(
                tx, self.task.project_id, gone, at=self.task.now()
            )

    def _second_look(self, names: Sequence[str], began: int) -> list[str]:
        """Ask for the names themselves; return those truly gone, and deal with the others."""
        found: dict[str, Mapping[str, Any]] = {}
        for page, _here, _after in self.task.walk(START, {"name": {"$in": list(names)}}):
            found |= {node["name"]: node for node in page.nodes}
        if self.task.settings.filters and found:
            selected: set[str] = set()
            base = all_of(self.task.settings.filters, {"name": {"$in": sorted(found)}})
            for page, _here, _after in self.task.walk(START, base):
                selected |= {node["name"] for node in page.nodes}
            left = sorted(found.keys() - selected)
            with self.task.begin() as tx:
                self.task.report.out_of_selection += ingest.tombstone_runs(
                    tx, self.task.project_id, left, at=self.task.now(), column="out_of_selection_at"
                )
            found = {name: found[name] for name in selected}
        self.task.fetch(sorted(found))
        rows = state.stored(self.task.store, self.task.project_id, names)
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
        details = dict(self.task.state["details"])
        if seen.updated_stood:
            details["updated_at_moves"] = False
            if self.task.state["updated_at_trust"] == "trusted":
                self.task.save(updated_at_trust="frozen", trust_checked_at=self.task.now())
        elif seen.updated_moved:
            details["updated_at_moves"] = True
        if details != self.task.state["details"]:
            self.task.save(details=details)

    def _reread(self) -> None:
        """Read again the documents longest unread, where an edit could have left no trace."""
        days = self.task.settings.reread_days
        if not days or self.task.state["details"].get("updated_at_moves") is True:
            return
        held = state.live_count(self.task.store, self.task.project_id)
        now_us = time.time_ns() // 1000
        last_us = instants.to_us(self.task.state["reconciled_at"]) or now_us
        share = min(1.0, max(0.0, (now_us - last_us) / (days * _DAY_US)))
        due = state.longest_unread(
            self.task.store,
            self.task.project_id,
            math.ceil(held * share),
            before_us=now_us - 60 * SECOND_US,
        )
        due = [name for name in due if name not in self.task.quarantined]
        self.task.fetch(due)
        self.task.report.reread += len(due)
