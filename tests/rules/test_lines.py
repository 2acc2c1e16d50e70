"""Who may wait in a line, who is served from it and when, and how that is counted, over the wire (COUNTING.md,
Waiting).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import House, Serve, settings_of
from tests.rules.said import DAY, Forward, denied, full, pools, said, silent
from tests.rules.test_returning import KILL, RESTART, Runs, runs
from tests.wire_client import Wire

__all__ = ["runs"]
FLOATING: dict[str, Any] = {"license__model": "floating", "license__floating__limit": 1}
PRO = {"license__model": "trueconf", "license__trueconf__pro": 1, "license__trueconf__allow_pro_requests": "true"}


async def waiting(house: House, **hello: Any) -> Wire:
    """A connection whose `hello` waits in line."""
    wire = await house.connect()
    said(await wire.hello(**{"wait": 60, **hello}), "queued", request="hello")
    return wire


async def places(house: House) -> list[tuple[str, str | None]]:
    """What waits, in order: the request, and the account."""
    _, shown = await house.http("GET", "/api/queue")
    items = sorted(shown["items"], key=lambda each: each["position"])
    return [(each["request"], each["account"]) for each in items]


async def metric(house: House, name: str, **labels: str) -> float:
    """The value of a series of the metrics."""
    _, text = await house.http("GET", "/metrics")
    given = ",".join(f'{label}="{labels[label]}"' for label in sorted(labels))
    start = f"tallygate_{name}{{{given}}} "
    (value,) = [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]
    return float(value)


# -- what may wait -----------------------------------------------------------------------------------------------------


async def test_a_request_for_pro_waits(serve: Serve) -> None:
    house = await serve(**PRO)
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    said(await ann.ask("request_pro"), "granted")
    said(await bob.ask("request_pro", wait=60, id=5), "queued", id=5, request="request_pro", pool="pro", position=1)
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 204
    said(await bob.hear(), "granted", id=5, pool="pro")


async def test_whoever_finds_a_conference_of_named_use_full_waits_for_it(serve: Serve) -> None:
    time = Forward()
    named = {"license__nefsis-named__hosts": 2, "license__nefsis-named__participants": 2}
    house = await serve(license__model="nefsis-named", clock=time.clock, **named)
    host, other = await house.welcomed(account="host"), await house.welcomed(account="other")
    said(await host.ask("join", conference="a", host=True), "joined")
    said(await other.ask("join", conference="b", host=True), "joined")
    first, second, third = [await house.welcomed() for _ in range(3)]
    said(await first.ask("join", conference="a"), "joined")
    for position, wire in enumerate((second, third), 1):
        told = await wire.ask("join", conference="a", wait=60 * position, id=1)
        said(told, "queued", conference="a", pool="participants", position=position, used=2, limit=2)
    said(await second.ask("join", conference="b"), "joined")  # each conference has a line of its own
    said(await first.ask("leave", conference="a"), "left")
    said(await second.hear(), "joined", id=1, conference="a")
    time.pass_(house, 121)
    said(await third.hear(), "denied", id=1, reason="conference_full", conference="a", waited_seconds=121)


async def test_what_is_refused_for_anything_else_does_not_wait(serve: Serve) -> None:
    house = await serve(**PRO)
    ann, guest = await house.welcomed(account="ann"), await house.welcomed()
    said(await ann.ask("join", conference="c"), "joined")
    denied(await guest.ask("join", conference="c", wait=60), "not_allowed")
    denied(await ann.ask("join", conference="c", wait=60), "already_member")
    far = await house.connect()
    denied(await far.hello(account="bob", home="elsewhere", wait=60), "not_allowed", "hello")
    assert await places(house) == []


@pytest.mark.parametrize("most", [0, 1, 2])
async def test_so_many_wait_in_a_line_and_the_next_is_denied_at_once(most: int, serve: Serve) -> None:
    house = await serve(**FLOATING, license__queue_limit=most)
    await house.welcomed()
    for _ in range(most):
        await waiting(house)
    full(await (await house.connect()).hello(wait=60), "seats", 1, 1, "hello")
    assert await metric(house, "license_queue_length", model="floating", pool="seats") == most


# -- places ------------------------------------------------------------------------------------------------------------


async def test_who_asks_again_keeps_its_place_and_waits_from_then_on(serve: Serve) -> None:
    time = Forward()
    house = await serve(license__model="epop", license__epop__users=1, clock=time.clock)
    ann, bob, cid = [await house.welcomed(account=name) for name in ("ann", "bob", "cid")]
    said(await ann.ask("join", conference="c"), "joined")
    said(await bob.ask("join", conference="c", wait=5), "queued", position=1)
    said(await cid.ask("join", conference="c", wait=60), "queued", position=2)
    time.pass_(house, 4)
    said(await bob.ask("join", conference="c", wait=5, id=2), "queued", position=1, wait_seconds=5)
    said(await bob.ask("join", conference="d", wait=60, id=3), "queued", position=3)  # each conference is another wait
    time.pass_(house, 4)
    said(await ann.ask("leave", conference="c"), "left")
    said(await bob.hear(), "joined", id=2)
    assert await places(house) == [("join", "cid"), ("join", "bob")]


async def test_a_join_whose_wait_is_over_is_denied_and_the_connection_stays(serve: Serve) -> None:
    time = Forward()
    house = await serve(license__model="epop", license__epop__users=1, clock=time.clock)
    ann, bob = await house.welcomed(), await house.welcomed()
    said(await ann.ask("join", conference="c"), "joined")
    said(await bob.ask("join", conference="d", wait=5, id=1), "queued")
    time.pass_(house, 5.5)
    full(said(await bob.hear(), "denied", id=1, conference="d", waited_seconds=5), "concurrent", 1, 1)
    await silent(bob)


async def test_the_deadline_of_a_hello_is_met_by_one_that_waits(serve: Serve) -> None:
    time = Forward()
    house = await serve(**FLOATING, clock=time.clock, heartbeat__hello_deadline="5s")
    await house.welcomed()
    bob = await waiting(house)
    mute = await house.connect()
    time.ahead += 6
    house.runtime.advance(40)
    said(await mute.hear(), "closing", reason="hello_timeout")
    said(await bob.ask("heartbeat"), "ack")
    assert len(await places(house)) == 1


async def test_a_takeover_and_a_kick_lose_the_places_of_a_session(serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=1)
    ann, bob, cid = [await house.welcomed(account=name, device="pc") for name in ("ann", "bob", "cid")]
    said(await ann.ask("join", conference="c"), "joined")
    for wire in (bob, cid):
        said(await wire.ask("join", conference="c", wait=60), "queued")
    again = await house.welcomed(account="bob", device="pc")
    said(await bob.hear(), "closing", reason="replaced")
    assert await places(house) == [("join", "cid")]
    assert (await house.http("DELETE", "/api/accounts/cid/connections"))[0] == 200
    assert [each["type"] for each in await cid.gone() if each["type"] != "queued"] == ["closing"]
    assert await places(house) == []
    await silent(again)


@pytest.mark.parametrize("end", [KILL, RESTART])
async def test_a_restart_loses_the_line(runs: Runs, end: str) -> None:
    floating: dict[str, Any] = {**FLOATING, "license__returning": "0s"}
    async with runs.run(end, **floating) as house:
        await house.welcomed(account="ann")
        await waiting(house, account="bob")
        assert await places(house) == [("hello", "bob")]
    async with runs.run(**floating) as house:
        assert await places(house) == []
        await house.welcomed(account="cid")


# -- serving -----------------------------------------------------------------------------------------------------------


async def test_the_line_is_served_when_a_lease_ends(serve: Serve) -> None:
    time = Forward()
    house = await serve(**PRO, clock=time.clock, heartbeat__timeout="90000s", heartbeat__interval="30000s")
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    said(await ann.ask("request_pro"), "granted")
    said(await bob.ask("join", conference="c", wait=86_400, id=1), "queued", pool="pro")
    time.pass_(house, DAY - 60)
    await silent(bob)
    said(await bob.ask("join", conference="c", wait=600, id=2), "queued", position=1)
    time.pass_(house, 61)
    said(await bob.hear(), "joined", id=2)


async def test_the_line_is_served_when_a_limit_is_raised(serve: Serve) -> None:
    house = await serve(**FLOATING)
    await house.welcomed()
    first, second, third = [await waiting(house) for _ in range(3)]
    house.gateway.reload(settings_of(**{**FLOATING, "license__floating__limit": 3}))
    for wire in (first, second):
        said(await wire.hear(), "welcome")
    full(await (await house.connect()).hello(), "seats", 3, 3, "hello")
    assert len(await places(house)) == 1
    await third.close()


async def test_the_line_is_served_when_licenses_are_redistributed(serve: Serve) -> None:
    time = Forward()
    house = await serve(**PRO, clock=time.clock)
    await house.http("PUT", "/api/groups/board", json={"accounts": ["chief"], "permanent": True})
    time.pass_(house, DAY)
    await pools(house, pro=1)
    bob = await house.welcomed(account="bob")
    said(await bob.ask("join", conference="c", wait=86_400, id=1), "queued", pool="pro", used=1)
    status, _ = await house.http("PUT", "/api/groups/board", json={"accounts": ["bob"], "permanent": True})
    assert status == 200
    await silent(bob)
    time.pass_(house, DAY - 60)
    await silent(bob)
    said(await bob.ask("join", conference="c", wait=600, id=2), "queued", position=1)
    time.pass_(house, 61)
    said(await bob.hear(), "status", pro_expires=None)
    said(await bob.hear(), "joined", id=2)


async def test_who_is_short_of_another_pool_too_stays_and_is_not_overtaken(serve: Serve) -> None:
    house = await serve(**PRO, license__trueconf__online=2)
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    said(await ann.ask("join", conference="c"), "joined")
    said(await bob.ask("sleep"), "asleep")
    cid = await house.welcomed(account="cid")
    said(await bob.ask("join", conference="c", wait=60, id=1), "queued", pool="online", position=1)
    dan = await house.connect()
    said(await dan.hello(account="dan", wait=60, id=2), "queued", pool="online", position=2)
    await cid.say("bye")
    await cid.gone()
    await silent(bob)
    said(await dan.ask("heartbeat"), "ack")
    assert dan._unasked == []
    full(await (await house.connect()).hello(account="eve"), "online", 1, 2, "hello")
    assert (await house.http("DELETE", "/api/pro/ann"))[0] == 204
    said(await bob.hear(), "joined", id=1)
    assert await places(house) == [("hello", "dan")]
    await ann.say("bye")
    said(await dan.ask("heartbeat"), "ack")
    said(await dan.hear(), "welcome", id=2)


async def test_where_priorities_count_the_hello_of_a_higher_one_comes_first(serve: Serve) -> None:
    house = await serve(**FLOATING, license__queue_order="priority")
    for account, priority in (("vip", 1), ("chief", 2)):
        await house.http("PUT", f"/api/groups/of-{account}", json={"accounts": [account], "priority": priority})
    ann = await house.welcomed()
    wires = {}
    for account in ("bob", "vip", "cid", "chief"):
        wires[account] = await waiting(house, account=account)
    assert [account for _, account in await places(house)] == ["chief", "vip", "bob", "cid"]
    for account in ("chief", "vip", "bob", "cid"):
        await ann.say("bye")
        ann = wires[account]
        while (told := await ann.hear())["type"] == "queued":
            pass
        said(told, "welcome")


# -- figures -----------------------------------------------------------------------------------------------------------


async def test_a_wait_with_a_seat_is_a_demand_that_was_met_and_any_other_a_true_denial(serve: Serve) -> None:
    time = Forward()
    house = await serve(**FLOATING, clock=time.clock)
    ann = await house.welcomed(account="ann")
    await waiting(house, account="late", wait=5)
    gone = await waiting(house, account="gone")
    bob = await waiting(house, account="bob")
    await gone.say("bye")
    await gone.gone()
    time.pass_(house, 20)
    await ann.say("bye")
    while (await bob.hear())["type"] != "welcome":
        pass
    left = {
        outcome: await metric(house, "license_queue_left_total", model="floating", outcome=outcome, pool="seats")
        for outcome in ("granted", "timed_out", "gave_up", "refused")
    }
    assert left == {"granted": 1, "timed_out": 1, "gave_up": 1, "refused": 0}
    assert await metric(house, "license_queue_wait_seconds_count", model="floating", pool="seats") == 1
    assert await metric(house, "license_queue_length", model="floating", pool="seats") == 0
    told = {"model": "floating", "pool": "seats", "reason": "pool_full"}
    assert await metric(house, "license_denials_total", **told) == 2
    assert await metric(house, "license_true_denials_total", **told) == 2
    (use,) = (await house.http("GET", "/api/history?model=floating&step=all"))[1]["items"]
    assert (use["denied"], use["true_denials"], use["seated"]) == (2, 2, 1)
    assert 20 <= use["time_to_seat"]["mean"] < 25
