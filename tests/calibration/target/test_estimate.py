"""PSFs from pictures of a random target: those of the optics come back, others are refused."""

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import fft

from calibration.errors import CalibrationError
from calibration.target.estimate import Capture, psf_of_target
from calibration.target.random_target import RandomTarget
from calibration.target.registration import register_target
from calibration.target.scene import Sampling, rendered
from optics import Sensor
from optics.sensor import Band
from tests.calibration.target_captures import (
    FINE,
    Truth,
    irradiance,
    picture_of,
    plane_of,
    relative_error,
)
from tests.optics.cameras import FreeHeight, small_camera, smooth_height

SHAPE = (250, 280)
TARGET = RandomTarget(84, 96, 1e-3, marker=12, gap=4, seed=3)
SCALE = 1.85e3  # pixels per metre: a cell is 1.85 pixels
DISTORTION = (0.01, -0.004)
BANDS = tuple(Band(w, 30e-9) for w in (600e-9, 550e-9, 460e-9))


@cache
def optics_psf(distance, *, rms=0.0, window=105):
    """Green PSF of a camera, sampled finer than its pixels; a random smooth mask of this rms."""
    mask = None
    if rms:
        mask = FreeHeight(smooth_height(64, 1e-3 / 64, rms, 0.35e-3, seed=5), 1e-3 / 64)
    sensor = Sensor(pixel_pitch=5e-6 / FINE, binning=1, bayer=False, bands=BANDS)
    camera = small_camera(mask, sensor=sensor, window=window)
    with torch.no_grad():
        return Truth(camera.psf([distance])[0, 1].double().numpy())


@cache
def light_of(truth_key, mirrored=False, turn=0.06):
    truth = optics_psf(*truth_key[:1], **dict(truth_key[1:]))
    plane = plane_of(SHAPE, SCALE, turn=turn, mirrored=mirrored, k=DISTORTION)
    return irradiance(TARGET, plane, SHAPE, truth), plane, truth


DEFOCUS = (0.6,)


