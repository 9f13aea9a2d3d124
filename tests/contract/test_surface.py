"""The surface as it was written down from wandb 0.31.0, which holds whatever `wandb` is installed."""

from __future__ import annotations

import functools
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from test_signatures import KINDS, WITHOUT_USE, classes_in

import mirror

LINES = (Path(__file__).parent.parent / "cases" / "api_surface.jsonl").read_text().splitlines()
MEMBERS = [
    case for case in map(json.loads, LINES[1:]) if case["class"] in KINDS
    and case["kind"] != "attribute" and (case["class"], case["name"]) not in WITHOUT_USE
]  # fmt: skip

NOT_WRITTEN_DOWN = {"QueryGenerator", "ArtifactManifest", "MemberKind", "UserMember", "TeamMember"}


def _written(parameter: inspect.Parameter) -> list[str | None]:
    default = None if parameter.default is parameter.empty else repr(parameter.default)
    return [parameter.name, parameter.kind.name, default]


def _is_hidden(case: dict[str, Any]) -> bool:
    """A pydantic dataclass hides its fields."""
    parameters = case.get("parameters")
    return bool(parameters) and parameters[0][0] == "__dataclass_self__"


@pytest.mark.parametrize("case", MEMBERS, ids=lambda case: f"{case['class']}.{case['name']}")
def test_a_member_written_down_is_here_with_the_same_parameters(case: dict[str, Any]) -> None:
    ours = classes_in("mirror.api")[case["class"]]
    assert hasattr(ours, case["name"])
    value = inspect.getattr_static(ours, case["name"])
    if case["kind"] == "property":
        assert not inspect.isfunction(value)
        return
    assert isinstance(value, classmethod) is (case["kind"] == "classmethod")
    if _is_hidden(case):
        return
    function: Any = value.__func__ if isinstance(value, classmethod) else value
    found = [
        one for one in inspect.signature(function).parameters.values() if one.name not in ("self", "cls")
    ]  # fmt: skip
    wanted = case["parameters"]
    assert [_written(one) for one in found[: len(wanted)]] == wanted
    assert all(one.kind is one.KEYWORD_ONLY for one in found[len(wanted) :])


def test_every_class_of_the_list_above_is_written_down() -> None:
    assert {case["class"] for case in MEMBERS} >= set(KINDS) - NOT_WRITTEN_DOWN
    assert isinstance(
        mirror.Api.client, property | functools.cached_property
    )  # only in the documentation
