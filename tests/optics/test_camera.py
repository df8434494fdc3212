"""The camera: energy, signs, sampling guards, dispersion, gradients."""

import math

import pytest
import torch

from optics import Camera, FlatMask, Sensor, ThinLens, WrappedRelief, ZernikeSurface, material
from optics.grids import coordinates, disc_coverage
from optics.quality import energy_inside
from tests.optics.cameras import FreeHeight, line_bands, small_camera, smooth_height, wave


def tiny_pixels(pitch=1e-6):
    return Sensor(pixel_pitch=pitch, binning=1, bayer=False, bands=line_bands(6e-7, 5.5e-7, 4.5e-7))


def relief(**changes):
    settings = {"aperture_diameter": 0.2e-3, "cell": 20e-6, "profile": "flat"}
    return WrappedRelief(**(settings | changes))


# --- energy -----------------------------------------------------------------------------------


def test_a_wide_window_holds_nearly_all_light_of_a_flat_mask():
    camera = small_camera(
        FlatMask(aperture_diameter=1e-3, cell=1e-3 / 256), sensor=tiny_pixels(5e-6), window=251
    )
    psf = camera.psf([1.0])
    assert psf.shape == (1, 3, 251, 251)
    # the light of the stop is its area; that of the sampled pupil lacks what its grey rim
    # would scatter beyond the period
    rim = float(camera.aperture.square().sum() / camera.aperture.sum())
    missing = 1 - energy_inside(psf)[0] * rim
    # beyond a radius R the Airy pattern holds 2 lambda N / (pi^2 R) of its light, 0.90 of that
    # beyond a square of half-side R
    reach = 251 / 2 * 5e-6
    number = camera.sensor_distance / 1e-3
    for lost, wavelength in zip(missing.tolist(), (6e-7, 5.5e-7, 4.5e-7), strict=True):
        law = 2 * wavelength * number / (math.pi**2 * reach)
        # the next order of the asymptotic series and the ring cut by the window
        assert lost == pytest.approx(0.90 * law, rel=0.15)


def test_over_exactly_one_period_energy_is_conserved():
    """Parseval, to rounding: pixels that tile the period of the sampled pupil."""
    cell, green = 1e-3 / 32, 550e-9
    mask = FlatMask(aperture_diameter=1e-3, cell=cell)
    period = green * small_camera(mask, window=3).sensor_distance / cell
    sensor = Sensor(
        pixel_pitch=period / 25, binning=1, bayer=False, bands=line_bands(6e-7, 5.8e-7, 5.6e-7)
    )
    camera = small_camera(mask, window=25, sensor=sensor)
    energy = energy_inside(camera.spot(0.9, wave(green)))
    assert float(energy[0]) == pytest.approx(1, abs=1e-9)


def test_energy_is_lost_by_a_window_that_cuts_and_never_gained():
    height = smooth_height(64, 1e-3 / 64, 1e-6, 0.25e-3)
    camera = small_camera(FreeHeight(height, 1e-3 / 64), window=41)
    wide = energy_inside(camera.psf([1.0]).detach())
    narrow = energy_inside(camera.psf([1.0]).detach()[..., 15:26, 15:26])
    assert bool((narrow < wide).all())
    assert bool((wide <= 1 + 1e-9).all())


def test_pixels_are_integrated_not_sampled(monkeypatch):
    """The chosen number of points per pixel against eight times as many."""
    camera = small_camera(sensor=tiny_pixels(30e-6), window=7)
    chosen = camera.spot(0.8, wave(550e-9))
    monkeypatch.setattr(Camera, "subsamples", 8 * camera.subsamples)
    fine = camera.spot(0.8, wave(550e-9))
    # what is left folds back from beyond the first zero of the pixel; the plain midpoint rule
    # is 4 % off here
    assert float((chosen - fine).norm() / fine.norm()) < 4e-3


def test_float32_agrees_with_float64():
    mask = relief(cell=4e-6, profile="gaussian", spread=8e-3)
    settings = {"aperture_diameter": 0.2e-3, "window": 61}
    single = small_camera(mask, double=False, **settings).psf([0.9])
    double = small_camera(mask, double=True, **settings).psf([0.9])
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    error = (single - double).norm() / double.norm()
    assert float(error.detach()) < 2e-6  # float32 rounding over a few thousand cells


# --- signs and geometry -----------------------------------------------------------------------


