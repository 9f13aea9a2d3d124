"""The tables of the store, read top to bottom as the schema (SQLAlchemy Core, both engines).

Three habits hold everywhere: a time is kept twice, as the server sent it (`created_at`, text) and
as integer microseconds UTC (`created_at_us`), and only the integer is compared; `seq` is the value
of the change counter in the transaction that last wrote the row; a deletion is `deleted_at`, never
a DELETE. Strings are stored in the form of `mirror.jsontext.escape` (PostgreSQL has no NUL).

`alembic check` in the tests holds this file against migrations/.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import UserDefinedType

__all__ = [
    "JsonDocument",
    "change_counter",
    "entities",
    "leases",
    "metadata",
    "objects",
    "project_aliases",
    "projects",
    "quarantine",
    "query_log",
    "run_documents",
    "run_keys",
    "run_texts",
    "runs",
    "store_meta",
    "sweeps",
    "sync_log",
    "sync_state",
    "users",
    "value_indexes",
]


class JsonDocument(UserDefinedType[str]):
    """A JSON document, bound as JSON text: TEXT on SQLite, jsonb on PostgreSQL."""

    cache_ok = True


@compiles(JsonDocument, "sqlite")
def _sqlite_document(element: JsonDocument, compiler: Any, **kw: Any) -> str:
    return "TEXT"


@compiles(JsonDocument, "postgresql")
def _postgresql_document(element: JsonDocument, compiler: Any, **kw: Any) -> str:
    return "JSONB"


def _name() -> Any:
    """Text that is compared and sorted by code point on both engines."""
    return Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


# SQLite numbers rows by INTEGER only; PostgreSQL wants 64 bits.
_Key = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# ------------------------------------------------------------------ the store itself

store_meta = Table(
    "store_meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    comment="facts about the store: format generation, server, when created",
)

change_counter = Table(
    "change_counter",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    comment="one row; its lock serialises writers, its value stamps what they write",
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text),
    Column("host", Text),
    Column("pid", Integer),
    Column("acquired_at", Text),
    Column("heartbeat_at_us", BigInteger),
    Column("token", BigInteger, nullable=False),
    comment="who is syncing; token is the fence, it grows with every holder",
)

# ------------------------------------------------------------------ who and where

entities = Table(
    "entities",
    metadata,
    Column("name", _name(), primary_key=True),
    Column("id", Text),
    Column("entity_type", Text),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
)

users = Table(
    "users",
    metadata,
    Column("username", _name(), primary_key=True),
    Column("id", Text),
    Column("name", Text),
    Column("email", Text),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
    Index(None, "id"),
)

projects = Table(
    "projects",
    metadata,
    # The decimal number inside Project.internalId, equal to Run.projectId; survives a rename.
    Column("project_id", _name(), primary_key=True),
    Column("entity", _name(), nullable=False),
    Column("name", _name(), nullable=False),
    Column("id", Text, comment="global id; changes with a rename"),
    Column("description", Text),
    Column("access", Text),
    Column("created_at", Text),
    Column("created_at_us", BigInteger),
    Column("last_active", Text),
    Column("run_count", Integer, comment="as the server last said it"),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text, comment="when the mirror found it gone"),
    Index(None, "entity", "name"),
)

project_aliases = Table(
    "project_aliases",
    metadata,
    Column("entity", _name(), primary_key=True),
    Column("name", _name(), primary_key=True),
    Column("project_id", _name(), primary_key=True),
    Column("first_seen_at", Text, nullable=False),
    Column("last_seen_at", Text, nullable=False),
    comment="every path a project ever answered to",
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("project_id", _name(), primary_key=True),
    Column("name", _name(), primary_key=True),
    Column("id", Text),
    Column("display_name", Text),
    Column("state", Text),
    Column("method", Text),
    Column("run_count", Integer),
    Column("created_at", Text),
    Column("created_at_us", BigInteger),
    Column("updated_at", Text),
    Column("heartbeat_at", Text),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
)

# ------------------------------------------------------------------ runs
#
# A run is three rows under one `run_key`: what listings, filters and sorts read (`runs`), the two
# documents that filters read (`run_documents`; with the few columns that let a filter over
# documents alone be answered without `runs`), and the server's own texts (`run_texts`), which are
# the truth: the other two are derived from them and can be derived again.

runs = Table(
    "runs",
    metadata,
    Column("run_key", _Key, primary_key=True, autoincrement=True),
    Column("project_id", _name(), nullable=False),
    Column("name", _name(), nullable=False, comment="the short id"),
    Column("id", Text, comment="global (storage) id; contains names, changes with a rename"),
    Column("display_name", _name()),
    Column("state", _name()),
    Column("group", _name()),
    Column("job_type", _name()),
    Column("host", _name()),
    Column("username", _name()),
    Column("sweep", _name(), comment="short sweep id"),
    Column("notes", _name()),
    Column("description", _name()),
    Column("tags", JsonDocument, nullable=False),
    Column("created_at", Text),
    Column("created_at_us", BigInteger),
    Column("heartbeat_at", Text),
    Column("heartbeat_at_us", BigInteger),
    Column("updated_at", Text),
    Column("updated_at_us", BigInteger),
    Column("duration", Double, comment="seconds"),
    Column("history_line_count", BigInteger),
    Column("live", SmallInteger, nullable=False, comment="1: neither deleted nor out of selection"),
    Column("deleted_at", Text, comment="when the mirror found it gone; null: it is there"),
    Column("out_of_selection_at", Text, comment="when it left the configured run filter"),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("read_at_us", BigInteger, nullable=False, comment="when its documents were last read"),
    UniqueConstraint("project_id", "name"),
    Index("ix_runs_created", "project_id", "live", "created_at_us", "name"),
    Index("ix_runs_state", "project_id", "state"),
    Index("ix_runs_seq", "seq"),
    Index("ix_runs_read", "project_id", "read_at_us"),
)

run_documents = Table(
    "run_documents",
    metadata,
    Column("run_key", _Key, primary_key=True, autoincrement=False),
    Column("project_id", _name(), nullable=False),
    Column("name", _name(), nullable=False),
    Column("created_at_us", BigInteger),
    Column("live", SmallInteger, nullable=False),
    # Unwrapped, strict JSON: non-finite numbers are W&B's strings, integers beyond int64 doubles.
    Column("config", JsonDocument, nullable=False),
    Column("summary_metrics", JsonDocument, nullable=False),
    Index("ix_run_documents_created", "project_id", "live", "created_at_us", "name"),
)

run_texts = Table(
    "run_texts",
    metadata,
    Column("run_key", _Key, primary_key=True, autoincrement=False),
    # zstd-compressed UTF-8 (mirror.jsontext.pack); null where the server sent null.
    Column("node", LargeBinary, nullable=False, comment="the raw node without the texts below"),
    Column("config", LargeBinary),
    Column("summary_metrics", LargeBinary),
    Column("system_metrics", LargeBinary),
)

run_keys = Table(
    "run_keys",
    metadata,
    Column("project_id", _name(), primary_key=True),
    Column("document", Text, primary_key=True, comment="config or summary_metrics"),
    Column("path", _name(), primary_key=True, comment="JSON array of keys; lists are not entered"),
    Column("types", Integer, nullable=False, comment="bits of mirror.jsontext.Type, only grow"),
    Column(
        "count", BigInteger, nullable=False, comment="values seen; approximate between reconciles"
    ),
    Column("min", Double),
    Column("max", Double),
    comment="the key catalogue",
)

# ------------------------------------------------------------------ sync

sync_state = Table(
    "sync_state",
    metadata,
    Column("project_id", _name(), primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("resume_created_at", Text, comment="keyset window: where the walk goes on"),
    Column("resume_after", Text, comment="cursor inside a group of equal timestamps"),
    Column("walk_started_mark", Text, comment="server time before the walk's first listing"),
    Column("walk_complete_at", Text, comment="when the first walk ended; null: incomplete"),
    Column("mark", Text, comment="server time; the next incremental pass starts here"),
    Column("synced_at", Text, comment="server time the mirror is fresh as of"),
    Column("reconciled_at", Text),
    Column("server_count", BigInteger),
    Column("count_difference", BigInteger, comment="server minus mirror, explained by a reconcile"),
    Column("updated_at_trust", Text, comment="unproven, trusted, unfilterable or frozen"),
    Column("trust_checked_at", Text),
    Column("missed", BigInteger, comment="edits only a reconcile found"),
    Column("selection", Text, comment="the run filter of the last sync"),
    Column("generation", Integer),
    Column(
        "catalogue_open", SmallInteger, comment="1: too many keys, the catalogue is not complete"
    ),
    Column("last_error", Text),
    Column("last_error_at", Text),
    Column("details", Text, comment="JSON for what has no column of its own"),
)

sync_log = Table(
    "sync_log",
    metadata,
    Column("id", _Key, primary_key=True, autoincrement=True),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("path", Text),
    Column("kind", Text, comment="first, incremental, reconcile, full"),
    Column("outcome", Text, comment="ok, failed, interrupted"),
    Column("report", Text, comment="JSON"),
    Column("error", Text),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("project_id", _name(), primary_key=True),
    Column("name", _name(), primary_key=True),
    Column("since", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_try_at_us", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    comment="runs the server cannot deliver; never tombstoned, tried again later",
)

# ------------------------------------------------------------------ queries

value_indexes = Table(
    "value_indexes",
    metadata,
    Column("document", Text, primary_key=True),
    Column("path", _name(), primary_key=True, comment="JSON array of keys"),
    Column("name", Text, nullable=False, comment="of the index in the database"),
    Column("created_at", Text, nullable=False),
    Column("ready", SmallInteger, nullable=False),
)

query_log = Table(
    "query_log",
    metadata,
    Column("project_id", _name(), primary_key=True),
    Column("document", Text, primary_key=True),
    Column("path", _name(), primary_key=True),
    Column("use", Text, primary_key=True, comment="equality, range, order, other"),
    Column("uses", BigInteger, nullable=False),
    Column("total_ms", Double, nullable=False),
    Column("last_used_at", Text, nullable=False),
)

# ------------------------------------------------------------------ everything read rarely

objects = Table(
    "objects",
    metadata,
    Column("kind", Text, primary_key=True, comment="view, team, file_list, …"),
    Column("scope", _name(), primary_key=True, comment="project_id, entity or empty"),
    Column("name", _name(), primary_key=True, comment="what it is asked by; empty: the listing"),
    Column("position", Integer, nullable=False, comment="place in the server's listing"),
    Column("node", LargeBinary, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
    comment="objects that are read whole and never filtered",
)
