"""The state as plain data, and back, and a digest over it.

A state that was written and read goes on the same way as one that was not. Whatever is a view of something else
(sessions by account, live conferences, claims, the queue of expiries) is not written: it is made again. The digest is
written with the state, so that one that was changed on the way is not taken for a state.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.admission import commands
from gateway.core.admission.bans import Ban, BanSubject
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.directory import Directory, Group, Token
from gateway.core.admission.lines import Line, QueuePlace
from gateway.core.admission.registration_commands import grant_from_json
from gateway.core.admission.sessions import Sessions
from gateway.core.admission.state import Resumable, State
from gateway.core.admission.terms import Catalog, Terms
from gateway.core.counting.license_model import Refusal
from gateway.core.counting.personal_use_json import fill_use, use_to_json
from gateway.core.counting.pool_json import fill_pool, holder_from_json, key_from_json, pool_to_json
from gateway.core.counting.session import Conference, Instant, Session

FORMAT = 8
"""The number of what is written; another one is not read."""
SESSION = ("kind", "account", "device", "home", "client", "address", "transport", "since")
SESSION_AFTER = ("peer_address", "awake", "generation", "node", "proven_by")
GROUPS = "groups"
"""What is written of a session whose token named groups."""
ACTIVITY = ("active", "free_since", "rest")
"""What is written of a session whose client has said whether somebody uses it."""
CONFERENCE = ("access", "mode", "live", "server")
CONFERENCE_AFTER = ("number", "since", "hosted", "had_implied_host")
NUMBERS = ("sessions", "conferences", "leases", "intervals", "episodes", "days", "places")


class NotAState(ValueError):
    """What was read is no state that this version wrote."""


def to_json(state: State) -> dict[str, Any]:
    """Return the state as plain data: lists, dictionaries, texts, numbers; and the digest of all of them."""
    plain = _to_json(state)
    return {**plain, "digest": _digest(plain)}


def pieces(state: State) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the state in pieces, each with where it belongs in `to_json`: for whoever writes a large one in turns.

    Nothing may be applied to the state before all have been taken.
    """
    yield (), _rest_to_json(state)
    for place, pool in _pools(state):
        yield ("ledgers", *place), pool
    for conference in state.conferences.by_id.values():
        yield ("conferences",), _conference_to_json(conference)
    for session in state.sessions.by_number.values():
        yield ("sessions",), _session_to_json(session)


def _to_json(state: State) -> dict[str, Any]:
    ledgers: dict[str, dict[str, Any]] = {ledger.model.name: {} for ledger in state.ledgers}
    for (model, name), pool in _pools(state):
        ledgers[model][name] = pool
    return {
        **_rest_to_json(state),
        "conferences": [_conference_to_json(each) for each in state.conferences.by_id.values()],
        "sessions": [_session_to_json(each) for each in state.sessions.by_number.values()],
        "ledgers": ledgers,
    }


def _pools(state: State) -> Iterator[tuple[tuple[str, str], Any]]:
    for each in state.history.timelines:
        ended = (*each.ended, *each.pool.ended_intervals)
        yield (each.model, each.name), pool_to_json(each.pool, ended)


def _rest_to_json(state: State) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "run": state.run,
        "at": list(state.at),
        "terms": state.terms.to_json(),
        "numbers": {name: getattr(state.numbers, name).last for name in NUMBERS},
        "granting": state.granting,
        "permanent": state.permanent,
        "redistribute_at": state.redistribute_at if math.isfinite(state.redistribute_at) else None,
        "resumable": [[number, *each] for number, each in state.resumable.items()],
        "lines": [_place_to_json(each) for each in state.lines.values()],
        "directory": _directory_to_json(state.directory),
        "declared": {id: list(each) for id, each in state.conferences.declared.items()},
        "idle": _idle_to_json(state.sessions),
        "offset": state.history.offset,
        "use": use_to_json(state.use),
        **(_license_to_json(state) if state.license.needed else {}),
    }


