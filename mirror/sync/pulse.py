"""The pulse: one question that shows every collection of a project or of an organization's registries.

It is asked by `ArtifactSync`, or ahead of it: a round's first question about a project, whose
artifacts were read before, is the pulse with the project's count of runs, and the first of a round
asks for the registries along. So a round that finds nothing costs no request for artifacts.

Every version has an alias `v<N>`, so a listing of aliases is as long as one of versions. Where a
server's cursors prove to be offsets, the last one tells how many aliases there are, and the question
is that, and who has each alias that is held (`Question`).
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from mirror import ingest, instants
from mirror.errors import Forbidden, GraphQLError, NotFound, ServerFailed, TooLarge
from mirror.jsontext import dumps, escape, unescape
from mirror.paths import REGISTRY_PREFIX
from mirror.remote.client import Client
from mirror.remote.pages import page_of
from mirror.store import tables
from mirror.store.store import Store, Transaction
from mirror.sync import state
from mirror.sync.listing import Answer, Project

__all__ = [
    "ALIASES_A_PAGE",
    "COLLECTIONS_A_PAGE",
    "REGISTRIES_A_PAGE",
    "STAGE",
    "Ahead",
    "Beside",
    "Question",
    "counted",
    "edited_since",
    "pulse",
    "registry_filter",
    "registry_pulse",
    "since_us",
]

STAGE = "artifacts"
COLLECTIONS_A_PAGE = 100
REGISTRIES_A_PAGE = 50
ALIASES_A_PAGE = 500
ALIASES_AT_FIRST = 20
"""So many aliases of each collection are listed until it is known whether they can be counted."""
NAMES_A_PULSE = 12
"""The aliases held most often, which a pulse asks every collection for: 14 bytes where there is none."""
_META = "artifact_aliases"


@dataclass(frozen=True, slots=True)
class Question:
    """How a round asks for aliases.

    `listed`: by listing them; `counted`: by their number and by name; `unknown`: both, to learn which
    will do. `versions` says whether the listing holds the server's own `v<N>`, too.
    """

    mode: Literal["unknown", "counted", "listed"] = "unknown"
    versions: bool = False
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, store: Store, server: str) -> Question:
        """What is known of this server's aliases, and the names held most often."""
        known = json.loads(store.meta(_META) or "{}")
        if known.get("server") != server:
            return cls()
        if known["mode"] != "counted":
            return cls(known["mode"], known["versions"])
        a, number = tables.artifact_aliases.c, sa.func.count()
        rows = store.rows(
            sa.select(a.alias)
            .where(a.until_us.is_(None))
            .group_by(a.alias)
            .order_by(number.desc(), a.alias)
            .limit(NAMES_A_PULSE)
        )
        names = tuple(unescape(row["alias"]) for row in rows)
        return cls("counted", known["versions"], names)

    @property
    def variables(self) -> dict[str, Any]:
        """What operations are told."""
        return {
            "aliases": ALIASES_AT_FIRST if self.mode == "unknown" else ALIASES_A_PAGE,
            "listed": self.mode != "counted",
            "counted": self.mode != "listed",
        }

    def named(self, node: Mapping[str, Any]) -> dict[str, str | None]:
        """Who has each alias that a collection was asked for by name: alias → artifact id or None."""
        found = {}
        for number, name in enumerate(self.names):
            if f"named{number}" in node:
                artifact = (node[f"named{number}"] or {}).get("artifact") or {}
                found[name] = artifact.get("id")
        return found

    @staticmethod
    def learned(tx: Transaction, server: str, mode: str, *, versions: bool) -> None:
        """Note how aliases can be asked for; that they must be listed is never taken back."""
        m = tables.store_meta.c
        held = tx.rows(sa.select(m.value).where(m.key == _META))
        known = json.loads(held[0]["value"]) if held else {}
        if known.get("server") != server or known.get("mode") != "listed":
            told = {"server": server, "mode": mode, "versions": versions}
            tx.set_meta(_META, json.dumps(told, sort_keys=True))


