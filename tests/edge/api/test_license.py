"""The API about the license in effect."""

from __future__ import annotations

from gateway.licensing import MODELS
from tests.conftest import License, Serve


async def test_the_license_lists_every_model_with_its_pools(serve: Serve) -> None:
    house = await serve(license__model="trueconf", license__trueconf__pro=2)
    wire = await house.welcomed(account="ann")
    await wire.ask("join", conference="c")
    status, license = await house.http("GET", "/api/license")
    assert status == 200
    assert (license["model"], license["edition"], license["enforce"]) == ("trueconf", "server", True)
    assert license["models"].keys() == license["titles"].keys() == MODELS.keys()
    assert license["titles"]["epop"] == {"title": "e/pop", "pools": {"concurrent": "Concurrent users"}}
    trueconf = license["models"]["trueconf"]["pools"]
    assert trueconf.keys() == {"online", "pro", "guest", "gateway"}
    assert trueconf["pro"] == {
        "used": 1,
        "limit": 2,
        "available": 1,
        "reserved": 0,
        "returning": 0,
        "overdraft_used": 0,
        "high_water": 1,
        "denied": 0,
        "waiting": 0,
        "left": {"granted": 0, "timed_out": 0, "gave_up": 0, "refused": 0},
        "rules": [],
    }
    seats = license["models"]["floating"]["pools"]["seats"]
    assert (seats["used"], seats["limit"], seats["available"]) == (1, None, None)


async def test_what_a_registrars_license_says_is_told_as_overridden(license: License) -> None:
    configured = {"support": '"full"', "sdk": "true", "online_packs": "[50]", "calendar": "true"}
    given = {f"license__trueconf__{name}": value for name, value in configured.items()}
    house = await license({"edition": "server"}, license__model="trueconf", **given)
    _, shown = await house.http("GET", "/api/license")
    assert sorted(shown["overridden"]) == sorted(key.replace("__", ".") for key in given)
    assert house.registrar is not None
    assert (await house.registrar.http("GET", "/api/license"))[1]["overridden"] == []
