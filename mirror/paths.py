"""Paths as users write them: `entity/project/run`, a page's address, a selection's glob.

`parse` reads any spelling and says what it names; `parse_project`, `parse_run` and `parse_sweep`
read a path where the kind is known, as `wandb.Api` does (there `project/run` is short for a run of
the default entity). Pure; nothing is looked up.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from mirror.errors import PathError

__all__ = [
    "REGISTRY_PREFIX",
    "Scope",
    "check_pattern",
    "is_pattern",
    "matches",
    "parse",
    "parse_project",
    "parse_run",
    "parse_sweep",
    "parts_of_address",
]

REGISTRY_PREFIX = "wandb-registry-"
"""What the project of a registry is called before the registry's own name."""

_RUNS, _SWEEPS, _REPORTS = frozenset({"run", "runs"}), frozenset({"sweep", "sweeps"}), frozenset({"report", "reports"})  # fmt: skip
_KINDS = _RUNS | _SWEEPS | _REPORTS

_HOSTS = frozenset({"wandb.ai", "www.wandb.ai", "app.wandb.ai", "api.wandb.ai"})
"""Hosts understood without `https://` before them, as when an address is copied in part."""

_APP_PREFIX = "wandb"
"""The app of a CoreWeave Forge host lives below this part (`https://forge…/wandb/entity/…`)."""

