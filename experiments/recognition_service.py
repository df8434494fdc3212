"""Recognition of obfuscated faces as a service: the server, and one question of a client.

./lab recognize serve
./lab recognize client service.ask=info
./lab recognize client service.ask=identify service.picture=who.png
"""

import logging
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from anonymizer.checkpoints import fill, read_state
from anonymizer.keystream import KEY_BYTES
from anonymizer.protection.compensated import CompensatedRecognizer, Compensation
from anonymizer.protection.compensation import FACE
from anonymizer.recognition.service import (
    RecognitionClient,
    RecognitionServer,
    Secrets,
    Service,
    TemplateStore,
)
from anonymizer.recognition.service.requests import model_name
from anonymizer.recognition.staged import StagedRecognizer
from experiments.data.errors import DataError
from experiments.faces_in_pictures import DetectedFaces, cut_squares
from experiments.picture_sources import read_picture
from experiments.settings import Settings, SettingsError, build
from experiments.store import save_json
from experiments.vault_files import write_private
from hardware.web import new_token, read_token

_QUESTIONS = {  # what each needs
    "info": (),
    "enrol": ("person", "picture"),
    "verify": ("person", "picture"),
    "identify": ("picture",),
    "forget": ("person",),
}

log = logging.getLogger(__name__)


def serve(settings: Settings, run: Path) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    wanted = settings["service"]
    chosen = token_of(wanted)
    token = chosen or new_token()
    protection = open_protection(wanted)
    network = open_recognizer(wanted)
    begun = time.monotonic()
    with TemplateStore(
        Path(wanted["store"]),
        _store_key(Path(wanted["store_key"])),
        model=model_name(protection),
        dimension=network.dimension,
    ) as store:
        service = Service(
            protection,
            CompensatedRecognizer(network, protection.client).eval(),
            store,
            keys=Secrets(token),
            threshold=wanted["threshold"],
        )
        with open_server(service, wanted) as server:
            log.info("serving %d people on %s; Ctrl-C ends it", len(store), server.url)
            shown = server.url if chosen else f"{server.url} VEILENS_TOKEN={token}"
            sys.stdout.write(f"{shown}\n")  # a token that was made goes nowhere else
            sys.stdout.flush()
            _wait_for_signal()
        people = len(store)
    save_json(run / "metrics.json", {"seconds": time.monotonic() - begun, "people": people})


def ask(settings: Settings, run: Path) -> None:
    """Ask the server one question."""
    wanted = settings["service"]
    question, person = wanted["ask"], wanted["person"]
    protection = open_protection(wanted)
    authority = wanted["authority"]
    with RecognitionClient(
        wanted["url"],
        token_of(wanted),
        protection,
        authority=None if authority is None else Path(authority),
    ) as client:
        found: dict[str, Any] = client.info()
        if "picture" in _QUESTIONS[question]:
            face = read_face(settings)
        if question == "enrol":
            found = {"people": client.enrol(person, face)}
        elif question == "verify":
            found = asdict(client.verify(person, face))
        elif question == "identify":
            found = {"matches": [asdict(match) for match in client.identify(face)]}
        elif question == "forget":
            found = {"people": client.forget(person)}
        save_json(run / "answer.json", found)
        save_json(run / "metrics.json", {"bytes_sent": client.bytes_sent})
    log.info("%s", found)


def open_protection(wanted: Settings) -> Compensation:
    """Build the method with its weights, frozen."""
    protection = build(wanted["method"])
    if not isinstance(protection, Compensation):
        raise SettingsError(
            f"service.method is {type(protection).__name__}, expected a Compensation (proface_c)"
        )
    if wanted["weights"] is not None:
        path = Path(wanted["weights"])
        fill(protection.learned, protection.translate(read_state(path)), path)
    elif any(weight.requires_grad for weight in protection.parameters()):  # nothing was loaded
        raise SettingsError(
            "service.weights = null, and this method brings none: name the file that training "
            "saved; both ends need it"
        )
    return protection.requires_grad_(False).eval()


def open_recognizer(wanted: Settings) -> StagedRecognizer:
    """Build the server's recogniser, frozen."""
    network = build(wanted["recognizer"])
    if not isinstance(network, StagedRecognizer):
        raise SettingsError(
            f"service.recognizer is {type(network).__name__}, which takes no features on their "
            f"way; expected a CompactRecognizer or AdaFace"
        )
    network.requires_grad_(False).eval()
    return network


def open_server(service: Service, wanted: Settings) -> RecognitionServer:
    """Listen as the settings say."""
    files = [None if wanted[k] is None else Path(wanted[k]) for k in ("certificate", "private_key")]
    return RecognitionServer(
        service.app(),
        host=wanted["host"],
        port=wanted["port"],
        certificate=files[0],
        key=files[1],
    )


def read_face(settings: Settings) -> Tensor:
    """Return the most certain face (3, 112, 112) of the picture, upright, in linear light."""
    path = Path(settings["service"]["picture"])
    pixels = read_picture(path, build(settings["service"]["limits"]))
    found = DetectedFaces(build(settings["detector"]), 1.0)(pixels)
    if not found:
        raise DataError(f"{path}: no face was found")
    if len(found) > 1:
        log.warning("%s shows %d faces; the most certain one is taken", path, len(found))
    return cut_squares(pixels, found[:1], FACE)[0]


def token_of(wanted: Settings) -> str:
    """Return the token of the file or the environment, "" if neither has one."""
    return read_token(None if wanted["key_file"] is None else Path(wanted["key_file"]))


def check_service(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is opened."""
    wanted = settings["service"]
    if not 0 <= wanted["port"] <= 65535:
        raise SettingsError(f"service.port = {wanted['port']}, expected 0 to 65535")
    if not -1 <= wanted["threshold"] <= 1:
        raise SettingsError(f"service.threshold = {wanted['threshold']}, expected -1 to 1")
    token = token_of(wanted)
    if settings["what"] != "client":
        return
    if not token:
        raise SettingsError("there is no token: name service.key_file, or set VEILENS_TOKEN")
    if wanted["ask"] not in _QUESTIONS:
        raise SettingsError(
            f"service.ask = {wanted['ask']!r}, expected one of {', '.join(_QUESTIONS)}"
        )
    for name in _QUESTIONS[wanted["ask"]]:
        if wanted[name] is None:
            raise SettingsError(f"service.{name} = null: service.ask={wanted['ask']} needs it")


def _store_key(path: Path) -> bytes:
    """Return the key of the templates; where there is no file, make it."""
    if not path.exists():
        write_private(path, os.urandom(KEY_BYTES))
        log.info("%s holds a new key; without it the templates are of no use", path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise SettingsError(f"service.store_key = {path}: {len(key)} bytes, expected {KEY_BYTES}")
    return key


def _wait_for_signal() -> None:
    """Return when Ctrl-C or SIGTERM arrives."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
