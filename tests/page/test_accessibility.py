"""What axe-core finds on the page: nothing, in any view, theme and width."""

from __future__ import annotations

import contextlib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from gateway.core.admission.directory import READ
from gateway.edge.gateway import running
from tests.conftest import House, License, settings_of
from tests.page.conftest import Screen
from tests.page.test_live import LOST
from tests.page.test_login import AWAY, UNTOLD, sign_in, token

pytest.importorskip("axe_playwright_python")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

VIEWS = (
    *("summary", "pro", "connections", "account/bob", "account/nobody", "ended", "conferences", "queue", "refusals"),
    *("history", "usage/account", "usage/device", "usage/group", "usage/day", "usage/account/epop", "usage/absent"),
    *("people/accounts", "people/groups", "people/hosts", "people/bans", "people/operators", "registrations", "audit"),
)
DIALOGS = {
    "connections": ("Kick bob", "bob"),
    "conferences": ("Declare a conference …", "End weekly"),
    "account/bob": ("Revoke PRO …",),
    "people/accounts": ("Register an account …", "Tokens of bob"),
    "people/groups": ("Allocate a permanent license …", "New group …", "Change board"),
    "people/hosts": ("Name a host …",),
    "people/bans": ("Keep somebody out …",),
    "people/operators": ("Make an operator's token …",),
    "registrations": ("Sell a license …", "Change BRANCH-1"),
}
"""By view, the buttons that open one; those that only ask for a confirmation are alike."""
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


def opened(width: str, scheme: str) -> dict[str, Any]:
    """How a window is opened: with room for the program that looks."""
    size = PHONE if width == "phone" else WIDE
    return {**size, "color_scheme": scheme, "bypass_csp": True, "reduced_motion": "reduce"}


@pytest.fixture(params=[("wide", "light"), ("phone", "dark")], ids="-".join)
def window(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Both widths and both themes, in two windows."""
    return opened(*request.param)


async def turn(page: Page, view: str) -> None:
    """Open a view, and wait until it shows what it asked for."""
    await page.evaluate("(view) => { location.hash = `#/${view}`; }", view)
    await expect(page.locator(f"#view[data-view={view.split('/', maxsplit=1)[0]}] > *").first).to_be_visible()
    await expect(page.locator("#view [aria-busy=true]")).to_have_count(0)
    await expect(page.get_by_text("Asking the gateway …")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "phone"])
async def test_axe_finds_nothing_in_any_view(house: House, screen: Screen, width: str, scheme: str) -> None:
    page = await screen.open(house, **opened(width, scheme))
    await page.evaluate(AXE)
    found = {}
    for view in VIEWS:
        await turn(page, view)
        if wrong := await violations(page):
            found[view] = wrong
    assert found == {}


async def test_axe_finds_nothing_in_a_dialog(house: House, screen: Screen, window: dict[str, Any]) -> None:
    page = await screen.open(house, **window)
    await page.evaluate(AXE)
    found = {}
    for view, buttons in DIALOGS.items():
        await turn(page, view)
        for button in buttons:
            await page.get_by_role("button", name=button, exact=True).first.click()
            await expect(page.get_by_role("dialog")).to_be_visible()
            if wrong := await violations(page):
                found[f"{view}: {button}"] = wrong
            await page.keyboard.press("Escape")
            await expect(page.get_by_role("dialog")).to_have_count(0)
    assert found == {}


async def test_axe_finds_nothing_where_somebody_signs_in_who_may_only_look(
    house: House, screen: Screen, window: dict[str, Any]
) -> None:
    screen.excused = UNTOLD
    page = await screen.visit(house, **AWAY, **window)
    await page.evaluate(AXE)
    found = {}
    for step, secret in (("first", "wrong"), ("refused", token(house, READ))):
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        if step == "refused":
            await expect(page.locator("#login-problem")).to_be_visible()
        found[step] = await violations(page)
        await sign_in(page, secret)
    await expect(page.locator("#operator")).to_have_text("ops-read · read")
    for view in ("connections", "people/groups", "registrations"):
        await turn(page, view)
        found[view] = await violations(page)
    assert [(view, wrong) for view, wrong in found.items() if wrong] == []


async def test_axe_finds_nothing_while_the_gateway_is_away(
    tmp_path: Path, screen: Screen, window: dict[str, Any]
) -> None:
    screen.excused = LOST
    settings = settings_of(store__path=tmp_path / "store.db", license__model="trueconf")
    async with running(settings) as gateway:
        page = await screen.open(House(gateway, contextlib.AsyncExitStack()), **window)
        await page.evaluate(AXE)
        await expect(page.locator("#view .pool").first).to_be_visible()
    await expect(page.locator("#banner")).to_contain_text("lost")
    assert await violations(page) == []
