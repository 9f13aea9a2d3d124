"""How artifacts and registries are named, and what their names and documents may hold."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NamedTuple

from mirror.paths import REGISTRY_PREFIX

__all__ = [
    "ArtifactPath",
    "is_registry",
    "is_version",
    "parse_path",
    "read_metadata",
    "registry_name",
]

MAX_METADATA_KEYS: Final = 100
_VERSION: Final = re.compile(r"v\d+")


class ArtifactPath(NamedTuple):
    """`entity/project/name`, of which entity and project may be left out."""

    entity: str | None
    project: str | None
    name: str


def parse_path(path: str) -> ArtifactPath:
    """Read `[[entity/]project/]collection[:alias]`; slashes behind the colon are the alias's.

    Raises ValueError for more parts.
    """
    front, colon, alias = path.partition(":")
    parts = front.split("/")
    if len(parts) > 3:
        raise ValueError(f"Invalid artifact path: {path!r}")
    given: list[str | None] = [None] * (3 - len(parts)) + list(parts)
    return ArtifactPath(given[0], given[1], f"{parts[-1]}{colon}{alias}")


def is_registry(project: str | None) -> bool:
    """Whether a project is a registry by its name."""
    return bool(project) and str(project).startswith(REGISTRY_PREFIX) and project != REGISTRY_PREFIX


def registry_name(project: str) -> str:
    """Return a registry's name without its prefix. Raises ValueError for a project that is none."""
    if not is_registry(project):
        raise ValueError(
            f"Project {project!r} is not a registry project. Must start with: {REGISTRY_PREFIX!r}"
        )
    return project.removeprefix(REGISTRY_PREFIX)


def is_version(alias: str) -> bool:
    """Whether an alias is `v<N>`, which every version has and `aliases` leaves out."""
    return _VERSION.fullmatch(alias) is not None


def read_metadata(text: str | None) -> dict[str, Any]:
    """Return metadata as the real client shows it: NaN is None, an infinity is an error.

    Raises ValueError, TypeError for what is no object.
    """
    found = _friendly(json.loads(text)) if text else {}
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise TypeError(f"Cannot parse {type(found)} as artifact metadata")
    if len(found) > MAX_METADATA_KEYS:
        raise ValueError(f"Artifact must not have more than {MAX_METADATA_KEYS!r} metadata keys.")
    return found


def _friendly(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            raise ValueError(f"Out of range float values are not JSON compliant: {value!r}")
        return value
    if isinstance(value, dict):
        return {key: _friendly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_friendly(item) for item in value]
    return value
