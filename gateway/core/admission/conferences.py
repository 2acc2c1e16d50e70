"""Conferences: who is in which meeting, and whether it is live.

A conference exists while it has members; what the operator has declared about it lasts until the declaration is
removed. A refused join leaves no trace: `create` makes up a conference, and only `enter` keeps it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, NamedTuple

from gateway.core.admission.command_values import OneOf
from gateway.core.counting.numbers import NumberSequence
from gateway.core.counting.session import Conference, Session

Access = Annotated[str, OneOf(frozenset({"internal", "public"}))]
"""Who may join a conference."""
Mode = Annotated[str, OneOf(frozenset({"group", "call"}))]
"""What a conference is: a call has two parties."""


class Declaration(NamedTuple):
    """What is said of a conference before anybody joins it; `server` is empty for this one."""

    access: Access = "internal"
    mode: Mode = "group"
    scheduled: bool = False
    server: str = ""


class Conferences:
    """All conferences. `live`, `scheduled` and `live_groups` are views by state, `taking_part` and `waiting` by what
    members do, `awaited` has the ids that are declared and have no members. `moves` is how often somebody came into a
    conference or left one, since the process began.
    """

    def __init__(self, numbers: NumberSequence) -> None:
        self._numbers = numbers
        self.by_id: dict[str, Conference] = {}
        self.declared: dict[str, Declaration] = {}
        self.awaited: dict[str, None] = {}
        self.live: dict[str, Conference] = {}
        self.scheduled: dict[str, Conference] = {}
        self.live_groups: dict[str, Conference] = {}
        self.taking_part: dict[Session, None] = {}
        self.waiting: dict[Session, None] = {}
        self.moves = 0

    def declare(self, id: str, declaration: Declaration) -> None:
        """Say what a conference is before anybody joins it."""
        self.declared[id] = declaration
        if id not in self.by_id:
            self.awaited[id] = None

    def forget(self, id: str) -> bool:
        """Forget what was declared of a conference; whether anything was."""
        self.awaited.pop(id, None)
        return self.declared.pop(id, None) is not None

    def create(self, id: str, declaration: Declaration) -> Conference:
        """Make up a conference; it is kept when somebody enters."""
        terms = self.declared.get(id, declaration)
        return Conference(id, access=terms.access, mode=terms.mode, live=not terms.scheduled, server=terms.server)

    def enter(self, conference: Conference, session: Session, *, host: bool, now: float) -> Session | None:
        """Make `session` a member, the last in order of arrival.

        Returns the member that was taken for the host until then, where `session` is the first to declare itself.
        """
        displaced = None
        if not conference.members and conference.id not in self.by_id:
            conference.since = now
            conference.number = conference.number or self._numbers.take()
            self.by_id[conference.id] = conference
            self._index(conference)
        conference.members[session] = host
        self.moves += 1
        session.conferences = (*session.conferences, conference)
        if host:
            conference.hosted = True
            displaced, conference.implied_host = conference.implied_host, None
        elif conference.has_no_host and session.account is not None:
            conference.implied_host = session
            conference.had_implied_host = True
        (self.taking_part if conference.live else self.waiting)[session] = None
        return displaced

    def leave(self, conference: Conference, session: Session) -> None:
        """Let `session` be no member any more; an empty conference ends."""
        others = len(session.conferences) > 1
        session.conferences = tuple([each for each in session.conferences if each is not conference]) if others else ()
        self._update_views(session)
        self._remove(conference, session)

    def leave_all(self, left: Collection[Conference], session: Session) -> None:
        """Let `session` be no member of any conference in `left` any more, at the price of one look at each."""
        others = set(session.conferences).difference(left) if left is not session.conferences else ()
        session.conferences = tuple([each for each in session.conferences if each in others]) if others else ()
        self._update_views(session)
        for conference in left:
            self._remove(conference, session)

    def _remove(self, conference: Conference, session: Session) -> None:
        del conference.members[session]
        self.moves += 1
        if conference.implied_host is session:
            conference.implied_host = None
        conference.released_hosts.pop(session, None)
        if not conference.members:
            self.end(conference)

    def end(self, conference: Conference) -> None:
        """Forget an empty conference, and no other of its name."""
        for view in (self.by_id, self.live, self.scheduled, self.live_groups):
            if view.get(conference.id) is conference:
                del view[conference.id]
        if conference.id in self.declared and conference.id not in self.by_id:
            self.awaited[conference.id] = None

    def restore(self, conference: Conference) -> None:
        """Take up a conference of a saved state, with its members."""
        self.by_id[conference.id] = conference
        self._index(conference)
        for member in conference.members:
            self._update_views(member)

    def start(self, conference: Conference) -> list[tuple[Session, bool]]:
        """Make a scheduled conference live; returns those who waited, who are members no more, in order of arrival."""
        waited = list(conference.members.items())
        conference.members.clear()
        self.moves += 1
        conference.implied_host, conference.had_implied_host = None, False
        conference.live = True
        self._index(conference)
        for session, _ in waited:
            session.conferences = tuple(each for each in session.conferences if each is not conference)
            self._update_views(session)
        return waited

    def reschedule(self, conference: Conference) -> None:
        """Let a conference without members be a scheduled one again, of which no host is known."""
        self.end(conference)
        conference.live = conference.hosted = conference.had_implied_host = False
        conference.implied_host = None
        conference.released_hosts.clear()

    def _index(self, conference: Conference) -> None:
        self.awaited.pop(conference.id, None)
        self.scheduled.pop(conference.id, None)
        if not conference.live:
            self.scheduled[conference.id] = conference
            return
        self.live[conference.id] = conference
        if conference.group:
            self.live_groups[conference.id] = conference

    def _update_views(self, session: Session) -> None:
        live = waits = False
        for conference in session.conferences:
            if conference.live:
                live = True
            else:
                waits = True
        if live:
            self.taking_part[session] = None
        else:
            self.taking_part.pop(session, None)
        if waits:
            self.waiting[session] = None
        elif self.waiting:
            self.waiting.pop(session, None)
