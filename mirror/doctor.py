"""Is everything fit for a sync? Each finding says what was looked at, what was found, what to do.

`examine` goes through the parts in the order a sync needs them; one that fails does not stop the
others. The API key is used and never shown.
"""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mirror import instants
from mirror.config import Config, resolve
from mirror.errors import ConfigError, MirrorError, StoreBusy, StoreError
from mirror.remote.client import Client
from mirror.status import Status, status
from mirror.store.store import Store, file_system, parse_url
from mirror.sync.round import viewer

__all__ = ["Finding", "examine"]

Level = Literal["ok", "warning", "problem"]

CLOCK_OFF_S = 60.0
FREE_BYTES = 1_000_000_000
STALE_S = 2 * 86_400.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is what to do about it, None where nothing is needed."""

    check: str
    level: Level
    found: str
    remedy: str | None = None


def examine(
    *,
    store: str | None = None,
    config: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
) -> Iterator[Finding]:
    """Yield findings: settings, key, server, clock, store, disk, lease, syncs."""
    yield from _software()
    try:
        settings = resolve(store=store, config=config, base_url=base_url, api_key=api_key)
    except ConfigError as error:
        yield Finding("settings", "problem", str(error), "correct the setting that is named")
        return
    yield from _settings(settings)
    yield from _server(settings)
    yield from _store(settings)


def _software() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    found = f"Python {python}, SQLite {sqlite3.sqlite_version}"
    if sys.platform == "win32":
        yield Finding("software", "problem", f"{found}, Windows", "use Linux, macOS or WSL")
    elif sqlite3.sqlite_version_info < (3, 38):
        remedy = "use a Python with SQLite 3.38 or newer, or a PostgreSQL store"
        yield Finding("software", "problem", found, remedy)
    else:
        yield Finding("software", "ok", found)


def _settings(settings: Config) -> Iterator[Finding]:
    path = settings.config_path
    yield Finding("settings", "ok", str(path) if path else "no mirror.toml, defaults are used")
    chosen = len(settings.sync.include)
    if chosen:
        yield Finding(
            "selection",
            "ok",
            f"{chosen} {'entry' if chosen == 1 else 'entries'} under [sync] include",
        )
    else:
        remedy = "list projects under [sync] include, or name them: mirror sync entity/project"
        yield Finding("selection", "warning", "mirror.toml includes no project", remedy)


# ------------------------------------------------------------------ the server


def _server(settings: Config) -> Iterator[Finding]:
    source = settings.sources.get("base_url", "default")
    if settings.api_key is None:
        remedy = "set WANDB_API_KEY, or run `wandb login`, which keeps the key in ~/.netrc"
        yield Finding("key", "problem", f"no API key ({settings.key_source})", remedy)
        return
    yield Finding("key", "ok", f"from {settings.key_source}")
    # One try: who waits for a doctor wants to hear what is wrong, not to sit out a retry.
    with Client(
        settings.base_url, settings.api_key, timeout_s=settings.sync.timeout_s, tries=1
    ) as client:
        began = time.monotonic()
        try:
            who = viewer(client)
        except MirrorError as error:
            remedy = (
                f"check the address ({settings.base_url}, from {source}), the network and the key"
            )
            yield Finding("server", "problem", str(error), remedy)
            return
        took_ms = (time.monotonic() - began) * 1000
        where = f"{settings.base_url} (from {source})"
        yield Finding("server", "ok", f"{where} answers in {took_ms:.0f} ms")
        yield _scope(who)
        yield _features(client)
        yield _clock(client.server_time)


def _scope(who: dict[str, Any]) -> Finding:
    edges = (who.get("teams") or {}).get("edges") or []
    teams = [edge["node"]["name"] for edge in edges if edge and edge.get("node")]
    found = f"the key is {who.get('username')}'s, default entity {who.get('entity')}"
    return Finding("scope", "ok", f"{found}, teams: {', '.join(teams) or 'none'}")


def _features(client: Client) -> Finding:
    left_out = sorted(client.fields_left_out)
    if not left_out:
        return Finding("features", "ok", "the server knows every field that mirror asks for")
    found = f"the server does not know {', '.join(left_out)}"
    return Finding(
        "features", "warning", found, "these stay empty; upgrade the W&B server for them"
    )


def _clock(server_time: str | None) -> Finding:
    if server_time is None:
        return Finding("clock", "ok", "the server does not tell its time; marks come from its runs")
    off_s = (instants.parse(instants.now()) - instants.parse(server_time)) / 1_000_000
    found = (
        f"this machine's is {abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the server's"
    )
    if abs(off_s) <= CLOCK_OFF_S:
        return Finding("clock", "ok", found)
    remedy = (
        "set the clock (NTP): syncs are right all the same, but ages in `mirror status` are not"
    )
    return Finding("clock", "warning", found, remedy)


# ------------------------------------------------------------------ the store


def _store(settings: Config) -> Iterator[Finding]:
    source = settings.sources.get("store", "default")
    try:
        url = parse_url(settings.store)
    except StoreError as error:
        yield Finding("store", "problem", str(error), f"correct it in: {source}")
        return
    where = f"{url.render_as_string(hide_password=True)} (from {source})"
    path = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    if path is not None and not path.exists():
        yield Finding("store", "ok", f"{where}: not there yet, the first sync makes it")
        yield from _disk(path.parent, 0)
        return
    try:
        with Store.open(
            settings.store, read_only=True, journal_mode=settings.journal_mode
        ) as store:
            yield from _opened(store, where)
    except StoreBusy as error:
        yield Finding(
            "store", "problem", str(error), "wait for the process that holds it, or end it"
        )
    except StoreError as error:
        yield Finding("store", "problem", str(error), "see the message; `mirror db check` looks closer")  # fmt: skip
    if path is not None:
        yield from _file(path)


def _opened(store: Store, where: str) -> Iterator[Finding]:
    found = status(store, syncs=1)
    size = f"{found.size_bytes / 1e6:,.1f} MB, {len(found.projects)} projects"
    yield Finding("store", "ok", f"{where}: revision {found.revision}, {size}")
    if found.holder is None:
        yield Finding("lease", "ok", "no sync is at work")
    else:
        yield Finding("lease", "ok", f"held by {found.holder}")
    yield from _projects(found)


def _projects(found: Status) -> Iterator[Finding]:
    remedies: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("failed in their last sync", lambda p: p.last_error, "`mirror status` shows the errors"),
        ("have runs in quarantine", lambda p: p.quarantined, "they are tried again by themselves"),
        (
            "are not mirrored to the end",
            lambda p: not p.complete and not p.deleted_at,
            "run `mirror sync` until it says that nothing is left",
        ),
        (
            "are more than two days old",
            lambda p: p.complete and not p.deleted_at and (p.age_s or 0) > STALE_S,
            "run `mirror sync`; `mirror schedule` prints what runs it regularly",
        ),
        (
            "are gone from the server",
            lambda p: p.deleted_at,
            "what was mirrored stays; take them out of mirror.toml",
        ),
    )
    said = False
    for text, is_so, remedy in remedies:
        paths = [project.path for project in found.projects if is_so(project)]
        if paths:
            said = True
            some = ", ".join(paths[:3]) + (", …" if len(paths) > 3 else "")
            yield Finding("projects", "warning", f"{len(paths)} {text}: {some}", remedy)
    if found.projects and not said:
        yield Finding("projects", "ok", f"all {len(found.projects)} are fresh and whole")


def _file(path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        remedy = f"chmod 600 {path}: configs and summaries may hold what others should not read"
        yield Finding("privacy", "warning", f"others may read {path} (mode {mode:o})", remedy)
    else:
        yield Finding("privacy", "ok", "only you may read the store")
    yield from _disk(path.parent, path.stat().st_size)


def _disk(folder: Path, size: int) -> Iterator[Finding]:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    kind = file_system(folder)
    found = f"{free / 1e9:,.1f} GB free" + (f" on {kind}" if kind else "")
    if free < max(FREE_BYTES, size // 2):
        remedy = "free some space, or move the store: a full disk stops a sync (nothing is lost)"
        yield Finding("disk", "warning", found, remedy)
    else:
        yield Finding("disk", "ok", found)
