"""Runs and Run: what scripts read most. A run holds its packed row and unpacks what is touched.

`Run._attrs` is the server's node as the real client would hold it: the light fields for runs of a lazy
listing, all of them once a document was read. The documents are read from the server's own texts.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from mirror.api.attrs import Attrs, iframe, in_vscode
from mirror.api.kept import KEEP, Kept
from mirror.api.notices import warn
from mirror.api.paginator import SizedPaginator
from mirror.api.raising import adapt, normalized
from mirror.api.summary import HTTPSummary
from mirror.errors import CommError, RunNotFoundError
from mirror.jsontext import load_packed, read_json

if TYPE_CHECKING:
    from mirror.api.artifacts import RunArtifacts
    from mirror.api.files import File, Files
    from mirror.api.history import HistoryScan
    from mirror.api.listings import Listing
    from mirror.api.rows import Row
    from mirror.api.source import Source
    from mirror.api.sweeps import Sweep
    from mirror.api.users import User

__all__ = ["Run", "Runs"]

_LIGHT = (
    "projectId", "id", "tags", "name", "displayName", "sweepName", "state", "group", "jobType", "commit",
    "readOnly", "createdAt", "heartbeatAt", "description", "notes", "historyLineCount", "user",
)  # fmt: skip
"""The fields of a run in a lazy listing, as the real client asks for them."""
_DOCUMENTS = ("config", "summaryMetrics", "systemMetrics")
_INTERNAL = frozenset({"_wandb", "wandb_version"})
_ENDED = ("finished", "crashed", "failed")


def _object(packed: str | bytes | None) -> Any:
    """Read a document of a run, JSON text or packed; null is {}. Raises CommError for what is no JSON."""
    if packed is None:
        return {}
    if type(packed) is str:
        return read_json(packed)
    try:
        return load_packed(packed)  # type: ignore[arg-type]
    except ValueError as error:
        raise adapt(CommError(str(error), error)) from error


def _unwrap(config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a stored config into what the user set and what W&B set, `{"value": …}` taken off."""
    if not isinstance(config, dict):
        return {}, {}
    ours = {
        key: item["value"] if type(item) is dict and "value" in item else item
        for key, item in config.items()
    }
    theirs = (
        {key: ours.pop(key) for key in config if key in _INTERNAL}
        if _INTERNAL & ours.keys()
        else {}
    )
    return ours, theirs


