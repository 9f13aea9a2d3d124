"""A file host on loopback that misbehaves on order, and what a download needs around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from host import Get, Host, entry_of

from mirror.blobs import BlobStore, Downloaded, Entry, download_entries
from mirror.remote.client import Client


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.blobs.download.BACKOFF_S", 0.001)


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as started:
        yield started


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    """A client of the API at the same address, with a key that must go nowhere else."""
    with Client(host.url, "a1b2c3d4e5" * 4) as opened:
        yield opened


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "m.db.blobs")


@pytest.fixture
def get(host: Host, client: Client, blobs: BlobStore, tmp_path: Path) -> Get:
    """Download what the host has, or the entries given, into `tmp_path/out`."""

    def call(entries: list[Entry] | None = None, **options: object) -> Downloaded:
        wanted = [entry_of(path, body) for path, body in host.files.items()] if entries is None else entries  # fmt: skip
        given: dict[str, object] = {"urls": host.urls, "client": client, "root": tmp_path / "out"}
        return download_entries(blobs, wanted, **{**given, **options})  # type: ignore[arg-type]

    return call
