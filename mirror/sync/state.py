"""The engine's memory: reads and writes of `sync_state`, `quarantine` and `sync_log`.

Small functions over a Transaction or a Store; no decision is taken here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from mirror import instants
from mirror.jsontext import dumps, escape, unescape
from mirror.store import tables
from mirror.store.store import Row, Store, Transaction

__all__ = [
    "LIGHT_COLUMNS",
    "chunks",
    "clear_quarantine",
    "live_count",
    "live_sweeps",
    "load",
    "longest_unread",
    "names_between",
    "newest_us",
    "quarantined",
    "save",
    "stored",
    "unfinished",
]

Item = TypeVar("Item")

STAGE = "runs"
ENTRIES_LOOKED_AT = 10_000
"""So many entries of the sync log, the newest, may belong to a round that was killed."""
_UNFINISHED = ("running", "pending", "preempting")

LIGHT_COLUMNS = (
    "name", "id", "display_name", "state", "group", "job_type", "sweep", "username", "notes", "tags",
    "created_at", "heartbeat_at", "heartbeat_at_us", "updated_at", "updated_at_us", "live",
    "deleted_at", "out_of_selection_at", "seq",
)  # fmt: skip


def load(store: Store, project_id: str, stage: str = STAGE) -> dict[str, Any]:
    """Return the state of a project's stage; every column None when there is none yet."""
    c = tables.sync_state.c
    row = store.one(
        sa.select(tables.sync_state).where(c.project_id == project_id, c.stage == stage)
    )
    state = dict(row) if row else {column.name: None for column in tables.sync_state.columns}
    state["details"] = json.loads(state["details"]) if state["details"] else {}
    return state


def save(tx: Transaction, project_id: str, *, stage: str = STAGE, **values: Any) -> None:
    """Write the given columns of a stage's state and leave the others alone."""
    if "details" in values:
        values["details"] = json.dumps(values["details"], sort_keys=True)
    if values.get("last_error"):
        values["last_error"] = escape(values["last_error"])  # a server says what it likes
    tx.upsert_all(tables.sync_state, [{"project_id": project_id, "stage": stage, **values}])


def _here(project_id: str) -> sa.ColumnElement[bool]:
    return tables.runs.c.project_id == project_id


def live_count(store: Store, project_id: str) -> int:
    """Count the runs readers see."""
    statement = sa.select(sa.func.count().label("n")).select_from(tables.runs)
    row = store.one(statement.where(_here(project_id), tables.runs.c.live == 1))
    return int(row["n"]) if row else 0


def unfinished(store: Store, project_id: str) -> list[str]:
    """Names of the runs held as not ended."""
    c = tables.runs.c
    rows = store.rows(
        sa.select(c.name).where(_here(project_id), c.state.in_(_UNFINISHED), c.live == 1)
    )
    return [unescape(row["name"]) for row in rows]


def stored(store: Store, project_id: str, names: Sequence[str]) -> dict[str, Row]:
    """Return what light listings are compared with, by run name; only the runs that are held."""
    found: dict[str, Row] = {}
    columns = [tables.runs.c[name] for name in LIGHT_COLUMNS]
    for some in chunks([escape(name) for name in names], 500):
        for row in store.rows(
            sa.select(*columns).where(_here(project_id), tables.runs.c.name.in_(some))
        ):
            found[unescape(row["name"])] = row
    return found


def names_between(
    store: Store, project_id: str, start_us: int | None, end_us: int | None
) -> set[str]:
    """Names of live runs created in [start, end); an open end is None."""
    c = tables.runs.c
    statement = sa.select(c.name).where(_here(project_id), c.live == 1)
    if start_us is not None:
        statement = statement.where(c.created_at_us >= start_us)
    if end_us is not None:
        statement = statement.where(c.created_at_us < end_us)
    return {unescape(row["name"]) for row in store.rows(statement)}


