"""A PSF stack keeps what it was given, and refuses what no measurement can be."""

import dataclasses

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.psf.stack import PsfStack, load_stack


def stack(**changes):
    rng = np.random.default_rng(3)
    shape = (2, 6, 9)
    settings = {
        "rate": rng.normal(size=shape),
        "variance": rng.uniform(0.5, 2.0, shape),
        "valid": rng.uniform(size=shape) < 0.8,
        "readings": np.array([0.9, 1.3]),
        "cfa": "RGGB",
        "origin": (10, 21),
        "frame": (40, 50),
        "pixel_pitch": 1.55e-6,
        "across": (0.0, 1e-3),
        "notes": {"session": "a"},
    }
    return PsfStack(**(settings | changes))


def test_a_stack_comes_back_from_its_file(tmp_path):
    one = stack()
    one.save(tmp_path / "psf.npz")
    other = load_stack(tmp_path / "psf.npz")
    for entry in dataclasses.fields(PsfStack):
        np.testing.assert_array_equal(getattr(other, entry.name), getattr(one, entry.name))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x93NUMPY"])
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / "psf.npz").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"psf\.npz is not a PSF stack"):
        load_stack(tmp_path / "psf.npz")


def test_another_archive_is_told(tmp_path):
    np.savez(tmp_path / "psf.npz", rate=np.zeros(3))
    with pytest.raises(CalibrationError, match="header"):
        load_stack(tmp_path / "psf.npz")


def test_a_part_knows_its_colours_and_its_place():
    part = stack().crop(1, 2, 4, 6)
    assert part.cfa == "GBRG"
    assert part.origin == (11, 23)
    np.testing.assert_array_equal(part.rate, stack().rate[:, 1:5, 2:8])
    with pytest.raises(ValueError, match="the region has 6 x 9 pixels"):
        stack().crop(3, 0, 4, 4)


def test_some_depths_keep_their_readings():
    part = stack().at(slice(1, None))
    assert part.depths == 1
    assert part.readings == pytest.approx([1.3])


def test_pixels_that_were_not_measured_may_hold_anything():
    one = stack()
    rate, variance = one.rate.copy(), one.variance.copy()
    rate[~one.valid], variance[~one.valid] = np.nan, 0.0
    assert stack(rate=rate, variance=variance).depths == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": np.zeros((6, 9))}, r"rate is \(6, 9\), expected \(depth, H, W\)"),
        ({"variance": np.ones((2, 9, 6))}, r"variance is \(2, 9, 6\)"),
        ({"variance": np.zeros((2, 6, 9))}, "variance goes down to 0"),
        ({"rate": np.full((2, 6, 9), np.nan)}, "rate holds values that are not finite"),
        ({"readings": np.array([1.0])}, "one finite reading for each of the 2 depths"),
        ({"cfa": "RGB"}, "cfa = 'RGB'"),
        ({"origin": (38, 0)}, r"origin = \(38, 0\) puts \(6, 9\) pixels outside"),
        ({"pixel_pitch": 0.0}, "pixel_pitch = 0 m"),
    ],
)
def test_what_no_measurement_can_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        stack(**changes)


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(TypeError, match="valid is float64, expected bool"):
        stack(valid=np.ones((2, 6, 9)))
