"""What of a measurement reaches the generator, and in which range of numbers.

A door turns a measurement and the regressor's reading of it into the generator's input, and its
output into linear light. `LimitedDoor` lets through the landmarks and a few coarse colours, so
that nothing else can carry an identity; `PublishedDoor` lets the whole measurement through, as
the published method does.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anonymizer.alignment import GROUPS
from anonymizer.colour import decode_srgb, encode_srgb
from anonymizer.regressors import Heatmaps
from anonymizer.stargan.generator import Masks
from anonymizer.stargan.masks import clean_heatmaps, group_masks, structure_maps, wflw_masks


class Input(NamedTuple):
    """What the generator gets of a source.

    Attributes
    ----------
    picture : Tensor
        (B, C, S, S) in the network's range.
    masks : Masks or None
        For the skips.
    """

    picture: Tensor
    masks: Masks | None


class Door(nn.Module, ABC):
    """Between linear light and the range of the networks.

    Attributes
    ----------
    inputs : int
        Channels of the generator's picture.
    """

    inputs: int

    @abstractmethod
    def forward(self, measurement: Tensor, heatmaps: Heatmaps) -> Input:
        """Prepare a measurement (B, 3, S, S), linear light, and what a regressor read off it."""

    @abstractmethod
    def encode(self, light: Tensor) -> Tensor:
        """Return the networks' range of linear light in [0, 1]."""

    @abstractmethod
    def decode(self, output: Tensor) -> Tensor:
        """Return linear light in [0, 1] of the networks' range; what lies outside is clipped."""


class LimitedDoor(Door):
    """Landmarks, drawn anew from their coordinates, and the mean colours of a coarse raster.

    Parameters
    ----------
    cells : int
        Colour cells across a picture; it must divide the side. Eight over 1.7 face widths leave
        2.4 cycles per face width, where recognisers need 6 and more.

    Notes
    -----
    Two measurements of equal landmarks and equal cell means have the same output, exactly. The
    networks' range is sRGB in [-1, 1].
    """

    inputs = 3 + len(GROUPS) + 1

    def __init__(self, *, cells: int = 8) -> None:
        super().__init__()
        if cells < 1:
            raise ValueError(f"cells = {cells}, expected 1 or more")
        self.cells = cells

    def limit(self, light: Tensor) -> Tensor:
        """Mean of each cell (B, 3, cells, cells), linear light."""
        side = light.shape[-1]
        if side % self.cells:
            raise ValueError(f"cells = {self.cells} must divide the side of the pictures, {side}")
        return F.avg_pool2d(light, side // self.cells)

    def forward(self, measurement: Tensor, heatmaps: Heatmaps) -> Input:
        """Draw the landmarks and spread the cell means over the picture, bilinearly."""
        side = measurement.shape[-1]
        colours = self.encode(self.limit(measurement))
        colours = F.interpolate(colours, size=(side, side), mode="bilinear")
        landmarks = (heatmaps.landmarks().float() + 0.5) * (side / heatmaps.size) - 0.5
        maps = structure_maps(landmarks, side)
        return Input(torch.cat((colours, 2 * maps - 1), 1), None)

    def encode(self, light: Tensor) -> Tensor:
        """SRGB in [-1, 1]."""
        return 2 * encode_srgb(light) - 1

    def decode(self, output: Tensor) -> Tensor:
        """Linear light."""
        return decode_srgb((output + 1) / 2)


class PublishedDoor(Door):
    """The whole measurement, and masks from the heatmaps for the high-pass skips.

    Parameters
    ----------
    signed : bool
        The networks' range is sRGB in [-1, 1], as in StarGAN v2, whose heatmaps are cleaned
        first; else sRGB in [0, 1] and heatmaps as they are, as in the face de-identification of
        2024.
    """

    inputs = 3

    def __init__(self, *, signed: bool = False) -> None:
        super().__init__()
        self.signed = signed

    def masks(self, heatmaps: Heatmaps) -> Masks:
        """Masks by the published builder for 98 landmarks, else by groups of the 68."""
        if heatmaps.logits.shape[1] != 98:
            return group_masks(heatmaps.peaks())
        size = (heatmaps.size, heatmaps.size)
        maps = F.interpolate(heatmaps.logits, size=size, mode="bilinear")
        return wflw_masks(clean_heatmaps(maps) if self.signed else maps)

    def forward(self, measurement: Tensor, heatmaps: Heatmaps) -> Input:
        """Encode the measurement and build its masks."""
        return Input(self.encode(measurement), self.masks(heatmaps))

    def encode(self, light: Tensor) -> Tensor:
        """SRGB in [0, 1], or in [-1, 1] where `signed`."""
        encoded = encode_srgb(light)
        return 2 * encoded - 1 if self.signed else encoded

    def decode(self, output: Tensor) -> Tensor:
        """Linear light."""
        return decode_srgb((output + 1) / 2 if self.signed else output)
