"""Listings of artifacts: types, collections, versions, files, and what a run logged or used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mirror.api.artifact import Artifact
from mirror.api.notices import warn
from mirror.api.paginator import Paginator
from mirror.api.raising import normalized
from mirror.jsontext import dumps

if TYPE_CHECKING:
    from mirror.api.files import File
    from mirror.api.runs import Run
    from mirror.api.source import Source

__all__ = [
    "ArtifactCollection",
    "ArtifactCollections",
    "ArtifactFiles",
    "ArtifactType",
    "ArtifactTypes",
    "Artifacts",
    "ProjectArtifactCollections",
    "RelayPaginator",
    "RunArtifacts",
    "SizedRelayPaginator",
    "checked_order",
]

T = TypeVar("T")
_ORDER = re.compile(r"^([+-]?)(\w+)$")


def checked_order(order: str | None, known: Mapping[str, str] | None = None) -> str | None:
    """Return an order with its sign, its key in the server's spelling. Raises ValueError."""
    if order is None:
        return None
    found = _ORDER.match(order)
    if found is None:
        raise ValueError(f"Invalid order string: {order!r}")
    key = found[2]
    if known is not None:
        if key not in known:
            names = ", ".join(map(repr, sorted(known)))
            raise ValueError(f"Invalid order field {key!r}, must be one of: {names}")
        key = known[key]
    return f"{found[1] or '+'}{key}"


def sent(filters: Mapping[str, Any] | None) -> str | None:
    """Return filters as they are sent. Raises ValueError for what is no dictionary."""
    if filters is not None and not isinstance(filters, Mapping):
        raise ValueError(f"a filter is a dictionary, not {filters!r}")
    return None if filters is None else dumps(filters)


class RelayPaginator(Paginator[T]):
    """A listing of a named question, read one page at a time; `cursor` may be given as `start` again."""

    OPERATION: str

    def __init__(
        self, source: Source, asked: Mapping[str, Any], per_page: int, start: str | None
    ) -> None:
        if not isinstance(per_page, int) or per_page < 1:
            raise ValueError(f"per_page is a whole number of at least 1, not {per_page!r}")
        super().__init__(source, asked, per_page)
        self._asked = dict(asked)
        self._start = start

    @property
    def more(self) -> bool:
        """Whether there are more pages to load."""
        page = self.last_response
        return page is None or bool(page["pageInfo"]["hasNextPage"])

    @property
    def cursor(self) -> str | None:
        """Where the next page begins; may be given as `start` to go on there."""
        page = self.last_response
        return self._start if page is None else page["pageInfo"]["endCursor"]

    def _missing(self) -> Exception:
        return ValueError(f"Unable to parse {type(self).__name__!r} response data")

    def _update_response(self) -> None:
        found = self._service_api.artifact_page(
            self.OPERATION, self.per_page, self.cursor, **self._asked
        )
        if found is None:
            raise self._missing()
        self.last_response = found

    def _made(self, edge: Mapping[str, Any]) -> T | None:
        raise NotImplementedError

    def convert_objects(self) -> list[T]:
        """Return the objects of the page loaded last."""
        edges = (self.last_response or {}).get("edges") or []
        made = (self._made(edge) for edge in edges if edge and edge.get("node"))
        return [one for one in made if one is not None]


class SizedRelayPaginator(RelayPaginator[T]):
    """A listing that knows how many objects there are."""

    def __len__(self) -> int:
        if self.last_response is None:
            self._load_page()
        total = (self.last_response or {}).get("totalCount")
        if total is None:
            raise NotImplementedError(f"{type(self).__name__!r} doesn't provide length")
        return int(total)


class ArtifactTypes(RelayPaginator["ArtifactType"]):
    """The artifact types of a project; lazy."""

    OPERATION = "ApiArtifactTypes"

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        self.entity = entity
        self.project = project
        super().__init__(service_api, {"entity": entity, "project": project}, per_page, start)

    def _made(self, edge: Mapping[str, Any]) -> ArtifactType:
        node = edge["node"]
        return ArtifactType(self._service_api, self.entity, self.project, node["name"], node)


