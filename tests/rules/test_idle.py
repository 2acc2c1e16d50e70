"""Who is idle, and what becomes of their seats, over the wire (COUNTING.md, Idle sessions; COUNTING.md, Preemption)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.admission.commands import SetTerms
from tests.conftest import House, Serve, until
from tests.rules.said import Forward, full, pools, said, silent
from tests.wire_client import Wire

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])
SECOND = 4
"""Ticks."""


async def floating(serve: Serve, time: Forward, limit: int = 1, **more: Any) -> House:
    more = {"license__floating__asleep_counts": "false", "license__idle_timeout": "60s", **more}
    return await serve(license__model="floating", license__floating__limit=limit, clock=time.clock, **more)


async def beat(wire: Wire, active: bool, **fields: Any) -> None:
    """Say whether somebody uses the client; the heartbeat is answered at once, whatever follows."""
    said(await wire.ask("heartbeat", active=active, **fields), "ack")


def live(house: House, time: Forward, seconds: int) -> None:
    """Let the gateway live through so many seconds."""
    time.ahead += seconds
    house.runtime.advance(seconds * SECOND)


async def rank(house: House, **priorities: int) -> None:
    """Give accounts a priority each."""
    for account, priority in priorities.items():
        body = {"accounts": [account], "priority": priority}
        status, _ = await house.http("PUT", f"/api/groups/of-{account}", json=body)
        assert status == 200


async def released(house: House, pool: str, cause: str) -> float:
    """How many seats of a pool of the enforced model were released for a cause."""
    model = house.runtime.state.primary.model.name
    name = f'tallygate_license_releases_total{{cause="{cause}",model="{model}",pool="{pool}"}} '
    _, text = await house.http("GET", "/metrics")
    (value,) = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
    return float(value)


async def shown(house: House, account: str) -> tuple[str, bool | None, int | None]:
    """Presence, use and idle time of an account's connection, as the API shows them."""
    _, page = await house.http("GET", f"/api/connections?account={account}")
    (item,) = page["items"]
    return item["presence"], item["active"], item["unused_seconds"]


# -- time-out ----------------------------------------------------------------------------------------------------------


@BOTH
async def test_who_is_idle_for_long_is_put_to_sleep_and_wakes_when_it_is_used(serve: Serve, transport: str) -> None:
    time = Forward()
    house = await floating(serve, time)
    ann = await house.welcomed(transport, account="ann")
    await beat(ann, active=False, seq=7)
    time.pass_(house, 59.0)
    await silent(ann)
    assert await shown(house, "ann") == ("awake", False, 59)
    time.pass_(house, 1.5)
    said(await ann.hear(), "asleep", reason="idle", seats=[], id=None)
    assert (await shown(house, "ann"))[0] == "asleep"
    await pools(house, seats=0)
    assert await released(house, "seats", "idle") == 1
    await beat(ann, active=True)
    said(await ann.hear(), "awake", seats=["seats"], id=None)
    assert await shown(house, "ann") == ("awake", True, None)


async def test_who_is_used_again_in_time_or_never_says_anything_stays_awake(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time, limit=2)
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await beat(ann, active=False)
    time.pass_(house, 59.0)
    await beat(ann, active=True)
    time.pass_(house, 59.0)
    await beat(ann, active=False)
    time.pass_(house, 59.0)
    for wire in (ann, bob):
        await silent(wire)
    assert await shown(house, "bob") == ("awake", None, None)


@BOTH
async def test_who_said_that_it_is_used_and_says_nothing_more_of_it_is_idle_since(serve: Serve, transport: str) -> None:
    time = Forward()
    house = await floating(serve, time, license__idle_timeout="20s")
    ann = await house.welcomed(transport, account="ann")
    await beat(ann, active=True)
    live(house, time, 15)
    await beat(ann, active=True)
    live(house, time, 17)
    await silent(ann)
    assert await shown(house, "ann") == ("awake", True, None)
    live(house, time, 4)
    said(await ann.hear(), "asleep", reason="idle")


