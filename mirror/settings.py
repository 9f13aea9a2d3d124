"""What can be set: one table of settings, the readers of their values, and the texts made from it.

`mirror.config` finds the values; here is what they may be. The commented mirror.toml and
docs/configuration.md are written from SETTINGS, so they cannot differ from the code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import urlsplit

from mirror.errors import PathError
from mirror.paths import check_pattern, matches

__all__ = [
    "PROJECT_EXAMPLE",
    "SECTIONS",
    "SETTINGS",
    "ContentSettings",
    "ProjectSettings",
    "Setting",
    "SyncSettings",
    "read_bytes",
    "reference",
    "settings_of",
    "template",
]

MODES = ("auto", "offline", "online")
DEPTHS = ("graph", "manifests")
JOURNAL_MODES = ("wal", "delete", "truncate")
KINDS = ("reports", "team", "files", "artifacts")
"""What can be mirrored of a project besides its runs and sweeps, which always are."""


# ------------------------------------------------------------------ the values


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """What is mirrored of a project: which runs ({}: every one), and what besides runs and sweeps."""

    filters: dict[str, Any] = field(default_factory=dict)
    take: tuple[str, ...] = KINDS
    artifact_types: tuple[str, ...] = ()
    artifact_collections: tuple[str, ...] = ()
    depth: str = "graph"
    """graph: versions, aliases and lineage; manifests: the entries of every version too"""


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """How `mirror sync` works. Durations are seconds; `max_rps` is requests a second, None: polite."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    lag_s: float = 300.0
    reconcile_every_s: float = 86_400.0
    reread_days: float = 7.0
    interval_s: float = 900.0
    jitter_s: float = 60.0
    workers: int = 4
    page_size: int = 100
    page_size_max: int = 1000
    catalogue: bool = True
    registries: bool = True
    timeout_s: float = 30.0
    max_rps: float | None = None

    def selects(self, entity: str, project: str) -> bool:
        """Whether `include` takes a project and `exclude` does not."""
        return _any(self.include, entity, project) and not _any(self.exclude, entity, project)


@dataclass(frozen=True, slots=True)
class ContentSettings:
    """Where the contents of files are kept, at most how much, and how they get to other folders.

    `folder` is None only where there is no place for it, and `is_default` says that nobody named it;
    `quota_bytes` None: no limit.
    """

    folder: str | None = None
    quota_bytes: int | None = None
    link: str = "copy"
    threads: int = 8
    is_default: bool = False


def _any(patterns: Iterable[str], entity: str, project: str) -> bool:
    return any(matches(pattern, entity, project) for pattern in patterns)


# ------------------------------------------------------------------ reading single values


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value.strip()


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*[smhdw]\s*)+")


def _duration(value: Any) -> float:
    """Seconds of `90s`, `15m`, `1h30m`, `1d`, or of a bare number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    if isinstance(value, str) and _DURATION.fullmatch(value.strip().lower()):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhdw])", value.lower())
        return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
    raise ValueError('a duration such as "90s", "15m", "6h" or "1d", or a number of seconds')


def _positive_duration(value: Any) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise ValueError("a duration above 0")
    return seconds


_BYTE_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4,
               "ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}  # fmt: skip
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.I)


def read_bytes(value: Any) -> int:
    """Return the bytes of `500MB`, `20 GB`, `1.5TiB`, or of a bare number. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a size such as "500MB", "20GB" or "1TiB", or a number of bytes')
    return int(float(match[1]) * _BYTE_UNITS[(match[2] or "").lower()])


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high:,}")
        return value

    return read


def _number(*, positive: bool = False) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        wrong = isinstance(value, bool) or not isinstance(value, int | float)
        if wrong or not 0 <= value < math.inf or (positive and value == 0):
            raise ValueError("a number above 0" if positive else "a number, 0 or above")
        return float(value)

    return read


