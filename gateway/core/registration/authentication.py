"""What proves that a message of the registration check is genuine.

Both sides share a secret key of 32 bytes. Every message that matters carries `mac`, an HMAC-SHA256 over its canonical
JSON and the two nonces of the conversation: nothing that was said in another conversation, to another installation or
before, is worth anything in this one (PROTOCOL.md, Authentication). Nonces and tickets are drawn by the caller.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from gateway.core.formats import is_hex
from gateway.core.wire.json_lines import Message

KEY_BYTES = 32


def key_of(text: str) -> bytes:
    """The key that 64 hex digits write.

    Raises `ValueError`.
    """
    if not is_hex(text, 2 * KEY_BYTES):
        raise ValueError(f"a key is {2 * KEY_BYTES} hex digits")
    return bytes.fromhex(text)


def canonical(message: Mapping[str, Any]) -> str:
    """The text of a message that is authenticated: all but `mac`, keys sorted, no spaces, UTF-8 as it is."""
    rest = {name: value for name, value in message.items() if name != "mac"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def mac(key: bytes, *words: str) -> str:
    """The authentication code of words, one on each line."""
    return hmac.new(key, "\n".join(words).encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def proof(key: bytes, register: Mapping[str, Any], nonce: str) -> str:
    """What proves to the registrar that drew `nonce` that a `register` was sent by who has the key."""
    return mac(key, "agent", canonical(register), nonce)


def sealed(key: bytes, nonces: str, message: Mapping[str, Any]) -> Message:
    """A message with its code, good in the conversation of these nonces only."""
    return {**message, "mac": mac(key, message["type"], nonces, canonical(message))}


def genuine(key: bytes, nonces: str, message: Mapping[str, Any]) -> bool:
    """Whether a message of this conversation carries its code."""
    return same(mac(key, message["type"], nonces, canonical(message)), message.get("mac"))


def same(expected: str, told: object) -> bool:
    """Whether a code is the expected one; how long it takes tells nothing."""
    return isinstance(told, str) and hmac.compare_digest(expected.encode(), told.encode(errors="replace"))
