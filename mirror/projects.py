"""Which mirrored project a path means: the newest live one of that name, else one that had it once.

Reads the store only. What is not there raises NotMirrored, which names the command that gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.errors import NotMirrored
from mirror.jsontext import escape, unescape

if TYPE_CHECKING:
    from mirror.store.reader import Readable

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


def every(store: Readable) -> list[Project]:
    """Return all projects of the store, sorted by path; deleted ones too."""
    return [_project(row) for row in _read(store, "ORDER BY p.entity, p.name, p.project_id")]


def find(store: Readable, entity: str, name: str) -> Project:
    """Return the project a path means. Raises NotMirrored if the store holds none."""
    path = escape(entity), escape(name)
    # Else a path it had before it was renamed.
    found = _read(store, "WHERE p.entity = ? AND p.name = ?", path) or _read(store, _ONCE, path)
    if not found:
        written = f"{entity}/{name}"
        raise NotMirrored(f"project {written!r}", path=written)
    return _project(_newest(found))


_SELECT = (
    "SELECT p.project_id, p.entity, p.name, p.deleted_at, p.created_at_us, s.synced_at,"
    " s.walk_complete_at FROM projects AS p"
    " LEFT JOIN sync_state AS s ON s.project_id = p.project_id AND s.stage = 'runs'"
)
_ONCE = (
    "WHERE p.project_id IN (SELECT project_id FROM project_aliases WHERE entity = ? AND name = ?)"
)


def _read(store: Readable, where: str, values: tuple[str, ...] = ()) -> list[Any]:
    text = f"{_SELECT} {where}"
    if store.backend != "sqlite":
        text = text.replace("?", "%s")
    with store.read() as connection:
        return [*connection.exec_driver_sql(text, values).mappings()]


def _newest(rows: Sequence[Any]) -> Any:
    return max(rows, key=lambda row: (row["deleted_at"] is None, row["created_at_us"] or 0))


def _project(row: Any) -> Project:
    return Project(
        project_id=row["project_id"],
        entity=unescape(row["entity"]),
        name=unescape(row["name"]),
        deleted_at=row["deleted_at"],
        synced_at=row["synced_at"],
        complete=row["walk_complete_at"] is not None,
    )
