"""Kill it anywhere: the next sync loses nothing and repeats at most one page. Real processes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from worlds import KEY, add_runs, differences

from mirror.sync import state

CHILD = Path(__file__).with_name("child.py")
RUNS, PAGE, TIES = 230, 50, 3


class Child:
    """Starts syncs of the world into the store as processes of their own."""

    def __init__(self, server, store, folder: Path) -> None:
        config = folder / "mirror.toml"
        config.write_text(f"[sync]\npage_size = {PAGE}\npage_size_max = {PAGE}\n")
        url = store.engine.url.render_as_string(hide_password=False)
        self.arguments = [sys.executable, str(CHILD), server.url, url, str(config)]
        self.environment = {**os.environ, "WANDB_API_KEY": KEY}

    def start(self, page: int = 0) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.arguments, str(page)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> dict:
        process = self.start()
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        return json.loads(out)


@pytest.fixture
def child(server, store, tmp_path) -> Child:
    return Child(server, store, tmp_path)


def held_runs(store) -> int:
    row = store.one(sa.text("SELECT count(*) AS n FROM runs"))
    return int(row["n"])


def test_killed_after_every_page_it_goes_on_from_there(world, store, child):
    add_runs(world, RUNS, ties=TIES)
    page = 1
    while True:
        process = child.start(page)
        process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -9
        page = 1  # each resumed sync dies after the first page it adds
        held = held_runs(store)
        if held >= RUNS:
            break
    report = child.finish()
    assert differences(world, store) == []
    assert report["exit_code"] == 0


def test_a_resumed_walk_repeats_at_most_one_page(world, store, child):
    add_runs(world, RUNS, ties=TIES)
    process = child.start(3)
    process.communicate(timeout=120)
    assert process.returncode == -9
    held = held_runs(store)
    assert 0 < held < RUNS
    report = child.finish()
    borders = RUNS // PAGE + 1
    assert report["counts"]["runs"] <= RUNS - held + PAGE + borders * TIES
    assert differences(world, store) == []


@pytest.mark.slow
def test_killed_at_a_hundred_random_moments_it_ends_equal(world, store, child):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    add_runs(world, RUNS, ties=TIES)
    began = time.monotonic()
    child.finish()
    whole = time.monotonic() - began
    for number in range(100):
        world.advance(3600)
        add_runs(world, 60, first=RUNS + 60 * number, day=2 + number % 27)
        world.edit("team/vision", f"run{number:05d}", tags=[f"round-{number}"])
        process = child.start()
        time.sleep(dice.uniform(0.1, whole * 1.2))
        process.kill()
        process.communicate(timeout=60)
    report = child.finish()
    assert report["exit_code"] == 0
    child.finish()
    assert differences(world, store) == [], f"seed {seed}"
    assert state.live_count(store, str(world.project("team/vision").internal_number)) == RUNS + 6000
