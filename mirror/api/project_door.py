"""What is asked about projects: their completeness and age, their nodes, their first sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mirror import instants
from mirror.api import notices
from mirror.api.door import Door
from mirror.api.held import Stored
from mirror.api.raising import edge
from mirror.errors import NotMirrored, RemoteError
from mirror.global_ids import number_of

if TYPE_CHECKING:
    from mirror.projects import Project

__all__ = ["ProjectDoor"]


class ProjectDoor(Door):
    """Answers about projects."""

    @edge
    def project(self, entity: str, name: str) -> Project | None:
        """Return a project whose listings can be answered from the store; None: there is none.

        Offline it must be mirrored to the end (or `partial`) and young enough: else NotMirrored and
        StaleError. In the other modes it is synced when it is not, or when it is too old.
        """
        found = self.find(entity, name)
        if self.mode == "offline":
            return self._offline(found, entity, name)
        usable = found is not None and found.deleted_at is None
        if found is not None and usable and (found.complete or self.partial):
            if not self._must_refresh(found):
                return found
            self._answered(lambda: self._sync(entity, name), held=True)
            return self.find(entity, name)
        if self._ask_project(entity, name) is None:
            return None
        self._sync(entity, name, asked=True)
        return self.find(entity, name)

    def _offline(self, found: Project | None, entity: str, name: str) -> Project | None:
        path = f"{entity}/{name}"
        if found is None:
            raise NotMirrored(f"project {path!r}", path=path)
        if found.deleted_at is not None:
            return None
        if not found.complete and not self.partial:
            raise self._incomplete(found, f"all of project {path!r}")
        self._refuse_stale(found.synced_at, f"project {path!r}", path)
        return found

    def _incomplete(self, found: Project, what: str) -> NotMirrored:
        held, total = self.held.progress(found.project_id)
        if not held and not total:  # met by one of its artifacts
            return NotMirrored(what, path=found.path, synced_at=found.synced_at)
        so_far = f"{held:,} of {total:,} runs so far" if total else f"{held:,} runs so far"
        return NotMirrored(
            f"{what} (its first sync has not ended: {so_far})",
            path=found.path,
            synced_at=found.synced_at,
            remedy=f"run `mirror sync {found.path}`, or pass partial=True to read what is there",
        )

    def _ask_project(self, entity: str, name: str) -> Mapping[str, Any] | None:
        """The project's node from the server, now; None where it says there is none."""
        data = self.client.combined({}, tries=2, entity=entity, project=name).data
        node: Mapping[str, Any] | None = data.get("project")
        return node

    def _sync(self, entity: str, name: str, *, asked: bool = False) -> None:
        """Sync one project into the store. Raises RemoteError, StoreBusy."""
        from mirror.sync import sync

        if not asked:
            self._ask_project(entity, name)  # one quick request tells whether the server is there
        path = f"{entity}/{name}"
        report = sync([path], store=self.store, config=self._keyed(), on_event=notices.progress())
        failure = report.failures.get(path)
        if failure is not None:
            raise RemoteError(f"{path} could not be synced: {failure}")

    @edge
    def project_node(self, entity: str, name: str) -> Stored | None:
        """Return the project's own node; None: there is none. Read through in auto mode."""
        found = self.find(entity, name)
        if found is not None and found.deleted_at is not None:
            found = None if self.mode != "offline" else found
            if self.mode == "offline":
                return None
        if self.mode == "offline":
            if found is None:
                raise NotMirrored(f"project '{entity}/{name}'", path=f"{entity}/{name}")
            return self.held.project_node(found.project_id)
        if found is not None and self.mode == "auto":
            return self.held.project_node(found.project_id)
        key: str | None = None

        def ask() -> None:
            nonlocal key
            node = self._ask_project(entity, name)
            key = None if node is None else self._keep_project(node)

        if self._answered(ask, held=found is not None):
            return None if key is None else self.held.project_node(key)
        assert found is not None
        return self.held.project_node(found.project_id)

    def _keep_project(self, node: Mapping[str, Any]) -> str:
        from mirror.ingest import ingest_projects

        with self.store.begin() as tx:
            return ingest_projects(tx, [node], synced_at=self.now())[0]

    @edge
    def projects(self, entity: str) -> list[Stored] | None:
        """Return the nodes of an entity's projects; None where the server says there is none.

        Offline these are the mirrored ones. Raises NotMirrored when there is not one.
        """
        if self.mode == "offline":
            return self._mirrored_projects(entity)
        from mirror.errors import NotFound
        from mirror.remote.pages import entity_projects

        listed: list[Mapping[str, Any]] | None = None

        def ask() -> None:
            nonlocal listed
            try:
                listed = list(entity_projects(self.client, entity))
            except NotFound:
                listed = None

        if not self._answered(ask, held=self.held.has_entity(entity)):
            return self._mirrored_projects(entity)
        if listed is None:
            return None
        self._keep_listing(entity, listed)
        return [Stored(node, self.now()) for node in listed]

    def _keep_listing(self, entity: str, nodes: Sequence[Mapping[str, Any]]) -> None:
        if not self.config.read_through:
            return
        from mirror.ingest import ingest_objects, ingest_projects

        named = {str(node["name"]): dict(node) for node in nodes}
        with self.store.begin() as tx:
            ingest_projects(tx, nodes, synced_at=self.now())
            ingest_objects(tx, "project_list", entity, named, synced_at=self.now(), listing={})

    def _mirrored_projects(self, entity: str) -> list[Stored]:
        from mirror import projects

        held = [
            project
            for project in projects.every(self.held.reader)
            if project.entity == entity and project.deleted_at is None
        ]
        if not held:
            raise NotMirrored(f"entity {entity!r}", remedy=f"run `mirror sync '{entity}/*'`")
        listed = self.held.objects("project_list", entity) or []
        places = {item.node["name"]: place for place, item in enumerate(listed)}
        nodes = [self.held.project_node(project.project_id) for project in held]

        def place(item: Stored) -> tuple[int, int, int]:
            made_us = instants.to_us(item.node.get("createdAt")) or 0
            listed_at = places.get(item.node["name"], len(places))
            return listed_at, made_us, number_of(item.node.get("internalId") or "")

        return sorted(nodes, key=place)