def counted(node: Mapping[str, Any]) -> int | None:
    """How many aliases the cursor of a collection's last one says there are; None if it does not."""
    edges = (node.get("counted") or {}).get("edges")
    if edges is None or len(edges) > 1:
        return None
    if not edges:
        return 0
    try:
        text = base64.b64decode(str((edges[0] or {}).get("cursor")), validate=True).decode()
        return int(text.removeprefix("arrayconnection:")) + 1
    except (binascii.Error, ValueError):
        return None


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
    question: Question = Question()
    beside: Beside | None = None
    pulse: Mapping[str, Any] | None = None
    project_id: str = ""

    def ask(self, project: Project, filters: Mapping[str, Any]) -> Answer | None:
        """Return the project and its count of runs; None where that must be asked by itself."""
        self.project_id = _held_as(self.store, project)
        before = state.load(self.store, self.project_id, STAGE) if self.project_id else {}
        details = before.get("details") or {}
        if not before.get("walk_complete_at") or details.keys() & {"edits_refused", "older"}:
            return None
        oldest_us = since_us(before, self.lag_s)
        variables = {
            "entity": project.entity, "project": project.name, "runs": dumps(dict(filters)),
            "after": None, "first": COLLECTIONS_A_PAGE, "edited": True, **self.question.variables,
        }  # fmt: skip
        try:
            data = self._ask(variables, oldest_us)
        except (GraphQLError, ServerFailed, NotFound, Forbidden, TooLarge):
            return None  # each by itself, then: trouble with artifacts is none of the runs'
        node = data.get("project")
        if node is None or ingest.project_key(node) != self.project_id:
            return None
        self.pulse = node
        return Answer(info=node, counts={"total": int(node.get("total") or 0)})

    def _ask(self, variables: Mapping[str, Any], own_us: int) -> dict[str, Any]:
        """Ask for the project's collections, and for the registries where nobody has."""
        names, beside = self.question.names, self.beside
        if beside is None or not beside.claim():
            since = edited_since(own_us)
            return self.client.pulse("MirrorArtifactPulse", names, **variables, since=since)
        oldest_us = own_us if beside.since_us is None else min(own_us, beside.since_us)
        both = {**variables, **beside.variables, "since": edited_since(oldest_us)}
        data = self.client.pulse("MirrorArtifactPulses", names, **both)
        beside.answer = data.get("entity")
        return data


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


def since_us(before: Mapping[str, Any], lag_s: float) -> int:
    """From when on to look for edits: the mark of a stage's state, less the overlap."""
    mark_us = instants.to_us(before["mark"]) or 0
    return max(0, mark_us - int(lag_s * 1_000_000))


def edited_since(micros: int) -> str:
    """The filter for what was edited since a time; artifacts are filtered by names_like_this."""
    return dumps({"updated_at": {"$gte": instants.from_us(micros)}})


def pulse(client: Client, entity: str, project: str) -> Sequence[Mapping[str, Any]]:
    """The first page of a project's collections, with the number of their memberships."""
    data = client.execute(
        "MirrorArtifactPulse", entity=entity, project=project, first=COLLECTIONS_A_PAGE,
        after=None, aliases=1, listed=False, counted=False, since="{}", edited=False,
    )  # fmt: skip
    return page_of((data.get("project") or {}).get("artifactCollections")).nodes


def registry_pulse(client: Client, owner: str) -> Sequence[Mapping[str, Any]]:
    """The first page of the collections of each registry of an organization, of the first registries."""
    data = client.execute(
        "MirrorRegistryPulse", owner=owner, filters=registry_filter(), registries=REGISTRIES_A_PAGE,
        page=None, collections=COLLECTIONS_A_PAGE, first=1, aliases=1, listed=False, counted=False,
        since="{}", edited=False,
    )  # fmt: skip
    found = page_of((data.get("entity") or {}).get("projects")).nodes
    return [node for one in found for node in page_of(one.get("artifactCollections")).nodes]


def registry_filter() -> str:
    """The filter for the projects that are registries."""
    return dumps({"name": {"$regex": f"^{REGISTRY_PREFIX}"}})
