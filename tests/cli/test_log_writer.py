"""Lines of the log are written by a thread, which may wait for its reader as long as it likes."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import pytest

from gateway.cli.log_writer import LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: where it is read, and where it is written to."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        for end in (reader, writer):
            os.close(end)


def record(text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("tallygate.test", logging.WARNING, __file__, 1, text, values, None)


def test_lines_are_written_in_their_order(pipe: tuple[int, int]) -> None:
    log = LogWriter(pipe[1])
    for number in range(100):
        log.emit(record("line %d of jörg \udcff", number))
    log.close()
    lines = os.read(pipe[0], 65_536).decode().splitlines()
    assert lines == [f"line {number} of jörg \\udcff" for number in range(100)]


@pytest.fixture
def full_pipe(pipe: tuple[int, int]) -> tuple[int, int, int]:
    """A pipe that takes nothing more: where it is read, where it is written to, and how many bytes it has."""
    reader, writer = pipe
    os.set_blocking(writer, False)
    size = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            size += os.write(writer, b"x" * 1024)
    os.set_blocking(writer, True)
    return reader, writer, size


def test_who_does_not_read_stops_nobody_and_is_told_what_was_dropped(full_pipe: tuple[int, int, int]) -> None:
    reader, writer, size = full_pipe
    log = LogWriter(writer, waiting_lines=10)
    for number in range(1000):
        log.emit(record("line %d", number))
    while size:
        size -= len(os.read(reader, size))
    log.close()
    lines = os.read(reader, 65_536).decode().splitlines()
    (told,) = [line for line in lines if line.endswith("nobody read it")]
    assert told == f"{1000 - len(lines) + 1} lines of the log were dropped: nobody read it"
    assert lines[0] == "line 0"
    assert len(lines) < 20


def test_the_end_does_not_wait_for_a_reader(full_pipe: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.log_writer.LAST_LINES", 0.01)
    reader, writer, size = full_pipe
    log = LogWriter(writer)
    log.emit(record("the last"))
    log.close()
    assert log._thread.is_alive()
    os.read(reader, size)
    log._thread.join()
    assert os.read(reader, size) == b"the last\n"


def test_a_record_that_cannot_be_formatted_is_told_as_logging_does(
    pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    log = LogWriter(pipe[1])
    log.emit(record("%d", "no number"))
    log.close()
    assert "--- Logging error ---" in capsys.readouterr().err


def test_a_file_that_is_gone_ends_nothing(pipe: tuple[int, int]) -> None:
    gone = os.dup(pipe[1])
    os.close(gone)
    log = LogWriter(gone)
    for _ in range(3):
        log.emit(record("lost"))
    log.close()
    assert not log._thread.is_alive()
    assert log._lines.empty()
