"""What a PSF does to a picture: closed forms of Gaussians, information, inversion."""

import math

import pytest
import torch

from optics import blur
from optics.grids import coordinates
from optics.quality import (
    encircled_energy,
    encircled_radius,
    energy_inside,
    frequencies,
    line_mtf,
    mtf50,
    radial_mtf,
    recoverable_bits,
    resolved_fraction,
    rms_radius,
    signal_to_noise,
    transfer,
    wiener,
)


def gaussian(sigma_y, sigma_x, shape=(61, 75), shift=(0.0, 0.0)):
    y = coordinates(shape[0], 1.0) - shift[0]
    x = coordinates(shape[1], 1.0) - shift[1]
    psf = torch.exp(-(y**2) / (2 * sigma_y**2))[:, None] * torch.exp(-(x**2) / (2 * sigma_x**2))
    return psf / psf.sum()


def ones(size):
    return torch.ones(3, size, size // 2 + 1, dtype=torch.float64)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -5.0)])
def test_rms_radius_of_a_gaussian(shift):
    # exact to the tail cut at 7 sigma
    radius = rms_radius(gaussian(2.0, 4.0, shift=shift))
    assert float(radius) == pytest.approx(math.hypot(2, 4), rel=1e-6)


def test_rms_radius_gradcheck():
    psf = torch.rand(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(rms_radius, psf.requires_grad_())


def test_energy_and_encircled_energy():
    psf = gaussian(5.0, 5.0, (101, 121)) * 0.8
    assert float(energy_inside(psf)) == pytest.approx(0.8, rel=1e-12)
    # 1 - exp(-r^2 / 2 s^2); the rim of a pixelated circle of 15 px is known to about 1 / r^1.5
    expected = 1 - math.exp(-(15.0**2) / 50)
    assert float(encircled_energy(psf, 15.0)) == pytest.approx(expected, abs=5e-3)
    assert float(encircled_energy(psf, 200.0)) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.9])
def test_encircled_radius_of_a_gaussian(fraction):
    sigma = 6.0
    radius = encircled_radius(0.6 * gaussian(sigma, sigma, (101, 121)), fraction)
    # energy is spread evenly over each pixel, which adds 1 / 12 to the variance; the ramp that
    # stands for a pixel's corners costs 0.02 / radius^2
    expected = math.sqrt(-2 * (sigma**2 + 1 / 12) * math.log(1 - fraction))
    assert float(radius) == pytest.approx(expected, rel=1e-3)


def test_encircled_radius_of_a_disc():
    y, x = coordinates(61, 1.0)[:, None], coordinates(70, 1.0)[None, :]
    disc = (torch.hypot(y, x) <= 25).double()
    # half the energy within 1 / sqrt(2) of the radius; the lattice of the rim: 1 / 25^1.5
    assert float(encircled_radius(disc, 0.5)) == pytest.approx(25 / math.sqrt(2), rel=8e-3)


def test_encircled_radius_of_one_pixel_is_the_circle_in_it():
    psf = torch.zeros(2, 5, 7, dtype=torch.float64)
    psf[0, 2, 3] = 1.0
    psf[1] = 1.0
    radius = encircled_radius(psf, 0.5)
    assert float(radius[0]) < 0.51
    assert 1.5 < float(radius[1]) < 3.5


