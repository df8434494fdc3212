"""`./lab recognize serve`, `client` and `trial`: two processes on a small population."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from anonymizer.protection.compensated import CompensatedRecognizer
from anonymizer.recognition.service import RecognitionServer, Secrets, Service, TemplateStore
from anonymizer.recognition.service.requests import model_name
from experiments import recognize
from experiments.composing import compose
from experiments.protection_training import untrained
from experiments.recognition_service import open_protection, open_recognizer
from experiments.settings import to_si
from experiments.store import save_tensors
from tests.experiments.calling import caller
from tests.shared_data import shared

ROOT = Path(__file__).parents[2]
TOKEN = "a token for tests, of no use elsewhere".replace(" ", "-")
FEW = ("service.data.people=3", "service.data.images_per_person=2", "service.data.workers=1",
       "service.malformed=20", "progress=false")  # fmt: skip


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("VEILENS_TOKEN", raising=False)
    return caller("recognize", recognize, tmp_path, monkeypatch, capsys)


@pytest.fixture
def weights(tmp_path):
    """Override that names a file of untrained weights."""
    torch.manual_seed(0)
    method = untrained(to_si(compose("recognize", []))["service"]["method"])
    save_tensors(tmp_path / "client.safetensors", method.learned.state_dict(), {})
    return f"service.weights={tmp_path / 'client.safetensors'}"


def judge(found):
    assert (found["people"], found["pictures"], found["people_after"]) == (3, 6, 3)
    assert (found["malformed_requests"], found["malformed_server_errors"]) == (20, 0)
    assert found["malformed_accepted"] == 0
    for name in ("accuracy", "rank1", "clear/accuracy", "obfuscated/auc", "unrounded/eer"):
        assert 0 <= found[name] <= 1, name
    # pixels, features in 4 bits; names of 16 bytes in two of three requests
    assert found["bytes_sent"] == pytest.approx(37_632 + 53_312 + 17 + 16 * 2 / 3, abs=1)
    assert found["bytes_fp32"] == 4 * (32 * 32**2 + 48 * 16**2 + 96 * 8**2 + 160 * 4**2)
    assert 0 < found["request_ms_p50"] <= found["request_ms_p95"]


def test_a_trial_measures_what_it_promises(lab, weights, tmp_path, monkeypatch):
    @contextmanager
    def served_here(settings, run, token):
        wanted = settings["service"]
        protection, network = open_protection(wanted), open_recognizer(wanted)
        store = TemplateStore(
            tmp_path / "people", bytes(32), model=model_name(protection), dimension=128
        )
        recognizer = CompensatedRecognizer(network, protection.client)
        made = Service(protection, recognizer, store, keys=Secrets(token), threshold=0.5)
        with store, RecognitionServer(made.app(), port=0) as server:
            yield server.url

    monkeypatch.setattr("experiments.service_trial.served", served_here)
    code, _, errors = lab("trial", weights, *FEW, "hydra.run.dir=run")
    assert code == 0, errors
    judge(json.loads((tmp_path / "run/metrics.json").read_text()))


@pytest.mark.slow
def test_a_trial_has_two_processes(lab, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code, _, errors = lab("trial", weights, *FEW, "hydra.run.dir=run")
    assert code == 0, errors
    judge(json.loads((tmp_path / "run/metrics.json").read_text()))
    store = tmp_path / "run/server/templates.sqlite"
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.with_suffix(".key").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "run/server/metrics.json").read_text())["people"] == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("client",), "there is no token"),
        (("trial", "service.malformed=0"), "service.malformed = 0"),
        (("serve", "service.port=70000"), "service.port = 70000"),
        (("serve", "service.threshold=2.0"), "service.threshold = 2.0"),
        (("guard",), "what = 'guard', expected one of train, verify, serve, client, trial"),
        (("serve", "method@service.method=pixelate", "hydra.run.dir=run"), "a Compensation"),
        (
            ("serve", "method@service.method=proface_c_adaface", "hydra.run.dir=run"),
            "service.weights = null",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(lab, overrides, message):
    code, _, errors = lab(*overrides)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("service.ask=guess",), "service.ask = 'guess'"),
        (("service.ask=verify",), "service.person = null"),
        (("service.ask=identify",), "service.picture = null"),
    ],
)
def test_a_client_says_what_a_question_needs(lab, monkeypatch, overrides, message):
    monkeypatch.setenv("VEILENS_TOKEN", TOKEN)
    code, _, errors = lab("client", *overrides)
    assert code == 2
    assert message in errors


def test_an_open_network_is_refused_without_tls(lab, weights):
    code, _, errors = lab("serve", weights, "service.host=0.0.0.0", "hydra.run.dir=run")
    assert code == 2
    assert "give certificate and key" in errors


def test_nobody_answering_is_told_in_one_line(lab, weights, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("VEILENS_TOKEN", TOKEN)
    code, _, errors = lab(
        "client", weights, f"service.url=http://127.0.0.1:{port}", "hydra.run.dir=run"
    )
    assert code == 5
    assert f"http://127.0.0.1:{port} does not answer" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_server_is_asked_by_a_client_in_another_process(tmp_path, lab, weights, monkeypatch):
    """Enrol and identify a photograph; a token from the environment is printed nowhere."""
    photographs = sorted(shared("data/celebahq/dev/female").glob("*.jpg"))
    monkeypatch.setenv("VEILENS_TOKEN", TOKEN)
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.recognize", "what=serve", weights, "service.port=0",
         "service.store=templates.sqlite", "service.store_key=templates.key",
         "hydra.run.dir=server"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    printed = [process.stdout.readline()]
    while not printed[-1].startswith("http"):
        printed.append(process.stdout.readline())
    common = (weights, f"service.url={printed[-1].strip()}", "device=cpu",
              f"weights_path=[{shared('data')}]")  # fmt: skip
    picture = f"service.picture={photographs[0]}"
    enrol = ("service.ask=enrol", "service.person=Ada", picture)
    code, _, errors = lab("client", *common, *enrol, "hydra.run.dir=enrol")
    assert code == 0, errors
    code, _, errors = lab("client", *common, "service.ask=identify", picture, "hydra.run.dir=who")
    assert code == 0, errors
    answer = json.loads((tmp_path / "who/answer.json").read_text())
    assert answer["matches"][0]["person"] == "Ada"
    assert answer["matches"][0]["cosine"] == pytest.approx(1, abs=1e-4)
    process.send_signal(signal.SIGTERM)
    printed.append(process.communicate(timeout=60)[0])
    assert process.returncode == 0
    assert TOKEN not in "".join(printed)
    assert json.loads((tmp_path / "server/metrics.json").read_text())["people"] == 1
