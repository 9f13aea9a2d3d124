"""Commands that look after the database: db upgrade, rebuild, check, backup."""

from __future__ import annotations

from pathlib import Path

import click

from mirror.cli.app import EXIT_FAILED, cli
from mirror.cli.opening import opened
from mirror.cli.options import common, project_argument, store_option
from mirror.cli.output import bytes_text, counted, json_text

__all__ = ["db"]


@cli.group()
def db() -> None:
    """Look after the database."""


@db.command()
@store_option
@common
def upgrade(store: str | None, config: str | None) -> None:
    """Bring the store to this version's format (`mirror sync` does it by itself).

    \b
    mirror db backup before-upgrade.db && mirror db upgrade
    """
    with opened(store, config, create=True, upgrade=True) as mirrored:
        click.echo(f"{mirrored.where} is at revision {mirrored.store.revision()}")


@db.command()
@project_argument(required=False)
@store_option
@common
def rebuild(path: str | None, store: str | None, config: str | None) -> None:
    """Derive everything again from the server's own texts, offline, and say what had differed.

    \b
    mirror db rebuild my-team/vision
    """
    from mirror import databases

    with opened(store, config) as mirrored:
        only = None if path is None else mirrored.project(path).path
        for one in databases.rebuild(mirrored.store, path=only):
            click.echo(
                f"{one.path}: {counted(one.runs, 'run')} derived again, {one.changed:,} had differed"
            )


@db.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON list of sentences.")
@store_option
@common
@click.pass_context
def check(ctx: click.Context, as_json: bool, store: str | None, config: str | None) -> None:
    """Check the database: the engine's own check, then what must hold between tables.

    Exits 1 if something is wrong.

    \b
    mirror db check
    """
    from mirror import databases

    with opened(store, config) as mirrored:
        problems = databases.check(mirrored.store)
    if as_json:
        click.echo(json_text(problems, indent=True))
    else:
        click.echo("\n".join(problems) or f"{mirrored.where} is sound")
    ctx.exit(EXIT_FAILED if problems else 0)


@db.command()
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@store_option
@common
def backup(target: Path, store: str | None, config: str | None) -> None:
    """Copy a SQLite store to one new file, while it may be in use.

    \b
    mirror db backup mirror-$(date +%F).db
    """
    from mirror import databases

    with opened(store, config) as mirrored:
        written = databases.backup(mirrored.store, target)
    click.echo(f"{target}: {bytes_text(written)}")
