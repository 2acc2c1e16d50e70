"""What the benchmark compiles and installs, all of it under the hidden folder `.cache/bench`.

`client()` is the load program; the others return how to start a peer, or raise `Missing` with the reason why this
machine cannot run it: a missing peer costs its rows, never the table.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "bench"


class Missing(Exception):
    """Something the benchmark could use is not on this machine."""


def _run(*command: str) -> None:
    """Run a command quietly; `Missing` with the last line it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise Missing(f"{Path(command[0]).name} failed: {said[-1]}")


def _program(name: str, *elsewhere: str) -> str:
    found = shutil.which(name) or next((path for path in elsewhere if Path(path).exists()), None)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def client() -> str:
    """The load program, compiled when it is older than its source. Without a C compiler there is no benchmark."""
    source, program = HERE / "client.c", CACHE / "client"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        _run(_program("cc"), "-O2", "-Wall", "-Wextra", "-o", str(program), str(source))
    return str(program)


def mosquitto(port: int) -> list[str]:
    """Debian's MQTT broker without persistence, listening on `port`."""
    program = _program("mosquitto", "/usr/sbin/mosquitto")
    settings = (HERE / "peers" / "mosquitto.conf").read_text().replace("PORT", str(port))
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "mosquitto.conf").write_text(settings)
    return [program, "-c", str(CACHE / "mosquitto.conf")]


def node() -> list[str]:
    """Node with the npm package `ws`."""
    program, folder = _program("node"), CACHE / "node"
    if not (folder / "node_modules" / "ws").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run(_program("npm"), "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "ws@8")
    shutil.copy(HERE / "peers" / "ws_server.js", folder)
    return [program, "--expose-gc", str(folder / "ws_server.js")]


def websockets() -> list[str]:
    """The Python package `websockets`, in a venv of its own so that the project's stays as it is."""
    python = CACHE / "websockets" / "bin" / "python"
    if not (python.parent / "websockets").exists():
        venv.create(python.parent.parent, with_pip=True, clear=True)
        _run(str(python), "-m", "pip", "install", "--quiet", "websockets>=15")
    return [str(python), "-m", "tests.bench.peers.websockets_server"]


def aiohttp() -> list[str]:
    """aiohttp is here: the gateway's operator port runs on it."""
    return [sys.executable, "-m", "tests.bench.peers.aiohttp_server"]


def floor(backlog: int) -> list[str]:
    """The bare server of `floor.py`."""
    return [sys.executable, "-m", "tests.bench.floor", "--backlog", str(backlog)]
