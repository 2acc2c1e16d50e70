"""`tallygate load`: puts thousands of clients on a gateway, and checks that it counts them right.

A profile, or the options, say what the clients do; what comes of it is shown as a bar, then as a summary.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import socket
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from config.faults import ConfigError
from gateway import operator_client
from gateway.cli.argument_kinds import count, count_or_none, host_and_port, local_address, port, positive
from gateway.cli.load_summary import Progress, document, failure, summary
from gateway.client_connection import Transport
from gateway.core.counting.session import KINDS
from gateway.load.coordinator import Coordinator, LoadResult
from gateway.load.machines import LeadAddress, follow, joined, send_plans
from gateway.load.participants import Participants
from gateway.load.plan import PER_PROCESS, LoadError, Machine, plans
from gateway.load.profile import LoadGroup, Profile, read_profile
from gateway.load.tally import Tally
from gateway.load.time_series import TimeSeries

HELP = """\
Put load on a gateway: open connections, join conferences, beat, and compare the gateway's own counts with what is held.
A profile describes clients that come and go, sleep, wait, ask again and fail; without one, the options say how many
come and stay. Exit code 1 when a connection was lost or failed, or when a count differs; being denied is no failure."""
EXAMPLES = """\
examples:
  tallygate load --connections 1000
  tallygate load --connections 15000 --ramp 2000 --duration 60 --transport mix --conferences 500
  tallygate load --profile config/load-office.toml --csv office.csv
  tallygate load --profile config/load-storm.toml --connections 500 --duration 30

from several machines, this one and two others:
  tallygate load --profile storm.toml --host gateway.example.org --lead 10.0.0.5:4320 --machines 3
  tallygate load --join 10.0.0.5:4320
"""

CONNECTIONS, RAMP, DURATION = 100, 500.0, 10.0
"""What `--connections`, `--ramp` and `--duration` are where neither they nor a profile say it."""
WEBSOCKET = {"tcp": 0, "websocket": 100, "mix": 50}
"""Percent of the connections that come over WebSocket."""
OF_A_PROFILE = ("transport", "conferences", "accounts", "kind", "wait")
"""Options that say what is in the groups of a profile."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `load`."""
    add = parser.add_argument
    add("--profile", metavar="FILE", type=Path, help="what the clients do (TOML); config/load-office.toml explains it")
    add("--connections", metavar="N", type=count, help=f"connections in all (default {CONNECTIONS}, or as the profile)")
    add("--ramp", metavar="R", type=positive, help=f"new connections per second (default {RAMP:g}, or as the profile)")
    add(
        "--duration",
        metavar="S",
        type=positive,
        help=f"seconds to hold them (default {DURATION:g}); with a profile, from the first to the end",
    )
    add("--heartbeat", metavar="S", type=positive, help="seconds between beats (default: what the gateway states)")
    add("--transport", choices=tuple(WEBSOCKET), help="which door (default tcp)")
    add("--conferences", metavar="K", type=count_or_none, help="spread over K conferences (default: join none)")
    add("--processes", metavar="P", type=count, help=f"processes (default: one for each {PER_PROCESS} connections)")
    add("--accounts", choices=("none", "distinct"), help="accounts to claim (default none)")
    add("--kind", choices=sorted(KINDS), help="what the clients are (default app)")
    add(
        "--wait",
        metavar="S",
        type=count,
        help="seconds that each request waits in line for a seat (default: it is denied where there is none)",
    )
    add("--csv", metavar="FILE", type=Path, help="write what is held and what happens into this file, a row a second")
    add(
        "--source",
        metavar="ADDRESS",
        type=local_address,
        action="append",
        default=[],
        help="an address of this machine to connect from; may be given again (default: of loopback several, else any)",
    )
    add("--lead", metavar="HOST:PORT", type=host_and_port, help="lead a load of several machines, which join here")
    add("--machines", metavar="M", type=count, help="with --lead: how many machines there are, this one included")
    add(
        "--join",
        metavar="HOST:PORT",
        type=host_and_port,
        help="take part in a load that another machine leads, as it says",
    )
    add("--host", default="127.0.0.1", help="the gateway; nothing else is ever contacted (default %(default)s)")
    add("--tcp-port", metavar="PORT", type=port, default=4307, help="its TCP door (default %(default)s)")
    add("--websocket-port", metavar="PORT", type=port, default=4308, help="its WebSocket door (default %(default)s)")
    add("--no-compare", action="store_true", help="do not ask the operator port, compare nothing")
    add(
        "--seed",
        type=int,
        help="seed of all that is drawn, such as when heartbeats fall: the same number, the same draws",
    )
    add("--json", action="store_true", help="the summary as JSON")
    add(
        "--operator",
        metavar="URL",
        type=operator_client.address,
        help="its operator port (default port 4311 of the host); a token is read from TALLYGATE_TOKEN",
    )
    operator_client.authorities_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    _refuse_contradictions(args)
    try:
        if args.join is not None:
            return asyncio.run(_join(args))
        outcome = asyncio.run(_load(args, profile_of(args)))
    except ConfigError as fault:
        print(fault, file=sys.stderr)
        return 1
    except (operator_client.OperatorError, LoadError, OSError) as fault:
        print(f"tallygate load: {fault}", file=sys.stderr)
        return 1
    if outcome is None:
        return 130
    print(json.dumps(document(outcome)) if args.json else summary(outcome))
    if not outcome.good:
        print(f"tallygate load: {failure(outcome)}", file=sys.stderr)
        return 1
    return 130 if outcome.interrupted else 0


