"""Protect the faces of pictures and clips, so that those who hold the key can have them back.

Every face is hidden by the method; its original lies encrypted in a vault beside the protected
picture (vault=aead), or the method itself recovers a likeness (vault=flow, vault=decoy:
obfuscation, for which no proof is known). Pixels alone reach the protected files, and no metadata.

    ./lab protect key key_file=my.key                                  a new key of 256 bits
    ./lab protect source=holiday key_file=my.key
    ./lab protect source=clip.mp4 method=blur                          asks for a password
    ./lab protect method=pixelate evaluate=true                        what it protects, measured
    ./lab protect compare                                              all methods, one table
    ./lab protect train method=proface_s                               for trained=latest
"""

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from anonymizer.protection import Protection
from anonymizer.vault import PROFILES, Keyholder, Secret, key_file
from anonymizer.vault.stretching import SALT_BYTES
from experiments.data.errors import DataError
from experiments.data.pictures import BadPicture, PictureLimits
from experiments.distributed import distributed
from experiments.faces_in_pictures import DetectedFaces, FaceFinder, WholePicture
from experiments.launch import run_job
from experiments.picture_sources import is_clip, list_source, read_picture
from experiments.protecting import Guard, Method
from experiments.protection_comparison import compare
from experiments.protection_evaluation import evaluate
from experiments.protection_training import (
    build_trainable,
    load_trained,
    require_weights,
    train,
    untrained,
)
from experiments.settings import Settings, SettingsError, build
from experiments.store import append_jsonl, atomic_write, read_jsonl, save_json, write_manifest
from experiments.vault_files import (
    PUBLIC_KEY,
    Workshop,
    config_sha256,
    model_sha256,
    read_secret,
    write_private,
)

JOURNAL = "journal.jsonl"

_WIDE = 1.35  # sides of a recogniser's crop: forehead, chin and cheeks are hidden too
_MODES = ("aead", "flow", "decoy")

log = logging.getLogger(__name__)


def main(settings: Settings, run: Path) -> None:
    """Protect a source, make a key, or evaluate a method."""
    if settings["what"] == "key":
        write_private(Path(settings["key_file"]), key_file(settings["bits"]).encode())
        log.info(
            "%s holds a new key of %d bits; keep a copy", settings["key_file"], settings["bits"]
        )
        return
    if settings["what"] == "train":
        method = _prepared(untrained(settings["method"]), settings["method"], settings)
        frame = frame_of(settings, method)
        save_json(run / "metrics.json", train(settings, method.network, method.size, frame, run))
        return
    if settings["what"] == "compare":
        opened = {name: _opened(node, settings) for name, node in settings["methods"].items()}
        compare(
            settings, {name: (one, frame_of(settings, one)) for name, one in opened.items()}, run
        )
        return
    method = open_method(settings)
    if settings["evaluate"] or settings["what"] == "evaluate":
        evaluate(settings, method, frame_of(settings, method), run)
        return
    secret = read_secret(_path(settings["key_file"]), new=True)
    if not settings["accept_weak"]:
        secret.require_strength()
    protect_source(settings, method, secret, run)


def protect_source(settings: Settings, method: Method, secret: Secret, run: Path) -> None:
    """Protect all files of `source` into the run folder, going on where the journal ends."""
    files = list_source(settings["source"])
    limits: PictureLimits = build(settings["limits"])
    journal = run / JOURNAL
    entries = read_jsonl(journal) if journal.exists() else []
    done = {int(entry["number"]) for entry in entries}
    with Workshop(Path(settings["producer"])) as workshop, logging_redirect_tqdm():
        atomic_write(run / "protected" / PUBLIC_KEY, workshop.producer.verifier.pem())
        guard = Guard(
            method,
            open_finder(settings, method),
            workshop,
            [Keyholder(secret), *_others(settings)],
            settings["vault"],
            secrets.token_bytes(SALT_BYTES),
            PROFILES[settings["stretch"]],
            settings["hold"],
        )
        silent = None if settings["progress"] else True
        with tqdm(total=len(files), initial=len(done), unit="file", disable=silent) as bar:
            for number, path in enumerate(files, start=1):
                if number in done:
                    continue
                entry = _protect_file(guard, path, run / "protected" / f"{number:05d}", limits, bar)
                if entry.get("refused") and len(files) == 1:
                    raise DataError(str(entry.pop("message")))
                entry.pop("message", None)
                entries.append({"number": number, **entry})
                append_jsonl(journal, entries[-1])
                bar.update()
    _conclude(entries, settings, run)


def _protect_file(
    guard: Guard, path: Path, target: Path, limits: PictureLimits, bar: Any
) -> dict[str, Any]:
    """Protect one file; what the journal keeps tells nothing of the file itself."""
    try:
        if is_clip(path):
            faces, size = guard.clip(path, target, limits, step=bar.refresh)
        else:
            faces, size = guard.picture(read_picture(path, limits), path.name, target)
    except BadPicture as error:
        log.warning("%s", error)
        return {"refused": error.kind, "message": str(error)}
    if not size:
        reason = "no face was found; nothing is written, for one may have been overlooked"
        log.warning("%s: %s", path.name, reason)
        return {"refused": "no face", "message": f"{path.name}: {reason}"}
    return {"faces": faces, "bytes": size}


