"""Registration: a surface that is made with known errors gives them back."""

import math

import numpy as np
import pytest
from scipy import ndimage

from calibration.errors import CalibrationError
from calibration.relief.placement import Placement
from calibration.relief.surface import register
from hardware.fabrication.measured import Measured
from tests.hardware.fabrication.designs import design_of

CELL = 4e-6
SHAPE = (72, 96)
TRUE = Placement(5.3e-6, -9.1e-6, 0.021, 1.004, 0.997)
TURN = 540e-9 / 0.4604


def waves(x, y):
    """A smooth surface of a few waves without symmetry [m]; 60 um are the shortest."""
    rng = np.random.default_rng(8)
    out = np.zeros(np.broadcast(x, y).shape)
    for _ in range(14):
        f = rng.uniform(-1 / 60e-6, 1 / 60e-6, 2) / math.sqrt(2)
        out += rng.normal() * np.cos(2 * np.pi * (f[0] * x + f[1] * y) + rng.uniform(0, 6.3))
    return out * 3e-7


def steep(x, y):
    """The same, wrapped at one wave: zones of some six cells."""
    return waves(x, y) % TURN


def grid(shape, pitch):
    y, x = np.indices(shape, float)
    return (x - (shape[1] - 1) / 2) * pitch, (y - (shape[0] - 1) / 2) * pitch


def design_like(function, **changes):
    return design_of(function(*grid(SHAPE, CELL)), cell=CELL, **changes)


def cells(function):
    """The same surface made of flat cells."""

    def flat(x, y):
        column = np.floor(x / CELL + SHAPE[1] / 2)
        row = np.floor(y / CELL + SHAPE[0] / 2)
        return function((column - (SHAPE[1] - 1) / 2) * CELL, (row - (SHAPE[0] - 1) / 2) * CELL)

    return flat


def made(
    function,
    *,
    place=TRUE,
    scale=0.96,
    noise=5e-9,
    blur=0.0,
    missing=0.03,
    shape=(80, 104),
    pitch=3.9e-6,
    tilt=(4e-4, -7e-4),
    seed=1,
):
    """The surface as an instrument sees it, each point the mean of 3 x 3 in it."""
    rng = np.random.default_rng(seed)
    x, y = grid((shape[0] * 3, shape[1] * 3), pitch / 3)
    c, s = math.cos(place.turn), math.sin(place.turn)
    u, v = x - place.shift_x, y - place.shift_y
    height = scale * function((c * u + s * v) / place.scale_x, (c * v - s * u) / place.scale_y)
    height = ndimage.gaussian_filter(height, blur / pitch * 3) if blur else height
    height = height.reshape(shape[0], 3, shape[1], 3).mean((1, 3))
    x, y = grid(shape, pitch)
    height += 2e-6 + tilt[0] * x + tilt[1] * y + rng.normal(size=shape) * noise
    height[rng.random(shape) < missing] = np.nan
    return Measured(height, pitch, pitch, "simulated")


def off(found, true=TRUE):
    """Errors: shifts in cells, turn in mrad, scales in parts in a thousand."""
    return {
        "shift": math.hypot(found.shift_x - true.shift_x, found.shift_y - true.shift_y) / CELL,
        "turn": abs(found.turn - true.turn) * 1e3,
        "scale": max(abs(found.scale_x - true.scale_x), abs(found.scale_y - true.scale_y)) * 1e3,
    }


def test_a_smooth_surface_gives_back_how_it_was_laid_and_made():
    design = design_like(waves, pixelated=False)
    result = register(made(waves), design)
    error = off(result.surface.placement)
    # noise / (slope sqrt(points)) = 5 nm / (20 nm per cell x 60) is 0.004 cells
    assert error["shift"] < 0.02
    assert error["turn"] < 0.3  # that over the rim at 36 cells, three times
    assert error["scale"] < 0.3
    assert result.surface.etch_scale == pytest.approx(0.96, abs=1e-3)
    # height of the slope over the map's half side below the noise
    assert result.surface.tilt_x == pytest.approx(4e-4, abs=5e-6)
    assert result.surface.tilt_y == pytest.approx(-7e-4, abs=5e-6)
    assert result.noise == pytest.approx(5e-9, rel=0.1)  # 4000 points: 2 %, and the waves' bend
    spread = result.uncertainty.placement
    for name in ("shift_x", "shift_y", "turn", "scale_x", "scale_y"):
        sigma = getattr(spread, name)
        error_ = abs(getattr(result.surface.placement, name) - getattr(TRUE, name))
        assert 0 < error_ / sigma < 5, name  # one draw of five normal numbers


