"""The bare floor: an `asyncio.Protocol` that acknowledges a literal heartbeat line, and nothing else.

It counts nothing per client, parses nothing, has no deadline and no limit: no gateway on the stock event loop that
answers its clients at all can cost less. The first line of a client, or any other, gets a constant welcome, so that
connecting can be compared too. `--backlog` is asyncio's: the kernel's queue and the accepts in one turn of the loop.
"""

import argparse
import asyncio
from typing import ClassVar

from .control import answer_until_closed

BEAT = b'{"type":"heartbeat"}\n'
ACK = b'{"type":"ack"}\n'
WELCOME = (
    b'{"type":"welcome","session":"s-5f0c2a9b7d1e4f60","resume":"r-91c7d2e8a4b05f36c1d9e7a2b4f80356",'
    b'"heartbeat_seconds":30,"timeout_seconds":75,"model":"epop","seats":[]}\n'
)


class Floor(asyncio.Protocol):
    """One connection; the class counts how many are open."""

    __slots__ = ("transport",)
    open: ClassVar[int] = 0
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # asyncio hands a stream transport to a stream server
        Floor.open += 1

    def data_received(self, data: bytes) -> None:
        self.transport.write(ACK if data == BEAT else WELCOME)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the signature is asyncio's
        Floor.open -= 1


async def serve(backlog: int) -> None:
    """Serve on a free loopback port until stdin ends."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", 0, backlog=backlog)
    await answer_until_closed(server.sockets[0].getsockname()[1], lambda: Floor.open)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=100)
    asyncio.run(serve(parser.parse_args().backlog))
