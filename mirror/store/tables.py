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
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import UserDefinedType

__all__ = [
    "JsonDocument",
    "artifact_aliases",
    "artifact_collections",
    "artifact_entries",
    "artifact_memberships",
    "artifact_types",
    "artifact_uses",
    "artifacts",
    "change_counter",
    "entities",
    "leases",
    "metadata",
    "objects",
    "organizations",
    "project_aliases",
    "projects",
    "quarantine",
    "query_log",
    "registries",
    "registry_members",
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
    return Text().with_variant(Text(collation="C"), "postgresql")


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

# ------------------------------------------------------------------ artifacts
#
# Rows are keyed by the server's ids: those of artifacts, collections and memberships hold a number,
# not a name, so a rename leaves them. A version lies in its sequence and is linked into portfolios:
# each place is a membership, with an index and aliases of its own.

artifact_types = Table(
    "artifact_types",
    metadata,
    Column("project_id", _name(), primary_key=True),
    Column("name", _name(), primary_key=True),
    Column("id", _name()),
    Column("description", _name()),
    Column("created_at", Text),
    Column("created_at_us", BigInteger),
    Column("position", Integer, comment="place in the server's listing"),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
)

artifact_collections = Table(
    "artifact_collections",
    metadata,
    Column("id", _name(), primary_key=True),
    Column("project_id", _name(), nullable=False),
    Column("type", _name()),
    Column("name", _name(), nullable=False),
    Column("kind", Text, nullable=False, comment="sequence or portfolio"),
    Column("state", Text),
    Column("description", _name()),
    Column("tags", JsonDocument, nullable=False, comment="names"),
    Column("created_at", Text),
    Column("created_at_us", BigInteger),
    Column("updated_at", Text),
    Column("updated_at_us", BigInteger),
    Column("member_count", Integer, comment="memberships, as the server last counted them"),
    Column("position", Integer, comment="place in the server's listing of its kind"),
    Column("walked_at", Text, comment="when all its memberships were last read; null: never"),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
    Index(None, "project_id", "name"),
    Index(None, "project_id", "type", "name"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", _name(), primary_key=True),
    Column("project_id", _name(), comment="of its sequence; null: not shown to this key"),
    Column("collection_id", _name(), comment="its sequence"),
    Column("type", _name()),
    Column("version_index", Integer, comment="in its sequence"),
    Column("state", _name()),
    Column("digest", _name()),
    Column("digest_algorithm", Text),
    Column("commit_hash", _name()),
    Column("size", BigInteger, comment="bytes"),
    Column("storage_bytes", BigInteger),
    Column("file_count", BigInteger),
    Column("history_step", BigInteger),
    Column("ttl_seconds", BigInteger, comment="zero or less: none"),
    Column("ttl_is_inherited", SmallInteger),
    Column("description", _name()),
    Column("metadata", JsonDocument, nullable=False, comment="strict JSON, for filters"),
    Column("metadata_text", LargeBinary, comment="the server's own text, packed; null where null"),
    Column("tags", JsonDocument, nullable=False, comment="names"),
    Column("created_at", Text),
    Column("created_at_us", BigInteger),
    Column("updated_at", Text),
    Column("updated_at_us", BigInteger),
    Column("created_by_kind", Text, comment="run, user or null"),
    Column("created_by", _name(), comment="run name or username"),
    Column("created_by_project", _name(), comment="project_id of the run, else its path"),
    Column("manifest_digest", _name()),
    Column("manifest_read_at", Text, comment="when its entries were read; null: never"),
    Column("lineage_read_at", Text, comment="when the runs that use it were read; null: never"),
    Column("node", LargeBinary, comment="the raw node without its metadata"),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
    Index(None, "collection_id", "version_index"),
    Index(None, "digest"),
    Index(None, "project_id", "created_at_us"),
)

artifact_memberships = Table(
    "artifact_memberships",
    metadata,
    Column("id", _name(), primary_key=True),
    Column("collection_id", _name(), nullable=False),
    Column("artifact_id", _name(), nullable=False),
    Column("version_index", Integer, comment="in this collection"),
    Column("aliases", JsonDocument, nullable=False, comment="names, without v<N>"),
    Column("commit_hash", _name()),
    Column("created_at", Text, comment="when it was linked"),
    Column("created_at_us", BigInteger),
    Column("alone", SmallInteger, comment="1: met by itself, not with all of its collection"),
    Column("node", LargeBinary, comment="the raw node without its artifact"),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
    Index(None, "collection_id", "version_index"),
    Index(None, "artifact_id"),
)

artifact_aliases = Table(
    "artifact_aliases",
    metadata,
    Column("collection_id", _name(), primary_key=True),
    Column("alias", _name(), primary_key=True),
    Column("since_us", BigInteger, primary_key=True, comment="server time it was first seen there"),
    Column("artifact_id", _name(), nullable=False),
    Column("membership_id", _name(), nullable=False),
    Column("until_us", BigInteger, comment="null: still there"),
    Index(None, "artifact_id"),
    comment="the history of aliases: which version was `production` on a date",
)

artifact_entries = Table(
    "artifact_entries",
    metadata,
    Column("artifact_id", _name(), primary_key=True),
    Column("path", _name(), primary_key=True),
    Column("digest", _name(), nullable=False, comment="as in the manifest"),
    Column("size", BigInteger, comment="bytes"),
    Column("ref", _name(), comment="the URI of a reference"),
    Column("birth_artifact_id", _name(), comment="as in the manifest"),
    # JSON: the entry's `extra`; a list of it and of the fields that have no column here.
    Column("extra", Text, comment="JSON"),
    Index(None, "digest"),
    comment="manifests; they never change, so there is neither seq nor deleted_at",
)

artifact_uses = Table(
    "artifact_uses",
    metadata,
    Column("artifact_id", _name(), primary_key=True),
    Column("project_id", _name(), primary_key=True, comment="of the run; its path if not known"),
    Column("run", _name(), primary_key=True, comment="the short id"),
    Column("direction", Text, primary_key=True, comment="used or logged"),
    Column("used_as", _name()),
    Column("position", Integer, comment="place among the runs that use the version"),
    Column("run_position", Integer, comment="place in the run's own list; -1: not in it"),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
    Index(None, "project_id", "run", "direction"),
    comment="lineage: which run logged a version, which runs used it",
)

organizations = Table(
    "organizations",
    metadata,
    Column("name", _name(), primary_key=True),
    Column("id", _name()),
    Column("org_entity", _name(), comment="owns the registries"),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
)

registries = Table(
    "registries",
    metadata,
    Column("project_id", _name(), primary_key=True),
    Column("organization", _name()),
    Column("org_entity", _name(), nullable=False),
    Column("name", _name(), nullable=False, comment="without wandb-registry-"),
    Column("full_name", _name(), nullable=False),
    Column("id", _name()),
    Column("description", _name()),
    Column("access", Text),
    Column("visibility", Text, comment="organization or restricted"),
    Column("allow_all_artifact_types", SmallInteger),
    Column("artifact_types", JsonDocument, nullable=False, comment="names"),
    Column("created_at", Text),
    Column("created_at_us", BigInteger),
    Column("updated_at", Text),
    Column("updated_at_us", BigInteger),
    Column("position", Integer, comment="place in the server's listing"),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
    Index(None, "org_entity", "name"),
)

registry_members = Table(
    "registry_members",
    metadata,
    Column("project_id", _name(), primary_key=True),
    Column("kind", Text, primary_key=True, comment="user or team"),
    Column("name", _name(), primary_key=True),
    Column("id", _name()),
    Column("email", _name()),
    Column("role", Text),
    Column("position", Integer),
    Column("node", LargeBinary),
    Column("seq", BigInteger, nullable=False),
    Column("synced_at", Text, nullable=False),
    Column("deleted_at", Text),
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
