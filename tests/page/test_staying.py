"""What an operator is about to do survives whatever happens meanwhile: focus, what was typed, and where a list is."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Locator, Page, Route, expect

from gateway.core.admission.commands import Hello
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.directory import ADMIN
from tests.conftest import House, Serve
from tests.page.conftest import Screen
from tests.page.test_login import AWAY, UNTOLD, sign_in, token

ROWS = "#connections-list tbody tr[data-key]"
MANY = 1000
LISTEN = """(node) => {
  node.said = [];
  const hear = () => node.said.push(node.textContent);
  new MutationObserver(hear).observe(node, { childList: true, characterData: true, subtree: true });
}"""
"""Keeps in `said` what a part of the page is told to read out."""


@pytest.fixture
async def house(serve: Serve) -> House:
    return await serve(license__model="trueconf", license__trueconf__pro=1, license__trueconf__online=2000)


async def stays(node: Locator) -> None:
    """The focus is on a node, and the node is the one that it was on before."""
    assert await node.evaluate("(node) => node === document.activeElement && node.isMine === true")


async def focus(node: Locator) -> None:
    """Put the focus on a node, and know it again."""
    await node.evaluate("(node) => { node.focus(); node.isMine = true; }")


async def test_a_row_whose_connection_does_something_keeps_the_focus(house: House, screen: Screen) -> None:
    ann = await house.welcomed(account="ann")
    page = await screen.open(house, "#/connections")
    kick = page.get_by_role("button", name="Kick ann")
    await focus(kick)
    await ann.ask("join", conference="weekly")
    await expect(page.locator(ROWS)).to_contain_text("weekly")
    await stays(kick)


async def test_the_details_of_a_row_are_those_of_now(house: House, screen: Screen) -> None:
    ann = await house.welcomed(account="ann")
    page = await screen.open(house, "#/connections")
    await expect(page.locator(ROWS)).to_have_count(1)
    await ann.ask("join", conference="weekly")
    await expect(page.locator(ROWS)).to_contain_text("weekly")
    await page.locator(ROWS).get_by_role("button", name="ann", exact=True).click()
    await expect(page.get_by_role("dialog")).to_contain_text("Conferencesweekly")


async def test_an_account_whose_story_goes_on_keeps_the_focus(house: House, screen: Screen) -> None:
    ann = await house.welcomed(account="ann", device="laptop")
    page = await screen.open(house, "#/account/ann")
    kick = page.locator("#account-connections").get_by_role("button", name="Kick")
    await focus(kick)
    await ann.ask("join", conference="weekly")
    await expect(page.locator("#account-connections")).to_contain_text("weekly")
    await stays(kick)
    await house.welcomed(account="ann", device="phone")
    await expect(page.locator("#account-now")).to_contain_text("2 connections")
    await stays(kick.first)


async def test_figures_that_change_leave_the_focus_where_it_is(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    tile = page.locator("a.tile").first
    await expect(tile).to_contain_text("0")
    await focus(tile)
    await house.welcomed(account="ann")
    await expect(tile).to_contain_text("1")
    await stays(tile)


async def test_a_sentence_is_read_out_once_whatever_its_figures(house: House, screen: Screen) -> None:
    page = await screen.open(house)
    notice, news = page.locator("#notice"), page.locator("#news")
    await expect(notice).not_to_have_attribute("role", "status")
    await news.evaluate(LISTEN)
    ann, bob = [await house.welcomed(account=name) for name in ("ann", "bob")]
    await ann.ask("join", conference="weekly")
    await bob.ask("join", conference="weekly")
    await expect(notice).to_contain_text("1 refused")
    link = notice.get_by_role("link")
    await focus(link)
    await bob.ask("join", conference="weekly")
    await expect(notice).to_contain_text("2 refused")
    await stays(link)
    said = " ".join(await news.evaluate("(node) => node.said"))  # of a busy machine more is said
    assert re.findall(r"PRO users: full since [^.]* (\d) refused\.", said) == ["1"]


async def test_figures_are_read_out_to_whoever_searches(house: House, screen: Screen) -> None:
    await house.welcomed(account="ann")
    page = await screen.open(house, "#/connections")
    figures, search = page.locator("#connections-tally"), page.locator("#connections-search")
    await expect(figures).to_have_text("1 connection")
    await expect(figures).to_have_attribute("aria-live", "off")
    await search.fill("bob")
    await expect(figures).to_have_text("0 of 1 connection")
    await expect(figures).to_have_attribute("aria-live", "polite")
    await search.blur()
    await expect(figures).to_have_attribute("aria-live", "off")


async def test_a_filter_keeps_what_was_searched_for_and_the_focus(house: House, screen: Screen) -> None:
    for name in ("ann", "bob"):
        await house.welcomed(account=name)
    page = await screen.open(house, "#/connections")
    search, kind = page.locator("#connections-search"), page.locator("#connections-kind")
    await search.fill("ann")
    await expect(page.locator(ROWS)).to_have_count(1)
    await kind.focus()
    await kind.select_option("app")
    await expect(page).to_have_url(re.compile(r"kind=app&q=ann$"))
    await expect(search).to_have_value("ann")
    await expect(page.locator(ROWS)).to_have_count(1)
    await expect(kind).to_be_focused()


async def test_no_dialog_stays_open_for_whoever_is_signed_out(house: House, screen: Screen) -> None:
    screen.excused = UNTOLD
    await house.welcomed(account="ann")
    page = await screen.visit(house, "#/connections", **AWAY)
    await sign_in(page, token(house, ADMIN))
    await page.locator(ROWS).get_by_role("button", name="ann", exact=True).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await house.http("DELETE", "/api/tokens/ops-admin")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await expect(page.locator("dialog")).to_have_count(0)


async def test_what_somebody_else_has_changed_meanwhile_is_not_undone(house: House, screen: Screen) -> None:
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann"]})
    page = await screen.open(house, "#/people/groups")
    row = page.locator("#groups-list tr[data-key=board]")
    await row.get_by_role("button", name="Change board").click()
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann", "bob"]})
    await expect(row).to_contain_text("ann, bob")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Change").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Somebody has changed this group meanwhile")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="New group …").click()
    await dialog.get_by_label("Name of the group").fill("board")
    await dialog.get_by_role("button", name="Make").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("There is a group of this name")
    assert house.runtime.state.directory.groups["board"].accounts == ("ann", "bob")


# -- lists and slow answers ----------------------------------------------------------------------------------------


class Held:
    """The page's requests for pages of connections: each is answered when it is let go."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Route] = asyncio.Queue()

    async def hold(self, page: Page) -> None:
        await page.route(re.compile("api/connections[?].*limit="), self.waiting.put)

    async def let_go(self) -> None:
        await (await self.waiting.get()).continue_()


