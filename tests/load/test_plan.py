"""What a machine says that joins a load, and what is none of it."""

from __future__ import annotations

import pytest

from gateway.load.plan import Machine


@pytest.mark.parametrize("machine", [Machine(1024), Machine(1024, 3, ("127.0.0.2", "127.0.0.3"))])
def test_a_machine_is_read_as_it_was_written(machine: Machine) -> None:
    assert Machine.load(machine.dump().encode()) == machine


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"[]",
        b"7",
        b"[" * 100_000,
        b'{"files": 1024}',
        b'{"files": "many", "processes": null, "sources": []}',
        b'{"files": true, "processes": null, "sources": []}',
        b'{"files": 0, "processes": null, "sources": []}',
        b'{"files": 1024, "processes": -1, "sources": []}',
        b'{"files": 1024, "processes": 1.5, "sources": []}',
        b'{"files": 1024, "processes": null, "sources": [7]}',
        b'{"files": 1024, "processes": null, "sources": null}',
    ],
)
def test_whoever_connects_and_is_no_machine_of_a_load_is_told_apart(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"no machine|Expecting"):
        Machine.load(line)
