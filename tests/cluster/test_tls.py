"""etcd and the gateways know each other by certificates."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.edge.joining import ClusterRefused
from tests.cluster.conftest import Join, etcd_at
from tests.cluster.test_two_gateways import same
from tests.conftest import until
from tests.etcd import Members
from tests.programs import program

pytestmark = pytest.mark.debian


class Certificate(NamedTuple):
    """A certificate that is its own authority, and its key."""

    path: str
    key: str


class SecureMember(Members):
    """An etcd of one member that speaks TLS, and serves whoever has its certificate."""

    def __init__(self, folder: Path, own: Certificate) -> None:
        files = ("--cert-file", own.path, "--key-file", own.key, "--trusted-ca-file", own.path)
        super().__init__(folder, 1, (*files, "--client-cert-auth"))
        self.urls = [url.replace("http://", "https://") for url in self.urls]
        self._context = ssl.create_default_context(cafile=own.path)
        self._context.load_cert_chain(own.path, own.key)

    def _ask(self, member: int, method: str, path: str) -> Any:
        address = self.urls[member].removeprefix("https://")
        connection = http.client.HTTPSConnection(address, timeout=2.0, context=self._context)
        try:
            connection.request(method, path, "{}" if method == "POST" else None)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Certificate, Certificate]:
    """That of the cluster, and one that etcd does not know."""
    made = [Certificate(str(tmp_path / f"{name}.pem"), str(tmp_path / f"{name}.key")) for name in ("ours", "other")]
    for each in made:
        subject = ("-subj", "/CN=cluster", "-addext", "subjectAltName=IP:127.0.0.1")
        use = ("-addext", "extendedKeyUsage=serverAuth,clientAuth")
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        command = [program("openssl", "openssl"), "req", "-x509", *kind, *subject, *use]
        subprocess.run([*command, "-keyout", each.key, "-out", each.path], check=True, capture_output=True)
    return made[0], made[1]


@pytest.fixture
def secure(tmp_path: Path, certificates: tuple[Certificate, Certificate]) -> Iterator[SecureMember]:
    member = SecureMember(tmp_path, certificates[0])
    try:
        member.start()
        yield member
    finally:
        member.stop()


async def test_gateways_come_in_over_tls_with_the_certificate_that_etcd_knows(
    join: Join, secure: SecureMember, certificates: tuple[Certificate, Certificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.cluster.node.START_PATIENCE", 0.0)
    ours, other = certificates
    etcd = {"cluster__etcd": etcd_at(secure.urls), "license__epop__users": 1}
    for ca, shown in ((ours, None), (ours, other), (other, ours)):
        keys = {} if shown is None else {"cluster__tls_certificate": shown.path, "cluster__tls_key": shown.key}
        with pytest.raises(ClusterRefused, match="https://127"):
            await join("a", **etcd, cluster__tls_ca=ca.path, **keys)
    known = {"cluster__tls_ca": ours.path, "cluster__tls_certificate": ours.path, "cluster__tls_key": ours.key}
    a, b = await join("a", **etcd, **known), await join("b", **etcd, **known)
    ann, bob = await a.welcomed(account="ann", device="d"), await b.welcomed(account="bob", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert (await bob.ask("join", conference="room"))["reason"] == "pool_full"
    await until(lambda: same(a, b))