async def test_a_list_whose_answers_take_longer_than_changes_is_shown(house: House, screen: Screen) -> None:
    """The page's clock moves by hand: changes follow each other faster than answers come."""
    page = await screen.open(house)
    await page.clock.install()
    held = Held()
    await held.hold(page)
    await page.evaluate("location.hash = '#/connections'")
    await held.let_go()
    for number in range(3):
        await house.welcomed(account=f"user-{number}")
        await expect(page.locator("#connections-tally")).to_contain_text(str(number + 1))
        await page.clock.run_for(2000)
    await held.let_go()
    await expect(page.locator(ROWS).first).to_contain_text("user-0")


async def test_rows_that_come_into_sight_during_an_answer_are_asked_for(house: House, screen: Screen) -> None:
    for number in range(MANY):
        hello = Hello("app", f"user-{number:05}", "laptop", "", "", "10.0.0.1", "tcp")
        assert house.runtime.sequencer.submit(hello) is not None
    page = await screen.open(house, "#/connections")
    await expect(page.locator(ROWS).first).to_contain_text("user-0")
    held = Held()
    await held.hold(page)
    await house.welcomed(account="one-more")
    first = await held.waiting.get()
    await page.locator("#connections-list").locator("..").evaluate("(node) => { node.scrollTop = node.scrollHeight; }")
    await expect(page.locator(ROWS).last).to_have_text(re.compile("…"))
    await page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")  # longer than the page waits for rest
    await first.continue_()
    await page.unroute_all(behavior="ignoreErrors")
    await expect(page.locator(ROWS).last).to_contain_text(re.compile("user-|one-more"))


async def test_a_list_that_ends_pages_before_what_is_in_sight_has_no_rows_beyond_its_end(
    house: House, screen: Screen
) -> None:
    conferences = house.runtime.state.conferences
    for number in range(250):
        conferences.declare(f"c-{number:03}", Declaration())
    page = await screen.open(house, "#/conferences")
    table = page.locator("#conferences-list")
    await expect(page.locator("#conferences-tally")).to_contain_text("250 scheduled")
    await table.locator("..").evaluate("(node) => { node.scrollTop = node.scrollHeight; }")
    await expect(table).to_have_attribute("aria-rowcount", "102")
    await table.locator("..").evaluate("(node) => { node.scrollTop = node.scrollHeight; }")
    await expect(table).to_have_attribute("aria-rowcount", "202")
    await table.locator("..").evaluate("(node) => { node.scrollTop = node.scrollHeight; }")
    await expect(table).to_have_attribute("aria-rowcount", "251")
    await table.locator("..").evaluate("(node) => { node.scrollTop = 199 * 44; }")
    await expect(table.locator("tr[data-key=c-199]")).to_be_visible()
    for number in range(150, 250):
        conferences.forget(f"c-{number:03}")
    await expect(page.locator("#conferences-tally")).to_contain_text("150 scheduled")
    await expect(table).to_have_attribute("aria-rowcount", "151")
    await expect(table.locator("tbody tr[data-key]").last).to_contain_text("c-149")


# -- a machine that slept ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("view", "asked"), [("usage", r"api/usage\?"), ("history", r"api/history\?.*step=all")])
async def test_what_is_old_after_a_sleep_is_asked_for_at_once(
    house: House, screen: Screen, view: str, asked: str
) -> None:
    page = await screen.visit(house, f"#/{view}")
    await page.clock.install()
    async with page.expect_response(re.compile(asked)):
        await page.reload()
    await expect(page.locator("#view [aria-busy=true]")).to_have_count(0)
    async with page.expect_response(re.compile(asked)):
        await page.clock.set_system_time(await page.evaluate("Date.now() + 3600_000"))


async def test_a_connection_that_died_in_a_sleep_is_made_anew_at_once(serve: Serve, screen: Screen) -> None:
    house = await serve()
    page = await screen.visit(house)
    await page.clock.install()
    await page.reload()
    await expect(page.locator("#live-mark")).to_have_attribute("data-live", "live")
    house.runtime.ticker.stop()  # or it would tell of every second
    async with page.expect_request(re.compile("api/events$")):
        await page.clock.set_system_time(await page.evaluate("Date.now() + 3600_000"))
        await expect(page.locator("#live-mark")).to_have_attribute("data-live", re.compile("silent|lost"))
    house.runtime.ticker.start()
    await expect(page.locator("#live-mark")).to_have_attribute("data-live", "live")
