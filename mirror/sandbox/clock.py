"""The clock of a world, and times as the server writes and reads them.

Texts are ISO 8601 in UTC with one-second precision, so runs made within a second tie.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
INSTANT: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


@lru_cache(maxsize=65536)
def instant_us(text: str) -> int:
    """Return a time text as microseconds since 1970; no zone means UTC. Raises ValueError."""
    if text[4:5] == text[7:8] == "-" and text[10:11] == "T" and text[19:] == "Z":
        try:  # the server's own spelling, many times faster
            return (datetime.fromisoformat(text) - EPOCH) // MICROSECOND
        except ValueError:
            pass
    found = INSTANT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not an ISO-8601 time: {text!r}")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    moment = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
        tzinfo=UTC,
    )  # fmt: skip
    digits = (fraction or "").ljust(6, "0")[:6]
    return (moment - EPOCH) // MICROSECOND + int(digits) - zone_us(zone or "Z", text)


def zone_us(zone: str, text: str) -> int:
    if zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].replace(":", "") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(f"not an ISO-8601 time: {text!r}")
    return (hours * 3600 + minutes * 60) * (-1_000_000 if zone[0] == "-" else 1_000_000)


def stamp(moment: datetime) -> str:
    """Return an aware datetime as the server writes it: 2024-01-02T03:04:05Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_of_us(us: int) -> str:
    return stamp(EPOCH + us * MICROSECOND)


class Clock:
    """The time of a world: the machine's, or one that stands still until it is moved."""

    def __init__(self, now: datetime | str | None = None, tick_s: float = 0.0) -> None:
        """Start at `now` (aware datetime or text), or follow the machine's clock if None.

        With `tick_s`, every change of the world moves a manual clock on by so many seconds.
        """
        if isinstance(now, str):
            now = EPOCH + instant_us(now) * MICROSECOND
        self._fixed = now
        self._tick = timedelta(seconds=tick_s)
        self._ahead = timedelta()

    @property
    def now(self) -> datetime:
        if self._fixed is not None:
            return self._fixed
        return datetime.fromtimestamp(time.time(), UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move on by some seconds, a manual clock and a real one alike."""
        if self._fixed is not None:
            self._fixed += timedelta(seconds=seconds)
        else:
            self._ahead += timedelta(seconds=seconds)

    def tick(self) -> None:
        if self._fixed is not None:
            self._fixed += self._tick
