"""The tables of the store: for each a function that writes a row and one that reads all rows.

Reading raises `StoreUnavailable`; where the store holds something else than what was written, also `LookupError`,
`TypeError`, `ValueError` or `AttributeError`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.core.admission.bans import Ban, BanSubject
from gateway.core.admission.decision import Change
from gateway.core.admission.directory import Group, Token
from gateway.core.admission.returning import HeldSeat
from gateway.core.counting.leases import LeaseChange
from gateway.core.counting.pool_json import key_from_json
from gateway.core.registration.authentication import key_of
from gateway.core.registration.grant import granted
from gateway.core.registration.messages import read
from gateway.core.registration.registrar import Installation, SoldLicense
from gateway.edge.storage.store import Statement, Store
from gateway.licensing import OFFERS

TABLES = ("account", "team", "ban", "operator", "license", "installation", "seat", "outgoing")
"""The tables whose rows are in memory as a whole."""
ALIVE = "alive"
"""Under which name `meta` has when the gateway was last noted to live."""
FORGET_BANS = "DELETE FROM ban WHERE until <= ?"
FORGET_LEASES = "DELETE FROM lease WHERE model = ?"
FORGET_SEATS = "DELETE FROM seat"


# -- meta: single texts by name --------------------------------------------------------------------------------------


def put_meta(name: str, text: str) -> Statement:
    """Write a text under a name."""
    return Statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, text))


async def read_meta(store: Store) -> dict[str, str]:
    """Read the texts by name."""
    return dict(await store.read("SELECT name, value FROM meta"))


# -- lease -----------------------------------------------------------------------------------------------------------


def put_lease(change: LeaseChange) -> Statement:
    """Write a lease as it is now, or that it has ended."""
    place = (change.model, change.pool, json.dumps(change.key), change.kind)
    if change.ended is not None:
        return Statement("DELETE FROM lease WHERE model = ? AND pool = ? AND key = ? AND kind = ?", place)
    values = (*place, change.since, change.expires, change.deleted, change.number)
    return Statement("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)


async def read_leases(store: Store) -> list[LeaseChange]:
    """Read the leases, in the order in which they were granted."""
    found = []
    rows = await store.read(
        "SELECT model, pool, key, kind, since, expires, deleted, number FROM lease ORDER BY since, number"
    )
    for model, pool, key, kind, since, expires, deleted, number in rows:
        end = None if expires is None else float(expires)
        held = key_from_json(json.loads(key))
        found.append(LeaseChange(model, pool, held, float(since), end, bool(deleted), None, kind, int(number)))
    return found


# -- seat: who holds what is not leased; thousands may change at once, so all of them are one value ------------------


def put_seats(held: Sequence[tuple[Any, ...]]) -> Statement:
    """Write seats as they are held: model, pool, key, account, home, device, address, and until when it is kept."""
    columns = ", ".join(f"json_extract(value, '$[{column}]')" for column in range(8))
    return Statement(f"INSERT OR REPLACE INTO seat SELECT {columns} FROM json_each(?)", (json.dumps(held),))  # noqa: S608


def end_seats(gone: Sequence[tuple[str, str, str]]) -> Statement:
    """Write that nobody holds seats any more: model, pool and key."""
    columns = ", ".join(f"json_extract(value, '$[{column}]')" for column in range(3))
    sql = f"DELETE FROM seat WHERE (model, pool, key) IN (SELECT {columns} FROM json_each(?))"  # noqa: S608
    return Statement(sql, (json.dumps(gone),))


async def read_seats(store: Store, recorded: float) -> list[HeldSeat]:
    """Read who held seats; `recorded` is the monotonic instant of that."""
    found = []
    held = await store.read("SELECT * FROM seat ORDER BY model, pool, key")
    for model, pool, key, account, home, device, address, until in held:
        left = None if until is None else float(until) - recorded
        found.append(HeldSeat(model, pool, key_from_json(json.loads(key)), account, home, device, address, left))
    return found


# -- account ---------------------------------------------------------------------------------------------------------


def put_account(name: str, tokens: tuple[Token, ...]) -> Statement:
    """Write an account and its tokens."""
    text = json.dumps([(each.digest.hex(), each.created) for each in tokens])
    return Statement("INSERT OR REPLACE INTO account VALUES (?, ?)", (name, text))


async def read_accounts(store: Store) -> dict[str, tuple[Token, ...]]:
    """Read the accounts."""
    return {
        name: tuple(Token(bytes.fromhex(digest), created) for digest, created in json.loads(tokens))
        for name, tokens in await store.read("SELECT name, tokens FROM account")
    }


# -- team: groups of accounts ----------------------------------------------------------------------------------------


def put_group(name: str, group: Group) -> Statement:
    """Write a group."""
    values = (name, json.dumps(group.accounts), group.permanent, group.priority)
    return Statement("INSERT OR REPLACE INTO team VALUES (?, ?, ?, ?)", values)


async def read_groups(store: Store) -> dict[str, Group]:
    """Read the groups."""
    rows = await store.read("SELECT name, accounts, permanent, priority FROM team")
    return {
        name: Group(tuple(json.loads(accounts)), bool(permanent), int(priority))
        for name, accounts, permanent, priority in rows
    }


# -- ban -------------------------------------------------------------------------------------------------------------


def put_ban(ban: Ban) -> Statement:
    """Write a ban."""
    return Statement("INSERT OR REPLACE INTO ban VALUES (?, ?, ?, ?)", (*ban.subject, ban.until))


async def read_bans(store: Store, wall: float) -> list[Ban]:
    """Read the bans that are not over at an instant in seconds UTC."""
    rows = await store.read("SELECT kind, name, home, until FROM ban WHERE until > ? ORDER BY kind, name", (wall,))
    return [Ban(BanSubject(kind, name, home), until) for kind, name, home, until in rows]


# -- operator: one row for each token --------------------------------------------------------------------------------


def put_operator_token(name: str, token: Token) -> Statement:
    """Write an operator's token."""
    values = (name, token.digest.hex(), token.created, token.scope)
    return Statement("INSERT OR REPLACE INTO operator VALUES (?, ?, ?, ?)", values)


