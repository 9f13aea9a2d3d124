"""The garbage collector's thresholds are raised while rounds run, and put back after the last."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from mirror.sync.collector import THRESHOLDS, relaxed


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_two_rounds_at_once_put_back_what_was_there() -> None:
    gc.set_threshold(701, 11, 12)
    first, second = relaxed(), relaxed()
    first.__enter__()
    assert gc.get_threshold() == THRESHOLDS
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == THRESHOLDS
    second.__exit__(None, None, None)
    assert gc.get_threshold() == (701, 11, 12)


@pytest.mark.parametrize("given", [(0, 10, 10), (5_000_000, 10, 10)], ids=["off", "rarer yet"])
def test_what_the_program_chose_is_left_alone(given: tuple[int, int, int]) -> None:
    gc.set_threshold(*given)
    with relaxed():
        assert gc.get_threshold() == given
    assert gc.get_threshold() == given


def test_a_round_that_fails_puts_them_back() -> None:
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), relaxed():
        raise ZeroDivisionError
    assert gc.get_threshold() == before
