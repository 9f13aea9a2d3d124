"""Questions about artifacts that are answered offline: lineage, which version holds a file, what differs.

Each is one recursive or plain select; nothing here asks the server. Used by `mirror artifacts`,
`lineage`, `which` and `diff`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from mirror.artifact_lookup import ArtifactPath, Version, find_collection, find_version
from mirror.errors import NotMirrored
from mirror.jsontext import escape, names_in, unescape, unpack
from mirror.store import tables
from mirror.store.store import Row, Store

__all__ = [
    "Change",
    "Collection",
    "Graph",
    "Holding",
    "Member",
    "Node",
    "collections",
    "diff",
    "holdings",
    "lineage",
    "members",
    "unread_manifests",
]

MAX_NODES = 10_000
"""A graph of more is cut here, and says so."""
MAX_DEPTH = 100
"""Versions away from the first, where no depth is asked for."""


# ------------------------------------------------------------------ collections


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection of a project: its newest version, and how many there are."""

    name: str
    type: str | None
    kind: str
    versions: int
    newest: str | None
    aliases: dict[str, str]
    """alias → `v<N>`"""
    tags: list[str]
    size: int
    """bytes of all versions, contents that several share counted each time"""
    updated_at: str | None
    whole: bool
    """whether a sync has read all of its versions; else those that were asked for are here"""


def collections(store: Store, project_id: str) -> list[Collection]:
    """Return the live collections of a project by type and name."""
    c, m, v = (
        tables.artifact_collections.c,
        tables.artifact_memberships.c,
        tables.artifacts.c,
    )
    counted = (
        sa.select(
            m.collection_id,
            sa.func.count().label("versions"),
            sa.func.max(m.version_index).label("newest"),
            sa.func.sum(v.size).label("size"),
            sa.func.max(m.created_at).label("updated_at"),
            sa.func.count(m.alone).label("alone"),
        )
        .join(tables.artifacts, v.id == m.artifact_id)
        .where(m.deleted_at.is_(None))
        .group_by(m.collection_id)
        .subquery()
    )
    rows = store.rows(
        sa.select(tables.artifact_collections, counted.c.versions, counted.c.newest, counted.c.size, counted.c.alone,
                  counted.c.updated_at.label("linked_at"))
        .outerjoin(counted, counted.c.collection_id == c.id)
        .where(c.project_id == project_id, c.deleted_at.is_(None))
        .order_by(c.type, c.name)
    )  # fmt: skip
    named = _aliases(store, project_id)
    return [
        Collection(
            name=unescape(row["name"]),
            type=row["type"] and unescape(row["type"]),
            kind=row["kind"],
            versions=row["versions"] or 0,
            newest=None if row["newest"] is None else f"v{row['newest']}",
            aliases=named.get(row["id"], {}),
            tags=names_in(row["tags"]),
            size=int(row["size"] or 0),
            updated_at=max(filter(None, (row["updated_at"], row["linked_at"])), default=None),
            whole=row["walked_at"] is not None and not row["alone"],
        )
        for row in rows
    ]


def _aliases(store: Store, project_id: str) -> dict[str, dict[str, str]]:
    a, m, c = (
        tables.artifact_aliases.c,
        tables.artifact_memberships.c,
        tables.artifact_collections.c,
    )
    found: dict[str, dict[str, str]] = {}
    for row in store.rows(
        sa.select(a.collection_id, a.alias, m.version_index)
        .join(tables.artifact_memberships, m.id == a.membership_id)
        .join(tables.artifact_collections, c.id == a.collection_id)
        .where(c.project_id == project_id, a.until_us.is_(None))
        .order_by(a.alias)
    ):
        named = found.setdefault(row["collection_id"], {})
        named[unescape(row["alias"])] = f"v{row['version_index']}"
    return found


@dataclass(frozen=True, slots=True)
class Member:
    """A version in a collection."""

    artifact: str
    """entity/project/collection:v<N>, in this collection"""
    source: str | None
    """the same in the sequence it was logged to, where that is another collection"""
    version: str
    aliases: list[str]
    """in this collection, without v<N>"""
    tags: list[str]
    state: str | None
    type: str | None
    digest: str | None
    size: int | None
    """bytes"""
    files: int | None
    """entries of its manifest"""
    description: str | None
    created_at: str | None
    linked_at: str | None
    """when it came into this collection"""


