"""Runs as the facade reads them from the store: a few scalars, and the server's texts still packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mirror.jsontext import escape, unescape

if TYPE_CHECKING:
    from mirror.reads import After, RunQuery
    from mirror.store.store import Store

__all__ = ["Row", "page", "read", "row_of", "single"]

BATCH = 1000
_COLUMNS = (
    "r.run_key, r.name, r.display_name, r.state, r.sweep, r.synced_at,"
    " t.node, t.config, t.summary_metrics, t.system_metrics"
)
_FROM = f"SELECT {_COLUMNS} FROM runs AS r JOIN run_texts AS t USING (run_key)"  # noqa: S608


class Row(NamedTuple):
    """A run: what listings show at once, and its texts (`mirror.jsontext.unpack`)."""

    run_key: int
    name: str
    display_name: str | None
    state: str | None
    sweep: str | None
    synced_at: str
    node: bytes
    config: bytes | None
    summary_metrics: bytes | None
    system_metrics: bytes | None


def page(query: RunQuery, limit: int, after: After | None) -> tuple[list[Row], After | None]:
    """Return the next runs of a query and where they end; None: there are no more."""
    with query.plan("page") as plan:
        keys, last = plan.page(limit, after)
        return _rows(plan.connection, query.store, keys), last


def read(store: Store, keys: Sequence[int]) -> list[Row]:
    """Return the runs of the keys, in their order."""
    with store.read() as connection:
        return _rows(connection, store, keys)


def single(store: Store, project_id: str, name: str) -> Row | None:
    """Return the run of that name that readers see; None: there is none."""
    statement = f"{_FROM} WHERE r.project_id = ? AND r.name = ? AND r.live = 1"
    if store.backend != "sqlite":
        statement = statement.replace("?", "%s")
    with store.read() as connection:
        found = _fetch(connection, statement, (project_id, escape(name)))
    return _made(found[0]) if found else None


def _rows(connection: Any, store: Store, keys: Sequence[int]) -> list[Row]:
    found: dict[int, Row] = {}
    for start in range(0, len(keys), BATCH):
        some = [int(key) for key in keys[start : start + BATCH]]
        if store.backend == "sqlite":
            numbers = ",".join(map(str, some))  # whole numbers of the store itself
            rows = _fetch(connection, f"{_FROM} WHERE r.run_key IN ({numbers})", ())
        else:
            rows = _fetch(connection, f"{_FROM} WHERE r.run_key = ANY(%s)", (some,))
        for row in rows:
            found[row[0]] = _made(row)
    return [found[key] for key in keys]


def _fetch(connection: Any, statement: str, values: tuple[Any, ...]) -> Sequence[Any]:
    """Rows as the driver's own tuples: SQLAlchemy's would cost as much as the reading."""
    result = connection.exec_driver_sql(statement, values)
    rows: Sequence[Any] = result.cursor.fetchall()
    result.close()
    return rows


def _made(values: Sequence[Any]) -> Row:
    row = Row._make(values)
    texts = f"{row[1]}{row[2]}{row[4]}"
    if texts.isascii() and "\x01" not in texts:
        return row
    return row._replace(
        name=unescape(row.name),
        display_name=None if row.display_name is None else unescape(row.display_name),
        sweep=None if row.sweep is None else unescape(row.sweep),
    )


def row_of(node: Mapping[str, Any], synced_at: str) -> Row:
    """Return a fetched node in the form in which the store gives runs; its key is 0."""
    from mirror.ingest import map_run

    mapped = map_run(node, "", None)
    return Row(
        run_key=0,
        name=node["name"],
        display_name=node.get("displayName"),
        state=node.get("state"),
        sweep=node.get("sweepName") or (node.get("sweep") or {}).get("name"),
        synced_at=synced_at,
        **mapped.texts,
    )
