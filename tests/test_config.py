"""Settings: who wins, where the key comes from, and what the sentences say when a file is wrong."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mirror import config as configuration
from mirror.config import (
    DEFAULT_BASE_URL,
    Config,
    ContentSettings,
    ProjectSettings,
    SyncSettings,
    resolve,
)
from mirror.errors import ConfigError
from mirror.settings import SETTINGS, settings_of

ROOT = Path(__file__).parent.parent
KEY = "0123456789abcdef" * 3


class Place:
    """A home and a working folder of a test's own; nothing of the real ones is read."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.cwd = folder / "work" / "deep"
        self.home.mkdir()
        self.cwd.mkdir(parents=True)
        self.environ = {"HOME": str(self.home)}

    def toml(self, text: str) -> Path:
        path = self.cwd / "mirror.toml"
        path.write_text(text)
        return path

    def netrc(self, text: str) -> Path:
        path = self.home / ".netrc"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def wandb(self, text: str) -> Path:
        path = self.home / ".config" / "wandb" / "settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[default]\n{text}\n")
        return path

    def resolve(self, **arguments: Any) -> Config:
        environ = self.environ | arguments.pop("environ", {})
        return resolve(environ=environ, cwd=self.cwd, **arguments)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# ------------------------------------------------------------------ who wins


def test_without_anything_the_defaults_hold(place: Place) -> None:
    config = place.resolve()
    assert config.base_url == DEFAULT_BASE_URL
    assert config.store == str(_data_home(place) / "mirror" / "mirror.db")
    assert (config.mode, config.max_age_s, config.read_through) == ("auto", None, True)
    assert (config.journal_mode, config.query_log) == ("wal", True)
    assert (config.api_key, config.key_source, config.entity) == (None, "none", None)
    assert config.sync == SyncSettings()
    assert config.config_path is None


def _data_home(place: Place) -> Path:
    if sys.platform == "darwin":
        return place.home / "Library" / "Application Support"
    return place.home / ".local" / "share"


def test_the_data_folder_follows_xdg(place: Place) -> None:
    assert place.resolve(environ={"XDG_DATA_HOME": "/data"}).store == "/data/mirror/mirror.db"
    # The specification has relative paths ignored.
    assert place.resolve(environ={"XDG_DATA_HOME": "data"}).store.startswith(str(place.home))


ARGUMENT, VARIABLE, FILE, WANDB = "http://one", "http://two", "http://three", "http://four"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"argument", "variable", "file", "wandb"}, ARGUMENT),
        ({"variable", "file", "wandb"}, VARIABLE),
        ({"file", "wandb"}, FILE),
        ({"wandb"}, WANDB),
        (set(), DEFAULT_BASE_URL),
    ],
)
def test_argument_beats_environment_beats_file_beats_wandb(
    place: Place, given: set[str], expected: str
) -> None:
    if "file" in given:
        place.toml(f'[server]\nbase_url = "{FILE}"')
    if "wandb" in given:
        place.wandb(f"base_url = {WANDB}")
    config = place.resolve(
        base_url=ARGUMENT if "argument" in given else None,
        environ={"WANDB_BASE_URL": VARIABLE} if "variable" in given else {},
    )
    assert config.base_url == expected


def test_store_and_mode_have_the_same_order(place: Place) -> None:
    place.toml('[store]\nurl = "/file.db"\n[api]\nmode = "online"')
    environ = {"MIRROR_STORE": "/variable.db", "MIRROR_MODE": "offline"}
    argued = place.resolve(store="/argument.db", mode="auto", environ=environ)
    assert (argued.store, argued.mode) == ("/argument.db", "auto")
    assert (place.resolve(environ=environ).store, place.resolve(environ=environ).mode) == (
        "/variable.db",
        "offline",
    )
    assert (place.resolve().store, place.resolve().mode) == ("/file.db", "online")


def test_an_empty_variable_is_none(place: Place) -> None:
    config = place.resolve(environ={"WANDB_BASE_URL": "", "MIRROR_STORE": " ", "WANDB_API_KEY": ""})
    assert config.base_url == DEFAULT_BASE_URL
    assert config.api_key is None


def test_it_says_where_values_came_from(place: Place) -> None:
    path = place.toml('[store]\nurl = "x.db"')
    settings = place.wandb("entity = team\nproject = vision")
    config = place.resolve(mode="offline", environ={"WANDB_BASE_URL": "http://localhost:8080"})
    assert config.sources == {
        "base_url": "WANDB_BASE_URL",
        "store": str(path),
        "mode": "argument mode",
        "entity": str(settings),
        "project": str(settings),
    }
    assert (config.entity, config.project) == ("team", "vision")


