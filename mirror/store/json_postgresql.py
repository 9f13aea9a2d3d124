"""JSON on PostgreSQL 14 and newer: jsonb, NULL where a value is missing.

jsonb compares numbers, booleans, lists and objects as filters do, but strings by the collation of the
database, so those are compared as text, COLLATE "C". RE2 is not there: a `$regex` is looked for in the
distinct strings beforehand, and the test is whether a value is among those found.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from mirror.jsontext import Type, document, dumps, escape, unescape
from mirror.store.json_value import (
    ANY_TYPE,
    SIGN,
    Value,
    as_sql,
    in_range,
    is_beyond,
    is_position,
    number,
    type_of,
)
from mirror.store.sql import (
    Condition,
    SortColumn,
    Sql,
    bind,
    both,
    either,
    negate,
    quoted,
    splice,
    sql,
    total,
)

__all__ = ["Postgres"]

_NUMBERS_FROM: Final = (
    "'-1e309'"  # jsonb orders null < strings < numbers < booleans < lists < objects
)
_NUMBERS_TO: Final = "'false'"
_LONG: Final = 1000  # bytes of a string that its index entry keeps


def _jsonb(literal: Any) -> Sql:
    return sql("CAST({y} AS jsonb)", y=bind(_json_text(literal)))


def _json_text(literal: Any) -> str:
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
        return bool(self.types & type_of(literal))

    def _can_equal(self, literal: Any) -> bool:
        return self._possible(literal) and not is_beyond(literal)

    def equals(self, literal: Any) -> Condition:
        if literal is None:
            return self.null()
        return self._can_equal(literal) and self._sql("{v} = {y}", y=_jsonb(literal))

    def among(self, literals: Sequence[Any]) -> Condition:
        conditions = [self.null()] if any(literal is None for literal in literals) else []
        texts = [_json_text(x) for x in literals if x is not None and self._can_equal(x)]
        if texts:
            texts = list(dict.fromkeys(texts))
            conditions.append(self._sql("{v} = ANY({list})", list=_jsonb_array(texts)))
        return either(conditions)

    def compare(self, operator: str, literal: Any) -> Condition:
        if literal is None:
            return self.null() if operator in ("$gte", "$lte") else False
        if isinstance(literal, bool):
            inside = [b for b in (False, True) if in_range(operator, b, literal)]
            return either(self.equals(b) for b in inside)
        if not self._possible(literal):
            return False
        if isinstance(literal, str):
            text = f"({{v}} #>> '{{}}') COLLATE \"C\" {SIGN[operator]} {{y}}"
            return self._text(self._sql(text, y=bind(escape(literal))))
        return self._number(operator, number(literal))

    def _number(self, operator: str, literal: int | float) -> Condition:
        if math.isinf(literal):
            return in_range(operator, 0, literal) and self._sql("jsonb_typeof({v}) = 'number'")
        condition = self._sql(f"{{v}} {SIGN[operator]} {{y}}", y=_jsonb(literal))
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

    def starts(self, text: str) -> Condition:
        held = self._sql("starts_with({v} #>> '{}', {y})", y=bind(text))
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

    def some_element(
        self, test: Callable[[Value], Condition], among: Sequence[Any] | None = None
    ) -> Condition:
        if not self.types & Type.LIST:
            return False
        if (
            among is not None
            and len(among) <= 8
            and not any(isinstance(x, list | dict) for x in among)
        ):
            # Of plain values, containment is equality with an element.
            finite = (x for x in among if not is_beyond(x))
            return either(self._sql("{v} @> {y}", y=_jsonb([x])) for x in finite)
        held = test(_PostgresValue(sql("e.v"), ANY_TYPE))
        if held is False:
            return False
        return self._sql(
            "(jsonb_typeof({v}) = 'array' AND EXISTS (SELECT 1 FROM jsonb_array_elements("
            "CASE jsonb_typeof({v}) WHEN 'array' THEN {v} ELSE '[]' END) AS e(v) WHERE {c}))",
            c=as_sql(held),
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
        if not self._can_equal(literal):
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
        texts = [_json_text(x) for x in literals if _is_short(x) and self._can_equal(x)]
        conditions = [self.equals(x) for x in direct if x is None]
        conditions.append(super().among([x for x in direct if x is not None]))
        if texts:
            texts = list(dict.fromkeys(texts))
            conditions.append(self._sql("{k} = ANY({list})", list=_jsonb_array(texts)))
        return either(conditions)

    def matches(self, pattern: str, matching: Sequence[str]) -> Condition:
        del pattern
        return self.among([unescape(text) for text in matching])

    def _number(self, operator: str, literal: int | float) -> Condition:
        if math.isinf(literal):
            every = f"({{k}} > {_NUMBERS_FROM} AND {{k}} < {_NUMBERS_TO})"
            return in_range(operator, 0, literal) and self._sql(every)
        # What a scan costs grows with each time the key is made: the value bounds the range as well,
        # but for the empty list, which jsonb puts before everything.
        end = "k" if self.types & Type.LIST else "v"
        condition = self._sql(f"{{k}} {SIGN[operator]} {{y}}", y=_jsonb(literal))
        if operator in ("$gt", "$gte"):
            confusing, bound = Type.BOOLEAN | Type.LIST | Type.OBJECT, f"{{{end}}} < {_NUMBERS_TO}"
        else:
            confusing, bound = ~Type.NUMBER, f"{{{end}}} > {_NUMBERS_FROM}"
        return both([condition, self._sql(bound)]) if self.types & confusing else condition

    def is_list(self) -> Condition:
        return bool(self.types & Type.LIST) and self._sql("{k} = '[0]'")

    def some_element(
        self, test: Callable[[Value], Condition], among: Sequence[Any] | None = None
    ) -> Condition:
        return both([self.is_list(), super().some_element(test, among)])

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
            parts = {"joins": joins, "v": value, "key": bind(segment)}
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
        return total("EXISTS (SELECT 1 FROM {joins} WHERE {c})", joins=self.joins, c=as_sql(held))

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
            c=as_sql(both(self.wheres)),
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


class Postgres:
    """The engine."""

    name = "postgresql"
    has_regex = False
    reads_keys = False

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
        array = splice(["ARRAY[", *[", "] * (len(keys) - 1), "]::text[]"], keys)
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
        return _PostgresValue(splice(fragments, [value.value for value in values]), types)

    def loaded(self, *selected: Any) -> Any:
        return None if selected[0] is None else orjson.loads(selected[0])

    def listed(self, column: Any, literals: Sequence[Any]) -> Sql:
        return sql("{c} = ANY({list})", c=column, list=bind(list(literals)))

    def text_contains(self, column: Any, text: str) -> Sql:
        return _postgres_contains(column, text)

    def text_starts(self, column: Any, text: str) -> Sql:
        return sql("starts_with({c}, {y})", c=column, y=bind(text))

    def text_matches(self, column: Any, pattern: str, matching: Sequence[str]) -> Condition:
        del pattern
        return bool(matching) and sql("{c} = ANY({list})", c=column, list=_text_array(matching))
