"""Files that are somebody else's, and files that this user may only read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from children import in_child
from sqlalchemy.engine import make_url

from mirror.errors import StoreBusy, StoreError
from mirror.store import sqlite, tables
from mirror.store.reader import Reader
from mirror.store.store import Store

USERS = tables.users.c


def _add(store: Store, name: str) -> None:
    with store.begin() as tx:
        row = {"username": name, "seq": 1, "synced_at": "2026-01-01T00:00:00Z"}
        tx.upsert_all(tables.users, [row])


def _names(store: Store) -> list[str]:
    rows = store.rows(sa.select(USERS.username).order_by(USERS.username))
    return [row["username"] for row in rows]


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_something_else_is_left_alone(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE films (title TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"a database of something else \(it has films\)"):
        Store.open(path, create=create, upgrade=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("theirs", ["runs", "alembic_version"])
def test_a_database_with_tables_by_the_names_of_ours_is_left_alone(
    postgres_url: str, theirs: str
) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {theirs} (version_num text)")
        connection.exec_driver_sql(f"INSERT INTO {theirs} VALUES ('f00')")
    with pytest.raises(StoreError, match=rf"has {theirs} of something else: name another database"):
        Store.open(postgres_url, upgrade=True)
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == [theirs]
    engine.dispose()


def test_a_role_that_may_make_no_tables_is_told_in_a_sentence(postgres_url: str) -> None:
    url = make_url(postgres_url).update_query_dict({"options": "-c role=pg_read_all_data"})
    with pytest.raises(StoreError, match="permission denied for schema public"):
        Store.open(url.render_as_string(hide_password=False), upgrade=True)


@pytest.fixture
def sealed() -> Iterator[Path]:
    """A store with one name in it, in a folder that others can come to and not write."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        path = folder / "mirror.db"
        with Store.open(path, create=True, upgrade=True) as store:
            _add(store, "ann")
            store.checkpoint()
        path.chmod(0o444)
        folder.chmod(0o555)
        yield path
        folder.chmod(0o755)


def _nobody() -> None:
    if os.geteuid() == 0:  # root may write everything
        os.setgid(65534)
        os.setuid(65534)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_may_only_be_read_in_a_folder_that_may_only_be_read_is_read(
    sealed: Path, read_only: bool
) -> None:
    def read() -> None:
        with Store.open(sealed, read_only=read_only) as store:
            assert _names(store) == ["ann"]
            raise StoreError("it was read")

    assert in_child(read, _nobody) == "it was read"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_write_to_it_is_refused_in_a_sentence(sealed: Path) -> None:
    def write() -> None:
        with Store.open(sealed) as store:
            _add(store, "bob")

    assert "is read-only for this user: check the permissions" in in_child(write, _nobody)


def test_the_reader_without_sqlalchemy_leaves_it_to_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mirror.db"
    Store.open(path, create=True, upgrade=True).close()
    assert Reader.open(path) is not None
    monkeypatch.setattr(sqlite.os, "access", lambda *_args: False)
    assert Reader.open(path) is None


def test_a_file_that_is_written_while_it_is_read_without_a_lock_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mirror.db"
    with Store.open(path, create=True, upgrade=True) as store:
        _add(store, "ann")
    shutil.copy(path, tmp_path / "copy.db")
    monkeypatch.setattr(sqlite.os, "access", lambda *_args: False)
    with Store.open(path, read_only=True) as store:
        assert _names(store) == ["ann"]
        with (
            pytest.raises(StoreBusy, match="was written while it was read"),
            store.read(),
            path.open("ab") as file,
        ):
            file.write(b"\0" * 8192)


def test_where_a_log_is_left_the_file_alone_is_not_taken_for_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mirror.db"
    Store.open(path, create=True, upgrade=True).close()
    monkeypatch.setattr(sqlite.os, "access", lambda *_args: False)
    assert sqlite.is_sealed(path)
    path.with_name("mirror.db-wal").write_bytes(b"x")
    assert not sqlite.is_sealed(path)
