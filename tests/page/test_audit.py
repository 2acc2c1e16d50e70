"""The audit log on the page: acts apart from leases, each with what it says, and its older entries."""

from __future__ import annotations

import asyncio
import json

import pytest
from playwright.async_api import Download, Route, expect

from tests.conftest import House, Serve
from tests.page.conftest import Screen

ROWS = "#audit-list tbody tr[data-key]"
MANY = 700
"""Entries about leases, more than the page asks for at first."""


async def saved(download: Download) -> list[str]:
    """The lines of a file that was saved."""
    path = await download.path()
    return (await asyncio.to_thread(path.read_text)).splitlines()


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
    await expect(page.locator("#audit-tally")).to_contain_text("The latest 2 acts.")
    await page.get_by_role("button", name="Leases", exact=True).click()
    await expect(lease).to_have_count(1)
    await expect(act).to_have_count(0)
    await page.get_by_role("button", name="All", exact=True).click()
    await expect(page.locator(ROWS)).to_have_count(3)
    await expect(page.locator("#audit-tally")).to_contain_text("The latest 3 entries; they follow each other")
    await page.get_by_role("searchbox").fill("192.0.2.7 added")
    await expect(page.locator(ROWS)).to_have_count(1)
    await expect(page.locator("#audit-tally")).to_contain_text("1 of the latest 3 entries")


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
    await expect(page.locator("#audit-tally")).to_contain_text("The latest 2 acts.")
    await expect(page.get_by_role("button", name="Load older entries")).to_be_hidden()
    await house.http("PUT", "/api/bans/192.0.2.8", json={"for": "5m"})
    await expect(page.locator(ROWS).filter(has_text="192.0.2.8")).to_be_visible()


async def test_older_entries_are_loaded_when_they_are_asked_for(house: House, screen: Screen) -> None:
    for number in range(MANY):
        house.runtime.persistence.audit_log.add("gateway", "reload", f"file-{number}", {})
    await house.runtime.persistence.audit_log.write()
    page = await screen.open(house, "#/audit")
    more = page.get_by_role("button", name="Load older entries")
    await expect(page.locator("#audit-tally")).to_contain_text("The latest 500 acts.")
    answered = asyncio.Event()

    async def hold(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await page.route("**/api/audit?*cursor=*", hold)
    await more.click()
    await expect(more).to_be_disabled()
    answered.set()
    await expect(page.locator("#audit-tally")).to_contain_text(f"The latest {MANY + 2} acts.")
    await expect(more).to_be_hidden()


async def test_entries_of_a_time_are_shown_and_saved(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/audit")
    rows = page.locator(ROWS)
    await expect(rows).to_have_count(2)
    await page.get_by_label("Time").select_option("days")
    await page.get_by_label("To").fill("2020-01-01")
    await expect(page.get_by_text("There are no such entries in this time.")).to_be_visible()
    await page.get_by_label("Time").select_option("1h")
    await expect(rows).to_have_count(2)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export CSV").click()
    lines = await saved(await download.value)
    assert lines[0] == "seq,time,actor,action,subject,detail,previous,hash"
    assert [line.split(",")[3] for line in lines[1:]] == ["start", "ban.added"]
    await page.get_by_role("button", name="All", exact=True).click()
    await expect(rows).to_have_count(3)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export JSON").click()
    entries = [json.loads(line) for line in await saved(await download.value)]
    assert [entry["action"] for entry in entries] == ["start", "ban.added", "lease.granted"]
    assert entries[1]["previous"] == entries[0]["hash"]


async def test_a_page_that_stays_open_keeps_only_the_newest_entries(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    kept = await page.evaluate(
        """async () => {
          const { AuditView } = await import("/page/audit.js");
          const entry = (seq) => ({ seq, hash: `${seq}`, time: "2026-11-21T14:03:05Z", action: "x", detail: {} });
          const known = Array.from({ length: 20_000 }, (_, place) => entry(20_000 - place));
          const app = { now: () => Date.now(), get: async () => ({ items: [entry(20_001), ...known.slice(0, 199)] }) };
          const view = new AuditView(app, document.createElement("section"));
          view.open();
          view.entries = known;
          await view.loadNewest(new AbortController().signal);
          view.close();
          return [view.entries.length, view.entries[0].seq, view.entries.at(-1).seq, view.next];
        }"""
    )
    assert kept == [20_000, 20_001, 2, "2"]
