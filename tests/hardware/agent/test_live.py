"""Measures of the live page against scenes whose answers are known."""

import numpy as np
import pytest

from hardware.agent.live import measure, overview, within
from hardware.frames import RawFrame, Roi

SHAPE = (80, 112)
BLACK = 256.0


def frame(electrons, *, cfa="RGGB", noise=0.0, seed=0, origin=(0, 0)):
    """12 bit, 0.5 DN/e-."""
    rng = np.random.default_rng(seed)
    values = electrons + noise * rng.standard_normal(electrons.shape)
    mosaic = np.rint(0.5 * values + BLACK).clip(0, 4095).astype(np.uint16)
    return RawFrame(mosaic, cfa, 12, (BLACK,) * 4, 4095.0, 1e-3, 1.0, 1, 1e-3, 1.0, origin=origin)


def spot(x, y, spread, height=6000.0):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * spread**2))


@pytest.mark.parametrize("cfa", ["RGGB", "GRBG", ""])
def test_centroid_is_that_of_the_spot(cfa):
    seen = measure(frame(spot(61.3, 27.8, 4.0), cfa=cfa, noise=5.0))
    # Photons beyond the threshold are symmetric; what is left is sampling by every second pixel.
    assert seen.centroid == pytest.approx((61.3, 27.8), abs=0.05)


def test_centroid_counts_in_the_full_frame():
    shifted = frame(spot(61.3, 27.8, 4.0), noise=5.0, origin=(100, 200))
    roi = Roi(110, 240, 40, 60)
    seen = measure(shifted, roi)
    assert seen.roi == roi
    assert seen.centroid == pytest.approx((261.3, 127.8), abs=0.05)


@pytest.mark.parametrize("noise", [10.0, 3.0, 1.0])  # the lowest below the step of the values
@pytest.mark.parametrize("shape", [SHAPE, (600, 800)])
def test_a_dark_frame_has_neither_centroid_nor_sharpness(noise, shape):
    for seed in range(10):
        seen = measure(frame(np.full(shape, 100.0), noise=noise, seed=seed))
        assert seen.centroid is None
        assert seen.sharpness is None


def test_sharpness_of_a_grating_is_its_frequency():
    columns = np.arange(SHAPE[1])[None, :] * np.ones((SHAPE[0], 1))
    frequency = 2 / 112  # two whole periods
    seen = measure(frame(3000 + 2000 * np.cos(2 * np.pi * frequency * columns)))
    # Central differences give sin(4 pi f) / (4 pi), 0.8 % below; half as much from the diagonal.
    assert seen.sharpness == pytest.approx(frequency, rel=0.02)


def test_sharpness_of_a_gaussian_is_its_rms_frequency():
    spread, area = 8.0, SHAPE[0] * SHAPE[1]
    seen = measure(frame(spot(56, 40, spread)))
    # For exp(-r^2 / 2 s^2): mean square of the slope pi, of the value pi s^2 less the mean's.
    contrast = np.pi * spread**2 - (2 * np.pi * spread**2) ** 2 / area
    # Differences over 4 pixels and the diagonal of one cost about 2 (1 / s)^2, 3 %.
    assert seen.sharpness == pytest.approx(np.sqrt(np.pi / contrast) / (2 * np.pi), rel=0.03)


def test_sharpness_does_not_depend_on_light_or_noise():
    clean = measure(frame(spot(56, 40, 6.0))).sharpness
    assert measure(frame(0.2 * spot(56, 40, 6.0) + 300)).sharpness == pytest.approx(clean, rel=0.01)
    noisy = [measure(frame(spot(56, 40, 6.0), noise=150.0, seed=s)).sharpness for s in range(20)]
    # The mean of 20 frames scatters by about 1 %; a biased measure would be 60 % too high.
    assert np.mean(noisy) == pytest.approx(clean, rel=0.04)


def test_levels_are_those_of_each_colour():
    electrons = np.zeros(SHAPE)
    electrons[0::2, 0::2] = 3839  # red: half of the range above black
    electrons[0::2, 1::2] = 100
    electrons[1::2, 1::2][:2, :5] = 20000  # blue: 10 of its pixels clip
    seen = measure(frame(electrons)).channels
    assert list(seen) == ["R", "G", "B"]
    assert seen["R"].peak == pytest.approx(0.5, abs=1e-3)
    assert seen["R"].clipped == seen["G"].clipped == 0
    assert seen["B"].peak == pytest.approx(1.0)
    assert seen["B"].clipped == pytest.approx(10 / electrons[1::2, 1::2].size)
    assert seen["G"].mean == pytest.approx(0.5 * 50 / 3839)
    assert sum(seen["G"].histogram) == 2 * sum(seen["R"].histogram) == electrons.size // 2
    assert seen["R"].histogram[(256 + 1920) * 64 // 4096] == electrons.size // 4


@pytest.mark.parametrize("cfa", ["RGGB", ""])
def test_a_point_is_not_lost_between_the_pixels_of_the_picture(cfa):
    for row, column in [(2, 2), (33, 57), (78, 3), (41, 110)]:
        electrons = np.zeros(SHAPE)
        electrons[row, column] = 7000
        picture = overview(frame(electrons, cfa=cfa), 12)
        assert max(picture.shape[:2]) <= 12
        assert picture.max() > 200, (row, column)


def test_colours_of_the_picture_are_those_of_the_mosaic():
    electrons = np.zeros(SHAPE)
    electrons[1::2, 1::2] = 20000  # RGGB: blue
    picture = overview(frame(electrons), 30)
    assert (picture[..., 2] == 255).all()
    assert (picture[..., :2] == 0).all()


@pytest.mark.parametrize(
    "roi", [Roi(0, 0, 1, 1), Roi(79, 111, 1, 1), Roi(500, 900, 10, 10), Roi(70, 100, 400, 400)]
)
def test_a_region_outside_becomes_one_inside(roi):
    found = within(frame(np.zeros(SHAPE)), roi)
    found.check_inside(SHAPE)
    assert min(found.height, found.width) >= 8


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (8, 9)])
def test_tiny_frames_are_measured_too(shape):
    seen = measure(frame(np.arange(np.prod(shape), dtype=float).reshape(shape)))
    assert seen.channels["G"].peak >= 0
    assert overview(frame(np.zeros(shape)), 4).dtype == np.uint8
