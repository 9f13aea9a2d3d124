"""The artifacts of a world and how they change: `world.artifacts`.

Tests and the demo change them through the methods here, clients through `artifact_writes.py`,
which calls the same. Every path is "entity/project/…": a collection's "team/vision/data", a
version's "team/vision/data:v3". Names of registries are `Registries`' matter.
"""

from __future__ import annotations

import hashlib
import json
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mirror.sandbox.artifact_objects import (
    Artifact,
    ArtifactType,
    Collection,
    Entry,
    Manifest,
    Membership,
    shelf,
)
from mirror.sandbox.contents import Blob, Contents, hex_of, md5_of
from mirror.sandbox.ids import global_id
from mirror.sandbox.objects import Project, Run

if TYPE_CHECKING:
    from mirror.sandbox.world import World

KINDS: Final = {"sequence": "ArtifactSequence", "portfolio": "ArtifactPortfolio"}
PREFIX: Final = "wandb-registry-"
EDITABLE: Final = frozenset({"description", "metadata", "ttl_duration_seconds", "tags"})


class ArtifactWorld:
    """Artifacts, their files, and the registries of organizations."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.contents = Contents()
        self.by_id: dict[str, Artifact] = {}
        self.by_client_id: dict[str, Artifact] = {}
        self.collections_by_id: dict[str, Collection] = {}
        self.collections_by_client_id: dict[str, Collection] = {}
        self.manifests_by_id: dict[str, Manifest] = {}
        self.outputs: dict[Run, list[Artifact]] = {}
        self.inputs: dict[Run, list[Artifact]] = {}
        self.counts_memberships = True
        "Whether listings of memberships say how many there are."
        self.redirects = False
        "Whether the paths under /artifacts and /artifactsV2 send on to a signed URL."

    # ------------------------------------------------------------------------- looking up

    def collection(self, path: str) -> Collection:
        """Return the collection "entity/project/name". Raises KeyError."""
        project, _, name = path.rpartition("/")
        return shelf(self._world.projects[project]).collections[name]

    def find(self, path: str) -> Membership:
        """Return the member "entity/project/name:alias"; no alias means latest. Raises KeyError."""
        name, _, alias = path.partition(":")
        found = self.collection(name).member(alias or "latest")
        if found is None:
            raise KeyError(f"there is no {path!r}")
        return found

    def version(self, which: Artifact | str) -> Artifact:
        """Return an artifact, given it, its global id, or the path of a version."""
        if isinstance(which, Artifact):
            return which
        return self.by_id[which] if which in self.by_id else self.find(which).artifact

    # ------------------------------------------------------------------------- types, collections

    def add_type(self, project: Project, name: str, created_at: str | None = None) -> ArtifactType:
        """Return a project's artifact type of that name, made if need be."""
        types = shelf(project).types
        if name not in types:
            world = self._world
            types[name] = ArtifactType(world.number(), project, name, created_at or world.stamp())
        return types[name]

    def add_collection(
        self,
        path: str,
        type: str,
        kind: str = "sequence",
        *,
        created_at: str | None = None,
        **fields: Any,
    ) -> Collection:
        """Add a collection: a "sequence", which versions are logged to, or a "portfolio" of links.

        `fields` are `description` and `tags`. Raises ValueError if there is one of that name.
        """
        with self._world.lock:
            project_path, _, name = path.rpartition("/")
            project = self._world.projects[project_path]
            found = shelf(project).collections
            if name in found:
                raise ValueError(f"there is a collection {path!r} already")
            now = created_at or self._world.stamp()
            made = Collection(
                self._world.number(), KINDS[kind], project, self.add_type(project, type, now),
                name, now, updated_at=now, **fields,
            )  # fmt: skip
            found[name] = self.collections_by_id[made.id] = made
            return made

    def edit_collection(
        self,
        collection: Collection | str,
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        type: str | None = None,
    ) -> Collection:
        """Change a collection; its `updatedAt` moves. Raises ValueError if the name is taken."""
        with self._world.lock:
            one = self.collection(collection) if isinstance(collection, str) else collection
            found = shelf(one.project).collections
            if name is not None and name != one.name:
                if name in found:
                    raise ValueError(f"there is a collection {name!r} already")
                found[name] = found.pop(one.name)
                one.name = name
            if description is not None:
                one.description = description
            if tags is not None:
                one.tags = list(dict.fromkeys(tags))
            if type is not None:
                one.type = self.add_type(one.project, type)
            one.updated_at = self._world.stamp()
            return one

    def delete_collection(self, collection: Collection | str) -> Collection:
        """Delete a collection: a sequence with its versions, a portfolio with its links only."""
        with self._world.lock:
            one = self.collection(collection) if isinstance(collection, str) else collection
            for member in list(one.members):
                if one.is_sequence:
                    self.delete(member.artifact)
                else:
                    self.leave(member)
            del shelf(one.project).collections[one.name]
            one.state, one.updated_at = "DELETED", self._world.stamp()
            return one

    # ------------------------------------------------------------------------- versions

    def log(
        self,
        path: str,
        type: str = "dataset",
        files: Mapping[str, str | bytes] | None = None,
        *,
        references: Mapping[str, str] | None = None,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        metadata_text: str | None = None,
        run: str | Run | None = None,
        user: str | None = None,
        created_at: str | None = None,
        pending: bool = False,
        **fields: Any,
    ) -> Artifact:
        """Log a version to the sequence "entity/project/name", made if need be, and return it.

        `files` are contents by name, `references` URIs by name. A file that an older version has
        with the same name and digest is not kept again: its entry names where it was born.
        `run` is "entity/project/run". Metadata is a plain value, or the very text that is served.
        `fields` are those of `Artifact`: `description`, `history_step`, `ttl_duration_seconds` …
        A `pending` version waits for `commit`.
        """
        with self._world.lock:
            sequence = self.sequence(path, type, created_at)
            logged_by = self.run(run) if isinstance(run, str) else run
            creator = self._world.users[user] if user is not None else logged_by
            if metadata is not None:
                metadata_text = json.dumps(metadata, ensure_ascii=False)
            artifact = self.add(
                Artifact(
                    self._world.number(), sequence, "", created_at or self._world.stamp(),
                    created_by=creator, metadata=metadata_text, tags=list(dict.fromkeys(tags)),
                    wanted_aliases=["latest", *aliases], **fields,
                )
            )  # fmt: skip
            if logged_by is not None and creator is not logged_by:
                self.outputs.setdefault(logged_by, []).append(artifact)
            entries = self.keep(artifact, files or {})
            entries += [Entry(name, ref, ref=ref) for name, ref in (references or {}).items()]
            self.fill(artifact, sorted(entries, key=lambda entry: entry.path))
            artifact.digest = digest_of(artifact.entries)
            assert artifact.manifest is not None
            artifact.manifest.digest = md5_of(manifest_text(artifact).encode())
            return artifact if pending else self.commit(artifact, at=created_at)

    def sequence(self, path: str, type: str, created_at: str | None = None) -> Collection:
        """Return the sequence at a path, made if need be."""
        try:
            return self.collection(path)
        except KeyError:
            return self.add_collection(path, type, created_at=created_at)

    def run(self, path: str) -> Run:
        project, _, name = path.rpartition("/")
        return self._world.run(project, name)

    def add(self, artifact: Artifact) -> Artifact:
        """Make an artifact known, and give it an empty manifest."""
        self.by_id[artifact.id] = artifact
        if artifact.client_id is not None:
            self.by_client_id[artifact.client_id] = artifact
        artifact.sequence.logged.append(artifact)
        if isinstance(artifact.created_by, Run):
            self.outputs.setdefault(artifact.created_by, []).append(artifact)
        self.add_manifest(artifact)
        return artifact

    def add_manifest(self, artifact: Artifact, digest: str = "", **fields: Any) -> Manifest:
        """Give an artifact a manifest in place of the one it has."""
        if artifact.manifest is not None:
            del self.manifests_by_id[artifact.manifest.id]
        made = Manifest(self._world.number(), artifact, digest, artifact.created_at, **fields)
        self.manifests_by_id[made.id] = artifact.manifest = made
        return made

    def keep(self, artifact: Artifact, files: Mapping[str, str | bytes]) -> list[Entry]:
        """Store files and return their entries; what an older version has is not stored again."""
        entries = []
        for name, content in files.items():
            body = content.encode() if isinstance(content, str) else content
            digest = md5_of(body)
            birth = self.birth(artifact, name, digest)
            if birth is artifact:
                path = storage_path(artifact, digest)
                self.contents.put(path, body, artifact.created_at)
            entries.append(Entry(name, digest, len(body), birth_id=birth.id))
        return entries

    def birth(self, artifact: Artifact, name: str, digest: str) -> Artifact:
        """Return the version whose storage holds a file: the first of its sequence to have it."""
        last = artifact.sequence.latest_artifact
        for entry in last.entries if last is not None else ():
            if entry.path == name and entry.digest == digest and entry.ref is None:
                found = self.by_id.get(entry.birth_id or "")
                if found is not None and self.blob(storage_path(found, digest)) is not None:
                    return found
        return artifact

    def fill(self, artifact: Artifact, entries: Sequence[Entry]) -> None:
        """Give an artifact its entries, and the sums that follow from them."""
        artifact.entries = entries
        artifact.size = sum(entry.size or 0 for entry in entries)
        artifact.file_count = len(entries)

    def commit(self, artifact: Artifact, at: str | None = None) -> Artifact:
        """Make a pending artifact the next version of its sequence."""
        with self._world.lock:
            artifact.state = "COMMITTED"
            artifact.updated_at = at or self._world.stamp()
            self.join(artifact.sequence, artifact, artifact.wanted_aliases, at)
            return artifact

    def edit(self, which: Artifact | str, **changes: Any) -> Artifact:
        """Change description, metadata (a text), tags or ttl; `updatedAt` moves."""
        with self._world.lock:
            artifact = self.version(which)
            unknown = changes.keys() - EDITABLE
            if unknown:
                raise TypeError(f"an artifact has no {', '.join(sorted(unknown))} to edit")
            for name, value in changes.items():
                setattr(artifact, name, value)
            artifact.updated_at = self._world.stamp()
            return artifact

    def delete(self, which: Artifact | str) -> Artifact:
        """Delete a version: its memberships and the files no other version needs go with it.

        It stays reachable by id, and in unfiltered listings of its sequence.
        """
        with self._world.lock:
            artifact = self.version(which)
            for member in list(artifact.memberships):
                self.leave(member)
            artifact.state, artifact.updated_at = "DELETED", self._world.stamp()
            return artifact

    def undelete(self, which: Artifact | str) -> Artifact:
        """Bring a deleted version back, without links, and `latest` only if it is the newest."""
        with self._world.lock:
            artifact = self.version(which)
            artifact.state, artifact.updated_at = "COMMITTED", self._world.stamp()
            member = self.join(artifact.sequence, artifact, (), index=artifact.index)
            if member is artifact.sequence.members[-1]:
                self.give(member, ["latest"])
            return artifact

    def use(self, which: Artifact | str, run: Run | str, used_as: str | None = None) -> Artifact:
        """Make an artifact an input of a run."""
        with self._world.lock:
            artifact = self.version(which)
            run = self.run(run) if isinstance(run, str) else run
            if run not in artifact.used_by:
                artifact.used_by[run] = []
                self.inputs.setdefault(run, []).append(artifact)
            if used_as is not None and used_as not in artifact.used_by[run]:
                artifact.used_by[run].append(used_as)
            return artifact

    # ------------------------------------------------------------------------- memberships

    def link(
        self,
        which: Artifact | str,
        target: str,
        aliases: Iterable[str] = (),
        *,
        at: str | None = None,
    ) -> Membership:
        """Link a version into the portfolio "entity/project/name", made if need be.

        `at` is the link time. The artifact's own `updatedAt` does not move. One that is linked
        there already keeps its place and gets the aliases.
        """
        with self._world.lock:
            artifact = self.version(which)
            try:
                portfolio = self.collection(target)
            except KeyError:
                portfolio = self.add_collection(
                    target, artifact.type.name, "portfolio", created_at=at
                )
            here = any(one.collection is portfolio for one in artifact.memberships)
            return self.join(portfolio, artifact, [*([] if here else ["latest"]), *aliases], at)

    def unlink(self, which: Artifact | str, target: Collection | str) -> Membership:
        """Take a version out of a portfolio. Raises KeyError if it is not there."""
        with self._world.lock:
            artifact = self.version(which)
            portfolio = self.collection(target) if isinstance(target, str) else target
            for member in artifact.memberships:
                if member.collection is portfolio:
                    return self.leave(member)
            raise KeyError(f"{artifact.path} is not linked to {portfolio.path}")

    def join(
        self,
        collection: Collection,
        artifact: Artifact,
        aliases: Iterable[str],
        at: str | None = None,
        *,
        index: int | None = None,
    ) -> Membership:
        """Make an artifact a member, at the next index unless it had one, and give it aliases."""
        member = next((one for one in artifact.memberships if one.collection is collection), None)
        if member is None:
            if index is None:
                index, collection.next_index = collection.next_index, collection.next_index + 1
            now = at or self._world.stamp()
            member = Membership(self._world.number(), collection, artifact, index, now)
            insort(collection.members, member, key=lambda one: one.version_index)
            at_front = collection is artifact.sequence
            artifact.memberships.insert(0 if at_front else len(artifact.memberships), member)
            if at_front:
                artifact.index = index
        self.give(member, aliases)
        return member

    def leave(self, member: Membership) -> Membership:
        """End a membership; its aliases go, but `latest` passes to the newest that is left."""
        was_latest = "latest" in member.aliases
        self.take(member, member.aliases)
        member.collection.members.remove(member)
        member.artifact.memberships.remove(member)
        if was_latest and member.collection.members:
            self.give(member.collection.members[-1], ["latest"])
        return member

    def give(self, member: Membership | str, aliases: Iterable[str]) -> None:
        """Give aliases to a member, taking them from those that have them.

        No `updatedAt` moves: not the version's, not the collection's.
        """
        with self._world.lock:
            member = self.find(member) if isinstance(member, str) else member
            for alias in dict.fromkeys(aliases):
                holder = member.collection.holders.get(alias)
                if holder is not None:
                    holder.aliases.remove(alias)
                member.collection.holders[alias] = member
                member.aliases.append(alias)

    def take(self, member: Membership | str, aliases: Iterable[str]) -> None:
        """Take aliases away from a member; those it does not have are passed over."""
        with self._world.lock:
            member = self.find(member) if isinstance(member, str) else member
            for alias in list(aliases):
                if member.collection.holders.get(alias) is member:
                    del member.collection.holders[alias]
                    member.aliases.remove(alias)

    # ------------------------------------------------------------------------- registries

    def add_registry(
        self,
        organization: str,
        name: str,
        *,
        visibility: str = "organization",
        artifact_types: Iterable[str] | None = None,
        members: Mapping[str, str] | None = None,
        team_members: Mapping[str, str] | None = None,
        description: str | None = None,
        created_at: str | None = None,
    ) -> Project:
        """Add a registry to an organization and return its project.

        `name` is without "wandb-registry-". `visibility` is "organization" or "restricted";
        `artifact_types` are the only ones it takes, None takes any. `members` and `team_members`
        are roles by username and by team.
        """
        with self._world.lock:
            owner = self._world.organizations[organization].org_entity
            assert owner is not None
            project = self._world.add_project(
                owner.name, PREFIX + name, description=description, created_at=created_at,
                access={"organization": "PRIVATE", "restricted": "RESTRICTED"}[visibility],
            )  # fmt: skip
            project.allow_all_artifact_types = artifact_types is None
            for kind in artifact_types or ():
                self.add_type(project, kind, created_at)
            for username, role in (members or {}).items():
                project.members[username] = (self._world.users[username], role)
            for team, role in (team_members or {}).items():
                project.team_members[team] = (self._world.entities[team], role)
            return project

    def migrate_model_registry(self, entity: str, registry: Project) -> None:
        """Let the legacy registry "<entity>/model-registry" lead to a registry from now on."""
        with self._world.lock:
            path = f"{entity}/model-registry"
            old = self._world.projects.get(path) or self._world.add_project(
                entity, "model-registry"
            )
            old.migrated_to = registry

    # ------------------------------------------------------------------------- contents

    def blob(self, path: str) -> Blob | None:
        """Return what lies at a storage path: stored, or made up by a generated artifact.

        Files that only deleted versions have are gone, though not for ever: see `undelete`.
        """
        root, _, rest = path.partition("/")
        number, _, hexdigest = rest.partition("/")
        if root == "manifests":
            return self._manifest_blob(path, number)
        artifact = self.by_id.get(global_id("Artifact", number))
        if artifact is None or (
            artifact.state == "DELETED" and not self.needed(artifact, hexdigest)
        ):
            return None
        found = self.contents.get(path)
        if found is not None:
            return found
        body = artifact.made_up(hexdigest)
        return None if body is None else Blob(body, len(body), md5_of(body), artifact.created_at)

    def needed(self, birth: Artifact, hexdigest: str) -> bool:
        """Tell whether another version has a file that was born with a deleted one."""
        return any(
            entry.birth_id == birth.id and hex_of(entry.digest) == hexdigest
            for member in birth.sequence.members
            for entry in member.artifact.entries
            if entry.ref is None
        )

    def _manifest_blob(self, path: str, number: str) -> Blob | None:
        manifest = self.manifests_by_id.get(global_id("ArtifactManifest", number))
        if manifest is None or manifest.artifact.state == "DELETED":
            return None
        found = self.contents.get(path)
        if found is not None or (
            not manifest.artifact.entries and manifest.artifact.state == "PENDING"
        ):
            return found
        body = manifest_text(manifest.artifact).encode()
        return Blob(body, len(body), md5_of(body), manifest.created_at, "application/json")


