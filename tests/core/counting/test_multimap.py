"""An index of what has a key, against lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.counting.multimap import Multimap


class Thing:
    """Something told apart by identity."""


THINGS = [Thing() for _ in range(4)]
steps = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 3)), max_size=30)


@given(steps)
def test_it_agrees_with_lists_after_every_step(steps: list[tuple[bool, str, int]]) -> None:
    index: Multimap[str, Thing] = Multimap()
    lists: dict[str, list[Thing]] = {}
    for adds, key, place in steps:
        thing, known = THINGS[place], key in lists
        things = lists.setdefault(key, [])
        if adds:
            assert index.add(key, thing) is not known
            if thing not in things:
                things.append(thing)
        else:
            gone = things == [thing]
            assert index.discard(key, thing) is gone
            if thing in things:
                things.remove(thing)
        if not things:
            del lists[key]
        assert set(index) == set(lists)
        assert len(index) == len(lists)
        assert index.surplus == sum(len(each) - 1 for each in lists.values())
        for name in "ab":
            assert (name in index) == (name in lists)
            assert list(index.values_of(name)) == lists.get(name, [])
            assert all(index.has_only(name, each) == (lists.get(name) == [each]) for each in THINGS)
