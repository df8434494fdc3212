r"""Blur that changes over the field: a grid of PSFs, interpolated, without seams.

A scene point at :math:`x'` sends its light through the PSF of its own place,

.. math:: y(x) = \sum_{x'} s(x') \, h(x - x'; x') , \qquad h(\cdot; x') = \sum_g w_g(x') \, h_g ,

with bilinear shares :math:`w_g` between the centres of equal cells; beyond the outer centres the
outer PSFs hold. The shares multiply the scene, not the image, so light is conserved where PSFs
change, and the sum over overlapping tiles is exact. A uniform scene may come out uneven: where
PSFs point towards each other light does pile up.
"""

from collections.abc import Callable

from torch import Tensor

from optics.imaging.convolution import Extent, convolve, tiling
from optics.imaging.uniform import check_sides, surround_light
from optics.units import check_count, check_length


def blur_varying(
    scene: Tensor,
    psfs: Tensor,
    *,
    surround: Tensor | None = None,
    extent: Extent = "same",
) -> Tensor:
    """Irradiance of `scene` seen through a grid of PSFs, bilinear between cell centres.

    Parameters
    ----------
    scene : Tensor
        (B, C, H, W), linear light.
    psfs : Tensor
        (gy, gx, C, h, w): the PSF at the centre of each of gy x gx equal cells of the scene,
        energy fraction per pixel, centred on ((h - 1) / 2, (w - 1) / 2) around the image of its
        point; odd sides for "same". `field_grid` gives the field points.
    surround : Tensor, optional
        (B, C) linear light outside the scene; black if left out. It reaches in through the PSFs
        of the border.
    extent : {"same", "full"}
        Return the scene's own pixels, or every pixel that scene light reaches.

    Returns
    -------
    Tensor
        (B, C, H, W), or (B, C, H + h - 1, W + w - 1).

    Notes
    -----
    One transform of (2 cells + PSF) there and back per PSF. Memory: one tile beside scene and
    image, in the backward pass too. The PSFs are interpolated as intensities; the grid must be
    fine enough for that, or computed by `optics.Camera.psf` on a finer one.

    References
    ----------
    M. Hirsch, S. Sra, B. Schölkopf, S. Harmeling, "Efficient filter flow for space-variant
    multiframe blind deconvolution", CVPR 2010 (there with any windows that sum to one).
    """
    check_grid(scene, psfs)
    check_sides("psfs", psfs, extent)
    size, kernel = (scene.shape[-2], scene.shape[-1]), (psfs.shape[-2], psfs.shape[-1])
    grid = (psfs.shape[0], psfs.shape[1])

    def through(light: Tensor, margin: tuple[int, int]) -> Tensor:
        return convolve(light, psfs, tiling(size, grid, kernel, extent, margin=margin))

    return in_surround(through, scene, surround, kernel, extent)


def in_surround(
    through: Callable[[Tensor, tuple[int, int]], Tensor],
    scene: Tensor,
    surround: Tensor | None,
    kernel: tuple[int, int],
    extent: Extent,
) -> Tensor:
    """Blur a scene in a uniform surround, given the blur of a scene with a margin in the dark.

    What the surround becomes is the same picture for every scene, so it is made once.
    """
    if surround is None:
        return through(scene, (0, 0))
    base = surround_light(scene, surround)
    reach = [k // 2 if extent == "same" else k - 1 for k in kernel]
    height, width = (n + 2 * m for n, m in zip(scene.shape[-2:], reach, strict=True))
    ones = scene.new_ones(1, scene.shape[1], height, width)
    return through(scene - base, (0, 0)) + base * through(ones, (reach[0], reach[1]))


def check_grid(scene: Tensor, psfs: Tensor) -> None:
    """Refuse a grid of PSFs (gy, gx, C, h, w) that does not fit a scene (B, C, H, W)."""
    if scene.ndim != 4 or psfs.ndim != 5 or scene.shape[1] != psfs.shape[2]:
        raise ValueError(
            f"scene is {tuple(scene.shape)} and psfs {tuple(psfs.shape)}, expected (B, C, H, W) "
            f"and (gy, gx, C, h, w)"
        )
    for name, cells, samples in zip("yx", psfs.shape[:2], scene.shape[-2:], strict=True):
        if cells > samples:
            raise ValueError(
                f"psfs has {cells} cells along {name} for {samples} scene pixels: at most one per "
                f"pixel is allowed; use a coarser grid"
            )


def field_grid(
    scene: tuple[int, int], grid: tuple[int, int], *, pixel_pitch: float, sensor_distance: float
) -> list[tuple[float, float]]:
    """Field points of the cell centres, row by row: the `fields` of `optics.Camera.psf`.

    Parameters
    ----------
    scene : tuple of int
        Pixels (H, W), centred on the axis.
    grid : tuple of int
        Cells (gy, gx).
    pixel_pitch : float
        Side of a scene pixel on the sensor [m].
    sensor_distance : float
        Pupil to sensor [m].

    Returns
    -------
    list of tuple of float
        Tangents (y, x) of the chief rays.

    Examples
    --------
    >>> field_grid((200, 300), (1, 3), pixel_pitch=10e-6, sensor_distance=10e-3)
    [(0.0, -0.1), (0.0, 0.0), (0.0, 0.1)]
    """
    scale = check_length("pixel_pitch", pixel_pitch) / check_length("distance", sensor_distance)
    sides = []
    for samples, cells in zip(scene, grid, strict=True):
        check_count("grid", cells)
        width = samples / cells
        sides.append([(cell - (cells - 1) / 2) * width * scale for cell in range(cells)])
    return [(y, x) for y in sides[0] for x in sides[1]]
