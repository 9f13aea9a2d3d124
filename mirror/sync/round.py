"""One sync round over many projects: `sync`, and `plan` which only asks.

Finds the targets, holds the lease, runs `ProjectSync` for each under one budget, and gathers the
report. One failed project never stops the others. Reads the configuration once, through
`config.resolve`; below here everything is an argument.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mirror import config as configuration
from mirror import instants
from mirror.config import Config
from mirror.errors import (
    ConfigError,
    GraphQLError,
    MirrorError,
    NotFound,
    StoreBusy,
    StoreError,
    Unauthorized,
)
from mirror.paths import check_pattern, is_pattern, matches, parse_project
from mirror.remote.client import Client
from mirror.remote.pages import PageSize, entity_projects
from mirror.store.store import Store, is_in_memory, parse_url
from mirror.sync import collector, kinds, lease, registries, state
from mirror.sync.engine import ProjectSync
from mirror.sync.listing import Project
from mirror.sync.pulse import Ahead, Beside, Question
from mirror.sync.report import Event, ProjectReport, SyncReport
from mirror.sync.task import Settings, Stopped

__all__ = ["connect", "open_store", "settings_for", "sync", "targets_of", "viewer"]


_LOOK_UP_S = 0.5
"""How often a wait for the server looks whether the round is to end."""


WARNINGS_KEPT = 10
"""So many warnings of a project's round are kept in the sync log."""


def _quiet(_event: Event) -> None:
    pass


