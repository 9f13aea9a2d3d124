"""Filters and orders of the web app ↔ W&B's MongoDB-style ones: QueryGenerator, for reports and sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["QueryGenerator"]

_SECTIONS: Final = {
    "config": "config.",
    "summary": "summary_metrics.",
    "keys_info": "keys_info.keys.",
    "tags": "tags.",
    "run": "",
}
"""A section of the app's keys → what stands before the key on the server."""


class QueryGenerator:
    """Translates keys, filters and orders between the app and the server."""

    INDIVIDUAL_OP_TO_MONGO: Final = {
        "!=": "$ne",
        ">": "$gt",
        ">=": "$gte",
        "<": "$lt",
        "<=": "$lte",
        "IN": "$in",
        "NIN": "$nin",
        "REGEX": "$regex",
    }
    MONGO_TO_INDIVIDUAL_OP: Final = {v: k for k, v in INDIVIDUAL_OP_TO_MONGO.items()}
    GROUP_OP_TO_MONGO: Final = {"AND": "$and", "OR": "$or"}
    MONGO_TO_GROUP_OP: Final = {v: k for k, v in GROUP_OP_TO_MONGO.items()}

    def __init__(self) -> None:
        pass

    @classmethod
    def format_order_key(cls, key: str) -> str | None:
        """Return an order for a key: a bare metric is one of the summary, no sign means descending.

        None for a bare column of a run, as the real client has it.
        """
        sign, name = (key[0], key[1:]) if key[:1] in ("+", "-") else ("-", key)
        first, dot, _rest = name.partition(".")
        if not dot:
            if name in ("createdAt", "updatedAt", "name", "sweep"):
                return None
            return f"{sign}summary_metrics.{name}"
        if first in ("config", "summary_metrics", "tags"):
            return sign + name
        return f"{sign}summary_metrics.{name}"

    def key_to_server_path(self, key: Mapping[str, Any]) -> str:
        """Return the server's name of a key of the app. Raises ValueError for an unknown section."""
        prefix = _SECTIONS.get(key["section"])
        if prefix is None:
            raise ValueError(f"Invalid key: {key}")
        return prefix + str(key["name"])

    def server_path_to_key(self, path: str) -> dict[str, str]:
        """Return the app's key for a name of the server."""
        for section, prefix in _SECTIONS.items():
            if prefix and path.startswith(prefix):
                return {"section": section, "name": path[len(prefix) :]}
        return {"section": "run", "name": path}

    def keys_to_order(self, keys: Mapping[str, Any]) -> list[str]:
        """Return the server's orders for the app's sort keys."""
        return [
            ("+" if key.get("ascending") else "-") + self.key_to_server_path(key["key"])
            for key in keys["keys"]
        ]

    def order_to_keys(self, order: Sequence[str]) -> dict[str, Any]:
        """Return the app's sort keys for signed orders."""
        keys = []
        for item in order:
            if item[0] not in "+-":
                raise ValueError("you must sort by ascending(+) or descending(-)")
            key = {"section": "run", "name": item[1:]}
            keys.append({"key": key, "ascending": item[0] == "+"})
        return {"keys": keys}

    def filter_to_mongo(self, filter: Mapping[str, Any]) -> Any:
        """Return a filter of the app in the server's syntax; None for one that says nothing."""
        if filter.get("key") is not None:
            return self._individual(filter)
        if filter.get("filters") is not None:
            parts = [self.filter_to_mongo(part) for part in filter["filters"]]
            return {self.GROUP_OP_TO_MONGO[filter["op"]]: parts}
        return None

    def _individual(self, filter: Mapping[str, Any]) -> Any:
        key, op, value = filter["key"], filter["op"], filter.get("value")
        if key["name"] == "" or filter.get("disabled"):
            return None
        if value is None and op not in ("=", "!="):
            return None
        if key["section"] == "tags":
            return self._tags(key, op, value)
        path = self.key_to_server_path(key)
        return {path: value if op == "=" else {self.INDIVIDUAL_OP_TO_MONGO[op]: value}}

    def _tags(self, key: Mapping[str, Any], op: str, value: Any) -> Any:
        if op == "IN":
            return {"tags": {"$in": value}}
        if value is False:
            return {"$or": [{"tags": None}, {"tags": {"$ne": key["name"]}}]}
        return {"tags": key["name"]}

    def mongo_to_filter(self, filter: Mapping[str, Any] | None) -> Any:
        """Return a filter of the server in the app's form."""
        if filter is None:
            return None
        group = next((key for key in filter if key in self.MONGO_TO_GROUP_OP), None)
        if group is not None:
            parts = [self.mongo_to_filter(part) for part in filter[group]]
            return {"op": self.MONGO_TO_GROUP_OP[group], "filters": parts}
        for path, value in filter.items():
            key = self.server_path_to_key(path)
            if not isinstance(value, dict):
                return {"key": key, "op": "=", "value": value}
            op, operand = next(iter(value.items()))
            return {"key": key, "op": self.MONGO_TO_INDIVIDUAL_OP[op], "value": operand}
        return None
