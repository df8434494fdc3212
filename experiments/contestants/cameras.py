"""Cameras of a co-design run: as designed, as a process makes them, as they were calibrated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from anonymizer.checkpoints import WeightsError
from experiments.attacks import CameraDefence
from experiments.calibrated import CALIBRATED, open_calibrated, within_reach
from experiments.cameras import LEARNED
from experiments.contestants.contestant import (
    Absent,
    Contestant,
    Kind,
    Place,
    arrays_sha256,
    digest,
    files_sha256,
    same_people,
)
from experiments.described import load_scene_power, stored_settings
from experiments.design import Codesign
from experiments.launch import find_run
from experiments.observer import Resized
from experiments.scene import generator_for
from experiments.settings import Settings, SettingsError, build
from experiments.stages import StaticCamera
from experiments.store import ArtifactError, file_sha256, load_arrays, load_tensors, read_json
from experiments.vault_files import config_sha256
from optics import Camera
from optics.fabrication import Fabricated, Fabrication

_DECIDE = ("camera", "lens", "sensor", "mask", "context", "reference_distance")
_MEASURED = ("calibration.json", "noise.json", "twin.npz", "stack.npz")


class DesignedCamera(Contestant):
    """One camera of a co-design run.

    Parameters
    ----------
    design : str, optional
        The run: "latest", its folder, or "shipped", which it is if left out.
    camera_name : str
        One of its cameras: learned, in_focus, defocused, ...
    title : str
        In words.
    job : str
        What made the run.
    calibration : str, optional
        Calibration whose PSFs and noise stand in the place of the design's.
    process : mapping
        Under "fabrication" the settings of a process that makes the mask, with errors drawn once.
    """

    kind: ClassVar[Kind] = "camera"

    def __init__(
        self,
        design: str | None = None,
        camera_name: str = LEARNED,
        *,
        title: str = "",
        job: str = "codesign",
        calibration: str | None = None,
        process: Mapping[str, Any] | None = None,
    ) -> None:
        if calibration is not None and process:
            raise ValueError("calibration and process: a mask is either measured or drawn")
        self.design, self.camera_name, self.job = design or "shipped", camera_name, job
        self.title = title or camera_name.replace("_", " ")
        self.calibration, self.process = calibration, process or {}

    def folder(self) -> Path:
        """Return the folder of the run."""
        try:
            return find_run(self.job, self.design)
        except ArtifactError as error:
            raise Absent(str(error)) from error

    def made_of(self, place: Place) -> dict[str, str]:
        """Return the hashes of settings, mask, PSFs and calibration; no network decides."""
        source, name = self.folder(), self.camera_name
        stored = stored_settings(source, place.settings)
        if name not in (cameras := (LEARNED, *stored["baselines"])):
            raise Absent(f"{source} has no camera {name}; it has {', '.join(cameras)}")
        found = {"camera": name, "settings": digest({key: stored[key] for key in _DECIDE})}
        found["baseline"] = digest(stored["baselines"].get(name, {}))
        arrays = [source / "scene_power.npz", source / CALIBRATED]
        arrays.append(source / "cameras" / name / "psfs.npz")
        found |= {path.name: arrays_sha256(load_arrays(path)) for path in arrays if path.exists()}
        if name == LEARNED:
            tensors = load_tensors(source / "mask.safetensors")[0]
            found["mask"] = arrays_sha256({key: one.numpy() for key, one in tensors.items()})
        if self.process:
            found["process"] = config_sha256(self.process, place.settings["seed"]).hex()
        if self.calibration is not None:
            try:
                measured = find_run("calibrate", self.calibration)
            except ArtifactError as error:
                raise Absent(str(error)) from error
            found |= files_sha256(measured, ("manifest.json", *_MEASURED))
        return found

    def read_by(self, place: Place) -> dict[str, str]:
        """Return the hash of the camera's landmark network."""
        return files_sha256(self.folder(), (f"cameras/{self.camera_name}/regressor.safetensors",))

    def learned_from(self, place: Place) -> set[str]:
        """Return whom the run trained on, if the data of the job can hold them."""
        source = self.folder()
        stored = stored_settings(source, place.settings)
        if not same_people(stored["data"], place.settings["data"]):
            return set()
        return set(read_json(source / "people.json")["learned_from"])

    def open(self, place: Place, distance: float) -> CameraDefence:
        """Return the camera with its exact PSF at a distance [m]."""
        source = self.folder()
        stored = stored_settings(source, place.settings)
        if stored["context"] != place.settings["context"]:
            raise SettingsError(
                f"context = {place.settings['context']}, but {self.design} was learned with "
                f"{stored['context']}: add context={stored['context']}"
            )
        evaluation = Settings(stored["evaluation"], "evaluation")
        evaluation["distances"] = sorted({distance, stored["reference_distance"]})
        stored["evaluation"] = evaluation
        work = self._work(stored, source)
        fixed = self._static(work, distance, place)
        power = load_scene_power(source / "scene_power.npz")
        defence = CameraDefence(fixed, power, work.protocol, self._reader(work))
        return defence.at(distance)

    def _work(self, stored: Settings, source: Path) -> Codesign:
        try:
            work = Codesign(stored, source)
            if self.calibration is not None:
                mask_file = work.mask_path(LEARNED)
                measured = open_calibrated(
                    self.calibration, design=work.camera(LEARNED), mask_file=mask_file
                )
                work = Codesign(within_reach(stored, measured), source, calibrated=measured)
        except WeightsError as error:
            raise Absent(f"{source.name}: {error}") from error
        return work

    def _static(self, work: Codesign, distance: float, place: Place) -> StaticCamera:
        if not self.process:
            fixed = work.static(self.camera_name)
            if distance not in fixed.psfs:
                there = ", ".join(f"{one:g}" for one in fixed.psfs)
                raise Absent(f"it was measured at {there} m, not at {distance:g} m")
            return fixed
        made = self._made(work.camera(self.camera_name), place)
        with torch.no_grad():
            psf = made.psf([distance], nodes=work.protocol.nodes)[0]
        return StaticCamera(made, {distance: psf.float()})

    def _made(self, camera: Camera, place: Place) -> Camera:
        """Return the camera with its mask as one draw of the process makes it."""
        process: Fabrication = build(self.process["fabrication"])
        mask = Fabricated(camera.mask, fabrication=process)
        mask.redraw(generator_for(place.settings["seed"], "as made"))
        return camera.replace(mask=mask.to(camera.aperture.device))

    def _reader(self, work: Codesign) -> Resized | None:
        """Return the camera's landmark network, if the run keeps one."""
        if not (work.folder(self.camera_name) / "regressor.safetensors").exists():
            return None
        return Resized(work.regressor(self.camera_name), work.settings["size"])


def clear_reader(camera: DesignedCamera, place: Place) -> tuple[Resized, str]:
    """Return the landmark network of clear pictures of a run, and the hash of its weights.

    Raises
    ------
    Absent
        There is no such run, or it keeps none.
    """
    source = camera.folder()
    path = source / "regressor_clear.safetensors"
    if not path.is_file():
        raise Absent(f"{source} keeps no landmark network of clear pictures")
    stored = stored_settings(source, place.settings)
    network = Codesign(stored, source).clear
    network.load_state_dict(load_tensors(path)[0])
    return Resized(network.requires_grad_(False).eval(), stored["size"]), file_sha256(path)
