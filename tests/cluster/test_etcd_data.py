"""What a gateway makes of an etcd that has other data than it had, or no room for more."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.edge.adopting import adopt
from gateway.edge.joining import ClusterRefused
from tests.cli.program import run_here
from tests.cluster.conftest import ClusterHouse, Join, etcd_at
from tests.cluster.proxy import EtcdProxy
from tests.cluster.test_two_gateways import same
from tests.conftest import until
from tests.etcd import Members

pytestmark = pytest.mark.debian
QUOTA = 20_000_000
LEASES = {"license__model": "trueconf", "license__trueconf__pro": 2}


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Members]:
    """One member, with little room."""
    folder = tmp_path / "etcd"
    folder.mkdir()
    found = Members(folder, 1, ("--quota-backend-bytes", str(QUOTA)))
    try:
        found.start()
        yield found
    finally:
        found.stop()


async def failed(house: ClusterHouse) -> str:
    """Wait until a gateway leaves the cluster, and return why."""
    assert house.node.failed is not None
    return await asyncio.wait_for(house.node.failed, 20.0)


async def leased(house: ClusterHouse, account: str) -> None:
    """Have an account lease a license."""
    wire = await house.welcomed(account=account, device="d")
    assert (await wire.ask("join", conference="room"))["type"] == "joined"


async def test_an_etcd_that_was_set_back_is_noticed_and_a_file_brings_the_leases_back(
    join: Join, single: Members, tmp_path: Path
) -> None:
    terms = {"cluster__etcd": etcd_at(single.urls), **LEASES}
    a, b = await join("a", **terms), await join("b", **terms)
    await leased(a, "ann")
    single.kill()
    (tmp_path / "older").mkdir()
    single.save(tmp_path / "older")
    await asyncio.to_thread(single.start)
    seen = b.node.replica.version
    await until(lambda: b.node.replica.version > seen and not b.node.is_lagging)
    await leased(b, "bob")
    seen = a.node.replica.version
    await until(lambda: min(each.node.replica.version for each in (a, b)) > seen + 10)
    cid = await b.welcomed(account="cid", device="d")
    await a.gateway.dump_writer.write()
    single.kill()
    single.put_back(tmp_path / "older")
    await asyncio.to_thread(single.start)
    for each in (a, b):
        assert "set back" in await failed(each)
        assert not each.node.may_speak
    assert [each["reason"] for each in await cid.gone()] == ["store_unavailable"]
    await a.gateway.close(drain=0)
    await b.gateway.close(drain=0)
    with pytest.raises(ClusterRefused, match="set back"):
        await join("a", **terms)
    await adopt(a.gateway.settings, tmp_path / "a.db")
    again = await join("a", **terms)
    assert await again.used("pro", "trueconf") == 2
    assert not again.runtime.state.sessions.by_number


async def test_another_etcd_behind_the_same_address_is_noticed_and_a_file_brings_the_leases_back(
    join: Join, proxy: EtcdProxy, single: Members, tmp_path: Path
) -> None:
    terms = {"cluster__etcd": etcd_at(proxy.urls), **LEASES}
    a = await join("a", **terms)
    await leased(a, "ann")
    ann = await a.welcomed(account="ann", device="e")
    proxy.targets = single.urls * len(proxy.urls)
    proxy.end_watches()
    assert "another etcd" in await failed(a)
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"]
    await a.gateway.close(drain=0)
    with pytest.raises(ClusterRefused, match="another etcd"):
        await join("a", **terms)
    await adopt(a.gateway.settings, tmp_path / "a.db")
    again = await join("a", **terms)
    assert await again.used("pro", "trueconf") == 1


async def test_an_etcd_without_room_grants_nothing_and_goes_on_when_it_has_some(join: Join, single: Members) -> None:
    terms = {"cluster__etcd": etcd_at(single.urls), "store__deadline": "1s"}
    a, b = await join("a", **terms), await join("b", **terms)
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")

    async def ask(path: str, **body: Any) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.post(single.urls[0] + path, json=body) as response:
            return response.status, await response.json(content_type=None)

    filler = {"key": base64.b64encode(b"filler").decode(), "value": base64.b64encode(bytes(500_000)).decode()}
    while (await ask("/v3/kv/put", **filler))[0] == 200:
        continue
    late = await ann.ask("join", conference="room")
    assert late["reason"] == "store_unavailable"
    await a.gateway.housekeeping.look()
    assert a.node.etcd.health.size > QUOTA / 2
    assert any("NOSPACE" in each for each in a.node.etcd.health.alarms)
    _, shown = await a.http("GET", "/api/cluster")
    assert any("NOSPACE" in each for each in shown["etcd_alarms"])
    assert "etcd complains: " in (await run_here("cluster", "status", "--operator", a.url)).out
    assert (await bob.ask("heartbeat", seq=1))["seq"] == 1

    _, head = await ask("/v3/kv/range", key=filler["key"], keys_only=True)
    assert (await ask("/v3/kv/compaction", revision=head["header"]["revision"]))[0] == 200
    assert (await ask("/v3/maintenance/defragment"))[0] == 200
    _, told = await ask("/v3/maintenance/alarm", action="GET")
    for alarm in told["alarms"]:
        assert (await ask("/v3/maintenance/alarm", action="DEACTIVATE", **alarm))[0] == 200
    seen = b.node.replica.version
    await until(lambda: b.node.replica.version > seen)
    await until(lambda: not b.node.is_lagging)
    joined = await bob.ask("join", conference="room")
    assert joined["type"] == "joined", joined
    assert (a.node.fences, b.node.fences) == (0, 0)
    await a.gateway.housekeeping.look()
    assert a.node.etcd.health.alarms == ()
    await until(lambda: same(a, b))
