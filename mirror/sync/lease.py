"""The sync lease: one sync round at a time on a store, with a fencing token.

A holder writes its heartbeat while it works; a lease whose holder died (its process is gone on this
host, or its heartbeat is older than TTL_S) is taken over with a new token, and the old holder's next
commit fails (`Store.begin(lease=token)`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import sqlalchemy as sa

from mirror import instants
from mirror.errors import StoreBusy
from mirror.store import tables
from mirror.store.store import Row, Store, Transaction

__all__ = ["TTL_S", "held", "holder"]

TTL_S = 60.0
"""A lease without a heartbeat for this long is free to take."""

_BEAT_S = 10.0
_NAME = "sync"


def holder(store: Store) -> Row | None:
    """Return the row of whoever holds the lease now, or None."""
    with store.read() as connection:
        row = (
            connection.execute(sa.select(tables.leases).where(tables.leases.c.name == _NAME))
            .mappings()
            .first()
        )
        now_us = _clock_us(connection)
    return row if row is not None and _alive(row, now_us) else None


@contextlib.contextmanager
def held(store: Store) -> Iterator[int]:
    """Hold the lease for the block and yield its token. Raises StoreBusy if another holds it."""
    token = _acquire(store)
    stop = threading.Event()
    beat = threading.Thread(
        target=_beat, args=(store, token, stop), name="mirror-lease", daemon=True
    )
    beat.start()
    try:
        yield token
    finally:
        stop.set()
        beat.join()
        _release(store, token)


def _clock_us(connection: sa.Connection) -> int:
    """The clock all holders share: the database server's, or this machine's for a file."""
    if connection.dialect.name == "postgresql":
        text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return int(connection.exec_driver_sql(text).scalar_one())
    return time.time_ns() // 1000


def _alive(row: Row, now_us: int) -> bool:
    if row["owner"] is None:
        return False
    if row["host"] == socket.gethostname() and row["pid"] and not _process_exists(row["pid"]):
        return False
    return now_us - int(row["heartbeat_at_us"] or 0) < TTL_S * 1_000_000


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _row(tx: Transaction) -> Row:
    return tx.rows(sa.select(tables.leases).where(tables.leases.c.name == _NAME))[0]


def _acquire(store: Store) -> int:
    with store.begin() as tx:
        row = _row(tx)
        now_us = _clock_us(tx.connection)
        if _alive(row, now_us):
            raise StoreBusy(
                f"another sync holds this store: {row['owner']} on {row['host']} since "
                f"{row['acquired_at']}: wait for it to end, or stop that process",
                holder=f"{row['owner']} on {row['host']}",
                since=row["acquired_at"],
            )
        token = int(row["token"]) + 1
        tx.upsert_all(
            tables.leases,
            [
                {
                    "name": _NAME,
                    "owner": f"process {os.getpid()}",
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "acquired_at": instants.now(),
                    "heartbeat_at_us": now_us,
                    "token": token,
                }
            ],
        )
    return token


def _beat(store: Store, token: int, stop: threading.Event) -> None:
    while not stop.wait(_BEAT_S):
        # A lease that was lost is found by the next commit; a busy database only delays a beat.
        with contextlib.suppress(StoreBusy), store.begin() as tx:
            tx.execute(
                sa.update(tables.leases)
                .where(tables.leases.c.name == _NAME, tables.leases.c.token == token)
                .values(heartbeat_at_us=_clock_us(tx.connection))
            )


def _release(store: Store, token: int) -> None:
    with store.begin() as tx:
        tx.execute(
            sa.update(tables.leases)
            .where(tables.leases.c.name == _NAME, tables.leases.c.token == token)
            .values(owner=None, host=None, pid=None, acquired_at=None, heartbeat_at_us=None)
        )
