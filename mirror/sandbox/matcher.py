"""Decide whether a run meets a filter, and in which order runs come: plain, slow, obviously right.

One run at a time and no planning. A filter becomes a chain of small closures (`compile_filter`),
an order becomes a sort key (`compile_order`). A run is seen through `Document`: columns by their
snake_case name, and the two JSON documents `config` (unwrapped) and `summary_metrics`.
It shares no code with `mirror.query`, so that one can judge the other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import re2

from mirror.sandbox.clock import instant_us

MAX_DEPTH: Final = 100
MAX_PATTERN: Final = 4096


class FilterError(ValueError):
    """A filter or an order that the server refuses with status 400."""


class Document(Protocol):
    """What the matcher may ask of a run."""

    def column(self, name: str) -> Any:
        """Return the value of a column; None is a missing field."""

    def document(self, name: str) -> dict[str, Any]:
        """Return `config` or `summary_metrics` as JSON values."""


Test = Callable[[Document], bool]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()

# ------------------------------------------------------------------------------- fields

COLUMNS: Final = {
    "name": "text", "display_name": "text", "state": "text", "group": "text", "job_type": "text",
    "host": "text", "username": "text", "sweep": "text", "notes": "text", "description": "text",
    "tags": "list", "duration": "number",
    "created_at": "time", "heartbeat_at": "time", "updated_at": "time",
}  # fmt: skip
SPELLINGS: Final = {name: name for name in COLUMNS} | {
    "displayName": "display_name", "jobType": "job_type", "user": "username",
    "createdAt": "created_at", "heartbeatAt": "heartbeat_at", "updatedAt": "updated_at",
    "sweepName": "sweep", "sweep_name": "sweep",
}  # fmt: skip
DOCUMENTS: Final = {
    "config": "config",
    "summary_metrics": "summary_metrics",
    "summaryMetrics": "summary_metrics",
}


@dataclass(frozen=True, eq=False)
class Table:
    """The field names of one kind of thing: spelling → column, column → kind, documents."""

    columns: Mapping[str, str]
    spellings: Mapping[str, str]
    documents: Mapping[str, str]


RUNS: Final = Table(COLUMNS, SPELLINGS, DOCUMENTS)


@dataclass(frozen=True)
class Field:
    """A resolved field name: a column, or a path below one of the two documents."""

    root: str
    kind: str  # text, number, time, list, or json
    path: tuple[str, ...]
    exact: bool  # an escaped dot was used: segments are not joined into flat keys


@lru_cache(maxsize=4096)
def field_of(name: str, table: Table = RUNS) -> Field:
    """Resolve a field name as a user writes it, or raise FilterError."""
    segments, exact = split_path(name)
    if "" in segments:
        raise FilterError(f"empty name or empty path segment in field {name!r}")
    root, path = segments[0], tuple(segments[1:])
    if root in table.documents:
        return Field(table.documents[root], "json", path, exact)
    if root not in table.spellings:
        raise FilterError(f"unknown field {name!r}")
    column = table.spellings[root]
    kind = table.columns[column]
    if path and not (kind == "list" and len(path) == 1 and is_position(path[0])):
        raise FilterError(f"field {root!r} has no sub-field {'.'.join(path)!r}")
    return Field(column, kind, path, exact)


def split_path(text: str) -> tuple[list[str], bool]:
    r"""Split at dots; `\.` is a dot of the key and `\\` a backslash. Also say if a dot was escaped."""
    tokens = re.findall(r"\\[.\\]|.", text, re.DOTALL)
    segments = [""]
    for token in tokens:
        if token == ".":
            segments.append("")
        else:
            segments[-1] += token[1] if len(token) == 2 else token
    return segments, "\\." in tokens


def is_position(segment: str) -> bool:
    return re.fullmatch(r"0|[1-9][0-9]*", segment) is not None


def readings(field: Field) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (top-level key, path below it) in the order in which a path is tried."""
    last = 1 if field.exact else len(field.path)
    for joined in range(1, last + 1):
        key, rest = ".".join(field.path[:joined]), field.path[joined:]
        yield key, rest
        if field.root == "config" and rest[:1] == ("value",):
            yield key, rest[1:]


# ------------------------------------------------------------------------------- rows


def values(field: Field, run: Document) -> list[tuple[Any, bool]]:
    """Return what stands at a field: (value, whether it was reached by its position in a list)."""
    if field.kind != "json":
        value = column_value(field, run)
        return [(MISSING, False)] if value is None else walk(value, field.path)
    document = run.document(field.root)
    if not field.path:
        return [(document, False)]
    for key, rest in readings(field):
        if key in document:
            found = walk(document[key], rest)
            if any(value is not MISSING for value, _ in found):
                return found
    return [(MISSING, False)]


