"""The command `get`: contents of artifacts and files of runs into a folder, from the mirror or the server."""

from __future__ import annotations

import contextlib
import fnmatch
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.app import cli
from mirror.cli.options import common, store_option
from mirror.cli.output import bytes_text, json_text
from mirror.errors import PathError

if TYPE_CHECKING:
    from mirror.blobs import Downloaded, Progress

__all__ = ["get"]

_EVERY_S = 0.2


@cli.command()
@click.argument("what", metavar="ARTIFACT|RUN/FILES")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="The folder.  [default: the current one for files of a run, artifacts/NAME:vN for an artifact]")  # fmt: skip
@click.option(
    "--prefix", metavar="TEXT", help="Only the files of an artifact whose path starts so."
)
@click.option("--offline", is_flag=True, help="Ask no server: only what is kept here.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
@store_option
@common
def get(
    what: str,
    folder: Path | None,
    prefix: str | None,
    offline: bool,
    as_json: bool,
    store: str | None,
    config: str | None,
) -> None:
    """Download an artifact, or files of a run; what is here already costs no request.

    FILES is a name or a glob, in which * takes slashes too. A file is there whole or not at all; broken
    downloads go on where they ended when the command is run again.

    \b
    mirror get my-team/vision/dataset:latest --to data
    mirror get 'my-team/vision/3f8a2c1d/media/*.png' --to pictures
    """
    from mirror.api.api import Api

    api = Api(store=store, config=config, mode="offline" if offline else None)
    if _is_artifact(what):
        done = _artifact(api, what, folder, prefix)
    elif prefix is not None:
        raise click.UsageError("--prefix is for artifacts; write the files of a run as RUN/FILES")
    else:
        done = _files(api, what, folder or Path())
    click.echo(json_text(done, indent=True) if as_json else _sentence(done))


def _is_artifact(what: str) -> bool:
    """`[entity/][project/]name:alias`; a path with a run and files has four parts and more."""
    parts = what.strip("/").split("/")
    return len(parts) <= 3 and ":" in parts[-1]


def _artifact(api: Any, what: str, folder: Path | None, prefix: str | None) -> dict[str, Any]:
    artifact = api.artifact(what)
    root = artifact.download(root=None if folder is None else str(folder), path_prefix=prefix)
    files = [path for path in artifact.manifest.entries if path.startswith(prefix or "")]
    return {"what": artifact.qualified_name, "folder": str(root), "files": len(files)}


def _files(api: Any, what: str, folder: Path) -> dict[str, Any]:
    from mirror.api.files import download_all

    parts = what.strip("/").split("/")
    if len(parts) < 4:
        raise PathError(
            f"{what!r} names neither an artifact nor files of a run: write entity/project/name:alias, or "
            "entity/project/run/FILES with a glob such as '*'"
        )
    run, pattern = api.run("/".join(parts[:3])), "/".join(parts[3:])
    files = [file for file in run.files(per_page=1000) if fnmatch.fnmatchcase(file.name, pattern)]
    if not files:
        name, count = "/".join(parts[:3]), len(run.files())
        others = (
            f"it has {count:,} files, `mirror get {name}/'*'` takes all" if count else "it has none"
        )
        raise PathError(f"run {name} has no file {pattern!r}: {others}")
    with _followed() as on_progress:
        done = download_all(files, folder, on_progress=on_progress)
    return _done("/".join(parts[:3]), folder, done)


def _done(what: str, folder: Path, done: Downloaded) -> dict[str, Any]:
    return {
        "what": what,
        "folder": str(folder),
        "files": done.files,
        "fetched": done.fetched,
        "fetched_bytes": done.fetched_bytes,
        "skipped": {each.entry.path: each.reason for each in done.skipped},
    }


def _sentence(done: dict[str, Any]) -> str:
    text = f"{done['what']}: {done['files']:,} files in {done['folder']}"
    if "fetched" in done:
        text += f", {done['fetched']:,} of them fetched ({bytes_text(done['fetched_bytes'])})"
    skipped = [f"\n{path}: left out: {reason}" for path, reason in done.get("skipped", {}).items()]
    return text + "".join(skipped)


@contextlib.contextmanager
def _followed() -> Iterator[Any]:
    """A line on standard error that moves, on a terminal only."""
    if not sys.stderr.isatty():
        yield None
        return
    line = _Line()
    try:
        yield line
    finally:
        click.echo("\r\x1b[K", nl=False, err=True)


class _Line:
    """What is said of a download; called from its threads."""

    def __init__(self) -> None:
        self._said = 0.0
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._said < _EVERY_S:
                return
            self._said = now
            click.echo(
                f"\r\x1b[K{progress.files:,} of {progress.files_total:,} files, "
                f"{bytes_text(progress.bytes)} of {bytes_text(progress.bytes_total)}",
                nl=False,
                err=True,
            )
