"""An index of what has a key: nearly always one thing, sometimes many.

Thousands of keys with one thing each cost one dictionary entry each; a key with thousands of things (one account shared
by a whole company) still costs the same for each change.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)
FEW = 4
"""Things of a key that are kept in a tuple, which is small; more are kept in a dictionary."""


class Multimap(dict[K, V | None]):
    """Keys and the things that have them, each thing once, in order of arrival.

    To ask whether somebody has a key, and for the number of keys, is to ask a dictionary. A key that nobody or only one
    thing has may be set and deleted as in one; whatever else changes goes through `add` and `discard`. A key with many
    things has None in the dictionary.
    """

    __slots__ = ("_many",)

    def __init__(self) -> None:
        super().__init__()
        self._many: dict[K, tuple[V, ...] | dict[V, None]] = {}

    @property
    def surplus(self) -> int:
        """How many things there are beyond one for each key."""
        return sum(len(things) - 1 for things in self._many.values())

    def values_of(self, key: K) -> Collection[V]:
        """Return the things that have `key`; a view or a copy, not to be kept over a change."""
        thing = self.get(key)
        if thing is not None:
            return (thing,)
        many = self._many.get(key, ())
        return many if isinstance(many, tuple) else many.keys()

    def has_only(self, key: K, thing: V) -> bool:
        """Return whether `thing` alone has `key`."""
        return self.get(key) is thing

    def add(self, key: K, thing: V) -> bool:
        """Let `thing` have `key`; whether the key is new."""
        if key not in self:
            self[key] = thing
            return True
        first = self[key]
        if first is None:
            self._add_to_many(key, thing)
        elif first is not thing and first != thing:
            self[key] = None
            self._many[key] = (first, thing)
        return False

    def _add_to_many(self, key: K, thing: V) -> None:
        many = self._many[key]
        if isinstance(many, dict):
            many[thing] = None
        elif thing not in many:
            many = (*many, thing)
            self._many[key] = many if len(many) <= FEW else dict.fromkeys(many)

    def discard(self, key: K, thing: V) -> bool:
        """Let `thing` have `key` no more; whether the key is gone with it."""
        held = self.get(key)
        if held is thing or (held is not None and held == thing):
            del self[key]
            return True
        many = self._many.get(key)
        if many is None:
            return False
        if isinstance(many, dict):
            many.pop(thing, None)
        else:
            self._many[key] = many = tuple([each for each in many if each != thing])
        if len(many) == 1:
            del self._many[key]
            self[key] = next(iter(many))
        return False
