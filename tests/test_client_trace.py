"""A client whose messages are told as they are on the wire."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.client import Client, Transport
from gateway.client_trace import HIDDEN
from tests.conftest import Serve

TOKEN = "t-secret"  # noqa: S105 - of nobody


@pytest.mark.parametrize("transport", ["tcp", "websocket"])
async def test_every_message_is_told_in_its_order_and_no_token_with_it(serve: Serve, transport: Transport) -> None:
    house = await serve()
    told: list[tuple[str, str]] = []
    acked = asyncio.Event()

    def trace(way: str, text: str) -> None:
        told.append((way, text))
        if text == '{"type":"ack"}':
            acked.set()

    port = house.tcp if transport == "tcp" else house.websocket
    options = {"account": "ann", "token": TOKEN, "heartbeat": 0.01}
    async with Client("127.0.0.1", port, transport=transport, trace=trace, **options) as client:  # type: ignore[arg-type]
        await client.join("weekly")
        await asyncio.wait_for(acked.wait(), 10)
    said = [(way, json.loads(text)["type"]) for way, text in told]
    assert said[:2] == [("sent", "hello"), ("received", "welcome")]
    assert {("sent", "join"), ("received", "joined"), ("sent", "heartbeat"), ("received", "ack")} <= set(said)
    after_bye = said[said.index(("sent", "bye")) + 1 :]
    assert set(after_bye) <= {("sent", "heartbeat"), ("received", "ack")}, "it beats until the gateway has closed"
    assert json.loads(told[0][1])["token"] == HIDDEN
    assert not any(TOKEN in text for _, text in told)
    assert client.latency is not None
