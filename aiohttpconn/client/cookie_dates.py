"""The dates of cookies, which servers write in every form there is (RFC 6265bis section 5.1.1)."""

from __future__ import annotations

import re
from functools import lru_cache

_DELIMITERS = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(r"([0-9]{1,2})(?![0-9])")
_YEAR = re.compile(r"([0-9]{2,4})(?![0-9])")
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_EPOCH = 719_163  # 1970-01-01 as `date.toordinal` counts


@lru_cache(256)
def parse_cookie_date(text: str) -> float | None:
    """The time that a date means, in seconds since 1970 (UTC); None if it means none.

    The first token of each kind counts, in any order; zones and names of days are skipped, all times are UTC.

    >>> parse_cookie_date("Sat, 15-Apr-17 21:01:22 GMT") == parse_cookie_date("2017 April 15 21:01:22")
    True
    """
    time: tuple[int, int, int] | None = None
    day: int | None = None
    month: int | None = None
    year: int | None = None
    for token in _DELIMITERS.split(text):
        if time is None and (match := _TIME.match(token)):
            time = int(match[1]), int(match[2]), int(match[3])
        elif day is None and (match := _DAY.match(token)):
            day = int(match[1])
        elif month is None and (found := _MONTHS.get(token[:3].lower())):
            month = found
        elif year is None and (match := _YEAR.match(token)):
            year = int(match[1])
    if time is None or day is None or month is None or year is None:
        return None
    if year < 70:
        year += 2000
    elif year < 100:
        year += 1900
    hour, minute, second = time
    if year < 1601 or hour > 23 or minute > 59 or second > 59:
        return None
    from datetime import date  # noqa: PLC0415 - 1 ms of import, for cookies that have a date

    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:  # the 30th of February
        return None
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)
