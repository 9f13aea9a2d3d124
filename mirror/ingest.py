"""The one door from the server to the store: pure mappers, and `ingest` which writes their rows.

    node (GraphQL)                            rows
    {"name": "abc", "displayName": "fox-1",   runs           scalars, tags, times twice
     "createdAt": "2024-01-02T03:04:05",      run_documents  what filters read
     "config": "{\\"lr\\": {\\"value\\": 0.1}}",    run_texts      what the server sent, verbatim
     "summaryMetrics": "{...}", ...}          run_keys       the catalogue, growing

Everything that enters the store goes through here: sync, read-through, and what the server
answered to a write. A node is a full node; light listings are compared, never ingested.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from mirror import instants
from mirror.catalogue import MAX_PATHS, Trie
from mirror.global_ids import decode_global_id
from mirror.jsontext import VERBATIM, dumps, escape, loads, pack, read_document, unpack
from mirror.store import tables
from mirror.store.store import Row, Transaction

__all__ = [
    "DOCUMENT_FIELDS",
    "GENERATION",
    "Ingested",
    "ingest_entity",
    "ingest_objects",
    "ingest_projects",
    "ingest_runs",
    "ingest_sweeps",
    "project_key",
    "rebuild_runs",
    "recount_keys",
    "stored_node",
    "tombstone_projects",
    "tombstone_runs",
    "tombstone_sweeps",
    "unwrap_config",
]

GENERATION = 1
"""Bump when the mapping below changes: stores re-map from their own texts, with no network."""

DOCUMENT_FIELDS = ("config", "summaryMetrics", "systemMetrics")
_CONFIG_INTERNAL = ("_wandb", "wandb_version")

Tries = Mapping[str, Trie]
"""The catalogue's counts for `config` and `summary_metrics`, while a page is mapped."""


def _new_tries() -> Tries:
    return {"config": Trie(), "summary_metrics": Trie()}


# ------------------------------------------------------------------ identifiers


def project_key(node: Mapping[str, Any]) -> str:
    """Return what keys a project: the decimal number in its internalId, else that text itself."""
    internal = str(node.get("internalId") or node.get("id") or "")
    parts = decode_global_id(internal)
    if parts and parts[-1].isdecimal():
        return parts[-1]
    return escape(internal)


# ------------------------------------------------------------------ mappers (pure)


def unwrap_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's config: W&B's `{"value": …}` wrappers and internal keys taken off.

    The rule is the client's (contract 4.A): any top-level object having a key "value" is unwrapped.
    """
    return {
        key: item["value"] if type(item) is dict and "value" in item else item
        for key, item in config.items()
        if key not in _CONFIG_INTERNAL
    }


def _object(text: Any) -> tuple[dict[str, Any], str]:
    """Read a JSONString as an object; the other value is `VERBATIM`, or "" where the text says more.

    What is no object reads as {}: the text itself is kept anyway.
    """
    if text is None:
        return {}, VERBATIM
    if not isinstance(text, str) or not text:
        return {}, ""
    try:
        value, same = read_document(text)
    except ValueError:
        return {}, ""
    return (value, VERBATIM if same else "") if isinstance(value, dict) else ({}, "")


def _text(value: Any) -> str | None:
    return None if value is None else escape(str(value))


def _dumps_node(value: Any) -> str:
    """Write a raw node, lone surrogates and all."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(value)


@dataclass(slots=True)
class _Mapped:
    """A run on its way to its three tables."""

    run: dict[str, Any]
    config: str
    summary: str
    texts: dict[str, Any]


