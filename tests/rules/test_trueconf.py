"""TrueConf: online, guest and gateway licenses, editions, extensions, federation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import House, License, Serve
from tests.rules.said import conferences, denied, full, pools, said
from tests.wire_client import Wire


async def serving(serve: Serve, **terms: Any) -> House:
    """A gateway with a TrueConf license; `pro=3` stands for `license.trueconf.pro`."""
    return await serve(
        license__model="trueconf",
        federation__homes='["there.org"]',
        **{f"license__trueconf__{key}": value for key, value in terms.items()},
    )


async def users(house: House, *names: str) -> list[Wire]:
    """One connection for each account."""
    return [await house.welcomed(account=name, device="pc") for name in names]


@pytest.mark.parametrize(
    ("terms", "online", "pro"),
    [
        ({}, 15, 10),
        ({"pro": 1}, 2, 1),
        ({"pro": 3}, 5, 3),
        ({"pro": 4, "online_packs": "[50, 100]"}, 156, 4),
        ({"pro": 4, "online": 7, "online_packs": "[50]"}, 57, 4),
        ({"edition": "free"}, 1000, 10),
        ({"edition": "enterprise"}, 15, None),
    ],
)
async def test_limits_come_with_the_license(terms: dict[str, Any], online: int, pro: int | None, serve: Serve) -> None:
    house = await serving(serve, **terms)
    seen = await pools(house)
    assert {name: view["limit"] for name, view in seen.items()} == {
        "online": online,
        "pro": pro,
        "guest": 1,
        "gateway": 1,
    }


async def test_online_is_a_device_of_a_user_that_is_awake(serve: Serve) -> None:
    house = await serving(serve)
    await house.welcomed(account="ann", device="pc")
    phone = await house.welcomed(account="ann", device="phone")
    await house.welcomed(account="bob", device="pc")
    await house.welcomed(account="bob", kind="browser")
    await house.welcomed(account="cat", kind="sip")
    await house.welcomed(account="dan", kind="h323", device="room")
    await house.welcomed(kind="sip")
    await house.welcomed(device="pc")
    await house.welcomed(account="ann", device="pc", home="there.org")
    await pools(house, online=6, pro=0, guest=0, gateway=0)
    said(await phone.ask("sleep"), "asleep")
    await pools(house, online=5)


async def test_a_federated_visitor_takes_nothing_and_may_join_what_there_is(serve: Serve) -> None:
    house = await serving(serve)
    (ann,) = await users(house, "ann")
    visitor = await house.welcomed(account="eve", device="pc", home="THERE.org")
    denied(await visitor.ask("join", conference="m"), "no_such_conference")
    assert await conferences(house) == {}
    said(await ann.ask("join", conference="m"), "joined")
    said(await visitor.ask("join", conference="m"), "joined", seats=[], rights=[], pro_expires=None)
    await pools(house, online=1, pro=1, guest=0, gateway=0)


async def test_an_own_user_in_a_conference_of_another_server_takes_pro(serve: Serve) -> None:
    house = await serving(serve, max_conferences=1)
    ann, bob = await users(house, "ann", "bob")
    guest = await house.welcomed()
    said(await ann.ask("join", conference="m", server="there.org", access="public"), "joined", seats=["online", "pro"])
    said(await guest.ask("join", conference="m"), "joined", seats=["guest"])
    denied(await bob.ask("join", conference="n"), "conference_limit", used=1, limit=1)
    assert (await conferences(house))["m"]["server"] == "there.org"
    await pools(house, pro=1, guest=1)


async def test_a_guest_takes_part_in_public_conferences_only(serve: Serve) -> None:
    house = await serving(serve)
    (ann,) = await users(house, "ann")
    guest, second = await house.welcomed(), await house.welcomed()
    denied(await guest.ask("join", conference="m", access="public"), "no_such_conference")
    said(await ann.ask("join", conference="internal"), "joined")
    said(await ann.ask("join", conference="public", access="public"), "joined")
    said(await ann.ask("join", conference="call", mode="call", access="public"), "joined")
    denied(await guest.ask("join", conference="internal"), "not_allowed", conference="internal")
    denied(await guest.ask("join", conference="call"), "not_allowed", conference="call")
    said(await guest.ask("join", conference="public"), "joined", seats=["guest"])
    full(await second.ask("join", conference="public"), "guest", 1, 1)
    said(await guest.ask("leave", conference="public"), "left", seats=[])
    said(await second.ask("join", conference="public"), "joined")


async def test_an_endpoint_takes_gateway_in_any_conference_and_never_pro(serve: Serve) -> None:
    house = await serving(serve, gateway=2)
    (ann,) = await users(house, "ann")
    sip = await house.welcomed(kind="sip", account="room", device="1")
    camera = await house.welcomed(kind="rtsp")
    third = await house.welcomed(kind="h323")
    denied(await camera.ask("join", conference="m"), "no_such_conference")
    said(await ann.ask("join", conference="m"), "joined")
    said(await sip.ask("join", conference="m"), "joined", seats=["online", "gateway"])
    said(await camera.ask("join", conference="m"), "joined", seats=["gateway"])
    full(await third.ask("join", conference="m"), "gateway", 2, 2)
    await pools(house, online=2, pro=1, gateway=2)


async def test_a_call_takes_no_pro(serve: Serve) -> None:
    house = await serving(serve, pro=0, online=2)
    ann, bob = await users(house, "ann", "bob")
    full(await ann.ask("join", conference="m"), "pro", 0, 0)
    said(await ann.ask("join", conference="c", mode="call"), "joined", seats=["online"])
    said(await bob.ask("join", conference="c"), "joined", seats=["online"])
    await pools(house, online=2, pro=0)


async def test_where_two_pools_are_full_the_first_of_the_table_is_named(serve: Serve) -> None:
    house = await serving(serve, pro=0, online=1)
    (ann,) = await users(house, "ann")
    said(await ann.ask("sleep"), "asleep")
    await users(house, "bob")
    full(await ann.ask("join", conference="m"), "online", 1, 1)


async def test_a_full_online_pool_refuses_the_hello(serve: Serve) -> None:
    house = await serving(serve, online=1)
    await users(house, "ann")
    bob = await house.connect()
    full(await bob.hello(account="bob", device="pc"), "online", 1, 1, "hello")
    assert await bob.gone() == []
    said(await (await house.connect()).hello(), "welcome")


async def test_the_free_edition_has_its_limits(license: License) -> None:
    house = await license({"edition": "free"}, federation__homes='["there.org"]')
    ann, bob, *others = await users(house, "ann", "bob", *(f"u{n}" for n in range(9)))
    eve = await house.connect()
    denied(await eve.hello(account="eve", home="there.org"), "extension_missing", "hello")
    denied(await (await house.connect()).hello(kind="sdk"), "extension_missing", "hello")
    denied(await ann.ask("join", conference="m", server="there.org"), "extension_missing")
    said(await ann.ask("join", conference="m", access="public"), "joined")
    denied(await bob.ask("join", conference="n"), "conference_limit", used=1, limit=1)
    said(await bob.ask("join", conference="c", mode="call"), "joined")
    for wire in others:
        said(await wire.ask("join", conference="m"), "joined")
    denied(await bob.ask("join", conference="m"), "conference_full", used=10, limit=10)
    guest = await house.welcomed()
    denied(await guest.ask("join", conference="m"), "conference_full", used=10, limit=10)
    body = {"accounts": ["ann"], "permanent": True}
    assert (await house.http("PUT", "/api/groups/vip", json=body))[0] == 409


async def test_starting_too_many_conferences_is_refused_and_too_many_members_stay_outside(license: License) -> None:
    house = await license({"edition": "free"}, license__trueconf__max_participants=2)
    names = ("ann", "bob", "cat", "dan")
    ann, bob, cat, dan = await users(house, *names)
    said(await ann.ask("join", conference="m", scheduled=True, host=True), "waiting")
    said(await bob.ask("join", conference="m"), "waiting")
    said(await cat.ask("join", conference="m"), "waiting")
    said(await dan.ask("join", conference="n"), "joined")
    denied(await ann.ask("start", conference="m"), "conference_limit", "start", conference="m", used=1, limit=1)
    said(await dan.ask("leave", conference="n"), "left")
    said(await ann.ask("start", conference="m"), "started")
    said(await ann.hear(), "joined")
    said(await bob.hear(), "joined")
    denied(await cat.hear(), "conference_full", conference="m", used=2, limit=2)


async def test_the_enterprise_edition_gives_every_user_the_pro_column_and_still_counts(serve: Serve) -> None:
    house = await serving(serve, edition="enterprise", pro=0, online=5)
    wires = await users(house, "ann", "bob")
    for wire in wires:
        said(await wire.ask("join", conference="m"), "joined", seats=["online", "pro"])
    seen = await pools(house, pro=2)
    assert (seen["pro"]["limit"], seen["pro"]["available"]) == (None, None)
    welcome = await (await house.connect()).hello(account="cat", device="pc")
    assert {"join_internal_conference", "instant_conference", "join_public_conference"} <= set(welcome["rights"])
    assert welcome["seats"] == ["online"]


@pytest.mark.parametrize(
    ("terms", "has"),
    [
        ({"edition": "free"}, set[str]()),
        ({"edition": "server"}, {"Federation", "Watermark", "UDP multicast"}),
        ({"edition": "server", "support": "full"}, {"Federation", "Watermark", "UDP multicast", "Live streaming"}),
        (
            {"edition": "enterprise", "sdk": "true"},
            {
                "Federation",
                "Watermark",
                "UDP multicast",
                "DLP",
                "Directory",
                "License Manager",
                "Border Controller",
                "SDK applications",
            },
        ),
    ],
)
async def test_extensions_are_reported_with_their_terms(terms: dict[str, Any], has: set[str], serve: Serve) -> None:
    house = await serving(serve, **terms)
    _, license = await house.http("GET", "/api/license")
    always = {"LDAP/Active Directory", "SIP/H.323/RTSP gateway", "Public conferences", "Simultaneous interpretation"}
    assert license["edition"] == terms["edition"]
    assert len(license["extensions"]) == 15
    assert all(each["terms"] for each in license["extensions"])
    assert {each["title"] for each in license["extensions"] if each["licensed"]} == always | has


async def test_sdk_clients_are_let_in_where_the_license_has_them(serve: Serve) -> None:
    house = await serving(serve, sdk="true")
    await house.welcomed(kind="sdk", account="ann", device="pc")
    await pools(house, online=1)
