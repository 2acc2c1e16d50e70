"""A license's whole life on real processes: `tallygate registrar` and `tallygate serve`, killed and started again.

Nothing here is waited for by the clock: what is to come is looked for until it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from tests.cli.program import begin, run_here
from tests.wire_client import WebSocketWire, Wire

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

T = TypeVar("T")

PATIENCE = 45.0
"""Seconds after which something has not happened: an agent that failed often waits for up to half of that."""

CONFIG = """
[listen]
tcp = {tcp}
websocket = {websocket}
operator = {operator}
drain = "0s"
[store]
path = "{store}"
[registrar]
enabled = {registrar_enabled}
port = {registrar}
interval = "1s"
"""
AGENT = """
[registration]
role = "agent"
server = "127.0.0.1:{server}"
serial = "DEMO-1"
key_file = "{key}"
grace = "{grace}"
"""


async def found(look: Callable[[], Awaitable[T | None]]) -> T:
    """What `look` finds, once it finds something."""
    async with asyncio.timeout(PATIENCE):
        while (what := await look()) is None:  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.02)
    return what


class Program:
    """A command with its configuration, run as one process after the other; the ports stay those of the first."""

    def __init__(self, command: str, folder: Path, more: str = "") -> None:
        folder.mkdir()
        self.command = command
        self.store = folder / "store.db"
        self.ports: dict[str, Any] = dict.fromkeys(("tcp", "websocket", "operator", "registrar"), 0)
        self.process: Process | None = None
        self._config, self._ready, self._more = folder / "gateway.toml", folder / "ready.json", more

    async def start(self) -> None:
        """Run it, until it is ready."""
        self._ready.unlink(missing_ok=True)
        known = {**self.ports, "store": self.store, "registrar_enabled": str(self.command == "registrar").lower()}
        self._config.write_text(CONFIG.format(**known) + self._more)
        argv = ("--config", str(self._config), "--ready-file", str(self._ready))
        self.process = await begin(self.command, *argv, stdout=DEVNULL, anew=True)
        said = await found(self.listeners)
        self.ports |= {name: port for name, port in said.items() if port is not None}

    async def end(self, how: signal.Signals) -> None:
        """End it with a signal."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            await process.communicate()

    async def listeners(self) -> dict[str, int | None] | None:
        """What the ready file says."""
        assert self.process is None or self.process.returncode is None, "it ended"
        try:
            return dict(json.loads(self._ready.read_text()))
        except FileNotFoundError:
            return None

    async def until_doors(self, *, open: bool) -> None:
        """Wait until the ready file says that the client doors are open, on the ports they had, or that none is."""
        ports = [self.ports[listener] if open else None for listener in ("tcp", "websocket")]

        async def look() -> bool | None:
            told = await self.listeners()
            return True if told and [told["tcp"], told["websocket"]] == ports else None

        await found(look)

    async def get(self, path: str) -> Any:
        """A document of the operator port; with the status in front where it is text."""
        url = f"http://127.0.0.1:{self.ports['operator']}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            if response.content_type == "application/json":
                return await response.json()
            return response.status, await response.text()

    async def metric(self, name: str) -> float | None:
        """The value of a series."""
        _, text = await self.get("/metrics")
        values = (line.rpartition(" ") for line in text.splitlines())
        return next((float(value) for series, _, value in values if series == f"tallygate_{name}"), None)

    async def audited(self, action: str) -> list[dict[str, Any]]:
        """The entries of an action, the last first, once there is one: it is written after what it tells of."""

        async def look() -> list[dict[str, Any]] | None:
            entries = (await self.get("/api/audit"))["items"]
            return [each for each in entries if each["action"] == action] or None

        return await found(look)

    async def until_state(self, state: str) -> dict[str, Any]:
        """The document of its registration, once it has come to a state."""

        async def look() -> dict[str, Any] | None:
            told: dict[str, Any] = (await self.get("/api/license"))["registration"]
            return told if told["state"] == state else None

        return await found(look)

    async def until_verified_after(self, when: str) -> str:
        """When it was verified, once that is later than a time."""

        async def look() -> str | None:
            told: dict[str, Any] = await self.get("/api/registration")
            return str(told["last_verified"]) if (told["last_verified"] or "") > when else None

        return await found(look)

    async def until_clones(self, count: int) -> list[dict[str, Any]]:
        """The servers of this registrar, once so many clones have been suspected."""

        async def look() -> list[dict[str, Any]] | None:
            items: list[dict[str, Any]] = (await self.get("/api/registrations"))["items"]
            return items if sum(each["clones_suspected"] for each in items) >= count else None

        return await found(look)


