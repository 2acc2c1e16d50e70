"""Everything that changes what is counted, as small values: what `apply` takes.

A command names sessions by their number. Secrets, names and instants come in with it; nothing in it is an object of
the process. `COMMANDS` has them by name, for whoever writes them down; what is read must be of the kinds that stand
here.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, NamedTuple

from gateway.core.admission import command_values
from gateway.core.admission.bans import BanSubject
from gateway.core.admission.command_values import Anything, Hexadecimal, OneOf
from gateway.core.admission.conferences import Access, Declaration, Mode
from gateway.core.admission.decision import Withdraw, withdraw_from_json
from gateway.core.admission.directory import SCOPES
from gateway.core.admission.registration_commands import RegistrarSaid, SetInstallation, said_from_json
from gateway.core.admission.terms import Catalog, Terms, checked_terms
from gateway.core.counting.session import KINDS, Identity
from gateway.core.setting_kinds import Range, Seconds
from gateway.core.wire.close_codes import ENDINGS

LONGEST_WAIT = 86_400
"""Seconds that a request may wait for a seat, at most."""
Kind = Annotated[str, OneOf(KINDS)]
"""What a client is."""
TransportName = Annotated[str, OneOf(frozenset({"tcp", "websocket"}))]
Cause = Annotated[str, OneOf(frozenset({*ENDINGS, "node_lost"}))]
"""Why a session is over."""
Digest = Annotated[str, Hexadecimal(32)]
"""The SHA-256 digest of a secret in hex."""

# -- clients ---------------------------------------------------------------------------------------------------------


class Hello(NamedTuple):
    """A new session, by what a client says of itself and what its connection shows.

    Names are normalized, `account` and `home` also folded (`core/names.py`): the Unicode of no Python decides anything.
    `proven` is whether an issuer's token was verified to be of all that, None where none was looked at; `groups` are
    those that it names.
    """

    kind: Kind
    account: str | None
    device: str | None
    home: str
    client: Annotated[str, Anything()]
    address: str
    transport: TransportName
    token: Digest | None = None
    proven: bool | None = None
    groups: tuple[str, ...] = ()


class Resume(NamedTuple):
    """The session `session`, resumed so often (`generation`) before, goes on with another connection."""

    session: int
    generation: int
    address: str
    transport: TransportName


class Join(NamedTuple):
    """A session becomes a member of a conference; what follows `host` counts where that creates the conference."""

    session: int
    conference: str
    host: bool = False
    access: Access = "internal"
    mode: Mode = "group"
    scheduled: bool = False
    server: str = ""


class Start(NamedTuple):
    """A host makes a scheduled conference live."""

    session: int
    conference: str


class Leave(NamedTuple):
    """A session is a member no more."""

    session: int
    conference: str


class Sleep(NamedTuple):
    """A session is connected, and not online."""

    session: int


class Wake(NamedTuple):
    """A session is online again."""

    session: int


class Activity(NamedTuple):
    """A client says, or said `ago` seconds back, whether somebody uses it; to be woken it waits in line for `wait`."""

    session: int
    active: bool
    wait: Annotated[int, Range(1, LONGEST_WAIT)] | None = None
    ago: Seconds = 0.0


class RequestPro(NamedTuple):
    """A user asks for a lease without joining."""

    session: int


class Wait(NamedTuple):
    """Decide about a request that would rather wait than be denied for a full pool, `seconds` at most: a `Hello`,
    `Join`, `Wake` or `RequestPro`.

    `id` is what the client gave the request, for the answer to come.
    """

    request: Any
    seconds: Annotated[int, Range(1, LONGEST_WAIT)]
    id: Annotated[str | int | None, Anything()] = None


class GiveUp(NamedTuple):
    """The connection of a `hello` that waits in `place` is over."""

    place: int


class EndHellos(NamedTuple):
    """Nobody who waits to be welcomed is let in any more, for `reason`; in a cluster, of those at `node`."""

    reason: Annotated[str, OneOf(frozenset({"draining", "unregistered"}))]
    node: str = ""


class End(NamedTuple):
    """A session is over for `cause`; one that lost its connection may wait to be resumed."""

    session: int
    cause: Cause


class EndResumables(NamedTuple):
    """Nobody may resume a lost session any more."""


# -- time and terms --------------------------------------------------------------------------------------------------


class Tick(NamedTuple):
    """Time has come on: what has run out ends. Applied about once a second."""


class SetTerms(NamedTuple):
    """Decide under other terms from now on; nobody is dropped by it."""

    terms: Terms


class SetGranting(NamedTuple):
    """Whether the registration lets the gateway grant anything."""

    granting: bool


# -- operators -------------------------------------------------------------------------------------------------------


class KickSession(NamedTuple):
    """End a session; `ban_seconds` keeps its account, or the guests of its address, out as long."""

    session: int
    ban_seconds: Seconds | None = None


class KickAccount(NamedTuple):
    """End every session of an account; `ban_seconds` keeps it out as long."""

    account: Identity
    ban_seconds: Seconds | None = None


class PutBan(NamedTuple):
    """Keep somebody out for so many seconds, and end the sessions that this binds."""

    subject: BanSubject
    seconds: Seconds


class LiftBan(NamedTuple):
    """Let somebody in again."""

    subject: BanSubject


class PutConference(NamedTuple):
    """Say what a conference is before anybody joins it."""

    conference: str
    declaration: Declaration


class EndConference(NamedTuple):
    """End a conference, and forget what was declared of it."""

    conference: str


class PutAccount(NamedTuple):
    """Register an account."""

    account: str


class DeleteAccount(NamedTuple):
    """Delete an account: its sessions end, what it holds runs out."""

    account: str


class ErasePerson(NamedTuple):
    """Forget an account; with `force` its sessions and licenses end for it."""

    account: Identity
    force: bool = False


class AddAccountToken(NamedTuple):
    """Let the secret of this SHA-256 digest (hex) prove an account too."""

    account: str
    digest: Digest


class RevokeAccountToken(NamedTuple):
    """Take one token from an account."""

    account: str
    fingerprint: str


class PutGroup(NamedTuple):
    """Set a group's accounts, in order, whether it asks for permanent PRO licenses, and its priority in lines."""

    group: str
    accounts: tuple[str, ...]
    permanent: bool
    priority: int = 0


