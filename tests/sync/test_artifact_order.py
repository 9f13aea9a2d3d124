"""In which order a server lists collections: read off its listing, for answers without an order."""

from __future__ import annotations

import base64

import pytest

from mirror.sync.artifacts import _is_newest_first


def ids(*numbers: int) -> list[str]:
    return [base64.b64encode(f"ArtifactCollection:{n}".encode()).decode() for n in numbers]


@pytest.mark.parametrize(
    ("listed", "newest_first"),
    [
        ((), True),
        ((5,), True),
        ((9, 5, 3), True),
        ((3, 5, 9), False),
        ((3, 5, 9, 12, 1), False),  # one that was renamed has moved
        ((12, 9, 5, 3, 20), True),
        ((99, 100), False),
    ],
)
def test_the_order_of_a_listing_is_read_off_it(listed: tuple[int, ...], newest_first: bool) -> None:
    assert _is_newest_first(ids(*listed)) is newest_first
