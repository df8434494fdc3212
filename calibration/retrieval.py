r"""Phase retrieval: the pupil of a microscope-like system from a focal stack of a point.

Scalar, with the exact axial phase of a high aperture. A point that lies :math:`z` out of focus in
a medium of index n gives

.. math:: I(x) = b + g \left| \int A(\rho) \, e^{i \varphi(\xi)}
          e^{2 \pi i z \sqrt{n^2 / \lambda^2 - \xi^2}} \, e^{-2 \pi i x \xi} \, d\xi \right|^2

blurred by the pixels and the size of the point. The phase is a sum of Zernike modes, the
amplitude an even polynomial of the pupil radius; all of them are found by variance-weighted least
squares, as the twin of a camera is.

**Gauges and ambiguity.** Piston shows nowhere and is left out. Noll 4 stands for the place of the
focus. Reversing z, negating the even modes (in the sense of :math:`\varphi(-\xi) =
\varphi(\xi)`) gives the same intensities for any pupil of even amplitude: the direction of the
stage has to be known. `retrieve_pupil` takes it from the sign of the positions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.errors import CalibrationError
from calibration.twin.parameters import Parameter, Parameters, expected_values
from calibration.twin.posterior import Posterior, posterior
from calibration.twin.solve import Linear, Problem, minimise
from calibration.uncertainty import Uncertain
from optics.grids import coordinates, disc_coverage
from optics.propagation import cis_turns
from optics.units import check_count, check_length, check_positive
from optics.zernike import zernike_at

_SAMPLES = 64  # across the pupil, and more for large images
_GOOD = 0.9  # correlation below which a fit explains nothing


@dataclass(frozen=True, eq=False)
class FocalStack:
    """Images of one point at several distances from focus.

    Attributes
    ----------
    images : ndarray of float64, shape (D, H, W)
        Any linear unit; the image of the point lies near the middle.
    variance : ndarray of float64, shape (D, H, W)
        Of `images`, at least up to a common factor.
    positions : ndarray of float64, shape (D,)
        Distance of the point beyond the plane in focus, away from the lens [m].
    pixel_pitch : float
        Side of a pixel over the magnification [m].
    wavelength : float
        In vacuum [m].
    numerical_aperture, index : float
        Of the objective, and of the medium.
    """

    images: NDArray[np.float64]
    variance: NDArray[np.float64]
    positions: NDArray[np.float64]
    pixel_pitch: float
    wavelength: float
    numerical_aperture: float
    index: float = 1.0

    def __post_init__(self) -> None:
        for name in ("images", "variance", "positions"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        shape = self.images.shape
        if len(shape) != 3 or self.variance.shape != shape or self.positions.shape != shape[:1]:
            raise ValueError(
                f"images is {shape}, variance {self.variance.shape}, positions "
                f"{self.positions.shape}; expected (D, H, W) twice and (D,)"
            )
        if not (np.isfinite(self.images).all() and (self.variance > 0).all()):
            raise ValueError("images must be finite and variance positive; cut bad pixels out")
        check_length("wavelength", self.wavelength)
        check_positive("pixel_pitch", self.pixel_pitch, "m")
        if not 0 < self.numerical_aperture < self.index:
            raise ValueError(
                f"numerical_aperture = {self.numerical_aperture:g} is outside (0, {self.index:g}), "
                f"the index of the medium"
            )
        finest = self.wavelength / (2 * self.numerical_aperture)
        if self.pixel_pitch > finest:
            raise ValueError(
                f"pixel_pitch = {self.pixel_pitch:g} m does not sample the field, whose period "
                f"goes down to {2 * finest:g} m: {finest:g} m or less is needed"
            )

    def centred(self, side: int) -> "FocalStack":
        """Return `side` x `side` pixels around the brightest of all."""
        _, row, column = np.unravel_index(int(self.images.argmax()), self.images.shape)
        first = (int(row) - side // 2, int(column) - side // 2)
        if min(first) < 0 or any(
            f + side > n for f, n in zip(first, self.images.shape[1:], strict=True)
        ):
            raise ValueError(
                f"side = {side}: the brightest pixel ({row}, {column}) is nearer than that to the "
                f"edge of the images"
            )
        part = (slice(None), *(slice(f, f + side) for f in first))
        return FocalStack(
            self.images[part],
            self.variance[part],
            self.positions,
            self.pixel_pitch,
            self.wavelength,
            self.numerical_aperture,
            self.index,
        )


@dataclass(frozen=True)
class PupilFit:
    """A pupil found from a focal stack.

    Attributes
    ----------
    phase : dict of int to Uncertain
        Zernike coefficients by Noll index, unit RMS over the pupil [rad]; positive delays.
    unidentifiable : dict of str to str
        What the stack cannot tell, and why.
    values : dict of str to float
        All parameters.
    posterior : Posterior
        Covariance, for variances as given.
    chi_square : float
        Mean squared residual in the given deviations.
    correlation : float
        Normalised correlation of measured and expected images.
    plane_correlations : tuple of float
        The same for each plane.
    nominal_correlation : float
        That of the pupil without aberrations, at its best place, height and focus.
    """

    phase: dict[int, Uncertain]
    unidentifiable: dict[str, str]
    values: dict[str, float]
    posterior: Posterior
    chi_square: float
    correlation: float
    plane_correlations: tuple[float, ...]
    nominal_correlation: float

    @property
    def strehl(self) -> float:
        """Marechal's estimate, exp(-variance of the phase without tilt and focus)."""
        square = sum(e.value**2 for mode, e in self.phase.items() if mode > 4)
        return math.exp(-square)


