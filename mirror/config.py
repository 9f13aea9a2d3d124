"""From arguments, environment, mirror.toml and W&B's own files to one frozen Config.

`resolve` is the only reader of the environment, netrc and mirror.toml; below it all is arguments.
What can be set, and how a value is read, is the table in `mirror.settings`. Nothing here opens a
socket or a database, and importing it is cheap.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from mirror.errors import ConfigError, PathError
from mirror.paths import check_pattern, matches
from mirror.settings import (
    PROJECT_EXAMPLE,
    SECTIONS,
    SETTINGS,
    ContentSettings,
    ProjectSettings,
    Setting,
    SyncSettings,
    reference,
    settings_of,
    template,
)

__all__ = [
    "DEFAULT_BASE_URL",
    "SETTINGS",
    "Config",
    "ContentSettings",
    "ProjectSettings",
    "SyncSettings",
    "reference",
    "resolve",
    "template",
]

DEFAULT_BASE_URL = "https://api.wandb.ai"
FILE_NAME = "mirror.toml"

# ------------------------------------------------------------------ the values


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, resolved. Neither the key nor the store's password is in its repr."""

    base_url: str
    store: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    key_source: str = "none"
    entity: str | None = None
    project: str | None = None
    journal_mode: str = "wal"
    query_log: bool = True
    mode: str = "auto"
    max_age_s: float | None = None
    read_through: bool = True
    sync: SyncSettings = field(default_factory=SyncSettings)
    contents: ContentSettings = field(default_factory=ContentSettings)
    projects: tuple[tuple[str, ProjectSettings], ...] = ()
    config_path: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where `store`, `base_url`, `entity`, `project` and `mode` came from, in words."""

    def project_settings(self, path: str) -> ProjectSettings:
        """Return the settings of `entity/project`: its own table, else the first glob that takes it."""
        entity, _, project = path.partition("/")
        tables = dict(self.projects)
        if path in tables:
            return tables[path]
        return next(
            (found for name, found in self.projects if matches(name, entity, project)),
            ProjectSettings(),
        )


# ------------------------------------------------------------------ resolving


def resolve(
    *,
    store: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    config: str | os.PathLike[str] | None = None,
    mode: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Config:
    """Return the settings: argument > environment > mirror.toml > W&B's settings > default.

    `config` is the mirror.toml to read; without it MIRROR_CONFIG, then mirror.toml in `cwd` or a
    folder above, then in the user's config folder. Raises ConfigError with file and line.
    """
    named = os.environ if environ is None else environ
    place = _Place(
        {name: value for name, value in named.items() if value.strip()},
        Path.cwd() if cwd is None else Path(cwd),
    )
    path, stumbled_on = _config_path(config, place)
    file = _File() if path is None else _File.load(path)
    sources = _Sources(place, file, _wandb_settings(place))
    address = sources.pick("base_url", base_url, "WANDB_BASE_URL", "server.base_url")
    if stumbled_on and address and sources.said["base_url"] == str(path):
        _check_owner(file)
    url = sources.pick("store", None if store is None else os.fspath(store), "MIRROR_STORE", "store.url")  # fmt: skip
    from_file = path is not None and sources.said.get("store") == str(path)
    folder = path.parent if path is not None and from_file else place.cwd
    database = _absolute(url, folder, place) if url else str(place.data_folder() / "mirror.db")
    key, key_source = _key(api_key, address or DEFAULT_BASE_URL, place)
    api = file.section("api")
    api["mode"] = sources.pick("mode", mode, "MIRROR_MODE", "api.mode") or "auto"
    return Config(
        base_url=address or DEFAULT_BASE_URL,
        api_key=key,
        key_source=key_source,
        entity=sources.pick("entity", None, "WANDB_ENTITY", "server.entity"),
        project=sources.pick("project", None, "WANDB_PROJECT"),
        **{**file.section("store"), "store": database},
        **api,
        sync=_sync_settings(file),
        contents=_content_settings(file, place, database),
        projects=file.projects,
        config_path=path,
        sources=sources.said,
    )


_BY_NAME = {f"{setting.section}.{setting.name}": setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class _Sources:
    """Picks single values by precedence, and notes in `said` where each came from."""

    place: _Place
    file: _File
    wandb: Mapping[str, tuple[str, Path]]
    said: dict[str, str] = field(default_factory=dict)

    def pick(self, name: str, argument: str | None, variable: str, toml: str = "") -> str | None:
        """Return the value of an argument, a variable, mirror.toml or W&B's settings; else None."""
        setting = _BY_NAME.get(toml)
        if argument is not None:
            return self._note(name, f"argument {name}", setting, argument)
        if variable in self.place.environ:
            return self._note(name, variable, setting, self.place.environ[variable])
        if toml in self.file.values:
            self.said[name] = str(self.file.path)
            return str(self.file.values[toml])
        if name in self.wandb:
            value, path = self.wandb[name]
            return self._note(name, str(path), setting, value)
        return None

    def _note(self, name: str, where: str, setting: Setting | None, value: str) -> str:
        self.said[name] = where
        return _checked(setting, value, where)


