"""Floating seats: one for each key with a session, with linger and reserve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import House, Serve, until
from tests.rules.said import Forward, full, pools, said


async def serving(serve: Serve, time: Forward | None = None, **terms: Any) -> House:
    """A gateway with a floating license."""
    given = {f"license__floating__{key}": value for key, value in terms.items()}
    return await serve(license__model="floating", clock=time.clock if time else None, **given)


@pytest.mark.parametrize(("key", "seats"), [("connection", 7), ("device", 6), ("account", 4), ("address", 2)])
async def test_seats_are_distinct_keys_from_welcome_on(key: str, seats: int, serve: Serve) -> None:
    house = await serving(serve, key=key, limit=7)
    house.runtime.state.terms = replace(house.runtime.state.terms, on_duplicate="allow")
    for account, device, address in (
        ("ann", "pc", "127.0.0.1"),
        ("Ann", "pc", "127.0.0.2"),
        ("ann", "phone", "127.0.0.1"),
        ("ann", None, "127.0.0.1"),
        ("bob", "pc", "127.0.0.2"),
        (None, "pc", "127.0.0.1"),
        (None, "pc", "127.0.0.1"),
    ):
        hello = {"account": account, "device": device}
        wire = await house.welcomed(address=address, **{name: text for name, text in hello.items() if text})
        said(await wire.ask("sleep"), "asleep", seats=["seats"])
    seen = await pools(house, seats=seats)
    assert seen["seats"]["limit"] == 7


async def test_without_a_limit_nobody_is_refused(serve: Serve) -> None:
    house = await serving(serve)
    for _ in range(3):
        await house.welcomed()
    seen = await pools(house, seats=3)
    assert (seen["seats"]["limit"], seen["seats"]["available"]) == (None, None)


async def test_the_limit_refuses_the_hello_and_conferences_change_nothing(serve: Serve) -> None:
    house = await serving(serve, limit=1)
    wire = await house.welcomed()
    full(await (await house.connect()).hello(), "seats", 1, 1, "hello")
    said(await wire.ask("join", conference="m"), "joined", seats=["seats"])
    said(await wire.ask("leave", conference="m"), "left", seats=["seats"])
    await wire.say("bye")
    await wire.gone()
    await house.welcomed()


async def test_a_seat_lingers_after_an_abrupt_loss_for_its_own_key_only(serve: Serve) -> None:
    house = await serving(serve, limit=1, key="device", linger="60s")
    lost = await house.welcomed(account="ann", device="pc")
    await lost.drop()
    await house.connect()
    full(await (await house.connect()).hello(account="bob", device="pc"), "seats", 1, 1, "hello")
    full(await (await house.connect()).hello(account="ann", device="phone"), "seats", 1, 1, "hello")
    back = await house.welcomed(account="ann", device="pc")
    await pools(house, seats=1)
    await back.say("bye")
    await back.gone()
    await pools(house, seats=0)
    await house.welcomed(account="bob", device="pc")


async def test_a_lingering_seat_is_free_when_its_time_is_over(serve: Serve) -> None:
    time = Forward()
    house = await serving(serve, time, limit=1, key="device", linger="60s")
    lost = await house.welcomed(account="ann", device="pc")
    await lost.drop()
    await until(lambda: not house.runtime.state.sessions)
    await pools(house, seats=1)
    time.pass_(house, 60)
    await pools(house, seats=0)
    await house.welcomed(account="bob", device="pc")


async def test_a_kick_or_a_takeover_leaves_nothing_lingering(serve: Serve) -> None:
    house = await serving(serve, limit=2, linger="60s")
    old = await house.welcomed(account="ann", device="pc")
    await house.welcomed(account="ann", device="pc")
    said(await old.hear(), "closing", reason="replaced")
    await pools(house, seats=1)
    status, _ = await house.http("DELETE", "/api/accounts/ann/connections")
    assert status == 200
    await pools(house, seats=0)


@pytest.mark.parametrize(
    ("key", "reserve", "hello"),
    [
        ("account", "Boss", {"account": "boss"}),
        ("device", "Boss/pc", {"account": "boss", "device": "pc"}),
        ("address", "127.0.0.2", {"address": "127.0.0.2"}),
    ],
)
async def test_reserved_keys_always_hold_a_seat(key: str, reserve: str, hello: dict[str, Any], serve: Serve) -> None:
    house = await serving(serve, limit=2, key=key, reserve=f'["{reserve}"]')
    seen = await pools(house, seats=1)
    assert seen["seats"]["reserved"] == 1
    await house.welcomed(account="ann", device="pc")
    await pools(house, seats=2)
    full(await (await house.connect(address="127.0.0.3")).hello(account="bob"), "seats", 2, 2, "hello")
    boss = await house.welcomed(**hello)
    await pools(house, seats=2)
    await boss.close()
    await pools(house, seats=2)


async def test_where_sleep_does_not_count_a_seat_is_given_up_and_asked_for_again(serve: Serve) -> None:
    house = await serving(serve, limit=1, asleep_counts="false")
    ann = await house.welcomed(account="ann")
    said(await ann.ask("sleep"), "asleep", seats=[])
    bob = await house.welcomed(account="bob")
    full(await ann.ask("wake"), "seats", 1, 1, "wake")
    full(await ann.ask("join", conference="m"), "seats", 1, 1)
    said(await ann.ask("wake", wait=60), "queued", request="wake", pool="seats", position=1)
    await bob.say("bye")
    said(await ann.hear(), "awake", seats=["seats"])
    assert house.runtime.state.primary.pools["seats"].releases["asleep"] == 1
    await pools(house, seats=1)
