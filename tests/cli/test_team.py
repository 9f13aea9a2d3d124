"""docs/how-to/postgresql.md: one role syncs, another may only read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from commands import Run
from test_ingest import PROJECT, node, put
from test_projects import put_project

from mirror.store.store import Store

SETUP = """
GRANT CONNECT ON DATABASE "{database}" TO {reader};
GRANT USAGE ON SCHEMA public TO {reader};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {reader};
"""


@pytest.fixture
def reader_url(postgres_url: str) -> Iterator[str]:
    """The URL of a role that may only read, of a store that the owner has filled."""
    url = sa.make_url(postgres_url)
    reader = f"reader_{url.database}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {reader} LOGIN")
        for statement in SETUP.strip().splitlines():
            connection.exec_driver_sql(statement.format(database=url.database, reader=reader))
    with Store.open(postgres_url, upgrade=True) as store:
        put_project(store, int(PROJECT), "ent/proj")
        put(store, *(node(f"r{i}") for i in range(5)))
    yield url.set(username=reader).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {reader}")
        connection.exec_driver_sql(f"DROP ROLE {reader}")
    engine.dispose()


def test_a_reader_asks_everything_and_writes_nothing(run: Run, reader_url: str) -> None:
    store = ("--store", reader_url)
    result = run("runs", "ent/proj", "--count", "--filter", '{"config.lr": {"$gt": 0}}', *store)
    assert (result.exit_code, result.stdout) == (0, "5\n")
    for args in (
        ("status",),
        ("keys", "ent/proj"),
        ("explain", "ent/proj"),
        ("db", "check"),
        ("index", "list"),
    ):
        assert run(*args, *store).exit_code == 0, args
    refused = run("index", "add", "ent/proj", "config.lr", *store)
    assert refused.exit_code == 1
    assert "permission denied" in refused.stderr
