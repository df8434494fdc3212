"""Design rules against closed forms: gratings, rings, spheres, waves and checkerboards."""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

import configs
from configs.quantities import parse_quantity
from hardware.errors import DesignRuleError
from hardware.fabrication.design import asymmetric_letter
from hardware.fabrication.findings import MOST_PLACES
from hardware.fabrication.levels import Levels
from hardware.fabrication.regions import isolated, smallest_width, too_narrow
from hardware.fabrication.rules import Process
from hardware.fabrication.target import Estimate
from tests.hardware.fabrication.designs import blazed, design_of

CELL = 4e-6
TURN = 540e-9 / 0.4604
TWO = Levels(2)


def lines(low, high, shape=(60, 84)):
    """Grating along x of two levels: `low` etched cells, then `high` cells left."""
    x = np.arange(shape[1]) % (low + high)
    return np.broadcast_to(np.where(x < low, 0.0, TURN / 2), shape).copy()


def only(report, rule):
    found = [finding for finding in report.findings if finding.rule.startswith(rule)]
    assert len(found) == 1, [f.rule for f in report.findings]
    return found[0]


def lens(focal_length, shape=(200, 240), cell=CELL):
    """Unwrapped paraxial lens r^2 / (2 f), in turns, and the radius of every cell."""
    y, x = np.indices(shape, float)
    y, x = (y - (shape[0] - 1) / 2) * cell, (x - (shape[1] - 1) / 2) * cell
    r = np.hypot(x, y)
    return r**2 / (2 * focal_length * 540e-9), r


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("low", "high"), [(3, 5), (5, 3), (2, 7), (4, 4)])
def test_widths_of_a_grating_are_those_it_was_drawn_with(low, high, turned):
    height = lines(low, high)
    design = design_of(height.T.copy() if turned else height)
    report = Process(min_feature=20 * CELL, min_gap=20 * CELL).check(design, TWO)
    assert only(report, "min_feature").value == pytest.approx(low * CELL)
    assert only(report, "min_gap").value == pytest.approx(high * CELL)


def test_a_width_at_the_limit_is_kept_and_one_cell_less_is_not():
    design = design_of(lines(3, 5))
    assert only(Process(min_feature=3 * CELL).check(design, TWO), "min_feature").ok
    broken = only(Process(min_feature=3.01 * CELL).check(design, TWO), "min_feature")
    assert not broken.ok
    y, x = np.meshgrid(*design.axes()[::-1], indexing="ij")
    inner = np.hypot(x, y) < design.diameter / 2 - 4 * CELL  # lines cut by the rim go on
    np.testing.assert_array_equal(broken.cells[inner], TWO.etched(design)[0][inner])
    assert broken.count == broken.cells.sum()
    assert len(broken.places) == MOST_PLACES


def test_only_the_etch_with_the_narrow_lines_fails():
    # A line of level 2, two cells wide, is the finest etch's alone; both make the wide one.
    numbers = np.full((60, 84), 3)
    numbers[:, 30:60] = 0
    numbers[:, 20:22] = 2
    report = Process(min_feature=3 * CELL).check(design_of(numbers * TURN / 4), Levels(4))
    assert [f.ok for f in report.findings] == [False, True]
    assert report.failed[0].rule.endswith("etch 1")


def test_a_broken_place_is_where_it_was_drawn():
    height = np.full((60, 84), TURN / 2)
    height[20:30, 40:60] = 0
    height[11, 33:41] = 0  # the thin line, above and left of the middle
    design = design_of(height)
    finding = only(Process(min_feature=2 * CELL).check(design, TWO), "min_feature")
    place = finding.places[0]
    assert (place.row, place.column) == (11, 33)
    assert place.x == pytest.approx((33 - 83 / 2) * CELL)
    assert place.y == pytest.approx((11 - 59 / 2) * CELL)
    assert finding.count == 8


def test_narrow_cells_of_the_letter_are_its_bars_and_stay_upright():
    letter = np.zeros((44, 60), bool)
    letter[6:38, 8:40] = asymmetric_letter(32)  # bars 4 cells wide
    assert smallest_width(letter, 12, beyond=False, where=letter) == 4
    letter[12, 30:39] = True  # one hair to the right of the upper bar
    found = too_narrow(letter, 2, beyond=False)
    wanted = np.zeros_like(letter)
    wanted[12, 32:39] = True  # from the end of the upper bar on
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("beyond", [False, True])
def test_openings_agree_with_scipys(width, beyond):
    from scipy import ndimage

    region = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(70, 91)), 2) > 0
    padded = np.pad(region, 2 * width, constant_values=beyond)
    opened = ndimage.binary_opening(padded, np.ones((width, width)))
    # scipy's own border is nothing, so its outermost cells say nothing
    inner = (slice(2 * width, -2 * width),) * 2
    np.testing.assert_array_equal(too_narrow(region, width, beyond=beyond), region & ~opened[inner])


