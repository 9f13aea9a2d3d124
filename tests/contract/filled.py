"""The world the contract is judged in: a project of hard values, one of made-up runs, and their company.

Times lie in the past and the clock stands still, so both clients see one state.
"""

from __future__ import annotations

import json
from typing import Any, Final

from mirror.sandbox import World, generate
from mirror.sandbox.objects import StoredFile, View

KEY: Final = "c0ffee1234" * 4
NOW: Final = "2024-06-01T12:00:00Z"
HARD = "team/hard"
MANY = "team/many"
EMPTY = "team/empty"
QUEUES = "team/model-registry"

SWEEP_CONFIG: Final = """\
description: the learning rate, mostly
method: bayes
metric:
  goal: minimize
  name: loss
name: tune lr
parameters:
  lr:
    max: 0.1
    min: 1e-05
"""

# name → the texts of config and summary, exactly as a server holds them.
HARD_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "floats": (
        '{"a": {"value": 1e5}, "b": {"value": -0.0}, "c": {"value": 1.0}, "d": {"value": 1e-7},'
        ' "e": {"value": 0.1}, "f": {"value": 1E+2}, "g": {"value": 123456789.123456789}}',
        '{"loss": 1e5, "zero": -0.0, "one": 1.0, "tiny": 5e-324, "huge": 1.7976931348623157e308}',
    ),
    "nan": (
        '{"a": {"value": NaN}, "b": {"value": "NaN"}, "c": {"value": Infinity}, "d": {"value": "-Infinity"}}',
        '{"loss": NaN, "text": "NaN", "up": Infinity, "down": -Infinity, "nested": {"x": NaN}}',
    ),
    "integers": (
        '{"a": {"value": 1180591620717411303424}, "b": {"value": 9223372036854775807},'
        ' "c": {"value": -9223372036854775808}, "d": {"value": 9007199254740993}, "e": {"value": 0}}',
        '{"loss": 2, "big": 1180591620717411303424, "list": [1, 1.0, 18446744073709551616]}',
    ),
    "strings": (
        '{"nul": {"value": "a\\u0000b"}, "surrogate": {"value": "\\ud800"}, "emoji": {"value": "\\ud83d\\ude00"},'
        ' "": {"value": "empty key"}, "tab\\tkey": {"value": " x "}, "größe": {"value": "ß"}}',
        '{"loss": 3.5, "nul": "\\u0000", "quote": "\\"\\\\", "line": "a\\u2028b", " padded ": 1}',
    ),
    "order": (
        '{"z": {"value": {"b": 1, "a": 2}}, "a": {"value": [3, 1, 2]}, "m": {"value": {}}}',
        '{"z": 1, "a": {"z": {"y": 1, "x": 2}, "a": []}, "loss": 0.25, "m": null}',
    ),
    "wrapped": (
        '{"plain": 5, "object": {"x": 1}, "value": {"value": {"value": 1}}, "described": {"desc": "d", "value": 7},'
        ' "_wandb": {"value": {"cli_version": "0.31.0", "t": {"1": [1]}}}, "wandb_version": 1, "null": {"value": null}}',
        '{"value": {"value": 1}, "loss": 0.5, "table": {"_type": "table-file", "path": "media/t.json"}}',
    ),
    "empty": ("{}", "{}"),
    "control": ('{"a": {"value": 1}}', '{"loss": 0.75, "text": "a\nb"}'),
    "dotted": (
        '{"optim.lr": {"value": 0.5}, "optim": {"value": {"lr": 0.25}}, "a/b": {"value": 1}}',
        '{"val/loss": 0.5, "loss": 4, "deep": {"er": {"est": true}}}',
    ),
}  # fmt: skip


def filled() -> World:
    """Return a fresh world with everything the scripts ask for."""
    world = World(NOW)
    world.add_user("alice", key=KEY, entity="alice", teams=["team"], name="Alice", admin=True)
    world.add_user("bob", teams=["team"], name="Bob B.")
    world.add_organization("acme", teams=["team"], members=["alice"])
    for path in (HARD, MANY, EMPTY):
        entity, _, name = path.partition("/")
        world.add_project(
            entity, name, user="alice", created_at="2024-01-01T00:00:00Z", description=f"the {name}"
        )
    _add_hard(world)
    generate(world, MANY, runs=130, seed=11)
    _add_reports(world)
    _add_rare_kinds(world)
    return world


