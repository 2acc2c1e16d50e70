"""Which etcd can be relied upon."""

from __future__ import annotations

import pytest

from gateway.edge.cluster.etcd import EtcdStatus


@pytest.mark.parametrize("version", ["3.4.22", "3.4.30", "3.5.6", "3.5.16", "3.6.0", "4.0.0", "3.4.23+dfsg", "main"])
def test_a_version_without_known_faults_is_taken(version: str) -> None:
    assert EtcdStatus(version, 0, ()).flaw == ""


@pytest.mark.parametrize("version", ["3.4.21", "3.5.0", "3.5.5", "3.3.99", "2.3.8", "3.5.5-rc.1"])
def test_a_version_that_may_lose_data_is_named(version: str) -> None:
    assert f"etcd {version} may lose data" in EtcdStatus(version, 0, ()).flaw
