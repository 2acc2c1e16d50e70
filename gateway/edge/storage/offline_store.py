"""A store that no gateway holds, opened by a command.

Commands make and revoke operators' tokens in it (the first one is needed before a gateway may open its operator port to
other machines), sell licenses, and ask for a license by hand.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from config.registration_settings import RegistrationSettings
from gateway.core.admission.directory import Directory, digest
from gateway.core.registration.authentication import KEY_BYTES
from gateway.core.registration.grant import Grant
from gateway.core.registration.license_status import ClockReading, LicenseStatus
from gateway.core.registration.offline import OfflineRequest
from gateway.core.registration.registrar import Registrar
from gateway.edge.machine import boot_id, boottime, read_key
from gateway.edge.storage import rows
from gateway.edge.storage.audit_log import COMMAND, AuditLog
from gateway.edge.storage.schema import APPLICATION
from gateway.edge.storage.store import Statement, Store, StoreRefused
from gateway.edge.storage.store_lock import is_held
from gateway.licensing import OFFERS


class OfflineStore:
    """The operators of a store, the licenses sold, its own registration, and its audit log."""

    def __init__(self, store: Store) -> None:
        self.directory = Directory()
        self.registrar = Registrar(lambda: secrets.token_hex(16), 1)
        self.meta: dict[str, str] = {}
        self.store = store
        self._audit_log = AuditLog(store, time.time)

    async def open(self) -> None:
        """Read what is there.

        Raises `StoreUnavailable`.
        """
        await self._audit_log.open()
        self.directory.operators.update(await rows.read_operators(self.store))
        self.registrar.licenses.update(await rows.read_licenses(self.store))
        self.meta.update(await rows.read_meta(self.store))

    async def appoint(self, name: str, scope: str) -> str:
        """Give an operator a token; returns the secret.

        Raises `StoreUnavailable`.
        """
        secret = secrets.token_urlsafe(32)
        token = self.directory.add_operator_token(name, scope, digest(secret), time.time())
        self._audit_log.add(COMMAND, "operator.added", name, {"fingerprint": token.fingerprint, "scope": scope})
        await self._write(name)
        return secret

    async def dismiss(self, name: str, fingerprint: str | None) -> int:
        """Take one token from an operator, or all; returns how many it had of those.

        Raises `StoreUnavailable`.
        """
        revoked = self.directory.remove_operator_tokens(name, fingerprint)
        if revoked:
            self._audit_log.add(COMMAND, "operator.revoked", name, {"fingerprint": fingerprint or "all"})
            await self._write(name)
        return revoked

    async def sell(self, serial: str, terms: Mapping[str, object]) -> bool:
        """Sell a license, or change its terms; returns whether it is new.

        Raises `RequestFault` or `StoreUnavailable`.
        """
        fresh = self.registrar.issue(serial, terms, OFFERS, secrets.token_bytes(KEY_BYTES), time.time())
        detail = self.registrar.licenses[serial].grant.to_json()
        await self._sold(serial, "license.sold" if fresh else "license.changed", detail)
        return fresh

    async def revoke(self, serial: str) -> None:
        """Revoke a license.

        Raises `LookupError` or `StoreUnavailable`.
        """
        self.registrar.revoke(serial, time.time())
        await self._sold(serial, "license.revoked")

    async def remove(self, serial: str) -> None:
        """Forget a license.

        Raises `LookupError` or `StoreUnavailable`.
        """
        self.registrar.remove(serial)
        await self._sold(serial, "license.removed")

    async def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer the request of a server that has no network.

        Raises `RequestFault` or `StoreUnavailable`.
        """
        answer = self.registrar.answer(request, time.time())
        self._audit_log.add(COMMAND, "license.answered", answer["serial"], {"server": answer["server"]})
        await self._audit_log.write()
        return answer

    async def _sold(self, serial: str, action: str, detail: Mapping[str, Any] | None = None) -> None:
        self._audit_log.add(COMMAND, action, serial, detail)
        await self._audit_log.write(rows.license_statements(serial, self.registrar.licenses.get(serial)))

    async def request(self, settings: RegistrationSettings) -> dict[str, Any]:
        """Ask for a license that is installed by hand.

        Raises `StoreUnavailable`.
        """
        server = settings.installation or self.meta.get("installation") or secrets.token_hex(16)
        nonce = secrets.token_hex(16)
        kept = {"installation": server, "request": nonce}
        await self._audit_log.write([rows.put_meta(key, text) for key, text in kept.items()])
        return OfflineRequest(server, settings.serial, nonce).to_json(time.time())

    async def install(self, settings: RegistrationSettings, answer: Mapping[str, Any]) -> Grant:
        """Install a license that answers the last request; a gateway that is started later goes by it.

        Raises `RequestFault`, `KeyRefused` or `StoreUnavailable`.
        """
        key, at = read_key(settings.key_file), ClockReading(time.time(), boottime(), boot_id())
        status = LicenseStatus(settings.grace, needed=True)
        if "registration" in self.meta:
            with contextlib.suppress(ValueError, LookupError, TypeError):  # a gateway would not go by it either
                status.restore(json.loads(self.meta["registration"]), settings.serial, key, OFFERS, at)
        server = settings.installation or self.meta.get("installation", "")
        last_request = OfflineRequest(server, settings.serial, self.meta.get("request"))
        installed = last_request.install(answer, key, OFFERS, status, at)
        document = json.dumps(status.to_json(settings.serial, key, at.boot_id))
        self._audit_log.add(COMMAND, "license.installed", settings.serial, installed.audit_detail())
        await self._audit_log.write([rows.put_meta("registration", document)])
        return installed.grant

    async def keep(self, name: str, text: str, action: str, subject: str) -> None:
        """Keep a text under a name, and say in the audit log what was done to what.

        Raises `StoreUnavailable`.
        """
        self._audit_log.add(COMMAND, action, subject)
        await self._audit_log.write([rows.put_meta(name, text)])

    async def change(self, action: str, detail: Mapping[str, Any], statements: Sequence[Statement]) -> None:
        """Change the store, and say in the audit log what was done.

        Raises `StoreUnavailable`.
        """
        self._audit_log.add(COMMAND, action, "", detail)
        await self._audit_log.write(statements)

    async def _write(self, name: str) -> None:
        await self._audit_log.write(rows.put_operator(name, self.directory.operators.get(name, ())))


