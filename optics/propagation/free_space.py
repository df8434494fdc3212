r"""Free space between parallel planes by the band-limited angular spectrum.

Conventions: time dependence exp(-i omega t), so a wave towards +z carries exp(+ikz), which is left
out of every result; metres; fields complex (..., H, W), y down the rows; sample centres at
(n - (N - 1) / 2) * spacing. Exact for a scalar field (no paraxial approximation) apart from what
`optics.propagation.sampling` cuts; evanescent waves are zero.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from optics.propagation.convolution import convolve
from optics.propagation.lines import LineGeometry
from optics.propagation.phasor import cis
from optics.propagation.planes import Transform, send
from optics.propagation.sampling import BUDGET, Decision, plan_propagation

#: One wavelength (fields without an axis for it) or several (fields (..., W, H, N)) [m].
Waves = float | Sequence[float] | Tensor


def transfer_function(
    shape: tuple[int, int],
    spacing: float,
    wavelength: float,
    distance: float,
    *,
    reach: tuple[float, float] | None = None,
    within: tuple[float, float] | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
    dtype: torch.dtype = torch.complex128,
) -> Tensor:
    r"""Transfer function of free space, without its carrier.

    .. math:: H = e^{i k z (\sqrt{1 - s} - 1)} = e^{-i k z s / (1 + \sqrt{1 - s})}, \quad
              s = \lambda^2 (f_x^2 + f_y^2)

    Parameters
    ----------
    shape : tuple of int
        Samples (H, W) of the (padded) plane it will multiply.
    spacing : float
        Sample spacing [m].
    wavelength : float
        Wavelength in the medium [m].
    distance : float
        Along the axis; negative propagates back [m].
    reach : tuple of float, optional
        Frequencies are cut whose light moves farther (y, x) to the side than this [m]. Without
        it, half the plane: what the plane can sample [1]_. Infinite: no cut.
    within : tuple of float, optional
        Displacement from which on the band falls off smoothly to `reach`; `reach` if not given [m].
    offset : tuple of float
        The result is centred on this lateral position (y, x) [2]_ [m].
    dtype : torch.dtype, default torch.complex128
        Precision of the result; the phase is formed and reduced to one turn in float64.

    Returns
    -------
    Tensor
        Complex (H, W) in `torch.fft` order (zero frequency first), unit modulus where it passes.

    References
    ----------
    .. [1] K. Matsushima, T. Shimobaba, "Band-limited angular spectrum method for numerical
       simulation of free-space propagation in far and near fields", Opt. Express 17, 19662
       (2009), eqs. 13 and 20; here with the ellipse of eq. 17, not the rectangle inside it.
    .. [2] K. Matsushima, "Shifted angular spectrum method for off-axis numerical propagation",
       Opt. Express 18, 18453 (2010).
    """
    reach = reach or (shape[0] * spacing / 2, shape[1] * spacing / 2)
    within = within or reach
    # without an offset the kernel is even: a quarter of it is computed and mirrored
    counts = [n if o else n // 2 + 1 for n, o in zip(shape, offset, strict=True)]
    sines = [
        torch.fft.fftfreq(n, spacing, dtype=torch.float64)[:count] * wavelength
        for n, count in zip(shape, counts, strict=True)
    ]
    y, x = sines[0][:, None], sines[1]
    s = y**2 + x**2
    travels = s < 1
    cosine = (1 - s).clamp_(min=0).sqrt_()
    turns = s.div_(1 + cosine).mul_(-distance / wavelength)
    for sine, shift in zip((y, x), offset, strict=True):
        if shift:
            turns += sine * (shift / wavelength)
    real = dtype.to_real()
    kernel = cis(turns.sub_(turns.round()).to(real).mul_(2 * math.pi)).mul_(travels)
    for sine, shift, most, full in zip((y, x), offset, reach, within, strict=True):
        if math.isinf(most) or distance == 0:
            continue
        moved = sine * distance / cosine - shift  # infinite where evanescent
        kernel *= _band(moved.abs_(), most, full).to(real)
    for axis, (n, count) in enumerate(zip(shape, counts, strict=True)):
        if count < n:
            index = torch.arange(n)
            kernel = kernel.index_select(axis, torch.minimum(index, n - index))
    return kernel


def _band(moved: Tensor, reach: float, within: float) -> Tensor:
    """One up to `within`, zero from `reach` on, a smooth step between."""
    if reach <= within:
        return (moved <= reach).to(moved.dtype)
    t = moved.sub_(reach).div_(within - reach).nan_to_num_(nan=0.0).clamp_(0, 1)
    return t * t * (3 - 2 * t)


class FreeSpace(nn.Module):
    r"""Angular-spectrum propagation over a fixed distance, its kernel kept.

    .. math:: u_z = \mathcal{F}^{-1}\{ H_z \, \mathcal{F}\{ u_0 \} \}

    Parameters
    ----------
    shape : tuple of int
        Samples (H, N) of the field.
    spacing : float
        Sample spacing [m].
    wavelength : float, sequence of float or Tensor
        Wavelength in the medium, or W of them [m].
    distance : float
        Along the axis; negative propagates back [m].
    padding : {"auto", "periodic"} or float
        As for `optics.propagation.plan_propagation`, like `extent`, `largest_sine`, `budget`.
    extent : float or tuple of float, optional
        Side of the square outside which the field is dark [m].
    largest_sine : float, optional
        Largest sine of the light's directions.
    offset : tuple of float
        Lateral position (y, x) of the result's centre [m].
    dtype : torch.dtype, default torch.complex64
        Precision.
    budget : int
        Memory allowed [bytes].

    Attributes
    ----------
    decision : Decision
        What was decided, and why.

    Examples
    --------
    >>> import torch
    >>> gap = FreeSpace((256, 200), 4e-6, 550e-9, 25e-3)
    >>> gap(torch.ones(3, 256, 200, dtype=torch.complex64)).shape
    torch.Size([3, 256, 200])
    >>> gap.decision.reason.split(" because")[0]
    'pad 2.45x'
    """

    kernel: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        spacing: float,
        wavelength: Waves,
        distance: float,
        *,
        padding: float | str = "auto",
        extent: float | tuple[float, float] | None = None,
        largest_sine: float | None = None,
        offset: tuple[float, float] = (0.0, 0.0),
        dtype: torch.dtype = torch.complex64,
        budget: int = BUDGET,
    ) -> None:
        super().__init__()
        self.shape = (int(shape[0]), int(shape[1]))
        self.spacing, self.distance, self.offset = float(spacing), float(distance), offset
        self.wavelengths, self.single = wave_list(wavelength)
        self.decision: Decision = plan_propagation(
            self.shape, spacing, self.wavelengths, distance, padding=padding, extent=extent,
            largest_sine=largest_sine, offset=offset, dtype=dtype, budget=budget,
        )  # fmt: skip
        plan = self.decision
        kernel = torch.ones(len(self.wavelengths), 1, 1, dtype=dtype)
        if plan.method != "identity":
            kernel = torch.empty(len(self.wavelengths), *plan.padded, dtype=dtype)
            for plane, wave in zip(kernel, self.wavelengths, strict=True):
                plane.copy_(
                    transfer_function(
                        plan.padded, spacing, wave, distance, reach=plan.reach,
                        within=plan.within, offset=offset, dtype=dtype,
                    )
                )  # fmt: skip
            kernel /= plan.padded[0] * plan.padded[1]
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, field: Tensor) -> Tensor:
        """Propagate `field`.

        Complex (..., H, N) for a single wavelength, (..., W or 1, H, N) for W of them; returns
        the same shape with W planes, without the carrier exp(ikz).
        """
        field = check_planes(field, self.shape, self.wavelengths, self.single)
        if self.decision.method == "identity":
            out = field.expand(*field.shape[:-3], len(self.wavelengths), *self.shape)
        else:
            out = convolve(field, self.kernel)
        return out.squeeze(-3) if self.single else out

    def extra_repr(self) -> str:
        """Show the geometry and the decision when the module is printed."""
        return (
            f"shape={self.shape}, spacing={self.spacing:g}, wavelengths={self.wavelengths}, "
            f"distance={self.distance:g}: {self.decision.reason}"
        )


def propagate(
    field: Tensor,
    *,
    spacing: float,
    wavelength: Waves,
    distance: float,
    padding: float | str = "auto",
    extent: float | tuple[float, float] | None = None,
    largest_sine: float | None = None,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Propagate a field once; `FreeSpace` keeps the kernel, the arguments are the same."""
    module = FreeSpace(
        (field.shape[-2], field.shape[-1]), spacing, wavelength, distance, padding=padding,
        extent=extent, largest_sine=largest_sine, offset=offset,
        dtype=field.dtype if field.dtype.is_complex else field.dtype.to_complex(),
    )  # fmt: skip
    out: Tensor = module.to(field.device)(field)
    return out


