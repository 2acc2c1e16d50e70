"""The names of people and of what they meet in: which texts are names, and when two of them are the same.

Vendors know a user by an e-mail address or a logon name, so a name has whatever people write: `o'brien@ex.ie`,
`jörg@ex.de`, `DOMAIN\\user`. It is kept in the Unicode normalization form C; accounts and homes are also folded (the
canonical caseless match of the Unicode Standard, 3.13), so that case does not tell them apart. Characters that look
alike are still different ones.

Which characters a name may have is decided by Unicode 14.0, that of the oldest Python there is to run on: normalization
and folding of what is assigned never change, so that every Python decides the same about every name. Pure.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 128
"""Characters of a name, normalized and folded; in UTF-8 they are at most 512 bytes."""
NAME_FORM = "1-128 printable characters, no space at the ends, not . or .."
"""What a name looks like, for a person."""

UNICODE_LATER = (
    "0558 058B-058C 05C8-05C9 088F 0897 0B53-0B54 0C5C 0CDC 0CF3 0ECE 1ACF-1AF0 1B4E-1B4F 1B7F 1C89-1C8A 208F "
    "209D-209F 20C1-20C4 2427-2429 2B96 2E60-2E63 2FFC-2FFF 31E4-31EF A7CB-A7CF A7D2 A7D4 A7DA-A7F1 AB6C-AB6D "
    "FBC3-FBD2 FD90-FD91 FDC8-FDCE 105C0-105F3 107BB-107BF 10940-10959 10D40-10D8F 10EC2-10EFF 1123F-11241 "
    "11380-113E2 116D0-116E3 11B00-11BF9 11DB0-11DF1 11F00-11F5A 1246F 12475-1247F 12550-12686 1342F 13439-143FA "
    "16100-16139 16D40-16D79 16EA0-16ED3 16FF2-16FF6 187F8-187FF 18CD6-18CFF 18D09-191D2 1B123-1B132 1B155 1B168 "
    "1CC00-1CEFD 1D127-1D128 1D1EB-1D1FF 1D250-1D2D3 1D6A6 1DB00-1DB1C 1DF1F-1DFFF 1E030-1E08F 1E4D0-1E6FF 1F1AE "
    "1F6D8-1F6DC 1F774-1F77F 1F7D9-1F7DB 1F7F1-1F7FF 1F8B2-1F8D8 1FA54-1FA57 1FA75-1FA77 1FA87-1FA8F 1FAAD-1FAAF "
    "1FABB-1FABF 1FAC6-1FACF 1FADA-1FADF 1FAE8-1FAEF 1FAF7-1FAFA 1FBCB-1FBEF 1FBFA 2B739-2B73F 2B81E 2CEA2-2CEAD "
    "2EBF0-2EE5D 31350-3FC3F"
)
"""Code points that have become characters since Unicode 14.0, up to 18.0, with unassigned ones between them."""
IGNORABLE = "034F 115F-1160 17B4-17B5 180B-180D 180F 3164 FE00-FE0F FFA0 E0100-E01EF"
"""Printable characters that are not seen: fillers, joiners and variation selectors (Default_Ignorable_Code_Point)."""


def _characters(ranges: str) -> str:
    """Return the members of a character class, of code points in hex."""
    pairs = (each.partition("-") for each in ranges.split())
    return "".join(f"{chr(int(first, 16))}-{chr(int(last or first, 16))}" for first, _, last in pairs)


_ascii_name = re.compile(r"(?!\.{1,2}$)[!-~](?:[ -~]{0,126}[!-~])?").fullmatch
_refused = re.compile(f"[{_characters(UNICODE_LATER)}{_characters(IGNORABLE)}]").search


def is_name(text: object) -> bool:
    """Return whether `text` may name a device, a conference, a group, an operator or a license (`NAME_FORM`).

    Printable is what is seen, in any script, and the space: no control, format (bidirectional controls, zero-width
    joiners), private-use or unassigned character, no surrogate, no other space, no separator of lines.
    """
    if not isinstance(text, str):
        return False
    if text.isascii():
        return _ascii_name(text) is not None
    return (
        text.isprintable()
        and _refused(text) is None
        and text[0] != " " != text[-1]
        and len(normalized(text)) <= LONGEST_NAME
    )


def is_account(text: object) -> bool:
    """Return whether `text` may name an account or a home: a name, also when it is folded."""
    return isinstance(text, str) and is_name(text) and (text.isascii() or len(folded(text)) <= LONGEST_NAME)


def normalized(name: str) -> str:
    """Return a name as it is kept (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name without the difference of case, as accounts and homes are kept."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


# -- joined for people -------------------------------------------------------------------------------------------------


def join_names(*names: str) -> str:
    """Return names as one text, with `/` between them; a `/` or `%` within a name is percent-encoded, as in a path."""
    return "/".join(name.replace("%", "%25").replace("/", "%2F") for name in names)


def split_names(text: str) -> tuple[str, ...]:
    """Return the names that `join_names` joined.

    Raises `ValueError` where a `%` stands for neither.
    """
    if re.search("%(?!25|2[Ff])", text):
        raise ValueError("within a name, / is written %2F, and % is %25")
    parts = [re.sub("%2[Ff]", "/", part) for part in text.split("/")]
    return tuple(part.replace("%25", "%") for part in parts)
