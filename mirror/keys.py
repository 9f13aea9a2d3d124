"""What can be filtered on in a project: the key catalogue, as `mirror keys` shows it.

Counts grow with every page that is read, so a run read twice counts twice until they are counted
again (`recount`, or a rebuild).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from mirror.ingest import recount_keys
from mirror.jsontext import Type
from mirror.query.fields import spelled
from mirror.store import tables
from mirror.store.store import Row, Store

__all__ = ["Key", "Keys", "keys", "recount"]

# What a reader is shown, in this order.
_NAMES = (
    (Type.INTEGER, "int"),
    (Type.FLOAT, "float"),
    (Type.STRING, "string"),
    (Type.BOOLEAN, "bool"),
    (Type.LIST, "list"),
    (Type.OBJECT, "object"),
    (Type.NULL, "null"),
    (Type.NAN, "NaN"),
    (Type.INFINITY, "Infinity"),
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a project's runs: `field` as a filter spells it, the range of its numbers or None."""

    field: str
    types: list[str]
    count: int
    min: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a project, which has `runs` runs that readers see.

    `complete` is False where there are more keys than are worth listing.
    """

    keys: list[Key]
    runs: int
    complete: bool

    @property
    def approximate(self) -> bool:
        """Whether a count is known to be too high."""
        return any(key.count > self.runs for key in self.keys)


def keys(store: Store, project_id: str, *, containing: str = "") -> Keys:
    """Return the keys of a project sorted by document and path, those that contain a text."""
    k, s = tables.run_keys.c, tables.sync_state.c
    rows = store.rows(sa.select(tables.run_keys).where(k.project_id == project_id, k.count > 0))
    places = {(row["document"], *orjson.loads(row["path"])): row for row in rows}
    found = [
        _key(document, path, row)
        for (document, *path), row in sorted(places.items(), key=lambda item: item[0])
    ]
    state = store.one(
        sa.select(s.catalogue_open).where(s.project_id == project_id, s.stage == "runs")
    )
    r = tables.runs.c
    live = sa.select(sa.func.count().label("n")).where(r.project_id == project_id, r.live == 1)
    counted = store.one(live)
    return Keys(
        runs=int(counted["n"]) if counted else 0,
        keys=[key for key in found if containing.casefold() in key.field.casefold()],
        complete=not (state and state["catalogue_open"]),
    )


def _key(document: str, path: list[str], row: Row) -> Key:
    return Key(
        field=spelled(document, path),
        types=[name for bit, name in _NAMES if row["types"] & bit],
        count=row["count"],
        min=row["min"],
        max=row["max"],
    )


def recount(store: Store, project_id: str) -> None:
    """Count the keys again from the documents held, so that counts and ranges are exact."""
    with store.begin() as tx:
        recount_keys(tx, project_id)
