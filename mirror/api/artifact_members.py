"""The members of Api about artifacts, registries and jobs: names are settled here, then asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.api.artifact_names import is_registry, parse_path
from mirror.api.notices import complain
from mirror.api.raising import normalized
from mirror.errors import CommError, NotMirrored, OfflineError, QueryError, RemoteError

if TYPE_CHECKING:
    from mirror.api.artifact import Artifact
    from mirror.api.artifacts import (
        ArtifactCollection,
        ArtifactCollections,
        Artifacts,
        ArtifactType,
        ArtifactTypes,
    )
    from mirror.api.jobs import Job
    from mirror.api.registries import Registries
    from mirror.api.registry import Registry
    from mirror.api.source import Source

__all__ = ["ArtifactMembers"]


class ArtifactMembers:
    """Artifacts, registries and jobs of `mirror.Api`."""

    _service_api: Source
    settings: dict[str, Any]

    def _entity(self) -> str | None:
        raise NotImplementedError

    def _project_path(self, path: str | None) -> tuple[str | None, str]:
        raise NotImplementedError

    def organization(self, name: str | None = None) -> Any:
        """Return an organization."""
        raise NotImplementedError

    # -------------------------------------------------------------- names

    def _place(self, path: str | None) -> tuple[str | None, str]:
        """Entity and project of a project's path; of a registry the organization's entity."""
        entity, project = self._project_path(path)
        if is_registry(project):
            given = path.partition("/")[0] if path is not None and "/" in path else None
            entity = self._organization_entity(given)
        return entity, project

    def _named(self, path: str, organization: str | None = None) -> tuple[str | None, str, str]:
        """Entity, project and name of `[[entity/]project/]name`. Raises ValueError."""
        given = parse_path(path)
        project = given.project or self.settings["project"] or "uncategorized"
        entity = given.entity or self._entity()
        if is_registry(project):
            entity = self._organization_entity(given.entity or organization)
        return entity, project, given.name

    def _organization_entity(self, given: str | None) -> str:
        """The entity of the organization that owns registries. Raises ValueError."""
        entity = self._entity()
        if not entity:
            raise ValueError("Entity name is required to resolve org entity name.")
        found = self._service_api.artifact_node("ApiEntityOrganizations", entity=entity) or {}
        team, user = found.get("organization"), found.get("user")
        if team and team.get("orgEntity"):
            names = (team["name"], team["orgEntity"]["name"])
            if not given or given in names:
                return str(names[1])
        organizations = [
            (one["name"], one["orgEntity"]["name"])
            for one in (user or {}).get("organizations") or []
            if one.get("orgEntity")
        ]
        if user and user.get("organizations"):
            return _one_of(organizations, entity, given)
        raise ValueError(f"Unable to find organization for entity {entity!r}.")

    def _organization_name(self, organization: str | None) -> str:
        found = organization or self.settings.get("organization")
        if found:
            return str(found)
        entity = self._entity()
        if entity is None:
            raise ValueError("No entity specified and can't fetch organization from the entity")
        if self._service_api.mode == "offline":
            try:
                known = self._service_api.artifact_node("ApiEntityOrganizations", entity=entity)
            except NotMirrored:  # what was asked for online may be the question below
                known = None
            if known and known.get("organization"):
                return str(known["organization"]["name"])
        return self._service_api._organization_of(entity)

    # -------------------------------------------------------------- artifacts

    @normalized
    def artifact_types(self, project: str | None = None, start: str | None = None) -> ArtifactTypes:
        """Return the artifact types of a project, a lazy listing.

        From the mirror; read through in auto mode. A missing project raises ValueError when it is read.
        """
        from mirror.api.artifacts import ArtifactTypes

        entity, name = self._place(project)
        return ArtifactTypes(self._service_api, entity, name, start=start)  # type: ignore[arg-type]

    @normalized
    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType:
        """Return an artifact type. Raises CommError where there is none, NotMirrored offline."""
        from mirror.api.artifacts import ArtifactType

        entity, name = self._place(project)
        return ArtifactType(self._service_api, entity, name, type_name)  # type: ignore[arg-type]

    @normalized
    def artifact_collections(
        self,
        project_name: str,
        type_name: str,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> ArtifactCollections:
        """Return the collections of a type, a lazy listing.

        From the mirror; read through in auto mode. A missing type raises ValueError when it is read.
        """
        from mirror.api.artifacts import ArtifactCollections

        entity, name = self._place(project_name)
        return ArtifactCollections(
            self._service_api,
            entity,  # type: ignore[arg-type]
            name,
            type_name,
            order=order,
            per_page=per_page,
            start=start,
        )

    @normalized
    def artifact_collection(self, type_name: str, name: str) -> ArtifactCollection:
        """Return the collection `[[entity/]project/]name`.

        Raises CommError where there is none, NotMirrored offline when the mirror cannot know.
        """
        from mirror.api.artifacts import ArtifactCollection

        entity, project, collection = self._named(name)
        if entity is None:
            raise ValueError(
                "Could not determine entity. Please include the entity as part of the "
                "collection name path."
            )
        return ArtifactCollection(self._service_api, entity, project, collection, type_name)

    @normalized
    def artifact_versions(self, type_name: str, name: str, per_page: int = 50) -> Artifacts:
        """Deprecated: use `artifacts`."""
        from mirror.api.artifacts import deprecated_versions

        deprecated_versions()
        found: Artifacts = self.artifacts(type_name, name, per_page=per_page)
        return found

    @normalized
    def artifacts(
        self,
        type_name: str,
        name: str,
        order: str | None = None,
        per_page: int = 50,
        tags: list[str] | None = None,
        start: str | None = None,
    ) -> Artifacts:
        """Return the versions of a collection, newest first, a lazy listing.

        From the mirror; read through in auto mode. A missing collection raises ValueError when it is read.
        """
        from mirror.api.artifacts import Artifacts

        entity, project, collection = self._named(name)
        return Artifacts(
            self._service_api,
            entity,  # type: ignore[arg-type]
            project,
            collection,
            type_name,
            order=order,
            per_page=per_page,
            tags=tags,
            start=start,
        )

    @normalized
    def artifact(self, name: str, type: str | None = None) -> Artifact:
        """Return the version `[[entity/]project/]collection:alias`; the alias may be `v<N>` or a digest.

        From the mirror; read through in auto mode. Raises CommError where there is none or its type is
        another, NotMirrored offline when the mirror cannot know.
        """
        return self._artifact(name, type)

    def _artifact(self, name: str, type: str | None = None) -> Artifact:
        from mirror.api.artifact import by_name

        if name is None:
            raise ValueError("You must specify name= to fetch an artifact.")
        entity, project, artifact = self._named(name, self.settings.get("organization"))
        if entity is None:
            raise ValueError(
                "Could not determine entity. Please include the entity as part of the "
                "artifact name path."
            )
        found = by_name(self._service_api, entity, project, artifact)
        if type is not None and found.type != type:
            raise ValueError(f"type {type!r} specified but this artifact is of type {found.type!r}")
        return found

    @normalized
    def artifact_exists(self, name: str, type: str | None = None) -> bool:
        """Return whether there is such a version. Raises NotMirrored offline when it cannot be told."""
        return _exists(lambda: self.artifact(name, type))

    @normalized
    def artifact_collection_exists(self, name: str, type: str) -> bool:
        """Return whether there is such a collection. Raises NotMirrored offline when it cannot be told."""
        return _exists(lambda: self.artifact_collection(type, name))

    # -------------------------------------------------------------- registries

    def registries(
        self,
        organization: str | None = None,
        filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Registries:
        """Return the registries of an organization that match a filter, a lazy listing.

        `.collections(filter)` and `.versions(filter)` go on from there. From the mirror; read through in
        auto mode. Raises ValueError for a field that is none.
        """
        from mirror.api.registries import Registries

        return Registries(
            self._service_api,
            self._organization_name(organization),
            filter=filter,
            order=order,
            per_page=per_page,
            start=start,
        )

    def registry(self, name: str, organization: str | None = None) -> Registry:
        """Return a registry by its name without `wandb-registry-`. Raises ValueError where there is none."""
        from mirror.api.registry import Registry

        owner = self._organization_name(organization)
        entity = self._service_api.organization_entity(owner)
        if entity is None:
            entity = self.organization(owner).org_entity.name
        found = Registry(self._service_api, owner, entity, name)
        found.load()
        return found

    # -------------------------------------------------------------- jobs

    @normalized
    def job(self, name: str | None, path: str | None = None) -> Job:
        """Return the job `entity/project/name:alias`; its artifact is downloaded, to `path` if given.

        Raises CommError where there is none, NotMirrored offline for contents that are not kept.
        """
        from mirror.api.jobs import Job

        if name is None:
            raise ValueError("You must specify name= to fetch a job.")
        if name.count("/") != 2 or ":" not in name:
            raise ValueError(
                "Invalid job specification. A job must be of the form: "
                "<entity>/<project>/<job-name>:<alias-or-version>"
            )
        return Job(self, name, path, service_api=self._service_api)  # type: ignore[arg-type]

    @normalized
    def list_jobs(self, entity: str, project: str) -> list[dict[str, Any]]:
        """Return the jobs of a project as the server's own nodes, one a collection; [] for none."""
        if entity is None:
            raise ValueError("Specify an entity when listing jobs")
        if project is None:
            raise ValueError("Specify a project when listing jobs")
        try:
            found = self._service_api.artifact_node("ApiJobs", entity=entity, project=project)
        except RemoteError:
            return []
        if found is None:
            complain(f"Project: '{project}' not found in entity: '{entity}' or access denied.")
            return []
        kind = found.get("artifactType")
        edges = kind["artifactCollections"]["edges"] if kind else []
        return [edge["node"]["artifacts"] for edge in edges]