@contextlib.asynccontextmanager
async def offline_store(path: Path, *, new: bool = True) -> AsyncIterator[OfflineStore]:
    """Open the store at `path`; where there is none it is made, if it may be `new`.

    Raises `StoreRefused` where a gateway holds it, or it is no store, and `StoreUnavailable`.
    """
    refuse_other_file(path, new=new)
    store = Store(str(path), tuple, time.monotonic)
    await store.open()
    try:
        found = OfflineStore(store)
        await found.open()
        yield found
    finally:
        await store.close()


def refuse_other_file(path: Path, *, new: bool) -> None:
    """Refuse a file that is no store: a gateway would set it aside and make a new one, a command must not.

    Raises `StoreRefused`, also where a gateway holds it.
    """
    if is_held(str(path)):  # under another name than this it would look empty
        raise StoreRefused(f"{path}: another gateway holds it")
    if not path.exists() or not path.stat().st_size:
        if new:
            return
        raise StoreRefused(f"{path}: there is no store")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            (owner,) = file.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error as fault:
        raise StoreRefused(f"{path}: {fault}") from fault
    if owner != APPLICATION:
        raise StoreRefused(f"{path}: it belongs to another program")


def group_names(path: Path) -> frozenset[str] | None:
    """Return the names of the groups in a store, whether a gateway holds it or not; None where there is none that can
    be read.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            return frozenset(name for (name,) in file.execute("SELECT name FROM team"))
    except sqlite3.Error:
        return None
