"""How alike two PSFs are, wherever they lie: registration to a fraction of a pixel."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from optics.propagation import cis
from optics.units import check_count


@dataclass(frozen=True)
class Registration:
    """What remains between a PSF and its reference after the best shift.

    Attributes
    ----------
    shift : Tensor
        (..., 2): rows and columns by which the PSF lies beyond the reference, in pixels.
    correlation : Tensor
        (...): normalised correlation after the shift, 1 for equal shapes whatever their energy.
    difference : Tensor
        (...): relative L2 distance after the shift, energy included.
    """

    shift: Tensor
    correlation: Tensor
    difference: Tensor


def register(psf: Tensor, reference: Tensor, *, upsampling: int = 20) -> Registration:
    r"""Find the shift at which a PSF is most like its reference.

    The cross-correlation :math:`C(s) = \Re \sum_f P(f) R^*(f) e^{2 \pi i f s}` is searched on
    whole pixels by FFT, then around its peak on a finer grid by a matrix Fourier transform, then
    by Newton steps to its maximum.

    Parameters
    ----------
    psf, reference : Tensor
        (..., H, W) of one size, sampled finely enough to be interpolated (MTF near zero at half
        a cycle per pixel); zero is assumed outside.
    upsampling : int
        Steps per pixel of the finer grid. The Newton steps make the rest; it has only to find
        the right hill.

    Returns
    -------
    Registration
        All differentiable, the shift as the implicit function of the maximum.

    References
    ----------
    M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, "Efficient subpixel image registration
    algorithms", Opt. Lett. 33, 156 (2008).
    """
    check_count("upsampling", upsampling)
    if psf.shape != reference.shape or psf.ndim < 2:
        raise ValueError(
            f"psf is {tuple(psf.shape)} and reference {tuple(reference.shape)}: the same "
            f"(..., H, W) is needed; crop or pad one of them"
        )
    height, width = psf.shape[-2:]
    # odd and at least twice as large: no wrapping, and no Nyquist sample of unknown sign
    size = (2 * height + 1, 2 * width + 1)
    pair = [torch.fft.fft2(image, s=size) for image in (psf, reference)]
    spectra = [spectrum.reshape(-1, *size) for spectrum in pair]
    given, wanted = spectra
    norms = [s.abs().square().sum((-2, -1)) for s in spectra]
    if not all(bool((norm > 0).all()) for norm in norms):
        raise ValueError("psf or reference is zero everywhere: there is nothing to register")
    # dividing by the norms makes the correlation and its slopes numbers of order one
    cross = given * wanted.conj() / (norms[0] * norms[1]).sqrt()[:, None, None]
    frequency = [
        torch.fft.fftfreq(n, dtype=torch.float64, device=psf.device).to(psf.dtype) for n in size
    ]
    with torch.no_grad():
        start = _search(cross.detach(), frequency, upsampling)
        for _ in range(4):
            slope, curvature = _slopes(cross.detach(), frequency, start)
            start = start - _solve(curvature, slope)
    # one more step carries the gradient and leaves the value
    slope, curvature = _slopes(cross, frequency, start)
    shift = start - _solve(curvature.detach(), slope)
    phasor = _ramps(frequency, shift)
    correlation = (cross * phasor).real.sum((-2, -1))
    # the difference itself, not norms minus twice the correlation, which would cancel
    rest = (given * phasor - wanted).abs().square().sum((-2, -1)) / norms[1]
    lead = psf.shape[:-2]
    return Registration(
        shift=shift.reshape(*lead, 2),
        correlation=correlation.reshape(lead),
        difference=_root(rest).reshape(lead),
    )


def _search(cross: Tensor, frequency: list[Tensor], upsampling: int) -> Tensor:
    """Shift (B, 2) of the highest sample, first on whole pixels, then `upsampling` times finer."""
    size = cross.shape[-2:]
    whole = torch.fft.ifft2(cross, norm="forward").real.flatten(1).argmax(1)
    places = torch.stack([whole // size[1], whole % size[1]], 1)
    half = torch.tensor(size, device=cross.device) // 2
    extent = torch.tensor(size, device=cross.device)
    coarse = ((places + half) % extent - half).to(cross.real.dtype)
    steps = torch.arange(-upsampling, upsampling + 1, device=cross.device) / upsampling
    rows, columns = (
        cis(2 * math.pi * (coarse[:, k, None] + steps.to(coarse))[:, :, None] * frequency[k])
        for k in (0, 1)
    )
    fine = (rows @ cross @ columns.transpose(-1, -2)).real.flatten(1).argmax(1)
    count = len(steps)
    offset = torch.stack([steps[fine // count], steps[fine % count]], 1)
    return coarse + offset.to(coarse)


def _ramps(frequency: list[Tensor], shift: Tensor) -> Tensor:
    """Phase ramps exp(2 pi i f s) of shifts (B, 2): (B, P, Q)."""
    rows, columns = (cis(2 * math.pi * shift[:, k, None] * frequency[k]) for k in (0, 1))
    return rows[:, :, None] * columns[:, None, :]


def _slopes(cross: Tensor, frequency: list[Tensor], shift: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient (B, 2) and matrix of second derivatives (B, 2, 2) of the correlation at `shift`."""
    turned = cross * _ramps(frequency, shift)
    fy, fx = (2 * math.pi * f for f in frequency)
    along_y, along_x = turned.sum(-1), turned.sum(-2)
    slope = -torch.stack([(along_y.imag * fy).sum(-1), (along_x.imag * fx).sum(-1)], -1)
    yy = (along_y.real * fy**2).sum(-1)
    xx = (along_x.real * fx**2).sum(-1)
    yx = torch.einsum("bpq,p,q->b", turned.real, fy, fx)
    curvature = -torch.stack([torch.stack([yy, yx], -1), torch.stack([yx, xx], -1)], -2)
    return slope, curvature


def _solve(curvature: Tensor, slope: Tensor) -> Tensor:
    """Newton step; none where the correlation is not curved downwards both ways."""
    (a, b), (_, c) = ((row.unbind(-1)) for row in curvature.unbind(-2))
    det = a * c - b * b
    peak = (det > 0) & (a < 0)
    safe = torch.where(peak, det, torch.ones_like(det))
    y, x = slope.unbind(-1)
    step = torch.stack([(c * y - b * x) / safe, (a * x - b * y) / safe], -1)
    return torch.where(peak[:, None], step, torch.zeros_like(step))


def _root(value: Tensor) -> Tensor:
    """Square root whose gradient at zero is zero, not infinite."""
    zero = value == 0
    return torch.where(zero, value, torch.where(zero, torch.ones_like(value), value).sqrt())
