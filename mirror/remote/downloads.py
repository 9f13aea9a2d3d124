"""Files over HTTP. The key goes to the API's own host only, never to a signed address.

`fetch` asks once, from where the bytes that are here end; `persist` until they are whole; `download`
puts a whole file somewhere.
Messages name the host, never the address: it is signed.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urljoin, urlsplit

import httpx

from mirror.errors import (
    NotFound,
    RateLimited,
    RemoteError,
    ServerFailed,
    Unauthorized,
    Unreachable,
)
from mirror.remote.answers import number
from mirror.remote.client import WAIT_MAX_S, Client, backoff_s

__all__ = ["Sink", "download", "fetch", "persist"]

TRIES = 5


class Sink(Protocol):
    """What bytes are gathered in; `length` are there already."""

    @property
    def length(self) -> int:
        """Bytes so far."""

    def write(self, chunk: bytes, /) -> None:
        """Add bytes."""

    def restart(self) -> None:
        """Forget all bytes."""


def fetch(client: Client, url: str, sink: Sink, *, with_key: bool = True) -> Mapping[str, str]:
    """Ask for the bytes that a sink lacks, once, and return the answer's headers.

    Raises RemoteError: with `status` where the server refused (an expired address is 400, 401, 403, 404
    or 410), RateLimited with the seconds to wait, Unreachable where the connection broke. What came
    before stays in the sink, for another try to go on from. `with_key` lets the API's own host see it.
    What the sink raises ends it.
    """
    address = urljoin(f"{client.base_url}/", url)
    ours = with_key and client.is_own(address)
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # sizes and ranges are of the file itself
        **({"Range": f"bytes={sink.length}-"} if sink.length else {}),
    }
    auth = httpx.USE_CLIENT_DEFAULT if ours else None
    with _told(address), client.stream(address, auth=auth, headers=headers) as response:
        if not _already_whole(response, sink):
            _check(response, urlsplit(address).hostname or "")
            _check_start(response, sink)
            for chunk in response.iter_bytes():
                sink.write(chunk)
        return dict(response.headers)


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Translate what httpx raises; `from None`, since theirs carry the address."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        said = type(error).__name__
        raise Unreachable(f"the download from {_host(address)} broke ({said})") from None


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or "nowhere"
    except ValueError:
        return "an address that cannot be read"


def _already_whole(response: httpx.Response, sink: Sink) -> bool:
    """Whether the server has no bytes after ours; a sink that is longer than its file starts over."""
    if response.status_code != 416:
        return False
    total = re.search(r"/(\d+)\s*$", response.headers.get("content-range", ""))
    if total is not None and int(total[1]) == sink.length:
        return True
    sink.restart()
    raise Unreachable("the server could not go on where the download ended: starting over")


def _check(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if status < 400:
        return
    if status == 429:
        wait = number(response.headers.get("retry-after"))
        raise RateLimited(f"{host} limits the rate of downloads (429)", retry_after_s=wait)
    if status in (404, 410):
        raise NotFound(f"the download from {host}: there is no such file ({status})", status=status)
    if status in (401, 403):
        raise Unauthorized(f"the download from {host} was refused ({status})", status=status)
    raise ServerFailed(f"the download from {host} failed ({status})", status=status)


def _check_start(response: httpx.Response, sink: Sink) -> None:
    """Start over where the answer does not begin at the end of our bytes."""
    if not sink.length:
        return
    begins = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    encoded = response.headers.get("content-encoding", "identity") != "identity"
    if response.status_code == 206 and begins and int(begins[1]) == sink.length and not encoded:
        return
    sink.restart()
    if response.status_code == 206:
        raise Unreachable("the server went on at another place of the file: starting over")


# ------------------------------------------------------------------ whole files


def download(client: Client, url: str, target: Path) -> None:
    """Fetch an address into a file, whole or not at all. Raises RemoteError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
    try:
        with os.fdopen(handle, "w+b") as file:
            persist(client, url, _File(file))
        Path(part).replace(target)
    finally:
        Path(part).unlink(missing_ok=True)


class _File:
    """A file as a sink."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.length = 0

    def write(self, chunk: bytes, /) -> None:
        self.length += self._file.write(chunk)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.length = 0


def persist(client: Client, url: str, sink: Sink) -> None:
    """Fetch an address into a sink: go on where a connection broke, wait where the server asks for it.

    Raises RemoteError: what the last try raised.
    """
    for attempt in range(1, TRIES + 1):
        try:
            fetch(client, url, sink)
        except RemoteError as error:
            seconds = _pause_s(error, attempt)
            if attempt == TRIES or seconds is None or seconds > WAIT_MAX_S:
                raise
            client.pause(seconds)
        else:
            return


def _pause_s(error: RemoteError, attempt: int) -> float | None:
    """How long to wait before another try; None where it would change nothing."""
    if isinstance(error, RateLimited):
        return error.retry_after_s or backoff_s(attempt)
    if isinstance(error, Unreachable):
        return backoff_s(attempt) if attempt > 1 else 0.0
    return backoff_s(attempt) if isinstance(error, ServerFailed) and (error.status or 500) >= 500 else None  # fmt: skip
