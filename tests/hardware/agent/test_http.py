"""Who may ask, how much and for how long: requests as a stranger would send them."""

import json
import random
import resource
import socket
import threading
import time
from contextlib import suppress

import pytest

from hardware.agent import Agent, AgentServer
from hardware.agent import server as server_module
from hardware.errors import DeviceNotFound
from hardware.web.reading import HEAD_LIMIT
from hardware.web.token import read_token
from tests.hardware.agent.bench import CLIENT, TOKEN, ask, exchange, serving, small_rig


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def raw(server, *lines, body=b"", token=TOKEN, host=None):
    """Send lines as they are after Host and token; return the status, 0 for no answer."""
    host = host or f"127.0.0.1:{server.server_address[1]}"
    first, *rest = lines
    head = [first, f"Host: {host}", f"Authorization: Bearer {token}", *rest]
    answer = exchange(server, "\r\n".join(head).encode("latin-1") + b"\r\n\r\n", body)
    return int(answer.split()[1]) if answer else 0


# The token


@pytest.mark.parametrize(
    "shown",
    [None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}",
     f"Bearer {TOKEN}x", f"Bearer  {TOKEN}", f"bearer {TOKEN.upper()}", "Bearer ÿþ"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/info", "/api/state", "/api/live", "/api/nothing"])
def test_nothing_is_told_without_the_token(server, shown, path):
    status, answer = ask(server, "GET", path, headers={"Authorization": shown})
    assert status == 401
    assert answer["error"]["message"] == "the token is missing or wrong"


def test_a_stop_needs_the_token_too(server):
    status, _ = ask(
        server, "POST", "/api/emergency-stop", {}, headers={"Authorization": "Bearer x"}
    )
    assert status == 401
    assert server.agent.rig.safety.stopped is None


def test_two_tokens_are_none(server):
    assert raw(server, "GET /api/info HTTP/1.1", "Authorization: Bearer x") == 401


def test_an_open_address_needs_a_chosen_token():
    agent = Agent(small_rig())
    with pytest.raises(ValueError, match="key_file or VEILENS_TOKEN"):
        AgentServer(agent, host="0.0.0.0", port=0)
    with pytest.raises(ValueError, match="16 to 256 characters"):
        AgentServer(agent, port=0, token="short")
    one, two = (AgentServer(agent, port=0) for _ in range(2))
    assert len(one.token) >= 43  # 256 bits
    assert one.token != two.token
    with pytest.raises(DeviceNotFound, match="another port"):
        AgentServer(agent, port=one.server_address[1])
    one.server_close()
    two.server_close()


def test_a_token_comes_from_a_file_that_others_cannot_read(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    assert read_token(None, {"VEILENS_TOKEN": TOKEN}) == TOKEN
    assert read_token(None, {"OTHER": "x"}) == ""
    path.write_text("short")
    with pytest.raises(ValueError, match="16 to 256") as raised:
        read_token(path)
    assert "short" not in str(raised.value).replace("shorter", "")


# Where a request comes from


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:9000", 200), ("127.0.0.1", 200), ("[::1]:8765", 200), ("LOCALHOST", 200),
     ("evil.example", 403), ("evil.example:8765", 403), ("127.0.0.1.evil.example", 403),
     ("192.168.0.7:8765", 403), ("localhost@evil.example", 403), ("", 403)],
)  # fmt: skip
def test_only_names_of_this_machine_are_answered(server, host, status):
    head = f"GET /api/info HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"
    answer = exchange(server, head.encode() + b"Connection: close\r\n\r\n")
    assert int(answer.split()[1]) == status


def test_hosts_of_an_open_address():
    open_server = AgentServer(Agent(small_rig()), host="0.0.0.0", port=0, token=TOKEN)
    try:
        assert open_server.allows_host("192.168.0.7:8765")  # no name that others may point here
        assert open_server.allows_host(socket.gethostname())
        assert not open_server.allows_host("evil.example:8765")
    finally:
        open_server.server_close()


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://evil.example", 403), ("null", 403), ("https://127.0.0.1", 403), (None, 200)],
)
def test_other_pages_may_not_ask(server, origin, status):
    assert ask(server, "GET", "/api/state", headers={"Origin": origin})[0] == status


def test_the_own_page_may_ask(server):
    own = f"http://127.0.0.1:{server.server_address[1]}"
    assert ask(server, "GET", "/api/state", headers={"Origin": own})[0] == 200


def test_another_version_is_refused(server):
    status, answer = ask(server, "GET", "/api/info", headers={"Veilens-Version": "2"})
    assert status == 426
    assert "update both" in answer["error"]["message"]


# Paths and methods


