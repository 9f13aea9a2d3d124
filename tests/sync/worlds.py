"""What a world holds against what a store holds, and runs to fill a world with."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from mirror.ingest import stored_node
from mirror.jsontext import unescape
from mirror.sandbox import World
from mirror.store import tables
from mirror.store.store import Store

KEY = "a1b2c3d4e5" * 4
PATH = "team/vision"


def node_of(run: Any) -> dict[str, Any]:
    """What the mirror must hold of a run of the world."""
    return {
        "id": run.id,
        "name": run.name,
        "displayName": run.display_name,
        "state": run.state,
        "group": run.group,
        "jobType": run.job_type,
        "notes": run.notes,
        "tags": run.tags,
        "createdAt": run.created_at,
        "heartbeatAt": run.heartbeat_at,
        "updatedAt": run.updated_at,
        "sweepName": run.sweep_name,
        "historyLineCount": run.history_line_count,
        "config": run.config_text,
        "summaryMetrics": run.summary_text,
        "systemMetrics": run.system_metrics,
    }


def mirrored(store: Store, path: str = PATH) -> dict[str, dict[str, Any]]:
    """The live runs of a project in the store, as nodes by name."""
    entity, _, name = path.partition("/")
    r, p = tables.runs.c, tables.projects.c
    rows = store.rows(
        sa.select(r.id.label("global_id"), tables.run_texts)
        .join(tables.run_texts, tables.run_texts.c.run_key == r.run_key)
        .join(tables.projects, p.project_id == r.project_id)
        .where(p.entity == entity, p.name == name, p.deleted_at.is_(None), r.live == 1)
    )
    found = {}
    for row in rows:
        node = stored_node(row)
        node["id"] = row["global_id"]  # kept fresh apart from the node: a rename changes it
        found[node["name"]] = node
    return found


def differences(world: World, store: Store, path: str = PATH) -> list[str]:
    """Every way in which the store's live runs are not the world's; [] when they are equal."""
    wanted = {
        run.name: node_of(run)
        for run in world.project(path).runs.values()
        if run.deleted_at is None and not run.hidden
    }
    held = mirrored(store, path)
    found = [f"missing {name}" for name in sorted(wanted.keys() - held.keys())]
    found += [f"extra {name}" for name in sorted(held.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & held.keys()):
        for field, value in wanted[name].items():
            if held[name].get(field) != value:
                found.append(f"{name}.{field}: {held[name].get(field)!r}, the server has {value!r}")
    return found + columns_that_lie(store)


def columns_that_lie(store: Store) -> list[str]:
    """Runs whose two tables disagree on what readers see."""
    r, d = tables.runs.c, tables.run_documents.c
    rows = store.rows(
        sa.select(r.name).join(tables.run_documents, d.run_key == r.run_key).where(
            sa.or_(r.live != d.live, r.name != d.name, r.created_at_us.is_distinct_from(d.created_at_us))
        )
    )  # fmt: skip
    return [f"{unescape(row['name'])}: runs and run_documents differ" for row in rows]


def add_runs(
    world: World, count: int, *, path: str = PATH, first: int = 0, day: int = 1, ties: int = 3
) -> None:
    """Add ended runs of January 2024, `ties` to a second."""
    for index in range(first, first + count):
        second = index // ties
        world.add_run(
            path,
            name=f"run{index:05d}",
            config={"lr": 1 / (index + 1), "nested": {"depth": index % 5}},
            summary={"loss": index / 7, "val/acc": 0.5},
            created_at=f"2024-01-{day:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z",
            tags=["base"] if index % 2 else [],
        )
