"""The operator port: who may ask, in which form it answers, and the API about what is live."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import pytest

from gateway.edge.api import authorization, connections, server
from gateway.licensing import MODELS
from tests.conftest import House, Serve, until
from tests.edge.raw import Peer


async def plain(house: House, text: str) -> str:
    """What a request of these very bytes is answered."""
    async with await Peer.to(house.operator) as client:
        await client.send(text.replace("\n", "\r\n").encode())
        return (await client.rest()).decode()


# -- who may ask ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:4311", "127.0.0.1", "127.8.8.8:80", "[::1]:4311", "[::1]"])
async def test_a_local_name_is_a_host(host: str, serve: Serve) -> None:
    house = await serve()
    assert (await house.http("GET", "/api/license", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[2001:db8::1]:80"]
)
@pytest.mark.parametrize("path", ["/api/license", "/metrics", "/nowhere"])
async def test_another_host_is_another_site_that_found_a_way_here(host: str, path: str, serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("GET", path, headers={"Host": host})
    assert (status, body["error"]) == (403, "foreign_host")


@pytest.mark.parametrize("name", authorization.FORWARDED)
async def test_through_a_proxy_a_token_is_required(name: str, serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("GET", "/api/connections", headers={name: "for=203.0.113.7"})
    assert (status, body["error"]) == (401, "token_required")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_other_sites_may_not_ask(headers: dict[str, str], serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("DELETE", "/api/accounts/ann/connections", headers=headers)
    assert (status, body["error"]) == (403, "cross_site")


async def test_the_same_site_may_ask(serve: Serve) -> None:
    house = await serve()
    headers = {"Origin": house.url, "Sec-Fetch-Site": "same-origin"}
    assert (await house.http("GET", "/api/license", headers=headers))[0] == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health_is_told_to_everybody(path: str, serve: Serve) -> None:
    house = await serve()
    headers = {"Host": "gateway.example", "X-Forwarded-For": "203.0.113.7"}
    assert (await house.http("GET", path, headers=headers))[0] == 200


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/nothing", 404, "not_found"),
        ("POST", "/api/license", 405, "method_not_allowed"),
        ("DELETE", "/metrics", 405, "method_not_allowed"),
        ("DELETE", "/api/connections/s-none", 404, "no_such_session"),
        ("DELETE", "/api/connections/s-0-1", 404, "no_such_session"),
        ("DELETE", "/api/connections/%C3%A9", 404, "no_such_session"),
        ("DELETE", "/api/conferences/none", 404, "no_such_conference"),
        ("DELETE", "/api/conferences/a%20b", 422, "bad_field"),
        ("DELETE", "/api/accounts/a%20b/connections", 422, "bad_field"),
        ("GET", "/api/connections?limit=0", 422, "bad_field"),
        ("GET", "/api/connections?limit=1001", 422, "bad_field"),
        ("GET", "/api/connections?limit=000001000999999", 422, "bad_field"),
        ("GET", "/api/connections?limit=-1", 422, "bad_field"),
        ("GET", "/api/connections?limit=x", 422, "bad_field"),
        ("GET", "/api/connections?limit=%D9%A1", 422, "bad_field"),
        ("GET", f"/api/connections?limit={'1' * 5000}", 422, "bad_field"),
        ("GET", "/api/connections?cursor=x", 422, "bad_field"),
        ("DELETE", "/api/accounts/ann/connections?ban=soon", 422, "bad_field"),
    ],
)
async def test_every_error_is_json(method: str, path: str, status: int, code: str, serve: Serve) -> None:
    house = await serve()
    got, body = await house.http(method, path)
    assert (got, body["error"]) == (status, code)
    assert body.keys() == {"error", "detail"}
    assert isinstance(body["detail"], str)


async def test_a_method_that_is_not_allowed_says_which_is(serve: Serve) -> None:
    house = await serve()
    answer = await plain(house, "POST /api/license HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: 0\n\n")
    assert re.search(r"^Allow: GET,HEAD\r$", answer, re.MULTILINE)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"{}", "text/plain", 400),
        (b"[]", "application/json", 422),
        (b'{"colour":"red"}', "application/json", 422),
        (b'{"access":"open"}', "application/json", 422),
        (b'{"access":null}', "application/json", 422),
        (b'{"mode":"chat"}', "application/json", 422),
        (b'{"scheduled":1}', "application/json", 422),
        (b'{"server":"no spaces"}', "application/json", 422),
        (b"x" * ((1 << 20) + 1), "application/json", 413),
    ],
)
async def test_a_bad_body_is_refused(body: bytes, kind: str, status: int, serve: Serve) -> None:
    house = await serve()
    got, told = await house.http("PUT", "/api/conferences/c", data=io.BytesIO(body), headers={"Content-Type": kind})
    assert got == status
    assert told.keys() == {"error", "detail"}
    assert (await house.http("GET", "/api/conferences"))[1]["items"] == []


async def test_a_body_that_does_not_come_is_a_timeout(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_DEADLINE", 0.1)
    house = await serve()
    head = "PUT /api/conferences/c HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 9\n\n{"
    async with await Peer.to(house.operator) as client:
        await client.send(head.replace("\n", "\r\n").encode())
        async with asyncio.timeout(5):
            line = await client.reader.readline()
        assert line.startswith(b"HTTP/1.1 408 ")


async def test_a_fault_of_ours_is_500_and_in_the_log(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = await serve()
    await house.welcomed(account="ann")
    with monkeypatch.context() as broken:
        broken.setattr(house.runtime, "kick", None)
        status, body = await house.http("DELETE", "/api/accounts/ann/connections")
    assert (status, body["error"]) == (500, "internal")
    assert "DELETE /api/accounts/ann/connections failed" in caplog.text


# -- the license ---------------------------------------------------------------------------------------------------


async def test_the_license_lists_every_model_with_its_pools(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=2)
    wire = await house.welcomed(account="ann")
    await wire.ask("join", conference="c")
    status, license = await house.http("GET", "/api/license")
    assert status == 200
    assert (license["model"], license["edition"], license["enforce"]) == ("trueconf", "server", True)
    assert license["models"].keys() == license["titles"].keys() == MODELS.keys()
    assert license["titles"]["epop"] == {"title": "e/pop", "pools": {"concurrent": "Concurrent users"}}
    trueconf = license["models"]["trueconf"]["pools"]
    assert trueconf.keys() == {"online", "pro", "guest", "gateway"}
    assert trueconf["pro"] == {
        "used": 1,
        "limit": 2,
        "available": 1,
        "reserved": 0,
        "overdraft_used": 0,
        "high_water": 1,
        "denied": 0,
    }
    seats = license["models"]["floating"]["pools"]["seats"]
    assert (seats["used"], seats["limit"], seats["available"]) == (1, None, None)


# -- connections ---------------------------------------------------------------------------------------------------


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
            await until(lambda: len(house.runtime.admission.sessions) == 248)
    assert [len(page) for page in pages] == [100, 100, 50]
    assert len({each for page in pages for each in page}) == 250
    _, count = await house.http("GET", "/api/connections/count")
    assert count == {"count": 248}


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
        assert (await house.http("GET", f"/api/connections/count?{query}"))[1] == {"count": count}, query
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
    monkeypatch.setattr(connections, "PIECE", 2)
    house = await serve()
    for number in range(5):
        await house.welcomed(account=f"user{number}")
    assert (await house.http("GET", "/api/connections/count?q=user"))[1] == {"count": 5}
    _, listed = await house.http("GET", "/api/connections?q=user&limit=3")
    assert [item["account"] for item in listed["items"]] == ["user0", "user1", "user2"]


async def test_conferences_are_searched_by_id(serve: Serve) -> None:
    house = await serve()
    for id in ("Weekly", "daily", "week-end"):
        assert (await house.http("PUT", f"/api/conferences/{id}"))[0] == 200
    _, listed = await house.http("GET", "/api/conferences?q=WEEK")
    assert [item["id"] for item in listed["items"]] == ["Weekly", "week-end"]
    _, second = await house.http("GET", "/api/conferences?q=week&offset=1")
    assert [item["id"] for item in second["items"]] == ["week-end"]


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


# -- conferences ---------------------------------------------------------------------------------------------------


async def test_a_conference_is_declared_joined_shown_and_ended(serve: Serve) -> None:
    house = await serve()
    told = {"access": "public", "mode": "group", "scheduled": True, "server": "Other.example"}
    status, shown = await house.http("PUT", "/api/conferences/weekly", json=told)
    expected: dict[str, Any] = {
        "id": "weekly",
        "state": "scheduled",
        "access": "public",
        "mode": "group",
        "server": "other.example",
        "declared": True,
        "hosts": [],
        "members": 0,
    }
    assert (status, shown) == (200, expected)
    assert (await house.http("GET", "/api/conferences"))[1]["items"] == [expected]
    wire = await house.connect()
    session = (await wire.hello())["session"]
    assert (await wire.ask("join", conference="weekly", access="internal", host=True))["type"] == "waiting"
    status, fault = await house.http("PUT", "/api/conferences/weekly", json={})
    assert (status, fault["error"]) == (409, "conference_under_way")
    assert (await wire.ask("start", conference="weekly"))["type"] == "started"
    (live,) = (await house.http("GET", "/api/conferences"))[1]["items"]
    assert live == expected | {"state": "live", "hosts": [session], "members": 1}
    assert await house.http("DELETE", "/api/conferences/weekly") == (204, "")
    heard = [await wire.hear(), await wire.hear()]
    assert (heard[1]["type"], heard[1]["reason"], heard[1]["seats"]) == ("removed", "conference_ended", [])
    assert (await house.http("GET", "/api/conferences"))[1] == {"items": [], "next": None}
    assert (await house.http("DELETE", "/api/conferences/weekly"))[0] == 404


async def test_where_only_declared_conferences_are_open_others_are_not(serve: Serve) -> None:
    house = await serve(conferences__declared_only="true")
    wire = await house.welcomed()
    assert (await wire.ask("join", conference="wild"))["reason"] == "no_such_conference"
    await house.http("PUT", "/api/conferences/wild")
    assert (await wire.ask("join", conference="wild"))["type"] == "joined"


async def test_conferences_are_paged_in_order(serve: Serve) -> None:
    house = await serve()
    for name in ("c", "a", "b"):
        await house.http("PUT", f"/api/conferences/{name}")
    _, first = await house.http("GET", "/api/conferences?limit=2")
    _, last = await house.http("GET", f"/api/conferences?limit=2&cursor={first['next']}")
    assert [each["id"] for each in (*first["items"], *last["items"])] == ["a", "b", "c"]
    assert last["next"] is None
