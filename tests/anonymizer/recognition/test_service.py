"""The recognition service over a real socket: who is let in, what is kept, what is refused."""

import http.client
import json
import os
import select
import socket
import sqlite3
import stat
import time
from contextlib import suppress

import pytest
import torch

from anonymizer.recognition.service import (
    RecognitionClient,
    RecognitionServer,
    Secrets,
    ServiceError,
    StoreError,
    TemplateStore,
)
from anonymizer.recognition.service.requests import FaceRequest, check_name, model_name
from anonymizer.recognition.service.signing import (
    NONCE,
    SIGNATURE,
    TIME,
    WINDOW,
    Doorkeeper,
    Overrun,
    Unproven,
)
from anonymizer.recognition.service.store import UnknownPerson
from tests.anonymizer.protection.reference import faces
from tests.anonymizer.recognition.service_doubles import (
    KEY,
    TOKEN,
    networks,
    open_store,
    self_signed,
    service,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    made = service(tmp_path_factory.mktemp("service"))
    with RecognitionServer(made.app(), port=0) as server:
        yield made, server
    made.store.close()


@pytest.fixture
def client(running):
    made, server = running
    with RecognitionClient(server.url, TOKEN, made.protection) as opened:
        yield opened


def send(server, method, path, body=b"", headers=None):
    """Return status and answer of one request."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request(method, path, body or None, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content)


def signed(method, path, body=b""):
    return Secrets(TOKEN).sign(method, path, body)


# Faces


def test_a_face_is_enrolled_known_again_and_forgotten(running, client):
    made, _ = running
    images = faces(2, 112, 112)
    assert client.enrol("Ada", images[0]) == 1
    match = client.verify("Ada", images[0])
    assert match.same
    assert match.cosine == pytest.approx(1, abs=1e-5)
    assert client.identify(images[0])[0].person == "Ada"
    with torch.no_grad():  # what the server finds is what the networks find here
        vectors = []
        for face in images:
            hidden = made.protection.protect(face[None])
            taps = made.protection.codec(made.protection.taps(face[None], hidden))
            vectors.append(made.recognizer(hidden, taps)[0])
    expected = float(vectors[0] @ vectors[1])
    assert client.verify("Ada", images[1]).cosine == pytest.approx(expected, abs=1e-4)
    assert client.forget("Ada") == 0
    with pytest.raises(ServiceError, match="nobody of that name") as refused:
        client.verify("Ada", images[0])
    assert refused.value.status == 404


def test_bytes_are_counted(running, client):
    made, _ = running
    client.enrol("Ada", faces(1, 112, 112)[0])
    assert client.bytes_sent == 16 + 1 + 3 + made.protection.message_size
    client.forget("Ada")


def test_names_of_any_script_are_one_in_both_of_their_forms(client):
    face = faces(1, 112, 112)[0]
    client.enrol("Zo\u00eb \u674e", face)
    assert client.verify("Zoe\u0308 \u674e", face).same
    client.forget("Zo\u00eb \u674e")


def test_a_client_with_other_weights_is_refused(running):
    _, server = running
    other, _ = networks(seed=1)
    with RecognitionClient(server.url, TOKEN, other) as stranger:
        with pytest.raises(ServiceError, match="other weights than this client"):
            stranger.info()
        with pytest.raises(ServiceError, match="different weights"):
            stranger.enrol("Ada", faces(1, 112, 112)[0])


# Who is let in


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/v1/info", "/v1/enrol", "/nothing", "/docs"])
def test_nothing_answers_without_a_signature(running, method, path):
    _, server = running
    assert send(server, method, path) == (401, {"error": "a signed request is needed"})


def test_a_wrong_token_is_refused(running):
    made, server = running
    with (
        RecognitionClient(server.url, TOKEN[::-1], made.protection) as stranger,
        pytest.raises(ServiceError, match="a signed request is needed"),
    ):
        stranger.info()


def test_a_request_is_answered_once(running):
    _, server = running
    headers = signed("GET", "/v1/info")
    assert send(server, "GET", "/v1/info", headers=headers)[0] == 200
    assert send(server, "GET", "/v1/info", headers=headers) == (
        401,
        {"error": "this request was here before"},
    )


@pytest.mark.parametrize("part", ["method", "path", "body", TIME, NONCE])
def test_every_part_of_a_request_is_signed(running, part):
    _, server = running
    asked = {"method": "POST", "path": "/v1/forget", "body": b"x" * 20}
    headers = signed(*asked.values())
    if part in asked:
        asked[part] = {"method": "PUT", "path": "/v1/enrol", "body": b"y" * 20}[part]
    elif part == TIME:
        headers[TIME] = str(int(headers[TIME]) + 1)
    else:
        headers[NONCE] = headers[NONCE][::-1]
    status, _ = send(server, asked["method"], asked["path"], asked["body"], headers)
    assert status == 401


def test_a_query_is_not_signed_and_not_taken(running):
    _, server = running
    assert send(server, "GET", "/v1/info?a=b", headers=signed("GET", "/v1/info"))[0] == 401


@pytest.mark.parametrize(("shift", "fits"), [(-WINDOW, True), (WINDOW, True), (-WINDOW - 1, False)])
def test_requests_of_another_time_are_refused(shift, fits):
    keys = Secrets(TOKEN)
    headers = keys.sign("GET", "/", b"")
    door = Doorkeeper(keys, clock=lambda: int(headers[TIME]) + shift)
    if fits:
        door.look(headers)
    else:
        with pytest.raises(Unproven, match="set the clock"):
            door.look(headers)


def test_a_nonce_is_remembered_as_long_as_its_time_is_taken():
    keys, now = Secrets(TOKEN), [time.time()]
    door = Doorkeeper(keys, clock=lambda: now[0])
    headers = keys.sign("GET", "/", b"")
    door.admit("GET", "/", headers, b"")
    now[0] += 2 * WINDOW
    with pytest.raises(Unproven, match="was here before"):
        door.admit("GET", "/", headers, b"")
    now[0] += 1
    with pytest.raises(Unproven, match="not of now"):
        door.look(headers)


def test_memory_for_nonces_is_bounded(monkeypatch):
    monkeypatch.setattr("anonymizer.recognition.service.signing._REMEMBERED", 2)
    keys, now = Secrets(TOKEN), [1e9]
    door = Doorkeeper(keys, clock=lambda: now[0])
    for _ in range(2):
        door.admit("GET", "/", keys.sign("GET", "/", b""), b"")
    with pytest.raises(Overrun):
        door.admit("GET", "/", keys.sign("GET", "/", b""), b"")
    now[0] += 2 * WINDOW + 1
    door.admit("GET", "/", keys.sign("GET", "/", b""), b"")


def test_strangers_fill_no_memory():
    keys = Secrets(TOKEN)
    door = Doorkeeper(keys)
    for _ in range(3):
        headers = {**keys.sign("GET", "/", b""), SIGNATURE: "0" * 64}
        with pytest.raises(Unproven):
            door.admit("GET", "/", headers, b"")
    assert not door._seen


def test_the_token_is_not_sent(running, monkeypatch):
    made, server = running
    sent = []
    original = socket.socket.sendall
    monkeypatch.setattr(
        socket.socket,
        "sendall",
        lambda self, data: (sent.append(bytes(data)), original(self, data)),
    )
    with RecognitionClient(server.url, TOKEN, made.protection) as opened:
        opened.info()
    assert sent
    assert TOKEN.encode() not in b"".join(sent)


def test_short_tokens_are_refused():
    with pytest.raises(ValueError, match="expected 16 or more"):
        Secrets("a" * 15)


# Limits


def test_a_long_body_is_refused_before_it_is_read(running):
    _, server = running
    headers = {**signed("POST", "/v1/enrol"), "Content-Length": str(2**40)}
    assert send(server, "POST", "/v1/enrol", b"x", headers)[0] == 413


def test_a_slow_body_is_given_up(running, monkeypatch):
    monkeypatch.setattr("anonymizer.recognition.service.app.READ_WITHIN", 0.2)
    _, server = running
    headers = {**signed("POST", "/v1/enrol"), "Content-Length": "1000"}
    assert send(server, "POST", "/v1/enrol", b"x", headers)[0] == 408


def test_silent_connections_are_closed(running, monkeypatch):
    monkeypatch.setattr("anonymizer.recognition.service.server.SILENCE", 0.2)
    _, server = running
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as silent:
        silent.sendall(b"GET /v1/info HTTP/1.1\r\n")
        with suppress(ConnectionError):  # an orderly end is one too
            assert silent.recv(100) == b""


def test_connections_beyond_the_limit_are_closed_and_others_served(running, monkeypatch):
    monkeypatch.setattr("anonymizer.recognition.service.server.CONNECTIONS", 3)
    monkeypatch.setattr("anonymizer.recognition.service.server.SILENCE", 100)
    made, _ = running
    with RecognitionServer(made.app(), port=0) as server:
        host, port = server.url.removeprefix("http://").split(":")
        all_five = [socket.create_connection((host, int(port)), timeout=60) for _ in range(5)]
        left = all_five
        while len(left) > 3:
            ended = select.select(left, [], [], 60)[0]
            assert ended
            left = [one for one in left if one not in ended]
        connection = http.client.HTTPConnection(host, int(port))
        connection.sock = left[0]
        connection.request("GET", "/v1/info", headers=signed("GET", "/v1/info"))
        assert connection.getresponse().status == 200
        assert len(left) == 3
        assert select.select(left[1:], [], [], 0)[0] == []
        for one in all_five:
            one.close()


def test_a_busy_recogniser_refuses_the_seventeenth(running, client):
    made, _ = running
    made._waiting = 16
    try:
        with pytest.raises(ServiceError, match="busy") as refused:
            client.identify(faces(1, 112, 112)[0])
    finally:
        made._waiting = 0
    assert refused.value.status == 429


# Where it listens


def test_the_network_is_refused_without_tls():
    with pytest.raises(ValueError, match=r"host = 0\.0\.0\.0: faces would cross the network"):
        RecognitionServer(None, host="0.0.0.0")
    with pytest.raises(ValueError, match="beyond this machine use https"):
        RecognitionClient("http://example.org", TOKEN, networks()[0])


def test_a_port_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port = {port}: cannot be listened on"):
            RecognitionServer(None, port=port)


def test_tls_serves_who_trusts_the_certificate(tmp_path):
    certificate, key = self_signed(tmp_path)
    made = service(tmp_path)
    with RecognitionServer(made.app(), port=0, certificate=certificate, key=key) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        with RecognitionClient(url, TOKEN, made.protection, authority=certificate) as trusting:
            assert trusting.info()["people"] == 0
            assert trusting._connection.sock.version() == "TLSv1.3"
        with (
            RecognitionClient(url, TOKEN, made.protection) as doubting,
            pytest.raises(ServiceError, match="certificate"),
        ):
            doubting.info()
    made.store.close()


def test_unusable_certificates_are_refused(tmp_path):
    broken = tmp_path / "cert.pem"
    broken.write_text("no certificate")
    with pytest.raises(ValueError, match="certificate = "):
        RecognitionServer(None, certificate=broken, key=broken)
    with pytest.raises(ValueError, match="belong together"):
        RecognitionServer(None, certificate=broken)


# What is kept


def unit(count, dimension=128):
    return torch.nn.functional.normalize(torch.randn(count, dimension), dim=1)


@pytest.fixture
def store(tmp_path):
    protection, server = networks()
    with open_store(tmp_path / "people.sqlite", protection, server) as opened:
        yield opened


def test_cosines_are_those_of_the_embeddings(store):
    torch.manual_seed(0)
    vectors = unit(5)
    for i, vector in enumerate(vectors[:4]):
        assert store.enrol(f"person {i}", vector[None]) == i + 1
    cosines = vectors[:4] @ vectors[4]
    assert store.verify("person 2", vectors[4:]) == pytest.approx(float(cosines[2]), abs=1e-6)
    found = store.identify(vectors[4:], 3)
    order = cosines.argsort(descending=True)[:3].tolist()
    assert [match.person for match in found] == [f"person {i}" for i in order]


def test_the_file_holds_no_embedding_and_opens_again(tmp_path):
    protection, server = networks()
    path, vector = tmp_path / "people.sqlite", unit(1)
    with open_store(path, protection, server) as first:
        first.enrol("Ada", vector)
    content = path.read_bytes()
    assert vector.numpy().tobytes() not in content
    assert KEY not in content
    with open_store(path, protection, server) as second:
        assert second.verify("Ada", vector) == pytest.approx(1, abs=1e-6)


def test_two_stores_hold_unlike_templates_of_one_face(tmp_path):
    protection, server = networks()
    vector, rows = unit(1), []
    for name, key in (("a", KEY), ("b", bytes(32))):
        with open_store(tmp_path / name, protection, server, key) as opened:
            opened.enrol("Ada", vector)
        with sqlite3.connect(tmp_path / name) as database:
            content = database.execute("SELECT template FROM people").fetchone()[0]
        database.close()
        rows.append(torch.frombuffer(bytearray(content), dtype=torch.float32))
    assert abs(float(rows[0] @ rows[1])) < 0.4  # 4.5 standard deviations of chance, 1 / sqrt(128)


def test_a_forgotten_person_leaves_no_bytes(tmp_path):
    protection, server = networks()
    path = tmp_path / "people.sqlite"
    with open_store(path, protection, server) as opened:
        opened.enrol("Ada Lovelace", unit(1))
        with sqlite3.connect(path) as database:
            template = database.execute("SELECT template FROM people").fetchone()[0]
        database.close()
        assert template in path.read_bytes()
        opened.forget("Ada Lovelace")
        assert len(opened) == 0
        with pytest.raises(UnknownPerson):
            opened.forget("Ada Lovelace")
    assert template not in path.read_bytes()
    assert b"Ada Lovelace" not in path.read_bytes()


def test_enrolling_again_replaces(store):
    vectors = unit(2)
    store.enrol("Ada", vectors[:1])
    assert store.enrol("Ada", vectors[1:]) == 1
    assert store.verify("Ada", vectors[1:]) == pytest.approx(1, abs=1e-6)


def test_a_full_store_takes_nobody_but_those_it_has(store, monkeypatch):
    monkeypatch.setattr("anonymizer.recognition.service.store.MOST_PEOPLE", 1)
    store.enrol("Ada", unit(1))
    store.enrol("Ada", unit(1))
    with pytest.raises(OverflowError):
        store.enrol("Bea", unit(1))


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_the_file_is_its_owners_alone(store):
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_files_of_others_are_refused(tmp_path):
    protection, server = networks()
    path = tmp_path / "people.sqlite"
    open_store(path, protection, server).close()
    with pytest.raises(StoreError, match="another key"):
        open_store(path, protection, server, bytes(32))
    with pytest.raises(StoreError, match="another recogniser"):
        TemplateStore(path, KEY, model=model_name(networks(seed=1)[0]), dimension=128)
    (tmp_path / "text").write_text("no database, but long enough to look at" * 10)
    with pytest.raises(StoreError, match="not a database"):
        open_store(tmp_path / "text", protection, server)
    with sqlite3.connect(tmp_path / "other.sqlite") as database:
        database.execute("CREATE TABLE birds (name TEXT)")
    database.close()
    with pytest.raises(StoreError, match="no store of templates"):
        open_store(tmp_path / "other.sqlite", protection, server)


# Bodies


def test_bodies_are_read_as_they_are_written():
    asked = FaceRequest(bytes(range(16)), "Zo\u00eb", b"\x00\xff message")
    assert FaceRequest.from_bytes(asked.to_bytes()) == asked


@pytest.mark.parametrize(
    "body",
    [b"", bytes(16), bytes(16) + b"\x05abc", bytes(16) + b"\x41" + b"a" * 65,
     bytes(16) + b"\x02\xff\xff", bytes(16) + b"\x03a\nb"],
)  # fmt: skip
def test_other_bodies_are_refused(body):
    with pytest.raises(ValueError, match=r"body|name"):
        FaceRequest.from_bytes(body)


@pytest.mark.parametrize("name", ["", "a" * 65, "\u674e" * 22, "a\x00", "a\u202eb"])
def test_names_that_cannot_be_shown_are_refused(name):
    with pytest.raises(ValueError, match="a name has 1 to 64 bytes"):
        check_name(name)


def test_weights_are_named_by_all_their_numbers():
    protection, _ = networks()
    before = model_name(protection)
    assert model_name(networks()[0]) == before
    protection.codec.get_buffer("low_2")[3] += 1e-3
    assert model_name(protection) != before
