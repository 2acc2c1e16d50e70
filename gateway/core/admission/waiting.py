"""Waiting in line for a seat: who is put there, who is served, how a wait ends (COUNTING.md, Waiting).

A request that asks to wait is decided like any other. Where nothing but a full pool speaks against it, it is put in
line. After every command the lines are served from their heads: the request is decided anew, with all rules, so a seat
that becomes free is granted in the step in which it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.admission import client_requests, conference_requests
from gateway.core.admission.bans import BanSubject
from gateway.core.admission.commands import EndHellos, GiveUp, Hello, Join, RequestPro, Wait, Wake
from gateway.core.admission.decision import Decision, Served
from gateway.core.admission.line_ends import leave_line, line_event
from gateway.core.admission.lines import Line, QueuePlace, Rank, Trial, line_of, owner_of, refusal_of
from gateway.core.admission.replies import denied, refuse
from gateway.core.admission.state import State
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Instant
from gateway.core.counting.waits import GAVE_UP, GRANTED, REFUSED, TIMED_OUT
from gateway.core.formats import whole_seconds
from gateway.core.wire.json_lines import Message

REQUESTS: Mapping[type[Any], Callable[[State, Any, Instant], Decision]] = {
    Hello: client_requests.hello,
    Join: conference_requests.join,
    Wake: client_requests.wake,
    RequestPro: client_requests.request_pro,
}
"""The requests that may wait, and what decides about them."""


def wait(state: State, command: Wait, now: Instant) -> Decision:
    """Decide about a request, and put it in line where only a full pool speaks against it.

    A session has one place at most for each kind of request and conference: one that asks again keeps it, and the time
    until which it waits begins anew.
    """
    lines, request = state.lines, command.request
    place = lines.by_owner.get(owner_of(request))
    rank = place.rank if place is not None else (-_priority(state, request), state.numbers.places.last + 1)
    decision, trial = _attempt(state, request, rank, now)
    if trial.refusal is None:
        if place is not None:
            leave_line(state, place, GRANTED if decision.refused is None else REFUSED, now)
        return decision
    until = now.mono + command.seconds
    if place is not None:
        place.request, place.until, place.id = request, until, command.id
    else:
        line = _line(state, trial, trial.refusal, request)
        if len(lines.by_line.get(line, ())) >= state.terms.queue_limit:
            return REQUESTS[type(request)](state, request, now)
        state.numbers.places.take()
        place = QueuePlace(
            request,
            line=line,
            refusal=trial.refusal,
            rank=rank,
            since=now,
            until=until,
            asker=trial.asker,
            person=trial.person,
            who=trial.who,
            id=command.id,
            node=state.asking_node if isinstance(request, Hello) else "",
        )
        lines.enter(place)
        _note_queued(state, place, now)
    answer = queued(state, place, now)
    decision = Decision(answer)
    decision.news().place = place.number
    return decision


def _note_queued(state: State, place: QueuePlace, now: Instant) -> None:
    pool = state.primary.pools[place.line.pool]
    if pool.events is not None:
        position = state.lines.index(place) + 1
        pool.events.note(line_event("queue.queued", place, pool, now, position=position))


def queued(state: State, place: QueuePlace, now: Instant) -> Message:
    """Return what one who waits is told: where it stands, and how long it still waits."""
    message: Message = {"type": "queued", "request": place.verb}
    if place.conference:
        message["conference"] = place.conference
    refusal = refusal_of(state.lines, place.line, state.primary, place.who)
    message["pool"] = refusal.pool
    if refusal.rule:
        message["rule"] = refusal.rule
    message["position"] = state.lines.index(place) + 1
    message["used"], message["limit"] = refusal.used, refusal.limit
    message["wait_seconds"] = max(whole_seconds(place.until - now.mono), 0)
    return message


def give_up(state: State, command: GiveUp, now: Instant) -> Decision:
    """Take who waited out of its line: its connection is over."""
    place = state.lines.get(command.place)
    if place is not None:
        leave_line(state, place, GAVE_UP, now)
    return Decision()


def end_hellos(state: State, command: EndHellos, now: Instant) -> Decision:
    """Refuse those who wait to be welcomed: nobody is let in any more."""
    decision = Decision()
    for place in [each for each in state.lines.values() if each.session is None and each.node == command.node]:
        leave_line(state, place, REFUSED, now)
        refusal = Refusal(command.reason, retry_after=state.terms.retry_after)
        _served(decision, place, refuse(state, place.verb, refusal))
    return decision


# -- serving ---------------------------------------------------------------------------------------------------------


def serve(state: State, decision: Decision, now: Instant) -> None:
    """Decide anew about the heads of all lines, the earliest first, until none of them goes any further."""
    lines, gone = state.lines, True
    while gone and lines:
        gone = False
        only = next(iter(lines.by_line)) if len(lines.by_line) == 1 else None
        for line, _ in sorted(lines.by_line.items(), key=_first):
            while line in lines.by_line and _decide_anew(state, lines.by_line[line][0], decision, now):
                gone = True
        if [*lines.by_line] == [only]:  # there was no other line that could have held it up
            return


def _first(item: tuple[Line, list[QueuePlace]]) -> Rank:
    return item[1][0].rank


def _decide_anew(state: State, place: QueuePlace, decision: Decision, now: Instant) -> bool:
    """Decide anew about one who waits, and return whether it stands there no more."""
    if place.until <= now.mono:
        _time_out(state, place, decision, now)
        return True
    asking, state.asking_node = state.asking_node, place.node
    try:
        outcome, trial = _attempt(state, place.request, place.rank, now)
    finally:
        state.asking_node = asking
    if trial.refusal is None:
        leave_line(state, place, GRANTED if outcome.refused is None else REFUSED, now)
        _served(decision, place, outcome)
        return True
    line, stands = _line(state, trial, trial.refusal, place.request), place.line
    elsewhere = line.pool != stands.pool and not line.rule and not stands.rule
    if elsewhere and stands.pool in state.primary.pools:  # it is short of another one too, and stays where it is
        return False
    place.refusal = trial.refusal
    if line == stands:
        return False
    state.lines.move(place, line)  # it is short of a rule now or no more, or another model decides by now
    return True


def refuse_banned(state: State, decision: Decision, subject: BanSubject, now: Instant) -> None:
    """Refuse those who wait to be welcomed and whom a ban of `subject` binds, wherever they stand."""
    hellos = [each for each in state.lines.values() if each.session is None]
    bound = dict.fromkeys(state.directory.bans.bound(subject, [each.who for each in hellos]))
    for place in hellos:
        if place.who in bound:
            _decide_anew(state, place, decision, now)


def time_out(state: State, decision: Decision, now: Instant) -> None:
    """Deny those who have waited as long as they wanted to."""
    for place in [each for each in state.lines.values() if each.until <= now.mono]:
        _time_out(state, place, decision, now)


def _time_out(state: State, place: QueuePlace, decision: Decision, now: Instant) -> None:
    pools = state.primary.pools
    known = place.line.pool in pools
    refusal = refusal_of(state.lines, place.line, state.primary, place.who) if known else place.refusal
    leave_line(state, place, TIMED_OUT, now)
    answer = denied(place.verb, refusal, place.conference or None, state.terms.retry_after)
    answer["waited_seconds"] = int(now.mono - place.since.mono)
    _served(decision, place, Decision(answer, refused=refusal))


def _attempt(state: State, request: Any, rank: Rank, now: Instant) -> tuple[Decision, Trial]:
    """Decide about a request that stands at a rank; the trial has what only a full pool said against it."""
    state.trial = trial = Trial(rank)
    try:
        return REQUESTS[type(request)](state, request, now), trial
    finally:
        state.trial = None


def _line(state: State, trial: Trial, refusal: Refusal, request: Any) -> Line:
    return line_of(state.primary, refusal, trial.who, getattr(request, "conference", ""))


def _priority(state: State, request: Any) -> int:
    """Return the priority of a `hello`: the highest of the groups of its account, where priorities count."""
    if state.terms.queue_order != "priority" or not isinstance(request, Hello) or request.account is None:
        return 0
    if request.home not in {"", state.terms.home}:
        return 0  # groups are of accounts of this server
    return state.directory.priorities().of(request.account, request.groups)


def _served(decision: Decision, place: QueuePlace, outcome: Decision) -> None:
    decision.news().served.append(Served(place.number, place.session, place.id, outcome))