@pytest.mark.parametrize("pixelated", [False, True])
def test_a_mask_that_tilts_towards_positive_x_moves_the_spot_to_larger_columns(pixelated):
    cell, theta = 1e-3 / 64, 1e-3
    step = float(material("fused_silica").index(550e-9)) - 1
    x = coordinates(64, cell)
    height = (theta / step * x).expand(64, 64)
    camera = small_camera(FreeHeight(height, cell, pixelated=pixelated), window=41)
    spot = camera.spot(1.0, wave(550e-9))[0].detach()
    row, column = divmod(int(spot.argmax()), 41)
    assert (row, column) == (20, 20 + round(theta * camera.sensor_distance / 5e-6))


def test_sensor_sits_where_the_lens_equation_says():
    camera = small_camera(focus_distance=0.8)
    assert 1 / camera.sensor_distance + 1 / 0.8 == pytest.approx(1 / 50e-3, rel=1e-12)
    assert float(camera.defocus(0.8, wave(550e-9))) == pytest.approx(0, abs=1e-12)


def test_a_nearer_point_needs_a_stronger_lens():
    camera = small_camera()
    # 1/d + 1/z - 1/f = 1/0.5 - 1/1 dioptres
    assert float(camera.defocus(0.5, wave(550e-9))) == pytest.approx(1.0, rel=1e-12)


def test_image_of_a_face_in_pixels():
    camera = small_camera(focus_distance=2.0)
    magnification = 50e-3 / (2.0 - 50e-3)
    assert camera.image_size(0.14, 2.0) == pytest.approx(0.14 * magnification / 5e-6, rel=1e-12)
    assert camera.image_size(0.14, 1.0) == pytest.approx(2 * camera.image_size(0.14, 2.0))


def test_geometric_size_of_a_defocused_spot():
    """Blur disc of radius D / 2 * z * |curvature|, its variance per axis a quarter of R^2."""
    camera = small_camera(
        aperture_diameter=8e-3, mask=FlatMask(aperture_diameter=8e-3, cell=8e-3 / 256), window=131
    )
    spot = camera.spot(0.6, wave(550e-9))[0]
    x = coordinates(131, 5e-6)
    radius = 4e-3 * camera.sensor_distance * float(camera.defocus(0.6, wave(550e-9)))
    inside = x[:, None] ** 2 + x[None, :] ** 2 <= (1.1 * radius) ** 2
    spot = spot * inside  # without the far wings, whose variance grows without bound
    variance = float((spot.sum(0) * x**2).sum() / spot.sum())
    # diffraction moves a share of about lambda N / R = 2.5 % of the light across the rim
    assert math.sqrt(variance) == pytest.approx(radius / 2, rel=0.025)


def test_strehl_ratio_of_a_quarter_wave_of_defocus():
    """I / I0 = (sin(pi W) / (pi W))^2 for W waves of W20."""
    diameter, green = 2e-3, 550e-9
    camera = small_camera(
        aperture_diameter=diameter, sensor=tiny_pixels(0.2e-6), window=1,
        mask=FlatMask(aperture_diameter=diameter, cell=diameter / 256),
    )  # fmt: skip
    curvature = 8 * (green / 4) / diameter**2  # W20 = curvature * D^2 / 8
    spot = [camera.spot(d, wave(green)).item() for d in (1.0, 1 / (1 + curvature))]
    # a pixel of a hundredth of the Airy radius and a grey stop of 256 samples: below 1e-4
    assert spot[1] / spot[0] == pytest.approx(0.81057, abs=1e-4)


# --- wavelength -------------------------------------------------------------------------------


@pytest.mark.parametrize("wavelength", [450e-9, 550e-9, 640e-9])
@pytest.mark.parametrize("orders", [1, 3])
def test_undeflected_light_of_a_harmonic_blaze(orders, wavelength):
    """Zeroth order of a staircase of M levels, wrapped at p wavelengths.

    Its amplitude is the mean of exp(2 pi i a j / M), j = 0 .. M - 1, with
    a = p (n - 1) lambda0 / ((n0 - 1) lambda); for many levels sinc^2(a).
    """
    levels, cells, cell = 16, 512, 4e-6
    diameter = cells * cell
    mask = WrappedRelief(
        aperture_diameter=diameter, cell=cell, max_height=(orders + 0.1) * 1.2e-6, max_aspect=9.0,
        profile="flat",
    )  # fmt: skip
    assert mask.orders == orders
    with torch.no_grad():
        # a hair above each level, so that none sits on the edge of the wrap
        mask.turns += orders * (torch.arange(cells) / levels + 1e-4)
    camera = small_camera(
        mask, aperture_diameter=diameter, sensor=tiny_pixels(0.2e-6), window=1, double=True
    )
    flat = small_camera(
        FlatMask(aperture_diameter=diameter, cell=cell), aperture_diameter=diameter,
        sensor=tiny_pixels(0.2e-6), window=1,
    )  # fmt: skip
    share = camera.spot(1.0, wave(wavelength)).item() / flat.spot(1.0, wave(wavelength)).item()
    glass = material("fused_silica")
    ratio = (float(glass.index(wavelength)) - 1) / (float(glass.index(540e-9)) - 1)
    a = orders * ratio * 540e-9 / wavelength
    expected = (math.sin(math.pi * a) / (levels * math.sin(math.pi * a / levels))) ** 2
    # 32 zones: the wings of the neighbouring orders add 1e-3 in amplitude
    assert math.sqrt(share) == pytest.approx(math.sqrt(expected), abs=3e-3)
    # and the continuous law of the docstring, (1 + O(1 / M^2))
    assert math.sqrt(share) == pytest.approx(abs(math.sin(math.pi * a) / (math.pi * a)), abs=1e-2)


def test_wrapping_at_the_design_wavelength_is_invisible():
    diameter = 0.4e-3
    bands = line_bands(640e-9, 540e-9, 440e-9)
    sensor = Sensor(pixel_pitch=5e-6, binning=1, bayer=False, bands=bands)
    masks = [
        WrappedRelief(aperture_diameter=diameter, cell=4e-6, max_height=h, profile="gaussian",
                      spread=6e-3)
        for h in (1.3e-6, 8e-6)
    ]  # fmt: skip
    assert [m.orders for m in masks] == [1, 6]
    cameras = [small_camera(m, aperture_diameter=diameter, sensor=sensor) for m in masks]
    one, six = (c.spot(1.0, wave(540e-9)).detach() for c in cameras)
    torch.testing.assert_close(one, six, rtol=0, atol=1e-9 * float(one.max()))
    blue_one, blue_six = (c.spot(1.0, wave(440e-9)).detach() for c in cameras)
    assert float((blue_one - blue_six).norm() / blue_one.norm()) > 0.05


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_first_order_of_a_staircase_blaze(levels):
    """sinc^2(1 / M): 0.405, 0.811, 0.950; without the cell's own sinc it would be 1."""
    cells, cell, green = 128, 10e-6, 540e-9
    diameter = cells * cell
    mask = WrappedRelief(aperture_diameter=diameter, cell=cell, max_height=1.3e-6, profile="flat")
    with torch.no_grad():
        mask.turns += torch.arange(cells) / levels + 1e-4
    base = small_camera(mask, aperture_diameter=diameter, window=1)
    order = green * base.sensor_distance / (levels * cell)
    sensor = tiny_pixels(order / 60)
    camera = small_camera(mask, aperture_diameter=diameter, sensor=sensor, window=121)
    flat = small_camera(
        FlatMask(aperture_diameter=diameter, cell=cell), aperture_diameter=diameter, sensor=sensor,
        window=1,
    )  # fmt: skip
    share = camera.spot(1.0, wave(green))[0, 60, 120].item() / flat.spot(1.0, wave(green)).item()
    expected = (math.sin(math.pi / levels) / (math.pi / levels)) ** 2
    # the wings of the zeroth and second order, and the slope of the sinc over one pixel
    assert share == pytest.approx(expected, abs=5e-3)


def test_colours_are_averages_over_their_response():
    """Five nodes against 41 for a chromatic singlet."""
    lens = ThinLens(focal_length=50e-3, material="n_bk7")
    camera = small_camera(lens=lens, sensor=Sensor(pixel_pitch=5e-6, binning=2), window=21)
    coarse, fine = camera.psf([1.0], nodes=5), camera.psf([1.0], nodes=41)
    assert float((coarse - fine).norm() / fine.norm()) < 0.02  # midpoint rule, smooth integrand
    single = camera.spot(1.0, wave(camera.sensor.bands[1].centre))
    assert float((single - fine[0, 1]).norm() / fine[0, 1].norm()) > 0.001  # it does matter


def test_drawn_wavelengths_average_to_the_response():
    lens = ThinLens(focal_length=50e-3, material="n_bk7")
    camera = small_camera(lens=lens, sensor=Sensor(pixel_pitch=5e-6, binning=2), window=7)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([camera.psf([1.0], generator=generator) for _ in range(120)])
    spread = draws.std(0) / math.sqrt(120)
    exact = camera.psf([1.0], nodes=41)
    # four standard errors, and rounding where the spread vanishes
    assert bool(((draws.mean(0) - exact).abs() < 4.5 * spread + 1e-6).all())


# --- refusals ---------------------------------------------------------------------------------


def test_a_window_wider_than_the_period_of_a_smooth_pupil_is_refused():
    with pytest.raises(ValueError, match=r"window = 501 .* aliases; use window <= (\d+) or cell"):
        small_camera(window=501)


def test_the_window_the_message_proposes_is_accepted():
    with pytest.raises(ValueError, match="aliases") as caught:
        small_camera(window=2001)
    small_camera(window=int(str(caught.value).split("window <= ")[1].split()[0]))


def test_repeats_of_a_pixelated_mask_are_its_real_orders():
    mask = relief(cell=20e-6, aperture_diameter=0.4e-3)
    small_camera(mask, aperture_diameter=0.4e-3, window=601)


def test_defocus_that_is_not_sampled_is_refused_with_the_remedy():
    camera = small_camera(
        aperture_diameter=10e-3, window=5,
        mask=FlatMask(aperture_diameter=10e-3, cell=10e-3 / 64),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"defocus of 9 dioptres .* use cells <= ([\d.e-]+) m"):
        camera.spot(0.1, wave(550e-9))


def test_a_virtual_image_is_refused():
    with pytest.raises(ValueError, match=r"inside the focal length 0.05 m: the image is virtual"):
        small_camera(focus_distance=0.04)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 30}, "window = 30: an odd number of pixels is needed, 31"),
        ({"nodes": 2}, "nodes = 2: a whole number of at least 3"),
        ({"aperture_diameter": 1.0e-3, "mask": relief()}, "the mask must cover the aperture"),
        ({"focus_distance": 1e6}, "focus_distance = 1e"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_camera(**changes)


# --- gradients --------------------------------------------------------------------------------


class Light(torch.nn.Module):
    def __init__(self, camera):
        super().__init__()
        self.camera = camera

    def forward(self, distance):
        return self.camera.psf([distance])


def psf_of(camera, name, value):
    return torch.func.functional_call(Light(camera), {f"camera.mask.{name}": value}, (0.9,))


@pytest.mark.parametrize("name", ["turns", "log_spread"])
def test_gradients_of_a_relief_are_those_of_finite_differences(name):
    mask = relief(profile="gaussian", spread=5e-3, cell=10e-6, aperture_diameter=0.1e-3).double()
    camera = small_camera(mask, aperture_diameter=0.1e-3, window=3, sensor=tiny_pixels(20e-6))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # away from the edges of the wrap
        mask.turns += 0.5 + 0.3 * torch.rand(mask.turns.shape, generator=generator).double()
    value = getattr(mask, name).detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: psf_of(camera, name, v), value, atol=1e-8)


def test_gradients_of_a_zernike_surface_are_those_of_finite_differences():
    mask = ZernikeSurface(aperture_diameter=0.2e-3, cell=8e-6, modes=9, start_rms=0.3e-6)
    camera = small_camera(mask, aperture_diameter=0.2e-3, window=5, sensor=tiny_pixels(20e-6))
    value = mask.coefficients.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: psf_of(camera, "coefficients", v), value, atol=1e-8)


def test_gradients_of_a_given_height_are_those_of_finite_differences():
    turns = torch.rand(10, 10, generator=torch.Generator().manual_seed(0)).double() * 1e-6
    mask = FreeHeight(turns, 20e-6, pixelated=True)
    camera = small_camera(mask, aperture_diameter=0.2e-3, window=5, sensor=tiny_pixels(20e-6))
    micrometres = (turns * 1e6).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: psf_of(camera, "given", v * 1e-6), micrometres)


def test_float32_gradient_agrees_with_float64():
    def gradient(double):
        mask = relief(profile="gaussian", spread=5e-3, cell=4e-6)
        camera = small_camera(mask, aperture_diameter=0.2e-3, window=21, double=double)
        weight = coordinates(21, 1.0).square()
        loss = (camera.psf([0.9]) * weight.to(camera.dtype)).sum()
        return torch.autograd.grad(loss, mask.turns)[0].double()

    single, double = gradient(double=False), gradient(double=True)
    assert float((single - double).norm() / double.norm()) < 1e-4  # rounding over the window


def test_the_grey_stop_weights_the_pupil():
    camera = small_camera()
    torch.testing.assert_close(camera.aperture, disc_coverage((64, 64), 1e-3 / 64, 1e-3))
