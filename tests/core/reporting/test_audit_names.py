"""The names of persons in the audit log: the chain holds with them and without them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import BEGINNING, AuditEntry, ChainBroken, ChainPosition, ChainWalk

NOTES: list[tuple[str, str, dict[str, Any]]] = [
    ("account.added", "ann", {}),
    ("lease.granted", "ann", {"model": "trueconf", "home": "hq"}),
    ("license.revoked", "ann", {"model": "trueconf"}),
    ("ban.added", "ann", {"kind": "account", "until": "later"}),
    ("session.kicked", "s-1", {"account": "ann", "address": "192.0.2.7"}),
    ("group.set", "board", {"accounts": ["ann", "bob"], "permanent": True}),
    ("refused", "/api/accounts/ann/token", {"status": 404}),
]


def entry(action: str, subject: str, detail: dict[str, Any], last: ChainPosition = BEGINNING) -> AuditEntry:
    keys = iter(range(1, 100))
    return audit_chain.next_entry(last, 1.0, "ops", action, subject, detail, lambda: bytes([next(keys)] * 16))


@pytest.mark.parametrize("note", NOTES)
def test_a_name_stands_beside_the_entry_and_not_under_its_hash(note: tuple[str, str, dict[str, Any]]) -> None:
    made = entry(*note)
    assert "ann" not in made.subject + made.detail
    assert made.shown == note[1:]
    assert audit_chain.verify([made])
    shown = json.loads(json.dumps(audit_chain.entry_to_json(made)))
    assert (shown["subject"], shown["detail"]) == note[1:]
    assert audit_chain.verify([audit_chain.entry_from_json(shown)])
    home = note[2].get("home", "")
    assert [each.text for each in made.names if each.names("ann", home)]
    assert not [each.text for each in made.names if each.names("ann", "elsewhere") and each.account]
    assert not [each.text for each in made.names if each.names("an", home)]


@pytest.mark.parametrize("note", NOTES)
def test_without_its_names_it_verifies_and_says_that_they_were_erased(note: tuple[str, str, dict[str, Any]]) -> None:
    erased = entry(*note)._replace(names=())
    assert audit_chain.verify([erased])
    shown = json.loads(json.dumps(audit_chain.entry_to_json(erased)))
    assert "ann" not in json.dumps(shown)
    assert "(erased)" in json.dumps(shown)
    assert audit_chain.verify([audit_chain.entry_from_json(shown)])


def test_who_else_stands_in_an_entry_is_still_told() -> None:
    made = entry(*NOTES[5])
    left = made._replace(names=tuple(each for each in made.names if not each.names("ann", "")))
    assert left.shown[1]["accounts"] == ["(erased)", "bob"]


def test_a_name_that_was_changed_breaks_the_chain() -> None:
    made = entry(*NOTES[0])
    forged = made._replace(names=(made.names[0]._replace(text="eve"),))
    with pytest.raises(ChainBroken, match="entry 1 was changed"):
        audit_chain.verify([forged])


def test_the_same_name_has_another_seal_in_another_entry() -> None:
    first = audit_chain.next_entry(BEGINNING, 1.0, "ops", *NOTES[0], lambda: b"1" * 16)
    second = audit_chain.next_entry(BEGINNING, 1.0, "ops", *NOTES[0], lambda: b"2" * 16)
    assert first.subject != second.subject


def test_what_is_no_name_of_a_person_stands_in_the_entry() -> None:
    for action, subject, detail in (
        ("license.revoked", "S-1", {}),
        ("ban.added", "192.0.2.0/24", {"kind": "network"}),
        ("operator.added", "ops", {"scope": "read"}),
        ("conference.declared", "~" + "0" * 32, {}),
    ):
        made = entry(action, subject, detail)
        assert (made.subject, made.names) == (subject, ())
        shown = json.loads(json.dumps(audit_chain.entry_to_json(made)))
        assert audit_chain.verify([audit_chain.entry_from_json(shown)])


def test_of_a_list_of_names_that_is_too_long_nothing_is_kept_that_tells_one_of_them() -> None:
    many = [f"user-{number}@example.org" for number in range(500)]
    made = entry("group.set", "all", {"accounts": many})
    assert made.names == ()
    assert list(json.loads(made.detail)) == ["length"]


def chain(length: int, *notes: tuple[int, str, dict[str, Any]]) -> list[AuditEntry]:
    """A chain of so many entries; `notes` says of some what they are."""
    said = {place: (action, "", detail) for place, action, detail in notes}
    made: list[AuditEntry] = []
    for number in range(1, length + 1):
        last = ChainPosition(made[-1].seq, made[-1].hash) if made else BEGINNING
        made.append(entry(*said.get(number, ("start", "", {})), last))
    return made


def walk(*parts: list[AuditEntry]) -> ChainPosition:
    chain = ChainWalk()
    for part in parts:
        chain.take(part)
    return chain.end()


def test_a_chain_whose_beginning_was_forgotten_holds_where_an_entry_says_so() -> None:
    third = chain(3)[2]
    whole = chain(8, (6, audit_chain.FORGOTTEN, {"through": 3, "hash": third.hash}))
    assert walk(whole).seq == 8
    assert walk(whole[3:5], whole[5:]).seq == 8
    for cut in (1, 2, 4, 5, 6):
        with pytest.raises(ChainBroken, match="no entry says that those through"):
            walk(whole[cut:])


def test_an_entry_that_tells_another_hash_of_what_was_forgotten_does_not_count() -> None:
    whole = chain(8, (6, audit_chain.FORGOTTEN, {"through": 3, "hash": "0" * 64}))
    with pytest.raises(ChainBroken):
        walk(whole[3:])


def test_an_empty_chain_holds() -> None:
    assert walk([]) == BEGINNING