def test_the_residual_is_the_error_of_the_depth_on_the_designs_grid():
    design = design_like(waves, pixelated=False)
    result = register(made(waves, noise=1e-9), design)
    good = design.clear & np.isfinite(result.residual)
    assert good.sum() > 0.85 * design.clear.sum()  # 3 % are missing, and cells beside them
    wanted = -0.04 * design.height
    wanted -= wanted[good].mean()
    error = (result.residual - wanted)[good]
    # linear interpolation: bend x pitch^2 / 8 = A (2 pi / 60 um)^2 (3.9 um)^2 / 8, A = 0.8 um
    assert np.sqrt(np.mean(error**2)) < 8e-9
    assert result.rms == pytest.approx(np.sqrt(np.mean(wanted[good] ** 2)), rel=0.15)


def test_a_wrapped_blurred_surface_gives_back_how_it_was_laid():
    result = register(made(steep, blur=2e-6), design_like(steep))
    error = off(result.surface.placement)
    # Every one of some thousand cells on a jump is off by up to half a cell, at random.
    assert error["shift"] < 0.05
    assert error["turn"] < 1.5  # 0.05 cells at the rim
    assert error["scale"] < 1.5


def test_flat_cells_seen_by_a_fine_instrument():
    design = design_like(steep)
    picture = made(cells(steep), shape=(200, 260), pitch=1.6e-6)
    result = register(picture, design)
    error = off(result.surface.placement)
    assert error["shift"] < 0.05
    assert error["turn"] < 1.5
    assert result.surface.etch_scale == pytest.approx(0.96, abs=0.02)  # walls are smoothed


def test_every_mirror_image_and_quarter_turn_is_found():
    design = design_like(waves, pixelated=False)
    picture = made(waves, place=Placement(turn=0.05))
    for mirrored, turns in ((True, 0), (False, 1), (True, 3)):
        # undo what `register` is to find: turns first, then the mirror
        seen = picture.oriented(mirrored=False, quarter_turns=(-turns) % 4)
        seen = seen.oriented(mirrored=mirrored, quarter_turns=0)
        result = register(seen, design, orientations="all")
        assert (result.mirrored, result.quarter_turns) == (mirrored, turns)
        assert off(result.surface.placement, Placement(turn=0.05))["turn"] < 0.3


def test_outliers_hardly_matter():
    picture = made(waves)
    rng = np.random.default_rng(5)
    spikes = rng.random(picture.height.shape) < 0.01
    height = np.where(spikes, picture.height + 3e-6, picture.height)
    result = register(
        Measured(height, picture.spacing_x, picture.spacing_y, "spikes"),
        design_like(waves, pixelated=False),
    )
    assert off(result.surface.placement)["shift"] < 0.05
    assert result.surface.etch_scale == pytest.approx(0.96, abs=5e-3)


def test_another_surface_is_refused():
    def other(x, y):
        return waves(y * 1.3 + 3e-4, x * 0.8 - 2e-4)

    with pytest.raises(CalibrationError, match="does not fit"):
        register(made(other), design_like(waves, pixelated=False))


def test_too_few_points_and_wrong_words_are_refused():
    design = design_like(waves, pixelated=False)
    with pytest.raises(CalibrationError, match="100 are needed"):
        register(made(waves, missing=0.99), design)
    with pytest.raises(CalibrationError, match="flat"):
        register(made(waves), design_of(np.zeros(SHAPE)))
    with pytest.raises(ValueError, match="orientations"):
        register(made(waves), design, orientations="some")
    with pytest.raises(ValueError, match="radians"):
        register(made(waves), design, max_turn=10.0)


def test_a_place_in_the_design_goes_there_and_back():
    x, y = grid((5, 7), 1e-5)
    u, v = TRUE.to_design(*TRUE.to_measured(x, y))
    np.testing.assert_allclose([u, v], [x, y], atol=1e-18)
    # a positive turn takes the point on the x axis towards y, which is down
    across, down = Placement(turn=0.1).to_measured(np.array(1.0), np.array(0.0))
    assert across > 0
    assert down > 0
