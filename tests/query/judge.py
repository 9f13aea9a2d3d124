"""What a filter and an order mean, said once more and as plainly as possible: the judge of the compiler.

It takes the user's own dict and order string, so that parsing is judged too, and one run after the
other as a dict; it knows no SQL, no catalogue and nothing of `mirror`. Filters are taken to be valid.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cmp_to_key
from typing import Any

import re2

Run = Mapping[str, Any]

NOTHING = object()  # what stands where nothing is

COLUMN = {
    "displayName": "display_name",
    "jobType": "job_type",
    "createdAt": "created_at",
    "heartbeatAt": "heartbeat_at",
    "updatedAt": "updated_at",
    "sweepName": "sweep",
    "sweep_name": "sweep",
    "user": "username",
    "summaryMetrics": "summary_metrics",
}
DATES = {"created_at", "heartbeat_at", "updated_at"}
DOCUMENTS = {"config", "summary_metrics"}


# ------------------------------------------------------------------ values


def plain(value: Any) -> Any:
    """A number as both databases hold it; non-finite ones are W&B's strings."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value) if abs(value) < 2**1024 - 2**970 else value
    return value


def kind(value: Any) -> str:
    value = plain(value)
    if value is None or value is NOTHING:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "object"


def equal(left: Any, right: Any) -> bool:
    left, right = plain(left), plain(right)
    if kind(left) != kind(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(
            equal(a, b) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, dict):
        return set(left) == set(right) and all(equal(left[key], right[key]) for key in left)
    return kind(left) == "null" or bool(left == right)


def instant(text: Any) -> Any:
    """Microseconds of an ISO text, by the standard library's own reader where it can."""
    if text is None or text is NOTHING:
        return NOTHING
    if isinstance(text, dt.date):
        text = text.isoformat()
    text = re.sub(r"(\.\d{6})\d+", r"\1", text.strip().replace(",", ".").replace(" ", "T", 1))
    text = re.sub(r"\.(\d{1,5})(?!\d)", lambda m: "." + m[1].ljust(6, "0"), text)
    moment = dt.datetime.fromisoformat(text.upper().replace("Z", "+00:00").replace(" ", ""))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


# ------------------------------------------------------------------ fields


def segments(name: str) -> tuple[list[str], bool]:
    """The keys of a dotted name, and whether a dot was escaped."""
    marked = name.replace("\\\\", "\uf8fe").replace("\\.", "\uf8ff")
    keys = [key.replace("\uf8fe", "\\").replace("\uf8ff", ".") for key in marked.split(".")]
    return keys, "\uf8ff" in marked


def position(key: str) -> int | None:
    return int(key) if re.fullmatch("0|[1-9][0-9]*", key, re.ASCII) else None


def follow(value: Any, keys: Sequence[str]) -> list[tuple[Any, bool]]:
    """Every end of a path, spreading over lists; with it, whether it is one position of a list."""
    ends = [(value, False)]
    for key in keys:
        found: list[tuple[Any, bool]] = []
        for at, _ in ends:
            at_position = position(key)
            if isinstance(at, list) and at_position is not None:
                found.append((at[at_position] if at_position < len(at) else NOTHING, True))
            elif isinstance(at, list):
                found += [(item.get(key, NOTHING), False) for item in at if isinstance(item, dict)]
            else:
                found.append((at.get(key, NOTHING) if isinstance(at, dict) else NOTHING, False))
        ends = found
    return ends


def meanings(root: str, keys: Sequence[str], exact: bool) -> list[list[str]]:
    found = []
    for joined in range(1, len(keys) + 1):
        rest = list(keys[joined:])
        found.append([".".join(keys[:joined]), *rest])
        if root == "config" and rest[:1] == ["value"]:
            found.append([".".join(keys[:joined]), *rest[1:]])
        if exact:
            break
    return found


def ends_of(run: Run, name: str) -> list[tuple[Any, bool]]:
    """The values a field has in a run; NOTHING where one is missing."""
    keys, exact = segments(name)
    root, keys = COLUMN.get(keys[0], keys[0]), keys[1:]
    if root in DATES:
        return [(instant(run.get(root)), False)]
    if root not in DOCUMENTS:
        value = run.get(root)
        return follow(NOTHING if value is None else value, keys)
    document = run.get(root) or {}
    if not keys:
        return [(document, True)]  # a whole document is not a list
    for path in meanings(root, keys, exact):
        ends = follow(document, path)
        if any(end is not NOTHING for end, _ in ends):
            return ends
    return [(NOTHING, False)]


def rows(ends: Iterable[tuple[Any, bool]]) -> list[Any]:
    """What operators are tried on: each value, and the elements of a list before it."""
    found: list[Any] = []
    for value, alone in ends:
        if isinstance(value, list) and not alone:
            found += value
        found.append(value)
    return found


# ------------------------------------------------------------------ filters


def matches(filters: Any, run: Run) -> bool:
    """Say whether a run satisfies a filter."""
    return all(_entry(key, value, run) for key, value in (filters or {}).items())


def _logic(operator: str, results: list[bool]) -> bool:
    if operator == "$and":
        return all(results)
    return any(results) is (operator == "$or")


def _entry(key: str, value: Any, run: Run) -> bool:
    if key in ("$and", "$or", "$nor"):
        return _logic(key, [matches(part, run) for part in value])
    if key == "$not":
        return not matches(value, run)
    return _field(key, value, run)


def _field(name: str, value: Any, run: Run) -> bool:
    if isinstance(value, dict) and any(key.startswith("$") for key in value):
        return all(_operator(name, key, item, value, run) for key, item in value.items())
    return _operator(name, "$eq", value, {}, run)


def _operator(name: str, operator: str, operand: Any, beside: Mapping[str, Any], run: Run) -> bool:
    again = lambda item: _field(name, item, run)  # noqa: E731
    match operator:
        case "$options":
            return True
        case "$and" | "$or" | "$nor":
            return _logic(operator, [again(item) for item in operand])
        case "$not":
            return not again(operand)
        case "$ne":
            return not _operator(name, "$eq", operand, {}, run)
        case "$nin":
            return not _operator(name, "$in", operand, {}, run)
        case "$all":
            each = [_operator(name, "$eq", item, {}, run) for item in operand]
            return bool(each) and all(each)
    ends = ends_of(run, name)
    if operator == "$exists":
        return any(end is not NOTHING for end, _ in ends) == bool(operand)
    if operator == "$size":
        return any(isinstance(end, list) and len(end) == operand for end, _ in ends)
    is_date = COLUMN.get(name, name) in DATES
    test = _row_test(operator, operand, beside, is_date=is_date)
    return any(test(plain(row)) for row in rows(ends))


def _row_test(operator: str, operand: Any, beside: Mapping[str, Any], *, is_date: bool) -> Any:
    read = instant if is_date else lambda value: value
    if operator == "$eq":
        return lambda row: equal(row, read(operand))
    if operator == "$in":
        return lambda row: any(equal(row, read(item)) for item in operand)
    if operator == "$contains":
        return lambda row: isinstance(row, str) and operand in row
    if operator == "$regex":
        flags = "".join(sorted(set(beside.get("$options", ""))))
        pattern = re2.compile(f"(?{flags}){operand}" if flags else operand)
        return lambda row: isinstance(row, str) and bool(pattern.search(_valid(row)))
    return lambda row: _ranges(operator, row, read(operand))


def _valid(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _ranges(operator: str, row: Any, operand: Any) -> bool:
    if kind(operand) == "null" and not isinstance(operand, float):
        return operator in ("$gte", "$lte") and kind(row) == "null"
    infinite = isinstance(operand, float) and operand in (float("inf"), float("-inf"))
    if kind(row) != ("number" if infinite else kind(operand)):
        return False
    operand = operand if infinite else plain(operand)
    compared = (row > operand) - (row < operand)
    return compared in {"$gt": (1,), "$gte": (0, 1), "$lt": (-1,), "$lte": (-1, 0)}[operator]


# ------------------------------------------------------------------ orders


def ordered(runs: Iterable[Run], order: str | None) -> list[Run]:
    """Return runs in an order, ties by creation and name."""
    keys = [
        key.strip().replace("\\,", ",") for key in re.split(r"(?<!\\),", order or "+created_at")
    ]

    signs = [key.startswith("-") for key in keys]
    names = [key.lstrip("+-") for key in keys]
    placed = [
        (
            [sort_value(run, name) for name in names],
            (sort_value(run, "created_at"), run["name"]),
            run,
        )
        for run in runs
    ]

    def compare(left: Any, right: Any) -> int:
        for here, there, descending in zip(left[0], right[0], signs, strict=True):
            found = _compare(here, there, descending)
            if found:
                return found
        return (left[1] > right[1]) - (left[1] < right[1])

    return [run for *_, run in sorted(placed, key=cmp_to_key(compare))]


def sort_value(run: Run, name: str) -> tuple[int, int, Any]:
    """Where a run stands by a key: last or not, the rank of its type, the value."""
    value = _sort_end(run, name)
    text = COLUMN.get(name.split(".")[0], name.split(".")[0]) not in DOCUMENTS
    value = plain(value)
    if kind(value) == "null":
        return 2, 0, 0
    if value == "NaN" and not text:
        return 1, 0, 0
    if value in ("Infinity", "-Infinity") and not text:
        return 0, 0, float(value.replace("Infinity", "inf"))
    rank = ("number", "string", "object", "list", "boolean").index(kind(value))
    return 0, rank, 0 if rank in (2, 3) else value


def _sort_end(run: Run, name: str) -> Any:
    keys, exact = segments(name)
    root = COLUMN.get(keys[0], keys[0])
    if root not in DOCUMENTS:
        return ends_of(run, name)[0][0]
    for path in meanings(root, keys[1:], exact):
        value: Any = run.get(root) or {}
        for key in path:
            at = position(key)
            if isinstance(value, dict):
                value = value.get(key, NOTHING)
            elif isinstance(value, list) and at is not None and at < len(value):
                value = value[at]
            else:
                value = NOTHING
        if value is not NOTHING:
            return value
    return NOTHING


def _compare(left: tuple[int, int, Any], right: tuple[int, int, Any], descending: bool) -> int:
    if left[0] != right[0]:
        return left[0] - right[0]  # what comes last does so in both directions
    here = (left[1:] > right[1:]) - (left[1:] < right[1:])
    return -here if descending else here


def answer(runs: Iterable[Run], filters: Any, order: str | None = None) -> list[str]:
    """Return the names of the runs that satisfy a filter, in order."""
    return [run["name"] for run in ordered((run for run in runs if matches(filters, run)), order)]
