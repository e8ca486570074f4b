"""Schedules against an oracle that knows nothing but days: it walks from the start, one day after the other."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keywright.aliro.documents.access_data import DATES, MONTHS, WEEKDAYS, Pattern, Recurrence, Schedule
from keywright.aliro.schedules import Reading, is_running, latest_start, utc
from support.aliro_documents import RECURRENCES, share

DAY = 86400
EPOCH = dt.date(1970, 1, 1)


def at(text: str) -> int:
    """A time as a wall shows it, in seconds."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


def nth_of(values: list[dt.date], ordinal: int) -> list[dt.date]:
    return [value for place, value in enumerate(values) if ordinal in (place + 1, place - len(values))]


def selected(rule: Recurrence, day: dt.date, reading: Reading) -> bool:  # noqa: PLR0911 - one for each pattern
    """Whether a day is one of a rule's, its interval aside."""
    weekdays = [name for name in range(7) if rule.mask & 1 << name]
    months = [month for month in range(1, 13) if rule.mask & 1 << (6 + month)]
    month = [dt.date(day.year, day.month, d) for d in range(1, calendar.monthrange(day.year, day.month)[1] + 1)]
    fits = day.weekday() in weekdays
    match rule.pattern:
        case Pattern.DAILY:
            return True
        case Pattern.WEEKLY:
            return fits
        case Pattern.MONTHLY_BY_DATE if rule.ordinal == 0:
            return bool(rule.mask & 1 << (day.day - 1))
        case Pattern.MONTHLY_BY_DATE:
            return day in nth_of(month, rule.ordinal) and (fits or not weekdays)
        case Pattern.YEARLY_BY_DATE:
            return day.month in months and day in nth_of(month, rule.ordinal) and (fits or not weekdays)
        case Pattern.MONTHLY_BY_DAY | Pattern.YEARLY_BY_DAY:
            same = [one for one in month if one.weekday() == day.weekday()]
            several = [one for one in month if one.weekday() in weekdays]
            counted = same if reading.ordinal_counts == "each weekday" else several
            right_month = rule.pattern == Pattern.MONTHLY_BY_DAY or day.month in months
            return fits and right_month and day in nth_of(counted, rule.ordinal)
        case Pattern.YEARLY_BY_WEEK:
            year, week, _ = day.isocalendar()
            weeks = dt.date(year, 12, 28).isocalendar()[1]
            counted_to = week == rule.ordinal or week - weeks - 1 == rule.ordinal
            return fits and counted_to and (not months or day.month in months)
        case Pattern.YEARLY_BY_MONTH_WEEK:
            mondays = sorted({one - dt.timedelta(one.weekday()) for one in month})
            if reading.month_week == "thursday":
                mondays = [one for one in mondays if (one + dt.timedelta(3)).month == day.month]
            monday = day - dt.timedelta(day.weekday())
            return fits and day.month in months and monday in nth_of(mondays, rule.ordinal)
    raise AssertionError(rule.pattern)


def periods(rule: Recurrence, start: dt.date, day: dt.date) -> int:
    """How many days, weeks, months or years of its interval lie between two days."""
    if rule.pattern == Pattern.DAILY:
        return (day - start).days
    if rule.pattern == Pattern.WEEKLY:
        return (day - dt.timedelta(day.weekday()) - (start - dt.timedelta(start.weekday()))).days // 7
    if rule.pattern in (Pattern.MONTHLY_BY_DAY, Pattern.MONTHLY_BY_DATE):
        return (day.year - start.year) * 12 + day.month - start.month
    if rule.pattern == Pattern.YEARLY_BY_WEEK:
        return day.isocalendar()[0] - start.isocalendar()[0]
    return day.year - start.year


