"""Lenses known by their wavefronts at some field points: Zernike tables and maps.

Between the field points the wavefront itself is interpolated, never the intensity: two spots
half and half are no spot, two wavefronts half and half are one. Positive `opd` delays.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from optics.grids import coordinates
from optics.lenses.base import Lens, LensWith
from optics.lenses.fields import FieldLayout
from optics.units import check_length
from optics.zernike import rotate_zernike, zernike_at


class TabulatedLens(LensWith):
    """Zernike coefficients of the wavefront at each field point.

    Parameters
    ----------
    base : Lens
        Ideal lens with the focal length of the measured one.
    aperture_diameter : float
        Pupil diameter that the coefficients refer to [m].
    fields : FieldLayout
        The F field points of the table.
    coefficients : Tensor
        (F, J), or (L, F, J) for several wavelengths: RMS `opd` of Noll modes 1 to J [m].
    wavelengths : sequence of float
        The L vacuum wavelengths of the table, ascending [m]. Between them the coefficients are
        interpolated linearly, beyond them held. Empty: all wavelengths share the wavefront.
    """

    coefficients: Tensor

    def __init__(
        self,
        base: Lens,
        *,
        aperture_diameter: float,
        fields: FieldLayout,
        coefficients: Tensor,
        wavelengths: Sequence[float] = (),
    ) -> None:
        super().__init__(base)
        self.aperture_diameter = check_length("aperture_diameter", aperture_diameter)
        self.fields = fields
        self.wavelengths = tuple(check_length("wavelength", w) for w in wavelengths)
        if any(b <= a for a, b in pairwise(self.wavelengths)):
            raise ValueError(f"wavelengths = {self.wavelengths} m: they must ascend, each once")
        table = coefficients if coefficients.ndim == 3 else coefficients[None]
        wanted = (max(1, len(self.wavelengths)), fields.count)
        if table.ndim != 3 or table.shape[:2] != wanted:
            raise ValueError(
                f"coefficients are {tuple(coefficients.shape)}, expected (L, F, J) with "
                f"L = {wanted[0]} wavelengths and F = {wanted[1]} field points"
            )
        _check_finite("coefficients", table)
        self.register_buffer("coefficients", table.to(torch.float64))

    def added_opd(
        self, y: Tensor, x: Tensor, wavelength: Tensor, field: tuple[float, float]
    ) -> Tensor:
        weights = self.fields.weights(field).to(y.device)
        table = torch.einsum("f,lfj->lj", weights, self.coefficients.to(y))
        table = rotate_zernike(table, self.fields.turn(field))
        if len(self.wavelengths) > 1:
            table = self._shares(wavelength).to(y) @ table
        edge = self.aperture_diameter / 2
        return zernike_at(table, y / edge, x / edge)

    def _shares(self, wavelength: Tensor) -> Tensor:
        """Weight of every wavelength of the table, (W, L)."""
        nodes = torch.tensor(self.wavelengths, dtype=torch.float64, device=wavelength.device)
        held = wavelength.to(torch.float64).clamp(nodes[0], nodes[-1]).contiguous()
        after = torch.searchsorted(nodes, held).clamp(1, len(nodes) - 1)
        share = (held - nodes[after - 1]) / (nodes[after] - nodes[after - 1])
        eye = torch.eye(len(nodes), dtype=torch.float64, device=wavelength.device)
        return (1 - share)[:, None] * eye[after - 1] + share[:, None] * eye[after]


class MappedLens(LensWith):
    """A sampled wavefront at each field point, resampled by cubic convolution.

    Parameters
    ----------
    base : Lens
        Ideal lens with the focal length of the measured one.
    spacing : float
        Distance of neighbouring samples of the maps in the pupil [m].
    fields : FieldLayout
        The F field points of the maps.
    maps : Tensor
        (F, H, W) `opd`, y down the rows, centred on the pupil; NaN where nothing was measured [m].
        There they are continued, so that the rim of the stop is not cut by the last sample.

    References
    ----------
    R. G. Keys, IEEE Trans. Acoust. Speech Signal Process. 29, 1153 (1981); its error is of
    third order in the spacing.
    """

    maps: Tensor

    def __init__(self, base: Lens, *, spacing: float, fields: FieldLayout, maps: Tensor) -> None:
        super().__init__(base)
        self.spacing = check_length("spacing", spacing)
        self.fields = fields
        if maps.ndim != 3 or len(maps) != fields.count:
            raise ValueError(
                f"maps are {tuple(maps.shape)}, expected (F, H, W) with F = {fields.count} field "
                f"points"
            )
        filled = torch.stack([continued(plane) for plane in maps.to("cpu", torch.float64)])
        self.register_buffer("maps", filled.to(maps.device))

    def added_opd(
        self, y: Tensor, x: Tensor, wavelength: Tensor, field: tuple[float, float]
    ) -> Tensor:
        weights = self.fields.weights(field).to(y.device)
        plane = torch.einsum("f,fhw->hw", weights, self.maps.to(y))
        turn = self.fields.turn(field)
        rows, columns = y, x
        if turn != 0:
            rows = y * math.cos(turn) - x * math.sin(turn)
            columns = x * math.cos(turn) + y * math.sin(turn)
        height, width = plane.shape
        rows = rows / self.spacing + (height - 1) / 2
        columns = columns / self.spacing + (width - 1) / 2
        if turn == 0:
            down, across = _resampling(rows[:, 0], height), _resampling(columns[0], width)
            return (down @ plane @ across.mT)[None]
        return _cubic(plane, rows, columns)[None]


def _resampling(places: Tensor, count: int) -> Tensor:
    """Matrix (P, count) from samples to fractional `places` (P,); the edge is held beyond it."""
    eye = torch.eye(count, dtype=places.dtype, device=places.device)
    first = places.floor()
    out = torch.zeros(len(places), count, dtype=places.dtype, device=places.device)
    for i, weight in enumerate(_keys(places - first)):
        out = out + weight[:, None] * eye[(first.long() + i - 1).clamp(0, count - 1)]
    return out


def _cubic(plane: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Values of `plane` (H, W) at fractional positions; beyond its edge the edge is held."""
    height, width = plane.shape
    top, left = rows.floor(), columns.floor()
    down, right = _keys(rows - top), _keys(columns - left)
    out = plane.new_zeros((rows + columns).shape)
    for i, by_row in enumerate(down):
        row = (top.long() + i - 1).clamp(0, height - 1)
        for j, by_column in enumerate(right):
            column = (left.long() + j - 1).clamp(0, width - 1)
            out = out + by_row * by_column * plane[row, column]
    return out


