"""Downloads that go on where they broke, and that wait where the server asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.errors import NotFound, RateLimited, RemoteError
from mirror.remote.client import Client
from mirror.remote.downloads import TRIES, download
from mirror.sandbox import Server, World
from mirror.sandbox.objects import StoredFile

KEY = "5ecre7" * 7


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def world() -> World:
    made = World()
    made.add_user("alice", key=KEY, entity="alice", teams=["team"])
    made.add_project("team", "vision")
    record = made.add_run("team/vision", name="r").recorded()
    record.files["data.bin"] = StoredFile(1, "data.bin", made.stamp(), b"0123456789")
    return made


def fetched(world: World, naps: list[float], file: Path) -> bytes:
    with Server(world, port=0) as server, Client(server.url, KEY, sleep=naps.append) as client:
        download(client, f"{server.url}/files/team/vision/r/data.bin", file)
    return file.read_bytes()


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        ({"drop": "connection", "times": 2}, False),
        ({"drop": "body", "times": 2}, False),
        ({"status": 503, "times": 2}, True),
        ({"status": 429, "retry_after": 7, "times": 1}, True),
    ],
    ids=["connection", "body", "503", "429"],
)
def test_passing_trouble_is_waited_out(
    world: World, naps: list[float], file: Path, fault: dict[str, object], waited: bool
) -> None:
    world.fail("files", **fault)
    assert fetched(world, naps, file) == b"0123456789"
    assert (naps[0] > 0) is waited
    assert naps == [7] or "retry_after" not in fault


@pytest.mark.parametrize(
    ("fault", "kind", "tries"),
    [
        ({"status": 404}, NotFound, 1),
        ({"status": 403}, RemoteError, 1),
        ({"status": 500}, RemoteError, TRIES),
        ({"status": 429, "retry_after": 3600}, RateLimited, 1),
    ],
    ids=["404", "403", "500", "an hour"],
)
def test_other_trouble_is_told(
    world: World, naps: list[float], file: Path, fault: dict[str, object], kind: type, tries: int
) -> None:
    world.fail("files", **fault)
    with pytest.raises(kind):
        fetched(world, naps, file)
    assert len(naps) == tries - 1
    assert list(file.parent.iterdir()) == []
