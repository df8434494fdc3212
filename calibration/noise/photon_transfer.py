r"""Photon transfer: gain, read noise and saturation from frames at several light levels.

The charge of a pixel is a Poisson count, so behind a linear chain mean and variance are tied by

.. math:: \sigma^2 = K (\mu - \mu_d) + \sigma_d^2, \qquad \sigma_d^2 = K^2 r^2 + 1/12

with the system gain K [DN/e-], read noise r [e-] and the variance of rounding. Frames that differ
in nothing but noise give both sides; no calibrated light source is needed.

References
----------
EMVA Standard 1288, release 4.0 (2021), "Linear model": photon transfer, saturation, linearity.
J. R. Janesick, *Photon Transfer*, SPIE Press (2007).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from calibration.errors import CalibrationError
from calibration.noise.levels import Level
from calibration.noise.saturation import saturation_signal
from calibration.noise.transfer_notes import (
    ADVISED,
    notes_on_dark,
    notes_on_light,
    notes_on_saturation,
)
from calibration.uncertainty import Uncertain, square_root

_FIT_BELOW = 0.7  # share of saturation up to which the line is fitted
_LINEAR = (0.05, 0.95)  # share of saturation in which linearity is judged
_FEWEST = 3  # bright levels without which a line is a guess
_SAME_EXPOSURE = 0.01  # relative; cameras report times in whole lines
_CORRELATED = 0.03  # change of the gain from pixels to sums of 2 x 2
_UNLIKELY = 1e-4  # chance of so bad a fit


@dataclass(frozen=True)
class Linearity:
    """Departure of the signal from a straight line in the light, 5 to 95 % of saturation.

    Attributes
    ----------
    error : float
        Mean of the absolute relative deviations.
    worst : float
        The largest of them, with its sign.
    lights, deviations : tuple of float
        Light of each level that was judged, and its relative deviation.
    """

    error: float
    worst: float
    lights: tuple[float, ...]
    deviations: tuple[float, ...]


@dataclass(frozen=True)
class Correlation:
    """Whether the noise of neighbours is independent.

    Attributes
    ----------
    single, sums : float
        System gain from pixels, and from sums of 2 x 2 pixels [DN/e-]; a filter on the raw data
        makes the first too small, the second less so.
    ratio : Uncertain
        The second over the first; 1 where noise is independent.
    flagged : bool
        The ratio is off by more than 3 % and three deviations.
    """

    single: float
    sums: float
    ratio: Uncertain
    flagged: bool


@dataclass(frozen=True)
class PhotonTransfer:
    """What a photon transfer curve says about one plane of a sensor in one mode.

    Attributes
    ----------
    system_gain : Uncertain
        Slope of the curve [DN/e-].
    read_noise, row_noise : Uncertain
        In the dark, of a pixel by itself and shared by a row [e- rms].
    black_level : Uncertain
        Mean of the shortest dark exposure [DN].
    dark_exposure : float
        That exposure [s].
    saturation, full_well : Uncertain or None
        Signal above the dark at which a pixel is full, in [DN] and [e-]; None if no level was
        bright enough.
    linearity : Linearity or None
        None with fewer than three levels between 5 and 95 % of saturation.
    correlation : Correlation
        Independence of neighbours.
    chi_square : float
        Of the line.
    degrees : int
        Its degrees of freedom.
    warnings : tuple of str
        What makes the numbers doubtful, in sentences.
    """

    system_gain: Uncertain
    read_noise: Uncertain
    row_noise: Uncertain
    black_level: Uncertain
    dark_exposure: float
    saturation: Uncertain | None
    full_well: Uncertain | None
    linearity: Linearity | None
    correlation: Correlation
    chi_square: float
    degrees: int
    warnings: tuple[str, ...]


def photon_transfer(levels: Sequence[Level], darks: Sequence[Level]) -> PhotonTransfer:
    """Evaluate a photon transfer curve.

    Parameters
    ----------
    levels : sequence of Level
        Bright levels, in any order: three or more below 70 % of saturation; 20 or more up to
        beyond saturation are advised.
    darks : sequence of Level
        Without light. One, if the lamp sets the light or the dark current is negligible; else
        one for each exposure time of `levels`.

    Raises
    ------
    CalibrationError
        The levels do not tell: too few, no light, a dark is missing, or noise does not grow with
        the signal.
    """
    bright, darks = sorted(levels, key=lambda level: level.light), list(darks)
    _check(bright, darks)
    own_dark = [_dark_of(level, darks) for level in bright]
    signal = [level.mean - darks[j].mean for level, j in zip(bright, own_dark, strict=True)]
    shortest = min(range(len(darks)), key=lambda j: darks[j].exposure)
    dark = darks[shortest]
    if max(signal) < 5 * math.sqrt(dark.variance + 1 / 12):
        raise CalibrationError(
            f"the brightest level is {max(signal):.3g} DN above the dark, its noise "
            f"{math.sqrt(dark.variance):.3g} DN: turn the lamp up, or open the shutter"
        )
    top = signal[int(np.argmax([level.variance for level in bright]))]
    saturation: Uncertain | None = None
    for _ in range(3):  # the range of the fit depends on its result
        used = [i for i, s in enumerate(signal) if 0 < s <= _FIT_BELOW * top]
        if len(used) < _FEWEST:
            raise CalibrationError(
                f"{len(used)} levels lie above the dark and below {_FIT_BELOW:.0%} of saturation "
                f"({_FIT_BELOW * top:.4g} DN above the dark): {_FEWEST} or more are needed; take "
                f"darker levels"
            )
        points = [*(bright[i] for i in used), *darks]
        groups = [*(own_dark[i] for i in used), *range(len(darks))]
        fit = _fit_line(points, groups, [p.variance for p in points])
        if fit.slope <= 0:
            raise CalibrationError(
                f"the variance does not grow with the signal (slope {fit.slope:.3g} DN/e-): the "
                f"frames are processed, saturated, or copies of each other; take raw frames"
            )
        saturation = saturation_signal(
            [
                (s, level.variance, level.variance_uncertainty)
                for s, level in zip(signal, bright, strict=True)
            ],
            fit.slope,
            dark.variance,
        )
        top = saturation.value if saturation else max(signal)
    gain = Uncertain(fit.slope, fit.uncertainty)
    read_noise = _read_noise(fit, dark, fit.influence[len(used) + shortest])
    row_noise = square_root(dark.row_variance, dark.row_variance_uncertainty).divided_by(gain)
    correlation = _correlation(points, groups, gain)
    linearity = _linearity([level.light for level in bright], signal, top)
    notes = [
        *notes_on_light([bright[i] for i in used], [signal[i] for i in used], len(bright)),
        *notes_on_saturation(signal, saturation),
        *notes_on_dark(dark),
        *_notes_on_fit(fit, correlation),
    ]
    return PhotonTransfer(
        system_gain=gain,
        read_noise=read_noise,
        row_noise=row_noise,
        black_level=Uncertain(dark.mean, dark.mean_uncertainty),
        dark_exposure=dark.exposure,
        saturation=saturation,
        full_well=saturation.divided_by(gain) if saturation else None,
        linearity=linearity,
        correlation=correlation,
        chi_square=fit.chi_square,
        degrees=fit.degrees,
        warnings=tuple(notes),
    )


@dataclass(frozen=True)
class _Fit:
    slope: float
    uncertainty: float
    influence: NDArray[np.float64]  # of each point's variance on the slope
    chi_square: float
    degrees: int


def _check(bright: Sequence[Level], darks: Sequence[Level]) -> None:
    if not darks:
        raise CalibrationError("no dark level: take frames with the lamp off")
    if len(bright) < _FEWEST:
        raise CalibrationError(
            f"{len(bright)} bright levels: {_FEWEST} or more are needed, {ADVISED} are advised"
        )
    for level in darks:
        if level.light > 0:
            raise ValueError(f"a dark level has light = {level.light:g}; give light=0")
        if level.variance == 0:
            raise CalibrationError(
                "the dark frames are equal: they are copies, or the black level is cut off"
            )
    for level in (*bright, *darks):
        if (level.rows, level.columns) != (darks[0].rows, darks[0].columns):
            raise ValueError(
                f"a level has {level.rows} x {level.columns} pixels, the dark "
                f"{darks[0].rows} x {darks[0].columns}; use the same pixels in all"
            )


def _dark_of(level: Level, darks: Sequence[Level]) -> int:
    """Index of the dark that belongs to a level."""
    if len(darks) == 1:
        return 0
    nearest = min(range(len(darks)), key=lambda j: abs(darks[j].exposure - level.exposure))
    if abs(darks[nearest].exposure - level.exposure) > _SAME_EXPOSURE * level.exposure:
        raise CalibrationError(
            f"no dark was taken at exposure = {level.exposure:g} s; take one at each exposure "
            f"time, or give a single one if the dark current does not matter"
        )
    return nearest


def _fit_line(points: Sequence[Level], groups: Sequence[int], variances: Sequence[float]) -> _Fit:
    r"""Fit variance = K mean + a, with one a for each dark, to bright and dark points alike.

    A point's residual has the variance

    .. math:: \frac{2 \sigma^4}{\nu} + K^2 \left( \frac{\sigma_d^2}{n N} +
              \frac{\sigma_r^2}{n H} \right)

    for n frames of N pixels in H rows: the errors of mean and variance that Poisson counts bring
    are correlated such that they cancel, what is left is normal noise and the mean's own error.
    """
    mean = np.array([p.mean for p in points])
    variance = np.asarray(variances, np.float64)
    middle = mean.mean()
    intercepts = np.equal.outer(np.asarray(groups), np.unique(groups)).astype(np.float64)
    design = np.column_stack([mean - middle, intercepts])
    degrees = np.array([p.degrees for p in points], np.float64)
    dark = min(points, key=lambda p: p.mean)
    floor = dark.variance / dark.columns + max(dark.row_variance, 0.0)
    of_mean = floor / np.array([p.frames * p.rows for p in points])
    expected, slope = variance, 0.0
    influence = np.empty(0)
    for _ in range(6):  # weights from the line, not from the noisy points
        error = 2 * np.maximum(expected, variance.min()) ** 2 / degrees + slope**2 * of_mean
        scaled = design / np.sqrt(error)[:, None]
        inverse = np.linalg.inv(scaled.T @ scaled)
        solve = inverse @ (design / error[:, None]).T
        parameters = solve @ variance
        slope, influence = float(parameters[0]), solve[0]
        expected = design @ parameters
    chi_square = float(((variance - expected) ** 2 / error).sum())
    freedom = len(points) - design.shape[1]
    return _Fit(slope, math.sqrt(inverse[0, 0]), influence, chi_square, freedom)


def _read_noise(fit: _Fit, dark: Level, influence: float) -> Uncertain:
    """Root of the dark variance without that of rounding, in electrons."""
    error = dark.variance_uncertainty
    root = square_root(dark.variance - 1 / 12, error)
    value = root.value / fit.slope
    # the dark is also a point of the line: gain and dark variance are not independent
    shared = influence * error**2 * root.uncertainty / error * value / fit.slope**2
    square = (
        (root.uncertainty / fit.slope) ** 2
        + (value * fit.uncertainty / fit.slope) ** 2
        - 2 * shared
    )
    return Uncertain(value, math.sqrt(max(square, 0.0)))


def _correlation(points: Sequence[Level], groups: Sequence[int], gain: Uncertain) -> Correlation:
    sums = _fit_line(points, groups, [p.sum_variance for p in points]).slope
    ratio = sums / gain.value
    # sums of 2 x 2 are one of four orthogonal parts of the noise; the whole has all four
    error = math.sqrt(3) * gain.uncertainty / gain.value
    flagged = abs(ratio - 1) > max(_CORRELATED, 3 * error)
    return Correlation(gain.value, sums, Uncertain(ratio, error), flagged)


def _linearity(lights: Sequence[float], signal: Sequence[float], top: float) -> Linearity | None:
    """Deviations from the line of least relative squares."""
    judged = [i for i, s in enumerate(signal) if _LINEAR[0] * top <= s <= _LINEAR[1] * top]
    x, y = (np.array([values[i] for i in judged]) for values in (lights, signal))
    if len(judged) < 3 or np.ptp(x) == 0:
        return None
    slope, offset = np.polyfit(x, y, 1, w=1 / y)
    line = offset + slope * x
    deviation = (y - line) / line
    return Linearity(
        float(np.abs(deviation).mean()),
        float(deviation[np.abs(deviation).argmax()]),
        tuple(x.tolist()),
        tuple(deviation.tolist()),
    )


def _notes_on_fit(fit: _Fit, correlation: Correlation) -> list[str]:
    notes = []
    if fit.degrees and gammaincc(fit.degrees / 2, fit.chi_square / 2) < _UNLIKELY:
        notes.append(
            f"chi^2 = {fit.chi_square:.1f} of {fit.degrees} degrees of freedom: mean and variance "
            f"do not follow a line, and the uncertainties are too small"
        )
    if correlation.flagged:
        notes.append(
            f"correlated noise: the gain is {correlation.single:.4g} DN/e- from pixels and "
            f"{correlation.sums:.4g} DN/e- from sums of 2 x 2; the raw data are filtered"
        )
    return notes