def profile_of(args: argparse.Namespace) -> Profile:
    """Return what the clients do, by the file, and by the options that replace what it says.

    Raises `ConfigError` with every fault of the file.
    """
    if args.profile is not None:
        profile = read_profile(args.profile)
    else:
        group = LoadGroup(
            kind=args.kind or "app",
            accounts=args.accounts or "none",
            websocket=WEBSOCKET[args.transport or "tcp"],
            conferences=args.conferences or 0,
            wait=args.wait,
        )
        profile = Profile(clients=CONNECTIONS, rate=RAMP, duration=DURATION, group=(group,))
    given = {
        "clients": args.connections,
        "rate": args.ramp,
        "duration": args.duration,
        "heartbeat": args.heartbeat,
    }
    return replace(profile, **{name: value for name, value in given.items() if value is not None})


def machine_of(args: argparse.Namespace, files: int) -> Machine:
    """Return what this machine brings to a load; `files` is how many a process may open."""
    return Machine(files, args.processes, tuple(args.source))


def _refuse_contradictions(args: argparse.Namespace) -> None:
    """End the command where options cannot stand together."""
    if args.profile is not None:
        for name in OF_A_PROFILE:
            if getattr(args, name) is not None:
                raise SystemExit(f"--{name}: is said by the groups of the profile")
    if args.join is not None:
        for name in ("profile", "lead", "csv", *OF_A_PROFILE, "connections", "ramp", "duration", "heartbeat"):
            if getattr(args, name) is not None:
                raise SystemExit(f"--{name}: is said by the machine that leads")
    if (args.lead is None) != (args.machines is None):
        raise SystemExit("--lead and --machines need each other")


async def _address(host: str) -> str:
    """Return an address of a host, so that the name is not looked up for every connection.

    Raises `LoadError` where it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        raise LoadError(f"the host {host} cannot be found: {getattr(fault, 'strerror', None) or fault}") from None
    return str(found[0][4][0])


class _Signals:
    """`stop` is set by SIGINT or SIGTERM; the second one cancels what runs, which is KeyboardInterrupt then."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self._task = asyncio.current_task()

    def _interrupt(self) -> None:
        if self.stop.is_set() and self._task is not None:
            self._task.cancel()
        self.stop.set()

    def __enter__(self) -> asyncio.Event:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt)
        return self.stop

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
        if kind is not None and issubclass(kind, asyncio.CancelledError) and self.stop.is_set():
            raise KeyboardInterrupt from None


async def _load(args: argparse.Namespace, profile: Profile) -> LoadResult | None:
    """Run a load that this machine leads; None where it was interrupted before it began."""
    with _Signals() as stop:
        async with AsyncExitStack() as stack:
            gateway = None
            if not args.no_compare:
                host = f"[{args.host}]" if ":" in args.host else args.host
                gateway = await stack.enter_async_context(
                    operator_client.Operator(args.operator or f"http://{host}:4311", args.ca)
                )
            participants = Participants()
            coordinator = Coordinator(participants, profile, gateway)
            address = await _address(args.host)
            await coordinator.prepare()
            series = None if args.csv is None else TimeSeries(stack.enter_context(args.csv.open("w", encoding="utf-8")))
            others = []
            if args.lead is not None and args.machines > 1:
                others = await stack.enter_async_context(joined(LeadAddress(*args.lead), args.machines - 1, stop, _say))
                if stop.is_set():
                    return None
            stack.push_async_callback(participants.close)
            ports: dict[Transport, int] = {"tcp": args.tcp_port, "websocket": args.websocket_port}
            mine, *theirs = plans(
                profile,
                [machine_of(args, _files()), *(other.machine for other in others)],
                address,
                ports,
                seed=args.seed,
                first_all_come=args.profile is None,
            )
            for other, todo in zip(others, theirs, strict=True):
                send_plans(other, todo)
                participants.add(other.reader, other.writer)
            await participants.start(mine)
            progress = Progress(profile.clients, sys.stderr.isatty())
            stack.callback(progress.end)

            def show(phase: str, tally: Tally) -> None:
                progress.show(phase, tally)
                if series is not None:
                    series.show(phase, tally)

            return await coordinator.run(stop, show)


async def _join(args: argparse.Namespace) -> int:
    """Take part in a load that another machine leads; returns the exit code."""
    where = LeadAddress(*args.join)
    with _Signals() as stop:
        try:
            await follow(where, machine_of(args, _files()), stop, lambda *_: None)
        except OSError as fault:
            raise LoadError(f"nobody leads a load at {where.host}:{where.port}: {fault.strerror or fault}") from None
        return 130 if stop.is_set() else 0


def _say(line: str) -> None:
    print(f"tallygate load: {line}", file=sys.stderr, flush=True)


def _files() -> int:
    """How many files a process may open here."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if files == resource.RLIM_INFINITY else files
