"""Random lives of a gateway, as many as one likes: the machine of `test_decisions`, drawn from a seed and without the
price of Hypothesis.

`python -m tests.core.admission.oracle --steps 1000000 --seed 7 [--model trueconf]` takes so many steps, under one model
after the other, and recounts everything after each. Equal seeds take equal steps. At the first fault it leaves out what
is not needed for it, prints the steps that are left, and ends with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

from gateway.licensing import MODELS
from tests.core.admission import test_decisions as lives
from tests.core.admission.mirror import Person
from tests.core.admission.test_decisions import Life

STEPS_OF_A_LIFE = 60
LIVES_OF_A_REPORT = 100
Step = tuple[str, dict[str, Any]]

_INVARIANTS = [name for name in vars(Life) if hasattr(getattr(Life, name), "hypothesis_stateful_invariant")]


class Draws:
    """Draws steps; weights and choices are about those that Hypothesis has."""

    def __init__(self, random: Random) -> None:
        self.random = random
        one, flag, seldom, person = random.choice, self.flag, self.seldom, self.person
        place, room, wait, account = self.place, self.room, self.wait, self.account
        self.steps: list[tuple[int, str, dict[str, Callable[[], Any]]]] = [
            (4, "hello", {"person": person, "room": lambda: one([None, *lives.ROOMS]), "host": flag}),
            (1, "resume", {"place": place, "address": lambda: one(["192.0.2.1", "192.0.2.9"])}),
            (4, "join", self.joining()),
            (3, "start", {"place": place, "turn": place}),
            (2, "leave", {"place": place, "name": room}),
            (2, "presence", {"place": place, "asleep": flag}),
            (3, "say_activity", {"place": place, "active": self.unused, "wait": lambda: one([None, None, wait()])}),
            (1, "fall_silent", {"place": place}),
            (1, "rank", {"account": account, "priority": lambda: random.randint(0, 2)}),
            (1, "mind_idleness", {"idle": lambda: one([0.0, 1.0, 30.0, 7200.0]), "preempt": flag}),
            (1, "rule_seats", {"drawn": lambda: [self.rule() for _ in range(random.randint(0, 3))]}),
            (2, "hello_in_line", {"person": person, "wait": wait}),
            (2, "join_in_line", {**self.joining(), "wait": wait}),
            (1, "ask_in_line", {"place": place, "wait": wait, "pro": flag}),
            (1, "give_up", {"place": place, "all_of_them": seldom}),
            (1, "request_pro", {"place": place}),
            (2, "end", {"place": place, "cause": lambda: one(lives.CAUSES)}),
            (1, "end_resumables", {}),
            (2, "administer", {"account": account, "verb": lambda: one(lives.VERBS)}),
            (1, "redistribute", {"configured": lambda: [account() for _ in range(random.randint(0, 3))]}),
            (
                1,
                "ban_some",
                {"subject": lambda: one(lives.BANNED), "seconds": lambda: one([30.0, 100.0]), "lifted": flag},
            ),
            (1, "kick_one", {"place": place, "banned": seldom}),
            (1, "declare", {"name": room, "public": flag, "call": seldom, "scheduled": flag, "ended": seldom}),
            (1, "retune", {"name": lambda: one([*MODELS]), "limit": lambda: random.randint(1, 4)}),
            (1, "keep_seats_for", {"seconds": lambda: one([0.0, 5.0, 7000.0])}),
            (1, "keep", {"kept": lambda: one([1, 2, 3, 10_000])}),
            (1, "registration", {"stopped": seldom}),
            (3, "wait", {"seconds": lambda: one(lives.SPANS)}),
        ]
        self.weights = [weight for weight, _, _ in self.steps]

    def joining(self) -> dict[str, Callable[[], Any]]:
        """What a `join` says."""
        flags = {"host": self.flag, "public": self.flag, "call": self.seldom, "scheduled": self.flag}
        return {"place": self.place, "name": self.room, **flags}

    def flag(self) -> bool:
        return self.random.random() < 0.5

    def seldom(self) -> bool:
        return self.random.random() < 0.25

    def unused(self) -> bool:
        return self.random.random() < 0.35

    def place(self) -> int:
        return self.random.randint(0, 7)

    def room(self) -> str:
        return self.random.choice(lives.ROOMS)

    def account(self) -> str:
        return self.random.choice(lives.ACCOUNTS)

    def wait(self) -> int:
        return self.random.choice([1, 30, 3600, 3600, 86_400])

    def person(self) -> Person:
        one = self.random.choice
        return Person(
            kind=one(["app"] * 8 + ["sip", "sdk", "console"]),
            account=one([*lives.ACCOUNTS, *lives.ACCOUNTS, None]),
            device=one(["pc", "tv/2", None]),
            home=one([""] * 8 + ["far", "unknown"]),
            address=one(["192.0.2.1", "192.0.2.1", "192.0.2.2"]),
            groups=one([(), (), (), ("rank ann",), ("rank ann", f"rank {lives.ACCOUNTS[1]}")]),
        )

    def rule(self) -> dict[str, Any]:
        """A rule for seats: for which pool, and of whom it is."""
        return {name: self.random.choice(values) for name, values in lives.RULED.items()}

    def beginning(self) -> Step:
        """How a life begins."""
        one, flag = self.random.choice, self.flag
        return "open", {
            "enforce": one([True, True, True, False]),
            "overdraft": one([0, 0, 1]),
            "duplicate": one(["takeover", "takeover", "allow", "reject"]),
            "proven": one([True, True, True, False]),
            "resumable": flag(),
            "naming": one(["first-use", "first-use", "listed"]),
            "host_counts": flag(),
            "key": one(["connection", "device", "account", "address"]),
            "rest": flag(),
            "edition": one(["server", "server", "server", "enterprise", "free"]),
            "kept": one([10_000, 10_000, 1, 2]),
            "memberships": one([100, 100, 1]),
            "idle": one([0.0, 30.0, 7200.0]),
            "preempt": flag(),
            "returning": one([0.0, 50.0, 7000.0]),
            "last": flag(),
            "order": one(["arrival", "arrival", "priority"]),
            "crowd": [(self.person(), self.room(), flag()) for _ in range(self.random.randint(3, 6))],
        }

    def step(self) -> Step:
        """The next step; it may be one for which it is not the time."""
        (chosen,) = self.random.choices(self.steps, self.weights)
        _, name, draws = chosen
        return name, {field: draw() for field, draw in draws.items()}


def live(model: str, steps: list[Step]) -> int:
    """Take the steps for which it is the time, recount after each, and return how many those were."""
    life = type("Life", (Life,), {"enforced": model})()
    taken = 0
    for name, fields in steps:
        method = getattr(life, name)
        rule = getattr(method, "hypothesis_stateful_rule", None)
        if rule is None or all(condition(life) for condition in rule.preconditions):
            method(**fields)
            taken += 1
            for invariant in _INVARIANTS:
                getattr(life, invariant)()
    life.teardown()
    return taken


def fault_of(model: str, steps: list[Step]) -> str | None:
    """What is wrong in a life, as the place at which it shows; None where nothing is."""
    try:
        live(model, steps)
    except Exception as fault:
        last = traceback.extract_tb(fault.__traceback__)[-1]
        return f"{type(fault).__name__} at {last.name}:{last.lineno}"
    return None


def shortened(model: str, steps: list[Step]) -> list[Step]:
    """The steps without those that are not needed for the fault."""
    fault, length = fault_of(model, steps), max(len(steps) // 2, 1)
    while length:
        place = 1
        while place < len(steps):
            fewer = [*steps[:place], *steps[place + length :]]
            if fault_of(model, fewer) == fault:
                steps = fewer
            else:
                place += length
        length //= 2
    return steps


def main(arguments: list[str]) -> int:
    """Take the steps; 1 where one was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.admission.oracle", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="how many steps to take at least")
    parser.add_argument("--seed", type=int, default=0, help="that of the first life; each next one has the next")
    parser.add_argument("--model", choices=[*MODELS], action="append", help="only this one; may be said again")
    args = parser.parse_args(arguments)
    models = args.model or [*MODELS]
    taken, number, began = 0, 0, time.monotonic()
    while taken < args.steps:
        seed, model = args.seed + number, models[number % len(models)]
        draws = Draws(Random(seed))  # noqa: S311 - equal seeds take equal steps
        steps = [draws.beginning(), *(draws.step() for _ in range(STEPS_OF_A_LIFE))]
        try:
            taken += live(model, steps)
        except Exception:
            print(f"{taken} steps were right; seed {seed}, model {model}:", flush=True)
            fewer = shortened(model, steps)
            print(
                f"the shortest such life has {len(fewer)} steps:",
                *(f"  {name} {fields}" for name, fields in fewer),
                sep="\n",
            )
            try:
                live(model, fewer)
            except Exception:
                traceback.print_exc(file=sys.stdout)
            return 1
        number += 1
        if number % LIVES_OF_A_REPORT == 0 or taken >= args.steps:
            rate = taken / (time.monotonic() - began)
            print(f"{taken} steps, seeds {args.seed} to {seed}, {rate:.0f} a second", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
