"""Looking after a store's database: check it, back it up, derive it again from the server's texts.

What `mirror db` calls. Upgrading is `Store.open(..., upgrade=True)`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mirror import projects
from mirror.errors import StoreError
from mirror.ingest import GENERATION, rebuild_runs
from mirror.store import tables
from mirror.store.store import Store

__all__ = ["Rebuilt", "backup", "check", "rebuild"]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What deriving one project again found: runs read, and those that had not matched their texts."""

    path: str
    runs: int
    changed: int


def rebuild(store: Store, *, path: str | None = None) -> Iterator[Rebuilt]:
    """Derive rows, documents and catalogue again from the server's own texts, project by project.

    Offline, one transaction a project: readers see the old state until the new one is whole.
    """
    found = projects.every(store)
    if path is not None:
        entity, _, name = path.partition("/")
        found = [projects.find(store, entity, name)]
    for project in found:
        with store.begin() as tx:
            runs, changed = rebuild_runs(tx, project.project_id)
        store.checkpoint()
        yield Rebuilt(project.path, runs, changed)


def check(store: Store) -> list[str]:
    """Return what is wrong with the database, a sentence each; [] when nothing is.

    The engine's own check (SQLite), then what must hold between our tables.
    """
    problems = _integrity(store) if store.backend == "sqlite" else []
    return [*problems, *_between_tables(store)]


def _integrity(store: Store) -> list[str]:
    with store.read() as connection:
        said = [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
    return [f"SQLite finds: {text}" for text in said if text != "ok"]


def _between_tables(store: Store) -> list[str]:
    r, d, t, s = (
        tables.runs.c,
        tables.run_documents.c,
        tables.run_texts.c,
        tables.sync_state.c,
    )
    counts = (
        ("runs without documents", _orphans(r.run_key, d.run_key), "mirror db rebuild"),
        ("runs without the texts of the server", _orphans(r.run_key, t.run_key), "mirror sync --full"),
        ("documents that belong to no run", _orphans(d.run_key, r.run_key), "mirror db rebuild"),
        (
            "runs that are marked differently in their documents",
            sa.select(sa.func.count())
            .select_from(tables.runs.join(tables.run_documents, r.run_key == d.run_key))
            .where(r.live != d.live),
            "mirror db rebuild",
        ),
        (
            "projects that another version of the mapping wrote",
            sa.select(sa.func.count()).select_from(tables.sync_state).where(s.generation != GENERATION),
            "mirror db rebuild",
        ),
    )  # fmt: skip
    found = []
    with store.read() as connection:
        for text, statement, remedy in counts:
            count = connection.execute(statement).scalar_one()
            if count:
                found.append(f"{text}: {count:,}; run `{remedy}`")
    return found


def _orphans(key: sa.Column[int], other: sa.Column[int]) -> sa.Select[Any]:
    absent = ~sa.exists().where(other == key)
    return sa.select(sa.func.count()).select_from(key.table).where(absent)


def backup(
    store: Store, target: Path, *, progress: Callable[[int, int], None] | None = None
) -> int:
    """Copy a SQLite store to a new file while it may be in use; return the bytes written.

    The copy is one consistent state, complete in one file, mode 0600; nothing appears at `target`
    before it is whole. Raises StoreError for PostgreSQL and for a target that exists.
    """
    if store.backend != "sqlite":
        name = store.engine.url.database
        raise StoreError(f"a PostgreSQL store is backed up by its own tool: pg_dump -Fc {name}")
    if target.exists():
        raise StoreError(f"{target} exists already: name a new file")
    part = target.with_name(f"{target.name}.part")
    with _translated(target):
        part.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        _copy(store, part, progress)
        part.replace(target)
        return target.stat().st_size


def _copy(store: Store, part: Path, progress: Callable[[int, int], None] | None) -> None:
    def tell(_status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with store.read() as connection, contextlib.closing(sqlite3.connect(part)) as copy:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        source.backup(copy, pages=2048, progress=tell)
        copy.execute("PRAGMA journal_mode = delete")


@contextlib.contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):  # what stopped the writing may stop this too
            target.with_name(f"{target.name}.part").unlink(missing_ok=True)
        raise StoreError(f"cannot write a backup to {target}: {error}") from error