async def test_a_heartbeat_that_changes_nothing_is_no_command(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time)
    seen: list[str] = []
    house.runtime.sequencer.observer = lambda *decided: seen.append(type(decided[0]).__name__)
    ann = await house.welcomed(account="ann")
    for active in (True, True, False, False, True):
        await beat(ann, active=active)
    await silent(ann)
    assert [name for name in seen if name == "Activity"] == ["Activity"] * 3


async def test_in_a_live_conference_nobody_is_idle_and_the_time_begins_when_it_is_left(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time)
    ann = await house.welcomed(account="ann")
    await beat(ann, active=False)
    said(await ann.ask("join", conference="c"), "joined")
    time.pass_(house, 120.0)
    await silent(ann)
    assert await shown(house, "ann") == ("awake", False, None)
    said(await ann.ask("leave", conference="c"), "left")
    time.pass_(house, 59.0)
    await silent(ann)
    time.pass_(house, 1.5)
    said(await ann.hear(), "asleep", reason="idle")


async def test_who_waits_in_a_scheduled_conference_is_removed_from_it(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time)
    ann = await house.welcomed(account="ann")
    said(await ann.ask("join", conference="c", scheduled=True), "waiting")
    await beat(ann, active=False)
    time.pass_(house, 60.5)
    said(await ann.hear(), "removed", conference="c", reason="idle", seats=[])
    said(await ann.hear(), "asleep", reason="idle")
    _, listed = await house.http("GET", "/api/conferences")
    assert listed["items"] == []


async def test_who_says_wake_itself_has_its_time_anew(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time)
    ann = await house.welcomed(account="ann")
    await beat(ann, active=False)
    time.pass_(house, 60.5)
    said(await ann.hear(), "asleep", reason="idle")
    said(await ann.ask("wake", id=1), "awake", id=1)
    time.pass_(house, 59.0)
    await silent(ann)
    time.pass_(house, 1.5)
    said(await ann.hear(), "asleep", reason="idle")


async def test_who_waits_is_served_when_somebody_idle_sleeps_and_that_one_may_wait_in_turn(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time)
    ann, bob = await house.welcomed(account="ann"), await house.connect()
    said(await bob.hello(account="bob", wait=3600), "queued", position=1)
    await beat(ann, active=False)
    time.pass_(house, 60.5)
    said(await ann.hear(), "asleep", reason="idle")
    said(await bob.hear(), "welcome", seats=["seats"])
    await beat(ann, active=True)
    full(await ann.hear(), "seats", 1, 1, "wake")
    await beat(ann, active=True, wait=600)
    said(await ann.hear(), "queued", request="wake", position=1, wait_seconds=600, id=None)
    await beat(ann, active=True)
    await silent(ann)
    await bob.say("bye")
    said(await ann.hear(), "awake", seats=["seats"], id=None)


async def test_active_wakes_also_who_went_to_sleep_itself(serve: Serve) -> None:
    house = await floating(serve, Forward())
    ann = await house.welcomed(account="ann")
    said(await ann.ask("sleep"), "asleep", reason=None)
    await beat(ann, active=True)
    said(await ann.hear(), "awake")
    assert await shown(house, "ann") == ("awake", True, None)


async def test_under_floating_where_sleepers_count_nothing_is_freed(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time, license__floating__asleep_counts="true")
    ann = await house.welcomed(account="ann")
    await beat(ann, active=False)
    time.pass_(house, 60.5)
    said(await ann.hear(), "asleep", reason="idle", seats=["seats"])
    await pools(house, seats=1)


async def test_under_trueconf_the_online_seat_is_freed_and_pro_runs_on(serve: Serve) -> None:
    time = Forward()
    house = await serve(license__model="trueconf", license__idle_timeout="60s", clock=time.clock)
    ann = await house.welcomed(account="ann", device="pc")
    said(await ann.ask("join", conference="c"), "joined")
    said(await ann.ask("leave", conference="c"), "left")
    await beat(ann, active=False)
    time.pass_(house, 60.5)
    said(await ann.hear(), "asleep", reason="idle", seats=["pro"])
    await pools(house, online=0, pro=1)
    assert await released(house, "online", "idle") == 1


