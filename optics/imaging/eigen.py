r"""Field-varying blur by a few eigen-PSFs: uniform blurs of differently weighted scenes.

.. math:: h_g \approx \sum_r c_{gr} \, e_r , \qquad y = \sum_r (c_r x) * e_r

with the singular vectors :math:`e_r` of the PSFs of a colour, and coefficients interpolated over
the field. At full rank it equals the grid of PSFs that it came from, interpolated. It pays where
the PSFs resemble each other or the grid is fine: the cost grows with the rank, not the grid.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from optics.imaging.convolution import Extent, pack, shares, tiling, unpack
from optics.imaging.uniform import check_sides
from optics.imaging.varying import in_surround
from optics.units import check_count, check_fraction


@dataclass(frozen=True)
class EigenPsfs:
    """A grid of PSFs, by its principal components.

    Attributes
    ----------
    modes : Tensor
        (R, C, h, w), orthonormal per colour.
    coefficients : Tensor
        (R, gy, gx, C).
    energy : Tensor
        (C,) share of the PSFs' energy (sum of squares) in the modes.
    """

    modes: Tensor
    coefficients: Tensor
    energy: Tensor

    @property
    def rank(self) -> int:
        """Number of modes."""
        return len(self.modes)

    def psfs(self) -> Tensor:
        """Put the PSFs together again, (gy, gx, C, h, w)."""
        return torch.einsum("ryxc,rchw->yxchw", self.coefficients, self.modes)


def eigen_psfs(psfs: Tensor, *, energy: float = 0.99, rank: int | None = None) -> EigenPsfs:
    """Principal components of a grid of PSFs.

    Parameters
    ----------
    psfs : Tensor
        (gy, gx, C, h, w), energy fraction per pixel.
    energy : float
        Share of the energy (sum of squares) to keep in every colour; decides the rank.
    rank : int, optional
        Number of modes instead, at most gy gx and h w.

    Returns
    -------
    EigenPsfs
        Gradients reach the PSFs through the coefficients; the modes are held fixed, because
        singular vectors of nearly equal values have no derivative. At full rank nothing is lost
        by that.

    Notes
    -----
    The mean is not taken off first: it becomes most of the first mode. What is cut off can be
    negative light, so a blurred picture may dip below zero by about the square root of the lost
    energy.

    References
    ----------
    R. C. Flicker, F. J. Rigaut, "Anisoplanatic deconvolution of adaptive optics images", J. Opt.
    Soc. Am. A 22, 504 (2005): modes of a spatially variant PSF.
    """
    if psfs.ndim != 5:
        raise ValueError(f"psfs is {tuple(psfs.shape)}, expected (gy, gx, C, h, w)")
    grid, window = psfs.shape[:2], psfs.shape[-2:]
    table = psfs.permute(2, 0, 1, 3, 4).flatten(3).flatten(1, 2)  # (C, gy gx, h w)
    with torch.no_grad():
        _, values, rows = torch.linalg.svd(table.double(), full_matrices=False)
        kept = values.square().cumsum(-1) / values.square().sum(-1, keepdim=True)
        count = _rank(kept, energy) if rank is None else check_count("rank", rank)
        if count > values.shape[-1]:
            raise ValueError(
                f"rank = {count}: {grid[0]} x {grid[1]} PSFs of {window[0]} x {window[1]} pixels "
                f"have at most {values.shape[-1]} modes"
            )
        modes = rows[:, :count].to(psfs.dtype)
    weights = table @ modes.mT  # (C, gy gx, R)
    return EigenPsfs(
        modes=modes.transpose(0, 1).unflatten(-1, window),
        coefficients=weights.permute(2, 1, 0).unflatten(1, grid),
        energy=kept[:, count - 1],
    )


def _rank(kept: Tensor, energy: float) -> int:
    if check_fraction("energy", energy) == 1:
        return kept.shape[-1]
    return int((kept >= energy).to(torch.int8).argmax(-1).max()) + 1


def blur_eigen(
    scene: Tensor,
    eigen: EigenPsfs,
    *,
    surround: Tensor | None = None,
    extent: Extent = "same",
) -> Tensor:
    """Irradiance of `scene` through eigen-PSFs, bilinear between the cell centres.

    Parameters
    ----------
    scene : Tensor
        (B, C, H, W), linear light.
    eigen : EigenPsfs
        From `eigen_psfs`.
    surround : Tensor, optional
        (B, C) linear light outside the scene; black if left out.
    extent : {"same", "full"}
        Return the scene's own pixels, or every pixel that scene light reaches.

    Returns
    -------
    Tensor
        (B, C, H, W), or (B, C, H + h - 1, W + w - 1): `blur_varying` of ``eigen.psfs()``.

    Notes
    -----
    R transforms of the whole scene and one back. For 7 x 7 PSFs of 65 x 65 on 256 x 256 pixels
    `blur_varying` is faster from about rank 7 on.
    """
    if scene.ndim != 4 or scene.shape[1] != eigen.modes.shape[1]:
        raise ValueError(
            f"scene is {tuple(scene.shape)} and eigen.modes {tuple(eigen.modes.shape)}, expected "
            f"(B, C, H, W) and (R, C, h, w)"
        )
    check_sides("eigen.modes", eigen.modes, extent)
    size = (scene.shape[-2], scene.shape[-1])
    kernel = (eigen.modes.shape[-2], eigen.modes.shape[-1])

    def through(light: Tensor, margin: tuple[int, int]) -> Tensor:
        maps = [
            shares(n, cells, margin=m).to(eigen.coefficients)
            for n, cells, m in zip(size, eigen.coefficients.shape[1:3], margin, strict=True)
        ]
        weights = torch.einsum("hy,ryxc,wx->rchw", maps[0], eigen.coefficients, maps[1])
        plan = tiling(size, (1, 1), kernel, extent, margin=margin)
        y, x = plan.rows[0], plan.columns[0]
        fast = (y.length, x.length)
        # unscaled transforms; the 1 / (H W) goes into the small one
        spectra = torch.fft.fft2(eigen.modes / (fast[0] * fast[1]), s=fast)
        pictures = pack(light)
        total = torch.fft.fft2(pictures * weights[0], s=fast) * spectra[0]
        for weight, spectrum in zip(weights[1:], spectra[1:], strict=True):
            total = total + torch.fft.fft2(pictures * weight, s=fast) * spectrum
        image = torch.fft.ifft2(total, norm="forward")
        image = image[..., y.skip : y.skip + y.high, x.skip : x.skip + x.high]
        return unpack(image, len(light))

    return in_surround(through, scene, surround, kernel, extent)
