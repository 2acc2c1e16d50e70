"""`/metrics`: the names and labels that dashboards depend on, and that every value is what is held."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.registration.license_status import LicenseState
from gateway.edge.machine import Clock
from gateway.licensing import MODELS
from tests.conftest import House, License, Serve, settings_of, until

METRICS: dict[str, tuple[str, set[str]]] = {
    "connections": ("gauge", {"transport", "state"}),
    "sessions": ("gauge", {"kind", "presence"}),
    "sessions_idle": ("gauge", set()),
    "accounts_connected": ("gauge", set()),
    "devices_connected": ("gauge", set()),
    "conferences": ("gauge", {"state"}),
    "conference_members": ("gauge", {"state"}),
    "connections_limit": ("gauge", set()),
    "connections_accepted_total": ("counter", {"transport"}),
    "connections_rejected_total": ("counter", {"transport", "reason"}),
    "connections_closed_total": ("counter", {"transport", "cause"}),
    "requests_refused_total": ("counter", {"reason"}),
    "heartbeats_total": ("counter", {"transport"}),
    "connection_duration_seconds": ("histogram", {"transport"}),
    "license_used": ("gauge", {"model", "pool"}),
    "license_limit": ("gauge", {"model", "pool"}),
    "license_reserved": ("gauge", {"model", "pool"}),
    "license_returning": ("gauge", {"model", "pool"}),
    "license_overdraft_used": ("gauge", {"model", "pool"}),
    "license_high_water": ("gauge", {"model", "pool"}),
    "license_seat_seconds_total": ("counter", {"model", "pool"}),
    "license_full_seconds_total": ("counter", {"model", "pool"}),
    "license_grants_total": ("counter", {"model", "pool"}),
    "license_releases_total": ("counter", {"model", "pool", "cause"}),
    "license_denials_total": ("counter", {"model", "pool", "reason"}),
    "license_true_denials_total": ("counter", {"model", "pool", "reason"}),
    "license_leases": ("gauge", {"model", "pool", "kind"}),
    "license_queue_length": ("gauge", {"model", "pool"}),
    "license_queue_wait_seconds": ("histogram", {"model", "pool"}),
    "license_queue_left_total": ("counter", {"model", "pool", "outcome"}),
    "license_shadow_forgotten_total": ("counter", {"model", "pool"}),
    "license_enforced": ("gauge", {"model"}),
    "registration_state": ("gauge", {"state"}),
    "registration_checks_total": ("counter", {"result"}),
    "registrar_servers": ("gauge", set()),
    "registrar_checks_total": ("counter", {"result"}),
    "registrar_clones_suspected_total": ("counter", set()),
    "store_commit_seconds": ("histogram", set()),
    "store_pending": ("gauge", set()),
    "store_errors_total": ("counter", set()),
    "events_total": ("counter", {"kind"}),
    "events_dropped_total": ("counter", set()),
    "event_loop_lag_seconds": ("histogram", set()),
    "draining": ("gauge", set()),
    "build_info": ("gauge", {"version"}),
    "cluster_info": ("gauge", {"cluster"}),
    "start_time_seconds": ("gauge", set()),
}
"""What the operators' manual promises of the features there are: name without prefix, type, labels."""
COUNTDOWN = {
    f"registration_{name}_timestamp_seconds": ("gauge", set[str]())
    for name in ("last_verified", "shutdown", "not_after")
}
"""The same of a gateway that has lost its registrar; a gateway without these instants has no such series."""
CERTIFICATE = Path(__file__).parents[1] / "config" / "tls" / "certificate.pem"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


async def scrape(house: House) -> list[Metric]:
    """The families of a scrape."""
    status, text = await house.http("GET", "/metrics")
    assert status == 200
    return list(text_string_to_metric_families(text))


