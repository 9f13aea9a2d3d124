"""How a query over runs is answered: the choice of indexes, and the statements.

`mirror.reads` makes a `Plan` inside a read transaction for each question it asks. PostgreSQL chooses
among indexes by itself; for SQLite, which has no statistics, `_strategy` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson

from mirror import instants
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
from mirror.query.tree import And, Constant, Field, Kind, Match, Node, Not, Or, OrderKey, tests
from mirror.regex import find, plain, required_literal
from mirror.store.json import SQLITE, Engine
from mirror.store.sql import Condition, Sql, bind, both, listing, render, sql

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["After", "Plan", "Purpose", "Question", "known", "unescaped"]

MAX_LITERALS: Final = 32_000  # SQLite takes 32,766 bound values in a statement, PostgreSQL 65,535

MANY: Final = 200_000  # strings that are held in memory to look for a pattern

Purpose = Literal["count", "page", "all"]


class After(NamedTuple):
    """Where a page ended: opaque to callers, plain values."""

    shape: tuple[int, ...]
    segment: int
    values: tuple[Any, ...]
    run_key: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the runs of a project for which a tree holds, in an order."""

    engine: Engine
    project_id: str
    tree: Node
    order: tuple[OrderKey, ...]

    def fields(self) -> list[Field]:
        """Return every field that filter and order name."""
        return [test.field for test in tests(self.tree)] + [key.field for key in self.order]


