"""What `serve` says of itself: in JSON, every line from the start-up on to the end, and when it cannot start."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.cli.program import begin, end, said

PORTS = [word for name in ("listen.tcp", "listen.websocket", "listen.operator") for word in ("--set", f"{name}=0")]


def lines(text: str) -> list[dict[str, Any]]:
    """The objects of a log in JSON."""
    return [json.loads(line) for line in text.splitlines()]


async def test_every_line_is_an_object_from_the_start_to_the_end(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[registrar]\nenabled = false\n[license]\nmodel = "floating"\n')
    store = ("--set", f"store.path={tmp_path / 'a.db'}")
    serving = await begin("--log-format", "json", "serve", "--config", str(file), *PORTS, *store)
    await said(serving.stderr, "gateway.settings")
    file.write_text('[registrar]\nenabled = false\n[license]\nmodel = "floating"\noverdraft = 1\n')
    serving.send_signal(signal.SIGHUP)
    await said(serving.stderr, "gateway.reload")
    file.write_text("[")
    serving.send_signal(signal.SIGHUP)
    await said(serving.stderr, "gateway.reload.refused")
    serving.send_signal(signal.SIGTERM)
    ended = await end(serving)
    assert (ended.code, ended.out) == (0, "")
    told = lines(ended.err)
    assert [each.get("event") for each in told] == ["gateway.doors_closed", "gateway.stop", None]
    assert told[-1]["message"] == "stopped"
    assert all(each["time"].endswith("Z") and each["level"] == "info" for each in told)


async def test_why_it_cannot_start_is_an_object_too(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[listen]\ntpc = 1\n[webhook]\n")
    ended = await end(await begin("--log-format", "json", "serve", "--config", str(file)))
    assert ended.code == 1
    assert [each["message"] for each in lines(ended.err)] == [
        'listen.tpc: unknown key (did you mean "listen.tcp"?)',
        "webhook: is a list of tables: write [[ ]] around its name",
    ]
    ended = await end(await begin("--log-format", "json", "status", "--operator", "http://127.0.0.1:1"))
    assert ended.code == 1


async def test_in_text_the_start_is_shown_and_the_settings_are_logged(tmp_path: Path) -> None:
    store = f"store.path={tmp_path / 'a.db'}"
    serving = await begin("serve", *PORTS, "--set", store, "--set", "registrar.enabled=false")
    await said(serving.stderr, "tallygate: settings: listen.tcp = 0, listen.websocket = 0, listen.operator = 0")
    serving.send_signal(signal.SIGTERM)
    ended = await end(serving)
    assert ended.out.startswith("tallygate ")
    assert ended.out.endswith("stopped\n")
    assert "INFO tallygate.events: gateway.stop" in ended.err