class Values:
    """The samples of a scrape, to be asked by name and labels."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.samples = [sample for family in families for sample in family.samples]

    def one(self, name: str, **labels: str) -> float:
        """The value of the one series with these labels."""
        (value,) = self.all(name, **labels)
        return value

    def all(self, name: str, **labels: str) -> list[float]:
        """The values of the series that have these labels, and perhaps others."""
        wanted = labels.items()
        return [
            sample.value
            for sample in self.samples
            if sample.name == f"tallygate_{name}" and wanted <= sample.labels.items()
        ]


async def values(house: House) -> Values:
    return Values(await scrape(house))


async def crowd(house: House) -> list[Any]:
    """Clients of every sort, with names that would be found in a label."""
    wires = [
        await house.welcomed("tcp", account="secret-ann", device="secret-laptop", client="secret client"),
        await house.welcomed("websocket", account="secret-ann", device="secret-phone"),
        await house.welcomed("tcp", account="secret-bob", kind="room"),
        await house.welcomed("websocket"),
        await house.welcomed("tcp", kind="sip"),
        await house.welcomed("tcp", kind="console"),
    ]
    for wire in wires[:3]:
        await wire.ask("join", conference="secret-live", access="public", host=True)
    await wires[3].ask("join", conference="secret-live")
    await wires[4].ask("join", conference="secret-live")
    await wires[2].ask("join", conference="secret-later", scheduled=True)
    await wires[5].ask("join", conference="secret-live")
    await wires[0].ask("leave", conference="secret-nowhere")
    return wires


@pytest.mark.parametrize("model", MODELS)
async def test_names_types_and_labels_are_those_of_the_manual(model: str, serve: Serve) -> None:
    house = await serve(license__model=model, license__floating__limit=50)
    await crowd(house)
    assert await shapes(house) == METRICS


async def test_lines_are_those_of_the_model_that_decides(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=1)
    first, second = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await first.ask("join", conference="c", host=True)
    assert (await second.ask("join", conference="d", host=True, wait=60))["type"] == "queued"
    found = await values(house)
    assert found.one("license_queue_length", model="trueconf", pool="pro") == 1
    assert {sample.labels["model"] for sample in found.samples if "license_queue" in sample.name} == {"trueconf"}


async def test_the_instants_of_a_registration_are_there_where_they_exist(license: License) -> None:
    house = await license({"edition": "free", "not_after": "2099-12-31"})
    assert await shapes(house) == METRICS | {name: each for name, each in COUNTDOWN.items() if "shutdown" not in name}
    await house.gateway.agent.close()
    house.runtime.registration.lost()
    await until(lambda: house.runtime.registration.shown.state is LicenseState.GRACE)
    assert await shapes(house) == METRICS | COUNTDOWN


async def shapes(house: House) -> dict[str, tuple[str, set[str]]]:
    """What a scrape shows: by name without prefix, the type and the labels."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in await scrape(house):
        if not family.name.startswith("tallygate_"):
            assert family.name.startswith(("process_", "python_")), family.name
            continue
        assert family.documentation
        if not family.samples:
            continue
        name = family.name.removeprefix("tallygate_") + ("_total" if family.type == "counter" else "")
        labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        assert len(labels) == 1, (name, labels)
        found[name] = (family.type, set(labels.pop()))
    return found


@pytest.mark.parametrize("model", MODELS)
async def test_there_are_fewer_than_600_series_and_clients_add_none(model: str, serve: Serve) -> None:
    house = await serve(license__model=model, license__floating__limit=50)
    before = {(sample.name, *sorted(sample.labels.items())) for sample in (await values(house)).samples}
    await crowd(house)
    after = {(sample.name, *sorted(sample.labels.items())) for sample in (await values(house)).samples}
    assert after == before
    assert len(after) < 600


