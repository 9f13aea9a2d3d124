"""Digests as manifests spell them: base64 of an MD5, or of an XXH128 where the entry says so.

The seal is a modification time that a digest gives: see docs/decisions/012-contents.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Protocol

from mirror.errors import ContentError

__all__ = [
    "ALGORITHMS",
    "Hash",
    "digest_of",
    "digest_text",
    "is_digest",
    "new_hash",
    "raw_digest",
    "seal_ns",
    "sealed",
]

ALGORITHMS = ("md5", "xxh128")
DIGEST_BYTES = 16
SECOND_NS = 1_000_000_000


class Hash(Protocol):
    """What `hashlib` and `xxhash` give alike."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""

    def digest(self) -> bytes:
        """Return the digest of all bytes taken in."""


def new_hash(algorithm: str = "md5") -> Hash:
    """Return an empty hash of an algorithm. Raises ContentError for one that cannot be computed."""
    if algorithm == "md5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm != "xxh128":
        raise ContentError(
            f"digests of kind {algorithm!r} are not known (known: {', '.join(ALGORITHMS)}): "
            "upgrade mirror"
        )
    try:
        import xxhash
    except ImportError:
        raise ContentError(
            "these contents are named by XXH128 digests: pip install 'wandb-mirror[xxhash]'"
        ) from None
    made: Hash = xxhash.xxh128()
    return made


def raw_digest(digest: str) -> bytes:
    """Return the bytes of a base64 digest. Raises ContentError for a text that is none."""
    try:
        raw = binascii.a2b_base64(digest, strict_mode=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != DIGEST_BYTES:
        raise ContentError(f"{digest!r} is no digest: base64 of {DIGEST_BYTES} bytes is expected")
    return raw


def is_digest(text: object) -> bool:
    """Whether a value is a base64 digest."""
    try:
        return isinstance(text, str) and bool(raw_digest(text))
    except ContentError:
        return False


def digest_text(raw: bytes) -> str:
    """Return a digest as manifests spell it."""
    return base64.b64encode(raw).decode()


def seal_ns(raw: bytes, now_ns: int) -> int:
    """Return a modification time for untouched contents: this second, and a fraction of the digest."""
    return now_ns - now_ns % SECOND_NS + int.from_bytes(raw[:8]) % SECOND_NS


def sealed(mtime_ns: int, raw: bytes) -> bool:
    """Whether a file with that modification time is as it was put: any write would have moved it."""
    return mtime_ns % SECOND_NS == int.from_bytes(raw[:8]) % SECOND_NS


def digest_of(path: str | os.PathLike[str], algorithm: str = "md5") -> str:
    """Return the base64 digest of a file's bytes, read now. Raises OSError, ContentError."""
    found = new_hash(algorithm)
    with Path(path).open("rb", buffering=0) as file:
        for block in iter(partial(file.read, 1 << 20), b""):
            found.update(block)
    return digest_text(found.digest())
