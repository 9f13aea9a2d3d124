"""Artifact: one version, seen from a collection it was logged or linked to. It reads and never writes.

It is made of two nodes of the server: the version itself, and its membership in the collection it
was asked by, which says the aliases and the version there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import quote

from mirror.api.artifact_names import is_registry, is_version, read_metadata, registry_name
from mirror.api.manifest import (
    ArtifactDigestAlgorithm,
    ArtifactManifest,
    ArtifactManifestEntry,
    files_below,
    logical,
)
from mirror.api.notices import warn
from mirror.api.raising import adapt
from mirror.errors import ContentError, UnsupportedError

if TYPE_CHECKING:
    from mirror.api.artifacts import ArtifactCollection, ArtifactFiles
    from mirror.api.runs import Run
    from mirror.api.source import Source
    from mirror.blobs import Downloaded, Entry, Progress

__all__ = ["Artifact", "ArtifactDigestAlgorithm", "ArtifactNotLoggedError", "download_version"]


class ArtifactNotLoggedError(AttributeError):
    """A version that is still being logged was asked for what it will have once it is."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"'Artifact.{name}' used prior to logging artifact or while in offline mode. "
            "Call wait() before accessing logged artifact properties.",
            name=name,
        )


class Artifact:
    """One version of an artifact. Edits are refused: use `wandb.Api().artifact(...)` for them."""

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        storage_region: str | None = None,
        digest_algorithm: Literal["MD5", "XXH128"] = "MD5",
    ) -> None:
        """Refused: new artifacts are made with wandb.Artifact(). Raises UnsupportedError."""
        raise adapt(UnsupportedError("mirror makes no new artifacts; use wandb.Artifact()"))

    @classmethod
    def _of(
        cls,
        source: Source,
        entity: str,
        project: str,
        name: str,
        node: Mapping[str, Any],
        membership: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Make a version from its node and, where it was asked by one, its membership."""
        made = cls.__new__(cls)
        made._service_api = source
        made._entity, made._project, made._name = entity, project, name
        made._node, made._membership = node, membership
        made._source_artifact = None
        made._manifest = None
        made._read()
        return made

    _service_api: Source
    _entity: str
    _project: str
    _name: str
    _node: Mapping[str, Any]
    _membership: Mapping[str, Any] | None
    _source_artifact: Artifact | None
    _manifest: ArtifactManifest | None

    def _read(self) -> None:
        node, member = self._node, self._membership
        sequence = node["artifactSequence"]
        home = sequence.get("project")
        self._source_entity = home["entity"]["name"] if home else ""
        self._source_project = home["name"] if home else ""
        self._source_version = f"v{node['versionIndex']}"
        self._source_name = f"{sequence['name']}:{self._source_version}"
        self._is_link = (
            self._entity != self._source_entity
            or self._project != self._source_project
            or self._name.split(":")[0] != sequence["name"]
        )
        aliases = self._own_aliases()
        versions = [alias for alias in aliases if is_version(alias)]
        if len(versions) > 1:
            raise ValueError(
                f"Expected at most one version alias, got {len(versions)}: {versions!r}"
            )
        index = None if member is None else member.get("versionIndex")
        self._version = (
            versions[0] if versions else self._source_version if index is None else f"v{index}"
        )
        if ":" not in self._name:
            self._name = f"{self._name}:{self._version}"
        self._aliases = [alias for alias in aliases if not is_version(alias)]
        self._tags = [tag["name"] for tag in node.get("tags") or ()]
        self._metadata = read_metadata(node.get("metadata"))
        self._linked_at = member["createdAt"] if member is not None and self._is_link else None

    def _own_aliases(self) -> list[str]:
        """The aliases in the collection this version is seen from."""
        if self._membership is not None and "aliases" in self._membership:
            return [one["alias"] for one in self._membership["aliases"]]
        here = (self._entity, self._project, self._name.split(":")[0])
        found = []
        for one in self._node.get("aliases") or ():
            collection = one.get("artifactCollection")
            project = (collection or {}).get("project")
            if project and (project["entity"]["name"], project["name"], collection["name"]) == here:
                found.append(one["alias"])
        return found

    def _logged(self, name: str) -> None:
        if self.is_draft():
            raise ArtifactNotLoggedError(name)

    def __repr__(self) -> str:
        return f"<Artifact {self.id or self.name}>"

    # -------------------------------------------------------------- names

    @property
    def id(self) -> str | None:
        """The server's global id; None while the version is being logged."""
        return None if self.is_draft() else str(self._node["id"])

    @property
    def entity(self) -> str:
        """The entity of the collection it is seen from."""
        self._logged("entity")
        return self._entity

    @property
    def project(self) -> str:
        """The project of the collection it is seen from."""
        self._logged("project")
        return self._project

    @property
    def name(self) -> str:
        """`collection:version`, as it was asked for."""
        return self._name

    @property
    def qualified_name(self) -> str:
        """`entity/project/collection:version`."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def version(self) -> str:
        """`v<N>` in the collection it is seen from."""
        self._logged("version")
        return self._version

    @property
    def collection(self) -> ArtifactCollection:
        """The collection it is seen from."""
        self._logged("collection")
        return self._collection(self.entity, self.project, self.name)

    def _collection(self, entity: str, project: str, name: str) -> ArtifactCollection:
        from mirror.api.artifacts import ArtifactCollection

        return ArtifactCollection(self._service_api, entity, project, name.split(":")[0], self.type)

    @property
    def source_entity(self) -> str:
        """The entity it was logged to."""
        self._logged("source_entity")
        return self._source_entity

    @property
    def source_project(self) -> str:
        """The project it was logged to."""
        self._logged("source_project")
        return self._source_project

    @property
    def source_name(self) -> str:
        """`collection:version` where it was logged."""
        return self._source_name

    @property
    def source_qualified_name(self) -> str:
        """`entity/project/collection:version` where it was logged."""
        return f"{self.source_entity}/{self.source_project}/{self.source_name}"

    @property
    def source_version(self) -> str:
        """`v<N>` in the collection it was logged to."""
        self._logged("source_version")
        return self._source_version

    @property
    def source_collection(self) -> ArtifactCollection:
        """The collection it was logged to."""
        self._logged("source_collection")
        return self._collection(self.source_entity, self.source_project, self.source_name)

    @property
    def is_link(self) -> bool:
        """Whether the collection it is seen from is another than it was logged to."""
        return self._is_link

    @property
    def linked_artifacts(self) -> list[Artifact]:
        """The links of the version, at most 500; [] for a link. Raises ValueError where none is told."""
        self._logged("linked_artifacts")
        if self.is_link:
            return []
        found = self._service_api.artifact_node("ApiLinkedArtifacts", id=self.id)
        edges = (found or {}).get("edges") or []
        if not edges:
            raise ValueError("Unable to find any artifact memberships for artifact")
        return [
            self._link(edge["node"])
            for edge in edges
            if (edge["node"]["artifactCollection"] or {}).get("__typename") == "ArtifactPortfolio"
        ]

    def _link(self, member: Mapping[str, Any]) -> Artifact:
        collection = member["artifactCollection"]
        project = collection.get("project")
        if not project:
            raise ValueError("Unable to fetch fields for linked artifact")
        name = f"{collection['name']}:v{member['versionIndex']}"
        made = Artifact._of(
            self._service_api, project["entity"]["name"], project["name"], name, self._node, member
        )
        made._is_link = True
        names = [one["alias"] for one in member["aliases"]]  # here wandb leaves v<N> in
        made._aliases = list(dict.fromkeys([*names, f"v{member['versionIndex']}"]))
        made._linked_at = member["createdAt"]
        return made

    @property
    def source_artifact(self) -> Artifact:
        """The version as it was logged; itself unless it is a link. Raises ValueError."""
        self._logged("source_artifact")
        if not self.is_link:
            return self
        if self._source_artifact is None:
            place = (self.source_entity, self.source_project, self.source_name)
            try:
                self._source_artifact = by_name(self._service_api, *place)
            except ValueError as error:
                raise ValueError(
                    f"Unable to fetch source artifact for linked artifact {self.name}"
                ) from error
        return self._source_artifact

    @property
    def url(self) -> str:
        """The address of the version's page."""
        self._logged("url")
        base, collection = self._service_api.app_url, self.collection.name
        place = quote(f"{self.entity}/{self.project}/{collection}", safe="")
        view = f"selectionPath={place}&view=membership&version={self._version}"
        if self.is_link and is_registry(self.project):
            found = self._service_api.artifact_node("ApiEntityOrganizations", entity=self.entity)
            organization = (found or {}).get("organization")
            if not organization:
                return ""
            registry = registry_name(self.project)
            return f"{base}orgs/{organization['name']}/registry/{registry}?{view}"
        if self.is_link and (self.type == "model" or self.project == "model-registry"):
            return f"{base}{self.entity}/registry/model?{view}"
        path = f"{quote(self.type)}/{quote(collection)}/{self._version}"
        return f"{base}{self.entity}/{self.project}/artifacts/{path}"

    # -------------------------------------------------------------- what it is

    @property
    def type(self) -> str:
        """The name of its artifact type."""
        return str(self._node["artifactType"]["name"])

    @property
    def state(self) -> str:
        """PENDING, COMMITTED or DELETED."""
        return str(self._node["state"])

    @property
    def description(self) -> str | None:
        """What somebody wrote about the version."""
        return self._node.get("description")

    @description.setter
    def description(self, description: str | None) -> None:
        self._refuse("description = …")

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata, at most 100 keys; NaN is None."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: dict[str, Any]) -> None:
        self._refuse("metadata = …")

    @property
    def ttl(self) -> timedelta | None:
        """How long the version lives from its creation; None: for ever."""
        seconds = int(self._node.get("ttlDurationSeconds") or 0)
        if self.is_draft() and self._node.get("ttlIsInherited"):
            raise ArtifactNotLoggedError("ttl")
        return timedelta(seconds=seconds) if seconds > 0 else None

    @ttl.setter
    def ttl(self, ttl: timedelta | None) -> None:
        self._refuse("ttl = …")

    @property
    def aliases(self) -> list[str]:
        """The aliases in the collection it is seen from, without `v<N>`."""
        self._logged("aliases")
        return self._aliases

    @aliases.setter
    def aliases(self, aliases: list[str]) -> None:
        self._refuse("aliases = …")

    @property
    def tags(self) -> list[str]:
        """The tags of the version."""
        self._logged("tags")
        return self._tags

    @tags.setter
    def tags(self, tags: list[str]) -> None:
        self._refuse("tags = …")

    @property
    def distributed_id(self) -> str | None:
        """None: only drafts have one."""
        return None

    @distributed_id.setter
    def distributed_id(self, distributed_id: str | None) -> None:
        self._refuse("distributed_id = …")

    @property
    def incremental(self) -> bool:
        """False: only drafts are."""
        return False

    @property
    def use_as(self) -> str | None:
        """Deprecated: None."""
        warn("The use_as property of Artifact is deprecated.")
        return None

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return str(self._node["digest"])

    @property
    def digest_algorithm(self) -> ArtifactDigestAlgorithm:
        """What the digests are made with; MD5 where the server does not say."""
        return ArtifactDigestAlgorithm(self._node.get("digestAlgorithm") or "MANIFEST_MD5")

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return int(self._node["size"])

    @property
    def commit_hash(self) -> str:
        """A short hash of the commit."""
        self._logged("commit_hash")
        return str(self._node["commitHash"])

    @property
    def file_count(self) -> int:
        """How many files there are, references included."""
        self._logged("file_count")
        return int(self._node["fileCount"])

    @property
    def created_at(self) -> str:
        """When it was made, as the server writes it."""
        self._logged("created_at")
        return str(self._node["createdAt"])

    @property
    def updated_at(self) -> str:
        """When it was last edited, else made."""
        self._logged("updated_at")
        return str(self._node.get("updatedAt") or self._node["createdAt"])

    @property
    def linked_at(self) -> str | None:
        """When it was linked to the collection it is seen from; None unless it is a link."""
        self._logged("linked_at")
        return self._linked_at

    @property
    def history_step(self) -> int | None:
        """The last step its run had logged before it; None where it has none."""
        self._logged("history_step")
        step = self._node.get("historyStep")
        return None if step is None else max(0, int(step) - 1)

    def is_draft(self) -> bool:
        """Whether the version is still being logged."""
        return bool(self._node["state"] == "PENDING")

    def wait(self, timeout: int | None = None) -> Artifact:
        """Return the artifact: what the mirror shows is logged. Raises for one that is not."""
        self._logged("wait")
        return self

    def finalize(self) -> None:
        """Do nothing: a logged version cannot be changed."""

    def json_encode(self) -> dict[str, Any]:
        """Return how other objects refer to this one."""
        self._logged("json_encode")
        return {
            "_type": "artifactVersion",
            "_version": "v0",
            "id": self.id,
            "version": self.source_version,
            "sequenceName": self.source_name.split(":")[0],
            "usedAs": None,
        }

    # -------------------------------------------------------------- what it holds

    @property
    def manifest(self) -> ArtifactManifest:
        """The manifest, read once and kept. Raises NotMirrored offline when it was never read."""
        if self._manifest is None:
            self._manifest = self._service_api.artifact_manifest(str(self._node["id"]))
            self._manifest.digest_algorithm = self.digest_algorithm
        return self._manifest

    def get_path(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """Deprecated: use `get_entry`."""
        warn("Artifact.get_path(name) is deprecated, use Artifact.get_entry(name) instead.")
        return self.get_entry(name)

    def get_entry(self, name: str | os.PathLike[str]) -> ArtifactManifestEntry:
        """Return the entry of a path. Raises KeyError where there is none."""
        self._logged("get_entry")
        path = logical(name)
        entries = self.manifest.entries
        entry = entries.get(path) or next(
            (entries[spelled] for spelled in _suffixed(path) if spelled in entries), None
        )
        if entry is None:
            raise KeyError(f"Path not contained in artifact: {path}")
        entry._parent_artifact = self
        return entry

    def __getitem__(self, name: str) -> Any:
        """Refused: objects such as tables are made by wandb. Raises UnsupportedError; None for none."""
        return self.get(name)

    def get(self, name: str) -> Any:
        """Return None for a name without an object; refused for others. Raises UnsupportedError."""
        self._logged("get")
        if any(spelled in self.manifest.entries for spelled in _suffixed(logical(name))):
            self._service_api.refuse(
                "Artifact.get", "objects are made by wandb; download the entry, or use wandb.Api()"
            )
        return None

    def get_added_local_path_name(self, local_path: str) -> str | None:
        """Return None: nothing was added here."""
        return None

    def download(
        self,
        root: str | os.PathLike[str] | None = None,
        allow_missing_references: bool = False,
        skip_cache: bool | None = None,
        path_prefix: str | os.PathLike[str] | None = None,
        multipart: bool | None = None,
    ) -> str:
        """Put the files below a folder and return it. Contents that are kept cost no request.

        Args:
            root: the folder; None: ./artifacts/<name>.
            allow_missing_references: leave out references that cannot be fetched.
            skip_cache: neither use nor fill the store of contents.
            path_prefix: only entries whose path starts so.
            multipart: without effect. Files come side by side, each as one stream that goes on where it
                broke; a file of any size is never fetched in several parts at once.

        References to files of other versions are fetched like files. Those that lead elsewhere (s3, gs,
        http …) are recorded in the manifest and not fetched; `get_entry(path).download()` fetches http,
        https and file. Raises NotMirrored offline for contents that are not kept, NotFound for a reference
        to a file that the other version does not have, UnsafeName, ContentError (also where the folder
        has a folder in the place of a file, or a file in that of a folder), RemoteError.
        """
        self._logged("download")
        folder = str(root or self._default_root())
        prefix = "" if path_prefix is None else os.fspath(path_prefix)
        self._place(
            self.manifest._blobs(prefix),
            folder,
            skip_cache=bool(skip_cache),
            allow_missing_references=allow_missing_references,
        )
        return folder

    def _place(
        self,
        entries: Sequence[Entry],
        root: str,
        *,
        skip_cache: bool = False,
        references: bool = False,
        allow_missing_references: bool = False,
    ) -> None:
        done = self._service_api.download_artifact(
            str(self._node["id"]),
            entries,
            Path(root),
            skip_cache=skip_cache,
            references=references,
            allow_missing_references=allow_missing_references,
            fallback=self._address_by_key,
        )
        left_out = [each for each in done.skipped if each.entry.ref is None]
        if left_out:
            more = f" (and {len(left_out) - 1:,} more)" if len(left_out) > 1 else ""
            raise ContentError(f"{left_out[0].entry.path!r} in {root}: {left_out[0].reason}{more}")

    def _address_by_key(self, entry: Entry) -> str:
        collection = self.name.split(":")[0]
        return self.manifest._address_by_key(entry, self.entity, self.project, collection)

    def _default_root(self, include_version: bool = True) -> str:
        name = self.source_name if include_version else self.source_name.split(":")[0]
        return str(Path("artifacts").absolute() / name)

    def checkout(self, root: str | None = None) -> str:
        """Make a folder hold exactly the artifact's files: others in it are deleted. Return it."""
        self._logged("checkout")
        folder = root or self._default_root(include_version=False)
        for path, name in files_below(folder):
            if name not in self.manifest.entries:
                Path(path).unlink()
        return self.download(root=folder)

    def verify(self, root: str | None = None) -> None:
        """Compare a folder with the manifest by digest; references are not looked at.

        Raises ValueError for a file that is too much or another, FileNotFoundError for one that lacks.
        """
        from mirror.blobs import digest_of

        self._logged("verify")
        folder = root or self._default_root()
        entries = self.manifest.entries
        for path, name in files_below(folder):
            if name not in entries:
                raise ValueError(f"Found file {path} which is not a member of artifact {self.name}")
        references = [entry for entry in entries.values() if entry.ref is not None]
        for entry in entries.values():
            if entry.ref is None:
                found = digest_of(os.path.join(folder, entry.path), entry.as_blob().algorithm)  # noqa: PTH118 - the text callers see
                if found != entry.digest:
                    raise ValueError(f"Digest mismatch for file: {entry.path}")
        if references:
            warn(f"skipped verification of {len(references)} refs")

    def file(self, root: str | None = None) -> str:
        """Download the artifact's one file and return its path. Raises ValueError for several."""
        self._logged("file")
        if len(self.manifest.entries) > 1:
            raise ValueError(
                "This artifact contains more than one file, call `.download()` to get "
                'all files or call .get_entry("filename").download()'
            )
        if root is None:
            root = os.path.join(".", "artifacts", self.name)  # noqa: PTH118 - the text callers see
        return self.get_entry(next(iter(self.manifest.entries))).download(root)

    def files(
        self, names: list[str] | None = None, per_page: int = 50, start: str | None = None
    ) -> ArtifactFiles:
        """Return the stored files, a lazy listing; `names` chooses by path."""
        from mirror.api.artifacts import ArtifactFiles

        self._logged("files")
        return ArtifactFiles(self._service_api, self, names, per_page, start=start)

    # -------------------------------------------------------------- where it comes from and goes

    def used_by(self) -> list[Run]:
        """Return the runs that used the version."""
        self._logged("used_by")
        found = self._service_api.artifact_node("ApiUsedBy", id=self.id)
        nodes = [edge["node"] for edge in (found or {}).get("edges") or []]
        return [self._run(node) for node in nodes if node.get("project")]

    def logged_by(self) -> Run | None:
        """Return the run that logged the version; None where it was no run, or is not shown."""
        self._logged("logged_by")
        node = self._service_api.artifact_node("ApiCreatedBy", id=self.id)
        if not node or node.get("__typename") != "Run" or not node.get("project"):
            return None
        return self._run(node)

    def _run(self, node: Mapping[str, Any]) -> Run:
        from mirror.api.runs import Run

        project = node["project"]
        return Run(self._service_api, project["entity"]["name"], project["name"], node["name"])

    # -------------------------------------------------------------- refused: everything that writes

    def _refuse(self, member: str) -> NoReturn:
        self._service_api.refuse_write(f"Artifact.{member}")

    def new_draft(self) -> Artifact:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("new_draft")

    def save(self, project: str | None = None, settings: Any = None) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("save")

    def __setitem__(self, name: str, item: Any) -> ArtifactManifestEntry:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("__setitem__")

    def new_file(
        self,
        name: str,
        mode: str = "x",
        encoding: str | None = None,
        policy: Literal["mutable", "immutable"] = "mutable",
    ) -> AbstractContextManager[IO[Any]]:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("new_file")

    def add_file(
        self,
        local_path: str,
        name: str | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: Literal["mutable", "immutable"] | None = "mutable",
        overwrite: bool = False,
    ) -> ArtifactManifestEntry:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("add_file")

    def add_dir(
        self,
        local_path: str,
        name: str | None = None,
        skip_cache: bool | None = False,
        policy: Literal["mutable", "immutable"] | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("add_dir")

    def add_reference(
        self,
        uri: Any,
        name: Any = None,
        checksum: bool = True,
        max_objects: int | None = None,
    ) -> Sequence[ArtifactManifestEntry]:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("add_reference")

    def add(self, obj: Any, name: Any, overwrite: bool = False) -> ArtifactManifestEntry:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("add")

    def remove(self, item: Any) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("remove")

    def delete(self, delete_aliases: bool = False) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("delete")

    def link(self, target_path: str, aliases: Iterable[str] | None = None) -> Artifact:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("link")

    def unlink(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._refuse("unlink")


_OBJECTS = (
    "audio-file", "bokeh-file", "classes", "file", "html-file", "image-file", "joined-table",
    "molecule-file", "object3D-file", "partitioned-table", "table", "video-file",
)  # fmt: skip
"""Kinds of objects that an artifact holds as `<name>.<kind>.json`."""


def _suffixed(name: str) -> list[str]:
    return [f"{name}.{kind}.json" for kind in _OBJECTS] + (
        [name]
        if name.endswith(".json") and any(name.endswith(f".{kind}.json") for kind in _OBJECTS)
        else []
    )


def by_name(source: Source, entity: str, project: str, name: str) -> Artifact:
    """Return the version that `collection:alias` names in a project. Raises ValueError for none."""
    there, member = source.membership(entity, project, name)
    if not there:
        raise ValueError(f"project {project!r} not found under entity {entity!r}")
    if member is None:
        error = ValueError(f"artifact membership {name!r} not found in {f'{entity}/{project}'!r}")
        if note := source.deletion_told(entity, project, name):
            error.add_note(note)
        raise error
    return of_membership(source, entity, project, name, member)


def of_membership(
    source: Source, entity: str, project: str, name: str, member: Mapping[str, Any]
) -> Artifact:
    """Make a version from its membership; entity and project are those the server answers."""
    node = member.get("artifact")
    if "artifactCollection" not in member:  # an older server answers the version alone
        return Artifact._of(source, entity, project, name, member["artifact"])
    collection = member.get("artifactCollection") or {}
    home = collection.get("project")
    if not home:
        raise ValueError("Missing artifact collection project in GraphQL response")
    if is_registry(home["name"]) and project == "model-registry":
        warn(
            f"This model registry has been migrated: {collection['name']!r} was found in "
            f"'{home['name']}/{collection['name']}'"
        )
    if not node:
        raise ValueError(f"Artifact '{entity}/{project}/{name}' not found in response")
    return Artifact._of(source, home["entity"]["name"], home["name"], name, node, member)


def download_version(
    artifact: Artifact,
    root: Path,
    *,
    prefix: str = "",
    references: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> Downloaded:
    """Put the files of a version whose path starts so below a folder, and return what was done.

    `references` fetches those to http, https and file, too, and leaves out the others. What
    `Artifact.download` refuses to go without is in `skipped` here. Raises MirrorError.
    """
    return artifact._service_api.download_artifact(
        str(artifact._node["id"]),
        artifact.manifest._blobs(prefix),
        root,
        references=references,
        allow_missing_references=references,
        fallback=artifact._address_by_key,
        on_progress=on_progress,
    )
