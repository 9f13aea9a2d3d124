"""The server's global ids, Relay's: base64 of parts joined by colons (`Run:v1:abc:proj:ent`)."""

from __future__ import annotations

import base64
import binascii

__all__ = ["decode_global_id"]


def decode_global_id(value: str) -> list[str]:
    """Return the parts of a global id; [] when it does not decode."""
    try:
        text = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return []
    return text.split(":")
