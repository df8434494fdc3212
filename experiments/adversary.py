"""A recogniser that learns to see through the lens.

It matches a measurement against *clear, different* pictures of known people. The gallery is
embedded once by the frozen recogniser; only the probe side is trained, on measurements. The same
learner is the adversary beside the mask and the attacker that judges it afterwards.
"""

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from anonymizer.alignment import align_faces
from anonymizer.recognition import Recognizer
from experiments.data.crops import FaceCrops
from experiments.scene import Scenes, load_scenes


@torch.no_grad()
def embed_clear(recognizer: Recognizer, crops: FaceCrops, *, batch: int = 64) -> Tensor:
    """Embeddings (N, D) of clear crops, aligned by their true landmarks."""
    device = next(recognizer.parameters()).device
    rows = []
    for start in range(0, len(crops), batch):
        scenes = load_scenes(crops, np.arange(start, min(start + batch, len(crops)))).to(device)
        rows.append(recognizer(align_faces(scenes.light, scenes.landmarks)).cpu())
    return torch.cat(rows) if rows else torch.zeros(0, 1)


class Attacker(nn.Module):
    """Trainable probe network against a frozen gallery.

    Parameters
    ----------
    recognizer : Recognizer
        Off-the-shelf recogniser; copied, and the copy is trained.
    temperature : float
        Divides the cosines in the cross entropy.
    """

    def __init__(self, recognizer: Recognizer, *, temperature: float = 0.07) -> None:
        super().__init__()
        self.probe = copy.deepcopy(recognizer).requires_grad_(True)
        self.temperature = temperature
        self.register_buffer("gallery", torch.zeros(0, 1), persistent=False)
        self.register_buffer("people", torch.zeros(0, dtype=torch.long), persistent=False)

    def enrol(self, gallery: Tensor, people: Tensor) -> None:
        """Set the clear gallery: embeddings (N, D) and who they are (N,)."""
        self.gallery, self.people = gallery, people

    @property
    def chance(self) -> float:
        """Cross entropy of guessing among the gallery [nat]."""
        people: Tensor = self.people
        counts = people.bincount().double()
        others = (counts[people] - 1).clamp(min=0)
        usable = others[others > 0]
        return math.log(len(people) - 1) - float(usable.log().mean())

    def embed(self, measurement: Tensor, landmarks: Tensor) -> Tensor:
        """Return unit embeddings of measured crops (B, 3, S, S), by true landmarks."""
        out: Tensor = self.probe(align_faces(measurement, landmarks))
        return out

    def forward(self, measurement: Tensor, landmarks: Tensor, index: Tensor) -> Tensor:
        """Cross entropy of naming the person [nat].

        Parameters
        ----------
        measurement : Tensor
            (B, 3, S, S), linear light.
        landmarks : Tensor
            (B, 68, 2) in its pixels.
        index : Tensor
            (B,) rows of the gallery that show the same picture; they are never a match.
        """
        gallery: Tensor = self.gallery
        people: Tensor = self.people
        own = functional.one_hot(index, len(gallery)).bool()
        same = (people[index][:, None] == people[None, :]) & ~own
        usable = same.any(1)  # people with another picture
        if not bool(usable.any()):
            return measurement.sum() * 0 + self.chance
        own, same = own[usable], same[usable]
        score = self.embed(measurement[usable], landmarks[usable]) @ gallery.T / self.temperature
        score = score.masked_fill(own, -torch.inf)
        found = score.masked_fill(~same, -torch.inf).logsumexp(1)
        return (score.logsumexp(1) - found).mean()


def paired_rows(people: np.ndarray) -> np.ndarray:
    """Rows whose person has at least one other picture."""
    counts = np.bincount(people[people >= 0], minlength=int(people.max(initial=-1)) + 2)
    return np.flatnonzero((people >= 0) & (counts[people] > 1))


def measure_identity(
    attacker: Attacker, measurement: Tensor, scenes: Scenes, index: Tensor
) -> Tensor:
    """Cross entropy of `attacker` with its own weights held fixed: gradient to the picture only."""
    frozen = {name: value.detach() for name, value in attacker.named_parameters()}
    out: Tensor = torch.func.functional_call(
        attacker, frozen, (measurement, scenes.landmarks, index)
    )
    return out
