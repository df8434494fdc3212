"""Write the picture that the virtual camera shows: the PSF of a phase mask, off the middle.

``python scene.py PICTURE`` writes a JPEG, the only kind of file that the pipeline takes.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (1024, 768)  # [px], width and height, as in virtual.yaml
PEAK = (295, 710)  # row and column; unlike under any flip, transposition or half-pixel shift


def psf(side=256):
    """Return a point's diffraction image (side, side), its maximum 1 and in the middle.

    Fraunhofer diffraction at a round pupil whose phase is coma and astigmatism [rad]: no
    symmetry but that of its axis, which lies across the pixels.
    """
    y, x = (np.mgrid[:side, :side] - side / 2) / (side / 8)
    radius, along = np.hypot(x, y), x * np.cos(0.6) + y * np.sin(0.6)
    phase = 4.0 * (3 * radius**2 - 2) * along + 1.5 * (x**2 - y**2)
    field = np.fft.fftshift(np.fft.fft2(np.where(radius <= 1, np.exp(1j * phase), 0)))
    intensity = np.abs(field) ** 2
    row, column = np.unravel_index(intensity.argmax(), intensity.shape)
    centred = np.roll(intensity, (side // 2 - row, side // 2 - column), axis=(0, 1))
    return centred / centred.max()


def scene():
    """Return the picture, uint8 (H, W): the PSF at `PEAK` on black, brightened in its tails."""
    picture = np.zeros(SIZE[::-1], np.uint8)
    spot = np.rint(240 * psf() ** 0.5).astype(np.uint8)
    half = len(spot) // 2
    row, column = PEAK
    picture[row - half : row + half, column - half : column + half] = spot
    return picture


def write(path):
    """Write the picture as a JPEG with all its colour samples.

    Of quality 90: above 95, libjpeg's fast transform, by which the pipeline decodes, is 10 DN off.
    """
    Image.fromarray(scene()).convert("RGB").save(path, "JPEG", quality=90, subsampling=0)


def shown(path):
    """Return the luma of the JPEG as this machine decodes it, int (H, W)."""
    with Image.open(path) as image:
        image.draft("YCbCr", None)
        return np.asarray(image.convert("YCbCr"))[..., 0].astype(int)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
