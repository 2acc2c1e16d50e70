"""Random lives of a gateway, under every model: after each step everything is recounted by hand.

The mirror follows the answers that were given and retells the rules from scratch; the admission must agree with it in
every pool of every model, enforced or in shadow.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from gateway.core.admission.decisions import Admission
from gateway.core.admission.outcome import Decision
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

from gateway.core.admission.conferences import Declaration
from gateway.core.admission.snapshot import PoolView, snapshot
from gateway.core.counting.ledger import LeaseChange
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Session
from gateway.licensing import MODELS
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.admission.mirror import LEASE, Mirror, Person, Room, Tale
from tests.core_harness import CoreHarness

WINDOW = 90.0
ACCOUNTS = ["ann", "bob", "cid", "dan"]
ROOMS = ["a", "b"]
CAUSES = ["bye", "closed", "reset", "heartbeat_timeout", "kicked"]

accounts = st.sampled_from(ACCOUNTS)
rooms = st.sampled_from(ROOMS)
places = st.integers(0, 7)
flags = st.booleans()
seldom = st.sampled_from([False, False, False, True])
persons = st.builds(
    Person,
    kind=st.sampled_from(["app"] * 8 + ["sip", "sdk", "console"]),
    account=st.sampled_from([*ACCOUNTS, *ACCOUNTS, None]),
    device=st.sampled_from(["pc", "tv", None]),
    home=st.sampled_from([""] * 8 + ["far", "unknown"]),
    address=st.sampled_from(["192.0.2.1", "192.0.2.1", "192.0.2.2"]),
)


def picture(admission: Admission) -> Any:
    """All that a refused request must leave as it is: everything but the denials of the enforced model."""
    return (
        [
            {
                name: (
                    {key: [id(claim) for claim in book.claims.values_of(key)] for key in book.claims},
                    {key: (lease.since, lease.expires, lease.deleted) for key, lease in book.leases.items()},
                    list(book.reservations),
                    {key: (linger.until, linger.cause) for key, linger in book.lingering.items()},
                    book.grants,
                    dict(book.releases),
                    dict(book.denial_counts) if ledger is not admission.primary else None,
                )
                for name, book in ledger.pools.items()
            }
            for ledger in admission.ledgers
        ],
        {
            number: (each.awake, [room.id for room in each.conferences], list(each.seats))
            for number, each in admission.sessions.by_number.items()
        },
        {
            name: (room.access, room.mode, room.live, list(room.members.items()), room.hosted, room.implied_host)
            for name, room in admission.conferences.by_id.items()
        },
        [set(view) for view in (admission.conferences.live, admission.conferences.scheduled)],
        [set(view) for view in (admission.conferences.taking_part, admission.conferences.waiting)],
        {presence: len(found) for presence, found in admission.sessions.by_presence.items()},
    )


class Life(RuleBasedStateMachine):
    """Whatever clients and operators may do, in any order, under one enforced model with the others in shadow."""

    enforced = "epop"

    @initialize(
        enforce=st.sampled_from([True, True, True, False]),
        overdraft=st.sampled_from([0, 0, 1]),
        duplicate=st.sampled_from(["takeover", "takeover", "allow", "reject"]),
        trusted=seldom,
        naming=st.sampled_from(["first-use", "first-use", "listed"]),
        host_counts=flags,
        key=st.sampled_from(["connection", "device", "account", "address"]),
        edition=st.sampled_from(["server", "server", "server", "enterprise", "free"]),
        crowd=st.lists(st.tuples(persons, rooms, flags), min_size=3, max_size=6),
    )
    def open(
        self,
        enforce: bool,
        overdraft: int,
        duplicate: str,
        trusted: bool,
        naming: Any,
        host_counts: bool,
        key: Any,
        edition: Any,
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
            "floating": Floating(limit=3, key=key, linger=60.0, reserve=reserve),
        }
        names = [self.enforced, *(name for name in MODELS if name != self.enforced)]
        self.harness = CoreHarness(
            *(MODELS[name].model(self.terms[name]) for name in names),
            enforce=enforce,
            overdraft=overdraft,
            window=WINDOW,
            on_duplicate=duplicate,
            trusted=trusted,
            homes=frozenset({"far"}),
        )
        self.admission = self.harness.admission
        self.mirror = Mirror()
        self.tales = {
            name: Tale(
                name,
                self.terms[name],
                enforced=enforce and name == self.enforced,
                overdraft=overdraft,
                wall=self.harness.now.wall,
            )
            for name in names
        }
        self.primary = self.tales[self.enforced]
        self.seat_seconds: dict[tuple[str, str], float] = {}
        self.full_seconds: dict[tuple[str, str], float] = {}
        self.history: dict[tuple[str, str], list[tuple[float, int]]] = {}
        self.before: dict[str, set[Any]] = {}
        self._retell()
        for person, room, host in crowd:
            self.hello(person, room, host)

    # -- what the machine knows ------------------------------------------------------------------------------------

    def _retell(self) -> None:
        for tale in self.tales.values():
            tale.retell(self.mirror, self.harness.now.wall, self.harness.now.mono)
            for pool, keys in tale.keys.items():
                self.history.setdefault((tale.name, pool), []).append((self.harness.now.mono, len(keys)))

    def _session(self, place: int) -> Session:
        numbers = sorted(self.mirror.people)
        return self.admission.sessions.by_number[numbers[place % len(numbers)]]

    def _ended(self, outcome: Decision) -> None:
        for session, cause in outcome.ended:
            for tale in self.tales.values():
                tale.lost(self.mirror, session.number, cause, self.harness.now.mono)
            self.mirror.gone(session.number)

    def _removed(self, outcome: Decision) -> None:
        for session, message in outcome.notices:
            if message["type"] == "removed":
                self.mirror.leave(message["conference"], session.number)
        for session, message in outcome.notices:
            if message["type"] == "removed":
                assert message["seats"] == self.admission.entitlements(session)["seats"]

    def _unfounded(self, refusal: Refusal | None, seats: set[tuple[str, Any]], leaving: set[tuple[str, Any]]) -> bool:
        """Whether a pool is said to be full that has room for `seats`, when `leaving` are given back."""
        if refusal is None or refusal.reason != "pool_full":
            return False
        keys = self.primary.keys[refusal.pool]
        free = {key for pool, key in leaving if pool == refusal.pool and not self._outlives(pool, key)}
        wanted = {key for pool, key in seats if pool == refusal.pool}
        return len((keys - free) | wanted) <= self.primary.cap(refusal.pool)

    def _outlives(self, pool: str, key: Any) -> bool:
        primary = self.primary
        others = [primary.needed(self.mirror, number) for number in self.mirror.people]
        return (
            sum((pool, key) in seats for seats in others) > 1
            or pool in {"pro", "hosts"}
            or key in primary.lingering
            or (primary.name == "floating" and key in primary.reserved())
        )

    # -- clients ---------------------------------------------------------------------------------------------------

    @rule(person=persons, room=st.none() | rooms, host=flags)
    def hello(self, person: Person, room: str | None, host: bool) -> None:
        """A client comes, perhaps to join something at once."""
        if person.account and not person.home and self.harness.leasing.is_deleted(person.account):
            return
        if len(self.mirror.people) < 8:
            number = self.harness.number
            self._hello(dataclasses.replace(person))
            if room and number < self.harness.number:
                self._join(self.admission.sessions.by_number[self.harness.number], room, host=host, public=host)

    def _hello(self, person: Person) -> None:
        account, device = person.account, person.device
        before = picture(self.admission)
        session, outcome = self.harness.knock(
            account, device, kind=person.kind, home=person.home, address=person.address
        )
        if outcome.refused is not None:
            assert picture(self.admission) == before
            lone = Mirror()
            lone.people[session.number] = person
            twins = [
                number
                for number, other in self.mirror.people.items()
                if (other.identity, other.device) == (person.identity, device)
            ]
            replaces = account and device and twins and self.admission.terms.on_duplicate == "takeover"
            leaving = self.primary.needed(self.mirror, twins[-1]) if replaces else set()
            assert not self._unfounded(outcome.refused, self.primary.needed(lone, session.number), leaving)
            return
        old = [set(tale.needed(self.mirror, each.number)) for each, _ in outcome.ended for tale in self.tales.values()]
        self._ended(outcome)
        self.mirror.people[session.number] = person
        for place, tale in enumerate(self.tales.values()):
            if not (old and tale.needed(self.mirror, session.number) <= old[place]):
                tale.arrived(self.mirror, session.number)
        self._retell()

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, name=rooms, host=flags, public=flags, call=seldom, scheduled=seldom)
    def join(self, place: int, name: str, host: bool, public: bool, call: bool, scheduled: bool) -> None:
        absent = [number for number in sorted(self.mirror.people) if name not in self.mirror.in_rooms(number)]
        joiner = self.admission.sessions.by_number[absent[place % len(absent)]] if absent else self._session(place)
        self._join(joiner, name, host=host, public=public, call=call, scheduled=scheduled)

    def _join(
        self, session: Session, name: str, *, host: bool, public: bool, call: bool = False, scheduled: bool = False
    ) -> None:
        before = picture(self.admission)
        answer = self.harness.join(
            session,
            name,
            host=host,
            access="public" if public else "internal",
            mode="call" if call else "group",
            scheduled=scheduled,
        )
        if answer["type"] == "denied":
            assert picture(self.admission) == before
            assert answer["reason"] != "pool_full" or answer["used"] >= answer["limit"]
            return
        if name not in self.mirror.rooms:
            self.mirror.rooms[name] = Room(
                answer["mode"] == "group", answer["access"] == "public", answer["state"] == "live"
            )
            if name not in self.mirror.declared:
                assert (answer["mode"] == "call", answer["access"] == "public") == (call, public)
                assert answer["type"] == ("waiting" if scheduled else "joined")
        self.mirror.enter(name, session.number, host=host)
        self._retell()

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
        session = self.admission.sessions.by_number[number]
        before = picture(self.admission)
        outcome = self.harness.start(session, name)
        room = self.mirror.rooms.get(name)
        if outcome.refused is not None:
            assert picture(self.admission) == before
            return
        assert room is not None
        if room.live:
            assert picture(self.admission) == before
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
        waited, room.members, room.live, room.stand_in = room.members, {}, True, None
        answered = [(member, message) for member, message in outcome.notices if message["type"] in {"joined", "denied"}]
        assert [member.number for member, _ in answered] == list(waited)
        for member, message in answered:
            if message["type"] == "joined":
                self.mirror.enter(name, member.number, host=waited[member.number])
        if not room.members:
            del self.mirror.rooms[name]
        self._retell()

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, name=rooms)
    def leave(self, place: int, name: str) -> None:
        session = self._session(place)
        name = next(iter(self.mirror.in_rooms(session.number)), name)
        before = picture(self.admission)
        if self.harness.leave(session, name)["type"] == "denied":
            assert picture(self.admission) == before
            assert name not in self.mirror.in_rooms(session.number)
            return
        self.mirror.leave(name, session.number)
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
        before = picture(self.admission)
        if self.harness.sleep(session)["type"] == "denied":
            assert picture(self.admission) == before
            assert self.mirror.in_rooms(session.number)
            return
        self.mirror.people[session.number].awake = False
        self._retell()

    def _wake(self, session: Session) -> None:
        before = picture(self.admission)
        if self.harness.wake(session)["type"] == "denied":
            assert picture(self.admission) == before
            return
        self.mirror.people[session.number].awake = True
        self._retell()

    @precondition(lambda self: self.mirror.people)
    @rule(place=places)
    def request_pro(self, place: int) -> None:
        session = self._session(place)
        before = picture(self.admission)
        answer = self.harness.request_pro(session)
        if answer["type"] == "denied":
            assert picture(self.admission) == before
            return
        assert self.enforced == "trueconf"
        assert session.account is not None
        self.primary.request(session.account)
        self._retell()

    @precondition(lambda self: self.mirror.people)
    @rule(place=places, cause=st.sampled_from(CAUSES))
    def end(self, place: int, cause: str) -> None:
        self._ended(self.harness.end(self._session(place), cause))
        self._retell()

    # -- operators -------------------------------------------------------------------------------------------------

    @rule(account=accounts, verb=st.sampled_from(["revoke", "revoke", "forget", "name_host", "name_host", "unname"]))
    def administer(self, account: str, verb: str) -> None:
        getattr(self, "_" + verb)(account)

    def _revoke(self, account: str) -> None:
        tale = self.tales["trueconf"]
        if account in tale.temporary:
            self._removed(self.harness.revoke(account))
            tale.revoke(account)
            self._retell()

    @precondition(lambda self: self.terms["trueconf"].edition != "free")
    @rule(configured=st.lists(accounts, max_size=3))
    def redistribute(self, configured: list[str]) -> None:
        tale = self.tales["trueconf"]
        lost = tale.redistribute(configured)
        inside = {self.admission.sessions.by_number[number].number for number in self._inside(lost)}
        outcome, beyond = self.harness.redistribute(configured)
        assert {session.number for session, message in outcome.notices if message["type"] == "removed"} == inside
        if tale.enforced:
            asked = [each for each in dict.fromkeys(configured) if each not in tale.deleted]
            assert beyond == [each for each in asked if each not in tale.permanent]
        self._removed(outcome)
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
        if self.harness.leasing.is_deleted(account):
            return
        self._ended(self.harness.forget(account))
        self.tales["trueconf"].forget(account)
        self._retell()

    def _name_host(self, account: str) -> None:
        tale = self.tales["nefsis-named"]
        before = picture(self.admission)
        named = self.harness.name_host(account)
        if isinstance(named, Refusal):
            assert picture(self.admission) == before
            assert len(tale.names) >= self.terms["nefsis-named"].hosts
            return
        tale.names.add(account)
        self._retell()

    def _unname(self, account: str) -> None:
        tale = self.tales["nefsis-named"]
        if account not in tale.names:
            return
        self.harness.unname(account)
        tale.names.remove(account)
        for number in self.mirror.of(account):
            for room in self.mirror.live(number):
                room.unnamed.add(number)
        self._retell()

    @rule(name=rooms, public=flags, call=seldom, scheduled=flags, ended=seldom)
    def declare(self, name: str, public: bool, call: bool, scheduled: bool, ended: bool) -> None:
        if ended:
            self._dissolve(name)
            return
        declaration = Declaration("public" if public else "internal", "call" if call else "group", scheduled)
        self.admission.declare(name, declaration)
        self.mirror.declared.add(name)

    def _dissolve(self, name: str) -> None:
        outcome = self.harness.dissolve(name)
        assert (outcome is None) == (name not in self.mirror.declared and name not in self.mirror.rooms)
        self.mirror.declared.discard(name)
        if outcome is not None:
            self._removed(outcome)
        assert name not in self.mirror.rooms
        self._retell()

    @rule(name=st.sampled_from([*MODELS]), limit=st.integers(1, 4))
    def retune(self, name: str, limit: int) -> None:
        key = {"trueconf": "pro", "nefsis-named": "hosts", "floating": "limit"}.get(name, "users")
        terms = dataclasses.replace(self.terms[name], **{key: limit})
        snapshot(self.admission, self.harness.now.mono)
        ledger = self.harness.ledger(name)
        ledger.apply_terms(MODELS[name].model(terms), self.primary.overdraft, self.harness.now)
        self.terms[name] = self.tales[name].terms = terms
        self._retell()

    @rule(seconds=st.sampled_from([0.4, 1.0, 7.0, 60.0, 100.0, 6 * 3600.0, 12 * 3600.0, 24 * 3600.0]))
    def wait(self, seconds: float) -> None:
        for tale in self.tales.values():
            for pool, keys in tale.keys.items():
                name, limit = (tale.name, pool), tale.limits[pool]
                self.seat_seconds[name] = self.seat_seconds.get(name, 0.0) + len(keys) * seconds
                full = limit is not None and len(keys) >= limit
                self.full_seconds[name] = self.full_seconds.get(name, 0.0) + full * seconds
        self.harness.wait(seconds)
        self._retell()

    # -- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def use_is_the_number_of_distinct_keys(self) -> None:
        for tale in self.tales.values():
            for pool, book in self.harness.ledger(tale.name).pools.items():
                assert set(book.claims) == tale.keys[pool], (tale.name, pool)

    @invariant()
    def sessions_hold_what_their_facts_give(self) -> None:
        for ledger in self.admission.ledgers:
            for number, session in self.admission.sessions.by_number.items():
                assert set(session.seats[ledger.index]) == self.tales[ledger.model.name].needed(self.mirror, number)

    @invariant()
    def nothing_is_granted_at_the_limit(self) -> None:
        for pool, keys in self.primary.keys.items():
            before = self.before.get(pool, set())
            assert len(keys) <= max(self.primary.cap(pool), len(before)), (pool, keys, before)
        self.before = dict(self.primary.keys)

    @invariant()
    def totals_agree_with_use_and_time(self) -> None:
        for view in snapshot(self.admission, self.harness.now.mono).pools:
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
        until = [time for time, _ in points[1:]] + [now]
        seen = [(end, used) for end, (_, used) in zip(until, points, strict=True)]
        least = max(used for end, used in seen if end >= now - WINDOW)
        most = max(used for end, used in seen if end >= now - WINDOW - 1)
        assert least <= view.high_water <= most, (view, points)

    @invariant()
    def leases_end_when_the_rules_say(self) -> None:
        tale, book = self.tales["trueconf"], self.harness.ledger("trueconf").pools["pro"]
        assert {key: lease.expires for key, lease in book.leases.items()} == {**tale.temporary, **tale.deleted}
        assert {key for key, lease in book.leases.items() if lease.deleted} == set(tale.deleted)
        assert list(book.reservations) == tale.permanent
        running = [end for end in (*tale.temporary.values(), *tale.deleted.values()) if end is not None]
        assert self.harness.ledger("trueconf").next_expiry() == min(running, default=None)

    @invariant()
    def the_changes_tell_the_present_leases(self) -> None:
        replayed: dict[tuple[str, str, Any, str], LeaseChange] = {}
        for change in self.harness.changes:
            place = change.model, change.pool, change.key, change.kind
            if change.ended is None:
                replayed[place] = change
            else:
                del replayed[place]
        expected: dict[tuple[str, str, Any, str], LeaseChange] = {}
        for ledger in self.admission.ledgers:
            for name, book in ledger.pools.items():
                kept = book.reservations if name == ledger.model.account_pool else {}
                changes = [ledger.lease_change(name, key, lease) for key, lease in book.leases.items()]
                changes += [ledger.lease_change(name, key, reservation) for key, reservation in kept.items()]
                expected |= {(ledger.model.name, name, each.key, each.kind): each for each in changes}
        assert replayed == expected

    @invariant()
    def the_views_equal_a_recount(self) -> None:
        mirror, sessions, conferences = self.mirror, self.admission.sessions, self.admission.conferences
        people, rooms = mirror.people, mirror.rooms
        assert set(sessions.by_number) == set(people)
        presence: dict[tuple[str, bool], int] = {}
        for person in people.values():
            presence[person.kind, person.awake] = presence.get((person.kind, person.awake), 0) + 1
        seen = snapshot(self.admission, self.harness.now.mono)
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
        idle = mirror.declared - set(rooms)
        assert seen.conferences == {"live": len(live), "scheduled": len(set(rooms) - live) + len(idle)}

    def teardown(self) -> None:
        if not hasattr(self, "gate"):
            return
        for session in list(self.admission.sessions.by_number.values()):
            self.harness.end(session, "closed")
        self.harness.wait(LEASE)
        for ledger in self.admission.ledgers:
            for book in ledger.pools.values():
                kept = {*book.reservations, *(book.leases if book.terms.endless else ())}
                assert set(book.claims) == kept
        assert not self.admission.sessions.by_account
        assert not self.admission.sessions.by_device
        assert not self.admission.conferences.by_id


@pytest.mark.parametrize("model", [*MODELS])
def test_every_life_agrees_with_the_recount(model: str) -> None:
    life = type("Life", (Life,), {"enforced": model})
    run_state_machine_as_test(life, settings=settings(stateful_step_count=40))
