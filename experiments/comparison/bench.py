"""People, judges, attacks and contestants as one process of a comparison has them."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from anonymizer.recognition import worst_case
from anonymizer.recognition.curves import roc
from experiments.attack import build_attacks, open_trial
from experiments.attacks import Attack, Clear, Defence, Trial, report
from experiments.comparison.cells import PICTURES, SCHEMA, Cell, Part
from experiments.contestants import Absent, Contestant, DesignedCamera, Place
from experiments.contestants.cameras import clear_reader
from experiments.contestants.contestant import digest
from experiments.protocol import TestSet
from experiments.settings import Settings, SettingsError, build
from experiments.store import ArtifactError, save_arrays
from experiments.utility import Utility
from experiments.vault_files import model_sha256

_POINTS = 81  # of a stored ROC


@dataclass
class Witness(Trial):
    """A trial that remembers the ROC behind every number it gave of the test people.

    Attributes
    ----------
    curves : dict of float to dict
        By AUC: rates of false and of true accepts.
    """

    curves: dict[float, dict[str, list[float]]] = field(default_factory=dict)

    def against(self, defence: Defence, folder: Path) -> Self:
        """Return the trial of another defence, of which nothing is remembered."""
        other = super().against(defence, folder)
        other.curves = {}
        return other

    def verify(
        self,
        probes: Mapping[str, Tensor],
        people: TestSet | None = None,
        gallery: Mapping[str, Tensor] | None = None,
        resamples: int = 2000,
    ) -> Any:
        """Compare every probe with every other picture, and remember the worst one's ROC."""
        found = super().verify(probes, people, gallery, resamples)
        if people is None or people is self.held:
            name = worst_case(found)
            vectors = (gallery or self.held.gallery)[name]
            self.curves[found[name].auc.value] = self._curve(probes[name], vectors)
        return found

    def _curve(self, probes: Tensor, gallery: Tensor) -> dict[str, list[float]]:
        scores = (probes.double() @ gallery.double().T).numpy()
        person = self.held.crops.person
        same = person[:, None] == person[None]
        other = ~np.eye(len(person), dtype=bool)
        curve = roc(scores[same & other], scores[~same])
        rates = np.geomspace(1 / int((~same).sum()), 1, _POINTS)
        first = np.searchsorted(-curve.far, -rates)  # false accepts fall
        return {"far": rates.tolist(), "tar": curve.tar[first].tolist()}