async def test_under_epop_nobody_idle_holds_a_seat(serve: Serve) -> None:
    time = Forward()
    house = await serve(license__model="epop", license__idle_timeout="60s", clock=time.clock)
    ann, guest = await house.welcomed(account="ann"), await house.welcomed()
    for wire in (ann, guest):
        await beat(wire, active=False)
    time.pass_(house, 60.5)
    for wire in (ann, guest):
        said(await wire.hear(), "asleep", reason="idle", seats=[])
    said(await guest.ask("join", conference="c"), "joined", seats=["concurrent"])


async def test_a_lost_session_goes_on_being_idle_and_hears_of_it_when_it_is_resumed(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time, heartbeat__resume_window="1h")
    ann = await house.connect()
    welcome = await ann.hello(account="ann", device="pc")
    await beat(ann, active=False)
    await ann.drop()
    await until(lambda: bool(house.runtime.state.resumable))
    time.pass_(house, 60.5)
    again = await house.connect("websocket")
    said(await again.hello(resume=welcome["resume"]), "welcome", presence="asleep", reason="idle", seats=[])
    await beat(again, active=True)
    said(await again.hear(), "awake", seats=["seats"])
    new = await house.welcomed("websocket", account="ann", device="pc")
    assert await shown(house, "ann") == ("awake", None, None)
    await silent(new)


async def test_the_setting_is_live_and_off_by_default(serve: Serve) -> None:
    time = Forward()
    house = await floating(serve, time, license__idle_timeout="0s")
    ann = await house.welcomed(account="ann")
    await beat(ann, active=False)
    time.pass_(house, 7200.0)
    await silent(ann)
    house.runtime.commit_and_deliver(SetTerms(replace(house.runtime.state.terms, idle_timeout=60.0)))
    time.pass_(house, 1.0)
    said(await ann.hear(), "asleep", reason="idle")


async def test_idle_ones_are_counted_and_wrong_fields_are_refused(serve: Serve) -> None:
    house = await floating(serve, Forward(), limit=3)
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await beat(ann, active=False)
    said(await bob.ask("sleep"), "asleep")
    _, counted = await house.http("GET", "/api/connections/count")
    assert counted == {"count": 2, "asleep": 1, "idle": 1}
    _, counted = await house.http("GET", "/api/connections/count?account=ann")
    assert counted == {"count": 1, "asleep": 0, "idle": 1}
    _, text = await house.http("GET", "/metrics")
    assert "\ntallygate_sessions_idle 1.0\n" in text
    assert await released(house, "seats", "idle") == 0
    wrong: object
    for wrong in ("yes", 1, []):
        said(await ann.ask("heartbeat", active=wrong), "error", code="bad_field")
    said(await ann.ask("heartbeat", active=True, wait=0), "error", code="bad_field")
    said(await ann.ask("heartbeat", active=None), "ack")


# -- preemption --------------------------------------------------------------------------------------------------------


async def preempting(serve: Serve, limit: int = 1, **more: Any) -> House:
    return await floating(serve, Forward(), limit, **{"license__preempt": "true", "license__idle_timeout": "0s"} | more)


@BOTH
@pytest.mark.parametrize("asleep_counts", ["true", "false"])
async def test_a_higher_priority_takes_the_seat_of_somebody_idle(
    serve: Serve, transport: str, asleep_counts: str
) -> None:
    house = await preempting(serve, license__floating__asleep_counts=asleep_counts)
    await rank(house, vip=5)
    ann = await house.welcomed(transport, account="ann")
    full(await (await house.connect(transport)).hello(account="vip"), "seats", 1, 1, "hello")
    await beat(ann, active=False)
    full(await (await house.connect(transport)).hello(account="bob"), "seats", 1, 1, "hello")
    vip = await house.welcomed(transport, account="vip")
    said(await ann.hear(), "asleep", reason="preempted", seats=[], id=None)
    await pools(house, seats=1)
    assert await released(house, "seats", "preempted") == 1
    await beat(ann, active=True)
    full(await ann.hear(), "seats", 1, 1, "wake")
    await vip.say("bye")
    await vip.gone()
    await beat(ann, active=True)
    said(await ann.hear(), "awake", seats=["seats"])


