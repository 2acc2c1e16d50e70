"""Nobody buys time: random lives of a licensed gateway, against an account of true time that the gateway cannot see.

A real agent and a real registrar talk; the wire loses, forges and repeats; the machine is killed, restarted, switched
off and put to sleep; its wall clock is set at will; its store is kept, lost, changed, or put back from a copy.

The rule: nothing is granted at or after the last verified answer + grace, in true time. A gateway knows true time by
its clock since the start of the machine and by the wall clock. What neither can tell is how long it was off, where the
wall clock is behind; so the bound is exact and no wider: service is longer by the time off that no clock has told
since, which is at most the time off, and at most what the wall clock is behind where it stood then. With an honest
clock, or without a power switch, that is nothing; and what a clock has told once cannot be taken back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.core.registration.agent_protocol import UNTRUSTED, AgentConversation, Phase, Received, Verdict
from gateway.core.registration.authentication import sealed
from gateway.core.registration.license_status import GRANTING, ClockReading, LicenseState, LicenseStatus
from gateway.core.registration.registrar import Registrar, RegistrarConversation, Reply
from gateway.core.wire.json_lines import Message
from gateway.licensing import OFFERS

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
SERIAL = "DEMO-1"
START = 1_800_000_000
NOTE_EVERY = 20
"""Seconds between two notes, as the gateway takes them."""
SET_BACK = 300
"""Seconds that the wall clock may be behind its high-water mark."""

spans = st.sampled_from([0, 1, 4, 5, 9, 10, 19, 20, 21, 60, 99, 100, 299, 301, 3600, 21_600, 43_199, 43_200, 90_000])
jumps = st.sampled_from([-90_000, -3600, -301, -300, -299, -60, -1, 1, 60, 299, 301, 3600, 43_200])
setbacks = st.sampled_from([-3600, 0, 0, 0, 1, 60, 299, 300, 301, 3600, 43_200])
flags = st.booleans()


@dataclass(frozen=True)
class Account:
    """What is true since the last accepted answer, in seconds of true time, beside what the gateway could see.

    `offset` is how far the wall clock was ahead of true time then. `off` is how long the machine was off since, or ran
    without leaving a note; `lag` how much of that no clock has told. `high` is the latest wall time that was noted.
    """

    accepted: int | None = None
    offset: int = 0
    off: int = 0
    lag: int = 0
    high: int = 0
    revoked: bool = False

    def seen(self, wall: int, offset: int) -> Account:
        """The wall clock was looked at."""
        return replace(self, lag=self.lag_by(offset), high=max(self.high, wall))

    def lag_by(self, offset: int) -> int:
        """What no clock has told, of which the wall clock that is ahead by `offset` tells some, or too much."""
        return min(self.lag, self.offset - offset)


@dataclass(frozen=True)
class Kept:
    """What is on disk, and what was true when it was written."""

    document: dict[str, Any]
    account: Account
    true: int
    life: int
    server: str


class Life(RuleBasedStateMachine):
    """Whatever may happen to a gateway, its clocks, its disk, and its connection to the registrar."""

    @initialize(
        grace=st.sampled_from([5, 100, 43_200]),
        interval=st.sampled_from([1, 30, 600, 86_400]),
        needs=st.sampled_from([True, True, True, False]),
        end=st.sampled_from([None, None, 50, 3600, 100_000]),
        registered=flags,
    )
    def open(self, grace: int, interval: int, needs: bool, end: int | None, registered: bool) -> None:
        numbers = itertools.count(1)
        self.draw: Callable[[], str] = lambda: f"{next(numbers):032x}"
        self.true, self.offset, self.boot, self.life = START, 0, 1000, 1
        self.grace, self.needs = grace, needs
        self.end = None if end is None else START + end
        self.window = min(max(10, interval), grace) if needs else max(10, interval)
        self.registrar = Registrar(self.draw, interval)
        self._sell()
        self.kept: Kept | None = None
        self.copies: list[Kept] = []
        self.tape: list[Message] = []
        """All that the registrar has ever said."""
        self.servers = 0
        self.server = "gw-0"
        self._run(None)
        if registered:
            self.register(lost="")

    # -- the world -------------------------------------------------------------------------------------------------

    @property
    def wall(self) -> int:
        return self.true + self.offset

    def _moment(self) -> ClockReading:
        return ClockReading(self.wall, self.boot, str(self.life))

    def _state(self) -> LicenseState:
        return self.standing.state(self._moment())

    def _sell(self) -> None:
        terms = {"edition": "free", "needs_connection": self.needs, "not_after": self.end}
        self.registrar.issue(SERIAL, terms, OFFERS, KEY, self.true)

    def _run(self, kept: Kept | None) -> None:
        """A process begins, with what is on disk."""
        self.standing = LicenseStatus(self.grace, needed=True)
        self.agent: AgentConversation | None = None
        self.talk: RegistrarConversation | None = None
        self.noted = self.boot
        if kept is None:
            self.account = Account()
            return
        assert self.standing.restore(kept.document, SERIAL, KEY, OFFERS, self._moment())
        self.account = kept.account
        if kept.life != self.life:
            unknown = self.true - kept.true
            self.account = replace(self.account, off=self.account.off + unknown, lag=self.account.lag + unknown)
        self.account = self.account.seen(self.wall, self.offset)

    def _note(self) -> None:
        """Write down how far time has come."""
        self.noted = self.boot
        self.standing.record_time(self._moment())
        self.account = self.account.seen(self.wall, self.offset)
        document = self.standing.to_json(SERIAL, KEY, str(self.life))
        self.kept = Kept(document, self.account, self.true, self.life, self.server)

    def _look(self) -> None:
        if self.account.accepted is not None and self.boot - self.noted >= NOTE_EVERY:
            self._note()

    def _pass(self, seconds: int) -> None:
        self.true += seconds
        self.boot += seconds

    def _drop(self, *, told: bool = True) -> None:
        """The connection is over; the registrar may not know."""
        if self.talk is not None and told:
            self.registrar.end(self.talk)
        self.agent = self.talk = None
        self.standing.lose()

    def _hear(self, heard: Received) -> None:
        """Act upon what a registrar has provably said, as the gateway does."""
        at = self._moment()
        if heard.verdict in {Verdict.REGISTERED, Verdict.VERIFIED}:
            if heard.grant is not None:
                self.standing.accept(heard.grant, heard.interval, heard.ticket, at)
            else:
                self.standing.confirm(heard.ticket, at)
            self.account = Account(self.true, self.offset, high=self.wall)
            assert (self._state() in GRANTING) is (self.end is None or self.wall <= self.end)
        elif heard.verdict is Verdict.REVOKED or heard.reason in {"revoked", "expired"}:
            self.standing.revoke(heard.reason)
            self.account = replace(self.account, revoked=True)
        self._note()

    def _said(self, reply: Reply) -> Message:
        assert reply.answer is not None
        self.tape.append(reply.answer)
        return reply.answer

    # -- the conversation ------------------------------------------------------------------------------------------

    @rule(lost=st.sampled_from(["", "", "", "register", "challenge", "proof", "answer"]))
    def register(self, lost: str) -> None:
        """Connect; one of the four messages may be the last that arrives nowhere."""
        self._drop()
        ticket = self.standing.ticket
        agent = AgentConversation(
            KEY, OFFERS, server=self.server, serial=SERIAL, version="v", nonce=self.draw(), ticket=ticket
        )
        talk = RegistrarConversation("192.0.2.1")
        self.agent, self.talk = agent, talk
        if lost == "register":
            return
        challenge = self._said(self.registrar.receive(talk, agent.register, self.true))
        if lost == "challenge":
            return
        proof = agent.receive(challenge).answer
        assert proof is not None
        if lost == "proof":
            return
        license, others = self.registrar.licenses[SERIAL], self.registrar.conversations.values()
        taken = any(other.register["server"] != self.server for other in others)
        reply = self.registrar.receive(talk, proof, self.true)
        answer = self._said(reply)
        if lost == "answer":
            self._drop()
            return
        heard = agent.receive(answer)
        good = license.state(self.true) == "active"
        assert heard.verdict is (Verdict.REGISTERED if good and not taken else Verdict.REFUSED)
        if heard.verdict is Verdict.REFUSED:
            self._drop()
        self._hear(heard)

    @precondition(lambda self: self.agent is not None and self.agent.phase is Phase.NOTHING)
    @rule(lost=st.sampled_from(["", "", "", "verify", "answer"]))
    def verify(self, lost: str) -> None:
        """Ask to be verified again."""
        assert self.agent is not None
        assert self.talk is not None
        asked = self.agent.verify({"pro": 1})
        if lost == "verify":
            return
        answer = self._said(self.registrar.receive(self.talk, asked, self.true))
        if lost == "answer":
            self._drop()
            return
        heard = self.agent.receive(answer)
        assert heard.verdict is (Verdict.VERIFIED if self.end is None or self.true <= self.end else Verdict.REVOKED)
        if heard.verdict is Verdict.REVOKED:
            self._drop()
        self._hear(heard)

    @rule(told=flags)
    def lose(self, told: bool) -> None:
        """The connection breaks."""
        self._drop(told=told)

    @precondition(lambda self: self.registrar.licenses[SERIAL].revoked is None)
    @rule(arrives=flags)
    def revoke(self, arrives: bool) -> None:
        """The operator of the registrar revokes the license; a connected server is told."""
        told = self.registrar.revoke(SERIAL, self.true)
        if told is None:
            return
        talk, reply = told
        answer = self._said(reply)
        if talk is self.talk and self.agent is not None:
            if arrives:
                heard = self.agent.receive(answer)
                assert heard.verdict is Verdict.REVOKED
                self._drop()
                self._hear(heard)
                assert self._state() is LicenseState.REVOKED
            else:
                self._drop()

    @precondition(lambda self: self.registrar.licenses[SERIAL].revoked is not None)
    @rule()
    def sell_anew(self) -> None:
        """What was revoked is sold again."""
        self.registrar.remove(SERIAL)
        self._sell()

    # -- what attackers say ----------------------------------------------------------------------------------------

    def _attacked(self, challenge: Message) -> AgentConversation:
        """The conversation that is under way, or one that the attacker begins."""
        if self.agent is None:
            self.talk = RegistrarConversation("192.0.2.1")
            self.agent = AgentConversation(
                KEY, OFFERS, server=self.server, serial=SERIAL, version="v", nonce=self.draw(), ticket="t"
            )
        if self.agent.phase is Phase.CHALLENGE:
            self.agent.receive(challenge)
        return self.agent

    def _unmoved(self, agent: AgentConversation, message: Message) -> None:
        document = self.standing.to_json(SERIAL, KEY, "")
        heard = agent.receive(message)
        assert heard.verdict in {*UNTRUSTED, Verdict.TURNED_AWAY}
        assert heard == Received(heard.verdict, reason=heard.reason)
        assert self.standing.to_json(SERIAL, KEY, "") == document
        if heard.verdict is Verdict.TURNED_AWAY or agent.too_many_untrusted:
            self._drop()

    @rule(
        type=st.sampled_from(["registered", "verified", "revoked", "refused"]),
        key=st.sampled_from([OTHER_KEY, bytes(32), None]),
        seq=st.integers(1, 3),
        noise=st.dictionaries(st.sampled_from(["mac", "seq", "reason", "more"]), st.text(max_size=3) | st.integers()),
    )
    def forge(self, type: str, key: bytes | None, seq: int, noise: Message) -> None:
        """Somebody without the key answers."""
        agent = self._attacked({"type": "challenge", "nonce": "0" * 32})
        body: Message = {"type": type, "seq": seq, "reason": "revoked", "ticket": "x", "model": "trueconf"}
        body |= {"interval_seconds": 86_400, "edition": "free", "needs_connection": False, **noise}
        self._unmoved(agent, body if key is None else sealed(key, agent._nonces, {**body, "mac": None}))

    @precondition(lambda self: self.tape)
    @rule(place=st.integers(0, 100), crowd=st.integers(1, 3))
    def replay(self, place: int, crowd: int) -> None:
        """What the registrar has said before is said again, from its challenge on if that is asked for."""
        start = place % len(self.tape)
        said = self.tape[start : start + crowd]
        challenges = [each for each in said if each["type"] == "challenge"] or [
            {"type": "challenge", "nonce": "0" * 32}
        ]
        self._attacked(challenges[0])
        for message in said:
            if self.agent is not None:
                self._unmoved(self.agent, message)

    # -- time, and what is done to clocks --------------------------------------------------------------------------

    @rule(seconds=spans, rest=st.integers(0, NOTE_EVERY - 1))
    def wait(self, seconds: int, rest: int) -> None:
        """Time passes, with a look at it now and then."""
        self._pass(seconds)
        self._look()
        self._pass(rest)
        self._look()

    @precondition(lambda self: self.account.accepted is not None)
    @rule(what=st.sampled_from(["grace", "window", "end"]), beside=st.sampled_from([-1, 0, 0, 1]))
    def approach(self, what: str, beside: int) -> None:
        """Time passes until something is about to happen, or just has."""
        assert self.account.accepted is not None
        due = self.account.accepted + (self.grace if what == "grace" else self.window)
        due += self.account.lag_by(self.offset) if what == "grace" else 0
        due = self.end - self.offset if what == "end" and self.end is not None else due
        self._pass(max(due + beside - self.true, 0))
        self._look()

    @rule(seconds=spans, looks=flags)
    def suspend(self, seconds: int, looks: bool) -> None:
        """The machine sleeps."""
        self._pass(seconds)
        if looks:
            self._look()

    @rule(seconds=jumps)
    def set_clock(self, seconds: int) -> None:
        """Somebody sets the wall clock."""
        self.offset += seconds

    @rule()
    def set_clock_right(self) -> None:
        """The wall clock is set to true time."""
        self.offset = 0

    @precondition(lambda self: self.account.accepted is not None)
    @rule(behind=st.sampled_from([299, 300, 301]))
    def set_clock_to_the_brink(self, behind: int) -> None:
        """Somebody knows how far a clock may be set back."""
        self.offset = self.account.high - behind - self.true

    # -- ends and beginnings ---------------------------------------------------------------------------------------

    @rule(clean=flags, told=flags, seconds=spans)
    def restart(self, clean: bool, told: bool, seconds: int) -> None:
        """The process ends, with a note or by kill -9, and begins again."""
        self._drop(told=told)
        if clean and self.account.accepted is not None:
            self._note()
        self._pass(seconds)
        self._run(self.kept)

    @rule(clean=flags, told=flags, seconds=spans, setback=setbacks, later=st.sampled_from([0, 0, -299, -60, 60]))
    def reboot(self, clean: bool, told: bool, seconds: int, setback: int, later: int) -> None:
        """The machine is switched off, and on again with a wall clock that may have been set, and may be set again."""
        self._switch_off(clean=clean, told=told)
        self.true += seconds
        self.offset -= setback
        self._run(self.kept)
        self.offset += later

    @rule(seconds=spans, told=flags)
    def reboot_with_a_clock_that_stood_still(self, seconds: int, told: bool) -> None:
        """The machine is switched off, and its wall clock is set to where it was."""
        self._switch_off(clean=True, told=told)
        self.true += seconds
        self.offset -= seconds
        self._run(self.kept)

    def _switch_off(self, *, clean: bool, told: bool) -> None:
        self._drop(told=told)
        if clean and self.account.accepted is not None:
            self._note()
        self.life += 1
        self.boot = 10

    # -- the store -------------------------------------------------------------------------------------------------

    @rule(told=flags)
    def delete_the_store(self, told: bool) -> None:
        """What is on disk is gone, and the name of the installation with it."""
        self._drop(told=told)
        self.kept = None
        self.servers += 1
        self.server = f"gw-{self.servers}"
        self._run(None)
        assert self._state() is LicenseState.UNREGISTERED

    @precondition(lambda self: self.kept is not None)
    @rule(
        field=st.sampled_from(["accepted", "high", "latest", "boot", "interval", "revoked", "grant", "life", "serial"]),
        value=st.none() | st.integers(START * 1000, START * 2000) | st.text(max_size=3),
    )
    def change_the_store(self, field: str, value: object) -> None:
        """What is on disk is changed by somebody without the key: nothing is taken from it."""
        assert self.kept is not None
        if self.kept.document[field] == value:
            return
        changed = {**self.kept.document, field: value}
        standing = LicenseStatus(self.grace, needed=True)
        assert not standing.restore(changed, SERIAL, KEY, OFFERS, self._moment())
        assert standing.state(self._moment()) is LicenseState.UNREGISTERED
        assert not LicenseStatus(self.grace, needed=True).restore(
            self.kept.document, SERIAL, OTHER_KEY, OFFERS, self._moment()
        )

    @precondition(lambda self: self.kept is not None)
    @rule()
    def copy_the_store(self) -> None:
        """Somebody keeps a copy of the disk."""
        assert self.kept is not None
        self.copies.append(self.kept)

    @precondition(lambda self: self.copies)
    @rule(place=st.integers(0, 20), told=flags)
    def put_a_copy_back(self, place: int, told: bool) -> None:
        """The disk is as it was when it was copied: time is not."""
        self._drop(told=told)
        self.kept = self.copies[place % len(self.copies)]
        self.server = self.kept.server
        self._run(self.kept)

    # -- the rule --------------------------------------------------------------------------------------------------

    @invariant()
    def nobody_buys_time(self) -> None:
        """The rule of the module, by true time; and nothing at all for who was never registered, or is revoked."""
        account, granting = self.account, self._state() in GRANTING
        if account.accepted is None or account.revoked:
            assert not granting
            return
        untold = max(account.lag_by(self.offset), 0)
        assert untold <= min(account.off, max(account.offset - self.offset, 0))
        if self.needs and granting:
            assert self.true < account.accepted + self.grace + untold
        if self.end is not None and granting:
            assert self.true + account.offset <= self.end + untold

    @invariant()
    def nobody_loses_time(self) -> None:
        """The state is the one that follows from true time, the clocks and the power switch, to the second."""
        assert self._state() is self._due_state()

    def _due_state(self) -> LicenseState:
        account = self.account
        if account.revoked:
            return LicenseState.REVOKED
        if account.accepted is None:
            return LicenseState.UNREGISTERED
        passed = self.true - account.accepted
        known = passed - account.lag_by(self.offset)
        if self.end is not None and account.accepted + account.offset + known > self.end:
            return LicenseState.EXPIRED
        fresh = self.standing.connected and passed < self.window
        if self.needs:
            if not fresh and known >= self.grace:
                return LicenseState.EXPIRED
            if self.wall < account.high - SET_BACK:
                return LicenseState.CLOCK_ROLLBACK
        return LicenseState.REGISTERED if fresh else LicenseState.GRACE

    @invariant()
    def the_countdown_is_what_is_left(self) -> None:
        """What an operator is told runs to zero when service ends, and not before."""
        at, account = self._moment(), self.account
        due, left = self.standing.shutdown_at(at), self.standing.left(at)
        if due is None or account.accepted is None:
            return
        assert due == account.accepted + account.offset + self.grace
        assert left == max(self.grace - (self.true - account.accepted) + account.lag_by(self.offset), 0)


def test_nobody_buys_time() -> None:
    many = settings(max_examples=4 * settings().max_examples, stateful_step_count=40)
    run_state_machine_as_test(Life, settings=many)
