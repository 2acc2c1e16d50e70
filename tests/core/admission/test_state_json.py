"""A state that was written down and read again goes on the same way, and what is no state is not taken for one."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.admission import commands as c
from gateway.core.admission.apply import HANDLERS, apply
from gateway.core.admission.bans import BanSubject
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.decision import Decision, LeaseBefore, Withdraw
from gateway.core.admission.registration_commands import RegistrarSaid, SetInstallation
from gateway.core.admission.snapshot import snapshot
from gateway.core.admission.state import State
from gateway.core.admission.state_json import FORMAT, NotAState, digest, from_json, to_json
from gateway.core.admission.terms import Terms
from gateway.core.counting.session import Instant, Session
from gateway.core.registration.grant import Grant
from gateway.licensing import MODELS
from gateway.licensing.epop import Epop
from gateway.licensing.floating import Floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed
from gateway.licensing.trueconf import TrueConf
from tests.core.admission.random_day import RandomDay
from tests.core.harnesses import DIGEST
from tests.core_harness import DAY, HOUR, START

ACCOUNTS = ("ann", "o'brien", "jörg m", "ann/far")
ADDRESSES = ("192.0.2.1", "192.0.2.2")
DEVICES = ("pc", "tv", None)
ROOMS = ("a", "b", "c")
KINDS = ("app", "app", "app", "browser", "sip", "sdk", "console")
CAUSES = ("bye", "closed", "reset", "heartbeat_timeout", "kicked", "drained", "node_lost")
DIGEST_EVERY = 5
"""Commands between two comparisons of the whole state; decisions are compared after each."""
LICENSES: dict[str, Any] = {
    "epop": Epop(users=3),
    "nefsis-concurrent": NefsisConcurrent(users=3),
    "nefsis-named": NefsisNamed(hosts=2, participants=3),
    "trueconf": TrueConf(pro=2, online=4, guest=1, gateway=1, allow_pro_requests=True, online_packs=(50,)),
    "floating": Floating(limit=4, key="device", linger=60.0, reserve=("ann/pc",)),
}


def terms_of(model: str) -> Terms:
    """Terms under which `model` decides and every pool fills soon."""
    names = dict.fromkeys((model, *MODELS))
    return Terms(
        model,
        {name: LICENSES[name] for name in names},
        extensions=("sdk",),
        homes=("far",),
        home="near",
        resume_window=20.0,
        max_resumable=2,
        redistribute_every=6 * HOUR,
        queue_order="priority",
        returning=90.0,
    )


def again(state: State) -> State:
    """The state, written down as text and read."""
    return from_json(json.loads(json.dumps(to_json(state))), MODELS)


# -- random commands ---------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """A command to be made of what is there: its name, how long after the last one, and what to choose."""

    name: str
    seconds: float
    who: int
    what: int
    flag: bool
    other: bool


OFTEN = (
    ["Wait"] * 4
    + ["Hello"] * 8
    + ["Join"] * 10
    + ["Leave", "Start", "Sleep", "Wake", "RequestPro", "Tick"] * 2
    + ["End"] * 4
)
steps = st.lists(
    st.builds(
        Step,
        st.sampled_from([*OFTEN, *c.COMMANDS]),
        st.sampled_from([0.0, 0.0, 0.25, 1.0, 15.0, 61.0, HOUR, 30 * HOUR]),
        st.integers(0, 9),
        st.integers(0, 9),
        st.booleans(),
        st.booleans(),
    ),
    max_size=35,
)


def hello(step: Step, account: str) -> c.Hello:
    kind, device, address = KINDS[step.what % 7], DEVICES[step.what % 3], ADDRESSES[step.other]
    home, token = "far" if step.what == 9 else "", DIGEST if step.flag else None
    return c.Hello(kind, None if step.who == 9 else account, device, home, "client", address, "tcp", token)


def put_group(step: Step, _: str) -> c.PutGroup:
    return c.PutGroup("one" if step.other else "two", ACCOUNTS[: step.what % 5], step.flag, step.who % 3)


def put_conference(step: Step, _: str) -> c.PutConference:
    declaration = Declaration("public", "call" if step.flag else "group", step.other, "far")
    return c.PutConference(ROOMS[step.who % 3], declaration)


def subject(step: Step, account: str) -> BanSubject:
    if step.flag:
        return BanSubject("account", account, "far" if step.other else "")
    return BanSubject("network", "192.0.2.2/31") if step.what % 2 else BanSubject("address", ADDRESSES[step.other])


ABOUT_ACCOUNTS: dict[str, Callable[[Step, str], c.Command]] = {
    "Hello": hello,
    "Tick": lambda _, __: c.Tick(),
    "EndResumables": lambda _, __: c.EndResumables(),
    "SetGranting": lambda step, _: c.SetGranting(step.flag or step.other),
    "SetInstallation": lambda _, account: SetInstallation(account),
    "RegistrarSaid": lambda step, _: RegistrarSaid("verified" if step.flag else "lost", ticket="t"),
    "KickAccount": lambda step, account: c.KickAccount(account, 30.0 if step.flag else None),
    "PutBan": lambda step, account: c.PutBan(subject(step, account), 90.0),
    "LiftBan": lambda step, account: c.LiftBan(subject(step, account)),
    "PutConference": put_conference,
    "EndConference": lambda step, _: c.EndConference(ROOMS[step.who % 3]),
    "PutAccount": lambda _, account: c.PutAccount(account),
    "DeleteAccount": lambda _, account: c.DeleteAccount(account),
    "ErasePerson": lambda step, account: c.ErasePerson(account, step.flag),
    "AddAccountToken": lambda _, account: c.AddAccountToken(account, DIGEST),
    "RevokeAccountToken": lambda _, account: c.RevokeAccountToken(account, DIGEST[:12]),
    "PutGroup": put_group,
    "DeleteGroup": lambda step, _: c.DeleteGroup("one" if step.other else "two"),
    "RevokeLease": lambda _, account: c.RevokeLease(account),
    "NameHost": lambda _, account: c.NameHost(account),
    "ReleaseHost": lambda _, account: c.ReleaseHost(account),
    "AddOperatorToken": lambda step, name: c.AddOperatorToken(name, "read" if step.flag else "admin", DIGEST),
    "Wait": lambda step, account: c.Wait(hello(step, account), 60 if step.flag else 3600, step.who),
    "GiveUp": lambda step, _: c.GiveUp(step.who + 1),
    "EndHellos": lambda _, __: c.EndHellos("draining"),
    "RevokeOperatorTokens": lambda step, name: c.RevokeOperatorTokens(name, DIGEST[:12] if step.flag else None),
}


def join(step: Step, session: Session, _: str) -> c.Join:
    access, mode = ("public", "call") if step.what == 9 else ("public" if step.flag else "internal", "group")
    server = "far" if step.what == 8 else ""
    return c.Join(session.number, ROOMS[step.what % 3], step.flag, access, mode, step.other, server)


ABOUT_SESSIONS: dict[str, Callable[[Step, Session, str], c.Command]] = {
    "Resume": lambda step, each, _: c.Resume(each.number, each.generation, ADDRESSES[step.flag], "websocket"),
    "Join": join,
    "Start": lambda _, each, room: c.Start(each.number, room),
    "Leave": lambda _, each, room: c.Leave(each.number, room),
    "Sleep": lambda _, each, __: c.Sleep(each.number),
    "Wake": lambda _, each, __: c.Wake(each.number),
    "Activity": lambda step, each, _: c.Activity(each.number, step.flag, 60 if step.other else None, step.what / 2),
    "RequestPro": lambda _, each, __: c.RequestPro(each.number),
    "End": lambda step, each, _: c.End(each.number, CAUSES[step.what % 5]),
    "KickSession": lambda step, each, _: c.KickSession(each.number, 30.0 if step.flag else None),
}


class Course:
    """A state with a clock that makes commands of steps."""

    def __init__(self, terms: Terms) -> None:
        self.now = Instant(1000.0, START)
        self.state = State(terms, MODELS, self.now, "run7")
        self.undoable: list[Withdraw] = []

    def take(self, step: Step) -> tuple[c.Command, Decision] | None:
        """Apply the command that a step makes; None where it has nobody to be about."""
        command = self._command(step)
        if command is None:
            return None
        jump = -2 * HOUR if step.flag and step.other and step.name == "Tick" else 0.0
        return command, self.apply(command, step.seconds, jump)

    def apply(self, command: c.Command, seconds: float = 0.0, jump: float = 0.0) -> Decision:
        """Let time pass, and decide; `jump` is a step of the wall clock."""
        self.now = Instant(self.now.mono + seconds, self.now.wall + seconds + jump)
        decision = apply(self.state, command, self.now)
        if decision.withdraw is not None:
            self.undoable.append(decision.withdraw)
        return decision

    def _command(self, step: Step) -> c.Command | None:
        if step.name == "Withdraw":
            return self.undoable.pop() if self.undoable else None
        if step.name == "SetTerms":
            return c.SetTerms(self._other_terms(step))
        if step.name in ABOUT_ACCOUNTS:
            return ABOUT_ACCOUNTS[step.name](step, ACCOUNTS[step.who % 4])
        numbers = [*(self.state.resumable if step.name == "Resume" else ()), *self.state.sessions.by_number]
        if not numbers:
            return None
        session = self.state.sessions.by_number[numbers[step.who % len(numbers)]]
        rooms = [*(each.id for each in session.conferences), *ROOMS]
        return ABOUT_SESSIONS[step.name](step, session, rooms[step.what % len(rooms)])

    def _other_terms(self, step: Step) -> Terms:
        _, _, who, what, flag, other = step
        terms = self.state.terms
        licenses = dict(terms.licenses)
        licenses["trueconf"] = replace(licenses["trueconf"], pro=1 + who % 4)
        licenses["floating"] = replace(licenses["floating"], limit=2 + who % 4)
        licenses["nefsis-named"] = replace(licenses["nefsis-named"], hosts=1 + who % 3)
        return replace(
            terms,
            model=[*MODELS][what % 5],
            licenses=licenses,
            enforce=flag or other,
            overdraft=who % 2,
            on_duplicate=("takeover", "reject", "allow")[who % 3],
            accounts_mode="token" if what == 7 else "open",
            resume_window=20.0 * flag,
        )


def said(decision: Decision) -> Any:
    """Everything that a decision says, as plain data."""
    withdraw = None if decision.withdraw is None else c.to_json(decision.withdraw)
    refused = None if decision.refused is None else list(decision.refused)
    plain = [decision.to_json(), withdraw, refused, [list(note) for note in decision.audit]]
    return json.loads(json.dumps(plain))


def read_of(state: State, mono: float) -> Any:
    """What an operator sees: the snapshot, and the history as far as it is kept. A count of none is no count."""
    seen = snapshot(state, mono)
    pieces = [
        (*piece[:4], *[getattr(piece.summary, name) for name in type(piece.summary).__slots__])
        for piece in state.history.pieces(mono)
    ]
    holding = [(place, state.history.holding(*place)) for place in state.history.demand]
    return seen._replace(sessions={kind: count for kind, count in seen.sessions.items() if count}), pieces, holding


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=2 * settings().max_examples // 3)
@given(before=steps, then=steps)
def test_a_state_that_was_written_down_goes_on_the_same_way(model: str, before: list[Step], then: list[Step]) -> None:
    course = Course(terms_of(model))
    for step in before:
        course.take(step)
    copied = again(course.state)
    assert digest(copied) == digest(course.state)
    assert read_of(copied, course.now.mono) == read_of(course.state, course.now.mono)
    for number, step in enumerate(then):
        taken = course.take(step)
        if taken is not None:
            command, decision = taken
            twin = c.from_json(json.loads(json.dumps(c.to_json(command))), MODELS)
            assert twin == command
            assert type(twin) is type(command)
            assert said(apply(copied, twin, course.now)) == said(decision)
        if number % DIGEST_EVERY == 0:
            assert digest(copied) == digest(course.state)
    assert digest(copied) == digest(course.state)
    assert read_of(copied, course.now.mono + 0.5) == read_of(course.state, course.now.mono + 0.5)
    assert digest(again(copied)) == digest(course.state)


# -- a state with something of everything ----------------------------------------------------------------------------


def rich() -> State:
    """A state in which no list and no table is empty."""
    terms = terms_of("trueconf")
    course = Course(replace(terms, licenses={**terms.licenses, "trueconf": TrueConf(pro=4, online=50, guest=0)}))

    def come(account: str | None, device: str | None = None) -> int:
        number = course.apply(c.Hello("app", account, device, "", "", "192.0.2.1", "tcp")).session
        assert number is not None
        return number

    for command in (
        c.PutAccount("ann"),
        c.AddAccountToken("ann", DIGEST),
        c.AddOperatorToken("ops", "admin", DIGEST),
        c.PutGroup("board", ("eve",), True),
        c.PutBan(BanSubject("account", "mallory"), DAY),
        c.PutConference("tomorrow", Declaration("public", "group", True, "far")),
    ):
        assert course.apply(command).refused is None
    course.apply(c.Tick(), HOUR)
    ann, bob, cid, dan, zoe = come("ann", "tv"), come("bob"), come("cid"), come("dan"), come("zoe")
    course.apply(c.Join(ann, "room", True, "public"))
    course.apply(c.Join(bob, "room"))
    course.apply(c.Join(zoe, "talk"))
    course.apply(c.ReleaseHost("ann"))
    course.apply(c.Leave(bob, "room"))
    course.apply(c.Leave(bob, "nowhere"))
    assert course.apply(c.Join(dan, "room")).refused is not None
    for _ in range(2):
        course.apply(c.End(dan, "reset"), 1.0)
    course.apply(c.End(cid, "closed"), 1.0)
    course.apply(c.Wait(c.Join(come("gus"), "room"), 60, "mine"))
    course.apply(c.Activity(bob, active=False))
    course.apply(c.End(come("fay"), "node_lost"))
    return course.state


def everything() -> dict[str, Any]:
    """The rich state as plain data."""
    plain: dict[str, Any] = json.loads(json.dumps(to_json(rich())))
    return plain


def places(plain: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place within plain data; of the items of a list the first only."""
    if path:
        yield path
    if isinstance(plain, dict):
        for key in plain:
            yield from places(plain[key], (*path, key))
    elif isinstance(plain, list) and plain:
        yield from places(plain[0], (*path, 0))


