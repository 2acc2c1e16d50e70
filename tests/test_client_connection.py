"""One connection from the client's side: what its bytes mean however they are cut, and the close table."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client_connection import (
    LIMIT,
    ClientConnection,
    Codec,
    ConnectionEnd,
    LineCodec,
    ServerProtocolError,
    WebSocketCodec,
)
from gateway.core.wire import json_lines, websocket_handshake
from gateway.core.wire import websocket_frames as frames
from gateway.core.wire.answers import Answer, Closing
from gateway.core.wire.close_codes import ENDINGS, farewell

WELCOME = b'{"type":"welcome","session":"s-1"}'
JOINED = '{"type":"joined","conference":"weekly","note":"gr\u00fc\u00df"}'.encode()


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.opens = 0
        self.acks = 0
        self.messages: list[Answer] = []
        self.ends: list[ConnectionEnd] = []

    def opened(self, link: ClientConnection) -> None:  # noqa: ARG002
        self.opens += 1

    def acked(self, link: ClientConnection) -> None:  # noqa: ARG002
        self.acks += 1

    def received(self, link: ClientConnection, message: Answer) -> None:  # noqa: ARG002
        self.messages.append(message)

    def ended(self, link: ClientConnection, end: ConnectionEnd) -> None:  # noqa: ARG002
        self.ends.append(end)


def answer_to(request: bytes) -> bytes:
    """The gateway's own answer to an upgrade."""
    judged = websocket_handshake.Upgrade(websocket_handshake.Origins(), "127.0.0.1").feed(request)
    assert isinstance(judged, websocket_handshake.Accepted)
    return judged.response


def fresh_frames() -> WebSocketCodec:
    return WebSocketCodec("localhost:4308", Random(7))  # noqa: S311 - the same bytes in every run


def ready_frames() -> WebSocketCodec:
    codec = fresh_frames()
    assert codec.feed(answer_to(codec.opening())) == []
    assert codec.ready
    return codec


def fed(codec: Codec, data: bytes, cuts: list[int]) -> list[bytes]:
    """Everything that comes out when the data arrives cut there."""
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [text for start, end in pairwise(places) for text in codec.feed(data[start:end])]


def test_the_upgrade_is_one_that_the_gateway_accepts() -> None:
    codec = fresh_frames()
    judged = websocket_handshake.Upgrade(websocket_handshake.Origins(), "127.0.0.1").feed(codec.opening())
    assert isinstance(judged, websocket_handshake.Accepted)
    assert judged.subprotocol == "tallygate.v1"


def test_the_gateways_decoder_reads_what_the_client_sends() -> None:
    codec = ready_frames()
    events = frames.Decoder(masked=True).feed(codec.encode(json_lines.HEARTBEAT) + codec.farewell())
    assert events == [
        frames.Event(frames.TEXT, json_lines.HEARTBEAT),
        frames.Event(frames.CLOSE, b"", frames.NORMAL),
    ]


def test_every_frame_has_a_mask_of_its_own() -> None:
    codec = ready_frames()
    assert len({codec.encode(json_lines.HEARTBEAT)[2:6] for _ in range(50)}) == 50


@given(st.lists(st.integers(0)))
def test_lines_come_out_the_same_however_they_are_cut(cuts: list[int]) -> None:
    assert fed(LineCodec(), WELCOME + b"\r\n" + json_lines.ACK + b"\n\n" + JOINED + b"\n", cuts) == [
        WELCOME,
        json_lines.ACK,
        JOINED,
    ]


@given(st.lists(st.integers(0)))
def test_frames_come_out_the_same_however_they_are_cut(cuts: list[int]) -> None:
    codec = fresh_frames()
    data = answer_to(codec.opening()) + frames.text(WELCOME) + frames.ping(b"?") + frames.text(JOINED)
    assert fed(codec, data, cuts) == [WELCOME, JOINED]
    assert frames.Decoder(masked=True).feed(codec.replies()) == [frames.Event(frames.PONG, b"?")]
    assert codec.replies() == b""


def test_a_close_frame_is_answered_and_its_code_kept() -> None:
    codec = ready_frames()
    assert codec.feed(frames.text(WELCOME) + frames.close(4409)) == [WELCOME]
    assert codec.code == 4409
    assert frames.Decoder(masked=True).feed(codec.replies()) == [frames.Event(frames.CLOSE, b"", 4409)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n", "prove"),
        (b"x" * 9000, "does not end"),
    ],
)
def test_an_upgrade_that_fails_says_why(data: bytes, words: str) -> None:
    codec = fresh_frames()
    assert codec.feed(data) == []
    assert codec.fault is not None
    assert words in str(codec.fault)
    assert not codec.ready


