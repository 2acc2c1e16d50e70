"""The summary that moves: curves of the last hour, what needs somebody in a sentence, the health of the gateway."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from gateway.edge.server.ticker import TICK
from tests.conftest import House, Serve, until
from tests.page.conftest import Screen
from tests.wire_client import Wire

NOW = re.compile("now 1, highest 1, limit 1, 0 refused")


@pytest.fixture
async def house(serve: Serve) -> House:
    return await serve(license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=50)


async def fill(house: House) -> tuple[Wire, Wire]:
    """Who holds the one PRO license, and who is refused one."""
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="weekly")
    return ann, bob


async def test_a_pool_has_a_curve_that_moves(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    curve = page.locator(".pool[data-pool=pro] .curve")
    await expect(curve).to_be_hidden()
    _, bob = await fill(house)
    await expect(curve).to_have_attribute("aria-label", NOW)
    before = await curve.locator(".chart-peak").get_attribute("d") or ""
    await expect(curve.locator(".curve-refused")).to_have_attribute("d", "")
    await bob.ask("join", conference="weekly")
    await expect(curve.locator(".curve-refused")).to_have_attribute("d", re.compile("^M"))
    await expect(curve.locator(".chart-peak")).not_to_have_attribute("d", before)
    await expect(curve).to_have_attribute("aria-label", re.compile("1 refused"))
    await expect(curve.locator(".chart-limit")).to_have_attribute("d", re.compile("^M"))
    values = page.locator(".pool[data-pool=pro] .curve-values")
    await expect(values).to_contain_text("1 refusal")
    await curve.hover()
    await expect(values).to_contain_text(re.compile("[0-9:]{8} · [01] of 1 · [01] granted · [01] refused"))


async def test_the_curves_show_the_time_that_is_chosen(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    async with page.expect_response(re.compile(r"api/recent\?points=\d+&since=5m")):
        await page.get_by_role("button", name="5 min", exact=True).click()
    await expect(page.get_by_role("button", name="5 min", exact=True)).to_have_attribute("aria-pressed", "true")


async def test_a_full_pool_is_one_sentence_that_leads_on(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/history")
    notice, icon = page.locator("#notice"), page.locator("#icon")
    await expect(notice).to_have_text("")
    await expect(icon).to_have_attribute("href", "page/icon.svg")
    ann, bob = await fill(house)
    await expect(notice).to_have_text(re.compile(r"^PRO users: full since [0-9:]{5}, nobody was refused\.$"))
    await expect(notice).to_have_class("banner warn")
    await bob.ask("join", conference="weekly")
    await expect(notice).to_have_text(re.compile(r"^PRO users: full since [0-9:]{5}, 1 refused\.$"))
    await expect(notice).to_have_class("banner bad")
    await expect(icon).to_have_attribute("href", "page/icon_bad.svg")
    await expect(page).to_have_title(re.compile("^⚠ .* · History$"))
    await notice.get_by_role("link", name="1 refused").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Refusals")
    await ann.ask("leave", conference="weekly")
    await house.http("DELETE", "/api/pro/ann")
    await expect(notice).to_have_text(re.compile("^PRO users: somebody was refused at [0-9:]{5}; there is room now.$"))
    await expect(notice).to_have_class("banner warn")


async def test_holders_who_do_nothing_are_named_where_a_pool_is_full(house: House, screen: Screen) -> None:
    ann, _ = await fill(house)
    await ann.ask("leave", conference="weekly")
    house.runtime.clock = house.runtime.clock._replace(wall=lambda: 4_000_000_000.0)
    for lease in house.runtime.state.primary.pools["pro"].leases.values():
        lease.expires = 4_000_000_000.0 + 86400 - 7200
    page = await screen.open(house)
    await expect(page.locator("#notice")).to_contain_text("1 holder idle for over an hour")


async def test_a_gateway_that_answers_late_says_so(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    card = page.locator("#health")
    await expect(card.locator("#health-state")).to_have_text("well")
    await expect(card).to_contain_text(re.compile("Connections[0-9]+ of [0-9,]+"))
    house.runtime.ticker.worst_lag = 1.5
    await expect(page.locator("#notice")).to_contain_text(
        "The gateway answers late: up to 1 s in the last ten seconds."
    )
    await expect(card.locator("#health-state")).to_have_text("not well")


async def test_connections_that_drop_at_once_are_told_and_listed(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    wires = [await house.welcomed(account=f"user-{number}", device="laptop") for number in range(12)]
    await until(lambda: len(house.runtime.state.sessions) == 12)
    for wire in wires:
        await wire.close()
    notice = page.locator("#notice")
    await expect(notice).to_contain_text("12 connections dropped in the last minute.")
    await notice.get_by_role("link", name="12 connections dropped").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Ended")
    await expect(page.locator("#ended-tally")).to_have_text(
        "The latest 12: 12 closed without a word; dropped from 127.0.0.0/24 (12)"
    )
    row = page.locator("#ended-list tbody tr[data-key]").filter(has_text="user-7")
    await expect(row).to_contain_text("closed without a word")
    await page.get_by_role("searchbox").fill("user-3")
    await expect(page.locator("#ended-list tbody tr[data-key]")).to_have_count(1)


async def test_the_live_mark_follows_the_seconds(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    mark = page.locator("#live-mark")
    await expect(mark).to_have_attribute("data-live", "live")
    house.runtime.ticker.stop()
    await expect(mark).to_have_text(re.compile("^silent for [4-9] s$"))
    house.runtime.ticker.start()
    await expect(mark).to_have_attribute("data-live", "live")
    assert house.runtime.timer_wheel.tick * TICK < 60
