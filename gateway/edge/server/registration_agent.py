"""The agent: it keeps the constant connection to the registration server and has the license verified on it.

One task, one connection. Each answer has a deadline of its own, whatever drips in meanwhile; a connection that is lost
or hopeless is made anew with full jitter, for as long as the gateway runs. What was said is judged by the conversation,
what follows from it is carried out by the registration.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import secrets
import ssl
from collections.abc import Callable
from importlib import metadata

from config.registration_settings import RegistrationSettings
from gateway.core.addresses import is_loopback
from gateway.core.formats import endpoint
from gateway.core.registration.agent_protocol import AgentConversation, Phase, Received, Verdict
from gateway.core.wire import json_lines
from gateway.core.wire.backoff import Backoff
from gateway.edge.server.registration import Registration
from gateway.licensing import OFFERS

CONNECT_TIMEOUT = 10.0
"""Seconds until a connection with its TLS must stand, and again from there until the license must be confirmed."""
CLOCK_CHECK_EVERY = 1.0
"""Seconds after which the agent looks up from waiting: a clock that was set back has itself verified at once."""
FINAL_VERDICTS = frozenset({Verdict.TURNED_AWAY, Verdict.REFUSED, Verdict.REVOKED})
"""What ends a conversation."""
NOT_NOW = "of the gateways of the cluster it is another one that asks it"
REASONS = {"bad_credential": "bad_credential, the serial is not one that it sold, or the key is another"}
"""What a reason of the registration server means, where its word alone would not help a person."""

log = logging.getLogger("tallygate.agent")


class CertificateMismatch(Exception):
    """What answers has another certificate than the registration server."""


class RegistrationAgent:
    """Keeps the gateway of `registration` registered.

    `used` returns how many seats are held now in each pool of the primary model; the registration server is told so
    with every verification.
    """

    def __init__(self, registration: Registration, used: Callable[[], dict[str, int]]) -> None:
        self._registration = registration
        self._used = used
        self._backoff = Backoff()
        self._task: asyncio.Task[None] | None = None
        self._served = False
        self._said = ""
        self._transport: asyncio.WriteTransport | None = None

    def start(self) -> None:
        """Begin.

        Raises `OSError` or `ssl.SSLError` where the file of the certificate authority cannot be used.
        """
        settings = self._registration.settings
        context = _context(settings)
        host, port = endpoint(settings.server)
        if context is None and not is_loopback(host):
            log.warning("registration without TLS: others on the network can read what is sent to %s", settings.server)
        self._task = asyncio.create_task(self._keep(host, port, context), name="registration agent")
        self._task.add_done_callback(_ended)

    async def close(self) -> None:
        """Hang up for good."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def poll(self) -> None:
        """Hang up at once where it is not this gateway any more that asks."""
        if self._transport is not None and not self._registration.may_ask:
            self._transport.abort()

    async def _keep(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        failures = 0
        while True:
            if not self._registration.may_connect:
                await asyncio.sleep(CLOCK_CHECK_EVERY)
                continue
            self._served = False
            try:
                result, why = await self._once(host, port, context)
                self._registration.lost()
            except Exception:  # whatever it was, the license must not run out for it
                log.exception("the conversation with the registration server failed")
                result, why = "lost", "see above"
                self._registration.forget_connection()
            if not self._registration.may_ask:
                result, why = "", NOT_NOW
            if result:
                self._registration.checks[result] += 1
            failures = 0 if self._served else failures + 1
            if why != self._said:  # what stays the same is said once
                log.warning("registration server %s port %d: %s", host, port, why)
            self._said = self._registration.trouble = "" if self._served else why
            await asyncio.sleep(self._backoff.delay(failures, random.uniform))

    async def _once(self, host: str, port: int, context: ssl.SSLContext | None) -> tuple[str, str]:
        """One connection, to its end; returns how it ended, to be counted and to be said."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=json_lines.LIMIT + 2)
        except ssl.SSLCertVerificationError as fault:
            return "forged", f"its certificate is not trusted: {fault.verify_message}"
        except TimeoutError:
            return "unreachable", "it does not answer"
        except (OSError, ValueError) as fault:  # an invalid host name is a ValueError
            return "unreachable", _words(fault)
        try:
            self._transport = writer.transport
            _look_at_certificate(writer, self._registration.settings.tls_fingerprint)
            return await self._talk(reader, writer)
        except CertificateMismatch as fault:
            return "forged", str(fault)
        except TimeoutError:
            return "late", "no answer in time"
        except asyncio.IncompleteReadError:
            return "lost", "it closed the connection"
        except asyncio.LimitOverrunError:
            return "malformed", "it sent a message that is too long"
        except OSError as fault:
            return "lost", _words(fault)
        finally:
            self._transport = None
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, str]:
        registration, loop = self._registration, asyncio.get_running_loop()
        if not registration.may_connect:
            raise ConnectionAbortedError(NOT_NOW)
        conversation = AgentConversation(
            registration.key,
            OFFERS,
            server=registration.installation,
            serial=registration.settings.serial,
            version=f"tallygate/{metadata.version('tallygate')}",
            nonce=secrets.token_hex(16),
            ticket=registration.ticket,
        )
        writer.write(json_lines.encode(conversation.register) + b"\n")
        due, asked = loop.time() + CONNECT_TIMEOUT, registration.boot()
        while True:
            if conversation.phase is Phase.NOTHING and (loop.time() >= due or self._set_back()):
                self._may_go_on()
                writer.write(json_lines.encode(conversation.verify(self._used())) + b"\n")
                due, asked = loop.time() + registration.status.window, registration.boot()
            try:
                async with asyncio.timeout_at(self._until(conversation, due)):
                    line = await reader.readuntil(b"\n")
            except TimeoutError:
                if conversation.phase is Phase.NOTHING:
                    continue
                if conversation.unusable:
                    return "late", f"its license cannot be used here: {conversation.unusable}"
                raise
            self._may_go_on()
            heard = self._hear(conversation, line)
            if heard.answer is not None:
                writer.write(json_lines.encode(heard.answer) + b"\n")
            if heard.verdict in {Verdict.REGISTERED, Verdict.VERIFIED}:
                if registration.boot() - asked > max(CONNECT_TIMEOUT, registration.status.window):
                    raise TimeoutError  # the machine slept meanwhile
                registration.receive(heard)
                await registration.applied()
                self._served, registration.trouble = True, ""
                registration.checks["accepted"] += 1
                due = loop.time() + registration.status.pause
            elif heard.verdict in FINAL_VERDICTS:
                if heard.verdict is not Verdict.TURNED_AWAY:
                    registration.receive(heard)
                    await registration.applied()
                why = REASONS.get(heard.reason, heard.reason)
                return "refused", f"{heard.verdict.replace('_', ' ')}: {why}"
            if conversation.too_many_untrusted:
                return "", "too much of what it says cannot be believed"

    def _may_go_on(self) -> None:
        """Stop where another gateway asks now, such as after this machine stood still.

        Raises `ConnectionAbortedError`.
        """
        if not self._registration.may_ask:
            raise ConnectionAbortedError(NOT_NOW)

    def _hear(self, conversation: AgentConversation, line: bytes) -> Received:
        """Judge one line of the server, and count it where it cannot be believed."""
        try:
            heard = conversation.receive(json_lines.parse(line.rstrip(b"\r\n")))
        except ValueError as fault:
            heard = conversation.receive_garbage(str(fault))
        if heard.verdict in {Verdict.FORGED, Verdict.REPLAYED, Verdict.MALFORMED}:
            self._registration.checks[heard.verdict] += 1
            log.info("the registration server sent a message that is %s: %s", heard.verdict, heard.reason)
        return heard

    def _until(self, conversation: AgentConversation, due: float) -> float:
        """When to stop waiting for a line, by the loop's clock."""
        glance = asyncio.get_running_loop().time() + CLOCK_CHECK_EVERY
        return min(due, glance) if conversation.phase is Phase.NOTHING else due

    def _set_back(self) -> bool:
        return self._registration.status.rolled_back(self._registration.clock_reading())


def _ended(task: asyncio.Task[None]) -> None:
    fault = None if task.cancelled() else task.exception()
    if fault is not None:
        log.critical("the registration agent has failed; the license is not verified any more", exc_info=fault)


def _context(settings: RegistrationSettings) -> ssl.SSLContext | None:
    """The client side of TLS; None where it is off. A fingerprint alone is enough to know the server by.

    Raises `OSError` or `ssl.SSLError`.
    """
    if not settings.tls:
        return None
    context = ssl.create_default_context(cafile=settings.tls_ca or None)
    if settings.tls_fingerprint and not settings.tls_ca:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _words(fault: OSError | ValueError) -> str:
    """What the system says, without the number and the place that asyncio puts around it."""
    if isinstance(fault, OSError) and fault.errno is not None:
        return os.strerror(fault.errno) if fault.errno > 0 else str(fault.strerror)
    return str(fault)


def _look_at_certificate(writer: asyncio.StreamWriter, fingerprint: str) -> None:
    """Compare the fingerprint of the server's certificate with the one expected, before anything is sent to it.

    Raises `CertificateMismatch`.
    """
    if not fingerprint:
        return
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
    found = hashlib.sha256(shown).hexdigest()
    if not secrets.compare_digest(found, fingerprint.replace(":", "").lower()):
        raise CertificateMismatch(f"its certificate is another: its fingerprint is {found}")
