"""Whatever a client calls itself is text: it is shown as it was sent, and never becomes a part of the page.

Times are texts too: those of one clock.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from playwright.async_api import Page, Route, expect

from tests.conftest import House, Serve
from tests.page.conftest import Screen

IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "<script>alert(2)</script>&lt;b&gt;"
"""A client's own name is free text; ids are of few characters, `<` is none of them."""


@pytest.fixture
async def house(serve: Serve) -> House:
    return await serve(license__model="trueconf")


async def clean(page: Page) -> None:
    """There is nothing in the page that only markup could have brought."""
    for forbidden in ("img[src=x]", "main script", "main b:text-is('x')", "[onerror]", "iframe"):
        await expect(page.locator(forbidden)).to_have_count(0)


@pytest.mark.parametrize("text", [IMAGE, SCRIPT])
async def test_the_name_of_a_client(house: House, screen: Screen, text: str) -> None:
    await house.welcomed(account="ann", device="laptop", client=text)
    page = await screen.open(house, "#/connections")
    await page.get_by_role("button", name="ann", exact=True).click()
    await expect(page.locator("#details")).to_contain_text(text)
    await clean(page)


async def test_what_an_operator_searches_for(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/connections")
    for view in ("connections", "ended", "conferences", "pro", "refusals", "audit"):
        await page.locator(f"#tab-{view}").click()
        await page.get_by_role("searchbox").first.fill(IMAGE)
        await clean(page)


async def test_what_stands_in_the_address(house: House, screen: Screen) -> None:
    for rest in (f"connections?conference={IMAGE}", f"history/{IMAGE}/{IMAGE}", IMAGE, "toString", "__proto__"):
        page = await screen.open(house, f"#/{rest}")
        await clean(page)
        await page.context.close()


async def test_what_the_gateway_is_told_by_a_stranger_stays_text(house: House, screen: Screen) -> None:
    """The audit log names whom an operator asked for, as it was asked."""
    await house.http("PUT", "/api/bans/192.0.2.7", json={"for": "5m"})
    page = await screen.visit(house)
    await page.route("**/api/audit**", _hostile)
    await page.goto(f"{house.url}/#/audit")
    await expect(page.locator("main")).to_contain_text(IMAGE)
    await clean(page)


async def _hostile(route: Route) -> None:
    entry = {"seq": 9, "time": "2026-11-21T21:00:00.000Z", "actor": IMAGE, "action": IMAGE, "subject": IMAGE}
    await route.fulfill(
        json={"items": [{**entry, "detail": {IMAGE: IMAGE}, "previous": "0" * 64, "hash": "1" * 64}], "next": None}
    )


async def test_models_and_pools_have_the_titles_that_the_gateway_gives_them(house: House, screen: Screen) -> None:
    _, license = await house.http("GET", "/api/license")
    model = license["titles"][license["model"]]
    page = await screen.open(house)
    await expect(page.locator("#license-title")).to_have_text(model["title"])
    await expect(page.locator("#gist")).to_contain_text(model["title"])
    for pool, title in model["pools"].items():
        await expect(page.locator(f".pool[data-pool={pool}] h3")).to_have_text(title)


# -- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["summary", "connections", "audit"])
async def test_every_time_is_utc_wherever_it_is_looked_at_from(house: House, screen: Screen, view: str) -> None:
    await house.welcomed(account="ann")
    page = await screen.open(house, f"#/{view}", timezone_id="Asia/Kolkata")
    await expect(page.locator("#about")).to_contain_text("All times are UTC")
    time = page.locator("#view time").first
    instant = await time.get_attribute("datetime") or ""
    await expect(time).to_have_text(instant[:19].replace("T", " "))
    await expect(time).to_have_attribute("title", re.compile(r"GMT\+0530"))


async def test_the_clock_of_the_place_is_chosen_and_kept(house: House, screen: Screen) -> None:
    await house.welcomed(account="ann")
    page = await screen.open(house, "#/connections", timezone_id="Asia/Kolkata")
    time = page.locator("#view time").first
    instant = await time.get_attribute("datetime") or ""
    local = (datetime.fromisoformat(instant) + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%d %H:%M:%S")
    await page.get_by_role("button", name="UTC", exact=True).click()
    await expect(time).to_have_text(local)
    await expect(page.locator("#about")).to_contain_text("All times are Asia/Calcutta")
    await expect(page.locator("#live-mark")).to_contain_text("Asia/Calcutta")
    await page.reload()
    await expect(time).to_have_text(local)
    await page.locator("#clock").click()
    await expect(time).to_have_text(instant[:19].replace("T", " "))


async def test_history_says_that_its_times_are_utc(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/history", timezone_id="Asia/Kolkata")
    await expect(page.locator("#history-status")).to_contain_text(re.compile("to [0-9-]{10} [0-9:]{5} UTC, "))
