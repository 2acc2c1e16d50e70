"""The keys: the default file, the presets, what is in effect, and what a running gateway takes over."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import config
from config.keys import (
    KEYS,
    SECTIONS,
    Changes,
    adopt,
    build,
    changes,
    document,
    effective,
    flatten,
)
from config.loader import load
from config.settings import Settings

FILES = Path(config.__file__).parent
PRESETS: dict[str, dict[str, object]] = {
    "epop-10": {"license.epop.users": 10, "license.model": "epop"},
    "nefsis-25": {"license.nefsis-concurrent.users": 25, "license.model": "nefsis-concurrent"},
    "nefsis-5x25": {
        "license.nefsis-named.hosts": 5,
        "license.nefsis-named.participants": 25,
        "license.model": "nefsis-named",
    },
    "trueconf-server": {"license.trueconf.edition": "server", "license.model": "trueconf"},
    "trueconf-free": {"license.trueconf.edition": "free", "license.model": "trueconf"},
    "trueconf-enterprise": {"license.trueconf.edition": "enterprise", "license.model": "trueconf"},
    "cluster": {"cluster.name": "a", "registrar.enabled": False},
    "floating-devices": {"license.floating.key": "device", "license.model": "floating"},
}
PROFILES = {"load-office", "load-storm"}
"""What `tallygate load` takes: `tests/load/test_profile.py`."""


def test_the_default_file_equals_the_defaults() -> None:
    assert load(FILES / "gateway.toml") == Settings()


def test_the_default_file_is_the_one_the_settings_write() -> None:
    written = (FILES / "gateway.toml").read_text(encoding="utf-8")
    assert written == document(), "tallygate check --write-defaults config/gateway.toml"


def test_the_default_file_has_the_defaults_of_keys_of_tables() -> None:
    text = " ".join(line.lstrip("# ") for line in document().splitlines())
    for said in (
        'timeout: Time in which the receiver must answer. Default: "10s". batch:',
        "Default: 50000. [[webhook]]",
    ):
        assert said in text
    assert "ca: File with the authorities to trust (PEM), in place of those of this machine. timeout:" in text


def test_the_default_file_has_every_section_and_key() -> None:
    found: list[str] = []
    section = ""
    for line in (FILES / "gateway.toml").read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[(.+)\]", line):
            section = header[1]
        elif entry := re.match(r"(?:# )?([a-z0-9_]+) =", line):
            found.append(f"{section}.{entry[1]}")
        elif table := re.fullmatch(r"# \[\[([a-z]+)\]\]", line):
            found.append(table[1])
    assert found == list(KEYS)


def test_every_field_of_a_section_is_a_key_and_explained() -> None:
    for section, owner in SECTIONS.items():
        assert owner.__doc__
        for field in fields(owner):
            if (section, field.name) != ("license", "terms"):
                assert KEYS[f"{section}.{field.name}"].help


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_loads_without_fault_and_is_for_its_product(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster.secret").touch(mode=0o600)
    (tmp_path / "cluster.secret").write_text("x" * 32)
    values = flatten(load(FILES / f"{name}.toml"))
    assert PRESETS[name].items() <= values.items()


def test_every_file_beside_the_default_is_a_known_preset() -> None:
    assert {path.stem for path in FILES.glob("*.toml")} - PROFILES == {"gateway", *PRESETS}


def test_settings_are_built_from_their_own_values() -> None:
    settings = load(None, ["license.model=trueconf", "license.trueconf.pro=7", "listen.tcp=0"])
    assert build(flatten(settings)) == settings
    assert build({}) == Settings()


def test_what_is_in_effect_says_what_differs_from_the_defaults() -> None:
    settings = load(None, ["license.shadow=epop,floating", "heartbeat.timeout=2m"])
    assert [line for line in effective(settings) if not line.default] == [
        ("heartbeat.timeout", '"120s"', False),
        ("license.shadow", '["epop", "floating"]', False),
    ]


def test_limits_change_live_and_ports_at_the_next_start() -> None:
    old = Settings()
    new = load(None, ["listen.tcp=0", "license.epop.users=20", "license.model=floating", "heartbeat.resume_window=90s"])
    assert changes(old, new) == Changes(
        live=("heartbeat.resume_window", "license.epop.users"), restart=("listen.tcp", "license.model")
    )
    assert adopt(old, new) == load(None, ["license.epop.users=20", "heartbeat.resume_window=90s"])
    assert changes(new, new) == Changes((), ())


def test_a_standby_is_made_active_live_and_a_gateway_that_serves_stands_by_at_the_next_start() -> None:
    active, standby = Settings(), load(None, ["cluster.role=standby"])
    assert changes(standby, active) == Changes(live=("cluster.role",), restart=())
    assert changes(active, standby) == Changes(live=(), restart=("cluster.role",))
    assert adopt(active, standby) == active


@pytest.mark.parametrize("prefix", ["listen.tls", "listen.operator_tls"])
def test_a_certificate_is_renewed_live_but_tls_is_switched_at_the_next_start(prefix: str) -> None:
    plain = Settings()
    secure = build({f"{prefix}_certificate": "a", f"{prefix}_key": "b"})
    renewed = build({f"{prefix}_certificate": "c", f"{prefix}_key": "d"})
    assert changes(plain, secure).live == ()
    assert changes(secure, plain).live == ()
    assert adopt(secure, renewed) == renewed
