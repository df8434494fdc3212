"""A surface that comes from outside: measured, or read back from a file for a foundry."""

import torch
from torch import Tensor

from optics.masks.base import Mask
from optics.units import check_length


class GivenSurface(Mask):
    """A height map as it is.

    Parameters
    ----------
    height : Tensor
        Real (N, N), finite [m].
    cell : float
        Cell side or sample spacing [m].
    material : str
        Mask material.
    design_wavelength : float
        Vacuum wavelength for which the mask was drawn [m].
    pixelated : bool
        True if every cell is flat, False if samples stand for a smooth surface.
    wrap_height : float, optional
        Height after which the relief starts again [m]; one wavelength of delay if left out.
    """

    surface: Tensor

    def __init__(
        self,
        height: Tensor,
        *,
        cell: float,
        material: str = "fused_silica",
        design_wavelength: float = 540e-9,
        pixelated: bool = True,
        wrap_height: float | None = None,
    ) -> None:
        if height.ndim != 2 or height.shape[0] != height.shape[1]:
            raise ValueError(f"height is {tuple(height.shape)}: a square map (N, N) is needed")
        if not bool(torch.isfinite(height).all()):
            raise ValueError("height holds values that are not finite; fill the gaps first")
        super().__init__(
            height.shape[0], cell, material_name=material, design_wavelength=design_wavelength
        )
        self.pixelated = pixelated
        if wrap_height is not None:
            self._wrap = check_length("wrap_height", wrap_height)
        self.register_buffer("surface", height.detach().to(torch.float64))

    @property
    def wrap_height(self) -> float:
        """Height after which the relief starts again [m]."""
        return getattr(self, "_wrap", super().wrap_height)

    def height(self) -> Tensor:
        """Return the surface (N, N), float64 [m]."""
        return self.surface