def newest_us(store: Store, project_id: str) -> int | None:
    """The newest server time among the live runs, in microseconds."""
    c = tables.runs.c
    times = [
        sa.func.max(column) for column in (c.created_at_us, c.heartbeat_at_us, c.updated_at_us)
    ]
    row = store.one(
        sa.select(*(t.label(f"t{i}") for i, t in enumerate(times))).where(
            _here(project_id), c.live == 1
        )
    )
    return max((value for value in (row or {}).values() if value is not None), default=None)


def live_sweeps(store: Store, project_id: str) -> dict[str, Row]:
    """The sweeps held, by name."""
    c = tables.sweeps.c
    rows = store.rows(
        sa.select(c.name, c.state, c.run_count).where(
            c.project_id == project_id, c.deleted_at.is_(None)
        )
    )
    return {unescape(row["name"]): row for row in rows}


def longest_unread(store: Store, project_id: str, limit: int, before_us: int) -> list[str]:
    """Names of the runs whose documents were read longest ago, at most `limit`, before a time."""
    c = tables.runs.c
    rows = store.rows(
        sa.select(c.name)
        .where(_here(project_id), c.live == 1, c.read_at_us < before_us)
        .order_by(c.read_at_us)
        .limit(limit)
    )
    return [unescape(row["name"]) for row in rows]


# ------------------------------------------------------------------ quarantine


def quarantined(store: Store, project_id: str) -> dict[str, Row]:
    """The project's quarantined runs by name."""
    c = tables.quarantine.c
    rows = store.rows(sa.select(tables.quarantine).where(c.project_id == project_id))
    return {unescape(row["name"]): row for row in rows}


def put_quarantine(
    tx: Transaction, project_id: str, name: str, error: str, *, tries: int, next_try_at_us: int
) -> None:
    """Enter a run, or note one more try; `since` is kept."""
    c = tables.quarantine.c
    values = {"tries": tries, "next_try_at_us": next_try_at_us, "error": escape(error)}
    known = tx.execute(
        sa.update(tables.quarantine)
        .where(c.project_id == project_id, c.name == escape(name))
        .values(**values)
    )
    if not known.rowcount:
        row = {"project_id": project_id, "name": escape(name), "since": instants.now(), **values}
        tx.upsert_all(tables.quarantine, [row])


def clear_quarantine(tx: Transaction, project_id: str, names: Iterable[str]) -> None:
    """Take runs out of quarantine: they were delivered, or are gone."""
    c = tables.quarantine.c
    for some in chunks([escape(name) for name in names], 500):
        tx.execute(sa.delete(tables.quarantine).where(c.project_id == project_id, c.name.in_(some)))


# ------------------------------------------------------------------ log


def start_log(tx: Transaction, path: str, started_at: str) -> int:
    """Begin an entry of the sync log; return its id."""
    inserted = tx.execute(
        sa.insert(tables.sync_log).values(path=path, started_at=started_at, outcome="running")
    )
    key = inserted.inserted_primary_key
    return int(key[0]) if key else 0


def end_killed(tx: Transaction) -> None:
    """End the newest entries that say "running", for one who holds the lease: whoever began them died."""
    log = tables.sync_log.c
    newest = sa.select(sa.func.max(log.id) - ENTRIES_LOOKED_AT).scalar_subquery()
    tx.execute(
        sa.update(tables.sync_log)
        .where(log.outcome == "running", log.id > newest)
        .values(outcome="interrupted")
    )


def end_log(
    tx: Transaction, entry: int, *, outcome: str, report: Mapping[str, Any], error: str | None
) -> None:
    """End an entry of the sync log."""
    tx.execute(
        sa.update(tables.sync_log)
        .where(tables.sync_log.c.id == entry)
        .values(
            finished_at=instants.now(),
            outcome=outcome,
            kind=report.get("kind"),
            report=escape(dumps(dict(report))),
            error=error and escape(error),
        )
    )


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut into pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
