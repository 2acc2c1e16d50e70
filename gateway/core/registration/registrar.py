"""The registrar's side: licenses, the installations that use them, and the conversations with those.

The table `MOVES` says what is done with each message in each step of a conversation. A reply says what must be recorded
before its answer may be sent: a ticket that was sent must not be forgotten, because an installation that shows an older
one is suspected to be a copy. A peer that does not have the key of a license learns nothing, not even whether the
license exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gateway.core.formats import utc
from gateway.core.registration.authentication import canonical, genuine, mac, proof, same, sealed
from gateway.core.registration.grant import Grant, LicensableModel, granted
from gateway.core.registration.messages import read
from gateway.core.wire.json_lines import Message
from gateway.core.wire.messages import RequestFault

MAX_INSTALLATIONS = 64
"""Servers that are remembered for one license; whoever has its key could invent any number of them."""


class SoldLicense(NamedTuple):
    """A license that was sold: its secret key, what it grants, and since when. Times are in seconds UTC."""

    serial: str
    key: bytes
    grant: Grant
    created: float
    revoked: float | None = None

    def state(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        end = self.grant.not_after
        return "expired" if end is not None and now > end else "active"


@dataclass(slots=True)
class Installation:
    """A server that has registered: the last ticket it was given, when it was verified, and what it reported.

    `since` is when it connected, None while it is not. `clones` is how often a copy of it was suspected.
    """

    serial: str
    server: str
    ticket: str | None = None
    since: float | None = None
    verified: float | None = None
    used: dict[str, int] = field(default_factory=dict)
    address: str = ""
    version: str = ""
    clones: int = 0


class ConversationStep(StrEnum):
    """How far a conversation has come."""

    NEW = "new"
    CHALLENGED = "challenged"
    SERVED = "served"
    OVER = "over"


class RegistrarAction(StrEnum):
    """What is done with a message."""

    CHALLENGE = "challenge"
    JUDGE = "judge"
    VERIFY = "verify"
    REFUSE = "refuse"


MOVES: dict[tuple[ConversationStep, str], RegistrarAction] = {
    (ConversationStep.NEW, "register"): RegistrarAction.CHALLENGE,
    (ConversationStep.CHALLENGED, "proof"): RegistrarAction.JUDGE,
    (ConversationStep.SERVED, "verify"): RegistrarAction.VERIFY,
}
"""What an agent may send in each step; any other message is refused, and ends the conversation."""


class RegistrarConversation:
    """One conversation with an agent at `address`."""

    __slots__ = ("address", "installation", "key", "nonces", "register", "seq", "step", "suspects")

    def __init__(self, address: str) -> None:
        self.address = address
        self.step = ConversationStep.NEW
        self.register: Message = {}
        self.nonces = ""
        self.key = b""
        self.seq = 0
        self.installation: Installation | None = None
        self.suspects: tuple[str, ...] = ()
        """Other installations that have asked to use the license during this conversation."""


class Reply(NamedTuple):
    """What a message led to. `answer` may be sent once `changed` is recorded; `over` ends the conversation after it.

    `result` is what is counted, empty for nothing. `replaced` is an older conversation that this one ends. `clone` says
    why a copy is suspected, `ticket` or `in_use`, and `changed` is then the installation that was copied. `forgotten`
    is an installation that was removed to make room.
    """

    answer: Message | None = None
    result: str = ""
    over: bool = False
    changed: Installation | None = None
    replaced: RegistrarConversation | None = None
    clone: str = ""
    forgotten: Installation | None = None


class Registrar:
    """All licenses and installations. `draw` gives 32 fresh random hex digits each time; `interval` is in seconds.

    `clones` is a total.
    """

    def __init__(self, draw: Callable[[], str], interval: int) -> None:
        self._draw = draw
        self._decoy = bytes.fromhex(draw() + draw())
        """The key of licenses that do not exist: refusing them takes the same work."""
        self.interval = interval
        self.licenses: dict[str, SoldLicense] = {}
        self.installations: dict[tuple[str, str], Installation] = {}
        self.conversations: dict[str, RegistrarConversation] = {}
        """The conversation with the server that is connected now, by serial."""
        self.clones = 0

    # -- conversations -----------------------------------------------------------------------------------------------

    def receive(self, conversation: RegistrarConversation, message: Message, now: float) -> Reply:
        """Act upon one message of an agent at `now`, in seconds UTC."""
        if conversation.step is ConversationStep.OVER:
            return Reply()
        try:
            fields = read(message)
            verb = MOVES.get((conversation.step, message["type"]), RegistrarAction.REFUSE)
        except RequestFault:
            verb = RegistrarAction.REFUSE
        if verb is RegistrarAction.REFUSE:
            return self.reject(conversation, "malformed")
        if verb is RegistrarAction.CHALLENGE:
            return self._challenge(conversation, message)
        if verb is RegistrarAction.JUDGE:
            return self._judge(conversation, fields["mac"], now)
        return self._verify(conversation, message, now)

    def reject(self, conversation: RegistrarConversation, reason: str) -> Reply:
        """Refuse a peer that has proven nothing."""
        self.end(conversation)
        return Reply({"type": "refused", "reason": reason}, reason, over=True)

    def _challenge(self, conversation: RegistrarConversation, message: Message) -> Reply:
        nonce = self._draw()
        conversation.register = message
        conversation.nonces = f"{message['nonce']}\n{nonce}"
        conversation.step = ConversationStep.CHALLENGED
        return Reply({"type": "challenge", "nonce": nonce})

    def _judge(self, conversation: RegistrarConversation, told: str, now: float) -> Reply:
        serial, server = conversation.register["serial"], conversation.register["server"]
        license = self.licenses.get(serial)
        conversation.key = license.key if license is not None else self._decoy
        proven = same(proof(conversation.key, conversation.register, conversation.nonces.partition("\n")[2]), told)
        if license is None or not proven:
            return self.reject(conversation, "bad_credential")
        state = license.state(now)
        if state != "active":
            return self._refuse(conversation, state)
        other = self.conversations.get(serial)
        if other is not None and other.installation is not None and other.installation.server != server:
            return self._in_use(conversation, other, other.installation)
        forgotten = None if (serial, server) in self.installations else self._make_room(serial)
        installation = self.installations.setdefault((serial, server), Installation(serial, server))
        shown, clone = conversation.register.get("ticket"), ""
        if shown is not None and installation.ticket is not None and shown != installation.ticket:
            self.clones += 1
            installation.clones += 1
            clone = "ticket"
        if other is not None:
            self.end(other)
        conversation.step, conversation.installation = ConversationStep.SERVED, installation
        self.conversations[serial] = conversation
        installation.since, installation.address = now, conversation.address
        installation.version = conversation.register.get("version") or ""
        installation.ticket, installation.verified = self._draw(), now
        answer = {
            "type": "registered",
            **license.grant.to_json(),
            "interval_seconds": self.interval,
            "time": utc(now),
            "ticket": installation.ticket,
        }
        return Reply(
            sealed(conversation.key, conversation.nonces, answer),
            "registered",
            changed=installation,
            replaced=other,
            clone=clone,
            forgotten=forgotten,
        )

    def _in_use(
        self, conversation: RegistrarConversation, other: RegistrarConversation, installation: Installation
    ) -> Reply:
        """Refuse a second installation; however often it asks, it is one suspicion."""
        refused, server = self._refuse(conversation, "in_use"), conversation.register["server"]
        if server in other.suspects or len(other.suspects) >= MAX_INSTALLATIONS:
            return refused
        other.suspects = (*other.suspects, server)
        self.clones += 1
        installation.clones += 1
        return refused._replace(changed=installation, clone="in_use")

    def _make_room(self, serial: str) -> Installation | None:
        """Forget the server of a license that was verified longest ago, where as many are known as are remembered."""
        known = [each for each in self.installations.values() if each.serial == serial]
        if len(known) < MAX_INSTALLATIONS:
            return None
        oldest = min(known, key=lambda each: each.verified or 0.0)
        return self.installations.pop((serial, oldest.server))

    def _refuse(self, conversation: RegistrarConversation, reason: str) -> Reply:
        """Refuse a peer that has proven to hold the license."""
        self.end(conversation)
        answer = sealed(conversation.key, conversation.nonces, {"type": "refused", "reason": reason})
        return Reply(answer, reason, over=True)

    def _verify(self, conversation: RegistrarConversation, message: Message, now: float) -> Reply:
        if not genuine(conversation.key, conversation.nonces, message):
            self.end(conversation)
            return Reply(None, "bad_mac", over=True)
        conversation.seq += 1
        if message["seq"] != conversation.seq:
            self.end(conversation)
            return Reply(None, "bad_sequence", over=True)
        installation = conversation.installation
        license = self.licenses.get(conversation.register["serial"])
        state = license.state(now) if license is not None else "revoked"
        if installation is None or state != "active":
            return self._withdraw(conversation, state)
        installation.verified, installation.ticket = now, self._draw()
        installation.used = dict(message.get("used") or {})
        answer = {"type": "verified", "seq": conversation.seq, "time": utc(now), "ticket": installation.ticket}
        return Reply(sealed(conversation.key, conversation.nonces, answer), "verified", changed=installation)

    def _withdraw(self, conversation: RegistrarConversation, reason: str) -> Reply:
        self.end(conversation)
        answer = sealed(conversation.key, conversation.nonces, {"type": "revoked", "reason": reason})
        return Reply(answer, reason, over=True)

    def end(self, conversation: RegistrarConversation) -> None:
        """Record that a conversation is over."""
        conversation.step = ConversationStep.OVER
        installation, conversation.installation = conversation.installation, None
        if installation is None:
            return
        if self.conversations.get(installation.serial) is conversation:
            del self.conversations[installation.serial]
            installation.since = None

    # -- licenses ----------------------------------------------------------------------------------------------------

    def issue(
        self, serial: str, terms: Mapping[str, object], offers: Mapping[str, LicensableModel], key: bytes, now: float
    ) -> bool:
        """Sell a license under these terms, with `key`, or change the terms of one that was sold; whether it is new.

        Raises `RequestFault` where the terms are wrong, or the license was revoked.
        """
        usual = next((name for name, offer in offers.items() if offer.by_default), None)
        grant = granted(read({"model": usual, **terms}, "terms"), offers)
        unknown = set(grant.extensions) - set(offers[grant.model].extensions)
        if unknown:
            known = ", ".join(offers[grant.model].extensions) or "none"
            raise RequestFault("bad_field", f"extensions: {grant.model} has {known}; not {', '.join(sorted(unknown))}")
        held = self.licenses.get(serial)
        if held is not None and held.revoked is not None:
            raise RequestFault(
                "revoked", f"the license {serial} was revoked; remove it to sell it anew, with another key"
            )
        self.licenses[serial] = SoldLicense(serial, key, grant, now) if held is None else held._replace(grant=grant)
        return held is None

    def revoke(self, serial: str, now: float) -> tuple[RegistrarConversation, Reply] | None:
        """Revoke a license; returns what its server is told at once, if it is connected.

        Raises `LookupError` where there is no such license.
        """
        license = self.licenses[serial]
        if license.revoked is None:
            self.licenses[serial] = license._replace(revoked=now)
        return self._dismiss(serial)

    def remove(self, serial: str) -> tuple[RegistrarConversation, Reply] | None:
        """Forget a license and its installations; returns what its server is told at once, if it is connected.

        Raises `LookupError` where there is no such license.
        """
        del self.licenses[serial]
        told = self._dismiss(serial)
        for each in [each for each in self.installations if each[0] == serial]:
            del self.installations[each]
        return told

    def _dismiss(self, serial: str) -> tuple[RegistrarConversation, Reply] | None:
        conversation = self.conversations.get(serial)
        return None if conversation is None else (conversation, self._withdraw(conversation, "revoked"))

    def ended(self, now: float) -> Iterator[tuple[RegistrarConversation, Reply]]:
        """Yield what the servers are told whose licenses have ended."""
        for serial, conversation in list(self.conversations.items()):
            if self.licenses[serial].state(now) != "active":
                yield conversation, self._withdraw(conversation, "expired")

    # -- by hand -----------------------------------------------------------------------------------------------------

    def answer(self, request: Mapping[str, object], now: float) -> Message:
        """Answer the request of a server that has no network (PROTOCOL.md, Offline registration).

        Raises `RequestFault` where the request is malformed, or its license is not good.
        """
        fields = read(request, "request")
        license = self.licenses.get(fields["serial"])
        if license is None:
            raise RequestFault("no_such_license", f"no license has the serial {fields['serial']}")
        state = license.state(now)
        if state != "active":
            raise RequestFault(state, f"the license {fields['serial']} is {state}")
        answer = {
            **license.grant.to_json(),
            "server": fields["server"],
            "serial": fields["serial"],
            "nonce": fields["nonce"],
            "issued_at": utc(now),
        }
        return {**answer, "mac": mac(license.key, "offline", canonical(answer))}