def test_every_cell_of_a_checkerboard_is_alone_over_edges_and_none_over_corners():
    board = np.indices((20, 31)).sum(0) % 2 == 0
    inner = np.zeros_like(board)
    inner[1:-1, 1:-1] = True
    assert isolated(board, 4)[inner].all()
    assert not isolated(board, 8)[inner].any()


def test_lone_cells_are_counted_in_the_clear_diameter_alone():
    height = np.full((60, 84), TURN / 2)
    height[30, 40] = height[25, 47] = 0
    height[31, 41] = 0  # touches the first over a corner
    design = design_of(height)
    assert only(Process(isolated=4).check(design, TWO), "isolated").count == 3
    assert only(Process(isolated=8).check(design, TWO), "isolated").count == 1
    assert Process(isolated=4).check(design_of(height, diameter=10 * CELL), TWO).findings[0].count


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("count", [None, 16])
def test_zone_widths_of_a_fresnel_lens(wrapped, count):
    """Rings end at r_m = sqrt(2 m wavelength f), so they are wavelength f / r wide."""
    focal_length, limit = 20e-3, 40e-6
    turns, r = lens(focal_length)
    height = (turns % 1 if wrapped else turns) * TURN
    design = design_of(height)
    if count:
        height = Levels(count).surface(design).height
        if not wrapped:
            height = np.round(turns * count) / count * TURN
        design = design_of(height)
    finding = only(Process(min_zone=limit).check(design), "min_zone")
    rim = design.diameter / 2
    m = rim**2 / (2 * 540e-9 * focal_length)
    rings = [math.sqrt(2 * n * 540e-9 * focal_length) for n in (m - 1, m)]
    # The last ring's mean rate is that of its middle, about 1/(4 m) below the rim's; the square of
    # 10 cells sees half its width less at the rim; stairs add one part in their number.
    assert finding.value == pytest.approx(rings[1] - rings[0], rel=0.05 + (0.04 if count else 0))
    assert finding.value == pytest.approx(540e-9 * focal_length / rim, rel=0.06)
    if count is None:
        border = 540e-9 * focal_length / limit  # 270 um: here zones are as wide as the limit
        sure = 2 * CELL  # the square averages a linear rate exactly, away from the rim
        inner = r < rim - limit
        assert finding.cells[inner & (r > border + sure)].all()
        assert not finding.cells[r < border - sure].any()
        assert (inner & (r > border + sure)).any()


def test_a_relief_of_two_waves_has_zones_twice_as_wide():
    turns, _ = lens(20e-3)
    design = design_of(turns % 2 * TURN)
    one = only(Process(min_zone=40e-6).check(design, Levels(16)), "min_zone").value
    two = only(Process(min_zone=40e-6).check(design, Levels(16, waves=2)), "min_zone").value
    assert two == pytest.approx(2 * one, rel=1e-4)  # float32


def sphere(radius, sign=1.0, shape=(150, 190), cell=CELL):
    _, r = lens(1.0, shape, cell)
    return sign * (radius - np.sqrt(radius**2 - r**2)), r


@pytest.mark.parametrize("shape", [(150, 190), (300, 320)])
def test_the_slope_of_a_sphere(shape):
    radius = 2e-3
    height, _ = sphere(radius, shape=shape)
    design = design_of(height, pixelated=False)
    rim = np.hypot(*np.meshgrid(*design.axes()))[design.clear].max()
    finding = only(Process(max_slope=1e-3).check(design), "max_slope")
    # central differences: (spacing / R)^2 / 2 and less
    assert finding.value == pytest.approx(rim / math.sqrt(radius**2 - rim**2), rel=2e-4)


def test_a_hollow_sphere_takes_a_tool_of_its_own_radius_and_a_dome_takes_any():
    radius = 2e-3
    hole = design_of(sphere(radius)[0], pixelated=False)
    finding = only(Process(tool_radius=1e-3).check(hole), "tool_radius")
    assert finding.ok
    # second differences: (spacing / R)^2, at the rim times 1 / cos^4
    assert finding.value == pytest.approx(radius, rel=1e-4)
    assert not only(Process(tool_radius=2.01e-3).check(hole), "tool_radius").ok
    dome = design_of(sphere(radius, -1.0)[0], pixelated=False)
    assert only(Process(tool_radius=1.0).check(dome), "tool_radius").value == math.inf


