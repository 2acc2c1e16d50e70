"""The agent against registrars that fail, lie and repeat: nothing of it changes what the gateway may do.

Each lie is told to a gateway that has never registered, to one that has, and to one that waits to be verified; then the
truth is told on the same connection, and believed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.registration import license_status
from gateway.core.registration.license_status import LicenseState
from gateway.core.wire import json_lines
from gateway.core.wire.backoff import Backoff
from gateway.edge.server import registration_agent
from tests.conftest import House, License, until
from tests.edge.conftest import Run
from tests.edge.registering import KEY, Caller, Message, RawRegistrar, Time, lost, registered, shows

Lie = Callable[[Caller], Awaitable[None]]
PHASES = ("new", "challenged", "registered", "asked")
"""How far an honest conversation has come when the lie is told."""


@pytest.fixture(autouse=True)
def eager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent of the phase `asked` asks as soon as it may."""
    if "asked" in request.node.callspec.params.values() if hasattr(request.node, "callspec") else False:
        monkeypatch.setattr(license_status, "PACE", 0.0)


def counted(house: House) -> dict[str, int]:
    """How attempts to be verified ended, without what did not occur."""
    return {result: count for result, count in house.runtime.registration.checks.items() if count}


async def come(house: House, registrar: RawRegistrar, phase: str) -> Caller:
    """An honest conversation, up to a phase."""
    caller = await registrar.call()
    if phase == "new":
        caller.register = await caller.hear()
        return caller
    await caller.challenge()
    if phase != "challenged":
        await caller.say(caller.registered())
        await until(lambda: house.runtime.registration.state is LicenseState.REGISTERED)
    if phase == "asked":
        assert (await caller.hear())["type"] == "verify"
    return caller


async def truth(house: House, caller: Caller, phase: str) -> None:
    """Go on as if nothing had been said."""
    before = house.runtime.registration.checks["accepted"]
    if phase == "new":
        await caller.say({"type": "challenge", "nonce": caller.nonce})
        assert (await caller.hear())["type"] == "proof"
    if phase in {"new", "challenged"}:
        await caller.say(caller.registered())
    elif phase == "asked":
        await caller.say(caller.verified(1))
    if phase != "registered":
        await until(lambda: house.runtime.registration.checks["accepted"] == before + 1)
    assert house.runtime.registration.state is LicenseState.REGISTERED


def yesterdays(caller: Caller, message: Message) -> Message:
    """A message that was good in another conversation."""
    old = Caller(caller.key, caller.reader, caller.writer)
    old.register, old.nonce = {**caller.register, "nonce": "77" * 16}, caller.nonce
    return old.sealed({name: value for name, value in message.items() if name != "mac"})


def edited(message: Message, **fields: Any) -> Message:
    """A message that was changed on the way."""
    return {**message, **fields}


LIES: dict[str, tuple[str, Callable[[Caller], Any]]] = {
    "garbage": ("malformed", lambda _: bytes(range(1, 10)) + b"\xff\n"),
    "an empty line": ("malformed", lambda _: b"\n"),
    "no object": ("malformed", lambda _: b"[1]\n"),
    "deep nesting": ("malformed", lambda _: b'{"type":"verified","x":' + b"[" * 2000 + b"]" * 2000 + b"}\n"),
    "duplicate keys": ("malformed", lambda _: b'{"type":"verified","type":"verified"}\n'),
    "an unknown type": ("malformed", lambda _: {"type": "welcome"}),
    "no code": ("malformed", lambda _: {"type": "verified", "seq": 1, "ticket": "t"}),
    "a float": ("malformed", lambda caller: caller.registered(interval_seconds=60.0)),
    "a time that is a float": ("malformed", lambda caller: caller.registered(time=1.5)),
    "an absurd interval": ("malformed", lambda caller: caller.registered(interval_seconds=10**9)),
    "no interval": ("malformed", lambda caller: caller.registered(interval_seconds=0)),
    "an end that is no time": ("malformed", lambda caller: caller.registered(not_after="never")),
    "a forged code": ("forged", lambda caller: edited(caller.registered(), mac="00" * 32)),
    "a code of another key": ("forged", lambda caller: caller.sealed(caller.registered(), bytes(32))),
    "a better license": ("forged", lambda caller: edited(caller.registered(), limits={"pro": 10_000})),
    "yesterday's registered": ("forged", lambda caller: yesterdays(caller, caller.registered())),
    "yesterday's verified": ("forged", lambda caller: yesterdays(caller, caller.verified(1))),
    "yesterday's revoked": ("forged", lambda caller: yesterdays(caller, {"type": "revoked", "reason": "revoked"})),
    "yesterday's refused": ("forged", lambda caller: yesterdays(caller, {"type": "refused", "reason": "revoked"})),
    "a forged revoked": ("forged", lambda _: {"type": "revoked", "reason": "revoked", "mac": "00" * 32}),
    "a forged refused": ("forged", lambda _: {"type": "refused", "reason": "revoked", "mac": "00" * 32}),
    "another verification": ("replayed", lambda caller: caller.verified(7)),
}
EARLY = {"another verification": "forged"}
"""What is counted otherwise while there is no challenge: nothing can be genuine yet."""


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", LIES)
async def test_a_lie_changes_nothing_and_the_truth_is_believed_after_it(
    name: str, phase: str, run: Run, registrar: RawRegistrar
) -> None:
    result, lie = LIES[name]
    result = EARLY.get(name, result) if phase == "new" else result
    async with run() as house:
        caller = await come(house, registrar, phase)
        ours = house.runtime.registration.status
        before = ours.to_json("S-1", KEY, ""), house.runtime.registration.state
        told = lie(caller)
        for number in range(1, 4):
            await (caller.send(told) if isinstance(told, bytes) else caller.say(told))
            await until(lambda: house.runtime.registration.checks[result] == number)  # noqa: B023 - waited for right here
        after = ours.to_json("S-1", KEY, ""), house.runtime.registration.state
        assert after == before
        await truth(house, caller, phase)
        assert counted(house)[result] == 3
        assert registrar.calls == 1


