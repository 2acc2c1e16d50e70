"""The oracle knows all that a random life may do."""

from __future__ import annotations

from random import Random

from tests.core.admission.oracle import Draws, fault_of
from tests.core.admission.test_decisions import Life


def test_it_draws_every_step_and_some_lives_are_right() -> None:
    draws = Draws(Random(3))  # noqa: S311 - a test draws the same each time
    rules = {name for name, each in vars(Life).items() if hasattr(each, "hypothesis_stateful_rule")}
    assert {name for _, name, _ in draws.steps} == rules
    steps = [draws.beginning(), *(draws.step() for _ in range(40))]
    assert fault_of("floating", steps) is None
