"""Faces in frames of a capture session: what the camera recorded stands for the measurement.

A frame is binned as the camera of the run bins, without demosaicing, and scaled so that scene
white is 1. No detector finds a face behind a mask, so the regressor does: it looks at the middle
of the frame, or where it is told, and again where its own landmarks put the face.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anonymizer.alignment import face_frame, warp_area
from anonymizer.heatmaps import to_map
from anonymizer.regressors import Heatmaps
from experiments.faces_in_pictures import Square
from experiments.observer import Observer
from experiments.scene import network_view
from hardware.frames import RawFrame

_LOOKS = 3


@dataclass(frozen=True)
class Captured:
    """One face of a frame.

    Attributes
    ----------
    square : Square
        Where it is, in binned pixels.
    measurement : Tensor
        (1, 3, S, S) linear light, at the networks' side.
    heatmaps : Heatmaps
        What the regressor read off it.
    """

    square: Square
    measurement: Tensor
    heatmaps: Heatmaps


def binned(frame: RawFrame, *, binning: int, white_fraction: float) -> Tensor:
    """Return a frame as the linear light (3, h, w) of binned pixels, 1 for scene white.

    Parameters
    ----------
    frame : RawFrame
        Of a sensor with a Bayer mosaic.
    binning : int
        Raw pixels on a side of a binned one, even.
    white_fraction : float
        Share of the range of values at which scene white lies.
    """
    if not frame.cfa or binning < 2 or binning % 2:
        raise ValueError(
            f"cfa = {frame.cfa!r}, binning = {binning}: a Bayer mosaic and an even number"
        )
    rows, columns = (n // binning for n in frame.shape)
    part = frame.mosaic[: rows * binning, : columns * binning].astype(np.float64)
    black = np.reshape(frame.black_level, (2, 2))
    scale = white_fraction * (frame.white_level - black)
    planes: dict[str, list[np.ndarray]] = {"R": [], "G": [], "B": []}
    for place, colour in enumerate(frame.cfa):
        i, j = divmod(place, 2)
        light = (part[i::2, j::2] - black[i, j]) / scale[i, j]
        half = binning // 2
        planes[colour].append(light.reshape(rows, half, columns, half).mean(axis=(1, 3)))
    stacked = np.stack([np.mean(planes[c], axis=0) for c in "RGB"])
    return torch.from_numpy(stacked).float().clamp(0, 1)


@torch.inference_mode()
def read_face(
    observer: Observer, light: Tensor, *, side: float, at: Sequence[float] | None, size: int
) -> Captured:
    """Find the face of a frame by the camera's regressor.

    Parameters
    ----------
    observer : Observer
        Camera and regressor.
    light : Tensor
        (3, h, w) of binned pixels.
    side : float
        Of a crop at the distance at which the face is said to be [px].
    at : sequence of float, optional
        Column and row of the middle of the face [px]; the middle of the frame by default.
    size : int
        Side of the anonymizer's pictures [px].
    """
    height, width = light.shape[-2:]
    middle = torch.tensor(tuple(at or ((width - 1) / 2, (height - 1) / 2))).double()
    count = round(side)
    limit = middle.new_tensor([width - 1, height - 1])
    for look in range(_LOOKS):
        corner = (middle - side / 2)[:, None]
        square = Square(torch.cat((side * torch.eye(2).double(), corner), dim=1))
        crop = warp_area(light[None], square.from_pixels(count)[None].to(light), (count, count))
        heatmaps: Heatmaps = observer.regressor(network_view(crop, observer.regressor_size))
        if look < _LOOKS - 1:
            centre, _, _ = face_frame(to_map(heatmaps.landmarks(), heatmaps.size, count))
            moved = (centre[0].double().cpu() - (count - 1) / 2) * (side / count)
            middle = torch.minimum((middle + moved).clamp(min=0), limit)
    return Captured(square, network_view(crop, size), heatmaps)
