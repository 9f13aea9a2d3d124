"""Alembic's entry: migrate the store that `mirror.store.migrate` hands over."""

from __future__ import annotations

from typing import Any

from alembic import context

from mirror.store import tables


def compare_type(
    _context: Any, _inspected: Any, _column: Any, _found: Any, wanted: Any
) -> bool | None:
    # A reflected TEXT or jsonb is never equal to our type object, and both are right.
    return False if isinstance(wanted, tables.JsonDocument) else None


store = context.config.attributes["store"]
with store.engine.connect().execution_options(mirror_write=True) as connection, connection.begin():
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        render_as_batch=True,
        compare_type=compare_type,
    )
    context.run_migrations()
