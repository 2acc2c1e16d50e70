"""The people of an office as clients of a running gateway: they live a day at speed, over real sockets.

Each actor is a task of its own that waits for its next step, so that one who waits for an answer holds up nobody else.
Being refused is an answer. Who was sent away - kicked, banned, the gateway restarted - comes back by the client's own
rules, or when the day says so.
"""

from __future__ import annotations

import asyncio
import sys
from random import Random

from gateway.client import Answer, Client, Denied, RequestError, Transport
from gateway.demo.scenario import Actor, Office, ScenarioStep

GOODBYE_TIMEOUT = 3.0
"""Seconds for everybody to say goodbye at the end."""


class SimulatedClients:
    """The clients of `office` at the doors of a gateway. `speed` is how many seconds of a day pass in one second."""

    def __init__(self, office: Office, host: str, ports: dict[Transport, int], speed: float, seed: int) -> None:
        self.denied = 0
        """Refusals so far."""
        self._office = office
        self._host = host
        self._ports = ports
        self._speed = speed
        self._seed = seed
        self._clients: dict[int, Client] = {}
        self._begun = 0.0

    @property
    def connected(self) -> int:
        """Clients that are welcome now."""
        return sum(client.connected for client in self._clients.values())

    @property
    def clock(self) -> float:
        """The time of day, in seconds after midnight."""
        return (asyncio.get_running_loop().time() - self._begun) * self._speed

    async def live(self, steps: list[ScenarioStep], start: float, until: float) -> None:
        """Live from `start` to `until`, in seconds after midnight; what was before `start` is done at once."""
        loop = asyncio.get_running_loop()
        self._begun = loop.time() - start / self._speed
        by_actor: dict[int, list[ScenarioStep]] = {}
        for step in steps:
            by_actor.setdefault(step.actor, []).append(step)
        async with asyncio.TaskGroup() as group:
            for number, todo in by_actor.items():
                group.create_task(self._follow(self._office.actors[number], todo))
            await asyncio.sleep(self._begun + until / self._speed - loop.time())

    async def _follow(self, actor: Actor, steps: list[ScenarioStep]) -> None:
        loop = asyncio.get_running_loop()
        for step in steps:
            await asyncio.sleep(self._begun + step.at / self._speed - loop.time())
            try:
                await self._take(actor, step)
            except (Denied, RequestError):
                self.denied += 1
            except OSError:
                continue  # the connection is gone, and what is next may bring another

    async def _take(self, actor: Actor, step: ScenarioStep) -> None:
        client = self._clients.get(actor.number)
        if step.verb == "come":
            if client is None or client.end is not None:
                self._clients[actor.number] = client = self._client(actor)
                await client.connect()
            return
        if client is None:
            return
        match step.verb:
            case "go":
                del self._clients[actor.number]
                await client.bye()
            case "join" if step.meeting is not None and client.connected and not client.conferences:
                name, access, mode = step.meeting
                await client.join(name, host=step.host, access=access, mode=mode)
            case "leave" if step.meeting is not None and step.meeting.name in client.conferences:
                await client.leave(step.meeting.name)
            case "sleep" if client.connected and not client.asleep:
                await client.sleep()
            case "wake" if client.connected and client.asleep:
                await client.wake()

    def _client(self, actor: Actor) -> Client:
        near = sys.platform == "linux" and self._host.startswith("127.")  # others have only the first address of 127/8
        return Client(
            self._host,
            self._ports[actor.transport],
            transport=actor.transport,
            kind=actor.kind,
            account=actor.account,
            device=actor.device,
            name=actor.client,
            local_address=f"127.0.{1 + actor.number // 200 % 250}.{2 + actor.number % 200}" if near else None,
            on_message=_unheard,
            random=Random(f"{self._seed}/{actor.number}"),  # noqa: S311 - believable, not secret
        )

    async def dismiss(self) -> None:
        """Everybody goes."""
        leaving = [asyncio.create_task(client.bye()) for client in self._clients.values()]
        self._clients.clear()
        if leaving:
            _, late = await asyncio.wait(leaving, timeout=GOODBYE_TIMEOUT)
            for each in late:
                each.cancel()
            await asyncio.wait(leaving)


def _unheard(_: Answer) -> None:
    """What the gateway says unasked the client has taken note of."""
