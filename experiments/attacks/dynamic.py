"""Cameras with another mask for every shot, and what an attacker makes of many such shots.

A mirror of random shape makes the mask, alone or before a learned one. The masks form a finite
family, known to everybody; which of them a shot was taken through may stay secret or leak. The
mean of many shots is a picture through the mean PSF of the family, which is no secret at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.attacks.defence import CameraDefence, Faces
from experiments.inversion import Inversion
from experiments.protocol import TestSet
from experiments.scene import Scenes, generator_for, network_view, observe
from optics import Camera, DeformableMirror
from optics.masks import MaskStack


@dataclass(frozen=True, eq=False, kw_only=True)
class PerShotCamera(CameraDefence):
    """A camera whose mask is drawn anew for every shot.

    N shots of a scene are taken through min(N, K) different masks of the family, in equal shares
    as far as that goes. `fixed` holds the mean PSFs of the family.

    Attributes
    ----------
    families : mapping of float to Tensor
        PSFs (K, 3, h, w) of the masks by distance [m].
    """

    families: Mapping[float, Tensor] = field(default_factory=dict)

    @property
    def family(self) -> Tensor:
        """PSFs (K, 3, h, w) at the reference distance."""
        return self.families[self.protocol.reference]

    def show(self, faces: Faces, *, frames: int = 1) -> Tensor:
        """Return the mean of the measurements at the reference distance."""
        distance = self.protocol.reference
        psf = self.mean_psfs(faces.noise, frames)
        camera = self.fixed.camera
        seen = observe(camera, psf, faces.scenes, distance, faces.noise, frames=frames)
        return network_view(seen, faces.scenes.size)

    def mean_psfs(self, noise: Sequence[torch.Generator], frames: int) -> Tensor:
        """Draw the masks of each picture: mean PSFs (B, 3, h, w) of its shots.

        The sum of the shots' photons is drawn as one: both are Poisson numbers of the same mean.
        """
        order, share = draw_masks(noise, len(self.family), frames)
        mean = torch.zeros(len(noise), len(self.family)).scatter_(
            1, order, share.repeat(len(order), 1)
        )
        return torch.einsum("bk,kchw->bchw", mean.to(self.family) / frames, self.family)

    def inversion(
        self,
        frames: int,
        assumed: Tensor,
        kind: type[Inversion] = Inversion,
        exposure: float | None = None,
    ) -> Inversion:
        """Return an inversion of the mean of `frames` shots, whose masks are not known."""
        return kind(
            self.fixed.camera,
            self.psf(),
            self.scene_power,
            self.protocol,
            frames,
            exposure,
            assumed=assumed,
            drawn=self.mean_psfs,
        )

    def informed(self, frames: int, exposure: float | None = None) -> Inversion:
        """Return the best linear inversion of `frames` shots, the mask of each of them known."""
        return _KnownMasks(self, frames, exposure)


def draw_masks(noise: Sequence[torch.Generator], masks: int, frames: int) -> tuple[Tensor, Tensor]:
    """Draw which masks `frames` shots of each picture are taken through.

    Returns
    -------
    tuple of Tensor
        Different masks (B, min(frames, masks)) in random order, and the shots (min(...),) that
        are taken through the first, the second, ... of them.
    """
    count = min(frames, masks)
    order = torch.stack([torch.randperm(masks, generator=g)[:count] for g in noise])
    share = torch.full((count,), frames // count)
    share[: frames % count] += 1
    return order, share.to(torch.float32)


class _KnownMasks(Inversion):
    r"""Wiener filter of several shots through different known masks.

    .. math:: \hat X = \frac{S \sum_j n_j H_j^* Y_j}{S \sum_j n_j |H_j|^2 + \sigma^2}

    with n shots through each mask.

    References
    ----------
    L. P. Yaroslavsky, H. J. Caulfield, "Deconvolution of multiple images of the same object",
    Appl. Opt. 33, 2157 (1994).
    """

    def __init__(self, defence: PerShotCamera, frames: int, exposure: float | None) -> None:
        super().__init__(
            defence.fixed.camera,
            defence.psf(),
            defence.scene_power,
            defence.protocol,
            frames,
            exposure,
        )
        self.family = defence.family

    def attempt(
        self, test: TestSet, rows: NDArray[np.int64], scenes: Scenes, strength: float
    ) -> Tensor:
        sources = self.sources(test, rows)
        order, share = draw_masks(sources, len(self.family), self.frames)
        size = (self.size, self.size)
        otfs = torch.fft.rfft2(self.family.to(scenes.light), s=size)
        light = torch.zeros(1, device=scenes.light.device)
        weight = torch.zeros(1, device=scenes.light.device)
        for mask, shots in zip(order.unbind(1), share.int().tolist(), strict=True):
            seen = self.record(self.family[mask], scenes, sources, shots)
            otf = otfs[mask]
            light = light + shots * otf.conj() * torch.fft.rfft2(seen)
            weight = weight + shots * otf.abs().square()
        power = self.power.to(weight)
        noise = self.noise_power(scenes).to(weight)[:, None, None] * strength
        found = torch.fft.irfft2(power * light / (power * weight + noise), s=size)
        return self.picture(found, scenes)


# Families


@dataclass(frozen=True)
class MirrorFamily:
    """Masks that a deformable mirror makes of random commands.

    Attributes
    ----------
    mirror : callable
        Makes the mirror, given `aperture_diameter` and `cell`.
    masks : int
        Members of the family.
    reach : float
        Largest command, as a share of the stroke.
    before : {"learned", "nothing"}
        What stands behind the mirror: the camera's own mask, or none.
    seed : int
        Of the commands.
    """

    mirror: Callable[..., DeformableMirror]
    masks: int = 20
    reach: float = 1.0
    before: Literal["learned", "nothing"] = "nothing"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.masks < 2 or not 0 < self.reach <= 1:
            raise ValueError(
                f"masks = {self.masks}, reach = {self.reach:g}: at least 2 masks, and a share of "
                f"the stroke above 0 and up to 1"
            )

    @torch.no_grad()
    def psfs(self, camera: Camera, distances: Sequence[float], nodes: int) -> Tensor:
        """Return the PSFs (K, D, 3, h, w) of the members at `distances` [m]."""
        mirror = self.mirror(aperture_diameter=camera.aperture_diameter, cell=self._cell(camera))
        mirror = mirror.to(camera.aperture.device)
        mask = MaskStack([camera.mask, mirror]) if self.before == "learned" else mirror
        moving = camera.replace(mask=mask)
        draw = generator_for(self.seed, "mirror")
        out = []
        for _ in range(self.masks):
            commands = 2 * torch.rand(len(mirror.drive), generator=draw, dtype=torch.float64) - 1
            mirror.command(self.reach * commands.to(mirror.drive.device))
            out.append(moving.psf(list(distances), nodes=nodes).float())
        return torch.stack(out)

    def _cell(self, camera: Camera) -> float:
        """Cell of the learned mask, or one fine enough for the window without it [m]."""
        if self.before == "learned":
            return camera.mask.cell
        shortest = min(band.shortest for band in camera.sensor.bands)
        return min(
            0.98 * shortest * camera.sensor_distance / (camera.window * camera.sensor.pitch),
            camera.aperture_diameter / 64,
        )
