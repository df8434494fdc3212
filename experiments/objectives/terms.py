"""Terms of the co-design objective, each its own small class.

Every term takes a `StepView` and returns a scalar that falls when things get better. Its weight
and its options stand in ``configs/objective``; its curve is ``loss/<name>`` in the run.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn
from torch.nn import functional

from anonymizer.alignment import GROUPS
from anonymizer.heatmaps import boundary_map, gaussian_heatmaps, to_map
from anonymizer.regressors import Heatmaps
from experiments.distributed import average
from experiments.scene import Scenes, crop_pixels
from optics import Camera
from optics.quality import frequencies, recoverable_bits


@dataclass(frozen=True)
class MaskView:
    """What a term can see of the mask alone.

    Attributes
    ----------
    camera : Camera
        The camera being designed.
    psf : Tensor
        (3, h, w) PSF of this step, at one distance and a few wavelengths per channel.
    """

    camera: Camera
    psf: Tensor


@dataclass(frozen=True)
class StepView(MaskView):
    """All that one training step lets a term see.

    Attributes
    ----------
    scenes : Scenes
        Pictures in front of the camera.
    measurement : Tensor
        (B, 3, S, S) what the networks get, linear light.
    heatmaps : Heatmaps
        The regressor's reading of it.
    identity_loss : Tensor or None
        Cross entropy of the adversary on this batch, differentiable in the measurement [nat].
    identity_chance : float
        The same for guessing [nat].
    """

    scenes: Scenes
    measurement: Tensor
    heatmaps: Heatmaps
    identity_loss: Tensor | None
    identity_chance: float


class Term(nn.Module, ABC):
    """One weighted term.

    Parameters
    ----------
    weight : float
        Factor in the total; 0 or more.
    """

    #: Whether the term needs the identity adversary to be trained beside the mask.
    needs_adversary = False
    #: Whether a `MaskView` is enough for it, so that it can shape the mask before any picture.
    of_mask_alone = False

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight = {weight:g}: zero or a positive number is needed")
        self.weight = weight

    def prepare(self, camera: Camera, scene_power: "ScenePower", reference: float) -> None:
        """Build what depends on the camera and the data, once, before training."""

    @abstractmethod
    def forward(self, view: Any) -> Tensor:
        """Value of the term, a scalar; takes a `StepView`, or a `MaskView` if that is enough."""


@dataclass(frozen=True)
class ScenePower:
    """Mean power spectrum of face pictures over radial frequency.

    Attributes
    ----------
    cycles : Tensor
        (F,) increasing radial frequencies [cycles per face width].
    power : Tensor
        (3, F) mean of ``abs(fft2(light - surround)) ** 2 / S ** 4``: independent of sampling.
    context : float
        Side of the pictures in face widths.
    """

    cycles: Tensor
    power: Tensor
    context: float

    @classmethod
    def measure(cls, scenes: Scenes) -> "ScenePower":
        """Average over the pictures in `scenes`."""
        size = scenes.size
        light = scenes.light - scenes.surround[:, :, None, None]
        power = torch.fft.rfft2(light.double()).abs().square().mean(0) / size**4
        radius = frequencies(size) * size / scenes.context
        edges = torch.arange(0.5, size // 2, dtype=torch.float64) / scenes.context
        rings, cycles = [], []
        for low, high in pairwise(edges):
            inside = (radius >= low) & (radius < high)
            rings.append(power[:, inside].mean(-1))
            cycles.append((low + high) / 2)
        return cls(torch.stack(cycles), torch.stack(rings, -1), scenes.context)

    def on_grid(self, *, pixels: int, size: int) -> Tensor:
        """Return the expected ``abs(rfft2(scene)) ** 2 / size ** 2`` of crops of `pixels`.

        (3, size, size // 2 + 1), float64, padded to `size`; interpolated over logarithms.
        """
        cycles = frequencies(size) * (pixels / self.context)
        cycles = cycles.clamp(float(self.cycles[0]), float(self.cycles[-1]))
        step = float(self.cycles[1] - self.cycles[0])
        place = ((cycles - self.cycles[0]) / step).clamp(0, len(self.cycles) - 1.001)
        low = place.long()
        log_power = self.power.clamp(min=1e-20).log()
        value = torch.lerp(log_power[:, low], log_power[:, low + 1], place - low)
        return value.exp() * (pixels**4 / size**2)


class HeatmapTerm(Term):
    """Utility: how far the landmark maps are from the true ones.

    Cross entropy of the normalised maps against Gaussians, plus the mean distance of the
    expected positions over the eye distance, plus the boundary map's cross entropy.

    Parameters
    ----------
    weight : float
        Factor in the total.
    sigma : float
        Width of the target Gaussians in map pixels.
    position : float
        Weight of the position error.
    boundary : float
        Weight of the boundary map.

    References
    ----------
    A. Nibali et al., arXiv:1801.07372 (2018), sec. 3, for positions from normalised maps.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        sigma: float = 1.0,
        position: float = 4.0,
        boundary: float = 1.0,
    ) -> None:
        super().__init__(weight=weight)
        self.sigma, self.position, self.boundary = sigma, position, boundary

    def forward(self, view: StepView) -> Tensor:
        """Value for this step."""
        return self.compare(view.heatmaps, view.scenes.landmarks, view.scenes.size)

    def compare(self, heatmaps: Heatmaps, landmarks: Tensor, size: int) -> Tensor:
        """Value for any reading of pictures with known landmarks (B, 68, 2) [px of `size`]."""
        map_size = heatmaps.logits.shape[-1]
        wanted = to_map(landmarks, size, map_size)
        target = gaussian_heatmaps(wanted, map_size, sigma=self.sigma)
        target = target / target.sum((-2, -1), keepdim=True).clamp(min=1e-6)
        entropy = -(target * heatmaps.log_probability()).sum((-2, -1)).mean()
        span = (landmarks[:, 36] - landmarks[:, 45]).norm(dim=-1)
        error = (heatmaps.landmarks() - landmarks).norm(dim=-1).mean(-1)
        ridge = boundary_map(wanted, map_size, sigma=self.sigma)
        edges = functional.binary_cross_entropy_with_logits(heatmaps.boundary, ridge)
        total: Tensor = entropy + self.position * (error / span).mean() + self.boundary * edges
        return total