def map_run(node: Mapping[str, Any], project_id: str, tries: Tries | None) -> _Mapped:
    """Map one full run node; pure but for counting its keys into the tries of the catalogue."""
    config_text, summary_text = node.get("config"), node.get("summaryMetrics")
    wrapped, config_end = _object(config_text)
    config = unwrap_config(wrapped)
    summary, summary_end = _object(summary_text)
    if tries is not None:
        tries["config"].add(config)
        tries["summary_metrics"].add(summary)
    user = node.get("user") or {}
    sweep = node.get("sweep") or {}
    rest = {name: value for name, value in node.items() if name not in DOCUMENT_FIELDS}
    created, heartbeat, updated = (
        node.get("createdAt"),
        node.get("heartbeatAt"),
        node.get("updatedAt"),
    )
    run = {
        "project_id": project_id,
        "name": escape(node["name"]),
        "id": node.get("id"),
        "display_name": _text(node.get("displayName")),
        "state": _text(node.get("state")),
        "group": _text(node.get("group")),
        "job_type": _text(node.get("jobType")),
        "host": _text(node.get("host")),
        "username": _text(user.get("username")),
        "sweep": _text(node.get("sweepName") or sweep.get("name")),
        "notes": _text(node.get("notes")),
        "description": _text(node.get("description")),
        "tags": dumps([escape(str(tag)) for tag in node.get("tags") or ()]),
        "created_at": created,
        "created_at_us": instants.to_us(created),
        "heartbeat_at": heartbeat,
        "heartbeat_at_us": instants.to_us(heartbeat),
        "updated_at": updated,
        "updated_at_us": instants.to_us(updated),
        "duration": _duration(node, summary),
        "history_line_count": node.get("historyLineCount"),
        "live": 1,
        "deleted_at": None,
        "out_of_selection_at": None,
    }
    texts = {
        "node": pack(_dumps_node(rest)),
        "config": pack(config_text),
        "summary_metrics": pack(summary_text),
        "system_metrics": pack(node.get("systemMetrics")),
    }
    return _Mapped(run, dumps(config) + config_end, dumps(summary) + summary_end, texts)


def _duration(node: Mapping[str, Any], summary: Mapping[str, Any]) -> float | None:
    """Seconds: what the server computed, else the summary's `_runtime` (contract 15.16)."""
    for value in (node.get("computeSeconds"), summary.get("_runtime")):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


# ------------------------------------------------------------------ writing


@dataclass(slots=True)
class Ingested:
    """What one call of `ingest_runs` did."""

    runs: int = 0
    new: int = 0
    revived: int = 0


def _stamp(tx: Transaction, synced_at: str) -> dict[str, Any]:
    return {"seq": tx.seq, "synced_at": synced_at}


def ingest_entity(tx: Transaction, node: Mapping[str, Any], *, synced_at: str) -> None:
    """Write an entity (a person's or a team's)."""
    row = {
        "name": escape(node["name"]),
        "id": node.get("id"),
        "entity_type": node.get("entityType"),
        "node": pack(_dumps_node(dict(node))),
        "deleted_at": None,
    }
    tx.upsert_all(tables.entities, [row | _stamp(tx, synced_at)])


def ingest_projects(
    tx: Transaction, nodes: Iterable[Mapping[str, Any]], *, synced_at: str
) -> list[str]:
    """Write projects and the paths they answer to; return their keys in order."""
    keys = []
    for node in nodes:
        entity = node.get("entityName") or (node.get("entity") or {}).get("name")
        key = project_key(node)
        row = {
            "project_id": key,
            "entity": _text(entity),
            "name": _text(node["name"]),
            "id": node.get("id"),
            "description": _text(node.get("description")),
            "access": node.get("access"),
            "created_at": node.get("createdAt"),
            "created_at_us": instants.to_us(node.get("createdAt")),
            "last_active": node.get("lastActive"),
            "node": pack(_dumps_node(dict(node))),
            "deleted_at": None,
        }
        if node.get("runCount") is not None:
            row["run_count"] = node["runCount"]
        tx.upsert_all(tables.projects, [row | _stamp(tx, synced_at)])
        alias = {
            "entity": row["entity"],
            "name": row["name"],
            "project_id": key,
            "last_seen_at": synced_at,
        }
        _keep_alias(tx, alias)
        keys.append(key)
    return keys


def _keep_alias(tx: Transaction, alias: Row) -> None:
    c = tables.project_aliases.c
    this = (
        (c.entity == alias["entity"])
        & (c.name == alias["name"])
        & (c.project_id == alias["project_id"])
    )
    known = tx.execute(
        sa.update(tables.project_aliases).where(this).values(last_seen_at=alias["last_seen_at"])
    )
    if not known.rowcount:
        tx.upsert_all(tables.project_aliases, [{**alias, "first_seen_at": alias["last_seen_at"]}])


