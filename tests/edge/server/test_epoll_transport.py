"""Plain sockets beside the event loop: every way in which one can be read, written and end, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import resource
import select
import socket
import struct
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop

from gateway.edge.server import epoll_transport
from gateway.edge.server.epoll_transport import EVENTS, Epoll, EpollTransport
from tests.conftest import until
from tests.wire_client import PATIENCE

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what is closed is reset."""
MANY = 1 << 20
"""Bytes that no socket takes at once."""
LOOPS: Callable[[Callable[..., None]], Callable[..., None]] = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


class Recorder(asyncio.Protocol):
    """Notes what its transport tells; `on_data` is called after that, `half` keeps it open after the peer's end."""

    transport: EpollTransport

    def __init__(self, on_data: Callable[[bytes], None] = lambda _: None, *, half: bool = False) -> None:
        self.told: list[Any] = []
        self.on_data = on_data
        self.half = half
        self.inside = False

    @property
    def data(self) -> bytes:
        return b"".join(each for each in self.told if isinstance(each, bytes))

    @property
    def lost(self) -> bool:
        return any(isinstance(each, tuple) for each in self.told)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, EpollTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.told.append(data)
        self.inside = True
        try:
            self.on_data(data)
        finally:
            self.inside = False

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.half

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.inside
        self.told.append(("lost", type(exc)))


class Sockets:
    """An epoll file and the peers of its sockets."""

    def __init__(self) -> None:
        self.epoll = Epoll()
        self._stack = contextlib.ExitStack()
        self._listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *_: object) -> None:
        self.epoll.close()
        self._stack.close()

    def connect(self, protocol: asyncio.Protocol, room: int | None = None) -> socket.socket:
        """Attach one more socket for `protocol`, and return its peer's."""
        peer = self._stack.enter_context(socket.socket())
        if room is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        peer.connect(self._listener.getsockname())
        ours, _ = self._listener.accept()
        if room is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        self.epoll.attach(ours.detach(), protocol)
        return peer


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test, which is given `sockets`, on the event loop of asyncio and on uvloop."""

    def run(loop: Callable[[], asyncio.AbstractEventLoop], **fixtures: Any) -> None:
        async def within() -> None:
            with Sockets() as sockets:
                await test(sockets=sockets, **fixtures)

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(within())

    given = [each.replace(kind=each.KEYWORD_ONLY) for each in inspect.signature(test).parameters.values()]
    given = [each.replace(name="loop") if each.name == "sockets" else each for each in given]
    run.__name__ = test.__name__
    run.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]  # by which pytest finds the fixtures
    return LOOPS(run)


async def drained(peer: socket.socket, size: int) -> bytes:
    """So many bytes from a peer's socket, while the loop goes on."""
    peer.setblocking(False)
    found = b""
    while len(found) < size:
        found += await asyncio.get_running_loop().sock_recv(peer, size - len(found))
    return found


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()


# -- reading and writing ---------------------------------------------------------------------------------------------


@on_both_loops
async def test_what_comes_is_handed_over_and_what_is_written_arrives_at_once(sockets: Sockets) -> None:
    def answer(data: bytes) -> None:
        echo.transport.write(data)

    echo = Recorder(answer)
    peer = sockets.connect(echo)
    peer.sendall(b"one")
    await until(lambda: echo.told == [b"one"])
    assert peer.recv(10) == b"one"
    assert echo.transport.get_write_buffer_size() == 0


