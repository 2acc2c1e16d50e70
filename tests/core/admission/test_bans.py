"""Whom a ban names, and whom it binds."""

from __future__ import annotations

import math
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission.bans import Ban, Bans, BanSubject, subject_of, subject_of_session
from gateway.core.counting.session import Session


def bans_of(*subjects: BanSubject, until: float = 100.0) -> Bans:
    bans = Bans()
    for subject in subjects:
        bans.put(Ban(subject, until))
    return bans


# -- whom a text names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Ann@Example.org", ("account", "ann@example.org")),
        ("O'Brien/Sales", ("account", "o'brien/sales")),
        ("2024-ann", ("account", "2024-ann")),
        ("a:b", ("account", "a:b")),
        ("192.0.2.7", ("address", "192.0.2.7")),
        ("192.0.2.7/32", ("address", "192.0.2.7")),
        ("::ffff:192.0.2.7", ("address", "192.0.2.7")),
        ("2001:DB8::0:1", ("address", "2001:db8::1")),
        ("fe80::1%eth0", ("address", "fe80::1")),
        ("192.0.2.0/24", ("network", "192.0.2.0/24")),
        ("192.0.2.0/255.255.255.0", ("network", "192.0.2.0/24")),
        ("0.0.0.0/0", ("network", "0.0.0.0/0")),
        ("::ffff:192.0.2.0/120", ("network", "192.0.2.0/24")),
        ("2001:DB8::/32", ("network", "2001:db8::/32")),
    ],
)
def test_an_address_a_network_and_an_account_are_told_apart(text: str, subject: tuple[str, str]) -> None:
    assert subject_of(text) == (*subject, "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.0.2.0/33", "looks like an address or a network, and is none"),
        ("192.0.2.0/x", "looks like an address or a network, and is none"),
        ("192.0.2.300", "looks like an address or a network, and is none"),
        ("10/8", "looks like an address or a network, and is none"),
        ("2001:db8::/129", "looks like an address or a network, and is none"),
        ("2001:db8:::1", "looks like an address or a network, and is none"),
        ("192.0.2.7/24", "bits set to the right of its prefix: is 192.0.2.0/24 meant?"),
        (" ann", "expected an account, an address or a network"),
        ("", "expected an account, an address or a network"),
        ("..", "expected an account, an address or a network"),
    ],
)
def test_what_is_none_of_them_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        subject_of(text)


def test_who_asks_may_say_what_a_text_is() -> None:
    assert subject_of("192.0.2.300", kind="account") == ("account", "192.0.2.300", "")
    assert subject_of("10/8", "Far.Example") == ("account", "10/8", "far.example")
    assert subject_of("192.0.2.7", kind="guests") == ("guests", "192.0.2.7", "")
    for text, kind in (("192.0.2.0/24", "address"), ("192.0.2.7", "network"), ("192.0.2.0/24", "guests")):
        with pytest.raises(ValueError, match=f"not {kind}"):
            subject_of(text, kind=kind)
    with pytest.raises(ValueError, match="only an account has a home"):
        subject_of("192.0.2.7", "far", "address")


# -- whom a ban binds --------------------------------------------------------------------------------------------------


def test_an_account_is_banned_at_its_own_home_only() -> None:
    bans = bans_of(subject_of_session(Session(1, account="ann", address="192.0.2.1")))
    assert bans.of(Session(2, account="ann"), "192.0.2.2", 99.0)
    assert not bans.of(Session(3, account="ann", home="far"), "192.0.2.1", 99.0)
    assert not bans.of(Session(4), "192.0.2.1", 99.0)
    joined = bans_of(BanSubject("account", "ann", "far"))
    assert joined.of(Session(5, account="ann", home="far"), "", 99.0)
    assert not joined.of(Session(6, account="ann/far"), "", 99.0)