def _checked(setting: Setting | None, value: str, where: str) -> str:
    if setting is None:
        return value.strip()
    try:
        return str(setting.read(value))
    except ValueError as error:
        raise ConfigError(f"{_shown(value)}: expected {error}", where=where) from None


def _shown(value: Any) -> str:
    """A value for a message; what may be a password is cut out."""
    text = value if isinstance(value, str) else repr(value)
    text = re.sub(r"//[^/@\s]*@", "//…@", text)
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return repr(text) if isinstance(value, str) else text


def _sync_settings(file: _File) -> SyncSettings:
    made = SyncSettings(**file.section("sync"))
    if made.page_size > made.page_size_max:
        name = "sync.page_size" if "sync.page_size" in file.values else "sync.page_size_max"
        raise ConfigError(
            f"page_size {made.page_size} is above page_size_max {made.page_size_max}",
            where=file.where(name),
        )
    return made


def _content_settings(file: _File, place: _Place, database: str) -> ContentSettings:
    given = file.section("contents")
    if "folder" in given and file.path is not None:
        given["folder"] = str(place.expand(given["folder"], file.path.parent))
    if "folder" in given:
        return ContentSettings(**given)
    with contextlib.suppress(ConfigError):  # no home, and maybe nobody asks for contents
        given["folder"] = _folder_of(database, place)
    return ContentSettings(**given, is_default=True)


def _folder_of(database: str, place: _Place) -> str:
    """Where contents are kept if nothing is said: beside a SQLite file, else in the data folder."""
    match = re.match(r"sqlite(?:\+\w+)?:///([^?]*)", database, re.DOTALL)
    path = match[1] if match else database
    if (match or "://" not in database) and path and not path.startswith((":memory:", "file:")):
        return f"{path}.blobs"
    if match is not None:
        return str(place.data_folder() / "blobs" / "memory")
    import hashlib

    bare = re.sub(r"//([^/@:]*)(:[^/@]*)?@", r"//\1@", database)  # a new password is no new store
    return str(place.data_folder() / "blobs" / hashlib.sha256(bare.encode()).hexdigest()[:16])


# ------------------------------------------------------------------ places


@dataclass(frozen=True, slots=True)
class _Place:
    """The process's surroundings: variables that are not empty, and the folder it is in."""

    environ: Mapping[str, str] = field(repr=False)
    cwd: Path

    def home(self) -> Path:
        """The user's home folder. Raises ConfigError where there is none."""
        given = self.environ.get("HOME")
        if given:
            return Path(given)
        try:
            return Path.home()
        except RuntimeError:
            raise ConfigError("there is no home folder: set HOME, or name the store with MIRROR_STORE") from None  # fmt: skip

    def data_folder(self) -> Path:
        """Where the default store lies."""
        return self._user_folder("XDG_DATA_HOME", ".local/share")

    def config_folder(self) -> Path:
        """Where a user's own mirror.toml lies."""
        return self._user_folder("XDG_CONFIG_HOME", ".config")

    def _user_folder(self, variable: str, default: str) -> Path:
        given = self.environ.get(variable)
        if given and Path(given).is_absolute():
            return Path(given) / "mirror"
        if sys.platform == "darwin":
            return self.home() / "Library" / "Application Support" / "mirror"
        return self.home() / default / "mirror"

    def expand(self, text: str, folder: Path | None = None) -> Path:
        """The absolute path of a text that may start with `~`, relative to a folder."""
        if text == "~" or text.startswith("~/"):
            return self.home() / text[2:]
        if text.startswith("~"):
            return Path(text).expanduser()
        return (folder or self.cwd) / text


