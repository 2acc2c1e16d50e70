"""The API about connections: the list, its filters and pages, kicks."""

from __future__ import annotations

import re

import pytest

from gateway.edge.api import connection_filters
from gateway.edge.server.ticker import TICK
from tests.conftest import Serve, until


async def test_a_connection_is_shown_with_what_it_is_and_holds(serve: Serve) -> None:
    house = await serve()
    wire = await house.connect("tcp", "127.0.0.5")
    welcome = await wire.hello(client="demo/1", kind="room", account="Ann@Example.org", device="laptop")
    await wire.ask("join", conference="weekly")
    _, listed = await house.http("GET", "/api/connections")
    (item,) = listed["items"]
    assert listed["next"] is None
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").fullmatch
    assert stamp(item.pop("since"))
    assert stamp(item.pop("last_heard"))
    assert item == {
        "id": welcome["session"],
        "transport": "tcp",
        "address": "127.0.0.5",
        "kind": "room",
        "account": "ann@example.org",
        "home": None,
        "device": "laptop",
        "client": "demo/1",
        "presence": "awake",
        "active": None,
        "unused_seconds": None,
        "idle_seconds": 0.0,
        "connected": True,
        "conferences": ["weekly"],
        "seats": ["concurrent"],
    }


async def test_paging_gives_everybody_exactly_once_though_people_come_and_go(serve: Serve) -> None:
    house = await serve(listen__message_burst=1000)
    wires = [await house.welcomed() for _ in range(250)]
    pages: list[list[str]] = []
    cursor = ""
    while True:
        _, listed = await house.http("GET", f"/api/connections?limit=100{cursor}")
        pages.append([each["id"] for each in listed["items"]])
        if listed["next"] is None:
            break
        cursor = f"&cursor={listed['next']}"
        if len(pages) == 1:  # who was shown goes; so the next page must not begin by counting
            await wires[99].close()
            await wires[0].close()
            await until(lambda: len(house.runtime.state.sessions) == 248)
    assert [len(page) for page in pages] == [100, 100, 50]
    assert len({each for page in pages for each in page}) == 250
    _, count = await house.http("GET", "/api/connections/count")
    assert count == {"count": 248, "asleep": 0, "idle": 0}


async def test_a_full_last_page_has_no_next(serve: Serve) -> None:
    house = await serve()
    for _ in range(4):
        await house.welcomed()
    _, first = await house.http("GET", "/api/connections?limit=2")
    _, last = await house.http("GET", f"/api/connections?limit=2&cursor={first['next']}")
    assert len(last["items"]) == 2
    assert last["next"] is None


async def test_filters_narrow_the_list_and_the_count(serve: Serve) -> None:
    house = await serve()
    ann = await house.welcomed("tcp", "127.0.0.2", account="ann", device="laptop")
    await house.welcomed("tcp", "127.0.0.3", account="ann", device="phone", kind="room")
    guest = await house.welcomed("websocket")
    await ann.ask("join", conference="a")
    await guest.ask("join", conference="b")
    await guest.ask("join", conference="a")
    counts = {
        "account=ANN": 2,
        "account=ann&device=phone": 1,
        "device=laptop": 1,
        "address=127.0.0.2": 1,
        "kind=room": 1,
        "conference=a": 2,
        "conference=b": 1,
        "conference=none": 0,
        "account=nobody": 0,
        "q=AN": 2,
        "q=phone": 1,
        "q=oo": 1,
        "q=127.0.0.3": 1,
        "q=an&kind=room": 1,
        "q=nobody": 0,
        "account=ann&conference=a": 1,
        "": 3,
    }
    for query, count in counts.items():
        assert (await house.http("GET", f"/api/connections/count?{query}"))[1]["count"] == count, query
        _, listed = await house.http("GET", f"/api/connections?{query}&limit=1")
        assert (len(listed["items"]), listed["next"] is not None) == (min(count, 1), count > 1), query


