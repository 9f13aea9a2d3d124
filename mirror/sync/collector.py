"""Let Python's cyclic garbage collector run less often while a round maps pages.

A page of documents is a hundred thousand new containers, none of them in a cycle, and every
collection walks those that are alive: a tenth of the CPU of a first sync. Reference counting frees
them all the same; the thresholds are the process's, so they are put back when the last round ends.
Statements and requests do leave cycles behind: who sends many of them tidies up after each page.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["relaxed", "tidy"]

THRESHOLDS = (100_000, 50, 100)
_lock = threading.Lock()
_rounds = 0
_before = gc.get_threshold()


@contextmanager
def relaxed() -> Iterator[None]:
    """Raise the thresholds in the block; nothing happens where the collector is off."""
    _enter()
    try:
        yield
    finally:
        _leave()


def tidy() -> None:
    """Free the cycles that a page has left, where collections are rare: a few milliseconds."""
    if _rounds:
        gc.collect(1)


def _enter() -> None:
    global _rounds, _before
    with _lock:
        if _rounds == 0:
            _before = gc.get_threshold()
            if 0 < _before[0] < THRESHOLDS[0]:
                gc.set_threshold(*THRESHOLDS)
        _rounds += 1


def _leave() -> None:
    global _rounds
    with _lock:
        _rounds -= 1
        if _rounds == 0:
            gc.set_threshold(*_before)
