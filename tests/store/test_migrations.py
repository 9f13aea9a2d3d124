"""Migrations: from nothing to this version and back, on both engines, from a checkout and a wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from mirror.errors import SchemaOutdated
from mirror.store import migrate, tables
from mirror.store.store import HEAD, Store


def _tables(store: Store) -> set[str]:
    with store.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_head_is_the_newest_script() -> None:
    assert ScriptDirectory.from_config(migrate.config()).get_current_head() == HEAD


def test_every_migration_says_what_an_operator_will_notice() -> None:
    script = ScriptDirectory.from_config(migrate.config())
    for revision in script.walk_revisions():
        assert str(revision.doc).strip().endswith(".")


def test_an_empty_database_becomes_a_store_only_when_asked(engine_url: str) -> None:
    with pytest.raises(SchemaOutdated, match=r"revision none.*run `mirror db upgrade`"):
        Store.open(engine_url, create=True)
    with Store.open(engine_url, create=True, upgrade=True) as store:
        assert store.revision() == HEAD
        assert _tables(store) == {*tables.metadata.tables, "alembic_version"}


def test_migrating_twice_changes_nothing(store: Store) -> None:
    before = _tables(store)
    migrate.upgrade(store)
    assert (_tables(store), store.revision()) == (before, HEAD)


def _all_of(store: Store) -> dict[str, object]:
    """The whole database: its schema as SQLite keeps it, and every row."""
    with store.read() as connection:
        schema = connection.exec_driver_sql("SELECT name, type, sql FROM sqlite_master").all()
        return {
            "schema": {name: (kind, (sql or "").split()) for name, kind, sql in schema},
            "rows": {
                name: connection.exec_driver_sql(f'SELECT * FROM "{name}"').all()
                for name, kind, _ in schema
                if kind == "table"
            },
        }


def test_a_new_sqlite_store_is_what_the_migrations_make(tmp_path: Path) -> None:
    with Store.open(tmp_path / "new.db", create=True, upgrade=True) as new:
        made = _all_of(new)
        command.downgrade(migrate.config(new), "base")
        command.upgrade(migrate.config(new), "head")
        assert _all_of(new) == made


def test_making_a_sqlite_store_loads_no_alembic(tmp_path: Path) -> None:
    program = (
        "import sys; from mirror.store.store import Store;"
        "Store.open(sys.argv[1], create=True, upgrade=True).close();"
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "new.db")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def _differences(store: Store) -> list[object]:
    """What alembic would still change to make the database what tables.py says."""
    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": lambda _context, _inspected, _column, _found, wanted: (
                    False if isinstance(wanted, tables.JsonDocument) else None
                )
            },
        )
        return list(compare_metadata(context, tables.metadata))


def test_the_migrations_make_what_the_tables_say(store: Store) -> None:
    assert _differences(store) == []


def test_names_are_compared_by_code_point(store: Store) -> None:
    names = ["a", "B", "ä", "Z", "é", "\U0001f600", "￿", "_", "-"]
    with store.begin() as tx:
        rows = [{"key": name, "value": ""} for name in names]
        tx.upsert_all(tables.store_meta, rows)
        users = [{"username": name, "seq": 1, "synced_at": "2026-01-01"} for name in names]
        tx.upsert_all(tables.users, users)
    found = store.rows(sa.select(tables.users.c.username).order_by(tables.users.c.username))
    assert [row["username"] for row in found] == sorted(names)


def test_downgrading_takes_everything_away(store: Store) -> None:
    command.downgrade(migrate.config(store), "base")
    assert _tables(store) <= {"alembic_version"}
    migrate.upgrade(store)
    assert _tables(store) == {*tables.metadata.tables, "alembic_version"}


def _revisions() -> list[str]:
    script = ScriptDirectory.from_config(migrate.config())
    return [item.revision for item in reversed([*script.walk_revisions()])]


@pytest.mark.parametrize("revision", _revisions())
def test_a_store_of_an_older_version_is_upgraded_with_its_rows(
    store: Store, store_url: str, revision: str
) -> None:
    with store.begin() as tx:
        row = {"username": "ann", "name": "Ann", "seq": tx.seq, "synced_at": "2026-01-01T00:00:00Z"}
        tx.upsert_all(tables.users, [row])
    command.downgrade(migrate.config(store), revision)
    store.close()
    if revision != HEAD:
        with pytest.raises(SchemaOutdated, match="run `mirror db upgrade`"):
            Store.open(store_url)
    with Store.open(store_url, upgrade=True) as upgraded:
        assert upgraded.revision() == HEAD
        assert _differences(upgraded) == []
        assert [found["name"] for found in upgraded.rows(sa.select(tables.users))] == ["Ann"]


def test_a_store_of_a_newer_version_is_refused(store: Store, store_url: str) -> None:
    with store.begin() as tx:
        tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for upgrade in (False, True):
        with pytest.raises(
            SchemaOutdated, match="newer mirror: upgrade this installation"
        ) as error:
            Store.open(store_url, upgrade=upgrade)
        assert (error.value.found, error.value.expected, error.value.newer) == ("9999", HEAD, True)


def test_a_reader_never_migrates(engine_url: str) -> None:
    if engine_url.startswith("sqlite"):
        Path(engine_url.removeprefix("sqlite:///")).touch()
    with pytest.raises(SchemaOutdated):
        Store.open(engine_url, upgrade=True, read_only=True)
