"""Cameras of a co-design run with another mask for every shot."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from experiments.attacks import MirrorFamily, PerShotCamera
from experiments.contestants.cameras import DesignedCamera
from experiments.contestants.contestant import Place
from experiments.design import Codesign
from experiments.settings import SettingsError, build
from experiments.stages import StaticCamera
from experiments.store import load_arrays, save_arrays
from experiments.vault_files import config_sha256
from optics import Camera


class RandomMaskCamera(DesignedCamera):
    """One camera of a co-design run, its mask drawn anew for every shot.

    Parameters
    ----------
    design, camera_name, title, job
        As for `DesignedCamera`.
    drawing : mapping
        Under "family" the settings of what the masks are drawn from.
    """

    def __init__(
        self,
        design: str | None,
        drawing: Mapping[str, Any],
        camera_name: str = "learned",
        *,
        title: str = "",
        job: str = "codesign",
    ) -> None:
        super().__init__(design, camera_name, title=title, job=job)
        if "family" not in drawing:
            raise ValueError("drawing: `family` is missing, what the masks are drawn from")
        self.drawing = drawing

    def made_of(self, place: Place) -> dict[str, str]:
        """Return the hashes of the camera and of what the masks are drawn from."""
        return super().made_of(place) | {"drawing": config_sha256(self.drawing, 0).hex()}

    def open(self, place: Place, distance: float) -> PerShotCamera:
        """Return the camera with the PSFs of all its masks at a distance [m]."""
        still = super().open(place, distance)
        camera = still.fixed.camera
        if not isinstance(camera, Camera):
            raise SettingsError(f"{self.title}: only a designed camera can change its mask")
        psfs = self._psfs(camera, distance, still.protocol.nodes, place)
        return PerShotCamera(
            fixed=StaticCamera(camera, {distance: psfs.mean(0)}),
            scene_power=still.scene_power,
            protocol=still.protocol,
            families={distance: psfs},
        )

    def _psfs(self, camera: Camera, distance: float, nodes: int, place: Place) -> torch.Tensor:
        """Return the PSFs (K, 3, h, w), kept in the cache."""
        device = camera.aperture.device
        what = self.made_of(place) | {"distance": repr(distance), "nodes": str(nodes)}
        digest = config_sha256({"what": json.dumps(what, sort_keys=True)}, 0).hex()
        path = Path(place.settings["cache"]) / "families" / f"{digest}.npz"
        if not path.exists():
            family: MirrorFamily = build(self.drawing["family"])
            psfs = family.psfs(camera, [distance], nodes)[:, 0]
            save_arrays(path, {"psfs": psfs.cpu().numpy()})
        return torch.from_numpy(load_arrays(path)["psfs"]).to(device)


class AlteredCamera(DesignedCamera):
    """One camera of a co-design run with less light or larger pixels.

    Parameters
    ----------
    design, camera_name, title, job
        As for `DesignedCamera`.
    white_electrons : float, optional
        Scene white on a pixel as it is binned by the run [e-]; the run's own if left out.
    binning : int
        Pixels joined on the sensor along each side, before they are read: noise of reading is
        paid once for all of them.
    """

    def __init__(
        self,
        design: str | None,
        camera_name: str = "learned",
        *,
        title: str = "",
        job: str = "codesign",
        white_electrons: float | None = None,
        binning: int = 1,
    ) -> None:
        super().__init__(design, camera_name, title=title, job=job)
        if binning < 1 or (white_electrons is not None and not white_electrons > 0):
            raise ValueError(
                f"white_electrons = {white_electrons}, binning = {binning}: positive electrons "
                f"per binned pixel, and at least 1"
            )
        self.white_electrons, self.binning = white_electrons, binning

    def made_of(self, place: Place) -> dict[str, str]:
        """Return the hashes of the camera, and what is changed."""
        changed = f"{self.white_electrons!r} e-, binning {self.binning}"
        return super().made_of(place) | {"altered": changed}

    def _static(self, work: Codesign, distance: float, place: Place) -> StaticCamera:
        fixed = super()._static(work, distance, place)
        camera, sensor = fixed.camera, fixed.camera.sensor
        if self.white_electrons is not None:
            share = self.white_electrons / sensor.binned_white_electrons
            if share > 1 / sensor.white_fraction:
                raise SettingsError(
                    f"white_electrons = {self.white_electrons:g}: the sensor holds "
                    f"{sensor.full_well * sensor.binning**2:g} e- on a binned pixel"
                )
            sensor = replace(sensor, white_fraction=sensor.white_fraction * share)
        if self.binning == 1:
            return StaticCamera(camera.replace(sensor=sensor), {distance: fixed.psfs[distance]})
        sensor = replace(
            sensor,
            binning=sensor.binning * self.binning,
            read_noise=sensor.read_noise / self.binning,
        )
        window = max(3, 2 * (camera.window // (2 * self.binning)) + 1)
        coarse = camera.replace(sensor=sensor, window=window)
        with torch.no_grad():
            psf = coarse.psf([distance], nodes=work.protocol.nodes)[0]
        return StaticCamera(coarse, {distance: psf.float()})