class Plan:
    """A question compiled for what one transaction sees.

    On SQLite, tests of indexed keys become sets of runs; or everything is read from one index; or, for
    the first page of an order that an index gives, runs are tested one by one until it is full.
    """

    FEW = 1000  # a test that an index finds so few runs for is answered from that index

    def __init__(
        self,
        connection: Connection,
        question: Question,
        purpose: Purpose,
        extra: Sequence[Field] = (),
    ) -> None:
        self.connection = connection
        self.question = question
        self.engine = question.engine
        self.order = question.order if purpose != "count" else ()
        self.tree = simplify(question.tree)
        self.tests = list(tests(self.tree))
        ordered = [key.field for key in self.order]
        places = compiling.candidates([*(test.field for test in self.tests), *ordered, *extra])
        self.catalogue, self.indexes = known(connection, self.engine, question.project_id, places)
        self.scout = Compiler(self.engine, _NOTHING.with_indexes(self.indexes), self.catalogue)
        self.sets, self.hint = self._strategy(purpose, extra)
        in_filter = [
            test.field
            for test in self.tests
            if not self.scout.never(test.field) and id(test) not in self.sets
        ]
        self.source = run_source([*in_filter, *ordered, *extra])
        self.compiler = Compiler(
            self.engine, self.source.with_indexes(self.indexes), self.catalogue
        )
        self.where = self._filter()
        self.segments = self.compiler.segments(self.order) if self.order else []

    def _filter(self) -> Condition:
        source = self.source.with_indexes(self.indexes)
        if self.engine is SQLITE and not self.sets and self.hint not in self._filter_indexes():
            source = self.source  # no index is read for the filter: its plain terms cost less
        sets = dict.fromkeys(self.sets, self.question.project_id)
        return Compiler(self.engine, source, self.catalogue, self._matching(), sets).filter(
            self.tree
        )

    # -------------------------------------------------------------- how

    def _filter_indexes(self) -> set[str]:
        return {index for test in self.tests if (index := self.scout.index(test.field))}

    def _strategy(self, purpose: Purpose, extra: Sequence[Field]) -> tuple[set[int], str | None]:
        """Say which tests (by id) become sets of runs, and which index is read instead of the table."""
        if self.engine is not SQLITE:
            return set(), None
        alone = self._index_alone(extra)
        if alone is not None and purpose != "page":
            return set(), alone
        if few := self._few():
            return (set(), alone) if alone is not None else (few, None)
        order_index = self._order_index(extra)
        if purpose == "page" and order_index is not None:
            return set(), order_index
        sets = {id(test) for test in self.tests if self.scout.index(test.field)}
        return sets, None if sets else order_index

    def _index_alone(self, extra: Sequence[Field]) -> str | None:
        """Return the one index that holds all that is looked at, if there is one."""
        looked_at = [test.field for test in self.tests if not self.scout.never(test.field)]
        looked_at += [*(key.field for key in self.order), *extra]
        found = set()
        for each in looked_at:
            if each.kind is Kind.DOCUMENT:
                found.add(self.scout.index(each))
            elif each.column not in COPIED:
                return None
        return found.pop() if len(found) == 1 else None

    def _order_index(self, extra: Sequence[Field]) -> str | None:
        """Return the index that gives the order, if one does."""
        if not self.order:
            return None
        first = self.order[0].field
        if first.kind is Kind.DOCUMENT:
            return self.scout.index(first)
        if first.column != "created_at":
            return None
        read = [test.field for test in self.tests if not self.scout.never(test.field)]
        read += [*(key.field for key in self.order), *extra]
        return f"ix_{run_source(read).lead}_created"

    def _conjuncts(self) -> Sequence[Node]:
        return self.tree.parts if isinstance(self.tree, And) else (self.tree,)

    def _few(self) -> set[int]:
        """Return the tests that all the answer must pass and that an index finds few runs for."""
        found: set[int] = set()
        for test in self._conjuncts():
            if isinstance(test, And | Or | Not | Constant) or self.scout.may_be_list(test.field):
                continue
            select = self.scout.set_select(test, self.question.project_id)
            if select is None:
                continue
            few = sql("SELECT count(*) FROM ({s} LIMIT {n})", s=select, n=bind(self.FEW + 1))
            if self.run(few).scalar_one() <= self.FEW:
                found.add(id(test))
        return found

    # -------------------------------------------------------------- questions

    def count_all(self) -> int:
        """Return how many runs satisfy the filter."""
        if isinstance(self.tree, Not) and self._filter_indexes():
            # An index serves what it finds, not what it does not: count that, and take it away.
            parts = (Constant(True), self.tree.part)
            every, found = (
                Plan(self.connection, replace(self.question, tree=part), "count").count()
                for part in parts
            )
            return every - found
        return self.count()

    def count(self, condition: Condition = True) -> int:
        """Return how many runs satisfy the filter and a condition."""
        statement = self.statement([sql("count(*)")], condition)
        return 0 if statement is None else int(self.run(statement).scalar_one())

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
    ) -> Sequence[Sequence[Any]]:
        condition = segment.where
        if start is not None:
            condition = both([condition, compiling.after(segment.columns, start)])
        selected = [self.key(), *(column.selected() for column in segment.columns)]
        statement = self.statement(selected, condition, segment, limit=limit)
        return [] if statement is None or limit <= 0 else self.run(statement).all()

    def _again(self, after: After, shape: tuple[int, ...]) -> After | None:
        """Find a place again in an order that is now read in other stretches (an index came or went)."""
        for i, segment in enumerate(self.segments):
            here = both([sql("{k} = {y}", k=self.key(), y=bind(after.run_key)), segment.where])
            if isinstance(here, bool):
                continue
            statement = sql(
                "SELECT {columns} FROM {selected} WHERE {here}",
                columns=listing([self.key(), *(column.selected() for column in segment.columns)]),
                selected=self._selected(),
                here=here,
            )
            row = self.run(statement).first()
            if row is not None:
                return After(shape, i, tuple(row[1:]), after.run_key)
        return None

    def keys(self, start: int, stop: int | None) -> list[int]:
        """Return the keys of the runs from one position up to another."""
        return [row[0] for row in self.select([self.key()], start, stop)]

    def select(
        self, columns: Sequence[Any], start: int, stop: int | None
    ) -> Iterator[Sequence[Any]]:
        """Yield columns of the runs from one position up to another."""
        skip, left = start, None if stop is None else max(0, stop - start)
        for i, segment in enumerate(self.segments):
            if left == 0:
                return
            limit = left if left is not None else 2**62 if skip else None
            statement = self.statement(columns, segment.where, segment, limit=limit, offset=skip)
            if statement is None:
                continue
            found = 0
            for row in self.bulk(statement):
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
        for row in self.select(selected or [self.key()], start, stop):
            yield tuple(load(*row[first:last]) for load, first, last in loaders)

    def _column(self, each: Field) -> tuple[list[Any], Any]:
        if each.kind is Kind.DOCUMENT or each.path:
            value = self.compiler.located(each)
            if value is None:
                return [], lambda: None
            return value.selected(), lambda *found: unescaped(self.engine.loaded(*found))
        return [self.source.columns[each.column]], _LOADERS.get(each.kind, lambda value: value)

    # -------------------------------------------------------------- statements

    def key(self) -> Sql:
        """Return the column that keys a run."""
        return sql("{k}", k=self.source.led("run_key"))

    def statement(
        self,
        columns: Sequence[Any],
        condition: Condition,
        segment: Segment | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        first: Condition = True,
    ) -> Sql | None:
        """Return the select of columns where filter and condition hold, or None if nowhere."""
        led = self.source.led
        project = bind(self.question.project_id)
        here = {"p": led("project_id"), "project": project, "live": led("live")}
        mine: Condition = sql("({p} = {project} AND {live} = 1)", **here)
        if any(id(test) in self.sets for test in self._conjuncts()):
            mine = True  # the sets are of live runs of the project; let them drive
        where = both([first, mine, self.where, condition])
        if isinstance(where, bool):
            return None
        parts = {"columns": listing(columns), "selected": self._selected(), "where": where}
        statement = sql("SELECT {columns} FROM {selected} WHERE {where}", **parts)
        if segment is not None and segment.columns:
            terms = listing([column.term() for column in segment.columns])
            statement = sql("{s} ORDER BY {terms}", s=statement, terms=terms)
        if limit is not None:
            statement = sql("{s} LIMIT {n}", s=statement, n=bind(limit))
        return statement if not offset else sql("{s} OFFSET {n}", s=statement, n=bind(offset))

    def _selected(self) -> Sql:
        lead = self.source.lead
        hint = f" INDEXED BY {self.hint}" if self.hint is not None else ""
        if not self.source.joined:
            return sql(f"{lead}{hint}")
        return sql(f"{lead}{hint} JOIN runs ON runs.run_key = {lead}.run_key")

    def run(self, statement: Sql, **options: Any) -> Any:
        """Run a statement; return its CursorResult."""
        text, values = render(statement, self.engine.name)
        if len(values) > MAX_LITERALS:
            problem = f"{len(values):,} literals are more than a database takes ({MAX_LITERALS:,})"
            raise QueryError("", problem, "use $in with one list, or ask in several queries")
        return self.connection.exec_driver_sql(text, values, execution_options=options)

    def bulk(self, statement: Sql) -> Sequence[Sequence[Any]]:
        """Run a statement of many rows; they come as the driver's plain tuples."""
        result = self.run(statement)
        cursor: Any = result.cursor
        rows: Sequence[Sequence[Any]] = cursor.fetchall()
        result.close()
        return rows

    def _matching(self) -> Mapping[Match, Sequence[str]]:
        """Run the patterns over the distinct strings of their fields, where SQL has no RE2."""
        if self.engine.has_regex:
            return {}
        compiler = Compiler(self.engine, self.source, self.catalogue)
        found: dict[Match, Sequence[str]] = {}
        for test in self.tests:
            if isinstance(test, Match) and test not in found and plain(test.pattern) is None:
                found[test] = self._strings_found(compiler, test)
        return found

    def _strings_found(self, compiler: Compiler, test: Match) -> list[str]:
        """Return the distinct strings of a field in which RE2 finds a pattern, however many there are."""
        found: dict[str, None] = {}
        led = self.source.led
        for expression in compiler.strings(test.field):
            statement = sql(
                "SELECT DISTINCT t.text FROM (SELECT {text} AS text FROM {selected}"
                " WHERE {p} = {project} AND {live} = 1) AS t"
                " WHERE t.text IS NOT NULL AND strpos(t.text, {literal}) > 0",
                text=sql("{e}", e=expression),
                selected=self._selected(),
                p=led("project_id"),
                project=bind(self.question.project_id),
                live=led("live"),
                literal=bind(escape(required_literal(test.pattern))),
            )
            found |= dict.fromkeys(s for s in self._texts(statement) if find(test.pattern, s))
        return list(found)

    def _texts(self, statement: Sql) -> Iterator[str]:
        """Yield the texts a statement gives: at once if they are not too many, else as a stream.

        PostgreSQL reads in parallel for the one, not for the other.
        """
        first = self.bulk(sql("{s} LIMIT {n}", s=statement, n=bind(MANY + 1)))
        if len(first) > MANY:
            first = self.run(statement, yield_per=20_000)
        for (text,) in first:
            yield text


