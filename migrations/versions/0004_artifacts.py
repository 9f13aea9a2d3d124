"""Make the tables of artifacts and registries. Takes milliseconds, nothing is rewritten."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def name() -> Any:
    """Text sorted by code point."""
    return sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def document() -> Any:
    """A JSON document."""
    return sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "artifact_types",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("name", name(), nullable=False),
        sa.Column("id", name(), nullable=True),
        sa.Column("description", name(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True, comment="place in the server's listing"),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_artifact_types")),
    )
    op.create_table(
        "artifact_collections",
        sa.Column("id", name(), nullable=False),
        sa.Column("project_id", name(), nullable=False),
        sa.Column("type", name(), nullable=True),
        sa.Column("name", name(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="sequence or portfolio"),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("description", name(), nullable=True),
        sa.Column("tags", document(), nullable=False, comment="names"),
        sa.Column("created_at", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.Text(), nullable=True),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=True),
        sa.Column(
            "member_count",
            sa.Integer(),
            nullable=True,
            comment="memberships, as the server last counted them",
        ),
        sa.Column(
            "position",
            sa.Integer(),
            nullable=True,
            comment="place in the server's listing of its kind",
        ),
        sa.Column(
            "walked_at",
            sa.Text(),
            nullable=True,
            comment="when all its memberships were last read; null: never",
        ),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact_collections")),
    )
    op.create_index(
        op.f("ix_artifact_collections_project_id_name"),
        "artifact_collections",
        ["project_id", "name"],
        unique=False,
    )
    op.create_index(
        op.f("ix_artifact_collections_project_id_type_name"),
        "artifact_collections",
        ["project_id", "type", "name"],
        unique=False,
    )
    op.create_table(
        "artifacts",
        sa.Column("id", name(), nullable=False),
        sa.Column(
            "project_id",
            name(),
            nullable=True,
            comment="of its sequence; null: not shown to this key",
        ),
        sa.Column("collection_id", name(), nullable=True, comment="its sequence"),
        sa.Column("type", name(), nullable=True),
        sa.Column("version_index", sa.Integer(), nullable=True, comment="in its sequence"),
        sa.Column("state", name(), nullable=True),
        sa.Column("digest", name(), nullable=True),
        sa.Column("digest_algorithm", sa.Text(), nullable=True),
        sa.Column("commit_hash", name(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True, comment="bytes"),
        sa.Column("storage_bytes", sa.BigInteger(), nullable=True),
        sa.Column("file_count", sa.BigInteger(), nullable=True),
        sa.Column("history_step", sa.BigInteger(), nullable=True),
        sa.Column("ttl_seconds", sa.BigInteger(), nullable=True, comment="zero or less: none"),
        sa.Column("ttl_is_inherited", sa.SmallInteger(), nullable=True),
        sa.Column("description", name(), nullable=True),
        sa.Column("metadata", document(), nullable=False, comment="strict JSON, for filters"),
        sa.Column(
            "metadata_text",
            sa.LargeBinary(),
            nullable=True,
            comment="the server's own text, packed; null where null",
        ),
        sa.Column("tags", document(), nullable=False, comment="names"),
        sa.Column("created_at", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.Text(), nullable=True),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=True),
        sa.Column("created_by_kind", sa.Text(), nullable=True, comment="run, user or null"),
        sa.Column("created_by", name(), nullable=True, comment="run name or username"),
        sa.Column(
            "created_by_project",
            name(),
            nullable=True,
            comment="project_id of the run, else its path",
        ),
        sa.Column("manifest_digest", name(), nullable=True),
        sa.Column(
            "manifest_read_at",
            sa.Text(),
            nullable=True,
            comment="when its entries were read; null: never",
        ),
        sa.Column(
            "lineage_read_at",
            sa.Text(),
            nullable=True,
            comment="when the runs that use it were read; null: never",
        ),
        sa.Column(
            "node", sa.LargeBinary(), nullable=True, comment="the raw node without its metadata"
        ),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
    )
    op.create_index(
        op.f("ix_artifacts_collection_id_version_index"),
        "artifacts",
        ["collection_id", "version_index"],
        unique=False,
    )
    op.create_index(op.f("ix_artifacts_digest"), "artifacts", ["digest"], unique=False)
    op.create_index(
        op.f("ix_artifacts_project_id_created_at_us"),
        "artifacts",
        ["project_id", "created_at_us"],
        unique=False,
    )
    op.create_table(
        "artifact_memberships",
        sa.Column("id", name(), nullable=False),
        sa.Column("collection_id", name(), nullable=False),
        sa.Column("artifact_id", name(), nullable=False),
        sa.Column("version_index", sa.Integer(), nullable=True, comment="in this collection"),
        sa.Column("aliases", document(), nullable=False, comment="names, without v<N>"),
        sa.Column("commit_hash", name(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=True, comment="when it was linked"),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column(
            "node", sa.LargeBinary(), nullable=True, comment="the raw node without its artifact"
        ),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact_memberships")),
    )
    op.create_index(
        op.f("ix_artifact_memberships_artifact_id"),
        "artifact_memberships",
        ["artifact_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_artifact_memberships_collection_id_version_index"),
        "artifact_memberships",
        ["collection_id", "version_index"],
        unique=False,
    )
    op.create_table(
        "artifact_aliases",
        sa.Column("collection_id", name(), nullable=False),
        sa.Column("alias", name(), nullable=False),
        sa.Column(
            "since_us",
            sa.BigInteger(),
            nullable=False,
            comment="server time it was first seen there",
        ),
        sa.Column("artifact_id", name(), nullable=False),
        sa.Column("membership_id", name(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=True, comment="null: still there"),
        sa.PrimaryKeyConstraint(
            "collection_id", "alias", "since_us", name=op.f("pk_artifact_aliases")
        ),
        comment="the history of aliases: which version was `production` on a date",
    )
    op.create_index(
        op.f("ix_artifact_aliases_artifact_id"), "artifact_aliases", ["artifact_id"], unique=False
    )
    op.create_table(
        "artifact_entries",
        sa.Column("artifact_id", name(), nullable=False),
        sa.Column("path", name(), nullable=False),
        sa.Column("digest", name(), nullable=False, comment="as in the manifest"),
        sa.Column("size", sa.BigInteger(), nullable=True, comment="bytes"),
        sa.Column("ref", name(), nullable=True, comment="the URI of a reference"),
        sa.Column("birth_artifact_id", name(), nullable=True, comment="as in the manifest"),
        sa.Column("extra", sa.Text(), nullable=True, comment="JSON"),
        sa.PrimaryKeyConstraint("artifact_id", "path", name=op.f("pk_artifact_entries")),
        comment="manifests; they never change, so there is neither seq nor deleted_at",
    )
    op.create_index(
        op.f("ix_artifact_entries_digest"), "artifact_entries", ["digest"], unique=False
    )
    op.create_table(
        "artifact_uses",
        sa.Column("artifact_id", name(), nullable=False),
        sa.Column(
            "project_id", name(), nullable=False, comment="of the run; its path if not known"
        ),
        sa.Column("run", name(), nullable=False, comment="the short id"),
        sa.Column("direction", sa.Text(), nullable=False, comment="used or logged"),
        sa.Column("used_as", name(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True, comment="place in the server's listing"),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint(
            "artifact_id", "project_id", "run", "direction", name=op.f("pk_artifact_uses")
        ),
        comment="lineage: which run logged a version, which runs used it",
    )
    op.create_index(
        op.f("ix_artifact_uses_project_id_run_direction"),
        "artifact_uses",
        ["project_id", "run", "direction"],
        unique=False,
    )
    op.create_table(
        "organizations",
        sa.Column("name", name(), nullable=False),
        sa.Column("id", name(), nullable=True),
        sa.Column("org_entity", name(), nullable=True, comment="owns the registries"),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_organizations")),
    )
    op.create_table(
        "registries",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("organization", name(), nullable=True),
        sa.Column("org_entity", name(), nullable=False),
        sa.Column("name", name(), nullable=False, comment="without wandb-registry-"),
        sa.Column("full_name", name(), nullable=False),
        sa.Column("id", name(), nullable=True),
        sa.Column("description", name(), nullable=True),
        sa.Column("access", sa.Text(), nullable=True),
        sa.Column("visibility", sa.Text(), nullable=True, comment="organization or restricted"),
        sa.Column("allow_all_artifact_types", sa.SmallInteger(), nullable=True),
        sa.Column("artifact_types", document(), nullable=False, comment="names"),
        sa.Column("created_at", sa.Text(), nullable=True),
        sa.Column("created_at_us", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.Text(), nullable=True),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True, comment="place in the server's listing"),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_registries")),
    )
    op.create_index(
        op.f("ix_registries_org_entity_name"), "registries", ["org_entity", "name"], unique=False
    )
    op.create_table(
        "registry_members",
        sa.Column("project_id", name(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="user or team"),
        sa.Column("name", name(), nullable=False),
        sa.Column("id", name(), nullable=True),
        sa.Column("email", name(), nullable=True),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("node", sa.LargeBinary(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("synced_at", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("project_id", "kind", "name", name=op.f("pk_registry_members")),
    )


def downgrade() -> None:
    op.drop_table("registry_members")
    op.drop_table("registries")
    op.drop_table("organizations")
    op.drop_table("artifact_uses")
    op.drop_table("artifact_entries")
    op.drop_table("artifact_aliases")
    op.drop_table("artifact_memberships")
    op.drop_table("artifacts")
    op.drop_table("artifact_collections")
    op.drop_table("artifact_types")