def test_the_valleys_of_a_wave_have_the_radius_of_their_closed_form():
    """1 / (A k^2), in the valleys alone."""
    amplitude, period = 1e-6, 160e-6
    k = 2 * math.pi / period
    x = np.arange(140) * CELL
    design = design_of(
        np.broadcast_to(amplitude * np.cos(k * x), (100, 140)).copy(), pixelated=False
    )
    radius = 1 / (amplitude * k**2)
    finding = only(Process(tool_radius=2 * radius).check(design), "tool_radius")
    # second difference: 1 - (k s)^2 / 12 = 0.998
    assert finding.value == pytest.approx(radius, rel=3e-3)
    assert (design.height[finding.cells] < 0).all()
    # -A k^2 cos(k x) > A k^2 / 2 over a third of every period; the clear part holds 2.5 of them
    assert finding.count / design.clear.sum() == pytest.approx(1 / 3, abs=0.06)


def test_walls_between_flat_cells_are_counted_in_cell_widths():
    height = np.zeros((60, 84))
    height[:, 40:] = 6e-6
    report = Process(max_aspect=1.4, max_slope=0.1).check(design_of(height))
    finding = only(report, "max_aspect")
    assert finding.value == pytest.approx(1.5)
    assert set(np.nonzero(finding.cells)[1]) == {39, 40}
    assert any("max_slope" in reason for reason in report.skipped)


def test_relief_stroke_size_levels_and_files():
    height = np.zeros((60, 84))
    height[30, 40] = 5e-6
    height[0, 0] = 9e-6  # outside the clear diameter
    design = design_of(height)
    process = Process(
        max_size=80 * CELL,
        max_height=4e-6,
        max_stroke=5e-6,
        height_step=TURN / 8 * 1.01,
        max_levels=4,
        max_file_size=1000,
        max_items=10,
    )
    report = process.check(design, Levels(8), estimate=Estimate(size=1001, items=10))
    assert {f.rule: f.ok for f in report.findings} == {
        "size": False,
        "max_height": False,
        "max_stroke": True,
        "height_step": False,
        "max_levels": False,
        "max_file_size": False,
        "max_items": True,
    }
    assert only(report, "max_height").count == 1
    assert only(report, "max_stroke").value == 5e-6
    assert only(report, "size").value == pytest.approx(84 * CELL)
    assert only(report, "height_step").value == pytest.approx(TURN / 8)
    assert report.cells.sum() == 1
    without = process.check(design)
    assert {reason.partition(":")[0] for reason in without.skipped} == {
        "height_step",
        "max_levels",
        "max_file_size",
        "max_items",
    }


def test_broken_rules_become_one_message_with_count_place_and_remedy():
    height = np.full((60, 84), TURN / 2)
    height[11, 33:41] = 0
    report = Process(min_feature=8e-6, max_size=1.0).check(design_of(height), TWO)
    with pytest.raises(DesignRuleError, match=r"4 um.*allowed is 8 um \(8 cells.*row 11") as caught:
        report.require()
    assert "\n" not in str(caught.value)
    assert "fewer levels" in str(caught.value)
    assert [line[:6] for line in report.summary()] == ["ok    ", "BROKEN"]
    Process(max_size=1.0).check(design_of(height)).require()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_feature": -1e-6}, "min_feature"),
        ({"max_height": math.nan}, "max_height"),
        ({"min_zone": 0.0}, "min_zone"),
        ({"isolated": 6}, "4 or 8"),
        ({"max_levels": 1}, "at least 2"),
    ],
)
def test_limits_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Process(**changes)


FILES = sorted((Path(configs.__file__).parent / "process").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_process_in_the_configs_judges_a_mask(path):
    node = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert node.pop("_target_") == "hardware.fabrication.rules.Process"
    assert set(node) <= set(inspect.signature(Process).parameters)
    lengths = {"max_size", "min_feature", "min_gap", "min_zone", "max_height", "height_step"}
    lengths |= {"tool_radius", "max_stroke"}
    assert {key for key, value in node.items() if isinstance(value, str)} == lengths & set(node)
    process = Process(
        **{k: parse_quantity(v, "length", k) if k in lengths else v for k, v in node.items()}
    )
    report = process.check(blazed(), Levels(8), estimate=Estimate(10, 10))
    assert report.findings
    # A metre of glass: no process makes it.
    huge = design_of(np.eye(60, 84) * 1.0, pixelated=False)
    assert process.check(huge).failed


def test_there_is_a_process_for_every_way_to_make_a_mask():
    names = {path.stem for path in FILES}
    assert names == {
        "binary_optics",
        "diamond_turning",
        "greyscale_laser",
        "mirror",
        "two_photon",
    }
