"""JSON lines: bytes in, objects out, or one documented fault.

The same rules hold for a line on TCP and for a text message on WebSocket: one JSON object of at most `LIMIT` bytes,
UTF-8, no duplicate keys, no NaN or Infinity, no nesting deeper than `DEPTH`, no lone surrogates, no byte order mark.
How the bytes were cut on the way makes no difference to what comes out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

Message = dict[str, Any]
"""A message as it stands on the wire, before it is text or after it was."""

LIMIT = 4096
"""Longest message, in bytes, without its line end."""
DEPTH = 8
"""Deepest nesting of objects and arrays."""

HEARTBEAT = b'{"type":"heartbeat"}'
ACK = b'{"type":"ack"}'

_SPACE = " \t\n\r"
_STRINGS = re.compile(r'"(?:[^"\\]+|\\.)*"?', re.DOTALL)  # an unfinished one too: else it is searched from each quote


class Malformed(ValueError):
    """The bytes are not one message; the text says why, for a programmer."""


class TooLong(ValueError):
    """A message of more than `LIMIT` bytes."""


def split(tail: bytes, data: bytes) -> tuple[list[bytes], bytes]:
    """Cut what has arrived into whole lines and the beginning of the next.

    Lines come without their `\\n` or `\\r\\n`. An overlong line is returned as it is: `parse` refuses it, after the
    lines before it. So is an overlong beginning, as `overlong` tells.
    """
    lines = (tail + data).split(b"\n")
    rest = lines.pop()
    return [line[:-1] if line.endswith(b"\r") else line for line in lines], rest


def overlong(tail: bytes) -> bool:
    """Return whether the beginning of a line can no longer become a message."""
    return len(tail) > LIMIT + tail.endswith(b"\r")


def parse(line: bytes) -> dict[str, Any]:
    """Read one message.

    Raises `TooLong` or `Malformed`.
    """
    if len(line) > LIMIT:
        raise TooLong(f"a message has at most {LIMIT} bytes")
    try:
        text = line.decode()
    except UnicodeDecodeError as fault:
        raise Malformed(f"not UTF-8 at byte {fault.start}") from None
    if text.count("{") + text.count("[") > DEPTH and _depth(text) > DEPTH:
        raise Malformed(f"nested deeper than {DEPTH}")
    try:
        text = text.strip(_SPACE)
        message, end = _DECODER.raw_decode(text)
        if isinstance(message, dict) and len(message) != text.count(":"):  # or else no key can stand in it twice
            message, end = _STRICT_DECODER.raw_decode(text)
        if end != len(text):
            raise Malformed(f"not JSON: more than one value, at character {end}")
        if "\\u" in text:
            json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Malformed("a lone surrogate is not a character") from None
    except json.JSONDecodeError as fault:
        raise Malformed(f"not JSON: {fault.msg} at character {fault.pos}") from None
    if not isinstance(message, dict):
        raise Malformed("a message is a JSON object")
    return message


def encode(message: dict[str, Any]) -> bytes:
    """Write one message, compact, without a line end; in UTF-8, where a name of any script is at most 512 bytes."""
    return "".join(_encode(message, 0)).encode()


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in _STRINGS.sub("", text):
        if character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    message = dict(pairs)
    if len(message) != len(pairs):
        raise Malformed("a key stands twice in one object")
    return message


def _constant(name: str) -> float:
    raise Malformed(f"{name} is not a JSON number")


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Malformed(f"{digits} is too large a number")
    return number


_DECODER = json.JSONDecoder(parse_constant=_constant, parse_float=_float)
_STRICT_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
"""Finds keys that stand twice in one object; it takes half as long again."""


def _encoder() -> Callable[[Any, int], Iterable[str]]:
    """Return what `json.JSONEncoder` makes for each message, made once; it is undocumented, and may be missing."""
    encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False, ensure_ascii=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda message, _: encoder.iterencode(message)
    escape = json.encoder.encode_basestring
    encode: Callable[[Any, int], Iterable[str]]
    encode = make(None, encoder.default, escape, None, ":", ",", False, False, False)
    return encode


_encode = _encoder()
