"""What the page costs, and how fast it answers: thousands of connections, looked at in a real browser.

    python -m tests.page.measure [--quick]

The same load comes four times to one gateway: looked at by nobody; by one page that is searched and scrolled through;
by ten that only look, half of them at the connections; and by ten that listen and ask as those do, but draw nothing.
Heartbeats are all those of a turn, as the load saw them answered; CPU is what the gateway alone used in it. Pages are
drawn on other machines than the gateway's, here on the processors that gateway and load need themselves: the browser of
the ten has the lowest priority, and the last turn shows what is left when nothing is drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shlex
import statistics
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, Page, async_playwright

from tests.page.screenshot import chromium, program

MANY, FEW = 15_000, 3_000
RAMP = 1500
"""New connections per second."""
HOLD = {MANY: 30.0, FEW: 20.0}
"""Seconds for which all of them are held."""
LEAVE = 5.0
"""Seconds before the end of that time in which nothing is measured any more."""
PAGES = 10
PATIENCE = 120.0
LISTEN = """window.tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)))
  .observe({ type: "longtask" });"""
"""A long task is one of more than 50 ms (Long Tasks API)."""
ANSWER = """(sought) => new Promise((resolve) => {
  const input = document.getElementById("connections-search");
  let typed = 0;
  input.oninput = () => { typed = performance.now(); };
  const look = () => {
    const rows = [...document.querySelectorAll("#connections-list tbody tr[data-key]")];
    const told = document.getElementById("connections-tally").textContent.includes(" of ");
    const shown = told && rows.length && rows.every((row) => row.textContent.includes(sought));
    if (input.value === sought && shown) setTimeout(() => resolve(performance.now() - typed));
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""
"""Milliseconds from the last key to the frame that shows the rows, all of them and only them."""
WHOLE = """() => !document.getElementById("connections-tally").textContent.includes(" of ")"""
REST = 0.5
"""Seconds between two times that the list of connections is asked for, while it changes."""
JUMP = "(box, share) => { box.scrollTop = share * box.scrollHeight; }"


@dataclass
class Turn:
    """One load: its heartbeats' latency, and what the gateway used of a processor meanwhile, in seconds."""

    title: str
    latency: dict[str, float] = field(default_factory=dict)
    cpu: float = 0.0


@dataclass
class Fluency:
    """How one page went, in milliseconds."""

    answers: list[float] = field(default_factory=list)
    tasks: list[float] = field(default_factory=list)


class Bench:
    """One gateway, and the loads that come to it."""

    def __init__(self, ports: dict[str, int], connections: int, http: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{ports['operator']}"
        self.connections = connections
        self._ports = ports
        self._http = http

    async def turn(self, title: str, act: Callable[[], Coroutine[Any, Any, None]] | None = None) -> Turn:
        """Let the load come and go; while it is held, `act`, or wait.

        Raises `SystemExit` when connections failed, or were lost.
        """
        hold = HOLD[self.connections]
        load = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "load", f"--connections={self.connections}", f"--ramp={RAMP}",
            f"--duration={hold}", f"--conferences={self.connections // 50}", "--accounts=distinct", "--json",
            f"--tcp-port={self._ports['tcp']}", f"--operator={self.url}", "--seed=1", stdout=PIPE, stderr=DEVNULL,
        )  # fmt: skip
        turn, before = Turn(title), await self._cpu()
        try:
            async with asyncio.timeout(PATIENCE):
                while await self._held() < self.connections:
                    if load.returncode is not None:
                        raise SystemExit("the load did not come")
                    await asyncio.sleep(0.2)
                async with asyncio.timeout(hold - LEAVE + 1), asyncio.TaskGroup() as meanwhile:
                    meanwhile.create_task(asyncio.sleep(hold - LEAVE))
                    if act is not None:
                        meanwhile.create_task(act())
                turn.cpu = await self._cpu() - before
                told, _ = await load.communicate()
        finally:
            if load.returncode is None:
                load.terminate()
                await load.wait()
        outcome: dict[str, Any] = json.loads(told)
        if not outcome["good"]:
            raise SystemExit(f"the load did not go well: {outcome}")
        turn.latency = outcome["heartbeats"]["latency"]
        return turn

    async def _held(self) -> int:
        async with self._http.get(f"{self.url}/api/connections/count") as answer:
            return int((await answer.json())["count"])

    async def _cpu(self) -> float:
        async with self._http.get(f"{self.url}/metrics") as answer:
            found = re.search(r"^process_cpu_seconds_total (\S+)", await answer.text(), re.MULTILINE)
        assert found is not None
        return float(found[1])


@asynccontextmanager
async def bench(connections: int) -> AsyncIterator[Bench]:
    """A gateway of its own, open."""
    with tempfile.TemporaryDirectory() as directory:
        ready = Path(directory) / "ready.json"
        given = ("listen.tcp=0", "listen.websocket=0", "listen.operator=0", "license.model=floating")
        gateway = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "serve", "--ready-file", str(ready),
            *(f"--set={each}" for each in (*given, f"store.path={directory}/store.db", "listen.drain=0s")),
            stdout=DEVNULL, stderr=DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                while not ready.exists():
                    if gateway.returncode is not None:
                        raise SystemExit("the gateway did not start")
                    await asyncio.sleep(0.1)
            async with aiohttp.ClientSession() as http:
                yield Bench(json.loads(ready.read_text()), connections, http)
        finally:
            if gateway.returncode is None:
                gateway.terminate()
            await gateway.wait()


async def opened(browser: Browser, url: str, view: str) -> Page:
    """A window with a view."""
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    await page.add_init_script(LISTEN)
    await page.goto(f"{url}/#/{view}")
    await page.locator("#tabs a[aria-current=page]").wait_for()
    return page


async def used(page: Page, connections: int, fluency: Fluency) -> None:
    """Search and scroll through the connections."""
    numbers = (7, connections // 3, connections // 2, connections - 1)
    for sought in (*(f"load-{number}@" for number in numbers), "load-2", "load-11", "load-29"):
        answer = asyncio.create_task(page.evaluate(ANSWER, sought))
        await page.locator("#connections-search").press_sequentially(sought, delay=40)
        fluency.answers.append(await answer)
        await page.locator("#connections-search").fill("")
        await page.wait_for_function(WHOLE)
    box = page.locator("#connections-list").locator("..")
    await box.hover()
    for step in range(120):
        await page.mouse.wheel(0, 900 if step < 80 else -400)
    for step in range(40):
        await box.evaluate(JUMP, step * 7 % 40 / 40)
        await page.wait_for_timeout(50)
    fluency.tasks = await page.evaluate("tasks")


async def undrawn(http: aiohttp.ClientSession, url: str, *, lists: bool) -> None:
    """What a page asks of the gateway; with `lists` one of the connections."""
    due = asyncio.Event()

    async def ask() -> None:
        while True:
            await due.wait()
            due.clear()
            for path in ("api/connections/count", "api/connections?offset=0&limit=100"):
                async with http.get(f"{url}/{path}") as answer:
                    await answer.read()
            await asyncio.sleep(REST)

    async with asyncio.TaskGroup() as page, http.get(f"{url}/api/events") as stream:
        page.create_task(ask())
        async for line in stream.content:
            if lists and b'"generations"' in line:
                due.set()


def table(connections: int, fluency: Fluency, turns: list[Turn]) -> str:
    """All figures, for a person."""
    answers = fluency.answers
    lines = [
        f"{connections:,} connections",
        f"filter answer    median {statistics.median(answers):.0f} ms, worst {max(answers):.0f} ms of {len(answers)}"
        " (aim < 200 ms)",
        f"long tasks       {len(fluency.tasks)}, the longest {max(fluency.tasks, default=0):.0f} ms (aim <= 100 ms)",
        f"{'heartbeats':24} {'p50':>10} {'p99':>10} {'max':>10} {'gateway CPU':>13}",
    ]
    for turn in turns:
        shown = "".join(f"{turn.latency[name] * 1000:>8.2f} ms" for name in ("p50", "p99", "max"))
        lines.append(f"{turn.title:24}{shown} {turn.cpu:>11.1f} s")
    return "\n".join(lines)


async def measure(connections: int) -> str:
    """Run the four turns; gives the table."""
    fluency = Fluency()
    async with bench(connections) as run, async_playwright() as driver:
        turns = [await run.turn("no page")]
        browser = await chromium(driver, program())
        page = await opened(browser, run.url, "connections")
        turns.append(await run.turn("one page, in use", lambda: used(page, connections, fluency)))
        await browser.close()
        with tempfile.TemporaryDirectory() as directory:
            yielding = Path(directory) / "chromium"
            yielding.write_text(f'#!/bin/sh\nexec nice -n 19 {shlex.quote(program())} "$@"\n')
            yielding.chmod(0o700)
            browser = await chromium(driver, str(yielding))
            for number in range(PAGES):
                await opened(browser, run.url, "connections" if number % 2 else "summary")
            turns.append(await run.turn(f"{PAGES} pages"))
            await browser.close()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(), read_bufsize=1 << 20) as http:
            pages = [asyncio.create_task(undrawn(http, run.url, lists=number % 2 == 1)) for number in range(PAGES)]
            turns.append(await run.turn(f"{PAGES} pages, not drawn"))
            for each in pages:
                each.cancel()
            await asyncio.wait(pages)
    return table(connections, fluency, turns)


def main() -> int:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.page.measure", description="What the page costs.")
    parser.add_argument("--quick", action="store_true", help=f"{FEW:,} connections instead of {MANY:,}")
    print(asyncio.run(measure(FEW if parser.parse_args().quick else MANY)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