def ingest_sweeps(
    tx: Transaction,
    nodes: Iterable[Mapping[str, Any]],
    *,
    project_id: str,
    synced_at: str,
    listing: bool = False,
) -> int:
    """Write sweeps of a project; return how many. A whole `listing` is also kept in its order."""
    nodes = list(nodes)
    rows = [
        {
            "project_id": project_id,
            "name": escape(node["name"]),
            "id": node.get("id"),
            "display_name": _text(node.get("displayName")),
            "state": _text(node.get("state")),
            "method": _text(node.get("method")),
            "run_count": node.get("runCount"),
            "created_at": node.get("createdAt"),
            "created_at_us": instants.to_us(node.get("createdAt")),
            "updated_at": node.get("updatedAt"),
            "heartbeat_at": node.get("heartbeatAt"),
            "node": pack(_dumps_node(dict(node))),
            "deleted_at": None,
        }
        | _stamp(tx, synced_at)
        for node in nodes
    ]
    tx.upsert_all(tables.sweeps, rows)
    if listing:
        names = [node["name"] for node in nodes]
        ingest_objects(tx, "sweep_list", project_id, {}, synced_at=synced_at, listing=names)
    return len(rows)


def ingest_runs(
    tx: Transaction,
    nodes: Sequence[Mapping[str, Any]],
    *,
    project_id: str,
    synced_at: str,
    catalogue: bool = True,
) -> Ingested:
    """Write full run nodes of one project, their documents, texts, users and keys.

    A run listed twice in one page (a border that shifted) is written once, the later node wins.
    """
    by_name = {node["name"]: node for node in nodes}
    if not by_name:
        return Ingested()
    tries = _new_tries() if catalogue else None
    mapped = [map_run(node, project_id, tries) for node in by_name.values()]
    before = _held_runs(tx, project_id, [item.run["name"] for item in mapped])
    _write_runs(tx, project_id, mapped, synced_at, before)
    _ingest_users(tx, by_name.values(), synced_at)
    if tries is not None:
        _grow_catalogue(tx, project_id, tries)
    return Ingested(
        runs=len(mapped),
        new=len(mapped) - len(before),
        revived=sum(not live for _, live in before.values()),
    )


