"""Who used it, on the page: put together in every way, sorted, searched, and as a file."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.conftest import House, Serve
from tests.edge.api.test_reports import Hands
from tests.page.conftest import Screen

ROWS = "#usage-list tbody tr[data-key]"


@pytest.fixture
async def house(serve: Serve) -> House:
    """A gateway where ann held the only seat for two hours, bob was refused, and zoe never came."""
    hands = Hands()
    house = await serve(clock=hands.clock(), license__epop__users=1)
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann", "zoe"]})
    ann = await house.welcomed(account="ann", device="phone")
    await ann.ask("join", conference="a")
    hands.move(3600)
    bob = await house.welcomed(account="bob", device="desk")
    assert (await bob.ask("join", conference="a"))["type"] == "denied"
    hands.move(3600)
    return house


async def names(page: Page) -> list[str]:
    return [text.split("\n")[0] for text in await page.locator(f"{ROWS} td.who").all_inner_texts()]


async def test_accounts_are_listed_with_their_hours_and_sorted_as_is_asked_for(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/usage")
    await expect(page.locator(ROWS)).to_have_count(2)
    assert await names(page) == ["ann", "bob"]
    await expect(page.locator(ROWS).first).to_contain_text("2.0")
    await expect(page.locator("#usage-tally")).to_contain_text("2 accounts, 2026-12-16 to 2027-01-15 (UTC)")
    await expect(page.locator("#usage-tally")).to_contain_text("3.0 h connected · 1 refusal")
    await page.get_by_label("Sorted by").select_option("Refusals")
    await expect(page.locator(f"{ROWS} td.who").first).to_contain_text("bob")
    await page.get_by_role("searchbox").fill("an")
    await expect(page.locator(ROWS)).to_have_count(1)


async def test_it_is_put_together_by_device_group_day_and_who_never_came(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/usage")
    by = page.get_by_label("Use by", exact=True)
    for title, first in (("Devices", "phone"), ("Groups", "in no group"), ("Days", "2027-01-15")):
        await by.select_option(title)
        await expect(page.locator("#usage-list")).to_contain_text(first)
    await expect(page.locator("#usage-list thead")).to_contain_text("Users")
    for title, first in (("Weeks", "2027-01-11"), ("Months", "2027-01"), ("Never came", "zoe")):
        await by.select_option(title)
        await expect(page.locator("#usage-list")).to_contain_text(first)
    await expect(page).to_have_url(f"{house.url}/#/usage/absent/epop?span=30d")
    await expect(page.get_by_label("Model")).to_be_hidden()


async def test_a_shadow_tells_what_it_would_have_cost(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/usage/account/trueconf")
    await expect(page.locator("#usage-list thead")).to_contain_text("PRO")
    await expect(page.locator(ROWS)).to_have_count(2)
    await expect(page.get_by_text("A shadow counts the same traffic")).to_be_visible()


async def test_the_list_is_taken_along_as_a_file(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/usage")
    await expect(page.locator(ROWS)).to_have_count(2)
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Download CSV").click()
    file = await (await waiting.value).path()
    text = await asyncio.to_thread(Path(file).read_text)
    rows = {row["account"]: row for row in csv.DictReader(text.splitlines())}
    assert (rows["ann"]["pool"], float(rows["ann"]["seat_seconds"])) == ("concurrent", 7200.0)
    assert rows["bob"]["denials"] == "1"


async def test_where_no_names_are_kept_the_page_says_why(serve: Serve, screen: Screen) -> None:
    screen.excused = "409"
    house = await serve(history__names="none")
    page = await screen.open(house, "#/usage/absent")
    await expect(page.locator("#main")).to_contain_text("istory.names is none")
