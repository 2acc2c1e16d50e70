"""Bans: accounts, addresses and networks that are not let in for a while.

Every `hello` asks for them. That costs nothing while nobody is banned; accounts and addresses are looked up, and so is
the prefix of an address, once for each length of prefix that is banned. An IPv4 address that is mapped into IPv6 is
itself (RFC 4291, 2.5.5.2).
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, Protocol, TypeVar

from gateway.core.addresses import IPNetwork, ip_address, ip_network
from gateway.core.counting.returning import Returning
from gateway.core.counting.session import Identity, Session, account_and_home
from gateway.core.names import folded, is_account

BanKind = Literal["account", "guests", "address", "network"]
KINDS: tuple[BanKind, ...] = ("account", "guests", "address", "network")
"""Whom a ban is of: an account; who has none and comes from an address; who comes from an address, or a network."""

_meant_for_an_address = re.compile(
    r"[0-9]+(?:\.[0-9]+){3}|[0-9.]+/[0-9.]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:/.*)?"
).fullmatch


class Bound(Protocol):
    """Who may be banned: its account, None for a guest, and where it comes from."""

    @property
    def identity(self) -> Identity | None: ...  # noqa: D102

    @property
    def peer_address(self) -> str: ...  # noqa: D102


B = TypeVar("B", bound=Bound)


class OtherKind(ValueError):
    """Whom a text names is not of the kind that was asked for."""


class BanSubject(NamedTuple):
    """Who is banned: of what kind, by which name; `home` is that of an account of another server."""

    kind: BanKind
    name: str
    home: str = ""


class Ban(NamedTuple):
    """Whom not to let in, until an instant in seconds UTC."""

    subject: BanSubject
    until: float


class Bans:
    """All bans, by their subject; what a session is to be compared with is looked up."""

    def __init__(self) -> None:
        self.by_subject: dict[BanSubject, Ban] = {}
        self._networks: dict[tuple[int, int], dict[int, Ban]] = {}
        """By bits of an address and of what follows its prefix: by the bits of the prefix."""
        self._earliest_end = math.inf

    def __iter__(self) -> Iterator[Ban]:
        return iter(self.by_subject.values())

    def put(self, ban: Ban) -> None:
        """Keep somebody out until an instant, in place of the ban of the same subject."""
        self.by_subject[ban.subject] = ban
        self._earliest_end = min(self._earliest_end, ban.until)
        if ban.subject.kind == "network":
            place, prefix = _place(ban.subject.name)
            self._networks.setdefault(place, {})[prefix] = ban

    def lift(self, subject: BanSubject) -> bool:
        """Let somebody in again; returns whether there was such a ban."""
        if self.by_subject.pop(subject, None) is None:
            return False
        if subject.kind == "network":
            place, prefix = _place(subject.name)
            del self._networks[place][prefix]
            if not self._networks[place]:
                del self._networks[place]
        return True

    def forget_ended(self, wall: float) -> None:
        """Drop the bans that are over at an instant in seconds UTC."""
        if wall < self._earliest_end:
            return
        for ban in [ban for ban in self if ban.until <= wall]:
            self.lift(ban.subject)
        self._earliest_end = min((ban.until for ban in self), default=math.inf)

    def of(self, session: Session | Returning, address: str, wall: float) -> Ban | None:
        """Return the ban that keeps a session with an address out at an instant, the one that ends last."""
        found: Ban | None = None
        for ban in self._binding(session, address) if self.by_subject else ():
            if ban is not None and ban.until > wall and (found is None or ban.until > found.until):
                found = ban
        return found

    def _binding(self, session: Session | Returning, address: str) -> Iterator[Ban | None]:
        bans, identity = self.by_subject, session.identity
        if identity is None:
            yield bans.get(BanSubject("guests", address))
        else:
            yield bans.get(account_subject(identity))
        yield bans.get(BanSubject("address", address))
        if self._networks:
            try:
                found = ip_address(address)
            except ValueError:  # the name of a socket file, which is in no network
                return
            bits, number = found.max_prefixlen, int(found)
            for (width, rest), prefixes in self._networks.items():
                if width == bits:
                    yield prefixes.get(number >> rest)

    def bound(self, subject: BanSubject, sessions: Iterable[B]) -> list[B]:
        """Return those sessions, or seats that are kept, whom a ban of `subject` binds, by their present address."""
        if subject.kind == "account":
            return [each for each in sessions if each.identity and account_subject(each.identity) == subject]
        if subject.kind == "network":
            within: dict[str, bool] = {}
            network = ipaddress.ip_network(subject.name)
            return [each for each in sessions if _is_within(network, each.peer_address, within)]
        return [
            each
            for each in sessions
            if each.peer_address == subject.name and (subject.kind == "address" or each.identity is None)
        ]


def account_subject(identity: Identity) -> BanSubject:
    """Return under what an account is kept out."""
    return BanSubject("account", *account_and_home(identity))


def subject_of_session(session: Session) -> BanSubject:
    """Return under what who had a session is kept out: its account, or guests of its address."""
    if session.identity is not None:
        return account_subject(session.identity)
    return BanSubject("guests", session.peer_address)


def subject_of(text: str, home: str = "", kind: str = "") -> BanSubject:
    """Return whom a text names: an address, a network or an account; `kind` says which where it could be several.

    Raises `ValueError`, with words for a person, where it names nobody, and `OtherKind` where nobody of that kind.
    """
    if home or kind == "account":
        if kind not in {"", "account"}:
            raise OtherKind("only an account has a home")
        return BanSubject("account", _account(text), _account(home) if home else "")
    if not kind and not _is_meant_for_an_address(text):
        return BanSubject("account", _account(text))
    try:
        network = ip_network(text)
    except ValueError as fault:
        raise (OtherKind(f"{text} is no {kind}") if kind and not _is_meant_for_an_address(text) else fault) from None
    if network.prefixlen < network.max_prefixlen:
        found = BanSubject("network", str(network))
    else:
        found = BanSubject("guests" if kind == "guests" else "address", str(network.network_address))
    if kind not in {"", found.kind}:
        raise OtherKind(f"{text} is {'a network' if found.kind == 'network' else 'an address'}, not {kind}")
    return found


def _account(text: str) -> str:
    if not is_account(text):
        raise ValueError("expected an account, an address or a network such as 192.0.2.0/24")
    return folded(text)


def _is_meant_for_an_address(text: str) -> bool:
    """Return whether a text is an address or a network, or was probably meant to be one."""
    try:
        ip_address(text.partition("/")[0])
    except ValueError:
        return _meant_for_an_address(text) is not None
    return True


def _place(name: str) -> tuple[tuple[int, int], int]:
    """Return where a network is kept."""
    network = ipaddress.ip_network(name)
    rest = network.max_prefixlen - network.prefixlen
    return (network.max_prefixlen, rest), int(network.network_address) >> rest


def _is_within(network: IPNetwork, address: str, known: dict[str, bool]) -> bool:
    """Return whether an address is of a network; `known` remembers it, since many sessions share one."""
    found = known.get(address)
    if found is None:
        try:
            found = ip_address(address) in network
        except ValueError:
            found = False
        known[address] = found
    return found