def _held_runs(
    tx: Transaction, project_id: str, names: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Return (run_key, live) of the named runs that are held, by name as stored."""
    if tx.store.backend == "sqlite":
        # CROSS JOIN keeps the order: left to itself, SQLite reads every run of the project.
        text = (
            "SELECT r.name, r.run_key, r.live FROM json_each(?) AS named CROSS JOIN runs AS r"
            " ON r.project_id = ? AND r.name = named.value"
        )
        found = tx.connection.exec_driver_sql(text, (dumps(list(names)), project_id))
    else:
        text = (
            "SELECT name, run_key, live FROM runs"
            " WHERE project_id = %(project_id)s AND name = ANY(%(names)s)"
        )
        found = tx.connection.exec_driver_sql(
            text, {"project_id": project_id, "names": list(names)}
        )
    return {str(name): (int(key), int(live)) for name, key, live in found}


def _write_runs(
    tx: Transaction,
    project_id: str,
    mapped: Sequence[_Mapped],
    synced_at: str,
    before: Mapping[str, tuple[int, int]],
) -> None:
    stamp = _stamp(tx, synced_at) | {"read_at_us": time.time_ns() // 1000}
    tx.upsert_all(tables.runs, [item.run | stamp for item in mapped], key=("project_id", "name"))
    new = [item.run["name"] for item in mapped if item.run["name"] not in before]
    held = {**before, **_held_runs(tx, project_id, new)} if new else before
    keys = {name: key for name, (key, _) in held.items()}
    tx.upsert_all(
        tables.run_documents,
        [
            {
                "run_key": keys[item.run["name"]],
                "project_id": project_id,
                "name": item.run["name"],
                "created_at_us": item.run["created_at_us"],
                "live": 1,
                "config": item.config,
                "summary_metrics": item.summary,
            }
            for item in mapped
        ],
    )
    tx.upsert_all(
        tables.run_texts, [{"run_key": keys[item.run["name"]], **item.texts} for item in mapped]
    )


def _ingest_users(tx: Transaction, nodes: Iterable[Mapping[str, Any]], synced_at: str) -> None:
    users = {}
    for node in nodes:
        user = node.get("user")
        if user and user.get("username"):
            users[user["username"]] = user
    rows = [
        {"username": escape(username), "id": user.get("id"), "name": _text(user.get("name"))}
        | _stamp(tx, synced_at)
        for username, user in users.items()
    ]
    tx.upsert_all(tables.users, rows)


# ------------------------------------------------------------------ the catalogue

_GROW = {
    "sqlite": """
        INSERT INTO run_keys (project_id, document, path, types, count, min, max)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (project_id, document, path) DO UPDATE SET
          types = types | excluded.types, count = count + excluded.count,
          min = coalesce(min(min, excluded.min), min, excluded.min),
          max = coalesce(max(max, excluded.max), max, excluded.max)""",
    "postgresql": """
        INSERT INTO run_keys (project_id, document, path, types, count, min, max)
        VALUES (%(project_id)s, %(document)s, %(path)s, %(types)s, %(count)s, %(min)s, %(max)s)
        ON CONFLICT (project_id, document, path) DO UPDATE SET
          types = run_keys.types | excluded.types, count = run_keys.count + excluded.count,
          min = least(run_keys.min, excluded.min), max = greatest(run_keys.max, excluded.max)""",
}
_KEY_COLUMNS = ("project_id", "document", "path", "types", "count", "min", "max")


def _grow_catalogue(tx: Transaction, project_id: str, tries: Tries) -> None:
    rows = [
        {
            "project_id": project_id,
            "document": name,
            **dict(zip(_KEY_COLUMNS[2:], key, strict=True)),
        }
        for name, trie in tries.items()
        for key in trie.keys()  # noqa: SIM118 - not a mapping
    ]
    if not rows or _catalogue_is_open(tx, project_id, len(rows)):
        return
    rows.sort(key=lambda row: (row["document"], row["path"]))  # one lock order for all writers
    tx.execute_many(_GROW[tx.store.backend], _KEY_COLUMNS, rows)


def _catalogue_is_open(tx: Transaction, project_id: str, more: int) -> bool:
    """Whether the project has, or with `more` could have, too many paths to be worth listing.

    Counting is cheap and pessimistic: only when the sum could pass the limit is it counted exactly.
    """
    c = tables.sync_state.c
    here = (c.project_id == project_id) & (c.stage == "runs")
    state = tx.execute(sa.select(c.catalogue_open).where(here)).scalar()
    if state:
        return True
    keys = tables.run_keys.c
    held = tx.execute(
        sa.select(sa.func.count()).select_from(tables.run_keys).where(keys.project_id == project_id)
    ).scalar_one()
    if held < MAX_PATHS and more < MAX_PATHS:
        return False
    tx.upsert_all(
        tables.sync_state, [{"project_id": project_id, "stage": "runs", "catalogue_open": 1}]
    )
    return True


def recount_keys(tx: Transaction, project_id: str) -> int:
    """Count a project's keys again from the documents held; return how many there are.

    Counts and ranges are then those of the runs that readers see. A key that only tombstones have
    stays, counted 0: a run may come back. With too many keys the catalogue is left as it is, and 0
    is returned.
    """
    held, live = _new_tries(), _new_tries()
    d = tables.run_documents.c
    last = 0
    columns = (d.run_key, d.live, d.config, d.summary_metrics)
    here = sa.select(*columns).where(d.project_id == project_id).order_by(d.run_key)
    while batch := tx.rows(here.where(d.run_key > last).limit(_REBUILD_BATCH)):
        last = batch[-1]["run_key"]
        for row in batch:
            for name in held:
                document = _json(row[name])
                held[name].add(document)
                if row["live"]:
                    live[name].add(document)
    rows = _key_rows(project_id, held, live)
    is_open = len(rows) >= MAX_PATHS
    state = tables.sync_state.c
    here_too = (state.project_id == project_id) & (state.stage == "runs")
    tx.execute(sa.update(tables.sync_state).where(here_too).values(catalogue_open=int(is_open)))
    if is_open:
        return 0
    tx.execute(sa.delete(tables.run_keys).where(tables.run_keys.c.project_id == project_id))
    if rows:
        tx.execute_many(_GROW[tx.store.backend], _KEY_COLUMNS, rows)
    return len(rows)


def _key_rows(project_id: str, held: Tries, live: Tries) -> list[Row]:
    rows: list[Row] = []
    for name, trie in held.items():
        seen = {key.path: key for key in live[name].keys()}  # noqa: SIM118 - not a mapping
        for key in trie.keys():  # noqa: SIM118
            now = seen.get(key.path)
            count, least, most = (now.seen, now.min, now.max) if now else (0, None, None)
            values = (project_id, name, key.path, key.types, count, least, most)
            rows.append(dict(zip(_KEY_COLUMNS, values, strict=True)))
    return rows


# ------------------------------------------------------------------ deletion, rebuilding


def tombstone_runs(
    tx: Transaction, project_id: str, names: Sequence[str], *, at: str, column: str = "deleted_at"
) -> int:
    """Mark runs gone (`deleted_at`) or out of the selection (`out_of_selection_at`); return how many.

    Reversible: the rows stay, readers skip them, and ingesting the run again clears the mark.
    """
    held = _held_runs(tx, project_id, [escape(name) for name in names])
    keys = [key for key, _ in held.values()]
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        tx.execute(
            sa.update(tables.runs)
            .where(tables.runs.c.run_key.in_(some))
            .values({column: at, "live": 0, "seq": tx.seq})
        )
        tx.execute(
            sa.update(tables.run_documents)
            .where(tables.run_documents.c.run_key.in_(some))
            .values(live=0)
        )
    return len(keys)


def tombstone_projects(tx: Transaction, project_ids: Sequence[str], *, at: str) -> int:
    """Mark projects gone; return how many. Their runs stay as they are."""
    c = tables.projects.c
    done = tx.execute(
        sa.update(tables.projects)
        .where(c.project_id.in_(project_ids), c.deleted_at.is_(None))
        .values(deleted_at=at, seq=tx.seq)
    )
    return int(done.rowcount)


def tombstone_sweeps(tx: Transaction, project_id: str, names: Sequence[str], *, at: str) -> int:
    """Mark sweeps gone; return how many. Ingesting one again clears the mark."""
    c = tables.sweeps.c
    done = tx.execute(
        sa.update(tables.sweeps)
        .where(c.project_id == project_id, c.name.in_([escape(name) for name in names]))
        .values(deleted_at=at, seq=tx.seq)
    )
    return int(done.rowcount)


_REBUILD_BATCH = 500


def stored_node(texts: Row) -> dict[str, Any]:
    """Put a run's node together again from its row in `run_texts`, as the server sent it."""
    node: dict[str, Any] = loads(unpack(texts["node"]) or "{}")
    for name, column in (
        ("config", "config"),
        ("summaryMetrics", "summary_metrics"),
        ("systemMetrics", "system_metrics"),
    ):
        node[name] = unpack(texts[column])
    return node


def rebuild_runs(tx: Transaction, project_id: str) -> tuple[int, int]:
    """Derive a project's rows, documents and catalogue again from the server's texts.

    Returns (runs read, runs that changed). One transaction: readers see the old state until it is
    whole, and no run can be ingested between the reading and the new catalogue.
    """
    tries = _new_tries()
    c, t = tables.runs.c, tables.run_texts.c
    read = changed = last = 0
    while True:
        batch = tx.rows(
            sa.select(
                t.run_key, t.node, t.config, t.summary_metrics, t.system_metrics, c.live, c.deleted_at,
                c.out_of_selection_at, c.synced_at, c.read_at_us, c.seq,
            )
            .join(tables.runs, c.run_key == t.run_key)
            .where(c.project_id == project_id, t.run_key > last)
            .order_by(t.run_key)
            .limit(_REBUILD_BATCH)
        )  # fmt: skip
        if not batch:
            break
        last = batch[-1]["run_key"]
        read += len(batch)
        changed += _rebuild_batch(tx, project_id, batch, tries)
    tx.execute(sa.delete(tables.run_keys).where(tables.run_keys.c.project_id == project_id))
    state = tables.sync_state.c
    tx.execute(
        sa.update(tables.sync_state)
        .where(state.project_id == project_id, state.stage == "runs")
        .values(catalogue_open=0, generation=GENERATION)
    )
    _grow_catalogue(tx, project_id, tries)
    return read, changed


def _rebuild_batch(tx: Transaction, project_id: str, batch: Sequence[Row], tries: Tries) -> int:
    changed = 0
    runs, documents = [], []
    for texts in batch:
        mapped = map_run(stored_node(texts), project_id, tries)
        kept = {
            name: texts[name]
            for name in ("live", "deleted_at", "out_of_selection_at", "synced_at", "read_at_us")
        }
        runs.append({**mapped.run, **kept, "run_key": texts["run_key"], "seq": tx.seq})
        documents.append(
            {
                "run_key": texts["run_key"],
                "project_id": project_id,
                "name": mapped.run["name"],
                "created_at_us": mapped.run["created_at_us"],
                "live": texts["live"],
                "config": mapped.config,
                "summary_metrics": mapped.summary,
            }
        )
    changed = _count_changes(tx, runs, documents)
    if changed:
        tx.upsert_all(tables.runs, runs)
        tx.upsert_all(tables.run_documents, documents)
    return changed


def _count_changes(tx: Transaction, runs: Sequence[Row], documents: Sequence[Row]) -> int:
    """Count the runs whose derived columns differ from what is stored; JSON is compared by value."""
    keys = [row["run_key"] for row in runs]
    r, d = tables.runs.c, tables.run_documents.c
    held = {
        row["run_key"]: row
        for row in tx.rows(
            sa.select(tables.runs, d.config, d.summary_metrics)
            .outerjoin(tables.run_documents, d.run_key == r.run_key)
            .where(r.run_key.in_(keys))
        )
    }
    differ = 0
    for run, document_row in zip(runs, documents, strict=True):
        old = held[run["run_key"]]
        scalars = all(
            old[name] == value for name, value in run.items() if name not in ("seq", "tags")
        )
        texts = {**document_row, "tags": run["tags"]}
        same = all(
            _json(old[name]) == _json(texts[name]) for name in ("tags", "config", "summary_metrics")
        )
        differ += not (scalars and same)
    return differ


def _json(value: Any) -> Any:
    """A JSON column as a value: SQLite hands over text, psycopg what it parsed.

    Numbers past int64 are doubles here, whichever way jsonb spelled them.
    """
    return orjson.loads(value if isinstance(value, str) else json.dumps(value))


# ------------------------------------------------------------------ objects read whole


def ingest_objects(
    tx: Transaction,
    kind: str,
    scope: str,
    nodes: Mapping[str, Any],
    *,
    synced_at: str,
    listing: Any = None,
) -> None:
    """Write objects of a kind by name; with `listing` (facts about the list) they are all there are.

    Objects that a whole listing lacks are marked deleted; the listing itself is the row of name "".
    """
    rows = [
        {
            "kind": kind,
            "scope": escape(scope),
            "name": escape(name),
            "position": position,
            "node": pack(_dumps_node(node)),
            "deleted_at": None,
        }
        | _stamp(tx, synced_at)
        for position, (name, node) in enumerate(nodes.items())
    ]
    if listing is not None:
        c = tables.objects.c
        here = (c.kind == kind) & (c.scope == escape(scope)) & c.deleted_at.is_(None)
        gone = sa.update(tables.objects).where(here).values(deleted_at=synced_at, seq=tx.seq)
        tx.execute(gone)
        marker = {"position": -1, "node": pack(_dumps_node(listing)), "deleted_at": None}
        place = {"kind": kind, "scope": escape(scope), "name": ""}
        rows.insert(0, place | marker | _stamp(tx, synced_at))
    tx.upsert_all(tables.objects, rows)
