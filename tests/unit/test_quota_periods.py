"""Periods are read as PostgreSQL reads intervals, and counted by the calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import yaml

from agent.errors import SettingsError
from agent.quotas.period import LONGEST_MONTHS, Period, read_period
from agent.settings.load import load

if TYPE_CHECKING:
    from pathlib import Path

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def at(text: str) -> int:
    """Return a moment of UTC in ms since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def said(moment: int) -> str:
    """Write a moment as ``at`` reads it."""
    return datetime.fromtimestamp(moment / 1000, UTC).replace(tzinfo=None).isoformat()


@pytest.mark.parametrize(
    ("text", "months", "days", "milliseconds"),
    [
        ("1 day", 0, 1, 0),
        ("1day", 0, 1, 0),
        ("  2 WEEKS 3 hours ", 0, 14, 3 * HOUR),
        ("1 month", 1, 0, 0),
        ("6 mons", 6, 0, 0),
        ("1 year 2 months 3 days", 14, 3, 0),
        ("1 decade", 120, 0, 0),
        ("1 century", 1200, 0, 0),
        ("2h30m", 0, 0, 2 * HOUR + 30 * MINUTE),
        ("90 sec", 0, 0, 90 * SECOND),
        ("90", 0, 0, 90 * SECOND),
        ("1500 ms", 0, 0, 1500),
        ("2000000 microseconds", 0, 0, 2000),
        ("01:30:00", 0, 0, HOUR + 30 * MINUTE),
        ("4:05", 0, 0, 4 * HOUR + 5 * MINUTE),
        ("100:00:00", 0, 0, 100 * HOUR),
        ("1 day 04:05:06.789", 0, 1, 4 * HOUR + 5 * MINUTE + 6789),
        ("3 4:05:06", 0, 3, 4 * HOUR + 5 * MINUTE + 6 * SECOND),
        ("1-2", 14, 0, 0),
        ("1-2 3 4:05:06", 14, 3, 4 * HOUR + 5 * MINUTE + 6 * SECOND),
        ("@ 1 minute", 0, 0, MINUTE),
        ("1 day +2 hours", 0, 1, 2 * HOUR),
        ("1.5 days", 0, 1, 12 * HOUR),
        ("1.5 months", 1, 15, 0),
        ("1.5 years", 18, 0, 0),
        ("0.5 weeks", 0, 3, 12 * HOUR),
        (".5 hours", 0, 0, 30 * MINUTE),
        ("P1D", 0, 1, 0),
        ("p1y2m3dt4h5m6s", 14, 3, 4 * HOUR + 5 * MINUTE + 6 * SECOND),
        ("P2W", 0, 14, 0),
        ("PT36H", 0, 0, 36 * HOUR),
        ("PT1M", 0, 0, MINUTE),
        ("P1M", 1, 0, 0),
        ("P0.5D", 0, 0, 12 * HOUR),
        ("P0001-02-03T04:05:06", 14, 3, 4 * HOUR + 5 * MINUTE + 6 * SECOND),
        ("P0000-01-00", 1, 0, 0),
    ],
)
def test_an_interval_is_what_postgresql_takes_it_for(
    text: str, months: int, days: int, milliseconds: int
) -> None:
    assert read_period(text) == Period(months, days, milliseconds)


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "@",
        "day",
        "daily",
        "1 fortnight",
        "1 day 2 fortnights",
        "-1 day",
        "1 day ago",
        "1 day -2 hours",
        "1:2:3:4",
        "1:75",
        "1:2:345",
        "1-12",
        "10 5",
        "1.5.5 days",
        "1 day;",
        "٣ days",
        "P",
        "PT",
        "P1",
        "P1H",
        "P1DT",
        "PT1D",
        "P1D2X",
        "1" * 101,
        "1 day" + " " * 200 + "2",
    ],
)
def test_what_is_no_interval_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="must be an interval such as 1 day"):
        read_period(text)


@pytest.mark.parametrize(
    "text", ["0 days", "00:00:00", "999 ms", "P0D", "101 years", "2 centuries", "9" * 60 + " days"]
)
def test_a_period_lasts_at_least_a_second_and_at_most_a_century(text: str) -> None:
    with pytest.raises(ValueError, match="must be a second or longer"):
        read_period(text)


