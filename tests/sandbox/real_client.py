"""What the real package does to a sandbox: run by test_sandbox_real_client.py in a process of its own.

It prints one JSON object of what it saw; the test says what that must be.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import wandb


def log_a_run() -> str:
    with wandb.init(
        entity="team", project="fresh", name="my run", config={"lr": 0.1, "nested": {"a": [1, None]}},
        tags=["one", "two"], group="g", job_type="train", notes="hello",
        settings=wandb.Settings(quiet=True),
    ) as run:  # fmt: skip
        for step in range(5):
            run.log(
                {
                    "loss": 1 / (step + 1),
                    "bad": float("nan") if step == 3 else step,
                    "deep": {"v": step},
                }
            )
        run.summary["best"] = float("inf")
        run.config["late"] = True
        return run.id


def fails_with(call: Any) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the name of whatever it raises is what is asked
        return type(error).__name__
    return "nothing"


def read(name: str) -> dict[str, Any]:
    api = wandb.Api()
    run = api.run(f"team/fresh/{name}")
    runs = api.runs("team/vision", per_page=20)
    full = api.runs(
        "team/vision",
        filters={"config.lr": {"$gt": 0.01}},
        order="-summary_metrics.val/loss",
        lazy=False,
    )
    sweep = api.runs("team/vision", filters={"sweep": {"$ne": None}})[0].sweep_name
    found = api.sweep(f"team/vision/{sweep}")
    return {
        "viewer": api.viewer.username,
        "default_entity": api.default_entity,
        "projects": sorted(one.name for one in api.projects("team")),
        "project": api.project("vision", entity="team").id,
        "name": run.name, "state": run.state, "tags": run.tags, "config": run.config,
        "group": run.group, "job_type": run.job_type, "notes": run.notes, "user": run.user.username,
        "summary": {key: str(run.summary_metrics[key]) for key in ("loss", "bad", "best")},
        "last_step": run.lastHistoryStep,
        "history": [row["loss"] for row in run.history(pandas=False, samples=3)],
        "keys": run.history(keys=["loss", "deep.v"], pandas=False),
        "scan": [str(row["bad"]) for row in run.scan_history(keys=["bad"])],
        "files": sorted(one.name for one in run.files()),
        "program": run.metadata["program"].endswith("real_client.py"),
        "download": run.file("config.yaml").download(root=".", replace=True).read()[:9],
        "count": len(runs), "walked": len({one.id for one in runs}),
        "first": runs[0].id, "created_at": runs[0].created_at, "lazy_config": "lr" in runs[0].config,
        "filtered": [one.summary_metrics.get("val/loss") for one in full][:5],
        "filtered_count": len(full),
        "sweep": [found.id, found.state, found.config["method"], len(found.runs) > 0],
        "best_run": found.best_run() is not None,
        "missing_project": fails_with(lambda: len(api.runs("team/missing"))),
        "missing_run": fails_with(lambda: api.run("team/vision/missing")),
        "missing_sweep": fails_with(lambda: api.sweep("team/vision/missing")),
        "bad_filter": fails_with(lambda: len(api.runs("team/vision", filters={"nonsense": 1}))),
    }  # fmt: skip


def edit(name: str) -> None:
    run = wandb.Api().run(f"team/fresh/{name}")
    run.tags.append("three")
    run.config["lr"] = 0.5
    run.display_name = "renamed"
    run.update()
    run.summary["later"] = 7
    run.summary.update()


if __name__ == "__main__":
    logged = log_a_run()
    seen = read(logged)
    edit(logged)
    sys.stdout.write("\n" + json.dumps({"id": logged, **seen}) + "\n")
