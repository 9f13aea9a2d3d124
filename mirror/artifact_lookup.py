"""Which version or collection a name means: `[entity/]project/collection[:alias]`, from the store.

An alias is `latest`, `v<N>`, one of the collection's own, a digest or a commit hash. A registry is
found by its project (`wandb-registry-…`), with the organization's name in the place of the entity
or with none. Used by the facade and by commands; reads the store only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from mirror import projects
from mirror.errors import Gone, NotMirrored, PathError
from mirror.jsontext import escape, names_in, unescape
from mirror.paths import REGISTRY_PREFIX
from mirror.store import tables
from mirror.store.store import Row, Store

__all__ = [
    "ArtifactPath",
    "Version",
    "find_collection",
    "find_version",
    "member_of",
    "parse",
    "project_of",
    "version_of",
]

_VERSION = re.compile(r"v(\d{1,9})")


@dataclass(frozen=True, slots=True)
class ArtifactPath:
    """A name taken apart; `alias` None: none was given, which means `latest`."""

    entity: str | None
    project: str | None
    collection: str
    alias: str | None = None

    def __str__(self) -> str:
        place = "/".join(part for part in (self.entity, self.project, self.collection) if part)
        return place if self.alias is None else f"{place}:{self.alias}"


@dataclass(frozen=True, slots=True)
class Version:
    """A version as a member of a collection: the rows of all three, as stored, and its project."""

    membership: Row
    artifact: Row
    collection: Row
    entity: str
    project: str

    @property
    def name(self) -> str:
        """`collection:v<N>`."""
        return f"{unescape(self.collection['name'])}:v{self.membership['version_index']}"

    @property
    def path(self) -> str:
        """`entity/project/collection:v<N>`."""
        return f"{self.entity}/{self.project}/{self.name}"

    @property
    def aliases(self) -> list[str]:
        """Its aliases in this collection, without `v<N>`."""
        return names_in(self.membership["aliases"])


def parse(text: str, *, entity: str | None = None, project: str | None = None) -> ArtifactPath:
    """Take a name apart, with the defaults given for what it leaves out. Raises PathError."""
    place, colon, alias = text.removeprefix("wandb-artifact://").partition(":")
    parts = place.split("/")
    if len(parts) > 3 or not all(parts) or (colon and not alias):
        raise PathError(f"artifact name {text!r}: expected [entity/]project/collection[:alias]")
    held: list[str | None] = [entity, project]
    given: list[str | None] = list(parts[:-1])
    filled = held[: 2 - len(given)] + given
    return ArtifactPath(filled[0], filled[1], parts[-1], alias or None)


def project_of(store: Store, entity: str | None, project: str) -> projects.Project:
    """Return the mirrored project, or the registry of an organization. Raises NotMirrored."""
    if project.startswith(REGISTRY_PREFIX):
        r, o = tables.registries.c, tables.organizations.c
        named = sa.select(o.org_entity).where(o.name == escape(entity or ""))
        query = sa.select(r.org_entity, r.full_name).where(
            r.full_name == escape(project), r.deleted_at.is_(None)
        )
        if entity is not None:
            query = query.where((r.org_entity == escape(entity)) | r.org_entity.in_(named))
        found = store.rows(query.limit(2))
        if len(found) == 1:
            return projects.find(
                store, unescape(found[0]["org_entity"]), unescape(found[0]["full_name"])
            )
        if len(found) > 1:
            raise PathError(
                f"{project!r} is a registry of several organizations: write organization/{project}/…"
            )
    if entity is None:
        raise PathError(f"{project!r}: no entity is given, and none is configured")
    return projects.find(store, entity, project)


def find_collection(store: Store, path: ArtifactPath) -> tuple[Row, projects.Project]:
    """Return the row of the collection a path names, and its project. Raises NotMirrored, Gone."""
    if path.project is None:
        raise PathError(f"{str(path)!r}: no project is given, and none is configured")
    project = project_of(store, path.entity, path.project)
    c = tables.artifact_collections.c
    row = store.one(
        sa.select(tables.artifact_collections)
        .where(c.project_id == project.project_id, c.name == escape(path.collection))
        .order_by(c.deleted_at.is_not(None), c.created_at_us.desc())
    )
    if row is not None and row["deleted_at"] is None:
        return row, project
    what = f"artifact collection {f'{project.path}/{path.collection}'!r}"
    synced_at = _synced_at(store, project)
    if row is not None:
        raise Gone(
            what,
            deleted_at=row["deleted_at"],
            path=project.path,
            synced_at=synced_at,
            remedy=f"`mirror artifacts {project.path}` shows which there are",
        )
    raise NotMirrored(what, path=project.path, synced_at=synced_at)


def _synced_at(store: Store, project: projects.Project) -> str | None:
    """As of when the artifacts of a project are fresh; of a registry there is nothing else."""
    s = tables.sync_state.c
    row = store.one(
        sa.select(s.synced_at).where(s.project_id == project.project_id, s.stage == "artifacts")
    )
    return str(row["synced_at"]) if row and row["synced_at"] else project.synced_at


def member_of(store: Store, collection_id: str, alias: str) -> tuple[Row, Row] | None:
    """Return membership and version that an alias, `v<N>`, digest or commit hash names, or None.

    An alias of the collection comes first, as on the server; of equal digests the newest version.
    """
    m, v, h = tables.artifact_memberships.c, tables.artifacts.c, tables.artifact_aliases.c
    here = (m.collection_id == collection_id) & m.deleted_at.is_(None)
    name = escape(alias)
    holder = sa.select(h.membership_id).where(
        h.collection_id == collection_id, h.alias == name, h.until_us.is_(None)
    )
    ways: list[Any] = [m.id.in_(holder)]
    alone = store.rows(sa.select(m.id, m.aliases).where(here, m.alone == 1))
    named = [row["id"] for row in alone if alias in names_in(row["aliases"])]
    if named:  # the history leaves out what no sync has seen
        ways.append(m.id.in_(named))
    if number := _VERSION.fullmatch(alias):
        ways.append(m.version_index == int(number[1]))
    ways.append((v.digest == name) | (m.commit_hash == name) | (v.commit_hash == name))
    for way in ways:
        found = store.one(
            sa.select(m.id.label("member"), v.id.label("version"))
            .join(tables.artifacts, v.id == m.artifact_id)
            .where(here, way)
            .order_by(m.version_index.desc())
        )
        if found is not None:
            member = store.one(
                sa.select(tables.artifact_memberships).where(m.id == found["member"])
            )
            version = store.one(sa.select(tables.artifacts).where(v.id == found["version"]))
            if member is not None and version is not None:
                return member, version
    return None


def find_version(store: Store, path: ArtifactPath) -> Version:
    """Return the version a path means. Raises NotMirrored, Gone, PathError."""
    collection, project = find_collection(store, path)
    alias = path.alias or "latest"
    found = member_of(store, collection["id"], alias)
    if found is not None:
        return Version(found[0], found[1], collection, project.entity, project.name)
    place = f"{project.path}/{path.collection}"
    what = f"artifact version {f'{place}:{alias}'!r}"
    synced_at = _synced_at(store, project)
    deleted_at = _deleted_at(store, collection["id"], alias)
    if deleted_at is not None:
        raise Gone(
            what,
            deleted_at=deleted_at,
            path=project.path,
            synced_at=synced_at,
            remedy=f"`mirror artifacts {place}` shows which there are",
        )
    raise NotMirrored(what, path=project.path, synced_at=synced_at)


def _deleted_at(store: Store, collection_id: str, alias: str) -> str | None:
    """When a version was found gone that an alias, `v<N>` or digest named; None: there was none."""
    m, v, h = tables.artifact_memberships.c, tables.artifacts.c, tables.artifact_aliases.c
    had = sa.select(h.membership_id).where(
        h.collection_id == collection_id, h.alias == escape(alias)
    )
    ways = m.id.in_(had) | (v.digest == escape(alias))
    if number := _VERSION.fullmatch(alias):
        ways |= m.version_index == int(number[1])
    row = store.one(
        sa.select(m.deleted_at)
        .join(tables.artifacts, v.id == m.artifact_id)
        .where(m.collection_id == collection_id, m.deleted_at.is_not(None), ways)
        .order_by(m.deleted_at.desc())
    )
    return None if row is None else str(row["deleted_at"])


def version_of(store: Store, artifact_id: str) -> Version | None:
    """Return a version by its id, as the member of its own sequence; None if that is not held."""
    m, c, v, p = (
        tables.artifact_memberships.c,
        tables.artifact_collections.c,
        tables.artifacts.c,
        tables.projects.c,
    )
    artifact = store.one(sa.select(tables.artifacts).where(v.id == escape(artifact_id)))
    if artifact is None:
        return None
    member = store.one(
        sa.select(tables.artifact_memberships)
        .where(m.artifact_id == artifact["id"])
        .order_by(
            (m.collection_id == artifact["collection_id"]).desc(),
            m.deleted_at.is_(None).desc(),
            m.created_at_us,
        )
    )
    if member is None:
        return None
    collection = store.one(
        sa.select(tables.artifact_collections).where(c.id == member["collection_id"])
    )
    if collection is None:
        return None
    project = store.one(sa.select(p.entity, p.name).where(p.project_id == collection["project_id"]))
    if project is None:
        return None
    return Version(
        member, artifact, collection, unescape(project["entity"]), unescape(project["name"])
    )
