"""What a session is, and the words everybody shares.

Facts are what a client has said about itself (or what its connection shows). License models read facts and nothing
else; they never see sockets, clocks or counters.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

CLIENTS = frozenset({"app", "browser", "room", "videobar", "kiosk", "tv", "sdk"})
"""Kinds of client applications."""
ENDPOINTS = frozenset({"sip", "h323", "rtsp"})
"""Kinds of gateway endpoints."""
VISITORS = frozenset({"welcome", "console"})
"""Kinds that hold a connection and never take a seat (e/pop: welcome page and admin console do not count)."""
KINDS = CLIENTS | ENDPOINTS | VISITORS

ABRUPT = frozenset({"closed", "reset", "heartbeat_timeout", "slow_consumer"})
"""Causes by which a connection is lost without anybody having ended the session."""


Role = Literal["user", "guest", "federated", "endpoint", "visitor"]
"""What a session is to the rules: a client application of an account of this server, of none, or of an account of
another server; one that came over the SIP, H.323 or RTSP gateway; one that only looks on, may not join and takes no
seat in any model."""


Identity = str | tuple[str, str]
"""Who somebody is: an account of this server by its name, one of another server by its name and its home. Two texts
joined could be those of somebody else, whose name has the sign between them."""
Key = str | int | tuple[Identity, str | int]
"""What is counted once: a session's number, an identity, (identity, device), (conference, session) or an address."""
Person = tuple[str, str, str, str]
"""To whom use is charged: account, home, device, and the address of one who has neither account nor device; empty texts
where there is none."""
Seat = tuple[str, Key]
"""A (pool, key) pair."""


def identity(account: str, home: str) -> Identity:
    """Return who an account is; `home` is empty for those of this server."""
    return (account, home) if home else account


def account_and_home(identity: Key) -> tuple[str, str]:
    """Return the account and the home of an identity; the home is empty for those of this server."""
    if isinstance(identity, tuple):
        return str(identity[0]), str(identity[1])
    return str(identity), ""


class Instant(NamedTuple):
    """An instant: `mono` in monotonic seconds (heartbeats, counting), `wall` in seconds UTC (leases)."""

    mono: float
    wall: float


class Session:
    """What a client has said about itself since its `hello`, and what it holds.

    `home` is empty for accounts of this server. `address` is the client's IP address at `hello`, a fact like the
    others; `peer_address` is that of its present connection, which a resume may change; `generation` is how often it
    was resumed; `node` is the gateway of a cluster to which it is connected. `proven_by` is the fingerprint of the
    token that proved its account, empty where none did. `groups` are those that the token of an issuer named, beside
    those of the directory. `seats` has one entry per license model, in the order of the
    ledgers.

    `active` is what its client said last of whether somebody uses it, None before it said anything of that; after that,
    `free_since` is the monotonic instant since which it is awake and takes part in nothing, None while it is otherwise.
    `rest` is why the gateway put it to sleep when it slept last, empty where its client said `sleep`.

    What follows from the facts is asked at every step, so it is worked out once: `identity` is who it is (None for
    guests), `device_key` the installation of a client (None for one that did not name itself within an account), `role`
    says what it is to the rules, and `person` to whom its use is charged.
    """

    __slots__ = (
        "account",
        "active",
        "address",
        "awake",
        "client",
        "conferences",
        "device",
        "device_key",
        "free_since",
        "generation",
        "groups",
        "home",
        "identity",
        "kind",
        "node",
        "number",
        "peer_address",
        "person",
        "proven_by",
        "rest",
        "role",
        "seats",
        "since",
        "transport",
    )

    def __init__(
        self,
        number: int,
        *,
        kind: str = "app",
        account: str | None = None,
        device: str | None = None,
        home: str = "",
        client: str = "",
        address: str = "",
        transport: str = "tcp",
        since: float = 0.0,
    ) -> None:
        self.number = number
        self.kind = kind
        self.account = account
        self.device = device
        self.home = home
        self.client = client
        self.address = self.peer_address = address
        self.transport = transport
        self.proven_by = ""
        self.groups: tuple[str, ...] = ()
        self.since = since
        self.awake = True
        self.active: bool | None = None
        self.free_since: float | None = None
        self.rest = ""
        self.generation = 0
        self.node = ""
        self.conferences: tuple[Conference, ...] = ()
        self.seats: tuple[tuple[Seat, ...], ...] = ()
        self.identity = who = (account, home) if account and home else account
        self.device_key = (who, device) if who and device else None
        self.role = _role(kind, account, home)
        where = "" if account or device else address
        self.person: Person = (account or "", home if account else "", device or "", where)

    def hold(self, index: int, seats: tuple[Seat, ...]) -> None:
        """Hold these seats, and no others, in the model of that index."""
        self.seats = (*self.seats[:index], seats, *self.seats[index + 1 :])

    @property
    def takes_part(self) -> bool:
        """Whether it is a member of at least one live conference."""
        for conference in self.conferences:  # noqa: SIM110 - asked at every step, and a generator costs more than this
            if conference.live:
                return True
        return False


def _role(kind: str, account: str | None, home: str) -> Role:
    if kind in VISITORS:
        return "visitor"
    if kind in ENDPOINTS:
        return "endpoint"
    if account is None:
        return "guest"
    return "federated" if home else "user"


class Conference:
    """A meeting. Members wait while it is scheduled and take part when it is live.

    A `group` conference is no call: a call has two parties. `number` tells it from others of its name. `members` maps
    each member to whether it joined as host, in order of arrival; `hosted` says that one did. `implied_host` is the
    first member with an account, taken for the host by a shadow model where nobody declared to be one; when it has
    left, or somebody declares to be the host, there is none any more (`had_implied_host`). `released_hosts` are members
    whose host's name was taken away while they hosted.
    """

    __slots__ = (
        "access",
        "group",
        "had_implied_host",
        "hosted",
        "id",
        "implied_host",
        "live",
        "members",
        "mode",
        "number",
        "released_hosts",
        "server",
        "since",
    )

    def __init__(
        self, id: str, *, access: str = "internal", mode: str = "group", live: bool = True, server: str = ""
    ) -> None:
        self.id = id
        self.access = access
        self.mode = mode
        self.group = mode == "group"
        self.server = server
        self.live = live
        self.since = 0.0
        self.number = 0
        self.members: dict[Session, bool] = {}
        self.hosted = False
        self.implied_host: Session | None = None
        self.had_implied_host = False
        self.released_hosts: dict[Session, None] = {}

    @property
    def has_no_host(self) -> bool:
        """Whether nobody has been its host so far, declared or taken for one."""
        return not self.hosted and not self.had_implied_host

    @property
    def state(self) -> str:
        """`live` or `scheduled`."""
        return "live" if self.live else "scheduled"
