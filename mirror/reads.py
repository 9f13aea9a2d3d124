"""Questions about the runs of a project: the layer that compiles filters, asks the store and pages.

`RunQuery` is what `mirror.Api` and the command line call. Each question (how many, a page, all names,
some columns) has its own lean statement; documents are never parsed here, their texts travel packed.
Every question is one read transaction: the catalogue, the plan and the answer see the same state.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from mirror.errors import QueryError
from mirror.jsontext import Type, dumps, escape, unescape
from mirror.query import compile as compiling
from mirror.query.compile import (
    COPIED,
    Catalogue,
    Compiler,
    Place,
    Segment,
    run_source,
    simplify,
)
from mirror.query.fields import RUNS, readings, resolve
from mirror.query.parse import Filters, parse_filters, parse_order
from mirror.query.tree import (
    And,
    Constant,
    Field,
    Kind,
    Match,
    Node,
    Not,
    Or,
    OrderKey,
    Size,
    describe,
    tests,
)
from mirror.regex import find, required_literal
from mirror.store import tables
from mirror.store.json import POSTGRES, SQLITE, Condition, Engine, Sql, bind, both, sql
from mirror.store.store import Store

__all__ = ["After", "Explain", "Log", "RunQuery", "RunRow", "format_query_error"]

MAX_LITERALS: Final = 32_000  # SQLite takes 32,766 bound values in a statement, PostgreSQL 65,535


class After(NamedTuple):
    """Where a page ended: opaque to callers, plain values."""

    shape: tuple[int, ...]
    segment: int
    values: tuple[Any, ...]
    run_key: int


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


_ESCAPED: Final = slice(1, 12)  # the fields of RunRow that are text in the form of jsontext.escape


@functools.cache
def _row_columns() -> tuple[Any, ...]:
    texts = ("node", "config", "summary_metrics", "system_metrics")
    names = RunRow.__dataclass_fields__
    runs = tables.runs.c
    return tuple(tables.run_texts.c[n] if n in texts else runs[n] for n in names)


def _run_row(values: Sequence[Any]) -> RunRow:
    scalars: list[Any] = [None if text is None else unescape(text) for text in values[_ESCAPED]]
    every: list[Any] = [values[0], *scalars, _unescaped(_json(values[12])), *values[13:]]
    return RunRow(*every)


# ------------------------------------------------------------------ a query


class RunQuery:
    """The runs of a project that satisfy a filter, in an order.

    Raises QueryError at once for a filter or order that is wrong. Nothing is read before a method
    is called, and each call sees the store as it then is.
    """

    def __init__(
        self,
        store: Store,
        project_id: str,
        filters: Filters = None,
        order: str | Sequence[str] | None = None,
        *,
        log: Log | None = None,
    ) -> None:
        self.log = log
        self.store = store
        self.project_id = project_id
        self.tree: Node = parse_filters(filters)
        self.order: tuple[OrderKey, ...] = parse_order(order)
        self.engine: Engine = SQLITE if store.backend == "sqlite" else POSTGRES

    def count(self) -> int:
        """Return how many runs there are."""
        with self._plan("count") as plan:
            return plan.count(True)

    def page(self, limit: int, after: After | None = None) -> tuple[list[RunRow], After | None]:
        """Return the next `limit` runs after a place, and the place to go on from; None at the end."""
        with self._plan("page") as plan:
            found, last = plan.page(limit, after)
            return self._rows(plan.connection, found), last

    def slice(self, start: int, stop: int) -> list[RunRow]:
        """Return the runs from position `start` up to `stop`, not included."""
        with self._plan("page") as plan:
            return self._rows(plan.connection, plan.keys(start, stop))

    def run_keys(self) -> list[int]:
        """Return the keys of all runs, in order."""
        with self._plan() as plan:
            return plan.keys(0, None)

    def names(self) -> list[str]:
        """Return the names (ids) of all runs, in order."""
        with self._plan() as plan:
            name = plan.source.columns["name"]
            return [unescape(row[0]) for row in plan.select([name], 0, None)]

    def columns(
        self, keys: Sequence[str], *, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Yield one tuple a run, in order: the values of fields such as `name` and `config.lr`.

        What is null or missing is None; dates are ISO 8601 texts; non-finite numbers are W&B's strings.
        """
        fields = [resolve(key, RUNS, key) for key in keys]
        with self._plan(extra=fields) as plan:
            yield from plan.columns(fields, start, stop)

    def warnings(self) -> list[str]:
        """Return what may be a mistake: keys that no run of the project has."""
        with self.store.read() as connection:
            return _warnings(connection, self.project_id, self._fields())

    def explain(self, limit: int = 50) -> Explain:
        """Return how the first page is found; the query is run to count the rows looked at."""
        with self._plan("page") as plan:
            return _explain(plan, limit, self.warnings())

    # -------------------------------------------------------------- inside

    def _fields(self) -> list[Field]:
        return [test.field for test in tests(self.tree)] + [key.field for key in self.order]

    def _rows(self, connection: sa.Connection, keys: Sequence[int]) -> list[RunRow]:
        found: dict[int, RunRow] = {}
        for start in range(0, len(keys), 1000):
            some = list(keys[start : start + 1000])
            joined = tables.runs.join(
                tables.run_texts, tables.runs.c.run_key == tables.run_texts.c.run_key
            )
            statement = sa.select(*_row_columns()).select_from(joined)
            listed = self.engine.listed(tables.runs.c.run_key, some)
            for values in connection.execute(statement.where(listed)):
                found[values[0]] = _run_row(values)
        return [found[key] for key in keys]

    @contextlib.contextmanager
    def _plan(self, purpose: Purpose = "all", *, extra: Sequence[Field] = ()) -> Iterator[_Plan]:
        started = time.perf_counter()
        with self.store.read() as connection:
            yield _Plan(connection, self, purpose, extra)
        if self.log is not None:
            elapsed_ms = (time.perf_counter() - started) * 1000
            self.log.note(self.project_id, self.tree, self.order, elapsed_ms)


