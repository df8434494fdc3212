"""One defence under attack: people, recognisers, and what an attack has to answer for."""

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anonymizer.alignment import align_faces
from anonymizer.recognition import Recognizer, Verification, verify, worst_case
from experiments.adversary import embed_clear, paired_rows
from experiments.attacks.defence import Blank, Clear, Defence, Faces
from experiments.data.crops import FaceCrops
from experiments.protocol import Metrics, TestSet
from experiments.scene import Framing

Look = Callable[[Tensor, Tensor], Tensor]
"""Unit embeddings of pictures (B, 3, S, S), given landmarks (B, 68, 2) in them."""
Restore = Callable[[Tensor], Tensor]
"""What is shown (B, 3, S, S) to what it is believed to be, linear light [0, 1]."""
Found = dict[str, Verification]

FALSE_ACCEPTS = (1e-1, 1e-2, 1e-3, 1e-4)
RULE = 30  # false accepts that a rate must rest on
SHOWN = 8  # people whose reconstructions are kept
ACTORS = {
    "A0": "views protected pictures with public recognisers",
    "A1": "has the public code and pictures of other people, and trains",
    "A2": "has the exact PSF or the camera, and averages frames",
    "A3": "has a generative prior and a gallery of suspects",
    "A4": "is the recognition server itself",
}


