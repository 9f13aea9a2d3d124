"""The second download of an artifact into a new folder: `wandb.Api` against the store of contents.

    python benchmarks/downloads.py [FILES]

Both sides have fetched the artifact of FILES small files (default 1,000) before, from one sandbox on
loopback; each figure is the best of ROUNDS new folders. The real client asks for the artifact and its
addresses each time; our side is `mirror.blobs` alone, given the manifest, which asks nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mirror.blobs import BlobStore, Entry, download_entries
from mirror.remote.client import Client
from mirror.sandbox import Server, World, generate_artifacts

KEY = "benchmark0" * 4
PROJECT = "team/vision"
ROUNDS = 5
BAR = 20


def main(files: int) -> None:
    world = World()
    world.add_user("dev", key=KEY, teams=["team"])
    generate_artifacts(world, PROJECT, versions=1, collections=1, files=files)
    with Server(world) as server, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _settings(server.url, place)
        import wandb

        api = wandb.Api(timeout=60)
        (collection,) = api.artifact_type("dataset", PROJECT).collections()
        name = f"{PROJECT}/{collection.name}:v0"
        artifact = api.artifact(name)
        urls = {one.name: one.direct_url for one in artifact.files()}
        entries = [Entry(e.path, e.digest, e.size) for e in artifact.manifest.entries.values()]
        real = best(lambda to: api.artifact(name).download(root=str(to)), place / "real")
        print(f"wandb.Api              {real * 1000:7.0f} ms")
        with Client(server.url, KEY) as client:
            for link in ("copy", "hardlink"):
                blobs = BlobStore(place / "blobs", link=link)

                def ours(to: Path, blobs: BlobStore = blobs) -> None:
                    download_entries(blobs, entries, to, urls=lambda _: urls, client=client)

                took = best(ours, place / link)
                passed = "" if real / took >= BAR else f"  below the bar of {BAR}"
                print(f"mirror, link={link:9} {took * 1000:7.0f} ms {real / took:6.1f}x{passed}")
            assert client.stats.requests == files, "more than the first download asked the server"


def best(download: Callable[[Path], object], folder: Path) -> float:
    """Seconds of the quickest of several downloads into new folders, after a first one."""
    times = []
    for number in range(ROUNDS + 1):
        began = time.perf_counter()
        download(folder / str(number))
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _settings(url: str, folder: Path) -> None:
    """Settings of the real client, and none of this machine's own."""
    names = {"CACHE_DIR": "cache", "CONFIG_DIR": "config", "DIR": "wandb", "DATA_DIR": "data"}
    os.environ.update({f"WANDB_{name}": str(folder / value) for name, value in names.items()})
    os.environ.update(WANDB_BASE_URL=url, WANDB_API_KEY=KEY, WANDB_SILENT="true")
    os.environ.update(WANDB_ERROR_REPORTING="false", HOME=str(folder))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
