"""JSON in SQL: the one file that knows how SQLite and PostgreSQL differ inside an expression.

`Sql` is SQL text with holes for columns and bound values; everything a user writes goes into a
hole. An engine (`SQLITE`, `POSTGRES`) makes `Value`s, places that hold a JSON value or nothing, and a
`Value` makes the tests that `mirror.query.compile` asks for. A test may be NULL where it means
false; `negate` is the only way to turn one around. `register` installs the functions that SQLite
lacks.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
from sqlalchemy import BindParameter, ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import NULLTYPE, Text

from mirror.jsontext import Type, document, dumps, escape, unescape
from mirror.regex import find, prefix_range

__all__ = [
    "POSTGRES",
    "SQLITE",
    "Condition",
    "Engine",
    "SortColumn",
    "Sql",
    "Value",
    "bind",
    "both",
    "either",
    "index_key",
    "negate",
    "quoted",
    "register",
    "sql",
]

ANY_TYPE: Final = Type(511)
_INT64: Final = range(-(2**63), 2**63)
_SPECIAL: Final = {"NaN": b"\x07", "Infinity": math.inf, "-Infinity": -math.inf}


class Sql(ColumnElement[Any]):
    """SQL text, cut where its parts (columns, bound values) go; nested ones are spliced in.

    `total` says that it is never NULL.
    """

    inherit_cache = True
    _traverse_internals = [  # noqa: RUF012
        ("fragments", InternalTraversal.dp_plain_obj),
        ("parts", InternalTraversal.dp_clauseelement_tuple),
    ]
    type = NULLTYPE

    def __init__(
        self, fragments: tuple[str, ...], parts: tuple[Any, ...], *, total: bool = False
    ) -> None:
        self.fragments = fragments
        self.parts = parts
        self.total = total

    def self_group(self, against: Any = None) -> Sql:
        return Sql(("(", ")"), (self,)) if against is not None else self


Condition = Sql | bool


@compiles(Sql)
def _render(element: Sql, compiler: Any, **kw: Any) -> str:
    process = compiler.process
    pieces = [element.fragments[0]]
    for part, fragment in zip(element.parts, element.fragments[1:], strict=True):
        pieces += process(part, **kw), fragment
    return "".join(pieces)


@functools.cache
def _cut(text: str) -> tuple[list[str], list[str]]:
    pieces = re.split(r"\{(\w+)\}", text)
    return pieces[0::2], pieces[1::2]


def _splice(fragments: Sequence[str], parts: Iterable[Any], *, total: bool = False) -> Sql:
    texts: list[str] = [fragments[0]]
    found: list[Any] = []
    for part, fragment in zip(parts, fragments[1:], strict=True):
        if isinstance(part, Sql):
            texts[-1] += part.fragments[0]
            texts += part.fragments[1:]
            texts[-1] += fragment
            found += part.parts
        else:
            found.append(part)
            texts.append(fragment)
    return Sql(tuple(texts), tuple(found), total=total)


def sql(text: str, **parts: Any) -> Sql:
    """Return `text` with each `{name}` replaced by the part of that name."""
    fragments, names = _cut(text)
    return _splice(fragments, [parts[name] for name in names])


def total(text: str, **parts: Any) -> Sql:
    """Return what `sql` does, of a condition that is never NULL."""
    fragments, names = _cut(text)
    return _splice(fragments, [parts[name] for name in names], total=True)


def bind(value: Any) -> BindParameter[Any]:
    """Return a bound value; the engine infers its type."""
    return BindParameter(None, value, type_=NULLTYPE, unique=True)


def quoted(value: str) -> BindParameter[Any]:
    """Return a text that is written into the SQL as a quoted literal, for what an index must match."""
    return BindParameter(None, value, type_=Text(), unique=True, literal_execute=True)


# ------------------------------------------------------------------ logic

_WIDTH: Final = 16  # SQLite's expression depth grows with the terms of one AND or OR


def both(conditions: Iterable[Condition]) -> Condition:
    """Return the AND of conditions."""
    return _junction(conditions, " AND ", neutral=True)


def either(conditions: Iterable[Condition]) -> Condition:
    """Return the OR of conditions."""
    return _junction(conditions, " OR ", neutral=False)


def _junction(conditions: Iterable[Condition], operator: str, *, neutral: bool) -> Condition:
    found: list[Sql] = []
    for condition in conditions:
        if isinstance(condition, bool):
            if condition is not neutral:
                return condition
        else:
            found.append(condition)
    if not found:
        return neutral
    while len(found) > 1:
        found = [_join(found[i : i + _WIDTH], operator) for i in range(0, len(found), _WIDTH)]
    return found[0]


def _join(conditions: list[Sql], operator: str) -> Sql:
    if len(conditions) == 1:
        return conditions[0]
    fragments = ["(", *[operator] * (len(conditions) - 1), ")"]
    return _splice(fragments, conditions, total=all(c.total for c in conditions))


def negate(condition: Condition) -> Condition:
    """Return a condition that holds exactly where the given one does not, NULL counting as not."""
    if isinstance(condition, bool):
        return not condition
    if condition.total:
        return total("NOT ({c})", c=condition)
    return total("NOT coalesce({c}, FALSE)", c=condition)


@dataclass(frozen=True, slots=True)
class SortColumn:
    """A term of an ORDER BY, NULL last; `json` ones leave and enter the database as JSON text."""

    sql: Any
    descending: bool = False
    nullable: bool = True
    json: bool = False

    def term(self) -> Sql:
        """Return the term. (SQLite uses an index for a descending one only without NULLS LAST.)"""
        direction = "DESC" if self.descending else "ASC"
        if not self.nullable:
            return sql(f"{{c}} {direction}", c=self.sql)
        return sql(f"{{c}} {direction} NULLS LAST", c=self.sql)

    def selected(self) -> Sql:
        """Return what to select so as to go on after a row."""
        return sql("CAST({c} AS text)" if self.json else "{c}", c=self.sql)

    def bound(self, value: Any) -> Any:
        """Return a value that was selected, to compare with the column."""
        return sql("CAST({y} AS jsonb)", y=bind(value)) if self.json else bind(value)


# ------------------------------------------------------------------ what the compiler asks


class Value(Protocol):
    """A place in a row that holds a JSON value or nothing; `types` are those it can have.

    Tests look at the value itself, not at the elements of a list.
    """

    types: Type

    def present(self) -> Condition: ...
    def null(self) -> Condition:
        """Null or missing."""
        ...

    def equals(self, literal: Any) -> Condition: ...
    def among(self, literals: Sequence[Any]) -> Condition: ...
    def compare(self, operator: str, literal: Any) -> Condition: ...
    def contains(self, text: str) -> Condition: ...
    def matches(self, pattern: str, matching: Sequence[str]) -> Condition:
        """Whether RE2 finds the pattern; where SQL has no RE2, `matching` are the strings it finds."""
        ...

    def size(self, length: int) -> Condition: ...
    def is_list(self) -> Condition: ...
    def some_element(self, test: Callable[[Value], Condition]) -> Condition:
        """Whether the test holds for an element, if the value is a list."""
        ...

    def sort_columns(self, *, descending: bool) -> list[SortColumn]:
        """The columns that give the order of values; NaN, then null and missing come last."""
        ...

    def strings(self) -> Sql:
        """The texts of the value and its elements, as a set (for engines without RE2)."""
        ...

    def selected(self) -> list[Sql]:
        """What to select so that `Engine.loaded` can give the value back."""
        ...

    def stretches(self, *, descending: bool) -> list[tuple[Condition, list[SortColumn]]] | None:
        """The order of values as stretches an index gives, or None if there is none."""
        ...


class Engine(Protocol):
    """A SQL dialect, as far as JSON goes."""

    name: str
    has_regex: bool

    def at(self, document: Any, path: tuple[str, ...], types: Type) -> Value:
        """The value under object keys, where no list lies on the way."""
        ...

    def indexed(self, document: Any, path: tuple[str, ...], types: Type) -> Value:
        """The same place as `at`, in the terms of the value index on it."""
        ...

    def indexable(self, path: tuple[str, ...]) -> bool:
        """Whether there can be a value index on a path."""
        ...

    def walk(self, start: Any, path: tuple[str, ...]) -> Walk: ...
    def locate(self, start: Any, path: tuple[str, ...]) -> Value:
        """The value at the end of a path along which lists are followed by position only."""
        ...

    def first(self, values: Sequence[Any]) -> Value:
        """The first of the values that is present."""
        ...

    def loaded(self, *selected: Any) -> Any:
        """The value of what `Value.selected` selected; None for null and missing."""
        ...

    def listed(self, column: Any, literals: Sequence[Any]) -> Sql:
        """Whether a plain column is among literals, bound as one value."""
        ...

    def text_contains(self, column: Any, text: str) -> Sql: ...
    def text_matches(self, column: Any, pattern: str, matching: Sequence[str]) -> Condition: ...


class Walk(Protocol):
    """The rows found at the end of a path that spreads over lists."""

    def some(self, test: Callable[[Value], Condition], *, spread: bool) -> Condition:
        """Whether the test holds for a row; with `spread`, lists at the end give their elements too."""
        ...

    def strings(self) -> Sql:
        """The texts of all rows and their elements, as a set (for engines without RE2)."""
        ...


def is_position(segment: str) -> bool:
    return segment.isascii() and segment.isdigit() and (segment == "0" or segment[0] != "0")


def number(literal: int | float) -> int | float:
    """Return a number as both engines see it: an integer of 64 bits or a double."""
    if isinstance(literal, float) or literal in _INT64:
        return literal
    try:
        return float(literal)
    except OverflowError:
        return math.inf if literal > 0 else -math.inf


def _split(literals: Iterable[Any]) -> tuple[bool, list[bool], list[Any], list[Any]]:
    """Part literals into: is null among them, booleans, numbers and strings, lists and objects."""
    null, booleans, containers = False, set(), []
    scalars: dict[Any, None] = {}
    for literal in literals:
        if literal is None:
            null = True
        elif isinstance(literal, bool):
            booleans.add(literal)
        elif isinstance(literal, list | dict):
            containers.append(literal)
        elif isinstance(literal, str):
            scalars[escape(literal)] = None
        elif math.isfinite(n := number(literal)):
            scalars[n] = None
    return null, sorted(booleans), list(scalars), containers


def _in_range(operator: str, left: Any, right: Any) -> bool:
    if operator == "$gt":
        return bool(left > right)
    if operator == "$gte":
        return bool(left >= right)
    return bool(left < right) if operator == "$lt" else bool(left <= right)


_SIGN: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

# ------------------------------------------------------------------ SQLite
#
# json_extract gives numbers and strings as they are, true and false as 1 and 0, lists and objects as
# their text, null and missing as NULL; so a test looks at json_type where the types seen leave doubt.


class _SqliteValue:
    def __init__(self, type_: Sql, value: Sql, types: Type) -> None:
        self.type = type_
        self.value = value
        self.types = types

    def _sql(self, text: str, **parts: Any) -> Sql:
        return sql(text, t=self.type, x=self.value, **parts)

    def _total(self, text: str, **parts: Any) -> Sql:
        return total(text, t=self.type, x=self.value, **parts)

    def _only(self, condition: Sql, wanted: Type, confusing: Type, names: str) -> Condition:
        """Guard a condition by json_type if types were seen that it would take for its own."""
        if not self.types & wanted:
            return False
        if not self.types & confusing:
            return condition
        return self._sql(f"({{c}} AND {{t}} {names})", c=condition)

    def present(self) -> Condition:
        return self._total("{t} IS NOT NULL")

    def null(self) -> Condition:
        return self._total("{x} IS NULL")

    def equals(self, literal: Any) -> Condition:
        if literal is None:
            return self.null()
        if isinstance(literal, bool):
            return bool(self.types & Type.BOOLEAN) and self._sql(
                f"{{t}} = '{str(literal).lower()}'"
            )
        if isinstance(literal, str):
            return self._text(self._sql("{x} = {y}", y=bind(escape(literal))))
        if isinstance(literal, list | dict):
            wanted, name = (
                (Type.LIST, "array") if isinstance(literal, list) else (Type.OBJECT, "object")
            )
            same = f"({{t}} = '{name}' AND mirror_same({{x}}, {{y}}))"
            return bool(self.types & wanted) and self._sql(same, y=bind(dumps(document(literal))))
        if math.isinf(n := number(literal)):
            return False
        return self._number(self._sql("{x} = {y}", y=bind(n)), Type.BOOLEAN)

    def _text(self, condition: Sql, confusing: Type = Type.OBJECT | Type.LIST) -> Condition:
        return self._only(condition, Type.TEXT, confusing, "= 'text'")

    def _number(self, condition: Sql, confusing: Type) -> Condition:
        return self._only(condition, Type.NUMBER, confusing, "IN ('integer', 'real')")

    def among(self, literals: Sequence[Any]) -> Condition:
        null, booleans, scalars, containers = _split(literals)
        conditions = [self.null()] if null else []
        if scalars:
            listed = sql("{x} IN {list}", x=self.value, list=_sqlite_list(scalars))
            confusing = Type.OBJECT | Type.LIST | Type.BOOLEAN
            names = "IN ('integer', 'real', 'text')"
            conditions.append(self._only(listed, Type.TEXT | Type.NUMBER, confusing, names))
        return either([*conditions, *map(self.equals, booleans), *map(self.equals, containers)])

    def compare(self, operator: str, literal: Any) -> Condition:
        if literal is None:
            return self.null() if operator in ("$gte", "$lte") else False
        if isinstance(literal, bool):
            return either(self.equals(b) for b in (False, True) if _in_range(operator, b, literal))
        sign = _SIGN[operator]
        if isinstance(literal, str):
            condition = self._sql(f"{{x}} {sign} {{y}}", y=bind(escape(literal)))
            return self._text(condition, ~(Type.TEXT | Type.NULL))
        condition = self._sql(f"{{x}} {sign} {{y}}", y=bind(number(literal)))
        return self._number(condition, ~(Type.NUMBER | Type.NULL))

    def contains(self, text: str) -> Condition:
        return self._text(_sqlite_contains(self.value, text), ~(Type.TEXT | Type.NULL))

    def matches(self, pattern: str, matching: Sequence[str]) -> Condition:
        del matching  # mirror_regex looks by itself
        return self._text(_sqlite_matches(self.value, pattern), ~(Type.TEXT | Type.NULL))

    def strings(self) -> Sql:
        raise NotImplementedError("SQLite runs RE2 itself")

    def selected(self) -> list[Sql]:
        return [self.type, self.value]

    def size(self, length: int) -> Condition:
        if not self.types & Type.LIST:
            return False
        return self._sql(
            "({t} = 'array' AND json_array_length(CASE {t} WHEN 'array' THEN {x} ELSE '[]' END) = {n})",
            n=bind(min(length, 2**62)),
        )

    def is_list(self) -> Condition:
        return bool(self.types & Type.LIST) and self._sql("{t} = 'array'")

    def some_element(self, test: Callable[[Value], Condition]) -> Condition:
        if not self.types & Type.LIST:
            return False
        element = _SqliteValue(sql("e.type"), sql("e.value"), ANY_TYPE)
        if (held := test(element)) is False:
            return False
        return self._sql(
            "({t} = 'array' AND EXISTS (SELECT 1 FROM"
            " json_each(CASE {t} WHEN 'array' THEN {x} ELSE '[]' END) AS e WHERE {c}))",
            c=sql("TRUE") if held is True else held,
        )

    def sort_columns(self, *, descending: bool) -> list[SortColumn]:
        if not self.types & ~(Type.NUMBER | Type.NULL):
            return [SortColumn(self.value, descending)]
        rank = self._sql(
            "CASE WHEN {x} IS NULL THEN 2 WHEN {t} = 'text' AND {x} = 'NaN' THEN 1 ELSE 0 END"
        )
        key = _SQLITE_KEY.replace("WHEN 'null' THEN x'06' ", "")  # null ties with missing
        return [SortColumn(rank), SortColumn(self._sql(key), descending)]

    def stretches(self, *, descending: bool) -> list[tuple[Condition, list[SortColumn]]] | None:
        del descending
        return None


# One expression whose order in SQLite is the order of values, and which tells all types apart:
# numbers < strings < blobs for object, list, false, true, null, NaN. Infinities sort with numbers;
# no JSON number is infinite.
_SQLITE_KEY: Final = (
    "CASE {t} WHEN 'text' THEN CASE {x} WHEN 'NaN' THEN x'07' WHEN 'Infinity' THEN 9e999"
    " WHEN '-Infinity' THEN -9e999 ELSE {x} END WHEN 'object' THEN x'02' WHEN 'array' THEN x'03'"
    " WHEN 'false' THEN x'04' WHEN 'true' THEN x'05' WHEN 'null' THEN x'06' ELSE {x} END"
)
_SQLITE_NULL: Final = b"\x06"


class _SqliteIndexed(_SqliteValue):
    """A value in the terms of its index: every test starts with a range of the key."""

    def __init__(self, type_: Sql, value: Sql, types: Type) -> None:
        super().__init__(type_, value, types)
        self.key = sql(_SQLITE_KEY, t=type_, x=value)

    def _sql(self, text: str, **parts: Any) -> Sql:
        return super()._sql(text, k=self.key, **parts)

    def _total(self, text: str, **parts: Any) -> Sql:
        return super()._total(text, k=self.key, **parts)

    def present(self) -> Condition:
        return self._total("{k} IS NOT NULL")

    def null(self) -> Condition:
        missing = self._total("{k} IS NULL")
        if not self.types & Type.NULL:
            return missing
        return either([missing, self._sql("{k} = x'06'")])

    def equals(self, literal: Any) -> Condition:
        if literal is None:
            return self.null()
        if isinstance(literal, bool):
            return self._sql("{k} = x'05'" if literal else "{k} = x'04'")
        if isinstance(literal, str):
            return self._sql("{k} = {y}", y=bind(_SPECIAL.get(literal, escape(literal))))
        if isinstance(literal, list | dict):
            kind = "x'03'" if isinstance(literal, list) else "x'02'"
            text = bind(dumps(document(literal)))
            return self._sql(f"({{k}} = {kind} AND mirror_same({{x}}, {{y}}))", y=text)
        n = number(literal)
        return math.isfinite(n) and self._sql("{k} = {y}", y=bind(n))

    def among(self, literals: Sequence[Any]) -> Condition:
        null, booleans, scalars, containers = _split(literals)
        special = [s for s in scalars if isinstance(s, str) and s in _SPECIAL]
        plain = [s for s in scalars if not (isinstance(s, str) and s in _SPECIAL)]
        conditions = [self.null()] if null else []
        if plain:
            conditions.append(self._sql("{k} IN {list}", list=_sqlite_list(plain)))
        return either([*conditions, *map(self.equals, [*special, *booleans, *containers])])

    def compare(self, operator: str, literal: Any) -> Condition:
        if literal is None or isinstance(literal, bool):
            return super().compare(operator, literal)
        upward, sign = operator in ("$gt", "$gte"), _SIGN[operator]
        if isinstance(literal, str):
            bound = "{k} < x''" if upward else "{k} >= ''"
            condition = self._sql(f"({{k}} {sign} {{y}} AND {bound})", y=bind(escape(literal)))
            inside = [s for s in _SPECIAL if _in_range(operator, s, literal)]
            return either([condition, *map(self.equals, self._seen(inside))])
        bound = "{k} < 9e999" if upward else "{k} > -9e999"
        n = number(literal)
        if math.isinf(n) and _in_range(operator, 0, n):
            return self._sql("({k} > -9e999 AND {k} < 9e999)")
        return math.isfinite(n) and self._sql(f"({{k}} {sign} {{y}} AND {bound})", y=bind(n))

    def _seen(self, special: list[str]) -> list[str]:
        return special if self.types & (Type.NAN | Type.INFINITY | Type.STRING) else []

    def contains(self, text: str) -> Condition:
        inside = [s for s in _SPECIAL if text in s]
        condition = self._sql(
            "({k} >= '' AND {k} < x'' AND {c})", c=_sqlite_contains(self.key, text)
        )
        return either([condition, *map(self.equals, self._seen(inside))])

    def matches(self, pattern: str, matching: Sequence[str]) -> Condition:
        del matching
        inside = [s for s in _SPECIAL if find(pattern, s)]
        low, high = prefix_range(pattern) or ("", b"")
        condition = self._sql(
            "({k} >= {low} AND {k} < {high} AND {c})",
            low=bind(low),
            high=bind(high),
            c=_sqlite_matches(self.key, pattern),
        )
        return either([condition, *map(self.equals, self._seen(inside))])

    def size(self, length: int) -> Condition:
        return both([self._sql("{k} = x'03'"), super().size(length)])

    def is_list(self) -> Condition:
        return self._sql("{k} = x'03'")

    def some_element(self, test: Callable[[Value], Condition]) -> Condition:
        return both([self.is_list(), super().some_element(test)])

    def stretches(self, *, descending: bool) -> list[tuple[Condition, list[SortColumn]]] | None:
        real = self._sql("{k} < x'06'"), [SortColumn(self.key, descending, nullable=False)]
        found: list[tuple[Condition, list[SortColumn]]] = [real]
        if self.types & Type.NAN:
            found.append((self._sql("{k} = x'07'"), []))
        return [*found, (self.null(), [])]


class _SqliteWalk:
    def __init__(self, start: _SqliteValue, path: tuple[str, ...], *, spread: bool = True) -> None:
        self.wheres: list[Sql] = []
        joins = sql("(SELECT 1) AS s")
        type_, value, parent = start.type, start.value, start.type
        for i, segment in enumerate(path):
            parent = type_
            if is_position(segment):
                joins = sql(
                    f"{{joins}} LEFT JOIN json_each(CASE WHEN {{t}} IN ('array', 'object') THEN {{x}}"
                    f" ELSE '[]' END) AS m{i} ON m{i}.key IN ({{position}}, {{key}})",
                    joins=joins, t=type_, x=value, key=bind(segment),
                    position=bind(min(int(segment), 2**62)),
                )  # fmt: skip
            else:
                joins = self._member(i, joins, type_, value, segment, spread=spread)
            type_, value = sql(f"m{i}.type"), sql(f"m{i}.value")
        self.joins = joins
        self.end = _SqliteValue(type_, value, ANY_TYPE)
        # What stands at a position of a list is one row, even if it is itself a list.
        self.is_position = (
            sql("{t} = 'array'", t=parent) if path and is_position(path[-1]) else False
        )

    def _member(
        self, i: int, joins: Sql, type_: Sql, value: Sql, segment: str, *, spread: bool
    ) -> Sql:
        parts = {"joins": joins, "t": type_, "x": value, "key": bind(segment)}
        if not spread:
            return sql(
                f"{{joins}} LEFT JOIN json_each(CASE {{t}} WHEN 'object' THEN {{x}} ELSE '{{}}' END)"
                f" AS m{i} ON m{i}.key = {{key}}",
                **parts,
            )
        # An object is spread as a list of one; a scalar as one object that lacks the key.
        self.wheres.append(sql(f"o{i}.type = 'object'"))
        return sql(
            f"{{joins}} JOIN json_each(CASE {{t}} WHEN 'array' THEN {{x}}"
            f" WHEN 'object' THEN json_array(json({{x}})) ELSE '[{{}}]' END) AS o{i}"
            f" LEFT JOIN json_each(CASE o{i}.type WHEN 'object' THEN o{i}.value ELSE '{{}}' END)"
            f" AS m{i} ON m{i}.key = {{key}}",
            **parts,
        )

    def some(self, test: Callable[[Value], Condition], *, spread: bool) -> Condition:
        held = test(self.end)
        if spread:
            elements = both([negate(self.is_position), self.end.some_element(test)])
            held = either([held, elements])
        held = both([*self.wheres, held])
        if held is False:
            return False
        condition = sql("TRUE") if held is True else held
        return total("EXISTS (SELECT 1 FROM {joins} WHERE {c})", joins=self.joins, c=condition)

    def strings(self) -> Sql:
        raise NotImplementedError("SQLite runs RE2 itself")

    def value(self) -> _SqliteValue:
        """Return the end of a walk that did not spread as a value of the outer row."""
        type_ = sql("(SELECT {t} FROM {joins})", t=self.end.type, joins=self.joins)
        value = sql("(SELECT {x} FROM {joins})", x=self.end.value, joins=self.joins)
        return _SqliteValue(type_, value, ANY_TYPE)


_NOT_IN_A_PATH = re.compile(r'["\\\x00-\x1f]')


def sqlite_path(path: Iterable[str]) -> str:
    """Return object keys as a path for json_extract."""
    return "$" + "".join(f'."{key}"' for key in path)


def _sqlite_list(scalars: list[Any]) -> Sql:
    if len(scalars) <= 8:
        fragments = ["(", *[", "] * (len(scalars) - 1), ")"]
        return _splice(fragments, [bind(s) for s in scalars])
    return sql("(SELECT value FROM json_each({list}))", list=bind(dumps(scalars)))


def _sqlite_contains(value: Any, text: str) -> Sql:
    # In an escaped string a match can begin inside an escape; those strings are looked at again.
    return sql(
        "(instr({x}, {y}) > 0 AND (instr({x}, char(1)) = 0 AND instr({x}, char(57344)) = 0"
        " OR mirror_contains({x}, {y})))",
        x=value,
        y=bind(escape(text)),
    )


def _sqlite_matches(value: Any, pattern: str) -> Sql:
    return sql("mirror_regex({p}, {x})", p=bind(pattern), x=value)


class _Sqlite:
    name = "sqlite"
    has_regex = True

    def at(self, document: Any, path: tuple[str, ...], types: Type) -> _SqliteValue:
        if _NOT_IN_A_PATH.search("".join(path)):
            parent = sql("json_type({d})", d=document), sql("{d}", d=document)
            start = _SqliteValue(*parent, Type.OBJECT)
            found = _SqliteWalk(start, path, spread=False).value()
            return _SqliteValue(found.type, found.value, types)
        return _SqliteValue(*_sqlite_place(document, bind(sqlite_path(path))), types)

    def indexable(self, path: tuple[str, ...]) -> bool:
        return _NOT_IN_A_PATH.search("".join(path)) is None

    def indexed(self, document: Any, path: tuple[str, ...], types: Type) -> _SqliteIndexed:
        return _SqliteIndexed(*_sqlite_place(document, quoted(sqlite_path(path))), types)

    def walk(self, start: Any, path: tuple[str, ...]) -> _SqliteWalk:
        return _SqliteWalk(start, path)

    def locate(self, start: _SqliteValue, path: tuple[str, ...]) -> _SqliteValue:
        return _SqliteWalk(start, path, spread=False).value() if path else start

    def first(self, values: Sequence[_SqliteValue]) -> _SqliteValue:
        *others, result = values
        for value in reversed(others):
            parts = {"t1": value.type, "t2": result.type, "x1": value.value, "x2": result.value}
            type_ = sql("coalesce({t1}, {t2})", **parts)
            chosen = sql("CASE WHEN {t1} IS NULL THEN {x2} ELSE {x1} END", **parts)
            result = _SqliteValue(type_, chosen, value.types | result.types)
        return result

    def loaded(self, *selected: Any) -> Any:
        type_, value = selected
        if type_ in ("true", "false"):
            return type_ == "true"
        return orjson.loads(value) if type_ in ("object", "array") else value

    def listed(self, column: Any, literals: Sequence[Any]) -> Sql:
        return sql("{c} IN {list}", c=column, list=_sqlite_list(list(literals)))

    def text_contains(self, column: Any, text: str) -> Sql:
        return _sqlite_contains(column, text)

    def text_matches(self, column: Any, pattern: str, matching: Sequence[str]) -> Sql:
        del matching
        return _sqlite_matches(column, pattern)


def _sqlite_place(document: Any, path: Any) -> tuple[Sql, Sql]:
    type_ = sql("json_type({d}, {p})", d=document, p=path)
    return type_, sql("json_extract({d}, {p})", d=document, p=path)


# ------------------------------------------------------------------ PostgreSQL
#
# A value is jsonb, NULL where missing. jsonb compares numbers, booleans, lists and objects as filters
# do, but strings by the database's collation, so those are compared as text, COLLATE "C".

_NUMBERS_FROM: Final = (
    "'-1e309'"  # jsonb orders null < strings < numbers < booleans < lists < objects
)
_NUMBERS_TO: Final = "'false'"
_LONG: Final = 1000  # bytes of a string that its index entry keeps


def _jsonb(literal: Any) -> Sql:
    return sql("CAST({y} AS jsonb)", y=bind(_json_text(literal)))


def _json_text(literal: Any) -> str:
    """Write a literal; a whole double within 64 bits exactly, as numeric compares decimals."""
    if isinstance(literal, float) and literal.is_integer() and int(literal) in _INT64:
        return str(int(literal))
    return dumps(document(literal))


class _PostgresValue:
    def __init__(self, value: Sql, types: Type) -> None:
        self.value = value
        self.types = types

    def _sql(self, text: str, **parts: Any) -> Sql:
        return sql(text, v=self.value, **parts)

    def _total(self, text: str, **parts: Any) -> Sql:
        return total(text, v=self.value, **parts)

    def present(self) -> Condition:
        return self._total("{v} IS NOT NULL")

    def null(self) -> Condition:
        if not self.types & Type.NULL:
            return self._total("{v} IS NULL")
        return self._total("coalesce({v}, 'null') = 'null'")

    def _possible(self, literal: Any) -> bool:
        return bool(self.types & _type_of(literal))

    def equals(self, literal: Any) -> Condition:
        if literal is None:
            return self.null()
        return self._possible(literal) and self._sql("{v} = {y}", y=_jsonb(literal))

    def among(self, literals: Sequence[Any]) -> Condition:
        conditions = [self.null()] if any(literal is None for literal in literals) else []
        texts = [_json_text(x) for x in literals if x is not None and self._possible(x)]
        if texts:
            texts = list(dict.fromkeys(texts))
            conditions.append(self._sql("{v} = ANY({list})", list=_jsonb_array(texts)))
        return either(conditions)

    def compare(self, operator: str, literal: Any) -> Condition:
        if literal is None:
            return self.null() if operator in ("$gte", "$lte") else False
        if isinstance(literal, bool):
            inside = [b for b in (False, True) if _in_range(operator, b, literal)]
            return either(self.equals(b) for b in inside)
        if not self._possible(literal):
            return False
        if isinstance(literal, str):
            text = f"({{v}} #>> '{{}}') COLLATE \"C\" {_SIGN[operator]} {{y}}"
            return self._text(self._sql(text, y=bind(escape(literal))))
        return self._number(operator, number(literal))

    def _number(self, operator: str, literal: int | float) -> Condition:
        if math.isinf(literal):
            return _in_range(operator, 0, literal) and self._sql("jsonb_typeof({v}) = 'number'")
        condition = self._sql(f"{{v}} {_SIGN[operator]} {{y}}", y=_jsonb(literal))
        if operator in ("$gt", "$gte"):
            confusing, bound = Type.BOOLEAN | Type.LIST | Type.OBJECT, f"{{v}} < {_NUMBERS_TO}"
        else:
            confusing, bound = ~Type.NUMBER, f"{{v}} > {_NUMBERS_FROM}"
        return both([condition, self._sql(bound)]) if self.types & confusing else condition

    def _text(self, condition: Sql) -> Condition:
        if not self.types & ~(Type.TEXT | Type.NULL):
            return condition
        return self._sql("(jsonb_typeof({v}) = 'string' AND {c})", c=condition)

    def contains(self, text: str) -> Condition:
        held = _postgres_contains(self._sql("({v} #>> '{}')"), text)
        return bool(self.types & Type.TEXT) and self._text(held)

    def matches(self, pattern: str, matching: Sequence[str]) -> Condition:
        del pattern  # it was looked for in the distinct strings
        if not self.types & Type.TEXT or not matching:
            return False
        listed = self._sql("({v} #>> '{}') = ANY({list})", list=_text_array(matching))
        return self._text(listed)

    def strings(self) -> Sql:
        if not self.types & Type.LIST:
            return self._sql("({v} #>> '{}')")
        return self._sql(
            "(jsonb_array_elements(CASE jsonb_typeof({v}) WHEN 'array' THEN {v}"
            " ELSE jsonb_build_array({v}) END) #>> '{}')"
        )

    def selected(self) -> list[Sql]:
        return [self._sql("CAST({v} AS text)")]

    def size(self, length: int) -> Condition:
        if not self.types & Type.LIST:
            return False
        return self._sql(
            "CASE jsonb_typeof({v}) WHEN 'array' THEN jsonb_array_length({v}) = {n} ELSE FALSE END",
            n=bind(min(length, 2**31)),
        )

    def is_list(self) -> Condition:
        return bool(self.types & Type.LIST) and self._sql("jsonb_typeof({v}) = 'array'")

    def some_element(self, test: Callable[[Value], Condition]) -> Condition:
        if not self.types & Type.LIST:
            return False
        held = test(_PostgresValue(sql("e.v"), ANY_TYPE))
        if held is False:
            return False
        return self._sql(
            "(jsonb_typeof({v}) = 'array' AND EXISTS (SELECT 1 FROM jsonb_array_elements("
            "CASE jsonb_typeof({v}) WHEN 'array' THEN {v} ELSE '[]' END) AS e(v) WHERE {c}))",
            c=_true(held),
        )

    def sort_columns(self, *, descending: bool) -> list[SortColumn]:
        simple = not self.types & ~(Type.NUMBER | Type.NULL)
        number = (
            "jsonb_typeof({v}) = 'number'"
            if simple
            else "jsonb_typeof({v}) IN ('number', 'boolean')"
        )
        value = self._sql(f"(CASE WHEN {number} THEN {{v}} END)")
        columns = [SortColumn(value, descending, json=True)]
        if simple:
            return columns
        rank = self._sql(_POSTGRES_RANK[descending])
        text = "(CASE jsonb_typeof({v}) WHEN 'string' THEN {v} #>> '{}' END) COLLATE \"C\""
        return [SortColumn(rank, nullable=False), *columns, SortColumn(self._sql(text), descending)]

    def stretches(self, *, descending: bool) -> list[tuple[Condition, list[SortColumn]]] | None:
        del descending
        return None


def _rank(sign: int) -> str:
    return (
        f"CASE jsonb_typeof({{v}}) WHEN 'number' THEN {sign} WHEN 'string' THEN CASE {{v}} #>> '{{}}'"
        f" WHEN 'NaN' THEN 9 WHEN 'Infinity' THEN {2 * sign} WHEN '-Infinity' THEN 0"
        f" ELSE {3 * sign} END WHEN 'object' THEN {4 * sign} WHEN 'array' THEN {5 * sign}"
        f" WHEN 'boolean' THEN {6 * sign} ELSE 10 END"
    )


_POSTGRES_RANK: Final = {False: _rank(1), True: _rank(-1)}


def _type_of(literal: Any) -> Type:
    if isinstance(literal, bool):
        return Type.BOOLEAN
    if isinstance(literal, int | float):
        return Type.NUMBER
    if isinstance(literal, str):
        return Type.TEXT
    return Type.LIST if isinstance(literal, list) else Type.OBJECT


def _true(condition: Condition) -> Sql:
    return sql("TRUE") if isinstance(condition, bool) else condition


# A btree entry has at most 2,700 bytes: lists and objects are kept as marks, long strings as hashes.
_POSTGRES_KEY: Final = (
    "CASE jsonb_typeof({v}) WHEN 'array' THEN '[0]'::jsonb WHEN 'object' THEN '{}'::jsonb"
    " WHEN 'string' THEN CASE WHEN octet_length({v} #>> '{}') > 1000"
    " THEN CAST('\"' || md5({v} #>> '{}') || '\"' AS jsonb) ELSE {v} END ELSE {v} END"
)


class _PostgresIndexed(_PostgresValue):
    """A value in the terms of its index, for the tests that a range of the key can serve."""

    def __init__(self, value: Sql, types: Type) -> None:
        super().__init__(value, types)
        self.key = sql(f"({_POSTGRES_KEY})", v=value)

    def _sql(self, text: str, **parts: Any) -> Sql:
        return super()._sql(text, k=self.key, **parts)

    def _total(self, text: str, **parts: Any) -> Sql:
        return super()._total(text, k=self.key, **parts)

    def null(self) -> Condition:
        missing = self._total("{k} IS NULL")
        if not self.types & Type.NULL:
            return missing
        return either([missing, self._sql("{k} = 'null'")])

    def equals(self, literal: Any) -> Condition:
        if literal is None:
            return self.null()
        if not self._possible(literal):
            return False
        exact = self._sql("{v} = {y}", y=_jsonb(literal))
        if isinstance(literal, list | dict):
            mark = "{k} = '[0]'" if isinstance(literal, list) else "{k} = '{}'"
            return both([self._sql(mark), exact])
        if isinstance(literal, str) and not _is_short(literal):
            text = escape(literal).encode("utf-8", "surrogatepass")
            digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
            return both([self._sql("{k} = {y}", y=_jsonb(digest)), exact])
        return self._sql("{k} = {y}", y=_jsonb(literal))

    def among(self, literals: Sequence[Any]) -> Condition:
        direct = [x for x in literals if not _is_short(x)]
        texts = [_json_text(x) for x in literals if _is_short(x) and self._possible(x)]
        conditions = [self.equals(x) for x in direct if x is None]
        conditions.append(super().among([x for x in direct if x is not None]))
        if texts:
            texts = list(dict.fromkeys(texts))
            conditions.append(self._sql("{k} = ANY({list})", list=_jsonb_array(texts)))
        return either(conditions)

    def _number(self, operator: str, literal: int | float) -> Condition:
        if math.isinf(literal):
            every = f"({{k}} > {_NUMBERS_FROM} AND {{k}} < {_NUMBERS_TO})"
            return _in_range(operator, 0, literal) and self._sql(every)
        upward = operator in ("$gt", "$gte")
        bound = f"{{k}} < {_NUMBERS_TO}" if upward else f"{{k}} > {_NUMBERS_FROM}"
        text = f"({{k}} {_SIGN[operator]} {{y}} AND {bound})"
        return self._sql(text, y=_jsonb(literal))

    def is_list(self) -> Condition:
        return bool(self.types & Type.LIST) and self._sql("{k} = '[0]'")

    def some_element(self, test: Callable[[Value], Condition]) -> Condition:
        return both([self.is_list(), super().some_element(test)])

    def stretches(self, *, descending: bool) -> list[tuple[Condition, list[SortColumn]]] | None:
        if self.types & ~(Type.NUMBER | Type.NULL | Type.NAN | Type.INFINITY):
            return None
        column = SortColumn(self.key, descending, nullable=False, json=True)
        numbers = self._sql(f"({{k}} > {_NUMBERS_FROM} AND {{k}} < {_NUMBERS_TO})"), [column]
        found: list[tuple[Condition, list[SortColumn]]] = [numbers]
        if self.types & Type.INFINITY:
            ends = [self._sql("{k} = '\"-Infinity\"'"), self._sql("{k} = '\"Infinity\"'")]
            low, high = ends[::-1] if descending else ends
            found = [(low, []), numbers, (high, [])]
        if self.types & Type.NAN:
            found.append((self._sql("{k} = '\"NaN\"'"), []))
        return [*found, (self.null(), [])]


def _is_short(literal: Any) -> bool:
    if isinstance(literal, str):
        return len(escape(literal).encode("utf-8", "surrogatepass")) <= _LONG
    return literal is not None and not isinstance(literal, list | dict)


class _PostgresWalk:
    def __init__(
        self, start: _PostgresValue, path: tuple[str, ...], *, spread: bool = True
    ) -> None:
        # OFFSET 0 keeps the planner from writing each step out inside the next, three times each.
        self.wheres: list[Sql] = []
        joins = sql("(SELECT {v} AS v OFFSET 0) AS s", v=start.value)
        value = parent = sql("s.v")
        for i, segment in enumerate(path):
            parts = {"joins": joins, "v": value, "key": bind(escape(segment))}
            parent = value
            if is_position(segment):
                joins = sql(
                    f"{{joins}} CROSS JOIN LATERAL (SELECT CASE jsonb_typeof({{v}}) WHEN 'array'"
                    f" THEN {{v}} -> CAST({{position}} AS integer) WHEN 'object'"
                    f" THEN {{v}} -> CAST({{key}} AS text) END AS v OFFSET 0) AS m{i}",
                    position=bind(min(int(segment), 2**31 - 1)),
                    **parts,
                )
                value = sql(f"m{i}.v")
            elif not spread:
                joins = sql(
                    f"{{joins}} CROSS JOIN LATERAL (SELECT CASE jsonb_typeof({{v}}) WHEN 'object'"
                    f" THEN {{v}} -> CAST({{key}} AS text) END AS v OFFSET 0) AS m{i}",
                    **parts,
                )
                value = sql(f"m{i}.v")
            else:
                joins = sql(
                    f"{{joins}} CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof({{v}})"
                    f" WHEN 'array' THEN {{v}} WHEN 'object' THEN jsonb_build_array({{v}})"
                    f" ELSE '[{{}}]' END) AS o{i}(v)",
                    **parts,
                )
                self.wheres.append(sql(f"jsonb_typeof(o{i}.v) = 'object'"))
                value = sql(f"(o{i}.v -> CAST({{key}} AS text))", **parts)
        self.joins = joins
        self.end = _PostgresValue(value, ANY_TYPE)
        self.is_position = (
            sql("coalesce(jsonb_typeof({v}) = 'array', FALSE)", v=parent)
            if path and is_position(path[-1])
            else False
        )

    def some(self, test: Callable[[Value], Condition], *, spread: bool) -> Condition:
        held = test(self.end)
        if spread:
            held = either([held, both([negate(self.is_position), self.end.some_element(test)])])
        held = both([*self.wheres, held])
        if held is False:
            return False
        return total("EXISTS (SELECT 1 FROM {joins} WHERE {c})", joins=self.joins, c=_true(held))

    def strings(self) -> Sql:
        elements = sql(
            "CASE jsonb_typeof({v}) WHEN 'array' THEN {v} ELSE jsonb_build_array({v}) END",
            v=self.end.value,
        )
        return sql(
            "(jsonb_array_elements((SELECT jsonb_agg(e.v) FROM {joins} CROSS JOIN LATERAL"
            " jsonb_array_elements({elements}) AS e(v) WHERE {c})) #>> '{}')",
            joins=self.joins,
            elements=elements,
            c=_true(both(self.wheres)),
        )

    def value(self) -> _PostgresValue:
        """Return the end of a walk that did not spread as a value of the outer row."""
        return _PostgresValue(
            sql("(SELECT {v} FROM {joins})", v=self.end.value, joins=self.joins), ANY_TYPE
        )


def _text_array(texts: Sequence[str]) -> Sql:
    return sql("CAST({list} AS text[])", list=bind(list(texts)))


def _jsonb_array(texts: Sequence[str]) -> Sql:
    return sql("CAST(CAST({list} AS text[]) AS jsonb[])", list=bind(list(texts)))


def _postgres_contains(value: Any, text: str) -> Sql:
    # In an escaped string a match can begin inside an escape: those strings are read token by token.
    literal = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", escape(text))
    tokens = "^(?:[^\x01\ue000]|\x01.|\ue000\x02|\ue000\x01....)*?"
    return sql(
        "(strpos({x}, {y}) > 0 AND (strpos({x}, chr(1)) = 0 AND strpos({x}, chr(57344)) = 0"
        " OR {x} ~ {tokens}))",
        x=value,
        y=bind(escape(text)),
        tokens=bind(tokens + literal),
    )


class _Postgres:
    name = "postgresql"
    has_regex = False

    def at(self, document: Any, path: tuple[str, ...], types: Type) -> _PostgresValue:
        if not path:
            return _PostgresValue(sql("{d}", d=document), types)
        if len(path) == 1:
            key = bind(path[0])
            return _PostgresValue(sql("({d} -> CAST({p} AS text))", d=document, p=key), types)
        return _PostgresValue(sql("({d} #> {p})", d=document, p=_text_array(path)), types)

    def indexable(self, path: tuple[str, ...]) -> bool:
        return bool(path)

    def indexed(self, document: Any, path: tuple[str, ...], types: Type) -> _PostgresIndexed:
        keys = [quoted(key) for key in path]
        array = _splice(["ARRAY[", *[", "] * (len(keys) - 1), "]::text[]"], keys)
        return _PostgresIndexed(sql("({d} #> {p})", d=document, p=array), types)

    def walk(self, start: Any, path: tuple[str, ...]) -> _PostgresWalk:
        return _PostgresWalk(start, path)

    def locate(self, start: _PostgresValue, path: tuple[str, ...]) -> _PostgresValue:
        return _PostgresWalk(start, path, spread=False).value() if path else start

    def first(self, values: Sequence[_PostgresValue]) -> _PostgresValue:
        if len(values) == 1:
            return values[0]
        fragments = ["coalesce(", *[", "] * (len(values) - 1), ")"]
        types = functools.reduce(Type.__or__, (value.types for value in values))
        return _PostgresValue(_splice(fragments, [value.value for value in values]), types)

    def loaded(self, *selected: Any) -> Any:
        return None if selected[0] is None else orjson.loads(selected[0])

    def listed(self, column: Any, literals: Sequence[Any]) -> Sql:
        return sql("{c} = ANY({list})", c=column, list=bind(list(literals)))

    def text_contains(self, column: Any, text: str) -> Sql:
        return _postgres_contains(column, text)

    def text_matches(self, column: Any, pattern: str, matching: Sequence[str]) -> Condition:
        del pattern
        return bool(matching) and sql("{c} = ANY({list})", c=column, list=_text_array(matching))


SQLITE: Final[Engine] = _Sqlite()
POSTGRES: Final[Engine] = _Postgres()


def index_key(engine: Engine, column: str, path: tuple[str, ...]) -> Sql:
    """Return the expression that a value index on a path of `run_documents` carries."""
    indexed: Any = engine.indexed(sql(column), path, ANY_TYPE)
    key: Sql = indexed.key
    return key


# ------------------------------------------------------------------ functions for SQLite


def register(connection: sqlite3.Connection) -> None:
    """Install on a SQLite connection the functions that compiled filters call."""
    for name, function in (
        ("mirror_regex", _regex_function),
        ("mirror_contains", _contains_function),
        ("mirror_same", _same_function),
    ):
        connection.create_function(name, 2, function, deterministic=True)


def _regex_function(pattern: str, text: Any) -> bool:
    return isinstance(text, str) and find(pattern, text)


def _contains_function(text: Any, part: str) -> bool:
    return isinstance(text, str) and unescape(part) in unescape(text)


@functools.lru_cache(maxsize=64)
def _loaded(text: str) -> Any:
    return orjson.loads(text)


def _same_function(text: Any, literal: str) -> bool:
    # SQLite may ask before it has looked at the type: then the text need not be JSON.
    try:
        return isinstance(text, str) and same(orjson.loads(text), _loaded(literal))
    except orjson.JSONDecodeError:
        return False


def same(left: Any, right: Any) -> bool:
    """Say whether two JSON values are equal: `1` is `1.0` but not `true`; key order is ignored."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)
