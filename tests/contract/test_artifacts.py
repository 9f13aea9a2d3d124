"""One script on `wandb.Api` and on `mirror.Api`: artifacts, registries, jobs, compared deeply.

First read through on a fresh store, then from the same store with no server in sight.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compare import outcome, same
from conftest import _new_store
from filled import KEY
from shelved import SCRIPTS, shelved

import mirror
from mirror.config import Config, resolve
from mirror.sandbox import Server


@pytest.fixture(scope="module")
def shelf_server() -> Iterator[Server]:
    with Server(shelved()) as server:
        yield server


@pytest.fixture(scope="module")
def theirs(
    shelf_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Any]]:
    """What the real client does with a script; asked once."""
    home = tmp_path_factory.mktemp("wandb-artifacts")
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "WANDB_BASE_URL": shelf_server.url,
            "WANDB_API_KEY": KEY,
            "WANDB_CONFIG_DIR": str(home),
            "WANDB_CACHE_DIR": str(home / "cache"),
            "WANDB_DATA_DIR": str(home / "data"),
            "WANDB_DIR": str(home),
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "HOME": str(home),
        }.items():
            patch.setenv(name, value)
        for name in ("WANDB_ENTITY", "WANDB_PROJECT", "WANDB_MODE"):
            patch.delenv(name, raising=False)
        os.chdir(home)
        import wandb

        api = wandb.Api(timeout=60)
        known: dict[str, Any] = {}

        def of(name: str) -> Any:
            if name not in known:
                known[name] = outcome(SCRIPTS[name], api)
            return known[name]

        yield of
        wandb.teardown()
        os.chdir(here)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shelf_settings(
    request: pytest.FixtureRequest,
    shelf_server: Server,
    postgres_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Config]:
    with ExitStack() as stack:
        url = _new_store(request.param, tmp_path_factory, request, stack)
        yield resolve(store=url, base_url=shelf_server.url, api_key=KEY, environ={}, cwd="/")


@pytest.fixture(scope="module")
def reading_shelf(shelf_settings: Config) -> Any:
    return mirror.Api(config=shelf_settings)


@pytest.fixture(scope="module")
def offline_shelf(shelf_settings: Config) -> Any:
    return mirror.Api(config=replace(shelf_settings, api_key=None), mode="offline")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_the_same_on_both(
    name: str, theirs: Callable[[str], Any], reading_shelf: Any, offline_shelf: Any
) -> None:
    wanted = theirs(name)
    for api in (reading_shelf, offline_shelf):
        found = outcome(SCRIPTS[name], api)
        assert same(found, wanted), f"{api}\nours   {found}\ntheirs {wanted}"
