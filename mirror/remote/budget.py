"""How often a server is asked: one Budget paces every thread that uses a client.

Polite without a word from the server, quicker while its rate-limit headers leave room, silent for
as long as it says. Knows no HTTP beyond the names of the headers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from mirror.remote.answers import number

__all__ = ["Budget"]

POLITE_RPS, OPEN_RPS = 1.0, 10.0
"""Requests a second to a server that says nothing, and to one with all of its quota left."""

BURST = 5.0
"""Requests that may be made at once after a pause."""

SILENCE_MAX_S = 180.0
"""Longest silence kept because a header says that nothing is left; then the server is asked again."""


class Budget:
    """Paces requests for all threads of a client together.

    With RateLimit headers (contract 1.40: Remaining of Limit, scaled) the rate follows what is
    left, up to `ceiling`; at nothing left it waits for the reset. `Budget.unlimited()` does not
    pace, and still keeps silent when it is told to. `max_rps` is never exceeded on average.
    """

    def __init__(
        self,
        rate: float | None = POLITE_RPS,
        *,
        ceiling: float = OPEN_RPS,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._ceiling = ceiling
        self._sleep = sleep
        self._clock = clock
        self._tokens = BURST
        self._at = clock()
        self._silent_until = 0.0
        self._lock = threading.Lock()

    @property
    def rate(self) -> float | None:
        """Requests a second at the moment; None: not paced."""
        return self._rate

    def acquire(self) -> float:
        """Wait for a turn; return the seconds waited."""
        with self._lock:
            wait = self._turn_in()
        if wait > 0:
            self._sleep(wait)
        return wait

    def _turn_in(self) -> float:
        """Take a token, maybe of the future; return the seconds until it is ours."""
        now = self._clock()
        wait = max(0.0, self._silent_until - now)
        if self._rate is None:
            return wait
        self._tokens = min(BURST, self._tokens + (now - self._at) * self._rate) - 1
        self._at = now
        return max(wait, -self._tokens / self._rate)

    def silence(self, seconds: float) -> None:
        """Let nobody ask for so long: the server said so (429)."""
        with self._lock:
            self._silent_until = max(self._silent_until, self._clock() + seconds)

    @property
    def silent_s(self) -> float:
        """Seconds for which the server does not want to be asked; 0 when it may be."""
        return max(0.0, self._silent_until - self._clock())

    def heard(self, headers: Mapping[str, str]) -> None:
        """Adapt to the RateLimit headers of an answer, if it has them."""
        remaining = number(headers.get("ratelimit-remaining"))
        if remaining is None:
            return
        reset = number(headers.get("ratelimit-reset"))
        if remaining <= 0 and reset:
            self.silence(min(reset, SILENCE_MAX_S))
        elif self._rate is not None:
            left = remaining / (number(headers.get("ratelimit-limit")) or 1000.0)
            with self._lock:
                self._rate = max(min(POLITE_RPS, self._ceiling), self._ceiling * min(1.0, left))
