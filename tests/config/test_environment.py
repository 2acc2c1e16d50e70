"""Variables of the environment: which key each stands for, how its value is read, and what stands above what."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.environment import VARIABLES, variable_of
from config.faults import ConfigError
from config.keys import KEYS, flatten
from config.loader import load, sources


def faults(**environment: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(None, (), environment)
    return [str(fault) for fault in error.value.faults]


def test_every_key_has_a_variable_of_its_own() -> None:
    assert sorted(VARIABLES.values()) == sorted(KEYS)
    assert variable_of("license.nefsis-concurrent.users") == "TALLYGATE_LICENSE__NEFSIS_CONCURRENT__USERS"
    assert variable_of("store.path") == "TALLYGATE_STORE__PATH"


def test_values_are_read_as_those_of_set_are() -> None:
    given = {
        "TALLYGATE_LISTEN__TCP": " 5307 ",
        "TALLYGATE_LICENSE__MODEL": "trueconf",
        "TALLYGATE_HEARTBEAT__INTERVAL": "20s",
        "TALLYGATE_LICENSE__ENFORCE": "false",
        "TALLYGATE_LICENSE__SHADOW": '["epop", "floating"]',
        "TALLYGATE_FEDERATION__HOMES": "one.example, two.example",
        "TALLYGATE_LISTEN__MAX_CONNECTIONS": "100",
        "TALLYGATE_LISTEN__ALLOWED_ORIGINS": '["https://one.example", "https://two.example"]',
    }
    values = flatten(load(None, (), given))
    assert values["listen.tcp"] == 5307
    assert values["license.model"] == "trueconf"
    assert values["heartbeat.interval"] == 20.0
    assert values["license.enforce"] is False
    assert values["license.shadow"] == ("epop", "floating")
    assert values["federation.homes"] == ("one.example", "two.example")
    assert values["listen.max_connections"] == 100
    assert values["listen.allowed_origins"] == ("https://one.example", "https://two.example")


def test_a_variable_stands_above_the_file_and_below_set(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("[license.epop]\nusers = 1\n[listen]\ntcp = 1\nwebsocket = 'x'\n", "utf-8")
    given = {"TALLYGATE_LICENSE__EPOP__USERS": "2", "TALLYGATE_LISTEN__WEBSOCKET": "2", "PATH": "/bin"}
    values = flatten(load(path, ["license.epop.users=3"], given))
    assert (values["license.epop.users"], values["listen.tcp"], values["listen.websocket"]) == (3, 1, 2)
    assert sources(path, ["license.epop.users=3"], given) == {
        "license.epop.users": "--set",
        "listen.tcp": "file",
        "listen.websocket": "environment",
    }


def test_a_value_that_is_wrong_is_said_with_its_variable() -> None:
    assert faults(TALLYGATE_LISTEN__TCP="http", TALLYGATE_HEARTBEAT__INTERVAL="30") == [
        'listen.tcp (TALLYGATE_LISTEN__TCP): expected an integer, found the string "http"',
        'heartbeat.interval (TALLYGATE_HEARTBEAT__INTERVAL): expected a duration such as "300ms", "30s", "5m", "24h" '
        'or "400d", found the string "30" (did you mean "30s"?)',
    ]


@pytest.mark.parametrize(
    ("variable", "fault"),
    [
        ("TALLYGATE_LISTEN__TPC", 'stands for no key (did you mean "TALLYGATE_LISTEN__TCP"?)'),
        ("TALLYGATE_LICENSE_EPOP__USERS", 'stands for no key (did you mean "TALLYGATE_LICENSE__EPOP__USERS"?)'),
        ("TALLYGATE_LISTEN_TCP", 'stands for no key (did you mean "TALLYGATE_LISTEN__TCP"?)'),
        ("TALLYGATE_WEATHER__RAIN", "stands for no key"),
        ("TALLYGATE___", "stands for no key"),
        (
            "TALLYGATE_LICENSE__EPOP",
            "stands for a section, expected one of its keys, such as TALLYGATE_LICENSE__EPOP__USERS",
        ),
    ],
)
def test_a_variable_that_stands_for_no_key_is_a_fault(variable: str, fault: str) -> None:
    assert faults(**{variable: "1"}) == [f"{variable}: {fault}"]


@pytest.mark.parametrize(
    "variable", ["TALLYGATE_TOKEN", "TALLYGATE_ACCOUNT_TOKEN", "TALLYGATE_PORT_4307_TCP_ADDR", "tallygate_listen__tcp"]
)
def test_variables_of_others_are_left_alone(variable: str) -> None:
    assert load(None, (), {variable: "x"}) == load(None)
