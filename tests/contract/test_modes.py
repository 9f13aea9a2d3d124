"""Where an answer comes from: offline, auto and online, servers that are down, mirrors that are old or partial."""

from __future__ import annotations

import pickle
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from filled import HARD, HARD_TEXTS, KEY, MANY, filled

import mirror
from mirror.config import Config, resolve
from mirror.sandbox import Server, World
from mirror.sync import sync


@pytest.fixture
def world() -> World:
    return filled()


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with Server(world) as running:
        yield running


@pytest.fixture
def config(server: Server, tmp_path: Path, sqlite_template: Path) -> Config:
    """Settings for a store with nothing in it."""
    store = str(shutil.copy(sqlite_template, tmp_path / "mirror.db"))
    return resolve(store=store, base_url=server.url, api_key=KEY, environ={}, cwd=tmp_path)


@pytest.fixture
def synced_config(config: Config) -> Config:
    assert sync([HARD], config=config).ok
    return config


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection is an error."""

    def refuse(*_arguments: Any) -> None:
        raise AssertionError("a socket was opened")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def offline(config: Config, **options: Any) -> mirror.Api:
    return mirror.Api(config=replace(config, api_key=None), mode="offline", **options)


# ---------------------------------------------------------------- a fresh process

HEAVY = [
    "sqlalchemy",
    "httpx",
    "alembic",
    "click",
    "pandas",
    "numpy",
    "wandb",
    "re2",
    "rich",
    "orjson",
    "zstandard",
]


@pytest.mark.parametrize("code", ["import mirror", "import mirror; mirror.Api()"])
def test_neither_import_nor_construction_loads_anything_heavy(code: str, tmp_path: Path) -> None:
    heavy = [name for name in HEAVY if name not in ("orjson", "zstandard")]
    program = f"{code}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"HOME": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir()), "nothing is made before the first read"


@pytest.mark.parametrize("mode", ["offline", "auto"])
def test_reading_a_file_loads_neither_sqlalchemy_nor_a_client(
    mode: str, synced_config: Config, tmp_path: Path
) -> None:
    program = f"""
import sys, mirror
api = mirror.Api(store={str(synced_config.store)!r}, mode={mode!r})
runs = api.runs("{HARD}", {{"config.a": {{"$gt": 0}}}}, order="-summary_metrics.loss")
print(len(runs), len(list(runs)))
run = api.run("{HARD}/floats")
print(run.config["a"], len(dict(run.summary)))
print("sqlalchemy" in sys.modules or "httpx" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"HOME": str(tmp_path), "PATH": "", "WANDB_BASE_URL": synced_config.base_url},
    )  # fmt: skip
    counted, listed, *rest = done.stdout.split()
    assert counted == listed != "0"
    assert rest[0] == "100000.0"
    assert rest[-1] == "False"