@dataclass
class Trial:
    """What all attacks on one defence share.

    Attributes
    ----------
    defence : Defence
        What is attacked.
    pool : mapping of str to Recognizer
        Public recognisers, frozen; the one that finds most counts.
    learn, tune, test : FaceCrops
        Different people: an attack trains on the first, chooses on the second, and is measured
        once on the third.
    framing : Framing
        How faces are framed in training; without mirroring otherwise.
    folder : Path
        Where attacks keep what they trained.
    seed : int
        Of everything.
    device : torch.device
    batch : int
        Pictures looked at together.
    checkpoint_every, log_every : int
        Of trained attacks, in steps.
    progress : bool
    reader : nn.Module, optional
        Landmark network of clear pictures, frozen: (B, 3, S, S) to `Heatmaps`. Where there is
        none, what measures utility trains one on `learn`.
    """

    defence: Defence
    pool: Mapping[str, Recognizer]
    learn: FaceCrops
    tune: FaceCrops
    test: FaceCrops
    framing: Framing
    folder: Path
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch: int = 32
    checkpoint_every: int = 100
    log_every: int = 10
    progress: bool = False
    reader: nn.Module | None = None

    def __post_init__(self) -> None:
        for name in ("learn", "tune", "test"):
            crops: FaceCrops = getattr(self, name)
            crops = crops.subset(paired_rows(crops.person))
            people = np.unique(crops.person)
            if len(people) < 2:
                raise ValueError(
                    f"{name} has {len(people)} people with two pictures or more, expected at "
                    f"least 2"
                )
            setattr(self, name, crops)
        groups = [{c.names[i] for i in set(c.person)} for c in (self.learn, self.tune, self.test)]
        if groups[0] & groups[2] or groups[1] & groups[2] or groups[0] & groups[1]:
            raise ValueError("learn, tune and test share people; an attack is judged on strangers")

    def against(self, defence: Defence, folder: Path) -> Self:
        """Return the trial of another defence; what is known of people and judges is kept."""
        other = copy.copy(self)
        other.defence, other.folder = defence, folder
        vars(other).pop("seen", None)  # that of this defence
        return other

    @cached_property
    def tuning(self) -> TestSet:
        """People on whom attacks choose."""
        return self._held(self.tune, self.seed + 1)

    @cached_property
    def held(self) -> TestSet:
        """People on whom attacks are measured."""
        return self._held(self.test, self.seed)

    def _held(self, crops: FaceCrops, seed: int) -> TestSet:
        held = TestSet(crops, replace(self.framing, flip=False), seed)
        held.enrol(self.pool)
        return held

    @cached_property
    def shown(self) -> NDArray[np.int64]:
        """Test pictures of which reconstructions are kept: one of each of the first people."""
        first = np.unique(self.held.crops.person, return_index=True)[1]
        return np.sort(first)[:SHOWN]

    @cached_property
    @torch.no_grad()
    def seen(self) -> Tensor:
        """One shot of every test picture, as the defence shows it (N, 3, S, S), on the CPU."""
        parts = [
            self.defence.show(self.faces(self.held, rows, 1)).cpu()
            for rows in self.held.batches(self.batch)
        ]
        return torch.cat(parts)

    @cached_property
    def data_sha256(self) -> str:
        """Hash of all pictures, their landmarks and people."""
        digest = hashlib.sha256()
        for crops in (self.learn, self.tune, self.test):
            for start in range(0, len(crops), 256):
                digest.update(np.ascontiguousarray(crops.images[start : start + 256]).data)
            digest.update(np.ascontiguousarray(crops.landmarks).data)
            digest.update(repr([crops.names[i] for i in crops.person]).encode())
        return digest.hexdigest()

    @cached_property
    def floor(self) -> Metrics:
        """Numbers of the pool on noise."""
        return numbers(self.verify(self.look(self.held, self.lookers(), defence=Blank())))

    @cached_property
    def ceiling(self) -> Metrics:
        """Numbers of the pool on clear pictures."""
        return numbers(self._clear)

    @cached_property
    def strongest(self) -> str:
        """Recogniser that tells clear faces of the tuning people apart best."""
        found = self.look(self.tuning, self.lookers(), defence=Clear())
        return worst_case(self.verify(found, self.tuning))

    @cached_property
    def _clear(self) -> Found:
        return self.verify(self.look(self.held, self.lookers(), defence=Clear()))

    def lookers(self) -> dict[str, Look]:
        """Return the recognisers of the pool as they are."""
        return {name: seeing(recognizer) for name, recognizer in self.pool.items()}

    def faces(self, people: TestSet, rows: NDArray[np.int64], *key: object) -> Faces:
        """Return the pictures `rows`, their noise drawn for the condition `key`."""
        person = torch.from_numpy(people.crops.person[rows])
        scenes = people.scenes(rows, self.device)
        return Faces(scenes, person, people.noise(rows, "attack", *key))

    @torch.no_grad()
    def look(
        self,
        people: TestSet,
        lookers: Mapping[str, Look],
        *,
        frames: int = 1,
        restore: Restore | None = None,
        defence: Defence | None = None,
    ) -> dict[str, Tensor]:
        """Return the embeddings (N, D) of what the defence shows, by recogniser.

        Parameters
        ----------
        people : TestSet
            Whose faces.
        lookers : mapping of str to callable
            Who looks.
        frames : int
            Shots averaged.
        restore : callable, optional
            Applied to what is shown before anybody looks.
        defence : Defence, optional
            Instead of the one attacked.
        """
        rows_of: dict[str, list[Tensor]] = {name: [] for name in lookers}
        for rows in people.batches(self.batch):
            faces = self.faces(people, rows, frames)
            seen = (defence or self.defence).show(faces, frames=frames)
            seen = seen if restore is None else restore(seen)
            for name, look in lookers.items():
                rows_of[name].append(look(seen, faces.scenes.landmarks).cpu())
        return {name: torch.cat(parts) for name, parts in rows_of.items()}

    def verify(
        self,
        probes: Mapping[str, Tensor],
        people: TestSet | None = None,
        gallery: Mapping[str, Tensor] | None = None,
        resamples: int = 2000,
    ) -> Found:
        """Compare every probe with every *other* picture, by recogniser.

        Parameters
        ----------
        probes : mapping of str to Tensor
            Embeddings (N, D), one for each picture of `people`.
        people : TestSet, optional
            The test people, if left out.
        gallery : mapping of str to Tensor, optional
            Embeddings (N, D) of the same pictures; clear ones, if left out.
        resamples : int
            Bootstrap draws of people.
        """
        people = people or self.held
        person, image = people.crops.person, np.arange(len(people.crops))
        impostors = int((person[:, None] != person[None]).sum())
        rates = [rate for rate in FALSE_ACCEPTS if rate * impostors >= RULE]
        return {
            name: verify(
                vectors.numpy(),
                (gallery or people.gallery)[name].numpy(),
                probe_person=person,
                gallery_person=person,
                probe_image=image,
                gallery_image=image,
                false_accepts=rates,
                resamples=resamples,
                seed=self.seed,
            )
            for name, vectors in probes.items()
        }

    def tuned(self, probes: Mapping[str, Tensor]) -> float:
        """Return the highest AUC over the recognisers, on the tuning people."""
        found = self.verify(probes, self.tuning, resamples=0)
        return max(one.auc.value for one in found.values())

    def gallery(self, name: str, crops: FaceCrops) -> Tensor:
        """Embed clear pictures with one recogniser (N, D)."""
        return embed_clear(self.pool[name], crops)


