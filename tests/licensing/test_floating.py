"""Floating seats: from `welcome` to the end of the session, keyed as the setting says."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from gateway.licensing.floating import Floating, floating
from tests.core.harnesses import prove, proven_hello
from tests.core_harness import CoreHarness

Key = Literal["connection", "device", "account", "address"]


def harness(**terms: Any) -> CoreHarness:
    return CoreHarness(floating(Floating(**terms)), on_duplicate="allow", homes=("far",))


@pytest.mark.parametrize(("key", "used"), [("connection", 7), ("device", 6), ("account", 5), ("address", 2)])
def test_each_key_counts_once(key: Key, used: int) -> None:
    house = harness(key=key)
    house.hello("ann", "pc")
    house.hello("ann", "pc")
    house.hello("ann", "phone")
    house.hello("ann", "pc", home="far")
    house.hello("bob", "pc", address="192.0.2.2")
    house.hello()
    house.hello(None, "pc")
    assert house.used("seats") == used


@pytest.mark.parametrize("key", ["device", "account"])
def test_a_session_without_an_account_is_keyed_by_its_connection(key: Key) -> None:
    house = harness(key=key)
    house.hello(None, "pc")
    house.hello(None, "pc")
    assert house.used("seats") == 2


def test_a_device_without_a_name_is_a_device_of_its_own() -> None:
    house = harness(key="device")
    house.hello("ann")
    house.hello("ann")
    assert house.used("seats") == 2


def test_a_conference_makes_no_difference_nor_does_sleep() -> None:
    house = harness()
    ann = house.hello("ann")
    house.joined(ann)
    house.leave(ann)
    assert house.sleep(ann) == {"type": "asleep", "seats": ["seats"]}
    assert house.used("seats") == 1
    assert house.wake(ann) == {"type": "awake", "seats": ["seats"]}


def test_visitors_take_no_seat_in_any_model() -> None:
    house = harness()
    house.hello(kind="welcome")
    house.hello("admin", kind="console")
    assert house.used("seats") == 0


def test_at_the_limit_the_hello_is_refused() -> None:
    house = harness(limit=1)
    ann = house.hello("ann")
    _, outcome = house.knock("bob")
    assert outcome.answer == {
        "type": "denied",
        "request": "hello",
        "reason": "pool_full",
        "pool": "seats",
        "used": 1,
        "limit": 1,
        "retry_after_seconds": 30,
    }
    house.end(ann)
    house.hello("bob")


def test_who_shares_a_key_in_use_needs_no_seat() -> None:
    house = harness(limit=1, key="account")
    pc = house.hello("ann", "pc")
    house.hello("ann", "phone")
    house.end(pc)
    assert house.used("seats") == 1


@pytest.mark.parametrize("cause", ["closed", "reset", "heartbeat_timeout", "slow_consumer"])
def test_an_abrupt_loss_keeps_the_seat_for_the_same_key(cause: str) -> None:
    house = harness(limit=1, key="account", linger=60.0)
    house.end(house.hello("ann"), cause)
    house.wait(59)
    assert house.used("seats") == 1
    assert house.knock("bob")[1].refused is not None
    house.hello("ann")
    assert house.used("seats") == 1


@pytest.mark.parametrize("cause", ["bye", "kicked", "drained", "replaced", "protocol_error"])
def test_any_other_end_releases_at_once(cause: str) -> None:
    house = harness(limit=1, key="account", linger=60.0)
    house.end(house.hello("ann"), cause)
    assert house.used("seats") == 0


def test_the_kept_seat_is_released_for_the_cause_of_the_loss() -> None:
    house = harness(key="account", linger=60.0)
    house.end(house.hello("ann"), "reset")
    house.wait(60)
    view = house.view("seats")
    assert (view.used, view.releases["reset"], view.grants) == (0, 1, 1)


def test_who_returned_lingers_no_more() -> None:
    house = harness(key="account", linger=60.0)
    house.end(house.hello("ann"), "reset")
    again = house.hello("ann")
    house.end(again, "bye")
    assert house.used("seats") == 0


def test_a_loss_is_remembered_though_another_session_of_the_key_goes_on_and_says_bye() -> None:
    house = harness(key="account", linger=60.0)
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    house.end(pc, "reset")
    house.wait(10)
    house.end(phone, "bye")
    house.wait(49)
    assert house.used("seats") == 1
    house.wait(1)
    assert house.used("seats") == 0


def test_a_second_loss_begins_the_time_anew() -> None:
    house = harness(key="account", linger=60.0)
    pc, phone, other = house.hello("ann", "pc"), house.hello("ann", "phone"), house.hello("bob")
    house.end(pc, "reset")
    house.wait(10)
    house.end(other, "closed")
    house.wait(20)
    house.end(phone, "closed")
    house.wait(40)
    assert house.used("seats") == 1
    house.wait(20)
    assert house.used("seats") == 0


@pytest.mark.parametrize(
    ("key", "reserve", "facts"),
    [
        ("account", "Boss", {"account": "boss"}),
        ("account", "boss/far", {"account": "boss", "home": "far"}),
        ("device", "Boss/PC", {"account": "boss", "device": "PC"}),
        ("device", "boss/far/PC", {"account": "boss", "home": "far", "device": "PC"}),
        ("address", "192.0.2.9", {"address": "192.0.2.9"}),
        ("address", "::ffff:192.0.2.9", {"address": "192.0.2.9"}),
        ("address", "2001:DB8:0:0:0:0:0:9", {"address": "2001:db8::9"}),
    ],
)
def test_a_reserved_key_always_holds_its_seat(key: Key, reserve: str, facts: dict[str, str]) -> None:
    house = harness(limit=2, key=key, reserve=(reserve,))
    assert (house.used("seats"), house.view("seats").reserved) == (1, 1)
    house.hello("ann")
    assert house.knock("bob", address="192.0.2.5")[1].refused is not None
    boss = house.hello(**facts)
    assert house.used("seats") == 2
    house.end(boss)
    assert house.used("seats") == 2


def test_without_a_limit_nobody_is_refused() -> None:
    house = harness()
    for _ in range(200):
        house.hello()
    assert house.view("seats").available is None


def test_a_takeover_frees_only_what_nobody_else_holds() -> None:
    house = CoreHarness(floating(Floating(limit=1, key="address")), accounts_mode="token")
    prove(house, "ann", "bob")
    here, there = (proven_hello("ann", "pc", address) for address in ("192.0.2.1", "192.0.2.2"))
    assert house.apply(here).refused is None
    neighbor = house.apply(proven_hello("bob", "pc", "192.0.2.1")).session
    assert neighbor is not None
    refused = house.apply(there).refused
    assert refused is not None
    assert refused.reason == "pool_full"
    house.end(house.state.sessions.by_number[neighbor])
    assert house.apply(there).refused is None
    assert house.used("seats") == 1
