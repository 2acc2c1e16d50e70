"""A day of everything that can be asked of the core, drawn from a seed: what clients say, what operators do, reloads,
redistributions, a registration that lapses, commits that fail.

`python -m tests.core.admission.random_day SEED COMMANDS` writes it to standard output as a recording; with a file in
place of the numbers it applies that recording again, and prints the digest after every command. It needs nothing but
the standard library, so that any Python can run it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from gateway.core.admission import commands as c
from gateway.core.admission import state_json
from gateway.core.admission.apply import apply
from gateway.core.admission.bans import BanSubject
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.decision import Decision, Withdraw
from gateway.core.admission.recording import Recording, RollingDigest, read
from gateway.core.admission.registration_commands import RegistrarSaid, SetInstallation
from gateway.core.admission.state import State
from gateway.core.admission.terms import Terms
from gateway.core.counting.pool_rule import RuleTerms
from gateway.core.counting.session import Instant, identity
from gateway.core.registration.grant import Grant
from gateway.licensing import MODELS

START = 1_800_000_000.0
HOUR = 3600.0
ACCOUNTS = [*(f"user{number}" for number in range(54)), "o'brien@ex.ie", "jörg", "домен\\имя", "user1/partner.example"]
CONFERENCES = [f"room{number}" for number in range(12)]
ADDRESSES = [f"192.0.2.{number}" for number in range(1, 30)]
GROUPS = ["board", "sales"]
CAUSES = ["bye", "closed", "reset", "heartbeat_timeout", "kicked", "too_fast", "drained", "node_lost"]
SECRET = "5e" * 32
STATE_EVERY = 500
"""Commands between two digests over the whole state."""


def first_terms() -> Terms:
    """Small limits, so that every pool fills; accounts of another home, lost sessions that wait."""
    licenses = {name: info.terms() for name, info in MODELS.items()}
    licenses["epop"] = replace(licenses["epop"], users=12)
    licenses["nefsis-named"] = replace(licenses["nefsis-named"], hosts=3, participants=4)
    licenses["trueconf"] = replace(licenses["trueconf"], pro=6, online=25, guest=2, gateway=2, allow_pro_requests=True)
    licenses["floating"] = replace(
        licenses["floating"], limit=40, key="device", linger=30.0, reserve=("user1/laptop", "user2/phone")
    )
    return Terms(
        "trueconf",
        licenses,
        homes=("partner.example",),
        home="here.example",
        resume_window=20.0,
        max_resumable=5,
        redistribute_every=6 * HOUR,
        shadow_leases=5,
        max_memberships=4,
        returning=45.0,
    )


class RandomDay:
    """Draws commands; what comes of them steers what comes next."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - a test draws the same each time
        self.tokens = Random(seed)  # noqa: S311 - as above; what tokens say
        self.now = Instant(1000.0, START)
        self.state = State(first_terms(), MODELS, self.now, "d4")
        self.undoable: list[Withdraw] = []
        self.draws: list[tuple[int, Callable[[], c.Command | None]]] = [
            (12, self.hello),
            (20, self.join),
            (9, self.wait),
            (1, self.give_up),
            (6, self.leave),
            (4, self.start),
            (4, lambda: self.of_session(c.Sleep)),
            (4, lambda: self.of_session(c.Wake)),
            (4, lambda: self.of_session(c.RequestPro)),
            (6, self.activity),
            (9, self.end),
            (3, self.resume),
            (5, c.Tick),
            (2, self.operate),
            (1, self.administer),
            (1, self.withdraw),
        ]

    def commands(self, number: int) -> Iterator[tuple[c.Command, Instant, Decision]]:
        """Apply so many commands, and yield each with its instant and decision."""
        weights = [weight for weight, _ in self.draws]
        applied = 0
        while applied < number:
            (draw,) = self.random.choices([draw for _, draw in self.draws], weights)
            command = draw()
            if command is None:
                continue
            seconds = self.random.choice([0.0, 0.0, 0.2, 1.0, 3.7, 40.0])
            step = self.random.choice([0.0] * 400 + [-90.0, 3000.0])
            self.now = Instant(self.now.mono + seconds, self.now.wall + seconds + step)
            decision = apply(self.state, command, self.now)
            if decision.withdraw is not None and decision.changes:
                self.undoable = [*self.undoable[-3:], decision.withdraw]
            applied += 1
            yield command, self.now, decision

    # -- clients -------------------------------------------------------------------------------------------------------

    def hello(self) -> c.Command:
        random = self.random
        kind = random.choices(["app", "browser", "sip", "sdk", "welcome", "room"], [60, 15, 8, 2, 3, 4])[0]
        account = random.choice([*ACCOUNTS, None, None, None, None, None, None])
        device = random.choice(["laptop", "phone", None])
        home = random.choices(["", "here.example", "partner.example", "else.example"], [80, 4, 6, 1])[0]
        token = random.choice([None, SECRET, "00" * 32])
        transport = random.choice(["tcp", "websocket"])
        groups = tuple(self.tokens.choices(GROUPS, k=self.tokens.choice([0, 0, 0, 1, 2])))
        return c.Hello(kind, account, device, home, "", random.choice(ADDRESSES), transport, token, groups=groups)

    def session(self) -> int | None:
        numbers = [*self.state.sessions.by_number]
        return self.random.choice(numbers) if numbers else None

    def of_session(self, make: Callable[[int], c.Command]) -> c.Command | None:
        number = self.session()
        return None if number is None else make(number)

    def join(self) -> c.Command | None:
        random = self.random
        fields = {
            "host": random.random() < 0.3,
            "access": random.choice(["internal", "public"]),
            "mode": random.choices(["group", "call"], [9, 1])[0],
            "scheduled": random.random() < 0.25,
            "server": random.choices(["", "partner.example"], [9, 1])[0],
        }
        return self.of_session(lambda number: c.Join(number, random.choice(CONFERENCES), **fields))  # type: ignore[arg-type]

    def wait(self) -> c.Command | None:
        asks: list[Callable[[], c.Command | None]] = [
            self.hello,
            self.join,
            lambda: self.of_session(c.Wake),
            lambda: self.of_session(c.RequestPro),
        ]
        request = self.random.choice(asks)()
        return None if request is None else c.Wait(request, self.random.choice([1, 30, 600]), "id")

    def give_up(self) -> c.Command:
        places = [place.number for place in self.state.lines.values() if place.session is None]
        return c.GiveUp(self.random.choice([*places, 0]))

    def activity(self) -> c.Command | None:
        random = self.random
        return self.of_session(
            lambda number: c.Activity(
                number, random.random() < 0.4, random.choice([None, 60]), random.choice([0.0, 0.0, 20.0, 100.0])
            )
        )

    def leave(self) -> c.Command | None:
        return self.of_session(lambda number: c.Leave(number, self.conference_of(number)))

    def start(self) -> c.Command | None:
        return self.of_session(lambda number: c.Start(number, self.conference_of(number)))

    def conference_of(self, number: int) -> str:
        joined = [each.id for each in self.state.sessions.by_number[number].conferences]
        return self.random.choice([*joined, *joined, *joined, self.random.choice(CONFERENCES)])

    def end(self) -> c.Command | None:
        return self.of_session(lambda number: c.End(number, self.random.choice(CAUSES)))

    def resume(self) -> c.Command | None:
        numbers = [*self.state.resumable, *list(self.state.sessions.by_number)[:1]]
        if not numbers:
            return None
        number = self.random.choice(numbers)
        generation = self.state.sessions.by_number[number].generation
        return c.Resume(number, generation, self.random.choice(ADDRESSES), "websocket")

    def withdraw(self) -> c.Command | None:
        return self.undoable.pop() if self.undoable else None

    # -- operators -----------------------------------------------------------------------------------------------------

    def operate(self) -> c.Command:
        random, account = self.random, self.random.choice(ACCOUNTS)
        acts: list[c.Command] = [
            c.KickSession(self.session() or self.state.numbers.sessions.last, random.choice([None, 30.0])),
            c.KickAccount(account, random.choice([None, 60.0])),
            c.PutBan(self.banned(account), 120.0),
            c.LiftBan(self.banned(account)),
            c.RevokeLease(account),
            c.NameHost(identity(account, random.choice(["", "partner.example"]))),
            c.ReleaseHost(identity(account, random.choice(["", "partner.example"]))),
            c.PutConference(random.choice(CONFERENCES), Declaration("public", "group", random.random() < 0.5, "")),
            c.EndConference(random.choice(CONFERENCES)),
        ]
        return random.choice(acts)

    def banned(self, account: str) -> BanSubject:
        random = self.random
        subjects = [
            BanSubject("account", account, random.choice(["", "partner.example"])),
            BanSubject(random.choice(["guests", "address"]), random.choice(ADDRESSES)),
            BanSubject("network", random.choice(["192.0.2.4/30", "2001:db8::/32"])),
        ]
        return random.choice(subjects)

    def administer(self) -> c.Command:
        random, account = self.random, self.random.choice(ACCOUNTS)
        members = tuple(random.sample(ACCOUNTS, random.randint(0, 6)))
        acts: list[c.Command] = [
            c.PutAccount(account),
            c.DeleteAccount(account),
            c.AddAccountToken(account, SECRET),
            c.RevokeAccountToken(account, SECRET[:12]),
            c.PutGroup(random.choice(GROUPS), members, random.random() < 0.7, random.randint(0, 2)),
            c.EndHellos("draining"),
            c.ErasePerson(identity(account, random.choice(["", "partner.example"])), random.random() < 0.5),
            c.DeleteGroup(random.choice(GROUPS)),
            c.AddOperatorToken("ops", "admin", SECRET),
            c.RevokeOperatorTokens("ops"),
            c.SetGranting(random.random() < 0.9),
            SetInstallation(f"inst-{random.randint(1, 2)}"),
            self.registrar_says(),
            c.EndResumables(),
            c.SetTerms(self.other_terms()),
        ]
        return random.choice(acts)

    def registrar_says(self) -> RegistrarSaid:
        random = self.random
        said = random.choices(["registered", "verified", "revoked", "in_use", "lost"], [6, 4, 1, 1, 2])[0]
        limits = {"pro": random.randint(2, 8), "online": random.randint(15, 40)}
        grant = Grant("trueconf", "server", limits, ("sdk",), random.random() < 0.5)
        return RegistrarSaid(said, grant if said == "registered" else None, 60, random.choice("tuv"), "why", START)

    def other_terms(self) -> Terms:
        random, terms = self.random, self.state.terms
        model = random.choices([terms.model, *MODELS], [len(MODELS), *[1] * len(MODELS)])[0]
        trueconf = replace(terms.licenses["trueconf"], pro=random.randint(2, 8), online=random.randint(15, 40))
        epop = replace(terms.licenses["epop"], users=random.randint(5, 20))
        licenses = {**terms.licenses, "trueconf": trueconf, "epop": epop}
        on_duplicate = random.choice(["takeover", "reject", "allow"])
        overdraft = random.choice([0, 0, 2])
        mode = random.choices(["open", "token"], [8, 1])[0]
        return replace(
            terms, model=model, licenses=licenses, on_duplicate=on_duplicate, overdraft=overdraft, accounts_mode=mode,
            enforce=random.random() < 0.9, declared_only=random.random() < 0.1,
            returning=random.choice([0.0, 10.0, 45.0, 600.0]),
            queue_limit=random.choice([0, 3, 1000]), queue_order=random.choice(["arrival", "priority"]),
            idle_timeout=random.choice([0.0, 30.0, 300.0]), preempt=random.random() < 0.7,
            rules=tuple(self.rule(model, str(number)) for number in range(random.choice([0, 1, 3]))),
        )  # fmt: skip

    def rule(self, model: str, name: str) -> RuleTerms:
        """A rule for seats of a pool of a model, for somebody or for all."""
        random = self.random
        pools = MODELS[model].model(MODELS[model].terms()).pools
        whom = random.choice(
            [
                {},
                {"group": random.choice(GROUPS)},
                {"account": "user1"},
                {"account": "user1", "home": "partner.example"},
                {"network": "192.0.2.0/28"},
                {"kind": "browser"},
            ]
        )
        reserve, most = random.choice([(1, None), (0, random.randint(0, 6)), (2, 4)])
        each = random.choice(["", "account", "device", "address"])
        return RuleTerms(name, random.choice(pools).name, **whom, reserve=reserve, most=most, each=each)  # type: ignore[arg-type]


