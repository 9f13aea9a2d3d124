"""Runs that the real package logged into the sandbox, read by both clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from compare import outcome, same
from filled import KEY
from logged import run_beside
from new_stores import new_settings

import mirror
from mirror.config import Config
from mirror.sandbox import Server, World
from mirror.sync import sync

PATH = "team/logged"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    with Server(world) as running:
        yield running


@pytest.fixture(scope="module")
def logged(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server, when the real package has logged into it."""
    run_beside("log_runs.py", server, tmp_path_factory)
    return server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def config(
    request: pytest.FixtureRequest,
    logged: Server,
    postgres_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Config]:
    """Settings for a store that mirrors what was logged."""
    with new_settings(request.param, logged, tmp_path_factory, request) as found:
        assert sync([PATH], config=found).ok
        yield found


@pytest.fixture(scope="module")
def real_here(real: Any, server: Server) -> Any:
    """The real client on this server."""
    import wandb

    return wandb.Api({"base_url": server.url}, timeout=60, api_key=KEY)


def in_order(value: Any) -> Any:
    """A row with sorted keys: the real client's reader gives them in an order of its own each time."""
    if not isinstance(value, dict):
        return value
    return {key: in_order(value[key]) for key in sorted(value)}


STORED = [
    lambda api: [(r.id, r.name, r.state, r.tags, r.notes, r.group, r.job_type) for r in api.runs(PATH)],
    lambda api: [(r.config, r.rawconfig, r.json_config) for r in api.runs(PATH)],
    lambda api: [(r.summary_metrics, dict(r.summary), r.system_metrics) for r in api.runs(PATH)],
    lambda api: [(r.created_at, r.heartbeat_at, r.user, r.url, r.lastHistoryStep) for r in api.runs(PATH)],
    lambda api: [r._attrs for r in api.runs(PATH)],
    lambda api: [r.id for r in api.runs(PATH, {"config.lr": 1e5, "summary_metrics.best": {"$exists": True}})],
    lambda api: sorted((f.name, f.size, f.md5) for f in api.run(f"{PATH}/logged0").files()),
    lambda api: api.run(f"{PATH}/logged1").history_keys,
]  # fmt: skip

THROUGH = [
    lambda api: api.run(f"{PATH}/logged1").history(pandas=False),
    lambda api: api.run(f"{PATH}/logged1").history(keys=["loss", "deep.v"], pandas=False),
    lambda api: [in_order(row) for row in api.run(f"{PATH}/logged1").scan_history()],
    lambda api: api.run(f"{PATH}/logged0").metadata,
    lambda api: api.run(f"{PATH}/logged0").file("config.yaml").size,
]


@pytest.mark.parametrize("ask", STORED)
def test_a_logged_run_reads_the_same(
    ask: Callable[[Any], Any], real_here: Any, config: Config
) -> None:
    found = outcome(ask, mirror.Api(config=replace(config, api_key=None), mode="offline"))
    wanted = outcome(ask, real_here)
    assert same(found, wanted), (found, wanted)
    assert found[0] != "raised"


@pytest.mark.parametrize("ask", THROUGH)
def test_a_logged_run_is_read_through_the_same(
    ask: Callable[[Any], Any], real_here: Any, config: Config
) -> None:
    wanted = outcome(ask, real_here)
    for api in (mirror.Api(config=config), mirror.Api(config=config, mode="offline")):
        found = outcome(ask, api)
        assert same(found, wanted), (found, wanted)
    assert wanted[0] != "raised"
