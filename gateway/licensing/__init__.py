"""The license models, by name.

`gateway/README.md` says how one is added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gateway.core.registration.grant import Grant, LicensableModel
from gateway.licensing.epop import EPOP
from gateway.licensing.floating import FLOATING
from gateway.licensing.model_info import ModelInfo
from gateway.licensing.nefsis import NEFSIS_CONCURRENT, NEFSIS_NAMED
from gateway.licensing.trueconf import TRUECONF

MODELS: dict[str, ModelInfo] = {
    info.name: info
    for info in (
        EPOP,
        NEFSIS_CONCURRENT,
        NEFSIS_NAMED,
        TRUECONF,
        FLOATING,
    )
}


def _licensable(info: ModelInfo) -> LicensableModel:
    model = info.model(info.terms())
    return LicensableModel(
        tuple(pool.name for pool in model.pools),
        info.editions,
        (*(extension.name for extension in model.extensions), *info.further_extensions),
        info.needs_connection,
        info.sold_by_default,
    )


OFFERS: dict[str, LicensableModel] = {name: _licensable(info) for name, info in MODELS.items()}
"""What a license of a registrar can name of each model."""
DEFAULT_MODEL = next(name for name, offer in OFFERS.items() if offer.by_default)
"""The model of a license that names none."""


def under(grant: Grant, terms: Any) -> Any:
    """Return the terms of the granted model in place of the configured ones; pools not named have the default."""
    return MODELS[grant.model].under(grant, terms)


def overridden(model: str, terms: Any) -> list[str]:
    """Return the settings of a model whose value has no effect under a license: it says them, be it by silence."""
    sold = MODELS[model].sold(terms, Grant(model, getattr(terms, "edition", ""), {}))
    return [field.name for field in fields(terms) if getattr(terms, field.name) != getattr(sold, field.name)]


def redistribution_interval(terms: Mapping[str, Any]) -> float:
    """Return the seconds between two redistributions of permanent licenses: the fewest that a model has, else infinite.

    `terms` has the settings of every model, by its name.
    """
    settings = ((name, info.redistribute_every) for name, info in MODELS.items() if info.redistribute_every)
    return min((getattr(terms[name], setting) for name, setting in settings), default=math.inf)
