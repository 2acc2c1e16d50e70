"""The frame codec: any cut gives the same events, any bytes give events or one documented fault."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire import websocket_frames
from gateway.core.wire.json_lines import ACK, HEARTBEAT
from gateway.core.wire.websocket_frames import (
    BINARY,
    BROKEN,
    CLOSE,
    CONTINUATION,
    NO_CODE,
    NOT_UTF8,
    PING,
    PONG,
    TEXT,
    TOO_BIG,
    Decoder,
    Event,
    ProtocolError,
    apply_mask,
    encode,
    is_heartbeat,
)

MASK = b"\x12\xf4\x56\x78"
CODES = st.sampled_from([1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4408, 4999])

masks = st.binary(min_size=4, max_size=4)
words = st.text(st.characters(codec="utf-8"), max_size=60).map(str.encode)
controls = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)).map(lambda frame: Event(*frame))
messages = words.map(lambda payload: Event(TEXT, payload)) | st.binary(max_size=300).map(
    lambda data: Event(BINARY, data)
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)])]


def feed_all(decoder: Decoder, chunks: list[bytes]) -> list[Event | ProtocolError]:
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def fault(data: bytes, decoder: Decoder | None = None) -> int:
    """The code of the one fault that `data` is."""
    (only,) = (decoder or Decoder()).feed(data)
    assert isinstance(only, ProtocolError)
    return only.code


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Event], list[bytes]]:
    """What a client says, and the bytes of its frames: fragmented, with control frames between the fragments."""
    events: list[Event] = []
    frames: list[bytes] = []
    for message in draw(st.lists(messages | controls, max_size=5)):
        parts = pieces(message.payload, draw(st.lists(st.integers(0, 400), max_size=3)))
        if message.opcode >= CLOSE:
            parts = [message.payload]
        for number, part in enumerate(parts):
            if number and draw(st.booleans()):
                between = draw(controls)
                events.append(between)
                frames.append(encode(between.opcode, between.payload, draw(masks)))
            opcode = CONTINUATION if number else message.opcode
            frames.append(encode(opcode, part, draw(masks), final=number == len(parts) - 1))
        events.append(message)
    if draw(st.booleans()):
        code, reason = draw(CODES), draw(st.text(st.characters(codec="utf-8"), max_size=30))
        events.append(Event(CLOSE, reason.encode(), code))
        frames.append(websocket_frames.close(code, reason, draw(masks)))
    return events, frames


@given(conversations(), st.lists(st.integers(0, 4000), max_size=8))
def test_frames_cut_anywhere_give_the_same_events(said: tuple[list[Event], list[bytes]], cuts: list[int]) -> None:
    events, frames = said
    data = b"".join(frames)
    assert feed_all(Decoder(), pieces(data, cuts)) == events
    assert feed_all(Decoder(), [bytes((byte,)) for byte in data]) == events


@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_any_bytes_give_events_or_one_documented_fault_at_the_end(chunks: list[bytes], masked: bool) -> None:
    found = feed_all(Decoder(masked=masked, limit=64), chunks)
    faults = [event for event in found if isinstance(event, ProtocolError)]
    assert all(event.code in {BROKEN, NOT_UTF8, TOO_BIG} for event in faults)
    assert faults == [] or faults == found[-1:]


@given(conversations(), st.integers(0, 4000), st.integers(1, 255))
def test_one_wrong_bit_or_more_never_raises(said: tuple[list[Event], list[bytes]], at: int, flip: int) -> None:
    data = bytearray(b"".join(said[1]) or b"\x00")
    data[at % len(data)] ^= flip
    whole = Decoder().feed(bytes(data))
    cut = feed_all(Decoder(), [bytes((byte,)) for byte in data])
    assert [repr(event) for event in whole] == [repr(event) for event in cut]


@pytest.mark.parametrize("masked", [True, False])
@given(payload=st.binary(max_size=300), opcode=st.sampled_from([BINARY, PING, PONG]), mask=masks)
def test_what_one_role_encodes_the_other_decodes(masked: bool, payload: bytes, opcode: int, mask: bytes) -> None:
    payload = payload if opcode == BINARY else payload[:125]
    frame = encode(opcode, payload, mask if masked else b"")
    assert Decoder(masked=masked).feed(frame) == [Event(opcode, payload)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70001])
def test_lengths_of_all_three_forms_go_round(size: int) -> None:
    payload = b"x" * size
    for mask in (MASK, b""):
        decoder = Decoder(masked=bool(mask), limit=100_000)
        assert decoder.feed(encode(TEXT, payload, mask)) == [Event(TEXT, payload)]


@given(st.binary(max_size=50), masks)
def test_a_mask_is_laid_on_byte_by_byte_in_turn(payload: bytes, mask: bytes) -> None:
    assert apply_mask(payload, mask) == bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def test_the_encoders_write_the_frames_of_the_rfc() -> None:
    assert websocket_frames.text(b"Hello") == bytes.fromhex("8105 48656c6c6f")
    assert websocket_frames.text(b"Hello", bytes.fromhex("37fa213d")) == bytes.fromhex("8185 37fa213d 7f9f4d5158")
    assert encode(TEXT, b"Hel", final=False) == bytes.fromhex("0103 48656c")
    assert encode(CONTINUATION, b"lo") == bytes.fromhex("8002 6c6f")
    assert websocket_frames.ping(b"Hello") == bytes.fromhex("8905 48656c6c6f")
    assert websocket_frames.pong(b"Hello", bytes.fromhex("37fa213d")) == bytes.fromhex("8a85 37fa213d 7f9f4d5158")
    assert websocket_frames.binary(bytes(256)) == bytes.fromhex("827e0100") + bytes(256)
    assert websocket_frames.binary(bytes(65536)) == bytes.fromhex("827f0000000000010000") + bytes(65536)
    assert websocket_frames.close(4408, "silent") == bytes.fromhex("8808 1138") + b"silent"
    assert websocket_frames.text(ACK) == websocket_frames.ACK_FRAME


def test_a_close_without_a_code_is_empty_and_reads_as_such() -> None:
    assert websocket_frames.close(NO_CODE) == b"\x88\x00"
    assert Decoder(masked=False).feed(b"\x88\x00") == [Event(CLOSE, b"", NO_CODE)]


def test_a_long_reason_is_cut_between_characters() -> None:
    frame = websocket_frames.close(1000, "é" * 100)
    assert Decoder(masked=False).feed(frame) == [Event(CLOSE, "é".encode() * 61, 1000)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x81\x00", BROKEN, id="a client's frame without mask"),
        pytest.param(b"\xc1\x80", BROKEN, id="the first reserved bit"),
        pytest.param(b"\xa1\x80", BROKEN, id="the second reserved bit"),
        pytest.param(b"\x91\x80", BROKEN, id="the third reserved bit"),
        *(pytest.param(bytes((0x80 | code, 0x80)), BROKEN, id=f"opcode {code}") for code in (3, 4, 5, 6, 7)),
        *(pytest.param(bytes((0x80 | code, 0x80)), BROKEN, id=f"opcode {code}") for code in (11, 12, 13, 14, 15)),
        pytest.param(b"\x80\x80", BROKEN, id="a continuation of nothing"),
        pytest.param(b"\x01\x80" + MASK + b"\x81\x80", BROKEN, id="a message inside a message"),
        pytest.param(b"\x09\x80", BROKEN, id="a fragmented ping"),
        pytest.param(b"\x08\x80", BROKEN, id="a fragmented close"),
        pytest.param(b"\x89\xfe", BROKEN, id="a ping above 125 bytes"),
        pytest.param(b"\x81\xfe\x00\x7d", BROKEN, id="125 in two bytes"),
        pytest.param(b"\x81\xff" + (65535).to_bytes(8), BROKEN, id="65535 in eight bytes"),
        pytest.param(b"\x81\xff" + (1 << 63).to_bytes(8), BROKEN, id="a negative length"),
        pytest.param(b"\x81\xfe\x10\x01", TOO_BIG, id="4097 bytes declared"),
        pytest.param(b"\x82\xff" + (1 << 62).to_bytes(8), TOO_BIG, id="2**62 bytes declared"),
        pytest.param(encode(TEXT, b"\xff", MASK), NOT_UTF8, id="text that is not UTF-8"),
        pytest.param(encode(TEXT, b"\xed\xa0\x80", MASK), NOT_UTF8, id="a lone surrogate"),
        pytest.param(encode(TEXT, b"\xc3", MASK), NOT_UTF8, id="half a character"),
        pytest.param(encode(CLOSE, b"\x03", MASK), BROKEN, id="half a close code"),
        pytest.param(encode(CLOSE, b"\x03\xe8\xff", MASK), NOT_UTF8, id="a reason that is not UTF-8"),
    ],
)
def test_a_fault_is_refused_with_its_code(data: bytes, code: int) -> None:
    assert fault(data) == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_close_codes_nobody_may_send_are_refused(code: int) -> None:
    assert fault(encode(CLOSE, code.to_bytes(2), MASK)) == BROKEN


def test_a_server_must_not_mask() -> None:
    assert fault(encode(TEXT, b"x", MASK), Decoder(masked=False)) == BROKEN


def test_a_fault_comes_after_the_events_before_it_and_ends_the_decoder() -> None:
    decoder = Decoder()
    good = websocket_frames.text(b"one", MASK) + websocket_frames.ping(b"two", MASK)
    *events, last = decoder.feed(good + b"\xff\xff" + good)
    assert events == [Event(TEXT, b"one"), Event(PING, b"two")]
    assert isinstance(last, ProtocolError)
    assert decoder.feed(good) == []


def test_what_follows_a_close_is_ignored() -> None:
    decoder = Decoder()
    assert decoder.feed(websocket_frames.close(1000, "", MASK) + b"\xff\xff") == [Event(CLOSE, b"", 1000)]
    assert decoder.feed(b"\xff\xff") == []


def test_text_in_fragments_fails_at_the_frame_with_the_bad_byte() -> None:
    decoder = Decoder()
    assert decoder.feed(encode(TEXT, b"\xce\xba\xf4", MASK, final=False)) == []
    assert fault(encode(CONTINUATION, b"\x90", MASK, final=False), decoder) == NOT_UTF8


def test_text_in_fragments_may_cut_a_character_but_must_end_with_one() -> None:
    first, second = encode(TEXT, b"\xc3", MASK, final=False), encode(CONTINUATION, b"\xa9", MASK, final=False)
    decoder = Decoder()
    assert decoder.feed(first + second + encode(CONTINUATION, b"", MASK)) == [Event(TEXT, "é".encode())]
    decoder = Decoder()
    assert decoder.feed(first) == []
    assert fault(encode(CONTINUATION, b"", MASK), decoder) == NOT_UTF8


def test_fragments_together_may_not_pass_the_limit() -> None:
    decoder = Decoder(limit=10)
    assert decoder.feed(encode(BINARY, b"12345678", MASK, final=False)) == []
    assert decoder.feed(encode(CONTINUATION, b"90", MASK, final=False)) == []
    assert decoder.feed(websocket_frames.ping(b"a control frame is not part of it", MASK)) != []
    assert fault(encode(CONTINUATION, b"1", MASK)[:2], decoder) == TOO_BIG


def test_a_message_comes_in_128_frames_and_in_no_more() -> None:
    begun = encode(TEXT, b"", MASK, final=False) + 126 * encode(CONTINUATION, b"", MASK, final=False)
    assert Decoder().feed(begun + encode(CONTINUATION, b"x", MASK)) == [Event(TEXT, b"x")]
    decoder = Decoder()
    assert decoder.feed(begun + encode(CONTINUATION, b"", MASK, final=False)) == []
    assert fault(encode(CONTINUATION, b"x", MASK), decoder) == TOO_BIG


def test_a_message_of_exactly_the_limit_passes() -> None:
    assert Decoder().feed(websocket_frames.text(b"x" * 4096, MASK)) == [Event(TEXT, b"x" * 4096)]


def test_an_idle_decoder_holds_no_buffer() -> None:
    decoder = Decoder()
    frame = encode(TEXT, b"some", MASK, final=False) + encode(CONTINUATION, b"thing", MASK)
    for cut in range(len(frame)):
        assert feed_all(decoder, [frame[:cut], frame[cut:]]) == [Event(TEXT, b"something")]
        assert decoder.idle
        assert decoder._partial is None
        assert decoder._fragments is None
    assert sys.getsizeof(decoder) < 200
    assert not hasattr(decoder, "__dict__")


@given(masks)
def test_the_literal_heartbeat_is_known_under_every_mask(mask: bytes) -> None:
    frame = websocket_frames.text(HEARTBEAT, mask)
    assert is_heartbeat(frame)
    assert Decoder().feed(frame) == [Event(TEXT, HEARTBEAT)]


@given(masks, st.integers(0, 25), st.integers(1, 255))
def test_no_other_frame_is_a_heartbeat(mask: bytes, at: int, flip: int) -> None:
    data = bytearray(websocket_frames.text(HEARTBEAT, mask))
    data[at] ^= flip
    assert not is_heartbeat(bytes(data))
    assert Decoder().feed(bytes(data)) != [Event(TEXT, HEARTBEAT)]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(websocket_frames.text(HEARTBEAT, MASK)[:1], id="half a header"),
        pytest.param(encode(BINARY, bytes(40), MASK)[:14], id="half a frame"),
        pytest.param(encode(TEXT, b"{", MASK, final=False), id="half a message"),
        pytest.param(websocket_frames.close(1000, "", MASK), id="a close"),
        pytest.param(b"\xff\xff", id="a fault"),
    ],
)
def test_a_decoder_that_expects_something_else_than_a_heartbeat_is_not_idle(before: bytes) -> None:
    decoder = Decoder()
    assert decoder.idle
    decoder.feed(before)
    assert not decoder.idle


def test_a_heartbeat_is_the_whole_read() -> None:
    frame = websocket_frames.text(HEARTBEAT, MASK)
    assert not any(is_heartbeat(data) for data in (b"", frame[:-1], frame[1:], b"\x00" + frame, frame + b"\x00"))
    assert not any(is_heartbeat(data) for data in (frame + frame, bytes(26), websocket_frames.text(HEARTBEAT)))