def propagate_to_points(
    field: Tensor,
    *,
    spacing: float,
    wavelength: Waves,
    distance: float,
    points: tuple[int, int],
    pitch: float,
    offset: tuple[float, float] = (0.0, 0.0),
    extent: float | tuple[float, float] | None = None,
    largest_sine: float | None = None,
    budget: int = BUDGET,
) -> Tensor:
    """Propagate to points of any pitch: the spectrum is summed exactly there (chirp-z).

    Parameters
    ----------
    field : Tensor
        Complex (..., H, N) for a single wavelength, (..., W or 1, H, N) for W of them.
    spacing : float
        Sample spacing of the field [m].
    wavelength, distance, extent, largest_sine, budget
        As for `FreeSpace`.
    points : tuple of int
        Points (P, Q).
    pitch : float
        Distance of neighbouring points [m].
    offset : tuple of float
        Centre (y, x) of the points [m].

    Returns
    -------
    Tensor
        Complex (..., P, Q) or (..., W, P, Q).
    """
    shape = (field.shape[-2], field.shape[-1])
    waves, single = wave_list(wavelength)
    field = check_planes(field, shape, waves, single)
    window = (points[0] * pitch, points[1] * pitch)
    plan = plan_propagation(
        shape, spacing, waves, distance, extent=extent, largest_sine=largest_sine, window=window,
        offset=offset, dtype=field.dtype, budget=budget,
    )  # fmt: skip
    planes = []
    for w, wave in enumerate(waves):
        kernel = transfer_function(
            plan.padded, spacing, wave, distance, reach=plan.reach, within=plan.within,
            offset=offset, dtype=field.dtype,
        )  # fmt: skip
        spectrum = torch.fft.fft2(field[..., min(w, field.shape[-3] - 1), :, :], s=plan.padded)
        planes.append(torch.fft.fftshift(spectrum * kernel.to(field.device), dim=(-2, -1)))
    out = _sum_waves(torch.stack(planes, -3), shape, points, pitch / spacing)
    return out.squeeze(-3) if single else out