def seeing(recognizer: Recognizer) -> Look:
    """Return a recogniser that aligns faces by their landmarks first."""

    def look(seen: Tensor, landmarks: Tensor) -> Tensor:
        out: Tensor = recognizer(align_faces(seen, landmarks))
        return out

    return look


def numbers(found: Mapping[str, Verification]) -> Metrics:
    """Return the numbers of the recogniser that finds most, and every AUC under its name.

    Keys with an interval have `_lo`, `_hi` and `_n`, the people that it was drawn over.
    """
    name = worst_case(found)
    out = found[name].flat()
    for key in [key for key in out if f"{key}_lo" in out]:
        out[f"{key}_n"] = found[name].n_people
    return out | {f"auc_by_{n}": one.auc.value for n, one in found.items()}


@dataclass(frozen=True)
class Outcome:
    """What an attack found.

    Attributes
    ----------
    conditions : mapping of str to Metrics
        Numbers by condition, such as "frames_16"; empty if the attack does not apply.
    chosen : mapping of str to float
        What was chosen on the tuning people.
    curve : sequence of mapping
        Learning curve on the tuning people: pictures seen and AUC.
    pictures : mapping of str to Tensor
        Reconstructions (n, 3, S, S) of the pictures `Trial.shown`, by condition.
    reason : str
        Why it does not apply.
    """

    conditions: Mapping[str, Metrics] = field(default_factory=dict)
    chosen: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[Mapping[str, float], ...] = ()
    pictures: Mapping[str, Tensor] = field(default_factory=dict)
    reason: str = ""

    @property
    def worst(self) -> str:
        """Condition under which most was found."""
        return max(self.conditions, key=lambda name: self.conditions[name]["auc"])


class Attack(ABC):
    """One way to find out who is shown.

    Attributes
    ----------
    actor : str
        The weakest of `ACTORS` who can do it.
    about : {"source", "references"}
        Whom it finds: the people in front of the camera, or those who lent a face to the output.
    """

    actor: ClassVar[str]
    about: ClassVar[str] = "source"

    @abstractmethod
    def budget(self) -> dict[str, Any]:
        """Return what the attack may spend."""

    @abstractmethod
    def run(self, trial: Trial, name: str) -> Outcome:
        """Attack.

        Parameters
        ----------
        trial : Trial
            Whom and what.
        name : str
            Of this attack in the suite; names what it keeps.
        """


def of_source(found: Mapping[str, Any]) -> bool:
    """Return whether what `attack.json` holds is about the people in front of the camera."""
    return bool(found.get("about", "source") == "source")


def report(attack: Attack, outcome: Outcome, trial: Trial, name: str) -> dict[str, Any]:
    """Return what `attack.json` holds."""
    head = {
        "attack": name,
        "actor": attack.actor,
        "about": attack.about,
        "actor_means": ACTORS[attack.actor],
        "budget": attack.budget(),
        "seed": trial.seed,
        "data_sha256": trial.data_sha256,
        "pictures": {"learn": len(trial.learn), "tune": len(trial.tune), "test": len(trial.test)},
        "floor": trial.floor,
        "ceiling": trial.ceiling,
    }
    if not outcome.conditions:
        return head | {"result": None, "reason": outcome.reason}
    worst = outcome.conditions[outcome.worst]
    return head | {
        "result": worst,
        "worst_condition": outcome.worst,
        "identifies": worst["auc_lo"] > max(0.5, trial.floor["auc_hi"]),
        "conditions": dict(outcome.conditions),
        "chosen": dict(outcome.chosen),
        "curve": list(outcome.curve),
    }
