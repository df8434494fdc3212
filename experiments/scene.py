"""From standard face crops to what a camera measures, at true scale.

A crop is `context` face widths wide and a face is 140 mm wide, so distance, focal length and
pixel pitch give its size on the sensor. The light is put on the sensor's own pixels, blurred,
exposed and digitised there; the networks get that crop, resized last.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anonymizer.alignment import FLIP68
from anonymizer.colour import decode_srgb
from experiments.data.crops import FaceCrops
from optics import Sensor, blur, resize

FACE_WIDTH = 0.140  #: distance of iBUG points 0 and 16 [m]

_LINEAR = decode_srgb(torch.arange(256, dtype=torch.float64) / 255).to(torch.float32)


def generator_for(*key: object) -> torch.Generator:
    """Return a generator that depends on `key` alone, so that any draw can be made again."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Imager(Protocol):
    """What scenes need of a camera beside its PSF: a designed one, or one that was measured."""

    @property
    def sensor(self) -> Sensor:
        """Its sensor."""
        ...

    def image_size(self, object_size: float, object_distance: float) -> float:
        """Size on the sensor of something `object_size` [m] large, in binned pixels."""
        ...


@dataclass(frozen=True)
class Framing:
    """How well the face is framed: no detector centres a face exactly.

    Attributes
    ----------
    shift : float
        Largest displacement of the face along each axis, in face widths.
    zoom : float
        Largest relative change of its size.
    roll : float
        Largest rotation in the picture [rad].
    flip : bool
        Mirror half of the pictures.
    """

    shift: float = 0.12
    zoom: float = 0.12
    roll: float = 0.15
    flip: bool = True

    def __post_init__(self) -> None:
        for name, limit in (("shift", 0.5), ("zoom", 0.5), ("roll", math.pi)):
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise ValueError(f"{name} = {value:g} is outside [0, {limit:g}]")


@dataclass(frozen=True)
class Scenes:
    """Pictures as light in front of the camera.

    Attributes
    ----------
    light : Tensor
        (B, 3, S, S) linear light, 1 is scene white.
    landmarks : Tensor
        (B, 68, 2) in pixels of `light`.
    surround : Tensor
        (B, 3) linear light of the uniform backdrop around the crop.
    context : float
        Side of the crop in face widths.
    """

    light: Tensor
    landmarks: Tensor
    surround: Tensor
    context: float

    @property
    def size(self) -> int:
        """Side S of the pictures."""
        return int(self.light.shape[-1])

    def rows(self, chosen: slice) -> "Scenes":
        """Part of the batch."""
        return replace(
            self,
            light=self.light[chosen],
            landmarks=self.landmarks[chosen],
            surround=self.surround[chosen],
        )

    def to(self, device: torch.device) -> "Scenes":
        """Move to `device`."""
        return replace(
            self,
            light=self.light.to(device),
            landmarks=self.landmarks.to(device),
            surround=self.surround.to(device),
        )


def load_scenes(crops: FaceCrops, index: Sequence[int] | np.ndarray) -> Scenes:
    """Pictures `index` of `crops` as linear light, framed as they are stored."""
    rows = np.asarray(index, dtype=np.int64)
    pixels = torch.from_numpy(np.array(crops.images[rows]))
    light = _LINEAR[pixels.long()].permute(0, 3, 1, 2).contiguous()
    landmarks = torch.from_numpy(crops.landmarks[rows]).to(torch.float32)
    return Scenes(light, landmarks, border_mean(light), crops.context)


def border_mean(light: Tensor) -> Tensor:
    """Mean light of the outermost pixels (B, 3)."""
    edges = (light[..., 0, :], light[..., -1, :], light[..., :, 0], light[..., :, -1])
    return torch.cat(edges, -1).mean(-1)


