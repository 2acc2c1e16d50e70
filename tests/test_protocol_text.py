"""The worked example of the registration check: its codes are computed here by the letter of the text, and both sides
of the gateway say the same.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from itertools import pairwise
from typing import Any, NamedTuple

from gateway.core.formats import instant
from gateway.core.registration.agent_protocol import AgentConversation, Verdict
from gateway.core.registration.messages import TERMS
from gateway.core.registration.registrar import Registrar, RegistrarConversation
from gateway.licensing import OFFERS
from tests.texts import PROTOCOL, section

Message = dict[str, Any]


class Line(NamedTuple):
    """One line of the example: `>` is the agent's, `<` the registrar's, `=` the text under a code."""

    mark: str
    text: str

    @property
    def message(self) -> Message:
        """The message of a `>` or `<` line."""
        return dict(json.loads(self.text))


def example(heading: str) -> list[Line]:
    """Returns the lines of the examples in a section; a line that begins with spaces continues the one above."""
    blocks = re.findall(r"^```example\n(.*?)^```$", section(PROTOCOL.read_text(), heading), re.MULTILINE | re.DOTALL)
    assert blocks
    return [Line(line[0], line[2:]) for line in re.sub(r"\n +", "", "".join(blocks)).splitlines()]


def key() -> bytes:
    """Returns the key that the text states."""
    found = re.search(r"The key is `([0-9a-f]{64})`", section(PROTOCOL.read_text(), "Worked example"))
    assert found
    return bytes.fromhex(found[1])


def code(text: str) -> str:
    """Returns the MAC of a text in which line feeds are shown."""
    return hmac.new(key(), text.replace("⏎", "\n").encode(), hashlib.sha256).hexdigest()


def canonical(message: Message) -> str:
    """Returns the canonical JSON of a message."""
    rest = {name: value for name, value in message.items() if name != "mac"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def agent() -> AgentConversation:
    """Returns the gateway's agent, about to send the example's `register`."""
    given = {name: SAID["register"][name] for name in ("server", "serial", "version", "nonce", "ticket")}
    return AgentConversation(key(), OFFERS, **given)


CONVERSATION = example("Worked example")
BY_HAND = example("Offline registration")
SAID = {line.message["type"]: line.message for line in CONVERSATION if line.mark != "="}
CODED = [(line.message, below.text) for line, below in pairwise([*CONVERSATION, *BY_HAND]) if below.mark == "="]
"""Each message that has a code, and the text that it is the code of."""


def test_every_code_is_that_of_the_text_below_it() -> None:
    messages = [line.message for line in [*CONVERSATION, *BY_HAND] if line.mark != "="]
    assert len(CODED) == sum("mac" in message for message in messages) == 7
    for message, text in CODED:
        assert message["mac"] == code(text)


def test_every_text_is_made_by_the_rules() -> None:
    register, challenge = SAID["register"], SAID["challenge"]
    for message, text in CODED:
        match message.get("type"):
            case "proof":
                words = ["agent", canonical(register), challenge["nonce"]]
            case None:
                words = ["offline", canonical(message)]
            case type:
                words = [type, register["nonce"], challenge["nonce"], canonical(message)]
        assert text == "⏎".join(words)


def test_both_sides_of_the_gateway_say_what_the_example_says() -> None:
    granted, verified = SAID["registered"], SAID["verified"]
    drawn = iter(["0" * 32, "0" * 32, SAID["challenge"]["nonce"], granted["ticket"], verified["ticket"]])
    registrar = Registrar(lambda: next(drawn), granted["interval_seconds"])
    talk, ours = RegistrarConversation("192.0.2.1"), agent()
    begun, later = instant(granted["time"]), instant(verified["time"])
    registrar.issue(ours.register["serial"], {name: granted[name] for name in TERMS}, OFFERS, key(), begun)

    assert ours.register == SAID["register"]
    assert registrar.receive(talk, ours.register, begun).answer == SAID["challenge"]
    assert ours.receive(SAID["challenge"]).answer == SAID["proof"]
    assert registrar.receive(talk, SAID["proof"], begun).answer == granted
    assert ours.receive(granted).verdict is Verdict.REGISTERED
    assert ours.verify(SAID["verify"]["used"]) == SAID["verify"]
    assert registrar.receive(talk, SAID["verify"], later).answer == verified
    assert ours.receive(verified).verdict is Verdict.VERIFIED
    told = registrar.revoke(ours.register["serial"], later)
    assert told is not None
    assert told[1].answer == SAID["revoked"]
    assert ours.receive(SAID["revoked"]).reason == "revoked"


def test_a_refusal_after_a_good_proof_is_believed() -> None:
    ours = agent()
    ours.receive(SAID["challenge"])
    heard = ours.receive(SAID["refused"])
    assert (heard.verdict, heard.reason) == (Verdict.REFUSED, "in_use")


def test_the_registrar_answers_a_request_by_hand_as_the_example_does() -> None:
    request, answer, _ = BY_HAND
    terms = {name: answer.message[name] for name in TERMS}
    registrar = Registrar(lambda: "0" * 32, 30)
    registrar.issue(request.message["serial"], terms, OFFERS, key(), instant(request.message["time"]))
    assert registrar.answer(request.message, instant(answer.message["issued_at"])) == answer.message
