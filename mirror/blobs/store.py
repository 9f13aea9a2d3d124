"""The store of contents: a folder of read-only files named by their digest.

    <folder>/md5/d4/1d8cd98f00b204e9800998ecf8427e      contents, whole and verified
    <folder>/incoming/md5-d41d8cd9…                     what is being gathered, locked by whom gathers it

A file gets its name only after its digest was checked and its bytes are on the disk. Two processes
(or threads) that want one digest meet at the lock: one fetches, the other waits and finds it here; of
a dead process the next one takes over the bytes. Nothing else knows what is here, so files may be
deleted at any time. Used by `mirror.blobs.download`; knows no network.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from mirror.blobs.digests import (
    ALGORITHMS,
    DIGEST_BYTES,
    digest_of,
    digest_text,
    new_hash,
    raw_digest,
    seal_ns,
    sealed,
)
from mirror.blobs.place import SMALL_BYTES, copy_file, full_disk_told, link_over
from mirror.errors import ConfigError, ContentError, DigestMismatch, NoRoom

if TYPE_CHECKING:
    from mirror.config import ContentSettings

__all__ = ["LINKS", "BlobStore", "Damage", "Ended", "Found", "Part", "Swept", "Total"]

LINKS: Final = ("copy", "hardlink")
INCOMING: Final = "incoming"
ABANDONED_S: Final = 86_400.0
"""Age at which `gc` takes away bytes of a download that nobody goes on with."""

SLACK: Final = 0.95
"""What an eviction leaves of the quota, so that not every new file makes another one."""

LOCK_EVERY_S: Final = 0.05

_READ: Final = os.O_RDONLY | os.O_CLOEXEC
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class Ended(Exception):
    """A wait for another process was ended by its `stop`."""


class Waiter(Protocol):
    """An event that somebody may set to end a wait early (`threading.Event`)."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait; return whether it was set."""


class Found(NamedTuple):
    """Sound contents: where they are, and the modification time that seals them."""

    path: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of the store that is not what its name says."""

    path: Path
    problem: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What `gc` took away, and what is left: numbers of files and their bytes."""

    removed: int
    removed_bytes: int
    left: int
    left_bytes: int


@dataclass(frozen=True, slots=True)
class Total:
    """How much the store holds; `incoming_bytes` are of downloads that are not through."""

    files: int
    bytes: int
    incoming: int
    incoming_bytes: int


