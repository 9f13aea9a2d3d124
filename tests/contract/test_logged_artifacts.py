"""Artifacts that the real package logged into the sandbox, and large ones, read by both clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compare import outcome, same
from filled import KEY
from logged import run_beside
from new_stores import new_settings
from shelved import shown

import mirror
from mirror.config import Config
from mirror.sandbox import Server, World, generate_artifacts
from mirror.sync import sync

PATH, MANY, WIDE = "team/shelf", "team/many", "team/wide"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    world = World()
    world.add_user("alice", key=KEY, entity="team", teams=["team"])
    world.add_organization("acme", teams=["team"], members=["alice"])
    world.add_project("team", "shelf")
    world.artifacts.add_registry("acme", "models", members={"alice": "admin"})
    with Server(world) as running:
        yield running


@pytest.fixture(scope="module")
def logged(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server, when the real package has logged into it."""
    run_beside("log_artifacts.py", server, tmp_path_factory)
    return server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def config(
    request: pytest.FixtureRequest,
    logged: Server,
    postgres_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Config]:
    """Settings for a store that mirrors what was logged."""
    with new_settings(request.param, logged, tmp_path_factory, request) as found:
        assert sync([PATH], config=found).ok
        yield found


@pytest.fixture(scope="module")
def real_here(real: Any, server: Server) -> Any:
    """The real client on this server."""
    import wandb

    return wandb.Api({"base_url": server.url, "entity": "team"}, timeout=60, api_key=KEY)


def held(api: Any, name: str) -> Any:
    artifact = api.artifact(name)
    entries = artifact.manifest.entries.items()
    return [(path, repr(one), one.to_json(), one.size, one.extra) for path, one in entries]


def put(api: Any, name: str, root: Path) -> Any:
    api.artifact(name).download(str(root))
    return sorted(
        (str(p.relative_to(root)), p.read_bytes()) for p in root.rglob("*") if p.is_file()
    )


NAMES = ("shelf/data:first", "shelf/data:best", "shelf/net:latest", "shelf/nets:prod", "wandb-registry-models/nets:staging")  # fmt: skip
STORED: list[Callable[[Any], Any]] = [
    *[lambda api, name=name: shown(api.artifact(name)) for name in NAMES],
    lambda api: [shown(one) for one in api.artifacts("dataset", f"{PATH}/data")],
    lambda api: [(one.name, one.aliases) for one in api.artifact_collections(PATH, "dataset")],
    lambda api: [repr(api.artifact(name).logged_by()) for name in NAMES],
    lambda api: [list(map(repr, api.artifact(name).used_by())) for name in NAMES],
    lambda api: [one.name for one in api.run(f"{PATH}/uses").used_artifacts()],
    lambda api: [one.name for one in api.registries().versions({"alias": "staging"})],
    lambda api: [one.name for one in api.registries().versions({"metadata.acc": {"$gt": 0.1}})],
    lambda api: api.artifact(f"{PATH}/data:v2"),
]


@pytest.mark.parametrize("at", range(len(STORED)))
def test_logged_artifacts_are_the_same_offline(at: int, config: Config, real_here: Any) -> None:
    offline = mirror.Api({"entity": "team"}, config=replace(config, api_key=None), mode="offline")
    found, wanted = outcome(STORED[at], offline), outcome(STORED[at], real_here)
    assert same(found, wanted), f"ours   {found}\ntheirs {wanted}"


@pytest.mark.parametrize("name", NAMES)
def test_contents_are_the_same_and_stay(
    name: str, config: Config, real_here: Any, tmp_path: Path
) -> None:
    reading = mirror.Api({"entity": "team"}, config=config)
    assert held(reading, name) == held(real_here, name)
    files = put(reading, name, tmp_path / "ours")
    if name != "shelf/data:first" and name != "shelf/data:best":  # no handler for its reference
        assert files == put(real_here, name, tmp_path / "theirs")
    offline = mirror.Api({"entity": "team"}, config=replace(config, api_key=None), mode="offline")
    assert put(offline, name, tmp_path / "again") == files
    assert held(offline, name) == held(real_here, name)  # from the tables


@pytest.mark.slow
def test_large_collections_and_manifests(
    server: Server, config: Config, real_here: Any, tmp_path: Path
) -> None:
    generate_artifacts(server.world, MANY, versions=1000, collections=1, files=1)
    generate_artifacts(server.world, WIDE, versions=1, collections=1, files=10_000)
    assert sync([MANY, WIDE], config=config).ok
    offline = mirror.Api({"entity": "team"}, config=replace(config, api_key=None), mode="offline")

    def listed(api: Any) -> Any:
        kind = next(iter(api.artifact_types(MANY)))
        (name,) = [one.name for one in kind.collections()]
        found = api.artifacts(kind.name, f"{MANY}/{name}", per_page=100)
        return len(found), [(one.name, one.aliases, one.tags, one.metadata) for one in found]

    assert outcome(listed, offline) == outcome(listed, real_here)

    def wide(api: Any) -> str:
        kind = next(iter(api.artifact_types(WIDE)))
        return f"{WIDE}/{next(iter(kind.collections())).name}:latest"

    reading = mirror.Api({"entity": "team"}, config=config)
    assert held(reading, wide(reading)) == held(real_here, wide(real_here))
