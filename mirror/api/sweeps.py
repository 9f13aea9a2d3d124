"""Sweeps, Sweep and Agent. A sweep's config is YAML text, read on each access."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from mirror.api.attrs import Attrs, iframe
from mirror.api.notices import warn
from mirror.api.paginator import SizedPaginator
from mirror.api.query_generator import QueryGenerator
from mirror.errors import UsageError

if TYPE_CHECKING:
    from mirror.api.runs import Run, Runs
    from mirror.api.source import Source, Stored

__all__ = ["Agent", "Sweep", "Sweeps", "get_sweep"]

_FIELDS = (
    "id", "name", "displayName", "method", "state", "description", "bestLoss", "config", "createdAt",
    "updatedAt", "runCount", "runCountExpected",
)  # fmt: skip


class Sweeps(SizedPaginator["Sweep"]):
    """The sweeps of a project, loaded page by page. `len()` counts all of them, filtered or not."""

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        per_page: int = 50,
        filters: dict[str, Any] | None = None,
    ) -> None:
        self.entity = entity
        self.project = project
        self._filters = filters or {}
        self._found: list[Stored] | None = None
        self._total = 0
        variables = {"project": project, "entity": entity, "filters": json.dumps(self._filters)}
        super().__init__(service_api, variables, per_page)

    @property
    def _length(self) -> int:
        if self._found is None:
            self._load_page()
        return self._total

    @property
    def more(self) -> bool:
        """Whether there are more sweeps to load."""
        return self._found is None or len(self.objects) < len(self._found)

    @property
    def cursor(self) -> str | None:
        """A text that marks where the loaded sweeps end; None before the first page."""
        return str(len(self.objects)) if self._found is not None else None

    def _update_response(self) -> None:
        if self._found is not None:
            return
        found = self._service_api.sweeps(self.entity, self.project)
        if found is None:
            raise ValueError(f"Could not find project {self.project!r}")
        self._total = len(found)
        self._found = self._service_api.matching_sweeps(found, self._filters)

    def convert_objects(self) -> list[Sweep]:
        """Return the next page of sweeps."""
        start = len(self.objects)
        page = (self._found or [])[start : start + self.per_page]
        return [_sweep_of(self._service_api, self.entity, self.project, item) for item in page]

    def __repr__(self) -> str:
        return f"<Sweeps {self.entity}/{self.project}>"


def _sweep_of(source: Source, entity: str, project: str, item: Stored) -> Sweep:
    attrs = {name: item.node.get(name) for name in _FIELDS}
    sweep = Sweep(source, entity, project, attrs["name"], attrs=attrs)
    sweep.runs = _runs(source, entity, project, sweep.id, "+created_at")
    return sweep


def _runs(source: Source, entity: str, project: str, sweep: str, order: str | None) -> Runs:
    from mirror.api.runs import Runs

    filters = {"$and": [{"sweep": sweep}]}
    return Runs(source, entity, project, order=order or "", per_page=10, filters=filters)


def get_sweep(
    source: Source, entity: str, project: str, name: str, order: str | None = None
) -> Sweep | None:
    """Return a sweep with its runs in an order; None where there is none."""
    item = source.sweep(entity, project, name)
    if item is None:
        return None
    sweep = _sweep_of(source, entity, project, item)
    if order:
        sweep.runs = _runs(source, entity, project, sweep.id, order)
    return sweep


class Sweep(Attrs):
    """A sweep and its `runs`. Raises ValueError for a sweep that does not exist."""

    runs: Any

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        sweep_id: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(attrs or {})
        self._entity = entity
        self.project = project
        self.id = sweep_id
        self._service_api = service_api
        self.runs = []
        self.load(force=not attrs)

    @property
    def entity(self) -> str:
        """The entity that owns the project."""
        return self._entity

    @property
    def username(self) -> str:
        """Deprecated: use `entity`."""
        warn("Sweep.username is deprecated. please use Sweep.entity instead.")
        return self._entity

    @property
    def config(self) -> Any:
        """The sweep's configuration, read from its YAML text."""
        import yaml

        return yaml.safe_load(self._attrs["config"])

    def load(self, force: bool = False) -> dict[str, Any]:
        """Return the server's fields; with `force` read the sweep again."""
        if force or not self._attrs:
            found = get_sweep(self._service_api, self._entity, self.project, self.id)
            if found is None:
                raise ValueError(f"Could not find sweep {self!r}")
            self._attrs = found._attrs
            self.runs = found.runs
        return self._attrs

    @property
    def order(self) -> str | None:
        """The order that puts the best run first, from the metric of the config; None without one."""
        if not self._attrs.get("config"):
            return None
        metric = self.config.get("metric")
        if not metric:
            return None
        sign = "+" if metric.get("goal", "minimize") == "minimize" else "-"
        return QueryGenerator.format_order_key(sign + metric["name"])

    def best_run(self, order: str | None = None) -> Run | None:
        """Return the best run by the sweep's metric, or by `order`; None where there is no run."""
        from mirror.api.runs import Runs

        key = self.order if order is None else QueryGenerator.format_order_key(order)
        if key is None:
            warn(
                "No order specified and couldn't find metric in sweep config, returning most recent run"
            )
        filters = {"$and": [{"sweep": self.id}]}
        runs = Runs(
            self._service_api, self._entity, self.project, filters, order=key or "", per_page=1
        )
        try:
            return runs[0]
        except IndexError:
            return None

    @property
    def expected_run_count(self) -> int | None:
        """How many runs the sweep will have; None: no end is known."""
        count: int | None = self._attrs.get("runCountExpected")
        return count

    @property
    def path(self) -> list[str]:
        """[entity, project, id], each quoted for a URL."""
        return [quote_plus(part) for part in (self._entity, self.project, self.id)]

    @property
    def url(self) -> str:
        """The address of the sweep's page."""
        entity, project, sweep = self.path
        return f"{self._service_api.app_url}{entity}/{project}/sweeps/{sweep}"

    @property
    def name(self) -> str:
        """The display name, else the name in the config, else the id."""
        return str(self._attrs.get("displayName") or self.config.get("name") or self.id)

    @property
    def synced_at(self) -> str | None:
        """The server's time that the project's mirror is fresh as of; None: never synced."""
        return self._service_api.synced_at(self._entity, self.project)

    @classmethod
    def get(
        cls,
        api: Any,
        entity: str | None = None,
        project: str | None = None,
        sid: str | None = None,
        order: str | None = None,
        query: str | None = None,
        **kwargs: Any,
    ) -> Sweep | None:
        """Return a sweep; None where there is none. `query` and further arguments are unused."""
        return get_sweep(api._service_api, str(entity), str(project), str(sid), order)

    def agent(self, agent_id: str) -> Agent:
        """Return one agent of the sweep. Read through and kept; offline and never read: NotMirrored."""
        data = self._service_api.of_sweep("MirrorSweepAgent", agent=agent_id, **self._place())
        return self._agent(data["project"]["sweep"]["agent"])

    def agents(self) -> list[Agent]:
        """Return the sweep's agents. Read through and kept; offline and never read: NotMirrored."""
        data = self._service_api.of_sweep("MirrorSweepAgents", **self._place())
        sweep = (data.get("project") or {}).get("sweep")
        edges = ((sweep or {}).get("agents") or {}).get("edges") or []
        return [self._agent(edge["node"]) for edge in edges]

    def _place(self) -> dict[str, str]:
        return {"entity": self._entity, "project": self.project, "sweep": self.id}

    def _agent(self, node: Mapping[str, Any] | None) -> Agent:
        from mirror.api.raising import adapt

        try:
            return Agent(self._service_api, node or {}, self._entity, self.project, self.id)
        except ValueError as error:
            text = "Sweep agent data from the W&B API was incomplete or invalid."
            raise adapt(UsageError(text, context={"details": str(error)})) from error

    def enqueue_run(self, config: dict[str, Any], display_name: str | None = None) -> str:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Sweep.enqueue_run")

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return HTML that shows the sweep's page in a frame."""
        return iframe(self.url, height, hidden, "sweep")

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        return f"<Sweep {'/'.join(self.path)} ({self._attrs.get('state', 'Unknown State')})>"


