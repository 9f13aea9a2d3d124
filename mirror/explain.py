"""What a query is and how it is answered, for people: plans, warnings, and mistakes with a caret.

`explain` is what `mirror explain` prints; `warnings` finds keys that no run has; `format_query_error`
shows a mistake in the text it was made in.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from mirror.errors import QueryError
from mirror.jsontext import escape
from mirror.plan import Plan, known
from mirror.query.compile import Segment, candidates
from mirror.query.fields import readings, spelled
from mirror.query.tree import Field, Kind, Size, describe
from mirror.reads import RunQuery
from mirror.store.json import SQLITE
from mirror.store.sql import Sql, bind, render, sql

__all__ = ["Explain", "explain", "format_query_error", "warnings"]

_OWN_INDEXES: Final = (
    "ix_runs_created",
    "ix_runs_state",
    "ix_run_documents_created",
    "uq_runs_project_id_name",
)


@dataclass(frozen=True, slots=True)
class Explain:
    """How the first page of a query is answered.

    `rows_examined` counts the runs (or documents) that were looked at for it, `indexes` names what
    served it, `notes` say where W&B's server is known to answer otherwise.
    """

    tree: str
    sql: str
    parameters: dict[str, Any]
    plan: list[str]
    indexes: list[str]
    rows_examined: int
    rows_found: int
    notes: list[str]
    warnings: list[str]


def explain(query: RunQuery, limit: int = 50) -> Explain:
    """Return how the first page of a query is found; it is run, to count the rows looked at."""
    with query.plan("page") as plan:
        looked = _Looked()
        for segment in plan.segments:
            if looked.found < limit:
                _examine(plan, segment, limit - looked.found, looked)
        names = [*plan.indexes.values(), *_OWN_INDEXES]
        return Explain(
            tree=describe(plan.tree),
            sql=looked.sql or "nothing to ask: no run can match",
            parameters=looked.parameters,
            plan=looked.steps,
            indexes=sorted(n for n in set(names) if any(n in step for step in looked.steps)),
            rows_examined=looked.examined,
            rows_found=looked.found,
            notes=_notes(plan),
            warnings=_warnings(plan),
        )


class _Looked:
    """What was seen of the stretches of an order so far."""

    def __init__(self) -> None:
        self.sql = ""
        self.parameters: dict[str, Any] = {}
        self.steps: list[str] = []
        self.examined = 0
        self.found = 0


def _examine(plan: Plan, segment: Segment, limit: int, looked: _Looked) -> None:
    columns = [plan.key(), *(column.selected() for column in segment.columns)]
    statement = plan.statement(columns, segment.where, segment, limit=limit)
    if statement is None:
        return
    if not looked.sql:
        looked.sql, looked.parameters = render(statement, plan.engine.name)
    if plan.engine is SQLITE:
        _examine_sqlite(plan, segment, limit, looked, statement)
        return
    text = sql("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {s}", s=statement)
    answer = plan.run(text).scalar_one()
    root = (orjson.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    looked.examined += _scanned(root)
    looked.found += int(root["Actual Rows"])
    looked.steps += _steps(root, 0)


def _examine_sqlite(
    plan: Plan, segment: Segment, limit: int, looked: _Looked, statement: Sql
) -> None:
    """Count by a function that each row passes before it is tested."""
    seen: dict[int, bool] = {}
    raw: Any = plan.connection.connection.dbapi_connection
    raw.create_function("mirror_seen", 1, lambda key: seen.setdefault(key, True))
    counting = sql("mirror_seen({k})", k=plan.key())
    counted = plan.statement([plan.key()], segment.where, segment, limit=limit, first=counting)
    if counted is not None:
        looked.found += len(plan.run(counted).all())
    looked.examined += len(seen)
    looked.steps += [row[3] for row in plan.run(sql("EXPLAIN QUERY PLAN {s}", s=statement))]


def _scanned(node: Mapping[str, Any]) -> int:
    """Return how many rows of tables a plan of PostgreSQL looked at."""
    below = sum(map(_scanned, node.get("Plans", ())))
    if node.get("Relation Name") is None:
        return below
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return below + int((node["Actual Rows"] + removed) * node.get("Actual Loops", 1))


def _steps(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    parts = [node["Node Type"], node.get("Index Name"), node.get("Relation Name")]
    yield "  " * depth + " ".join(part for part in parts if part)
    for below in node.get("Plans", ()):
        yield from _steps(below, depth + 1)


def _notes(plan: Plan) -> list[str]:
    """Say where W&B's server is known, or thought, to answer otherwise."""
    notes = []
    for each in dict.fromkeys(plan.question.fields()):
        if each.kind is not Kind.DOCUMENT:
            continue
        if plan.scout.is_flat(each):
            notes.append(
                f"`{each}` is a key with dots: W&B's server finds nothing for it (wandb #3087)"
            )
        if plan.scout.is_walked(each):
            notes.append(
                f"`{each}` may lie inside a list: W&B's server is not known to look into lists"
            )
    if any(isinstance(test, Size) for test in plan.tests):
        notes.append("`$size` is in W&B's client, but nothing public says that its server takes it")
    return notes


