"""JSON texts as W&B sends them, and the documents that filters read.

A leaf: nothing here knows tables or HTTP. `loads` reads a server's text as Python's json does (bare
NaN, big integers, raw control characters); `document` turns a value into the query document of
docs/decisions (strict JSON, one spelling per value); `escape` makes any string storable on both
engines without changing the order of strings; `pack` keeps a text verbatim, compressed.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
from enum import IntFlag
from typing import Any

import orjson
import zstandard

__all__ = [
    "VERBATIM",
    "Type",
    "document",
    "dumps",
    "escape",
    "load_document",
    "load_packed",
    "loads",
    "names_in",
    "pack",
    "read_document",
    "read_json",
    "unescape",
    "unpack",
]

# Digits become 0, and whatever a number may follow becomes a colon: then a long number, wherever it
# begins, is one text to look for. (Digits inside a string, as of hashes, mostly follow a letter.)
_SHAPES = bytes.maketrans(b"123456789 ,[-\n\t\r", b"0" * 9 + b":" * 7)
_LONG_INTEGER = b":" + b"0" * 19
_BEYOND = re.compile(rb"\d{20}|-\d{19}")
_LONG_NUMBER = b":" + b"0" * 16
_LARGE = re.compile(rb"(-?)(\d{16,})([.eE]?)")
_LONG_EXPONENTS = (b"e+1", b"e16", b"e17", b"e18", b"E")  # and much else, so looked at twice
_EXPONENT = re.compile(rb"[:\s,\[-]\d+(?:\.\d+)?[eE]\+?1[5-8]")
_TO_ESCAPE = re.compile("[\x00\x01\ue000\ud800-\udfff]")
_ESCAPED = re.compile("\x01([\x01\x02])|\ue000(?:\x02|\x01([0-9a-f]{4}))")
VERBATIM = " "
"""What the text of a document ends in that is, value for value, what the server's text reads as.

Whoever wants the whole document need not read the server's text then. (A jsonb column drops it.)
"""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


_tolerant = json.JSONDecoder(strict=False).decode  # json.loads(…, strict=False) makes one each time


class Type(IntFlag):
    """What the key catalogue has seen under a path, as bits."""

    NULL = 1
    BOOLEAN = 2
    INTEGER = 4
    FLOAT = 8
    STRING = 16
    OBJECT = 32
    LIST = 64
    NAN = 128  # the string "NaN"
    INFINITY = 256  # the strings "Infinity" and "-Infinity"
    NUMBER = 12
    TEXT = 16 | 128 | 256


def loads(text: str) -> Any:
    """Read a JSON text exactly as `json.loads(text, strict=False)` would, only faster.

    Raises ValueError when it is not JSON even so.
    """
    data = text.encode("utf-8", "surrogatepass")
    if not _may_hold_long_integers(data):  # orjson reads integers beyond 64 bits as floats
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(data)
    return _tolerant(text)


def load_packed(blob: bytes | None) -> Any:
    """Read a packed JSON text as `loads` reads it, without making a text of it; None of None."""
    if blob is None:
        return None
    data = _codec.decompress(blob)
    if not _may_hold_long_integers(data):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(data)
    return _tolerant(data.decode("utf-8", "surrogatepass"))


read_json = orjson.loads
"""Read a text that ends in `VERBATIM`: strict JSON without long numbers."""


def load_document(text: str) -> Any:
    """Read a JSON text straight into the form of `document`. Raises ValueError as `loads` does."""
    return read_document(text)[0]


def read_document(text: str) -> tuple[Any, bool]:
    """Return what `load_document` does, and whether it is, value for value, what `loads` reads."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return document(json.loads(text, strict=False)), False
    # What orjson accepts is finite; left are integers past int64 and the characters we escape.
    if b"\\u" in data or b"\xee\x80\x80" in data or _may_hold_large_numbers(data):
        return document(value), False
    return value, True


def _may_hold_long_integers(data: bytes) -> bool:
    # Nineteen digits are exact in orjson, but for some of the negative ones.
    return _LONG_INTEGER in b":" + data.translate(_SHAPES) and _BEYOND.search(data) is not None