class IdentityTerm(Term):
    """What a recogniser trained on the measurements still knows, as a share of all it could.

    1 - (its cross entropy) / (that of guessing), not below 0: pushing it further would reward
    confident mistakes, which the next attacker simply relabels.
    """

    needs_adversary = True

    def forward(self, view: StepView) -> Tensor:
        """Value for this step, 0 at chance level."""
        if view.identity_loss is None:
            raise ValueError("the identity term needs an adversary; configure one")
        known = 1 - view.identity_loss / view.identity_chance
        # of the whole batch: its share in one process may be below chance by chance
        return torch.where(average(known) > 0, known, torch.zeros_like(known))


class InversionTerm(Term):
    """Information left beyond the frequencies that landmarks need, after the best inversion.

    Mean of `optics.quality.recoverable_bits` over a band of spatial frequencies, every octave
    counting alike, at the camera's own exposure with `frames` averaged frames. Zero means that
    the band is lost in noise for anyone, exact PSF and all.

    Parameters
    ----------
    weight : float
        Factor in the total.
    frames : int
        Frames the attacker averages.
    low, high : float
        Band in cycles per face width at the reference distance.
    """

    of_mask_alone = True

    def __init__(
        self, *, weight: float = 1.0, frames: int = 100, low: float = 3.0, high: float = 20.0
    ) -> None:
        super().__init__(weight=weight)
        if not 0 < low < high:
            raise ValueError(f"low = {low:g}, high = {high:g}: 0 < low < high is needed")
        if frames < 1:
            raise ValueError(f"frames = {frames}: at least 1 is needed")
        self.frames, self.low, self.high = frames, low, high

    def prepare(self, camera: Camera, scene_power: ScenePower, reference: float) -> None:
        """Lay the band and the expected spectra on the transform grid."""
        pixels = crop_pixels(camera, reference, scene_power.context)
        self.size = next_fast_len(pixels + camera.window - 1, real=True)
        self.power = scene_power.on_grid(pixels=pixels, size=self.size).to(torch.float32)
        cycles = frequencies(self.size) * (pixels / scene_power.context)
        band = ((cycles >= self.low) & (cycles <= self.high)).to(torch.float64)
        band = band / cycles.clamp(min=1e-9).square()  # equal octaves: area grows with f
        self.band = (band / band.sum()).to(torch.float32)
        grey = torch.full((3, 1, 1), 0.3)
        self.noise = camera.sensor.mean_and_variance(grey)[1].flatten().to(torch.float32)

    def forward(self, view: MaskView) -> Tensor:
        """Value for this step [bit per frequency]."""
        device = view.psf.device
        bits = recoverable_bits(
            view.psf,
            scene_power=self.power.to(device),
            noise_variance=self.noise.to(device),
            frames=self.frames,
            size=self.size,
        )
        return (bits * self.band.to(device)).sum()