def storage_path(artifact: Artifact, digest: str) -> str:
    return f"artifacts/{artifact.number}/{hex_of(digest)}"


def digest_of(entries: Iterable[Entry]) -> str:
    """Return the digest of a version with such entries, as clients compute it."""
    lines = "".join(f"{e.path}:{e.digest}\n" for e in sorted(entries, key=lambda e: e.path))
    text = f"wandb-artifact-manifest-v1\n{lines}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def manifest_text(artifact: Artifact) -> str:
    """Write a manifest as the client does."""
    return json.dumps(
        {
            "version": 1, "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": {entry.path: entry_node(entry) for entry in artifact.entries},
        }
    )  # fmt: skip


def entry_node(entry: Entry) -> dict[str, Any]:
    node = {
        "digest": entry.digest, "birthArtifactID": entry.birth_id, "ref": entry.ref,
        "size": entry.size, "extra": entry.extra,
    }  # fmt: skip
    return {key: value for key, value in node.items() if value is not None}


def entries_of(text: str | bytes) -> list[Entry]:
    """Read a manifest a client wrote. Raises ValueError, KeyError or TypeError if it is none."""
    return [
        Entry(
            path, node["digest"], node.get("size"), node.get("ref"),
            node.get("birthArtifactID"), node.get("extra"),
        )
        for path, node in sorted(json.loads(text)["contents"].items())
    ]  # fmt: skip
