"""The same app again, and sessions that go on where they were: takeover and resume."""

from __future__ import annotations

import pytest

from tests.conftest import Serve, until
from tests.rules.said import Forward, denied, full, pools, said, silent

BOTH = pytest.mark.parametrize("transport", ["tcp", "websocket"])


@BOTH
async def test_a_takeover_is_a_fresh_session_and_the_old_memberships_end(transport: str, serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1, license__trueconf__pro=1)
    old = await house.connect(transport)
    first = await old.hello(account="ann", device="pc")
    said(await old.ask("join", conference="m"), "joined")
    new = await house.connect(transport)
    welcome = said(await new.hello(account="ann", device="pc"), "welcome", seats=["online", "pro"])
    assert welcome["session"] != first["session"]
    assert welcome["pro_expires"] is not None
    assert "conferences" not in welcome
    said(await old.hear(), "closing", reason="replaced", code=4409, reconnect=False)
    denied(await new.ask("leave", conference="m"), "not_member", "leave")
    seen = await pools(house, online=1, pro=1)
    assert seen["online"]["high_water"] == 1
    await silent(new)


async def test_a_takeover_needs_the_same_account_and_the_same_device(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.welcomed(account="ann", device="pc")
    others = [
        await house.welcomed(account="ann", device="phone"),
        await house.welcomed(account="bob", device="pc"),
        await house.welcomed(account="ann"),
        await house.welcomed(account="ann"),
        await house.welcomed(device="pc"),
        await house.welcomed(device="pc"),
    ]
    await pools(house, online=5)
    for wire in (ann, *others):
        await silent(wire)


async def test_accounts_of_different_homes_are_different_accounts(serve: Serve) -> None:
    house = await serve(accounts__home="here.org", federation__homes='["there.org"]')
    ann = await house.welcomed(account="ann", device="pc")
    away = await house.welcomed(account="ann", device="pc", home="There.ORG")
    await silent(ann)
    said(await (await house.connect()).hello(account="ann", device="pc", home="HERE.org"), "welcome")
    said(await ann.hear(), "closing", reason="replaced")
    await silent(away)


@BOTH
async def test_a_takeover_from_another_address_is_a_duplicate_where_claims_are_not_proven(
    transport: str, serve: Serve
) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1)
    old = await house.connect(transport)
    token = (await old.hello(account="ann", device="pc"))["resume"]
    thief = await house.connect(transport, address="127.0.0.2")
    denied(await thief.hello(account="ann", device="pc"), "duplicate", "hello")
    assert await thief.gone() == []
    guess = await house.connect(transport, address="127.0.0.2")
    denied(await guess.hello(account="ann", device="pc", resume="r-1.0.guess"), "duplicate", "hello")
    await silent(old)
    owner = await house.connect(transport, address="127.0.0.2")
    said(await owner.hello(account="ann", device="pc", resume=token), "welcome")
    said(await old.hear(), "closing", reason="replaced")
    await pools(house, online=1)


@BOTH
async def test_a_session_that_was_resumed_elsewhere_is_there_now(transport: str, serve: Serve) -> None:
    house = await serve()
    first = await house.connect(transport)
    token = (await first.hello(account="ann", device="pc"))["resume"]
    moved = await house.connect(transport, address="127.0.0.2")
    said(await moved.hello(resume=token), "welcome")
    _, listed = await house.http("GET", "/api/connections?address=127.0.0.2")
    assert [each["address"] for each in listed["items"]] == ["127.0.0.2"]
    denied(await (await house.connect(transport)).hello(account="ann", device="pc"), "duplicate", "hello")
    await silent(moved)
    await house.welcomed(transport, account="ann", device="pc", address="127.0.0.2")
    said(await moved.hear(), "closing", reason="replaced")


