"""The API about named hosts."""

from __future__ import annotations

from tests.conftest import Serve


async def test_without_the_model_no_host_has_a_name(serve: Serve) -> None:
    house = await serve(license__shadow="[]")
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
    assert (status, body) == (409, {"error": "pool_full", "detail": "all 1 names are taken"})
    assert (await wire.ask("join", conference="c", host=True))["type"] == "joined"
    _, listed = await house.http("GET", "/api/hosts")
    assert [(each["account"], each["hosting"]) for each in listed["items"]] == [("ann", True)]
    assert await house.http("DELETE", "/api/hosts/ann") == (204, "")
    assert (await house.http("GET", "/api/hosts"))[1]["items"] == []
    assert (await wire.ask("heartbeat"))["type"] == "ack"
