"""Loading: each bad file and override has its exact message, and all are said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.faults import ConfigError, ConfigFault
from config.loader import load
from config.rules import warnings
from config.settings import Settings
from config.whole_files import LONGEST
from gateway.core.registration.messages import LONGEST_INTERVAL
from gateway.licensing import MODELS

TLS = Path(__file__).parent / "tls"
ONE_OF_MODELS = "one of " + ", ".join(f'"{name}"' for name in MODELS)

BAD_FILES = {
    # what is written: what is said of it
    "[hartbeat]": ['hartbeat: unknown section (did you mean "heartbeat"?)'],
    "[zzz]": ["zzz: unknown section"],
    "[license.nefsis]": ['license.nefsis: unknown section (did you mean "license.nefsis-named"?)'],
    "[license.terms]": ["license.terms: unknown section"],
    "[listen]\nhots = 'x'": ['listen.hots: unknown key (did you mean "listen.host"?)'],
    "[listen]\ninterval = '30s'": ['listen.interval: unknown key (did you mean "heartbeat.interval"?)'],
    "[listen]\nqqq = 1": ["listen.qqq: unknown key"],
    '[listen]\n"a\\nb" = 1': [r'listen."a\nb": unknown key'],
    "[trueconf]": ['trueconf: unknown section (did you mean "license.trueconf"?)'],
    "users = 10": ['users: unknown key (did you mean "license.epop.users"?)'],
    "listen = 5": ["listen: is a section, write it as [listen]"],
    "[[store]]": ["store: is a section, write it as [store]"],
    "[license]\nepop = 10": ["license.epop: is a section, write it as [license.epop]"],
    "[listen]\ntcp = '4307'": ['listen.tcp: expected an integer, found the string "4307"'],
    "[listen]\ntcp = true": ["listen.tcp: expected an integer, found true"],
    "[listen]\ntcp = 70000": ["listen.tcp: must be at most 65535, is 70000"],
    "[listen]\ntcp = 2026-11-21": ["listen.tcp: expected an integer, found a date or time"],
    "[listen]\nmessage_burst = 0": ["listen.message_burst: must be at least 1, is 0"],
    "[listen]\nmax_pending = 0": ["listen.max_pending: must be at least 1, is 0"],
    "[listen]\nmax_connections = 0": ["listen.max_connections: must be at least 1, is 0"],
    "[listen]\nallowed_origins = 'https://example.org'": [
        'listen.allowed_origins: expected a list, found the string "https://example.org"'
    ],
    "[listen]\nproxy_protocol_from = ['10.0.0.1/8', 'x']": [
        'listen.proxy_protocol_from: item 1: "10.0.0.1/8" has bits set to the right of its prefix '
        '(did you mean "10.0.0.0/8"?)',
        'listen.proxy_protocol_from: item 2: expected a network such as "10.0.0.0/8", found the string "x"',
    ],
    "[heartbeat]\ntimeout = 75": [
        'heartbeat.timeout: expected a duration such as "300ms", "30s", "5m", "24h" or "400d", '
        'found the integer 75 (did you mean "75s"?)'
    ],
    "[heartbeat]\nhello_deadline = '0s'": ['heartbeat.hello_deadline: must be at least "1ms", is "0s"'],
    "[license]\nmodel = 'epob'": [
        f'license.model: expected {ONE_OF_MODELS}, found the string "epob" (did you mean "epop"?)'
    ],
    "[license]\nshadow = 'epop'": ['license.shadow: expected "all" or a list, found the string "epop"'],
    "[license]\nshadow = ['epop', 'flaoting']": [
        f'license.shadow: item 2: expected {ONE_OF_MODELS}, found the string "flaoting" (did you mean "floating"?)'
    ],
    "[license.trueconf]\nonline_packs = [60]": [
        "license.trueconf.online_packs: item 1: expected one of 50, 100, 200, 300, 400, 500, found the integer 60"
    ],
    "[store]\npath = ''": ['store.path: expected a path, found the string ""'],
    # rules between keys
    "[heartbeat]\ntimeout = '30s'": ["heartbeat.timeout: must exceed heartbeat.interval (30s), is 30s"],
    "[heartbeat]\ntimeout = '5s'\ninterval = 'x'": [
        'heartbeat.interval: expected a duration such as "300ms", "30s", "5m", "24h" or "400d", found the string "x"'
    ],
    "[listen]\nhost = '0.0.0.0'": [
        'listen.host: "0.0.0.0" is not a loopback address: needs accounts.mode = "token" or '
        '"jwt", or accounts.trust_claims = true'
    ],
    "[listen]\nhost = 'gateway.example.org'": [
        'listen.host: "gateway.example.org" is not a loopback address: needs accounts.mode = "token" or '
        '"jwt", or accounts.trust_claims = true'
    ],
    "[listen]\ntcp = 4311\nwebsocket = 4310": [
        "listen.operator: port 4311 is already taken by listen.tcp",
        "registrar.port: port 4310 is already taken by listen.websocket",
    ],
    "[operator]\nread_groups = ['a']\nproxy_hosts = ['a.b']": [
        "operator.proxy_hosts: has no effect without operator.trust_proxy",
        "operator.read_groups: has no effect without operator.trust_proxy",
    ],
    "[operator]\ntrust_proxy = ['10.0.0.5/32', '::/0']": [
        "operator.proxy_hosts: is missing, needed with operator.trust_proxy",
        "operator.admin_groups: is missing, or operator.read_groups: nobody may do anything",
        'operator.trust_proxy: "::/0" has everybody in it, who may name anybody',
    ],
    "[operator]\nuser_header = 'X-User'\ngroups_header = 'x-user'": [
        "operator.groups_header: is operator.user_header too"
    ],
    "[operator]\nuser_header = 'Host'\ngroups_header = 'Remote_Groups'": [
        "operator.user_header: expected the name of a header that has no meaning of its own, such as Remote-User, "
        'found the string "Host"',
        "operator.groups_header: expected the name of a header that has no meaning of its own, such as Remote-User, "
        'found the string "Remote_Groups"',
    ],
    "[operator]\nadmin_groups = ['a,b', '']": [
        'operator.admin_groups: item 1: expected the name of a group, without a comma, or "*", found the string "a,b"',
        'operator.admin_groups: item 2: expected the name of a group, without a comma, or "*", found the string ""',
    ],
    "[listen]\ntls_certificate = '/dev/null'": ["listen.tls_key: is missing, needed with listen.tls_certificate"],
    "[listen]\ntls_key = '/dev/null'": ["listen.tls_certificate: is missing, needed with listen.tls_key"],
    "[listen]\noperator_tls_key = '/dev/null'": [
        "listen.operator_tls_certificate: is missing, needed with listen.operator_tls_key"
    ],
    "[listen]\ntls_key = '/nowhere'": ['listen.tls_key: "/nowhere" cannot be read: No such file or directory'],
    "[license.floating]\nlimit = 1\nkey = 'account'\nreserve = ['a', 'b']": [
        "license.floating.reserve: has 2 keys, license.floating.limit is 1"
    ],
    "[license.floating]\nreserve = ['a']": [
        'license.floating.reserve: has keys, but with license.floating.key = "connection" none can be reserved'
    ],
    "[license.floating]\nkey = 'address'\nreserve = ['192.0.2.1', 'ann', '192.0.2.256']": [
        'license.floating.reserve: "ann" is not an IP address, as license.floating.key asks',
        'license.floating.reserve: "192.0.2.256" is not an IP address, as license.floating.key asks',
    ],
    "[license.floating]\nkey = 'device'\nreserve = ['ann', 'ann/', 'ann/pc', 'ann/far/pc', 'a/b/c/d']": [
        'license.floating.reserve: "ann" is not "account/device", as license.floating.key asks',
        'license.floating.reserve: "ann/" is not "account/device", as license.floating.key asks',
        'license.floating.reserve: "a/b/c/d" is not "account/device", as license.floating.key asks',
    ],
    "[license.floating]\nkey = 'account'\nreserve = ['ann', 'a b', 'ann/far', 'a%2Fb', 'a/b/c', '50%', '']": [
        'license.floating.reserve: "a/b/c" is not an account, as license.floating.key asks',
        'license.floating.reserve: "50%" is not an account, as license.floating.key asks',
        'license.floating.reserve: "" is not an account, as license.floating.key asks',
    ],
    "[registration]\nrole = 'agent'": [
        'registration.server: is missing, needed with registration.role = "agent"',
        'registration.serial: is missing, needed with registration.role = "agent"',
        'registration.key_file: is missing, needed with registration.role = "agent"',
    ],
    f"[registration]\ntls_fingerprint = '{'0' * 64}'": [
        "registration.tls_fingerprint: has no effect without registration.tls = true"
    ],
    "[registration]\ngrace = '13h'": ["registration.grace: is more than 12h, which no license allows"],
    # everything at once
    "[lisen]\n[listen]\ntcp = -1\n[heartbeat]\ntimeout = '1s'\nx = 1": [
        'lisen: unknown section (did you mean "listen"?)',
        "heartbeat.x: unknown key",
        "listen.tcp: must be at least 0, is -1",
        "heartbeat.timeout: must exceed heartbeat.interval (30s), is 1s",
    ],
}

GOOD_FILES = [
    "",
    "[listen]\nhost = '0.0.0.0'\n[accounts]\nmode = 'token'",
    "[listen]\nhost = '0.0.0.0'\n[accounts]\ntrust_claims = true",
    "[listen]\nhost = '::1'",
    "[listen]\nhost = 'localhost'",
    "[listen]\ntcp = 0\nwebsocket = 0\noperator = 0\n[registrar]\nport = 0",
    "[listen]\ntcp = 4310\n[registrar]\nenabled = false",
    "[license.floating]\nlimit = 1\nkey = 'account'\nreserve = ['a', 'A']",
    "[license.floating]\nkey = 'account'\nreserve = ['a', 'b/far']",
    "[license.floating]\nlimit = 1\nkey = 'address'\nreserve = ['2001:DB8:0::9', '2001:db8::9']",
    "[license]\nshadow = []",
]

NOT_TOML = {
    b"a = 1\nb = = 2": "is not TOML: line 2, column 5: invalid value",
    b"a = 1\n\nb = '": 'is not TOML: line 3, end of file: expected "\'"',
    b"a = 1\na = 2": "is not TOML: line 2, end of file: cannot overwrite a value",
    b"a = \xff": "is not UTF-8 (at byte 4)",
    b"a = " + b"[" * 20_000: "is nested too deeply",
    b"#" * (LONGEST + 1): "cannot be read: it is longer than 1,048,576 bytes",
}


def faults(path: Path | None, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    assert str(caught.value).splitlines() == [str(fault) for fault in caught.value.faults]
    return str(caught.value).splitlines()


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "gateway.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("content", BAD_FILES)
def test_a_bad_file_is_refused_with_exactly_its_faults(tmp_path: Path, content: str) -> None:
    assert faults(write(tmp_path, content)) == BAD_FILES[content]


@pytest.mark.parametrize("content", GOOD_FILES)
def test_a_good_file_is_taken(tmp_path: Path, content: str) -> None:
    load(write(tmp_path, content))


@pytest.mark.parametrize("content", NOT_TOML)
def test_a_file_that_is_no_toml_says_where(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, content)
    assert faults(path) == [f"{path}: {NOT_TOML[content]}"]


def test_a_number_too_long_for_anybody_is_a_fault_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a = " + "9" * 5000)
    assert faults(path)[0].startswith(f"{path}: is not TOML: ")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert faults(tmp_path / "none.toml") == [f"{tmp_path}/none.toml: cannot be read: No such file or directory"]
    assert faults(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]


def test_faults_of_overrides_are_said_with_those_of_an_unreadable_file(tmp_path: Path) -> None:
    assert len(faults(tmp_path, "listen.tcp=x")) == 2


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load(write(tmp_path, b"\xef\xbb\xbf[listen]\ntcp = 0")).listen.tcp == 0


def test_without_file_and_overrides_all_is_default() -> None:
    assert load(None) == Settings()


def test_an_override_stands_above_the_file_and_a_later_one_above_an_earlier(tmp_path: Path) -> None:
    path = write(tmp_path, "[license.epop]\nusers = 1\n[license]\noverdraft = 1")
    settings = load(path, ["license.epop.users=2", "license.epop.users = 3"])
    assert settings.license.terms["epop"].users == 3
    assert settings.license.overdraft == 1


def test_an_override_mends_a_bad_value_of_the_file(tmp_path: Path) -> None:
    assert load(write(tmp_path, "[listen]\ntcp = 'x'"), ["listen.tcp=1"]).listen.tcp == 1


def test_overrides_are_read_by_the_type_of_their_key() -> None:
    settings = load(
        None,
        [
            "license.model=nefsis-named",
            "license.nefsis-named.hosts=2",
            "license.enforce=false",
            "license.shadow=epop,floating",
            "heartbeat.timeout=2m",
            "listen.max_connections=12",
            'listen.allowed_origins=["https://a.example", "https://b.example"]',
            "license.trueconf.online_packs=50,100",
            "accounts.home=Example.ORG",
        ],
    )
    assert (settings.license.model, settings.license.terms["nefsis-named"].hosts) == ("nefsis-named", 2)
    assert (settings.license.enforce, settings.license.shadow) == (False, ("epop", "floating"))
    assert (settings.heartbeat.timeout, settings.listen.max_connections) == (120.0, 12)
    assert settings.listen.allowed_origins == ("https://a.example", "https://b.example")
    assert settings.license.terms["trueconf"].online_packs == (50, 100)
    assert settings.accounts.home == "example.org"


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("license.modle=x", 'license.modle: unknown key (did you mean "license.model"?)'),
        ("hartbeat.interval=1s", 'hartbeat.interval: unknown key (did you mean "heartbeat.interval"?)'),
        ("tcp=1", 'tcp: unknown key (did you mean "listen.tcp"?)'),
        ("license.terms=1", "license.terms: unknown key"),
        ("license.epop=1", "license.epop: is a section, expected one of its keys, such as license.epop.users"),
        ("verbose", '--set: expected key=value, found "verbose"'),
        ("\x1b[2J=1", r'"\u001b[2J": unknown key'),
        ("listen.tcp=", 'listen.tcp: expected an integer, found the string ""'),
        ("license.enforce=no", 'license.enforce: expected true or false, found the string "no"'),
        (
            "heartbeat.timeout=90",
            'heartbeat.timeout: expected a duration such as "300ms", "30s", "5m", "24h" or "400d", '
            'found the string "90" (did you mean "90s"?)',
        ),
        (
            "license.on_duplicate=rejct",
            'license.on_duplicate: expected one of "takeover", "reject", "allow", found the string "rejct" '
            '(did you mean "reject"?)',
        ),
    ],
)
def test_a_bad_override_is_refused_with_its_reason(override: str, fault: str) -> None:
    assert faults(None, override) == [fault]


@pytest.mark.parametrize(
    ("most", "outbound", "warned"), [(100, 65536, False), (492, 65536, False), (493, 65536, True), (100, 1024, True)]
)
def test_a_welcome_that_no_client_could_read_is_warned_of(most: int, outbound: int, *, warned: bool) -> None:
    settings = load(None, [f"conferences.max_per_session={most}", f"listen.outbound_limit={outbound}"])
    assert [each.key for each in warnings(settings)] == (["conferences.max_per_session"] if warned else [])


def test_what_a_license_says_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("00" * 32)
    own = ['license.trueconf.support="full"', "license.trueconf.sdk=true", "license.trueconf.online_packs=[50]"]
    agent = [
        "registration.role=agent",
        "registration.server=127.0.0.1:1",
        "registration.serial=S",
        f"registration.key_file={key}",
    ]

    def told(*lines: str) -> list[str]:
        return [each.key for each in warnings(load(None, ["license.model=trueconf", *lines])) if "sold" in each.reason]

    assert told(*own) == told(*agent) == []
    assert told(*own, *agent) == [f"license.trueconf.{field}" for field in ("support", "online_packs", "sdk")]


def test_a_fault_knows_its_key_reason_and_what_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, ["license.modle=x"])
    assert caught.value.faults == (ConfigFault("license.modle", "unknown key", "license.model"),)


def test_a_certificate_with_its_key_is_taken() -> None:
    settings = load(None, [f"listen.tls_certificate={TLS / 'certificate.pem'}", f"listen.tls_key={TLS / 'key.pem'}"])
    assert settings.listen.tls_key == str(TLS / "key.pem")


@pytest.mark.parametrize("prefix", ["tls", "operator_tls"])
@pytest.mark.parametrize(
    ("certificate", "key", "reason"),
    [
        ("certificate.pem", "other-key.pem", "key values mismatch"),
        ("certificate.pem", "certificate.pem", "not a certificate and a key in PEM"),
        ("key.pem", "key.pem", "not a certificate and a key in PEM"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused(prefix: str, certificate: str, key: str, reason: str) -> None:
    said = faults(None, f"listen.{prefix}_certificate={TLS / certificate}", f"listen.{prefix}_key={TLS / key}")
    assert said == [f"listen.{prefix}_certificate: cannot be used with listen.{prefix}_key: {reason}"]


def test_an_authority_that_cannot_be_used_is_refused() -> None:
    named = ("registration.tls=true", f"registration.tls_ca={TLS / 'key.pem'}")
    assert faults(None, *named) == [f'registration.tls_ca: "{TLS / "key.pem"}" is no certificate authority in PEM']


def test_a_registrar_has_no_interval_that_no_agent_takes() -> None:
    assert load(None, ["registrar.interval=24h"]).registrar.interval == LONGEST_INTERVAL
    assert faults(None, "registrar.interval=25h") == ['registrar.interval: must be at most "24h", is "25h"']
