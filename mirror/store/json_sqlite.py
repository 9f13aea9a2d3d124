"""JSON on SQLite 3.38 and newer: json_type, json_extract and json_each, and the functions it lacks.

json_extract gives numbers and strings as they are, true and false as 1 and 0, lists and objects as
their text, null and missing as NULL; so a test looks at json_type too where the types seen leave
doubt. A path cannot name a key with a quote, a backslash or a control character: json_each does.
"""

from __future__ import annotations

import functools
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import orjson

from mirror.jsontext import Type, document, dumps, escape, unescape
from mirror.regex import find, prefix_range, required_literal
from mirror.store.json_value import (
    ANY_TYPE,
    SIGN,
    Value,
    as_sql,
    in_range,
    is_position,
    number,
    split,
)
from mirror.store.sql import (
    Condition,
    SortColumn,
    Sql,
    bind,
    both,
    either,
    listing,
    negate,
    quoted,
    sql,
    total,
)

__all__ = ["Sqlite", "register"]

_SPECIAL: Final = {"NaN": b"\x07", "Infinity": math.inf, "-Infinity": -math.inf}


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
        null, booleans, scalars, containers = split(literals)
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
            return either(self.equals(b) for b in (False, True) if in_range(operator, b, literal))
        sign = SIGN[operator]
        if isinstance(literal, str):
            condition = self._sql(f"{{x}} {sign} {{y}}", y=bind(escape(literal)))
            return self._text(condition, ~(Type.TEXT | Type.NULL))
        condition = self._sql(f"{{x}} {sign} {{y}}", y=bind(number(literal)))
        return self._number(condition, ~(Type.NUMBER | Type.NULL))

    def contains(self, text: str) -> Condition:
        return self._text(_sqlite_contains(self.value, text), ~(Type.TEXT | Type.NULL))

    def starts(self, text: str) -> Condition:
        return self._text(_sqlite_starts(self.value, text), ~(Type.TEXT | Type.NULL))

    def matches(self, pattern: str, matching: Sequence[str]) -> Condition:
        del matching  # mirror_regex looks by itself
        return self._text(_sqlite_matches(self.value, pattern), ~(Type.TEXT | Type.NULL))

    def strings(self) -> Sql:
        raise NotImplementedError("SQLite runs RE2 itself")

    def selected(self) -> list[Sql]:
        # Without these the value alone tells its type.
        confusing = self.types & (Type.BOOLEAN | Type.OBJECT | Type.LIST)
        return [self.value, self.type] if confusing else [self.value]

    def size(self, length: int) -> Condition:
        if not self.types & Type.LIST:
            return False
        return self._sql(
            "({t} = 'array' AND json_array_length(CASE {t} WHEN 'array' THEN {x} ELSE '[]' END) = {n})",
            n=bind(min(length, 2**62)),
        )

    def is_list(self) -> Condition:
        return bool(self.types & Type.LIST) and self._sql("{t} = 'array'")

    def some_element(
        self, test: Callable[[Value], Condition], among: Sequence[Any] | None = None
    ) -> Condition:
        if not self.types & Type.LIST:
            return False
        held = test(_SqliteValue(sql("e.type"), sql("e.value"), ANY_TYPE))
        if held is False:
            return False
        some = self._sql(
            "EXISTS (SELECT 1 FROM"
            " json_each(CASE {t} WHEN 'array' THEN {x} ELSE '[]' END) AS e WHERE {c})",
            c=as_sql(held),
        )
        return both([_holds_some(self.value, among), self.is_list(), some])  # cheapest first

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
        null, booleans, scalars, containers = split(literals)
        special = [s for s in scalars if isinstance(s, str) and s in _SPECIAL]
        plain = [s for s in scalars if not (isinstance(s, str) and s in _SPECIAL)]
        conditions = [self.null()] if null else []
        if plain:
            conditions.append(self._sql("{k} IN {list}", list=_sqlite_list(plain)))
        return either([*conditions, *map(self.equals, [*special, *booleans, *containers])])

    def compare(self, operator: str, literal: Any) -> Condition:
        if literal is None or isinstance(literal, bool):
            return super().compare(operator, literal)
        upward, sign = operator in ("$gt", "$gte"), SIGN[operator]
        if isinstance(literal, str):
            bound = "{k} < x''" if upward else "{k} >= ''"
            condition = self._sql(f"({{k}} {sign} {{y}} AND {bound})", y=bind(escape(literal)))
            inside = [s for s in _SPECIAL if in_range(operator, s, literal)]
            return either([condition, *map(self.equals, self._seen(inside))])
        bound = "{k} < 9e999" if upward else "{k} > -9e999"
        n = number(literal)
        if math.isinf(n) and in_range(operator, 0, n):
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

    def starts(self, text: str) -> Condition:
        inside = [s for s in _SPECIAL if s.startswith(text)]
        return either([_sqlite_starts(self.key, text), *map(self.equals, self._seen(inside))])

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

    def some_element(
        self, test: Callable[[Value], Condition], among: Sequence[Any] | None = None
    ) -> Condition:
        return both([self.is_list(), super().some_element(test, among)])

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
        condition = as_sql(held)
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
        return sql("({list})", list=listing([bind(s) for s in scalars]))
    return sql("(SELECT value FROM json_each({list}))", list=bind(dumps(scalars)))


