"""What a protection protects, and what it gives back: measured on people it never saw.

Probes are protected faces, the gallery is clear, different pictures of the same people; the
recogniser of the pool that sees most counts. What a method does not have is null, with the reason
under the same name and `_reason`.
"""

import logging
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.keystream import KEY_BYTES
from anonymizer.recognition import Recognizer, verify, worst_case
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
from experiments.faces_in_pictures import FixedFaces, Square
from experiments.judging import build_pool, limit_each, open_crops
from experiments.protected_faces import embed, faces_of, in_batches, random_keys
from experiments.protecting import Guard, Method
from experiments.report.protection_sheet import protection_sheet
from experiments.report.sheet import write_sheet
from experiments.settings import Settings
from experiments.store import save_json
from experiments.vault_files import VAULT, Workshop, verify_file
from experiments.wrong_keys import keyed_numbers, stretch

_SIZED = 8  # pictures whose files are weighed
_SHOWN = 4  # people in the figure
_GRID = 24  # wrong keys in the figure of one face

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
    recovered_png8 : Tensor or None
        From 8 bits with the right keys.
    wrong : Tensor or None
        With wrong ones, as sRGB values that are not clipped.
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
    wrong : Tensor or None
        (n, 3, S, S): what n wrong keys recover of one face, stretched; None if no key recovers.
    """

    numbers: dict[str, Any]
    columns: dict[str, Tensor]
    wrong: Tensor | None = None


def evaluate(settings: Settings, method: Method, frame: float, run: Path) -> None:
    """Measure a method on the test people of `data`, and write numbers, figure and page."""
    test = open_crops(settings["data"], settings).split()["test"]
    vault = settings["vault"]
    found = judge(settings, method, frame, test, build_pool(settings), vault)
    save_json(run / "metrics.json", found.numbers)
    write_sheet(
        run, protection_sheet(method.name, vault, found.numbers, found.columns, found.wrong)
    )


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
    sample, wrong = sample_files(method, few, frame, vault), None
    if vault == "aead":
        numbers |= sealed_numbers(sample.header, settings["wrong_keys"])
    else:
        numbers |= keyed_numbers(
            pool, method, measured.original, measured.protected, test, frame,
            settings["wrong_keys"], settings["seed"],
        )  # fmt: skip
        keys = random_keys(_GRID, f"grid {settings['seed']}")
        same = measured.protected[:1].expand(_GRID, -1, -1, -1)
        wrong = decode_srgb(stretch(method.recover_unclipped(same, keys)))
    numbers |= {"bytes_sent": sample.bytes_sent, "ms_per_image": measured.ms}
    return Judged(numbers, shown_columns(measured, aead=vault == "aead"), wrong)


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
        wrong = in_batches(method.recover_unclipped, raw, others)
    return Measured(faces, cover, raw, recovered, png8, wrong, ms)


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
        columns |= {
            "recovered": measured.recovered_png8,
            "wrong key": decode_srgb(measured.wrong),
            "stretched": decode_srgb(stretch(measured.wrong)),
        }
    rows = np.linspace(0, len(measured.original) - 1, _SHOWN).astype(int)
    return {name: faces[torch.from_numpy(rows)] for name, faces in columns.items()}
