"""sync, status, verify, doctor, init and schedule, against a server on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from commands import Run

from mirror.jsontext import unpack
from mirror.sandbox import Server, World, generate
from mirror.store import tables
from mirror.store.store import Store
from mirror.sync import lease

KEY = "a-secret-key-that-nobody-may-see".ljust(40, "7")


@pytest.fixture
def world() -> World:
    made = World()
    made.add_user("alice", key=KEY, teams=["team"])
    generate(made, "team/vision", runs=60)
    return made


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    with Server(world) as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("MIRROR_STORE", str(tmp_path / "mirror.db"))
        yield running


@pytest.fixture
def synced(server: Server, run: Run) -> Server:
    assert run("sync", "team/vision", "--quiet").exit_code == 0
    return server


def _mirror(*args: str) -> list[str]:
    return [sys.executable, "-m", "mirror", *args]


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


# ------------------------------------------------------------------ sync


def test_a_sync_says_what_it_did(server: Server, run: Run) -> None:
    result = run("sync", "team/vision")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "team/vision: 60 new"
    assert re.fullmatch(r"\d+ requests, [\d.]+ [KM]?B, [\d.]+ s", lines[1])
    assert run("sync", "team/vision").stdout.startswith("team/vision: nothing new\n")
    assert run("runs", "team/vision", "--count").stdout == "60\n"


def test_a_quiet_sync_says_nothing(server: Server, run: Run) -> None:
    result = run("sync", "team/vision", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_a_sync_reports_in_json(server: Server, run: Run) -> None:
    report = json.loads(run("sync", "team/vision", "--json").stdout)
    assert report["counts"]["new"] == 60
    assert (report["exit_code"], report["projects"][0]["path"]) == (0, "team/vision")


def test_a_store_may_be_a_postgresql_url(server: Server, run: Run, postgres_url: str) -> None:
    assert run("sync", "team/vision", "--store", postgres_url).stdout.startswith(
        "team/vision: 60 new"
    )
    assert run("runs", "team/vision", "--count", "--store", postgres_url).stdout == "60\n"
    status = run("status", "--store", postgres_url)
    assert status.stdout.startswith("postgresql+psycopg://")
    found = run("doctor", "--store", postgres_url)
    assert (found.exit_code, "PROBLEM" in found.stdout) == (0, False)


def test_a_pattern_takes_every_project(server: Server, world: World, run: Run) -> None:
    generate(world, "team/speech", runs=12)
    assert run("sync", "team/*").exit_code == 0
    assert run("runs", "team/speech", "--count").stdout == "12\n"


def test_mirror_toml_says_what_to_sync(server: Server, run: Run) -> None:
    Path("mirror.toml").write_text('[sync]\ninclude = ["team/vision"]\n')
    assert run("sync").stdout.startswith("team/vision: 60 new\n")


def test_nothing_to_sync_says_what_to_write(server: Server, run: Run) -> None:
    result = run("sync")
    assert result.exit_code == 2
    assert "nothing to sync: name projects" in result.stderr


def test_a_plan_writes_nothing(server: Server, run: Run, tmp_path: Path) -> None:
    result = run("sync", "team/vision", "--plan")
    assert result.exit_code == 0
    assert "first" in result.stdout
    assert "nothing was written" in result.stdout
    assert not (tmp_path / "mirror.db").exists()
    plan = json.loads(run("sync", "team/vision", "--plan", "--json").stdout)
    assert plan["projects"][0]["runs"] == 60


def test_reconcile_finds_what_left_no_trace(synced: Server, world: World, run: Run) -> None:
    name = next(iter(world.project("team/vision").runs))
    world.delete("team/vision", name)
    assert "1 tombstoned" in run("sync", "team/vision", "--reconcile").stdout
    assert run("runs", "team/vision", "--count").stdout == "59\n"


def test_history_is_refused_with_what_is_mirrored(server: Server, run: Run) -> None:
    result = run("sync", "--history", "team/vision")
    assert result.exit_code == 2
    assert "are not mirrored yet" in result.stderr


def test_one_bad_project_does_not_stop_the_others(server: Server, run: Run) -> None:
    result = run("sync", "team/vision", "team/nope")
    assert result.exit_code == 3
    assert "team/vision: 60 new" in result.stdout
    assert "team/nope: failed" in result.stdout
    assert "'team/nope': the server has none of that name" in result.stderr
    assert run("sync", "team/nope").exit_code == 1
    assert run("sync", "team/nope", "--plan").exit_code == 1
    assert run("sync", "team/vision", "team/nope", "--plan").exit_code == 3


def test_registries_that_came_along_do_not_hide_a_failure(
    server: Server, world: World, run: Run
) -> None:
    world.add_organization("acme", teams=["team"], members=["alice"])
    world.artifacts.add_registry("acme", "models")
    result = run("sync", "team/nope", "--json")
    report = json.loads(result.stdout)
    assert [each["kind"] for each in report["projects"]] == ["", "registry"]
    assert (result.exit_code, report["exit_code"]) == (1, 1)
    assert report["store"].endswith("/mirror.db")


@pytest.mark.parametrize("path", [[], ["a/b/c/d"], ["team/\udcff"], ["\udcff/*"]])
@pytest.mark.parametrize("flag", [[], ["--watch"], ["--plan"]])
def test_paths_that_cannot_be_read_are_wrong_use(
    server: Server, run: Run, path: list[str], flag: list[str]
) -> None:
    result = run("sync", *path, *flag)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr


def test_a_pattern_that_finds_nothing_is_said_even_quietly(server: Server, run: Run) -> None:
    result = run("sync", "nobody/*", "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("nobody/*: ")


def test_a_wrong_key_is_a_sentence(
    server: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "x" * 40
    monkeypatch.setenv("WANDB_API_KEY", wrong)
    result = run("sync", "team/vision")
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert "WANDB_API_KEY" in result.stderr
    assert wrong not in result.output
    monkeypatch.delenv("WANDB_API_KEY")
    assert "Error: there is no API key for http://" in run("sync", "team/vision").stderr


def test_a_server_that_is_not_there_is_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    result = run("doctor", "--base-url", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert f"PROBLEM  server: 127.0.0.1:{port} cannot be reached" in result.stdout
    assert KEY not in result.output


def test_a_second_sync_says_who_holds_the_store(synced: Server, run: Run, tmp_path: Path) -> None:
    with Store.open(tmp_path / "mirror.db") as store, lease.held(store):
        result = run("sync", "team/vision")
        assert result.exit_code == 4
        assert f"process {os.getpid()}" in result.stderr
        assert "since" in result.stderr
        assert "syncing now: process" in run("status").stdout
        assert run("runs", "team/vision", "--count").stdout == "60\n"  # readers go on


def test_a_setting_that_is_wrong_is_named_with_its_line(server: Server, run: Run) -> None:
    Path("mirror.toml").write_text('[sync]\nlagg = "5m"\n')
    result = run("sync", "team/vision")
    assert result.exit_code == 2
    assert "mirror.toml:2: unknown setting lagg in [sync]: did you mean lag?" in result.stderr


def test_progress_goes_to_standard_error_in_plain_lines(server: Server) -> None:
    done = subprocess.run(
        _mirror("sync", "team/vision", "--json"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    json.loads(done.stdout)
    assert "\x1b" not in done.stderr


def test_progress_on_a_terminal_is_a_bar_on_standard_error(server: Server, world: World) -> None:
    world.fail("project", latency_s=0.1)
    terminal, end = os.openpty()
    command = _mirror("sync", "team/vision", "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, text=True) as process:
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(terminal, 4096):
                shown += chunk
        out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert json.loads(out)["counts"]["new"] == 60
    assert "team/vision" in shown.decode()
    assert "requests" in shown.decode()
    assert "\x1b[" in shown.decode()


def test_the_daemon_ends_cleanly_when_told_to(server: Server, run: Run, tmp_path: Path) -> None:
    command = _mirror("sync", "--watch", "--json", "team/vision")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        assert json.loads(daemon.stdout.readline())["counts"]["new"] == 60
        daemon.send_signal(signal.SIGTERM)
        _out, err = daemon.communicate(timeout=30)
    assert (daemon.returncode, err) == (0, "")
    with Store.open(tmp_path / "mirror.db") as store:
        assert lease.holder(store) is None


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 3)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_sync_told_to_end_ends_after_its_page_and_goes_on_later(
    server: Server, world: World, run: Run, number: signal.Signals, code: int
) -> None:
    generate(world, "team/large", runs=600)
    world.fail("project", latency_s=0.2)
    pids: list[int] = []
    # By the server, while the second page is waited for: on a busy machine a test that looks from
    # outside may come when the last one is there.
    world.on_page("runs", 2, lambda _world: os.kill(pids[0], number))
    command = _mirror("sync", "team/large")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        pids.append(process.pid)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "ending after the current page" in err
    assert out.startswith("team/large: stopped\n")
    assert "Traceback" not in out + err
    held = int(run("runs", "team/large", "--count").stdout)
    assert 0 < held < 600
    world.heal()
    assert run("sync", "team/large").exit_code == 0
    assert run("runs", "team/large", "--count").stdout == "600\n"


def test_a_second_ctrl_c_ends_at_once_and_the_next_sync_takes_over(
    server: Server, world: World, run: Run
) -> None:
    world.fail("project", latency_s=20)
    with subprocess.Popen(
        _mirror("sync", "team/vision"), stderr=subprocess.PIPE, text=True
    ) as process:
        _wait(lambda: world.requests.count() >= 1)
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        assert "once more to end at once" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
    assert process.returncode == -signal.SIGINT
    world.heal()
    assert run("sync", "team/vision").exit_code == 0


# ------------------------------------------------------------------ status, verify, doctor


def test_status_tells_freshness_and_counts(synced: Server, run: Run) -> None:
    result = run("status")
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if line.startswith("team/vision"))
    assert " s ago " in row
    assert " 60 " in row
    found = json.loads(run("status", "team/vision", "--json").stdout)
    assert found["projects"][0]["runs"] == 60
    assert found["syncs"][0]["outcome"] == "ok"
    assert found["stale"] == []


def test_status_can_judge_for_cron(synced: Server, run: Run, tmp_path: Path) -> None:
    assert run("status", "--max-age", "1h").exit_code == 0
    with Store.open(tmp_path / "mirror.db") as store, store.begin() as tx:
        tx.connection.exec_driver_sql("UPDATE sync_state SET synced_at = '2020-01-01T00:00:00Z'")
    result = run("status", "--max-age", "1h")
    assert result.exit_code == 3
    assert "stale: team/vision" in result.stdout


def test_verify_finds_no_difference_after_a_sync(synced: Server, run: Run) -> None:
    result = run("verify", "team/vision", "--deep")
    assert (result.exit_code, result.stdout) == (0, "no difference\n")


def test_verify_lists_differences(synced: Server, world: World, run: Run) -> None:
    name = next(
        name for name, one in world.project("team/vision").runs.items() if one.state == "finished"
    )
    world.edit("team/vision", name, tags=["new"])
    result = run("verify")
    assert result.exit_code == 3
    assert name in result.stdout
    assert [each["kind"] for each in json.loads(run("verify", "--json").stdout)] == ["stale"]


def test_doctor_finds_a_sound_set_up_sound(synced: Server, run: Run) -> None:
    Path("mirror.toml").write_text('[sync]\ninclude = ["team/vision"]\n')
    result = run("doctor")
    assert result.exit_code == 0
    assert "from WANDB_API_KEY" in result.stdout
    assert "the key is alice's" in result.stdout
    assert "PROBLEM" not in result.stdout
    assert "warning" not in result.stdout


def test_doctor_names_a_remedy_for_each_finding(run: Run) -> None:
    found = json.loads(run("doctor", "--json").stdout)
    assert {each["check"]: each["level"] for each in found}["key"] == "problem"
    for each in found:
        assert (each["remedy"] is None) == (each["level"] == "ok"), each


def test_doctor_sees_a_store_that_others_may_read(synced: Server, run: Run, tmp_path: Path) -> None:
    (tmp_path / "mirror.db").chmod(0o644)
    assert "others may read" in run("doctor").stdout


def test_doctor_says_what_is_wrong_with_a_setting(run: Run) -> None:
    Path("mirror.toml").write_text("[sync\n")
    result = run("doctor")
    assert result.exit_code == 1
    assert "PROBLEM  settings:" in result.stdout


FAULTS = [
    pytest.param({"status": 400, "message": f"what is {KEY}?"}, id="a server that repeats the key"),
    pytest.param({"status": 403, "message": f"{KEY} may not"}, id="forbidden"),
    pytest.param({"errors": [{"message": f"{KEY} and {KEY}"}]}, id="errors under 200"),
    pytest.param({"truncate": True, "times": 99}, id="broken JSON", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("debug", [False, True], ids=["", "--debug"])
def test_the_key_is_shown_nowhere_on_a_bad_day(
    synced: Server, world: World, tmp_path: Path, fault: dict[str, Any], debug: bool
) -> None:
    world.fail("project", **fault)
    command = _mirror("sync", "team/vision", "--json", *(["--debug"] if debug else []))
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode in (1, 3)
    assert "Error" in done.stderr or json.loads(done.stdout)["failures"]
    assert KEY not in done.stdout + done.stderr
    assert_not_stored(tmp_path / "mirror.db", KEY)


def test_the_key_is_shown_nowhere_on_a_good_day(synced: Server, run: Run, tmp_path: Path) -> None:
    for args in (
        ("doctor",),
        ("status", "--json"),
        ("sync", "team/vision"),
        ("verify",),
        ("sync", "team/nope"),
    ):
        assert KEY not in run(*args).output
    assert_not_stored(tmp_path / "mirror.db", KEY)


def assert_not_stored(path: Path, secret: str) -> None:
    """Fail if a text is in a store, in whatever table, also inside what is compressed."""
    with Store.open(path) as store, store.read() as connection:
        for table in tables.metadata.sorted_tables:
            for row in connection.execute(sa.select(table)):
                for value in row:
                    packed = isinstance(value, bytes)
                    assert secret not in str(unpack(value) if packed else value), table.name


# ------------------------------------------------------------------ init, schedule


def test_init_writes_a_file_that_is_read_back(run: Run) -> None:
    result = run("init")
    assert result.exit_code == 0
    assert "wrote mirror.toml: name your projects in it" in result.stdout
    assert run("init").exit_code == 2
    assert run("init", "--force").exit_code == 0
    assert "PROBLEM  settings" not in run("doctor").stdout
    assert "cannot write no/such/folder" in run("init", "--file", "no/such/folder").stderr


@pytest.mark.parametrize("path", ["team", "[", "team/\udcff"])
def test_init_refuses_what_sync_could_not_read(run: Run, path: str) -> None:
    assert run("init", path).exit_code == 2
    assert not Path("mirror.toml").exists()


def test_init_names_projects_and_store(
    server: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIRROR_STORE")
    assert run("init", "team/*", "--store", "here.db").exit_code == 0
    assert run("sync").stdout.startswith("team/vision: 60 new\n")
    assert Path("here.db").exists()


def test_a_schedule_runs_this_installation(run: Run) -> None:
    line = run("schedule", "--cron", "--every", "10m", "team/*").stdout
    assert line.startswith("*/10 * * * * cd ")
    assert "sync --quiet 'team/*'" in line
    assert "[Timer]" in run("schedule", "--systemd").stdout
    assert "<plist" in run("schedule", "--launchd").stdout
    assert run("schedule").exit_code == 2
    assert run("schedule", "--cron", "--every", "7h").exit_code == 2


# ------------------------------------------------------------------ as a process


def test_a_reader_that_goes_away_is_no_error(synced: Server) -> None:
    command = f"{sys.executable} -m mirror runs team/vision --jsonl | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    json.loads(done.stdout)


INTERRUPTED_WHILE_IT_LOADS = """
import os, signal, sys
from mirror.__main__ import main

class Interrupt:
    def find_spec(self, name, *_args):
        if name == "mirror.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
main()
"""


def test_ctrl_c_while_the_command_line_loads_leaves_no_traceback() -> None:
    command = [sys.executable, "-c", INTERRUPTED_WHILE_IT_LOADS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_help_is_quick_to_load() -> None:
    code = "import mirror.cli, sys; print(*sorted({'sqlalchemy','httpx','alembic','numpy','wandb'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_version_is_told(run: Run) -> None:
    import mirror

    assert mirror.__version__ in run("--version").stdout


def test_the_demo_ends_by_itself_and_leaves_a_store(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("demo", "--runs", "300", "--folder", "demo")
    assert result.exit_code == 0
    assert "300 new" in result.stdout
    assert "nothing new: " in result.stdout
    assert "1 new, 2 edited, 1 deleted" in result.stdout
    store = tmp_path / "demo" / "mirror.db"
    assert run("runs", "team/vision", "--store", str(store), "--count").stdout == "300\n"
    tagged = run(
        "runs", "team/vision", "--store", str(store), "--count", "--filter", '{"tags": "table-2"}'
    )
    assert tagged.stdout == "1\n"
