"""Artifacts as plain objects: types, collections, memberships, versions, entries and manifests.

Their attributes are the schema's fields in snake_case. They hold no behaviour beyond derived
fields; `artifact_world.py` changes them, `artifacts.py` shows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mirror.sandbox.ids import global_id
from mirror.sandbox.objects import Project, Run, User


@dataclass(slots=True, eq=False)
class ArtifactType:
    number: int
    project: Project
    name: str
    created_at: str
    description: str | None = None

    @property
    def id(self) -> str:
        return global_id("ArtifactType", self.number)


@dataclass(slots=True, eq=False)
class Collection:
    number: int
    kind: str  # ArtifactSequence or ArtifactPortfolio
    project: Project
    type: ArtifactType
    name: str
    created_at: str
    description: str | None = None
    state: str = "READY"
    updated_at: str | None = None
    tags: list[str] = field(default_factory=list)
    members: list[Membership] = field(default_factory=list)
    "What it shows, in the order of the version index."
    logged: list[Artifact] = field(default_factory=list)
    "Everything ever logged to a sequence, also what is pending or deleted."
    holders: dict[str, Membership] = field(default_factory=dict)
    "Alias → who has it."
    next_index: int = 0

    @property
    def id(self) -> str:
        return global_id("ArtifactCollection", self.number)

    @property
    def is_sequence(self) -> bool:
        return self.kind == "ArtifactSequence"

    @property
    def default_artifact_type(self) -> ArtifactType:
        return self.type

    @property
    def latest_artifact(self) -> Artifact | None:
        return self.members[-1].artifact if self.members else None

    @property
    def path(self) -> str:
        return f"{self.project.path}/{self.name}"

    def member(self, alias: str) -> Membership | None:
        """Return the member that an alias, "v3", a digest or a commit hash names."""
        if alias in self.holders:
            return self.holders[alias]
        if alias[:1] == "v" and alias[1:].isdecimal():
            index = int(alias[1:])
            return next((one for one in self.members if one.version_index == index), None)
        for one in reversed(self.members):
            if alias in (one.artifact.digest, one.artifact.commit_hash):
                return one
        return None


@dataclass(slots=True, eq=False)
class Membership:
    number: int
    collection: Collection
    artifact: Artifact
    version_index: int
    created_at: str
    aliases: list[str] = field(default_factory=list)
    "Without v<N>; `Collection.holders` says the same."

    @property
    def id(self) -> str:
        return global_id("ArtifactCollectionMembership", self.number)

    @property
    def artifact_collection(self) -> Collection:
        return self.collection

    @property
    def commit_hash(self) -> str:
        return self.artifact.commit_hash


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a reference of a manifest; `digest` is base64 of its MD5 (or XXH128)."""

    path: str
    digest: str
    size: int | None = None
    ref: str | None = None
    birth_id: str | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(slots=True, eq=False)
class Manifest:
    number: int
    artifact: Artifact
    digest: str
    created_at: str
    type: str = "FULL"
    base_id: str | None = None
    "The version that an INCREMENTAL one adds to."

    @property
    def id(self) -> str:
        return global_id("ArtifactManifest", self.number)

    @property
    def path(self) -> str:
        return f"manifests/{self.number}"


@dataclass(slots=True, eq=False)
class Artifact:
    number: int
    sequence: Collection
    digest: str
    created_at: str
    client_id: str | None = None
    description: str | None = None
    metadata: str | None = None
    state: str = "PENDING"
    digest_algorithm: str = "MANIFEST_MD5"
    history_step: int | None = None
    ttl_duration_seconds: int = -1
    updated_at: str | None = None
    created_by: Run | User | None = None
    used_by: dict[Run, list[str]] = field(default_factory=dict)
    "Run → the names it uses it as."
    tags: list[str] = field(default_factory=list)
    wanted_aliases: list[str] = field(default_factory=list)
    "What it is to be called once it is committed."
    memberships: list[Membership] = field(default_factory=list)
    "Its place in its own sequence first, then its links."
    index: int | None = None
    "Its version index, which it keeps when it is deleted."
    entries: Sequence[Entry] = ()
    size: int = 0
    file_count: int = 0
    manifest: Manifest | None = None

    @property
    def id(self) -> str:
        return global_id("Artifact", self.number)

    @property
    def type(self) -> ArtifactType:
        return self.sequence.type

    @property
    def membership(self) -> Membership | None:
        """Its place in its own sequence; None while it is pending, and once it is deleted."""
        first = self.memberships[0] if self.memberships else None
        return first if first is not None and first.collection is self.sequence else None

    @property
    def commit_hash(self) -> str:
        return hashlib.sha1(self.id.encode(), usedforsecurity=False).hexdigest()[:20]

    @property
    def path(self) -> str:
        return f"{self.sequence.path}:v{self.index}"

    def made_up(self, hexdigest: str) -> bytes | None:  # noqa: ARG002 - a subclass looks
        """Return a file of this digest that is stored nowhere; only generated artifacts have any."""
        return None


@dataclass(slots=True, eq=False)
class Shelf:
    """The artifacts of a project."""

    types: dict[str, ArtifactType] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)


def shelf(project: Project) -> Shelf:
    if project.shelf is None:
        project.shelf = Shelf()
    assert isinstance(project.shelf, Shelf)
    return project.shelf
