"""What operators decide is done, noted for the audit log, and told to the store; what is refused leaves no trace."""

from __future__ import annotations

import pytest

from gateway.core.admission import commands as c
from gateway.core.admission.bans import Ban, BanSubject
from gateway.core.admission.conferences import Declaration
from gateway.core.admission.decision import AuditNote, Decision, DirectoryChange
from gateway.core.admission.directory import Group, Token
from gateway.core.admission.state_json import digest
from gateway.core.counting.license_model import Refusal
from gateway.core.formats import utc
from gateway.licensing.epop import Epop, epop
from gateway.licensing.nefsis import NefsisNamed, nefsis_named
from gateway.licensing.trueconf import TrueConf, trueconf
from tests.core.harnesses import DIGEST, LicensedHarness, prove, proven_hello
from tests.core_harness import HOUR, START, CoreHarness, told

MARK = DIGEST[:12]
OTHER = "07" * 32
ANN = BanSubject("account", "ann")
TOKEN = Token(bytes.fromhex(DIGEST), START)


def harness(edition: str = "server") -> CoreHarness:
    return CoreHarness(trueconf(TrueConf(edition=edition)), nefsis_named(NefsisNamed(hosts=1)))  # type: ignore[arg-type]


def done(house: CoreHarness, command: c.Command) -> Decision:
    """A decision that is not refused."""
    decision = house.apply(command)
    assert decision.refused is None
    return decision


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        (c.KickSession(7, 60.0), Refusal("no_such_session")),
        (c.LiftBan(ANN), Refusal("no_such_ban")),
        (c.EndConference("room"), Refusal("no_such_conference")),
        (c.DeleteAccount("ann"), Refusal("no_such_account")),
        (c.AddAccountToken("ann", DIGEST), Refusal("no_such_account")),
        (c.RevokeAccountToken("ann", MARK), Refusal("no_such_account")),
        (c.RevokeAccountToken("bob", MARK), Refusal("no_such_token")),
        (c.DeleteGroup("board"), Refusal("no_such_group")),
        (c.RevokeOperatorTokens("ops"), Refusal("no_such_token")),
        (c.RevokeLease("ann"), Refusal("no_such_license")),
        (c.ReleaseHost("ann"), Refusal("no_such_host")),
        (c.PutConference("busy", Declaration()), Refusal("conference_under_way")),
        (c.NameHost("ann"), Refusal("pool_full", "hosts", 2, 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_refused_changes_nothing_and_is_not_noted(command: c.Command, refused: Refusal) -> None:
    house = harness()
    done(house, c.PutAccount("bob"))
    done(house, c.NameHost("boss"))
    house.joined(house.hello("cid"), "busy", mode="call")
    before = digest(house.state)
    decision = house.apply(command)
    assert decision.refused == refused
    assert (decision.audit, decision.changes, decision.notices, decision.closings) == ([], [], [], [])
    assert digest(house.state) == before


@pytest.mark.parametrize("command", [c.RevokeLease("ann"), c.NameHost("ann"), c.ReleaseHost("ann")])
def test_where_no_model_has_them_there_are_no_licenses_and_no_hosts(command: c.Command) -> None:
    reason = "no_such_license" if isinstance(command, c.RevokeLease) else "no_named_hosts"
    assert CoreHarness(epop(Epop())).apply(command).refused == Refusal(reason)


# -- who must go -------------------------------------------------------------------------------------------------------


def test_a_session_that_is_kicked_ends_and_its_account_is_kept_out() -> None:
    house = harness()
    ann, other = house.hello("ann", "pc"), house.hello("ann", "phone")
    decision = done(house, c.KickSession(ann.number, 60.0))
    until = house.now.wall + 60.0
    assert decision.closings == [(ann.number, "kicked")]
    assert decision.audit == [
        AuditNote("ban.added", "ann", {"kind": "account", "until": utc(until)}),
        AuditNote("session.kicked", "s-0-1", {"account": "ann", "address": "192.0.2.1"}),
    ]
    assert decision.changes == [DirectoryChange("ban", ANN, Ban(ANN, until))]
    assert list(house.state.sessions.by_number.values()) == [other]
    assert house.knock("ann")[1].refused == Refusal("banned", retry_after=60.0)
    assert house.view("online").releases["kicked"] == 1


def test_a_guest_that_is_kicked_is_kept_out_by_the_address_of_its_present_connection() -> None:
    house = harness()
    guest = house.hello(address="192.0.2.1")
    house.apply(c.Resume(guest.number, 0, "192.0.2.9", "tcp"))
    done(house, c.KickSession(guest.number, 60.0))
    assert [ban.subject for ban in house.state.directory.bans] == [BanSubject("guests", "192.0.2.9")]


def test_an_account_is_kicked_with_all_its_sessions() -> None:
    house = harness()
    for device in ("pc", "phone"):
        house.hello("ann", device)
    house.hello("bob")
    decision = done(house, c.KickAccount("ann"))
    assert decision.closings == [(1, "kicked"), (2, "kicked")]
    assert decision.audit == [AuditNote("account.kicked", "ann", {"sessions": 2})]
    assert not list(house.state.directory.bans)
    assert list(house.state.sessions.by_number) == [3]
    nobody = done(house, c.KickAccount("nobody", 30.0))
    assert [note.action for note in nobody.audit] == ["ban.added", "account.kicked"]
    assert nobody.closings == []


def test_a_ban_is_put_replaced_and_lifted() -> None:
    house = harness()
    done(house, c.PutBan(ANN, 60.0))
    longer = done(house, c.PutBan(ANN, 120.0))
    assert list(house.state.directory.bans) == [Ban(ANN, house.now.wall + 120.0)]
    detail = {"kind": "account", "until": utc(house.now.wall + 120.0), "sessions": 0}
    assert longer.audit == [AuditNote("ban.added", "ann", detail)]
    lifted = done(house, c.LiftBan(ANN))
    assert lifted.changes == [DirectoryChange("ban", ANN, None)]
    assert lifted.audit == [AuditNote("ban.lifted", "ann", {"kind": "account"})]
    assert not list(house.state.directory.bans)


@pytest.mark.parametrize(
    ("subject", "gone"),
    [
        (BanSubject("account", "ann"), {1}),
        (BanSubject("account", "ann", "far"), {2}),
        (BanSubject("guests", "192.0.2.1"), {4}),
        (BanSubject("address", "192.0.2.1"), {1, 4}),
        (BanSubject("network", "192.0.2.0/30"), {1, 2, 4}),
        (BanSubject("network", "2001:db8::/32"), {5}),
    ],
)
def test_who_is_inside_is_sent_away_by_a_ban(subject: BanSubject, gone: set[int]) -> None:
    house = CoreHarness(trueconf(TrueConf()), homes=("far",))
    house.hello("ann", address="192.0.2.1")
    house.hello("ann", address="192.0.2.2", home="far")
    house.hello("ann/far", address="192.0.2.9")
    house.hello(address="192.0.2.1")
    house.hello("bob", address="2001:db8::1")
    decision = done(house, c.PutBan(subject, 60.0))
    assert decision.closings == [(number, "kicked") for number in sorted(gone)]
    assert set(house.state.sessions.by_number) == {1, 2, 3, 4, 5} - gone
    assert decision.audit[0].detail is not None
    assert decision.audit[0].detail["sessions"] == len(gone)


def test_what_is_noted_of_an_account_of_another_server_names_its_home_apart() -> None:
    house = CoreHarness(nefsis_named(NefsisNamed(hosts=1)), homes=("far",))
    house.hello("ann", home="far")
    assert done(house, c.NameHost(("ann", "far"))).audit == [AuditNote("host.named", "ann", {"home": "far"})]
    assert done(house, c.ReleaseHost(("ann", "far"))).audit == [AuditNote("host.released", "ann", {"home": "far"})]
    kicked = done(house, c.KickAccount(("ann", "far"), 60.0)).audit
    assert [note.detail and note.detail["home"] for note in kicked] == ["far", "far"]


# -- conferences -------------------------------------------------------------------------------------------------------


def test_what_is_declared_of_a_conference_holds_until_it_is_ended() -> None:
    house = CoreHarness(trueconf(TrueConf()), homes=("far",))
    declaration = Declaration("public", "call", scheduled=True, server="far")
    decision = done(house, c.PutConference("room", declaration))
    assert decision.audit == [AuditNote("conference.declared", "room", declaration._asdict())]
    assert house.joined(house.hello("ann"), mode="group")["mode"] == "call"
    done(house, c.EndConference("room"))
    assert house.state.conferences.declared == {}


def test_everybody_is_told_of_the_end_of_a_conference_with_what_it_has_left() -> None:
    house = harness()
    ann, bob = house.hello("ann"), house.hello("bob")
    for session in (ann, bob):
        house.joined(session)
    decision = done(house, c.EndConference("room"))
    assert decision.audit == [AuditNote("conference.ended", "room")]
    for session in (ann, bob):
        (message,) = told(decision, session)
        assert (message["type"], message["conference"], message["reason"]) == ("removed", "room", "conference_ended")
        assert message["seats"] == ["online", "pro"]
        assert session.conferences == ()
    assert house.state.conferences.by_id == {}


# -- accounts, groups, operators ---------------------------------------------------------------------------------------


def test_an_account_is_registered_once_and_keeps_its_tokens() -> None:
    house = harness()
    first = done(house, c.PutAccount("ann"))
    assert first.audit == [AuditNote("account.added", "ann")]
    assert first.changes == [DirectoryChange("account", "ann", ())]
    added = done(house, c.AddAccountToken("ann", DIGEST))
    assert added.audit == [AuditNote("token.added", "ann", {"fingerprint": MARK})]
    assert added.changes == [DirectoryChange("account", "ann", (TOKEN,))]
    again = done(house, c.PutAccount("ann"))
    assert again.audit == []
    assert again.changes == [DirectoryChange("account", "ann", (TOKEN,))]
    revoked = done(house, c.RevokeAccountToken("ann", MARK))
    assert revoked.audit == [AuditNote("token.revoked", "ann", {"fingerprint": MARK, "sessions": 0})]
    assert revoked.changes == [DirectoryChange("account", "ann", ())]


def test_a_token_that_is_revoked_ends_the_sessions_that_it_proved_and_no_others() -> None:
    house = LicensedHarness("trueconf", {"trueconf": TrueConf()}, accounts_mode="token", resume_window=60.0)
    prove(house, "ann", "bob")
    done(house, c.AddAccountToken("ann", OTHER))
    proven, lost, bob = (done(house, proven_hello(name, device)).session for name, device in
                         (("ann", "pc"), ("ann", "tv"), ("bob", "pc")))  # fmt: skip
    other = done(house, proven_hello("ann", "phone")._replace(token=OTHER)).session
    for number in (proven, lost, bob, other):
        assert number is not None
        house.joined(house.state.sessions.by_number[number])
    done(house, c.End(lost or 0, "closed"))
    revoked = done(house, c.RevokeAccountToken("ann", MARK))
    assert revoked.closings == [(proven, "kicked"), (lost, "kicked")]
    assert revoked.audit == [AuditNote("token.revoked", "ann", {"fingerprint": MARK, "sessions": 2})]
    assert set(house.state.sessions.by_number) == {bob, other}
    assert house.state.resumable == {}
    assert done(house, c.RevokeAccountToken("ann", OTHER[:12])).closings == [(other, "kicked")]


def test_where_claims_are_believed_no_token_ends_a_session() -> None:
    house = LicensedHarness("trueconf", {"trueconf": TrueConf()})
    prove(house, "ann")
    done(house, proven_hello("ann", "pc"))
    assert done(house, c.RevokeAccountToken("ann", MARK)).closings == []


def test_an_account_that_is_deleted_is_gone_from_its_groups_and_its_sessions_end() -> None:
    house = harness()
    done(house, c.PutAccount("ann"))
    done(house, c.PutGroup("board", ("ann", "bob"), False))
    ann = house.hello("ann")
    decision = done(house, c.DeleteAccount("ann"))
    assert decision.closings == [(ann.number, "account_deleted")]
    assert decision.audit == [AuditNote("account.deleted", "ann")]
    assert decision.changes == [
        DirectoryChange("account", "ann", None),
        DirectoryChange("group", "board", Group(("bob",), False)),
    ]
    assert (house.state.directory.accounts, list(house.state.sessions.by_number)) == ({}, [])


@pytest.mark.parametrize("known_by", ["a session", "a group", "a license"])
def test_an_account_that_nobody_registered_may_be_deleted_if_it_is_known_otherwise(known_by: str) -> None:
    house = harness()
    if known_by == "a group":
        done(house, c.PutGroup("board", ("ann",), True))
    else:
        ann = house.hello("ann")
        if known_by == "a license":
            house.joined(ann)
            house.end(ann)
    assert house.state.is_known("ann")
    done(house, c.DeleteAccount("ann"))
    assert house.state.is_known("ann") is (known_by == "a license")


def test_a_group_has_each_account_once_in_order() -> None:
    house = harness()
    decision = done(house, c.PutGroup("board", ("cid", "ann", "cid", "bob"), True))
    group = Group(("cid", "ann", "bob"), True)
    assert house.state.directory.groups == {"board": group}
    assert decision.audit == [AuditNote("group.set", "board", {"accounts": ["cid", "ann", "bob"], "permanent": True})]
    assert decision.changes == [DirectoryChange("group", "board", group)]
    deleted = done(house, c.DeleteGroup("board"))
    assert deleted.audit == [AuditNote("group.deleted", "board")]
    assert deleted.changes == [DirectoryChange("group", "board", None)]


def test_a_license_without_permanent_seats_has_no_group_that_asks_for_them() -> None:
    house = harness("free")
    assert house.apply(c.PutGroup("board", ("ann",), True)).refused == Refusal("extension_missing")
    assert house.state.directory.groups == {}
    done(house, c.PutGroup("board", ("ann",), False))


def test_an_operator_has_tokens_each_with_its_scope() -> None:
    house = harness()
    other = "00" * 32
    added = done(house, c.AddOperatorToken("ops", "read", DIGEST))
    assert added.audit == [AuditNote("operator.added", "ops", {"fingerprint": MARK, "scope": "read"})]
    assert added.changes == [DirectoryChange("operator", "ops", (TOKEN._replace(scope="read"),))]
    second = Token(bytes.fromhex(other), START, "admin")
    assert done(house, c.AddOperatorToken("ops", "admin", other)).changes == [
        DirectoryChange("operator", "ops", (TOKEN._replace(scope="read"), second))
    ]
    one = done(house, c.RevokeOperatorTokens("ops", MARK))
    assert one.audit == [AuditNote("operator.revoked", "ops", {"fingerprint": MARK})]
    assert one.changes == [DirectoryChange("operator", "ops", (second,))]
    last = done(house, c.RevokeOperatorTokens("ops"))
    assert last.audit == [AuditNote("operator.revoked", "ops", {"fingerprint": "all"})]
    assert last.changes == [DirectoryChange("operator", "ops", None)]
    assert house.state.directory.operators == {}


# -- leases and hosts --------------------------------------------------------------------------------------------------


def test_what_is_decided_of_leases_and_hosts_is_noted() -> None:
    house = harness()
    ann = house.hello("ann")
    house.joined(ann)
    assert done(house, c.RevokeLease("ann")).audit == [AuditNote("license.revoked", "ann", {"model": "trueconf"})]
    house.end(ann)
    assert done(house, c.ReleaseHost("ann")).audit == [AuditNote("host.released", "ann")]
    assert done(house, c.NameHost("bob")).audit == [AuditNote("host.named", "bob")]
    assert done(house, c.NameHost("bob")).audit == []


def test_a_license_that_is_permanent_or_of_a_deleted_account_is_not_revoked() -> None:
    house = harness()
    house.redistribute(["ann", "bob"])
    assert house.revoke("ann").refused == Refusal("permanent")
    house.forget("bob")
    assert house.revoke("bob").refused == Refusal("account_deleted")
    assert house.pro() == {"ann": "permanent", "bob": "deleted"}


def test_a_deleted_account_is_refused_by_its_name_until_its_license_has_run_out() -> None:
    house = harness()
    house.redistribute(["ann"])
    house.forget("ann")
    assert house.knock("ann")[1].refused == Refusal("account_unknown")
    house.wait(24 * HOUR)
    house.hello("ann")
