"""What holds for every connection to a SQLite file, with SQLAlchemy (`Store`) or without (`Reader`)."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = [
    "BUSY_TIMEOUT_S",
    "HEAD",
    "NETWORK_FILE_SYSTEMS",
    "OLDEST",
    "connect",
    "file_system",
    "is_sealed",
    "prepare",
    "stamp",
]

HEAD = "0005"
"""The migration this code works with; a test holds it against migrations/."""

BUSY_TIMEOUT_S = 30.0
OLDEST = (3, 38)
"""The oldest SQLite that will do."""
NETWORK_FILE_SYSTEMS = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "beegfs", "gpfs", "ceph", "glusterfs",
    "fuse.sshfs", "fuse.glusterfs", "9p", "afs",
)  # fmt: skip


def file_system(path: Path) -> str | None:
    """Return the type of the file system a path lies on, where the system says it (Linux)."""
    mounts = Path("/proc/self/mounts")
    if not sys.platform.startswith("linux") or not mounts.exists():
        return None
    best, kind = "", None
    target = str(path.resolve())
    for line in mounts.read_text(errors="replace").splitlines():
        fields = line.split(" ")
        mount = fields[1].replace("\\040", " ")
        inside = target == mount or target.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, fields[2]
    return kind


_WAL_VERSION = 2
"""Byte 18 of a file in write-ahead mode."""


def is_sealed(path: Path) -> bool:
    """Whether a file can only be read as it stands: in write-ahead mode, where no log can be made.

    SQLite makes files beside a store in that mode even to read it. Where there is a log already, its
    writer is at work or was killed, and the file alone is not the whole store.
    """
    try:
        real = path.resolve(strict=True)
        log = real.with_name(f"{real.name}-wal")
        if os.access(real.parent, os.W_OK) or (log.exists() and log.stat().st_size):
            return False
        with real.open("rb") as file:
            return file.read(19)[18:] == bytes([_WAL_VERSION])
    except OSError:
        return False


def connect(path: Path, **options: Any) -> sqlite3.Connection:
    """Open a file; one that is sealed as it stands, without files beside it."""
    sealed = is_sealed(path)
    name = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1" if sealed else path.absolute()
    connection: sqlite3.Connection = sqlite3.connect(name, uri=sealed, **options)
    return connection


def stamp(path: Path) -> tuple[int, int]:
    """What differs once a file was written: readers of a sealed one hold no lock against it."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def prepare(connection: sqlite3.Connection) -> None:
    """Give a new connection its settings and the functions that filters call."""
    from mirror.store.json import register

    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.execute("PRAGMA cache_size = -32768")
    cursor.close()
    register(connection)
