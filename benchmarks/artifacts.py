"""Artifacts and registries: `mirror.Api` against `wandb.Api`, the same loops, ratios from one run.

    python benchmarks/artifacts.py [VERSIONS [FILES [COLLECTIONS]]]     default 1,000, 1,000 and 200

The sandbox is on loopback in a process of its own, with no added latency; our side is offline over a
store synced from it. Each figure is the best of the rounds after the first; what both sides find is
compared. A store that did not change remembers answers: a search is timed with another tag each round,
and with the same one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

KEY = "benchmark0" * 4
MANY, WIDE = "team/many", "team/wide"
ROUNDS = 3
RESOLVED = 200

# what is compared → the least ratio wanted; None: reported only
BARS: dict[str, int | None] = {
    "list versions with aliases": None,
    f"resolve name:latest {RESOLVED} times": None,
    "second download into a new folder": 20,
    "registry search by a new tag": 20,
    "registry search by a tag, again": 20,
    "versions of collections with a tag": None,
}


def names_of(api: Any, path: str) -> str:
    """The name of the first sequence of a project."""
    kind = next(iter(api.artifact_types(path)))
    return sorted(one.name for one in kind.collections())[0]


def loops(api: Any, folder: Path, tags: list[str]) -> dict[str, Callable[[int], Any]]:
    """The loops over one Api, alike on both sides."""
    many = f"{MANY}/{names_of(api, MANY)}"
    wide = f"{WIDE}/{names_of(api, WIDE)}:latest"
    kind = api.artifact(f"{many}:latest").type

    def download(round: int) -> Any:
        root = folder / str(round)
        api.artifact(wide).download(root=str(root))
        return sum(1 for _ in root.rglob("*") if _.is_file())

    def search(round: int) -> Any:
        found = api.registries("acme").collections({"tag": tags[round % len(tags)]})
        return sorted((one.project, one.name, one.type) for one in found)

    def search_versions(round: int) -> Any:
        tag = tags[round % len(tags)]
        found = api.registries("acme").collections({"tag": tag}).versions()
        return sorted(one.qualified_name for one in found)

    actions = (
        lambda _: [(one.name, one.aliases) for one in api.artifacts(kind, many, per_page=500)],
        lambda _: {api.artifact(f"{many}:latest").version for _ in range(RESOLVED)},
        download,
        search,
        lambda _: search(0),
        search_versions,
    )
    return dict(zip(BARS, actions, strict=True))


def best(action: Callable[[int], Any]) -> tuple[float, Any]:
    """Seconds of the quickest round after the first, and what the last one found."""
    times = []
    found: Any = None
    for round in range(ROUNDS + 1):
        began = time.perf_counter()
        found = action(round)
        times.append(time.perf_counter() - began)
    return min(times[1:]), found


def main(versions: int, files: int, collections: int) -> bool:
    with served(versions, files, collections) as url, tempfile.TemporaryDirectory() as home:
        place = Path(home)
        _settings(url, place)
        import wandb

        import mirror
        from mirror.config import resolve
        from mirror.sync import sync

        store = f"sqlite:///{place / 'mirror.db'}"
        config = resolve(store=store, base_url=url, api_key=KEY, environ={}, cwd=home)
        began = time.perf_counter()
        report = sync([MANY, WIDE], config=config)
        assert report.ok, report
        print(f"synced in {time.perf_counter() - began:.1f} s, {report.requests} requests")
        theirs = wandb.Api({"entity": "team"}, timeout=300)
        reading = mirror.Api({"entity": "team"}, config=config)
        reading.artifact(f"{WIDE}/{names_of(reading, WIDE)}:latest").download(str(place / "first"))
        ours = mirror.Api({"entity": "team"}, config=replace(config, api_key=None), mode="offline")
        tags = sorted({tag for one in theirs.registries("acme").collections() for tag in one.tags})
        real = loops(theirs, place / "theirs", tags)
        mine = loops(ours, place / "ours", tags)
        passed = True
        for name, bar in BARS.items():
            (slow, wanted), (quick, found) = best(real[name]), best(mine[name])
            assert found == wanted, (name, found, wanted)
            ratio = slow / quick
            short = bar is not None and ratio < bar
            passed = passed and not short
            note = f"  below the bar of {bar}" if short else ""
            print(f"{name:36} {slow * 1000:8.1f} ms {quick * 1000:8.1f} ms {ratio:7.1f}x{note}")
        return passed


def _settings(url: str, folder: Path) -> None:
    """Settings of the real client, and none of this machine's own."""
    names = {"CACHE_DIR": "cache", "CONFIG_DIR": "config", "DIR": "wandb", "DATA_DIR": "data"}
    os.environ.update({f"WANDB_{name}": str(folder / value) for name, value in names.items()})
    os.environ.update(WANDB_BASE_URL=url, WANDB_API_KEY=KEY, WANDB_SILENT="true")
    os.environ.update(WANDB_ERROR_REPORTING="false", HOME=str(folder))


def serve(versions: int, files: int, collections: int) -> None:
    """Serve the world until killed; the first line says where."""
    from mirror.sandbox import Server, World, generate_artifacts
    from mirror.sandbox.artifact_generator import generate_registries

    world = World()
    world.add_user("dev", key=KEY, teams=["team"])
    world.add_organization("acme", teams=["team"], members=["dev"])
    generate_artifacts(world, MANY, versions=versions, collections=1, files=1)
    generate_artifacts(world, WIDE, versions=1, collections=1, files=files)
    generate_registries(world, "acme", MANY, collections=collections)
    server = Server(world)
    print(server.url, flush=True)
    server.run_forever()


@contextmanager
def served(*sizes: int) -> Iterator[str]:
    """A sandbox in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", *map(str, sizes)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["serve"]:
        serve(*map(int, words[1:]))
    else:
        given = [int(word) for word in words]
        sys.exit(not main(*given, *(1000, 1000, 200)[len(given) :]))
