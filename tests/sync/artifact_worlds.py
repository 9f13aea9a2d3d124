"""What a world's artifacts are against what a store holds of them."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from mirror.jsontext import unescape, unpack
from mirror.sandbox import World
from mirror.store import tables
from mirror.store.store import Store

PATH = "team/vision"


def fill(world: World, versions: int = 4) -> None:
    """Two sequences with versions, aliases, tags and lineage, and a portfolio with a link."""
    art = world.artifacts
    run = world.add_run(PATH, name="trainer1", state="finished")
    user = world.add_run(PATH, name="user1", state="finished")
    for number in range(versions):
        made = art.log(
            f"{PATH}/data", "dataset", {"a.txt": f"hello {number}", "d/b.txt": "same"},
            run=run, metadata={"n": number, "loss": float("nan")}, tags=["t"],
        )  # fmt: skip
    art.use(made, user, "training-data")
    model = art.log(f"{PATH}/model", "model", {"w.bin": "weights"}, run=user, aliases=["best"])
    art.link(model, f"{PATH}/shelf", ["prod"])


def wanted(world: World, path: str = PATH) -> dict[str, Any]:
    """What the mirror must show of a project's artifacts."""
    from mirror.sandbox.artifact_objects import shelf

    return {
        one.name: {
            "kind": "sequence" if one.is_sequence else "portfolio",
            "type": one.type.name,
            "tags": one.tags,
            "description": one.description,
            "members": {
                member.id: {
                    "index": member.version_index,
                    "aliases": sorted(member.aliases),
                    "artifact": member.artifact.id,
                    "state": member.artifact.state,
                    "digest": member.artifact.digest,
                    "tags": member.artifact.tags,
                    "description": member.artifact.description,
                    "metadata": member.artifact.metadata,
                    "used": sorted(run.name for run in member.artifact.used_by),
                }
                for member in one.members
            },
        }
        for one in shelf(world.project(path)).collections.values()
        if one.state == "READY"
    }


def held(store: Store, path: str = PATH) -> dict[str, Any]:
    """What the mirror shows of a project's artifacts."""
    entity, _, name = path.partition("/")
    p, c, m = tables.projects.c, tables.artifact_collections.c, tables.artifact_memberships.c
    v, u = tables.artifacts.c, tables.artifact_uses.c
    collections = store.rows(
        sa.select(tables.artifact_collections)
        .join(tables.projects, p.project_id == c.project_id)
        .where(p.entity == entity, p.name == name, c.deleted_at.is_(None))
    )
    found = {}
    for one in collections:
        members = {}
        for row in store.rows(
            sa.select(
                m.id.label("member"), m.version_index.label("at"), m.aliases,
                v.id.label("artifact"), v.state, v.digest, v.tags, v.description, v.metadata_text,
            )
            .join(tables.artifacts, v.id == m.artifact_id)
            .where(m.collection_id == one["id"], m.deleted_at.is_(None))
        ):  # fmt: skip
            uses = store.rows(
                sa.select(u.run).where(
                    u.artifact_id == row["artifact"],
                    u.direction == "used",
                    u.deleted_at.is_(None),
                )
            )
            members[row["member"]] = {
                "index": row["at"],
                "aliases": sorted(names(row["aliases"])),
                "artifact": row["artifact"],
                "state": row["state"],
                "digest": row["digest"],
                "tags": names(row["tags"]),
                "description": row["description"],
                "metadata": unpack(row["metadata_text"]),
                "used": sorted(use["run"] for use in uses),
            }
        found[unescape(one["name"])] = {
            "kind": one["kind"],
            "type": one["type"],
            "tags": names(one["tags"]),
            "description": one["description"],
            "members": members,
        }
    return found


def names(value: Any) -> list[str]:
    return json.loads(value) if isinstance(value, str) else list(value)


def holders(store: Store, collection: str, path: str = PATH) -> list[tuple[str, str, bool]]:
    """The alias history of a collection: (alias, artifact, stands), oldest first."""
    a, c, p = tables.artifact_aliases.c, tables.artifact_collections.c, tables.projects.c
    entity, _, name = path.partition("/")
    rows = store.rows(
        sa.select(a.alias, a.artifact_id, a.until_us)
        .join(tables.artifact_collections, c.id == a.collection_id)
        .join(tables.projects, p.project_id == c.project_id)
        .where(c.name == collection, p.entity == entity, p.name == name)
        .order_by(a.since_us)
    )
    return [(row["alias"], row["artifact_id"], row["until_us"] is None) for row in rows]
