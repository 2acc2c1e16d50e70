"""The peer `websockets`: its asyncio server, no compression, no keepalive pings, acknowledging like the floor."""

import asyncio
import contextlib

from websockets.asyncio.server import ServerConnection, serve  # type: ignore[import-not-found]  # lives in its own venv
from websockets.exceptions import ConnectionClosed  # type: ignore[import-not-found]
from websockets.typing import Subprotocol  # type: ignore[import-not-found]

from ..control import answer_until_closed
from ..floor import ACK, BEAT, WELCOME

connections: set[ServerConnection] = set()


async def handler(socket: ServerConnection) -> None:
    """Serve one client until it closes."""
    connections.add(socket)
    beat, ack, welcome = BEAT.decode().strip(), ACK.decode().strip(), WELCOME.decode().strip()
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            await socket.send(ack if message == beat else welcome)
    connections.discard(socket)


async def main() -> None:
    """Serve on a free loopback port until stdin ends."""
    server = await serve(
        handler, "127.0.0.1", 0, backlog=4096, compression=None, ping_interval=None, max_size=4096,
        subprotocols=[Subprotocol("tallygate.v1")],
    )  # fmt: skip
    await answer_until_closed(next(iter(server.sockets)).getsockname()[1], lambda: len(connections))


asyncio.run(main())
