"""The state of the gateway: everything that decisions depend on and change, in one object.

Only `apply` changes it. Nothing in it knows a socket, a clock or a file, and whoever reads it changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from gateway.core.admission.conferences import Conferences
from gateway.core.admission.directory import Directory, Group
from gateway.core.admission.lines import Lines, Trial
from gateway.core.admission.sessions import Sessions
from gateway.core.admission.terms import Catalog, Terms, under
from gateway.core.counting.calendar_days import Calendar
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.ledger import Ledger
from gateway.core.counting.numbers import Numbers
from gateway.core.counting.personal_use import PersonalUse
from gateway.core.counting.session import Instant, Seat
from gateway.core.registration.grant import Grant
from gateway.core.registration.shared_license import SharedLicense
from gateway.core.reporting.history import History


class Resumable(NamedTuple):
    """Until which monotonic instant a lost session may be resumed, and the cause for which it ends otherwise."""

    until: float
    cause: str


class State:
    """Sessions, conferences, the ledgers of all models, the directory, and the terms.

    `run` tells this run from others in the ids of sessions; `at` is the instant of the last command. `ledgers` are in
    the order of the terms; `primary` is the one that decides. `granting` says whether the registration lets anything be
    granted. `resumable` has the lost sessions by number, the earliest first. `permanent` are the accounts whose
    permanent licenses are in effect, in order; `redistribute_at` is the monotonic instant of the next redistribution.
    `lines` are those who wait for a seat; `use` is who used what. `configured` are the terms without what a license
    grants, and `license` is that of a cluster.
    """

    def __init__(self, terms: Terms, catalog: Catalog, at: Instant, run: str = "0") -> None:
        self.run = run
        self.terms = self.configured = terms
        self.change_terms: Callable[[Terms], Terms] | None = None
        """What is made of all terms before they are taken, where somebody asks what had been under others."""
        self.catalog = catalog
        self.at = at
        self.numbers = Numbers()
        self.sessions = Sessions()
        self.conferences = Conferences(self.numbers.conferences)
        self.directory = Directory()
        self.license = SharedLicense(terms.serial, terms.grace)
        self.granting = not self.license.needed
        self.lines = Lines()
        self.trial: Trial | None = None
        """The request that is decided about, if it would rather wait than be denied."""
        self.asking_node = ""
        """The gateway of a cluster over which the request comes that is decided about; empty without a cluster."""
        self.resumable: dict[int, Resumable] = {}
        self.permanent: list[str] = []
        self.redistribute_at = -math.inf
        self.lease_changes: list[LeaseChange] = []
        """What the present command has changed of leases; its decision takes it."""
        self.use = PersonalUse(self.numbers.days, Calendar(terms.offsets), terms.max_shares, at)
        self.ledgers = [
            Ledger(
                terms.license_model(name, catalog),
                index,
                self.lease_changes,
                self.numbers,
                self.use,
                enforced=terms.enforce and name == terms.model,
                now=at,
                overdraft=terms.overdraft,
                window=terms.high_water_window,
                kept=terms.shadow_leases,
            )
            for index, name in enumerate(terms.licenses)
        ]
        self.primary = self.ledger_of(terms.model)
        for ledger in self.ledgers:
            ledger.is_primary = ledger is self.primary
        self.bind_rules()
        self.history = History(self.ledgers, self.numbers.intervals, terms.true_denial_window)
        self.history.begin(at)
        self.use.begin(at)
        self.lease_changes.clear()
        self.note_models()

    def terms_with(self, grant: Grant | None, configured: Terms) -> Terms:
        """Return the terms that those which are configured come to with a license.

        Raises `KeyError` where its model does not count.
        """
        terms = configured if grant is None else under(grant, configured, self.catalog)
        return terms if self.change_terms is None else self.change_terms(terms)

    def ledger_of(self, model: str) -> Ledger:
        """Return the ledger of a model by its name.

        Raises `KeyError` where it does not count.
        """
        for ledger in self.ledgers:
            if ledger.model.name == model:
                return ledger
        raise KeyError(model)

    def bind_rules(self) -> None:
        """Let the rules for seats be those of the terms, in the pools of the primary model."""
        for ledger in self.ledgers:
            ledger.bind_rules(self.terms.rules if ledger is self.primary else (), self.directory.members)

    def set_group(self, name: str, group: Group | None) -> None:
        """Let a group be another one, or none; what its members hold counts under the rules for seats at once."""
        if group is None:
            self.directory.groups.pop(name, None)
        else:
            self.directory.groups[name] = group
        if self.primary.ruled:
            self.primary.change_group(name, self.directory.members(name))
            self.lines.sort_anew(self.primary)

    def note_models(self) -> None:
        """Note what the models come to: which functions give seats, and how their results become those of all ledgers;
        which have rules beside their pools, which forbid something, and which have something to say when a session
        begins (the others count members only); which pools are leased, and whether the primary model leases any.
        """
        self.no_seats: tuple[tuple[Seat, ...], ...] = ((),) * len(self.ledgers)
        self.seat_rules = list(dict.fromkeys(each.seat_rule for each in self.ledgers))
        places = [self.seat_rules.index(each.seat_rule) for each in self.ledgers]
        self.by_ledger: Callable[[list[tuple[Seat, ...]]], tuple[tuple[Seat, ...], ...]]
        self.by_ledger = itemgetter(*places) if len(places) > 1 else tuple
        self.with_rules = [each for each in self.ledgers if each.model.forbids or each.model.conference_rule]
        self.forbidding = [each for each in self.ledgers if each.model.forbids]
        self.at_sign_in = [each for each in self.ledgers if each.model.forbids or not each.model.members_only]
        self.leases = [
            (each.model.name, name, pool.leases)
            for each in self.ledgers
            for name, pool in each.pools.items()
            if pool.terms.leased
        ]
        self.primary_leases = any(terms.leased for terms in self.primary.model.pools)

    def account_ledger(self) -> Ledger | None:
        """Return the ledger whose seats are leased to accounts, enforced or in shadow; None where no model has such."""
        return next((each for each in self.ledgers if each.model.account_pool), None)

    def host_ledger(self) -> Ledger | None:
        """Return the ledger that has named hosts, enforced or in shadow; None where no model has such."""
        return next((each for each in self.ledgers if each.model.start_pool), None)

    def is_deleted(self, account: str) -> bool:
        """Return whether what a deleted account holds has not run out yet: until then its name is refused."""
        pool = self.primary.model.account_pool
        lease = self.primary.pools[pool].leases.get(account) if pool else None
        return lease is not None and lease.deleted

    def is_known(self, account: str) -> bool:
        """Return whether an account is registered, connected, in a group, or holds a license or a seat that is kept."""
        directory, ledger = self.directory, self.account_ledger()
        return (
            account in directory.accounts
            or bool(self.sessions.of_account(account))
            or any(account in group.accounts for group in directory.groups.values())
            or (ledger is not None and ledger.holds(ledger.model.account_pool, account))
            or any(
                claim.identity == account for pool in self.primary.pools.values() for claim in pool.returning.values()
            )
        )
