"""Who is idle: connected, though nobody uses it (COUNTING.md, Idle sessions).

A client says with its heartbeats whether somebody uses it; only changes of that are commands. Who has been idle for as
long as the terms allow is put to sleep, and wakes when it is used again.
"""

from __future__ import annotations

from gateway.core.admission.client_requests import wake
from gateway.core.admission.commands import Activity, Wait, Wake
from gateway.core.admission.decision import Decision
from gateway.core.admission.replies import finish
from gateway.core.admission.seat_changes import fall_asleep
from gateway.core.admission.state import State
from gateway.core.admission.waiting import wait
from gateway.core.counting.license_model import IDLE
from gateway.core.counting.session import Instant


def activity(state: State, command: Activity, now: Instant) -> Decision:
    """Note what a client says of whether somebody uses it: who does is woken, who has been idle for too long sleeps."""
    session = state.sessions.by_number[command.session]
    session.active = command.active
    takes_part = session in state.conferences.taking_part
    state.sessions.follow_idleness(session, now.mono, takes_part=takes_part, ago=command.ago)
    decision = Decision()
    if not command.active:
        end_idling(state, decision, now)
    elif not session.awake and ("wake", session.number, "") not in state.lines.by_owner:
        request = Wake(session.number)
        return wake(state, request, now) if command.wait is None else wait(state, Wait(request, command.wait), now)
    return finish(state, decision)


def end_idling(state: State, decision: Decision, now: Instant) -> None:
    """Put those to sleep who have been idle for as long as the terms allow."""
    longest = state.terms.idle_timeout
    if not longest:
        return
    over = []
    for session, since in state.sessions.idle.items():
        if since + longest > now.mono:
            break
        over.append(session)
    for session in over:
        decision.notices += fall_asleep(state, session, IDLE, now)
