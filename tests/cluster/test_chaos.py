"""A short round of everything that can happen to a cluster."""

from __future__ import annotations

import pytest

from tests.cluster.chaos import play

pytestmark = [pytest.mark.debian, pytest.mark.slow]


@pytest.mark.timeout(150)
async def test_a_round_of_trouble_leaves_nobody_over_the_limit_and_all_gateways_agreed() -> None:
    game = await play(minutes=0.4, seed=0)
    assert game.answers["joined"] > 50
    assert game.samples > 50
    assert game.comparisons > 3
