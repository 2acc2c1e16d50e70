"""Seeing the messages of a connection as they are on the wire, for whoever looks for a fault.

A `TracedCodec` stands in the place of another codec and tells each message that passes, heartbeats too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

from gateway.client_connection import Codec, ServerProtocolError

Direction = Literal["sent", "received"]
Trace = Callable[[Direction, str], None]
"""Is told a message: which way it goes, and its text without a line end. It must not raise."""

HIDDEN = "..."
"""What stands for a token in the text that is told."""


class TracedCodec:
    """A codec that tells `trace` every message; a token that is sent is left out of what it tells."""

    ack = b""
    """No bytes: an `ack` is read like any other message, so that it is told."""

    def __init__(self, codec: Codec, trace: Trace) -> None:
        self._codec = codec
        self._trace = trace

    @property
    def ready(self) -> bool:
        """Whether messages may be sent."""
        return self._codec.ready

    @property
    def code(self) -> int | None:
        """The close code of the other side."""
        return self._codec.code

    @property
    def fault(self) -> ServerProtocolError | None:
        """What the other side did against the protocol."""
        return self._codec.fault

    def opening(self) -> bytes:
        """Return what is sent before anything else."""
        return self._codec.opening()

    def encode(self, text: bytes) -> bytes:
        """Tell one message, and make it ready for the wire."""
        self._trace("sent", _without_token(text))
        return self._codec.encode(text)

    def feed(self, data: bytes) -> list[bytes]:
        """Tell the messages that are complete now, and return them."""
        texts = self._codec.feed(data)
        for text in texts:
            self._trace("received", text.decode(errors="backslashreplace"))
        return texts

    def replies(self) -> bytes:
        """Return what the transport itself has to say."""
        return self._codec.replies()

    def farewell(self) -> bytes:
        """Return what is sent before the connection is closed from this side."""
        return self._codec.farewell()


def _without_token(text: bytes) -> str:
    message = json.loads(text)
    if "token" not in message:
        return text.decode()
    return json.dumps(message | {"token": HIDDEN}, separators=(",", ":"))
