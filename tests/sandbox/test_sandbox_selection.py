"""The fast way through a selection gives what graphql-core gives, keys in the same order."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from mirror.sandbox import World, generate
from mirror.sandbox.context import Context
from mirror.sandbox.documents import Executor, document, snake_case
from mirror.sandbox.queries import QUERIES

HEAD = 'query Q($first: Int = 5, $yes: Boolean = true, $order: String, $keys: [String!] = ["lr"]) '
PROJECT = 'project(name: "vision", entityName: "team")'

SELECTIONS = {
    "plain fields": "edges { cursor node { id name displayName state tags createdAt config } }",
    "aliases": "e: edges { c: cursor n: node { a: name b: name config few: config(keys: $keys) } }",
    "fields merged": "edges { node { user { name } } } edges { cursor node { user { username } name } }",
    "fragments": "edges { node { ...A ... on Run { host } ... { jobType } ...A } }",
    "interfaces": "edges { node { ... on BucketType { name commit } ... on Node { id } } }",
    "directives": "edges { node { name @include(if: $yes) host @skip(if: $yes) ...A @skip(if: $yes) } }",
    "typenames": "__typename edges { __typename node { __typename user { __typename } } }",
    "nested objects": "edges { node { project { name entity { name } runCount } sweep { name runCount method } } }",
    "nested connections": "edges { node { files(first: 2) { edges { node { name } } pageInfo { hasNextPage } } } }",
    "nested runs": "edges { node { sweep { runs(first: 2) { edges { cursor node { name } } totalCount } } } }",
    "json": "edges { node { historyKeys sampledHistory(specs: [\"{\\\"keys\\\":[\\\"loss\\\"],\\\"samples\\\":3}\"]) } }",
    "history": "edges { node { history(samples: 3) events(samples: 2) parquetHistory(liveKeys: [\"_step\"]) { liveData } } }",
    "numbers": "edges { node { exitcode computeSeconds historyLineCount stopped readOnly running failed } }",
    "page info": "pageInfo { startCursor endCursor hasNextPage hasPreviousPage } totalCount totalCountApprox { min max }",
}  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    world = World("2024-06-01T00:00:00Z")
    world.add_user("alice", key="a" * 40, teams=["team"])
    generate(world, "team/vision", runs=60)
    return world


@cache
def executor(fast: bool) -> Executor:
    return Executor(QUERIES, fast=fast)


def answer(world: World, text: str, *, fast: bool) -> Any:
    found = document(text)
    assert not found.errors, found.errors
    ctx = Context(world, world.users["alice"], "http://sandbox")
    data, errors = executor(fast).execute(found, {"order": "-created_at"}, None, ctx)
    return json.dumps(data), [error.message for error in errors]


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS.keys())
def test_the_fast_way_equals_graphql_core(world: World, selection: str) -> None:
    runs = f"runs(first: $first, order: $order) {{ {selection} }}"
    used = [name for name in ("$yes", "$keys") if name not in selection]
    head = HEAD
    for name, text in (
        ("$yes", ", $yes: Boolean = true"),
        ("$keys", ', $keys: [String!] = ["lr"]'),
    ):
        head = head.replace(text, "") if name in used else head
    fragment = "fragment A on Run { notes heartbeatAt group ...B } fragment B on Run { updatedAt }"
    text = f"{head} {{ {PROJECT} {{ {runs} }} }} {fragment if '...A' in selection else ''}"
    assert answer(world, text, fast=True) == answer(world, text, fast=False)
    assert answer(world, text, fast=True)[1] == []


@pytest.mark.parametrize(
    ("name", "attribute"),
    [("createdAt", "created_at"), ("internalId", "internal_id"), ("defaultResourceConfigID", "default_resource_config_id")],
)  # fmt: skip
def test_a_field_is_the_attribute_of_its_name(name: str, attribute: str) -> None:
    assert snake_case(name) == attribute
