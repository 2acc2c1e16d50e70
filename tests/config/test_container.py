"""The recipe of an image, and the examples for Compose and Kubernetes.

No base image can be had in a test: the commands of the recipe are run here without one, and all that the examples name
must be there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml  # type: ignore[import-untyped]

import config
from config.environment import PREFIX, VARIABLES
from config.loader import load
from config.settings import Settings
from gateway.edge.api.routes import OPEN, routes_of
from gateway.edge.api.server import RESOURCES
from tests.programs import free_port, outcome, program

ROOT = Path(config.__file__).parents[1]
EXAMPLES = ROOT / "config" / "container"
TOKEN = "0123456789abcdef" * 2
PORTS = {str(port) for port in (Settings().listen.tcp, Settings().listen.websocket, Settings().listen.operator)}
PATIENCE = 240.0
"""Seconds for what installs packages."""


class Instruction(NamedTuple):
    """A line of the recipe: its word, and all that follows."""

    word: str
    rest: str


def recipe() -> list[list[Instruction]]:
    """The instructions of each stage of the recipe."""
    text = (EXAMPLES / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", "").splitlines()
    stages: list[list[Instruction]] = [[]]
    for line in filter(str.strip, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append(Instruction(word, rest.strip()))
    return stages[1:]


BUILD, IMAGE = recipe()


def of(word: str, stage: list[Instruction] = IMAGE) -> list[str]:
    """What follows a word in a stage."""
    return [each.rest for each in stage if each.word == word]


def variables() -> dict[str, str]:
    """The environment that the image gives."""
    return dict(each.split("=", 1) for each in of("ENV"))


def health_check(port: int) -> list[str]:
    """The command that says whether a container is well, for an operator port."""
    (check,) = of("HEALTHCHECK")
    command: list[str] = json.loads(check.partition("CMD ")[2])
    return [each.replace(":4311/", f":{port}/") for each in command]


def test_an_image_is_not_of_root_and_says_what_it_opens_and_keeps() -> None:
    assert of("USER") == ["10001:10001"]
    assert set(of("EXPOSE")[0].split()) == PORTS
    assert of("VOLUME") == of("WORKDIR") == [str(Path(variables()["TALLYGATE_STORE__PATH"]).parent)]
    assert of("STOPSIGNAL") == ["SIGTERM"]
    assert [json.loads(each) for each in (*of("ENTRYPOINT"), *of("CMD"))] == [["tallygate"], ["serve"]]
    for line in of("COPY", BUILD):
        *sources, _ = line.split()
        assert all((ROOT / each).exists() for each in sources)


def test_every_variable_of_the_examples_is_a_setting() -> None:
    found = set()
    for path in EXAMPLES.iterdir():
        found |= set(re.findall(rf"\b{PREFIX}[A-Z_]*__[A-Z_]+", path.read_text(encoding="utf-8")))
    assert found
    assert found <= set(VARIABLES)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_recipe_make_what_runs_in_the_image(tmp_path: Path) -> None:
    places = {
        "/source": tmp_path / "source",
        "/opt/tallygate": tmp_path / "opt",
        "/var/lib/tallygate": tmp_path / "lib",
    }
    # A base image of Python has the one under which this runs; a link is all that it must have of it.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"

    def here(text: str) -> str:
        for old, new in places.items():
            text = text.replace(old, str(new))
        return re.sub(r" -[og] 10001\b", "", text)

    def run(command: str) -> None:
        subprocess.run(["sh", "-ec", here(command)], env={**os.environ, "PATH": path}, check=True, timeout=PATIENCE)

    for instruction in BUILD:
        if instruction.word == "COPY":
            *sources, target = here(instruction.rest).split()
            for each in sources:
                copied = Path(target) / each if target.endswith("/") else Path(target)
                copied.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / each).is_dir():
                    shutil.copytree(ROOT / each, copied, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / each, copied)
        elif instruction.word == "RUN":
            run(instruction.rest)
    for command in of("RUN"):
        run(command)

    token = tmp_path / "operator.token"
    token.write_text(TOKEN)
    operator = free_port()
    given = {name: here(value) for name, value in variables().items()}
    ports = {"TALLYGATE_LISTEN__TCP": "0", "TALLYGATE_LISTEN__WEBSOCKET": "0"}
    ports |= {"TALLYGATE_LISTEN__OPERATOR": str(operator), "TALLYGATE_LISTEN__DRAIN": "0s"}
    environment = {**given, **ports, "TALLYGATE_LISTEN__OPERATOR_TOKEN_FILE": str(token)}
    with started(environment, tmp_path / "lib") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "capacity" in line:
                break
        check = health_check(operator)
        assert subprocess.run(check, env=given, check=False, timeout=PATIENCE).returncode == 0
        process.send_signal(getattr(signal, of("STOPSIGNAL")[0]))
        assert process.wait(PATIENCE) == 0
        assert subprocess.run(check, env=given, check=False, timeout=PATIENCE, stderr=subprocess.DEVNULL).returncode
    assert (tmp_path / "lib" / "tallygate.db").is_file()


def started(environment: Mapping[str, str], place: Path) -> Running:
    """The command of the image, in its environment."""
    argv = [*json.loads(of("ENTRYPOINT")[0]), *json.loads(of("CMD")[0])]
    return Running(argv, environment, place)


class Running:
    """A process that is over when the block is."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], place: Path) -> None:
        found = shutil.which(argv[0], path=environment["PATH"])
        assert found is not None
        self.process = subprocess.Popen(
            [found, *argv[1:]],
            env=dict(environment),
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_an_image_without_the_token_of_an_operator_says_what_is_missing(tmp_path: Path) -> None:
    environment = variables() | {"TALLYGATE_STORE__PATH": str(tmp_path / "t.db"), "PYTHONPATH": str(ROOT)}
    environment |= {name: "0" for name in VARIABLES if name.endswith(("LISTEN__TCP", "WEBSOCKET", "LISTEN__OPERATOR"))}
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "listen.operator_token_file" in line


# -- Compose -----------------------------------------------------------------------------------------------------------


def test_what_compose_names_is_there() -> None:
    document: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yml").read_text(encoding="utf-8"))
    gateway, prometheus = document["services"]["tallygate"], document["services"]["prometheus"]
    assert (EXAMPLES / gateway["build"]["context"]).resolve() == ROOT
    assert (ROOT / gateway["build"]["dockerfile"]).is_file()
    assert {each.split(":")[-1] for each in gateway["ports"]} == PORTS
    assert gateway["healthcheck"]["test"] == ["CMD", *health_check(4311)]
    assert [each.split(":")[1] for each in gateway["volumes"]] == of("VOLUME")
    (secret,) = gateway["secrets"]
    assert gateway["environment"]["TALLYGATE_LISTEN__OPERATOR_TOKEN_FILE"] == f"/run/secrets/{secret}"
    assert secret in document["secrets"]
    assert float(gateway["stop_grace_period"].removesuffix("s")) > Settings().listen.drain + Settings().store.deadline
    mounted = [each.split(":")[0] for each in prometheus["volumes"]]
    assert all((EXAMPLES / each).exists() for each in mounted if each.startswith("."))
    assert set(document["volumes"]) == {"store", *(each for each in mounted if not each.startswith("."))}


@pytest.mark.debian
async def test_prometheus_accepts_the_configuration_beside_compose(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "metrics" / "rules", tmp_path / "rules")
    code, told = await outcome(program("promtool", "prometheus"), "check", "config", str(tmp_path / "prometheus.yml"))
    assert code == 0, told
    assert "alerts.yml\n  SUCCESS" in told


# -- Kubernetes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def kubernetes() -> dict[str, dict[str, Any]]:
    """The manifests, by kind."""
    documents = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))
    return {each["kind"]: each for each in documents}