class Runs(SizedPaginator["Run"]):
    """The runs of a project that match a filter, in an order, loaded page by page.

    Iterate, index, slice, or take `len()`; nothing is read before. `objects` holds what was loaded.
    """

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        filters: dict[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
        include_sweeps: bool = False,
        lazy: bool = True,
        api_key: str | None = None,
    ) -> None:
        self.entity = entity
        self.project = project
        self.filters = filters or {}
        self.order = order or "+created_at"
        self._include_sweeps = include_sweeps
        self._lazy = lazy
        self._sweeps: dict[str, Sweep | None] = {}
        self._listing: Listing | None = None
        self._count: int | None = None
        self._started = False
        self._page_owed = False
        variables = {
            "project": project,
            "entity": entity,
            "order": self.order,
            "filters": json.dumps(self.filters),
        }
        self._loaded: list[Run] | Kept = []
        super().__init__(service_api, variables, per_page)

    # `len()` alone asks for a count; the page that the real client loads with it is loaded when
    # somebody looks.

    @property
    def objects(self) -> list[Run]:
        """The runs loaded so far: a list, and past 1,000 runs a sequence that reads old ones again."""
        self._settle()
        return self._loaded  # type: ignore[return-value]

    @objects.setter
    def objects(self, runs: list[Run]) -> None:
        self._loaded = runs

    def _settle(self) -> None:
        if self._page_owed:
            self._page_owed = False
            self._load_page()

    def _open(self) -> Listing:
        if self._listing is None:
            listing = self._service_api.runs(self.entity, self.project, self.filters, self.order)
            if listing is None:
                raise ValueError(f"Could not find project {self.project}")
            if self._loaded:  # unpickled: go on behind what came along
                listing.skip(len(self._loaded))
            self._listing = listing
        return self._listing

    def __getstate__(self) -> dict[str, Any]:
        # A place in the store does not travel to another process.
        return {**self.__dict__, "_listing": None}

    @property
    def more(self) -> bool:
        """Whether there are more runs to load."""
        self._settle()
        return not self._started or self._open().more

    @property
    def cursor(self) -> str | None:
        """A text that marks where the loaded runs end; None before the first page."""
        self._settle()
        return str(len(self._loaded)) if self._loaded else None

    @property
    def last_response(self) -> dict[str, Any] | None:
        """What the server would have answered last, as far as it is known; None before the first page."""
        self._settle()
        if not self._started:
            return None
        page = self._loaded[-self.per_page :]
        edges = [{"node": run._node(), "cursor": None} for run in page]
        info = {"endCursor": self.cursor, "hasNextPage": self.more}
        return {
            "project": {"runCount": self._length, "runs": {"edges": edges, "pageInfo": info}},
        }

    @last_response.setter
    def last_response(self, value: Any) -> None:
        pass

    @property
    def synced_at(self) -> str | None:
        """The server's time that the answer is fresh as of; None where nothing was synced."""
        source: Source = self._service_api
        return source.synced_at(self.entity, self.project)

    @property
    def is_stale(self) -> bool:
        """Whether the answer is older than `max_age`, or could not be refreshed."""
        source: Source = self._service_api
        return source.is_stale(self.synced_at)

    def _load_page(self) -> bool:
        listing = self._open()
        if self._started and not listing.more:
            return False
        rows = listing.take(self.per_page)
        self._started = True
        make, source = Run._of, self._service_api
        runs = [make(source, self.entity, self.project, row, self._lazy) for row in rows]
        if self._include_sweeps:
            for run in runs:
                self._attach_sweep(run)
        whole = type(self._loaded) is list
        if whole and listing.rereads and len(self._loaded) + len(runs) > KEEP:
            self._loaded = Kept(self._loaded, self._again)
        self._loaded.extend(runs)
        self.variables.update(perPage=self.per_page, cursor=None)
        return True

    def _again(self, keys: Sequence[int]) -> list[Run]:
        """Runs that were loaded once and are no longer in memory."""
        make = functools.partial(Run._of, self._service_api, self.entity, self.project)
        return [make(row, self._lazy) for row in self._open().again(keys)]

    def _attach_sweep(self, run: Run) -> None:
        name = run.sweep_name
        if not name:
            return
        if name not in self._sweeps:
            run._load_sweep()
            self._sweeps[name] = run._sweep
        run._sweep = self._sweeps[name]

    def convert_objects(self) -> list[Run]:
        """Return the runs of the page loaded last. Raises ValueError for a missing project."""
        self._open()
        return self.objects[-self.per_page :]

    @property
    def _length(self) -> int:
        if self._count is None:
            self._count = self._open().count()
            self._page_owed = not self._started
        return self._count

    def __iter__(self) -> Iterator[Run]:
        self._settle()
        return super().__iter__()

    def __next__(self) -> Run:
        self.index += 1
        if self.index >= len(self._loaded) or self._page_owed:
            self._settle()
            while len(self._loaded) <= self.index:
                if not self._load_page():
                    raise StopIteration
        return self._loaded[self.index]

    def next(self) -> Run:
        """Return the next run, as `next(runs)` does. Raises StopIteration at the end."""
        return self.__next__()

    def __repr__(self) -> str:
        return f"<Runs {self.entity}/{self.project}>"

    def upgrade_to_full(self) -> None:
        """Read all fields of the runs loaded so far, and of those to come."""
        if self._lazy:
            self._lazy = False
            runs = self.objects
            for run in runs.in_memory() if isinstance(runs, Kept) else runs:
                run.load_full_data()

    @normalized
    def histories(
        self,
        samples: int = 500,
        keys: list[str] | None = None,
        x_axis: str = "_step",
        format: Literal["default", "pandas", "polars"] = "default",
        stream: Literal["default", "system"] = "default",
    ) -> Any:
        """Return the sampled histories of all runs, each row with its `run_id`.

        Args:
            samples: rows a run, at most.
            keys: only rows having all of these metrics; None: all rows.
            x_axis: the metric rows are sampled along.
            format: "default" gives a list of dicts, "pandas" and "polars" a frame with sorted columns.
            stream: "default" for metrics, "system" for machine metrics.

        Raises:
            CommError: an unknown format. NotMirrored: offline, and a history was never read.
        """
        from mirror.api.history import frame

        if format not in ("default", "pandas", "polars"):
            raise ValueError(
                f"Invalid format: {format}. Must be one of 'default', 'pandas', 'polars'"
            )
        rows: list[list[dict[str, Any]]] = []
        for run in self:
            found = run.history(samples, keys, x_axis, pandas=False, stream=stream)
            if found:
                rows.append([{**row, "run_id": run.id} for row in found])
        return frame(rows, format)


