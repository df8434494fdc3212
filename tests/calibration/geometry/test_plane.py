"""Homography and distortion of a plane from dots: recovered within their own uncertainties."""

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.geometry import PlaneMap, fit_plane

CENTRE, RADIUS = (239.5, 319.5), 400.0
TURNED = np.array([[2500.0, 200.0, 230.0], [-180.0, 2450.0, 310.0], [0.3, -0.2, 1.0]])
TRUE = PlaneMap(TURNED, CENTRE, RADIUS, (-0.03, 0.008))


def dots(rows=9, columns=13, spacing=0.02):
    y, x = np.mgrid[:rows, :columns].astype(float)
    return np.stack([y.ravel() - (rows - 1) / 2, x.ravel() - (columns - 1) / 2], axis=1) * spacing


def fitted(sigma=0.05, seed=0, points=None, **changes):
    points = dots() if points is None else points
    noise = np.random.default_rng(seed).normal(size=points.shape) * sigma
    settings = {"centre": CENTRE, "radius": RADIUS} | changes
    return fit_plane(points, TRUE.to_pixels(points) + noise, sigma, **settings)


def test_plane_and_pixels_are_inverse():
    points = dots()
    np.testing.assert_allclose(TRUE.to_plane(TRUE.to_pixels(points)), points, atol=1e-12)


def test_residuals_are_the_noise_of_the_dots():
    found = fitted()
    degrees = found.solution.degrees
    # chi^2 / degrees scatters by sqrt(2 / degrees); 4 standard deviations
    assert found.solution.chi_square / degrees == pytest.approx(1, abs=4 * (2 / degrees) ** 0.5)
    assert found.rms < 0.1


def test_distortion_is_within_its_uncertainty_and_that_is_honest():
    pulls = []
    for seed in range(12):
        solution = fitted(seed=seed).solution
        for name, true in zip(("k1", "k2"), TRUE.radial, strict=True):
            pulls.append((solution[name].value - true) / solution[name].uncertainty)
    assert max(np.abs(pulls)) < 4  # of 24 draws
    assert 0.5 < np.std(pulls) < 1.6  # scatters by 1 / sqrt(48) about 1


def test_without_distortion_terms_the_residual_shows_it():
    assert fitted(terms=0).rms > 0.5


def test_mirror_is_told():
    assert not TRUE.mirrored
    mirror = PlaneMap(TURNED @ np.diag([1.0, -1.0, 1.0]), CENTRE, RADIUS)
    assert mirror.mirrored


def test_dots_on_a_line_are_refused():
    with pytest.raises(CalibrationError, match="one line"):
        fitted(points=np.stack([np.linspace(-0.1, 0.1, 20), np.linspace(-0.1, 0.1, 20)], axis=1))


def test_four_dots_leave_the_distortion_open():
    with pytest.raises(CalibrationError, match=r"do not fix .*k1"):
        fitted(points=np.array([[-0.08, -0.1], [-0.08, 0.1], [0.08, 0.1], [0.08, -0.1]]))