def test_the_folders_own_wandb_settings_beat_the_users(place: Place) -> None:
    place.wandb("entity = theirs\nbase_url = http://far")
    near = place.cwd / "wandb" / "settings"
    near.parent.mkdir()
    near.write_text("[default]\nentity = ours\n")
    config = place.resolve()
    assert (config.entity, config.base_url) == ("ours", "http://far")


@pytest.mark.parametrize("text", ["no section", "[default]\nbase_url = %(x)s%\n", "[other]\nentity = x"])  # fmt: skip
def test_odd_wandb_settings_do_no_harm(place: Place, text: str) -> None:
    place.wandb("")
    (place.home / ".config/wandb/settings").write_text(text)
    if "base_url" in text:
        with pytest.raises(ConfigError, match=r"settings: '%\(x\)s%': expected an http or https address"):  # fmt: skip
            place.resolve()
    else:
        assert place.resolve().entity is None


# ------------------------------------------------------------------ stores


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("~/x.db", "{home}/x.db"),
        ("x.db", "{cwd}/x.db"),
        ("/x.db", "/x.db"),
        ("sqlite:///x.db", "sqlite:///{cwd}/x.db"),
        ("sqlite:////x.db", "sqlite:////x.db"),
        ("sqlite:///~/x.db", "sqlite:///{home}/x.db"),
        (":memory:", ":memory:"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
        ("sqlite:///file:x?mode=memory&uri=true", "sqlite:///file:x?mode=memory&uri=true"),
        ("postgresql://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+psycopg:///d?host=/run/pg", "postgresql+psycopg:///d?host=/run/pg"),
    ],
)
def test_a_stores_path_is_made_absolute(place: Place, given: str, expected: str) -> None:
    assert place.resolve(store=given).store == expected.format(home=place.home, cwd=place.cwd)


def test_a_path_in_the_file_is_relative_to_the_file(place: Place) -> None:
    path = place.cwd.parent / "mirror.toml"
    path.write_text('[store]\nurl = "x.db"')
    assert place.resolve().store == str(path.parent / "x.db")
    assert place.resolve(environ={"MIRROR_STORE": "x.db"}).store == str(place.cwd / "x.db")


def test_a_path_object_is_a_store(place: Place) -> None:
    assert place.resolve(store=Path("/a/b.db")).store == "/a/b.db"


# ------------------------------------------------------------------ the key


