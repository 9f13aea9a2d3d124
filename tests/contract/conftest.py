"""One sandbox, the real client against it, and `mirror.Api` offline over stores synced from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filled import EMPTY, HARD, KEY, MANY, QUEUES, filled
from new_stores import new_store

from mirror.config import Config, resolve
from mirror.sandbox import Server, World
from mirror.sync import sync

PATHS = [HARD, MANY, EMPTY, QUEUES]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The real client warns about much that is not ours to mend."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def judged_world() -> World:
    return filled()


@pytest.fixture(scope="session")
def judged_server(judged_world: World) -> Iterator[Server]:
    with Server(judged_world) as server:
        yield server


@pytest.fixture(scope="session")
def real(judged_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """`wandb.Api` itself, with nothing of the machine's own settings in sight."""
    home = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "WANDB_BASE_URL": judged_server.url,
            "WANDB_API_KEY": KEY,
            "WANDB_CONFIG_DIR": str(home),
            "WANDB_CACHE_DIR": str(home / "cache"),
            "WANDB_DIR": str(home),
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "HOME": str(home),
        }.items():
            patch.setenv(name, value)
        for name in ("WANDB_ENTITY", "WANDB_PROJECT", "WANDB_MODE"):
            patch.delenv(name, raising=False)
        import wandb

        yield wandb.Api(timeout=60)
        wandb.teardown()


@pytest.fixture(scope="session")
def synced(
    judged_server: Server,
    postgres_template: str,  # asked for here, so that it is taken down after this
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[str], str]]:
    """The URL of a store of an engine that mirrors every project of the world; made once."""
    made: dict[str, str] = {}
    with ExitStack() as stack:

        def url_of(engine: str) -> str:
            if engine not in made:
                made[engine] = new_store(engine, tmp_path_factory, request, stack)
                config = resolve(
                    store=made[engine], base_url=judged_server.url, api_key=KEY, environ={}, cwd="/"
                )
                report = sync(PATHS, config=config)
                assert report.ok, report
            return made[engine]

        yield url_of


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def judged_store(request: pytest.FixtureRequest, synced: Callable[[str], str]) -> str:
    """The URL of the synced store, once on each engine."""
    return synced(request.param)


@pytest.fixture(scope="session")
def settings(judged_server: Server, judged_store: str) -> Config:
    """What both kinds of `mirror.Api` are told; nothing comes from the machine."""
    return resolve(store=judged_store, base_url=judged_server.url, api_key=KEY, environ={}, cwd="/")


@pytest.fixture(scope="session")
def mirrored(settings: Config) -> Any:
    """`mirror.Api`, offline."""
    import mirror

    return mirror.Api(config=replace(settings, api_key=None), mode="offline")


@pytest.fixture(scope="session")
def reading(settings: Config) -> Any:
    """`mirror.Api` in its default mode over the same store: what is not held is asked for and kept."""
    import mirror

    return mirror.Api(config=settings)
