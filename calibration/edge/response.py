"""MTF from a slanted edge: the e-SFR of ISO 12233, on linear raw planes.

A straight edge a few degrees off the rows or columns is sampled finer than the pixels, row after
row; projected along itself it gives the edge spread function, whose derivative's transform is the
MTF across the edge, pixel included. ISO 12233 advises 3 to 10 degrees, a region of 80 x 100
pixels or more, levels 4:1 to 10:1 and a signal-to-noise ratio above 100. The plane has to be
linear in the light: one plane of a Bayer mosaic or a monochrome frame, never a processed picture.
Frequencies are in cycles per pixel of the plane, along the edge's normal.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from calibration.edge.line import (
    Polynomial,
    Rough,
    RowLocator,
    check_angle,
    check_line,
    rough_line,
)
from calibration.edge.region import Array, checked, upright
from calibration.edge.spread import (
    WINDOWS,
    Bins,
    Transform,
    Window,
    crossing,
    even_oversampling,
    window_of,
)
from calibration.errors import CalibrationError

Procedure = Literal["corrected", "sfrmat5"]

_LEAST_CONTRAST = 0.2
_MOST_EMPTY = 0.1  # of the bins
_HIGHEST = 1.0  # frequency [cycles/pixel]
_FREQUENCIES = 401
_NORMAL = 1.96  # standard deviations of a 95 % interval


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval.

    Attributes
    ----------
    value : float
        Measured.
    low, high : float
        Ends of the interval; nan without draws.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class EdgeResponse:
    """What a slanted edge says about the camera; everything that a figure of it shows.

    Attributes
    ----------
    frequency : ndarray
        (F,) across the edge, from 0 to 1 or a little more [cycles/pixel].
    mtf, mtf_low, mtf_high : ndarray
        (F,) MTF, 1 at frequency 0, and the ends of its 95 % interval at each frequency.
    mtf50, mtf30 : Interval
        Lowest frequency at which the MTF falls to 0.5 and 0.3; infinite if it does not
        [cycles/pixel].
    mtf_half_nyquist : Interval
        MTF at 0.25 cycles per pixel.
    orientation : {"vertical", "horizontal"}
        Whether the edge runs rather along the columns (x of every row is found) or the rows.
    angle : float
        Of the edge from that axis, positive where it runs to larger x (vertical) or larger y
        (horizontal) with growing y or x [rad].
    location, edge : ndarray
        (rows,) x (vertical; for horizontal: y of the columns) of the edge in every row of the
        plane, and of the polynomial through them [pixel].
    residual : float
        rms of `location` about `edge` [pixel].
    dark, bright : float
        Levels of the two sides above black, in the plane's unit.
    noise : float
        rms of the pixels about the edge spread function, in the plane's unit.
    position : ndarray
        (N,) distance from the edge along its normal, from dark to bright, as far to both sides
        as the region is wide altogether [pixel].
    edge_spread, line_spread : ndarray
        (N,) edge spread function in the plane's unit above black, constant beyond the region; its
        derivative, windowed, which integrates to 1 [1/pixel].
    spacing : float or None
        Pixel pitch of the plane [m].
    """

    frequency: Array
    mtf: Array
    mtf_low: Array
    mtf_high: Array
    mtf50: Interval
    mtf30: Interval
    mtf_half_nyquist: Interval
    orientation: Literal["vertical", "horizontal"]
    angle: float
    location: Array
    edge: Array
    residual: float
    dark: float
    bright: float
    noise: float
    position: Array
    edge_spread: Array
    line_spread: Array
    spacing: float | None

    @property
    def contrast(self) -> float:
        """Modulation of the edge, (bright - dark) / (bright + dark)."""
        return (self.bright - self.dark) / (self.bright + self.dark)

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio: step over noise, infinite without noise."""
        return (self.bright - self.dark) / self.noise if self.noise > 0 else math.inf

    def per_millimetre(self, frequency: float) -> float:
        """Return a frequency of the plane [cycles/pixel] in cycles/mm on the sensor."""
        if self.spacing is None:
            raise ValueError("spacing = None: give the plane's pixel pitch [m] to edge_response")
        return frequency / (self.spacing * 1e3)


