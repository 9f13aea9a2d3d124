"""Runs as the facade reads them from the store: a few scalars and the documents that loops look at.

A document that is stored verbatim comes as JSON text, ready to read; any other as the server's packed
text, which is the truth. What is looked at rarely (the rest of the node) is read when somebody does,
for the neighbours in the page at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mirror.jsontext import VERBATIM, escape, unescape

if TYPE_CHECKING:
    from mirror.reads import After, RunQuery
    from mirror.store.reader import Readable

__all__ = ["Row", "Texts", "page", "read", "row_of", "single"]

BATCH = 1000
NEIGHBOURS = 50
"""Runs of a page whose texts are read together."""
_SCALARS = "r.run_key, r.name, r.display_name, r.state, r.sweep, r.synced_at"
_VERBATIM = "d.{name} LIKE '% '"
_DOCUMENT = (
    f"iif({_VERBATIM}, d.{{name}}, "  # noqa: S608
    "(SELECT t.{name} FROM run_texts AS t WHERE t.run_key = r.run_key))"
)
_FROM = {
    "sqlite": f"SELECT {_SCALARS}, {_DOCUMENT.format(name='config')},"  # noqa: S608
    f" {_DOCUMENT.format(name='summary_metrics')}"
    " FROM runs AS r JOIN run_documents AS d USING (run_key)",
    # A jsonb column has lost the order of keys.
    "postgresql": f"SELECT {_SCALARS}, t.config, t.summary_metrics"  # noqa: S608
    " FROM runs AS r JOIN run_texts AS t USING (run_key)",
}
_TEXTS = "SELECT run_key, node, config, summary_metrics, system_metrics FROM run_texts"


class PackedTexts(NamedTuple):
    """The server's texts of a run (`mirror.jsontext.unpack`)."""

    node: bytes
    config: bytes | None
    summary_metrics: bytes | None
    system_metrics: bytes | None


class Texts:
    """The server's texts of some runs: read from the store when the first of them is asked for."""

    def __init__(
        self, found: Mapping[int, PackedTexts], keys: Iterable[int] = (), store: Any = None
    ) -> None:
        self._found = dict(found)
        self._keys = keys
        self._store: Callable[[], Readable] = store

    def of(self, run_key: int) -> PackedTexts:
        """Return the texts of a run."""
        if run_key not in self._found:
            store = self._store()
            with store.read() as connection:
                rows = _by_key(connection, store, _TEXTS, "run_key", list(self._keys))
            self._found = {row[0]: PackedTexts(*row[1:]) for row in rows}
        return self._found[run_key]


class Row(NamedTuple):
    """A run: what listings show at once. A document is JSON text, or packed bytes of the server's text."""

    run_key: int
    name: str
    display_name: str | None
    state: str | None
    sweep: str | None
    synced_at: str
    config: str | bytes | None
    summary_metrics: str | bytes | None
    others: Texts

    @property
    def texts(self) -> PackedTexts:
        """The server's own texts of the run."""
        return self.others.of(self.run_key)

    def __reduce__(self) -> Any:
        # A store does not travel, and neither do the texts of the neighbours.
        return Row, (*self[:-1], Texts({self.run_key: self.texts}))


def page(
    query: RunQuery, limit: int, after: After | None, store: Callable[[], Readable]
) -> tuple[list[Row], After | None]:
    """Return the next runs of a query and where they end; None: there are no more.

    `store` opens what is read later.
    """
    with query.plan("page") as plan:
        keys, last = plan.page(limit, after)
        return _rows(plan.connection, query.store, keys, store), last


def read(store: Callable[[], Readable], keys: Sequence[int]) -> list[Row]:
    """Return the runs of the keys, in their order."""
    opened = store()
    with opened.read() as connection:
        return _rows(connection, opened, keys, store)


def single(store: Callable[[], Readable], project_id: str, name: str) -> Row | None:
    """Return the run of that name that readers see; None: there is none."""
    opened = store()
    statement = f"{_FROM[opened.backend]} WHERE r.project_id = ? AND r.name = ? AND r.live = 1"
    if opened.backend != "sqlite":
        statement = statement.replace("?", "%s")
    with opened.read() as connection:
        found = _fetch(connection, statement, (project_id, escape(name)))
    return _made(found[0], Texts({}, [found[0][0]], store)) if found else None


def _rows(
    connection: Any, opened: Readable, keys: Sequence[int], store: Callable[[], Readable]
) -> list[Row]:
    found = {
        row[0]: row for row in _by_key(connection, opened, _FROM[opened.backend], "r.run_key", keys)
    }
    rows: list[Row] = []
    for start in range(0, len(keys), NEIGHBOURS):
        near = keys[start : start + NEIGHBOURS]
        others = Texts({}, near, store)
        rows += [_made(found[key], others) for key in near]
    return rows


def _by_key(
    connection: Any, store: Readable, select: str, column: str, keys: Sequence[int]
) -> list[Any]:
    """The rows of a select for the keys, as they come."""
    rows: list[Any] = []
    for start in range(0, len(keys), BATCH):
        some = [int(key) for key in keys[start : start + BATCH]]
        if store.backend == "sqlite":
            numbers = ",".join(map(str, some))  # whole numbers of the store itself
            rows += _fetch(connection, f"{select} WHERE {column} IN ({numbers})", ())
        else:
            rows += _fetch(connection, f"{select} WHERE {column} = ANY(%s)", (some,))
    return rows


def _fetch(connection: Any, statement: str, values: tuple[Any, ...]) -> Sequence[Any]:
    """Rows as the driver's own tuples: SQLAlchemy's would cost as much as the reading."""
    result = connection.exec_driver_sql(statement, values)
    rows: Sequence[Any] = result.cursor.fetchall()
    result.close()
    return rows


def _made(values: Sequence[Any], others: Texts) -> Row:
    row = Row._make((*values, others))
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
    texts = PackedTexts(**mapped.texts)
    verbatim = mapped.config.endswith(VERBATIM), mapped.summary.endswith(VERBATIM)
    return Row(
        run_key=0,
        name=node["name"],
        display_name=node.get("displayName"),
        state=node.get("state"),
        sweep=node.get("sweepName") or (node.get("sweep") or {}).get("name"),
        synced_at=synced_at,
        config=mapped.config if verbatim[0] else texts.config,
        summary_metrics=mapped.summary if verbatim[1] else texts.summary_metrics,
        others=Texts({0: texts}),
    )