def occurrences(schedule: Schedule, until: int, reading: Reading) -> Iterator[int]:
    rule = schedule.recurrence
    assert rule is not None
    begin = EPOCH + dt.timedelta(schedule.start // DAY)
    for number in range(schedule.start // DAY, until // DAY + 1):
        day = EPOCH + dt.timedelta(number)
        if periods(rule, begin, day) % rule.interval == 0 and selected(rule, day, reading):
            yield number * DAY + schedule.start % DAY


READINGS = st.builds(
    Reading,
    ordinal_counts=st.sampled_from(["each weekday", "all weekdays"]),
    month_week=st.sampled_from(["calendar", "thursday"]),
)
STARTS = st.integers(at("1999-11-01"), at("2004-03-01"))


@share(1)
@given(
    STARTS,
    RECURRENCES.map(lambda rule: msgspec.structs.replace(rule, interval=(rule.interval - 1) % 4 + 1)),
    st.integers(0, 700 * DAY),
    READINGS,
    st.none() | st.integers(1, 700 * DAY),
)
@example(at("2000-02-29T06:00"), Recurrence(DAY, Pattern.YEARLY_BY_DATE, MONTHS, 1, 29), 366 * DAY, Reading(), None)
@example(at("2000-01-01"), Recurrence(7 * DAY, Pattern.YEARLY_BY_WEEK, WEEKDAYS, 1, -1), 365 * DAY, Reading(), None)
def test_every_pattern_runs_when_a_walk_through_all_days_says_so(
    start: int, rule: Recurrence, after: int, reading: Reading, length: int | None
) -> None:
    schedule = Schedule(start, None if length is None else start + length, rule)
    begun = list(occurrences(schedule, start + after, reading))
    # Looked at where something changes: around each beginning and end of late, and at any time.
    edges = {
        start + after,
        start - 1,
        start,
        *(start + length + step for length in [length] if length for step in (-1, 0)),
    }
    edges |= {one + step for one in begun[-3:] for step in (-1, 0, rule.duration - 1, rule.duration)}
    for now in edges:
        latest = max((one for one in begun if one <= now), default=None)
        inside = start <= now and (schedule.end is None or now < schedule.end)
        expected = inside and any(one <= now < one + rule.duration for one in begun)
        if now <= start + after:
            assert latest_start(schedule, now, reading) == latest
            assert is_running(schedule, now, reading=reading) is expected


OFFICE = Recurrence(9 * 3600, Pattern.WEEKLY, 0b11111)


@pytest.mark.parametrize(
    ("schedule", "running", "not_running"),
    [
        (Schedule(at("2025-01-06T08:00"), recurrence=OFFICE), ["2025-06-16T08:00", "2025-06-16T16:59:59"],
         ["2025-06-16T07:59:59", "2025-06-16T17:00", "2025-06-15T12:00", "2025-01-03T12:00"]),
        # A night shift that goes on after midnight, of Friday only.
        (Schedule(at("2025-01-03T22:00"), recurrence=Recurrence(8 * 3600, Pattern.WEEKLY, 1 << 4)),
         ["2025-06-13T22:00", "2025-06-14T05:59:59"], ["2025-06-13T05:00", "2025-06-14T06:00", "2025-06-14T22:00"]),
        # Every other week.
        (Schedule(at("2025-01-06T08:00"), recurrence=Recurrence(3600, Pattern.WEEKLY, 1, 2)),
         ["2025-01-20T08:30"], ["2025-01-13T08:30"]),
        # The last Friday of a month; the last day of February.
        (Schedule(at("2025-01-01T08:00"), recurrence=Recurrence(3600, Pattern.MONTHLY_BY_DAY, 1 << 4, 1, -1)),
         ["2025-05-30T08:00", "2025-02-28T08:00"], ["2025-05-23T08:00"]),
        (Schedule(at("2024-01-01T08:00"), recurrence=Recurrence(3600, Pattern.YEARLY_BY_DATE, 1 << 8, 1, -1)),
         ["2024-02-29T08:00", "2025-02-28T08:00"], ["2024-02-28T08:00", "2025-03-31T08:00"]),
        # Dates of the mask; the thirteenth if it is a Friday.
        (Schedule(at("2025-01-01T08:00"), recurrence=Recurrence(60, Pattern.MONTHLY_BY_DATE, 1 | 1 << 30)),
         ["2025-03-31T08:00", "2025-04-01T08:00"], ["2025-04-30T08:00"]),
        (Schedule(at("2025-01-01T08:00"), recurrence=Recurrence(60, Pattern.MONTHLY_BY_DATE, 1 << 4, 1, 13)),
         ["2025-06-13T08:00"], ["2025-05-13T08:00", "2025-06-20T08:00"]),
        # Week 1 and week 53 of a year.
        (Schedule(at("2020-01-01T08:00"), recurrence=Recurrence(60, Pattern.YEARLY_BY_WEEK, WEEKDAYS, 1, 53)),
         ["2020-12-28T08:00", "2021-01-03T08:00"], ["2021-01-04T08:00", "2021-12-31T08:00"]),
        (Schedule(at("2020-01-01T08:00"), recurrence=Recurrence(60, Pattern.YEARLY_BY_WEEK, WEEKDAYS, 1, 1)),
         ["2024-12-30T08:00", "2025-01-05T08:00"], ["2023-01-01T08:00", "2025-01-06T08:00"]),
        # Week 1, as far as it is in December.
        (Schedule(at("2020-01-01T08:00"), recurrence=Recurrence(60, Pattern.YEARLY_BY_WEEK, WEEKDAYS | 1 << 18, 1, 1)),
         ["2024-12-30T08:00", "2024-12-31T08:00"], ["2025-01-01T08:00", "2025-01-05T08:00"]),
        # No recurrence: a span whose end is the first second after it.
        (Schedule(at("2025-06-01T08:00"), at("2025-06-02T08:00")), ["2025-06-01T08:00", "2025-06-02T07:59:59"],
         ["2025-06-01T07:59:59", "2025-06-02T08:00"]),
        # The end cuts an occurrence short.
        (Schedule(at("2025-01-06T08:00"), at("2025-01-07T09:00"), OFFICE), ["2025-01-07T08:59:59"],
         ["2025-01-07T09:00", "2025-01-08T08:30"]),
    ],
)  # fmt: skip  # one case in two lines
def test_schedules_as_people_mean_them(schedule: Schedule, running: list[str], not_running: list[str]) -> None:
    for text in running:
        assert is_running(schedule, at(text)), text
    for text in not_running:
        assert not is_running(schedule, at(text)), text


def test_readings_differ_where_sources_are_silent() -> None:
    monday_and_friday = Recurrence(60, Pattern.MONTHLY_BY_DAY, 0b10001, 1, 2)
    schedule = Schedule(at("2025-01-01T08:00"), recurrence=monday_and_friday)
    each, together = Reading(), Reading(ordinal_counts="all weekdays")
    # June 2025 begins on a Sunday: Mondays 2, 9 …, Fridays 6, 13 …
    running = {
        reading: [day for day in range(1, 31) if is_running(schedule, at(f"2025-06-{day:02}T08:00"), reading=reading)]
        for reading in (each, together)
    }
    assert running == {each: [9, 13], together: [6]}
    week = Schedule(
        at("2025-01-01T08:00"), recurrence=Recurrence(60, Pattern.YEARLY_BY_MONTH_WEEK, 0x7F | MONTHS, 1, 1)
    )
    thursday = Reading(month_week="thursday")
    june = {
        reading: [day for day in range(1, 31) if is_running(week, at(f"2025-06-{day:02}T08:00"), reading=reading)]
        for reading in (each, thursday)
    }
    assert june == {each: [1], thursday: [2, 3, 4, 5, 6, 7, 8]}
    last = msgspec.structs.replace(week, recurrence=Recurrence(60, Pattern.YEARLY_BY_MONTH_WEEK, 0x7F | MONTHS, 1, -1))
    june = {
        reading: [day for day in range(1, 31) if is_running(last, at(f"2025-06-{day:02}T08:00"), reading=reading)]
        for reading in (each, thursday)
    }
    assert june == {each: [30], thursday: [23, 24, 25, 26, 27, 28, 29]}


def berlin(time: int) -> int:
    """Central European Time, with summer time from the last Sunday of March to that of October, 01:00 UTC."""
    moment = dt.datetime.fromtimestamp(time, dt.UTC)

    def change(month: int) -> dt.datetime:
        last = dt.datetime(moment.year, month, 31, 1, tzinfo=dt.UTC)
        return last - dt.timedelta((last.weekday() + 1) % 7)

    return 7200 if change(3) <= moment < change(10) else 3600


WINTER, SPRING, SUMMER, AUTUMN = (at(f"2025-{day}") for day in ("01-07", "03-30", "06-17", "10-26"))


def test_local_time_is_what_the_wall_shows() -> None:
    schedule = Schedule(at("2024-01-01T08:00"), recurrence=Recurrence(3600, Pattern.DAILY), utc=False)
    for day, opens in ((WINTER, 7), (SUMMER, 6)):
        assert not is_running(schedule, day + opens * 3600 - 1, berlin)
        assert is_running(schedule, day + opens * 3600, berlin)
        assert not is_running(schedule, day + (opens + 1) * 3600, berlin)
    # A schedule in UTC does not look at the wall.
    absolute = msgspec.structs.replace(schedule, utc=True)
    assert is_running(absolute, SUMMER + 8 * 3600, berlin)
    assert not is_running(absolute, SUMMER + 6 * 3600, berlin)


def test_a_span_and_a_wall_that_shows_utc() -> None:
    span = Schedule(100, utc=False)
    assert (latest_start(span, 99), latest_start(span, 100), latest_start(span, 999)) == (None, 100, 100)
    assert [is_running(span, now) for now in (99, 100)] == [False, True]


def hours(schedule: Schedule, day: int, reading: Reading) -> list[float]:
    """The quarters of hours in UTC, from the day before on, in which a schedule is running."""
    return [number / 4 for number in range(-24, 48) if is_running(schedule, day + number * 900, berlin, reading)]


def test_the_hour_that_is_skipped_and_the_hour_that_comes_twice() -> None:
    wall, elapsed = Reading(), Reading(duration="elapsed")

    def nightly(begin: str, duration: int) -> Schedule:
        return Schedule(at(f"2024-01-01T{begin}"), recurrence=Recurrence(duration, Pattern.DAILY), utc=False)

    # On 2025-03-30 the wall goes from 02:00 to 03:00, at 01:00 UTC.
    assert hours(nightly("02:15", 900), SPRING, wall) == []
    assert hours(nightly("02:15", 900), SPRING, elapsed) == [1.25]
    assert hours(nightly("01:30", 5400), SPRING, wall) == [0.5, 0.75]
    assert hours(nightly("01:30", 5400), SPRING, elapsed) == [0.5, 0.75, 1, 1.25, 1.5, 1.75]
    # On 2025-10-26 it goes from 03:00 back to 02:00, at 01:00 UTC.
    assert hours(nightly("02:15", 900), AUTUMN, wall) == [0.25, 1.25]
    assert hours(nightly("02:15", 900), AUTUMN, elapsed) == [0.25]
    assert hours(nightly("02:30", 7200), AUTUMN, wall) == [0.5, 0.75, *(step / 4 for step in range(6, 14))]
    assert hours(nightly("02:30", 7200), AUTUMN, elapsed) == [step / 4 for step in range(2, 10)]


@share(2)
@given(st.integers(0, 366 * 96), st.integers(0, DAY - 1), st.integers(1, 3 * DAY))
def test_elapsed_time_against_every_beginning_found_by_looking(quarter: int, begin: int, duration: int) -> None:
    now = at("2025-01-01") + quarter * 900
    schedule = Schedule(at("2024-06-01") + begin, recurrence=Recurrence(duration, Pattern.DAILY), utc=False)
    begins = []
    for day in range(now // DAY - 5, now // DAY + 3):
        shown = day * DAY + begin
        found = [shown - east for east in (7200, 3600) if berlin(shown - east) == east]
        begins.append(min(found, default=shown - 3600))
    expected = any(one <= now < one + duration for one in begins)
    assert is_running(schedule, now, berlin, Reading(duration="elapsed")) is expected


@pytest.mark.parametrize(
    "rule",
    [
        Recurrence(1, Pattern.MONTHLY_BY_DATE, 1 << 29, 12),  # 30 February
        Recurrence(1, Pattern.YEARLY_BY_DATE, 1 << 8, 1, 31),
        Recurrence(1, Pattern.WEEKLY, 0),
        Recurrence(1, Pattern.MONTHLY_BY_DATE, 0),
        Recurrence(1, Pattern.YEARLY_BY_DAY, WEEKDAYS, 1, 1),
        Recurrence(1, Pattern.YEARLY_BY_DAY, MONTHS, 1, 1),
        Recurrence(1, Pattern.YEARLY_BY_WEEK, MONTHS, 1, 1),
    ],
)
def test_a_rule_that_selects_no_day_never_runs(rule: Recurrence) -> None:
    schedule = Schedule(at("1972-02-01"), recurrence=rule)
    assert latest_start(schedule, 0xFFFFFFFF) is None
    assert not is_running(schedule, 0xFFFFFFFF)
    assert not is_running(msgspec.structs.replace(schedule, utc=False), 0xFFFFFFFF, berlin, Reading(duration="elapsed"))


def test_the_longest_duration_is_looked_back_to_the_beginning() -> None:
    rule = Recurrence(0xFFFFFFFF, Pattern.YEARLY_BY_DATE, 1 << 8, 255, 29)
    schedule = Schedule(at("1972-01-01"), recurrence=rule)
    assert is_running(schedule, at("2100-01-01"))
    assert not is_running(schedule, at("1972-02-28T23:59:59"))
    dates = msgspec.structs.replace(schedule, recurrence=Recurrence(60, Pattern.MONTHLY_BY_DATE, DATES))
    assert is_running(dates, at("2100-01-01"), utc)
