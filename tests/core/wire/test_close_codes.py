"""How connections end: the table of the protocol, row by row."""

from __future__ import annotations

import pytest

from gateway.core.counting.license_model import CONFERENCE_ENDS, CONNECTION_ENDS
from gateway.core.wire.close_codes import DENIED, ENDINGS, farewell

TABLE = {
    "bye": (1000, None),
    "closed": (1000, None),
    "reset": (1006, None),
    "heartbeat_timeout": (4408, True),
    "replaced": (4409, False),
    "hello_timeout": (4408, True),
    "denied": (4403, None),
    "rejected": (1013, None),
    "unregistered": (4510, True),
    "protocol_error": (4400, None),
    "too_fast": (4429, None),
    "slow_consumer": (1006, None),
    "kicked": (4503, False),
    "account_deleted": (4503, False),
    "drained": (1012, True),
    "store_unavailable": (1013, True),
}
"""Cause: code, and whether to reconnect where a `closing` message says so."""


def test_every_cause_is_in_the_table() -> None:
    assert set(ENDINGS) == set(TABLE)


@pytest.mark.parametrize("cause", [*TABLE])
def test_each_cause_has_its_code_and_its_last_message(cause: str) -> None:
    code, reconnect = TABLE[cause]
    assert ENDINGS[cause].code == code
    expected = {"type": "closing", "reason": cause, "code": code, "reconnect": reconnect}
    assert farewell(cause) == (None if reconnect is None else expected)


def test_when_to_return_is_said_only_to_those_who_may() -> None:
    assert (farewell("drained", 2.34567) or {})["retry_after_seconds"] == 2.346
    assert "retry_after_seconds" not in (farewell("kicked", 2.0) or {})
    assert farewell("closed", 2.0) is None


@pytest.mark.parametrize("cause", ["reset", "slow_consumer"])
def test_who_cannot_hear_is_cut_off(cause: str) -> None:
    assert ENDINGS[cause].abort


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("bad_credential", 4401),
        ("account_unknown", 4401),
        ("banned", 4403),
        ("not_allowed", 4403),
        ("extension_missing", 4403),
        ("duplicate", 4403),
        ("pool_full", 4429),
        ("unregistered", 4510),
        ("draining", 1012),
        ("too_many_connections", 1013),
        ("rate_limited", 1013),
    ],
)
def test_a_refused_hello_closes_with_the_code_of_its_reason(reason: str, code: int) -> None:
    assert DENIED.get(reason, ENDINGS["denied"].code) == code


def test_every_release_has_a_cause_of_the_table() -> None:
    beside = {"node_lost", "not_returned"}
    assert set(CONNECTION_ENDS) <= {*TABLE, *beside}
    assert set(CONFERENCE_ENDS) <= {*TABLE, "left", "removed", "asleep", *beside}
