"""The course of a load as rows of CSV."""

from __future__ import annotations

import csv
import io

from gateway.load.tally import Tally
from gateway.load.time_series import HEADINGS, TimeSeries


def rows(file: io.StringIO) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.getvalue())))


def test_a_row_has_what_is_held_and_what_has_happened_since_the_row_before() -> None:
    now, file = 100.0, io.StringIO()
    series = TimeSeries(file, lambda: now)
    first = Tally(attempted=5, welcomed=4, members=2, left=1)
    first.open["tcp"] = 4
    first.denied["join pool_full"] = 1
    first.ack.record(0.001)
    series.show("holding", first)
    now = 101.5
    second = Tally.load(first.dump())
    second.attempted, second.members = 9, 1
    second.denied["join pool_full"] = 4
    second.ack.record(1.0)
    series.show("holding", second)
    one, two = rows(file)
    assert tuple(one) == HEADINGS
    assert (one["seconds"], one["arrived"], one["connected"], one["joined"], one["denied"]) == (
        "0.000",
        "5",
        "4",
        "2",
        "1",
    )
    assert (two["seconds"], two["arrived"], two["connected"], two["joined"], two["denied"]) == (
        "1.500",
        "4",
        "4",
        "1",
        "3",
    )
    assert 0.001 <= float(one["ack_p99"]) < 0.0011
    assert float(two["ack_p50"]) >= 1.0  # those of the first row are not in it
    assert (two["left"], two["welcome_p50"]) == ("0", "")


def test_there_is_a_row_a_second_at_most() -> None:
    now, file = 0.0, io.StringIO()
    series = TimeSeries(file, lambda: now)
    for tenth in range(25):
        now = tenth / 10
        series.show("holding", Tally())
    assert len(rows(file)) == 3
