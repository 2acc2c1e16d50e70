"""Kinds of values of options: what is taken, and how it is said what is expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from gateway.cli import argument_kinds


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (argument_kinds.count, "1", 1),
        (argument_kinds.count_or_none, "0", 0),
        (argument_kinds.port, "65535", 65535),
        (argument_kinds.positive, "0.5", 0.5),
        (argument_kinds.pause, "0.1", 0.1),
        (argument_kinds.duration, "5m", "5m"),
        (argument_kinds.seconds, "5m", 300.0),
        (argument_kinds.entry_hash, "0F" * 32, "0f" * 32),
    ],
)
def test_what_is_good_is_taken(kind: Callable[[str], Any], text: str, value: object) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (argument_kinds.count, "0", "a number from 1, found '0'"),
        (argument_kinds.count, "x", "a number from 1, found 'x'"),
        (argument_kinds.count_or_none, "-1", "a number from 0, found '-1'"),
        (argument_kinds.port, "0", "a number from 1 to 65535, found '0'"),
        (argument_kinds.port, "65536", "a number from 1 to 65535, found '65536'"),
        (argument_kinds.positive, "0", "a number above 0, found '0'"),
        (argument_kinds.positive, "inf", "a number above 0, found 'inf'"),
        (argument_kinds.positive, "nan", "a number above 0, found 'nan'"),
        (argument_kinds.pause, "0", "seconds from 0.1 to 86400, found '0'"),
        (argument_kinds.pause, "nan", "seconds from 0.1 to 86400, found 'nan'"),
        (argument_kinds.duration, "5", "found '5' (did you mean 5s?)"),
        (argument_kinds.duration, "soon", "found 'soon'"),
        (argument_kinds.duration, "\u0663", "found '\u0663'"),
        (argument_kinds.seconds, "0s", "found '0s'"),
        (argument_kinds.seconds, "0", "found '0'"),
        (argument_kinds.seconds, "-1m", "found '-1m'"),
        (argument_kinds.seconds, "", "found ''"),
        (argument_kinds.entry_hash, "123", "64 hex digits, as `audit verify` prints it, found '123'"),
    ],
)
def test_what_is_not_is_said_with_what_is_expected(kind: Callable[[str], Any], text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as fault:
        kind(text)
    assert str(fault.value).startswith("expected ")
    assert str(fault.value).endswith(words)
