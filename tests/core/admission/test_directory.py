"""Accounts, groups, bans and operators."""

from __future__ import annotations

import json

import pytest

from gateway.core.admission.directory import Directory, Group, Token, digest


def test_a_token_proves_the_account_it_was_made_for_and_no_other() -> None:
    directory = Directory()
    directory.accounts = {"ann": (), "bob": ()}
    directory.add_account_token("ann", digest("secret"), 0.0)
    assert directory.proves_account("ann", "secret")
    assert not directory.proves_account("bob", "secret")
    assert not directory.proves_account("nobody", "secret")


@pytest.mark.parametrize("token", [None, "", "Secret", "secret ", "\N{SNOWMAN}"])
def test_any_other_token_proves_nothing(token: str | None) -> None:
    directory = Directory()
    directory.accounts = {"ann": ()}
    assert not directory.proves_account("ann", token)
    directory.add_account_token("ann", digest("secret"), 0.0)
    assert not directory.proves_account("ann", token)


def test_a_new_token_leaves_the_old_ones_good() -> None:
    directory = Directory()
    directory.accounts = {"ann": ()}
    directory.add_account_token("ann", digest("old"), 0.0)
    directory.add_account_token("ann", digest("new"), 0.0)
    assert directory.proves_account("ann", "old")
    assert directory.proves_account("ann", "new")


def test_secrets_are_not_kept() -> None:
    directory = Directory()
    directory.accounts = {"ann": ()}
    directory.add_account_token("ann", digest("secret"), 0.0)
    assert "secret" not in repr(directory.accounts)


@pytest.mark.parametrize("token", [Token(digest("secret"), 5.0), Token(digest("other"), 7.5, "admin")])
def test_a_token_survives_being_written_down(token: Token) -> None:
    plain = json.loads(json.dumps(token.to_json()))
    assert Token.from_json(plain) == token
    assert Token.from_json(plain).fingerprint == token.digest.hex()[:12]


def test_permanent_accounts_come_in_order_of_group_then_name_each_once() -> None:
    directory = Directory()
    directory.groups = {
        "west": Group(("zoe", "ann", "bob"), permanent=True),
        "east": Group(("cid", "bob"), permanent=True),
        "all": Group(("dan", "ann"), permanent=False),
    }
    assert directory.permanent_accounts() == ["bob", "cid", "ann", "zoe"]


def test_a_token_is_taken_from_an_account_by_its_fingerprint() -> None:
    directory = Directory()
    directory.accounts = {"ann": ()}
    old = directory.add_account_token("ann", digest("old"), 1.0)
    new = directory.add_account_token("ann", digest("new"), 2.0)
    assert old.fingerprint != new.fingerprint
    assert directory.remove_account_token("ann", old.fingerprint)
    assert not directory.remove_account_token("ann", old.fingerprint)
    assert not directory.proves_account("ann", "old")
    assert directory.proves_account("ann", "new")


def test_an_operator_is_known_by_any_of_its_tokens_each_with_its_scope() -> None:
    directory = Directory()
    directory.add_operator_token("ops", "read", digest("first"), 1.0)
    second = directory.add_operator_token("ops", "admin", digest("second"), 2.0)
    directory.add_operator_token("prometheus", "read", digest("third"), 3.0)
    assert directory.operator_of_secret("first") == ("ops", "read")
    assert directory.operator_of_secret("second") == ("ops", "admin")
    assert directory.operator_of_secret("third") == ("prometheus", "read")
    assert (
        directory.operator_of_secret("fourth")
        is directory.operator_of_secret("")
        is directory.operator_of_secret("\udcff")
        is None
    )
    assert directory.remove_operator_tokens("ops", second.fingerprint) == 1
    assert directory.operator_of_secret("second") is None
    assert directory.remove_operator_tokens("ops", second.fingerprint) == 0
    assert directory.remove_operator_tokens("ops") == 1
    assert directory.remove_operator_tokens("ops") == 0
    assert set(directory.operators) == {"prometheus"}


def test_a_priority_is_the_highest_of_the_groups_of_an_account_and_of_those_that_are_named() -> None:
    directory = Directory()
    directory.groups = {"low": Group(("ann",), False, 1), "high": Group((), False, 3), "none": Group((), False)}
    priorities = directory.priorities()
    assert priorities.of("ann", ()) == 1
    assert priorities.of("ann", ("high", "none", "unknown")) == 3
    assert priorities.of("bob", ("none",)) == 0
    assert directory.priorities() is priorities
    directory.groups["high"] = Group((), False, 4)
    assert directory.priorities().of("bob", ("high",)) == 4


def test_a_group_with_another_name_has_the_priority_of_the_one_in_whose_place_it_is() -> None:
    directory = Directory()
    directory.groups = {"before": Group(("ann",), False, 2)}
    assert directory.priorities().of("bob", ("before",)) == 2
    directory.groups = {"after": Group(("ann",), False, 2)}
    assert (directory.priorities().of("bob", ("before",)), directory.priorities().of("bob", ("after",))) == (0, 2)
