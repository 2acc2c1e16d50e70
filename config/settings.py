"""The settings: one frozen dataclass for each section of the configuration.

A field is a key of the section, or of none in `Settings`, and has the same name; its annotation is the kind of its
value (`config.values`, `gateway.core.setting_kinds`). `setting` gives its default, what the default file says of it,
and whether a running gateway takes a change of it over. Nothing else has to know of a key; rules between keys are in
`config.rules`. Pure: no file is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from config.operator_settings import OperatorSettings
from config.record_settings import AuditSettings, DenialSettings, EventSettings, HistorySettings
from config.registration_settings import RegistrarSettings, RegistrationSettings
from config.seat_rules import RULES_HELP, Rules
from config.token_settings import JWT_HELP, Issuers
from config.values import (
    Choice,
    FilePath,
    Home,
    HomeOrNone,
    Host,
    Member,
    Network,
    Origin,
    Path,
    Peer,
    Port,
)
from config.webhook_settings import WEBHOOKS_HELP, WebhookTables
from gateway.core.setting_kinds import Count, Duration, Positive, PositiveSeconds, Range, Seconds, setting
from gateway.licensing import MODELS

OTHER_FILES = 40
"""File descriptors that the process needs beside connections: the store, a backup, registration, listening sockets, and
operators' sockets that are just being turned away."""

