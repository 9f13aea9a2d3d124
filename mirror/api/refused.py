"""Members of `wandb.Api` that this version refuses: everything that writes.

They exist with the real signatures, so that a script fails with a sentence and not an AttributeError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirror.api.source import Source

__all__ = ["Refused"]


class Refused:
    """The refused members of Api."""

    _service_api: Source

    def create_project(self, name: Any, entity: Any) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("create_project")

    def create_run(self, *, run_id: Any = None, project: Any = None, entity: Any = None) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("create_run")

    def create_run_queue(
        self,
        name: Any,
        type: Any,
        entity: Any = None,
        prioritization_mode: Any = None,
        config: Any = None,
        template_variables: Any = None,
    ) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("create_run_queue")

    def create_custom_chart(
        self, entity: Any, name: Any, display_name: Any, spec_type: Any, access: Any, spec: Any
    ) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("create_custom_chart")

    def upsert_run_queue(
        self,
        name: Any,
        resource_config: Any,
        resource_type: Any,
        entity: Any = None,
        template_variables: Any = None,
        external_links: Any = None,
        prioritization_mode: Any = None,
    ) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("upsert_run_queue")

    def create_user(self, email: Any, admin: Any = False) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("create_user")

    def create_team(self, team: Any, admin_username: Any = None) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("create_team")

    def create_registry(
        self,
        name: Any,
        visibility: Any,
        organization: Any = None,
        description: Any = None,
        artifact_types: Any = None,
    ) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("create_registry")

    def create_automation(self, obj: Any, *, fetch_existing: Any = False, **kwargs: Any) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("create_automation")

    def update_automation(self, obj: Any, *, create_missing: Any = False, **kwargs: Any) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("update_automation")

    def delete_automation(self, obj: Any) -> Any:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("delete_automation")
