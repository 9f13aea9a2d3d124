"""Scripts that need the server once: history, files, console, and the kinds that are read rarely."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from filled import HARD

Script = Callable[[Any], Any]
SCRIPTS: Final[dict[str, Script]] = {}


def script(function: Script) -> Script:
    SCRIPTS[function.__name__] = function
    return function


def run_of(api: Any, name: str = "integers") -> Any:
    return api.run(f"{HARD}/{name}")


@script
def history_as_rows(api: Any) -> Any:
    return run_of(api).history(pandas=False)


@script
def history_as_a_frame(api: Any) -> Any:
    return run_of(api, "dotted").history()


@script
def history_of_keys(api: Any) -> Any:
    return run_of(api, "dotted").history(keys=["loss", "late"], pandas=False)


@script
def history_by_another_axis(api: Any) -> Any:
    return run_of(api, "dotted").history(
        keys=["loss"], x_axis="_timestamp", pandas=False, samples=5
    )


@script
def history_of_the_machine(api: Any) -> Any:
    return run_of(api).history(stream="system", pandas=False)


@script
def history_of_nothing(api: Any) -> Any:
    return run_of(api, "floats").history(pandas=False), run_of(api, "floats").history(
        keys=["x"], pandas=False
    )


@script
def history_of_bad_keys(api: Any) -> Any:
    run = run_of(api)
    return (
        run.history(keys="loss"),
        run.history(keys=[1]),
        run.history(keys=["loss"], stream="system"),
    )


@script
def a_scan_of_all(api: Any) -> Any:
    return [sorted(row.items()) for row in run_of(api, "dotted").scan_history()]


@script
def a_scan_of_keys(api: Any) -> Any:
    return [
        sorted(row.items())
        for row in run_of(api, "dotted").scan_history(keys=["loss", "late"], page_size=4)
    ]


@script
def a_scan_of_a_range(api: Any) -> Any:
    scan = run_of(api, "dotted").scan_history(min_step=2, max_step=9)
    return scan.max_step, [sorted(row.items()) for row in scan], len(list(scan))


@script
def a_scan_of_bad_keys(api: Any) -> Any:
    return run_of(api).scan_history(keys="loss")


@script
def a_scan_of_nothing(api: Any) -> Any:
    return list(run_of(api, "floats").scan_history())


@script
def histories_of_runs(api: Any) -> Any:
    return api.runs(HARD, {"name": {"$in": ["nan", "order"]}}).histories(keys=["loss"])


@script
def histories_as_a_frame(api: Any) -> Any:
    return api.runs(HARD, {"name": {"$in": ["nan", "order"]}}).histories(format="pandas")


@script
def histories_of_a_bad_format(api: Any) -> Any:
    return api.runs(HARD).histories(format="csv")


@script
def the_last_step(api: Any) -> Any:
    return [(run.id, run.lastHistoryStep) for run in api.runs(HARD)]


@script
def files_are_listed(api: Any) -> Any:
    files = run_of(api).files()
    rows = [(f.name, f.size, f.mimetype, f.md5, f.updated_at, f.id, repr(f)) for f in files]
    return rows, len(files), repr(files), files.more


@script
def files_by_name_and_pattern(api: Any) -> Any:
    run = run_of(api)
    names = [f.name for f in run.files(names=["output.log", "config.yaml"])]
    return (
        names,
        [f.name for f in run.files(pattern="%.json")],
        [f.name for f in run.files(per_page=1)],
    )


@script
def files_by_both_are_refused(api: Any) -> Any:
    return run_of(api).files(names=["a"], pattern="%")


@script
def a_run_without_files(api: Any) -> Any:
    files = run_of(api, "waiting").files()
    return list(files), len(files), repr(files)


@script
def a_file_is_downloaded(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        with run_of(api).file("output.log").download(root=folder) as opened:
            text = opened.read()
        return text, sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*"))


@script
def a_file_lies_deeper(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        run_of(api).file("media/plot.json").download(root=folder).close()
        return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*"))


@script
def a_file_is_not_overwritten(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        file = run_of(api).file("output.log")
        file.download(root=folder).close()
        file.download(root=folder, exist_ok=True).close()
        file.download(root=folder, replace=True).close()
        return file.download(root=folder)


@script
def metadata_is_read(api: Any) -> Any:
    return run_of(api).metadata, run_of(api, "floats").metadata


@script
def an_organization(api: Any) -> Any:
    found = api.organization("acme")
    return found.name, found.id, found.org_entity.name


@script
def no_such_organization(api: Any) -> Any:
    return api.organization("nope")


@script
def automations_are_listed(api: Any) -> Any:
    found = [*api.automations("team"), *api.automations()]
    return [
        (one.name, one.id, one.enabled, one.description, one.created_at.isoformat())
        for one in found
    ]


@script
def an_automation_by_name(api: Any) -> Any:
    found = api.automation("notify", entity="team")
    texts = (found.event.event_type == "RUN_STATE", found.action.action_type == "NO_OP")
    return found.name, found.scope.name, found.scope.id, texts


@script
def a_run_queue(api: Any) -> Any:
    queue = api.run_queue("team", "gpu")
    return (
        (
            queue.access,
            queue.prioritization_mode,
            queue.type,
            queue.default_resource_config,
            queue.id,
        ),
        (queue.name, queue.entity, repr(queue), queue.template_variables),
        [item.state for item in queue.items],
    )


@script
def a_queued_run(api: Any) -> Any:
    item = api.run_queue("team", "gpu").items[0]
    queued = api.queued_run("team", "hard", "gpu", item.id, project_queue="model-registry")
    return queued.state, queued.id, queued.queue_name, queued.entity, queued.project, repr(queued)


@script
def no_such_automation(api: Any) -> Any:
    return api.automation("nope", entity="team")


@script
def integrations_are_listed(api: Any) -> Any:
    kinds = (
        api.integrations("team"),
        api.webhook_integrations("team"),
        api.slack_integrations(entity="team"),
    )
    return [[(type(one).__name__, one.id, one.typename__) for one in kind] for kind in kinds]


@script
def integrations_have_fields(api: Any) -> Any:
    hook, slack = (
        next(api.webhook_integrations("team")),
        next(api.slack_integrations(entity="team")),
    )
    return hook.name, hook.url_endpoint, slack.team_name, slack.channel_name


@script
def a_file_of_a_missing_name(api: Any) -> Any:
    file = run_of(api).file("nope.txt")
    return file.name, file.md5, file.size


# From the server each time: never kept, so not for offline.
LIVE: Final[dict[str, Script]] = {
    "console_logs": lambda api: [
        (line.number, line.content, line.level) for line in run_of(api).console_logs()
    ],
    "agents": lambda api: [repr(agent) for agent in api.sweep(f"{HARD}/swp1").agents()],
    "wait_until_finished": lambda api: run_of(api, "floats").wait_until_finished(),
}
