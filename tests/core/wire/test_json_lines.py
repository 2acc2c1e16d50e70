"""JSON lines: however the bytes are cut, the same messages come out, or one documented fault."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.wire.json_lines import (
    ACK,
    DEPTH,
    HEARTBEAT,
    LIMIT,
    Malformed,
    TooLong,
    encode,
    overlong,
    parse,
    split,
)


def read(chunks: list[bytes]) -> list[Any]:
    """What a connection makes of chunks of bytes: messages, and the name of the fault that ends it."""
    tail, found = b"", []
    for chunk in chunks:
        lines, tail = split(tail, chunk)
        for line in [*lines, tail] if overlong(tail) else lines:
            try:
                found.append(parse(line))
            except (Malformed, TooLong) as fault:
                return [*found, type(fault).__name__]
    return found


scraps = st.sampled_from(
    [
        b'{"type":"bye"}',
        b"{",
        b"}",
        b'"',
        b"\\",
        b"\n",
        b"\r\n",
        b"\r",
        b"[" * 9,
        b"NaN",
        b"\xff",
        b"\xef\xbb\xbf",
        b" ",
    ]
)
streams = st.lists(scraps | st.binary(max_size=8) | st.just(b"x" * LIMIT), max_size=12).map(b"".join)


@given(stream=streams, cuts=st.lists(st.integers(0, 200), max_size=6))
@example(stream=b'{"a":1}\r\n{"b":2}\n', cuts=[8, 9])
@example(stream=b" " * (LIMIT - 2) + b"{}\r\n", cuts=[LIMIT, LIMIT + 1])
@example(stream=b" " * (LIMIT - 1) + b"{}\n", cuts=[LIMIT, LIMIT + 1])
def test_any_bytes_cut_anywhere_give_the_same(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in pairwise(edges)]
    whole = read([stream])
    assert read(chunks) == whole
    assert read([stream[place : place + 1] for place in range(min(len(stream), 64))] + [stream[64:]]) == whole


@given(st.binary(max_size=200))
def test_any_line_is_an_object_or_a_documented_fault(line: bytes) -> None:
    found = read([line + b"\n"])
    assert all(isinstance(message, dict) or message in {"Malformed", "TooLong"} for message in found)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_what_is_written_is_compact_and_utf_8() -> None:
    assert encode({"type": "jörg", "of": [1, "\n"]}) == '{"type":"jörg","of":[1,"\\n"]}'.encode()


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_what_is_written_reads_back(message: dict[str, Any]) -> None:
    line = encode(message)
    assert b"\n" not in line
    if len(line) <= LIMIT and nesting(message) <= DEPTH:
        assert parse(line) == message


def nesting(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(nesting, inner), default=0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"   ",
        b"{",
        b"{}}",
        b"{} {}",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":1,"a":1}',
        b'{"b":{"a":1,"\\u0061":2}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":-1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"\\ud800":1}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\x00"}',
        b'{"a":"\t"}',
        b'{"a":"\\x"}',
        '{"a":1}'.encode("utf-16"),
        b"\x00",
        b'{"a":' * 9 + b"1" + b"}" * 9,
        b'{"a":' + b"[" * 8 + b"]" * 8 + b"}",
        b"[" * 2000,
        b'{"a":"' + b'\\"' * 1000 + b"[" * 9,
    ],
)
def test_what_is_not_one_plain_object_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        parse(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{}", {}),
        (b' {"a" : 1}\t', {"a": 1}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\\\\ud800"}', {"a": "\\ud800"}),
        (b'{"a":"\\u0000"}', {"a": "\0"}),
        (b'{"a":"\xef\xbb\xbf"}', {"a": "\ufeff"}),
        (b'{"a":1e308}', {"a": 1e308}),
        (b'{"a":{"b":1},"c":{"b":2}}', {"a": {"b": 1}, "c": {"b": 2}}),
        (b'{"a":"[[[[[[[[[{{{{{{{{{"}', {"a": "[[[[[[[[[{{{{{{{{{"}),
        (b'{"a":"\\"[[[[[[[[[["}', {"a": '"[[[[[[[[[['}),
        (b'{"a":[[],[],[],[],[],[],[],[],[],[]]}', {"a": [[]] * 10}),
    ],
)
def test_what_json_allows_is_read(line: bytes, message: dict[str, Any]) -> None:
    assert parse(line) == message


def test_eight_levels_are_read_and_nine_are_not() -> None:
    eight = b'{"a":' * 8 + b"1" + b"}" * 8
    assert nesting(parse(eight)) == DEPTH == 8
    with pytest.raises(Malformed, match="nested deeper than 8"):
        parse(b'{"a":' + eight + b"}")


def test_a_message_of_4096_bytes_is_read_and_of_4097_is_too_long() -> None:
    line = b'{"a":"' + b"x" * 4088 + b'"}'
    assert len(line) == LIMIT == 4096
    assert parse(line)["a"] == "x" * 4088
    with pytest.raises(TooLong):
        parse(line + b" ")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_line_end_is_not_part_of_the_message(end: bytes) -> None:
    line = b'{"a":"' + b"x" * 4088 + b'"}'
    assert read([line + end]) == [{"a": "x" * 4088}]
    assert read([line + b" " + end]) == ["TooLong"]


def test_lines_before_an_overlong_one_are_still_read() -> None:
    assert read([b'{"a":1}\n' + b"x" * 5000]) == [{"a": 1}, "TooLong"]
    assert read([b'{"a":1}\n' + b"x" * 5000 + b'\n{"b":2}\n']) == [{"a": 1}, "TooLong"]


def test_the_constants_of_the_hot_path_are_messages() -> None:
    assert parse(HEARTBEAT) == {"type": "heartbeat"}
    assert encode({"type": "ack"}) == ACK


@pytest.mark.parametrize("scrap", [b'\\"', b'"', b"\\", b'"\\', b'"{"', b"{", b'\\"['])
def test_no_line_takes_long_to_refuse(scrap: bytes) -> None:
    line = (b"[" * 9 + scrap * LIMIT)[:LIMIT]
    began = time.process_time()
    with pytest.raises(Malformed):
        parse(line)
    assert time.process_time() - began < 0.05