async def test_what_a_client_says_is_never_in_a_label(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    await crowd(house)
    refused = await house.connect()
    await refused.hello(account="secret-eve", home="secret.example")
    _, text = await house.http("GET", "/metrics")
    assert "secret" not in text


async def test_the_values_are_what_is_held(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__guest=1)
    wires = await crowd(house)
    await wires[5].say("heartbeat")
    await wires[5].hear()
    silent = await house.connect()
    await until(lambda: len(house.runtime.tcp.connections.pending) == 1)
    seen = await values(house)
    assert seen.one("connections", transport="tcp", state="open") == 4
    assert seen.one("connections", transport="tcp", state="pending") == 1
    assert seen.one("connections", transport="websocket", state="open") == 2
    assert seen.one("connections_accepted_total", transport="tcp") == 5
    assert seen.one("heartbeats_total", transport="tcp") == 1
    assert seen.one("accounts_connected") == 2
    assert seen.one("devices_connected") == 6
    assert seen.one("sessions", kind="app", presence="awake") == 3
    assert seen.one("sessions", kind="console", presence="awake") == 1
    assert seen.one("conferences", state="live") == 1
    assert seen.one("conferences", state="scheduled") == 1
    assert seen.one("conference_members", state="live") == 5
    assert seen.one("conference_members", state="scheduled") == 1
    assert seen.one("license_used", model="trueconf", pool="online") == 3
    assert seen.one("license_used", model="trueconf", pool="pro") == 2
    assert seen.one("license_used", model="trueconf", pool="guest") == 1
    assert seen.one("license_used", model="trueconf", pool="gateway") == 1
    assert seen.one("license_limit", model="trueconf", pool="pro") == 10
    assert seen.all("license_limit", model="floating") == []
    assert seen.one("license_leases", model="trueconf", pool="pro", kind="temporary") == 2
    assert seen.one("license_used", model="epop", pool="concurrent") == 5
    assert seen.one("requests_refused_total", reason="not_allowed") == 1
    assert seen.one("requests_refused_total", reason="not_member") == 1
    assert [model for model in MODELS if seen.one("license_enforced", model=model)] == ["trueconf"]
    assert seen.one("build_info") == seen.one("cluster_info") == 1
    await silent.close()
    for wire in wires:
        await wire.close()
    await until(lambda: not any(listener.connections.held for listener in house.runtime.client_listeners))
    seen = await values(house)
    assert sum(seen.all("connections")) == sum(seen.all("sessions")) == 0
    assert sum(seen.all("connections_closed_total")) == sum(seen.all("connections_accepted_total")) == 7
    assert sum(seen.all("connection_duration_seconds_count")) == 7
    assert seen.one("license_high_water", model="trueconf", pool="online") == 3
    assert sum(seen.all("license_used", model="epop")) == 0


@pytest.mark.parametrize("model", MODELS)
async def test_within_one_scrape_the_sums_agree(model: str, serve: Serve) -> None:
    house = await serve(license__model=model)
    wires = await crowd(house)
    await wires[0].close()
    await wires[1].drop()
    await until(lambda: sum(listener.connections.held for listener in house.runtime.client_listeners) == 4)
    seen = await values(house)
    open_now = sum(seen.all("connections"))
    assert open_now == sum(seen.all("sessions")) == 4
    assert sum(seen.all("connections_accepted_total")) == open_now + sum(seen.all("connections_closed_total"))
    for sample in [each for each in seen.samples if each.name == "tallygate_license_used"]:
        key = sample.labels
        granted = seen.one("license_grants_total", **key)
        released = sum(seen.all("license_releases_total", **key))
        assert sample.value == granted - released, key
        assert seen.one("license_high_water", **key) >= sample.value
        limit = seen.all("license_limit", **key)
        overdraft = seen.one("license_overdraft_used", **key)
        assert overdraft == (max(sample.value - limit[0], 0) if limit else 0)


async def test_denials_are_counted_for_the_enforced_model_and_for_shadows(serve: Serve) -> None:
    house = await serve(**{"license__epop__users": 1, "license__nefsis-concurrent__users": 1})
    first, second = await house.welcomed(), await house.welcomed()
    await first.ask("join", conference="c")
    assert (await second.ask("join", conference="c"))["reason"] == "pool_full"
    seen = await values(house)
    assert seen.one("license_denials_total", model="epop", pool="concurrent", reason="pool_full") == 1
    assert seen.one("license_denials_total", model="nefsis-concurrent", pool="concurrent", reason="pool_full") == 0
    assert seen.one("license_used", model="epop", pool="concurrent") == 1


async def test_rejections_at_the_door_are_counted_by_reason(serve: Serve) -> None:
    house = await serve(listen__max_connections=1)
    await house.welcomed()
    turned = await house.connect()
    await turned.gone()
    seen = await values(house)
    assert seen.one("connections_rejected_total", transport="tcp", reason="too_many_connections") == 1
    assert sum(seen.all("connections_rejected_total")) == 1
    assert sum(seen.all("connections_accepted_total")) == 1


async def test_seat_seconds_are_the_exact_integral_of_use(serve: Serve) -> None:
    instant = [1000.0]
    house = await serve(clock=Clock(lambda: instant[0], lambda: 1_800_000_000.0), license__epop__users=1)
    wire = await house.welcomed()
    await wire.ask("join", conference="c")
    instant[0] += 60
    await wire.ask("leave", conference="c")
    instant[0] += 60
    seen = await values(house)
    assert seen.one("license_seat_seconds_total", model="epop", pool="concurrent") == 60
    assert seen.one("license_full_seconds_total", model="epop", pool="concurrent") == 60


async def test_what_a_shadow_has_forgotten_is_counted_for_models_that_refuse_nobody(serve: Serve) -> None:
    house = await serve(license__model="nefsis-named", license__shadow_leases=1)
    for account in ("ann", "bob", "cid"):
        wire = await house.welcomed("tcp", account=account)
        await wire.ask("join", conference=account, host=True)
        await wire.ask("leave", conference=account)
    seen = await values(house)
    assert seen.one("license_shadow_forgotten_total", model="trueconf", pool="pro") == 2
    assert seen.all("license_shadow_forgotten_total", model="nefsis-named") == []
    assert seen.all("license_shadow_forgotten_total", model="epop") == []  # it keeps no seat for anybody
    house = await serve(license__model="trueconf", license__enforce="false")
    assert (await values(house)).one("license_shadow_forgotten_total", model="trueconf", pool="pro") == 0


async def test_openmetrics_is_spoken_to_those_who_ask(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    await crowd(house)
    status, text = await house.http("GET", "/metrics", headers=OPENMETRICS)
    assert status == 200
    assert text.endswith("# EOF\n")
    seen = Values(openmetrics_families(text))  # type: ignore[no-untyped-call]  # the library has no types here
    assert seen.one("connections_accepted_total", transport="tcp") == 4
    assert seen.one("license_used", model="trueconf", pool="online") == 3


async def test_each_format_says_which_it_is(serve: Serve) -> None:
    house = await serve()
    async with aiohttp.ClientSession() as session:
        async with session.get(house.url + "/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=")
        async with session.get(house.url + "/metrics", headers=OPENMETRICS) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=")


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("store_commit_seconds", (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)),
        ("connection_duration_seconds", (1, 10, 60, 600, 3600, 21_600, 86_400)),
        ("event_loop_lag_seconds", (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)),
    ],
)
async def test_the_bounds_of_a_histogram_stay_so_that_its_past_can_be_compared(
    name: str, bounds: tuple[float, ...], serve: Serve
) -> None:
    house = await serve()
    _, text = await house.http("GET", "/metrics")
    (family,) = (each for each in text_string_to_metric_families(text) if each.name == f"tallygate_{name}")
    found = dict.fromkeys(sample.labels["le"] for sample in family.samples if sample.name.endswith("_bucket"))
    assert [*map(float, found)] == [*bounds, float("inf")]


async def test_the_end_of_a_certificate_is_shown_where_there_is_one(serve: Serve, tmp_path: Path) -> None:
    pair = {"listen__tls_certificate": CERTIFICATE, "listen__tls_key": CERTIFICATE.with_name("key.pem")}
    house = await serve(**pair)
    end = datetime(2126, 10, 28, 19, 2, 52, tzinfo=UTC).timestamp()
    assert (await values(house)).one("certificate_end_timestamp_seconds", port="clients") == end
    assert (await values(house)).all("certificate_end_timestamp_seconds") == [end]
    other_form = tmp_path / "certificate.pem"
    other_form.write_text(CERTIFICATE.read_text().replace(" CERTIFICATE", " TRUSTED CERTIFICATE"))
    house.gateway.reload(settings_of(**pair | {"listen__tls_certificate": other_form}))
    assert (await values(house)).all("certificate_end_timestamp_seconds") == []
    house.gateway.reload(settings_of(**pair))
    assert (await values(house)).all("certificate_end_timestamp_seconds") == [end]
