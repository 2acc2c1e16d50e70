"""An account at this instant, and what the past says of it: refusals, use and audit entries of one account."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import House, Serve, redistribute


@pytest.fixture
async def house(serve: Serve) -> House:
    return await serve(license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=50)


async def get(house: House, path: str) -> Any:
    status, told = await house.http("GET", path)
    assert status == 200, told
    return told


async def test_what_is_known_of_an_account(house: House) -> None:
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="weekly")
    await house.http("PUT", "/api/accounts/ann")
    await house.http("POST", "/api/accounts/ann/token")
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"]})
    await house.http("PUT", "/api/hosts/ann")
    told = await get(house, "/api/accounts/Ann/now")
    since = told.pop("host_since")
    assert since.endswith("Z")
    assert told.pop("pro")["kind"] == "temporary"
    assert told == {
        "account": "ann", "home": None, "connections": 1, "registered": True, "tokens": 1, "groups": ["board"],
        "banned_until": None,
    }  # fmt: skip
    await house.http("PUT", "/api/bans/ann", json={"for": "5m"})
    assert (await get(house, "/api/accounts/ann/now"))["banned_until"] is not None


async def test_a_permanent_license_is_one(house: House) -> None:
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"], "permanent": True})
    redistribute(house)
    assert (await get(house, "/api/accounts/ann/now"))["pro"]["kind"] == "permanent"


async def test_an_account_that_nobody_has_heard_of_is_empty(house: House) -> None:
    told = await get(house, "/api/accounts/eve/now?home=example.org")
    assert told == {
        "account": "eve", "home": "example.org", "connections": 0, "registered": False, "tokens": 0, "groups": [],
        "banned_until": None, "pro": None, "host_since": None,
    }  # fmt: skip


@pytest.mark.parametrize("names", ["names", "pseudonyms"])
async def test_refusals_use_and_entries_of_one_account(serve: Serve, names: str) -> None:
    house = await serve(
        license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=50, history__names=names
    )
    ann, bob, cid = [await house.welcomed(account=name) for name in ("ann", "bob", "cid")]
    await ann.ask("join", conference="weekly")
    for wire in (bob, cid):
        assert (await wire.ask("join", conference="weekly"))["reason"] == "pool_full"
    told = await get(house, "/api/denials?account=bob")
    assert len(told["items"]) == 1
    assert (told["items"][0]["account"] == "bob") is (names == "names")
    assert len((await get(house, "/api/denials?pool=pro"))["items"]) == 2
    assert (await get(house, "/api/denials?pool=online"))["items"] == []
    used = await get(house, "/api/usage?account=ann")
    assert len(used["items"]) == 1
    assert {use["pool"] for use in used["items"][0]["pools"] if use["model"] == "trueconf"} == {"pro", "online"}
    assert (await house.http("GET", "/api/usage?by=device&account=ann"))[0] == 422
    entries = await get(house, "/api/audit?account=ann")
    assert [entry["action"] for entry in entries["items"]] == ["lease.granted"]


async def test_refusals_come_newest_first_page_by_page(house: House) -> None:
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="weekly")
    for name in ("bob", "cid", "dan"):
        await (await house.welcomed(account=name)).ask("join", conference="weekly")
    first = await get(house, "/api/denials?order=newest&limit=2")
    assert [item["account"] for item in first["items"]] == ["dan", "cid"]
    rest = await get(house, f"/api/denials?order=newest&limit=2&cursor={first['next']}")
    assert ([item["account"] for item in rest["items"]], rest["next"]) == (["bob"], None)
    assert (await house.http("GET", "/api/denials?order=random"))[0] == 422


async def test_entries_are_asked_for_by_kind_and_time(house: House) -> None:
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="weekly")
    await house.http("PUT", "/api/bans/192.0.2.7", json={"for": "5m"})

    async def actions(query: str) -> set[str]:
        return {entry["action"] for entry in (await get(house, f"/api/audit?{query}"))["items"]}

    assert await actions("kind=leases") == {"lease.granted"}
    acts = await actions("kind=acts")
    assert "ban.added" in acts
    assert "lease.granted" not in acts
    assert await actions("kind=all") == acts | {"lease.granted"}
    assert await actions("until=2020-01-01T00:00:00Z") == set()
    assert await actions("until=2099-01-01T00:00:00Z") == acts | {"lease.granted"}
    for query in ("kind=x", "until=x", "order=x"):
        assert (await house.http("GET", f"/api/audit?{query}"))[0] == 422


async def test_what_licenses_can_be_sold(house: House) -> None:
    told = await get(house, "/api/offers")
    first = told["items"][0]
    assert (first["model"], first["title"], first["pools"]["pro"]) == ("trueconf", "TrueConf", "PRO users")
    assert "server" in first["editions"]
