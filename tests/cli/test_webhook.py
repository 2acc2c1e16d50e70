"""`tallygate webhook`: what a person reads of webhooks, and whether a test was taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import webhook
from tests.cli.program import run_here
from tests.conftest import Serve, until
from tests.edge.webhooks.receiver import ask_again_at_once, receiving


async def test_webhooks_are_listed_and_tested(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_again_at_once(monkeypatch)
    monkeypatch.setattr(webhook, "PAUSE", 0.02)
    async with receiving() as receiver:
        house = await serve(webhook=receiver.setting(tmp_path, name="billing", events=["denied"]))
        at = ("--operator", house.url)
        ended = await run_here("webhook", "test", "billing", *at)
        assert (ended.code, ended.out) == (0, f"http://127.0.0.1:{receiver.port}/events has taken it\n")
        listed = await run_here("webhook", "list", *at)
        assert listed.out.splitlines()[1].split()[:6] == ["billing", "0", "1", "0", "1", "0"]
        (plain,) = json.loads((await run_here("webhook", "list", "--json", *at)).out)
        assert (plain["last_id"], plain["trouble"]) == (receiver.taken[0], None)
        await receiver.close()
        ended = await run_here("webhook", "test", "billing", *at)
        assert ended.code == 1
        assert "has not taken it, and is asked again: it cannot be reached: Connection refused" in ended.err
        await receiver.open()
        await until(lambda: len(set(receiver.taken)) == 2)
        ended = await run_here("webhook", "test", "other", *at)
        assert (ended.code, ended.err) == (1, "tallygate: there is no webhook other, only billing\n")


async def test_without_webhooks_that_is_said(serve: Serve) -> None:
    house = await serve()
    assert (await run_here("webhook", "list", "--operator", house.url)).out == "no webhooks\n"
