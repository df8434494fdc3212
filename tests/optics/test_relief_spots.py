"""From height map to intensity in one step: the same light, the same gradient, less memory."""

import pytest
import torch

from optics.grids import disc_coverage
from optics.propagation import cis, relief_spots, to_sensor
from optics.propagation.folded import folded_transform

WAVES = torch.tensor([640e-9, 550e-9, 440e-9], dtype=torch.float64)
RATES = 0.46 / WAVES
SHAPE, SPACING, DISTANCE, PITCH = (22, 27), 30e-6, 50e-3, 6e-6
CURVATURE = torch.tensor([-0.8, 0.0, 1.3], dtype=torch.float64)[:, None].expand(3, 3)
ONE = CURVATURE[2:]
TURN = 2 * torch.pi


def relief(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(SHAPE, generator=generator, dtype=torch.float64).mul(3e-6).to(dtype)


def stop(dtype=torch.float64):
    return disc_coverage(SHAPE, SPACING, 0.6e-3).to(dtype)


def spots(height, amplitude=None, **options):
    settings = {
        "turns_per_metre": RATES, "spacing": SPACING, "wavelength": WAVES, "distance": DISTANCE,
        "points": (9, 14), "pitch": PITCH,
    } | options  # fmt: skip
    return relief_spots(
        height, amplitude=stop(height.dtype) if amplitude is None else amplitude, **settings
    )


def plain(height, amplitude=None, curvature=None):
    """Same light through the field, with the defocus as a plane of phase."""
    amplitude = stop() if amplitude is None else amplitude
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * SPACING for n in SHAPE)
    radius2 = y[:, None] ** 2 + x**2
    planes = []
    for row in torch.zeros(1, 3, dtype=torch.float64) if curvature is None else curvature:
        turns = RATES[:, None, None] * height + row[:, None, None] * radius2 / (
            2 * WAVES[:, None, None]
        )
        pupil = amplitude * cis(TURN * turns)
        field = to_sensor(
            pupil, spacing=SPACING, wavelength=WAVES, distance=DISTANCE, points=(9, 14),
            pitch=PITCH, method="matrix",
        )  # fmt: skip
        planes.append(field.abs().square())
    return torch.stack(planes)


@pytest.mark.parametrize("method", ["chirp", "matrix", "auto"])
@pytest.mark.parametrize("curvature", [None, ONE, CURVATURE])
def test_it_is_the_squared_field(method, curvature):
    ours = spots(relief(), curvature=curvature, method=method)
    assert ours.shape == (1 if curvature is None else len(curvature), 3, 9, 14)
    expected = plain(relief(), curvature=curvature)
    # rounding of float64 over a few hundred terms
    assert float((ours - expected).norm() / expected.norm()) < 1e-11


@pytest.mark.parametrize("curvature", [None, ONE, CURVATURE])
def test_its_gradient_is_that_of_the_squared_field(curvature):
    weights = torch.rand(1 if curvature is None else len(curvature), 3, 9, 14, dtype=torch.float64)
    ours, theirs = (relief().requires_grad_() for _ in range(2))
    (spots(ours, curvature=curvature) * weights).sum().backward()
    (plain(theirs, curvature=curvature) * weights).sum().backward()
    assert float((ours.grad - theirs.grad).norm() / theirs.grad.norm()) < 1e-11


@pytest.mark.parametrize("curvature", [ONE, CURVATURE])
@pytest.mark.parametrize("kind", ["real", "complex", "per wavelength"])
def test_finite_differences_agree_for_height_and_amplitude(kind, curvature):
    amplitude = {
        "real": stop(),
        "complex": stop() * cis(relief(1) * 1e6),
        "per wavelength": stop()
        * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None, None],
    }[kind]
    unit = 1e-6  # heights in micrometres, so that steps of 1e-6 are small

    def light(height, amplitude):
        return spots(height * unit, amplitude, curvature=curvature) * 1e6

    height = (relief() / unit).requires_grad_()
    assert torch.autograd.gradcheck(light, (height, amplitude.requires_grad_()), fast_mode=True)


@pytest.mark.parametrize("curvature", [ONE, CURVATURE])
def test_forward_mode_agrees_with_reverse_mode(curvature):
    step, weights = relief(2), torch.rand(len(curvature), 3, 9, 14, dtype=torch.float64)

    def light(height):
        return spots(height, curvature=curvature)

    _, tangent = torch.func.jvp(light, (relief(),), (step,))
    gradient = torch.func.grad(lambda h: (light(h) * weights).sum())(relief())
    # rounding of float64
    assert float((tangent * weights).sum()) == pytest.approx(
        float((gradient * step).sum()), rel=1e-11
    )


def test_it_maps_over_heights():
    heights = torch.stack([relief(0), relief(1)])
    both = torch.func.vmap(spots)(heights)
    torch.testing.assert_close(both, torch.stack([spots(h) for h in heights]), rtol=0, atol=0)


