"""Compare the store with the server and say every difference; nothing is written.

`verify` walks a light listing (names, times, tags …); `deep` reads the documents too and compares
the texts byte for byte.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from mirror import config as configuration
from mirror.config import Config, ProjectSettings
from mirror.errors import NotFound
from mirror.ingest import DOCUMENT_FIELDS, project_key, stored_node
from mirror.jsontext import escape, unescape
from mirror.remote.operations import Count, Runs
from mirror.remote.pages import Page
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import state
from mirror.sync.artifact_task import ArtifactTask, Choice, Place
from mirror.sync.artifacts import ArtifactSync
from mirror.sync.listing import Project, windows
from mirror.sync.pulse import STAGE, Question
from mirror.sync.report import ProjectReport
from mirror.sync.round import connect, targets_of, viewer
from mirror.sync.task import LIGHT_PAGE, NAMES_A_REQUEST, differs
from mirror.sync.walk import Window, all_of

__all__ = ["Difference", "verify"]

DEEP_PAGE = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the store and the server differ.

    `kind`: missing (the server has it, the mirror not), extra (the mirror shows it, the server not),
    stale (its fields differ), document (a text differs), count, quarantined. `severity` is info
    where the mirror already knows and says so.
    """

    kind: Literal["missing", "extra", "stale", "document", "count", "quarantined", "project"]
    path: str
    name: str | None
    severity: Literal["error", "warning", "info"]
    detail: str


def verify(
    paths: Sequence[str] | str | None = None,
    *,
    deep: bool = False,
    store: str | os.PathLike[str] | Store | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    config: str | os.PathLike[str] | Config | None = None,
) -> list[Difference]:
    """Return every difference between the store and the server; [] when they are equal.

    `paths` as for `sync`; None means every project in the store. Raises RemoteError, StoreError
    (also where there is no store yet).
    """
    settings = (
        config
        if isinstance(config, Config)
        else configuration.resolve(
            store=os.fspath(store) if isinstance(store, str | os.PathLike) else None,
            base_url=base_url,
            api_key=api_key,
            config=config,
        )
    )
    wanted = [paths] if isinstance(paths, str) else paths
    found: list[Difference] = []
    opening = (
        contextlib.nullcontext(store)
        if isinstance(store, Store)
        else Store.open(settings.store, read_only=True, journal_mode=settings.journal_mode)
    )
    with opening as opened, connect(settings) as client:
        who = viewer(client)
        failures: dict[str, str] = {}
        if wanted is None:
            targets = _held_projects(opened)
        else:
            targets = targets_of(client, settings, who, wanted, failures)
        found += [
            Difference("project", path, None, "error", text) for path, text in failures.items()
        ]
        for target in targets:
            chosen = settings.project_settings("/".join(target))
            project = Project(client, *target)
            found += _project(opened, project, chosen.filters, deep)
            if "artifacts" in chosen.take:
                found += _artifacts(opened, project, chosen)
    return found


def _artifacts(store: Store, project: Project, chosen: ProjectSettings) -> Iterator[Difference]:
    """Compare artifacts, where they were synced at all."""
    c, s = tables.projects.c, tables.sync_state.c
    row = store.one(
        sa.select(c.project_id)
        .join(tables.sync_state, s.project_id == c.project_id)
        .where(
            c.entity == escape(project.entity), c.name == escape(project.name),
            c.deleted_at.is_(None), s.stage == STAGE, s.walk_complete_at.is_not(None),
        )
    )  # fmt: skip
    if row is None:
        return
    look = ArtifactSync(
        ArtifactTask(
            client=project.client,
            store=store,
            place=Place(row["project_id"], project.entity, project.name),
            report=ProjectReport(path=project.path),
        ),
        question=Question(),
        choice=Choice(chosen.artifact_types, chosen.artifact_collections),
    )
    for kind, name, detail in look.differences():
        yield Difference(kind, project.path, name, "error", detail)  # type: ignore[arg-type]


def _held_projects(store: Store) -> list[tuple[str, str]]:
    c = tables.projects.c
    rows = store.rows(
        sa.select(c.entity, c.name).where(c.deleted_at.is_(None)).order_by(c.entity, c.name)
    )
    return [(unescape(row["entity"]), unescape(row["name"])) for row in rows]


