"""RE2 patterns: compiled once, searched in stored texts, and what can be known of a match beforehand.

A leaf but for jsontext. `find` is what both engines mean by `$regex`: a function on SQLite, a filter
over the distinct strings on PostgreSQL; `required_literal` and `prefix_range` let them look at less.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, Literal

import re2

from mirror.jsontext import unescape

__all__ = ["compile_pattern", "find", "plain", "prefix_range", "required_literal"]

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PLAIN: Final = re.compile(r"[A-Za-z0-9 _/:,;@#%&=<>~'\"!-]*")


@functools.lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Any:
    """Return the compiled pattern; raises re2.error, or UnicodeEncodeError for a lone surrogate."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def find(pattern: str, text: str) -> bool:
    """Say whether the pattern is found in a text stored in the form of `jsontext.escape`.

    A lone surrogate counts as U+FFFD.
    """
    if not text.isascii() or "\x01" in text:
        text = _LONE_SURROGATE.sub("\ufffd", unescape(text))
    return compile_pattern(pattern).search(text) is not None


_WORDS: Final = re.compile(
    r"(\^?)((?:[A-Za-z0-9 _/:,;@#%&=<>~'\"!\u00c0-\ud7ff-]|\\[.\-_+*?()|\[\]{}^$/])*)(\$?)"
)


def plain(pattern: str) -> tuple[Literal["equals", "starts", "contains"], str] | None:
    """Return what a pattern without anything special asks of a text, and the literal; else None."""
    match = _WORDS.fullmatch(pattern)
    if match is None:
        return None
    literal = re.sub(r"\\(.)", r"\1", match[2])
    if match[1] and match[3]:
        return "equals", literal
    if match[3]:
        return None
    if match[1] and literal:
        return ("starts", literal) if literal[-1].isascii() else None
    return "contains", literal


def prefix_range(pattern: str) -> tuple[str, str] | None:
    """Return bounds (`low <= text < high`) of every text an anchored pattern is found in, if plain."""
    if not pattern.startswith("^") or "|" in pattern:
        return None
    match = _PLAIN.match(pattern, 1)
    prefix = match[0] if match else ""
    if pattern[1 + len(prefix) : 2 + len(prefix)] in ("*", "?", "{"):
        prefix = prefix[:-1]
    return (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else None


def required_literal(pattern: str) -> str:
    """Return a text that every match holds; "" if none is plain to see."""
    if "|" in pattern or "(?" in pattern or "\\Q" in pattern:
        return ""
    found, current, i = [], "", 0
    while i < len(pattern):
        char = pattern[i]
        if char in "([" or (char == "\\" and pattern[i + 1 : i + 2].isalnum()):
            break  # a group may be optional, a class holds no literal: keep what came before
        if char in "*?{":
            found.append(current[:-1])
            current = ""
            i = pattern.find("}", i) if char == "{" and "}" in pattern[i:] else i
        elif char in "+.^$":
            found.append(current)
            current = ""
        else:
            i += char == "\\"
            current += pattern[i : i + 1]
        i += 1
    return max([*found, current], key=len)
