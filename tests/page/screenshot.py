"""Pictures of the page, from a demonstration that runs.

    python -m tests.page.screenshot OUT.png
    python -m tests.page.screenshot --all DIRECTORY

The first is the summary at a busy hour, for the README. The second is every view, light and dark, wide and on a phone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from playwright.async_api import Browser, FloatRect, Playwright, async_playwright

VIEWS = (
    "summary",
    "pro",
    "connections",
    "ended",
    "conferences",
    "refusals",
    "history",
    "usage",
    "people",
    "registrations",
    "audit",
)
WIDTHS = (1400, 390)
SETTLE = 1500.0
"""Milliseconds for a view to draw itself."""
BUSY = 45
"""Members of conferences by which a busy hour is known, together with somebody who was refused."""
LONGEST = 2400
"""Pixels of a list that is longer."""
PATIENCE = 120.0


@asynccontextmanager
async def demonstration(directory: Path) -> AsyncIterator[str]:
    """The address of a demonstration, once it is busy."""
    ready = directory / "ready.json"
    ports = ("listen.tcp=0", "listen.websocket=0", "listen.operator=0", "registrar.port=0")
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "demo", "--day", "3m", "--ready-file", str(ready),
        *(f"--set={each}" for each in ports), stdout=DEVNULL, stderr=DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
            while not ready.exists():
                if demo.returncode is not None:
                    raise SystemExit("the demonstration did not start")
                await asyncio.sleep(0.1)
            url = f"http://127.0.0.1:{json.loads(ready.read_text())['operator']}"
            while not await _busy(http, url):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.2)
        yield url
    finally:
        if demo.returncode is None:
            demo.terminate()
        await demo.wait()


async def _busy(http: aiohttp.ClientSession, url: str) -> bool:
    async with http.get(f"{url}/api/conferences?limit=1000") as answer:
        members = sum(item["members"] for item in (await answer.json())["items"])
    async with http.get(f"{url}/api/license") as answer:
        refused = int((await answer.json())["models"]["trueconf"]["pools"]["pro"]["denied"])
    return members >= BUSY and refused > 0


def program() -> str:
    """The path of Debian's Chromium.

    Raises `SystemExit` where there is none.
    """
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("chromium is not installed (Debian: apt-get install chromium)")
    return path


async def chromium(driver: Playwright, path: str) -> Browser:
    """The browser at `path`, started."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return await driver.chromium.launch(executable_path=path, args=[*root, "--disable-dev-shm-usage"])


async def picture(browser: Browser, url: str, view: str, target: Path, *, width: int, scheme: str, whole: bool) -> None:
    """One view as a file; `whole` takes all of it, not only what fits."""
    context = await browser.new_context(
        viewport={"width": width, "height": 900 if width > 500 else 844},
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=1 if whole else 2,
    )
    page = await context.new_page()
    await page.goto(f"{url}/#/{view}")
    await page.locator("#tabs a[aria-current=page]").wait_for()
    await page.wait_for_timeout(SETTLE)
    clip: FloatRect | None = None
    if whole:
        height = await page.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, LONGEST)}
    await page.screenshot(path=target, full_page=whole, clip=clip)
    await context.close()


async def take(target: Path, *, every: bool) -> None:
    """Take one picture, or all into a directory."""
    with tempfile.TemporaryDirectory() as directory:
        async with demonstration(Path(directory)) as url, async_playwright() as driver:
            browser = await chromium(driver, program())
            if not every:
                await picture(browser, url, "summary", target, width=1400, scheme="light", whole=False)
            else:
                for width in WIDTHS:
                    for scheme in ("light", "dark"):
                        for view in VIEWS:
                            file = target / f"{view}-{scheme}-{width}.png"
                            await picture(browser, url, view, file, width=width, scheme=scheme, whole=True)
            await browser.close()


def main() -> int:
    """Take what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.page.screenshot", description="Pictures of the page.")
    parser.add_argument("target", type=Path, help="the file, or with --all the directory")
    parser.add_argument("--all", action="store_true", help="every view, light and dark, wide and on a phone")
    options = parser.parse_args()
    if options.all:
        options.target.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(options.target, every=options.all))
    return 0


if __name__ == "__main__":
    sys.exit(main())
