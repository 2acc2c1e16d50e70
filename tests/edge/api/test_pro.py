"""The API about PRO licenses."""

from __future__ import annotations

from tests.conftest import Serve, redistribute


async def test_pro_licenses_are_shown_and_a_temporary_one_is_revoked(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=3)
    await house.http("PUT", "/api/groups/staff", json={"accounts": ["zoe"], "permanent": True})
    redistribute(house)
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
