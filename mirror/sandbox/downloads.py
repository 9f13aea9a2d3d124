"""Files on their way out: by signed URL, or by the paths under /artifacts with a key; in ranges."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from mirror.sandbox.artifact_objects import Artifact, shelf
from mirror.sandbox.artifact_world import storage_path
from mirror.sandbox.contents import Blob, hex_of
from mirror.sandbox.objects import User
from mirror.sandbox.uploads import NotThere
from mirror.sandbox.world import World

LAYOUTS: Final = (
    re.compile(r"/artifacts/(?P<entity>[^/]+)/(?P<hex>[^/]+)"),
    re.compile(
        r"/artifactsV2/[^/]+/(?P<entity>[^/]+)/(?P<project>[^/]+)/(?P<collection>[^/]+)"
        r"(?:/(?P<artifact>[^/]*))?/(?P<birth>[^/]*)/(?P<hex>[^/]+)/[^/]+"
    ),
)
RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class File(Protocol):
    """A stored file, of a run or of an artifact."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def md5(self) -> str: ...
    @property
    def mimetype(self) -> str: ...
    def read(self, start: int = 0, stop: int | None = None) -> bytes: ...


class Unsatisfiable(Exception):
    """A range begins behind the end of the file."""


def ranged(file: File, header: str | None) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of a file or the part of it that is asked for.

    A range that is no range of bytes is passed over, as servers do. Raises Unsatisfiable.
    """
    size = file.size_bytes
    headers = {
        "Content-Type": file.mimetype or "application/octet-stream",
        "ETag": f'"{file.md5}"',
        "Accept-Ranges": "bytes",
    }
    found = RANGE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return 200, file.read(), headers
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size or stop <= start:
        raise Unsatisfiable
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return 206, file.read(start, stop), headers


# ------------------------------------------------------------------------------- by key


def by_key(world: World, path: str, user: User | None) -> tuple[str, Blob]:
    """Return storage path and contents of a file that a layout path names. Raises NotThere."""
    given = unquote(urlsplit(path).path)
    found = next((match for one in LAYOUTS if (match := one.fullmatch(given))), None)
    if found is None:
        raise NotThere
    parts = found.groupdict()
    where = (
        in_collection(world, parts, user) if "project" in parts else in_entity(world, parts, user)
    )
    blob = world.artifacts.blob(where)
    if blob is None:
        raise NotThere
    return where, blob


def in_entity(world: World, parts: Mapping[str, str], user: User | None) -> str:
    """Find a digest among all that an entity stores (layout V1)."""
    entity = world.entities.get(parts["entity"])
    for project in entity.projects if entity else ():
        if world.visible(project, user):
            for collection in shelf(project).collections.values():
                for member in collection.members:
                    where = with_digest(world, member.artifact, parts["hex"])
                    if where is not None:
                        return where
    raise NotThere


def in_collection(world: World, parts: Mapping[str, str | None], user: User | None) -> str:
    """Find a digest in a version of a collection, or where it was born (layout V2)."""
    project = world.projects.get(f"{parts['entity']}/{parts['project']}")
    if project is None or not world.visible(project, user):
        raise NotThere
    collection = shelf(project).collections.get(parts["collection"] or "")
    for member in collection.members if collection else ():
        artifact = member.artifact
        if parts["artifact"] in (None, "", artifact.id):
            where = with_digest(world, artifact, parts["hex"] or "", parts["birth"])
            if where is not None:
                return where
    raise NotThere


def with_digest(
    world: World, artifact: Artifact, hexdigest: str, birth: str | None = None
) -> str | None:
    """Return the storage path of the file with that digest, if a version has it."""
    for entry in artifact.entries:
        born_there = birth in (None, "", entry.birth_id, artifact.id)
        if entry.ref is None and born_there and hex_of(entry.digest) == hexdigest:
            born = world.artifacts.by_id.get(entry.birth_id or "", artifact)
            return storage_path(born, entry.digest)
    return None
