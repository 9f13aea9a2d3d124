"""`mirror demo`: a server in a box, a real sync over HTTP into SQLite, and answers out of it.

Everything is made for the occasion: the server on a free port of this machine, its project, the
store. Nothing of the user's settings is read, no key is used, nothing leaves the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mirror
from mirror.config import Config, resolve
from mirror.errors import MirrorError
from mirror.sandbox import Server, World, generate
from mirror.sync import Event, SyncReport, sync

__all__ = ["demo"]

PATH = "team/vision"
KEY = "demo-key".ljust(40, "0")

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of `api.runs`, and what is shown of each run of the answer."""

    title: str
    filters: dict[str, Any]
    order: str
    shown: dict[str, Callable[[Any], Any]]


QUESTIONS = (
    Question("Everything, newest first", {}, "-created_at", {"state": lambda run: run.state}),
    Question(
        "The best finished runs with a small learning rate",
        {"state": "finished", "config.lr": {"$lt": 0.001}},
        "-summary_metrics.val/acc",
        {
            "config.lr": lambda run: run.config["lr"],
            "summary val/acc": lambda run: run.summary["val/acc"],
        },
    ),
    Question(
        "Runs that crashed, or diverged to a loss of NaN (which W&B keeps as text)",
        {"$or": [{"state": "crashed"}, {"summary_metrics.loss": "NaN"}]},
        "-created_at",
        {"state": lambda run: run.state, "summary loss": lambda run: run.summary.get("loss")},
    ),
    Question(
        "Tagged baseline, not with adam, a name that matches a pattern",
        {
            "tags": "baseline",
            "config.optimizer.name": {"$ne": "adam"},
            "display_name": {"$regex": "^[a-m].*-[0-9]+$"},
        },
        "+created_at",
        {
            "config.optimizer.name": lambda run: run.config["optimizer"]["name"],
            "tags": lambda run: run.tags,
        },
    ),
)


def demo(
    folder: Path, *, runs: int, say: Say, table: Callable[..., object], on_event: Callable[[Event], None]
) -> Path:  # fmt: skip
    """Run the demonstration in a folder; return the path of the store it leaves there.

    `say` prints a line, `table(names, rows)` a table; `on_event` follows the syncs. Raises
    MirrorError if a sync is not wholly well.
    """
    store = folder.absolute() / "mirror.db"
    with _server(runs) as (server, world):
        say(f"A W&B server in a box: {server.url}, project {PATH} with {runs:,} runs.\n")
        settings = resolve(store=store, base_url=server.url, api_key=KEY, environ={}, cwd=folder)
        say(f"$ mirror sync {PATH}")
        say(_told(_sync(settings, on_event)))
        _answer(settings, say, table)
        say("Nothing happened on the server since. The same again:\n")
        say(f"$ mirror sync {PATH}")
        say(_told(_sync(settings, on_event)))
        say(f"Now somebody {_change(world)}.\n")
        say(f"$ mirror sync --reconcile {PATH}")
        say(_told(_sync(settings, on_event, reconcile=True)))
    return store


@contextmanager
def _server(runs: int) -> Iterator[tuple[Server, World]]:
    world = World()
    world.add_user("alice", key=KEY, teams=["team"])
    generate(world, PATH, runs=runs)
    with Server(world) as server:
        yield server, world


def _sync(
    settings: Config, on_event: Callable[[Event], None], *, reconcile: bool = False
) -> SyncReport:
    report = sync([PATH], config=settings, reconcile=reconcile, on_event=on_event)
    if not report.ok:
        raise MirrorError(f"the demo's sync failed: {'; '.join(report.failures.values())}")
    return report


def _told(report: SyncReport) -> str:
    names = {"new": "new", "changed": "edited", "tombstoned": "deleted"}
    found = {said: report.counts[name] for name, said in names.items() if report.counts[name]}
    what = ", ".join(f"{count:,} {said}" for said, count in found.items()) or "nothing new"
    cost = f"{report.requests} requests, {report.bytes / 1000:,.0f} KB, {report.elapsed_s:.1f} s"
    return f"{what}: {cost}\n"


def _answer(settings: Config, say: Say, table: Callable[..., object]) -> None:
    """Ask through `mirror.Api`, as a script would that used `wandb.Api` before."""
    api = mirror.Api(config=settings, mode="offline")
    say(f'>>> api = mirror.Api(store={settings.store!r}, mode="offline")\n')
    for question in QUESTIONS:
        began = time.perf_counter()
        runs = api.runs(PATH, filters=question.filters, order=question.order)
        count, first = len(runs), runs[:3]
        rows = [
            (run.id, run.name, *(show(run) for show in question.shown.values())) for run in first
        ]
        took_ms = (time.perf_counter() - began) * 1000
        say(f"{question.title}:\n")
        say(f">>> runs = api.runs({PATH!r}, {question.filters!r}, order={question.order!r})")
        table(("id", "name", *question.shown), rows)
        say(f"{count:,} runs, the first {len(first)} shown: {took_ms:.1f} ms, offline\n")


def _change(world: World) -> str:
    """Do on the server what leaves no trace in a heartbeat; say what was done."""
    ended = [run.name for run in world.project(PATH).runs.values() if run.state == "finished"]
    world.edit(PATH, ended[0], tags=["table-2"], notes="the one in table 2")
    world.edit(PATH, ended[1], display_name="renamed afterwards")
    world.delete(PATH, ended[2])
    old = world.run(PATH, ended[3]).created_at
    world.add_run(PATH, name="uploaded-late", created_at=old, config={"lr": 0.5})
    return "tags one finished run, renames another, deletes a third, and uploads one late"
