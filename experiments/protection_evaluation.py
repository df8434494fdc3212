"""What a protection protects, and what it gives back: measured on people it never saw.

Probes are protected faces, the gallery is clear, different pictures of the same people; the
recogniser of the pool that sees most counts. What a method does not have is null, with the reason
under the same name and `_reason`.
"""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from anonymizer.alignment import warp_area
from anonymizer.colour import encode_srgb
from anonymizer.keystream import KEY_BYTES, stream
from anonymizer.recognition import FACE_SIZE, Recognizer, verify, worst_case
from anonymizer.vault import (
    Header,
    Keyholder,
    Mode,
    Secret,
    WrongKey,
    key_file,
    open_content,
)
from anonymizer.vault.stretching import SALT_BYTES
from experiments.data.crops import FaceCrops
from experiments.faces_in_pictures import FixedFaces, Square, cut_squares
from experiments.judging import build_pool, limit_each, open_crops
from experiments.protecting import Guard, Method
from experiments.report.protection_sheet import protection_sheet
from experiments.report.sheet import write_sheet
from experiments.settings import Settings
from experiments.store import save_json
from experiments.vault_files import VAULT, Workshop, verify_file

FALSE_ACCEPTS = 1e-3
_RULE = 30  # false accepts that a rate must rest on
_BATCH = 16
_SIZED = 8  # pictures whose files are weighed
_SHOWN = 4  # people in the figure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """Faces (N, 3, S, S) in linear light: what went in, and what came out of it.

    Attributes
    ----------
    original, cover, protected : Tensor
        `protected` as an 8-bit file holds it.
    recovered : Tensor or None
        With the right keys, from float and from 8 bits; None if the method recovers nothing.
    recovered_png8, wrong : Tensor or None
        From 8 bits with the right keys, and with wrong ones.
    ms : float
        Time to protect one face [ms].
    """

    original: Tensor
    cover: Tensor
    protected: Tensor
    recovered: Tensor | None
    recovered_png8: Tensor | None
    wrong: Tensor | None
    ms: float


@dataclass(frozen=True)
class Judged:
    """What came of a method.

    Attributes
    ----------
    numbers : dict
        Those of `metrics.json`.
    columns : dict of str to Tensor
        Faces (n, 3, S, S) in linear light, by the heading of their column in the figure.
    """

    numbers: dict[str, Any]
    columns: dict[str, Tensor]


def evaluate(settings: Settings, method: Method, frame: float, run: Path) -> None:
    """Measure a method on the test people of `data`, and write numbers, figure and page."""
    test = open_crops(settings["data"], settings).split()["test"]
    vault = settings["vault"]
    found = judge(settings, method, frame, test, build_pool(settings), vault)
    save_json(run / "metrics.json", found.numbers)
    write_sheet(run, protection_sheet(method.name, vault, found.numbers, found.columns))


def judge(
    settings: Settings,
    method: Method,
    frame: float,
    test: FaceCrops,
    pool: dict[str, Recognizer],
    vault: Mode,
) -> Judged:
    """Measure a method on people it never saw.

    Parameters
    ----------
    settings : Settings
        Of the job: `pictures`, `wrong_keys`, `seed`.
    method : Method
    frame : float
        Side of its face squares in sides of a recogniser's crop.
    test : FaceCrops
        The people; at most about `pictures` pictures are protected, all of them set thresholds.
    pool : dict of str to Recognizer
    vault : {"aead", "flow", "decoy"}
        How originals are kept.
    """
    few = limit_each(test, settings["pictures"])
    log.info("%d pictures of %d people", len(few), len(np.unique(few.person)))
    measured = measure(method, few, frame, settings["seed"])
    numbers: dict[str, Any] = {"n_images": len(few), "n_people": len(np.unique(few.person))}
    numbers |= quality(measured, exact=vault == "aead")
    numbers |= identity(pool, measured, few, frame)
    sample = sample_files(method, few, frame, vault)
    if vault == "aead":
        numbers |= sealed_numbers(sample.header, settings["wrong_keys"])
    else:
        numbers |= keyed_numbers(
            pool, method, measured, test, few, frame, settings["wrong_keys"], settings["seed"]
        )
    numbers |= {"bytes_sent": sample.bytes_sent, "ms_per_image": measured.ms}
    return Judged(numbers, shown_columns(measured, aead=vault == "aead"))


def faces_of(crops: FaceCrops, frame: float, size: int) -> Tensor:
    """Return the face squares (N, 3, size, size) of crops, by their true landmarks."""
    faces = []
    for image, points in zip(np.asarray(crops.images), crops.landmarks, strict=True):
        square = Square.around(torch.from_numpy(points), frame=frame)
        faces.append(cut_squares(image, [square], size)[0])
    return torch.stack(faces)


def measure(method: Method, crops: FaceCrops, frame: float, seed: int) -> Measured:
    """Protect and recover every picture once."""
    faces = faces_of(crops, frame, method.size)
    keys = random_keys(len(faces), f"evaluation {seed}")
    start = time.perf_counter()
    raw = in_batches(lambda part, own: method.protect(part, own), faces, keys)
    ms = 1e3 * (time.perf_counter() - start) / len(faces)
    network = method.network
    with torch.inference_mode():
        cover = in_batches(lambda p, _: network.cover(p.to(method.device)).cpu(), faces, keys)
    recovered = png8 = wrong = None
    if network.capabilities.recoverable:
        others = random_keys(len(faces), f"wrong {seed}")
        with torch.inference_mode():
            exact = in_batches(
                lambda p, k: network.protect(p.to(method.device), k).cpu(), faces, keys
            )
        recovered = in_batches(method.recover, exact, keys)
        png8 = in_batches(method.recover, raw, keys)
        wrong = in_batches(method.recover, raw, others)
    return Measured(faces, cover, raw, recovered, png8, wrong, ms)


def random_keys(count: int, purpose: str) -> list[bytes]:
    """Return keys that are the same in every run, for measurements alone."""
    drawn = stream(bytes(KEY_BYTES), KEY_BYTES * count, purpose)
    return [drawn[i : i + KEY_BYTES] for i in range(0, len(drawn), KEY_BYTES)]


def in_batches(
    how: Callable[[Tensor, Sequence[bytes]], Tensor], faces: Tensor, keys: Sequence[bytes]
) -> Tensor:
    """Apply `how` to a few faces and their keys at a time."""
    parts = [how(faces[i : i + _BATCH], keys[i : i + _BATCH]) for i in range(0, len(faces), _BATCH)]
    return torch.cat(parts)


# Numbers


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Return the mean over pictures of the peak signal-to-noise ratio of sRGB values [dB].

    Pictures that are equal count as 8-bit rounding would, 58.9 dB, so that the mean is finite.
    """
    error = (encode_srgb(found) - encode_srgb(wanted)).square().flatten(1).mean(dim=1)
    floor = (1 / 255) ** 2 / 12
    return float((-10 * error.clamp(min=floor).log10()).mean())


