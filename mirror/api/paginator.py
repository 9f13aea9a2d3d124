"""Lazy listings as the real client's: iterate, index, slice; pages are loaded when needed and kept.

A lister tells how to load its next page (`_fetch`); iterating again starts over at the first object
loaded. Indexes and slices load up to their end; negative ones see only what is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar, overload

__all__ = ["Paginator", "SizedPaginator"]

T = TypeVar("T")


class Paginator(Generic[T]):
    """An iterator over objects that arrive in pages."""

    def __init__(self, service_api: Any, variables: Any, per_page: int = 50) -> None:
        self._service_api = service_api
        self.variables: dict[str, Any] = dict(variables)
        self.per_page = per_page
        self.objects: list[T] = []
        self.index = -1
        self.last_response: Any = None

    def __iter__(self) -> Iterator[T]:
        self.index = -1
        return self

    @property
    def more(self) -> bool:
        """Whether there are more pages to load."""
        raise NotImplementedError

    @property
    def cursor(self) -> str | None:
        """Where the next page begins; None before the first."""
        raise NotImplementedError

    def convert_objects(self) -> list[T]:
        """Return the objects of the page loaded last."""
        raise NotImplementedError

    def update_variables(self) -> None:
        """Note in `variables` where the next page begins."""
        self.variables.update({"perPage": self.per_page, "cursor": self.cursor})

    def _update_response(self) -> None:
        raise NotImplementedError

    def _load_page(self) -> bool:
        if not self.more:
            return False
        self.update_variables()
        self._update_response()
        self.objects.extend(self.convert_objects())
        return True

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        stop = index.stop if isinstance(index, slice) else index
        while stop > len(self.objects) - 1:
            if not self._load_page():
                break
        return self.objects[index]

    def __next__(self) -> T:
        self.index += 1
        while len(self.objects) <= self.index:
            if not self._load_page():
                raise StopIteration
        return self.objects[self.index]

    def next(self) -> T:
        """Return the next object, as the built-in `next` does. Raises StopIteration at the end."""
        return self.__next__()


class SizedPaginator(Paginator[T]):
    """A paginator that knows how many objects there are."""

    def __len__(self) -> int:
        if self._length is None:
            self._load_page()
        if self._length is None:
            raise ValueError("Object doesn't provide length")
        return self._length

    @property
    def _length(self) -> int | None:
        raise NotImplementedError
