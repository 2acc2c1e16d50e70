"""The settings: their defaults, and what they say of themselves."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from config.keys import effective
from config.settings import LicenseSettings, ListenSettings, Settings
from gateway.licensing import MODELS

DEFAULTS = {
    # what operators rely on; config/gateway.toml has every key
    "listen.host": '"127.0.0.1"',
    "listen.tcp": "4307",
    "listen.websocket": "4308",
    "listen.operator_host": '"127.0.0.1"',
    "listen.operator": "4311",
    "listen.operator_require_token": "false",
    "listen.operator_token_file": '""',
    "listen.operator_tls_certificate": '""',
    "listen.operator_tls_key": '""',
    "listen.operator_max_connections": "24",
    "listen.operator_backlog": "8",
    "listen.operator_idle_timeout": '"15s"',
    "listen.operator_write_timeout": '"30s"',
    "listen.reuse_port": "false",
    "listen.tls_certificate": '""',
    "listen.tls_key": '""',
    "listen.max_connections": "unset",
    "listen.max_connections_per_address": "0",
    "listen.ipv6_prefix": "64",
    "listen.max_pending": "1024",
    "listen.accept_rate": "2000",
    "listen.message_rate": "10",
    "listen.message_burst": "50",
    "listen.outbound_limit": "65536",
    "listen.allowed_origins": "[]",
    "listen.proxy_protocol_from": "[]",
    "listen.transport": '"epoll"',
    "listen.drain": '"10s"',
    "operator.trust_proxy": "[]",
    "operator.proxy_hosts": "[]",
    "operator.user_header": '"Remote-User"',
    "operator.groups_header": '"Remote-Groups"',
    "operator.admin_groups": "[]",
    "operator.read_groups": "[]",
    "heartbeat.interval": '"30s"',
    "heartbeat.timeout": '"75s"',
    "heartbeat.hello_deadline": '"5s"',
    "heartbeat.asleep_timeout": '"30m"',
    "heartbeat.resume_window": '"0s"',
    "license.model": '"epop"',
    "license.shadow": '"all"',
    "license.enforce": "true",
    "license.overdraft": "0",
    "license.shadow_leases": "10000",
    "license.on_duplicate": '"takeover"',
    "license.epop.users": "10",
    "license.nefsis-concurrent.users": "25",
    "license.nefsis-named.hosts": "5",
    "license.nefsis-named.participants": "25",
    "license.nefsis-named.naming": '"first-use"',
    "license.nefsis-named.host_is_participant": "true",
    "license.trueconf.edition": '"server"',
    "license.trueconf.support": '"basic"',
    "license.trueconf.pro": "10",
    "license.trueconf.online": "unset",
    "license.trueconf.online_packs": "[]",
    "license.trueconf.guest": "1",
    "license.trueconf.gateway": "1",
    "license.trueconf.sdk": "false",
    "license.trueconf.pro_lease": '"24h"',
    "license.trueconf.redistribute_every": '"24h"',
    "license.trueconf.allow_pro_requests": "false",
    "license.trueconf.max_conferences": "unset",
    "license.trueconf.max_participants": "unset",
    "license.returning": '"0s"',
    "license.floating.limit": "0",
    "license.floating.key": '"connection"',
    "license.floating.linger": '"0s"',
    "license.floating.reserve": "[]",
    "conferences.declared_only": "false",
    "conferences.max_per_session": "100",
    "accounts.mode": '"open"',
    "accounts.jwt": "[]",
    "accounts.trust_claims": "false",
    "accounts.home": '""',
    "federation.homes": "[]",
    "registration.role": '"off"',
    "registration.server": '""',
    "registration.serial": '""',
    "registration.key_file": '""',
    "registration.installation": '""',
    "registration.grace": '"12h"',
    "registration.tls": "false",
    "registration.tls_ca": '""',
    "registration.tls_fingerprint": '""',
    "registrar.enabled": "true",
    "registrar.host": '"127.0.0.1"',
    "registrar.port": "4310",
    "registrar.interval": '"30s"',
    "store.path": '"tallygate.db"',
    "store.deadline": '"5s"',
    "history.keep": '"400d"',
    "history.names": '"names"',
    "denials.keep": '"0s"',
    "audit.keep": '"0s"',
    "history.rows_per_name": "600",
    "history.rows_per_pool": "50000",
    "history.true_denial_window": '"60s"',
    "metrics.high_water_window": '"180s"',
    "metrics.public": "false",
}


def test_the_defaults_are_those_of_the_manual() -> None:
    assert DEFAULTS.items() <= {key: text for key, text, _ in effective(Settings())}.items()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().listen.tcp = 1  # type: ignore[misc]


def test_settings_with_the_same_values_are_equal() -> None:
    assert Settings() == Settings()
    assert hash(Settings()) == hash(Settings())
    assert Settings() != replace(Settings(), listen=ListenSettings(tcp=0))


def test_all_models_but_the_enforced_one_are_in_shadow_by_default() -> None:
    assert LicenseSettings(model="trueconf").shadows == tuple(name for name in MODELS if name != "trueconf")


def test_a_list_of_shadows_is_taken_without_the_enforced_model() -> None:
    assert LicenseSettings(model="epop", shadow=("floating", "epop", "nefsis-named")).shadows == (
        "nefsis-named",
        "floating",
    )
    assert LicenseSettings(shadow=()).shadows == ()


@pytest.mark.parametrize(
    ("asked", "files", "ceiling"), [(None, 20_000, 19_936), (100, 20_000, 100), (50_000, 20_000, 19_936), (None, 60, 0)]
)
def test_connections_leave_files_for_other_uses(asked: int | None, files: int, ceiling: int) -> None:
    assert ListenSettings(max_connections=asked).ceiling(files) == ceiling


def test_more_operators_leave_fewer_files_for_clients() -> None:
    assert ListenSettings(operator_max_connections=124).ceiling(20_000) == 19_836
