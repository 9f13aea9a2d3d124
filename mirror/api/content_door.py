"""What is asked about one run beyond its row: files, contents, histories, other answers; all kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror.api.door import Door
from mirror.api.raising import edge
from mirror.errors import RemoteError
from mirror.jsontext import dumps, escape, loads

if TYPE_CHECKING:
    from mirror.api.files import File
    from mirror.api.runs import Run

__all__ = ["ContentDoor"]

WINDOW = 1000
"""Steps of a history that are read and kept together."""


class ContentDoor(Door):
    """Answers about the files and histories of runs."""

    def _place(self, run: Run) -> dict[str, str]:
        return {"entity": run.entity, "project": run.project, "run": run.id}

    def _fresh_for(self, run: Run) -> tuple[Any, Callable[[Any], bool]]:
        """What of a run an answer about it depends on, and whether a kept answer still holds.

        Of a run that has not ended nothing kept holds: it moves between two syncs.
        """
        mark = [run.state, run._attrs.get("historyLineCount"), run._attrs.get("heartbeatAt")]
        ended = run.state not in ("running", "pending", "preempting")
        return mark, lambda node: ended and node is not None and node.get("mark") == mark

    @edge
    def files(self, run: Run) -> dict[str, Any] | None:
        """Return a run's files, {"fileCount": …, "files": [nodes]}; None: there is no such run."""
        mark, fresh = self._fresh_for(run)
        found: dict[str, Any] | None = self.cached(
            "file_list",
            self.scope_of(run.entity, run.project),
            run.id,
            f"the list of files of run {run.entity}/{run.project}/{run.id}",
            lambda: self._fetch_files(run, mark),
            path=f"{run.entity}/{run.project}",
            fresh=fresh,
        )
        return found

    def _fetch_files(self, run: Run, mark: Any) -> dict[str, Any] | None:
        from mirror.remote.pages import page_of

        nodes: list[Any] = []
        after: str | None = None
        while True:
            data = self.client.execute("MirrorFiles", first=500, after=after, **self._place(run))
            node = (data.get("project") or {}).get("run")
            if node is None:
                return None
            page = page_of(node.get("files"))
            nodes += page.nodes
            if not page.has_next or page.end_cursor in (None, after):
                return {"mark": mark, "fileCount": node.get("fileCount"), "files": nodes}
            after = page.end_cursor

    @edge
    def blob(self, file: File) -> Path:
        """Return the path of a file's contents beside the store, downloaded when it is not there."""
        run, attrs = file.run, file._attrs
        if run is None:
            raise ValueError(f"file {attrs.get('name')!r} belongs to no run")
        about = (attrs["name"], attrs.get("md5"), attrs.get("updatedAt"), attrs.get("sizeBytes"))
        digest = hashlib.sha256(repr(about).encode()).hexdigest()[:32]
        folder = self.blob_folder() / escape(self.scope_of(run.entity, run.project)) / run.id
        path = folder / digest
        if path.exists() and self.mode != "online":
            return path
        if self.mode == "offline":
            what = f"file {attrs['name']!r} of run {run.entity}/{run.project}/{run.id}"
            raise self._never_read("file", what, f"{run.entity}/{run.project}")
        from mirror.errors import NotFound, Unauthorized
        from mirror.remote.downloads import download

        try:
            download(self.client, attrs["url"], path)
        except (NotFound, Unauthorized):  # the address has expired: ask for a new one, once
            listed = self._fetch_files(run, None)
            again = [node for node in (listed or {}).get("files", ()) if node["id"] == attrs["id"]]
            if not again:
                raise
            download(self.client, again[0]["url"], path)
        return path

    def blob_folder(self) -> Path:
        """Return the folder of downloaded files: beside a SQLite store, else in the user's data folder."""
        path = self.store.path
        if path is not None:
            return path.with_name(f"{path.name}.blobs")
        name = hashlib.sha256(str(self.store.engine.url).encode()).hexdigest()[:16]
        return Path.home() / ".local" / "share" / "mirror" / "blobs" / name

    @edge
    def of_run(self, run: Run, operation: str, **asked: Any) -> dict[str, Any]:
        """Return the answer to an operation about a run, read through and kept."""
        mark, fresh = self._fresh_for(run)
        node = self.cached(
            "answer",
            self.scope_of(run.entity, run.project),
            dumps([operation, run.id, asked]),
            f"{operation.removeprefix('Mirror')} of run {run.entity}/{run.project}/{run.id}",
            lambda: {
                "mark": mark,
                "data": self.client.execute(operation, **asked, **self._place(run)),
            },
            path=f"{run.entity}/{run.project}",
            fresh=fresh,
        )
        found: dict[str, Any] = node["data"]
        return found

    @edge
    def history(
        self, run: Run, samples: int, keys: list[str] | None, x_axis: str, stream: str
    ) -> list[dict[str, Any]]:
        """Return the sampled rows of a history, fresh dicts each time."""
        mark, fresh = self._fresh_for(run)
        asked = [run.id, stream, samples, keys, x_axis if keys else None]
        node = self.cached(
            "history",
            self.scope_of(run.entity, run.project),
            dumps(asked),
            f"the history of run {run.entity}/{run.project}/{run.id}",
            lambda: {"mark": mark, "rows": self._fetch_history(run, samples, keys, x_axis, stream)},
            path=f"{run.entity}/{run.project}",
            fresh=fresh,
        )
        return [loads(row) if isinstance(row, str) else dict(row) for row in node["rows"]]

    def _fetch_history(
        self, run: Run, samples: int, keys: list[str] | None, x_axis: str, stream: str
    ) -> list[Any]:
        place = self._place(run)
        if keys:
            from mirror.api.history import spec_of

            specs = [spec_of(keys, x_axis, samples)]
            data = self.client.execute("MirrorSampledHistory", specs=specs, **place)
            return list(data["project"]["run"]["sampledHistory"][0])
        operation = "MirrorHistory" if stream == "default" else "MirrorEvents"
        run_node = self.client.execute(operation, samples=samples, **place)["project"]["run"]
        return list(run_node["history" if stream == "default" else "events"])

    def last_step(self, run: Run) -> int | None:
        """Ask the server for the last step of a run that has not ended; None: what is held counts."""
        if self.mode == "offline" or run.state not in ("running", "pending", "preempting"):
            return None
        try:
            data = self.client.execute("MirrorHistoryKeys", **self._place(run))
        except RemoteError:
            return None
        node = (data.get("project") or {}).get("run") or {}
        return int((node.get("historyKeys") or {}).get("lastStep", -1))

    @edge
    def history_rows(
        self, run: Run, start: int, stop: int, *, use_cache: bool = True
    ) -> list[dict[str, Any]]:
        """Return all rows of the steps [start, stop), read and kept in windows of 1,000 steps."""
        mark, fresh = self._fresh_for(run)
        scope = self.scope_of(run.entity, run.project)
        rows: list[dict[str, Any]] = []
        for window in range(start // WINDOW, (stop - 1) // WINDOW + 1):
            low = window * WINDOW

            def fetch(low: int = low) -> Any:
                data = self.client.execute(
                    "MirrorHistoryPage",
                    minStep=low,
                    maxStep=low + WINDOW,
                    samples=WINDOW,
                    **self._place(run),
                )
                return {"mark": mark, "rows": data["project"]["run"]["history"]}

            node = self.cached(
                "history_page",
                scope,
                dumps([run.id, window]),
                f"the history of run {run.entity}/{run.project}/{run.id}",
                fetch,
                path=f"{run.entity}/{run.project}",
                fresh=lambda node: use_cache and fresh(node),
            )
            rows += [loads(text) for text in node["rows"]]
        return [row for row in rows if start <= row.get("_step", start) < stop]