def test_errors_need_no_wandb(synced_config: Config, tmp_path: Path) -> None:
    program = f"""
import sys, mirror
api = mirror.Api(store={str(synced_config.store)!r}, mode="offline")
try:
    api.run("{HARD}/nope")
except mirror.CommError as error:
    print(type(error.exc).__name__, "wandb" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"HOME": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert done.stdout.split() == ["RunNotFoundError", "False"]


def test_a_release_of_wandb_that_lost_its_uploader_is_named(
    real: Any, synced_config: Config, tmp_path: Path
) -> None:
    # The real package: 0.31.0 imports wandb.sync, which it does not have.
    with pytest.raises(ModuleNotFoundError, match=r"wandb\.sync"):
        real.sync_tensorboard(str(tmp_path), project="tb", entity="team")
    with pytest.raises(mirror.UnsupportedError, match=r"wandb 0\.31\.0 cannot upload"):
        mirror.Api(config=synced_config).sync_tensorboard(str(tmp_path), None, "tb", "team")


# ---------------------------------------------------------------- offline


def test_offline_needs_neither_key_nor_socket(synced_config: Config, no_sockets: None) -> None:
    api = offline(synced_config)
    assert api.api_key is None
    assert len(api.runs(HARD)) == len(HARD_TEXTS) + 2
    assert api.run(f"{HARD}/floats").config["a"] == 1e5
    assert api.sweep(f"{HARD}/swp1").best_run().id == "wrapped"
    assert api.runs(HARD).synced_at
    assert not api.run(f"{HARD}/floats").is_stale


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda api: api.run("team/other/abc"), id="run"),
        pytest.param(lambda api: len(api.runs("team/other")), id="runs"),
        pytest.param(lambda api: list(api.runs("team/other")), id="iteration"),
        pytest.param(lambda api: api.sweep("team/other/abc"), id="sweep"),
        pytest.param(lambda api: api.project("other", "team").id, id="project"),
    ],
)
def test_offline_what_is_not_mirrored_says_so(
    ask: Callable[[Any], Any], synced_config: Config, no_sockets: None
) -> None:
    with pytest.raises(
        mirror.NotMirrored, match=r"team/other.*never synced.*mirror sync team/other"
    ):
        ask(offline(synced_config))


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda run: run.update(), id="update"),
        pytest.param(lambda run: run.save(), id="save"),
        pytest.param(lambda run: run.delete(), id="delete"),
        pytest.param(lambda run: run.stop(), id="stop"),
        pytest.param(lambda run: run.update_state("failed"), id="update_state"),
        pytest.param(lambda run: run.upload_file("x"), id="upload_file"),
        pytest.param(lambda run: run.summary.update({"loss": 1}), id="summary"),
    ],
)
def test_offline_a_write_is_refused_before_anything_is_sent(
    write: Callable[[Any], Any], synced_config: Config, no_sockets: None
) -> None:
    with pytest.raises(mirror.OfflineError, match="nothing was sent"):
        write(offline(synced_config).run(f"{HARD}/floats"))


def test_online_a_write_names_what_to_use(synced_config: Config) -> None:
    run = mirror.Api(config=synced_config).run(f"{HARD}/floats")
    with pytest.raises(mirror.UnsupportedError, match=r"Run.update.*wandb\.Api"):
        run.update()


def test_offline_raw_graphql_is_refused(synced_config: Config, no_sockets: None) -> None:
    with pytest.raises(mirror.OfflineError):
        offline(synced_config).client.execute("{ viewer { id } }")


def test_raw_graphql_is_passed_on(synced_config: Config) -> None:
    data = mirror.Api(config=synced_config).client.execute(
        'query Q($n: String!) { project(name: $n, entityName: "team") { name } }', {"n": "hard"}
    )
    assert data == {"project": {"name": "hard"}}


def test_raw_graphql_may_be_a_parsed_document(synced_config: Config) -> None:
    from graphql import parse

    data = mirror.Api(config=synced_config).client.execute(parse("{ viewer { username } }"))
    assert data == {"viewer": {"username": "alice"}}


def test_the_mode_can_come_from_the_environment(
    synced_config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MIRROR_MODE", "offline")
    monkeypatch.setenv("MIRROR_STORE", synced_config.store)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    api = mirror.Api()
    assert api.mode == "offline"
    assert len(api.runs(HARD)) == 11


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(mirror.ConfigError, match="offline"):
        mirror.Api(mode="airplane")  # type: ignore[arg-type]


def test_one_api_serves_many_threads(synced_config: Config) -> None:
    api = offline(synced_config)

    def read(number: int) -> Any:  # a listing each: as with the real client, one is one iterator
        return [
            (run.id, repr(run.config)) for run in api.runs(HARD, {"state": {"$ne": str(number)}})
        ]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(read, range(40)))
    assert all(answer == answers[0] for answer in answers)


def test_deprecated_members_warn(synced_config: Config) -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        assert offline(synced_config).run(f"{HARD}/floats").username == "team"


# ---------------------------------------------------------------- partial and old mirrors


def test_a_mirror_whose_first_walk_did_not_end_is_a_miss_unless_partial(
    config: Config, world: World
) -> None:
    pages = iter([False, False, True])
    report = sync([MANY], config=_small_pages(config), stopping=lambda: next(pages, True))
    assert report.interrupted
    with pytest.raises(mirror.NotMirrored, match=r"runs so far.*partial=True"):
        len(offline(config).runs(MANY))
    assert 0 < len(offline(config, partial=True).runs(MANY)) <= 130


def _small_pages(config: Config) -> Config:
    return replace(config, sync=replace(config.sync, page_size=10, page_size_max=10))


@pytest.mark.parametrize("max_age", [0.0, timedelta(0)])
def test_offline_an_old_answer_is_refused_when_max_age_says_so(
    max_age: Any, synced_config: Config
) -> None:
    api = offline(synced_config, max_age=max_age)
    with pytest.raises(mirror.StaleError, match="max_age"):
        len(api.runs(HARD))
    with pytest.raises(mirror.StaleError, match="max_age"):
        api.run(f"{HARD}/floats")


def test_a_long_max_age_changes_nothing(synced_config: Config) -> None:
    assert len(offline(synced_config, max_age=timedelta(days=36500)).runs(HARD)) == 11


# ---------------------------------------------------------------- auto


def test_auto_syncs_a_project_that_is_not_mirrored(config: Config, world: World) -> None:
    Path(config.store).unlink()  # not even a store is there
    api = mirror.Api(config=config)
    assert len(api.runs(MANY)) == 130
    requests = len(world.requests)
    assert len([run.config for run in mirror.Api(config=config).runs(MANY)]) == 130
    assert len(world.requests) == requests, "the second time the store answers"
    assert len(offline(config).runs(MANY)) == 130


def test_auto_reads_page_by_page_when_asked(config: Config, world: World) -> None:
    api = mirror.Api(config=config, read_through="page")
    runs = api.runs(MANY, per_page=20, order="-created_at")
    first = [run.id for run in runs[:5]]
    assert len(runs.objects) == 20
    assert len(runs) == 130
    assert [run.id for run in runs][:5] == first
    assert len({run.id for run in runs}) == 130
    with pytest.raises(mirror.NotMirrored):
        len(offline(config).runs(MANY))


def test_auto_fetches_a_single_run_and_keeps_it(synced_config: Config, world: World) -> None:
    world.add_run(HARD, name="late", config={"x": 1})
    api = mirror.Api(config=synced_config)
    assert api.run(f"{HARD}/late").config == {"x": 1}
    assert offline(synced_config).run(f"{HARD}/late").config == {"x": 1}


def test_auto_does_not_ask_for_what_it_has(synced_config: Config, world: World) -> None:
    requests = len(world.requests)
    api = mirror.Api(config=synced_config)
    assert api.run(f"{HARD}/floats").config["a"] == 1e5
    assert [run.state for run in api.runs(HARD)]
    assert len(world.requests) == requests


def test_auto_refreshes_what_is_too_old(synced_config: Config, world: World) -> None:
    world.add_run(HARD, name="late")
    names = [run.id for run in mirror.Api(config=synced_config, max_age=0).runs(HARD)]
    assert "late" in names


def test_online_refreshes_first(synced_config: Config, world: World) -> None:
    world.edit(HARD, "floats", notes="changed")
    assert mirror.Api(config=synced_config, mode="online").run(f"{HARD}/floats").notes == "changed"


def test_auto_what_is_missing_on_the_server_is_not_found(synced_config: Config) -> None:
    api = mirror.Api(config=synced_config)
    with pytest.raises(mirror.CommError, match="Could not find run") as caught:
        api.run(f"{HARD}/nope")
    assert isinstance(caught.value.exc, ValueError)
    with pytest.raises(ValueError, match="Could not find project nope"):
        len(api.runs("team/nope"))
    with pytest.raises(ValueError, match="Project nope not found"):
        api.project("nope", "team").id  # noqa: B018


# ---------------------------------------------------------------- a server that is down


@pytest.mark.parametrize("keys", [None, ["loss"]])
def test_the_history_of_a_run_that_was_deleted_meanwhile_is_told_as_that(
    synced_config: Config, world: World, keys: list[str] | None
) -> None:
    run = next(iter(mirror.Api(config=synced_config).runs(HARD)))
    world.delete(HARD, run.id)
    with pytest.raises(mirror.errors.NotFound, match="the server has it no more"):
        run.history(keys=keys, pandas=False)


def test_a_server_that_is_down_breaks_no_answer_the_store_has(
    synced_config: Config, server: Server
) -> None:
    server.stop()
    api = mirror.Api(config=synced_config, max_age=0, timeout=1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert len(api.runs(HARD)) == 11
        assert api.run(f"{HARD}/floats").config["a"] == 1e5
        assert api.runs(HARD).is_stale
    (told,) = warned  # once, not for every answer
    assert "may be stale" in str(told.message)


def test_a_server_that_is_down_is_an_error_for_what_the_store_lacks(
    synced_config: Config, server: Server
) -> None:
    server.stop()
    api = mirror.Api(config=synced_config, timeout=1)
    with pytest.raises(mirror.Unreachable):
        len(api.runs(MANY))


# ---------------------------------------------------------------- errors of two families


def test_wandb_s_own_classes_catch_ours_where_wandb_is_loaded(synced_config: Config) -> None:
    import wandb.errors

    api = offline(synced_config)
    with pytest.raises(wandb.errors.CommError):
        api.run(f"{HARD}/nope")
    with pytest.raises(wandb.errors.CommError):
        api.run("team/other/abc")
    with pytest.raises(wandb.errors.Error):
        api.from_path("a/b/c/d/e")


@pytest.mark.parametrize("path", [f"{HARD}/nope", "team/other/abc"])
def test_errors_pickle(path: str, synced_config: Config) -> None:
    with pytest.raises(mirror.MirrorError) as caught:
        offline(synced_config).run(path)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert isinstance(again, mirror.MirrorError)


def test_no_key_reaches_an_error_or_a_look(synced_config: Config, server: Server) -> None:
    server.stop()
    api = mirror.Api(config=synced_config, timeout=1)
    with pytest.raises(mirror.MirrorError) as caught:
        len(api.runs(MANY))
    assert KEY not in f"{caught.value!r} {api!r} {api.__dict__['_service_api']!r}"


# ---------------------------------------------------------------- other processes


def _names(api: mirror.Api) -> list[str]:
    return [run.id for run in api.runs(HARD)]


def _loss(run: Any) -> Any:
    return run.summary.get("loss"), run.config


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_objects_work_in_other_processes(method: str, synced_config: Config) -> None:
    api = offline(synced_config)
    runs = list(api.runs(HARD))
    expected = [_loss(run) for run in runs]
    # Not multiprocessing's own Pool, which waits for ever where a worker cannot read its task.
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        assert pool.submit(_names, api).result() == [run.id for run in runs]
        assert [repr(pair) for pair in pool.map(_loss, runs)] == [repr(pair) for pair in expected]


@pytest.mark.parametrize(
    "ask",
    [
        lambda api: api.run(f"{HARD}/floats"),
        lambda api: api.runs(HARD),
        lambda api: api.project("hard", "team"),
        lambda api: api.sweep(f"{HARD}/swp1"),
        lambda api: api.run(f"{HARD}/order").summary,
    ],
)
def test_objects_pickle(ask: Callable[[Any], Any], synced_config: Config) -> None:
    value = ask(offline(synced_config))
    again = pickle.loads(pickle.dumps(value))
    assert repr(again) == repr(value)
    assert KEY.encode() not in pickle.dumps(ask(mirror.Api(config=synced_config)))