async def test_a_kick_closes_the_connection_and_frees_its_seats(serve: Serve) -> None:
    house = await serve()
    wire = await house.connect("websocket")
    session = (await wire.hello(account="ann"))["session"]
    await wire.ask("join", conference="c")
    assert await house.http("DELETE", f"/api/connections/{session}") == (204, "")
    assert await house.used("concurrent") == 0
    (closing,) = await wire.gone()
    assert (closing["reason"], closing["code"], closing["reconnect"]) == ("kicked", 4503, False)
    assert (await house.http("DELETE", f"/api/connections/{session}"))[0] == 404
    assert (await (await house.connect()).hello(account="ann"))["type"] == "welcome"


async def test_a_page_may_begin_anywhere(serve: Serve) -> None:
    house = await serve()
    for number in range(5):
        await house.welcomed(account=f"user{number}")
    _, listed = await house.http("GET", "/api/connections?q=user&offset=3&limit=1")
    assert [item["account"] for item in listed["items"]] == ["user3"]
    _, rest = await house.http("GET", f"/api/connections?q=user&cursor={listed['next']}")
    assert [item["account"] for item in rest["items"]] == ["user4"]
    assert (await house.http("GET", "/api/connections?offset=5"))[1] == {"items": [], "next": None}
    for offset in ("-1", "x", "", "10000000"):
        assert (await house.http("GET", f"/api/connections?offset={offset}"))[0] == 422


async def test_a_search_goes_through_more_than_one_piece(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_filters, "PIECE", 2)
    house = await serve()
    for number in range(5):
        await house.welcomed(account=f"user{number}")
    assert (await house.http("GET", "/api/connections/count?q=user"))[1]["count"] == 5
    _, listed = await house.http("GET", "/api/connections?q=user&limit=3")
    assert [item["account"] for item in listed["items"]] == ["user0", "user1", "user2"]


async def test_a_kick_with_a_ban_keeps_the_account_out_until_it_is_over_or_lifted(serve: Serve) -> None:
    house = await serve()
    wire = await house.connect()
    session = (await wire.hello(account="ann"))["session"]
    assert (await house.http("DELETE", f"/api/connections/{session}?ban=5m"))[0] == 204
    refused = await house.connect("websocket")
    denied = await refused.hello(account="ANN")
    assert (denied["reason"], denied["retry_after_seconds"] > 290) == ("banned", True)
    await house.welcomed(account="bob")
    _, bans = await house.http("GET", "/api/bans")
    assert [ban["subject"] for ban in bans["items"]] == ["ann"]
    assert (await house.http("GET", "/api/bans/Ann"))[1] == bans["items"][0]
    assert await house.http("DELETE", "/api/bans/ANN") == (204, "")
    assert (await house.http("GET", "/api/bans/ann"))[1]["error"] == "no_such_ban"
    assert (await house.http("DELETE", "/api/bans/ann"))[1]["error"] == "no_such_ban"
    await house.welcomed(account="ann")


async def test_the_ban_of_a_guest_is_that_of_an_address(serve: Serve) -> None:
    house = await serve()
    wire = await house.connect("tcp", "127.0.0.6")
    session = (await wire.hello())["session"]
    assert (await house.http("DELETE", f"/api/connections/{session}?ban=5m"))[0] == 204
    assert (await (await house.connect("tcp", "127.0.0.6")).hello())["reason"] == "banned"
    assert (await (await house.connect("tcp", "127.0.0.7")).hello())["type"] == "welcome"


async def test_all_connections_of_an_account_are_kicked_at_once(serve: Serve) -> None:
    house = await serve()
    wires = [await house.welcomed(account="ann", device=f"d{number}") for number in range(3)]
    other = await house.welcomed(account="bob")
    assert await house.http("DELETE", "/api/accounts/Ann/connections?ban=1m") == (200, {"kicked": 3})
    assert [(await wire.gone())[-1]["reason"] for wire in wires] == ["kicked"] * 3
    assert (await other.ask("heartbeat"))["type"] == "ack"
    assert await house.http("DELETE", "/api/accounts/ann/connections") == (200, {"kicked": 0})
    assert (await (await house.connect()).hello(account="ann"))["reason"] == "banned"


