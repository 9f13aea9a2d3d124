"""A new SQLite store made at once from tables.py: what the migrations make, without loading alembic.

Loading alembic and running every revision is a third of a second, much of a small first sync. The
tests hold both ways to the same database, byte for byte of its schema. PostgreSQL takes the
migrations: they also say what tables.py cannot (storage parameters).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.store import tables

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

__all__ = ["create"]

_SEEDS = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
    "INSERT INTO change_counter (id, seq) VALUES (1, 0)",
    "INSERT INTO leases (name, token) VALUES ('sync', 0)",
)


def create(engine: Engine, revision: str) -> bool:
    """Make the store in an empty SQLite database, in one transaction; False: it is not empty."""
    with engine.connect() as connection:
        connection = connection.execution_options(mirror_write=True)
        with connection.begin():
            # Asked under the write lock: another process may be making it too.
            if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
                return False
            tables.metadata.create_all(connection, checkfirst=False)
            for statement in _SEEDS:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (revision,))
    return True