class Bench:
    """All that cells have in common.

    Parameters
    ----------
    settings : Settings
        Of the job.
    attacks : mapping of str to Attack
    utilities : mapping of str to Utility
    contestants : mapping of str to Contestant
        By name, in the order of the table.
    people : callable
        Returns the trial, given whom the contestants have learned from.

    Attributes
    ----------
    made_of : dict of str to dict
        Hashes of those contestants that can be opened.
    absent : dict of str to str
        Why others cannot.
    trial : Witness
    """

    def __init__(
        self,
        settings: Settings,
        attacks: Mapping[str, Attack],
        utilities: Mapping[str, Utility],
        contestants: Mapping[str, Contestant],
        people: Callable[[set[str]], Trial],
    ) -> None:
        self.settings, self.place = settings, Place(settings)
        self.attacks, self.utilities, self.contestants = attacks, utilities, contestants
        self.made_of: dict[str, dict[str, str]] = {}
        self.absent: dict[str, str] = {}
        known: set[str] = set()
        for name, contestant in contestants.items():
            try:
                self.made_of[name] = contestant.made_of(self.place)
                known |= contestant.learned_from(self.place)
            except Absent as error:
                self.absent[name] = str(error)
        plain = people(known)
        given = {one.name: getattr(plain, one.name) for one in fields(plain)}
        self.trial = Witness(**given)
        reader, self.reader_sha256 = self._reader()
        self.trial.reader = reader or plain.reader
        # what does not depend on the defence is found once
        trial = self.trial
        _ = trial.held, trial.tuning, trial.strongest, trial.floor, trial.ceiling
        self._opened: tuple[tuple[str, float], Defence] | None = None

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Return the bench that the settings of the job describe."""

        def people(known: set[str]) -> Trial:
            # nothing is kept there: each cell has a folder of its own
            return open_trial(settings, Clear(), known, Path(tempfile.gettempdir()))

        return cls(
            settings,
            build_attacks(settings),
            build_utilities(settings),
            build_contestants(settings),
            people,
        )

    def _reader(self) -> tuple[nn.Module | None, str]:
        """Return the landmark network of clear pictures of the first design that has one."""
        for name in self.made_of:
            contestant = self.contestants[name]
            if isinstance(contestant, DesignedCamera):
                try:
                    return clear_reader(contestant, self.place)
                except Absent:
                    continue
        return None, ""

    def judged_by(self) -> dict[str, Any]:
        """Return what all results depend on: people, judges, seed, and how they are computed."""
        trial, settings = self.trial, self.settings
        return {
            "schema": SCHEMA,
            "data_sha256": trial.data_sha256,
            "pool": {name: model_sha256(net).hex() for name, net in trial.pool.items()},
            "framing": settings["framing"],
            "seed": trial.seed,
            "batch": trial.batch,
            "threads": settings["threads"],
            "device": trial.device.type,
        }

    def cell(self, method: str, distance: float, part: Part, name: str) -> Cell:
        """Return a cell with the hash of all that its result depends on."""
        if method in self.absent:
            return Cell(method, distance, part, name, reason=self.absent[method])
        contestant = self.contestants[method]
        there: dict[str, Any] = {}
        if contestant.at_distances:
            there["distance_m"] = distance
        elif distance != self.settings["reference_distance"]:
            reason = "it works on photographs: the distance plays no part"
            return Cell(method, distance, part, name, reason=reason)
        groups = {"attack": "attacks", "utility": "utilities"}
        tried = self.settings[groups[part]][name] if part in groups else {}
        if part == "utility":
            there["readers"] = {"clear": self.reader_sha256, **contestant.read_by(self.place)}
        key = digest(
            {
                **self.judged_by(),
                **there,
                "method": self.made_of[method],
                "part": part,
                "name": name,
                "settings": tried,
            }
        )
        return Cell(method, distance, part, name, key)

    def compute(self, cell: Cell, folder: Path) -> dict[str, Any]:
        """Return the record of a cell, having put its pictures into `folder`.

        Raises
        ------
        Absent
            The contestant has nothing to show at that distance.
        """
        start, own = time.monotonic(), time.process_time()
        trial = self.trial.against(self._defence(cell.method, cell.distance), folder)
        if cell.part == "attack":
            found = self._attack(cell.name, trial, folder)
        elif cell.part == "utility":
            found = {"numbers": self.utilities[cell.name].run(trial, cell.name)}
        else:
            found = self._show(trial, folder)
        where = {"distance_m": cell.distance, "made_of": self.made_of[cell.method]}
        spent = {
            "seconds": round(time.monotonic() - start, 2),
            "processor_seconds": round(time.process_time() - own, 2),
        }
        return {**where, **found, **spent}

    def _attack(self, name: str, trial: Witness, folder: Path) -> dict[str, Any]:
        attack = self.attacks[name]
        outcome = attack.run(trial, name)
        if outcome.pictures:
            arrays = {key: np.asarray(faces, np.float16) for key, faces in outcome.pictures.items()}
            save_arrays(folder / PICTURES, arrays)
        found = report(attack, outcome, trial, name)
        if found["result"] is not None:
            found["roc"] = trial.curves.get(found["result"]["auc"])
        return found

    def _show(self, trial: Witness, folder: Path) -> dict[str, Any]:
        with torch.no_grad():
            faces = trial.faces(trial.held, trial.shown, 1)
            seen = trial.defence.show(faces).clamp(0, 1).cpu()
        arrays = {"original": faces.scenes.light.cpu(), "shown": seen}
        save_arrays(folder / PICTURES, {k: np.asarray(v, np.float16) for k, v in arrays.items()})
        return {"people": len(seen)}

    def _defence(self, method: str, distance: float) -> Defence:
        """Return an opened contestant; the last one is kept, for its cells come together."""
        if self._opened is None or self._opened[0] != (method, distance):
            self._opened = None
            contestant = self.contestants[method]
            if contestant.made_of(self.place) != self.made_of[method]:
                raise ArtifactError(
                    f"files of {method} changed while it was compared: give the same command again"
                )
            defence = contestant.open(self.place, distance)
            self._opened = ((method, distance), defence)
        return self._opened[1]


def build_contestants(settings: Settings) -> dict[str, Contestant]:
    """Return the contestants of the list by name, in its order."""
    out: dict[str, Contestant] = {}
    for name, node in settings["contestants"].items():
        one = build(node)
        if not isinstance(one, Contestant):
            raise SettingsError(f"contestants.{name}: {type(one).__name__} is no contestant")
        out[name] = one
    if not out:
        raise SettingsError("contestants: the list is empty; choose one, contestants=standard")
    return out


def build_utilities(settings: Settings) -> dict[str, Utility]:
    """Return the measures of utility by name, in their order; there may be none."""
    out: dict[str, Utility] = {}
    for name, node in settings["utilities"].items():
        one = build(node)
        if not isinstance(one, Utility):
            raise SettingsError(f"utilities.{name}: {type(one).__name__} measures no utility")
        out[name] = one
    return out
