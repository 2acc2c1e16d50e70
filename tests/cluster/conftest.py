"""Gateways of one cluster, in this process, over the real etcd."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.edge.cluster.node import ClusterNode
from gateway.edge.gateway import Gateway
from gateway.edge.joining import follow
from gateway.edge.machine import Clock, boottime
from tests.cluster.proxy import EtcdProxy
from tests.conftest import House, settings_of, until
from tests.etcd import Members, write_secret

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """Three members of etcd; a test that stops one starts it again."""
    found = Members(tmp_path_factory.mktemp("etcd"))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture
async def proxy(members: Members) -> AsyncIterator[EtcdProxy]:
    """A way to the members that a test can cut."""
    way = EtcdProxy(members.urls)
    await way.open()
    try:
        yield way
    finally:
        await way.close()


def etcd_at(urls: Sequence[str]) -> str:
    """The setting `cluster.etcd` for these members."""
    return "[" + ",".join(f'"{url}"' for url in urls) + "]"


class Shifted:
    """The clocks of a gateway, which a test can set."""

    def __init__(self) -> None:
        self.wall_offset = 0.0
        self.boot_offset = 0.0
        self.clock = Clock(
            time.monotonic, lambda: time.time() + self.wall_offset, lambda: boottime() + self.boot_offset
        )


class ClusterHouse(House):
    """A gateway of a cluster."""

    def __init__(self, gateway: Gateway, clients: contextlib.AsyncExitStack, node: ClusterNode) -> None:
        super().__init__(gateway, clients)
        self.node = node

    def find_ports(self) -> None:
        """Note the ports of its doors, which it opens when it is in the cluster."""
        ports = self.gateway.ports()
        self.tcp, self.websocket = ports["tcp"] or 0, ports["websocket"] or 0

    async def come_in(self) -> None:
        """Wait until its doors are open."""
        await until(lambda: self.gateway.ports()["tcp"] is not None)
        self.find_ports()


async def backup(house: House, path: Path) -> Path:
    """Copy the store of a gateway while it goes on."""
    async with aiohttp.ClientSession() as session, session.get(f"{house.url}/api/backup") as response:
        assert response.status == 200
        await asyncio.to_thread(path.write_bytes, await response.read())
    return path


Join = Callable[..., Awaitable[ClusterHouse]]


@pytest.fixture
async def join(members: Members, tmp_path: Path) -> AsyncIterator[Join]:
    """Opens gateways of one cluster: `a = await join("a", license__epop__users=1)`."""
    prefix, secret = f"test{next(_numbers)}", write_secret(tmp_path)
    async with contextlib.AsyncExitStack() as stack:

        async def open_node(
            name: str, *, clocks: Shifted | None = None, enters: bool = True, **overrides: Any
        ) -> ClusterHouse:
            settings = settings_of(
                **{
                    "cluster__etcd": etcd_at(members.urls),
                    "cluster__prefix": prefix,
                    "cluster__name": name,
                    "cluster__secret_file": str(secret),
                    "registrar__enabled": "false",
                    "store__path": str(tmp_path / f"{name}.db"),
                    **overrides,
                }
            )
            clock = (clocks or Shifted()).clock
            followed = await follow(settings, clock)
            gateway = Gateway(settings, files=1024, clock=clock, followed=followed)
            await gateway.open()
            stack.push_async_callback(gateway.close, 0)
            house = ClusterHouse(gateway, stack, followed.node)
            if enters:
                await house.come_in()
            return house

        yield open_node