def ssim(found: Tensor, wanted: Tensor) -> float:
    """Return the mean structural similarity of sRGB values."""
    value = structural_similarity_index_measure(
        encode_srgb(found), encode_srgb(wanted), data_range=1.0
    )
    return float(value) if isinstance(value, Tensor) else float(value[0])


def null(name: str, reason: str) -> dict[str, Any]:
    """Return a number that does not exist, and why."""
    return {name: None, f"{name}_reason": reason}


def quality(measured: Measured, *, exact: bool) -> dict[str, Any]:
    """Likeness of protected faces and covers, and of recovered faces and originals."""
    out: dict[str, Any] = {
        "protected_psnr": psnr(measured.protected, measured.cover),
        "protected_ssim": ssim(measured.protected, measured.cover),
    }
    for name, found in (
        ("recovered_psnr", measured.recovered),
        ("recovered_psnr_png8", measured.recovered_png8),
    ):
        if exact:
            out |= null(name, "the vault gives the original back bit for bit: no error to measure")
        elif found is None:
            out |= null(name, "the method recovers nothing")
        else:
            out[name] = psnr(found, measured.original)
    return out


def recogniser_view(faces: Tensor, frame: float) -> Tensor:
    """Return what recognisers expect (N, 3, 112, 112) of face squares of `frame` crops."""
    size = faces.shape[-1]
    scale = size / (frame * FACE_SIZE)
    offset = (size - size / frame) / 2 + 0.5 * scale - 0.5
    matrix = faces.new_tensor([[scale, 0, offset], [0, scale, offset]])
    return warp_area(faces, matrix.expand(len(faces), 2, 3), (FACE_SIZE, FACE_SIZE))


@torch.inference_mode()
def embed(recognizer: Recognizer, faces: Tensor, frame: float) -> NDArray[np.float64]:
    """Return unit embeddings (N, D) of face squares."""
    parts = [
        recognizer(recogniser_view(part, frame)).double() for part in torch.split(faces, _BATCH)
    ]
    return torch.cat(parts).numpy()


def identity(
    pool: dict[str, Recognizer], measured: Measured, crops: FaceCrops, frame: float
) -> dict[str, Any]:
    """How well protected faces are recognised, by the recogniser that sees most."""
    index = np.arange(len(crops))
    found = {
        name: verify(
            embed(network, measured.protected, frame),
            embed(network, measured.original, frame),
            probe_person=crops.person,
            gallery_person=crops.person,
            probe_image=index,
            gallery_image=index,
        )
        for name, network in pool.items()
    }
    worst = worst_case(found)
    numbers: dict[str, Any] = {f"verification_{k}": v for k, v in found[worst].flat().items()}
    return numbers | {"recogniser": worst}


