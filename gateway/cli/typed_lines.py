"""Lines that a person types, or that come through a pipe, beside an event loop that goes on meanwhile.

The main thread reads, because only it hears of signals, and `readline` gives it history, editing and completion; the
event loop runs in a thread of its own. A signal, or `TypedLines.end`, breaks off what the main thread waits for, and
the terminal is left as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from importlib import import_module
from types import FrameType
from typing import Any, Self, TextIO, TypeVar

Result = TypeVar("Result")
PROMPT = "> "
HISTORY = 1000
"""Lines that can be called back."""
WAKE = signal.SIGUSR1
"""What breaks off a wait of the main thread."""
SIGNALS = (WAKE, signal.SIGINT, signal.SIGTERM)
AGAIN = 0.05
"""Seconds after which it is sent again: one that comes just before the thread waits breaks off nothing."""
_ABOVE = "\r\x1b[K"
"""Clears the line that is being typed, so that something is shown in its place."""


class ReadingEnded(Exception):
    """Nothing more is to be read: `TypedLines.end` was called, or the process was told to end."""


class TypedLines:
    """The lines of standard input, what is shown beside them, and the loop; used as `with`, in the main thread.

    `terminal` says whether a person types: there is a prompt then, and what is shown while a line is being typed stands
    above it. `complete` returns what the last word of a line may become.
    """

    def __init__(self, complete: Callable[[str], list[str]]) -> None:
        self._input: TextIO | None = sys.stdin  # None where it was closed when the process began
        self.terminal = self._input is not None and self._input.isatty() and sys.stdout.isatty()
        self._complete = complete
        self._readline: Any = None
        self._cause: type[BaseException] | None = None
        """Why nothing more is to be waited for."""
        self._waits = self._prompted = self._roused = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        woken, writes = socket.socketpair()
        for each in (woken, writes):
            each.setblocking(False)
            self._stack.callback(each.close)
        self._loop = self._stack.enter_context(_loop_beside())
        for number in SIGNALS:
            self._stack.callback(signal.signal, number, signal.signal(number, self._handle))
        self._stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False))
        self._loop.call_soon_threadsafe(self._loop.add_reader, woken, self._signaled, woken)
        if self.terminal:
            self._readline = _prepared_readline(self._completion)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self) -> str | None:
        """Wait for the next line and return it without its end; None where there are no more.

        Raises `ReadingEnded`, `KeyboardInterrupt`, `OSError`, or `UnicodeDecodeError` for another character set.
        """
        with self._waiting():
            if self.terminal:
                return self._typed()
            line = self._input.readline() if self._input is not None else ""
            return line.rstrip("\r\n") if line else None

    def wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Have the loop do something, wait until it is done, and return what it returns.

        Raises what it raises, `ReadingEnded` or `KeyboardInterrupt`; it is cancelled then.
        """
        doing = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            with self._waiting():
                return doing.result()
        finally:
            doing.cancel()

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Have the loop do something after the end too; only another signal breaks it off."""
        self._cause = None
        with contextlib.suppress(ReadingEnded, KeyboardInterrupt):
            self.wait(work)

    def show(self, text: str) -> None:
        """Print lines; where somebody is typing, above what was typed so far."""
        if not self._prompted:
            print(text, flush=True)
            return
        typed = self._readline.get_line_buffer() if self._readline is not None else ""
        print(f"{_ABOVE}{text}\n{PROMPT}{typed}", end="", flush=True)

    def end(self) -> None:
        """Have the main thread raise `ReadingEnded` where it waits, now or the next time; from any thread."""
        self._cause = self._cause or ReadingEnded
        self._loop.call_soon_threadsafe(self._rouse)

    # -- the main thread -----------------------------------------------------------------------------------------------

    def _typed(self) -> str | None:
        self._prompted = True
        try:
            return input(PROMPT)
        except EOFError:
            print()
            return None
        except (ReadingEnded, KeyboardInterrupt, SystemError):
            print()
            if self._cause is None:
                raise
            raise self._cause from None  # `input` makes a SystemError of two signals at once
        finally:
            self._prompted = False

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        self._waits = True
        try:
            self._stop_if_told()
            yield
        finally:
            self._waits = False

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as `signal` calls it
        if number == WAKE:
            self._roused = True
        else:
            self._cause = KeyboardInterrupt if number == signal.SIGINT else ReadingEnded
        if self._waits:
            self._stop_if_told()

    def _stop_if_told(self) -> None:
        if self._cause is not None:
            self._waits = False  # once is enough
            raise self._cause

    # -- the loop's thread ---------------------------------------------------------------------------------------------

    def _signaled(self, woken: socket.socket) -> None:
        if bytes({*woken.recv(4096)} - {WAKE}):
            self._rouse()

    def _rouse(self) -> None:
        """Break off what the main thread waits for."""
        self._roused = False
        self._rouse_again()

    def _rouse_again(self) -> None:
        if not self._roused:
            signal.pthread_kill(threading.main_thread().ident or 0, WAKE)
            self._loop.call_later(AGAIN, self._rouse_again)

    # -- readline ------------------------------------------------------------------------------------------------------

    def _completion(self, word: str, place: int) -> str | None:
        line = self._readline.get_line_buffer()[: self._readline.get_endidx()]
        found = self._complete(line) if line.endswith(word) else []
        return (found[place] + ("" if found[place].endswith("=") else " ")) if place < len(found) else None


@contextlib.contextmanager
def _loop_beside() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, for as long as the block lasts; what still runs then is cancelled."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def last() -> None:
        over = asyncio.Event()
        ready.set_result((asyncio.get_running_loop(), over))
        await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(last()), name="event loop")
    thread.start()
    loop, over = ready.result()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


def _prepared_readline(completion: Callable[[str, int], str | None]) -> Any:
    """The module `readline`, ready to edit and complete; None where Python was built without it."""
    try:
        readline: Any = import_module("readline")
    except ModuleNotFoundError:
        return None
    readline.set_history_length(HISTORY)
    readline.set_completer(completion)
    readline.set_completer_delims(" ")
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    return readline
