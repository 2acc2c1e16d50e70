"""What people see of a cluster, and what they do to it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.admission.apply import apply
from gateway.core.admission.commands import Command, Hello
from gateway.core.admission.commands import Join as JoinCommand
from gateway.core.admission.decision import Decision
from gateway.core.admission.state import State
from gateway.core.cluster.entries import Batch, Enter, LogEntry, Proposed, encode, plain
from gateway.core.cluster.nodes import RECENT
from gateway.core.cluster.replica import SEMANTICS, terms_digest
from gateway.core.counting.session import Instant
from gateway.edge.adopting import adopt, skip
from gateway.edge.api.cluster import NOTICED, cluster_in_short, document
from gateway.edge.cluster.etcd import Etcd, EtcdFailed
from gateway.edge.cluster.housekeeping import Housekeeping
from gateway.edge.joining import ClusterRefused
from gateway.edge.storage.node_file import read
from tests.cli.program import run_here
from tests.cluster.conftest import Join, Shifted, backup, etcd_at
from tests.cluster.proxy import EtcdProxy
from tests.cluster.test_two_gateways import same
from tests.conftest import Serve, until
from tests.etcd import Members

pytestmark = pytest.mark.debian


async def test_the_cluster_is_shown(join: Join) -> None:
    a, b = await join("a"), await join("b")
    await a.welcomed(account="ann")
    await until(lambda: same(a, b))
    _, shown = await b.http("GET", "/api/cluster")
    assert (shown["state"], shown["name"], shown["cluster"]) == ("active", "b", a.runtime.state.run)
    assert [(each["name"], each["connections"], each["leader"]) for each in shown["nodes"]] == [
        ("a", 1, True),
        ("b", 0, False),
    ]
    assert cluster_in_short(b.runtime) == {
        "state": "active",
        "name": "b",
        "lag": 0.0,
        "nodes": [
            {"name": "a", "connections": 1, "lag": 0.0, "silent": 0.0, "leader": True},
            {"name": "b", "connections": 0, "lag": 0.0, "silent": 0.0, "leader": False},
        ],
        "mismatches": 0,
        "etcd_alarms": (),
    }
    _, metrics = await b.http("GET", "/metrics")
    assert 'tallygate_cluster_nodes{state="alive"} 2.0' in metrics
    assert 'tallygate_cluster_nodes{state="silent"} 0.0' in metrics
    assert 'tallygate_cluster_state{state="active"} 1.0' in metrics
    assert (await b.http("GET", "/readyz"))[0] == 200


async def test_a_person_is_told_who_is_in_the_cluster_and_who_leads(join: Join, serve: Serve) -> None:
    a, b = await join("a"), await join("b")
    await a.welcomed(account="ann")
    await until(lambda: same(a, b))
    ended = await run_here("cluster", "status", "--operator", b.url)
    standing, agreement, head, *nodes = ended.out.splitlines()
    assert standing.startswith(f"b of cluster {a.runtime.state.run}: active, entry ")
    assert ", mismatches 0, failures 0, fences 0, etcd " in agreement
    assert head.split() == ["node", "incarnation", "sessions", "lag", "silent"]
    assert [each.split()[:3] for each in nodes] == [["a", a.node.incarnation, "1"], ["b", b.node.incarnation, "0"]]
    assert [each.endswith("leads") for each in nodes] == [True, False]
    ended = await run_here("cluster", "status", "--operator", (await serve()).url)
    assert ended.out == "this gateway is no node of a cluster\n"


async def test_all_are_told_how_far_a_node_is_behind(join: Join) -> None:
    a = await join("a")
    replica, url = a.node.replica, a.node.etcd.urls[0]
    enter = Enter("late", SEMANTICS, terms_digest(replica.state.configured, replica.patience), replica.version)
    await a.node.etcd.put(url, encode(Batch("1a7e", 1, enter=enter)))
    await until(lambda: "1a7e" in replica.nodes.living)
    seen, at = replica.seen, replica.at
    await until(lambda: replica.at > at + 1.5)
    await a.node.etcd.put(url, encode(Batch("1a7e", 2, seen=seen)))
    await until(lambda: replica.nodes.living["1a7e"].seq == 2)
    _, shown = await a.http("GET", "/api/cluster")
    assert [each["name"] for each in shown["nodes"]] == ["a", "late"]
    assert shown["nodes"][0]["lag_seconds"] < NOTICED < shown["nodes"][1]["lag_seconds"] < 3.0
    short = cluster_in_short(a.runtime)
    assert short is not None
    assert [each["lag"] > 0 for each in short["nodes"]] == [False, True]
    await until(lambda: replica.life - replica.nodes.living["1a7e"].heard > RECENT + 0.1)
    told = (await run_here("status", "--operator", a.url)).out.splitlines()
    lines = [each for each in told if each.startswith("  node ")]
    for line, pattern in zip(
        lines,
        (
            r"a: 0 sessions, 0\.\d s behind, heard 0\.\d s ago, leads",
            r"late: 0 sessions, [12]\.\d s behind, heard \d\.\d s ago",
        ),
        strict=True,
    ):
        assert re.fullmatch("  node " + pattern, line), line


async def test_a_node_says_how_far_it_is_behind_while_it_hears_nothing(join: Join) -> None:
    a = await join("a")
    async with a.node.follower.applying:
        await until(lambda: a.node.lag > 2 * NOTICED)
        _, shown = await a.http("GET", "/api/cluster")
        assert shown["lag_seconds"] > NOTICED
        assert shown["nodes"][0]["lag_seconds"] >= shown["lag_seconds"] - 0.001
        told = (await run_here("status", "--operator", a.url)).out
        assert re.search(r"cluster node a is (active|slow), (\d\.[1-9]|[1-9]\.\d) s behind", told), told
    await until(lambda: a.node.lag < NOTICED)


async def test_a_standby_says_how_far_it_is_behind(join: Join) -> None:
    clocks = Shifted()
    a, standby = await join("a"), await join("b", enters=False, clocks=clocks, cluster__role="standby")
    assert standby.node.lag < 1.0
    clocks.wall_offset = 7.0
    assert 5.0 < standby.node.lag < 9.0, "the newest entry is so old by its own clock"
    _, shown = await standby.http("GET", "/api/cluster")
    assert (shown["state"], shown["lag_seconds"] > 5.0) == ("following", True)
    told = (await run_here("status", "--operator", standby.url)).out
    assert re.search(r"cluster node b is following, [5-8]\.\d s behind", told), told
    short = cluster_in_short(standby.runtime)
    assert short is not None
    assert short["lag"] > 5.0
    _, metrics = await standby.http("GET", "/metrics")
    found = re.search(r"^tallygate_cluster_lag_seconds (\S+)$", metrics, re.MULTILINE)
    assert found is not None
    assert float(found[1]) > 5.0
    await a.gateway.close(drain=0)
    await until(lambda: not standby.node.replica.nodes.living)
    assert standby.node.lag == 0.0, "nobody writes, so nothing is late"


async def test_what_is_shown_of_the_log_is_never_that_of_half_an_entry(join: Join) -> None:
    a = await join("a")
    replica = a.node.replica
    async with a.node.follower.applying:
        before = replica.seen
        hellos = tuple(plain(Proposed(Hello("app", name, "d", "", "", "192.0.2.1", "tcp"))) for name in ("ann", "bob"))
        batch = Batch(a.node.incarnation, replica.nodes.living[a.node.incarnation].seq + 1, commands=hellos)
        half = replica.apply(LogEntry(replica.version + 1, replica.revision, encode(batch)))
        next(half)
        assert replica.digest != before.digest
        shown = document(a.runtime)
        assert (shown["version"], shown["digest"]) == before
        list(half)
        shown = document(a.runtime)
        assert (shown["version"], shown["digest"]) == (replica.version, replica.digest)


async def test_license_metrics_are_the_same_at_every_gateway(join: Join) -> None:
    a, b = await join("a", license__epop__users=1), await join("b", license__epop__users=1)
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")
    for _ in range(2):
        assert (await ann.ask("join", conference="room"))["type"] == "joined"
        assert (await bob.ask("join", conference="other"))["reason"] == "pool_full"
        assert (await ann.ask("leave", conference="room"))["type"] == "left"
    assert (await bob.ask("join", conference="other"))["type"] == "joined"
    shared = re.compile(r"tallygate_(license_|sessions|accounts_|devices_|conference|cluster_info)")
    shown: list[list[str]] = []
    while len(shown) < 2:
        await until(lambda: same(a, b))
        async with a.node.follower.applying, b.node.follower.applying:
            if same(a, b):
                told = [(await each.http("GET", "/metrics"))[1] for each in (a, b)]
                shown = [[line for line in text.splitlines() if shared.match(line)] for text in told]
    assert shown[0] == shown[1]
    assert 'tallygate_license_used{model="epop",pool="concurrent"} 1.0' in shown[0]
    assert 'tallygate_license_denials_total{model="epop",pool="concurrent",reason="pool_full"} 2.0' in shown[0]
    assert f'tallygate_cluster_info{{cluster="{a.runtime.state.run}"}} 1.0' in shown[0]


async def test_a_refusal_is_counted_by_the_gateway_that_told_it(join: Join) -> None:
    a, b = await join("a", conferences__max_per_session=1), await join("b", conferences__max_per_session=1)
    ann, bob = await a.welcomed(account="ann"), await b.welcomed(account="bob")
    for wire in (ann, bob):
        assert (await wire.ask("join", conference="room"))["type"] == "joined"
    assert (await ann.ask("start", conference="other"))["reason"] == "not_member"
    assert (await ann.ask("join", conference="room"))["reason"] == "already_member"
    assert (await bob.ask("join", conference="room"))["reason"] == "already_member"
    for house, not_member in ((a, 1), (b, 0)):
        _, metrics = await house.http("GET", "/metrics")
        assert f'tallygate_requests_refused_total{{reason="not_member"}} {not_member}.0' in metrics
        assert 'tallygate_requests_refused_total{reason="already_member"} 1.0' in metrics


async def test_terms_that_one_gateway_reads_again_are_those_of_all(join: Join) -> None:
    a, b = await join("a", license__epop__users=1), await join("b", license__epop__users=1)
    settings = a.gateway.settings
    terms = {**settings.license.terms, "epop": replace(settings.license.terms["epop"], users=2)}
    a.gateway.reload(replace(settings, license=replace(settings.license, terms=terms)))
    await until(lambda: b.runtime.state.terms.licenses["epop"].users == 2)
    for number, house in enumerate((a, b)):
        wire = await house.welcomed(account=f"user{number}")
        assert (await wire.ask("join", conference="room"))["type"] == "joined"
    with pytest.raises(ClusterRefused, match=r"licenses.epop.users: 2, 1"):
        await join("c", license__epop__users=1)


async def test_a_cluster_begins_anew_from_a_file_with_its_leases_and_accounts(join: Join, tmp_path: Path) -> None:
    terms = {"license__model": "trueconf", "license__trueconf__pro": 2}
    a = await join("a", **terms)
    ann = await a.welcomed(account="ann", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    assert (await a.http("PUT", "/api/accounts/ann"))[0] in {200, 201}
    with pytest.raises(ClusterRefused, match="run: stop them"):
        await adopt(a.gateway.settings, await backup(a, tmp_path / "other.db"))
    await a.gateway.close(drain=0)
    before = a.runtime.state.run
    settings, nobody = a.gateway.settings, "http://127.0.0.1:1"
    alone = replace(settings, cluster=replace(settings.cluster, etcd=(nobody,)))
    with pytest.raises(ClusterRefused, match=nobody):
        await adopt(alone, tmp_path / "a.db")
    lost = replace(settings, cluster=replace(settings.cluster, etcd=(nobody, *settings.cluster.etcd[1:])))
    cluster = await adopt(lost, tmp_path / "a.db")
    again = await join("a", **terms)
    assert again.runtime.state.run == cluster != before
    assert not again.runtime.state.sessions.by_number
    assert [*again.runtime.state.directory.accounts] == ["ann"]
    assert await again.used("pro", "trueconf") == 1
    with pytest.raises(ClusterRefused, match="file"):
        await join("b", **terms)


async def test_a_command_that_ends_every_gateway_is_left_out_where_a_person_says_so(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(state: State, command: Command, at: Instant) -> Decision:
        if isinstance(command, JoinCommand) and command.conference == "poison":
            raise RecursionError
        return apply(state, command, at)

    a, b = houses = await join("a"), await join("b")
    ann, bob = await a.welcomed(account="ann", device="d"), await b.welcomed(account="bob", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    monkeypatch.setattr("gateway.core.cluster.replica.apply", endless)
    await bob.say("join", conference="poison")
    for house in houses:
        assert house.node.failed is not None
        told = await asyncio.wait_for(house.node.failed, 20.0)
        await house.gateway.close(drain=0)
    assert [each["reason"] for each in await bob.gone()] == ["store_unavailable"]
    for name in ("a", "b"):
        with pytest.raises(ClusterRefused, match=re.escape(told)):
            await join(name)
    revision = re.search(r"RecursionError at the entry of revision (\d+)", told)
    assert revision, told
    for house in houses:
        path = house.gateway.settings.store.path
        assert await skip(house.gateway.settings, int(revision[1])) == path
        assert await skip(house.gateway.settings, 10**9) == path
        assert read(path).skipped == {int(revision[1]), 10**9}
    a, b = await join("a"), await join("b")
    assert a.node.replica.revision > int(revision[1])
    ann = await a.welcomed(account="ann", device="d")
    assert (await ann.ask("join", conference="room"))["type"] == "joined"
    await until(lambda: same(a, b))
    assert [*a.runtime.state.conferences.by_id] == [*b.runtime.state.conferences.by_id] == ["room"]


async def test_what_is_long_past_is_forgotten_by_etcd(join: Join, proxy: EtcdProxy, members: Members) -> None:
    a = await join("a", cluster__etcd=etcd_at(proxy.urls))
    proxy.targets = ["http://127.0.0.1:1", *members.urls[1:]]  # nobody is there: the first member is lost
    await until(lambda: a.node.replica.version > 6)
    async with a.node.follower.applying:
        version, revision = a.node.replica.version, a.node.replica.revision
        keeping = Housekeeping(a.node, kept=3)  # as of a process that has seen nothing of the past
        await keeping.look()
    assert a.node.etcd.health.size > 0
    etcd = Etcd((members.urls[0],), f"{a.gateway.settings.cluster.prefix}/log")
    try:
        assert (await etcd.head(etcd.urls[0], revision - 3)).version == version - 3
        with pytest.raises(EtcdFailed):
            await etcd.head(etcd.urls[0], revision - 4)
    finally:
        await etcd.close()
    await a.gateway.dump_writer.write()
    with pytest.raises(ClusterRefused, match="newer file"):
        await join("b")


async def test_entries_are_kept_where_others_write_to_etcd_too(join: Join, members: Members) -> None:
    a = await join("a")
    other = Etcd((members.urls[0],), "of somebody else")
    try:
        for _ in range(10):
            await other.put(other.urls[0], b"x")
        version = a.node.replica.version
        await until(lambda: a.node.replica.version > version + 1)
        async with a.node.follower.applying:
            version = a.node.replica.version
            await Housekeeping(a.node, kept=2).look()
        etcd, url = a.node.etcd, members.urls[0]
        known = []
        for revision in range(a.node.replica.revision, 0, -1):
            try:
                known.append((await etcd.head(url, revision)).version)
            except EtcdFailed:
                break
        assert known[-1] == version - 2, known
    finally:
        await other.close()