def put_operator(name: str, tokens: tuple[Token, ...]) -> list[Statement]:
    """Write an operator's tokens in place of those that stand there."""
    gone = Statement("DELETE FROM operator WHERE name = ?", (name,))
    return [gone, *(put_operator_token(name, token) for token in tokens)]


async def read_operators(store: Store) -> dict[str, tuple[Token, ...]]:
    """Read the operators and their tokens, in order of name and age."""
    found: dict[str, tuple[Token, ...]] = {}
    for name, digest, created, scope in await store.read("SELECT * FROM operator ORDER BY name, created"):
        found[name] = (*found.get(name, ()), Token(bytes.fromhex(digest), created, scope))
    return found


# -- outgoing: events that wait for the receivers of webhooks ----------------------------------------------------------


class OutgoingEvent(NamedTuple):
    """An event that waits for the receiver of a webhook: its number in that queue, its id, when it was (seconds UTC),
    its JSON, and a JSON list of those whose names are in it.
    """

    hook: str
    number: int
    id: str
    at: float
    body: str
    persons: str


def put_outgoing(event: OutgoingEvent) -> Statement:
    """Write an event that waits."""
    return Statement("INSERT OR REPLACE INTO outgoing VALUES (?, ?, ?, ?, ?, ?)", event)


def end_outgoing(hook: str, through: int) -> Statement:
    """Write that the events of a webhook through one of a number wait no more."""
    return Statement("DELETE FROM outgoing WHERE hook = ? AND number <= ?", (hook, through))


