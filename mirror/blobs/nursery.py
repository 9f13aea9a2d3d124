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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["PREFIX", "fits", "nursery"]

PREFIX: Final = "outgoing-"
"""Names of nurseries begin so; only a killed process leaves one, empty."""

TRIES: Final = 4
QUICK_S: Final = 100e-6
"""For a file where nothing was deleted lately it is 15 µs."""

# ioctl_iflags(2): read and set the attributes that `lsattr` and `chattr` show.
_LONG = struct.calcsize("l")
_GET_FLAGS, _SET_FLAGS = (2 << 30 | _LONG << 16 | 0x6601), (1 << 30 | _LONG << 16 | 0x6602)
_TOP_OF_HIERARCHIES = 0x0002_0000
"""`chattr +T`: the folders in this one have nothing to do with each other, ext4 may part them."""

_NO_ACL = {errno.ENODATA, errno.EOPNOTSUPP}


@contextlib.contextmanager
def nursery(folder: Path, target: str) -> Iterator[int | None]:
    """Yield an open, empty folder below `folder` in a block group of its own, gone after the block.

    None where files are made as quickly in the folder `target`, or it cannot be had. A file without a name
    that is made in it gets a name anywhere on the same file system.
    """
    with contextlib.ExitStack() as stack:
        found: int | None = None
        for _ in range(TRIES if _is_slow(folder, target, stack) else 0):
            found = _opened(folder, stack)
            if found is None or _is_quick(found):
                break
        yield found


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


def _is_slow(folder: Path, target: str, stack: contextlib.ExitStack) -> bool:
    try:
        if not _has_no_journal(folder.stat().st_dev):
            return False
        descriptor = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    stack.callback(os.close, descriptor)
    return not _is_quick(descriptor)


@functools.cache
def _has_no_journal(device: int) -> bool:
    """Whether a device is ext4 without a journal, and labels of folders (SELinux) play no part."""
    try:
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").readlink().name
        journal = Path(f"/sys/fs/ext4/{name}/journal_task").read_text()
    except OSError:
        return False
    return journal.strip() == "<none>" and not Path("/sys/fs/selinux/enforce").exists()


def _opened(folder: Path, stack: contextlib.ExitStack) -> int | None:
    """A new folder in a block group that its name chose, until the stack closes; None if there is none."""
    made = folder / f"{PREFIX}{secrets.token_hex(8)}"
    try:
        _part_folders_of(folder)
        made.mkdir()
        stack.callback(_removed, made)
        descriptor = os.open(made, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # a store of somebody else's, a kernel that does not have it
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def _removed(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _is_quick(folder: int) -> bool:
    """Whether a file is made there as quickly as where nothing was deleted; the first may warm up."""
    for _ in range(2):
        began = time.perf_counter()
        try:
            os.close(os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, dir_fd=folder))
        except OSError:
            return True  # files are made another way then
        if time.perf_counter() - began < QUICK_S:
            return True
    return False


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
