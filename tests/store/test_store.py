"""The store on both engines: opening, transactions, upserts, and a sentence for every bad day."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from children import in_child

from mirror.errors import StoreBusy, StoreError
from mirror.store import store as store_module
from mirror.store import tables
from mirror.store.store import Store, explain, file_system, parse_url

USERS = tables.users.c


def _user(username: str, **more: object) -> dict[str, object]:
    return {"username": username, "seq": 1, "synced_at": "2026-01-01T00:00:00Z", **more}


def _names(store: Store) -> list[str]:
    return [
        row["username"] for row in store.rows(sa.select(USERS.username).order_by(USERS.username))
    ]


# ------------------------------------------------------------------ transactions, both engines


def test_an_upsert_changes_only_the_columns_it_was_given(store: Store) -> None:
    with store.begin() as tx:
        tx.upsert_all(tables.users, [_user("ann", email="ann@example.org", name="Ann")])
    with store.begin() as tx:
        tx.upsert_all(tables.users, [_user("ann", name="Ann B."), _user("bob", name="Bob")])
    found = store.rows(sa.select(USERS.username, USERS.name, USERS.email).order_by(USERS.username))
    assert [tuple(row.values()) for row in found] == [
        ("ann", "Ann B.", "ann@example.org"),
        ("bob", "Bob", None),
    ]


def test_an_upsert_of_keys_alone_is_an_insert_of_what_is_missing(store: Store) -> None:
    statement = store.upsert_statement(tables.store_meta, ("key",), ("key",))
    assert "DO NOTHING" in statement


def test_the_order_of_a_rows_columns_does_not_matter(store: Store) -> None:
    row = _user("ann", name="Ann", email="ann@example.org")
    with store.begin() as tx:
        tx.upsert_all(tables.users, [dict(reversed(row.items()))])
    found = store.one(sa.select(tables.users))
    assert found is not None
    assert {name: found[name] for name in row} == row


def test_a_column_that_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(KeyError, match="users has no column \\['nmae'\\]"), store.begin() as tx:
        tx.upsert_all(tables.users, [_user("ann", nmae="Ann")])


def test_an_upsert_of_nothing_is_nothing(store: Store) -> None:
    with store.begin() as tx:
        tx.upsert_all(tables.users, [])
    assert _names(store) == []


def test_ten_thousand_rows_in_one_call(store: Store) -> None:
    with store.begin() as tx:
        tx.upsert_all(tables.users, [_user(f"u{i:05}") for i in range(10_000)])
    assert len(_names(store)) == 10_000


def test_an_exception_takes_the_whole_transaction_back(store: Store) -> None:
    def write() -> None:
        with store.begin() as tx:
            tx.upsert_all(tables.users, [_user("ann")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert _names(store) == []


def test_the_change_counter_grows_with_each_transaction(store: Store) -> None:
    seen = []
    for _ in range(3):
        with store.begin() as tx:
            seen.append(tx.seq)
    assert seen == [1, 2, 3]


def test_a_transaction_taken_back_leaves_no_gap_in_the_change_counter(store: Store) -> None:
    with pytest.raises(RuntimeError), store.begin():
        raise RuntimeError
    with store.begin() as tx:
        assert tx.seq == 1


def test_a_reader_sees_one_state_while_a_writer_commits(
    store: Store, open_store: Callable[..., Store]
) -> None:
    other = open_store()
    count = sa.select(sa.func.count()).select_from(tables.users)
    with store.read() as connection:
        before = connection.execute(count).scalar_one()
        with other.begin() as tx:
            tx.upsert_all(tables.users, [_user("ann")])
        assert connection.execute(count).scalar_one() == before == 0
    assert _names(store) == ["ann"]


def test_writers_wait_for_each_other_and_lose_nothing(store: Store) -> None:
    def write(worker: int) -> None:
        for i in range(10):
            with store.begin() as tx:
                tx.upsert_all(tables.users, [_user(f"{worker}-{i}") | {"seq": tx.seq}])

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seqs = sorted(row["seq"] for row in store.rows(sa.select(USERS.seq)))
    assert seqs == list(range(1, 41))


def test_a_writer_in_no_hurry_to_wait_is_told_at_once(
    store: Store, open_store: Callable[..., Store]
) -> None:
    """Were it to wait as others do, the test would hang: the holder is this very thread."""
    other = open_store()
    with store.begin() as tx:
        tx.upsert_all(tables.users, [_user("ann")])
        with pytest.raises(StoreError), other.begin(wait_s=0.05):
            pass
    with other.begin(wait_s=0.05) as tx:
        tx.upsert_all(tables.users, [_user("bob")])
    assert _names(store) == ["ann", "bob"]


def test_a_lost_lease_fails_the_commit_and_names_the_new_holder(store: Store) -> None:
    with store.begin() as tx:
        tx.upsert_all(
            tables.leases, [{"name": "sync", "owner": "cron", "host": "there", "token": 8}]
        )
    with pytest.raises(StoreBusy, match="taken over by cron on there") as error:  # noqa: SIM117
        with store.begin(lease=7) as tx:
            tx.upsert_all(tables.users, [_user("ann")])
    assert error.value.holder == "cron"
    assert _names(store) == []
    with store.begin(lease=8) as tx:
        tx.upsert_all(tables.users, [_user("ann")])
    assert _names(store) == ["ann"]


def test_facts_about_the_store_are_kept(store: Store) -> None:
    assert store.meta("server") is None
    for value in ("one", "two"):
        with store.begin() as tx:
            tx.set_meta("server", value)
        assert store.meta("server") == value


def test_one_answers_the_first_row_or_none(store: Store) -> None:
    everyone = sa.select(USERS.username).order_by(USERS.username)
    assert store.one(everyone) is None
    with store.begin() as tx:
        tx.upsert_all(tables.users, [_user("bob"), _user("ann")])
    row = store.one(everyone)
    assert row is not None
    assert row["username"] == "ann"


def test_a_store_says_what_it_takes_on_disk(store: Store) -> None:
    assert store.size_bytes() > 50_000


def test_the_password_is_in_no_text_of_a_store() -> None:
    store = Store(sa.create_engine("postgresql+psycopg://me:hunter2@127.0.0.1/db"))
    assert "hunter2" not in repr(store)
    error = explain(
        sa.exc.OperationalError("select 1", {}, Exception("no route")), store.engine.url
    )
    assert "hunter2" not in str(error)
    assert "no route" in str(error)


# ------------------------------------------------------------------ URLs


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        pytest.param("a/b.db", "sqlite:///a/b.db", id="a path"),
        pytest.param("/a/b c.db", "sqlite:////a/b c.db", id="an absolute path with a space"),
        pytest.param("sqlite:///a.db", "sqlite:///a.db", id="a SQLite URL"),
        pytest.param(
            "postgresql://h/d", "postgresql+psycopg://h/d", id="PostgreSQL gets psycopg 3"
        ),
        pytest.param("postgres://u@h:1/d", "postgresql+psycopg://u@h:1/d", id="the short scheme"),
        pytest.param(
            "postgresql+psycopg://h/d?sslmode=require",
            "postgresql+psycopg://h/d?sslmode=require",
            id="options stay",
        ),
    ],
)
def test_a_store_is_named_by_url_or_path(given: str, wanted: str) -> None:
    assert parse_url(given).render_as_string(hide_password=False) == wanted


def test_a_tilde_is_the_home_folder() -> None:
    home = str(Path.home() / "m.db")
    assert parse_url("~/m.db").database == home
    assert parse_url("sqlite:///~/m.db").database == home
    assert parse_url(Path("~/m.db")).database == home


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("mysql://h/d", "'mysql': mirror keeps its store in SQLite or PostgreSQL"),
        ("http://h/d", "'http': mirror keeps its store in SQLite or PostgreSQL"),
        ("://x", "cannot be read: use a file path"),
        ("postgresql://u:secret@h:port/d", "cannot be read: use a file path"),
    ],
)
def test_an_unknown_url_is_refused_without_its_password(given: str, text: str) -> None:
    with pytest.raises(StoreError) as error:
        parse_url(given)
    assert text in str(error.value)
    assert "secret" not in str(error.value)


# ------------------------------------------------------------------ SQLite files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mirror.db"


@pytest.fixture
def file_store(path: Path) -> Iterator[Store]:
    with Store.open(path, create=True, upgrade=True) as store:
        yield store


def test_only_its_owner_may_read_a_new_store(file_store: Store, path: Path) -> None:
    with file_store.begin() as tx:
        tx.upsert_all(tables.users, [_user("ann")])
        for part in path.parent.iterdir():
            assert stat.S_IMODE(part.stat().st_mode) == 0o600, part
        assert {part.name for part in path.parent.iterdir()} >= {"mirror.db", "mirror.db-wal"}


def test_folders_are_made_for_a_new_store(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "mirror.db"
    Store.open(path, create=True, upgrade=True).close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_settings_that_were_measured_are_in_force(file_store: Store) -> None:
    with file_store.read() as connection:

        def pragma(name: str) -> object:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

        assert (pragma("page_size"), pragma("journal_mode"), pragma("synchronous")) == (
            8192,
            "wal",
            1,
        )
        assert pragma("journal_size_limit") == 64 * 2**20


def test_another_journal_mode_can_be_asked_for(path: Path) -> None:
    with Store.open(path, create=True, upgrade=True, journal_mode="delete") as store:
        with store.read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        assert not path.with_name("mirror.db-wal").exists()


def test_a_checkpoint_folds_the_log_into_the_file(file_store: Store, path: Path) -> None:
    with file_store.begin() as tx:
        tx.upsert_all(tables.users, [_user(f"u{i}") for i in range(1000)])
    log = path.with_name("mirror.db-wal")
    assert log.stat().st_size > 0
    file_store.checkpoint()
    assert log.stat().st_size == 0
    assert len(_names(file_store)) == 1000


def test_a_checkpoint_does_not_wait_for_a_reader(
    file_store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.05)
    with Store.open(path) as other, other.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM users").scalar()
        with file_store.begin() as tx:
            tx.upsert_all(tables.users, [_user("ann")])
        with Store.open(path) as third:
            third.checkpoint()
    assert _names(file_store) == ["ann"]


def test_a_store_in_memory_works_and_is_gone_when_closed() -> None:
    with Store.open(":memory:", upgrade=True) as store:
        with store.begin() as tx:
            tx.upsert_all(tables.users, [_user("ann")])
        assert _names(store) == ["ann"]
        assert (store.path, store.size_bytes()) == (None, 0)


def test_no_store_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store at .*mirror.db: run `mirror sync`"):
        Store.open(path)
    assert not path.exists()


def test_a_folder_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"is a folder: name the store's file, such as .*mirror\.db"
    ):
        Store.open(tmp_path)


def test_a_store_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot make a store at .*file/mirror.db"):
        Store.open(tmp_path / "file" / "mirror.db", create=True)


def test_another_kind_of_file_is_not_overwritten(path: Path) -> None:
    path.write_text("precious notes\n" * 1000)
    with pytest.raises(StoreError, match="is not a SQLite database: name another file"):
        Store.open(path, create=True, upgrade=True)
    assert path.read_text().startswith("precious notes")


def test_a_foreign_database_is_not_touched_by_a_reader(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(StoreError, match="a database of something else"):
        Store.open(path)


def test_a_damaged_file_says_so(file_store: Store, path: Path) -> None:
    with file_store.begin() as tx:
        tx.upsert_all(tables.users, [_user(f"u{i:05}", name="x" * 200) for i in range(2000)])
    file_store.checkpoint()
    file_store.close()
    content = bytearray(path.read_bytes())
    content[8192 * 4 :] = b"\xff" * (len(content) - 8192 * 4)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged: restore a backup"):  # noqa: SIM117
        with Store.open(path) as store:
            store.rows(sa.select(tables.users))


def test_a_lock_held_too_long_is_store_busy(
    file_store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process is a real one; we wait a moment instead of half a minute."""
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.05)
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with Store.open(path) as store:
            assert _names(store) == []  # readers do not wait
            with pytest.raises(StoreBusy, match="is locked by another process"), store.begin():
                pass
        other.communicate()
    with file_store.begin() as tx:
        tx.upsert_all(tables.users, [_user("ann")])


