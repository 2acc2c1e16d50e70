"""The API about conferences: declared, shown, searched, ended."""

from __future__ import annotations

from typing import Any

from tests.conftest import Serve


async def test_a_conference_is_declared_joined_shown_and_ended(serve: Serve) -> None:
    house = await serve(federation__homes=["other.example"])
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


async def test_conferences_are_searched_by_id(serve: Serve) -> None:
    house = await serve()
    for id in ("Weekly", "daily", "week-end"):
        assert (await house.http("PUT", f"/api/conferences/{id}"))[0] == 200
    _, listed = await house.http("GET", "/api/conferences?q=WEEK")
    assert [item["id"] for item in listed["items"]] == ["Weekly", "week-end"]
    _, second = await house.http("GET", "/api/conferences?q=week&offset=1")
    assert [item["id"] for item in second["items"]] == ["week-end"]
