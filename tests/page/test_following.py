"""A page that stays open shows what one that is opened now would: whatever has changed, and by whoever's hand."""

from __future__ import annotations

import contextlib
import math
import re
import time
from importlib import metadata
from pathlib import Path

import pytest
from playwright.async_api import expect

from gateway.edge.gateway import running
from gateway.edge.machine import Clock
from tests.conftest import House, Serve, settings_of
from tests.edge.disk import broken, recovered, written
from tests.page.conftest import Screen
from tests.page.test_live import LOST
from tests.programs import free_port


@pytest.mark.parametrize(("view", "row"), [("connections", "#bans tr"), ("people/bans", "#bans-list tr")])
async def test_a_ban_of_another_operator_comes_and_goes(serve: Serve, screen: Screen, view: str, row: str) -> None:
    house = await serve()
    page = await screen.open(house, f"#/{view}")
    await expect(page.locator("#view")).to_contain_text(re.compile("Nobody is (connected|kept out)"))
    await house.http("PUT", "/api/bans/ann", json={"for": "1h"})
    banned = page.locator(row).filter(has_text="ann")
    await expect(banned).to_have_count(1)
    await written(house.runtime.persistence)
    house.runtime.state.directory.bans.forget_ended(math.inf)  # as time would
    await expect(banned).to_have_count(0)


async def test_the_members_of_a_conference_are_counted_when_who_is_in_another_joins_it(
    serve: Serve, screen: Screen
) -> None:
    """Nobody takes a seat by it, and as many take part as before."""
    house = await serve(license__model="trueconf", license__shadow="[]")
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="one")
    await bob.ask("join", conference="two")
    page = await screen.open(house, "#/conferences")
    members = page.locator("#conferences-list tr[data-key=two] td").nth(2)
    await expect(members).to_have_text(re.compile("^1"))
    await written(house.runtime.persistence)
    await ann.ask("join", conference="two")
    await expect(members).to_have_text(re.compile("^2"))


async def test_it_is_told_for_how_long_a_connection_asks_for_nothing(serve: Serve, screen: Screen) -> None:
    house = await serve()
    await house.welcomed(account="ann")
    page = await screen.open(house, "#/connections")
    row = page.locator("#connections-list tbody tr[data-key]")
    await expect(row).to_contain_text("ann")
    (number,) = house.runtime.state.sessions.by_number
    connection = house.runtime.connection_of(number)
    assert connection is not None
    connection.last_asked_tick -= 100_000
    await expect(row.locator("td").nth(5)).to_have_text(re.compile(" h| d"))


async def test_accounts_and_hosts_say_what_they_do_now(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="nefsis-named")
    await house.http("PUT", "/api/accounts/ann")
    await house.http("PUT", "/api/hosts/ann")
    accounts, hosts = await screen.open(house, "#/people/accounts"), await screen.open(house, "#/people/hosts")
    connections = accounts.locator("#accounts-list tr[data-key=ann] td").nth(2)
    await expect(connections).to_have_text("0")
    host = hosts.locator("#hosts-list tbody tr[data-key]")
    await expect(host).to_contain_text("idle")
    await written(house.runtime.persistence)
    ann = await house.welcomed(account="ann")
    await expect(connections).to_have_text("1")
    await ann.ask("join", conference="weekly", host=True)
    await expect(host).to_contain_text("hosts")
    await ann.ask("leave", conference="weekly")
    await expect(host).to_contain_text("idle")
    await ann.close()
    await expect(connections).to_have_text("0")


async def test_the_time_that_somebody_may_wait_runs_down(serve: Serve, screen: Screen) -> None:
    house = await serve(license__model="epop", license__epop__users=0)
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="weekly", wait=100)
    page = await screen.open(house, "#/queue")
    left = page.locator("#queue-list tbody tr[data-key] .remaining")
    before = await left.inner_text()
    await expect(left).not_to_have_text(before)


async def test_a_license_ends_by_itself(serve: Serve, screen: Screen) -> None:
    ahead = [0.0]
    house = await serve(clock=Clock(time.monotonic, lambda: time.time() + ahead[0]))
    house.runtime.registrar.issue("BRANCH-1", {"edition": "free", "not_after": int(time.time()) + 3000})
    page = await screen.open(house, "#/registrations")
    row = page.locator("#licenses-list tr[data-key='BRANCH-1']")
    await expect(row).to_contain_text("active")
    ahead[0] = 3600.0
    await expect(row).to_contain_text("expired")


# -- another gateway at the same address ------------------------------------------------------------------------------


