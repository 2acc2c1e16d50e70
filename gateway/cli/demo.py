"""`tallygate demo`: runs a gateway with simulated days at high speed, so that every page has something to show.

The gateway is a real one, registered at its own registrar; clients come over its doors, other servers over its
registration port. Its store is in a directory that is removed at the end, and has the history of a month before it
starts. `--set` changes any setting but those of the store and of the registration.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from config.faults import ConfigError
from config.loader import load
from config.rules import too_few_files
from config.settings import Settings
from gateway.cli.argument_kinds import count, seconds
from gateway.cli.serve import fast_loop, raise_file_limit, reason, say, screen
from gateway.core.admission.directory import Group
from gateway.core.formats import utc
from gateway.demo import simulated_history
from gateway.demo.scenario import DAY, HOUR, Office, bustle
from gateway.demo.simulated_clients import SimulatedClients
from gateway.demo.simulated_server import SimulatedServer
from gateway.edge.api.authorization import OperatorTokenRequired
from gateway.edge.gateway import Gateway
from gateway.edge.machine import KeyRefused
from gateway.edge.storage import rows
from gateway.edge.storage.offline_store import offline_store
from gateway.edge.storage.store import Store, StoreRefused, StoreUnavailable
from gateway.licensing import MODELS
from gateway.operator_client import Operator, OperatorError

HELP = """\
Runs a gateway with believable traffic: an office whose day passes in minutes, over and over, until Ctrl-C. Nothing is
kept: the store is in a temporary directory."""
EXAMPLES = """\
examples:
  tallygate demo
  tallygate demo --day 3m --clients 1000
  tallygate demo --set listen.operator=8080 --set license.trueconf.pro=60