class Log(Protocol):
    """What takes note of queries, such as `mirror.indexes.QueryLog`."""

    def note(
        self, project_id: str, tree: Node, order: Sequence[OrderKey], elapsed_ms: float
    ) -> None: ...


Purpose = Literal["count", "page", "all"]
_FEW: Final = 1000
"""A filter that an index finds so few runs for is answered from that index, else in order."""


class _Plan:
    """A query compiled for what one transaction sees.

    On SQLite the plan is chosen here, as it has no statistics: tests of indexed keys become sets of
    runs; or everything is read from one index; or, for a page of an order that an index gives, rows
    are tested one by one until the page is full. PostgreSQL chooses for itself.
    """

    def __init__(
        self,
        connection: sa.Connection,
        query: RunQuery,
        purpose: Purpose,
        extra: Sequence[Field] = (),
    ) -> None:
        self.connection = connection
        self.query = query
        self.engine = query.engine
        self.order = query.order if purpose != "count" else ()
        self.tree = simplify(query.tree)
        self.tests = list(tests(self.tree))
        self.used: set[str] = set()
        ordered = [key.field for key in self.order]
        places = compiling.candidates([*(test.field for test in self.tests), *ordered, *extra])
        self.catalogue = load_catalogue(connection, query.project_id, places)
        self.indexes = load_indexes(connection, places)
        self.scout = Compiler(
            self.engine, run_source(()).with_indexes(self.indexes), self.catalogue
        )
        as_sets, self.hint = self._strategy(purpose, extra)
        in_filter = [
            test.field
            for test in self.tests
            if not self.scout.never(test.field) and not (as_sets and self.scout.index(test.field))
        ]
        self.source = run_source([*in_filter, *ordered, *extra])
        self.where = self._filter(as_sets)
        self.segments = self._segments()

    def _filter(self, as_sets: bool) -> Condition:
        rows_only = (
            self.engine is SQLITE and not as_sets and self.hint not in self._filter_indexes()
        )
        compiler = Compiler(
            self.engine,
            self.source if rows_only else self.source.with_indexes(self.indexes),
            self.catalogue,
            self._matching(),
            as_sets=self.query.project_id if as_sets else None,
        )
        condition = compiler.filter(self.tree)
        self.used |= compiler.used
        return condition

    def _segments(self) -> list[Segment]:
        self.compiler = Compiler(
            self.engine, self.source.with_indexes(self.indexes), self.catalogue
        )
        if not self.order:
            return []
        segments = self.compiler.segments(self.order)
        self.used |= self.compiler.used
        return segments

    # -------------------------------------------------------------- how

    def _filter_indexes(self) -> set[str]:
        return {index for test in self.tests if (index := self.scout.index(test.field))}

    def _strategy(self, purpose: Purpose, extra: Sequence[Field]) -> tuple[bool, str | None]:
        """Say whether tests of indexed keys become sets, and which index to read."""
        if self.engine is not SQLITE:
            return False, None
        order_index = self._order_index()
        if purpose == "page" and order_index is not None and not self._few():
            return False, order_index
        indexes = self._filter_indexes()
        if not indexes:
            return False, order_index if purpose == "page" else None
        documents = [test.field for test in self.tests if not self.scout.never(test.field)]
        documents += [*(key.field for key in self.order), *extra]
        in_index = all(
            self.scout.index(each) in indexes
            if each.kind is Kind.DOCUMENT
            else each.column in COPIED
            for each in documents
        )
        if len(indexes) == 1 and in_index:
            return False, next(iter(indexes))
        return True, None

    def _order_index(self) -> str | None:
        """Return the index that gives the order, if one does."""
        if not self.order:
            return None
        first = self.order[0].field
        if first.kind is Kind.DOCUMENT:
            return self.scout.index(first)
        if first.column != "created_at":
            return None
        read = [test.field for test in self.tests if not self.scout.never(test.field)]
        if any(each.kind is Kind.DOCUMENT for each in [*read, *(k.field for k in self.order)]):
            return "ix_run_documents_created"
        return "ix_runs_created"

    def _few(self) -> bool:
        """Say whether an index finds few runs for a test that all the answer must pass."""
        conjuncts = self.tree.parts if isinstance(self.tree, And) else (self.tree,)
        for test in conjuncts:
            if isinstance(test, And | Or | Not | Constant):
                continue
            select = self.scout.set_select(test, self.query.project_id)
            if select is None:
                continue
            text = sql("count(*) FROM ({select} LIMIT {few})", select=select, few=bind(_FEW + 1))
            if self.connection.execute(sa.select(text)).scalar_one() <= _FEW:
                return True
        return False

    # -------------------------------------------------------------- questions

    def count(self, condition: Condition) -> int:
        """Return how many runs satisfy the filter and a condition."""
        statement = self.statement([sa.func.count()], condition)
        return 0 if statement is None else int(self.connection.execute(statement).scalar_one())

    def page(self, limit: int, after: After | None) -> tuple[list[int], After | None]:
        """Return the keys of a page and where it ends."""
        shape = tuple(len(segment.columns) for segment in self.segments)
        if after is not None and after.shape != shape:
            after = self._again(after, shape)
        keys: list[int] = []
        last = None
        for i in range(after.segment if after else 0, len(self.segments)):
            start = after.values if after and after.segment == i else None
            for key, *values in self._stretch(self.segments[i], limit - len(keys), start):
                keys.append(key)
                last = After(shape, i, tuple(values), key)
            if len(keys) >= limit:
                return keys, last
        return keys, None

    def _stretch(
        self, segment: Segment, limit: int, start: tuple[Any, ...] | None
    ) -> Iterable[Sequence[Any]]:
        condition = segment.where
        if start is not None:
            condition = both([condition, compiling.after(segment.columns, start)])
        selected = [self.source.lead.c.run_key, *(column.selected() for column in segment.columns)]
        statement = self.statement(selected, condition, segment)
        if statement is None or limit <= 0:
            return []
        return self.connection.execute(statement.limit(limit)).all()

    def _again(self, after: After, shape: tuple[int, ...]) -> After | None:
        """Find a place again in an order that is now read in other stretches (an index came or went)."""
        for i, segment in enumerate(self.segments):
            columns = [column.selected() for column in segment.columns]
            here = sql("{k} = {y}", k=self.source.lead.c.run_key, y=bind(after.run_key))
            condition = both([here, segment.where])
            if isinstance(condition, bool):
                continue
            statement = (
                sa.select(*columns, sa.literal(0))
                .select_from(self.source.selected)
                .where(condition)
            )
            row = self.connection.execute(statement).first()
            if row is not None:
                return After(shape, i, tuple(row[:-1]), after.run_key)
        return None

    def keys(self, start: int, stop: int | None) -> list[int]:
        """Return the keys of the runs from one position up to another."""
        return [row[0] for row in self.select([self.source.lead.c.run_key], start, stop)]

    def select(
        self, columns: Sequence[Any], start: int, stop: int | None
    ) -> Iterator[Sequence[Any]]:
        """Yield columns of the runs from one position up to another."""
        skip, left = start, None if stop is None else max(0, stop - start)
        for i, segment in enumerate(self.segments):
            if left == 0:
                return
            statement = self.statement(columns, segment.where, segment)
            if statement is None:
                continue
            if left is not None or skip:
                statement = statement.limit(left if left is not None else 2**62).offset(skip)
            found = 0
            for row in self.connection.execute(statement):
                found += 1
                yield row
            if left is not None:
                left -= found
            if skip and i + 1 < len(self.segments):
                skip = 0 if found else skip - self.count(segment.where)

    def columns(
        self, fields: Sequence[Field], start: int, stop: int | None
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the values of fields for the runs from one position up to another."""
        selected: list[Any] = []
        loaders = []
        for each in fields:
            columns, load = self._column(each)
            loaders.append((load, len(selected), len(selected) + len(columns)))
            selected += columns
        for row in self.select(selected or [self.source.lead.c.run_key], start, stop):
            yield tuple(load(*row[first:last]) for load, first, last in loaders)

    def _column(self, each: Field) -> tuple[list[Any], Any]:
        if each.kind is Kind.DOCUMENT or each.path:
            value = self.compiler.located(each)
            if value is None:
                return [], lambda: None
            return value.selected(), lambda *found: _unescaped(self.engine.loaded(*found))
        if each.kind is Kind.LIST:
            return [self.source.columns[each.column]], lambda text: _unescaped(_json(text))
        if each.kind is Kind.TEXT:
            column = self.source.columns[each.column]
            return [column], lambda text: text if text is None else unescape(text)
        return [tables.runs.c[each.column]], lambda value: value

    # -------------------------------------------------------------- statements

    def statement(
        self,
        columns: Sequence[Any],
        condition: Condition,
        segment: Segment | None = None,
        first: Condition = True,
    ) -> sa.Select[Any] | None:
        """Return the select of columns where filter and condition hold, or None if nowhere."""
        where = both([first, self._here(), self.where, condition])
        if isinstance(where, bool):
            return None
        literals = sum(isinstance(part, sa.BindParameter) for part in where.parts)
        if literals > MAX_LITERALS:
            problem = (
                f"{literals:,} literals and keys are more than a database takes ({MAX_LITERALS:,})"
            )
            raise QueryError("", problem, "use $in with one list, or ask in several queries")
        statement = sa.select(*columns).select_from(self.source.selected).where(where)
        if segment is not None:
            statement = statement.order_by(*(column.term() for column in segment.columns))
        if self.hint is not None:
            statement = statement.with_hint(self.source.lead, f"INDEXED BY {self.hint}", "sqlite")
        return statement

    def _here(self) -> Sql:
        table = self.source.lead.c
        return sql(
            "({p} = {project} AND {live} = 1)",
            p=table.project_id,
            project=bind(self.query.project_id),
            live=table.live,
        )

    def _matching(self) -> Mapping[Match, Sequence[str]]:
        """Run the patterns over the distinct strings of their fields, where SQL has no RE2."""
        if self.engine.has_regex:
            return {}
        compiler = Compiler(self.engine, self.source, self.catalogue)
        found: dict[Match, Sequence[str]] = {}
        for test in self.tests:
            if isinstance(test, Match) and test not in found:
                found[test] = self._strings_found(compiler, test)
        return found

    def _strings_found(self, compiler: Compiler, test: Match) -> list[str]:
        """Return the distinct strings of a field in which RE2 finds a pattern, however many there are."""
        found: dict[str, None] = {}
        literal = required_literal(test.pattern)
        for expression in compiler.strings(test.field):
            text = sa.select(sa.type_coerce(expression, sa.Text).label("text"))
            inner = text.select_from(self.source.selected).where(self._here()).subquery()
            statement = sa.select(inner.c.text).distinct().where(inner.c.text.is_not(None))
            if literal:
                statement = statement.where(sa.func.strpos(inner.c.text, escape(literal)) > 0)
            for (string,) in self.connection.execute(statement, execution_options=_STREAMED):
                if find(test.pattern, string):
                    found[string] = None
        return list(found)


_STREAMED: Final = {"yield_per": 20_000}


def _json(text: Any) -> Any:
    """Read a JSON column: text on SQLite, already read by the driver on PostgreSQL."""
    return orjson.loads(text) if isinstance(text, str) else text


def _unescaped(value: Any) -> Any:
    if isinstance(value, str):
        return unescape(value)
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    if isinstance(value, dict):
        return {unescape(key): _unescaped(item) for key, item in value.items()}
    return value


# ------------------------------------------------------------------ what the store knows


def load_catalogue(
    connection: sa.Connection, project_id: str, places: Iterable[Place]
) -> Catalogue:
    """Return what the key catalogue of a project says about places; open if it is not complete."""
    by_path = {dumps(list(path)): path for _, path in places}
    if not by_path:
        return Catalogue({})
    state, keys = tables.sync_state.c, tables.run_keys.c
    is_open = sa.select(state.catalogue_open).where(
        state.project_id == project_id, state.stage == "runs"
    )
    if connection.execute(is_open).scalar():
        return compiling.OPEN
    found = connection.execute(
        sa.select(keys.document, keys.path, keys.types).where(
            keys.project_id == project_id, keys.path.in_(list(by_path))
        )
    )
    return Catalogue({(document, by_path[path]): Type(types) for document, path, types in found})


def load_indexes(connection: sa.Connection, places: Iterable[Place]) -> dict[Place, str]:
    """Return the names of the value indexes that are ready on places."""
    wanted = set(places)
    if not wanted:
        return {}
    index = tables.value_indexes.c
    statement = sa.select(index.document, index.path, index.name).where(index.ready == 1)
    if connection.dialect.name == "sqlite":  # it fails on a hint to an index that is gone
        statement = statement.where(
            index.name.in_(sa.text("SELECT name FROM sqlite_master WHERE type = 'index'"))
        )
    rows = connection.execute(statement)
    found = {(document, tuple(orjson.loads(path))): name for document, path, name in rows}
    return {place: name for place, name in found.items() if place in wanted}


def _warnings(connection: sa.Connection, project_id: str, fields: Sequence[Field]) -> list[str]:
    documents = [each for each in dict.fromkeys(fields) if each.kind is Kind.DOCUMENT and each.path]
    catalogue = load_catalogue(connection, project_id, compiling.candidates(documents))
    unseen = [
        each
        for each in documents
        if not any(catalogue.route(each.column, path) for path in map(_escaped, readings(each)))
    ]
    if not unseen:
        return []
    keys = tables.run_keys.c
    known = {
        f"{document}.{_spelled(path)}": count
        for document, path, count in connection.execute(
            sa.select(keys.document, keys.path, keys.count).where(keys.project_id == project_id)
        )
    }
    return [_warning(each, known) for each in unseen]


def _escaped(path: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(escape, path))


def _spelled(path: str) -> str:
    keys = [unescape(key).replace("\\", "\\\\") for key in orjson.loads(path)]
    return ".".join(key.replace(".", "\\.") if len(keys) > 1 else key for key in keys)


def _warning(each: Field, known: Mapping[str, int]) -> str:
    text = f"`{each}`: no run of this project has it"
    last = each.path[-1].casefold()
    same = [name for name in known if name.rsplit(".", 1)[-1].casefold() == last]
    close = sorted(same, key=lambda name: -known[name])[:1] or difflib.get_close_matches(
        str(each), known, 1, 0.75
    )
    if not close:
        return text
    count = known[close[0]]
    return f"{text}; did you mean `{close[0]}` ({count:,} run{'s' * (count != 1)})?"


# ------------------------------------------------------------------ how, shown


@dataclass(frozen=True, slots=True)
class Explain:
    """How a query is answered. `rows_examined` counts the runs (or documents) looked at for the first
    page, `indexes` names what served it, `notes` say where W&B's server is known to answer otherwise."""

    tree: str
    sql: str
    parameters: dict[str, Any]
    plan: list[str]
    indexes: list[str]
    rows_examined: int
    rows_found: int
    notes: list[str]
    warnings: list[str]


def _explain(plan: _Plan, limit: int, warnings: list[str]) -> Explain:
    statement, found, examined = None, 0, 0
    steps: list[str] = []
    for segment in plan.segments:
        selected = [plan.source.lead.c.run_key, *(column.selected() for column in segment.columns)]
        stretch = plan.statement(selected, segment.where, segment)
        if stretch is None or found >= limit:
            continue
        stretch = stretch.limit(limit - found)
        statement = stretch if statement is None else statement
        looked, got, how = _examine(plan, stretch, segment)
        examined, found, steps = examined + looked, found + got, steps + how
    compiled = None if statement is None else statement.compile(dialect=plan.connection.dialect)
    names = {index: each for each, index in plan.indexes.items()}
    return Explain(
        tree=describe(plan.tree),
        sql="nothing to ask: no run can match" if compiled is None else str(compiled),
        parameters={} if compiled is None else dict(compiled.params),
        plan=steps,
        indexes=sorted(name for name in {*names, *_OWN_INDEXES} if any(name in s for s in steps)),
        rows_examined=examined,
        rows_found=found,
        notes=_notes(plan),
        warnings=warnings,
    )


_OWN_INDEXES: Final = frozenset(
    {"ix_runs_created", "ix_runs_state", "ix_run_documents_created", "uq_runs_project_id_name"}
)


def _examine(
    plan: _Plan, statement: sa.Select[Any], segment: Segment
) -> tuple[int, int, list[str]]:
    """Run a statement; return how many rows it looked at, how many it gave, and its plan."""
    connection = plan.connection
    if plan.engine is SQLITE:
        seen: dict[int, bool] = {}
        raw: Any = connection.connection.dbapi_connection
        raw.create_function("mirror_seen", 1, lambda key: seen.setdefault(key, True))
        counting = sql("mirror_seen({k})", k=plan.source.lead.c.run_key)
        counted = plan.statement([plan.source.lead.c.run_key], segment.where, segment, counting)
        got = 0
        if counted is not None:
            got = len(connection.execute(counted.limit(statement._limit)).all())
        steps = connection.execute(_Explained(statement))
        return len(seen), got, [row[3] for row in steps]
    text = connection.execute(_Explained(statement)).scalar_one()
    root = (orjson.loads(text) if isinstance(text, str) else text)[0]["Plan"]
    return _scanned(root), int(root["Actual Rows"]), list(_steps(root, 0))


class _Explained(sa.Executable, sa.ClauseElement):
    """EXPLAIN of a select."""

    inherit_cache = False

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement


@compiles(_Explained, "sqlite")
def _explain_sqlite(element: _Explained, compiler: Any, **kw: Any) -> str:
    return f"EXPLAIN QUERY PLAN {compiler.process(element.statement, **kw)}"


@compiles(_Explained, "postgresql")
def _explain_postgresql(element: _Explained, compiler: Any, **kw: Any) -> str:
    text = compiler.process(element.statement, **kw)
    return f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}"