@pytest.mark.parametrize("phase", ["registered", "asked"])
async def test_what_was_said_before_is_believed_once(phase: str, run: Run, registrar: RawRegistrar) -> None:
    async with run() as house:
        caller = await come(house, registrar, phase)
        if phase == "asked":
            await caller.say(caller.verified(1))
            assert (await caller.hear())["seq"] == 2
        for number, message in enumerate((caller.registered(), caller.verified(1)), 1):
            await caller.say(message)
            await until(lambda: house.runtime.registration.checks["replayed"] == number)  # noqa: B023 - right here
        assert house.runtime.registration.status.ticket == ("t-1" if phase == "asked" else "t-0")


@pytest.mark.parametrize(
    "terms",
    [{"model": "other"}, {"limits": {"seats": 1}}, {"edition": "gold"}, {"model": "epop", "limits": {"pro": 1}}],
)
async def test_a_license_that_makes_no_sense_is_no_license(
    terms: dict[str, Any], run: Run, registrar: RawRegistrar
) -> None:
    async with run() as house:
        caller = await registrar.call()
        await caller.accept(**terms)
        await until(lambda: counted(house) == {"malformed": 1})
        assert house.runtime.registration.state is LicenseState.UNREGISTERED
        await caller.say(caller.registered())
        await until(lambda: house.runtime.registration.state is LicenseState.REGISTERED)


@pytest.mark.parametrize("told", [None, 1_800_000_000, "2027-01-15T08:00:00Z", "yesterday", True, [], {}])
async def test_the_time_is_for_the_record(told: Any, run: Run, registrar: RawRegistrar) -> None:
    async with run() as house:
        await registered(house, registrar, time=told)
        assert (await shows(house, LicenseState.REGISTERED))["clock_skew_seconds"] is None


@pytest.mark.parametrize("phase", PHASES)
async def test_an_unsigned_refusal_is_a_lost_connection(phase: str, run: Run, registrar: RawRegistrar) -> None:
    async with run() as house:
        caller = await come(house, registrar, phase)
        await caller.say({"type": "refused", "reason": "revoked"})
        await caller.gone()
        again = await registrar.call()
        assert counted(house)["refused"] == 1
        state = LicenseState.GRACE if phase in {"registered", "asked"} else LicenseState.UNREGISTERED
        assert house.runtime.registration.state is state
        await again.accept()
        await until(lambda: house.runtime.registration.state is LicenseState.REGISTERED)


@pytest.mark.parametrize("phase", PHASES)
async def test_who_lies_without_end_is_hung_up_on(phase: str, run: Run, registrar: RawRegistrar) -> None:
    async with run() as house:
        caller = await come(house, registrar, phase)
        await caller.send((json.dumps({"type": "revoked", "reason": "revoked", "mac": "00"}).encode() + b"\n") * 5000)
        await caller.gone()
        assert counted(house)["forged"] == 16
        assert house.runtime.registration.state in {LicenseState.GRACE, LicenseState.UNREGISTERED}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("line", [b"x" * 5000, b'{"x":"' + b"x" * 5000 + b'"}\n'])
async def test_an_oversize_line_ends_the_conversation(
    line: bytes, phase: str, run: Run, registrar: RawRegistrar
) -> None:
    async with run() as house:
        caller = await come(house, registrar, phase)
        await caller.send(line)
        await caller.gone()
        await registrar.call()
        assert counted(house)["malformed"] == 1


@pytest.mark.parametrize("phase", PHASES)
async def test_a_registrar_that_hangs_up_is_called_again(phase: str, run: Run, registrar: RawRegistrar) -> None:
    async with run() as house:
        for number in range(5):
            (await come(house, registrar, phase if number == 0 or phase != "asked" else "challenged")).close()
        await until(lambda: house.runtime.registration.checks["lost"] == 5)
        await registered(house, registrar)