def reframe(scenes: Scenes, framing: Framing, generators: Sequence[torch.Generator]) -> Scenes:
    """Shift, zoom, roll and mirror every picture at random, landmarks with it.

    Parameters
    ----------
    scenes : Scenes
        Pictures as stored.
    framing : Framing
        Ranges of the draws.
    generators : sequence of torch.Generator
        One per picture.
    """
    draws = torch.stack([torch.rand(5, generator=g) for g in generators])
    centred = 2 * draws[:, :4] - 1
    shift = centred[:, :2] * (framing.shift * scenes.size / scenes.context)
    zoom = torch.exp(centred[:, 2] * math.log1p(framing.zoom))
    roll = centred[:, 3] * framing.roll
    mirrored = (draws[:, 4] < 0.5) & framing.flip
    middle = (scenes.size - 1) / 2
    cosine, sine = torch.cos(roll), torch.sin(roll)
    turn = torch.stack((cosine, -sine, sine, cosine), -1).reshape(-1, 2, 2)

    landmarks = scenes.landmarks - middle
    swapped = landmarks[:, FLIP68, :] * landmarks.new_tensor([-1.0, 1.0])
    landmarks = torch.where(mirrored[:, None, None], swapped, landmarks)
    landmarks = zoom[:, None, None] * landmarks @ turn.mT + shift[:, None, :] + middle

    # sample where each new pixel came from
    line = torch.arange(scenes.size, dtype=torch.float32) - middle
    y, x = torch.meshgrid(line, line, indexing="ij")
    target = torch.stack((x, y), -1).reshape(1, -1, 2) - shift[:, None, :]
    source = target @ turn / zoom[:, None, None]
    sign = torch.where(mirrored, -1.0, 1.0)
    source = source * torch.stack((sign, torch.ones_like(sign)), -1)[:, None, :]
    grid = (source * 2 / scenes.size).reshape(-1, scenes.size, scenes.size, 2)
    light = functional.grid_sample(
        scenes.light, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return replace(scenes, light=light, landmarks=landmarks, surround=border_mean(light))


def crop_pixels(camera: Imager, distance: float, context: float) -> int:
    """Binned pixels across a crop at `distance` [m]."""
    return max(4, round(camera.image_size(context * FACE_WIDTH, distance)))


def observe(
    camera: Imager,
    psf: Tensor,
    scenes: Scenes,
    distance: float,
    generators: torch.Generator | Sequence[torch.Generator],
    *,
    white_electrons: float | None = None,
    frames: int = 1,
    extent: Literal["same", "full"] = "same",
) -> Tensor:
    """Measure scenes at one distance.

    Parameters
    ----------
    camera : Imager
        Gives scale and sensor.
    psf : Tensor
        (3, h, w) of that camera at that distance, or (B, 3, h, w), one for each picture.
    scenes : Scenes
        (B, 3, S, S) of linear light.
    distance : float
        Object distance [m].
    generators : torch.Generator or sequence of them
        Source of the noise, one for all or one per picture.
    white_electrons : float, optional
        Exposure other than the camera's [e- per raw pixel].
    frames : int
        Frames averaged.
    extent : {"same", "full"}
        The crop's own pixels, or all that its light reaches (the attacker's view).

    Returns
    -------
    Tensor
        (B, 3, n, n) measurement at sensor sampling, linear, 1 is scene white.
    """
    n = crop_pixels(camera, distance, scenes.context)
    light = resize(scenes.light, (n, n))
    irradiance = blur_each(light, psf.to(light), surround=scenes.surround, extent=extent)
    return camera.sensor.expose(
        irradiance, generators, white_electrons=white_electrons, frames=frames
    )


def blur_each(
    light: Tensor, psf: Tensor, *, surround: Tensor, extent: Literal["same", "full"]
) -> Tensor:
    """Return `optics.blur` of pictures (B, 3, H, W), each by its own PSF if there are as many."""
    if psf.ndim == 3:
        return blur(light, psf, surround=surround, extent=extent)
    # one picture of many colours
    seen = blur(
        light.flatten(0, 1)[None],
        psf.flatten(0, 1),
        surround=surround.reshape(1, -1),
        extent=extent,
    )
    return seen.reshape(*light.shape[:2], *seen.shape[-2:])


def network_view(measurement: Tensor, size: int) -> Tensor:
    """Resize the measured crop to the `size` the networks take."""
    return resize(measurement, (size, size))
