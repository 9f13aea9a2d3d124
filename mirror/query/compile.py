"""From a tree to SQL: no validation, no connection.

`compile_filter` and `compile_order` are called by `mirror.reads` with what the store knows: the key
catalogue (which prunes paths never seen) and the value indexes. Without a catalogue they compile
the general form, which is always right. Logic is pushed to the leaves, so SQL's NULL never meets
a NOT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeGuard

from mirror.jsontext import Type, escape
from mirror.query.fields import RUNS, readings
from mirror.query.tree import (
    And,
    Compare,
    Constant,
    Contains,
    Exists,
    Field,
    In,
    Kind,
    Match,
    Node,
    Not,
    Or,
    OrderKey,
    Size,
    Test,
)
from mirror.regex import plain
from mirror.store.json import ANY_TYPE, Engine, Value, as_sql, number
from mirror.store.sql import (
    Column,
    Condition,
    SortColumn,
    Sql,
    bind,
    both,
    either,
    negate,
    sql,
    total,
)

__all__ = [
    "COPIED",
    "Catalogue",
    "Compiler",
    "Segment",
    "Source",
    "after",
    "candidates",
    "run_source",
    "simplify",
]

Path = tuple[str, ...]
Place = tuple[str, Path]
"""A document's column and object keys below it, in the form of `jsontext.escape`."""


# ------------------------------------------------------------------ what the store knows


class Catalogue:
    """The types seen under paths. `None` in place of the mapping: nothing is known, all is possible."""

    def __init__(self, types: Mapping[Place, Type] | None) -> None:
        self._types = types

    def route(self, column: str, path: Path) -> tuple[int, Type] | None:
        """Say how a path can be followed: how many of its keys lead through objects alone, and the
        types at that point. None if no document can hold it."""
        if not path:
            return 0, Type.OBJECT
        if self._types is None:
            return 1, ANY_TYPE
        for i in range(1, len(path) + 1):
            types = self._types.get((column, path[:i]))
            if not types:
                return None
            if i == len(path) or types & Type.LIST:
                return i, types
            if not types & Type.OBJECT:
                return None
        raise AssertionError("a path has an end")


OPEN: Final = Catalogue(None)


def candidates(fields: Iterable[Field]) -> set[Place]:
    """Return every place the catalogue should be asked about to compile these fields."""
    found: set[Place] = set()
    for each in fields:
        if each.kind is Kind.DOCUMENT:
            for reading in readings(each):
                path = tuple(map(escape, reading))
                found.update((each.column, path[:i]) for i in range(1, len(path) + 1))
    return found


@dataclass(frozen=True)
class Source:
    """What to select from: the columns that fields compile to, and the indexes on places of documents."""

    columns: Mapping[str, Any]
    lead: str  # the table that has project_id, live and run_key
    joined: bool = False  # `runs` by run_key
    indexes: Mapping[Place, str] = field(default_factory=dict)

    def led(self, name: str) -> Column:
        """Return a column of the leading table."""
        return Column(self.lead, name)

    def with_indexes(self, indexes: Mapping[Place, str]) -> Source:
        """Return the same source with other indexes."""
        return replace(self, indexes=indexes)


# ------------------------------------------------------------------ the tree, simplified


def simplify(node: Node) -> Node:
    """Return an equal tree without nested ANDs, ORs and NOTs of the same kind; ORs of equalities on one
    field become one In."""
    match node:
        case Not(part=Not(part=inner)):
            return simplify(inner)
        case Not(part=part):
            part = simplify(part)
            if isinstance(part, Constant):
                return Constant(not part.value)
            return part.part if isinstance(part, Not) else Not(part)
        case And(parts=parts):
            return _flat(And, parts)
        case Or(parts=parts):
            return _flat(Or, parts)
    return node


def _flat(kind: type[And] | type[Or], parts: Sequence[Node]) -> Node:
    absorbing = kind is Or
    found: list[Node] = []
    for part in map(simplify, parts):
        if isinstance(part, Constant):
            if part.value is absorbing:
                return part
        elif isinstance(part, kind):
            found.extend(part.parts)
        else:
            found.append(part)
    if kind is Or:
        found = _fold(found)
    if not found:
        return Constant(not absorbing)
    return found[0] if len(found) == 1 else kind(tuple(found))