def record(seed: int, number: int, *, undone: bool = True) -> Iterator[str]:
    """The lines of a recorded day of so many commands; `undone` says whether commits fail in it."""
    day, recording = RandomDay(seed), Recording()
    if not undone:
        day.draws = [(weight, draw) for weight, draw in day.draws if draw != day.withdraw]
    yield recording.header(day.state, "test")
    for command, at, decision in day.commands(number):
        yield recording.line(command, at, decision)


def digests(lines: Iterator[str]) -> Iterator[str]:
    """The digest after every command of a recording; now and then that of the whole state beside it."""
    state, entries = read(lines, MODELS)
    rolling = RollingDigest()
    for number, entry in enumerate(entries, 1):
        digest = rolling.add(apply(state, entry.command, entry.at))
        assert digest == entry.digest, f"command {number}: {entry.command}"
        yield f"{digest} {state_json.digest(state)}" if number % STATE_EVERY == 0 else digest
    yield state_json.digest(state)


def main(arguments: list[str]) -> None:
    """Record, or apply again."""
    if len(arguments) == 1:
        with open(arguments[0], encoding="ascii") as lines:
            sys.stdout.writelines(f"{digest}\n" for digest in digests(iter(lines)))
    else:
        sys.stdout.writelines(record(int(arguments[0]), int(arguments[1])))


if __name__ == "__main__":
    main(sys.argv[1:])
