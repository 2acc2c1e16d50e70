"""What the page shows of the cluster, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from gateway.core.cluster.nodes import RECENT
from gateway.edge.cluster.etcd import EtcdHealth
from tests.cluster.conftest import Join
from tests.conftest import until
from tests.page.conftest import Screen, chromium, screen  # noqa: F401 - the browser is a fixture of the page's tests

pytestmark = pytest.mark.debian


async def test_the_page_shows_the_nodes_who_leads_and_who_is_silent(join: Join, screen: Screen) -> None:  # noqa: F811
    a, b = await join("a"), await join("b")
    await a.welcomed(account="ann")
    page = await screen.open(b)
    card = page.locator("#cluster")
    await expect(card.locator("#cluster-state")).to_have_text("active")
    rows = card.locator("tbody tr")
    await expect(rows).to_have_text(["a1noleads", "b0nothis one"])
    b.node.etcd.health = EtcdHealth(1, ("alarm:NOSPACE",))
    await expect(page.locator("#notice")).to_contain_text("etcd complains: alarm:NOSPACE.")
    b.node.etcd.health = EtcdHealth()
    await a.node.close()
    replica = b.node.replica
    await until(lambda: replica.life - replica.nodes.living[a.node.incarnation].heard > RECENT + 0.1)
    await expect(rows.first).to_contain_text("silent")
    await expect(page.locator("#notice")).to_contain_text("Node a of the cluster is silent")
    async with b.node.follower.applying:
        await until(lambda: b.node.is_lagging)
        await expect(card.locator("#cluster-state")).to_have_text("slow")
        await expect(rows.last.locator(".warn")).to_contain_text("s")


async def test_the_page_of_a_standby_shows_how_far_it_is_behind(join: Join, screen: Screen) -> None:  # noqa: F811
    a, standby = await join("a"), await join("b", enters=False, cluster__role="standby")
    page = await screen.open(standby)
    card = page.locator("#cluster")
    await expect(card.locator("#cluster-state")).to_have_text("following")
    await expect(card.locator("tbody tr")).to_have_text(["a0noleads"])
    await expect(card).not_to_contain_text("It is ")
    async with standby.node.follower.applying:
        await expect(card).to_contain_text(re.compile(r"It is [1-9]\.\d s behind"))
    await expect(card).not_to_contain_text("It is ")
    assert a.node.entered
