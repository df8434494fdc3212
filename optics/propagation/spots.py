"""From a height map to intensities on the sensor, with gradients worked out by hand.

What are kept for the gradient are the fields on the sensor, and where they are few those in the
pupil, which are made again otherwise.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from optics.propagation.lines import Workspace
from optics.propagation.planes import Transform, send

#: Most memory for fields in the pupil that wait for the gradient [bytes].
KEPT = 32 * 2**20


class Pupil:
    """Pupil field a exp(i phase), some wavelengths at a time, in one place of memory.

    With `bent`, a transform of one distance, its curvature is part of the phase.
    """

    def __init__(
        self, height: Tensor, amplitude: Tensor, rates: Tensor, bent: Transform | None = None
    ) -> None:
        self.height = height.to(torch.float64)
        self.amplitude, self.rates, self.bent = amplitude, rates, bent
        self.dtype = amplitude.dtype.to_real() if amplitude.is_complex() else amplitude.dtype
        self.work = Workspace()

    def unit(self, w: slice) -> Tensor:
        """exp(i phase) (W, H, N)."""
        angle = self._angle(w)
        return torch.complex(torch.cos(angle), angle.sin_())

    def at(self, w: slice) -> Tensor:
        """Pupil field (W, H, N)."""
        return self.unit(w) * (self.amplitude[w] if len(self.amplitude) > 1 else self.amplitude)

    def parts(self, w: int, out: Tensor) -> Tensor:
        """Write the real and imaginary part of the pupil field into `out` (2, H, N)."""
        angle = self._angle(slice(w, w + 1))[0]
        torch.cos(angle, out=out[0])
        torch.sin(angle, out=out[1])
        amplitude = self.amplitude[w if len(self.amplitude) > 1 else 0]
        if not amplitude.is_complex():
            return out.mul_(amplitude)
        field = torch.complex(out[0], out[1]).mul_(amplitude)
        return out.copy_(torch.stack([field.real, field.imag]))

    def _angle(self, w: slice) -> Tensor:
        """Phase (W, H, N) [rad], reduced to one turn in float64."""
        rates = self.rates[w, None, None]
        shape = torch.Size((len(rates), *self.height.shape))
        turns = self.work.zeros("turns", shape, self.height)
        torch.mul(rates, self.height, out=turns)
        if self.bent is not None:
            for line, axis in ((self.bent.rows, -2), (self.bent.columns, -1)):
                bends = torch.tensor(line.bends[0][w], dtype=torch.float64)
                if bends.any():
                    turns.add_((bends[:, None] * line.inputs() ** 2).unsqueeze(axis))
        return turns.frac_().to(self.dtype).mul_(2 * math.pi)


class _ReliefSpots(torch.autograd.Function):
    r"""Height (H, N) and amplitude (1 or W, H, N) -> intensity (D, W, P, Q).

    With :math:`p = a e^{i \varphi}`, :math:`u = T p` and the gradient g of the intensity, the
    gradient of the phase is :math:`2 \Im(p^* \, T^\dagger(g u))`.
    """

    @staticmethod
    def forward(
        height: Tensor, amplitude: Tensor, rates: Tensor, transform: Transform
    ) -> tuple[Tensor, Tensor, Tensor]:
        bound = transform.bind(amplitude)
        pupil = Pupil(height, amplitude, rates)
        shape = (*transform.counts, transform.columns.points, transform.rows.points)
        field = torch.empty(shape, dtype=pupil.dtype.to_complex(), device=amplitude.device)
        for w, parts in transform.chunks(amplitude):
            plane = pupil.at(w)  # one phasor serves all distances
            for d in parts:
                torch.mul(bound.forward(plane, d, w), bound.scale[w], out=field[d, w])
        return field.real.square() + field.imag.square(), field, field.new_empty(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        height, amplitude, rates, transform = inputs
        ctx.transform = transform
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(height, amplitude, rates, *output[1:])
        ctx.save_for_forward(height, amplitude, rates, output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        height, amplitude, rates, field, _ = ctx.saved_tensors
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
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, None, None]:
        height, amplitude, rates, field = ctx.saved_tensors
        step = torch.zeros_like(field)
        pupil, every = Pupil(height, amplitude, rates), slice(None)
        if tangents[0] is not None:
            angle = (2 * math.pi * rates)[:, None, None] * tangents[0]
            turned = pupil.at(every) * torch.complex(torch.zeros_like(angle), angle).to(field.dtype)
            step = step + send(turned, ctx.transform)
        if tangents[1] is not None:
            step = step + send(pupil.unit(every) * tangents[1], ctx.transform)
        return 2 * (field.real * step.real + field.imag * step.imag), None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        rows = [
            _outputs(
                *(
                    value if dim is None else value.select(dim, i)
                    for value, dim in zip(inputs, in_dims, strict=True)
                )
            )
            for i in range(info.batch_size)
        ]
        return tuple(torch.stack(t) for t in zip(*rows, strict=True)), (0, 0, 0)


class _FoldedSpots(_ReliefSpots):
    """The same by real matrices."""

    @staticmethod
    def forward(
        height: Tensor, amplitude: Tensor, rates: Tensor, transform: Transform
    ) -> tuple[Tensor, Tensor, Tensor]:
        fold = transform.folded(amplitude)
        alone = transform.counts[0] == 1
        pupil = Pupil(height, amplitude, rates, bent=transform if alone else None)
        points = (transform.columns.points, transform.rows.points)
        field = amplitude.new_empty((2, *transform.counts, *points), dtype=pupil.dtype)
        keep = 2 * height.numel() * len(rates) * field.element_size() <= KEPT
        planes = field.new_empty((len(rates) if keep else 1, 2, *height.shape))
        for w, scale in enumerate(transform.scale):
            parts = pupil.parts(w, planes[w if keep else 0])
            bends = transform.half_bends(w, pupil.dtype)
            fields = [fold.forward(parts, w)] if alone else fold.spread(parts, w, bends)
            for d, plane in enumerate(fields):
                torch.mul(plane, scale, out=field[:, d, w])
        kept = planes if keep else planes.new_empty(0)
        return field.square().sum(0), torch.complex(field[0], field[1]), kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        height, amplitude, rates, field, kept = ctx.saved_tensors
        transform: Transform = ctx.transform
        fold = transform.folded(amplitude)
        alone = transform.counts[0] == 1
        pupil = Pupil(height, amplitude, rates, bent=transform if alone else None)
        again = kept if len(kept) else kept.new_empty((2, *height.shape))
        to_height = torch.zeros_like(height) if ctx.needs_input_grad[0] else None
        to_amplitude = torch.zeros_like(amplitude) if ctx.needs_input_grad[1] else None
        for w, (scale, rate) in enumerate(zip(transform.scale, rates.tolist(), strict=True)):
            given = torch.view_as_real(grads[0][:, w] * scale * field[:, w]).movedim(-1, 1)
            if alone:
                back = fold.adjoint(given[0], w)
            else:
                back = fold.gather(given, w, transform.half_bends(w, pupil.dtype))
            if to_amplitude is not None:
                unit = pupil.unit(slice(w, w + 1))[0]
                slope = 2 * torch.complex(back[0], back[1]) * unit.conj()
                into = to_amplitude[w if len(amplitude) > 1 else 0]
                into += slope if amplitude.is_complex() else slope.real
            if to_height is not None:
                real, imag = kept[w] if len(kept) else pupil.parts(w, again)
                turning = back[1].mul_(real).addcmul_(back[0], imag, value=-1)
                to_height.add_(turning, alpha=4 * math.pi * rate)
        return to_height, to_amplitude, None, None


def spots(height: Tensor, amplitude: Tensor, rates: Tensor, transform: Transform) -> Tensor:
    """Intensity (D, W, P, Q) behind a height (H, N) and an amplitude (1 or W, H, N)."""
    return _outputs(height, amplitude, rates, transform)[0]


def _outputs(
    height: Tensor, amplitude: Tensor, rates: Tensor, transform: Transform
) -> tuple[Tensor, Tensor, Tensor]:
    kind = _FoldedSpots if transform.folds(amplitude) else _ReliefSpots
    out: tuple[Tensor, Tensor, Tensor] = kind.apply(height, amplitude, rates, transform)  # type: ignore[no-untyped-call]
    return out
