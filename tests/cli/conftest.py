"""A command line to call, with a store of its own and nothing of the user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from commands import Run
from test_ingest import PROJECT, node
from test_projects import put_project

from mirror import instants
from mirror.cli import cli
from mirror.ingest import ingest_runs
from mirror.store import tables
from mirror.store.store import Store


@pytest.fixture(autouse=True)
def nothing_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home and a folder that are empty, and no variable that means something to us."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("MIRROR_CONFIG", "MIRROR_MODE", "MIRROR_STORE", "NETRC", "WANDB_API_KEY",
                 "WANDB_BASE_URL", "WANDB_CONFIG_DIR", "WANDB_DIR", "WANDB_ENTITY",
                 "WANDB_PROJECT", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)


@pytest.fixture
def run() -> Run:
    """Call the command line; an exception that is not ours is a failure of the test."""

    def call(*args: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(
            cli, [str(arg) for arg in args], input=input, prog_name="mirror"
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def filled(store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that the command line uses, with ten runs of `ent/proj`, fresh as of now."""
    monkeypatch.setenv("MIRROR_STORE", store_url)
    put_project(store, int(PROJECT), "ent/proj")
    now = instants.now()
    with store.begin() as tx:
        runs = [_run(i) for i in range(10)]
        ingest_runs(tx, runs, project_id=PROJECT, synced_at=now)
        state = {"project_id": PROJECT, "stage": "runs", "synced_at": now, "walk_complete_at": now, "server_count": 10}  # fmt: skip
        tx.upsert_all(tables.sync_state, [state])
    return store


def _run(i: int) -> dict[str, Any]:
    return node(
        f"run{i}",
        displayName=f"run {i}",
        state="finished" if i % 2 else "crashed",
        createdAt=f"2024-01-0{i % 9 + 1}T00:00:00",
        config=json.dumps({"lr": {"value": i / 1000}, "model": {"value": {"name": "vit"}}}),
        summaryMetrics=json.dumps({"val/acc": 1 - i / 10, "note": "a,b\n"}),
    )
