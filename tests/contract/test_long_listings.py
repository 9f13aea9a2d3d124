"""Loops over more runs than are held in memory: same runs, same order, same objects where somebody holds them."""

from __future__ import annotations

import gc
import pickle
from typing import Any

import pytest
from filled import KEY

import mirror
from mirror.api import kept
from mirror.api import runs as listing
from mirror.config import resolve
from mirror.sandbox import Server, World, generate
from mirror.store.store import Store
from mirror.sync import sync

KEEP = 60
COUNT = 4 * KEEP + 30


@pytest.fixture
def api(store: Store, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> mirror.Api:
    monkeypatch.setattr(kept, "KEEP", KEEP)
    monkeypatch.setattr(kept, "BLOCK", 25)
    monkeypatch.setattr(listing, "KEEP", KEEP)
    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    generate(world, "team/long", runs=COUNT, seed=3)
    with Server(world) as server:
        config = resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)
        assert sync(["team/long"], store=store, config=config).ok
    return mirror.Api(config=config, store=store, mode="offline")


def test_a_long_listing_is_read_again_where_it_was_dropped(api: mirror.Api) -> None:
    runs = api.runs("team/long")
    first = [(run.id, run.config, dict(run.summary).keys()) for run in runs]
    assert len(first) == len(runs) == len(runs.objects) == COUNT
    assert len({name for name, _, _ in first}) == COUNT
    assert [(run.id, run.config, dict(run.summary).keys()) for run in runs] == first
    assert [run.id for run in runs[10:20]] == [name for name, _, _ in first[10:20]]
    assert runs[-1].id == first[-1][0]
    assert [run.id for run in runs.objects[-5:]] == [name for name, _, _ in first[-5:]]


def test_few_runs_are_in_memory(api: mirror.Api) -> None:
    for run in (runs := api.runs("team/long")):
        assert run.config is not None
    del run
    gc.collect()
    assert len(runs.objects.in_memory()) == KEEP


def test_a_run_somebody_holds_stays_the_same_object(api: mirror.Api) -> None:
    runs = api.runs("team/long")
    held = runs[3]
    held.notes = "mine"
    for _ in runs:
        pass
    assert runs[3] is held
    assert runs.objects[3].notes == "mine"


def test_a_long_listing_pickles_and_goes_on(store_url: str, api: mirror.Api) -> None:
    runs = mirror.Api(config=api._service_api.config, store=store_url, mode="offline").runs(
        "team/long"
    )
    seen = [run.id for run in runs[: KEEP + 20]]
    again = pickle.loads(pickle.dumps(runs))
    assert [run.id for run in again[: KEEP + 20]] == seen
    assert len(list(again)) == COUNT


def test_an_upgraded_listing_is_full_where_it_is_read_again(api: mirror.Api) -> None:
    runs = api.runs("team/long")
    runs[KEEP + 50]
    runs.upgrade_to_full()
    assert all("config" in run._attrs for run in (runs[0], runs[KEEP + 40], runs[COUNT - 1]))
