"""The spot and the exposure are found, or it is said what stands in the way."""

import dataclasses

import numpy as np
import pytest

from hardware.cameras import SensorNoise
from hardware.cameras.base import CaptureSettings
from hardware.errors import HardwareError
from hardware.session import AutoExposure, Spot
from hardware.session.searching import find_exposure, find_spot, level
from tests.hardware.session.small import CENTRE, MODE, small_rig

WIDE = dataclasses.replace(MODE, shape=(200, 320))


def lit(mode=MODE, **scene):
    rig = small_rig(mode=mode, **scene)
    rig.light({"point": 1.0})
    return rig.camera


@pytest.mark.parametrize("rate", [1e6, 1e7, 1e8, 1e10])
@pytest.mark.parametrize("start", [60e-6, 1e-3, 1.0])
def test_the_exposure_puts_the_brightest_channel_where_it_should_be(rate, start):
    camera, rule = lit(point_rate=rate, width=4.0, slope=0.0), AutoExposure(longest=1.0)
    exposure = find_exposure(camera, rule, mode=MODE, start=start)
    camera.configure(CaptureSettings(max_exposure=exposure))
    seen = np.mean([level(camera.capture(exposure)) for _ in range(10)])
    assert 0.68 <= seen <= 0.87  # 2 % beside the rule: shot noise of the pixel that decided


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (1e3, r"at the longest exposure, 0.2 s; raise the level of the light"),
        (0.0, r"is the source on\?"),
        (1e12, r"at the shortest exposure, 6e-05 s; lower the level"),
    ],
)
def test_too_little_and_too_much_light_say_so(rate, message):
    with pytest.raises(HardwareError, match=message):
        find_exposure(lit(point_rate=rate), AutoExposure(longest=0.2), mode=MODE)


def test_a_light_that_flickers_is_given_up():
    camera = lit()
    flicker, steady = iter(range(10**6)), camera.scene
    camera.scene = lambda roi: steady(roi) * (30.0 if next(flicker) % 2 else 0.001)
    with pytest.raises(HardwareError, match=r"no level between 70% and 85% in 30 frames"):
        find_exposure(camera, AutoExposure(longest=0.2), mode=MODE, start=5e-3)


def frame_of(mosaic):
    frame = lit(mode=dataclasses.replace(MODE, shape=mosaic.shape)).capture(1e-3)
    return dataclasses.replace(frame, mosaic=mosaic.astype(np.uint16), black_level=(200.0,) * 4)


def test_the_level_is_that_of_the_brightest_colour():
    mosaic = np.full((40, 60), 200)
    mosaic[1::2, 0::2] = 2000
    assert level(frame_of(mosaic)) == pytest.approx(1800 / 3895)


def test_three_defective_pixels_of_a_large_frame_do_not_count_but_a_small_spot_does():
    mosaic = np.full((400, 600), 300)
    mosaic[0:6:2, 0] = 4095
    assert level(frame_of(mosaic)) == pytest.approx(100 / 3895)
    mosaic[100:108, 200:208] = 3000
    assert level(frame_of(mosaic)) == pytest.approx(2800 / 3895)


@pytest.mark.parametrize("centre", [(40.0, 70.0), (91.0, 33.0), (120.3, 250.7)])
@pytest.mark.parametrize("width", [1.0, 4.0, 9.0])
def test_the_region_is_centred_on_the_spot_and_keeps_the_mosaic(centre, width):
    camera = lit(mode=WIDE, centre=centre, width=width, slope=0.0, point_rate=2e7 * width)
    frame = camera.capture(5e-3)
    region = find_spot(frame, Spot(32, 48))
    found = (region.row + 15.5, region.column + 23.5)
    # blocks of 8 place a spot that is narrower than they are to about half of their side
    assert np.hypot(*np.subtract(found, centre)) < (6.0 if width < 4 else 3.0)
    assert frame.crop(region).cfa == frame.cfa


@pytest.mark.parametrize("centre", [(0.0, 0.0), (199.0, 319.0)])
def test_a_spot_at_the_border_keeps_the_region_inside(centre):
    region = find_spot(lit(mode=WIDE, centre=centre, width=4.0, slope=0.0).capture(5e-3),
                       Spot(32, 48))  # fmt: skip
    region.check_inside(WIDE.shape)


def test_no_spot_is_an_error_even_with_defective_pixels():
    camera = lit(point_rate=0.0)
    camera.noise = SensorNoise(read_noise=3.0)
    frame = camera.capture(5e-3)
    with pytest.raises(HardwareError, match="nothing stands out from the frame"):
        find_spot(frame, Spot(32, 48))


def test_a_region_larger_than_the_frame_is_refused():
    with pytest.raises(ValueError, match="the frame has 96 x 128"):
        find_spot(lit().capture(5e-3), Spot(128, 128))


def test_the_spot_is_where_it_was_put():
    region = find_spot(lit(width=3.0, slope=0.0).capture(5e-3), Spot(32, 48))
    assert (region.row + 16, region.column + 24) == pytest.approx(CENTRE, abs=4)
