"""The API about the audit log: its pages and its chain."""

from __future__ import annotations

import pytest

from gateway.core.reporting import audit_chain
from gateway.edge.machine import Clock
from tests.conftest import Serve


async def test_the_list_is_paged_from_an_instant_on(serve: Serve) -> None:
    seconds = [1_700_000_000.0]
    house = await serve(clock=Clock(lambda: seconds[0], lambda: seconds[0]))
    for number in range(5):
        seconds[0] += 3600
        await house.http("PUT", f"/api/accounts/a{number}")
    _, first = await house.http("GET", "/api/audit?since=2h&limit=2")
    assert [each["subject"] for each in first["items"]] == ["a2", "a3"]
    _, last = await house.http("GET", f"/api/audit?since=2h&limit=2&cursor={first['next']}")
    assert ([each["subject"] for each in last["items"]], last["next"]) == (["a4"], None)
    _, by_time = await house.http("GET", "/api/audit?since=2023-11-15T02:13:20%2B01:00")
    assert [each["subject"] for each in by_time["items"]] == ["a2", "a3", "a4"]


async def test_the_list_is_paged_from_its_end_too(serve: Serve) -> None:
    house = await serve()
    for number in range(3):
        await house.http("PUT", f"/api/accounts/a{number}")
    _, first = await house.http("GET", "/api/audit?order=newest&limit=2")
    assert [each["subject"] for each in first["items"]] == ["a2", "a1"]
    await house.http("PUT", "/api/accounts/late")
    _, last = await house.http("GET", f"/api/audit?order=newest&limit=2&cursor={first['next']}")
    assert ([each["action"] for each in last["items"]], last["next"]) == (["account.added", "start"], None)


@pytest.mark.parametrize(
    "query",
    [
        *("since=yesterday", "since=2023-02-30T00:00:00Z", "since=2023-01-01"),
        *("cursor=-1", "cursor=x", "limit=0", "order=time"),
    ],
)
async def test_a_bad_question_about_it_is_refused(query: str, serve: Serve) -> None:
    house = await serve()
    assert (await house.http("GET", f"/api/audit?{query}"))[1]["error"] == "bad_field"


async def test_what_is_shown_verifies(serve: Serve) -> None:
    house = await serve()
    for number in range(5):
        await house.http("PUT", f"/api/groups/g{number}", json={"accounts": ["ann"]})
    await house.runtime.persistence.audit_log.write()
    shown = (await house.http("GET", "/api/audit?limit=1000"))[1]["items"]
    assert audit_chain.verify(map(audit_chain.entry_from_json, shown)).seq == 6