def end_other_outgoing(hooks: Sequence[str]) -> Statement:
    """Write that nothing waits for other webhooks than these."""
    sql = "DELETE FROM outgoing WHERE hook NOT IN (SELECT value FROM json_each(?))"
    return Statement(sql, (json.dumps(hooks),))


def forget_outgoing(person: str) -> Statement:
    """Write that no event waits that names somebody."""
    sql = "DELETE FROM outgoing WHERE EXISTS (SELECT 1 FROM json_each(persons) WHERE value = ?)"
    return Statement(sql, (person,))


async def read_outgoing(store: Store) -> list[OutgoingEvent]:
    """Read the events that wait, the oldest first."""
    found = await store.read("SELECT hook, number, id, at, body, persons FROM outgoing ORDER BY hook, number")
    return [OutgoingEvent(*row) for row in found]


# -- license: what the registrar sold --------------------------------------------------------------------------------


def put_license(license: SoldLicense) -> Statement:
    """Write a license that was sold."""
    values = (
        license.serial,
        license.key.hex(),
        json.dumps(license.grant.to_json()),
        license.created,
        license.revoked,
    )
    return Statement("INSERT OR REPLACE INTO license VALUES (?, ?, ?, ?, ?)", values)


def license_statements(serial: str, license: SoldLicense | None) -> list[Statement]:
    """Write a license as it is now, or that there is none of that serial, nor servers that use it."""
    if license is not None:
        return [put_license(license)]
    return [
        Statement("DELETE FROM license WHERE serial = ?", (serial,)),
        Statement("DELETE FROM installation WHERE serial = ?", (serial,)),
    ]


async def read_licenses(store: Store) -> dict[str, SoldLicense]:
    """Read the licenses that were sold, by serial."""
    found = {}
    for serial, key, terms, created, revoked in await store.read("SELECT * FROM license ORDER BY serial"):
        grant = granted(read(json.loads(terms), "terms"), OFFERS)
        found[serial] = SoldLicense(serial, key_of(key), grant, created, revoked)
    return found


# -- installation: the servers that registered -----------------------------------------------------------------------


def put_installation(each: Installation) -> Statement:
    """Write a server that registered."""
    kept = (each.ticket, each.verified, json.dumps(each.used), each.address, each.version, each.clones)
    return Statement(
        "INSERT OR REPLACE INTO installation VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (each.serial, each.server, *kept)
    )


def end_installation(each: Installation) -> Statement:
    """Write that a server is forgotten."""
    return Statement("DELETE FROM installation WHERE serial = ? AND server = ?", (each.serial, each.server))


async def read_installations(store: Store) -> dict[tuple[str, str], Installation]:
    """Read the servers that have registered, by serial and name."""
    found = {}
    for serial, server, ticket, verified, used, address, version, clones in await store.read(
        "SELECT * FROM installation ORDER BY serial, server"
    ):
        found[serial, server] = Installation(
            serial, server, ticket, None, verified, json.loads(used), address, version, clones
        )
    return found


# -- decisions -------------------------------------------------------------------------------------------------------

END: Mapping[str, str] = {
    "account": "DELETE FROM account WHERE name = ?",
    "group": "DELETE FROM team WHERE name = ?",
    "ban": "DELETE FROM ban WHERE kind = ? AND name = ? AND home = ?",
    "operator": "DELETE FROM operator WHERE name = ?",
}
"""The statement that deletes an entry of the directory, by its table."""


def change_statements(change: Change) -> list[Statement]:
    """Write what a decision changed."""
    if isinstance(change, LeaseChange):
        return [put_lease(change)]
    name, value = change.name, change.value
    if isinstance(value, Ban):
        return [put_ban(value)]
    if isinstance(name, BanSubject):
        return [Statement(END[change.table], name)]
    if value is None:
        return [Statement(END[change.table], (name,))]
    if isinstance(value, Group):
        return [put_group(name, value)]
    return [put_account(name, value)] if change.table == "account" else put_operator(name, value)
