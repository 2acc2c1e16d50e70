"""What all gateways of a cluster have is posted by one of them, and by another one after that has ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster.conftest import Join
from tests.cluster.gateway_process import GatewayProcess
from tests.cluster.test_two_gateways import same
from tests.conftest import until
from tests.edge.webhooks.receiver import receiving
from tests.etcd import Members, write_secret
from tests.wire_client import TcpWire, Wire

pytestmark = pytest.mark.debian
KINDS = ["granted", "released"]
VISITS = 6
"""How often a client takes a seat and gives it back, each time that it is asked to; each makes two events."""


class Duty:
    """Two gateways over the real etcd; the first one posts, the second one has the client."""

    def __init__(self, folder: Path, urls: list[str], hooks: dict[str, str], session: aiohttp.ClientSession) -> None:
        secret, prefix = write_secret(folder), f"hooks of {folder.name}"
        self.first, self.second = (
            GatewayProcess(name, folder, urls, secret, prefix, webhook=hook, cluster__patience="10s")
            for name, hook in hooks.items()
        )
        self._session = session

    async def come_in(self, gateway: GatewayProcess) -> None:
        """Start a gateway, and wait until its doors are open."""
        await gateway.start()
        async with asyncio.timeout(20.0):
            while not await gateway.is_ready(self._session):  # noqa: ASYNC110 - the state of another process
                await asyncio.sleep(0.1)

    async def listed(self, gateway: GatewayProcess) -> dict[str, dict[str, Any]]:
        """The events of these kinds that a gateway has in memory, by id."""
        page = await gateway.get(self._session, f"/api/events?kind={','.join(KINDS)}&limit=1000")
        return {each["id"]: each for each in page["items"]}

    async def close(self) -> None:
        """End what runs."""
        for gateway in (self.first, self.second):
            if gateway.is_up:
                await gateway.end()


async def visit(wire: Wire) -> None:
    """Take a seat and give it back, so often."""
    for number in range(VISITS):
        assert (await wire.ask("join", conference=f"room{number}"))["type"] == "joined"
        assert (await wire.ask("leave", conference=f"room{number}"))["type"] == "left"


async def comes(holds: Callable[[], bool]) -> None:
    """Wait until other processes have brought something about."""
    async with asyncio.timeout(30.0):
        while not holds():  # noqa: ASYNC110 - the state of other processes
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_another_gateway_goes_on_when_the_one_that_posts_ends(
    members: Members, tmp_path: Path, how: signal.Signals
) -> None:
    async with receiving() as receiver, aiohttp.ClientSession() as session:
        (tmp_path / "hook").mkdir()
        hooks = {name: receiver.setting(tmp_path / "hook", name=name, events=KINDS) for name in ("first", "second")}
        duty = Duty(tmp_path, members.urls, hooks, session)

        def posted(by: str) -> set[str]:
            return {each["id"] for post in receiver.posts if post["webhook"] == by for each in post["events"]}

        try:
            await duty.come_in(duty.first)
            await duty.come_in(duty.second)
            async with await TcpWire.to(duty.second.tcp) as wire:
                assert (await wire.hello(account="ann", device="d"))["type"] == "welcome"
                await visit(wire)
                before = await duty.listed(duty.second)
                assert len(before) == 2 * VISITS
                await comes(lambda: set(before) <= set(receiver.taken))
                assert await duty.listed(duty.first) == before
                assert posted("second") == set()

                receiver.mode = 503  # what happens now is nowhere but in the queue of the one that ends
                await visit(wire)
                await duty.first.end(how)
                receiver.mode = 204
                await visit(wire)
                happened = await duty.listed(duty.second)
                assert len(happened) == 3 * 2 * VISITS
                await comes(lambda: set(happened) <= set(receiver.taken))
                assert set(happened) - set(before) <= posted("second")

                await duty.come_in(duty.first)
                await visit(wire)
                happened = await duty.listed(duty.second)
                await comes(lambda: set(happened) <= set(receiver.taken))
            told = [each for post in receiver.posts for each in post["events"]]
            assert {each["id"] for each in told} == set(happened)
            for each in told:
                assert {**each, "time": ""} == {**happened[each["id"]], "time": ""}
        finally:
            await duty.close()


async def test_a_reader_of_events_goes_on_at_another_gateway(join: Join) -> None:
    a, b = await join("a"), await join("b")
    async with a.node.follower.applying:  # a begins to see what happens later than b
        ann = await b.welcomed(account="ann", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert (await b.http("PUT", "/api/bans/eve", json={"for": "60s"}))[0] in {200, 201}
    assert (await ann.ask("leave", conference="room"))["type"] == "left"
    await until(lambda: same(a, b))
    lists = [(await each.http("GET", "/api/events?kind=granted,released,act"))[1]["items"] for each in (a, b)]
    assert lists[0] == lists[1]
    assert [each["event"] for each in lists[0]] == ["granted", "act.ban.added", "released"]
    _, rest = await a.http("GET", f"/api/events?cursor={lists[1][0]['id']}")
    assert rest["items"] == lists[0][1:]
    assert (await a.http("GET", f"/api/events?cursor={a.runtime.state.run}-1"))[1]["items"][0][
        "event"
    ] == "gateway.start"
