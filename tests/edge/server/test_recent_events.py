"""Events in memory: their names, whose names are in them, how many are kept, and when a pool is full."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gateway.core.admission.replies import session_id
from gateway.edge.server.recent_events import RecentEvent
from tests.conftest import House, Serve, until
from tests.edge.api.test_reports import Hands

FLOATING = {"license__model": "floating", "license__floating__limit": 2}


def told(house: House, *kinds: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and details of the events so far, of these kinds."""
    found = house.runtime.recent.events.after(0)
    return [(each.name, dict(each.detail)) for each in found if not kinds or each.name.split(".")[0] in kinds]


async def test_a_start_opens_doors_and_a_stop_closes_them(serve: Serve) -> None:
    house = await serve(**FLOATING)
    start, opened = told(house)
    assert start[0] == "gateway.start"
    assert start[1]["model"] == "floating"
    assert opened == ("gateway.doors_opened", {"tcp": house.tcp, "websocket": house.websocket})
    await house.gateway.close(drain=0)
    names = [name for name, _ in told(house, "gateway")]
    assert names[-2:] == ["gateway.doors_closed", "gateway.stop"]


async def test_a_session_is_named_in_the_events_of_its_seat(serve: Serve) -> None:
    house = await serve(**FLOATING)
    ann = await house.welcomed(account="ann", device="laptop")
    id = session_id(house.runtime.state, 1)
    seat = {"pool": "seats", "account": "ann", "device": "laptop", "session": id}
    await ann.close()
    await until(lambda: not house.runtime.state.sessions.by_number)
    assert told(house, "granted", "released") == [
        ("granted", {**seat, "used": 1, "limit": 2}),
        ("released", {**seat, "used": 0, "limit": 2, "cause": "closed"}),
    ]


async def test_what_no_license_refused_is_refused_and_what_it_did_is_denied(serve: Serve) -> None:
    house = await serve(license__model="floating", license__floating__limit=1)
    ann = await house.welcomed(account="ann")
    await (await house.connect()).hello(account="bob")
    await (await house.connect()).hello(account="eve", home="elsewhere")
    await ann.ask("leave", conference="nowhere")
    refused = {
        "request": "hello",
        "reason": "not_allowed",
        "account": "eve",
        "home": "elsewhere",
        "address": "127.0.0.1",
    }
    assert told(house, "denied", "refused")[:2] == [
        ("denied", {"pool": "seats", "account": "bob", "used": 1, "limit": 1, "reason": "pool_full"}),
        ("refused", refused),
    ]
    assert told(house, "refused")[-1] == (
        "refused",
        {
            "request": "leave",
            "reason": "not_member",
            "session": session_id(house.runtime.state, 1),
            "account": "ann",
            "address": "127.0.0.1",
        },
    )


async def test_acts_of_operators_leases_and_the_reload_come_from_the_audit_log(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="a")
    await house.http("DELETE", "/api/accounts/ann/connections?ban=5m")
    house.gateway.reload(house.gateway.settings)
    names = [name for name, _ in told(house, "lease", "act", "gateway")]
    assert names[2:] == ["lease.granted", "act.ban.added", "act.account.kicked", "gateway.reload"]
    (kicked,) = [detail for name, detail in told(house) if name == "act.account.kicked"]
    assert kicked == {"actor": "loopback", "subject": "ann", "sessions": 1}


@pytest.mark.parametrize("kind", ["pseudonyms", "none"])
async def test_persons_stand_in_events_as_in_the_past(kind: str, serve: Serve) -> None:
    house = await serve(license__model="trueconf", history__names=kind)
    ann = await house.welcomed(account="ann", device="anns-phone")
    await ann.ask("join", conference="a")
    await house.welcomed(kind="app")
    await (await house.connect()).hello(account="ann", home="elsewhere")
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann", "zoe"]})
    await house.http("DELETE", f"/api/connections/{session_id(house.runtime.state, 1)}")
    await house.http("DELETE", "/api/accounts/zoe")
    text = repr(told(house))
    for name in ("'ann'", "'zoe'", "anns-phone", "127.0.0.1"):
        assert name not in text
    assert ("~" in text) is (kind == "pseudonyms")
    granted = [detail.get("account") for name, detail in told(house, "granted", "lease") if name == "granted"]
    leased = [detail.get("subject") for name, detail in told(house, "lease") if name == "lease.granted"]
    assert set(leased) <= set(granted)


