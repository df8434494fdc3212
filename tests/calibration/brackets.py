"""Exposure brackets of a known scene, by the simulated sensor."""

import numpy as np

from calibration.noise.dark import DarkConditions, master_dark
from calibration.noise.model import NoiseModel, PlaneNoise
from calibration.noise.stacks import FrameStatistics
from calibration.psf.bracket import Bracket
from calibration.uncertainty import Uncertain
from hardware.frames import RawFrame
from tests.calibration.simulated_sensor import SimulatedSensor

LADDER = (0.002, 0.006, 0.018, 0.054, 0.162, 0.486)
CFA = "RGGB"


def exactly(value):
    return Uncertain(value, 0.0)


def noise_of(sensor, cfa=CFA, *, full_well=None, prnu=None):
    """The noise model that a perfect photon transfer of this sensor would give."""
    plane = PlaneNoise(
        exactly(sensor.system_gain),
        exactly(sensor.black_level),
        exactly(sensor.read_noise),
        exactly(sensor.row_noise),
        dark_current=exactly(sensor.dark_current),
        dark_clamped=sensor.clamped,
        full_well=exactly(full_well or sensor.full_well),
        prnu=None if prnu is None else exactly(prnu),
    )
    names = ("R", "Gr", "Gb", "B") if cfa else ("mono",)
    return NoiseModel("test", cfa, sensor.bits, 1.0, 25.0, dict.fromkeys(names, plane))


def raw(sensor, mosaic, exposure, *, number=0, cfa=CFA, **changes):
    settings = {
        "black_level": (sensor.black_level,) * 4,
        "white_level": 2.0**sensor.bits - 1,
        "gain": 1.0,
        "timestamp": round(number * 0.1e9),
        "asked_exposure": exposure,
        "asked_gain": 1.0,
        "metadata": {"sensor_temperature": 25.0},
    }
    return RawFrame(mosaic, cfa, sensor.bits, exposure=exposure, **(settings | changes))


def bracket_of(sensor, rate, exposures=LADDER, *, count=8, light=None, cfa=CFA):
    """Frames of `rate` [e-/s]; `light(number)` is the light of the source in each."""
    bracket = Bracket()
    for number in range(count * len(exposures)):
        exposure = exposures[number % len(exposures)]
        shine = light(number) if light else 1.0
        mosaic = sensor.frame(shine * rate * exposure, exposure)
        bracket.add(raw(sensor, mosaic, exposure, number=number, cfa=cfa))
    return bracket


def darks_of(sensor, exposures=LADDER, *, count=32, cfa=CFA):
    darks = {}
    for exposure in exposures:
        stack = FrameStatistics(cfa)
        for _ in range(count):
            stack.add(sensor.frame(0.0, exposure))
        conditions = DarkConditions.of(exposure, 1.0, 25.0)
        darks[conditions.exposure] = master_dark(stack, conditions)
    return darks


def spot(shape, *, peak, centre=None, radius=6.0, wing=1e-3, floor=0.0):
    """A round spot with a wing that falls off as r^-3, and even light [e-/s]."""
    centre = centre or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    y, x = np.indices(shape)
    r2 = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
    core = np.exp(-r2 / (2 * radius**2)) + wing * (1 + r2 / (3 * radius) ** 2) ** -1.5
    return peak * core / (1 + wing) + floor


def sensor_of(shape=(160, 144), **changes):
    return SimulatedSensor(shape=shape, **changes)