def _sum_waves(
    spectrum: Tensor, shape: tuple[int, int], points: tuple[int, int], pitch: float
) -> Tensor:
    """Plane waves (..., W, P', Q'), zero frequency in the middle, added up at the points.

    All lengths in samples of the field, whose first sample is the origin of the spectrum.
    """
    waves = spectrum.shape[-3]
    axes, edges = [], []
    for padded, samples, count in zip(spectrum.shape[-2:], shape, points, strict=True):
        rate, start = -pitch / padded, (samples - 1) / 2
        axes.append(LineGeometry(padded, count, (rate,) * waves, ((0.0,) * waves,), start / pitch))
        # the middle of an even spectrum lies half a step above zero frequency
        above = (padded - 1) / 2 - padded // 2
        edges.append(cis(2 * math.pi * above / padded * (axes[-1].outputs() * pitch)))
    scale = (1 / (spectrum.shape[-1] * spectrum.shape[-2]),) * waves
    transform = Transform(rows=axes[1], columns=axes[0], method="auto", scale=scale)
    turn = edges[0][:, None] * edges[1]
    return send(spectrum, transform).squeeze(-4) * turn.to(spectrum)


def wave_list(wavelength: Waves) -> tuple[tuple[float, ...], bool]:
    """Wavelengths as floats, and whether a single number was given [m]."""
    if isinstance(wavelength, int | float):
        return (float(wavelength),), True
    values = wavelength.tolist() if isinstance(wavelength, Tensor) else list(wavelength)
    if isinstance(values, float):
        return (values,), True
    return tuple(float(v) for v in values), False


def check_planes(
    field: Tensor, shape: tuple[int, int], waves: tuple[float, ...], single: bool
) -> Tensor:
    """Return `field` as complex (..., W or 1, H, N), or say what shape is expected."""
    if single:
        if field.ndim < 2 or field.shape[-2:] != shape:
            raise ValueError(
                f"field is {tuple(field.shape)}, expected (..., {shape[0]}, {shape[1]})"
            )
        field = field[..., None, :, :]
    elif field.ndim < 3 or field.shape[-2:] != shape or field.shape[-3] not in (1, len(waves)):
        raise ValueError(
            f"field is {tuple(field.shape)}, expected (..., {len(waves)} or 1, {shape[0]}, "
            f"{shape[1]}): one plane per wavelength"
        )
    return field if field.dtype.is_complex else field.to(field.dtype.to_complex())