@on_both_loops
async def test_what_the_kernel_does_not_take_waits_and_arrives_in_order(sockets: Sockets) -> None:
    writer = Recorder()
    peer = sockets.connect(writer, room=4096)
    sent = os.urandom(MANY)
    writer.transport.write(sent[: MANY // 2])
    waiting = writer.transport.get_write_buffer_size()
    assert 0 < waiting < MANY // 2
    writer.transport.write(memoryview(sent)[MANY // 2 :])
    assert writer.transport.get_write_buffer_size() == waiting + MANY // 2
    assert await drained(peer, MANY) == sent
    await until(lambda: writer.transport.state == 0)
    assert writer.transport.get_write_buffer_size() == 0
    writer.transport.write(b"more")
    assert await drained(peer, 4) == b"more"


@on_both_loops
async def test_it_is_read_while_something_waits_to_be_sent(sockets: Sockets) -> None:
    writer = Recorder()
    peer = sockets.connect(writer, room=4096)
    writer.transport.write(bytes(MANY))
    peer.sendall(b"beat")
    await until(lambda: writer.data == b"beat")
    assert writer.transport.get_write_buffer_size() > 0


@pytest.mark.parametrize(("high", "limits"), [(None, (16384, 65536)), (1000, (250, 1000)), (0, (0, 0))])
@on_both_loops
async def test_above_the_limit_the_protocol_is_told_once_and_again_when_it_may_go_on(
    high: int | None, limits: tuple[int, int], sockets: Sockets
) -> None:
    writer = Recorder()
    peer = sockets.connect(writer, room=4096)
    transport = writer.transport
    transport.set_write_buffer_limits(high)
    assert transport.get_write_buffer_limits() == limits
    while transport.get_write_buffer_size() <= limits[1]:
        assert writer.told == []
        transport.write(bytes(4096))
    transport.write(bytes(MANY))
    assert writer.told == ["pause"]
    waiting = transport.get_write_buffer_size()
    while writer.told == ["pause"]:
        await drained(peer, 4096)
    assert writer.told == ["pause", "resume"]
    assert transport.get_write_buffer_size() <= limits[0] < waiting


# -- the peer's end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
@on_both_loops
async def test_after_the_peers_end_it_is_closed_unless_something_is_still_to_be_said(
    half: bool, sockets: Sockets
) -> None:
    hearer = Recorder(half=half)
    peer = sockets.connect(hearer)
    peer.sendall(b"last")
    peer.shutdown(socket.SHUT_WR)
    await until(lambda: hearer.told[:2] == [b"last", "eof"])
    if half:
        for _ in range(5):
            await asyncio.sleep(0)
        assert not sockets.epoll._epoll.poll(0)  # the end that it stands at does not wake the loop again and again
        hearer.transport.write(b"answer")
        assert peer.recv(10) == b"answer"
        hearer.transport.close()
    await until(lambda: hearer.lost)
    assert hearer.told == [b"last", "eof", ("lost", type(None))]
    assert peer.recv(1) == b""


@on_both_loops
async def test_what_waits_is_sent_after_the_peers_end_and_after_the_own(sockets: Sockets) -> None:
    writer = Recorder(half=True)
    peer = sockets.connect(writer, room=4096)
    writer.transport.write(bytes(MANY))
    peer.shutdown(socket.SHUT_WR)
    await until(lambda: "eof" in writer.told)
    writer.transport.write_eof()
    assert await drained(peer, MANY) == bytes(MANY)
    await until(lambda: writer.lost)
    assert peer.recv(1) == b""


@on_both_loops
async def test_with_both_halves_shut_it_is_over(sockets: Sockets) -> None:
    hearer = Recorder(half=True)
    peer = sockets.connect(hearer)
    peer.shutdown(socket.SHUT_WR)
    await until(lambda: hearer.told == ["eof"])
    hearer.transport.write_eof()
    await until(lambda: hearer.lost)
    assert hearer.told == ["eof", ("lost", type(None))]


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("ended", [False, True])
@on_both_loops
async def test_a_reset_is_noticed_whatever_it_waits_for(ended: bool, waiting: bool, sockets: Sockets) -> None:
    hearer = Recorder(half=True)
    peer = sockets.connect(hearer, room=4096)
    if waiting:
        hearer.transport.write(bytes(MANY))
    if ended:
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: hearer.told == ["pause", "eof"] if waiting else hearer.told == ["eof"])
    reset(peer)
    await until(lambda: hearer.lost)
    assert issubclass(hearer.told[-1][1], ConnectionError)
    hearer.transport.write(b"nobody reads it")
    assert hearer.transport.get_write_buffer_size() == 0


@on_both_loops
async def test_a_reset_that_a_write_finds_is_told_later_and_once(sockets: Sockets) -> None:
    writer = Recorder()
    reset(sockets.connect(writer))
    writer.transport.write(b"too late")
    assert writer.told == []
    assert writer.transport.is_closing()
    await until(lambda: writer.lost)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(writer.told) == 1


# -- the own end -----------------------------------------------------------------------------------------------------


@on_both_loops
async def test_the_sending_half_is_shut_after_what_waits_and_reading_goes_on(sockets: Sockets) -> None:
    writer = Recorder()
    peer = sockets.connect(writer, room=4096)
    assert writer.transport.can_write_eof()
    writer.transport.write(bytes(MANY))
    writer.transport.write_eof()
    writer.transport.write_eof()
    with pytest.raises(RuntimeError):
        writer.transport.write(b"more")
    assert await drained(peer, MANY) == bytes(MANY)
    await until(lambda: not writer.transport.get_write_buffer_size())
    assert await asyncio.get_running_loop().sock_recv(peer, 1) == b""
    peer.send(b"heard")
    await until(lambda: writer.data == b"heard")


@on_both_loops
async def test_a_half_that_the_peer_has_reset_cannot_be_shut(sockets: Sockets) -> None:
    writer = Recorder()
    reset(sockets.connect(writer))
    with pytest.raises(OSError, match="not connected"):
        writer.transport.write_eof()
    assert os.fstat(writer.transport.descriptor)


@on_both_loops
async def test_closed_from_within_nothing_more_is_received_and_the_end_comes_after(sockets: Sockets) -> None:
    closer = Recorder(lambda _: closer.transport.close())
    peer = sockets.connect(closer)
    peer.sendall(b"one")
    await until(lambda: closer.lost)
    assert closer.told == [b"one", ("lost", type(None))]
    closer.transport.close()
    closer.transport.abort()
    closer.transport.write_eof()
    await asyncio.sleep(0)
    assert len(closer.told) == 2


@on_both_loops
async def test_what_waits_is_sent_before_the_close(sockets: Sockets) -> None:
    writer = Recorder()
    peer = sockets.connect(writer, room=4096)
    writer.transport.write(bytes(MANY))
    writer.transport.close()
    writer.transport.write(b"after the end")
    assert await drained(peer, MANY) == bytes(MANY)
    await until(lambda: writer.lost)
    assert peer.recv(1) == b""


@on_both_loops
async def test_nothing_is_read_while_what_waits_keeps_it_from_the_close(sockets: Sockets) -> None:
    writer = Recorder()
    peer = sockets.connect(writer, room=4096)
    writer.transport.write(bytes(MANY))
    writer.transport.close()
    peer.send(b"unheard")
    sockets.epoll.serve_all()
    assert writer.told == ["pause"]


@on_both_loops
async def test_an_abort_drops_what_waits(sockets: Sockets) -> None:
    writer = Recorder()
    peer = sockets.connect(writer, room=4096)
    writer.transport.write(bytes(MANY))
    writer.transport.abort()
    assert writer.transport.get_write_buffer_size() == 0
    assert not writer.lost
    await until(lambda: writer.lost)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer.transport.descriptor)
    with contextlib.suppress(ConnectionResetError):
        assert len(peer.recv(MANY, socket.MSG_WAITALL)) < MANY


@pytest.mark.parametrize("end", ["ours", "the peer's"])
@on_both_loops
async def test_what_nobody_reads_any_more_does_not_wake_the_loop(end: str, sockets: Sockets) -> None:
    writer = Recorder(half=True)
    peer = sockets.connect(writer, room=4096)
    writer.transport.write(bytes(MANY))
    peer.sendall(b"more")
    if end == "ours":
        writer.transport.close()
    else:
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: writer.told[-1] == "eof")
    assert select.select([writer.transport.descriptor], [], [], PATIENCE)[0]
    await until(lambda: sockets.epoll._epoll.poll(0) == [])
    assert not writer.lost


@on_both_loops
async def test_nothing_of_a_connection_stays_behind(sockets: Sockets) -> None:
    gc.disable()
    try:
        protocol = Recorder()
        sockets.connect(protocol).close()
        await until(lambda: protocol.lost)
        left = weakref.ref(protocol)
        protocol = Recorder()
        assert left() is None
    finally:
        gc.enable()


# -- several in one turn ---------------------------------------------------------------------------------------------


@on_both_loops
async def test_one_that_another_ends_in_the_same_turn_hears_nothing_and_keeps_its_number(sockets: Sockets) -> None:
    taken: list[int] = []

    def end_the_other(_: bytes) -> None:
        first, second = pair if pair[0].told else pair[::-1]
        second.transport.abort()
        taken.append(os.dup(first.transport.descriptor))

    pair = [Recorder(end_the_other) for _ in range(2)]
    peers = [sockets.connect(each) for each in pair]
    for peer in peers:
        peer.sendall(b"x")
    await until(lambda: any(each.lost for each in pair))
    (ended,) = [each for each in pair if each.lost]
    os.close(taken[0])
    assert ended.told == [("lost", type(None))]
    assert taken[0] != ended.transport.descriptor


@on_both_loops
async def test_a_number_that_is_used_again_belongs_to_the_new_one_alone(sockets: Sockets) -> None:
    first = Recorder()
    peer = sockets.connect(first)
    number = first.transport.descriptor
    copy = os.dup(number)  # as a child has it that was forked: the socket lives on
    try:
        first.transport.abort()
        peer.sendall(b"for nobody")
        await until(lambda: first.lost)
        await until(lambda: sockets.epoll._epoll.poll(0) == [])
        second = Recorder()
        os.dup2(copy, number)
        other, theirs = socket.socketpair()
        os.dup2(other.detach(), number)
        sockets.epoll.attach(number, second)
        with theirs:
            theirs.sendall(b"for the second")
            await until(lambda: bool(second.told))
        assert second.data == b"for the second"
        assert first.told == [("lost", type(None))]
    finally:
        os.close(copy)


@pytest.fixture
def many_files() -> Iterator[int]:
    """As many files as there may be; how many connections of both sides these are enough for."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield min(5000, (before[1] - 100) // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@on_both_loops
async def test_one_who_floods_does_not_keep_the_others_and_the_loop_waiting(sockets: Sockets, many_files: int) -> None:
    turns: list[int] = [0]

    def send_more(_: bytes) -> None:
        loud.send(bytes(65536))

    flooded = Recorder(send_more)
    loud = sockets.connect(flooded)
    loud.setblocking(False)
    loud.send(bytes(65536))
    served: list[int] = []

    def note(_: bytes) -> None:
        turns[-1] += 1
        served.append(len(turns))

    quiet = [Recorder(note) for _ in range(many_files)]
    peers = [sockets.connect(each) for each in quiet]
    for peer in peers:
        peer.send(b"beat")
    while len(served) < many_files:
        turns.append(0)
        await asyncio.sleep(0)
    assert max(turns) <= EVENTS
    assert len(turns) <= 2 * (many_files // EVENTS + 3)  # uvloop may let a turn pass between
    assert len(flooded.told) <= len(turns)
    assert all(each.told == [b"beat"] for each in quiet)


@on_both_loops
async def test_all_are_served_at_once_where_that_is_asked_for(sockets: Sockets) -> None:
    hearers = [Recorder() for _ in range(EVENTS + 50)]
    for each in hearers:
        sockets.connect(each).send(b"beat")
    sockets.epoll.serve_all()
    assert all(each.told == [b"beat"] for each in hearers)


@on_both_loops
async def test_a_long_message_is_read_in_pieces(sockets: Sockets) -> None:
    hearer = Recorder()
    peer = sockets.connect(hearer)
    peer.sendall(bytes(100_000))
    await until(lambda: len(hearer.data) == 100_000)
    assert max(map(len, hearer.told)) <= epoll_transport.READ_SIZE


# -- faults ----------------------------------------------------------------------------------------------------------


@on_both_loops
async def test_one_that_fails_is_reported_and_cut_off_and_the_others_go_on(sockets: Sockets) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def fail(_: bytes) -> None:
        raise ZeroDivisionError

    broken, sound = Recorder(fail), Recorder()
    for peer in (sockets.connect(broken), sockets.connect(sound)):
        peer.sendall(b"x")
    await until(lambda: broken.lost and bool(sound.told))
    assert broken.told == [b"x", ("lost", ZeroDivisionError)]
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]
    assert reported[0]["protocol"] is broken


@on_both_loops
async def test_one_that_fails_at_its_end_is_reported_and_the_others_end_too(sockets: Sockets) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    class Broken(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
            raise ZeroDivisionError

    broken, sound = Broken(), Recorder()
    for each in (broken, sound):
        sockets.connect(each)
        each.transport.abort()
    await until(lambda: sound.lost)
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]
    assert reported[0]["protocol"] is broken
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(broken.transport.descriptor)


@on_both_loops
async def test_what_cannot_be_watched_stays_the_callers(sockets: Sockets, tmp_path: Any) -> None:
    with (tmp_path / "file").open("w") as file:
        with pytest.raises(OSError, match="not permitted"):  # the kernel watches no plain file
            sockets.epoll.attach(file.fileno(), Recorder())
        assert os.fstat(file.fileno())


async def test_closed_it_ends_all_and_another_can_be_opened() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Sockets() as sockets:
            recorders = [Recorder() for _ in range(3)]
            for each in recorders:
                sockets.connect(each).sendall(b"x")
            recorders[0].transport.abort()
            await asyncio.sleep(0)
        assert all(each.lost for each in recorders)
        await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before