def test_encircled_radius_gradcheck():
    psf = gaussian(2.0, 3.0, (6, 7)) + 0.01 * torch.rand(
        2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    assert torch.autograd.gradcheck(lambda p: encircled_radius(p, 0.6), psf.requires_grad_())


def test_a_fraction_of_all_the_energy_is_refused():
    with pytest.raises(ValueError, match=r"fraction = 1 is outside \(0, 1\)"):
        encircled_radius(gaussian(1.0, 1.0), 1.0)


def test_mtf_of_a_box_is_a_sinc_of_sampled_points():
    """m samples in a row: |sin(pi m f) / (m sin(pi f))| along it, 1 across it."""
    frequency = torch.tensor([0.0, 0.013, 0.11, 0.25, 0.5], dtype=torch.float64)
    psf = torch.zeros(9, 14, dtype=torch.float64)
    psf[4, 3:8] = 0.7
    f = frequency[1:]
    expected = (torch.sin(math.pi * 5 * f) / (5 * torch.sin(math.pi * f))).abs()
    along = line_mtf(psf, frequency, axis="x")
    torch.testing.assert_close(along[1:], expected, rtol=1e-12, atol=1e-14)
    assert float(along[0]) == pytest.approx(1, rel=1e-14)
    across = line_mtf(psf, frequency, axis="y")
    torch.testing.assert_close(across, torch.ones_like(across), rtol=1e-12, atol=0)


def test_mtf_of_a_finely_sampled_box_is_the_sinc_of_its_width():
    frequency = torch.linspace(0, 0.02, 9, dtype=torch.float64)
    psf = torch.zeros(2, 3, 130, dtype=torch.float64)
    psf[..., 15:115] = 1.0
    expected = torch.sinc(100 * frequency).abs().expand(2, 9)
    # sampling: pi^2 f^2 / 6 of a lobe
    torch.testing.assert_close(line_mtf(psf, frequency, axis="x"), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_mtf50_of_a_gaussian(axis):
    sigma = {"y": 1.5, "x": 2.5}[axis]
    psf = 0.4 * gaussian(1.5, 2.5, shift=(0.3, -1.2))
    expected = math.sqrt(math.log(2) / 2) / (math.pi * sigma)
    # linear between 1025 frequencies: (1 / 2048)^2 / 8 times the curvature
    assert float(mtf50(psf, axis=axis)) == pytest.approx(expected, abs=2e-6)
    tenth = mtf50(psf, axis=axis, level=0.1)
    expected = math.sqrt(math.log(10) / 2) / (math.pi * sigma)
    assert float(tenth) == pytest.approx(expected, abs=2e-6)


def test_radial_mtf50_of_a_gaussian():
    expected = math.sqrt(math.log(2) / 2) / (math.pi * 2)
    # rings are two samples of 1 / 512 wide: curvature of the ring adds a few 1e-4
    assert float(mtf50(gaussian(2.0, 2.0))) == pytest.approx(expected, abs=4e-4)


def test_radial_mtf50_lies_where_the_ring_mean_falls_to_one_half():
    psf = gaussian(1.3, 2.4, (31, 40)) + 0.3 * gaussian(0.8, 0.9, (31, 40), shift=(2.0, -6.0))
    found = mtf50(psf)
    mtf = radial_mtf(psf, found[None])
    assert float(mtf) == pytest.approx(0.5, abs=5e-3)  # rings of another width: slope / 512


def test_mtf50_of_a_point_is_beyond_all_frequencies():
    psf = torch.zeros(2, 5, 7, dtype=torch.float64)
    psf[0, 2, 3] = 1.0
    psf[1, :, 2:5] = 1.0
    found = mtf50(psf, axis="x")
    assert math.isinf(float(found[0]))
    assert 0 < float(found[1]) < 0.5


@pytest.mark.parametrize("axis", ["x", "y", "radial"])
def test_mtf50_gradcheck(axis):
    psf = gaussian(1.7, 1.4, (7, 9)) + 0.002 * torch.rand(
        7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    # along one random direction: transforms of 512 x 512 samples take their time
    assert torch.autograd.gradcheck(
        lambda p: mtf50(p, axis=axis), psf.requires_grad_(), fast_mode=True
    )


def test_line_mtf_gradcheck():
    psf = torch.rand(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    frequency = torch.tensor([0.05, 0.2, 0.41], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda p: line_mtf(p, frequency, axis="y"), psf.requires_grad_()
    )


def test_bad_axes_levels_and_frequencies_are_refused():
    with pytest.raises(ValueError, match="axis = 'z', expected 'x' or 'y'"):
        line_mtf(gaussian(1.0, 1.0), torch.tensor([0.1]), axis="z")
    with pytest.raises(ValueError, match=r"level = 1 is outside \(0, 1\)"):
        mtf50(gaussian(1.0, 1.0), level=1.0)
    with pytest.raises(ValueError, match=r"outside \[0, 0.5\]"):
        line_mtf(gaussian(1.0, 1.0), torch.tensor([0.6]), axis="x")


def test_radial_mtf_of_a_gaussian():
    sigma = 2.0
    psf = gaussian(sigma, sigma)
    frequency = torch.tensor([0.0, 0.02, 0.05, 0.1, 0.15], dtype=torch.float64)
    mtf = radial_mtf(3.0 * psf, frequency, size=1024)
    expected = torch.exp(-2 * (math.pi * sigma * frequency) ** 2)
    # a ring is 2 / 1024 wide: its curvature adds a few 1e-4; at 0 it holds neighbours too
    torch.testing.assert_close(mtf, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [75, 76, 128])
def test_no_ring_is_ever_empty(size):
    psf = torch.stack([gaussian(1.0, 1.0), gaussian(1.5, 1.5), gaussian(2.0, 2.0)])
    mtf = radial_mtf(psf, torch.linspace(0, 0.5, 97, dtype=torch.float64), size=size)
    assert mtf.shape == (3, 97)
    assert bool(mtf.isfinite().all())


@pytest.mark.parametrize("frequency", [-0.1, 0.51, math.nan])
def test_frequencies_the_pixels_do_not_sample_are_refused(frequency):
    with pytest.raises(ValueError, match=r"outside \[0, 0.5\]"):
        radial_mtf(gaussian(1.0, 1.0), torch.tensor([0.1, frequency]))


def test_a_transform_smaller_than_the_psf_is_refused():
    with pytest.raises(ValueError, match=r"size = 64 is less than .*use at least 75"):
        transfer(gaussian(1.0, 1.0), 64)


def test_transfer_of_a_shifted_point_is_one_everywhere():
    psf = torch.zeros(5, 7, dtype=torch.float64)
    psf[3, 1] = 0.6
    torch.testing.assert_close(transfer(psf, 16), torch.full((16, 9), 0.36, dtype=torch.float64))


def test_frequencies_lie_in_the_order_of_rfft2():
    radius = frequencies(8)
    assert radius.shape == (8, 5)
    assert float(radius[0, 0]) == 0.0
    assert float(radius[7, 0]) == pytest.approx(1 / 8)
    assert float(radius[2, 3]) == pytest.approx(math.hypot(2, 3) / 8)


def test_information_of_one_flat_channel_is_shannons():
    """A point PSF, white scene: log2(1 + N S / sigma^2) / 2 bit at every frequency."""
    psf = torch.zeros(3, 3, 5, dtype=torch.float64)
    psf[1, 1, 2] = 0.5
    noise = torch.tensor([1.0, 0.02, 1.0], dtype=torch.float64)
    power = ones(16) * torch.tensor([2.0, 3.0, 4.0])[:, None, None]
    bits = recoverable_bits(psf, scene_power=power, noise_variance=noise, frames=10, size=16)
    expected = 0.5 * math.log2(1 + 10 * 0.25 * 3.0 / 0.02)
    torch.testing.assert_close(bits, torch.full((16, 9), expected, dtype=torch.float64))


def test_information_adds_over_colours_inside_the_logarithm():
    psf = torch.zeros(3, 1, 1, dtype=torch.float64) + torch.tensor([1.0, 0.5, 0.1])[:, None, None]
    noise = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    bits = recoverable_bits(psf, scene_power=ones(8), noise_variance=noise, frames=1, size=8)
    expected = 0.5 * math.log2(1 + 1 / 0.1 + 0.25 / 0.2 + 0.01 / 0.3)
    torch.testing.assert_close(bits, torch.full((8, 5), expected).double(), rtol=1e-6, atol=0)


def test_information_gradient_has_its_closed_form_and_passes_gradcheck():
    """d/da of log2(1 + a^2 r) / 2 is a r / (ln 2 (1 + a^2 r))."""
    amplitude = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    psf = torch.stack([torch.zeros(()).double(), amplitude, torch.zeros(()).double()])
    noise = torch.full((3,), 0.05, dtype=torch.float64)
    bits = recoverable_bits(
        psf[:, None, None], scene_power=ones(4), noise_variance=noise, frames=1, size=4
    )
    (slope,) = torch.autograd.grad(bits[1, 2], amplitude)
    ratio = 1 / 0.05
    expected = 0.3 * ratio / (math.log(2) * (1 + 0.09 * ratio))
    assert float(slope) == pytest.approx(expected, rel=1e-12)
    start = torch.rand(3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda p: recoverable_bits(p, scene_power=ones(4), noise_variance=noise, frames=2, size=4),
        start.requires_grad_(),
    )


def test_a_dark_psf_leaves_nothing_to_recover():
    psf = torch.zeros(3, 3, 3, dtype=torch.float64)
    noise = torch.ones(3, dtype=torch.float64)
    bits = recoverable_bits(psf, scene_power=ones(8), noise_variance=noise, frames=1000, size=8)
    assert float(bits.abs().max()) == 0.0


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("frames", [1, 100])
def test_resolved_fraction_of_a_gaussian_is_the_area_of_its_disc(size, frames):
    """White scene: SNR falls to one where exp(-(2 pi sigma f)^2) N S / noise = 1."""
    sigma, noise = 1.5, 0.01
    psf = torch.stack([0 * gaussian(1.0, 1.0, (31, 33)), gaussian(sigma, sigma, (31, 33))] * 2)[:3]
    psf = psf * torch.tensor([1.0, 1.0, 0.0])[:, None, None]
    power = torch.ones(3, size, size // 2 + 1, dtype=torch.float64)
    settings = {
        "scene_power": power,
        "noise_variance": torch.full((3,), noise, dtype=torch.float64),
        "frames": frames,
        "size": size,
    }
    edge = math.sqrt(math.log(frames / noise)) / (2 * math.pi * sigma)
    # lattice points in a disc of radius edge * size: error of order radius^(2/3)
    share = float(resolved_fraction(psf, **settings))
    tolerance = 2 * (edge * size) ** (2 / 3) / (math.pi * (size / 2) ** 2)
    assert share == pytest.approx(min(edge / 0.5, 1.0) ** 2, abs=tolerance)
    ratio = signal_to_noise(psf, **settings)
    radius = frequencies(size)
    expected = frames / noise * torch.exp(-((2 * math.pi * sigma * radius) ** 2))
    # the Gaussian is sampled and cut at 10 sigma
    torch.testing.assert_close(ratio[radius < 0.25], expected[radius < 0.25], rtol=1e-3, atol=0)


def test_nothing_is_resolved_in_the_dark_and_all_in_bright_light():
    psf = torch.zeros(3, 3, 4, dtype=torch.float64)
    psf[:, 1, 2] = 1.0
    settings = {"scene_power": ones(16), "frames": 1, "size": 16}
    for noise, expected in ((4.0, 0.0), (0.1, 1.0)):
        variance = torch.full((3,), noise, dtype=torch.float64)
        assert float(resolved_fraction(psf, noise_variance=variance, **settings)) == expected


def test_wiener_without_noise_restores_a_scene_that_lost_no_frequency():
    generator = torch.Generator().manual_seed(0)
    scene = torch.rand(2, 3, 17, 22, dtype=torch.float64, generator=generator)
    psf = 0.02 * torch.rand(3, 5, 7, dtype=torch.float64, generator=generator)
    psf[:, 2, 3] += 1.0  # the centre outweighs the rest: no zero of the transfer function
    seen = blur(scene, psf, extent="full")
    height, width = seen.shape[-2:]
    restored = wiener(
        seen, psf, scene_power=torch.ones(3, height, width // 2 + 1, dtype=torch.float64),
        noise_power=torch.zeros(3, dtype=torch.float64),
    )  # fmt: skip
    # float64 through a condition number below 10
    torch.testing.assert_close(restored[..., :17, :22], scene, rtol=0, atol=1e-12)
    assert float(restored[..., 17:, :].abs().max()) < 1e-12


def test_wiener_is_the_best_of_its_family_at_the_true_noise():
    generator = torch.Generator().manual_seed(0)
    scene = torch.randn(4, 3, 40, 40, dtype=torch.float64, generator=generator)
    psf = gaussian(1.2, 1.2, (9, 9)).expand(3, 9, 9)
    seen = blur(scene, psf, extent="full")
    seen = seen + 0.1 * torch.randn(seen.shape, dtype=torch.float64, generator=generator)
    power = ones(48) * (40 / 48) ** 2  # unit variance over 40 of 48 pixels

    def error(noise):
        noise_power = torch.full((3,), noise, dtype=torch.float64)
        restored = wiener(seen, psf, scene_power=power, noise_power=noise_power)
        return float((restored[..., :40, :40] - scene).square().mean())

    assert error(0.01) < min(error(0.0025), error(0.04))


def test_wiener_gradcheck():
    seen = torch.rand(1, 3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    psf = torch.rand(3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    power, noise = torch.ones(3, 4, 4).double(), torch.full((3,), 0.1, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda y, h: wiener(y, h, scene_power=power, noise_power=noise),
        (seen.requires_grad_(), psf.requires_grad_()),
    )
