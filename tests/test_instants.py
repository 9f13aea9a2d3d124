"""Times as the server writes them, as integer microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror import instants

SECOND = 1_000_000
MIDDAY = 1_704_196_800 * SECOND  # 2024-01-02T12:00:00Z


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("2024-01-02T12:00:00", MIDDAY, id="no zone means UTC"),
        pytest.param("2024-01-02T12:00:00Z", MIDDAY, id="Z"),
        pytest.param("2024-01-02t12:00:00z", MIDDAY, id="small letters"),
        pytest.param("2024-01-02 12:00:00", MIDDAY, id="a space"),
        pytest.param("2024-01-02T12:00", MIDDAY, id="no seconds"),
        pytest.param("2024-01-02", MIDDAY - 12 * 3600 * SECOND, id="a date is its midnight"),
        pytest.param("2024-01-02T12:00:00.5", MIDDAY + 500_000, id="a tenth"),
        pytest.param("2024-01-02T12:00:00,5Z", MIDDAY + 500_000, id="a comma"),
        pytest.param("2024-01-02T12:00:00.123456", MIDDAY + 123_456, id="microseconds"),
        pytest.param("2024-01-02T12:00:00.1234569Z", MIDDAY + 123_456, id="cut, not rounded"),
        pytest.param("2024-01-02T12:00:00.999999999", MIDDAY + 999_999, id="nanoseconds are cut"),
        pytest.param("2024-01-02T14:00:00+02:00", MIDDAY, id="east"),
        pytest.param("2024-01-02T06:30:00-05:30", MIDDAY, id="west, half an hour"),
        pytest.param("2024-01-02T14:00:00+0200", MIDDAY, id="no colon"),
        pytest.param("2024-01-02T14:00:00 +02", MIDDAY, id="hours only, after a space"),
        pytest.param(" 2024-01-02T12:00:00Z ", MIDDAY, id="space around"),
        pytest.param("1970-01-01T00:00:00", 0, id="the epoch"),
        pytest.param("1969-12-31T23:59:59.999999", -1, id="before the epoch"),
        pytest.param("0001-01-01T00:00:00", -62_135_596_800 * SECOND, id="the first year"),
        pytest.param("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999, id="the last year"),
        pytest.param("2024-02-29T00:00:00", 1_709_164_800 * SECOND, id="a leap day"),
    ],
)
def test_a_time_is_microseconds_utc(text: str, wanted: int) -> None:
    assert instants.parse(text) == wanted
    assert instants.to_us(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024",
        "2024-01",
        "2024-13-01",
        "2023-02-29",
        "2024-01-02T25:00:00",
        "2024-01-02T12:60",
        "2024-01-02T12:00:00+25:00",
        "2024-01-02T12:00:00.1234567890",
        "2024-01-02T12:00:00 PST",
        "1704196800",
        "٢٠٢٤-01-02",
    ],
)
def test_what_is_no_time_is_refused_or_none(text: str) -> None:
    with pytest.raises(ValueError):
        instants.parse(text)
    assert instants.to_us(text) is None


def test_null_stays_none() -> None:
    assert instants.to_us(None) is None


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001
def test_microseconds_survive_being_written(moment: datetime) -> None:
    micros = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001
    text = instants.from_us(micros)
    assert instants.parse(text) == micros
    assert text.endswith("Z")
    assert ("." in text) == bool(moment.microsecond)


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_the_order_of_times_is_the_order_of_microseconds(one: datetime, other: datetime) -> None:
    assert (one < other) == (instants.parse(one.isoformat()) < instants.parse(other.isoformat()))


def test_a_date_header_becomes_iso_utc() -> None:
    moment = datetime(2024, 1, 2, 14, 0, 0, tzinfo=timezone(timedelta(hours=2)))
    assert instants.http_date(moment) == "2024-01-02T12:00:00Z"


def test_now_is_readable_by_parse() -> None:
    assert instants.parse(instants.now()) > MIDDAY