async def test_the_longest_idle_of_the_lowest_priority_loses_its_seat(serve: Serve) -> None:
    house = await preempting(serve, limit=4)
    await rank(house, vip=5, low=1, other=1, peer=5)
    wires = {name: await house.welcomed(account=name) for name in ("peer", "low", "other", "used")}
    for name in ("peer", "low", "other"):
        await beat(wires[name], active=False)
    first = await house.welcomed(account="vip", device="1")
    said(await wires["low"].hear(), "asleep", reason="preempted")
    second = await house.welcomed(account="vip", device="2")
    said(await wires["other"].hear(), "asleep", reason="preempted")
    full(await (await house.connect()).hello(account="vip", device="3"), "seats", 4, 4, "hello")
    for wire in (wires["peer"], wires["used"], first, second):
        await silent(wire)


async def test_nobody_in_a_live_conference_loses_a_seat_and_who_waits_is_removed(serve: Serve) -> None:
    house = await preempting(serve, limit=2)
    await rank(house, vip=1)
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    said(await ann.ask("join", conference="live"), "joined")
    said(await bob.ask("join", conference="later", scheduled=True), "waiting")
    for wire in (ann, bob):
        await beat(wire, active=False)
    await house.welcomed(account="vip", device="1")
    said(await bob.hear(), "removed", conference="later", reason="preempted")
    said(await bob.hear(), "asleep", reason="preempted")
    full(await (await house.connect()).hello(account="vip", device="2"), "seats", 2, 2, "hello")
    await silent(ann)


async def test_an_account_on_two_devices_is_idle_when_both_are(serve: Serve) -> None:
    house = await preempting(serve, license__floating__key="account")
    await rank(house, vip=1)
    pc, phone = [await house.welcomed(account="ann", device=name) for name in ("pc", "phone")]
    await beat(pc, active=False)
    full(await (await house.connect()).hello(account="vip"), "seats", 1, 1, "hello")
    await beat(phone, active=False)
    await house.welcomed(account="vip")
    for wire in (pc, phone):
        said(await wire.hear(), "asleep", reason="preempted")


async def test_who_could_wait_preempts_first_and_those_in_line_are_not_overtaken(serve: Serve) -> None:
    house = await preempting(serve)
    await rank(house, vip=1)
    ann, bob = await house.welcomed(account="ann"), await house.connect()
    said(await bob.hello(account="bob", wait=600), "queued", position=1)
    await beat(ann, active=False)
    vip = await house.connect()
    said(await vip.hello(account="vip", wait=600), "welcome")
    said(await ann.hear(), "asleep", reason="preempted")
    await vip.say("bye")
    said(await bob.hear(), "welcome")


async def test_who_is_next_in_line_preempts_when_somebody_becomes_idle(serve: Serve) -> None:
    house = await preempting(serve)
    await rank(house, vip=1)
    ann, vip = await house.welcomed(account="ann"), await house.connect()
    said(await vip.hello(account="vip", wait=600), "queued", position=1)
    await beat(ann, active=False)
    said(await ann.hear(), "asleep", reason="preempted")
    said(await vip.hear(), "welcome")


async def test_reserved_seats_and_those_above_a_lowered_limit_are_not_taken(serve: Serve) -> None:
    house = await preempting(serve, license__floating__key="account", license__floating__reserve='["ann"]')
    await rank(house, vip=1)
    ann = await house.welcomed(account="ann")
    await beat(ann, active=False)
    full(await (await house.connect()).hello(account="vip"), "seats", 1, 1, "hello")
    await silent(ann)


