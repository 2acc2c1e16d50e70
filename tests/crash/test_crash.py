"""What was acknowledged outlives the death of the gateway; the command `python -m tests.crash` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import rounds

ROUNDS = 20


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_what_was_acknowledged_is_there_once_after_each_of_twenty_deaths(tmp_path: Path) -> None:
    results = [each async for each in rounds.killed(tmp_path / "crash.db", ROUNDS, seed=20)]
    assert [each.faults for each in results] == [[]] * ROUNDS
    assert all(each.acknowledged for each in results)
    assert len(results[-1].ends) > ROUNDS
