"""What the gateway says, in a line that a person reads (`PROTOCOL.md`, Gateway messages).

A message of a type that is not known here is shown field by field. Nothing that came over the network reaches a
terminal as a control character.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gateway.client_connection import ConnectionEnd
from gateway.core.formats import duration_text

_Message = Mapping[str, Any]


def answer_text(message: _Message) -> str:
    """Return a message as a line of text."""
    write = _WRITE.get(message["type"])
    return printable(write(message) if write is not None else _fields(message))


def end_text(end: ConnectionEnd) -> str:
    """Return how a connection ended, as a line of text."""
    return printable(end.reason)


def printable(text: str) -> str:
    """Return the text with an escape in the place of every character that moves a terminal's cursor, or does worse."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _welcome(message: _Message) -> str:
    again = "welcome back, resumed" if "conferences" in message else "welcome"
    parts = [
        f"{again}: session {message.get('session')}",
        f"model {message.get('model')}",
        f"a heartbeat every {message.get('heartbeat_seconds')} s",
        *([f"in {_listed(message['conferences'])}"] if message.get("conferences") else []),
        *(["asleep"] if message.get("presence") == "asleep" else []),
    ]
    return ", ".join(parts) + _held(message)


def _member(message: _Message) -> str:
    what = ", ".join(str(message[name]) for name in ("mode", "access", "state") if name in message)
    return f"{message['type']} {message.get('conference')} ({what}){_held(message)}"


def _of_conference(message: _Message) -> str:
    why = f": {message['reason']}" if "reason" in message else ""
    return f"{message['type']} {message.get('conference')}{why}{_held(message)}"


def _state(message: _Message) -> str:
    why = f": {message['reason']}" if "reason" in message else ""
    return f"{message['type']}{why}{_held(message)}"


def _granted(message: _Message) -> str:
    return f"granted {message.get('pool')}, {_until(message.get('expires'))}"


def _queued(message: _Message) -> str:
    text = f"queued {message.get('request')}"
    if "conference" in message:
        text += f" {message['conference']}"
    used = f"{_pool(message)} {message.get('used')} of {message.get('limit')}"
    return f"{text}: place {message.get('position')}, {used}, for up to {message.get('wait_seconds')} s"


def _pool(message: _Message) -> str:
    rule = f" rule {message['rule']}" if "rule" in message else ""
    return f"{message.get('pool', 'members')}{rule}"


def _denied(message: _Message) -> str:
    text = f"denied {message.get('request')}"
    if "conference" in message:
        text += f" {message['conference']}"
    text += f": {message.get('reason')}"
    if "limit" in message:
        text += f", {_pool(message)} {message.get('used')} of {message['limit']}"
    return text + _retry(message)


def _closing(message: _Message) -> str:
    back = "" if message.get("reconnect") else ", for good"
    return f"the gateway closes the connection{back}: {message.get('reason')}{_retry(message)}"


def _error(message: _Message) -> str:
    return f"error {message.get('code')}: {message.get('detail')}"


def _fields(message: _Message) -> str:
    rest = {name: value for name, value in message.items() if name not in {"type", "id"}}
    return " ".join([message["type"], *(f"{name}={json.dumps(value)}" for name, value in rest.items())])


def _held(message: _Message) -> str:
    """What the session holds, where the message says so."""
    if "seats" not in message:
        return ""
    text = f"; seats: {_listed(message['seats'])}"
    if "rights" in message:
        text += f"; {len(message['rights'])} rights"
    if message.get("pro_expires"):
        text += f"; PRO {_until(message['pro_expires'])}"
    return text


def _until(time: object) -> str:
    return f"until {time}" if time else "without an end that is known"


def _retry(message: _Message) -> str:
    seconds = message.get("retry_after_seconds")
    if not isinstance(seconds, int | float):
        return ""
    return f"; again after {duration_text(seconds) if seconds >= 60 else f'{seconds:g} s'}"


def _listed(values: object) -> str:
    return (", ".join(map(str, values)) if isinstance(values, list) else str(values)) or "none"


_WRITE: dict[str, Callable[[_Message], str]] = {
    "welcome": _welcome,
    "joined": _member,
    "waiting": _member,
    "started": _of_conference,
    "left": _of_conference,
    "removed": _of_conference,
    "asleep": _state,
    "awake": _state,
    "status": _state,
    "granted": _granted,
    "queued": _queued,
    "denied": _denied,
    "closing": _closing,
    "error": _error,
}
