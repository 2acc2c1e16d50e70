"""Warnings about what others do wrong: a line now and then."""

from __future__ import annotations

import logging

import pytest

from gateway.edge.server.paced_log import LINE_PAUSE, CountedLog, PacedLog


def test_a_flood_is_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    paced = PacedLog(logging.getLogger("tallygate.operator"))
    for number in range(1000):
        paced.record("a first", 100.0 + number * LINE_PAUSE / 1000)
    paced.record("a last", 100.0 + LINE_PAUSE)
    assert caplog.messages == ["a first", "a last; 999 before it without a line"]


def test_what_happens_to_many_is_told_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counted = CountedLog(logging.getLogger("tallygate.events"), "refused")
    for number in range(313):
        counted.record("banned" if number % 4 else "duplicate", f"n={number}", {"n": number}, 100.0 + number / 100)
        counted.poll(100.0 + number / 100)
    counted.poll(100.0 + LINE_PAUSE)
    counted.poll(101.0 + LINE_PAUSE)
    assert caplog.messages == ["refused n=0", "refused 312 more in the last 10 s: banned 234, duplicate 78"]
    first, second = (vars(record) for record in caplog.records)
    assert (first["event"], first["detail"]) == ("refused", {"n": 0})
    assert second["detail"] == {"count": 312, "seconds": 10, "by": {"banned": 234, "duplicate": 78}}
    counted.record("banned", "n=2", {}, 102.0 + LINE_PAUSE)  # so soon after it is counted again
    counted.poll(100.0 + 2 * LINE_PAUSE)
    assert caplog.messages[2:] == ["refused 1 more in the last 10 s: banned 1"]
    counted.record("banned", "n=3", {}, 200.0)
    assert caplog.messages[3:] == ["refused n=3"]
