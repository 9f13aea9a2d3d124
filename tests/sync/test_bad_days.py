"""A server's bad days: what passes is waited out, what stays is told in a sentence; no run is lost.

Every fault of the sandbox, in a first sync, in an incremental one and in a reconcile. The back-off is
made short here; how long it really is, is tested with the client.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from worlds import KEY, PATH, add_runs, differences

from mirror.config import resolve
from mirror.errors import MirrorError, StoreError, Unauthorized
from mirror.remote import client as client_module
from mirror.sandbox import Server, World
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import Event, SyncReport, sync

Mirror = Callable[..., SyncReport]
OTHER = "team/other"
BOTH = [PATH, OTHER]
RUNS = 70
ENOUGH = 80
"""More requests than any sync here may need, however bad the day."""


@pytest.fixture(autouse=True)
def _short_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "BACKOFF_S", 0.001)
    monkeypatch.setattr(client_module, "BACKOFF_MAX_S", 0.01)


@pytest.fixture
def engine() -> str:
    """What a server does wrong is the same to both engines."""
    return "sqlite"


@pytest.fixture
def world(world: World) -> World:
    world.rate_limit_reset_s = 0
    world.add_project("team", "other")
    add_runs(world, RUNS)
    add_runs(world, 5, path=OTHER)
    return world


@pytest.fixture
def mirror(server: Server, store: Store, tmp_path: Path) -> Mirror:
    """Run one sync into the store, in pages so small that there are several."""
    config = resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)
    config = replace(config, sync=replace(config.sync, page_size=20, page_size_max=30))

    def run(paths: Any = (PATH,), **options: Any) -> SyncReport:
        return sync(list(paths), store=store, config=config, **options)

    return run


def changed(world: World) -> None:
    """What happens between two syncs: an edit, a deletion, a new run, a run that goes on."""
    world.advance(3600)
    world.edit(PATH, "run00003", tags=["late"])
    world.edit(PATH, "run00060", config={"lr": 9})
    world.delete(PATH, "run00007")
    world.resume(PATH, "run00011", summary={"loss": 0})
    world.add_run(PATH, name="fresh", config={}, summary={})


def whole(world: World, store: Store) -> list[str]:
    return differences(world, store) + differences(world, store, OTHER)


# ------------------------------------------------------------------ what passes

PASSING: dict[str, dict[str, Any]] = {
    "429 with Retry-After": {"status": 429, "retry_after": 0.01},
    "429 with a date": {"status": 429, "retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"},
    "429 without": {"status": 429},
    "500": {"status": 500},
    "502": {"status": 502},
    "503": {"status": 503, "retry_after": 0.01},
    "dropped": {"drop": "connection"},
    "dropped within": {"drop": "body"},
    "truncated": {"truncate": True},
    "internal error under 200": {"errors": "internal server error"},
    "slow": {"latency_s": 0.02},
}
PHASES = ("first", "incremental", "reconcile")
CORE = {"429 without", "500", "truncated", "400", "internal error", "null nodes", "refuse"}
"""Faults that are tried in every phase by default; the others in the first sync, and in CI in all."""


def in_phases(faults: Iterable[str]) -> pytest.MarkDecorator:
    """Each fault in each phase, by name."""
    rows = [
        pytest.param(
            name,
            phase,
            id=f"{name}, {phase}",
            marks=[] if phase == "first" or name in CORE else pytest.mark.slow,
        )
        for name in faults
        for phase in PHASES
    ]
    return pytest.mark.parametrize(("fault", "phase"), rows)


@in_phases(PASSING)
def test_what_passes_is_waited_out(
    world: World, mirror: Mirror, store: Store, fault: str, phase: str
) -> None:
    if phase != "first":
        assert mirror(BOTH).exit_code == 0
        changed(world)
        world.requests.reset()
    world.fail("*", times=2, **PASSING[fault])
    report = mirror(BOTH, reconcile=phase == "reconcile")
    assert report.exit_code == 0, report.failures
    assert whole(world, store) == []
    assert report.retries <= 2
    assert len(world.requests) <= ENOUGH


ODD_PAGES: dict[str, dict[str, Any]] = {
    "empty": {"empty": True},
    "short": {"short": 3},
    "null nodes": {"null_nodes": 4},
}


@in_phases(ODD_PAGES)
@pytest.mark.parametrize("times", [1, 3])
def test_odd_pages_lose_nothing(
    world: World,
    mirror: Mirror,
    store: Store,
    fault: str,
    times: int,
    phase: str,
) -> None:
    if phase != "first":
        mirror(BOTH)
        changed(world)
        world.requests.reset()
    world.fail("runs", times=times, **ODD_PAGES[fault])
    report = mirror(BOTH, reconcile=phase == "reconcile")
    assert report.exit_code == 0, report.failures
    assert len(world.requests) <= ENOUGH
    # A run that a page withheld is found at the latest by the next reconcile.
    world.heal()
    mirror(BOTH, reconcile=True)
    assert whole(world, store) == []


# ------------------------------------------------------------------ what stays

STAYING: dict[str, tuple[dict[str, Any], str]] = {
    "429": ({"status": 429, "retry_after": 0}, "limits the rate"),
    "429 for an hour": ({"status": 429, "retry_after": 3600}, "limits the rate"),
    "500": ({"status": 500}, "the server failed (500)"),
    "503": ({"status": 503}, "the server failed (503)"),
    "400": ({"status": 400, "message": "bad filter"}, "bad filter"),
    "403": ({"status": 403}, "does not let this key do that"),
    "404": ({"status": 404}, "the server is not well"),
    "501": ({"status": 501}, "cannot do that"),
    "dropped": ({"drop": "connection"}, "broke"),
    "dropped within": ({"drop": "body"}, "broke"),
    "truncated": ({"truncate": True}, "is not whole JSON"),
    "internal error": ({"errors": "internal server error"}, "internal server error"),
    "permission": ({"errors": "permission denied"}, "permission denied"),
    "refusal": ({"errors": "no such field"}, "no such field"),
}


@in_phases(STAYING)
def test_what_stays_is_told_and_the_next_sync_goes_on(
    world: World,
    mirror: Mirror,
    store: Store,
    fault: str,
    phase: str,
) -> None:
    if phase != "first":
        mirror(BOTH)
        changed(world)
        world.requests.reset()
    trouble, says = STAYING[fault]
    world.fail("MirrorProject", **trouble)
    report = mirror(BOTH, reconcile=phase == "reconcile")
    assert report.exit_code == 1
    assert set(report.failures) == set(BOTH)
    for sentence in report.failures.values():
        assert says in sentence
        assert "\n" not in sentence
        assert "internal error:" not in sentence
    assert len(world.requests) <= 4 * ENOUGH
    world.heal()
    assert mirror(BOTH, reconcile=phase == "reconcile").exit_code == 0
    if phase == "incremental":  # edits of ended runs are the reconcile's to find
        mirror(BOTH, reconcile=True)
    assert whole(world, store) == []


@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("fault", ["400", "500", "truncated"])
def test_trouble_in_the_middle_of_a_walk_keeps_what_came_before(
    world: World, mirror: Mirror, store: Store, fault: str, page: int
) -> None:
    world.fail("runs", skip=page, **STAYING[fault][0])
    assert mirror().exit_code == 1
    held = store.rows(sa.select(sa.func.count().label("n")).select_from(tables.runs))[0]["n"]
    world.heal()
    world.requests.reset()
    report = mirror()
    assert report.exit_code == 0
    assert differences(world, store) == []
    if held:  # the walk went on from there
        assert report.counts["new"] == RUNS - held


def test_one_failed_project_stops_no_other(world: World, mirror: Mirror, store: Store) -> None:
    report = mirror([PATH, "team/nothing", OTHER])
    assert report.exit_code == 3
    assert set(report.failures) == {"team/nothing"}
    assert "project 'team/nothing': the server has none of that name" in report.failures["team/nothing"]  # fmt: skip
    assert whole(world, store) == []


@pytest.mark.parametrize("status", [500, 503])
def test_a_poisoned_run_is_named_and_all_others_come(
    world: World, mirror: Mirror, store: Store, status: int
) -> None:
    world.fail(poisoned="run00040", status=status)
    report = mirror(BOTH)
    assert report.exit_code == 3
    assert report.quarantine == [f"{PATH}/run00040"]
    assert report.failures == {}
    assert whole(world, store) == ["missing run00040"]
    assert len(world.requests) <= ENOUGH
    # Idle syncs do not fall over it again, and say that it is still missing.
    world.requests.reset()
    assert mirror(BOTH).exit_code == 3
    assert len(world.requests) <= 20
    world.heal()
    assert mirror(BOTH, full=True).exit_code == 0
    assert whole(world, store) == []


def test_a_run_poisoned_after_it_was_mirrored_keeps_what_is_known(
    world: World, mirror: Mirror, store: Store
) -> None:
    mirror()
    world.fail(poisoned="run00040")
    world.advance(3600)
    world.resume(PATH, "run00040")
    report = mirror()
    assert report.exit_code == 3
    assert report.counts["tombstoned"] == 0
    assert all("missing" not in found for found in differences(world, store))


def test_a_cursor_that_does_not_move_ends_the_walk_with_a_sentence(
    world: World, mirror: Mirror
) -> None:
    world.fail("runs", stuck=True)
    report = mirror()
    assert report.exit_code == 1
    assert "gives the same cursor again" in report.failures[PATH]
    assert len(world.requests) <= ENOUGH


def test_a_listing_without_an_end_is_left_with_a_sentence(
    world: World, mirror: Mirror, store: Store
) -> None:
    world.fail("runs", short=40)
    report = mirror()
    assert report.exit_code == 1
    assert "empty pages in a row" in report.failures[PATH]
    world.heal()
    assert mirror().exit_code == 0
    assert differences(world, store) == []


# ------------------------------------------------------------------ limits of the server


@in_phases(["clamp", "refuse"])
@pytest.mark.parametrize("cap", [3, 25])
def test_a_server_with_small_pages_is_mirrored_whole(
    world: World,
    mirror: Mirror,
    store: Store,
    cap: int,
    fault: Any,
    phase: str,
) -> None:
    if phase != "first":
        mirror(BOTH)
        changed(world)
        for number in range(20, 60):
            world.resume(PATH, f"run{number:05d}")
    world.page_cap, world.over_cap = cap, fault
    report = mirror(BOTH, reconcile=phase == "reconcile")
    assert report.exit_code == 0, report.failures
    assert [project.warnings for project in report.projects] == [[]] * len(report.projects)
    assert whole(world, store) == []


def test_a_server_that_fails_at_large_pages_of_runs_is_mirrored_whole(
    world: World, mirror: Mirror, store: Store
) -> None:
    mirror(BOTH)
    world.edit(PATH, "run00003", tags=["edited"])
    world.page_cap, world.over_cap = 100, "fail"
    report = mirror(BOTH, reconcile=True)
    assert report.failures == {}
    assert whole(world, store) == []


@pytest.mark.parametrize("phase", PHASES)
def test_short_pages_of_documents_lose_nothing(
    world: World, mirror: Mirror, store: Store, phase: str
) -> None:
    if phase != "first":
        mirror(BOTH)
        changed(world)
        for number in range(20, 60):
            world.resume(PATH, f"run{number:05d}")
    # Light pages come whole, so that many documents are asked for by name at once.
    world.fail("MirrorProject", skip=phase == "incremental", times=12, short=3)
    assert mirror(BOTH, reconcile=phase == "reconcile").exit_code == 0
    assert whole(world, store) == []


def test_an_entity_of_many_projects_is_listed_in_small_pages(world: World, mirror: Mirror) -> None:
    world.page_cap, world.over_cap = 4, "refuse"
    for number in range(10):
        world.add_project("team", f"more{number}")
    assert len(mirror(["team/*"]).projects) == 12


@pytest.mark.parametrize("skew_s", [-120, 120])
def test_a_clock_that_is_off_loses_nothing(
    world: World, mirror: Mirror, store: Store, skew_s: float
) -> None:
    world.fail(clock_skew_s=skew_s)
    mirror()
    for turn in range(3):
        world.advance(60)
        world.add_run(PATH, name=f"new{turn}", config={}, summary={})
        world.resume(PATH, f"run{turn:05d}")
        mirror()
        assert differences(world, store) == []


@pytest.mark.parametrize("answered", range(4, 9))
def test_a_server_that_goes_down_puts_no_run_into_quarantine(
    world: World, mirror: Mirror, store: Store, answered: int
) -> None:
    small = "team/small"
    world.add_project("team", "small")
    for name in ("a", "b"):
        world.add_run(small, name=name, state="finished")  # so young that they are read again
    world.fail("*", drop="connection", skip=answered)
    with contextlib.suppress(MirrorError):
        mirror([small])
    world.heal()
    assert mirror([small]).exit_code == 0
    assert differences(world, store, small) == []


# ------------------------------------------------------------------ nothing could be synced


@pytest.mark.parametrize("how", ["null", "401"])
def test_a_wrong_key_is_told(
    world: World, server: Server, store: Store, how: Any, tmp_path: Path
) -> None:
    world.faults.invalid_key = how
    config = resolve(base_url=server.url, api_key="wrong", store="x", environ={}, cwd=tmp_path)
    with pytest.raises(Unauthorized, match="API key") as caught:
        sync([PATH], store=store, config=config)
    assert "wrong" not in str(caught.value)
    assert len(world.requests) <= 2
    with pytest.raises(Unauthorized):
        sync([PATH], config=replace(config, store=str(tmp_path / "new.db")))
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        ":memory:",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:x?mode=memory&cache=shared&uri=true",
    ],
)
def test_a_store_that_would_be_gone_with_the_process_is_refused(
    url: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolve(base_url=server.url, api_key=KEY, store=url, environ={}, cwd=tmp_path)
    with pytest.raises(StoreError, match="is in memory and would be gone"):
        sync([PATH], config=config)
    assert list(tmp_path.iterdir()) == []


def test_a_sync_that_was_stopped_says_its_path_once(
    server: Server, world: World, store: Store, tmp_path: Path
) -> None:
    config = resolve(base_url=server.url, api_key=KEY, store="x", environ={}, cwd=tmp_path)
    told: list[str] = []

    def hear(event: Event) -> None:
        if event.kind == "failed":
            told.append(f"{event.path}: {event.message}")

    stopped = iter([False, False])
    sync([PATH], store=store, config=config, on_event=hear, stopping=lambda: next(stopped, True))
    assert told == [f"{PATH}: stopped after the current page; the next sync goes on from there"]


@pytest.mark.parametrize(
    ("base_url", "says"),
    [
        ("http://127.0.0.1:{closed}", "cannot be reached"),
        ("https://127.0.0.1:{open}", "TLS failed"),
        ("http://127.0.0.1:{open}/elsewhere", "the server is not well|not found|set base_url"),
    ],
    ids=["refused", "tls", "wrong path"],
)
def test_a_server_that_cannot_be_used_is_told(
    server: Server, store: Store, base_url: str, says: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    address = base_url.format(closed=closed, open=server.url.rpartition(":")[2])
    config = resolve(base_url=address, api_key=KEY, store="x", environ={}, cwd=tmp_path)
    with pytest.raises(MirrorError, match=says):
        sync([PATH], store=store, config=config)


def test_an_entity_that_nobody_knows_is_told(world: World, mirror: Mirror, store: Store) -> None:
    report = mirror(["nobody/*", PATH])
    assert report.exit_code == 3
    assert "nobody" in report.failures["nobody/*"]
    assert differences(world, store) == []


# ------------------------------------------------------------------ secrets


def everything_in(store: Store) -> str:
    """Every value of every table, as text."""
    with store.read() as connection:
        return "".join(
            repr(tuple(row))
            for table in tables.metadata.sorted_tables
            for row in connection.execute(sa.select(table))
        )


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
@pytest.mark.quotes_the_key
def test_the_key_is_nowhere(
    world: World,
    mirror: Mirror,
    store: Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    listen: Any = {"on_event": lambda event: told.append(repr(event))}
    world.fail("*", times=2, status=500, message=f"bad key {KEY}")
    told.append(json.dumps(mirror(BOTH, **listen).to_dict()))
    for fault in (
        {"status": 403, "message": f"not for {KEY}"},
        {"errors": f"no user has {KEY}"},
        {"drop": "body"},
    ):
        world.fail("*", **fault)
        try:
            told.append(json.dumps(mirror(BOTH, **listen).to_dict()))
        except MirrorError as error:
            frames = error.with_traceback(error.__traceback__.tb_next)  # type: ignore[union-attr]
            told += traceback.format_exception(frames)
        world.heal()
    told += [everything_in(store), caplog.text, *capfd.readouterr()]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            told.append(path.read_bytes().decode("latin-1"))
    assert all(KEY not in text for text in told)
