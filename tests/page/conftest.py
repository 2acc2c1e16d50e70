"""The page in a real browser: Debian's Chromium, driven by Playwright.

The browser is one process for each module; each test has its own driver and its own windows, in the loop in which its
gateway runs. Whatever the browser complains of - an error in the console, a fault of a script, a violation of the
content policy - and any dialog that it opens by itself makes the test fail, unless the test expects it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, Dialog, Page, async_playwright, expect

from tests.conftest import House
from tests.programs import program

PATIENCE = 15_000.0
"""Milliseconds after which something expected is not there; nothing of what is tested takes so long."""
SWITCHES = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
)

expect.set_options(timeout=PATIENCE)


class Screen:
    """Windows of a browser onto gateways, and what the browser complained of."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.faults: list[str] = []
        self.excused = r"(?!)"
        """What complaints a test expects, as a pattern."""

    async def open(self, house: House, path: str = "#/summary", **options: Any) -> Page:
        """The page of a gateway, once it shows what the gateway says; `options` are those of the window."""
        page = await self.visit(house, path, **options)
        await expect(page.locator("#tabs a[aria-current=page]")).to_be_visible()
        return page

    async def visit(self, house: House, path: str = "#/summary", **options: Any) -> Page:
        """The page of a gateway, whatever it shows."""
        context = await self._browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        page.on("console", lambda said: self._complain(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda fault: self._complain(str(fault)))
        page.on("dialog", self._dialog)
        await page.goto(f"{house.url}/{path}")
        return page

    async def _dialog(self, dialog: Dialog) -> None:
        self._complain(f"a dialog says {dialog.message}")
        await dialog.dismiss()

    def _complain(self, text: str) -> None:
        if not re.search(self.excused, text):
            self.faults.append(text)

    async def close(self) -> None:
        """Close the windows."""
        for context in self._browser.contexts:
            await context.close()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whatever needs the browser needs a package of Debian."""
    if "chromium" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.debian)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A browser that runs; where it can be driven."""
    path = program("chromium", "chromium")
    profile = tmp_path_factory.mktemp("chromium")
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    argv = [path, *SWITCHES, *root, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        said = process.stderr
        try:
            address = next((found[1] for line in said if (found := re.search(r"listening on (ws://\S+)", line))), None)
            assert address, "chromium ended without a word of where it can be driven"
            # What it goes on to say must be read, or it would wait for somebody who does.
            reading = threading.Thread(target=lambda: [None for _ in said])
            reading.start()
            yield address
        finally:
            process.terminate()
            process.wait()
        reading.join()


@pytest.fixture
async def screen(chromium: str) -> AsyncIterator[Screen]:
    """Windows onto gateways: `page = await screen.open(house, "#/connections")`."""
    async with contextlib.AsyncExitStack() as stack:
        driver = await stack.enter_async_context(async_playwright())
        browser = await driver.chromium.connect_over_cdp(chromium)
        stack.push_async_callback(browser.close)
        seen = Screen(browser)
        yield seen
        await seen.close()
    assert seen.faults == []
