"""Client and server as two processes, measured on people that no network was trained on.

One picture of each person is enrolled; the others are verified, as themselves and as one other
person, and identified. The same pairs are judged without a network between: by clear faces, by
obfuscated faces alone, and by features that were neither rounded nor pruned. Then come requests
that are not as they should be.

    ./lab recognize trial
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from anonymizer.alignment import align_faces
from anonymizer.protection.compensated import CompensatedRecognizer, Compensation
from anonymizer.recognition.curves import exact_numbers
from anonymizer.recognition.pairs import best_threshold
from anonymizer.recognition.service import RecognitionClient
from anonymizer.recognition.service.requests import check_name
from anonymizer.recognition.staged import StagedRecognizer
from experiments.judging import open_crops
from experiments.malformed_requests import Mischief, send_all
from experiments.recognition_service import open_protection, open_recognizer
from experiments.scene import load_scenes
from experiments.settings import Settings, SettingsError
from experiments.store import save_json
from hardware.web import new_token

log = logging.getLogger(__name__)

Metrics = dict[str, float]


def trial(settings: Settings, run: Path) -> None:
    """Run the trial and write its metrics."""
    wanted = settings["service"]
    crops = open_crops(wanted["data"], settings)
    scenes = load_scenes(crops, np.arange(len(crops)))
    faces = align_faces(scenes.light, scenes.landmarks)
    people = [check_name(crops.names[i]) for i in crops.person]
    first = np.unique(crops.person, return_index=True)[1]
    protection, network = open_protection(wanted), open_recognizer(wanted)
    metrics: Metrics = {"people": float(len(first)), "pictures": float(len(faces))}
    token = new_token()
    with served(settings, run, token) as url:
        with RecognitionClient(url, token, protection) as client:
            client.info()
            metrics |= ask_all(client, faces, people, first, progress=settings["progress"])
        address = urlsplit(url)
        mischief = Mischief(token, protection, settings["seed"])
        host, port = str(address.hostname), int(address.port or 0)
        reception = send_all((host, port), mischief, wanted["malformed"])
        metrics |= {
            "malformed_requests": float(reception.statuses.total()),
            "malformed_accepted": float(reception.accepted),
            "malformed_server_errors": float(reception.server_errors),
            "rejection_ms_p99": 1000 * reception.quantile(0.99),
        }
        with RecognitionClient(url, token, protection) as client:  # the server lived through it
            metrics["people_after"] = float(client.info()["people"])
    metrics |= without_a_network(protection, network, faces, crops.person, first)
    metrics["bytes_fp32"] = float(_published_bytes(protection))
    save_json(run / "metrics.json", metrics)
    log.info(
        "%d people: accuracy %.2f %% (clear faces %.2f %%), rank 1 %.2f %%, %d bytes, "
        "%.0f ms (median); %d malformed requests, p99 %.1f ms, %d blamed on the server",
        len(first),
        100 * metrics["accuracy"],
        100 * metrics["clear/accuracy"],
        100 * metrics["rank1"],
        metrics["bytes_sent"],
        metrics["request_ms_p50"],
        metrics["malformed_requests"],
        metrics["rejection_ms_p99"],
        metrics["malformed_server_errors"],
    )


def ask_all(
    client: RecognitionClient,
    faces: Tensor,
    people: list[str],
    first: NDArray[np.int64],
    *,
    progress: bool,
) -> Metrics:
    """Enrol, verify and identify over the network, and return what came of it."""
    known = [people[i] for i in first]
    probes = np.setdiff1d(np.arange(len(people)), first)
    genuine, impostor, seconds, hits = [], [], [], 0
    silent = None if progress else True
    for i in tqdm(first, desc="enrol", disable=silent):
        client.enrol(people[i], faces[i])
    sent, asked = client.bytes_sent, 0
    for i in tqdm(probes, desc="verify", disable=silent):
        other = known[(known.index(people[i]) + 1) % len(known)]
        begun = time.monotonic()
        genuine.append(client.verify(people[i], faces[i]).cosine)
        impostor.append(client.verify(other, faces[i]).cosine)
        hits += client.identify(faces[i])[0].person == people[i]
        seconds.append((time.monotonic() - begun) / 3)
        asked += 3
    return {
        **_rates(np.array(genuine), np.array(impostor)),
        "rank1": hits / len(probes),
        "bytes_sent": (client.bytes_sent - sent) / asked,
        "request_ms_p50": 1000 * float(np.quantile(seconds, 0.5)),
        "request_ms_p95": 1000 * float(np.quantile(seconds, 0.95)),
    }


@torch.no_grad()
def without_a_network(
    protection: Compensation,
    network: StagedRecognizer,
    faces: Tensor,
    person: NDArray[np.int64],
    first: NDArray[np.int64],
) -> Metrics:
    """Judge the same pairs in this process, with less and with more than what is sent."""
    recognizer = CompensatedRecognizer(network, protection.client)
    rows: dict[str, list[Tensor]] = {"clear": [], "obfuscated": [], "unrounded": []}
    for batch in torch.split(faces, 32):
        hidden = protection.protect(batch)
        rows["clear"].append(network(batch))
        rows["obfuscated"].append(network(hidden))
        rows["unrounded"].append(recognizer(hidden, protection.taps(batch, hidden)))
    probes = np.setdiff1d(np.arange(len(faces)), first)
    place = np.searchsorted(person[first], person[probes])
    out: Metrics = {}
    for name, parts in rows.items():
        vectors = torch.cat(parts).numpy()
        gallery = vectors[first]
        genuine = (vectors[probes] * gallery[place]).sum(1)
        impostor = (vectors[probes] * gallery[(place + 1) % len(first)]).sum(1)
        out |= {f"{name}/{key}": value for key, value in _rates(genuine, impostor).items()}
    return out


@contextmanager
def served(settings: Settings, run: Path, token: str) -> Iterator[str]:
    """Start a server in a process of its own, yield its address, and end it."""
    wanted = settings["service"]
    place = (run / "server").resolve()
    overrides = [
        "what=serve",
        "service.port=0",
        f"service.store='{place}/templates.sqlite'",
        f"service.store_key='{place}/templates.key'",
        f"service.threshold={wanted['threshold']}",
        *([] if wanted["weights"] is None else [f"service.weights='{wanted['weights']}'"]),
        f"hydra.run.dir='{place}'",
    ]
    command = [sys.executable, "-m", "experiments.recognize", *overrides]
    known = {**os.environ, "VEILENS_TOKEN": token}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=known) as process:
        try:
            yield _address(process.stdout or ())
        finally:
            process.terminate()
            process.communicate()  # its last lines, which it could not write to a closed pipe


def _address(lines: Iterable[str]) -> str:
    """Return the address that the server prints."""
    for line in lines:
        if line.startswith("http"):
            return line.strip()
    raise SettingsError("the server did not start; its own message is above")


def _rates(genuine: NDArray[np.float64], impostor: NDArray[np.float64]) -> Metrics:
    """Return accuracy at the best threshold, AUC and EER."""
    scores = np.concatenate((genuine, impostor)).astype(np.float64)
    same = np.arange(len(scores)) < len(genuine)
    threshold = best_threshold(scores, same)
    area, eer = exact_numbers(genuine, impostor, ())
    return {
        "accuracy": float(((scores >= threshold) == same).mean()),
        "auc": float(area),
        "eer": float(eer),
    }


def _published_bytes(protection: Compensation) -> int:
    """Return what the maps of one face take in float32, as they enter the server [bytes]."""
    return sum(4 * weight.numel() for weight in protection.client.weights)


def check_trial(settings: Mapping[str, object]) -> None:
    """Refuse a trial that cannot be run."""
    wanted = settings["service"]
    count = wanted["malformed"] if isinstance(wanted, Mapping) else 0
    if not isinstance(count, int) or not 1 <= count <= 1_000_000:
        raise SettingsError(f"service.malformed = {count}, expected 1 to 1000000")
