"""Thousands of sessions, licenses and entries: found at once, and only those in sight are in the document."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from gateway.core.admission.commands import Hello
from tests.conftest import House, Serve
from tests.page.conftest import Screen

MANY = 15_000
HOLDERS = 2_000
IN_SIGHT = 200
ROWS = "#connections-list tbody tr[data-key]"


@pytest.fixture
async def house(serve: Serve) -> House:
    """A gateway with as many sessions; where the bytes would come from does not matter here."""
    house = await serve(license__model="floating", license__shadow="[]")
    for number in range(1, MANY + 1):
        kind, address = "room" if number % 100 == 0 else "app", f"10.0.{number >> 8}.{number & 255}"
        hello = Hello(kind, f"user-{number:05}", "laptop", "", "", address, "tcp")
        decision = house.runtime.sequencer.submit(hello)
        assert decision is not None
        assert decision.refused is None
    return house


async def test_a_list_of_many_is_searched(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/connections")
    figures = page.locator("#connections-tally")
    await expect(figures).to_contain_text("15,000 connections")
    seek = page.get_by_role("searchbox")
    await seek.fill("user-1234")
    await expect(figures).to_contain_text("10 of 15,000")
    await expect(page.locator(ROWS)).to_have_count(10)
    await seek.fill("10.0.58.152")
    await expect(page.locator(ROWS)).to_have_count(1)
    await expect(page.locator(ROWS)).to_contain_text("user-15000")
    await seek.fill("room")
    await expect(figures).to_contain_text("150 of 15,000")
    await seek.fill("nobody at all")
    await expect(page.get_by_text("No connection matches.")).to_be_visible()
    await seek.fill("")
    await expect(figures).to_have_text("15,000 connections")


async def test_only_what_is_in_sight_is_in_the_document(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/connections")
    rows, box = page.locator(ROWS), page.locator("#connections-list").locator("..")
    for share, wanted in ((0, "user-00001"), (0.5, "user-075"), (1, "user-15000")):
        await box.evaluate("(node, share) => { node.scrollTop = share * node.scrollHeight; }", share)
        await expect(rows.filter(has_text=wanted).first).to_be_visible()
        assert 0 < await rows.count() < IN_SIGHT
    await expect(page.locator("#connections-list")).to_have_attribute("aria-rowcount", str(MANY + 1))


async def test_only_the_licenses_in_sight_are_in_the_document(serve: Serve, screen: Screen) -> None:
    house = await serve(
        license__model="trueconf", license__trueconf__redistribute_every="1s", license__trueconf__pro=HOLDERS
    )
    accounts = [f"user-{number:04}" for number in range(HOLDERS)]
    await house.http("PUT", "/api/groups/all", json={"accounts": accounts, "permanent": True})
    page = await screen.open(house, "#/pro")
    await expect(page.locator("#pro-list")).to_have_attribute("aria-rowcount", str(HOLDERS + 1))
    rows, box = page.locator("#pro-list tbody tr[data-key]"), page.locator("#pro-list").locator("..")
    await box.evaluate("(node) => { node.scrollTop = node.scrollHeight; }")
    await expect(rows.filter(has_text="user-1999")).to_be_visible()
    assert 0 < await rows.count() < IN_SIGHT
    await page.locator("#pro-search").fill("user-12")
    await expect(page.locator("#pro-list")).to_have_attribute("aria-rowcount", "101")
    await page.locator("#pro-search").fill("nobody")
    await expect(page.get_by_text("No account with this in its name holds a PRO license.")).to_be_visible()


async def test_only_the_sold_licenses_in_sight_are_in_the_document(serve: Serve, screen: Screen) -> None:
    house = await serve()
    for number in range(HOLDERS):
        house.runtime.registrar.issue(f"BRANCH-{number:04}", {"edition": "free"})
    page = await screen.open(house, "#/registrations")
    await expect(page.locator("#licenses-tally")).to_have_text("2,000 licenses")
    await expect(page.locator("#licenses-list")).to_have_attribute("aria-rowcount", str(HOLDERS + 1))
    rows, box = page.locator("#licenses-list tbody tr[data-key]"), page.locator("#licenses-list").locator("..")
    await box.evaluate("(node) => { node.scrollTop = node.scrollHeight; }")
    await expect(rows.filter(has_text="BRANCH-1999")).to_be_visible()
    assert 0 < await rows.count() < IN_SIGHT
    await page.locator("#licenses-search").fill("branch-012")
    await expect(rows).to_have_count(10)
    await rows.first.get_by_role("button", name="BRANCH-0120", exact=True).click()
    await expect(page.get_by_role("dialog")).to_contain_text("needed all the time")
