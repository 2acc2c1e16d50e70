"""Pages of lists: what is on them, and that a long list stops nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission.conferences import Declaration
from gateway.core.admission.directory import Group
from gateway.edge.api import pages
from gateway.edge.api.pages import HEAVY, PIECE, keys_of_page
from tests.conftest import House, Serve

NAMES = st.text("abc", min_size=1, max_size=3)


def keys(query: str, found: list[str], **options: Any) -> tuple[list[str], str | None]:
    """The keys on a page, and the cursor of the next."""
    return asyncio.run(keys_of_page(make_mocked_request("GET", f"/?{query}"), found, **options))


@given(st.lists(NAMES, max_size=60), st.integers(1, 9), st.integers(0, 9), NAMES, st.sampled_from([1, 2, 7, 1000]))
def test_a_page_has_what_comes_next_in_order(found: list[str], limit: int, offset: int, after: str, piece: int) -> None:
    beyond = [key for key in sorted(set(found)) if key > after][offset:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PIECE", piece)
        shown, more = keys(f"limit={limit}&offset={offset}&cursor={after}", found)
    assert shown == beyond[:limit]
    assert more == (shown[-1] if len(beyond) > limit else None)


def test_what_is_not_wanted_is_left_out() -> None:
    assert keys("limit=2", ["b", "ab", "c", "a"], wanted=lambda key: "b" not in key) == (["a", "c"], None)


def test_a_heavy_page_ends_early_with_one_item_at_least() -> None:
    weight = {"a": HEAVY // 2, "b": HEAVY // 2, "c": 1, "d": 2 * HEAVY, "e": 1}
    assert keys("", [*weight], weight=weight.__getitem__) == (["a", "b"], "b")
    assert keys("cursor=b", [*weight], weight=weight.__getitem__) == (["c"], "c")
    assert keys("cursor=c", [*weight], weight=weight.__getitem__) == (["d"], "d")
    assert keys("cursor=d", [*weight], weight=weight.__getitem__) == (["e"], None)


# -- long lists of a gateway -------------------------------------------------------------------------------------------


async def turns_of(house: House, path: str) -> tuple[int, Any]:
    """How many turns the loop has while a path is answered, and the answer."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        status, told = await house.http("GET", path)
    finally:
        counting.cancel()
    assert status == 200, told
    return turns, told


async def test_a_list_of_very_many_leaves_room_for_others(serve: Serve) -> None:
    house = await serve()
    declared = house.runtime.state.conferences.declared
    declared |= {f"c{number}": Declaration() for number in range(100 * PIECE)}
    turns, told = await turns_of(house, "/api/conferences?limit=1000&offset=50000&q=C")
    assert [len(told["items"]), told["items"][0]["id"]] == [1000, sorted(declared)[50_000]]
    few, _ = await turns_of(house, "/api/license")
    assert turns - few > 140  # a hundred pieces are sorted, and fifty merged


class Names(tuple[str, ...]):
    """Accounts of a group that count how often they are gone through, or searched."""

    __slots__ = ()
    walks: list[str] = []  # noqa: RUF012 - what a test counts

    def __iter__(self) -> Iterator[str]:
        self.walks.append("walked")
        return super().__iter__()

    def __contains__(self, _: object) -> bool:
        self.walks.append("searched")
        return super().__contains__(_)


async def test_the_groups_of_a_page_of_accounts_are_gone_through_once(serve: Serve) -> None:
    house = await serve()
    directory = house.runtime.state.directory
    directory.accounts |= {f"a{number}": () for number in range(500)}
    for name in ("x", "y", "z"):
        directory.groups[name] = Group(Names(f"a{number}" for number in range(100, 5000)), False)
    Names.walks.clear()
    _, told = await turns_of(house, "/api/accounts?limit=1000")
    assert Names.walks == ["walked"] * 3
    groups = {each["account"]: each["groups"] for each in told["items"]}
    assert (groups["a99"], groups["a100"]) == ([], ["x", "y", "z"])


async def test_a_page_of_groups_has_so_many_accounts(serve: Serve) -> None:
    house = await serve()
    names = tuple(f"a{number}" for number in range(HEAVY * 2 // 3))
    for name in ("x", "y"):
        house.runtime.state.directory.groups[name] = Group(names, False)
    _, first = await house.http("GET", "/api/groups")
    assert ([each["group"] for each in first["items"]], first["next"]) == (["x"], "x")
    _, last = await house.http("GET", "/api/groups?cursor=x")
    assert ([each["group"] for each in last["items"]], last["next"]) == (["y"], None)
