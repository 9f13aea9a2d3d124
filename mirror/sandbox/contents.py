"""Bytes of artifacts on the local disk, in a temporary folder that goes with the world."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored file: where it lies, or its bytes where they are made up on demand."""

    source: Path | bytes
    size_bytes: int
    md5: str
    updated_at: str
    mimetype: str = ""

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes from `start` to before `stop`."""
        if isinstance(self.source, bytes):
            return self.source[start:stop]
        with self.source.open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(stop - start)


class Contents:
    """Stored files by their storage path, which is no path on the disk."""

    def __init__(self) -> None:
        self._blobs: dict[str, Blob] = {}
        self._folder: Path | None = None
        self._count = 0

    @property
    def folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="sandbox-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def put(self, path: str, body: bytes, updated_at: str) -> Blob:
        """Keep bytes under a storage path, in place of what was there."""
        self._count += 1
        file = self.folder / f"{self._count:07}"
        file.write_bytes(body)
        self.remove(path)
        self._blobs[path] = Blob(file, len(body), md5_of(body), updated_at)
        return self._blobs[path]

    def get(self, path: str) -> Blob | None:
        return self._blobs.get(path)

    def remove(self, path: str) -> None:
        """Forget a file; one that is not there is no error."""
        old = self._blobs.pop(path, None)
        if old is not None and isinstance(old.source, Path):
            old.source.unlink(missing_ok=True)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._blobs))

    def __len__(self) -> int:
        return len(self._blobs)


def md5_of(body: bytes) -> str:
    """Return the base64 MD5 that manifests and files carry."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def hex_of(digest: str) -> str:
    """Return a base64 digest as it stands in storage paths and download URLs."""
    return base64.b64decode(digest).hex() or "empty"
