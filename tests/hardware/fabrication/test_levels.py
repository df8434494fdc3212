"""Levels of a multi-level relief: closed forms and the addition of the etches."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hardware.fabrication.levels import Levels
from tests.hardware.fabrication.designs import blazed, design_of


def test_etches_add_up_to_the_surface():
    design = blazed()
    levels = Levels(8)
    taken = sum(
        depth * etch
        for depth, etch in zip(levels.depths(design), levels.etched(design), strict=True)
    )
    top = 7 * levels.step(design)
    # the same multiples of one step: float64 rounding of a micrometre
    np.testing.assert_allclose(top - taken, levels.surface(design).height, atol=1e-20)


@pytest.mark.parametrize("waves", [1, 6])
def test_rounding_is_at_most_half_a_step_up_to_whole_wraps(waves):
    design = blazed()
    levels = Levels(16, waves=waves)
    wrap = waves * design.turn_height
    error = (levels.surface(design).height - design.height)[design.clear]
    error -= wrap * np.round(error / wrap)
    assert np.abs(error).max() <= levels.step(design) * (0.5 + 1e-9)
    assert np.abs(error).max() > 0.3 * levels.step(design)  # the map is no stair to begin with


def test_nothing_is_etched_outside_the_clear_diameter():
    design = replace(blazed(), diameter=100e-6)
    assert not Levels(4).etched(design)[:, ~design.clear].any()


@pytest.mark.parametrize(("count", "wanted"), [(2, 0.405), (4, 0.811), (8, 0.950), (16, 0.987)])
def test_efficiency_is_that_of_the_text_books(count, wanted):
    assert Levels(count).efficiency() == pytest.approx(wanted, abs=5e-4)  # three digits are given


@pytest.mark.parametrize("count", [0, 1, 3, 6, 12, 512, -8])
def test_a_level_count_that_etches_cannot_make_is_refused(count):
    with pytest.raises(ValueError, match="one of 2, 4, 8"):
        Levels(count)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wavelength": 540.0}, "metres"),
        ({"wavelength": -1e-6}, "wavelength"),
        ({"index": 1.0}, "index"),
        ({"index": math.nan}, "index"),
        ({"diameter": 5.0}, "larger than the map"),
        ({"name": "a/b"}, "letters"),
        ({"cell": -4e-6, "diameter": 1e-4}, "spacing"),
    ],
)
def test_a_design_that_means_nothing_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        design_of(np.ones((8, 9)), **changes)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_height_that_is_not_finite_is_named_with_its_cell(bad):
    height = np.zeros((6, 7))
    height[2, 5] = bad
    with pytest.raises(ValueError, match=r"height\[2, 5\]"):
        design_of(height)


@pytest.mark.parametrize("shape", [(0, 0), (1, 5), (5,), (2, 3, 4)])
def test_a_map_without_two_sides_is_refused(shape):
    with pytest.raises(ValueError, match="at least 2 x 2"):
        design_of(np.zeros(shape), diameter=1e-6)


def test_seen_from_the_sensor_the_map_is_mirrored_left_to_right():
    design = blazed()
    seen = design.as_seen("sensor")
    np.testing.assert_array_equal(seen.height, np.fliplr(design.height))
    assert seen.digest != design.digest
    np.testing.assert_array_equal(seen.as_seen("sensor").height, design.height)


def test_the_digest_covers_heights_and_their_meaning():
    design = blazed()
    assert design.digest == blazed().digest
    assert replace(design, index=1.5).digest != design.digest
    moved = design.height.copy()
    moved[3, 4] += 1e-12
    assert replace(design, height=moved).digest != design.digest
