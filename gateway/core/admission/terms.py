"""Everything that a decision depends on and that an operator or a license sets, as one value.

Settings become terms elsewhere; here is what `apply` reads, and what a license makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, Protocol

from gateway.core.admission import command_values
from gateway.core.admission.command_values import OneOf
from gateway.core.counting.license_model import LicenseModel
from gateway.core.counting.pool_rule import RuleTerms, rule_from_json
from gateway.core.registration.grant import Grant
from gateway.core.setting_kinds import Count, Positive, Seconds


class LicenseKind(Protocol):
    """What must be known of a license model to make it from its terms."""

    @property
    def terms(self) -> type[Any]:
        """The dataclass of its terms."""

    @property
    def model(self) -> Callable[[Any], LicenseModel]:
        """What makes the model from an instance of the terms."""

    @property
    def extensions(self) -> Callable[[Grant], Collection[str]]:
        """The names of the extensions that a license brings."""

    def under(self, grant: Grant, terms: Any) -> Any:
        """Return its terms under a license in place of the configured ones."""


Catalog = Mapping[str, LicenseKind]
"""The license models there are, by name."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms under which is decided.

    `model` names the enforced model; `licenses` has the terms of every model that counts, by name, the first of all
    models first; `extensions` are those that a registrar granted to the enforced model. `accounts_mode` is `open` where
    claims are believed, `token` or `jwt` where they are proven by a token of this gateway or of an issuer. `homes` are
    the other servers whose accounts are let in, `home` is this one. Times are in seconds: `retry_after` is named where
    no pool knows better, `resume_window` is how long a lost session waits, `high_water_window` and
    `true_denial_window` are those of the figures, `redistribute_every` is the time between two redistributions. At
    most `max_resumable` lost sessions wait. A model that is not enforced keeps at most `shadow_leases` seats of
    each pool that no session holds; a session is a member of at most `max_memberships`
    conferences. `offsets` is the time zone of calendar days: from which instant on (seconds UTC) its clocks are so many
    seconds ahead of UTC. A day has the use of at most `max_shares` persons and pools apart, at 0 of none. At
    most `queue_limit` wait in a line, in the order `arrival` or `priority`. Who is idle for `idle_timeout` is put to
    sleep, 0 for nobody; `preempt` says whether seats of those who are idle go to others of a higher priority.
    The enforced model keeps the seats of a gateway that ended for `returning` seconds. `rules` are the rules for seats
    of the pools of `model`. The registrar must confirm the license `serial` to a cluster, which goes on without it for
    `grace` seconds; empty where none is needed.
    """

    model: str
    licenses: Mapping[str, Any]
    extensions: tuple[str, ...] = ()
    enforce: bool = True
    overdraft: Count = 0
    shadow_leases: Count = 10_000
    on_duplicate: Annotated[str, OneOf(frozenset({"takeover", "reject", "allow"}))] = "takeover"
    accounts_mode: Annotated[str, OneOf(frozenset({"open", "token", "jwt"}))] = "open"
    home: str = ""
    homes: tuple[str, ...] = ()
    declared_only: bool = False
    max_memberships: Positive = 100
    retry_after: Seconds = 30.0
    resume_window: Seconds = 0.0
    max_resumable: Count = 10_000
    high_water_window: Seconds = 180.0
    true_denial_window: Seconds = 60.0
    redistribute_every: Seconds = 24 * 3600.0
    offsets: tuple[tuple[float, float], ...] = ()
    max_shares: Count = 100_000
    queue_limit: Count = 1000
    queue_order: Annotated[str, OneOf(frozenset({"arrival", "priority"}))] = "arrival"
    idle_timeout: Seconds = 0.0
    preempt: bool = False
    returning: Seconds = 0.0
    rules: tuple[RuleTerms, ...] = ()
    serial: str = ""
    grace: Seconds = 12 * 3600.0

    def license_model(self, name: str, catalog: Catalog) -> LicenseModel:
        """Return the model of that name under these terms."""
        model = catalog[name].model(self.licenses[name])
        return model.with_extensions(self.extensions) if name == self.model and self.extensions else model

    def to_json(self) -> dict[str, Any]:
        """Return the terms as plain data."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["licenses"] = {name: asdict(terms) for name, terms in self.licenses.items()}
        plain["rules"] = [rule._asdict() for rule in self.rules]
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], catalog: Catalog) -> Terms:
        """Return the terms that `to_json` wrote.

        Raises `KeyError`, `TypeError` or `ValueError` where they are not such.
        """
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
        }
        values["licenses"] = {
            name: catalog[name].terms(
                **{key: tuple(each) if isinstance(each, list) else each for key, each in told.items()}
            )
            for name, told in plain["licenses"].items()
        }
        values["offsets"] = tuple((begin, ahead) for begin, ahead in plain["offsets"])
        values["rules"] = tuple(map(rule_from_json, plain["rules"]))
        return cls(**values)

    def changed(self, key: str, value: object) -> Terms:
        """Return the terms with another value for a setting by its name in the configuration, such as `license.enforce`
        or `license.epop.users`.

        Raises `KeyError` where decisions do not depend on that setting, or the model does not count here.
        """
        if key in SETTINGS:
            change: dict[str, Any] = {SETTINGS[key]: value}
            return replace(self, **change)
        section, _, field = key.rpartition(".")
        name = section.removeprefix("license.")
        terms = self.licenses[name]
        if not is_dataclass(terms) or isinstance(terms, type) or field not in {each.name for each in fields(terms)}:
            raise KeyError(key)
        change = {field: value}
        return replace(self, licenses={**self.licenses, name: replace(terms, **change)})


def checked_terms(plain: Any, catalog: Catalog) -> Terms:
    """Return the terms that were written.

    Raises `KeyError`, `TypeError` or `ValueError` where they are not terms, or have a value of another kind.
    """
    terms = Terms.from_json(plain, catalog)
    command_values.check(terms)
    for license in terms.licenses.values():
        command_values.check(license)
    return terms


def under(grant: Grant, terms: Terms, catalog: Catalog) -> Terms:
    """Return the terms with the model, the limits and the extensions that a license grants.

    Raises `KeyError` where its model does not count.
    """
    model, kind = grant.model, catalog[grant.model]
    licenses = {**terms.licenses, model: kind.under(grant, terms.licenses[model])}
    extensions = tuple(sorted(kind.extensions(grant)))
    return replace(terms, model=model, licenses=licenses, extensions=extensions)


SETTINGS = {
    "license.model": "model",
    "license.enforce": "enforce",
    "license.overdraft": "overdraft",
    "license.shadow_leases": "shadow_leases",
    "license.on_duplicate": "on_duplicate",
    "license.queue_limit": "queue_limit",
    "license.queue_order": "queue_order",
    "license.idle_timeout": "idle_timeout",
    "license.preempt": "preempt",
    "license.returning": "returning",
    "accounts.mode": "accounts_mode",
    "accounts.home": "home",
    "federation.homes": "homes",
    "conferences.declared_only": "declared_only",
    "conferences.max_per_session": "max_memberships",
    "heartbeat.interval": "retry_after",
    "heartbeat.resume_window": "resume_window",
    "metrics.high_water_window": "high_water_window",
    "history.true_denial_window": "true_denial_window",
}
"""The field of `Terms` that a setting becomes, beside those of the license models."""