def members(store: Store, path: ArtifactPath) -> list[Member]:
    """Return the versions of a collection, newest first, or the one that an alias names.

    Raises NotMirrored, PathError.
    """
    collection, project = find_collection(store, path)
    m, v = tables.artifact_memberships.c, tables.artifacts.c
    query = (
        sa.select(
            v.id, v.collection_id, v.type, v.tags, v.state, v.digest, v.size, v.file_count,
            v.description, v.created_at, m.version_index, m.aliases, m.created_at.label("linked_at"),
        )
        .join(tables.artifacts, v.id == m.artifact_id)
        .where(m.collection_id == collection["id"], m.deleted_at.is_(None))
        .order_by(m.version_index.desc())
    )  # fmt: skip
    if path.alias is not None:
        query = query.where(m.id == find_version(store, path).membership["id"])
    rows = store.rows(query)
    linked = [row["id"] for row in rows if row["collection_id"] != collection["id"]]
    sources = _artifact_nodes(store, linked)
    place = f"{project.path}/{unescape(collection['name'])}"
    return [
        Member(
            artifact=f"{place}:v{row['version_index']}",
            source=sources[row["id"]].path if row["id"] in sources else None,
            version=f"v{row['version_index']}",
            aliases=names_in(row["aliases"]),
            tags=names_in(row["tags"]),
            state=row["state"],
            type=row["type"] and unescape(row["type"]),
            digest=row["digest"] and unescape(row["digest"]),
            size=row["size"],
            files=row["file_count"],
            description=row["description"] and unescape(row["description"]),
            created_at=row["created_at"],
            linked_at=row["linked_at"],
        )
        for row in rows
    ]


# ------------------------------------------------------------------ lineage


@dataclass(frozen=True, slots=True)
class Node:
    """A version or a run in a lineage graph; `id` is unique in the graph."""

    id: str
    kind: str
    """artifact or run"""
    path: str
    """entity/project/collection:v<N>, or entity/project/run"""
    name: str
    type: str | None = None
    """of an artifact its type, of a run its job type"""
    state: str | None = None


@dataclass(slots=True)
class Graph:
    """What leads to a version (up) and what was made of it (down).

    `edges` are (from, to, role) in the direction of the data: a run to what it logged, a version to
    the runs that use it; `role` is what it is used as, or null.
    """

    root: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[tuple[str, str, str | None]] = field(default_factory=list)
    up: list[str] = field(default_factory=list)
    """ids upstream, nearest first"""
    down: list[str] = field(default_factory=list)
    truncated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The graph as JSON-ready values."""
        return {
            "root": self.root,
            "nodes": [asdict(node) for node in self.nodes.values()],
            "edges": [dict(zip(("from", "to", "used_as"), edge, strict=True)) for edge in self.edges],
            "truncated": self.truncated,
        }  # fmt: skip

    def to_dot(self) -> str:
        """The graph in Graphviz' language."""
        lines = ["digraph lineage {", "  rankdir=LR;"]
        for node in self.nodes.values():
            shape = "box" if node.kind == "artifact" else "ellipse"
            bold = ", style=bold" if node.id == self.root else ""
            label = f"{node.name}\n{node.type or node.kind}"
            lines.append(f"  {_quoted(node.id)} [label={_quoted(label)}, shape={shape}{bold}];")
        for start, end, role in self.edges:
            label = f" [label={_quoted(role)}]" if role else ""
            lines.append(f"  {_quoted(start)} -> {_quoted(end)}{label};")
        return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{safe}"'


def lineage(
    store: Store, version: Version, *, up: bool = True, down: bool = True, depth: int | None = None
) -> Graph:
    """Return the graph around a version; `depth` counts versions away, None: all of it."""
    root = str(version.artifact["id"])
    graph = Graph(root=root)
    runs: dict[str, tuple[str, str]] = {}
    roles: dict[tuple[str, str], str | None] = {}
    artifacts = {root: None}
    with store.read() as connection:
        for wanted, upward in ((up, True), (down, False)):
            if not wanted:
                continue
            found = connection.execute(_reached(root, depth, upward=upward)).all()
            if len(found) > MAX_NODES:
                graph.truncated, found = True, found[:MAX_NODES]
            (graph.up if upward else graph.down).extend(row[0] for row in found if row[0] != root)
            artifacts |= dict.fromkeys(row[0] for row in found)
            inner = [row[0] for row in found if depth is None or row[1] < depth]
            _add_edges(connection, inner, upward, runs, roles)
    ends = {end for edge in roles for end in edge if end not in runs}
    graph.nodes = _artifact_nodes(store, [*artifacts, *sorted(ends - artifacts.keys())])
    graph.nodes |= _run_nodes(store, runs)
    graph.edges = sorted(((*edge, role) for edge, role in roles.items()), key=lambda e: e[:2])
    return graph


