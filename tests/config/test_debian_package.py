"""The Debian package: made by its one command, installed, run as its user, upgraded and purged, with the real dpkg."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import config
from tests.programs import free_port, missing, program

BUILD = Path(config.__file__).parent / "debian" / "build"
CONFIGURATION = Path("/etc/tallygate/gateway.toml")
STATE = Path("/var/lib/tallygate")
HOME = Path("/usr/lib/tallygate")
UNIT = Path("/usr/lib/systemd/system/tallygate.service")
PLACES = (CONFIGURATION.parent, STATE, HOME, Path("/usr/bin/tallygate"), UNIT)
REVISION = "0~test"
"""What the last part of the version begins with, so that it is known whose package is installed."""
PATIENCE = 300.0
"""Seconds for what packs and unpacks some thousand files."""

pytestmark = [pytest.mark.debian, pytest.mark.slow, pytest.mark.timeout(900)]


def done(*argv: str) -> str:
    """What a program said that ended well."""
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def left() -> list[str]:
    """What there is of the package on this machine, its user among it."""
    users = [each.pw_name for each in pwd.getpwall() if each.pw_name == "tallygate"]
    return [str(path) for path in PLACES if path.exists() or path.is_symlink()] + users


@pytest.fixture
def dpkg() -> Iterator[str]:
    """The program that installs packages, where it may; whatever happens, nothing of this one is left by it."""
    found = program("dpkg", "dpkg")
    if os.geteuid():
        missing("only root installs packages")
    if not Path("/usr/bin/python3").exists():
        missing("/usr/bin/python3 is not installed (Debian: apt-get install python3)")
    if f"-{REVISION}" in version():  # what was broken off has left it
        purge(found)
    assert left() == [], "tallygate is installed on this machine, and its data is not for tests"
    yield found
    purge(found)
    assert left() == []


def version() -> str:
    """The version that is installed, or was until it was removed; empty where there is none."""
    asked = ["dpkg-query", "-W", "-f", "${Version}", "tallygate"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


def purge(dpkg: str) -> None:
    """Remove the package and all that it has, whatever state it is in."""
    subprocess.run([dpkg, "--purge", "--force-all", "tallygate"], check=False)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package, made by its command."""
    settings = (f"PYTHON={sys.executable}", f"REVISION={REVISION}1")
    made = Path(done("env", *settings, "bash", str(BUILD), str(tmp_path)).strip())
    assert made.parent == tmp_path
    return made


def newer(package: Path, folder: Path) -> Path:
    """The same as the next revision."""
    root, made = folder / "next", folder / "next.deb"
    done("dpkg-deb", "-R", str(package), str(root))
    control = root / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^(Version: .*)1$", r"\g<1>2", control.read_text()))
    done("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(made))
    shutil.rmtree(root)
    return made


def as_user(*argv: str) -> tuple[str, ...]:
    """A command as the user of the service."""
    (user,) = re.findall(r"(?m)^User=(.*)$", UNIT.read_text())
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", "-i", *argv)


@contextlib.contextmanager
def running() -> Iterator[int]:
    """The command of the service, as its user, where it runs it: the port for clients."""
    (command,) = re.findall(r"(?m)^ExecStart=(.*)$", UNIT.read_text())
    ports = {"TCP": free_port(), "WEBSOCKET": 0, "OPERATOR": 0}
    given = [f"TALLYGATE_LISTEN__{name}={value}" for name, value in ports.items()]
    argv = as_user(*given, "TALLYGATE_REGISTRAR__ENABLED=false", *shlex.split(command))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=STATE) as process:
        assert process.stdout is not None
        heard: list[str] = []
        try:
            for line in process.stdout:
                heard.append(line)
                if "capacity" in line:
                    break
            else:
                raise AssertionError("".join(heard))
            yield ports["TCP"]
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def answered(port: int) -> str:
    """What the gateway answers to a client."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(b'{"type":"hello","protocol":1,"account":"ann"}\n')
        return str(json.loads(client.makefile().readline())["type"])


def test_it_is_installed_runs_is_upgraded_and_leaves_nothing(dpkg: str, package: Path, tmp_path: Path) -> None:
    done(dpkg, "-i", str(package))
    assert done("dpkg-query", "-W", "-f", "${db:Status-Status}", "tallygate") == "installed"
    assert done(dpkg, "--verify", "tallygate") == ""
    assert (STATE.stat().st_mode & 0o777, STATE.owner()) == (0o700, "tallygate")
    assert "configuration is good" in done("tallygate", "check", "--config", str(CONFIGURATION))
    assert done(str(HOME / "bin" / "python3"), "-I", "-c", "import cryptography, jwt, uvloop") == ""
    assert done(program("systemd-analyze", "systemd"), "verify", str(UNIT)) == ""

    store = STATE / "tallygate.db"
    with running() as port:
        assert answered(port) == "welcome"
    assert store.owner() == "tallygate"
    done(*as_user("/usr/bin/tallygate", "token", "add", "ops", "--scope", "admin", "--store", str(store)))
    changed = CONFIGURATION.read_text().replace("users = 10\n", "users = 11\n")
    CONFIGURATION.write_text(changed)

    done(dpkg, "-i", str(newer(package, tmp_path)))
    assert version().endswith(f"-{REVISION}2")
    assert CONFIGURATION.read_text() == changed
    with running() as port:
        assert answered(port) == "welcome"

    done(dpkg, "-r", "tallygate")
    assert [path.exists() for path in (store, CONFIGURATION, UNIT)] == [True, True, False]
    done(dpkg, "--purge", "tallygate")
    assert left() == []