def _may_hold_large_numbers(data: bytes) -> bool:
    if _LONG_NUMBER in b":" + data.translate(_SHAPES) and any(
        map(_is_large, _LARGE.finditer(data))
    ):
        return True
    exponent = any(map(data.__contains__, _LONG_EXPONENTS))
    return exponent and _EXPONENT.search(b":" + data) is not None


def _is_large(found: re.Match[bytes]) -> bool:
    """Whether digits are a double or may be past int64; seeds of 64 bits are neither."""
    sign, digits, behind = found.groups()
    if behind or len(digits) != 19:
        return bool(behind) or len(digits) > 19
    return bool(sign) or digits > b"%d" % _INT64_MAX


def dumps(value: Any) -> str:
    """Write a value of `document` as compact JSON text."""
    return orjson.dumps(value).decode()


def document(value: Any) -> Any:
    """Return the value as filters see it: finite, escaped, whole numbers within int64 as integers
    where doubles are sparser than they, and as doubles beyond."""
    kind = type(value)
    if kind is str:
        return escape(value)
    if kind is int:
        return value if _INT64_MIN <= value <= _INT64_MAX else _double(value)
    if kind is float:
        # Always whole here; written as a double, PostgreSQL would keep the shortest decimal that
        # reads back as it, which is another number.
        if 2**53 <= abs(value) < 2**63 or value == _INT64_MIN:
            return int(value)
        return value if math.isfinite(value) else non_finite(value)
    if kind is dict:
        return {escape(key): document(item) for key, item in value.items()}
    if kind is list:
        return [document(item) for item in value]
    return value


def non_finite(value: float) -> str:
    """Name a NaN or an infinity the way W&B stores it."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _double(value: int) -> int | float | str:
    try:
        double = float(value)
    except OverflowError:
        return "Infinity" if value > 0 else "-Infinity"
    # The double of the integers just below int64 is its smallest member: one value, one spelling.
    return _INT64_MIN if double == _INT64_MIN else double


def escape(text: str) -> str:
    """Replace NUL and lone surrogates, reversibly and keeping the order of strings by code point.

    PostgreSQL stores neither. NUL becomes 01 01 and U+0001 becomes 01 02; a surrogate becomes
    U+E000 01 and four hex digits, and U+E000 becomes U+E000 02. Everything else stays.
    """
    if text.isascii() and "\x00" not in text and "\x01" not in text:
        return text
    return _TO_ESCAPE.sub(_escape_one, text)


def _escape_one(match: re.Match[str]) -> str:
    char = match[0]
    if char == "\x00":
        return "\x01\x01"
    if char == "\x01":
        return "\x01\x02"
    if char == "\ue000":
        return "\ue000\x02"
    return f"\ue000\x01{ord(char):04x}"


def unescape(text: str) -> str:
    """Undo `escape`."""
    if text.isascii() and "\x01" not in text:
        return text
    return _ESCAPED.sub(_unescape_one, text)


def names_in(column: Any) -> list[str]:
    """Return the names in a JSON column: text on SQLite, parsed already on PostgreSQL; None has none."""
    held = orjson.loads(column) if isinstance(column, str) else column or ()
    return [unescape(name) for name in held]


def _unescape_one(match: re.Match[str]) -> str:
    if match[1]:
        return "\x00" if match[1] == "\x01" else "\x01"
    return chr(int(match[2], 16)) if match[2] else "\ue000"


class _Codec(threading.local):
    """A compressor and a decompressor for each thread: zstandard's are not safe to share."""

    def __init__(self) -> None:
        # A level below 1: texts are short, half the time for a quarter more bytes (decision 002).
        self.compress = zstandard.ZstdCompressor(level=-1).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_codec = _Codec()


def pack(text: str | None) -> bytes | None:
    """Compress a text, keeping every code point (lone surrogates too)."""
    return None if text is None else _codec.compress(text.encode("utf-8", "surrogatepass"))


def unpack(blob: bytes | None) -> str | None:
    """Undo `pack`."""
    return None if blob is None else _codec.decompress(blob).decode("utf-8", "surrogatepass")
