"""SQL as text with holes: what filters compile to, the logic that joins it, and how it is run.

Everything a user writes goes into a hole, as a bound value (or, for what an index must match, as a
quoted literal). A condition may be NULL where it means false; `negate` is the only way to turn one
around, so NULL never meets a NOT. Nothing here knows JSON or one engine from the other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "Bound",
    "Column",
    "Condition",
    "SortColumn",
    "Sql",
    "bind",
    "both",
    "either",
    "listing",
    "negate",
    "quoted",
    "render",
    "splice",
    "sql",
    "total",
]


class Bound:
    """A value that travels beside the text; a `literal` one is written into it, quoted."""

    __slots__ = ("literal", "value")

    def __init__(self, value: Any, *, literal: bool = False) -> None:
        self.value = value
        self.literal = literal

    def __str__(self) -> str:
        """The value as a quoted literal."""
        return "'" + str(self.value).replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, by name."""

    table: str
    name: str

    def __str__(self) -> str:
        """As SQL names it."""
        return f'{self.table}."{self.name}"'


class Sql:
    """SQL text, cut where its parts (columns, bound values) go; nested ones are spliced in.

    `total` says that it is never NULL.
    """

    __slots__ = ("fragments", "parts", "total")

    def __init__(
        self, fragments: tuple[str, ...], parts: tuple[Any, ...], *, total: bool = False
    ) -> None:
        self.fragments = fragments
        self.parts = parts
        self.total = total

    def __clause_element__(self) -> Any:
        """Return it as an expression of SQLAlchemy, which looks for this; loaded only then."""
        from sqlalchemy import bindparam, text
        from sqlalchemy.types import NULLTYPE

        pieces = [_uncolon(self.fragments[0])]
        bound: list[Any] = []
        for part, fragment in zip(self.parts, self.fragments[1:], strict=True):
            if isinstance(part, Bound) and not part.literal:
                name = f"mirror_{len(bound)}"
                pieces.append(f":{name}")
                bound.append(bindparam(name, part.value, type_=NULLTYPE, unique=True))
            else:
                pieces.append(_uncolon(str(part)))
            pieces.append(_uncolon(fragment))
        return text("".join(pieces)).bindparams(*bound)


def _uncolon(text: str) -> str:
    return text.replace(":", "\\:")  # what SQLAlchemy would take for a parameter


Condition = Sql | bool


@functools.cache
def _cut(text: str) -> tuple[list[str], list[str]]:
    pieces = re.split(r"\{(\w+)\}", text)
    return pieces[0::2], pieces[1::2]


def splice(fragments: Sequence[str], parts: Iterable[Any], *, total: bool = False) -> Sql:
    """Return fragments with parts between them; parts that are SQL themselves become one with it."""
    texts: list[str] = [fragments[0]]
    found: list[Any] = []
    for part, fragment in zip(parts, fragments[1:], strict=True):
        if isinstance(part, Sql):
            texts[-1] += part.fragments[0]
            texts += part.fragments[1:]
            texts[-1] += fragment
            found += part.parts
        else:
            found.append(part)
            texts.append(fragment)
    return Sql(tuple(texts), tuple(found), total=total)


def render(statement: Sql, engine: str) -> tuple[str, dict[str, Any]]:
    """Return the driver's text of a whole statement and its values; equal ones are bound once."""
    before, behind = (":", "") if engine == "sqlite" else ("%(", ")s")
    pieces = [statement.fragments[0]]
    names: dict[Any, str] = {}
    values: dict[str, Any] = {}
    for part, fragment in zip(statement.parts, statement.fragments[1:], strict=True):
        if not isinstance(part, Bound):
            pieces.append(str(part))
        elif part.literal:
            text = str(part)
            pieces.append(text if engine == "sqlite" else text.replace("%", "%%"))
        else:
            value = part.value
            # PostgreSQL gives a parameter one type: what is cast to another is another.
            cast = fragment[:9] if fragment.startswith(" AS ") else ""
            same = (cast, type(value), id(value) if isinstance(value, list) else value)
            name = names.setdefault(same, f"p{len(names)}")
            values[name] = value
            pieces.append(f"{before}{name}{behind}")
        pieces.append(fragment)
    return "".join(pieces), values


def sql(text: str, /, **parts: Any) -> Sql:
    """Return `text` with each `{name}` replaced by the part of that name."""
    fragments, names = _cut(text)
    return splice(fragments, [parts[name] for name in names])


def total(text: str, /, **parts: Any) -> Sql:
    """Return what `sql` does, of a condition that is never NULL."""
    fragments, names = _cut(text)
    return splice(fragments, [parts[name] for name in names], total=True)


def bind(value: Any) -> Bound:
    """Return a bound value; the engine infers its type."""
    return Bound(value)


def quoted(value: str) -> Bound:
    """Return a text that is written into the SQL as a quoted literal, for what an index must match."""
    return Bound(value, literal=True)


def listing(parts: Sequence[Any]) -> Sql:
    """Return parts with commas between them; there is at least one."""
    return splice(["", *[", "] * (len(parts) - 1), ""], parts)


# ------------------------------------------------------------------ logic

_WIDTH: Final = 16  # SQLite's expression depth grows with the terms of one AND or OR


def both(conditions: Iterable[Condition]) -> Condition:
    """Return the AND of conditions."""
    return _junction(conditions, " AND ", neutral=True)


def either(conditions: Iterable[Condition]) -> Condition:
    """Return the OR of conditions."""
    return _junction(conditions, " OR ", neutral=False)


def _junction(conditions: Iterable[Condition], operator: str, *, neutral: bool) -> Condition:
    found: list[Sql] = []
    for condition in conditions:
        if isinstance(condition, bool):
            if condition is not neutral:
                return condition
        else:
            found.append(condition)
    if not found:
        return neutral
    while len(found) > 1:
        found = [_join(found[i : i + _WIDTH], operator) for i in range(0, len(found), _WIDTH)]
    return found[0]


def _join(conditions: list[Sql], operator: str) -> Sql:
    if len(conditions) == 1:
        return conditions[0]
    fragments = ["(", *[operator] * (len(conditions) - 1), ")"]
    return splice(fragments, conditions, total=all(c.total for c in conditions))


def negate(condition: Condition) -> Condition:
    """Return a condition that holds exactly where the given one does not, NULL counting as not."""
    if isinstance(condition, bool):
        return not condition
    if condition.total:
        return total("NOT ({c})", c=condition)
    return total("NOT coalesce({c}, FALSE)", c=condition)


@dataclass(frozen=True, slots=True)
class SortColumn:
    """A term of an ORDER BY, NULL last; `json` ones leave and enter the database as JSON text."""

    sql: Any
    descending: bool = False
    nullable: bool = True
    json: bool = False

    def term(self) -> Sql:
        """Return the term. (SQLite uses an index for a descending one only without NULLS LAST.)"""
        direction = "DESC" if self.descending else "ASC"
        if not self.nullable:
            return sql(f"{{c}} {direction}", c=self.sql)
        return sql(f"{{c}} {direction} NULLS LAST", c=self.sql)

    def selected(self) -> Sql:
        """Return what to select so as to go on after a row."""
        return sql("CAST({c} AS text)" if self.json else "{c}", c=self.sql)

    def bound(self, value: Any) -> Any:
        """Return a value that was selected, to compare with the column."""
        return sql("CAST({y} AS jsonb)", y=bind(value)) if self.json else bind(value)
