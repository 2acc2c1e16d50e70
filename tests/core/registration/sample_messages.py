"""One good message of each type of the registration check."""

from __future__ import annotations

from typing import Any

from gateway.core.registration.messages import SPOKEN

OURS = "00112233445566778899aabbccddeeff"
THEIRS = "ffeeddccbbaa99887766554433221100"
NONCES = f"{OURS}\n{THEIRS}"
TERMS = {
    "model": "trueconf",
    "edition": "free",
    "limits": {"pro": 10, "guest": 1},
    "extensions": ["sdk"],
    "needs_connection": True,
    "not_after": "2027-01-31T23:59:59Z",
}
MAC = "0" * 64
GOOD: dict[str, dict[str, Any]] = {
    "terms": TERMS,
    "register": {
        "protocol": 1,
        "server": "gw-1",
        "serial": "DEMO-1",
        "version": "tallygate/0.1.0",
        "nonce": OURS,
        "ticket": "t0",
    },
    "challenge": {"nonce": THEIRS},
    "proof": {"mac": MAC},
    "registered": {**TERMS, "interval_seconds": 60, "time": "2026-11-21T12:00:00Z", "ticket": "t1", "mac": MAC},
    "refused": {"reason": "in_use", "mac": MAC},
    "verify": {"seq": 1, "used": {"online": 3, "guest": 0}, "mac": MAC},
    "verified": {"seq": 1, "time": "2026-11-21T12:01:00Z", "ticket": "t2", "mac": MAC},
    "revoked": {"reason": "Überzogen", "mac": MAC},
    "request": {"server": "gw-1", "serial": "DEMO-1", "nonce": OURS, "time": "2026-11-21T12:00:00Z"},
    "answer": {
        "model": "trueconf",
        "edition": "server",
        "limits": {},
        "extensions": [],
        "needs_connection": False,
        "not_after": None,
        "server": "gw-1",
        "serial": "DEMO-1",
        "nonce": OURS,
        "issued_at": "2026-11-21T12:00:00Z",
        "mac": MAC,
    },
}
"""One good message of each type, in the order of the protocol's tables."""


def said(type: str, **changes: Any) -> dict[str, Any]:
    """A good message, with changes."""
    kind = {"type": type} if type in SPOKEN else {}
    return {**kind, **GOOD[type], **changes}
