"""Entries that refer to files of other versions, or elsewhere: what a download makes of them."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

import mirror
from mirror.config import Config
from mirror.errors import ContentError, NotFound
from mirror.sandbox import World
from mirror.sandbox.artifact_objects import Entry

KEY = "a1b2c3d4e5" * 4
pytestmark = pytest.mark.parametrize("engine", ["sqlite"])
DATA, MORE, LAST = "team/vision/data", "team/vision/more", "team/vision/last"


def address(world: World, name: str, path: str) -> str:
    identifier = base64.b64decode(world.artifacts.version(name).id).hex()
    return f"wandb-artifact://{identifier}/{path}"


@pytest.fixture
def world() -> World:
    """`more` refers to a file of `data`, `last` to that reference, to no file, and to an object store."""
    world = World()
    world.add_user("dev", key=KEY, teams=["team"])
    world.add_project("team", "vision", user="dev")
    log = world.artifacts.log
    log(DATA, files={"a.txt": b"one", "deep/b.txt": b"two"}, references={"s3.bin": "s3://bucket/k"})
    refs = {"near/b.txt": address(world, f"{DATA}:v0", "deep/b.txt")}
    log(MORE, files={"own.txt": b"own"}, references=refs)
    log(LAST, references={"b.txt": address(world, f"{MORE}:v0", "near/b.txt")})
    log(LAST, references={"none": address(world, f"{DATA}:v0", "nothing")})
    log(LAST, references={"far": address(world, f"{DATA}:v0", "s3.bin")})
    return world


@pytest.fixture
def api(config: Config) -> mirror.Api:
    return mirror.Api(config=config)


def below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (f"{MORE}:v0", {"own.txt": b"own", "near/b.txt": b"two"}),
        (f"{LAST}:v0", {"b.txt": b"two"}),
        (f"{LAST}:v2", {}),
    ],
)
def test_files_of_other_versions_come_along_and_offline_too(
    world: World,
    api: mirror.Api,
    config: Config,
    tmp_path: Path,
    name: str,
    files: dict[str, bytes],
) -> None:
    api.artifact(name).download(str(tmp_path / "one"))
    assert below(tmp_path / "one") == files
    asked = len(world.requests)
    offline = mirror.Api(config=replace(config, api_key=None), mode="offline")
    offline.artifact(name).download(str(tmp_path / "two"))
    assert below(tmp_path / "two") == files
    assert len(world.requests) == asked


def test_contents_that_are_here_are_known_by_the_digest_alone(
    world: World, api: mirror.Api, config: Config, tmp_path: Path
) -> None:
    api.artifact(f"{DATA}:v0").download(str(tmp_path / "data"))
    with world.lock:  # as the real client stores it: with the digest of the file, and no size
        more = world.artifacts.version(f"{MORE}:v0")
        digest = next(
            e.digest for e in world.artifacts.version(f"{DATA}:v0").entries if "b" in e.path
        )
        ref = address(world, f"{DATA}:v0", "deep/b.txt")
        world.artifacts.fill(more, [Entry("b.txt", digest, 0, ref=ref)])
    api.artifact(f"{MORE}:v0").download(str(tmp_path / "one"))
    assert below(tmp_path / "one") == {"b.txt": b"two"}


def test_a_reference_to_no_file_is_told(api: mirror.Api, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'none' refers to 'nothing' of artifact"):
        api.artifact(f"{LAST}:v1").download(str(tmp_path / "out"))


def test_one_reference_is_fetched_when_it_is_asked_for(
    world: World, api: mirror.Api, tmp_path: Path
) -> None:
    (tmp_path / "local.txt").write_bytes(b"here")
    references = {"l.txt": (tmp_path / "local.txt").as_uri(), "s3.bin": "s3://bucket/key"}
    world.artifacts.log("team/vision/refs", references=references)
    artifact = api.artifact("team/vision/refs:v0")
    artifact.download(str(tmp_path / "out"))
    assert below(tmp_path / "out") == {}
    got = artifact.get_entry("l.txt").download(str(tmp_path / "out"))
    assert Path(got).read_bytes() == b"here"
    with pytest.raises(ContentError, match="reference to s3"):
        artifact.get_entry("s3.bin").download(str(tmp_path / "out"))


def test_a_file_without_a_signed_address_comes_by_its_path_below_the_api(
    world: World, api: mirror.Api, tmp_path: Path
) -> None:
    world.fail("storage", status=403, skip=1)  # after the manifest; what a firewall may do, too
    api.artifact(f"{DATA}:v0").download(str(tmp_path / "out"))
    assert below(tmp_path / "out") == {"a.txt": b"one", "deep/b.txt": b"two"}
    assert {request.path.split("/")[1] for request in world.requests.of("by_key")} == {
        "artifactsV2"
    }
