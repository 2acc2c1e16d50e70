"""The registrar over real sockets: what an agent is told, that is written from the protocol's text alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import House, Serve, until
from tests.edge.conftest import Call
from tests.edge.disk import broken, recovered, written
from tests.edge.registering import START, Time, sold


async def audited(house: House, action: str) -> list[dict[str, Any]]:
    """The entries of the audit log about one action."""
    await written(house.runtime.persistence)
    _, told = await house.http("GET", "/api/audit")
    return [each for each in told["items"] if each["action"] == action]


def counted(house: House) -> dict[str, int]:
    """How checks ended, without those that did not occur."""
    return {result: count for result, count in house.runtime.registrar.results.items() if count}


async def server(house: House, place: int = 0) -> dict[str, Any]:
    """A server as the API shows it."""
    _, told = await house.http("GET", "/api/registrations")
    return dict(told["items"][place])


# -- the conversation ------------------------------------------------------------------------------------------------


async def test_a_server_registers_and_is_verified_again_and_again(serve: Serve, call: Call) -> None:
    time = Time()
    house = await serve(clock=time.clock, registrar__interval="7s")
    key = await sold(house, model="trueconf", edition="server", limits={"pro": 5}, extensions=["sdk"])
    agent = await call(house, key)
    told = await agent.registered()
    ticket = told.pop("ticket")
    assert {name: value for name, value in told.items() if name != "mac"} == {
        "type": "registered",
        "model": "trueconf",
        "edition": "server",
        "limits": {"pro": 5},
        "extensions": ["sdk"],
        "needs_connection": False,
        "not_after": None,
        "interval_seconds": 7,
        "time": "2027-01-15T08:00:00Z",
    }
    tickets = {ticket}
    for seq in range(1, 6):
        time.go(7)
        tickets.add((await agent.verified(seq, pro=seq, online=2))["ticket"])
    assert len(tickets) == 6
    assert counted(house) == {"registered": 1, "verified": 5}
    shown = await server(house)
    assert shown == {
        "server": "inst-1",
        "serial": "S-1",
        "model": "trueconf",
        "edition": "server",
        "connected": True,
        "since": "2027-01-15T08:00:00Z",
        "last_verified": "2027-01-15T08:00:35Z",
        "used": {"pro": 5, "online": 2},
        "address": "127.0.0.1",
        "version": "raw/1",
        "clones_suspected": 0,
    }
    await agent.close()
    await until(lambda: not house.runtime.registrar.listener.connections)
    assert await server(house) == shown | {"connected": False, "since": None}


async def test_unknown_keys_are_part_of_what_is_proven_and_otherwise_ignored(serve: Serve, call: Call) -> None:
    house = await serve()
    agent = await call(house, await sold(house))
    await agent.registered(extra={"ä": ["\u2028", 1, None, True]}, aaa="𝄞")
    await agent.utter(agent.sealed({"type": "verify", "seq": 1, "used": {}, "more": "é"}))
    assert (await agent.hear())["type"] == "verified"


async def test_nonces_of_challenges_are_never_the_same(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    assert len({(await (await call(house, key)).challenged())["nonce"] for _ in range(20)}) == 20


async def test_who_has_no_key_learns_nothing(serve: Serve, call: Call, caplog: pytest.LogCaptureFixture) -> None:
    house = await serve()
    await sold(house, "ACTIVE")
    await sold(house, "EXPIRED", not_after="2001-01-01")
    await sold(house, "REVOKED")
    await house.http("POST", "/api/licenses/REVOKED/revoke")
    answers = set()
    for serial in ("ACTIVE", "EXPIRED", "REVOKED", "UNKNOWN"):
        agent = await call(house, bytes(32), serial=serial)
        await agent.challenged()
        await agent.utter(agent.proof())
        answers.add(await agent.rest())
    (answer,) = answers
    assert json.loads(answer) == {"type": "refused", "reason": "bad_credential"}
    assert counted(house) == {"bad_credential": 4}
    (line,) = [each for each in caplog.messages if "has not proven" in each]
    assert line.startswith("127.0.0.1 has not proven ACTIVE: no such license is sold here, or the key is another")
    _, shown = await house.http("GET", "/api/registrations")
    assert shown["items"] == []


@pytest.mark.parametrize(("reason", "terms"), [("expired", {"not_after": int(START) - 1}), ("revoked", {})])
async def test_who_has_the_key_is_told_why(reason: str, terms: dict[str, Any], serve: Serve, call: Call) -> None:
    house = await serve(clock=Time().clock)
    key = await sold(house, **terms)
    if reason == "revoked":
        await house.http("POST", "/api/licenses/S-1/revoke")
    agent = await call(house, key)
    told = await agent.registers()
    assert (told["type"], told["reason"]) == ("refused", reason)
    assert agent.signed(told)
    assert await agent.hear() == {}
    assert counted(house) == {reason: 1}


async def test_a_proof_of_another_conversation_is_none(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    first = await call(house, key)
    await first.registered()
    yesterday = first.proof()
    again = await call(house, key)
    await again.utter(first.register)
    await again.hear()
    await again.utter(yesterday)
    assert await again.gone() == [{"type": "refused", "reason": "bad_credential"}]
    assert (await first.verified(1))["type"] == "verified"


# -- two of one license ----------------------------------------------------------------------------------------------


async def test_a_second_installation_is_refused_and_the_first_stays(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    first, second = await call(house, key), await call(house, key, server="inst-2", address="127.0.0.2")
    await first.registered()
    told = await second.registers()
    assert (told["type"], told["reason"]) == ("refused", "in_use")
    assert second.signed(told)
    assert await second.hear() == {}
    await first.verified(1)
    assert counted(house) == {"registered": 1, "in_use": 1, "verified": 1}
    assert (await server(house))["clones_suspected"] == 1
    (entry,) = await audited(house, "clone.suspected")
    assert entry["subject"] == "S-1"
    assert entry["detail"] == {"how": "in_use", "server": "inst-1", "other": "inst-2", "address": "127.0.0.2"}
    _, metrics = await house.http("GET", "/metrics")
    assert "tallygate_registrar_clones_suspected_total 1.0" in metrics


async def test_once_the_first_has_gone_another_installation_may_have_the_license(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    first = await call(house, key)
    await first.registered()
    await first.close()
    await until(lambda: not house.runtime.registrar.registrar.conversations)
    await (await call(house, key, server="inst-2")).registered()
    assert house.runtime.registrar.registrar.clones == 0


async def test_the_same_installation_replaces_its_old_connection(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    old, new = await call(house, key), await call(house, key)
    ticket = (await old.registered())["ticket"]
    await new.registered(ticket=ticket)
    assert await old.hear() == {}
    await old.close()
    await new.verified(1)
    assert len(house.runtime.registrar.registrar.conversations) == 1
    assert house.runtime.registrar.registrar.clones == 0


async def test_a_copied_disk_is_betrayed_by_its_ticket_and_served(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    original = await call(house, key)
    await original.registered()
    copied = (await original.verified(1))["ticket"]
    last = (await original.verified(2))["ticket"]
    await original.close()
    copy = await call(house, key)
    await copy.registered(ticket=copied)
    await copy.verified(1)
    assert house.runtime.registrar.registrar.clones == 1
    (entry,) = await audited(house, "clone.suspected")
    assert entry["detail"]["how"] == "ticket"
    await copy.close()
    await until(lambda: not house.runtime.registrar.registrar.conversations)
    await (await call(house, key)).registered(ticket=last)
    assert house.runtime.registrar.registrar.clones == 2
    assert (await server(house))["clones_suspected"] == 2


async def test_a_server_without_a_ticket_begins_anew_and_is_no_double(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    for _ in range(2):
        agent = await call(house, key)
        await agent.registered()
        await agent.close()
    assert house.runtime.registrar.registrar.clones == 0


# -- a disk that does not answer -------------------------------------------------------------------------------------


async def test_a_disk_that_does_not_answer_holds_nobody_up(serve: Serve, call: Call, tmp_path: Path) -> None:
    house = await serve(store__path=tmp_path / "t.db", store__deadline="300ms")
    key = await sold(house)
    async with broken(house, "stalled"):
        agent = await call(house, key)
        ticket = (await agent.registered())["ticket"]
        assert not house.runtime.persistence.store.available
        last = (await agent.verified(1))["ticket"]
        await agent.close()
    await recovered(house)
    told = await (await call(house, key)).registered(ticket=last)
    assert told["ticket"] not in {ticket, last}
    assert house.runtime.registrar.registrar.clones == 0


# -- what the operator does ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["revoke", "remove"])
async def test_who_is_connected_hears_at_once_that_the_license_is_gone(act: str, serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    agent = await call(house, key)
    await agent.registered()
    if act == "revoke":
        house.runtime.registrar.revoke("S-1")
    else:
        house.runtime.registrar.remove("S-1")
    (connection,) = house.runtime.registrar.listener.connections
    assert connection.cause == "denied", "told before anything else could happen"
    told = await agent.hear()
    assert (told["type"], told["reason"]) == ("revoked", "revoked")
    assert agent.signed(told)
    assert await agent.hear() == {}
    again = await (await call(house, key)).registers()
    assert again["reason"] == ("revoked" if act == "revoke" else "bad_credential")


async def test_new_terms_reach_a_connected_server_when_it_registers_anew(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house, limits={"pro": 5})
    agent = await call(house, key)
    ticket = (await agent.registered())["ticket"]
    status, told = await house.http("PUT", "/api/licenses/S-1", json={"limits": {"pro": 3}, "edition": "server"})
    assert (status, "key" in told) == (200, False)
    assert await agent.hear() == {}
    again = await (await call(house, key)).registered(ticket=ticket)
    assert again["limits"] == {"pro": 3}
    assert house.runtime.registrar.registrar.clones == 0


async def test_terms_that_stay_the_same_disturb_nobody(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house, limits={"pro": 5})
    agent = await call(house, key)
    await agent.registered()
    status, _ = await house.http("PUT", "/api/licenses/S-1", json={"limits": {"pro": 5}})
    assert status == 200
    await agent.verified(1)


async def test_a_license_that_ends_is_withdrawn_in_the_same_second(serve: Serve, call: Call) -> None:
    time = Time()
    house = await serve(clock=time.clock)
    house.tick_by_hand()
    agent = await call(house, await sold(house, not_after=int(START) + 60))
    await agent.registered()
    time.go(60)
    house.runtime.advance(4)
    await agent.verified(1)
    time.go(0.001)
    house.runtime.advance(4)
    told = await agent.hear()
    assert (told["type"], told["reason"]) == ("revoked", "expired")
    assert agent.signed(told)
    assert await agent.hear() == {}
    assert counted(house) == {"registered": 1, "verified": 1, "expired": 1}


# -- silence and disorder --------------------------------------------------------------------------------------------


async def test_after_three_intervals_of_silence_a_server_is_lost(serve: Serve, call: Call) -> None:
    house = await serve(registrar__interval="10s")
    house.tick_by_hand()
    agent = await call(house, await sold(house))
    await agent.registered()
    house.runtime.advance(110)
    await agent.verified(1)
    house.runtime.advance(110)
    assert (await server(house))["connected"]
    house.runtime.advance(11)
    assert counted(house) == {"registered": 1, "verified": 1, "silent": 1}, "at once: time goes on by itself too"
    assert await agent.hear() == {}
    assert not (await server(house))["connected"]


async def test_what_is_no_verification_does_not_prove_life(serve: Serve, call: Call) -> None:
    house = await serve(registrar__interval="10s")
    house.tick_by_hand()
    agent = await call(house, await sold(house))
    await agent.registered()
    house.runtime.advance(110)
    await agent.send(b'{"type":"verify","seq":1')
    await until(lambda: all(each.tail for each in house.runtime.registrar.listener.connections))
    house.runtime.advance(11)
    assert await agent.hear() == {}


@pytest.mark.parametrize(
    ("seqs", "forge", "result"),
    [
        ([2], False, "bad_sequence"),
        ([1, 1], False, "bad_sequence"),
        ([1, 3], False, "bad_sequence"),
        ([1, 2], True, "bad_mac"),
    ],
)
async def test_a_wrong_number_or_code_closes_without_a_word(
    seqs: list[int], forge: bool, result: str, serve: Serve, call: Call
) -> None:
    house = await serve()
    agent = await call(house, await sold(house))
    await agent.registered()
    for seq in seqs[:-1]:
        await agent.verified(seq)
    message = agent.sealed({"type": "verify", "seq": seqs[-1], "used": {}})
    if forge:
        message["used"] = {"pro": 1}
    await agent.utter(message)
    assert await agent.hear() == {}
    assert counted(house)[result] == 1
    assert not (await server(house))["connected"]


async def test_the_verification_of_another_conversation_is_none(serve: Serve, call: Call) -> None:
    house = await serve()
    key = await sold(house)
    first = await call(house, key)
    await first.registered()
    yesterday = first.sealed({"type": "verify", "seq": 1, "used": {}})
    await first.close()
    await until(lambda: not house.runtime.registrar.registrar.conversations)
    second = await call(house, key)
    await second.registered()
    await second.utter(yesterday)
    assert await second.hear() == {}
    assert counted(house)["bad_mac"] == 1