@pytest.mark.parametrize(
    ("period", "since", "ends"),
    [
        ("1 day", "2026-02-28T12:00:00", ["2026-03-01T12:00:00", "2026-03-02T12:00:00"]),
        ("1 month", "2026-01-31T08:00:00", ["2026-02-28T08:00:00", "2026-03-31T08:00:00"]),
        ("1 month", "2026-11-15T00:00:00", ["2026-12-15T00:00:00", "2027-01-15T00:00:00"]),
        ("1 year", "2024-02-29T00:00:00", ["2025-02-28T00:00:00", "2026-02-28T00:00:00"]),
        ("4 years", "2024-02-29T00:00:00", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        ("1 month 1 day", "2026-01-31T00:00:00", ["2026-03-01T00:00:00", "2026-04-02T00:00:00"]),
        ("01:30:00", "2026-12-31T23:00:00", ["2027-01-01T00:30:00", "2027-01-01T02:00:00"]),
    ],
)
def test_periods_follow_the_calendar_and_do_not_drift(
    period: str, since: str, ends: list[str]
) -> None:
    read = read_period(period)

    assert [said(read.after(at(since), number)) for number in (1, 2)] == ends


@pytest.mark.parametrize(
    "period", ["1 second", "1 day", "1 month", "1 mon 3 days", "1 year", "100 years"]
)
def test_a_period_has_passed_from_its_end_on_and_not_before(period: str) -> None:
    read, since = read_period(period), at("2024-01-31T10:00:00")

    for number in (1, 2, 3, 5):
        end = read.after(since, number)
        assert read.passed(since, end - 1) == number - 1
        assert read.passed(since, end) == number


def test_no_period_has_passed_at_the_beginning_or_when_the_clock_was_set_back() -> None:
    read, since = read_period("1 day"), at("2026-01-01T00:00:00")

    assert read.passed(since, since) == 0
    assert read.passed(since, since - 5 * DAY) == 0


def test_ten_years_of_seconds_are_counted_at_once() -> None:
    read, since = read_period("1 second"), at("2016-01-01T00:00:00")

    assert read.passed(since, at("2026-01-01T00:00:00")) == 315_619_200


@pytest.mark.parametrize("text", ["24 hours", "1440 minutes", "PT24H", "24:00:00"])
def test_equal_periods_are_written_alike(text: str) -> None:
    """What is stored beside a balance is compared with the setting."""
    assert str(read_period(text)) == "P0M0DT86400.000S"
    assert read_period(str(read_period(text))) == read_period(text)
    assert str(read_period("1 day")) != str(read_period(text))


def test_the_longest_period_is_read_as_it_is_written() -> None:
    assert read_period("100 years").months == LONGEST_MONTHS


LIMITER = {"type": "user_limiter", "name": "u", "initial_quota": 1, "quota_increase": 0}


def problems(folder: Path, *limiters: dict[str, object]) -> str:
    """Load a file with these limiters; returns what is wrong."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"quota_handlers": {"limiters": list(limiters)}}))
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    return caught.value.message


def test_a_wrong_period_is_told_with_its_key(tmp_path: Path) -> None:
    told = problems(tmp_path, LIMITER | {"period": "1 day"}, LIMITER | {"name": "v", "period": "?"})

    assert told == (
        "quota_handlers.limiters[1].period: must be an interval such as 1 day, 2 weeks, 1 month, "
        "12:00:00 or P1D"
    )


def test_two_limiters_of_one_name_are_told(tmp_path: Path) -> None:
    told = problems(tmp_path, *[LIMITER | {"period": "1 day"}] * 2)

    assert told == "quota_handlers.limiters: the name u is used twice"


@pytest.mark.parametrize("quota", [-1, 10**15 + 1])
def test_a_quota_that_cannot_be_kept_is_told(tmp_path: Path, quota: int) -> None:
    told = problems(tmp_path, LIMITER | {"period": "1 day", "initial_quota": quota})

    assert told.startswith("quota_handlers.limiters[0].initial_quota: must be at ")
