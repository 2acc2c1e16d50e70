"""Which texts are names, how they are kept, and when two of them are the same."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.names import (
    LONGEST_NAME,
    folded,
    is_account,
    is_name,
    join_names,
    normalized,
    split_names,
)

NAMES = [
    "a",
    "o'brien@ex.ie",
    "jörg@ex.de",
    "a&b@x.de",
    "DOMAIN\\user",
    "Ann Müller",
    '"quoted"@ex.org',
    "50%",
    "a/b",
    "<b>",
    "...",
    "#!$&'*+/=?^_`{|}~@ex.org",
    "Анна",
    "安娜",
    "안나",
    "אנה",
    "آنا",
    "अन्ना",
    "😀",
    "x" * 128,
    "😀" * 128,
    "o\u0308" * 128,
]
"""Names as people write them; the last has 128 characters when it is normalized."""

NO_NAMES = [
    "",
    ".",
    "..",
    " a",
    "a ",
    "x" * 129,
    "o\u0308" * 129,
    "a\n",
    "a\0b",
    "a\x7fb",
    "a\x85b",
    "a\u00a0b",  # another space, which looks like the usual one
    "a\u3000b",
    "a\u2028b",
    "a\u2029b",
    "a\u00adb",  # soft hyphen
    "a\u200bb",  # zero-width space
    "a\u200db",  # joiner
    "a\ufeffb",
    "a\u202eb",  # right-to-left override
    "a\u2066b",
    "a\u061cb",
    "a\ufe0fb",  # variation selector
    "a\u034fb",
    "a\u115fb",
    "a\u3164b",
    "a\U000e0041b",  # tag
    "a\U000e0100b",
    "a\ud800b",  # surrogate
    "a\ue000b",  # private use
    "a\U0010ffffb",  # no character
    "a\u0378b",  # unassigned
    "a\U00011f04b",  # assigned in Unicode 15.0
    "a\U0002ebf0b",  # 15.1
    "a\U0001cc00b",  # 16.0
    "a\u208fb",  # 17.0 or later
]

characters = st.characters(min_codepoint=0x20)
odd = st.sampled_from("aAßİ\u0131\u017fΣς\u0345\u0301\u0308ﬃ/% ")
texts = st.text(st.one_of(characters, odd), min_size=1, max_size=20)


@pytest.mark.parametrize("text", NAMES)
def test_names_are_what_people_write(text: str) -> None:
    assert is_name(text)
    assert is_account(text)
    assert len(normalized(text).encode()) <= 512


@pytest.mark.parametrize("text", [*NO_NAMES, 1, None, True, [], {}])
def test_what_is_not_seen_or_no_character_everywhere_is_in_no_name(text: object) -> None:
    assert not is_name(text)
    assert not is_account(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("O'Brien@EX.ie", "o'brien@ex.ie"),
        ("J\u00f6rg M\u00fcller", "jo\u0308rg mu\u0308ller"),
        ("STRASSE", "straße"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("İ", "i\u0307"),
        ("\u212b", "å"),  # the sign of the ångström
        ("\u1fb7", "\u1fb6\u0399"),
    ],
)
def test_accounts_are_compared_without_case_and_in_one_normal_form(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("a", "\u0430"), ("\u0131", "i"), ("o", "0"), ("\uff46", "f")])
def test_names_that_only_look_alike_are_different(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_a_name_that_is_too_long_when_it_is_folded_is_no_account() -> None:
    assert is_name("ß" * 65)
    assert not is_account("ß" * 65)
    assert is_account("ß" * 64)


@given(texts)
def test_what_is_kept_is_a_name_and_kept_as_it_is(text: str) -> None:
    if is_name(text):
        kept = normalized(text)
        assert is_name(kept)
        assert normalized(kept) == kept == unicodedata.normalize("NFC", text)
    if is_account(text):
        kept = folded(text)
        assert is_account(kept)
        assert folded(kept) == normalized(kept) == kept
        assert folded(normalized(text)) == kept


@given(st.text(st.characters(max_codepoint=0x7F), max_size=LONGEST_NAME + 2))
def test_the_short_way_of_plain_names_says_what_the_long_one_says(text: str) -> None:
    expected = text.isprintable() and text.strip() == text and 0 < len(text) <= LONGEST_NAME and text not in {".", ".."}
    assert is_name(text) is is_account(text) is expected
    assert folded(text) == text.casefold()


def test_every_python_decides_the_same_about_every_character() -> None:
    """The digest is the same on every Python; one that knows a later Unicode needs `UNICODE_LATER` to know it too."""
    known = hashlib.sha256()
    accepted = [chr(code) for code in range(0x110000) if is_name(chr(code))]
    for character in accepted:
        known.update(f"{character}{normalized(character)}{folded(character)};".encode())
    assert len(accepted) == 144_247
    assert known.hexdigest() == "f2732e331091dd91411c2f332c418e03ee380c20612d7ea9e59cf5889b0f0b2c"


@given(st.lists(texts, min_size=1, max_size=3))
def test_names_that_are_joined_are_told_apart_again(names: list[str]) -> None:
    assert list(split_names(join_names(*names))) == names


@pytest.mark.parametrize("text", ["50%", "a%zz", "%", "a%2"])
def test_a_percent_sign_that_stands_for_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="%25"):
        split_names(text)
