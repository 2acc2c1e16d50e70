"""Refusals on the page: who, what, why, and what became of it."""

from __future__ import annotations

from playwright.async_api import expect

from tests.conftest import Serve
from tests.page.conftest import Screen

ROWS = "#refusals-list tbody tr[data-key]"


async def test_who_was_refused_is_shown_as_it_happens_and_what_became_of_it(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=1)
    page = await screen.open(house, "#/refusals")
    await expect(page.get_by_text("Nobody was refused in this time.")).to_be_visible()
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="weekly")
    for _ in range(2):
        assert (await bob.ask("join", conference="weekly"))["reason"] == "pool_full"
    row = page.locator(ROWS).filter(has_text="bob")
    for text in ("PRO users", "pool full", "not known yet", "2"):
        await expect(row).to_contain_text(text)
    await expect(page.locator("#refusals-tally")).to_have_text("2 refusals of 1 demand, 0 truly denied")
    await house.http("DELETE", "/api/pro/ann")
    assert (await bob.ask("join", conference="weekly"))["type"] == "joined"
    await page.get_by_role("button", name="1 h", exact=True).click()
    await expect(row).to_contain_text("seated after")
    await page.get_by_role("searchbox").fill("carl")
    await expect(page.get_by_text("No refusal matches.")).to_be_visible()


async def test_the_summary_leads_to_the_refusals(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1)
    await house.welcomed(account="ann")
    assert (await (await house.connect()).hello(account="bob"))["reason"] == "pool_full"
    page = await screen.open(house)
    await page.locator(".pool[data-pool=online]").get_by_role("link", name="1 refused").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Refusals")
    await expect(page.locator(ROWS)).to_contain_text("bob")


async def test_bans_and_wrong_tokens_are_refusals_too(serve: Serve, screen: Screen) -> None:
    house = await serve(accounts__mode="token")
    await house.http("PUT", "/api/accounts/eve")
    for _ in range(2):
        await (await house.connect()).hello(account="eve", token="x" * 43)
    page = await screen.open(house, "#/refusals")
    row = page.locator(ROWS).filter(has_text="eve")
    for text in ("not by the license", "bad credential", "hello", "2"):
        await expect(row).to_contain_text(text)
    await expect(page.locator("#refusals-tally")).to_contain_text("2 not by the license")
    await house.http("PUT", "/api/bans/mal", json={"for": "5m"})
    await (await house.connect()).hello(account="mal")
    await expect(page.locator(ROWS).filter(has_text="mal")).to_contain_text("banned")
