"""Commands that answer from the store: runs, explain, keys, index. They never ask the server."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.app import cli
from mirror.cli.opening import opened
from mirror.cli.options import FILTER, Filter, common, one_of, project_argument, store_option
from mirror.cli.output import counted, csv_lines, json_text, print_table
from mirror.errors import QueryError

if TYPE_CHECKING:
    from mirror.indexes import Advice
    from mirror.keys import Keys
    from mirror.projects import Project
    from mirror.reads import RunQuery

TABLE_COLUMNS = ("name", "display_name", "state", "username", "created_at", "duration", "tags")
ALL_COLUMNS = (
    "name", "display_name", "state", "group", "job_type", "host", "username", "sweep", "notes",
    "description", "tags", "created_at", "heartbeat_at", "updated_at", "duration", "config",
    "summary_metrics",
)  # fmt: skip
TABLE_ROWS = 50

filter_option = click.option(
    "--filter", "filters", type=FILTER, help="A W&B run filter: JSON, @file.json or @- (stdin)."
)
order_option = click.option(
    "--order",
    metavar="KEYS",
    help="Such as -summary_metrics.val/acc or +config.lr,-created_at.  [default: +created_at]",
)


@cli.command()
@project_argument()
@filter_option
@order_option
@click.option("--limit", type=click.IntRange(min=0), help=f"At most so many runs; 0: all.  [default: {TABLE_ROWS} in a table, else all]")  # fmt: skip
@click.option("--columns", metavar="KEYS", help="Such as name,config.lr,summary_metrics.val/acc; write \\, for a comma inside a key.")  # fmt: skip
@click.option("--count", "count", is_flag=True, help="Print only how many there are.")
@click.option("--ids", is_flag=True, help="Print only their names (ids), one a line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@click.option("--jsonl", is_flag=True, help="One JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a header.")
@store_option
@common
def runs(
    path: str,
    filters: Filter | None,
    order: str | None,
    limit: int | None,
    columns: str | None,
    count: bool,
    ids: bool,
    as_json: bool,
    jsonl: bool,
    as_csv: bool,
    store: str | None,
    config: str | None,
) -> None:
    """List the runs of a project, from the mirror.

    Without --columns a table shows a few fields and the other formats show all, config and summary
    included.

    \b
    mirror runs my-team/vision --filter '{"state": "finished", "config.lr": {"$gt": 1e-4}}' \\
        --order -summary_metrics.val/acc --columns name,config.lr,summary_metrics.val/acc --limit 20
    mirror runs my-team/vision --filter @bad_runs.json --csv > bad.csv
    """
    how = one_of({"--count": count, "--ids": ids, "--json": as_json, "--jsonl": jsonl, "--csv": as_csv})  # fmt: skip
    with asked(path, filters, order, store, config) as question:
        say_what_to_know(question)
        _PRINTERS[how](question, _split(columns), limit)


def _split(columns: str | None) -> list[str] | None:
    """Split on commas, but not on escaped ones."""
    if columns is None:
        return None
    parts = re.split(r"(?<!\\),", columns)
    return [part.strip().replace("\\,", ",") for part in parts if part.strip()]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a project. `aside` is the same one, but what it costs is not noted as use."""

    query: RunQuery
    aside: RunQuery
    project: Project


class WrongQuery(click.ClickException):
    """A mistake in a filter or an order, shown in its place; a usage error like any other."""

    exit_code = 2


@contextlib.contextmanager
def asked(
    path: str, filters: Filter | None, order: str | None, store: str | None, config: str | None
) -> Iterator[Asked]:
    """Open the store and yield the question; a mistake in it becomes WrongQuery."""
    from mirror.explain import format_query_error
    from mirror.reads import RunQuery

    with opened(store, config) as mirrored:
        project = mirrored.project(path)
        value = None if filters is None else filters.value
        ask = partial(RunQuery, mirrored.store, project.project_id, value, order)
        try:
            yield Asked(ask(log=mirrored.log), ask(), project)
        except QueryError as error:
            text = format_query_error(error, filters.text if filters else None)
            raise WrongQuery(f"in this filter:\n{text}" if "\n" in text else text) from error


