"""The ring of buckets, against a list that is searched from end to end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.server.timer_wheel import TimerWheel


class Peer:
    """Something with a deadline, and when it was last heard."""

    def __init__(self) -> None:
        self.due = 0
        self.deadline = 0


def sweep(ring: TimerWheel[Peer]) -> set[Peer]:
    """One tick as the hub lives it: who is not due yet goes back."""
    due = set()
    for peer in ring.advance():
        if peer.deadline > ring.tick:
            ring.put(peer, peer.deadline)
        else:
            due.add(peer)
    return due


actions = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), st.integers(-2, 40)),
        st.tuples(st.just("hear"), st.integers(0, 4), st.integers(1, 40)),
        st.tuples(st.just("drop"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("tick"), st.just(0), st.integers(1, 20)),
    ),
    max_size=40,
)


@given(size=st.integers(2, 16), actions=actions)
def test_everybody_is_due_in_the_tick_of_the_deadline_and_in_no_other(
    size: int, actions: list[tuple[str, int, int]]
) -> None:
    ring: TimerWheel[Peer] = TimerWheel(size)
    peers = [Peer() for _ in range(5)]
    waiting: set[Peer] = set()
    for verb, place, ticks in actions:
        peer = peers[place]
        match verb:
            case "put":
                peer.deadline = ring.tick + max(ticks, 1)
                ring.put(peer, ring.tick + ticks)
                waiting.add(peer)
            case "hear":
                if peer in waiting:
                    peer.deadline = max(peer.deadline, ring.tick + ticks)
            case "drop":
                ring.drop(peer)
                waiting.discard(peer)
            case _:
                for _ in range(ticks):
                    expected = {each for each in waiting if each.deadline == ring.tick + 1}
                    assert sweep(ring) == expected
                    waiting -= expected
        assert len(ring) == len(waiting)


def test_a_deadline_longer_than_the_ring_is_looked_at_once_a_round() -> None:
    ring: TimerWheel[Peer] = TimerWheel(8)
    peer = Peer()
    peer.deadline = 30
    ring.put(peer, 30)
    looks = []
    while peer.deadline > ring.tick:
        for found in ring.advance():
            looks.append(ring.tick)
            ring.put(found, peer.deadline)
    assert looks == [7, 14, 21, 28, 30]


def test_a_deadline_that_has_passed_is_due_in_the_next_tick() -> None:
    ring: TimerWheel[Peer] = TimerWheel(8)
    peer = Peer()
    ring.put(peer, -5)
    assert list(ring.advance()) == [peer]
    assert len(ring) == 0


def test_who_is_put_twice_lies_in_one_bucket() -> None:
    ring: TimerWheel[Peer] = TimerWheel(8)
    peer = Peer()
    ring.put(peer, 2)
    ring.put(peer, 3)
    assert len(ring) == 1
    assert [list(ring.advance()) for _ in range(4)] == [[], [], [peer], []]


def test_dropping_who_is_not_there_changes_nothing() -> None:
    ring: TimerWheel[Peer] = TimerWheel(8)
    there, stranger = Peer(), Peer()
    ring.put(there, 2)
    ring.drop(stranger)
    assert len(ring) == 1


def test_who_is_dropped_while_its_bucket_is_looked_at_is_not_handed_out() -> None:
    ring: TimerWheel[Peer] = TimerWheel(8)
    first, second = Peer(), Peer()
    ring.put(first, 1)
    ring.put(second, 1)
    handed = []
    for peer in ring.advance():
        handed.append(peer)
        ring.drop(first if peer is second else second)
    assert len(handed) == 1
    assert len(ring) == 0