def _add_rare_kinds(world: World) -> None:
    world.add_integration("team", "SlackIntegration", team_name="acme", channel_name="#runs")
    world.add_integration(
        "team", "GenericWebhookIntegration", name="hook", url_endpoint="https://example.com"
    )
    world.add_trigger(HARD, "notify")
    entity, _, name = QUEUES.partition("/")
    world.add_project(entity, name, user="alice", created_at="2024-01-01T00:00:00Z")
    config = world.add_resource_config("team", "kubernetes", {"resource_args": {"a": 1}})
    queue = world.add_run_queue(
        QUEUES, "gpu", prioritization_mode="V0",
        default_resource_config_id=config.id,
    )  # fmt: skip
    world.add_queue_item(queue, {"job": "train"})


def _add_hard(world: World) -> None:
    world.add_sweep(
        HARD, "swp1", config=SWEEP_CONFIG, display_name=None, description="the learning rate, mostly",
        created_at="2024-01-02T00:00:00Z", method="bayes", metric="loss", run_count_expected=10,
    )  # fmt: skip
    world.add_sweep(
        HARD, "swp2", config="method: grid\nparameters: {}\n", display_name="Second", state="RUNNING",
        created_at="2024-01-03T00:00:00Z", method="grid",
    )  # fmt: skip
    for index, (name, (config, summary)) in enumerate(HARD_TEXTS.items()):
        world.add_run(
            HARD, name=name, config_text=config, summary_text=summary, user=("alice", "bob")[index % 2],
            created_at=f"2024-02-{1 + index // 2:02d}T10:00:0{index % 10}", tags=["hard", name][: index % 3],
            sweep="swp1" if index % 2 else None, group="odd" if index % 2 else None, compute_seconds=60 * index,
            notes=None if index % 2 else f"note {index}", job_type="train" if index % 3 else None,
            state=("finished", "crashed", "failed", "killed", "preempted")[index % 5], commit="ab" * 20,
            system_metrics={"system.cpu": 12.5 * index, "system.gpu.0.temp": 40 + index},
            history=rows(index),
        )  # fmt: skip
    _add_files(world)
    world.add_run(HARD, name="waiting", state="pending", created_at="2024-03-01T00:00:00Z")
    world.add_run(
        HARD, name="a b%c", display_name="odd id", created_at="2024-03-02T00:00:00.123Z", summary={"loss": 9}
    )  # fmt: skip
    world.add_run(HARD, name="gone", created_at="2024-03-03T00:00:00Z")
    world.delete(HARD, "gone")


def rows(count: int) -> list[dict[str, Any]]:
    """History of a run: whole and broken numbers, gaps, a key that comes late."""
    return [
        {"_step": step, "_timestamp": 1.7e9 + step, "_runtime": step * 0.5, "loss": 1 / (step + 1)}
        | ({"late": step} if step > 2 else {})
        for step in range(count * 3)
    ]


def _add_files(world: World) -> None:
    files = world.run(HARD, "integers").recorded().files
    for name, content, kind in (
        ("wandb-metadata.json", json.dumps({"os": "Linux", "python": "3.11", "x": 1.0}).encode(), "application/json"),
        ("output.log", b"hello\nworld\n", "text/plain"),
        ("media/plot.json", b"{}", "application/json"),
        ("config.yaml", b"lr: 1\n", "application/yaml"),
    ):  # fmt: skip
        files[name] = StoredFile(world.number(), name, NOW, content, kind)


def _add_reports(world: World) -> None:
    project, alice = world.project(HARD), world.users["alice"]
    spec = {
        "panelGroups": [
            {
                "openRunSet": 0,
                "runSets": [
                    {
                        "sort": {"key": {"section": "run", "name": "createdAt"}, "ascending": False},
                        "filters": {"op": "OR", "filters": [{"op": "AND", "filters": []}]},
                        "selections": {"tree": ["floats", "order"]},
                    }
                ],
            }
        ]
    }  # fmt: skip
    for name, title, kind in (
        ("abc123", "First results: what's new?", "runs"),
        ("def456", "Zweiter Bericht", "runs"),
        ("ws", "a workspace", "project-view"),
    ):
        project.views.append(
            View(
                world.number(), project, name, title, kind, json.dumps(spec), "2024-03-01T00:00:00Z",
                user=alice, updated_at="2024-03-02T00:00:00Z", description=f"about {name}",
            )
        )  # fmt: skip
