"""The registrar: every step with everything that may be said in it, tickets, doubles, and the end of licenses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.formats import utc
from gateway.core.registration.agent_protocol import AgentConversation, Received, Verdict
from gateway.core.registration.authentication import canonical, genuine, mac, proof, sealed
from gateway.core.registration.grant import Grant
from gateway.core.registration.registrar import (
    MAX_INSTALLATIONS,
    ConversationStep,
    Registrar,
    RegistrarConversation,
    Reply,
    SoldLicense,
)
from gateway.core.wire.json_lines import Message
from gateway.core.wire.messages import RequestFault
from gateway.licensing import OFFERS

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
NOW = 1_800_000_000.0
OURS = "0a" * 16


def draws() -> Callable[[], str]:
    """Nonces and tickets, all different."""
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):032x}"


def selling(*serials: str, **terms: Any) -> Registrar:
    """A registrar that has sold licenses, all with the same key."""
    registrar = Registrar(draws(), 60)
    for serial in serials or ("DEMO-1",):
        registrar.issue(serial, {"edition": "free", **terms}, OFFERS, KEY, NOW)
    return registrar


class Caller:
    """A real agent that talks to a registrar without a wire between."""

    def __init__(
        self,
        registrar: Registrar,
        server: str = "gw-1",
        *,
        serial: str = "DEMO-1",
        key: bytes = KEY,
        ticket: str | None = None,
        now: float = NOW,
    ) -> None:
        self.registrar = registrar
        self.now = now
        self.key = key
        self.talk = RegistrarConversation("192.0.2.1")
        self.agent = AgentConversation(
            key, OFFERS, server=server, serial=serial, version="v1", nonce=OURS, ticket=ticket
        )
        self.replies: list[Reply] = []

    def say(self, message: Message) -> Reply:
        reply = self.registrar.receive(self.talk, message, self.now)
        self.replies.append(reply)
        return reply

    def hear(self, reply: Reply) -> Received:
        assert reply.answer is not None
        return self.agent.receive(reply.answer)

    def challenged(self) -> Message:
        """Register; the proof that answers the challenge."""
        answer = self.hear(self.say(self.agent.register)).answer
        assert answer is not None
        return answer

    def register(self) -> Received:
        return self.hear(self.say(self.challenged()))

    def verify(self, **used: int) -> Received:
        return self.hear(self.say(self.agent.verify(used)))


def served(registrar: Registrar, server: str = "gw-1", **options: Any) -> Caller:
    caller = Caller(registrar, server, **options)
    assert caller.register().verdict is Verdict.REGISTERED
    return caller


def at(step: ConversationStep) -> Caller:
    """A caller in a conversation that has come to a step."""
    caller = Caller(selling())
    if step is not ConversationStep.NEW:
        proven = caller.challenged()
        if step in {ConversationStep.SERVED, ConversationStep.OVER}:
            caller.hear(caller.say(proven))
    if step is ConversationStep.OVER:
        caller.registrar.end(caller.talk)
    assert caller.talk.step is step
    return caller


# -- every step --------------------------------------------------------------------------------------------------------

REGISTER = {"type": "register", "protocol": 1, "server": "gw-1", "serial": "DEMO-1", "nonce": OURS}
SAID: dict[str, Callable[[Caller], Message]] = {
    "register": lambda _: REGISTER,
    "proof": lambda caller: {
        "type": "proof",
        "mac": proof(KEY, caller.agent.register, caller.talk.nonces.partition("\n")[2]),
    },
    "verify": lambda caller: sealed(KEY, caller.talk.nonces, {"type": "verify", "seq": 1}),
    "verified": lambda caller: sealed(KEY, caller.talk.nonces, {"type": "verified", "seq": 1, "ticket": "t"}),
    "challenge": lambda _: {"type": "challenge", "nonce": OURS},
    "revoked": lambda caller: sealed(KEY, caller.talk.nonces, {"type": "revoked", "reason": "revoked"}),
    "another protocol": lambda _: {**REGISTER, "protocol": 2},
    "a field that is wrong": lambda _: {**REGISTER, "nonce": "x"},
    "a float": lambda _: {**REGISTER, "more": 1.5},
    "no type": lambda _: {},
    "garbage": lambda _: {"type": ["register"]},
}
GOOD = {
    (ConversationStep.NEW, "register"): ("challenge", "", ConversationStep.CHALLENGED),
    (ConversationStep.CHALLENGED, "proof"): ("registered", "registered", ConversationStep.SERVED),
    (ConversationStep.SERVED, "verify"): ("verified", "verified", ConversationStep.SERVED),
}


@pytest.mark.parametrize("step", ConversationStep)
@pytest.mark.parametrize("what", SAID)
def test_what_is_done_with_each_message_in_each_step(step: ConversationStep, what: str) -> None:
    caller = at(step)
    reply = caller.say(SAID[what](caller))
    if step is ConversationStep.OVER:
        assert reply == Reply()
        assert caller.talk.step is ConversationStep.OVER
        return
    if (step, what) not in GOOD:
        assert reply == Reply({"type": "refused", "reason": "malformed"}, "malformed", over=True)
        assert caller.talk.step is ConversationStep.OVER
        assert not caller.registrar.conversations
        return
    type, result, after = GOOD[step, what]
    assert reply.answer is not None
    assert (reply.answer["type"], reply.result, caller.talk.step) == (type, result, after)
    assert not reply.over


def test_an_agent_and_a_registrar_understand_each_other() -> None:
    registrar = selling(limits={"pro": 7}, extensions=["sdk"], not_after="2027-12-31")
    caller = Caller(registrar)
    heard = caller.register()
    license = registrar.licenses["DEMO-1"]
    installation = registrar.installations["DEMO-1", "gw-1"]
    assert heard == Received(
        Verdict.REGISTERED, grant=license.grant, interval=60, ticket=installation.ticket or "", time=utc(NOW)
    )
    assert (installation.since, installation.address, installation.version) == (NOW, "192.0.2.1", "v1")
    caller.now += 54
    heard = caller.verify(online=3, pro=1)
    assert heard == Received(Verdict.VERIFIED, ticket=installation.ticket or "", time=utc(NOW + 54))
    assert (installation.verified, installation.used) == (NOW + 54, {"online": 3, "pro": 1})
    assert caller.replies[-1].changed is installation
    registrar.end(caller.talk)
    assert (installation.since, registrar.conversations) == (None, {})


def test_the_answers_carry_the_code_of_this_conversation_only() -> None:
    caller = served(selling())
    other = served(selling("DEMO-1"), ticket=None)
    answers = [reply.answer for reply in caller.replies[1:]]
    assert all(answer is not None and genuine(KEY, caller.talk.nonces, answer) for answer in answers)
    nonces = f"{OURS}\n{'9' * 32}"
    assert not any(answer is not None and genuine(KEY, nonces, answer) for answer in answers)
    assert other.talk.nonces.partition("\n")[0] == OURS


# -- who does not have the key -----------------------------------------------------------------------------------------


def overheard(caller: Caller, proven: Message | None = None) -> list[Reply]:
    """All that somebody is told who knows a serial and has no key for it."""
    answer = caller.challenged()
    caller.say(proven or answer)
    caller.say(caller.agent.register)
    return caller.replies


@pytest.mark.parametrize("state", ["active", "expired", "revoked", "in use"])
def test_a_serial_that_does_not_exist_cannot_be_told_from_a_wrong_key(state: str) -> None:
    def house() -> Registrar:
        registrar = selling(not_after="2020-01-01" if state == "expired" else None)
        if state == "revoked":
            registrar.revoke("DEMO-1", NOW)
        if state == "in use":
            served(registrar, "gw-2")
        return registrar

    wrong = overheard(Caller(house(), key=OTHER_KEY))
    unknown = overheard(Caller(house(), key=OTHER_KEY, serial="NONE-1"))
    assert wrong == unknown
    assert wrong[1:] == [Reply({"type": "refused", "reason": "bad_credential"}, "bad_credential", over=True), Reply()]


@pytest.mark.parametrize("serial", ["DEMO-1", "NONE-1"])
@pytest.mark.parametrize("told", ["", "0" * 64, "ä" * 32])
def test_no_guess_is_a_proof_and_nothing_is_remembered_of_it(serial: str, told: str) -> None:
    caller = Caller(selling(), serial=serial)
    replies = overheard(caller, {"type": "proof", "mac": told})
    assert replies[1].result == "bad_credential"
    assert not caller.registrar.installations
    assert not caller.registrar.conversations


def test_the_key_of_licenses_that_do_not_exist_is_drawn_and_no_proof_of_it_helps() -> None:
    registrar = selling()
    caller = Caller(registrar, serial="NONE-1", key=registrar._decoy)
    assert caller.say(caller.challenged()).result == "bad_credential"


def test_a_proof_of_another_conversation_is_no_proof() -> None:
    registrar = selling()
    yesterday = Caller(registrar).challenged()
    caller = Caller(registrar)
    caller.challenged()
    assert caller.say(yesterday).result == "bad_credential"


@pytest.mark.parametrize("field", ["server", "serial", "version", "ticket", "more"])
def test_a_registration_that_was_changed_on_the_way_is_refused(field: str) -> None:
    registrar = selling("DEMO-1", "DEMO-2")
    caller = Caller(registrar, ticket="t0")
    answer = caller.hear(caller.say({**caller.agent.register, field: "DEMO-2"})).answer
    assert answer is not None
    assert caller.say(answer).result == "bad_credential"


# -- refused with the key ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["expired", "revoked", "in_use"])
def test_who_has_the_key_is_told_why_provably(reason: str) -> None:
    registrar = selling(not_after="2020-01-01" if reason == "expired" else None)
    if reason == "revoked":
        registrar.revoke("DEMO-1", NOW)
    if reason == "in_use":
        served(registrar, "gw-2")
    caller = Caller(registrar)
    assert caller.register() == Received(Verdict.REFUSED, reason=reason)
    assert (caller.replies[-1].result, caller.replies[-1].over) == (reason, True)
    assert caller.talk.step is ConversationStep.OVER


@pytest.mark.parametrize(("seconds", "good"), [(-1, True), (0, True), (1, False)])
def test_a_license_ends_after_its_last_second(seconds: int, good: bool) -> None:
    registrar = selling(not_after=int(NOW))
    heard = Caller(registrar, now=NOW + seconds).register()
    assert heard.verdict is (Verdict.REGISTERED if good else Verdict.REFUSED)
    assert registrar.licenses["DEMO-1"].state(NOW + seconds) == ("active" if good else "expired")


def test_another_installation_is_refused_while_one_is_connected_and_both_are_under_suspicion() -> None:
    registrar = selling()
    first = served(registrar)
    installation = registrar.installations["DEMO-1", "gw-1"]
    second = Caller(registrar, "gw-2")
    second.register()
    reply = second.replies[-1]
    assert (reply.clone, reply.changed) == ("in_use", installation)
    assert (registrar.clones, installation.clones) == (1, 1)
    assert ("DEMO-1", "gw-2") not in registrar.installations
    assert first.verify().verdict is Verdict.VERIFIED
    registrar.end(first.talk)
    assert Caller(registrar, "gw-2").register().verdict is Verdict.REGISTERED
    assert registrar.clones == 1


def test_the_same_installation_replaces_its_old_connection() -> None:
    registrar = selling()
    old = served(registrar)
    new = Caller(registrar, ticket=registrar.installations["DEMO-1", "gw-1"].ticket, now=NOW + 5)
    assert new.register().verdict is Verdict.REGISTERED
    assert new.replies[-1].replaced is old.talk
    assert old.talk.step is ConversationStep.OVER
    assert old.say(old.agent.verify({})) == Reply()
    registrar.end(old.talk)
    installation = registrar.installations["DEMO-1", "gw-1"]
    assert registrar.conversations == {"DEMO-1": new.talk}
    assert (installation.since, registrar.clones) == (NOW + 5, 0)
    assert new.verify().verdict is Verdict.VERIFIED


def test_whoever_has_the_key_cannot_have_any_number_of_servers_remembered() -> None:
    registrar = selling()
    forgotten: list[str] = []
    for number in range(MAX_INSTALLATIONS + 2):
        caller = served(registrar, f"gw-{number}", now=NOW + number)
        forgotten += [each.server for each in (reply.forgotten for reply in caller.replies) if each is not None]
        registrar.end(caller.talk)
    assert forgotten == ["gw-0", "gw-1"]
    assert len(registrar.installations) == MAX_INSTALLATIONS


def test_who_only_knows_the_serial_replaces_nobody() -> None:
    registrar = selling()
    first = served(registrar)
    assert Caller(registrar, key=OTHER_KEY).register().verdict is Verdict.TURNED_AWAY
    assert first.verify().verdict is Verdict.VERIFIED


# -- tickets -----------------------------------------------------------------------------------------------------------


def test_every_answer_has_another_ticket() -> None:
    registrar = selling()
    caller = Caller(registrar)
    tickets = [caller.register().ticket, *(caller.verify().ticket for _ in range(5))]
    assert len(set(tickets)) == 6
    assert registrar.installations["DEMO-1", "gw-1"].ticket == tickets[-1]


@pytest.mark.parametrize(
    ("shown", "clone"), [("last", ""), ("none", ""), ("older", "ticket"), ("foreign", "ticket"), ("empty", "ticket")]
)
def test_a_ticket_that_is_not_the_last_betrays_a_double_that_is_served_all_the_same(shown: str, clone: str) -> None:
    registrar = selling()
    caller = Caller(registrar)
    tickets = {
        "older": caller.register().ticket,
        "last": caller.verify().ticket,
        "none": None,
        "foreign": "x",
        "empty": "",
    }
    registrar.end(caller.talk)
    again = Caller(registrar, ticket=tickets[shown])
    assert again.register().verdict is Verdict.REGISTERED
    assert again.replies[-1].clone == clone
    assert (registrar.clones, registrar.installations["DEMO-1", "gw-1"].clones) == (bool(clone), bool(clone))
    assert again.verify().verdict is Verdict.VERIFIED


def test_two_copies_of_a_disk_betray_each_other_each_time_they_take_turns() -> None:
    registrar = selling()
    kept = {"one": Caller(registrar).register().ticket}
    kept["two"] = kept["one"]
    seen = []
    for copy in ("one", "two", "one", "one", "two"):
        caller = Caller(registrar, ticket=kept[copy])
        kept[copy] = caller.register().ticket
        seen.append(caller.replies[-1].clone)
    assert seen == ["", "ticket", "ticket", "", "ticket"]


def test_a_ticket_of_an_installation_that_nobody_remembers_says_nothing() -> None:
    caller = served(selling(), ticket="from a store that was lost")
    assert caller.replies[-1].clone == ""


# -- verification ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seq", [2, 3, 10**9])
def test_a_number_out_of_turn_ends_the_conversation_without_a_word(seq: int) -> None:
    caller = served(selling())
    reply = caller.say(sealed(KEY, caller.talk.nonces, {"type": "verify", "seq": seq}))
    assert reply == Reply(None, "bad_sequence", over=True)
    assert not caller.registrar.conversations


def test_a_verification_said_again_ends_the_conversation() -> None:
    caller = served(selling())
    asked = caller.agent.verify({})
    assert caller.say(asked).result == "verified"
    assert caller.say(asked) == Reply(None, "bad_sequence", over=True)


@pytest.mark.parametrize("fault", ["key", "conversation", "changed", "code"])
def test_a_verification_without_its_code_ends_the_conversation_without_a_word(fault: str) -> None:
    caller = served(selling())
    installation = caller.registrar.installations["DEMO-1", "gw-1"]
    before = (installation.ticket, installation.verified)
    body: Message = {"type": "verify", "seq": 1, "used": {"pro": 1}}
    message = {
        "key": sealed(OTHER_KEY, caller.talk.nonces, body),
        "conversation": sealed(KEY, f"{'0c' * 16}\n{OURS}", body),
        "changed": {**sealed(KEY, caller.talk.nonces, body), "used": {"pro": 0}},
        "code": {**body, "mac": ""},
    }[fault]
    assert caller.say(message) == Reply(None, "bad_mac", over=True)
    assert (installation.ticket, installation.verified, installation.used) == (*before, {})
    assert installation.since is None


def test_use_that_is_not_reported_is_none() -> None:
    caller = served(selling())
    caller.verify(pro=5)
    caller.say(sealed(KEY, caller.talk.nonces, {"type": "verify", "seq": 2}))
    assert caller.registrar.installations["DEMO-1", "gw-1"].used == {}


# -- licenses ----------------------------------------------------------------------------------------------------------


def test_revoking_tells_the_connected_server_at_once() -> None:
    registrar = selling("DEMO-1", "DEMO-2")
    caller, other = served(registrar), served(registrar, serial="DEMO-2")
    told = registrar.revoke("DEMO-1", NOW + 1)
    assert told is not None
    assert told[0] is caller.talk
    assert caller.hear(told[1]) == Received(Verdict.REVOKED, reason="revoked")
    assert (told[1].result, told[1].over) == ("revoked", True)
    assert registrar.revoke("DEMO-1", NOW + 2) is None
    assert registrar.licenses["DEMO-1"].revoked == NOW + 1
    assert other.verify().verdict is Verdict.VERIFIED


def test_removing_tells_the_connected_server_and_forgets_what_is_known_of_it() -> None:
    registrar = selling("DEMO-1", "DEMO-2")
    for server in ("gw-1", "gw-2"):
        registrar.end(served(registrar, server).talk)
    caller, other = served(registrar), served(registrar, serial="DEMO-2")
    told = registrar.remove("DEMO-1")
    assert told is not None
    assert caller.hear(told[1]) == Received(Verdict.REVOKED, reason="revoked")
    assert list(registrar.licenses) == ["DEMO-2"]
    assert list(registrar.installations) == [("DEMO-2", "gw-1")]
    assert registrar.conversations == {"DEMO-2": other.talk}
    assert Caller(registrar).register().verdict is Verdict.TURNED_AWAY


def test_there_is_no_license_to_revoke_or_remove() -> None:
    registrar = selling()
    with pytest.raises(LookupError):
        registrar.revoke("NONE-1", NOW)
    with pytest.raises(LookupError):
        registrar.remove("NONE-1")


def test_servers_whose_licenses_have_ended_are_told_once() -> None:
    registrar = selling("DEMO-1", not_after=int(NOW) + 60)
    registrar.issue("DEMO-2", {}, OFFERS, KEY, NOW)
    caller = served(registrar)
    served(registrar, serial="DEMO-2")
    assert list(registrar.ended(NOW + 60)) == []
    [(talk, reply)] = registrar.ended(NOW + 61)
    assert talk is caller.talk
    assert caller.hear(reply) == Received(Verdict.REVOKED, reason="expired")
    assert list(registrar.ended(NOW + 61)) == []
    assert list(registrar.conversations) == ["DEMO-2"]


def test_a_verification_after_the_end_of_the_license_is_answered_by_the_end() -> None:
    registrar = selling(not_after=int(NOW) + 60)
    caller = served(registrar)
    caller.now += 61
    assert caller.verify() == Received(Verdict.REVOKED, reason="expired")
    assert caller.talk.step is ConversationStep.OVER


def test_terms_are_changed_without_another_key_and_hold_from_the_next_registration() -> None:
    registrar = selling(limits={"pro": 5})
    caller = served(registrar)
    assert registrar.issue("DEMO-1", {"edition": "server"}, OFFERS, OTHER_KEY, NOW + 9) is False
    assert registrar.licenses["DEMO-1"] == SoldLicense("DEMO-1", KEY, Grant("trueconf", "server", {}), NOW)
    assert caller.verify().verdict is Verdict.VERIFIED
    assert Caller(registrar).register().grant == Grant("trueconf", "server", {})


def test_a_license_that_ended_is_prolonged_and_one_that_was_revoked_is_not() -> None:
    registrar = selling(not_after="2020-01-01")
    assert not registrar.issue("DEMO-1", {"not_after": "2099-01-01"}, OFFERS, OTHER_KEY, NOW)
    assert Caller(registrar).register().verdict is Verdict.REGISTERED
    registrar.revoke("DEMO-1", NOW)
    with pytest.raises(RequestFault, match="was revoked") as fault:
        registrar.issue("DEMO-1", {}, OFFERS, OTHER_KEY, NOW)
    assert fault.value.code == "revoked"
    registrar.remove("DEMO-1")
    assert registrar.issue("DEMO-1", {}, OFFERS, OTHER_KEY, NOW)
    assert Caller(registrar).register().verdict is Verdict.TURNED_AWAY
    assert Caller(registrar, key=OTHER_KEY).register().verdict is Verdict.REGISTERED


def test_wrong_terms_change_nothing() -> None:
    registrar = selling(limits={"pro": 5})
    before = registrar.licenses.copy()
    for terms in ({"limits": {"seats": 1}}, {"limits": {"pro": 1.5}}, {"edition": "gold"}, {"model": "none"}):
        for serial in ("DEMO-1", "NEW-1"):
            with pytest.raises(RequestFault):
                registrar.issue(serial, terms, OFFERS, KEY, NOW)
    assert registrar.licenses == before


# -- by hand -----------------------------------------------------------------------------------------------------------

REQUEST = {"server": "gw-1", "serial": "DEMO-1", "nonce": OURS, "time": utc(NOW)}


def test_an_offline_answer_says_what_was_sold_to_whom_and_when() -> None:
    registrar = selling(limits={"pro": 7}, not_after="2027-12-31")
    answer = registrar.answer(REQUEST, NOW + 60)
    unsigned = {
        "model": "trueconf",
        "edition": "free",
        "limits": {"pro": 7},
        "extensions": [],
        "needs_connection": True,
        "not_after": "2027-12-31T23:59:59Z",
        "server": "gw-1",
        "serial": "DEMO-1",
        "nonce": OURS,
        "issued_at": utc(NOW + 60),
    }
    assert answer == {**unsigned, "mac": mac(KEY, "offline", canonical(unsigned))}
    assert not registrar.installations


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"serial": "NONE-1"}, "no_such_license"),
        ({"serial": "GONE-1"}, "revoked"),
        ({"serial": "PAST-1"}, "expired"),
        ({"nonce": "x"}, "bad_field"),
        ({"server": None}, "bad_field"),
        ({"more": 0.5}, "bad_field"),
    ],
)
def test_a_request_that_gets_no_answer(change: Message, code: str) -> None:
    registrar = selling("DEMO-1", "GONE-1")
    registrar.revoke("GONE-1", NOW)
    registrar.issue("PAST-1", {"not_after": "2020-01-01"}, OFFERS, KEY, NOW)
    with pytest.raises(RequestFault) as fault:
        registrar.answer({**REQUEST, **change}, NOW)
    assert fault.value.code == code


# -- in any order ------------------------------------------------------------------------------------------------------


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["connect", "verify", "end", "again"]), st.integers(0, 2), st.booleans()), max_size=30
    )
)
def test_one_server_is_served_at_a_time_whatever_callers_do(steps: list[tuple[str, int, bool]]) -> None:
    registrar = selling()
    callers: dict[int, Caller] = {}
    for what, place, right in steps:
        server = f"gw-{place}"
        if what == "connect":
            caller = Caller(registrar, server, key=KEY if right else OTHER_KEY)
            taken = any(other.talk.step is ConversationStep.SERVED and each != place for each, other in callers.items())
            heard = caller.register()
            expected = Verdict.TURNED_AWAY if not right else Verdict.REFUSED if taken else Verdict.REGISTERED
            assert heard.verdict is expected
            if expected is Verdict.REGISTERED:
                callers[place] = caller
        elif place in callers:
            caller = callers[place]
            if what == "end":
                registrar.end(caller.talk)
            elif what == "again":
                caller.say(caller.agent.register)
            elif caller.talk.step is ConversationStep.SERVED:
                assert caller.verify().verdict is Verdict.VERIFIED
        on = [caller.talk for caller in callers.values() if caller.talk.step is ConversationStep.SERVED]
        assert list(registrar.conversations.values()) == on
        assert {each.server for each in registrar.installations.values() if each.since is not None} == {
            talk.register["server"] for talk in on
        }


def test_an_extension_that_the_model_does_not_have_is_not_sold() -> None:
    registrar = selling()
    with pytest.raises(RequestFault, match=r"trueconf has ldap, .*; not SDK"):
        registrar.issue("S-2", {"extensions": ["SDK", "sdk"]}, OFFERS, KEY, NOW)
    with pytest.raises(RequestFault, match="epop has none; not sdk"):
        registrar.issue("S-2", {"model": "epop", "extensions": ["sdk"]}, OFFERS, KEY, NOW)
    assert "S-2" not in registrar.licenses


def test_an_installation_that_comes_again_and_again_is_one_suspicion() -> None:
    registrar = selling()
    first = served(registrar)
    for number in range(3):
        again = Caller(registrar, "gw-2")
        assert again.register().reason == "in_use"
        assert again.replies[-1].clone == ("" if number else "in_use")
    assert Caller(registrar, "gw-3").register().reason == "in_use"
    assert registrar.clones == registrar.installations["DEMO-1", "gw-1"].clones == 2
    assert first.verify().verdict is Verdict.VERIFIED
