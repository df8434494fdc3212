"""High aperture: axial intensity by quadrature, the paraxial limit, apodisation, limits."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from optics import Camera, FlatMask, Sensor
from optics.lenses import ObjectivePupil
from optics.propagation import cis, to_sensor
from tests.optics.cameras import line_bands
from tests.optics.lens_spots import WAVE, axes

FOCAL = 10e-3
TUBE = 200e-3
SAMPLES = 512


def focus():
    """Object distance that is sharp at the sensor."""
    return 1 / (1 / FOCAL - 1 / TUBE)


def object_at(lens, displacement):
    """Object distance whose vergence belongs to a point displaced by that much [m]."""
    vergence = -displacement / (lens.index * lens.focal_length**2)
    return 1 / (1 / focus() + vergence)


def wavefront(lens, y, x, distance, sensor=TUBE):
    return lens.opd(y, x, WAVE, field=(0.0, 0.0), object_distance=distance, sensor_distance=sensor)[
        0
    ]


def axial_intensity(lens, displacement):
    """Intensity on the axis, the paraxial part on the chirps as in the camera."""
    cell = lens.pupil_diameter / SAMPLES
    distance = object_at(lens, displacement)
    y, x = axes(SAMPLES + 4, SAMPLES + 4, cell)  # the rim is the objective's own
    turns = wavefront(lens, y, x, distance)[None] / WAVE
    field = lens.transmission(y, x, field=(0.0, 0.0)) * cis(2 * math.pi * turns)
    curvature = torch.tensor([[1 / distance + 1 / TUBE - 1 / FOCAL]], dtype=torch.float64)
    out = to_sensor(
        field, spacing=cell, wavelength=WAVE, distance=TUBE, points=(1, 1), pitch=1e-6,
        curvature=curvature,
    )  # fmt: skip
    return float(out.abs().square())


def quadrature(lens, displacement):
    """|integral of cos^(p + 1) sin exp(i k n delta cos)|^2 over the aperture angle."""
    k = 2 * math.pi * lens.index / float(WAVE)
    top = math.asin(lens.numerical_aperture / lens.index)

    def part(trigonometric):
        return quad(
            lambda t: (
                math.sin(t)
                * math.cos(t) ** (1 + lens.apodisation)
                * trigonometric(k * displacement * (math.cos(t) - 1))
            ),
            0,
            top,
            epsabs=1e-12,
            limit=200,
        )[0]

    return part(math.cos) ** 2 + part(math.sin) ** 2


@pytest.mark.parametrize("apodisation", [-0.5, 0.0, 0.5])
@pytest.mark.parametrize(("aperture", "index"), [(0.8, 1.0), (1.2, 1.515)])
def test_axial_intensity_is_that_of_direct_quadrature(aperture, index, apodisation):
    lens = ObjectivePupil(FOCAL, aperture, index, apodisation)
    for displacement in (-1.3e-6, 0.7e-6, 2.1e-6):
        ours = axial_intensity(lens, displacement) / axial_intensity(lens, 0.0)
        theirs = quadrature(lens, displacement) / quadrature(lens, 0.0)
        # midpoint rule with a rim that falls over one of 256 samples: measured 1.4e-5
        assert ours == pytest.approx(theirs, abs=3e-5)


def test_axial_intensity_without_apodisation_is_the_closed_form():
    """Integral of c exp(i q c) from cos(top) to 1, elementary."""
    lens = ObjectivePupil(FOCAL, 0.8, 1.0, 0.0)
    displacement = 1.1e-6
    q, low = 2 * math.pi * displacement / float(WAVE), math.sqrt(1 - 0.8**2)

    def primitive(c):
        return np.exp(1j * q * c) * (c / (1j * q) + 1 / q**2)

    closed = abs(primitive(1.0) - primitive(low)) ** 2 / ((1 - low**2) / 2) ** 2
    ours = axial_intensity(lens, displacement) / axial_intensity(lens, 0.0)
    assert ours == pytest.approx(closed, abs=3e-5)


def test_added_and_paraxial_phase_are_together_the_exact_path():
    """n delta (cos - 1), to rounding, with the sine condition r = n f sin."""
    lens = ObjectivePupil(FOCAL, 1.2, 1.515)
    y, x = axes(7, 9, 1e-3)
    distance = object_at(lens, 2e-6)
    vergence = 1 / distance + 1 / TUBE - 1 / FOCAL
    square = y**2 + x**2
    cosine = (1 - square / (1.515 * FOCAL) ** 2).sqrt()
    total = wavefront(lens, y, x, distance) + square * vergence / 2
    # vergences of 100 dioptres cancel to 0.01: 4 digits of 16 are gone
    torch.testing.assert_close(total, 1.515 * 2e-6 * (cosine - 1), rtol=1e-9, atol=1e-18)


def test_low_aperture_adds_the_fourth_order_of_the_sphere():
    """opd -> C r^4 / (8 n^2 f^2); the ratio to it is 1 + s^2 / 2 + O(s^4)."""
    y = torch.zeros(1, 1, dtype=torch.float64)
    for sine in (0.02, 0.1):
        lens = ObjectivePupil(FOCAL, 0.2, 1.3)
        x = torch.full_like(y, sine * 1.3 * FOCAL)
        distance = object_at(lens, 3e-6)
        vergence = 1 / distance + 1 / TUBE - 1 / FOCAL
        fourth = vergence * x**4 / (8 * 1.3**2 * FOCAL**2)
        ratio = float(wavefront(lens, y, x, distance) / fourth)
        assert ratio == pytest.approx(1 + sine**2 / 2, abs=sine**4)


def test_in_focus_nothing_is_added():
    lens = ObjectivePupil(FOCAL, 0.9)
    y, x = axes(6, 8, 1e-3)
    # 1/d + 1/z - 1/f is zero to one rounding of 100 dioptres
    assert float(wavefront(lens, y, x, focus()).abs().max()) < 1e-17


@pytest.mark.parametrize(("power", "brightest"), [(-0.5, "rim"), (0.5, "centre")])
def test_apodisation_keeps_the_energy_of_the_cone(power, brightest):
    """Per area of the pupil a collected cone has 1 / cos of its central intensity."""
    lens = ObjectivePupil(FOCAL, 0.8, 1.0, power)
    y = torch.zeros(1, 1, dtype=torch.float64)
    x = torch.tensor([[0.0, 0.4, 0.79]], dtype=torch.float64) * FOCAL
    y, x = y.expand(2, 1), x
    passed = lens._sine(y, x)
    cosine = (1 - passed).sqrt()[0]
    torch.testing.assert_close(cosine[1], torch.tensor(math.sqrt(1 - 0.16), dtype=torch.float64))
    grid_y, grid_x = axes(81, 101, lens.pupil_diameter / 100)
    amplitude = lens.transmission(grid_y, grid_x, field=(0.0, 0.0))
    centre = float(amplitude[40, 50])
    off = float(amplitude[40, 80])  # 30 cells of 100: sine = 0.8 * 0.6
    expected = math.sqrt(1 - 0.48**2) ** power
    assert off / centre == pytest.approx(expected, rel=1e-12)
    assert float(amplitude.max()) <= 1
    assert (off > centre) == (brightest == "rim")


def test_gradient_of_the_wavefront_by_position():
    lens = ObjectivePupil(FOCAL, 1.2, 1.515)
    y, x = axes(4, 5, 1e-3)
    scale = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    distance = object_at(lens, 2e-5)
    # 1e6: in micrometres, as gradcheck compares with absolute tolerances
    assert torch.autograd.gradcheck(
        lambda s: 1e6 * wavefront(lens, s * y, s * x, distance), (scale,)
    )


def test_wrong_apertures_say_why_and_what_to_do():
    with pytest.raises(ValueError, match=r"1\.4 is not below the index 1 .*immersion"):
        ObjectivePupil(FOCAL, 1.4)
    with pytest.raises(ValueError, match=r"index = 0\.5"):
        ObjectivePupil(FOCAL, 0.4, 0.5)
    with pytest.raises(ValueError, match="apodisation = 1"):
        ObjectivePupil(FOCAL, 0.4, 1.0, 1.0)
    with pytest.raises(ValueError, match="image is virtual"):
        ObjectivePupil(FOCAL, 0.4).image_distance(5e-3)


def test_the_camera_sees_the_exact_axial_phase():
    """Centre pixel over that in focus, pixels of a tenth of the Airy radius."""
    lens = ObjectivePupil(FOCAL, 0.8)
    sensor = Sensor(
        pixel_pitch=0.8e-6, binning=1, bayer=False, bands=line_bands(5.6e-7, 5.5e-7, 5.4e-7)
    )
    camera = Camera(
        aperture_diameter=lens.pupil_diameter,
        lens=lens,
        mask=FlatMask(aperture_diameter=lens.pupil_diameter, cell=lens.pupil_diameter / 300),
        sensor=sensor,
        focus_distance=focus(),
        window=3,
        double=True,
    )
    displaced = (0.0, -0.6e-6, 0.9e-6)
    sharp, *others = camera.spots([object_at(lens, d) for d in displaced], WAVE)[0, :, 0, 1, 1]
    for peak, displacement in zip(others, displaced[1:], strict=True):
        theirs = quadrature(lens, displacement) / quadrature(lens, 0.0)
        # the finite pixel, second order of its side over the spot's, and two rims of one sample
        assert float(peak / sharp) == pytest.approx(theirs, abs=0.01)
