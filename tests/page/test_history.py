"""The history of a pool: its charts by keyboard, the same as a table, and another pool."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.conftest import House, Serve
from tests.page.conftest import Screen


@pytest.fixture
async def house(serve: Serve) -> House:
    """A gateway with somebody online."""
    house = await serve(license__model="trueconf")
    await house.welcomed(account="ann")
    return house


async def test_a_chart_tells_its_values_to_the_arrow_keys(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/history/trueconf/online")
    chart = page.get_by_role("slider", name="Mean use by weekday and hour")
    await chart.focus()
    await expect(chart).to_have_attribute("aria-valuetext", re.compile("^Mon 00:00"))
    await page.keyboard.press("ArrowRight")
    await expect(chart).to_have_attribute("aria-valuetext", re.compile("^Mon 01:00"))
    await page.keyboard.press("ArrowDown")
    await expect(chart).to_have_attribute("aria-valuetext", re.compile("^Tue 01:00"))
    await page.keyboard.press("End")
    await expect(chart).to_have_attribute("aria-valuetext", re.compile("^Sun 23:00"))
    await expect(chart.locator(".tip-text")).to_contain_text("Sun 23:00")
    await page.keyboard.press("Escape")
    await expect(chart.locator(".tip-text")).to_have_count(0)


async def test_a_chart_s_values_are_a_table_too(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/history/trueconf/online")
    await page.locator("summary").first.click()
    table = page.get_by_role("table", name="Use over time")
    await expect(table.locator("tbody tr")).to_have_count(1)
    await expect(table.locator("tbody tr")).to_contain_text(re.compile("[0-9-]{10} [0-9]{2}:00"))
    await expect(table.locator("tbody td").first).to_have_text("1")


async def test_another_pool_is_chosen_and_named_in_the_address(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/history/trueconf/online?span=24h")
    await expect(page.get_by_label("Pool", exact=True)).to_have_value("online")
    await expect(page.get_by_role("button", name="24 h")).to_have_attribute("aria-pressed", "true")
    await page.get_by_label("Pool", exact=True).select_option("PRO users")
    await expect(page).to_have_url(re.compile(r"#/history/trueconf/pro\?span=24h$"))
    await expect(page.get_by_text("Nobody used this pool in this time.")).to_be_visible()
