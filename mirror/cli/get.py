"""The command `get`: contents of artifacts and files of runs into a folder, from the mirror or the server."""

from __future__ import annotations

import contextlib
import fnmatch
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.app import EXIT_PARTLY, cli
from mirror.cli.options import common, store_option
from mirror.cli.output import bytes_text, counted, json_text, shown
from mirror.errors import ContentError, PathError

if TYPE_CHECKING:
    from mirror.api.files import File
    from mirror.blobs import Downloaded, Progress

__all__ = ["get"]

_EVERY_S = 0.2
_NAMED = 3
"""References that a sentence names."""


@cli.command()
@click.argument("what", metavar="ARTIFACT|RUN/FILES")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="The folder.  [default: the current one for files of a run, artifacts/NAME:vN for an artifact]")  # fmt: skip
@click.option(
    "--prefix", metavar="TEXT", help="Only the files of an artifact whose path starts so."
)
@click.option("--references", is_flag=True, help="Fetch references of an artifact to http, https and file, too.")  # fmt: skip
@click.option("--offline", is_flag=True, help="Ask no server: only what is kept here.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
@store_option
@common
@click.pass_context
def get(
    ctx: click.Context,
    what: str,
    folder: Path | None,
    prefix: str | None,
    references: bool,
    offline: bool,
    quiet: bool,
    as_json: bool,
    store: str | None,
    config: str | None,
) -> None:
    """Download an artifact, or files of a run; what is here already costs no request.

    FILES is a name or a glob, in which * takes slashes too. A file is there whole or not at all; broken
    downloads go on where they ended when the command is run again. Exits 3 if files had to be left out.

    \b
    mirror get my-team/vision/dataset:latest --to data
    mirror get 'my-team/vision/3f8a2c1d/media/*.png' --to pictures
    """
    from mirror.api.api import Api

    api = Api(store=store, config=config, mode="offline" if offline else None)
    with _followed(quiet=quiet) as on_progress:
        if _is_artifact(what):
            done = _artifact(api, what, folder, prefix or "", references, on_progress)
        elif prefix is not None or references:
            option = "--prefix" if prefix is not None else "--references"
            raise click.UsageError(
                f"{option} is for artifacts; write the files of a run as RUN/FILES"
            )
        else:
            done = _files(api, what, folder or Path(), on_progress)
    if as_json:
        click.echo(json_text(done, indent=True))
    elif not quiet:
        click.echo(_sentence(done))
    for path, reason in done["skipped"].items():
        click.echo(f"{shown(path)}: left out: {reason}", err=True)
    ctx.exit(EXIT_PARTLY if done["skipped"] else 0)


def _is_artifact(what: str) -> bool:
    """`[entity/][project/]name:alias`; a path with a run and files has four parts and more."""
    parts = what.strip("/").split("/")
    return "://" not in what and len(parts) <= 3 and ":" in parts[-1]


def _artifact(
    api: Any, what: str, folder: Path | None, prefix: str, references: bool, on_progress: Any
) -> dict[str, Any]:
    from mirror.api.artifact import download_version

    artifact = api.artifact(what.strip("/"))
    root = Path(artifact._default_root()) if folder is None else folder
    done = download_version(
        artifact, root, prefix=prefix, references=references, on_progress=on_progress
    )
    place = f"{artifact.entity}/{artifact.project}/{artifact.name.split(':')[0]}:{artifact.version}"
    if prefix and not (done.files or done.references or done.skipped):
        raise ContentError(f"{place} has no file whose path starts with {prefix!r}")
    return _done(place, root, done)


def _files(api: Any, what: str, folder: Path, on_progress: Any) -> dict[str, Any]:
    from mirror.api.files import download_all

    parts = _parts(what)
    if len(parts) < 4:
        raise PathError(
            f"{what!r} names neither an artifact nor files of a run: write entity/project/name:alias, or "
            "entity/project/run/FILES with a glob such as '*'"
        )
    path, pattern = "/".join(parts[:3]), "/".join(parts[3:])
    every = list(api.run(path).files(per_page=1000))
    files = _chosen(every, pattern)
    if not files:
        count = f"it has {counted(len(every), 'file')}, `mirror get {path}/'*'` takes all"
        raise PathError(
            f"run {path} has no file {pattern!r}: {count if every else 'it has none at all'}"
        )
    return _done(path, folder, download_all(files, folder, on_progress=on_progress))


def _parts(what: str) -> list[str]:
    """Entity, project, run and the parts of FILES, as a path or as the address of a file's page."""
    from mirror import paths

    address = paths.parts_of_address(what)
    parts = what.strip("/").split("/") if address is None else address
    if parts[2:3] == ["runs"] and len(parts) > 4:
        files = parts[4:]
        if address is not None and files[0] == "files":  # the tab of the page
            files = files[1:]
        return [*parts[:2], parts[3], *files]
    return parts if address is None else []


def _chosen(files: Sequence[File], pattern: str) -> list[File]:
    """The file of that very name, else those that a glob takes; runs on Windows log `media\\a.png`."""
    named = [file for file in files if file.name == pattern]
    return named or [
        file
        for file in files
        if fnmatch.fnmatchcase(file.name, pattern)
        or fnmatch.fnmatchcase(file.name.replace("\\", "/"), pattern)
    ]


def _done(what: str, folder: Path, done: Downloaded) -> dict[str, Any]:
    return {
        "what": what,
        "folder": str(folder),
        "files": done.files,
        "fetched": done.fetched,
        "fetched_bytes": done.fetched_bytes,
        "references": {entry.path: entry.ref for entry in done.references},
        "skipped": {each.entry.path: each.reason for each in done.skipped},
    }


def _sentence(done: Mapping[str, Any]) -> str:
    fetched, size = done["fetched"], bytes_text(done["fetched_bytes"])
    how = f"{fetched:,} fetched ({size})" if fetched else "none fetched"
    text = f"{shown(done['what'])}: {counted(done['files'], 'file')} in {done['folder']}, {how}"
    addresses = [shown(each) for each in done["references"].values()]
    if not addresses:
        return text
    named = ", ".join(addresses[:_NAMED]) + (", …" if len(addresses) > _NAMED else "")
    return f"{text}\n{counted(len(addresses), 'reference')} not fetched ({named})"


@contextlib.contextmanager
def _followed(*, quiet: bool) -> Iterator[_Line | None]:
    """A line on standard error that moves, on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    line = _Line()
    try:
        yield line
    finally:
        line.clear()


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
            text = f"{progress.files:,} of {counted(progress.files_total, 'file')}"
            if progress.bytes_total:
                text += f", {bytes_text(progress.bytes)} of {bytes_text(progress.bytes_total)}"
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)

    def clear(self) -> None:
        """Take the line away, if one was said."""
        if self._said:
            click.echo("\r\x1b[K", nl=False, err=True)
