"""Filters and orders of collections, versions and registries, compiled to SQL over the tables.

The language and its compiler are those of runs (`mirror.query`); here is what the fields mean. Rows
come whole and in order: listings are cut into pages by who asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.global_ids import number_of
from mirror.jsontext import loads, unescape
from mirror.query.compile import Compiler, Source
from mirror.query.fields import COLLECTIONS, REGISTRIES, VERSIONS, FieldTable
from mirror.query.parse import parse_filters, parse_order
from mirror.query.tree import Match, Node, tests
from mirror.regex import find, plain
from mirror.store.json import POSTGRES, SQLITE, as_sql
from mirror.store.sql import Column, Condition, Sql, both, listing, render, sql

if TYPE_CHECKING:
    from mirror.store.reader import Readable

__all__ = ["HOME", "KINDS", "VERSION", "Kind", "asked_about", "chosen", "search"]


@dataclass(frozen=True)
class Kind:
    """A kind of thing: its fields, the tables it is read from, and what is selected of it."""

    table: FieldTable
    columns: Mapping[str, Any]
    origin: str
    selected: str
    ties: str
    ordered_ties: str
    """What decides between those that an order finds equal."""
    id_at: int
    """Which of the selected is the id."""
    ids: str | None
    """The table whose global ids these are; None where the mirror keeps their numbers."""


def _c(alias: str, name: str) -> Column:
    return Column(alias, name)


# Renaming a sequence or a project, or giving it another type, does not touch its versions.
VERSION: Final = (
    "v.node, v.metadata_text, CASE WHEN s.seq >= v.seq THEN s.node END,"
    " CASE WHEN h.seq >= v.seq THEN h.node END"
)
HOME: Final = (
    "LEFT JOIN artifact_collections AS s ON s.id = v.collection_id"
    " LEFT JOIN projects AS h ON h.project_id = s.project_id"
)
_VERSION: Final = sql("('v' || {i})", i=_c("m", "version_index"))
KINDS: Final = {
    "registries": Kind(
        REGISTRIES,
        {
            "id": _c("r", "project_id"),
            "name": _c("r", "full_name"),
            "description": _c("r", "description"),
            "created_at": _c("r", "created_at_us"),
            "updated_at": _c("r", "updated_at_us"),
        },
        "registries AS r JOIN projects AS p ON p.project_id = r.project_id",
        "r.node, p.node, r.organization, r.artifact_types, r.project_id",
        "r.position, r.name",
        "r.position, r.name",
        4,
        None,
    ),
    "collections": Kind(
        COLLECTIONS,
        {
            "id": _c("c", "id"),
            "name": _c("c", "name"),
            "description": _c("c", "description"),
            "tag": _c("c", "tags"),
            "type": _c("c", "type"),
            "state": _c("c", "state"),
            "created_at": _c("c", "created_at_us"),
            "updated_at": _c("c", "updated_at_us"),
        },
        "artifact_collections AS c JOIN projects AS p ON p.project_id = c.project_id",
        "c.node, p.node, c.id, c.project_id, c.position",
        "c.position, c.name",
        "c.created_at_us, c.name",
        2,
        "artifact_collections",
    ),
    "versions": Kind(
        VERSIONS,
        {
            "id": _c("v", "id"),
            "version": _VERSION,
            "version_index": _c("m", "version_index"),
            "tag": _c("v", "tags"),
            "alias": _c("m", "aliases"),
            "created_at": _c("v", "created_at_us"),
            "updated_at": _c("v", "updated_at_us"),
            "linked_at": _c("m", "created_at_us"),
            "metadata": _c("v", "metadata"),
            "artifact_size": _c("v", "size"),
            "collection_name": _c("c", "name"),
            "state": _c("v", "state"),
            "digest": _c("v", "digest"),
            "description": _c("v", "description"),
        },
        "artifact_memberships AS m JOIN artifacts AS v ON v.id = m.artifact_id"
        " JOIN artifact_collections AS c ON c.id = m.collection_id"
        f" JOIN projects AS p ON p.project_id = c.project_id {HOME}",
        f"{VERSION}, m.id, m.version_index, m.aliases, m.created_at, c.node, p.node, v.id",
        "m.version_index DESC",
        "v.created_at_us, v.version_index, m.created_at_us, m.version_index",
        10,
        "artifacts",
    ),
}
_ALIASES: Final = {
    # `v<N>` is an alias to filters; the tables leave it out.
    "sqlite": "json_insert({a}, '$[#]', 'v' || {i})",
    "postgresql": "({a} || to_jsonb('v' || {i}))",
}


def search(
    store: Readable,
    name: str,
    where: Sql,
    filters: str | None = None,
    order: str | None = None,
) -> Sequence[Any]:
    """Return the rows of a kind for which a condition and a filter hold, in an order.

    Raises QueryError for a filter or order that is wrong.
    """
    kind = KINDS[name]
    tree = _tree(store, kind, filters)
    compiler = _compiler(store, kind, tree, where)
    condition = both([where, True if tree is None else compiler.filter(tree)])
    text = f"SELECT {kind.selected} FROM {kind.origin} WHERE {{condition}} ORDER BY "  # noqa: S608
    parts: dict[str, Any] = {"condition": as_sql(condition)}
    if order is None:
        return _rows(store, sql(text + kind.ties, **parts))
    (key,) = parse_order(_NUMBERED.sub(r"\1version_index", order), kind.table)
    if key.field.column == "id":  # by the number in it
        rows = _rows(store, sql(text + kind.ordered_ties, **parts))
        number = _decimal if kind.ids is None else number_of
        return sorted(rows, key=lambda row: number(row[kind.id_at]), reverse=key.descending)
    terms = [column.term() for column in compiler.sort_columns(key)]
    if terms:
        text += "{terms}, "
        parts["terms"] = listing(terms)
    return _rows(store, sql(text + kind.ordered_ties, **parts))


def _decimal(text: str) -> int:
    return int(text) if text.isdecimal() else 0


_NUMBERED: Final = re.compile(r"\A([+-]?)version\Z")
"""An order by `version`, of which `v10` comes after `v9`."""


def asked_about(name: str, filters: str | None) -> set[str]:
    """Return the fields that a filter asks about. Raises QueryError for one that is wrong."""
    tree = parse_filters(loads(filters), KINDS[name].table) if filters else None
    return set() if tree is None else {test.field.column for test in tests(tree)}


def chosen(store: Readable, name: str, filters: str | None) -> Condition:
    """Return the condition of a filter, for a statement over the tables of its kind."""
    kind = KINDS[name]
    tree = _tree(store, kind, filters)
    return True if tree is None else _compiler(store, kind, tree, sql("TRUE")).filter(tree)


def _tree(store: Readable, kind: Kind, filters: str | None) -> Node | None:
    if not filters:
        return None
    ids: dict[int, str] | None = None

    def global_id(number: Any) -> Any:
        nonlocal ids
        if not str(number).isdecimal() or kind.ids is None:
            return str(number)
        if ids is None:
            rows = _rows(store, sql(f"SELECT id FROM {kind.ids}"))  # noqa: S608 - our own
            ids = {number_of(unescape(found)): found for (found,) in rows}
        return ids.get(int(number), str(number))

    return parse_filters(_literal(loads(filters), global_id), kind.table)


def _compiler(store: Readable, kind: Kind, tree: Node | None, where: Sql) -> Compiler:
    columns = dict(kind.columns)
    if "alias" in columns:
        columns["alias"] = sql(
            _ALIASES[store.backend], a=columns["alias"], i=columns["version_index"]
        )
    engine = SQLITE if store.backend == "sqlite" else POSTGRES
    source = Source(columns, "")
    matching = _matching(store, kind, Compiler(engine, source), tree, where)
    return Compiler(engine, source, matching=matching)


def _rows(store: Readable, statement: Sql) -> Sequence[Any]:
    text, values = render(statement, store.backend)
    with store.read() as connection:
        cursor = connection.exec_driver_sql(text, values)
        found: Sequence[Any] = cursor.all()
    return found


_IDS: Final = ("id", "project_id", "collection_id", "artifact_collection_id", "artifact_id")


def _literal(tree: Any, global_id: Callable[[Any], Any]) -> Any:
    """Write ids and versions as the tables hold them: ids of which the number is given, `0` as `v0`."""
    if isinstance(tree, list):
        return [_literal(one, global_id) for one in tree]
    if not isinstance(tree, dict):
        return tree
    found = {}
    for key, value in tree.items():
        if key in _IDS:
            found[key] = _each(value, global_id)
        elif key == "version":
            found[key] = _each(value, _version)
        else:
            found[key] = _literal(value, global_id) if key.startswith("$") else value
    return found


def _version(number: int | str) -> str:
    return number if isinstance(number, str) else f"v{number}"


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    return change(value) if isinstance(value, int | str) and not isinstance(value, bool) else value


def _matching(
    store: Readable, kind: Kind, compiler: Compiler, tree: Node | None, where: Sql
) -> dict[Match, Sequence[str]]:
    """Run patterns over the distinct strings of their fields, where SQL has no RE2."""
    if compiler.engine.has_regex:
        return {}
    found: dict[Match, Sequence[str]] = {}
    for test in () if tree is None else tests(tree):
        if not isinstance(test, Match) or plain(test.pattern) is not None:
            continue
        texts: dict[str, None] = {}
        for expression in compiler.strings(test.field):
            statement = sql(
                f"SELECT DISTINCT t.text FROM (SELECT {{e}} AS text FROM {kind.origin}"  # noqa: S608
                " WHERE {where}) AS t WHERE t.text IS NOT NULL",
                e=sql("{e}", e=expression),
                where=where,
            )
            rows = _rows(store, statement)
            texts |= dict.fromkeys(text for (text,) in rows if find(test.pattern, text))
        found[test] = list(texts)
    return found
