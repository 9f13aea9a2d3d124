"""The door for artifacts and registries: nodes → rows. `mirror.ingest` is the door for the rest.

    node (GraphQL)                                   rows
    {"id": …, "versionIndex": 3,                     artifact_memberships  one place of one version
     "aliases": [{"alias": "latest"}, …],            artifact_aliases      who has an alias, since when
     "artifact": {"id": …, "metadata": "{…}", …}}    artifacts             the version, its metadata twice
                                                     artifact_uses         its lineage

Called by sync, by read-through, and with what the server answered to a write. Any of these clears a
tombstone: what the server shows is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from mirror import instants
from mirror.ingest import (
    _dumps_node,
    _keep_alias,
    _object,
    _stamp,
    _text,
    ingest_objects,
    ingest_projects,
    project_key,
)
from mirror.jsontext import dumps, escape, pack
from mirror.paths import REGISTRY_PREFIX
from mirror.store import tables
from mirror.store.store import Row, Transaction

__all__ = [
    "Kept",
    "aliases_of",
    "ingest_alone",
    "ingest_artifacts",
    "ingest_collections",
    "ingest_manifest",
    "ingest_memberships",
    "ingest_organizations",
    "ingest_registry",
    "ingest_run_lineage",
    "ingest_types",
    "ingest_uses",
    "map_artifact",
    "move_aliases",
    "nodes_of",
    "registry_node",
    "tombstone_collections",
    "tombstone_memberships",
    "tombstone_registries",
]

_VERSION = re.compile(r"v\d+")
_CHUNK = 500


@dataclass(slots=True)
class Kept:
    """What one call wrote: memberships, those of them that are new, those that came back."""

    memberships: int = 0
    new: int = 0
    revived: int = 0


def nodes_of(connection: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return the nodes of a Relay connection; [] for a null one."""
    edges = (connection or {}).get("edges") or []
    return [edge["node"] for edge in edges if edge and edge.get("node")]


