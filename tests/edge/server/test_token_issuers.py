"""Clients that prove their accounts by tokens of issuers, over the wire."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from config.settings import Settings
from gateway.client import Backoff, Client
from gateway.edge.gateway import Gateway
from gateway.edge.machine import Clock
from gateway.edge.server.token_issuers import Issuer
from tests.conftest import House, Serve, settings_of, until
from tests.web_tokens import (
    AUDIENCE,
    ISSUER,
    KeyServer,
    Signer,
    base64url,
    by_curve,
    by_rsa,
    by_secret,
    claims_of,
    key_set,
    pem_of,
    serving_keys,
)

SECRET = by_secret(b"an old secret of many characters")
RSA, CURVE = by_rsa("r1"), by_curve("e1")
OTHER = by_rsa("r1")
"""Another key of the same name."""


def issuer(path: Path, **given: Any) -> dict[str, Any]:
    """A table `[[accounts.jwt]]`; by default of the secret, whose file it makes."""
    if not {"secret_file", "jwks_file", "jwks_url"} & set(given):
        file = path / "secret"
        file.write_bytes(b"an old secret of many characters\n")
        given["secret_file"] = str(file)
    return {"issuer": ISSUER, "audience": [AUDIENCE], "algorithms": ["HS256"]} | given


def by_url(server: KeyServer, **given: Any) -> dict[str, Any]:
    """A table of an issuer whose keys are fetched, often enough for a test."""
    quick = {"jwks_pause": "20ms", "jwks_refresh": "1h", "jwks_timeout": "5s"}
    return {"issuer": ISSUER, "audience": [AUDIENCE], "algorithms": ["RS256"], "jwks_url": server.url} | quick | given


def toml(*tables: dict[str, Any]) -> str:
    """Tables as a value of `--set`."""
    return (
        "["
        + ", ".join("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in each.items()) + "}" for each in tables)
        + "]"
    )


def proven(*tables: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Settings by which these issuers prove accounts."""
    return {"accounts__mode": "jwt", "accounts__jwt": toml(*tables), "license__epop__users": 100} | more


async def refusal(house: House, token: str | None, **hello: Any) -> str:
    """Why a `hello` is denied."""
    wire = await house.connect()
    answer = await wire.hello(**hello) if token is None else await wire.hello(token=token, **hello)
    assert answer["type"] == "denied", answer
    assert await wire.gone() == []
    return str(answer["reason"])


async def account(house: House, token: str, **hello: Any) -> tuple[str | None, str | None]:
    """The account and the device of a session that a token lets in."""
    wire = await house.welcomed(token=token, **hello)
    (session,) = house.runtime.state.sessions.by_number.values()
    await wire.close()
    await until(lambda: not house.runtime.state.sessions.by_number)
    return session.account, session.device


def house_issuer(house: House) -> Issuer:
    """The only issuer of a gateway."""
    (found,) = house.runtime.sign_in.issuers.by_name.values()
    return found


async def fetched(house: House, times: int = 1) -> None:
    """Wait until an issuer's keys have been asked for so often, and the last answer is there."""
    fetcher = house_issuer(house).fetcher
    assert fetcher is not None
    await until(lambda: fetcher.attempts >= times and not fetcher.busy)


@pytest.fixture
def rsa_file(tmp_path: Path) -> str:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(RSA, CURVE))
    return str(path)


@pytest.mark.parametrize("signer", [SECRET, RSA, CURVE], ids=lambda each: each.algorithm)
async def test_a_good_token_says_who_a_client_is(serve: Serve, tmp_path: Path, rsa_file: str, signer: Signer) -> None:
    keys = {} if signer is SECRET else {"jwks_file": rsa_file}
    house = await serve(**proven(issuer(tmp_path, algorithms=[signer.algorithm], **keys)))
    assert await account(house, signer.token()) == ("ann@example.org", None)
    assert await account(house, signer.token(sub="BOB"), account="Bob", device="laptop") == ("bob", "laptop")


