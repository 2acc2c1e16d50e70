"""How connections end: for each cause the last message, the code, and whether the client should reconnect.

This is the table of `PROTOCOL.md`, Closing. The gateway closes by it, and the reference client decides by it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

FINAL_CODES = frozenset({1000, 1002, 1007, 1009, 4400, 4401, 4403, 4409, 4503})
"""Close codes after which a client does not reconnect; after any other, or none, it does."""


class Ending(NamedTuple):
    """How a cause ends a connection.

    `code` is the WebSocket close code; `says` whether a `closing` message is sent; `abort` drops what is unsent.
    """

    code: int
    says: bool = False
    abort: bool = False

    @property
    def reconnect(self) -> bool:
        """Whether the client should reconnect."""
        return self.code not in FINAL_CODES


ENDINGS = {
    "bye": Ending(1000),
    "closed": Ending(1000),
    "reset": Ending(1006, abort=True),
    "heartbeat_timeout": Ending(4408, says=True),
    "replaced": Ending(4409, says=True),
    "hello_timeout": Ending(4408, says=True),
    "denied": Ending(4403),
    "rejected": Ending(1013),
    "unregistered": Ending(4510, says=True),
    "protocol_error": Ending(4400),
    "too_fast": Ending(4429),
    "slow_consumer": Ending(1006, abort=True),
    "kicked": Ending(4503, says=True),
    "account_deleted": Ending(4503, says=True),
    "drained": Ending(1012, says=True),
    "store_unavailable": Ending(1013, says=True),
}
"""Every cause for which a connection can end."""

DENIED = {
    "bad_credential": 4401,
    "account_unknown": 4401,
    "pool_full": 4429,
    "unregistered": 4510,
    "draining": 1012,
    "too_many_connections": 1013,
    "rate_limited": 1013,
    "store_unavailable": 1013,
    "keys_unavailable": 1013,
}
"""Close codes of a refused `hello`, by reason; any other closes with the code of `denied`."""

ERRORS = {
    "malformed": "protocol_error",
    "too_long": "protocol_error",
    "hello_expected": "protocol_error",
    "unsupported_protocol": "protocol_error",
    "too_fast": "too_fast",
}
"""The cause for which an `error` closes the connection, by its code; after any other it stays open."""


def reconnects_after_denial(reason: str) -> bool:
    """Return whether a client should reconnect whose `hello` was refused."""
    return DENIED.get(reason, ENDINGS["denied"].code) not in FINAL_CODES


def farewell(cause: str, retry_after: float | None = None) -> dict[str, Any] | None:
    """Return the `closing` message for a cause; None where none is sent. `retry_after` is in seconds."""
    ending = ENDINGS[cause]
    if not ending.says:
        return None
    message: dict[str, Any] = {
        "type": "closing",
        "reason": cause,
        "code": ending.code,
        "reconnect": ending.reconnect,
    }
    if ending.reconnect and retry_after is not None:
        message["retry_after_seconds"] = round(retry_after, 3)
    return message
