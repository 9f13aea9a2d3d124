"""Registry: one registry of an organization, with its members. It reads and never writes."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, MutableSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from mirror.api.artifact_names import registry_name
from mirror.errors import GraphQLError
from mirror.paths import REGISTRY_PREFIX

if TYPE_CHECKING:
    from mirror.api.registries import Collections, Versions
    from mirror.api.source import Source
    from mirror.api.users import Team, User

__all__ = ["AddOnlyArtifactTypesList", "MemberKind", "Registry", "TeamMember", "UserMember"]


class MemberKind(str, enum.Enum):  # noqa: UP042 - wandb's prints as its class does
    """What a member of a registry is."""

    USER = "User"
    ENTITY = "Entity"
    TEAM = ENTITY


@dataclass(kw_only=True)
class UserMember:
    """A person with a role in a registry."""

    kind: MemberKind = MemberKind.USER
    user: User
    role: str


@dataclass(kw_only=True)
class TeamMember:
    """A team with a role in a registry."""

    kind: MemberKind = MemberKind.ENTITY
    team: Team
    role: str


class AddOnlyArtifactTypesList(MutableSequence[str]):
    """Names of artifact types: saved ones stay, others may be put behind them and taken out again."""

    def __init__(self, saved: Iterable[str] = ()) -> None:
        self._saved = tuple(dict.fromkeys(saved))
        self._draft: list[str] = []

    def _all(self) -> list[str]:
        return [*self._saved, *self._draft]

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> MutableSequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | MutableSequence[str]:
        return self._all()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            raise TypeError(f"{type(self).__name__!r} does not support slice assignment")
        if value not in self:
            self._draft[self._place(index, "assign to")] = value

    def __delitem__(self, index: int | slice) -> None:
        if isinstance(index, slice):
            raise TypeError(f"{type(self).__name__!r} does not support slice deletion")
        del self._draft[self._place(index, "delete")]

    def _place(self, index: int, verb: str) -> int:
        size = len(self)
        if not -size <= index < size:
            raise IndexError("Index out of range")
        place = index % size - len(self._saved)
        if place < 0:
            raise ValueError(f"Cannot {verb} saved item at index {index!r}")
        return place

    def insert(self, index: int, value: str) -> None:
        """Put a name before a place behind the saved ones; one that is there stays where it is.

        Raises IndexError for a place among the saved ones.
        """
        if value in self:
            return
        size, saved = len(self), len(self._saved)
        if index < -size and not saved:
            self._draft.insert(0, value)
        elif index >= size:
            self._draft.append(value)
        elif index % size < saved:
            raise IndexError(f"Cannot insert into the frozen list (index < {saved})")
        else:
            self._draft.insert(index % size - saved, value)

    def remove(self, value: str) -> None:
        """Take out a name that was put in. Raises ValueError for a saved one."""
        try:
            super().remove(value)
        except ValueError:
            raise ValueError(
                f"Cannot remove artifact type: {value!r} that has been saved to the registry"
            ) from None

    @property
    def draft(self) -> tuple[str, ...]:
        """The names that are not saved."""
        return tuple(self._draft)

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(saved={list(self._saved)!r}, draft={self._draft!r})"


class Registry:
    """A registry of an organization. Edits are refused: use `wandb.Api().registry(...)` for them."""

    def __init__(
        self,
        service_api: Source,
        organization: str,
        entity: str,
        name: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self._service_api = service_api
        self._organization = organization
        self._entity = entity
        self._name = name
        self._node: Mapping[str, Any] = {}
        self._types = AddOnlyArtifactTypesList()
        if attrs is not None:
            self._read(attrs)

    def _read(self, node: Mapping[str, Any]) -> None:
        organization = node["entity"].get("organization")
        if not organization:
            raise ValueError("Unable to parse registry organization from 'RegistryFragment' object")
        self._node = node
        self._organization = organization["name"]
        self._entity = node["entity"]["name"]
        self._name = registry_name(node["name"])
        edges = (node.get("artifactTypes") or {}).get("edges") or []
        self._types = AddOnlyArtifactTypesList(
            edge["node"]["name"] for edge in edges if edge.get("node")
        )

    def _field(self, name: str, attribute: str) -> Any:
        if not self._node:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")
        return self._node.get(name)

    @property
    def id(self) -> str:
        """The server's global id."""
        return str(self._field("id", "id"))

    @property
    def internal_id(self) -> str | None:
        """The stable id of its project."""
        found: str | None = self._node.get("internalId")
        return found

    @property
    def full_name(self) -> str:
        """The name with `wandb-registry-` before it."""
        return f"{REGISTRY_PREFIX}{self._name}"

    @property
    def name(self) -> str:
        """The name."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._service_api.refuse_write("Registry.name = …")

    @property
    def entity(self) -> str:
        """The organization's entity."""
        return self._entity

    @property
    def organization(self) -> str:
        """The organization's name."""
        return self._organization

    @property
    def description(self) -> str | None:
        """What somebody wrote about it."""
        found: str | None = self._node.get("description")
        return found

    @description.setter
    def description(self, value: str) -> None:
        self._service_api.refuse_write("Registry.description = …")

    @property
    def allow_all_artifact_types(self) -> bool:
        """Whether versions of every type may be linked; else only those of `artifact_types`."""
        return bool(self._field("allowAllArtifactTypesInRegistry", "allow_all_artifact_types"))

    @allow_all_artifact_types.setter
    def allow_all_artifact_types(self, value: bool) -> None:
        self._service_api.refuse_write("Registry.allow_all_artifact_types = …")

    @property
    def artifact_types(self) -> AddOnlyArtifactTypesList:
        """The artifact types that are allowed, or were ever used."""
        return self._types

    @property
    def created_at(self) -> str:
        """When it was made."""
        return str(self._field("createdAt", "created_at"))

    @property
    def updated_at(self) -> str | None:
        """When it was last edited."""
        found: str | None = self._field("updatedAt", "updated_at")
        return found

    @property
    def path(self) -> list[str]:
        """[entity, full name]."""
        return [self.entity, self.full_name]

    @property
    def visibility(self) -> Literal["organization", "restricted"]:
        """Who sees it: everybody of the organization, or those that were invited."""
        access = self._field("access", "visibility")
        return "restricted" if access == "RESTRICTED" else "organization"

    @visibility.setter
    def visibility(self, value: Literal["organization", "restricted"]) -> None:
        self._service_api.refuse_write("Registry.visibility = …")

    def collections(
        self,
        filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Collections:
        """Return its collections, a lazy listing."""
        from mirror.api.registries import Collections, only

        return Collections(
            self._service_api, self.organization, only(self), filter, order, per_page, start
        )

    def versions(
        self,
        filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Versions:
        """Return the versions linked to it, a lazy listing."""
        from mirror.api.registries import Versions, only

        return Versions(
            self._service_api, self.organization, only(self), None, filter, order, per_page, start
        )

    def load(self) -> None:
        """Read its fields. Raises ValueError where there is no such registry."""
        failed = f"Failed to load registry {self.name!r} in organization {self.organization!r}."
        try:
            node = self._service_api.artifact_node(
                "ApiRegistryByName", entity=self.entity, name=self.full_name
            )
        except GraphQLError as error:
            raise ValueError(failed) from error
        if node is None:
            raise ValueError(failed)
        self._read(node)

    def members(self) -> list[UserMember | TeamMember]:
        """Return the people and teams that have a role in it."""
        return [*self.user_members(), *self.team_members()]

    def _members(self, what: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = self._service_api.artifact_node(
            "ApiRegistryMembers", entity=self.entity, project=self.full_name
        )
        if found is None:
            raise ValueError(f"Failed to fetch {what} members for registry {self.name!r}")
        return found

    def user_members(self) -> list[UserMember]:
        """Return the people that have a role in it. Raises ValueError where there is no such registry."""
        from mirror.api.users import User

        made = []
        for node in self._members("user")["members"]:
            attrs = {
                name: value for name, value in node.items() if name != "role" and value is not None
            }
            made.append(
                UserMember(user=User(self._service_api, attrs), role=str(node["role"]["name"]))
            )
        return made

    def team_members(self) -> list[TeamMember]:
        """Return the teams that have a role in it. Raises ValueError where there is no such registry."""
        from mirror.api.users import Team

        return [
            TeamMember(
                team=Team(self._service_api, node["team"]["name"], dict(node["team"])),
                role=str(node["role"]["name"]),
            )
            for node in self._members("team")["teamMembers"]
        ]

    # -------------------------------------------------------------- refused: everything that writes

    @classmethod
    def create(
        cls,
        api: Any,
        organization: str,
        name: str,
        visibility: Literal["organization", "restricted"],
        description: str | None = None,
        artifact_types: list[str] | None = None,
    ) -> Registry:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        source: Source = api._service_api
        source.refuse_write("Registry.create")

    def delete(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Registry.delete")

    def save(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Registry.save")

    def add_members(self, *members: Any) -> Registry:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Registry.add_members")

    def remove_members(self, *members: Any) -> Registry:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Registry.remove_members")

    def update_member(self, member: Any, role: Any) -> Registry:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("Registry.update_member")
