"""Values: what TOML gives, what `--set` gives, and the way back."""

from __future__ import annotations

import tomllib
from typing import Any, Literal

import pytest

from config.reading import nearest, parse, read, write
from config.values import Endpoint, Fingerprint, Home, HomeOrNone, Host, KindError, Network, Origin, Path
from gateway.core.setting_kinds import Count, Positive, PositiveSeconds, Seconds

Shadow = Literal["all"] | tuple[Literal["epop", "floating"], ...]
Packs = tuple[Literal[50, 100], ...]


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        (bool, True, True),
        (str, "", ""),
        (Count, 0, 0),
        (Positive | None, 7, 7),
        (Seconds, "0s", 0.0),
        (Seconds, "300ms", 0.3),
        (Seconds, "1.5s", 1.5),
        (Seconds, "5m", 300.0),
        (Seconds, "24h", 86_400.0),
        (Seconds, "400d", 34_560_000.0),
        (Shadow, "all", "all"),
        (Shadow, [], ()),
        (Shadow, ["floating"], ("floating",)),
        (Packs, [50, 50, 100], (50, 50, 100)),
        (Host, "::1", "::1"),
        (Host, "Gateway.example.org", "gateway.example.org"),
        (Network, "10.0.0.0/8", "10.0.0.0/8"),
        (Network, "192.0.2.1", "192.0.2.1/32"),
        (Origin, "https://Example.org:8443", "https://example.org:8443"),
        (Origin, "*", "*"),
        (Origin, "null", "null"),
        (Origin, "capacitor://localhost", "capacitor://localhost"),
        (Origin, "tauri://localhost", "tauri://localhost"),
        (Origin, "app://.", "app://."),
        (Origin, "Chrome-Extension://ABCDEF", "chrome-extension://abcdef"),
        (Origin, "moz-extension://0f-1e", "moz-extension://0f-1e"),
        (Origin, "file://", "file://"),
        (Origin, "https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        (Home, "Example.ORG", "example.org"),
        (HomeOrNone, "", ""),
        (Endpoint, "", ""),
        (Endpoint, "[::1]:4310", "[::1]:4310"),
        (Fingerprint, "AB:" * 31 + "AB", "ab" * 32),
        (Path, "tallygate.db", "tallygate.db"),
    ],
)
def test_a_good_value_is_kept_in_its_canonical_form(kind: Any, given: object, kept: object) -> None:
    value = read(kind, given)
    assert (value, type(value)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("kind", "given", "reason", "meant"),
    [
        (bool, "true", 'expected true or false, found the string "true"', None),
        (str, 5, "expected a string, found the integer 5", None),
        (str, "a\x1b[2J", r'"a\u001b[2J" has a character that cannot be printed', None),
        (str, "\udc80", r'"\udc80" has a character that cannot be printed', None),
        (Count, True, "expected an integer, found true", None),
        (Count, 1.0, "expected an integer, found the number 1.0", None),
        (Count, [1], "expected an integer, found a list", None),
        (Count, -1, "must be at least 0, is -1", None),
        (Count, 10**9 + 1, "must be at most 1000000000, is 1000000001", None),
        (Count, 10**18 - 1, f"must be at most 1000000000, is {10**18 - 1}", None),
        (Count, 10**18, "must be at most 1000000000, is an integer of more than 18 digits", None),
        (Count, 10**4000, "must be at most 1000000000, is an integer of more than 18 digits", None),
        (Positive | None, {}, "expected an integer, found a section", None),
        (PositiveSeconds, "0s", 'must be at least "1ms", is "0s"', None),
        (Seconds, "36501d", 'must be at most "36500d", is "36501d"', None),
        (
            Seconds,
            75,
            'expected a duration such as "300ms", "30s", "5m", "24h" or "400d", found the integer 75',
            "75s",
        ),
        (
            Seconds,
            "1.5",
            'expected a duration such as "300ms", "30s", "5m", "24h" or "400d", found the string "1.5"',
            "1.5s",
        ),
        (
            Seconds,
            "-1s",
            'expected a duration such as "300ms", "30s", "5m", "24h" or "400d", found the string "-1s"',
            None,
        ),
        (
            Seconds,
            "\u0661s",
            'expected a duration such as "300ms", "30s", "5m", "24h" or "400d", found the string "\u0661s"',
            None,
        ),
        (Literal["open", "token"], "tokn", 'expected one of "open", "token", found the string "tokn"', "token"),
        (Shadow, "epop", 'expected "all" or a list, found the string "epop"', None),
        (Shadow, True, 'expected "all" or a list, found true', None),
        (Shadow, ["epob"], 'item 1: expected one of "epop", "floating", found the string "epob"', "epop"),
        (Packs, [True], "item 1: expected one of 50, 100, found true", None),
        (Packs, 50, "expected a list, found the integer 50", None),
        (Host, "", 'expected an address or a host name, found the string ""', None),
        (Host, "127.0.0.256", 'expected an address or a host name, found the string "127.0.0.256"', None),
        (Host, "[::1]", 'expected an address or a host name, found the string "[::1]"', None),
        (Network, "10.0.0.1/8", '"10.0.0.1/8" has bits set to the right of its prefix', "10.0.0.0/8"),
        (Network, "proxy", 'expected a network such as "10.0.0.0/8", found the string "proxy"', None),
        (
            Origin,
            "https://Example.org/",
            '"https://Example.org/" has a path, an origin has none',
            "https://example.org",
        ),
        (Origin, "file:///C:/page", '"file:///C:/page" has a path, an origin has none', "file://"),
        (Origin, "http://", 'expected an origin such as "https://example.org", found the string "http://"', None),
        (
            Origin,
            "wss://example.org",
            '"wss://example.org" is a WebSocket\'s address, not the origin of a page',
            "https://example.org",
        ),
        (
            Origin,
            "https://Bücher.example:8443",
            '"https://Bücher.example:8443" is not what browsers send: they write the host in ASCII',
            "https://xn--bcher-kva.example:8443",
        ),
        (
            Origin,
            "https://ü..example",
            '"https://ü..example" is not what browsers send: they write the host in ASCII',
            None,
        ),
        (
            Origin,
            "https://ann@example.org",
            'expected an origin such as "https://example.org", found the string "https://ann@example.org"',
            None,
        ),
        (
            Origin,
            "example.org",
            'expected an origin such as "https://example.org", found the string "example.org"',
            None,
        ),
        (
            Home,
            "..",
            'expected 1-128 printable characters, no space at the ends, not . or .., found the string ".."',
            None,
        ),
        (Endpoint, "example.org", 'expected "host:port", found the string "example.org"', None),
        (Endpoint, "example.org:0", 'expected "host:port", found the string "example.org:0"', None),
        (Fingerprint, "ab", 'expected 64 hex digits, found the string "ab"', None),
        (Path, "", 'expected a path, found the string ""', None),
    ],
)
def test_a_bad_value_is_refused_with_its_reason(kind: Any, given: object, reason: str, meant: str | None) -> None:
    with pytest.raises(KindError) as caught:
        read(kind, given)
    assert caught.value.flaws == ((reason, meant),)


