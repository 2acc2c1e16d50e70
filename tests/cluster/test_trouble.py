"""What a gateway does while etcd, or itself, is in trouble: nobody is told what does not hold."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.admission.decision import Decision
from gateway.core.cluster.entries import Batch, Seen, encode
from gateway.edge.cluster.etcd import Etcd, EtcdFailed
from gateway.edge.joining import ClusterRefused
from tests.cluster.conftest import ClusterHouse, Join, Shifted
from tests.cluster.test_two_gateways import same
from tests.conftest import until
from tests.etcd import Members

pytestmark = pytest.mark.debian


@pytest.fixture
def restless(members: Members) -> Iterator[Members]:
    """Members that a test may stop; they go on after it."""
    yield members
    members.signal(signal.SIGCONT)


async def test_a_leader_that_is_killed_costs_a_moment(join: Join, members: Members) -> None:
    a, b = await join("a", license__epop__users=1), await join("b", license__epop__users=1)
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")
    leader = await asyncio.to_thread(members.leader)
    members.kill(leader)
    try:
        began = time.monotonic()
        told = await asyncio.gather(ann.ask("join", conference="one"), bob.ask("join", conference="two"))
        assert sorted(each["type"] for each in told) == ["denied", "joined"]
        assert time.monotonic() - began < 4.5
    finally:
        await asyncio.to_thread(members.start, leader)
    await until(lambda: same(a, b))


async def test_without_etcd_nothing_is_granted_and_everybody_is_sent_away_in_time(
    join: Join, restless: Members
) -> None:
    clocks = Shifted()
    a = await join("a", clocks=clocks, cluster__patience="10s", store__deadline="1s")
    ann, cid, guest = await a.welcomed(account="ann"), await a.welcomed(account="cid"), await a.connect()
    restless.signal(signal.SIGSTOP)
    late = await ann.ask("join", conference="room")
    assert late["reason"] == "store_unavailable", late
    refused = await guest.hello(account="bob")
    assert (refused["type"], refused["reason"]) == ("denied", "store_unavailable")
    status, told = await a.http("PUT", "/api/accounts/new")
    assert (status, told["error"]) == (503, "not_decided")
    assert (await a.http("DELETE", "/api/accounts/cid/connections"))[0] == 503
    assert [each["reason"] for each in await cid.gone()] == ["kicked"], "here at least, and at once"
    clocks.boot_offset += 6.0
    await until(lambda: a.gateway.ports()["tcp"] is None)
    assert not a.node.may_speak
    restless.signal(signal.SIGCONT)
    await a.come_in()
    ann = await a.welcomed(account="ann")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert len(a.runtime.state.sessions) == 1


async def test_what_was_given_up_is_undone_when_it_is_applied_after_all(join: Join, restless: Members) -> None:
    a = await join("a", license__model="trueconf", license__trueconf__pro=1, store__deadline="1s")
    ann = await a.welcomed(account="ann", device="d")
    restless.signal(signal.SIGSTOP)
    assert (await ann.ask("join", conference="room"))["reason"] == "store_unavailable"
    restless.signal(signal.SIGCONT)
    await until(lambda: not a.runtime.state.sessions.by_number)
    assert await a.used("pro", "trueconf") == 0
    bob = await a.welcomed(account="bob", device="d")
    assert (await bob.ask("join", conference="room"))["type"] == "joined"


async def test_a_node_that_others_take_for_dead_tells_nothing_of_what_it_missed(join: Join) -> None:
    terms = {"license__epop__users": 1, "cluster__patience": "10s", "store__deadline": "30s"}
    a, b = await join("a", **terms), await join("b", **terms)
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")
    a.runtime.ticker.stop()  # as a machine that stands still: it neither reads nor looks at its clock
    async with a.node.follower.applying:
        await ann.say("join", conference="room")
        await until(lambda: [each.name for each in b.node.replica.nodes] == ["b"])
        assert (await bob.ask("join", conference="room"))["type"] == "joined"
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]
    assert await b.used("concurrent") == 1


@pytest.mark.parametrize("wrong", [3600.0, -3600.0])
async def test_a_clock_that_is_wrong_by_an_hour_moves_nothing(join: Join, wrong: float) -> None:
    clocks = Shifted()
    a = await join("a")
    b = await join("b", clocks=clocks)
    clocks.wall_offset = wrong
    await until(lambda: abs(b.node.time.offset - wrong) < 60)
    seen = a.node.replica.version
    await until(lambda: a.node.replica.version > seen + 2)
    assert abs(a.node.replica.at - time.time()) < 3.0
    assert len(list(a.node.replica.nodes)) == 2


async def test_a_node_that_is_alone_with_its_result_leaves(join: Join) -> None:
    a, b = await join("a"), await join("b")
    c = await join("c")
    ann = await c.welcomed(account="ann")
    c.node.replica._digest.add(Decision({"type": "joined"}))
    assert c.node.failed is not None
    assert "another state" in await asyncio.wait_for(c.node.failed, 20.0)
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]
    assert a.node.entered
    assert b.node.entered


async def diverge(house: ClusterHouse) -> None:
    """Let a gateway come to another state, and leave."""
    house.node.replica._digest.add(Decision({"type": "joined"}))
    assert house.node.failed is not None
    await asyncio.wait_for(house.node.failed, 20.0)
    await house.gateway.close(drain=0)


async def test_a_node_that_came_to_another_state_takes_that_of_the_others_once(join: Join, tmp_path: Path) -> None:
    a, c = await join("a"), await join("c")
    await a.welcomed(account="ann")
    await a.gateway.dump_writer.write()
    await diverge(c)
    with pytest.raises(ClusterRefused, match=r"another state than the others: .*peers names nobody"):
        await join("c")
    peers = f'["{a.url}"]'
    again = await join("c", cluster__peers=peers)
    await until(lambda: same(a, again))
    assert (tmp_path / "c.db.replaced-1").exists()
    await again.welcomed(account="bob")
    await diverge(again)
    with pytest.raises(ClusterRefused, match="another state than the others again"):
        await join("c", cluster__peers=peers)
    assert a.node.entered


async def test_what_no_license_decides_is_refused_without_a_command(join: Join) -> None:
    a = await join("a", conferences__max_per_session=1, conferences__declared_only="true")
    assert (await a.http("PUT", "/api/conferences/room", json={}))[0] in {200, 201}
    ann = await a.welcomed(account="ann")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    commands: list[str] = []
    a.runtime.sequencer.observer = lambda command, *_: commands.append(type(command).__name__)
    for conference, reason in (("room", "already_member"), ("other", "no_such_conference")):
        for more in ({}, {"wait": 5}):
            denied = await ann.ask("join", conference=conference, id="j", **more)
            assert (denied["type"], denied["reason"], denied["id"]) == ("denied", reason, "j")
    assert "Join" not in commands
    assert a.runtime.dispatcher.refusals == {"already_member": 2, "no_such_conference": 2}


async def test_terms_that_are_read_again_by_a_fenced_node_are_proposed_later(join: Join) -> None:
    a, b = await join("a", license__epop__users=1), await join("b", license__epop__users=1)
    settings = a.gateway.settings
    terms = {**settings.license.terms, "epop": replace(settings.license.terms["epop"], users=2)}
    a.node._fence("a test says so")
    a.gateway.reload(replace(settings, license=replace(settings.license, terms=terms)))
    await until(lambda: b.runtime.state.terms.licenses["epop"].users == 2)


async def test_a_command_that_fails_everywhere_stops_nobody(join: Join, members: Members) -> None:
    a, b = await join("a"), await join("b")
    ann = await a.welcomed(account="ann")
    poison = Batch(a.node.incarnation, 10**6, seen=Seen(0, ""), commands=([["Join", 1, {}], 0],))
    await a.node.etcd.put(members.urls[0], encode(poison))
    await a.node.etcd.put(members.urls[0], b"nonsense")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    await until(lambda: same(a, b))
    assert a.node.replica.failures == b.node.replica.failures == 1


async def test_who_asks_for_what_no_node_can_decide_is_sent_away(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    a = await join("a")
    ann = await a.welcomed(account="ann")
    monkeypatch.setattr("gateway.edge.cluster.proposer.plain", lambda _: [["Join", "one", "room"]])
    await ann.say("join", conference="room")
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]


async def test_a_log_that_begins_with_something_else_is_no_cluster(join: Join, members: Members) -> None:
    a = await join("a")
    await a.gateway.close(drain=0)
    etcd = Etcd(tuple(members.urls), f"{a.gateway.settings.cluster.prefix}/log")
    await etcd.delete(etcd.urls[0])
    await etcd.put(etcd.urls[0], b"nonsense")
    await etcd.close()
    with pytest.raises(ClusterRefused, match="does not begin with a cluster"):
        await join("b")


async def test_a_node_asks_for_no_more_than_its_share(join: Join) -> None:
    a = await join("a", cluster__share=3)
    wires = [await a.connect() for _ in range(6)]
    told = [await each.hello(account=f"user{number}") for number, each in enumerate(wires)]
    reasons = [each.get("reason", each["type"]) for each in told]
    assert reasons[:2] == ["welcome", "welcome"]
    assert "rate_limited" in reasons


def left(house: ClusterHouse) -> int:
    return len(house.runtime.state.sessions)


async def test_the_log_of_a_gateway_tells_how_long_nothing_was_granted(
    join: Join, restless: Members, caplog: pytest.LogCaptureFixture
) -> None:
    a = await join("a")
    restless.signal(signal.SIGSTOP)
    await until(lambda: a.node.is_lagging)
    ann = await a.connect()
    assert (await ann.hello(account="ann"))["reason"] == "store_unavailable"
    a.runtime.replicated.check_deadlines(a.runtime.clock.mono())
    restless.signal(signal.SIGCONT)
    pattern = r"for \d+\.\d s the log was so slow that nothing was granted; it answers again"
    await until(lambda: re.search(pattern, caplog.text) is not None)
    assert (await (await a.connect()).hello(account="ann"))["type"] == "welcome"


async def test_who_hangs_up_before_the_answer_leaves_no_session(join: Join, restless: Members) -> None:
    a = await join("a")
    restless.signal(signal.SIGSTOP)
    wire = await a.connect()
    await wire.say("hello", protocol=1, account="ann", device="d")
    await until(lambda: a.node.proposer.outstanding is not None)
    await wire.say("bye")
    restless.signal(signal.SIGCONT)
    await until(lambda: a.node.replica.state.numbers.sessions.last == 1)
    await until(lambda: left(a) == 0)


async def test_a_put_that_is_answered_with_an_error_and_is_in_the_log_counts_once(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await join("a", license__epop__users=1), await join("b", license__epop__users=1)
    put = a.node.etcd.put

    async def cut(url: str, value: bytes) -> str:
        await put(url, value)
        await put(url, value)
        raise EtcdFailed("the answer was cut")

    monkeypatch.setattr(a.node.etcd, "put", cut)
    ann = await a.welcomed(account="ann")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert (await ann.ask("leave", conference="room"))["type"] == "left"
    assert a.runtime.state.numbers.sessions.last == 1
    await until(lambda: a.node.replica.repeats > 1 and same(a, b))


async def test_a_member_that_is_silent_is_left_for_another(join: Join, restless: Members) -> None:
    a = await join("a")
    ann = await a.welcomed(account="ann")
    leader = await asyncio.to_thread(restless.leader)
    quiet = next(member for member in range(3) if member != leader)
    restless.signal(signal.SIGSTOP, quiet)
    began = time.monotonic()
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert time.monotonic() - began < 4.5


async def test_a_disk_that_fails_costs_a_node_of_a_cluster_nothing_but_its_file(join: Join) -> None:
    a = await join("a", license__model="trueconf", license__trueconf__pro=1)
    ann = await a.welcomed(account="ann", device="d")
    a.runtime.persistence.store.mistrust("a test says so")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert await a.used("pro", "trueconf") == 1
    assert a.node.may_speak
    await until(lambda: a.runtime.persistence.store.available)


async def test_a_client_to_which_nothing_can_be_carried_out_is_cut_off_and_the_others_go_on(join: Join) -> None:
    a = await join("a")
    sequencer = a.runtime.replicated
    carriers = sequencer.carriers
    assert carriers is not None

    def fail(*_: object) -> None:
        raise OSError("nothing reaches this client")

    ann, bob = await a.welcomed(account="ann"), await a.welcomed(account="bob")
    sequencer.carriers = carriers._replace(deliver=fail, send_away=fail)
    await ann.say("join", conference="room")
    await until(lambda: len(a.runtime.client_listeners[0].connections) == 1)
    sequencer.carriers = carriers
    assert (await bob.ask("join", conference="room"))["type"] == "joined"
    await until(lambda: len(a.runtime.state.sessions) == 1)
