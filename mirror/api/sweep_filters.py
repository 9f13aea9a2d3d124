"""Filters on the sweeps of a project: the few that W&B's servers understand there.

Equality, `$in` and `$ne` on fields of a sweep, joined by `$and`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["matchers_of"]

_FIELDS = {"display_name": "displayName", "created_at": "createdAt", "run_count": "runCount"}


def matchers_of(filters: Mapping[str, Any]) -> list[Callable[[Any], bool]] | None:
    """Tests of a sweep's node for simple filters; None for filters that are not simple."""
    tests: list[Callable[[Any], bool]] = []
    for key, value in filters.items():
        if key == "$and" and isinstance(value, list):
            for part in value:
                inner = matchers_of(part) if isinstance(part, Mapping) else None
                if inner is None:
                    return None
                tests += inner
            continue
        test = None if key.startswith("$") else _test(_FIELDS.get(key, key), value)
        if test is None:
            return None
        tests.append(test)
    return tests


def _test(field: str, value: Any) -> Callable[[Any], bool] | None:
    if not isinstance(value, Mapping):
        return lambda node: node.get(field) == value
    if len(value) != 1:
        return None
    ((operator, operand),) = value.items()
    if operator == "$eq":
        return lambda node: node.get(field) == operand
    if operator == "$ne":
        return lambda node: node.get(field) != operand
    if operator == "$in" and isinstance(operand, list):
        return lambda node: node.get(field) in operand
    return None
