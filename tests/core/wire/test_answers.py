"""The messages of the gateway: each is in the text of the protocol with its fields, and is what its type says."""

from __future__ import annotations

import pytest

from gateway.core.wire.close_codes import ENDINGS, farewell
from tests.shapes import SHAPES, faults
from tests.texts import PROTOCOL, section


@pytest.mark.parametrize("type", SHAPES)
def test_every_message_has_a_heading_and_every_field_stands_under_it(type: str) -> None:
    text = section(PROTOCOL.read_text(), type)
    usual = {"type", "id"}
    if "what the session holds" in text or type == "waiting":  # it has the fields that stand together in many
        usual |= {"seats", "rights", "pro_expires"}
    if type == "waiting":
        text += section(PROTOCOL.read_text(), "joined")
    assert [field for field in SHAPES[type] if field not in usual and f"`{field}`" not in text] == []


@pytest.mark.parametrize("cause", [cause for cause, ending in ENDINGS.items() if ending.says])
def test_the_last_message_is_what_its_type_says(cause: str) -> None:
    assert faults(farewell(cause, 2.5) or {}) == []


def test_a_message_with_other_fields_is_found_out() -> None:
    good = {"type": "left", "conference": "c", "seats": ["pro"], "rights": [], "pro_expires": None, "id": 3}
    assert faults(good) == []
    assert faults({"type": "left", "conference": "c"}) == ["seats is missing"]
    assert faults({**good, "color": "red"}) == ["color is unknown"]
    assert faults({**good, "seats": "pro"}) == ["seats is 'pro'"]
    assert faults({"type": "challenge", "nonce": "0"}) == []
