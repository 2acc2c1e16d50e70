"""TLS of the registration check: the agent knows its registrar by an authority or a fingerprint, or says nothing."""

from __future__ import annotations

import hashlib
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.core.registration.license_status import LicenseState
from gateway.core.wire.backoff import Backoff
from gateway.edge.server import registration_agent
from tests.conftest import License, Serve, until
from tests.edge.conftest import Run
from tests.edge.registering import KEY, RawRegistrar, raw_registrar, registered
from tests.programs import program


class Certificate(NamedTuple):
    """A self-signed certificate for 127.0.0.1 and its key."""

    path: str
    key: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, 64 hex digits."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(self.path).read_text())).hexdigest()

    @property
    def context(self) -> ssl.SSLContext:
        """The server side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certificate, Certificate]:
    """The registrar's certificate, and that of somebody else."""
    openssl = program("openssl", "openssl")
    folder = tmp_path_factory.mktemp("tls")
    made = [Certificate(str(folder / f"{name}.pem"), str(folder / f"{name}.key")) for name in ("ours", "other")]
    for each in made:
        subject = ("-subj", "/CN=registrar", "-addext", "subjectAltName=IP:127.0.0.1,IP:0.0.0.0")
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        command = [openssl, "req", "-x509", *kind, "-keyout", each.key, "-out", each.path, *subject]
        subprocess.run(command, check=True, capture_output=True)
    return made[0], made[1]


@pytest.fixture
async def registrar(
    certificates: tuple[Certificate, Certificate], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RawRegistrar]:
    """A raw registrar that speaks TLS."""
    monkeypatch.setattr(registration_agent, "Backoff", lambda: Backoff(0.0, 0.0))
    async with raw_registrar(KEY, certificates[0].context) as found:
        yield found


def colons(fingerprint: str) -> str:
    """As other programs write it."""
    return ":".join(fingerprint[place : place + 2] for place in range(0, 64, 2)).upper()


def pins(certificate: Certificate) -> dict[str, dict[str, str]]:
    """Every way to know a registrar."""
    return {
        "authority": {"registration__tls_ca": certificate.path},
        "fingerprint": {"registration__tls_fingerprint": certificate.fingerprint},
        "upper case": {"registration__tls_fingerprint": certificate.fingerprint.upper()},
        "colons": {"registration__tls_fingerprint": colons(certificate.fingerprint)},
        "both": {"registration__tls_ca": certificate.path, "registration__tls_fingerprint": certificate.fingerprint},
    }


WAYS = ("authority", "fingerprint", "upper case", "colons", "both")


@pytest.mark.parametrize("way", WAYS)
async def test_the_right_certificate_is_talked_to(
    way: str, run: Run, registrar: RawRegistrar, certificates: tuple[Certificate, Certificate]
) -> None:
    async with run(registration__tls="true", **pins(certificates[0])[way]) as house:
        await registered(house, registrar)
        assert house.runtime.registration.checks["forged"] == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_swapped_certificate_is_told_nothing(
    way: str,
    run: Run,
    registrar: RawRegistrar,
    certificates: tuple[Certificate, Certificate],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run(registration__tls="true", **pins(certificates[1])[way]) as house:
        await until(lambda: house.runtime.registration.checks["forged"] >= 2)
        assert house.runtime.registration.state is LicenseState.UNREGISTERED
        while not registrar.callers.empty():
            caller = registrar.callers.get_nowait()
            assert await caller.hear() == {}
    assert "certificate" in caplog.text


async def test_one_of_two_is_not_enough(
    run: Run, registrar: RawRegistrar, certificates: tuple[Certificate, Certificate]
) -> None:
    ours, other = certificates
    pin = {"registration__tls_ca": ours.path, "registration__tls_fingerprint": other.fingerprint}
    async with run(registration__tls="true", **pin) as house:
        await until(lambda: house.runtime.registration.checks["forged"] >= 2)
        assert house.runtime.registration.state is LicenseState.UNREGISTERED
        assert await (await registrar.call()).hear() == {}


async def test_an_authority_vouches_for_a_name(
    run: Run, registrar: RawRegistrar, certificates: tuple[Certificate, Certificate]
) -> None:
    pin = {"registration__tls_ca": certificates[0].path, "registration__server": f"localhost:{registrar.port}"}
    async with run(registration__tls="true", **pin) as house:
        await until(lambda: house.runtime.registration.checks["forged"] >= 1)
        assert house.runtime.registration.state is LicenseState.UNREGISTERED


@pytest.mark.parametrize("tls", [False, True])
async def test_without_tls_there_is_a_warning_where_others_can_listen(
    tls: bool,
    run: Run,
    registrar: RawRegistrar,
    certificates: tuple[Certificate, Certificate],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "tallygate.agent")
    way = {"registration__tls": "true", **pins(certificates[0])["authority"]} if tls else {}
    async with run(registration__server=f"0.0.0.0:{registrar.port}", **way) as house:
        if tls:
            await registered(house, registrar)
        else:
            await until(
                lambda: house.runtime.registration.checks["lost"] + house.runtime.registration.checks["late"] >= 1
            )
    assert ("registration without TLS" in caplog.text) is not tls


async def test_on_loopback_there_is_no_warning(license: License, caplog: pytest.LogCaptureFixture) -> None:
    await license({"edition": "free"})
    assert "without TLS" not in caplog.text


async def test_a_plain_registrar_is_told_nothing_by_an_agent_that_speaks_tls(
    run: Run, certificates: tuple[Certificate, Certificate]
) -> None:
    async with raw_registrar(KEY) as plain:
        pin = {"registration__server": f"127.0.0.1:{plain.port}", **pins(certificates[0])["fingerprint"]}
        async with run(registration__tls="true", **pin) as house:
            caller = await plain.call()
            assert (await caller.reader.read(1)) == b"\x16"
            await caller.send(b'{"type":"challenge","nonce":"00000000000000000000000000000000"}\n')
            await until(lambda: house.runtime.registration.checks["unreachable"] >= 1)


async def test_both_roles_of_the_gateway_speak_tls_to_each_other(
    serve: Serve, license: License, certificates: tuple[Certificate, Certificate]
) -> None:
    ours = certificates[0]
    service = await serve(listen__tls_certificate=ours.path, listen__tls_key=ours.key, registrar__interval="1s")
    pin: dict[str, Any] = {"registration__tls": "true", **pins(ours)["fingerprint"]}
    house = await license({"edition": "free"}, service, **pin)
    assert house.runtime.registration.state is LicenseState.REGISTERED
