"""The license of a cluster: what its registrar has said, and what follows from it at every gateway alike."""

from __future__ import annotations

from gateway.core.admission.decision import AuditNote, Decision
from gateway.core.admission.passing_time import follow_license, take_terms
from gateway.core.admission.registration_commands import RegistrarSaid, SetInstallation
from gateway.core.admission.replies import finish
from gateway.core.admission.state import State
from gateway.core.counting.session import Instant
from gateway.core.registration.shared_license import log_reading


def set_installation(state: State, command: SetInstallation, _: Instant) -> Decision:
    """Name the cluster as an installation; who comes second finds it named."""
    if state.license.needed and not state.license.installation:
        state.license.installation = command.installation
    return Decision()


def registrar_said(state: State, command: RegistrarSaid, now: Instant) -> Decision:
    """Take what the registrar has said: the license, its limits, and whether anything is granted.

    Raises `KeyError`, and changes nothing, where the license is one of a model that does not count.
    """
    license, decision = state.license, Decision()
    if not license.needed:
        return decision
    status, at = license.status, log_reading(now.wall)
    if command.said == "registered" and command.grant is not None:
        terms = state.terms_with(command.grant, state.configured)
        license.clone_suspected = False
        status.accept(command.grant, command.interval, command.ticket, at, command.told)
        if terms != state.terms:
            take_terms(state, terms, now)
    elif command.said == "verified" and status.grant is not None:
        status.confirm(command.ticket, at, command.told)
    elif command.said == "revoked":
        status.record_time(at)
        status.revoke(command.reason)
    elif command.said == "lost":
        status.lose()
    elif command.said == "in_use" and not license.clone_suspected:
        license.clone_suspected = True
        decision.audit.append(AuditNote("clone.suspected", license.serial, {"how": "in_use"}))
    if command.said in {"registered", "verified"}:
        license.asker = state.asking_node
    follow_license(state, decision, now)
    return finish(state, decision)
