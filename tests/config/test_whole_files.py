"""Files that are read whole, and no further than such a file can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.whole_files import LONGEST, read_bytes, read_text
from tests.config.test_loader import faults

WITHOUT_END = "/dev/zero"
TOO_LONG = "it is longer than 1,048,576 bytes"


def test_a_file_is_read_to_its_end_and_not_beyond_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * LONGEST)
    assert read_bytes(path) == b"a" * LONGEST
    path.write_bytes(b"a" * (LONGEST + 1))
    with pytest.raises(OSError, match=TOO_LONG):
        read_bytes(path)


def test_text_comes_without_the_mark_of_an_editor_and_the_line_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbfsecret \xff\r\n")
    assert read_text(path) == "secret \ufffd"
    with pytest.raises(UnicodeDecodeError):
        read_text(path, "strict")


@pytest.mark.parametrize(
    "key",
    [
        "listen.operator_token_file",
        "listen.tls_certificate",
        "listen.tls_key",
        "registration.key_file",
        "registration.tls_ca",
        "cluster.tls_ca",
    ],
)
def test_no_setting_leads_to_a_file_without_an_end(key: str) -> None:
    found = [each for each in faults(None, f"{key}={WITHOUT_END}") if each.startswith(f"{key}: ")]
    assert f'{key}: "{WITHOUT_END}" cannot be read: {TOO_LONG}' in found
