"""Frames and their parts: what a crop says about itself is true."""

import itertools

import numpy as np
import pytest

from hardware.frames import BAYER, RawFrame, Roi, shifted_cfa


def frame(mosaic=None, **changes):
    if mosaic is None:
        mosaic = np.arange(48, dtype=np.uint16).reshape(6, 8)
    settings = {
        "cfa": "RGGB",
        "bits": 12,
        "black_level": (10.0, 20.0, 30.0, 40.0),
        "white_level": 4095.0,
        "exposure": 0.01,
        "gain": 1.0,
        "timestamp": 1,
        "asked_exposure": 0.01,
        "asked_gain": 1.0,
    }
    return RawFrame(mosaic, **(settings | changes))


@pytest.mark.parametrize(("row", "column"), list(itertools.product((0, 1, 2, 3), repeat=2)))
@pytest.mark.parametrize("cfa", BAYER)
def test_every_pixel_of_a_crop_keeps_its_colour_and_black_level(cfa, row, column):
    whole = frame(cfa=cfa)
    part = whole.crop(Roi(row, column, 3, 4))
    for i, j in itertools.product(range(3), range(4)):
        here, there = 2 * (i % 2) + j % 2, 2 * ((row + i) % 2) + (column + j) % 2
        assert part.cfa[here] == cfa[there]
        assert part.black_level[here] == whole.black_level[there]
        assert part.mosaic[i, j] == whole.mosaic[row + i, column + j]


def test_origins_of_a_crop_of_a_crop_add():
    part = frame().crop(Roi(1, 2, 4, 5)).crop(Roi(2, 1, 2, 2))
    assert part.origin == (3, 3)
    np.testing.assert_array_equal(part.mosaic, frame().mosaic[3:5, 3:5])


def test_a_mono_frame_has_no_colours():
    assert frame(cfa="").crop(Roi(1, 1, 2, 2)).cfa == ""
    assert shifted_cfa("", 1, 1) == ""


def test_clipped_is_the_share_at_the_white_level():
    mosaic = np.full((4, 5), 100, np.uint16)
    mosaic[0, :3] = 4095
    assert frame(mosaic).clipped == 3 / 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: frame(np.zeros((2, 2))), r"mosaic is float64 \(2, 2\), expected uint16"),
        (lambda: frame(np.zeros(4, np.uint16)), r"uint16 \(4,\)"),
        (lambda: frame(cfa="RGB"), "cfa = 'RGB', expected one of RGGB"),
        (lambda: Roi(-1, 0, 2, 2), "row, column >= 0"),
        (lambda: Roi(0, 0, 0, 2), "height, width >= 1"),
        (lambda: frame().crop(Roi(4, 0, 3, 2)), "rows 4 to 7, .*the frame has 6 x 8 pixels"),
    ],
)
def test_what_is_no_frame_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
