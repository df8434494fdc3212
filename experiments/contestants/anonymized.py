"""The anonymizer behind a camera: what is shown is a new face made of what the camera records."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from anonymizer.checkpoints import WeightsError
from anonymizer.stargan.references import mix_styles
from experiments.attacks import CameraDefence, Faces
from experiments.contestants.cameras import DesignedCamera
from experiments.contestants.contestant import (
    Absent,
    Contestant,
    Kind,
    Place,
    files_sha256,
    same_people,
)
from experiments.described import stored_settings
from experiments.finished_anonymizer import (
    CAMERA_RUN,
    PEOPLE,
    WEIGHTS,
    FinishedAnonymizer,
    open_anonymizer,
)
from experiments.launch import find_run
from experiments.runs import config_of
from experiments.scene import network_view
from experiments.stages import Batch
from experiments.store import ArtifactError, read_json


@dataclass(frozen=True, eq=False)
class AnonymizedDefence:
    """Shows the anonymizer's output for what a camera records, another face of nobody each time.

    One output is shown of each picture: an attacker has no shots to average.

    Attributes
    ----------
    finished : FinishedAnonymizer
        Networks, and the observer that reads landmarks off the measurement.
    camera : CameraDefence
        The camera, before faces at its reference distance.
    """

    finished: FinishedAnonymizer
    camera: CameraDefence
    noisy = False

    @torch.no_grad()
    def show(self, faces: Faces, *, frames: int = 1) -> Tensor:
        """Return new faces; noise and style come from the source of each picture."""
        network = self.finished.anonymizer
        return self._made(faces, [network.drawn_style(1, draw) for draw in faces.noise])

    @torch.no_grad()
    def show_as(self, faces: Faces, references: Tensor) -> Tensor:
        """Return new faces in equal mixtures of the looks of references (B, k, 3, S, S)."""
        network, count = self.finished.anonymizer, references.shape[1]
        styles = network.style_of(network_view(references.flatten(0, 1), network.size))
        styles = styles.reshape(len(references), count, -1)
        return self._made(faces, [mix_styles(styles, torch.full_like(styles[..., 0], 1 / count))])

    def _made(self, faces: Faces, styles: Sequence[Tensor]) -> Tensor:
        network = self.finished.anonymizer
        observer = replace(self.finished.observer, camera=self.camera.fixed)
        rows = torch.arange(len(faces.noise))
        batch = Batch(faces.scenes, faces.noise, rows)
        seen = observer.look(batch, self.camera.protocol.reference, network.size)
        made = network.anonymize(seen.measurement, seen.heatmaps, torch.cat(list(styles)))
        return network_view(made, faces.scenes.size).clamp(0, 1)


class AnonymizedCamera(Contestant):
    """A finished anonymizer, behind the camera that it was trained with.

    Parameters
    ----------
    anonymizer : str
        Run of the job anonymize: "latest", "shipped" or its folder.
    title : str
        In words.
    job : str
        What made the run of its camera.
    """

    kind: ClassVar[Kind] = "anonymizer"

    def __init__(self, anonymizer: str, *, title: str = "", job: str = "codesign") -> None:
        self.anonymizer, self.job = anonymizer, job
        self.title = title or "anonymizer"

    def folder(self) -> Path:
        """Return the folder of the run."""
        try:
            source = find_run("anonymize", self.anonymizer)
        except ArtifactError as error:
            raise Absent(str(error)) from error
        if not (source / WEIGHTS).is_file():
            raise Absent(f"{source} holds no {WEIGHTS}: its training was not finished")
        return source

    def camera(self) -> DesignedCamera:
        """Return the camera that it was trained behind."""
        source = self.folder()
        place = read_json(source / CAMERA_RUN)["folder"]
        name = config_of(source)["seen_by"]
        return DesignedCamera(place, name, job=self.job)

    def made_of(self, place: Place) -> dict[str, str]:
        """Return the hashes of the networks and of the camera."""
        camera = self.camera()
        found = camera.made_of(place) | camera.read_by(place)
        own = files_sha256(self.folder(), (WEIGHTS,))
        return own | {f"camera/{name}": value for name, value in found.items()}

    def learned_from(self, place: Place) -> set[str]:
        """Return whom networks and camera trained on, if the data of the job can hold them."""
        source, known = self.folder(), self.camera().learned_from(place)
        stored = stored_settings(source, place.settings)
        if same_people(stored["data"], place.settings["data"]) and (source / PEOPLE).is_file():
            known |= set(read_json(source / PEOPLE)["learned_from"])
        return known

    def open(self, place: Place, distance: float) -> AnonymizedDefence:
        """Return it before faces at a distance [m]."""
        try:
            finished = open_anonymizer(self.folder(), place.settings)
        except WeightsError as error:
            raise Absent(str(error)) from error
        return AnonymizedDefence(finished, self.camera().open(place, distance))
