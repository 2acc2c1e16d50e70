"""The audit log as a chain: every entry is what it was, where it was."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.reporting import audit_chain
from gateway.core.reporting.audit_chain import BEGINNING, AuditEntry, ChainBroken, ChainPosition


def make_key() -> bytes:
    return bytes(16)


def chain(length: int, wall: float = 1_700_000_000.0) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    last = BEGINNING
    for number in range(length):
        entry = audit_chain.next_entry(
            last, wall + number, "ops", "group.set", f"g{number}", {"permanent": True, "b": number}, make_key
        )
        entries.append(entry)
        last = ChainPosition(entry.seq, entry.hash)
    return entries


def test_what_was_written_verifies_and_says_where_it_ends() -> None:
    entries = chain(5)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert audit_chain.verify(entries) == ChainPosition(5, entries[-1].hash)
    assert audit_chain.verify([]) == BEGINNING


def test_a_part_verifies_from_where_the_part_before_it_ends() -> None:
    entries = chain(6)
    middle = audit_chain.verify(entries[:3])
    assert audit_chain.verify(entries[3:], middle) == ChainPosition(6, entries[-1].hash)
    with pytest.raises(ChainBroken):
        audit_chain.verify(entries[3:])


def test_the_hash_is_that_of_the_canonical_json_of_all_the_rest() -> None:
    entry = chain(2)[1]
    shown = audit_chain.entry_to_json(entry)
    told = shown.pop("hash")
    rest = json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert told == hashlib.sha256(rest.encode()).hexdigest()
    assert shown == {
        "seq": 2,
        "time": "2023-11-14T22:13:21.000Z",
        "actor": "ops",
        "action": "group.set",
        "subject": "g1",
        "detail": {"permanent": True, "b": 1},
        "previous": chain(2)[0].hash,
    }


@given(
    st.integers(0, 4),
    st.sampled_from(["time", "actor", "action", "subject", "detail", "previous", "hash"]),
    st.text(max_size=4),
)
def test_a_change_of_any_field_breaks_the_chain_there(place: int, field: str, more: str) -> None:
    entries = chain(5)
    value = getattr(entries[place], field)
    entries[place] = entries[place]._replace(**{field: value + more})
    if not more:
        assert audit_chain.verify(entries)
        return
    with pytest.raises(ChainBroken, match=f"entry {place + 1} ") as broken:
        audit_chain.verify(entries)
    assert broken.value.seq == place + 1


@pytest.mark.parametrize("place", range(4))
def test_an_entry_that_is_gone_is_missed(place: int) -> None:
    entries = chain(5)
    del entries[place]
    with pytest.raises(ChainBroken, match=f"entry {place + 1} is missing, entry {place + 2} stands in its place"):
        audit_chain.verify(entries)


def test_entries_in_another_order_or_twice_break_the_chain() -> None:
    entries = chain(4)
    with pytest.raises(ChainBroken, match="entry 2 is missing"):
        audit_chain.verify([entries[0], entries[2], entries[1], entries[3]])
    with pytest.raises(ChainBroken, match="entry 3 is missing, 2 comes again"):
        audit_chain.verify([entries[0], entries[1], entries[1]])


def test_an_entry_written_anew_with_a_good_hash_does_not_fit_what_follows() -> None:
    entries = chain(4)
    forged = audit_chain.next_entry(ChainPosition(1, entries[0].hash), 0.0, "nobody", "group.set", "g1", {}, make_key)
    with pytest.raises(ChainBroken, match="entry 3 does not follow the one before it"):
        audit_chain.verify([entries[0], forged, *entries[2:]])


@given(
    st.dictionaries(st.text(max_size=3), st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists)),
    st.text(max_size=5),
)
def test_what_is_shown_reads_back_as_the_same_entry(detail: dict[str, Any], subject: str) -> None:
    entry = audit_chain.next_entry(BEGINNING, 1.5, "ops", "x", subject, detail, make_key)
    shown = json.loads(json.dumps(audit_chain.entry_to_json(entry)))
    assert audit_chain.entry_from_json(shown) == entry
    assert audit_chain.verify([audit_chain.entry_from_json(shown)])


def test_no_entry_is_longer_than_a_page() -> None:
    entry = audit_chain.next_entry(
        BEGINNING, 0.0, "o" * 1000, "x", "s" * 1000, {"accounts": ["ann"] * 10_000}, make_key
    )
    assert (len(entry.actor), len(entry.subject)) == (audit_chain.MAX_SUBJECT, audit_chain.MAX_SUBJECT)
    detail = json.loads(entry.detail)
    whole = audit_chain.canonical_json({"accounts": ["ann"] * 10_000})
    assert detail == {"length": len(whole), "sha256": hashlib.sha256(whole.encode()).hexdigest()}
    assert audit_chain.verify([entry])


def test_lone_surrogates_do_not_get_in() -> None:
    entry = audit_chain.next_entry(BEGINNING, 0.0, "\udcff", "x", "a\ud800", {"\ud800": "\udfff"}, make_key)
    assert (entry.actor, entry.subject, entry.detail) == ("?", "a?", '{"?":"?"}')
    assert audit_chain.verify([entry])


def test_times_are_in_order_as_texts() -> None:
    walls = [0.0, 0.001, 1.0, 1e9, 1_700_000_000.25, 4e9]
    assert sorted(map(audit_chain.timestamp, walls)) == [*map(audit_chain.timestamp, walls)]
    assert audit_chain.timestamp(1_700_000_000.25) == "2023-11-14T22:13:20.250Z"
