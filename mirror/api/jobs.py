"""Job: a job artifact of W&B Launch, downloaded and read. Calling one is a write and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirror.api.api import Api
    from mirror.api.source import Source

__all__ = ["Job"]


class Job:
    """A job: its artifact is downloaded when the object is made. Raises CommError where there is none."""

    def __init__(
        self,
        api: Api,
        name: str,
        path: str | None = None,
        *,
        service_api: Source | None = None,
    ) -> None:
        self._api = api
        self._service_api = service_api or api._service_api
        self._name = name
        try:
            self._job_artifact = api._artifact(name, type="job")
        except ValueError as error:
            raise ValueError(f"Job artifact {name} not found") from error
        self._fpath = self._job_artifact.download(root=path)
        with (Path(self._fpath) / "wandb-job.json").open(encoding="utf-8") as file:
            self._job_info: dict[str, Any] = json.load(file)
        self._entrypoint: list[str] | None = self._job_info.get("source", {}).get("entrypoint")

    @property
    def name(self) -> str:
        """The name it was asked by."""
        return self._name

    def set_entrypoint(self, entrypoint: list[str]) -> None:
        """Note another entry point on this object."""
        self._entrypoint = entrypoint

    def call(
        self,
        config: Any,
        project: Any = None,
        entity: Any = None,
        queue: Any = None,
        resource: Any = "local-container",
        resource_args: Any = None,
        template_variables: Any = None,
        project_queue: Any = None,
        priority: Any = None,
    ) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Job.call")
