"""A tally adds up over processes and survives the way between them."""

from __future__ import annotations

import json
from collections import Counter

from gateway.load.tally import Tally


def seen(scale: int) -> Tally:
    tally = Tally(attempted=5 * scale, connected=4 * scale, welcomed=3 * scale, members=scale)
    tally.open = Counter({"tcp": scale, "websocket": 2 * scale})
    tally.denied = Counter({"join pool_full": scale})
    tally.ack.record(0.001 * scale)
    return tally


def test_tallies_add_up() -> None:
    total = seen(1)
    total.add(seen(2))
    assert (total.attempted, total.connected, total.welcomed, total.members) == (15, 12, 9, 3)
    assert total.open == {"tcp": 3, "websocket": 6}
    assert total.denied == {"join pool_full": 3}
    assert total.ack.count == 2


def test_a_tally_survives_json() -> None:
    dumped = seen(3).dump()
    assert Tally.load(json.loads(json.dumps(dumped))).dump() == dumped


def test_every_count_is_dumped_and_added() -> None:
    tally = Tally()
    assert set(tally.dump()) == set(Tally.__dataclass_fields__)
