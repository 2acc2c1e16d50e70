"""The audit log on the page: acts apart from leases, each with what it says, and its older entries."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Route, expect

from tests.conftest import House, Serve
from tests.page.conftest import Screen

ROWS = "#audit-list tbody tr[data-key]"
MANY = 700
"""Entries about leases, more than the page asks for at first."""


@pytest.fixture
async def house(serve: Serve) -> House:
    """A gateway with an act of an operator and a lease."""
    house = await serve(license__model="trueconf")
    await house.http("PUT", "/api/bans/192.0.2.7", json={"for": "5m"})
    wire = await house.welcomed(account="ann")
    await wire.ask("join", conference="weekly")
    return house


async def test_acts_are_shown_apart_from_leases(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/audit")
    act, lease = (page.locator(ROWS).filter(has_text=text) for text in ("ban.added", "lease.granted"))
    await expect(act).to_have_count(1)
    await expect(lease).to_have_count(0)
    await expect(page.locator("#audit-tally")).to_contain_text("2 of the 3 latest entries; they follow each other")
    await page.get_by_role("button", name="Leases", exact=True).click()
    await expect(lease).to_have_count(1)
    await expect(act).to_have_count(0)
    await page.get_by_role("button", name="All", exact=True).click()
    await expect(page.locator(ROWS)).to_have_count(3)
    await expect(page.locator("#audit-tally")).to_contain_text("The 3 latest entries; they follow each other")
    await page.get_by_role("searchbox").fill("192.0.2.7 added")
    await expect(page.locator(ROWS)).to_have_count(1)
    await expect(page.locator("#audit-tally")).to_contain_text("1 of the 3 latest entries")


async def test_an_entry_is_shown_with_all_that_it_says(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/audit")
    await page.get_by_role("button", name="ban.added").click()
    details = page.get_by_role("dialog")
    for text in ("loopback", "192.0.2.7", "until"):
        await expect(details).to_contain_text(text)
    _, answer = await house.http("GET", "/api/audit?order=newest")
    entry = next(item for item in answer["items"] if item["action"] == "ban.added")
    await expect(details).to_contain_text(entry["hash"])


async def test_an_act_is_found_behind_many_leases(house: House, screen: Screen) -> None:
    for number in range(MANY):
        house.runtime.persistence.audit_log.add("gateway", "lease.granted", f"user-{number}", {"pool": "pro"})
    await house.runtime.persistence.audit_log.write()
    page = await screen.open(house, "#/audit")
    await expect(page.locator(ROWS).filter(has_text="ban.added")).to_be_visible()
    await expect(page.locator("#audit-tally")).to_contain_text(f"2 of the {MANY + 3} latest entries; they follow")
    await expect(page.get_by_role("button", name="Load older entries")).to_be_hidden()
    await house.http("PUT", "/api/bans/192.0.2.8", json={"for": "5m"})
    await expect(page.locator(ROWS).filter(has_text="192.0.2.8")).to_be_visible()


async def test_older_entries_are_loaded_when_they_are_asked_for(house: House, screen: Screen) -> None:
    for number in range(5 * MANY):
        house.runtime.persistence.audit_log.add("gateway", "lease.granted", f"user-{number}", {"pool": "pro"})
    await house.runtime.persistence.audit_log.write()
    page = await screen.open(house, "#/summary")
    answered = asyncio.Event()

    async def hold(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await page.route("**/api/audit?*cursor=*", hold)
    await page.get_by_role("link", name="Audit").click()
    more = page.get_by_role("button", name="Load older entries")
    await expect(more).to_be_disabled()  # as long as the page itself loads some
    answered.set()
    await more.click()
    await expect(page.locator(ROWS).filter(has_text="ban.added")).to_be_visible()
