"""How much of the past is kept one by one: so many rows of a name and of a pool, in each hour."""

from __future__ import annotations

import pytest

from gateway.core.counting.usage import HOUR
from gateway.edge.storage.history_quota import HistoryQuota

POOL, OTHER = ("epop", "concurrent"), ("trueconf", "online")


def allowed(quota: HistoryQuota, times: int, name: object, place: tuple[str, str] = POOL, now: float = 0.0) -> int:
    return sum(quota.allows(now, place, name) for _ in range(times))


def test_a_name_has_so_many_rows_of_an_hour_in_each_pool() -> None:
    quota = HistoryQuota("ended seats", 3, 100)
    assert [allowed(quota, 5, "ann"), allowed(quota, 5, "bob"), allowed(quota, 5, "ann", OTHER)] == [3, 3, 3]
    assert quota.left_out == {POOL: 4, OTHER: 2}
    assert allowed(quota, 5, "ann", now=HOUR) == 3


def test_a_pool_has_so_many_rows_of_an_hour_whatever_the_names(caplog: pytest.LogCaptureFixture) -> None:
    quota = HistoryQuota("ended seats", 3, 10)
    assert sum(allowed(quota, 1, name) for name in range(50)) == 10
    assert allowed(quota, 1, "ann", OTHER) == 1
    assert sum(allowed(quota, 1, name, now=HOUR) for name in range(50)) == 10
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2  # once an hour
    assert (
        said[0] == "more ended seats of the pool concurrent of epop in an hour than are kept one by one: "
        "the rest are only added up"
    )
