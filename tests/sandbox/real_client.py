"""What the real package does to a sandbox: run by test_sandbox_real_client.py in a process of its own.

It prints one JSON object of what it saw; the test says what that must be.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import wandb
from wandb.automations import DoNothing, OnRunMetric, RunEvent


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


def read_the_rest() -> dict[str, Any]:
    """People, reports, automations, integrations and queues, read and written."""
    api = wandb.Api()
    team, user, queue = api.team("team"), api.user("alice"), api.run_queue("team", "gpu")
    [report] = api.reports("team/vision")
    project = api.project("vision", entity="team")
    event = OnRunMetric(scope=project, filter=RunEvent.metric("loss") < 0.1)
    api.create_automation(event >> DoNothing(), name="made")
    made = api.automation("made", entity="team")
    made.enabled = False
    return {
        "team": [team.name, team.entity_type, [member.username for member in team.members]],
        "user_teams": user.teams,
        "users": [one.username for one in api.users("example.com")][:2],
        "nobody": api.user("nobody"),
        "organization": api.organization().name,
        "report": [report.display_name, report.spec, report.user["username"]],
        "integrations": [type(one).__name__ for one in api.integrations("team")],
        "slack": [one.channel_name for one in api.slack_integrations(entity="team")],
        "automations": sorted(one.name for one in api.automations("team")),
        "all_automations": sorted(one.name for one in api.automations()),
        "event": made.event.filter.metric.threshold_filter.name,
        "automation_twice": fails_with(
            lambda: api.create_automation(event >> DoNothing(), name="made")
        ),
        "updated": api.update_automation(made).enabled,
        "deleted": api.delete_automation(made),
        "queue": [queue.access, queue.prioritization_mode, queue.type, queue.default_resource_config],
        "items": [item.state for item in queue.items],
        "queued": api.queued_run("team", "vision", "gpu", queue.items[0].id, project_queue="model-registry").state,
        "missing_team": fails_with(lambda: api.team("missing")),
        "invited": api.create_team("crew").invite("bob"),
        "crew": [member.username for member in api.team("crew").members],
    }  # fmt: skip


def change() -> dict[str, Any]:
    """Runs and projects made, uploaded to and deleted."""
    api = wandb.Api()
    api.create_project("made", "team")
    run = api.create_run(run_id="made0001", project="made", entity="team")
    file = run.upload_file(__file__, root=str(Path(__file__).parent))
    run.delete()
    again = wandb.Api()
    return {
        "created": run.state,
        "uploaded": [file.name, file.size],
        "deleted_run": fails_with(lambda: again.run("team/made/made0001")),
        "left": len(again.runs("team/made")),
        "reused": fails_with(lambda: again.create_run(run_id="made0001", project="made", entity="team")),
    }  # fmt: skip


def artifacts() -> dict[str, Any]:
    """A table and a dataset logged, used, linked and edited."""
    quiet = wandb.Settings(quiet=True)
    with wandb.init(entity="team", project="made", id="logs", settings=quiet) as run:
        run.log({"table": wandb.Table(columns=["a"], data=[[1]])})
        data = wandb.Artifact("data", "dataset", metadata={"k": 1})
        with data.new_file("f.txt") as file:
            file.write("hello")
        run.log_artifact(data, aliases=["best"]).wait()
    with wandb.init(entity="team", project="made", id="uses", settings=quiet) as run:
        used = run.use_artifact("data:best")
        content = (Path(used.download(root="down")) / "f.txt").read_text()
    api = wandb.Api()
    found = api.artifact("team/made/data:latest")
    found.aliases.append("prod")
    found.save()
    found.link("team/model-registry/port")
    return {
        "content": [content, used.version, used.size, used.metadata],
        "logged_by": found.logged_by().id,
        "used_by": [one.id for one in found.used_by()],
        "logged": sorted(one.type for one in api.run("team/made/logs").logged_artifacts()),
        "types": sorted(one.name for one in api.artifact_types("team/made")),
        "collections": [one.name for one in api.artifact_collections("team/made", "dataset")],
        "versions": [one.name for one in api.artifacts("dataset", "team/made/data")],
        "aliases": sorted(wandb.Api().artifact("team/made/data:prod").aliases),
        "linked": wandb.Api().artifact("team/model-registry/port:v0").is_link,
    }


def resume(name: str) -> list[Any]:
    """Go on with a run that has ended."""
    with wandb.init(
        entity="team", project="fresh", id=name, resume="must", settings=wandb.Settings(quiet=True)
    ) as run:
        run.log({"loss": 0.1})
        return [run.resumed, run.config["late"]]


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
    seen |= read_the_rest() | change() | artifacts() | {"id": logged, "resumed": resume(logged)}
    sys.stdout.write("\n" + json.dumps(seen) + "\n")
