"""What is mirrored besides runs and sweeps: the owner, reports and team of a project, file lists.

Read at the first walk, with `--full`, and once in `reconcile_every_s`; file lists of the runs that a
round wrote. None of it fails a project: what the server refuses is a warning in the report, and is
read through when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from mirror import ingest, instants
from mirror.errors import RemoteError
from mirror.jsontext import unescape, unpack
from mirror.remote.client import Client
from mirror.remote.pages import page_of
from mirror.store import tables
from mirror.store.store import Store

if TYPE_CHECKING:
    from mirror.sync.engine import ProjectSync

__all__ = ["read", "read_viewer"]

VIEWS_A_REQUEST = 100
RUNS_A_REQUEST = 100
RUNS_A_ROUND = 2000
"""File lists read in one round, those of the newest runs first; the rest is read through when asked."""


def read_viewer(client: Client, store: Store, lease: int, every_s: float, mark: str | None) -> None:
    """Note who the key belongs to, for answers offline; once in a while is enough."""
    if not _due(_noted(store, "viewer", "", "viewer"), mark, every_s):
        return
    try:
        node = client.execute("MirrorViewerUser").get("viewer")
    except RemoteError:
        return  # a nicety; the round itself has told who the key belongs to
    with store.begin(lease=lease) as tx:
        at = mark or instants.now()
        ingest.ingest_objects(tx, "viewer", "", {"viewer": node}, synced_at=at)


def read(work: ProjectSync) -> None:
    """Read what is due of one project, after its runs."""
    every_s = 0.0 if work.settings.full else work.settings.reconcile_every_s
    due = _due(_noted(work.store, "view", work.project_id, ""), work.mark, every_s)
    for name, wanted, part in (
        ("reports", due, _project),
        ("team", due, _team),
        ("files", due or work.report.runs > 0, _files),
    ):
        if not wanted or name not in work.settings.take or work.stopping():
            continue
        try:
            part(work)
        except RemoteError as error:
            work.report.warnings.append(f"{name} of {work.project.path} were not read: {error}")


def _noted(store: Store, kind: str, scope: str, name: str) -> str | None:
    """When an object was last read."""
    c = tables.objects.c
    row = store.one(sa.select(c.synced_at).where(c.kind == kind, c.scope == scope, c.name == name))
    return None if row is None else str(row["synced_at"])


def _due(last: str | None, mark: str | None, every_s: float) -> bool:
    last_us, now_us = instants.to_us(last), instants.to_us(mark or instants.now())
    return last_us is None or now_us is None or now_us - last_us >= every_s * 1_000_000


def _at(work: ProjectSync) -> str:
    return work.mark or instants.now()


def _place(work: ProjectSync) -> dict[str, str]:
    return {"entity": work.project.entity, "project": work.project.name}


def _project(work: ProjectSync) -> None:
    """The owner and the reports of the project, in one request where they are few."""
    data = work.client.execute("MirrorProjectKinds", first=VIEWS_A_REQUEST, **_place(work))
    node = data.get("project") or {}
    page = page_of(node.get("allViews"))
    views = list(page.nodes)
    while page.has_next and page.end_cursor:
        data = work.client.execute(
            "MirrorViews", first=VIEWS_A_REQUEST, after=page.end_cursor, **_place(work)
        )
        previous, page = page, page_of((data.get("project") or {}).get("allViews"))
        views += page.nodes
        if page.end_cursor == previous.end_cursor:
            break
    named = {str(view["id"]): dict(view) for view in views}
    with work.store.begin(lease=work.lease) as tx:
        if node.get("user"):
            owner = {"owner": node["user"]}
            ingest.ingest_objects(tx, "project_owner", work.project_id, owner, synced_at=_at(work))
        ingest.ingest_objects(tx, "view", work.project_id, named, synced_at=_at(work), listing={})


def _team(work: ProjectSync) -> None:
    """The entity with its members; once for all projects of it in a round."""
    entity = work.project.entity
    if _noted(work.store, "team", "", entity) == _at(work):
        return
    node = work.client.execute("MirrorTeam", name=entity).get("entity")
    with work.store.begin(lease=work.lease) as tx:
        ingest.ingest_objects(tx, "team", "", {entity: node}, synced_at=_at(work))


def _files(work: ProjectSync) -> None:
    """The file lists of runs that were written since their list was, newest runs first."""
    nodes = _unlisted(work)
    asked = []
    empty = {}
    for name, node in nodes.items():
        if node.get("fileCount") == 0:
            empty[name] = {"mark": _mark(node), "fileCount": 0, "files": []}
        else:
            asked.append(name)
    _keep(work, empty)
    for start in range(0, len(asked), RUNS_A_REQUEST):
        if work.stopping():
            return
        _keep(work, _listed(work, nodes, asked[start : start + RUNS_A_REQUEST]))


def _unlisted(work: ProjectSync) -> dict[str, Any]:
    """Nodes of the runs whose file list is older than they are, by name."""
    r, t, o = tables.runs.c, tables.run_texts.c, tables.objects.c
    listed = (o.kind == "file_list") & (o.scope == r.project_id) & (o.name == r.name)
    rows = work.store.rows(
        sa.select(r.name, t.node)
        .select_from(
            tables.runs.join(tables.run_texts, t.run_key == r.run_key).outerjoin(
                tables.objects, listed
            )
        )
        .where(r.project_id == work.project_id, r.live == 1, (o.seq.is_(None)) | (o.seq < r.seq))
        .order_by(r.created_at_us.desc())
        .limit(RUNS_A_ROUND)
    )
    return {unescape(row["name"]): orjson.loads(unpack(row["node"]) or "{}") for row in rows}


def _listed(
    work: ProjectSync, nodes: Mapping[str, Any], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    filters = orjson.dumps({"name": {"$in": list(names)}}).decode()
    data = work.client.execute(
        "MirrorFilesOfRuns", filters=filters, first=len(names), **_place(work)
    )
    found = {}
    runs = page_of((data.get("project") or {}).get("runs"))
    for run in runs.nodes:
        page = page_of(run.get("files"))
        if page.has_next or run["name"] not in nodes:
            continue  # a long list: read through when asked for
        found[run["name"]] = {
            "mark": _mark(nodes[run["name"]]),
            "fileCount": run.get("fileCount"),
            "files": list(page.nodes),
        }
    given = {run["name"] for run in runs.nodes}
    left = [name for name in names if name not in given]
    if runs.has_next and given and left:  # the server gives fewer at once than it was asked for
        found |= _listed(work, nodes, left)
    return found


def _mark(node: Mapping[str, Any]) -> list[Any]:
    """What of a run its file list depends on, as `mirror.api.source` compares it."""
    return [node.get("state"), node.get("historyLineCount"), node.get("heartbeatAt")]


def _keep(work: ProjectSync, lists: Mapping[str, Any]) -> None:
    if not lists:
        return
    with work.store.begin(lease=work.lease) as tx:
        ingest.ingest_objects(tx, "file_list", work.project_id, lists, synced_at=_at(work))