def test_a_full_database_loses_nothing_that_was_committed(file_store: Store, path: Path) -> None:
    with file_store.begin() as tx:
        tx.upsert_all(tables.users, [_user("ann")])

    def write() -> None:
        with file_store.begin() as tx:
            tx.connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as small as it is now
            tx.upsert_all(tables.users, [_user(f"u{i}", name="x" * 9000) for i in range(1000)])

    with pytest.raises(StoreError, match="the disk is full: free some space"):
        write()
    with Store.open(path) as store:
        assert _names(store) == ["ann"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_log_that_a_full_disk_cannot_fold_stays(file_store: Store, path: Path) -> None:
    with file_store.begin() as tx:
        tx.upsert_all(tables.users, [_user(f"u{i}", name="x" * 900) for i in range(1000)])

    def fold() -> None:
        with Store.open(path) as store:
            store.checkpoint()
        raise StoreError("it went on")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    assert in_child(fold, limit) == "it went on"
    assert len(_names(file_store)) == 1000


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_disk_that_takes_no_more_bytes_is_a_sentence(path: Path) -> None:
    """A limit on the size of files stands in for the disk: what SQLite meets is a failing write."""
    Store.open(path, create=True, upgrade=True).close()

    def write() -> None:
        with Store.open(path) as store, store.begin() as tx:
            tx.upsert_all(tables.users, [_user(f"u{i}", name="x" * 9000) for i in range(1000)])

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    said = in_child(write, limit)
    assert "check the disk and its free space" in said or "the disk is full" in said
    with Store.open(path) as store:
        assert _names(store) == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_store_of_somebody_else_can_be_read_and_says_why_it_cannot_be_written(
    path: Path,
) -> None:
    with Store.open(path, create=True, upgrade=True, journal_mode="delete") as store:
        with store.begin() as tx:
            tx.upsert_all(tables.users, [_user("ann")])
        _names(store)
    path.chmod(0o444)
    for parent in path.parents:
        if parent.is_relative_to(tempfile.gettempdir()) and parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    if not all(parent.stat().st_mode & 0o001 for parent in path.parents):
        pytest.skip("another user cannot come to the temporary folder")

    def write() -> None:
        with Store.open(path, journal_mode="delete") as store:
            assert _names(store) == ["ann"]
            with store.begin() as tx:
                tx.upsert_all(tables.users, [_user("bob")])

    def nobody() -> None:
        if os.geteuid() == 0:  # root may write everything
            os.setgid(65534)
            os.setuid(65534)

    said = in_child(write, nobody)
    assert "is read-only for this user: check the permissions" in said


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "cifs", "fuse.sshfs"])
def test_a_write_ahead_log_is_refused_on_a_network_file_system(
    kind: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "file_system", lambda _path: kind)
    with pytest.raises(StoreError, match=f"is on {kind}.*journal_mode"):
        Store.open(path, create=True, upgrade=True)
    Store.open(path, create=True, upgrade=True, journal_mode="delete").close()


