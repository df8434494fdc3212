"""Verification of recognisers on a list of pairs: numbers, figures, page."""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from anonymizer.recognition import PairVerification, Recognizer, flip_fused, verify_pairs
from experiments.data.pairs.base import FacePairs, PairLayout
from experiments.distributed import distributed
from experiments.report.sheet import write_sheet
from experiments.report.verification_sheet import verification_sheet
from experiments.settings import Settings, build
from experiments.store import save_arrays, save_json

log = logging.getLogger(__name__)


def verify_on_pairs(settings: Settings, run: Path) -> None:
    """Judge every recogniser of the pool on the same pairs."""
    layout: PairLayout = build(settings["pairs"])
    faces = layout.read()
    found: dict[str, PairVerification] = {}
    scores: dict[str, NDArray[np.float64]] = {}
    metrics: dict[str, float] = {}
    for name, node in settings["pool"].items():
        vectors = embed_all(build(node), faces, settings, label=name)
        a, b = (vectors[faces.pairs[:, side]] for side in range(2))
        scores[name] = (a * b).sum(axis=1)
        found[name] = verify_pairs(
            scores[name], faces.same, faces.fold, faces.people, seed=settings["seed"]
        )
        metrics |= {f"{name}/{key}": value for key, value in found[name].flat().items()}
        accuracy = found[name].accuracy
        log.info(
            "%s: accuracy %.4f [%.4f, %.4f]", name, accuracy.value, accuracy.low, accuracy.high
        )
    save_arrays(run / "scores.npz", {**scores, "same": faces.same, "fold": faces.fold})
    save_json(run / "metrics.json", metrics)
    write_sheet(run, verification_sheet(found, scores, faces, fused=bool(settings["flip_fusion"])))


@torch.no_grad()
def embed_all(
    network: Recognizer, faces: FacePairs, settings: Settings, *, label: str
) -> NDArray[np.float64]:
    """Return unit embeddings (pictures, D) of every picture of the list."""
    device = distributed(settings["device"]).device
    network.to(device)
    embed = (lambda x: flip_fused(network, x)) if settings["flip_fusion"] else network
    starts = range(0, len(faces.names), settings["verify_batch"])
    rows = []
    for start in tqdm(starts, desc=label, disable=None if settings["progress"] else True):
        stop = min(start + settings["verify_batch"], len(faces.names))
        rows.append(embed(faces.faces(range(start, stop)).to(device)).double().cpu())
    vectors: NDArray[np.float64] = torch.cat(rows).numpy()
    return vectors