def sync(
    paths: Sequence[str] | str | None = None,
    *,
    store: str | os.PathLike[str] | Store | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    config: str | os.PathLike[str] | Config | None = None,
    reconcile: bool = False,
    full: bool = False,
    yes: bool = False,
    on_event: Callable[[Event], None] | None = None,
    max_rps: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> SyncReport:
    """Mirror projects from a W&B server into the store, once, and say what was done.

    Args:
        paths: `"entity/project"`, `"project"` (of the default entity) or globs such as
            `"team/*"`; None means what mirror.toml includes.
        store: a SQLAlchemy URL, a file path or an open Store.
        base_url: the server; `api_key`: the key. All four come from the argument, else the
            environment, else mirror.toml, else the default.
        config: the path of a mirror.toml, or a Config already resolved.
        reconcile: compare every run with the server, not only what moved.
        full: read every document again, too.
        yes: mark runs as deleted even where more than a fifth of a project is missing.
        on_event: receives an Event for each step; may be called from several threads.
        max_rps: requests a second; None: polite, or unlimited on loopback.
        stopping: asked after every page; True ends the round cleanly.

    Returns:
        A SyncReport. A project that failed is in `report.failures`, with the others done.

    Raises:
        ConfigError, Unauthorized, Unreachable, StoreError: nothing could be synced.
        StoreBusy: another sync holds the store.
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
    wanted = [paths] if isinstance(paths, str) else list(paths) if paths is not None else None
    check_asked(settings, wanted)
    emit = on_event or _quiet
    with (
        connect(settings, max_rps=max_rps, stopping=stopping) as client,
        _asked_first(settings, store, client) as who,
        open_store(settings, store) as opened,
        lease.held(opened) as token,
        collector.relaxed(),
    ):
        order = _Order(
            client=client,
            store=opened,
            config=settings,
            token=token,
            emit=lambda event: emit(replace(event, requests=client.stats.requests)),
            stopping=stopping,
            flags={"reconcile": reconcile, "full": full, "yes": yes},
            question=Question.of(opened, client.base_url),
        )
        return _round(order, wanted, who)


@dataclass(frozen=True, slots=True)
class _Order:
    """What every project of a round shares."""

    client: Client
    store: Store
    config: Config
    token: int
    emit: Callable[[Event], None]
    stopping: Callable[[], bool]
    flags: Mapping[str, bool]
    question: Question


@contextmanager
def _asked_first(config: Config, store: object, client: Client) -> Iterator[dict[str, Any] | None]:
    """Who the key belongs to, where a store is still to be made: not for a key that is refused."""
    url = parse_url(config.store)
    there = (
        isinstance(store, Store)
        or url.get_backend_name() != "sqlite"
        or is_in_memory(url)
        or Path(url.database or "").expanduser().exists()
    )
    yield None if there else viewer(client)


@contextmanager
def open_store(config: Config, store: object = None) -> Iterator[Store]:
    """Yield the store to write to, made and migrated as needed; one given open stays open."""
    if isinstance(store, Store):
        yield store
        return
    url = parse_url(config.store)
    if url.get_backend_name() == "sqlite" and is_in_memory(url):
        raise StoreError(
            f"the store {config.store!r} is in memory and would be gone when the sync ends: name a file, "
            "or pass an open Store"
        )
    with Store.open(
        config.store, create=True, upgrade=True, journal_mode=config.journal_mode
    ) as opened:
        yield opened


def connect(
    config: Config,
    *,
    max_rps: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Client:
    """Return a client for the configured server; its waits end with Stopped when `stopping` says so."""

    def wait(seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if stopping():
                raise Stopped
            time.sleep(min(_LOOK_UP_S, left))

    return Client(
        config.base_url,
        config.api_key,
        timeout_s=config.sync.timeout_s,
        max_rps=max_rps or config.sync.max_rps,
        sleep=wait,
    )


def viewer(client: Client) -> dict[str, Any]:
    """Return who the key belongs to. Raises Unauthorized where the server says nobody."""
    try:
        data = client.execute("MirrorViewer")
    except GraphQLError:  # servers older than serverInfo.features
        data = client.execute("MirrorViewerOnly")
    found = data.get("viewer")
    if not found and not client.has_key:
        raise Unauthorized(
            f"there is no API key for {client.base_url}: set WANDB_API_KEY or run `wandb login`",
            operation="MirrorViewer",
        )
    if not found:
        raise Unauthorized(
            f"{client.base_url} does not accept this API key (it says the viewer is nobody): set "
            "WANDB_API_KEY or run `wandb login`; `mirror doctor` shows where the key comes from",
            operation="MirrorViewer",
        )
    return dict(found)


# ------------------------------------------------------------------ the round


def _round(order: _Order, wanted: Sequence[str] | None, who: dict[str, Any] | None) -> SyncReport:
    began = time.monotonic()
    where = order.store.path or order.store.engine.url.render_as_string(hide_password=True)
    report = SyncReport(started_at=instants.now(), store=str(where))
    order.emit(Event("started"))
    with order.store.begin(lease=order.token) as tx:
        state.end_killed(tx)
    who = who or viewer(order.client)
    mark = _before(order.client.server_time)
    targets = targets_of(order.client, order.config, who, wanted, report.failures)
    every_s = order.config.sync.reconcile_every_s
    kinds.read_viewer(order.client, order.store, order.token, every_s, mark)
    theirs = _registries(order, mark)
    organizations = who.get("organizations") or ()
    beside = theirs.ahead(organizations) if order.config.sync.registries else None
    with ThreadPoolExecutor(
        max(1, order.config.sync.workers), thread_name_prefix="mirror-sync"
    ) as pool:
        report.projects = list(pool.map(lambda target: _one(order, target, mark, beside), targets))
    if order.config.sync.registries and not order.stopping():
        with contextlib.suppress(Stopped):
            theirs.run(organizations)
        report.projects += theirs.reports
    for project in report.projects:
        if project.error is not None:
            report.failures[project.path] = project.error
    report.interrupted = order.stopping()
    stats = order.client.stats
    report.requests, report.bytes, report.retries = stats.requests, stats.bytes, stats.retries
    report.elapsed_s = time.monotonic() - began
    report.finished_at = instants.now()
    order.store.checkpoint()
    order.emit(Event("done"))
    return report


def _before(date: str | None) -> str | None:
    """The mark: a second before the server's clock, which a Date header tells to the second."""
    micros = instants.to_us(date)
    return None if micros is None else instants.from_us(micros - 1_000_000)


def _one(
    order: _Order, target: tuple[str, str], mark: str | None, beside: Beside | None
) -> ProjectReport:
    """Sync one project and log it. The loop's boundary: whatever fails is recorded, the rest goes on."""
    path = "/".join(target)
    if order.stopping():
        return ProjectReport(path=path, error="not begun: the round was stopped")
    with order.store.begin(lease=order.token) as tx:
        entry = state.start_log(tx, path, instants.now())
    work = ProjectSync(
        order.client,
        order.store,
        Project(order.client, *target),
        settings_for(order.config, path, **order.flags),
        lease=order.token,
        mark=mark,
        emit=order.emit,
        stopping=order.stopping,
    )
    if "artifacts" in work.settings.take:
        work.question = order.question
        work.ahead = Ahead(order.client, order.store, work.settings.lag_s, order.question, beside)
    try:
        report, outcome = work.run(), "ok"
        kinds.read(work)
        registries.read_artifacts(work)
    except StoreBusy:
        raise  # the lease is lost: nothing more may be written in this round
    except Stopped as stopped:
        report, outcome = _failed(order, work, str(stopped)), "interrupted"
    except MirrorError as error:
        report, outcome = _failed(order, work, str(error)), "failed"
    except Exception as error:  # noqa: BLE001 - the boundary: a bug in one project is told, not fatal
        text = f"internal error: {type(error).__name__}: {error}"
        report, outcome = _failed(order, work, text), "failed"
    with order.store.begin(lease=order.token) as tx:
        counts = {
            "kind": report.kind,
            "runs": report.runs,
            "new": report.new,
            "tombstoned": report.tombstoned,
            "collections": report.collections,
            "versions": report.versions,
            "versions_gone": report.versions_gone,
            "failed_stages": report.failed_stages,
            "warnings": report.warnings[:WARNINGS_KEPT],
        }
        state.end_log(tx, entry, outcome=outcome, report=counts, error=report.error)
    done = "finished" if report.error is None else "failed"
    order.emit(Event(done, path, done=report.runs, message=report.error))  # type: ignore[arg-type]
    return report


def _registries(order: _Order, mark: str | None) -> registries.Registries:
    """What reads the registries of the key's organizations, once a round."""

    def keep_going() -> None:
        if order.stopping():
            raise Stopped

    s = order.config.sync
    return registries.Registries(
        client=order.client,
        store=order.store,
        lease=order.token,
        mark=mark,
        question=order.question,
        lag_s=s.lag_s,
        reconcile=order.flags["reconcile"] or order.flags["full"],
        reconcile_every_s=s.reconcile_every_s,
        emit=order.emit,
        keep_going=keep_going,
        page_size=PageSize(s.page_size, maximum=s.page_size_max),
    )


def _failed(order: _Order, work: ProjectSync, text: str) -> ProjectReport:
    work.report.error = text
    if work.project_id:
        with order.store.begin(lease=order.token) as tx:
            state.save(tx, work.project_id, last_error=text, last_error_at=instants.now())
    return work.report


def settings_for(config: Config, path: str, **flags: bool) -> Settings:
    """Return what the engine is told for one project."""
    s, project = config.sync, config.project_settings(path)
    return Settings(
        lag_s=s.lag_s,
        reconcile_every_s=s.reconcile_every_s,
        reread_days=s.reread_days,
        page_size=s.page_size,
        page_size_max=s.page_size_max,
        catalogue=s.catalogue,
        filters=project.filters,
        take=project.take,
        depth=project.depth,
        artifact_types=project.artifact_types,
        artifact_collections=project.artifact_collections,
        **flags,
    )


# ------------------------------------------------------------------ targets


def check_asked(config: Config, wanted: Sequence[str] | None) -> None:
    """Raise ConfigError where neither the caller nor mirror.toml names a project."""
    if wanted is None and not config.sync.include:
        raise ConfigError(
            "nothing to sync: name projects (`mirror sync entity/project`), or list them under "
            "[sync] include in mirror.toml (`mirror init` writes one)"
        )


def targets_of(
    client: Client,
    config: Config,
    who: Mapping[str, Any],
    wanted: Sequence[str] | None,
    failures: dict[str, str],
) -> list[tuple[str, str]]:
    """Return (entity, project) of everything asked for, each once, in order.

    Globs are expanded by listing; what cannot be listed goes to `failures`. A bad path raises.
    """
    entity = config.entity or who.get("entity")
    found: dict[tuple[str, str], None] = {}
    for pattern in wanted if wanted is not None else config.sync.include:
        if not is_pattern(pattern):
            scope = parse_project(pattern, entity=entity)
            found[(scope.entity, scope.project)] = None
            continue
        check_pattern(pattern)
        try:
            found.update(dict.fromkeys(_expand(client, config, who, pattern)))
        except MirrorError as error:
            failures[pattern] = str(error)
    return list(found)


def _expand(
    client: Client, config: Config, who: Mapping[str, Any], pattern: str
) -> Iterator[tuple[str, str]]:
    entity_glob, _, _project = pattern.partition("/")
    entities = _entities(who) if is_pattern(entity_glob) else [entity_glob]
    matched = False
    for entity in entities:
        for node in entity_projects(client, entity):
            name = node["name"]
            excluded = any(matches(glob, entity, name) for glob in config.sync.exclude)
            if matches(pattern, entity, name) and not excluded:
                matched = True
                yield node.get("entityName") or entity, name
    if not matched:
        raise NotFound(f"{pattern!r}: no project that this key may see has a path like that")


def _entities(who: Mapping[str, Any]) -> list[str]:
    edges = (who.get("teams") or {}).get("edges") or []
    names = [
        who.get("entity"),
        *(edge["node"]["name"] for edge in edges if edge and edge.get("node")),
    ]
    return [name for name in dict.fromkeys(names) if name]
