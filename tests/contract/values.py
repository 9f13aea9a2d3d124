"""Scripts about single objects: runs of hard values, sweeps, projects, people, files, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from filled import HARD, HARD_TEXTS, MANY

Script = Callable[[Any], Any]
SCRIPTS: Final[dict[str, Script]] = {}


def script(function: Script) -> Script:
    SCRIPTS[function.__name__] = function
    return function


def _documents(name: str) -> Script:
    def read(api: Any) -> Any:
        run = api.run(f"{HARD}/{name}")
        return {
            "config": run.config,
            "rawconfig": run.rawconfig,
            "summary_metrics": run.summary_metrics,
            "json_config": run.json_config,
            "system_metrics": run.system_metrics,
        }

    return read


def _summary(name: str) -> Script:
    def read(api: Any) -> Any:
        summary = api.run(f"{HARD}/{name}").summary
        keys = list(summary.keys())
        return (
            keys,
            [(key, summary.get(key, "absent")) for key in keys],
            [key in summary for key in [*keys, "absent"]],
            type(summary).__name__,
            repr(summary),
            dict(summary),
        )

    return read


for _name in HARD_TEXTS:
    SCRIPTS[f"documents of {_name}"] = _documents(_name)
    SCRIPTS[f"summary of {_name}"] = _summary(_name)


@script
def summaries_nest(api: Any) -> Any:
    summary = api.run(f"{HARD}/order").summary
    nested = summary["a"]
    return (
        type(nested).__name__,
        list(nested.keys()),
        nested["z"]["x"],
        summary.a.z.y,
        nested.get("none", 5),
        "z" in nested,
        repr(nested),
        [key for key, _ in nested.items()],
        summary.get("a") is summary["a"],
    )


@script
def a_summary_lacks_a_key(api: Any) -> Any:
    return api.run(f"{HARD}/order").summary["nothing"]


@script
def a_summary_lacks_an_attribute(api: Any) -> Any:
    return api.run(f"{HARD}/order").summary.nothing


@script
def summaries_strip_keys(api: Any) -> Any:
    summary = api.run(f"{HARD}/order").summary
    return summary[" z "], summary.get(" z"), " z " in summary


@script
def a_summary_changes_locally(api: Any) -> Any:
    api.flush()
    run = api.runs(HARD, {"name": "order"})[0]
    run.summary["new"] = [1, 2]
    run.summary["z"] = 5
    run.summary.other = 2.5
    del run.summary["m"]
    answer = (dict(run.summary), run.summary_metrics, run.summary.new)
    api.flush()
    return answer


@script
def runs_have_fields(api: Any) -> Any:
    names = (
        "id", "name", "display_name", "displayName", "state", "tags", "group", "job_type", "jobType", "commit",
        "notes", "description", "created_at", "createdAt", "heartbeat_at", "read_only", "sweep_name", "storage_id",
        "history_line_count", "entity", "project", "path", "url", "project_id", "lastHistoryStep",
    )  # fmt: skip
    return [[(name, getattr(run, name, "absent")) for name in names] for run in api.runs(HARD)]


@script
def a_run_lacks_an_attribute(api: Any) -> Any:
    return api.run(f"{HARD}/floats").no_such_thing


@script
def a_lazy_run_lacks_an_attribute(api: Any) -> Any:
    return api.runs(HARD)[0].heartbeat


@script
def a_run_is_shown(api: Any) -> Any:
    runs = [api.run(f"{HARD}/floats"), api.run(f"{HARD}/a b%c")]
    return [
        (repr(run), str(run), run.to_html(), run.to_html(height=5, hidden=True), run._repr_html_())
        for run in runs
    ]


@script
def a_run_has_a_user(api: Any) -> Any:
    run = api.run(f"{HARD}/nan")
    return (
        run.user,
        run.user.name,
        run.user.username,
        run.user._attrs,
        run.user.teams,
        run.user.api_keys,
    )


@script
def a_run_user_lacks_a_field(api: Any) -> Any:
    return api.run(f"{HARD}/nan").user.email


@script
def a_run_has_a_sweep(api: Any) -> Any:
    run = api.run(f"{HARD}/nan")
    return run.sweep, run.sweep.id, run.sweep.config, api.run(f"{HARD}/floats").sweep


@script
def runs_are_found_by_many_paths(api: Any) -> Any:
    paths = (
        "team/hard/floats",
        "team/hard/runs/floats",
        "/team/hard/floats",
        "team/hard:floats",
        "team/hard/floats/",
    )
    return [(path, api.run(path).id, api.run(path).path) for path in paths]


@script
def run_is_kept_by_path(api: Any) -> Any:
    one = api.run(f"{HARD}/floats")
    same = one is api.run(f"{HARD}/floats")
    api.flush()
    return same, one is api.run(f"{HARD}/floats")


@script
def loading_again_changes_nothing(api: Any) -> Any:
    run = api.run(f"{HARD}/wrapped")
    before = (run.config, run.rawconfig)
    run.load(force=True)
    return before == (run.config, run.rawconfig), run.load_full_data(force=True)["config"]


# ---------------------------------------------------------------- what is missing


def _missing(name: str, ask: Script) -> None:
    SCRIPTS[f"missing {name}"] = ask


_missing("run", lambda api: api.run(f"{HARD}/nope"))
_missing("deleted run", lambda api: api.run(f"{HARD}/gone"))
_missing("run path", lambda api: api.run(""))
_missing("run path of an entity alone", lambda api: api.run("team"))
_missing("run path too long", lambda api: api.run("a/b/c/d/e"))
_missing("sweep", lambda api: api.sweep(f"{HARD}/nope"))
_missing("sweep path", lambda api: api.sweep(""))
_missing("user attribute", lambda api: api.viewer.nothing)
_missing("sweep attribute", lambda api: api.sweep(f"{HARD}/swp1").nothing)
_missing("project attribute", lambda api: api.project("hard", "team").nothing)
_missing("from_path", lambda api: api.from_path("a/b/c/d/e"))
_missing("from_path kind", lambda api: api.from_path("a/b/things/d"))
_missing("report path", lambda api: api.from_path("team/hard/reports/a-b"))


# ---------------------------------------------------------------- projects and sweeps


@script
def projects_are_listed(api: Any) -> Any:
    projects = api.projects("team")
    return [
        (p.name, p.entity, p.id, p.path, p.url, p.created_at, p.is_benchmark, repr(p))
        for p in projects
    ]


@script
def projects_have_no_length(api: Any) -> Any:
    return api.projects("team").length, hasattr(api.projects("team"), "__len__")


@script
def projects_can_be_indexed(api: Any) -> Any:
    projects = api.projects("team")
    return projects[0].name, [p.name for p in projects[:2]], projects.entity


@script
def projects_are_kept(api: Any) -> Any:
    return api.projects("team") is api.projects("team", per_page=1), api.projects("team").per_page


@script
def a_project_is_read(api: Any) -> Any:
    project = api.project("hard", "team")
    names = (
        "name",
        "entity",
        "id",
        "path",
        "url",
        "created_at",
        "createdAt",
        "is_benchmark",
        "entity_name",
    )
    return (
        [(name, getattr(project, name)) for name in names],
        repr(project),
        project.to_html(),
        project.to_html(9, True),
    )


@script
def a_project_has_an_owner(api: Any) -> Any:
    owner = api.project("hard", "team").owner
    return owner.username, owner.name, owner.email, owner.admin, owner.entity, repr(owner)


@script
def sweeps_are_listed(api: Any) -> Any:
    sweeps = api.project("hard", "team").sweeps()
    return (
        len(sweeps),
        [(s.id, s.name, s.state, repr(s)) for s in sweeps],
        sweeps.more,
        repr(sweeps),
    )


@script
def a_project_without_sweeps(api: Any) -> Any:
    sweeps = api.project("empty", "team").sweeps()
    return list(sweeps), len(sweeps)


@script
def a_sweep_is_read(api: Any) -> Any:
    names = (
        "id", "name", "entity", "project", "state", "config", "order", "expected_run_count", "path", "url", "method",
        "description", "best_loss", "created_at", "updated_at", "run_count", "display_name",
    )  # fmt: skip
    sweeps = [api.sweep(f"{HARD}/swp1"), api.sweep(f"{HARD}/sweeps/swp2")]
    return [
        ([(name, getattr(sweep, name)) for name in names], repr(sweep), sweep.to_html())
        for sweep in sweeps
    ]


@script
def a_sweep_has_runs(api: Any) -> Any:
    runs = api.sweep(f"{HARD}/swp1").runs
    return [run.id for run in runs], len(runs), runs.per_page, runs.filters, runs.order


@script
def a_sweep_has_a_best_run(api: Any) -> Any:
    sweep = api.sweep(f"{HARD}/swp1")
    orders = (None, "loss", "+loss", "-summary_metrics.loss", "created_at", "config.lr")
    return [(order, (best := sweep.best_run(order)) and best.id) for order in orders]


@script
def a_sweep_without_runs_has_no_best(api: Any) -> Any:
    return api.sweep(f"{HARD}/swp2").best_run(), api.sweep(f"{HARD}/swp2").order


@script
def a_sweep_of_many(api: Any) -> Any:
    sweeps = sorted(api.project("many", "team").sweeps(), key=lambda sweep: sweep.id)  # they tie
    return [
        (s.id, s.name, s.state, s.run_count, s.order, (b := s.best_run()) and b.id) for s in sweeps
    ]


# ---------------------------------------------------------------- people, reports


@script
def the_viewer(api: Any) -> Any:
    viewer = api.viewer
    return (
        viewer.username,
        viewer.name,
        viewer.email,
        viewer.entity,
        viewer.admin,
        viewer.teams,
        repr(viewer),
    )


@script
def the_default_entity(api: Any) -> Any:
    return api.default_entity


@script
def a_team(api: Any) -> Any:
    team = api.team("team")
    members = [
        (m.name, m.username, m.email, m.admin, m.account_type, m.id, m.team, repr(m))
        for m in team.members
    ]
    return repr(team), team.name, members, team.id, team.is_team, team.entity_type


@script
def users_are_found(api: Any) -> Any:
    return (
        api.user("alice@example.com"),
        [u.username for u in api.users("alice")],
        api.user("nobody"),
        api.users("nobody"),
    )


@script
def reports_are_listed(api: Any) -> Any:
    reports = api.reports(HARD)
    return [
        (
            r.id,
            r.name,
            r.display_name,
            r.description,
            r.url,
            r.user,
            r.created_at,
            r.updated_at,
            r.spec,
        )
        for r in reports
    ]


@script
def reports_have_a_length(api: Any) -> Any:
    return len(api.reports(HARD)), repr(api.reports(HARD)), api.reports(MANY).objects


@script
def a_report_has_runs(api: Any) -> Any:
    report = api.reports(HARD, name="abc123")[0]
    runs = report.runs(report.sections[0])
    return [run.id for run in runs], runs.filters, runs.order


@script
def from_path_finds_kinds(api: Any) -> Any:
    found = [
        api.from_path(path)
        for path in (HARD, f"{HARD}/floats", f"{HARD}/runs/nan", f"{HARD}/sweeps/swp1")
    ]
    report = api.from_path(f"{HARD}/reports/First-results--Vmlldzo")
    return (
        found,
        report.display_name,
        report.id,
        report.spec,
        report.entity,
        report.project,
        report.url,
    )
