"""Fields of runs, sweeps, agents and files that are more than an attribute."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from mirror.sandbox import history
from mirror.sandbox.connections import Page
from mirror.sandbox.context import Args, Context
from mirror.sandbox.objects import Agent, Run, StoredFile, Sweep
from mirror.sandbox.selection import Resolver


def config(run: Run, args: Args, ctx: Context) -> str:
    return only(ctx.documents(run).config_text, args.get("keys"))


def summary_metrics(run: Run, args: Args, ctx: Context) -> str:
    return only(ctx.documents(run).summary_text, args.get("keys"))


def only(text: str, keys: list[str] | None) -> str:
    """Return a document text as it is, or with some of its keys."""
    if keys is None:
        return text
    found = json.loads(text)
    return json.dumps({key: found[key] for key in keys if key in found})


def wandb_config(run: Run, _args: Args, ctx: Context) -> str:
    found = json.loads(ctx.documents(run).config_text)
    return json.dumps(found.get("_wandb", {}).get("value", {}))


def run_history(run: Run, args: Args, _ctx: Context) -> list[str]:
    lines = history.between(history.rows(run), args.get("minStep"), args.get("maxStep"))
    return history.sampled(lines, args.get("samples"))


def sampled_history(run: Run, args: Args, _ctx: Context) -> list[list[dict[str, Any]]]:
    lines = history.rows(run)
    return [history.with_keys(lines, json.loads(spec)) for spec in args["specs"]]


def parquet_history(run: Run, args: Args, _ctx: Context) -> dict[str, Any]:
    """Nothing is ever exported here: all rows are live."""
    rows = (json.loads(line) for line in history.rows(run))
    keys = args["liveKeys"]
    live = [history.finite({key: row[key] for key in keys if key in row}) for row in rows]
    return {"parquetUrls": [], "liveData": live}


def events(run: Run, args: Args, _ctx: Context) -> list[str]:
    return history.sampled(run.record.events if run.record else [], args.get("samples"))


def tail(lines: Sequence[str]) -> str:
    return json.dumps(list(lines[-1:]))


def log_lines(run: Run, args: Args, ctx: Context) -> Page:
    return ctx.page("logLines", run.record.log_lines if run.record else [], args)


def run_info(run: Run, _args: Args, _ctx: Context) -> dict[str, Any] | None:
    record = run.record
    if record is None or (record.program is None and not record.args):
        return None
    return {"args": record.args, "program": record.program, "git": None}


def files(run: Run, args: Args, ctx: Context) -> Page:
    """List files; a name asked for that does not exist comes as one never uploaded (md5 "0")."""
    found = sorted(run.files.values(), key=lambda file: file.name)
    names, pattern = args.get("names"), args.get("pattern")
    if names:  # the client sends an empty list for all
        found = [run.files.get(name) or StoredFile(0, name) for name in names]
    if pattern:
        like = re.compile(like_pattern(pattern), re.DOTALL)
        found = [file for file in found if like.fullmatch(file.name)]
    shown = [file_node(run, file, ctx) for file in found]
    return ctx.page("files", shown, args, cap=10_000)


def like_pattern(like: str) -> str:
    """Return the regular expression of an SQL LIKE pattern."""
    return "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in like)


def file_node(run: Run, file: StoredFile, ctx: Context) -> dict[str, Any]:
    """Return a file as an answer shows it; its URL carries a signature, for it is fetched bare."""
    path = f"/files/{run.project.entity.name}/{run.project.name}/{run.name}/{quote(file.name)}"
    url = f"{ctx.base_url}{ctx.world.signed(path)}"
    return {
        "__typename": "File", "id": file.id, "name": file.name, "displayName": file.name,
        "url": url, "directUrl": url, "uploadUrl": url, "uploadHeaders": [],
        "sizeBytes": file.size_bytes, "md5": file.md5, "digest": file.md5,
        "mimetype": file.mimetype, "updatedAt": file.updated_at, "createdAt": file.updated_at,
        "exists": file.updated_at is not None, "isReference": False, "archived": False,
    }  # fmt: skip


def nothing(name: str) -> Resolver:
    """Return the resolver of a connection that has no rows here."""
    return lambda _source, args, ctx: ctx.page(name, [], args)


def run_files_bytes(run: Run) -> int:
    return sum(file.size_bytes for file in run.files.values())


def sweep_runs(sweep: Sweep, args: Args, ctx: Context) -> Page:
    filters = json.dumps({"sweep": sweep.name})
    return ctx.page("runs", ctx.runs(sweep.project, filters, args.get("order")), args)


def sweep_run_count(sweep: Sweep, _args: Args, ctx: Context) -> int:
    return len(ctx.listings(sweep.project).of_sweep(sweep))


def best_loss(sweep: Sweep, _args: Args, ctx: Context) -> float | None:
    """Return the best value of the sweep's metric among its runs."""
    if sweep.metric is None:
        return None
    found = ctx.listings(sweep.project).best_of_sweep(sweep, sweep.metric)
    return None if found is None else float(found)


