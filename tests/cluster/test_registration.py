"""A cluster with a license: one gateway asks the registrar, all have what it said, another goes on after it."""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.cluster.nodes import RECENT
from gateway.core.registration.agent_protocol import AgentConversation, Received
from gateway.core.registration.license_status import LicenseState
from gateway.core.registration.registrar import Installation
from gateway.core.wire.json_lines import Message
from gateway.edge.server.registration_agent import CONNECT_TIMEOUT
from tests.cluster.conftest import ClusterHouse, Join, Shifted
from tests.cluster.gateway_process import GatewayProcess
from tests.conftest import House, Serve, until
from tests.etcd import Members, write_secret

pytestmark = pytest.mark.debian

LIMIT = 1


class SoldToCluster:
    """A registrar of ours that has sold a license, and how many agents it has had at once at most."""

    def __init__(self, house: House, key_file: Path) -> None:
        self.house = house
        self.registrar = house.runtime.registrar.registrar
        self.settings: dict[str, Any] = {
            "registration__role": "agent",
            "registration__server": f"127.0.0.1:{house.gateway.ports()['registrar']}",
            "registration__serial": "S-1",
            "registration__key_file": key_file,
        }
        self.most_at_once = 0

    def look(self) -> None:
        """Count the connections of agents."""
        self.most_at_once = max(self.most_at_once, len(self.house.runtime.registrar.listener.connections))

    @property
    def installation(self) -> Installation:
        """The only installation that has ever asked."""
        (installation,) = self.registrar.installations.values()
        return installation

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait, and count meanwhile."""

        def looked() -> bool:
            self.look()
            return holds()

        await until(looked)

    def no_clone(self) -> bool:
        """Whether it knows one installation, with no copy, and never had two agents at once."""
        return (self.registrar.clones, self.most_at_once, len(self.registrar.installations)) == (0, 1, 1)


@pytest.fixture
async def sold(serve: Serve, tmp_path: Path) -> SoldToCluster:
    house = await serve(registrar__interval="1s")
    house.runtime.registrar.issue("S-1", {"model": "epop", "limits": {"concurrent": LIMIT}})
    key_file = tmp_path / "S-1.key"
    key_file.write_text(house.runtime.registrar.registrar.licenses["S-1"].key.hex())
    return SoldToCluster(house, key_file)


def are_registered(*houses: ClusterHouse) -> bool:
    return all(each.runtime.registration.state is LicenseState.REGISTERED for each in houses)


async def documents(*houses: ClusterHouse) -> list[Any]:
    return [(await each.http("GET", "/api/registration"))[1] for each in houses]


async def test_one_gateway_asks_and_all_have_its_license(join: Join, sold: SoldToCluster) -> None:
    a, b = await join("a", **sold.settings), await join("b", **sold.settings)
    await sold.until(lambda: are_registered(a, b))
    one, other = await documents(a, b)
    assert one | {"last_verified": ""} == other | {"last_verified": ""}
    assert one["installation"] == sold.installation.server
    status, told = await b.http("POST", "/api/registration/request")
    assert (status, told["error"]) == (409, "in_a_cluster")
    ann, bob = await a.welcomed(account="ann", device="d"), await b.welcomed(account="bob", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert (await bob.ask("join", conference="other"))["reason"] == "pool_full"
    await sold.until(lambda: sold.installation.used.get("concurrent") == 1)
    license = b.runtime.state.license
    await sold.until(lambda: license.status.ticket == sold.installation.ticket)
    sold.house.runtime.registrar.issue("S-1", {"model": "epop", "limits": {"concurrent": 2}})
    late = await join("c", **sold.settings)
    await sold.until(lambda: are_registered(late))
    assert late.runtime.registration.installation == one["installation"]
    await sold.until(lambda: late.runtime.state.primary.pools["concurrent"].terms.limit == 2)
    assert (await bob.ask("join", conference="other"))["type"] == "joined"
    assert sold.no_clone()


async def test_the_next_oldest_goes_on_when_the_one_that_asks_is_fenced(join: Join, sold: SoldToCluster) -> None:
    clocks = Shifted()
    a, b = await join("a", clocks=clocks, **sold.settings), await join("b", **sold.settings)
    await sold.until(lambda: are_registered(a, b))
    verified = sold.installation.verified
    clocks.boot_offset += 26.0
    await sold.until(lambda: b.node.is_leader)
    assert not a.runtime.registration.may_ask
    state = b.runtime.state
    await sold.until(lambda: state.license.asker == b.node.incarnation and are_registered(a, b))
    assert "ticket" not in sold.registrar.conversations["S-1"].register, (
        "the last answer may not have come into the log"
    )
    assert (sold.installation.verified or 0.0) > (verified or 0.0)
    assert sold.no_clone()


async def test_a_gateway_whose_name_another_one_may_have_taken_does_not_connect(
    join: Join, sold: SoldToCluster
) -> None:
    clocks = Shifted()
    a = await join("a", clocks=clocks, **sold.settings)
    await sold.until(lambda: are_registered(a))
    registration = a.runtime.registration
    clocks.boot_offset += RECENT
    assert (registration.may_ask, registration.may_connect) == (True, False)
    await sold.until(lambda: registration.may_connect)


async def test_an_answer_that_comes_after_a_sleep_of_the_machine_counts_for_nothing(
    join: Join, sold: SoldToCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Shifted()
    a = await join("a", clocks=clocks, **sold.settings)
    await sold.until(lambda: are_registered(a))
    status, receive, answered = a.runtime.state.license.status, AgentConversation.receive, list[float]()

    def slept(conversation: AgentConversation, message: Message) -> Received:
        if not answered:
            answered.append(status.answered)
            clocks.boot_offset += CONNECT_TIMEOUT + 1.0
        return receive(conversation, message)

    monkeypatch.setattr(AgentConversation, "receive", slept)
    await sold.until(lambda: a.runtime.registration.checks["late"] == 1)
    assert status.answered == answered[0]
    await sold.until(lambda: status.answered > answered[0])


async def test_a_license_that_is_revoked_closes_the_doors_of_all(join: Join, sold: SoldToCluster) -> None:
    a, b = await join("a", **sold.settings), await join("b", **sold.settings)
    await sold.until(lambda: are_registered(a, b))
    ann, bob = await a.welcomed(account="ann", device="d"), await b.welcomed(account="bob", device="d")
    sold.house.runtime.registrar.revoke("S-1")
    assert [(await each.gone())[-1]["reason"] for each in (ann, bob)] == ["unregistered", "unregistered"]
    await until(lambda: a.gateway.ports()["tcp"] is b.gateway.ports()["tcp"] is None)
    assert [each["state"] for each in await documents(a, b)] == ["revoked", "revoked"]


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
async def test_a_gateway_stands_still_and_the_other_goes_on(
    members: Members, sold: SoldToCluster, tmp_path: Path, number: signal.Signals
) -> None:
    settings = {**sold.settings, "cluster__patience": "10s"}
    secret = write_secret(tmp_path)
    a, b = (GatewayProcess(each, tmp_path, members.urls, secret, number.name, **settings) for each in "ab")
    async with aiohttp.ClientSession() as session:
        try:
            for each in (a, b):
                await each.start()
                await eventually(sold, functools.partial(is_registered, each, session))
            before = await b.get(session, "/api/registration")
            a.send(number)
            connected = sold.installation.since
            await eventually(sold, lambda: has_come_anew(sold, connected))
            await eventually(sold, lambda: is_registered(b, session))
            after = await b.get(session, "/api/registration")
            assert after["installation"] == before["installation"] == sold.installation.server
            if number is signal.SIGSTOP:
                connected = sold.installation.since
                a.send(signal.SIGCONT)
                await eventually(sold, lambda: has_fallen_silent(a))
                await eventually(sold, functools.partial(is_registered, a, session))
                assert sold.installation.since == connected, "it leaves the other's conversation alone"
            assert sold.no_clone()
        finally:
            for each in (a, b):
                each.send(signal.SIGCONT)
                await each.end()


async def has_fallen_silent(each: GatewayProcess) -> bool:
    return "this node is fenced" in each.said()


async def is_registered(each: GatewayProcess, session: aiohttp.ClientSession) -> bool:
    if not await each.is_ready(session):
        return False
    return bool((await each.get(session, "/api/registration"))["state"] == "registered")


async def has_come_anew(sold: SoldToCluster, before: float | None) -> bool:
    return sold.installation.since not in {None, before}


async def eventually(sold: SoldToCluster, holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what takes as long as the silence of a gateway that is dead."""
    async with asyncio.timeout(40.0):
        while not await holds():
            sold.look()
            await asyncio.sleep(0.05)
