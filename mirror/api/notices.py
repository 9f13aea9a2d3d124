"""What the facade tells a person beside its answers: a word on stderr, progress on a terminal."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["MirrorWarning", "complain", "progress", "warn"]


class MirrorWarning(UserWarning):
    """An answer came, and something about it should be known (it may be stale, a name is old)."""


def warn(text: str) -> None:
    """Warn the caller of the facade, once for each place that calls."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("mirror.api"):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, MirrorWarning, stacklevel=depth)


def complain(text: str) -> None:
    """Write what is wrong with a call to stderr, where `wandb.Api` prints it and goes on."""
    print(f"mirror: ERROR {text}", file=sys.stderr)


def progress() -> Callable[[Any], None] | None:
    """Return a listener for the events of a sync that keeps one line on a terminal; None without one."""
    if not sys.stderr.isatty():
        return None

    def listen(event: Any) -> None:
        if event.kind == "page" and event.total:
            text = f"mirror: syncing {event.path}: {event.done:,} of {event.total:,} runs"
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
        elif event.kind == "done":
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    return listen
