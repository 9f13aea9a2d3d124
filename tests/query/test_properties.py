"""The compiler against the judge: random runs, filters and orders, on both engines.

Each filter is asked for plainly and negated, with a complete catalogue, an open one, and with value
indexes; each answer as names and a count and, by a random order, as a walk of pages and a slice. A failure prints the seed: run
`MIRROR_TEST_SEED=… pytest tests/query/test_properties.py` to see it again.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from chance import KEYS, Run, some_filter, some_order, some_runs, written
from judge import matches, ordered
from runs import put

from mirror import indexes
from mirror.plan import Plan
from mirror.reads import RunQuery
from mirror.store.store import Store

SEED = int(os.environ.get("MIRROR_TEST_SEED", random.SystemRandom().getrandbits(32)))
A_BATCH = 50  # filters asked of one set of runs
AN_ORDER = 4  # filters for each random order, whose pages are walked
PAGES = (1, 3, 7, 7, 7, 7, 30, 60)

INDEXABLE = tuple(key for key in KEYS if key.isprintable() and '"' not in key and "\\" not in key)


def index_some_keys(store: Store, rng: random.Random) -> None:
    for key in rng.sample(INDEXABLE, 6):
        column = rng.choice(("config", "summary_metrics"))
        indexes.add(store, f"{column}.{written(key, exact=True)}")


def pages(query: RunQuery, size: int) -> list[str]:
    names: list[str] = []
    after = None
    while True:
        rows, after = query.page(size, after)
        names += [row.name for row in rows]
        if after is None:
            return names


def check(
    store: Store,
    project: str,
    runs: list[Run],
    rng: random.Random,
    order: str | None,
    *,
    walked: bool,
) -> None:
    """Ask a filter and its negation; judge each run once, as the negation finds all others."""
    filters = some_filter(rng, runs)
    found = {run["name"] for run in runs if matches(filters, run)}
    in_order = [run["name"] for run in ordered(runs, order)]
    is_walked = rng.choice((True, False))  # the filter, or its negation
    for asked, holds in ((filters, True), ({"$not": filters}, False)):
        wanted = [name for name in in_order if (name in found) is holds]
        query = RunQuery(store, project, asked, order)
        got: dict[str, Any] = {"names": query.names(), "count": query.count()}
        right: dict[str, Any] = {"names": wanted, "count": len(wanted)}
        if walked and holds is is_walked:
            start = rng.randint(0, 12)
            stop = start + rng.randint(0, 20)
            got["pages"] = pages(query, rng.choice(PAGES))
            got["slice"] = [row.name for row in query.slice(start, stop)]
            right |= {"pages": wanted, "slice": wanted[start:stop]}
        assert got == right, f"seed {SEED}, project {project}: {asked!r} by {order!r}"


def ask_much(store: Store, rng: random.Random, filters: int, few: pytest.MonkeyPatch) -> None:
    indexes.add(store, "config.model.a")
    for batch in range(filters // A_BATCH):
        if batch == filters // A_BATCH // 2:
            index_some_keys(store, rng)
        runs, project = some_runs(rng), f"p{batch}"
        put(store, project, runs, catalogue=rng.random() < 0.7)
        few.setattr(Plan, "FEW", rng.choice((0, 3, 1000)))  # of 40 runs all would be few
        for i in range(A_BATCH):
            is_ordered = i % AN_ORDER == 0
            order = some_order(rng, runs) if is_ordered else None
            check(store, project, runs, rng, order, walked=is_ordered or i == 1)


def test_random_filters_and_orders_answer_as_the_judge_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {SEED}")
    ask_much(store, random.Random(SEED), 5 * A_BATCH, monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(8))
def test_very_many_random_filters_and_orders_answer_as_the_judge_says(
    store: Store, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {SEED}")
    ask_much(store, random.Random(f"{SEED}-{part}"), 2_500, monkeypatch)
