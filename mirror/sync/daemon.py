"""`mirror sync --watch`: a round, a pause with jitter, a round … until SIGTERM or SIGINT.

A bad round never ends it, but for wrong use, which the first one tells. SIGTERM ends after the current page; SIGHUP reads the configuration again
before the next round. The lease is held for a round, not for the daemon's life.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mirror.config import Config
from mirror.errors import ConfigError, MirrorError, PathError
from mirror.sync.report import Event, SyncReport

__all__ = ["watch"]


def watch(
    resolve: Callable[[], Config],
    run: Callable[[Config, Callable[[], bool]], SyncReport],
    *,
    on_event: Callable[[Event], None],
    on_report: Callable[[SyncReport], None],
    rounds: int | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Run rounds until told to stop; return how many were run.

    Args:
        resolve: reads the configuration; called at the start and after a SIGHUP.
        run: one round; its second argument says whether to end after the current page.
        rounds: end after so many; None: only a signal ends it.
        stop: set it to end the loop from another thread.
    """
    ending = stop or threading.Event()
    reread = threading.Event()
    config = resolve()
    done = 0
    with _signals(ending, reread):
        while not ending.is_set():
            if reread.is_set():
                reread.clear()
                config = _reread(resolve, config, on_event)
            _one_round(run, config, ending, on_event, on_report, first=not done)
            done += 1
            if rounds is not None and done >= rounds:
                break
            _pause(config, ending, reread)
    return done


def _one_round(
    run: Callable[[Config, Callable[[], bool]], SyncReport],
    config: Config,
    ending: threading.Event,
    on_event: Callable[[Event], None],
    on_report: Callable[[SyncReport], None],
    *,
    first: bool,
) -> None:
    try:
        on_report(run(config, ending.is_set))
    except MirrorError as error:
        if first and isinstance(error, ConfigError | PathError):
            raise  # nothing to sync, or a path that nobody can read: no later round mends that
        on_event(Event("failed", message=str(error)))
    except Exception as error:  # noqa: BLE001 - the loop's boundary: told, and the next round comes
        on_event(Event("failed", message=f"internal error: {type(error).__name__}: {error}"))


def _reread(
    resolve: Callable[[], Config], old: Config, on_event: Callable[[Event], None]
) -> Config:
    """Read the configuration again; a broken one is reported and the old one kept."""
    try:
        return resolve()
    except MirrorError as error:
        on_event(Event("warning", message=f"the old settings stay in force: {error}"))
        return old


def _pause(config: Config, ending: threading.Event, reread: threading.Event) -> None:
    """Wait for the interval, up to a jitter longer so that many mirrors do not knock together."""
    left = config.sync.interval_s + random.uniform(0, config.sync.jitter_s)
    while left > 0 and not ending.is_set() and not reread.is_set():
        ending.wait(min(1.0, left))
        left -= 1.0


@contextmanager
def _signals(ending: threading.Event, reread: threading.Event) -> Iterator[None]:
    """Route SIGTERM, SIGINT and SIGHUP to the two events; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    def again(_number: int, _frame: FrameType | None) -> None:
        reread.set()

    handlers = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: again}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