@pytest.mark.parametrize("drip", [False, True])
@pytest.mark.parametrize("phase", ["new", "challenged"])
async def test_an_answer_has_a_deadline_whatever_drips_in(
    phase: str, drip: bool, run: Run, registrar: RawRegistrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_agent, "CONNECT_TIMEOUT", 0.2)
    async with run() as house:
        caller = await come(house, registrar, phase)
        while drip and not caller.writer.transport.is_closing():
            await caller.send(b" ")
            await asyncio.sleep(0.001)  # as often as may be without a message that is too long
        await caller.gone()
        assert counted(house)["late"] >= 1
        assert house.runtime.registration.state is LicenseState.UNREGISTERED


@pytest.mark.parametrize("phase", ["asked"])
async def test_a_registrar_that_falls_silent_is_given_up(
    phase: str, run: Run, registrar: RawRegistrar, time: Time
) -> None:
    async with run(registration__grace="1s") as house:
        caller = await registrar.call()
        await caller.accept(interval_seconds=1)
        assert (await caller.hear())["type"] == "verify", phase
        await caller.gone()
        assert counted(house) == {"accepted": 1, "late": 1}
        await shows(house, LicenseState.GRACE)
        time.go(1)
        await shows(house, LicenseState.EXPIRED)


async def test_where_nobody_listens_it_is_tried_again_and_said_once(
    run: Run, registrar: RawRegistrar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tallygate.agent")
    async with run(registration__server="127.0.0.1:1") as house:
        await until(lambda: house.runtime.registration.checks["unreachable"] >= 5)
        assert house.runtime.registration.state is LicenseState.UNREGISTERED
    said = [each.getMessage() for each in caplog.records]
    assert said == ["registration server 127.0.0.1 port 1: Connection refused"]
    assert registrar.calls == 0


async def test_a_fault_of_our_own_does_not_end_the_attempts(
    run: Run, registrar: RawRegistrar, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(json_lines, "encode", None)
    async with run() as house:
        await until(lambda: house.runtime.registration.checks["lost"] >= 2)
        monkeypatch.undo()
    assert "the conversation with the registration server failed" in caplog.text
    assert registrar.calls >= 2


async def test_it_tells_who_it_is_and_what_it_uses(
    run: Run, registrar: RawRegistrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(license_status, "PACE", 0.0)
    async with run(license__model="trueconf", registration__installation="here-1") as house:
        caller = await registered(house, registrar)
        assert await caller.hear()
        wire = await house.welcomed(account="ann")
        await wire.ask("join", conference="c", host=True)
        await caller.say(caller.verified(1))
        verify = await caller.hear()
        assert verify == caller.sealed(
            {"type": "verify", "seq": 2, "used": {"online": 1, "pro": 1, "guest": 0, "gateway": 0}}
        )
        nonce, register = caller.register["nonce"], caller.register
        assert {**register, "nonce": "", "version": ""} == {
            "type": "register",
            "protocol": 1,
            "server": "here-1",
            "serial": "S-1",
            "version": "",
            "nonce": "",
        }
        silent = await lost(house, caller, registrar)
        again = await silent.hear()
        assert again["ticket"] == "t-1", "the last one that it was given"
        assert again["nonce"] != nonce


async def test_clients_notice_nothing_of_a_registrar_that_is_mad(run: Run, registrar: RawRegistrar) -> None:
    async with run(listen__message_rate=0) as house:
        (await registered(house, registrar)).close()
        names = [(transport, f"a{number}") for transport in ("tcp", "websocket") for number in range(5)]
        clients = [await house.welcomed(transport, account=f"{transport}-{name}") for transport, name in names]
        for turn in range(30):
            caller = await registrar.call()
            if turn % 3:
                caller.register = await caller.hear()
            if turn % 2:
                await caller.send(b'{"type":"verified"}\n' * 2000 + bytes(range(256)) * 100)
            else:
                caller.close()
            for client in clients:
                await client.say("heartbeat", seq=turn)
            for client in clients:
                assert await client.hear() == {"type": "ack", "seq": turn}
        assert house.runtime.registration.state is LicenseState.GRACE
        assert (await clients[0].ask("join", conference="c", host=True))["type"] == "joined"


async def test_what_kept_the_license_from_being_verified_is_told_until_it_is(
    license: License, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_agent, "Backoff", lambda: Backoff(0.01, 0.01))
    key = tmp_path / "another.key"
    key.write_text("00" * 32)
    house = await license({"edition": "server"}, registered=False, registration__key_file=key)
    await until(lambda: house.runtime.registration.trouble != "")
    _, told = await house.http("GET", "/api/registration")
    assert told["reason"] == (
        "no registration server has confirmed the license yet"
        " (turned away: bad_credential, the serial is not one that it sold, or the key is another)"
    )
    status, ready = await house.http("GET", "/readyz")
    assert (status, ready) == (503, f"registration unregistered: {told['reason']}\n")
    registrar = house.registrar
    assert registrar is not None
    house.runtime.registration.key = registrar.runtime.registrar.registrar.licenses["S-0"].key
    await until(lambda: house.runtime.registration.state is LicenseState.REGISTERED)
    assert house.runtime.registration.trouble == ""
    assert (await house.http("GET", "/api/registration"))[1]["reason"] is None