def _json(text: Any) -> Any:
    """Read a JSON column: text on SQLite, already read by the driver on PostgreSQL."""
    return orjson.loads(text) if isinstance(text, str) else text


def unescaped(value: Any) -> Any:
    """Undo `jsontext.escape` in a whole JSON value, given as a value or (a column's) as text."""
    if isinstance(value, str):
        return unescape(value)
    if isinstance(value, list):
        return [unescaped(item) for item in value]
    if isinstance(value, dict):
        return {unescape(key): unescaped(item) for key, item in value.items()}
    return value


_LOADERS: Final[dict[Kind, Any]] = {
    Kind.TEXT: lambda text: None if text is None else unescape(text),
    Kind.LIST: lambda text: unescaped(_json(text)),
    Kind.INSTANT: lambda micros: None if micros is None else instants.from_us(micros),
}


# ------------------------------------------------------------------ what the store knows

_NOTHING: Final = run_source(())
_KNOWN: Final = (
    "SELECT document, path, types, NULL FROM run_keys"
    " WHERE project_id = {project} AND path IN {paths}"
    " UNION ALL SELECT document, path, NULL, name FROM value_indexes"
    " WHERE ready = 1 AND path IN {paths}{there}"
    " UNION ALL SELECT NULL, NULL, catalogue_open, NULL FROM sync_state"
    " WHERE project_id = {project} AND stage = 'runs'"
)
# SQLite fails on a hint to an index that is gone.
_THERE: Final = " AND name IN (SELECT name FROM sqlite_master WHERE type = 'index')"


def known(
    connection: Connection, engine: Engine, project_id: str, places: set[Place]
) -> tuple[Catalogue, dict[Place, str]]:
    """Return what the key catalogue of a project says about places, and the indexes ready on them.

    The catalogue is open if it is not complete.
    """
    by_path = {dumps(list(path)): path for _, path in places}
    if not by_path:
        return Catalogue({}), {}
    if engine is SQLITE:
        paths = sql("(SELECT value FROM json_each({list}))", list=bind(dumps(list(by_path))))
    else:
        paths = sql("(SELECT unnest(CAST({list} AS text[])))", list=bind(list(by_path)))
    there = sql(_THERE if engine is SQLITE else "")
    statement = sql(_KNOWN, project=bind(project_id), paths=paths, there=there)
    types: dict[Place, Type] = {}
    indexes: dict[Place, str] = {}
    is_open = False
    text, values = render(statement, engine.name)
    for document, path, seen, index in connection.exec_driver_sql(text, values):
        if document is None:
            is_open = bool(seen)
        elif index is None:
            types[document, by_path[path]] = Type(seen)
        elif (place := (document, by_path[path])) in places:
            indexes[place] = index
    return (compiling.OPEN if is_open else Catalogue(types)), indexes