def test_a_list_names_each_of_its_bad_items() -> None:
    with pytest.raises(KindError, match=r"^item 1: .*; item 3: "):
        read(Packs, [51, 50, "x"])


def test_a_long_text_is_cut_in_a_fault() -> None:
    with pytest.raises(KindError) as caught:
        read(Count, "x" * 5000)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (bool, "true", True),
        (bool, "yes", "yes"),
        (Count, "12", 12),
        (Count, "twelve", "twelve"),
        (Positive | None, "12", 12),
        (Seconds, "2s", "2s"),
        (Seconds, '"2s"', "2s"),
        (Seconds, "2", "2"),
        (str, "bare words", "bare words"),
        (str, "'12'", "12"),
        (str, "12", "12"),
        (Shadow, "all", "all"),
        (Shadow, '"all"', "all"),
        (Shadow, "epop", ["epop"]),
        (Shadow, "epop, floating", ["epop", "floating"]),
        (Shadow, '["epop", "floating",]', ["epop", "floating"]),
        (Shadow, '["a, b", "c"]', ["a, b", "c"]),
        (Shadow, "['a', {b = [1, 2]}]", ["a", {"b": [1, 2]}]),
        (Shadow, '["a, b]', ['"a', "b"]),
        (Shadow, "[]", []),
        (Shadow, "", []),
        (Packs, "[50, 100]", [50, 100]),
        (Packs, "50", [50]),
    ],
)
def test_the_text_of_an_override_is_taken_by_the_kind_of_its_key(kind: Any, text: str, value: object) -> None:
    taken = parse(kind, text)
    assert (taken, type(taken)) == (value, type(value))


@pytest.mark.parametrize("value", [True, 5, 'a"b\\c é', ("x", "y"), (50, 100), ()])
def test_what_is_written_is_toml_of_the_same_value(value: object) -> None:
    back = tomllib.loads(f"value = {write(value)}")["value"]
    assert (tuple(back) if isinstance(back, list) else back) == value


def test_the_nearest_name_is_one_that_is_like_it() -> None:
    assert nearest("intervall", ["interval", "timeout"]) == "interval"
    assert nearest("qqq", ["interval", "timeout"]) is None
