"""A process that downloads: what the tests kill, or let run against each other.

child.py URL STORE TARGET FILE_BYTES|- PATH:DIGEST:SIZE...
"""

from __future__ import annotations

import resource
import sys

from mirror.blobs import BlobStore, Entry, download_entries
from mirror.errors import MirrorError
from mirror.remote.client import Client


def main(url: str, store: str, target: str, file_bytes: str, *entries: str) -> None:
    if file_bytes != "-":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes), resource.RLIM_INFINITY))
    wanted = [
        Entry(path, digest, int(size))
        for path, digest, size in (entry.rsplit(":", 2) for entry in entries)
    ]
    with Client(url, None) as client:
        try:
            done = download_entries(
                BlobStore(store),
                wanted,
                target,
                urls=lambda asked: {entry.path: f"{url}/{entry.path}" for entry in asked},
                client=client,
            )
        except MirrorError as error:
            sys.exit(f"{type(error).__name__}: {error}")
    print(done.files, done.fetched)


if __name__ == "__main__":
    main(*sys.argv[1:])
