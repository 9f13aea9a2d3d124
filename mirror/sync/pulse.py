"""The pulse: one question that shows every collection of a project or of an organization's registries.

It is asked by `ArtifactSync`, or ahead of it: a round's first question about a project, whose
artifacts were read before, is the pulse with the project's count of runs, and the first of a round
asks for the registries along. So a round that finds nothing costs no request for artifacts.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from mirror import ingest, instants
from mirror.errors import GraphQLError, NotFound, ServerFailed
from mirror.jsontext import dumps, escape
from mirror.remote.client import Client
from mirror.remote.pages import page_of
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import state
from mirror.sync.listing import Answer, Project

__all__ = [
    "ALIASES_A_PAGE",
    "COLLECTIONS_A_PAGE",
    "STAGE",
    "Ahead",
    "Beside",
    "edited_since",
    "pulse",
    "since_us",
]

STAGE = "artifacts"
COLLECTIONS_A_PAGE = 100
ALIASES_A_PAGE = 500


@dataclass(slots=True)
class Beside:
    """The registries' pulse, to be sent with that of a project: taken by the first that sends one."""

    variables: Mapping[str, Any]
    since_us: int | None
    answer: Mapping[str, Any] | None = None
    """the entity with its registries, once somebody has asked"""
    _free: threading.Lock = field(default_factory=threading.Lock)

    def claim(self) -> bool:
        """Whether the caller is the first."""
        return self._free.acquire(blocking=False)


@dataclass(slots=True)
class Ahead:
    """A project's pulse, asked together with who the project is: a round's first question of it.

    Only where its artifacts were read before, since the question says since when.
    """

    client: Client
    store: Store
    lag_s: float
    beside: Beside | None = None
    pulse: Mapping[str, Any] | None = None
    project_id: str = ""

    def ask(self, project: Project, filters: Mapping[str, Any]) -> Answer | None:
        """Return the project and its count of runs; None where that must be asked by itself."""
        self.project_id = _held_as(self.store, project)
        before = state.load(self.store, self.project_id, STAGE) if self.project_id else {}
        if not before.get("walk_complete_at") or before["details"].get("edits_refused"):
            return None
        oldest_us = since_us(before, self.lag_s)
        variables = {
            "entity": project.entity, "project": project.name, "runs": dumps(dict(filters)),
            "after": None, "first": COLLECTIONS_A_PAGE, "aliases": ALIASES_A_PAGE, "edited": True,
        }  # fmt: skip
        try:
            data = _ask(self.client, variables, oldest_us, self.beside)
        except (GraphQLError, ServerFailed, NotFound):
            return None  # each by itself, then: trouble with artifacts is none of the runs'
        node = data.get("project")
        if node is None or ingest.project_key(node) != self.project_id:
            return None
        self.pulse = node
        return Answer(info=node, counts={"total": int(node.get("total") or 0)})


def _held_as(store: Store, project: Project) -> str:
    """The key of the project that is held under a path; "" where there is none."""
    c = tables.projects.c
    row = store.one(
        sa.select(c.project_id)
        .where(
            c.entity == escape(project.entity),
            c.name == escape(project.name),
            c.deleted_at.is_(None),
        )
        .order_by(c.created_at_us.desc())
    )
    return str(row["project_id"]) if row else ""


def _ask(
    client: Client, variables: Mapping[str, Any], own_us: int, beside: Beside | None
) -> dict[str, Any]:
    """Ask for a project's collections, and for the registries where nobody has."""
    if beside is None or not beside.claim():
        return client.execute("MirrorArtifactPulse", **{**variables, "since": edited_since(own_us)})
    oldest_us = own_us if beside.since_us is None else min(own_us, beside.since_us)
    data = client.execute(
        "MirrorArtifactPulses",
        **{**variables, **beside.variables, "since": edited_since(oldest_us)},
    )
    beside.answer = data.get("entity")
    return data


def since_us(before: Mapping[str, Any], lag_s: float) -> int:
    """From when on to look for edits: the mark of a stage's state, less the overlap."""
    mark_us = instants.to_us(before["mark"]) or 0
    return max(0, mark_us - int(lag_s * 1_000_000))


def edited_since(micros: int) -> str:
    """The filter for what was edited since a time."""
    return dumps({"updatedAt": {"$gte": instants.from_us(micros)}})


def pulse(client: Client, entity: str, project: str) -> Sequence[Mapping[str, Any]]:
    """The first page of a project's collections, with the number of their memberships."""
    data = client.execute(
        "MirrorArtifactPulse", entity=entity, project=project, first=COLLECTIONS_A_PAGE,
        after=None, aliases=1, since="{}", edited=False,
    )  # fmt: skip
    return page_of((data.get("project") or {}).get("artifactCollections")).nodes