async def test_whoever_names_an_account_proves_it_and_a_guest_nothing(serve: Serve, tmp_path: Path) -> None:
    house = await serve(**proven(issuer(tmp_path), federation__homes='["partner"]'))
    await house.welcomed()
    await house.welcomed(account="carl", home="partner", token=SECRET.token())
    assert await refusal(house, None, account="ann@example.org") == "bad_credential"
    assert await refusal(house, SECRET.token(), account="bob") == "bad_credential"
    assert await refusal(house, "no.token.atall", device="laptop") == "bad_credential"
    assert await refusal(house, "") == "bad_credential"


async def test_a_device_that_the_token_names_is_the_device(serve: Serve, tmp_path: Path) -> None:
    house = await serve(**proven(issuer(tmp_path, account_claim="name", device_claim="did")))
    token = SECRET.token(name="ann", did="laptop")
    assert await account(house, token) == ("ann", "laptop")
    assert await account(house, token, device="laptop") == ("ann", "laptop")
    assert await refusal(house, token, device="phone") == "bad_credential"
    assert await refusal(house, SECRET.token(name="ann")) == "bad_credential"


def altered(token: str) -> str:
    """The token with another account, and the signature of before."""
    header, _, signature = token.split(".")
    return f"{header}.{base64url(json.dumps(claims_of(sub='root')).encode())}.{signature}"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (SECRET.token(exp=time.time() - 60), "it has expired"),
        (SECRET.token(nbf=time.time() + 3600), "it is not valid for another"),
        (SECRET.token(aud="elsewhere"), "its audience"),
        (SECRET.token(iss="https://evil.example"), 'there is no issuer "https://evil.example"'),
        (SECRET.token(iss=None), "there is no issuer null"),
        (SECRET.token(exp=None), "it does not say when it ends"),
        (SECRET.token(sub=None), "its claim sub is no name of an account: null"),
        (SECRET.token({"alg": "none"}), 'its algorithm "none" is none of HS256'),
        (SECRET.token({"alg": "none"}).rpartition(".")[0] + ".", 'its algorithm "none" is none of HS256'),
        (SECRET.token({"alg": "HS512"}), 'its algorithm "HS512" is none of HS256'),
        (RSA.token(), 'its algorithm "RS256" is none of HS256'),
        (by_secret(b"another secret of many characters").token(), "its signature is not good"),
        (SECRET.token().rpartition(".")[0] + ".", "its signature is not good"),
        (altered(SECRET.token()), "its signature is not good"),
        (SECRET.token(padding="x" * 2500), "characters, more than 2048"),
    ],
)
async def test_a_token_that_proves_nothing_is_refused_and_the_log_says_why(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, token: str, said: str
) -> None:
    house = await serve(**proven(issuer(tmp_path, token_limit=2048)))
    assert await refusal(house, token, account="ann@example.org") == "bad_credential"
    (record,) = (each for each in caplog.records if each.name == "tallygate.tokens")
    assert record.levelno == logging.WARNING
    assert said in record.message
    assert token.rpartition(".")[2] == "" or token.rpartition(".")[2] not in caplog.text
    assert house.runtime.dispatcher.refusals["bad_credential"] == 1


async def test_a_public_key_is_no_secret(serve: Serve, rsa_file: str) -> None:
    tables = {"issuer": ISSUER, "audience": [AUDIENCE], "algorithms": ["RS256", "HS256"], "jwks_file": rsa_file}
    for algorithms in (["RS256"], ["RS256", "ES256"]):
        house = await serve(**proven(tables | {"algorithms": algorithms}))
        for secret in (pem_of(RSA.jwk), pem_of(RSA.jwk).strip(), json.dumps(RSA.jwk).encode()):
            forged = by_secret(secret, "r1")
            assert await refusal(house, forged.token(), account="root") == "bad_credential"
            assert await refusal(house, forged.token({"alg": "RS256"}), account="root") == "bad_credential"


