"""Files of runs over HTTP. The key goes to the API's own host only, never to a signed address."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from mirror.errors import NotFound, ServerFailed, Unauthorized, Unreachable
from mirror.remote.client import Client

__all__ = ["download"]

TRIES = 3


def download(client: Client, url: str, target: Path) -> None:
    """Fetch an address into a file, whole or not at all. Raises RemoteError."""
    address = urljoin(f"{client.base_url}/", url)
    ours = urlsplit(address).netloc == urlsplit(client.base_url).netloc
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, TRIES + 1):
        try:
            _fetch(client, address, ours, target)
        except (Unreachable, ServerFailed):
            if attempt == TRIES:
                raise
        else:
            return


def _fetch(client: Client, address: str, ours: bool, target: Path) -> None:
    host = urlsplit(address).netloc
    auth = httpx.USE_CLIENT_DEFAULT if ours else None
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            _stream(client, address, auth, file)
        Path(part).replace(target)
    except httpx.HTTPError as error:
        raise Unreachable(
            f"the download from {host} broke ({type(error).__name__}): {error}"
        ) from None
    finally:
        Path(part).unlink(missing_ok=True)


def _stream(client: Client, address: str, auth: object, file: object) -> None:
    host = urlsplit(address).netloc
    headers = {"Content-Type": "application/octet-stream", "Accept": "*/*"}
    with client.stream(address, auth=auth, headers=headers) as response:
        if response.status_code == 404:
            raise NotFound(f"the download from {host}: there is no such file (404)", status=404)
        if response.status_code in (401, 403):
            raise Unauthorized(
                f"the download from {host} was refused ({response.status_code})",
                status=response.status_code,
            )
        if response.status_code >= 400:
            raise ServerFailed(
                f"the download from {host} failed ({response.status_code})",
                status=response.status_code,
            )
        for chunk in response.iter_bytes():
            file.write(chunk)  # type: ignore[attr-defined]