def _license_to_json(state: State) -> dict[str, Any]:
    return {"configured": state.configured.to_json(), "license": state.license.to_json()}


def from_json(plain: Mapping[str, Any], catalog: Catalog) -> State:
    """Return the state that `to_json` wrote.

    Raises `NotAState` where it is not a state, or one of another version.
    """
    if not isinstance(plain, Mapping):
        raise NotAState("a state is a record")
    _check_format(plain)
    if plain.get("digest") != _digest({name: value for name, value in plain.items() if name != "digest"}):
        raise NotAState("it was changed since it was written: its digest is another one")
    return from_pieces(plain, catalog)


def _check_format(plain: Mapping[str, Any]) -> None:
    if plain.get("format") != FORMAT:
        raise NotAState(f"format {plain.get('format')!r}: this version reads {FORMAT}")


def from_pieces(plain: Mapping[str, Any], catalog: Catalog) -> State:
    """Return the state whose pieces were put together again; who wrote them vouches for them.

    Raises `NotAState` where it is not a state, or one of another version.
    """
    _check_format(plain)
    try:
        return _from_json(plain, catalog)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as fault:
        raise NotAState(f"{type(fault).__name__}: {fault}") from fault


def digest(state: State) -> str:
    """Return a digest of the whole state, in hex; equal states have equal digests in every process."""
    return _digest(_to_json(state))


