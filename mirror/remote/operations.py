"""The GraphQL texts mirror sends: named operations, and listings of runs put together from parts.

`document(name)` is an operation of operations.graphql with the fragments it uses. `combine` makes
one document of several selections under one project, each under an alias with its own variables.
A field of OPTIONAL that a server does not know is left out for that server (`without`, see
`trimming`).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from mirror.remote.trimming import trim

__all__ = [
    "OPTIONAL",
    "Count",
    "PageLimits",
    "Runs",
    "Selection",
    "SweepPulse",
    "Sweeps",
    "combine",
    "document",
    "each_by_id",
    "is_optional",
    "members_by_alias",
    "pulse",
]

OPTIONAL: frozenset[str] = frozenset(
    {
        "access", "admin", "bestLoss", "commit", "computeSeconds", "controller", "description",
        "displayName", "email", "eventsLineCount", "exitcode", "fileCount", "github", "host",
        "historyKeys", "historyLineCount", "isBenchmark", "lastActive", "logLineCount", "method",
        "digestAlgorithm", "historyStep", "readOnly", "runCountExpected", "scheduler", "stopped", "storageBytes", "systemMetrics",
        "teams", "totalCount", "totalSweeps", "ttlIsInherited", "updatedAt", "usedAs", "usedCount",
        "allowAllArtifactTypesInRegistry", "attributes", "tagCategoryName", "ttlDurationSeconds",
        "ArtifactCollection.state", "ArtifactCollectionMembership.commitHash", "ArtifactManifest.digest",
        "ArtifactManifest.id", "ArtifactManifest.type", "ArtifactPortfolio.state",
        "ArtifactSequence.state",
    }
)  # fmt: skip
"""Fields a mirror can live without, of any type or of one: older servers lack some of them."""


def is_optional(field: str) -> bool:
    """Whether a mirror can live without a field, written `Type.field` or `field`."""
    return field in OPTIONAL or field.rpartition(".")[2] in OPTIONAL


@dataclass(frozen=True, slots=True)
class Runs:
    """A page of runs: `light` leaves the documents out."""

    filters: Mapping[str, Any] = field(default_factory=dict)
    order: str = "+created_at"
    first: int = 100
    after: str | None = None
    light: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """How many runs a filter matches, as the server counts."""

    filters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SweepPulse:
    """Whether a sweep is still there, its state and how many runs it has."""

    name: str


@dataclass(frozen=True, slots=True)
class Sweeps:
    """A page of sweeps, whole."""

    first: int = 100
    after: str | None = None


Selection = Runs | Count | Sweeps | SweepPulse

SIZES = frozenset({"first", "last", "aliases", "collections", "files", "links", "registries"})
"""Variables of named operations that say how large a page is to be."""


class PageLimits:
    """The largest pages a server has not refused, by what is asked for; shared by threads.

    A refusal that says a number holds for all pages; after any other, half is asked for.
    """

    def __init__(self) -> None:
        self._most: dict[str, int] = {}
        self._stated: int | None = None

    def fit(self, item: Selection) -> Selection:
        """The selection, asking for no more than the server gives at once."""
        if not isinstance(item, Runs | Sweeps):
            return item
        return replace(item, first=self._fitting(_kind(item), item.first))

    def lower(self, refused: Iterable[Selection], stated: int | None = None) -> bool:
        """Ask for less from now on; False if the pages are as small as they get."""
        pages = [item for item in refused if isinstance(item, Runs | Sweeps)]
        return self._lower({_kind(item): item.first for item in pages}, stated)

    def fit_variables(self, operation: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Variables of a named operation, asking for no more than the server gives at once."""
        changed = {
            name: fitting
            for name, size in _asked_sizes(operation, variables).items()
            if (fitting := self._fitting(f"{operation}.{name}", size)) != size
        }
        return {**variables, **changed}

    def lower_variables(
        self, operation: str, refused: Mapping[str, Any], stated: int | None = None
    ) -> bool:
        """Ask for less from now on in a named operation; False if its pages are as small as they get."""
        sizes = _asked_sizes(operation, refused)
        return self._lower({f"{operation}.{name}": size for name, size in sizes.items()}, stated)

    def _fitting(self, what: str, size: int) -> int:
        return min(size, self._most.get(what, size), self._stated or size)

    def _lower(self, sizes: Mapping[str, int], stated: int | None) -> bool:
        largest = max(sizes.values(), default=1)
        if stated is not None and 0 < stated < largest:
            self._stated = stated
            return True
        for what, size in sizes.items():
            if size > max(1, largest // 2):
                self._most[what] = size // 2
        return largest > 1


@functools.cache
def _definitions() -> dict[str, str]:
    text = resources.files("mirror.remote").joinpath("operations.graphql").read_text("utf-8")
    starts = list(re.finditer(r"^(?:query|mutation|fragment) (\w+)", text, re.MULTILINE))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return {
        match[1]: text[match.start() : end].strip() for match, end in zip(starts, ends, strict=True)
    }


def _asked_sizes(operation: str, variables: Mapping[str, Any]) -> dict[str, int]:
    """How large the pages are that a named operation asks for, by variable."""
    asked: dict[str, Any] = {**_default_sizes(operation), **variables}
    return {name: size for name, size in asked.items() if name in SIZES and isinstance(size, int)}


@functools.cache
def _default_sizes(operation: str) -> dict[str, int]:
    """The sizes of pages that an operation's text gives as defaults of its variables."""
    head = _definitions()[operation].partition("{")[0]
    return {name: int(size) for name, size in re.findall(r"\$(\w+): Int = (\d+)", head)}


@functools.lru_cache(maxsize=256)
def document(name: str, without: frozenset[str] = frozenset()) -> str:
    """Return an operation's text with its fragments. Raises KeyError for a name that is none."""
    return _with_fragments(_definitions()[name], without)


@functools.lru_cache(maxsize=64)
def each_by_id(field: str, fragment: str, count: int, without: frozenset[str] = frozenset()) -> str:
    """Return one document that asks the root field of so many ids: `$id0` as `node0`, and so on."""
    declared = ", ".join(f"$id{number}: ID!" for number in range(count))
    fields = "\n".join(
        f"  node{number}: {field}(id: $id{number}) {{ ...{fragment} }}" for number in range(count)
    )
    return _with_fragments(f"query MirrorEach({declared}) {{\n{fields}\n}}", without)


@functools.lru_cache(maxsize=64)
def members_by_alias(count: int) -> str:
    """Return one document that asks `$id0`, a collection, who has `$alias0`, as `node0`, and so on."""
    declared = ", ".join(f"$id{n}: ID!, $alias{n}: String!" for n in range(count))
    fields = "\n".join(
        f"  node{n}: artifactCollection(id: $id{n})"
        f" {{ artifactMembership(aliasName: $alias{n}) {{ id artifact {{ id }} }} }}"
        for n in range(count)
    )
    return f"query MirrorMembersByAlias({declared}) {{\n{fields}\n}}"


@functools.lru_cache(maxsize=64)
def pulse(name: str, slots: int, without: frozenset[str] = frozenset()) -> str:
    """Return an operation whose collections are asked, too, who has `$named0`, as `named0`, and so on."""
    declared = "".join(f", $named{n}: String!" for n in range(slots))
    fields = "\n  ".join(
        f"named{n}: artifactMembership(aliasName: $named{n}) {{ artifact {{ id }} }}"
        for n in range(slots)
    )
    text = document(name, without)
    head, brace, rest = text.partition(") {")
    return f"{head}{declared}{brace}{_NAMED.sub(fields, rest)}"


_NAMED = re.compile(r"# named: .*")


def _with_fragments(text: str, without: frozenset[str]) -> str:
    parts, seen = [trim(text, without)], set()
    for part in parts:  # grows
        for name in re.findall(r"\.\.\.(\w+)", part):
            if name not in seen:
                seen.add(name)
                parts.append(trim(_definitions()[name], without))
    return "\n".join(parts)


def combine(
    selections: Mapping[str, Selection], without: frozenset[str] = frozenset()
) -> tuple[str, dict[str, Any]]:
    """Return one document asking a project for all selections, and its variables.

    The document declares `$project` and `$entity`, which the caller adds; each alias becomes a
    field of `project`.
    """
    shape = tuple((alias, _kind(item)) for alias, item in selections.items())
    variables: dict[str, Any] = {}
    for alias, item in selections.items():
        if isinstance(item, SweepPulse):
            variables[f"{alias}Name"] = item.name
            continue
        if isinstance(item, Sweeps):
            variables |= {f"{alias}First": item.first, f"{alias}After": item.after}
            continue
        variables[f"{alias}Filters"] = json.dumps(item.filters or {}, ensure_ascii=False)
        if isinstance(item, Runs):
            variables[f"{alias}Order"] = item.order
            variables[f"{alias}First"] = item.first
            variables[f"{alias}After"] = item.after
    return _combined(shape, without), variables


def _kind(item: Selection) -> str:
    if isinstance(item, SweepPulse):
        return "sweep"
    if isinstance(item, Sweeps):
        return "sweeps"
    if isinstance(item, Count):
        return "count"
    return "light" if item.light else "full"


@functools.lru_cache(maxsize=256)
def _combined(shape: tuple[tuple[str, str], ...], without: frozenset[str]) -> str:
    declared, fields = ["$project: String!", "$entity: String!"], []
    for alias, kind in shape:
        if kind == "sweep":
            declared.append(f"${alias}Name: String!")
            fields.append(f"{alias}: sweep(sweepName: ${alias}Name) {{ name state runCount }}")
            continue
        if kind == "sweeps":
            declared += [f"${alias}First: Int", f"${alias}After: String"]
            fields.append(
                f"{alias}: sweeps(first: ${alias}First, after: ${alias}After)"
                " { edges { cursor node { ...SweepFields } } pageInfo { endCursor hasNextPage } }"
            )
            continue
        declared.append(f"${alias}Filters: JSONString")
        if kind == "count":
            fields.append(f"{alias}: runCount(filters: ${alias}Filters)")
            continue
        declared += [f"${alias}Order: String", f"${alias}First: Int", f"${alias}After: String"]
        fragment = "RunLight" if kind == "light" else "RunFields"
        fields.append(
            f"{alias}: runs(filters: ${alias}Filters, order: ${alias}Order, first: ${alias}First,"
            f" after: ${alias}After) {{ edges {{ cursor node {{ ...{fragment} }} }}"
            " pageInfo { endCursor hasNextPage } }"
        )
    body = "\n    ".join(["...ProjectFields", "totalSweeps", *fields])
    text = (
        f"query MirrorProject({', '.join(declared)}) {{\n"
        f"  project(name: $project, entityName: $entity) {{\n    {body}\n  }}\n}}"
    )
    return _with_fragments(text, without)
