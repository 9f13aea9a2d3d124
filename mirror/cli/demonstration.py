"""The command `demo`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import click

from mirror.cli.app import cli
from mirror.cli.output import print_table
from mirror.cli.progress import following

__all__ = ["demo"]


@cli.command()
@click.option("--runs", type=click.IntRange(10, 200_000), default=2000, show_default=True, help="So many runs.")  # fmt: skip
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where the store goes.  [default: a new temporary folder]")  # fmt: skip
def demo(runs: int, folder: Path | None) -> None:
    """Watch a real sync into a database, and answers coming out of it; no key, no network.

    \b
    mirror demo --runs 20000
    """
    from mirror import demo as demonstration

    place = folder or Path(tempfile.mkdtemp(prefix="mirror-demo-"))
    place.mkdir(parents=True, exist_ok=True)
    with following(quiet=False) as on_event:
        store = demonstration.demo(place, runs=runs, say=click.echo, table=print_table, on_event=on_event)  # fmt: skip
    click.echo(_NEXT.format(store=store, mirror=_program()))


def _program() -> str:
    """How to call this installation from here."""
    beside = Path(sys.executable).with_name("mirror")
    if shutil.which("mirror") == str(beside) or not beside.exists():
        return "mirror"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


_NEXT = """\
The store stays; look further, with no server at all:

  {mirror} status --store {store}
  {mirror} keys team/vision --store {store}
  {mirror} runs team/vision --store {store} --filter '{{"tags": "table-2"}}'
  {mirror} explain team/vision --store {store} --filter '{{"config.lr": {{"$gt": 0.01}}}}'

Your own project: set WANDB_API_KEY (or `wandb login`), then `{mirror} sync your-entity/your-project`.
"""