def retrieve_pupil(stack: FocalStack, *, modes: int = 37, apodisation: int = 2) -> PupilFit:
    """Find phase and amplitude of the pupil.

    Parameters
    ----------
    stack : FocalStack
        Three planes or more, with half a wave of defocus to both sides or more.
    modes : int
        Highest Noll mode.
    apodisation : int
        Terms of the amplitude, exp(a_1 rho^2 + a_2 rho^4 + ...).

    Raises
    ------
    CalibrationError
        No pupil explains the stack.
    """
    check_count("modes", modes, 4)
    check_count("apodisation", apodisation, 0)
    if len(stack.positions) < 3:
        raise ValueError(
            f"{len(stack.positions)} planes: phase needs three or more, to both sides of the focus"
        )
    parameters = _parameters(stack, modes, apodisation)
    plain = tuple(p for p in parameters if not p.name.startswith("noll_") or int(p.name[5:]) <= 4)
    model = _PupilModel(stack, parameters)
    # the even modes have no slope at an unaberrated focus; the place comes first
    nominal = minimise(_FocalProblem(model, plain), model.start())
    solution = minimise(_FocalProblem(model, parameters), nominal.values, most=40)
    expected = model.predict(solution.values)
    each = tuple(_correlation(a, b) for a, b in zip(stack.images, expected, strict=True))
    whole = _correlation(stack.images, expected)
    if whole < _GOOD:
        raise CalibrationError(
            f"the best pupil explains the stack with a correlation of {whole:.3f} only; check "
            f"aperture, wavelength, pixel pitch and positions"
        )
    known = posterior([p.name for p in parameters], solution.normal())
    residual = torch.cat(solution.linear.residual)
    chi_square = float(residual.square().mean())
    widen = math.sqrt(max(1.0, chi_square))
    scatter = {p.name: p.scatter for p in parameters}
    phase = {
        int(name[5:]): Uncertain(solution.values[name], float(d) * scatter[name] * widen)
        for name, d in zip(known.names, known.deviations, strict=True)
        if name.startswith("noll_") and name not in known.unidentifiable
    }
    return PupilFit(
        phase=phase,
        unidentifiable=known.unidentifiable,
        values=solution.values,
        posterior=known,
        chi_square=chi_square,
        correlation=whole,
        plane_correlations=each,
        nominal_correlation=_correlation(stack.images, model.predict(nominal.values)),
    )


def expected_images(stack: FocalStack, values: Mapping[str, float]) -> NDArray[np.float64]:
    """Images (D, H, W) of a pupil, without noise.

    Parameters
    ----------
    stack : FocalStack
        Tells geometry and positions; its images set the scale of `height` and `background`.
    values : mapping
        `noll_2` ... [rad], `apodisation_1` ..., `blur` (variance per axis [pixel^2]), `height`
        (logarithm of the brightness over that of the brightest pixel), `background` (over that
        pixel).
    """
    named = [*values]
    modes = max(int(n[5:]) for n in named if n.startswith("noll_"))
    terms = sum(n.startswith("apodisation_") for n in named)
    return _PupilModel(stack, _parameters(stack, modes, terms)).predict(values)


def _parameters(stack: FocalStack, modes: int, apodisation: int) -> Parameters:
    # tilts move the image by many pixels, focus is where the stage says up to some steps
    phase = {2: 10.0, 3: 10.0, 4: 3.0}
    return (
        *(Parameter(f"noll_{j}", "rad", phase.get(j, 1.0)) for j in range(2, modes + 1)),
        *(Parameter(f"apodisation_{k}", "", 0.5) for k in range(1, apodisation + 1)),
        Parameter("blur", "pixel^2", 1.0, expected=0.1),
        Parameter("height", "", 1.0),
        Parameter("background", "", 0.1),
    )