class DeleteGroup(NamedTuple):
    """Forget a group."""

    group: str


class RevokeLease(NamedTuple):
    """End an account's temporary lease at once."""

    account: Identity


class NameHost(NamedTuple):
    """Give an account a host's name."""

    account: Identity


class ReleaseHost(NamedTuple):
    """Free the name of a host."""

    account: Identity


class AddOperatorToken(NamedTuple):
    """Give an operator a token of a scope; `digest` is the SHA-256 digest of its secret in hex."""

    name: str
    scope: Annotated[str, OneOf(frozenset(SCOPES))]
    digest: Digest


class RevokeOperatorTokens(NamedTuple):
    """Take one token from an operator, or all of them."""

    name: str
    fingerprint: str | None = None


Command = (
    Hello
    | Resume
    | Join
    | Start
    | Leave
    | Sleep
    | Wake
    | Activity
    | RequestPro
    | Wait
    | GiveUp
    | EndHellos
    | End
    | EndResumables
    | Withdraw
    | Tick
    | SetTerms
    | SetGranting
    | SetInstallation
    | RegistrarSaid
    | KickSession
    | KickAccount
    | PutBan
    | LiftBan
    | PutConference
    | EndConference
    | PutAccount
    | DeleteAccount
    | ErasePerson
    | AddAccountToken
    | RevokeAccountToken
    | PutGroup
    | DeleteGroup
    | RevokeLease
    | NameHost
    | ReleaseHost
    | AddOperatorToken
    | RevokeOperatorTokens
)

COMMANDS: dict[str, Any] = {command.__name__: command for command in Command.__args__}
"""Every command by its name."""


def to_json(command: Command) -> list[Any]:
    """Return a command as plain data: its name, then its fields."""
    if isinstance(command, SetTerms):
        return ["SetTerms", command.terms.to_json()]
    if isinstance(command, Wait):
        return ["Wait", to_json(command.request), command.seconds, command.id]
    return [type(command).__name__, *command]


def from_json(plain: list[Any], catalog: Catalog) -> Command:
    """Return the command that `to_json` wrote.

    Raises `KeyError`, `TypeError` or `ValueError` where it is not a command, or has a value of another kind.
    """
    try:
        command = _from_json(plain, catalog)
    except (IndexError, AttributeError) as fault:
        raise ValueError(f"no command: {fault}") from fault
    command_values.check(command)
    return command


def _from_json(plain: list[Any], catalog: Catalog) -> Command:
    name, *told = plain
    if name == "SetTerms":
        (terms,) = told
        return SetTerms(checked_terms(terms, catalog))
    if name == "PutConference":
        return PutConference(told[0], Declaration(*told[1]), *told[2:])
    if name in {"PutBan", "LiftBan"}:
        return _banning(name, told)
    if name == "Withdraw":
        return withdraw_from_json(told)
    if name == "RegistrarSaid":
        return said_from_json(told)
    if name == "Wait":
        request: Any = from_json(told[0], catalog)
        if not isinstance(request, Hello | Join | Wake | RequestPro):
            raise ValueError(f"a {type(request).__name__} does not wait")
        return Wait(request, *told[1:])
    values = (tuple(value) if isinstance(value, list) else value for value in told)
    command: Command = COMMANDS[name](*values)
    return command


def _banning(name: str, told: list[Any]) -> Command:
    subject = BanSubject(*told[0])
    if subject.kind == "network":
        ipaddress.ip_network(subject.name)
    command: Command = COMMANDS[name](subject, *told[1:])
    return command