class Run(Attrs):
    """One run. Server fields are attributes, in snake_case; documents are read on first touch."""

    _row: Row | None = None
    server_provides_internal_id_field: bool | None = None

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        run_id: str,
        attrs: Mapping[str, Any] | None = None,
        include_sweeps: bool = False,
        lazy: bool = True,
        api_key: str | None = None,
    ) -> None:
        self._begin(service_api, entity, project, lazy)
        if attrs:
            from mirror.api.rows import row_of

            full = {name for name in _DOCUMENTS if name in attrs}
            self._row = row_of({**dict.fromkeys(_DOCUMENTS), **attrs, "name": run_id}, "")
            self.__dict__["_attrs"] = {**attrs, "name": run_id}
            self._full = bool(full)
            if full:
                self._attrs.update({name: self._document(name) for name in full})
            self.__dict__.setdefault("user", self._made_user(attrs.get("user")))
        else:
            self._run_id = run_id
            self._look_up(again=False)
        if include_sweeps:
            self._load_sweep()

    def _begin(self, source: Source, entity: str, project: str, lazy: bool) -> None:
        self._service_api = source
        self._entity = entity
        self.project = project
        self._lazy = lazy
        self._full = not lazy
        self._documents: dict[str, Any] = {}
        self._sweep: Sweep | None = None
        self._summary: HTTPSummary | None = None
        self._metadata: dict[str, Any] | None = None

    @classmethod
    def _of(cls, source: Source, entity: str, project: str, row: Row, lazy: bool) -> Run:
        """Make a run from a row of the store: the constructor without its look-up."""
        run = cls.__new__(cls)
        run.__dict__ = {
            "_service_api": source,
            "_entity": entity,
            "project": project,
            "_lazy": lazy,
            "_full": not lazy,
            "_documents": {},
            "_sweep": None,
            "_summary": None,
            "_metadata": None,
            "_row": row,
        }
        return run

    # -------------------------------------------------------------- the node

    def _node(self) -> dict[str, Any]:
        """The server's fields as the real client holds them at this moment."""
        row = self._row
        if row is None:
            return {}
        sent: dict[str, Any] = load_packed(row.texts.node)
        found = {name: sent[name] for name in _LIGHT if name in sent}
        user = found.get("user")
        if user:
            found["user"] = {name: user.get(name) for name in ("name", "username")}
        if self._full:
            found["historyKeys"] = sent.get("historyKeys")
        return found

    def __getattr__(self, name: str) -> Any:
        if name == "_attrs":
            attrs = self.__dict__["_attrs"] = self._node()
            if self._full:
                attrs.update({name: self._document(name) for name in (*_DOCUMENTS, "rawconfig")})
            return attrs
        return super().__getattr__(name)

    def _document(self, name: str) -> Any:
        """A document as an object, the same one each time. Reading one makes a lazy run full."""
        documents = self._documents
        if name not in documents:
            self._read_document(name)
        return documents[name]

    def _read_document(self, name: str) -> None:
        documents, row = self._documents, self._row
        if row is None:
            documents[name] = {}
        elif name == "rawconfig":
            ours = self._document("config")
            documents[name] = {**_unwrap(_object(row.texts.config))[1], **ours}
        elif name == "config":
            config = row.config
            # The stored document is unwrapped already.
            documents[name] = (
                read_json(config) if type(config) is str else _unwrap(_object(config))[0]
            )
        elif name == "summaryMetrics":
            documents[name] = _object(row.summary_metrics)
        else:
            documents[name] = _object(row.texts.system_metrics)
        if not self._full:
            self._become_full()
        elif "_attrs" in self.__dict__:
            self._attrs[name] = documents[name]

    def _become_full(self) -> None:
        self._full = True
        if "_attrs" in self.__dict__:
            for name, value in self._node().items():
                self._attrs.setdefault(name, value)
            for name in (*_DOCUMENTS, "rawconfig"):
                self._attrs[name] = self._document(name)

    @functools.cached_property
    def user(self) -> User:
        """Who made the run; only name and username are known."""
        user = self._attrs.get("user")
        if not user:
            raise AttributeError("user")
        made: User = self._made_user(user)
        return made

    def _made_user(self, attrs: Any) -> Any:
        from mirror.api.users import User

        return User(self._service_api, attrs) if attrs else None

    # -------------------------------------------------------------- identity

    @property
    def state(self) -> str:
        """The state, lower case, such as "running" or "finished"."""
        attrs = self.__dict__.get("_attrs")
        if attrs is not None:
            return str(attrs.get("state", "not found"))
        return "not found" if self._row is None else str(self._row.state)

    @property
    def entity(self) -> str:
        """The entity that owns the project."""
        return self._entity

    @property
    def username(self) -> str:
        """Deprecated: use `entity`."""
        warn("Run.username is deprecated. Please use Run.entity instead.")
        return self._entity

    @property
    def storage_id(self) -> str:
        """The server's global id."""
        return str(self._attrs["id"])

    @property
    def id(self) -> str:
        """The short id, unique in the project."""
        attrs = self.__dict__.get("_attrs")
        if attrs is not None and "name" in attrs:
            return str(attrs["name"])
        return str(self.__dict__["_run_id"] if self._row is None else self._row.name)

    @id.setter
    def id(self, new_id: str) -> None:
        self._attrs["name"] = new_id

    @property
    def name(self) -> str | None:
        """The display name."""
        attrs = self.__dict__.get("_attrs")
        if attrs is not None:
            name: str | None = attrs.get("displayName")
            return name
        return None if self._row is None else self._row.display_name

    @name.setter
    def name(self, new_name: str) -> None:
        self._attrs["displayName"] = new_name

    @property
    def sweep_name(self) -> str | None:
        """The short id of the run's sweep, or None."""
        attrs = self.__dict__.get("_attrs")
        if attrs is not None:
            name: str | None = attrs.get("sweepName")
            return name
        return None if self._row is None else self._row.sweep

    @property
    def path(self) -> list[str]:
        """[entity, project, id], each quoted for a URL."""
        return [quote(str(part), safe="") for part in (self._entity, self.project, self.id)]

    @property
    def url(self) -> str:
        """The address of the run's page."""
        entity, project, run = self.path
        return f"{self._service_api.app_url}{entity}/{project}/runs/{run}"

    @functools.cached_property
    def dir(self) -> str:
        """A folder for files of this run, made when it is asked for."""
        path = os.path.join(tempfile.gettempdir(), *self.path)  # noqa: PTH118 - a str, as documented
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
        return path

    @functools.cached_property
    def _project_internal_id(self) -> int | None:
        number = self._attrs.get("projectId")
        return None if number is None else int(number)

    @property
    def run_key(self) -> int:
        """The key of the run in the store; 0 for one that is not kept there."""
        return 0 if self._row is None else self._row.run_key

    @property
    def synced_at(self) -> str | None:
        """The server's time that this answer is fresh as of."""
        whole = self._service_api.synced_at(self._entity, self.project)
        own = None if self._row is None else self._row.synced_at
        return max(filter(None, (whole, own)), default=None)

    @property
    def is_stale(self) -> bool:
        """Whether the answer is older than `max_age`, or could not be refreshed."""
        return self._service_api.is_stale(self.synced_at)

    # -------------------------------------------------------------- documents

    @property
    def config(self) -> dict[str, Any]:
        """The config that was set by the user, W&B's wrappers and internal keys taken off."""
        documents = self._documents
        if "config" not in documents:
            self._read_document("config")
        found: dict[str, Any] = documents["config"]
        return found

    @property
    def rawconfig(self) -> dict[str, Any]:
        """The config with W&B's internal keys, unwrapped."""
        found: dict[str, Any] = self._document("rawconfig")
        return found

    @property
    def summary_metrics(self) -> dict[str, Any]:
        """The summary as a plain dict; NaN and infinities are floats."""
        documents = self._documents
        if "summaryMetrics" not in documents:
            self._read_document("summaryMetrics")
        found: dict[str, Any] = documents["summaryMetrics"]
        return found

    @property
    def system_metrics(self) -> dict[str, Any]:
        """The last values of the machine's metrics."""
        found: dict[str, Any] = self._document("systemMetrics")
        return found

    @property
    def summary(self) -> HTTPSummary:
        """The summary as a dict-like object; nested objects come as SummarySubDict."""
        if self._summary is None:
            self._summary = HTTPSummary(self, self._service_api, summary=self.summary_metrics)
        return self._summary

    @property
    def json_config(self) -> str:
        """The config as `update()` of the real client would send it: JSON text, wrapped."""
        wrapped: dict[str, Any] = {}
        if "_wandb" in self.rawconfig:
            wrapped["_wandb"] = {"value": self.rawconfig["_wandb"], "desc": None}
        wrapped |= {key: {"value": value, "desc": None} for key, value in self.config.items()}
        return json.dumps(wrapped)

    @property
    def sweep(self) -> Sweep | None:
        """The run's sweep, or None."""
        if self._sweep is None and self.sweep_name:
            self._load_sweep()
        return self._sweep

    def _load_sweep(self) -> None:
        from mirror.api.sweeps import get_sweep

        name = self.sweep_name
        if name:
            self._sweep = get_sweep(self._service_api, self._entity, self.project, name)

    # -------------------------------------------------------------- loading

    def load(self, force: bool = False) -> dict[str, Any]:
        """Return the server's fields; with `force` read the run again.

        Raises RunNotFoundError for a run that does not exist; NotMirrored offline when the mirror
        cannot know.
        """
        if force or self._row is None:
            self._look_up(again=force)
        return self._attrs

    def _look_up(self, *, again: bool) -> None:
        row = self._service_api.run(self._entity, self.project, self.id, again=again)
        if row is None:
            raise adapt(RunNotFoundError(f"Could not find run {self}"))
        self._take(row)

    def _take(self, row: Row) -> None:
        for name in ("_attrs", "user", "_project_internal_id"):
            self.__dict__.pop(name, None)
        self._row = row
        self._documents = {}
        self._summary = None
        self._full = not self._lazy

    def load_full_data(self, force: bool = False) -> dict[str, Any]:
        """Return all of the server's fields, documents too; with `force` read the run again.

        A run that was not listed lazily has them already.
        """
        if force:
            self.load(force=True)
        if not self._full:
            self._become_full()
        attrs: dict[str, Any] = self._attrs
        for name in (*_DOCUMENTS, "rawconfig"):
            attrs.setdefault(name, self._document(name))
        return attrs

    @normalized
    def wait_until_finished(self) -> None:
        """Ask the server every 5 seconds until the run is finished, crashed or failed.

        Raises OfflineError in offline mode.
        """
        while True:
            data = self._service_api.fetch(
                "MirrorRunState", entity=self._entity, project=self.project, run=self.id
            )
            state = data["project"]["run"]["state"]
            if state in _ENDED:
                self._attrs["state"] = state
                return
            time.sleep(5)

    # -------------------------------------------------------------- files and history

    @normalized
    def files(
        self, names: list[str] | None = None, pattern: str | None = None, per_page: int = 50
    ) -> Files:
        """Return the run's files, a lazy listing.

        `names` chooses by exact name, `pattern` by SQL LIKE (`%.json`); both together raise CommError.
        """
        from mirror.api.files import Files

        return Files(self._service_api, self, names or [], pattern=pattern, per_page=per_page)

    @normalized
    def file(self, name: str) -> File:
        """Return the file of that name. Raises CommError where there is none."""
        from mirror.api.files import Files

        return Files(self._service_api, self, [name])[0]

    def console_logs(self, *, per_page: int = 1000, last: int | None = None) -> Any:
        """Return the console output, a lazy listing of lines; `last` lines only where given.

        Read through and kept; offline and never read: NotMirrored.
        """
        from mirror.api.console_logs import ConsoleLogs

        return ConsoleLogs(self._service_api, self, per_page=per_page, last=last)

    @property
    def metadata(self) -> dict[str, Any] | None:
        """The contents of `wandb-metadata.json`; None where the run has no such file.

        Read through and kept. Offline and never read: NotMirrored.
        """
        if self._metadata is None:
            from mirror.api.files import read_metadata

            self._metadata = read_metadata(self)
        return self._metadata

    @property
    def lastHistoryStep(self) -> int:
        """The last step of the history; -1 where there is none. Asked of the server while the run lives."""
        row = self._row
        last = self._service_api.last_step(self)
        if last is not None:
            return last
        keys = (load_packed(row.texts.node) if row is not None else {}).get("historyKeys")
        return int((keys or {}).get("lastStep", -1))

    @normalized
    def history(
        self,
        samples: int = 500,
        keys: list[str] | None = None,
        x_axis: str = "_step",
        pandas: bool = True,
        stream: Literal["default", "system"] = "default",
    ) -> Any:
        """Return the history, sampled evenly: a DataFrame, or a list of dicts with `pandas=False`.

        Args:
            samples: rows at most.
            keys: only rows having all of these metrics; None: all rows, all metrics.
            x_axis: the metric rows are sampled along, with `keys`.
            stream: "default" for metrics, "system" for machine metrics.

        Read through the server and kept. Offline and never read: NotMirrored.
        """
        from mirror.api.history import sampled

        return sampled(self, samples, keys, x_axis, pandas, stream)

    @normalized
    def scan_history(
        self,
        keys: list[str] | None = None,
        page_size: int = 1000,
        min_step: int = 0,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> HistoryScan:
        """Return an iterator over all rows of the history.

        Args:
            keys: only rows having all of these metrics, and only these metrics.
            page_size: steps a page.
            min_step: the first step. max_step: the step to stop before; None: to the end.
            use_cache: whether what was read before may be used again.

        Read through the server and kept. Offline and never read: NotMirrored.
        """
        from mirror.api.history import HistoryScan

        if keys is not None and not isinstance(keys, list):
            raise ValueError("keys must be specified in a list")
        if keys and not all(isinstance(key, str) for key in keys):
            raise ValueError("keys argument must be a list of strings")
        last = self.lastHistoryStep
        stop = last + 1 if max_step is None or max_step > last else max_step
        return HistoryScan(
            self,
            service_api=self._service_api,
            min_step=min_step,
            max_step=stop,
            keys=keys,
            page_size=page_size,
            use_cache=use_cache,
        )

    def beta_scan_history(
        self,
        keys: list[str] | None = None,
        page_size: int = 1000,
        min_step: int = 0,
        max_step: int | None = None,
        use_cache: bool = True,
    ) -> HistoryScan:
        """Deprecated: use `scan_history`."""
        warn("`beta_scan_history` is deprecated. Use `scan_history` instead.")
        found: HistoryScan = self.scan_history(keys, page_size, min_step, max_step, use_cache)
        return found

    def download_history_exports(
        self, download_dir: pathlib.Path | str, require_complete_history: bool = True
    ) -> Any:
        """Refused: Parquet exports come with the local history. Raises UnsupportedError."""
        self._service_api.refuse(
            "Run.download_history_exports", "use scan_history(), or the same member of wandb.Api()"
        )

    # -------------------------------------------------------------- refused: artifacts and writes

    @normalized
    def logged_artifacts(self, per_page: int = 100) -> RunArtifacts:
        """Return the artifacts the run logged, a lazy listing. From the mirror; read through in auto mode."""
        from mirror.api.artifacts import RunArtifacts

        return RunArtifacts(self._service_api, self, mode="logged", per_page=per_page)

    @normalized
    def used_artifacts(self, per_page: int = 100) -> RunArtifacts:
        """Return the artifacts the run used, a lazy listing. From the mirror; read through in auto mode."""
        from mirror.api.artifacts import RunArtifacts

        return RunArtifacts(self._service_api, self, mode="used", per_page=per_page)

    def use_artifact(self, artifact: Any, use_as: str | None = None) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Run.use_artifact")

    def log_artifact(self, artifact: Any, aliases: Any = None, tags: Any = None) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Run.log_artifact")

    @classmethod
    def create(
        cls,
        api: Any,
        run_id: str | None = None,
        project: str | None = None,
        entity: str | None = None,
        state: Literal["running", "pending"] = "running",
    ) -> Run:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        source: Source = api._service_api
        source.refuse_write("Run.create")

    def update(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Run.update")

    def save(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Run.save")

    def delete(self, delete_artifacts: bool = False) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Run.delete")

    def update_state(self, state: str) -> bool:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Run.update_state")

    def stop(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Run.stop")

    def upload_file(self, path: str, root: str = ".") -> File:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Run.upload_file")

    # -------------------------------------------------------------- how it looks

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return HTML that shows the run's page in a frame."""
        return iframe(self.url, height, hidden, "run")

    def _repr_html_(self) -> str:
        if in_vscode():
            import html

            return html.escape(repr(self))
        return self.to_html()

    def __repr__(self) -> str:
        return f"<Run {'/'.join(self.path)} ({self.state})>"
