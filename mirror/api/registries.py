"""Registries of an organization and the search across them: Registries, Collections, Versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from mirror.api.artifact import Artifact, of_membership
from mirror.api.artifact_names import registry_name
from mirror.api.artifacts import (
    ArtifactCollection,
    RelayPaginator,
    SizedRelayPaginator,
    _collection,
    checked_order,
    sent,
)
from mirror.api.raising import adapt
from mirror.api.registry_filters import ADVANCED, BASIC, ORDERS, VERSION_ORDERS, checked
from mirror.errors import MirrorError, UnsupportedError

if TYPE_CHECKING:
    from mirror.api.registry import Registry
    from mirror.api.source import Source

__all__ = ["Collections", "Registries", "Versions", "only"]

T = TypeVar("T")


def only(one: Registry | ArtifactCollection) -> dict[str, Any]:
    """Return the filter that finds the registry of an object alone."""
    from mirror.global_ids import decode_global_id

    if isinstance(one, ArtifactCollection):
        identifier, name = one.project_internal_id, one.project
    else:
        identifier, name = one.internal_id, one.full_name
    parts = decode_global_id(identifier or "")
    if parts and parts[-1].isdecimal():
        return {"id": int(parts[-1])}
    return {"name": name}


def _refuse_start(start: str | None, what: str, of: str, order: str | None) -> None:
    if order is not None and start is not None:
        raise ValueError(
            f"{start=} is not supported when querying {what} from {of} "
            f"fetched with order={order!r}. Remove either 'order' from the "
            f"{of} query or 'start' from the {what} query."
        )


class _OfOrganization(RelayPaginator[T]):
    organization: str

    def __next__(self) -> T:
        self.index += 1
        while len(self.objects) <= self.index:
            if not self._load_page():
                raise StopIteration
        return self.objects[self.index]

    def _missing(self) -> ValueError:
        return ValueError(
            f"Organization {self.organization!r} not found. "
            "Please verify the organization name is correct."
        )


class Registries(_OfOrganization["Registry"]):
    """The registries of an organization that match a filter; lazy."""

    OPERATION = "ApiRegistries"

    def __init__(
        self,
        service_api: Source,
        organization: str,
        filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> None:
        self.organization = organization
        self._filter = checked(filter, BASIC["registries"], prefixed=True)
        self.filter = sent(self._filter)
        self.order = checked_order(order, ORDERS)
        asked = {"organization": organization, "filters": self.filter, "order": self.order}
        super().__init__(service_api, asked, per_page, start)

    def collections(
        self,
        filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Collections | _OrderedCollections:
        """Return the collections of these registries, lazy; of ordered registries one after the other.

        Raises ValueError for `start` after an ordered listing.
        """
        _refuse_start(start, "collections", "registries", self.order)
        if self.order is None:
            return Collections(
                self._service_api, self.organization, self._filter, filter, order, per_page, start
            )
        return _OrderedCollections(
            self._service_api,
            self.organization,
            (
                Collections(
                    self._service_api, self.organization, only(one), filter, order, per_page
                )
                for one in self
            ),
        )

    def versions(
        self,
        filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Versions | _Chained[Artifact]:
        """Return the versions linked to these registries, lazy; of ordered ones one after the other.

        Raises ValueError for `start` after an ordered listing.
        """
        _refuse_start(start or None, "versions", "registries", self.order)
        if self.order is None:
            return Versions(
                self._service_api,
                self.organization,
                self._filter,
                None,
                filter,
                order,
                per_page,
                start,
            )
        return _Chained(
            Versions(self._service_api, self.organization, only(one), None, filter, order, per_page)
            for one in self
        )

    @property
    def length(self) -> int | None:
        """How many the page loaded last has; None before."""
        return None if self.last_response is None else len(self.last_response["edges"])

    def _made(self, edge: Mapping[str, Any]) -> Registry:
        from mirror.api.registry import Registry

        node = edge["node"]
        return Registry(
            self._service_api,
            self.organization,
            node["entity"]["name"],
            registry_name(node["name"]),
            node,
        )


class Collections(_OfOrganization[ArtifactCollection], SizedRelayPaginator[ArtifactCollection]):
    """The collections of registries that match filters; lazy."""

    OPERATION = "ApiRegistryCollections"

    def __init__(
        self,
        service_api: Source,
        organization: str,
        registry_filter: dict[str, Any] | None = None,
        collection_filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> None:
        self.organization = organization
        self._registries = checked(registry_filter, BASIC["registries"], prefixed=True)
        self._collections = checked(collection_filter, BASIC["collections"])
        self.registry_filter = sent(self._registries)
        self.collection_filter = sent(self._collections)
        self.order = checked_order(order, ORDERS)
        asked = {
            "organization": organization,
            "registries": self.registry_filter,
            "collections": self.collection_filter,
            "order": self.order,
        }
        super().__init__(service_api, asked, per_page, start)

    def versions(
        self,
        filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Versions | _Chained[Artifact]:
        """Return the versions linked to these collections, lazy; of ordered ones one after the other.

        Raises ValueError for `start` after an ordered listing.
        """
        _refuse_start(start or None, "versions", "collections", self.order)
        if self.order is None:
            return Versions(
                self._service_api, self.organization, self._registries, self._collections, filter,
                order, per_page, start,
            )  # fmt: skip
        return _of_each(self._service_api, self.organization, self, filter, order, per_page)

    def _made(self, edge: Mapping[str, Any]) -> ArtifactCollection | None:
        node = edge["node"]
        if node["__typename"] == "ArtifactSequence":
            return None
        return _collection(self._service_api, node, self.organization)


class Versions(_OfOrganization[Artifact]):
    """The versions linked to registries that match filters; lazy.

    `order` needs an organization with advanced search: else UnsupportedError.
    """

    OPERATION = "ApiRegistryVersions"

    def __init__(
        self,
        service_api: Source,
        organization: str,
        registry_filter: dict[str, Any] | None = None,
        collection_filter: dict[str, Any] | None = None,
        artifact_filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> None:
        advanced = _advanced(service_api, organization)
        if order is not None and not advanced:
            raise adapt(
                UnsupportedError(
                    "Ordering registry versions is not supported for this organization."
                    " If you have any questions, please contact support at support@wandb.com."
                )
            )
        names = ADVANCED if advanced else BASIC
        self.organization = organization
        self.order = checked_order(order, VERSION_ORDERS)
        self.registry_filter = sent(checked(registry_filter, names["registries"], prefixed=True))
        self.collection_filter = sent(checked(collection_filter, names["collections"]))
        self.artifact_filter = sent(checked(artifact_filter, names["versions"]))
        asked = {
            "organization": organization,
            "registries": self.registry_filter,
            "collections": self.collection_filter,
            "versions": self.artifact_filter,
            "order": self.order,
        }
        super().__init__(service_api, asked, per_page, start)

    @property
    def length(self) -> int | None:
        """How many the page loaded last has; None before."""
        return None if self.last_response is None else len(self.last_response["edges"])

    def _made(self, edge: Mapping[str, Any]) -> Artifact | None:
        node = edge["node"]
        collection = node.get("artifactCollection") or {}
        project, index = collection.get("project"), node.get("versionIndex")
        if not project or not node.get("artifact") or index is None:
            return None
        name = f"{collection['name']}:v{index}"
        return of_membership(
            self._service_api, project["entity"]["name"], project["name"], name, node
        )


def _advanced(source: Source, organization: str) -> bool:
    """Whether an organization has the other search; False where nobody says so. Asked once."""
    known: dict[str, bool] = source.__dict__.setdefault("_advanced_search", {})
    if organization not in known:
        try:
            found = source.artifact_node("ApiAdvancedSearch", organization=organization)
        except MirrorError:
            found = None
        known[organization] = bool(found and found.get("advancedSearch"))
    return known[organization]


class _Chained(Iterator[T], Generic[T]):
    """The objects of several listings, one after the other. It can be walked once."""

    def __init__(self, listings: Iterable[Iterable[T]]) -> None:
        self._items = chain.from_iterable(listings)

    def __next__(self) -> T:
        return next(self._items)

    def _refuse(self, name: str) -> NoReturn:
        raise adapt(
            UnsupportedError(f"`{name}` is not supported for ordered chained registry queries.")
        )

    @property
    def cursor(self) -> NoReturn:
        """Refused: several listings have no place."""
        self._refuse("cursor")

    @property
    def length(self) -> NoReturn:
        """Refused: how many there are is not known."""
        self._refuse("length")

    def __len__(self) -> NoReturn:
        raise TypeError("`__len__` is not supported for ordered chained registry queries.")

    def __getitem__(self, index: int | slice) -> NoReturn:
        self._refuse("__getitem__")


def _of_each(
    source: Source,
    organization: str,
    collections: Iterable[ArtifactCollection],
    filter: dict[str, Any] | None,
    order: str | None,
    per_page: int,
) -> _Chained[Artifact]:
    return _Chained(
        Versions(source, organization, only(one), {"name": one.name}, filter, order, per_page)
        for one in collections
    )


class _OrderedCollections(_Chained[ArtifactCollection]):
    """Collections of ordered registries, one registry after the other."""

    def __init__(
        self,
        source: Source,
        organization: str,
        listings: Iterable[Iterable[ArtifactCollection]],
    ) -> None:
        super().__init__(listings)
        self._service_api = source
        self.organization = organization

    def versions(
        self,
        filter: dict[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> _Chained[Artifact]:
        """Return the versions of these collections, one after the other. Raises ValueError for `start`."""
        if start is not None:
            raise ValueError(
                f"{start=} is not supported when querying versions from registries "
                "fetched with an order. Remove either 'order' from the registries "
                "query or 'start' from the versions query."
            )
        return _of_each(self._service_api, self.organization, self, filter, order, per_page)
