"""`sync_tensorboard`: an upload by the package `wandb`, which says so where there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mirror
from mirror.api.uploads import sync_tensorboard


@pytest.fixture
def api(tmp_path: Path) -> mirror.Api:
    store = f"sqlite:///{tmp_path / 'mirror.db'}"
    overrides = {"base_url": "http://127.0.0.1:9", "entity": "team", "project": "vision"}
    return mirror.Api(overrides, api_key="a1b2c3d4e5" * 4, store=store)


def test_without_wandb_it_says_what_to_install(
    api: mirror.Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not installed
    with pytest.raises(mirror.UnsupportedError, match="pip install wandb"):
        api.sync_tensorboard("logs")


def test_offline_it_is_refused_before_wandb_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    store = f"sqlite:///{tmp_path / 'mirror.db'}"
    with pytest.raises(mirror.OfflineError):
        mirror.Api(store=store, mode="offline").sync_tensorboard("logs")


def test_the_upload_gets_server_key_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Api:
        def __init__(self, overrides: dict[str, Any], api_key: str) -> None:
            asked.append((overrides, api_key))

        def sync_tensorboard(self, root_dir: str, **given: Any) -> Any:
            asked.append((root_dir, given))
            return SimpleNamespace(entity="team", project="vision", id="new1")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Api=Api))
    place = {"run_id": None, "project": "vision", "entity": "team"}
    sent = sync_tensorboard("logs", **place, base_url="https://server", api_key="key")  # type: ignore[arg-type]
    assert sent == ("team", "vision", "new1")
    assert asked == [({"base_url": "https://server"}, "key"), ("logs", place)]
