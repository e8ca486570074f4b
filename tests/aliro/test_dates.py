"""Days as numbers, against Python's own calendar."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.aliro import dates
from keywright.errors import DecodeError

EPOCH = dt.date(1970, 1, 1)


@given(st.dates())
def test_a_day_has_the_number_and_the_weekday_that_python_gives_it(day: dt.date) -> None:
    number = dates.day_of(day.year, day.month, day.day)
    assert number == (day - EPOCH).days
    assert dates.civil(number) == (day.year, day.month, day.day)
    assert dates.weekday(number) == day.weekday()
    assert dates.monday(number) == number - day.weekday()


@given(st.dates(dt.date(2, 1, 1), dt.date(9998, 12, 31)))
def test_weeks_are_counted_as_iso_8601_counts_them(day: dt.date) -> None:
    year, week, _ = day.isocalendar()
    number = (day - EPOCH).days
    assert dates.iso_year(number) == year
    assert (number - dates.first_monday(year)) // 7 + 1 == week


@given(st.integers(0, dates.LAST))
def test_a_timestamp_is_the_text_of_its_time(seconds: int) -> None:
    time = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    text = dates.build_timestamp(seconds)
    assert text == time.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(text) == dates.TIMESTAMP_BYTES
    assert dates.parse_timestamp(text) == seconds
    assert dates.parse_certificate_time(dates.build_certificate_time(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-06-01T13:30:02",
        "2024-06-01T13:30:02z",
        "2024-06-01T13:30:02+00:00",
        "2024-06-01T13:30:02.0Z",
        "2024-06-31T13:30:02Z",
        "2023-02-29T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2024-06-01T24:00:00Z",
        "2024-06-01T00:60:00Z",
        "2024-06-01T00:00:60Z",
        "\uff12024-06-01T13:30:02Z",
    ],
)
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        dates.parse_timestamp(text)


@pytest.mark.parametrize(
    ("value", "year"), [(b"500101000000Z", 1950), (b"491231235959Z", 2049), (b"20500101000000Z", 2050)]
)
def test_a_year_of_two_digits_is_one_from_1950_to_2049(value: bytes, year: int) -> None:
    assert dates.civil(dates.parse_certificate_time(value) // dates.DAY)[0] == year


@pytest.mark.parametrize("value", [b"", b"20490101000000Z", b"490101000000", b"4901010000Z", b"491301000000Z", b"\xff"])
def test_what_is_no_time_of_a_certificate_is_refused(value: bytes) -> None:
    with pytest.raises(DecodeError):
        dates.parse_certificate_time(value)


@pytest.mark.parametrize("time", [-1, dates.LAST + 1])
def test_a_time_without_a_text_is_not_written(time: int) -> None:
    with pytest.raises(ValueError, match="no time"):
        dates.build_timestamp(time)
