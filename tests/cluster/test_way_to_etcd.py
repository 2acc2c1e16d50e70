"""What happens on the way between a gateway and etcd: cut, answers lost, a watch that ends, lies or leaves out."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from tests.cluster.conftest import ClusterHouse, Join, etcd_at
from tests.cluster.proxy import EtcdProxy, unchanged
from tests.cluster.test_two_gateways import same
from tests.conftest import until

pytestmark = pytest.mark.debian
ONE_SEAT = {"license__epop__users": 1, "cluster__patience": "10s", "store__deadline": "1s"}


async def pair(join: Join, proxy: EtcdProxy, **terms: Any) -> tuple[ClusterHouse, ClusterHouse]:
    """A gateway behind the proxy, and one that is not."""
    a = await join("a", cluster__etcd=etcd_at(proxy.urls), **terms)
    return a, await join("b", **terms)


async def test_a_gateway_that_is_cut_off_sends_its_clients_away_before_their_seats_are_given_to_others(
    join: Join, proxy: EtcdProxy
) -> None:
    a, b = await pair(join, proxy, **ONE_SEAT)
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    proxy.cut()
    assert (await bob.ask("join", conference="room"))["reason"] == "pool_full"
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]
    assert await b.used("concurrent") == 1, "the others wait longer than it does"
    await until(lambda: [each.name for each in b.node.replica.nodes] == ["b"])
    assert (await bob.ask("join", conference="room"))["type"] == "joined"
    proxy.mend()
    await a.come_in()
    ann = await a.welcomed(account="ann")
    assert (await ann.ask("join", conference="room"))["reason"] == "pool_full"
    await until(lambda: same(a, b))


async def test_a_cut_that_is_short_ends_nobody(join: Join, proxy: EtcdProxy) -> None:
    a, b = await pair(join, proxy)
    ann, before = await a.welcomed(account="ann"), a.node.incarnation
    proxy.cut()
    asked = asyncio.create_task(ann.ask("join", conference="room"))
    seen = b.node.replica.version
    await until(lambda: b.node.replica.version > seen + 1)
    proxy.mend()
    assert (await asked)["type"] == "joined"
    assert (a.node.incarnation, a.node.fences) == (before, 0)
    await until(lambda: same(a, b))


async def test_what_was_put_counts_though_its_answer_and_the_watch_were_lost(join: Join, proxy: EtcdProxy) -> None:
    a, b = await pair(join, proxy, **ONE_SEAT, license__model="epop")
    ann, bob = await a.welcomed(account="ann", device="d"), await b.welcomed(account="bob")
    await until(lambda: a.node.proposer.outstanding is None)
    proxy.loses_answers = True
    proxy.on_watched = lambda message: {"result": {**message["result"], "events": []}}
    late = await ann.ask("join", conference="room")
    assert (late["type"], late["reason"]) == ("closing", "store_unavailable")
    assert await b.used("concurrent") == 1, "it is in the log all the same"
    proxy.loses_answers, proxy.on_watched = False, unchanged
    proxy.end_watches()
    await until(lambda: len(b.runtime.state.sessions) == 1)
    assert (await bob.ask("join", conference="room"))["type"] == "joined"
    assert a.node.fences == 0
    await until(lambda: same(a, b))


async def test_a_watch_that_is_ended_or_canceled_is_begun_again(join: Join, proxy: EtcdProxy) -> None:
    a, b = await pair(join, proxy)
    ann = await a.welcomed(account="ann")
    proxy.end_watches()
    assert (await ann.ask("join", conference="one"))["type"] == "joined"
    canceled = asyncio.Event()

    def cancel(message: dict[str, Any]) -> dict[str, Any]:
        canceled.set()
        proxy.on_watched = unchanged
        return {"result": {"header": message["result"]["header"], "canceled": True}}

    proxy.on_watched = cancel
    await canceled.wait()
    assert (await ann.ask("join", conference="two"))["type"] == "joined"
    assert a.node.fences == 0
    await until(lambda: same(a, b))


async def test_an_entry_that_a_member_leaves_out_is_read_from_another_one(join: Join, proxy: EtcdProxy) -> None:
    a, b = await pair(join, proxy)
    ann = await a.welcomed(account="ann")
    left_out = asyncio.Event()

    def leave_out(message: dict[str, Any]) -> dict[str, Any]:
        if not message["result"].get("events"):
            return message
        left_out.set()
        proxy.on_watched = unchanged
        return {"result": {**message["result"], "events": []}}

    proxy.on_watched = leave_out
    await left_out.wait()
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert a.node.failed is not None
    assert not a.node.failed.done()
    await until(lambda: same(a, b))


async def test_an_entry_that_no_member_has_any_more_makes_a_gateway_leave(join: Join, proxy: EtcdProxy) -> None:
    a, b = await pair(join, proxy)
    ann = await a.welcomed(account="ann")
    gone = b.node.replica.version + 4  # of which nothing is on its way yet

    def leave_out(message: dict[str, Any]) -> dict[str, Any]:
        events = message["result"].get("events") or []
        kept = [each for each in events if int(each["kv"]["version"]) != gone]
        return {"result": {**message["result"], "events": kept}}

    proxy.on_watched = leave_out
    assert a.node.failed is not None
    assert "missing" in await asyncio.wait_for(a.node.failed, 20.0)
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]
    assert b.node.entered


async def test_a_log_that_was_forgotten_beyond_a_gateway_makes_it_leave(join: Join, proxy: EtcdProxy) -> None:
    a, b = await pair(join, proxy)
    ann = await a.welcomed(account="ann")
    proxy.on_watched = lambda message: {"result": {"header": message["result"]["header"], "compact_revision": "99"}}
    assert a.node.failed is not None
    assert "newer file" in await asyncio.wait_for(a.node.failed, 20.0)
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]
    assert b.node.entered


async def test_a_log_whose_first_entry_was_put_but_not_answered_is_begun_once(join: Join, proxy: EtcdProxy) -> None:
    proxy.loses_answers = True
    joining = asyncio.ensure_future(join("a", cluster__etcd=etcd_at(proxy.urls)))
    await until(lambda: proxy.puts == 1)
    cluster = (await join("b", enters=False)).node.replica.cluster
    proxy.loses_answers = False
    a = await joining
    assert a.node.replica.cluster == cluster
    await a.welcomed(account="ann")


async def test_a_log_that_was_set_back_and_has_grown_again_is_noticed(join: Join, proxy: EtcdProxy) -> None:
    a, b = await pair(join, proxy)
    ann = await a.welcomed(account="ann")

    def exchange(message: dict[str, Any]) -> dict[str, Any]:
        for each in message["result"].get("events") or []:
            if int(each["kv"]["mod_revision"]) == a.node.replica.revision:
                each["kv"]["value"] = b64encode(b"what was put in its place").decode()
        return message

    proxy.on_watched = exchange
    proxy.end_watches()
    assert a.node.failed is not None
    assert "set back" in await asyncio.wait_for(a.node.failed, 20.0)
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]
    assert b.node.entered