_ACCEPTED = (
    "write entity/project, entity/project/run, entity/project/runs/run, entity/project/sweeps/sweep, "
    "entity/project/reports/Title--id, or the address of such a page"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a path names: a project, or one run, sweep or report of it."""

    entity: str
    project: str
    run: str | None = None
    sweep: str | None = None
    report: str | None = None

    @property
    def path(self) -> str:
        """`entity/project`, the path of the project."""
        return f"{self.entity}/{self.project}"

    def __str__(self) -> str:
        """The shortest text that `parse` reads as this scope."""
        if self.run is not None:
            return f"{self.path}/{self.run}"
        if self.sweep is not None:
            return f"{self.path}/sweeps/{self.sweep}"
        if self.report is not None:
            return f"{self.path}/reports/--{self.report}"
        return self.path


def parse(text: str, *, entity: str | None = None) -> Scope:
    """Return what a path or a page's address names. `entity` is the default where none is written.

    One part is a project, two are entity/project, three are entity/project/run. Raises PathError.
    """
    address = parts_of_address(text)
    parts = _split(text) if address is None else address
    if address is not None and len(parts) == 1:
        raise _bad(text, "the address names an entity and no project")
    if len(parts) == 2 and parts[1] == "projects":
        raise _bad(text, "the address lists projects")
    if len(parts) <= 2:
        return _short(text, parts, entity)
    if parts[2] in _KINDS and len(parts) > 3:
        # An address goes on after the run: .../runs/abc/overview
        if address is None and len(parts) > 4:
            raise _bad(text, f"{len(parts)} parts are too many")
        return _of_kind(text, parts[0], parts[1], parts[2], parts[3])
    if address is not None:  # another page of the project: workspace, table, a list of runs
        return _scope(text, parts[0], parts[1])
    if len(parts) > 3:
        raise _bad(text, f"{parts[2]!r} is neither runs, sweeps nor reports")
    return _scope(text, parts[0], parts[1], run=parts[2])


def parse_project(
    text: str | None, *, entity: str | None = None, project: str | None = None
) -> Scope:
    """Return the project that a path names: `entity/project`, or `project` of the default entity.

    None or empty means the default project. Raises PathError, also where a run is named.
    """
    if not text or not text.strip("/ "):
        return _scope(text or "", entity, project)
    scope = parse(text, entity=entity)
    if scope.run is not None or scope.sweep is not None or scope.report is not None:
        raise PathError(f"{text!r} names more than a project: write {scope.path}")
    return scope


def parse_run(text: str, *, entity: str | None = None, project: str | None = None) -> Scope:
    """Return the run that a path names.

    Also `project/run`, `project:run` and `run` alone, with the defaults given. Raises PathError.
    """
    return _known_kind(text, entity, project, "run")


def parse_sweep(text: str, *, entity: str | None = None, project: str | None = None) -> Scope:
    """Return the sweep that a path names; the spellings are those of `parse_run`."""
    return _known_kind(text, entity, project, "sweep")


def _known_kind(text: str, entity: str | None, project: str | None, kind: str) -> Scope:
    words = _RUNS if kind == "run" else _SWEEPS
    parts = parts_of_address(text) or _split(text)
    # "/runs/" may stand in any spelling: entity/project/runs/run, project/runs/run, /runs/run.
    start = 0 if text.lstrip().startswith("/") else 1
    place = next((at for at in range(start, len(parts) - 1) if parts[at] in words), None)
    if place is not None:
        parts = [*parts[:place], parts[place + 1]]
    if len(parts) in (1, 2) and ":" in parts[-1]:
        parts = [*parts[:-1], *parts[-1].split(":", 1)]
        if len(parts) == 2:  # project:run
            return _checked(text, entity, parts[0], parts[1], kind)
    if not 1 <= len(parts) <= 3:
        raise _bad(text, f"{len(parts)} parts do not name a {kind}")
    found = [entity, project, None][: 3 - len(parts)] + list(parts)
    return _checked(text, found[0], found[1], found[2], kind)


def _checked(
    text: str, entity: str | None, project: str | None, name: str | None, kind: str
) -> Scope:
    if not name:
        raise _bad(text, f"it names no {kind}")
    if kind == "run":
        return _scope(text, entity, project, run=name)
    return _scope(text, entity, project, sweep=name)


def _short(text: str, parts: list[str], entity: str | None) -> Scope:
    """project, project:run, entity/project or entity/project:run."""
    project, colon, run = parts[-1].partition(":")
    if colon and not run:
        raise _bad(text, "nothing follows the colon")
    return _scope(text, parts[0] if len(parts) == 2 else entity, project, run=run or None)


def _of_kind(text: str, entity: str, project: str, word: str, name: str) -> Scope:
    if word in _RUNS:
        return _scope(text, entity, project, run=name)
    if word in _SWEEPS:
        return _scope(text, entity, project, sweep=name)
    _title, dashes, report = name.rpartition("--")
    if not report or ("-" in name and not dashes):
        raise _bad(text, "a report is written Title--id")
    return _scope(text, entity, project, report=report)


def _scope(
    text: str,
    entity: str | None,
    project: str | None,
    *,
    run: str | None = None,
    sweep: str | None = None,
    report: str | None = None,
) -> Scope:
    if not entity:
        raise _bad(text, "missing entity, and there is no default entity (set WANDB_ENTITY)")
    if not project:
        raise _bad(text, "missing project")
    return Scope(entity, project, run, sweep, report)


def _check_text(text: str) -> None:
    """Refuse bytes of a command line that are no text; no server and no database has such a name."""
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise PathError(f"{text!r} is no UTF-8 text")


def _split(text: str) -> list[str]:
    _check_text(text)
    parts = [part.strip() for part in text.strip("/ \t\r\n").split("/")]
    if not all(parts):
        raise _bad(text, "it is empty" if len(parts) == 1 else "a part is empty")
    return parts


def parts_of_address(text: str) -> list[str] | None:
    """Return the decoded parts of a page's address; None for a text that is none. Raises PathError."""
    bare = text.strip()
    if "://" not in bare:
        if bare.split("/", 1)[0].lower() not in _HOSTS:
            return None
        bare = f"https://{bare}"
    try:
        address = urlsplit(bare)
    except ValueError as error:
        raise _bad(text, str(error)) from None
    if address.scheme not in ("http", "https") or not address.hostname:
        raise _bad(text, "it is no http or https address")
    parts = [unquote(part) for part in address.path.split("/") if part]
    if len(parts) > 2 and parts[0] == _APP_PREFIX and "forge" in address.hostname:
        parts = parts[1:]
    if not parts:
        raise _bad(text, "the address names no project")
    return parts


def _bad(text: str, problem: str) -> PathError:
    return PathError(f"Invalid path: {text!r} ({problem}); {_ACCEPTED}")


# ------------------------------------------------------------------ globs of a selection


def is_pattern(text: str) -> bool:
    """Whether a selection's entry is a glob rather than one project."""
    return any(char in text for char in "*?[")


def check_pattern(text: str) -> tuple[str, str]:
    """Return the entity half and the project half of `team/vision-*`. Raises PathError."""
    _check_text(text)
    halves = text.strip("/ ").split("/")
    if len(halves) != 2 or not all(halves):
        raise PathError(
            f"{text!r} selects nothing: write entity/project, where each half may be a glob, such as "
            "team/* or team/vision-*"
        )
    return halves[0], halves[1]


def matches(pattern: str, entity: str, project: str) -> bool:
    """Whether a selection's entry takes a project: `team/*`, `team/vision-*`, `*/demo`, `team/one`.

    `*`, `?` and `[...]` are matched within a half, never across the slash; case counts.
    Raises PathError for an entry without both halves.
    """
    wanted_entity, wanted_project = check_pattern(pattern)
    return fnmatch.fnmatchcase(entity, wanted_entity) and fnmatch.fnmatchcase(
        project, wanted_project
    )
