"""The rules between a store and a server: what the mode lets through, how old an answer may be.

`Door` opens the client, refuses, asks, and keeps what was read whole (`cached`, `listed`); what is
asked about projects, runs, files and people is in the classes made on it. Fetched nodes go through
`ingest` and are then answered like what was stored.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from mirror import instants
from mirror.api import notices
from mirror.api.held import Held
from mirror.api.raising import adapt, edge
from mirror.config import Config
from mirror.errors import (
    NotMirrored,
    OfflineError,
    RemoteError,
    StaleError,
    StoreBusy,
    UnsupportedError,
)

if TYPE_CHECKING:
    from mirror.projects import Project
    from mirror.query_log import QueryLog
    from mirror.remote.client import Client
    from mirror.store.store import Store

__all__ = ["Door", "app_url"]

RETRY_AFTER_S = 30.0
"""How long a server found down is left alone before an answer is refreshed again."""
TRIES = 3
_ONCE = "ask for it once in auto mode, which keeps it"


class Door:
    """A store, a server and the rules between them. Opens neither before the first read."""

    def __init__(
        self,
        config: Config,
        *,
        store: Any = None,
        partial: bool = False,
        by_page: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        self.config = config
        self.mode = config.mode
        self.max_age_s = config.max_age_s
        self.partial = partial
        self.by_page = by_page
        self.timeout_s = timeout_s
        self.app_url = app_url(config.base_url)
        self.base_url = config.base_url
        self._start(store)

    def _start(self, store: Any) -> None:
        self.held = Held(self.config, store, read_only=self.mode == "offline")
        self._client: Client | None = None
        self._log: QueryLog | None = None
        self._queries = 0
        self._pid = os.getpid()
        self._down_until = 0.0
        self._warned = self._stale = False

    def __getstate__(self) -> dict[str, Any]:
        # Neither connections nor the key travel: the key is looked up again where it is needed.
        kept = ("mode", "max_age_s", "partial", "by_page", "timeout_s", "app_url", "base_url")
        state = {name: self.__dict__[name] for name in kept}
        return {**state, "config": replace(self.config, api_key=None, sources={})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start(None)

    def __repr__(self) -> str:
        return f"<Source {self.mode} {self.base_url}>"

    # -------------------------------------------------------------- opening

    @property
    def store(self) -> Store:
        """The store, opened at the first read; again in a forked process. Raises StoreError."""
        return self.held.store

    @property
    def client(self) -> Client:
        """The client of the server. Raises OfflineError in offline mode, before any socket."""
        if self.mode == "offline":
            raise OfflineError("the mode is offline: this needs the server, and nothing was sent")
        if self._client is None or self._pid != os.getpid():
            from mirror.remote.client import Client

            config = self._keyed()
            wait_s = self.timeout_s or config.sync.timeout_s
            self._client = Client(
                config.base_url,
                config.api_key,
                timeout_s=min(wait_s, config.sync.timeout_s),
                max_rps=config.sync.max_rps or _pace(config.base_url),
                tries=TRIES,
                wait_max_s=wait_s,
            )
            self._pid = os.getpid()
            weakref.finalize(self, self._client.close)
        return self._client

    @property
    def api_key(self) -> str | None:
        """The key for the server; None where none is configured."""
        return self._keyed().api_key

    def _keyed(self) -> Config:
        """The configuration with its key; a source that was pickled lost it and looks again."""
        if not self.config.api_key:
            from mirror.config import resolve

            key = resolve(base_url=self.base_url, store=self.config.store).api_key
            self.config = replace(self.config, api_key=key)
        return self.config

    # -------------------------------------------------------------- refusing

    def refuse(self, member: str, why: str) -> NoReturn:
        """Raise UnsupportedError for a member that mirror does not offer."""
        raise adapt(UnsupportedError(f"mirror.Api does not offer {member}: {why}"))

    def refuse_write(self, member: str) -> NoReturn:
        """Raise for a member that writes; offline OfflineError. Nothing is sent either way."""
        if self.mode == "offline":
            raise adapt(
                OfflineError(
                    f"{member} writes to the server and the mode is offline: nothing was sent"
                )
            )
        self.refuse(member, "it writes to the server; use the same member of wandb.Api()")

    # -------------------------------------------------------------- the server

    @edge
    def execute(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Send a GraphQL document and return its `data`. Raises OfflineError, RemoteError."""
        return self.client.request_document(document, variables, timeout_s=timeout_s).data

    @edge
    def fetch(self, operation: str, **variables: Any) -> dict[str, Any]:
        """Send a named operation and return its `data`. Raises OfflineError, RemoteError."""
        return self.client.execute(operation, **variables)

    def now(self) -> str:
        """The server's clock where it shows one, else ours."""
        return (self._client.server_time if self._client else None) or instants.now()

    def _answered(self, ask: Callable[[], Any], held: bool) -> bool:
        """Ask the server to refresh an answer; False when it is down and the store has one."""
        if held and self.mode == "auto" and time.monotonic() < self._down_until:
            return False
        try:
            ask()
        except (RemoteError, StoreBusy) as error:
            if not held or self.mode != "auto":
                raise
            self._down_until = time.monotonic() + RETRY_AFTER_S
            self._tell_stale(error)
            return False
        self._stale = False
        return True

    def _tell_stale(self, error: Exception) -> None:
        """Note that an answer could not be refreshed; say so once."""
        self._stale = True
        if not self._warned:
            self._warned = True
            notices.warn(f"answering from the mirror, which may be stale: {error}")

    def _pages(
        self, operation: str, way: Sequence[str], first: int = 100, **variables: Any
    ) -> list[dict[str, Any]]:
        from mirror.remote.pages import connection

        pages = connection(self.client, operation, way, first=first, **variables)
        return [dict(node) for page in pages for node in page.nodes]

    # -------------------------------------------------------------- how old

    def _too_old(self, synced_at: str | None) -> bool:
        if self.max_age_s is None:
            return False
        age = _age_s(synced_at)
        return age is None or age > self.max_age_s

    def _must_refresh(self, found: Project) -> bool:
        return self.mode == "online" or self._too_old(found.synced_at)

    def _refuse_stale(self, synced_at: str | None, what: str, path: str | None) -> None:
        if not self._too_old(synced_at):
            return
        age = _age_s(synced_at)
        held = "its age is not known" if age is None else f"it is {age:,.0f} s old"
        limit = f"no older than max_age ({self.max_age_s:,.0f} s)"
        raise StaleError(f"{what} {limit}, {held}, and so it", path=path, synced_at=synced_at)

    def is_stale(self, synced_at: str | None) -> bool:
        """Whether an answer of that age is older than `max_age`, or could not be refreshed."""
        return self._stale or self._too_old(synced_at)

    @edge
    def synced_at(self, entity: str, name: str) -> str | None:
        """Return the server's time that a project's mirror is fresh as of; None: never synced."""
        found = self.find(entity, name)
        return None if found is None else found.synced_at

    # -------------------------------------------------------------- objects read whole

    def find(self, entity: str, name: str) -> Project | None:
        """Return the project of the store that a path means, or None."""
        return self.held.find(entity, name)

    def scope_of(self, entity: str, project: str) -> str:
        """Return what objects of a project are kept under: its key, or its path when not mirrored."""
        found = self.find(entity, project)
        return f"{entity}/{project}" if found is None else found.project_id

    @edge
    def cached(
        self,
        kind: str,
        scope: str,
        name: str,
        what: str,
        fetch: Callable[[], Any],
        *,
        path: str | None = None,
        fresh: Callable[[Any], bool] = bool,
    ) -> Any:
        """Return the node of an object that is read whole; a null node says "there is none".

        Auto: from the store unless older than `max_age` or not `fresh` ("there is none" is asked
        again), else fetched and kept.
        Raises NotMirrored, StaleError.
        """
        held = self.held.object(kind, scope, name)
        if self.mode == "offline":
            if held is None:
                raise self._never_read(kind, what, path)
            self._refuse_stale(held.synced_at, what, path)
            return held.node
        if held is not None and self.mode == "auto" and not self._too_old(held.synced_at) and fresh(held.node):  # fmt: skip
            return held.node
        fetched: Any = None

        def ask() -> None:
            nonlocal fetched
            fetched = fetch()
            if self.config.read_through:
                from mirror.ingest import ingest_objects

                with self.store.begin() as tx:
                    ingest_objects(tx, kind, scope, {name: fetched}, synced_at=self.now())

        if self._answered(ask, held=held is not None):
            return fetched
        assert held is not None
        return held.node

    def _listed(
        self,
        kind: str,
        scope: str,
        what: str,
        pages: Callable[[], list[dict[str, Any]]],
        *,
        path: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return all nodes of a listing that is kept whole; as `cached` does it."""
        held = self.held.objects(kind, scope)
        if self.mode == "offline" and held is None:
            raise self._never_read(kind, what, path)
        if held is not None and self.mode != "online":
            return [item.node for item in held]
        nodes: list[dict[str, Any]] = []

        def ask() -> None:
            nonlocal nodes
            nodes = pages()
            if self.config.read_through:
                from mirror.ingest import ingest_objects

                named = {str(node.get("id") or at): node for at, node in enumerate(nodes)}
                with self.store.begin() as tx:
                    ingest_objects(tx, kind, scope, named, synced_at=self.now(), listing={})

        if self._answered(ask, held=held is not None):
            return nodes
        return [item.node for item in held or ()]

    def _never_read(self, kind: str, what: str, path: str | None) -> NotMirrored:
        at = self.synced_at(*path.split("/", 1)) if path else None
        by_sync = path is not None and kind in ("view", "file_list")
        return NotMirrored(what, path=path, synced_at=at, remedy=None if by_sync else _ONCE)


# ------------------------------------------------------------------ small


def _pace(base_url: str) -> float | None:
    """Requests a second: somebody waits for each, as with the real client; a sync is more patient."""
    return None if urlsplit(base_url).hostname in ("localhost", "127.0.0.1", "::1") else 10.0


def _age_s(synced_at: str | None) -> float | None:
    micros = instants.to_us(synced_at)
    return None if micros is None else max(0.0, time.time() - micros / 1e6)


_FORGE = {
    "api.wandb.ai": "forge.coreweave.com",
    "api.qa.wandb.ai": "qa.forge.coreweave.com",
}
"""W&B's API hosts → the host whose /wandb is the app of the same deployment."""


def app_url(base_url: str) -> str:
    """Return the address of the web app behind an API's address, ending in a slash."""
    host = urlsplit(base_url).hostname or ""
    for api, forge in _FORGE.items():
        if host in (api, forge, f"api.{forge}"):
            return f"https://{forge}/wandb/"
    url = base_url.rstrip("/")
    if "://api.wandb." in url and "://api.wandb.test" not in url:
        return url.replace("://api.", "://") + "/"
    return url.replace("://api.", "://app.") + "/"
