"""Noise model: variance and charge are those of the sensor, and files keep all of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration.errors import CalibrationError
from calibration.noise.dark import DarkConditions, dark_current, master_dark
from calibration.noise.model import NoiseModel, PlaneNoise, plane_noise
from calibration.noise.photon_transfer import photon_transfer
from calibration.noise.stacks import FrameStatistics
from calibration.uncertainty import Uncertain
from optics.sensor import Sensor, raw_mean_and_variance
from tests.calibration.simulated_sensor import SimulatedSensor

PLANE = PlaneNoise(
    system_gain=Uncertain(0.47, 0.001),
    black_level=Uncertain(256.0, 0.02),
    read_noise=Uncertain(3.0, 0.02),
    row_noise=Uncertain(0.5, 0.05),
    dark_current=Uncertain(12.0, 0.3),
    full_well=Uncertain(8100.0, 20.0),
    prnu=Uncertain(0.006, 0.0001),
)
MODEL = NoiseModel(
    mode="4056x3040-12",
    cfa="RGGB",
    bits=12,
    gain=1.0,
    temperature=26.0,
    planes=dict.fromkeys(("R", "Gr", "Gb", "B"), PLANE),
    warnings=("12 light levels",),
)


def test_the_variance_is_that_of_our_sensor_model():
    sensor = Sensor(cfa="", bands=Sensor().bands[:1], row_noise=0.5, dark_current=12, exposure=2.0)
    light = torch.linspace(0, 0.9, 7, dtype=torch.float64)[:, None, None, None]
    mean, variance = raw_mean_and_variance(sensor, light)
    # both are closed forms
    np.testing.assert_allclose(PLANE.variance(mean.numpy(), 2.0), variance.numpy(), rtol=1e-9)


def test_a_clamped_camera_keeps_the_noise_of_its_dark_current():
    sensor = SimulatedSensor(dark_current=40.0, clamped=True)
    level = sensor.level(500.0, exposure=5.0)
    plane = replace(
        PLANE, dark_current=Uncertain(40.0, 0), dark_clamped=True, row_noise=Uncertain(0.0, 0)
    )
    # 23 000 pixels: 0.9 %
    assert plane.variance(level.mean, 5.0) == pytest.approx(level.variance, rel=0.03)
    assert plane.electrons(level.mean, 5.0)[0] == pytest.approx(500, rel=0.01)


def test_below_black_there_is_no_less_noise_than_in_the_dark():
    np.testing.assert_array_equal(PLANE.variance([0.0, 200.0], 0.1), PLANE.variance(256.0, 0.1))


def test_electrons_are_the_light_alone_and_as_sure_as_the_calibration():
    charge, error = PLANE.electrons(256 + 0.47 * (1000 + 24), 2.0)
    assert charge == pytest.approx(1000)
    expected = np.sqrt((1024 * 0.001 / 0.47) ** 2 + (0.02 / 0.47) ** 2 + 0.6**2)
    assert error == pytest.approx(expected)


def test_saturation_is_in_the_numbers_of_the_samples():
    assert PLANE.saturation == pytest.approx(256 + 0.47 * 8100)
    assert replace(PLANE, full_well=None).saturation is None


def test_a_calibrated_sensor_foretells_the_noise_of_new_frames():
    """The whole way: session, darks, model, and a level that no one had seen."""
    sensor = SimulatedSensor(dark_current=25.0, row_noise=0.6, dsnu=0.8, prnu=0.006)
    shares = np.linspace(0.04, 1.1, 20)
    bright = [sensor.level(s * sensor.top, exposure=0.4) for s in shares]
    dark = replace(sensor.level(exposure=0.4), light=0.0)
    masters = []
    for time in (0.4, 2.0, 5.0):
        stack = FrameStatistics("")
        for _ in range(8):
            stack.add(sensor.frame(0.0, time))
        masters.append(master_dark(stack, DarkConditions.of(time, 1.0, 25.0)))
    transfer = photon_transfer(bright, [dark])
    current = dark_current(masters, "mono", transfer.system_gain)
    plane = plane_noise(
        transfer, dark=current, dsnu=masters[0].planes["mono"].dsnu(transfer.system_gain)
    )
    assert plane.read_noise.value == pytest.approx(3.0, rel=0.03)
    assert plane.dark_current.value == pytest.approx(25, rel=0.02)
    assert plane.black_level.value == pytest.approx(256, abs=0.1)
    new = sensor.level(300.0, exposure=3.0, count=4)
    total = new.variance + new.row_variance
    assert plane.variance(new.mean, 3.0) == pytest.approx(total, rel=0.02)
    charge, error = plane.electrons(new.mean, 3.0)
    # 23 000 pixels of four frames: 0.06 e-
    assert abs(charge - 300) < 4 * np.hypot(error, 0.06)


def test_a_mosaic_is_judged_plane_by_plane():
    other = replace(PLANE, system_gain=Uncertain(0.9, 0.01), black_level=Uncertain(200.0, 0.1))
    model = replace(MODEL, cfa="GRBG", planes={**MODEL.planes, "B": other})
    mosaic = np.random.default_rng(0).uniform(300, 4000, (3, 6, 10))
    variance, (charge, error) = model.variance(mosaic, 0.5), model.electrons(mosaic, 0.5)
    for rows, columns, plane in ((0, 1, PLANE), (1, 0, other), (1, 1, PLANE)):
        part = mosaic[:, rows::2, columns::2]
        at = (slice(None), slice(rows, None, 2), slice(columns, None, 2))
        np.testing.assert_array_equal(variance[at], plane.variance(part, 0.5))
        np.testing.assert_array_equal(charge[at], plane.electrons(part, 0.5)[0])
        np.testing.assert_array_equal(error[at], plane.electrons(part, 0.5)[1])


def test_a_model_survives_json():
    text = json.dumps(MODEL.to_dict(), allow_nan=False)
    assert NoiseModel.from_dict(json.loads(text)) == MODEL


@pytest.mark.parametrize("version", [2, 0, "1", True, None])
def test_another_version_is_refused(version):
    with pytest.raises(CalibrationError, match="this program reads 1"):
        NoiseModel.from_dict({**MODEL.to_dict(), "schema_version": version})
    with pytest.raises(CalibrationError, match="this program reads 1"):
        NoiseModel.from_dict([])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("extra",), 1),
        (("bits",), 12.5),
        (("bits",), 40),
        (("gain",), float("nan")),
        (("gain",), True),
        (("temperature",), "warm"),
        (("cfa",), "RGBX"),
        (("mode",), 3),
        (("planes",), []),
        (("warnings",), [1]),
        (("planes", "R"), None),
        (("planes", "R", "system_gain"), None),
        (("planes", "R", "system_gain", "value"), -0.5),
        (("planes", "R", "read_noise", "uncertainty"), -1.0),
        (("planes", "R", "read_noise", "value"), float("inf")),
        (("planes", "R", "dark_clamped"), 1),
        (("planes", "R", "prnu", "value"), "0.1"),
        (("planes", "R", "gain"), 1.0),
    ],
)
def test_a_damaged_model_is_refused(path, value):
    sheet = json.loads(json.dumps(MODEL.to_dict()))
    entry = sheet
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    with pytest.raises(CalibrationError, match="damaged"):
        NoiseModel.from_dict(sheet)


@pytest.mark.parametrize("gone", ["mode", "planes", "warnings"])
def test_a_model_with_a_missing_entry_is_refused(gone):
    sheet = MODEL.to_dict()
    del sheet[gone]
    with pytest.raises(CalibrationError, match=gone):
        NoiseModel.from_dict(sheet)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(MODEL, cfa=""), "has mono"),
        (lambda: replace(MODEL, bits=0), "bits = 0"),
        (lambda: replace(MODEL, gain=0.0), "gain = 0"),
        (lambda: replace(MODEL, temperature=float("inf")), "temperature = inf"),
        (lambda: replace(PLANE, system_gain=Uncertain(0.0, 0.0)), "system_gain = 0"),
        (lambda: replace(PLANE, prnu=Uncertain(-0.1, 0.0)), "prnu = -0.1"),
        (lambda: PLANE.variance(300.0, -1.0), "exposure = -1"),
        (lambda: PLANE.electrons(300.0, float("nan")), "20e-3"),
    ],
)
def test_what_is_no_model_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
