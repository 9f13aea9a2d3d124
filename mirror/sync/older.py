"""Servers that list no collections of a project, or no memberships: type by type, version by version.

A membership is put together from a version and the collection it was listed in, so it has no id and
no link time of its own. Nothing tells what moved: every collection is listed light in every round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mirror.errors import GraphQLError, NotFound
from mirror.remote.pages import Page, page_of
from mirror.sync.artifact_task import LIGHT_PAGE, ArtifactTask

__all__ = ["LACKS", "collections", "is_older", "members_of"]

LACKS = re.compile(
    r"cannot query field|unknown (argument|type)|non-nullable field|must not be null"
    r"|not (implemented|supported)|unsupported",
    re.I,
)
"""What a server says that does not know what it was asked for, rather than fails to tell it."""


def is_older(project: Mapping[str, Any]) -> bool:
    """Whether the answer to a pulse has no listing of collections, or of what is in them."""
    if project.get("artifactCollections") is None:
        return True
    nodes = page_of(project["artifactCollections"]).nodes
    return bool(nodes) and all(node.get("newest") is None for node in nodes)


def collections(
    task: ArtifactTask,
) -> Iterator[tuple[list[Any] | None, Sequence[Mapping[str, Any]]]]:
    """Yield the artifact types with the first page, None with the others, and pages of collections."""
    types = list(_types(task))
    yield types, []
    for kind in types:
        for page in _of_type(task, kind["name"]):
            yield None, page.nodes


def _types(task: ArtifactTask) -> Iterator[Mapping[str, Any]]:
    def fetch(after: str | None) -> Page:
        data = task.ask(
            "MirrorArtifactTypes", first=LIGHT_PAGE, after=after, **task.place.variables
        )
        project = data.get("project")
        if project is None:
            raise NotFound(
                f"artifacts of {task.place.path!r}: the server shows no such project to this key",
                operation="MirrorArtifactTypes",
            )
        return page_of(project.get("artifactTypes"))

    for page in task.pages(fetch, f"{task.place.path}: the listing of artifact types"):
        yield from page.nodes


def _of_type(task: ArtifactTask, kind: str) -> Iterator[Page]:
    """The collections of a type; before there were portfolios they were called sequences."""
    ways = iter((("MirrorCollectionsOfType", "artifactCollections"), ("MirrorSequencesOfType", "artifactSequences")))  # fmt: skip
    operation, field = next(ways)

    def fetch(after: str | None) -> Page:
        nonlocal operation, field
        while True:
            try:
                data = task.ask(
                    operation, type=kind, first=LIGHT_PAGE, after=after, **task.place.variables
                )
                found = ((data.get("project") or {}).get("artifactType") or {}).get(field)
                if found is not None:
                    return page_of(found)
            except GraphQLError as error:
                if after is not None or not LACKS.search(str(error)):
                    raise
            other = next(ways, None)
            if other is None:
                raise NotFound(
                    f"{task.place.path}: the server lists no collections of type {kind!r}",
                    operation=operation,
                )
            operation, field = other

    yield from task.pages(fetch, f"{task.place.path}: the collections of type {kind}")


def members_of(collection: Mapping[str, Any], found: Mapping[str, Any] | None) -> Page:
    """A page of versions as the page of memberships that they are; deleted ones are none."""
    page = page_of(found)
    nodes = [
        _member(collection, edge["node"], edge.get("version"))
        for edge in (found or {}).get("edges") or ()
        if edge and edge.get("node") and edge["node"].get("state") != "DELETED"
    ]
    return Page(nodes, page.end_cursor, page.has_next, page.nulls)


def _member(
    collection: Mapping[str, Any], version: Mapping[str, Any], name: str | None
) -> dict[str, Any]:
    """One version in one collection, in the shape of a membership."""
    index = int(name[1:]) if name and re.fullmatch(r"v\d+", name) else version.get("versionIndex")
    aliases = [
        each
        for each in version.get("aliases") or ()
        if each.get("artifactCollectionName") in (None, collection["name"])
    ]
    return {
        "id": f"{collection['id']}/{version['id']}",
        "versionIndex": index,
        "commitHash": version.get("commitHash"),
        "createdAt": version.get("createdAt"),
        "aliases": aliases,
        "artifact": {key: value for key, value in version.items() if key != "aliases"},
    }
