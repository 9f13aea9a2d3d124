"""Every text that mirror can send is valid against the server's schema, also to older servers."""

from __future__ import annotations

import itertools
import json
import re
from importlib import resources
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    parse,
    validate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.remote.operations import (
    OPTIONAL,
    Count,
    Runs,
    Selection,
    SweepPulse,
    Sweeps,
    combine,
    document,
    each_by_id,
    members_by_alias,
)
from mirror.remote.trimming import trim

FILES = resources.files("mirror.remote")
TEXT = FILES.joinpath("operations.graphql").read_text("utf-8")
NAMES = re.findall(r"^(?:query|mutation) (\w+)", TEXT, re.MULTILINE)
FRAGMENTS = re.findall(r"^fragment (\w+)", TEXT, re.MULTILINE)

SELECTIONS: dict[str, Selection] = {
    "full": Runs({"state": "finished"}),
    "light": Runs(light=True, first=1000, after="x"),
    "count": Count({"state": "running"}),
    "sweeps": Sweeps(),
    "pulse": SweepPulse("abc"),
}


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema(FILES.joinpath("schema.graphql").read_text("utf-8"))


def problems(schema: GraphQLSchema, text: str) -> list[str]:
    return [error.message for error in validate(schema, parse(text))]


def operation(text: str) -> OperationDefinitionNode:
    found: DocumentNode = parse(text)
    (only,) = [each for each in found.definitions if isinstance(each, OperationDefinitionNode)]
    return only


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_valid(schema: GraphQLSchema, name: str) -> None:
    assert problems(schema, document(name)) == []
    assert operation(document(name)).name.value == name  # type: ignore[union-attr]


@pytest.mark.parametrize("field", sorted(OPTIONAL))
def test_every_operation_stays_valid_without_an_optional_field(
    schema: GraphQLSchema, field: str
) -> None:
    for name in NAMES:
        text = document(name, frozenset({field}))
        if text != document(name):
            assert problems(schema, text) == [], name
        if "." not in field:
            assert not re.search(rf"(?<![\w$]){field}\b(?!\s*[:(])", text), name


@pytest.mark.parametrize("name", NAMES)
def test_it_stays_valid_without_all_of_them(schema: GraphQLSchema, name: str) -> None:
    assert problems(schema, document(name, OPTIONAL)) == []


def test_no_fragment_is_unused() -> None:
    sent = [document(name) for name in NAMES]
    sent += [combine({"a": selection})[0] for selection in SELECTIONS.values()]
    for name in FRAGMENTS:
        assert any(f"...{name}" in text for text in sent)


def test_every_optional_field_is_asked_for_somewhere() -> None:
    sent = " ".join([TEXT, *(combine({"a": each})[0] for each in SELECTIONS.values())])
    words = set(re.findall(r"\w+", sent))
    assert words >= {field.rpartition(".")[2] for field in OPTIONAL}


@pytest.mark.parametrize(
    ("lacking", "sweeps", "light"),
    [("Sweep.displayName", False, True), ("Run.displayName", True, False), ("displayName", False, False)],
)  # fmt: skip
def test_what_one_type_lacks_is_still_asked_of_others(
    schema: GraphQLSchema, lacking: str, sweeps: bool, light: bool
) -> None:
    text, _ = combine({"a": SELECTIONS["sweeps"], "b": Runs(light=True)}, frozenset({lacking}))
    assert problems(schema, text) == []
    sweep, run = (
        re.search(rf"fragment {name} on .*?^}}", text, re.DOTALL | re.MULTILINE)[0]  # type: ignore[index]
        for name in ("SweepFields", "RunLight")
    )
    assert ("displayName" in sweep, "displayName" in run) == (sweeps, light)


@pytest.mark.parametrize(
    ("text", "lacking", "expected"),
    [
        ("query Q { viewer { id email } }", "User.email", "query Q { viewer { id  } }"),
        ("query Q { viewer { email } }", "User.email", "query Q { viewer {  __typename } }"),
        ("query Q { viewer { mail: email id } }", "User.email", "query Q { viewer {  id } }"),
        ("query Q { viewer { teams { edges { node { id } } } id } }", "User.teams", "query Q { viewer {  id } }"),
        ("query Q($n: Int) { viewer { teams(first: $n) { edges { node { id } } } } }", "User.teams", None),
        ("fragment F on ArtifactCollection { id state # end\n}", "ArtifactSequence.state", "fragment F on ArtifactCollection { id  # end\n}"),
        ("query Q { artifact(id: 1) { createdBy { ... on Run { id host } ... on User { id } } } }", "Run.host", "query Q { artifact(id: 1) { createdBy { ... on Run { id  } ... on User { id } } } }"),
    ],
)  # fmt: skip
def test_fields_are_cut_where_they_stand(text: str, lacking: str, expected: str | None) -> None:
    assert trim(text, frozenset({lacking})) == (text if expected is None else expected)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_combination_of_selections_is_valid(schema: GraphQLSchema, size: int) -> None:
    for kinds in itertools.product(SELECTIONS, repeat=size):
        chosen = {f"{kind}{place}": SELECTIONS[kind] for place, kind in enumerate(kinds)}
        text, variables = combine(chosen)
        assert problems(schema, text) == [], kinds
        declared = {each.variable.name.value for each in operation(text).variable_definitions}
        assert declared == {"project", "entity", *variables}, kinds


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(sorted(SELECTIONS)), min_size=1, max_size=6),
    st.frozensets(st.sampled_from(sorted(OPTIONAL))),
)
def test_so_is_it_without_fields(
    schema: GraphQLSchema, kinds: list[str], without: frozenset[str]
) -> None:
    chosen = {f"{kind}{place}": SELECTIONS[kind] for place, kind in enumerate(kinds)}
    text, _ = combine(chosen, without)
    assert problems(schema, text) == []


FILTERS: dict[str, Any] = {'config.a"b': "ключ \ud83d\ude00", "$or": [{"state": None}, {"x": 1e-9}]}


def test_filters_travel_as_json_text_and_their_meaning_stays() -> None:
    _, variables = combine({"page": Runs(FILTERS, order="-created_at", first=7, after="c")})
    assert json.loads(variables["pageFilters"]) == FILTERS
    assert (variables["pageOrder"], variables["pageFirst"], variables["pageAfter"]) == (
        "-created_at",
        7,
        "c",
    )


def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(KeyError):
        document("MirrorNothing")


def test_apikeys_and_introspection_are_never_asked_for() -> None:
    # The server refuses the first to unknown clients, the vendor bans the second (contract 1.7, 1.9).
    for text in [document(name) for name in NAMES]:
        assert "apiKeys" not in text
        assert "__schema" not in text
        assert "__type(" not in text


def test_documents_that_ask_many_at_once_are_valid(schema: GraphQLSchema) -> None:
    assert problems(schema, each_by_id("artifact", "ArtifactFields", 3)) == []
    assert problems(schema, members_by_alias(3)) == []
