"""Names as people write them, over both transports: accepted, kept in one form, told apart by account and home."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.conftest import Serve

FAR = {"federation__homes": ["partner.example"], "license__nefsis-named__hosts": 1}
BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])


@BOTH
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("o'brien@ex.ie", "O'BRIEN@EX.IE"),
        ("jörg@ex.de", "JO\u0308RG@ex.de"),
        ("DOMAIN\\user", "domain\\USER"),
        ("a&b@x.de", "A&B@x.de"),
        ("Ann Müller", "ANN MÜLLER"),
        ("team/ann", "Team/Ann"),
        ("Straße", "STRASSE"),
        ("אנה", "אנה"),
    ],
)
async def test_an_account_is_the_same_however_it_is_written(one: str, other: str, transport: str, serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    first, second = await house.connect(transport), await house.connect(transport)
    assert (await first.hello(account=one, device="Büro 1"))["type"] == "welcome"
    assert (await second.hello(account=other, device="Büro 2"))["type"] == "welcome"
    for wire in (first, second):
        assert (await wire.ask("join", conference="Wöchentlich: Vertrieb & Co."))["type"] == "joined"
    _, license = await house.http("GET", "/api/license")
    pools = license["models"]["trueconf"]["pools"]
    assert (pools["pro"]["used"], pools["online"]["used"]) == (1, 2)
    _, found = await house.http("GET", f"/api/connections?account={quote(other)}")
    assert len({each["account"] for each in found["items"]}) == 1
    assert len(found["items"]) == 2
    path = f"/api/accounts/{quote(other, safe='')}/connections"
    assert await house.http("DELETE", path) == (200, {"kicked": 2})
    assert (await first.gone())[-1]["reason"] == "kicked"


@BOTH
@pytest.mark.parametrize(
    "account", ["ann\u202e", "a\u200db", "a\ue000", " ann", "ann ", "..", "a\u0378", "x" * 129, "ß" * 65]
)
async def test_what_is_no_name_is_a_bad_field_and_the_connection_stays(
    account: str, transport: str, serve: Serve
) -> None:
    house = await serve()
    wire = await house.connect(transport)
    error = await wire.ask("hello", protocol=1, account=account)
    assert (error["type"], error["code"]) == ("error", "bad_field")
    assert error["detail"].startswith("account: expected a name of 1-128 printable characters")
    assert (await wire.hello(account="ann"))["type"] == "welcome"


async def test_no_account_of_this_server_is_one_of_another_by_its_name(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named", **FAR)
    guest = await house.connect()
    assert (await guest.hello(account="ann", home="Partner.Example"))["type"] == "welcome"
    assert (await guest.ask("join", conference="a", host=True))["type"] == "joined"
    local = await house.welcomed(account="ann/partner.example")
    denied = await local.ask("join", conference="b", host=True)
    assert (denied["type"], denied["reason"]) == ("denied", "pool_full")
    own = await house.welcomed(account="ann")
    _, hosts = await house.http("GET", "/api/hosts")
    assert [(each["account"], each["home"]) for each in hosts["items"]] == [("ann", "partner.example")]
    for query, number in (
        ("account=ann", 1),
        ("account=ann&home=partner.example", 1),
        ("account=ann%2Fpartner.example", 1),
        ("home=partner.example", 1),
    ):
        counted = {"count": number, "asleep": 0, "idle": 0}
        assert await house.http("GET", f"/api/connections/count?{query}") == (200, counted)
    assert (await house.http("DELETE", "/api/hosts/ann"))[0] == 404
    assert (await house.http("DELETE", "/api/hosts/ann%2Fpartner.example"))[0] == 404
    assert (await house.http("DELETE", "/api/hosts/ann?home=partner.example"))[0] == 204
    assert await house.http("DELETE", "/api/accounts/ann/connections?home=partner.example") == (200, {"kicked": 1})
    assert (await guest.gone())[-1]["reason"] == "kicked"
    for wire in (local, own):
        assert (await wire.ask("heartbeat"))["type"] == "ack"
    _, audit = await house.http("GET", "/api/audit")
    kicked = next(each for each in audit["items"] if each["action"] == "account.kicked")
    assert (kicked["subject"], kicked["detail"]) == ("ann", {"home": "partner.example", "sessions": 1})


@pytest.mark.parametrize("account", ["50%", "a%2Fb", "a/../b", "a?b#c", "<b>&\"'", "a+b c"])
async def test_whatever_a_name_has_it_stands_in_a_path(account: str, serve: Serve) -> None:
    house = await serve()
    path = f"/api/accounts/{quote(account, safe='')}"
    assert (await house.http("PUT", path))[1]["account"] == account.lower()
    assert (await house.http("GET", path))[1]["account"] == account.lower()
    _, listed = await house.http("GET", "/api/accounts")
    assert [each["account"] for each in listed["items"]] == [account.lower()]
    assert (await house.http("DELETE", path))[0] == 204


async def test_a_path_that_is_not_utf_8_names_nobody(serve: Serve) -> None:
    house = await serve()
    status, told = await house.http("PUT", "/api/accounts/j%F6rg")
    assert (status, told["detail"]) == (422, "account: expected UTF-8")
