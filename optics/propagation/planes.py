"""Whole planes from pupil to sensor and back: the transform of a geometry and its adjoint."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from optics.propagation.folded import Bends, FoldedTransform, folded_transform, half_bend
from optics.propagation.lines import LineGeometry, Lines, Workspace, cheaper, line_transform

#: Memory for planes in work on an accelerator [bytes]; a CPU does best with one at a time.
BUDGET = 256 * 2**20
#: Most points along a side at which real matrices are faster than chirps, on a CPU: for one
#: distance, whose bend is part of the phase in the pupil, and for several.
FOLDED, FOLDED_STACK = 512, 256


@dataclass(frozen=True)
class Transform:
    """The two-dimensional transform of one geometry, plane by plane."""

    rows: LineGeometry
    columns: LineGeometry
    method: str
    scale: tuple[float, ...]

    def bind(self, like: Tensor) -> "Bound":
        """Vectors and work space for fields like `like`."""
        dtype = like.dtype if like.dtype.is_complex else like.dtype.to_complex()
        x, y = self.rows, self.columns
        along_x, along_y = self.method, self.method
        if self.method == "auto":
            along_x = cheaper(y.samples, x.samples, x.points)
            along_y = cheaper(x.points, y.samples, y.points)
        scale = torch.tensor(self.scale, dtype=dtype.to_real(), device=like.device)
        return Bound(
            self,
            line_transform(x, along_x, like.device, dtype),
            line_transform(y, along_y, like.device, dtype),
            scale[:, None, None],
            Workspace(),
        )

    def folds(self, like: Tensor) -> bool:
        """Whether real matrices can be used for planes like `like`, and are the faster way."""
        x, y = self.rows, self.columns
        if like.device.type != "cpu" or x.shift or y.shift:
            return False
        if self.method == "auto":
            most = FOLDED if self.counts[0] == 1 else FOLDED_STACK
            return max(x.points, y.points) <= most
        return self.method == "matrix"

    def folded(self, like: Tensor) -> FoldedTransform:
        """Real matrices for planes like `like`, the same for every distance; without bends."""
        x, y = (replace(line, bends=()) for line in (self.rows, self.columns))
        return folded_transform(x, y, like.dtype.to_real() if like.is_complex() else like.dtype)

    def half_bends(self, w: int, dtype: torch.dtype) -> list[Bends]:
        """Return what bends one half of a line along x and along y, at each distance."""
        return [
            (half_bend(self.rows, d, w, dtype), half_bend(self.columns, d, w, dtype))
            for d in range(self.counts[0])
        ]

    @property
    def counts(self) -> tuple[int, int]:
        """Distances and wavelengths."""
        return len(self.rows.bends), len(self.scale)

    def chunks(self, like: Tensor) -> Iterator[tuple[slice, list[slice]]]:
        """Wavelengths worked on together, and the parts of the distances for each of them."""
        depths, waves = self.counts
        at_once = 1
        if like.device.type != "cpu":
            plane = self.columns.samples * (self.rows.samples + self.rows.points) * 16
            at_once = max(1, BUDGET // plane)
        deep, wide = min(depths, at_once), max(1, at_once // depths)
        parts = [slice(d, min(d + deep, depths)) for d in range(0, depths, deep)]
        for w in range(0, waves, wide):
            yield slice(w, min(w + wide, waves)), parts


@dataclass(frozen=True)
class Bound:
    """A transform with its vectors on one device."""

    transform: Transform
    along_x: Lines
    along_y: Lines
    scale: Tensor
    work: Workspace

    def forward(self, pupil: Tensor, d: slice, w: slice) -> Tensor:
        """(..., 1 or D, W, H, N) -> (..., D, W, P, Q), not yet scaled."""
        field = self.along_x.forward(pupil, d, w, self.work)
        return self.along_y.forward(field.mT, d, w, self.work).mT

    def adjoint(self, field: Tensor, d: slice, w: slice) -> Tensor:
        """(..., D, W, P, Q) -> (..., D, W, H, N), not yet scaled."""
        back = self.along_y.adjoint(field.mT, d, w, self.work).mT
        return self.along_x.adjoint(back, d, w, self.work)

    def total_adjoint(self, field: Tensor, w: slice, parts: list[slice]) -> Tensor:
        """(..., D, W, P, Q) of all distances -> (..., W, H, N) for some wavelengths, scaled."""
        total: Tensor | None = None
        for d in parts:
            back = self.adjoint(field[..., d, w, :, :] * self.scale[w], d, w)
            back = back.squeeze(-4) if back.shape[-4] == 1 else back.sum(-4)
            total = back if total is None else total.add_(back)
        if total is None:
            raise ValueError("no distances")
        return total


class _Carry(torch.autograd.Function):
    """A transform or its adjoint; linear, so its own tangent, and each the other's gradient."""

    @staticmethod
    def forward(values: Tensor, transform: Transform, back: bool) -> Tensor:
        return (_carry_back if back else _carry)(values, transform)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Transform, bool], output: Tensor) -> None:
        _, ctx.transform, ctx.back = inputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _Carry.apply(grads[0], ctx.transform, not ctx.back), None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        out: Tensor = _Carry.apply(tangents[0], ctx.transform, ctx.back)  # type: ignore[no-untyped-call]
        return out

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, None, None], values: Tensor, transform: Transform, back: bool
    ) -> Any:
        return _Carry.apply(values.movedim(in_dims[0], 0), transform, back), 0  # type: ignore[no-untyped-call]


def _carry(pupil: Tensor, transform: Transform) -> Tensor:
    """Pupil (..., W, H, N) -> field (..., D, W, P, Q)."""
    depths, waves = transform.counts
    points = (transform.columns.points, transform.rows.points)
    out = pupil.new_empty((*pupil.shape[:-3], depths, waves, *points))
    bound = transform.bind(pupil)
    for w, parts in transform.chunks(pupil):
        plane = pupil[..., None, w, :, :]
        for d in parts:
            torch.mul(bound.forward(plane, d, w), bound.scale[w], out=out[..., d, w, :, :])
    return out


def _carry_back(field: Tensor, transform: Transform) -> Tensor:
    """Field (..., D, W, P, Q) -> pupil (..., W, H, N)."""
    waves = transform.counts[1]
    samples = (transform.columns.samples, transform.rows.samples)
    out = field.new_empty((*field.shape[:-4], waves, *samples))
    bound = transform.bind(field)
    for w, parts in transform.chunks(field):
        out[..., w, :, :] = bound.total_adjoint(field, w, parts)
    return out


def send(pupil: Tensor, transform: Transform) -> Tensor:
    """Field (..., D, W, P, Q) behind pupil fields (..., W, H, N)."""
    out: Tensor = _Carry.apply(pupil, transform, False)  # type: ignore[no-untyped-call]
    return out
