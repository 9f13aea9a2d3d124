"""Global ids and page cursors: base64 of a readable text, as W&B makes them."""

from __future__ import annotations

import base64
import binascii
import re


def global_id(*parts: object) -> str:
    """Return the opaque id of a thing: `global_id("Run", "v1", "abc", "vision", "team")`."""
    return base64.b64encode(":".join(map(str, parts)).encode()).decode()


def parts_of(identifier: str) -> list[str]:
    """Return the parts of a global id, or an empty list for a text that is none."""
    try:
        padded = identifier + "=" * (-len(identifier) % 4)
        return base64.b64decode(padded, validate=True).decode().split(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return []


def cursor(offset: int) -> str:
    """Return the cursor of the row at an offset of a listing."""
    return global_id("arrayconnection", offset)


def offset_of(text: str) -> int | None:
    """Return the offset a cursor stands for; None if it is no cursor of ours."""
    parts = parts_of(text)
    if len(parts) in (2, 3) and parts[0] == "arrayconnection":
        return int(parts[1]) if re.fullmatch(r"-1|[0-9]{1,15}", parts[1]) else None
    return None