class SimilarityTerm(Term):
    """Likeness of measurement and scene, the distortion proxy of the published recipes.

    Parameters
    ----------
    weight : float
        Factor in the total.
    measure : {"mse", "ssim"}
        1 - mean squared error, or the structural similarity index.
    """

    def __init__(self, *, weight: float = 1.0, measure: str = "mse") -> None:
        super().__init__(weight=weight)
        if measure not in ("mse", "ssim"):
            raise ValueError(f"measure = {measure!r}, expected 'mse' or 'ssim'")
        self.measure = measure

    def forward(self, view: StepView) -> Tensor:
        """Value for this step; 1 for identical pictures."""
        if self.measure == "mse":
            return 1 - functional.mse_loss(view.measurement, view.scenes.light)
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim

        value = ssim(view.measurement, view.scenes.light, data_range=1.0)
        return value if isinstance(value, Tensor) else value[0]


class ManufacturabilityTerm(Term):
    """Overstep of the process and light thrown beyond the PSF window.

    Parameters
    ----------
    weight : float
        Factor in the total.
    outside : float
        Weight of the energy outside the window.
    """

    of_mask_alone = True

    def __init__(self, *, weight: float = 1.0, outside: float = 1.0) -> None:
        super().__init__(weight=weight)
        self.outside = outside

    def forward(self, view: MaskView) -> Tensor:
        """Value for this step."""
        lost = 1 - view.psf.sum((-2, -1)).mean()
        return view.camera.mask.excess().to(lost) + self.outside * lost


class RegionMaskTerm(Term):
    """Published utility: smooth L1 between the coarse and fine region masks.

    The coarse mask is the clamped sum of the brow, eye, nose and mouth maps, the fine one of eyes
    and nose; contour points are left out.
    """

    def __init__(self, *, weight: float = 2.0, sigma: float = 1.0) -> None:
        super().__init__(weight=weight)
        self.sigma = sigma

    def forward(self, view: StepView) -> Tensor:
        """Value for this step."""
        peaks = view.heatmaps.peaks()
        wanted = to_map(view.scenes.landmarks, view.scenes.size, peaks.shape[-1])
        target = gaussian_heatmaps(wanted, peaks.shape[-1], sigma=self.sigma)
        total = peaks.new_zeros(())
        for groups in (("brows", "eyes", "nose", "mouth"), ("eyes", "nose")):
            chosen = [i for g in groups for i in GROUPS[g]]
            ours = peaks[:, chosen].sum(1).clamp(0, 1)
            theirs = target[:, chosen].sum(1).clamp(0, 1)
            total = total + functional.smooth_l1_loss(ours, theirs)
        return total


class ReferencePsfTerm(Term):
    """Published PSF regulariser: distance to the PSF of the defocused bare lens.

    Frobenius norm over channels and pixels, both normalised to unit energy.
    """

    of_mask_alone = True

    def __init__(self, *, weight: float = 10.0, focus_distance: float = 5.0) -> None:
        super().__init__(weight=weight)
        self.focus_distance = focus_distance
        self.reference: Tensor | None = None

    def prepare(self, camera: Camera, scene_power: ScenePower, reference: float) -> None:
        """Compute the target with the same aperture, lens and pixels."""
        from optics import FlatMask

        bare = Camera(
            aperture_diameter=camera.aperture_diameter,
            lens=camera.lens,
            mask=FlatMask(aperture_diameter=camera.aperture_diameter, cell=4e-6),
            sensor=camera.sensor,
            focus_distance=self.focus_distance,
            window=camera.window,
        )
        with torch.no_grad():
            psf = bare.psf([reference])[0]
        self.reference = psf / psf.sum((-2, -1), keepdim=True)

    def forward(self, view: MaskView) -> Tensor:
        """Value for this step."""
        if self.reference is None:
            raise ValueError("prepare() was not called before the first step")
        unit = view.psf / view.psf.sum((-2, -1), keepdim=True)
        distance: Tensor = (unit - self.reference.to(unit)).norm()
        return distance
