"""Commands that look after the contents kept beside the database: blobs size, verify, gc."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import click

from mirror.cli.app import EXIT_FAILED, cli
from mirror.cli.options import common, store_option
from mirror.cli.output import bytes_text, counted, json_text

__all__ = ["blobs"]


class _Bytes(click.ParamType[int]):
    """A size in bytes, given as `500MB`, `20GB` or a bare number."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from mirror.settings import read_bytes

        try:
            return read_bytes(int(value) if str(value).isdigit() else value)
        except ValueError as error:
            self.fail(f"{value!r}: expected {error}", param, ctx)


def _contents(store: str | None, config: str | None) -> Any:
    from mirror.blobs import BlobStore
    from mirror.config import resolve

    return BlobStore.configured(resolve(store=store, config=config).contents)


@cli.group()
def blobs() -> None:
    """Look after the contents of artifacts and files, kept beside the database."""


@blobs.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object; sizes are bytes.")
@store_option
@common
def size(as_json: bool, store: str | None, config: str | None) -> None:
    """Say how much is kept, and how much may be.

    \b
    mirror blobs size
    """
    contents = _contents(store, config)
    total = contents.size()
    if as_json:
        about = {"folder": str(contents.folder), "quota_bytes": contents.quota_bytes}
        click.echo(json_text({**asdict(total), **about}, indent=True))
        return
    quota = "no quota" if contents.quota_bytes is None else f"quota {bytes_text(contents.quota_bytes)}"  # fmt: skip
    click.echo(
        f"{contents.folder}: {counted(total.files, 'file')}, {bytes_text(total.bytes)} ({quota})"
    )
    if total.incoming:
        click.echo(f"{counted(total.incoming, 'download')} at work or broken off: {bytes_text(total.incoming_bytes)}")  # fmt: skip


@blobs.command()
@click.option("--remove", is_flag=True, help="Remove what is damaged; it is fetched again when it is asked for.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@store_option
@common
@click.pass_context
def verify(
    ctx: click.Context, remove: bool, as_json: bool, store: str | None, config: str | None
) -> None:
    """Read everything that is kept and hold it against its digests.

    Exits 1 if something is damaged, also where --remove has removed it.

    \b
    mirror blobs verify --remove
    """
    contents = _contents(store, config)
    with _following("reading", contents.size().bytes) as on_file:
        damaged = [*contents.verify(remove=remove, on_file=on_file)]
    files = contents.size().files
    if as_json:
        shown = [{"path": str(each.path), "problem": each.problem} for each in damaged]
        click.echo(json_text({"files": files, "removed": remove, "damaged": shown}, indent=True))
    else:
        for each in damaged:
            click.echo(f"{each.path}: {each.problem}{', removed' if remove else ''}")
        if not damaged:
            click.echo(f"{contents.folder}: {counted(files, 'file')}, nothing is damaged")
    ctx.exit(EXIT_FAILED if damaged else 0)


@blobs.command()
@click.option("--to", "to_bytes", type=_Bytes(), metavar="SIZE", help="Leave at most so much, such as 20GB; 0: nothing.  [default: the quota]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As one JSON object; sizes are bytes.")
@store_option
@common
def gc(to_bytes: int | None, as_json: bool, store: str | None, config: str | None) -> None:
    """Remove contents that were not used for longest. Metadata stays, and so do files you downloaded.

    Removed contents are fetched again when they are asked for. Also removes what broken downloads
    left more than a day ago.

    \b
    mirror blobs gc --to 20GB
    """
    contents = _contents(store, config)
    swept = contents.gc(to_bytes)
    if as_json:
        click.echo(json_text(asdict(swept), indent=True))
        return
    click.echo(
        f"removed {counted(swept.removed, 'file')}, {bytes_text(swept.removed_bytes)}; "
        f"left: {counted(swept.left, 'file')}, {bytes_text(swept.left_bytes)}"
    )


@contextlib.contextmanager
def _following(label: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar of bytes on standard error, on a terminal only."""
    import sys

    if not sys.stderr.isatty() or not total:
        yield lambda _size: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
        yield bar.update
