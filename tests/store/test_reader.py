"""Reader: the ordinary file is read without SQLAlchemy, all others are the Store's."""

from __future__ import annotations

import gc
import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mirror
from mirror.errors import MirrorError, SchemaOutdated, StoreBusy, StoreError
from mirror.store import reader as reader_module
from mirror.store import sqlite
from mirror.store import store as store_module
from mirror.store.reader import Reader
from mirror.store.store import Store

COUNT = "SELECT seq FROM change_counter WHERE id = 1"


@pytest.fixture
def path(tmp_path: Path, sqlite_template: Path) -> Path:
    """A store with nothing in it."""
    return Path(shutil.copy(sqlite_template, tmp_path / "mirror.db"))


def _opened(url: str | Path) -> Reader:
    reader = Reader.open(url)
    assert reader is not None
    return reader


def _seq(reader: Reader) -> int:
    with reader.read() as connection:
        return int(connection.exec_driver_sql(COUNT).scalar_one())


def test_a_file_is_opened_by_path_and_by_url(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    for url in (path, str(path), f"sqlite:///{path}", "mirror.db", "sqlite:///mirror.db",
                "~/mirror.db", "sqlite:///~/mirror.db"):  # fmt: skip
        with Store.open(url) as store:
            assert _opened(url).path == store.path


def _nothing(path: Path) -> None:
    path.unlink()


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _no_database(path: Path) -> None:
    path.write_text("precious notes\n" * 1000)


def _foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()


def _at(revision: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.close()

    return change


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param(_nothing, StoreError, id="nothing"),
        pytest.param(_a_folder, StoreError, id="a folder"),
        pytest.param(_no_database, StoreError, id="no database"),
        pytest.param(_foreign, StoreError, id="foreign"),
        pytest.param(_at("0001"), SchemaOutdated, id="older"),
        pytest.param(_at("9999"), SchemaOutdated, id="newer"),
    ],
)
def test_what_is_no_store_is_refused_in_the_words_of_the_store(
    path: Path, change: Callable[[Path], None], error: type[MirrorError]
) -> None:
    change(path)
    assert Reader.open(path) is None
    with pytest.raises(error) as said:
        Store.open(path, read_only=True)
    with pytest.raises(error) as asked:
        len(mirror.Api(store=path, mode="offline").runs("team/p"))
    assert str(asked.value) == str(said.value)


@pytest.mark.parametrize(
    "url", [":memory:", "sqlite://", "sqlite:///:memory:", "file:x?mode=memory", "postgresql:///x",
            "sqlite+pysqlite:///x.db", "sqlite:///x.db?timeout=5", "mysql://x"]
)  # fmt: skip
def test_what_is_no_plain_file_is_left_to_the_store(url: str) -> None:
    assert Reader.open(url) is None


def test_a_write_ahead_log_on_a_network_file_system_is_left_to_the_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "file_system", lambda _path: "nfs4")
    assert Reader.open(path) is None
    assert Reader.open(path, journal_mode="delete") is not None


def test_a_locked_file_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.05)
    reader = _opened(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA journal_mode = delete")
    holder.execute("BEGIN EXCLUSIVE")
    for ask in (lambda: Reader.open(path), lambda: _seq(reader)):
        with pytest.raises(StoreBusy, match="is locked by another process for more than"):
            ask()
    holder.execute("ROLLBACK")
    holder.close()
    assert _seq(reader) == _seq(_opened(path))


def test_an_error_of_a_statement_is_an_error_of_the_store(path: Path) -> None:
    reader = _opened(path)
    with pytest.raises(StoreError, match="no such table: nowhere"), reader.read() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")
    assert _seq(reader) >= 0


def test_it_cannot_be_written(path: Path) -> None:
    with pytest.raises(StoreError, match="is read-only"), _opened(path).read() as connection:
        connection.exec_driver_sql("DELETE FROM runs")


def test_a_block_sees_one_state_and_the_next_what_was_written(path: Path) -> None:
    reader = _opened(path)
    with Store.open(path) as store:
        with reader.read() as connection:
            before = connection.exec_driver_sql(COUNT).scalar()
            with store.begin():
                pass
            assert connection.exec_driver_sql(COUNT).scalar() == before
        assert _seq(reader) == before + 1


def test_connections_have_the_settings_of_the_store(path: Path) -> None:
    names = ("query_only", "synchronous", "temp_store", "cache_size", "busy_timeout")
    with Store.open(path, read_only=True) as store:
        for name in names:
            values = []
            for each in (store, _opened(path)):
                with each.read() as connection:
                    values.append(connection.exec_driver_sql(f"PRAGMA {name}").scalar())
            assert values[0] == values[1], name


def test_threads_share_it_and_a_few_connections_stay(path: Path) -> None:
    reader = _opened(path)
    together = threading.Barrier(8)

    def ask(_number: int) -> int:
        with reader.read() as connection:
            together.wait(timeout=30)
            return int(connection.exec_driver_sql(COUNT).scalar_one())

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1
    assert len(reader._idle) == reader_module.IDLE


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are not listed")
def test_a_reader_that_is_dropped_leaves_nothing_open(path: Path) -> None:
    reader = _opened(path)
    _seq(reader)
    assert _descriptors(path)
    del reader
    gc.collect()
    assert not _descriptors(path)


def _descriptors(path: Path) -> int:
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            found += str(each.readlink()).startswith(str(path))
        except OSError:  # the one that lists them
            continue
    return found


def test_the_revision_is_the_one_of_the_store() -> None:
    assert sqlite.HEAD == store_module.HEAD