# ------------------------------------------------------------------ keys that no run has


def warnings(query: RunQuery) -> list[str]:
    """Return what may be a mistake in a query: keys that no run of the project has."""
    with query.plan("count") as plan:
        return _warnings(plan)


def _warnings(plan: Plan) -> list[str]:
    fields = [
        f for f in dict.fromkeys(plan.question.fields()) if f.kind is Kind.DOCUMENT and f.path
    ]
    project = plan.question.project_id
    catalogue, _ = known(plan.connection, plan.engine, project, candidates(fields))
    unseen = [
        each
        for each in fields
        if not any(catalogue.route(each.column, _escaped(path)) for path in readings(each))
    ]
    if not unseen:
        return []
    statement = sql(
        "SELECT document, path, count FROM run_keys WHERE project_id = {p}", p=bind(project)
    )
    there = {
        spelled(document, orjson.loads(path)): int(count)
        for document, path, count in plan.run(statement)
    }
    return [_warning(each, there) for each in unseen]


def _escaped(path: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(escape, path))


def _warning(each: Field, there: Mapping[str, int]) -> str:
    text = f"`{each}`: no run of this project has it"
    last = each.path[-1].casefold()
    same = [name for name in there if name.rsplit(".", 1)[-1].casefold() == last]
    close = sorted(same, key=lambda name: -there[name])[:1]
    close = close or difflib.get_close_matches(str(each), there, 1, 0.75)
    if not close:
        return text
    count = there[close[0]]
    return f"{text}; did you mean `{close[0]}` ({count:,} run{'s' * (count != 1)})?"


# ------------------------------------------------------------------ mistakes


def format_query_error(error: QueryError, text: str | None) -> str:
    """Return the message of a QueryError under the text of the filter, with a caret at the place.

    Without a text, or if the place is not found in it, only the message.
    """
    place = _find_place(error.path, text) if text else None
    if text is None or place is None:
        return str(error)
    line_start = text.rfind("\n", 0, place[0]) + 1
    line = text[line_start:].split("\n", 1)[0]
    caret = " " * (place[0] - line_start) + "^" * max(1, min(place[1] - place[0], len(line)))
    said = error.problem + (f"; {error.hint}" if error.hint else "")
    return f"{line}\n{caret}\n{error.path or 'filter'}: {said}"


def _find_place(path: str, text: str) -> tuple[int, int] | None:
    """Return where the last key or item of a place stands, following it through a JSON text."""
    at, found, rest = _after_space(text, 0), None, path
    while rest:
        if text.startswith("[", at):
            item = re.match(r"\[(\d+)\]\.?", rest)
            spans = _items(text, at)
            if item is None or int(item[1]) >= len(spans):
                break
            at, end = found = spans[int(item[1])]
            rest = rest[item.end() :]
            continue
        members = [m for m in _members(text, at) if _leads(m[0], rest)]
        if not members:
            break
        key, start, end, at = max(members, key=lambda member: len(member[0]))
        found = start, end
        rest = rest[len(key) :].removeprefix(".")
    return found


def _leads(key: str, rest: str) -> bool:
    return rest.startswith(key) and rest[len(key) : len(key) + 1] in ("", ".", "[")


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _value_end(text: str, at: int) -> int:
    return json.JSONDecoder().raw_decode(text, at)[1]


def _members(text: str, at: int) -> Iterator[tuple[str, int, int, int]]:
    """Yield the keys of an object: each with where it begins and ends, and where its value begins."""
    if not text.startswith("{", at):
        return
    at = _after_space(text, at + 1)
    while not text.startswith("}", at):
        key, key_end = json.JSONDecoder().raw_decode(text, at)
        value = _after_space(text, _after_space(text, key_end) + 1)  # a colon lies between
        yield key, at, key_end, value
        at = _after_space(text, _value_end(text, value))
        at = _after_space(text, at + text.startswith(",", at))


def _items(text: str, at: int) -> list[tuple[int, int]]:
    """Return where each item of a list begins and ends."""
    found = []
    at = _after_space(text, at + 1)
    while not text.startswith("]", at):
        end = _value_end(text, at)
        found.append((at, end))
        at = _after_space(text, end)
        at = _after_space(text, at + text.startswith(",", at))
    return found
