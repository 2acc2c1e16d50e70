"""Gateways that start from files of different age, and one that comes in while the others are busy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.core.cluster import dump
from tests.cluster.conftest import ClusterHouse, Join, backup
from tests.cluster.test_two_gateways import same
from tests.conftest import until
from tests.etcd import Members

pytestmark = pytest.mark.debian
LEASES = {"license__model": "trueconf", "license__trueconf__pro": 3}
VISITORS = 20


async def visit(house: ClusterHouse, name: str, visited: set[str], stop: asyncio.Event) -> None:
    """Join and leave until it is enough; `visited` is told of the first time."""
    wire = await house.welcomed(account=name, device="d")
    while not stop.is_set():
        assert (await wire.ask("join", conference=f"room of {name}"))["type"] == "joined"
        assert (await wire.ask("leave", conference=f"room of {name}"))["type"] == "left"
        visited.add(name)


async def test_gateways_that_all_were_stopped_go_on_from_files_of_different_age(join: Join, members: Members) -> None:
    houses = [await join(name, **LEASES) for name in ("a", "b", "c")]
    versions, revisions = [], []
    for house in houses:
        wire = await house.welcomed(account=f"user of {house.node.name}", device="d")
        assert (await wire.ask("join", conference=f"room of {house.node.name}"))["type"] == "joined"
        await house.gateway.close(drain=0)
        versions.append(house.node.replica.version)
        revisions.append(house.node.replica.revision)
    assert versions == sorted(set(versions))
    await houses[0].node.etcd.compact(members.urls[0], revisions[0])
    await houses[0].node.etcd.close()
    again = [await join(name, **LEASES) for name in ("b", "a", "c")]
    await until(lambda: all(same(again[0], each) for each in again))
    for house in again:
        assert await house.used("pro", "trueconf") == 3
        assert not house.runtime.state.sessions.by_number
        assert [each.name for each in house.node.replica.nodes] == ["b", "a", "c"]


async def test_a_gateway_that_comes_in_while_the_others_are_busy_comes_to_the_same(
    join: Join, members: Members, tmp_path: Path
) -> None:
    roomy = {"license__epop__users": 3 * VISITORS, "store__deadline": "60s", "listen__message_rate": 0}
    a, b = await join("a", **roomy), await join("b", **roomy)
    visited, stop = set[str](), asyncio.Event()
    visits = [
        asyncio.create_task(visit(house, f"{house.node.name}{number}", visited, stop))
        for number in range(VISITORS)
        for house in (a, b)
    ]
    await until(lambda: len(a.runtime.state.sessions) == 2 * VISITORS)
    forgotten = a.node.replica.revision
    await a.gateway.dump_writer.write()
    await backup(a, tmp_path / "c.db")
    await a.node.etcd.compact(members.urls[0], forgotten)
    before = a.node.replica.version
    c = await join("c", **roomy)
    visits.append(asyncio.create_task(visit(c, "one at the new gateway", visited, stop)))
    await until(lambda: c.node.replica.version > before + 50 and len(visited) == len(visits))
    stop.set()
    await asyncio.gather(*visits)
    await until(lambda: same(a, c) and same(b, c))
    assert not any(each.node.replica.ring.mismatches for each in (a, b, c))
    async with a.node.follower.applying, c.node.follower.applying:
        if a.node.replica.version == c.node.replica.version:
            assert list(dump.lines(a.node.replica)) == list(dump.lines(c.node.replica))
