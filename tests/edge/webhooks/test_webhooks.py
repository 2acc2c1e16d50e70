"""Webhooks over real HTTP: what is posted, what happens while the receiver fails, hangs or is away, and afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import math
import shutil
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from config.faults import ConfigError
from gateway.edge.server.recent_events import RecentEvents
from gateway.edge.storage.outgoing_events import OutgoingQueue
from gateway.edge.webhooks.delivery import signature
from gateway.edge.webhooks.posting_duty import MOST_MARKS, OVERLAP, PostingDuty
from tests.conftest import House, Serve, settings_of, until
from tests.edge.api.test_reports import Hands
from tests.edge.webhooks.receiver import SECRET, Receiver, ask_again_at_once, happen, receiving

FLOATING = {"license__model": "floating", "license__floating__limit": 2}
CERTIFICATES = Path(__file__).parents[2] / "config" / "tls"


def queue(house: House, name: str = "1") -> OutgoingQueue:
    """The queue of a webhook."""
    return house.runtime.persistence.outgoing.queues[name]


async def passes(house: House, hands: Hands, seconds: float, step: float = 1.0) -> None:
    """Let time pass; each attempt that is due comes to its end meanwhile."""

    def attempts() -> int:
        return queue(house).totals.taken + queue(house).totals.failed

    end = hands.mono + seconds
    while hands.mono < end:
        hands.move(step)
        before = attempts()
        due = [each for each in house.gateway.webhooks._deliveries.values() if hands.mono >= each._due]
        house.gateway.webhooks.poll()
        if due and queue(house).waiting:
            await until(lambda: attempts() > before)  # noqa: B023 - it is over before the next turn


async def delivered(house: House, *, waiting: int = 0) -> None:
    """Wait until no more than so many events wait, as the clock of the gateway goes."""
    await until(lambda: len(queue(house).waiting) <= waiting and queue(house).totals.taken > 0)


# -- what is posted ----------------------------------------------------------------------------------------------------


async def test_events_are_posted_signed_each_with_its_id(serve: Serve, tmp_path: Path) -> None:
    async with receiving() as receiver:
        house = await serve(webhook=receiver.setting(tmp_path, name="billing"), **FLOATING)
        await house.welcomed(account="ann")
        await until(lambda: any(e["event"] == "granted" for post in receiver.posts for e in post["events"]))
        post = receiver.posts[0]
        assert post["headers"]["Content-Type"] == "application/json"
        assert post["headers"]["Tallygate-Delivery"] == post["delivery"]
        assert post["webhook"] == "billing"
        assert post["headers"]["Tallygate-Signature"] == signature(
            SECRET.encode(), post["headers"]["Tallygate-Timestamp"], post["body"]
        )
        _, page = await house.http("GET", "/api/events?limit=1000")
        told = {each["id"]: each for each in page["items"]}
        posted = [each for post in receiver.posts for each in post["events"]]
        assert [told[each["id"]] for each in posted] == posted
        assert len({each["id"] for each in posted}) == len(posted)


def test_a_signature_is_that_of_the_text() -> None:
    assert signature(b"0123456789abcdef0123456789abcdef", "1795867200", b'{"events":[]}') == (
        "v1=68d387857be4da2cee0926f56f7ec3e7234671ce97074997f9ddc523b8c10187"
    )


async def test_only_the_kinds_asked_for_are_posted_and_a_test_always(serve: Serve, tmp_path: Path) -> None:
    async with receiving() as receiver:
        house = await serve(webhook=receiver.setting(tmp_path, events=["denied", "full"]), **FLOATING)
        for name in ("ann", "bob"):
            await house.welcomed(account=name)
        await (await house.connect()).hello(account="eve")
        status, told = await house.http("POST", "/api/webhooks/1/test")
        assert status == 200
        await until(lambda: told["id"] in receiver.taken)
        names = [each["event"] for post in receiver.posts for each in post["events"]]
        assert set(names) <= {"denied", "full.begun", "act.webhook.tested"}
        assert names[0] == "denied"
        assert (await house.http("POST", "/api/webhooks/2/test"))[0] == 404


async def test_no_more_than_a_batch_goes_with_one_request_and_one_request_a_second(
    serve: Serve, tmp_path: Path
) -> None:
    hands = Hands()
    async with receiving() as receiver:
        house = await serve(clock=hands.clock(), webhook=receiver.setting(tmp_path, batch=2), **FLOATING)
        ids = happen(house, *("gateway.reload" for _ in range(5)))
        await passes(house, hands, 0.9, step=0.1)
        assert len(receiver.posts) == 1
        await passes(house, hands, 5.0, step=0.5)
        assert [len(post["events"]) for post in receiver.posts] == [2, 2, 2, 1]
        assert receiver.taken[2:] == ids


# -- a receiver that fails ---------------------------------------------------------------------------------------------


async def test_nothing_is_lost_and_nothing_sent_twice_over_an_outage_of_ten_minutes(
    serve: Serve, tmp_path: Path
) -> None:
    hands = Hands()
    async with receiving() as receiver:
        house = await serve(clock=hands.clock(), webhook=receiver.setting(tmp_path), **FLOATING)
        await passes(house, hands, 3.0)
        before = list(receiver.taken)
        await receiver.close()
        ids: list[str] = []
        for _ in range(60):
            ids += happen(house, "gateway.reload", "registration.grace")
            await passes(house, hands, 10.0)
        failed = queue(house).totals.failed
        assert 600 / 62 <= failed <= 100  # further and further apart, and never more than a minute
        assert len(queue(house).waiting) == len(ids)
        assert "cannot be reached" in queue(house).trouble
        await receiver.open()
        await passes(house, hands, 65.0)
        assert receiver.taken == [*before, *ids]
        assert queue(house).totals.dropped == 0
        assert queue(house).trouble == ""


@pytest.mark.parametrize("mode", [500, 404, 307])
async def test_what_is_not_taken_is_posted_again_the_same(mode: int, serve: Serve, tmp_path: Path) -> None:
    hands = Hands()
    async with receiving() as receiver:
        receiver.mode = mode
        house = await serve(clock=hands.clock(), webhook=receiver.setting(tmp_path), **FLOATING)
        await passes(house, hands, 6.0)
        happen(house, "gateway.reload")  # it does not join what was tried
        await passes(house, hands, 30.0)
        first, *others = receiver.posts
        assert len(others) > 1
        assert {post["body"] for post in others} == {first["body"]}
        assert str(mode) in queue(house).trouble
        receiver.mode = 200
        await passes(house, hands, 130.0)
        assert len(receiver.taken) == len(set(receiver.taken)) == 3


async def test_clients_are_answered_while_the_receiver_hangs(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_again_at_once(monkeypatch)
    async with receiving() as receiver:
        receiver.mode = "hang"
        house = await serve(webhook=receiver.setting(tmp_path, timeout="300ms"), **FLOATING)
        ann = await house.welcomed(account="ann")
        await until(lambda: bool(receiver.posts))
        loop = asyncio.get_running_loop()
        waits = []
        for _ in range(50):
            began = loop.time()
            await ann.ask("heartbeat")
            waits.append(loop.time() - began)
        assert sorted(waits)[len(waits) // 2] < 0.1
        await until(lambda: bool(queue(house).trouble))
        assert "no answer within 0.3 s" in queue(house).trouble
        receiver.mode = 204
        receiver.goes_on.set()
        await until(lambda: not queue(house).waiting)
        assert {post["body"] for post in receiver.posts} == {receiver.posts[0]["body"]}  # what hung was the same


async def test_of_a_long_answer_no_more_than_the_status_is_read(serve: Serve, tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.mode = "huge"
        house = await serve(webhook=receiver.setting(tmp_path), **FLOATING)
        await delivered(house)
        assert queue(house).totals.failed == 0
        assert len(receiver.taken) == len(set(receiver.taken))


async def test_at_the_bound_the_oldest_are_dropped_counted_and_said(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hands = Hands()
    async with receiving() as receiver:
        receiver.mode = 500
        house = await serve(clock=hands.clock(), webhook=receiver.setting(tmp_path, queue=3), **FLOATING)
        ids = happen(house, *("gateway.reload" for _ in range(5)))
        house.gateway.webhooks.poll()
        assert [each.id for each in queue(house).waiting.values()] == ids[-3:]
        assert queue(house).totals.dropped == 4
        happen(house, "gateway.reload", "gateway.reload")
        house.gateway.webhooks.poll()
        assert caplog.text.count("webhook 1: the oldest events are dropped: 3 wait already") == 1
        _, text = await house.http("GET", "/metrics")
        assert 'tallygate_webhook_events_total{result="dropped",webhook="1"} 6.0' in text
        assert 'tallygate_webhook_queue_length{webhook="1"} 3.0' in text
        hands.move(60.0)
        _, text = await house.http("GET", "/metrics")
        assert 'tallygate_webhook_queue_age_seconds{webhook="1"} 60.0' in text
        receiver.mode = 204
        await passes(house, hands, 70.0)
        assert caplog.text.count("webhook 1: 6 events have been dropped") == 1


async def test_what_memory_lost_before_it_was_taken_is_counted_and_said_now_and_then(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hands = Hands()
    async with receiving() as receiver:
        house = await serve(clock=hands.clock(), webhook=receiver.setting(tmp_path), events__kept=4, **FLOATING)
        happen(house, *("gateway.reload" for _ in range(7)))
        house.gateway.webhooks.poll()
        assert (len(queue(house).waiting), queue(house).totals.dropped) == (4, 5)
        happen(house, *("gateway.reload" for _ in range(7)))
        house.gateway.webhooks.poll()
        assert queue(house).totals.dropped == 8
        assert caplog.text.count("events were dropped: more happened at once than `events.kept`") == 1


def _copied(place: Path) -> None:
    """Have `b.db` be `a.db` as a crash would leave it now."""
    for each in place.glob("a.db*"):
        if not each.name.endswith(".lock"):
            shutil.copy(each, place / each.name.replace("a.db", "b.db"))


# -- what outlives the process -----------------------------------------------------------------------------------------


async def test_a_gateway_that_was_killed_goes_on_with_what_waited(serve: Serve, tmp_path: Path) -> None:
    async with receiving() as receiver:
        await receiver.close()
        setting = receiver.setting(tmp_path)
        house = await serve(webhook=setting, store__path=tmp_path / "a.db", **FLOATING)
        ids = happen(house, "gateway.reload", "registration.grace")
        house.gateway.webhooks.poll()
        await until(lambda: not house.runtime.persistence.store.pending)
        await asyncio.to_thread(_copied, tmp_path)
        await receiver.open()
        other = await serve(webhook=setting, store__path=tmp_path / "b.db", **FLOATING)
        await until(lambda: set(ids) <= set(receiver.taken))
        await until(lambda: not queue(other).waiting)
        assert receiver.taken[2:4] == ids
        assert len(set(receiver.taken)) == len(receiver.taken) == 6


async def test_the_stop_is_posted_by_the_next_run(serve: Serve, tmp_path: Path) -> None:
    async with receiving() as receiver:
        setting = receiver.setting(tmp_path)
        house = await serve(webhook=setting, store__path=tmp_path / "a.db", **FLOATING)
        await delivered(house)
        await house.gateway.close(drain=0)
        await serve(webhook=setting, store__path=tmp_path / "a.db", **FLOATING)
        await until(lambda: len(receiver.taken) == 6)
        names = [each["event"].removeprefix("gateway.") for post in receiver.posts for each in post["events"]]
        assert names == ["start", "doors_opened", "doors_closed", "stop", "start", "doors_opened"]


async def test_a_file_that_was_away_has_all_that_waits_again(serve: Serve, tmp_path: Path) -> None:
    hands = Hands()
    async with receiving() as receiver:
        receiver.mode = 500
        house = await serve(
            clock=hands.clock(), webhook=receiver.setting(tmp_path), store__path=tmp_path / "a.db", **FLOATING
        )
        store = house.runtime.persistence.store
        store.mistrust("a test says so")
        ids = happen(house, "gateway.reload")
        house.gateway.webhooks.poll()
        await until(lambda: store.available)
        await until(lambda: not store.pending)
        assert ids[0] in [id for (id,) in await store.read("SELECT id FROM outgoing")]


async def test_who_is_erased_stands_in_nothing_that_waits(serve: Serve, tmp_path: Path) -> None:
    hands = Hands()
    async with receiving() as receiver:
        receiver.mode = 500
        house = await serve(
            clock=hands.clock(), webhook=receiver.setting(tmp_path), store__path=tmp_path / "a.db", **FLOATING
        )
        await house.welcomed(account="ann")
        await house.welcomed(account="bob")
        house.gateway.webhooks.poll()
        assert "ann" in str(queue(house).waiting)
        assert (await house.http("DELETE", "/api/persons/ann?force=true"))[0] == 200
        house.gateway.webhooks.poll()
        rows = await house.runtime.persistence.store.read("SELECT body FROM outgoing")
        for told in (str(queue(house).waiting), str(rows)):
            assert '"ann"' not in told
            assert '"bob"' in told


# -- settings ----------------------------------------------------------------------------------------------------------


async def test_a_reload_adds_changes_and_removes_webhooks(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with receiving() as receiver, receiving() as other:
        house = await serve(**FLOATING)
        await house.http("GET", "/livez")

        def use(setting: str) -> None:
            ports = {f"listen__{name}": port for name, port in house.gateway.ports().items() if name != "registrar"}
            house.gateway.reload(settings_of(webhook=setting, **FLOATING, **ports))

        use(receiver.setting(tmp_path, name="a"))
        await until(lambda: queue(house, "a").totals.delivered == 1)  # the reload; what was before is nobody's
        assert receiver.posts[0]["events"][0]["event"] == "gateway.reload"
        other.mode = 500
        use(other.setting(tmp_path, name="a"))
        await until(lambda: bool(other.posts))
        assert len(receiver.taken) == 1
        use(receiver.setting(tmp_path, name="a"))
        await until(lambda: queue(house, "a").totals.delivered == 3)  # it goes on with the same queue
        await receiver.close()
        happen(house, "gateway.reload")
        await until(lambda: bool(queue(house, "a").waiting))
        use("[]")
        assert house.runtime.persistence.outgoing.queues == {}
        assert "webhook a is gone" in caplog.text


async def test_a_certificate_is_verified(serve: Serve, tmp_path: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATES / "certificate.pem", CERTIFICATES / "key.pem")
    async with receiving(tls) as receiver:
        distrusting = await serve(webhook=receiver.setting(tmp_path, scheme="https"), **FLOATING)
        await until(lambda: bool(queue(distrusting).trouble))
        assert "its certificate is not trusted" in queue(distrusting).trouble
        assert receiver.posts == []
        ca = str(CERTIFICATES / "certificate.pem")
        setting = receiver.setting(tmp_path, scheme="https", ca=ca).replace("127.0.0.1", "localhost")
        trusting = await serve(webhook=setting, **FLOATING)
        await delivered(trusting)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"url": "ftp://example.org/"}, "expected a URL"),
        ({"url": "https://ann:secret@example.org/"}, "a name, a password or a fragment"),
        ({"url": "https://example.org:0/"}, "expected a URL"),
        ({"url": ""}, "url is missing"),
        ({"secret_file": ""}, "secret_file is missing"),
        ({"secret_file": "/nowhere"}, "cannot be read"),
        ({"secret_file": "EMPTY"}, "holds no secret"),
        ({"secret_file": "OPEN"}, "others may read"),
        ({"events": ["denyed"]}, 'did you mean "denied"'),
        ({"ca": "EMPTY"}, "ca has no effect without https"),
        ({"timeout": "0s"}, "must be at least"),
        ({"colour": 1}, "unknown key"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_said(change: dict[str, object], fault: str, tmp_path: Path) -> None:
    for name, text, mode in (("EMPTY", "", 0o600), ("OPEN", SECRET, 0o644)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    receiver = Receiver()
    receiver.port = 1
    told = {key: str(tmp_path / value) if value in ("EMPTY", "OPEN") else value for key, value in change.items()}
    with pytest.raises(ConfigError, match=fault) as error:
        settings_of(webhook=receiver.setting(tmp_path, **told))
    assert "ann:secret" not in str(error.value)


def test_two_webhooks_have_two_names_and_there_are_not_too_many(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.port = 1
    one = receiver.setting(tmp_path, name="a")[1:-1]
    with pytest.raises(ConfigError, match='item 2: "a" is the name of item 1'):
        settings_of(webhook=f"[{one}, {one}]")
    with pytest.raises(ConfigError, match="of 8 at most"):
        settings_of(webhook="[" + ", ".join([receiver.setting(tmp_path)[1:-1]] * 9) + "]")


# -- in a cluster ------------------------------------------------------------------------------------------------------


async def test_one_gateway_of_a_cluster_posts_what_all_have_and_each_what_is_its_own(
    serve: Serve, tmp_path: Path
) -> None:
    hands = Hands()
    async with receiving() as receiver:
        house = await serve(clock=hands.clock(), webhook=receiver.setting(tmp_path), **FLOATING)
        house.gateway.webhooks._duty = PostingDuty(lambda: False, lambda: 0.0, lambda: 0.0)
        await house.welcomed(account="ann")
        await (await house.connect()).hello(account="eve", home="elsewhere")
        house.gateway.webhooks.poll()
        names = [json.loads(each.body)["event"] for each in queue(house).waiting.values()]
        assert names == ["gateway.start", "gateway.doors_opened", "refused"]
        events: RecentEvents = house.runtime.recent.events
        assert [each.name for each in events.after(0) if each.shared] == ["granted"]


def test_the_next_one_goes_on_from_where_the_one_before_may_have_ended() -> None:
    time = {"now": 100.0, "until": 100.0}
    duty = PostingDuty(lambda: False, lambda: time["now"], lambda: time["until"])
    duty.of_another(3)
    assert duty.posted == 0
    for number, now in ((3, 101.0), (5, 102.0), (8, 104.0)):
        time["now"] = now
        duty.of_another(number)
    time["until"] = 102.0 + OVERLAP
    duty.of_another(8)
    assert duty.posted == 3, "what happened at the end of what it had may be posted or not"
    time["until"] = 200.0
    duty.of_another(8)
    assert duty.posted == 8
    time["now"] = 201.0
    duty.of_another(11)
    duty.ours(20)
    assert duty.posted == 20
    time["until"] = -math.inf  # who posts has not been heard yet
    for number in range(21, 21 + 2 * MOST_MARKS):
        duty.of_another(number)
    assert duty.posted == 20


async def test_who_comes_after_another_one_posts_what_that_one_may_not_have_posted(
    serve: Serve, tmp_path: Path
) -> None:
    hands, ours = Hands(), False
    async with receiving() as receiver:
        house = await serve(clock=hands.clock(), webhook=receiver.setting(tmp_path), **FLOATING)
        webhooks, events = house.gateway.webhooks, house.runtime.recent.events
        webhooks._duty = PostingDuty(lambda: ours, hands.clock().wall, lambda: -math.inf)
        await house.welcomed(account="ann")
        await (await house.connect()).hello(account="eve", home="elsewhere")
        webhooks.poll()
        ours = True
        await house.welcomed(account="bob")
        webhooks.poll()
        waiting = [each.id for each in queue(house).waiting.values()]
        assert sorted(waiting) == sorted(events.id_of(each) for each in events.after(0)), "each of them, and none twice"
        names = [json.loads(each.body)["event"] for each in queue(house).waiting.values()]
        assert names == ["gateway.start", "gateway.doors_opened", "refused", "granted", "granted"]


def test_the_text_has_the_check_of_a_receiver_that_holds() -> None:
    text = (Path(__file__).parents[3] / "gateway" / "PROTOCOL.md").read_text()
    check = text.partition("In Python:\n\n```python\n")[2].partition("```")[0]
    known: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib, "time": time, "Mapping": Mapping}
    exec(check, known)  # noqa: S102 - our own text
    now, body = str(int(time.time())), b'{"events":[]}'

    def headers(timestamp: str, signed: bytes = body) -> dict[str, str]:
        told = signature(SECRET.encode(), timestamp, signed)
        return {"Tallygate-Timestamp": timestamp, "Tallygate-Signature": told}

    assert known["genuine"](SECRET.encode(), headers(now), body)
    assert not known["genuine"](SECRET.encode(), headers(now, b"{}"), body)
    assert not known["genuine"](b"another", headers(now), body)
    assert not known["genuine"](SECRET.encode(), headers("1795867200"), body)