def edge_response(
    plane: ArrayLike,
    *,
    order: int = 1,
    window: Window = "tukey",
    oversampling: float | Literal["even"] = 4.0,
    procedure: Procedure = "corrected",
    black_level: float = 0.0,
    white_level: float = math.inf,
    spacing: float | None = None,
    draws: int = 200,
    seed: int = 0,
) -> EdgeResponse:
    """Measure the MTF across the one slanted edge in a plane.

    Parameters
    ----------
    plane : array_like
        (H, W) linear region with one edge, dark and bright side in any place.
    order : int
        Of the polynomial along the edge, 1 to 5; above 1 for edges that distortion bends.
    window : {"tukey", "hamming"}
        Of the line spread function, as wide as the region: cosine to zero, or Hamming's.
    oversampling : float or "even"
        Bins per pixel, 2 to 16; "even" takes the number near 4 that fills them evenly at this
        angle.
    procedure : {"corrected", "sfrmat5"}
        How the rows are located and what is corrected, see Notes.
    black_level : float
        Value in the dark; it is taken off.
    white_level : float
        Pixels at or above it are saturated.
    spacing : float, optional
        Pixel pitch of the plane, for a Bayer plane twice that of the sensor [m].
    draws : int
        Of the bootstrap, 20 or more; 0 for no intervals, about a tenth of the time.
    seed : int
        Of the bootstrap.

    Raises
    ------
    CalibrationError
        The region is too small, clipped, without contrast or not finite; there is no edge, more
        than one, one that leaves the region, or one at an angle that does not sample finely.

    Notes
    -----
    "corrected" divides out the derivative and the bins and takes a flat window
    (`calibration.edge.spread`); it locates each row in a window of some five edge widths. On
    noiseless edges of 3 to 15 deg its MTF50 is within 0.0005 of the truth up to 0.35, and within
    0.0001 with "even" oversampling.

    "sfrmat5" is for comparison with the numbers of others. It corrects the derivative alone, as
    ISO 12233 has it, which lowers an MTF50 of 0.32 by 0.002; and it locates each row in a window
    that reaches to the farther side of the region, so that noise far from the edge moves the
    rows and blurs the result, at order 5 in particular (0.01 in MTF50 on a real edge).

    The intervals are from a wild bootstrap over the rows: the picture that the edge spread
    function predicts, plus the residuals of each row with a common random sign, goes through
    the whole measurement again. Noise that is alike along a row is respected, and so is noise
    that grows with the signal; drawing whole rows instead would leave gaps in the sampling of
    the edge. The MTF's interval is 1.96 standard deviations to either side, and those of MTF50
    and MTF30 are where its ends fall to that level. They hold the noise of this picture, not what
    a bent edge or uneven light does; below a signal-to-noise ratio of about 20 a sharp edge
    is also located too badly, and its MTF50 comes out low.

    Examples
    --------
    >>> y, x = np.mgrid[:100, :80]
    >>> across = (x - 40 - 0.1 * (y - 50)) * np.cos(np.arctan(0.1))
    >>> edge = edge_response(100 + 300 / (1 + np.exp(-across / 0.6)), draws=0)
    >>> round(edge.mtf50.value, 2), round(math.degrees(edge.angle), 1), round(edge.contrast, 2)
    (0.18, 5.7, 0.6)
    """
    _check_arguments(order, window, oversampling, procedure, spacing, draws)
    values = checked(plane, black_level, white_level)
    picture, transposed, mirrored = upright(values)
    measurement = _Measurement(picture, order, window, oversampling, procedure)
    frequency, mtf = measurement.frequency, measurement.mtf
    margin = _NORMAL * measurement.deviation(draws, seed)
    curves = (mtf, np.maximum(mtf - margin, 0), mtf + margin)

    def seen(x: Array) -> Array:
        return picture.shape[1] - 1 - x if mirrored else x

    return EdgeResponse(
        frequency,
        *curves,
        Interval(*(crossing(frequency, curve, 0.5) for curve in curves)),
        Interval(*(crossing(frequency, curve, 0.3) for curve in curves)),
        Interval(*(float(np.interp(0.25, frequency, curve)) for curve in curves)),
        "horizontal" if transposed else "vertical",
        math.atan(-measurement.slope if mirrored else measurement.slope),
        seen(measurement.location),
        seen(measurement.edge),
        float(np.sqrt(np.mean((measurement.location - measurement.edge) ** 2))),
        measurement.dark,
        measurement.bright,
        measurement.noise,
        measurement.bins.position * measurement.cosine,
        measurement.spread,
        measurement.line_spread,
        spacing,
    )


