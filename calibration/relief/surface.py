r"""A measured surface against its design: where it lies, how deep it is, and what is wrong with it.

Every measured height is explained by

.. math:: m(q) = a \, D(p) + b \, \nabla^2 D(p) + c + g_x q_x + g_y q_y

with the design D, smoothed by less than a sample, at the place p of
`calibration.relief.placement`: a is the scale of the depth, b stands for the blur of the process
and the instrument (:math:`\sigma^2 = 2 b / a` to second order), c and g are the piston and the
tilt of the sample under the instrument. Missing points are left out, not filled, so that the
noise stays white and the Jacobian gives the uncertainties.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from calibration.errors import CalibrationError
from calibration.relief.placement import Placement, first_guess, sample, smoothed
from hardware.fabrication.design import Map, MaskDesign
from hardware.fabrication.measured import Measured

_MOST_POINTS = 200_000  # of a fit; more make it slower and hardly better
_FINEST = 0.5  # smoothing of the design in the last fit, in samples
_LEAST_EXPLAINED = 0.5  # share of the variance; a wrong orientation explains next to none
_MOST_SCALE = 0.1  # by which the made surface may be larger or smaller than the design
_OUTLIERS = 3.0  # standard deviations from which on a residual counts less
_SEEN = 0.9  # share of a design cell's weight that has to be measured


@dataclass(frozen=True)
class Surface:
    """What the fit found, or its standard uncertainty.

    Attributes
    ----------
    placement : Placement
        Where the design lies in the measured map.
    etch_scale : float
        Depth of the made surface relative to the design.
    piston : float
        Height of the design's zero [m].
    tilt_x, tilt_y : float
        Slope of the sample under the instrument, rise over run.
    """

    placement: Placement
    etch_scale: float
    piston: float
    tilt_x: float
    tilt_y: float


@dataclass(frozen=True)
class Registration:
    """A measured surface laid on its design.

    Attributes
    ----------
    mirrored : bool
        Whether the measured map was mirrored left to right to fit.
    quarter_turns : int
        How often it was then turned from x towards -y by 90 deg.
    surface : Surface
        Best values, for the map after mirror and turns.
    uncertainty : Surface
        Standard uncertainties, if the noise is white; texture that the design does not have makes
        them too small.
    blur : float
        Standard deviation of the blur of process and instrument, to second order [m].
    residual : ndarray
        (H, W) on the design's grid: made less designed height, without piston and tilt, mean 0
        over the clear diameter; NaN where nothing was measured [m].
    rms : float
        Of `residual` over the clear diameter [m].
    noise : float
        Scatter of the measured heights about the fit [m].
    explained : float
        Share of the variance of the measured heights that the fit explains.
    """

    mirrored: bool
    quarter_turns: int
    surface: Surface
    uncertainty: Surface
    blur: float
    residual: Map
    rms: float
    noise: float
    explained: float


def register(
    measured: Measured,
    design: MaskDesign,
    *,
    max_turn: float = math.radians(10),
    orientations: Literal["given", "all"] = "given",
) -> Registration:
    """Lay a measured surface on its design.

    Parameters
    ----------
    measured : Measured
        The made surface, seen like the design but for what is found here.
    design : MaskDesign
        The design.
    max_turn : float
        Largest turn [rad].
    orientations : {"given", "all"}
        Whether to try all mirror images and quarter turns too.

    Raises
    ------
    CalibrationError
        The two do not fit together, or too few points were measured.
    """
    if orientations not in ("given", "all"):
        raise ValueError(f"orientations = {orientations!r}, expected 'given' or 'all'")
    if not 0 <= max_turn <= math.pi:
        raise ValueError(f"max_turn = {max_turn:g} rad: 0 to pi are allowed; angles are in radians")
    if design.relief == 0:
        raise CalibrationError("the design is flat: there is nothing to register to")
    every = [(m, q) for m in (False, True) for q in range(4)]
    best = None
    for mirrored, turns in every if orientations == "all" else [(False, 0)]:
        upright = measured.oriented(mirrored=mirrored, quarter_turns=turns)
        score, guess = first_guess(
            upright, design.height, design.spacing, design.diameter, max_turn
        )
        if best is None or score > best[0]:
            best = (score, guess, upright, mirrored, turns)
    if best is None:
        raise CalibrationError("no orientation was tried")
    _, guess, upright, mirrored, turns = best
    fit = _Fit(upright, design)
    values = fit.refined(guess)
    surface, uncertainty, blur, noise, explained = fit.outcome(values)
    residual = _residual(upright, design, surface)
    good = residual[design.clear & np.isfinite(residual)]
    return Registration(
        mirrored,
        turns,
        surface,
        uncertainty,
        blur,
        residual,
        float(np.sqrt(np.mean(good**2))),
        noise,
        explained,
    )


class _Fit:
    """Ten numbers, all of order one: places in samples at the rim, heights in rms of the design.

    Shift x, y; turn; scale x, y less one; depth scale; blur; piston; tilt x, y.
    """

    def __init__(self, measured: Measured, design: MaskDesign) -> None:
        self.measured, self.design = measured, design
        self.pitch = max(measured.spacing_x, measured.spacing_y)
        height, self.spacing = design.height, design.spacing
        finer = math.ceil(design.spacing / self.pitch - 1e-6)
        while finer > 1 and finer * max(height.shape) > 8192:
            finer -= 1
        if design.pixelated and finer > 1:  # the instrument sees that cells are flat
            height = np.repeat(np.repeat(height, finer, 0), finer, 1)
            self.spacing /= finer
        self.ground = float(design.height[design.clear].mean())
        self.height = height - self.ground
        self.rms = float(self.height.std())
        self.rim = design.diameter / 2

    def refined(self, guess: Placement) -> NDArray[np.float64]:
        """Return the ten numbers, from coarse to fine smoothing."""
        unit = self.rim / self.pitch
        values = np.zeros(10)
        values[:3] = (
            guess.shift_x / self.pitch,
            guess.shift_y / self.pitch,
            guess.turn * unit,
        )
        values[5] = 1.0
        finest = _FINEST * max(self.spacing, self.pitch)
        sigma = max(2 * self.rim / 96, 3 * finest)
        while sigma > 1.5 * finest:
            values = self._solve(values, sigma, alike=True)
            sigma /= 3
        return self._solve(values, finest, alike=False)

    def outcome(self, values: NDArray[np.float64]) -> tuple[Surface, Surface, float, float, float]:
        """Return the values, their uncertainties, blur, noise and share explained."""
        error = self._errors(values)
        noise = 1.4826 * float(np.median(np.abs(error - np.median(error))))
        jacobian = self._jacobian(values)
        try:
            covariance = np.linalg.inv(jacobian.T @ jacobian) * noise**2
        except np.linalg.LinAlgError as error_:
            raise CalibrationError(
                "the design has no structure that fixes shift, turn and scale at once"
            ) from error_
        tilts = np.stack([np.ones_like(self.x), self.x, self.y], axis=1)
        plain = self.z - tilts @ np.linalg.lstsq(tilts, self.z, rcond=None)[0]
        explained = 1 - float(np.sum(error**2) / np.sum(plain**2))
        surface = self._surface(values, self.ground)
        stretch = max(abs(surface.placement.scale_x - 1), abs(surface.placement.scale_y - 1))
        if not (explained > _LEAST_EXPLAINED and values[5] > 0 and stretch < _MOST_SCALE):
            raise CalibrationError(
                f"the measured surface does not fit the design: {max(explained, 0):.0%} of its "
                f"variance is explained ({_LEAST_EXPLAINED:.0%} are needed), with a depth scale of "
                f"{values[5]:.2f} and a size off by {stretch:.0%} ({_MOST_SCALE:.0%} are allowed); "
                f"check which way y runs and the lateral calibration, or try orientations='all'"
            )
        squared = self.sigma**2 + 2 * values[6] / values[5] * self.pitch**2
        sizes = np.sqrt(np.diag(covariance))
        spread = self._surface(sizes, 0.0)
        ones = spread.placement
        # The piston is that of the design's zero, so the scale has a part in it.
        lever = np.array([-self.ground, self.rms])
        piston = math.sqrt(float(lever @ covariance[np.ix_([5, 7], [5, 7])] @ lever))
        spread = replace(
            spread,
            placement=replace(ones, scale_x=ones.scale_x - 1, scale_y=ones.scale_y - 1),
            piston=piston,
        )
        return surface, spread, math.sqrt(max(squared, 0.0)), noise * self.rms, explained

    def _surface(self, values: NDArray[np.float64], ground: float) -> Surface:
        """Return numbers in SI units; `ground` is the height that was taken off the design [m]."""
        place = values[:2] * self.pitch
        around = values[2:5] * self.pitch / self.rim
        return Surface(
            Placement(
                float(place[0]),
                float(place[1]),
                float(around[0]),
                float(1 + around[1]),
                float(1 + around[2]),
            ),
            float(values[5]),
            float(values[7] * self.rms - values[5] * ground),
            float(values[8] * self.rms / self.rim),
            float(values[9] * self.rms / self.rim),
        )

    def _solve(
        self, values: NDArray[np.float64], sigma: float, *, alike: bool
    ) -> NDArray[np.float64]:
        self._prepare(values, sigma, alike=alike)
        error = self._errors(values)
        scale = _OUTLIERS * 1.4826 * float(np.median(np.abs(error))) + 1e-9
        found = optimize.least_squares(
            self._errors,
            values,
            jac=self._jacobian,
            loss="soft_l1",
            f_scale=scale,
            max_nfev=60,
        )
        solution: NDArray[np.float64] = found.x
        return solution

    def _prepare(self, values: NDArray[np.float64], sigma: float, *, alike: bool) -> None:
        """Smooth the design, and the measured map too if `alike`; choose the points."""
        measured = self.measured
        steps = sigma / self.spacing
        smooth = ndimage.gaussian_filter(self.height, steps, mode="nearest")
        along, across = np.gradient(smooth, self.spacing)
        bend = ndimage.laplace(smooth, mode="nearest") / self.spacing**2
        self.maps = (ndimage.spline_filter(smooth), across, along, bend)
        self.sigma = sigma
        height = measured.height
        if alike:
            broad = (sigma / measured.spacing_y, sigma / measured.spacing_x)
            height = smoothed(height, measured.valid, broad)
        x, y = measured.axes()
        grid_x, grid_y = np.meshgrid(x, y)
        place = self._surface(values, 0.0).placement
        u, v = place.to_design(grid_x, grid_y)
        keep = np.isfinite(height) & measured.valid & (np.hypot(u, v) < self.rim - sigma)
        chosen = np.flatnonzero(keep)
        if len(chosen) < 100:
            raise CalibrationError(
                f"{len(chosen)} measured points lie within the clear diameter, 100 are needed; "
                f"measure a larger field, or check the lateral calibration"
            )
        if len(chosen) > _MOST_POINTS:
            chosen = np.random.default_rng(0).choice(chosen, _MOST_POINTS, replace=False)
        self.x, self.y = grid_x.flat[chosen], grid_y.flat[chosen]
        self.z = height.flat[chosen] / self.rms

    def _parts(self, values: NDArray[np.float64]) -> tuple[Map, Map, list[Map]]:
        u, v = self._surface(values, 0.0).placement.to_design(self.x, self.y)
        found = []
        for number, values_ in enumerate(self.maps):
            order = 1 if number else 3
            found.append(sample(values_, (self.spacing, self.spacing), u, v, order) / self.rms)
        return u, v, found

    def _errors(self, values: NDArray[np.float64]) -> Map:
        _, _, (drawn, _, _, bend) = self._parts(values)
        model = values[5] * drawn + values[6] * self.pitch**2 * bend + values[7]
        model += (values[8] * self.x + values[9] * self.y) / self.rim
        out: Map = model - self.z
        return out

    def _jacobian(self, values: NDArray[np.float64]) -> Map:
        """Return the derivatives (points, 10); that of the blur's small term is left out."""
        u, v, (drawn, across, along, bend) = self._parts(values)
        place = self._surface(values, 0.0).placement
        c, s = math.cos(place.turn), math.sin(place.turn)
        across = values[5] * across / place.scale_x
        along = values[5] * along / place.scale_y
        lever = self.pitch / self.rim
        columns = [
            (-c * across + s * along) * self.pitch,
            (-s * across - c * along) * self.pitch,
            (across * v * place.scale_y - along * u * place.scale_x) * lever,
            -across * u * lever,
            -along * v * lever,
            drawn,
            bend * self.pitch**2,
            np.ones_like(drawn),
            self.x / self.rim,
            self.y / self.rim,
        ]
        return np.stack(columns, axis=1)