def sweep_heartbeat(sweep: Sweep, _args: Args, _ctx: Context) -> str:
    beats = [agent.heartbeat_at for agent in sweep.agents if agent.heartbeat_at]
    return max([sweep.updated_at or sweep.created_at, *beats])


def agent_runs(agent: Agent, args: Args, ctx: Context) -> Page:
    runs = ctx.runs(agent.sweep.project, json.dumps({"sweep": agent.sweep.name}), args.get("order"))
    return ctx.page("runs", [run for run in runs if run.agent is agent], args)


def value(read: Any) -> Resolver:
    """Return the resolver of a field that needs nothing but its object."""
    return lambda source, _args, _ctx: read(source)


RUN_FIELDS: Final[dict[tuple[str, str], Resolver]] = {
    ("Run", "config"): config,
    ("Run", "summaryMetrics"): summary_metrics,
    ("Run", "wandbConfig"): wandb_config,
    ("Run", "systemMetrics"): lambda run, _args, ctx: ctx.documents(run).system_metrics,
    ("Run", "history"): run_history,
    ("Run", "sampledHistory"): sampled_history,
    ("Run", "parquetHistory"): parquet_history,
    ("Run", "historyKeys"): value(history.history_keys),
    ("Run", "historyTail"): value(lambda run: tail(history.rows(run))),
    ("Run", "events"): events,
    ("Run", "eventsTail"): value(lambda run: tail(run.record.events if run.record else [])),
    ("Run", "eventsLineCount"): value(lambda run: len(run.record.events) if run.record else 0),
    ("Run", "logLineCount"): value(lambda run: len(run.record.log_lines) if run.record else 0),
    ("Run", "logLines"): log_lines,
    ("Run", "runInfo"): run_info,
    ("Run", "files"): files,
    ("Run", "fileCount"): value(lambda run: len(run.files)),
    ("Run", "storageBytes"): value(run_files_bytes),
    ("Run", "computeSeconds"): value(lambda run: run.duration_s),
    ("Run", "model"): value(lambda run: run.project),
    ("Run", "userId"): value(lambda run: run.user.number if run.user else None),
    ("Run", "shouldStop"): value(lambda run: run.stopped),
    ("Run", "pendingUpdates"): value(lambda _run: False),
    ("Run", "readOnly"): value(lambda _run: False),
    ("Run", "debug"): value(lambda _run: False),
    ("Run", "tagColors"): value(lambda run: [{"name": t, "colorIndex": 0} for t in run.tags]),
    ("Sweep", "runs"): sweep_runs,
    ("Sweep", "priorRuns"): nothing("priorRuns"),
    ("Sweep", "runCount"): sweep_run_count,
    ("Sweep", "bestLoss"): best_loss,
    ("Sweep", "heartbeatAt"): sweep_heartbeat,
    ("Sweep", "controllerRunName"): value(lambda _sweep: ""),
    ("Sweep", "earlyStopJobRunning"): value(lambda _sweep: False),
    ("Sweep", "runTime"): value(lambda _sweep: 0),
    ("Sweep", "agents"): lambda sweep, args, ctx: ctx.page("agents", sweep.agents, args),
    ("Sweep", "agent"): lambda sweep, args, _ctx: next(
        (agent for agent in sweep.agents if args["agentName"] in (agent.name, agent.id)), None
    ),
    ("Agent", "runs"): agent_runs,
    ("Agent", "totalRuns"): lambda agent, args, ctx: agent_runs(agent, args, ctx).total_count,
    ("RunConnection", "totalCountApprox"): value(
        lambda page: {"min": page.total_count, "max": page.total_count}
    ),
    ("RunConnection", "delta"): value(lambda _page: []),
}