@BOTH
async def test_a_proven_account_may_take_over_from_anywhere(transport: str, serve: Serve) -> None:
    house = await serve(accounts__mode="token")
    await house.http("PUT", "/api/accounts/ann")
    _, made = await house.http("POST", "/api/accounts/ann/token")
    old = await house.welcomed(transport, account="ann", device="pc", token=made["token"])
    await house.welcomed(transport, account="ann", device="pc", token=made["token"], address="127.0.0.2")
    said(await old.hear(), "closing", reason="replaced")


async def test_duplicates_are_rejected_where_the_operator_says_so(serve: Serve) -> None:
    house = await serve(license__on_duplicate="reject")
    old = await house.connect()
    token = (await old.hello(account="ann", device="pc"))["resume"]
    denied(await (await house.connect()).hello(account="ann", device="pc"), "duplicate", "hello")
    await silent(old)
    said(await (await house.connect()).hello(resume=token), "welcome")
    said(await old.hear(), "closing", reason="replaced")


async def test_duplicates_live_side_by_side_where_the_operator_says_so_and_count_once(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1, license__on_duplicate="allow")
    both = [await house.welcomed(account="ann", device="pc", address=each) for each in ("127.0.0.1", "127.0.0.2")]
    await pools(house, online=1)
    for wire in both:
        await silent(wire)
    await both[0].say("bye")
    await both[0].gone()
    await pools(house, online=1)


async def test_a_takeover_refused_for_a_full_pool_leaves_the_old_session_open(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1)
    old = await house.welcomed(account="ann", device="pc")
    said(await old.ask("sleep"), "asleep")
    await house.welcomed(account="bob", device="pc")
    full(await (await house.connect()).hello(account="ann", device="pc"), "online", 1, 1, "hello")
    await silent(old)


async def test_a_takeover_at_the_limit_exceeds_no_pool_whatever_the_key(serve: Serve) -> None:
    for key in ("connection", "device", "account", "address"):
        house = await serve(license__model="floating", license__floating__limit=1, license__floating__key=key)
        old = await house.welcomed(account="ann", device="pc")
        await house.welcomed(account="ann", device="pc")
        said(await old.hear(), "closing", reason="replaced")
        seen = await pools(house, seats=1)
        assert seen["seats"]["high_water"] == 1


@BOTH
async def test_a_resume_continues_the_session_with_all_it_holds(transport: str, serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1, license__trueconf__pro=1)
    old = await house.connect(transport)
    first = await old.hello(account="ann", device="pc", kind="room")
    said(await old.ask("join", conference="m", host=True), "joined")
    said(await old.ask("join", conference="later", scheduled=True), "waiting")
    new = await house.connect(transport)
    welcome = said(await new.hello(resume=first["resume"]), "welcome", session=first["session"])
    assert welcome["conferences"] == ["m", "later"]
    assert welcome["seats"] == ["online", "pro"]
    assert welcome["pro_expires"] is None
    assert welcome["resume"] != first["resume"]
    said(await old.hear(), "closing", reason="replaced", code=4409)
    denied(await new.ask("join", conference="m"), "already_member")
    said(await new.ask("start", conference="m"), "started")
    await pools(house, online=1, pro=1)
    _, listed = await house.http("GET", "/api/connections")
    assert [(each["id"], each["kind"], each["account"]) for each in listed["items"]] == [
        (first["session"], "room", "ann")
    ]