def _residual(measured: Measured, design: MaskDesign, surface: Surface) -> Map:
    """Return made less designed height (H, W) on the design's grid [m]."""
    x, y = np.meshgrid(*measured.axes())
    flat = measured.height - surface.piston - surface.tilt_x * x - surface.tilt_y * y
    weight = measured.valid.astype(np.float64)
    flat = np.where(measured.valid, flat, 0.0)
    size = [max(1, round(design.spacing / s)) for s in (measured.spacing_y, measured.spacing_x)]
    if max(size) > 1:  # the mean over a cell, of what was measured in it
        flat = ndimage.uniform_filter(flat, size, mode="constant")
        weight = ndimage.uniform_filter(weight, size, mode="constant")
    u, v = surface.placement.to_measured(*np.meshgrid(*design.axes()))
    steps = (measured.spacing_x, measured.spacing_y)
    share = sample(weight, steps, u, v)
    rows, columns = measured.height.shape
    share[(np.abs(u) > (columns - 1) / 2 * steps[0]) | (np.abs(v) > (rows - 1) / 2 * steps[1])] = 0
    made = np.divide(
        sample(flat, steps, u, v), share, out=np.full(u.shape, np.nan), where=share >= _SEEN
    )
    residual: Map = made - design.height
    inside = residual[design.clear & np.isfinite(residual)]
    if not len(inside):
        raise CalibrationError("no cell within the clear diameter was measured")
    return residual - float(inside.mean())
