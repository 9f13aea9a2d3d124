"""Questions about the runs of a project, as `mirror.Api` and the command line ask them.

Each question of `RunQuery` (how many, a page, all names, some columns) has its own lean statement;
documents are never parsed here, their texts travel packed. Every question is one read transaction:
the catalogue, the plan and the answer see the same state.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from mirror.jsontext import unescape
from mirror.plan import After, Plan, Purpose, Question, unescaped
from mirror.query.fields import RUNS, resolve
from mirror.query.parse import Filters, parse_filters, parse_order
from mirror.query.tree import Field, Node, OrderKey
from mirror.store.json import POSTGRES, SQLITE
from mirror.store.sql import bind, sql

if TYPE_CHECKING:
    from mirror.store.reader import Readable

__all__ = ["After", "Log", "RunQuery", "RunRow"]


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as stored: scalars, and the server's texts still packed (`mirror.jsontext.unpack`)."""

    run_key: int
    name: str
    id: str | None
    display_name: str | None
    state: str | None
    group: str | None
    job_type: str | None
    host: str | None
    username: str | None
    sweep: str | None
    notes: str | None
    description: str | None
    tags: list[str]
    created_at: str | None
    heartbeat_at: str | None
    updated_at: str | None
    duration: float | None
    history_line_count: int | None
    synced_at: str
    node: bytes
    config: bytes | None
    summary_metrics: bytes | None
    system_metrics: bytes | None


_TEXTS: Final = ("node", "config", "summary_metrics", "system_metrics")
_ROW_COLUMNS: Final = ", ".join(
    f'{"t" if name in _TEXTS else "r"}."{name}"' for name in RunRow.__dataclass_fields__
)
_ROWS: Final = f"SELECT {_ROW_COLUMNS} FROM runs AS r JOIN run_texts AS t USING (run_key)"  # noqa: S608
_ESCAPED: Final = slice(1, 12)  # the columns in the form of jsontext.escape
_TAGS: Final = 12


class Log(Protocol):
    """What takes note of queries, such as `mirror.query_log.QueryLog`."""

    def note(
        self, project_id: str, tree: Node, order: Sequence[OrderKey], elapsed_ms: float
    ) -> None:
        """Count one query."""


class RunQuery:
    """The runs of a project that satisfy a filter, in an order.

    Raises QueryError at once for a filter or order that is wrong. Nothing is read before a method
    is called, and each call sees the store as it then is.
    """

    def __init__(
        self,
        store: Readable,
        project_id: str,
        filters: Filters = None,
        order: str | Sequence[str] | None = None,
        *,
        log: Log | None = None,
    ) -> None:
        engine = SQLITE if store.backend == "sqlite" else POSTGRES
        self.store = store
        self.log = log
        self.question = Question(engine, project_id, parse_filters(filters), parse_order(order))

    def count(self) -> int:
        """Return how many runs there are."""
        with self.plan("count") as plan:
            return plan.count_all()

    def page(self, limit: int, after: After | None = None) -> tuple[list[RunRow], After | None]:
        """Return the next `limit` runs after a place, and the place to go on from; None at the end."""
        with self.plan("page") as plan:
            found, last = plan.page(limit, after)
            return _rows(plan, found), last

    def slice(self, start: int, stop: int) -> list[RunRow]:
        """Return the runs from position `start` up to `stop`, not included."""
        with self.plan("page" if start < _SHALLOW else "all") as plan:
            return _rows(plan, plan.keys(start, stop))

    def run_keys(self) -> list[int]:
        """Return the keys of all runs, in order."""
        with self.plan("all") as plan:
            return plan.keys(0, None)

    def rows(self, keys: Sequence[int]) -> list[RunRow]:
        """Return the runs of keys that rows carried or `run_keys` gave, in the order of the keys."""
        with self.plan("page") as plan:
            return _rows(plan, keys)

    def names(self) -> list[str]:
        """Return the names (ids) of all runs, in order."""
        with self.plan("all") as plan:
            name = plan.source.columns["name"]
            return [unescape(row[0]) for row in plan.select([name], 0, None)]

    def columns(
        self, keys: Sequence[str], *, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Yield one tuple a run, in order: the values of fields such as `name` and `config.lr`.

        What is null or missing is None; dates are ISO 8601 UTC; non-finite numbers are W&B's strings.
        """
        fields = [resolve(key, RUNS, key) for key in keys]
        first = stop is not None and stop < _SHALLOW
        with self.plan("page" if first else "all", fields) as plan:
            yield from plan.columns(fields, start, stop)

    @contextlib.contextmanager
    def plan(self, purpose: Purpose, extra: Sequence[Field] = ()) -> Iterator[Plan]:
        """A read transaction with the plan of a question in it; noted in the log at its end."""
        started = time.perf_counter()
        with self.store.read() as connection:
            yield Plan(connection, self.question, purpose, extra)
        if self.log is not None:
            question, elapsed_ms = self.question, (time.perf_counter() - started) * 1000
            self.log.note(question.project_id, question.tree, question.order, elapsed_ms)


_SHALLOW: Final = 1000  # a slice up to here is found like a first page


def _rows(plan: Plan, keys: Sequence[int]) -> list[RunRow]:
    found: dict[int, RunRow] = {}
    for start in range(0, len(keys), 1000):
        some = list(keys[start : start + 1000])
        if plan.engine is SQLITE:
            listed = sql(
                "(SELECT value FROM json_each({list}))", list=bind(orjson.dumps(some).decode())
            )
        else:
            listed = sql("(SELECT unnest(CAST({list} AS bigint[])))", list=bind(some))
        statement = sql(f"{_ROWS} WHERE r.run_key IN {{listed}}", listed=listed)
        for values in plan.bulk(statement):
            found[values[0]] = _run_row(values)
    return [found[key] for key in keys]


def _run_row(values: Sequence[Any]) -> RunRow:
    texts = [None if text is None else unescape(text) for text in values[_ESCAPED]]
    tags = values[_TAGS]
    listed = unescaped(orjson.loads(tags) if isinstance(tags, str) else tags)
    every: list[Any] = [values[0], *texts, listed, *values[_TAGS + 1 :]]
    return RunRow(*every)