def _absolute(url: str, folder: Path, place: _Place) -> str:
    """A store's URL or path with `~` and relative paths resolved."""
    if url == ":memory:":  # SQLite's name for no file at all
        return url
    if "://" not in url:
        return str(place.expand(url, folder))
    match = re.match(r"(sqlite(?:\+\w+)?:///)([^?]*)(.*)", url, re.DOTALL)
    if match is None or match[2] in ("", ":memory:") or match[2].startswith(("/", "file:")):
        return url
    return f"{match[1]}{place.expand(match[2], folder)}{match[3]}"


def _config_path(
    argument: str | os.PathLike[str] | None, place: _Place
) -> tuple[Path | None, bool]:
    """The mirror.toml to read, and whether it was merely found in a folder above."""
    named = os.fspath(argument) if argument is not None else place.environ.get("MIRROR_CONFIG")
    if named:
        path = place.expand(named)
        if path.is_dir():
            path = path / FILE_NAME
        if not path.is_file():
            where = "argument config" if argument is not None else "MIRROR_CONFIG"
            raise ConfigError(f"there is no file {path}: `mirror init` writes one", where=where)
        return path, False
    for folder in (place.cwd, *place.cwd.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME, True
    try:
        own = place.config_folder() / FILE_NAME
    except ConfigError:  # no home: there is no such file, and nobody asked for it
        return None, False
    return (own, False) if own.is_file() else (None, False)


def _check_owner(file: _File) -> None:
    """Refuse a server from somebody else's file: the key in the environment would go there."""
    assert file.path is not None
    owner = file.path.stat().st_uid
    if owner not in (0, os.getuid()):
        raise ConfigError(
            f"this file belongs to another user (uid {owner}) and says where your API key is sent: "
            "if you trust it, name it with --config or MIRROR_CONFIG",
            where=file.where("server.base_url"),
        )


# ------------------------------------------------------------------ mirror.toml


@dataclass(frozen=True, slots=True)
class _File:
    """A mirror.toml that was read and checked; values by `section.name`."""

    path: Path | None = None
    text: str = field(default="", repr=False)
    values: Mapping[str, Any] = field(default_factory=dict)
    projects: tuple[tuple[str, ProjectSettings], ...] = ()

    @classmethod
    def load(cls, path: Path) -> _File:
        """Read a file. Raises ConfigError with file and line."""
        import tomllib

        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"this is not UTF-8 text ({error.reason})", where=str(path)) from None
        except OSError as error:
            raise ConfigError(
                f"cannot be read: {error.strerror or error}", where=str(path)
            ) from None
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            message, line = _toml_message(error, text)
            raise ConfigError(f"this is no TOML: {message}", where=f"{path}:{line}") from None
        raw = cls(path, text)
        values: dict[str, Any] = {}
        for section, table in tree.items():
            raw._check_section(section, table)
            if section != "projects":
                for name, value in table.items():
                    values[f"{section}.{name}"] = raw._read((section, name), section, name, value)
        return cls(path, text, values, raw._read_projects(tree.get("projects", {})))

    def section(self, name: str) -> dict[str, Any]:
        """The values given in a section, by attribute of Config or SyncSettings."""
        return {
            setting.attribute: self.values[f"{name}.{setting.name}"]
            for setting in settings_of(name)
            if f"{name}.{setting.name}" in self.values
        }

    def where(self, name: str) -> str:
        """File and line of a setting such as `sync.lag`."""
        return self._place(tuple(name.split(".", 1)))

    def _place(self, keys: tuple[str, ...]) -> str:
        line = _line_of(self.text, keys)
        return f"{self.path}:{line}" if line else str(self.path)

    def _check_section(self, section: str, table: Any) -> None:
        if section in SECTIONS and isinstance(table, dict):
            return
        where = self._place((section,))
        if section in SECTIONS:
            hint = f"write [{section}] above its settings"
            if section == "store":
                hint = 'write\n\n    [store]\n    url = "..."\n'
            raise ConfigError(f"{section} is a table: {hint}", where=where)
        _refuse_unknown(section, None, where)

    def _read(self, keys: tuple[str, ...], section: str, name: str, value: Any) -> Any:
        setting = _BY_NAME.get(f"{section}.{name}")
        if setting is None:
            _refuse_unknown(name, section, self._place(keys))
        try:
            return setting.read(value)
        except ValueError as error:
            raise ConfigError(
                f"{name} = {_shown(value)}: expected {error}", where=self._place(keys)
            ) from None

    def _read_projects(self, tables: Mapping[str, Any]) -> tuple[tuple[str, ProjectSettings], ...]:
        found = []
        for path, table in tables.items():
            keys = ("projects", path)
            if not isinstance(table, dict):
                raise ConfigError(
                    f"projects.{path} is a table: write {PROJECT_EXAMPLE}", where=self._place(keys)
                )
            try:
                check_pattern(path)
            except PathError as error:
                raise ConfigError(str(error), where=self._place(keys)) from None
            values = {name: self._read((*keys, name), "projects", name, value) for name, value in table.items()}  # fmt: skip
            found.append((path, ProjectSettings(**values)))
        return tuple(found)


