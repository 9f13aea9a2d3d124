"""Small translations of the facade, against the real client's own functions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from wandb.apis.attrs import Attrs
from wandb.apis.public import PythonMongoishQueryGenerator, QueryGenerator
from wandb.util import POW_2_BYTES, api_to_app_url, to_human_size

from mirror.api import files, mongoish, query_generator
from mirror.api.attrs import camel
from mirror.api.source import app_url
from mirror.api.sweep_filters import matchers_of


@pytest.mark.parametrize(
    "url",
    [
        "https://api.wandb.ai",
        "https://api.forge.coreweave.com",
        "https://api.qa.wandb.ai",
        "https://api.wandb.example.org",
        "https://api.example.org",
        "https://wandb.example.org",
        "http://localhost:8080",
        "http://api.wandb.test",
        "http://127.0.0.1:1234",
    ],
)
def test_the_address_of_the_app_is_the_real_clients(url: str) -> None:
    assert app_url(url) == api_to_app_url(url).rstrip("/") + "/"


@pytest.mark.parametrize(
    "name",
    ["created_at", "createdAt", "history_keys", "id", "a_b_c", "job_type", "x1_y2", "größe_x"],
)
def test_attributes_are_spelled_as_the_real_client_spells_them(name: str) -> None:
    assert camel(name) == Attrs({}).snake_to_camel(name)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1536, 10**6, 2**30, 2**40 * 5, 2**63])
def test_sizes_are_written_as_the_real_client_writes_them(size: int) -> None:
    assert files._human(size) == to_human_size(size, units=POW_2_BYTES)


@pytest.mark.parametrize(
    "key",
    ["loss", "+loss", "-val.loss", "summary_metrics.x", "+config.lr", "createdAt", "-name", "tags.x", "a.b.c"],
)  # fmt: skip
def test_order_keys_are_formatted_alike(key: str) -> None:
    ours = query_generator.QueryGenerator.format_order_key(key)
    assert ours == QueryGenerator.format_order_key(key)


def _key(section: str, name: str) -> dict[str, str]:
    return {"section": section, "name": name}


APP_FILTERS: list[dict[str, Any]] = [
    {"key": _key("run", "state"), "op": "=", "value": "finished"},
    {"key": _key("config", "lr"), "op": ">=", "value": 0.1},
    {"key": _key("summary", "loss"), "op": "!=", "value": None},
    {"key": _key("summary", "loss"), "op": "<", "value": None},
    {"key": _key("tags", "best"), "op": "=", "value": True},
    {"key": _key("tags", "best"), "op": "=", "value": False},
    {"key": _key("tags", ""), "op": "=", "value": False},
    {"key": _key("tags", "any"), "op": "IN", "value": ["a", "b"]},
    {"key": _key("keys_info", "x"), "op": "IN", "value": [1]},
    {"key": _key("run", "name"), "op": "=", "value": "x", "disabled": True},
]


@pytest.mark.parametrize(
    "given", [*APP_FILTERS, {"op": "OR", "filters": [{"op": "AND", "filters": APP_FILTERS}]}]
)
def test_filters_of_the_app_become_the_same_filters(given: Any) -> None:
    ours, theirs = query_generator.QueryGenerator(), QueryGenerator()
    assert ours.filter_to_mongo(given) == theirs.filter_to_mongo(given)


@pytest.mark.parametrize(
    "given",
    [
        None,
        {"state": "finished"},
        {"config.lr": {"$gt": 1}},
        {"$or": [{"$and": [{"summary_metrics.x": {"$in": [1]}}, {"tags.x": True}]}]},
    ],
)
def test_filters_of_the_server_become_the_same_filters_of_the_app(given: Any) -> None:
    ours, theirs = query_generator.QueryGenerator(), QueryGenerator()
    assert ours.mongo_to_filter(given) == theirs.mongo_to_filter(given)


RUN_SET = SimpleNamespace(_runs_config={"lr": 1, "model": {"type": "x"}})


@pytest.mark.parametrize(
    "text",
    [
        "loss < 0.5",
        "lr >= 1e-3",
        "acc > .5 and lr != 2.",
        "User in ['amira', 'benoit']",
        "State == 'finished' or Runtime > 100",
        "Tags not in ['a']",
    ],
)
def test_comparisons_become_the_same_filters(text: str) -> None:
    ours = mongoish.PythonMongoishQueryGenerator(RUN_SET)
    theirs = PythonMongoishQueryGenerator(RUN_SET)
    assert ours.python_to_mongo(text) == theirs.python_to_mongo(text)


@pytest.mark.parametrize(
    "method", ["front_to_back", "back_to_front", "pc_front_to_back", "pc_back_to_front"]
)
@pytest.mark.parametrize(
    "name",
    ["lr", "lr.x", "loss", "a.b", "Name", "displayName", "Step", "config.lr.value", "summary_metrics.loss",
     "config:lr.value.x", "summary:_runtime", "summary:loss"],
)  # fmt: skip
def test_names_are_translated_alike(method: str, name: str) -> None:
    ours = getattr(mongoish.PythonMongoishQueryGenerator(RUN_SET), method)
    theirs = getattr(PythonMongoishQueryGenerator(RUN_SET), method)
    assert ours(name) == theirs(name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model.type == 'vit'", {"config.model.value.type": "vit"}),
        ("val.acc > .5", {"summary_metrics.val.acc": {"$gt": 0.5}}),
        ("a1.b2 == 1.5", {"summary_metrics.a1.b2": 1.5}),
        ("loss == 'a.b'", {"summary_metrics.loss": "a.b"}),
    ],
)
def test_names_with_dots_are_keys_of_objects(text: str, found: Any) -> None:
    """The real client fails on them."""
    ours = mongoish.PythonMongoishQueryGenerator(RUN_SET)
    assert ours.python_to_mongo(text) == {"$or": [{"$and": [found]}]}


def test_what_is_no_comparison_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid python comparison"):
        mongoish.PythonMongoishQueryGenerator(RUN_SET).python_to_mongo("a ==")


SWEEP = {"name": "s1", "state": "RUNNING", "displayName": "tune", "createdAt": "2024"}


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        ({}, True),
        ({"state": "RUNNING"}, True),
        ({"state": "FINISHED"}, False),
        ({"state": {"$in": ["RUNNING", "PENDING"]}}, True),
        ({"state": {"$ne": "RUNNING"}}, False),
        ({"display_name": "tune", "name": {"$eq": "s1"}}, True),
        ({"$and": [{"name": "s1"}, {"state": "PAUSED"}]}, False),
    ],
)
def test_filters_on_sweeps(filters: Any, taken: bool) -> None:
    tests = matchers_of(filters)
    assert tests is not None
    assert all(test(SWEEP) for test in tests) is taken


@pytest.mark.parametrize(
    "filters", [{"$or": []}, {"name": {"$regex": "x"}}, {"a": {"$in": [1], "$ne": 2}}]
)
def test_filters_on_sweeps_that_are_not_understood(filters: Any) -> None:
    assert matchers_of(filters) is None
