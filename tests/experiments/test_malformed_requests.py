"""Malformed requests against a server in this process: refused, all of them, and it lives on."""

from urllib.parse import urlsplit

import pytest

from anonymizer.recognition.service import RecognitionClient, RecognitionServer
from experiments.malformed_requests import Mischief, Reception, send_all
from tests.anonymizer.protection.reference import faces
from tests.anonymizer.recognition.service_doubles import TOKEN, service


def receive(folder, count, seed):
    made = service(folder)
    with RecognitionServer(made.app(), port=0) as server:
        address = urlsplit(server.url)
        mischief = Mischief(TOKEN, made.protection, seed)
        reception = send_all((address.hostname, address.port), mischief, count)
        with RecognitionClient(server.url, TOKEN, made.protection) as client:
            client.enrol("Ada", faces(1, 112, 112)[0])
            assert client.info()["people"] == 1  # nobody else was enrolled meanwhile
    made.store.close()
    return reception


def judge(reception, count):
    assert reception.statuses.total() == count
    assert reception.server_errors == 0, reception.statuses
    assert reception.accepted == 0, reception.statuses
    assert set(reception.statuses) >= {400, 401, 404, 405, 411, 413}


def test_malformed_requests_are_refused_and_fill_no_log(tmp_path, caplog):
    judge(receive(tmp_path, 400, seed=0), 400)
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


@pytest.mark.slow
def test_five_thousand_malformed_requests_are_refused_quickly(tmp_path):
    reception = receive(tmp_path, 5000, seed=1)
    judge(reception, 5000)
    assert reception.quantile(0.99) < 0.05, f"p99 = {1000 * reception.quantile(0.99):.1f} ms"


def test_a_quantile_is_a_time_that_occurred():
    reception = Reception(seconds=[0.3, 0.1, 0.2, 0.4])
    assert [reception.quantile(q) for q in (0, 0.5, 0.99)] == [0.1, 0.3, 0.4]