@pytest.mark.parametrize("written", ["::ffff:127.0.0.5", "::FFFF:7f00:5", "0:0:0:0:0:ffff:127.0.0.5"])
async def test_an_address_is_one_however_an_operator_writes_it(written: str, serve: Serve) -> None:
    house = await serve()
    guest = await house.connect("tcp", "127.0.0.5")
    assert (await guest.hello())["type"] == "welcome"
    for address, count in ((written, 1), ("localhost", 0)):
        status, counted = await house.http("GET", f"/api/connections/count?address={address}")
        assert (status, counted["count"]) == (200, count)
    _, ban = await house.http("PUT", f"/api/bans/{written}", json={"for": "5m"})
    assert ban["subject"] == "127.0.0.5"
    denied = await (await house.connect("tcp", "127.0.0.5")).hello()
    assert (denied["type"], denied["reason"]) == ("denied", "banned")
    assert await house.http("DELETE", f"/api/bans/{written}") == (204, "")
    assert (await (await house.connect("tcp", "127.0.0.5")).hello())["type"] == "welcome"


async def test_connections_are_filtered_by_seat_presence_and_idleness(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=5, license__trueconf__online=9)
    ann, bob, _ = [await house.welcomed(account=name, device="laptop") for name in ("ann", "bob", "cid")]
    await ann.ask("join", conference="weekly")
    await bob.ask("sleep")

    async def names(query: str) -> list[str]:
        _, told = await house.http("GET", f"/api/connections?{query}")
        _, count = await house.http("GET", f"/api/connections/count?{query}")
        assert count["count"] == len(told["items"])
        return [item["account"] for item in told["items"]]

    assert await names("pool=pro") == ["ann"]
    assert await names("pool=online") == ["ann", "cid"]
    assert await names("presence=asleep") == ["bob"]
    assert await names("presence=awake&pool=online") == ["ann", "cid"]
    assert await names("idle=1h") == []
    house.runtime.timer_wheel.tick += round(3600 / TICK)
    assert await names("idle=1h") == ["bob", "cid"]
    for wrong in ("idle=soon", "presence=away"):
        for path in ("/api/connections", "/api/connections/count"):
            assert (await house.http("GET", f"{path}?{wrong}"))[0] == 422


async def test_connections_are_sorted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_filters, "PIECE", 2)  # so that pieces are merged
    house = await serve(license__model="floating")
    for account, kind in (("cid", "app"), ("ann", "tv"), ("bob", "room"), ("dan", "app"), ("eve", "kiosk")):
        await house.welcomed(account=account, kind=kind)
    numbers = {each.session.account: each for each in house.runtime.connections() if each.session is not None}
    numbers["bob"].last_asked_tick -= 50
    numbers["eve"].last_asked_tick -= 20

    async def names(order: str, rest: str = "") -> list[str]:
        _, told = await house.http("GET", f"/api/connections?sort={order}{rest}")
        return [item["account"] for item in told["items"]]

    assert await names("since") == ["cid", "ann", "bob", "dan", "eve"]
    assert await names("-since") == ["eve", "dan", "bob", "ann", "cid"]
    assert await names("account") == ["ann", "bob", "cid", "dan", "eve"]
    assert await names("-account", "&offset=1&limit=2") == ["dan", "cid"]
    assert (await names("-idle"))[:2] == ["bob", "eve"]
    assert await names("kind") == ["cid", "dan", "eve", "bob", "ann"]
    _, page = await house.http("GET", "/api/connections?sort=account&limit=2")
    assert page["next"] is not None
    _, last = await house.http("GET", "/api/connections?sort=account&limit=2&offset=4")
    assert last["next"] is None
    for query in ("sort=size", f"sort=account&cursor={page['next']}"):
        assert (await house.http("GET", f"/api/connections?{query}"))[0] == 422