@dataclass(frozen=True, eq=False)
class _PupilModel:
    """Images of a pupil and their slopes."""

    stack: FocalStack
    parameters: Parameters
    brightest: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "brightest", float(self.stack.images.max()))

    def start(self) -> dict[str, float]:
        values = expected_values(self.parameters)
        low = float(np.median(self.stack.images[[0, -1]]))
        values["background"] = low / self.brightest
        return values

    def predict(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        planes = [self.plane(values, k)[0].numpy() for k in range(len(self.stack.positions))]
        return np.stack(planes)

    def plane(
        self, values: Mapping[str, float], index: int, names: tuple[str, ...] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Image (H, W) and its slopes with respect to `names`."""
        stack, samples = self.stack, self._samples
        cutoff = stack.numerical_aperture / stack.wavelength
        spacing = 2 * cutoff / samples
        line = coordinates(samples, spacing)
        y, x = line[:, None] / cutoff, line[None, :] / cutoff
        square = y**2 + x**2
        modes = max(int(n[5:]) for n in values if n.startswith("noll_"))
        phase = zernike_at(
            torch.tensor([values.get(f"noll_{j}", 0.0) for j in range(1, modes + 1)]), y, x
        )
        amplitude = disc_coverage((samples, samples), spacing, 2 * cutoff)
        terms = [n for n in values if n.startswith("apodisation_")]
        logarithm = sum((values[n] * square ** int(n[12:]) for n in terms), torch.zeros(()))
        axial = (stack.index / stack.wavelength) ** 2 - (cutoff**2 * square)
        turns = float(stack.positions[index]) * axial.clamp(min=0).sqrt() + phase / (2 * math.pi)
        pupil = amplitude * torch.exp(logarithm) * cis_turns(turns)
        down, across = (
            cis_turns(-coordinates(n, stack.pixel_pitch)[:, None] * line)
            for n in stack.images.shape[1:]
        )
        wave = down @ pupil @ across.mT
        # the unaberrated focus has the brightness of the brightest pixel
        scale = self.brightest * math.exp(values["height"]) / float(amplitude.sum()) ** 2
        sharp = scale * (wave.real.square() + wave.imag.square())
        signal = _blurred(sharp, values["blur"])
        slopes: dict[str, Tensor] = {}
        for name in names:
            if name == "height":
                slopes[name] = signal
            elif name == "background":
                slopes[name] = torch.full_like(signal, self.brightest)
            elif name == "blur":
                pair = [_blurred(sharp, values["blur"] + s * 1e-3) for s in (1, -1)]
                slopes[name] = (pair[0] - pair[1]) / 2e-3
            else:
                moved = down @ (pupil * _factor(name, y, x, square)) @ across.mT
                change = 2 * scale * (wave.real * moved.real + wave.imag * moved.imag)
                slopes[name] = _blurred(change, values["blur"])
        return signal + values["background"] * self.brightest, slopes

    @property
    def _samples(self) -> int:
        """Samples across the pupil: its image repeats beyond one and a half image sides."""
        stack = self.stack
        side: float = 1.5 * max(stack.images.shape[1:]) * stack.pixel_pitch
        needed = 2 * stack.numerical_aperture / stack.wavelength * side
        return max(_SAMPLES, 2 * math.ceil(needed / 2))


def _factor(name: str, y: Tensor, x: Tensor, square: Tensor) -> Tensor:
    """Relative change of the pupil with a parameter."""
    if name.startswith("apodisation_"):
        return (square ** int(name[12:])).to(torch.complex128)
    one = torch.zeros(int(name[5:]), dtype=torch.float64)
    one[-1] = 1
    return 1j * zernike_at(one, y, x)


def _blurred(image: Tensor, variance: float) -> Tensor:
    """Image blurred by a Gaussian of `variance` [pixel^2], periodic."""
    fy, fx = torch.fft.fftfreq(image.shape[0]), torch.fft.rfftfreq(image.shape[1])
    square = fy[:, None].double() ** 2 + fx.double() ** 2
    spectrum = torch.fft.rfft2(image) * torch.exp(-2 * math.pi**2 * variance * square)
    out: Tensor = torch.fft.irfft2(spectrum, s=image.shape)
    return out


class _FocalProblem(Problem):
    """A focal stack as a problem of least squares."""

    def __init__(self, model: _PupilModel, parameters: Parameters) -> None:
        super().__init__(parameters)
        self.model = model
        self.images = torch.from_numpy(model.stack.images)
        self.weight = torch.from_numpy(model.stack.variance).rsqrt()

    def residual(self, values: Mapping[str, float]) -> list[Tensor]:
        expected = torch.from_numpy(self.model.predict(values))
        return [part.flatten() for part in (self.images - expected) * self.weight]

    def linearise(self, values: Mapping[str, float]) -> Linear:
        names = tuple(p.name for p in self.free)
        residual, slopes = [], []
        for index, (image, weight) in enumerate(zip(self.images, self.weight, strict=True)):
            expected, change = self.model.plane(values, index, names)
            residual.append(((image - expected) * weight).flatten())
            rows = [(p.scatter * change[p.name] * weight).flatten() for p in self.free]
            slopes.append(torch.stack(rows).float())
        return Linear(residual, slopes)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
