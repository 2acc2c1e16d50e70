"""How lines of the log are written, and what is said where all of them are JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object per record: `time` (RFC 3339 in UTC), `level`, `logger`, `event` and `detail` of one that is an
    event (PROTOCOL.md, Events), `message`, and `fault` where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            **({"event": record.event} if hasattr(record, "event") else {}),
            "message": record.getMessage(),
            **({"detail": record.detail} if hasattr(record, "detail") else {}),
        }
        if record.exc_info:
            line["fault"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def in_json() -> bool:
    """Return whether the log is in JSON: then nothing else is said, so that every line is."""
    return any(isinstance(each.formatter, JsonLines) for each in logging.getLogger().handlers)


def complain(text: str) -> None:
    """Say on standard error why a command failed; as a line of the log where that is in JSON."""
    if in_json():
        logging.getLogger("tallygate").critical("%s", text)
    else:
        print(f"tallygate: {text}", file=sys.stderr, flush=True)
