"""Pacing: polite by default, quicker by the server's leave, silent on its word; all on a fake clock."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mirror.remote.budget import BURST, SILENCE_MAX_S, Budget


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def seconds_for(budget: Budget, clock: Clock, requests: int) -> float:
    began = clock.now
    for _ in range(requests):
        budget.acquire()
    return clock.now - began


def headers(remaining: object, limit: object = 1000, reset: object = 60) -> dict[str, str]:
    return {
        "ratelimit-limit": str(limit),
        "ratelimit-remaining": str(remaining),
        "ratelimit-reset": str(reset),
    }


def test_without_a_word_it_is_one_request_a_second_after_a_small_burst(clock: Clock) -> None:
    budget = Budget(sleep=clock.sleep, clock=clock)
    assert seconds_for(budget, clock, int(BURST)) == 0
    assert seconds_for(budget, clock, 20) == pytest.approx(20)


@pytest.mark.parametrize(
    ("remaining", "rate"), [(1000, 10), (500, 5), (150, 1.5), (20, 1), (2000, 10)]
)
def test_the_rate_follows_what_the_server_leaves(clock: Clock, remaining: int, rate: float) -> None:
    budget = Budget(sleep=clock.sleep, clock=clock)
    budget.heard(headers(remaining))
    assert budget.rate == pytest.approx(rate)
    seconds_for(budget, clock, int(BURST))
    assert seconds_for(budget, clock, 30) == pytest.approx(30 / rate)


def test_with_nothing_left_it_waits_for_the_reset(clock: Clock) -> None:
    budget = Budget(sleep=clock.sleep, clock=clock)
    budget.heard(headers(0, reset=12))
    assert budget.acquire() == pytest.approx(12)


def test_headers_that_say_nothing_change_nothing(clock: Clock) -> None:
    budget = Budget(sleep=clock.sleep, clock=clock)
    for odd in ({}, headers("soon"), headers("nan"), headers("", limit="")):
        budget.heard(odd)
    assert budget.rate == 1
    assert budget.acquire() == 0


def test_a_ceiling_holds_whatever_the_server_allows(clock: Clock) -> None:
    for ceiling in (0.2, 3.0):
        budget = Budget(ceiling, ceiling=ceiling, sleep=clock.sleep, clock=clock)
        for remaining in (1000, 10):
            budget.heard(headers(remaining))
            assert budget.rate is not None
            assert budget.rate <= ceiling


def test_without_a_pace_it_still_keeps_silent_when_told(clock: Clock) -> None:
    budget = Budget(None, sleep=clock.sleep, clock=clock)
    assert seconds_for(budget, clock, 1000) == 0
    budget.heard(headers(1))
    assert budget.rate is None
    budget.silence(30)
    assert budget.acquire() == pytest.approx(30)
    assert budget.acquire() == 0


def test_silence_is_for_everybody(clock: Clock) -> None:
    budget = Budget(None, sleep=clock.sleep, clock=clock)
    budget.silence(50)
    budget.silence(1)  # a shorter word does not end a longer one
    assert budget.silent_s == 50
    assert budget.acquire() == pytest.approx(50)
    assert budget.silent_s == 0


def test_a_header_alone_silences_for_minutes_at_most(clock: Clock) -> None:
    budget = Budget(None, sleep=clock.sleep, clock=clock)
    budget.heard(headers(0, reset=1e8))
    assert budget.acquire() == pytest.approx(SILENCE_MAX_S)


def test_threads_share_it(clock: Clock) -> None:
    budget = Budget(2.0, ceiling=2.0, sleep=lambda _: None, clock=lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        waits = sorted(pool.map(lambda _: budget.acquire(), range(40)))
    # Time stands still here: the turns given out are spaced as if each thread had come in its turn.
    assert waits == pytest.approx([max(0.0, (n + 1 - BURST) / 2) for n in range(40)])