def test_another_subprotocol_is_not_accepted() -> None:
    codec = fresh_frames()
    codec.feed(answer_to(codec.opening()).replace(b"tallygate.v1", b"tallygate.v2"))
    assert codec.fault is not None


def test_masked_frames_of_a_gateway_are_a_fault() -> None:
    codec = ready_frames()
    assert codec.feed(frames.text(WELCOME) + frames.text(WELCOME, b"mask")) == [WELCOME]
    assert codec.fault is not None


def test_a_line_without_end_is_a_fault() -> None:
    codec = LineCodec()
    assert codec.feed(b" " * (LIMIT + 1)) == []
    assert codec.fault is not None


def test_acks_are_heard_alone_and_in_company() -> None:
    heard = Heard()
    link = ClientConnection(LineCodec(), heard)
    link.data_received(json_lines.ACK + b"\n")
    link.data_received(json_lines.ACK + b"\n" + WELCOME + b"\n" + json_lines.ACK + b"\n" + b'{"type":"ack","seq":4}\n')
    assert heard.acks == 4
    assert [message["type"] for message in heard.messages] == ["welcome"]


@pytest.mark.parametrize("line", [b"garbage", b"[]", b"{}", b'{"type":7}', b"\xff", b"[" * 100_000])
def test_what_is_no_message_ends_the_connection(line: bytes) -> None:
    heard = Heard()
    link = ClientConnection(LineCodec(), heard)
    link.data_received(line + b"\n")
    link.connection_lost(None)
    (end,) = heard.ends
    assert isinstance(end.error, ServerProtocolError)


# The close table


@pytest.mark.parametrize("cause", [cause for cause, ending in ENDINGS.items() if ending.says])
def test_the_last_word_of_the_gateway_decides(cause: str) -> None:
    end = ConnectionEnd(last=cast(Closing, farewell(cause, retry_after=2.5)))
    assert end.reason == cause
    assert end.reconnect is ENDINGS[cause].reconnect
    assert end.retry_after == (2.5 if end.reconnect else 0)


@pytest.mark.parametrize("cause", [cause for cause in ENDINGS if cause not in {"closed", "bye"}])
def test_without_a_word_the_code_decides(cause: str) -> None:
    assert ConnectionEnd(code=ENDINGS[cause].code).reconnect is ENDINGS[cause].reconnect


@pytest.mark.parametrize(
    ("reason", "reconnect"),
    [
        ("pool_full", True),
        ("draining", True),
        ("too_many_connections", True),
        ("rate_limited", True),
        ("unregistered", True),
        ("store_unavailable", True),
        ("bad_credential", False),
        ("account_unknown", False),
        ("banned", False),
        ("not_allowed", False),
        ("extension_missing", False),
        ("duplicate", False),
    ],
)
def test_a_refused_hello_is_repeated_only_when_time_can_help(reason: str, reconnect: bool) -> None:
    end = ConnectionEnd(last={"type": "denied", "request": "hello", "reason": reason, "retry_after_seconds": 3})
    assert (end.reason, end.reconnect, end.retry_after) == (reason, reconnect, 3)


@pytest.mark.parametrize(
    ("code", "reconnect"),
    [
        ("malformed", False),
        ("too_long", False),
        ("hello_expected", False),
        ("unsupported_protocol", False),
        ("too_fast", True),
        ("bad_field", True),
    ],
)
def test_a_broken_client_does_not_come_back(code: str, reconnect: bool) -> None:
    assert ConnectionEnd(last={"type": "error", "code": code, "detail": ""}).reconnect is reconnect


def test_a_refused_join_is_no_reason_to_stay_away() -> None:
    end = ConnectionEnd(last={"type": "denied", "request": "join", "reason": "not_allowed"})
    assert end.reconnect
    assert end.reason == "closed"


@pytest.mark.parametrize(("status", "reconnect"), [(403, False), (404, False), (429, True), (503, True)])
def test_a_refused_upgrade_is_repeated_unless_it_is_our_fault(status: int, reconnect: bool) -> None:
    assert ConnectionEnd(error=ServerProtocolError("refused", status)).reconnect is reconnect


def test_a_cut_line_is_a_reason_to_come_back() -> None:
    end = ConnectionEnd(error=ConnectionResetError(104, "Connection reset by peer"))
    assert end.reconnect
    assert "reset" in end.reason.lower()


def test_messages_are_sent_compact() -> None:
    assert json.loads(LineCodec().encode(json_lines.encode({"type": "bye"}))) == {"type": "bye"}
