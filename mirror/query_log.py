"""The query log: which keys queries use, so that `mirror index advise` knows what to index.

Counting loads and opens nothing; writing the counts down opens the store.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from mirror import instants
from mirror.jsontext import dumps, escape
from mirror.query.tree import Compare, Field, In, Kind, Node, OrderKey, tests

if TYPE_CHECKING:
    from mirror.store.store import Store

__all__ = ["QueryLog"]


class QueryLog:
    """Counts which keys queries use, in memory; `flush` adds the counts to the store.

    Noting takes microseconds and writes nothing, so that reading never waits for a writer. A log may
    be shared by threads.
    """

    def __init__(self, open_store: Callable[[], Store], *, enabled: bool = True) -> None:
        self.open_store = open_store
        self.enabled = enabled
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, str, str], list[float]] = {}

    def note(
        self, project_id: str, tree: Node, order: Sequence[OrderKey], elapsed_ms: float
    ) -> None:
        """Count one query."""
        if not self.enabled:
            return
        with self._lock:
            for field, use in _uses(tree, order):
                key = (project_id, field.column, dumps(list(map(escape, field.path))), use)
                entry = self._counts.setdefault(key, [0, 0.0])
                entry[0] += 1
                entry[1] += elapsed_ms

    def flush(self) -> int:
        """Add the counts to the store; return how many rows were written.

        Raises StoreError where another writer is at work: an answer must not wait for its note.
        """
        with self._lock:
            counts, self._counts = self._counts, {}
        if not counts:
            return 0
        import sqlalchemy as sa

        from mirror.store import tables

        now = instants.now()
        log = tables.query_log
        with self.open_store().begin(wait_s=0.25) as tx:
            for (project_id, document, path, use), (uses, total_ms) in sorted(counts.items()):
                here = (
                    (log.c.project_id == project_id)
                    & (log.c.document == document)
                    & (log.c.path == path)
                    & (log.c.use == use)
                )
                grown = {
                    "uses": log.c.uses + int(uses),
                    "total_ms": log.c.total_ms + total_ms,
                    "last_used_at": now,
                }
                if tx.execute(sa.update(log).where(here).values(grown)).rowcount:
                    continue
                tx.upsert_all(
                    log,
                    [
                        {
                            "project_id": project_id,
                            "document": document,
                            "path": path,
                            "use": use,
                            "uses": int(uses),
                            "total_ms": total_ms,
                            "last_used_at": now,
                        }
                    ],
                )
        return len(counts)


def _uses(tree: Node, order: Sequence[OrderKey]) -> Iterable[tuple[Field, str]]:
    for test in tests(tree):
        if test.field.kind is Kind.DOCUMENT and test.field.path:
            if isinstance(test, In) or (isinstance(test, Compare) and test.op == "$eq"):
                yield test.field, "equality"
            else:
                yield test.field, "range" if isinstance(test, Compare) else "other"
    for key in order:
        if key.field.kind is Kind.DOCUMENT:
            yield key.field, "order"
