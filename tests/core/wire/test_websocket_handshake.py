"""The opening handshake: who may speak WebSocket, and what the others are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wire.websocket_handshake import (
    HEAD_LIMIT,
    TOO_SLOW,
    Accepted,
    Origins,
    Refused,
    Upgrade,
    accept,
    refuse,
)

GOOD = {
    "Host": "gate.example.org:4308",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def request(line: str = "GET /ws HTTP/1.1", *extra: str, **changes: str | None) -> bytes:
    """A good request with another line, headers changed (underscores for hyphens; None leaves out) or added."""
    renamed = {name.replace("_", "-"): value for name, value in changes.items()}
    headers = [f"{name}: {value}" for name, value in {**GOOD, **renamed}.items() if value is not None]
    return "\r\n".join((line, *headers, *extra, "", "")).encode("latin-1")


def judge(data: bytes, *allowed: str, address: str = "192.0.2.1") -> Accepted | Refused:
    answer = Upgrade(Origins(allowed), address).feed(data)
    assert answer is not None
    return answer


def headers(response: bytes) -> tuple[str, dict[str, str], bytes]:
    head, body = response.split(b"\r\n\r\n", 1)
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


def test_the_handshake_of_the_rfc_is_accepted() -> None:
    answer = judge(request())
    assert isinstance(answer, Accepted)
    first, fields, body = headers(answer.response)
    assert first == "HTTP/1.1 101 Switching Protocols"
    assert fields == {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }
    assert body == answer.rest == b""
    assert accept(GOOD["Sec-WebSocket-Key"]) == fields["Sec-WebSocket-Accept"]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["tallygate.v1"], "tallygate.v1"),
        (["mqtt, tallygate.v1"], "tallygate.v1"),
        (["mqtt", "tallygate.v1,stomp"], "tallygate.v1"),
        (["mqtt"], None),
        (["TallyGate.V1"], None),
        ([""], None),
    ],
)
def test_the_subprotocol_is_chosen_if_offered(offered: list[str], chosen: str | None) -> None:
    answer = judge(request("GET /ws HTTP/1.1", *(f"Sec-WebSocket-Protocol: {line}" for line in offered)))
    assert isinstance(answer, Accepted)
    assert answer.subprotocol == chosen
    assert headers(answer.response)[1].get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request("GET /ws?token=1&x=/y HTTP/1.1"), id="a query"),
        pytest.param(request("GET http://gate.example.org:4308/ws HTTP/1.1"), id="a whole URL"),
        pytest.param(b"\r\n" + request(), id="an empty line before it"),
        pytest.param(request("GET /ws HTTP/1.2"), id="a later HTTP/1"),
        pytest.param(request(Upgrade="WebSocket"), id="Upgrade in other case"),
        pytest.param(request(Upgrade="h2c, websocket"), id="Upgrade as a list"),
        pytest.param(request(Connection="keep-alive, upgrade"), id="Connection as a list"),
        pytest.param(request("GET /ws HTTP/1.1", "Connection: keep-alive"), id="Connection twice"),
        pytest.param(request(Content_Length="0"), id="a body of nothing"),
        pytest.param(request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"), id="extensions"),
        pytest.param(request("GET /ws HTTP/1.1", "X-Empty:", "X-Tab:\tvalue \t", "X-Latin: \xe9"), id="odd values"),
        pytest.param(request().replace(b"Host: ", b"hOST:"), id="names in any case, no space after the colon"),
        pytest.param(request(Host="[::1]:4308"), id="an IPv6 host"),
    ],
)
def test_what_is_good_http_is_accepted(data: bytes) -> None:
    answer = judge(data)
    assert isinstance(answer, Accepted)
    assert b"Extensions" not in answer.response


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00", 400, id="TLS, before any line is whole"),
        pytest.param(b"GET /ws HTTP/1.1\n", 400, id="a bare LF, before the head is whole"),
        pytest.param(b'{"type":"hello"}\r\n\r\n', 400, id="JSON"),
        pytest.param(b"\r\n\r\n", 400, id="nothing"),
        pytest.param(b"\r\n\r\n" + request(), 400, id="two empty lines before it"),
        pytest.param(request("GET  /ws HTTP/1.1"), 400, id="two spaces"),
        pytest.param(request("GET /ws"), 400, id="HTTP/0.9"),
        pytest.param(request("GET /ws HTTP/1.1 "), 400, id="a space at the end"),
        pytest.param(request("GET /ws http/1.1"), 400, id="http in small letters"),
        pytest.param(request("GET /ws#top HTTP/1.1"), 400, id="a fragment"),
        pytest.param(request("GET /w\xe9 HTTP/1.1"), 400, id="a path beyond ASCII"),
        pytest.param(request("G(T /ws HTTP/1.1"), 400, id="a method that is no token"),
        pytest.param(request("GET /ws HTTP/1.0"), 400, id="HTTP/1.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, id="HTTP/2"),
        pytest.param(request("GET /ws HTTP/1.1", " folded"), 400, id="a folded line"),
        pytest.param(request("GET /ws HTTP/1.1", "X-A : b"), 400, id="a space before the colon"),
        pytest.param(request("GET /ws HTTP/1.1", "X-A"), 400, id="no colon"),
        pytest.param(request("GET /ws HTTP/1.1", ": b"), 400, id="no name"),
        pytest.param(request("GET /ws HTTP/1.1", "X-\xe9: b"), 400, id="a name beyond ASCII"),
        pytest.param(request("GET /ws HTTP/1.1", "X-A: \0"), 400, id="NUL"),
        pytest.param(request("GET /ws HTTP/1.1", "X-A: \x7f"), 400, id="DEL"),
        pytest.param(request("GET /ws HTTP/1.1", "X-A: a\rb"), 400, id="a bare CR"),
        pytest.param(request("GET /ws HTTP/1.1", "X-A: a\nX-B: b"), 400, id="a bare LF"),
        pytest.param(request(Host=None), 400, id="no Host"),
        pytest.param(request(Host=""), 400, id="an empty Host"),
        pytest.param(request(Host="a b"), 400, id="a Host with a space"),
        pytest.param(request(Host="a:port"), 400, id="a Host with a word for a port"),
        pytest.param(request("GET /ws HTTP/1.1", "Host: gate.example.org:4308"), 400, id="two Hosts"),
        pytest.param(request(Content_Length="5"), 400, id="a body"),
        pytest.param(request(Content_Length="0, 0"), 400, id="a list of lengths"),
        pytest.param(request(Content_Length="+0"), 400, id="a length that is no number"),
        pytest.param(request(Transfer_Encoding="chunked"), 400, id="a chunked body"),
        pytest.param(request("GET / HTTP/1.1"), 404, id="another path"),
        pytest.param(request("GET /ws/ HTTP/1.1"), 404, id="a longer path"),
        pytest.param(request("GET ws HTTP/1.1"), 404, id="no slash"),
        pytest.param(request("POST /other HTTP/1.1"), 404, id="another path with another method"),
        pytest.param(request("POST /ws HTTP/1.1"), 405, id="POST"),
        pytest.param(request("get /ws HTTP/1.1"), 405, id="get in small letters"),
        pytest.param(request(Upgrade=None), 426, id="no Upgrade"),
        pytest.param(request(Upgrade="h2c"), 426, id="an Upgrade to something else"),
        pytest.param(request(Connection="keep-alive"), 426, id="an Upgrade not meant for us"),
        pytest.param(request(Connection=None), 426, id="no Connection"),
        pytest.param(request(Sec_WebSocket_Version="8"), 426, id="version 8"),
        pytest.param(request(Sec_WebSocket_Version=None), 426, id="no version"),
        pytest.param(request("GET /ws HTTP/1.1", "Sec-WebSocket-Version: 13"), 426, id="two versions"),
        pytest.param(request(Sec_WebSocket_Key=None), 400, id="no key"),
        pytest.param(request(Sec_WebSocket_Key="dGhlIHNhbXBsZQ=="), 400, id="a short key"),
        pytest.param(request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZSE="), 400, id="a long key"),
        pytest.param(request(Sec_WebSocket_Key="?GhlIHNhbXBsZSBub25jZQ=="), 400, id="a key that is not base64"),
        pytest.param(request("GET /ws HTTP/1.1", "Sec-WebSocket-Key: x"), 400, id="two keys"),
        pytest.param(request("GET /ws HTTP/1.1", "Origin: http://a", "Origin: http://b"), 400, id="two Origins"),
        pytest.param(request(Origin="http://elsewhere.example"), 403, id="a page from elsewhere"),
        pytest.param(request(X_Filler="x" * HEAD_LIMIT), 431, id="too much"),
        pytest.param(b"GET /" + b"x" * HEAD_LIMIT, 431, id="too long a line"),
    ],
)
def test_a_refusal_is_a_whole_response_with_its_status(data: bytes, status: int) -> None:
    answer = judge(data)
    assert isinstance(answer, Refused)
    assert answer.status == status
    first, fields, body = headers(answer.response)
    assert first.startswith(f"HTTP/1.1 {status} ")
    assert fields["Connection"].split(", ")[0] == "close"
    assert int(fields["Content-Length"]) == len(body) > 0
    assert fields.get("Allow") == ("GET" if status == 405 else None)
    assert fields.get("Upgrade") == ("websocket" if status == 426 else None)
    assert fields.get("Sec-WebSocket-Version") == ("13" if status == 426 else None)


def test_the_door_can_refuse_too() -> None:
    assert TOO_SLOW.response.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert refuse(503, "full", "Retry-After: 5").response == (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nfull\n"
    )


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "permitted"),
    [
        ("http://gate.example", "gate.example", (), True),
        ("http://gate.example", "gate.example:80", (), True),
        ("https://gate.example", "gate.example:443", (), True),
        ("https://gate.example:443", "gate.example", (), True),
        ("http://GATE.example:4308", "gate.EXAMPLE:4308", (), True),
        ("http://[::1]:4308", "[::1]:4308", (), True),
        ("http://gate.example", "gate.example:4308", (), False),
        ("https://gate.example", "gate.example:80", (), False),
        ("http://gate.example.evil", "gate.example", (), False),
        ("http://evil/gate.example", "gate.example", (), False),
        ("ftp://gate.example", "gate.example", (), False),
        ("gate.example", "gate.example", (), False),
        ("null", "gate.example", (), False),
        ("", "gate.example", (), False),
        ("null", "gate.example", ("*",), True),
        ("http://elsewhere", "gate.example", ("*",), True),
        ("https://app.example", "gate.example", ("https://app.example",), True),
        ("https://APP.example:443", "gate.example", ("https://app.example",), True),
        ("http://app.example", "gate.example", ("https://app.example",), False),
        ("https://app.example:8443", "gate.example", ("https://app.example",), False),
        ("http://gate.example", "gate.example", ("https://app.example",), False),
        ("null", "gate.example", ("https://app.example",), False),
        ("null", "gate.example", ("null",), True),
        ("capacitor://localhost", "gate.example", ("capacitor://localhost",), True),
        ("capacitor://localhost", "localhost", (), False),
        ("ionic://localhost", "gate.example", ("capacitor://localhost",), False),
        ("capacitor://localhost:8080", "gate.example", ("capacitor://localhost",), False),
        ("chrome-extension://ABCdef", "gate.example", ("chrome-extension://abcdef",), True),
        ("chrome-extension://abcdeg", "gate.example", ("chrome-extension://abcdef",), False),
        ("file://", "gate.example", ("file://",), True),
        ("file:///etc", "gate.example", ("file://",), False),
        ("file:", "gate.example", ("file://",), False),
        ("file://", "gate.example", ("https://app.example",), False),
        ("app://.", "gate.example", ("app://.",), True),
    ],
)
def test_a_page_may_connect_as_the_origins_say(
    origin: str, host: str, allowed: tuple[str, ...], permitted: bool
) -> None:
    assert Origins(allowed).permits(origin, host) is permitted
    answer = judge(request(Host=host, Origin=origin), *allowed)
    assert isinstance(answer, Accepted if permitted else Refused)


def test_who_names_no_origin_is_no_browser_and_may_connect() -> None:
    assert isinstance(judge(request(), "https://app.example"), Accepted)


LOCAL = ["localhost", "LOCALHOST.", "localhost:4308", "127.0.0.1", "127.0.0.9:4308", "[::1]", "[::1]:4308"]
FOREIGN = ["evil.example", "evil.example:4308", "localhost.evil.example", "192.0.2.1", "[2001:db8::1]:4308", "127.1"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1"])
@pytest.mark.parametrize("host", LOCAL + FOREIGN)
def test_a_page_in_a_browser_on_this_machine_must_have_named_it_by_a_local_name(host: str, address: str) -> None:
    page = request(Host=host, Origin=f"http://{host}")
    answer = judge(page, address=address)
    assert isinstance(answer, Accepted if host in LOCAL else Refused)
    if isinstance(answer, Refused):
        assert answer.status == 403
        assert b"local name" in answer.response
    for let in (
        judge(page, address="198.51.100.7"),
        judge(request(Host=host), address=address),
        judge(page, "*", address=address),
        judge(page, f"http://{host}", address=address),
    ):
        assert isinstance(let, Accepted)


def test_an_absolute_target_names_the_host() -> None:
    line = "GET http://gate.example/ws HTTP/1.1"
    assert isinstance(judge(request(line, Host="other.example", Origin="http://gate.example")), Accepted)
    assert isinstance(judge(request(line, Host="other.example", Origin="http://other.example")), Refused)


@given(st.lists(st.integers(0, 300), max_size=6), st.binary(max_size=60))
def test_a_request_cut_anywhere_is_accepted_and_what_follows_is_kept(cuts: list[int], rest: bytes) -> None:
    data = request(Sec_WebSocket_Protocol="tallygate.v1")
    places = sorted(cut % len(data) for cut in cuts)
    upgrade = Upgrade(Origins(), "192.0.2.1")
    for start, end in zip([0, *places], places, strict=False):
        assert upgrade.feed(data[start:end]) is None
    assert upgrade.feed(data[places[-1] if places else 0 :] + rest) == judge(data + rest)
    answer = judge(data + rest)
    assert isinstance(answer, Accepted)
    assert answer.rest == rest


def test_clients_that_differ_in_their_keys_only_each_get_the_answer_to_theirs() -> None:
    for key in (GOOD["Sec-WebSocket-Key"], "AAAAAAAAAAAAAAAAAAAAAA==", GOOD["Sec-WebSocket-Key"]):
        answer = judge(request(Sec_WebSocket_Key=key))
        assert headers(answer.response)[1]["Sec-WebSocket-Accept"] == accept(key)


HEADS = [
    request(),
    request(Sec_WebSocket_Protocol="other, tallygate.v1"),
    request(Origin="https://gate.example.org:4308"),
    request(oRIGIN="http://localhost"),
    request("GET /else HTTP/1.1"),
    request("GET /ws HTTP/1.1", f"Sec-WebSocket-Key: {GOOD['Sec-WebSocket-Key']}"),
    request("GET /ws HTTP/1.1\r\nX: y\r\n\r\nGET /ws HTTP/1.1"),
]


@given(
    st.sampled_from(HEADS),
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from([b"", b"x", b":", b" ", b"\r\n", b"="]))
    ),
    st.sampled_from(["192.0.2.1", "127.0.0.1"]),
)
def test_a_request_that_comes_at_once_is_judged_as_one_that_comes_bit_by_bit(
    head: bytes, changes: list[tuple[int, int, bytes]], address: str
) -> None:
    for place, size, instead in changes:
        head = head[:place] + instead + head[place + size :]
    whole, cut = Upgrade(Origins(), address).feed(head), Upgrade(Origins(), address)
    answers = (answer for bit in (head[:1], head[1:]) if (answer := cut.feed(bit)) is not None)
    assert next(answers, None) == whole


@given(st.lists(st.binary(max_size=80), max_size=5) | st.lists(st.sampled_from([request(), b"\r\n", b"a: b"])))
def test_any_bytes_are_judged_or_wait(chunks: list[bytes]) -> None:
    upgrade = Upgrade(Origins(), "192.0.2.1")
    for chunk in chunks:
        answer = upgrade.feed(chunk)
        assert answer is None or isinstance(answer, (Accepted, Refused))
        if answer is not None:
            return


@pytest.mark.parametrize(("filler", "status"), [(0, None), (1, 431)])
def test_a_head_of_exactly_the_limit_passes_however_it_is_cut(filler: int, status: int | None) -> None:
    data = request(X_Filler="")
    data = request(X_Filler="x" * (HEAD_LIMIT - len(data) + filler))
    upgrade = Upgrade(Origins(), "192.0.2.1")
    answers = [answer for byte in data[:HEAD_LIMIT] if (answer := upgrade.feed(bytes((byte,)))) is not None]
    whole = judge(data)
    assert answers == [whole]
    assert (whole.status if isinstance(whole, Refused) else None) == status
