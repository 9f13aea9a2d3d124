"""The unmodified `wandb` package logs to a sandbox and reads from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from real_process import KEY, seen_by

from mirror.sandbox import Server, World, generate
from mirror.sandbox.__main__ import KEY as PRINTED_KEY

SCRIPT = Path(__file__).with_name("real_client.py")


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    world.add_user("bob")
    generate(world, "team/vision", runs=150)
    world.add_organization("acme", teams=["team"], members=["alice"])
    world.add_view("team/vision", "Results", spec='{"panelGroups":[]}')
    world.add_view("team/vision", "A workspace", type="project-view")
    world.add_integration("team", "SlackIntegration", team_name="acme", channel_name="#runs")
    world.add_integration(
        "team", "GenericWebhookIntegration", name="hook", url_endpoint="https://example.com"
    )
    world.add_trigger("team/vision", "notify")
    world.add_project("team", "model-registry")
    config = world.add_resource_config("team", "kubernetes", {"resource_args": {}})
    queue = world.add_run_queue(
        "team/model-registry", "gpu", prioritization_mode="V0",
        default_resource_config_id=config.id,
    )  # fmt: skip
    world.add_queue_item(queue, {"job": "train"})
    return world


@pytest.fixture(scope="module")
def seen(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script printed, once for all tests: the client takes seconds to start."""
    folder = tmp_path_factory.mktemp("wandb")
    with Server(world) as server:
        return seen_by(SCRIPT.name, server.url, folder)


EXPECTED = {
    "viewer": "alice",
    "default_entity": "alice",
    "projects": ["fresh", "model-registry", "vision"],
    "name": "my run",
    "state": "finished",
    "tags": ["one", "two"],
    "config": {"lr": 0.1, "nested": {"a": [1, None]}, "late": True},
    "group": "g",
    "job_type": "train",
    "notes": "hello",
    "user": "alice",
    "summary": {"loss": "0.2", "bad": "4", "best": "inf"},
    "last_step": 4,
    "history": [1, 1 / 3, 0.2],
    # Real JSON has no NaN, so chosen keys come with the word; all keys come as JSON texts.
    "scan": ["0", "1", "2", "NaN", "4"],
    "program": True,
    "download": "_wandb:\n ",
    "count": 150,
    "walked": 150,
    "missing_project": "ValueError",
    "missing_run": "CommError",
    "missing_sweep": "CommError",
    "bad_filter": "WandbApiFailedError",
    "best_run": True,
    "team": ["team", "team", ["alice"]],
    "user_teams": ["alice", "team"],
    "users": ["alice", "bob"],
    "nobody": None,
    "organization": "acme",
    "report": ["Results", {"panelGroups": []}, "alice"],
    "integrations": ["SlackIntegration", "WebhookIntegration"],
    "slack": ["#runs"],
    "automations": ["made", "notify"],
    "all_automations": ["made", "notify"],
    "event": "loss",
    "automation_twice": "CommError",
    "updated": False,
    "deleted": True,
    "queue": ["PROJECT", "V0", "kubernetes", {"resource_args": {}}],
    "items": ["pending"],
    "queued": "pending",
    "missing_team": "KeyError",
    "invited": True,
    "crew": ["alice", "bob"],
    "created": "running",
    "uploaded": ["real_client.py", SCRIPT.stat().st_size],
    "deleted_run": "CommError",
    "left": 0,
    "reused": "WandbApiFailedError",
    "resumed": [True, True],
    "content": ["hello", "v0", 5, {"k": 1}],
    "logged_by": "logs",
    "used_by": ["uses"],
    "logged": ["dataset", "run_table"],
    "types": ["dataset", "run_table"],
    "collections": ["data"],
    "versions": ["data:v0"],
    "aliases": ["best", "latest", "prod"],
    "linked": True,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_real_client_sees_what_it_logged(seen: dict[str, Any], name: str) -> None:
    assert seen[name] == EXPECTED[name]


def test_the_real_client_sees_the_generated_runs(world: World, seen: dict[str, Any]) -> None:
    project = world.projects["team/vision"]
    oldest = min(project.runs.values(), key=lambda run: (run.created_us, run.name))
    assert (seen["first"], seen["created_at"]) == (oldest.name, oldest.created_at)
    assert seen["project"] == project.id
    assert seen["filtered"] == sorted(seen["filtered"], reverse=True)
    assert 0 < seen["filtered_count"] < 150
    assert seen["sweep"][0] in project.sweeps
    assert {"config.yaml", "wandb-metadata.json", "wandb-summary.json"} <= set(seen["files"])


def test_what_the_real_client_edited_is_in_the_world(world: World, seen: dict[str, Any]) -> None:
    run = world.run("team/fresh", seen["id"])
    assert run.tags == ["one", "two", "three"]
    assert run.display_name == "renamed"
    assert json.loads(run.config_text)["lr"]["value"] == 0.5
    assert run.state == "finished"
    assert (run.group, run.exitcode, run.history_line_count) == ("g", 0, 6)


def test_the_key_that_the_sandbox_prints_is_one_for_the_real_client() -> None:
    validation = pytest.importorskip("wandb.sdk.lib.wbauth.validation")
    assert validation.check_api_key(PRINTED_KEY) is None
