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
from gateway.core.registration.messages import Grant, Message, Offer, genuine, granted, proof, read, sealed
from gateway.core.wire.messages import Fault

PATIENCE = 16
"""Messages that cannot be believed, after which a conversation is given up."""


class Phase(StrEnum):
    """What the agent waits for."""

    CHALLENGE = "challenge"
    REGISTERED = "registered"
    NOTHING = "nothing"
    VERIFIED = "verified"


class News(StrEnum):
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


UNBELIEVABLE = frozenset({News.FORGED, News.REPLAYED, News.MALFORMED})


class Heard(NamedTuple):
    """What has been heard: what is to be answered, and what it tells. `time` is the registrar's, as it came."""

    news: News
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


class Conversation:
    """One connection to a registrar, for the license `serial` with its `key`, of the installation `server`.

    `nonce` is 32 fresh hex digits; `offers` tells what each license model has.
    """

    def __init__(
        self,
        key: bytes,
        offers: Mapping[str, Offer],
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
        self.unbelievable = 0
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
    def hopeless(self) -> bool:
        """Whether so much came that cannot be believed that another connection is the better try."""
        return self.unbelievable >= PATIENCE

    def verify(self, used: Mapping[str, int]) -> Message:
        """Ask to be verified again; `used` is the use of each pool."""
        if self.phase is not Phase.NOTHING:
            raise RuntimeError(f"verified while waiting for {self.phase}")
        self.phase = Phase.VERIFIED
        self.seq += 1
        return sealed(self._key, self._nonces, {"type": "verify", "seq": self.seq, "used": dict(used)})

    def receive(self, message: Message) -> Heard:
        """Take one message of the registrar."""
        heard = self._take(message)
        self.unbelievable += heard.news in UNBELIEVABLE
        return heard

    def garbage(self, why: str) -> Heard:
        """Take bytes that are no message."""
        self.unbelievable += 1
        return Heard(News.MALFORMED, reason=why)

    def _take(self, message: Message) -> Heard:
        try:
            fields = read(message)
        except Fault as fault:
            return Heard(News.MALFORMED, reason=str(fault))
        type = message["type"]
        if type == "challenge":
            return self._challenge(fields["nonce"]) if self.phase is Phase.CHALLENGE else Heard(News.REPLAYED)
        if not self._nonces or not genuine(self._key, self._nonces, message):
            if type == "refused" and message.get("mac") is None and type in AWAITED[self.phase]:
                return Heard(News.TURNED_AWAY, reason=fields["reason"])
            return Heard(News.FORGED)
        if type not in AWAITED[self.phase] or (type == "verified" and fields["seq"] != self.seq):
            return Heard(News.REPLAYED)
        if type == "refused":
            return Heard(News.REFUSED, reason=fields["reason"])
        if type == "revoked":
            return Heard(News.REVOKED, reason=fields["reason"])
        grant = None
        if type == "registered":
            try:
                grant = granted(fields, self._offers)
            except Fault as fault:
                self.unusable = str(fault)
                return Heard(News.MALFORMED, reason=self.unusable)
        self.phase = Phase.NOTHING
        news = News.VERIFIED if grant is None else News.REGISTERED
        interval = fields.get("interval_seconds") or 0
        return Heard(news, grant=grant, interval=interval, ticket=fields["ticket"], time=fields["time"])

    def _challenge(self, nonce: str) -> Heard:
        self._nonces = f"{self.register['nonce']}\n{nonce}"
        self.phase = Phase.REGISTERED
        answer = {"type": "proof", "mac": proof(self._key, self.register, nonce)}
        return Heard(News.CHALLENGED, answer=answer)
