"""A file is a whole node: a gateway that is started again goes on from it and the log, and so does a copy."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from config.faults import ConfigError
from gateway.edge.cluster.etcd import Etcd, EtcdStatus
from gateway.edge.joining import ClusterRefused, follow
from gateway.edge.storage.node_file import read
from tests.cluster.conftest import ClusterHouse, Join, Shifted, backup, etcd_at
from tests.cluster.test_two_gateways import same
from tests.conftest import Serve, settings_of, until
from tests.etcd import Members, write_secret

pytestmark = pytest.mark.debian


async def audited(house: ClusterHouse, action: str) -> list[str]:
    """The subjects of the audit entries of an action, the oldest first."""
    _, told = await house.http("GET", "/api/audit?limit=1000")
    items = told["items"] if isinstance(told, dict) else told
    return [each["subject"] for each in items if each["action"] == action]


async def test_a_gateway_that_was_stopped_goes_on_from_its_file_and_the_log(join: Join, tmp_path: Path) -> None:
    a, b = await join("a"), await join("b")
    assert (await a.http("PUT", "/api/accounts/early"))[0] in {200, 201}
    await a.gateway.close(drain=0)
    written = read(str(tmp_path / "a.db"))
    assert written.dump
    assert written.incarnation == a.node.incarnation
    bob = await b.welcomed(account="bob", device="d")
    assert (await bob.ask("join", conference="room"))["type"] == "joined"
    assert (await b.http("PUT", "/api/accounts/late"))[0] in {200, 201}
    again = await join("a")
    await until(lambda: same(again, b))
    assert [*again.runtime.state.directory.accounts] == ["early", "late"]
    assert len(again.runtime.state.sessions) == 1
    for each in (again, b):
        assert sorted(await audited(each, "account.added")) == ["early", "late"], "once each, whoever was away"


async def test_a_gateway_whose_process_was_killed_takes_its_name_back_at_once(join: Join, tmp_path: Path) -> None:
    a = await join("a", license__epop__users=1)
    ann = await a.welcomed(account="ann", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    await a.gateway.dump_writer.write()
    for suffix in ("", "-wal", "-shm"):
        if (tmp_path / f"a.db{suffix}").exists():
            shutil.copy(tmp_path / f"a.db{suffix}", tmp_path / f"copy.db{suffix}")
    again = await join("a", store__path=str(tmp_path / "copy.db"), license__epop__users=1)
    assert again.node.incarnation != a.node.incarnation
    assert [each.incarnation for each in again.node.replica.nodes] == [again.node.incarnation]
    assert not again.runtime.state.sessions.by_number
    assert [each["reason"] for each in await ann.gone()] == ["store_unavailable"], "the first one was not over at all"


async def test_a_backup_of_a_peer_makes_a_new_node(join: Join, tmp_path: Path) -> None:
    a = await join("a")
    ann = await a.welcomed(account="ann", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    await a.gateway.dump_writer.write()
    await backup(a, tmp_path / "c.db")
    c = await join("c")
    await until(lambda: same(a, c))
    assert len(c.runtime.state.sessions) == 1


async def test_a_log_whose_beginning_is_gone_needs_a_file(join: Join, members: Members) -> None:
    a = await join("a")
    await a.gateway.dump_writer.write()
    await a.node.etcd.compact(members.urls[0], a.node.replica.revision)
    with pytest.raises(ClusterRefused, match=r"newer file; cluster\.peers names nobody"):
        await join("b")
    await a.gateway.close(drain=0)
    again = await join("a")
    assert again.node.entered


async def test_a_gateway_that_is_behind_takes_the_newest_file_of_a_peer(
    join: Join, members: Members, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 43)
    guarded = {"listen__operator_require_token": "true", "listen__operator_token_file": str(token)}
    a, b = await join("a", **guarded), await join("b")
    await b.gateway.close(drain=0)
    ann = await a.welcomed(account="ann", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    await a.gateway.dump_writer.write()
    await a.node.etcd.compact(members.urls[0], a.node.replica.revision)
    peers = {"cluster__peers": f'["{a.url}"]'}
    with pytest.raises(ClusterRefused, match="scope admin"):
        await join("b", **peers)
    peers["cluster__peer_token_file"] = str(token)
    again, new = await join("b", **peers), await join("c", **peers)
    await until(lambda: same(a, again) and same(a, new))
    assert [len(each.runtime.state.sessions) for each in (a, again, new)] == [1, 1, 1]
    assert (tmp_path / "b.db.replaced-1").exists()


async def test_an_etcd_that_lost_its_log_is_noticed(join: Join, members: Members) -> None:
    a = await join("a")
    await a.gateway.close(drain=0)
    await a.node.etcd.delete(members.urls[0])
    await a.node.etcd.close()
    with pytest.raises(ClusterRefused, match="set back"):
        await join("a")


async def test_other_terms_do_not_come_in_and_the_difference_is_named(join: Join) -> None:
    await join("a", license__epop__users=5)
    with pytest.raises(ClusterRefused, match=r"licenses.epop.users: 5, 6"):
        await join("b", license__epop__users=6)
    with pytest.raises(ClusterRefused, match="patience: 30, 20"):
        await join("b", license__epop__users=5, cluster__patience="20s")


async def test_the_store_of_a_gateway_alone_is_not_taken_for_a_node(serve: Serve, join: Join, tmp_path: Path) -> None:
    alone = await serve(store__path=str(tmp_path / "a.db"))
    assert (await alone.http("PUT", "/api/accounts/ann"))[0] in {200, 201}
    await alone.gateway.close(drain=0)
    with pytest.raises(ClusterRefused, match="cluster adopt"):
        await join("a")


async def test_a_gateway_that_finds_no_etcd_says_so(
    join: Join, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.edge.cluster.node.START_PATIENCE", 0.0)
    monkeypatch.setattr("config.values.FIRST_EPHEMERAL_PORT", 65536)
    with pytest.raises(ClusterRefused, match=str(closed_port)):
        await join("a", cluster__etcd=f'["http://127.0.0.1:{closed_port}"]')


async def test_an_etcd_that_may_lose_data_is_refused(
    join: Join, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(_: Etcd, url: str) -> EtcdStatus:
        return EtcdStatus("3.5.4" if url == members.urls[2] else "3.5.6", 0, ())

    monkeypatch.setattr(Etcd, "status", told)
    with pytest.raises(ClusterRefused, match=re.escape(f"{members.urls[2]}: etcd 3.5.4 may lose data")):
        await join("a")


async def test_a_secret_that_others_can_read_or_that_is_short_is_none(members: Members, tmp_path: Path) -> None:
    secret = write_secret(tmp_path)
    given = {
        "cluster__etcd": etcd_at(members.urls),
        "cluster__name": "a",
        "cluster__secret_file": str(secret),
        "registrar__enabled": "false",
        "store__path": str(tmp_path / "a.db"),
    }
    settings = settings_of(**given)
    for text, mode, words in (("x" * 40, 0o644, "chmod 600"), ("x" * 31, 0o600, "fewer than 32"), (None, 0, "secret")):
        secret.unlink(missing_ok=True)
        if text is not None:
            secret.write_text(text)
            secret.chmod(mode)
        with pytest.raises(ConfigError, match=words):
            settings_of(**given)
        with pytest.raises(ClusterRefused, match=words):  # it has changed since
            await follow(settings, Shifted().clock)
