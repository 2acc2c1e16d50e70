"""The record of a license model: everything that the rest of the gateway knows of it.

The file of each model makes one, and `gateway.licensing` lists them. Code that needs to know something of a model, such
as a title for people or what a sold license changes, reads its record and never compares its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gateway.core.counting.license_model import LicenseModel
from gateway.core.registration.grant import Grant


class PoolInfo(NamedTuple):
    """A pool, for people and for licenses that are sold.

    `title` names the pool; `seat` and `seats` are one and several of its seats in a sentence. `limit` is the setting
    of the model that has its limit.
    """

    title: str
    seat: str
    seats: str
    limit: str

    def counted(self, number: int) -> str:
        """Return a number of seats, in words of a sentence."""
        return f"{number} {self.seat if number == 1 else self.seats}"


class PoolNeed(NamedTuple):
    """What recorded demand would have needed of a pool: `seats` at once, or `each` in each conference."""

    seats: int | None
    each: int | None = None


class TermsRule(NamedTuple):
    """A rule between settings of a model: the fields it takes together, and the faults it finds.

    `check` is given the model's terms and yields the field at fault and the reason, for a person.
    """

    fields: tuple[str, ...]
    check: Callable[[Any], Iterator[tuple[str, str]]]


def _unchanged(terms: Any, _: Grant) -> Any:
    return terms


def _as_named(grant: Grant) -> Collection[str]:
    return grant.extensions


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of one license model; its settings are the section `[license.<name>]`.

    `title` is its name for people, `product` its name in a sentence where that is another. `terms` is the dataclass of
    its settings, and `model` makes the model from an instance of it. `pools` has an entry for each of its pools, first
    those that say most about the price.
    """

    name: str
    title: str
    terms: type[Any]
    model: Callable[[Any], LicenseModel]
    pools: Mapping[str, PoolInfo]
    product: str = ""
    editions: tuple[str, ...] = ()
    """The editions that it may be sold in, the usual one first."""
    needs_connection: tuple[str, ...] = ()
    """The editions that need the connection to the registration server, unless their license says otherwise."""
    sold_by_default: bool = False
    """Whether a license that names no model is one of this."""
    sold: Callable[[Any, Grant], Any] = _unchanged
    """What else than its limits follows from a license that was sold: the terms under it."""
    extensions: Callable[[Grant], Collection[str]] = _as_named
    """The names of the extensions that a license brings."""
    further_extensions: tuple[str, ...] = ()
    """What a license can name beside the extensions that the model lists."""
    rights: Callable[[str | None], Mapping[str, list[str]]] | None = None
    """The vendor's table for people: what the holder of a seat of each pool may do in an edition."""
    rules: tuple[TermsRule, ...] = ()
    sizing: Callable[[Any, Mapping[str, PoolNeed]], str] | None = None
    """What demand would have needed under these terms, as one phrase, where a list of seats does not say it."""
    redistribute_every: str = ""
    """The setting with the seconds between two redistributions of permanent licenses, where it has any."""

    @property
    def limits(self) -> dict[str, str]:
        """The setting that has the limit of each pool."""
        return {name: pool.limit for name, pool in self.pools.items()}

    def under(self, grant: Grant, terms: Any) -> Any:
        """Return the terms under a license in place of the configured ones; pools not named have the default."""
        usual = self.terms()
        limits = {field: grant.limits.get(pool, getattr(usual, field)) for pool, field in self.limits.items()}
        return self.sold(replace(terms, **limits), grant)

    def sizing_phrase(self, terms: Any, needs: Mapping[str, PoolNeed]) -> str:
        """Return what demand would have needed under this model, as one phrase; `needs` has every pool."""
        if self.sizing is not None:
            said = self.sizing(terms, needs)
        else:
            counted = ((pool, needs[name].seats) for name, pool in self.pools.items())
            said = ": " + " / ".join(pool.counted(seats) for pool, seats in counted if seats is not None)
        return f"{self.product or self.title}{said}"

    def titles(self) -> dict[str, Any]:
        """Return the titles of the model and of its pools, as the API shows them."""
        return {"title": self.title, "pools": {name: pool.title for name, pool in self.pools.items()}}