def _digest(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _from_json(plain: Mapping[str, Any], catalog: Catalog) -> State:
    state = State(Terms.from_json(plain["terms"], catalog), catalog, Instant(*plain["at"]), plain["run"])
    state.granting = plain["granting"]
    _fill_license(state, plain, catalog)
    state.permanent = list(plain["permanent"])
    state.redistribute_at = -math.inf if plain["redistribute_at"] is None else plain["redistribute_at"]
    state.resumable = {number: Resumable(until, cause) for number, until, cause in plain["resumable"]}
    for id, each in plain["declared"].items():
        state.conferences.declare(id, Declaration(*each))
    _fill_directory(state.directory, plain["directory"])
    for ledger in state.ledgers:
        pools = plain["ledgers"][ledger.model.name]
        for timeline in state.history.timelines:
            if timeline.model == ledger.model.name:
                timeline.ended[:] = fill_pool(timeline.pool, pools[timeline.name])
    sessions = {told["number"]: _session_from_json(told) for told in plain["sessions"]}
    for session in sessions.values():
        state.sessions.add(session)
    conferences = {told["id"]: _conference_from_json(told, sessions) for told in plain["conferences"]}
    for told, session in zip(plain["sessions"], sessions.values(), strict=True):
        session.conferences = tuple(conferences[id] for id in told["conferences"])
        for ledger, seats in zip(state.ledgers, session.seats, strict=True):
            for name, key in seats:
                ledger.pools[name].claims.add(key, session)
    for conference in conferences.values():
        state.conferences.restore(conference)
    state.sessions.restore_idle({sessions[number]: since for number, since in plain["idle"]})
    for ledger in state.ledgers:
        ledger.leases.claim_idle()
    state.bind_rules()
    state.history.offset = plain["offset"]
    fill_use(state.use, plain["use"])
    for name in NUMBERS:
        getattr(state.numbers, name).last = plain["numbers"][name]
    for told in plain["lines"]:
        state.lines.enter(_place_from_json(told, catalog))
    return state


def _fill_license(state: State, plain: Mapping[str, Any], catalog: Catalog) -> None:
    if state.license.needed:
        state.configured = Terms.from_json(plain["configured"], catalog)
        state.license.fill(plain["license"], grant_from_json(plain["license"]["grant"]))


def _idle_to_json(sessions: Sessions) -> list[tuple[int, float]]:
    return [(each.number, since) for each, since in sessions.all_idle()]


def _place_to_json(place: QueuePlace) -> list[Any]:
    return [
        commands.to_json(place.request),
        list(place.line),
        list(place.refusal),
        list(place.rank),
        list(place.since),
        place.until,
        list(place.asker),
        list(place.person),
        place.id,
        list(place.who),
        place.node,
    ]


def _place_from_json(told: list[Any], catalog: Catalog) -> QueuePlace:
    request, line, refusal, (before, number), since, until, (kind, name), person, id, who, node = told
    pool, conference, rule, one, kept_for = line
    return QueuePlace(
        commands.from_json(request, catalog),
        line=Line(pool, conference, rule, key_from_json(one), tuple(kept_for)),
        refusal=Refusal(*refusal),
        rank=(before, number),
        since=Instant(*since),
        until=until,
        asker=(kind, (name[0], name[1]) if isinstance(name, list) else name),
        person=tuple(person),
        who=holder_from_json(who),
        id=id,
        node=node,
    )


def _session_to_json(session: Session) -> dict[str, Any]:
    return {
        "number": session.number,
        **{name: getattr(session, name) for name in (*SESSION, *SESSION_AFTER)},
        **({GROUPS: list(session.groups)} if session.groups else {}),
        **({} if session.active is None else {name: getattr(session, name) for name in ACTIVITY}),
        "conferences": [each.id for each in session.conferences],
        "seats": [[list(seat) for seat in seats] for seats in session.seats],
    }


def _session_from_json(told: Mapping[str, Any]) -> Session:
    session = Session(told["number"], **{name: told[name] for name in SESSION})
    for name in (*SESSION_AFTER, *(ACTIVITY if "active" in told else ())):
        setattr(session, name, told[name])
    session.groups = tuple(told.get(GROUPS, ()))
    session.seats = tuple(tuple((pool, key_from_json(key)) for pool, key in seats) for seats in told["seats"])
    return session


def _conference_to_json(conference: Conference) -> dict[str, Any]:
    host = conference.implied_host
    return {
        "id": conference.id,
        **{name: getattr(conference, name) for name in (*CONFERENCE, *CONFERENCE_AFTER)},
        "members": [[each.number, host] for each, host in conference.members.items()],
        "implied_host": host.number if host is not None else None,
        "released_hosts": [each.number for each in conference.released_hosts],
    }


def _conference_from_json(told: Mapping[str, Any], sessions: Mapping[int, Session]) -> Conference:
    conference = Conference(told["id"], **{name: told[name] for name in CONFERENCE})
    for name in CONFERENCE_AFTER:
        setattr(conference, name, told[name])
    conference.members = {sessions[number]: host for number, host in told["members"]}
    conference.implied_host = None if told["implied_host"] is None else sessions[told["implied_host"]]
    conference.released_hosts = dict.fromkeys(sessions[number] for number in told["released_hosts"])
    return conference


def _directory_to_json(directory: Directory) -> dict[str, Any]:
    return {
        "accounts": {name: [each.to_json() for each in tokens] for name, tokens in directory.accounts.items()},
        "operators": {name: [each.to_json() for each in tokens] for name, tokens in directory.operators.items()},
        "groups": {name: [list(each.accounts), *each[1:]] for name, each in directory.groups.items()},
        "bans": [[*ban.subject, ban.until] for ban in directory.bans],
    }


def _fill_directory(directory: Directory, plain: Mapping[str, Any]) -> None:
    for name, tokens in plain["accounts"].items():
        directory.accounts[name] = tuple(Token.from_json(each) for each in tokens)
    for name, tokens in plain["operators"].items():
        directory.operators[name] = tuple(Token.from_json(each) for each in tokens)
    for name, (accounts, *rest) in plain["groups"].items():
        directory.groups[name] = Group(tuple(accounts), *rest)
    for *subject, until in plain["bans"]:
        directory.bans.put(Ban(BanSubject(*subject), until))