async def test_a_public_key_is_no_secret_where_an_issuer_has_secrets_too(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "both.json"
    path.write_bytes(key_set(RSA, by_secret(b"a secret beside the public key of", "s1")))
    house = await serve(
        **proven({"issuer": ISSUER, "audience": [AUDIENCE], "algorithms": ["RS256", "HS256"], "jwks_file": str(path)})
    )
    assert await account(house, RSA.token()) == ("ann@example.org", None)
    for name in ("r1", "s1"):
        assert await refusal(house, by_secret(pem_of(RSA.jwk), name).token()) == "bad_credential"


async def test_a_key_of_one_issuer_says_nothing_of_another_with_the_same_name_of_a_key(
    serve: Serve, tmp_path: Path
) -> None:
    tables: list[dict[str, Any]] = []
    for name, signer in (("https://one", RSA), ("https://two", OTHER)):
        path = tmp_path / f"{len(tables)}.json"
        path.write_bytes(key_set(signer))
        tables.append({"issuer": name, "audience": [AUDIENCE], "algorithms": ["RS256"], "jwks_file": str(path)})
    house = await serve(**proven(*tables))
    assert await account(house, RSA.token(iss="https://one")) == ("ann@example.org", None)
    assert await account(house, OTHER.token(iss="https://two")) == ("ann@example.org", None)
    assert await refusal(house, OTHER.token(iss="https://one")) == "bad_credential"
    assert await refusal(house, RSA.token(iss="https://two")) == "bad_credential"


async def test_a_token_that_names_no_key_is_of_the_only_one(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(RSA))
    table = {"issuer": ISSUER, "audience": [AUDIENCE], "algorithms": ["RS256"], "jwks_file": str(path)}
    house = await serve(**proven(table))
    unnamed = RSA._replace(id=None)
    assert await account(house, unnamed.token()) == ("ann@example.org", None)
    path.write_bytes(key_set(RSA, by_rsa("r2")))
    house.gateway.reload(house.gateway.settings)
    assert await refusal(house, unnamed.token()) == "bad_credential"
    assert await account(house, RSA.token()) == ("ann@example.org", None)


async def test_a_reload_reads_the_files_of_keys_again(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    old, new = by_secret(b"1" * 32, "old"), by_secret(b"2" * 32, "new")
    path.write_bytes(key_set(old))
    house = await serve(**proven(issuer(tmp_path, jwks_file=str(path))))
    stays = await house.welcomed(token=old.token())
    assert await refusal(house, new.token()) == "bad_credential"
    path.write_bytes(key_set(old, new))
    house.gateway.reload(house.gateway.settings)
    await house.welcomed(token=new.token(sub="bob"))
    path.write_bytes(key_set(new))
    house.gateway.reload(house.gateway.settings)
    assert await refusal(house, old.token()) == "bad_credential"
    path.write_bytes(b"half of a fi")
    with pytest.raises(OSError, match="it is not JSON"):
        house.gateway.reload(house.gateway.settings)
    await house.welcomed(token=new.token(sub="carl"))
    assert (await stays.ask("heartbeat", seq=1))["type"] == "ack"


async def test_groups_that_a_token_names_count_for_rules_and_in_lines(serve: Serve, tmp_path: Path) -> None:
    rules = '[{pool="concurrent", group="staff", reserve=1}]'
    house = await serve(
        **proven(
            issuer(tmp_path, groups_claim="groups"),
            license__epop__users=2,
            license__rule=rules,
            license__queue_order="priority",
        )
    )
    await house.http("PUT", "/api/groups/chiefs", json={"accounts": [], "priority": 5})
    first = await house.welcomed(token=SECRET.token(sub="ann"))
    assert (await first.ask("join", conference="weekly"))["type"] == "joined"
    other = await house.welcomed(token=SECRET.token(sub="bob", groups=["guests"]))
    assert (await other.ask("join", conference="weekly"))["reason"] == "pool_full"
    staff = await house.welcomed(token=SECRET.token(sub="carl", groups=["staff", "board"]))
    assert (await staff.ask("join", conference="weekly"))["type"] == "joined"
    (session,) = [each for each in house.runtime.state.sessions.by_number.values() if each.account == "carl"]
    assert session.groups == ("board", "staff")
    assert house.runtime.state.directory.priorities().of("dora", ("chiefs",)) == 5
    forged = await house.welcomed(account=None)
    assert house.runtime.state.sessions.by_number[max(house.runtime.state.sessions.by_number)].groups == ()
    await forged.close()


# -- keys that are fetched -------------------------------------------------------------------------------------------


async def test_keys_are_fetched_and_a_new_one_is_known_soon_after_a_token_names_it(serve: Serve) -> None:
    new = by_rsa("r2")
    async with serving_keys(RSA) as server:
        house = await serve(**proven(by_url(server)))
        await fetched(house)
        assert await account(house, RSA.token()) == ("ann@example.org", None)
        server.content = key_set(new)
        assert await refusal(house, new.token()) == "keys_unavailable"
        await fetched(house, 2)
        assert await account(house, new.token()) == ("ann@example.org", None)
        assert await refusal(house, RSA.token(exp=time.time() - 60)) == "bad_credential"
        assert await refusal(house, RSA.token()) == "keys_unavailable"


async def test_a_client_comes_back_with_the_same_token_when_its_key_may_be_known(serve: Serve) -> None:
    async with serving_keys(RSA) as server:
        server.answer = server.hang
        house = await serve(**proven(by_url(server)))
        wire = await house.connect("websocket")
        answer = await wire.hello(token=RSA.token())
        assert (answer["reason"], answer["retry_after_seconds"]) == ("keys_unavailable", 1)
        assert await wire.gone() == []
        assert house.runtime.dispatcher.refusals["keys_unavailable"] == 1


async def test_reasons_are_checked_in_the_order_of_the_protocol(serve: Serve) -> None:
    async with serving_keys(RSA) as server:
        server.answer = server.hang
        house = await serve(**proven(by_url(server)))
        assert (await house.http("PUT", "/api/bans/127.0.0.1", json={"for": "60s"}))[0] in {200, 201}
        assert await refusal(house, RSA.token()) == "keys_unavailable"
        assert (await (await house.connect()).hello())["reason"] == "banned"
        waiting = await house.connect()
        await until(lambda: bool(house.runtime.tcp.connections.pending))
        house.runtime.budget.draining = True
        assert (await waiting.hello(token=RSA.token()))["reason"] == "draining"


async def test_made_up_names_of_keys_fetch_nothing_but_once_in_a_while(serve: Serve) -> None:
    async with serving_keys(RSA) as server:
        house = await serve(**proven(by_url(server, jwks_pause="1h")))
        await fetched(house)
        for number in range(20):
            assert await refusal(house, RSA._replace(id=f"made-up-{number}").token()) == "keys_unavailable"
        assert server.asked == 1
        assert await account(house, RSA.token()) == ("ann@example.org", None)


async def _not_found(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=404)


async def _garbage(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"<html>an error</html>")


async def _large(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(160):
        await response.write(b" " * 65536)
    return response


async def _other_type(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=key_set(CURVE))


async def _elsewhere(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/keys?again")


async def _no_point(_request: web.Request) -> web.StreamResponse:
    wrong = CURVE.jwk | {"x": base64url(bytes(32)), "kid": "e2"}
    return web.Response(body=json.dumps({"keys": [RSA.jwk, wrong]}).encode())


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_not_found, "the answer is 404"),
        (_garbage, "it is not JSON in UTF-8"),
        (_large, "the answer has more than 65536 bytes"),
        (_other_type, "there is no key for RS256"),
        (_elsewhere, "the answer is 302"),
        (_no_point, "a key of type EC is not valid"),
    ],
)
async def test_keys_stay_while_what_is_fetched_is_none(
    serve: Serve, caplog: pytest.LogCaptureFixture, answer: Handler, said: str
) -> None:
    async with serving_keys(RSA) as server:
        house = await serve(**proven(by_url(server)))
        await fetched(house)
        server.answer = answer
        assert await refusal(house, RSA._replace(id="new").token()) == "keys_unavailable"
        await fetched(house, 3)  # one that fails is tried again
        assert await account(house, RSA.token()) == ("ann@example.org", None)
        (line,) = (each.message for each in caplog.records if "cannot be fetched" in each.message)
        assert said in line
        server.answer = None
        await until(lambda: "can be fetched again" in caplog.text)


async def test_a_server_of_keys_that_hangs_delays_nobody(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serving_keys(RSA) as server:
        house = await serve(**proven(by_url(server, jwks_timeout="1s")))
        await fetched(house)
        server.answer = server.hang
        assert await refusal(house, RSA._replace(id="new").token()) == "keys_unavailable"
        await until(lambda: server.asked == 2)
        assert await account(house, RSA.token()) == ("ann@example.org", None)
        await until(lambda: "cannot be fetched" in caplog.text)
        assert "TimeoutError" in caplog.text
        assert await account(house, RSA.token()) == ("ann@example.org", None)


async def test_keys_that_were_fetched_outlive_a_server_that_is_gone_and_a_reload(serve: Serve) -> None:
    async with serving_keys(RSA) as server:
        house = await serve(**proven(by_url(server)))
        await fetched(house)
    house.gateway.reload(house.gateway.settings)
    await fetched(house, 2)
    assert await account(house, RSA.token()) == ("ann@example.org", None)


async def test_a_reload_fetches_at_once_and_from_where_it_says_now(serve: Serve) -> None:
    async with serving_keys(RSA) as server, serving_keys(OTHER) as other:
        house = await serve(**proven(by_url(server, jwks_pause="1h")))
        await fetched(house)
        house.gateway.reload(settings_of(**proven(by_url(other, jwks_pause="1h"))))
        await fetched(house)
        assert (server.asked, other.asked) == (1, 1)
        assert await account(house, OTHER.token()) == ("ann@example.org", None)
        assert await refusal(house, RSA.token()) == "bad_credential"


async def test_no_task_fetches_keys_when_the_gateway_is_closed() -> None:
    async with serving_keys(RSA) as server:
        server.answer = server.hang
        settings: Settings = settings_of(**proven(by_url(server)))
        gateway = Gateway(settings, files=1024, clock=Clock(time.monotonic, time.time))
        await gateway.open()
        await until(lambda: server.asked == 1)
        gateway.reload(settings)
        await until(lambda: server.asked == 2)
        await gateway.close(drain=0)
        assert [task for task in asyncio.all_tasks() if "keys" in task.get_name()] == []


# -- a session and its token -----------------------------------------------------------------------------------------


async def test_a_session_outlives_its_token_and_goes_on_only_with_a_good_one(serve: Serve, tmp_path: Path) -> None:
    wall = [time.time()]
    clock = Clock(time.monotonic, lambda: wall[0])
    house = await serve(clock=clock, **proven(issuer(tmp_path), heartbeat__resume_window="10m"))
    token = SECRET.token(exp=wall[0] + 60)
    wire = await house.connect()
    welcome = await wire.hello(token=token, device="laptop")
    resume = welcome["resume"]
    wall[0] += 600
    assert (await wire.ask("heartbeat", seq=1))["type"] == "ack"
    assert (await wire.ask("join", conference="weekly"))["type"] == "joined"
    await wire.drop()
    await until(lambda: len(house.runtime.state.resumable) == 1)
    assert await refusal(house, token, resume=resume) == "bad_credential"
    assert await refusal(house, None, resume=resume) == "bad_credential"
    assert await refusal(house, SECRET.token(sub="bob", exp=wall[0] + 60), resume=resume) == "bad_credential"
    back = await house.connect()
    answer = await back.hello(token=SECRET.token(exp=wall[0] + 60), resume=resume)
    assert (answer["type"], answer["session"], answer["conferences"]) == ("welcome", welcome["session"], ["weekly"])


async def test_a_guest_resumes_without_a_token(serve: Serve, tmp_path: Path) -> None:
    house = await serve(**proven(issuer(tmp_path), heartbeat__resume_window="10m"))
    wire = await house.connect()
    welcome = await wire.hello()
    await wire.drop()
    await until(lambda: len(house.runtime.state.resumable) == 1)
    answer = await (await house.connect()).hello(resume=welcome["resume"])
    assert answer["session"] == welcome["session"]


async def test_the_reference_client_asks_for_a_token_for_each_connection(serve: Serve, tmp_path: Path) -> None:
    house = await serve(**proven(issuer(tmp_path), heartbeat__resume_window="10m"))
    given: list[str] = []

    async def token() -> str:
        given.append(SECRET.token())
        return given[-1]

    async with Client(port=house.tcp, token=token, backoff=Backoff(base=0.0)) as client:
        first = client.session
        client.abort()
        await client.lost()
        await client.ready()
        assert client.session == first
    assert len(given) == 2
