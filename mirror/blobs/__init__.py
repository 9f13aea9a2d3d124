"""Contents of artifacts and files: kept once by digest, fetched in parallel, put where asked.

`store` keeps bytes and knows no network, `targets` decides where a name may lead, `download` fetches
what is not here. The database knows nothing of it: losing the folder costs downloads, no metadata.
"""

from __future__ import annotations

from mirror.blobs.digests import digest_of, is_digest
from mirror.blobs.download import Downloaded, Entry, Progress, download_entries
from mirror.blobs.store import BlobStore
from mirror.blobs.targets import safe_target

__all__ = [
    "BlobStore",
    "Downloaded",
    "Entry",
    "Progress",
    "digest_of",
    "download_entries",
    "is_digest",
    "safe_target",
]
