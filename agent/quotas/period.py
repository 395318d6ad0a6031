"""How long a quota's period is: an interval as PostgreSQL reads them, counted in UTC."""

from __future__ import annotations

import re
from bisect import bisect_right
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

SECOND, DAY = 1000, 86_400_000
LONGEST_MONTHS = 1200
WRONG = "must be an interval such as 1 day, 2 weeks, 1 month, 12:00:00 or P1D"
WRONG_LENGTH = "must be a second or longer, and not longer than 100 years"
_LONGEST_TEXT = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MONTHS = {"month": 1, "year": 12, "decade": 120, "century": 1200, "millennium": 12_000}
_DAYS = {"day": 1, "week": 7}
_MILLISECONDS = {
    "microsecond": Fraction(1, 1000),
    "millisecond": Fraction(1),
    "second": Fraction(SECOND),
    "minute": Fraction(60 * SECOND),
    "hour": Fraction(3600 * SECOND),
}
_NAMES = {
    "microsecond": "us usec usecs microsecond microseconds",
    "millisecond": "ms msec msecs millisecond milliseconds",
    "second": "s sec secs second seconds",
    "minute": "m min mins minute minutes",
    "hour": "h hr hrs hour hours",
    "day": "d day days",
    "week": "w week weeks",
    "month": "mon mons month months",
    "year": "y yr yrs year years",
    "decade": "dec decs decade decades",
    "century": "c cent century centuries",
    "millennium": "mil mils millennium millennia",
}
_UNITS = {name: unit for unit, names in _NAMES.items() for name in names.split()}
_ISO_DATE = {"Y": "year", "M": "month", "W": "week", "D": "day"}
_ISO_TIME = {"H": "hour", "M": "minute", "S": "second"}

_TIME = r"(\d+):([0-5]?\d)(?::([0-5]?\d(?:\.\d{1,6})?))?"
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
# One of: a time of the day, years-months, a number with its unit, a number alone (days before a time,
# else seconds).
_TOKEN = re.compile(
    rf"\s*\+?(?:{_TIME}(?!\d)|(\d+)-(1[01]|\d)(?!\d)|({_NUMBER})\s*([a-z]+)?)"
    r"(?=[\s\d.+]|$)",
    re.ASCII,
)
_ISO_TOKEN = re.compile(rf"({_NUMBER})([A-Z])", re.ASCII)
_ISO_WHOLE = re.compile(r"P(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}):([0-5]\d):([0-5]\d))?", re.ASCII)


class Period(NamedTuple):
    """Months of the calendar, days, and milliseconds: each is added by itself."""

    months: int
    days: int
    milliseconds: int

    def __str__(self) -> str:
        """As ISO 8601 writes it; two that are equal are written alike."""
        return f"P{self.months}M{self.days}DT{self.milliseconds / SECOND:.3f}S"

    def after(self, since: int, number: int) -> int:
        """Return when so many periods are over that began at ``since``; both in ms since the epoch.

        A day that a month does not have is its last one; the next month has it again.
        """
        at = _EPOCH + timedelta(milliseconds=since)
        month = at.month - 1 + self.months * number
        year, month = at.year + month // 12, month % 12 + 1
        day = min(at.day, monthrange(year, month)[1])
        at = at.replace(year=year, month=month, day=day) + timedelta(
            days=self.days * number, milliseconds=self.milliseconds * number
        )
        return (at - _EPOCH) // timedelta(milliseconds=1)

    def passed(self, since: int, at: int) -> int:
        """Return how many whole periods lie between two moments, in ms since the epoch."""
        at_least = self.months * 28 * DAY + self.days * DAY + self.milliseconds
        most = max(at - since, 0) // at_least + 1
        ends = range(1, most + 1)
        return bisect_right(ends, at, key=lambda number: self.after(since, number))


def read_period(text: str) -> Period:
    """Read an interval; raises ``ValueError`` with what is wrong, for the user."""
    text = text.strip()
    if len(text) > _LONGEST_TEXT:
        raise ValueError(WRONG)
    total = _Sum()
    read = _read_iso if text.upper().startswith("P") else _read_words
    if not read(text, total):
        raise ValueError(WRONG)
    return total.period()


class _Sum:
    """What an interval adds up to; a fraction goes to the next smaller kind of unit, as in PostgreSQL."""

    def __init__(self) -> None:
        self._months = self._days = self._milliseconds = Fraction(0)

    def add(self, number: str | None, unit: str) -> None:
        amount = Fraction(number or 0)
        if unit in _MONTHS:
            self._months += amount * _MONTHS[unit]
        elif unit in _DAYS:
            self._days += amount * _DAYS[unit]
        else:
            self._milliseconds += amount * _MILLISECONDS[unit]

    def period(self) -> Period:
        months, days = int(self._months), self._days + (self._months % 1) * 30
        period = Period(months, int(days), round(self._milliseconds + (days % 1) * DAY))
        milliseconds = period.days * DAY + period.milliseconds
        longest = (LONGEST_MONTHS - months) * 30 * DAY
        if (
            months > LONGEST_MONTHS
            or milliseconds > longest
            or (not months and milliseconds < SECOND)
        ):
            raise ValueError(WRONG_LENGTH)
        return period


def _read_words(text: str, total: _Sum) -> bool:
    """Read PostgreSQL's and SQL's own forms."""
    text = text.lower().removeprefix("@")
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return False
        hours, minutes, seconds, years, months, number, name = token.groups()
        unit = _UNITS.get(name) if name else _unit_of_bare(text, token.end())
        if number and unit is None:
            return False
        total.add(hours, "hour")
        total.add(minutes, "minute")
        total.add(seconds, "second")
        total.add(years, "year")
        total.add(months, "month")
        total.add(number, unit or "second")
        at = token.end()
    return bool(text)


def _unit_of_bare(text: str, end: int) -> str | None:
    """Seconds at the end, days before a time of the day; elsewhere a number needs its unit."""
    rest = text[end:].strip()
    if not rest:
        return "second"
    return "day" if re.fullmatch(_TIME, rest, re.ASCII) else None


def _read_iso(text: str, total: _Sum) -> bool:
    """Read ISO 8601's forms: ``P1Y2M3DT4H5M6S`` and ``P0001-02-03T04:05:06``."""
    text = text.upper()
    if whole := _ISO_WHOLE.fullmatch(text):
        units = ("year", "month", "day", "hour", "minute", "second")
        for number, unit in zip(whole.groups(), units, strict=True):
            total.add(number, unit)
        return True
    date, _, time = text[1:].partition("T")
    for part, units_of in ((date, _ISO_DATE), (time, _ISO_TIME)):
        at = 0
        while at < len(part):
            token = _ISO_TOKEN.match(part, at)
            if token is None or token[2] not in units_of:
                return False
            total.add(token[1], units_of[token[2]])
            at = token.end()
    return bool(date or time) and not text.endswith("T")
