"""What goes to standard output: tables for people, JSON and CSV for scripts."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
import orjson
from rich.cells import cell_len, set_cell_size

__all__ = [
    "age",
    "bytes_text",
    "counted",
    "csv_lines",
    "json_text",
    "print_anywhere",
    "print_table",
    "shown",
]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


_PLAIN = {"│": "|", "├": "|", "└": "`", "─": "-", "→": "->", "…": "..."}


def print_anywhere() -> None:
    """Let no character end a command: where a terminal or a file cannot take it, it is spelled out.

    What we draw with has a plain form; other characters are escaped as JSON does, so that JSON stays so.
    """
    codecs.register_error("mirror", _spelled_out)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="mirror")


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or json.dumps(char)[1:-1] for char in text), error.end


def counted(count: int, thing: str) -> str:
    """Return how many there are of something, such as "1 file" or "2,000 entries"."""
    if count != 1:
        thing = f"{thing[:-1]}ies" if thing.endswith("ry") else f"{thing}s"
    return f"{count:,} {thing}"


def shown(value: Any) -> str:
    """Return a value as a table shows it: one line, nothing that a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    elif isinstance(value, list | dict):
        value = json_text(value)
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], str(value))


def json_text(value: Any, *, indent: bool = False) -> str:
    """Write a value as JSON; text that is no Unicode is escaped."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode()
    except TypeError:  # a lone surrogate, an integer past 64 bits
        return json.dumps(value, indent=2 if indent else None)


def csv_lines(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the lines of a CSV file with a header; lists and objects are JSON, null is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in (names, *([_csv_cell(value) for value in row] for row in rows)):
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json_text(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def print_table(
    names: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Iterable[str] = ()
) -> None:
    """Print rows under a header; on a terminal cut to its width, elsewhere whole."""
    texts = [[shown(value) for value in row] for row in rows]
    widths = [
        max([cell_len(name), *(cell_len(row[i]) for row in texts)]) for i, name in enumerate(names)
    ]
    if sys.stdout.isatty():
        widths = _fitted(widths, shutil.get_terminal_size().columns)
    to_right = {names.index(name) for name in right}
    for row in (list(names), *texts):
        cells = [_cell(text, widths[i], i in to_right) for i, text in enumerate(row)]
        click.echo("  ".join(cells).rstrip())


def _cell(text: str, width: int, right: bool) -> str:
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + "…"
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding


def _fitted(widths: Sequence[int], total: int) -> list[int]:
    """Take from the widest columns until all fit, but no column below 8."""
    fitted = list(widths)
    while sum(fitted) + 2 * (len(fitted) - 1) > total and max(fitted) > 8:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def age(seconds: float | None) -> str:
    """Return how long ago, in the largest unit that says something."""
    if seconds is None:
        return "never"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def bytes_text(count: int) -> str:
    """Return a number of bytes for reading."""
    size, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one JSON text a row, each with its newline."""
    for row in rows:
        yield json_text(row) + "\n"
