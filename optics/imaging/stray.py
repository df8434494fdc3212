r"""Stray light: the floor that scatter and ghosts put under every picture.

Of the light that reaches the sensor, a fraction :math:`v` is spread evenly over the frame
(veiling glare: many reflections forget where the light came from) and a fraction :math:`s` goes
into a wide skirt around its point (surface scatter),

.. math:: h' = (1 - v - s) \, h + s \, h * k + \frac{v}{A} \sum h , \qquad
          k(r) \propto \left( 1 + (r / r_0)^2 \right)^{-p / 2} ,

A being the pixels of the frame. Light is moved, never made or lost. A model with four numbers:
the ghosts of one bright lamp have shapes that it does not know.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from optics.grids import coordinates
from optics.imaging.uniform import blur
from optics.units import check_positive


@dataclass(frozen=True)
class StrayLight:
    """Veil and skirt of a lens.

    Attributes
    ----------
    veil : float
        Fraction of the light spread evenly over the frame; for small values the veiling glare
        index of ISO 9358, integrating-sphere method. Camera lenses: 0.5 to 5 %.
    skirt : float
        Fraction of the light in the skirt.
    radius : float
        Radius r_0 at which the skirt begins to fall [pixels].
    slope : float
        Exponent p of its fall; 1.5 to 3 for polished surfaces.

    References
    ----------
    ISO 9358:1994, "Veiling glare of image-forming systems". J. E. Harvey, S. Schröder, N. Choi,
    A. Duparré, "Total integrated scatter from surfaces with arbitrary roughness, correlation
    widths, and incident angles", Opt. Eng. 51, 013402 (2012): the shape of the skirt.
    """

    veil: float = 0.0
    skirt: float = 0.0
    radius: float = 4.0
    slope: float = 2.0

    def __post_init__(self) -> None:
        for name in ("veil", "skirt"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name} = {value:g} is outside [0, 1); it is a fraction")
        if self.veil + self.skirt >= 1:
            raise ValueError(
                f"veil + skirt = {self.veil + self.skirt:g}: less than 1 is needed, the rest makes "
                f"the image"
            )
        check_positive("radius", self.radius, "pixels")
        check_positive("slope", self.slope)

    def image(self, image: Tensor) -> Tensor:
        """Add the stray light to the irradiance of whole frames.

        Parameters
        ----------
        image : Tensor
            (B, C, H, W) linear light: the frame, with nothing bright just outside of it.

        Returns
        -------
        Tensor
            (B, C, H, W) with the same sum.
        """
        if image.ndim != 4:
            raise ValueError(f"image is {tuple(image.shape)}, expected (B, C, H, W)")
        out = (1 - self.veil - self.skirt) * image
        if self.veil:
            out = out + self.veil * image.mean((-2, -1), keepdim=True)
        if self.skirt:
            planes = image.reshape(-1, 1, *image.shape[-2:])
            out = out + self.skirt * self._skirt(planes).reshape(image.shape)
        return out

    def psf(self, psf: Tensor, *, frame: tuple[int, int]) -> Tensor:
        """Add the stray light to PSFs.

        Parameters
        ----------
        psf : Tensor
            (..., h, w), energy fraction per pixel.
        frame : tuple of int
            Pixels (H, W) of the sensor over which the veil lies, at least those of the PSF.

        Returns
        -------
        Tensor
            (..., h, w). Its sum is lower by what veils the frame outside of the window, and equal
            for a PSF as large as the frame. The skirt is kept inside the window.
        """
        size = (psf.shape[-2], psf.shape[-1])
        if frame[0] < size[0] or frame[1] < size[1]:
            raise ValueError(
                f"frame = {frame} pixels is smaller than the psf of {size}; give the whole sensor"
            )
        total = psf.sum((-2, -1), keepdim=True)
        out = (1 - self.veil - self.skirt) * psf + self.veil * total / math.prod(frame)
        if self.skirt:
            out = out + self.skirt * self._skirt(psf.reshape(-1, 1, *size)).reshape(psf.shape)
        return out

    def _skirt(self, planes: Tensor) -> Tensor:
        """Light (B, 1, H, W) moved into the skirts, all of it kept inside."""
        sides = (2 * planes.shape[-2] - 1, 2 * planes.shape[-1] - 1)
        kernel = self.kernel(sides, like=planes)[None]
        inside = blur(torch.ones_like(planes[:1]), kernel)
        return blur(planes / inside, kernel)

    def kernel(self, sides: tuple[int, int], *, like: Tensor) -> Tensor:
        """Skirt of a point on (h, w) pixels, sum 1, in the precision and place of `like`."""
        y, x = (coordinates(n, 1.0, device=like.device) for n in sides)
        radius = (y[:, None].square() + x.square()) / self.radius**2
        skirt = (1 + radius) ** (-self.slope / 2)
        return (skirt / skirt.sum()).to(like.dtype)