class BlobStore:
    """Contents by digest. Safe to share between threads, and the folder between processes."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        quota_bytes: int | None = None,
        link: str = "copy",
    ) -> None:
        """Make nothing yet. `link`: how contents get to a folder, "copy" or "hardlink" (read-only)."""
        if link not in LINKS:
            raise ValueError(f"link is {' or '.join(LINKS)}, not {link!r}")
        self.folder = Path(folder)
        self._prefix = f"{os.fspath(folder)}/"
        self.quota_bytes = quota_bytes
        self.link = link
        self._lock = threading.Lock()
        self._held_bytes: int | None = None
        self._added_bytes = 0
        self._coming_bytes = 0

    def __repr__(self) -> str:
        return f"<BlobStore {self.folder}>"

    @classmethod
    def configured(cls, settings: ContentSettings) -> BlobStore:
        """Return the store that the settings name (`Config.contents`). Raises ConfigError."""
        if settings.folder is None:
            raise ConfigError(
                "there is no home folder to keep contents in: set folder under [contents]"
            )
        return cls(settings.folder, quota_bytes=settings.quota_bytes, link=settings.link)

    # -------------------------------------------------------------- asking

    def path(self, digest: str, algorithm: str = "md5") -> Path:
        """Return where the contents of a digest are or would be. Raises ContentError."""
        if algorithm not in ALGORITHMS:
            new_hash(algorithm)  # says so
        name = raw_digest(digest).hex()
        return self.folder / algorithm / name[:2] / name[2:]

    def has(self, digest: str, size: int | None = None, *, algorithm: str = "md5") -> bool:
        """Whether the contents of a digest are here and sound; they count as used now.

        A file that was written to since it was put here is read again; what turns out damaged is
        removed. Raises ContentError for a text that is no digest.
        """
        return self.find(digest, size, algorithm) is not None

    def find(self, digest: str, size: int | None = None, algorithm: str = "md5") -> Found | None:
        """Return where sound contents are, and count them as used; None where there are none (`has`)."""
        if algorithm not in ALGORITHMS:
            new_hash(algorithm)  # says so
        raw = raw_digest(digest)
        name = raw.hex()
        path = f"{self._prefix}{algorithm}/{name[:2]}/{name[2:]}"
        try:
            stat = os.stat(path)  # noqa: PTH116 # a Path a file costs more than the file
        except OSError:
            return None
        if size is not None and stat.st_size != size:
            self._examine(Path(path), digest, algorithm)
            return None
        if not sealed(stat.st_mtime_ns, raw):
            sound = self._examine(Path(path), digest, algorithm)
            return Found(path, Path(path).stat().st_mtime_ns) if sound else None
        with contextlib.suppress(OSError):  # a store of somebody else's
            os.utime(path, ns=(time.time_ns(), stat.st_mtime_ns))
        return Found(path, stat.st_mtime_ns)

    def read_small(
        self, digest: str, size: int | None = None, algorithm: str = "md5"
    ) -> tuple[bytes, int] | None:
        """Return sound contents below SMALL_BYTES with the modification time that seals them.

        They count as used now. None: not here, not small, or doubtful; `find` says which.
        """
        if algorithm not in ALGORITHMS:
            new_hash(algorithm)  # says so
        raw = raw_digest(digest)
        name = raw.hex()
        try:
            file = os.open(f"{self._prefix}{algorithm}/{name[:2]}/{name[2:]}", _READ)
        except OSError:
            return None
        try:
            stat = os.fstat(file)
            length, mtime = stat.st_size, stat.st_mtime_ns
            if length >= SMALL_BYTES or size not in (None, length) or not sealed(mtime, raw):
                return None
            block = os.read(file, length + 1)  # one more, to see that it does not grow
            with contextlib.suppress(OSError):  # a store of somebody else's
                os.utime(file, ns=(time.time_ns(), mtime))
        except OSError:
            return None
        finally:
            os.close(file)
        return (block, mtime) if len(block) == length else None

    def _examine(self, path: Path, digest: str, algorithm: str) -> bool:
        """Read a doubtful file: seal it again, or remove it."""
        with contextlib.suppress(OSError):
            if digest_of(path, algorithm) == digest:
                now = time.time_ns()
                with contextlib.suppress(OSError):
                    os.utime(path, ns=(now, seal_ns(raw_digest(digest), now)))
                return True
            path.unlink()
        return False

    # -------------------------------------------------------------- putting in

    def put(
        self,
        digest: str,
        chunks: Iterable[bytes],
        *,
        size: int | None = None,
        algorithm: str = "md5",
    ) -> Path:
        """Keep bytes under their digest, and return where. Nothing is read if they are here already.

        Raises DigestMismatch, NoRoom, ContentError; then nothing is kept.
        """
        if not self.fits(size):
            raise NoRoom(
                f"contents of {size:,} bytes are above the quota of {self.quota_bytes:,}: raise quota "
                "under [contents]"
            )
        with self.gathering(digest, size, algorithm=algorithm) as part:
            if part is not None:
                part.restart()  # the bytes come from the beginning
                for chunk in chunks:
                    part.write(chunk)
                part.check(f"contents {digest}")
                self.keep(part)
        return self.path(digest, algorithm)

    @contextlib.contextmanager
    def gathering(
        self,
        digest: str,
        size: int | None = None,
        *,
        algorithm: str = "md5",
        stop: Waiter | None = None,
    ) -> Iterator[Part | None]:
        """Yield the file in which to gather a digest's bytes, with what is there of them already.

        Yields None where the contents are here, maybe because another process has just fetched them.
        The part is nobody else's until the block ends. Give it to `keep` when it is whole.
        """
        if self.has(digest, size, algorithm=algorithm):
            yield None
            return
        path = self.folder / INCOMING / f"{algorithm}-{raw_digest(digest).hex()}"
        with full_disk_told(f"cannot write below {self.folder}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = self._locked(path, digest, size, algorithm, stop)
        if file is None:
            yield None
            return
        with file:
            part = Part(file, digest, size, algorithm)
            try:
                yield part
            finally:
                if not part.length and _is_at(file, path):
                    path.unlink(missing_ok=True)

    def _locked(
        self, path: Path, digest: str, size: int | None, algorithm: str, stop: Waiter | None
    ) -> FileIO | None:
        """Open and lock the digest's part; None if the contents have come in the meantime."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            file = FileIO(os.open(path, flags, 0o666), "r+")
            try:
                _wait_for(file, path, stop)
            except BaseException:
                file.close()
                raise
            # Whoever had it may have given it its name, or thrown it away.
            if not _is_at(file, path):
                file.close()
            elif self.has(digest, size, algorithm=algorithm):
                path.unlink(missing_ok=True)
                file.close()
                return None
            else:
                return file
            if self.has(digest, size, algorithm=algorithm):
                return None

    def keep(self, part: Part) -> Path:
        """Give a checked part its name in the store. Raises ContentError."""
        raw = raw_digest(part.digest)
        path = self.path(part.digest, part.algorithm)
        incoming = self.folder / INCOMING / f"{part.algorithm}-{raw.hex()}"
        with full_disk_told(f"cannot write below {self.folder}"), self._room(part.length):
            now = time.time_ns()
            os.utime(part.file.fileno(), ns=(now, seal_ns(raw, now)))
            os.fchmod(part.file.fileno(), os.fstat(part.file.fileno()).st_mode & 0o444)
            os.fsync(part.file.fileno())
            self._make_folder(path.parent)
            incoming.replace(path)
            _sync_folder(path.parent)
        return path

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(folder.parent)
            _sync_folder(folder.parent.parent)

    def fits(self, size: int | None) -> bool:
        """Whether contents of that size may be kept at all under the quota."""
        return self.quota_bytes is None or (size or 0) <= self.quota_bytes

    @contextlib.contextmanager
    def _room(self, size: int) -> Iterator[None]:
        """Evict what was not used for longest, where the quota wants it; the room is ours meanwhile."""
        if self.quota_bytes is None:
            yield
            return
        with self._lock:
            self._coming_bytes += size
            # Others may add to the folder: count again now and then.
            stale = self._held_bytes is None or self._added_bytes > self.quota_bytes / 16
            if stale or (self._held_bytes or 0) + self._coming_bytes > self.quota_bytes:
                self._held_bytes, self._added_bytes = self._left_under(self.quota_bytes), 0
        try:
            yield
        finally:
            with self._lock:
                self._coming_bytes -= size
                self._held_bytes = (self._held_bytes or 0) + size
                self._added_bytes += size
                if self._held_bytes > self.quota_bytes:  # so much came at the same time
                    self._held_bytes = self._left_under(self.quota_bytes)

    def _left_under(self, quota: int) -> int:
        """Make room for all that is coming; return the bytes that are left."""
        held = self.size().bytes
        if held + self._coming_bytes <= quota:
            return held
        return self._evict(max(0, int(quota * SLACK) - self._coming_bytes)).left_bytes

    # -------------------------------------------------------------- taking out

    def place(self, digest: str, target: str | os.PathLike[str], *, algorithm: str = "md5") -> None:
        """Make a file with the contents of a digest, in place of what is there, whole or not at all.

        A copy, or another name of the kept file where the store is set to "hardlink" and the disk lets
        it; never a symbolic link. Its folder has to exist. Raises FileNotFoundError if the contents are
        not here, IsADirectoryError, NoRoom, ContentError.
        """
        found = self.find(digest, algorithm=algorithm)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "these contents are not in the store", digest)
        self.hand_out(found, os.fspath(target))

    def hand_out(self, found: Found, target: str) -> None:
        """Make a file of what `find` gave (`place`)."""
        with full_disk_told(target):
            if self.link != "hardlink" or not _linked(found.path, target):
                # The seal comes along, so that an untouched copy is known without reading it.
                copy_file(found.path, target, found.mtime_ns)

    # -------------------------------------------------------------- looking after it

    def size(self) -> Total:
        """Count what is here."""
        sizes = [stat.st_size for _path, stat in self._files()]
        parts = [stat.st_size for _path, stat in _walk(self.folder / INCOMING)]
        return Total(len(sizes), sum(sizes), len(parts), sum(parts))

    def gc(self, to_bytes: int | None = None) -> Swept:
        """Evict what was not used for longest until `to_bytes` are left (None: the quota).

        Bytes of downloads that nobody has gone on with for a day go, too. Metadata is not here, so
        none is lost.
        """
        limit = self.quota_bytes if to_bytes is None else to_bytes
        parts = [self._sweep_part(path, stat) for path, stat in _walk(self.folder / INCOMING)]
        swept = self._evict(limit)
        with self._lock:
            self._held_bytes, self._added_bytes = swept.left_bytes, 0
        return Swept(
            swept.removed + sum(size is not None for size in parts),
            swept.removed_bytes + sum(size or 0 for size in parts),
            swept.left,
            swept.left_bytes,
        )

    def _evict(self, limit: int | None) -> Swept:
        files = sorted(self._files(), key=lambda found: found[1].st_atime_ns)
        left = sum(stat.st_size for _path, stat in files)
        removed = removed_bytes = 0
        for path, stat in files:
            # of nothing at all, an empty file is left neither, whatever its turn
            if limit is None or (left <= limit and limit > 0):
                break
            with contextlib.suppress(FileNotFoundError):  # another process evicts, too
                path.unlink()
            left -= stat.st_size
            removed += 1
            removed_bytes += stat.st_size
        return Swept(removed, removed_bytes, len(files) - removed, left)

    def _sweep_part(self, path: Path, stat: os.stat_result) -> int | None:
        if time.time() - stat.st_mtime < ABANDONED_S:
            return None
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            return stat.st_size
        return None

    def verify(
        self, *, remove: bool = False, on_file: Callable[[int], object] | None = None
    ) -> Iterator[Damage]:
        """Read everything and yield what is not as its name says; `remove` takes it away.

        `on_file` is called with the size of each file that was read.
        """
        for path, stat in self._files():
            problem = _problem(path)
            if problem is not None:
                if remove:
                    path.unlink(missing_ok=True)
                yield Damage(path, problem)
            if on_file is not None:
                on_file(stat.st_size)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for algorithm in ALGORITHMS:
            yield from _walk(self.folder / algorithm)