def test_a_guest_that_was_kicked_is_banned_by_address_and_no_user_with_it() -> None:
    bans = bans_of(subject_of_session(Session(1, address="192.0.2.1")))
    assert bans.of(Session(2), "192.0.2.1", 0.0)
    assert not bans.of(Session(3), "192.0.2.2", 0.0)
    assert not bans.of(Session(4, account="ann"), "192.0.2.1", 0.0)


@pytest.mark.parametrize("account", [None, "ann"])
@pytest.mark.parametrize("kind", ["app", "sip", "console"])
def test_a_ban_of_an_address_or_a_network_binds_whoever_comes_from_it(account: str | None, kind: str) -> None:
    bans = bans_of(subject_of("192.0.2.7"), subject_of("198.51.100.0/24"), subject_of("2001:db8::/32"))
    session = Session(1, kind=kind, account=account)
    for address in ("192.0.2.7", "198.51.100.255", "2001:db8:ffff::1"):
        assert bans.of(session, address, 0.0)
    for address in ("192.0.2.8", "198.51.101.0", "2001:db9::", "/run/door.sock", ""):
        assert not bans.of(session, address, 0.0)


def test_a_ban_ends_at_its_instant_and_is_then_forgotten() -> None:
    ann, network = Session(1, account="ann"), subject_of("192.0.2.0/24")
    bans = bans_of(subject_of_session(ann), network)
    bans.put(Ban(BanSubject("account", "bob"), 200.0))
    assert bans.of(ann, "192.0.2.9", 99.9)
    assert not bans.of(ann, "192.0.2.9", 100.0)
    bans.forget_ended(100.0)
    assert [ban.subject.name for ban in bans] == ["bob"]
    bans.forget_ended(200.0)
    assert not list(bans)


def test_of_several_bans_the_one_counts_that_ends_last() -> None:
    bans = bans_of(subject_of("ann"), until=10.0)
    bans.put(Ban(subject_of("192.0.2.0/24"), 30.0))
    bans.put(Ban(subject_of("192.0.2.1"), 20.0))
    found = bans.of(Session(1, account="ann"), "192.0.2.1", 0.0)
    assert found is not None
    assert found.until == 30.0


def test_a_ban_that_is_lifted_leaves_nothing_of_it_and_the_others_as_they_are() -> None:
    wide, narrow = subject_of("192.0.0.0/16"), subject_of("192.0.2.0/24")
    bans = bans_of(wide, narrow, subject_of("192.0.3.0/24"))
    assert bans.lift(narrow)
    assert not bans.lift(narrow)
    assert bans.of(Session(1), "192.0.2.1", 0.0) == Ban(wide, 100.0)
    assert bans.lift(wide)
    assert not bans.of(Session(1), "192.0.2.1", 0.0)
    assert bans.of(Session(1), "192.0.3.1", 0.0)


networks = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).flatmap(
    lambda base: st.integers(0, base.max_prefixlen).map(lambda bits: ip_network((base, bits), strict=False))
)


@given(st.lists(networks, max_size=8), st.lists(st.ip_addresses(), min_size=1, max_size=5))
def test_looking_up_finds_what_comparing_with_each_finds(banned: list[object], addresses: list[object]) -> None:
    subjects = [subject_of(str(each)) for each in banned]
    bans = bans_of(*subjects)
    near = [str(ip_network(each.name)[0]) for each in subjects if each.kind == "network"]
    for address in [*map(str, addresses), *near]:
        expected = any(ip_address(address) in ip_network(each.name) for each in subjects)
        if getattr(ip_address(address), "ipv4_mapped", None) is None:
            assert (bans.of(Session(1), address, 0.0) is not None) is expected
            assert bool([each for each in subjects if bans.bound(each, [Session(1, address=address)])]) is expected


def test_ten_thousand_bans_cost_no_more_than_the_lengths_of_their_prefixes() -> None:
    bans = bans_of(*(subject_of(f"10.{number // 250}.{number % 250}.0/24") for number in range(10_000)), until=math.inf)
    assert len(bans._networks) == 1
    assert bans.of(Session(1), "10.39.249.7", 0.0)
    assert not bans.of(Session(1), "10.40.0.7", 0.0)
