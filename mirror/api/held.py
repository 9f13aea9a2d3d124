"""What the mirror holds: the store, opened at the first read, and every read the facade makes of it.

No rules of modes or freshness here and no server; `mirror.api.door` has those. Runs are read by
`mirror.api.rows`; answers that still hold are kept by `mirror.api.memo`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.errors import NotMirrored
from mirror.jsontext import escape, loads, unpack

if TYPE_CHECKING:
    from mirror.api.memo import Memo
    from mirror.api.rows import Row
    from mirror.config import Config
    from mirror.projects import Project
    from mirror.reads import Log, RunQuery
    from mirror.store.reader import Readable
    from mirror.store.store import Store

__all__ = ["Held", "Stored"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A node as the server sent it, and when it was."""

    node: Any
    synced_at: str


class Held:
    """A store and what the facade reads of it. Opens nothing before the first read."""

    def __init__(self, config: Config, given: Any = None, *, read_only: bool) -> None:
        """`given` is an open Store to use instead of the configured one."""
        self._config = config
        self._read_only = read_only
        self._given = given
        self._store: Store | None = None
        self._reader: Readable | None = None
        self._memo: Memo | None = None
        self._pid = os.getpid()
        self._lock = threading.RLock()

    # -------------------------------------------------------------- opening

    @property
    def store(self) -> Store:
        """The store, opened at the first read; again in a forked process. Raises StoreError."""
        if self._store is not None and self._pid == os.getpid():
            return self._store
        with self._lock:
            return self._open()

    @property
    def reader(self) -> Readable:
        """What reads the store, opened like `store` and cheaper to open. Raises StoreError."""
        if self._reader is not None and self._pid == os.getpid():
            return self._reader
        if self._given is not None:
            return self.store
        with self._lock:
            return self._open_reader()

    def opened(self) -> Readable:
        """Return `reader`: for what opens it later."""
        return self.reader

    @property
    def memo(self) -> Memo:
        """Answers that hold as long as the store does not change."""
        reader = self.reader
        if self._memo is None:
            from mirror.api.memo import Memo

            self._memo = Memo(reader)
        return self._memo

    def _open(self) -> Store:
        from mirror.store.store import Store

        self._after_fork()
        if isinstance(self._given, Store):
            self._store = self._given
        elif self._store is None:
            self._store = Store.open(
                self._config.store,
                create=not self._read_only,
                upgrade=not self._read_only,
                read_only=self._read_only,
                journal_mode=self._config.journal_mode,
            )
        return self._store

    def _open_reader(self) -> Readable:
        from mirror.store.reader import Reader

        self._after_fork()
        if self._reader is None:
            found = Reader.open(self._config.store, journal_mode=self._config.journal_mode)
            self._reader = self._open() if found is None else found
        return self._reader

    def _after_fork(self) -> None:
        if self._pid != os.getpid():  # connections of the parent are not ours to use
            self._store = self._reader = self._memo = self._given = None
            self._pid = os.getpid()

    def rows(self, text: str, *values: Any) -> Sequence[Any]:
        """Run a statement written with ? for its values; in a read transaction of its own."""
        reader = self.reader
        if reader.backend != "sqlite":
            text = text.replace("?", "%s")
        with reader.read() as connection:
            found: Sequence[Any] = connection.exec_driver_sql(text, values).all()
        return found

    def scalar(self, text: str, *values: Any) -> Any:
        """Return the first value of the first row; None where there is no row."""
        rows = self.rows(text, *values)
        return rows[0][0] if rows else None

    # -------------------------------------------------------------- projects

    def find(self, entity: str, name: str) -> Project | None:
        """Return the project of the store that a path means, or None."""
        return self.memo.answer(("project", entity, name), lambda: self._find(entity, name))

    def _find(self, entity: str, name: str) -> Project | None:
        from mirror import projects

        try:
            return projects.find(self.reader, entity, name)
        except NotMirrored:
            return None

    def progress(self, project_id: str) -> tuple[int, int | None]:
        """Return how many runs of a project are held, and how many the server said there are."""
        held = self.scalar(
            "SELECT count(*) FROM runs WHERE project_id = ? AND live = 1", project_id
        )
        total = self.scalar("SELECT run_count FROM projects WHERE project_id = ?", project_id)
        return int(held), total

    def project_node(self, project_id: str) -> Stored:
        """Return a project's own node, its owner in it."""
        ((node, synced_at),) = self.rows(
            "SELECT node, synced_at FROM projects WHERE project_id = ?", project_id
        )
        owner = self.object("project_owner", project_id, "owner")
        found: dict[str, Any] = loads(unpack(node) or "{}")
        if owner is not None:
            found["user"] = owner.node
        return Stored(found, synced_at)

    def has_entity(self, entity: str) -> bool:
        """Whether a project of the entity is held."""
        from mirror import projects

        return any(project.entity == entity for project in projects.every(self.reader))

    # -------------------------------------------------------------- runs and sweeps

    def query(
        self,
        project_id: str,
        filters: Mapping[str, Any],
        order: str | None,
        log: Log | None = None,
    ) -> RunQuery:
        """Return the question for the runs of a project. Raises QueryError."""
        from mirror.reads import RunQuery

        return RunQuery(self.reader, project_id, filters, order or None, log=log)

    def run(self, project_id: str, name: str) -> Row | None:
        from mirror.api.rows import single

        return single(self.opened, project_id, name)

    def hides_run(self, project_id: str, name: str) -> bool:
        """Whether a run that is not held may exist: a filter of the sync, or the quarantine."""
        selection = self.scalar(
            "SELECT selection FROM sync_state WHERE project_id = ? AND stage = 'runs'", project_id
        )
        held_back = self.rows(
            "SELECT 1 FROM quarantine WHERE project_id = ? AND name = ?", project_id, escape(name)
        )
        return selection is not None or bool(held_back)

    def sweeps(self, project_id: str, name: str | None = None) -> list[Stored]:
        text = "SELECT node, synced_at FROM sweeps WHERE project_id = ? AND deleted_at IS NULL"
        values = [project_id]
        if name is not None:
            text, values = f"{text} AND name = ?", [project_id, escape(name)]
        rows = self.rows(f"{text} ORDER BY created_at_us DESC, name", *values)
        found = [Stored(loads(unpack(node) or "{}"), synced_at) for node, synced_at in rows]
        listed = self.object("sweep_list", project_id, "") if name is None else None
        if listed is not None:  # the server's own order; what came later is newer
            places = {held: place for place, held in enumerate(listed.node)}
            found.sort(key=lambda item: places.get(item.node["name"], -1))
        return found

    # -------------------------------------------------------------- objects read whole

    def object(self, kind: str, scope: str, name: str) -> Stored | None:
        rows = self.rows(
            "SELECT node, synced_at FROM objects"
            " WHERE kind = ? AND scope = ? AND name = ? AND deleted_at IS NULL",
            kind,
            escape(scope),
            escape(name),
        )
        return Stored(loads(unpack(rows[0][0]) or "null"), rows[0][1]) if rows else None

    def objects(self, kind: str, scope: str) -> list[Stored] | None:
        """All objects of a listing, in the server's order; None when it was never listed."""
        rows = self.rows(
            "SELECT position, node, synced_at FROM objects"
            " WHERE kind = ? AND scope = ? AND deleted_at IS NULL ORDER BY position",
            kind,
            escape(scope),
        )
        if not rows or rows[0][0] != -1:
            return None
        return [Stored(loads(unpack(node) or "null"), at) for _, node, at in rows[1:]]

    def known_users(self) -> dict[str, dict[str, Any]]:
        """Everybody of whom the mirror knows more than a name: teams' members, owners, the viewer."""
        known: dict[str, dict[str, Any]] = {}
        rows = self.rows(
            "SELECT kind, node FROM objects"
            " WHERE kind IN ('team', 'project_owner', 'viewer') AND deleted_at IS NULL"
        )
        nodes = [(kind, loads(unpack(node) or "null") or {}) for kind, node in rows]
        for kind, node in sorted(nodes, key=lambda item: item[0] == "team", reverse=True):
            for user in node.get("members") or () if kind == "team" else (node,):
                if user.get("username"):
                    fields = ("id", "name", "username", "email")
                    person = {name: user.get(name) for name in fields} if kind == "team" else user
                    known.setdefault(user["username"], {}).update(person)
        return known
