"""The peer aiohttp: its WebSocket handler, no compression, acknowledging heartbeats like the floor."""

import asyncio

from aiohttp import WSMsgType, web

from ..control import answer_until_closed
from ..floor import ACK, BEAT, WELCOME

connections: set[web.WebSocketResponse] = set()


async def handler(request: web.Request) -> web.WebSocketResponse:
    """Serve one client until it closes."""
    socket = web.WebSocketResponse(compress=False, max_msg_size=4096, protocols=("tallygate.v1",))
    await socket.prepare(request)
    connections.add(socket)
    beat, ack, welcome = BEAT.decode().strip(), ACK.decode().strip(), WELCOME.decode().strip()
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(ack if message.data == beat else welcome)
    finally:
        connections.discard(socket)
    return socket


async def serve() -> None:
    """Serve on a free loopback port until stdin ends."""
    app = web.Application()
    app.router.add_get("/ws", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    await answer_until_closed(runner.addresses[0][1], lambda: len(connections))


asyncio.run(serve())
