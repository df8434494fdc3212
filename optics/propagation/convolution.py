"""Linear convolution of fields with a kernel given by its spectrum, and its adjoint by hand."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

#: Memory for the padded planes in work on an accelerator [bytes]; a CPU takes one at a time.
AT_ONCE = 512 * 2**20


class _Convolve(torch.autograd.Function):
    """Fields (..., W, H, N) through even kernels (W, P, Q); linear, so its own tangent.

    The adjoint needs no conjugated kernel: with F the unscaled transform,
    F^-1 K* F g = (F K F^-1 g*)*.
    """

    @staticmethod
    def forward(field: Tensor, kernel: Tensor, adjoint: bool) -> Tensor:
        out = torch.empty(field.shape, dtype=field.dtype, device=field.device)
        rows, columns = field.shape[-2:]
        size = (kernel.shape[-2], kernel.shape[-1])
        planes, results = (t.reshape(-1, *field.shape[-3:]) for t in (field, out))
        for w, some in _chunks(planes, kernel):
            given = planes[some, w]
            # unscaled transforms only, the scale is in the kernel: a scaled one of 2048 x 2048
            # is wrong in some builds of torch
            if adjoint:
                spectrum = torch.fft.ifft2(given.conj(), s=size, norm="forward").mul_(kernel[w])
                full = torch.fft.fft2(spectrum)[..., :rows, :columns]
                torch.conj_physical(full, out=results[some, w])
            else:
                spectrum = torch.fft.fft2(given, s=size).mul_(kernel[w])
                full = torch.fft.ifft2(spectrum, norm="forward")[..., :rows, :columns]
                results[some, w] = full
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        ctx.adjoint = inputs[2]
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _apply(grads[0], ctx.saved_tensors[0], not ctx.adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _apply(tangents[0], ctx.saved_tensors[0], ctx.adjoint)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None, None], *inputs: Any) -> Any:
        field, kernel, adjoint = inputs
        return _apply(field.movedim(in_dims[0], 0), kernel, adjoint), 0


def _chunks(planes: Tensor, kernel: Tensor) -> Iterator[tuple[int, slice]]:
    """Wavelength by wavelength, as many planes at once as the memory allows."""
    at_once = 1
    if planes.device.type != "cpu":
        at_once = max(1, AT_ONCE // (kernel[0].numel() * kernel.itemsize * 2))
    for w in range(planes.shape[1]):
        for b in range(0, len(planes), at_once):
            yield w, slice(b, b + at_once)


def _apply(field: Tensor, kernel: Tensor, adjoint: bool) -> Tensor:
    out: Tensor = _Convolve.apply(field, kernel, adjoint)  # type: ignore[no-untyped-call]
    return out


def convolve(field: Tensor, kernel: Tensor) -> Tensor:
    """Pad, transform, multiply, transform back, crop; the gradient keeps nothing but the kernel.

    Parameters
    ----------
    field : Tensor
        Complex (..., W or 1, H, N).
    kernel : Tensor
        Complex (W, P, Q) of the same precision, `torch.fft` order, **already divided by P Q**;
        P >= H, Q >= N. Constant: it gets no gradient.

    Returns
    -------
    Tensor
        Complex (..., W, H, N).
    """
    if field.dtype != kernel.dtype:
        raise TypeError(
            f"field is {field.dtype} and the kernel {kernel.dtype}: pass dtype={field.dtype} where "
            f"the kernel is made, or convert the field"
        )
    if field.shape[-3] != len(kernel):
        field = field.expand(*field.shape[:-3], len(kernel), *field.shape[-2:])
    return _apply(field, kernel.detach(), False)
