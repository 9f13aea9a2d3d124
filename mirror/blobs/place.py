"""New files that are there whole or not at all, and copies that share blocks where the disk can.

A file is written without a name where the system can (Linux), so that even a killed process leaves
nothing; else under a hidden name beside its place.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from mirror.errors import ContentError, NoRoom

__all__ = [
    "SMALL_BYTES",
    "Copies",
    "copy_file",
    "disk_refusal",
    "full_disk_told",
    "link_over",
    "new_file",
]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_UNNAMED = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS}


@contextlib.contextmanager
def full_disk_told(what: str) -> Iterator[None]:
    """Turn "no space left" into NoRoom, and other failures of the disk into ContentError.

    IsADirectoryError, NotADirectoryError and FileNotFoundError pass: they say something of a place.
    """
    try:
        yield
    except OSError as error:
        refusal = disk_refusal(error, what)
        if refusal is None:
            raise
        raise refusal from error


def disk_refusal(error: OSError, what: str) -> ContentError | None:
    """Return what `full_disk_told` raises in place of an error; None where that passes."""
    if isinstance(error, IsADirectoryError | NotADirectoryError | FileNotFoundError):
        return None
    said = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return NoRoom(
            f"{what}: {said}: free some space, take a folder on another disk, or run "
            "`mirror blobs gc --to SIZE`"
        )
    return ContentError(f"{what}: the disk refused ({said})")


@contextlib.contextmanager
def new_file(target: Path) -> Iterator[FileIO]:
    """Yield a file to write; it becomes `target`, in place of what was there, when the block ends well."""
    descriptor = _unnamed(target.parent)
    if descriptor is None:
        with _named(target) as file:
            yield file
        return
    with FileIO(descriptor, "w+") as file:
        yield file
        _name(descriptor, target)


def _unnamed(folder: str | Path) -> int | None:
    flag = getattr(os, "O_TMPFILE", 0)
    if not flag or not _has_proc():
        return None
    try:
        return os.open(folder, flag | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError as error:
        # ENOENT here is an old kernel that reads the flag as "a folder to open", or a folder that is
        # gone: the named way says which.
        if error.errno in _NO_UNNAMED:
            return None
        raise


@functools.cache
def _has_proc() -> bool:
    return Path("/proc/self/fd").is_dir()


def _name(descriptor: int, target: str | Path) -> None:
    # The folder's descriptor means nothing beside an absolute path; it makes Python follow the link.
    _link_over(
        target,
        lambda name: os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=descriptor),
    )


@contextlib.contextmanager
def _named(target: Path) -> Iterator[FileIO]:
    part = _beside(target)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with FileIO(descriptor, "w+") as file:
            yield file
        _rename(part, target)
    finally:
        part.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".mirror-{secrets.token_hex(8)}.part")


def link_over(source: str, target: str) -> None:
    """Make `target` another name of the file `source`, in place of what was there."""
    _link_over(target, lambda name: os.link(source, name, follow_symlinks=False))


def _link_over(target: str | Path, link: Callable[[str | Path], object]) -> None:
    try:
        link(target)
    except FileExistsError:
        target = Path(target)
        part = _beside(target)
        link(part)
        try:
            _rename(part, target)
        finally:  # a rename between two names of one file does nothing
            part.unlink(missing_ok=True)


def _rename(part: Path, target: Path) -> None:
    try:
        part.replace(target)
    except OSError as error:
        if target.is_dir() and not target.is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target)) from error
        raise


SMALL_BYTES = 1 << 16
"""Files below this size are read whole, and written in as few calls as there are."""


def copy_file(source: str, target: str, mtime_ns: int) -> None:
    """Make `target` a copy of a file, in place of what was there, modified at `mtime_ns`.

    The kernel shares the blocks where the file system can. Raises OSError.
    """
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        block = os.read(reader, SMALL_BYTES)
        if len(block) < SMALL_BYTES:
            with Copies() as copies:
                copies.put(block, target, mtime_ns)
            return
        with new_file(Path(target)) as file:
            copy_bytes(reader, file)
            os.utime(file.fileno(), ns=(time.time_ns(), mtime_ns))
    finally:
        os.close(reader)


class Copies:
    """Small files that are made one after the other, each there whole or not at all.

    The folder of the last one stays open: to look up its path would cost as much as a small write.
    """

    def __init__(self) -> None:
        """Open nothing yet."""
        self._flag = getattr(os, "O_TMPFILE", 0) if _has_proc() else 0
        self._at: str | None = None
        self._folder = self._descriptors = -1

    def __enter__(self) -> Copies:
        """Return itself; the block closes what it opened."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close what is open."""
        for descriptor in (self._folder, self._descriptors):
            if descriptor >= 0:
                os.close(descriptor)
        self._folder = self._descriptors = -1

    def put(self, block: bytes, target: str, mtime_ns: int) -> None:
        """Make `target` with these bytes, in place of what was there. Raises OSError."""
        folder, slash, name = target.rpartition("/")
        file = self._unnamed((folder or "/") if slash else ".")
        if file is None:
            with _named(Path(target)) as beside:
                _write(beside.fileno(), block, mtime_ns)
            return
        try:
            _write(file, block, mtime_ns)
            self._name(file, name, target)
        finally:
            os.close(file)

    def _unnamed(self, folder: str) -> int | None:
        if not self._flag:
            return None
        if folder != self._at:
            self._enter(folder)
        try:
            flags = self._flag | os.O_RDWR | os.O_CLOEXEC
            return os.open(".", flags, 0o666, dir_fd=self._folder)
        except OSError as error:
            if error.errno not in _NO_UNNAMED:
                raise
            return None

    def _enter(self, folder: str) -> None:
        # O_PATH is what O_TMPFILE is: Linux's.
        if self._descriptors < 0:
            self._descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_CLOEXEC)
        entered = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._folder >= 0:
            os.close(self._folder)
        self._folder, self._at = entered, folder

    def _name(self, file: int, name: str, target: str) -> None:
        try:
            os.link(
                str(file),
                name,
                src_dir_fd=self._descriptors,
                dst_dir_fd=self._folder,
                follow_symlinks=True,
            )
        except FileExistsError:
            _name(file, target)


def _write(file: int, block: bytes, mtime_ns: int) -> None:
    written = os.write(file, block)
    while written < len(block):  # a limit of the process, a disk that is nearly full
        written += os.write(file, block[written:])
    os.utime(file, ns=(time.time_ns(), mtime_ns))


def copy_bytes(source: int, file: FileIO) -> None:
    """Copy all of an open file. The kernel shares the blocks where the file system can."""
    left = os.fstat(source).st_size
    os.lseek(source, 0, os.SEEK_SET)
    try:
        while left > 0:
            done = os.copy_file_range(source, file.fileno(), min(left, 1 << 30))
            if done == 0:
                break
            left -= done
    except (AttributeError, OSError) as error:  # not on macOS, not between these file systems
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        os.lseek(source, 0, os.SEEK_SET)
        file.seek(0)
        file.truncate()
        with os.fdopen(os.dup(source), "rb", buffering=0) as reader:
            shutil.copyfileobj(reader, file, 1 << 20)
