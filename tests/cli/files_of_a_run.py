"""A project with a run that has files, and what `mirror get` made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from commands import Run

from mirror.sandbox import Server, World
from mirror.sandbox.objects import StoredFile

KEY = "a1b2c3d4e5" * 4
RUN = "team/vision/abc"
AT = "2026-01-02T03:04:05Z"


def world_with(files: Mapping[str, bytes]) -> World:
    """A world whose project team/vision has one run, and that these files."""
    world = World()
    world.add_user("dev", key=KEY, teams=["team"])
    world.add_project("team", "vision", user="dev")
    add_run(world, "abc", files)
    return world


def add_run(world: World, name: str, files: Mapping[str, bytes]) -> None:
    """Add a run with files to team/vision."""
    stored = world.add_run("team/vision", name=name, state="finished").recorded().files
    for path, body in files.items():
        stored[path] = StoredFile(world.number(), path, AT, body, "text/plain")


def sync_from(server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a server and a store in the home folder the user's settings, and sync team/vision into it."""
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("MIRROR_STORE", str(Path.home() / "m.db"))
    assert run("sync", "team/vision", "--quiet").exit_code == 0


def below(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