"""

HISTORY = 30
"""Days before today that the history has."""
BEGIN = 7 * HOUR
"""When the first day begins: at night there is little to see."""
LEASE, REDISTRIBUTION = 12, 2
"""A PRO license outlives a meeting by this part of the day, and permanent ones take effect this often in it: with the
vendor's 24 hours nobody would see one end."""
SERIAL = "DEMO-1"
SOLD: dict[str, dict[str, Any]] = {
    "NORTH-2024": {"edition": "server", "limits": {"pro": 60, "online": 120, "guest": 10, "gateway": 5}},
    "SOUTH-2025": {"edition": "enterprise", "extensions": ["ldap"]},
    "PARTNER-7": {"edition": "free"},
    "TRIAL-3": {"edition": "server", "limits": {"pro": 10}},
}
"""Licenses that other servers have."""
REVOKED, TRIAL, TRIAL_DAYS = "PARTNER-7", "TRIAL-3", 9
WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri")
PATIENCE = 20.0
"""Seconds for the gateway to be registered."""
REDRAW = 0.5


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `demo`."""
    add = parser.add_argument
    add("--day", metavar="TIME", type=seconds, default=600.0, help="how long a day takes (default 10m)")
    add("--clients", metavar="N", type=count, default=300, help="clients at the peak (default %(default)s)")
    add(
        "--seed",
        metavar="N",
        type=int,
        default=1,
        help="draws the office and its day: the same number, the same day (default %(default)s)",
    )
    add(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="overrides one setting of the gateway, such as listen.operator=8080; may be given again",
    )
    add("--ready-file", metavar="FILE", type=Path, help="where the ports in use are written as JSON, once all are open")


def run(args: argparse.Namespace) -> int:
    """Run until a signal; 0 then, 1 if it cannot start."""
    files = raise_file_limit()
    os.environ.pop("TALLYGATE_TOKEN", None)  # it is for another gateway: this one has no operators
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        return runner.run(_until_told(args, files))


async def _until_told(args: argparse.Namespace, files: tuple[int, int]) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is None:
        raise RuntimeError("not in a task")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await _demonstrate(args, files)
    except asyncio.CancelledError:
        say("\nstopped; nothing is left behind")
    except (
        OSError,
        ConfigError,
        KeyRefused,
        StoreRefused,
        StoreUnavailable,
        OperatorTokenRequired,
        OperatorError,
    ) as fault:
        raise SystemExit(f"cannot start: {reason(fault)}") from None
    return 0


async def _demonstrate(args: argparse.Namespace, files: tuple[int, int]) -> None:
    office, speed = Office(args.clients, args.seed), DAY / args.day
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallygate-demo-")))
        settings = _settings(args, office, directory)
        say(
            f"A demonstration: about {args.clients} clients at the peak, {args.day:g} s a day, and a month of history."
            f"\nIts store is in {directory} and is removed at the end.\n"
        )
        if fault := too_few_files(settings, files[1]):
            raise SystemExit(f"cannot start: {fault}")
        keys = await _sell(settings, directory)
        await _fill(settings, office, speed)
        gateway = Gateway(_registered(args, office, directory), files=files[1], ready=args.ready_file)
        await gateway.open()
        stack.push_async_callback(gateway.close, drain=0)
        ports = await _ports(gateway)
        clients = SimulatedClients(
            office, _local(settings.listen.host), {"tcp": ports[0], "websocket": ports[1]}, speed, args.seed
        )
        stack.push_async_callback(clients.dismiss)
        say(screen(gateway, *files))
        page = f"http://{_local(settings.listen.operator_host)}:{gateway.operator.port}/"
        say(f"Open {page} in a browser. Ctrl-C ends the demonstration.\n")
        registrar = (_local(gateway.settings.registrar.host), gateway.settings.registrar.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(_branches(page, registrar, keys, office, clients))
            group.create_task(_days(office, clients))


# -- before it starts --------------------------------------------------------------------------------------------------


def _settings(args: argparse.Namespace, office: Office, directory: Path, *own: str) -> Settings:
    """What such an office needs, changed by what was asked for.

    Raises `ConfigError`.
    """
    limits = office.limits
    usual = {
        "license.model": "trueconf",
        "license.trueconf.online": limits.online,
        "license.trueconf.pro": limits.pro,
        "license.trueconf.guest": limits.guest,
        "license.trueconf.gateway": limits.gateway,
        "license.trueconf.pro_lease": f"{args.day / LEASE:g}s",
        "license.trueconf.redistribute_every": f"{args.day / REDISTRIBUTION:g}s",
        "license.epop.users": limits.concurrent,
        "license.nefsis-concurrent.users": limits.concurrent,
        "license.nefsis-named.hosts": limits.hosts,
        "registrar.interval": "5s",
    }
    settings = load(
        None,
        [*(f"{key}={value}" for key, value in usual.items()), *args.set, f"store.path={directory / 'demo.db'}", *own],
    )
    listen = settings.listen
    if listen.tls_certificate or listen.operator_tls_certificate or settings.accounts.mode == "token":
        raise SystemExit("the clients of the demonstration speak no TLS and have no tokens")
    return settings


def _registered(args: argparse.Namespace, office: Office, directory: Path) -> Settings:
    """The same, registered at its own registrar; the port must be known before it opens.

    Raises `ConfigError` or `OSError`.
    """
    registrar = _settings(args, office, directory).registrar
    host, port = _local(registrar.host), registrar.port
    if not port:
        with socket.create_server((host, 0)) as listener:
            port = listener.getsockname()[1]
    return _settings(
        args,
        office,
        directory,
        "registrar.enabled=true",
        f"registrar.port={port}",
        "registration.role=agent",
        f"registration.server={host}:{port}",
        f"registration.serial={SERIAL}",
        f"registration.key_file={directory / 'demo.key'}",
    )


def _local(host: str) -> str:
    """Where something that listens on `host` is reached from this machine."""
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound


async def _sell(settings: Settings, directory: Path) -> Mapping[str, bytes]:
    """Sell the licenses and write the key of the demonstration's own; returns the keys of all."""
    model = settings.license.model
    terms = settings.license.terms[model]
    limits = {pool: getattr(terms, field) for pool, field in MODELS[model].limits.items()}
    own = {"model": model, "limits": limits} | ({"edition": terms.edition} if MODELS[model].editions else {})
    async with offline_store(Path(settings.store.path)) as store:
        await store.sell(SERIAL, own)
        for serial, sold in SOLD.items():
            end = {"not_after": utc(time.time() + TRIAL_DAYS * DAY)} if serial == TRIAL else {}
            await store.sell(serial, sold | end)
        keys = {serial: license.key for serial, license in store.registrar.licenses.items()}
    key_file = directory / "demo.key"
    key_file.touch(mode=0o600)
    key_file.write_text(keys[SERIAL].hex() + "\n")
    return keys


