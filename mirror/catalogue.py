"""The key catalogue: which paths the documents of a project hold, with types, counts and ranges.

A trie filled while a page is mapped, written in the transaction of the page, where it only grows.
The query compiler may rely on "never seen" alone (DESIGN decision 4). A leaf but for jsontext.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from mirror.jsontext import Type

__all__ = ["MAX_PATHS", "Key", "Trie"]

MAX_PATHS = 20_000
"""Beyond this many paths in a project the catalogue is "open": no longer complete, and says so."""

_NULL, _BOOLEAN, _INTEGER, _FLOAT = (
    int(Type.NULL),
    int(Type.BOOLEAN),
    int(Type.INTEGER),
    int(Type.FLOAT),
)
_STRING, _OBJECT, _LIST = int(Type.STRING), int(Type.OBJECT), int(Type.LIST)
_NAN, _INFINITY = int(Type.NAN), int(Type.INFINITY)
_SPECIAL = {"NaN": _NAN, "Infinity": _INFINITY, "-Infinity": _INFINITY}


class Key(NamedTuple):
    """One path of a document: `path` is the JSON array of its keys, `types` bits of `Type`."""

    path: str
    types: int
    seen: int
    min: float | None
    max: float | None


class Trie:
    """Counts what the paths of documents hold. Lists are seen, not entered."""

    __slots__ = ("root",)

    def __init__(self) -> None:
        # key → [types, count, min, max, children or None]
        self.root: dict[str, list[Any]] = {}

    def add(self, document: Mapping[str, Any]) -> None:
        """Count the paths of one document (in the form of `jsontext.document`)."""
        _add(self.root, document)

    def keys(self) -> Iterator[Key]:
        """Every path seen, parents before children."""
        return _keys(self.root, [])


def _add(children: dict[str, list[Any]], document: Mapping[str, Any]) -> None:
    # The hottest loop of a sync (about 100 leaves a run): flat, and one look-up a leaf.
    for key, value in document.items():
        entry = children.get(key)
        if entry is None:
            entry = children[key] = [0, 0, None, None, None]
        entry[1] += 1
        kind = type(value)
        if kind is float or kind is int:
            entry[0] |= _FLOAT if kind is float else _INTEGER
            if entry[2] is None:
                entry[2] = entry[3] = value
            elif value < entry[2]:
                entry[2] = value
            elif value > entry[3]:
                entry[3] = value
        elif kind is str:
            entry[0] |= _SPECIAL.get(value, _STRING)
        elif kind is dict:
            entry[0] |= _OBJECT
            if entry[4] is None:
                entry[4] = {}
            _add(entry[4], value)
        elif kind is list:
            entry[0] |= _LIST
        else:
            entry[0] |= _BOOLEAN if kind is bool else _NULL


def _keys(children: dict[str, list[Any]], above: list[str]) -> Iterator[Key]:
    for key, (types, count, least, most, below) in children.items():
        path = [*above, key]
        yield Key(orjson.dumps(path).decode(), types, count, _number(least), _number(most))
        if below:
            yield from _keys(below, path)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
