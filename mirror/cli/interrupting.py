"""Ctrl-C and SIGTERM during a sync: the first ends it after the page it is at, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

__all__ = ["Stop", "stopped_by_signals"]


class Stop:
    """Whether to end, and by which signal that was asked."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Whether to end after the current page."""
        return self.signal is not None


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM of the block into a wish to end; the second kills.

    Killing is safe: rows and resume point are one transaction, and a dead process loses its lease.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals are the main thread's
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.signal is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.signal = number
        click.echo("ending after the current page; once more to end at once", err=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