def _refuse_unknown(name: str, section: str | None, where: str) -> NoReturn:
    """Raise ConfigError for a setting or section that does not exist, with what was likely meant."""
    here = f" in [{section}]" if section else ""
    if re.sub(r"[^a-z]", "", name.lower()) in ("apikey", "key", "token", "password", "secret"):
        raise ConfigError(
            f"unknown setting {name}{here}: keys are not kept in mirror.toml; set WANDB_API_KEY, or run "
            "`wandb login`, which keeps it in ~/.netrc",
            where=where,
        )
    raise ConfigError(f"unknown setting {name}{here}{_meant(name, section)}", where=where)


def _meant(name: str, section: str | None) -> str:
    import difflib

    lowered = name.lower().replace("-", "_")
    elsewhere = [s for s in SETTINGS if lowered in (s.name, s.attribute)]
    if elsewhere and (elsewhere[0].section != section or elsewhere[0].name != name):
        found = elsewhere[0]
        table = PROJECT_EXAMPLE if found.section == "projects" else f"[{found.section}]"
        return f": did you mean {found.name} under {table}?"
    known = [s.name for s in SETTINGS if s.section == section] if section else [*SECTIONS]
    close = difflib.get_close_matches(lowered, known, n=1) or difflib.get_close_matches(lowered, [s.name for s in SETTINGS], n=1)  # fmt: skip
    if close and close[0] in known:
        return f": did you mean {close[0] if section else f'[{close[0]}]'}?"
    if close:
        return f": did you mean {close[0]} under [{next(s.section for s in SETTINGS if s.name == close[0])}]?"
    return f"; known: {', '.join(known)}"


def _toml_message(error: Exception, text: str) -> tuple[str, int]:
    """The parser's words and the line they are about."""
    message = str(error)
    match = re.search(r"\s*\(at line (\d+), column (\d+)\)", message)
    if match is None:  # "(at end of document)"
        return message, text.count("\n") + 1
    line = int(match[1])
    return f"{message[: match.start()]} (column {match[2]})", line


def _line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """The line on which a key is set.

    Asks the parser itself, so it is right for every spelling of TOML: of the file's beginnings that
    parse, the shortest one that has the key ends with it. Once there, the key stays: bisect.
    """
    lines = text.splitlines(keepends=True)
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high) // 2
        end, tree = _parsed(lines, middle, len(lines), step=1)
        if _has(tree, keys):
            high = middle
        else:
            low = end + 1
    if not _has(_parsed(lines, low, len(lines), step=1)[1], keys):
        return None
    # A value may go on over lines: it begins after the last beginning that parses without it.
    return _parsed(lines, low - 1, 0, step=-1)[0] + 1


