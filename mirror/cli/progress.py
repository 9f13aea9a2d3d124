"""The progress of a sync on standard error: bars on a terminal, plain lines elsewhere.

`following` yields the `on_event` that `mirror.sync.sync` wants; nobody below knows which it is.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.output import counted

if TYPE_CHECKING:
    from mirror.sync import Event

__all__ = ["following"]

OnEvent = Callable[["Event"], None]

_TELLING = ("quarantined", "warning", "failed")
_LINE_EVERY_S = 15.0


@contextlib.contextmanager
def following(*, quiet: bool) -> Iterator[OnEvent]:
    """Follow a sync; with `quiet` only what went wrong is said."""
    if quiet:
        yield _problems_only
    elif sys.stderr.isatty():
        with _bars() as on_event:
            yield on_event
    else:
        yield _Lines()


def _problems_only(event: Event) -> None:
    if event.kind in _TELLING:
        click.echo(_sentence(event), err=True)


def _sentence(event: Event) -> str:
    where = f"{event.path}: " if event.path else ""
    return f"{where}{event.message or event.kind}"


class _Lines:
    """A line for each project begun and ended, and one in between now and then."""

    def __init__(self) -> None:
        self._said: dict[str | None, float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            now = time.monotonic()
            if event.kind in ("page", "reconcile"):
                if now - self._said.setdefault(event.path, now) < _LINE_EVERY_S:
                    return
                self._said[event.path] = now
                click.echo(f"{event.path}: {_progress(event)}", err=True)
            elif event.message:
                click.echo(_sentence(event), err=True)


def _progress(event: Event) -> str:
    of = f" of {event.total:,}" if event.total else ""
    return f"{event.stage or 'runs'} {event.done or 0:,}{of}"


@contextlib.contextmanager
def _bars() -> Iterator[OnEvent]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[requests]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bars(progress, console)


class _Bars:
    """A bar a project; what went wrong is printed above the bars and stays."""

    def __init__(self, progress: Any, console: Any) -> None:
        self._progress = progress
        self._console = console
        self._tasks: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.kind in _TELLING:
                self._console.print(_sentence(event), markup=False, highlight=False)
            if event.path is None:
                return
            task = self._tasks.get(event.path)
            if task is None:
                task = self._progress.add_task(event.path, total=None, requests="")
                self._tasks[event.path] = task
            self._update(task, event)

    def _update(self, task: Any, event: Event) -> None:
        stage = f" {event.stage}" if event.stage else ""
        values: dict[str, Any] = {"description": f"{event.path}{stage}"}
        if event.done is not None:
            values["completed"] = event.done
        if event.total is not None:
            values["total"] = event.total
        if event.requests is not None:
            values["requests"] = counted(event.requests, "request")
        self._progress.update(task, **values)
        if event.kind in ("finished", "failed"):
            self._progress.update(task, visible=False)
