"""The simulated table: its light is that of the optics, its errors are real and hidden."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from calibration.bench import (
    Bench,
    BenchErrors,
    BenchTruth,
    Source,
    disc_blur,
    draw_truth,
    open_bench,
    true_camera,
)
from hardware.cameras import CaptureSettings, SensorNoise
from hardware.frames import Roi
from optics import Sensor
from optics.sensor import Band
from tests.calibration.bench_stacks import scene_rates, small_design
from tests.optics.cameras import small_camera

NONE = BenchErrors(**dict.fromkeys((f.name for f in dataclasses.fields(BenchErrors)), 0.0))
FRAME = (160, 200)
WHOLE = Roi(0, 0, *FRAME)
BANDS = (Band(600e-9, 20e-9), Band(540e-9, 20e-9), Band(460e-9, 20e-9))
PITCH, FOCAL = 2.5e-6, 50e-3


def design(**changes):
    """An in-focus camera whose Airy disc is some ten raw pixels wide."""
    sensor = Sensor(pixel_pitch=PITCH, binning=2, bands=BANDS)
    return small_camera(sensor=sensor, **changes)


def bench(errors=NONE, *, seed=1, **changes):
    source = changes.pop("source", None) or Source(
        peak_rate=1e6, reference=1.0, diameter=0.0, ambient=0.0
    )
    rig = open_bench(design(), seed=seed, errors=errors, source=source, shape=FRAME, **changes)
    rig.home()
    return rig


def rate(rig, level="point", roi=WHOLE, **position):
    rig.move_to({"z": 1.0, **position})
    rig.light({level: 1.0})
    return rig.camera.scene(roi)


def centroid(plane):
    y, x = np.indices(plane.shape)
    return np.array([(plane * y).sum(), (plane * x).sum()]) / plane.sum()


def green(image):
    """Both green planes of an RGGB mosaic as an image of every pixel's own colour."""
    kept = np.zeros_like(image)
    kept[0::2, 1::2], kept[1::2, 0::2] = image[0::2, 1::2], image[1::2, 0::2]
    return kept


def test_without_errors_the_light_is_the_psf_of_the_design_at_raw_pixels():
    rig = bench()
    raw = dataclasses.replace(design().sensor, binning=1)
    psf = design().replace(sensor=raw, window=63).psf([1.0])[0].detach().numpy()
    # The axis lies between the middle pixels of an even frame: half a pixel off the window's.
    shifted = bench(axes=None).camera.scene
    found = rate(rig)
    total = [found[0::2, 0::2].sum(), green(found).sum(), found[1::2, 1::2].sum()]
    peak = 1e6 / psf.max()
    # A quarter or half of the pixels see a colour; a disc of 20 pixels samples them evenly
    # to 1e-3, and 1e-3 of the light lies outside of the window.
    expected = [peak * psf[0].sum() / 4, peak * psf[1].sum() / 2, peak * psf[2].sum() / 4]
    assert total == pytest.approx(expected, rel=5e-3)
    assert shifted(WHOLE).max() == 0  # all lights are off


def test_a_source_half_a_pixel_off_meets_the_window_of_the_optics_exactly():
    """The frame is even, so a source that is half a pixel off lies on a pixel's centre."""
    rig = bench()
    z = rig.camera.scene.camera.sensor_distance
    half = 0.5 * PITCH / z
    found = rate(rig, x=half, y=half)
    raw = dataclasses.replace(design().sensor, binning=1)
    psf = design().replace(sensor=raw, window=63).psf([1.0], fields=[(half, half)])[0, 0]
    psf = psf.detach().numpy() * 1e6 / psf.max().item()
    row, column = FRAME[0] // 2 - 31, FRAME[1] // 2 - 31
    part = found[row : row + 63, column : column + 63]
    colours = np.array([[0, 1], [1, 2]])[
        (np.arange(63)[:, None] + row) % 2, (np.arange(63) + column) % 2
    ]
    expected = np.take_along_axis(psf, colours[None], 0)[0]
    # Peak rate is that of the design on the axis: the oblique one differs by its 25 urad.
    np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("x", [0.0, 1e-3, -0.7e-3, 0.3123e-3])
def test_the_spot_moves_with_the_source_also_by_parts_of_a_pixel(x):
    rig = bench()
    z = rig.camera.scene.camera.sensor_distance
    plane = green(rate(rig, x=x, y=-x / 2))
    expected = np.array([-x / 2, x]) * z / 1.0 / PITCH + (np.array(FRAME) - 1) / 2
    # The window is centred on a pixel and cuts the rings of the disc half a pixel unevenly.
    np.testing.assert_allclose(centroid(plane), expected, atol=0.03)


def test_an_image_between_two_pixels_is_the_same_in_the_windows_of_either():
    """A frame of even sides has its middle between two pixels."""
    frame = (90, 98)
    source = Source(peak_rate=4e5, reference=0.3, diameter=0.0, ambient=0.0)
    rig = open_bench(small_design(), seed=1, errors=NONE, source=source, shape=frame)
    seen = []
    for side in (-1e-12, 1e-12):
        rig.camera.scene.truth = dataclasses.replace(rig.truth, boresight=(side, side))
        seen.append(scene_rates(rig, [0.3], Roi(0, 0, *frame))[0])
    lit = (seen[0] > 0) & (seen[1] > 0)
    assert 0 < (seen[0] > 0).sum() - lit.sum() < 0.1 * lit.sum()  # two windows
    np.testing.assert_allclose(*(rates[lit] for rates in seen), rtol=1e-3)


