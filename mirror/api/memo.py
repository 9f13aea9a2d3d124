"""Answers of a Source that still hold: kept while nothing in the store was written.

The change counter says whether something was: one value, read without a transaction around it. An
answer is entered under the value read before it was computed, so one that raced with a writer is
computed again.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from mirror.store.reader import Readable

__all__ = ["Memo"]

T = TypeVar("T")

ENTRIES = 256
WEIGHT = 4096
"""Entries, and runs in all of them, that are kept; the longest unused go first."""
_SEQUENCE = "SELECT seq FROM change_counter WHERE id = 1"


class Memo:
    """A cache of answers over one store. Safe to share between threads."""

    def __init__(self, store: Readable) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._cursor: Any = None
        self._closing: Callable[[], object] = lambda: None
        self._seen: int | None = None
        self._answers: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._weight = 0

    def answer(
        self, key: Hashable, compute: Callable[[], T], weigh: Callable[[T], int] = lambda _value: 1
    ) -> T:
        """Return what `compute` returned for the key since the store last changed; else compute it."""
        now = self._now()
        with self._lock:
            if now != self._seen:
                self._answers.clear()
                self._seen, self._weight = now, 0
            elif key in self._answers:
                self._answers.move_to_end(key)
                found: T = self._answers[key][0]
                return found
        value = compute()
        with self._lock:
            if now is not None and now == self._seen:
                self._enter(key, value, weigh(value))
        return value

    def _enter(self, key: Hashable, value: Any, weight: int) -> None:
        self._weight += weight - self._answers.get(key, (None, 0))[1]
        self._answers[key] = (value, weight)
        while self._weight > WEIGHT or len(self._answers) > ENTRIES:
            _, (_, gone) = self._answers.popitem(last=False)
            self._weight -= gone

    def _now(self) -> int | None:
        """The value of the change counter, by a connection of its own that holds no transaction.

        None where there can be none (a database in memory has one connection) or it broke.
        """
        if self._store.backend == "sqlite" and self._store.path is None:
            return None
        try:
            return self._counter()
        except self._store.driver_error:
            self.close()
            return None

    def _counter(self) -> int:
        with self._lock:
            if self._cursor is None:
                connection = self._store.detached()
                self._cursor = connection.cursor()
                self._closing = weakref.finalize(self, _end, connection, os.getpid())
            self._cursor.execute(_SEQUENCE)
            return int(self._cursor.fetchone()[0])

    def close(self) -> None:
        """Close the connection; an Api that is dropped does it too."""
        self._cursor = None
        self._closing()


def _end(connection: Any, pid: int) -> None:
    if os.getpid() == pid:  # after a fork the socket is the parent's
        connection.close()
