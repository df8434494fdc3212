"""A measured PSF on the pixels that a camera bins, in the place of the one it was designed with."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.errors import CalibrationError
from calibration.psf.stack import PsfStack
from calibration.twin.rates import raw_camera
from experiments.twinning import Laid
from optics.camera import Camera

#: Colours of a mosaic and their planes (R, G, B).
_PLANES = {"R": 0, "G": 1, "B": 2}
_SEEN = 0.9  # of the energy of the design that the region has to hold


def binned_psf(
    stack: PsfStack, laid: Laid, depth: int, camera: Camera, *, energy: Tensor
) -> Tensor:
    """Return a measured PSF as the camera's binned pixels see it (3, h, w).

    Each binned pixel of a colour is the mean of the raw pixels of that colour in it, times their
    number; raw pixels of the other colours are not asked. The blocks are laid so that the image
    of the axis is in the middle, to half a raw pixel. How much light there is in all cannot be
    measured without knowing the source, so every colour has the energy of the design. Beyond the
    measured region there is no light, and none where noise made it negative.

    Parameters
    ----------
    stack : PsfStack
        What was measured.
    laid : Laid
        A camera on it: tells its middle, its other light, what the region holds, and what pixels
        that were not measured would have seen.
    depth : int
        Which of the depths, from 0.
    camera : Camera
        Says how pixels are binned, and its window.
    energy : Tensor
        (3,) sums that the planes are brought to.

    Raises
    ------
    CalibrationError
        The region is too small for the PSF.
    """
    binning, window = camera.sensor.binning, camera.window
    side = window * binning
    # what no exposure measured, such as a core that clips in all, is as the laid camera shows it
    rate = np.where(stack.valid[depth], stack.rate[depth] - laid.ambient, laid.expected[depth])
    # a block of whole binned pixels whose middle is that of the image
    middle = _middle(stack, laid, depth)
    first = [int(np.floor(c + 0.5 - side / 2 + 0.5)) for c in middle]
    colours = _colours(stack)
    expected = laid.expected[depth]
    out = torch.zeros(3, window, window, dtype=torch.float64)
    for plane in range(3):
        share = _share_inside(stack, laid, depth, expected, colours, plane) / float(energy[plane])
        if share < _SEEN:
            raise CalibrationError(
                f"the region of the session holds {share:.0%} of the light of the PSF: capture a "
                f"larger one (plan.size)"
            )
        inside = _placed(np.where(colours == plane, rate, np.nan), first, side)
        cells = inside.reshape(window, binning, window, binning).transpose(0, 2, 1, 3)
        blocks = cells.reshape(window, window, -1)
        count = np.isfinite(blocks).sum(-1)
        mean = np.nansum(blocks, -1) / np.maximum(count, 1)
        # beyond the region it is dark: noise below zero would be light that is taken away
        scaled = torch.from_numpy(np.clip(mean, 0.0, None))
        out[plane] = scaled * float(energy[plane]) / scaled.sum()
    return out.to(energy.dtype)


def _share_inside(
    stack: PsfStack,
    laid: Laid,
    depth: int,
    expected: NDArray[np.float64],
    colours: NDArray[np.intp],
    plane: int,
) -> float:
    """Energy of a colour that the camera that was laid shows within the region."""
    of_colour = colours == plane
    mean = float(np.nansum(expected[of_colour])) * colours.size / np.count_nonzero(of_colour)
    factor = math.exp(laid.values[("red", "", "blue")[plane]]) if plane != 1 else 1.0
    return mean / (laid.power * factor / float(stack.readings[depth]) ** 2)


def _middle(stack: PsfStack, laid: Laid, depth: int) -> tuple[float, float]:
    """Row and column of the image of the chief ray in the region."""
    values, camera = laid.values, raw_camera(laid.design)
    distance = float(stack.readings[depth])
    behind = camera.sensor_distance + values["focus"]
    row, column = (
        (n - 1) / 2
        + (behind * across / distance + values[f"boresight_{axis}"]) / stack.pixel_pitch
        - origin
        for n, across, axis, origin in zip(
            stack.frame, stack.across, "yx", stack.origin, strict=True
        )
    )
    return row, column


def _colours(stack: PsfStack) -> NDArray[np.intp]:
    block = np.array([_PLANES[letter] for letter in stack.cfa], np.intp).reshape(2, 2)
    height, width = stack.shape
    return np.tile(block, ((height + 1) // 2, (width + 1) // 2))[:height, :width]


def _placed(image: NDArray[np.float64], first: list[int], side: int) -> NDArray[np.float64]:
    """Part (side, side) of an image that begins at `first`; NaN beyond it."""
    out = np.full((side, side), np.nan)
    slices = []
    for begin, size in zip(first, image.shape, strict=True):
        low, high = max(begin, 0), min(begin + side, size)
        slices.append((slice(low - begin, high - begin), slice(low, high)))
    (rows, own_rows), (columns, own_columns) = slices
    out[rows, columns] = image[own_rows, own_columns]
    return out