Model = Annotated[str, Choice(tuple(MODELS))]


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Settings of `[listen]`: the doors, and what protects them."""

    host: Host = setting(
        "127.0.0.1",
        help="Address of the client doors. One that is not loopback needs proven accounts "
        '(`accounts.mode` not "open") or `accounts.trust_claims = true`.',
    )
    tcp: Port = setting(4307, help="Port of the TCP door; 0 picks a free one, here and for every port.")
    websocket: Port = setting(4308, help="Port of the WebSocket door, path `/ws`.")
    operator_host: Host = setting(
        "127.0.0.1", help="Address of the operator port. One that is not loopback needs operator tokens."
    )
    operator: Port = setting(4311, help="Port for operators: metrics, health, the API and the page.")
    operator_require_token: bool = setting(
        False,
        help="Whether programs of this machine need an operator token too. Set it where a reverse proxy on this "
        "machine leads others to the operator port: one that adds no forwarding header looks like a program of this "
        "machine.",
    )
    operator_token_file: FilePath = setting(
        "",
        live=True,
        help="File with a token of scope admin, at least 32 characters, that is good beside those in the store, for a "
        "first start without any. It is kept nowhere else, and is read at the start and with the configuration.",
    )
    operator_tls_certificate: FilePath = setting(
        "",
        live=True,
        help="File with the certificate chain of the operator port (PEM). Certificate and key switch TLS on, together.",
    )
    operator_tls_key: FilePath = setting(
        "", live=True, help="File with the private key of that certificate (PEM, without a passphrase)."
    )
    operator_max_connections: Positive = setting(
        24,
        help="Operators' connections at once. One more takes the place of one that waits for its next request, or is "
        "refused. Their files are reserved beside those of the clients. Half of them may be open pages.",
    )
    operator_backlog: Positive = setting(
        8, help="Operators' connections that wait in the kernel to be accepted, and that are accepted at once."
    )
    operator_idle_timeout: PositiveSeconds = setting(
        15.0,
        help="Time for which an operator's connection is kept while no request is under way, from its accept on.",
    )
    operator_write_timeout: PositiveSeconds = setting(
        30.0,
        help="Time in which an operator must take what waits for it; a connection that is not read for longer is cut "
        "off.",
    )
    reuse_port: bool = setting(
        False,
        help="Whether other processes may listen on the same client ports; the kernel then spreads the connections.",
    )
    tls_certificate: FilePath = setting(
        "",
        live=True,
        help="File with the certificate chain of the client doors (PEM). Certificate and key switch TLS on, together.",
    )
    tls_key: FilePath = setting(
        "", live=True, help="File with the private key of the certificate (PEM, without a passphrase)."
    )
    max_connections: Positive | None = setting(
        None,
        live=True,
        help="Client connections at once; more are refused, `too_many_connections`. Default: the file limit less 64, "
        "of which operators have 24.",
    )
    max_connections_per_address: Count = setting(
        0,
        live=True,
        help="Client connections at once from one address, 0 for no limit. Many users may share one address.",
    )
    ipv6_prefix: Annotated[int, Range(1, 128)] = setting(
        64,
        help="Bits of an IPv6 address by which limits of an address tell peers apart: one machine has a network of "
        "addresses. For connections, those without hello, and bad tokens at the operator port.",
    )
    max_pending: Positive = setting(
        1024,
        live=True,
        help="Connections at once, at each door, that have not yet said who they are; never more than a quarter of all "
        "that there may be. One address may have as many of them as there are places left for others.",
    )
    accept_rate: Count = setting(2000, live=True, help="Connections accepted per second, 0 for no limit.")
    message_rate: Count = setting(
        10, live=True, help="Messages per second that one connection may go on sending, 0 for no limit."
    )
    message_burst: Positive = setting(
        50, live=True, help="Messages that one connection may send at once before the rate applies."
    )
    outbound_limit: Annotated[int, Range(1024)] = setting(
        65536, help="Bytes waiting for a client that does not read; above it the connection is cut."
    )
    allowed_origins: tuple[Origin, ...] = setting(
        (),
        live=True,
        help='Origins whose pages may open a WebSocket, such as "https://example.org", or "capacitor://localhost" of a '
        'packaged application; ["*"] for any. Without an entry: pages of the same host only, which a browser on this '
        "machine must have reached by a local name.",
    )
    proxy_protocol_from: tuple[Network, ...] = setting(
        (),
        live=True,
        help="Networks of proxies that must send a PROXY protocol header (version 1 or 2), which then names the "
        "client.",
    )
    transport: Literal["epoll", "asyncio"] = setting(
        "epoll",
        help="What serves sockets without TLS: `epoll`, the gateway's own code, which costs less; or `asyncio`, the "
        "event loop, which serves those with TLS in any case, and all of them where the system has no epoll.",
    )
    drain: Seconds = setting(
        10.0, help="Time over which clients are sent away at the stop, so that they do not all come back at once."
    )

    @property
    def spare_files(self) -> int:
        """File descriptors that are kept free of client connections."""
        return OTHER_FILES + self.operator_max_connections

    def ceiling(self, files: int) -> int:
        """Client connections that a process with `files` file descriptors can hold; 0 if it has none to spare."""
        room = max(0, files - self.spare_files)
        return room if self.max_connections is None else min(self.max_connections, room)


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """Settings of `[heartbeat]`: how long a connection may be silent."""

    interval: PositiveSeconds = setting(30.0, help="Time between two heartbeats of a client, as the gateway tells it.")
    timeout: PositiveSeconds = setting(
        75.0, help="Silence after which a connection is taken for lost; must exceed the interval."
    )
    hello_deadline: PositiveSeconds = setting(
        5.0, live=True, help="Time from accepting a connection to its complete first message."
    )
    asleep_timeout: PositiveSeconds = setting(
        1800.0, help="Silence allowed to a session that said it sleeps; never less than `heartbeat.timeout`."
    )
    resume_window: Seconds = setting(
        0.0,
        live=True,
        help="How long after an abrupt loss a session may be resumed; it keeps its seats that long. Resuming while "
        "the old connection is still open always works.",
    )


def _terms() -> Mapping[str, Any]:
    return {name: model.terms() for name, model in MODELS.items()}


@dataclass(frozen=True, slots=True)
class LicenseSettings:
    """Settings of `[license]`: the license model that decides, and those that watch.

    `terms` maps the name of each model to its own settings, the section `[license.<model>]`.
    """

    model: Model = setting("epop", help="The license model that decides who is admitted.")
    shadow: Literal["all"] | tuple[Model, ...] = setting(
        "all", help='Models that count the same traffic without deciding anything: "all", or a list of names.'
    )
    enforce: bool = setting(
        True,
        help="Whether the model refuses anybody. If not, all are admitted, and what would have been refused is "
        "counted.",
    )
    overdraft: Count = setting(
        0, live=True, help="Seats granted above each limit of the enforced model, reported apart."
    )
    shadow_leases: Positive = setting(
        10_000,
        live=True,
        help="Seats of each pool that a model in shadow, or one that is not enforced, keeps for accounts and devices "
        "that are not connected; beyond, the one that has been idle longest is forgotten.",
    )
    on_duplicate: Literal["takeover", "reject", "allow"] = setting(
        "takeover",
        help="A second connection of the same account and device replaces the first, is refused, or is let in "
        "beside it.",
    )
    queue_limit: Count = setting(
        1000, live=True, help="Requests that may wait in one line for a seat; 0: nobody may wait."
    )
    queue_order: Literal["arrival", "priority"] = setting(
        "arrival",
        live=True,
        help="Whether who came first is served first, or, to be welcomed, accounts of groups with a higher priority "
        "before others.",
    )
    idle_timeout: Seconds = setting(
        0.0,
        live=True,
        help="How long a client outside live conferences may say with its heartbeats that nobody uses it, until it is "
        "put to sleep and gives up the seats that sleepers do not hold; 0s: for ever.",
    )
    preempt: bool = setting(
        False,
        live=True,
        help="Whether an account of a group with a higher priority that finds a pool full takes the seat of one that "
        "is connected and idle.",
    )
    returning: Seconds = setting(
        0.0,
        live=True,
        help="How long seats are kept for those who held them, after a crash, a restart or the end of a gateway of a "
        "cluster; 0s: not.",
    )
    rule: Rules = setting((), live=True, help=RULES_HELP)
    terms: Mapping[str, Any] = field(default_factory=_terms, hash=False)

    @property
    def shadows(self) -> tuple[str, ...]:
        """The models that count in shadow, in the order of the models; never the enforced one."""
        return tuple(name for name in MODELS if name != self.model and (self.shadow == "all" or name in self.shadow))


@dataclass(frozen=True, slots=True)
class ConferenceSettings:
    """Settings of `[conferences]`: who may make a conference, and be in how many."""

    declared_only: bool = setting(
        False, live=True, help="Whether only conferences that the operator port declared may be joined."
    )
    max_per_session: Positive = setting(
        100, live=True, help="Conferences that one session may be a member of, or wait in, at once."
    )


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """Settings of `[accounts]`: what is believed of an account."""

    mode: Literal["open", "token", "jwt"] = setting(
        "open",
        help='Whether a client may name any account ("open"), or must prove it: with a token of this gateway '
        '("token"), or with one that an issuer has signed ("jwt").',
    )
    jwt: Issuers = setting((), live=True, help=JWT_HELP)
    trust_claims: bool = setting(
        False, help="Whether unproven accounts are accepted on client doors that are not loopback."
    )
    home: HomeOrNone = setting(
        "",
        help="Name of this server, the home of its accounts; without case. An account with another home is a visitor.",
    )


@dataclass(frozen=True, slots=True)
class FederationSettings:
    """Settings of `[federation]`: other servers."""

    homes: tuple[Home, ...] = setting(
        (), live=True, help="Homes whose accounts may visit, without case; all others are refused."
    )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Settings of `[store]`: what outlives the process."""

    path: Path = setting("tallygate.db", help="The SQLite file; a relative path starts at the working directory.")
    deadline: PositiveSeconds = setting(
        5.0, help="Time for a commit; a decision not on disk by then is undone and answered `store_unavailable`."
    )


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Settings of `[cluster]`: several gateways that count as one."""

    etcd: tuple[Member, ...] = setting(
        (),
        help="The members of an etcd that holds the log of all gateways; three, dedicated to it. Empty: no cluster.",
    )
    prefix: HomeOrNone = setting("tallygate", help="What the key of the log begins with, the same on all gateways.")
    name: HomeOrNone = setting("", help="Name of this gateway in the cluster; each has its own, and keeps it.")
    secret_file: FilePath = setting(
        "",
        help="File with a secret of 32 characters or more, the same on all gateways, by which they make resume tokens.",
    )
    patience: Annotated[float, Duration(low=10.0, high=3600.0)] = setting(
        30.0,
        help="How long the seats of a gateway that is not heard any more stay taken; the same on all gateways. 5 s "
        "earlier a gateway that cannot reach etcd sends its clients away.",
    )
    share: Positive = setting(
        2000, help="Commands per second that this gateway asks the cluster to decide; more are `rate_limited`."
    )
    role: Literal["active", "standby"] = setting(
        "active",
        live=True,
        help='Whether this gateway serves clients, or only follows and waits ("standby"). A standby is made active '
        "while it runs; the other way needs a restart.",
    )
    peers: tuple[Peer, ...] = setting(
        (),
        help="Operator ports of the other gateways, from which one that is too far behind takes the newest file.",
    )
    peer_token_file: FilePath = setting(
        "", help="File with a token of scope admin by which the operator ports of peers know this gateway."
    )
    tls_ca: FilePath = setting("", help="File with the certificate authority of etcd's members, and of peers (PEM).")
    tls_certificate: FilePath = setting("", help="File with the certificate by which etcd knows this gateway (PEM).")
    tls_key: FilePath = setting("", help="File with the private key of that certificate (PEM).")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Settings of `[metrics]`: what Prometheus sees."""

    high_water_window: PositiveSeconds = setting(
        180.0,
        help="Time over which the highest use is reported; more than two scrape intervals, so that no peak is missed.",
    )
    public: bool = setting(False, help="Whether `/metrics` needs no operator token where the operator port needs one.")


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration of a gateway; `Settings()` is the default, a gateway for ten e/pop users."""

    listen: ListenSettings = field(default_factory=ListenSettings)
    operator: OperatorSettings = field(default_factory=OperatorSettings)
    heartbeat: HeartbeatSettings = field(default_factory=HeartbeatSettings)
    license: LicenseSettings = field(default_factory=LicenseSettings)
    conferences: ConferenceSettings = field(default_factory=ConferenceSettings)
    accounts: AccountSettings = field(default_factory=AccountSettings)
    federation: FederationSettings = field(default_factory=FederationSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    registrar: RegistrarSettings = field(default_factory=RegistrarSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    denials: DenialSettings = field(default_factory=DenialSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    events: EventSettings = field(default_factory=EventSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    webhook: WebhookTables = setting((), live=True, help=WEBHOOKS_HELP)
