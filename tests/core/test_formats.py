"""Ids, times, durations and addresses: what is read, what is refused, and how it is written."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.addresses import ip_address, is_loopback
from gateway.core.formats import (
    DURATION_PATTERN,
    ID_PATTERN,
    LAST_SECOND,
    duration_text,
    endpoint,
    instant,
    is_hex,
    is_id,
    read_duration,
    timestamp,
    utc,
    whole_seconds,
    write_duration,
)

# -- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a", "A-Za-z0-9._@:+-", "x" * 128, "...", "0", "ann@example.org"])
def test_an_id(text: str) -> None:
    assert is_id(text)
    assert re.search(f"^{ID_PATTERN}$", text)


@pytest.mark.parametrize(
    "value", ["", "x" * 129, ".", "..", "a b", "a/b", "\u00e4", "a\n", ".\n", "a\0", 1, True, None, []]
)
def test_what_is_no_id(value: object) -> None:
    assert not is_id(value)


def test_hex_digits_are_counted() -> None:
    assert is_hex("00aF", 4)
    for text in ("", "00a", "00aFF", "00ag", "00a\n", "\u0660" * 4):
        assert not is_hex(text, 4)


# -- times -------------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21t12:00:00z", NOON),
        ("2026-11-21 12:00:00Z", NOON),
        ("2026-11-21T13:30:00+01:30", NOON),
        ("2026-11-21T12:00:00.25Z", NOON + 0.25),
        ("2026-11-21", NOON + 11 * 3600 + 3599),
        ("2024-02-29", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC).timestamp()),
        ("9999-12-31", 253_402_300_799.0),
        ("1969-12-31T23:59:59Z", 0.0),
        ("0001-01-01T00:00:00Z", 0.0),
        (0, 0.0),
        (int(NOON), NOON),
        (253_402_300_799, 253_402_300_799.0),
    ],
)
def test_an_instant(told: object, seconds: float) -> None:
    assert instant(told) == seconds
    assert utc(instant(told)) is not None


@pytest.mark.parametrize(
    "told",
    [
        "2026-11-21T12:00:00",
        "2026-11-21T12:00Z",
        "2026-W47-6T12:00:00Z",
        "20261121T120000Z",
        "2026-11-21T12:00:00+0100",
        "2026-02-29",
        "2026-11-21T24:00:01Z",
        "2026-11-21T12:00:60Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-11-21T12:00:00." + "0" * 30 + "Z",
        "\u0662\u0660\u0662\u0666-11-21",
        "",
        -1,
        253_402_300_800,
        1.5,
        True,
        None,
        [],
    ],
)
def test_what_is_no_instant(told: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        instant(told)


@pytest.mark.parametrize("text", ["2026-11-21", "", "5m", str(int(NOON))])
def test_a_timestamp_is_a_time_of_day_too(text: str) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        timestamp(text)


@given(st.integers(0, LAST_SECOND))
def test_an_instant_is_written_as_it_is_read(seconds: int) -> None:
    assert timestamp(utc(seconds) or "") == instant(seconds) == seconds


def test_no_instant_is_written_as_none() -> None:
    assert utc(None) is None
    assert utc(NOON + 0.999) == "2026-11-21T12:00:00Z"


# -- durations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.3, "300ms"),
        (1.5, "1500ms"),
        (75.0, "75s"),
        (180.0, "180s"),
        (600.0, "10m"),
        (86_400.0, "24h"),
        (129_600.0, "36h"),
        (34_560_000.0, "400d"),
    ],
)
def test_a_duration_is_written_as_a_person_writes_it(seconds: float, text: str) -> None:
    assert write_duration(seconds) == text
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1.5s", 1.5), ("5m", 300.0), ("0.5h", 1800.0), ("99999d", 99_999 * 86_400.0), ("999999999ms", 999_999.999)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@given(st.from_regex(f"\\A{DURATION_PATTERN}\\Z"))
def test_whatever_has_the_pattern_of_a_duration_is_at_most_300_years(text: str) -> None:
    assert 0.0 <= read_duration(text) < 300 * 366 * 86_400.0


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1.5", "-1s", "1 s", "1S", "1w", "\u0661s", "1.s", "1s\n", "100000d", "1e3s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration such as"):
        read_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (43_259, "12 h 00 min")],
)
def test_a_time_left_is_told_to_a_person(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.floats(0, 2e9), st.integers(0, 100_000))
def test_whole_seconds_from_an_instant_on_are_told_as_they_are(instant: float, seconds: int) -> None:
    assert whole_seconds((instant + seconds) - instant) == seconds


@pytest.mark.parametrize(("span", "told"), [(0.0, 0), (0.001, 1), (0.2, 1), (1.0004, 1), (1.001, 2), (-0.1, 0)])
def test_a_part_of_a_second_is_told_as_one(span: float, told: int) -> None:
    assert whole_seconds(span) == told


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0:7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
    ],
)
def test_an_address_has_one_spelling(text: str, address: str) -> None:
    assert str(ip_address(text)) == address


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1", "localhost", "LocalHost."]
)
def test_only_this_machine_reaches_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "::", "192.0.2.1", "127.0.0.256", "localhost.example.org", "example.org"])
def test_others_reach_what_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("host:4310", ("host", 4310)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(text: str, found: tuple[str, int]) -> None:
    assert endpoint(text) == found


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:0", "host:65536", "::1:4310", "[::1]", "a:b:1", "host:1\n"]
)
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        endpoint(text)
