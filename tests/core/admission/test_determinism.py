"""The same commands give the same decisions and the same state, in whatever process they are applied."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.admission import state_json
from gateway.core.admission.apply import apply
from gateway.core.admission.commands import COMMANDS, PutGroup, SetTerms
from gateway.core.admission.recording import NotARecording, replay
from gateway.core.admission.state import State
from gateway.core.admission.state_json import FORMAT
from gateway.licensing import MODELS
from tests.core.admission.random_day import ACCOUNTS, RandomDay, first_terms, record

ROOT = Path(__file__).parents[3]
COMMANDS_OF_A_DAY = 20_000
MODULE = "tests.core.admission.random_day"


def pythons() -> list[str]:
    """Every Python there is from 3.11 on, this one first; one for each version."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    versions = Path.home() / ".pyenv" / "versions"
    for minor in range(11, 20):
        version = f"3.{minor}"
        named = [shutil.which(f"python{version}"), *map(str, sorted(versions.glob(f"{version}.*/bin/python3")))]
        for candidate in filter(None, named):
            told = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout
            if re.match(rf"Python 3\.{minor}\.", told):
                found.setdefault(version, candidate)
    return list(found.values())


def run(python: str, seed: int, *arguments: str) -> str:
    """What a process prints whose hashes are seeded so."""
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": str(seed)}
    done = subprocess.run(
        [python, "-m", MODULE, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded day with everything in it."""
    path = tmp_path_factory.mktemp("day") / "day.jsonl"
    path.write_text(run(sys.executable, 0, "7", str(COMMANDS_OF_A_DAY)))
    return path


@pytest.fixture(scope="module")
def digests(day: Path) -> list[str]:
    """The digest after every command of the day."""
    return run(sys.executable, 0, str(day)).splitlines()


def test_the_day_has_every_command_and_is_long(day: Path) -> None:
    lines = day.read_text().splitlines()[1:]
    assert {re.split('"', line)[1] for line in lines} == set(COMMANDS)
    assert len(lines) == COMMANDS_OF_A_DAY


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_every_decision_is_the_same_under_another_hash_seed(day: Path, digests: list[str], seed: int) -> None:
    assert run(sys.executable, seed, str(day)).splitlines() == digests


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_decision_is_the_same_under_every_other_python(day: Path, digests: list[str]) -> None:
    others = pythons()[1:]
    if not others:
        pytest.skip("there is no other Python from 3.11 on")
    for python in others:
        assert run(python, 4, str(day)).splitlines() == digests, python


def test_a_node_that_takes_up_a_state_takes_the_same_seats_of_those_who_are_idle() -> None:
    day, taken = RandomDay(7), 0
    licenses = day.state.terms.licenses
    few = {**licenses, "trueconf": replace(licenses["trueconf"], pro=3, online=8)}
    apply(day.state, SetTerms(replace(day.state.terms, preempt=True, licenses=few)), day.now)
    for number, account in enumerate(ACCOUNTS[:20]):
        apply(day.state, PutGroup(f"rank {number}", (account,), permanent=False, priority=1 + number % 3), day.now)
    other = state_json.from_json(state_json.to_json(day.state), MODELS)
    for number, (command, at, decision) in enumerate(day.commands(4000)):
        assert apply(other, command, at).to_json() == decision.to_json(), number
        taken += any(said.get("reason") == "preempted" for _, said in decision.notices)
        if number % 40 == 0:
            other = state_json.from_json(state_json.to_json(other), MODELS)
    assert taken > 20, taken
    assert state_json.digest(other) == state_json.digest(day.state)


# -- recordings --------------------------------------------------------------------------------------------------------


def test_a_recording_that_is_applied_again_differs_nowhere() -> None:
    replayed = replay(record(3, 500), MODELS)
    assert (replayed.applied, replayed.skipped, replayed.first_difference) == (500, 0, None)


def test_a_decision_that_was_another_one_is_told_by_its_number() -> None:
    lines = list(record(3, 50))
    before, _, after = lines[30].rpartition('"]')
    lines[30] = f'{before}0"]{after}'
    assert replay(lines, MODELS).first_difference == 30


def test_under_other_terms_more_seats_turn_nobody_away() -> None:
    lines = list(record(8, 3000))
    before = replay(lines, MODELS, lambda terms: terms).state
    more = replay(lines, MODELS, lambda terms: terms.changed("license.floating.limit", 10_000)).state

    def refused(state: State) -> int:
        return state.ledger_of("floating").pools["seats"].denial_counts["pool_full"]

    assert refused(before) > 0 == refused(more)


def test_under_the_same_terms_nothing_is_left_out_but_what_undoes() -> None:
    replayed = replay(record(4, 2000, undone=False), MODELS, lambda terms: terms)
    assert (replayed.applied, replayed.skipped) == (2000, 0)
    lines = list(record(1, 2000))
    undone = sum('["Withdraw"' in line for line in lines)
    assert replay(lines, MODELS, lambda terms: terms).skipped >= undone > 0


def test_a_setting_that_no_decision_depends_on_cannot_be_changed() -> None:
    with pytest.raises(KeyError):
        first_terms().changed("listen.tcp", 1)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "empty"),
        (["x"], "line 1: .*no recording"),
        (['{"recording":99}'], "line 1: format 99"),
        (["[]"], "line 1"),
        ([next(record(3, 0)), "nonsense\n"], "line 2: this is no command"),
        ([next(record(3, 0)), '[1,2,["Fly",1],null,"0"]\n'], "line 2: this is no command"),
        ([next(record(3, 0)), '["x",2,["Leave",77,"x"],null,"0"]\n'], "line 2: this is no command"),
        ([next(record(3, 0)), '[1,null,["Leave",77,"x"],null,"0"]\n'], "line 2: this is no command"),
        ([next(record(3, 0)), f'[{"9" * 400},2,["Leave",77,"x"],null,"0"]\n'], "line 2: this is no command"),
        ([next(record(3, 0)), "[1,2,3,null,4]\n"], "line 2: this is no command"),
        ([next(record(3, 0)), "[" * 100_000 + "\n"], "line 2: this is no command"),
        (["[" * 100_000], "line 1: .*no recording"),
        ([next(record(3, 0)).replace(f'"format":{FORMAT}', '"format":1')], f"line 1: .* format 1: .* reads {FORMAT}"),
        ([next(record(3, 0)), '[1,2,["Leave",77,"x"],null,"0"]\n'], "command 1: Leave of 77"),
    ],
)
def test_what_is_no_recording_is_told_with_its_line(lines: list[str], why: str) -> None:
    with pytest.raises(NotARecording, match=why):
        replay(lines, MODELS)
