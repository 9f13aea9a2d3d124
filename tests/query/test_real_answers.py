"""The same filters, sent through the real `wandb.Api().runs(...)` to the sandbox and asked of the mirror."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import put
from test_cases import ANSWERED, FOLDER, RUNS

from mirror.reads import RunQuery
from mirror.sandbox import Server, World
from mirror.store.store import Store

KEY = "a1b2c3d4e5" * 4
SCRIPT = Path(__file__).with_name("real_answers.py")


def world_of_cases() -> World:
    world = World()
    world.add_user("owner", key=KEY, entity="owner", teams=["team"])
    world.add_project("team", "cases")
    for name in {run["username"] for run in RUNS if run["username"]}:
        world.add_user(name)
    for run in RUNS:
        world.add_run(
            "team/cases", name=run["name"], config=run["config"], summary=run["summary_metrics"],
            state=run["state"], created_at=run["created_at"], heartbeat_at=run["heartbeat_at"],
            user=run["username"], sweep=run["sweep"], display_name=run["display_name"],
            tags=run["tags"], group=run["group"], job_type=run["job_type"], host=run["host"],
            compute_seconds=run["duration"],
        )  # fmt: skip
    return world


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("wandb")
    own = {name: str(folder) for name in ("HOME", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")}  # fmt: skip
    kept = {name: text for name, text in os.environ.items() if not name.startswith("WANDB_")}
    with Server(world_of_cases()) as server:
        environment = kept | own | {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "WANDB_SILENT": "true"}  # fmt: skip
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(FOLDER / "filters.jsonl")],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_real_client_gets_from_the_sandbox_what_the_mirror_answers(
    answers: dict[str, list[str]], store: Store
) -> None:
    put(store, "p", RUNS)
    differing: dict[str, Any] = {}
    for case in ANSWERED:
        if "duration" in json.dumps(case):  # a server computes it, it is never null there
            continue
        names = RunQuery(store, "p", case["filter"], case.get("order")).names()
        if names != answers[case["id"]]:
            differing[case["id"]] = case["filter"], answers[case["id"]], names
    assert differing == {}
