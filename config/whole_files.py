"""Files that are read whole: settings, secrets, keys, certificates."""

from __future__ import annotations

import errno
import ssl
from pathlib import Path

LONGEST = 1 << 20
"""Bytes of such a file at most: a path that leads elsewhere, such as to a device, would fill the memory."""


def read_bytes(path: str | Path) -> bytes:
    """Return what a file holds.

    Raises `OSError`, also where it is longer than `LONGEST`.
    """
    with Path(path).open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise OSError(errno.EFBIG, f"it is longer than {LONGEST:,} bytes", str(path))
    return content


def read_text(path: str | Path, errors: str = "replace") -> str:
    """Return the text of a file, such as a secret, without the white space around it; `errors` says what becomes of
    what is no UTF-8.

    Raises `OSError`, also where it is longer than `LONGEST`; `UnicodeDecodeError` with `errors` "strict".
    """
    return read_bytes(path).decode("utf-8-sig", errors).strip()


def unusable_authorities(path: str) -> str:
    """Return why a file cannot be used for the certificates of authorities (PEM); an empty text where it can."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        return "is no certificate authority in PEM"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""
