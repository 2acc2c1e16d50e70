"""The API about groups of accounts."""

from __future__ import annotations

import pytest

from tests.conftest import Serve


async def test_a_group_is_put_shown_and_deleted(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    told = {"accounts": ["Ann", "bob", "ANN"], "permanent": True}
    shown = {"group": "staff", "accounts": ["ann", "bob"], "permanent": True, "priority": 0}
    assert await house.http("PUT", "/api/groups/staff", json=told) == (200, shown)
    assert await house.http("GET", "/api/groups/staff") == (200, shown)
    assert (await house.http("GET", "/api/groups"))[1] == {"items": [shown], "next": None}
    assert await house.http("DELETE", "/api/groups/staff") == (204, "")
    assert (await house.http("GET", "/api/groups"))[1]["items"] == []


@pytest.mark.parametrize(
    "told", [{"accounts": "ann"}, {"accounts": [1]}, {"accounts": [" a"]}, {"permanent": "yes"}, {"color": "red"}]
)
async def test_a_bad_group_is_refused(told: dict[str, object], serve: Serve) -> None:
    house = await serve()
    status, body = await house.http("PUT", "/api/groups/staff", json=told)
    assert (status, body["error"]) == (422, "bad_field")


async def test_the_free_edition_has_no_permanent_licenses(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__edition="free")
    status, body = await house.http("PUT", "/api/groups/staff", json={"accounts": ["ann"], "permanent": True})
    assert (status, body["error"]) == (409, "extension_missing")