@pytest.mark.skipif(
    not Path("/proc/self/mounts").exists(), reason="the system does not list mounts"
)
def test_the_file_system_of_a_path_is_known() -> None:
    assert file_system(Path("/proc/self/mounts")) == "proc"


def test_a_read_only_store_cannot_be_written(file_store: Store, path: Path) -> None:
    with (
        Store.open(path, read_only=True) as store,
        pytest.raises(StoreError, match="is read-only"),
        store.begin(),
    ):
        pass


# ------------------------------------------------------------------ PostgreSQL's own bad days


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    url = f"postgresql://me:hunter2@127.0.0.1:{_free_port()}/mirror"
    with pytest.raises(StoreError, match=r"127\.0\.0\.1.*PostgreSQL says: .*refused") as error:
        Store.open(url)
    assert "hunter2" not in str(error.value)


def test_a_database_that_is_not_there_is_a_sentence(postgres_url: str) -> None:
    url = sa.make_url(postgres_url).set(database="nowhere")
    with pytest.raises(StoreError, match=r'PostgreSQL says: .*"nowhere" does not exist'):
        Store.open(url.render_as_string(hide_password=False))


def test_without_the_driver_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None; from mirror.errors import StoreError;"
        "from mirror.store.store import Store\n"
        "try: Store.open('postgresql://127.0.0.1/x')\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "install mirror with the extra `postgres`" in done.stdout


def test_a_lost_connection_is_a_sentence_and_the_next_transaction_works(postgres_url: str) -> None:
    with Store.open(postgres_url, upgrade=True) as store, Store.open(postgres_url) as other:
        with pytest.raises(StoreError, match="PostgreSQL says"), store.begin() as tx:  # noqa: PT012
            pid = tx.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with other.read() as connection:
                connection.exec_driver_sql(f"SELECT pg_terminate_backend({int(pid)})")
            tx.upsert_all(tables.users, [_user("ann")])
        with store.begin() as tx:
            tx.upsert_all(tables.users, [_user("bob")])
        assert _names(store) == ["bob"]
