"""The parsed filter and order: frozen values that `parse` makes and `compile` reads.

Literals are already plain JSON values (or integer microseconds, for dates); every node holds only
what passed validation. `$ne`, `$nin` and `$nor` are `Not` around their positive form, `$all` an `And`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mirror import instants

__all__ = [
    "And",
    "Compare",
    "Constant",
    "Contains",
    "Exists",
    "Field",
    "In",
    "Kind",
    "Match",
    "Node",
    "Not",
    "Or",
    "OrderKey",
    "Size",
    "Test",
    "describe",
    "tests",
]


class Kind(Enum):
    """What a field holds, and so which operands it takes."""

    TEXT = "text"
    NUMBER = "number"
    INSTANT = "instant"  # microseconds since the epoch, UTC
    LIST = "list"  # of strings
    DOCUMENT = "document"  # JSON


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or a place inside a JSON document.

    `path` holds the segments below `column`; `exact` says that a dot was escaped, so segments are
    not joined into flat keys. `wrapped` documents read through W&B's `{"value": …}`.
    """

    column: str
    kind: Kind
    path: tuple[str, ...] = ()
    exact: bool = False
    wrapped: bool = False

    def __str__(self) -> str:
        escaped = (segment.replace("\\", "\\\\").replace(".", "\\.") for segment in self.path)
        return ".".join([self.column, *(escaped if self.exact else self.path)])


@dataclass(frozen=True, slots=True)
class Constant:
    """True or false whatever the run."""

    value: bool


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some part holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Node


@dataclass(frozen=True, slots=True)
class Compare:
    """Some row of the field compares so with a literal; `op` is `$eq $gt $gte $lt` or `$lte`.

    A null literal takes missing rows too (`$eq $gte $lte`); another literal only rows of its class.
    """

    op: str
    field: Field
    value: Any


@dataclass(frozen=True, slots=True)
class In:
    """Some row of the field equals one of the literals."""

    field: Field
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is present; a JSON null is."""

    field: Field


@dataclass(frozen=True, slots=True)
class Match:
    """RE2 finds `pattern` (flags inside it) in some row that is a string."""

    field: Field
    pattern: str


@dataclass(frozen=True, slots=True)
class Contains:
    """Some row is a string that holds `text`."""

    field: Field
    text: str


@dataclass(frozen=True, slots=True)
class Size:
    """The value of the field is a list of so many elements."""

    field: Field
    length: int


Test = Compare | In | Exists | Match | Contains | Size
Node = Constant | And | Or | Not | Test


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of an order; null and missing come last in both directions."""

    field: Field
    descending: bool = False


def describe(node: Node, depth: int = 0) -> str:
    """Return a tree as indented text, one line a node."""
    pad = "  " * depth
    match node:
        case Constant(value=value):
            return f"{pad}{'every run' if value else 'no run'}"
        case And(parts=parts) | Or(parts=parts):
            name = "all of" if isinstance(node, And) else "some of"
            return "\n".join([f"{pad}{name}", *(describe(part, depth + 1) for part in parts)])
        case Not(part=part):
            return f"{pad}not\n{describe(part, depth + 1)}"
        case Compare(op=op, value=value):
            said = f"{op} {_shown(value, node.field)}"
        case In(values=values):
            said = f"$in [{', '.join(_shown(value, node.field) for value in values[:20])}"
            said += f", … {len(values):,} in all]" if len(values) > 20 else "]"
        case Exists():
            said = "$exists"
        case Match(pattern=pattern):
            said = f"$regex {pattern!r}"
        case Contains(text=text):
            said = f"$contains {text!r}"
        case Size(length=length):
            said = f"$size {length}"
    return f"{pad}{node.field} {said}"


def _shown(value: Any, field: Field) -> str:
    if field.kind is Kind.INSTANT and value is not None:
        return instants.from_us(value)
    return json.dumps(value, ensure_ascii=False)


def tests(node: Node) -> Iterator[Test]:
    """Yield every leaf that looks at a field, in the order written."""
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, And | Or):
            stack.extend(reversed(node.parts))
        elif isinstance(node, Not):
            stack.append(node.part)
        elif not isinstance(node, Constant):
            yield node
