"""Make every table of the first version. A new store takes milliseconds, nothing is rewritten."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def name() -> Any:
    """Text sorted by code point."""
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def key() -> Any:
    """A row number."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def document() -> Any:
    """A JSON document."""
    return sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "change_counter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_counter")),
        comment="one row; its lock serialises writers, its value stamps what they write",
    )
    op.create_table(
        "entities",
        sa.Column("name", name(), nullable=False),
        sa.Column("id", sa.Text(), nullable=True),
        sa.Column("entity_type", sa.Text(), nullable=True),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_entities")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("acquired_at", sa.Text(), nullable=True),
        sa.Column("heartbeat_at_us", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
        comment="who is syncing; token is the fence, it grows with every holder",
    )
    op.create_table(
        "project_aliases",
        sa.Column("entity", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("project_id", name(), nullable=False),
        sa.Column("first_seen_at", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entity", "name", "project_id", name=op.f("pk_project_aliases")),
        comment="every path a project ever answered to",
    )
    op.create_table(
        "projects",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("entity", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("id", sa.Text(), nullable=True, comment="global id; changes with a rename"),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("access", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column("last_active", sa.Text(), nullable=True),
        sa.Column("run_count", sa.Integer(), nullable=True, comment="as the server last said it"),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True, comment="when the mirror found it gone"),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_projects")),
    )
    op.create_index(op.f("ix_projects_entity_name"), "projects", ["entity", "name"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("since", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at_us", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_quarantine")),
        comment="runs the server cannot deliver; never tombstoned, tried again later",
    )
    op.create_table(
        "query_log",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("path", name(), nullable=False),
        sa.Column("use", sa.Text(), nullable=False, comment="equality, range, order, other"),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("total_ms", sa.Double(), nullable=False),
        sa.Column("last_used_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "document", "path", "use", name=op.f("pk_query_log")),
    )
    op.create_table(
        "run_documents",
        sa.Column("run_key", key(), autoincrement=False, nullable=False),
        sa.Column("project_id", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column("live", sa.SmallInteger(), nullable=False),
        sa.Column("config", document(), nullable=False),
        sa.Column("summary_metrics", document(), nullable=False),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_run_documents")),
    )
    op.create_index(
        "ix_run_documents_created",
        "run_documents",
        ["project_id", "live", "created_at_us", "name"],
        unique=False,
    )
    op.create_table(
        "run_keys",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False, comment="config or summary_metrics"),
        sa.Column(
            "path", name(), nullable=False, comment="JSON array of keys; lists are not entered"
        ),
        sa.Column(
            "types", sa.Integer(), nullable=False, comment="bits of mirror.jsontext.Type, only grow"
        ),
        sa.Column(
            "count",
            sa.BigInteger(),
            nullable=False,
            comment="values seen; approximate between reconciles",
        ),
        sa.Column("min", sa.Double(), nullable=True),
        sa.Column("max", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("project_id", "document", "path", name=op.f("pk_run_keys")),
        comment="the key catalogue",
    )
    op.create_table(
        "run_texts",
        sa.Column("run_key", key(), autoincrement=False, nullable=False),
        sa.Column(
            "node", sa.LargeBinary(), nullable=False, comment="the raw node without the texts below"
        ),
        sa.Column("config", sa.LargeBinary(), nullable=True),
        sa.Column("summary_metrics", sa.LargeBinary(), nullable=True),
        sa.Column("system_metrics", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_run_texts")),
    )
    op.create_table(
        "runs",
        sa.Column("run_key", key(), autoincrement=True, nullable=False),
        sa.Column("project_id", name(), nullable=False),
        sa.Column("name", name(), nullable=False, comment="the short id"),
        sa.Column(
            "id",
            sa.Text(),
            nullable=True,
            comment="global (storage) id; contains names, changes with a rename",
        ),
        sa.Column("display_name", name(), nullable=True),
        sa.Column("state", name(), nullable=True),
        sa.Column("group", name(), nullable=True),
        sa.Column("job_type", name(), nullable=True),
        sa.Column("host", name(), nullable=True),
        sa.Column("username", name(), nullable=True),
        sa.Column("sweep", name(), nullable=True, comment="short sweep id"),
        sa.Column("notes", name(), nullable=True),
        sa.Column("description", name(), nullable=True),
        sa.Column("tags", document(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column("heartbeat_at", sa.Text(), nullable=True),
        sa.Column("heartbeat_at_us", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.Text(), nullable=True),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=True),
        sa.Column("duration", sa.Double(), nullable=True, comment="seconds"),
        sa.Column("history_line_count", sa.BigInteger(), nullable=True),
        sa.Column(
            "live",
            sa.SmallInteger(),
            nullable=False,
            comment="1: neither deleted nor out of selection",
        ),
        sa.Column(
            "deleted_at",
            sa.Text(),
            nullable=True,
            comment="when the mirror found it gone; null: it is there",
        ),
        sa.Column(
            "out_of_selection_at",
            sa.Text(),
            nullable=True,
            comment="when it left the configured run filter",
        ),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column(
            "read_at_us",
            sa.BigInteger(),
            nullable=False,
            comment="when its documents were last read",
        ),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_runs")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_runs_project_id_name")),
    )
    op.create_index(
        "ix_runs_created", "runs", ["project_id", "live", "created_at_us", "name"], unique=False
    )
    op.create_index("ix_runs_read", "runs", ["project_id", "read_at_us"], unique=False)
    op.create_index("ix_runs_seq", "runs", ["seq"], unique=False)
    op.create_index("ix_runs_state", "runs", ["project_id", "state"], unique=False)
    op.create_table(
        "store_meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_store_meta")),
        comment="facts about the store: format generation, server, when created",
    )
    op.create_table(
        "sweeps",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("id", sa.Text(), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("run_count", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.Text(), nullable=True),
        sa.Column("heartbeat_at", sa.Text(), nullable=True),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_sweeps")),
    )
    op.create_table(
        "sync_log",
        sa.Column("id", key(), autoincrement=True, nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True, comment="first, incremental, reconcile, full"),
        sa.Column("outcome", sa.Text(), nullable=True, comment="ok, failed, interrupted"),
        sa.Column("report", sa.Text(), nullable=True, comment="JSON"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_log")),
    )
    op.create_table(
        "sync_state",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column(
            "resume_created_at",
            sa.Text(),
            nullable=True,
            comment="keyset window: where the walk goes on",
        ),
        sa.Column(
            "resume_after",
            sa.Text(),
            nullable=True,
            comment="cursor inside a group of equal timestamps",
        ),
        sa.Column(
            "walk_started_mark",
            sa.Text(),
            nullable=True,
            comment="server time before the walk's first listing",
        ),
        sa.Column(
            "walk_complete_at",
            sa.Text(),
            nullable=True,
            comment="when the first walk ended; null: incomplete",
        ),
        sa.Column(
            "mark",
            sa.Text(),
            nullable=True,
            comment="server time; the next incremental pass starts here",
        ),
        sa.Column(
            "synced_at", sa.Text(), nullable=True, comment="server time the mirror is fresh as of"
        ),
        sa.Column("reconciled_at", sa.Text(), nullable=True),
        sa.Column("server_count", sa.BigInteger(), nullable=True),
        sa.Column(
            "count_difference",
            sa.BigInteger(),
            nullable=True,
            comment="server minus mirror, explained by a reconcile",
        ),
        sa.Column(
            "updated_at_trust",
            sa.Text(),
            nullable=True,
            comment="unproven, trusted, unfilterable or frozen",
        ),
        sa.Column("trust_checked_at", sa.Text(), nullable=True),
        sa.Column("missed", sa.BigInteger(), nullable=True, comment="edits only a reconcile found"),
        sa.Column("selection", sa.Text(), nullable=True, comment="the run filter of the last sync"),
        sa.Column("generation", sa.Integer(), nullable=True),
        sa.Column(
            "catalogue_open",
            sa.SmallInteger(),
            nullable=True,
            comment="1: too many keys, the catalogue is not complete",
        ),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("last_error_at", sa.Text(), nullable=True),
        sa.Column(
            "details", sa.Text(), nullable=True, comment="JSON for what has no column of its own"
        ),
        sa.PrimaryKeyConstraint("project_id", "stage", name=op.f("pk_sync_state")),
    )
    op.create_table(
        "users",
        sa.Column("username", name(), nullable=False),
        sa.Column("id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_users")),
    )
    op.create_index(op.f("ix_users_id"), "users", ["id"], unique=False)
    op.create_table(
        "value_indexes",
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("path", name(), nullable=False, comment="JSON array of keys"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the index in the database"),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("ready", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("document", "path", name=op.f("pk_value_indexes")),
    )
    op.execute("INSERT INTO change_counter (id, seq) VALUES (1, 0)")
    op.execute("INSERT INTO leases (name, token) VALUES ('sync', 0)")


def downgrade() -> None:
    op.drop_table("value_indexes")
    op.drop_index(op.f("ix_users_id"), table_name="users")
    op.drop_table("users")
    op.drop_table("sync_state")
    op.drop_table("sync_log")
    op.drop_table("sweeps")
    op.drop_table("store_meta")
    op.drop_index("ix_runs_state", table_name="runs")
    op.drop_index("ix_runs_seq", table_name="runs")
    op.drop_index("ix_runs_read", table_name="runs")
    op.drop_index("ix_runs_created", table_name="runs")
    op.drop_table("runs")
    op.drop_table("run_texts")
    op.drop_table("run_keys")
    op.drop_index("ix_run_documents_created", table_name="run_documents")
    op.drop_table("run_documents")
    op.drop_table("query_log")
    op.drop_table("quarantine")
    op.drop_index(op.f("ix_projects_entity_name"), table_name="projects")
    op.drop_table("projects")
    op.drop_table("project_aliases")
    op.drop_table("leases")
    op.drop_table("entities")
    op.drop_table("change_counter")