def _one_of(organizations: list[tuple[str, str]], entity: str, given: str | None) -> str:
    """The entity of the one organization that is meant. Raises ValueError."""
    if given:
        for names in organizations:
            if given in names:
                return names[1]
        if len(organizations) == 1:
            raise ValueError(
                "Expecting the organization name or entity name to match "
                f"{organizations[0][0]!r} and cannot be linked/fetched with {given!r}. "
                "Please update the target path with the correct organization name."
            )
        raise ValueError(
            "Personal entity belongs to multiple organizations and cannot be linked/fetched with "
            f"{given!r}. Please update the target path with the correct organization name "
            "or use a team entity in the entity settings."
        )
    if len(organizations) == 1:
        return organizations[0][1]
    if organizations:
        raise ValueError(
            f"Personal entity {entity!r} belongs to multiple organizations "
            "and cannot be used without specifying the organization name. "
            "Please specify the organization in the Registry path or use a team entity in the "
            "entity settings."
        )
    raise ValueError(
        f"Unable to resolve an organization associated with personal entity: {entity!r}. "
        "This could be because its a personal entity that doesn't belong to any organizations. "
        "Please specify the organization in the Registry path or use a team entity in the "
        "entity settings."
    )


def _exists(look: Any) -> bool:
    try:
        look()
    except (NotMirrored, OfflineError, QueryError):
        raise
    except RemoteError as error:
        if error.status in (None, 408, 504):
            raise
        return False
    except CommError:
        return False
    return True
