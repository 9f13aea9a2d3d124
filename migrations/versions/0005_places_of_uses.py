"""Keep a run's own order of what it used and logged, and mark versions that no sync has listed.

Takes a second for 100,000 versions; SQLite copies the tables of uses and of memberships for it. The
new order is read by the next syncs, 2,000 runs in each, of runs with more than one version.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def name() -> Any:
    """Text sorted by code point."""
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def document() -> Any:
    """A JSON document."""
    return sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def run_position() -> Any:
    """The new column of `artifact_uses`."""
    return sa.Column(
        "run_position", sa.Integer(), comment="place in the run's own list; -1: not in it"
    )


def alone() -> Any:
    """The new column of `artifact_memberships`."""
    return sa.Column(
        "alone", sa.SmallInteger(), comment="1: met by itself, not with all of its collection"
    )


def uses(*more: Any) -> list[Any]:
    """The columns of `artifact_uses`."""
    return [
        sa.Column("artifact_id", name(), nullable=False),
        sa.Column("project_id", name(), nullable=False),
        sa.Column("run", name(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("used_as", name(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        *more,
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint(
            "artifact_id", "project_id", "run", "direction", name=op.f("pk_artifact_uses")
        ),
    ]


def memberships(*more: Any) -> list[Any]:
    """The columns of `artifact_memberships`."""
    return [
        sa.Column("id", name(), nullable=False),
        sa.Column("collection_id", name(), nullable=False),
        sa.Column("artifact_id", name(), nullable=False),
        sa.Column("version_index", sa.Integer(), nullable=True),
        sa.Column("aliases", document(), nullable=False),
        sa.Column("commit_hash", name(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        *more,
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact_memberships")),
    ]


LISTED = "place in the server's listing"
AMONG_RUNS = "place among the runs that use the version"
"""What `position` of `artifact_uses` was said to be, and what it is."""

INDEXES = {
    "artifact_uses": [("project_id", "run", "direction")],
    "artifact_memberships": [("artifact_id",), ("collection_id", "version_index")],
}


def made_anew(table: str, columns: list[Any], kept: list[Any]) -> None:
    """Copy a table of SQLite, with the columns `kept`, into a new one with `columns`.

    ALTER TABLE would add a column at the end, and the table would not read as that of a new store.
    """
    for columns_of_index in INDEXES[table]:
        op.drop_index(op.f(f"ix_{table}_{'_'.join(columns_of_index)}"), table_name=table)
    op.rename_table(table, f"{table}_before")
    op.create_table(table, *columns)
    names = ", ".join(one.name for one in kept if isinstance(one, sa.Column))
    op.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {table}_before")  # noqa: S608
    op.drop_table(f"{table}_before")
    for columns_of_index in INDEXES[table]:
        index = op.f(f"ix_{table}_{'_'.join(columns_of_index)}")
        op.create_index(index, table, list(columns_of_index), unique=False)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        made_anew("artifact_uses", uses(run_position()), uses())
        made_anew("artifact_memberships", memberships(alone()), memberships())
    else:
        op.add_column("artifact_uses", run_position())
        op.alter_column("artifact_uses", "position", comment=AMONG_RUNS, existing_comment=LISTED)
        op.add_column("artifact_memberships", alone())
    # Until now every version came from a sync, which reads who made and who uses it.
    op.execute("UPDATE artifacts SET lineage_read_at = synced_at WHERE lineage_read_at IS NULL")
    # Who logged a version is one run, with no place among those that use it: 0 was written there.
    op.execute("UPDATE artifact_uses SET position = NULL WHERE direction = 'logged'")


def downgrade() -> None:
    # The revision before takes what is there for what a sync has listed.
    op.execute("DELETE FROM artifact_memberships WHERE alone = 1")
    if op.get_bind().dialect.name == "sqlite":
        made_anew("artifact_uses", uses(), uses())
        made_anew("artifact_memberships", memberships(), memberships())
    else:
        op.drop_column("artifact_uses", "run_position")
        op.alter_column("artifact_uses", "position", comment=LISTED, existing_comment=AMONG_RUNS)
        op.drop_column("artifact_memberships", "alone")
