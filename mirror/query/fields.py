"""Which fields a filter may name, as tables, and how a dotted path below a document is read.

A table is data: one for each kind of thing that can be filtered. `resolve` turns the user's
spelling into a `Field`; `readings` lists the ways a path can be meant, best first.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mirror.errors import QueryError
from mirror.jsontext import unescape
from mirror.query.tree import Field, Kind
from mirror.store.json import is_position

__all__ = [
    "COLLECTIONS",
    "REGISTRIES",
    "RUNS",
    "VERSIONS",
    "FieldTable",
    "readings",
    "resolve",
    "spelled",
    "split",
]


@dataclass(frozen=True, eq=False)
class FieldTable:
    """The fields of one kind of thing.

    `columns` and `documents` map each accepted spelling to the column it means; `hints` maps
    spellings that users try to what they should write.
    """

    noun: str
    kinds: Mapping[str, Kind]
    aliases: Mapping[str, str] = field(default_factory=dict)
    wrapped: frozenset[str] = frozenset()
    hints: Mapping[str, str] = field(default_factory=dict)
    one_spelling: bool = False  # two spellings of a field in one object are an error

    @functools.cached_property
    def columns(self) -> dict[str, str]:
        """Return every accepted spelling with its column."""
        return {name: name for name in self.kinds} | dict(self.aliases)


RUNS = FieldTable(
    noun="run",
    kinds={
        "name": Kind.TEXT,
        "display_name": Kind.TEXT,
        "state": Kind.TEXT,
        "group": Kind.TEXT,
        "job_type": Kind.TEXT,
        "host": Kind.TEXT,
        "username": Kind.TEXT,
        "sweep": Kind.TEXT,
        "notes": Kind.TEXT,
        "description": Kind.TEXT,
        "tags": Kind.LIST,
        "created_at": Kind.INSTANT,
        "heartbeat_at": Kind.INSTANT,
        "updated_at": Kind.INSTANT,
        "duration": Kind.NUMBER,
        "config": Kind.DOCUMENT,
        "summary_metrics": Kind.DOCUMENT,
    },
    aliases={
        "displayName": "display_name",
        "jobType": "job_type",
        "createdAt": "created_at",
        "heartbeatAt": "heartbeat_at",
        "updatedAt": "updated_at",
        "sweepName": "sweep",
        "sweep_name": "sweep",
        "user": "username",
        "summaryMetrics": "summary_metrics",
    },
    wrapped=frozenset({"config"}),
    hints={
        "id": "use 'name' for the run id",
        "run_id": "use 'name' for the run id",
        "summary": "use 'summary_metrics'",
        "runtime": "use 'duration', or 'summary_metrics._runtime'",
        "status": "use 'state'",
        "tag": "use 'tags'",
        "_step": "use 'summary_metrics._step'",
        "_runtime": "use 'summary_metrics._runtime'",
        "_timestamp": "use 'summary_metrics._timestamp'",
        "keys_info": "use {'summary_metrics.<key>': {'$exists': true}}",
        "inputArtifacts": "filters cannot follow artifacts; use run.used_artifacts()",
        "outputArtifacts": "filters cannot follow artifacts; use run.logged_artifacts()",
    },
)

MAX_KEYS = 30  # SQLite joins at most 64 tables, and a path through lists joins two a key

_NAMED = {
    "name": Kind.TEXT,
    "description": Kind.TEXT,
    "created_at": Kind.INSTANT,
    "updated_at": Kind.INSTANT,
}
_TIMES = {"createdAt": "created_at", "updatedAt": "updated_at"}

REGISTRIES = FieldTable(
    noun="registry",
    kinds={**_NAMED, "id": Kind.TEXT, "entity_id": Kind.TEXT},
    aliases={**_TIMES, "project_id": "id"},
    one_spelling=True,
)
COLLECTIONS = FieldTable(
    noun="collection",
    kinds={
        **_NAMED,
        "tag": Kind.LIST,
        "id": Kind.TEXT,
        "type": Kind.TEXT,
        "state": Kind.TEXT,
    },
    aliases={
        **_TIMES,
        "tags": "tag",
        "artifact_collection_id": "id",
        "collection_id": "id",
        "collection_name": "name",
        "artifact_collection_name": "name",
    },
    one_spelling=True,
)
VERSIONS = FieldTable(
    noun="version",
    kinds={
        "tag": Kind.LIST,
        "alias": Kind.LIST,
        "created_at": Kind.INSTANT,
        "updated_at": Kind.INSTANT,
        "linked_at": Kind.INSTANT,
        "metadata": Kind.DOCUMENT,
        "artifact_size": Kind.NUMBER,
        "version_index": Kind.NUMBER,
        "collection_name": Kind.TEXT,
        "id": Kind.TEXT,
        "version": Kind.TEXT,
        "state": Kind.TEXT,
        "digest": Kind.TEXT,
        "description": Kind.TEXT,
    },
    aliases={
        **_TIMES,
        "tags": "tag",
        "aliases": "alias",
        "artifact_metadata": "metadata",
        "artifact_id": "id",
        "artifact_created_at": "created_at",
        "versionIndex": "version_index",
        "acm_created_at": "linked_at",
        "size": "artifact_size",
    },
    one_spelling=True,
)


def split(name: str) -> tuple[list[str], bool]:
    r"""Split a name on dots; also say whether one was escaped.

    `\.` is a literal dot and `\\` a literal backslash; any other backslash is itself.
    """
    if "\\" not in name:
        return name.split("."), False
    segments, current, exact, i = [], "", False, 0
    while i < len(name):
        pair = name[i : i + 2]
        if pair in ("\\.", "\\\\"):
            current += pair[1]
            exact = exact or pair[1] == "."
            i += 2
            continue
        if name[i] == ".":
            segments.append(current)
            current = ""
        else:
            current += name[i]
        i += 1
    return [*segments, current], exact


def resolve(name: str, table: FieldTable, place: str) -> Field:
    """Return the field a spelling means, or raise QueryError at `place`."""
    try:
        return _resolve(name, table)
    except QueryError as error:
        raise QueryError(place, error.problem, error.hint) from None


@functools.lru_cache(maxsize=4096)
def _resolve(name: str, table: FieldTable) -> Field:
    segments, exact = split(name)
    if not all(segments):
        what = "a name" if name == "" else f"a key between the dots of {name!r}"
        raise QueryError("", f"{what} is empty", r"write a dot inside a key as '\.'")
    if len(segments) > MAX_KEYS:
        problem = f"a path has at most {MAX_KEYS} keys, not {len(segments)}"
        raise QueryError("", problem, r"write '\.' for a dot inside a key")
    root, path = segments[0], tuple(segments[1:])
    column = table.columns.get(root)
    if column is None:
        raise QueryError("", f"unknown field {name!r}", _suggestion(name, root, table))
    kind = table.kinds[column]
    if kind is Kind.DOCUMENT:
        return Field(column, kind, path, exact, column in table.wrapped)
    if path and not (kind is Kind.LIST and len(path) == 1 and is_position(path[0])):
        hint = f"to look for a tag write {{{root!r}: {path[0]!r}}}" if kind is Kind.LIST else None
        raise QueryError("", f"field {root!r} has no sub-field {'.'.join(path)!r}", hint)
    return Field(column, kind, path, exact)


def _suggestion(name: str, root: str, table: FieldTable) -> str:
    if root in table.hints:
        return table.hints[root]
    folded = {spelling.casefold(): spelling for spelling in table.columns}
    close = folded.get(root.casefold()) or next(
        iter(difflib.get_close_matches(root, sorted(table.columns), 1)), None
    )
    if close is not None:
        return f"did you mean {close!r}?"
    documents = [column for column, kind in table.kinds.items() if kind is Kind.DOCUMENT]
    if documents:
        return f"did you mean {' or '.join(repr(f'{d}.{name}') for d in documents)}?"
    return f"a {table.noun} has {', '.join(sorted(table.kinds))}"


def spelled(column: str, path: Sequence[str]) -> str:
    """Return a stored place as a filter names it, dots inside its keys escaped."""
    keys = (unescape(key).replace("\\", "\\\\").replace(".", "\\.") for key in path)
    return ".".join([column, *keys])


def readings(field: Field) -> list[tuple[str, ...]]:
    """Return the paths a field can mean below its document, best first.

    Leading segments may be one flat key, so `a.b` is `["a", "b"]`, then `["a.b"]`. Below a wrapped
    document a `value` after the top key may be W&B's wrapper, which the mirror takes off.
    """
    segments = field.path
    found: list[tuple[str, ...]] = [] if segments else [()]
    for k in range(1, 2 if field.exact else len(segments) + 1):
        key, rest = ".".join(segments[:k]), segments[k:]
        found.append((key, *rest))
        if field.wrapped and rest and rest[0] == "value":
            found.append((key, *rest[1:]))
    return found
