"""The license models, by name.

Adding one: a file with a settings dataclass and a function whose docstring says who is counted once, one line here, one
test, one row in the README.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from gateway.core.counting.license_model import LicenseModel
from gateway.core.registration.messages import FREE, Grant, LicensableModel
from gateway.licensing.epop import Epop, epop
from gateway.licensing.floating import Floating, floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed, nefsis_concurrent, nefsis_named
from gateway.licensing.trueconf import EDITIONS, TrueConf, sold, trueconf


class Licensing(NamedTuple):
    """`terms` is the dataclass of the section `[license.<name>]`; `model` makes the model from an instance of it.

    `limits` names the field in which each pool has its limit, for licenses that a registrar grants; `editions` are
    those that it may be sold in, and `sold` what else follows from that.
    """

    terms: type[Any]
    model: Callable[[Any], LicenseModel]
    limits: Mapping[str, str]
    editions: tuple[str, ...] = ()
    sold: Callable[[Any, Grant], Any] = lambda terms, _: terms


MODELS: dict[str, Licensing] = {
    "epop": Licensing(Epop, epop, {"concurrent": "users"}),
    "nefsis-concurrent": Licensing(NefsisConcurrent, nefsis_concurrent, {"concurrent": "users"}),
    "nefsis-named": Licensing(NefsisNamed, nefsis_named, {"hosts": "hosts", "participants": "participants"}),
    "trueconf": Licensing(
        TrueConf, trueconf, {pool: pool for pool in ("online", "pro", "guest", "gateway")}, EDITIONS, sold
    ),
    "floating": Licensing(Floating, floating, {"seats": "limit"}),
}

OFFERS: dict[str, LicensableModel] = {
    name: LicensableModel(
        tuple(each.limits), each.editions, tuple(extension.name for extension in each.model(each.terms()).extensions)
    )
    for name, each in MODELS.items()
}
"""What a registrar's license can name of each model."""


def under(grant: Grant, terms: Any) -> Any:
    """The terms of the granted model in place of the configured ones: pools not named keep the edition's default."""
    model = MODELS[grant.model]
    usual = model.terms()
    limits = {field: grant.limits.get(pool, getattr(usual, field)) for pool, field in model.limits.items()}
    return model.sold(replace(terms, **limits), grant)


def extended(model: LicenseModel, grant: Grant) -> LicenseModel:
    """The model with the extensions that a license names; no free edition has an SDK (COUNTING.md, TrueConf)."""
    named = {name for name in grant.extensions if (name, grant.edition) != ("sdk", FREE)}
    extensions = (each._replace(licensed=each.licensed or each.name in named) for each in model.extensions)
    return replace(model, extensions=tuple(extensions))
