"""One person: all that is known of it, and that nothing is left once it is erased."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.reporting import audit_chain
from gateway.edge.storage import store as store_module
from gateway.edge.storage.node_file import read
from tests.conftest import House, Serve, until
from tests.edge.api.test_reports import Hands, items, look

NAME = "QQAnn@Example.ORG"
PATH = "/api/persons/qqANN%40example.org"
TRACE = b"qqann"
"""What stands in every name of the person, of its account and of its device, in some case."""


async def lived(serve: Serve, path: Path, model: str, **more: Any) -> tuple[House, Hands]:
    """A house in which a person did all that leaves a trace, and left."""
    hands = Hands()
    house = await serve(clock=hands.clock(), store__path=path, license__model=model, license__epop__users=1, **more)
    await house.http("PUT", f"/api/accounts/{NAME}")
    await house.http("POST", f"/api/accounts/{NAME}/token")
    await house.http("PUT", "/api/groups/board", json={"accounts": ["bob", NAME]})
    await house.http("DELETE", f"/api/accounts/{NAME}/token/0123")
    await house.http("PUT", f"/api/hosts/{NAME}")
    await house.http("DELETE", f"/api/hosts/{NAME}")
    bob = await house.welcomed(account="bob")
    await bob.ask("join", conference="c")
    ann = await house.welcomed(account=NAME, device="QQAnn-Phone")
    await ann.ask("join", conference="c")
    hands.move(30)
    await house.http("DELETE", f"/api/accounts/{NAME}/connections")
    if model == "trueconf":
        assert (await house.http("DELETE", f"/api/pro/{NAME}"))[0] == 204
    hands.move(120)
    await look(house)
    await items(house, "/api/usage")
    await until(lambda: not house.runtime.persistence.store.pending)
    return house, hands


def bytes_of(path: Path) -> bytes:
    """Whatever can be read of a store on the disk."""
    files = [path, path.with_name(f"{path.name}-wal")]
    return b"".join(each.read_bytes() for each in files if each.exists()).lower()


async def backup(house: House) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(house.url + "/api/backup") as copy:
        return (await copy.read()).lower()


async def verified(house: House) -> list[dict[str, Any]]:
    """The audit log as it is shown; its chain holds."""
    await house.runtime.persistence.audit_log.write()
    shown = await items(house, "/api/audit?limit=1000")
    assert audit_chain.verify(map(audit_chain.entry_from_json, shown)).seq == len(shown)
    return shown


@pytest.mark.parametrize("model", ["epop", "trueconf"])
@pytest.mark.parametrize("names", ["names", "pseudonyms"])
async def test_of_who_was_erased_no_trace_is_left(model: str, names: str, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    house, _ = await lived(serve, path, model, history__names=names)
    assert TRACE in bytes_of(path)
    status, erased = await house.http("DELETE", PATH)
    assert (status, erased["rewritten"]) == (200, True)
    assert min(erased["usage"], erased["audit"]) > 0
    assert (erased["denials"] > 0) is (model == "epop")
    shown = await verified(house)
    assert TRACE.decode() not in json.dumps(shown).lower()
    assert [each["action"] for each in shown if each["subject"] == "(erased)"]
    assert TRACE not in bytes_of(path)
    assert TRACE not in await backup(house)
    _, known = await house.http("GET", PATH)
    assert (known["registered"], known["groups"], known["usage"], known["denials"]) == (False, [], [], [])
    assert TRACE.decode() not in json.dumps(await house.http("GET", "/api/sessions/ended")).lower()
    await house.end()
    assert TRACE not in bytes_of(path) + b"".join(read(str(path)).state).lower()


async def test_what_was_charged_stays_in_the_sums_as_nobodys(serve: Serve, tmp_path: Path) -> None:
    house, _ = await lived(serve, tmp_path / "t.db", "epop")
    (before,) = await items(house, "/api/usage?by=day")
    await house.http("DELETE", PATH)
    (after,) = await items(house, "/api/usage?by=day")
    assert after["users"] == before["users"] - 1

    def sums(day: dict[str, Any]) -> list[Any]:
        kept = ("model", "pool", "grants", "denials", "true_denials")
        return [day["sessions"], *([each[name] for name in kept] for each in day["pools"])]

    assert sums(after) == sums(before)
    assert [each["seat_seconds"] for each in after["pools"]] == pytest.approx(
        [each["seat_seconds"] for each in before["pools"]]
    )
    assert {each["account"] for each in await items(house, "/api/usage")} == {"bob", None}
    back = await house.welcomed(account=NAME)
    await back.ask("join", conference="c")
    assert {each["account"] for each in await items(house, "/api/usage")} == {"bob", NAME.lower(), None}


async def test_who_is_there_is_not_erased_unless_that_is_forced(serve: Serve, tmp_path: Path) -> None:
    house = await serve(store__path=tmp_path / "t.db", license__model="trueconf")
    ann = await house.welcomed(account=NAME, device="qqann-phone")
    await ann.ask("join", conference="c")
    status, why = await house.http("DELETE", PATH)
    assert (status, why["error"]) == (409, "person_present")
    assert len(await items(house, "/api/connections")) == 1
    assert (await house.http("DELETE", f"{PATH}?force=yes"))[0] == 422
    status, _ = await house.http("DELETE", f"{PATH}?force=true")
    assert status == 200
    assert (await ann.hear())["reason"] == "account_deleted"
    assert await items(house, "/api/connections") == []
    assert await items(house, "/api/pro") == []
    assert TRACE not in bytes_of(tmp_path / "t.db")
    (erased,) = [each for each in await verified(house) if each["action"] == "person.erased"]
    assert (erased["subject"], erased["detail"]) == ("", {"forced": True})


async def test_a_license_alone_is_in_the_way_too(serve: Serve) -> None:
    house = await serve(license__model="trueconf")
    ann = await house.welcomed(account=NAME)
    await ann.ask("join", conference="c")
    await house.http("DELETE", f"/api/accounts/{NAME}/connections")
    assert (await house.http("DELETE", PATH))[0] == 409
    assert (await house.http("DELETE", f"{PATH}?force=true"))[0] == 200
    assert await house.used("pro") == 0


async def test_the_same_name_of_another_server_is_somebody_else(serve: Serve) -> None:
    house = await serve(federation__homes='["hq"]')
    await house.welcomed(account="ann")
    hq = await house.welcomed(account="ann", home="hq")
    await items(house, "/api/usage")
    assert (await house.http("DELETE", "/api/persons/ann?home=HQ&force=true"))[0] == 200
    assert (await hq.hear())["reason"] == "account_deleted"
    left = await items(house, "/api/usage")
    assert [(each["account"], each.get("home")) for each in left] == [(None, None), ("ann", None)]
    assert (await house.http("GET", "/api/persons/ann?home=hq"))[1]["usage"] == []
    assert (await house.http("GET", "/api/persons/ann"))[1]["usage"]


async def test_all_that_is_known_of_a_person_is_told_and_nothing_of_others(serve: Serve, tmp_path: Path) -> None:
    house, _ = await lived(serve, tmp_path / "t.db", "epop")
    await house.http("PUT", f"/api/bans/{NAME}", json={"for": "5m"})
    await house.http("PUT", f"/api/hosts/{NAME}")
    await house.welcomed(account="bob", device="desk")
    status, known = await house.http("GET", PATH)
    assert status == 200
    assert (known["account"], known["home"], known["registered"]) == (NAME.lower(), None, True)
    assert (known["groups"], len(known["tokens"])) == (["board"], 1)
    assert known["banned_until"] is not None
    assert {each["device"] for each in known["usage"]} == {"", "QQAnn-Phone"}
    assert [(each["model"], each["refusals"]) for each in known["denials"]] == [("epop", 1)]
    actions = [each["action"] for each in known["audit"]]
    assert actions[:4] == ["account.added", "token.added", "group.set", "host.named"]
    assert "bob" not in json.dumps(known)
    assert [(each["model"], each["pool"]) for each in known["leases"]] == [("nefsis-named", "hosts")]
    (exported,) = [each for each in await verified(house) if each["action"] == "person.exported"]
    assert exported["subject"] == NAME.lower()


async def test_a_large_file_is_rewritten_at_the_next_start_and_its_copies_at_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "REWRITE", 0)
    path = tmp_path / "t.db"
    house, _ = await lived(serve, path, "epop")
    assert (await house.http("DELETE", PATH))[1]["rewritten"] is False
    assert TRACE not in await backup(house)
    await house.end()
    house = await serve(store__path=path)
    assert TRACE not in bytes_of(path)
    await verified(house)


async def test_somebody_unknown_is_erased_without_an_error_and_leaves_no_name(serve: Serve, tmp_path: Path) -> None:
    house = await serve(store__path=tmp_path / "t.db")
    for _ in range(2):
        assert (await house.http("DELETE", PATH))[0] == 200
    assert TRACE not in bytes_of(tmp_path / "t.db")
