"""Bans, over both transports: of an account, of an address, of a network; at the door and inside."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.conftest import Serve

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])


@BOTH
@pytest.mark.parametrize("subject", ["127.0.1.0/24", "::ffff:127.0.1.0/120", "127.0.1.7"])
async def test_a_ban_of_a_network_or_an_address_binds_users_and_guests_inside_and_at_the_door(
    subject: str, transport: str, serve: Serve
) -> None:
    house = await serve()
    inside = [await house.connect(transport, "127.0.1.7") for _ in range(2)]
    assert (await inside[0].hello(account="ann"))["type"] == "welcome"
    assert (await inside[1].hello())["type"] == "welcome"
    other = await house.connect(transport, "127.0.2.7")
    assert (await other.hello(account="bob"))["type"] == "welcome"
    status, made = await house.http("PUT", f"/api/bans/{quote(subject, safe='')}", json={"for": "5m"})
    assert (status, made["kicked"]) == (200, 2)
    assert made["kind"] == ("network" if "/" in subject else "address")
    for wire in inside:
        last = (await wire.gone())[-1]
        assert (last["type"], last["reason"], last["reconnect"]) == ("closing", "kicked", False)
    for facts in ({"account": "ann"}, {"account": "cid"}, {}, {"kind": "console"}):
        denied = await (await house.connect(transport, "127.0.1.7")).hello(**facts)
        assert (denied["type"], denied["reason"]) == ("denied", "banned")
        assert 290 < denied["retry_after_seconds"] <= 300
    assert (await other.ask("heartbeat"))["type"] == "ack"
    assert (await (await house.connect(transport, "127.0.2.8")).hello())["type"] == "welcome"
    _, bans = await house.http("GET", "/api/bans")
    assert [each["subject"] for each in bans["items"]] == [made["subject"]]
    assert (await house.http("DELETE", f"/api/bans/{quote(subject, safe='')}"))[0] == 204
    assert (await (await house.connect(transport, "127.0.1.7")).hello(account="ann"))["type"] == "welcome"


@BOTH
async def test_a_ban_of_an_account_closes_its_sessions_and_no_namesakes(transport: str, serve: Serve) -> None:
    house = await serve(federation__homes=["partner.example"])
    wires = [await house.connect(transport) for _ in range(3)]
    homes: tuple[dict[str, str], ...] = ({}, {"home": "partner.example"}, {"home": "partner.example", "device": "pc"})
    for wire, home in zip(wires, homes, strict=True):
        assert (await wire.hello(account="ann", **home))["type"] == "welcome"
    assert (await house.http("PUT", "/api/bans/Ann?home=Partner.Example", json={"for": "5m"}))[1]["kicked"] == 2
    for wire in wires[1:]:
        assert (await wire.gone())[-1]["reason"] == "kicked"
    assert (await wires[0].ask("heartbeat"))["type"] == "ack"
    denied = await (await house.connect(transport)).hello(account="ann", home="partner.example")
    assert denied["reason"] == "banned"
    assert (await house.http("DELETE", "/api/bans/ann"))[0] == 404
    assert (await house.http("DELETE", "/api/bans/ann?home=partner.example"))[0] == 204


async def test_a_guest_that_was_kicked_is_let_in_again_by_its_address(serve: Serve) -> None:
    house = await serve()
    wire = await house.connect("tcp", "127.0.1.7")
    session = (await wire.hello())["session"]
    await house.http("DELETE", f"/api/connections/{session}?ban=5m")
    assert (await (await house.connect("tcp", "127.0.1.7")).hello(account="ann"))["type"] == "welcome"
    assert (await house.http("GET", "/api/bans/127.0.1.7"))[1]["kind"] == "guests"
    assert (await house.http("DELETE", "/api/bans/127.0.1.7"))[0] == 204
    assert (await (await house.connect("tcp", "127.0.1.7")).hello())["type"] == "welcome"


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        ("192.0.2.0/33", 422),
        ("192.0.2.7/24", 422),
        ("192.0.2.300", 422),
        (" ann", 422),
        ("192.0.2.0/24?kind=address", 409),
        ("ann?kind=network", 409),
        ("ann?kind=group", 422),
    ],
)
async def test_what_is_nobody_is_not_banned(subject: str, status: int, serve: Serve) -> None:
    house = await serve()
    text, mark, query = subject.partition("?")
    found, told = await house.http("PUT", f"/api/bans/{quote(text, safe='')}{mark}{query}", json={"for": "5m"})
    assert found == status, told
    assert not list(house.runtime.state.directory.bans)
