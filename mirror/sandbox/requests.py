"""The log of what clients asked: by operation, with counts and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request. Bytes are of the bodies, uncompressed; status 0 is a cut connection."""

    operation: str
    fields: frozenset[str]
    variables: dict[str, Any]
    status: int
    request_bytes: int
    response_bytes: int
    user: str | None = None
    path: str = "/graphql"
    at_s: float = 0.0

    def is_for(self, target: str) -> bool:
        """Tell whether it was named so, or asked for that field at its root or one below."""
        return named(target, self.operation, self.fields)


def named(target: str, operation: str, fields: frozenset[str]) -> bool:
    """Tell whether a target ("*", an operation, a field) means a request."""
    return target in ("*", operation) or target in fields


class RequestLog:
    """Requests in the order in which they were answered."""

    def __init__(self) -> None:
        self._requests: list[Request] = []

    def add(self, request: Request) -> None:
        self._requests.append(request)

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self._requests))

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, index: int) -> Request:
        return self._requests[index]

    def of(self, target: str = "*") -> list[Request]:
        """Return the requests for an operation or a field."""
        return [request for request in self if request.is_for(target)]

    def count(self, target: str = "*") -> int:
        return len(self.of(target))

    def response_bytes(self, target: str = "*") -> int:
        return sum(request.response_bytes for request in self.of(target))

    def request_bytes(self, target: str = "*") -> int:
        return sum(request.request_bytes for request in self.of(target))

    def reset(self) -> None:
        self._requests.clear()
