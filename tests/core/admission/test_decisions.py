"""Random lives of a gateway, under every model: after each step everything is recounted by hand.

The mirror follows the answers that were given and retells the rules from scratch; the state must agree with it in every
pool of every model, enforced or in shadow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
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

from gateway.core.admission import commands as c
from gateway.core.admission.bans import BanSubject
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.decision import Decision, Served
from gateway.core.admission.idle_seats import IdleSeats
from gateway.core.admission.replies import entitlements
from gateway.core.admission.snapshot import PoolView, Snapshot, snapshot
from gateway.core.admission.state import State
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.pool_rule import RuleTerms
from gateway.core.counting.session import Session
from gateway.core.wire.json_lines import Message
from gateway.licensing import MODELS
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.admission.mirror import ABRUPT, LEASE, Mirror, Person, Room, Tale
from tests.core.admission.mirror_lines import Foretelling, InLine, LineName, MirrorLines, Short
from tests.core.admission.mirror_rules import MirrorRules
from tests.core.harnesses import DIGEST, LicensedHarness, prove
from tests.core_harness import answer

WINDOW = 90.0
RESUME_WINDOW = 60.0
MAX_RESUMABLE = 2
BAN = 7 * 3600.0
ACCOUNTS = ["ann", "o'brien@ex.ie", "jörg müller", "ann/far"]
"""One could be ann of the home `far`, were the two joined to one text."""
ROOMS = ["a", "wöchentlich / b"]
CAUSES = ["bye", "closed", "reset", "heartbeat_timeout", "kicked", "drained", "node_lost"]

BANNED = [
    BanSubject("account", "ann", "far"),
    BanSubject("guests", "192.0.2.1"),
    BanSubject("address", "192.0.2.1"),
    BanSubject("network", "192.0.2.2/31"),
    BanSubject("network", "192.0.0.0/16"),
]

VERBS = ["revoke", "revoke", "forget", "register", "name_host", "name_host", "unname", "ban", "lift", "kick"]
SPANS = [0.4, 1.0, 7.0, 60.0, 100.0, 6 * 3600.0, 12 * 3600.0, 24 * 3600.0]

RULED: dict[str, list[Any]] = {
    "pool": [0, 1, 2, 3],
    "group": ["", "", "", "", *(f"rank {account}" for account in ACCOUNTS)],
    "account": ["", "", "", "ann"],
    "home": ["", "", "far"],
    "network": ["", "", "", "192.0.2.1/32", "192.0.2.2/31"],
    "kind": ["", "", "", "sip"],
    "each": ["", "account", "device", "address"],
    "most": [1000, 1000, 1000, None, 0, 1, 1, 2],
    "reserve": [0, 0, 0, 1, 2],
}
"""For which pool rules for seats are, of whom, whom they count apart, and how many seats they are about."""

NOWHERE = LineName("")

accounts = st.sampled_from(ACCOUNTS)
rooms = st.sampled_from(ROOMS)
places = st.integers(0, 7)
waits = st.sampled_from([1, 30, 3600, 3600, 86_400])
flags = st.booleans()
seldom = st.sampled_from([False, False, False, True])
persons = st.builds(
    Person,
    kind=st.sampled_from(["app"] * 8 + ["sip", "sdk", "console"]),
    account=st.sampled_from([*ACCOUNTS, *ACCOUNTS, None]),
    device=st.sampled_from(["pc", "tv/2", None]),
    home=st.sampled_from([""] * 8 + ["far", "unknown"]),
    address=st.sampled_from(["192.0.2.1", "192.0.2.1", "192.0.2.2"]),
    groups=st.sampled_from(
        [(), (), (), (f"rank {ACCOUNTS[0]}",), tuple(f"rank {account}" for account in ACCOUNTS[:2])]
    ),
)
rule_fields = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in RULED.items()})


def picture(state: State) -> Any:
    """All that a refused request must leave as it is: everything but the denials of the enforced model."""
    return (
        [
            {
                name: (
                    {key: [id(claim) for claim in pool.claims.values_of(key)] for key in pool.claims},
                    {key: (lease.since, lease.expires, lease.deleted) for key, lease in pool.leases.items()},
                    list(pool.reservations),
                    {key: (linger.until, linger.cause) for key, linger in pool.lingering.items()},
                    {key: (claim.until, claim.owner) for key, claim in pool.returning.items()},
                    pool.grants,
                    dict(pool.releases),
                    dict(pool.denial_counts) if ledger is not state.primary else None,
                )
                for name, pool in ledger.pools.items()
            }
            for ledger in state.ledgers
        ],
        {
            number: (
                each.awake,
                each.peer_address,
                each.generation,
                [room.id for room in each.conferences],
                list(each.seats),
            )
            for number, each in state.sessions.by_number.items()
        },
        dict(state.resumable),
        {
            name: (room.access, room.mode, room.live, list(room.members.items()), room.hosted, room.implied_host)
            for name, room in state.conferences.by_id.items()
        },
        [set(view) for view in (state.conferences.live, state.conferences.scheduled)],
        [set(view) for view in (state.conferences.taking_part, state.conferences.waiting)],
        dict(state.conferences.declared),
        {presence: len(found) for presence, found in state.sessions.by_presence.items()},
        [dict(state.directory.accounts), dict(state.directory.groups), list(state.directory.bans)],
        [sequence.last for sequence in (state.numbers.sessions, state.numbers.conferences, state.numbers.leases)],
    )


class Life(RuleBasedStateMachine):
    """Whatever clients and operators may do, in any order, under one enforced model with the others in shadow."""

    enforced = "epop"

    @initialize(
        enforce=st.sampled_from([True, True, True, False]),
        overdraft=st.sampled_from([0, 0, 1]),
        duplicate=st.sampled_from(["takeover", "takeover", "allow", "reject"]),
        proven=st.sampled_from([True, True, True, False]),
        resumable=flags,
        naming=st.sampled_from(["first-use", "first-use", "listed"]),
        host_counts=flags,
        key=st.sampled_from(["connection", "device", "account", "address"]),
        rest=flags,
        edition=st.sampled_from(["server", "server", "server", "enterprise", "free"]),
        kept=st.sampled_from([10_000, 10_000, 1, 2]),
        memberships=st.sampled_from([100, 100, 1]),
        idle=st.sampled_from([0.0, 30.0, 7200.0]),
        preempt=flags,
        returning=st.sampled_from([0.0, 50.0, 7000.0]),
        last=flags,
        order=st.sampled_from(["arrival", "arrival", "priority"]),
        crowd=st.lists(st.tuples(persons, rooms, flags), min_size=3, max_size=6),
    )
    def open(
        self,
        enforce: bool,
        overdraft: int,
        duplicate: str,
        proven: bool,
        resumable: bool,
        naming: Any,
        host_counts: bool,
        key: Any,
        rest: bool,
        edition: Any,
        kept: int,
        memberships: int,
        idle: float,
        preempt: bool,
        returning: float,
        last: bool,
        order: str,
        crowd: list[tuple[Person, str, bool]],
    ) -> None:
        reserve = {"device": ("ann/pc",), "address": ("192.0.2.1",), "account": ("ann",)}.get(key, ())
        self.terms: dict[str, Any] = {
            "epop": Epop(users=2),
            "nefsis-concurrent": NefsisConcurrent(users=3),
            "nefsis-named": NefsisNamed(hosts=1, participants=2, naming=naming, host_is_participant=host_counts),
            "trueconf": TrueConf(
                edition=edition,
                pro=2,
                online=3,
                guest=1,
                gateway=1,
                allow_pro_requests=True,
                max_conferences=None if edition == "free" else 0,
            ),
            "floating": Floating(limit=3, key=key, linger=60.0, reserve=reserve, asleep_counts=rest),
        }
        self.harness = LicensedHarness(
            self.enforced,
            self.terms,
            last=last,
            enforce=enforce,
            overdraft=overdraft,
            high_water_window=WINDOW,
            on_duplicate=duplicate,
            accounts_mode="token" if proven else "open",
            homes=("far",),
            resume_window=RESUME_WINDOW if resumable else 0.0,
            max_resumable=MAX_RESUMABLE,
            shadow_leases=kept,
            max_memberships=memberships,
            idle_timeout=idle,
            preempt=preempt,
            returning=returning,
            queue_order=order,
        )
        self.state = self.harness.state
        self.mirror = Mirror()
        self.tales = {
            name: Tale(
                name,
                self.terms[name],
                enforced=enforce and name == self.enforced,
                overdraft=overdraft,
                wall=self.harness.now.wall,
                kept=kept,
            )
            for name in self.terms
        }
        self.primary = self.tales[self.enforced]
        for tale in self.tales.values():
            tale.returning = returning
        self.granting = True
        self.memberships = memberships
        self.registered: set[str] = set()
        self.configured: list[str] = []
        self.bans: dict[BanSubject, float] = {}
        self.seat_seconds: dict[tuple[str, str], float] = {}
        self.full_seconds: dict[tuple[str, str], float] = {}
        self.history: dict[tuple[str, str], list[tuple[float, int]]] = {}
        self.before: dict[str, set[Any]] = {}
        self.lines = MirrorLines()
        self.lines.preempt = preempt
        self.grouped: set[str] = set()
        self.seat_rules = MirrorRules()
        self.foretelling = Foretelling(self.lines, self.mirror, self.primary, self.seat_rules)
        self.rule_seats([])
        if proven:
            prove(self.harness, *ACCOUNTS)
            self.registered.update(ACCOUNTS)
        self._retell()
        for person, room, host in crowd:
            self.hello(person, room, host)

    # -- what the machine knows ------------------------------------------------------------------------------------

    def _retell(self) -> None:
        self._recount()
        self.foretelling.sort_anew()
        while self.harness.served:
            self._served(self.harness.served.pop(0))
            self._recount()
        self.foretelling.settle(self._old)

    def _recount(self) -> None:
        self.mirror.look(self.harness.now.mono)
        for tale in self.tales.values():
            tale.retell(self.mirror)
            for pool, keys in tale.keys.items():
                points, point = self.history.setdefault((tale.name, pool), []), (self.harness.now.mono, len(keys))
                if point not in points[-1:]:
                    points.append(point)
        self.seat_rules.follow(self.primary)

    def _watch(self) -> None:
        for tale in self.tales.values():
            tale.watch(self.mirror)

    def _wakes(self, number: int) -> None:
        """A session is awake; a seat that lingers for a key that it takes again is its own."""
        before = [tale.needed(self.mirror, number) for tale in self.tales.values()]
        self.mirror.people[number].awake = True
        for tale, held in zip(self.tales.values(), before, strict=True):
            if not tale.needed(self.mirror, number) <= held:
                tale.arrived(self.mirror, number)

    def _enter(self, name: str, number: int, *, host: bool) -> None:
        self._wakes(number)
        self.mirror.enter(name, number, host=host)
        self._watch()

    def _leave(self, name: str, number: int) -> None:
        self.mirror.leave(name, number)
        self._watch()

    def _session(self, place: int) -> Session:
        numbers = sorted(self.mirror.people)
        return self.state.sessions.by_number[numbers[place % len(numbers)]]

    def _ended(self, number: int, cause: str) -> None:
        for tale in self.tales.values():
            tale.lost(self.mirror, number, cause, self.harness.now.mono)
        self.lines.gave_up(number=number)
        self.mirror.gone(number)
        self._watch()

    def _served(self, served: Served) -> None:
        """Somebody waits no more: with a seat, refused by a rule, or because its time is over."""
        waited, decision = self.lines.places[served.place], served.decision
        said, now = answer(decision), self.harness.now.mono
        assert (served.session, served.id) == (waited.number, "id" if waited.named else None)
        if "waited_seconds" in said:
            assert (said["type"], said["reason"]) == ("denied", waited.line.pool and said["reason"])
            assert waited.until <= now
            self.lines.out(served.place, "timed_out")
            return
        assert waited.until > now
        self.foretelling.settle(self._old)
        assert self.lines.in_line(waited.line)[0] == served.place or said.get("reason") == "draining"
        short = self._short(waited, served.place)
        if said["type"] == "denied":
            self._denied_as_foretold(decision, short)
            assert said["reason"] != "store_unavailable"
            assert said["reason"] != "pool_full" or (said["rule"], said["limit"]) != ("", 0)
            self.lines.out(served.place, "refused")
            return
        assert short is None
        self._preempted(decision.notices, waited)
        self.lines.out(served.place, "granted")
        if waited.verb == "hello":
            assert waited.person is not None
            self._admitted(waited.person, decision)
        elif waited.verb == "join":
            self._joined(waited.number or 0, waited.room, said, **waited.fields)
        elif waited.verb == "wake":
            self._wakes(waited.number or 0)
        else:
            self._pro_requested(waited.number or 0)

    def _pro_requested(self, number: int) -> None:
        person = self.mirror.people[number]
        self.primary.request(person.account or "")
        if person.account not in self.primary.permanent:  # who has one already is granted nothing
            self.seat_rules.asked("pro", person.account or "", number, person, self.primary)

    def _old(self, waited: InLine) -> int | None:
        """Whom a `hello` would take over from."""
        twins = self._twins(waited.person) if waited.person is not None else []
        return twins[-1] if twins and self.state.terms.on_duplicate != "allow" else None

    def _short(self, asked: InLine, place: float = math.inf, kept: Collection[int] = ()) -> Short | None:
        """What a request is short of."""
        return self.foretelling.short_of(asked, place, self._old(asked), kept)

    def _queued(self, decision: Decision, waiting: InLine, short: Short | None) -> bool:
        """Note that a request was put in line; whether it was."""
        if decision.queue is None or decision.queue.place is None:
            return False
        said, place = answer(decision), decision.queue.place
        assert said["type"] == "queued"
        assert self.primary.enforced
        assert short is not None
        assert not short.line.rule or short.limit
        known = self.lines.find(waiting.verb, waiting.number, waiting.room)
        assert known in {None, place}
        if known is None:
            assert (said["pool"], said.get("rule", "")) == (short.line.pool, short.line.rule)
            assert short.used is None or (said["used"], said["limit"]) == (short.used, short.limit)
            short = self._short(waiting, place)
            assert short is not None
        waiting.line = self.lines.places[place].line if known else short.line
        self.lines.places[place] = waiting
        assert said["position"] == self.lines.in_line(waiting.line).index(place) + 1
        self.foretelling.settle(self._old)  # what is asked again may be short of something else
        return True

    def _denied_as_foretold(self, decision: Decision, short: Short | None) -> None:
        """Whoever is denied by a pool would find it full, or overtake somebody, and no seat is kept for it."""
        refusal = decision.refused
        if refusal is None or (refusal.reason != "pool_full" and refusal.pool != "participants"):
            return
        if self.primary.enforced:
            assert short is not None, refusal
            assert (refusal.pool, refusal.rule) == (short.line.pool, short.line.rule)
            assert short.used is None or (refusal.used, refusal.limit) == (short.used, short.limit)

    def _preempted(self, told: list[tuple[int, Message]], asked: InLine) -> None:
        """Somebody idle may have lost a seat to who asked; those who did had the least claim to it."""
        notices = [(n, said) for n, said in told if said.get("reason") == "preempted"]
        if not notices:
            return
        assert self.lines.preempt
        assert self.primary.enforced
        asker = asked.person if asked.person is not None else self.mirror.people[asked.number or 0]
        priority, but = self.mirror.priority(asker), (asked.number, self._old(asked))
        sleepers = list(dict.fromkeys(n for n, said in notices if said["type"] == "asleep"))
        leases = dict.fromkeys(self.mirror.people[n].account or "" for n, said in notices if said["type"] == "status")
        taken: list[tuple[str, Any]] = [("pro", account) for account in leases]
        if sleepers:
            assert self.primary.name in {"trueconf", "floating"}
            pool = "online" if self.primary.name == "trueconf" else "seats"
            taken += [seat for seat in self.primary.needed(self.mirror, sleepers[0]) if seat[0] == pool]
        for pool, key in taken:
            idle = self.foretelling.idle_seats(pool, asker, priority, but)
            ranked = {key: (first, since) for first, since, key in idle}
            assert ranked[key] == min(ranked.values())
            kept = self.seat_rules.kept_from(pool, asker, self.primary)
            assert len(self.primary.keys[pool]) >= self.primary.cap(pool) - kept or self.lines.of_pool(pool)
        for account in leases:
            assert [n for n, said in notices if said["type"] == "status"] == self.mirror.of(account)
            self.primary.preempt(account)
        self._put_to_sleep(told, "preempted")
        self._recount()

    def _put_to_sleep(self, notices: list[tuple[int, Message]], reason: str) -> list[int]:
        """The gateway has put some to sleep, who waited in conferences no more."""
        told = [(n, said) for n, said in notices if said.get("reason") == reason]
        numbers = [n for n, said in told if said["type"] == "asleep"]
        for number in numbers:
            left = [said["conference"] for n, said in told if n == number and said["type"] == "removed"]
            assert sorted(left) == sorted(self.mirror.in_rooms(number))
            self.mirror.asleep(number, reason)
            self._watch()
        return numbers

    def _all_ended(self, decision: Decision, numbers: list[int], cause: str) -> None:
        assert decision.closings == [(number, cause) for number in numbers]
        for number in numbers:
            self._ended(number, cause)

    def _removed(self, decision: Decision) -> None:
        removed = [(n, said) for n, said in decision.notices if said["type"] == "removed" and said["reason"] != "idle"]
        for number, message in removed:
            self._leave(message["conference"], number)
        for number, message in removed:
            session = self.state.sessions.by_number[number]
            assert message["seats"] == entitlements(self.state, session)["seats"] or not session.awake

    def _banned(self, person: Person, address: str) -> bool:
        return any(
            until > self.harness.now.wall and self._binds(subject, person, address)
            for subject, until in self.bans.items()
        )

    def _binds(self, subject: BanSubject, person: Person, address: str) -> bool:
        """Whether a ban is one of a person who comes from an address."""
        match subject.kind:
            case "account":
                return (person.account, person.home) == subject[1:]
            case "guests":
                return person.account is None and address == subject.name
            case _:
                return ip_address(address) in ip_network(subject.name)

    def _unwanted(self, person: Person) -> str | None:
        """Why a new session is refused before any license is asked."""
        if not self.granting:
            return "unregistered"
        if self._banned(person, person.address):
            return "banned"
        if person.home and person.home != "far":
            return "not_allowed"
        if person.account is None or person.home:
            return None
        unknown = self.state.terms.accounts_mode == "token" and person.account not in self.registered
        return "account_unknown" if unknown or self._is_deleted(person.account) else None

    def _is_deleted(self, account: str) -> bool:
        """Whether the enforced model still holds something of a deleted account."""
        return self.primary.name == "trueconf" and account in self.primary.deleted

    def _is_known(self, account: str) -> bool:
        held = account in self.tales["trueconf"].keys["pro"]
        kept = any(each.person.identity == account for each in self.primary.awaited)
        named = account in self.registered or account in self.configured or account in self.grouped
        return held or kept or named or bool(self.mirror.of(account))

    # -- clients ---------------------------------------------------------------------------------------------------

    @rule(person=persons, room=st.none() | rooms, host=flags)
    def hello(self, person: Person, room: str | None, host: bool) -> None:
        """A client comes, perhaps to join something at once."""
        if len(self.mirror.people) < 8:
            number = self._hello(dataclasses.replace(person, peer=person.address))
            if room and number is not None:
                self._join(self.state.sessions.by_number[number], room, host=host, public=host)

    def _twins(self, person: Person) -> list[int]:
        return [
            number
            for number, other in self.mirror.people.items()
            if person.account and person.device and (other.identity, other.device) == (person.identity, person.device)
        ]

    def _hello(self, person: Person, wait: int | None = None) -> int | None:
        account, device = person.account, person.device
        unwanted = self._unwanted(person)
        before, last = picture(self.state), self.state.numbers.sessions.last
        asked = InLine("hello", None, self.harness.now.mono + (wait or 0), NOWHERE, person, waits=wait is not None)
        if self.state.terms.queue_order == "priority":
            asked.priority = self.mirror.priority(person)
        short = self._short(asked)
        hello = c.Hello(
            person.kind, account, device, person.home, "", person.address, "tcp", DIGEST, groups=person.groups
        )
        decision = self.harness.apply(hello if wait is None else c.Wait(hello, wait, "id"))
        number = decision.session
        if self._queued(decision, asked, short):
            assert unwanted is None
            assert picture(self.state) == before
            return None
        if number is None or unwanted is not None:
            assert number is None
            assert picture(self.state) == before
            assert unwanted in {None, answer(decision)["reason"]}
            if unwanted is None:
                self._denied_as_foretold(decision, short)
            return None
        assert number == last + 1
        assert short is None
        self._preempted(decision.notices, asked)
        self._admitted(person, decision)
        self._recount()
        self._retell()
        return number

    def _admitted(self, person: Person, decision: Decision) -> None:
        """A session has begun; it may have taken over from another one."""
        number = decision.session or 0
        twins = self._twins(person)
        old = twins[-1:] if self.state.terms.on_duplicate != "allow" else []
        assert self.state.terms.on_duplicate != "reject" or set(old) <= set(self.mirror.lost)
        self.mirror.people[number] = person
        fresh = [
            not (old and tale.needed(self.mirror, number) <= tale.needed(self.mirror, old[0]))
            for tale in self.tales.values()
        ]
        self._all_ended(decision, old, "replaced")
        for tale, arrives in zip(self.tales.values(), fresh, strict=True):
            if arrives:
                tale.arrived(self.mirror, number)

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, address=st.sampled_from(["192.0.2.1", "192.0.2.9"]))
    def resume(self, place: int, address: str) -> None:
        """A client goes on with another connection, lost or not."""
        numbers = [*self.mirror.lost, *sorted(self.mirror.people)]
        session = self.state.sessions.by_number[numbers[place % len(numbers)]]
        person, generation = self.mirror.people[session.number], session.generation
        before = picture(self.state)
        decision = self.harness.apply(c.Resume(session.number, generation, address, "websocket"))
        assert (decision.refused is not None) is self._banned(person, address)
        if decision.refused is not None:
            assert decision.refused.reason == "banned"
            assert picture(self.state) == before
            return
        said = answer(decision)
        assert said["conferences"] == [room.id for room in session.conferences]
        assert said["presence"] == ("awake" if person.awake else "asleep")
        assert said.get("reason") == (None if person.awake else person.rest or None)
        lost = self.mirror.lost.pop(session.number, None)
        assert decision.closings == ([(session.number, "replaced")] if lost is None else [])
        assert (session.generation, session.peer_address, decision.session) == (generation + 1, address, session.number)
        person.peer = address

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, name=rooms, host=flags, public=flags, call=seldom, scheduled=seldom)
    def join(self, place: int, name: str, host: bool, public: bool, call: bool, scheduled: bool) -> None:
        absent = [number for number in sorted(self.mirror.people) if name not in self.mirror.in_rooms(number)]
        joiner = self.state.sessions.by_number[absent[place % len(absent)]] if absent else self._session(place)
        self._join(joiner, name, host=host, public=public, call=call, scheduled=scheduled)

    def _join(
        self,
        session: Session,
        name: str,
        *,
        host: bool,
        public: bool,
        call: bool = False,
        scheduled: bool = False,
        wait: int | None = None,
    ) -> None:
        before = picture(self.state)
        rooms = self.mirror.in_rooms(session.number)
        too_many = self.granting and name not in rooms and len(rooms) >= self.memberships
        join = c.Join(
            session.number,
            name,
            host=host,
            access="public" if public else "internal",
            mode="call" if call else "group",
            scheduled=scheduled,
        )
        fields = {"host": host, "public": public, "call": call, "scheduled": scheduled}
        known = self.lines.find("join", session.number, name) if wait is not None else None
        until = self.harness.now.mono + (wait or 0)
        asked = InLine("join", session.number, until, NOWHERE, room=name, fields=fields, waits=wait is not None)
        short = None if name in rooms else self._short(asked, math.inf if known is None else known)
        decision = self.harness.apply(join if wait is None else c.Wait(join, wait, "id"))
        said = answer(decision)
        if self._queued(decision, asked, short):
            assert picture(self.state) == before
            assert self.granting
            assert not too_many
            return
        if known is not None:
            self.lines.out(known, "refused" if said["type"] == "denied" else "granted")
        if said["type"] == "denied":
            assert picture(self.state) == before
            assert self.granting or said["reason"] == "unregistered"
            self._denied_as_foretold(decision, short)
            if too_many:
                assert (said["reason"], said["used"], said["limit"]) == ("conference_limit", len(rooms), len(rooms))
            elif said["reason"] == "conference_limit":
                assert self.primary.name == "trueconf"
            return
        assert self.granting
        assert short is None
        assert not too_many
        self._preempted(decision.notices, asked)
        self._joined(session.number, name, said, **fields)
        self._recount()
        self._retell()

    def _joined(
        self, number: int, name: str, said: dict[str, Any], *, host: bool, public: bool, call: bool, scheduled: bool
    ) -> None:
        if name not in self.mirror.rooms:
            self.mirror.rooms[name] = Room(said["mode"] == "group", said["access"] == "public", said["state"] == "live")
            if name not in self.mirror.declared:
                assert (said["mode"] == "call", said["access"] == "public") == (call, public)
                assert said["type"] == ("waiting" if scheduled else "joined")
        self._enter(name, number, host=host)

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, turn=places)
    def start(self, place: int, turn: int) -> None:
        hosts = [
            (number, name)
            for name, room in self.mirror.rooms.items()
            for number, host in room.members.items()
            if host and not room.live
        ]
        session = self._session(place)
        number, name = hosts[turn % len(hosts)] if hosts else (session.number, ROOMS[0])
        session = self.state.sessions.by_number[number]
        before = picture(self.state)
        decision = self.harness.start(session, name)
        room = self.mirror.rooms.get(name)
        if decision.refused is not None:
            assert picture(self.state) == before
            assert self.granting or decision.refused.reason == "unregistered"
            return
        assert self.granting
        assert room is not None
        if room.live:
            assert picture(self.state) == before
            return
        identity = self.mirror.people[session.number].identity
        for tale in self.tales.values():
            busy = any(
                other.live and tale.hosts(other, number)
                for number in (self.mirror.of(identity) if identity else [])
                for other in self.mirror.rooms.values()
            )
            if not (self.terms["nefsis-named"].naming == "listed" and identity not in tale.names):
                tale.opened(self.mirror, session.number, busy=busy)
                if identity and tale is self.primary and tale.opening is not None:
                    person = self.mirror.people[session.number]
                    self.seat_rules.asked("hosts", identity, session.number, person, tale)
        self._recount()  # a name that is used to open it counts, though its owner may be denied then
        waited, room.members, room.live = room.members, {}, True
        assert not any(number in waited for number, said in decision.notices if said.get("reason") == "preempted")
        room.stand_in, room.had_stand_in = None, False
        self._answered_in_turn(decision.notices, name, waited, session.number)
        if not room.members:
            del self.mirror.rooms[name]
        self._recount()
        self._retell()

    def _answered_in_turn(
        self, notices: list[tuple[int, Message]], name: str, waited: dict[int, bool], opener: int
    ) -> None:
        """Those who waited for a `start` are answered as they came, each after the others have what they got."""
        answered = [(each, message) for each, message in notices if message["type"] in {"joined", "denied"}]
        assert [each for each, _ in answered] == list(waited)
        taken: dict[int, list[tuple[int, Message]]] = {}
        since: list[tuple[int, Message]] = []
        for each, message in notices:  # who loses a seat is told before who gets it
            since.append((each, message))
            if message["type"] in {"joined", "denied"}:
                taken[each], since = since[:-1], []
        for each, message in answered:
            asked = InLine("join", each, math.inf, NOWHERE, room=name, fields={"host": waited[each]}, waits=False)
            short = self._short(asked, kept=waited)
            if each == opener:
                for tale in self.tales.values():
                    tale.opening = None
            if message["type"] == "denied" and message["reason"] == "pool_full":
                assert short is not None
                assert (message["pool"], message.get("rule", "")) == (short.line.pool, short.line.rule)
                assert (message["used"], message.get("limit")) == (short.used, short.limit)
            if message["type"] == "joined":
                assert short is None
                self._preempted(taken[each], asked)
                self._enter(name, each, host=waited[each])
            else:
                assert not taken[each]
                self._watch()
            self._recount()

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, name=rooms)
    def leave(self, place: int, name: str) -> None:
        session = self._session(place)
        name = next(iter(self.mirror.in_rooms(session.number)), name)
        before = picture(self.state)
        gave_up = self.lines.gave_up(number=session.number, verb="join", room=name)
        if self.harness.leave(session, name)["type"] == "denied":
            assert picture(self.state) == before
            assert name not in self.mirror.in_rooms(session.number)
            assert not gave_up
            return
        if name in self.mirror.in_rooms(session.number):
            self._leave(name, session.number)
        else:
            assert gave_up
        self._retell()

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, asleep=flags)
    def presence(self, place: int, asleep: bool) -> None:
        session = self._session(place)
        if asleep:
            self._sleep(session)
        else:
            self._wake(session)

    def _sleep(self, session: Session) -> None:
        assert self.harness.sleep(session)["type"] == "asleep"
        for name in self.mirror.in_rooms(session.number):
            self._leave(name, session.number)
        self.lines.gave_up(number=session.number, verb="wake")
        person = self.mirror.people[session.number]
        person.awake, person.rest = False, "" if person.awake else person.rest
        self._retell()

    def _wake(self, session: Session, wait: int | None = None) -> None:
        before = picture(self.state)
        said = self._ask(c.Wake(session.number), "wake", session.number, wait)
        if said["type"] in {"denied", "queued"}:
            assert picture(self.state) == before
            return
        assert self.granting
        self._wakes(session.number)
        self._recount()
        self._retell()

    def _ask(
        self, request: c.Command, verb: str, number: int, wait: int | None, within: int | None = None
    ) -> dict[str, Any]:
        """The answer to a request about the session itself; `within` is how long it may wait if it says so itself."""
        known = self.lines.find(verb, number, "") if wait is not None else None
        until, named = self.harness.now.mono + (wait or within or 0), not isinstance(request, c.Activity)
        asked = InLine(verb, number, until, NOWHERE, named=named, waits=wait is not None or within is not None)
        short = self._short(asked, math.inf if known is None else known)
        decision = self.harness.apply(request if wait is None else c.Wait(request, wait, "id"))
        if not self._queued(decision, asked, short):
            if known is not None:
                self.lines.out(known, "refused" if answer(decision)["type"] == "denied" else "granted")
            if answer(decision)["type"] == "denied":
                self._denied_as_foretold(decision, short)
            else:
                assert short is None
            self._preempted(decision.notices, asked)
        return answer(decision)

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, active=flags, wait=st.none() | waits)
    def say_activity(self, place: int, active: bool, wait: int | None) -> None:
        """A client says whether somebody uses it; one that sleeps is woken, if it may be."""
        self._say(self._session(place).number, active=active, wait=wait)

    @precondition(lambda self: any(person.active for person in self.mirror.people.values()))
    @rule(place=places)
    def fall_silent(self, place: int) -> None:
        """A client that has said that somebody uses it says nothing of that for long."""
        numbers = [number for number, person in sorted(self.mirror.people.items()) if person.active]
        number = numbers[place % len(numbers)]
        self._say(number, active=False, ago=self.harness.now.mono - self.mirror.people[number].said)

    def _say(self, number: int, *, active: bool, wait: int | None = None, ago: float = 0.0) -> None:
        person, now = self.mirror.people[number], self.harness.now.mono
        if person.active is None and person.free is not None:
            person.free = now  # what was before matters to nobody
        if active or person.active is not False:
            person.said = now - ago
        person.active = active
        before = picture(self.state)
        command = c.Activity(number, active, wait, ago)
        waits = self.lines.find("wake", number, "") is not None
        if not active or person.awake or waits:
            decision = self.harness.apply(command)
            assert decision.answer is None
            self.mirror.look(now)
            if not active:
                self._idle_ones_sleep(decision)
            self._retell()
            return
        said = self._ask(command, "wake", number, None, wait)
        if said["type"] in {"denied", "queued"}:
            assert picture(self.state) == before
        else:
            self._wakes(number)
            self._recount()
        self._retell()

    def _idle_ones_sleep(self, decision: Decision) -> None:
        """Who is idle for as long as it may be was put to sleep."""
        longest, now = self.state.terms.idle_timeout, self.harness.now.mono
        due = [
            number
            for number, person in self.mirror.people.items()
            if longest and person.awake and person.since is not None and person.since + longest <= now
        ]
        asleep = self._put_to_sleep(decision.notices, "idle")
        assert sorted(asleep) == sorted(due)

    @rule(account=accounts, priority=st.integers(0, 2))
    def rank(self, account: str, priority: int) -> None:
        """The operator gives an account a priority."""
        self.harness.apply(c.PutGroup(f"rank {account}", (account,), permanent=False, priority=priority))
        self.mirror.priorities[account] = priority
        self.mirror.of_groups[f"rank {account}"] = priority
        self.seat_rules.groups[f"rank {account}"] = (account,)
        self.grouped.add(account)
        self._retell()

    @rule(drawn=st.lists(rule_fields, max_size=3))
    def rule_seats(self, drawn: list[dict[str, Any]]) -> None:
        """The operator has other rules for seats; one of all refuses nobody, but counts."""
        pools = [*self.primary.limits]
        everybody = [RuleTerms(f"all {pool}", pool, most=1000) for pool in pools]
        others = []
        for place, fields in enumerate(drawn):
            pool, most, reserve = pools[fields["pool"] % len(pools)], fields["most"], fields["reserve"]
            whom = fields["group"] or fields["account"] or fields["network"] or fields["kind"]
            if not whom or pool == "participants" or (most is not None and not fields["each"] and most < reserve):
                reserve = 0  # `check` would not have it otherwise
            each = "" if most is None else fields["each"]
            others.append(RuleTerms(str(place), **{**fields, "pool": pool, "reserve": reserve, "each": each}))
        self.seat_rules.terms = (*everybody, *others)
        self.harness.change_terms(rules=self.seat_rules.terms)
        self._retell()

    @rule(idle=st.sampled_from([0.0, 1.0, 30.0, 7200.0]), preempt=flags)
    def mind_idleness(self, idle: float, preempt: bool) -> None:
        """The operator decides otherwise about those who are idle."""
        self.lines.preempt = preempt
        self.harness.change_terms(idle_timeout=idle, preempt=preempt)
        self._retell()

    @rule(person=persons, wait=waits)
    def hello_in_line(self, person: Person, wait: int) -> None:
        """A client comes that would rather wait than be denied."""
        if len(self.mirror.people) + len(self.lines.places) < 12:
            self._hello(dataclasses.replace(person, peer=person.address), wait)

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, name=rooms, host=flags, public=flags, call=seldom, scheduled=seldom, wait=waits)
    def join_in_line(
        self, place: int, name: str, host: bool, public: bool, call: bool, scheduled: bool, wait: int
    ) -> None:
        absent = [number for number in sorted(self.mirror.people) if name not in self.mirror.in_rooms(number)]
        joiner = self.state.sessions.by_number[absent[place % len(absent)]] if absent else self._session(place)
        self._join(joiner, name, host=host, public=public, call=call, scheduled=scheduled, wait=wait)

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, wait=waits, pro=flags)
    def ask_in_line(self, place: int, wait: int, pro: bool) -> None:
        if pro:
            self._request_pro(self._session(place), wait)
        else:
            self._wake(self._session(place), wait)

    @precondition(lambda self: any(each.number is None for each in self.lines.places.values()))
    @rule(place=places, all_of_them=seldom)
    def give_up(self, place: int, all_of_them: bool) -> None:
        """A client that waits to be welcomed hangs up, or the gateway is about to end."""
        waiting = [number for number, each in self.lines.places.items() if each.number is None]
        if all_of_them:
            self.harness.apply(c.EndHellos("draining"))
            assert [each.place for each in self.harness.served][: len(waiting)] == waiting
        else:
            number = waiting[place % len(waiting)]
            self.lines.out(number, "gave_up")
            self.harness.apply(c.GiveUp(number))
        self._retell()

    @precondition(lambda self: self.mirror.people)
    @rule(place=places)
    def request_pro(self, place: int) -> None:
        self._request_pro(self._session(place))

    def _request_pro(self, session: Session, wait: int | None = None) -> None:
        before = picture(self.state)
        said = self._ask(c.RequestPro(session.number), "request_pro", session.number, wait)
        if said["type"] in {"denied", "queued"}:
            assert picture(self.state) == before
            return
        assert self.granting
        assert self.enforced == "trueconf"
        assert session.account is not None
        self._pro_requested(session.number)
        self._recount()
        self._retell()

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, cause=st.sampled_from(CAUSES))
    def end(self, place: int, cause: str) -> None:
        number = self._session(place).number
        decision = self.harness.end(self._session(place), cause)
        assert (decision.answer, decision.closings) == (None, [])
        lost, window = self.mirror.lost, self.state.terms.resume_window
        if window and cause in ABRUPT and number not in lost:
            lost[number] = (self.harness.now.mono + window, cause)
            if len(lost) > MAX_RESUMABLE:
                earliest = next(iter(lost))
                self._ended(earliest, lost[earliest][1])
        else:
            self._ended(number, cause)
        self._retell()

    @precondition(lambda self: self.mirror.lost)
    @rule()
    def end_resumables(self) -> None:
        """Whoever was lost is given up."""
        self.harness.apply(c.EndResumables())
        for number, (_, cause) in list(self.mirror.lost.items()):
            self._ended(number, cause)
        self._retell()

    # -- operators -------------------------------------------------------------------------------------------------

    @rule(account=accounts, verb=st.sampled_from(VERBS))
    def administer(self, account: str, verb: str) -> None:
        getattr(self, "_" + verb)(account)

    def _revoke(self, account: str) -> None:
        tale = self.tales["trueconf"]
        before = picture(self.state)
        decision = self.harness.revoke(account)
        if account not in tale.temporary:
            held = "permanent" if account in tale.permanent else "account_deleted"
            known = account in {*tale.permanent, *tale.deleted}
            assert decision.refused == Refusal(held if known else "no_such_license")
            assert picture(self.state) == before
            return
        self._removed(decision)
        tale.revoke(account)
        self._retell()

    @precondition(lambda self: self.terms["trueconf"].edition != "free" and self.granting)
    @rule(configured=st.lists(accounts, max_size=3))
    def redistribute(self, configured: list[str]) -> None:
        tale = self.tales["trueconf"]
        lost = tale.redistribute(configured)
        inside = set(self._inside(lost))
        self.configured = configured
        decision, beyond = self.harness.redistribute(configured)
        self.mirror.priorities.clear()
        self.mirror.of_groups.clear()
        self.grouped.clear()
        self.seat_rules.groups.clear()
        removed = [(n, said) for n, said in decision.notices if said["type"] == "removed" and said["reason"] != "idle"]
        assert {number for number, _ in removed} == inside
        assert self.state.permanent == list(dict.fromkeys(configured))
        if tale.enforced:
            asked = [each for each in dict.fromkeys(configured) if each not in tale.deleted]
            assert beyond == [each for each in asked if each not in tale.permanent]
        self._removed(decision)
        self.mirror.look(self.harness.now.mono)
        self._idle_ones_sleep(decision)
        self._retell()

    def _inside(self, lost: list[str]) -> list[int]:
        """The sessions that take part in a group conference with a license that was withdrawn."""
        return [
            number
            for account in lost
            for number in self.mirror.of(account)
            if ("pro", account) in self.tales["trueconf"].needed(self.mirror, number)
        ]

    def _forget(self, account: str) -> None:
        known, sessions = self._is_known(account), self.mirror.of(account)
        before = picture(self.state)
        decision = self.harness.forget(account)
        if not known:
            assert decision.refused == Refusal("no_such_account")
            assert picture(self.state) == before
            return
        self.tales["trueconf"].forget(account)
        self.primary.keep_none(lambda person: person.identity == account)
        self._all_ended(decision, sessions, "account_deleted")
        self._sent_away(decision, account, "account_deleted")
        self.registered.discard(account)
        self.grouped.discard(account)
        self.seat_rules.groups.pop(f"rank {account}", None)
        self.mirror.priorities.pop(account, None)
        self.configured = [each for each in self.configured if each != account]
        self._retell()

    def _register(self, account: str) -> None:
        prove(self.harness, account)
        self.registered.add(account)

    def _name_host(self, account: str) -> None:
        tale = self.tales["nefsis-named"]
        before, known = picture(self.state), account in tale.names
        short = self.foretelling.short_of_name(account) if tale.enforced and not known else None
        refused = self.harness.name_host(account).refused
        if refused is not None:
            assert picture(self.state) == before
            assert refused.reason == ("pool_full" if self.granting else "unregistered")
            if self.granting and tale.enforced:
                assert short is not None
                assert (refused.rule, refused.used, refused.limit) == (short.line.rule, short.used, short.limit)
            assert not self.granting or tale.enforced or len(tale.names) >= self.terms["nefsis-named"].hosts
            return
        assert self.granting
        assert short is None
        tale.name_host(account)
        self._retell()

    def _unname(self, account: str) -> None:
        tale = self.tales["nefsis-named"]
        before = picture(self.state)
        decision = self.harness.unname(account)
        if account not in tale.names:
            assert decision.refused == Refusal("no_such_host")
            assert picture(self.state) == before
            return
        tale.unname(account)
        for number in self.mirror.of(account):
            for room in self.mirror.live(number):
                room.unnamed.add(number)
        self._retell()

    def _ban(self, account: str) -> None:
        self._put_ban(BanSubject("account", account), BAN)

    def _put_ban(self, subject: BanSubject, seconds: float) -> None:
        people = self.mirror.people.items()
        bound = [number for number, person in people if self._binds(subject, person, person.peer)]
        decision = self.harness.apply(c.PutBan(subject, seconds))
        self.bans[subject] = self.harness.now.wall + seconds
        self.primary.keep_none(lambda person: self._binds(subject, person, person.address))
        self._all_ended(decision, bound, "kicked")
        self._retell()

    def _lift(self, account: str) -> None:
        self._lift_ban(BanSubject("account", account))

    def _lift_ban(self, subject: BanSubject) -> None:
        decision = self.harness.apply(c.LiftBan(subject))
        in_force = self.bans.pop(subject, -math.inf) > self.harness.now.wall
        assert decision.refused == (None if in_force else Refusal("no_such_ban"))

    @rule(subject=st.sampled_from(BANNED), seconds=st.sampled_from([30.0, 100.0]), lifted=flags)
    def ban_some(self, subject: BanSubject, seconds: float, lifted: bool) -> None:
        """Somebody of another server, an address or a network is kept out, and perhaps let in again at once."""
        self._put_ban(subject, seconds)
        if lifted:
            self._lift_ban(subject)

    def _kick(self, account: str) -> None:
        sessions = self.mirror.of(account)
        decision = self.harness.apply(c.KickAccount(account))
        self.primary.keep_none(lambda person: person.identity == account)
        self._all_ended(decision, sessions, "kicked")
        self._sent_away(decision, account, "kicked")
        self._retell()

    def _sent_away(self, decision: Decision, account: str, cause: str) -> None:
        """Those of an account who wait to be welcomed are gone too."""
        gone = [n for n, each in self.lines.places.items() if each.person and each.person.identity == account]
        assert (decision.queue.closings if decision.queue is not None else []) == [(n, cause) for n in gone]
        for number in gone:
            self.lines.out(number, "gave_up")

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, banned=seldom)
    def kick_one(self, place: int, banned: bool) -> None:
        number = self._session(place).number
        person = self.mirror.people[number]
        decision = self.harness.apply(c.KickSession(number, BAN if banned else None))
        if banned:
            guests = BanSubject("guests", person.peer)
            subject = guests if person.account is None else BanSubject("account", person.account, person.home)
            self.bans[subject] = self.harness.now.wall + BAN
            self.primary.keep_none(lambda person: self._binds(subject, person, person.address))
        self._all_ended(decision, [number], "kicked")
        assert self.harness.apply(c.KickSession(number)).refused == Refusal("no_such_session")
        self._retell()

    @rule(name=rooms, public=flags, call=seldom, scheduled=flags, ended=seldom)
    def declare(self, name: str, public: bool, call: bool, scheduled: bool, ended: bool) -> None:
        if ended:
            self._dissolve(name)
            return
        declaration = Declaration("public" if public else "internal", "call" if call else "group", scheduled)
        before = picture(self.state)
        decision = self.harness.apply(c.PutConference(name, declaration))
        if name in self.mirror.rooms:
            assert decision.refused == Refusal("conference_under_way")
            assert picture(self.state) == before
            return
        self.mirror.declared[name] = (not call, public, not scheduled)
        self._retell()

    def _dissolve(self, name: str) -> None:
        decision = self.harness.dissolve(name)
        unknown = name not in self.mirror.declared and name not in self.mirror.rooms
        assert decision.refused == (Refusal("no_such_conference") if unknown else None)
        self.mirror.declared.pop(name, None)
        self._removed(decision)
        assert name not in self.mirror.rooms
        self._retell()

    @rule(name=st.sampled_from([*MODELS]), limit=st.integers(1, 4))
    def retune(self, name: str, limit: int) -> None:
        key = {"trueconf": "pro", "nefsis-named": "hosts", "floating": "limit"}.get(name, "users")
        terms = dataclasses.replace(self.terms[name], **{key: limit})
        self.harness.change_terms({name: terms})
        self.terms[name] = self.tales[name].terms = terms
        self._retell()

    @rule(kept=st.sampled_from([1, 2, 3, 10_000]))
    def keep(self, kept: int) -> None:
        """Models that refuse nobody keep another number of seats; none of them ends by that."""
        self.harness.change_terms(shadow_leases=kept)
        for tale in self.tales.values():
            tale.kept = math.inf if tale.enforced else kept
        self._retell()

    @rule(seconds=st.sampled_from([0.0, 5.0, 7000.0]))
    def keep_seats_for(self, seconds: float) -> None:
        """Seats are kept for another time from now on, and none for longer."""
        self.harness.change_terms(returning=seconds)
        for tale in self.tales.values():
            tale.returning = seconds
        self.primary.keep_until(self.harness.now.mono + seconds, self.harness.now.mono)
        self._retell()

    @rule(stopped=seldom)
    def registration(self, stopped: bool) -> None:
        """The registration lets things be granted, or does not."""
        self.granting = not stopped
        self.harness.apply(c.SetGranting(self.granting))
        self._retell()

    @rule(seconds=st.sampled_from(SPANS))
    def wait(self, seconds: float) -> None:
        for tale in self.tales.values():
            for pool, keys in tale.keys.items():
                name, limit = (tale.name, pool), tale.limits[pool]
                self.seat_seconds[name] = self.seat_seconds.get(name, 0.0) + len(keys) * seconds
                full = limit is not None and len(keys) >= limit
                self.full_seconds[name] = self.full_seconds.get(name, 0.0) + full * seconds
        decision = self.harness.wait(seconds)
        assert decision.closings == []
        for tale in self.tales.values():
            tale.pass_time(self.harness.now.wall, self.harness.now.mono)
        self._idle_ones_sleep(decision)
        while self.harness.served and "waited_seconds" in answer(self.harness.served[0].decision):
            self._served(self.harness.served.pop(0))
        for number, (until, cause) in list(self.mirror.lost.items()):
            if until <= self.harness.now.mono:
                self._ended(number, cause)
        self._retell()

    # -- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def the_lines_are_those_of_the_mirror(self) -> None:
        lines, now = self.state.lines, self.harness.now.mono
        assert not self.harness.served
        assert {number: (place.session, place.until) for number, place in lines.items()} == {
            number: (each.number, each.until) for number, each in self.lines.places.items()
        }
        for line, places in lines.by_line.items():
            numbers = [place.number for place in places]
            known = self.lines.places[numbers[0]].line
            assert (line.pool, line.conference, line.rule, line.kept_for) == (*known[:3], known.kept_for)
            assert numbers == self.lines.in_line(known)
        assert all(each.until > now for each in self.lines.places.values())
        for name, pool in self.state.primary.pools.items():
            told = {outcome: self.lines.left.get((name, outcome), 0) for outcome in pool.waits.left}
            assert pool.waits.left == told, (name, pool.waits.left, told)

    @invariant()
    def no_seat_is_idle_while_somebody_waits_who_may_have_it(self) -> None:
        for line in {each.line for each in self.lines.places.values()}:
            head = self.lines.in_line(line)[0]
            assert self._short(self.lines.places[head], head) is not None, line

    @invariant()
    def use_is_the_number_of_distinct_keys(self) -> None:
        for tale in self.tales.values():
            for name, pool in self.harness.ledger(tale.name).pools.items():
                assert set(pool.claims) == tale.keys[name], (tale.name, name)

    @invariant()
    def sessions_hold_what_their_facts_give(self) -> None:
        for ledger in self.state.ledgers:
            for number, session in self.state.sessions.by_number.items():
                assert set(session.seats[ledger.index]) == self.tales[ledger.model.name].needed(self.mirror, number)

    @invariant()
    def rules_count_the_keys_of_those_they_are_of(self) -> None:
        found = {name: each.rules.rules for name, each in self.state.primary.pools.items() if each.rules is not None}
        for terms in self.seat_rules.terms:
            shown, keys = found[terms.pool][terms.name], self.seat_rules.keys(terms, self.primary)
            assert set(shown.claims) == set(keys), terms
            kept = self.seat_rules.kept(terms, self.primary)
            assert (shown.used, shown.kept) == (self.seat_rules.used(terms, self.primary), kept), terms

    @invariant()
    def nothing_is_granted_at_the_limit(self) -> None:
        for pool, keys in self.primary.keys.items():
            before = self.before.get(pool, set())
            assert len(keys) <= max(self.primary.cap(pool), len(before)), (pool, keys, before)
        self.before = dict(self.primary.keys)

    @invariant()
    def what_is_shown_agrees_with_a_recount(self) -> None:
        seen = snapshot(self.state, self.harness.now.mono)
        self._totals_agree_with_use_and_time(seen)
        self._views_equal_a_recount(seen)

    def _totals_agree_with_use_and_time(self, seen: Snapshot) -> None:
        for view in seen.pools:
            name, tale = (view.model, view.pool), self.tales[view.model]
            assert view.grants - sum(view.releases.values()) == view.used == len(tale.keys[view.pool]), name
            assert math.isclose(view.seat_seconds, self.seat_seconds.get(name, 0.0), abs_tol=1e-6), name
            assert math.isclose(view.full_seconds, self.full_seconds.get(name, 0.0), abs_tol=1e-6), name
            self._check_high_water(view)
            terms = next(pool for pool in self.harness.ledger(view.model).model.pools if pool.name == view.pool)
            assert set(view.releases) == set(terms.causes), name
            assert set(view.denials) == set(terms.reasons), name

    def _check_high_water(self, view: PoolView) -> None:
        now, points = self.harness.now.mono, self.history[view.model, view.pool]
        while len(points) > 1 and points[1][0] < now - WINDOW - 1:
            del points[0]
        until = [time for time, _ in points[1:]] + [now]
        seen = [(end, used) for end, (_, used) in zip(until, points, strict=True)]
        least = max(used for end, used in seen if end >= now - WINDOW)
        most = max(used for end, used in seen if end >= now - WINDOW - 1)
        assert least <= view.high_water <= most, (view, points)

    @invariant()
    def leases_end_when_the_rules_say(self) -> None:
        tale, pool = self.tales["trueconf"], self.harness.ledger("trueconf").pools["pro"]
        assert {key: lease.expires for key, lease in pool.leases.items()} == {**tale.temporary, **tale.deleted}
        assert {key for key, lease in pool.leases.items() if lease.deleted} == set(tale.deleted)
        assert list(pool.reservations) == tale.permanent
        running = [end for end in (*tale.temporary.values(), *tale.deleted.values()) if end is not None]
        assert self.harness.ledger("trueconf").leases.next_expiry() == min(running, default=None)

    @invariant()
    def what_is_kept_for_nobody_is_kept_in_the_order_of_becoming_idle(self) -> None:
        for ledger in self.state.ledgers:
            tale = self.tales[ledger.model.name]
            assert [key for pool in ledger.pools.values() for key in pool.unused_leases] == list(tale.idle)
            assert [key for pool in ledger.pools.values() for key in pool.lingering] == list(tale.lingering)

    @invariant()
    def seats_are_kept_for_those_who_held_them(self) -> None:
        for ledger in self.state.ledgers:
            tale = self.tales[ledger.model.name]
            kept = [
                (name, key, each.until) for name, pool in ledger.pools.items() for key, each in pool.returning.items()
            ]
            assert sorted(kept, key=str) == sorted(
                ((each.pool, each.key, each.until) for each in tale.awaited), key=str
            )

    @invariant()
    def the_changes_tell_the_present_leases(self) -> None:
        assert not self.state.lease_changes
        replayed: dict[tuple[str, str, Any, str], LeaseChange] = {}
        for change in self.harness.lease_changes:
            place = change.model, change.pool, change.key, change.kind
            if change.ended is None:
                replayed[place] = change
            else:
                del replayed[place]
        expected: dict[tuple[str, str, Any, str], LeaseChange] = {}
        for ledger in self.state.ledgers:
            for name, pool in ledger.pools.items():
                kept = pool.reservations if name == ledger.model.account_pool else {}
                changes = [ledger.leases.change_of(name, key, lease) for key, lease in pool.leases.items()]
                changes += [ledger.leases.change_of(name, key, reservation) for key, reservation in kept.items()]
                expected |= {(ledger.model.name, name, each.key, each.kind): each for each in changes}
        assert replayed == expected

    def _views_equal_a_recount(self, seen: Snapshot) -> None:
        mirror, sessions, conferences = self.mirror, self.state.sessions, self.state.conferences
        people, rooms = mirror.people, mirror.rooms
        assert set(sessions.by_number) == set(people)
        presence: dict[tuple[str, bool], int] = {}
        for person in people.values():
            presence[person.kind, person.awake] = presence.get((person.kind, person.awake), 0) + 1
        assert {key: count for key, count in seen.sessions.items() if count} == presence
        assert seen.accounts == len({person.identity for person in people.values() if person.account})
        named = {(each.identity, each.device) for each in people.values() if each.account and each.device}
        assert seen.devices == len(named) + sum(not (each.account and each.device) for each in people.values())
        assert {name: list(room.members) for name, room in rooms.items()} == {
            name: [member.number for member in room.members] for name, room in conferences.by_id.items()
        }
        live = {name for name, room in rooms.items() if room.live}
        assert set(conferences.live) == live
        assert set(conferences.scheduled) == set(rooms) - live
        assert set(conferences.live_groups) == {name for name in live if rooms[name].group}
        taking = {number for name in live for number in rooms[name].members}
        waiting = {number for name in set(rooms) - live for number in rooms[name].members}
        assert {session.number for session in conferences.taking_part} == taking
        assert {session.number for session in conferences.waiting} == waiting
        assert seen.members == {"live": len(taking), "scheduled": len(waiting)}
        idle = set(mirror.declared) - set(rooms)
        assert set(conferences.awaited) == idle
        assert seen.conferences == {"live": len(live), "scheduled": len(set(rooms) - live) + len(idle)}

    @invariant()
    def the_idle_are_those_of_the_mirror(self) -> None:
        sessions = self.state.sessions
        for idle, awake in ((sessions.idle, True), (sessions.resting, False)):
            assert {each.number: since for each, since in idle.items()} == {
                number: person.since
                for number, person in self.mirror.people.items()
                if person.since is not None and person.awake is awake
            }
        assert list(sessions.idle.values()) == sorted(sessions.idle.values())

    @invariant()
    def whose_seats_are_taken_first_is_as_if_looked_for_now(self) -> None:
        seats = self.state.sessions.idle_seats
        if seats is not None:
            now = IdleSeats(seats.ledger, seats.priorities, self.state.sessions.all_idle())
            for pool in seats.ledger.pools:
                assert seats.of_pool(pool) == now.of_pool(pool), pool

    @invariant()
    def the_lost_and_the_banned_are_those_of_the_mirror(self) -> None:
        assert [(number, *lost) for number, lost in self.state.resumable.items()] == [
            (number, *lost) for number, lost in self.mirror.lost.items()
        ]
        wall = self.harness.now.wall
        bans = {ban.subject: ban.until for ban in self.state.directory.bans if ban.until > wall}
        assert bans == {subject: until for subject, until in self.bans.items() if until > wall}

    def teardown(self) -> None:
        if not hasattr(self, "harness"):
            return
        for session in list(self.state.sessions.by_number.values()):
            if session.number in self.state.sessions.by_number:
                self.harness.end(session, "closed")
        self.harness.apply(c.EndResumables())
        self.harness.wait(LEASE + 90_000.0)
        assert not self.state.lines
        for session in list(self.state.sessions.by_number.values()):
            self.harness.end(session, "bye")
        self.harness.apply(c.EndResumables())
        self.harness.wait(LEASE)
        for ledger in self.state.ledgers:
            for pool in ledger.pools.values():
                kept = {*pool.reservations, *(pool.leases if pool.terms.endless else ())}
                assert set(pool.claims) == kept
        assert not self.state.sessions.by_number
        assert not self.state.sessions.by_account
        assert not self.state.sessions.by_device
        assert not self.state.conferences.by_id
        assert not self.state.resumable


@pytest.mark.parametrize("model", [*MODELS])
def test_every_life_agrees_with_the_recount(model: str) -> None:
    life = type("Life", (Life,), {"enforced": model})
    run_state_machine_as_test(life, settings=settings(stateful_step_count=40))
