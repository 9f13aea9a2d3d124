"""People and groups: User, Team, Member, Organization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.api.attrs import Attrs

if TYPE_CHECKING:
    from mirror.api.source import Source

__all__ = ["Member", "Organization", "Team", "User", "user_attrs"]


def _names(connection: Any) -> list[str]:
    edges = (connection or {}).get("edges") or []
    return [edge["node"]["name"] for edge in edges]


_USER_FIELDS = (
    "id", "name", "username", "email", "admin", "flags", "entity", "deletedAt", "apiKeys", "teams",
)  # fmt: skip


def user_attrs(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user's node with every field the real client has. API keys are never asked for."""
    return {name: node.get(name) for name in _USER_FIELDS}


class User(Attrs):
    """A user of the W&B server."""

    def __init__(
        self, service_api: Source, attrs: Mapping[str, Any], api_key: str | None = None
    ) -> None:
        super().__init__(attrs)
        self._service_api = service_api

    @property
    def user_api(self) -> Any:
        """None: this client does not act for other users."""
        return None

    @classmethod
    def create(cls, api: Any, email: str, admin: bool | None = False) -> User:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        source: Source = api._service_api
        source.refuse_write("User.create")

    @property
    def api_keys(self) -> list[str]:
        """Names of the user's API keys: always empty, the mirror does not ask for keys."""
        return _names(self._attrs.get("apiKeys"))

    @property
    def teams(self) -> list[str]:
        """Names of the user's teams; empty where they are not known."""
        return _names(self._attrs.get("teams"))

    def delete_api_key(self, api_key: str) -> bool:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("User.delete_api_key")

    def generate_api_key(self, description: str | None = None) -> str | None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("User.generate_api_key")

    def __repr__(self) -> str:
        for name in ("email", "username", "id"):
            if self._attrs.get(name):
                return f"<User {self._attrs[name]}>"
        full = self._attrs.get("name")
        return f"<User {full!r}>" if full else "<User ???>"


class Member(Attrs):
    """A member of a team."""

    def __init__(self, service_api: Source, team: str, attrs: Mapping[str, Any]) -> None:
        super().__init__(attrs)
        self._service_api = service_api
        self.team = team

    def delete(self) -> bool:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Member.delete")

    def __repr__(self) -> str:
        return f"<Member {self.name} ({self.account_type})>"


class Team(Attrs):
    """A team, its settings and its `members`. Raises KeyError('members') where there is none."""

    def __init__(
        self, service_api: Source, name: str, attrs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(attrs or {})
        self._service_api = service_api
        self.name = name
        self.load()

    @classmethod
    def create(cls, api: Any, team: str, admin_username: str | None = None) -> Team:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        source: Source = api._service_api
        source.refuse_write("Team.create")

    def invite(self, username_or_email: str, admin: bool = False) -> bool:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Team.invite")

    def create_service_account(self, description: str) -> Member | None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Team.create_service_account")

    def load(self, force: bool = False) -> dict[str, Any]:
        """Return the team's fields. Read through and kept; offline and never read: NotMirrored."""
        if force or not self._attrs:
            source = self._service_api
            node = source.cached(
                "team",
                "",
                self.name,
                f"team {self.name!r}",
                lambda: source.fetch("MirrorTeam", name=self.name).get("entity"),
            )
            self._attrs = dict(node or {})
            self._attrs["members"] = [
                # Keys of service accounts are never asked for.
                Member(source, self.name, {**member, "apiKey": None})
                for member in self._attrs["members"]
            ]
        return self._attrs

    def __repr__(self) -> str:
        return f"<Team {self.name}>"


@dataclass(frozen=True)
class OrgEntity:
    """The entity that stands for an organization."""

    id: str
    name: str
    entity_type: str = "organization"


@dataclass(frozen=True)
class Organization:
    """An organization: its global id, its name and its entity."""

    id: str
    name: str
    org_entity: OrgEntity
