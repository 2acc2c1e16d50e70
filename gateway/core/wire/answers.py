"""What the gateway says to a client: one typed dict for each message (`PROTOCOL.md`, Gateway messages).

`Answer` is any of them; `type` tells which. A client that talks to a newer gateway may hear other types and other
fields: it leaves them alone.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Entitlements(TypedDict):
    """What a session holds. `rights` and `pro_expires` (RFC 3339, UTC) are there under TrueConf only."""

    seats: list[str]
    rights: NotRequired[list[str]]
    pro_expires: NotRequired[str | None]


class _Message(TypedDict):
    id: NotRequired[str | int]


class Welcome(Entitlements, _Message):
    """There is a session; `conferences` is there after a resume only. Times are in seconds."""

    type: Literal["welcome"]
    session: str
    resume: str
    heartbeat_seconds: float
    timeout_seconds: float
    model: str
    conferences: NotRequired[list[str]]


class Ack(_Message):
    """A heartbeat was heard; `seq` is that of the heartbeat, if it had one."""

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
    """The session is a member of the conference no more."""

    type: Literal["left"]
    conference: str


class Asleep(_Message):
    """The session is connected, and not online."""

    type: Literal["asleep"]
    seats: list[str]


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
    """The PRO license of the account has changed; it comes unasked."""

    type: Literal["status"]


class DeniedAnswer(_Message):
    """A request is refused by a limit or a rule. `pool` is there with `pool_full`, `used` and `limit` with a limit."""

    type: Literal["denied"]
    request: str
    reason: str
    conference: NotRequired[str]
    pool: NotRequired[str]
    used: NotRequired[int]
    limit: NotRequired[int]
    retry_after_seconds: NotRequired[int]


class Removed(Entitlements):
    """The session was taken out of a conference; it comes unasked."""

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
    | DeniedAnswer
    | Removed
    | Closing
    | ErrorAnswer
)
"""Any message of the gateway."""
