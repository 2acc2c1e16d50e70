"""What happened lately, over the API: curves, sessions that ended, holders who do nothing."""

from __future__ import annotations

import math

import pytest

from gateway.core.counting.session import Instant
from gateway.edge.api.recent import Courses
from gateway.edge.machine import Clock
from gateway.edge.server.ticker import TICK
from tests.conftest import House, Serve, until

START = 1_800_000_000.0
HOUR_OF_TICKS = round(3600 / TICK)


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.mono, self.wall = 1000.0, START

    def clock(self) -> Clock:
        return Clock(lambda: self.mono, lambda: self.wall)

    def pass_second(self, house: House) -> None:
        self.mono += 1
        self.wall += 1
        house.runtime.recent.look(Instant(self.mono, self.wall))


@pytest.fixture
def hands() -> Hands:
    return Hands()


async def test_the_course_of_a_pool_in_steps(serve: Serve, hands: Hands) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1, clock=hands.clock())
    hands.pass_second(house)
    await house.welcomed(account="ann")
    assert (await (await house.connect()).hello(account="bob"))["reason"] == "pool_full"
    for _ in range(5):
        hands.pass_second(house)
    status, told = await house.http("GET", "/api/recent?points=3")
    assert status == 200
    online = next(each for each in told["pools"] if each["pool"] == "online")
    assert (told["step"], online["used"], online["limit"], online["denied"]) == (2, [1, 1, 1], [1] * 3, [1, 0, 0])
    assert online["granted"] == [1, 0, 0]
    assert online["full_since"] == online["last_denied"] == "2027-01-15T08:00:02Z"
    assert (online["denied_since"], told["opened"], told["kept"]) == (1, [2, 0, 0], 3600)
    assert (told["begin"], told["end"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:00:06Z")
    _, latest = await house.http("GET", "/api/recent?since=2s")
    assert latest["step"] == 1
    assert len(latest["lag_ms"]) == 2
    _, shadow = await house.http("GET", "/api/recent?model=epop")
    assert [each["model"] for each in shadow["pools"]] == ["epop"]


async def test_a_delay_is_told_though_two_looks_fall_into_one_second(serve: Serve, hands: Hands) -> None:
    house = await serve(clock=hands.clock())
    hands.pass_second(house)
    house.runtime.ticker.worst_lag = 1.5
    house.runtime.recent.look(Instant(hands.mono, hands.wall))
    hands.pass_second(house)
    assert house.runtime.recent.use.latest_lag == 1500
    assert house.runtime.ticker.worst_lag < 1.5


async def test_the_time_that_is_kept_is_a_setting(serve: Serve, hands: Hands) -> None:
    house = await serve(history__recent="1m", clock=hands.clock())
    for _ in range(100):
        hands.pass_second(house)
    _, told = await house.http("GET", "/api/recent?points=3600")
    assert (told["kept"], len(told["opened"])) == (60, 60)


@pytest.mark.parametrize("query", ["points=0", "points=3601", "points=x", "since=x"])
async def test_a_bad_question_is_refused(serve: Serve, query: str) -> None:
    house = await serve()
    assert (await house.http("GET", f"/api/recent?{query}"))[0] == 422


async def test_a_model_that_does_not_count_has_no_course(serve: Serve) -> None:
    house = await serve(license__shadow="[]")
    assert (await house.http("GET", "/api/recent?model=nefsis-named"))[0] == 404


def test_answers_of_a_second_are_made_once_and_are_few() -> None:
    courses = Courses()
    for place in range(Courses.MOST + 1):
        courses.put(7, place, b"x")
    assert courses.get(7, 0) == b"x"
    assert courses.get(7, Courses.MOST) is None
    assert courses.get(8, 0) is None
    courses.put(8, 1, b"y")
    assert courses.get(8, 0) is None


async def test_the_sessions_that_ended_last(serve: Serve) -> None:
    house = await serve(license__model="trueconf", history__recent_sessions=3)
    for account in ("ann", "bob", "ann", "ann"):
        wire = await house.welcomed(account=account, device="laptop")
        before = len(house.runtime.state.sessions)
        await wire.close()
        await until(lambda before=before: len(house.runtime.state.sessions) < before)  # type: ignore[misc]
    _, told = await house.http("GET", "/api/sessions/ended")
    assert [each["account"] for each in told["items"]] == ["ann", "ann", "bob"]
    latest = told["items"][0]
    assert (latest["cause"], latest["device"], latest["address"], latest["home"]) == (
        "closed", "laptop", "127.0.0.1", None,
    )  # fmt: skip
    assert latest["id"].startswith("s-")
    assert latest["since"] <= latest["ended"]
    _, bobs = await house.http("GET", "/api/sessions/ended?account=BOB")
    assert [each["account"] for each in bobs["items"]] == ["bob"]
    _, one = await house.http("GET", "/api/sessions/ended?limit=1")
    assert len(one["items"]) == 1
    house.runtime.recent.forget("ann")
    _, left = await house.http("GET", "/api/sessions/ended")
    assert [each["account"] for each in left["items"]] == ["bob"]


async def test_holders_who_do_nothing_are_counted(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann, _ = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("join", conference="weekly")
    _, told = await house.http("GET", "/api/idle")
    assert {each["holders"] for each in told["items"]} == {0}
    house.runtime.timer_wheel.tick += HOUR_OF_TICKS
    _, told = await house.http("GET", "/api/idle?for=1h")
    online = next(each for each in told["items"] if each["pool"] == "online")
    assert online["holders"] == 1  # ann is in a conference
    assert math.isclose(online["longest_seconds"], 3600, abs_tol=60)


async def test_a_heartbeat_is_no_act_and_a_request_is_one(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.welcomed(account="ann")
    (connection,) = house.runtime.connections()
    connection.last_asked_tick = -HOUR_OF_TICKS
    await ann.ask("heartbeat")
    await ann.ask("heartbeat", seq=1)
    assert connection.last_asked_tick == -HOUR_OF_TICKS
    await ann.ask("join", conference="weekly")
    assert connection.last_asked_tick >= 0


async def test_a_client_that_says_whether_somebody_uses_it_is_believed(serve: Serve, hands: Hands) -> None:
    house = await serve(license__model="trueconf", clock=hands.clock())
    ann, bob = await house.welcomed(account="ann"), await house.welcomed(account="bob")
    await ann.ask("heartbeat", active=True)
    await bob.ask("heartbeat", active=False)
    house.runtime.timer_wheel.tick += HOUR_OF_TICKS
    hands.mono += 120
    _, told = await house.http("GET", "/api/connections?sort=account")
    assert [round(each["idle_seconds"]) for each in told["items"]] == [0, 120]


async def test_a_lease_that_nobody_uses_is_idle_since_it_was_let_go(serve: Serve, hands: Hands) -> None:
    house = await serve(license__model="trueconf", clock=hands.clock())
    ann = await house.welcomed(account="ann")
    await ann.ask("join", conference="weekly")
    await ann.close()
    await until(lambda: not house.runtime.state.sessions.by_number)
    hands.wall += 7200
    hands.mono += 7200
    _, told = await house.http("GET", "/api/idle?for=1h")
    pro = next(each for each in told["items"] if each["pool"] == "pro")
    assert pro == {"pool": "pro", "holders": 1, "longest_seconds": 7200.0}


@pytest.mark.parametrize("names", ["pseudonyms", "none"])
async def test_a_session_that_ended_has_no_name_where_the_past_has_none(serve: Serve, names: str) -> None:
    house = await serve(history__names=names)
    wire = await house.welcomed(account="ann", device="laptop")
    await wire.close()
    await until(lambda: not house.runtime.state.sessions.by_number)
    _, told = await house.http("GET", "/api/sessions/ended")
    (item,) = told["items"]
    assert (item["account"], item["device"], item["address"], item["cause"]) == (None, None, "", "closed")
