"""Planes of a mosaic: every pixel in one plane, at the place that the offsets tell."""

import numpy as np
import pytest

from calibration.bayer import by_plane, centre, offsets, plane_names, planes
from optics.sensor import colour_filters

ORDERS = ("RGGB", "BGGR", "GRBG", "GBRG")


@pytest.mark.parametrize("cfa", ORDERS)
def test_planes_lie_where_their_offsets_say(cfa):
    y, x = np.mgrid[:6, :10].astype(float)
    rows, columns = planes(y, cfa), planes(x, cfa)
    for name, (down, right) in offsets(cfa).items():
        i, j = np.mgrid[:3, :5]
        np.testing.assert_array_equal(rows[name], 2 * i + 0.5 + down)
        np.testing.assert_array_equal(columns[name], 2 * j + 0.5 + right)


@pytest.mark.parametrize("cfa", ORDERS)
def test_planes_are_the_colours_of_our_sensor_model_and_greens_follow_their_rows(cfa):
    filters = colour_filters(cfa, (4, 6)).numpy()
    index = np.arange(24).reshape(4, 6)
    parts = planes(index, cfa)
    np.testing.assert_array_equal(np.sort(parts["R"].ravel()), index[filters[0]])
    np.testing.assert_array_equal(np.sort(parts["B"].ravel()), index[filters[2]])
    greens = np.concatenate([parts["Gr"].ravel(), parts["Gb"].ravel()])
    np.testing.assert_array_equal(np.sort(greens), index[filters[1]])
    assert set(parts["Gr"].ravel() // 6) == set(parts["R"].ravel() // 6)
    assert set(parts["Gb"].ravel() // 6) == set(parts["B"].ravel() // 6)


def test_planes_are_views_of_a_mosaic_and_of_a_stack():
    stack = np.zeros((3, 4, 6), np.uint16)
    planes(stack, "GRBG")["R"][...] = 1
    assert stack.sum() == 3 * 2 * 3
    assert stack[0, 0, 1] == 1


def test_a_monochrome_frame_is_one_plane():
    frame = np.arange(15).reshape(3, 5)
    np.testing.assert_array_equal(planes(frame, "")["mono"], frame)
    assert offsets("") == {"mono": (0.0, 0.0)}


def test_values_by_place_get_the_names_of_their_planes():
    assert by_plane((1, 2, 3, 4), "GBRG") == {"Gb": 1, "B": 2, "R": 3, "Gr": 4}
    assert by_plane((7, 7, 7, 7), "") == {"mono": 7}


def test_the_centre_is_cut_evenly_and_a_small_plane_is_kept():
    plane = np.zeros((11, 20))
    plane[5, 9:11] = 1
    assert centre(plane, 3).shape == (3, 3)
    assert centre(plane, 4)[2, 1:3].tolist() == [1, 1]
    assert centre(plane, 15).shape == (11, 15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plane_names("RGBG"), "RGBG"),
        (lambda: planes(np.zeros((5, 6)), "RGGB"), "even number of rows"),
        (lambda: planes(np.zeros(6), "RGGB"), r"expected \(..., H, W\)"),
        (lambda: by_plane((1, 2, 3), "RGGB"), "four places"),
        (lambda: by_plane((1, 2, 3, 4), ""), "one value"),
        (lambda: centre(np.zeros((4, 4)), 0), "one pixel or more"),
    ],
)
def test_what_is_no_mosaic_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
