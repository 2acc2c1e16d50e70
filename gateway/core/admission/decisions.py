"""Who gets in: the decisions of the gateway, in one place.

Every decision is synchronous and therefore atomic. It goes the same way each time: the gateway's own rules, what the
enforced license forbids, what it says about the conference, its pools - all seats of a step or none - and only then is
anything changed. After that every model in shadow sees the same step: it records what it would have refused, and takes
the seats that the facts give.

A decision is an `Outcome`: the answer to who asked, what others are told, whose connection ends. Nothing here reads a
clock or sends a byte.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from gateway.core.admission.conferences import Conferences, Declaration
from gateway.core.admission.outcome import Decision, GatewayRules, Message
from gateway.core.admission.rollback import Rollback
from gateway.core.admission.sessions import Sessions
from gateway.core.counting.ledger import LeaseChange, Ledger
from gateway.core.counting.license_model import Attempt, LicenseModel, Refusal
from gateway.core.counting.session import Conference, Instant, Session, utc
from gateway.core.wire.messages import Request


class Admission:
    """The live state of the gateway and every decision about it. The first of `models` is the enforced one."""

    def __init__(
        self,
        models: Sequence[LicenseModel],
        terms: GatewayRules,
        now: Instant,
        *,
        enforce: bool = True,
        overdraft: int = 0,
        window: float = 180.0,
    ) -> None:
        self.terms = terms
        self.sessions = Sessions()
        self.conferences = Conferences()
        self._changes: list[LeaseChange] = []
        self.ledgers = [
            Ledger(
                model, index, self._changes, enforced=enforce and not index, now=now, overdraft=overdraft, window=window
            )
            for index, model in enumerate(models)
        ]
        self._enforce = enforce
        self.primary = self.ledgers[0]
        self._at_hello = [ledger for ledger in self.ledgers if ledger.model.forbids or not ledger.model.members_only]
        self.refusals: dict[str, int] = {}
        """Refusals that are no license's, by reason; a total."""

    def switch_primary(self, model: str) -> bool:
        """Let another of the models decide from now on; False if it does already. Nobody is dropped by it."""
        primary = next(ledger for ledger in self.ledgers if ledger.model.name == model)
        if primary is self.primary:
            return False
        for ledger in self.ledgers:
            ledger.is_primary = ledger is primary
            ledger.enforced = self._enforce and ledger.is_primary
            ledger.status_changed.clear()
        self.primary = primary
        return True

    # -- hello and the end -------------------------------------------------------------------------------------------

    def hello(self, session: Session, now: Instant) -> Decision:
        """Admit a new session, or refuse it; takes over from an older connection of the same account and device."""
        home = session.home
        if home and home not in self.terms.homes:
            return self.refuse("hello", Refusal("not_allowed"))
        named = session.account is not None and self.terms.on_duplicate != "allow"
        old = self.sessions.same_device_session(session) if named else None
        if old is not None and (
            self.terms.on_duplicate == "reject" or (self.terms.trusted and old.peer_address != session.address)
        ):
            return self.refuse("hello", Refusal("duplicate"))
        session.seats = [()] * len(self.ledgers)
        attempt = Attempt("hello", session, self.conferences, ())
        refusal = _rule_refusal(self.primary, attempt) or self.primary.first_full_pool(
            session, self.primary.required_seats(session), old
        )
        if refusal is not None and self._is_enforced(refusal, session, now):
            session.seats = []
            return self.refuse("hello", refusal, asker=session, now=now)
        outcome = Decision()
        if old is not None:
            for conference in old.conferences:
                self.conferences.leave(conference, old)
            self.sessions.remove(old)
            outcome.ended.append((old, "replaced"))
        self.sessions.add(session)
        for ledger in self.ledgers if old is not None else self._at_hello:
            wanted = ledger.required_seats(session)
            if ledger is not self.primary:
                would = _rule_refusal(ledger, attempt) or ledger.first_full_pool(session, wanted, old)
                if would is not None:
                    ledger.record_denial(would, session, now)
            if old is not None:
                ledger.transfer(old, session, wanted, "replaced", now)
            elif wanted:
                ledger.set_seats(session, wanted, "closed", now)
        outcome.answer = {"type": "welcome", **self.entitlements(session)}
        return self.finish(outcome, session)

    def end(self, session: Session, cause: str, now: Instant) -> Decision:
        """The session is over: everything it holds is released for `cause`."""
        outcome = Decision(ended=[(session, cause)])
        for conference in session.conferences:
            self.conferences.leave(conference, session)
        self.sessions.remove(session)
        for ledger, held in zip(self.ledgers, session.seats, strict=True):
            if held:
                ledger.release(session, cause, now)
        return self.finish(outcome, session)

    # -- conferences -------------------------------------------------------------------------------------------------

    def join(self, session: Session, request: Request, now: Instant) -> Decision:
        """Let a session become a member: it takes part, or waits where the conference is scheduled."""
        ask = request.fields
        id: str = ask["conference"]
        if session.visitor:
            return self.refuse("join", Refusal("not_allowed"), id)
        conference = self.conferences.by_id.get(id)
        if conference is None:
            if self.terms.declared_only and id not in self.conferences.declared:
                return self.refuse("join", Refusal("no_such_conference"), id)
            server = (ask["server"] or "").lower()
            conference = self.conferences.create(
                id,
                Declaration(ask["access"], ask["mode"], ask["scheduled"], "" if server == self.terms.home else server),
            )
        elif session in conference.members:
            return self.refuse("join", Refusal("already_member"), id)
        retract = self._rollback_point((session,), conference)
        refusal = self._enter(conference, session, host=ask["host"], now=now)
        if refusal is not None:
            return self.refuse("join", self._until(refusal, now), id, asker=session, now=now)
        outcome = Decision(answer=self._joined(session, conference), retract=retract)
        return self.finish(outcome, session)

    def start(self, session: Session, request: Request, now: Instant) -> Decision:
        """Make a scheduled conference live; everybody who waits is admitted in order of arrival, or denied."""
        id: str = request.fields["conference"]
        conference = self.conferences.by_id.get(id)
        if conference is None or session not in conference.members:
            return self.refuse("start", Refusal("not_member"), id)
        if not conference.members[session]:
            return self.refuse("start", Refusal("not_allowed"), id)
        if conference.live:
            return Decision(answer={"type": "started", "conference": id, **self.entitlements(session)})
        retract = self._rollback_point(tuple(conference.members), conference)
        noted = self._open(conference, session, now)
        if isinstance(noted, Refusal):
            return self.refuse("start", noted, id, asker=session, now=now)
        outcome = Decision(retract=retract)
        for member, host in self.conferences.start(conference):
            known = noted if member is session else ()
            denied = self._enter(conference, member, host=host, now=now, waited=True, noted=known)
            if denied is not None:
                self.set_seats(member, "left", now)
                message = self.refuse("join", self._until(denied, now), id, asker=member, now=now).answer
            else:
                message = self._joined(member, conference)
            if message is not None:
                outcome.notices.append((member, message))
        if not conference.members:
            self.conferences.end(conference)
        outcome.answer = {"type": "started", "conference": id, **self.entitlements(session)}
        told = [member for member, _ in outcome.notices]
        return self.finish(outcome, session, *told)

    def leave(self, session: Session, request: Request, now: Instant) -> Decision:
        """End a membership."""
        id: str = request.fields["conference"]
        conference = self.conferences.by_id.get(id)
        if conference is None or session not in conference.members:
            return self.refuse("leave", Refusal("not_member"), id)
        self.conferences.leave(conference, session)
        self.set_seats(session, "left", now)
        outcome = Decision(answer={"type": "left", "conference": id, **self.entitlements(session)})
        return self.finish(outcome, session)

    def declare(self, id: str, declaration: Declaration) -> None:
        """Say what a conference is before anybody joins it; a conference that is under way is not changed."""
        self.conferences.declared[id] = declaration

    def dissolve(self, id: str, now: Instant) -> Decision | None:
        """End a conference and forget what was declared of it; None if there is neither."""
        declared = self.conferences.declared.pop(id, None)
        conference = self.conferences.by_id.get(id)
        if conference is None:
            return Decision() if declared is not None else None
        outcome = Decision()
        for member in list(conference.members):
            self.remove(member, conference, "conference_ended", outcome, now)
        return self.finish_removals(outcome)

    def _enter(
        self,
        conference: Conference,
        session: Session,
        *,
        host: bool,
        now: Instant,
        waited: bool = False,
        noted: Collection[Ledger] = (),
    ) -> Refusal | None:
        """Let a session in under the enforced model, then under the others; a refusal changes nothing.

        What forbids it to a session that `waited` was recorded when it joined; models in `noted` have recorded all that
        they have against it.
        """
        creates = conference.id not in self.conferences.by_id and conference.id not in self.conferences.declared
        opens = conference.live and not conference.members and conference.id not in self.conferences.by_id
        attempt = Attempt(
            "join",
            session,
            self.conferences,
            self.sessions.same_account_sessions(session),
            conference,
            host,
            creates,
            opens,
        )
        refusal = _rule_refusal(self.primary, attempt) or _conference_refusal(self.primary, attempt)
        if (refusal is None or not self.primary.enforced) and not conference.group and len(conference.members) >= 2:
            return Refusal("conference_full", "", 2, 2)
        if self.primary.enforced:
            refusal = refusal or self._pool_refusal(conference, session, host=host)
            if refusal is not None:
                return refusal
        would = [
            None
            if ledger.enforced
            else (not waited and _rule_refusal(ledger, attempt)) or _conference_refusal(ledger, attempt)
            for ledger in self.ledgers
        ]
        self.conferences.enter(conference, session, host=host, now=now.mono)
        self.sessions.set_awake(session, awake=True)
        for ledger, refused in zip(self.ledgers, would, strict=True):
            wanted = ledger.required_seats(session)
            denied = None if ledger.enforced else refused or ledger.first_full_pool(session, wanted)
            if denied is not None and ledger not in noted:
                ledger.record_denial(denied, session, now)
            ledger.set_seats(session, wanted, "left", now)
        return None

    def _pool_refusal(self, conference: Conference, session: Session, *, host: bool) -> Refusal | None:
        """The enforced pool without room for what the session would need as a member."""
        before = session.awake, session.conferences
        session.awake = True
        session.conferences = (*session.conferences, conference)
        conference.members[session] = host
        refusal = self.primary.first_full_pool(session, self.primary.required_seats(session))
        session.awake, session.conferences = before
        del conference.members[session]
        return refusal

    def _open(self, conference: Conference, session: Session, now: Instant) -> Refusal | list[Ledger]:
        """Whether a scheduled conference may go live; gives the starter the seat that opening it needs.

        Returns the refusal, or the models in shadow that would have refused and have recorded it.
        """
        noted: list[Ledger] = []
        attempt = Attempt(
            "start",
            session,
            self.conferences,
            self.sessions.same_account_sessions(session),
            conference,
            host=True,
            opens=True,
        )
        for ledger in self.ledgers:
            refusal = (ledger.enforced and _rule_refusal(ledger, attempt)) or _conference_refusal(ledger, attempt)
            if refusal is None and ledger.model.start_pool and session.identity is not None:
                opener = [*session.seats[ledger.index], (ledger.model.start_pool, session.identity)]
                wanted = tuple(dict.fromkeys(opener))
                refusal = ledger.first_full_pool(session, wanted)
                if refusal is None or not ledger.enforced:
                    ledger.set_seats(session, wanted, "left", now)
            if refusal is None:
                continue
            if ledger.enforced:
                return refusal
            ledger.record_denial(refusal, session, now)
            noted.append(ledger)
        return noted

    def remove(self, session: Session, conference: Conference, reason: str, outcome: Decision, now: Instant) -> None:
        """Take a session out of a conference; `conclude_removed` tells it when all has been taken."""
        self.conferences.leave(conference, session)
        self.set_seats(session, "removed", now)
        outcome.notices.append((session, {"type": "removed", "conference": conference.id, "reason": reason}))

    def finish_removals(self, outcome: Decision) -> Decision:
        """Tell those who were removed what they hold, now that nothing more is taken from them."""
        for session, message in outcome.notices:
            message.update(self.entitlements(session))
        return self.finish(outcome, *(session for session, _ in outcome.notices))

    # -- presence and leases -----------------------------------------------------------------------------------------

    def sleep(self, session: Session, now: Instant) -> Decision:
        """Connected, not online (COUNTING.md, TrueConf: "recently active")."""
        if session.conferences:
            return self.refuse("sleep", Refusal("not_allowed"))
        self.sessions.set_awake(session, awake=False)
        self.set_seats(session, "asleep", now)
        return self.finish(Decision(answer={"type": "asleep", **self._seats(session)}), session)

    def wake(self, session: Session, now: Instant) -> Decision:
        """Online again, if there is room."""
        if not session.awake:
            session.awake = True
            refusal = self.primary.first_full_pool(session, self.primary.required_seats(session))
            session.awake = False
            if refusal is not None and self._is_enforced(refusal, session, now):
                return self.refuse("wake", refusal, asker=session, now=now)
            self.sessions.set_awake(session, awake=True)
            for ledger in self.ledgers:
                wanted = ledger.required_seats(session)
                would = ledger.first_full_pool(session, wanted)
                if would is not None and ledger is not self.primary:
                    ledger.record_denial(would, session, now)
                ledger.set_seats(session, wanted, "asleep", now)
        return self.finish(Decision(answer={"type": "awake", **self._seats(session)}), session)

    def request_pro(self, session: Session, now: Instant) -> Decision:
        """Give a user a lease without a conference (COUNTING.md, PRO leases 2)."""
        primary, account = self.primary, session.account
        if not primary.model.allows_requests(session) or account is None:
            return self.refuse("request_pro", Refusal("not_allowed"))
        pool = primary.model.account_pool
        expires = None
        retract = self._rollback_point((session,), None)
        if account not in primary.pools[pool].reservations:
            refusal = primary.refusal_if_full(pool, account)
            if refusal is not None and self._is_enforced(refusal, session, now):
                return self.refuse("request_pro", self._until(refusal, now), asker=session, now=now)
            expires = primary.grant_lease(pool, account, now).expires
        answer = {"type": "granted", "pool": pool, "expires": utc(expires)}
        return self.finish(Decision(answer=answer, retract=retract), session)

    # -- the pieces --------------------------------------------------------------------------------------------------

    def refuse(
        self,
        request: str,
        refusal: Refusal,
        conference: str | None = None,
        *,
        asker: Session | None = None,
        now: Instant | None = None,
    ) -> Decision:
        """Record a refusal and word it; of one that is the license's, who asked and when."""
        if refusal.pool and asker is not None and now is not None:
            self.primary.record_denial(refusal, asker, now)
        else:
            self.refusals[refusal.reason] = self.refusals.get(refusal.reason, 0) + 1
        answer: Message = {"type": "denied", "request": request, "reason": refusal.reason}
        if conference is not None:
            answer["conference"] = conference
        if refusal.reason == "pool_full":
            answer["pool"] = refusal.pool
        if refusal.limit is not None:
            answer["used"], answer["limit"] = refusal.used, refusal.limit
        if refusal.retry_after is not None:
            answer["retry_after_seconds"] = math.ceil(refusal.retry_after)
        elif request == "hello" and refusal.reason == "pool_full":
            answer["retry_after_seconds"] = math.ceil(self.terms.retry_after)
        return Decision(answer=answer, refused=refusal)

    def entitlements(self, session: Session) -> Message:
        """What a session is told about what it holds."""
        return self.primary.model.entitlements(session, self.primary)

    def _seats(self, session: Session) -> Message:
        return {"seats": self.entitlements(session)["seats"]}

    def _joined(self, session: Session, conference: Conference) -> Message:
        return {
            "type": "joined" if conference.live else "waiting",
            "conference": conference.id,
            "access": conference.access,
            "mode": conference.mode,
            "state": conference.state,
            **self.entitlements(session),
        }

    def _rollback_point(self, sessions: tuple[Session, ...], conference: Conference | None) -> Rollback | None:
        """How to undo what is about to be decided, where it may grant a lease of the enforced model."""
        leased = any(book.terms.leased for book in self.primary.pools.values())
        return Rollback(self, sessions, conference) if leased else None

    def _until(self, refusal: Refusal, now: Instant) -> Refusal:
        """Say when to ask again, where a lease is known to run out."""
        expiry = self.primary.next_expiry() if refusal.reason == "pool_full" else None
        leased = expiry is not None and self.primary.pools[refusal.pool].terms.lease is not None
        return refusal._replace(retry_after=max(expiry - now.wall, 1.0)) if leased and expiry is not None else refusal

    def _is_enforced(self, refusal: Refusal, session: Session, now: Instant) -> bool:
        """Whether a refusal of the first model refuses; with enforcement off it is recorded only."""
        if self.primary.enforced:
            return True
        self.primary.record_denial(refusal, session, now)
        return False

    def set_seats(self, session: Session, cause: str, now: Instant) -> None:
        """Let a session hold in every model what its facts give it now; what it gives back is released for `cause`."""
        for ledger in self.ledgers:
            ledger.set_seats(session, ledger.required_seats(session), cause, now)

    def finish(self, outcome: Decision, *told: Session) -> Decision:
        """Add what follows from the decision: news for the other devices, and what a store must keep."""
        if self._changes:
            outcome.changes += self._changes
            self._changes.clear()
        if self.primary.status_changed:
            turned, self.primary.status_changed = self.primary.status_changed, []
            self._announce(outcome, turned, told)
        return outcome

    def _announce(self, outcome: Decision, accounts: Sequence[object], told: Sequence[Session]) -> None:
        for account in dict.fromkeys(accounts):
            for session in self.sessions.of_account(str(account)):
                if session not in told:
                    outcome.notices.append((session, {"type": "status", **self.entitlements(session)}))


def _rule_refusal(ledger: Ledger, attempt: Attempt) -> Refusal | None:
    """What the license forbids."""
    rule = ledger.model.forbids
    return rule(attempt, ledger) if rule is not None else None


def _conference_refusal(ledger: Ledger, attempt: Attempt) -> Refusal | None:
    """What the license says against it about the conference as a whole."""
    rule = ledger.model.conference_rule
    return rule(attempt, ledger) if rule is not None else None
