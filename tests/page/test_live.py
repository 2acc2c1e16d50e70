"""What an operator does on the page, and what the page does by itself: it lives with the gateway."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from pathlib import Path

import pytest
from playwright.async_api import expect

from gateway.edge.gateway import running
from gateway.edge.machine import Clock
from tests.conftest import House, License, Serve, settings_of
from tests.page.conftest import Screen
from tests.programs import free_port

ROWS = "#connections-list tbody tr[data-key]"


async def test_a_connection_appears_and_goes(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf")
    page = await screen.open(house, "#/connections")
    await expect(page.get_by_text("Nobody is connected.")).to_be_visible()
    wire = await house.welcomed(account="ann@example.org", device="laptop")
    row = page.locator(ROWS).filter(has_text="ann@example.org")
    await expect(row).to_be_visible()
    await expect(row).to_contain_text("laptop")
    await wire.close()
    await expect(row).to_have_count(0)


async def test_the_summary_follows_the_pools(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=1)
    page = await screen.open(house)
    pool = page.locator(".pool[data-pool=pro]")
    await expect(pool).to_contain_text("0 of 1")
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="weekly")
    await expect(pool).to_contain_text("1 of 1")
    await expect(pool.get_by_role("meter")).to_have_attribute("aria-valuenow", "1")
    assert (await bob.ask("join", conference="weekly"))["reason"] == "pool_full"
    await expect(pool).to_contain_text("1 refused")


async def test_a_pro_license_is_revoked_after_a_question(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="weekly")
    page = await screen.open(house, "#/pro")
    row = page.locator("#pro-list tr[data-key=ann]")
    await row.get_by_role("button", name="Revoke the license of ann").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("ann is in a conference and will be removed")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_have_count(0)
    assert await house.used("pro") == 1
    await row.get_by_role("button").click()
    await dialog.get_by_role("button", name="Revoke").click()
    await expect(page.locator("#toasts")).to_contain_text("The PRO license of ann is revoked.")
    await expect(row).to_have_count(0)
    assert (await ann.hear())["reason"] == "license_withdrawn"
    assert await house.used("pro") == 0


async def test_a_permanent_license_cannot_be_revoked_and_says_why(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf", license__trueconf__redistribute_every="1s")
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"], "permanent": True})
    page = await screen.open(house, "#/pro")
    row = page.locator("#pro-list tr[data-key=ann]")
    await expect(row).to_contain_text("permanent")
    await expect(row.get_by_role("button")).to_be_disabled()
    await expect(row.get_by_role("button")).to_have_attribute("title", re.compile("change its group"))
    await expect(page.locator("#groups-list tr[data-key=board]")).to_contain_text("in effect")


async def test_a_permanent_group_is_in_effect_once_it_is(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf", license__trueconf__redistribute_every="3s")
    page = await screen.open(house, "#/pro")
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"], "permanent": True})
    row = page.locator("#groups-list tr[data-key=board]")
    await expect(row).to_contain_text("board")
    await expect(row).to_contain_text("in effect")


async def test_a_session_is_kicked(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.welcomed(account="ann")
    page = await screen.open(house, "#/connections")
    await page.get_by_role("button", name="Kick ann").click()
    await page.get_by_role("dialog").get_by_role("button", name="Kick", exact=True).click()
    await expect(page.locator("#toasts")).to_contain_text("ann is kicked.")
    assert (await ann.hear())["reason"] == "kicked"
    await expect(page.get_by_text("Nobody is connected.")).to_be_visible()
    await house.welcomed(account="ann")


async def test_who_is_banned_for_a_while_is_kept_out_and_let_in_again(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="trueconf")
    await house.welcomed(account="ann")
    page = await screen.open(house, "#/connections")
    await page.get_by_role("button", name="Kick ann").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Also keep ann out for 5 minutes").check()
    await dialog.get_by_role("button", name="Kick", exact=True).click()
    await expect(page.locator("#toasts")).to_contain_text("ann is kicked and kept out.")
    refused = await (await house.connect()).hello(account="ann")
    assert (refused["type"], refused["reason"]) == ("denied", "banned")
    await page.locator("#bans summary").click()
    await page.get_by_role("button", name="Let ann in again").click()
    await expect(page.locator("#toasts")).to_contain_text("ann is let in again.")
    await house.welcomed(account="ann")


async def test_a_lost_registration_counts_down(license: License, screen: Screen) -> None:
    house = await license({"edition": "free"})
    page = await screen.open(house)
    state = page.locator("#registration-state")
    await expect(state).to_have_text("registered")
    await expect(page.locator("#countdown")).to_have_count(0)
    assert house.registrar is not None
    await house.registrar.gateway.close(drain=0)
    await expect(state).to_have_text("connection lost")
    await expect(page.locator("#countdown")).to_contain_text("Expected shutdown at")
    left = page.locator("#countdown-left")
    await expect(left).to_have_text(re.compile("^in 11 h 59 min"))
    before = await left.inner_text()
    await expect(left).not_to_have_text(before)


async def test_a_setting_that_the_license_overrides_is_told(license: License, screen: Screen) -> None:
    house = await license({"edition": "server"}, license__model="trueconf", license__trueconf__support="full")
    page = await screen.open(house)
    await expect(page.get_by_text("license.trueconf.support")).to_be_visible()


async def test_a_license_that_was_revoked_grants_nothing_and_looks_like_it(license: License, screen: Screen) -> None:
    house = await license({"edition": "free"})
    page = await screen.open(house)
    pool, status = page.locator(".pool[data-pool=online]"), page.locator("#license-status")
    await expect(status).to_have_text("enforced")
    await expect(pool).to_contain_text("available")
    assert house.registrar is not None
    await house.registrar.http("POST", "/api/licenses/S-0/revoke")
    await expect(status).to_have_text("nothing is granted")
    await expect(pool).not_to_contain_text("available")
    await expect(page.locator("#notice")).to_have_text("The license has been revoked. Nothing is granted.")
    await expect(page.locator("#notice")).to_have_class("banner bad")
    await expect(page.locator("#icon")).to_have_attribute("href", "page/icon_bad.svg")
    await expect(page).to_have_title(re.compile("^⚠ "))


async def test_servers_show_their_use_beside_the_limits_of_their_license(license: License, screen: Screen) -> None:
    house = await license({"edition": "server", "limits": {"pro": 2, "online": 10, "guest": 2, "gateway": 2}})
    await house.welcomed(account="ann")
    assert house.registrar is not None
    page = await screen.open(house.registrar, "#/registrations")
    await expect(page.locator("#servers-list tbody tr[data-key]")).to_contain_text("Online users 1 of 10")


# -- with and without the gateway ------------------------------------------------------------------------------------

LOST = "ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE"
"""What the browser itself says of a gateway that is gone."""


async def test_it_lives_through_a_restart_of_the_gateway(tmp_path: Path, screen: Screen) -> None:
    screen.excused = LOST
    settings = settings_of(listen__operator=free_port(), store__path=tmp_path / "store.db")
    async with running(settings) as gateway:
        house = House(gateway, contextlib.AsyncExitStack())
        page = await screen.open(house)
        await expect(page.locator("html")).to_have_attribute("data-connected", "yes")
    banner = page.locator("#banner")
    await expect(banner).to_contain_text("lost")
    await expect(page.locator("html")).to_have_attribute("data-connected", "no")
    async with running(settings):
        await expect(banner).to_have_text("Connected again.")
        await expect(page.locator("html")).to_have_attribute("data-connected", "yes")
        await expect(banner).to_have_text("")


async def test_what_was_known_stays_with_its_time_while_the_gateway_is_gone(tmp_path: Path, screen: Screen) -> None:
    screen.excused = LOST
    settings = settings_of(listen__operator=free_port(), store__path=tmp_path / "store.db", license__model="trueconf")
    async with running(settings) as gateway, contextlib.AsyncExitStack() as clients:
        house = House(gateway, clients)
        name = f"{socket.gethostname()} · {house.url.removeprefix('http://')}"
        page = await screen.open(house)
        view, mark = page.locator("#view"), page.locator("#live-mark")
        await expect(view).not_to_have_class("stale")
        await expect(mark).to_have_attribute("data-live", "live")
        await expect(page).to_have_title(f"{name} · Summary")
    await expect(view).to_have_class("stale")
    await expect(mark).to_have_text(re.compile("^lost at [0-9:]{8} UTC$"))
    await expect(page.locator("#banner")).to_contain_text(re.compile("What is shown is as of [0-9-]{10} [0-9:]{8} UTC"))
    await expect(page.locator(".pool[data-pool=online]")).to_contain_text("0 of")
    for tab in ("Connections", "Audit", "Registrations", "History", "PRO licenses"):
        link = page.get_by_role("link", name=tab, exact=True)
        if await link.count():
            await link.click()
            await expect(view).to_contain_text("Not known: The gateway cannot be reached.")
    await expect(page).to_have_title(f"⚠ {name} · PRO licenses")
    await expect(page.locator("#toasts .toast")).to_have_count(0)
    async with running(settings):
        await expect(view).to_contain_text("Nobody holds a PRO license.")
        await expect(view).not_to_have_class("stale")
        await expect(page).to_have_title(f"{name} · PRO licenses")


@pytest.mark.parametrize("view", ["connections", "history", "audit"])
async def test_a_view_that_was_opened_while_the_gateway_was_gone_is_filled(
    tmp_path: Path, screen: Screen, view: str
) -> None:
    screen.excused = LOST
    settings = settings_of(listen__operator=free_port(), store__path=tmp_path / "store.db")
    async with running(settings) as gateway:
        page = await screen.open(House(gateway, contextlib.AsyncExitStack()))
    await expect(page.locator("html")).to_have_attribute("data-connected", "no")
    await page.locator(f"#tab-{view}").click()
    await expect(page.locator("#view")).to_contain_text("Not known")
    async with running(settings):
        await expect(page.locator("#view")).not_to_contain_text("Not known")
        await expect(page.locator("#view")).to_contain_text(
            {"connections": "Nobody is connected.", "history": "UTC", "audit": "gateway"}[view]
        )


async def test_an_act_that_cannot_be_done_is_said_once(tmp_path: Path, screen: Screen) -> None:
    screen.excused = LOST
    settings = settings_of(listen__operator=free_port(), store__path=tmp_path / "store.db")
    async with running(settings) as gateway:
        house = House(gateway, contextlib.AsyncExitStack())
        await house.http("PUT", "/api/bans/192.0.2.7", json={"for": "5m"})
        page = await screen.open(house, "#/connections")
        await page.locator("#bans summary").click()
    await expect(page.locator("html")).to_have_attribute("data-connected", "no")
    for _ in range(3):
        await page.get_by_role("button", name="Let 192.0.2.7 in again").click()
    await expect(page.locator("#toasts .toast")).to_have_count(1)
    await expect(page.locator("#toasts .toast")).to_contain_text("The gateway cannot be reached.")
    async with running(settings):
        await expect(page.locator("#banner")).to_have_text("Connected again.")
        await expect(page.locator("#toasts .toast")).to_have_count(0)


async def test_a_gateway_that_says_nothing_is_seen_to(serve: Serve, screen: Screen) -> None:
    """The page's clock runs ahead: to the page the gateway is silent for longer than it ever is. That of the gateway is
    at the begin of a minute, since it tells of a new one.
    """
    began, minute = time.monotonic(), time.time() // 60 * 60
    house = await serve(clock=Clock(time.monotonic, lambda: minute + time.monotonic() - began))
    page = await screen.visit(house)
    await page.clock.install()
    await page.reload()
    mark = page.locator("#live-mark")
    await expect(mark).to_have_text(re.compile("^live · [0-9:]{8} UTC$"))
    house.runtime.ticker.stop()  # or it would tell of every second
    await page.clock.fast_forward(20_000)
    await expect(mark).to_have_text(re.compile("^silent for 2[0-9] s$"))
    await page.clock.fast_forward(20_000)
    await expect(page.locator("#banner")).to_contain_text("is lost")
    house.runtime.ticker.start()
    await page.clock.fast_forward(1000)
    await expect(mark).to_have_attribute("data-live", "live")