@pytest.mark.parametrize(
    "path",
    ["//..%2f", "/../server.py", "/..%2f..%2fetc/passwd", "/page.html", "/api", "/api/",
     "/api//info",
     "/API/INFO", "/api/info/", "/api/info%00", "/%2e%2e/server.py", "/page.css/../server.py",
     "http://evil.example/api/nothing", "/page.js%20", "/.git/config", "*", "api/info"],
)  # fmt: skip
def test_what_is_not_in_the_table_is_not_there(server, path):
    assert raw(server, f"GET {path} HTTP/1.1") == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused(server, method):
    assert raw(server, f"{method} /api/info HTTP/1.1") == 405


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js"])
def test_the_page_holds_no_secret_and_loads_nothing_from_elsewhere(server, path):
    status, content = ask(server, "GET", path, headers={"Authorization": None})
    assert status == 200
    assert TOKEN.encode() not in content
    for outside in (b"http://", b"https://", b"//cdn", b"@import", b"url("):
        assert outside not in content
    head = exchange(server, f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    assert b"default-src 'self'" in head.partition(b"\r\n\r\n")[0]


# Sizes and times


@pytest.mark.parametrize(
    "length", ["-1", "+5", "1e3", "0x10", "5 5", "five", "", "9" * 30, "5, 5", "\u0665"]
)
def test_a_bad_content_length_is_refused(server, length):
    line = f"Content-Length: {length}".encode().decode("latin-1")
    status = raw(server, "POST /api/emergency-stop HTTP/1.1", line, body=b"{}{}{")
    assert status == 400
    assert server.agent.rig.safety.stopped is None


def test_two_content_lengths_are_refused(server):
    lines = ("Content-Length: 2", "Content-Length: 3")
    assert raw(server, "POST /api/emergency-stop HTTP/1.1", *lines, body=b"{} ") == 400


def test_chunks_are_refused(server):
    line = "Transfer-Encoding: chunked"
    assert (
        raw(server, "POST /api/emergency-stop HTTP/1.1", line, body=b"2\r\n{}\r\n0\r\n\r\n") == 400
    )


def test_a_huge_body_is_refused_before_it_is_read(server):
    line = f"Content-Length: {2**29}"
    begun = time.monotonic()
    assert raw(server, "POST /api/control HTTP/1.1", line, body=bytes(4 * 2**20)) in (413, 0)
    assert time.monotonic() - begun < 3
    assert raw(server, "POST /api/control HTTP/1.1", line) == 413


def test_a_body_shorter_than_it_says_is_refused(server):
    assert raw(server, "POST /api/emergency-stop HTTP/1.1", "Content-Length: 9", body=b"{}") == 400


def test_a_huge_head_is_refused(server):
    assert raw(server, "GET /" + "x" * HEAD_LIMIT + " HTTP/1.1") in (431, 0)
    many = [f"X-{i}: {'y' * 200}" for i in range(HEAD_LIMIT // 200)]
    assert raw(server, "GET /api/info HTTP/1.1", *many) == 431


def test_a_request_that_trickles_in_ends_at_a_deadline(server, monkeypatch):
    monkeypatch.setattr("hardware.web.reading.HEAD_WITHIN", 0.5)
    monkeypatch.setattr("hardware.web.reading.BODY_WITHIN", 0.5)
    whole = (
        f"POST /api/emergency-stop HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Length: 60\r\n\r\n"
    ).encode()
    for at_once in (b"POST /api", whole):  # a slow head, a slow body
        with socket.create_connection(server.server_address[:2], timeout=5) as link:
            link.sendall(at_once)
            begun = time.monotonic()
            with suppress(OSError):  # reset or broken pipe, as the system likes
                while time.monotonic() - begun < 4:
                    link.sendall(b" ")
                    time.sleep(0.05)
            assert time.monotonic() - begun < 2.5
    assert server.agent.rig.safety.stopped is None


def test_silent_strangers_keep_nobody_out(server, monkeypatch):
    monkeypatch.setattr(server_module, "STRANGERS", 8)
    before = threading.active_count()  # threads that earlier tests of this process left idle
    links = [socket.create_connection(server.server_address[:2], timeout=5) for _ in range(40)]
    try:
        begun = time.monotonic()
        assert ask(server, "GET", "/api/info")[0] == 200
        assert time.monotonic() - begun < 1
        assert threading.active_count() - before < 20
    finally:
        for link in links:
            link.close()


# Bodies


@pytest.mark.parametrize(
    "body",
    [b"[]", b"1", b'"x"', b"{", b"\xff\xfe", b'{"stage": NaN}', b"[" * 30000, b'{"a":' * 9000,
     b"null"],
)  # fmt: skip
def test_a_body_that_is_no_object_is_refused(server, body):
    line = f"Content-Length: {len(body)}"
    assert raw(server, "POST /api/stage/home HTTP/1.1", line, body=body) == 400


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/stage/move", {"stage": "table", "target": {"z": "1"}}, "target.z"),
        ("/api/stage/move", {"stage": "table", "target": {"z": True}}, "target.z"),
        ("/api/stage/move", {"stage": "table", "target": {"z": 10**400}}, "target.z"),
        ("/api/stage/move", {"stage": "table", "target": {}}, "target"),
        ("/api/stage/move", {"stage": "table", "target": [1]}, "target"),
        ("/api/stage/move", {"stage": "no", "target": {"z": 1}}, "stage = 'no'"),
        ("/api/stage/move", {"stage": "table", "target": {"q": 1}}, "axis = 'q'"),
        ("/api/stage/move", {"target": {"z": 1}}, "stage is missing"),
        ("/api/stage/jog", {"stage": "table", "axis": "z", "distance": None}, "distance"),
        ("/api/stage/jog", {"stage": "table", "axis": "z", "distance": 1, "force": 1}, "force"),
        ("/api/light/set", {"light": "lamps", "channel": "led", "level": 1.1}, "expected 0 to 1"),
        ("/api/light/set", {"light": "lamps", "channel": "laser", "level": 1}, "interlock"),
        ("/api/camera/configure", {"max_exposure": 99}, "max_exposure = 99"),
        ("/api/camera/configure", {"max_exposure": 1, "mode": "x"}, "mode = 'x'"),
        ("/api/camera/configure", {"max_exposure": 1, "roi": {"row": 1}}, "row, column"),
        ("/api/live/view", {"exposure": 0}, "exposure = 0"),
        ("/api/live/view", {"roi": {"row": 0, "column": 0, "height": 999, "width": 9}}, "pixels"),
        ("/api/camera/capture", {"exposures": []}, "exposures"),
        ("/api/camera/capture", {"exposures": [1e-3], "repeats": 1.5}, "repeats"),
    ],
)
def test_a_wrong_argument_is_named(server, path, body, message):
    ask(server, "POST", "/api/control", {"name": "test"})
    status, answer = ask(server, "POST", path, body)
    assert status == 400
    assert answer["error"]["class"] == "ValueError"
    assert message in answer["error"]["message"]


def test_errors_are_of_bounded_size(server):
    ask(server, "POST", "/api/control", {"name": "test"})
    long = {"stage": "table", "target": {"z" * 50_000: 1.0}}
    status, answer = ask(server, "POST", "/api/stage/move", long)
    assert status == 400
    assert len(json.dumps(answer)) < 5000


@pytest.mark.slow
def test_ten_thousand_mutated_requests_do_no_harm(server):
    """Alive, 4xx or a whole answer, at most 2 s each, bounded memory, nothing moved or lit."""
    rng = random.Random(0)
    host = f"127.0.0.1:{server.server_address[1]}"
    body = json.dumps({"stage": "table", "target": {"z": 0.05}}).encode()
    paths = [
        "/api/stage/move",
        "/api/light/set",
        "/api/state",
        "/api/camera/capture",
        "/",
        "/api/x",
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    strange = ["\x00", "\r", "\n", "\r\n\r\n", " ", ":", "%2f", "..", "\xff", "9" * 20, "chunked"]
    for number in range(10_000):
        shown = TOKEN if rng.random() < 0.5 else TOKEN[: rng.randrange(len(TOKEN))]
        lines = [
            f"{rng.choice(['GET', 'POST', 'PUT', 'get'])} {rng.choice(paths)} "
            f"HTTP/{rng.choice(['1.1', '1.0', '0.9', '2', '1.x'])}",
            f"Host: {rng.choice([host, 'localhost', 'evil.example', ''])}",
            f"Authorization: Bearer {shown}",
            f"Content-Length: {rng.choice([len(body), 0, 1, len(body) + 1, -1, 2**31])}",
            f"Range: bytes=0-{number}",
        ]
        lines[1:] = rng.sample(lines[1:], rng.randrange(5))
        text = bytearray("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        for _ in range(rng.randrange(4)):
            place = rng.randrange(len(text))
            if rng.random() < 0.5:
                text[place : place + 1] = rng.choice(strange).encode("latin-1")
            else:
                text[place] = rng.randrange(256)
        begun = time.monotonic()
        answer = exchange(server, bytes(text))
        assert time.monotonic() - begun < 2, bytes(text)
        if answer:
            assert answer.startswith(b"HTTP/1.1 ")
            assert int(answer.split()[1]) < 500 or answer.split()[1] == b"505", bytes(text)
            assert TOKEN.encode() not in answer.partition(b"<!doctype")[0]
    state = ask(server, "GET", "/api/state")[1]
    assert state["stages"]["table"]["position"]["z"] == 0.0
    assert state["lights"]["lamps"] == {"led": 0.0, "laser": 0.0}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_requests_leave_no_thread(server):
    for _ in range(30):
        ask(server, "GET", "/api/state")
    time.sleep(0.2)
    names = [thread.name for thread in threading.enumerate()]
    assert sum("process_request" in name for name in names) <= 3


def test_a_released_client_is_forgotten(server):
    ask(server, "POST", "/api/control", {"name": "test"})
    assert server.agent.lease.held_by(CLIENT)
    assert ask(server, "POST", "/api/release", {})[0] == 200
    assert server.agent.lease.holder is None
