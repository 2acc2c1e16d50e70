"""Who used it, as the API tells it: exact, up to the instant, for the enforced model and every shadow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import House, Serve
from tests.edge.api.test_reports import START, Hands, items

DAY = 86400.0


async def usage(house: House, query: str = "") -> dict[str, Any]:
    """What `by=account` says, by account."""
    return {item["account"]: item for item in await items(house, f"/api/usage?by=account{query}")}


def pool(item: dict[str, Any], model: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in item["pools"] if (each["model"], each["pool"]) == (model, name)]
    return dict(found)


async def test_it_tells_what_an_account_used_under_every_model(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), license__epop__users=1)
    ann = await house.welcomed(account="ann", device="phone")
    bob = await house.welcomed(account="bob")
    await ann.ask("join", conference="a")
    assert (await bob.ask("join", conference="a"))["type"] == "denied"
    hands.move(90)
    found = await usage(house)
    assert found["ann"]["sessions"] == found["ann"]["days"] == 1
    assert found["ann"]["connected_seconds"] == 90
    assert (found["ann"]["first"], found["ann"]["last"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:01:30Z")
    assert pool(found["ann"], "epop", "concurrent")["seat_seconds"] == 90
    assert pool(found["ann"], "trueconf", "pro")["seat_seconds"] == 90
    assert pool(found["bob"], "epop", "concurrent")["denials"] == 1
    hands.move(10)
    assert pool((await usage(house))["ann"], "epop", "concurrent")["seat_seconds"] == 100


async def test_it_goes_by_days_of_the_time_zone_and_counts_users(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), history__timezone="Pacific/Auckland")
    await house.welcomed(account="ann")
    await house.welcomed()
    hands.move(4 * 3600)
    house.runtime.tick()
    status, days = await house.http("GET", "/api/usage?by=day")
    assert status == 200
    assert [(item["begins"], item["connected_seconds"]) for item in days["items"]] == [
        ("2027-01-15", 2 * 3 * 3600), ("2027-01-16", 2 * 3600)
    ]  # fmt: skip
    assert [(item["users"], item["guests"]) for item in days["items"]] == [(1, 1), (1, 1)]
    assert (days["last_day"], days["timezone"]) == ("2027-01-16", "Pacific/Auckland")
    assert [item["begins"] for item in await items(house, "/api/usage?by=week")] == ["2027-01-11"]
    assert [item["begins"] for item in await items(house, "/api/usage?by=month")] == ["2027-01-01"]
    assert [item["begins"] for item in await items(house, "/api/usage?by=day&since=1h")] == ["2027-01-16"]


async def test_devices_groups_and_pages(serve: Serve) -> None:
    house = await serve()
    for device in ("phone", "laptop"):
        await house.welcomed(account="ann", device=device)
    await house.welcomed(account="bob")
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann", "zoe"]})
    devices = await items(house, "/api/usage?by=device&limit=1")
    assert [(each["account"], each["device"]) for each in devices] == [
        ("ann", "laptop"), ("ann", "phone"), ("bob", None)
    ]  # fmt: skip
    groups = {each["group"]: each for each in await items(house, "/api/usage?by=group")}
    assert {name: (each["users"], each["sessions"]) for name, each in groups.items()} == {"board": (1, 2), None: (1, 1)}
    assert (await usage(house, "&limit=1"))["ann"]["most_sessions"] == 2
    assert [each["account"] for each in await items(house, "/api/usage/absent")] == ["zoe"]


async def test_a_model_alone_is_shown(serve: Serve) -> None:
    house = await serve()
    await house.welcomed(account="ann")
    found = await usage(house, "&model=trueconf")
    assert {each["model"] for each in found["ann"]["pools"]} == {"trueconf"}
    status, answer = await house.http("GET", "/api/usage?model=none")
    assert (status, answer["error"]) == (404, "no_such_model")


@pytest.mark.parametrize(
    "query", ["by=year", "since=yesterday", "limit=0", "by=group&account=ann", f"home={129 * 'a'}"]
)
async def test_bad_requests_are_told_so(serve: Serve, query: str) -> None:
    house = await serve()
    status, answer = await house.http("GET", f"/api/usage?{query}")
    assert (status, answer["error"]) == (422, "bad_field")


async def test_use_survives_a_restart_and_its_parts_are_added_up(serve: Serve, tmp_path: Any) -> None:
    hands = Hands()
    for _ in range(2):
        house = await serve(clock=hands.clock(), store__path=str(tmp_path / "t.db"))
        await house.welcomed(account="ann")
        hands.move(30)
        ann = (await usage(house))["ann"]
        await house.end()
        hands.move(5)
    assert (ann["sessions"], ann["connected_seconds"], ann["days"], START) == (2, 60.0, 1, START)


async def test_an_account_of_another_server_is_somebody_else(serve: Serve) -> None:
    house = await serve(federation__homes='["partner.example"]')
    await house.welcomed(account="ann")
    await house.welcomed(account="ann", home="partner.example")
    found = await items(house, "/api/usage?limit=1")
    assert [(each["account"], each.get("home")) for each in found] == [("ann", None), ("ann", "partner.example")]
    (day,) = await items(house, "/api/usage?by=day")
    assert day["users"] == 2
