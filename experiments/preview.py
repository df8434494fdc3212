"""What a camera does with the mask that its files describe, and with errors of the making.

The mask that was read back goes through the same optics, regressor and attackers as the design
did; none of them is trained again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.cameras import LEARNED
from experiments.described import load_scene_power
from experiments.design import Codesign
from experiments.evaluation import evaluate_camera
from experiments.judging import open_parts
from experiments.protocol import Metrics
from experiments.settings import Settings, SettingsError
from experiments.stages import StaticCamera
from experiments.store import read_json
from optics import Camera, Errors, Fabricated, Fabrication, Mask

#: Numbers that are shown and kept.
SHOWN = (
    "landmark_nme",
    "reid_auc_offtheshelf",
    "reid_auc_retrained",
    "reid_auc_inverted_100",
    "psf_spread_face_widths",
    "psf_energy_inside",
)


@dataclass(frozen=True)
class Seen:
    """A camera with one mask: PSF (3, h, w) at the reference distance, and its numbers."""

    psf: Tensor
    metrics: Metrics

    def line(self) -> str:
        """Say the first numbers in one line."""
        found = self.metrics
        return ", ".join(f"{key} {found[key]:.3f}" for key in SHOWN[:4] if key in found)


def check_preview(settings: Settings) -> None:
    """Refuse settings that a `Preview` cannot work with."""
    if settings["pictures"] < 2 or settings["nodes"] < 3:
        raise SettingsError(
            f"pictures = {settings['pictures']}, nodes = {settings['nodes']}: pictures >= 2 and "
            f"nodes >= 3"
        )


def corners(
    *,
    levels: int,
    etch_scale: Sequence[float],
    overlay: Sequence[float],
    blur: Sequence[float],
) -> dict[str, Errors]:
    """Errors of the making, each on its own, by what they are called.

    Parameters
    ----------
    levels : int
        Levels of the relief; with 0 there are no masks to lie wrong on one another.
    etch_scale : sequence of float
        Relative errors of all depths.
    overlay : sequence of float
        Shift of every mask but the first along x and y [m].
    blur : sequence of float
        Standard deviations of the lateral blur [m].
    """
    out = {"as exported": Errors()}
    for value in etch_scale:
        out[f"depth {value * 100:+.4g}%"] = Errors(etch_scale=torch.tensor(value))
    if levels:
        masks = levels.bit_length() - 1
        for value in overlay:
            shifts = torch.full((masks, 2), value, dtype=torch.float64)
            shifts[0] = 0
            out[f"overlay {value * 1e6:+.4g} um"] = Errors(overlay=shifts)
    for value in blur:
        out[f"blur {value * 1e6:.4g} um"] = Errors(blur=torch.tensor(value))
    return out


def as_made(camera: Camera, mask: Mask, errors: Errors, *, levels: int) -> Camera:
    """Return `camera` with `mask` in it, made with `errors`."""
    process = Fabrication(levels=levels if len(errors.overlay) else 0)
    fabricated = Fabricated(mask, fabrication=process, errors=errors)
    return camera.replace(mask=fabricated.to(camera.aperture.device))


class Preview:
    """A finished co-design run, ready to look through other masks.

    Parameters
    ----------
    work : Codesign
        The run.
    pictures : int
        Test pictures, at most.
    nodes : int
        Wavelengths per colour channel.
    distance : float, optional
        Where it looks from [m]; by default the reference distance of the run.
    """

    def __init__(
        self, work: Codesign, *, pictures: int, nodes: int, distance: float | None = None
    ) -> None:
        reference = work.protocol.reference if distance is None else distance
        self.protocol = replace(
            work.protocol,
            distances=(reference,),
            reference=reference,
            frames=(100,),
            exposures=(),
            max_images=pictures,
            nodes=nodes,
        )
        parts = open_parts(work.settings)
        self.held, self.other = work.test_sets(parts.test, parts.tuning, self.protocol)
        self.regressor = work.regressor(LEARNED)
        self.judges = work.judges(LEARNED)
        self.power = load_scene_power(work.run / "scene_power.npz")
        self.strengths = _strengths(read_json(work.run / "inversion_strengths.json"))

    def look(
        self, camera: Camera, *, label: str, progress: bool, psf: Tensor | None = None
    ) -> Seen:
        """PSF and numbers of one camera; `psf` (3, h, w) is one that was measured of it."""
        reference = self.protocol.reference
        if psf is None:
            with torch.no_grad():
                psf = camera.psf([reference], nodes=self.protocol.nodes)[0]
        found = evaluate_camera(
            StaticCamera(camera, {reference: psf}),
            self.regressor,
            self.judges,
            self.held,
            self.other,
            self.protocol,
            self.power,
            label=label,
            strengths=self.strengths,
            progress=progress,
        )
        return Seen(psf.cpu(), found)


def _strengths(stored: Mapping[str, float]) -> dict[str, float]:
    """Regularisation of the inversion, as tuned for the design on other people."""
    prefix = f"{LEARNED}/"
    return {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