def threshold_at(impostor: NDArray[np.float64], rate: float) -> float:
    """Return the smallest score whose false accepts do not exceed `rate`.

    Raises
    ------
    ValueError
        If fewer than 30 false accepts would decide it.
    """
    if len(impostor) * rate < _RULE:
        raise ValueError(
            f"{len(impostor)} impostor pairs are too few for a false accept rate of {rate:g}; "
            f"at least {_RULE / rate:.0f} are needed"
        )
    ordered = np.sort(impostor)[::-1]
    allowed = int(len(impostor) * rate)
    return float(np.nextafter(ordered[allowed], np.inf))


def keyed_numbers(
    pool: dict[str, Recognizer],
    method: Method,
    measured: Measured,
    test: FaceCrops,
    few: FaceCrops,
    frame: float,
    count: int,
    seed: int,
) -> dict[str, Any]:
    """Return what wrong keys recover, and what searching for the right one costs.

    Recoveries are judged as a file would hold them. A face may hide in values beyond black and
    white, where `wrong_key_acceptance` does not see it.
    """
    bits = min(8 * KEY_BYTES, int(getattr(method.network, "key_bits", 8 * KEY_BYTES)))
    rows = torch.arange(count) % len(few)
    wrong = random_keys(count, f"search {seed}")
    start = time.perf_counter()
    recovered = in_batches(method.recover, measured.protected[rows], wrong)
    seconds = (time.perf_counter() - start) / count
    out: dict[str, Any] = {"key_bits": bits, "key_search_seconds": 2.0 ** (bits - 1) * seconds}
    clear = faces_of(test, frame, method.size)
    accepted = []
    try:
        for network in pool.values():
            vectors = embed(network, clear, frame)
            differ = test.person[:, None] != test.person[None]
            scores = (vectors @ vectors.T)[np.triu(differ, 1)]
            threshold = threshold_at(scores, FALSE_ACCEPTS)
            found = embed(network, recovered, frame)
            own = embed(network, measured.original, frame)[rows.numpy()]
            accepted.append(float(((found * own).sum(axis=1) >= threshold).mean()))
    except ValueError as error:
        return out | null("wrong_key_acceptance", str(error))
    return out | {"wrong_key_acceptance": max(accepted), "n_wrong_keys": count}


@dataclass(frozen=True)
class Sample:
    """Files as they are written for a few test pictures.

    Attributes
    ----------
    bytes_sent : float
        Mean size of what leaves the machine for one picture [bytes].
    header : Header
        Of one of the vaults.
    """

    bytes_sent: float
    header: Header


def sample_files(method: Method, crops: FaceCrops, frame: float, mode: Mode) -> Sample:
    """Protect a few pictures into files, weigh them, and remove them."""
    with TemporaryDirectory() as place, Workshop(Path(place) / "keys") as workshop:
        holder, sizes = Keyholder(Secret.from_key_file(key_file().encode())), []
        for number in np.linspace(0, len(crops) - 1, min(_SIZED, len(crops))).astype(int):
            square = Square.around(torch.from_numpy(crops.landmarks[number]), frame=frame)
            finder = FixedFaces((square,))
            guard = Guard(method, finder, workshop, [holder], mode, bytes(SALT_BYTES))
            target = Path(place) / "sample"
            sizes.append(guard.picture(np.asarray(crops.images[number]), "", target)[1])
        header = verify_file(target.with_suffix(VAULT), workshop.producer.verifier)
    # features for a server are what such a method sends, instead of a picture
    message = getattr(method.network, "message_size", None)
    return Sample(float(np.mean(sizes)) if message is None else float(message), header)


def sealed_numbers(header: Header, count: int) -> dict[str, Any]:
    """Return the same for a vault with encrypted originals: random keys are tried on it."""
    accepted, start = 0, time.perf_counter()
    for _ in range(count):
        try:
            open_content(header, Keyholder(Secret("key", secrets.token_bytes(KEY_BYTES))))
        except WrongKey:
            continue
        accepted += 1
    seconds = (time.perf_counter() - start) / count
    bits = 8 * KEY_BYTES
    return {
        "wrong_key_acceptance": accepted / count,
        "n_wrong_keys": count,
        "key_bits": bits,
        "key_search_seconds": 2.0 ** (bits - 1) * seconds,
    }


def shown_columns(measured: Measured, *, aead: bool) -> dict[str, Tensor]:
    """Return the faces of the figure by column, one row for each of a few people."""
    columns = {
        "original": measured.original,
        "obfuscated": measured.cover,
        "protected": measured.protected,
    }
    if aead:
        columns["recovered"] = measured.original
    elif measured.recovered_png8 is not None and measured.wrong is not None:
        columns |= {"recovered": measured.recovered_png8, "wrong key": measured.wrong}
    rows = np.linspace(0, len(measured.original) - 1, _SHOWN).astype(int)
    return {name: faces[torch.from_numpy(rows)] for name, faces in columns.items()}
