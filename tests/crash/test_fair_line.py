"""A line under a storm: whoever came first is served first, and no seat is idle meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.fair_line import storm


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_line_is_served_in_order_and_no_seat_is_idle_while_somebody_waits(tmp_path: Path) -> None:
    found = await storm(tmp_path / "line.db", waiting=300, seats=10, held=0.1, serve=250)
    assert len(found.served) >= 250
    assert found.served == sorted(found.served) == [*range(len(found.served))]
    assert len(found.delays) >= 240
    assert abs(10 * found.full_seconds - found.seat_seconds) < 1e-6
