"""What operators decide beside leases: accounts, groups, tokens, bans, conferences, and who must go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core.admission.bans import Ban, BanSubject, account_subject, subject_of_session
from gateway.core.admission.commands import (
    AddAccountToken,
    AddOperatorToken,
    Command,
    DeleteGroup,
    EndConference,
    KickAccount,
    KickSession,
    LiftBan,
    PutAccount,
    PutBan,
    PutConference,
    PutGroup,
    RevokeAccountToken,
    RevokeOperatorTokens,
)
from gateway.core.admission.decision import AuditNote, Decision, DirectoryChange
from gateway.core.admission.directory import Group
from gateway.core.admission.line_ends import end_waiting_hellos
from gateway.core.admission.replies import finish, session_id
from gateway.core.admission.returning import end_banned_seats, end_seats_of
from gateway.core.admission.seat_changes import end_session, finish_removals, remove_member
from gateway.core.admission.state import State
from gateway.core.admission.waiting import refuse_banned
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Instant, Session
from gateway.core.formats import utc

# -- who must go -----------------------------------------------------------------------------------------------------


def kick_session(state: State, command: KickSession, now: Instant) -> Decision:
    """End a session, connected or not, and ban its account, or the guests of its address, where that is asked for."""
    session = state.sessions.by_number.get(command.session)
    if session is None:
        return Decision(refused=Refusal("no_such_session"))
    decision = Decision()
    if command.ban_seconds is not None:
        _ban(state, decision, subject_of_session(session), command.ban_seconds, now)
    detail: dict[str, Any] = {"account": session.account, "address": session.peer_address}
    if session.home:
        detail["home"] = session.home
    decision.audit.append(AuditNote("session.kicked", session_id(state, session.number), detail))
    _end(state, decision, session, now)
    return finish(state, decision)


def kick_account(state: State, command: KickAccount, now: Instant) -> Decision:
    """End every session of an account, and ban it where that is asked for."""
    account = command.account
    decision = Decision()
    if command.ban_seconds is not None:
        _ban(state, decision, account_subject(account), command.ban_seconds, now)
    sessions = state.sessions.of_account(account)
    decision.audit.append(AuditNote.of("account.kicked", account, sessions=len(sessions)))
    for session in sessions:
        _end(state, decision, session, now)
    end_seats_of(state, account, "kicked", now)
    if state.lines:
        end_waiting_hellos(state, decision, account, "kicked", now)
    return finish(state, decision)


def sent_away_by(state: State, command: Command) -> list[int]:
    """Return the sessions that a command of an operator would send away, by number."""
    if isinstance(command, KickSession):
        return [command.session]
    if isinstance(command, KickAccount):
        return [each.number for each in state.sessions.of_account(command.account)]
    if isinstance(command, PutBan):
        return [each.number for each in state.directory.bans.bound(command.subject, state.sessions.by_number.values())]
    return []


def _end(state: State, decision: Decision, session: Session, now: Instant) -> None:
    end_session(state, session, "kicked", now)
    decision.closings.append((session.number, "kicked"))


def put_ban(state: State, command: PutBan, now: Instant) -> Decision:
    """Keep an account, an address or a network out for a while; who is in or waits to be welcomed is sent away."""
    decision = Decision()
    bound = state.directory.bans.bound(command.subject, state.sessions.by_number.values())
    _ban(state, decision, command.subject, command.seconds, now, sessions=len(bound))
    for session in bound:
        _end(state, decision, session, now)
    return finish(state, decision)


def _ban(state: State, decision: Decision, subject: BanSubject, seconds: float, now: Instant, **detail: object) -> None:
    ban = Ban(subject, now.wall + seconds)
    state.directory.bans.put(ban)
    end_banned_seats(state, subject, now)
    if state.lines:
        refuse_banned(state, decision, subject, now)
    decision.audit.append(_ban_note("ban.added", subject, until=utc(ban.until), **detail))
    decision.changes.append(DirectoryChange("ban", subject, ban))


def _ban_note(action: str, subject: BanSubject, **detail: object) -> AuditNote:
    home = {"home": subject.home} if subject.home else {}
    return AuditNote(action, subject.name, {"kind": subject.kind, **home, **detail})


def lift_ban(state: State, command: LiftBan, _: Instant) -> Decision:
    """Let somebody in again."""
    if not state.directory.bans.lift(command.subject):
        return Decision(refused=Refusal("no_such_ban"))
    decision = Decision()
    decision.audit.append(_ban_note("ban.lifted", command.subject))
    decision.changes.append(DirectoryChange("ban", command.subject, None))
    return decision


# -- conferences -----------------------------------------------------------------------------------------------------


def put_conference(state: State, command: PutConference, _: Instant) -> Decision:
    """Say what a conference is before anybody joins it; a conference that is under way is not changed."""
    if command.conference in state.conferences.by_id:
        return Decision(refused=Refusal("conference_under_way"))
    if command.declaration.server and command.declaration.server not in state.terms.homes:
        return Decision(refused=Refusal("not_allowed"))
    state.conferences.declare(command.conference, command.declaration)
    decision = Decision()
    decision.audit.append(AuditNote("conference.declared", command.conference, command.declaration._asdict()))
    return decision


def end_conference(state: State, command: EndConference, now: Instant) -> Decision:
    """End a conference and forget what was declared of it."""
    declared = state.conferences.forget(command.conference)
    conference = state.conferences.by_id.get(command.conference)
    if conference is None and not declared:
        return Decision(refused=Refusal("no_such_conference"))
    decision = Decision()
    decision.audit.append(AuditNote("conference.ended", command.conference))
    for member in list(conference.members) if conference is not None else ():
        if conference is not None:
            remove_member(state, member, (conference,), "conference_ended", decision, now)
    return finish_removals(state, decision)


# -- accounts and groups ---------------------------------------------------------------------------------------------


def put_account(state: State, command: PutAccount, _: Instant) -> Decision:
    """Register an account; one that is registered keeps its tokens."""
    account, accounts = command.account, state.directory.accounts
    decision = Decision()
    if account not in accounts:
        accounts[account] = ()
        decision.audit.append(AuditNote("account.added", account))
    decision.changes.append(DirectoryChange("account", account, accounts[account]))
    return decision


def add_account_token(state: State, command: AddAccountToken, now: Instant) -> Decision:
    """Let a secret prove an account, beside those that do."""
    account = command.account
    if account not in state.directory.accounts:
        return Decision(refused=Refusal("no_such_account"))
    token = state.directory.add_account_token(account, bytes.fromhex(command.digest), now.wall)
    tokens = state.directory.accounts[account]
    return _changed("token.added", DirectoryChange("account", account, tokens), {"fingerprint": token.fingerprint})


def revoke_account_token(state: State, command: RevokeAccountToken, now: Instant) -> Decision:
    """Take one token from an account, and end the sessions that it proved."""
    account, fingerprint = command.account, command.fingerprint
    if account not in state.directory.accounts:
        return Decision(refused=Refusal("no_such_account"))
    if not state.directory.remove_account_token(account, fingerprint):
        return Decision(refused=Refusal("no_such_token"))
    proven = [session for session in state.sessions.of_account(account) if session.proven_by == fingerprint]
    decision = _changed(
        "token.revoked",
        DirectoryChange("account", account, state.directory.accounts[account]),
        {"fingerprint": fingerprint, "sessions": len(proven)},
    )
    for session in proven:
        _end(state, decision, session, now)
    return finish(state, decision)


def put_group(state: State, command: PutGroup, _: Instant) -> Decision:
    """Set a group; permanent licenses take effect at the next redistribution (COUNTING.md, PRO leases 3)."""
    model = state.primary.model
    if command.permanent and model.account_pool and not model.allows_reservations:
        return Decision(refused=Refusal("extension_missing"))
    group = Group(tuple(dict.fromkeys(command.accounts)), command.permanent, command.priority)
    state.set_group(command.group, group)
    detail: dict[str, Any] = {"accounts": list(group.accounts), "permanent": group.permanent}
    if group.priority:
        detail["priority"] = group.priority
    return _changed("group.set", DirectoryChange("group", command.group, group), detail)


def delete_group(state: State, command: DeleteGroup, _: Instant) -> Decision:
    """Forget a group."""
    if command.group not in state.directory.groups:
        return Decision(refused=Refusal("no_such_group"))
    state.set_group(command.group, None)
    return _changed("group.deleted", DirectoryChange("group", command.group, None))


# -- operators -------------------------------------------------------------------------------------------------------


def add_operator_token(state: State, command: AddOperatorToken, now: Instant) -> Decision:
    """Give an operator a token, beside those it has."""
    digest = bytes.fromhex(command.digest)
    token = state.directory.add_operator_token(command.name, command.scope, digest, now.wall)
    detail = {"fingerprint": token.fingerprint, "scope": command.scope}
    return _changed(
        "operator.added", DirectoryChange("operator", command.name, state.directory.operators[command.name]), detail
    )


def revoke_operator_tokens(state: State, command: RevokeOperatorTokens, _: Instant) -> Decision:
    """Take one token from an operator, or all."""
    name, fingerprint = command.name, command.fingerprint
    operators = state.directory.operators
    held = operators.get(name, ())
    if not any(fingerprint in {None, each.fingerprint} for each in held):
        return Decision(refused=Refusal("no_such_token"))
    state.directory.remove_operator_tokens(name, fingerprint)
    return _changed(
        "operator.revoked",
        DirectoryChange("operator", name, operators.get(name)),
        {"fingerprint": fingerprint or "all"},
    )


def _changed(action: str, change: DirectoryChange, detail: Mapping[str, Any] | None = None) -> Decision:
    """Return the decision that changed one entry of the directory, with the note of it."""
    decision = Decision()
    decision.audit.append(AuditNote(action, str(change.name), detail))
    decision.changes.append(change)
    return decision
