"""The settings of the registration check: of a gateway with a license, and of the server that verifies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from config.values import Endpoint, FilePath, Fingerprint, Host, NameOrNone, Port
from gateway.core.registration.messages import LONGEST_INTERVAL
from gateway.core.setting_kinds import Duration, Seconds, setting


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """Settings of `[registration]`: this gateway's own license, verified by a registration server."""

    role: Literal["off", "agent"] = setting(
        "off",
        help='Whether this gateway registers ("agent"); what the server answers then replaces the limits in this file.',
    )
    server: Endpoint = setting("", help='The registration server, "host:4310".')
    serial: NameOrNone = setting("", help="Serial of the license, as the registration server knows it.")
    key_file: FilePath = setting(
        "", help="File with the secret key of the license, 64 hex digits, as `tallygate license add` prints it once."
    )
    installation: NameOrNone = setting(
        "", help="Identity of this installation; without one it is made once and kept, for a cluster in its log."
    )
    grace: Seconds = setting(
        12 * 3600.0, help="How long a license that needs the connection goes on without it; 12 hours at most."
    )
    tls: bool = setting(False, help="Whether the registration server is reached over TLS.")
    tls_ca: FilePath = setting(
        "", help="File with the certificate authority that the registration server's certificate must come from (PEM)."
    )
    tls_fingerprint: Fingerprint = setting(
        "", help="SHA-256 fingerprint that the registration server's certificate must have, 64 hex digits."
    )


@dataclass(frozen=True, slots=True)
class RegistrarSettings:
    """Settings of `[registrar]`: the registration server in this process."""

    enabled: bool = setting(True, help="Whether it listens; TLS is that of the client doors.")
    host: Host = setting("127.0.0.1", help="Address of the registration port.")
    port: Port = setting(4310, help="The registration port.")
    interval: Annotated[float, Duration(low=0.001, high=float(LONGEST_INTERVAL))] = setting(
        30.0,
        help="Time between two verifications of a registered server, in whole seconds (rounded up), a day at most.",
    )
