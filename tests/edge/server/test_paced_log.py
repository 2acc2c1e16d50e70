"""Warnings about what others do wrong: a line now and then."""

from __future__ import annotations

import logging

import pytest

from gateway.edge.server.paced_log import LINE_PAUSE, PacedLog


def test_a_flood_is_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    paced = PacedLog(logging.getLogger("tallygate.operator"))
    for number in range(1000):
        paced.record("a first", 100.0 + number * LINE_PAUSE / 1000)
    paced.record("a last", 100.0 + LINE_PAUSE)
    assert caplog.messages == ["a first; 0 others before it", "a last; 999 others before it"]
