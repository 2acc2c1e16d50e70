"""`tallygate person`: through a gateway that runs, and on a file that nobody has open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import run_here
from tests.conftest import Serve
from tests.edge.api.test_persons import NAME, TRACE, bytes_of, lived


async def test_a_person_is_exported_and_erased_while_the_gateway_runs(serve: Serve, tmp_path: Path) -> None:
    house, _ = await lived(serve, tmp_path / "t.db", "epop")
    where = ("--operator", house.url)
    exported = await run_here("person", "export", NAME, *where)
    assert json.loads(exported.out)["groups"] == ["board"]
    erased = await run_here("person", "erase", NAME, *where)
    assert erased.code == 0, erased.err
    assert f"erased {NAME}: " in erased.out
    assert TRACE not in bytes_of(tmp_path / "t.db")
    verified = await run_here("audit", "verify", *where)
    assert "the audit log holds" in verified.out


async def test_on_a_file_it_is_the_same(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    house, _ = await lived(serve, path, "epop", history__names="pseudonyms")
    await house.http("PUT", f"/api/hosts/{NAME}")
    await house.end()
    exported = json.loads((await run_here("person", "export", NAME, "--store", str(path))).out)
    assert (exported["groups"], exported["registered"]) == (["board"], True)
    assert exported["usage"]
    assert exported["denials"]
    assert "bob" not in json.dumps(exported)
    present = await run_here("person", "erase", NAME, "--store", str(path))
    assert "holds a license" in present.err
    assert TRACE in bytes_of(path)
    erased = await run_here("person", "erase", NAME, "--force", "--store", str(path))
    assert erased.code == 0, erased.err
    assert TRACE not in bytes_of(path)
    assert "the audit log holds" in (await run_here("audit", "verify", "--store", str(path))).out
    house = await serve(store__path=path)
    assert (await house.http("GET", f"/api/persons/{NAME}"))[1]["registered"] is False


@pytest.mark.parametrize("name", ["", "..", "a\u200bb"])
async def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    refused = await run_here("person", "erase", name, "--store", str(tmp_path / "t.db"))
    assert refused.code == 1
    assert "no name" in refused.err