def column_value(field: Field, run: Document) -> Any:
    value = run.column(field.root)
    if field.kind == "time" and value is not None:
        return instant_us(value)
    return value


def walk(value: Any, path: tuple[str, ...], at_position: bool = False) -> list[tuple[Any, bool]]:
    """Follow a path: into objects by key, into lists by position, else through their objects."""
    if not path:
        return [(value, at_position)]
    head, rest = path[0], path[1:]
    if isinstance(value, dict):
        return walk(value[head], rest) if head in value else [(MISSING, False)]
    if not isinstance(value, list):
        return [(MISSING, False)]
    if is_position(head):
        position = int(head)
        return walk(value[position], rest, True) if position < len(value) else [(MISSING, False)]
    objects = [element for element in value if isinstance(element, dict)]
    return [found for element in objects for found in walk(element, path)]


def rows(field: Field, run: Document) -> list[Any]:
    """Return the values an operator is tried on; a list gives its elements, then itself."""
    found: list[Any] = []
    for value, at_position in values(field, run):
        if isinstance(value, list) and not at_position:
            found += value
        found.append(value)
    return found or [MISSING]


# ------------------------------------------------------------------------------- values


def plain(value: Any) -> Any:
    """Return a non-finite number as the string W&B stores, a huge integer as a double."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return number(value)


def number(value: Any) -> Any:
    """Return an integer outside 64 bits as the double it counts as; anything else unchanged."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def type_class(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "object"


def equal(one: Any, other: Any) -> bool:
    """Compare two JSON values: classes must agree, numbers by value, key order does not count."""
    if one is MISSING:
        return other is None
    one, other = plain(one), plain(other)
    kind = type_class(one)
    if kind != type_class(other):
        return False
    if kind == "list":
        return len(one) == len(other) and all(map(equal, one, other))
    if kind == "object":
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


def compares(operator: str, row: Any, operand: Any) -> bool:
    """Tell whether a row stands in a range relation to an operand of its own class."""
    if operand is None:
        return operator in ("$gte", "$lte") and (row is MISSING or row is None)
    if row is MISSING or type_class(plain(row)) != type_class(operand):
        return False
    if type_class(operand) in ("list", "object"):
        return False
    left, right = plain(row), number(operand)
    if operator == "$gt":
        return bool(left > right)
    if operator == "$gte":
        return bool(left >= right)
    return bool(left < right) if operator == "$lt" else bool(left <= right)


# ------------------------------------------------------------------------------- filters


def compile_filter(filters: Any, table: Table = RUNS) -> Test:
    """Return the test a filter stands for, or raise FilterError; None and {} pass every run."""
    check_depth(filters, 1)
    return query({} if filters is None else filters, "filters", table)


def matches(filters: Any, run: Document) -> bool:
    return compile_filter(filters)(run)


