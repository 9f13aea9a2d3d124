"""Make the table of rarely read objects: reports, teams, viewers, file lists. Takes milliseconds."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def name() -> Any:
    """Text sorted by code point."""
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "objects",
        sa.Column("kind", sa.Text(), nullable=False, comment="view, team, file_list, …"),
        sa.Column("scope", name(), nullable=False, comment="project_id, entity or empty"),
        sa.Column(
            "name", name(), nullable=False, comment="what it is asked by; empty: the listing"
        ),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="place in the server's listing"
        ),
        sa.Column("node", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "scope", "name", name=op.f("pk_objects")),
        comment="objects that are read whole and never filtered",
    )


def downgrade() -> None:
    op.drop_table("objects")
