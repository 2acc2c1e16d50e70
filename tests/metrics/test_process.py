"""What the process says of itself, against what the kernel says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from metrics.process import ProcessCollector, open_files


@pytest.mark.parametrize(
    ("name", "field"), [("process_resident_memory_bytes", "VmRSS"), ("process_virtual_memory_bytes", "VmSize")]
)
def test_memory_is_what_the_kernel_says(name: str, field: str) -> None:
    shown = {sample.name: sample.value for family in ProcessCollector().collect() for sample in family.samples}
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    assert shown[name] == pytest.approx(int(found[1]) * 1024, rel=0.2)


def test_time_is_that_of_the_program_and_of_the_kernel_for_it() -> None:
    while os.times().system < 0.2:
        Path("/proc/self/status").read_text()
    shown = {sample.name: sample.value for family in ProcessCollector().collect() for sample in family.samples}
    used = os.times()
    assert shown["process_cpu_seconds_total"] == pytest.approx(used.user + used.system, abs=0.1)


@pytest.mark.parametrize("told", [True, False])
def test_open_files_are_those_of_the_process(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not told:  # kernels before Linux 6.2 never do
        monkeypatch.setattr(os, "stat", lambda _: os.stat_result([0] * 10))
    before = open_files()
    with Path(os.devnull).open():
        assert open_files() == before + 1 == len(os.listdir("/proc/self/fd")) - 1
    assert open_files() == before
