"""The rules of a cluster: what its configuration must have, and what it cannot have beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.faults import ConfigError
from config.loader import load
from config.rules import warnings

THREE = 'cluster.etcd=["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"]'
GOOD = (THREE, "cluster.name=a", "cluster.secret_file=secret", "registrar.enabled=false")


@pytest.fixture(autouse=True)
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the secret that `GOOD` names."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text("x" * 32)
    return file


def faults(*given: str) -> list[str]:
    """What is wrong with settings, by key."""
    try:
        load(None, list(given))
    except ConfigError as error:
        return [str(fault).partition(":")[0] for fault in error.faults]
    return []


def test_a_cluster_needs_a_name_and_a_secret_for_each_gateway() -> None:
    assert faults(*GOOD) == []
    assert faults(THREE, "registrar.enabled=false") == ["cluster.name", "cluster.secret_file"]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("store.path=:memory:", "store.path"),
        ("registrar.enabled=true", "registrar.enabled"),
        ("cluster.tls_certificate=" + __file__, "cluster.tls_key"),
        ("cluster.tls_ca=" + __file__, "cluster.tls_ca"),
        ("cluster.secret_file=/nowhere/secret", "cluster.secret_file"),
        ("cluster.patience=9s", "cluster.patience"),
        ("cluster.patience=2h", "cluster.patience"),
        ("cluster.share=0", "cluster.share"),
        ("cluster.role=idle", "cluster.role"),
        ('cluster.etcd=["http://10.0.0.1:40000"]', "cluster.etcd"),
        ('cluster.peers=["10.0.0.1:4311"]', "cluster.peers"),
        ('cluster.peers=["https://ops:secret@b.example.org"]', "cluster.peers"),
        ("cluster.peer_token_file=/nowhere/token", "cluster.peer_token_file"),
        ("cluster.peer_token_file=" + __file__, "cluster.peer_token_file"),
        ('cluster.etcd=["10.0.0.1:2379"]', "cluster.etcd"),
        ('cluster.etcd=["http://10.0.0.1:2379/v3"]', "cluster.etcd"),
    ],
)
def test_what_a_cluster_cannot_have(given: str, key: str) -> None:
    (found,) = {each.partition("[")[0] for each in faults(*GOOD, given)}
    assert found == key


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"x" * 31, 0o600, "has fewer than 32 characters"),
        (b"\xff" * 32, 0o600, "is not UTF-8"),
        (b"x" * 32, 0o640, "others may read"),
    ],
)
def test_a_secret_that_is_none_is_said_before_the_start(secret: Path, content: bytes, mode: int, said: str) -> None:
    secret.write_bytes(content)
    secret.chmod(mode)
    with pytest.raises(ConfigError, match=f"cluster.secret_file: .*{said}"):
        load(None, list(GOOD))


def test_the_certificate_of_a_cluster_and_its_key_are_looked_at() -> None:
    named = ("cluster.tls_certificate=" + __file__, "cluster.tls_key=" + __file__)
    assert faults(*GOOD, *named) == ["cluster.tls_certificate"]


def test_a_cluster_may_register(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0" * 64)
    agent = ("registration.role=agent", "registration.server=h:4310", "registration.serial=S", "registration.tls=true")
    assert faults(*GOOD, *agent, f"registration.key_file={key}") == []


def test_an_etcd_that_bears_no_loss_is_warned_of() -> None:
    one = ('cluster.etcd=["http://10.0.0.1:2379"]', *GOOD[1:])
    assert any(each.key == "cluster.etcd" for each in warnings(load(None, list(one))))
    assert not any(each.key == "cluster.etcd" for each in warnings(load(None, list(GOOD))))