def check_depth(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH and isinstance(value, dict | list):
        raise FilterError(f"filter is nested deeper than {MAX_DEPTH}")
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for child in children:
            check_depth(child, depth + 1)


def query(filters: Any, place: str, table: Table) -> Test:
    if not isinstance(filters, dict):
        raise FilterError(f"{place}: expected an object, not {filters!r}")
    return every([entry(key, value, f"{place}.{key}", table) for key, value in filters.items()])


def entry(key: str, value: Any, place: str, table: Table) -> Test:
    if key in ("$and", "$or", "$nor"):
        parts = enumerate(items(value, place))
        return joined(key, [query(v, f"{place}[{i}]", table) for i, v in parts])
    if key == "$not":
        return negation(query(value, place, table))
    if key.startswith("$"):
        raise FilterError(f"{place}: {key!r} is no operator of a whole filter")
    return condition(field_of(key, table), value, place)


def condition(field: Field, value: Any, place: str) -> Test:
    if is_operators(value, place):
        return operators(field, value, place)
    return OPERATORS["$eq"](field, value, place, {})


def is_operators(value: Any, place: str) -> bool:
    """Tell an object of operators from a literal; a mixture of both is an error."""
    if not isinstance(value, dict):
        return False
    with_dollar = [key.startswith("$") for key in value]
    if any(with_dollar) and not all(with_dollar):
        raise FilterError(f"{place}: operators and plain keys are mixed")
    return any(with_dollar)


def operators(field: Field, value: dict[str, Any], place: str) -> Test:
    tests = []
    for key, operand in value.items():
        here = f"{place}.{key}"
        if key in ("$and", "$or", "$nor"):
            parts = [field_query(field, v, here) for v in items(operand, here)]
            tests.append(joined(key, parts))
        elif key == "$not":
            tests.append(negation(field_query(field, operand, here)))
        elif key in OPERATORS:
            tests.append(OPERATORS[key](field, operand, here, value))
        else:
            raise FilterError(f"{here}: unknown operator {key!r}")
    return every(tests)


def field_query(field: Field, value: Any, place: str) -> Test:
    if not is_operators(value, place):
        raise FilterError(f"{place}: needs an object of operators")
    return operators(field, value, place)


def every(tests: list[Test]) -> Test:
    return lambda run: all(test(run) for test in tests)


def joined(key: str, tests: list[Test]) -> Test:
    if key == "$and":
        return every(tests)
    if key == "$or":
        return lambda run: any(test(run) for test in tests)
    return lambda run: not any(test(run) for test in tests)


def negation(test: Test) -> Test:
    return lambda run: not test(run)


def items(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise FilterError(f"{place}: needs a list, not {value!r}")
    return value


def operand_of(field: Field, value: Any, place: str) -> Any:
    """Return a literal as it is compared: a time as microseconds, anything else as it is."""
    if field.kind != "time" or value is None:
        return value
    try:
        if isinstance(value, str):
            return instant_us(value)
    except ValueError as error:
        raise FilterError(f"{place}: {error}") from error
    raise FilterError(f"{place}: needs an ISO-8601 time, not {value!r}")


Operands = dict[str, Any]


def op_eq(field: Field, value: Any, place: str, _all: Operands) -> Test:
    operand = operand_of(field, value, place)
    return lambda run: any(equal(row, operand) for row in rows(field, run))


def op_in(field: Field, value: Any, place: str, _all: Operands) -> Test:
    operands = [operand_of(field, v, place) for v in items(value, place)]
    for operand in operands:
        if isinstance(operand, dict) and any(key.startswith("$") for key in operand):
            raise FilterError(f"{place}: operators cannot stand in a list of values")
    return lambda run: any(equal(row, o) for row in rows(field, run) for o in operands)


def op_all(field: Field, value: Any, place: str, _all: Operands) -> Test:
    op_in(field, value, place, {})
    tests = [op_eq(field, v, place, {}) for v in value]
    return every(tests) if tests else lambda _run: False


def op_range(operator: str) -> Callable[[Field, Any, str, Operands], Test]:
    def build(field: Field, value: Any, place: str, _all: Operands) -> Test:
        operand = operand_of(field, value, place)
        if isinstance(operand, list | dict) or (isinstance(operand, float) and operand != operand):
            raise FilterError(f"{place}: needs a number, a string, a boolean or null")
        return lambda run: any(compares(operator, row, operand) for row in rows(field, run))

    return build


def op_exists(field: Field, value: Any, place: str, _all: Operands) -> Test:
    if type(value) not in (bool, int) or value not in (0, 1):
        raise FilterError(f"{place}: needs true or false")
    return lambda run: any(v is not MISSING for v, _ in values(field, run)) == bool(value)


def op_size(field: Field, value: Any, place: str, _all: Operands) -> Test:
    if type(value) not in (int, float) or value < 0 or value != math.floor(value):
        raise FilterError(f"{place}: needs a whole number of at least 0")
    return lambda run: any(isinstance(v, list) and len(v) == value for v, _ in values(field, run))


def op_regex(field: Field, value: Any, place: str, every_operator: Operands) -> Test:
    options = every_operator.get("$options", "")
    if not isinstance(options, str) or set(options) - set("ims"):
        raise FilterError(f"{place}: $options may hold only i, m and s")
    check_text(field, value, place)
    pattern = regex(value, options, place)
    return lambda run: any(pattern.search(row) is not None for row in strings(field, run))


def op_options(_field: Field, _value: Any, place: str, every_operator: Operands) -> Test:
    if "$regex" not in every_operator:
        raise FilterError(f"{place}: $options needs $regex beside it")
    return lambda _run: True


def op_contains(field: Field, value: Any, place: str, _all: Operands) -> Test:
    check_text(field, value, place)
    return lambda run: any(value in row for row in strings(field, run))


def check_text(field: Field, value: Any, place: str) -> None:
    if not isinstance(value, str):
        raise FilterError(f"{place}: needs a string")
    if field.kind == "time":
        raise FilterError(f"{place}: is not for times")


def strings(field: Field, run: Document) -> list[str]:
    return [row for row in map(plain, rows(field, run)) if isinstance(row, str)]


def regex(pattern: str, options: str, place: str) -> Any:
    if len(pattern) > MAX_PATTERN:
        raise FilterError(f"{place}: pattern longer than {MAX_PATTERN} characters")
    settings = re2.Options()
    settings.log_errors = False
    flags = "".join(sorted(set(options)))
    try:
        return re2.compile(f"(?{flags}){pattern}" if flags else pattern, settings)
    except re2.error as error:
        raise FilterError(f"{place}: bad pattern {pattern!r}: {error}") from error


OPERATORS: Final[dict[str, Callable[[Field, Any, str, Operands], Test]]] = {
    "$eq": op_eq,
    "$ne": lambda *given: negation(op_eq(*given)),
    "$in": op_in,
    "$nin": lambda *given: negation(op_in(*given)),
    "$all": op_all,
    "$gt": op_range("$gt"),
    "$gte": op_range("$gte"),
    "$lt": op_range("$lt"),
    "$lte": op_range("$lte"),
    "$exists": op_exists,
    "$size": op_size,
    "$regex": op_regex,
    "$options": op_options,
    "$contains": op_contains,
}

# ------------------------------------------------------------------------------- orders

RANKS: Final = {"number": 1, "string": 2, "object": 3, "list": 4, "boolean": 5}


def order_keys(order: str | None, table: Table = RUNS) -> list[tuple[Field, bool]]:
    """Return the (field, descending) pairs of an order; None and "" mean +created_at."""
    parts = [p.replace("\\,", ",") for p in re.split(r"(?<!\\),", order or "+created_at")]
    return [order_key(part.strip(), order, table) for part in parts]


def order_key(part: str, order: str | None, table: Table) -> tuple[Field, bool]:
    descending = part.startswith("-")
    name = part[1:] if part[:1] in ("+", "-") else part
    if not name or name[0] in "+- \t\n":
        raise FilterError(f"bad order {order!r}")
    field = field_of(name, table)
    if field.kind == "json" and not field.path:
        raise FilterError(f"cannot order by the whole of {name!r}")
    return field, descending


CREATED: Final = field_of("created_at")


def compile_order(order: str | None, table: Table = RUNS) -> Callable[[list[Any]], list[Any]]:
    """Return a function that sorts runs; ties go by creation (ascending, null last), then name."""
    keys = order_keys(order, table)

    def sort(runs: list[Any]) -> list[Any]:
        # Python's sort is stable, so sorting by the last key first gives the whole order.
        runs = sorted(runs, key=tie_break)
        for field, descending in reversed(keys):
            ranked = [(sort_value(field, run), run) for run in runs]
            places: dict[int, list[Any]] = {0: [], 1: [], 2: []}
            for (place, rank, value), run in ranked:
                places[place].append(((rank, value), run))
            places[0].sort(key=lambda pair: pair[0], reverse=descending)
            runs = [run for place in (0, 1, 2) for _, run in places[place]]
        return runs

    return sort


def tie_break(run: Document) -> tuple[bool, int, Any]:
    created = column_value(CREATED, run)
    return created is None, created or 0, run.column("name")


def sort_value(field: Field, run: Document) -> tuple[int, int, Any]:
    """Return (place, rank, value): place 1 is NaN, 2 is null or missing, and both stay last."""
    value = plain(direct_value(field, run))
    if value is MISSING or value is None:
        return 2, 0, 0
    if field.kind == "json" and value == "NaN":
        return 1, 0, 0
    if field.kind == "json" and value in ("Infinity", "-Infinity"):
        value = math.inf if value == "Infinity" else -math.inf
    kind = type_class(value)
    return 0, RANKS[kind], 0 if kind in ("list", "object") else value


def direct_value(field: Field, run: Document) -> Any:
    """Return what stands at a path that follows lists by position only; MISSING if nothing."""
    if field.kind != "json":
        value = column_value(field, run)
        return MISSING if value is None else follow(value, field.path)
    document = run.document(field.root)
    for key, rest in readings(field):
        value = follow(document[key], rest) if key in document else MISSING
        if value is not MISSING:
            return value
    return MISSING


def follow(value: Any, path: tuple[str, ...]) -> Any:
    for segment in path:
        if isinstance(value, dict) and segment in value:
            value = value[segment]
        elif isinstance(value, list) and is_position(segment) and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return MISSING
    return value