async def test_another_license_model_makes_the_open_views_anew(tmp_path: Path, screen: Screen) -> None:
    screen.excused = LOST
    given = {"listen__operator": free_port(), "store__path": tmp_path / "store.db", "license__shadow": "[]"}
    fields = {"refusals": "refusals-pool", "connections": "connections-pool", "usage": "usage-model"}
    async with running(settings_of(**given, license__model="trueconf")) as gateway:
        house = House(gateway, contextlib.AsyncExitStack())
        pages = {view: await screen.open(house, f"#/{view}") for view in fields}
        for view, page in pages.items():
            await expect(page.locator(f"#{fields[view]}")).to_contain_text(re.compile("TrueConf|PRO users"))
    async with running(settings_of(**given, license__model="epop")):
        for view, page in pages.items():
            await expect(page.locator(f"#{fields[view]}")).not_to_contain_text(re.compile("TrueConf|PRO users"))


@pytest.mark.parametrize("view", ["connections", "refusals"])
async def test_a_pool_of_another_model_is_not_looked_for(serve: Serve, screen: Screen, view: str) -> None:
    house = await serve(license__model="epop", license__epop__users=0)
    ann = await house.welcomed(account="ann")
    assert (await ann.ask("join", conference="weekly"))["reason"] == "pool_full"
    page = await screen.open(house, f"#/{view}?pool=pro")
    await expect(page.locator(f"#{view}-list tbody tr[data-key]")).to_contain_text("ann")
    await expect(page.locator(f"#{view}-pool")).to_have_value("")


async def test_another_audit_log_takes_the_place_of_the_one_before(tmp_path: Path, screen: Screen) -> None:
    screen.excused = LOST
    port = free_port()
    async with running(settings_of(listen__operator=port, store__path=tmp_path / "one.db")) as gateway:
        house = House(gateway, contextlib.AsyncExitStack())
        for name in ("ann", "bob", "cid"):
            await house.http("PUT", f"/api/accounts/{name}")
        page = await screen.open(house, "#/audit")
        rows = page.locator("#audit-list tbody tr[data-key]")
        await expect(rows.filter(has_text="cid")).to_have_count(1)
    async with running(settings_of(listen__operator=port, store__path=tmp_path / "two.db")):
        await expect(rows.filter(has_text="cid")).to_have_count(0)
        await expect(rows).to_have_count(1)


async def test_a_page_of_another_version_says_so(
    tmp_path: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen.excused = LOST
    settings = settings_of(listen__operator=free_port(), store__path=tmp_path / "store.db")
    async with running(settings) as gateway:
        page = await screen.open(House(gateway, contextlib.AsyncExitStack()))
        notice = page.locator("#notice")
        await expect(notice).to_be_empty()
    monkeypatch.setattr(metadata, "version", lambda _: "99.0")
    async with running(settings):
        await expect(notice).to_contain_text("The gateway is tallygate 99.0 by now")
        await page.reload()
        await expect(page.locator("#about")).to_contain_text("tallygate 99.0")
        await expect(notice).to_be_empty()


# -- a store that is unavailable --------------------------------------------------------------------------------------


async def test_what_the_gateway_knows_of_an_account_is_shown_while_its_store_is_away(
    serve: Serve, screen: Screen, tmp_path: Path
) -> None:
    screen.excused = "status of 503"
    house = await serve(store__path=tmp_path / "store.db", store__deadline="1s")
    await house.welcomed(account="ann")
    async with broken(house, "failing"):
        status, _ = await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"]})
        assert status == 503
        page = await screen.open(house, "#/account/ann")
        await expect(page.locator("#account-now")).to_contain_text("1 connection")
        unknown = page.locator("#account-use .body")
        await expect(unknown).to_have_text("Not known: The store is unavailable.")
        await house.welcomed(account="ann", device="phone")
        await expect(page.locator("#account-now")).to_contain_text("2 connections")
    await recovered(house)
    await expect(page.locator("#account-acts")).to_contain_text("group.set")


# -- a page that nobody sees ------------------------------------------------------------------------------------------


async def test_a_page_that_nobody_sees_asks_for_no_lists_and_catches_up_when_it_is_seen(
    serve: Serve, screen: Screen
) -> None:
    house = await serve()
    page = await screen.open(house, "#/people/bans")
    await expect(page.locator("#view")).to_contain_text("Nobody is kept out.")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true })")
    await page.evaluate("window.away = true")
    await house.http("PUT", "/api/bans/ann", json={"for": "1h"})
    house.runtime.ticker.worst_lag = 1.5
    await expect(page.locator("#notice")).to_contain_text("The gateway answers late")  # so the state has come
    assert not [url for url in asked if "/api/" in url]
    await page.evaluate("window.away = false")
    await expect(page.locator("#bans-list tr").filter(has_text="ann")).to_have_count(1)