def _reached(root: str, depth: int | None, *, upward: bool) -> sa.Select[Any]:
    """The versions reached from one, with how many versions away, nearest first.

    One recursive select: from a version over the runs that logged it to what those used (upward),
    or over the runs that use it to what those logged. UNION drops what was there already; a circle,
    of a run that uses what it logged, ends at MAX_DEPTH.
    """
    near, far = tables.artifact_uses.alias("near"), tables.artifact_uses.alias("far")
    first, second = ("logged", "used") if upward else ("used", "logged")
    node = sa.literal(root, tables.artifacts.c.id.type).label("node")
    walk = sa.select(node, sa.literal(0).label("hop")).cte("walk", recursive=True)
    step = (
        sa.select(far.c.artifact_id, walk.c.hop + 1)
        .select_from(
            walk.join(
                near,
                (near.c.artifact_id == walk.c.node)
                & (near.c.direction == first)
                & near.c.deleted_at.is_(None),
            ).join(
                far,
                (far.c.project_id == near.c.project_id)
                & (far.c.run == near.c.run)
                & (far.c.direction == second)
                & far.c.deleted_at.is_(None),
            )
        )
        .where(walk.c.hop < (MAX_DEPTH if depth is None else depth))
    )
    walk = walk.union(step)
    hop = sa.func.min(walk.c.hop)
    query = sa.select(walk.c.node, hop.label("hop")).group_by(walk.c.node)
    return query.order_by(hop, walk.c.node).limit(MAX_NODES + 1)


def _add_edges(
    connection: Any,
    artifacts: Iterable[str],
    upward: bool,
    runs: dict[str, tuple[str, str]],
    roles: dict[tuple[str, str], str | None],
) -> None:
    """Add the runs beside these versions, and what lies beyond them, to `runs` and `roles`."""
    u = tables.artifact_uses.c
    first, second = ("logged", "used") if upward else ("used", "logged")
    there = u.deleted_at.is_(None)
    beside: dict[tuple[str, str], None] = {}
    for some in _chunks(list(artifacts)):
        for row in connection.execute(
            sa.select(tables.artifact_uses).where(
                u.artifact_id.in_(some), u.direction == first, there
            )
        ).mappings():
            beside[(row["project_id"], row["run"])] = None
            _add_edge(row, runs, roles)
    for project_id, run in beside:
        for row in connection.execute(
            sa.select(tables.artifact_uses).where(
                u.project_id == project_id, u.run == run, u.direction == second, there
            )
        ).mappings():
            _add_edge(row, runs, roles)


def _add_edge(
    row: Row, runs: dict[str, tuple[str, str]], roles: dict[tuple[str, str], str | None]
) -> None:
    run = f"run:{row['project_id']}/{row['run']}"
    runs[run] = (row["project_id"], row["run"])
    if row["direction"] == "logged":
        roles[(run, row["artifact_id"])] = None
    else:
        said = ", ".join(names_in(row["used_as"]))
        roles[(row["artifact_id"], run)] = said or None


def _artifact_nodes(store: Store, ids: list[str]) -> dict[str, Node]:
    """Nodes of versions; of one whose collection is not mirrored, what its own node tells."""
    v, c, p = tables.artifacts.c, tables.artifact_collections.c, tables.projects.c
    found: dict[str, Node] = {each: Node(each, "artifact", each, each) for each in ids}
    joined = tables.artifacts.outerjoin(
        # renamed since: versions are not read anew for that
        tables.artifact_collections,
        sa.and_(c.id == v.collection_id, c.seq >= v.seq),
    ).outerjoin(tables.projects, sa.and_(p.project_id == v.project_id, p.seq >= v.seq))
    columns = (v.id, v.version_index, v.type, v.state, v.node)
    newer = (
        c.name.label("sequence"), c.type.label("sequence_type"), p.entity, p.name.label("project"),
    )  # fmt: skip
    for some in _chunks(ids):
        for row in store.rows(
            sa.select(*columns, *newer).select_from(joined).where(v.id.in_(some))
        ):
            sequence = orjson.loads(unpack(row["node"]) or "{}").get("artifactSequence") or {}
            project = sequence.get("project") or {}
            index = "v?" if row["version_index"] is None else f"v{row['version_index']}"
            name = f"{_newer(row['sequence'], sequence.get('name'))}:{index}"
            place = (
                f"{_newer(row['entity'], project.get('entityName'))}/"
                f"{_newer(row['project'], project.get('name'))}"
            )
            kind = row["sequence_type"] or row["type"]
            kind = kind and unescape(kind)
            found[row["id"]] = Node(
                row["id"], "artifact", f"{place}/{name}", name, kind, row["state"]
            )
    return found


def _newer(escaped: str | None, other: str | None) -> str:
    return unescape(escaped) if escaped else other or "?"


