"""Which mirrored project a path means: the newest live one of that name, else one that had it once.

Reads the store only. What is not there raises NotMirrored, which names the command that gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mirror.errors import NotMirrored
from mirror.jsontext import escape, unescape
from mirror.store import tables
from mirror.store.store import Row, Store

__all__ = ["Project", "every", "find"]


@dataclass(frozen=True, slots=True)
class Project:
    """A project of the store; `complete` says whether its runs were listed to the end once."""

    project_id: str
    entity: str
    name: str
    deleted_at: str | None
    synced_at: str | None
    complete: bool

    @property
    def path(self) -> str:
        """`entity/project`, by the newest names."""
        return f"{self.entity}/{self.name}"


def every(store: Store) -> list[Project]:
    """Return all projects of the store, sorted by path; deleted ones too."""
    p = tables.projects.c
    return [_project(row) for row in store.rows(_select().order_by(p.entity, p.name, p.project_id))]


def find(store: Store, entity: str, name: str) -> Project:
    """Return the project a path means. Raises NotMirrored if the store holds none."""
    p, a = tables.projects.c, tables.project_aliases.c
    here = (p.entity == escape(entity)) & (p.name == escape(name))
    found = store.rows(_select().where(here))
    if not found:  # a path it had before it was renamed
        once = sa.select(a.project_id).where(a.entity == escape(entity), a.name == escape(name))
        found = store.rows(_select().where(p.project_id.in_(once)))
    if not found:
        path = f"{entity}/{name}"
        raise NotMirrored(f"project {path!r}", path=path)
    return _project(_newest(found))


def _select() -> sa.Select[Any]:
    p, s = tables.projects.c, tables.sync_state.c
    runs_stage = (s.project_id == p.project_id) & (s.stage == "runs")
    return sa.select(
        p.project_id,
        p.entity,
        p.name,
        p.deleted_at,
        p.created_at_us,
        s.synced_at,
        s.walk_complete_at,
    ).select_from(tables.projects.outerjoin(tables.sync_state, runs_stage))


def _newest(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda row: (row["deleted_at"] is None, row["created_at_us"] or 0))


def _project(row: Row) -> Project:
    return Project(
        project_id=row["project_id"],
        entity=unescape(row["entity"]),
        name=unescape(row["name"]),
        deleted_at=row["deleted_at"],
        synced_at=row["synced_at"],
        complete=row["walk_complete_at"] is not None,
    )
