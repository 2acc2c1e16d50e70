"""The rules of a cluster: what its configuration must have, and what it cannot have beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.loader import ConfigError, load
from config.rules import warnings

THREE = 'cluster.etcd=["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"]'
GOOD = (THREE, "cluster.name=a", "cluster.secret_file=secret", "registrar.enabled=false")


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
        ("cluster.patience=9s", "cluster.patience"),
        ("cluster.patience=2h", "cluster.patience"),
        ("cluster.share=0", "cluster.share"),
        ("cluster.role=idle", "cluster.role"),
        ('cluster.etcd=["http://10.0.0.1:40000"]', "cluster.etcd"),
        ('cluster.peers=["10.0.0.1:4311"]', "cluster.peers"),
        ('cluster.peers=["https://ops:secret@b.example.org"]', "cluster.peers"),
        ("cluster.peer_token_file=/nowhere/token", "cluster.peer_token_file"),
        ('cluster.etcd=["10.0.0.1:2379"]', "cluster.etcd"),
        ('cluster.etcd=["http://10.0.0.1:2379/v3"]', "cluster.etcd"),
    ],
)
def test_what_a_cluster_cannot_have(given: str, key: str) -> None:
    (found,) = {each.partition("[")[0] for each in faults(*GOOD, given)}
    assert found == key


def test_a_cluster_may_register(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0" * 64)
    agent = ("registration.role=agent", "registration.server=h:4310", "registration.serial=S", "registration.tls=true")
    assert faults(*GOOD, *agent, f"registration.key_file={key}") == []


def test_an_etcd_that_bears_no_loss_is_warned_of() -> None:
    one = ('cluster.etcd=["http://10.0.0.1:2379"]', *GOOD[1:])
    assert any(each.key == "cluster.etcd" for each in warnings(load(None, list(one))))
    assert not any(each.key == "cluster.etcd" for each in warnings(load(None, list(GOOD))))