async def _fill(settings: Settings, office: Office, speed: float) -> None:
    """Write accounts, a permanent group and the history of a month, in which a day took a day."""
    trueconf = settings.license.terms["trueconf"]
    slow = replace(trueconf, pro_lease=trueconf.pro_lease * speed)
    past = replace(settings, license=replace(settings.license, terms={**settings.license.terms, "trueconf": slow}))
    store = Store(settings.store.path, tuple, time.monotonic)
    await store.open()
    try:
        accounts = [rows.put_account(worker.desk.account or "", ()) for worker in office.workers]
        group = rows.put_group("management", Group(office.team(0), True))
        await store.write([*accounts, group])
        await simulated_history.write(store, office, past, HISTORY, time.time())
    finally:
        await store.close()


async def _ports(gateway: Gateway) -> tuple[int, int]:
    """The ports of the client doors, once the gateway is registered: before, it would let nobody in.

    Raises `SystemExit` where that does not come about.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while not gateway.runtime.registration.grants:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise SystemExit(f"cannot start: {gateway.runtime.registration.reason()}") from None
    return gateway.runtime.tcp.port or 0, gateway.runtime.websocket.port or 0


# -- while it runs -----------------------------------------------------------------------------------------------------


async def _branches(
    page: str, registrar: tuple[str, int], keys: Mapping[str, bytes], office: Office, clients: SimulatedClients
) -> None:
    """Run servers elsewhere: one in order, one that was copied, and one whose license is revoked. Meanwhile an operator
    declares a conference, and gives another group permanent licenses from the next redistribution on.
    """

    def used(size: int) -> Mapping[str, int]:
        busy = bustle(clients.clock)
        return {"online": round(size * busy), "pro": round(size * busy / 2)}

    def branch(serial: str, server: str, size: int) -> SimulatedServer:
        return SimulatedServer(serial, keys[serial], server, lambda: used(size))

    north, south = branch("NORTH-2024", "north-01", 90), branch("SOUTH-2025", "south-01", 240)
    copied, partner = branch("SOUTH-2025", "south-copy", 240), branch(REVOKED, "partner-01", 8)
    async with asyncio.TaskGroup() as group:
        for each in (north, south, partner):
            group.create_task(each.keep(*registrar))
        await south.registered.wait()
        await copied.keep(*registrar)
        await partner.registered.wait()
        async with Operator(page.rstrip("/")) as operator:
            await operator.json("POST", f"/api/licenses/{REVOKED}/revoke")
            await operator.json("PUT", "/api/conferences/all-hands", {"access": "public", "scheduled": True})
            await operator.json("PUT", "/api/groups/front-desk", {"accounts": office.team(1)[:4], "permanent": True})


async def _days(office: Office, clients: SimulatedClients) -> None:
    """Day after day; the weekends are left out."""
    number = 0
    while True:
        today = WEEK[number % len(WEEK)]
        begin = 0.0 if number else BEGIN
        showing = asyncio.create_task(_show(today, clients))
        try:
            await clients.live(office.day(number + 1), begin, DAY)
        finally:
            showing.cancel()
            await asyncio.wait({showing})
        number += 1


async def _show(today: str, clients: SimulatedClients) -> None:
    """Show the time and how many are connected: all the time on a terminal, elsewhere once an hour of the day."""
    terminal, said = sys.stdout.isatty(), -1
    while True:
        hour, rest = divmod(clients.clock, HOUR)
        clock = f"{today} {int(hour):02}:{int(rest / 60):02}"
        line = f"{clock}, {clients.connected} connected, {clients.denied} refused so far"
        if terminal:
            say(f"\r{line}\x1b[K", end="")
        elif int(hour) != said:
            said = int(hour)
            say(line)
        await asyncio.sleep(REDRAW)