def test_long_sums_round_off_no_more_than_short_ones():
    """512 samples in single precision: 1.9e-7, and 4.0e-7 where all terms are summed at once."""
    samples, spacing = 512, 4e-6
    line = torch.linspace(-1, 1, samples, dtype=torch.float64)
    height = (1e-6 * torch.sin(9 * line[:, None]) * torch.cos(7 * line)).float()
    light = [
        relief_spots(
            height.to(dtype), turns_per_metre=RATES, spacing=spacing, wavelength=WAVES,
            amplitude=torch.ones(samples, samples, dtype=dtype), distance=DISTANCE,
            points=(128, 128), pitch=4e-6, method="matrix",
        ).double()
        for dtype in (torch.float32, torch.float64)
    ]  # fmt: skip
    assert float((light[0] - light[1]).norm() / light[1].norm()) < 3e-7


@pytest.mark.parametrize("curvature", [ONE, CURVATURE])
def test_pupils_that_are_not_kept_are_made_again(curvature, monkeypatch):
    weights = torch.rand(len(curvature), 3, 9, 14, dtype=torch.float64)
    slopes = []
    for most in (2**20, 0):
        monkeypatch.setattr("optics.propagation.spots.KEPT", most)
        height = relief().requires_grad_()
        (spots(height, curvature=curvature, method="matrix") * weights).sum().backward()
        slopes.append(height.grad)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=0)


def test_another_distance_needs_no_other_matrices():
    spots(relief(), curvature=ONE)
    made = folded_transform.cache_info().misses
    spots(relief(), curvature=2 * ONE)
    assert folded_transform.cache_info().misses == made


@pytest.mark.parametrize("curvature", [ONE, CURVATURE])
def test_single_precision_is_right_to_its_rounding(curvature):
    weights = torch.rand(len(curvature), 3, 9, 14, dtype=torch.float64)
    light, slopes = [], []
    for dtype in (torch.float32, torch.float64):
        height = relief(dtype=torch.float32).to(dtype).requires_grad_()
        out = spots(height, stop(dtype), curvature=curvature)
        (out * weights.to(dtype)).sum().backward()
        light.append(out.detach().double())
        slopes.append(height.grad.double())
    # phase reduced in float64, so only the last rounding is single
    assert float((light[0] - light[1]).norm() / light[1].norm()) < 5e-7
    assert float((slopes[0] - slopes[1]).norm() / slopes[1].norm()) < 1e-6


def test_planes_worked_on_together_are_the_planes_worked_on_alone(monkeypatch):
    from optics.propagation.planes import Transform

    alone = spots(relief(), curvature=CURVATURE)

    def together(self, like):
        depths, waves = self.counts
        yield slice(0, 2), [slice(0, 2), slice(2, depths)]
        yield slice(2, waves), [slice(0, depths)]

    monkeypatch.setattr(Transform, "chunks", together)
    height = relief().requires_grad_()
    out = spots(height, curvature=CURVATURE)
    torch.testing.assert_close(out, alone, rtol=1e-10, atol=0)
    out.sum().backward()
    other = relief().requires_grad_()
    plain(other, curvature=CURVATURE).sum().backward()
    assert float((height.grad - other.grad).norm() / other.grad.norm()) < 1e-11


def test_the_points_may_lie_off_the_axis():
    pupil = (stop() * cis(TURN * RATES[:, None, None] * relief()))[None]
    common = {"spacing": SPACING, "wavelength": WAVES, "distance": DISTANCE, "pitch": PITCH}
    wide = to_sensor(pupil, points=(21, 25), **common)
    part = to_sensor(pupil, points=(5, 9), offset=(-4 * PITCH, 7 * PITCH), **common)
    centre_y, centre_x = 10 - 4, 12 + 7
    expected = wide[..., centre_y - 2 : centre_y + 3, centre_x - 4 : centre_x + 5]
    assert float((part - expected).norm() / expected.norm()) < 1e-11


def test_the_field_maps_and_differentiates_under_transforms():
    pupils = torch.randn(4, 3, *SHAPE, dtype=torch.complex128)
    common = {
        "spacing": SPACING, "wavelength": WAVES, "distance": DISTANCE, "points": (5, 8),
        "pitch": PITCH, "curvature": CURVATURE,
    }  # fmt: skip

    def field(pupil):
        return to_sensor(pupil, **common)

    torch.testing.assert_close(torch.func.vmap(field)(pupils), field(pupils), rtol=0, atol=0)
    _, tangent = torch.func.jvp(field, (pupils[0],), (pupils[1],))
    torch.testing.assert_close(tangent, field(pupils[1]), rtol=0, atol=0)
    small = pupils[0].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda p: field(p).abs().square() * 1e6, small, fast_mode=True
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amplitude": torch.ones(22, 22, dtype=torch.float64)}, r"amplitude \(22, 22\)"),
        ({"turns_per_metre": RATES[:2]}, r"turns_per_metre \(2,\)"),
        ({"curvature": CURVATURE[:, :2]}, r"curvature is \(3, 2\), expected \(D, 3\)"),
        ({"method": "fft"}, "method = 'fft'"),
    ],
)
def test_bad_arguments_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        spots(relief(), **change)
