"""Camera and rail from a point source on slides, and what its places leave open."""

import dataclasses
import math

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.geometry import CameraGeometry, fit_stages, source_place
from calibration.uncertainty import Uncertain

DESIGN = CameraGeometry((3040, 4056), 1.55e-6, 16.2e-3, (1519.5, 2027.5))
TRUE = dataclasses.replace(
    DESIGN, principal_distance=16.26e-3, principal_point=(1541.0, 1998.0), radial=(-0.08, 0.2),
    mirrored=True, quarter_turns=1, turn=math.radians(0.7),
)  # fmt: skip
SCALE, OFFSET, PUPIL = 1.003, 0.021, np.array([1.3e-3, -0.8e-3])
SIGMA = 0.05
KNOWN = {"principal_distance": Uncertain(16.26e-3, 1e-7)}


def grid(depths=(0.75, 1.0, 1.5, 2.5), across=(-0.08, -0.04, 0.0, 0.04, 0.08)):
    z, y, x = np.meshgrid(depths, across, across, indexing="ij")
    return np.stack([z.ravel(), y.ravel(), x.ravel()], axis=1)


def seen(readings, camera=TRUE):
    distance = SCALE * readings[:, :1] + OFFSET
    return camera.to_pixels((readings[:, 1:] - PUPIL) / distance)


def fitted(readings=None, *, seed=0, known=KNOWN, camera=TRUE, **settings):
    readings = grid() if readings is None else readings
    noise = np.random.default_rng(seed).normal(size=(len(readings), 2)) * SIGMA
    return fit_stages(
        readings, seen(readings, camera) + noise, SIGMA, DESIGN, known=known, **settings
    )


def test_geometry_is_within_its_uncertainties_and_these_are_honest():
    true = {
        "rail_scale": SCALE, "rail_offset": OFFSET, "pupil_y": PUPIL[0], "pupil_x": PUPIL[1],
        "row": 1541.0, "column": 1998.0, "turn": TRUE.turn, "k1": -0.08, "k2": 0.2,
    }  # fmt: skip
    pulls = []
    for seed in range(8):
        found = fitted(seed=seed)
        assert (found.camera.mirrored, found.camera.quarter_turns) == (True, 1)
        assert found.rms < 0.1
        for name, value in true.items():
            got = found.solution[name]
            pulls.append((got.value - value) / got.uncertainty)
    assert np.max(np.abs(pulls)) < 4  # of 72
    assert 0.75 < np.std(pulls) < 1.25  # correlated, so wider than 1 / sqrt(144)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_every_orientation_is_found(mirrored, quarters):
    camera = dataclasses.replace(TRUE, mirrored=mirrored, quarter_turns=quarters)
    found = fitted(grid((0.8, 1.5)), camera=camera).camera
    assert (found.mirrored, found.quarter_turns) == (mirrored, quarters)


def test_the_rail_serves_as_the_known_length_instead():
    found = fitted(known={"rail_scale": Uncertain(SCALE, 1e-6)}).solution["principal_distance"]
    assert found.value == pytest.approx(16.26e-3, abs=4 * found.uncertainty)
    assert found.uncertainty < 1e-5


def test_nothing_known_leaves_distance_and_rail_open_and_says_so():
    with pytest.raises(CalibrationError, match=r"do not fix .*principal_distance.* apart"):
        fitted(known={})


def test_one_depth_leaves_scale_and_offset_open():
    with pytest.raises(CalibrationError, match=r"do not fix .*rail_scale.*rail_offset"):
        fitted(grid((1.0,)))


def test_a_source_on_one_line_leaves_the_orientation_open():
    readings = grid()
    with pytest.raises(CalibrationError, match="along one line"):
        fitted(readings[readings[:, 1] == 0])


def test_chief_ray_of_a_psf_is_told_from_what_the_mask_deflects():
    geometry = fitted()
    z = np.linspace(0.75, 3.0, 9)
    readings = np.stack([z, np.full(9, 0.05), np.full(9, -0.03)], axis=1)
    pixels = seen(readings) + np.array([3.0, -5.0])
    pixels += np.random.default_rng(1).normal(size=pixels.shape) * SIGMA
    found = source_place(geometry, z, pixels, SIGMA)
    for got, true in zip(found.place, np.array([0.05, -0.03]) - PUPIL, strict=True):
        # the geometry's own error, some 1e-5 of the distance, comes on top
        assert got.value == pytest.approx(true, abs=4 * got.uncertainty + 2e-5)
    for got, true in zip(found.deflection, (3.0, -5.0), strict=True):
        assert got.value == pytest.approx(true, abs=4 * got.uncertainty + 0.1)
    assert found.chi_square < 2.5
    np.testing.assert_allclose(
        geometry.tangents(readings), (readings[:, 1:] - PUPIL) / (SCALE * z + OFFSET)[:, None],
        atol=2e-5,
    )  # fmt: skip