class Part:
    """Bytes on their way in: written, counted and hashed together. `file` is locked or unnamed."""

    def __init__(self, file: FileIO, digest: str, size: int | None, algorithm: str) -> None:
        self.file = file
        self.digest = digest
        self.size = size
        self.algorithm = algorithm
        self.length = 0
        self._hash = new_hash(algorithm)
        self._take_over()

    def _take_over(self) -> None:
        """Go on from the bytes of somebody who did not get through."""
        self.file.seek(0)
        while block := self.file.read(1 << 20):
            self._hash.update(block)
            self.length += len(block)
        if self.size is not None and self.length > self.size:
            self.restart()

    def write(self, chunk: bytes) -> None:
        """Add bytes. Raises DigestMismatch for more than there should be, NoRoom."""
        if self.size is not None and self.length + len(chunk) > self.size:
            self.restart()
            raise DigestMismatch(
                f"contents {self.digest}", expected=f"{self.size:,} bytes", found="more than that"
            )
        try:
            with full_disk_told(f"cannot keep {self.size or self.length:,} bytes"):
                view = memoryview(chunk)
                while view:
                    view = view[self.file.write(view) :]
        except ContentError:
            with contextlib.suppress(OSError):
                self.restart()  # a full disk gets back what this took
            raise
        self._hash.update(chunk)
        self.length += len(chunk)

    def restart(self) -> None:
        """Forget all bytes."""
        self.file.seek(0)
        self.file.truncate()
        self.length = 0
        self._hash = new_hash(self.algorithm)

    def check(self, what: str) -> None:
        """Hold the bytes against size and digest. Raises DigestMismatch, and forgets them."""
        length, found = self.length, digest_text(self._hash.digest())
        if self.size is not None and length != self.size:
            self.restart()
            raise DigestMismatch(what, expected=f"{self.size:,} bytes", found=f"{length:,} bytes")
        if found != self.digest:
            self.restart()
            raise DigestMismatch(what, expected=f"digest {self.digest}", found=f"digest {found}")


# ------------------------------------------------------------------ the disk


def _wait_for(file: FileIO, path: Path, stop: Waiter | None) -> None:
    """Lock a file, waiting for whoever has it. A dead process has nothing. Raises ContentError."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if stop is None:
                time.sleep(LOCK_EVERY_S)
            elif stop.wait(LOCK_EVERY_S):
                raise Ended from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise ContentError(
                    f"{path}: this file system has no locks: set folder under [contents] to one "
                    "on a local disk"
                ) from error
            raise
        else:
            return


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _linked(source: str, target: str) -> bool:
    try:
        link_over(source, target)
    except (IsADirectoryError, NotADirectoryError):
        raise
    except OSError:  # another disk, too many names, no right to
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file below a folder; those that go away meanwhile are passed over."""
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        with contextlib.suppress(FileNotFoundError):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield Path(entry.path), entry.stat(follow_symlinks=False)


def _problem(path: Path) -> str | None:
    name = path.parent.name + path.name
    try:
        raw = bytes.fromhex(name)
    except ValueError:
        raw = b""
    if len(raw) != DIGEST_BYTES:
        return "its name is no digest"
    try:
        found = digest_of(path, path.parent.parent.name)
    except FileNotFoundError:  # evicted meanwhile
        return None
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if found == digest_text(raw) else f"its digest is {found}"