def _fold(parts: list[Node]) -> list[Node]:
    """Make one In of the equalities of each field that has several; other leaves stay the same objects."""
    equalities: dict[Field, list[Compare | In]] = {}
    for part in parts:
        if _is_equality(part):
            equalities.setdefault(part.field, []).append(part)
    found: list[Node] = []
    for part in parts:
        if not _is_equality(part):
            found.append(part)
        elif part.field in equalities:
            same = equalities.pop(part.field)
            found.append(same[0] if len(same) == 1 else In(part.field, _all_values(same)))
    return found


def _is_equality(node: Node) -> TypeGuard[Compare | In]:
    return isinstance(node, In) or (isinstance(node, Compare) and node.op == "$eq")


def _all_values(parts: Iterable[Compare | In]) -> tuple[Any, ...]:
    values: list[Any] = []
    for part in parts:
        values += part.values if isinstance(part, In) else [part.value]
    return tuple(values)


def _depth(node: Node) -> int:
    match node:
        case And(parts=parts) | Or(parts=parts):
            return 1 + max(map(_depth, parts))
        case Not(part=part):
            return _depth(part)
    return 0


# ------------------------------------------------------------------ filters


class Compiler:
    """Compiles filters and orders over one source, for one engine."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        catalogue: Catalogue = OPEN,
        matching: Mapping[Match, Sequence[str]] | None = None,
        sets: Mapping[int, str] | None = None,
    ) -> None:
        """`matching` holds, for engines without RE2, the strings each `$regex` finds; `sets` names, by
        id, the tests that are compiled as sets, read from an index, of the runs of a project (SQLite)."""
        self.sets = sets or {}
        self.engine = engine
        self.source = source
        self.catalogue = catalogue
        self.matching = matching or {}

    def filter(self, node: Node) -> Condition:
        """Return the condition of a tree."""
        return self._node(simplify(node), positive=True)

    def _node(self, node: Node, *, positive: bool) -> Condition:
        match node:
            case Constant(value=value):
                return value is positive
            case Not(part=part):
                return self._node(part, positive=not positive)
            case And(parts=parts) | Or(parts=parts):
                # SQLite's parser keeps a stack: what nests comes first, so that it does not grow.
                ordered = sorted(parts, key=_depth, reverse=True) if _depth(node) > 8 else parts
                conditions = (self._node(part, positive=positive) for part in ordered)
                return (both if isinstance(node, And) is positive else either)(conditions)
        condition = self.test(node, positive=positive)
        return condition if positive else negate(condition)

    def test(self, test: Test, *, positive: bool = True) -> Condition:
        """Return the condition of one leaf; `positive` is false where it will be negated."""
        column = self.source.columns[test.field.column]
        match test.field.kind:
            case Kind.DOCUMENT:
                return self._document_test(test, positive=positive)
            case Kind.LIST:
                return self._list_test(test, column)
            case Kind.TEXT:
                return _text_test(test, column, self.engine, self.matching.get(_as_match(test), ()))
            case Kind.NUMBER:
                return _number_test(test, column, self.engine)
            case Kind.INSTANT:
                return _ordered_test(test, column, self.engine, int)

    def _list_test(self, test: Test, column: Any) -> Condition:
        whole = self.engine.at(column, (), Type.LIST)
        if not test.field.path:
            return self._row_test(test, whole, spread=True)
        return self._row_test(test, self.engine.locate(whole, test.field.path), spread=False)

    def _document_test(self, test: Test, *, positive: bool) -> Condition:
        """Try the readings of the path in turn: the first that is present decides."""
        found = list(self._readings(test.field))
        if id(test) in self.sets:
            select = self.set_select(test, self.sets[id(test)])
            if select is not None:
                return total("{key} IN ({select})", key=self.source.led("run_key"), select=select)
        missing = _takes_missing(test)
        indexed = positive or self.engine.reads_keys
        tried = [self._reading_test(test, reading, indexed=indexed) for reading in found]
        if len(found) > 1:
            return _first_present(tried, missing)
        if not found or not missing:  # what holds is present
            return tried[0][0] if found else missing
        held, present = tried[0]
        # A value's own test takes null and missing alike, the rows of a walk do not.
        return either([held, negate(present)]) if found[0].rest else held

    def _index(self, found: Sequence[_Reading]) -> str | None:
        """Return the index that answers for a field: on its only reading, where no list lies."""
        if len(found) != 1 or found[0].rest:
            return None
        return self.source.indexes.get((found[0].column, found[0].direct))

    def index(self, each: Field) -> str | None:
        """Return the name of the index that can answer tests of a field."""
        if each.kind is not Kind.DOCUMENT:
            return None
        return self._index(list(self._readings(each)))

    def never(self, each: Field) -> bool:
        """Say whether no run can have a field, so that tests of it need not look at a document."""
        return each.kind is Kind.DOCUMENT and not list(self._readings(each))

    def may_be_list(self, each: Field) -> bool:
        """Say whether a field can hold a list, whose elements no index has."""
        return any(reading.rest or reading.types & Type.LIST for reading in self._readings(each))

    def is_flat(self, each: Field) -> bool:
        """Say whether a field is found under a key with dots, its segments joined."""
        found = [reading for reading in self._readings(each) if self.catalogue is not OPEN]
        return any("." in key for r in found for key in (*r.direct, *r.rest)[:1])

    def is_walked(self, each: Field) -> bool:
        """Say whether a list may lie on the way to a field."""
        return any(reading.rest for reading in self._readings(each) if self.catalogue is not OPEN)

    def set_select(self, test: Test, project: str) -> Sql | None:
        """Return the select of the keys of the runs of a project for which a test holds, by its index."""
        found = list(self._readings(test.field))
        index = self._index(found)
        if index is None:
            return None
        value = self.engine.indexed(sql(f"d.{found[0].column}"), found[0].direct, found[0].types)
        held = self._row_test(test, value, spread=True)
        if isinstance(held, bool):
            return None
        return sql(
            f"SELECT d.run_key FROM run_documents AS d INDEXED BY {index}"  # noqa: S608 - our name
            " WHERE d.project_id = {project} AND d.live = 1 AND {held}",
            project=bind(project),
            held=held,
        )

    def _readings(self, each: Field) -> Iterator[_Reading]:
        seen = set()
        for reading in readings(each):
            path = tuple(map(escape, reading))
            route = self.catalogue.route(each.column, path)
            if route is None or path in seen:
                continue
            seen.add(path)
            yield _Reading(each.column, path[: route[0]], route[1], path[route[0] :])

    def _value(self, reading: _Reading, *, indexed: bool = True) -> Value:
        column = self.source.columns[reading.column]
        index = self.source.indexes.get((reading.column, reading.direct))
        if indexed and index is not None and not reading.rest:
            return self.engine.indexed(column, reading.direct, reading.types)
        return self.engine.at(column, reading.direct, reading.types)

    def _reading_test(
        self, test: Test, reading: _Reading, *, indexed: bool
    ) -> tuple[Condition, Condition]:
        """Return whether the test holds under a reading that is present, and whether it is."""
        value = self._value(reading, indexed=indexed)
        if not reading.rest:
            return self._row_test(test, value, spread=True), value.present()
        walk = self.engine.walk(value, reading.rest)
        present = walk.some(lambda row: row.present(), spread=False)
        if isinstance(test, Exists):
            return present, present
        spread = not isinstance(test, Size)
        return walk.some(lambda row: self._value_test(test, row), spread=spread), present

    def _row_test(self, test: Test, value: Value, *, spread: bool) -> Condition:
        """Test a value and, with `spread`, the elements of a list."""
        held = self._value_test(test, value)
        if not spread or isinstance(test, Exists | Size):
            return held
        among = _literals(test)
        elements = value.some_element(lambda row: self._value_test(test, row), among)
        return either([held, elements])

    def _value_test(self, test: Test, value: Value) -> Condition:
        match test:
            case Compare(op="$eq", value=literal):
                return value.equals(literal)
            case Compare(op=op, value=literal):
                return value.compare(op, literal)
            case In(values=literals):
                return value.among(literals)
            case Exists():
                return value.present()
            case Match(pattern=pattern):
                match plain(pattern):
                    case "equals", text:
                        return value.equals(text)
                    case "starts", text:
                        return value.starts(text)
                    case "contains", text:
                        return value.contains(text)
                return value.matches(pattern, self.matching.get(test, ()))
            case Contains(text=text):
                return value.contains(text)
            case Size(length=length):
                return value.size(length)

    # -------------------------------------------------------------- orders

    def sort_columns(self, key: OrderKey) -> list[SortColumn]:
        """Return the terms of one key; null and missing last."""
        column = self.source.columns[key.field.column]
        if key.field.kind is Kind.DOCUMENT:
            found = [self._located(reading) for reading in self._readings(key.field)]
            if not found:
                return []
            return self.engine.first(found).sort_columns(descending=key.descending)
        if key.field.kind is Kind.LIST:
            if not key.field.path:
                return []  # lists tie
            whole = self.engine.at(column, (), Type.LIST)
            place = self.engine.locate(whole, key.field.path)
            place.types = Type.STRING
            return place.sort_columns(descending=key.descending)
        return [SortColumn(column, key.descending, nullable=key.field.column != "name")]

    def located(self, each: Field) -> Value | None:
        """Return the one value of a field that does not spread; None if no run can have it."""
        if each.kind is Kind.DOCUMENT:
            found = [self._located(reading) for reading in self._readings(each)]
            return self.engine.first(found) if found else None
        whole = self.engine.at(self.source.columns[each.column], (), Type.LIST)
        return self.engine.locate(whole, each.path)

    def strings(self, each: Field) -> list[Any]:
        """Return expressions for the texts a test of the field may look at, and perhaps for more."""
        column = self.source.columns[each.column]
        if each.kind is Kind.TEXT:
            return [column]
        if each.kind is Kind.LIST:
            return [self.engine.at(column, (), Type.LIST).strings()]
        if each.kind is not Kind.DOCUMENT:
            return []
        found = []
        for reading in self._readings(each):
            start = self.engine.at(column, reading.direct, reading.types)
            rows = self.engine.walk(start, reading.rest) if reading.rest else start
            if reading.rest or reading.types & (Type.TEXT | Type.LIST):
                found.append(rows.strings())
        return found

    def segments(self, keys: Sequence[OrderKey]) -> list[Segment]:
        """Return an order as stretches to be read one after the other, each by its own columns.

        There is more than one where that lets an index give the order.
        """
        columns: list[SortColumn] = []
        seen: set[str] = set()
        for key in keys[1:]:
            if key.field != keys[0].field:
                columns += self.sort_columns(key)
                seen.add(key.field.column)
        seen.add(keys[0].field.column)
        for name in ("created_at", "name"):
            if name not in seen:
                column = self.source.columns[name]
                columns.append(SortColumn(column, nullable=name != "name"))
        return [Segment(where, (*own, *columns)) for where, own in self._stretches(keys[0])]

    def _stretches(self, key: OrderKey) -> list[tuple[Condition, list[SortColumn]]]:
        if key.field.kind is Kind.DOCUMENT:
            found = list(self._readings(key.field))
            if len(found) == 1 and not found[0].rest:
                index = self.source.indexes.get((key.field.column, found[0].direct))
                indexed = self._value(found[0])
                stretches = indexed.stretches(descending=key.descending) if index else None
                if stretches is not None:
                    return stretches
        elif key.field.column == "created_at":
            column = self.source.columns["created_at"]
            there = SortColumn(column, key.descending, nullable=False)
            # A range, as SQLite does not start from IS NOT NULL in an index.
            known = sql("{c} > -9223372036854775807", c=column)
            return [(known, [there]), (_is_null(column), [])]
        return [(True, self.sort_columns(key))]

    def _located(self, reading: _Reading) -> Value:
        column = self.source.columns[reading.column]
        start = self.engine.at(column, reading.direct, reading.types)
        return self.engine.locate(start, reading.rest)


def _first_present(tried: Sequence[tuple[Condition, Condition]], missing: bool) -> Condition:
    """Return what holds under the first reading that is present. (Flat, for SQLite's parser.)"""
    condition = sql("CASE")
    for held, present in tried:
        parts = {"c": condition, "p": as_sql(present), "h": as_sql(held)}
        condition = sql("{c} WHEN {p} THEN {h}", **parts)
    return sql(f"{{c}} ELSE {'TRUE' if missing else 'FALSE'} END", c=condition)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of an order: the runs in it, and the columns that sort them, ties included."""

    where: Condition
    columns: tuple[SortColumn, ...]


def after(columns: Sequence[SortColumn], values: Sequence[Any]) -> Condition:
    """Return the condition of coming after a row, given the values of its sort columns."""
    condition: Condition = False
    for i, (column, value) in reversed(list(enumerate(zip(columns, values, strict=True)))):
        if value is None:
            condition = both([_is_null(column.sql), condition])
            continue
        sign = "<" if column.descending else ">"
        parts = {"c": column.sql, "y": column.bound(value)}
        here = [sql(f"{{c}} {sign} {{y}}", **parts), both([sql("{c} = {y}", **parts), condition])]
        if column.nullable:
            condition = either([*here, _is_null(column.sql)])
        elif i == 0:  # a range that an index can start from
            condition = both([sql(f"{{c}} {sign}= {{y}}", **parts), either(here)])
        else:
            condition = either(here)
    return condition


@dataclass(frozen=True, slots=True)
class _Reading:
    """A way to read a path: `direct` keys through objects, then `rest`, where lists may lie."""

    column: str
    direct: Path
    types: Type
    rest: Path


def _takes_missing(test: Test) -> bool:
    match test:
        case Compare(op="$eq" | "$gte" | "$lte", value=None):
            return True
        case In(values=values):
            return any(value is None for value in values)
    return False


def _literals(test: Test) -> Sequence[Any] | None:
    """Return the literals a test compares for equality, None if it is another test."""
    match test:
        case Compare(op="$eq", value=literal):
            return [literal]
        case In(values=literals):
            return literals
    return None


def _as_match(test: Test) -> Any:
    return test if isinstance(test, Match) else None


# ------------------------------------------------------------------ columns


def _text_test(test: Test, column: Any, engine: Engine, matching: Sequence[str]) -> Condition:
    match test:
        case Match(pattern=pattern):
            match plain(pattern):
                case "equals", text:
                    return sql("{c} = {y}", c=column, y=bind(escape(text)))
                case "starts", text:
                    return engine.text_starts(column, text)
                case "contains", text:
                    return engine.text_contains(column, text)
            return engine.text_matches(column, pattern, matching)
        case Contains(text=text):
            return engine.text_contains(column, text)
    return _ordered_test(test, column, engine, str)


def _ordered_test(test: Test, column: Any, engine: Engine, kind: type) -> Condition:
    """Test a column whose values are of one class; literals of another never match."""
    match test:
        case Compare(op=op, value=None):
            return op in ("$eq", "$gte", "$lte") and _is_null(column)
        case Compare(op=op, value=literal) if _is_a(literal, kind):
            return sql(f"{{c}} {_SIGN[op]} {{y}}", c=column, y=bind(_bound(literal)))
        case In(values=values):
            null = [_is_null(column)] if None in values else []
            plain = list(dict.fromkeys(_bound(value) for value in values if _is_a(value, kind)))
            return either([*null, *([engine.listed(column, plain)] if plain else [])])
        case Exists():
            return negate(_is_null(column))
    return False


_SIGN: Final = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def _is_null(column: Any) -> Sql:
    return total("{c} IS NULL", c=column)


def _is_a(literal: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(literal, kind) and not isinstance(literal, bool)


def _bound(literal: Any) -> Any:
    return escape(literal) if isinstance(literal, str) else literal


def _number_test(test: Test, column: Any, engine: Engine) -> Condition:
    """Test a column of doubles: an integer that is none is compared with the double next to it."""
    match test:
        case Compare(op=op, value=int() | float() as literal) if not isinstance(literal, bool):
            op, double = _as_double(op, number(literal))
            return double is not None and _ordered_test(
                Compare(op, test.field, double), column, engine, float
            )
        case In(values=values):
            doubles = [_as_double("$eq", number(v))[1] for v in values if _is_a(v, (int, float))]
            kept: list[Any] = [double for double in doubles if double is not None]
            kept += [None] if None in values else []
            return _ordered_test(In(test.field, tuple(kept)), column, engine, float)
    return _ordered_test(test, column, engine, float)


def _as_double(op: str, literal: int | float) -> tuple[str, float | None]:
    double = float(literal)
    if double == literal:
        return op, double
    if op == "$eq":
        return op, None
    if op in ("$gt", "$gte"):
        return ("$gte" if double > literal else "$gt"), double
    return ("$lte" if double < literal else "$lt"), double


# ------------------------------------------------------------------ runs

COPIED: Final = {"name": "name", "created_at": "created_at_us"}
_DOCUMENTS: Final = frozenset({"config", "summary_metrics"})
_INSTANTS: Final = ("created_at", "heartbeat_at", "updated_at")


def run_source(fields: Iterable[Field]) -> Source:
    """Return what to select runs from, to look at these fields.

    Documents lead if a field lies in one: they carry name and creation time themselves, and `runs` is
    joined only for more.
    """
    wanted = {each.column for each in fields}
    if not wanted & _DOCUMENTS:
        return Source(_COLUMNS, "runs")
    return Source(_LEADING, "run_documents", joined=bool(wanted - {*_DOCUMENTS, *COPIED}))


_COLUMNS: Final = (
    {name: Column("runs", name) for name in RUNS.kinds if name not in _DOCUMENTS}
    | {name: Column("runs", f"{name}_us") for name in _INSTANTS}
    | {name: Column("run_documents", name) for name in _DOCUMENTS}
)
_LEADING: Final = _COLUMNS | {name: Column("run_documents", own) for name, own in COPIED.items()}
