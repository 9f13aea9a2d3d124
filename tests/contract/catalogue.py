"""Short scripts as users write them, each as one function of an Api."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from filled import HARD, MANY

Script = Callable[[Any], Any]
SCRIPTS: Final[dict[str, Script]] = {}


def script(function: Script) -> Script:
    SCRIPTS[function.__name__] = function
    return function


@script
def export_all_runs_to_a_frame(api: Any) -> Any:
    import pandas as pd

    summary_list, config_list, name_list = [], [], []
    for run in api.runs(MANY):
        summary_list.append(run.summary._json_dict)
        config_list.append({k: v for k, v in run.config.items() if not k.startswith("_")})
        name_list.append(run.name)
    return pd.DataFrame({"summary": summary_list, "config": config_list, "name": name_list})


@script
def export_flat_columns(api: Any) -> Any:
    import pandas as pd

    rows = [
        {"id": r.id, "lr": r.config.get("lr"), "loss": r.summary.get("loss")}
        for r in api.runs(MANY)
    ]
    return pd.DataFrame(rows).sort_values(["loss", "id"]).head(20)


@script
def every_config_and_summary(api: Any) -> Any:
    return [(r.name, r.config, dict(r.summary)) for r in api.runs(MANY)]


@script
def every_full_run(api: Any) -> Any:
    api.flush()
    runs = api.runs(MANY, {"config.settings": {"$exists": False}}, lazy=False, per_page=40)
    return [{**r.config, **r.summary_metrics} for r in runs]


@script
def best_run_of_a_sweep(api: Any) -> Any:
    best = api.sweep(f"{HARD}/swp1").best_run()
    return best.name, best.summary.get("loss"), best.config


@script
def best_run_by_metric(api: Any) -> Any:
    best = api.runs(MANY, order="-summary_metrics.val/acc")[0]
    return best.id, best.summary["val/acc"]


@script
def top_ten_by_metric(api: Any) -> Any:
    return [
        (r.id, r.summary.get("loss")) for r in api.runs(MANY, order="+summary_metrics.loss")[:10]
    ]


@script
def filter_by_tags_and_dates(api: Any) -> Any:
    filters = {
        "$and": [
            {"tags": {"$in": ["best", "paper"]}},
            {"createdAt": {"$gte": "2023-08-01T00:00:00Z"}},
        ]
    }
    return [(r.id, r.tags, r.created_at) for r in api.runs(MANY, filters=filters)]


@script
def group_by_config(api: Any) -> Any:
    groups = defaultdict(list)
    for run in api.runs(MANY, {"state": "finished"}):
        groups[run.config["model"]["type"]].append(run.summary.get("loss"))
    return {key: [len(values), values[:3]] for key, values in sorted(groups.items())}


@script
def compare_two_runs(api: Any) -> Any:
    one, two = api.runs(MANY)[0], api.runs(MANY)[1]
    return {
        key: (one.config[key], two.config.get(key))
        for key in one.config
        if one.config[key] != two.config.get(key)
    }


@script
def walk_the_projects_of_a_team(api: Any) -> Any:
    return {project.name: len(api.runs("/".join(project.path))) for project in api.projects("team")}


@script
def last_ten_crashed_runs(api: Any) -> Any:
    runs = api.runs(MANY, {"state": "crashed"}, order="-created_at", per_page=10)
    return [(r.name, r.state, r.created_at, r.user.username) for r in runs[:10]]


@script
def count_by_state(api: Any) -> Any:
    return {
        state: len(api.runs(MANY, {"state": state}))
        for state in ("finished", "crashed", "failed", "running")
    }


@script
def names_that_match(api: Any) -> Any:
    return [r.name for r in api.runs(MANY, {"display_name": {"$regex": "^(amber|calm).*"}})]


@script
def runs_of_a_user(api: Any) -> Any:
    return [r.id for r in api.runs(MANY, {"username": "amira"})]


@script
def runs_of_a_group(api: Any) -> Any:
    return [
        (r.group, r.job_type, r.id)
        for r in api.runs(MANY, {"group": {"$in": ["group-1", "group-2"]}})
    ]


@script
def config_keys_in_use(api: Any) -> Any:
    return sorted({key for run in api.runs(MANY) for key in run.config})


@script
def metric_range(api: Any) -> Any:
    losses = [v for r in api.runs(MANY) if isinstance(v := r.summary.get("val/loss"), float)]
    return min(losses), max(losses), sum(losses) / len(losses)


@script
def unfinished_runs(api: Any) -> Any:
    return [
        (r.id, r.state)
        for r in api.runs(MANY, {"state": {"$nin": ["finished", "failed", "crashed", "killed"]}})
    ]


@script
def read_one_run(api: Any) -> Any:
    run = api.run(f"{HARD}/floats")
    return run.name, run.state, run.config, dict(run.summary), run.tags, run.url


@script
def a_run_of_each_sweep(api: Any) -> Any:
    return {
        sweep.id: [r.id for r in sweep.runs[:3]] for sweep in api.project("many", "team").sweeps()
    }


@script
def runs_without_a_metric(api: Any) -> Any:
    return [r.id for r in api.runs(MANY, {"summary_metrics.loss": {"$exists": False}})]


@script
def duplicates_by_config(api: Any) -> Any:
    seen = defaultdict(list)
    for run in api.runs(MANY):
        seen[str(run.config.get("lr"))].append(run.id)
    return [ids for ids in seen.values() if len(ids) > 1]


@script
def a_table_of_nested_values(api: Any) -> Any:
    return [
        (r.config["optimizer"]["betas"][1], r.summary.get("best", {}).get("epoch"))
        for r in api.runs(MANY)[:25]
    ]


@script
def failed_or_slow(api: Any) -> Any:
    filters = {"$or": [{"state": "failed"}, {"summary_metrics._runtime": {"$gt": 500}}]}
    return [
        (r.id, r.state, r.summary.get("_runtime")) for r in api.runs(MANY, filters, "-created_at")
    ]


@script
def links_to_runs(api: Any) -> Any:
    return [f"[{r.name}]({r.url})" for r in api.runs(HARD)]


@script
def newest_run(api: Any) -> Any:
    run = next(iter(api.runs(MANY, order="-created_at", per_page=1)))
    return run.id, run.name, run.heartbeat_at


@script
def tags_in_use(api: Any) -> Any:
    counts: dict[str, int] = {}
    for run in api.runs(MANY):
        for tag in run.tags:
            counts[tag] = counts.get(tag, 0) + 1
    return sorted(counts.items())


@script
def settings_of_a_sweep(api: Any) -> Any:
    sweep = api.sweep(f"{HARD}/swp1")
    return sweep.config["parameters"]["lr"], sweep.config["metric"]["name"], len(sweep.runs)


@script
def my_runs(api: Any) -> Any:
    return [r.id for r in api.runs(HARD, {"username": api.viewer.username})]
