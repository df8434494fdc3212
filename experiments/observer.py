"""The camera of a co-design run and its landmark networks, as the anonymizer meets them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anonymizer.recognition import Recognizer
from anonymizer.regressors import Heatmaps
from experiments.cameras import LEARNED
from experiments.described import stored_settings
from experiments.design import Codesign
from experiments.scene import Scenes, crop_pixels, network_view, observe
from experiments.stages import Batch, StaticCamera
from experiments.store import load_tensors
from optics import blur, resize


class Resized(nn.Module):
    """A landmark network of another size: pictures are resized at its door.

    Its heatmaps cover the same square, so positions come out in the pixels that went in.

    Parameters
    ----------
    network : nn.Module
        Takes square pictures of side `size` and returns `Heatmaps`.
    size : int
        Side it was trained at [px].
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, pictures: Tensor) -> Heatmaps:
        """Read pictures (B, 3, S, S)."""
        seen: Heatmaps = self.network(network_view(pictures, self.size))
        return Heatmaps(seen.logits, seen.boundary, pictures.shape[-1])


@dataclass(frozen=True)
class Seen:
    """What the camera recorded of a batch, and how it would record other pictures there.

    Attributes
    ----------
    measurement : Tensor
        (B, 3, S, S) linear light.
    heatmaps : Heatmaps
        What its regressor read, without gradient.
    see_again : callable
        Pictures (B', 3, S, S) of linear light -> the same, through the PSF alone.
    """

    measurement: Tensor
    heatmaps: Heatmaps
    see_again: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Observer:
    """One finished camera of a co-design run.

    Attributes
    ----------
    camera : StaticCamera
        Scale, sensor and PSFs by distance.
    regressor : nn.Module
        Landmarks on its measurements, frozen.
    clear : nn.Module
        Landmarks on clear pictures, frozen.
    regressor_size : int
        Side the two were trained at [px].
    pool : mapping of str to Recognizer
        Recognisers of the run.
    name : str
        Folder name of the run, for the record.
    """

    camera: StaticCamera
    regressor: nn.Module
    clear: nn.Module
    regressor_size: int
    pool: Mapping[str, Recognizer]
    name: str

    @torch.no_grad()
    def look(self, batch: Batch, distance: float, size: int) -> Seen:
        """Record `batch` with noise at `distance` [m], one of the known ones, for side `size`."""
        scenes, psf = batch.scenes, self.camera.psfs[distance]
        recorded = observe(self.camera.camera, psf, scenes, distance, batch.sources)
        heatmaps: Heatmaps = self.regressor(network_view(recorded, self.regressor_size))
        pixels = crop_pixels(self.camera.camera, distance, scenes.context)
        small = rescaled_psf(psf, size / pixels)

        def see_again(light: Tensor) -> Tensor:
            return see_through(light, small, scenes)

        return Seen(network_view(recorded, size), heatmaps, see_again)

    def nearest_to(self, distance: float) -> float:
        """Return the known distance next to `distance` [m], by their ratio."""
        return min(self.camera.psfs, key=lambda known: abs(math.log(known / distance)))


def rescaled_psf(psf: Tensor, scale: float) -> Tensor:
    """Return a PSF (3, h, w) on pixels that are 1 / `scale` as large, with the same energy."""
    rows, columns = (max(1, 2 * round((n * scale - 1) / 2) + 1) for n in psf.shape[-2:])
    small = resize(psf[None], (rows, columns))[0].clamp(min=0)
    energy = psf.sum((-2, -1), keepdim=True) / small.sum((-2, -1), keepdim=True)
    return small * energy


def see_through(light: Tensor, psf: Tensor, scenes: Scenes) -> Tensor:
    """Blur pictures (P B, 3, S, S) of the B people in `scenes` by a PSF on their pixels."""
    surround = scenes.surround.repeat(len(light) // len(scenes.surround), 1)
    return blur(light, psf.to(light), surround=surround)


def open_observer(source: Path, settings: Mapping[str, Any], *, camera: str = LEARNED) -> Observer:
    """Open one camera of the co-design run in the folder `source`, on this machine's terms.

    Raises
    ------
    ArtifactError
        A file of the run is missing or damaged.
    """
    stored = stored_settings(source, settings)
    work = Codesign(stored, source)
    clear = work.clear
    clear.load_state_dict(load_tensors(source / "regressor_clear.safetensors")[0])
    size = stored["size"]
    return Observer(
        camera=work.static(camera),
        regressor=work.regressor(camera),
        clear=Resized(clear.requires_grad_(False).eval(), size),
        regressor_size=size,
        pool=work.pool,
        name=source.name,
    )
