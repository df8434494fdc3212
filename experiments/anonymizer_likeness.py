"""What anonymized faces are still good for: found, in place, as faces look, steady in clips."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.colour import encode_srgb
from anonymizer.detection import Detection, Mtcnn, nearest_to_centre
from anonymizer.heatmaps import normalised_mean_error
from anonymizer.metrics import (
    Inception,
    box_distance,
    box_overlap,
    eye_error,
    frechet_distance,
    head_pose,
    kernel_distance,
    landmark_distance,
    mean_over_people,
    over_people,
    temporal_jitter,
)
from anonymizer.recognition import proportion
from experiments.anonymizer_identity import Numbers, estimate, missing
from experiments.anonymizer_outputs import Maker, Outputs
from experiments.faces_in_pictures import to_pixels
from experiments.finished_anonymizer import FinishedAnonymizer
from experiments.scene import network_view

FAILED = 0.10
"""Error of the landmarks, over the eye distance, above which a face counts as a failure."""

_SIDE = 256  # of the pictures that the detector sees, as published [px]
_BATCH = 32
_DRAWS = 30  # resamples of distances between distributions

log = logging.getLogger(__name__)


def detection_numbers(detector: Mtcnn, outputs: Outputs, seed: int) -> Numbers:
    """Return how often a detector finds faces, and how far they moved from the sources'."""
    clear, made = (_detect(detector, faces) for faces in (outputs.clear, outputs.made))
    total = len(made)
    out: Numbers = {}
    for name, found in (("detection_rate", made), ("detection_rate_clear", clear)):
        hits = sum(one is not None for one in found)
        out |= estimate(name, proportion(hits, total), total)
    both = [i for i in range(total) if made[i] is not None and clear[i] is not None]
    person = outputs.crops.person[both]
    for name, formula, what in (
        ("published_lm_px", landmark_distance, "points"),
        ("published_bb_px", box_distance, "box"),
        ("box_overlap", box_overlap, "box"),
        ("eye_error", eye_error, "points"),
    ):
        if not both:
            out |= missing(name, "no face was found both in a source and in its output")
            continue
        values = [formula(getattr(clear[i], what), getattr(made[i], what)) for i in both]
        out |= estimate(name, mean_over_people(values, person, seed=seed), len(both))
    return out


def _detect(detector: Mtcnn, faces: Tensor) -> list[Detection | None]:
    """Return the detection nearest to the centre of each face, None where there is none."""
    out: list[Detection | None] = []
    for face in faces:
        pixels = to_pixels(network_view(face[None], _SIDE).clamp(0, 1))[0]
        found = detector.detect([pixels])[0]
        out.append(found[nearest_to_centre(found, (_SIDE, _SIDE))] if found else None)
    return out


@torch.inference_mode()
def landmark_numbers(finished: FinishedAnonymizer, outputs: Outputs, seed: int) -> Numbers:
    """Return how far landmarks and direction of the head moved, by the network of clear pictures.

    True landmarks are those of the data; the direction is compared with that of the clear picture
    as the same network sees it.
    """
    person, count = outputs.crops.person, len(outputs.crops)
    made, clear = (read_landmarks(finished, f) for f in (outputs.made, outputs.clear))
    out: Numbers = {}
    for name, points in (("nme", made), ("nme_clear", clear), ("nme_camera", outputs.read)):
        errors = normalised_mean_error(points, outputs.landmarks).numpy()
        out |= estimate(name, mean_over_people(errors, person, seed=seed), count)
        if name != "nme_camera":
            failures = proportion(int((errors > FAILED).sum()), count)
            out |= estimate(name.replace("nme", "nme_failures"), failures, count)
    turned = (head_pose(made) - head_pose(clear)).rad2deg().abs()
    for i, name in enumerate(("yaw", "pitch", "roll")):
        found = mean_over_people(turned[:, i].numpy(), person, seed=seed)
        out |= estimate(f"pose_{name}_error_deg", found, count)
    return out


def read_landmarks(finished: FinishedAnonymizer, faces: Tensor) -> Tensor:
    """Return the landmarks (N, 68, 2) that the network of clear pictures reads [px]."""
    parts = [
        finished.observer.clear(part.to(finished.device)).landmarks().cpu()
        for part in torch.split(faces, _BATCH)
    ]
    return torch.cat(parts)