def _choice(*values: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in values:
            raise ValueError(" or ".join(f'"{each}"' for each in values))
        return value.lower()

    return read


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError('a list of texts such as ["team/*", "team/vision"]')
    for each in value:
        _pattern(each)
    return tuple(value)


def _pattern(text: str) -> str:
    try:
        check_pattern(text)
    except PathError as error:
        raise ValueError(f"entity/project, as globs or not: {error}") from None
    return text


def _globs(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise ValueError("a list of names, as globs or not")
    return tuple(value)


def _kinds(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not set(map(str, value)) <= set(KINDS):
        raise ValueError(f"a list of {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in value)


def _filters(value: Any) -> dict[str, Any]:
    """A run filter: a TOML table, or JSON in a text."""
    if isinstance(value, str):
        import json

        try:
            value = json.loads(value, parse_constant=_no_constant)
        except ValueError as error:
            raise ValueError(f"a filter in W&B's syntax; this JSON cannot be read ({error})") from None  # fmt: skip
    if not isinstance(value, dict):
        raise ValueError('a filter in W&B\'s syntax, such as { state = "finished" }')
    return {str(key): _json_value(item) for key, item in value.items()}


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _json_value(value: Any) -> Any:
    """TOML's times become the texts W&B compares with (UTC, ending in Z)."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        raise ValueError(f"times with their zone, such as 2024-05-01T00:00:00Z; {value} has none")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("finite numbers")
    return value


def _store(value: Any) -> str:
    text = _text(value)
    if "://" in text and not re.match(r"(sqlite|postgres(ql)?)(\+\w+)?://", text):
        raise ValueError("a file path, sqlite:///path or postgresql://user@host/database")
    return text


_SITES = {
    "wandb.ai": "https://api.wandb.ai",
    "app.wandb.ai": "https://api.wandb.ai",
    "www.wandb.ai": "https://api.wandb.ai",
    "forge.coreweave.com": "https://api.forge.coreweave.com",
}
"""Hosts of the web app → the address of the API behind it."""


def _base_url(value: Any) -> str:
    text = _text(value)
    try:
        parts = urlsplit(text)
        _port = parts.port
    except ValueError:
        raise ValueError("an address such as https://api.wandb.ai") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", text):
        raise ValueError("an http or https address such as https://api.wandb.ai")
    if parts.username or parts.password:
        raise ValueError("an address without user and password; the key goes to WANDB_API_KEY or netrc")  # fmt: skip
    if parts.query or parts.fragment:
        raise ValueError("an address without ? and #")
    if parts.hostname in _SITES:
        raise ValueError(f"the API's address, not the web app's: {_SITES[parts.hostname]}")
    if parts.scheme == "http" and parts.hostname in ("api.wandb.ai", "api.forge.coreweave.com"):
        raise ValueError(f"https://{parts.hostname}: a key must not travel in the clear")
    return text.rstrip("/").removesuffix("/graphql")


# ------------------------------------------------------------------ the table of settings


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of mirror.toml: `[section] name`, read by `read` into `attribute`."""

    section: str
    name: str
    attribute: str
    read: Callable[[Any], Any]
    default: str
    text: str
    variable: str | None = None
    example: str | None = None


def _s(section: str, name: str, read: Callable[[Any], Any], default: str, text: str, **more: Any) -> Setting:  # fmt: skip
    return Setting(section, name, more.pop("attribute", name), read, default, text, **more)


SETTINGS: tuple[Setting, ...] = (
    _s("server", "base_url", _base_url, '"https://api.wandb.ai"',
       "Address of the W&B API. Without it, the one of W&B's own settings file.",
       variable="WANDB_BASE_URL", example='"https://wandb.example.org"'),
    _s("server", "entity", _text, "none",
       "Entity of paths that name none, such as `vision`.", variable="WANDB_ENTITY",
       example='"my-team"'),
    _s("store", "url", _store, "a file in the user's data folder",
       "The database: a file path (relative to this file), or a SQLAlchemy URL of SQLite or PostgreSQL. "
       "Leave a PostgreSQL password to ~/.pgpass.",
       attribute="store", variable="MIRROR_STORE", example='"postgresql://mirror@db.example.org/mirror"'),
    _s("store", "journal_mode", _choice(*JOURNAL_MODES), '"wal"',
       'SQLite\'s journal. "wal" lets readers work during a sync and needs a local disk; "delete" works on '
       "network file systems."),
    _s("store", "query_log", _flag, "true",
       "Note which keys are filtered on, for `mirror index advise`."),
    _s("api", "mode", _choice(*MODES), '"auto"',
       '`mirror.Api`: "auto" answers from the mirror and asks the server for what it lacks, "offline" never '
       'opens a connection, "online" refreshes first.', variable="MIRROR_MODE"),
    _s("api", "max_age", _duration, "none",
       "`mirror.Api`: how old an answer of the mirror may be; older ones are refreshed, or refused offline.",
       attribute="max_age_s", example='"1h"'),
    _s("api", "read_through", _flag, "true",
       "`mirror.Api` in auto mode: keep in the mirror what was fetched from the server for an answer."),
    _s("sync", "include", _patterns, "[]",
       "Projects that `mirror sync` takes when it is given none; each half may be a glob.",
       example='["my-team/*", "other-team/vision-*"]'),
    _s("sync", "exclude", _patterns, "[]", "Projects left out of those.",
       example='["my-team/scratch-*"]'),
    _s("sync", "lag", _duration, '"5m"',
       "How far each pass reaches back before the last one, for clocks that differ and rows that were "
       "written late.", attribute="lag_s"),
    _s("sync", "reconcile_every", _duration, '"1d"',
       "How often all runs are listed to find edits of ended runs and deletions.",
       attribute="reconcile_every_s"),
    _s("sync", "reread_days", _number(), "7",
       "Days in which every run's config and summary is read again, a share at each reconcile; 0: never."),
    _s("sync", "interval", _positive_duration, '"15m"',
       "`mirror sync --watch`: from the start of one round to the next.", attribute="interval_s"),
    _s("sync", "jitter", _duration, '"1m"',
       "`mirror sync --watch`: at most so much is added to the interval, at random.",
       attribute="jitter_s"),
    _s("sync", "workers", _integer(1, 64), "4", "Projects synced at the same time."),
    _s("sync", "page_size", _integer(1, 10_000), "100",
       "Runs in the first page of documents; later pages adapt so that one takes 2 to 5 seconds."),
    _s("sync", "page_size_max", _integer(1, 10_000), "1000", "Most runs in one page."),
    _s("sync", "registries", _flag, "true",
       "Mirror the registries of the organizations that the key belongs to."),
    _s("sync", "catalogue", _flag, "true",
       "Keep the key catalogue (`mirror keys`, quicker filters) while syncing."),
    _s("sync", "timeout", _positive_duration, '"30s"', "Longest wait for one answer of the server.",
       attribute="timeout_s"),
    _s("sync", "max_rps", _number(positive=True), "none",
       "Most requests a second, all workers together. Without it: one a second, more where the server's "
       "rate-limit headers allow it, no limit on this machine (localhost).", example="5"),
    _s("contents", "folder", _text, "beside the database",
       "Where the contents of artifacts and run files are kept (relative to this file). Beside a SQLite file "
       "it is named like it with `.blobs` after it; for PostgreSQL it is in the user's data folder.",
       example='"/data/mirror-contents"'),
    _s("contents", "quota", read_bytes, "none",
       "At most so much is kept; what was not used for longest goes first. Only contents go, never metadata. "
       "A file larger than that is fetched each time.", attribute="quota_bytes", example='"200GB"'),
    _s("contents", "link", _choice("copy", "hardlink"), '"copy"',
       'How contents get into a download folder. "copy" shares the blocks where the file system can (Btrfs, '
       'XFS); "hardlink" takes no space anywhere on the same disk, and the files are read-only.'),
    _s("contents", "threads", _integer(1, 10), "8", "Files downloaded at the same time."),
    _s("projects", "filters", _filters, "{}",
       "Mirror only the runs that match, in W&B's filter syntax: a table, or JSON in a text.",
       example='{ state = "finished", "config.lr" = { "$gt" = 0.001 } }'),
    _s("projects", "take", _kinds, '["reports", "team", "files", "artifacts"]',
       "What is mirrored besides runs and sweeps: reports, the entity's members, the file lists of runs, artifacts."),
    _s("projects", "artifact_types", _globs, "[]",
       "Mirror only artifacts of these types; empty: of all.", example='["model", "dataset-*"]'),
    _s("projects", "artifact_collections", _globs, "[]",
       "Mirror only these artifact collections; empty: all.", example='["resnet*"]'),
    _s("projects", "depth", _choice(*DEPTHS), '"graph"',
       "How deep artifacts are mirrored: graph (versions, aliases, lineage) or manifests (their entries too)."),
)  # fmt: skip

SECTIONS = {
    "server": "The W&B server. The API key is never kept here: set WANDB_API_KEY, or run `wandb login`.",
    "store": "Where the mirror is kept.",
    "api": "How `mirror.Api` answers.",
    "sync": "What `mirror sync` takes, and how.",
    "contents": "The contents of artifacts and run files, kept once each, for downloads of `mirror.Api` and of commands.",
    "projects": "Settings of one project, or of all that a glob takes (the first that fits wins).",
}
PROJECT_EXAMPLE = '[projects."my-team/vision"]'


def settings_of(section: str) -> list[Setting]:
    """Return the settings of a section of mirror.toml."""
    return [setting for setting in SETTINGS if setting.section == section]


# ------------------------------------------------------------------ texts made from the table


def template(*, include: Iterable[str] = (), store: str | None = None) -> str:
    """Return a mirror.toml with every setting commented out, but for those given."""
    given = {"sync.include": _toml_list(include), "store.url": _toml_text(store)}
    lines = [
        "# Settings of mirror. Every setting is here with its default; take away the # to change one.",
        '# Durations are texts such as "90s", "15m", "6h", "1d", or numbers of seconds.',
        "# An argument wins over the environment, the environment over this file.",
    ]
    for section, about in SECTIONS.items():
        inactive = section == "projects"
        lines += ["", f"# {about}", f"# {PROJECT_EXAMPLE}" if inactive else f"[{section}]"]
        for setting in settings_of(section):
            lines += ["", *_wrapped(setting), _assignment(setting, given)]
    return "\n".join(lines) + "\n"


def _assignment(setting: Setting, given: Mapping[str, str | None]) -> str:
    value = given.get(f"{setting.section}.{setting.name}")
    if value is not None:
        return f"{setting.name} = {value}"
    return f"# {setting.name} = {setting.example or setting.default}"


def _toml_list(values: Iterable[str]) -> str | None:
    texts = [_toml_text(value) or "" for value in values]
    return f"[{', '.join(texts)}]" if texts else None


def _toml_text(value: str | None) -> str | None:
    import json

    # A JSON string is a TOML basic string, but for DEL.
    return None if value is None else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")  # fmt: skip


def _wrapped(setting: Setting) -> list[str]:
    import textwrap

    notes = [f"Default: {setting.default}."] if setting.example else []
    notes += [f"Environment: {setting.variable}."] if setting.variable else []
    words = " ".join([setting.text, *notes])
    return textwrap.wrap(words, 98, initial_indent="# ", subsequent_indent="# ")


_INTRODUCTION = """\
# Configuration

<!-- Written by mirror.config.reference() from the table in mirror/config.py: change it there. -->

`mirror` needs no configuration: an API key and a path are enough. What can be set is set by, in this
order: an argument or a command's option, an environment variable, `mirror.toml`, W&B's own settings
files (server, entity, project), the default.

`mirror.toml` is the file named by `--config` or `MIRROR_CONFIG`; else the one in the current folder
or the nearest folder above; else `~/.config/mirror/mirror.toml` (`$XDG_CONFIG_HOME/mirror/`; on macOS
`~/Library/Application Support/mirror/`). `mirror init` writes one. A setting that does not exist, or a
value that cannot be read, stops the command and names file and line.

Durations are texts such as `"90s"`, `"15m"`, `"6h"`, `"1d"`, or numbers of seconds.
"""

_KEY_TEXT = """\
## The API key

Taken from the argument `api_key`, else `WANDB_API_KEY`, else the netrc file (`NETRC`, else `~/.netrc`)
under the server's host, where `wandb login` keeps it. It has no place in `mirror.toml`. `mirror doctor`
says which one is used.

## Environment variables

| variable | what it sets |
|---|---|
"""

_OTHER_VARIABLES = {
    "MIRROR_CONFIG": "the `mirror.toml` to read",
    "WANDB_API_KEY": "the API key",
    "WANDB_IDENTITY_TOKEN_FILE": "not supported: nothing is read from it, and `mirror doctor` says so",
    "NETRC": "the netrc file to look for the key in",
    "WANDB_PROJECT": "project of paths that name only a run",
    "WANDB_CONFIG_DIR": "folder of W&B's `settings` file, else `~/.config/wandb`",
    "WANDB_DIR": "folder that holds `wandb/settings`, else the current folder",
    "XDG_DATA_HOME": "folder of the default store `mirror/mirror.db`, else `~/.local/share`",
    "XDG_CONFIG_HOME": "folder of the user's `mirror/mirror.toml`, else `~/.config`",
}


def reference() -> str:
    """Return docs/configuration.md."""
    parts = [_INTRODUCTION]
    for section, about in SECTIONS.items():
        title = 'projects."entity/project"' if section == "projects" else section
        parts.append(f"## `[{title}]`\n\n{about}\n\n| setting | default | what it does |\n|---|---|---|")  # fmt: skip
        parts[-1] += "".join(f"\n{_table_row(setting)}" for setting in settings_of(section)) + "\n"
    variables = {s.variable: f"`[{s.section}] {s.name}`" for s in SETTINGS if s.variable}
    rows = [f"| `{name}` | {what} |" for name, what in sorted((variables | _OTHER_VARIABLES).items())]  # fmt: skip
    parts.append(_KEY_TEXT + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _table_row(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default[0] in '"[{0123456789tf' else setting.default
    extra = f" Example: `{setting.example}`." if setting.example else ""
    extra += f" Environment: `{setting.variable}`." if setting.variable else ""
    return f"| `{setting.name}` | {default} | {setting.text}{extra} |"
