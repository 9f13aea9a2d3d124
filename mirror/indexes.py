"""Value indexes: built on demand on the keys that queries touch, on both engines.

`add`, `drop`, `listed` and `advise` are what `mirror index` calls. An index holds one expression per
(document, path) that sorts by SEMANTICS' order and tells types apart (`mirror.store.json`), after the
project; `mirror.reads` uses it as soon as it is ready. `mirror.query_log` counts what queries touch.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from mirror import instants
from mirror.errors import QueryError, StoreError
from mirror.jsontext import Type, dumps, escape
from mirror.query.fields import RUNS, readings, resolve, spelled
from mirror.query.tree import Field, Kind
from mirror.store import tables
from mirror.store.json import POSTGRES, SQLITE, index_key
from mirror.store.sql import render
from mirror.store.store import Store

__all__ = ["Advice", "ValueIndex", "add", "advise", "drop", "listed"]

Place = tuple[str, tuple[str, ...]]
_INDEX = tables.value_indexes.c


@dataclass(frozen=True, slots=True)
class ValueIndex:
    """An index on one key of `config` or `summary_metrics`, over all projects of the store."""

    document: str
    path: tuple[str, ...]
    name: str
    created_at: str
    ready: bool

    @property
    def field(self) -> str:
        """The key as a filter spells it."""
        return spelled(self.document, self.path)


@dataclass(frozen=True, slots=True)
class Advice:
    """A key worth an index: how often queries used it, and for how many milliseconds in all."""

    field: str
    uses: int
    total_ms: float
    kinds: tuple[str, ...]


# ------------------------------------------------------------------ add, drop, list


def add(store: Store, field: str) -> ValueIndex:
    """Build the index on a key such as `config.optimizer.lr`, without blocking readers; return it.

    Where the spelling can mean several keys, the one most runs have is taken. An index that is there
    already is returned as it is; what a build that was interrupted left is built anew. Raises
    QueryError for what cannot be indexed.
    """
    place = _place(store, field)
    name = _name(place)
    for index in listed(store):
        if index.name == name and index.ready:
            return index
    _remove(store, name)
    row = {
        "document": place[0],
        "path": dumps(list(place[1])),
        "name": name,
        "created_at": instants.now(),
        "ready": 0,
    }
    _record(store, row)
    _build(store, place, name)
    _record(store, row | {"ready": 1})
    return ValueIndex(*place, name, str(row["created_at"]), ready=True)


def drop(store: Store, field: str) -> ValueIndex | None:
    """Drop the index on a key; return what was dropped, None if there was none."""
    wanted = {(each.column, path) for each in [_field(field)] for path in _paths(each)}
    for index in listed(store):
        if (index.document, index.path) in wanted:
            with store.begin() as tx:  # readers stop using it before it goes
                tx.execute(sa.delete(tables.value_indexes).where(_INDEX.name == index.name))
            _remove(store, index.name)
            return index
    return None


def listed(store: Store) -> list[ValueIndex]:
    """Return every value index, sorted by key; those not `ready` were left by a build that failed."""
    rows = store.rows(sa.select(tables.value_indexes).order_by(_INDEX.document, _INDEX.path))
    return [
        ValueIndex(
            row["document"],
            tuple(orjson.loads(row["path"])),
            row["name"],
            row["created_at"],
            bool(row["ready"]),
        )
        for row in rows
    ]


def _field(spelling: str) -> Field:
    field = resolve(spelling, RUNS, spelling)
    if field.kind is not Kind.DOCUMENT or not field.path:
        hint = "columns have their indexes already"
        raise QueryError(spelling, "only keys of config and summary_metrics can be indexed", hint)
    return field


def _paths(field: Field) -> list[tuple[str, ...]]:
    return [tuple(map(escape, reading)) for reading in readings(field)]


def _place(store: Store, spelling: str) -> Place:
    """Return the place a spelling means: of its readings the one that most runs have."""
    field = _field(spelling)
    paths = _paths(field)
    keys = tables.run_keys.c
    every = {dumps(list(path[:i])): path[:i] for path in paths for i in range(1, len(path) + 1)}
    rows = store.rows(
        sa.select(keys.path, keys.types, keys.count).where(
            keys.document == field.column, keys.path.in_(list(every))
        )
    )
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    lists = set()
    for row in rows:
        path = every[row["path"]]
        counts[path] += row["count"]
        if row["types"] & Type.LIST:
            lists.add(path)
    path = max(paths, key=lambda each: counts[each])
    for i in range(1, len(path)):
        if path[:i] in lists:
            inside = spelled(field.column, path[:i])
            raise QueryError(
                spelling, f"{inside} is a list in some runs; what is inside cannot be indexed"
            )
    if store.backend == "sqlite" and not SQLITE.indexable(path):
        problem = "SQLite cannot index a key that holds a quote, a backslash or a control character"
        raise QueryError(spelling, problem)
    return field.column, path


def _name(place: Place) -> str:
    text = dumps([place[0], *place[1]])
    return f"ix_value_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _record(store: Store, row: dict[str, Any]) -> None:
    with store.begin() as tx:
        tx.upsert_all(tables.value_indexes, [row])


def _build(store: Store, place: Place, name: str) -> None:
    engine = SQLITE if store.backend == "sqlite" else POSTGRES
    key, _ = render(index_key(engine, *place), engine.name)
    concurrently = "" if engine is SQLITE else "CONCURRENTLY"
    text = (
        f"CREATE INDEX {concurrently} {name} ON run_documents"
        f" (project_id, live, ({key}), created_at_us, name)"
    )
    _run_alone(store, text, *([] if engine is SQLITE else ["ANALYZE run_documents"]))


def _remove(store: Store, name: str) -> None:
    concurrently = "" if store.backend == "sqlite" else "CONCURRENTLY"
    _run_alone(store, f"DROP INDEX {concurrently} IF EXISTS {name}")


def _run_alone(store: Store, *texts: str) -> None:
    """Run DDL outside a transaction on PostgreSQL, in a write transaction each on SQLite."""
    if store.backend == "sqlite":
        for text in texts:
            with store.begin() as tx:
                tx.connection.exec_driver_sql(text)
        return
    with store.engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        try:
            for text in texts:
                connection.exec_driver_sql(text)
        except sa.exc.DBAPIError as error:
            raise StoreError(
                f"PostgreSQL could not run {texts[0][:60]!r}…: {error.orig}"
            ) from error


# ------------------------------------------------------------------ what queries touch


def advise(store: Store, *, project_id: str | None = None, at_least: int = 3) -> list[Advice]:
    """Return the keys that an index would speed up, the most worth first.

    Taken from the query log, of one project or of all: keys used at least so often, for which there
    is no index yet.
    """
    have = {(index.document, index.path) for index in listed(store)}
    log = tables.query_log.c
    found: dict[Place, list[Any]] = {}
    noted = sa.select(tables.query_log).order_by(log.last_used_at)
    if project_id is not None:
        noted = noted.where(log.project_id == project_id)
    for row in store.rows(noted):
        place = (row["document"], tuple(orjson.loads(row["path"])))
        uses, total_ms, kinds = found.setdefault(place, [0, 0.0, set()])
        found[place] = [uses + row["uses"], total_ms + row["total_ms"], kinds | {row["use"]}]
    advices = []
    for (document, path), (uses, total_ms, kinds) in found.items():
        spelling = spelled(document, path)
        if uses < at_least or have & {(document, p) for p in _paths(_field(spelling))}:
            continue
        try:
            _place(store, spelling)
        except QueryError:
            continue  # inside a list: no index can help
        advices.append(Advice(spelling, uses, round(total_ms, 1), tuple(sorted(kinds))))
    return sorted(advices, key=lambda each: (-each.total_ms, each.field))
