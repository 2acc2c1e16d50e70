"""Acts of operators: a command, carried out in the name of who sent the request, and its refusal as an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from aiohttp import web

from gateway.core.admission.commands import Command
from gateway.core.admission.decision import Decision
from gateway.edge.api.authorization import CALLER
from gateway.edge.api.responses import fail
from gateway.edge.server.runtime import Runtime

REFUSALS: Mapping[str, tuple[int, str]] = {
    "no_such_account": (404, "no account has this name"),
    "no_such_token": (404, "there is no token of this fingerprint"),
    "no_such_group": (404, "no group has this name"),
    "no_such_session": (404, "no session has this id"),
    "no_such_ban": (404, "nobody of this name is banned"),
    "no_such_conference": (404, "no conference has this id"),
    "no_such_license": (404, "the account is unknown or has no PRO license"),
    "no_such_host": (404, "no host has this name"),
    "no_named_hosts": (404, "no license model with named hosts is enforced or in shadow"),
    "not_allowed": (409, "federation.homes does not list that server"),
    "conference_under_way": (409, "the conference has members"),
    "extension_missing": (409, "this license has no permanent PRO licenses"),
    "person_present": (409, "the person is connected, waits or holds a license: end that first, or force it"),
    "permanent": (409, "a permanent PRO license cannot be revoked"),
    "account_deleted": (409, "the license of a deleted account cannot be revoked"),
    "pool_full": (409, "all {limit} names are taken"),
    "unregistered": (409, "the registration lets nothing be granted"),
}
"""The status and the words for each reason for which an act is refused."""


async def act(runtime: Runtime, request: web.Request, command: Command) -> Decision:
    """Carry out a command; done when what it changed is durable.

    Raises `StoreUnavailable`, in effect all the same, `NotDecided` in a cluster, and the HTTP error of a refusal.
    """
    decision = await runtime.act(command, request[CALLER].name)
    if decision.refused is not None:
        refuse(decision.refused.reason, runtime, decision.refused.limit)
    return decision


def refuse(reason: str, runtime: Runtime, limit: int | None = None) -> NoReturn:
    """Raise the HTTP error of a refusal; `limit` is that of a full pool."""
    status, words = REFUSALS[reason]
    why = runtime.registration.reason() if reason == "unregistered" else None
    fail(status, reason, why or words.format(limit=limit))
