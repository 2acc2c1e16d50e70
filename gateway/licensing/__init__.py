"""The license models, by name.

Adding one: a file with a settings dataclass and a function whose docstring says who is counted once, one line here, one
test, one row in the README.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gateway.core.license import Model
from gateway.licensing.epop import Epop, epop
from gateway.licensing.floating import Floating, floating
from gateway.licensing.nefsis import NefsisConcurrent, NefsisNamed, nefsis_concurrent, nefsis_named
from gateway.licensing.trueconf import TrueConf, trueconf


class Licensing(NamedTuple):
    """`terms` is the dataclass of the section `[license.<name>]`; `model` makes the model from an instance of it."""

    terms: type[Any]
    model: Callable[[Any], Model]


MODELS: dict[str, Licensing] = {
    "epop": Licensing(Epop, epop),
    "nefsis-concurrent": Licensing(NefsisConcurrent, nefsis_concurrent),
    "nefsis-named": Licensing(NefsisNamed, nefsis_named),
    "trueconf": Licensing(TrueConf, trueconf),
    "floating": Licensing(Floating, floating),
}
