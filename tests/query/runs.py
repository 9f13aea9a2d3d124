"""Runs as plain dicts (columns, `config` unwrapped), and how they get into a store for a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from mirror.ingest import ingest_runs
from mirror.store import tables
from mirror.store.store import Store

Run = Mapping[str, Any]

_WIRE = {
    "display_name": "displayName",
    "state": "state",
    "group": "group",
    "job_type": "jobType",
    "host": "host",
    "notes": "notes",
    "description": "description",
    "sweep": "sweepName",
    "tags": "tags",
    "created_at": "createdAt",
    "heartbeat_at": "heartbeatAt",
    "updated_at": "updatedAt",
}


def node(run: Run) -> dict[str, Any]:
    """Return the run as the server would send it: config wrapped, documents as JSON texts."""
    wrapped = {key: {"value": value} for key, value in (run.get("config") or {}).items()}
    username = run.get("username")
    return {
        "name": run["name"],
        **{theirs: run.get(ours) for ours, theirs in _WIRE.items()},
        "user": {"username": username} if username is not None else None,
        "config": json.dumps(wrapped),
        "summaryMetrics": json.dumps(run.get("summary_metrics") or {}),
    }


def put(store: Store, project_id: str, runs: Sequence[Run], *, catalogue: bool = True) -> None:
    """Write runs through the one door, in one transaction; without a catalogue the project is open."""
    with store.begin() as tx:
        nodes = [node(run) for run in runs]
        ingest_runs(tx, nodes, project_id=project_id, synced_at="2025-01-01T00:00:00Z")
        if not catalogue:
            state = {"project_id": project_id, "stage": "runs", "catalogue_open": 1}
            tx.upsert_all(tables.sync_state, [state])
        for run in runs:  # the server's arithmetic, not ours to imitate
            here = (tables.runs.c.project_id == project_id) & (tables.runs.c.name == run["name"])
            tx.execute(sa.update(tables.runs).where(here).values(duration=run.get("duration")))
