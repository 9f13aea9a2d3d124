"""Where new files get their inodes: on ext4 without a journal, away from what was deleted lately.

Such a file system (small virtual machines have it) leaves the inode of a deleted file alone for some
minutes, and for each new file looks at all of those in the folder's block group again: half a
millisecond a file once some thousands were deleted there, ten times what the file itself takes. A
folder in another block group knows none of them. Elsewhere there is no nursery. See decision 012.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import secrets
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["PREFIX", "fits", "nursery"]

PREFIX: Final = "outgoing-"
"""Names of nurseries begin so; only a killed process leaves one, empty."""

# ioctl_iflags(2): read and set the attributes that `lsattr` and `chattr` show.
_LONG = struct.calcsize("l")
_GET_FLAGS, _SET_FLAGS = (2 << 30 | _LONG << 16 | 0x6601), (1 << 30 | _LONG << 16 | 0x6602)
_TOP_OF_HIERARCHIES = 0x0002_0000
"""`chattr +T`: the folders in this one have nothing to do with each other, ext4 may part them."""

_NO_ACL = {errno.ENODATA, errno.EOPNOTSUPP}


@contextlib.contextmanager
def nursery(folder: Path) -> Iterator[int | None]:
    """Yield an open, empty folder below `folder` in a block group of its own, gone after the block.

    None where that brings nothing or cannot be had; a file without a name that is made in it gets a name
    anywhere on the same file system.
    """
    made = _made(folder) if _is_slow(folder) else None
    if made is None:
        yield None
        return
    try:
        descriptor = os.open(made, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    finally:
        with contextlib.suppress(OSError):
            made.rmdir()


def fits(born_in: int, folder: int) -> bool:
    """Whether a file may be made in one open folder and get its name in another.

    Not on two disks, and not where the folder hands on to its files what they would lack: its group,
    or a default access list.
    """
    there = os.fstat(folder)
    if there.st_mode & stat.S_ISGID or there.st_dev != os.fstat(born_in).st_dev:
        return False
    try:
        os.getxattr(f"/proc/self/fd/{folder}", "system.posix_acl_default")
    except OSError as error:
        return error.errno in _NO_ACL
    return False


def _is_slow(folder: Path) -> bool:
    try:
        return _has_no_journal(folder.stat().st_dev)
    except OSError:
        return False


@functools.cache
def _has_no_journal(device: int) -> bool:
    """Whether a device is ext4 without a journal, and labels of folders (SELinux) play no part."""
    try:
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").readlink().name
        journal = Path(f"/sys/fs/ext4/{name}/journal_task").read_text()
    except OSError:
        return False
    return journal.strip() == "<none>" and not Path("/sys/fs/selinux/enforce").exists()


def _made(folder: Path) -> Path | None:
    made = folder / f"{PREFIX}{secrets.token_hex(8)}"
    try:
        _part_folders_of(folder)
        made.mkdir()
    except OSError:  # a store of somebody else's, a kernel that does not have it
        return None
    return made


def _part_folders_of(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        held = bytearray(_LONG)
        fcntl.ioctl(descriptor, _GET_FLAGS, held)
        (flags,) = struct.unpack("l", held)
        if not flags & _TOP_OF_HIERARCHIES:
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOP_OF_HIERARCHIES))
    finally:
        os.close(descriptor)
