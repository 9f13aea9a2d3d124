"""The public cases of the filter language, on both engines, by the compiler and by the judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from judge import answer
from runs import put

from mirror import indexes
from mirror.errors import QueryError
from mirror.reads import RunQuery
from mirror.store.store import Store

FOLDER = Path(__file__).parent.parent / "cases"
RUNS = json.loads((FOLDER / "filter_runs.json").read_text())
CASES = [json.loads(line) for line in (FOLDER / "filters.jsonl").read_text().splitlines()]
ANSWERED = [case for case in CASES if "expect" in case]
REFUSED = [case for case in CASES if "error" in case]


def differing(store: Store, project: str) -> list[str]:
    """Return the ids of the cases whose answer is another one."""
    found = []
    for case in ANSWERED:
        query = RunQuery(store, project, case["filter"], case.get("order"))
        names = query.names()
        right = names if "order" in case else sorted(names)
        if right != case["expect"] or query.count() != len(names):
            found.append(case["id"])
    return found


def test_every_case_is_answered_as_expected(store: Store) -> None:
    assert len(ANSWERED) == 273
    put(store, "complete", RUNS)
    put(store, "open", RUNS, catalogue=False)
    assert differing(store, "complete") == []
    assert differing(store, "open") == []
    for key in ("config.lr", "config.optimizer", "config.seed", "summary_metrics.loss", "config.x"):
        indexes.add(store, key)
    assert differing(store, "complete") == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in REFUSED])
def test_a_case_in_error_is_refused_before_anything_is_asked(case: dict[str, Any]) -> None:
    nowhere: Any = type("Nowhere", (), {"backend": "sqlite"})
    with pytest.raises(QueryError):
        RunQuery(nowhere, "p", case["filter"], case.get("order"))


def test_the_judge_agrees_with_every_case() -> None:
    wrong = []
    for case in ANSWERED:
        names = answer(RUNS, case["filter"], case.get("order"))
        if (names if "order" in case else sorted(names)) != case["expect"]:
            wrong.append(case["id"])
    assert wrong == []
