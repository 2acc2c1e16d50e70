"""Profiles of a load: what is read, what is wrong with them, and who does what by them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import pytest

import config
from config.faults import ConfigError
from gateway.core.formats import DURATION_FORM
from gateway.load.plan import LoadError, Machine, plans
from gateway.load.profile import LoadGroup, Profile, Span, Spike, read_profile

FILES = Path(config.__file__).parent
LOTS = Random(1)  # noqa: S311 - what is drawn must be the same each time
EXAMPLES = ("load-office", "load-storm")


def read(tmp_path: Path, text: str) -> Profile:
    path = tmp_path / "profile.toml"
    path.write_text(text, encoding="utf-8")
    return read_profile(path)


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return [str(fault).removeprefix(f"{tmp_path}/profile.toml: ") for fault in caught.value.faults]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_profiles(name: str) -> None:
    assert read_profile(FILES / f"{name}.toml").group


def test_the_first_example_has_every_key() -> None:
    text = (FILES / "load-office.toml").read_text(encoding="utf-8")
    for owner in (Profile, LoadGroup, Spike, Span):
        for field in owner.__dataclass_fields__:
            assert f"{field} =" in text or f"[[{field}]]" in text, field


def test_an_empty_file_is_a_profile_of_clients_that_stay(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Profile(group=(LoadGroup(),))


def test_values_are_read_by_their_kinds(tmp_path: Path) -> None:
    profile = read(
        tmp_path,
        """
        clients = 10
        rate = 0.5
        duration = "2m"
        [[group]]
        kind = "sip"
        hold = { mean = "90s", shape = "lognormal", spread = 80, most = "5m" }
        [[spike]]
        at = "1s"
        cut = 4
        """,
    )
    assert (profile.clients, profile.rate, profile.duration) == (10, 0.5, 120.0)
    assert profile.group == (LoadGroup(kind="sip", hold=Span(90.0, "lognormal", 80, 300.0)),)
    assert profile.spike == (Spike(at=1.0, cut=4),)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """
        client = 5
        rate = 0
        duration = 30
        [[group]]
        kind = "apps"
        share = "many"
        hold = { means = "5s" }
        [[spike]]
        at = true
        """,
    )
    assert found == [
        'client: unknown key (did you mean "clients"?)',
        "rate: must be from 0.001 to 100000, is the integer 0",
        f'duration: expected {DURATION_FORM}, found the integer 30 (did you mean "30s"?)',
        found[3],
        'group: item 1: share: expected an integer, found the string "many"',
        'group: item 1: hold: means: unknown key (did you mean "mean"?)',
        f"spike: item 1: at: expected {DURATION_FORM}, found true",
    ]
    assert found[3].startswith("group: item 1: kind: expected one of ")
    assert found[3].endswith('found the string "apps" (did you mean "app"?)')


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rate = nan", "rate: must be from 0.001 to 100000, is the number nan"),
        ('rate = "9"', 'rate: expected a number, found the string "9"'),
        ("[group]", "group: is a list of tables: write [[ ]] around its name"),
        ("[[group]]\nhold = {}", "group: item 1: hold: mean: is missing"),
        (
            '[[group]]\nkind = "welcome"\nconferences = 1',
            "group: item 1: conferences: a visitor (welcome) may not join any",
        ),
        ("[[group]]\ndrop = 5", "group: item 1: drop: is of no effect without hold: these clients stay to the end"),
        (
            '[[group]]\nhold = { mean = "1s" }\ndrop = 60\nhalf_open = 60',
            "group: item 1: drop and half_open: are more than 100 percent together",
        ),
        ('[[group]]\nawake = { mean = "1s" }', "group: item 1: awake and asleep: need each other"),
        (
            "[[group]]\nclients_per_account = 2",
            'group: item 1: clients_per_account: is of no effect without accounts = "distinct"',
        ),
        ('[[spike]]\nat = "1s"', "spike: item 1: come or cut: how many clients it is about is missing"),
        ('[[spike]]\nat = "1h"\ncut = 1', "spike: item 1: at: is not before the end of the load (duration)"),
        ("clients = ?", "is not TOML: line 1, column 11: invalid value"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, fault: str) -> None:
    assert faults(tmp_path, text) == [fault]


@pytest.mark.parametrize("shape", ["constant", "uniform", "exponential", "lognormal"])
def test_what_is_drawn_has_the_mean_that_was_asked_for(shape: str) -> None:
    span = Span(10.0, shape, 50)  # type: ignore[arg-type]
    drawn = [span.draw(LOTS) for _ in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(10.0, rel=0.03)
    assert min(drawn) >= 0


def test_a_lognormal_span_has_the_deviation_that_was_asked_for() -> None:
    span = Span(10.0, "lognormal", 80)
    drawn = [span.draw(LOTS) for _ in range(50_000)]
    assert (sum((each - 10) ** 2 for each in drawn) / len(drawn)) ** 0.5 == pytest.approx(8.0, rel=0.05)


def test_nothing_longer_than_the_most_is_drawn() -> None:
    span = Span(10.0, "exponential", most=12.0)
    assert max(span.draw(LOTS) for _ in range(1000)) == 12.0


def test_groups_have_their_shares() -> None:
    profile = Profile(group=(LoadGroup(share=60), LoadGroup(share=25), LoadGroup(share=15)))
    found = Counter(profile.group_of(number).share for number in range(1000))
    assert found == {60: pytest.approx(600, abs=2), 25: pytest.approx(250, abs=2), 15: pytest.approx(150, abs=2)}


@pytest.mark.parametrize("percent", [0, 1, 20, 50, 99, 100])
def test_so_many_percent_come_over_websocket(percent: int) -> None:
    group = LoadGroup(websocket=percent)
    assert sum(group.uses_websocket(number) for number in range(200)) == 2 * percent


def test_how_many_are_there_at_once_follows_from_coming_and_going() -> None:
    stay = Profile(clients=100, group=(LoadGroup(),))
    assert stay.at_once == 100
    assert replace(stay, group=(LoadGroup(hold=Span(10.0), away=Span(30.0)),)).at_once == 25
    assert replace(stay, rate=2.0, group=(LoadGroup(hold=Span(10.0)),)).at_once == 20
    assert replace(stay, group=(LoadGroup(share=3), LoadGroup(hold=Span(10.0), away=Span(10.0)))).at_once == 88


def test_a_profile_survives_json() -> None:
    profile = read_profile(FILES / "load-office.toml")
    assert Profile.load(json.loads(json.dumps(asdict(profile)))) == profile


def test_several_machines_share_clients_rate_and_spikes() -> None:
    profile = Profile(clients=100, rate=30.0, group=(LoadGroup(),), spike=(Spike(cut=7, come=2),))
    machines = [Machine(20_000, 2), Machine(20_000, 1, ("192.0.2.1",))]
    mine, theirs = plans(profile, machines, "127.0.0.1", {"tcp": 1}, seed=5)
    made = [*mine, *theirs]
    assert [len(mine), len(theirs)] == [2, 1]
    numbers = [number for plan in made for number in range(plan.first, plan.first + plan.profile.clients)]
    assert numbers == list(range(100))
    assert sum(plan.profile.rate for plan in made) == pytest.approx(30.0)
    assert sum(plan.profile.spike[0].cut for plan in made) == 7
    assert sum(plan.profile.spike[0].come for plan in made) == 2
    assert theirs[0].sources == ["192.0.2.1"]
    assert len({plan.seed for plan in made}) == 3


def test_loopback_has_as_many_addresses_as_were_asked_for() -> None:
    profile = Profile(clients=100, addresses=600, group=(LoadGroup(),))
    (made,) = plans(profile, [Machine(20_000, 3)], "127.0.0.1", {"tcp": 1})
    sources = [source for plan in made for source in plan.sources]
    assert len(sources) == len(set(sources)) == 600
    assert {"127.0.0.2", "127.0.1.2"} <= set(sources)


def test_too_few_clients_for_the_machines_are_refused() -> None:
    with pytest.raises(LoadError, match="1 clients are too few for 2 machines"):
        plans(Profile(clients=1, group=(LoadGroup(),)), [Machine(20_000)] * 2, "127.0.0.1", {"tcp": 1})
