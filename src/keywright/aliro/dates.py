"""Dates without a clock: days of the Gregorian calendar as numbers, and the texts that documents and certificates use.

A day is its number since 1970-01-01, a time is seconds since then in UTC, without leap seconds.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from keywright.errors import DecodeError

DAY: Final = 86400
"""Seconds of a day."""
LAST: Final = 253402300799
"""9999-12-31T23:59:59Z, the last time that a text can name."""
TIMESTAMP_BYTES: Final = 20
"""Bytes of `YYYY-MM-DDThh:mm:ssZ`, which stands in documents and in tags 91 and 92."""

_TIMESTAMP: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_CERTIFICATE_TIME: Final = re.compile(r"(\d\d|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_MONTH_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ERA: Final = 146097
"""Days of 400 years."""
_EPOCH: Final = 719468
"""Days from 0000-03-01 to 1970-01-01. Years are counted from March, so that the leap day is the last one."""
_UTC_TIME_FROM: Final = 1950
UTC_TIME_UNTIL: Final = 2049
"""Last year that a certificate writes with two digits (RFC 5280 4.1.2.5)."""


def day_of(year: int, month: int, day: int) -> int:
    """The number of a day. Raises ValueError for one that is not in the calendar, or not of the years 1 to 9999."""
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= days_in_month(year, month)):
        raise ValueError(f"{year:04}-{month:02}-{day:02} is no day")
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * _ERA + of_era * 365 + of_era // 4 - of_era // 100 + of_year - _EPOCH


def civil(number: int) -> tuple[int, int, int]:
    """Year, month and day of a number."""
    era, of_era = divmod(number + _EPOCH, _ERA)
    years = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * years + years // 4 - years // 100)
    from_march = (5 * of_year + 2) // 153
    day = of_year - (153 * from_march + 2) // 5 + 1
    month = (from_march + 2) % 12 + 1
    return era * 400 + years + (month <= 2), month, day


def days_in_month(year: int, month: int) -> int:
    """How many days a month has."""
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_DAYS[month - 1] + leap


def weekday(number: int) -> int:
    """Day of the week, Monday 0 to Sunday 6."""
    return (number + 3) % 7


def monday(number: int) -> int:
    """The Monday of a day's week."""
    return number - weekday(number)


def first_monday(year: int) -> int:
    """The Monday of the first week of a year, the one with its first Thursday (ISO 8601 3.1.1.23)."""
    return monday(day_of(year, 1, 4))


def iso_year(number: int) -> int:
    """The year that a day's week is counted in: that of the week's Thursday (ISO 8601)."""
    return civil(monday(number) + 3)[0]


@functools.lru_cache(maxsize=256)
def build_timestamp(time: int) -> str:
    """`YYYY-MM-DDThh:mm:ssZ`. Raises ValueError for a time of no year of four digits."""
    number, second = divmod(time, DAY)
    if not 0 <= time <= LAST:
        raise ValueError(f"{time} is no time from 1970 to 9999")
    year, month, day = civil(number)
    return f"{year:04}-{month:02}-{day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"


def parse_timestamp(text: str) -> int:
    """The time that `YYYY-MM-DDThh:mm:ssZ` names; no fraction and no zone. Raises DecodeError for any other text."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise DecodeError("not a time written YYYY-MM-DDThh:mm:ssZ")
    return _time(*map(int, found.groups()))


def build_certificate_time(time: int) -> bytes:
    """UTCTime up to 2049, GeneralizedTime from 2050 on, both in Zulu time with seconds (RFC 5280 4.1.2.5)."""
    text = build_timestamp(time).translate({ord(mark): None for mark in "-:T"})
    return (text[2:] if int(text[:4]) <= UTC_TIME_UNTIL else text).encode("ascii")


def parse_certificate_time(value: bytes) -> int:
    """Inverse of `build_certificate_time`. Raises DecodeError also for a year in the wrong one of the two forms."""
    found = _CERTIFICATE_TIME.fullmatch(value.decode("latin-1"))
    if found is None:
        raise DecodeError("not a time as certificates have it (RFC 5280 4.1.2.5)")
    year, *rest = map(int, found.groups())
    if len(value) == len("YYMMDDhhmmssZ"):
        year += 2000 if year < _UTC_TIME_FROM - 1900 else 1900
    elif year <= UTC_TIME_UNTIL:
        raise DecodeError("a year up to 2049 with four digits in a certificate (RFC 5280 4.1.2.5)")
    return _time(year, *rest)


def _time(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    try:
        number = day_of(year, month, day)
    except ValueError as error:
        raise DecodeError(f"not a time: {error}") from None
    if hour > 23 or minute > 59 or second > 59:
        raise DecodeError("not a time: no such second of a day")
    return number * DAY + hour * 3600 + minute * 60 + second
