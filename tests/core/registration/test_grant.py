"""What a license grants by its terms."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.registration.grant import Grant, LicensableModel, granted
from gateway.core.registration.messages import read
from gateway.core.wire.messages import RequestFault
from gateway.licensing import OFFERS
from tests.core.registration.sample_messages import TERMS


def grant_of(**terms: Any) -> Grant:
    return granted(read({"model": "trueconf", **terms}, "terms"), OFFERS)


def test_a_grant_has_what_its_terms_say() -> None:
    assert granted(read(TERMS, "terms"), OFFERS) == Grant(
        "trueconf",
        "free",
        {"pro": 10, "guest": 1},
        ("sdk",),
        True,
        datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp(),
    )


def test_terms_that_are_not_given_have_the_models_defaults() -> None:
    assert grant_of() == Grant("trueconf", "server", {}, (), False, None)
    assert granted(read({"model": "floating"}, "terms"), OFFERS) == Grant("floating", "", {}, (), False, None)


@pytest.mark.parametrize(("edition", "needs"), [("free", True), ("server", False), ("enterprise", False)])
def test_only_the_free_edition_needs_the_connection_unless_it_is_said(edition: str, needs: bool) -> None:
    assert grant_of(edition=edition).needs_connection is needs
    assert grant_of(edition=edition, needs_connection=not needs).needs_connection is not needs


@pytest.mark.parametrize(
    ("terms", "detail"),
    [
        ({"model": "nonesuch"}, "model: expected one of epop, "),
        ({"limits": {"seats": 1}}, "limits: trueconf has no pool seats; expected online, pro, guest, gateway"),
        ({"model": "floating", "limits": {"pro": 1}}, "limits: floating has no pool pro; expected seats"),
        ({"edition": "gold"}, "edition: trueconf has server, free, enterprise"),
    ],
)
def test_what_the_model_does_not_have_makes_the_terms_invalid(terms: dict[str, Any], detail: str) -> None:
    with pytest.raises(RequestFault) as fault:
        grant_of(**terms)
    assert fault.value.code == "bad_field"
    assert fault.value.detail.startswith(detail)


def test_extensions_are_named_once() -> None:
    assert grant_of(extensions=["sdk", "dlp", "sdk"]).extensions == ("sdk", "dlp")


@given(
    model=st.sampled_from(sorted(OFFERS)),
    extensions=st.lists(st.sampled_from(["sdk", "dlp", "ai"]), unique=True),
    needs=st.booleans(),
    end=st.none() | st.integers(0, 253_402_300_799),
    data=st.data(),
)
def test_the_document_of_a_grant_grants_the_same(
    model: str, extensions: list[str], needs: bool, end: int | None, data: st.DataObject
) -> None:
    pools, editions, *_ = OFFERS[model]
    limits = data.draw(st.dictionaries(st.sampled_from(pools), st.integers(0, 10**9)))
    edition = data.draw(st.sampled_from(editions or ("",)))
    grant = Grant(model, edition, limits, tuple(extensions), needs, end)
    told = json.loads(json.dumps(grant.to_json()))
    assert granted(read(told, "terms"), OFFERS) == grant


def test_a_license_of_a_model_that_is_not_offered_here_is_invalid() -> None:
    with pytest.raises(RequestFault, match="model: expected one of floating"):
        granted(read(TERMS, "terms"), {"floating": LicensableModel(("seats",))})
