"""Answers are kept in memory exactly as long as nothing in the store was written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mirror.api import memo as memos
from mirror.api.memo import Memo
from mirror.store.store import Store


@pytest.fixture
def memo(store: Store) -> Iterator[Memo]:
    made = Memo(store)
    yield made
    made.close()


def _write(store: Store) -> None:
    with store.begin() as tx:
        tx.set_meta("touched", "yes")


def test_an_answer_is_computed_once_until_something_is_written(memo: Memo, store: Store) -> None:
    asked: list[int] = []
    for _ in range(3):
        assert memo.answer("key", lambda: asked.append(1) or "answer") == "answer"
    assert len(asked) == 1
    _write(store)
    memo.answer("key", lambda: asked.append(1) or "answer")
    assert len(asked) == 2


def test_an_answer_that_raced_with_a_writer_is_computed_again(memo: Memo, store: Store) -> None:
    def racing() -> str:
        _write(store)
        return "old"

    assert memo.answer("key", racing) == "old"
    assert memo.answer("key", lambda: "new") == "new"


def test_an_error_is_not_kept(memo: Memo) -> None:
    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        memo.answer("key", fail)
    assert memo.answer("key", lambda: "yes") == "yes"


def test_what_is_kept_is_bounded_and_the_longest_unused_goes(memo: Memo) -> None:
    for number in range(memos.ENTRIES + 10):
        memo.answer(number, lambda: 1)
        memo.answer(0, lambda: 1)
    assert memo.answer(0, lambda: 2) == 1
    assert memo.answer(1, lambda: 2) == 2
    memo.answer("heavy", lambda: 1, lambda _value: memos.WEIGHT)
    assert memo.answer(0, lambda: 2) == 2


def test_a_store_in_memory_keeps_nothing() -> None:
    with Store.open("sqlite:///:memory:", create=True, upgrade=True) as store:
        memo = Memo(store)
        assert [memo.answer("key", lambda n=n: n) for n in (1, 2)] == [1, 2]
