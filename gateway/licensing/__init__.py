"""The license models, by name.

Adding one: a file with a settings dataclass, a function whose docstring says who is counted once and the model's
record (`ModelInfo`), one line in `MODELS`, one test, one row in the README.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
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
        tuple(extension.name for extension in model.extensions),
        info.needs_connection,
        info.sold_by_default,
    )


OFFERS: dict[str, LicensableModel] = {name: _licensable(info) for name, info in MODELS.items()}
"""What a registrar's license can name of each model."""
DEFAULT_MODEL = next(name for name, offer in OFFERS.items() if offer.by_default)
"""The model of a license that names none."""


def under(grant: Grant, terms: Any) -> Any:
    """The terms of the granted model in place of the configured ones: pools not named keep the edition's default."""
    info = MODELS[grant.model]
    usual = info.terms()
    limits = {field: grant.limits.get(pool, getattr(usual, field)) for pool, field in info.limits.items()}
    return info.sold(replace(terms, **limits), grant)


def redistribution_interval(terms: Mapping[str, Any]) -> float:
    """Seconds between two redistributions of permanent licenses: the shortest that a model has; infinite without one.

    `terms` has the settings of every model, by its name.
    """
    settings = ((name, info.redistribute_every) for name, info in MODELS.items() if info.redistribute_every)
    return min((getattr(terms[name], setting) for name, setting in settings), default=math.inf)
