"""`/api/events`: pages of what happened, streams of what happens, and the page's stream beside them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from gateway.edge.api import event_stream
from gateway.edge.api import events as events_api
from tests.conftest import House, Serve, until

PATIENCE = 10.0
FLOATING = {"license__model": "floating", "license__floating__limit": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, so that no test waits long."""
    monkeypatch.setattr(event_stream, "TICK", 0.01)


@asynccontextmanager
async def following(house: House, query: str, **headers: str) -> AsyncIterator[aiohttp.StreamReader]:
    """An open stream of what happens."""
    url = f"{house.url}/api/events?follow=true{query}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield response.content


async def heard(stream: aiohttp.StreamReader) -> tuple[dict[str, str], Any]:
    """The next message: its fields, and its data."""
    async with asyncio.timeout(PATIENCE):
        lines = (await stream.readuntil(b"\n\n")).decode().strip().splitlines()
    fields = dict(line.split(": ", 1) for line in lines)
    return fields, json.loads(fields["data"])


async def test_a_page_shows_events_of_the_kinds_asked_for_the_oldest_first(serve: Serve) -> None:
    house = await serve(**FLOATING)
    await house.welcomed(account="ann")
    await (await house.connect()).hello(account="bob")
    _, page = await house.http("GET", "/api/events?kind=granted,denied&kind=gateway")
    assert [each["event"] for each in page["items"]] == ["gateway.start", "gateway.doors_opened", "granted", "denied"]
    assert (page["next"], page["dropped"]) == (None, 0)
    assert page["items"][3]["detail"]["account"] == "bob"
    assert page["items"][3]["time"].endswith("Z")
    assert len({each["id"] for each in page["items"]}) == 4
    _, none = await house.http("GET", "/api/events?since=2100-01-01T00:00:00Z")
    assert none["items"] == []
    _, all = await house.http("GET", "/api/events?since=1h")
    assert len(all["items"]) == 4


async def test_pages_follow_each_other_by_the_cursor(serve: Serve) -> None:
    house = await serve(events__kept=5, **FLOATING)
    for number in range(6):
        house.runtime.recent.events.note("registration.registered", {"number": number})
    seen: list[int] = []
    cursor = ""
    while True:
        _, page = await house.http("GET", f"/api/events?limit=2{cursor}")
        seen += [each["detail"]["number"] for each in page["items"]]
        assert page["dropped"] == 3
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [1, 2, 3, 4, 5]
    _, other = await house.http("GET", "/api/events?cursor=00000000-1&limit=1")
    assert other["items"][0]["detail"]["number"] == 1  # of another run: from the beginning


@pytest.mark.parametrize(
    "query",
    ["kind=foo", "kind=", "kind=granted,,", "since=x", "follow=maybe", "limit=0", "cursor=zz", "cursor=0000000g-1"],
)
async def test_what_is_no_value_is_refused(query: str, serve: Serve) -> None:
    house = await serve()
    status, told = await house.http("GET", f"/api/events?{query}")
    assert (status, told["error"]) == (422, "bad_field")


async def test_a_stream_tells_what_happens_from_now_on(serve: Serve) -> None:
    house = await serve(**FLOATING)
    async with following(house, "&kind=granted,released") as stream:
        await until(lambda: house.gateway.operator.events.open == 1)
        ann = await house.welcomed(account="ann")
        fields, granted = await heard(stream)
        assert (fields["id"], granted["event"]) == (granted["id"], "granted")
        await (await house.connect()).hello(account="bob")  # no event of these kinds
        await ann.close()
        assert (await heard(stream))[1]["event"] == "released"
    async with following(house, "", **{"Last-Event-ID": granted["id"]}) as stream:
        assert [(await heard(stream))[1]["event"] for _ in range(2)] == ["denied", "released"]
    async with following(house, "&since=1h") as stream:
        assert (await heard(stream))[1]["event"] == "gateway.start"
    status, told = await house.http("GET", "/api/events?follow=true", headers={"Last-Event-ID": "x"})
    assert (status, told["error"]) == (422, "bad_field")


async def test_who_is_slower_than_what_happens_is_told_how_much_he_missed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await serve(events__kept=4, **FLOATING)
    events = house.runtime.recent.events
    monkeypatch.setattr(events_api, "AT_ONCE", 2)
    async with following(house, "&kind=registration") as stream:
        await until(lambda: house.gateway.operator.events.open == 1)
        for number in range(10):  # no turn of the loop between them
            events.note("registration.registered", {"number": number})
        fields, data = await heard(stream)
        assert (fields["event"], data) == ("dropped", {"dropped": 6})
        assert [(await heard(stream))[1]["detail"]["number"] for _ in range(4)] == [6, 7, 8, 9]


async def test_followers_and_pages_share_the_streams_there_may_be(serve: Serve) -> None:
    house = await serve(listen__operator_max_connections=4)
    async with following(house, ""), following(house, ""):
        await until(lambda: house.gateway.operator.events.open == 2)
        status, told = await house.http("GET", "/api/events?follow=true")
        assert (status, told["error"]) == (503, "too_many_pages")


async def test_metrics_count_events_by_kind(serve: Serve) -> None:
    house = await serve(events__kept=2, **FLOATING)
    await house.welcomed(account="ann")
    house.runtime.recent.events.gather()
    _, text = await house.http("GET", "/metrics")
    assert 'tallygate_events_total{kind="granted"} 1.0' in text
    assert "tallygate_events_dropped_total 1.0" in text