class World:
    """A registrar that has sold one license of the free edition, and gateways that have its key."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.key = folder / "demo.key"
        self.registrar = self.program("registrar", "registrar")

    def program(self, command: str, name: str, more: str = "") -> Program:
        """Another program, killed after the test."""
        made = Program(command, self._folder / name, more)
        self._stack.push_async_callback(made.end, signal.SIGKILL)
        return made

    async def open(self) -> None:
        """Sell the license, and run the registrar."""
        sold = await run_here("license", "add", "DEMO-1", "--edition", "free", "--store", str(self.registrar.store))
        self.key.write_text(sold.out)
        await self.registrar.start()

    def gateway(self, name: str, grace: str = "1h") -> Program:
        """A gateway, not started yet."""
        server = self.registrar.ports["registrar"]
        return self.program("serve", name, AGENT.format(server=server, key=self.key, grace=grace))

    async def client(self, gateway: Program, transport: str = "tcp") -> Wire:
        """A connection to a gateway, closed after the test."""
        return await self._stack.enter_async_context(await Wire.open(transport, gateway.ports[transport]))

    async def hello(self, gateway: Program) -> tuple[str, str | None]:
        """The type of the answer to a `hello`, and its reason."""
        answer = await (await self.client(gateway)).hello()
        return answer["type"], answer.get("reason")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A registrar that runs; `gateway = world.gateway("a")`, `await gateway.start()`."""
    async with contextlib.AsyncExitStack() as stack:
        made = World(tmp_path, stack)
        await made.open()
        yield made


def instant(told: str) -> float:
    """Seconds UTC."""
    return datetime.fromisoformat(told).timestamp()


async def test_from_the_first_answer_to_the_end_of_grace_and_back(world: World) -> None:
    gateway = world.gateway("a", grace="5s")
    await gateway.start()
    assert (await gateway.until_state("registered"))["shutdown_at"] is None
    wires = [await world.client(gateway, transport) for transport in ("tcp", "websocket")]
    assert [(await wire.hello())["type"] for wire in wires] == ["welcome"] * 2
    assert await gateway.metric('registration_state{state="registered"}') == 1

    await world.registrar.end(signal.SIGKILL)
    grace = await gateway.until_state("grace")
    status = asyncio.create_task(run_here("status", "--operator", f"http://127.0.0.1:{gateway.ports['operator']}"))
    end = grace["shutdown_at"]
    assert instant(end) - instant(grace["lost_at"]) == 5
    assert 0 < grace["seconds_left"] <= 5
    assert grace["reason"] == f"no answer of the registration server since {grace['lost_at']}"
    assert await gateway.metric('registration_state{state="grace"}') == 1
    assert int(await gateway.metric("registration_shutdown_timestamp_seconds") or 0) == instant(end)
    code, ready = await gateway.get("/readyz")
    assert code == 200
    assert ready.startswith("ready; registration lost, service ends in ")
    assert await world.hello(gateway) == ("welcome", None)
    assert f"  service ends at {end}, in " in (await status).out

    await gateway.until_doors(open=False)
    assert time.time() >= instant(end)
    heard = [await wire.gone() for wire in wires]
    assert [[(each["type"], each["reason"]) for each in told] for told in heard] == [[("closing", "unregistered")]] * 2
    assert isinstance(wires[1], WebSocketWire)
    assert wires[1].code == 4510
    for transport in ("tcp", "websocket"):
        with pytest.raises(OSError, match=r"Connect call failed|Cannot connect"):
            await world.client(gateway, transport)
    expired = await gateway.until_state("expired")
    assert (expired["shutdown_at"], expired["seconds_left"]) == (end, 0)
    assert await gateway.get("/readyz") == (503, f"registration expired: {expired['reason']}\n")
    assert await gateway.metric("sessions") is None
    assert (await gateway.get("/api/connections/count")) == {"count": 0, "asleep": 0, "idle": 0}

    await gateway.end(signal.SIGKILL)
    await gateway.start()
    assert await gateway.listeners() == gateway.ports | {"tcp": None, "websocket": None, "registrar": None}
    assert (await gateway.until_state("expired"))["shutdown_at"] == end

    await world.registrar.start()
    await gateway.until_doors(open=True)
    assert await world.hello(gateway) == ("welcome", None)
    back = await gateway.until_state("registered")
    assert (back["shutdown_at"], back["lost_at"], back["clone_suspected"]) == (None, None, False)

    async def four() -> list[str] | None:
        actions = [each["action"] for each in (await gateway.get("/api/audit"))["items"]]
        told = [each.removeprefix("registration.") for each in actions if each.startswith("registration.")]
        return told if len(told) >= 4 else None

    assert await found(four) == ["registered", "grace", "expired", "registered"]