async def test_an_erased_person_stands_in_no_event(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.welcomed(account="ann", device="anns-phone")
    await ann.ask("join", conference="a")
    await house.welcomed(account="bob")
    await house.http("DELETE", "/api/accounts/ann/nothing", json={})
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann", "bob"]})
    before = house.runtime.recent.events.last
    assert "ann" in repr(told(house))
    assert (await house.http("DELETE", "/api/persons/ann?force=true"))[0] == 200
    assert "ann" not in repr(told(house)).replace("granted", "")
    assert "bob" in repr(told(house))
    assert house.runtime.recent.events.last > before  # numbers go on


async def test_the_oldest_make_room_and_are_counted(serve: Serve) -> None:
    house = await serve(events__kept=5, **FLOATING)
    events = house.runtime.recent.events
    for number in range(9):
        events.note("gateway.reload", {"number": number})
    assert [each.detail["number"] for each in events.after(0)] == [4, 5, 6, 7, 8]
    assert (events.dropped, events.first, events.last) == (6, 7, 11)
    assert [each.number for each in events.after(9)] == [10, 11]
    assert events.after(9, 1)[0].number == 10
    assert events.after(99) == []
    assert sum(events.counts.values()) == 11


async def test_ids_of_another_run_are_before_all_others(serve: Serve) -> None:
    house = await serve(**FLOATING)
    events = house.runtime.recent.events
    last = events.after(0)[-1]
    assert events.number_of(events.id_of(last)) == last.number
    assert events.number_of("00000000-7") == 0
    assert events.number_of(f"{events.run}-ffff") == events.last


async def test_a_pool_is_full_and_no_more_and_use_crosses_thresholds(serve: Serve) -> None:
    hands = Hands()
    house = await serve(
        clock=hands.clock(), license__model="floating", license__floating__limit=10, events__thresholds="[50, 80]"
    )

    def second() -> list[tuple[str, dict[str, Any]]]:
        last = house.runtime.recent.events.last
        hands.move(1.0)
        house.runtime.recent.look(house.runtime.tick())
        found: list[RecentEvent] = house.runtime.recent.events.after(last)
        return [(each.name, dict(each.detail)) for each in found if each.name.split(".")[0] in {"full", "threshold"}]

    wires = [await house.welcomed(account=f"u{number}") for number in range(5)]
    assert second() == [("threshold.reached", {"pool": "seats", "used": 5, "limit": 10, "percent": 50})]
    wires += [await house.welcomed(account=f"v{number}") for number in range(5)]
    assert (await (await house.connect()).hello(account="late"))["type"] == "denied"
    assert [name for name, _ in second()] == ["full.begun", "threshold.reached"]
    assert second() == []
    for wire in wires[:5]:
        await wire.close()
    await until(lambda: len(house.runtime.state.sessions.by_number) == 5)
    for _ in range(3):  # the highest use of a second counts
        second()
    names = [each.name for each in house.runtime.recent.events.after(0)]
    assert names.count("full.begun") == names.count("full.ended") == 1
    (full,) = [each for each in house.runtime.recent.events.after(0) if each.name == "full.ended"]
    assert full.detail["denied"] == 1
    assert full.detail["seconds"] >= 1.0
    left = [each.detail["percent"] for each in house.runtime.recent.events.after(0) if each.name == "threshold.left"]
    assert left == [80]  # 5 of 10 are within five points of the lower one


async def test_what_operators_want_to_know_has_a_line_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tallygate.events")
    house = await serve(license__model="floating", license__floating__limit=1, listen__max_connections=4)
    house.runtime.recent.events.begin_log()
    ann = await house.welcomed(account="ann")
    for number in range(3):
        await (await house.connect()).hello(account="bob" if number else "eve")
    await house.http("DELETE", "/api/accounts/zoe/connections?ban=5m")
    await ann.close()
    lines = [(vars(each)["event"], each.getMessage()) for each in caplog.records if each.name == "tallygate.events"]
    assert [event for event, _ in lines if not event.startswith(("full", "threshold"))] == [
        "gateway.start",
        "gateway.doors_opened",
        "denied",
        "act.ban.added",
        "act.account.kicked",
    ]
    assert lines[2][1] == "denied pool=seats account=eve used=1 limit=1 reason=pool_full"
    assert all(message.startswith(event) for event, message in lines)


async def test_sockets_that_were_turned_away_are_counted_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tallygate.events")
    hands = Hands()
    house = await serve(clock=hands.clock(), listen__max_connections=1, **FLOATING)
    await house.welcomed()
    for _ in range(3):
        await (await house.connect()).gone()
    for _ in range(2):
        hands.move(1.0)
        house.runtime.recent.look(house.runtime.tick())
    told = [each.getMessage() for each in caplog.records if vars(each).get("event") == "turned_away"]
    assert told == ["turned_away 3 more in the last 10 s: tcp too_many_connections 3"]
