"""From what a user wrote to a tree: filters and order strings, and all their validation.

`parse_filters` and `parse_order` are called by `mirror.reads`; every mistake is a QueryError that
names the place. No SQL and no store here; the meaning is the one of docs/filters.md.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import re2

from mirror import instants
from mirror.errors import QueryError
from mirror.query.fields import RUNS, FieldTable, resolve
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
)
from mirror.regex import compile_pattern

__all__ = ["parse_filters", "parse_order"]

MAX_DEPTH: Final = 100  # containers inside one another; keeps clear of SQLite's expression depth
MAX_PATTERN: Final = 4096  # characters
_LOGICAL: Final = ("$and", "$or", "$nor")
_UNSUPPORTED: Final = frozenset(
    [
        "$elemMatch",
        "$type",
        "$mod",
        "$where",
        "$expr",
        "$text",
        "$jsonSchema",
        "$comment",
        "$geoWithin",
        "$geoIntersects",
        "$near",
        "$nearSphere",
        "$bitsAllSet",
        "$bitsAnySet",
        "$bitsAllClear",
        "$bitsAnyClear",
        "$search",
        "$rand",
        "$sort",
    ]
)

Filters = Mapping[str, Any] | str | None


def parse_filters(filters: Filters, table: FieldTable = RUNS) -> Node:
    """Read a filter, given as a dict or as JSON text; None and `{}` match everything.

    Raises QueryError.
    """
    if filters is None:
        return Constant(True)
    if isinstance(filters, str):
        filters = _from_text(filters)
        if filters is None:
            return Constant(True)
    _check_depth(filters)
    return _Parser(table).query(filters, "")


def parse_order(
    order: str | Sequence[str] | None, table: FieldTable = RUNS
) -> tuple[OrderKey, ...]:
    r"""Read an order such as `-summary_metrics.acc,+created_at`; None and "" are `+created_at`.

    A list holds one key a string; in a string `\,` is a literal comma. Raises QueryError.
    """
    if order is None or order == "":
        order = "+created_at"
    if isinstance(order, str):
        keys = [key.replace("\\,", ",") for key in re.split(r"(?<!\\),", order)]
    elif isinstance(order, list | tuple) and order and all(isinstance(k, str) for k in order):
        keys = list(order)
    else:
        raise QueryError("order", f"expected a string such as '-created_at', not {order!r}")
    return tuple(_order_key(key, order, table) for key in keys)


def _order_key(key: str, order: Any, table: FieldTable) -> OrderKey:
    text = key.strip()
    sign, name = (text[0], text[1:]) if text[:1] in ("+", "-") else ("+", text)
    if not name or name[0] in "+- ":
        raise QueryError(
            "order", f"{key!r} in {order!r} is not a key", "write '+field' or '-field'"
        )
    field = resolve(name, table, "order")
    if field.kind is Kind.DOCUMENT and not field.path:
        raise QueryError(
            "order", f"cannot order by the whole of {name!r}", f"name a key: '{name}.…'"
        )
    return OrderKey(field, sign == "-")


# ------------------------------------------------------------------ the text, its depth


def _from_text(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise QueryError("", f"not JSON at {where}: {error.msg}") from None
    except RecursionError:
        raise QueryError("", f"nested deeper than {MAX_DEPTH}") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # json keeps the last one: a condition would be lost
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise QueryError("", f"key {twice!r} is written twice in one object", "use $and")
    return found


def _check_depth(filters: Any) -> None:
    stack = [(filters, 1)]
    while stack:
        value, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise QueryError("", f"nested deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            stack.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list | tuple):
            if depth == MAX_DEPTH and value:
                raise QueryError("", f"nested deeper than {MAX_DEPTH}")
            stack.extend((v, depth + 1) for v in value if isinstance(v, dict | list | tuple))


# ------------------------------------------------------------------ literals


def _literal(value: Any, place: str) -> Any:
    """Return a JSON value as plain Python, non-finite numbers as W&B's strings."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, numbers.Integral):  # numpy's too
        return int(value)
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise QueryError(place, f"keys must be strings, not {key!r}")
        return {key: _literal(item, place) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(item, place) for item in value]
    if isinstance(value, numbers.Real):
        number = float(value)
        if math.isfinite(number):
            return number
        return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"
    if isinstance(value, dt.date):
        raise QueryError(place, "date objects are only for date fields", "write an ISO 8601 string")
    raise QueryError(place, f"not a JSON value: {value!r}")


