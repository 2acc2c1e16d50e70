"""Batches on their way to the log: what goes into one, in which order, and until when it is put again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.core.admission.commands import End, Hello
from gateway.core.cluster.entries import MOST_BYTES, MOST_COMMANDS, Batch, Proposed, decode
from gateway.edge.cluster.etcd import Etcd, EtcdFailed
from gateway.edge.cluster.proposer import Proposer
from tests.conftest import until

URLS = ("http://one", "http://two", "http://three")


class ListenedEtcd(Etcd):
    """Members that note what is put; `failing` are those that give no good answer."""

    def __init__(self, failing: frozenset[str] = frozenset()) -> None:
        super().__init__(URLS, "log")
        self.failing = failing
        self.taken: list[tuple[str, Batch]] = []

    async def put(self, url: str, value: bytes) -> str:
        self.taken.append((url, decode(value)))
        if url in self.failing:
            raise EtcdFailed("it does not answer")
        return "cluster"


def proposer(etcd: Etcd, pause: Callable[[], float] = lambda: 0.0) -> Proposer[str]:
    return Proposer(etcd, lambda seq: Batch("n1", seq), time.monotonic, time.monotonic, lambda _: None, pause)


def hello(text: str = "") -> Proposed:
    return Proposed(Hello("app", text, None, "", "", "192.0.2.1", "tcp"))


async def batches(putting: Proposer[str], etcd: ListenedEtcd, number: int) -> list[Batch]:
    """Let so many batches be put and seen."""
    running = asyncio.create_task(putting.run())
    seen: list[Batch] = []
    for _ in range(number):
        await until(lambda: putting.outstanding is not None and bool(etcd.taken))
        on_its_way = putting.outstanding
        assert on_its_way is not None
        await until(lambda seq=on_its_way.batch.seq: etcd.taken[-1][1].seq == seq)  # type: ignore[misc]
        batch = etcd.taken[-1][1]
        seen.append(batch)
        assert putting.saw(batch) is not None
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    await putting.close()
    return seen


async def test_a_batch_has_no_more_commands_than_it_may() -> None:
    etcd = ListenedEtcd()
    putting = proposer(etcd)
    for number in range(MOST_COMMANDS + 5):
        putting.add(hello(f"user{number}"), "ticket")
    first, second = await batches(putting, etcd, 2)
    assert (len(first.commands), len(second.commands)) == (MOST_COMMANDS, 5)
    assert (first.seq, second.seq) == (2, 3), "the first one was its enter"


async def test_a_batch_has_no_more_bytes_than_it_may() -> None:
    etcd = ListenedEtcd()
    putting = proposer(etcd)
    for _ in range(5):
        putting.add(hello("x" * (MOST_BYTES // 4)), "ticket")
    sizes = [len(each.commands) for each in await batches(putting, etcd, 2)]
    assert sizes == [3, 2]


async def test_others_are_waited_for_before_something_is_asked_and_not_before_something_is_given_back() -> None:
    etcd = ListenedEtcd()
    asked: list[int] = []

    def pause() -> float:
        asked.append(len(etcd.taken))
        return 0.001

    putting = proposer(etcd, pause)
    putting.add(Proposed(End(1, "bye")), "ticket", release=True)
    await batches(putting, etcd, 1)
    assert asked == []
    putting.add(hello(), "ticket")
    await batches(putting, etcd, 1)
    assert asked == [1]


async def test_what_is_given_back_goes_first() -> None:
    etcd = ListenedEtcd()
    putting = proposer(etcd)
    putting.add(hello("ann"), "asks")
    putting.add(Proposed(End(1, "bye"), 0), "gives back", release=True)
    (batch,) = await batches(putting, etcd, 1)
    assert [each[0][0] for each in batch.commands] == ["End", "Hello"]


async def test_the_same_batch_goes_to_another_member_until_it_was_seen() -> None:
    etcd = ListenedEtcd(frozenset(URLS[:2]))
    putting = proposer(etcd)
    sending = asyncio.create_task(putting.put(Batch("n1", 1), ["ticket"]))
    await until(lambda: len(etcd.taken) == 3)
    assert [url for url, _ in etcd.taken] == list(URLS)
    assert len({batch for _, batch in etcd.taken}) == 1
    assert putting.saw(Batch("n1", 2)) is None
    assert putting.saw(Batch("n2", 1)) is None
    outstanding = putting.saw(Batch("n1", 1))
    assert outstanding is not None
    assert outstanding.tickets == ["ticket"]
    await sending
    await putting.close()
    assert putting.put_failures == 2


async def test_a_node_that_goes_says_so_after_all_that_waits() -> None:
    etcd = ListenedEtcd()
    putting = proposer(etcd)
    putting.add(Proposed(End(1, "drained"), 0), "gives back", release=True)
    putting.depart()
    (batch,) = await batches(putting, etcd, 1)
    assert batch.depart
    assert len(batch.commands) == 1
