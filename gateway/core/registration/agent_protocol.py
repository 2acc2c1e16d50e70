"""The agent's side of one conversation with a registrar: what it says, and what it believes.

It believes nothing that does not carry the license's code over the two nonces of this very conversation, and an answer
only while it waits for it, once. Whatever else arrives - garbage, forgeries, the answers of yesterday - changes
nothing; it is counted, and who sends too much of it is hung up on. Connecting, and what follows for the gateway, are
the business of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from gateway.core.registration import messages
from gateway.core.registration.authentication import genuine, proof, sealed
from gateway.core.registration.grant import Grant, LicensableModel, granted
from gateway.core.registration.messages import read
from gateway.core.wire.json_lines import Message
from gateway.core.wire.messages import RequestFault

MAX_UNTRUSTED = 16
"""Messages that cannot be believed, after which a conversation is given up."""


class Phase(StrEnum):
    """What the agent waits for."""

    CHALLENGE = "challenge"
    REGISTERED = "registered"
    NOTHING = "nothing"
    VERIFIED = "verified"


class Verdict(StrEnum):
    """What a message of the registrar means."""

    CHALLENGED = "challenged"
    REGISTERED = "registered"
    VERIFIED = "verified"
    REVOKED = "revoked"
    REFUSED = "refused"
    TURNED_AWAY = "turned_away"
    """A refusal that anybody could have sent: no more than a lost connection."""
    FORGED = "forged"
    REPLAYED = "replayed"
    MALFORMED = "malformed"


UNTRUSTED = frozenset({Verdict.FORGED, Verdict.REPLAYED, Verdict.MALFORMED})


class Received(NamedTuple):
    """What has been heard: what is to be answered, and what it tells. `time` is the registrar's, as it came."""

    verdict: Verdict
    answer: Message | None = None
    grant: Grant | None = None
    interval: int = 0
    ticket: str = ""
    reason: str = ""
    time: object = None


AWAITED = {
    Phase.CHALLENGE: frozenset({"challenge", "refused"}),
    Phase.REGISTERED: frozenset({"registered", "refused", "revoked"}),
    Phase.NOTHING: frozenset({"revoked", "refused"}),
    Phase.VERIFIED: frozenset({"verified", "revoked", "refused"}),
}
"""What may come in each phase; anything else is a replay if it is genuine, and forged if it is not."""


class AgentConversation:
    """One connection to a registrar, for the license `serial` with its `key`, of the installation `server`.

    `nonce` is 32 fresh hex digits; `offers` tells what each license model has.
    """

    def __init__(
        self,
        key: bytes,
        offers: Mapping[str, LicensableModel],
        *,
        server: str,
        serial: str,
        version: str,
        nonce: str,
        ticket: str | None,
    ) -> None:
        self._key = key
        self._offers = offers
        self.phase = Phase.CHALLENGE
        self.seq = 0
        self.untrusted = 0
        self.unusable = ""
        """Why what the registrar grants cannot be used here, where that is so."""
        self.register: Message = {
            "type": "register",
            "protocol": messages.VERSION,
            "server": server,
            "serial": serial,
            "version": version,
            "nonce": nonce,
        }
        if ticket is not None:
            self.register["ticket"] = ticket
        self._nonces = ""

    @property
    def too_many_untrusted(self) -> bool:
        """Whether so much came that cannot be believed that another connection is the better try."""
        return self.untrusted >= MAX_UNTRUSTED

    def verify(self, used: Mapping[str, int]) -> Message:
        """Ask to be verified again; `used` is the use of each pool."""
        if self.phase is not Phase.NOTHING:
            raise RuntimeError(f"verified while waiting for {self.phase}")
        self.phase = Phase.VERIFIED
        self.seq += 1
        return sealed(self._key, self._nonces, {"type": "verify", "seq": self.seq, "used": dict(used)})

    def receive(self, message: Message) -> Received:
        """Take one message of the registrar."""
        heard = self._dispatch(message)
        self.untrusted += heard.verdict in UNTRUSTED
        return heard

    def receive_garbage(self, why: str) -> Received:
        """Take bytes that are no message."""
        self.untrusted += 1
        return Received(Verdict.MALFORMED, reason=why)

    def _dispatch(self, message: Message) -> Received:
        try:
            fields = read(message)
        except RequestFault as fault:
            return Received(Verdict.MALFORMED, reason=str(fault))
        type = message["type"]
        if type == "challenge":
            return self._challenge(fields["nonce"]) if self.phase is Phase.CHALLENGE else Received(Verdict.REPLAYED)
        if not self._nonces or not genuine(self._key, self._nonces, message):
            if type == "refused" and message.get("mac") is None and type in AWAITED[self.phase]:
                return Received(Verdict.TURNED_AWAY, reason=fields["reason"])
            return Received(Verdict.FORGED)
        if type not in AWAITED[self.phase] or (type == "verified" and fields["seq"] != self.seq):
            return Received(Verdict.REPLAYED)
        if type == "refused":
            return Received(Verdict.REFUSED, reason=fields["reason"])
        if type == "revoked":
            return Received(Verdict.REVOKED, reason=fields["reason"])
        grant = None
        if type == "registered":
            try:
                grant = granted(fields, self._offers)
            except RequestFault as fault:
                self.unusable = str(fault)
                return Received(Verdict.MALFORMED, reason=self.unusable)
        self.phase = Phase.NOTHING
        news = Verdict.VERIFIED if grant is None else Verdict.REGISTERED
        interval = fields.get("interval_seconds") or 0
        return Received(news, grant=grant, interval=interval, ticket=fields["ticket"], time=fields["time"])

    def _challenge(self, nonce: str) -> Received:
        self._nonces = f"{self.register['nonce']}\n{nonce}"
        self.phase = Phase.REGISTERED
        answer = {"type": "proof", "mac": proof(self._key, self.register, nonce)}
        return Received(Verdict.CHALLENGED, answer=answer)
