"""Put the entries of a manifest below a folder: what is here is placed, the rest is fetched first.

A file that is in place, or whose contents are in the store, costs no request. The rest is fetched in
parallel and goes on where it broke off; an address that has expired is asked for again once, with all
those that are still to be fetched.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from pathlib import Path
from queue import SimpleQueue
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from mirror.blobs.digests import digest_of, raw_digest, sealed
from mirror.blobs.place import SMALL_BYTES, Copies, disk_refusal, full_disk_told, new_file
from mirror.blobs.store import BlobStore, Ended, Found, Part
from mirror.blobs.targets import Target, Targets
from mirror.errors import (
    ContentError,
    DigestMismatch,
    NotFound,
    RateLimited,
    RemoteError,
    Unreachable,
)

if TYPE_CHECKING:
    from mirror.remote.client import Client
    from mirror.remote.downloads import Sink

__all__ = [
    "BATCH",
    "THREADS",
    "Downloaded",
    "Entry",
    "Progress",
    "Skipped",
    "download_entries",
]

THREADS: Final = 8
BATCH: Final = 5000
"""Entries whose addresses are asked for at once, as the real client does."""

TRIES: Final = 6
"""Tries in a row of one file that bring no byte of it."""

TRIES_IN_ALL: Final = 100
WAIT_MAX_S: Final = 60.0
BACKOFF_S: Final = 0.25
EXPIRED: Final = frozenset({400, 401, 403, 404, 410})
"""What object stores answer for an address whose time is over; the API answers 404 for a wrong one."""

LARGE_BYTES: Final = 1 << 20
"""Files up to this size are copied faster in a row than by threads."""

Urls = Callable[[Sequence["Entry"]], Mapping[str, str]]


class Entry(NamedTuple):
    """A file of an artifact's manifest. `digest` is base64; of a reference (`ref`) it is an ETag."""

    path: str
    digest: str
    size: int | None
    ref: str | None = None
    birth_artifact_id: str | None = None
    extra: Mapping[str, Any] | None = None

    @property
    def algorithm(self) -> str:
        """What `digest` was made with: "md5", or what the manifest says (`extra.alg`)."""
        named = (self.extra or {}).get("alg")
        return named.lower() if isinstance(named, str) else "md5"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry that was not put into the folder, and why."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is; `bytes_total` counts what the manifest says of the files to fetch."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int


@dataclass(slots=True)
class Downloaded:
    """What a download did: files put or found in place, files and bytes that were fetched for it."""

    files: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    references: list[Entry] = field(default_factory=list)
    """References, which were not asked for."""

    skipped: list[Skipped] = field(default_factory=list)


def download_entries(
    blobs: BlobStore,
    entries: Iterable[Entry],
    root: str | Path,
    *,
    urls: Urls,
    client: Client | Callable[[], Client],
    threads: int = THREADS,
    on_progress: Callable[[Progress], object] | None = None,
    skip_cache: bool = False,
    references: bool = False,
    allow_missing_references: bool = False,
    fallback: Callable[[Entry], str] | None = None,
) -> Downloaded:
    """Make the files of `entries` below `root`, each whole or not at all.

    Args:
        urls: gives the addresses of entries by path; called for those that are not here only, and once
            more for what expired. client: a Client, or what opens it when it is needed.
        skip_cache: use and keep nothing in the store. references: fetch entries with a `ref` too
            (http, https and file). allow_missing_references: leave out those that cannot be fetched.
        fallback: gives an address below the API, where the key is shown, for an entry whose signed
            address failed twice, or that has none.

    A file that is there with other contents is replaced; other files of the folder stay. All names are
    judged before anything is fetched.

    Raises:
        UnsafeName: a name leads out of the folder, or two are the same file there.
        DigestMismatch, NoRoom, ContentError, RemoteError: what is whole stays, the rest can be gone on
            with by the same call.
        FileNotFoundError: a reference leads to nothing.
    """
    work = _Work(blobs, urls, client, on_progress, skip_cache, fallback)
    files, elsewhere = work.named(entries, Path(root))
    work.result.references = [] if references else [entry for entry, _ in elsewhere]
    missing = work.put_what_is_here(files, threads)
    if missing:
        work.fetch_all(missing, threads)
    if references:
        work.fetch_references(elsewhere, allow_missing_references)
    return work.result


Wanted = tuple[Entry, str]


class _Work:
    """One download: what it uses, how far it is, and the wish to end."""

    def __init__(
        self,
        blobs: BlobStore,
        urls: Urls,
        client: Client | Callable[[], Client],
        on_progress: Callable[[Progress], object] | None,
        skip_cache: bool,
        fallback: Callable[[Entry], str] | None,
    ) -> None:
        self.blobs = blobs
        self.urls = urls
        self.fallback = fallback
        self.result = Downloaded()
        self.stop = threading.Event()
        self._client = client
        self._on_progress = on_progress
        self._skip_cache = skip_cache
        self._lock = threading.Lock()
        self._files_total = self._bytes = self._bytes_total = 0

    @property
    def client(self) -> Client:
        """The client, opened when it is first needed."""
        with self._lock:
            if callable(self._client):
                self._client = self._client()
            return self._client

    def fetch(self, url: str, sink: Sink, *, with_key: bool = True) -> Mapping[str, str]:
        """Ask for what a sink lacks (`mirror.remote.downloads.fetch`)."""
        from mirror.remote.downloads import fetch  # with it comes httpx

        return fetch(self.client, url, sink, with_key=with_key)

    def came(self, count: int) -> None:
        """Count bytes that came. Raises Ended where another file's failure ends the download."""
        if self.stop.is_set():
            raise Ended
        self._tell(count)

    # -------------------------------------------------------------- what is here

    def named(self, entries: Iterable[Entry], root: Path) -> tuple[list[Wanted], list[Wanted]]:
        """Judge all names; return the files that are to be made, and the references.

        Files that are in place are done.
        """
        files: list[Wanted] = []
        references: list[Wanted] = []
        with full_disk_told(str(root)):
            wanted = list(self._with_targets(entries, Targets(root)))
        for entry, (target, is_free) in wanted:
            if entry.ref is not None:
                references.append((entry, target))
            elif not is_free and _in_place(entry, target):
                self.result.files += 1
            else:
                files.append((entry, target))
        self._files_total = self.result.files + len(files)
        return files, references

    def _with_targets(
        self, entries: Iterable[Entry], targets: Targets
    ) -> Iterator[tuple[Entry, Target]]:
        for entry in entries:
            try:
                yield entry, targets.take(entry.path)
            except NotADirectoryError:
                reason = "a file has the name of a folder that it has to be in"
                self.result.skipped.append(Skipped(entry, reason))

    def put_what_is_here(self, wanted: Sequence[Wanted], threads: int) -> Sequence[Wanted]:
        """Put the files whose contents are in the store, and return the others."""
        if self._skip_cache:
            return self._to_fetch(wanted)
        rest = wanted if self.blobs.link == "hardlink" else self._copy_small(wanted)
        here: list[tuple[Entry, str, Found]] = []
        missing: list[Wanted] = []
        for entry, target in rest:
            found = self.blobs.find(entry.digest, entry.size, entry.algorithm)
            if found is None:
                missing.append((entry, target))
            elif (entry.size or 0) <= LARGE_BYTES:
                self._hand_out((entry, target, found))
            else:
                here.append((entry, target, found))
        self._to_fetch(missing)
        if here:
            self._in_threads(here, self._hand_out, threads)
        return missing

    def _to_fetch(self, missing: Sequence[Wanted]) -> Sequence[Wanted]:
        self._bytes_total = sum(entry.size or 0 for entry in _once(missing))
        return missing

    def _copy_small(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Copy what is small and here, and return the rest; what is small costs its calls, not its bytes."""
        rest: list[Wanted] = []
        read = self.blobs.read_small
        with Copies() as copies:
            for entry, target in wanted:
                found = None
                if (entry.size or 0) < SMALL_BYTES:
                    found = read(entry.digest, entry.size, entry.algorithm)
                if found is None:
                    rest.append((entry, target))
                    continue
                try:
                    copies.put(found[0], target, found[1])
                except IsADirectoryError:
                    self._skip(entry)
                except OSError as error:  # `full_disk_told` a file would cost a tenth of it
                    raise disk_refusal(error, target) or error from error
                else:
                    self._done()
        return rest

    def _hand_out(self, wanted: tuple[Entry, str, Found]) -> None:
        entry, target, found = wanted
        try:
            self.blobs.hand_out(found, target)
        except FileNotFoundError:
            self.fetch_all([(entry, target)], 1)
        except IsADirectoryError:
            self._skip(entry)
        else:
            self._done()

    def _put(self, entry: Entry, target: str) -> None:
        found = self.blobs.find(entry.digest, entry.size, entry.algorithm)
        if found is None:
            self.fetch_all([(entry, target)], 1)
        else:
            self._hand_out((entry, target, found))

    def _skip(self, entry: Entry) -> None:
        with self._lock:
            self.result.skipped.append(Skipped(entry, "a folder has its name"))

    def _done(self) -> None:
        with self._lock:
            self.result.files += 1
        self._tell(0)

    def _tell(self, count: int) -> None:
        if self._on_progress is None:
            return
        with self._lock:
            self._bytes += count
            state = Progress(self.result.files, self._files_total, self._bytes, self._bytes_total)
        self._on_progress(state)

    # -------------------------------------------------------------- what is not

    def fetch_all(self, wanted: Sequence[Wanted], threads: int) -> None:
        """Fetch contents that are not here, each digest once, and put the files."""
        groups: dict[tuple[str, str, int | None], list[Wanted]] = {}
        for entry, target in wanted:
            groups.setdefault(_key(entry), []).append((entry, target))
        todo = list(groups.values())
        for start in range(0, len(todo), BATCH):
            batch = todo[start : start + BATCH]
            addresses = _Addresses(self.urls, [group[0][0] for group in batch], self.fallback)
            self._in_threads(batch, partial(self._fetch_group, addresses), threads)

    def _in_threads(self, items: Sequence[Any], do: Callable[[Any], object], threads: int) -> None:
        """Do it to all; the first failure ends the rest and is raised.

        Who interrupts this waits for nobody: a server may be silent for as long as the time-out, and what
        the threads are at may break off at any moment.
        """
        if len(items) == 1:
            do(items[0])
            return
        todo, ended = deque(items), SimpleQueue[BaseException | None]()

        def work() -> None:
            try:
                while not self.stop.is_set() and (item := _next(todo)) is not None:
                    do(item)
            except BaseException as error:  # noqa: BLE001 - raised again by who waits
                ended.put(error)
            else:
                ended.put(None)

        workers = min(threads, len(items))
        for number in range(workers):
            threading.Thread(target=work, name=f"download-{number}", daemon=True).start()
        failed = []
        try:
            for _ in range(workers):
                if (error := ended.get()) is not None:
                    failed.append(error)
                    self.stop.set()
        except BaseException:
            self.stop.set()
            raise
        if failed:
            raise next((each for each in failed if not isinstance(each, Ended)), failed[0])

    def _fetch_group(self, addresses: _Addresses, group: Sequence[Wanted]) -> None:
        entry = group[0][0]
        if self._skip_cache or not self.blobs.fits(entry.size):
            for each, target in group:
                self._fetch_to(each, target, addresses)
        else:
            self._fetch_kept(entry, addresses)
            for each, target in group:
                self._put(each, target)
        addresses.done(entry)

    def _fetch_kept(self, entry: Entry, addresses: _Addresses) -> None:
        store = self.blobs.gathering(
            entry.digest, entry.size, algorithm=entry.algorithm, stop=self.stop
        )
        with store as part:
            if part is None:  # another process was faster
                self._tell(entry.size or 0)
                return
            self._fill(entry, part, addresses)
            self.blobs.keep(part)

    def _fetch_to(self, entry: Entry, target: str, addresses: _Addresses) -> None:
        """Fetch straight into the folder; nothing is kept in the store."""
        try:
            with full_disk_told(target), new_file(Path(target)) as file:
                self._fill(entry, Part(file, entry.digest, entry.size, entry.algorithm), addresses)
        except IsADirectoryError:
            self._skip(entry)
        else:
            self._done()

    def _fill(self, entry: Entry, part: Part, addresses: _Addresses) -> None:
        """Fetch until a part is whole and right; pieces that do not fit are fetched once more as one."""
        sink = _Counted(part, self.came)
        if part.length:
            self._tell(part.length)
        for again in (False, True):
            joined = self._fetch_whole(entry, sink, addresses)
            try:
                part.check(f"{entry.path!r}")
            except DigestMismatch:
                if again or not joined:
                    raise
            else:
                break
        with self._lock:
            self.result.fetched += 1
            self.result.fetched_bytes += sink.fetched

    def _fetch_whole(self, entry: Entry, sink: _Counted, addresses: _Addresses) -> bool:
        """Fetch to the end; return whether the bytes are of more than one answer."""
        renewed = failures = 0
        joined = False
        for _ in range(TRIES_IN_ALL):
            if entry.size is not None and sink.length == entry.size and sink.length:
                return True
            before = sink.length
            joined = joined or before > 0
            url = addresses.of(entry)
            try:
                self.fetch(url, sink)
                if entry.size is None or sink.length >= entry.size:
                    return joined
                raise Unreachable(
                    f"{entry.path!r}: {sink.length:,} of {entry.size:,} bytes came, then the download ended"
                )
            except RemoteError as error:
                if error.status in EXPIRED:
                    renewed += 1
                    self._renew(entry, url, renewed, addresses, error)
                    continue
                failures = 0 if sink.length > before else failures + 1
                if failures >= TRIES:
                    raise
                self._pause(error, failures)
        raise Unreachable(f"{entry.path!r}: the download broke {TRIES_IN_ALL} times: run it again to go on")  # fmt: skip

    def _renew(
        self, entry: Entry, url: str, times: int, addresses: _Addresses, error: RemoteError
    ) -> None:
        """Ask for a new address once, then use the one below the API, then give up."""
        if times == 1:
            addresses.renew(entry, url)
        elif times == 2 and self.fallback is not None:
            addresses.use(entry, self.fallback(entry))
        else:
            raise type(error)(f"{entry.path!r}: {error}", status=error.status) from error

    def _pause(self, error: RemoteError, failures: int) -> None:
        seconds = BACKOFF_S * 2.0**failures * random.uniform(0.75, 1.25)
        if isinstance(error, RateLimited):
            seconds = error.retry_after_s or seconds
        if seconds > WAIT_MAX_S:
            raise error
        if self.stop.wait(seconds):
            raise Ended

    # -------------------------------------------------------------- references

    def fetch_references(self, wanted: Sequence[Wanted], allow_missing: bool) -> None:
        """Fetch what is kept elsewhere, without the key. Nothing of it goes into the store."""
        for entry, target in wanted:
            self._files_total += 1
            try:
                self._fetch_reference(entry, target)
            except (FileNotFoundError, NotFound, ContentError) as error:
                if not allow_missing:
                    raise
                self.result.skipped.append(Skipped(entry, str(error)))
            except IsADirectoryError:
                self._skip(entry)

    def _fetch_reference(self, entry: Entry, target: str) -> None:
        assert entry.ref is not None
        scheme = urlsplit(entry.ref).scheme
        if scheme not in ("http", "https", "file", ""):
            raise ContentError(
                f"{entry.path!r} is a reference to {scheme}://…, which mirror records and does not "
                f"fetch: take it from its own storage ({entry.ref})"
            )
        with full_disk_told(target), new_file(Path(target)) as file:
            if scheme in ("http", "https"):
                self._fetch_http(entry, entry.ref, file)
            else:
                _copy_local(entry, Path(unquote(urlsplit(entry.ref).path)), file)
        self.result.fetched += 1
        self._done()

    def _fetch_http(self, entry: Entry, ref: str, file: FileIO) -> None:
        sink = _Loose(file, self.came)
        headers = self.fetch(ref, sink, with_key=False)
        self.result.fetched_bytes += sink.length
        etag = headers.get("etag", "").strip('"') or ref
        if entry.digest not in (etag, headers.get("etag"), ref):
            raise DigestMismatch(
                f"reference {entry.path!r}", expected=f"ETag {entry.digest}", found=f"ETag {etag}"
            )


def _copy_local(entry: Entry, source: Path, file: FileIO) -> None:
    with source.open("rb") as reader:
        shutil.copyfileobj(reader, file, 1 << 20)
    found = digest_of(source)
    if found != entry.digest and entry.digest != entry.ref:
        raise DigestMismatch(
            f"reference {entry.path!r}", expected=f"digest {entry.digest}", found=f"digest {found}"
        )


class _Addresses:
    """The addresses of a batch, asked for when the first is needed and again when one expired."""

    def __init__(
        self, urls: Urls, entries: Sequence[Entry], fallback: Callable[[Entry], str] | None
    ) -> None:
        self._urls = urls
        self._fallback = fallback
        self._waiting = {entry.path: entry for entry in entries}
        self._known: dict[str, str] | None = None
        self._lock = threading.Lock()

    def of(self, entry: Entry) -> str:
        """Return an entry's address. Raises NotFound where the server gives none."""
        with self._lock:
            if self._known is None:
                self._known = self._asked()
            found = self._known.get(entry.path)
        if found:
            return found
        if self._fallback is not None:
            return self._fallback(entry)
        raise NotFound(f"the server gives no address for {entry.path!r}: it has no such file")

    def renew(self, entry: Entry, expired: str) -> None:
        """Ask for new addresses of all that wait, unless somebody has while this one was tried."""
        with self._lock:
            if self._known is None or self._known.get(entry.path) == expired:
                self._waiting[entry.path] = entry
                self._known = {**(self._known or {}), **self._asked()}

    def use(self, entry: Entry, url: str) -> None:
        """Take an address for an entry."""
        with self._lock:
            self._known = {**(self._known or {}), entry.path: url}

    def done(self, entry: Entry) -> None:
        """Note that an entry needs no address any more."""
        with self._lock:
            self._waiting.pop(entry.path, None)

    def _asked(self) -> dict[str, str]:
        return dict(self._urls(list(self._waiting.values())))


class _Counted:
    """A part that tells how many bytes came."""

    def __init__(self, part: Part, tell: Callable[[int], object]) -> None:
        self._part = part
        self._tell = tell
        self.fetched = 0

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._part.length

    def write(self, chunk: bytes, /) -> None:
        """Add bytes."""
        self._part.write(chunk)
        self.fetched += len(chunk)
        self._tell(len(chunk))

    def restart(self) -> None:
        """Forget all bytes."""
        back = self._part.length
        self._part.restart()
        self._tell(-back)


class _Loose:
    """A file without a digest."""

    def __init__(self, file: FileIO, tell: Callable[[int], object]) -> None:
        self._file = file
        self._tell = tell
        self.length = 0

    def write(self, chunk: bytes, /) -> None:
        """Add bytes."""
        self._file.write(chunk)
        self.length += len(chunk)
        self._tell(len(chunk))

    def restart(self) -> None:
        """Forget all bytes."""
        self._file.seek(0)
        self._file.truncate()
        self.length = 0


def _next(todo: deque[Any]) -> Any:
    try:
        return todo.popleft()
    except IndexError:
        return None


def _key(entry: Entry) -> tuple[str, str, int | None]:
    return entry.algorithm, entry.digest, entry.size


def _once(wanted: Iterable[Wanted]) -> Iterator[Entry]:
    """One entry of each digest."""
    return iter({_key(entry): entry for entry, _ in wanted}.values())


def _in_place(entry: Entry, target: str) -> bool:
    """Whether the file has the entry's contents already; untouched since we put it, it is not read."""
    try:
        stat = os.lstat(target)
    except OSError:
        return False
    if not S_ISREG(stat.st_mode) or entry.size not in (None, stat.st_size):
        return False
    if sealed(stat.st_mtime_ns, raw_digest(entry.digest)):
        return True
    with contextlib.suppress(OSError):
        return digest_of(target, entry.algorithm) == entry.digest
    return False
