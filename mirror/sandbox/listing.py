"""The runs of a project that a filter and an order give, fast: cached, and bisected on times.

A filter is taken apart into conjuncts: windows on one time field, names to take or leave, and the
rest, which `matcher.py` decides. What the rest gives is kept for each version of the project's
runs, so walking windows over a large project filters it once. A test proves this equal to the
matcher alone.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeVar, cast

from mirror.sandbox.clock import EPOCH, MICROSECOND, instant_us
from mirror.sandbox.matcher import (
    SPELLINGS,
    FilterError,
    Test,
    compile_filter,
    compile_order,
    order_keys,
)
from mirror.sandbox.objects import Project, Run, RunDocument, Sweep, parsed

TIMES: Final = ("created_at", "heartbeat_at", "updated_at")
KEPT: Final = 64
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Plan:
    """A filter taken apart: all parts must hold."""

    test: Test  # the whole filter
    rest: str | None  # the conjuncts that are neither windows nor names, as JSON; None if none
    rest_test: Test | None
    window: str | None = None  # the time field that is bisected
    low: int | None = None  # inclusive, microseconds
    high: int | None = None  # exclusive
    names: tuple[str, ...] | None = None  # only these
    without: frozenset[str] = frozenset()


@dataclass
class Conjuncts:
    windows: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    names: list[str] | None = None
    without: set[str] = field(default_factory=set)
    rest: list[dict[str, Any]] = field(default_factory=list)


@lru_cache(maxsize=512)
def plan_of(text: str) -> Plan:
    """Plan a filter given as JSON text. Raises FilterError."""
    filters = parse_filters(text)
    test = compile_filter(filters)
    found = Conjuncts()
    split(filters or {}, found)
    window = next((name for name in TIMES if name in found.windows), None)
    for name, conditions in found.windows.items():
        if name != window:
            found.rest += [{name: {op: us_text(us)}} for op, us in conditions]
    low, high = limits(found.windows.get(window or "", []))
    rest = {"$and": found.rest} if found.rest else None
    return Plan(
        test,
        None if rest is None else json.dumps(rest, sort_keys=True),
        None if rest is None else compile_filter(rest),
        window,
        low,
        high,
        None if found.names is None else tuple(found.names),
        frozenset(found.without),
    )


def parse_filters(text: str | None) -> Any:
    """Read the JSON of a filter. Raises FilterError, for NaN and Infinity too."""

    def refuse(token: str) -> Any:
        raise FilterError(f"{token} is not JSON")

    try:
        return json.loads(text or "{}", parse_constant=refuse)
    except RecursionError as error:
        raise FilterError("filter is nested too deeply") from error
    except FilterError:
        raise
    except ValueError as error:  # also integers of thousands of digits
        raise FilterError(f"filters are not JSON: {error}") from error


def split(filters: dict[str, Any], found: Conjuncts) -> None:
    for key, value in filters.items():
        if key == "$and":
            for part in value:
                split(part, found)
        elif not (is_window(key, value, found) or is_names(key, value, found)):
            found.rest.append({key: value})


def is_window(key: str, value: Any, found: Conjuncts) -> bool:
    name = SPELLINGS.get(key)
    if name not in TIMES or not isinstance(value, dict) or not value:
        return False
    if value.keys() - {"$gte", "$gt", "$lt", "$lte"} or None in value.values():
        return False
    conditions = [(op, instant_us(text)) for op, text in value.items()]
    found.windows.setdefault(name, []).extend(conditions)
    return True


def is_names(key: str, value: Any, found: Conjuncts) -> bool:
    """Take `name`: a text, $in and $nin of texts; several $in are left to the matcher."""
    if key != "name":
        return False
    if isinstance(value, str):
        value = {"$in": [value]}
    if not isinstance(value, dict) or len(value) != 1:
        return False
    [(op, names)] = value.items()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    if op == "$nin":
        found.without.update(names)
    elif op == "$in" and found.names is None:
        found.names = names
    else:
        return False
    return True


def limits(conditions: Sequence[tuple[str, int]]) -> tuple[int | None, int | None]:
    """Join range conditions on a whole number to one half-open interval."""
    low: list[int] = []
    high: list[int] = []
    for op, us in conditions:
        if op in ("$gte", "$gt"):
            low.append(us if op == "$gte" else us + 1)
        else:
            high.append(us if op == "$lt" else us + 1)
    return max(low, default=None), min(high, default=None)


def us_text(us: int) -> str:
    """Write microseconds as a time text that reads back the same."""
    return (EPOCH + us * MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Listings:
    """Answers for one project, kept while its runs do not change."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._version = -1
        self._members_version = -1
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._live: list[Run] = []

    def runs(self, filters: str | None, order: str | None) -> Sequence[Run]:
        """Return the live runs that meet a filter, in order. Raises FilterError."""
        self._refresh()
        plan, text = plan_of(filters or "{}"), order or "+created_at"
        keys = order_keys(text)
        if plan.names is not None:
            return self._named(plan, text)
        first, descending = keys[0]
        if plan.window is not None and first.root == plan.window:
            return self._window(plan, text, descending, len(keys) == 1)
        if plan.window is not None:
            rows = self._window(plan, f"+{plan.window}", False, True)
            return self._keep(
                ("window", filters, text), lambda: self._sorted(by_creation(rows), text)
            )
        rows = self._ordered(plan, text)
        return leave(rows, plan.without)

    def count(self, filters: str | None) -> int:
        """Return how many live runs meet a filter. Raises FilterError."""
        plan = plan_of(filters or "{}")
        by = f"+{plan.window}" if plan.window else "+created_at"
        return len(self.runs(filters, by))

    def live(self) -> list[Run]:
        """Return the runs that are not deleted, oldest first."""
        self._refresh()
        return self._live

    def of_sweep(self, sweep: Sweep) -> list[Run]:
        """Return the live runs of a sweep, oldest first."""
        self._refresh()
        return self._keep("sweeps", self._by_sweep).get(sweep.name, [])

    def best_of_sweep(self, sweep: Sweep, metric: str) -> float | None:
        """Return the best value of a metric among a sweep's runs."""
        runs = self.of_sweep(sweep)
        best: dict[str, float | None] = self._keep("best", dict)
        if sweep.name not in best:
            values = [parsed(run.summary_text).get(metric) for run in runs]
            numbers = [one for one in values if isinstance(one, int | float)]
            best[sweep.name] = (min if sweep.minimize else max)(numbers, default=None)
        return best[sweep.name]

    def _by_sweep(self) -> dict[str, list[Run]]:
        found: dict[str, list[Run]] = {}
        for run in self._live:
            if run.sweep is not None:
                found.setdefault(run.sweep.name, []).append(run)
        return found

    def _refresh(self) -> None:
        if self._version != self._project.version:
            self._version = self._project.version
            self._kept.clear()
        if self._members_version != self._project.members_version:
            self._members_version = self._project.members_version
            alive = (run for run in self._project.runs.values() if run.deleted_at is None)
            self._live = by_creation(alive)

    def _keep(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        if key in self._kept:
            self._kept.move_to_end(key)
            return cast(Kept, self._kept[key])
        self._kept[key] = made = make()
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made

    def _named(self, plan: Plan, order: str) -> list[Run]:
        named = dict.fromkeys(plan.names or ())
        runs = (self._project.runs.get(name) for name in named)
        found = [run for run in runs if run is not None and run.deleted_at is None]
        found = [run for run in found if plan.test(RunDocument(run))]
        return self._sorted(by_creation(found), order)

    def _base(self, plan: Plan) -> list[Run]:
        """Return the runs that meet the rest of a filter, oldest first."""
        test = plan.rest_test
        if test is None:
            return self._live
        return self._keep(
            ("base", plan.rest), lambda: [run for run in self._live if test(RunDocument(run))]
        )

    def _ordered(self, plan: Plan, order: str) -> list[Run]:
        return self._keep(
            ("ordered", plan.rest, order), lambda: self._sorted(self._base(plan), order)
        )

    def _sorted(self, runs: Sequence[Run], order: str) -> list[Run]:
        """Sort runs that stand in the order of creation."""
        keys = order_keys(order)
        if len(keys) == 1 and keys[0][0].root in TIMES:
            return by_time(runs, keys[0][0].root, keys[0][1])
        return [one.run for one in compile_order(order)([RunDocument(run) for run in runs])]

    def _window(self, plan: Plan, order: str, descending: bool, only_key: bool) -> list[Run]:
        """Cut a window of times out of the runs in an order whose first key is that time."""
        assert plan.window is not None
        name = plan.window
        runs, times = self._keep(
            ("times", plan.rest, order if not only_key else (name, descending)),
            lambda: self._timed(self._ordered(plan, order), name, descending),
        )
        low, high = plan.low, plan.high
        if descending:  # times are negated, so that they ascend
            start = 0 if high is None else bisect_right(times, -high)
            end = len(times) if low is None else bisect_right(times, -low)
        else:
            start = 0 if low is None else bisect_left(times, low)
            end = len(times) if high is None else bisect_left(times, high)
        return leave(runs[start:end], plan.without)

    def _timed(self, runs: list[Run], name: str, descending: bool) -> tuple[list[Run], list[int]]:
        """Return the runs that have the time, and their times so that they ascend."""
        sign = -1 if descending else 1
        timed = [run for run in runs if getattr(run, name) is not None]
        return timed, [sign * instant_us(getattr(run, name)) for run in timed]


def by_creation(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (run.created_us, run.name))


def by_time(runs: Sequence[Run], name: str, descending: bool) -> list[Run]:
    """Sort by one time, nulls last, keeping the order of ties; oldest first is how they stand."""
    read, sign = attrgetter(name), -1 if descending else 1
    if name == "created_at":
        return sorted(runs, key=lambda run: -run.created_us) if descending else list(runs)
    timed = [(sign * instant_us(text), run) for run in runs if (text := read(run)) is not None]
    timed.sort(key=itemgetter(0))
    return [run for _, run in timed] + [run for run in runs if read(run) is None]


def leave(runs: list[Run], without: frozenset[str]) -> list[Run]:
    return [run for run in runs if run.name not in without] if without else runs
