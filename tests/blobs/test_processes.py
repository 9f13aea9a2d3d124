"""Real processes: killed in the middle, two at once, and a disk that takes no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from host import Host, md5
from test_download import BODY, nothing_but

from mirror.blobs import BlobStore

CHILD = Path(__file__).with_name("child.py")


def start(host: Host, place: Path, out: str = "out", file_bytes: int | None = None) -> subprocess.Popen[str]:  # fmt: skip
    entries = [f"{path}:{md5(body)}:{len(body)}" for path, body in host.files.items()]
    limit = "-" if file_bytes is None else str(file_bytes)
    return subprocess.Popen(
        [sys.executable, str(CHILD), host.url, str(place / "blobs"), str(place / out), limit, *entries],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def wait_until(true: object) -> None:
    end = time.monotonic() + 30
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_killed_download_leaves_nothing_visible_and_the_next_goes_on(host: Host, tmp_path: Path) -> None:  # fmt: skip
    host.files, host.faults = {"a": BODY}, ["slow"]
    process = start(host, tmp_path)
    assert host.half_sent.wait(30)
    half = (len(BODY) + 1) // 2
    wait_until(lambda: BlobStore(tmp_path / "blobs").size().incoming_bytes == half)
    process.send_signal(signal.SIGKILL)
    ended(process)
    host.go_on.set()
    blobs = BlobStore(tmp_path / "blobs")
    assert nothing_but(tmp_path / "out", {})
    assert (blobs.size().files, blobs.size().incoming) == (0, 1)
    assert ended(start(host, tmp_path)) == (0, "1 1\n")
    assert [given for _path, given, _key in host.asked] == [None, f"bytes={half}-"]
    assert nothing_but(tmp_path / "out", host.files)
    assert blobs.size().incoming == 0
    assert [*blobs.verify()] == []


def test_two_processes_fetch_a_digest_once(host: Host, tmp_path: Path) -> None:
    host.files, host.faults = {"a": BODY}, ["slow"]
    one = start(host, tmp_path, "one")
    assert host.half_sent.wait(30)
    other = start(host, tmp_path, "other")
    wait_until(lambda: (tmp_path / "other").is_dir())
    time.sleep(0.1)  # it now waits at the lock; the outcome is the same if it does not yet
    host.go_on.set()
    assert ended(one) == (0, "1 1\n")
    assert ended(other)[0] == 0
    assert len(host.asked) == 1
    for out in ("one", "other"):
        assert nothing_but(tmp_path / out, host.files)


def test_the_one_who_waits_takes_over_from_the_one_who_is_killed(host: Host, tmp_path: Path) -> None:  # fmt: skip
    host.files, host.faults = {"a": BODY}, ["slow"]
    one = start(host, tmp_path, "one")
    assert host.half_sent.wait(30)
    half = (len(BODY) + 1) // 2
    wait_until(lambda: BlobStore(tmp_path / "blobs").size().incoming_bytes == half)
    other = start(host, tmp_path, "other")
    wait_until(lambda: (tmp_path / "other").is_dir())
    one.kill()
    ended(one)
    assert ended(other) == (0, "1 1\n")
    host.go_on.set()
    assert host.asked[-1][1] == f"bytes={half}-"
    assert nothing_but(tmp_path / "other", host.files)


@pytest.mark.parametrize("limit", [1000, len(BODY) - 1])
def test_a_full_disk_is_told_in_a_sentence_and_gets_its_bytes_back(host: Host, tmp_path: Path, limit: int) -> None:  # fmt: skip
    host.files = {"a": BODY}
    code, said = ended(start(host, tmp_path, file_bytes=limit))
    assert code == 1
    assert said.startswith("NoRoom: ")
    assert "mirror blobs gc" in said
    assert said.count("\n") == 1
    assert nothing_but(tmp_path / "out", {})
    total = BlobStore(tmp_path / "blobs").size()
    assert (total.files, total.incoming_bytes) == (0, 0)
    assert ended(start(host, tmp_path)) == (0, "1 1\n")


@pytest.mark.parametrize("size", [len(BODY), 5000])
def test_a_copy_that_does_not_fit_leaves_nothing(host: Host, tmp_path: Path, size: int) -> None:
    host.files = {"a": BODY[:size]}
    assert ended(start(host, tmp_path, "one"))[0] == 0
    code, said = ended(start(host, tmp_path, "other", file_bytes=1000))
    assert (code, said.split(":")[0]) == (1, "NoRoom")
    assert nothing_but(tmp_path / "other", {})


def test_an_interrupted_download_waits_for_no_silent_server(host: Host, tmp_path: Path) -> None:
    host.files = {f"f{i}": BODY[i:] for i in range(3)}
    host.faults = ["slow"] * 3
    process = start(host, tmp_path)
    wait_until(lambda: BlobStore(tmp_path / "blobs").size().incoming == 3)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=25)  # the server would go on after 30 s
    assert "KeyboardInterrupt" in err
    assert not host.go_on.is_set()
    assert nothing_but(tmp_path / "out", {})
    host.go_on.set()
    assert ended(start(host, tmp_path)) == (0, "3 3\n")


@pytest.mark.slow
def test_a_download_killed_at_any_moment_ends_whole(host: Host, tmp_path: Path) -> None:
    host.files = {f"d{i % 7}/f{i}": os.urandom(2000) for i in range(300)}
    for kill in range(12):
        process = start(host, tmp_path)
        time.sleep(0.25 + 0.05 * kill)
        process.kill()
        ended(process)
        for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
            assert path.read_bytes() == host.files[str(path.relative_to(tmp_path / "out"))]
        assert [*BlobStore(tmp_path / "blobs").verify()] == []
    assert ended(start(host, tmp_path))[0] == 0
    assert nothing_but(tmp_path / "out", host.files)
    assert BlobStore(tmp_path / "blobs").size().incoming == 0


@pytest.mark.slow
def test_eight_processes_share_a_folder_and_a_quotaless_store(host: Host, tmp_path: Path) -> None:
    host.files = {f"f{i}": os.urandom(3000) for i in range(100)}
    processes = [start(host, tmp_path, f"out{i % 4}") for i in range(8)]
    assert {ended(process)[0] for process in processes} == {0}
    for i in range(4):
        assert nothing_but(tmp_path / f"out{i}", host.files)
    assert len(host.asked) == 100