async def test_without_the_setting_and_without_enforcement_nobody_loses_anything(serve: Serve) -> None:
    house = await preempting(serve, license__preempt="false")
    await rank(house, vip=1)
    ann = await house.welcomed(account="ann")
    await beat(ann, active=False)
    full(await (await house.connect()).hello(account="vip"), "seats", 1, 1, "hello")
    other = await preempting(serve, license__enforce="false")
    await rank(other, vip=1)
    bob = await other.welcomed(account="bob")
    await beat(bob, active=False)
    await other.welcomed(account="vip")
    await silent(bob)


async def test_a_wake_and_a_join_take_seats_too(serve: Serve) -> None:
    house = await preempting(serve, limit=2)
    await rank(house, vip=1)
    vip = await house.welcomed(account="vip")
    said(await vip.ask("sleep"), "asleep", seats=[])
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await beat(ann, active=False)
    said(await vip.ask("wake"), "awake", seats=["seats"])
    said(await ann.hear(), "asleep", reason="preempted")
    said(await vip.ask("sleep"), "asleep")
    said(await ann.ask("wake"), "awake")
    await beat(bob, active=False)
    said(await vip.ask("join", conference="c"), "joined", seats=["seats"])
    assert [said(await wire.hear(), "asleep")["reason"] for wire in (ann,)] == ["preempted"]


async def trueconf(serve: Serve, **more: Any) -> House:
    settings = {
        "license__model": "trueconf",
        "license__preempt": "true",
        "license__trueconf__online": 9,
        "license__trueconf__pro": 1,
        "license__trueconf__allow_pro_requests": "true",
    }
    return await serve(**settings | more)


async def test_a_temporary_license_of_somebody_idle_is_taken_before_its_day_is_over(serve: Serve) -> None:
    house = await trueconf(serve)
    await rank(house, vip=1)
    ann, vip = await house.welcomed(account="ann"), await house.welcomed(account="vip")
    said(await ann.ask("join", conference="c"), "joined")
    full(await vip.ask("join", conference="d"), "pro", 1, 1)
    await beat(ann, active=False)
    full(await vip.ask("join", conference="d"), "pro", 1, 1)
    said(await ann.ask("leave", conference="c"), "left")
    said(await vip.ask("join", conference="d"), "joined", seats=["online", "pro"])
    said(await ann.hear(), "status", reason="preempted", seats=["online"], pro_expires=None)
    await silent(ann)
    assert (await shown(house, "ann"))[0] == "awake"
    await pools(house, pro=1)
    assert await released(house, "pro", "preempted") == 1
    full(await ann.ask("join", conference="d"), "pro", 1, 1)


async def test_a_permanent_license_is_never_taken_and_one_of_nobody_connected_neither(serve: Serve) -> None:
    house = await trueconf(serve)
    await rank(house, vip=1)
    ann, vip = await house.welcomed(account="ann"), await house.welcomed(account="vip")
    said(await ann.ask("request_pro"), "granted")
    await ann.say("bye")
    await ann.gone()
    full(await vip.ask("request_pro"), "pro", 1, 1, "request_pro")
    ann = await house.welcomed(account="ann")
    await beat(ann, active=False)
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"], "permanent": True})
    house.runtime.state.redistribute_at = 0.0
    house.runtime.tick()
    await ann.hear()
    full(await vip.ask("request_pro"), "pro", 1, 1, "request_pro")
    await silent(ann)


async def test_a_join_takes_all_that_it_needs_or_nothing(serve: Serve) -> None:
    house = await trueconf(serve, license__trueconf__online=1)
    await rank(house, vip=1)
    vip = await house.welcomed(account="vip")
    said(await vip.ask("sleep"), "asleep")
    ann = await house.welcomed(account="ann")
    said(await ann.ask("join", conference="c"), "joined")
    said(await ann.ask("leave", conference="c"), "left")
    full(await vip.ask("join", conference="d"), "online", 1, 1)
    await beat(ann, active=False)
    said(await vip.ask("join", conference="d"), "joined", seats=["online", "pro"])
    told = [await ann.hear(), await ann.hear()]
    assert sorted(each["type"] for each in told) == ["asleep", "status"]
    assert {each["reason"] for each in told} == {"preempted"}
