"""The API about people: accounts and tokens, groups, PRO licenses, named hosts."""

from __future__ import annotations

from secrets import token_urlsafe

import pytest

from tests.conftest import Serve


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/accounts/nobody", 404, "no_such_account"),
        ("DELETE", "/api/accounts/nobody", 404, "no_such_account"),
        ("POST", "/api/accounts/nobody/token", 404, "no_such_account"),
        ("PUT", "/api/accounts/a%20b", 422, "bad_field"),
        ("GET", "/api/groups/none", 404, "no_such_group"),
        ("DELETE", "/api/groups/none", 404, "no_such_group"),
        ("PUT", "/api/groups/a%20b", 422, "bad_field"),
        ("DELETE", "/api/pro/nobody", 404, "no_such_license"),
        ("DELETE", "/api/hosts/nobody", 404, "no_such_host"),
        ("PUT", "/api/hosts/a%20b", 422, "bad_field"),
        ("GET", "/api/accounts?limit=0", 422, "bad_field"),
    ],
)
async def test_what_is_not_there_or_not_allowed_says_so(
    method: str, path: str, status: int, code: str, serve: Serve
) -> None:
    house = await serve(license__model="trueconf")
    got, body = await house.http(method, path)
    assert (got, body["error"]) == (status, code)


async def test_an_account_is_registered_shown_and_deleted(serve: Serve) -> None:
    house = await serve()
    assert await house.http("PUT", "/api/accounts/Ann") == (
        200,
        {"account": "ann", "tokens": [], "connections": 0, "groups": []},
    )
    await house.http("PUT", "/api/groups/staff", json={"accounts": ["ANN"]})
    wire = await house.welcomed(account="ann")
    shown = {"account": "ann", "tokens": [], "connections": 1, "groups": ["staff"]}
    assert (await house.http("PUT", "/api/accounts/ann"))[1] == shown
    assert (await house.http("GET", "/api/accounts/ANN"))[1] == shown
    assert (await house.http("GET", "/api/accounts"))[1] == {"items": [shown], "next": None}
    assert await house.http("DELETE", "/api/accounts/ann") == (204, "")
    (closing,) = await wire.gone()
    assert (closing["reason"], closing["code"], closing["reconnect"]) == ("account_deleted", 4503, False)
    assert (await house.http("GET", "/api/accounts"))[1]["items"] == []
    assert (await house.http("GET", "/api/groups/staff"))[1]["accounts"] == []


