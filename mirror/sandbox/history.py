"""The rows a run logged: those of a run that really logged, or made up for one that was generated."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from mirror.sandbox.objects import Run, parsed

Row = dict[str, Any]


def rows(run: Run) -> list[str]:
    """Return all rows as JSON texts, by step."""
    if run.record is not None and run.record.history:
        return run.record.history
    if not run.line_count:
        return []
    return list(made_up(run.seed, run.line_count, run.created_us, run.summary_text))


@lru_cache(maxsize=64)
def made_up(seed: int, count: int, created_us: int, summary_text: str) -> tuple[str, ...]:
    """Make rows that end in the summary's numbers."""
    chance = random.Random(seed)
    last = {
        key: value
        for key, value in parsed(summary_text).items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and not key.startswith("_")
    }
    found = []
    for step in range(count):
        part = (step + 1) / count
        row: Row = {"_step": step, "_runtime": step * 2.5, "_timestamp": created_us / 1e6 + step}
        for key, value in last.items():
            done = part == 1 or isinstance(value, int)
            row[key] = value if done else value + (1 - part) * chance.random()
        found.append(json.dumps(row, separators=(",", ":")))
    return tuple(found)


def sampled(lines: list[str], samples: int | None) -> list[str]:
    """Return at most `samples` rows, evenly spread, the first and the last among them."""
    if samples is None or samples >= len(lines):
        return lines
    if samples <= 1:
        return lines[-1:] * max(samples, 0)
    step = (len(lines) - 1) / (samples - 1)
    return [lines[round(at * step)] for at in range(samples)]


def between(lines: list[str], low: int | None, high: int | None) -> list[str]:
    """Return the rows whose step lies in [low, high)."""
    if low is None and high is None:
        return lines
    first, end = low or 0, math.inf if high is None else high
    return [line for line in lines if first <= step_of(line) < end]


def step_of(line: str) -> int:
    step = json.loads(line).get("_step", 0)
    return int(step) if isinstance(step, int | float) else 0


def with_keys(lines: Iterable[str], spec: Row) -> list[Row]:
    """Return what a `sampledHistory` spec asks: rows that have all its keys; its maxStep counts."""
    keys = spec.get("keys") or []
    high = spec.get("maxStep")
    found = []
    for line in between(list(lines), spec.get("minStep"), None if high is None else high + 1):
        row = json.loads(line)
        if not keys:
            found.append(finite(row))
        elif all(at(row, key) is not None for key in keys):
            found.append(finite({key: at(row, key) for key in keys}))
    return list(map(json.loads, sampled(list(map(json.dumps, found)), spec.get("samples"))))


def at(row: Any, key: str) -> Any:
    """Return the value of a dotted key, or None."""
    if key in row:
        return row[key]
    for part in key.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def finite(value: Any) -> Any:
    """Write NaN and Infinity as strings, for they cannot stand in real JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


def history_keys(run: Run) -> Row:
    """Return the keys a run logged with their types and counts, and its last step."""
    if run.record is not None and run.record.history:
        return logged_keys(run.record.history)
    if not run.line_count:
        return {"sets": [], "keys": {}, "lastStep": -1}
    counts = [{"type": "number", "count": run.line_count}]  # one list for all keys: pages are large
    keys = {
        key: {"typeCounts": counts, "monotonic": False, "previousValue": value}
        for key, value in parsed(run.summary_text).items()
        if type(value) in (int, float)
    }
    return {"sets": [], "keys": keys, "lastStep": run.line_count - 1}


def logged_keys(lines: list[str]) -> Row:
    counts: dict[str, int] = {}
    last: dict[str, Any] = {}
    for line in lines:
        for key, value in flat(json.loads(line)):
            counts[key] = counts.get(key, 0) + 1
            last[key] = value
    keys = {key: key_info(finite(last[key]), count) for key, count in counts.items()}
    return {"sets": [], "keys": keys, "lastStep": max(map(step_of, lines))}


def key_info(value: Any, count: int) -> Row:
    kind = "number" if isinstance(value, int | float) else type(value).__name__
    kind = {"str": "string", "list": "list", "NoneType": "nil"}.get(kind, kind)
    return {
        "typeCounts": [{"type": kind, "count": count}],
        "monotonic": False,
        "previousValue": value,
    }


def flat(row: Row, prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, dict) and "_type" not in value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
