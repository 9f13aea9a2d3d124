"""What filters and orders of registries, collections and versions may name, and how they are sent.

The server has two searches with two spellings; which one an organization has decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mirror.paths import REGISTRY_PREFIX

__all__ = [
    "ADVANCED",
    "BASIC",
    "ORDERS",
    "VERSION_ORDERS",
    "checked",
]


def _names(*fields: str, **spellings: str) -> dict[str, str]:
    return {name: name for name in fields} | spellings


_ID: Final = "artifact_collection_id"
BASIC: Final[dict[str, dict[str, str]]] = {
    "registries": _names("id", "name", "entity_id", "description", "created_at", "updated_at"),
    "collections": _names(
        _ID, "name", "tag", "description", "created_at", "updated_at", id=_ID, collection_id=_ID
    ),
    "versions": _names("id", "version", "tag", "alias", "metadata", "created_at", "updated_at"),
}
"""Field as written → field as sent, for the search every organization has."""
ADVANCED: Final[dict[str, dict[str, str]]] = {
    "registries": _names("project_id", "name", "entity_id", id="project_id"),
    "collections": _names(
        _ID, "name", "tag", id=_ID, collection_id=_ID, tags="tag",
        collection_name="name", artifact_collection_name="name",
    ),
    "versions": _names(
        "artifact_id", "version", "tag", "alias", "metadata", "artifact_created_at",
        "artifact_size", "acm_created_at", id="artifact_id", version_index="version", tags="tag",
        aliases="alias", artifact_metadata="metadata", created_at="artifact_created_at",
        linked_at="acm_created_at",
    ),
}  # fmt: skip
"""The same for the search that looks into columns of another database."""
ORDERS: Final = _names("name", "created_at", "updated_at")
VERSION_ORDERS: Final = _names(
    "artifact_created_at", "artifact_size", "acm_created_at",
    created_at="artifact_created_at", linked_at="acm_created_at",
)  # fmt: skip
_KNOWN: Final = frozenset(
    {
        "$and", "$or", "$nor", "$not", "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin",
        "$exists", "$regex", "$contains",
    }
)  # fmt: skip


def checked(
    filters: Mapping[str, Any] | None, known: Mapping[str, str], *, prefixed: bool = False
) -> dict[str, Any] | None:
    """Return a filter in the server's spelling; `prefixed` makes registry names whole.

    Raises ValueError for a field that is none, and for one field in two spellings.
    """
    if filters is None:
        return None
    if not isinstance(filters, Mapping):
        raise ValueError(f"a filter is a dictionary, not {filters!r}")
    wrong = sorted({root for root in _roots(filters) if root not in known})
    if wrong:
        raise ValueError(
            f"Invalid filter fields: {', '.join(map(repr, wrong))}; must be one of: "
            f"{', '.join(map(repr, sorted(known)))}"
        )
    return _spelled(filters, known, prefixed)


def _roots(tree: Any) -> Iterable[str]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if not key.startswith("$"):
                yield key.partition(".")[0]
            elif key in ("$and", "$or", "$nor", "$not"):
                yield from _roots(value)
    elif isinstance(tree, list | tuple):
        for one in tree:
            yield from _roots(one)


def _spelled(tree: Mapping[str, Any], known: Mapping[str, str], prefixed: bool) -> dict[str, Any]:
    items = [_item(key, value, known, prefixed) for key, value in tree.items()]
    twice = sorted(key for key, count in Counter(key for key, _ in items).items() if count > 1)
    if twice:
        raise ValueError(f"Duplicate fields: {', '.join(map(repr, twice))}")
    return dict(items)


def _item(key: str, value: Any, known: Mapping[str, str], prefixed: bool) -> tuple[str, Any]:
    if key in ("$and", "$or", "$nor") and isinstance(value, list):
        return key, [_spelled(one, known, prefixed) for one in value]
    if key == "$not" and isinstance(value, dict):
        return key, _spelled(value, known, prefixed)
    if key.startswith("$"):
        return key, value
    root, dot, rest = key.partition(".")
    if prefixed and known[root] == "name":
        value = _prefixed(value)
    return f"{known[root]}{dot}{rest}", value


def _prefixed(value: Any) -> Any:
    """Registry names with their prefix, except under `$regex` and operators that are not known."""
    if isinstance(value, str):
        return value if value.startswith(REGISTRY_PREFIX) else f"{REGISTRY_PREFIX}{value}"
    if isinstance(value, dict):
        return {
            key: item
            if key == "$regex" or (key.startswith("$") and key not in _KNOWN)
            else _prefixed(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_prefixed(one) for one in value]
    return value