class Agent(Attrs):
    """One agent of a sweep, and its `runs()`."""

    def __init__(
        self,
        service_api: Source,
        attrs: Mapping[str, Any],
        entity: str,
        project: str,
        sweep_id: str,
    ) -> None:
        super().__init__(attrs)
        self._service_api = service_api
        self._entity = entity
        self._project = project
        self._sweep_id = sweep_id
        name = self._attrs.get("name") or self._attrs.get("id")
        if not name:
            raise ValueError("Agent is missing name.")
        self._agent_key = str(name)

    def runs(self, per_page: int = 50) -> AgentRuns:
        """Return the agent's runs. From the server when they are looked at."""
        return AgentRuns(
            self._service_api,
            self._entity,
            self._project,
            self._sweep_id,
            self._agent_key,
            total_runs=int(self._attrs.get("totalRuns") or 0),
            per_page=per_page,
        )

    def __repr__(self) -> str:
        state = self._attrs.get("state", "Unknown State")
        return f"<Agent {self._attrs.get('id', 'Unknown')} ({state})>"


class AgentRuns(SizedPaginator["Run"]):
    """The runs of an agent: which they are comes from the server, what they hold from the mirror."""

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        sweep_id: str,
        agent_key: str,
        *,
        total_runs: int,
        order: str = "+created_at",
        per_page: int = 50,
    ) -> None:
        self.entity = entity
        self.project = project
        self.order = order
        self._total_runs = total_runs
        self._agent_key = agent_key
        variables = {
            "project": project,
            "entity": entity,
            "order": order,
            "agent": agent_key,
            "sweep": sweep_id,
        }
        super().__init__(service_api, variables, per_page)

    @property
    def _length(self) -> int:
        return self._total_runs

    def _connection(self) -> Any:
        node = (self.last_response or {}).get("project")
        for name, label in (("sweep", "sweep"), ("agent", "agent")):
            node = (node or {}).get(name)
            if node is None:
                raise ValueError(f"Could not find {label} {self._agent_key!r} for agent runs.")
        return (node or {}).get("runs") or {}

    @property
    def more(self) -> bool:
        """Whether there are more runs to load."""
        if self.last_response is None:
            return True
        return bool((self._connection().get("pageInfo") or {}).get("hasNextPage"))

    @property
    def cursor(self) -> str | None:
        """The cursor of the last run loaded; None before the first page."""
        edges = self._connection().get("edges") if self.last_response else None
        return edges[-1].get("cursor") if edges else None

    def _update_response(self) -> None:
        asked = {name: self.variables[name] for name in ("project", "entity", "order", "agent", "sweep")}  # fmt: skip
        self.last_response = self._service_api.of_sweep(
            "MirrorAgentRuns", first=self.per_page, after=self.cursor, **asked
        )

    def convert_objects(self) -> list[Run]:
        """Return the runs of the page loaded last."""
        from mirror.api.runs import Run

        edges = self._connection().get("edges") or []
        return [
            Run(self._service_api, self.entity, self.project, edge["node"]["name"], lazy=True)
            for edge in edges
            if edge.get("node")
        ]

    def __repr__(self) -> str:
        return f"<AgentRuns {self.entity}/{self.project} agent={self._agent_key!r}>"