def test_the_key_of_the_argument_beats_the_environment_beats_netrc(place: Place) -> None:
    path = place.netrc(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    environ = {"WANDB_API_KEY": "from-variable"}
    argued = place.resolve(api_key=" from-argument\n", environ=environ)
    assert (argued.api_key, argued.key_source) == ("from-argument", "argument api_key")
    config = place.resolve(environ=environ)
    assert (config.api_key, config.key_source) == ("from-variable", "WANDB_API_KEY")
    config = place.resolve()
    assert (config.api_key, config.key_source) == (KEY, f"{path} (api.wandb.ai)")


@pytest.mark.parametrize(
    ("base_url", "machine", "found"),
    [
        ("https://api.wandb.ai", "api.wandb.ai", True),
        # The two hosts serve one deployment, and `wandb login` writes either.
        ("https://api.wandb.ai", "api.forge.coreweave.com", True),
        ("https://api.forge.coreweave.com", "api.wandb.ai", True),
        ("https://api.qa.wandb.ai", "api.wandb.ai", False),
        ("http://localhost:8080", "localhost:8080", True),
        ("http://localhost:8080", "localhost", True),
        ("http://localhost:8080", "localhost:9090", False),
        ("https://wandb.example.org", "api.wandb.ai", False),
    ],
)
def test_netrc_is_read_by_host(place: Place, base_url: str, machine: str, found: bool) -> None:
    path = place.netrc(f"machine {machine} login user password {KEY}\n")
    config = place.resolve(base_url=base_url)
    assert config.api_key == (KEY if found else None)
    host = base_url.partition("//")[2]
    expected = f"{path} ({machine})" if found else f"none ({path} has no entry for {host})"
    assert config.key_source == expected


def test_netrc_may_lie_elsewhere(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "my.netrc"
    path.write_text(f"default login user password {KEY}\n")
    config = place.resolve(environ={"NETRC": str(path)})
    assert (config.api_key, config.key_source) == (KEY, f"{path} (default)")
    assert place.resolve(environ={"NETRC": str(tmp_path / "missing")}).key_source == "none"


def test_an_identity_token_is_told_to_be_unsupported(place: Place) -> None:
    environ = {"WANDB_IDENTITY_TOKEN_FILE": "/run/token"}
    config = place.resolve(environ=environ)
    assert (config.api_key, config.key_source) == (
        None,
        "none (WANDB_IDENTITY_TOKEN_FILE: identity tokens are not supported, set WANDB_API_KEY)",
    )
    path = place.netrc(f"machine api.wandb.ai login user password {KEY}\n")
    config = place.resolve(environ=environ)
    assert config.api_key == KEY
    assert config.key_source == (
        f"{path} (api.wandb.ai); identity tokens are not supported, WANDB_IDENTITY_TOKEN_FILE is unused"
    )
    both = place.resolve(environ=environ | {"WANDB_API_KEY": KEY})
    assert both.key_source == "WANDB_API_KEY"


def test_a_broken_netrc_is_told_without_its_content(place: Place) -> None:
    path = place.netrc(f"machine api.wandb.ai\n  login user\n  passwort {KEY}\n")
    config = place.resolve()
    assert config.api_key is None
    assert config.key_source == f"none ({path} cannot be read: line 3)"


@pytest.mark.parametrize("key", ["two words", "ключ", "a\nb"])
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(place: Place, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place.resolve(environ={"WANDB_API_KEY": key})
    assert str(caught.value) == (
        "WANDB_API_KEY: the API key has characters that no key has: copy it again"
    )


def test_no_repr_shows_a_secret(place: Place) -> None:
    config = place.resolve(api_key=KEY, store="postgresql://me:sesame@db/mirror")
    for shown in (repr(config), str(config), repr(dataclasses.replace(config, mode="online"))):
        assert KEY not in shown
        assert "sesame" not in shown


# ------------------------------------------------------------------ finding mirror.toml


def test_the_nearest_file_above_is_read(place: Place) -> None:
    (place.cwd.parent / "mirror.toml").write_text("[sync]\nworkers = 2")
    assert place.resolve().sync.workers == 2
    assert place.resolve().config_path == place.cwd.parent / "mirror.toml"
    place.toml("[sync]\nworkers = 3")
    assert place.resolve().sync.workers == 3


def test_else_the_users_own(place: Place, tmp_path: Path) -> None:
    own = tmp_path / "xdg" / "mirror" / "mirror.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[sync]\nworkers = 5")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert place.resolve(environ=environ).sync.workers == 5
    place.toml("[sync]\nworkers = 3")
    assert place.resolve(environ=environ).sync.workers == 3


def test_a_named_file_wins(place: Place, tmp_path: Path) -> None:
    place.toml("[sync]\nworkers = 3")
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("[sync]\nworkers = 1")
    two.write_text("[sync]\nworkers = 2")
    environ = {"MIRROR_CONFIG": str(one)}
    assert place.resolve(environ=environ).sync.workers == 1
    assert place.resolve(config=two, environ=environ).sync.workers == 2
    # A folder stands for the file in it.
    assert place.resolve(config=place.cwd, environ=environ).sync.workers == 3


@pytest.mark.parametrize(
    ("by", "arguments"),
    [
        ("argument config", {"config": "nowhere.toml"}),
        ("MIRROR_CONFIG", {"environ": {"MIRROR_CONFIG": "nowhere.toml"}}),
    ],
)
def test_a_named_file_that_is_not_there_is_an_error(
    place: Place, by: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(
        ConfigError, match=rf"{by}: there is no file .*nowhere\.toml: `mirror init`"
    ):
        place.resolve(**arguments)


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another user")
def test_a_file_of_somebody_else_cannot_redirect_the_key(place: Place) -> None:
    path = place.toml('[server]\nbase_url = "http://evil"\n')
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match=r"mirror\.toml:2: this file belongs to another user"):
        place.resolve()
    assert place.resolve(config=path).base_url == "http://evil"
    # What sends the key nowhere is nobody's harm.
    path.write_text("[sync]\nworkers = 2\n")
    assert place.resolve().sync.workers == 2


# ------------------------------------------------------------------ what the file may say


def test_every_setting_is_read(place: Place) -> None:
    place.toml("""
[server]
base_url = "https://wandb.example.org/"
entity = "team"
[store]
url = "/data/mirror.db"
journal_mode = "delete"
query_log = false
[api]
mode = "offline"
max_age = "1h30m"
read_through = false
[sync]
include = ["team/*"]
exclude = ["team/scratch-*"]
lag = 60
reconcile_every = "12h"
reread_days = 0
interval = "90s"
jitter = 0
workers = 8
page_size = 50
page_size_max = 500
registries = false
catalogue = false
timeout = 2.5
max_rps = 5
[contents]
folder = "contents"
quota = "1.5GB"
link = "hardlink"
threads = 2
[projects."team/vision"]
filters = { state = "finished", "config.lr" = { "$gt" = 0.001 } }
take = ["files"]
artifact_types = ["model"]
artifact_collections = ["resnet*"]
depth = "manifests"
[projects."team/*"]
filters = '{"tags": {"$in": ["keep"]}}'
""")
    config = place.resolve()
    assert config == Config(
        base_url="https://wandb.example.org",
        store="/data/mirror.db",
        entity="team",
        journal_mode="delete",
        query_log=False,
        mode="offline",
        max_age_s=5400.0,
        read_through=False,
        sync=SyncSettings(
            include=("team/*",),
            exclude=("team/scratch-*",),
            lag_s=60.0,
            reconcile_every_s=43_200.0,
            reread_days=0.0,
            interval_s=90.0,
            jitter_s=0.0,
            workers=8,
            page_size=50,
            page_size_max=500,
            catalogue=False,
            registries=False,
            timeout_s=2.5,
            max_rps=5.0,
        ),
        contents=ContentSettings(str(place.cwd / "contents"), 1_500_000_000, "hardlink", 2),
        projects=config.projects,
        config_path=place.cwd / "mirror.toml",
    )
    assert config.project_settings("team/vision") == ProjectSettings(
        {"state": "finished", "config.lr": {"$gt": 0.001}},
        ("files",),
        ("model",),
        ("resnet*",),
        "manifests",
    )
    assert config.project_settings("team/speech").filters == {"tags": {"$in": ["keep"]}}
    assert config.project_settings("other/x") == ProjectSettings()
    named = set(tomllib.loads((place.cwd / "mirror.toml").read_text())["sync"])
    assert named == {setting.name for setting in settings_of("sync")}


@pytest.mark.parametrize(
    ("store", "folder"),
    [
        ("/data/m.db", "/data/m.db.blobs"),
        ("sqlite:////data/m.db?mode=ro", "/data/m.db.blobs"),
        ("sqlite:///:memory:", "{home}/.local/share/mirror/blobs/memory"),
    ],
)
def test_contents_are_kept_beside_the_database(place: Place, store: str, folder: str) -> None:
    assert place.resolve(store=store).contents.folder == folder.format(home=place.home)


def test_contents_of_a_postgresql_store_stay_when_its_password_changes(place: Place) -> None:
    folders = {
        str(place.resolve(store=f"postgresql://{user}@db/mirror").contents.folder)
        for user in ("me", "me:one", "me:two")
    }
    assert len(folders) == 1
    assert folders.pop().startswith(f"{place.home}/.local/share/mirror/blobs/")


def test_include_and_exclude_select(place: Place) -> None:
    place.toml('[sync]\ninclude = ["team/*", "*/demo"]\nexclude = ["team/scratch-*"]')
    sync = place.resolve().sync
    assert sync.selects("team", "vision")
    assert sync.selects("other", "demo")
    assert not sync.selects("team", "scratch-1")
    assert not sync.selects("other", "vision")


def test_a_time_in_a_filter_becomes_the_text_that_wandb_compares(place: Place) -> None:
    place.toml("[projects.'a/b']\nfilters = { createdAt = { '$gte' = 2024-05-01T02:00:00+02:00 } }")
    found = place.resolve().project_settings("a/b").filters
    assert found == {"createdAt": {"$gte": "2024-05-01T00:00:00Z"}}


# Each row: a file, the line of the mistake, what the sentence says.
@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[sync]\nworkers = \n", 2, "this is no TOML: Invalid value"),
        ("[sync]\n\nworkers = 1\nworkers = 2\n", 4, "this is no TOML: Cannot overwrite a value"),
        ("[sync\n", 1, "this is no TOML"),
        ("[sync]\n# a comment\nworker = 3\n", 3, "unknown setting worker in [sync]: did you mean workers?"),
        ("[sync]\nlag_s = 3\n", 2, "did you mean lag under [sync]?"),
        ("[sync]\nreconcile-every = 3\n", 2, "did you mean reconcile_every under [sync]?"),
        ('base_url = "x"\n', 1, "unknown setting base_url: did you mean base_url under [server]?"),
        ('[sync]\nmode = "auto"\n', 2, "did you mean mode under [api]?"),
        ('[sync]\nfilters = "{}"\n', 2, 'did you mean filters under [projects."my-team/vision"]?'),
        ("[synk]\nworkers = 3\n", 1, "unknown setting synk: did you mean [sync]?"),
        ("[zzz]\n", 1, "unknown setting zzz; known: server, store, api, sync, contents, projects"),
        ('[server]\napi_key = "0123"\n', 2, "keys are not kept in mirror.toml; set WANDB_API_KEY"),
        ('store = "x.db"\n', 1, "store is a table: write"),
        ("sync = 3\n", 1, "sync is a table: write [sync] above its settings"),
        ("[sync]\nworkers = 0\n", 2, "workers = 0: expected a whole number from 1 to 64"),
        ("[sync]\nworkers = true\n", 2, "workers = True: expected a whole number"),
        ('[sync]\nlag = "soon"\n', 2, "lag = 'soon': expected a duration such as \"90s\""),
        ("[sync]\nlag = -1\n", 2, "expected a duration"),
        ("[sync]\nlag = inf\n", 2, "expected a duration"),
        ("[sync]\ninterval = 0\n", 2, "expected a duration above 0"),
        ("[sync]\nmax_rps = 0\n", 2, "expected a number above 0"),
        ("[sync]\nreread_days = nan\n", 2, "expected a number, 0 or above"),
        ('[sync]\ninclude = "team/*"\n', 2, "expected a list of texts"),
        ('[sync]\ninclude = [\n  "team/*",\n  "team",\n]\n', 2, "'team' selects nothing: write entity/project"),
        ("[sync]\npage_size = 500\npage_size_max = 100\n", 2, "page_size 500 is above page_size_max 100"),
        ("[sync]\npage_size_max = 10\n", 2, "page_size 100 is above page_size_max 10"),
        ('[sync]\ncatalogue = "yes"\n', 2, "expected true or false"),
        ('[api]\nmode = "on"\n', 2, 'mode = \'on\': expected "auto" or "offline" or "online"'),
        ('[store]\njournal_mode = "memory"\n', 2, 'expected "wal" or "delete"'),
        ('[store]\nurl = "mysql://u:sesame@h/d"\n', 2, "url = 'mysql://…@h/d': expected a file path, sqlite"),
        ('[store]\nurl = ""\n', 2, "expected a text that is not empty"),
        ('[server]\nbase_url = "wandb.ai"\n', 2, "expected an http or https address such as"),
        ('[server]\nbase_url = "https://wandb.ai/"\n', 2, "not the web app's: https://api.wandb.ai"),
        ('[server]\nbase_url = "http://api.wandb.ai"\n', 2, "a key must not travel in the clear"),
        ('[server]\nbase_url = "https://me:sesame@host"\n', 2, "'https://…@host': expected an address without user"),
        ('[server]\nbase_url = "https://host:port"\n', 2, "expected an address such as"),
        ('[projects."a/b"]\nfilters = "{"\n', 2, "this JSON cannot be read"),
        ('[projects."a/b"]\nfilters = \'{"a": NaN}\'\n', 2, "NaN is no JSON number"),
        ('[projects."a/b"]\nfilters = []\n', 2, "expected a filter in W&B's syntax"),
        ('[projects."a/b"]\nfilters = { x = 2024-01-01 }\n', 2, "times with their zone"),
        ('[projects."a/b"]\nfilters = { x = nan }\n', 2, "expected finite numbers"),
        ('[projects."a/b"]\ntake = ["models"]\n', 2, "expected a list of reports, team, files"),
        ('[projects."a/b"]\nfilter = {}\n', 2, "unknown setting filter in [projects]: did you mean filters?"),
        ("[projects.a]\nfilters = {}\n", 1, "'a' selects nothing"),
        ("[projects]\n'a/b' = 3\n", 2, "projects.a/b is a table"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_and_line(
    place: Place, text: str, line: int, says: str
) -> None:
    path = place.toml(text)
    with pytest.raises(ConfigError) as caught:
        place.resolve()
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert caught.value.where == f"{path}:{line}"


@pytest.mark.parametrize("before", [0, 1, 7, 64])
@pytest.mark.parametrize("after", [0, 1, 1000])
@pytest.mark.parametrize("value", ['"soon"', '"""\nso\non"""', "[\n  1,\n  2,\n]"])
def test_the_line_is_right_wherever_it_is(
    place: Place, before: int, after: int, value: str
) -> None:
    table = "[projects.'a/p{}']\nfilters = '''\n{{}}'''\n\n"
    above = "".join(table.format(n) for n in range(before))
    below = "".join(table.format(n) for n in range(before, before + after))
    place.toml(f"{above}[sync]\nworkers = 1\nlag = {value}\n{below}")
    with pytest.raises(ConfigError) as caught:
        place.resolve()
    assert str(caught.value.where).endswith(f":{above.count(chr(10)) + 3}")


def test_a_file_that_is_no_text_is_told(place: Place) -> None:
    path = place.toml("")
    path.write_bytes(b"[sync]\nworkers = \xff\n")
    with pytest.raises(ConfigError, match=r"mirror\.toml: this is not UTF-8 text"):
        place.resolve()


def test_a_byte_order_mark_and_windows_lines_are_read(place: Place) -> None:
    path = place.toml("")
    path.write_bytes(b"\xef\xbb\xbf[sync]\r\nworkers = 2\r\n")
    assert place.resolve().sync.workers == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"base_url": "wandb.ai"},
            "argument base_url: 'wandb.ai': expected an http or https address",
        ),
        ({"mode": "on"}, "argument mode: 'on': expected \"auto\" or"),
        (
            {"store": "mysql://me:sesame@h/d"},
            "argument store: 'mysql://…@h/d': expected a file path",
        ),
        ({"environ": {"WANDB_BASE_URL": "ftp://x"}}, "WANDB_BASE_URL: 'ftp://x': expected an http"),
        ({"environ": {"MIRROR_MODE": "on"}}, "MIRROR_MODE: 'on': expected"),
    ],
)
def test_a_bad_argument_or_variable_is_named(
    place: Place, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        place.resolve(**arguments)
    assert says in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://host/", "https://host"),
        ("https://host/graphql", "https://host"),
        ("https://host/base/", "https://host/base"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_is_brought_into_one_form(place: Place, given: str, expected: str) -> None:
    assert place.resolve(base_url=given).base_url == expected


# ------------------------------------------------------------------ the texts made from the table


@pytest.mark.parametrize(
    ("file", "text"),
    [("mirror.toml", configuration.template()), ("docs/configuration.md", configuration.reference())],
)  # fmt: skip
def test_the_written_texts_are_those_of_the_code(file: str, text: str) -> None:
    assert (ROOT / file).read_text() == text, (
        f"{file} is stale: write mirror.config's template() or reference() into it"
    )


def test_the_example_parses_and_says_only_defaults(place: Place) -> None:
    place.toml(configuration.template())
    config = place.resolve()
    assert dataclasses.replace(config, config_path=None) == resolve(
        environ=place.environ, cwd=place.home
    )


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.section}.{s.name}")
def test_a_documented_default_is_the_real_one(place: Place, setting: Any) -> None:
    if setting.default in ("none", "a file in the user's data folder", "beside the database"):
        return
    written = setting.read(tomllib.loads(f"x = {setting.default}")["x"])
    config = place.resolve()
    tables = {"sync": config.sync, "contents": config.contents, "projects": ProjectSettings()}
    holder: Any = tables.get(setting.section, config)
    assert getattr(holder, setting.attribute) == written


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.section}.{s.name}")
def test_an_example_value_can_be_read(setting: Any) -> None:
    if setting.example:
        setting.read(tomllib.loads(f"x = {setting.example}")["x"])


def test_the_example_can_be_written_with_values(place: Place) -> None:
    place.toml(configuration.template(include=["team/*", 'odd"name/x'], store="~/m.db"))
    config = place.resolve()
    assert config.sync.include == ("team/*", 'odd"name/x')
    assert config.store == str(place.home / "m.db")


# ------------------------------------------------------------------ cost


def test_reading_settings_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mirror import config; config.resolve(environ={'HOME': '/nowhere'}, cwd='/');"
        "print(sorted({'httpx', 'sqlalchemy', 'click', 'orjson', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
