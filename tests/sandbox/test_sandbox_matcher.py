"""The sandbox's matcher gives what the table of filters says: the judge is judged by hand-made cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mirror.sandbox.matcher import FilterError, compile_filter, compile_order

CASES = Path(__file__).parents[1] / "cases"
RUNS: list[dict[str, Any]] = json.loads((CASES / "filter_runs.json").read_text("utf-8"))
TABLE = [json.loads(line) for line in (CASES / "filters.jsonl").read_text("utf-8").splitlines()]


class Plain:
    """A run of the table, with its documents as they are."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run

    def column(self, name: str) -> Any:
        return self.run.get(name)

    def document(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.run.get(name) or {}
        return found


def answer(case: dict[str, Any]) -> list[str]:
    test, sort = compile_filter(case.get("filter")), compile_order(case.get("order"))
    return [found.run["name"] for found in sort([run for run in map(Plain, RUNS) if test(run)])]


@pytest.mark.parametrize("case", TABLE, ids=[case["id"] for case in TABLE])
def test_a_case_of_the_table(case: dict[str, Any]) -> None:
    if case.get("error"):
        with pytest.raises(FilterError):
            answer(case)
    elif "order" in case:
        assert answer(case) == case["expect"], case["why"]
    else:
        assert sorted(answer(case)) == sorted(case["expect"]), case["why"]
