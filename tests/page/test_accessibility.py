"""What axe-core finds on the page: nothing, in any view, theme and width."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.conftest import House, License
from tests.page.conftest import Screen

pytest.importorskip("axe_playwright_python")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

VIEWS = (
    *("summary", "pro", "connections", "account/bob", "ended", "conferences", "queue", "refusals", "history"),
    *("people/accounts", "people/groups", "people/hosts", "people/bans", "people/operators", "registrations", "audit"),
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDE = {"viewport": {"width": 1400, "height": 900}}
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RUN = """axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations.map((each) =>
  `${each.impact} ${each.id}: ${each.nodes.map((node) => node.html).join(" ").slice(0, 300)}`))"""


@pytest.fixture
async def house(license: License) -> House:
    """A gateway with something to see on each view: a full pool, somebody refused and somebody who waits."""
    house = await license({"edition": "server", "limits": {"pro": 1, "online": 10, "guest": 2, "gateway": 2}})
    house.runtime.registrar.issue("BRANCH-1", {"edition": "free"})
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"], "permanent": False})
    await house.http("PUT", "/api/bans/192.0.2.7", json={"for": "5m"})
    await house.http("PUT", "/api/accounts/bob")
    await house.http("PUT", "/api/hosts/bob")
    await house.http("POST", "/api/tokens/desk", json={"scope": "read"})
    bob, cid, dan = [await house.welcomed(account=name, device="laptop") for name in ("bob", "cid", "dan")]
    await bob.ask("join", conference="weekly")
    assert (await cid.ask("join", conference="weekly"))["reason"] == "pool_full"
    await cid.ask("join", conference="weekly", wait=600)
    await dan.close()
    return house


async def violations(page: Page) -> list[str]:
    found: Any = await page.evaluate(RUN)
    return [str(each) for each in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [WIDE, PHONE], ids=["wide", "phone"])
async def test_axe_finds_nothing_in_any_view(house: House, screen: Screen, window: dict[str, Any], scheme: str) -> None:
    page = await screen.open(
        house, "#/summary", color_scheme=scheme, bypass_csp=True, reduced_motion="reduce", **window
    )
    await page.evaluate(AXE)
    found = {}
    for view in VIEWS:
        await page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
        await expect(page.locator(f"#view[data-view={view.split('/')[0]}] > *").first).to_be_visible()
        await expect(page.locator("#view [aria-busy=true]")).to_have_count(0)
        if wrong := await violations(page):
            found[view] = wrong
    assert found == {}


async def test_axe_finds_nothing_in_a_dialog(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/registrations", bypass_csp=True)
    await page.evaluate(AXE)
    await page.get_by_role("button", name="Sell a license …").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await violations(page) == []
