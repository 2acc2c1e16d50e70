"""The only way in: a command changes the state, and a decision comes out.

`apply` is pure, synchronous and deterministic: the same commands at the same instants give the same state and the same
decisions in any process. It reads no clock, draws nothing by chance, and iterates over nothing whose order depends on
the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.admission import (
    administration,
    client_requests,
    conference_requests,
    erasure,
    idleness,
    lease_administration,
    passing_time,
    registration,
    waiting,
    withdrawal,
)
from gateway.core.admission import commands as c
from gateway.core.admission.decision import Decision, Withdraw
from gateway.core.admission.registration_commands import RegistrarSaid, SetInstallation
from gateway.core.admission.state import State
from gateway.core.counting.session import Instant

CommandHandler = Callable[[State, Any, Instant], Decision]

HANDLERS: Mapping[type[Any], CommandHandler] = {
    c.Hello: client_requests.hello,
    c.Resume: client_requests.resume,
    c.Join: conference_requests.join,
    c.Start: conference_requests.start,
    c.Leave: conference_requests.leave,
    c.Sleep: client_requests.sleep,
    c.Wake: client_requests.wake,
    c.Activity: idleness.activity,
    c.RequestPro: client_requests.request_pro,
    c.Wait: waiting.wait,
    c.GiveUp: waiting.give_up,
    c.EndHellos: waiting.end_hellos,
    c.End: client_requests.end,
    c.EndResumables: passing_time.end_resumables,
    Withdraw: withdrawal.withdraw,
    c.Tick: passing_time.tick,
    c.SetTerms: passing_time.set_terms,
    c.SetGranting: passing_time.set_granting,
    SetInstallation: registration.set_installation,
    RegistrarSaid: registration.registrar_said,
    c.KickSession: administration.kick_session,
    c.KickAccount: administration.kick_account,
    c.PutBan: administration.put_ban,
    c.LiftBan: administration.lift_ban,
    c.PutConference: administration.put_conference,
    c.EndConference: administration.end_conference,
    c.PutAccount: administration.put_account,
    c.DeleteAccount: lease_administration.delete_account,
    c.ErasePerson: erasure.erase_person,
    c.AddAccountToken: administration.add_account_token,
    c.RevokeAccountToken: administration.revoke_account_token,
    c.PutGroup: administration.put_group,
    c.DeleteGroup: administration.delete_group,
    c.RevokeLease: lease_administration.revoke_lease,
    c.NameHost: lease_administration.name_host,
    c.ReleaseHost: lease_administration.release_host,
    c.AddOperatorToken: administration.add_operator_token,
    c.RevokeOperatorTokens: administration.revoke_operator_tokens,
}
"""What decides about each command."""


def apply(state: State, command: c.Command, at: Instant) -> Decision:
    """Change the state by a command at an instant, and return what was decided; whoever waits in line is served in the
    same step. What a commit that failed takes back is granted again with the next command only.

    Raises `KeyError` where a command names a session that is not there: who submits it has been told of its end.
    """
    state.at = at
    if at.mono >= state.use.today.ends:
        state.use.advance(at)
    decision = HANDLERS[type(command)](state, command, at)
    if state.lines and type(command) is not Withdraw:
        waiting.serve(state, decision, at)
    return decision