class ArtifactType:
    """An artifact type of a project. Raises ValueError where there is none of that name."""

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        type_name: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self._service_api = service_api
        self.entity = entity
        self.project = project
        self.type = type_name
        self._attrs = attrs or self.load()

    def load(self) -> Mapping[str, Any]:
        """Return the type's node, read now. Raises ValueError where there is none."""
        found: Mapping[str, Any] | None = self._service_api.artifact_node(
            "ApiArtifactType", entity=self.entity, project=self.project, type=self.type
        )
        if found is None:
            raise ValueError(f"Could not find artifact type {self.type!r}")
        return found

    @property
    def id(self) -> str:
        """The server's global id."""
        return str(self._attrs["id"])

    @property
    def name(self) -> str:
        """The type's name."""
        return str(self._attrs["name"])

    @normalized
    def collections(
        self,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> ArtifactCollections:
        """Return the type's collections, a lazy listing."""
        return ArtifactCollections(
            self._service_api,
            self.entity,
            self.project,
            self.type,
            filters=filters,
            order=order,
            per_page=per_page,
            start=start,
        )

    def collection(self, name: str) -> ArtifactCollection:
        """Return a collection by name. Raises ValueError where there is none."""
        return ArtifactCollection(self._service_api, self.entity, self.project, name, self.type)

    def __repr__(self) -> str:
        return f"<ArtifactType {self.type}>"


class _Collections(SizedRelayPaginator["ArtifactCollection"]):
    def _made(self, edge: Mapping[str, Any]) -> ArtifactCollection | None:
        return _collection(self._service_api, edge["node"])


def _collection(
    source: Source, node: Mapping[str, Any], organization: str | None = None
) -> ArtifactCollection | None:
    project = node.get("project")
    if not project:
        return None
    return ArtifactCollection(
        source,
        project["entity"]["name"],
        project["name"],
        node["name"],
        node["defaultArtifactType"]["name"],
        organization,
        node,
    )


class ArtifactCollections(_Collections):
    """The collections of a type in a project; lazy. The newest are first unless `order` says otherwise."""

    OPERATION = "ApiTypeCollections"

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        type_name: str,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        self.entity = entity
        self.project = project
        self.type_name = type_name
        self.filters = sent(filters)
        self.order = checked_order(order)
        asked = {
            "entity": entity,
            "project": project,
            "type": type_name,
            "filters": self.filters,
            "order": self.order,
        }
        super().__init__(service_api, asked, per_page, start)


class ProjectArtifactCollections(_Collections):
    """The collections of a project; lazy. The newest are first unless `order` says otherwise."""

    OPERATION = "ApiProjectCollections"

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        self.entity = entity
        self.project = project
        self.filters = sent(filters)
        self.order = checked_order(order)
        asked = {
            "entity": entity,
            "project": project,
            "filters": self.filters,
            "order": self.order,
        }
        super().__init__(service_api, asked, per_page, start)


class _Aliases(RelayPaginator[str]):
    OPERATION = "ApiCollectionAliases"

    def __init__(self, source: Source, collection_id: str) -> None:
        super().__init__(source, {"id": collection_id}, 1000, None)

    def _made(self, edge: Mapping[str, Any]) -> str:
        return str(edge["node"]["alias"])


class ArtifactCollection:
    """A sequence of versions, or a portfolio of links. Raises ValueError where there is none."""

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        name: str,
        type: str,
        organization: str | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self._service_api = service_api
        self._node: Mapping[str, Any] = attrs or self.load(entity, project, type, name)
        self._aliases: list[str] | None = None
        self._tags = [edge["node"]["name"] for edge in self._node["tags"]["edges"] if edge["node"]]
        self.organization = organization

    def load(self, entity: str, project: str, type_: str, name: str) -> Mapping[str, Any]:
        """Return the collection's node, read now. Raises ValueError where there is none."""
        found: Mapping[str, Any] | None = self._service_api.artifact_node(
            "ApiCollectionByName", entity=entity, project=project, type=type_, name=name
        )
        if found is None:
            raise ValueError(f"Could not find artifact type {type_!r}")
        return found

    @property
    def id(self) -> str:
        """The server's global id."""
        return str(self._node["id"])

    @property
    def entity(self) -> str:
        """The entity that owns its project."""
        return str(self._node["project"]["entity"]["name"])

    @property
    def project(self) -> str:
        """The name of its project."""
        return str(self._node["project"]["name"])

    @property
    def project_id(self) -> str:
        """The global id of its project."""
        return str(self._node["project"]["id"])

    @property
    def project_internal_id(self) -> str | None:
        """The stable id of its project."""
        found: str | None = self._node["project"].get("internalId")
        return found

    @normalized
    def artifacts(self, per_page: int = 50, start: str | None = None) -> Artifacts:
        """Return the collection's versions, newest first, a lazy listing."""
        return Artifacts(
            self._service_api,
            self.entity,
            self.project,
            self.name,
            self.type,
            per_page=per_page,
            start=start,
        )

    @property
    def aliases(self) -> list[str]:
        """All aliases of its versions, `v<N>` among them."""
        if self._aliases is None:
            self._aliases = list(_Aliases(self._service_api, self.id))
        return list(self._aliases)

    @property
    def created_at(self) -> str:
        """When it was made."""
        return str(self._node["createdAt"])

    @property
    def updated_at(self) -> str | None:
        """When it was last edited."""
        return self._node.get("updatedAt")

    def is_sequence(self) -> bool:
        """Whether versions are logged to it; else they are linked."""
        return bool(self._node["__typename"] == "ArtifactSequence")

    @property
    def description(self) -> str | None:
        """What somebody wrote about it."""
        return self._node.get("description")

    @description.setter
    def description(self, description: str | None) -> None:
        self._service_api.refuse_write("ArtifactCollection.description = …")

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._service_api.refuse_write("ArtifactCollection.tags = …")

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._node["name"])

    @name.setter
    def name(self, name: str) -> None:
        self._service_api.refuse_write("ArtifactCollection.name = …")

    @property
    def type(self) -> str:
        """The name of its artifact type."""
        return str(self._node["defaultArtifactType"]["name"])

    @type.setter
    def type(self, type: str) -> None:
        self._service_api.refuse_write("ArtifactCollection.type = …")

    def change_type(self, new_type: str) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("ArtifactCollection.change_type")

    def delete(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("ArtifactCollection.delete")

    def save(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("ArtifactCollection.save")

    def __repr__(self) -> str:
        return f"<ArtifactCollection {self.name} ({self.type})>"


class Artifacts(SizedRelayPaginator[Artifact]):
    """The versions of a collection; lazy. `len()` counts those of other tags too."""

    OPERATION = "ApiVersions"

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        collection_name: str,
        type: str,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        tags: str | list[str] | None = None,
        start: str | None = None,
    ) -> None:
        self.entity = entity
        self.project = project
        self.collection_name = collection_name
        self.type = type
        self.filters = sent({"state": "COMMITTED"} if filters is None else filters)
        self.order = checked_order(order)
        self.tags = [tags] if tags and isinstance(tags, str) else list(tags or [])
        asked = {
            "entity": entity,
            "project": project,
            "type": type,
            "name": collection_name,
            "filters": self.filters,
            "order": self.order,
        }
        super().__init__(service_api, asked, per_page, start)

    def _made(self, edge: Mapping[str, Any]) -> Artifact | None:
        name = f"{self.collection_name}:{edge['version']}"
        made = Artifact._of(self._service_api, self.entity, self.project, name, edge["node"])
        return made if set(self.tags).issubset(made._tags) else None


_SIDES = {"logged": "ApiRunOutput", "used": "ApiRunInput"}


class RunArtifacts(SizedRelayPaginator[Artifact]):
    """What a run logged, or used; lazy. Raises ValueError for another mode."""

    def __init__(
        self,
        service_api: Source,
        run: Run,
        mode: Literal["logged", "used"] = "logged",
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        if mode not in _SIDES:
            raise ValueError("mode must be logged or used")
        self.run = run
        self.OPERATION = _SIDES[mode]
        asked = {"entity": run.entity, "project": run.project, "run": run.id}
        super().__init__(service_api, asked, per_page, start)

    def _made(self, edge: Mapping[str, Any]) -> Artifact | None:
        node = edge["node"]
        home = node["artifactSequence"].get("project")
        if not home:
            return None
        name = f"{node['artifactSequence']['name']}:v{node['versionIndex']}"
        return Artifact._of(self._service_api, home["entity"]["name"], home["name"], name, node)


class ArtifactFiles(SizedRelayPaginator["File"]):
    """The stored files of a version; lazy."""

    OPERATION = "ApiArtifactFiles"

    def __init__(
        self,
        service_api: Source,
        artifact: Artifact,
        names: Sequence[str] | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        self.artifact = artifact
        asked = {
            "entity": artifact.entity,
            "project": artifact.project,
            "collection": artifact.name.split(":")[0],
            "alias": artifact.version,
            "names": None if names is None else list(names),
        }
        super().__init__(service_api, asked, per_page, start)

    def _missing(self) -> Exception:
        return AttributeError("'NoneType' object has no attribute 'files'")  # as of a deleted one

    @property
    def path(self) -> list[str]:
        """[entity, project, name] of the version."""
        return [self.artifact.entity, self.artifact.project, self.artifact.name]

    def _made(self, edge: Mapping[str, Any]) -> File:
        from mirror.api.files import File

        return File(self._service_api, edge["node"], artifact=self.artifact)

    def __repr__(self) -> str:
        path = "/".join(self.path)
        try:
            return f"<ArtifactFiles {path} ({len(self)})>"
        except NotImplementedError:
            return f"<ArtifactFiles {path}>"


def deprecated_versions() -> None:
    """Say that `Api.artifact_versions` has another name now."""
    warn(
        "Api.artifact_versions(type_name, name) is deprecated, "
        "use Api.artifacts(type_name, name) instead."
    )