def _keys(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of the samples at -1, 0, 1, 2 for a point at `t` in [0, 1)."""
    return (
        t * (t * (1 - t / 2) - 1 / 2),
        1 + t.square() * (3 * t / 2 - 5 / 2),
        t * (t * (2 - 3 * t / 2) + 1 / 2),
        t.square() * (t - 1) / 2,
    )


def continued(plane: Tensor) -> Tensor:
    """Map (H, W) whose NaN are replaced by a smooth continuation of the values.

    Zernike modes are fitted to the values and continued; what they leave of the nearest value is
    added. At least one value must be finite.
    """
    known = plane.isfinite()
    if bool(known.all()):
        return plane
    if not bool(known.any()):
        raise ValueError("a map has no finite value: nothing was measured there")
    y, x = (coordinates(n, 1.0)[known.any(1 - axis)] for axis, n in enumerate(plane.shape))
    edge = max(float(y.abs().max()), float(x.abs().max()), 1.0)
    down, across = torch.meshgrid(*(coordinates(n, 1 / edge) for n in plane.shape), indexing="ij")
    # far from the values the polynomials would run away: they stay as they are at 1.3 radii
    held = (1.3 / torch.hypot(down, across).clamp(min=1e-9)).clamp(max=1)
    modes = min(36, int(known.sum()) // 4 + 1)
    eye = torch.eye(modes, dtype=torch.float64)
    basis = zernike_at(eye, down * held, across * held)
    fit = torch.linalg.lstsq(basis[:, known].T, plane[known][:, None]).solution[:, 0]
    smooth = torch.einsum("j,jhw->hw", fit, basis)
    rest = torch.where(known, plane - smooth, 0.0)
    near = distance_transform_edt(~known.numpy(), return_distances=False, return_indices=True)
    index = torch.from_numpy(near).long()
    return torch.where(known, plane, smooth + rest[index[0], index[1]])


def _check_finite(name: str, values: Tensor) -> None:
    worst = float(values.abs().max()) if values.numel() else 0.0
    if not worst < 1e-2:
        raise ValueError(
            f"{name} reach {worst:g} m: wavefronts are given in metres and stay under 1 cm; "
            f"convert waves by the wavelength of the table"
        )
