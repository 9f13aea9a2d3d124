"""The paths beside GraphQL that a run uses: its file stream, and its files up and down."""

from __future__ import annotations

import json
import mimetypes
import re
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from mirror.sandbox.contents import Blob, md5_of
from mirror.sandbox.objects import ENDED, Record, Run, StoredFile, User
from mirror.sandbox.world import World

STREAM: Final = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")
FILE: Final = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/(.+)")
BLOB: Final = re.compile(r"/storage/(.+)")
LINE: Final = re.compile(r"(?:(ERROR|INFO|WARN) )?(\d{4}-\d\d-\d\dT[\d:.]+Z?) (.*)", re.DOTALL)


class NotThere(Exception):
    """There is no such run or file, or the bearer may not have it."""


class Forbidden(Exception):
    """A URL is not signed, or no longer."""


class BadDigest(Exception):
    """A body is not what its Content-MD5 says."""


def find(world: World, found: re.Match[str], user: User | None, signed: bool) -> Run:
    """Return the run of a path. Raises NotThere."""
    entity, project, name = (unquote(part) for part in found.groups()[:3])
    known = world.projects.get(f"{entity}/{project}")
    if known is None or not (signed or world.visible(known, user)):
        raise NotThere
    run = known.runs.get(name)
    if run is None or run.deleted_at is not None:
        raise NotThere
    return run


def is_signed(world: World, path: str) -> bool:
    parts = urlsplit(path)
    return world.is_signed(parts.path, parts.query)


def download(world: World, path: str, user: User | None) -> StoredFile:
    """Return a file that was uploaded. Raises NotThere."""
    found = FILE.fullmatch(urlsplit(path).path)
    if found is None:
        raise NotThere
    file = find(world, found, user, is_signed(world, path)).files.get(unquote(found[4]))
    if file is None or file.updated_at is None:
        raise NotThere
    return file


def upload(world: World, path: str, body: bytes, user: User | None) -> None:
    """Keep a file of a run. Raises NotThere."""
    found = FILE.fullmatch(urlsplit(path).path)
    if found is None:
        raise NotThere
    run = find(world, found, user, is_signed(world, path))
    name = unquote(found[4])
    record = run.recorded()
    file = record.files.setdefault(name, StoredFile(world.number(), name))
    file.content, file.updated_at = body, world.stamp()
    file.mimetype = mimetypes.guess_type(name)[0] or ""
    if name == "wandb-metadata.json":
        metadata = json.loads(body)
        record.program, record.args = metadata.get("program"), metadata.get("args") or []
    run.project.touch()


def store(world: World, path: str, body: bytes, md5: str | None) -> str:
    """Keep a blob whose URL is signed, and return its MD5. Raises Forbidden or BadDigest."""
    where = blob_path(world, path)
    if md5 is not None and md5 != md5_of(body):
        raise BadDigest
    return world.artifacts.contents.put(where, body, world.stamp()).md5


def fetch(world: World, path: str) -> Blob:
    """Return a blob whose URL is signed. Raises NotThere or Forbidden."""
    found = world.artifacts.blob(blob_path(world, path))
    if found is None:
        raise NotThere
    return found


def blob_path(world: World, path: str) -> str:
    found = BLOB.fullmatch(unquote(urlsplit(path).path))
    if found is None or not is_signed(world, path):
        raise Forbidden
    return found[1]


def stream(world: World, path: str, body: bytes, user: User | None) -> dict[str, Any]:
    """Take what a run streams: rows, summary, console lines, its end. Raises NotThere."""
    found = STREAM.fullmatch(urlsplit(path).path)
    if found is None:
        raise NotThere
    run = find(world, found, user, False)
    request = json.loads(body or b"{}")
    for name, chunk in (request.get("files") or {}).items():
        write(run.recorded(), run, name, chunk)
    if request.get("complete"):
        run.exitcode = request.get("exitcode")
        run.state = "finished" if run.exitcode == 0 else "failed"
    elif request.get("preempting"):
        run.state = "preempting"
    elif run.state in ENDED:
        run.state, run.exitcode = "running", None  # it was resumed
    world.beat(run)
    return {"stopped": True} if run.stopped else {}


def write(record: Record, run: Run, name: str, chunk: dict[str, Any]) -> None:
    offset, lines = chunk.get("offset", 0), chunk.get("content") or []
    if name == "wandb-history.jsonl":
        record.history[offset : offset + len(lines)] = lines
    elif name == "wandb-events.jsonl":
        record.events[offset : offset + len(lines)] = lines
        run.system_metrics = system_metrics(run.system_metrics, lines)
    elif name == "wandb-summary.json" and lines:
        run.summary_text = lines[-1]
    elif name == "output.log":
        console = [console_line(offset + at, line) for at, line in enumerate(lines)]
        record.log_lines[offset : offset + len(lines)] = console


def system_metrics(text: str | None, lines: list[str]) -> str:
    """Keep the last value of each system metric."""
    last = json.loads(text or "{}")
    for line in lines:
        last |= {key: item for key, item in json.loads(line).items() if not key.startswith("_")}
    return json.dumps(last)


def console_line(number: int, text: str) -> dict[str, Any]:
    found = LINE.fullmatch(text)
    level, at, line = found.groups() if found else (None, None, text)
    return {
        "id": str(number), "number": number, "timestamp": at,
        "level": "error" if level == "ERROR" else "info", "label": "", "line": line,
    }  # fmt: skip
