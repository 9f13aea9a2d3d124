"""Every spelling of a path that wandb accepts, and the sentences for those it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import PathError
from mirror.paths import Scope, matches, parse, parse_project, parse_run, parse_sweep

PROJECT = Scope("team", "vision")
RUN = Scope("team", "vision", run="abc123")
SWEEP = Scope("team", "vision", sweep="sw1")
REPORT = Scope("team", "vision", report="VmlldzoxMjM")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team/vision", PROJECT),
        ("/team/vision/", PROJECT),
        (" team / vision ", PROJECT),
        ("vision", PROJECT),
        ("vision:abc123", RUN),
        ("team/vision:abc123", RUN),
        ("team/vision/abc123", RUN),
        ("team/vision/runs/abc123", RUN),
        ("/team/vision/runs/abc123", RUN),
        ("team/vision/run/abc123", RUN),
        ("team/vision/sweeps/sw1", SWEEP),
        ("team/vision/reports/My-title--VmlldzoxMjM", REPORT),
        ("team/vision/reports/A--b--VmlldzoxMjM", REPORT),
        ("team/vision/reports/VmlldzoxMjM", REPORT),
        ("https://wandb.ai/team/vision", PROJECT),
        ("http://localhost:8080/team/vision?nw=nwuserx", PROJECT),
        ("wandb.ai/team/vision", PROJECT),
        ("https://wandb.ai/team/vision/workspace?nw=nwuserx", PROJECT),
        ("https://wandb.ai/team/vision/runs", PROJECT),
        ("https://wandb.ai/team/vision/table#top", PROJECT),
        ("https://wandb.ai/team/vision/runs/abc123", RUN),
        ("https://wandb.ai/team/vision/runs/abc123/overview?x=1", RUN),
        ("https://wandb.example.org/team/vision/sweeps/sw1/table", SWEEP),
        ("https://wandb.ai/team/vision/reports/My-title--VmlldzoxMjM?accessToken=x", REPORT),
        ("https://forge.coreweave.com/wandb/team/vision/runs/abc123", RUN),
        ("https://wandb.ai/team/a%20b", Scope("team", "a b")),
        ("team/a b", Scope("team", "a b")),
        ("команда/проект", Scope("команда", "проект")),
        # A path without kind is a run, whatever the run is called; only an address has pages.
        ("team/vision/runs", Scope("team", "vision", run="runs")),
    ],
)  # fmt: skip
def test_a_path_names(text: str, expected: Scope) -> None:
    assert parse(text, entity="team") == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        (" / ", "it is empty"),
        ("vision", "missing entity"),
        ("team//abc", "a part is empty"),
        ("team/vision/things/abc", "'things' is neither runs, sweeps nor reports"),
        ("team/vision/runs/abc/overview", "5 parts are too many"),
        ("team/vision:", "nothing follows the colon"),
        ("team/:abc", "missing project"),
        ("team/vision/reports/My-title", "Title--id"),
        ("team/vision/reports/title--", "Title--id"),
        ("https://wandb.ai", "names no project"),
        ("https://wandb.ai/team", "names an entity and no project"),
        ("https://wandb.ai/team/projects", "lists projects"),
        ("file:///team/vision", "no http or https address"),
        ("https://[bad/team/vision", "Invalid IPv6"),
    ],
)
def test_an_unreadable_path_says_what_is_wrong_and_what_is_accepted(
    text: str, problem: str
) -> None:
    with pytest.raises(PathError) as caught:
        parse(text)
    assert problem in str(caught.value)
    assert repr(text) in str(caught.value)
    assert "entity/project" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team/vision/abc123", RUN),
        ("team/vision/runs/abc123", RUN),
        ("vision/runs/abc123", RUN),
        ("team/vision:abc123", RUN),
        ("vision:abc123", RUN),
        ("vision/abc123", RUN),
        ("abc123", RUN),
        ("/runs/abc123", RUN),
        ("runs/abc123", Scope("team", "runs", run="abc123")),
        ("https://wandb.ai/team/vision/runs/abc123", RUN),
        ("team/vision:a:b", Scope("team", "vision", run="a:b")),
    ],
)
def test_where_a_run_is_expected_the_default_entity_and_project_fill_in(
    text: str, expected: Scope
) -> None:
    assert parse_run(text, entity="team", project="vision") == expected


@pytest.mark.parametrize("text", ["team/vision/sw1", "team/vision/sweeps/sw1", "vision/sw1", "sw1"])
def test_a_sweep_is_read_like_a_run(text: str) -> None:
    assert parse_sweep(text, entity="team", project="vision") == SWEEP


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("abc", "missing entity"),
        ("vision/abc", "missing entity"),
        ("a/b/c/d", "4 parts do not name a run"),
        ("team/vision:", "names no run"),
        ("team/vision/\udcff", "no UTF-8 text"),
    ],
)
def test_an_unreadable_run_is_refused(text: str, problem: str) -> None:
    with pytest.raises(PathError, match=problem):
        parse_run(text)


def test_a_run_without_a_project_is_refused() -> None:
    with pytest.raises(PathError, match="missing project"):
        parse_run("abc", entity="team")


@pytest.mark.parametrize("text", [None, "", "/"])
def test_no_path_is_the_default_project(text: str | None) -> None:
    assert parse_project(text, entity="team", project="vision") == PROJECT


def test_a_run_where_a_project_is_expected_is_refused_with_the_project() -> None:
    with pytest.raises(PathError, match=r"names more than a project: write team/vision"):
        parse_project("team/vision/abc")


_names = st.text(st.characters(exclude_characters="/: \t\r\n", exclude_categories=["Cs", "Z", "Cc"]), min_size=1)  # fmt: skip


@given(_names, _names, st.sampled_from(["run", "sweep", None]), _names)
def test_a_scope_is_read_back_from_its_text(
    entity: str, project: str, kind: str | None, name: str
) -> None:
    scope = Scope(entity, project, **({kind: name} if kind else {}))
    if entity.lower() not in {"wandb.ai", "www.wandb.ai", "app.wandb.ai", "api.wandb.ai"}:
        assert parse(str(scope)) == scope


@pytest.mark.parametrize(
    ("pattern", "entity", "project", "expected"),
    [
        ("team/*", "team", "vision", True),
        ("team/*", "other", "vision", False),
        ("team/vision-*", "team", "vision-2", True),
        ("team/vision-*", "team", "speech", False),
        ("*/demo", "anyone", "demo", True),
        ("team/one", "team", "one", True),
        ("team/one", "team", "One", False),
        ("team/v[12]", "team", "v2", True),
        ("te?m/*", "team", "x", True),
        ("*/*", "a", "b", True),
        # A star does not cross the slash.
        ("t*/x", "team", "a/x", False),
    ],
)
def test_a_selection_takes(pattern: str, entity: str, project: str, expected: bool) -> None:
    assert matches(pattern, entity, project) is expected


@pytest.mark.parametrize("pattern", ["team", "", "a/b/c", "/x", "*"])
def test_a_selection_without_two_halves_is_refused(pattern: str) -> None:
    with pytest.raises(PathError, match=r"write entity/project"):
        matches(pattern, "team", "x")
