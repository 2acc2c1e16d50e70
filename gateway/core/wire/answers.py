"""What the gateway says to a client: one typed dict for each message (`PROTOCOL.md`, Gateway messages).

`Answer` is any of them; `type` tells which. A client that talks to a newer gateway may hear other types and other
fields: it ignores them.
"""

from __future__ import annotations

import math
from typing import Literal, NotRequired, TypedDict


class Entitlements(TypedDict):
    """What a session holds. `rights` and `pro_expires` (RFC 3339, UTC) are present only under TrueConf."""

    seats: list[str]
    rights: NotRequired[list[str]]
    pro_expires: NotRequired[str | None]


class _Message(TypedDict):
    id: NotRequired[str | int]


class Welcome(Entitlements, _Message):
    """Answers `hello`: the session that began, or goes on. Times are in seconds.

    `conferences` and `presence` are present only after a resume, `reason` where the gateway put it to sleep since.
    """

    type: Literal["welcome"]
    session: str
    resume: str
    heartbeat_seconds: float
    timeout_seconds: float
    model: str
    conferences: NotRequired[list[str]]
    presence: NotRequired[Literal["awake", "asleep"]]
    reason: NotRequired[str]


class Ack(_Message):
    """Answers a heartbeat; `seq` repeats that of the heartbeat, if it had one."""

    type: Literal["ack"]
    seq: NotRequired[int]


class _Membership(Entitlements, _Message):
    conference: str
    access: Literal["internal", "public"]
    mode: Literal["group", "call"]


class Joined(_Membership):
    """The session takes part in a live conference."""

    type: Literal["joined"]
    state: Literal["live"]


class Waiting(_Membership):
    """The session waits in a scheduled conference."""

    type: Literal["waiting"]
    state: Literal["scheduled"]


class Started(Entitlements, _Message):
    """The conference is live."""

    type: Literal["started"]
    conference: str


class Left(Entitlements, _Message):
    """The session is no longer a member of the conference."""

    type: Literal["left"]
    conference: str


class Asleep(_Message):
    """The session is connected, and not online; `reason` is present where the gateway put it to sleep."""

    type: Literal["asleep"]
    seats: list[str]
    reason: NotRequired[str]


class Awake(_Message):
    """The session is online again."""

    type: Literal["awake"]
    seats: list[str]


class Granted(_Message):
    """The account holds a PRO license; `expires` is RFC 3339 in UTC, None for no end that is known."""

    type: Literal["granted"]
    pool: str
    expires: str | None


class Status(Entitlements):
    """The PRO license of the account has changed; the gateway sends it unasked. `reason` is present where it went to
    somebody of a higher priority.
    """

    type: Literal["status"]
    reason: NotRequired[str]


class QueuedAnswer(_Message):
    """A request waits in line for a seat of `pool`; `position` 1 is served next. Sent again as the position changes.

    `heartbeat_seconds` and `timeout_seconds` are present in the first answer to a `hello`.
    """

    type: Literal["queued"]
    request: str
    conference: NotRequired[str]
    pool: str
    position: int
    rule: NotRequired[str]
    used: int
    limit: int
    wait_seconds: int
    heartbeat_seconds: NotRequired[float]
    timeout_seconds: NotRequired[float]


class DeniedAnswer(_Message):
    """A request is refused by a limit or a rule.

    `pool` is present with the reason `pool_full`, `rule` where a rule for its seats has no room, `used` and `limit`
    where a limit was reached, `waited_seconds` where it waited in line for so long.
    """

    type: Literal["denied"]
    request: str
    reason: str
    conference: NotRequired[str]
    pool: NotRequired[str]
    rule: NotRequired[str]
    used: NotRequired[int]
    limit: NotRequired[int]
    retry_after_seconds: NotRequired[int]
    waited_seconds: NotRequired[int]


class Removed(Entitlements):
    """The session was taken out of a conference; the gateway sends it unasked."""

    type: Literal["removed"]
    conference: str
    reason: str


class Closing(TypedDict):
    """The last message before the gateway closes: the cause, the close code, and whether to come back."""

    type: Literal["closing"]
    reason: str
    code: int
    reconnect: bool
    retry_after_seconds: NotRequired[float]


class ErrorAnswer(_Message):
    """A message could not be acted upon: a word for a program, and what is wrong for a programmer."""

    type: Literal["error"]
    code: str
    detail: str


Answer = (
    Welcome
    | Ack
    | Joined
    | Waiting
    | Started
    | Left
    | Asleep
    | Awake
    | Granted
    | Status
    | QueuedAnswer
    | DeniedAnswer
    | Removed
    | Closing
    | ErrorAnswer
)
"""Any message of the gateway."""


def seconds(value: object) -> float | None:
    """Return the seconds that a field of a message states; None where that is no length of time.

    A gateway states none such, but what is heard over a network need not be one.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if value >= 0 and math.isfinite(value) else None
    except OverflowError:  # a whole number that no float can hold
        return None
