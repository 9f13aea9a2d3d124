"""Store: the one way to a database, SQLite or PostgreSQL.

Readers get a connection in a read transaction (`read`), writers a Transaction (`begin`) that holds
the write lock and one value of the change counter. Everything SQLAlchemy or a driver raises leaves
here as a StoreError with a sentence in it. No W&B knowledge; `ingest` decides what rows to write.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url

from mirror.errors import SchemaOutdated, StoreBusy, StoreError
from mirror.store import tables
from mirror.store.sqlite import (
    BUSY_TIMEOUT_S,
    HEAD,
    NETWORK_FILE_SYSTEMS,
    OLDEST,
    connect,
    file_system,
    is_sealed,
    prepare,
    stamp,
)

__all__ = ["HEAD", "Row", "Store", "Transaction", "file_system", "is_in_memory", "parse_url"]

Row = Mapping[Any, Any]
"""A row by column name; Any, since SQLAlchemy's RowMapping has no narrower key."""


class Store:
    """An open store. Safe to share between threads; close it, or use it in a `with`."""

    def __init__(self, engine: Engine, *, read_only: bool = False) -> None:
        self.engine = engine
        self.read_only = read_only
        # SQLite has one writer: our own threads take turns here instead of polling its lock.
        self._writer = threading.Lock() if self.backend == "sqlite" else contextlib.nullcontext()
        self._statements: dict[tuple[str, tuple[str, ...], tuple[str, ...]], str] = {}
        # A script that drops its Api closes nothing itself.
        weakref.finalize(self, _dispose, engine, os.getpid())

    # -------------------------------------------------------------- opening

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        *,
        create: bool = False,
        upgrade: bool = False,
        read_only: bool = False,
        journal_mode: str = "wal",
    ) -> Store:
        """Open the store at a SQLAlchemy URL or a file path.

        `create` makes a SQLite file that is not there; `upgrade` migrates an older or empty one.
        Raises StoreError when it cannot be opened, SchemaOutdated when its revision is not ours.
        """
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = _open_sqlite(
                parsed, create=create, read_only=read_only, journal_mode=journal_mode
            )
        else:
            engine = _open_postgresql(parsed)
        store = cls(engine, read_only=read_only)
        try:
            store._check_revision(upgrade=upgrade and not read_only)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.engine.url.render_as_string(hide_password=True)}>"

    @property
    def backend(self) -> Literal["sqlite", "postgresql"]:
        """Which engine this is."""
        return "sqlite" if self.engine.dialect.name == "sqlite" else "postgresql"

    @property
    def path(self) -> Path | None:
        """The database file; None for PostgreSQL and for a database in memory."""
        database = self.engine.url.database
        if self.backend != "sqlite" or not database or ":memory:" in database:
            return None
        return Path(database)

    @property
    def driver_error(self) -> Any:
        """The class of what the driver raises."""
        dialect: Any = self.engine.dialect
        return dialect.dbapi.Error

    def revision(self) -> str | None:
        """Return the migration the store is at; None for an empty database."""
        with self.read() as connection:
            if not connection.dialect.has_table(connection, "alembic_version"):
                return None
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return str(found) if found is not None else None

    def _check_revision(self, *, upgrade: bool) -> None:
        found = self.revision()
        if found == HEAD or (upgrade and found is None and self._made()):
            return
        from mirror.store import migrate  # alembic loads only when there is something to do

        newer = found is not None and not migrate.is_known(found)
        if found is None or newer:
            self._refuse_taken()
        if newer or not upgrade:
            raise SchemaOutdated(found, HEAD, newer=newer)
        with _translated(self):
            migrate.upgrade(self)

    def _refuse_taken(self) -> None:
        """Refuse a database of something else that has tables by the names of ours."""
        with self.read() as connection:
            names = set(sa.inspect(connection).get_table_names())
        taken = sorted(names & {*tables.metadata.tables, "alembic_version"})
        if taken and tables.change_counter.name not in names:
            raise StoreError(
                f"{self.engine.url.render_as_string(hide_password=True)} has {', '.join(taken[:3])} of "
                "something else: name another database with --store"
            )

    def _made(self) -> bool:
        if self.backend != "sqlite":
            return False
        from mirror.store import fresh

        with _translated(self):
            return fresh.create(self.engine, HEAD) or self.revision() == HEAD

    # -------------------------------------------------------------- transactions

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in one read transaction: every statement sees the same state."""
        with _translated(self), self._unchanged(), self.engine.connect() as connection:
            if self.backend == "postgresql":
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Fail where a sealed file, read without a lock, was written in the block."""
        path = self.path
        if path is None or not isinstance(self.engine.pool, sa.NullPool):
            yield
            return
        before = stamp(path)
        yield
        if stamp(path) != before:
            raise StoreBusy(
                f"the store {path} was written while it was read, and this user may not lock it: "
                "ask again"
            )

    @contextlib.contextmanager
    def begin(
        self, *, lease: int | None = None, wait_s: float | None = None
    ) -> Iterator[Transaction]:
        """A write transaction, committed at the end of the block, rolled back on an exception.

        Another writer is waited for: BUSY_TIMEOUT_S on SQLite, for ever on PostgreSQL; with `wait_s`
        no longer than that, then StoreError is raised.

        With `lease`, a token of `mirror.sync.lease`, the commit fails with StoreBusy if another
        process has taken the lease since.
        """
        with _translated(self), self._writer, self.engine.connect() as connection:
            connection = connection.execution_options(mirror_write=True)
            with _waiting(connection, wait_s), connection.begin():
                if wait_s is not None and self.backend == "postgresql":
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(wait_s * 1000)}")
                transaction = Transaction(self, connection)
                yield transaction
                if lease is not None:
                    transaction.check_lease(lease)

    def detached(self) -> Any:
        """A connection of the driver, no place of the pool, that holds no transaction; to be closed."""
        connection: Any = self.engine.raw_connection()
        connection.detach()
        if self.backend != "sqlite":
            connection.dbapi_connection.autocommit = True
        return connection

    # -------------------------------------------------------------- small reads

    def rows(self, statement: sa.Select[Any], **values: Any) -> list[Row]:
        """Run a select in a transaction of its own and return its rows as mappings."""
        with self.read() as connection:
            return [*connection.execute(statement, values).mappings()]

    def one(self, statement: sa.Select[Any], **values: Any) -> Row | None:
        """Run a select and return its first row, or None."""
        with self.read() as connection:
            return connection.execute(statement, values).mappings().first()

    def meta(self, key: str) -> str | None:
        """Return a fact of `store_meta`."""
        row = self.one(sa.select(tables.store_meta.c.value).where(tables.store_meta.c.key == key))
        return None if row is None else str(row["value"])

    def size_bytes(self) -> int:
        """Return what the database takes on disk, write-ahead log included."""
        if self.backend == "postgresql":
            with self.read() as connection:
                return int(
                    connection.exec_driver_sql(
                        "SELECT pg_database_size(current_database())"
                    ).scalar_one()
                )
        path = self.path
        if path is None:
            return 0
        parts = (path, path.with_name(path.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def checkpoint(self) -> None:
        """Fold SQLite's write-ahead log into the file; nothing to do elsewhere.

        What cannot be folded now (it is read, the disk is full) stays in the log, as good as before.
        """
        if self.backend == "sqlite" and not self.read_only:
            with contextlib.suppress(StoreBusy), _translated(self):
                raw = self.engine.raw_connection()
                try:
                    with contextlib.suppress(sqlite3.OperationalError):
                        raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    raw.close()

    # -------------------------------------------------------------- statements

    def upsert_statement(
        self, table: sa.Table, columns: tuple[str, ...], key: tuple[str, ...]
    ) -> str:
        """Return the driver's text of an upsert that touches only the given columns."""
        wanted = (table.name, columns, key)
        text = self._statements.get(wanted)
        if text is None:
            statement: Any = _insert(self.backend)(table)
            given = [name for name in columns if name not in key]
            if given:
                statement = statement.on_conflict_do_update(
                    index_elements=list(key),
                    set_={name: statement.excluded[name] for name in given},
                )
            else:
                statement = statement.on_conflict_do_nothing(index_elements=list(key))
            text = str(statement.compile(dialect=self.engine.dialect, column_keys=list(columns)))
            self._statements[wanted] = text
        return text


class Transaction:
    """A write transaction: a connection, the change counter's value, and bulk upserts."""

    def __init__(self, store: Store, connection: Connection) -> None:
        self.store = store
        self.connection = connection
        self.seq = int(
            connection.exec_driver_sql(
                "UPDATE change_counter SET seq = seq + 1 WHERE id = 1 RETURNING seq"
            ).scalar_one()
        )

    def upsert_all(
        self, table: sa.Table, rows: Sequence[Row], *, key: Sequence[str] | None = None
    ) -> None:
        """Insert rows or update those whose key exists; only the columns given are touched.

        All rows of one call have the same columns. Values are what the driver takes.
        """
        if not rows:
            return
        # The order of the table: SQLite's parameters are bound by place, and Core writes that order.
        columns = tuple(column.name for column in table.columns if column.name in rows[0])
        if len(columns) != len(rows[0]):
            raise KeyError(f"{table.name} has no column {sorted(set(rows[0]) - set(columns))}")
        names = tuple(key) if key else tuple(column.name for column in table.primary_key)
        self.execute_many(self.store.upsert_statement(table, columns, names), columns, rows)

    def execute_many(self, text: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Run one statement of the driver's own text for many rows."""
        if self.store.backend == "sqlite":
            parameters: list[Any] = [tuple(row[name] for name in columns) for row in rows]
        else:
            parameters = list(rows)
        self.connection.exec_driver_sql(text, parameters)

    def execute(self, statement: Any, values: Any = None) -> sa.CursorResult[Any]:
        """Run a Core statement."""
        return (
            self.connection.execute(statement, values)
            if values
            else self.connection.execute(statement)
        )

    def rows(self, statement: Any) -> list[Row]:
        """Run a select and return its rows as mappings."""
        return [*self.connection.execute(statement).mappings()]

    def set_meta(self, key: str, value: str) -> None:
        """Write a fact of `store_meta`."""
        self.upsert_all(tables.store_meta, [{"key": key, "value": value}])

    def check_lease(self, token: int) -> None:
        """Fail unless the sync lease is still the one with this token."""
        row = (
            self.connection.execute(sa.select(tables.leases).where(tables.leases.c.name == "sync"))
            .mappings()
            .first()
        )
        if row is None or row["token"] != token or row["owner"] is None:
            who = f"{row['owner']} on {row['host']}" if row and row["owner"] else "another process"
            raise StoreBusy(
                f"the sync lease was taken over by {who}: this round ends here, nothing of the "
                "current page was written",
                holder=row["owner"] if row else None,
            )


def _insert(backend: str) -> Any:
    """The engine's own INSERT; loading PostgreSQL's costs a tenth of what a short script takes."""
    if backend == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert


def _dispose(engine: Engine, pid: int) -> None:
    engine.dispose(close=os.getpid() == pid)  # after a fork the sockets are the parent's


# ------------------------------------------------------------------ opening, engine by engine


def parse_url(url: str | os.PathLike[str]) -> URL:
    """Return the SQLAlchemy URL of a store given as URL or file path. Raises StoreError."""
    text = os.fspath(url)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        parsed = make_url(text)
    except (exc.ArgumentError, ValueError):  # ValueError: a port that is no number
        raise StoreError(
            f"store URL {_without_password(text)!r} cannot be read: use a file path, "
            "sqlite:///path/to/mirror.db or postgresql://user@host/database"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgres" or (backend == "postgresql" and "+" not in parsed.drivername):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and parsed.database and parsed.database.startswith("~"):
        return parsed.set(database=str(Path(parsed.database).expanduser()))
    if backend not in ("sqlite", "postgresql"):
        raise StoreError(
            f"store URL with {backend!r}: mirror keeps its store in SQLite or PostgreSQL"
        )
    return parsed


def is_in_memory(url: URL) -> bool:
    """Whether a URL of SQLite names no file: what is kept there ends with the process."""
    database = url.database or ":memory:"
    if database.startswith("file:"):  # a URI, if the query says so; it carries the mode there
        return url.query.get("mode") == "memory" or database == "file::memory:"
    return database == ":memory:"


def _without_password(text: str) -> str:
    scheme, _, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _open_sqlite(url: URL, *, create: bool, read_only: bool, journal_mode: str) -> Engine:
    if sqlite3.sqlite_version_info < OLDEST:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: mirror needs 3.38 or newer")
    in_memory = is_in_memory(url)
    path = Path(url.database or "").expanduser()
    if not in_memory:
        _check_file(path, create=create, read_only=read_only, journal_mode=journal_mode)
        url = url.set(database=str(path))
    options: dict[str, Any] = {"check_same_thread": False, "timeout": BUSY_TIMEOUT_S}
    pool: dict[str, Any] = {"connect_args": options, "poolclass": sa.QueuePool}
    if in_memory:
        pool["poolclass"] = sa.StaticPool
    elif is_sealed(path):  # looked at anew for each connection: its owner may open it meanwhile
        pool = {"creator": lambda: connect(path, **options), "poolclass": sa.NullPool}
    engine = sa.create_engine(url, **pool)
    event.listen(engine, "connect", _on_sqlite_connect(path, journal_mode, read_only))
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _check_file(path: Path, *, create: bool, read_only: bool, journal_mode: str) -> None:
    if not path.exists():
        if not create:
            raise StoreError(
                f"there is no store at {path}: run `mirror sync` to make one, or name another with --store"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Born 0600: configs and summaries are private, and -wal and -shm copy the mode.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            raise StoreError(f"cannot make a store at {path}: {error.strerror or error}") from error
    elif path.is_dir():
        raise StoreError(f"{path} is a folder: name the store's file, such as {path / 'mirror.db'}")
    elif not os.access(path, os.R_OK if read_only else os.R_OK | os.W_OK) and not read_only:
        pass  # a reader of a read-only file is welcome; a writer is told when it writes
    kind = file_system(path)
    if kind in NETWORK_FILE_SYSTEMS and journal_mode.lower() == "wal":
        raise StoreError(
            f"{path} is on {kind}, where SQLite's write-ahead log is not safe: put the store on a "
            'local disk, or set journal_mode = "delete" under [store] in mirror.toml'
        )


def _on_sqlite_connect(
    path: Path, journal_mode: str, read_only: bool
) -> Callable[[Any, Any], None]:
    def connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, see _on_sqlite_begin
        cursor = connection.cursor()
        _refuse_foreign(cursor, path)
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA page_size = 8192")
            _set_journal_mode(cursor, journal_mode)
            cursor.execute("PRAGMA journal_size_limit = 67108864")
        cursor.close()
        prepare(connection)

    return connect


def _refuse_foreign(cursor: sqlite3.Cursor, path: Path) -> None:
    """Refuse a file with tables that are not ours before anything of it changes, its mode too."""
    names = cursor.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    found = {str(row[0]) for row in names}
    if found and tables.change_counter.name not in found:
        shown = ", ".join(sorted(found)[:3])
        raise StoreError(
            f"{path} is a database of something else (it has {shown}): name another file with --store"
        )


def _set_journal_mode(cursor: sqlite3.Cursor, journal_mode: str) -> None:
    try:
        cursor.execute(f"PRAGMA journal_mode = {journal_mode}")
    except sqlite3.OperationalError as error:
        # A file or folder that is not ours to write is still readable; a write will say so itself.
        if "readonly" not in str(error) and "read-only" not in str(error):
            raise


def _on_sqlite_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("mirror_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextlib.contextmanager
def _waiting(connection: Connection, wait_s: float | None) -> Iterator[None]:
    """Wait for a lock of SQLite no longer than `wait_s` in the block."""
    if wait_s is None or connection.dialect.name != "sqlite":
        yield
        return
    raw: Any = connection.connection.dbapi_connection
    raw.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")


def _open_postgresql(url: URL) -> Engine:
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except ImportError as error:
        raise StoreError(
            "PostgreSQL needs the driver: install mirror with the extra `postgres`"
        ) from error
    with _translated_engine(engine), engine.connect() as connection:
        version = connection.dialect.server_version_info or (0,)
        if version < (14,):
            engine.dispose()
            raise StoreError(f"PostgreSQL {version[0]} is too old: mirror needs 14 or newer")
    return engine


# ------------------------------------------------------------------ errors


@contextlib.contextmanager
def _translated(store: Store) -> Iterator[None]:
    with _translated_engine(store.engine):
        yield


@contextlib.contextmanager
def _translated_engine(engine: Engine) -> Iterator[None]:
    try:
        yield
    except exc.SQLAlchemyError as error:
        raise explain(error, engine.url) from error


# What a driver says (a part of its text, lower case) → what it means and what to do.
_SQLITE_SAYS: tuple[tuple[str, str], ...] = (
    ("readonly", "is read-only for this user: check the permissions of the file and its folder"),
    ("read-only", "is read-only for this user: check the permissions of the file and its folder"),
    (
        "disk is full",
        "cannot grow, the disk is full: free some space and run the command again, nothing is lost",
    ),
    ("disk i/o error", "cannot be written (disk I/O error): check the disk and its free space"),
    (
        "unable to open",
        "cannot be opened: check that its folder exists and may be entered; where this user may not "
        "write there, its -wal file must be gone: the owner runs `mirror status` once",
    ),
    (
        "not a database",
        "is not a SQLite database: name another file, or remove it if it is a left-over",
    ),
    ("malformed", "is damaged: restore a backup, or remove it and sync again"),
)


def explain(error: Exception, url: URL) -> StoreError:
    """Turn an exception of SQLAlchemy or a driver into a StoreError that says what to do."""
    where = url.render_as_string(hide_password=True)
    text = str(getattr(error, "orig", None) or error).strip()
    said = text.lower()
    if url.get_backend_name() == "sqlite":
        where = f"the store {url.database}"
        if "locked" in said or "busy" in said:
            return StoreBusy(
                f"{where} is locked by another process for more than {BUSY_TIMEOUT_S:.0f} s: "
                "wait for it to end, or find it with `mirror doctor`"
            )
        for part, sentence in _SQLITE_SAYS:
            if part in said:
                return StoreError(f"{where} {sentence}")
    elif isinstance(error, exc.OperationalError):
        first = text.splitlines()[0] if text else "no message"
        return StoreError(f"{where}: PostgreSQL says: {first}")
    return StoreError(f"{where}: {text.splitlines()[0] if text else error}")
