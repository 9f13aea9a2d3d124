"""What a second sync makes of names and runs that moved while versions did not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from filled import KEY
from shelved import ART, shelved

import mirror
from mirror.config import resolve
from mirror.sandbox import Server, World
from mirror.sync import sync


@pytest.fixture
def moved(store_url: str) -> Any:
    """Sync, let something happen, sync again; return the offline `Api`."""
    world = shelved()
    with Server(world) as server:
        config = resolve(store=store_url, base_url=server.url, api_key=KEY, environ={}, cwd="/")

        def after(event: Any) -> Any:
            assert sync([ART], config=config).ok
            event(world)
            world.advance(900)
            assert sync([ART], config=config).ok
            return mirror.Api(config=replace(config, api_key=None), mode="offline")

        yield after


def _rename(world: World) -> None:
    world.artifacts.edit_collection(f"{ART}/data", name="sets", type="table")


def test_versions_follow_the_name_and_type_of_their_sequence(moved: Any) -> None:
    api = moved(_rename)
    one = api.artifact("team/art/sets:v0")
    assert (one.source_qualified_name, one.is_link, one.type) == (
        "team/art/sets:v0",
        False,
        "table",
    )
    link = api.artifact("wandb-registry-sets/train:old")
    assert link.source_qualified_name == "team/art/sets:v0"
    assert next(iter(api.run(f"{ART}/logs").logged_artifacts())).name == "sets:v0"


def test_a_deleted_run_uses_and_logs_nothing(moved: Any) -> None:
    api = moved(lambda world: world.delete(ART, "uses"))
    assert api.artifact("team/art/net:v0").logged_by() is None
    assert api.artifact("team/art/data:v0").used_by() == []


def test_a_collection_of_nothing_has_no_aliases(moved: Any) -> None:
    api = moved(lambda world: world.artifacts.unlink(f"{ART}/net:v0", f"{ART}/nets"))
    assert api.artifact_collection("model", "team/art/nets").aliases == []


def test_registries_asked_for_once_are_listed_offline(store_url: str) -> None:
    with Server(shelved()) as server:
        config = resolve(store=store_url, base_url=server.url, api_key=KEY, environ={}, cwd="/")
        online = [one.name for one in mirror.Api(config=config).registries()]
    offline = mirror.Api({"entity": "team"}, config=replace(config, api_key=None), mode="offline")
    assert [one.name for one in offline.registries()] == online
