"""Projects and Project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mirror.api.attrs import Attrs, iframe
from mirror.api.paginator import Paginator
from mirror.api.raising import normalized

if TYPE_CHECKING:
    from mirror.api.artifacts import ArtifactTypes, ProjectArtifactCollections
    from mirror.api.source import Source
    from mirror.api.sweeps import Sweeps
    from mirror.api.users import User

__all__ = ["Project", "Projects"]

_FIELDS = ("id", "name", "entityName", "createdAt", "isBenchmark", "user")


def _attrs(node: Mapping[str, Any]) -> dict[str, Any]:
    from mirror.api.users import user_attrs

    found = {name: node.get(name) for name in _FIELDS}
    if found["user"]:
        found["user"] = user_attrs(found["user"])
    return found


class Projects(Paginator["Project"]):
    """The projects of an entity, loaded when they are looked at. There is no `len()`."""

    def __init__(self, service_api: Source, entity: str, per_page: int = 50) -> None:
        self.entity = entity
        super().__init__(service_api, {"entity": entity}, per_page)
        self._nodes: list[Mapping[str, Any]] | None = None

    @property
    def length(self) -> None:
        """None: how many there are is not told."""
        return

    @property
    def more(self) -> bool:
        """Whether there are more projects to load."""
        return self._nodes is None or len(self.objects) < len(self._nodes)

    @property
    def cursor(self) -> str | None:
        """A text that marks where the loaded projects end; None before the first page."""
        return str(len(self.objects)) if self._nodes is not None else None

    def _update_response(self) -> None:
        if self._nodes is None:
            found = self._service_api.projects(self.entity)
            if found is None:
                raise ValueError("Unable to parse 'Projects' response data")
            self._nodes = [item.node for item in found]

    def convert_objects(self) -> list[Project]:
        """Return the next page of projects."""
        start = len(self.objects)
        nodes = (self._nodes or [])[start : start + self.per_page]
        return [
            Project(self._service_api, self.entity, node["name"], _attrs(node)) for node in nodes
        ]

    def __repr__(self) -> str:
        return f"<Projects {self.entity}>"


class Project(Attrs):
    """A project: a name until an attribute is asked for, then one look-up.

    A missing project raises ValueError for `id` and AttributeError for other fields; one that is
    not mirrored raises NotMirrored offline.
    """

    def __init__(
        self, service_api: Source, entity: str, project: str, attrs: Mapping[str, Any]
    ) -> None:
        super().__init__(attrs)
        self._is_loaded = bool(attrs)
        self._service_api = service_api
        self.name = project
        self.entity = entity

    def _load(self) -> None:
        found = self._service_api.project_node(self.entity, self.name)
        self._attrs = {} if found is None else _attrs(found.node)
        self._is_loaded = True

    def __getattr__(self, name: str) -> Any:
        if name == "_is_loaded" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        if not self._is_loaded:
            self._load()
        return super().__getattr__(name)

    @property
    def id(self) -> str:
        """The server's global id. Raises ValueError for a missing project."""
        if not self._is_loaded:
            self._load()
        if "id" not in self._attrs:
            raise ValueError(f"Project {self.name} not found")
        return str(self._attrs["id"])

    @property
    def owner(self) -> User:
        """Who made the project. Raises ValueError where it is not known."""
        from mirror.api.users import User

        if not self._is_loaded:
            self._load()
        user = self._attrs.get("user")
        if not user:
            raise ValueError(f"No user found for project {self.name}")
        return User(self._service_api, user)

    @property
    def path(self) -> list[str]:
        """[entity, name]."""
        return [self.entity, self.name]

    @property
    def url(self) -> str:
        """The address of the project's page."""
        return self._service_api.app_url + "/".join([*self.path, "workspace"])

    @property
    def synced_at(self) -> str | None:
        """The server's time that the project's mirror is fresh as of; None: never synced."""
        return self._service_api.synced_at(self.entity, self.name)

    @property
    def is_stale(self) -> bool:
        """Whether the mirror of the project is older than `max_age`, or could not be refreshed."""
        return self._service_api.is_stale(self.synced_at)

    @normalized
    def sweeps(
        self,
        per_page: int = 50,
        filters: dict[str, Any] | None = None,
        order: str | None = None,
    ) -> Sweeps:
        """Return the project's sweeps, a lazy listing. `filters` is in W&B's syntax; `order` is unused."""
        from mirror.api.sweeps import Sweeps

        return Sweeps(self._service_api, self.entity, self.name, per_page=per_page, filters=filters)

    @normalized
    def artifacts_types(self, per_page: int = 50) -> ArtifactTypes:
        """Return the project's artifact types, a lazy listing. From the mirror; read through in auto mode."""
        from mirror.api.artifacts import ArtifactTypes

        return ArtifactTypes(self._service_api, self.entity, self.name, per_page=per_page)

    @normalized
    def collections(
        self,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
    ) -> ProjectArtifactCollections:
        """Return the project's artifact collections that match a filter, a lazy listing."""
        from mirror.api.artifacts import ProjectArtifactCollections

        return ProjectArtifactCollections(
            self._service_api,
            self.entity,
            self.name,
            filters=filters,
            order=order,
            per_page=per_page,
        )

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return HTML that shows the project's page in a frame."""
        return iframe(self.url, height, hidden, "project")

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return f"<Project {'/'.join(self.path)}>"
