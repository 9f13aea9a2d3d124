"""`Api.client`: raw GraphQL, as the documentation of W&B's public API shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mirror.errors import OfflineError

if TYPE_CHECKING:
    from mirror.api.source import Source

__all__ = ["RawClient"]


class RawClient:
    """Sends GraphQL documents to the server with the key of its Api."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def app_url(self) -> str:
        """The address of the web app, ending in a slash."""
        return self._source.app_url

    def execute(
        self,
        document: Any,
        variable_values: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Send a document (text, or a DocumentNode of graphql-core) and return its `data`.

        Args:
            document: one query or mutation. A mutation is passed on as it is; what it changes
                reaches the mirror with the next sync.
            variable_values: its variables.
            timeout: seconds for one answer.

        Raises:
            OfflineError: the mode is offline; nothing was sent. RemoteError: the server refused.
        """
        if self._source.mode == "offline":
            from mirror.api.raising import adapt

            raise adapt(OfflineError("client.execute: the mode is offline, nothing was sent"))
        return self._source.execute(_text(document), variable_values, timeout)


def _text(document: Any) -> str:
    if isinstance(document, str):
        return document
    source = getattr(getattr(document, "loc", None), "source", None)
    if source is not None:  # a DocumentNode knows the text it was parsed from
        return str(source.body)
    wrapped = getattr(document, "document", None)  # gql's GraphQLRequest
    if wrapped is not None:
        return _text(wrapped)
    raise TypeError(f"expected GraphQL text or a DocumentNode, got {type(document).__name__}")
