"""The operator port as operators with and without tokens ask it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.conftest import House


class Port:
    """The operator port as somebody asks it: status, headers and JSON."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def __call__(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        address: str = "127.0.0.1",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> tuple[int, Mapping[str, str], Any]:
        sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token is not None else {})}
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, self.house.url + path, headers=sent, **options) as answer,
        ):
            told = await answer.json() if answer.content_type == "application/json" else await answer.read()
            return answer.status, answer.headers, told


def outside(path: Path) -> dict[str, Any]:
    """Settings of an operator port on all addresses."""
    return {"listen__operator_host": "0.0.0.0", "store__path": path}  # noqa: S104 - that is what is guarded