def aliases_of(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of alias nodes, in order, without the server's own `v<N>`."""
    return [node["alias"] for node in nodes if not _VERSION.fullmatch(node["alias"])]


def _flag(value: Any) -> int | None:
    return None if value is None else int(bool(value))


def _times(node: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """`createdAt` → created_at and created_at_us; likewise `updatedAt`."""
    found: dict[str, Any] = {}
    for name in names:
        column = {"createdAt": "created_at", "updatedAt": "updated_at"}[name]
        found |= {column: node.get(name), f"{column}_us": instants.to_us(node.get(name))}
    return found


# ------------------------------------------------------------------ types, collections


def ingest_types(
    tx: Transaction,
    nodes: Sequence[Mapping[str, Any]],
    *,
    project_id: str,
    synced_at: str,
    listing: bool = False,
) -> None:
    """Write artifact types of a project; those that a whole `listing` lacks are marked deleted."""
    if listing:
        c = tables.artifact_types.c
        names = [escape(node["name"]) for node in nodes]
        gone = (c.project_id == project_id) & c.deleted_at.is_(None) & c.name.not_in(names)
        tx.execute(
            sa.update(tables.artifact_types).where(gone).values(deleted_at=synced_at, seq=tx.seq)
        )
    rows = {
        node["name"]: {
            "project_id": project_id,
            "name": escape(node["name"]),
            "id": node.get("id"),
            "description": _text(node.get("description")),
            **_times(node, "createdAt"),
            "position": position,
            "node": pack(_dumps_node(dict(node))),
            "deleted_at": None,
        }
        | _stamp(tx, synced_at)
        for position, node in enumerate(nodes)
    }
    tx.upsert_all(tables.artifact_types, list(rows.values()))


def ingest_collections(
    tx: Transaction,
    nodes: Sequence[Mapping[str, Any]],
    *,
    project_id: str,
    synced_at: str,
    first_position: int = 0,
) -> None:
    """Write collections of a project: what they are and their tags, not what lies in them."""
    rows = {}
    for position, node in enumerate(nodes, first_position):
        row = {
            "id": escape(node["id"]),
            "project_id": project_id,
            "type": _text((node.get("defaultArtifactType") or {}).get("name")),
            "name": escape(node["name"]),
            "kind": "portfolio" if node.get("__typename") == "ArtifactPortfolio" else "sequence",
            "state": node.get("state"),
            "description": _text(node.get("description")),
            "tags": dumps([escape(tag["name"]) for tag in nodes_of(node.get("tags"))]),
            **_times(node, "createdAt", "updatedAt"),
            "position": position,
            "node": pack(_dumps_node({k: v for k, v in node.items() if k not in _PULSE})),
            "deleted_at": synced_at if node.get("state") == "DELETED" else None,
        }
        rows[node["id"]] = row | _stamp(tx, synced_at)
    tx.upsert_all(tables.artifact_collections, list(rows.values()))


_PULSE = ("aliases", "newest", "edited", "artifactMemberships")
"""What of a collection's node has rows of its own, or is only there to tell whether it moved."""


def tombstone_collections(tx: Transaction, ids: Sequence[str], *, at: str) -> None:
    """Mark collections and all that lies in them gone; their aliases end."""
    for some in _chunks(ids):
        c, m = tables.artifact_collections.c, tables.artifact_memberships.c
        tx.execute(
            sa.update(tables.artifact_collections)
            .where(c.id.in_(some), c.deleted_at.is_(None))
            .values(deleted_at=at, seq=tx.seq)
        )
        held = tx.rows(sa.select(m.id).where(m.collection_id.in_(some), m.deleted_at.is_(None)))
        tombstone_memberships(tx, [row["id"] for row in held], at=at)


# ------------------------------------------------------------------ versions


def map_artifact(node: Mapping[str, Any]) -> dict[str, Any]:
    """Map one version's node to its row, without `seq` and `synced_at`. Pure."""
    sequence = node.get("artifactSequence") or {}
    project = sequence.get("project")
    creator = node.get("createdBy") or {}
    by_run = creator.get("__typename") == "Run"
    kind = {"Run": "run", "User": "user"}.get(str(creator.get("__typename")))
    metadata = node.get("metadata")
    if metadata is not None and not isinstance(metadata, str):  # a server whose scalar is JSON
        metadata = dumps(metadata)
    return {
        "id": escape(node["id"]),
        "project_id": project_key(project) if project else None,
        "collection_id": _text(sequence.get("id")),
        "type": _text((node.get("artifactType") or {}).get("name")),
        "version_index": node.get("versionIndex"),
        "state": node.get("state"),
        "digest": _text(node.get("digest")),
        "digest_algorithm": node.get("digestAlgorithm"),
        "commit_hash": _text(node.get("commitHash")),
        "size": _integer(node.get("size")),
        "storage_bytes": _integer(node.get("storageBytes")),
        "file_count": _integer(node.get("fileCount")),
        "history_step": _integer(node.get("historyStep")),
        "ttl_seconds": _integer(node.get("ttlDurationSeconds")),
        "ttl_is_inherited": _flag(node.get("ttlIsInherited")),
        "description": _text(node.get("description")),
        "metadata": dumps(_object(metadata)[0]),
        "metadata_text": pack(metadata),
        "tags": dumps([escape(str(tag["name"])) for tag in node.get("tags") or ()]),
        **_times(node, "createdAt", "updatedAt"),
        "created_by_kind": kind,
        "created_by": _text(creator.get("name" if by_run else "username")),
        "created_by_project": _text(_project_of(creator)) if by_run else None,
        "manifest_digest": _text((node.get("currentManifest") or {}).get("digest")),
        "node": pack(_dumps_node({k: v for k, v in node.items() if k != "metadata"})),
        "deleted_at": None,
    }


def _integer(value: Any) -> int | None:
    """Int64 comes as a number, from older servers as text."""
    return None if value is None else int(value)


def _project_of(run: Mapping[str, Any]) -> str:
    """What keys the project of a run node: its number, else its path."""
    if run.get("projectId") is not None:
        return str(run["projectId"])
    project = run.get("project") or {}
    return f"{project.get('entityName')}/{project.get('name')}"


def ingest_artifacts(
    tx: Transaction, nodes: Sequence[Mapping[str, Any]], *, synced_at: str
) -> None:
    """Write versions whole (`ArtifactFields`) with their lineage; a DELETED one gets its tombstone."""
    rows = {}
    for node in nodes:
        row = map_artifact(node)
        if node.get("state") == "DELETED":
            row["deleted_at"] = synced_at
        told = {"lineage_read_at": None if node.get("usedBy") is None else synced_at}
        rows[node["id"]] = row | told | _stamp(tx, synced_at)
    tx.upsert_all(tables.artifacts, list(rows.values()))
    ingest_uses(tx, {node["id"]: node for node in nodes}.values(), synced_at=synced_at)


def ingest_uses(tx: Transaction, nodes: Iterable[Mapping[str, Any]], *, synced_at: str) -> None:
    """Write which run logged each version (`createdBy`) and which use it (`usedBy`).

    A use that a whole `usedBy` lacks is marked deleted. `usedAs` is known to runs only, see
    `ingest_run_lineage`; what is known of it stays.
    """
    whole = []
    rows: dict[tuple[str, ...], Row] = {}
    runs = []
    for node in nodes:
        creator = node.get("createdBy") or {}
        if creator.get("__typename") == "Run":
            runs.append(creator)
            _add_use(rows, node["id"], creator, "logged", None)
        if node.get("usedBy") is None:
            continue
        for position, run in enumerate(nodes_of(node["usedBy"])):
            runs.append(run)
            _add_use(rows, node["id"], run, "used", position)
        if not (node["usedBy"].get("pageInfo") or {}).get("hasNextPage"):
            whole.append(escape(node["id"]))
    u = tables.artifact_uses.c
    for some in _chunks(whole):
        held = tx.rows(
            sa.select(u.artifact_id, u.project_id, u.run, u.direction).where(
                u.artifact_id.in_(some), u.direction == "used", u.deleted_at.is_(None)
            )
        )
        gone = [dict(row) for row in held if tuple(row.values()) not in rows]
        tx.upsert_all(
            tables.artifact_uses,
            [row | {"deleted_at": synced_at} | _stamp(tx, synced_at) for row in gone],
        )
    tx.upsert_all(
        tables.artifact_uses, [dict(row) | _stamp(tx, synced_at) for row in rows.values()]
    )
    _know_projects(tx, runs, synced_at)


def _add_use(
    rows: dict[tuple[str, ...], Row],
    artifact_id: str,
    run: Mapping[str, Any],
    direction: str,
    position: int | None,
) -> None:
    key = (escape(artifact_id), escape(_project_of(run)), escape(run["name"]), direction)
    names = ("artifact_id", "project_id", "run", "direction")
    rows[key] = dict(zip(names, key, strict=True)) | {"position": position, "deleted_at": None}


def _know_projects(tx: Transaction, runs: Iterable[Mapping[str, Any]], synced_at: str) -> None:
    """Keep the paths of projects that are met only in lineage: their runs are shown by them."""
    paths = {}
    for run in runs:
        project = run.get("project")
        if run.get("projectId") is not None and project and project.get("entityName"):
            paths[str(run["projectId"])] = (project["entityName"], project["name"])
    for key, (entity, name) in paths.items():
        alias = {"entity": escape(entity), "name": escape(name), "project_id": key}
        _keep_alias(tx, alias | {"last_seen_at": synced_at})


def _unlist(tx: Transaction, project_id: str, direction: str, runs: Sequence[str]) -> None:
    """Note of all that runs used or logged that their own lists do not have it."""
    u = tables.artifact_uses.c
    for some in _chunks(runs):
        theirs = (u.project_id == project_id) & u.run.in_(some) & (u.direction == direction)
        tx.execute(sa.update(tables.artifact_uses).where(theirs).values(run_position=-1))


def ingest_run_lineage(
    tx: Transaction, project_id: str, runs: Iterable[Mapping[str, Any]], *, synced_at: str
) -> set[str]:
    """Write what runs used (with `usedAs`) and logged, in the order of their own lists, given whole.

    Returns the ids of versions that are not held with their lineage.
    """
    used, logged, ids = [], [], set()
    listed: dict[str, list[str]] = {"used": [], "logged": []}
    for run in runs:
        name = escape(run["name"])
        place = {"project_id": project_id, "run": name, "deleted_at": None}
        for position, edge in enumerate((run.get("inputArtifacts") or {}).get("edges") or ()):
            if not edge or not edge.get("node"):
                continue
            ids.add(edge["node"]["id"])
            names = [escape(name) for name in edge.get("usedAs") or ()]
            row = {"artifact_id": edge["node"]["id"], "direction": "used", "used_as": dumps(names)}
            used.append(place | row | {"run_position": position})
        for position, node in enumerate(nodes_of(run.get("outputArtifacts"))):
            ids.add(node["id"])
            row = {"artifact_id": node["id"], "direction": "logged"}
            logged.append(place | row | {"run_position": position})
        listed["used"] += [name] * (run.get("inputArtifacts") is not None)
        listed["logged"] += [name] * (run.get("outputArtifacts") is not None)
    for direction, names in listed.items():
        _unlist(tx, project_id, direction, names)
    for rows in (used, logged):
        tx.upsert_all(tables.artifact_uses, [row | _stamp(tx, synced_at) for row in rows])
    held: set[str] = set()
    for some in _chunks(sorted(ids)):
        c = tables.artifacts.c
        known = sa.select(c.id).where(c.id.in_(some), c.lineage_read_at.is_not(None))
        held |= {row["id"] for row in tx.rows(known)}
    return ids - held


# ------------------------------------------------------------------ memberships, aliases


def ingest_memberships(
    tx: Transaction,
    collection_id: str,
    nodes: Sequence[Mapping[str, Any]],
    *,
    synced_at: str,
    alone: bool = False,
) -> Kept:
    """Write memberships of a collection with their versions, and note where its aliases moved.

    `alone` says that they were met by themselves: those that are new are marked so, for the next
    sync to confirm, and no listing shows them. The history of the aliases of a collection that was
    read whole leaves them out too: it tells what the sync saw.
    """
    given = {node["id"]: node for node in nodes if node.get("artifact")}
    if not given:
        return Kept()
    m = tables.artifact_memberships.c
    before: dict[str, Row] = {}
    for some in _chunks(sorted(given)):
        found = tx.rows(sa.select(m.id, m.deleted_at, m.alone).where(m.id.in_(some)))
        before |= {row["id"]: row for row in found}
    known = {key for key, row in before.items() if row["deleted_at"] is None and not row["alone"]}
    rows = [
        {
            "id": escape(node["id"]),
            "collection_id": escape(collection_id),
            "artifact_id": escape(node["artifact"]["id"]),
            "version_index": node.get("versionIndex"),
            "aliases": dumps([escape(name) for name in aliases_of(node.get("aliases") or ())]),
            "commit_hash": _text(node.get("commitHash")),
            **_times(node, "createdAt"),
            "alone": 1 if alone and node["id"] not in known else None,
            "node": pack(
                _dumps_node({k: v for k, v in node.items() if k not in _BESIDE_A_MEMBERSHIP})
            ),
            "deleted_at": None,
        }
        | _stamp(tx, synced_at)
        for node in given.values()
    ]
    tx.upsert_all(tables.artifact_memberships, rows)
    ingest_artifacts(tx, [node["artifact"] for node in given.values()], synced_at=synced_at)
    apart = alone and _is_walked(tx, collection_id)
    noted = {row["id"] for row in rows if not (apart and row["alone"])}
    holders = {
        escape(name): (row["artifact_id"], row["id"])
        for row, node in zip(rows, given.values(), strict=True)
        if row["id"] in noted
        for name in aliases_of(node.get("aliases") or ())
    }
    _note_aliases(tx, collection_id, holders, noted, synced_at, take=alone)
    return Kept(
        memberships=len(rows),
        new=len(given) - len(before),
        revived=sum(row["deleted_at"] is not None for row in before.values()),
    )


_BESIDE_A_MEMBERSHIP = ("artifact", "artifactCollection")
"""What of a membership's node has rows of its own."""


def _is_walked(tx: Transaction, collection_id: str) -> bool:
    c = tables.artifact_collections.c
    whole = sa.select(c.id).where(c.id == escape(collection_id), c.walked_at.is_not(None))
    return bool(tx.rows(whole))


def ingest_alone(tx: Transaction, member: Mapping[str, Any], *, synced_at: str) -> None:
    """Write a membership that was asked for by itself, with its version, collection and project.

    Nothing becomes complete by it: a collection that is new counts as never read, and so the next
    sync reads all of it. What is held of the collection and of the project stays as it is.
    """
    collection = member.get("artifactCollection") or {}
    project = collection.get("project")
    if not project or not member.get("artifact"):
        return
    p, c = tables.projects.c, tables.artifact_collections.c
    key = project_key(project)
    held = tx.rows(sa.select(p.deleted_at).where(p.project_id == key))
    if not held or held[0]["deleted_at"] is not None:
        ingest_projects(tx, [project], synced_at=synced_at)
    if not held:  # what was kept of the project until now lies under its path
        path = f"{project['entityName']}/{project['name']}"
        kept = sa.update(tables.objects).where(tables.objects.c.scope == escape(path))
        tx.execute(kept.values(scope=key))
    this = c.id == escape(collection["id"])
    if not tx.rows(sa.select(c.id).where(this, c.deleted_at.is_(None))):
        node = {name: value for name, value in collection.items() if name != "project"}
        ingest_collections(tx, [node], project_id=key, synced_at=synced_at)
        tx.execute(sa.update(tables.artifact_collections).where(this).values(walked_at=None))
    ingest_memberships(tx, collection["id"], [member], synced_at=synced_at, alone=True)


def move_aliases(
    tx: Transaction, collection_id: str, holders: Mapping[str, str], *, synced_at: str
) -> int:
    """Give a collection's aliases to who has them now (alias → artifact id); return what moved.

    `holders` names every alias of the collection. Aliases of versions that are not held are left
    out: their memberships are to be read.
    """
    c = tables.artifact_memberships.c
    members = tx.rows(
        sa.select(c.id, c.artifact_id, c.aliases).where(
            c.collection_id == escape(collection_id), c.deleted_at.is_(None)
        )
    )
    wanted: dict[str, list[str]] = {}
    for name, artifact in holders.items():
        wanted.setdefault(escape(artifact), []).append(escape(name))
    changed: list[Row] = []
    now: dict[str, tuple[str, str]] = {}
    for row in members:
        names, held = wanted.get(row["artifact_id"], []), _names(row["aliases"])
        now |= dict.fromkeys(names, (row["artifact_id"], row["id"]))
        if set(names) != set(held):
            kept = [name for name in held if name in names]
            names = kept + [name for name in names if name not in kept]
            changed.append({"member": row["id"], "aliases": dumps(names)} | _stamp(tx, synced_at))
    for row in changed:
        values = {name: row[name] for name in ("aliases", "seq", "synced_at")}
        tx.execute(
            sa.update(tables.artifact_memberships).where(c.id == row["member"]).values(**values)
        )
    _note_aliases(tx, collection_id, now, {row["id"] for row in members}, synced_at)
    return len(changed)


def _names(value: Any) -> list[str]:
    """A JSON column of names: text on SQLite, parsed already on PostgreSQL."""
    return list(orjson.loads(value) if isinstance(value, str) else value or ())


def _note_aliases(
    tx: Transaction,
    collection_id: str,
    holders: Mapping[str, tuple[str, str]],
    members: set[str],
    synced_at: str,
    *,
    take: bool = False,
) -> None:
    """Bring the history up to date: `holders` is all that the `members` given have now.

    With `take`, an alias is also taken from the row of who had it. A walk of the whole collection
    reads that row itself, and must not find it written meanwhile.
    """
    c = tables.artifact_aliases.c
    at = instants.to_us(synced_at) or 0
    held = tx.rows(
        sa.select(tables.artifact_aliases).where(
            c.collection_id == escape(collection_id), c.until_us.is_(None)
        )
    )
    standing = set()
    for row in held:
        holder = holders.get(row["alias"])
        if holder is not None and holder[1] == row["membership_id"]:
            standing.add(row["alias"])
        elif holder is not None or row["membership_id"] in members:
            ended = max(at, row["since_us"] + 1)
            this = (c.collection_id == row["collection_id"]) & (c.alias == row["alias"])
            tx.execute(
                sa.update(tables.artifact_aliases)
                .where(this, c.since_us == row["since_us"])
                .values(until_us=ended)
            )
            if take and row["membership_id"] not in members:
                _take_alias(tx, row["membership_id"], row["alias"])
    began = {row["alias"]: row["since_us"] for row in held}
    tx.upsert_all(
        tables.artifact_aliases,
        [
            {
                "collection_id": escape(collection_id),
                "alias": name,
                "since_us": max(at, began.get(name, at - 1) + 1),
                "artifact_id": artifact,
                "membership_id": membership,
                "until_us": None,
            }
            for name, (artifact, membership) in holders.items()
            if name not in standing
        ],
    )


def _take_alias(tx: Transaction, membership_id: str, alias: str) -> None:
    """Take an alias that has moved on from the row of who had it."""
    m = tables.artifact_memberships.c
    for row in tx.rows(sa.select(m.aliases).where(m.id == membership_id)):
        left = [name for name in _names(row["aliases"]) if name != alias]
        changed = sa.update(tables.artifact_memberships).where(m.id == membership_id)
        tx.execute(changed.values(aliases=dumps(left), seq=tx.seq))


def tombstone_memberships(tx: Transaction, ids: Sequence[str], *, at: str) -> int:
    """Mark memberships gone and end their aliases; return how many. The versions are left alone."""
    done = 0
    m, a = tables.artifact_memberships.c, tables.artifact_aliases.c
    for some in _chunks(ids):
        marked = tx.execute(
            sa.update(tables.artifact_memberships)
            .where(m.id.in_(some), m.deleted_at.is_(None))
            .values(deleted_at=at, seq=tx.seq)
        )
        done += int(marked.rowcount)
        tx.execute(
            sa.update(tables.artifact_aliases)
            .where(a.membership_id.in_(some), a.until_us.is_(None))
            .values(until_us=instants.to_us(at) or 0)
        )
    return done


# ------------------------------------------------------------------ manifests


def ingest_manifest(
    tx: Transaction, artifact_id: str, manifest: Mapping[str, Any], *, synced_at: str
) -> int:
    """Write the entries of a version's manifest (the JSON of its file); return how many.

    A manifest never changes; reading it again replaces what an interrupted reading left.
    """
    key = escape(artifact_id)
    entries = manifest.get("contents") or {}
    e = tables.artifact_entries.c
    tx.execute(sa.delete(tables.artifact_entries).where(e.artifact_id == key))
    rows = [
        {
            "artifact_id": key,
            "path": escape(path),
            "digest": escape(str(entry.get("digest") or "")),
            "size": _integer(entry.get("size")),
            "ref": _text(entry.get("ref")),
            "birth_artifact_id": _text(entry.get("birthArtifactID")),
            "extra": _beyond(entry),
        }
        for path, entry in entries.items()
    ]
    tx.upsert_all(tables.artifact_entries, rows)
    policy = {name: value for name, value in manifest.items() if name != "contents"}
    if policy.get("storagePolicyConfig") not in (None, {"storageLayout": "V2"}):
        ingest_objects(tx, "manifest_policy", "", {artifact_id: policy}, synced_at=synced_at)
    tx.execute(
        sa.update(tables.artifacts)
        .where(tables.artifacts.c.id == key)
        .values(manifest_read_at=synced_at, seq=tx.seq)
    )
    return len(rows)


_ENTRY_COLUMNS = ("digest", "size", "ref", "birthArtifactID", "extra", "path")


def _beyond(entry: Mapping[str, Any]) -> str | None:
    """An entry's `extra`, and with it, as a list, fields without a column such as `local_path`."""
    extra = entry.get("extra") or None
    more = {name: value for name, value in entry.items() if name not in _ENTRY_COLUMNS and value}
    if more:
        return _dumps_node([extra, more])
    return _dumps_node(extra) if extra else None


# ------------------------------------------------------------------ registries


def ingest_organizations(
    tx: Transaction, nodes: Sequence[Mapping[str, Any]], *, synced_at: str
) -> None:
    """Write organizations that the key can see."""
    rows = {
        node["name"]: {
            "name": escape(node["name"]),
            "id": node.get("id"),
            "org_entity": _text((node.get("orgEntity") or {}).get("name")),
            "node": pack(_dumps_node(dict(node))),
            "deleted_at": None,
        }
        | _stamp(tx, synced_at)
        for node in nodes
    }
    tx.upsert_all(tables.organizations, list(rows.values()))


def ingest_registry(
    tx: Transaction,
    node: Mapping[str, Any],
    *,
    project_id: str,
    organization: str | None,
    org_entity: str,
    synced_at: str,
    position: int = 0,
) -> None:
    """Write a registry (its project is `mirror.ingest`'s) with its types, members and teams."""
    full_name = str(node["name"])
    types = nodes_of(node.get("artifactTypes"))
    row = {
        "project_id": project_id,
        "organization": _text(organization),
        "org_entity": escape(org_entity),
        "name": escape(full_name.removeprefix(REGISTRY_PREFIX)),
        "full_name": escape(full_name),
        "id": node.get("id"),
        "description": _text(node.get("description")),
        "access": node.get("access"),
        "visibility": "restricted" if node.get("access") == "RESTRICTED" else "organization",
        "allow_all_artifact_types": _flag(node.get("allowAllArtifactTypesInRegistry")),
        "artifact_types": dumps([escape(kind["name"]) for kind in types]),
        **_times(node, "createdAt", "updatedAt"),
        "position": position,
        "node": registry_node(node),
        "deleted_at": None,
    }
    tx.upsert_all(tables.registries, [row | _stamp(tx, synced_at)])
    ingest_types(tx, types, project_id=project_id, synced_at=synced_at, listing=True)
    _ingest_members(tx, node, project_id, synced_at)


def registry_node(node: Mapping[str, Any]) -> bytes | None:
    """What is kept of a registry's node: all but its collections; equal bytes are equal nodes."""
    return pack(_dumps_node({k: v for k, v in node.items() if k != "artifactCollections"}))


def _ingest_members(
    tx: Transaction, node: Mapping[str, Any], project_id: str, synced_at: str
) -> None:
    """Members and teams as they are listed; who is listed no more is marked."""
    m = tables.registry_members.c
    here = (m.project_id == project_id) & m.deleted_at.is_(None)
    gone = sa.update(tables.registry_members).where(here)
    tx.execute(gone.values(deleted_at=synced_at, seq=tx.seq))
    found: dict[tuple[str, str], Row] = {}
    people = [("user", one, one.get("role")) for one in node.get("members") or ()]
    teams = [("team", one.get("team") or {}, one.get("role")) for one in node.get("teamMembers") or ()]  # fmt: skip
    for position, (kind, who, role) in enumerate([*people, *teams]):
        name = who.get("username") or who.get("name")
        if not name:
            continue
        found[(kind, name)] = {
            "project_id": project_id,
            "kind": kind,
            "name": escape(name),
            "id": who.get("id"),
            "email": _text(who.get("email")),
            "role": (role or {}).get("name"),
            "position": position,
            "node": pack(_dumps_node(dict(who) | {"role": role})),
            "deleted_at": None,
        } | _stamp(tx, synced_at)
    tx.upsert_all(tables.registry_members, list(found.values()))


def tombstone_registries(tx: Transaction, project_ids: Sequence[str], *, at: str) -> None:
    """Mark registries gone, and all that lies in them."""
    for some in _chunks(project_ids):
        r, c = tables.registries.c, tables.artifact_collections.c
        tx.execute(
            sa.update(tables.registries)
            .where(r.project_id.in_(some), r.deleted_at.is_(None))
            .values(deleted_at=at, seq=tx.seq)
        )
        held = tx.rows(sa.select(c.id).where(c.project_id.in_(some), c.deleted_at.is_(None)))
        tombstone_collections(tx, [row["id"] for row in held], at=at)


def _chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
