"""What the tests that go over all models need of each: the test file of a model has a `SAMPLES` with it."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from hypothesis.strategies import SearchStrategy

from gateway.licensing import MODELS
from tests.core.admission.mirror import Tale


class Sample(NamedTuple):
    """A model for the tests: how it is retold, and terms of it.

    `small` draws terms under which a handful of sessions fill a pool. `wide` and `narrow` are terms that refuse hardly
    anything, and nearly everything. In `configured` everything is other than the default; `sold` are the settings that
    a license which was sold changes beside the limits.
    """

    tale: type[Tale]
    small: SearchStrategy[Any]
    wide: Any
    narrow: Any
    configured: Any
    sold: frozenset[str] = frozenset()


def sample(model: str) -> Sample:
    """The sample of a model, from the test file that is named as the model's own file."""
    own = MODELS[model].model.__module__.rpartition(".")[2]
    found = importlib.import_module(f"tests.licensing.test_{own}").SAMPLES[model]
    assert isinstance(found, Sample)
    return found


def samples() -> dict[str, Sample]:
    """The samples of all models."""
    return {model: sample(model) for model in MODELS}
