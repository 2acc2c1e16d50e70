"""`hello` and `resume`: from what a client says of itself to a command, and from the decision to a welcome.

A resume token is computed, not kept: a message authentication code over the session's number and how often it was
resumed, so that a used token belongs to a past generation (PROTOCOL.md, Resume).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Mapping
from typing import Any

from config.settings import Settings
from gateway.core.admission.client_requests import refusal_before_license
from gateway.core.admission.commands import Hello, Resume, Wait
from gateway.core.admission.decision import Decision
from gateway.core.admission.directory import digest
from gateway.core.admission.replies import denied
from gateway.core.admission.requests import SessionState
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.session import Session
from gateway.core.web_tokens.token import Proof, TokenFlaw
from gateway.core.wire.messages import Request, RequestFault
from gateway.edge.machine import Clock
from gateway.edge.server.connection import Connection
from gateway.edge.server.limits import SocketBudget
from gateway.edge.server.paced_log import PacedLog
from gateway.edge.server.sequencer import Sequencer
from gateway.edge.server.token_issuers import TokenIssuers

log = logging.getLogger("tallygate.tokens")

_HEX = re.compile(r"[0-9a-f]{1,16}").fullmatch


class SignIn:
    """Signs clients in, while `budget` lets anybody in. `key` makes the resume tokens, one of this run where none is
    given. `issuers` say what tokens prove, where accounts are proven by those of others.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        settings: Settings,
        clock: Clock,
        budget: SocketBudget,
        *,
        key: bytes | None = None,
    ) -> None:
        self.issuers = TokenIssuers(clock)
        self._mono = clock.mono
        self._flaws = PacedLog(log)
        self._budget = budget
        self._sequencer = sequencer
        self._mac = hashlib.blake2b(key=key or secrets.token_bytes(32), digest_size=16)
        self._greeting: dict[str, Any] = {}
        self.apply_settings(settings)

    def apply_settings(self, settings: Settings) -> None:
        """Take what every `welcome` states."""
        self._greeting = {
            "heartbeat_seconds": _plain(settings.heartbeat.interval),
            "timeout_seconds": _plain(settings.heartbeat.timeout),
            "model": self._sequencer.state.terms.model,
        }

    # -- hello ---------------------------------------------------------------------------------------------------------

    def decide(self, connection: Connection, request: Request) -> Decision | RequestFault | None:
        """Have a client welcomed, its session continued, or refused; a `RequestFault` leaves it where it is.

        Returns None where the decision comes later.
        """
        fields = request.fields
        session = self._resumable(fields["resume"]) if fields["resume"] is not None else None
        if session is not None:
            for name in ("account", "device", "kind"):
                if fields[name] is not None and fields[name] != getattr(session, name):
                    return RequestFault("bad_field", f"{name}: differs from the resumed session's", request.id)
        if self._budget.draining:
            return self.refuse("hello", Refusal("draining", retry_after=self._sequencer.state.terms.retry_after))
        address, transport = connection.address, connection.shared.transport
        token = fields["token"]
        proof = self._proof(connection, fields, token) if token is not None else None
        if isinstance(proof, TokenFlaw) and proof.retry_after is not None:
            return self.refuse("hello", Refusal("keys_unavailable", retry_after=proof.retry_after))
        if session is not None and self._needs_proof(session) and not _proves(proof, session.account, session.device):
            return self.refuse("hello", Refusal("bad_credential"))
        hello = Hello(
            fields["kind"] or "app",
            fields["account"],
            fields["device"],
            fields["home"] or "",
            fields["client"],
            address,
            transport,
            digest(token).hex() if token is not None else None,
        )
        if isinstance(proof, Proof):
            hello = hello._replace(
                account=proof.account, device=proof.device or hello.device, proven=True, groups=proof.groups
            )
        elif proof is not None:
            hello = hello._replace(proven=False)
        seconds = fields["wait"]
        anew = hello if seconds is None else Wait(hello, seconds, request.id)
        if session is None:
            refusal = self._refusal_beforehand(hello) if self._sequencer.is_shared else None
            if refusal is not None:
                return self.refuse("hello", refusal)
            return self._sequencer.submit(anew, None, connection, request.id)
        resume = Resume(session.number, session.generation, address, transport)
        return self._sequencer.submit(resume, None, connection, request.id, otherwise=anew)

    def _proof(self, connection: Connection, fields: Mapping[str, Any], token: str) -> Proof | TokenFlaw | None:
        """Return what the token of a `hello` proves, where an issuer has to have signed it; None where none counts."""
        terms = self._sequencer.state.terms
        if terms.accounts_mode != "jwt" or (fields["home"] or terms.home) != terms.home:
            return None
        proof = self.issuers.proof(token)
        if isinstance(proof, Proof) and not _proves(proof, fields["account"], fields["device"]):
            proof = TokenFlaw("it is of another account or device")
        if isinstance(proof, TokenFlaw):
            line = f"{connection.shared.transport}: {connection.address}: a token proves nothing: {proof.reason}"
            self._flaws.record(line, self._mono())
        return proof

    def _needs_proof(self, session: Session) -> bool:
        """Whether a session goes on only for who still proves to be its account (PROTOCOL.md, Accounts)."""
        mode = self._sequencer.state.terms.accounts_mode
        return mode == "jwt" and session.account is not None and not session.home

    def _refusal_beforehand(self, hello: Hello) -> Refusal | None:
        """Return why a client is refused without a command for it: in a cluster, where each costs all nodes.

        What it rests upon is asked again when the command is applied.
        """
        state = self._sequencer.state
        return refusal_before_license(state, hello, state.at)

    def state_times(self, answer: dict[str, Any]) -> None:
        """Let the answer to a `hello` that waits state how long its client may be silent."""
        answer |= {name: self._greeting[name] for name in ("heartbeat_seconds", "timeout_seconds")}

    def refuse(self, request: str, refusal: Refusal, conference: str | None = None) -> Decision:
        """Return the decision that refuses a request about which no license decides."""
        message = denied(request, refusal, conference, self._sequencer.state.terms.retry_after)
        return Decision(message, refused=refusal)

    def attach(self, connection: Connection, decision: Decision) -> bool:
        """Let a connection have the session that a decision began or went on with, and complete its welcome. Returns
        whether that session has been another connection's.

        In a cluster that session may be over by the same entry of the log: the connection is welcomed under its number,
        by which the decision that ended it closes it next.
        """
        if decision.session is None or decision.answer is None:
            return False
        connection.session = session = self._sequencer.state.sessions.by_number.get(decision.session)
        generation = session.generation if session is not None else 0
        awake = session is None or session.awake
        connection.welcome(decision.session, SessionState.AWAKE if awake else SessionState.ASLEEP)
        decision.answer = {
            "type": "welcome",
            "session": decision.answer["session"],
            "resume": self._token(decision.session, generation),
            **self._greeting,
            **decision.answer,
        }
        return generation > 0

    # -- names and secrets ---------------------------------------------------------------------------------------------

    def number(self, id: str) -> int | None:
        """Return the number in the id of a session of this run; None if it is not one."""
        run, _, number = id.removeprefix("s-").partition("-")
        return int(number, 16) if run == self._sequencer.state.run and _HEX(number) else None

    def find(self, id: str) -> Session | None:
        """Return the session of that id; None if there is none."""
        number = self.number(id)
        return self._sequencer.state.sessions.by_number.get(number) if number is not None else None

    def _token(self, session: int, generation: int) -> str:
        words = f"{session:x}.{generation:x}"
        mac = self._mac.copy()  # the key is in it already
        mac.update(words.encode())
        return f"r-{words}.{mac.hexdigest()}"

    def _resumable(self, token: str) -> Session | None:
        number, _, _ = token.removeprefix("r-").partition(".")
        session = self._sequencer.state.sessions.by_number.get(int(number, 16)) if _HEX(number) else None
        if session is None or not hmac.compare_digest(
            self._token(session.number, session.generation).encode(), token.encode()
        ):
            return None
        return session


def _proves(proof: Proof | TokenFlaw | None, account: str | None, device: str | None) -> bool:
    """Whether a proof is of that account and device; what is not said of them is as the proof says it."""
    if not isinstance(proof, Proof):
        return False
    return account in {None, proof.account} and (None in {device, proof.device} or device == proof.device)


def _plain(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds
