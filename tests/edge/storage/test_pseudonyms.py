"""How persons stand in the stored past: by name, by a pseudonym, or not at all; what is there now has names."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.counting.personal_use import NOBODY
from gateway.edge.storage.pseudonyms import Pseudonyms
from tests.conftest import House, Serve, until
from tests.edge.api.test_reports import Hands, items, look


async def busy(serve: Serve, kind: str, path: str = ":memory:") -> tuple[House, Hands]:
    """A house in which ann holds the only seat, bob was refused, and a guest came."""
    hands = Hands()
    house = await serve(clock=hands.clock(), license__epop__users=1, history__names=kind, store__path=path)
    ann = await house.welcomed(account="ann", device="anns-phone")
    bob = await house.welcomed(account="bob", device="bobs-phone")
    await house.welcomed()
    await ann.ask("join", conference="a")
    assert (await bob.ask("join", conference="a"))["type"] == "denied"
    await house.http("PUT", "/api/groups/board", json={"accounts": ["ann", "zoe"]})
    hands.move(120)
    await look(house)
    await items(house, "/api/usage")
    await until(lambda: not house.runtime.persistence.store.pending)
    return house, hands


async def stored(house: House) -> str:
    """All that the past has of persons, as text."""
    store = house.runtime.persistence.store
    rows = await store.read("SELECT account, home, device, address FROM usage")
    return repr(rows + await store.read("SELECT who, home FROM denial"))


@pytest.mark.parametrize(("kind", "there"), [("names", True), ("pseudonyms", False), ("none", False)])
async def test_the_past_is_written_as_it_is_set(kind: str, there: bool, serve: Serve) -> None:
    house, _ = await busy(serve, kind)
    past = await stored(house)
    for name in ("'ann'", "'bob'", "anns-phone", "127.0.0.1"):
        assert (name in past) is there
    assert ("~" in past) is (kind == "pseudonyms")
    connected = await items(house, "/api/connections")
    assert {each["account"] for each in connected} == {"ann", "bob", None}
    denied = [each["account"] for each in await items(house, "/api/denials")]
    assert len(denied) == 1
    assert (denied == ["bob"]) is there


async def test_pseudonyms_tell_persons_apart_and_count_by_group(serve: Serve) -> None:
    house, _ = await busy(serve, "pseudonyms")
    accounts = [each["account"] for each in await items(house, "/api/usage") if each["account"]]
    assert len(set(accounts)) == 2
    groups = {each["group"]: each["users"] for each in await items(house, "/api/usage?by=group")}
    assert groups == {"board": 1, None: 1}
    (today,) = await items(house, "/api/usage?by=day")
    assert (today["users"], today["guests"]) == (2, 1)
    assert [each["account"] for each in await items(house, "/api/usage/absent")] == ["zoe"]


async def test_a_pseudonym_stays_the_same_over_a_restart_and_another_store_has_another(
    serve: Serve, tmp_path: Path
) -> None:
    keys = []
    for path in ("a.db", "a.db", "b.db"):
        house = await serve(history__names="pseudonyms", store__path=tmp_path / path)
        keys.append(house.runtime.persistence.pseudonyms.of("ann", ""))
        await house.gateway.close(drain=0)
    assert keys[0] == keys[1] != keys[2]


async def test_without_names_only_sums_are_kept(serve: Serve) -> None:
    house, _ = await busy(serve, "none")
    (all_together,) = await items(house, "/api/usage")
    assert all_together["account"] is None
    assert all_together["sessions"] == 3
    (today,) = await items(house, "/api/usage?by=day")
    assert (today["users"], today["guests"], today["sessions"]) == (0, 0, 3)
    assert (await house.http("GET", "/api/usage/absent"))[0] == 409


def test_the_same_name_of_another_server_or_device_is_another_pseudonym() -> None:
    pseudonyms = Pseudonyms("pseudonyms")
    kept = pseudonyms.take_key(None)
    assert kept is not None
    persons = [("ann", "", "", ""), ("ann", "hq", "", ""), ("ann", "", "phone", ""), ("", "", "phone", "")]
    written = [pseudonyms.person(each) for each in persons]
    assert len({(each[0], each[2]) for each in written}) == 4
    assert written[1][1] == "hq"
    assert pseudonyms.person(NOBODY) == NOBODY
    again = Pseudonyms("names")
    assert again.take_key(kept) is None
    assert again.stand_for("ann", "") == ["ann", written[0][0]]
    assert Pseudonyms().stand_for("ann", "") == ["ann"]


@pytest.mark.parametrize("kind", ["names", "pseudonyms", "none"])
def test_who_was_refused_stands_there_as_in_the_use(kind: str) -> None:
    pseudonyms = Pseudonyms(kind)
    pseudonyms.take_key(None)
    for asker, person in (
        (("account", "ann", ""), ("ann", "", "", "")),
        (("account", "ann", "hq"), ("ann", "hq", "", "")),
        (("device", "phone", ""), ("", "", "phone", "")),
        (("address", "192.0.2.7", ""), ("", "", "", "192.0.2.7")),
        (("account", "", ""), NOBODY),
    ):
        account, home, device, address = pseudonyms.person(person)
        assert pseudonyms.asker(*asker) == (account or device or address, home)
