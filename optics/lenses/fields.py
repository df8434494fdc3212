"""Where the field points of a table lie, and how values between them are weighted.

A field point is (y, x), the tangents of its chief ray in the orientation of the image. The
weights are linear between neighbours and sum to 1; at a field point of the table that point
alone counts.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.spatial import Delaunay, QhullError
from torch import Tensor

_SLACK = 1e-6  # files round tangents and degrees


class FieldLayout(ABC):
    """Field points of a table."""

    count: int

    @abstractmethod
    def weights(self, field: tuple[float, float]) -> Tensor:
        """Weight of each field point of the table, float64 (count,)."""

    def turn(self, field: tuple[float, float]) -> float:
        """Angle from +x towards +y by which the wavefront of the table is turned [rad]."""
        return 0.0


class FieldGrid(FieldLayout):
    """Field points on a rectangular grid, rows first: bilinear.

    Parameters
    ----------
    y, x : sequence of float
        Tangents of rows and columns, ascending; the table has len(y) * len(x) points.
    """

    def __init__(self, y: Sequence[float], x: Sequence[float]) -> None:
        self.y, self.x = _ascending("y", y), _ascending("x", x)
        self.count = len(self.y) * len(self.x)

    def weights(self, field: tuple[float, float]) -> Tensor:
        rows = _between(self.y, field[0], f"field y = {field[0]:g}")
        columns = _between(self.x, field[1], f"field x = {field[1]:g}")
        return torch.outer(rows, columns).flatten()


class FieldRadius(FieldLayout):
    """Field points along one radius of a lens with rotational symmetry: linear, and turned.

    Parameters
    ----------
    radii : sequence of float
        Tangents of the chief rays, ascending from 0.
    azimuth : float, default 0.0
        Direction of the radius, from +x (columns) towards +y (down the rows) [rad].
    """

    def __init__(self, radii: Sequence[float], *, azimuth: float = 0.0) -> None:
        self.radii = _ascending("radii", radii)
        if abs(self.radii[0]) > _SLACK:
            raise ValueError(
                f"radii start at {self.radii[0]:g}: a table along a radius needs the wavefront "
                f"on the axis; add it"
            )
        self.azimuth = azimuth
        self.count = len(self.radii)

    def weights(self, field: tuple[float, float]) -> Tensor:
        radius = math.hypot(*field)
        return _between(self.radii, radius, f"field radius = {radius:g}")

    def turn(self, field: tuple[float, float]) -> float:
        if math.hypot(*field) == 0:
            return 0.0
        return math.atan2(field[0], field[1]) - self.azimuth


class FieldPoints(FieldLayout):
    """Scattered field points: linear over the triangles between them (Delaunay).

    Parameters
    ----------
    points : sequence of tuple of float
        Tangents (y, x), at least three that are not on one line.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.points = np.asarray(points, dtype=float).reshape(-1, 2)
        self.count = len(self.points)
        try:
            self._triangles = Delaunay(self.points)
        except (QhullError, ValueError) as error:
            raise ValueError(
                f"the {self.count} field points span no area: give at least three that are not "
                f"on one line, or use FieldRadius for a lens with rotational symmetry"
            ) from error
        if len(np.unique(self._triangles.simplices)) != self.count:
            raise ValueError("two field points of the table coincide; remove one of them")

    def weights(self, field: tuple[float, float]) -> Tensor:
        point = np.asarray(field, dtype=float)
        # a point on the hull may fall outside by rounding: take the triangle it is least outside
        transform = self._triangles.transform
        first = np.einsum("tij,tj->ti", transform[:, :2], point - transform[:, 2])
        shares = np.concatenate([first, 1 - first.sum(1, keepdims=True)], axis=1)
        best = int(np.nan_to_num(shares.min(1), nan=-np.inf).argmax())
        if shares[best].min() < -_SLACK:
            low, high = self.points.min(0), self.points.max(0)
            raise ValueError(
                f"field = ({field[0]:g}, {field[1]:g}) lies outside the table, whose points span "
                f"y = {low[0]:g} to {high[0]:g}, x = {low[1]:g} to {high[1]:g}: the wavefront of "
                f"the lens is not known there; export more field points or use a smaller field"
            )
        inside = shares[best].clip(min=0)
        weights = torch.zeros(self.count, dtype=torch.float64)
        weights[self._triangles.simplices[best]] = torch.from_numpy(inside / inside.sum())
        return weights


def _ascending(name: str, values: Sequence[float]) -> tuple[float, ...]:
    out = tuple(float(value) for value in values)
    if not out or not all(math.isfinite(value) for value in out):
        raise ValueError(f"{name} = {out}: at least one finite tangent is needed")
    if any(after <= before for before, after in pairwise(out)):
        raise ValueError(f"{name} = {out}: tangents must ascend, each once")
    return out


def _between(nodes: tuple[float, ...], value: float, name: str) -> Tensor:
    """Weights of linear interpolation at `value`, (len(nodes),)."""
    low, high = nodes[0], nodes[-1]
    if not low - _SLACK <= value <= high + _SLACK:
        raise ValueError(
            f"{name} lies outside the table, {low:g} to {high:g} (tangents of the chief ray): the "
            f"wavefront of the lens is not known there; export more field points or use a "
            f"smaller field"
        )
    weights = torch.zeros(len(nodes), dtype=torch.float64)
    after = min(max(int(np.searchsorted(nodes, value)), 1), len(nodes) - 1)
    if len(nodes) == 1:
        weights[0] = 1.0
        return weights
    share = (value - nodes[after - 1]) / (nodes[after] - nodes[after - 1])
    share = min(max(share, 0.0), 1.0)
    weights[after - 1], weights[after] = 1 - share, share
    return weights
