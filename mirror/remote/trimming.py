"""Documents without the fields that a server lacks: those of a type, and no others of that name.

`trim` cuts selections out of a document's text. Which type a selection is of is read from
schema.graphql, by names alone: nothing is validated here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources

__all__ = ["trim"]

_TOKEN = re.compile(
    r'(?P<no>#[^\n]*|"""(?:.|\n)*?"""|"(?:\\.|[^"\\\n])*"|\s+)|\.\.\.|\$?[A-Za-z_]\w*|-?\d+|.'
)
_CLOSING = {"(": ")", "{": "}"}


@functools.lru_cache(maxsize=1024)
def trim(text: str, without: frozenset[str]) -> str:
    """Return a document without some fields, each written `Type.field`, or `field` for those of any type.

    A field with arguments or directives stays: its variables would be left over.
    """
    if not without:
        return text
    edits = list(_Walk(text, without).edits())
    for start, end, put in reversed(edits):
        text = text[:start] + put + text[end:]
    return text


Edit = tuple[int, int, str]


class _Walk:
    """One pass over the tokens of a document."""

    def __init__(self, text: str, without: frozenset[str]) -> None:
        self.tokens = [m for m in _TOKEN.finditer(text) if m["no"] is None]
        self.without = without
        self.at = 0

    def edits(self) -> Iterator[Edit]:
        """Yield (start, end, what to put there), in order."""
        while self.at < len(self.tokens):
            word = self._take()
            if word == "fragment":
                self.at += 2  # its name, and "on"
                yield from self._selections(self._take())
            elif word in ("query", "mutation"):
                while self._here() != "{":
                    self._skip()
                yield from self._selections(word.capitalize())

    def _selections(self, kind: str) -> Iterator[Edit]:
        """What is cut between the braces that begin here, of a type."""
        self.at += 1
        stays = False
        while self._here() != "}":
            if self._here() == "...":
                yield from self._spread()
                stays = True
                continue
            begin = self.tokens[self.at].start()
            name, plain = self._field()
            if plain and self._is_lacking(kind, name):
                if self._here() == "{":
                    self._skip()
                yield begin, self.tokens[self.at - 1].end(), ""
                continue
            stays = True
            if self._here() == "{":
                yield from self._selections(_types().get(kind, {}).get(name, ""))
        if not stays:
            end = self.tokens[self.at].start()
            yield end, end, "__typename "
        self.at += 1

    def _spread(self) -> Iterator[Edit]:
        self.at += 1
        if self._take() == "on":
            yield from self._selections(self._take())

    def _field(self) -> tuple[str, bool]:
        """The name of the field that begins here, and whether it has neither arguments nor directives."""
        name, plain = self._take(), True
        if self._here() == ":":
            self.at += 1
            name = self._take()
        while self._here() in ("(", "@"):
            plain = False
            if self._here() == "@":
                self.at += 1
            self._skip()
        return name, plain

    def _is_lacking(self, kind: str, name: str) -> bool:
        return name in self.without or any(
            f"{each}.{name}" in self.without for each in {kind, *_relatives().get(kind, ())}
        )

    def _here(self) -> str:
        return self.tokens[self.at][0]

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][0]

    def _skip(self) -> None:
        """Go past a token, or past all that it opens."""
        closing = _CLOSING.get(self._take())
        while closing is not None and self._here() != closing:
            self._skip()
        self.at += closing is not None


# ------------------------------------------------------------------ the schema


@functools.cache
def _types() -> dict[str, dict[str, str]]:
    """The fields of each type and interface of the schema, with the names of their types."""
    return {name: dict(fields) for name, _, fields in _definitions()}


@functools.cache
def _relatives() -> dict[str, set[str]]:
    """Of each type its interfaces, of each interface its types: servers name the one or the other."""
    found: dict[str, set[str]] = {}
    for name, interfaces, _ in _definitions():
        for interface in interfaces:
            found.setdefault(name, set()).add(interface)
            found.setdefault(interface, set()).add(name)
    return found


@functools.cache
def _definitions() -> list[tuple[str, list[str], list[tuple[str, str]]]]:
    """Name, interfaces and fields of the schema's types and interfaces."""
    sdl = resources.files("mirror.remote").joinpath("schema.graphql").read_text("utf-8")
    words = " ".join(m[0] for m in _TOKEN.finditer(sdl) if m["no"] is None)
    without_arguments = re.sub(r"\([^()]*\)", "", words)
    return [
        (
            found[1],
            re.findall(r"\w+", found[2] or ""),
            re.findall(r"(\w+) +: +[\[ ]*(\w+)", found[3]),
        )
        for found in re.finditer(
            r"\b(?:type|interface) (\w+) (?:implements ([\w& ]+))?\{([^}]*)\}", without_arguments
        )
    ]
