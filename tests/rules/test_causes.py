"""Every release of a seat has a cause, and what was granted and not released is in use."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import House, Serve, redistribute
from tests.rules.said import DAY, Hands, said
from tests.wire_client import TcpWire, Wire

Series = dict[tuple[str, str, str], float]


async def metrics(house: House) -> Series:
    """The license counters that are not zero, by (name, pool, cause or reason) of the enforced model."""
    _, license = await house.http("GET", "/api/license")
    _, text = await house.http("GET", "/metrics")
    return {
        (sample.name.removeprefix("tallygate_license_"), sample.labels["pool"], label): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("model") == license["model"] and "pool" in sample.labels
        for label in [sample.labels.get("cause") or sample.labels.get("reason") or ""]
        if sample.value
    }


def released(seen: Series, pool: str) -> dict[str, float]:
    """Releases of a pool by cause; together with what is in use they are what was granted."""
    causes = {label: value for (name, at, label), value in seen.items() if name == "releases_total" and at == pool}
    assert sum(causes.values()) + seen.get(("used", pool, ""), 0) == seen.get(("grants_total", pool, ""), 0)
    return causes


async def say_bye(_: House, wire: Wire) -> None:
    await wire.say("bye")


async def leave(_: House, wire: Wire) -> None:
    said(await wire.ask("leave", conference="m"), "left")


async def close(_: House, wire: Wire) -> None:
    await wire.close()


async def cut(_: House, wire: Wire) -> None:
    assert isinstance(wire, TcpWire)
    at_once = struct.pack("ii", 1, 0)
    wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    await wire.drop()


async def garble(_: House, wire: Wire) -> None:
    await wire.send("?")


async def kick(house: House, _: Wire) -> None:
    await house.http("DELETE", "/api/accounts/ann/connections")


async def delete(house: House, _: Wire) -> None:
    await house.http("DELETE", "/api/accounts/ann")


async def dissolve(house: House, _: Wire) -> None:
    await house.http("DELETE", "/api/conferences/m")


async def replace(house: House, _: Wire) -> None:
    await house.welcomed(account="ann", device="pc")


async def drain(house: House, _: Wire) -> None:
    await house.runtime.drain(0)


ENDS: dict[str, Callable[[House, Wire], Awaitable[None]]] = {
    "bye": say_bye,
    "left": leave,
    "closed": close,
    "reset": cut,
    "protocol_error": garble,
    "kicked": kick,
    "account_deleted": delete,
    "removed": dissolve,
    "replaced": replace,
    "drained": drain,
}


@pytest.mark.parametrize("cause", list(ENDS))
async def test_a_seat_is_released_at_once_and_for_its_cause(cause: str, serve: Serve) -> None:
    house = await serve(license__model="epop")
    wire = await house.welcomed(account="ann", device="pc")
    said(await wire.ask("join", conference="m"), "joined")
    await ENDS[cause](house, wire)
    assert released(await metrics(house), "concurrent") == {cause: 1}


async def test_silence_releases_for_heartbeat_timeout(serve: Serve) -> None:
    house = await serve(license__model="epop")
    wire = await house.welcomed()
    said(await wire.ask("join", conference="m"), "joined")
    house.live(75)
    await wire.gone()
    assert released(await metrics(house), "concurrent") == {"heartbeat_timeout": 1}


async def test_who_sleeps_may_be_silent_for_longer(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    sleeper = await house.welcomed(account="ann", device="phone")
    said(await sleeper.ask("sleep"), "asleep")
    awake = await house.welcomed(account="ann", device="pc")
    house.live(75)
    said((await awake.gone())[-1], "closing", reason="heartbeat_timeout")
    assert released(await metrics(house), "online") == {"asleep": 1, "heartbeat_timeout": 1}
    said(await sleeper.ask("wake"), "awake")
    house.live(75)
    said((await sleeper.gone())[-1], "closing", reason="heartbeat_timeout")


async def test_a_lease_is_lost_for_one_of_four_causes(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock, license__model="trueconf", license__trueconf__pro=1)

    async def hold(account: str) -> None:
        wire = await house.welcomed(account=account, device="pc")
        said(await wire.ask("join", conference="m"), "joined", seats=["online", "pro"])
        await wire.say("bye")
        await wire.gone()

    await hold("ann")
    hands.forward(house, DAY + 1)
    await hold("bob")
    await house.http("DELETE", "/api/pro/bob")
    await hold("cat")
    await house.http("DELETE", "/api/accounts/cat")
    hands.forward(house, DAY + 1)
    await hold("dan")
    await house.http("PUT", "/api/groups/vip", json={"accounts": ["eve"], "permanent": True})
    redistribute(house)
    seen = await metrics(house)
    assert released(seen, "pro") == {"expired": 1, "revoked": 1, "account_deleted": 1, "redistributed": 1}
    assert seen["reserved", "pro", ""] == 1
    assert released(seen, "online") == {"bye": 4}


async def test_denials_at_hello_wake_join_start_and_request_are_counted_alike(serve: Serve) -> None:
    house = await serve(
        license__model="trueconf",
        license__trueconf__pro=0,
        license__trueconf__online=1,
        license__trueconf__allow_pro_requests="true",
    )
    ann = await house.welcomed(account="ann", device="pc")
    said(await ann.ask("sleep"), "asleep")
    bob = await house.welcomed(account="bob", device="pc")
    said(await (await house.connect()).hello(account="cat"), "denied")
    said(await ann.ask("wake"), "denied")
    said(await ann.ask("join", conference="m"), "denied")
    said(await bob.ask("request_pro"), "denied")
    said(await bob.ask("join", conference="m"), "denied")
    said(await bob.ask("join", conference="m", scheduled=True, host=True), "waiting")
    said(await bob.ask("start", conference="m"), "denied", request="start")
    seen = await metrics(house)
    assert {key: value for key, value in seen.items() if key[0] == "denials_total"} == {
        ("denials_total", "online", "pool_full"): 3,
        ("denials_total", "pro", "pool_full"): 3,
    }