def _run_nodes(store: Store, runs: dict[str, tuple[str, str]]) -> dict[str, Node]:
    places = _places(store, {project for project, _ in runs.values()})
    r = tables.runs.c
    found = {}
    for identifier, (project, name) in sorted(runs.items()):
        row = store.one(
            sa.select(r.display_name, r.job_type, r.state).where(
                r.project_id == project, r.name == name
            )
        )
        held: Row = row or {"display_name": None, "job_type": None, "state": None}
        found[identifier] = Node(
            identifier,
            "run",
            f"{places.get(project, project)}/{unescape(name)}",
            unescape(held["display_name"] or name),
            held["job_type"] and unescape(held["job_type"]),
            held["state"],
        )
    return found


def _places(store: Store, keys: set[str]) -> dict[str, str]:
    """Paths of projects, also of those that are only met in lineage."""
    a, p = tables.project_aliases.c, tables.projects.c
    found = {}
    for c in (a, p):
        for row in store.rows(
            sa.select(c.project_id, c.entity, c.name).where(c.project_id.in_(sorted(keys)))
        ):
            found[row["project_id"]] = f"{unescape(row['entity'])}/{unescape(row['name'])}"
    return found


def _chunks(items: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), 500):
        yield items[start : start + 500]


# ------------------------------------------------------------------ which, diff


@dataclass(frozen=True, slots=True)
class Holding:
    """A version that holds a file: where in it, and what else."""

    artifact: str
    """entity/project/collection:v<N>"""
    path: str
    size: int | None
    state: str | None
    created_at: str | None


def holdings(store: Store, digests: Iterable[str]) -> list[Holding]:
    """Return every version whose manifest has one of the digests, or that has it itself.

    Only versions whose manifest was read can be found, see `unread_manifests`.
    """
    wanted = [escape(each) for each in digests]
    e, v = tables.artifact_entries.c, tables.artifacts.c
    rows = store.rows(
        sa.select(e.artifact_id, e.path, e.size, v.state, v.created_at)
        .join(tables.artifacts, v.id == e.artifact_id)
        .where(e.digest.in_(wanted))
        .order_by(v.created_at_us, v.collection_id, v.version_index, e.path)
    )
    whole = store.rows(
        sa.select(v.id.label("artifact_id"), v.size, v.state, v.created_at)
        .where(v.digest.in_(wanted))
        .order_by(v.created_at_us)
    )
    ids = list(dict.fromkeys(row["artifact_id"] for row in (*rows, *whole)))
    nodes = _artifact_nodes(store, ids)
    found = [
        Holding(
            nodes[row["artifact_id"]].path, unescape(row["path"]), row["size"], row["state"],
            row["created_at"],
        )
        for row in rows
    ]  # fmt: skip
    return found + [
        Holding(nodes[row["artifact_id"]].path, "", row["size"], row["state"], row["created_at"])
        for row in whole
    ]


def unread_manifests(store: Store) -> int:
    """How many committed versions are held whose manifest was never read."""
    v = tables.artifacts.c
    row = store.one(
        sa.select(sa.func.count().label("n"))
        .select_from(tables.artifacts)
        .where(v.manifest_read_at.is_(None), v.state == "COMMITTED")
    )
    return int(row["n"]) if row else 0


@dataclass(frozen=True, slots=True)
class Change:
    """One entry in which two manifests differ; a size is null where there is no such entry."""

    kind: str
    """added, removed or changed"""
    path: str
    old_size: int | None
    new_size: int | None


def diff(store: Store, old: Version, new: Version) -> list[Change]:
    """Return the entries in which two versions differ, by path. Raises NotMirrored without manifests."""
    for version in (old, new):
        if version.artifact["manifest_read_at"] is None:
            row = store.one(
                sa.select(tables.artifacts.c.manifest_read_at).where(
                    tables.artifacts.c.id == version.artifact["id"]
                )
            )
            if row is None or row["manifest_read_at"] is None:
                raise NotMirrored(
                    f"the manifest of {version.path!r}",
                    remedy='run the command while online, or set depth = "manifests"',
                )
    e = tables.artifact_entries.c
    one, two = (
        {
            row["path"]: row
            for row in store.rows(
                sa.select(e.path, e.digest, e.size, e.ref).where(
                    e.artifact_id == version.artifact["id"]
                )
            )
        }
        for version in (old, new)
    )
    changes = []
    for path in sorted(one.keys() | two.keys()):
        before, after = one.get(path), two.get(path)
        if before is not None and after is not None:
            if (before["digest"], before["ref"]) == (after["digest"], after["ref"]):
                continue
            kind = "changed"
        else:
            kind = "added" if before is None else "removed"
        changes.append(
            Change(
                kind,
                unescape(path),
                before["size"] if before else None,
                after["size"] if after else None,
            )
        )
    return changes