def centred(psf, oversampling=1):
    """Move a PSF onto its centroid, where the estimate has it."""
    axis = (np.arange(len(psf)) - len(psf) // 2) / oversampling
    f = fft.fftfreq(len(psf)) * oversampling
    y, x = psf.sum(1) @ axis, psf.sum(0) @ axis
    ramp = np.exp(2j * math.pi * (f[:, None] * y + f * x))
    return fft.ifft2(fft.fft2(psf) * ramp).real


@cache
def defocused(frames=4):
    light, plane, truth = light_of(DEFOCUS)
    picture = picture_of(light, frames=frames)
    return picture, register_target(picture, TARGET, 13), plane, truth


def places():
    return np.stack(np.mgrid[-0.04:0.041:0.02, -0.04:0.041:0.02], axis=-1)


def test_scene_is_the_target_without_frequencies_beyond_its_samples():
    plane = plane_of((40, 44), SCALE)
    scene, inside = rendered(TARGET, plane, Sampling(), (40, 44), 3, 1)
    finer, _ = rendered(TARGET, plane, Sampling(), (40, 44), 3, 2)
    spectrum, coarse = fft.fft2(finer), fft.fft2(scene)
    # low frequencies agree, but for the light at the edges of the window, about 1 / size
    np.testing.assert_allclose(
        spectrum[1:12, 1:12] / 4, coarse[1:12, 1:12], atol=0.05 * np.abs(coarse[1:12, 1:12]).max()
    )
    assert inside.all()


def test_defocused_psf_comes_back_within_what_is_expected():
    picture, registration, _, truth = defocused()
    found = psf_of_target([Capture(picture, TARGET, registration)], 13)
    error = relative_error(found.psf, centred(truth.samples(13)))
    assert error < 0.05
    assert error == pytest.approx(found.kernel.relative_error, rel=0.4)
    assert found.kernel.chi_square == pytest.approx(1, abs=0.06)
    assert math.hypot(*found.centroid) < 0.05


def test_map_is_that_of_the_centroid_and_distortion_is_found():
    _, registration, plane, truth = defocused()
    wrong = registration.map.to_pixels(places()) - plane.to_pixels(places()) - truth.centroid
    assert np.abs(wrong).max() < 0.05
    for name, true in zip(("k1", "k2"), DISTORTION, strict=True):
        got = registration.fit.solution[name]
        assert got.value == pytest.approx(true, abs=4 * got.uncertainty)
    assert registration.residual < 2 * registration.expected


def test_more_frames_give_a_smaller_error():
    light, _, truth = light_of(DEFOCUS)
    registration, true = defocused()[1], centred(truth.samples(13))
    errors = []
    for frames in (1, 16):
        capture = Capture(picture_of(light, frames=frames, seed=frames), TARGET, registration)
        errors.append(relative_error(psf_of_target([capture], 13).psf, true))
    assert errors[1] < 0.7 * errors[0]


def test_non_negativity_helps_a_psf_that_is_none():
    picture, registration, _, truth = defocused()
    capture = [Capture(picture, TARGET, registration)]
    free, held = (psf_of_target(capture, 13, positive=p).psf for p in (False, True))
    true = centred(truth.samples(13))
    assert held.min() >= 0 > free.min()
    assert relative_error(held, true) < relative_error(free, true)


@pytest.mark.parametrize(
    ("mirrored", "turn", "quarters"),
    [(True, 0.05, 0), pytest.param(False, 3.09, 2, marks=pytest.mark.slow)],
)
def test_mirror_and_turn_are_found(mirrored, turn, quarters):
    light, plane, truth = light_of(DEFOCUS, mirrored, turn)
    registration = register_target(picture_of(light, frames=4), TARGET, 13, terms=1)
    assert (registration.mirrored, registration.quarter_turns) == (mirrored, quarters)
    wrong = registration.map.to_pixels(places()) - plane.to_pixels(places()) - truth.centroid
    assert np.abs(wrong).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("oversampling", [1, 2])
def test_random_mask_comes_back(oversampling):
    truth = optics_psf(1.0, rms=0.55e-6, window=161)
    target = dataclasses.replace(TARGET, rows=200, columns=220, marker=20)
    shape = (560, 600)
    plane = plane_of(shape, SCALE, k=DISTORTION, keystone=(0.1, -0.1))
    picture = picture_of(irradiance(target, plane, shape, truth), frames=16)
    registration = register_target(picture, target, 20)
    found = psf_of_target(
        [Capture(picture, target, registration)], 20, oversampling=oversampling, positive=True
    )
    assert relative_error(found.psf, centred(truth.samples(20, oversampling), oversampling)) < 0.05


@pytest.mark.slow
def test_spot_of_sixty_pixels_comes_back():
    """A wide spot with structure, as learned masks make: the case that needs light and frames."""
    rng = np.random.default_rng(1)
    side = 2 * 30 * FINE - 1
    axis = (np.arange(side) - side // 2) / FINE
    radius = np.hypot(axis[:, None], axis)
    f = fft.fftfreq(side, 1 / FINE)
    low = np.exp(-2 * (math.pi * 1.5) ** 2 * (f[:, None] ** 2 + f**2))
    rough = fft.ifft2(fft.fft2(rng.normal(size=(side, side))) * low).real
    truth = Truth((rough - rough.min()) ** 2 * (1 + np.tanh(2 * (26 - radius))))
    target = dataclasses.replace(TARGET, rows=200, columns=220, marker=34, gap=8)
    shape = (680, 720)
    plane = plane_of(shape, SCALE, k=DISTORTION, keystone=(0.1, -0.1))
    picture = picture_of(irradiance(target, plane, shape, truth), frames=64)
    registration = register_target(picture, target, 31)
    found = psf_of_target([Capture(picture, target, registration)], 31, positive=True)
    assert relative_error(found.psf, centred(truth.samples(31))) < 0.05
    wrong = registration.map.to_pixels(places()) - plane.to_pixels(places()) - truth.centroid
    # what the centroid of the map lacks shows in that of the PSF
    assert np.abs(wrong.mean((0, 1)) + found.centroid).max() < 0.05


def test_another_target_is_not_found():
    other = dataclasses.replace(TARGET, seed=4)
    with pytest.raises(CalibrationError, match="target was not found"):
        register_target(defocused()[0], other, 13)


def test_a_window_that_the_target_cannot_fill_is_refused():
    picture, registration, *_ = defocused()
    with pytest.raises(CalibrationError, match="smaller window"):
        psf_of_target([Capture(picture, TARGET, registration)], 60)


def test_a_dark_picture_is_refused():
    light, *_ = light_of(DEFOCUS)
    capture = Capture(picture_of(light, white=15.0), TARGET, defocused()[1])
    with pytest.raises(CalibrationError, match=r"would be known to|do not explain"):
        psf_of_target([capture], 13)


def test_a_window_smaller_than_the_psf_is_refused():
    light, *_ = light_of(DEFOCUS)
    registration = defocused()[1]
    with pytest.raises(CalibrationError, match="larger than the window"):
        psf_of_target([Capture(picture_of(light, frames=16), TARGET, registration)], 3)


def test_a_registration_that_does_not_hold_is_refused():
    picture, registration, *_ = defocused()
    poor = dataclasses.replace(registration, residual=0.3)
    with pytest.raises(CalibrationError, match=r"registration leaves 0\.\d+ pixels"):
        psf_of_target([Capture(picture, TARGET, poor)], 13)