def distribution_numbers(
    clear: Mapping[str, Tensor], made: Mapping[str, Tensor], outputs: Outputs, seed: int
) -> Numbers:
    """Return how far outputs are from clear faces as recognisers see them: never called FID.

    Parameters
    ----------
    clear, made : mapping of str to Tensor
        Embeddings (N, D) by recogniser.
    outputs : Outputs
        Whose pictures they are of.
    seed : int
        Of the intervals.
    """
    out: Numbers = {}
    person = outputs.crops.person
    for name, real in clear.items():
        for kind, apart in (("frechet", frechet_distance), ("kernel", kernel_distance)):
            number = partial(_apart, apart, real, made[name])
            found = over_people(number, person, resamples=_DRAWS, seed=seed)
            out |= estimate(f"{kind}_{name}", found, len(real))
    return out


@torch.inference_mode()
def inception_numbers(network: Inception | None, outputs: Outputs, seed: int) -> Numbers:
    """Return FID and KID of outputs and clear pictures of the same people, of the same size.

    Those of the network's other variant, or of both without a network, are missing.
    """
    names = {"clean": ("fid", "kid"), "cvpr2024": ("fid_cvpr2024", "kid_cvpr2024")}
    out: Numbers = {}
    for variant, keys in names.items():
        reason = f"no Inception-v3 weights of this kind: give their file by inception={variant}"
        if network is None or network.variant != variant:
            out |= {k: v for key in keys for k, v in missing(key, reason).items()}
            continue
        real, made = (_features(network, faces) for faces in (outputs.clear, outputs.made))
        for key, apart in zip(keys, (frechet_distance, kernel_distance), strict=True):
            number = partial(_apart, apart, real, made)
            found = over_people(number, outputs.crops.person, resamples=_DRAWS, seed=seed)
            out |= estimate(key, found, len(real))
    return out


def _features(network: Inception, faces: Tensor) -> Tensor:
    device = next(network.parameters()).device
    parts = torch.split(encode_srgb(faces), _BATCH)
    return torch.cat([network(part.to(device)).cpu() for part in parts])


def _apart(
    distance: Callable[[Tensor, Tensor], float], real: Tensor, made: Tensor, rows: NDArray[np.int64]
) -> float:
    return distance(real[rows], made[rows])


def diversity_numbers(outputs: Outputs, perceptual: Any, seed: int) -> Numbers:
    """Return how different two outputs of one picture look, with different references."""
    a, b = encode_srgb(outputs.made), encode_srgb(outputs.again)
    person = outputs.crops.person
    values = (a - b).abs().flatten(1).mean(1).numpy()
    out = estimate("diversity", mean_over_people(values, person, seed=seed), len(values))
    if perceptual is None:
        reason = "no LPIPS network: give its files by perceptual=lpips or perceptual=lpips_alex"
        return out | missing("diversity_lpips", reason)
    with torch.inference_mode():
        pairs = zip(torch.split(a, _BATCH), torch.split(b, _BATCH), strict=True)
        apart = torch.cat([perceptual(x, y).cpu() for x, y in pairs]).numpy()
    return out | estimate("diversity_lpips", mean_over_people(apart, person, seed=seed), len(apart))


@torch.inference_mode()
def jitter_numbers(
    finished: FinishedAnonymizer, maker: Maker, outputs: Outputs, frames: int, people: int
) -> Numbers:
    """Return the unrest of landmarks in clips of a few people, and that of the clear clips."""
    _, first = np.unique(outputs.crops.person, return_index=True)
    rows = np.sort(first)[:people]
    found: dict[str, list[float]] = {"temporal_jitter": [], "temporal_jitter_clear": []}
    for row in rows:
        made, clear, true = maker.clip(int(row), frames)
        for name, faces in (("temporal_jitter", made), ("temporal_jitter_clear", clear)):
            found[name].append(float(temporal_jitter(read_landmarks(finished, faces), true)))
    out: Numbers = {}
    for name, values in found.items():
        out |= estimate(name, mean_over_people(values, rows, seed=maker.seed), len(rows))
    return out
