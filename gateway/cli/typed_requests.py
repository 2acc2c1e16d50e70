"""What a person types to the gateway: a line of short words becomes a message (`PROTOCOL.md`, Client messages).

Words and fields come from `REQUESTS`, so that a message which is added there can be typed, is explained and is
completed. A name with spaces stands in double quotes. A line that begins with `{` is the message itself.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex

from gateway.core.admission.requests import FIELDS, REQUESTS
from gateway.core.wire.json_lines import Message
from gateway.core.wire.messages import Field, RequestFault, checked

SHORT = {"pro": "request_pro", "quit": "bye", "exit": "bye"}
"""Other words for a message."""
BY_ITSELF = frozenset({"hello", "heartbeat"})
"""What the client says without being asked to."""
ACTIVITY = {"active": True, "idle": False}
"""What says with heartbeats whether somebody uses the application."""
HELP_WORDS = frozenset({"help", "?"})
LONGEST_NUMBER = 10
"""Digits of a number that is taken for one: any field that takes numbers has fewer."""
_DOES = {
    "join": "become a member of a conference",
    "start": "make a scheduled conference live, as its host",
    "leave": "end the membership in a conference",
    "sleep": "stay connected without being online",
    "wake": "be online again",
    "request_pro": "ask for a temporary PRO license (also: pro)",
    "bye": "end the session and this program (also: Ctrl-D)",
}


class NotUnderstood(Exception):
    """A line that is no request; its text says why, for a person."""


def request_of(line: str) -> Message:
    """Return the message that a line stands for.

    Raises `NotUnderstood`; a message in JSON is only asked to be an object with a `type`, so that the gateway's own
    answer to a wrong one can be seen.
    """
    if line.lstrip().startswith("{"):
        return _written_out(line)
    verb, *words = _words(line)
    type = SHORT.get(verb.lower(), verb.lower())
    message: Message = {"type": type}
    if type in ACTIVITY:
        message = {"type": "heartbeat", "active": ACTIVITY[type]}
        type = "heartbeat"
    elif type not in REQUESTS or type in BY_ITSELF:
        raise NotUnderstood(_unknown(verb, type))
    for word in words:
        name, value = _field(type, message, word)
        if name in message:
            raise NotUnderstood(f"{name} was said before {word!r}: {usage(type)}")
        message[name] = value
    try:
        checked(message, FIELDS)
    except RequestFault as fault:
        raise NotUnderstood(f"{fault.detail}: {usage(type)}") from None
    return message


def usage(type: str) -> str:
    """Return how a message is typed: its word, and a word for each field; those in brackets may be left out."""
    return " ".join([type, *(_shape(name, field) for name, field in REQUESTS[type].fields.items())])


def help_text() -> str:
    """Return all that can be typed, a line each."""
    rows = [(usage(type), _DOES.get(type, "")) for type in REQUESTS if type not in BY_ITSELF]
    rows += [
        ("active [wait=WAIT]", "say with heartbeats that somebody uses this, which wakes it"),
        ("idle", "say with heartbeats that nobody uses this"),
    ]
    rows += [("help", "show this"), ('{"type": ...}', "a message as it stands in PROTOCOL.md")]
    return "\n".join(f"  {shape}\n    {does}" if len(shape) > 24 else f"  {shape:24}  {does}" for shape, does in rows)


def completions(line: str, conferences: frozenset[str]) -> list[str]:
    """Return what the last word of a line may become; `conferences` are those that the session is in."""
    *before, word = re.split(r"\s+", line.lstrip())
    if not before:
        verbs = [type for type in REQUESTS if type not in BY_ITSELF]
        return sorted(each for each in (*verbs, *SHORT, *ACTIVITY, "help") if each.startswith(word))
    type = SHORT.get(before[0], before[0])
    fields = REQUESTS[type].fields if type in REQUESTS and type not in BY_ITSELF else {}
    named = {f'"{each}"' if " " in each else each for each in conferences}
    found: set[str] = named if len(before) == 1 and "conference" in fields else set()
    for name, field in fields.items():
        if not field.required:
            found |= {name} if field.default is False else set(_choices(field)) or {f"{name}="}
    return sorted(each for each in found if each.startswith(word))


def _words(line: str) -> list[str]:
    """The words of a line; what stands in double quotes is one, whatever is in it, and nothing else is special."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=False)
    reader.whitespace_split, reader.commenters, reader.quotes, reader.escape = True, "", '"', ""
    try:
        return list(reader)
    except ValueError:
        raise NotUnderstood("a double quote is open: a name with spaces stands between two of them") from None


def _written_out(line: str) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise NotUnderstood(f"this is not JSON: {fault}") from None
    if not isinstance(message.get("type"), str):
        raise NotUnderstood('a message has a "type", such as {"type":"join","conference":"weekly"}')
    try:
        text = json.dumps(message, allow_nan=False)
        text.encode()
    except UnicodeEncodeError as fault:
        raise NotUnderstood(f"this cannot be sent: {fault}") from None
    except ValueError:
        raise NotUnderstood("this cannot be sent: a number of JSON is finite") from None
    return dict(message)


def _unknown(verb: str, type: str) -> str:
    if type in BY_ITSELF:
        return f"{type} is said without being asked for; `help` shows what can be typed"
    known = [each for each in (*REQUESTS, *SHORT, *ACTIVITY, *HELP_WORDS) if each not in BY_ITSELF]
    near = difflib.get_close_matches(type, known, n=1)
    return f"{verb!r} is no request" + (f" (did you mean {near[0]}?)" if near else "") + "; `help` shows what there is"


def _field(type: str, message: Message, word: str) -> tuple[str, object]:
    """Return the field that a word sets, and its value."""
    fields = REQUESTS[type].fields
    name, equals, text = word.partition("=")
    if equals and name in fields:
        flags = {"true": True, "false": False}
        if fields[name].default is False:
            return name, flags.get(text, text)
        number = text.isdecimal() and text.isascii() and not fields[name].accepts(text)
        return name, int(text) if number and len(text) < LONGEST_NUMBER else text
    missing = [each for each, field in fields.items() if field.required and each not in message]
    if missing:
        return missing[0], word
    for each, field in fields.items():
        if word == each and field.default is False:
            return each, True
        if word in _choices(field):
            return each, word
    raise NotUnderstood(f"{word!r} is not expected here: {usage(type)}")


def _shape(name: str, field: Field) -> str:
    if field.required:
        return name.upper()
    if field.default is False:
        return f"[{name}]"
    return f"[{'|'.join(_choices(field)) or f'{name}={name.upper()}'}]"


def _choices(field: Field) -> list[str]:
    """Return the words of which a field has one; none where it takes others too."""
    return [word for word in re.findall(r'"(\w+)"', field.expected) if field.accepts(word)]
