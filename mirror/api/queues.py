"""Run queues of W&B Launch: RunQueue and QueuedRun, read through and kept."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mirror.api.raising import normalized

if TYPE_CHECKING:
    from mirror.api.runs import Run
    from mirror.api.source import Source

__all__ = ["QueuedRun", "RunQueue"]

LAUNCH_PROJECT = "model-registry"
"""The project in which W&B keeps an entity's queues."""


class RunQueue:
    """A run queue; nothing is read before an attribute is asked for."""

    def __init__(
        self,
        service_api: Source,
        name: str,
        entity: str,
        prioritization_mode: Any = None,
        _access: Any = None,
        _default_resource_config_id: Any = None,
        _default_resource_config: dict[str, Any] | None = None,
        api_key: str | None = None,
    ) -> None:
        self._service_api = service_api
        self._name = name
        self._entity = entity
        self._queue: dict[str, Any] | None = None
        self._resource: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._name

    @property
    def entity(self) -> str:
        """The entity that owns the queue."""
        return self._entity

    @normalized
    def _read(self) -> dict[str, Any]:
        if self._queue is None:
            self._queue = self._service_api.run_queue(self._entity, LAUNCH_PROJECT, self._name)
        return self._queue

    @normalized
    def _config(self) -> dict[str, Any]:
        if self._resource is None:
            number = self._read()["defaultResourceConfigID"]
            found = number and self._service_api.resource_config(self._entity, number)
            self._resource = found or {"config": {}, "resource": None, "templateVariables": None}
        return self._resource

    @property
    def id(self) -> str:
        """The server's global id."""
        return str(self._read()["id"])

    @property
    def access(self) -> Any:
        """Who may use the queue: "PROJECT" or "USER"."""
        return self._read()["access"]

    @property
    def prioritization_mode(self) -> Any:
        """How items are ordered: "DISABLED" or "V0"."""
        return self._read()["prioritizationMode"]

    @property
    def external_links(self) -> Any:
        """Links shown with the queue."""
        return self._read()["externalLinks"]

    @property
    def type(self) -> Any:
        """The kind of resource, such as "kubernetes"."""
        return self._config()["resource"]

    @property
    def default_resource_config(self) -> Any:
        """The default configuration of the resource."""
        return self._config()["config"]

    @property
    def template_variables(self) -> Any:
        """The variables of the configuration."""
        return self._config()["templateVariables"]

    @property
    def items(self) -> list[QueuedRun]:
        """The queue's items, at most 100."""
        edges = (self._read().get("runQueueItems") or {}).get("edges") or []
        return [
            QueuedRun(
                self._service_api, self._entity, LAUNCH_PROJECT, self._name, edge["node"]["id"]
            )
            for edge in edges
        ]

    def delete(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("RunQueue.delete")

    @classmethod
    def create(
        cls,
        name: str,
        resource: Any,
        entity: str | None = None,
        prioritization_mode: Any = None,
        config: dict[str, Any] | None = None,
        template_variables: dict[str, Any] | None = None,
    ) -> RunQueue:
        """Refused: a write. Raises UnsupportedError."""
        from mirror.api.api import Api

        Api()._service_api.refuse_write("RunQueue.create")

    def __repr__(self) -> str:
        return f"<RunQueue {self._entity}/{self._name}>"


class QueuedRun:
    """An item of a run queue."""

    def __init__(
        self,
        service_api: Source,
        entity: str,
        project: str,
        queue_name: str,
        run_queue_item_id: str,
        project_queue: str | None = LAUNCH_PROJECT,
        priority: int | None = None,
        api_key: str | None = None,
    ) -> None:
        self._service_api = service_api
        self._entity = entity
        self._project = project
        self._queue_name = queue_name
        self._run_queue_item_id = run_queue_item_id
        self._run: Run | None = None
        self.sweep = None
        self.project_queue = project_queue
        self.priority = priority

    @property
    def queue_name(self) -> str:
        """The queue's name."""
        return self._queue_name

    @property
    def id(self) -> str:
        """The item's id."""
        return self._run_queue_item_id

    @property
    def project(self) -> str:
        """The project of the run."""
        return self._project

    @property
    def entity(self) -> str:
        """The entity of the queue."""
        return self._entity

    @normalized
    def _item(self) -> dict[str, Any] | None:
        place = self.project_queue or LAUNCH_PROJECT
        queue = self._service_api.run_queue(self._entity, place, self._queue_name, fresh=True)
        edges = (queue.get("runQueueItems") or {}).get("edges") or []
        nodes = (edge["node"] for edge in edges)
        return next((node for node in nodes if str(node["id"]) == str(self.id)), None)

    @property
    def state(self) -> str:
        """The item's state, lower case. Raises ValueError where the queue has no such item."""
        item = self._item()
        if item is None:
            raise ValueError(
                f"Could not find QueuedRunItem associated with id: {self.id} on queue "
                f"{self.queue_name} at itemId: {self.id}"
            )
        return str(item["state"]).lower()

    @normalized
    def wait_until_running(self) -> Run:
        """Ask the server until the item has a run, and return that run."""
        from mirror.api.runs import Run

        while self._run is None:
            item = self._item()
            if item and item["associatedRunId"] is not None:
                self._run = Run(
                    self._service_api, self._entity, self._project, item["associatedRunId"]
                )
                break
            time.sleep(5)
        return self._run

    @normalized
    def wait_until_finished(self) -> Run:
        """Ask the server until the item's run has ended, and return that run."""
        run: Run = self._run or self.wait_until_running()
        run.wait_until_finished()
        run.load(force=True)
        return run

    def delete(self, delete_artifacts: bool = False) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("QueuedRun.delete")

    def __repr__(self) -> str:
        return f"<QueuedRun {self._queue_name} ({self.id})"  # as the real client shows it
