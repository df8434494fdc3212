"""A calibrated camera: the design's where it explains all, the measurement's where it does not."""

from dataclasses import replace

import pytest
import torch

from calibration.errors import CalibrationError
from calibration.measured_camera import CalibratedCamera, measured_sensor
from calibration.noise.model import NoiseModel, PlaneNoise
from calibration.uncertainty import Uncertain
from optics import Sensor, blur
from tests.calibration.bench_stacks import small_design

DISTANCES = (0.2, 0.25, 0.4)


@pytest.fixture(scope="module")
def design():
    return small_design(double=True)


@pytest.fixture(scope="module")
def designed(design):
    with torch.no_grad():
        return design.psf(DISTANCES)


def pattern(designed):
    """Difference that takes as much light away as it adds, in every colour."""
    other = designed.flip(-1)
    shares = designed.sum((-2, -1), keepdim=True) / other.sum((-2, -1), keepdim=True)
    return other * shares - designed


def test_where_the_design_was_made_scenes_are_measured_as_by_the_design(design, designed):
    """Between the measured distances too; to 1e-12 in complex128."""
    camera = CalibratedCamera(design, DISTANCES, designed)
    light = torch.rand(
        1, 3, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    found, meant = (light.clone().requires_grad_(True) for _ in range(2))
    psf, own = camera.psf([0.31])[0], design.psf([0.31])[0].detach()
    seen, expected = blur(found, psf), blur(meant, own)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-12)
    for picture, image in ((found, seen), (meant, expected)):
        image.square().sum().backward()
        assert picture.grad.abs().min() > 0
    torch.testing.assert_close(found.grad, meant.grad, rtol=0, atol=1e-10)


def test_at_measured_distances_it_is_what_was_measured(design, designed):
    measured = designed + 0.3 * pattern(designed)
    camera = CalibratedCamera(design, DISTANCES, measured)
    torch.testing.assert_close(camera.psf(DISTANCES[::-1]), measured.flip(0), rtol=0, atol=1e-12)


def test_between_them_a_difference_that_is_linear_in_dioptres_is_found_again(design, designed):
    slope = torch.rand(3, 31, 31, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    slope = (slope - slope.mean((-2, -1), keepdim=True)) * designed.min() / 5  # no light is taken
    dioptres = 1 / torch.tensor([*DISTANCES, 0.3], dtype=torch.float64)
    surplus = dioptres[:, None, None, None] * slope
    camera = CalibratedCamera(design, DISTANCES, designed + surplus[:3])
    with torch.no_grad():
        found = camera.psf([0.3]) - design.psf([0.3])
    torch.testing.assert_close(found[0], surplus[3], rtol=1e-6, atol=1e-13)


def test_no_light_is_negative_and_the_energy_is_that_of_the_design(design, designed):
    measured = designed - 2 * designed.amax((-2, -1), keepdim=True) * (designed > designed.mean())
    camera = CalibratedCamera(design, DISTANCES, measured.clamp(min=0))
    found = camera.psf([0.3])
    assert float(found.min()) >= 0
    energy = design.psf([0.3]).sum((-2, -1)).detach()
    torch.testing.assert_close(found.sum((-2, -1)), energy, rtol=1e-9, atol=0)


def test_one_distance_serves_itself_alone(design, designed):
    camera = CalibratedCamera(design, DISTANCES[:1], designed[:1])
    torch.testing.assert_close(camera.psf([0.2]), designed[:1], rtol=0, atol=1e-12)
    with pytest.raises(CalibrationError, match=r"from 0.2 m to 0.2 m"):
        camera.psf([0.3])


@pytest.mark.parametrize("distance", [0.19, 0.41])
def test_distances_that_were_not_measured_are_refused(design, designed, distance):
    camera = CalibratedCamera(design, DISTANCES, designed)
    with pytest.raises(CalibrationError, match=rf"{distance} m: .* from 0.2 m to 0.4 m"):
        camera.psf([0.3, distance])
    assert not camera.reaches(distance)


def test_fields_that_were_not_measured_are_refused(design, designed):
    camera = CalibratedCamera(design, DISTANCES, designed)
    assert camera.psf([0.3], fields=[(0.0, 0.0)]).shape == (1, 1, 3, 31, 31)
    with pytest.raises(CalibrationError, match="on the axis alone"):
        camera.psf([0.3], fields=[(0.0, 0.1)])


def test_psfs_of_another_window_are_refused(design, designed):
    with pytest.raises(ValueError, match=r"psfs is \(3, 3, 29, 29\), expected \(3, 3, 31, 31\)"):
        CalibratedCamera(design, DISTANCES, designed[..., 1:-1, 1:-1])
    with pytest.raises(ValueError, match="rising"):
        CalibratedCamera(design, DISTANCES[::-1], designed)


def noise(**changes):
    plane = PlaneNoise(
        system_gain=Uncertain(0.5, 0.001),
        black_level=Uncertain(250.0, 0.02),
        read_noise=Uncertain(3.0, 0.02),
        row_noise=Uncertain(0.0, 0.05),
        dark_current=Uncertain(-0.1, 0.3),
        dsnu=Uncertain(0.4, 0.1),
    )
    loud = replace(plane, read_noise=Uncertain(4.0, 0.02), system_gain=Uncertain(0.52, 0.001))
    planes = {"R": loud, "Gr": plane, "Gb": plane, "B": loud}
    settings = {"mode": "64x64-12", "cfa": "GRBG", "bits": 12, "gain": 1.0, "temperature": 25.0}
    return NoiseModel(**(settings | {"planes": planes} | changes))


def test_the_sensor_has_the_noise_that_was_measured_and_keeps_what_was_not():
    sensor = Sensor(prnu=0.01, full_well=7000.0)
    found = measured_sensor(sensor, noise())
    expected = replace(
        sensor, system_gain=0.51, black_level=250.0, read_noise=12.5**0.5, dsnu=0.4, cfa="GRBG",
    )  # fmt: skip
    assert found.system_gain == pytest.approx(expected.system_gain)
    assert found.read_noise == pytest.approx(expected.read_noise)
    assert replace(found, system_gain=0.51, read_noise=12.5**0.5) == expected


def test_noise_of_another_mode_is_refused():
    with pytest.raises(CalibrationError, match=r"mode 64x64-12 \(10 bit.*designed for 12 bit"):
        measured_sensor(Sensor(), noise(bits=10))
