"""Small cameras and masks of given height, for the tests of optics."""

import torch

from optics import Camera, FlatMask, Mask, Sensor, ThinLens
from optics.sensor import Band


class FreeHeight(Mask):
    """A smooth surface, or flat cells, of a height that is handed in [m]."""

    def __init__(self, height, cell, *, pixelated=False, material="fused_silica"):
        super().__init__(height.shape[0], cell, material_name=material, design_wavelength=550e-9)
        self.given = torch.nn.Parameter(height.to(torch.float64))
        self.pixelated = pixelated

    def height(self):
        return self.given


def line_bands(*wavelengths):
    """Monochromatic colours."""
    return tuple(Band(w, 1e-14) for w in wavelengths)


def wave(*values):
    return torch.tensor(values, dtype=torch.float64)


def small_camera(mask=None, **changes):
    """f = 50 mm, D = 1 mm, 5 um pixels without mosaic, sharp at 1 m, double precision."""
    diameter = changes.pop("aperture_diameter", 1e-3)
    sensor = changes.pop("sensor", None) or Sensor(
        pixel_pitch=5e-6, binning=1, bayer=False, bands=line_bands(600e-9, 550e-9, 450e-9)
    )
    settings = {
        "aperture_diameter": diameter,
        "lens": ThinLens(focal_length=50e-3),
        "mask": mask or FlatMask(aperture_diameter=diameter, cell=diameter / 64),
        "sensor": sensor,
        "focus_distance": 1.0,
        "window": 31,
        "nodes": 3,
        "double": True,
    }
    return Camera(**(settings | changes))


def smooth_height(samples, cell, rms, scale, seed=0):
    """Random surface of Gaussian correlation; `rms` and 1/e correlation `scale` [m]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(samples, samples, dtype=torch.float64, generator=generator)
    f = torch.fft.fftfreq(samples, cell, dtype=torch.float64)
    low = torch.exp(-((torch.pi * scale / 2) ** 2) * (f[:, None] ** 2 + f[None, :] ** 2))
    height = torch.fft.ifft2(torch.fft.fft2(noise) * low).real
    height = height - height.mean()
    return height * (rms / height.square().mean().sqrt())
