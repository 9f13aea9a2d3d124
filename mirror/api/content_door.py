"""What is asked about one run beyond its row: files, contents, histories, other answers; all kept."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror.api.door import Door
from mirror.api.raising import edge
from mirror.errors import DigestMismatch, NotFound, RemoteError
from mirror.jsontext import dumps, loads

if TYPE_CHECKING:
    from mirror.api.files import File
    from mirror.api.runs import Run
    from mirror.blobs import BlobStore, Downloaded, Entry, Progress
    from mirror.blobs.download import Urls
    from mirror.remote.client import Client

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

    # -------------------------------------------------------------- contents of files

    @property
    def blobs(self) -> BlobStore:
        """The contents kept beside the store, or where the settings say."""
        from mirror.blobs import BlobStore  # with it comes httpx, which an Api does without

        settings, path = self.config.contents, self.store.path
        if settings.is_default and path is not None:  # a store that was handed over as an object
            settings = replace(settings, folder=f"{path}.blobs")
        return BlobStore.configured(settings)

    @edge
    def download_files(
        self,
        run: Run,
        nodes: Sequence[Mapping[str, Any]],
        root: Path,
        *,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Downloaded:
        """Put files of a run below a folder, each whole or not at all.

        Contents that are kept cost no request. Raises UnsafeName, NotMirrored, ContentError, RemoteError.
        """
        try:
            return self._download(run, nodes, root, on_progress)
        except DigestMismatch:
            # A file has changed since it was listed, or the server's digests are of something else.
            listed = {node["id"]: node for node in (self._fetch_files(run, None) or {}).get("files", ())}  # fmt: skip
            again = [listed.get(node["id"], node) for node in nodes]
            with contextlib.suppress(DigestMismatch):
                return self._download(run, again, root, on_progress)
            return self._download(run, [{**node, "md5": None} for node in again], root, on_progress)

    def _download(
        self,
        run: Run,
        nodes: Sequence[Mapping[str, Any]],
        root: Path,
        on_progress: Callable[[Progress], object] | None,
    ) -> Downloaded:
        from mirror.blobs import download_entries, is_digest, safe_target
        from mirror.remote.downloads import download

        named = [node for node in nodes if is_digest(node.get("md5"))]
        done = download_entries(
            self.blobs,
            [_entry(node) for node in named],
            root,
            urls=self._urls(run, named),
            client=self._client_for(run, named),
            threads=self.config.contents.threads,
            on_progress=on_progress,
        )
        for node in nodes:
            if not is_digest(node.get("md5")):
                target = safe_target(root, node["name"])
                self._client_for(run, [node])()
                download(self.client, node["url"], target)
                done.files += 1
                done.fetched += 1
        return done

    def _client_for(self, run: Run, nodes: Sequence[Mapping[str, Any]]) -> Callable[[], Client]:
        """Open the client when it is needed; offline, say which file was never downloaded."""

        def opened() -> Client:
            if self.mode == "offline":
                names = ", ".join(repr(node["name"]) for node in nodes[:3])
                what = f"file {names}{' …' if len(nodes) > 3 else ''} of run {run.entity}/{run.project}/{run.id}"
                raise self._never_read("file", what, f"{run.entity}/{run.project}")
            return self.client

        return opened

    def _urls(self, run: Run, nodes: Sequence[Mapping[str, Any]]) -> Urls:
        """The addresses of files: those that were listed, and when they expire new ones."""
        given = {node["name"]: node["url"] for node in nodes}
        asked = False

        def urls(entries: Sequence[Entry]) -> dict[str, str]:
            nonlocal asked, given
            self._client_for(run, nodes)()
            if asked:
                listed = (self._fetch_files(run, None) or {}).get("files", ())
                given |= {node["name"]: node["url"] for node in listed}
            asked = True
            return {entry.path: given[entry.path] for entry in entries if given.get(entry.path)}

        return urls

    @edge
    def contents(self, file: File) -> bytes:
        """Return a small file's contents."""
        assert file.run is not None
        from mirror.blobs import safe_target

        with tempfile.TemporaryDirectory(prefix="mirror-") as folder:
            self.download_files(file.run, [file._attrs], Path(folder))
            return safe_target(folder, file.name).read_bytes()

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
        if keys:
            from mirror.api.history import spec_of

            specs = [spec_of(keys, x_axis, samples)]
            return list(
                self._node_of(run, "MirrorSampledHistory", specs=specs)["sampledHistory"][0]
            )
        operation = "MirrorHistory" if stream == "default" else "MirrorEvents"
        node = self._node_of(run, operation, samples=samples)
        return list(node["history" if stream == "default" else "events"])

    def _node_of(self, run: Run, operation: str, **asked: Any) -> dict[str, Any]:
        """What the server says of a run. Raises NotFound where it has the run no more."""
        data = self.client.execute(operation, **asked, **self._place(run))
        node: dict[str, Any] | None = (data.get("project") or {}).get("run")
        if node is None:
            raise NotFound(
                f"run {run.entity}/{run.project}/{run.id}: the server has it no more, or does not "
                "show it to this key; `mirror sync` marks what was deleted",
                operation=operation,
            )
        return node

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
                node = self._node_of(
                    run, "MirrorHistoryPage", minStep=low, maxStep=low + WINDOW, samples=WINDOW
                )
                return {"mark": mark, "rows": node["history"]}

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


def _entry(node: Mapping[str, Any]) -> Entry:
    from mirror.blobs import Entry

    size = node.get("sizeBytes")
    return Entry(node["name"], node["md5"], None if size is None else int(size))