def _project(
    store: Store, project: Project, filters: Mapping[str, Any], deep: bool
) -> Iterator[Difference]:
    try:
        answer = project.ask({"total": Count(filters)})
    except NotFound as error:
        yield Difference("project", project.path, None, "error", str(error))
        return
    project_id = project_key(answer.info)
    known = state.load(store, project_id)
    if known["project_id"] is None:
        r = tables.registries.c
        if store.one(sa.select(r.name).where(r.project_id == project_id)) is not None:
            return  # mirrored without runs; its artifacts are compared
        detail = f"never synced: run `mirror sync {project.path}`"
        yield Difference("project", project.path, None, "error", detail)
        return
    quarantined = state.quarantined(store, project_id)
    for name, row in quarantined.items():
        yield Difference("quarantined", project.path, name, "info", row["error"])

    def fetch(window: Window, base: Mapping[str, Any] = filters) -> Page:
        size = DEEP_PAGE if deep else LIGHT_PAGE
        runs = Runs(window.filters(base), first=size, after=window.after, light=not deep)
        return project.ask({"page": runs}).pages["page"]

    group: set[str] = set()
    for page, here, following in windows(fetch):
        yield from _page(store, project, project_id, page, quarantined, deep)
        group |= {node["name"] for node in page.nodes}
        if following is not None and following.start == here.start:
            continue
        end_us = None if following is None else following.start_us
        held = state.names_between(store, project_id, here.start_us, end_us)
        unlisted = sorted(held - group - quarantined.keys())
        for page in _second_look(fetch, filters, unlisted):
            yield from _page(store, project, project_id, page, quarantined, deep)
            group |= {node["name"] for node in page.nodes}
        for name in unlisted:
            if name in group:
                continue
            yield Difference(
                "extra", project.path, name, "error", "in the mirror, not in the server's listing"
            )
        group = set()
    total = answer.counts["total"]
    mirrored = state.live_count(store, project_id)
    difference = total - mirrored
    if difference != int(known["count_difference"] or 0):
        detail = f"the server counts {total} runs, the mirror shows {mirrored}"
        yield Difference("count", project.path, None, "warning", detail)
    elif difference:
        detail = f"{difference} runs are counted and not listed to this key"
        yield Difference("count", project.path, None, "info", detail)


def _second_look(
    fetch: Callable[[Window, Mapping[str, Any]], Page],
    filters: Mapping[str, Any],
    names: Sequence[str],
) -> Iterator[Page]:
    """The runs of these names that the server has: where times are equal, a page's border may slip."""
    for some in state.chunks(names, NAMES_A_REQUEST):
        base = all_of(filters, {"name": {"$in": list(some)}})
        for page, _here, _following in windows(lambda here: fetch(here, base)):  # noqa: B023
            yield page


def _page(
    store: Store,
    project: Project,
    project_id: str,
    page: Page,
    quarantined: Mapping[str, Any],
    deep: bool,
) -> Iterator[Difference]:
    names = [node["name"] for node in page.nodes]
    held = state.stored(store, project_id, names)
    texts = _texts(store, project_id, names) if deep else {}
    for node in page.nodes:
        name = node["name"]
        row = held.get(name)
        if name in quarantined:
            continue
        if row is None or not row["live"]:
            yield Difference(
                "missing", project.path, name, "error", "on the server, not in the mirror"
            )
        elif differs(node, row):
            yield Difference(
                "stale", project.path, name, "error", "tags, name, state or times differ"
            )
        elif deep:
            mine = texts.get(name, {})
            wrong = [field for field in DOCUMENT_FIELDS if mine.get(field) != node.get(field)]
            if wrong:
                detail = f"differs in {', '.join(wrong)}"
                yield Difference("document", project.path, name, "error", detail)


def _texts(store: Store, project_id: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    c = tables.runs.c
    for start in range(0, len(names), 500):
        some = [escape(name) for name in names[start : start + 500]]
        rows = store.rows(
            sa.select(c.name, tables.run_texts)
            .join(tables.run_texts, tables.run_texts.c.run_key == c.run_key)
            .where(c.project_id == project_id, c.name.in_(some))
        )
        found |= {unescape(row["name"]): stored_node(row) for row in rows}
    return found
