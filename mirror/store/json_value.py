"""What the query compiler asks of JSON in a database, engine by engine, and what literals are to both.

An `Engine` makes `Value`s, places in a row that hold a JSON value or nothing; a `Value` makes tests. The
two engines are in `json_sqlite` and `json_postgresql`; `mirror.store.json` is the door.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from mirror.jsontext import Type, escape
from mirror.store.sql import Condition, SortColumn, Sql, sql

__all__ = [
    "ANY_TYPE",
    "INT64",
    "SIGN",
    "Engine",
    "Value",
    "Walk",
    "as_sql",
    "in_range",
    "is_beyond",
    "is_position",
    "number",
    "split",
    "type_of",
]

ANY_TYPE: Final = Type(511)
INT64: Final = range(-(2**63), 2**63)


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
    def starts(self, text: str) -> Condition:
        """Whether it is a string that starts with a text, which ends in an ASCII character."""
        ...

    def matches(self, pattern: str, matching: Sequence[str]) -> Condition:
        """Whether RE2 finds the pattern; where SQL has no RE2, `matching` are the strings it finds."""
        ...

    def size(self, length: int) -> Condition: ...
    def is_list(self) -> Condition: ...
    def some_element(
        self, test: Callable[[Value], Condition], among: Sequence[Any] | None = None
    ) -> Condition:
        """Whether the test holds for an element, if the value is a list; `among` says that the test is
        equality with one of some literals."""
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
    reads_keys: bool
    """Whether a test in the terms of an index is cheaper even where no range of it can serve."""

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
    def text_starts(self, column: Any, text: str) -> Sql: ...
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
    """Say whether a segment can be a position in a list: `0`, `12`, not `00`."""
    return segment.isascii() and segment.isdigit() and (segment == "0" or segment[0] != "0")


def number(literal: int | float) -> int | float:
    """Return a number as both engines see it: an integer of 64 bits or a double."""
    if isinstance(literal, float) or literal in INT64:
        return literal
    try:
        return float(literal)
    except OverflowError:
        return math.inf if literal > 0 else -math.inf


def is_beyond(literal: Any) -> bool:
    """Say whether a literal is an integer that no double comes near, so that no value equals it."""
    return type(literal) is int and math.isinf(number(literal))


def split(literals: Iterable[Any]) -> tuple[bool, list[bool], list[Any], list[Any]]:
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


def in_range(operator: str, left: Any, right: Any) -> bool:
    """Compare two numbers or two strings."""
    if operator == "$gt":
        return bool(left > right)
    if operator == "$gte":
        return bool(left >= right)
    return bool(left < right) if operator == "$lt" else bool(left <= right)


SIGN: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def type_of(literal: Any) -> Type:
    """Return the types a literal that is not null can equal."""
    if isinstance(literal, bool):
        return Type.BOOLEAN
    if isinstance(literal, int | float):
        return Type.NUMBER
    if isinstance(literal, str):
        return Type.TEXT
    return Type.LIST if isinstance(literal, list) else Type.OBJECT


def as_sql(condition: Condition) -> Sql:
    """Return a condition as SQL, one that is known too."""
    if isinstance(condition, bool):
        return sql("TRUE" if condition else "FALSE")
    return condition
