"""The page of one account: what it holds, and its story; and the lists that lead to it, sorted and filtered."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from gateway.edge.server.ticker import TICK
from tests.conftest import House, Serve, until
from tests.page.conftest import Screen

ROWS = "#connections-list tbody tr[data-key]"


@pytest.fixture
async def house(serve: Serve) -> House:
    return await serve(license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=50)


async def test_an_account_has_its_story(house: House, screen: Screen) -> None:
    ann, bob = await house.welcomed(account="ann", device="laptop"), await house.welcomed(account="bob")
    await ann.ask("join", conference="weekly")
    assert (await bob.ask("join", conference="weekly"))["reason"] == "pool_full"
    page = await screen.open(house, "#/refusals")
    await page.get_by_role("link", name="bob").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Account")
    await expect(page.locator("#account-now")).to_contain_text("1 connection")
    await expect(page.locator("#account-refusals tbody tr")).to_contain_text("pool full")
    await bob.close()
    await expect(page.locator("#account-now")).to_contain_text("not connected")
    await expect(page.locator("#account-ended tbody tr")).to_contain_text("closed without a word")
    await page.goto(f"{house.url}/#/account/ann")
    await expect(page.locator("#account-now")).to_contain_text("temporary since")
    await expect(page.locator("#account-connections tbody tr")).to_contain_text("weekly")
    await expect(page.locator("#account-use")).to_contain_text("PRO users")
    await expect(page.locator("#account-acts")).to_contain_text("lease.granted")
    await page.get_by_role("button", name="Revoke PRO …").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.locator("#account-now")).to_contain_text("none")
    assert (await ann.hear())["reason"] == "license_withdrawn"


async def test_an_account_that_nobody_has_heard_of_is_said_so(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/account/nobody?home=example.org")
    await expect(page.locator("#account-now")).to_contain_text("nobody (example.org)")
    await expect(page.locator("#account-now")).to_contain_text("not connected")
    await expect(page.locator("#account-use")).to_contain_text("It used nothing.")


async def test_connections_are_filtered_and_sorted_and_the_address_says_how(house: House, screen: Screen) -> None:
    ann, _ = await house.welcomed(account="ann", kind="room"), await house.welcomed(account="bob")
    await ann.ask("join", conference="weekly")
    page = await screen.open(house, "#/connections")
    rows = page.locator(ROWS)
    await expect(rows).to_have_count(2)
    await page.get_by_label("Seat").select_option("pro")
    await expect(rows).to_have_count(1)
    await expect(page).to_have_url(re.compile(r"#/connections\?pool=pro$"))
    await expect(page.locator("#connections-tally")).to_have_text("1 of 2 connections")
    await page.get_by_label("Seat").select_option("")
    await expect(rows).to_have_count(2)
    await page.get_by_role("columnheader", name="Account").get_by_role("button").click()
    await expect(rows.first).to_contain_text("ann")
    await expect(page.get_by_role("columnheader", name="Account")).to_have_attribute("aria-sort", "ascending")
    await page.get_by_role("columnheader", name="Account").get_by_role("button").click()
    await expect(rows.first).to_contain_text("bob")
    await page.get_by_label("Kind").select_option("room")
    await expect(page).to_have_url(re.compile(r"kind=room&sort=-account$"))
    await expect(rows).to_have_count(1)
    await page.reload()
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("ann")


async def test_who_does_nothing_is_found_and_leads_to_the_account(house: House, screen: Screen) -> None:
    await house.welcomed(account="ann")
    await until(lambda: len(house.runtime.state.sessions) == 1)
    (connection,) = house.runtime.connections()
    connection.last_asked_tick -= round(7200 / TICK)
    page = await screen.open(house, "#/connections?pool=online&idle=1h&sort=-idle")
    row = page.locator(ROWS)
    await expect(row).to_contain_text("2 h")
    await row.get_by_role("button", name="ann", exact=True).click()
    await page.get_by_role("dialog").get_by_role("link", name="ann").click()
    await expect(page.locator("#account-connections tbody tr")).to_contain_text("2 h")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_refusals_of_one_pool(house: House, screen: Screen) -> None:
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="weekly")
    await bob.ask("join", conference="weekly")
    page = await screen.open(house, "#/refusals?pool=online")
    await expect(page.get_by_text("Nobody was refused in this time.")).to_be_visible()
    await page.get_by_label("Pool").select_option("pro")
    await expect(page.locator("#refusals-list tbody tr[data-key]")).to_contain_text("bob")
