"""Aliases move without a trace in time: how many there are and who has them is asked, not their list."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from artifact_worlds import PATH, held, wanted

from mirror.sandbox import World, generate_artifacts
from mirror.sync import aliases, pulse

VERSIONS = 30
"""More than a first pulse lists."""


@pytest.fixture
def filled(world: World) -> World:
    for number in range(VERSIONS):
        world.artifacts.log(f"{PATH}/data", "dataset", {"a.txt": f"{number}"})
    world.artifacts.log(f"{PATH}/model", "model", {"w.bin": "weights"}, aliases=["best"])
    world.artifacts.give(world.artifacts.find(f"{PATH}/data:v3"), ["prod"])
    return world


def give(world: World, version: str, *names: str) -> None:
    world.artifacts.give(world.artifacts.find(f"{PATH}/{version}"), list(names))


def take(world: World, version: str, *names: str) -> None:
    world.artifacts.take(world.artifacts.find(f"{PATH}/{version}"), list(names))


MOVES: dict[str, Callable[[World], object]] = {
    "one that is new on an old version": lambda w: give(w, "data:v7", "silver"),
    "one that is held moves": lambda w: give(w, "data:v8", "prod"),
    "latest goes back": lambda w: give(w, "data:v0", "latest"),
    "one is taken away": lambda w: take(w, "data:v3", "prod"),
    "one goes and another comes": lambda w: (
        take(w, "data:v3", "prod"),
        give(w, "data:v3", "live"),
    ),
    "two change places": lambda w: (give(w, "data:v29", "prod"), give(w, "data:v3", "latest")),
    "with a new version": lambda w: (
        w.artifacts.log(f"{PATH}/data", "dataset", {"n": "new"}),
        give(w, "data:v1", "prod"),
    ),
    "with a deleted version": lambda w: (
        w.artifacts.delete(w.artifacts.version(f"{PATH}/data:v5")),
        give(w, "data:v1", "gold"),
    ),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_move_is_found_by_the_next_sync(filled, mirror, store, move):
    mirror()
    filled.advance(900)
    MOVES[move](filled)
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)
    filled.requests.reset()
    mirror()
    assert filled.requests.count("MirrorCollectionAliases") == 0


def how(store) -> str:
    return str(json.loads(store.meta("artifact_aliases") or "{}").get("mode"))


def test_a_pass_that_finds_nothing_reads_no_list_of_versions_or_aliases(world, mirror, store):
    generate_artifacts(world, PATH, versions=400, collections=2, files=1)
    mirror()
    assert how(store) == "counted"
    world.requests.reset()
    idle = mirror()
    assert idle.requests <= 3
    assert idle.bytes < 6_000
    assert held(store) == wanted(world)


@pytest.mark.parametrize("move", MOVES)
def test_where_cursors_do_not_count_aliases_are_listed(filled, mirror, store, monkeypatch, move):
    monkeypatch.setattr(aliases, "counted", lambda _node: None)
    mirror()
    assert how(store) == "listed"
    monkeypatch.setattr(pulse, "ALIASES_A_PAGE", 5)
    filled.advance(900)
    MOVES[move](filled)
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)


def test_aliases_that_no_pulse_asks_for_are_asked_in_one_request(
    filled, mirror, store, monkeypatch
):
    monkeypatch.setattr(pulse, "NAMES_A_PULSE", 1)
    mirror()
    filled.requests.reset()
    mirror()
    assert filled.requests.count("MirrorMembersByAlias") == 1
    filled.advance(900)
    give(filled, "data:v9", "prod")
    take(filled, "model:v0", "best")
    give(filled, "model:v0", "good")
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)


def test_many_aliases_of_one_collection_are_read_page_by_page(filled, mirror, store, monkeypatch):
    monkeypatch.setattr(aliases, "LIGHT_PAGE", 10)
    for number in range(VERSIONS):
        give(filled, f"data:v{number}", f"run-{number}", f"day-{number}")
    mirror()
    assert held(store) == wanted(filled)
    filled.advance(900)
    give(filled, "data:v9", "run-2", "day-20", "another")
    assert mirror().exit_code == 0
    assert filled.requests.count("MirrorCollectionAliases") >= 9
    assert held(store) == wanted(filled)


def test_a_server_that_does_not_say_who_has_an_alias_is_asked_for_the_list(filled, mirror, store):
    mirror()
    assert how(store) == "counted"
    filled.features["MEMBERS_BY_ALIAS"] = False
    filled.advance(900)
    give(filled, "data:v8", "prod", "new")
    filled.artifacts.delete(filled.artifacts.version(f"{PATH}/data:v0"))
    report = mirror()
    assert report.exit_code == 0, report
    assert held(store) == wanted(filled)
    assert how(store) == "listed"


def test_edits_are_seen_by_a_server_that_does_not_filter_them_no_more_than_aliases(
    filled, mirror, store
):
    mirror()
    filled.fail("MirrorArtifactPulse", errors="bad filter", times=2)
    filled.advance(900)
    give(filled, "data:v8", "prod", "new")
    assert mirror().exit_code == 0
    assert held(store) == wanted(filled)
    assert how(store) == "counted"


def test_memberships_that_are_gone_are_looked_up_many_in_a_request(filled, mirror, store):
    for number in range(VERSIONS):
        filled.artifacts.link(filled.artifacts.version(f"{PATH}/data:v{number}"), f"{PATH}/shelf")
    mirror()
    filled.advance(900)
    for number in range(VERSIONS - 1):
        filled.artifacts.unlink(filled.artifacts.version(f"{PATH}/data:v{number}"), f"{PATH}/shelf")
    filled.requests.reset()
    report = mirror()
    assert report.counts["versions_gone"] == VERSIONS - 1
    assert held(store) == wanted(filled)
    assert report.requests <= 6
