"""The operator port seen from the command line: one HTTP session, and failures as one sentence.

The address comes from `--operator`, the token from `TALLYGATE_TOKEN` (never from the command line, where every user of
the machine could read it).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    import argparse

URL = "http://127.0.0.1:4311"


class OperatorError(Exception):
    """The operator port did not do it; the text is one sentence for a person. `status` is the HTTP status, if any."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--operator`."""
    parser.add_argument(
        "--operator",
        metavar="URL",
        type=address,
        default=URL,
        help="operator port of the gateway (default %(default)s); a token is read from TALLYGATE_TOKEN",
    )


def address(text: str) -> str:
    """An http(s) address, without a slash at its end.

    Raises `ValueError`.
    """
    parts = urlsplit(text if "//" in text else f"http://{text}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{text} is no http address")
    return parts.geturl().rstrip("/")


class Operator:
    """Requests to one gateway's operator port; use it as `async with`. Everything raises `OperatorError`."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        """`url` without a slash at its end; `timeout` in seconds, for each whole request."""
        self.url = url
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        token = os.environ.get("TALLYGATE_TOKEN")
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=aiohttp.ClientTimeout(total=self._timeout),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def json(self, method: str, path: str, **parameters: str | int | None) -> Any:
        """The JSON a route answers, None where it answers nothing (204). Parameters that are None are left out."""
        given = {key: str(value) for key, value in parameters.items() if value is not None}
        status, body = await self._request(method, path, given)
        if status == 204 or not body:
            return None
        try:
            return json.loads(body)
        except ValueError:
            raise OperatorError(f"{self.url}{path} answers no JSON: is it a gateway?", status) from None

    async def text(self, path: str) -> str:
        """The text a route answers."""
        _, body = await self._request("GET", path, {})
        return body.decode(errors="replace")

    async def count(self, path: str) -> int:
        """How many there are, of a route that answers `{"count": n}`, a number, or pages of `items`."""
        document = await self.json("GET", path)
        total = 0
        while isinstance(document, dict) and "items" in document:
            total += len(document["items"])
            if not document.get("next"):
                return total
            document = await self.json("GET", path, cursor=document["next"])
        if isinstance(document, dict):
            document = document.get("count")
        if not isinstance(document, int):
            raise OperatorError(f"{self.url}{path} answers no count")
        return document

    async def _request(self, method: str, path: str, parameters: dict[str, str]) -> tuple[int, bytes]:
        if self._session is None:
            raise RuntimeError("use it as `async with`")
        try:
            async with self._session.request(method, self.url + path, params=parameters) as answer:
                body = await answer.read()
        except aiohttp.ClientConnectorError:
            raise OperatorError(f"no gateway answers at {self.url}: is it running?") from None
        except TimeoutError:
            raise OperatorError(f"the gateway at {self.url} did not answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as fault:
            raise OperatorError(f"the gateway at {self.url} broke off: {fault}") from None
        if answer.status >= 400:
            raise OperatorError(f"{method} {path}: {_explain(answer.status, body)}", answer.status)
        return answer.status, body


def _explain(status: int, body: bytes) -> str:
    if status == 401:
        return "a token is needed: set TALLYGATE_TOKEN"
    try:
        document = json.loads(body)
        return f"{document['error']}: {document['detail']}" if document.get("detail") else str(document["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP {status}"