def _conclude(entries: list[dict[str, Any]], settings: Settings, run: Path) -> None:
    refused = [entry for entry in entries if "refused" in entry]
    metrics = {
        "files": len(entries),
        "files_refused": len(refused),
        "faces": sum(entry.get("faces", 0) for entry in entries),
        "bytes_sent": sum(entry.get("bytes", 0) for entry in entries),
    }
    save_json(run / "metrics.json", metrics)
    log.info(
        "%d files, %d faces protected, %d refused; %s", metrics["files"], metrics["faces"],
        metrics["files_refused"],
        "the originals are encrypted in the vaults" if settings["vault"] == "aead"
        else "obfuscation: no proof says what an attacker recovers without the key",
    )  # fmt: skip
    write_manifest(run, exclude=["run.json", "config.json", "protect.log"])


def open_method(settings: Mapping[str, Any]) -> Method:
    """Build the method with its weights, on its device."""
    if settings["trained"] is None:
        return _opened(settings["method"], settings)
    network = untrained(settings["method"])
    load_trained(network, settings["trained"])
    return _prepared(network, settings["method"], settings)


def _opened(node: Mapping[str, Any], settings: Mapping[str, Any]) -> Method:
    """Build the method of `node`, which brings its weights."""
    network: Protection = build(node)
    require_weights(network)
    return _prepared(network, node, settings)


def _prepared(network: Protection, node: Mapping[str, Any], settings: Mapping[str, Any]) -> Method:
    device = distributed(settings["device"]).device
    network = network.to(device).eval().requires_grad_(False)
    size = network.size or -(-settings["face_size"] // network.multiple) * network.multiple
    config = config_sha256(node, size)
    return Method(network, size, model_sha256(network), config, torch.device(device))


def frame_of(settings: Mapping[str, Any], method: Method) -> float:
    """Return the side of face squares in sides of a recogniser's crop."""
    if settings["frame"] is not None:
        return float(settings["frame"])
    return 1.0 if method.network.capabilities.recognisable else _WIDE


def open_finder(settings: Mapping[str, Any], method: Method) -> FaceFinder:
    """Return who finds the faces: the detector, or nobody where pictures are faces already."""
    if settings["whole"]:
        return WholePicture()
    return DetectedFaces(build(settings["detector"]), frame_of(settings, method))


def _others(settings: Mapping[str, Any]) -> list[Keyholder]:
    return [Keyholder(read_secret(Path(name), new=True)) for name in settings["recipients"]]


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def check(settings: Settings) -> None:
    """Refuse settings that cannot work, before anything is written."""
    if settings["what"] == "key":
        if settings["key_file"] is None:
            raise SettingsError("key_file = null: name the file that the new key is written to")
        if settings["bits"] not in (128, 256):
            raise SettingsError(f"bits = {settings['bits']}, expected 128 or 256")
        return
    if settings["what"] not in ("apply", "train", "evaluate", "compare"):
        raise SettingsError(
            f"what = {settings['what']!r}, expected apply, train, evaluate, compare or key"
        )
    if settings["vault"] not in _MODES:
        raise SettingsError(f"vault = {settings['vault']!r}, expected {', '.join(_MODES)}")
    if settings["stretch"] not in PROFILES:
        raise SettingsError(f"stretch = {settings['stretch']!r}, expected {', '.join(PROFILES)}")
    if settings["frame"] is not None and not 1 <= settings["frame"] <= 3:
        raise SettingsError(f"frame = {settings['frame']}, expected 1 to 3 crops of a recogniser")
    if not 32 <= settings["face_size"] <= 1024 or not 0 <= settings["hold"] <= 1000:
        raise SettingsError(
            f"face_size = {settings['face_size']} px, hold = {settings['hold']} frames: expected "
            f"32 to 1024 px and 0 to 1000 frames"
        )
    build(settings["limits"])
    if settings["what"] == "train":
        build_trainable(settings, untrained(settings["method"]))
        build(settings["training"])
        build(settings["data"])
        return
    if settings["what"] == "compare":
        _check_evaluation(settings)
        for node in settings["methods"].values():
            require_weights(build(node))
        return
    trained = settings["trained"] is not None
    network: Protection = untrained(settings["method"]) if trained else build(settings["method"])
    if not trained:
        require_weights(network)
    if settings["vault"] != "aead" and not network.capabilities.recoverable:
        raise SettingsError(
            f"vault = {settings['vault']}: {type(network).__name__} recovers nothing by itself; "
            f"take vault=aead, which keeps the original encrypted"
        )
    if settings["vault"] == "decoy" and not network.capabilities.decoy:
        raise SettingsError(
            f"vault = decoy: a wrong key shows itself with {type(network).__name__}, so that "
            f"nothing would be denied; take vault=flow or vault=aead"
        )
    if settings["vault"] == "decoy" and settings["recipients"]:
        raise SettingsError("recipients: a decoy has exactly one; remove them, or take vault=flow")
    if settings["evaluate"] or settings["what"] == "evaluate":
        _check_evaluation(settings)
        return
    if settings["source"] is None:
        raise SettingsError("source = null: name a picture, a folder or a clip, or evaluate=true")
    list_source(settings["source"])


def _check_evaluation(settings: Settings) -> None:
    build(settings["data"])
    if settings["pictures"] < 8 or not 1 <= settings["wrong_keys"] <= 100_000:
        raise SettingsError(
            f"pictures = {settings['pictures']}, wrong_keys = {settings['wrong_keys']}: at "
            f"least 8 pictures and 1 to 100000 keys"
        )


if __name__ == "__main__":
    run_job("protect", main, check=check)