def _sqlite_contains(value: Any, text: str) -> Sql:
    # In an escaped string a match can begin inside an escape; those strings are looked at again.
    return sql(
        "(instr({x}, {y}) > 0 AND (instr({x}, char(1)) = 0 AND instr({x}, char(57344)) = 0"
        " OR mirror_contains({x}, {y})))",
        x=value,
        y=bind(escape(text)),
    )


def _sqlite_starts(value: Any, text: str) -> Sql:
    after = text[:-1] + chr(ord(text[-1]) + 1)
    return sql("({x} >= {low} AND {x} < {high})", x=value, low=bind(text), high=bind(after))


def _sqlite_matches(value: Any, pattern: str) -> Sql:
    # Calling Python costs microseconds a string: what cannot match is left out in SQL.
    call = sql("mirror_regex({p}, {x})", p=bind(pattern), x=value)
    if bounds := prefix_range(pattern):
        text = "({x} >= {low} AND {x} < {high} AND {call})"
        return sql(text, x=value, low=bind(bounds[0]), high=bind(bounds[1]), call=call)
    if literal := required_literal(pattern):
        text = "(instr({x}, {literal}) > 0 AND {call})"
        return sql(text, x=value, literal=bind(escape(literal)), call=call)
    return call


_PLAIN: Final = re.compile(r"[A-Za-z0-9 _.:/-]+")


def _holds_some(value: Any, literals: Sequence[Any] | None) -> Condition:
    """Return a cheap condition that a list must meet to hold one of some strings, or True."""
    if literals is None or len(literals) > 8:
        return True
    if not all(isinstance(x, str) and _PLAIN.fullmatch(x) for x in literals):
        return True
    return either(sql("instr({x}, {y}) > 0", x=value, y=bind(f'"{x}"')) for x in literals)


class Sqlite:
    """The engine."""

    name = "sqlite"
    has_regex = True
    reads_keys = True  # the key is taken from the index, the document is not read

    def at(self, document: Any, path: tuple[str, ...], types: Type) -> _SqliteValue:
        if not path:  # the text is the value: nothing to extract
            return _SqliteValue(sql("json_type({d})", d=document), sql("{d}", d=document), types)
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
        value, type_ = (*selected, None)[:2]
        if type_ in ("true", "false"):
            return type_ == "true"
        return orjson.loads(value) if type_ in ("object", "array") else value

    def listed(self, column: Any, literals: Sequence[Any]) -> Sql:
        return sql("{c} IN {list}", c=column, list=_sqlite_list(list(literals)))

    def text_contains(self, column: Any, text: str) -> Sql:
        return _sqlite_contains(column, text)

    def text_starts(self, column: Any, text: str) -> Sql:
        return _sqlite_starts(column, text)

    def text_matches(self, column: Any, pattern: str, matching: Sequence[str]) -> Sql:
        del matching
        return _sqlite_matches(column, pattern)


def _sqlite_place(document: Any, path: Any) -> tuple[Sql, Sql]:
    type_ = sql("json_type({d}, {p})", d=document, p=path)
    return type_, sql("json_extract({d}, {p})", d=document, p=path)


# ------------------------------------------------------------------ functions


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