async def test_an_account_has_no_fields_to_set(serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("PUT", "/api/accounts/ann", json={"password": "x"})
    assert (status, body["error"]) == (422, "bad_field")


async def test_where_accounts_are_proven_only_the_token_opens(serve: Serve) -> None:
    house = await serve(accounts__mode="token")
    unknown = await house.connect()
    assert (await unknown.hello(account="ann", token=token_urlsafe()))["reason"] == "account_unknown"
    await house.http("PUT", "/api/accounts/ann")
    status, made = await house.http("POST", "/api/accounts/Ann/token")
    _, second = await house.http("POST", "/api/accounts/ann/token")
    assert (status, made["account"], len(made["token"]) >= 43) == (200, "ann", True)
    for token in (None, "wrong", made["token"][:-1]):
        refused = await house.connect()
        assert (await refused.hello(account="ann", token=token))["reason"] == "bad_credential"
    for token in (made["token"], second["token"]):
        await house.welcomed(account="ann", token=token)
    assert len((await house.http("GET", "/api/accounts/ann"))[1]["tokens"]) == 2
    guest = await house.connect()
    assert (await guest.hello())["type"] == "welcome"


async def test_a_group_is_put_shown_and_deleted(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    told = {"accounts": ["Ann", "bob", "ANN"], "permanent": True}
    shown = {"group": "staff", "accounts": ["ann", "bob"], "permanent": True}
    assert await house.http("PUT", "/api/groups/staff", json=told) == (200, shown)
    assert await house.http("GET", "/api/groups/staff") == (200, shown)
    assert (await house.http("GET", "/api/groups"))[1] == {"items": [shown], "next": None}
    assert await house.http("DELETE", "/api/groups/staff") == (204, "")
    assert (await house.http("GET", "/api/groups"))[1]["items"] == []


@pytest.mark.parametrize(
    "told", [{"accounts": "ann"}, {"accounts": [1]}, {"accounts": ["a b"]}, {"permanent": "yes"}, {"color": "red"}]
)
async def test_a_bad_group_is_refused(told: dict[str, object], serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("PUT", "/api/groups/staff", json=told)
    assert (status, body["error"]) == (422, "bad_field")


async def test_the_free_edition_has_no_permanent_licenses(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__edition="free")
    status, body = await house.http("PUT", "/api/groups/staff", json={"accounts": ["ann"], "permanent": True})
    assert (status, body["error"]) == (409, "extension_missing")


async def test_pro_licenses_are_shown_and_a_temporary_one_is_revoked(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=3)
    await house.http("PUT", "/api/groups/staff", json={"accounts": ["zoe"], "permanent": True})
    house.runtime.redistribute(house.runtime.now())
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="c")
    await bob.ask("join", conference="c")
    await bob.ask("leave", conference="c")
    _, listed = await house.http("GET", "/api/pro")
    rows = {
        each["account"]: (each["kind"], each["in_conference"], each["deleted"], each["expires"] is None)
        for each in listed["items"]
    }
    assert rows == {
        "ann": ("temporary", True, False, True),
        "bob": ("temporary", False, False, False),
        "zoe": ("permanent", False, False, True),
    }
    assert await house.http("DELETE", "/api/pro/Ann") == (204, "")
    removed = await ann.hear()
    assert (removed["type"], removed["reason"], removed["seats"]) == ("removed", "license_withdrawn", ["online"])
    assert (await house.http("DELETE", "/api/pro/zoe"))[1]["error"] == "permanent"
    assert (await house.http("DELETE", "/api/accounts/bob"))[0] == 204
    status, body = await house.http("DELETE", "/api/pro/bob")
    assert (status, body["error"]) == (409, "account_deleted")
    assert [each["account"] for each in (await house.http("GET", "/api/pro"))[1]["items"]] == ["bob", "zoe"]


async def test_without_the_model_nobody_has_a_pro_license(serve: Serve) -> None:
    house = await serve(license__shadow="[]")
    assert await house.http("GET", "/api/pro") == (200, {"items": [], "next": None})
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 404
    for method, path in (("GET", "/api/hosts"), ("PUT", "/api/hosts/ann"), ("DELETE", "/api/hosts/ann")):
        status, body = await house.http(method, path)
        assert (status, body["error"]) == (404, "no_named_hosts")


async def test_hosts_are_named_until_the_names_are_gone(serve: Serve) -> None:
    settings = {"license__nefsis-named__hosts": 1, "license__nefsis-named__naming": "listed"}
    house = await serve(license__model="nefsis-named", **settings)
    wire = await house.welcomed(account="ann")
    assert (await wire.ask("join", conference="c", host=True))["reason"] == "host_not_named"
    status, named = await house.http("PUT", "/api/hosts/Ann")
    assert (status, named["account"]) == (200, "ann")
    assert await house.http("PUT", "/api/hosts/ann") == (200, named)
    status, body = await house.http("PUT", "/api/hosts/bob")
    assert (status, body["error"]) == (409, "pool_full")
    assert (await wire.ask("join", conference="c", host=True))["type"] == "joined"
    _, listed = await house.http("GET", "/api/hosts")
    assert [(each["account"], each["hosting"]) for each in listed["items"]] == [("ann", True)]
    assert await house.http("DELETE", "/api/hosts/ann") == (204, "")
    assert (await house.http("GET", "/api/hosts"))[1]["items"] == []
    assert (await wire.ask("heartbeat"))["type"] == "ack"
