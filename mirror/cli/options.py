"""Parameter types and the options that several commands share."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["DURATION", "FILTER", "Filter", "common", "one_of", "project_argument", "store_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Filter:
    """A run filter as given: the value, and the text that a mistake is shown in."""

    value: dict[str, Any]
    text: str


class _Filter(click.ParamType[Filter]):
    """JSON on the command line, `@file`, or `@-` for standard input."""

    name = "json|@file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Filter:
        if isinstance(value, Filter):
            return value
        text = self._read(value, param, ctx)
        try:
            found = json.loads(text, object_pairs_hook=_once)
        except _Twice as error:
            self.fail(str(error), param, ctx)
        except RecursionError:
            self.fail("the filter is nested too deep: 100 levels are the most", param, ctx)
        except ValueError as error:
            self.fail(f"this is no JSON: {_shown(error, text)}", param, ctx)
        if not isinstance(found, dict):
            self.fail(
                f"a filter is a JSON object, such as {_EXAMPLE}; this is {text!r}", param, ctx
            )
        return Filter(found, text)

    def _read(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.startswith("@"):
            return value
        try:
            if value == "@-":
                return sys.stdin.read()
            return Path(value[1:]).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            said = getattr(error, "strerror", None) or error
            self.fail(f"cannot read {value[1:]!r}: {said}", param, ctx)


class _Twice(ValueError):
    """A key stands twice in one object, of which JSON's readers keep the last."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(
                f"{key!r} stands twice in one object, and only the last would count: put the operators "
                'into one object, or both conditions into {"$and": [{…}, {…}]}'
            )
        found[key] = value
    return found


_EXAMPLE = """'{"config.lr": {"$gt": 0.001}}'"""


def _shown(error: ValueError, text: str) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    line = text.splitlines()[error.lineno - 1] if text.strip() else ""
    return f"{error.msg}\n  {line}\n  {' ' * (error.colno - 1)}^\na filter looks like {_EXAMPLE}"


class _Duration(click.ParamType[int]):
    """Seconds, given as `90s`, `15m`, `6h` or `1d`; a bare number is seconds."""

    name = "duration"
    _units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+)\s*([smhd]?)", value.strip().lower())
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r} is no duration: write 90s, 15m, 6h or 1d", param, ctx)
        return int(match[1]) * self._units[match[2]]


FILTER = _Filter()
DURATION = _Duration()


def project_argument(*, required: bool = True) -> Callable[[Command], Command]:
    """Add PATH: `entity/project`, or the address of a project's page."""
    metavar = "ENTITY/PROJECT" if required else "[ENTITY/PROJECT]"
    return click.argument("path", metavar=metavar, required=required)


def store_option(command: Command) -> Command:
    """Add --store."""
    return click.option(
        "--store",
        metavar="URL",
        help="The database: a file path or a SQLAlchemy URL.  [default: MIRROR_STORE, mirror.toml, "
        "then the user's data folder]",
    )(command)


def common(command: Command) -> Command:
    """Add --config and --debug."""
    command = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )(command)
    return click.option(
        "--config", metavar="FILE", help="The mirror.toml to read.  [default: MIRROR_CONFIG, ./mirror.toml]"
    )(command)  # fmt: skip


def _set_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta["mirror.debug"] = True


def one_of(names: dict[str, bool]) -> str | None:
    """Return which of several flags was given, None if none. Raises UsageError for more than one."""
    given = [name for name, value in names.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} cannot be given together")
    return given[0] if given else None
