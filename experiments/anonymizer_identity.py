"""Who is recognised on anonymized faces: the source, a reference, the same person twice.

Gallery: clear, different pictures. All pairs; of all recognisers the one that sees most counts,
and at least one of them did not guard the training.
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.alignment import CANONICAL68, align_faces, fit_similarity
from anonymizer.checkpoints import WeightsError
from anonymizer.metrics import mean_over_people, over_people
from anonymizer.recognition import Recognizer, Verification, linkability, verify, worst_case
from anonymizer.recognition.curves import Estimate
from experiments.adversary import embed_clear
from experiments.anonymizer_outputs import Outputs
from experiments.settings import build

Numbers = dict[str, Any]

_BATCH = 32
_RESAMPLES = 50  # of the linkage: each is an estimate of two densities

log = logging.getLogger(__name__)


def open_judges(
    settings: Mapping[str, Any], pool: Mapping[str, Recognizer], device: torch.device
) -> dict[str, Recognizer]:
    """Return the recognisers of the run and those of `judges` whose weights are at hand."""
    found = dict(pool)
    for name, node in settings["judges"].items():
        if name in found:
            continue
        try:
            found[name] = build(node).to(device)
        except WeightsError as error:
            log.warning("judge %s is left out: %s", name, error)
    return found


@torch.inference_mode()
def embed(recognizer: Recognizer, faces: Tensor, landmarks: Tensor) -> Tensor:
    """Return unit embeddings (N, D) of faces (N, 3, S, S), by their landmarks."""
    device = next(recognizer.parameters()).device
    pairs = zip(torch.split(faces, _BATCH), torch.split(landmarks, _BATCH), strict=True)
    return torch.cat([recognizer(align_faces(f.to(device), p)).cpu() for f, p in pairs])


def estimate(name: str, found: Estimate, n: int) -> Numbers:
    """Return a number, its interval and what it was counted over under flat names."""
    return {name: found.value, f"{name}_lo": found.low, f"{name}_hi": found.high, f"{name}_n": n}


def missing(name: str, reason: str) -> Numbers:
    """Return a number that does not exist, and why."""
    return dict.fromkeys((name, f"{name}_lo", f"{name}_hi", f"{name}_n")) | {
        f"{name}_reason": reason
    }


class Identity:
    """Looks at outputs with several recognisers.

    Parameters
    ----------
    judges : mapping of str to Recognizer
        Who looks.
    guard : str or None
        Which of them guarded the training.
    outputs : Outputs
        What they look at.
    seed : int
        Of the intervals.
    """

    def __init__(
        self, judges: Mapping[str, Recognizer], guard: str | None, outputs: Outputs, seed: int
    ) -> None:
        self.guard, self.outputs, self.seed = guard, outputs, seed
        points = outputs.landmarks
        self.gallery = {n: embed_clear(r, outputs.crops) for n, r in judges.items()}
        self.made = {n: embed(r, outputs.made, points) for n, r in judges.items()}
        self.again = {n: embed(r, outputs.again, points) for n, r in judges.items()}
        self.clear = {n: embed(r, outputs.clear, points) for n, r in judges.items()}

    def numbers(self) -> Numbers:
        """Return everything but what fine-tuned recognisers see."""
        out = self.source("reid_source_auc", self.made)
        out |= self.source("reid_clear_auc", self.clear)
        out |= self.references() | self.linkage() | self.diversity()
        out["guard"] = self.guard
        out["held_out"] = sorted(set(self.made) - {self.guard})
        return out

    def source(self, name: str, probes: Mapping[str, Tensor]) -> Numbers:
        """Return how well the people of the pictures are recognised by `probes`."""
        rows = np.arange(len(self.outputs.crops))
        found = {n: self._verify(p, n, rows, rows) for n, p in probes.items()}
        return worst(name, found)

    def references(self) -> Numbers:
        """Return how well the people who lent the styles are recognised.

        Every output is compared as each of its references with all pictures but the one that
        was lent.
        """
        lent = self.outputs.references
        rows = np.arange(len(lent)).repeat(lent.shape[1])
        found = {n: self._verify(p[rows], n, lent.ravel(), lent.ravel())
                 for n, p in self.made.items()}  # fmt: skip
        return worst("reid_reference_auc", found)

    def landmarks(self) -> Numbers:
        """Return how well people are recognised by the landmarks alone that the camera lets see."""
        rows = np.arange(len(self.outputs.crops))
        truth, read = shapes(self.outputs.landmarks), shapes(self.outputs.read)
        mean = truth.mean(0)
        probe, gallery = (torch.nn.functional.normalize(x - mean, dim=1) for x in (read, truth))
        person = self.outputs.crops.person
        found = verify(
            probe, gallery, probe_person=person, gallery_person=person, probe_image=rows,
            gallery_image=rows, false_accepts=(), seed=self.seed,
        )  # fmt: skip
        return estimate("reid_landmarks_auc", found.auc, found.n_genuine)

    def linkage(self) -> Numbers:
        """Return whether outputs of different pictures of one person can be linked.

        The recogniser that links best counts; its D_sys stands beside what shuffled labels give.
        """
        person = self.outputs.crops.person
        other = ~np.eye(len(person), dtype=bool)
        same = person[:, None] == person[None]
        auc = {n: self._linked(n) for n in self.made}
        judge = worst_case(auc)
        scores = (self.made[judge] @ self.made[judge].T).double().numpy()

        def rate(rows: NDArray[np.int64]) -> float:
            grid = np.ix_(rows, rows)
            mated, strange = scores[grid][(same & other)[grid]], scores[grid][~same[grid]]
            return linkability(mated, strange, shuffles=1, seed=self.seed).histogram

        whole = linkability(scores[same & other], scores[~same], seed=self.seed)
        interval = over_people(rate, person, resamples=_RESAMPLES, seed=self.seed)
        out = estimate("linkage_dsys", interval, whole.n_mated)
        out |= {"linkage_dsys_null": whole.null, "linkage_dsys_null_hi": whole.null_high}
        out |= {"linkage_dsys_by": judge}
        return out | estimate("linkage_auc", auc[judge].auc, auc[judge].n_genuine)

    def diversity(self) -> Numbers:
        """Return how different two outputs of one picture are, with different references."""
        away = {n: 1 - (a * self.again[n]).sum(1) for n, a in self.made.items()}
        held = [n for n in away if n != self.guard] or list(away)
        least = min(held, key=lambda n: float(away[n].mean()))
        person = self.outputs.crops.person
        found = mean_over_people(away[least].numpy(), person, seed=self.seed)
        return estimate("diversity_identity", found, len(person)) | {"diversity_identity_by": least}

    def _linked(self, name: str) -> Verification:
        made, rows = self.made[name], np.arange(len(self.outputs.crops))
        person = self.outputs.crops.person
        return verify(
            made, made, probe_person=person, gallery_person=person, probe_image=rows,
            gallery_image=rows, false_accepts=(), seed=self.seed,
        )  # fmt: skip

    def _verify(
        self, probes: Tensor, name: str, shown: NDArray[np.int64], image: NDArray[np.int64]
    ) -> Verification:
        """Compare probes with all clear pictures; `shown` is the picture whose person counts."""
        person = self.outputs.crops.person
        return verify(
            probes, self.gallery[name], probe_person=person[shown], gallery_person=person,
            probe_image=image, gallery_image=np.arange(len(person)), false_accepts=(),
            seed=self.seed,
        )  # fmt: skip


def worst(name: str, found: Mapping[str, Verification]) -> Numbers:
    """Return the numbers of the recogniser that sees most, and every AUC under its name."""
    judge = worst_case(found)
    out = estimate(name, found[judge].auc, found[judge].n_genuine)
    out |= {f"{name}_by": judge, f"{name}_rank1": found[judge].rank1}
    out |= {f"{name}_rank1_chance": found[judge].rank1_chance}
    return out | {f"{name}_by_{n}": v.auc.value for n, v in found.items()}


def shapes(landmarks: Tensor) -> Tensor:
    """Return landmarks (N, 68, 2) as vectors (N, 136) without place, size and roll."""
    matrix = fit_similarity(landmarks, CANONICAL68.to(landmarks).expand_as(landmarks))
    moved = landmarks @ matrix[..., :2].mT + matrix[..., None, :, 2]
    return moved.flatten(1).double()
