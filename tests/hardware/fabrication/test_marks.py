"""Marks beside a mask: the verniers' arithmetic, crosses that fit, an upright F."""

import numpy as np
import pytest

from hardware.fabrication import marks
from hardware.fabrication.design import asymmetric_letter


def coinciding(main, secondary, axis):
    """Marks of the main scale, counted from the longest, that one of the other continues."""
    low, high = main[:, axis], main[:, axis + 2]
    length = main[:, 3 - axis] - main[:, 1 - axis]
    zero = int(length.argmax())
    ends = set(map(tuple, secondary[:, [axis, axis + 2]].tolist()))
    return [i - zero for i in range(len(main)) if (low[i], high[i]) in ends]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("displaced", [-10, -3, 0, 1, 7])
@pytest.mark.parametrize("resolution", [100, 50])
def test_a_displacement_moves_the_coinciding_marks_by_as_many(axis, displaced, resolution):
    main, secondary = marks.vernier(resolution)
    if axis:
        main, secondary = marks.swap_axes(main), marks.swap_axes(secondary)
    shift = np.zeros(4, int)
    shift[[axis, axis + 2]] = displaced * resolution
    assert coinciding(main, secondary + shift, axis) == [displaced]


def test_the_scales_of_a_vernier_face_each_other_without_touching():
    main, secondary = marks.vernier(100)
    assert main[:, 1].min() > 0 > secondary[:, 3].max()
    assert (main[1:, 0] > main[:-1, 2]).all()
    assert (secondary[1:, 0] > secondary[:-1, 2]).all()


def painted(edges, unit):
    """Count of rectangles on a raster of `unit`, y up turned into rows down."""
    edges = edges // unit
    low = edges[:, :2].min(0)
    width, height = edges[:, 2:].max(0) - low
    out = np.zeros((height, width), int)
    for left, lower, right, upper in edges - np.tile(low, 2):
        out[height - upper : height - lower, left:right] += 1
    return out


def test_a_cross_and_its_outline_leave_the_same_gap_open_on_all_sides():
    cross, outline = painted(marks.cross(), 1000), painted(marks.cross_outline(), 1000)
    assert (cross + outline).max() == 1
    for part in (cross, outline):
        np.testing.assert_array_equal(part, np.rot90(part))
    # A row far from the middle, cells of 1 um: corner, gap, line, gap, corner.
    row = "".join(".#"[n] for n in (cross + outline)[20])
    assert row.strip(".") == "#" * 10 + ".." + "#" * 10 + ".." + "#" * 10
    assert "".join(".#"[n] for n in cross[20]).strip(".") == "#" * 10


def test_the_letter_is_upright_with_y_up():
    size = 80
    drawn = painted(marks.upright_f(size), size // 8) == 1
    letter = asymmetric_letter(8)
    rows, columns = np.flatnonzero(letter.any(1)), np.flatnonzero(letter.any(0))
    np.testing.assert_array_equal(
        drawn, letter[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    )


def test_text_has_its_size_and_runs_to_the_right():
    drawing = marks.Drawing()
    drawing.write([3], "FL", 100_000, 500, 700)
    assert {layer for layer, _ in drawing.polygons} == {3}
    left, lower, right, upper = drawing.bounds()
    assert left >= 500
    assert lower >= 700
    assert 75_000 < right - left < 112_500  # two letters, each 9/16 of the size from the next
    assert upper <= 700 + 100_000
    first = drawing.polygons[0][1]
    # an F has more ink above its middle than below
    middle = (first[:, 1].min() + first[:, 1].max()) / 2
    assert (first[:, 1] > middle).sum() > (first[:, 1] < middle).sum()


@pytest.mark.parametrize("layer", [1, 3])
def test_a_station_stays_within_its_place(layer):
    left, lower, right, upper = marks.station(layer, 1, 100).bounds()
    width, height = marks.STATION
    assert -width / 2 <= left < right <= width / 2
    assert -height <= lower < upper <= 0


def test_lines_and_spaces_are_as_wide_as_the_cells_they_stand_for():
    drawing = marks.gratings(2, 4000)
    for (layer, edges), width in zip(drawing.boxes, (4000, 8000, 16000), strict=True):
        assert layer == 2
        assert set(edges[:, 2] - edges[:, 0]) == {width}
        assert set(np.diff(edges[:, 0])) == {2 * width}


def test_steps_of_the_staircase_stand_side_by_side():
    drawing = marks.staircase([[], [1], [2], [1, 2]])
    at = {}
    for layer, edges in drawing.boxes:
        at.setdefault(layer, []).append(int(edges[0, 0]) // marks.STEP[0])
    assert at == {1: [1, 3], 2: [2, 3]}
