"""Harnesses for what a `CoreHarness` alone cannot do: change the terms, and prove an account."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.core.admission.commands import AddAccountToken, Hello, PutAccount, SetTerms
from gateway.core.admission.decision import Decision
from gateway.core.admission.state import State
from gateway.core.admission.terms import Terms
from gateway.licensing import MODELS
from tests.core_harness import CoreHarness

DIGEST = "5e" * 32
"""The digest of the secret that proves every account which `prove` registers."""


class LicensedHarness(CoreHarness):
    """A harness under real terms, which `change_terms` replaces as a reload of the configuration does.

    `licenses` has the terms of every model that counts, by name; `model` is the enforced one, the first of
    them or the `last`: so it is when a registrar's license is for another model.
    """

    def __init__(self, model: str, licenses: Mapping[str, Any], *, last: bool = False, **terms: Any) -> None:
        others = [name for name in licenses if name != model]
        names = [*others, model] if last else [model, *others]
        super().__init__(*(MODELS[name].model(licenses[name]) for name in names))
        self.terms = Terms(model, {name: licenses[name] for name in names}, **terms)
        self.state = State(self.terms, MODELS, self.now)
        self.state.redistribute_at = math.inf

    def change_terms(self, licenses: Mapping[str, Any] | None = None, **terms: Any) -> Decision:
        """Decide under other terms from now on; models that `licenses` does not name keep theirs."""
        self.terms = replace(self.terms, licenses={**self.terms.licenses, **(licenses or {})}, **terms)
        return self.apply(SetTerms(self.terms))


def prove(harness: CoreHarness, *accounts: str) -> None:
    """Register accounts, each with the token of `DIGEST`."""
    for account in accounts:
        harness.apply(PutAccount(account))
        harness.apply(AddAccountToken(account, DIGEST))


def proven_hello(account: str, device: str | None = None, address: str = "192.0.2.1") -> Hello:
    """The `hello` of an account that proves itself."""
    return Hello("app", account, device, "", "", address, "tcp", DIGEST)
