"""An index of what has a key: nearly always one thing, sometimes many.

Thousands of keys with one thing each cost one dictionary entry each; a key with thousands of things (one account shared
by a whole company) still costs the same for each change.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Multimap(Generic[K, V]):
    """Keys and the things that have them, by identity or equality of the thing, in order of arrival.

    `keys` is the dictionary of all keys, for whoever needs their number at the price of a `len`; it is not changed from
    outside. A key with many things has None there.
    """

    __slots__ = ("_many", "keys")

    def __init__(self) -> None:
        self.keys: dict[K, V | None] = {}
        self._many: dict[K, dict[V, None]] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: K) -> bool:
        return key in self.keys

    def __iter__(self) -> Iterator[K]:
        return iter(self.keys)

    @property
    def surplus(self) -> int:
        """How many things there are beyond one for each key."""
        return sum(len(things) - 1 for things in self._many.values())

    def values_of(self, key: K) -> Collection[V]:
        """The things that have `key`; a view or a copy, not to be kept over a change."""
        thing = self.keys.get(key)
        if thing is not None:
            return (thing,)
        return self._many[key].keys() if key in self._many else ()

    def has_only(self, key: K, thing: V) -> bool:
        """Whether `thing` alone has `key`."""
        return self.keys.get(key) is thing

    def add(self, key: K, thing: V) -> bool:
        """Let `thing` have `key`; whether the key is new."""
        if key not in self.keys:
            self.keys[key] = thing
            return True
        first = self.keys[key]
        if first is None:
            self._many[key][thing] = None
        elif first is not thing:
            self.keys[key] = None
            self._many[key] = {first: None, thing: None}
        return False

    def discard(self, key: K, thing: V) -> bool:
        """Let `thing` have `key` no more; whether the key is gone with it."""
        held = self.keys.get(key)
        if held is thing:
            del self.keys[key]
            return True
        many = self._many.get(key)
        if many is not None:
            many.pop(thing, None)
            if len(many) == 1:
                del self._many[key]
                self.keys[key] = next(iter(many))
        return False
