"""Kills a gateway at random moments, again and again, and checks what its store says afterwards.

    python -m tests.crash [--rounds 200] [--seed N] [--clients 32] [--longest S] [--power]

With --power every death is a loss of power: what was not synced is lost, all of it, its end, or any part.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.crash import powerloss, rounds


async def run(options: argparse.Namespace) -> int:
    """Run the rounds; 0 if nothing was lost, doubled or moved."""
    began = time.monotonic()
    acknowledged = faults = number = found = 0
    chances = {"seed": options.seed, "clients": options.clients, "longest": options.longest}
    with tempfile.TemporaryDirectory(prefix="tallygate-crash-") as folder:
        if options.power:
            results = rounds.powerless(Path(folder), options.rounds, **chances)
        else:
            results = rounds.killed(Path(folder) / "crash.db", options.rounds, **chances)
        async for result in results:
            number += 1
            acknowledged, found, faults = (
                acknowledged + result.acknowledged,
                len(result.ends),
                faults + len(result.faults),
            )
            print(
                f"\rround {number}/{options.rounds}: {acknowledged:,} acknowledged, {found:,} licenses found, "
                f"{faults} faults, {time.monotonic() - began:.0f} s ",
                end="",
                flush=True,
            )
            for fault in result.faults[:5]:
                print(f"\n  {fault}")
    print(f"\nseed {options.seed}: {'everything was kept' if not faults else f'{faults} FAULTS'}")
    return 1 if faults else 0


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="how often it dies (200)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of all chances")
    parser.add_argument("--clients", type=int, default=32, help="clients at once (32)")
    parser.add_argument("--longest", type=float, default=rounds.LONGEST, metavar="S", help="seconds a storm may last")
    parser.add_argument("--power", action="store_true", help="lose what was not synced; needs a C compiler")
    try:
        return asyncio.run(run(parser.parse_args()))
    except powerloss.Missing as missing:
        print(f"tests.crash: {missing}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
