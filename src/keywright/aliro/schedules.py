"""Whether a schedule is running (Aliro 1.0 7.3.4). No clock and no table of time zones: both are arguments.

A schedule recurs on days. The time of day is that of its start, and so are the day, week, month or year from which its
interval counts. Of the occurrences, all of one duration, the latest that has begun is the one to look at; it is found
by going back through weeks, months or years, not through days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from keywright.aliro.dates import DAY, civil, day_of, days_in_month, first_monday, iso_year, monday, weekday
from keywright.aliro.documents.access_data import Pattern, Recurrence, Schedule

Offset: TypeAlias = Callable[[int], int]
"""Seconds that clocks on the wall of a reader are ahead of UTC, at a time in UTC: the whole of a time zone."""


class Reading(msgspec.Struct, frozen=True):
    """How schedules are read where no public source says it. Both sides of an installation must agree."""

    ordinal_counts: Literal["each weekday", "all weekdays"] = "each weekday"
    """The third of Monday and Friday in a month: the third Monday and the third Friday (aliro-actuator), or the third
    day that is one of both (BYSETPOS of RFC 5545)."""
    month_week: Literal["calendar", "thursday"] = "calendar"
    """The first week of a month: the one with its first day, or the one with its first Thursday, as ISO 8601 counts
    those of a year. Days of another month are in neither."""
    duration: Literal["wall", "elapsed"] = "wall"
    """A schedule of local time that lasts through a change of clocks ends when the clock on the wall shows its end, or
    after as many seconds as it lasts."""


DEFAULT: Final = Reading()


def utc(_time: int) -> int:
    """The offset of a reader whose wall shows UTC."""
    return 0


def is_running(schedule: Schedule, now: int, offset: Offset = utc, reading: Reading = DEFAULT) -> bool:
    """Whether a schedule is running at a time in UTC."""
    wall = now if schedule.utc else now + offset(now)
    if wall < schedule.start or (schedule.end is not None and wall >= schedule.end):
        return False
    rule = schedule.recurrence
    if rule is None:
        return True
    if schedule.utc or reading.duration == "wall":
        begun = latest_start(schedule, wall, reading)
        return begun is not None and wall < begun + rule.duration
    return _is_running_elapsed(schedule, rule, now, wall, offset, reading)


def latest_start(schedule: Schedule, wall: int, reading: Reading = DEFAULT) -> int | None:
    """When the latest occurrence began that had by `wall`, on the same clock; None if none has. It may be over."""
    rule = schedule.recurrence
    if rule is None:
        return schedule.start if wall >= schedule.start else None
    first, time_of_day = divmod(schedule.start, DAY)
    last = (wall - time_of_day) // DAY
    if last < first:
        return None
    found = _latest_day(rule, first, last, reading)
    return None if found is None else found * DAY + time_of_day


def _is_running_elapsed(
    schedule: Schedule, rule: Recurrence, now: int, wall: int, offset: Offset, reading: Reading
) -> bool:
    # When clocks go back, an occurrence of later on the wall may have begun already.
    begun = latest_start(schedule, wall + DAY, reading)
    while begun is not None and _instant(begun, offset) > now:
        begun = latest_start(schedule, begun - 1, reading)
    return begun is not None and now < _instant(begun, offset) + rule.duration


def _instant(wall: int, offset: Offset) -> int:
    """When clocks on the wall show a time: the first time of two, and one that they skip as if they had not yet.

    That is how RFC 5545 3.3.5 reads local times. Clocks change no more than once within two days.
    """
    before, after = offset(wall - DAY), offset(wall + DAY)
    shown = [time for time in (wall - before, wall - after) if time + offset(time) == wall]
    return min(shown, default=wall - before)


def _latest_day(rule: Recurrence, first: int, last: int, reading: Reading) -> int | None:
    """The latest day from `first` to `last` on which a rule begins an occurrence."""
    if rule.pattern == Pattern.DAILY:
        return last - (last - first) % rule.interval
    for days in _periods(rule, first, last, reading):
        found = [day for day in days if first <= day <= last]
        if found:
            return max(found)
    return None


def _periods(rule: Recurrence, first: int, last: int, reading: Reading) -> Iterator[Iterable[int]]:
    """The days of a rule in each week, month or year that its interval counts, the latest first."""
    if not rule.mask and (rule.pattern != Pattern.MONTHLY_BY_DATE or rule.ordinal == 0):
        # By a mask without a bit no day is selected, and there is no need to look for one.
        return
    if rule.pattern == Pattern.WEEKLY:
        week = monday(first) // 7
        for number in _back(week, monday(last) // 7, rule.interval):
            start = monday(first) + 7 * (number - week)
            yield (start + day for day in range(7) if rule.mask >> day & 1)
    elif rule.pattern in (Pattern.MONTHLY_BY_DAY, Pattern.MONTHLY_BY_DATE):
        for number in _back(_month(first), _month(last), rule.interval):
            yield _days_of_month(rule, number // 12, number % 12 + 1, reading)
    elif rule.pattern == Pattern.YEARLY_BY_WEEK:
        for year in _back(iso_year(first), iso_year(last), rule.interval):
            yield _days_of_week(rule, year)
    else:
        for year in _back(civil(first)[0], civil(last)[0], rule.interval):
            months = [month for month in range(1, 13) if _has_month(rule, month)]
            yield [day for month in months for day in _days_of_month(rule, year, month, reading)]


def _back(first: int, last: int, interval: int) -> range:
    """From the latest period that the interval counts down to the first one."""
    return range(last - (last - first) % interval, first - 1, -interval)


def _month(day: int) -> int:
    year, month, _ = civil(day)
    return year * 12 + month - 1


def _days_of_month(rule: Recurrence, year: int, month: int, reading: Reading) -> Iterable[int]:
    """The days that a rule selects of one month, whatever months it is about."""
    begin, size = day_of(year, month, 1), days_in_month(year, month)
    if rule.pattern == Pattern.MONTHLY_BY_DATE and rule.ordinal == 0:
        return [begin + date for date in range(size) if rule.mask >> date & 1]
    if rule.pattern in (Pattern.MONTHLY_BY_DATE, Pattern.YEARLY_BY_DATE):
        # Weekdays only narrow a date down: none given is any.
        found = _nth(range(begin, begin + size), rule.ordinal)
        return [day for day in found if not rule.mask & 0x7F or _has_weekday(rule, day)]
    days = [day for day in range(begin, begin + size) if _has_weekday(rule, day)]
    if rule.pattern == Pattern.YEARLY_BY_MONTH_WEEK:
        weeks = _weeks(begin, size, reading)
        return [day for start in _nth(weeks, rule.ordinal) for day in days if monday(day) == start]
    if reading.ordinal_counts == "all weekdays":
        return _nth(days, rule.ordinal)
    return [day for name in range(7) for day in _nth([day for day in days if weekday(day) == name], rule.ordinal)]


def _weeks(begin: int, size: int, reading: Reading) -> range:
    """The Mondays of a month's weeks."""
    if reading.month_week == "calendar":
        return range(monday(begin), begin + size, 7)
    thursday = begin + (3 - weekday(begin)) % 7
    return range(thursday - 3, begin + size - 3, 7)


def _days_of_week(rule: Recurrence, year: int) -> Iterable[int]:
    """The days that a rule selects of one week of a year. Months only narrow it down: none given is any."""
    weeks = range(first_monday(year), first_monday(year + 1), 7)
    return [
        day
        for start in _nth(weeks, rule.ordinal)
        for day in range(start, start + 7)
        if _has_weekday(rule, day) and (not rule.mask >> 7 or _has_month(rule, civil(day)[1]))
    ]


def _nth(values: range | list[int], ordinal: int) -> list[int]:
    """The value that an ordinal counts to, from the end if it is negative; empty if there are not so many."""
    at = ordinal - 1 if ordinal > 0 else len(values) + ordinal
    return [values[at]] if 0 <= at < len(values) else []


def _has_weekday(rule: Recurrence, day: int) -> bool:
    return bool(rule.mask >> weekday(day) & 1)


def _has_month(rule: Recurrence, month: int) -> bool:
    return bool(rule.mask >> (6 + month) & 1)