async def test_doors_that_closed_open_again_on_ports_that_were_picked(world: World) -> None:
    gateway = world.gateway("a", grace="1s")
    await gateway.start()
    await gateway.until_state("registered")
    await world.registrar.end(signal.SIGKILL)
    await gateway.until_doors(open=False)
    await world.registrar.start()
    await gateway.until_doors(open=True)
    assert await world.hello(gateway) == ("welcome", None)


async def test_neither_a_restart_nor_a_deleted_store_buys_time(world: World) -> None:
    gateway = world.gateway("a")
    await gateway.start()
    await gateway.until_state("registered")
    await world.registrar.end(signal.SIGKILL)
    grace = await gateway.until_state("grace")
    for how in (signal.SIGKILL, signal.SIGTERM):
        await gateway.end(how)
        await gateway.start()
        again = await gateway.until_state("grace")
        assert (again["shutdown_at"], again["lost_at"]) == (grace["shutdown_at"], grace["lost_at"])
        assert await world.hello(gateway) == ("welcome", None)
    await gateway.end(signal.SIGKILL)
    for file in gateway.store.parent.glob("store.db*"):
        file.unlink()
    await gateway.start()
    unregistered = await gateway.until_state("unregistered")
    assert unregistered["installation"] != grace["installation"]
    assert unregistered["shutdown_at"] is None
    assert await world.hello(gateway) == ("denied", "unregistered")


async def test_a_copied_disk_is_reported_and_served(world: World) -> None:
    original, copy = world.gateway("original"), world.gateway("copy")
    await original.start()
    verified = await original.until_verified_after("")
    await original.end(signal.SIGTERM)
    shutil.copy(original.store, copy.store)
    await original.start()
    await original.until_verified_after(verified)
    assert await world.registrar.metric("registrar_clones_suspected_total") == 0
    await original.end(signal.SIGTERM)

    await copy.start()
    (server,) = await world.registrar.until_clones(1)
    copied = await copy.until_state("registered")
    assert (server["server"], server["clones_suspected"]) == (copied["installation"], 1)
    assert await world.registrar.metric("registrar_clones_suspected_total") == 1
    assert await world.hello(copy) == ("welcome", None)
    (entry,) = await world.registrar.audited("clone.suspected")
    assert (entry["subject"], entry["detail"]["how"]) == ("DEMO-1", "ticket")

    await original.start()  # both at once: each ends the other's connection, with a ticket that is too old
    (server,) = await world.registrar.until_clones(4)
    assert [await world.hello(each) for each in (original, copy)] == [("welcome", None)] * 2


async def test_a_second_installation_is_refused_and_both_sides_say_so(world: World) -> None:
    first, second = world.gateway("first"), world.gateway("second")
    await first.start()
    ours = (await first.until_state("registered"))["installation"]
    await second.start()

    async def suspicion() -> dict[str, Any] | None:
        told: dict[str, Any] = await second.get("/api/registration")
        return told if told["clone_suspected"] else None

    told = await found(suspicion)
    assert told["state"] == "unregistered"
    assert await world.hello(second) == ("denied", "unregistered")
    (server,) = await world.registrar.until_clones(1)
    assert (server["server"], server["connected"]) == (ours, True)
    entry = (await world.registrar.audited("clone.suspected"))[0]
    assert (entry["detail"]["how"], entry["detail"]["other"]) == ("in_use", told["installation"])
    await second.audited("clone.suspected")
    assert (await first.until_state("registered"))["clone_suspected"] is False
    await first.end(signal.SIGTERM)
    assert (await second.until_state("registered"))["clone_suspected"] is False
