"""A person in a store that no gateway holds: all that is known, and its erasure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from gateway.core.admission.bans import BanSubject
from gateway.core.admission.decision import DirectoryChange
from gateway.core.admission.directory import Directory
from gateway.core.counting.session import identity
from gateway.edge.storage import rows
from gateway.edge.storage.offline_store import OfflineStore
from gateway.edge.storage.person_records import ERASURES, PersonRecords, kept_of
from gateway.edge.storage.pseudonyms import PSEUDONYM_KEY, Pseudonyms
from gateway.edge.storage.store import Statement

ALL_PARTS = 1 << 62
"""A number that no part of a day has."""


class PersonPresent(Exception):
    """The person cannot be erased as things stand; the text says why, after its name."""


class OfflinePerson:
    """An account in `offline`; `home` is empty for one of this server."""

    def __init__(self, offline: OfflineStore, account: str, home: str) -> None:
        self._offline = offline
        self._account = account
        self._home = home
        pseudonyms = Pseudonyms()
        pseudonyms.take_key(offline.meta.get(PSEUDONYM_KEY))
        self._records = PersonRecords(offline.store, pseudonyms, account, home)

    async def document(self) -> AsyncIterator[str]:
        """Yield the pieces of a JSON document with all that is known.

        Raises `StoreUnavailable`.
        """
        async for piece in self._records.document(await self._kept(await self._directory())):
            yield piece

    async def erase(self, *, force: bool) -> dict[str, int]:
        """Leave no trace; returns how many rows of use, refusals and names in the audit log there were.

        Raises `PersonPresent` where it holds a license and that is not forced, and `StoreUnavailable`.
        """
        for (cluster,) in await self._offline.store.read("SELECT etcd FROM dump"):
            if cluster:
                raise PersonPresent("is in the state of a node of a cluster: erase it while that runs")
        directory = await self._directory()
        held = (await self._kept(directory))["leases"]
        if held and not force:
            pools = ", ".join(sorted({each["pool"] for each in held}))
            raise PersonPresent(f"holds a license ({pools}); --force ends that first")
        counts = await self._records.counts()
        number = int(self._offline.meta.get(ERASURES, 0)) + 1
        gone = [*self._directory_statements(directory), *await self._records.erasure(number, ALL_PARTS)]
        await self._offline.change("person.erased", {"forced": force}, gone)
        await self._offline.store.rewrite(large=True)
        return counts

    async def _directory(self) -> Directory:
        found = Directory()
        found.accounts.update(await rows.read_accounts(self._offline.store))
        found.groups.update(await rows.read_groups(self._offline.store))
        for ban in await rows.read_bans(self._offline.store, 0.0):
            found.bans.put(ban)
        return found

    async def _kept(self, directory: Directory) -> dict[str, Any]:
        return kept_of(self._account, self._home, directory, await rows.read_leases(self._offline.store))

    def _directory_statements(self, directory: Directory) -> list[Statement]:
        account, who = self._account, identity(self._account, self._home)
        ban = DirectoryChange("ban", BanSubject("account", account, self._home), None)
        gone = [*rows.change_statements(ban), Statement("DELETE FROM lease WHERE key = ?", (json.dumps(who),))]
        if not self._home:
            gone += rows.change_statements(DirectoryChange("account", account, None))
            for name, group in directory.groups.items():
                if account in group.accounts:
                    left = tuple(each for each in group.accounts if each != account)
                    gone.append(rows.put_group(name, group._replace(accounts=left)))
        return gone
