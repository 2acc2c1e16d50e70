"""How connections end: the last message, the close code on WebSocket, and the cause that is counted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import House, Serve, until
from tests.rules.said import denied, full, said
from tests.wire_client import Message, WebSocketWire, Wire

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])


async def last_of(wire: Wire, code: int) -> Message:
    """The last message before the gateway closes, which it does with `code` where there are codes."""
    heard = await wire.gone()
    if isinstance(wire, WebSocketWire):
        assert wire.code == code
    return heard[-1] if heard else {}


async def closed(house: House, transport: str) -> dict[str, int]:
    """Connections that ended, by cause, as the door has counted them."""
    listener = house.runtime.tcp if transport == "tcp" else house.runtime.websocket
    return {cause: count for cause, count in listener.closed.items() if count}


def closing(message: Message, reason: str, code: int, *, reconnect: bool) -> Message:
    """Assert a `closing` message, whole."""
    expected = {"type": "closing", "reason": reason, "code": code, "reconnect": reconnect}
    assert {key: value for key, value in message.items() if key != "retry_after_seconds"} == expected
    return message


@BOTH
async def test_bye_is_answered_by_closing_without_a_word(transport: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed(transport)
    await wire.say("bye")
    assert await last_of(wire, 1000) == {}


@BOTH
async def test_silence_ends_in_heartbeat_timeout(transport: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed(transport)
    house.live(75)
    closing(await last_of(wire, 4408), "heartbeat_timeout", 4408, reconnect=True)


@BOTH
async def test_no_hello_in_time_ends_in_hello_timeout(transport: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.connect(transport)
    await until(lambda: len(list(house.runtime.connections())) == 1)
    house.live(5)
    closing(await last_of(wire, 4408), "hello_timeout", 4408, reconnect=True)


@BOTH
async def test_who_is_replaced_shall_not_come_back(transport: str, serve: Serve) -> None:
    house = await serve()
    old = await house.welcomed(transport, account="ann", device="pc")
    await house.welcomed(transport, account="ann", device="pc")
    closing(await last_of(old, 4409), "replaced", 4409, reconnect=False)


@BOTH
async def test_a_kick_closes_for_good_and_frees_the_seat(transport: str, serve: Serve) -> None:
    house = await serve(license__model="epop")
    wire = await house.connect(transport)
    name = (await wire.hello())["session"]
    said(await wire.ask("join", conference="m"), "joined")
    assert (await house.http("DELETE", f"/api/connections/{name}"))[0] == 204
    closing(await last_of(wire, 4503), "kicked", 4503, reconnect=False)
    assert await house.used("concurrent") == 0
    assert (await house.http("DELETE", f"/api/connections/{name}"))[0] == 404


@BOTH
async def test_sessions_of_a_deleted_account_are_closed(transport: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed(transport, account="ann", device="pc")
    assert (await house.http("DELETE", "/api/accounts/ann"))[0] == 204
    closing(await last_of(wire, 4503), "account_deleted", 4503, reconnect=False)


@BOTH
async def test_a_drain_says_when_to_come_back(transport: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.welcomed(transport)
    await house.runtime.drain(0)
    message = closing(await last_of(wire, 1012), "drained", 1012, reconnect=True)
    assert message["retry_after_seconds"] >= 0


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "account_unknown": ({"accounts__mode": "token"}, {"account": "ann"}, 4401),
    "not_allowed": ({}, {"account": "ann", "home": "elsewhere"}, 4403),
    "extension_missing": ({"license__model": "trueconf"}, {"account": "ann", "kind": "sdk"}, 4403),
}


@BOTH
@pytest.mark.parametrize("reason", list(REFUSED))
async def test_a_hello_refused_by_a_rule_is_the_end(transport: str, reason: str, serve: Serve) -> None:
    overrides, hello, code = REFUSED[reason]
    house = await serve(**overrides)
    wire = await house.connect(transport)
    await wire.say("hello", protocol=1, id=1, **hello)
    message = denied(await last_of(wire, code), reason, "hello", id=1)
    assert set(message) == {"type", "id", "request", "reason"}


@BOTH
async def test_a_wrong_token_is_a_bad_credential(transport: str, serve: Serve) -> None:
    house = await serve(accounts__mode="token")
    assert (await house.http("PUT", "/api/accounts/Ann"))[0] == 200
    _, made = await house.http("POST", "/api/accounts/ann/token")
    for token in ({}, {"token": "wrong"}, {"token": "x" * 2000}):
        wire = await house.connect(transport)
        await wire.say("hello", protocol=1, account="ann", **token)
        denied(await last_of(wire, 4401), "bad_credential", "hello")
    said(await (await house.connect(transport)).hello(account="ANN", token=made["token"]), "welcome")
    said(await (await house.connect(transport)).hello(), "welcome")


@BOTH
async def test_a_hello_refused_for_a_full_pool_says_when_to_come_back(transport: str, serve: Serve) -> None:
    house = await serve(license__model="floating", license__floating__limit=1)
    await house.welcomed(transport)
    wire = await house.connect(transport)
    await wire.say("hello", protocol=1)
    message = full(await last_of(wire, 4429), "seats", 1, 1, "hello")
    assert message["retry_after_seconds"] > 0
    assert set(message) == {"type", "request", "reason", "pool", "used", "limit", "retry_after_seconds"}


@BOTH
async def test_a_ban_outlasts_the_kick(transport: str, serve: Serve) -> None:
    house = await serve()
    wires = [await house.welcomed(transport, account="ann", device=device) for device in ("pc", "phone")]
    status, body = await house.http("DELETE", "/api/accounts/Ann/connections?ban=5m")
    assert (status, list(body.values())) == (200, [2])
    for wire in wires:
        closing(await last_of(wire, 4503), "kicked", 4503, reconnect=False)
    again = await house.connect(transport)
    await again.say("hello", protocol=1, account="ann", device="pc")
    message = denied(await last_of(again, 4403), "banned", "hello")
    assert 0 < message["retry_after_seconds"] <= 300
    said(await (await house.connect(transport)).hello(account="bob", device="pc"), "welcome")
    assert (await house.http("DELETE", "/api/bans/ann"))[0] == 204
    said(await (await house.connect(transport)).hello(account="ann", device="pc"), "welcome")


async def test_kicking_an_account_without_connections_kicks_nobody(serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("DELETE", "/api/accounts/nobody/connections")
    assert (status, list(body.values())) == (200, [0])


FAULTS: dict[str, tuple[str, str, int]] = {
    "not JSON": ("hello", "malformed", 4400),
    "a list": ("[]", "malformed", 4400),
    "a key twice": ('{"type":"hello","type":"hello"}', "malformed", 4400),
    "NaN": ('{"type":"hello","protocol":NaN}', "malformed", 4400),
    "too deep": ('{"type":"hello","x":' + "[" * 8 + "]" * 8 + "}", "malformed", 4400),
    "a lone surrogate": ('{"type":"hello","x":"\\ud800"}', "malformed", 4400),
    "a byte order mark": ('\ufeff{"type":"hello"}', "malformed", 4400),
    "another protocol": ('{"type":"hello","protocol":2}', "unsupported_protocol", 4400),
    "no hello": ('{"type":"wake"}', "hello_expected", 4400),
    "too long": ('{"type":"hello","x":"' + "x" * 4096 + '"}', "too_long", 1009),
}


@BOTH
@pytest.mark.parametrize("fault", list(FAULTS))
async def test_a_fault_is_named_before_the_connection_closes(transport: str, fault: str, serve: Serve) -> None:
    text, error, code = FAULTS[fault]
    house = await serve()
    wire = await house.connect(transport)
    await wire.send(text)
    said(await last_of(wire, code), "error", code=error)


@BOTH
async def test_a_message_of_4096_bytes_is_not_too_long(transport: str, serve: Serve) -> None:
    house = await serve()
    wire = await house.connect(transport)
    head = '{"type":"hello","protocol":1,"x":"'
    await wire.send(head + "x" * (4096 - len(head) - 2) + '"}')
    said(await wire.hear(), "welcome")


@BOTH
async def test_who_floods_is_warned_and_then_sent_away(transport: str, serve: Serve) -> None:
    house = await serve(listen__message_rate=1, listen__message_burst=3)
    wire = await house.welcomed(transport)
    for _ in range(10):
        await wire.say("wake")
    heard = [await wire.hear()]
    while heard[-1]["type"] == "awake":
        heard.append(await wire.hear())
    said(heard[-1], "error", code="too_fast")
    for _ in range(10):
        await wire.say("wake")
    said(await last_of(wire, 4429), "error", code="too_fast")


@BOTH
async def test_every_end_is_counted_by_its_cause(transport: str, serve: Serve) -> None:
    house = await serve(license__model="epop")
    for act in ("bye", "drop", "bad"):
        wire = await house.welcomed(transport)
        said(await wire.ask("join", conference=act), "joined")
        if act == "bye":
            await wire.say("bye")
        elif act == "bad":
            await wire.send("{")
        if act == "drop":
            await wire.drop()
        else:
            await wire.gone()
            await wire.close()
    await house.connect(transport)  # a turn of the loop after the last one is gone
    assert await house.used("concurrent") == 0
    counted = await closed(house, transport)
    assert counted["bye"] == 1
    assert counted["protocol_error"] == 1
    assert counted.get("closed", 0) + counted.get("reset", 0) == 1
