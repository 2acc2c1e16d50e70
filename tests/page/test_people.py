"""What an operator makes and changes on the page: groups, accounts, hosts, bans, tokens, conferences, licenses."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from gateway.core.admission.directory import READ, digest
from tests.conftest import House, Serve
from tests.page.conftest import Screen


@pytest.fixture
async def house(serve: Serve) -> House:
    return await serve(license__model="trueconf", license__trueconf__pro=5, license__trueconf__online=50)


async def audited(house: House, action: str, subject: str) -> None:
    """An act stands in the audit log."""
    _, told = await house.http("GET", "/api/audit?order=newest&limit=100")
    assert (action, subject) in {(entry["action"], entry["subject"]) for entry in told["items"]}


async def secret(page: Page) -> str:
    """The secret that is shown, once the dialog is closed."""
    field = page.locator("#secret")
    await expect(field).to_have_value(re.compile(".{20}"))
    value = await field.input_value()
    await page.get_by_role("button", name="I have it").click()
    return value


async def test_a_permanent_license_is_allocated_beside_both_pools(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/pro")
    await expect(page.locator("#pro-pools .pool[data-pool=pro]")).to_contain_text("0 of 5")
    await expect(page.locator("#pro-pools .pool[data-pool=online]")).to_contain_text("0 of 50")
    await page.get_by_role("button", name="Allocate a permanent license …").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Account").fill("ann")
    await dialog.get_by_role("button", name="Allocate").click()
    row = page.locator("#groups-list tr[data-key=permanent]")
    await expect(row).to_contain_text("ann")
    assert house.runtime.state.directory.groups["permanent"].permanent
    await audited(house, "group.set", "permanent")
    await row.get_by_role("button", name="Change permanent").click()
    await dialog.get_by_label("Accounts, one on each line").fill("ann\nbob")
    await dialog.get_by_role("button", name="Change").click()
    await expect(row).to_contain_text("ann, bob")
    await row.get_by_role("button", name="Delete permanent").click()
    await expect(dialog).to_contain_text("2 accounts will have no permanent license any more.")
    await dialog.get_by_role("button", name="Delete").click()
    await expect(row).to_have_count(0)


async def test_an_account_is_registered_with_a_token_that_works(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/people/accounts")
    await page.get_by_role("button", name="Register an account …").click()
    await page.get_by_role("dialog").get_by_label("Account", exact=True).fill("ann")
    await page.get_by_role("dialog").get_by_role("button", name="Register").click()
    token = await secret(page)
    answer = await (await house.connect()).hello(account="ann", token=token)
    assert answer["type"] == "welcome"
    row = page.locator("#accounts-list tr[data-key=ann]")
    await expect(row).to_contain_text("1")
    await row.get_by_role("button", name="Tokens of ann").click()
    await page.get_by_role("dialog").get_by_role("button", name=re.compile("^Revoke")).click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    await expect(page.locator("#toasts")).to_contain_text("The token is revoked.")
    await row.get_by_role("button", name="Delete ann").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(row).to_have_count(0)


async def test_what_is_refused_is_said_in_the_dialog(house: House, screen: Screen) -> None:
    screen.excused = "status of 422"
    page = await screen.open(house, "#/people/bans")
    await page.get_by_role("button", name="Keep somebody out …").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Account, address or network").fill("192.0.2.0/77")
    await dialog.get_by_role("button", name="Keep out").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Subject:")
    await dialog.get_by_label("Account, address or network").fill("192.0.2.0/24")
    await dialog.get_by_role("button", name="Keep out").click()
    row = page.locator("#bans-list tbody tr[data-key]")
    await expect(row).to_contain_text("network")
    await row.get_by_role("button", name="Let 192.0.2.0/24 in again").click()
    await dialog.get_by_role("button", name="Let in").click()
    await expect(row).to_have_count(0)


async def test_a_host_is_named_and_freed(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/people/hosts")
    await page.get_by_role("button", name="Name a host …").click()
    await page.get_by_role("dialog").get_by_label("Account").fill("ann")
    await page.get_by_role("dialog").get_by_role("button", name="Name").click()
    row = page.locator("#hosts-list tbody tr[data-key]")
    await expect(row).to_contain_text("ann")
    await row.get_by_role("button", name="Free ann").click()
    await page.get_by_role("dialog").get_by_role("button", name="Free").click()
    await expect(row).to_have_count(0)


async def test_an_operator_is_given_a_token_and_loses_it(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/people/operators")
    await page.get_by_role("button", name="Make an operator's token …").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name of the operator").fill("desk")
    await dialog.get_by_role("button", name="Make").click()
    token = await secret(page)
    status, _ = await house.http("GET", "/api/license", headers={"Authorization": f"Bearer {token}"})
    assert status == 200
    row = page.locator("#operators-list tr[data-key=desk]")
    await expect(row).to_contain_text("read")
    await row.get_by_role("button", name="Revoke all tokens of desk").click()
    await dialog.get_by_role("button", name="Revoke").click()
    await expect(row).to_have_count(0)


async def test_who_may_only_look_is_offered_no_operators_and_no_acts(house: House, screen: Screen) -> None:
    screen.excused = "status of 401"
    house.runtime.state.directory.add_operator_token("ops", READ, digest("the-secret-of-ops"), 0.0)
    page = await screen.visit(house, "#/people", extra_http_headers={"X-Forwarded-For": "203.0.113.7"})
    await page.get_by_label("Operator token").fill("the-secret-of-ops")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Accounts", exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="Operators", exact=True)).to_have_count(0)
    await expect(page.get_by_role("button", name="Register an account …")).to_be_disabled()


async def test_a_conference_is_declared(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/conferences")
    await page.get_by_role("button", name="Declare a conference …").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Id of the conference").fill("board")
    await dialog.get_by_label("Access").select_option("public")
    await dialog.get_by_role("button", name="Declare").click()
    row = page.locator("#conferences-list tbody tr[data-key=board]")
    await expect(row).to_contain_text("public")
    await expect(row).to_contain_text("declared")
    await audited(house, "conference.declared", "board")


async def test_a_license_is_sold_changed_and_its_key_shown_once(house: House, screen: Screen) -> None:
    page = await screen.open(house, "#/registrations")
    await page.get_by_role("button", name="Sell a license …").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Serial").fill("ACME-1")
    await dialog.get_by_label("PRO users").fill("7")
    await dialog.get_by_label("Last day").fill("2036-12-31")
    await dialog.get_by_role("button", name="Sell").click()
    key = await secret(page)
    sold = house.runtime.registrar.registrar.licenses["ACME-1"]
    assert (sold.key.hex(), sold.grant.limits["pro"]) == (key, 7)
    row = page.locator("#licenses-list tr[data-key='ACME-1']")
    await expect(row).to_contain_text("2036-12-31")
    await row.get_by_role("button", name="Change ACME-1").click()
    await dialog.get_by_label("PRO users").fill("9")
    await dialog.get_by_role("button", name="Change").click()
    await expect(row).to_contain_text("PRO users 9")
    await audited(house, "license.changed", "ACME-1")
