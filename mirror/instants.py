"""Times as W&B writes them, and as integer microseconds UTC. A leaf.

The rule is the one of the filter language (docs/filters.md): ISO 8601, `T` or a space, zero to nine
digits of a second (cut, not rounded, past the sixth), no zone means UTC.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta

__all__ = ["from_us", "http_date", "now", "parse", "to_us"]

_INSTANT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?"
    r"\s?(Z|z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: UTC arithmetic


def parse(text: str) -> int:
    """Return the instant as microseconds since 1970 UTC. Raises ValueError."""
    if len(text) == 20 and text[4:20:3] == "--T::Z" and text.isascii():
        # What servers send nearly always, read in C; four of these come with every run.
        with contextlib.suppress(ValueError):
            delta = datetime.fromisoformat(text[:19]) - _EPOCH
            return (delta.days * 86_400 + delta.seconds) * 1_000_000
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not an ISO 8601 time: {text!r}")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    base = datetime(  # noqa: DTZ001
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
    )
    delta = base - _EPOCH - timedelta(minutes=_offset_minutes(zone, text))
    micros = int((fraction or "0").ljust(6, "0")[:6])
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + micros


def _offset_minutes(zone: str | None, text: str) -> int:
    if not zone or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(f"not an ISO 8601 time: {text!r}")
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)


def to_us(text: str | None) -> int | None:
    """Return microseconds for a server's time; None for null and for what is no time."""
    if not text:
        return None
    try:
        return parse(text)
    except ValueError:
        return None


def from_us(micros: int) -> str:
    """Write microseconds as ISO 8601 UTC with Z; the fraction only where there is one."""
    moment = _EPOCH + timedelta(microseconds=micros)
    text = moment.isoformat(timespec="microseconds" if micros % 1_000_000 else "seconds")
    return f"{text}Z"


def now() -> str:
    """The local clock as ISO 8601 UTC, whole seconds: for logs, never for marks."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date(moment: datetime) -> str:
    """Write an aware datetime (of a Date header) as ISO 8601 UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
