"""Automations and integrations of an entity, read through and kept. Their objects are read-only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mirror import instants
from mirror.api.attrs import camel
from mirror.api.paginator import Paginator

if TYPE_CHECKING:
    from mirror.api.source import Source

__all__ = [
    "Automation",
    "Automations",
    "EntityAutomations",
    "Integrations",
    "LegacyAutomations",
    "LegacyEntityAutomations",
    "SlackIntegration",
    "SlackIntegrations",
    "WebhookIntegration",
    "WebhookIntegrations",
]

_TIMES = frozenset({"createdAt", "updatedAt"})
_ACTION_TYPES = {
    "GenericWebhookTriggeredAction": "GENERIC_WEBHOOK",
    "NoOpTriggeredAction": "NO_OP",
    "NotificationTriggeredAction": "NOTIFICATION",
    "QueueJobTriggeredAction": "QUEUE_JOB",
}
"""What an action is called where an automation is made, by its type in the schema."""


class _Record:
    """A node with its fields as attributes, in snake_case; nested nodes likewise."""

    def __init__(self, node: Mapping[str, Any]) -> None:
        self._node = dict(node)
        if node.get("__typename") in _ACTION_TYPES:
            self._node["actionType"] = _ACTION_TYPES[node["__typename"]]

    def model_dump(self) -> dict[str, Any]:
        """Return the fields as the server names and sends them."""
        return dict(self._node)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        key = "__typename" if name == "typename__" else camel(name)
        if key not in self._node:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self._node[key]
        if key in _TIMES and isinstance(value, str):
            micros = instants.to_us(value)
            return value if micros is None else datetime.fromtimestamp(micros / 1e6, UTC)
        return _Record(value) if isinstance(value, dict) else value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Record) and self._node == other._node

    def __hash__(self) -> int:
        return hash(self._node.get("id"))

    def __repr__(self) -> str:
        shown = {name: self._node.get(name) for name in ("id", "name") if name in self._node}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


class Automation(_Record):
    """An automation: id, name, description, enabled, created_at, updated_at, scope, event, action."""


class SlackIntegration(_Record):
    """A Slack integration: id, team_name, channel_name."""


class WebhookIntegration(_Record):
    """A webhook integration: id, name, url_endpoint."""


class _Whole(Paginator[Any]):
    """A listing that is read whole and handed out in pages."""

    def __init__(self, source: Source, per_page: int, start: str | None) -> None:
        super().__init__(source, {}, per_page)
        self._start = int(start or 0)
        self._nodes: list[Mapping[str, Any]] | None = None

    def _read(self) -> list[Mapping[str, Any]]:
        raise NotImplementedError

    def _made(self, node: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    @property
    def more(self) -> bool:
        """Whether there are more objects to load."""
        return self._nodes is None or self._start < len(self._nodes)

    @property
    def cursor(self) -> str | None:
        """Where the next page begins; may be given as `start` to go on there."""
        return str(self._start) if self._nodes is not None or self._start else None

    def _update_response(self) -> None:
        if self._nodes is None:
            self._nodes = self._read()

    def convert_objects(self) -> list[Any]:
        """Return the next page of objects."""
        page = (self._nodes or [])[self._start : self._start + self.per_page]
        self._start += len(page)
        return [self._made(node) for node in page]


class _Triggers(_Whole):
    """Automations of an entity, or of all projects that the viewer may see."""

    def __init__(
        self,
        service_api: Source,
        entity: str | None,
        name: str | None,
        per_page: int,
        start: str | None,
    ) -> None:
        super().__init__(service_api, per_page, start)
        self._entity = entity
        self._name = name

    def _read(self) -> list[Mapping[str, Any]]:
        found = self._service_api.automations(self._entity)
        return [node for node in found if self._name in (None, node["name"])]

    def _made(self, node: Mapping[str, Any]) -> Automation:
        return Automation(node)


class LegacyAutomations(_Triggers):
    """All automations that the viewer may see; lazy."""

    def __init__(
        self,
        service_api: Source,
        *,
        name: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        super().__init__(service_api, None, name, per_page, start)


Automations = LegacyAutomations


class EntityAutomations(_Triggers):
    """The automations of an entity; lazy. `filter` may be {"name": …}."""

    def __init__(
        self,
        service_api: Source,
        entity: str,
        *,
        filter: dict[str, Any] | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        super().__init__(service_api, entity, (filter or {}).get("name"), per_page, start)


class LegacyEntityAutomations(_Triggers):
    """The automations of an entity, as servers before 0.83 list them; lazy."""

    def __init__(
        self,
        service_api: Source,
        entity: str,
        *,
        name: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        super().__init__(service_api, entity, name, per_page, start)


class Integrations(_Whole):
    """The Slack and webhook integrations of an entity; lazy."""

    KINDS: tuple[str, ...] = ("SlackIntegration", "GenericWebhookIntegration")

    def __init__(
        self,
        service_api: Source,
        variables: dict[str, Any],
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        super().__init__(service_api, per_page, start)
        self.variables = dict(variables)

    def _read(self) -> list[Mapping[str, Any]]:
        found = self._service_api.integrations(str(self.variables["entity"]))
        return [node for node in found if node.get("__typename") in self.KINDS]

    def _made(self, node: Mapping[str, Any]) -> Any:
        slack = node["__typename"] == "SlackIntegration"
        return SlackIntegration(node) if slack else WebhookIntegration(node)


class SlackIntegrations(Integrations):
    """The Slack integrations of an entity; lazy."""

    KINDS = ("SlackIntegration",)


class WebhookIntegrations(Integrations):
    """The webhook integrations of an entity; lazy."""

    KINDS = ("GenericWebhookIntegration",)
