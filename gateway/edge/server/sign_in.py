"""The reception: `hello` and `resume`, and the names and secrets of sessions.

A session's id is unique over restarts. Its resume token is computed, not kept: a message authentication code over the
session's number and how often it was resumed, so that a used token belongs to a past generation.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Any

from gateway.core.admission.outcome import Decision
from gateway.core.admission.session_states import SessionState
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Session
from gateway.core.wire.messages import Request, RequestFault

if TYPE_CHECKING:
    from config.settings import Settings
    from gateway.edge.server.connection import Connection
    from gateway.edge.server.runtime import Runtime

_HEX = re.compile(r"[0-9a-f]{1,16}").fullmatch


class SignIn:
    """Receives the clients of `runtime`; `boot` tells this run from others."""

    def __init__(self, runtime: Runtime, boot: int) -> None:
        self._runtime = runtime
        self._boot = f"{boot:x}"
        self._mac = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=16)
        self._number = 0
        self._greeting: dict[str, Any] = {}

    def apply_settings(self, settings: Settings, model: str) -> None:
        """Take what every `welcome` states."""
        self._greeting = {
            "heartbeat_seconds": _plain(settings.heartbeat.interval),
            "timeout_seconds": _plain(settings.heartbeat.timeout),
            "model": model,
        }

    # -- hello -------------------------------------------------------------------------------------------------------

    def hello(self, connection: Connection, request: Request) -> Decision | RequestFault:
        """Welcome a client, continue its session, or refuse it; a `Fault` leaves it where it is."""
        fields = request.fields
        if fields["resume"] is not None:
            session = self._resumable(fields["resume"])
            if session is not None:
                return self._continue(connection, session, request)
        runtime, account = self._runtime, fields["account"]
        now = runtime.instant()
        home = (fields["home"] or "").lower()
        session = Session(
            self._number + 1,
            kind=fields["kind"] or "app",
            account=account.lower() if account is not None else None,
            device=fields["device"],
            home="" if home == runtime.settings.accounts.home else home,
            client=fields["client"],
            address=connection.address,
            transport=connection.shared.transport,
            since=now.wall,
        )
        refusal = self._refusal(session, fields["token"])
        if refusal is not None:
            return runtime.admission.refuse("hello", refusal)
        if runtime.settings.license.on_duplicate == "reject":
            twin = runtime.admission.sessions.same_device_session(session)
            if twin is not None and twin.peer_address == session.peer_address:
                runtime.end_resumable(twin)  # a client that crashed is no duplicate of itself
        outcome = runtime.admission.hello(session, now)
        if outcome.answer is not None and outcome.refused is None:
            self._number += 1
            self._attach(connection, session)
            outcome.answer = self._welcome(session, outcome.answer)
        return outcome

    def _refusal(self, session: Session, token: str | None) -> Refusal | None:
        """What speaks against a session before any license is asked."""
        runtime, account = self._runtime, session.account
        if not runtime.registration.grants:
            return Refusal("unregistered", retry_after=runtime.retry_after)
        unwanted = self._unwanted(session, session.peer_address)
        if unwanted is not None:
            return unwanted
        if account is None or session.home:
            return None
        if runtime.lease_administration.is_deleted(account):
            return Refusal("account_unknown")
        if runtime.settings.accounts.mode == "token":
            if account not in runtime.directory.accounts:
                return Refusal("account_unknown")
            if not runtime.directory.proves_account(account, token):
                return Refusal("bad_credential")
        return None

    def _unwanted(self, session: Session, address: str) -> Refusal | None:
        """What speaks against a client that comes from `address`, new or resuming."""
        runtime = self._runtime
        if runtime.draining:
            return Refusal("draining", retry_after=runtime.retry_after)
        ban = runtime.directory.banned(session, address, runtime.clock.wall())
        return Refusal("banned", retry_after=ban.until - runtime.clock.wall()) if ban is not None else None

    def _attach(self, connection: Connection, session: Session) -> None:
        connection.session = session
        session.connection = connection
        connection.welcome(session.number, SessionState.AWAKE if session.awake else SessionState.ASLEEP)

    def _welcome(self, session: Session, standing: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "welcome",
            "session": self.name(session),
            "resume": self._token(session),
            **self._greeting,
            **standing,
        }

    def _continue(self, connection: Connection, session: Session, request: Request) -> Decision | RequestFault:
        """Put a session on another connection: same facts, memberships and seats."""
        runtime, fields = self._runtime, request.fields
        for name in ("account", "device", "kind"):
            given = fields[name].lower() if name == "account" and fields[name] else fields[name]
            if given is not None and given != getattr(session, name):
                return RequestFault("bad_field", f"{name}: differs from the resumed session's", request.id)
        refusal = self._unwanted(session, connection.address)
        if refusal is not None:
            return runtime.admission.refuse("hello", refusal)
        runtime.resumable.pop(session.number, None)
        runtime.replace(session)
        session.generation += 1
        session.peer_address, session.transport = connection.address, connection.shared.transport
        self._attach(connection, session)
        answer = self._welcome(session, runtime.admission.entitlements(session))
        answer["conferences"] = [conference.id for conference in session.conferences]
        return Decision(answer=answer)

    # -- names and secrets -------------------------------------------------------------------------------------------

    def name(self, session: Session) -> str:
        """The id under which operators and clients know a session."""
        return f"s-{self._boot}-{session.number:x}"

    def number(self, name: str) -> int | None:
        """The number in the id of a session of this run; None if it is not one."""
        boot, _, number = name.removeprefix("s-").partition("-")
        return int(number, 16) if boot == self._boot and _HEX(number) else None

    def find(self, name: str) -> Session | None:
        """The session of that id."""
        number = self.number(name)
        return self._runtime.admission.sessions.by_number.get(number) if number is not None else None

    def _token(self, session: Session) -> str:
        words = f"{session.number:x}.{session.generation:x}"
        mac = self._mac.copy()  # the key is in it already
        mac.update(words.encode())
        return f"r-{words}.{mac.hexdigest()}"

    def _resumable(self, token: str) -> Session | None:
        number, _, _ = token.removeprefix("r-").partition(".")
        session = self._runtime.admission.sessions.by_number.get(int(number, 16)) if _HEX(number) else None
        if session is None or not hmac.compare_digest(self._token(session).encode(), token.encode()):
            return None
        return session


def _plain(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds
