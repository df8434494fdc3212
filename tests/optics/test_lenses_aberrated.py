"""Seidel and Zernike aberrations over the field, vignetting: closed forms and orientation."""

import math

import pytest
import torch

from optics import Camera, FlatMask, Sensor, ThinLens
from optics.lenses import SeidelLens, VignettedLens, ZernikeLens
from tests.optics.cameras import line_bands, wave
from tests.optics.lens_spots import (
    DIAMETER,
    DISTANCE,
    PITCH,
    WAVE,
    axes,
    pupil_field,
    slope_centroid,
    spot,
)

GREEN = float(WAVE)
HALF_FIELD = math.atan(0.2)
FIELD = (0.12, -0.16)  # at the edge, towards the lower left
ALONG = (0.6, -0.8)


def seidel(**wavefront):
    return SeidelLens(
        ThinLens(focal_length=DISTANCE),
        aperture_diameter=DIAMETER,
        half_field=HALF_FIELD,
        **wavefront,
    )


def zernike(**tables):
    return ZernikeLens(
        ThinLens(focal_length=DISTANCE),
        aperture_diameter=DIAMETER,
        half_field=HALF_FIELD,
        **tables,
    )


def opd(lens, y, x, field=FIELD):
    return lens.opd(y, x, WAVE, field=field, object_distance=1e3, sensor_distance=DISTANCE)


def moments(image, pitch=PITCH):
    """Centre of mass (y, x) and the variances along and across ALONG [m]."""
    at = (torch.arange(len(image), dtype=torch.float64) - (len(image) - 1) / 2) * pitch
    share = image / image.sum()
    y, x = float(share.sum(1) @ at), float(share.sum(0) @ at)
    along = (at[:, None] - y) * ALONG[0] + (at[None, :] - x) * ALONG[1]
    across = (at[None, :] - x) * ALONG[0] - (at[:, None] - y) * ALONG[1]
    return (y, x), float((share * along**2).sum()), float((share * across**2).sum())


def test_strehl_of_a_quarter_wave_of_field_curvature_is_sinc_squared():
    fine = {"cell": DIAMETER / 300, "samples": 300}
    lens = seidel(field_curvature=GREEN / 4)
    strehl = (
        float((pupil_field(lens, FIELD, **fine).sum() / pupil_field(seidel(), **fine).sum()).abs())
        ** 2
    )
    # |mean of exp(2 pi i W rho^2)|^2 over the disc; the phase is taken at the centre of a sample:
    # 1.3e-4 with 96 samples, falling with their square
    assert strehl == pytest.approx((math.sin(math.pi / 4) / (math.pi / 4)) ** 2, abs=2e-5)


def test_positive_coma_has_its_tail_towards_the_axis_at_any_azimuth():
    """W131 shifts the centre of mass by -W131 z / R along the field: the mean of 2 + cos(2 phi)
    over the zones, times rho^2."""
    lens = seidel(coma=1.5 * GREEN)
    expected = -1.5 * GREEN * DISTANCE / (DIAMETER / 2)
    for field in (FIELD, (0.2, 0.0), (0.0, 0.2), (-0.2, 0.0)):
        y, x = slope_centroid(lens, field)
        radius = math.hypot(*field)
        along = (y * field[0] + x * field[1]) / radius
        across = (x * field[0] - y * field[1]) / radius
        # one binary-to-grey rim of a quarter sample on 48
        assert along == pytest.approx(expected, rel=2e-3)
        assert across == pytest.approx(0, abs=1e-4 * abs(expected))
    (y, x), _, _ = moments(spot(lens, FIELD, points=257))
    # the window cuts the faint far rings, which carry part of the first moment
    assert y * ALONG[0] + x * ALONG[1] == pytest.approx(expected, rel=0.05)


def test_coma_grows_with_the_field_and_is_none_on_the_axis():
    lens = seidel(coma=GREEN)
    y, x = axes(7, 9)
    half = (FIELD[0] / 2, FIELD[1] / 2)
    torch.testing.assert_close(2 * opd(lens, y, x, half), opd(lens, y, x), rtol=1e-12, atol=1e-20)
    assert float(opd(lens, y, x, (0.0, 0.0)).abs().max()) == 0


def test_undercorrected_spherical_aberration_focuses_marginal_rays_nearer_the_lens():
    """A ray of zone rho crosses the axis 4 W040 rho^2 (z / R)^2 before the paraxial focus."""
    lens = seidel(spherical=GREEN)
    y = torch.zeros(1, 1, dtype=torch.float64)
    x = torch.tensor([[0.9 * DIAMETER / 2]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(opd(lens, y, x, (0.0, 0.0)).sum(), x)
    # transverse error -z W' ; longitudinal = transverse * z / r, towards the lens
    nearer = -float(slope) * DISTANCE**2 / x.item()
    assert nearer == pytest.approx(4 * GREEN * 0.81 * (DISTANCE / (DIAMETER / 2)) ** 2, rel=1e-12)


def test_astigmatism_puts_the_tangential_line_focus_nearer_the_lens_across_the_field():
    """With W222 alone the sagittal rays stay sharp: in focus the spot is a line along the field;
    a curvature of 2 W222 / R^2 makes it a line across."""
    lens = seidel(astigmatism=2 * GREEN)
    _, along, across = moments(spot(lens, FIELD))
    assert along > 4 * across
    # sensor nearer the lens: 1/z grows, the curvature 1/d + 1/z - 1/f is positive
    nearer = torch.tensor([2 * 2 * GREEN / (DIAMETER / 2) ** 2], dtype=torch.float64)
    _, along, across = moments(spot(lens, FIELD, curvature=nearer)[0])
    assert across > 4 * along


def test_petzval_curvature_moves_the_best_focus_by_half_the_squared_height_over_the_radius():
    """Image surface of radius 1.5 f: at height y' sharp y'^2 / (2 * 1.5 f) nearer the lens."""
    radius = 1.5 * DISTANCE
    h = 0.2 * DISTANCE
    # S_IV = H^2 / radius with H = R tan(field), in air
    sums = (0.0, 0.0, 0.0, (DIAMETER / 2 * 0.2) ** 2 / radius, 0.0)
    lens = SeidelLens.from_sums(
        ThinLens(focal_length=DISTANCE), sums, aperture_diameter=DIAMETER, half_field=HALF_FIELD
    )
    nearer = torch.linspace(0.6, 1.4, 81, dtype=torch.float64) * h**2 / (2 * radius)
    # paraxial curvature of a sensor that much nearer, to first order as in the Seidel theory
    peaks = spot(lens, FIELD, points=1, curvature=nearer / DISTANCE**2).flatten()
    best = int(peaks.argmax())
    low, middle, high = peaks[best - 1 : best + 2]
    step = float((low - high) / (low - 2 * middle + high) / 2)
    found = float(nearer[best]) + step * float(nearer[1] - nearer[0])
    # the parabola through three points of a sinc^2
    assert found == pytest.approx(h**2 / (2 * radius), rel=1e-3)


def test_barrel_distortion_moves_the_spot_towards_the_axis_as_the_cube_of_the_field():
    lens = seidel(distortion=GREEN)
    expected = GREEN * DISTANCE / (DIAMETER / 2)
    for scale in (1.0, 0.5):
        y, x = slope_centroid(lens, (FIELD[0] * scale, FIELD[1] * scale))
        along = y * ALONG[0] + x * ALONG[1]
        assert along == pytest.approx(-expected * scale**3, rel=1e-12)


def test_five_sums_make_the_five_coefficients():
    lens = SeidelLens.from_sums(
        ThinLens(focal_length=DISTANCE),
        (8e-7, 2e-7, 4e-7, 6e-7, 1e-7),
        aperture_diameter=DIAMETER,
        half_field=HALF_FIELD,
    )
    expected = torch.tensor([1e-7, 1e-7, 2e-7, 2.5e-7, 0.5e-7], dtype=torch.float64)
    torch.testing.assert_close(lens.coefficients, expected, rtol=1e-12, atol=0)


def test_zernikes_of_the_field_equal_the_seidel_aberrations_they_stand_for():
    """W131 h rho^3 cos = W131 h (Z8 / sqrt(72) + 2 Z2 / 3 / 2), W222 h^2 rho^2 cos^2 =
    W222 h^2 (Z6 / sqrt(24) + Z4 / sqrt(48) + Z1 / 4), in any azimuth."""
    coma, astigmatism = 0.7 * GREEN, -0.4 * GREEN
    linear = [0.0] * 8
    linear[7], linear[1] = -coma / (3 * math.sqrt(8)), -coma / 3
    square = [0.0] * 8
    square[5], square[3] = -astigmatism / 2 / math.sqrt(6), -astigmatism / 4 / math.sqrt(3)
    square[0] = -astigmatism / 4
    table = zernike(turning=[[0.0] * 8, linear, square])
    y, x = axes(7, 10, DIAMETER / 10)
    for field in (FIELD, (0.0, 0.1), (-0.05, -0.02)):
        ours = opd(table, y, x, field)
        theirs = opd(seidel(coma=coma, astigmatism=astigmatism), y, x, field)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-18)


def test_fixed_zernikes_do_not_turn_with_the_field():
    lens = zernike(fixed=[0.0] * 7 + [1e-7])
    y, x = axes(7, 10)
    assert torch.equal(opd(lens, y, x, FIELD), opd(lens, y, x, (0.0, 0.0)))


def test_two_equal_rims_leave_a_lens_of_two_circles():
    shift = 0.4 * DIAMETER
    lens = VignettedLens(
        ThinLens(focal_length=DISTANCE), rim_diameters=[DIAMETER], rim_distances=[shift / 0.2]
    )
    cell = DIAMETER / 250
    energy = float(pupil_field(lens, FIELD, cell=cell, samples=252, stop=DIAMETER).abs().sum())
    half = shift / DIAMETER
    area = DIAMETER**2 / 2 * (math.acos(half) - half * math.sqrt(1 - half**2))
    # the product of two grey rims errs on the few samples where both cut
    assert energy * cell**2 == pytest.approx(area, rel=3e-4)


def test_a_rim_behind_the_stop_cuts_the_side_of_the_pupil_that_the_field_points_to():
    """The bundle is displaced along the field there, so its outer side hits the rim."""
    y, x = axes()
    for distance, sign in ((8e-3, 1), (-8e-3, -1)):
        lens = VignettedLens(
            ThinLens(focal_length=DISTANCE), rim_diameters=[DIAMETER], rim_distances=[distance]
        )
        passed = lens.transmission(y, x, field=(0.2, 0.0))
        lit = float((passed * y).sum() / passed.sum())
        assert lit * sign < -0.2 * DIAMETER / 2


def test_properties_stack_and_power_is_that_of_the_lens_below():
    glass = ThinLens(focal_length=DISTANCE, material="n_bk7")
    lens = SeidelLens(glass, aperture_diameter=DIAMETER, half_field=0.2, spherical=GREEN)
    lens = zernike_on(lens, [0.0, 0.0, 0.0, 1e-7])
    lens = VignettedLens(lens, rim_diameters=[DIAMETER], rim_distances=[1e-3])
    y, x = axes(6, 8)
    both = opd(lens, y, x)
    separate = opd(seidel(spherical=GREEN), y, x) + opd(zernike(fixed=[0, 0, 0, 1e-7]), y, x)
    torch.testing.assert_close(both, separate, rtol=1e-12, atol=1e-20)
    assert torch.equal(lens.power(wave(4e-7, 7e-7)), glass.power(wave(4e-7, 7e-7)))
    assert lens.image_distance(1.0) == glass.image_distance(1.0)
    assert glass.opd(y, x, WAVE, field=FIELD, object_distance=1, sensor_distance=1) is None


def test_transmissions_of_stacked_lenses_multiply():
    near, far = ([DIAMETER], [4e-3]), ([DIAMETER], [-6e-3])
    stacked = VignettedLens(
        VignettedLens(
            ThinLens(focal_length=DISTANCE), rim_diameters=near[0], rim_distances=near[1]
        ),
        rim_diameters=far[0],
        rim_distances=far[1],
    )
    both = VignettedLens(
        ThinLens(focal_length=DISTANCE),
        rim_diameters=near[0] + far[0],
        rim_distances=near[1] + far[1],
    )
    y, x = axes(20, 24, DIAMETER / 20)
    passed = stacked.transmission(y, x, field=FIELD)
    assert torch.equal(passed, both.transmission(y, x, field=FIELD))
    assert 0 < float(passed.mean()) < 1


def zernike_on(base, fixed):
    return ZernikeLens(base, aperture_diameter=DIAMETER, half_field=0.2, fixed=fixed)


def test_the_camera_takes_an_aberrated_lens_and_its_gradient():
    lens = SeidelLens(
        ThinLens(focal_length=DISTANCE),
        aperture_diameter=DIAMETER,
        half_field=HALF_FIELD,
        coma=GREEN,
        learnable=True,
    )
    sensor = Sensor(pixel_pitch=5e-6, binning=1, bayer=False, bands=line_bands(6e-7, 5.5e-7, 5e-7))
    camera = Camera(
        aperture_diameter=DIAMETER,
        lens=lens,
        mask=FlatMask(aperture_diameter=DIAMETER, cell=DIAMETER / 64),
        sensor=sensor,
        focus_distance=1.0,
        window=31,
        double=True,
    )
    psf = camera.spots([1.0], wave(GREEN), fields=[FIELD])[0, 0, 0]
    at = torch.arange(31, dtype=torch.float64) - 15
    y, x = (psf.sum(1) @ at / psf.sum()), (psf.sum(0) @ at / psf.sum())
    assert (y * ALONG[0] + x * ALONG[1]).item() < -0.5  # pixels, towards the axis
    y.backward()
    assert lens.coefficients.grad[1] != 0


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda: seidel(learnable=True), {"coefficients": (5,)}),
        (lambda: zernike(learnable=True), {"fixed": (6,), "turning": (2, 6)}),
    ],
)
def test_gradients_of_the_coefficients(make, shapes):
    y, x = axes(5, 4, DIAMETER / 5)

    def wavefront(*values):
        lens = make()
        if "turning" in shapes:
            lens.continuous = torch.ones(shapes["turning"], dtype=torch.float64)
        for name, value in zip(shapes, values, strict=True):
            delattr(lens, name)
            setattr(lens, name, value)
        return opd(lens, y, x)

    values = [torch.rand(s, dtype=torch.float64, requires_grad=True) for s in shapes.values()]
    assert torch.autograd.gradcheck(wavefront, values)


def test_wrong_geometry_says_why_and_what_to_do():
    thin = ThinLens(focal_length=DISTANCE)
    with pytest.raises(ValueError, match="image is virtual; move the object further away"):
        seidel().image_distance(0.04)
    with pytest.raises(ValueError, match=r"half_field = 15 rad.*15 degrees is 0\.262"):
        SeidelLens(thin, aperture_diameter=DIAMETER, half_field=15)
    with pytest.raises(ValueError, match=r"reaches 0\.25 m.*quarter wave"):
        seidel(coma=0.25)
    with pytest.raises(ValueError, match="sums has 4"):
        SeidelLens.from_sums(thin, (0, 0, 0, 0), aperture_diameter=1e-3, half_field=0.1)
    with pytest.raises(ValueError, match=r"turning\[0\] has a Noll mode 2.*jump on the axis"):
        zernike(turning=[[0.0, 1e-7]])
    lens = VignettedLens(thin, rim_diameters=[DIAMETER], rim_distances=[0.05])
    y, x = axes()
    with pytest.raises(ValueError, match="pass no light at all"):
        lens.transmission(y, x, field=(0.2, 0.0))
    with pytest.raises(ValueError, match="2 rim_diameters and 1 rim_distances"):
        VignettedLens(thin, rim_diameters=[1e-3, 1e-3], rim_distances=[0.0])
