"""How cameras are judged: conditions, judges, and the people they are judged on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anonymizer.recognition import Recognizer
from anonymizer.recognition.protocol import Verification, verify
from experiments.adversary import Attacker, embed_clear
from experiments.data.crops import FaceCrops
from experiments.scene import Framing, Scenes, generator_for, load_scenes, reframe

Metrics = dict[str, float]


@dataclass(frozen=True)
class Protocol:
    """How a camera is judged.

    Attributes
    ----------
    distances : sequence of float
        Where privacy and utility are measured [m].
    reference : float
        Distance of the plain keys and of the inversion [m].
    frames : sequence of int
        Frames the inverting attacker averages.
    exposures : sequence of float
        Further exposures at which the inversion is tried [e- per binned pixel, scene white].
    regularisation : sequence of float
        Noise powers tried by the Wiener filter, relative to the true one; the best on other
        people is used.
    tuning_images : int
        Pictures of other people on which that choice is made.
    max_images : int
        At most this many test pictures.
    batch : int
        Pictures measured at once.
    nodes : int
        Wavelengths per colour channel of the final PSFs.
    """

    distances: Sequence[float]
    reference: float
    frames: Sequence[int] = (1, 100)
    exposures: Sequence[float] = (10e3, 1e3)
    regularisation: Sequence[float] = (0.1, 1.0, 10.0, 100.0)
    tuning_images: int = 96
    max_images: int = 600
    batch: int = 32
    nodes: int = 7

    def __post_init__(self) -> None:
        if not self.distances or min(self.distances) <= 0:
            raise ValueError(f"distances = {list(self.distances)}: positive lengths are needed")
        if self.reference not in self.distances:
            raise ValueError(
                f"distances = {list(self.distances)} m do not hold the reference distance "
                f"{self.reference:g} m; add it"
            )
        if not self.frames or min(self.frames) < 1 or min(self.exposures, default=1) <= 0:
            raise ValueError("frames and exposures must be positive")
        if not self.regularisation or min(self.regularisation) <= 0:
            raise ValueError(
                f"regularisation = {list(self.regularisation)}: one positive number or more is "
                f"needed"
            )
        if min(self.tuning_images, self.max_images, self.batch, self.nodes) < 1:
            raise ValueError(
                f"tuning_images = {self.tuning_images}, max_images = {self.max_images}, batch = "
                f"{self.batch}, nodes = {self.nodes}: at least 1 each"
            )


@dataclass(frozen=True)
class Judges:
    """Who looks at the measurements.

    Attributes
    ----------
    recognizers : mapping of str to Recognizer
        The pool, off the shelf.
    retrained : mapping of str to Attacker
        The same, fine-tuned on measurements of this camera.
    """

    recognizers: Mapping[str, Recognizer]
    retrained: Mapping[str, Attacker]


@dataclass
class TestSet:
    """Test pictures with their framing and the clear embeddings of the pool.

    Attributes
    ----------
    crops : FaceCrops
        The pictures.
    framing : Framing
        Random framing, without mirroring; the same for every camera.
    seed : int
        Seed of framing and noise.
    gallery : dict of str to Tensor
        Clear embeddings by recogniser.
    """

    crops: FaceCrops
    framing: Framing
    seed: int
    gallery: dict[str, Tensor] = field(default_factory=dict)

    @property
    def has_identities(self) -> bool:
        """Whether people can be told apart at all."""
        people = self.crops.person
        known = people[people >= 0]
        return len(known) > 0 and len(np.unique(known)) > 1 and len(np.unique(known)) < len(known)

    def enrol(self, recognizers: Mapping[str, Recognizer]) -> None:
        """Embed the clear pictures with every recogniser of the pool."""
        for name, recognizer in recognizers.items():
            if self.has_identities and name not in self.gallery:
                self.gallery[name] = embed_clear(recognizer, self.crops)

    def batches(self, size: int) -> list[NDArray[np.int64]]:
        """Rows of the pictures, `size` at a time."""
        count = len(self.crops)
        return [np.arange(a, min(a + size, count)) for a in range(0, count, size)]

    def scenes(self, rows: NDArray[np.int64], device: torch.device) -> Scenes:
        """Frame the pictures `rows`, always in the same way."""
        sources = [generator_for(self.seed, "framing", int(row)) for row in rows]
        return reframe(load_scenes(self.crops, rows), self.framing, sources).to(device)

    def noise(self, rows: NDArray[np.int64], *key: object) -> list[torch.Generator]:
        """Noise sources of the pictures `rows` for one condition."""
        return [generator_for(self.seed, "noise", *key, int(row)) for row in rows]


def verification(probe: Tensor, test: TestSet, name: str) -> Verification:
    """All pairs of probe and clear gallery, never a picture against itself."""
    people = test.crops.person
    known = np.flatnonzero(people >= 0)
    impostors = len(known) ** 2 - int((np.bincount(people[known]) ** 2).sum())
    return verify(
        probe.numpy()[known],
        test.gallery[name].numpy()[known],
        probe_person=people[known],
        gallery_person=people[known],
        probe_image=known,
        gallery_image=known,
        false_accepts=[rate for rate in (1e-2,) if rate * impostors >= 30],  # rule of 30
        seed=test.seed,
    )


def worst_of(key: str, found: Mapping[str, Verification]) -> Metrics:
    """Numbers of the recogniser that finds most, and every AUC under its name."""
    name = max(found, key=lambda n: found[n].auc.value)
    auc, worst = found[name].auc, found[name]
    out = {key: auc.value, f"{key}_lo": auc.low, f"{key}_hi": auc.high}
    out |= {f"{key}_rank1": worst.rank1, f"{key}_rank1_chance": worst.rank1_chance}
    if 1e-2 in worst.tar:
        out[f"{key}_tar_0.01"] = worst.tar[1e-2].value
    return out | {f"{key}_by_{n}": v.auc.value for n, v in found.items()}