def _instant(value: Any, place: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, dt.date):
        value = value.isoformat()
    if not isinstance(value, str):
        hint = "write an ISO 8601 string such as '2024-03-04T12:00:00Z'"
        raise QueryError(place, f"expected a date, not {value!r}", hint)
    try:
        return instants.parse(value)
    except ValueError as error:
        raise QueryError(place, f"not a date: {error}") from None


# ------------------------------------------------------------------ queries


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _all(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else And(tuple(nodes))


def _combine(operator: str, nodes: list[Node]) -> Node:
    if operator == "$and":
        return And(tuple(nodes)) if nodes else Constant(True)
    some = Or(tuple(nodes)) if nodes else Constant(False)
    return some if operator == "$or" else Not(some)


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise QueryError(place, f"expected a list, not {_short(value)}")
    return list(value)


def _is_operators(value: Any, place: str) -> bool:
    """Say whether a value is an object of operators; one that mixes them with keys is an error."""
    if not isinstance(value, dict):
        return False
    dollars = [key for key in value if isinstance(key, str) and key.startswith("$")]
    if dollars and len(dollars) != len(value):
        plain = next(key for key in value if key not in dollars)
        hint = f"write {{'$eq': …}} if {dollars[0]!r} is a key of the value"
        raise QueryError(place, f"operator {dollars[0]!r} stands beside the key {plain!r}", hint)
    return bool(dollars)


class _Parser:
    """One pass over a filter; methods return nodes."""

    def __init__(self, table: FieldTable) -> None:
        self.table = table

    def query(self, value: Any, place: str) -> Node:
        if not isinstance(value, dict):
            raise QueryError(place, f"expected an object, not {_short(value)}")
        nodes: list[Node] = []
        seen: dict[str, str] = {}
        for key, item in value.items():
            at = _join(place, key) if isinstance(key, str) else place
            if not isinstance(key, str):
                raise QueryError(at, f"field names are strings, not {key!r}")
            if key in _LOGICAL:
                parts = [self.query(x, f"{at}[{i}]") for i, x in enumerate(_list(item, at))]
                nodes.append(_combine(key, parts))
            elif key == "$not":
                nodes.append(Not(self.query(item, at)))
            elif key.startswith("$"):
                raise _bad_operator(key, at, top=True)
            else:
                field = resolve(key, self.table, at)
                self._note_spelling(field, key, at, seen)
                nodes.append(self.condition(field, item, at))
        return _all(nodes) if nodes else Constant(True)

    def _note_spelling(self, field: Field, key: str, place: str, seen: dict[str, str]) -> None:
        if not self.table.one_spelling:
            return
        other = seen.setdefault(str(field), key)
        if other != key:
            raise QueryError(
                place, f"{key!r} and {other!r} are the same field", "write one of them"
            )

    def condition(self, field: Field, value: Any, place: str) -> Node:
        if _is_operators(value, place):
            return self.operators(field, value, place)
        return Compare("$eq", field, operand(field, value, place))

    def operators(self, field: Field, value: dict[str, Any], place: str) -> Node:
        nodes: list[Node] = []
        for key, item in value.items():
            at = _join(place, key)
            if key in _LOGICAL:
                parts = [self.inner(field, x, f"{at}[{i}]") for i, x in enumerate(_list(item, at))]
                nodes.append(_combine(key, parts))
            elif key == "$not":
                nodes.append(Not(self.inner(field, item, at)))
            elif key in OPERATORS:
                nodes.append(OPERATORS[key](field, item, at, value))
            else:
                raise _bad_operator(key, at)
        return _all(nodes)

    def inner(self, field: Field, value: Any, place: str) -> Node:
        if not _is_operators(value, place):
            raise QueryError(place, f"expected an object of operators, not {_short(value)}")
        return self.operators(field, value, place)


def _bad_operator(key: str, place: str, *, top: bool = False) -> QueryError:
    known = ", ".join(sorted({*OPERATORS, *_LOGICAL, "$not"}))
    if key in _UNSUPPORTED:
        return QueryError(place, f"operator {key!r} is not supported", f"there are {known}")
    if top and key in OPERATORS:
        return QueryError(
            place, f"{key!r} stands without a field", f"write {{field: {{{key!r}: …}}}}"
        )
    return QueryError(place, f"unknown operator {key!r}", f"there are {known}")


# ------------------------------------------------------------------ operators of a field


def operand(field: Field, value: Any, place: str) -> Any:
    """Return a literal to compare for equality with the field."""
    if field.kind is Kind.INSTANT:
        return _instant(value, place)
    return _literal(value, place)


def _eq(field: Field, value: Any, place: str, _: dict[str, Any]) -> Node:
    return Compare("$eq", field, operand(field, value, place))


def _literals(field: Field, value: Any, place: str) -> tuple[Any, ...]:
    found = []
    for i, item in enumerate(_list(value, place)):
        at = f"{place}[{i}]" if isinstance(item, dict) or field.kind is Kind.INSTANT else place
        if isinstance(item, dict) and any(str(key).startswith("$") for key in item):
            hint = "a list holds literals; use $or with $regex" if "$regex" in item else None
            raise QueryError(
                at, f"operators are not allowed in a list of values: {_short(item)}", hint
            )
        found.append(operand(field, item, at))
    return tuple(found)


def _in(field: Field, value: Any, place: str, _: dict[str, Any]) -> Node:
    return In(field, _literals(field, value, place))


def _all_of(field: Field, value: Any, place: str, _: dict[str, Any]) -> Node:
    values = _literals(field, value, place)
    return _all([Compare("$eq", field, v) for v in values]) if values else Constant(False)


def _range(operator: str, field: Field, value: Any, place: str, _: dict[str, Any]) -> Node:
    if field.kind is Kind.INSTANT:
        return Compare(operator, field, _instant(value, place))
    if isinstance(value, float) and not math.isfinite(value):
        if value != value:
            raise QueryError(place, "NaN has no order")
        return Compare(operator, field, float(value))
    if isinstance(value, list | tuple | dict | dt.date):
        raise QueryError(place, f"expected a number, string, boolean or null, not {_short(value)}")
    return Compare(operator, field, _literal(value, place))


def _exists(field: Field, value: Any, place: str, _: dict[str, Any]) -> Node:
    if not (value is True or value is False or (type(value) is int and value in (0, 1))):
        raise QueryError(place, f"expected true or false, not {_short(value)}")
    return Exists(field) if value else Not(Exists(field))


def _regex(field: Field, value: Any, place: str, beside: dict[str, Any]) -> Node:
    options = beside.get("$options", "")
    if not isinstance(value, str):
        raise QueryError(place, f"expected a pattern, not {_short(value)}")
    if not isinstance(options, str) or set(options) - set("ims"):
        raise QueryError(place, f"$options may hold the letters i, m and s, not {_short(options)}")
    if field.kind is Kind.INSTANT:
        raise QueryError(place, "$regex does not work on dates", "use $gte and $lt")
    if len(value) > MAX_PATTERN:
        raise QueryError(place, f"a pattern has at most {MAX_PATTERN} characters, not {len(value)}")
    flags = "".join(sorted(set(options)))
    pattern = f"(?{flags}){value}" if flags else value
    try:
        compile_pattern(pattern)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        hint = "the dialect is RE2: no look-around, no back-references, repetition up to 1000"
        raise QueryError(place, f"bad pattern {_short(value)}: {reason}", hint) from None
    except UnicodeEncodeError:
        raise QueryError(place, f"pattern {_short(value)} is not valid Unicode") from None
    return Match(field, pattern)


def _options(_: Field, __: Any, place: str, beside: dict[str, Any]) -> Node:
    if "$regex" not in beside:
        raise QueryError(place, "$options stands without $regex")
    return Constant(True)


def _contains(field: Field, value: Any, place: str, _: dict[str, Any]) -> Node:
    if not isinstance(value, str):
        raise QueryError(place, f"expected a string, not {_short(value)}")
    if field.kind is Kind.INSTANT:
        raise QueryError(place, "$contains does not work on dates", "use $gte and $lt")
    return Contains(field, value)


def _size(field: Field, value: Any, place: str, _: dict[str, Any]) -> Node:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    if not whole or value < 0:
        raise QueryError(place, f"expected a whole number from 0, not {_short(value)}")
    return Size(field, int(value))


OPERATORS: Final[dict[str, Callable[[Field, Any, str, dict[str, Any]], Node]]] = {
    "$eq": _eq,
    "$ne": lambda *args: Not(_eq(*args)),
    "$in": _in,
    "$nin": lambda *args: Not(_in(*args)),
    "$gt": functools.partial(_range, "$gt"),
    "$gte": functools.partial(_range, "$gte"),
    "$lt": functools.partial(_range, "$lt"),
    "$lte": functools.partial(_range, "$lte"),
    "$exists": _exists,
    "$regex": _regex,
    "$options": _options,
    "$contains": _contains,
    "$all": _all_of,
    "$size": _size,
}
