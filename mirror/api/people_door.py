"""What is asked about people, organizations, reports, automations and queues: objects read whole."""

from __future__ import annotations

from typing import Any

from mirror.api.door import Door
from mirror.api.raising import edge
from mirror.errors import NotMirrored, RemoteError

__all__ = ["PeopleDoor"]


class PeopleDoor(Door):
    """Answers about what is kept whole: people, and what belongs to an entity."""

    @edge
    def viewer(self, *, needed: bool = False) -> dict[str, Any] | None:
        """Return the node of the key's owner; None: nobody, or offline nobody was noted.

        Wherever there is a server it is asked: the key may be another's than at the last sync. With
        `needed`, what cannot be told is raised.
        """
        try:
            found: dict[str, Any] | None = self.cached(
                "viewer",
                "",
                "viewer",
                "the viewer (who the API key belongs to)",
                lambda: self.client.execute("MirrorViewerUser").get("viewer"),
                fresh=lambda _node: False,
            )
        except (NotMirrored, RemoteError):
            if needed:
                raise
            return None
        return found

    @edge
    def users(self, query: str) -> list[dict[str, Any]]:
        """Return the users a search finds; offline the kept answer, else those the mirror knows."""

        def fetch() -> list[dict[str, Any]]:
            found = self.client.execute("MirrorUsers", query=query).get("users") or {}
            return [edge["node"] for edge in found.get("edges") or [] if edge.get("node")]

        try:
            nodes: list[dict[str, Any]] = self.cached("users", "", query, f"user {query!r}", fetch)
        except NotMirrored:
            known = self.held.known_users()
            if not known:
                raise
            asked = query.lower()
            seen = ("username", "email", "name")
            return [
                user
                for user in known.values()
                if any(asked in str(user.get(name) or "").lower() for name in seen)
            ]
        return nodes

    @edge
    def organization(self, name: str | None, entity: str | None) -> dict[str, Any] | None:
        """Return an organization by name, else the one an entity belongs to; None: there is none."""
        if name is None:
            if entity is None:
                raise ValueError("No entity specified and can't fetch organization from the entity")
            name = self._organization_of(entity)
        wanted = name
        found: dict[str, Any] | None = self.cached(
            "organization",
            "",
            wanted,
            f"organization {wanted!r}",
            lambda: self.client.execute("MirrorOrganization", name=wanted).get("organization"),
        )
        return found

    def _organization_of(self, entity: str) -> str:
        def fetch() -> Any:
            return self.client.execute("MirrorEntityOrganization", entity=entity).get("entity")

        node = self.cached(
            "entity_organization", "", entity, f"the organization of {entity!r}", fetch
        )
        organization = (node or {}).get("organization")
        if organization:
            return str(organization["name"])
        user = (node or {}).get("user") or {}
        names = [item["name"] for item in user.get("organizations") or []]
        if len(names) == 1:
            return str(names[0])
        number = "Multiple organizations" if names else "No organizations"
        raise ValueError(
            f"{number} found for entity. Please specify an organization in the settings."
        )

    # -------------------------------------------------------------- what belongs to an entity

    @edge
    def views(self, entity: str, project: str) -> list[dict[str, Any]] | None:
        """Return the nodes of a project's reports; None: there is no project."""
        from mirror.errors import NotFound

        path = f"{entity}/{project}"
        found = self.find(entity, project)
        if self.mode == "offline":
            if found is None:
                raise NotMirrored(f"the list of reports of project {path!r}", path=path)
            if found.deleted_at is not None:
                return None
        try:
            return self._listed(
                "view",
                path if found is None else found.project_id,
                f"the list of reports of {path!r}",
                lambda: self._pages(
                    "MirrorViews", ["project", "allViews"], entity=entity, project=project
                ),
                path=path,
            )
        except NotFound:
            return None

    @edge
    def automations(self, entity: str | None) -> list[dict[str, Any]]:
        """Return the nodes of an entity's automations, else of all that the viewer may see."""
        what = f"automations of {entity!r}" if entity else "automations"
        return self._listed("automation", entity or "", what, lambda: self._triggers(entity))

    def _triggers(self, entity: str | None) -> list[dict[str, Any]]:
        if entity is None:
            projects = self._pages("MirrorViewerTriggers", ["viewer", "projects"])
            return [node for project in projects for node in project["triggers"]]
        from mirror.errors import GraphQLError

        try:
            return self._pages("MirrorEntityTriggers", ["entity", "triggers"], entity=entity)
        except GraphQLError:  # servers before 0.83 list them by project only
            projects = self._pages("MirrorProjectTriggers", ["entity", "projects"], entity=entity)
            return [node for project in projects for node in project["triggers"]]

    @edge
    def integrations(self, entity: str) -> list[dict[str, Any]]:
        """Return the nodes of an entity's integrations."""
        return self._listed(
            "integration",
            entity,
            f"integrations of {entity!r}",
            lambda: self._pages("MirrorIntegrations", ["entity", "integrations"], entity=entity),
        )

    @edge
    def run_queue(
        self, entity: str, project: str, name: str, *, fresh: bool = False
    ) -> dict[str, Any]:
        """Return a run queue's node with its items. Raises ValueError where there is none."""

        def fetch() -> Any:
            data = self.client.execute("MirrorRunQueue", entity=entity, project=project, queue=name)
            return (data.get("project") or {}).get("runQueue")

        node: dict[str, Any] | None = self.cached(
            "run_queue",
            f"{entity}/{project}",
            name,
            f"run queue {entity}/{name}",
            fetch,
            fresh=lambda node: bool(node) and not fresh,
        )
        if node is None:
            raise ValueError(f"Could not find run queue {name!r} of entity {entity!r}")
        return node

    @edge
    def resource_config(self, entity: str, number: str) -> dict[str, Any] | None:
        """Return the default resource configuration of a queue."""

        def fetch() -> Any:
            data = self.client.execute("MirrorResourceConfig", entity=entity, id=number)
            return (data.get("entity") or {}).get("defaultResourceConfig")

        found: dict[str, Any] | None = self.cached(
            "resource_config", entity, str(number), f"resource configuration {number}", fetch
        )
        return found
