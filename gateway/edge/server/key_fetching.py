"""The keys of an issuer of tokens that are behind a URL, fetched in the background.

Nobody waits for them: whoever comes meanwhile is answered by the keys of before, which stay good while the URL is away.
A token that names a key which is not known has them fetched again, no sooner than `jwks_pause` after the last attempt,
so that made-up names fetch nothing. One task for each URL, from `start` to `stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
from collections.abc import Callable

import aiohttp

from config.token_settings import IssuerSettings
from gateway.core.web_tokens.key_set import UnusableKeys, VerificationKey, read_key_set

log = logging.getLogger("tallygate.tokens")


class KeyFetcher:
    """Fetches the keys of one issuer, and gives them to `take`; it raises `UnusableKeys` where they are not valid."""

    def __init__(
        self, settings: IssuerSettings, mono: Callable[[], float], take: Callable[[list[VerificationKey]], None]
    ) -> None:
        self.settings = settings
        self.attempts, self.busy = 0, False
        """How often it has asked, and whether it waits for an answer."""
        self._mono = mono
        self._take = take
        self._asked = asyncio.Event()
        self._last = -math.inf
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Fetch them now, and from time to time."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"keys of {self.settings.issuer}")

    async def stop(self) -> None:
        """Fetch nothing any more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def ask(self) -> float:
        """Have them fetched as soon as they may be; returns in how many seconds they may be there."""
        if self.busy:
            return 1.0
        self._asked.set()
        return max(self._last + self.settings.jwks_pause - self._mono(), 0.0) + 1.0

    async def _run(self) -> None:
        while True:
            self._asked.clear()
            self._last = self._mono()
            self.attempts, self.busy = self.attempts + 1, True
            try:
                self._take(await self._fetched())
            except (aiohttp.ClientError, OSError, UnusableKeys, ValueError) as fault:
                self._say(str(fault) or type(fault).__name__)
            else:
                self._say("")
            self.busy = False
            wait = self.settings.jwks_pause if self._trouble else self.settings.jwks_refresh
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait, self.settings.jwks_pause)):
                    await self._asked.wait()
            await asyncio.sleep(max(self._last + self.settings.jwks_pause - self._mono(), 0.0))

    async def _fetched(self) -> list[VerificationKey]:
        """The keys as they are now.

        Raises `aiohttp.ClientError`, `OSError` (`TimeoutError` too) or `UnusableKeys`.
        """
        settings = self.settings
        tls: ssl.SSLContext | bool = True
        if settings.jwks_ca:
            tls = await asyncio.to_thread(ssl.create_default_context, cafile=settings.jwks_ca)
        content = bytearray()
        async with (
            asyncio.timeout(settings.jwks_timeout),
            aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "identity"}) as session,
            session.get(settings.jwks_url, allow_redirects=False, ssl=tls) as response,
        ):
            if response.status != 200:
                raise UnusableKeys(f"the answer is {response.status}")
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > settings.jwks_limit:
                    raise UnusableKeys(f"the answer has more than {settings.jwks_limit} bytes")
        keys, passed_over = read_key_set(bytes(content), secrets=False)
        for algorithm in settings.algorithms:
            if not any(key.fits(algorithm) for key in keys):
                because = f" ({'; '.join(passed_over)})" if passed_over else ""
                raise UnusableKeys(f"there is no key for {algorithm}{because}")
        return keys

    def _say(self, trouble: str) -> None:
        """Log what has changed; an attempt like the one before is not worth a line."""
        if trouble and trouble != self._trouble:
            log.warning(
                "the keys of %s cannot be fetched from %s: %s; the previous ones stay valid",
                self.settings.issuer,
                self.settings.jwks_url,
                trouble,
            )
        elif self._trouble and not trouble:
            log.warning("the keys of %s can be fetched again", self.settings.issuer)
        self._trouble = trouble
