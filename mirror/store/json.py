"""The door to JSON in SQL: the two engines, and what a store and an index need of them.

`mirror.query.compile` asks an engine for tests of values; `register` gives SQLite the functions that
those tests call; `index_key` is the expression a value index carries.
"""

from __future__ import annotations

from typing import Any, Final

from mirror.store.json_postgresql import Postgres
from mirror.store.json_sqlite import Sqlite, register
from mirror.store.json_value import ANY_TYPE, Engine, Value, Walk, as_sql, is_position, number
from mirror.store.sql import Sql, sql

__all__ = [
    "ANY_TYPE",
    "POSTGRES",
    "SQLITE",
    "Engine",
    "Value",
    "Walk",
    "as_sql",
    "index_key",
    "is_position",
    "number",
    "register",
]

SQLITE: Final[Engine] = Sqlite()
POSTGRES: Final[Engine] = Postgres()


def index_key(engine: Engine, column: str, path: tuple[str, ...]) -> Sql:
    """Return the expression that a value index on a path of a document column carries."""
    indexed: Any = engine.indexed(sql(column), path, ANY_TYPE)
    key: Sql = indexed.key
    return key
