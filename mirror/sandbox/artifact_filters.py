"""Filters and orders of registries, collections and versions: field tables for the plain matcher.

Both spellings of search are taken everywhere: the basic one ("created_at") and the advanced one
("artifact_created_at", "acm_created_at").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from mirror.sandbox.artifact_objects import Artifact, Collection, Membership
from mirror.sandbox.connections import Refused
from mirror.sandbox.listing import parse_filters
from mirror.sandbox.matcher import Document, FilterError, Table, compile_filter, compile_order
from mirror.sandbox.objects import Project, parsed

TIMES: Final = {"createdAt": "created_at", "updatedAt": "updated_at"}
NAMED: Final = {
    "id": "list", "name": "text", "description": "text", "created_at": "time", "updated_at": "time",
}  # fmt: skip


def table(columns: dict[str, str], spellings: dict[str, str], **documents: str) -> Table:
    return Table(columns, {name: name for name in columns} | TIMES | spellings, documents)


REGISTRIES: Final = table(
    NAMED | {"entity_id": "list", "access": "text"}, {"project_id": "id", "entityId": "entity_id"}
)
COLLECTIONS: Final = table(
    NAMED | {"tag": "list", "state": "text", "type": "text"},
    {
        "tags": "tag", "collection_id": "id", "artifact_collection_id": "id",
        "collection_name": "name", "artifact_collection_name": "name",
    },
)  # fmt: skip
VERSIONS: Final = table(
    {
        "id": "list", "version": "list", "tag": "list", "alias": "list", "state": "text",
        "digest": "text", "description": "text", "created_at": "time", "updated_at": "time",
        "linked_at": "time", "artifact_size": "number", "collection_name": "text",
    },
    {
        "tags": "tag", "aliases": "alias", "artifact_id": "id", "version_index": "version",
        "versionIndex": "version", "artifact_created_at": "created_at", "size": "artifact_size",
        "acm_created_at": "linked_at", "artifact_collection_name": "collection_name",
    },
    metadata="metadata", artifact_metadata="metadata",
)  # fmt: skip


def ids(number: int, global_id: str) -> list[Any]:
    """Return what an id may be called: a number, the same as text, a global id."""
    return [number, str(number), global_id]


class RegistryDocument:
    def __init__(self, project: Project) -> None:
        self.row = project

    def column(self, name: str) -> Any:
        if name == "id":
            return ids(self.row.internal_number, self.row.internal_id)
        if name == "entity_id":
            return ids(self.row.entity.number, self.row.entity.id)
        return getattr(self.row, name)

    def document(self, name: str) -> dict[str, Any]:
        raise KeyError(name)


class CollectionDocument:
    def __init__(self, collection: Collection) -> None:
        self.row = collection

    def column(self, name: str) -> Any:
        if name == "id":
            return ids(self.row.number, self.row.id)
        if name == "tag":
            return self.row.tags
        return self.row.type.name if name == "type" else getattr(self.row, name)

    def document(self, name: str) -> dict[str, Any]:
        raise KeyError(name)


class VersionDocument:
    """A version, by itself or as the member of a collection; `row` is the one it was made of."""

    def __init__(self, row: Artifact | Membership) -> None:
        self.row = row
        self.artifact = row if isinstance(row, Artifact) else row.artifact
        self.member = row if isinstance(row, Membership) else row.membership

    def column(self, name: str) -> Any:
        artifact, member = self.artifact, self.member
        found: dict[str, Callable[[], Any]] = {
            "id": lambda: ids(artifact.number, artifact.id),
            "name": lambda: self.row.number,  # only ties are broken by it
            "version": self._version,
            "tag": lambda: artifact.tags,
            "alias": lambda: [*member.aliases, f"v{member.version_index}"] if member else [],
            "linked_at": lambda: member.created_at if member else None,
            "artifact_size": lambda: artifact.size,
            "collection_name": lambda: (member.collection if member else artifact.sequence).name,
        }
        return found[name]() if name in found else getattr(artifact, name)

    def _version(self) -> list[Any] | None:
        index = self.member.version_index if self.member else self.artifact.index
        return None if index is None else [index, f"v{index}"]

    def document(self, _name: str) -> dict[str, Any]:
        return parsed(self.artifact.metadata) if self.artifact.metadata else {}


def chosen(
    rows: Iterable[Any],
    kind: Callable[[Any], Document],
    fields: Table,
    filters: str | None,
    order: str | None = None,
) -> list[Any]:
    """Return those of the rows that meet a filter, in an order (None: as they come).

    Raises Refused.
    """
    try:
        found: list[Any] = [kind(row) for row in rows]
        tree = parse_filters(filters)
        if tree:
            found = list(filter(compile_filter(tree, fields), found))
        if order:
            found = in_order(found, order, fields)
    except FilterError as error:
        raise Refused(400, str(error)) from error
    return [one.row for one in found]


def in_order(found: list[Any], order: str, fields: Table) -> list[Any]:
    """Put documents in an order; ids and versions go by their numbers."""
    column = fields.spellings.get(order.lstrip("+-"))
    if column not in ("id", "version"):
        return compile_order(order, fields)(found)
    numbered = [(one.column(column) or [-1], one) for one in found]
    numbered.sort(key=lambda pair: int(pair[0][0]), reverse=order.startswith("-"))
    return [one for _, one in numbered]


def registries(
    rows: Iterable[Project], filters: str | None, order: str | None = None
) -> list[Project]:
    return chosen(rows, RegistryDocument, REGISTRIES, filters, order)


def collections(
    rows: Iterable[Collection], filters: str | None, order: str | None = None
) -> list[Collection]:
    return chosen(rows, CollectionDocument, COLLECTIONS, filters, order)


def versions(rows: Iterable[Any], filters: str | None, order: str | None = None) -> list[Any]:
    """Choose among artifacts, or among memberships."""
    return chosen(rows, VersionDocument, VERSIONS, filters, order)
