"""Every view: no complaint of the browser, nothing wider than a phone, a name for whatever can be pressed, and keys."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.conftest import House, License
from tests.page.conftest import Screen

VIEWS = (
    "summary",
    "pro",
    "connections",
    "ended",
    "conferences",
    "refusals",
    "history",
    "usage",
    "people",
    "registrations",
    "audit",
)
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
LONG = "a.very.long.account.name.that.somebody.chose.and.that.does.not.break@department.of.long.names.example.org"
NAMELESS = """[...document.querySelectorAll("button, a[href], input, select, summary")].filter((node) => {
  const name = node.getAttribute("aria-label") || node.textContent.trim() || node.getAttribute("title")
    || [...node.labels ?? []].map((label) => label.textContent.trim()).join("")
    || (document.getElementById(node.getAttribute("aria-labelledby"))?.textContent ?? "");
  return !name;
}).map((node) => node.outerHTML)"""
UNTITLED = "[...document.querySelectorAll('table')].filter((table) => !table.caption).map((table) => table.outerHTML)"
TWICE = """(() => {
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  return ids.filter((id, index) => ids.indexOf(id) !== index);
})()"""
REGIONS = """(() => {
  const name = (node) => node.getAttribute("aria-label")
    ?? document.getElementById(node.getAttribute("aria-labelledby"))?.textContent;
  const regions = [...document.querySelectorAll("section, nav, [role=region]")];
  return regions.filter((node) => node.checkVisibility()).map(name).filter(Boolean);
})()"""
JUMPS = """(() => {
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].filter((node) => node.checkVisibility())
    .map((node) => Number(node.tagName[1]));
  return levels.filter((level, index) => index && level > levels[index - 1] + 1);
})()"""


@pytest.fixture
async def house(license: License) -> House:
    """A gateway with something to see on each view, that is its own best customer."""
    house = await license({"edition": "server", "limits": {"pro": 2, "online": 10, "guest": 2, "gateway": 2}})
    house.runtime.registrar.issue("BRANCH-1", {"edition": "free"})
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann", LONG], "permanent": True})
    await house.http("PUT", "/api/bans/192.0.2.7", json={"for": "5m"})
    for account in ("bob", LONG):
        wire = await house.welcomed(account=account, device="laptop", client="desktop/8.4")
        await wire.ask("join", conference="weekly-" + "x" * 100, access="public")
    return house


async def test_who_waits_in_line_is_shown_in_a_view_of_its_own(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/summary", **PHONE)
    await expect(page.locator("#tabs a[href='#/queue']")).to_have_count(0)
    cid = await house.welcomed(account="cid", device="laptop")
    assert (await cid.ask("join", conference="weekly", wait=600))["type"] == "queued"
    await page.locator("#tabs a[href='#/queue']").click()
    await expect(page.locator("#queue-tally")).to_contain_text("1 for PRO users")
    row = page.locator("#queue-list tbody tr[data-key]")
    await expect(row).to_contain_text("cid")
    await expect(row).to_contain_text("to join weekly")
    assert await page.evaluate(NAMELESS) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await cid.say("bye")
    await expect(page.locator("#view")).to_contain_text("Nobody waits in line")


@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_is_whole(house: House, screen: Screen, view: str) -> None:
    page = await screen.open(house, f"#/{view}")
    tab = page.locator("#tabs a[aria-current=page]")
    await expect(tab).to_have_attribute("href", f"#/{view}")
    await expect(page.get_by_role("heading", level=1)).to_have_count(1)
    await expect(page.get_by_role("heading", level=1)).to_have_text(await tab.inner_text())
    await expect(page.locator("#view > *").first).to_be_visible()
    if view in {"history", "audit"}:
        await expect(page.locator("table:visible").first).to_be_visible()
    for folded in await page.locator("#view details:not([open]) > summary").all():
        if await folded.is_visible():
            await folded.click()
    assert await page.evaluate(NAMELESS) == []
    assert await page.evaluate(UNTITLED) == []
    assert await page.evaluate(TWICE) == []
    assert await page.evaluate(JUMPS) == []
    regions = await page.evaluate(REGIONS)
    assert sorted(regions) == sorted(set(regions))


@pytest.mark.parametrize("view", VIEWS)
async def test_nothing_is_wider_than_a_phone(house: House, screen: Screen, view: str) -> None:
    page = await screen.open(house, f"#/{view}", **PHONE)
    await expect(page.locator("#view > *").first).to_be_visible()
    if view in {"connections", "conferences", "pro"}:
        await expect(page.locator("tbody tr[data-key]").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_all_is_reached_and_done_by_keys(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    tab = page.locator("#tab-connections")
    for _ in range(20):
        if await tab.evaluate("(node) => node === document.activeElement"):
            break
        await page.keyboard.press("Tab")
    await expect(tab).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Connections")
    kick = page.get_by_role("button", name="Kick bob")
    await kick.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await kick.focus()
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(dialog.get_by_role("button", name="Kick", exact=True)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(kick).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_theme_is_the_system_s_until_one_is_chosen_and_kept(
    house: House, screen: Screen, scheme: str
) -> None:
    page = await screen.open(house, color_scheme=scheme)
    shade = "getComputedStyle(document.body).backgroundColor"
    before = await page.evaluate(shade)
    await page.get_by_role("button", name="Switch between light and dark").click()
    turned = "light" if scheme == "dark" else "dark"
    await expect(page.locator("html")).to_have_attribute("data-theme", turned)
    after = await page.evaluate(shade)
    assert after != before
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", turned)
    assert await page.evaluate(shade) == after
    assert await page.evaluate("Object.keys(localStorage)") == ["tallygate.theme"]
