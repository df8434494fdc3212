"""Anchors of image quality: Strehl, defocus, Airy pattern, a glass; closed forms throughout.

`ANCHORS` maps a name to a function of the precision (True: float64) that returns the error and
the bar it must not exceed. A pupil is sampled 512 times across a window that is a little wider
than its stop, and every number is taken from the field that `to_sensor` gives.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from optics.grids import coordinates, disc_coverage, squared_radius
from optics.materials import material
from optics.propagation import cis, to_sensor

_SAMPLES = 512
_SPACING = 4e-6  # [m]
_DIAMETER = 2e-3  # [m]
_WAVELENGTH = 550e-9  # [m]
_DISTANCE = 50e-3  # [m]
_RING = 1.2196698912665045  # first zero of J1 over pi: dark ring in wavelengths times f-number


def _wave() -> Tensor:
    return torch.tensor([_WAVELENGTH], dtype=torch.float64)


def _dtype(double: bool) -> torch.dtype:
    return torch.float64 if double else torch.float32


def _stop(double: bool) -> Tensor:
    return disc_coverage((_SAMPLES, _SAMPLES), _SPACING, _DIAMETER).to(_dtype(double))


def _field(pupil: Tensor, points: tuple[int, int], pitch: float, offset: float = 0.0) -> Tensor:
    """Field (P, Q) on the sensor; `offset` along x [m]."""
    return to_sensor(
        pupil[None],
        spacing=_SPACING,
        wavelength=_wave(),
        distance=_DISTANCE,
        points=points,
        pitch=pitch,
        offset=(0.0, offset),
    )[0]


def _intensity(field: Tensor) -> Tensor:
    return field.real.square() + field.imag.square()


def _defocused(amplitude: Tensor, waves: Tensor, rho2: Tensor) -> Tensor:
    """Pupil with `waves` of defocus where `rho2` is one; the phase is reduced in float64."""
    turns = waves * rho2
    turns = (turns - turns.detach().round()).to(amplitude.dtype)
    return amplitude * cis(2 * math.pi * turns)


# --- Strehl -------------------------------------------------------------------------------------


def _strehl(waves: Tensor, double: bool) -> Tensor:
    """Peak of a defocused round pupil over the peak of the same pupil in focus."""
    stop = _stop(double)
    rho2 = squared_radius((_SAMPLES, _SAMPLES), _SPACING) / (_DIAMETER / 2) ** 2
    peak = _intensity(_field(_defocused(stop, waves, rho2), (1, 1), 1e-6))
    return (peak / _intensity(_field(stop.to(peak.dtype.to_complex()), (1, 1), 1e-6)))[0, 0]


def strehl_defocus(double: bool) -> tuple[float, float]:
    """Quarter wave of defocus, (sin(pi W) / (pi W))^2 = 0.81057."""
    found = float(_strehl(torch.tensor(0.25, dtype=torch.float64), double))
    return abs(found - 8 / math.pi**2), 1e-4


def strehl_defocus_gradient(double: bool) -> tuple[float, float]:
    """Its derivative with the defocus, relative to 2 s (cos(pi W) - s) / W, s = sinc(W)."""
    waves = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(_strehl(waves, double), waves)
    s = math.sin(math.pi / 4) / (math.pi / 4)
    expected = 2 * s * (math.cos(math.pi / 4) - s) / 0.25
    return abs(float(slope) / expected - 1), 2e-4


# --- defocus transfer function of a square pupil ------------------------------------------------


def _square_otf(waves: Tensor, double: bool) -> tuple[Tensor, Tensor]:
    """Frequencies s in [0, 1) of the cut-off and the OTF there, along x.

    The sensor covers one whole period of the sampled pupil with 2 N points, so that its discrete
    transform is the autocorrelation of the pupil and no light is cut off.
    """
    n = _SAMPLES
    x = coordinates(n, 2 / n)
    pupil = _defocused(
        torch.ones(n, n, dtype=_dtype(double)), waves, (x**2)[None, :] + 0 * x[:, None]
    )
    pitch = _WAVELENGTH * _DISTANCE / (2 * n * _SPACING)
    line = _intensity(_field(pupil, (1, 2 * n), pitch))[0]
    # points at (j - (2 n - 1) / 2) pitch: the transform of an even line is real after this ramp
    otf = torch.fft.fft(line)[:n]
    s = torch.arange(n, dtype=torch.float64) / n
    turns = (s * (2 * n - 1) / 4).remainder(1.0)
    otf = otf * cis((2 * math.pi * turns).to(line))
    return s, otf.real.to(torch.float64) / otf[0].real


def _square_truth(s: Tensor, waves: Tensor) -> Tensor:
    return (1 - s) * torch.sinc(8 * waves * s * (1 - s))


def defocus_otf_square(double: bool) -> tuple[float, float]:
    """Half a wave of defocus: (1 - s) sinc(8 W s (1 - s)), largest absolute error."""
    waves = torch.tensor(0.5, dtype=torch.float64)
    s, otf = _square_otf(waves, double)
    return float((otf - _square_truth(s, waves)).abs().max()), 1e-4


def defocus_otf_square_gradient(double: bool) -> tuple[float, float]:
    """Its derivative with the defocus, averaged over s with weights s; relative."""
    waves = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    s, otf = _square_otf(waves, double)
    (ours,) = torch.autograd.grad((s * otf).mean(), waves)
    (expected,) = torch.autograd.grad((s * _square_truth(s, waves)).mean(), waves)
    return abs(float(ours / expected) - 1), 2e-4


# --- Airy pattern -------------------------------------------------------------------------------


def _unit() -> float:
    """Wavelength times f-number [m]."""
    return _WAVELENGTH * _DISTANCE / _DIAMETER


def _airy(radius: Tensor) -> Tensor:
    """Intensity relative to the peak at `radius` in wavelengths times f-number, float64."""
    v = math.pi * radius.to(torch.float64)
    small = v.abs() < 1e-6
    safe = torch.where(small, torch.ones_like(v), v)
    amplitude = torch.where(small, torch.ones_like(v), 2 * torch.special.bessel_j1(safe) / safe)
    return amplitude.square()


def airy_dark_ring(double: bool) -> tuple[float, float]:
    """Radius where the field changes its sign, relative to 1.21967 wavelengths times f-number."""
    pupil = _stop(double).to(_dtype(double).to_complex())
    pitch = 0.01 * _unit()
    field = _field(pupil, (1, 3), pitch, _RING * _unit())[0].real.to(torch.float64)
    # the field near its zero is a parabola through three points
    before, at, after = field.tolist()
    slope, bend = (after - before) / 2, (after + before) / 2 - at
    root = -at / slope
    root = -at / (slope + bend * root)
    return abs(root * pitch / (_RING * _unit())), 2e-5


def airy_energy(double: bool) -> tuple[float, float]:
    """Energy inside the first dark ring, 1 - J0^2 = 0.83779."""
    pupil = _stop(double).to(_dtype(double).to_complex())
    points = 151
    pitch = 2.6 * _unit() / points
    light = _intensity(_field(pupil, (points, points), pitch)) * pitch**2
    inside = disc_coverage((points, points), pitch, 2 * _RING * _unit())
    energy = float((light.to(torch.float64) * inside).sum())
    # through the open area: a grey sample of area a has the mean field a and the energy a, of
    # which a - a^2 goes to angles beyond the sampled ones
    total = float(_stop(True).sum()) * _SPACING**2
    zero = torch.tensor(math.pi * _RING, dtype=torch.float64)
    return abs(energy / total - (1 - float(torch.special.bessel_j0(zero)) ** 2)), 2e-4


def airy_profile(double: bool) -> tuple[float, float]:
    """Largest error of the profile out to the fifth ring, relative to the peak."""
    pupil = _stop(double).to(_dtype(double).to_complex())
    pitch = 0.02 * _unit()
    line = _intensity(_field(pupil, (1, 601), pitch))[0].to(torch.float64)
    expected = _airy(coordinates(601, 0.02))
    return float((line / line[300] - expected).abs().max()), 1e-5


def airy_profile_gradient(double: bool) -> tuple[float, float]:
    """Growth of the profile with amplitude in the stop, relative: the field itself.

    The light at x is |sum a|^2; scaling the amplitude by 1 + e changes it by 2 e, here through
    the adjoint of the transform.
    """
    gain = torch.tensor(1.0, dtype=_dtype(double), requires_grad=True)
    pitch = 0.02 * _unit()
    pupil = (gain * _stop(double)).to(_dtype(double).to_complex())
    line = _intensity(_field(pupil, (1, 201), pitch))[0]
    (slope,) = torch.autograd.grad((line * line.detach()).sum(), gain)
    expected = 2 * line.detach().to(torch.float64).square().sum()
    return abs(float(slope) / float(expected) - 1), 1e-12 if double else 1e-5


# --- a glass ------------------------------------------------------------------------------------

_D_LINE, _F_LINE, _C_LINE = 587.5618e-9, 486.1327e-9, 656.2725e-9  # [m]


def n_bk7_index(double: bool) -> tuple[float, float]:
    """Index of N-BK7 at the d line, 1.51680; indices are float64 whatever the fields are."""
    return abs(float(material("n_bk7").index(_D_LINE)) - 1.51680), 1e-5


def n_bk7_abbe(double: bool) -> tuple[float, float]:
    """Abbe number of N-BK7, 64.17: as an error of n_F - n_C, to the rounding of two decimals."""
    glass = material("n_bk7")
    d, f, c = (float(glass.index(line)) for line in (_D_LINE, _F_LINE, _C_LINE))
    return abs((f - c) - (d - 1) / 64.17), 1e-5


def n_bk7_index_gradient(double: bool) -> tuple[float, float]:
    """Dispersion at the d line, autograd against central differences; relative."""
    glass = material("n_bk7")
    wave = torch.tensor(_D_LINE, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(glass.index(wave), wave)
    step = 1e-11  # third derivative: 1e-10 relative; rounding of n: 1e-16 / (2e-11 * 4e4) = 3e-10
    rise = float(glass.index(_D_LINE + step)) - float(glass.index(_D_LINE - step))
    return abs(float(slope) * 2 * step / rise - 1), 1e-8


ANCHORS: dict[str, Callable[[bool], tuple[float, float]]] = {
    "strehl_w20": strehl_defocus,
    "strehl_w20_gradient": strehl_defocus_gradient,
    "defocus_otf_square": defocus_otf_square,
    "defocus_otf_square_gradient": defocus_otf_square_gradient,
    "airy_dark_ring": airy_dark_ring,
    "airy_energy": airy_energy,
    "airy_profile": airy_profile,
    "airy_profile_gradient": airy_profile_gradient,
    "n_bk7_index": n_bk7_index,
    "n_bk7_index_gradient": n_bk7_index_gradient,
    "n_bk7_abbe": n_bk7_abbe,
}
