"""Whole planes from pupil to sensor and back: the work behind `optics.propagation.focal`.

The transform of a geometry, its adjoint, and the functions that carry the gradients: they keep
the fields on the sensor and make the pupil fields again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from optics.propagation.lines import LineGeometry, Lines, Workspace, cheaper, line_transform

#: Memory for planes in work on an accelerator [bytes]; a CPU does best with one at a time.
BUDGET = 256 * 2**20


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


class Pupil:
    """Pupil field a exp(i phase), some wavelengths at a time, in one place of memory."""

    def __init__(self, height: Tensor, amplitude: Tensor, rates: Tensor) -> None:
        self.height = height.to(torch.float64)
        self.amplitude, self.rates = amplitude, rates
        self.dtype = amplitude.dtype.to_real() if amplitude.is_complex() else amplitude.dtype
        self.work = Workspace()

    def unit(self, w: slice) -> Tensor:
        """exp(i phase) (W, H, N); the phase is reduced to one turn in float64."""
        rates = self.rates[w, None, None]
        shape = torch.Size((len(rates), *self.height.shape))
        turns, whole = (self.work.zeros(n, shape, self.height) for n in ("turns", "whole"))
        torch.mul(rates, self.height, out=turns)
        turns.sub_(torch.round(turns, out=whole))
        angle = torch.mul(turns, 2 * math.pi, out=turns).to(self.dtype)
        return torch.complex(torch.cos(angle), angle.sin_())

    def at(self, w: slice) -> Tensor:
        """Pupil field (W, H, N)."""
        return self.unit(w) * (self.amplitude[w] if len(self.amplitude) > 1 else self.amplitude)


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


class _ReliefSpots(torch.autograd.Function):
    r"""Height (H, N) and amplitude (1 or W, H, N) -> intensity (D, W, P, Q).

    With :math:`p = a e^{i \varphi}`, :math:`u = T p` and the gradient g of the intensity, the
    gradient of the phase is :math:`2 \Im(p^* \, T^\dagger(g u))`.
    """

    @staticmethod
    def forward(
        height: Tensor, amplitude: Tensor, rates: Tensor, transform: Transform
    ) -> tuple[Tensor, Tensor]:
        bound = transform.bind(amplitude)
        pupil = Pupil(height, amplitude, rates)
        shape = (*transform.counts, transform.columns.points, transform.rows.points)
        field = torch.empty(shape, dtype=pupil.dtype.to_complex(), device=amplitude.device)
        for w, parts in transform.chunks(amplitude):
            plane = pupil.at(w)  # one phasor serves all distances
            for d in parts:
                torch.mul(bound.forward(plane, d, w), bound.scale[w], out=field[d, w])
        return field.real.square() + field.imag.square(), field

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        height, amplitude, rates, transform = inputs
        ctx.transform = transform
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(height, amplitude, rates, output[1])
        ctx.save_for_forward(height, amplitude, rates, output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        height, amplitude, rates, field = ctx.saved_tensors
        transform: Transform = ctx.transform
        bound = transform.bind(amplitude)
        pupil = Pupil(height, amplitude, rates)
        to_height = torch.zeros_like(height) if ctx.needs_input_grad[0] else None
        to_amplitude = torch.zeros_like(amplitude) if ctx.needs_input_grad[1] else None
        given = grads[0] * field
        for w, parts in transform.chunks(amplitude):
            back = bound.total_adjoint(given, w, parts)
            if to_amplitude is not None:
                slope = 2 * back * pupil.unit(w).conj()
                slope = slope if amplitude.is_complex() else slope.real
                if len(amplitude) > 1:
                    to_amplitude[w] = slope
                else:
                    to_amplitude += slope.sum(0, keepdim=True)
            if to_height is not None:
                slope = back.mul_(pupil.at(w).conj()).imag
                for plane, rate in zip(slope, rates[w].tolist(), strict=True):
                    to_height.add_(plane, alpha=4 * math.pi * rate)
        return to_height, to_amplitude, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, None]:
        height, amplitude, rates, field = ctx.saved_tensors
        step = torch.zeros_like(field)
        pupil, every = Pupil(height, amplitude, rates), slice(None)
        if tangents[0] is not None:
            angle = (2 * math.pi * rates)[:, None, None] * tangents[0]
            turned = pupil.at(every) * torch.complex(torch.zeros_like(angle), angle).to(field.dtype)
            step = step + send(turned, ctx.transform)
        if tangents[1] is not None:
            step = step + send(pupil.unit(every) * tangents[1], ctx.transform)
        return 2 * (field.real * step.real + field.imag * step.imag), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        rows = [
            spots(
                *(
                    value if dim is None else value.select(dim, i)
                    for value, dim in zip(inputs, in_dims, strict=True)
                )
            )
            for i in range(info.batch_size)
        ]
        intensity, field = (torch.stack(t) for t in zip(*rows, strict=True))
        return (intensity, field), (0, 0)


def spots(
    height: Tensor, amplitude: Tensor, rates: Tensor, transform: Transform
) -> tuple[Tensor, Tensor]:
    """Intensity and field (D, W, P, Q) behind a height (H, N) and an amplitude (1 or W, H, N)."""
    out: tuple[Tensor, Tensor] = _ReliefSpots.apply(  # type: ignore[no-untyped-call]
        height, amplitude, rates, transform
    )
    return out
