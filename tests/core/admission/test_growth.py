"""What a step costs does not grow with how many there are: calls are counted, so that no clock is asked."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.counting.session import Session
from gateway.licensing import MODELS
from gateway.licensing.floating import Floating
from gateway.licensing.trueconf import TrueConf
from tests.core.harnesses import LicensedHarness
from tests.core_harness import CoreHarness

FEW, MANY = 60, 600
PLENTY = 100_000


def harness(primary: str) -> CoreHarness:
    """A core that enforces a model and has the others in shadow; no limit is ever reached."""
    licenses = {name: info.terms(**dict.fromkeys(info.limits.values(), PLENTY)) for name, info in MODELS.items()}
    return LicensedHarness(primary, licenses, max_memberships=PLENTY, shadow_leases=PLENTY)


def calls(act: Callable[[], object]) -> int:
    """How many functions are called, those of Python itself included."""
    counted = 0

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    gc.disable()  # its callbacks are functions too
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
        gc.enable()
    return counted


def room(house: CoreHarness, name: str) -> None:
    """A conference with a host, where anybody may come."""
    house.joined(house.hello(f"host of {name}", "pc"), name, host=True)


def one_client_in_many_conferences(house: CoreHarness, many: int) -> dict[str, float]:
    ann = house.hello("ann", "pc")
    for number in range(many + 1):
        room(house, f"room-{number}")
    for number in range(many):
        house.joined(ann, f"room-{number}")
    return {
        "join": calls(lambda: house.joined(ann, f"room-{many}")),
        "leave": calls(lambda: house.leave(ann, f"room-{many // 2}")),
        "end, for each": calls(lambda: house.end(ann, "bye")) / many,
    }


def many_members(house: CoreHarness, many: int) -> dict[str, float]:
    room(house, "room")
    members = [house.hello(f"user-{number}", "pc") for number in range(many)]
    for each in members:
        house.joined(each)
    return steps(house, members)


def many_devices_of_one_account(house: CoreHarness, many: int) -> dict[str, float]:
    room(house, "room")
    devices = [house.hello("ann", f"device-{number}") for number in range(many)]
    for each in devices:
        house.joined(each)
    return steps(house, devices)


def many_conferences(house: CoreHarness, many: int) -> dict[str, float]:
    hosts = [house.hello(f"host-{number}", "pc") for number in range(many)]
    for number, each in enumerate(hosts):
        house.joined(each, f"room-{number}", host=True)
        house.joined(house.hello(f"user-{number}", "pc"), f"room-{number}")
    room(house, "room")
    members = [house.hello(f"member-{number}", "pc") for number in range(3)]
    for each in members:
        house.joined(each)
    return steps(house, members)


def steps(house: CoreHarness, members: list[Session]) -> dict[str, float]:
    """What a client costs that comes, joins the others in a room, is resumed, leaves, ends, comes back."""
    first, second, third = members[0], members[len(members) // 2], members[-1]
    account, device = third.account, third.device
    found: dict[str, float] = {"hello": calls(lambda: house.hello(account, "another"))}
    new = max(house.state.sessions.by_number.values(), key=lambda each: each.number)
    found["join"] = calls(lambda: house.joined(new))
    found["resume"] = calls(lambda: house.apply(c.Resume(third.number, third.generation, third.address, "tcp")))
    found["takeover"] = calls(lambda: house.hello(account, device))
    found["leave"] = calls(lambda: house.leave(second))
    found["end"] = calls(lambda: house.end(first, "bye"))
    return found


SITUATIONS = [one_client_in_many_conferences, many_members, many_devices_of_one_account, many_conferences]


@pytest.mark.parametrize("primary", ["epop", "trueconf", "nefsis-named"])
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda each: each.__name__)
def test_ten_times_as_many_do_not_make_a_step_dearer(
    situation: Callable[[CoreHarness, int], dict[str, float]], primary: str
) -> None:
    few, many = situation(harness(primary), FEW), situation(harness(primary), MANY)
    assert {step: ratio for step in few if (ratio := many[step] / few[step]) > 1.5} == {}


# -- seats of those who are idle ---------------------------------------------------------------------------------------


def preempting(model: str, terms: object, *chiefs: str) -> CoreHarness:
    """A core that lets chiefs take the seats of those who are idle."""
    house = LicensedHarness(model, {model: terms}, preempt=True)
    house.apply(c.PutGroup("chiefs", ("chief", *chiefs), permanent=False, priority=1))
    return house


def idle(house: CoreHarness, account: str) -> Session:
    session = house.hello(account)
    house.apply(c.Activity(session.number, active=False))
    return session


def many_idle_of_the_same_priority(many: int) -> tuple[CoreHarness, bool]:
    accounts = [f"user-{number}" for number in range(many)]
    house = preempting("floating", Floating(limit=many), *accounts)
    for account in accounts:
        idle(house, account)
    return house, False


def many_asleep_without_a_seat(many: int) -> tuple[CoreHarness, bool]:
    house = preempting("trueconf", TrueConf(online=1))
    for number in range(many):
        house.sleep(idle(house, f"user-{number}"))
    house.hello("ann")
    return house, False


def many_idle(many: int) -> tuple[CoreHarness, bool]:
    house = preempting("floating", Floating(limit=many))
    for number in range(many):
        idle(house, f"user-{number}")
    return house, True


def many_who_lose_their_seats_and_come_back(many: int) -> tuple[CoreHarness, bool]:
    house, _ = many_idle(many)
    for number in range(many // 2):
        assert house.hello("chief", f"device-{number}") is not None
    for number in range(many // 2, many):
        for active in (True, False):
            house.apply(c.Activity(number + 1, active=active))
    return house, True


@pytest.mark.parametrize(
    "situation",
    [many_idle_of_the_same_priority, many_asleep_without_a_seat, many_idle, many_who_lose_their_seats_and_come_back],
)
def test_who_would_take_a_seat_looks_at_few_of_those_who_are_idle(
    situation: Callable[[int], tuple[CoreHarness, bool]],
) -> None:
    found = []
    for many in (FEW, MANY):
        house, granted = situation(many)
        house.knock("chief", "first")  # that puts them in order
        found.append(calls(partial(house.knock, "chief", "second")))
        assert [each.device for each in house.state.sessions.of_account("chief")][-1:] == ["second"] * granted
    assert found[1] == found[0]


def test_who_would_take_a_license_looks_at_few_of_those_who_have_one() -> None:
    found = []
    for many in (FEW, MANY):
        accounts = [f"user-{number}" for number in range(many)]
        room = TrueConf(online=2 * many, pro=2 * many, allow_pro_requests=True)
        house = preempting("trueconf", room, *accounts)
        for account in accounts:
            house.request_pro(idle(house, account))
        for number in range(many):
            user = house.hello(f"gone-{number}")
            house.request_pro(user)
            house.end(user, "bye")
        chief = house.hello("chief")
        house.request_pro(chief)  # that puts them in order
        found.append(calls(partial(house.request_pro, chief)))
    assert found[1] == found[0]