def test_light_falls_with_the_square_of_the_distance():
    rig = bench()
    near, far = rate(rig, z=1.0).sum(), rate(rig, z=2.0).sum()
    # The defocused spot is still inside its window to 1 %.
    assert far / near == pytest.approx(0.25, rel=1e-2)


def test_a_region_shows_the_pixels_of_the_whole_frame():
    rig = bench(BenchErrors())
    rig.light({"point": 1.0, "panel": 0.5})
    rig.move_to({"z": 1.2, "x": 1e-3})
    whole = rig.camera.scene(WHOLE)
    roi = Roi(31, 52, 77, 60)  # odd origin: another colour comes first
    np.testing.assert_array_equal(rig.camera.scene(roi), whole[roi.slices])


def test_the_panel_falls_with_the_fourth_power_of_the_cosine():
    rig = bench(source=Source(panel_slope=0.0, ambient=0.0))
    found = rate(rig, "panel")
    z = rig.camera.scene.camera.sensor_distance
    y, x = (np.arange(n) - (n - 1) / 2 for n in FRAME)
    cosine = np.cos(np.arctan(np.hypot(y[:, None], x) * PITCH / z))
    np.testing.assert_allclose(found[0::2, 1::2], 2e5 * cosine[0::2, 1::2] ** 4, rtol=1e-9)


def test_a_disc_blurs_by_its_second_moment_and_keeps_the_light():
    y, x = torch.meshgrid(torch.arange(63.0), torch.arange(63.0), indexing="ij")
    spot = torch.exp(-((y - 31) ** 2 + (x - 31) ** 2) / 18).double()[None]
    out = disc_blur(spot, 8.0)
    assert float(out.sum()) == pytest.approx(float(spot.sum()), rel=1e-9)

    def variance(plane):
        return float((plane * (x - 31) ** 2).sum() / plane.sum())

    # A uniform disc has diameter^2 / 16 per axis.
    assert variance(out) - variance(spot) == pytest.approx(64 / 16, rel=1e-3)


def test_each_error_changes_the_light_and_only_by_what_was_drawn():
    reference = rate(bench())
    for item in dataclasses.fields(BenchErrors):
        scatter = {item.name: getattr(BenchErrors(), item.name)}
        rig = bench(dataclasses.replace(NONE, **scatter))
        drawn = rig.truth.as_dict()
        clean = draw_truth(NONE, SensorNoise(), 1).as_dict()
        changed = {key for key in drawn if drawn[key] != clean[key]} - {"noise"}
        assert changed == {item.name}
        if item.name not in ("etch_scale", "blur", "decentre"):  # the bare lens has no relief
            assert not np.allclose(rate(rig), reference, rtol=1e-6), item.name


def test_a_sensor_further_back_is_what_a_nearer_focus_gives():
    truth = dataclasses.replace(draw_truth(NONE, SensorNoise(), 0), focus=100e-6)
    made = true_camera(design(), truth)
    assert made.sensor_distance == pytest.approx(design().sensor_distance + 100e-6, rel=1e-12)
    assert made.focus_distance < design().focus_distance


def test_a_seed_is_one_camera():
    one, same, other = (draw_truth(BenchErrors(), SensorNoise(), s) for s in (3, 3, 4))
    assert one == same
    assert one.etch_scale != other.etch_scale
    assert json.loads(json.dumps(one.as_dict()))["seed"] == 3


def test_nothing_a_capture_keeps_tells_the_truth():
    rig = bench(BenchErrors())
    rig.light({"point": 1.0})
    rig.move_to({"z": 1.0})
    rig.camera.configure(CaptureSettings(roi=Roi(40, 60, 64, 64)))
    frame = rig.camera.capture(1e-3)
    told = repr((dataclasses.replace(frame, mosaic=frame.mosaic[:1]), rig.camera.info, rig))
    for value in np.hstack([np.ravel(v) for k, v in rig.truth.as_dict().items()
                            if k not in ("seed", "noise")]):  # fmt: skip
        if value not in (0.0, 1.0):
            assert repr(float(value)) not in told
    assert isinstance(rig, Bench)
    assert isinstance(rig.truth, BenchTruth)


def test_frames_of_a_resumed_session_have_noise_of_their_own():
    frames = []
    for _ in range(2):  # the same camera, opened again
        rig = bench(BenchErrors())
        rig.camera.configure(CaptureSettings(roi=Roi(40, 60, 64, 64)))
        frames.append(rig.camera.capture(1e-3).mosaic)
    assert (frames[0] != frames[1]).mean() > 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BenchErrors(focus=-1e-6), "focus = -1e-06: a scatter is 0 or more"),
        (lambda: BenchErrors(veil=math.nan), "veil = nan"),
        (lambda: Source(peak_rate=0.0), "peak_rate"),
        (lambda: Source(reference=-1.0), "object_distance"),
        (lambda: Source(ambient=-1.0), "ambient = -1"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
