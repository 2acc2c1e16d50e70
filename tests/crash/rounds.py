"""Rounds of storm, death and resurrection: what was acknowledged must be there, once, with its end to the second."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from tests.crash import powerloss
from tests.crash.gateway import Running, running
from tests.crash.storm import Account, Storm

LONGEST = 0.15
"""Seconds that a storm may last after its first acknowledgment."""


class Round(NamedTuple):
    """What one round brought: acknowledgments before the death, when the licenses found after it end, by account, and
    what was wrong.
    """

    acknowledged: int
    ends: dict[str, str]
    faults: list[str]


async def killed(
    store: Path, rounds: int, *, seed: int, clients: int = 32, longest: float = LONGEST
) -> AsyncIterator[Round]:
    """Kill a gateway on one store again and again; every round is checked by the next gateway, which then dies too."""
    chance = random.Random(seed)  # noqa: S311 - chance, not secrets
    book: dict[str, Account] = {}
    acknowledged, died = 0, 0.0
    for number in range(rounds + 1):
        async with running(store) as gateway:
            if number:
                checked = await _checked(gateway, book, died, acknowledged)
                for name, account in book.items():
                    account.found(checked.ends.get(name))
                yield checked
            if number < rounds:
                acknowledged, died = await _storm(gateway, book, chance, clients, longest)


async def powerless(
    folder: Path, rounds: int, *, seed: int, clients: int = 32, longest: float = LONGEST
) -> AsyncIterator[Round]:
    """Let the power fail again and again, each time under a new store, and start from each disk there may be then.

    Raises `powerloss.Missing`.
    """
    chance = random.Random(seed)  # noqa: S311 - chance, not secrets
    for number in range(rounds):
        book: dict[str, Account] = {}
        store = folder / f"round-{number}" / "crash.db"
        record = folder / f"round-{number}.record"
        store.parent.mkdir()
        async with running(store, powerloss.environment(store, record)) as gateway:
            acknowledged, died = await _storm(gateway, book, chance, clients, longest)
        faults: list[str] = []
        ends: dict[str, str] = {}
        for loss in powerloss.LOSSES:
            disk = folder / f"round-{number}-{loss}"
            powerloss.disk(record, disk, loss, chance)
            async with running(disk / store.name) as gateway:
                checked = await _checked(gateway, book, died, acknowledged)
            faults += [f"{loss} lost: {fault}" for fault in checked.faults]
            ends = checked.ends
        yield Round(acknowledged, ends, faults)


async def _storm(
    gateway: Running, book: dict[str, Account], chance: random.Random, clients: int, longest: float
) -> tuple[int, float]:
    storm = Storm(book, chance, clients)
    raging = asyncio.ensure_future(storm.rage(gateway.ports["tcp"]))
    first = asyncio.ensure_future(storm.first.wait())
    await asyncio.wait({raging, first}, return_when=asyncio.FIRST_COMPLETED)
    first.cancel()
    await asyncio.sleep(chance.uniform(0, longest))  # the moment of death is the point of it
    died = await gateway.kill()
    await raging
    return storm.acknowledged, died


async def _checked(gateway: Running, book: dict[str, Account], died: float, acknowledged: int) -> Round:
    """Compare what a gateway says after a death with the book."""
    items = await gateway.leases()
    found = {item["account"]: item for item in items}
    faults = [f"{len(items) - len(found)} licenses are listed twice"] if len(items) != len(found) else []
    used = await gateway.used()
    if used != len(items):
        faults.append(f"{used} in use, {len(items)} listed")
    faults += [f"{name}: a license that nobody asked for" for name in found.keys() - book.keys()]
    for name, item in found.items():
        if (item["kind"], item["in_conference"], item["deleted"]) != ("temporary", False, False):
            faults.append(f"{name}: {item}")
    for name, account in book.items():
        expires = found[name]["expires"] if name in found else None
        if not account.fits(expires, died):
            faults.append(f"{name}: was told {account}, found {expires}; died {time.strftime('%T', time.gmtime(died))}")
    return Round(acknowledged, {name: item["expires"] for name, item in found.items()}, faults)
