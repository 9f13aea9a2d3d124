"""Reader: a SQLite file read without SQLAlchemy, which takes longer to load than a first answer.

It reads as `Store` does, one transaction a block, and takes the ordinary case only: a file that is
there, on a local disk, at this version's revision. Anything else is left to `Store`, which opens it
or says why not.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from mirror.errors import StoreError
from mirror.store.sqlite import (
    BUSY_TIMEOUT_S,
    HEAD,
    NETWORK_FILE_SYSTEMS,
    OLDEST,
    file_system,
    is_sealed,
    prepare,
)

__all__ = ["Readable", "Reader"]

IDLE: Final = 5
"""Connections that are kept for the next read."""


class Readable(Protocol):
    """What reads need of a store: `Store` and `Reader` have it."""

    @property
    def backend(self) -> Literal["sqlite", "postgresql"]:
        """Which engine this is."""

    @property
    def path(self) -> Path | None:
        """The database file, if it is one."""

    @property
    def driver_error(self) -> Any:
        """The class of what the driver raises."""

    def read(self) -> AbstractContextManager[Any]:
        """A connection in one read transaction: every statement sees the same state."""

    def detached(self) -> Any:
        """A connection of the driver that holds no transaction; the caller closes it."""


class Reader:
    """An open file. Safe to share between threads; not to be used by a forked process."""

    backend: Final = "sqlite"
    driver_error: Final = sqlite3.Error

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        weakref.finalize(self, _close_all, self._idle, os.getpid())

    @classmethod
    def open(cls, url: str | os.PathLike[str], *, journal_mode: str = "wal") -> Reader | None:
        """Open the store at a URL or file path; None for one that is for `Store` to open or refuse.

        Raises StoreBusy where a writer keeps it locked.
        """
        path = _ordinary(os.fspath(url))
        if path is None or sqlite3.sqlite_version_info < OLDEST or not path.is_file():
            return None
        if journal_mode.lower() == "wal" and file_system(path) in NETWORK_FILE_SYSTEMS:
            return None
        if is_sealed(path):
            return None
        made = cls(path)
        try:
            with made._transaction() as rows:
                found = rows.exec_driver_sql("SELECT version_num FROM alembic_version").first()
        except sqlite3.Error as error:
            if _is_locked(error):  # `Store` would wait for it once more
                raise made._explained(error) from error
            return None
        return made if found is not None and found[0] == HEAD else None

    def __repr__(self) -> str:
        return f"<Reader {self.path}>"

    @contextlib.contextmanager
    def read(self) -> Iterator[Rows]:
        """A connection in one read transaction: every statement sees the same state."""
        try:
            with self._transaction() as rows:
                yield rows
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def detached(self) -> sqlite3.Connection:
        """A connection of the driver that holds no transaction; the caller closes it."""
        connection = sqlite3.connect(
            self.path.absolute(),
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,  # BEGIN is ours
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Rows]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self.detached()
        try:
            connection.execute("BEGIN")
            yield Rows(connection)
            connection.commit()
        except BaseException:
            connection.close()  # whatever it is in the middle of
            raise
        if len(self._idle) < IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _explained(self, error: sqlite3.Error) -> StoreError:
        from mirror.store.store import explain, parse_url

        return explain(error, parse_url(self.path))


class Rows:
    """A connection's statements, asked for as `Store` has its own: `exec_driver_sql`."""

    __slots__ = ("connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def exec_driver_sql(
        self,
        text: str,
        values: Sequence[Any] | Mapping[str, Any] = (),
        execution_options: Mapping[str, Any] | None = None,  # noqa: ARG002 - none concerns SQLite
    ) -> Result:
        """Run a statement of the driver's own text."""
        return Result(self.connection.execute(text, values))


class Result:
    """The rows of a statement, as plain tuples."""

    __slots__ = ("cursor",)

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.cursor = cursor

    def __iter__(self) -> Iterator[Any]:
        return iter(self.cursor)

    def all(self) -> list[Any]:
        """Return all rows."""
        return self.cursor.fetchall()

    def first(self) -> Any:
        """Return the first row, or None, and drop the others."""
        row = self.cursor.fetchone()
        self.cursor.close()
        return row

    def scalar(self) -> Any:
        """Return the first value of the first row, or None."""
        row = self.first()
        return None if row is None else row[0]

    def scalar_one(self) -> Any:
        """Return the value of a statement that gives one row."""
        ((value,),) = self.cursor.fetchall()
        return value

    def mappings(self) -> Iterator[dict[str, Any]]:
        """Yield the rows by name."""
        names = [column[0] for column in self.cursor.description]
        for row in self.cursor:
            yield dict(zip(names, row, strict=True))

    def close(self) -> None:
        """Drop the rows that are left."""
        self.cursor.close()


def _ordinary(url: str) -> Path | None:
    """The file that a URL of SQLite or a path names; None for a URL with anything more in it."""
    if "://" not in url:
        path = url
    elif url.startswith("sqlite:///") and not set("?#%") & set(url):
        path = url.removeprefix("sqlite:///")
    else:
        return None
    if not path or ":memory:" in path or "mode=memory" in path or path.startswith("file:"):
        return None
    return Path(path).expanduser()


def _is_locked(error: sqlite3.Error) -> bool:
    said = str(error).lower()
    return "locked" in said or "busy" in said


def _close_all(connections: list[sqlite3.Connection], pid: int) -> None:
    if os.getpid() == pid:  # after a fork they are the parent's
        for connection in connections:
            connection.close()
