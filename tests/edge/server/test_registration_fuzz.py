"""Valid conversations of the registration check with bytes flipped, cut, doubled and put in, cut anywhere on their way.

Whether something may be believed is judged here by the protocol's text alone: by the code that it carries.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.core.registration.license_status import LicenseState
from gateway.edge.gateway import running
from tests.conftest import House, settings_of, until
from tests.edge.registering import KEY, Caller, RawAgent, code, raw_registrar, text

NONCE = "ab" * 16
"""What the registrar draws here, always."""
END = b"\n\x00\n"
"""What ends every conversation: no message."""


class Edit(NamedTuple):
    """One change of a stream: `what` at `place`, a part of its length."""

    what: str
    place: float
    data: bytes

    def apply(self, stream: bytes) -> bytes:
        """The changed stream."""
        at = int(self.place * len(stream))
        size = len(self.data)
        if self.what == "flip":
            return (
                stream[:at] + bytes(a ^ b for a, b in zip(stream[at:], self.data, strict=False)) + stream[at + size :]
            )
        if self.what == "cut":
            return stream[:at] + stream[at + size * 8 :]
        if self.what == "double":
            return stream[: at + size * 64] + stream[at:]
        return stream[:at] + self.data + stream[at:]


places = st.floats(0, 1, exclude_max=True)
inserted = st.binary(min_size=1, max_size=8) | st.sampled_from([b"\n", b"\r\n", b" ", b"{", b'"', b"\\u0000", b"1e9"])
edits = st.lists(
    st.builds(Edit, st.sampled_from(["flip", "cut", "double", "insert"]), places, inserted), min_size=1, max_size=5
)
chunks = st.lists(places, max_size=6)
fuzz = settings(max_examples=5 * settings().max_examples // 2, suppress_health_check=[HealthCheck.too_slow])


def cut(stream: bytes, places: list[float]) -> Iterator[bytes]:
    """The stream in pieces."""
    marks = sorted({0, len(stream), *(int(place * len(stream)) for place in places)})
    return (stream[start:end] for start, end in itertools.pairwise(marks))


def lines(*messages: dict[str, Any]) -> bytes:
    """Messages as they are sent."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in messages)


def understood(stream: bytes) -> list[dict[str, Any]]:
    """Every object that anybody could read out of a stream."""
    found = []
    for line in stream.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict):
                found.append(message)
    return found


