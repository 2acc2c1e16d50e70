"""Calendar days of a zone are those that its clocks show."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.counting.calendar_days import Calendar, day_text, read_day
from gateway.edge.terms import offsets_of

ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana", "Africa/Casablanca"]


@given(st.sampled_from(ZONES), st.integers(946_684_800, 2_200_000_000))
def test_a_day_is_the_one_that_the_clocks_of_the_zone_show(zone: str, wall: int) -> None:
    calendar = Calendar(offsets_of(zone))
    shown = datetime.fromtimestamp(wall, ZoneInfo(zone))
    day = calendar.day_of(wall)
    assert calendar.start_of(day) <= wall < calendar.start_of(day + 1)
    assert day_text(day) == shown.date().isoformat() or shown.hour == 23  # clocks that go back over midnight


@given(st.sampled_from(ZONES), st.dates(date(2001, 1, 1), date(2036, 1, 1)))
def test_a_day_begins_at_its_midnight(zone: str, day: date) -> None:
    start = datetime.fromtimestamp(Calendar(offsets_of(zone)).start_of(read_day(day.isoformat())), ZoneInfo(zone))
    assert start.date() == day
    assert (start - timedelta(seconds=1)).astimezone(UTC) < start
    assert start.hour == 0 or (start.astimezone(UTC) - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).date() < day


def test_days_of_a_change_have_one_hour_less_and_one_more() -> None:
    calendar = Calendar(offsets_of("Europe/Berlin"))
    lengths = [
        calendar.start_of(day + 1) - calendar.start_of(day) for day in map(read_day, ["2026-03-29", "2026-10-25"])
    ]
    assert lengths == [23 * 3600, 25 * 3600]


def test_a_day_that_a_zone_left_out_has_no_length() -> None:
    calendar = Calendar(offsets_of("Pacific/Apia"))
    day = read_day("2011-12-30")
    assert calendar.start_of(day) == calendar.start_of(day + 1)
    assert day_text(calendar.day_of(calendar.start_of(day))) == "2011-12-31"


@pytest.mark.parametrize("text", ["", "2026-13-01", "2026-02-30", "yesterday"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_day(text)


def test_utc_has_no_changes() -> None:
    assert offsets_of("UTC") == ()
    assert Calendar().day_of(86400.0 * 3 - 0.5) == 2
