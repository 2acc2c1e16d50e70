"""Issuers of tokens in the configuration: what is wrong is said, each with the place of its table."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from config import token_keys
from config.environment import variable_of
from config.faults import ConfigError
from config.loader import load
from config.whole_files import LONGEST
from tests.web_tokens import by_curve, by_rsa, by_secret, key_set, pem_of

RSA, CURVE = by_rsa("r"), by_curve("e")
URL = "https://id.example.org/keys"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files of keys by what is in them."""
    contents = {
        "secret": b"0123456789abcdef0123456789abcdef\n",
        "short": b"0123456789\n",
        "pem": pem_of(RSA.jwk),
        "rsa": key_set(RSA),
        "secrets": key_set(by_secret(bytes(32), "a"), by_secret(bytes(33), "b")),
        "none": json.dumps({"keys": []}).encode(),
        "encrypting": json.dumps({"keys": [RSA.jwk | {"use": "enc"}]}).encode(),
        "garbage": b"{",
        "large": b" " * (LONGEST + 1),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents} | {"missing": str(tmp_path / "missing")}


def faults(*tables: dict[str, Any], mode: str = "jwt") -> list[str]:
    """What is wrong with issuers, of which each has a name and an audience unless it says so."""
    written = [{"issuer": f"i{place}", "audience": ["a"]} | table for place, table in enumerate(tables)]
    value = "[" + ", ".join(_table(each) for each in written) + "]"
    try:
        load(None, [f"accounts.mode={mode}"], {variable_of("accounts.jwt"): value})
    except ConfigError as error:
        return [fault.reason for fault in error.faults]
    return []


def _table(table: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items()) + "}"


def test_keys_come_from_a_secret_a_file_or_a_url(files: dict[str, str]) -> None:
    assert (
        faults(
            {"algorithms": ["HS256"], "secret_file": files["secret"]},
            {"algorithms": ["HS256"], "jwks_file": files["secrets"]},
            {"algorithms": ["RS256"], "jwks_file": files["rsa"]},
            {"algorithms": ["RS256", "ES256"], "jwks_url": URL},
            {"algorithms": ["ES256"], "jwks_url": "http://localhost:8080/keys"},
        )
        == []
    )


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            {"algorithms": [], "jwks_url": ""},
            ["algorithms is missing", "keys come from one of secret_file, jwks_file and jwks_url, found none"],
        ),
        ({"issuer": "", "audience": [""]}, ["issuer is missing", "audience: one of them is empty"]),
        ({"audience": [], "account_claim": ""}, ["audience is missing", "account_claim is missing"]),
        ({"algorithms": ["HS256"]}, ["algorithms: HS256 needs a secret, and what is fetched from a URL is none"]),
        (
            {"jwks_url": "http://localhost/keys", "jwks_ca": __file__},
            ["jwks_ca has no effect without jwks_url of https", f'"{__file__}" is no certificate authority in PEM'],
        ),
    ],
)
def test_what_an_issuer_must_say(table: dict[str, Any], expected: list[str]) -> None:
    assert faults({"algorithms": ["RS256"], "jwks_url": URL} | table) == [f"item 1: {each}" for each in expected]


@pytest.mark.parametrize(
    ("algorithm", "key", "file", "expected"),
    [
        ("RS256", "secret_file", "secret", "item 1: algorithms: a secret verifies HS256 only"),
        ("HS256", "secret_file", "short", "a secret has at least 32 bytes"),
        ("HS256", "secret_file", "pem", "it holds a key, and no secret"),
        ("HS256", "secret_file", "rsa", "it holds a key, and no secret"),
        ("HS256", "jwks_file", "rsa", "has no key for HS256"),
        ("RS256", "jwks_file", "secrets", "has no key for RS256"),
        ("RS256", "jwks_file", "none", "has no key for RS256"),
        ("RS256", "jwks_file", "encrypting", "has no key for RS256 (key 1: it is not for signatures (use))"),
        ("RS256", "jwks_file", "garbage", "it is not JSON in UTF-8"),
        ("RS256", "jwks_file", "large", "cannot be read: it is longer than 1,048,576 bytes"),
        ("RS256", "jwks_file", "missing", "cannot be read: No such file or directory"),
    ],
)
def test_a_file_without_a_key_for_its_algorithm_is_a_fault(
    files: dict[str, str], algorithm: str, key: str, file: str, expected: str
) -> None:
    found = faults({"algorithms": [algorithm], key: files[file]})
    assert expected in found[0]
    assert all("0123456789" not in each for each in found)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("algorithms", ["none"]),
        ("algorithms", ["RS512"]),
        ("jwks_url", "http://id.example.org/keys"),
        ("jwks_url", "ftp://localhost/keys"),
        ("jwks_url", "https://user@id.example.org/keys"),
        ("jwks_url", "keys"),
        ("leeway", "1h"),
        ("leeway", 30),
        ("jwks_refresh", "500ms"),
        ("jwks_pause", "0s"),
        ("jwks_timeout", "1h"),
        ("jwks_limit", 100),
        ("token_limit", 5000),
        ("algorithm", "RS256"),
    ],
)
def test_a_value_of_another_kind_is_a_fault(field: str, value: object) -> None:
    (found,) = faults({"algorithms": ["RS256"], "jwks_url": URL} | {field: value})
    assert found.startswith(f"item 1: {field}:")


def test_two_issuers_of_one_name_are_a_fault() -> None:
    table = {"issuer": "i", "algorithms": ["RS256"], "jwks_url": URL}
    assert faults(table, table) == ['item 2: issuer "i" is that of item 1']


def test_issuers_and_the_mode_belong_together() -> None:
    assert faults() == ['is missing, needed with accounts.mode = "jwt"']
    table = {"algorithms": ["RS256"], "jwks_url": URL}
    assert faults(table, mode="token") == ['has no effect without accounts.mode = "jwt"']


@pytest.mark.parametrize("missing", ["jwt", "cryptography"])
def test_an_algorithm_whose_library_is_missing_is_a_fault_and_a_secret_needs_none(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    found = util.find_spec
    monkeypatch.setattr(token_keys, "find_spec", lambda name: None if name == missing else found(name))
    assert faults({"algorithms": ["HS256"], "secret_file": files["secret"]}) == []
    assert faults({"algorithms": ["RS256"], "jwks_url": URL}) == [
        "item 1: RS256 needs PyJWT[crypto], which is not installed: pip install 'tallygate[jwt]'"
    ]


def test_doors_may_be_open_to_others_where_tokens_prove_accounts(files: dict[str, str]) -> None:
    table = _table({"issuer": "i", "audience": ["a"], "algorithms": ["HS256"], "secret_file": files["secret"]})
    load(None, ["accounts.mode=jwt", f"accounts.jwt=[{table}]", "listen.host=0.0.0.0"])
