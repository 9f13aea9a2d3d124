"""Answers about artifacts and registries from the tables of the mirror, in the server's shapes.

`MISS` says that the tables do not hold what was asked; a None says that there is no such thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mirror.api.artifact_door import ArtifactDoor

__all__ = ["MISS", "ArtifactTables"]

MISS: Final = object()


class ArtifactTables:
    """The tables behind a source."""

    def __init__(self, source: ArtifactDoor) -> None:
        self.source = source

    def answer(self, operation: str, asked: Mapping[str, Any]) -> Any:
        """Return the answer to a question about one thing, or MISS."""
        return MISS

    def page(self, operation: str, first: int, after: str | None, asked: Mapping[str, Any]) -> Any:
        """Return a page of a listing, or MISS."""
        return MISS

    def manifest(self, artifact_id: str) -> dict[str, Any] | None:
        """Return the manifest of a version as a document; None: its entries were never read."""
        return None
