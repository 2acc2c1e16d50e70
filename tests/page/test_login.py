"""Operators who come from elsewhere: the page asks for a token, keeps it in memory, and does not offer what it may not.

That somebody comes through a proxy is what makes the gateway ask.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from gateway.core.admission.directory import ADMIN, READ, digest
from tests.conftest import House, Serve
from tests.page.conftest import Screen

AWAY: dict[str, Any] = {"extra_http_headers": {"X-Forwarded-For": "203.0.113.7"}}
UNTOLD = r"status of 401"
"""The browser itself tells the console of a request that was refused."""


@pytest.fixture
async def house(serve: Serve) -> House:
    house = await serve(license__model="trueconf")
    await house.welcomed(account="ann")
    return house


def token(house: House, scope: str) -> str:
    secret = f"the-secret-of-{scope}"
    house.runtime.state.directory.add_operator_token(f"ops-{scope}", scope, digest(secret), 0.0)
    return secret


async def sign_in(page: Page, secret: str) -> None:
    await page.get_by_label("Operator token").fill(secret)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_wrong_token_is_not_taken(house: House, screen: Screen) -> None:
    screen.excused = UNTOLD
    token(house, READ)
    page = await screen.visit(house, **AWAY)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await expect(page.locator("#login-problem")).to_have_count(0)
    await sign_in(page, "wrong")
    await expect(page.locator("#login-problem")).to_be_visible()
    await expect(page.locator("#tabs a")).to_have_count(0)


async def test_who_may_only_look_sees_and_cannot_act(house: House, screen: Screen) -> None:
    screen.excused = UNTOLD
    page = await screen.visit(house, "#/connections", **AWAY)
    await sign_in(page, token(house, READ))
    await expect(page.locator("#operator")).to_have_text("ops-read · read")
    kick = page.get_by_role("button", name="Kick ann")
    await expect(kick).to_be_disabled()
    await expect(kick).to_have_attribute("title", "Your token may look but not act")


async def test_who_may_act_acts(house: House, screen: Screen) -> None:
    screen.excused = UNTOLD
    page = await screen.visit(house, "#/connections", **AWAY)
    await sign_in(page, token(house, ADMIN))
    await page.get_by_role("button", name="Kick ann").click()
    await page.get_by_role("dialog").get_by_role("button", name="Kick", exact=True).click()
    await expect(page.get_by_text("Nobody is connected.")).to_be_visible()
    await page.locator("#tab-audit").click()
    await expect(page.locator("#audit-list tbody tr").filter(has_text="ops-admin").first).to_be_visible()


async def test_the_token_is_in_memory_only(house: House, screen: Screen) -> None:
    screen.excused = UNTOLD
    secret = token(house, ADMIN)
    page = await screen.visit(house, **AWAY)
    await sign_in(page, secret)
    await expect(page.locator("#operator")).to_contain_text("admin")
    stored = await page.evaluate("[{...localStorage}, {...sessionStorage}, document.cookie, location.href]")
    assert stored == [{}, {}, "", f"{house.url}/#/summary"]
    assert await page.evaluate("indexedDB.databases()") == []
    assert secret not in await page.content()
    await page.reload()
    await expect(page.get_by_label("Operator token")).to_be_visible()


async def test_the_tab_keeps_the_token_only_for_who_wants_it(house: House, screen: Screen) -> None:
    screen.excused = UNTOLD
    page = await screen.visit(house, **AWAY)
    await page.get_by_label("Stay signed in until this tab is closed").check()
    await sign_in(page, token(house, ADMIN))
    await expect(page.locator("#operator")).to_contain_text("admin")
    await page.reload()
    await expect(page.locator("#operator")).to_contain_text("admin")
    other = await page.context.new_page()
    await other.goto(f"{house.url}/")
    await expect(other.get_by_label("Operator token")).to_be_visible()
    await other.close()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Operator token")).to_be_visible()
    assert await page.evaluate("Object.keys(sessionStorage)") == []
    await page.reload()
    await expect(page.get_by_label("Operator token")).to_be_visible()


async def test_who_signs_out_is_out(house: House, screen: Screen) -> None:
    screen.excused = UNTOLD
    page = await screen.visit(house, **AWAY)
    await sign_in(page, token(house, ADMIN))
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Operator token")).to_be_focused()
    await expect(page.locator("main")).not_to_contain_text("TrueConf")


async def test_a_token_that_is_revoked_meanwhile_is_asked_for_again(house: House, screen: Screen) -> None:
    screen.excused = UNTOLD
    page = await screen.visit(house, **AWAY)
    await sign_in(page, token(house, ADMIN))
    await page.locator("#tab-connections").click()
    await page.get_by_role("button", name="Kick ann").click()
    house.runtime.state.directory.remove_operator_tokens("ops-admin", None)
    await page.get_by_role("dialog").get_by_role("button", name="Kick", exact=True).click()
    await expect(page.get_by_label("Operator token")).to_be_visible()
    assert (await house.http("GET", "/api/connections/count"))[1]["count"] == 1
