"""Forgetting a person in the state: nothing is left that names it, and what is counted stays exact."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission.apply import apply
from gateway.core.admission.state_json import from_json, to_json
from gateway.core.counting.personal_use import NOBODY
from gateway.core.counting.session import Instant
from gateway.licensing import MODELS
from gateway.licensing.floating import Floating, floating
from tests.core.admission.random_day import RandomDay
from tests.core_harness import CoreHarness


def totals(day: RandomDay) -> dict[tuple[str, str], tuple[Any, ...]]:
    """What each pool has granted, released and been asked for in vain."""
    found = {}
    for ledger in day.state.ledgers:
        for name, pool in ledger.pools.items():
            shares = ledger.pools[name].shares
            rows = [shares.row(each, day.now.mono) for each in shares.by_person]
            rows += [row for row in day.state.use.finished if (row.model, row.pool) == (ledger.model.name, name)]
            whole = pool.totals(day.now.mono)
            assert sum(row.seat_seconds for row in rows) == pytest.approx(whole.seat_seconds), (ledger.model.name, name)
            assert sum(row.grants for row in rows) == whole.grants - len(pool.terms.reserve)
            assert sum(row.denials for row in rows) == sum(whole.denials.values())
            found[ledger.model.name, name] = (whole.grants, sum(whole.denials.values()))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_who_is_erased_in_a_random_life_is_nowhere_and_all_sums_stay(seed: int) -> None:
    day = RandomDay(seed)
    for number, _ in enumerate(day.commands(300)):
        if number % 60 == 59:
            known = [each.identity for each in day.state.sessions.by_number.values() if each.identity]
            if known:
                who = known[number % len(known)]
                before = totals(day)
                decision = apply(day.state, c.ErasePerson(who, force=True), day.now)
                assert decision.refused is None
                after = totals(day)
                # Who waited in line may have been granted what became free.
                assert all(after[place][0] >= grants for place, (grants, _) in before.items())
                _is_nowhere(day, who)
                plain = json.loads(json.dumps(to_json(day.state)))
                assert json.loads(json.dumps(to_json(from_json(plain, MODELS)))) == plain


def _is_nowhere(day: RandomDay, who: Any) -> None:
    state = day.state
    account, home = who if isinstance(who, tuple) else (who, "")
    assert not state.sessions.of_account(who)
    assert who not in state.directory.accounts
    assert not any(who in group.accounts for group in state.directory.groups.values())
    for ledger in state.ledgers:
        for pool in ledger.pools.values():
            assert who not in pool.claims or who in pool.terms.reserve
            assert not any(each.person[:2] == (account, home) for each in pool.lingering.values())
            assert ("account", who) not in pool.denial_tracker.open_episodes
            assert not any(each.asker == ("account", who) for each in pool.denial_tracker.finished)
    reserved = [
        (ledger.model.name, name)
        for ledger in state.ledgers
        for name, pool in ledger.pools.items()
        if any(who == key or (isinstance(key, tuple) and key[0] == who) for key in pool.terms.reserve)
    ]
    for place in state.use.places:
        if (place.model, place.pool) in reserved:  # the configuration goes on naming it
            continue
        assert not any(person[:2] == (account, home) for person in place.by_person)
        assert not any(person[:2] == (account, home) for person in place.charged.values())


def test_a_seat_that_others_share_is_nobodys_until_it_ends() -> None:
    day = RandomDay(1)
    shares = day.state.primary.pools[next(iter(day.state.primary.pools))].shares
    ann = ("ann", "", "phone", "")
    shares.grant("key", ann, day.now.mono)
    shares.charged["key"] = ann
    later = Instant(day.now.mono + 3, day.now.wall + 3)
    day.state.use.forget("ann", later)
    assert shares.charged["key"] == NOBODY
    shares.release("key", ("", "", "", "192.0.2.1"), later.mono + 5)
    row = shares.row(NOBODY, later.mono + 5)
    assert (row.seat_seconds, row.grants) == (5.0, 0)
    (before,) = [each for each in day.state.use.finished if each.account == "ann"]
    assert (before.seat_seconds, before.grants) == (3.0, 1)


def test_an_account_of_the_same_name_at_another_home_keeps_its_seat() -> None:
    core = CoreHarness(floating(Floating(limit=5, key="account", linger=60.0)), homes=("partner.example",))
    core.end(core.hello("ann", "phone", home="partner.example"), "reset")
    core.end(core.hello("ann", "phone"), "reset")
    core.apply(c.ErasePerson("ann", force=True))
    assert list(core.state.primary.pools["seats"].claims) == [("ann", "partner.example")]
