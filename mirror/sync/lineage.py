"""The lineage of one place: what its runs used and logged, and the versions that are met there.

Versions tell who made and who uses them; runs tell, besides, what they use them as and in which order.
A run is asked when it was written since the last round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mirror import ingest_artifacts as door
from mirror.jsontext import dumps, unescape
from mirror.remote.pages import Page, page_of
from mirror.store import tables
from mirror.sync.artifact_task import LIGHT_PAGE, ArtifactTask, following
from mirror.sync.state import chunks

__all__ = ["Lineage"]

RUNS_A_REQUEST = 100
RUNS_A_ROUND = 2000
"""Runs whose lineage is read in one round; the others' in the next."""
LINKS_A_RUN = 200
FOREIGN_A_ROUND = 500
"""Versions of other projects, met in lineage, that are read in one round."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """One round over the lineage of a place's runs. `run` does everything."""

    task: ArtifactTask

    def run(self) -> None:
        """Read what runs used and logged: those written since the last round, and `usedAs` of uses."""
        known = self.task.state["details"].get("lineage_seq")
        wanted, upto = self._runs_to_ask(known)
        met = False
        for names in chunks(wanted, RUNS_A_REQUEST):
            nodes = self._lineage_of(list(names))
            with self.task.begin() as tx:
                strange = door.ingest_run_lineage(
                    tx, self.task.place.project_id, nodes, synced_at=self.task.at()
                )
            met = met or bool(strange)
            self.task.keep_going()
        if upto != known or met:
            details = {**self.task.state["details"], "lineage_seq": upto}
            self.task.save(details=details | ({"foreign_after": ""} if met else {}))
        self._foreign()

    def _foreign(self) -> None:
        """Read versions that lineage names and that are not held, from where the last round ended."""
        details = self.task.state["details"]
        after = details.get("foreign_after")
        if after is None:
            return
        u, v = tables.artifact_uses.c, tables.artifacts.c
        rows = self.task.store.rows(
            sa.select(u.artifact_id)
            .distinct()
            .outerjoin(tables.artifacts, v.id == u.artifact_id)
            .where(
                u.project_id == self.task.place.project_id, u.deleted_at.is_(None),
                v.id.is_(None), u.artifact_id > after,
            )
            .order_by(u.artifact_id)
            .limit(FOREIGN_A_ROUND)
        )  # fmt: skip
        self.task.fetch([row["artifact_id"] for row in rows])
        left = {key: value for key, value in details.items() if key != "foreign_after"}
        if len(rows) == FOREIGN_A_ROUND:
            left["foreign_after"] = rows[-1]["artifact_id"]
        self.task.save(details=left)

    def _lineage_of(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        """Nodes of runs with all that they used and logged."""
        nodes: list[Mapping[str, Any]] = []
        left = list(names)
        while left:
            data = self.task.ask(
                "MirrorLineageOfRuns", **self.task.place.variables,
                filters=dumps({"name": {"$in": left}}), first=len(left), links=LINKS_A_RUN,
            )  # fmt: skip
            page = page_of((data.get("project") or {}).get("runs"))
            nodes += [self._all_links(node) for node in page.nodes]
            given = {node["name"] for node in page.nodes}
            left = [name for name in left if name not in given] if page.has_next and given else []
        return nodes

    def _all_links(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """A run's node with all of its links, where there are more than a page."""
        pages = {name: page_of(node.get(name)) for name in ("inputArtifacts", "outputArtifacts")}
        edges = {name: list((node.get(name) or {}).get("edges") or ()) for name in pages}
        used: set[str | None] = set()
        while any(page.has_next for page in pages.values()):
            at = {name: page.end_cursor for name, page in pages.items()}
            key = "\n".join(str(each) for each in at.values())
            following(Page(end_cursor=key), used, f"the artifacts of run {node['name']}")
            used.add(key)
            data = self.task.ask(
                "MirrorLinksOfRun", **self.task.place.variables,
                run=node["name"], first=LIGHT_PAGE, used=at["inputArtifacts"],
                logged=at["outputArtifacts"],
            )  # fmt: skip
            run = (data.get("project") or {}).get("run") or {}
            for name, page in pages.items():
                if page.has_next:
                    edges[name] += (run.get(name) or {}).get("edges") or ()
                    pages[name] = page_of(run.get(name))
        told = {name: {"edges": rows} for name, rows in edges.items() if node.get(name) is not None}
        return {**node, **told}

    def _runs_to_ask(self, known: int | None) -> tuple[list[str], int]:
        """Names of the runs whose lineage is to be read, and up to which `seq` that reads them."""
        r, u = tables.runs.c, tables.artifact_uses.c
        now = self.task.sequence()
        here = (r.project_id == self.task.place.project_id) & (r.live == 1)
        theirs = (u.project_id == self.task.place.project_id) & u.deleted_at.is_(None)
        unnamed = self.task.store.rows(
            sa.select(u.run).distinct()
            .where(theirs, u.direction == "used", u.used_as.is_(None)).limit(RUNS_A_ROUND)
        )  # fmt: skip
        unordered = self.task.store.rows(  # in which order a run lists several is known to it only
            sa.select(u.run)
            .join(tables.runs, here & (r.name == u.run))
            .where(theirs)
            .group_by(u.run, u.direction)
            .having(sa.func.count() > 1, sa.func.count(u.run_position) < sa.func.count())
            .limit(RUNS_A_ROUND)
        )
        names = {unescape(row["run"]): None for row in (*unnamed, *unordered)}
        if known is None:  # the versions themselves have told who made and who used them
            return list(names), now
        moved = self.task.store.rows(
            sa.select(r.name, r.seq).where(here, r.seq > known).order_by(r.seq).limit(RUNS_A_ROUND)
        )
        names |= dict.fromkeys(unescape(row["name"]) for row in moved)
        upto = now if len(moved) < RUNS_A_ROUND else int(moved[-1]["seq"]) - 1
        return list(names), max(upto, known)