def test_one_pod_runs_with_the_settings_of_its_map(kubernetes: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    token = tmp_path / "token"
    token.write_text(TOKEN)
    text: str = kubernetes["ConfigMap"]["data"]["gateway.toml"]
    file.write_text(text.replace("/run/secrets/tallygate/operator.token", str(token)))
    (container,) = kubernetes["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    settings = load(file, [], {each["name"]: each["value"] for each in container["env"]})
    assert settings.metrics.public
    assert settings.accounts.mode == "token"
    assert kubernetes["StatefulSet"]["spec"]["replicas"] == 1
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert str(Path(settings.store.path).parent) in mounts
    assert "/run/secrets/tallygate" in mounts
    assert container["args"][:3] == ["serve", "--config", "/etc/tallygate/gateway.toml"]
    pod = kubernetes["StatefulSet"]["spec"]["template"]["spec"]
    claims = [each["metadata"]["name"] for each in kubernetes["StatefulSet"]["spec"]["volumeClaimTemplates"]]
    assert set(mounts.values()) == {*claims, *(each["name"] for each in pod["volumes"])}


def test_a_pod_is_not_of_root_and_is_given_time_to_drain(kubernetes: dict[str, Any]) -> None:
    pod = kubernetes["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert [user] == of("USER")
    word, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    assert word == "sleep"
    needed = float(pause) + Settings().listen.drain + 2 * Settings().store.deadline
    assert pod["terminationGracePeriodSeconds"] > needed


def test_probes_and_services_name_ports_and_routes_that_there_are(kubernetes: dict[str, Any]) -> None:
    (container,) = kubernetes["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert {str(each) for each in ports.values()} == PORTS
    service = {each["targetPort"]: each["port"] for each in kubernetes["Service"]["spec"]["ports"]}
    assert service == ports
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {each["port"] for each in probes.values()} == {"operator"}
    assert {name: each["path"] for name, each in probes.items()} == {
        "startup": "/livez",
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    assert {each["path"] for each in probes.values()} <= {
        each.path for each in routes_of(RESOURCES) if each.scope == OPEN and each.method == "GET"
    }
    labels = kubernetes["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert kubernetes["Service"]["spec"]["selector"] == labels