async def test_a_resumed_session_keeps_sleeping_and_may_cross_transports(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    old = await house.connect("tcp")
    first = await old.hello(account="ann", device="pc")
    said(await old.ask("sleep"), "asleep")
    new = await house.connect("websocket")
    said(await new.hello(resume=first["resume"], account="ANN", device="pc", kind="app"), "welcome", seats=[])
    await pools(house, online=0)
    _, listed = await house.http("GET", "/api/connections")
    assert [(each["transport"], each["presence"]) for each in listed["items"]] == [("websocket", "asleep")]
    said(await new.ask("wake"), "awake", seats=["online"])


@pytest.mark.parametrize("field", ["account", "device", "kind"])
async def test_a_resume_may_leave_facts_out_but_not_change_them(field: str, serve: Serve) -> None:
    house = await serve()
    old = await house.connect()
    token = (await old.hello(account="ann", device="pc"))["resume"]
    new = await house.connect()
    said(await new.hello(resume=token, **{field: "tv"}), "error", code="bad_field")
    await silent(old)
    said(await new.hello(resume=token), "welcome")


async def test_a_token_is_dead_once_used_and_makes_an_ordinary_new_session(serve: Serve) -> None:
    house = await serve()
    old = await house.connect()
    first = await old.hello()
    new = await house.connect()
    second = said(await new.hello(resume=first["resume"]), "welcome", session=first["session"])
    third = said(await (await house.connect()).hello(resume=first["resume"]), "welcome")
    assert third["session"] != first["session"]
    assert "conferences" not in third
    for unknown in ("", "r-", "r-1.1.x", "r-zz.1.00", "☃", "r-ffffffffffffffffffff.0.00", "x" * 2000):
        answer = said(await (await house.connect()).hello(resume=unknown), "welcome")
        assert answer["session"] not in {first["session"], second["session"]}
    await silent(new)


async def test_without_a_resume_window_a_lost_connection_cannot_be_resumed(serve: Serve) -> None:
    house = await serve(license__model="epop")
    old = await house.connect()
    first = await old.hello()
    said(await old.ask("join", conference="m"), "joined")
    await old.close()
    answer = await (await house.connect()).hello(resume=first["resume"])
    assert answer["session"] != first["session"]
    await pools(house, concurrent=0)


@BOTH
async def test_within_the_resume_window_an_abrupt_loss_keeps_everything(transport: str, serve: Serve) -> None:
    house = await serve(license__model="epop", license__epop__users=1, heartbeat__resume_window="60s")
    old = await house.connect(transport)
    first = await old.hello()
    said(await old.ask("join", conference="m"), "joined")
    await old.drop()
    other = await house.welcomed(transport)
    await pools(house, concurrent=1)
    full(await other.ask("join", conference="m"), "concurrent", 1, 1)
    new = await house.connect(transport)
    said(await new.hello(resume=first["resume"]), "welcome", session=first["session"], conferences=["m"])
    await new.say("bye")
    await new.gone()
    await pools(house, concurrent=0)


async def test_after_the_resume_window_the_seats_are_free(serve: Serve) -> None:
    time = Forward()
    house = await serve(license__model="epop", heartbeat__resume_window="60s", clock=time.clock)
    old = await house.connect()
    token = (await old.hello())["resume"]
    said(await old.ask("join", conference="m"), "joined")
    await old.drop()
    await until(lambda: bool(house.runtime.state.resumable))
    assert await house.used("concurrent") == 1
    time.pass_(house, 60)
    assert await house.used("concurrent") == 0
    answer = await (await house.connect()).hello(resume=token)
    assert "conferences" not in answer


async def test_a_session_that_said_bye_or_was_kicked_cannot_be_resumed(serve: Serve) -> None:
    house = await serve(heartbeat__resume_window="60s")
    gone = await house.connect()
    first = await gone.hello()
    await gone.say("bye")
    await gone.gone()
    kicked = await house.connect()
    second = await kicked.hello()
    await house.http("DELETE", f"/api/connections/{second['session']}")
    await kicked.gone()
    for token in (first["resume"], second["resume"]):
        answer = await (await house.connect()).hello(resume=token)
        assert "conferences" not in answer


async def test_a_lost_session_within_its_window_is_replaced_by_the_same_device(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__online=1, heartbeat__resume_window="60s")
    old = await house.connect()
    token = (await old.hello(account="ann", device="pc"))["resume"]
    await old.drop()
    new = await house.connect()
    said(await new.hello(account="ann", device="pc"), "welcome")
    await pools(house, online=1)
    _, counted = await house.http("GET", "/api/connections/count")
    assert counted == {"count": 1, "asleep": 0, "idle": 0}
    full(await (await house.connect()).hello(account="ann", resume=token), "online", 1, 1, "hello")
    await silent(new)
