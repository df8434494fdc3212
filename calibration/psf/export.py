"""PSF stacks in the layout that LenslessPiCam reads: (depth, y, x, channel).

Channels are R, G, B at half the resolution of the mosaic: each 2 x 2 block becomes one sample, by
its red pixel, the mean of its two greens and its blue pixel. Nothing is interpolated, so the
channels keep their half-pixel offsets; a measurement has to be reduced in the same way.

That program reads whole numbers of up to 16 bits, subtracts the mean of a dark corner (rows and
columns 5 to 24) and then cuts negative values off. So that noise about zero gets that far, zero
lies on a pedestal. 16 bits hold 96 dB; what was measured beyond is in the stack itself.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import planes
from calibration.psf.registration import filled
from calibration.psf.stack import PsfStack
from hardware.storage import atomic_write

_TOP = 65_535
_CORNER = 25  # rows and columns that the reader takes its background from


@dataclass(frozen=True)
class LenslessExport:
    """What the numbers of an exported file mean: rate = (number - pedestal) * step.

    Attributes
    ----------
    step : float
        [e-/s]; the same for all depths and channels.
    pedestal : int
        Number of a rate of zero.
    shape : tuple of int
        (depth, y, x, channel).
    """

    step: float
    pedestal: int
    shape: tuple[int, ...]


def reduced(stack: PsfStack) -> NDArray[np.float64]:
    """Return the rates of a stack as (depth, y, x, channel) [e-/s].

    Channels are R, G, B at half resolution, or one at full resolution for a monochrome sensor.
    Pixels that are not valid are filled from the neighbours of their own colour.
    """
    out = []
    for rate, valid in zip(stack.rate, stack.valid, strict=True):
        seen = planes(valid, stack.cfa)
        of = {name: filled(plane, seen[name]) for name, plane in planes(rate, stack.cfa).items()}
        if stack.cfa:
            out.append(np.stack([of["R"], (of["Gr"] + of["Gb"]) / 2, of["B"]], axis=-1))
        else:
            out.append(of["mono"][..., None])
    return np.stack(out)


def export_lensless(stack: PsfStack, path: Path) -> LenslessExport:
    """Write a stack for LenslessPiCam (its reader wants ``use_3d=True``).

    Parameters
    ----------
    stack : PsfStack
        Of a region with dark corners; see the module.
    path : Path
        Ends in ".npy", or ".npz" (compressed); neither holds pickled objects. What the numbers
        mean stands in a file of the same name with ".json" added.
    """
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"path = {path.name}: a name that ends in .npy or .npz is needed")
    rates = reduced(stack)
    if min(rates.shape[1:3]) <= _CORNER:
        raise ValueError(
            f"the stack has {rates.shape[1]} x {rates.shape[2]} samples at this resolution; its "
            f"reader takes the background from rows and columns up to {_CORNER - 1}: capture a "
            f"larger region"
        )
    lowest, highest = min(float(rates.min()), 0.0), float(rates.max())
    if highest <= 0:
        raise ValueError("rate is nowhere above zero: there is no light in the stack")
    step = (highest - lowest) / (_TOP - 1)  # one less, for the pedestal that is rounded up
    pedestal = int(np.ceil(-lowest / step))
    numbers = np.rint(rates / step).astype(np.int64) + pedestal
    image = np.clip(numbers, 0, _TOP).astype(np.uint16)
    if path.suffix == ".npy":
        atomic_write(path, lambda file: np.save(file, image, allow_pickle=False))
    else:
        atomic_write(path, lambda file: np.savez_compressed(file, psf=image))
    about = {
        "format": "veilens-lensless-1",
        "layout": ["depth", "y", "x", "channel"],
        "channels": ["R", "G", "B"] if stack.cfa else ["mono"],
        "rate_e_per_s": "(number - pedestal) * step",
        "step": step,
        "pedestal": pedestal,
        "spacing_m": stack.pixel_pitch * (2 if stack.cfa else 1),
        "readings_m": [float(z) for z in stack.readings],
    }
    sheet = (json.dumps(about, indent=1) + "\n").encode()
    atomic_write(path.with_name(path.name + ".json"), sheet)
    return LenslessExport(step, pedestal, image.shape)
