"""Who plays which clients of a load: the plan of each process, on one machine or on several."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gateway.client_connection import Transport
from gateway.core.addresses import ip_address, is_loopback
from gateway.core.wire.messages import is_integer
from gateway.load.profile import Profile, Spike

PER_PROCESS = 8000
"""Connections a process is given by default: one processor beats for them with ease."""
SPARE = 128
"""Files a process needs beside its connections."""
PER_SOURCE = 5000
"""Connections from one loopback address: of its some 28,000 ports the last free ones are slow to find."""


class LoadError(Exception):
    """The load itself failed; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process does."""

    host: str
    ports: dict[Transport, int]
    first: int
    """Clients are numbered through the whole load; those of this process begin here."""
    sources: list[str]
    """Local addresses, taken in turn by number; none lets the system choose."""
    seed: int
    profile: Profile
    """With the clients, the rate and the spikes of this process."""
    first_all_come: bool
    """Whether the load begins to count its time when all have come, and not with the first."""

    def dump(self) -> dict[str, Any]:
        """Return the plan as JSON takes it."""
        return asdict(self)

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Plan:
        """Return the plan that `dump` gave."""
        return cls(**{**dumped, "profile": Profile.load(dumped["profile"])})


@dataclass(frozen=True, slots=True)
class Machine:
    """What takes part in a load: how many files a process of it may open, and which addresses it has to come from."""

    files: int
    processes: int | None = None
    """How many processes it starts; None: as many as its connections need."""
    sources: tuple[str, ...] = ()

    def dump(self) -> str:
        """Return the machine as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, line: bytes) -> Machine:
        """Return the machine that `dump` gave.

        Raises `ValueError` where the line is not one: anybody may connect to the leader.
        """
        try:
            told = json.loads(line)
            made = cls(told["files"], told["processes"], tuple(told["sources"]))
        except (KeyError, TypeError, RecursionError) as fault:
            raise ValueError("no machine of a load") from fault
        counts = [made.files] if made.processes is None else [made.files, made.processes]
        if not all(is_integer(each) and each > 0 for each in counts):
            raise ValueError("no machine of a load: its numbers")
        if not all(isinstance(each, str) for each in made.sources):
            raise ValueError("no machine of a load: its addresses")
        return made


def plans(
    profile: Profile,
    machines: Sequence[Machine],
    host: str,
    ports: dict[Transport, int],
    *,
    seed: int | None = None,
    first_all_come: bool = False,
) -> list[list[Plan]]:
    """Return the plans of the processes of each machine; `host` is the address of the gateway.

    Raises `LoadError` where a machine may open too few files.
    """
    if profile.clients < len(machines):
        raise LoadError(f"{profile.clients} clients are too few for {len(machines)} machines")
    seed = secrets.randbits(32) if seed is None else seed
    shares = list(_parts(profile.clients, len(machines)))
    processes = [_processes(machine, share) for machine, share in zip(machines, shares, strict=True)]
    total = sum(processes)
    most = max(-(-share // count) for share, count in zip(shares, processes, strict=True))
    addresses = profile.addresses or total * -(-most // PER_SOURCE)
    made: list[list[Plan]] = []
    first = number = 0
    for machine, share, count in zip(machines, shares, processes, strict=True):
        made.append([])
        for clients in _parts(share, count):
            part = replace(
                profile,
                clients=clients,
                rate=profile.rate * clients / profile.clients,
                spike=tuple(_spike(spike, number, total) for spike in profile.spike),
            )
            sources = list(machine.sources) or _sources(host, addresses, number, total)
            made[-1].append(Plan(host, ports, first, sources, seed + number, part, first_all_come))
            first, number = first + clients, number + 1
    return made


def _parts(whole: int, parts: int) -> Iterator[int]:
    for number in range(parts):
        yield whole // parts + (number < whole % parts)


def _processes(machine: Machine, clients: int) -> int:
    room = machine.files - SPARE
    processes = machine.processes or -(-clients // max(1, min(PER_PROCESS, room)))
    processes = max(1, min(processes, clients))
    if clients > processes * room:
        needed = f"{-(-clients // room)} processes" if room > 0 else "more files"
        raise LoadError(f"{clients} connections need {needed}: a process may open {machine.files} files here")
    return processes


def _spike(spike: Spike, number: int, parts: int) -> Spike:
    come, cut = ([*_parts(whole, parts)][number] for whole in (spike.come, spike.cut))
    return replace(spike, come=come, cut=cut)


def _sources(host: str, addresses: int, number: int, parts: int) -> list[str]:
    """The addresses of 127/8 from which process `number` comes; none where the gateway is elsewhere.

    Linux has all of 127/8, others only the first.
    """
    if sys.platform != "linux" or ip_address(host).version != 4 or not is_loopback(host):
        return []
    mine = range(number, addresses, parts) or [number % addresses]
    return [f"127.0.{each // 250}.{2 + each % 250}" for each in mine]
