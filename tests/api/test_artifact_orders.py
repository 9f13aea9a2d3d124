"""What runs used and logged, and who used a version: each in the server's own order, whatever came last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

import mirror
from mirror.config import Config
from mirror.sandbox import World
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import sync

KEY = "a1b2c3d4e5" * 4
PATH = "team/art"
USERS = ("zoe", "amy", "kim")
"""Runs in the order in which they use a version; their names and ages say another."""


@pytest.fixture
def world() -> World:
    made = World()
    made.add_user("alice", key=KEY, entity="team", teams=["team"])
    made.add_project("team", "art")
    logs = made.add_run(PATH, name="logs", state="finished")
    for day, name in ((9, "c"), (3, "a"), (6, "b")):  # logged in another order than they say
        made.artifacts.log(
            f"{PATH}/{name}",
            "dataset",
            {"f": name},
            run=logs,
            created_at=f"2024-01-0{day}T00:00:00Z",
        )
    for name in sorted(USERS):
        made.add_run(PATH, name=name, state="finished")
    for name in USERS:
        for which in ("b", "c", "a") if name == "zoe" else ("a", "b", "c"):
            made.artifacts.use(f"{PATH}/{which}:v0", f"{PATH}/{name}", "input")
    return made


@pytest.fixture
def synced(config: Config) -> Config:
    """Settings for a store that mirrors what the world holds at first."""
    assert sync([PATH], config=config).ok
    return config


def shown(config: Config) -> dict[str, Any]:
    api = mirror.Api(config=config, mode="offline")
    return {
        "logged": [one.name for one in api.run(f"{PATH}/logs").logged_artifacts()],
        "used": {
            name: [one.name for one in api.run(f"{PATH}/{name}").used_artifacts()] for name in USERS
        },
        "users": {
            name: [run.id for run in api.artifact(f"{PATH}/{name}:v0").used_by()] for name in "abc"
        },
    }


def wanted(world: World) -> dict[str, Any]:
    art = world.artifacts
    return {
        "logged": [f"{one.sequence.name}:v0" for one in art.outputs[world.run(PATH, "logs")]],
        "used": {
            name: [f"{one.sequence.name}:v0" for one in art.inputs[world.run(PATH, name)]]
            for name in USERS
        },
        "users": {
            name: [run.name for run in art.version(f"{PATH}/{name}:v0").used_by] for name in "abc"
        },
    }


def _edited_versions(world: World, _store: Store) -> None:
    for name in "abc":
        world.artifacts.edit(f"{PATH}/{name}:v0", description="read anew")


def _run_again(world: World, _store: Store) -> None:
    for name in USERS:
        world.edit(PATH, name, notes="anew")


def _as_before_there_were_two(_world: World, store: Store) -> None:
    with store.begin() as tx:
        tx.execute(sa.update(tables.artifact_uses).values(run_position=None))


EVENTS: dict[str, Callable[[World, Store], None]] = {
    "nothing": lambda _world, _store: None,
    "versions are read anew": _edited_versions,
    "runs are read anew": _run_again,
    "an older store": _as_before_there_were_two,
}


@pytest.mark.parametrize("event", EVENTS)
def test_orders_are_the_servers_after(
    event: str, world: World, synced: Config, store: Store
) -> None:
    assert wanted(world)["logged"] == ["c:v0", "a:v0", "b:v0"]
    world.advance(900)
    EVENTS[event](world, store)
    assert sync([PATH], config=synced).ok
    assert shown(synced) == wanted(world)


def test_what_a_run_no_longer_lists_is_not_listed(world: World, synced: Config) -> None:
    world.advance(900)
    world.artifacts.outputs[world.run(PATH, "logs")].pop(1)
    world.edit(PATH, "logs", notes="anew")
    assert sync([PATH], config=synced).ok
    assert shown(synced)["logged"] == ["c:v0", "b:v0"]


def test_an_order_that_is_known_is_not_asked_for_again(world: World, synced: Config) -> None:
    world.advance(900)
    assert sync([PATH], config=synced).ok
    before = world.requests.count("MirrorLineageOfRuns")
    world.advance(900)
    assert sync([PATH], config=synced).ok
    assert world.requests.count("MirrorLineageOfRuns") == before