def say_what_to_know(asked: Asked) -> None:
    """Say on standard error what the reader should know of the answer."""
    from mirror.explain import warnings

    project = asked.project
    if project.deleted_at:
        click.echo(f"{project.path} is gone from the server since {project.deleted_at}", err=True)
    if not project.complete:
        text = "its first sync has not ended, this is what is mirrored so far"
        click.echo(f"{project.path}: {text}", err=True)
    for warning in warnings(asked.aside):
        click.echo(f"warning: {warning}", err=True)


def _print_count(asked: Asked, _columns: list[str] | None, _limit: int | None) -> None:
    click.echo(str(asked.query.count()))


def _print_ids(asked: Asked, _columns: list[str] | None, limit: int | None) -> None:
    for name in asked.query.names()[: limit or None]:
        click.echo(json_text(name)[1:-1])


def _print_json(asked: Asked, columns: list[str] | None, limit: int | None) -> None:
    """Print a list that is written as it is read: memory stays flat whatever its length."""
    before = "[\n"
    for row in _records(asked.query, columns, limit):
        click.echo(before + json_text(row), nl=False)
        before = ",\n"
    click.echo("\n]" if before != "[\n" else "[]")


def _print_jsonl(asked: Asked, columns: list[str] | None, limit: int | None) -> None:
    for row in _records(asked.query, columns, limit):
        click.echo(json_text(row))


def _records(
    query: RunQuery, columns: list[str] | None, limit: int | None
) -> Iterator[dict[str, Any]]:
    names = columns or list(ALL_COLUMNS)
    for values in query.columns(names, stop=limit or None):
        yield dict(zip(names, values, strict=True))


def _print_csv(asked: Asked, columns: list[str] | None, limit: int | None) -> None:
    names = columns or list(ALL_COLUMNS)
    for line in csv_lines(names, asked.query.columns(names, stop=limit or None)):
        click.echo(line, nl=False)


def _print_table(asked: Asked, columns: list[str] | None, limit: int | None) -> None:
    names = columns or list(TABLE_COLUMNS)
    rows = TABLE_ROWS if limit is None else limit or None
    print_table(names, asked.query.columns(names, stop=rows), right=("duration",) if "duration" in names else ())  # fmt: skip
    total = asked.aside.count()
    if rows is not None and total > rows:
        click.echo(f"{rows:,} of {counted(total, 'run')}; --limit 0 shows all", err=True)


_PRINTERS = {
    "--count": _print_count,
    "--ids": _print_ids,
    "--json": _print_json,
    "--jsonl": _print_jsonl,
    "--csv": _print_csv,
    None: _print_table,
}


@cli.command()
@project_argument()
@filter_option
@order_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@store_option
@common
def explain(
    path: str,
    filters: Filter | None,
    order: str | None,
    as_json: bool,
    store: str | None,
    config: str | None,
) -> None:
    """Show how a filter is understood and answered.

    The filter as a tree, the SQL, the database's plan, the index that serves it, how many rows were
    looked at for the first page, and where W&B's own server is known to answer otherwise.

    \b
    mirror explain my-team/vision --filter '{"config.lr": {"$gt": 1e-4}}'
    """
    from mirror.explain import explain as explained

    with asked(path, filters, order, store, config) as question:
        found = asdict(explained(question.aside))
    if as_json:
        click.echo(json_text(found, indent=True))
        return
    for name in ("tree", "sql", "parameters", "plan", "indexes", "rows_examined", "rows_found", "notes", "warnings"):  # fmt: skip
        _print_part(name.replace("_", " "), found[name])


def _print_part(name: str, value: Any) -> None:
    if isinstance(value, dict):
        value = [f"{key} = {text!r}" for key, text in value.items()]
    if isinstance(value, list):
        value = "\n".join(map(str, value)) or "-"
    text = str(value)
    if "\n" not in text and len(text) < 80:
        click.echo(f"{name}: {text}")
        return
    click.echo(f"{name}:")
    for line in text.splitlines():
        click.echo(f"    {line}")


