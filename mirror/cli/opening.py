"""How a command comes to its settings and its store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import StoreError

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.projects import Project
    from mirror.query_log import QueryLog
    from mirror.store.store import Store

__all__ = ["Opened", "opened"]


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store with the settings it came from, and the log of what queries use."""

    store: Store
    settings: Config
    log: QueryLog

    @property
    def where(self) -> str:
        """Where the store is, without its password."""
        path = self.store.path
        return str(path) if path else self.store.engine.url.render_as_string(hide_password=True)

    def project(self, path: str) -> Project:
        """Return the mirrored project that a path names. Raises PathError, NotMirrored."""
        from mirror import paths, projects

        scope = paths.parse_project(path, entity=self.settings.entity)
        return projects.find(self.store, scope.entity, scope.project)


@contextlib.contextmanager
def opened(
    store: str | None, config: str | None, *, create: bool = False, upgrade: bool = False
) -> Iterator[Opened]:
    """Open the store that the settings name."""
    from mirror.config import resolve
    from mirror.query_log import QueryLog
    from mirror.store.store import Store

    settings = resolve(store=store, config=config)
    with Store.open(
        settings.store, create=create, upgrade=upgrade, journal_mode=settings.journal_mode
    ) as database:
        log = QueryLog(lambda: database, enabled=settings.query_log)
        yield Opened(database, settings, log)
        # An answer does not fail because its use could not be noted (a store of somebody else's).
        with contextlib.suppress(StoreError):
            log.flush()