def _scanned(node: Mapping[str, Any]) -> int:
    """Return how many rows of tables a plan of PostgreSQL looked at."""
    below = sum(map(_scanned, node.get("Plans", ())))
    if node.get("Relation Name") is None:
        return below
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return below + int((node["Actual Rows"] + removed) * node.get("Actual Loops", 1))


def _steps(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    parts = [node["Node Type"], node.get("Index Name"), node.get("Relation Name")]
    yield "  " * depth + " ".join(part for part in parts if part)
    for below in node.get("Plans", ()):
        yield from _steps(below, depth + 1)


def _notes(plan: _Plan) -> list[str]:
    """Say where W&B's server is known, or thought, to answer otherwise."""
    notes = []
    for each in dict.fromkeys([t.field for t in plan.tests] + [k.field for k in plan.order]):
        if each.kind is not Kind.DOCUMENT:
            continue
        if plan.scout.is_flat(each):
            notes.append(
                f"`{each}` is a key with dots: W&B's server finds nothing for it (wandb #3087)"
            )
        if plan.scout.is_walked(each):
            notes.append(
                f"`{each}` may lie inside a list: W&B's server is not known to look into lists"
            )
    if any(isinstance(test, Size) for test in plan.tests):
        notes.append("`$size` is in W&B's client, but nothing public says that its server takes it")
    return notes


# ------------------------------------------------------------------ mistakes, shown


def format_query_error(error: QueryError, text: str | None) -> str:
    """Return the message of a QueryError under the text of the filter, with a caret at the place.

    Without a text, or if the place is not found in it, only the message.
    """
    place = _find_place(error.path, text) if text else None
    if text is None or place is None:
        return str(error)
    line_start = text.rfind("\n", 0, place[0]) + 1
    line = text[line_start:].split("\n", 1)[0]
    caret = " " * (place[0] - line_start) + "^" * max(1, min(place[1] - place[0], len(line)))
    said = error.problem + (f"; {error.hint}" if error.hint else "")
    return f"{line}\n{caret}\n{error.path or 'filter'}: {said}"


def _find_place(path: str, text: str) -> tuple[int, int] | None:
    """Return where the last key of a place stands, found by following its keys through the text."""
    position, found = 0, None
    rest = path
    while rest:
        match = _longest_key(rest, text, position)
        if match is None:
            return found
        key, start, length = match
        found = start, start + length
        position = start + length
        rest = rest[len(key) :].lstrip(".")
        if rest.startswith("["):
            rest = rest.partition("]")[2].lstrip(".")
    return found


def _longest_key(rest: str, text: str, position: int) -> tuple[str, int, int] | None:
    ends = [i for i in range(len(rest), 0, -1) if i == len(rest) or rest[i] in ".["]
    for end in ends:
        written = json.dumps(rest[:end], ensure_ascii=False)
        start = text.find(written, position)
        if start >= 0:
            return rest[:end], start, len(written)
    return None
