"""TrueConf: what each pool counts, what editions allow, and what a session may do."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission.commands import PutConference
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.replies import entitlements, session_id
from gateway.core.counting.session import Session
from gateway.licensing.epop import Epop, epop
from gateway.licensing.trueconf import INTERNAL_RIGHTS, PUBLIC_RIGHTS, USER_RIGHTS, TrueConf, trueconf
from tests.core_harness import DAY, HOUR, CoreHarness, told

ENDPOINTS = ["sip", "h323", "rtsp"]


def harness(**terms: Any) -> CoreHarness:
    return CoreHarness(
        trueconf(TrueConf(**{"pro": 10, "online": 20, "guest": 5, "gateway": 5, **terms})), homes=("far",)
    )


def public(house: CoreHarness, conference: str = "room") -> Session:
    """A user in a public conference."""
    user = house.hello("host", "pc")
    house.joined(user, conference, access="public", host=True)
    return user


def awake(session: Session) -> bool:
    return session.awake


def uses(house: CoreHarness) -> dict[str, int]:
    return {pool: house.used(pool) for pool in ("online", "pro", "guest", "gateway")}


# -- online ------------------------------------------------------------------------------------------------------------


def test_a_user_takes_one_online_license_for_each_device_in_conference_or_not() -> None:
    house = harness()
    house.hello("ann", "pc")
    phone = house.hello("ann", "phone")
    house.hello("ann")
    assert house.used("online") == 3
    house.joined(phone)
    house.leave(phone)
    assert house.used("online") == 3


def test_guests_visitors_federated_and_unauthenticated_endpoints_are_never_online() -> None:
    house = harness()
    house.hello()
    house.hello("ann", home="far")
    house.hello(kind="sip")
    house.hello("admin", kind="console")
    house.hello(kind="welcome")
    assert house.used("online") == 0


@pytest.mark.parametrize("kind", ENDPOINTS)
def test_an_endpoint_that_gave_an_account_is_online(kind: str) -> None:
    house = harness()
    house.hello("ann", kind=kind)
    assert uses(house) == {"online": 1, "pro": 0, "guest": 0, "gateway": 0}


def test_a_browser_signed_in_with_an_account_is_a_user() -> None:
    house = harness()
    ann = house.hello("ann", kind="browser")
    house.joined(ann)
    assert uses(house) == {"online": 1, "pro": 1, "guest": 0, "gateway": 0}


def test_a_full_online_pool_refuses_the_hello() -> None:
    house = harness(online=1)
    house.hello("ann")
    _, outcome = house.knock("bob")
    assert outcome.refused is not None
    assert (outcome.refused.reason, outcome.refused.pool) == ("pool_full", "online")
    house.hello()


def test_who_sleeps_is_not_online_and_may_find_no_room_on_waking() -> None:
    house = harness(online=1)
    ann = house.hello("ann", "phone")
    assert house.sleep(ann) == {"type": "asleep", "seats": []}
    bob = house.hello("bob")
    answer = house.wake(ann)
    assert (answer["reason"], answer["pool"], answer["request"]) == ("pool_full", "online", "wake")
    assert not awake(ann)
    house.end(bob)
    assert house.wake(ann) == {"type": "awake", "seats": ["online"]}


def test_sleep_and_wake_said_twice_change_nothing() -> None:
    house = harness()
    ann = house.hello("ann")
    assert house.wake(ann)["type"] == "awake"
    house.sleep(ann)
    assert house.sleep(ann)["type"] == "asleep"
    assert house.view("online").releases["asleep"] == 1


def test_a_member_that_goes_to_sleep_leaves() -> None:
    house = harness()
    ann = house.hello("ann")
    house.joined(ann, scheduled=True)
    assert house.sleep(ann)["type"] == "asleep"
    assert house.state.conferences.by_id == {}


def test_joining_wakes_up_with_all_seats_or_none() -> None:
    house = harness(online=1, pro=1)
    ann = house.hello("ann")
    house.sleep(ann)
    bob = house.hello("bob")
    assert house.join(ann)["pool"] == "online"
    assert not awake(ann)
    house.joined(bob, "other")
    house.end(bob)
    assert house.join(ann)["pool"] == "pro"
    assert not awake(ann)
    assert house.used("online") == 0
    house.wait(DAY)
    house.joined(ann)
    assert awake(ann)
    assert uses(house) == {"online": 1, "pro": 1, "guest": 0, "gateway": 0}


def test_where_two_pools_are_full_the_first_of_the_table_is_named() -> None:
    house = harness(online=1, pro=0)
    ann = house.hello("ann")
    house.sleep(ann)
    house.hello("bob")
    assert house.join(ann)["pool"] == "online"


def test_the_same_device_again_moves_its_seat_though_the_pool_is_full() -> None:
    house = harness(online=1)
    old = house.hello("ann", "pc")
    new, outcome = house.knock("ann", "pc")
    assert outcome.closings == [(old.number, "replaced")]
    assert new is not None
    assert new.seats[0] == (("online", ("ann", "pc")),)
    view = house.view("online")
    assert (view.used, view.grants, sum(view.releases.values())) == (1, 1, 0)


def test_a_takeover_refused_for_a_full_pool_leaves_the_old_session_open() -> None:
    house = harness(online=1)
    old = house.hello("ann", "pc")
    house.sleep(old)
    house.hello("bob")
    _, outcome = house.knock("ann", "pc")
    assert outcome.refused is not None
    assert house.state.sessions.of_account("ann") == (old,)


@pytest.mark.parametrize(("pro", "online"), [(10, 15), (3, 5), (1, 2), (0, 0)])
def test_three_online_come_with_every_two_pro(pro: int, online: int) -> None:
    assert CoreHarness(trueconf(TrueConf(pro=pro))).view("online").limit == online


def test_packs_are_added_to_what_came_with_the_license() -> None:
    assert CoreHarness(trueconf(TrueConf(pro=10, online_packs=(50, 500)))).view("online").limit == 565
    assert CoreHarness(trueconf(TrueConf(online=7, online_packs=(50,)))).view("online").limit == 57


# -- pro ---------------------------------------------------------------------------------------------------------------


def test_one_pro_license_serves_all_devices_and_conferences_of_an_account() -> None:
    house = harness()
    for device, conference in (("pc", "a"), ("phone", "b")):
        house.joined(house.hello("ann", device), conference)
    for name in ("bob", "cid", "dan"):
        house.hello(name)
    assert uses(house) == {"online": 5, "pro": 1, "guest": 0, "gateway": 0}


def test_a_call_takes_no_pro_and_keeps_none() -> None:
    house = harness(pro=0)
    ann, bob, cid = house.hello("ann"), house.hello("bob"), house.hello("cid")
    house.joined(ann, mode="call")
    house.joined(bob)
    assert house.join(cid)["reason"] == "conference_full"
    assert house.used("pro") == 0
    house = harness()
    ann = house.hello("ann")
    house.joined(ann, "group")
    house.leave(ann, "group")
    house.joined(ann, "call", mode="call")
    house.wait(DAY)
    assert house.used("pro") == 0


def test_a_call_may_be_scheduled() -> None:
    house = harness()
    ann, bob, cid = house.hello("ann"), house.hello("bob"), house.hello("cid")
    house.joined(ann, mode="call", scheduled=True, host=True)
    house.joined(bob)
    assert house.join(cid)["reason"] == "conference_full"
    assert house.start(ann).refused is None
    assert house.used("pro") == 0


def test_waiting_takes_no_pro() -> None:
    house = harness(pro=1)
    ann, bob = house.hello("ann"), house.hello("bob")
    house.joined(ann, scheduled=True, host=True)
    house.joined(bob)
    assert house.used("pro") == 0
    outcome = house.start(ann)
    assert [message["type"] for _, message in outcome.notices] == ["joined", "denied"]
    assert house.used("pro") == 1


def test_our_user_in_a_conference_of_another_server_takes_our_pro() -> None:
    house = harness()
    house.joined(house.hello("ann"), server="far")
    assert house.used("pro") == 1


def test_a_federated_visitor_in_our_conference_takes_nothing() -> None:
    house = harness()
    public(house)
    before = uses(house)
    house.joined(house.hello("ann", home="far"))
    assert uses(house) == before


def test_an_unlisted_home_is_not_let_in() -> None:
    _, outcome = harness().knock("ann", home="elsewhere")
    assert outcome.refused is not None
    assert outcome.refused.reason == "not_allowed"


def test_namesakes_of_other_homes_are_other_accounts() -> None:
    house = harness()
    house.hello("ann", "pc")
    _, outcome = house.knock("ann", "pc", home="far")
    assert outcome.closings == []
    assert house.used("online") == 1


# -- guests and endpoints ----------------------------------------------------------------------------------------------


def test_guests_take_a_guest_license_in_a_public_conference() -> None:
    house = harness()
    public(house)
    guests = [house.hello() for _ in range(3)]
    assert house.used("guest") == 0
    for guest in guests:
        house.joined(guest)
    assert uses(house) == {"online": 1, "pro": 1, "guest": 3, "gateway": 0}
    house.leave(guests[0])
    assert house.used("guest") == 2


def test_a_guest_may_not_join_an_internal_conference_nor_a_call() -> None:
    house = harness()
    house.joined(house.hello("ann"), "internal")
    house.joined(house.hello("bob"), "call", access="public", mode="call")
    for conference in ("internal", "call"):
        assert house.join(house.hello(), conference)["reason"] == "not_allowed"
    assert house.denied("guest") == {"not_allowed": 2}


def test_the_guest_and_gateway_pools_bind() -> None:
    house = harness(guest=1, gateway=1)
    public(house)
    for kind, pool in (("app", "guest"), ("sip", "gateway")):
        house.joined(house.hello(kind=kind))
        answer = house.join(house.hello(kind=kind))
        assert (answer["reason"], answer["pool"]) == ("pool_full", pool)


@pytest.mark.parametrize("kind", ENDPOINTS)
def test_an_endpoint_takes_a_gateway_license_in_any_conference_and_never_pro(kind: str) -> None:
    house = harness()
    house.joined(house.hello("host"))
    endpoint, signed = house.hello(kind=kind), house.hello("ann", kind=kind)
    assert house.used("gateway") == 0
    house.joined(endpoint)
    house.joined(signed)
    assert uses(house) == {"online": 2, "pro": 1, "guest": 0, "gateway": 2}


def test_only_own_users_create_conferences() -> None:
    house = harness()
    for facts in ({}, {"kind": "sip"}, {"account": "ann", "kind": "sip"}, {"account": "ann", "home": "far"}):
        assert house.join(house.hello(**facts), access="public")["reason"] == "no_such_conference"
    assert not house.state.conferences.by_id


def test_what_the_operator_declared_anybody_may_open() -> None:
    house = harness()
    house.apply(PutConference("room", Declaration("public")))
    house.joined(house.hello())
    house.joined(house.hello(kind="sip"))
    assert uses(house) == {"online": 0, "pro": 0, "guest": 1, "gateway": 1}


def test_guests_and_endpoints_in_a_conference_of_another_server_count_as_here() -> None:
    house = harness()
    house.joined(house.hello("ann"), access="public", server="far")
    house.joined(house.hello())
    house.joined(house.hello(kind="h323"))
    assert uses(house) == {"online": 1, "pro": 1, "guest": 1, "gateway": 1}


# -- editions and extensions -------------------------------------------------------------------------------------------


def test_enterprise_has_no_limit_of_pro_but_counts_its_use() -> None:
    house = harness(edition="enterprise", pro=0)
    for name in ("ann", "bob", "cid"):
        house.joined(house.hello(name))
    view = house.view("pro")
    assert (view.used, view.limit, view.available) == (3, None, None)


def test_enterprise_gives_every_user_the_rights_of_pro() -> None:
    house = harness(edition="enterprise")
    rights = entitlements(house.state, house.hello("ann"))["rights"]
    assert set(rights) == {*USER_RIGHTS, *PUBLIC_RIGHTS, *INTERNAL_RIGHTS}


def test_the_free_edition_has_one_guest_one_gateway_ten_pro_and_a_thousand_online() -> None:
    house = CoreHarness(trueconf(TrueConf(edition="free")))
    assert {pool: house.view(pool).limit for pool in ("online", "pro", "guest", "gateway")} == {
        "online": 1000,
        "pro": 10,
        "guest": 1,
        "gateway": 1,
    }


def test_the_free_edition_has_one_live_group_conference_of_ten() -> None:
    house = CoreHarness(trueconf(TrueConf(edition="free", pro=99)))
    inside = [house.hello(f"u{place}") for place in range(10)]
    for session in inside:
        house.joined(session)
    late = house.hello("late")
    answer = house.join(late)
    assert (answer["reason"], answer["used"], answer["limit"]) == ("conference_full", 10, 10)
    answer = house.join(late, "other")
    assert (answer["reason"], answer["used"], answer["limit"]) == ("conference_limit", 1, 1)
    house.joined(late, "call", mode="call")
    house.joined(inside[0], "later", scheduled=True, host=True)
    refused = house.start(inside[0], "later").refused
    assert refused is not None
    assert refused.reason == "conference_limit"
    assert house.denied("pro") == {"conference_full": 1, "conference_limit": 2}


def test_the_limits_of_conferences_are_settings_of_every_edition() -> None:
    house = harness(max_conferences=1, max_participants=2)
    ann, bob = house.hello("ann"), house.hello("bob")
    house.joined(ann, "a", server="far")
    assert house.join(bob, "b")["reason"] == "conference_limit"
    house.joined(bob, "a")
    assert house.join(house.hello("cid"), "a")["reason"] == "conference_full"
    free = CoreHarness(trueconf(TrueConf(edition="free", max_conferences=0)))
    for conference in "abc":
        free.joined(free.hello("ann"), conference)


def test_the_free_edition_knows_no_federation() -> None:
    house = harness(edition="free")
    _, outcome = house.knock("ann", home="far")
    assert outcome.refused is not None
    assert outcome.refused.reason == "extension_missing"
    assert house.join(house.hello("ann"), server="far")["reason"] == "extension_missing"


def test_the_free_edition_gives_no_permanent_licenses() -> None:
    house = harness(edition="free")
    house.redistribute(["ann"])
    assert house.pro() == {}


@pytest.mark.parametrize("edition", ["free", "server", "enterprise"])
def test_sdk_clients_need_their_extension(edition: str) -> None:
    _, outcome = harness(edition=edition).knock("ann", kind="sdk")
    assert outcome.refused is not None
    assert outcome.refused.reason == "extension_missing"
    harness(edition=edition, sdk=True).hello("ann", kind="sdk")


def test_extensions_are_reported_with_their_terms() -> None:
    def has(**terms: Any) -> set[str]:
        return {each.title for each in trueconf(TrueConf(**terms)).extensions if each.licensed}

    always = {"LDAP/Active Directory", "Simultaneous interpretation"}
    enterprise = {"DLP", "Directory", "License Manager", "Border Controller"}
    assert always <= has(edition="free")
    assert not {"Federation", "Watermark", "UDP multicast"} & has(edition="free")
    assert {"Federation", "Watermark", "UDP multicast"} <= has()
    assert not enterprise & has()
    assert enterprise <= has(edition="enterprise")
    assert "Live streaming" in has(support="extended")
    assert "Live streaming" in has(support="full")
    assert "Live streaming" not in has()
    assert "Live streaming" not in has(edition="free", support="full")
    assert {"Corporate calendar", "AI server"} <= has(calendar=True, ai=True)
    assert not {"Corporate calendar", "AI server"} & has()
    assert "SDK applications" in has(sdk=True)
    assert "SDK applications" not in has()
    assert len(trueconf(TrueConf()).extensions) == 15


# -- rights ------------------------------------------------------------------------------------------------------------


def test_rights_are_those_of_the_present_status() -> None:
    house = harness()
    ann = house.hello("ann")
    assert entitlements(house.state, ann)["rights"] == list(USER_RIGHTS)
    assert set(house.joined(ann)["rights"]) == {*USER_RIGHTS, *PUBLIC_RIGHTS, *INTERNAL_RIGHTS}
    answer = house.leave(ann)
    assert set(answer["rights"]) == {*USER_RIGHTS, *PUBLIC_RIGHTS, *INTERNAL_RIGHTS}
    house.wait(DAY)
    assert entitlements(house.state, ann)["rights"] == list(USER_RIGHTS)


def test_a_guest_has_the_rights_of_public_conferences() -> None:
    house = harness()
    assert entitlements(house.state, house.hello())["rights"] == list(PUBLIC_RIGHTS)


def test_the_table_of_rights_has_sixteen_rows() -> None:
    assert len({*USER_RIGHTS, *PUBLIC_RIGHTS, *INTERNAL_RIGHTS}) == 16


def test_seats_list_pro_whenever_the_account_holds_it() -> None:
    house = harness()
    pc, phone = house.hello("ann", "pc"), house.hello("ann", "phone")
    house.joined(pc)
    assert entitlements(house.state, phone)["seats"] == ["online", "pro"]
    assert house.leave(pc)["seats"] == ["online", "pro"]
    tablet, welcome = house.knock("ann", "tablet")
    assert tablet is not None
    assert welcome.answer == {
        "type": "welcome",
        "session": session_id(house.state, tablet.number),
        **entitlements(house.state, phone),
    }


def test_the_other_devices_hear_of_a_grant_and_of_the_expiry() -> None:
    house = harness()
    pc, phone, bob = house.hello("ann", "pc"), house.hello("ann", "phone"), house.hello("bob")
    request = {"conference": "room"}
    house.joined(bob, "other")
    outcome = house.wait(0)
    assert outcome.notices == []
    answer = house.joined(pc, **request)
    assert answer["pro_expires"] is None
    assert set(entitlements(house.state, phone)["rights"]) == {*USER_RIGHTS, *PUBLIC_RIGHTS, *INTERNAL_RIGHTS}
    house.leave(pc)
    outcome = house.wait(DAY)
    for device in (pc, phone):
        assert told(outcome, device) == [
            {"type": "status", "seats": ["online"], "rights": list(USER_RIGHTS), "pro_expires": None}
        ]
    assert told(outcome, bob) == []


# -- in shadow ---------------------------------------------------------------------------------------------------------


def shadow(**terms: Any) -> CoreHarness:
    return CoreHarness(
        epop(Epop(users=99)), trueconf(TrueConf(**{"pro": 1, "online": 2, "guest": 1, "gateway": 1, **terms}))
    )


def test_a_shadow_counts_above_its_limits_and_records_what_it_would_refuse() -> None:
    house = shadow()
    for name in ("ann", "bob", "cid"):
        house.joined(house.hello(name))
    assert (house.used("online", "trueconf"), house.used("pro", "trueconf")) == (3, 3)
    assert house.denied("online", "trueconf") == {"pool_full": 1}
    assert house.denied("pro", "trueconf") == {"pool_full": 2}


def test_a_guests_own_conference_gives_it_a_seat_once_live_and_one_denial() -> None:
    house = shadow()
    guest = house.hello()
    house.joined(guest, access="public", scheduled=True, host=True)
    assert house.used("guest", "trueconf") == 0
    house.start(guest)
    assert house.used("guest", "trueconf") == 1
    assert house.denied("guest", "trueconf") == {"no_such_conference": 1}


def test_an_sdk_client_is_recorded_once_and_takes_its_seats() -> None:
    house = shadow()
    ann = house.hello("ann", kind="sdk")
    house.joined(ann, "a")
    house.joined(ann, "b")
    assert house.denied("online", "trueconf") == {"extension_missing": 1}
    assert house.denied("pro", "trueconf") == {}
    assert (house.used("online", "trueconf"), house.used("pro", "trueconf")) == (1, 1)


def test_a_shadow_sees_only_who_was_admitted() -> None:
    house = CoreHarness(epop(Epop(users=0)), trueconf(TrueConf()))
    house.join(house.hello("ann"))
    assert house.used("pro", "trueconf") == 0
    assert house.denied("pro", "trueconf") == {}


def test_a_revocation_in_shadow_takes_nobody_out_and_the_facts_give_the_seat_again() -> None:
    house = shadow()
    ann = house.hello("ann")
    house.joined(ann)
    assert told(house.revoke("ann"), ann) == []
    assert house.expires("ann") is None
    house.leave(ann)
    assert house.expires("ann") == DAY
    house.revoke("ann")
    assert house.pro() == {}


def test_redistribution_evicts_nobody_in_shadow() -> None:
    house = shadow()
    ann = house.hello("ann")
    house.joined(ann)
    outcome, beyond = house.redistribute(["p1", "p2"])
    assert outcome.notices == []
    assert beyond == []
    assert house.pro() == {"ann": "temporary", "p1": "permanent", "p2": "permanent"}


def test_an_account_deleted_in_shadow_is_refused_by_no_shadow_and_may_come_back() -> None:
    house = shadow()
    ann = house.hello("ann")
    house.joined(ann)
    house.forget("ann")
    assert house.pro() == {"ann": "deleted"}
    assert not house.state.is_deleted("ann")
    house.wait(HOUR)
    again = house.hello("ann")
    house.joined(again)
    house.leave(again)
    assert house.pro() == {"ann": "temporary"}
    assert house.expires("ann") == DAY


def test_asking_for_pro_is_not_allowed_under_another_license() -> None:
    house = shadow(allow_pro_requests=True)
    assert house.request_pro(house.hello("ann"))["reason"] == "not_allowed"