def is_read(plain: Any) -> bool:
    """Whether plain data is taken for a state."""
    try:
        from_json(plain, MODELS)
    except NotAState:
        return False
    return True


def within(plain: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        plain = plain[key]
    return plain


FOREIGN: tuple[Any, ...] = (None, "x", -1.5, [], {}, [None] * 3, math.inf, 10**400)
"""What stands in no document at the place where it is put."""


def test_the_rich_state_has_something_of_everything() -> None:
    plain = everything()
    for name in ("permanent", "resumable", "lines", "declared", "idle", "conferences", "sessions"):
        assert plain[name], name
    assert all(plain["directory"].values())
    conference = {key for each in plain["conferences"] for key, value in each.items() if value}
    assert conference >= {"members", "implied_host", "released_hosts", "hosted", "live"}
    pools = [pool for ledger in plain["ledgers"].values() for pool in ledger.values()]
    for name in ("maxima", "leases", "unused_leases", "reservations", "lingering", "returning", "held_since", "ended"):
        assert any(pool[name] for pool in pools), name
    assert any(pool["denials"]["episodes"] and pool["denials"]["open"] for pool in pools)


def test_it_is_read_as_it_was_written() -> None:
    plain = everything()
    state = from_json(plain, MODELS)
    assert json.loads(json.dumps(to_json(state))) == plain
    assert digest(state) == digest(rich())


@pytest.mark.parametrize("plain", [None, 5, "state", [], [1], {}, {"format": FORMAT}, {"format": 0}, {"format": "1"}])
def test_what_is_no_state_is_not_taken_for_one(plain: Any) -> None:
    with pytest.raises(NotAState):
        from_json(plain, MODELS)


def test_a_state_of_another_version_is_not_read() -> None:
    with pytest.raises(NotAState, match=f"format {FORMAT + 1}: this version reads {FORMAT}"):
        from_json({**everything(), "format": FORMAT + 1}, MODELS)


BY_NAME = {"ledgers", "accounts", "operators", "groups", "declared", "releases", "denial_counts"}
"""Tables whose keys are names, and no part of how a state is written; what terms hold is read by their own defaults."""
OF_ANY_LENGTH = {"permanent", "levels", "unused_leases"}
"""Lists whose items are of one kind; the length of any other row is part of how a state is written."""


def shape(plain: Any, name: str = "") -> Any:
    """How plain data is written: the names of fields and the lengths of rows, without their values."""
    if isinstance(plain, dict):
        fields = {key: shape(value, key) for key, value in plain.items() if key != "terms"}
        if name in BY_NAME or name in MODELS or name == "true_denials":
            return {"*": merged(fields.values())}
        return fields
    if isinstance(plain, list) and (name in OF_ANY_LENGTH or any(isinstance(each, list | dict) for each in plain)):
        nested = [shape(each) for each in plain if isinstance(each, list | dict)]
        return [merged(nested), 0 if len(nested) == len(plain) else len(plain)]
    return len(plain) if isinstance(plain, list) else "value"


def merged(shapes: Any) -> list[Any]:
    """Different shapes, in an order of their own."""
    return sorted({json.dumps(each, sort_keys=True) for each in shapes})


def test_a_state_that_is_written_in_another_way_has_another_number() -> None:
    written = json.dumps(shape(everything()), sort_keys=True)
    fingerprint = hashlib.blake2b(written.encode(), digest_size=8).hexdigest()
    # Where this differs, `FORMAT` becomes the next number, and the fingerprint stands here beside it.
    assert (FORMAT, fingerprint) == (8, "ed2e2d162ba0bcd7")


def test_a_state_of_a_model_that_there_is_not_is_not_read() -> None:
    known = {name: model for name, model in MODELS.items() if name != "epop"}
    with pytest.raises(NotAState):
        from_json(everything(), known)


def test_a_changed_state_is_not_read() -> None:
    plain = everything()
    read = []
    for number, path in enumerate(places(plain)):
        parent = within(plain, path[:-1])
        before = parent[path[-1]]
        parent[path[-1]] = next(each for each in FOREIGN[number % len(FOREIGN) :] + FOREIGN if each != before)
        read += [path] if is_read(plain) else []
        parent[path[-1]] = before
    assert read == []
    assert is_read(plain)


def test_a_state_in_which_something_is_missing_is_not_read() -> None:
    plain = everything()
    read = []
    for path in [each for each in places(plain) if isinstance(each[-1], str)]:
        record = within(plain, path[:-1])
        before = dict(record)
        del record[path[-1]]
        read += [path] if is_read(plain) else []
        record.clear()
        record.update(before)
    assert read == []
    assert is_read(plain)


# -- commands ----------------------------------------------------------------------------------------------------------

EXAMPLES: list[c.Command] = [
    c.Hello("app", "ann", "pc", "far", "client", "192.0.2.1", "tcp", DIGEST),
    c.Hello("sip", None, None, "", "", "2001:db8::1", "websocket"),
    c.Resume(7, 2, "192.0.2.1", "websocket"),
    c.Join(7, "room", True, "public", "call", True, "far"),
    c.Start(7, "room"),
    c.Leave(7, "room"),
    c.Sleep(7),
    c.Wake(7),
    c.RequestPro(7),
    c.Wait(c.Hello("app", "ann", "pc", "far", "client", "192.0.2.1", "tcp", DIGEST), 60, "id"),
    c.Wait(c.Join(7, "room"), 86_400),
    c.GiveUp(3),
    c.EndHellos("draining"),
    c.End(7, "reset"),
    c.EndResumables(),
    Withdraw(
        "start",
        7,
        "room",
        3,
        asleep=(7, 8),
        waiting=((7, True), (8, False)),
        denied=(8,),
        hosted=True,
        implied_host=8,
        leases=(
            LeaseBefore("trueconf", "pro", "ann", True, START),
            LeaseBefore("nefsis-named", "hosts", ("ann", "far"), False, None),
        ),
    ),
    Withdraw("request_pro", 7),
    c.Tick(),
    *(c.SetTerms(terms_of(name)) for name in MODELS),
    c.SetGranting(False),
    SetInstallation("inst-1"),
    c.Activity(7, True, 60, 2.5),
    RegistrarSaid("registered", Grant("epop", "", {"concurrent": 3}, ("x",), True, 1.5), 60, "t", told=2.5),
    RegistrarSaid("revoked", reason="revoked"),
    c.KickSession(7, 30.5),
    c.KickSession(7),
    c.KickAccount("ann", 30.5),
    c.KickAccount(("ann", "far"), 30.5),
    c.PutBan(BanSubject("address", "192.0.2.1"), 60.0),
    c.LiftBan(BanSubject("account", "ann", "far")),
    c.PutConference("room", Declaration("public", "call", True, "far")),
    c.EndConference("room"),
    c.PutAccount("ann"),
    c.DeleteAccount("ann"),
    c.ErasePerson("ann", True),
    c.ErasePerson(("ann", "far")),
    c.AddAccountToken("ann", DIGEST),
    c.RevokeAccountToken("ann", DIGEST[:12]),
    c.PutGroup("board", ("ann", "bob"), True),
    c.PutGroup("nobody", (), False, 3),
    c.DeleteGroup("board"),
    c.RevokeLease("ann"),
    c.NameHost("ann"),
    c.ReleaseHost("ann"),
    c.AddOperatorToken("ops", "admin", DIGEST),
    c.RevokeOperatorTokens("ops", DIGEST[:12]),
    c.RevokeOperatorTokens("ops"),
]


def test_every_command_has_a_name_an_example_and_somebody_who_decides() -> None:
    assert {type(example) for example in EXAMPLES} == set(c.COMMANDS.values()) == set(HANDLERS)


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_every_command_survives_being_written_down(command: c.Command) -> None:
    plain = json.loads(json.dumps(c.to_json(command)))
    assert plain[0] == type(command).__name__
    found = c.from_json(plain, MODELS)
    assert found == command
    assert type(found) is type(command)
    assert isinstance(command, c.SetTerms | RegistrarSaid) or hash(found), "but for those with limits"


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_a_damaged_command_is_a_fault_of_a_kind_that_is_known(command: c.Command) -> None:
    whole = json.loads(json.dumps(c.to_json(command)))
    for number in range(len(whole) + 1):
        for foreign in FOREIGN:
            for plain in (whole[:number], [*whole[:number], foreign, *whole[number + 1 :]], [*whole, foreign]):
                try:
                    c.from_json(plain, MODELS)
                except (KeyError, TypeError, ValueError):
                    continue


def test_what_the_store_has_written_is_no_part_of_the_state() -> None:
    day = RandomDay(3)
    for _ in day.commands(200):
        pass
    before = digest(day.state)
    for timeline in day.state.history.timelines:
        for interval in (*timeline.ended, timeline.pool.interval):
            interval.changed = not interval.changed
    for place in day.state.use.places:
        for person in list(place.by_person):
            place.changed_row(person, day.now.mono)
    assert digest(day.state) == before
