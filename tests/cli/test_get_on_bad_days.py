"""`mirror get` against the sandbox when something goes wrong, in processes of its own where it must."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Run
from files_of_a_run import RUN, below, sync_from, world_with

from mirror.blobs import BlobStore
from mirror.sandbox import Server, World

FILES = {f"part{i}.bin": bytes([i]) * 300_000 for i in range(3)}
VERSION = "team/vision/data:v0"
CHILD = (sys.executable, "-m", "mirror")

HOSTILE = {
    "absolute": ({"/etc/x": b"1"}, "absolute path"),
    "upwards": ({"a/../../x": b"1"}, "leads upwards"),
    "windows": ({"C:\\x": b"1"}, "absolute path"),
    "nul": ({"a\0b": b"1"}, "NUL"),
    "long": ({"x" * 300: b"1"}, "300 bytes"),
    "deep": ({"/".join(["d" * 200] * 30): b"1"}, "too long"),
}


@pytest.fixture
def world() -> World:
    world = world_with(FILES)
    world.artifacts.log("team/vision/data", files=FILES)
    for name, (entries, _said) in HOSTILE.items():
        world.artifacts.log(f"team/vision/{name}", files={**entries, "fine.txt": b"fine"})
    return world


@pytest.fixture
def server(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the world whose project was synced into the store that the settings name."""
    with Server(world) as running:
        sync_from(running, run, monkeypatch)
        yield running


def kept() -> BlobStore:
    return BlobStore(Path.home() / "m.db.blobs")


def start(*args: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CHILD, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# ------------------------------------------------------------------ addresses


def test_addresses_of_an_artifact_that_expire_are_asked_for_once_more(
    world: World, server: Server, run: Run, tmp_path: Path
) -> None:
    world.on_page("storage", 2, World.expire_urls)  # the manifest is the first
    done = run("get", VERSION, "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert below(tmp_path / "out") == FILES
    assert len(world.requests.of("ApiFilesOfArtifact")) == 2


def test_addresses_of_a_run_that_expire_are_asked_for_once_more(
    world: World, server: Server, run: Run, tmp_path: Path
) -> None:
    world.fail("files", status=403, times=1)  # as a store of objects does after an hour
    done = run("get", f"{RUN}/*", "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert below(tmp_path / "out") == FILES
    assert len(world.requests.of("MirrorFiles")) == 1  # the list itself came with the sync


def test_a_refusal_that_stays_is_told_and_nothing_is_left(
    world: World, server: Server, run: Run, tmp_path: Path
) -> None:
    world.fail("artifact_files", status=403)
    done = run("get", VERSION, "--to", tmp_path / "out")
    assert done.exit_code == 1
    assert "refused (403)" in done.stderr
    assert below(tmp_path / "out") == {}
    assert kept().size().files == 0


# ------------------------------------------------------------------ bodies


@pytest.mark.parametrize("fault", [{"truncate": True}, {"drop": "body"}, {"status": 503}])
def test_a_body_that_breaks_is_gone_on_with(
    world: World, server: Server, run: Run, tmp_path: Path, fault: dict[str, object]
) -> None:
    world.fail("artifact_files", times=1, **fault)
    done = run("get", VERSION, "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert below(tmp_path / "out") == FILES


def test_wrong_bytes_are_told_and_thrown_away(
    world: World, server: Server, run: Run, tmp_path: Path
) -> None:
    world.fail("artifact_files", corrupt=True)
    done = run("get", VERSION, "--to", tmp_path / "out")
    assert done.exit_code == 1
    assert "was expected" in done.stderr
    assert below(tmp_path / "out") == {}
    assert kept().size().files == 0
    world.heal()  # what broke off meanwhile began with a wrong byte: it is fetched anew
    assert run("get", VERSION, "--to", tmp_path / "out").exit_code == 0
    assert below(tmp_path / "out") == FILES


# ------------------------------------------------------------------ names and places


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_before_anything_is_fetched(
    world: World, server: Server, run: Run, tmp_path: Path, name: str
) -> None:
    place = tmp_path / "a" / "b"
    done = run("get", f"team/vision/{name}:v0", "--to", place)
    assert done.exit_code == 1
    assert HOSTILE[name][1] in done.stderr
    assert below(tmp_path / "a") == {}
    assert not world.requests.of("artifact_files")


def test_a_file_and_a_folder_of_one_name_are_told_and_the_rest_comes(
    world: World, server: Server, run: Run, tmp_path: Path
) -> None:
    world.artifacts.log("team/vision/both", files={"a": b"1", "a/b": b"2", "c": b"3"})
    done = run("get", "team/vision/both:v0", "--to", tmp_path / "out")
    assert done.exit_code == 3
    assert done.stderr == "a: left out: a folder has its name\n"
    assert below(tmp_path / "out") == {"a/b": b"2", "c": b"3"}


def test_a_target_that_is_a_file_is_told(server: Server, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    done = run("get", VERSION, "--to", tmp_path / "out")
    assert done.exit_code == 2  # wrong use: --to is a folder
    assert "is a file" in done.stderr
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(server: Server, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o555)
    done = run("get", VERSION, "--to", tmp_path / "out")
    assert done.exit_code == 1
    assert "Permission denied" in done.stderr


def test_a_quota_smaller_than_one_file_still_downloads_it(
    server: Server, run: Run, tmp_path: Path
) -> None:
    Path("mirror.toml").write_text('[contents]\nquota = "10KB"\n')
    done = run("get", VERSION, "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert below(tmp_path / "out") == FILES
    assert kept().size().files == 0


# ------------------------------------------------------------------ processes


def test_ctrl_c_ends_a_download_without_a_trace_and_it_goes_on_later(
    world: World, server: Server, tmp_path: Path
) -> None:
    world.fail("artifact_files", trickle_s=30)
    process = start("get", VERSION, "--to", tmp_path / "out")
    wait_until(lambda: kept().size().incoming_bytes > 0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "run it again to go on" in err
    assert below(tmp_path / "out") == {}
    world.heal()
    again = start("get", VERSION, "--to", tmp_path / "out")
    out, err = again.communicate(timeout=60)
    assert (again.returncode, err) == (0, "")
    assert below(tmp_path / "out") == FILES
    assert kept().size().incoming == 0


def test_two_at_once_fill_one_folder_and_fetch_each_file_once(
    world: World, server: Server, tmp_path: Path
) -> None:
    world.fail("artifact_files", latency_s=0.2)
    both = [start("get", VERSION, "--to", tmp_path / "out") for _ in range(2)]
    for process in both:
        _out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    assert below(tmp_path / "out") == FILES
    assert len(world.requests.of("artifact_files")) == len(FILES)


@pytest.mark.parametrize(("option", "said"), [((), True), (("--quiet",), False)])
def test_progress_is_for_a_terminal_and_not_for_the_quiet(
    server: Server, tmp_path: Path, option: tuple[str, ...], said: bool
) -> None:
    terminal, end = os.openpty()
    command = [*CHILD, "get", VERSION, "--to", str(tmp_path / "out"), *option]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, check=False)
    os.close(end)
    seen = b""
    with contextlib.suppress(OSError):  # the end of what a terminal shows
        while block := os.read(terminal, 4096):
            seen += block
    os.close(terminal)
    assert done.returncode == 0
    assert (b" of 3 files" in seen, seen.endswith(b"\r\x1b[K")) == (said, said)
    assert bool(done.stdout) == said
    assert below(tmp_path / "out") == FILES