class _Measurement:
    """The measurement of one upright picture, and its repetition with other noise."""

    def __init__(
        self,
        picture: Array,
        order: int,
        window: Window,
        oversampling: float | Literal["even"],
        procedure: Procedure,
    ) -> None:
        rows, columns = picture.shape
        self.picture = picture
        self.centred = procedure == "corrected"
        self.polynomial = Polynomial(rows, order)
        rough = rough_line(picture)
        check_angle(rough.slope, rows)
        self._levels()
        self._locate(rough, order, window, procedure)
        self.cosine = math.cos(math.atan(self.slope))
        number = even_oversampling(self.slope) if oversampling == "even" else oversampling
        self.bins = Bins.across(columns, number)
        self.spread, variance, empty = self.bins.spread(picture, self.edge, centred=self.centred)
        if empty > _MOST_EMPTY:
            angle = abs(math.degrees(math.atan(self.slope)))
            raise CalibrationError(
                f"{empty:.0%} of the bins are empty: at {angle:.2f} deg the rows meet "
                f"the edge at few places within a pixel; turn the chart to about 5 deg, or use "
                f"oversampling='even'"
            )
        self.variance = variance if self.centred else 0.0
        along = np.linspace(0, _HIGHEST, _FREQUENCIES)
        taper = window_of(self.bins, columns / 2, window, flat=self.centred)
        self.transform = Transform(self.bins, taper, along)
        self.frequency = along / self.cosine
        self.mtf = self.transform(self.spread, self.variance)
        step = np.gradient(self.spread) * taper
        self.line_spread: Array = step / (step.sum() * self.bins.width * self.cosine)

        place = np.arange(columns) - self.edge[:, None]
        place = np.clip(place, self.bins.position[0], self.bins.position[-1])
        self.model = np.asarray(CubicSpline(self.bins.position, self.spread)(place))
        self.noise = float(np.sqrt(np.mean((picture - self.model) ** 2)))

    def _locate(self, rough: Rough, order: int, window: Window, procedure: Procedure) -> None:
        """Find the edge in every row, from a rough straight line."""
        rows, columns = self.picture.shape
        line = rough.centre + rough.slope * (np.arange(rows) - (rows - 1) / 2)
        half: Array | float = min(6 + 2 * rough.rise, columns / 2)
        lobe = 0.5
        straight = Polynomial(rows, 1)
        line = straight(RowLocator(self.picture.shape, line, half)(self.picture))
        if procedure == "sfrmat5":
            half = np.maximum(line + 0.5, columns - 0.5 - line)
            lobe = 0.475 if window == "tukey" else WINDOWS[window]
        elif order > 1:
            line = self.polynomial(RowLocator(self.picture.shape, line, half)(self.picture))
        self.locator = RowLocator(self.picture.shape, line, half, lobe)
        self.location = self.locator(self.picture)
        self.edge = self.polynomial(self.location)
        self.slope = self.polynomial.slope(self.edge)
        check_line(self.location, self.edge, columns, rough.rise, order)

    def _levels(self) -> None:
        """Find the levels of the sides, and refuse a weak edge."""
        end = max(1, self.picture.shape[1] // 20)
        self.dark = float(self.picture[:, :end].mean())
        self.bright = float(self.picture[:, -end:].mean())
        total = self.bright + self.dark
        if not (total > 0 and (self.bright - self.dark) / total >= _LEAST_CONTRAST):
            raise CalibrationError(
                f"the sides of the edge are at {self.dark:.4g} and {self.bright:.4g} above black, "
                f"a contrast of {(self.bright - self.dark) / total if total else 0:.2f}; at least "
                f"{_LEAST_CONTRAST:g} is needed, 0.6 to 0.82 (4:1 to 10:1) is good: use a chart "
                f"of more contrast, remove stray light, or check black_level"
            )

    def deviation(self, draws: int, seed: int) -> Array:
        """Return the standard deviation of the MTF (F,) by a wild bootstrap; nan without draws."""
        if draws == 0:
            return np.full_like(self.mtf, math.nan)
        rng = np.random.default_rng(seed)
        rows = len(self.edge)
        # A mean over n pixels takes one of n degrees of freedom off their residuals.
        pixels = max(2.0, rows * self.bins.width)
        residual = (self.picture - self.model) * math.sqrt(pixels / (pixels - 1))
        curves = []
        for _ in range(draws):
            picture = self.model + rng.choice([-1.0, 1.0], (rows, 1)) * residual
            edge = self.polynomial(self.locator(picture))
            spread, _, _ = self.bins.spread(picture, edge, centred=self.centred)
            curves.append(self.transform(spread, self.variance))
        out: Array = np.std(curves, axis=0, ddof=1)
        return out


def _check_arguments(
    order: int,
    window: str,
    oversampling: float | str,
    procedure: str,
    spacing: float | None,
    draws: int,
) -> None:
    """Refuse arguments that make no sense whatever the plane."""
    if order not in range(1, 6):
        raise ValueError(f"order = {order}: 1 (straight) to 5 are allowed")
    if window not in WINDOWS:
        raise ValueError(f"window = {window!r}, expected one of {', '.join(WINDOWS)}")
    if procedure not in ("corrected", "sfrmat5"):
        raise ValueError(f"procedure = {procedure!r}, expected 'corrected' or 'sfrmat5'")
    if isinstance(oversampling, str):
        if oversampling != "even":
            raise ValueError(f"oversampling = {oversampling!r}, expected a number or 'even'")
    elif not 2 <= oversampling <= 16:
        raise ValueError(f"oversampling = {oversampling:g} bins per pixel: 2 to 16 are allowed")
    if spacing is not None and not 1e-7 <= spacing <= 1e-3:
        raise ValueError(
            f"spacing = {spacing:g} m: 0.1 um to 1 mm are allowed; lengths are metres, so 3.1 um "
            f"is 3.1e-6"
        )
    if draws != 0 and draws < 20:
        raise ValueError(f"draws = {draws}: 0 for no intervals, or at least 20")
