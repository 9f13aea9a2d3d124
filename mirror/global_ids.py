"""The server's global ids, Relay's: base64 of parts joined by colons (`Run:v1:abc:proj:ent`)."""

from __future__ import annotations

import base64
import binascii
import functools

__all__ = ["decode_global_id", "number_of"]


def decode_global_id(value: str) -> list[str]:
    """Return the parts of a global id; [] when it does not decode."""
    try:
        text = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return []
    return text.split(":")


@functools.lru_cache(maxsize=4096)
def number_of(value: str) -> int:
    """Return the number that a global id ends in (`Artifact:12`), by which servers order; 0 for none."""
    parts = decode_global_id(value)
    return int(parts[-1]) if parts and parts[-1].isdecimal() else 0