def proves(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether the second message proves the first."""
    try:
        return second.get("mac") == code(KEY, "agent", text(first), NONCE)
    except UnicodeEncodeError:
        return False


def genuine(message: dict[str, Any], nonces: set[str], mine: str) -> bool:
    """Whether a message carries the code of a conversation with one of these nonces."""
    try:
        words = text(message)
        return any(message["mac"] == code(KEY, str(message["type"]), mine, each, words) for each in nonces)
    except (KeyError, UnicodeEncodeError):
        return False


class Faults(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self, faults: list[Any]) -> None:
        super().__init__(logging.ERROR)
        self.faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.faults.append(record.getMessage())


@contextlib.asynccontextmanager
async def watched(**overrides: Any) -> AsyncIterator[House]:
    """A gateway in which nothing may fail."""
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    handler = Faults(faults)
    log = logging.getLogger("tallygate")
    log.addHandler(handler)
    try:
        async with contextlib.AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(running(settings_of(**overrides)))
            yield House(gateway, stack)
    finally:
        log.removeHandler(handler)
    assert faults == []


# -- the registrar ---------------------------------------------------------------------------------------------------


async def at_the_registrar(changes: list[Edit], marks: list[float]) -> tuple[int, int]:
    """Say a whole conversation, changed; how often a license was registered and verified."""
    async with watched() as house:
        service = house.runtime.registrar
        service.issue("S-1", {"edition": "free"})
        service.registrar.licenses["S-1"] = service.registrar.licenses["S-1"]._replace(key=KEY)
        service.registrar._draw = lambda: NONCE
        async with await RawAgent.at(house, KEY) as peer:
            register, peer.theirs = peer.opening(note="é"), NONCE
            seals = [peer.sealed({"type": "verify", "seq": seq, "used": {"pro": seq}}) for seq in (1, 2)]
            stream = lines(register, peer.proof(), *seals)
            for change in changes:
                stream = change.apply(stream)
            for piece in cut(stream + END, marks):
                with contextlib.suppress(ConnectionError):
                    await peer.send(piece)
                await asyncio.sleep(0)
            heard = [json.loads(line)["type"] for line in (await peer.rest()).splitlines()]
        await until(lambda: not service.listener.connections.held)
        assert not service.registrar.conversations
        assert not service.listener.connections.connected
        said = understood(stream)
        proven = [each for each in said if any(proves(each, other) for other in said)]
        registered, verified = service.results["registered"], service.results["verified"]
        assert registered <= bool(proven)
        assert heard.count("registered") <= registered
        assert heard.count("verified") <= verified
        nonces = f"{proven[0]['nonce']}\n{NONCE}" if proven else ""
        assert verified <= sum(genuine(each, {NONCE}, nonces.partition("\n")[0]) for each in said) * bool(proven)
        return registered, verified


def test_an_unchanged_conversation_is_registered() -> None:
    for marks in ([], [0.1, 0.2, 0.5, 0.9], [place / 50 for place in range(50)]):
        assert asyncio.run(at_the_registrar([], marks)) == (1, 2)


@fuzz
@given(changes=edits, marks=chunks)
@example(changes=[Edit("insert", 0.0, b" ")], marks=[])
@example(changes=[Edit("double", 0.3, b"x" * 8)], marks=[])
def test_the_registrar_registers_only_who_has_proven_it_and_always_ends(
    changes: list[Edit], marks: list[float]
) -> None:
    asyncio.run(at_the_registrar(changes, marks))


# -- the agent -------------------------------------------------------------------------------------------------------


class Eager:
    """No wait between two attempts."""

    def delay(self, *_: object) -> float:
        """None."""
        return 0.0


async def at_the_agent(changes: list[Edit], marks: list[float], start: LicenseState, key: Path) -> LicenseState:
    """Answer an agent in state `start` with a whole conversation, changed; its state after it."""
    async with raw_registrar(KEY) as registrar:
        given = {"registration__role": "agent", "registration__server": f"127.0.0.1:{registrar.port}"}
        async with watched(**given, registration__serial="S-1", registration__key_file=key) as house:
            registration = house.runtime.registration
            house.gateway.agent._backoff = Eager()  # type: ignore[assignment]
            if start is not LicenseState.UNREGISTERED:
                caller = await registrar.call()
                await caller.accept()
                await until(lambda: registration.state is LicenseState.REGISTERED)
                caller.close()
            caller = await registrar.call()
            caller.register = await caller.hear()
            before = registration.status.to_json("S-1", KEY, "")
            stream = lines(
                {"type": "challenge", "nonce": NONCE}, caller.registered(ticket="new"), *revoking(caller, start)
            )
            for change in changes:
                stream = change.apply(stream)
            for piece in cut(stream, marks):
                await caller.send(piece)
                await asyncio.sleep(0)
            if not caller.writer.transport.is_closing():
                with contextlib.suppress(OSError):
                    caller.writer.write_eof()
            await registrar.call()  # its task lives, and comes again
            await until(lambda: not registration.status.connected)
            said = understood(stream)
            nonces = {str(each.get("nonce")) for each in said if each.get("type") == "challenge"}
            believed = {each["type"] for each in said if genuine(each, nonces, caller.register["nonce"])}
            after = registration.status.to_json("S-1", KEY, "")
            if not believed:
                assert after == before
            if registration.state is LicenseState.REVOKED:
                assert "revoked" in believed
            if registration.status.ticket == "new":
                assert "registered" in believed
            return registration.state


def revoking(caller: Caller, start: LicenseState) -> list[dict[str, Any]]:
    """A genuine end of the license, where it is in use."""
    if start is LicenseState.UNREGISTERED:
        return []
    return [caller.sealed({"type": "revoked", "reason": "revoked"})]


def test_an_unchanged_conversation_is_believed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY.hex())
    for marks in ([], [0.1, 0.2, 0.5, 0.9]):
        assert asyncio.run(at_the_agent([], marks, LicenseState.UNREGISTERED, tmp_path / "key")) is LicenseState.GRACE
        assert asyncio.run(at_the_agent([], marks, LicenseState.REGISTERED, tmp_path / "key")) is LicenseState.REVOKED


@settings(fuzz, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(changes=edits, marks=chunks, start=st.sampled_from([LicenseState.UNREGISTERED, LicenseState.REGISTERED]))
def test_the_agent_believes_only_what_is_genuine_and_never_dies(
    changes: list[Edit], marks: list[float], start: LicenseState, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY.hex())
    asyncio.run(at_the_agent(changes, marks, start, tmp_path / "key"))
