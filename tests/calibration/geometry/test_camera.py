"""Pixels and directions: the convention of the optics, orientations, distortion and its inverse."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from calibration.errors import CalibrationError
from calibration.geometry import CameraGeometry
from calibration.geometry.camera import orientation, split_orientation
from tests.optics.cameras import FreeHeight, small_camera

CAMERA = CameraGeometry((480, 640), 5e-6, 50e-3, (236.5, 322.0), (-0.9, 3.0), (2e-3, -1e-3))


def test_a_tilted_wavefront_lands_where_its_direction_is_seen():
    """A wedge in the pupil moves the spot of the optics by its slope times the distance."""
    slope, cell = 1e-3, 1e-3 / 64
    axis = (torch.arange(64, dtype=torch.float64) - 31.5) * cell
    index = small_camera().mask.material.index(550e-9)
    wedge = (-slope / (index - 1) * axis[:, None]).expand(64, 64)
    optics = small_camera(FreeHeight(wedge, cell), window=61)
    psf = optics.psf([1.0])[0, 1].detach().numpy()
    row = psf.sum(1) @ (np.arange(61) - 30) / psf.sum()
    geometry = CameraGeometry((101, 101), 5e-6, optics.sensor_distance, (50.0, 50.0))
    expected = abs(geometry.to_pixels([slope, 0.0])[0] - 50)
    assert abs(row) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_pixels_and_directions_are_inverse_in_every_orientation(mirrored, quarters):
    camera = dataclasses.replace(CAMERA, mirrored=mirrored, quarter_turns=quarters, turn=0.02)
    pixels = np.random.default_rng(0).uniform(0, 480, (7, 5, 2))
    np.testing.assert_allclose(camera.to_pixels(camera.to_tangents(pixels)), pixels, atol=1e-6)
    found = split_orientation(camera.orientation * 3.3)
    assert found == (mirrored, quarters, pytest.approx(0.02))


def test_a_turn_goes_from_x_towards_y_after_the_mirror():
    np.testing.assert_allclose(orientation(False, math.pi / 2) @ [0, 1], [1, 0], atol=1e-12)
    np.testing.assert_allclose(orientation(True, 0) @ [1, 1], [1, -1], atol=1e-12)
    np.testing.assert_allclose(orientation(True, math.pi / 2) @ [0, 1], [-1, 0], atol=1e-12)


def test_radial_distortion_is_that_of_its_formula():
    camera = dataclasses.replace(CAMERA, decentring=(0.0, 0.0))
    r2 = 0.03**2 + 0.04**2
    expected = np.array([0.03, 0.04]) * (1 - 0.9 * r2 + 3 * r2**2) * 1e4 + [236.5, 322.0]
    np.testing.assert_allclose(camera.to_pixels([0.03, 0.04]), expected, rtol=1e-12)


def test_a_file_gives_the_same_camera():
    assert CameraGeometry.from_dict(json.loads(json.dumps(CAMERA.to_dict()))) == CAMERA


@pytest.mark.parametrize("damage", [{"schema_version": 2}, {"frame": 3}, {"quarter_turns": 4}])
def test_another_file_is_refused(damage):
    with pytest.raises(CalibrationError, match="fit it again"):
        CameraGeometry.from_dict(CAMERA.to_dict() | damage)


def test_distortion_beyond_undoing_is_refused():
    camera = dataclasses.replace(CAMERA, radial=(-100.0, 0.0), decentring=(0.0, 0.0))
    with pytest.raises(CalibrationError, match="cannot be undone"):
        camera.to_tangents([0.0, 2000.0])