@cli.command()
@project_argument()
@click.option("--match", metavar="TEXT", default="", help="Only keys that contain this text.")
@click.option("--exact", is_flag=True, help="Count again first: counts and ranges are then exact.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@store_option
@common
def keys(
    path: str, match: str, exact: bool, as_json: bool, store: str | None, config: str | None
) -> None:
    """Show what can be filtered on: the keys of config and summary, with types, counts and ranges.

    Counts grow with every run that is read, so a run that was read twice is counted twice, until
    --exact or `mirror db rebuild` counts again.

    \b
    mirror keys my-team/vision --match acc
    """
    from mirror import keys as catalogue

    with opened(store, config) as mirrored:
        project = mirrored.project(path)
        if exact:
            catalogue.recount(mirrored.store, project.project_id)
        found = catalogue.keys(mirrored.store, project.project_id, containing=match)
    if as_json:
        click.echo(json_text(asdict(found), indent=True))
    else:
        _print_keys(found)


def _print_keys(found: Keys) -> None:
    print_table(
        ("key", "types", "count", "min", "max"),
        [(key.field, key.types, key.count, key.min, key.max) for key in found.keys],
        right=("count", "min", "max"),
    )
    if not found.complete:
        click.echo("this project has too many keys: not all are listed", err=True)
    if found.approximate:
        text = "some were read twice and are counted twice; --exact counts again"
        click.echo(f"{counted(found.runs, 'run')}; {text}", err=True)


@cli.group()
def index() -> None:
    """Add, drop, list and advise indexes on keys of config and summary.

    An index makes filters and orders on its key fast, and costs a little at every sync.
    """


@index.command("add")
@project_argument()
@click.argument("key")
@store_option
@common
def index_add(path: str, key: str, store: str | None, config: str | None) -> None:
    """Build an index on a key, while readers go on.

    \b
    mirror index add my-team/vision summary_metrics.val/acc
    """
    from mirror import indexes

    with opened(store, config) as mirrored:
        mirrored.project(path)
        built = indexes.add(mirrored.store, key)
    click.echo(f"{built.field} is indexed ({built.name}), in all projects of the store")


@index.command("drop")
@project_argument()
@click.argument("key")
@store_option
@common
def index_drop(path: str, key: str, store: str | None, config: str | None) -> None:
    """Drop the index on a key.

    \b
    mirror index drop my-team/vision summary_metrics.val/acc
    """
    from mirror import indexes

    with opened(store, config) as mirrored:
        mirrored.project(path)
        dropped = indexes.drop(mirrored.store, key)
    if dropped is None:
        raise click.ClickException(f"there is no index on {key!r}: `mirror index list` shows all")
    click.echo(f"{dropped.field} is no longer indexed")


@index.command("list")
@project_argument(required=False)
@click.option("--json", "as_json", is_flag=True, help="As one JSON list.")
@store_option
@common
def index_list(path: str | None, as_json: bool, store: str | None, config: str | None) -> None:
    """List the indexes of the store; they serve all its projects.

    \b
    mirror index list
    """
    from mirror import indexes

    with opened(store, config) as mirrored:
        if path is not None:
            mirrored.project(path)
        found = indexes.listed(mirrored.store)
    if as_json:
        click.echo(json_text([{"field": e.field, **asdict(e)} for e in found], indent=True))
    else:
        rows = [(each.field, each.ready, each.created_at, each.name) for each in found]
        print_table(("key", "ready", "created", "index"), rows)


@index.command("advise")
@project_argument(required=False)
@click.option("--json", "as_json", is_flag=True, help="As one JSON list.")
@store_option
@common
def index_advise(path: str | None, as_json: bool, store: str | None, config: str | None) -> None:
    """Say which keys are worth an index, from what queries of one project or of all used.

    \b
    mirror index advise my-team/vision
    """
    from mirror import indexes

    with opened(store, config) as mirrored:
        only = None if path is None else mirrored.project(path).project_id
        found = indexes.advise(mirrored.store, project_id=only)
    if as_json:
        click.echo(json_text([asdict(each) for each in found], indent=True))
    else:
        _print_advice(found)


def _print_advice(found: list[Advice]) -> None:
    rows = [
        (each.field, each.uses, f"{each.total_ms:.0f}", ", ".join(each.kinds)) for each in found
    ]
    print_table(("key", "uses", "total ms", "as"), rows, right=("uses", "total ms"))
    if not found:
        click.echo("no key is used often enough to be worth an index", err=True)
