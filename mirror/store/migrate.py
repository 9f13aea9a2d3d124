"""Migrations: bring a store to this version's revision, from a wheel or a checkout alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from mirror.store.store import Store

__all__ = ["config", "is_known", "script_location", "upgrade"]


def script_location() -> Path:
    """Return the folder of the migrations: inside the wheel, else beside the package."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def config(store: Store | None = None) -> Config:
    """Return an alembic Config for our migrations, bound to an open store."""
    made = Config()
    made.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    made.attributes["store"] = store
    return made


def is_known(revision: str) -> bool:
    """Whether a revision is one of ours; one that is not was made by a newer version."""
    script = ScriptDirectory.from_config(config())
    return revision in {item.revision for item in script.walk_revisions()}


def upgrade(store: Store) -> None:
    """Run the missing migrations, all in one transaction."""
    command.upgrade(config(store), "head")
