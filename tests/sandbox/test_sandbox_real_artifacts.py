"""The unmodified `wandb` package logs, reads, links and searches artifacts on a sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from real_process import KEY, seen_by

from mirror.sandbox import Server, World, generate_artifacts


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    world.add_user("bob")
    world.add_project("team", "shelf")
    world.add_organization("acme", teams=["team"], members=["alice", "bob"])
    world.entities["team"].xxhash_digests_enabled = True
    return world


@pytest.fixture(scope="module")
def seen(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script printed, once for all tests: the client takes seconds to start."""
    with Server(world) as server:
        return seen_by("real_artifacts.py", server.url, tmp_path_factory.mktemp("wandb"))


EXPECTED = {
    "versions": ["v0", "v0", "v1"],
    "used": ["v0", ["best"], {"k": 0, "nan": None}, ["a b"]],
    "down": {
        "folder/deep/er/größe 1.txt": "deep",
        "folder/empty.txt": "",
        "folder/top.txt": "top",
        "more.txt": "more",
        "near.txt": "top",
    },
    "prefix": ["folder/deep/er/größe 1.txt"],
    "one": "one",
    "verified": "nothing",
    "checkout": "nothing",
    "multipart": 1000,
    "entries": [
        "folder/deep/er/größe 1.txt",
        "folder/empty.txt",
        "folder/top.txt",
        "more.txt",
        "near.txt",
    ],
    "born": True,
    "refs": "hdfs://host/key",
    "digest": True,
    "sizes": [13, 5, 1000],
    "algorithm": ["MANIFEST_MD5", "MANIFEST_XXH128"],
    "files": [
        "folder/deep/er/größe 1.txt",
        "folder/empty.txt",
        "folder/top.txt",
        "more.txt",
        "near.txt",
    ],
    "file_count": 5,
    "named": ["f.txt"],
    "logged_by": ["logs", "uses"],
    "used_by": ["uses"],
    "logged": ["data:v0", "data:v1", "far:v0", "net:v0"],
    "inputs": ["data:v0"],
    "types": ["dataset", "model"],
    "collections": ["far", "data"],
    "listed": ["data:v2", "data:v1", "data:v0"],
    "ordered": ["data:v0", "data:v1", "data:v2"],
    "tagged": ["data:v1", "data:v0"],
    "exists": [True, False, False],
    "missing": "CommError",
    "links": ["team/shelf/nets:v0"],
    "by_digest": "v0",
    "aliases": ["best", "latest", "v0", "v1", "v2"],
    "is_sequence": [True, False],
    "edited": ["edited", {"k": [1, {"n": None}]}, ["new"], ["best"], "2 days, 0:00:00"],
    "collection": ["renamed", "all of it", ["t2"]],
    "aliased": "CommError",
    "left": ["renamed:v1", "renamed:v0"],
    "latest": "v1",
    "type": "pointer",
    "retyped": [["far", "pointer"], ["net", "model"], ["renamed", "dataset"]],
    "chosen": ["renamed"],
    "without_alias": ["latest"],
    "deleted_collection": False,
    "unlinked": [],
    "linked": [
        "acme-org/wandb-registry-models/nets:v0",
        "team/made/net:v0",
        True,
        ["latest", "prod"],
    ],
    "refused": "CommError",
    "twice": "ValueError",
    "members": [["Entity", "team", "viewer"], ["User", "alice", "admin"], ["User", "bob", "admin"]],
    "members_left": ["admin", "member"],
    "registries": [
        ["all", "organization", True, ["dataset"]],
        ["nets", "restricted", False, ["model"]],
    ],
    "registry": ["renamed now", "wandb-registry-nets"],
    "by_name": ["all"],
    "by_regex": ["nets", "all"],
    "by_tag": ["nets"],
    "count": 2,
    "found": ["acme-org/wandb-registry-all/sets:v1", "acme-org/wandb-registry-nets/nets:v0"],
    "by_metadata": ["acme-org/wandb-registry-all/sets:v0"],
    "in_order": [
        "acme-org/wandb-registry-all/sets:v1",
        "acme-org/wandb-registry-all/sets:v0",
        "acme-org/wandb-registry-nets/nets:v0",
    ],
    "no_order": "UnsupportedError",
    "bad_field": "ValidationError",
    "resolved": "v1",
    "link_gone": ["acme-org/wandb-registry-all/sets:v0"],
    "no_organization": "ValueError",
    "deleted": [None, ["nets"]],
    "after": [],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_real_client_sees_the_artifacts_it_made(seen: dict[str, Any], name: str) -> None:
    assert seen[name] == EXPECTED[name]


def test_nothing_it_printed_is_left_unsaid(seen: dict[str, Any]) -> None:
    assert seen.keys() == EXPECTED.keys()


TROUBLE = {
    "expired URLs": {"target": "storage", "skip": 1, "status": 403},
    "a bad gateway twice": {"target": "artifact_files", "times": 2, "status": 502},
    "slow": {"target": "artifact_files", "trickle_s": 0.3},
}


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE.keys())
def test_the_real_client_gets_its_files_in_spite_of_trouble(
    tmp_path: Path, trouble: dict[str, Any]
) -> None:
    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    world.add_project("team", "made")
    files = {f"{number}.txt": f"content {number}" for number in range(5)}
    world.artifacts.log("team/made/data", "dataset", files)
    world.fail(**trouble)
    with Server(world) as server:
        found = seen_by("real_downloads.py", server.url, tmp_path, "team/made/data:latest")
    assert found == {"files": files, "listed": 1}
    assert world.requests.count("by_key") == (5 if trouble.get("status") == 403 else 0)


@pytest.mark.slow
def test_the_real_client_reads_a_large_manifest_and_a_long_collection(tmp_path: Path) -> None:
    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    generate_artifacts(world, "team/made", versions=1000, collections=1, files=300)
    [name] = world.projects["team/made"].shelf.collections
    with Server(world) as server:
        found = seen_by("real_downloads.py", server.url, tmp_path, f"team/made/{name}:v77")
    assert len(found["files"]) == 300
    assert found["listed"] == 1000
