"""How a small server under measurement talks to the benchmark: a JSON ready line on stdout, questions on stdin.

A line `count` is answered with the connections it holds, a line `collect` first runs the garbage collector; both
answers are `{"connections": n}`. The end of stdin is the order to exit, so no server outlives the benchmark.
"""

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable

ROOM = 16 << 20
"""Bytes allocated and freed at the start.

asyncio receives into fresh objects of 256 KiB; until the C library has seen a larger block freed it maps and unmaps
memory for every one of them, and a heartbeat costs 2.4 times as much. Whether that happens by itself is chance, so
every Python server here is put into the better state: a floor must be a hard one.
"""


async def answer_until_closed(port: int, count: Callable[[], int]) -> None:
    """Print the ready line for `port` and answer on stdin until it is closed."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    def question() -> None:
        line = os.read(sys.stdin.fileno(), 64)
        if not line:
            loop.remove_reader(sys.stdin)
            closed.set()
            return
        if line.startswith(b"collect"):
            gc.collect()
        print(json.dumps({"connections": count()}), flush=True)

    bytes(ROOM)
    loop.add_reader(sys.stdin, question)
    print(json.dumps({"port": port}), flush=True)
    await closed.wait()