def _parsed(lines: list[str], start: int, stop: int, *, step: int) -> tuple[int, Any]:
    """The first number of lines from `start` to `stop` that parses, and what it says."""
    import tomllib

    for count in range(start, stop + step, step):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            return count, tomllib.loads("".join(lines[:count]))
    return stop, None


def _has(tree: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


# ------------------------------------------------------------------ W&B's own files


def _wandb_settings(place: _Place) -> dict[str, tuple[str, Path]]:
    """base_url, entity and project of W&B's settings files: the folder's own before the user's."""
    import configparser

    found: dict[str, tuple[str, Path]] = {}
    for path in _wandb_settings_paths(place):
        # A value may hold a percent sign, and neither file is ours to complain about.
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        for name in ("base_url", "entity", "project"):
            value = parser.get("default", name, fallback="").strip()
            if value:
                found.setdefault(name, (value, path))
    return found


def _wandb_settings_paths(place: _Place) -> list[Path]:
    paths = [place.expand(place.environ.get("WANDB_DIR", "")) / "wandb" / "settings"]
    folder = place.environ.get("WANDB_CONFIG_DIR")
    if folder:
        paths.append(place.expand(folder) / "settings")
    else:
        with contextlib.suppress(ConfigError):  # no home folder
            paths.append(place.home() / ".config" / "wandb" / "settings")
    return paths


_SAME_DEPLOYMENT = (
    frozenset({"api.wandb.ai", "api.forge.coreweave.com"}),
    frozenset({"api.qa.wandb.ai", "api.qa.forge.coreweave.com"}),
)
"""Hosts that serve the same W&B: `wandb login` may have kept the key under either name."""


def _key(argument: str | None, base_url: str, place: _Place) -> tuple[str | None, str]:
    """The API key and where it came from, in words."""
    if argument is not None and argument.strip():
        return _clean_key(argument, "argument api_key"), "argument api_key"
    if "WANDB_API_KEY" in place.environ:
        return _clean_key(place.environ["WANDB_API_KEY"], "WANDB_API_KEY"), "WANDB_API_KEY"
    key, source = _netrc_key(base_url, place)
    if "WANDB_IDENTITY_TOKEN_FILE" not in place.environ:
        return key, source
    # wandb would sign in with the token, maybe as somebody else: that must not pass in silence.
    if key is not None:
        return (
            key,
            f"{source}; identity tokens are not supported, WANDB_IDENTITY_TOKEN_FILE is unused",
        )
    return None, "none (WANDB_IDENTITY_TOKEN_FILE: identity tokens are not supported, set WANDB_API_KEY)"  # fmt: skip


def _clean_key(key: str, where: str) -> str:
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the API key has characters that no key has: copy it again", where=where)
    return key


def _netrc_key(base_url: str, place: _Place) -> tuple[str | None, str]:
    import netrc

    path = _netrc_path(place)
    if path is None:
        return None, "none"
    try:
        entries = netrc.netrc(path)
    except FileNotFoundError:
        return None, "none"
    except netrc.NetrcParseError as error:  # its text may quote what it met: the key
        return None, f"none ({path} cannot be read: line {error.lineno})"
    except (UnicodeDecodeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        return None, f"none ({path} cannot be read: {reason})"
    for host in _netrc_hosts(base_url):
        if host in entries.hosts:
            key = entries.hosts[host][2]
            if not key:
                return None, f"none ({path} has no password for {host})"
            return _clean_key(key, f"{path} ({host})"), f"{path} ({host})"
    return None, f"none ({path} has no entry for {urlsplit(base_url).netloc})"


def _netrc_path(place: _Place) -> Path | None:
    if "NETRC" in place.environ:
        return place.expand(place.environ["NETRC"])
    try:
        home = place.home()
    except ConfigError:
        return None
    return next((home / name for name in (".netrc", "_netrc") if (home / name).exists()), None)


def _netrc_hosts(base_url: str) -> list[str]:
    address = urlsplit(base_url)
    hosts = [address.netloc, address.hostname or ""]
    for same in _SAME_DEPLOYMENT:
        if address.hostname in same:
            hosts += sorted(same - {address.hostname})
    return [*dict.fromkeys(hosts), "default"]
