"""What is asked about artifacts and registries: one object or one page of a listing at a time.

A question is a named operation with its variables. Where the tables of the mirror hold the answer
(`mirror.api.artifact_tables`) it comes from there; else the server is asked, and what it answered is
kept under the question, for the time when there is no server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.api.artifact_tables import MISS, ArtifactTables, shown_membership
from mirror.api.content_door import ContentDoor
from mirror.api.raising import edge
from mirror.errors import (
    Forbidden,
    GraphQLError,
    NotFound,
    NotMirrored,
    RemoteError,
    ServerFailed,
)
from mirror.instants import to_us
from mirror.jsontext import dumps

if TYPE_CHECKING:
    from mirror.api.manifest import ArtifactManifest
    from mirror.blobs import Downloaded, Entry, Progress

__all__ = ["WAYS", "ArtifactDoor"]

WAYS: Final[dict[str, tuple[str, ...]]] = {
    "ApiMembershipByName": ("project", "artifactCollectionMembership"),
    "ApiWholeMembership": ("project", "artifactCollectionMembership"),
    "ApiArtifactByName": ("project", "artifact"),
    "ApiArtifactById": ("artifact",),
    "ApiArtifactType": ("project", "artifactType"),
    "ApiArtifactTypes": ("project", "artifactTypes"),
    "ApiCollectionByName": ("project", "artifactType", "artifactCollection"),
    "ApiTypeCollections": ("project", "artifactType", "artifactCollections"),
    "ApiProjectCollections": ("project", "artifactCollections"),
    "ApiCollectionAliases": ("artifactCollection", "aliases"),
    "ApiVersions": ("project", "artifactType", "artifactCollection", "artifacts"),
    "ApiRunOutput": ("project", "run", "outputArtifacts"),
    "ApiRunInput": ("project", "run", "inputArtifacts"),
    "ApiManifest": ("artifact", "currentManifest"),
    "ApiArtifactFiles": ("project", "artifactCollection", "artifactMembership", "files"),
    "ApiFilesOfArtifact": ("artifact", "files"),
    "ApiUsedBy": ("artifact", "usedBy"),
    "ApiCreatedBy": ("artifact", "createdBy"),
    "ApiLinkedArtifacts": ("artifact", "artifactMemberships"),
    "ApiEntityOrganizations": ("entity",),
    "ApiAdvancedSearch": ("organization", "advancedRegistryFeatures"),
    "ApiRegistries": ("organization", "orgEntity", "projects"),
    "ApiRegistryByName": ("entity", "project"),
    "ApiRegistryCollections": ("organization", "orgEntity", "artifactCollections"),
    "ApiRegistryVersions": ("organization", "orgEntity", "artifactMemberships"),
    "ApiRegistryMembers": ("project",),
    "ApiJobs": ("project",),
}
"""Each question, and the way from `data` to its answer."""

_TOLD: Final = {
    "ApiMembershipByName": "artifact {entity}/{project}/{name}",
    "ApiArtifactType": "artifact type {type!r} of {entity}/{project}",
    "ApiArtifactTypes": "the artifact types of {entity}/{project}",
    "ApiCollectionByName": "artifact collection {entity}/{project}/{name}",
    "ApiTypeCollections": "the artifact collections of type {type!r} of {entity}/{project}",
    "ApiProjectCollections": "the artifact collections of {entity}/{project}",
    "ApiVersions": "the versions of {entity}/{project}/{name}",
    "ApiRunOutput": "the artifacts logged by run {entity}/{project}/{run}",
    "ApiRunInput": "the artifacts used by run {entity}/{project}/{run}",
    "ApiArtifactFiles": "the files of artifact {entity}/{project}/{collection}:{alias}",
    "ApiJobs": "the jobs of {entity}/{project}",
    "ApiRegistries": "the registries of {organization!r}",
    "ApiRegistryByName": "registry {entity}/{name}",
    "ApiRegistryCollections": "the collections of registries of {organization!r}",
    "ApiRegistryVersions": "the versions in registries of {organization!r}",
}
FILES_PAGE: Final = 1000


class ArtifactDoor(ContentDoor):
    """Answers about artifacts and registries."""

    _asks_less = False
    """Whether the server does not know all that the tables hold of a version."""

    @edge
    def artifact_node(self, operation: str, *, fixed: bool = False, **asked: Any) -> Any:
        """Return the one thing a question names; None where the server says there is none.

        `fixed` marks what never changes: it is asked once. Raises NotMirrored, StaleError, RemoteError.
        """
        found = ArtifactTables(self).answer(operation, asked)
        if found is None:  # offline: perhaps it came after the last sync, and was asked for then
            return self._newer(operation, asked)
        if found is MISS and self.mode == "offline":
            found = self._met(operation, asked)
        if found is not MISS:
            return found
        return self._asked(
            lambda: self._kept(operation, asked, fixed),
            lambda tables: tables.answer(operation, asked),
            lambda: self._met(operation, asked),
        )

    @edge
    def artifact_page(
        self, operation: str, first: int, after: str | None, **asked: Any
    ) -> dict[str, Any] | None:
        """Return a page of a listing, a Relay connection; None where something on the way is null."""
        question = {**asked, "first": first, "after": after}
        found = ArtifactTables(self).page(operation, first, after, asked)
        if operation == "ApiArtifactFiles" and found and self._has_kept(operation, question):
            found = MISS
        if found is MISS:
            found = self._asked(
                lambda: self._kept(operation, question, False),
                lambda tables: tables.page(operation, first, after, asked),
            )
        page: dict[str, Any] | None = found
        return page

    def _has_kept(self, operation: str, question: Mapping[str, Any]) -> bool:
        """Whether the server answered that very question once: files it knows more about."""
        return self.held.object("artifact_answer", "", dumps([operation, question])) is not None

    def _newer(self, operation: str, asked: Mapping[str, Any]) -> Any:
        """What was kept of a question since the tables were synced; None for nothing."""
        held = self.held.object("artifact_answer", "", dumps([operation, asked]))
        place = (str(asked.get("entity")), str(asked.get("project") or asked.get("name")))
        synced_at = ArtifactTables(self).synced_at(*place)
        if held is None or (synced_at is not None and held.synced_at < synced_at):
            return None
        return held.node["answer"]

    def _met(self, operation: str, asked: Mapping[str, Any]) -> Any:
        """What was read by itself, of a place that is not mirrored whole; MISS for nothing.

        Also where the last answer to this very question is newer. Raises StaleError.
        """
        found, synced_at = ArtifactTables(self).met(operation, asked)
        if found is MISS:
            return MISS
        kept = self.held.object("artifact_answer", "", dumps([operation, asked]))
        if kept is not None and (to_us(kept.synced_at) or 0) > (to_us(synced_at) or 0):
            return MISS
        if self.mode == "offline":
            what = _TOLD[operation].format_map(asked)
            self._refuse_stale(synced_at, what, f"{asked['entity']}/{asked['project']}")
        return found

    def _asked(
        self,
        ask: Callable[[], Any],
        from_tables: Callable[[ArtifactTables], Any],
        met: Callable[[], Any] = lambda: MISS,
    ) -> Any:
        """Ask; where the server is down and nothing was kept, answer from tables of any age."""
        try:
            return ask()
        except RemoteError as error:
            if self.mode != "auto" or isinstance(error, GraphQLError | NotFound):
                raise
            found = from_tables(ArtifactTables(self, any_age=True))
            if found is MISS:
                found = met()
            if found is MISS:
                raise
            self._tell_stale(error)
            return found

    def _kept(self, operation: str, asked: Mapping[str, Any], fixed: bool) -> Any:
        what = _TOLD.get(operation, operation.removeprefix("Api")).format_map(asked)
        path = (
            f"{asked['entity']}/{asked['project']}"
            if asked.keys() >= {"entity", "project"}
            else None
        )
        answer = self.cached(
            "artifact_answer",
            "",
            dumps([operation, asked]),
            what,
            lambda: {"answer": self._fetched(operation, asked)},
            path=path,
            fresh=lambda held: fixed and held["answer"] is not None,
        )
        return answer["answer"]

    def _fetched(self, operation: str, asked: Mapping[str, Any]) -> Any:
        if operation == "ApiMembershipByName" and self.config.read_through and not self._asks_less:
            return self._fetched_membership(asked)
        return self._fetched_as_is(operation, asked)

    def _fetched_membership(self, asked: Mapping[str, Any]) -> Any:
        """A membership by its name, written to the tables with all that belongs to it."""
        try:
            node = self._fetched_as_is("ApiWholeMembership", asked)
        except (Forbidden, GraphQLError, ServerFailed) as error:
            # More was asked than wandb asks, about runs that others own, too: that alone must not fail.
            self._asks_less = isinstance(error, GraphQLError) and error.is_validation
            return self._fetched_as_is("ApiMembershipByName", asked)
        if not node:
            return None
        from mirror.ingest_artifacts import ingest_alone

        with self.store.begin() as tx:
            ingest_alone(tx, node, synced_at=self.now())
        return shown_membership(node)

    def _fetched_as_is(self, operation: str, asked: Mapping[str, Any]) -> Any:
        node: Any = self.client.execute(operation, **asked)
        for name in WAYS[operation]:
            if not node:
                return None
            node = node.get(name)
        return node

    @edge
    def organization_entity(self, organization: str) -> str | None:
        """Return the entity that owns an organization's registries, where the tables know it."""
        if self.mode == "online":
            return None
        return ArtifactTables(self).organization_entity(organization)

    # -------------------------------------------------------------- versions

    def membership(self, entity: str, project: str, name: str) -> tuple[bool, Any]:
        """Return whether the project is there, and the membership that "collection:alias" names."""
        asked: dict[str, Any] = {"entity": entity, "project": project, "name": name}
        try:
            node = self.artifact_node("ApiMembershipByName", **asked)
        except GraphQLError as error:
            if not error.is_validation:
                raise
            artifact = self.artifact_node("ApiArtifactByName", **asked)
            node = None if artifact is None else {"artifact": artifact}
        return node is not None or self._project_there(entity, project), node

    @edge
    def deletion_told(self, entity: str, project: str, name: str) -> str | None:
        """Return when the mirror found a version gone, for the note of an error; None: it did not."""
        deleted_at = ArtifactTables(self).deleted_at(entity, project, name)
        if deleted_at is None:
            return None
        collection = name.partition(":")[0]
        return (
            f"It was deleted on the server, as the sync of {deleted_at} found; "
            f"`mirror artifacts {entity}/{project}/{collection}` shows which versions there are."
        )

    def _project_there(self, entity: str, project: str) -> bool:
        try:
            types = self.artifact_page("ApiArtifactTypes", 1, None, entity=entity, project=project)
        except NotMirrored:
            return True
        return types is not None

    @edge
    def manifest_text(self, artifact_id: str) -> bytes:
        """Return the manifest of a version as the server stores it; fetched once, then kept."""
        path = self.blob_place("manifests", artifact_id)
        if path.exists():
            return path.read_bytes()
        if self.mode == "offline":
            raise NotMirrored(
                f"the manifest of artifact {artifact_id}",
                remedy="ask for it once in auto mode, or sync with depth = 'manifests'",
            )
        node = self._fetched("ApiManifest", {"id": artifact_id})
        if node is None:
            raise ValueError("Failed to fetch artifact manifest")
        from mirror.remote.downloads import download

        download(self.client, node["file"]["directUrl"], path)
        return path.read_bytes()

    @edge
    def artifact_manifest(self, artifact_id: str) -> ArtifactManifest:
        """Return the manifest of a version: from the tables, else the text that is kept, else fetched."""
        from mirror.api.manifest import ArtifactManifest

        tables = ArtifactTables(self)
        found = tables.manifest(artifact_id)
        if found is not None:
            return ArtifactManifest(found)
        made = ArtifactManifest.parsed(self.manifest_text(artifact_id))
        if (
            self.mode != "offline"
            and self.config.read_through
            and tables.lacks_manifest(artifact_id)
        ):
            from mirror.ingest_artifacts import ingest_manifest

            with self.store.begin() as tx:
                ingest_manifest(tx, artifact_id, made._document, synced_at=self.now())
        return made

    def blob_place(self, kind: str, name: str) -> Path:
        """Return where something that has no digest of its own is kept beside the contents."""
        digest = hashlib.sha256(name.encode()).hexdigest()[:40]
        return self.blobs.folder / kind / digest[:2] / digest

    @edge
    def download_artifact(
        self,
        artifact_id: str,
        entries: Sequence[Entry],
        root: Path,
        *,
        skip_cache: bool = False,
        references: bool = False,
        allow_missing_references: bool = False,
        fallback: Callable[[Entry], str] | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Downloaded:
        """Put entries of a version below a folder. Contents that are kept cost no request.

        References to files of other versions are files like any other; `references` fetches those that
        lead elsewhere, too. `fallback` gives an address below the API.

        Raises NotMirrored offline for contents that are not kept, UnsafeName, ContentError, RemoteError.
        """
        from mirror.api.artifact_references import References
        from mirror.blobs import download_entries

        of = References(artifact_id, self.artifact_manifest, self._addresses)
        return download_entries(
            self.blobs,
            [of.followed(entry) if entry.ref else entry for entry in entries],
            root,
            urls=of.addresses,
            fallback=fallback,
            references=references,
            client=lambda: self.client,
            threads=self.config.contents.threads,
            on_progress=on_progress,
            skip_cache=skip_cache and self.mode != "offline",
            allow_missing_references=allow_missing_references,
        )

    def _addresses(self, artifact_id: str, entries: Sequence[Entry]) -> dict[str, str]:
        """Signed addresses by path: of a few by name, else of all, page by page."""
        if self.mode == "offline":
            raise NotMirrored(
                f"the contents of {entries[0].path!r} of artifact {artifact_id}",
                remedy="download it once in auto mode, or run `mirror get`",
            )
        names = [entry.path for entry in entries] if len(entries) <= FILES_PAGE else None
        found: dict[str, str] = {}
        after: str | None = None
        while True:
            page = self._fetched(
                "ApiFilesOfArtifact",
                {"id": artifact_id, "names": names, "first": FILES_PAGE, "after": after},
            )
            for one in (page or {}).get("edges") or ():
                node = one.get("node")
                if not node:
                    continue
                found[node["name"]] = node["directUrl"]
                found.setdefault(node["displayName"], node["directUrl"])
            info = (page or {}).get("pageInfo") or {}
            if not info.get("hasNextPage") or info.get("endCursor") in (None, after):
                return found
            after = info["endCursor"]
