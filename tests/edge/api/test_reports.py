"""History in the store and over the API: what is kept, what survives, and how it is told."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from config.loader import load
from gateway.core.counting.usage import HOUR
from gateway.edge.gateway import running
from gateway.edge.machine import Clock
from gateway.edge.storage.store import StoreUnavailable
from gateway.licensing import MODELS
from tests.conftest import FREE_PORTS, House, Serve, until

START = 1_800_000_000.0
"""Seconds UTC; 2027-01-15T08:00:00Z, a Friday."""
POOLS = sum(len(info.pools) for info in MODELS.values())


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.mono, self.wall = 1000.0, START

    def clock(self) -> Clock:
        return Clock(lambda: self.mono, lambda: self.wall)

    def move(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds


async def look(house: House) -> None:
    """Let a second pass in the archive, and what it writes become durable."""
    archive = house.runtime.history_store
    await until(lambda: archive._under_way is None)  # a tick of the gateway itself may have begun to write
    archive.poll(house.runtime.tick())
    await until(lambda: archive._under_way is None)


async def items(house: House, path: str) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        status, page = await house.http("GET", path + cursor)
        assert status == 200, page
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = f"{'&' if '?' in path else '?'}cursor={page['next']}"


async def demand(house: House, model: str = "epop", pool: str = "concurrent") -> list[tuple[float, float, int | None]]:
    """The holds of a pool, as sizing gets them."""
    pages = house.runtime.history_store.demand(model, pool, 0.0, house.runtime.now())
    return [hold async for page in pages for hold in page]


async def left(house: House, account: str | None, seconds: float, hands: Hands, room: str = "weekly") -> None:
    """Somebody joins a conference for so long, and leaves."""
    wire = await house.welcomed(account=account)
    assert (await wire.ask("join", conference=room))["type"] == "joined"
    hands.move(seconds)
    await wire.ask("leave", conference=room)
    await wire.close()
    await until(lambda: not house.runtime.state.sessions.by_number)


async def test_history_tells_every_pool_by_hour(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), license__model="epop", license__shadow='["trueconf"]')
    await left(house, "ann", 1800, hands)
    hands.move(HOUR)
    await look(house)
    found = await items(house, "/api/history?model=epop")
    assert [(item["start"], item["mean"], item["max"], item["levels"]) for item in found] == [
        ("2027-01-15T08:00:00Z", 0.5, 1, {"0": 1800.0, "1": 1800.0}),
        ("2027-01-15T09:00:00Z", 0.0, 0, {"0": 1800.0}),
    ]
    first = found[0]
    assert (first["grants"], first["releases"], first["denied"], first["limit"]) == (1, {"left": 1}, 0, 10)
    assert {item["pool"] for item in await items(house, "/api/history?model=trueconf&pool=pro")} == {"pro"}


async def test_days_and_the_whole_time_are_added_up_from_the_hours(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock())
    for _ in range(3):
        await left(house, None, HOUR, hands)
        hands.move(11 * HOUR)
        await look(house)
    days = await items(house, "/api/history?model=epop&step=day")
    assert [(day["start"][:10], day["seat_seconds"], day["seconds"]) for day in days] == [
        ("2027-01-15", 2 * HOUR, 16 * HOUR),
        ("2027-01-16", HOUR, 20 * HOUR),
    ]
    (whole,) = await items(house, "/api/history?model=epop&step=all")
    assert (whole["seconds"], whole["seat_seconds"], whole["p95"], whole["p50"]) == (36 * HOUR, 3 * HOUR, 1, 0)
    week = whole["week"]
    assert (week[4][8], week[4][20], week[5][8], week[4][9], week[0][0]) == (1.0, 1.0, 1.0, 0.0, None)
    assert whole["busiest_hour"] == 1.0


async def test_times_are_told_to_the_microsecond(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), license__epop__users=1)
    await left(house, None, 10 / 3, hands)
    hands.move(HOUR)
    await look(house)
    (whole,) = await items(house, "/api/history?model=epop&step=all")
    assert (whole["full_seconds"], whole["seat_seconds"]) == (3.333333, 3.333333)
    assert (whole["seconds"], whole["mean"]) == (3603.333333, 0.000925)


async def test_pages_go_on_where_the_last_one_ended(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock())
    for _ in range(3):
        hands.move(HOUR)
        await look(house)
    whole = await items(house, "/api/history?limit=1000")
    assert await items(house, "/api/history?limit=5") == whole
    assert len({(item["start"], item["model"], item["pool"]) for item in whole}) == len(whole) == 4 * POOLS


async def test_since_leaves_out_what_was_before(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock())
    hands.move(5 * HOUR)
    await look(house)
    assert len(await items(house, "/api/history?model=epop")) == 6
    assert len(await items(house, "/api/history?model=epop&since=2h")) == 3
    assert len(await items(house, "/api/history?model=epop&since=2027-01-15T12:30:00Z")) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/api/history?step=week",
        "/api/history?since=yesterday",
        "/api/history?cursor=x",
        "/api/history?limit=0",
        "/api/denials?cursor=-1",
        "/api/denials?since=2027-13-01T00:00:00Z",
        "/api/sizing?since=soon",
    ],
)
async def test_bad_requests_are_told_so(serve: Serve, path: str) -> None:
    house = await serve()
    status, answer = await house.http("GET", path)
    assert (status, answer["error"]) == (422, "bad_field")


@pytest.mark.parametrize("query", ["model=none", "pool=none", "model=epop&pool=pro"])
async def test_a_pool_that_nobody_counts_is_not_found(serve: Serve, query: str) -> None:
    house = await serve()
    status, answer = await house.http("GET", f"/api/history?{query}")
    assert (status, answer["error"]) == (404, "no_such_pool")


async def test_denials_tell_who_was_turned_away_and_what_became_of_it(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), license__epop__users=1)
    ann, bob, cid = [await house.welcomed(account=name) for name in ("ann", "bob", "cid")]
    await ann.ask("join", conference="a")
    for wire in (bob, cid):
        assert (await wire.ask("join", conference="a"))["reason"] == "pool_full"
    (told, _) = await items(house, "/api/denials")
    assert (told["account"], told["undecided"], told["seconds_to_seat"]) == ("bob", 1, None)
    hands.move(20)
    await ann.ask("leave", conference="a")
    await bob.ask("join", conference="a")
    hands.move(60)
    await look(house)
    expected = [("bob", 0, 1, 20.0), ("cid", 1, 0, None)]
    for _ in range(2):
        told_all = await items(house, "/api/denials?limit=1")
        shown = [(each["account"], each["true_denials"], each["seated"], each["seconds_to_seat"]) for each in told_all]
        assert shown == expected
        await look(house)
    (use,) = await items(house, "/api/history?model=epop")
    assert (use["denials"], use["denied"], use["true_denials"], use["seated"]) == ({"pool_full": 2}, 2, 1, 1)
    assert use["time_to_seat"] == {"mean": 20.0, "max": 20.0}


async def test_sizing_says_what_the_traffic_would_have_needed(serve: Serve) -> None:
    hands = Hands()
    house = await serve(
        clock=hands.clock(), license__model="epop", license__epop__users=3, **{"license__nefsis-named__hosts": 1}
    )
    wires = [await house.welcomed(account=f"u{number}") for number in range(4)]
    for number, wire in enumerate(wires):
        await wire.ask("join", conference="ab"[number % 2], host=number < 2)
        hands.move(1)
    hands.move(600)
    for wire in wires:
        await wire.ask("leave", conference="a")
        await wire.ask("leave", conference="b")
    await look(house)
    status, answer = await house.http("GET", "/api/sizing")
    assert status == 200
    found = {model["model"]: model for model in answer["items"]}
    assert found["epop"]["enforced"]
    (pool,) = found["epop"]["pools"]
    assert (pool["limit"], pool["peak"], pool["seats"], pool["demands"], pool["turned_away"]) == (3, 3, 4, 4, 1)
    assert found["epop"]["says"] == "e/pop: 4 users"
    assert found["nefsis-named"]["says"] == "Nefsis 1 × 25: not possible, 2 hosts"  # noqa: RUF001 - as it is written
    assert found["trueconf"]["says"] == "TrueConf: 3 PRO / 4 online / 0 guests / 0 gateway connections"
    participants = found["nefsis-named"]["pools"][1]
    assert (participants["seats"], participants["seats_each"]) == (None, 2)


# -- the store -----------------------------------------------------------------------------------------------------


def settings_at(path: Path, *more: str) -> Any:
    return load(None, [*(each for each in FREE_PORTS if "store" not in each), f"store.path={path}", *more])


@pytest.mark.parametrize(
    ("crashes", "pieces"), [(False, [(START, 1200.0)]), (True, [(START, 600.0), (START, 600.0), (START, 0.0)])]
)
async def test_the_hour_goes_on_after_a_stop_and_has_pieces_after_a_crash(
    tmp_path: Path, crashes: bool, pieces: list[tuple[float, float]]
) -> None:
    hands, path = Hands(), tmp_path / "t.db"
    for _ in range(2):
        async with running(settings_at(path), files=256, clock=hands.clock()) as gateway:
            gateway.runtime.history_store.poll(gateway.runtime.now())
            hands.move(600)
        hands.move(60)
        if crashes:
            with contextlib.closing(sqlite3.connect(path)) as db, db:
                db.execute("DELETE FROM dump")  # what only a stop in order leaves behind
    async with running(settings_at(path), files=256, clock=hands.clock()) as gateway:
        found = [each async for each in gateway.runtime.history_store.pieces(0.0, START * 2, gateway.runtime.now())]
    assert [(each.start, each.summary.seconds) for each in found if each.model == "epop"] == pieces
    assert len({each.number for each in found}) == len(found)


async def test_holds_are_rows_of_the_next_batch_with_numbers_for_names(serve: Serve, tmp_path: Path) -> None:
    hands, path = Hands(), tmp_path / "t.db"
    house = await serve(clock=hands.clock(), store__path=path)
    await left(house, "ann@example.org", 30, hands)
    await look(house)
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT model, pool, began, ended, cause, room IS NULL FROM hold ORDER BY model").fetchall()
        assert not db.execute("SELECT 1 FROM hold WHERE key LIKE '%ann%'").fetchall()
    db.close()
    assert set(rows) >= {
        ("epop", "concurrent", START, START + 30, "left", 1),
        ("floating", "seats", START, START + 30, "closed", 1),
        ("nefsis-named", "participants", START, START + 30, "left", 0),
        ("trueconf", "online", START, START + 30, "closed", 1),
    }
    assert len(rows) == len({row[:2] for row in rows})


async def test_what_the_store_did_not_take_is_written_again_and_counted_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), license__epop__users=1)
    store = house.runtime.persistence.store
    with monkeypatch.context() as patched:

        def broken(*_: Any) -> asyncio.Future[None]:
            failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            failed.set_exception(StoreUnavailable("disk full"))
            failed.exception()
            return failed

        patched.setattr(store, "write", broken)
        await left(house, None, 30, hands)
        hands.move(HOUR)
        await look(house)
        assert await demand(house) == [(START, START + 30, None)]
    assert await store.read("SELECT * FROM hold") == []
    for _ in range(12):
        await look(house)
    assert await store.read("SELECT count(*) FROM hold WHERE model = 'epop'") == [(1,)]
    assert await store.read("SELECT sum(grants) FROM hour WHERE model = 'epop'") == [(1,)]
    assert await demand(house) == [(START, START + 30, None)]


async def test_what_is_written_twice_is_there_once(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock())
    await left(house, None, 30, hands)
    house.runtime.history_store._write(house.runtime.now(), everything=True)
    house.runtime.history_store.close(house.runtime.now())
    await until(lambda: house.runtime.history_store._under_way is None)
    assert await house.runtime.persistence.store.read("SELECT count(*) FROM hold WHERE model = 'epop'") == [(1,)]


async def test_hours_are_forgotten_from_memory_when_they_are_durable(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock())
    for _ in range(30):
        hands.move(HOUR)
        await look(house)
    assert sum(len(course.ended) for course in house.runtime.history_store.history.timelines) == 0
    assert await house.runtime.persistence.store.read("SELECT count(*) FROM hour WHERE model = 'epop' AND start < ?", (
        START + 30 * HOUR,
    )) == [(30,)]  # fmt: skip


async def test_what_is_older_than_keep_is_deleted(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), history__keep="2d", license__epop__users=0)
    wire = await house.welcomed(account="ann")
    await wire.ask("join", conference="a")
    hands.move(90)
    await wire.ask("bye")
    for _ in range(80):
        hands.move(HOUR)
        await look(house)
    read = house.runtime.persistence.store.read
    ((oldest,),) = await read("SELECT min(start) FROM hour")
    assert oldest >= hands.wall - (48 + 2) * HOUR
    assert await read("SELECT * FROM denial") == []
    assert await read("SELECT * FROM hold") == []


async def rows(house: House) -> dict[str, int]:
    """How many rows of history the store has."""
    found = {}
    for table in ("hour", "hold", "denial"):
        ((found[table],),) = await house.runtime.persistence.store.read(f"SELECT count(*) FROM {table}")  # noqa: S608
    return found


async def with_a_past(serve: Serve, hands: Hands, **settings: Any) -> House:
    """A gateway with 30 hours of history, a hold and a denial in each."""
    house = await serve(clock=hands.clock(), license__epop__users=1, **settings)
    for _ in range(30):
        ann = await house.welcomed(account="ann")
        await ann.ask("join", conference="a")
        await left_out(house)
        hands.move(90)
        await ann.close()
        await until(lambda: not house.runtime.state.sessions.by_number)
        hands.move(HOUR - 90)
        await look(house)
    return house


async def left_out(house: House) -> None:
    """Somebody asks for a seat and gets none."""
    bob = await house.welcomed(account="bob")
    assert (await bob.ask("join", conference="b"))["type"] == "denied"
    await bob.close()


@pytest.mark.parametrize("ahead", [2 * HOUR, 500 * 24 * HOUR])
async def test_a_clock_that_is_ahead_for_an_hour_deletes_no_history(ahead: float, serve: Serve) -> None:
    hands = Hands()
    house = await with_a_past(serve, hands, history__keep="29h")
    for _ in range(3):
        hands.move(HOUR)
        await look(house)
    before = await rows(house)
    hands.wall += ahead
    for _ in range(50):
        hands.move(60)
        await look(house)
    hands.wall -= ahead
    await look(house)
    after = await rows(house)
    assert all(after[table] >= before[table] for table in before), (before, after)
    assert before["hour"] >= 29 * POOLS


async def test_a_clock_that_stays_ahead_deletes_one_hour_in_ten_minutes(serve: Serve) -> None:
    hands = Hands()
    house = await with_a_past(serve, hands)
    read = house.runtime.persistence.store.read
    ((first,),) = await read("SELECT min(start) FROM hour")
    hands.wall += 500 * 24 * HOUR
    for _ in range(60 + 40):
        hands.move(60)
        await look(house)
    assert await read("SELECT min(start) FROM hour") == [(first + 4 * HOUR,)]
    two = first + 2 * HOUR  # the holds of each pool are deleted in turn
    assert await read("SELECT min(ended) BETWEEN ? AND ? FROM hold WHERE model = 'epop'", (two, two + HOUR * 3)) == [
        (1,)
    ]
    assert await read("SELECT min(began) BETWEEN ? AND ? FROM denial", (two, two + HOUR * 3)) == [(1,)]


async def test_a_wrong_clock_at_the_start_deletes_no_history(serve: Serve, tmp_path: Path) -> None:
    hands = Hands()
    house = await with_a_past(serve, hands, store__path=tmp_path / "t.db")
    before = await rows(house)
    await house.gateway.close(drain=0)
    hands.wall += 500 * 24 * HOUR
    again = await serve(clock=hands.clock(), store__path=tmp_path / "t.db")
    for _ in range(50):
        hands.move(60)
        await look(again)
    after = await rows(again)
    assert all(after[table] >= before[table] for table in before), (before, after)


async def test_one_client_leaves_so_many_ended_seats_of_an_hour_and_all_are_added_up(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), history__rows_per_name=5, listen__message_burst=1000)
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    for number in range(12):
        hands.move(1)
        await ann.ask("join", conference=f"c-{number}")
        await ann.ask("leave", conference=f"c-{number}")
    await bob.ask("join", conference="b")
    await bob.ask("leave", conference="b")
    await look(house)
    assert len(await demand(house)) == 5 + 1
    (whole,) = await items(house, "/api/history?model=epop&step=all")
    assert whole["grants"] == 13
    _, sizing = await house.http("GET", "/api/sizing")
    (pool,) = next(each["pools"] for each in sizing["items"] if each["model"] == "epop")
    assert not pool["complete"]
    hands.move(HOUR)
    await ann.ask("join", conference="later")
    await ann.ask("leave", conference="later")
    await look(house)
    assert len(await demand(house)) == 5 + 2


async def test_who_was_turned_away_before_anybody_had_a_seat_is_demand_too(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), license__epop__users=0)
    for account in ("ann", "bob"):
        wire = await house.welcomed(account=account)
        await wire.ask("join", conference="c")
    hands.move(90)
    await look(house)
    _, sizing = await house.http("GET", "/api/sizing")
    (pool,) = next(each["pools"] for each in sizing["items"] if each["model"] == "epop")
    assert (pool["turned_away"], pool["demands"]) == (2, 2)


async def test_devices_of_the_same_name_are_not_one_client(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), license__model="trueconf", history__rows_per_name=2)
    for number in range(6):
        hands.move(1)
        wire = await house.welcomed(account=f"user-{number}", device="laptop")
        await wire.close()
    await until(lambda: not len(house.runtime.state.sessions))
    await look(house)
    assert len(await demand(house, "trueconf", "online")) == 6


async def test_names_that_are_made_up_leave_so_many_refusals_of_an_hour_and_all_are_counted(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), license__epop__users=0, history__rows_per_pool=5)
    for number in range(12):
        wire = await house.welcomed(account=f"made-up-{number}")
        await wire.ask("join", conference="c")
        await wire.close()
    hands.move(90)
    await look(house)
    assert len(await items(house, "/api/denials")) == 5
    (whole,) = await items(house, "/api/history?model=epop&step=all")
    assert (whole["denied"], whole["true_denials"]) == (12, 12)


async def test_a_gap_of_years_is_no_longer_than_one_of_an_hour(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands()
    hands.wall = 0.0
    house = await serve(clock=hands.clock())
    hands.move(3)
    await look(house)
    hands.wall = START
    hands.move(HOUR)
    await look(house)
    store = house.runtime.persistence.store
    asked: list[str] = []
    read = store.read

    async def counted(sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return await read(sql, values)

    monkeypatch.setattr(store, "read", counted)
    found = await items(house, "/api/history?model=epop&pool=concurrent")
    assert [each["start"] for each in found] == ["1970-01-01T00:00:00Z", "2027-01-15T09:00:00Z"]
    assert len(asked) < 10


async def test_a_long_report_leaves_room_for_heartbeats(serve: Serve) -> None:
    hands = Hands()
    house = await serve(clock=hands.clock(), listen__message_burst=1_000_000)
    for _ in range(200):
        hands.move(HOUR)
        await look(house)
    wire = await house.welcomed()
    asked = asyncio.create_task(house.http("GET", "/api/history?step=all"))
    beats = 0
    while not asked.done():
        assert (await wire.ask("heartbeat"))["type"] == "ack"
        beats += 1
    assert (await asked)[0] == 200
    assert beats > 5
