"""What holds for every connection to a SQLite file, with SQLAlchemy (`Store`) or without (`Reader`)."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

__all__ = ["BUSY_TIMEOUT_S", "HEAD", "NETWORK_FILE_SYSTEMS", "OLDEST", "file_system", "prepare"]

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


def prepare(connection: sqlite3.Connection) -> None:
    """Give a new connection its settings and the functions that filters call."""
    from mirror.store.json import register

    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.execute("PRAGMA cache_size = -32768")
    cursor.close()
    register(connection)
