"""Angular spectrum and direct sum: closed forms, energy, adjoint, transforms, messages."""

import math

import pytest
import torch

from experiments.benchmarks.anchors_free_space import ANCHORS
from optics.grids import coordinates
from optics.propagation import (
    FreeSpace,
    cis,
    propagate,
    propagate_to_points,
    rayleigh_sommerfeld,
    transfer_function,
)

WAVELENGTH, SPACING, SHAPE = 550e-9, 4e-6, (40, 33)


def noise(*shape, dtype=torch.complex128, seed=1):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def beam(shape, spacing, waist, centre=(0.0, 0.0)):
    y, x = (coordinates(n, spacing) - c for n, c in zip(shape, centre, strict=True))
    return torch.exp(-(y[:, None] ** 2 + x**2) / waist**2).to(torch.complex128)


@pytest.mark.parametrize("double", [True, False], ids=["complex128", "complex64"])
@pytest.mark.parametrize("name", ANCHORS)
def test_anchor_is_met(name, double):
    """The bars and their reasons stand beside the closed forms, in the anchors."""
    error, bar = ANCHORS[name](double)
    assert error <= bar


def test_what_comes_out_stays_where_the_grid_says():
    """A beam straight ahead keeps its place; the tilt moves it by z tan(theta)."""
    shape, spacing, sine, z = (96, 128), 4e-6, 8e-3, 10e-3
    x = coordinates(shape[1], spacing)
    field = beam(shape, spacing, 60e-6, (20e-6, -40e-6)) * cis(2 * math.pi * sine / WAVELENGTH * x)
    out = propagate(field, spacing=spacing, wavelength=WAVELENGTH, distance=z).abs() ** 2
    y = coordinates(shape[0], spacing)
    across = float((out * x).sum() / out.sum())
    down = float((out * y[:, None]).sum() / out.sum())
    # the beam's tail is cut at the grid's edge: below 1e-3 of a sample
    assert across == pytest.approx(-40e-6 + z * math.tan(math.asin(sine)), abs=4e-9)
    assert down == pytest.approx(20e-6, abs=4e-9)


def test_back_propagation_undoes_propagation():
    field = beam((96, 90), SPACING, 40e-6)
    there = propagate(field, spacing=SPACING, wavelength=WAVELENGTH, distance=6e-3)
    back = propagate(there, spacing=SPACING, wavelength=WAVELENGTH, distance=-6e-3)
    # what left the window is gone: the beam's amplitude at its edge is 1e-5
    assert float((back - field).norm() / field.norm()) < 1e-5


def test_two_short_ways_are_one_long_way():
    field = beam((128, 120), SPACING, 40e-6)
    common = {"spacing": SPACING, "wavelength": WAVELENGTH}
    half = propagate(field, distance=3e-3, **common)
    there = propagate(half, distance=3e-3, **common)
    once = propagate(field, distance=6e-3, **common)
    # as above
    assert float((there - once).norm() / once.norm()) < 1e-5


def test_distance_zero_is_the_identity_for_every_wavelength():
    field = noise(2, 1, *SHAPE)
    free = FreeSpace(SHAPE, SPACING, [WAVELENGTH, 640e-9], 0.0, dtype=torch.complex128)
    assert free.decision.method == "identity"
    assert torch.equal(free(field), field.expand(2, 2, *SHAPE))


def test_kernel_is_the_angular_spectrum_less_its_carrier():
    n, m, z = 24, 17, 1e-3
    kernel = transfer_function((n, m), 1e-6, WAVELENGTH, z, reach=(math.inf, math.inf))
    fy, fx = (torch.fft.fftfreq(k, 1e-6, dtype=torch.float64) for k in (n, m))
    root = (1 - (WAVELENGTH * fy[:, None]) ** 2 - (WAVELENGTH * fx) ** 2).sqrt()
    # the textbook's difference loses digits: 2 pi z / wavelength * 1e-16
    torch.testing.assert_close(
        kernel, cis(2 * math.pi / WAVELENGTH * z * (root - 1)), rtol=0, atol=1e-10
    )


def test_evanescent_waves_are_zero_in_both_directions():
    for z in (1e-6, -1e-6):
        kernel = transfer_function((32, 30), 0.1e-6, WAVELENGTH, z, reach=(math.inf, math.inf))
        f = torch.fft.fftfreq(32, 0.1e-6, dtype=torch.float64)
        assert torch.equal(kernel[:, 0] == 0, f.abs() * WAVELENGTH >= 1)
        assert bool(torch.isfinite(kernel.abs()).all())


def test_band_ends_where_the_displacement_does():
    shape, spacing, z = (64, 50), 2e-6, 5e-3
    kernel = transfer_function(shape, spacing, WAVELENGTH, z)
    fy, fx = (torch.fft.fftfreq(n, spacing, dtype=torch.float64) * WAVELENGTH for n in shape)
    cosine = (1 - fy[:, None] ** 2 - fx**2).sqrt()
    moved = (z * fy[:, None] / cosine).abs(), (z * fx / cosine).abs()
    passes = (moved[0] <= 64e-6) & (moved[1] <= 50e-6)
    assert torch.equal(kernel != 0, passes)


def test_off_axis_result_is_the_window_of_a_larger_one():
    """The shifted kernel gives what a grid large enough to hold the offset gives there."""
    small, large, offset = (48, 40), (144, 160), (24, -36)
    field = beam(small, SPACING, 30e-6) * cis(
        2 * math.pi * 0.012 / WAVELENGTH
        * (coordinates(48, SPACING)[:, None] - coordinates(40, SPACING))
    )  # fmt: skip
    wide = torch.zeros(large, dtype=torch.complex128)
    wide[48:96, 60:100] = field
    common = {"spacing": SPACING, "wavelength": WAVELENGTH, "distance": 9e-3}
    whole = propagate(wide, **common)
    ours = propagate(field, offset=(offset[0] * SPACING, offset[1] * SPACING), **common)
    there = whole[48 + 24 : 96 + 24, 60 - 36 : 100 - 36]
    # the two cut the band at different places: the edges of the truncated beam differ by 1e-3
    assert float((ours - there).norm() / there.norm()) < 2e-3


@pytest.mark.parametrize("shape", [(40, 33), (48, 42)])  # odd and even padded sides
def test_points_on_the_grid_are_the_grid(shape):
    field = noise(2, 3, *shape)
    waves = [640e-9, WAVELENGTH, 440e-9]
    common = {"spacing": SPACING, "wavelength": waves, "distance": 2e-3}
    grid = propagate(field, **common)
    points = propagate_to_points(field, points=shape, pitch=SPACING, **common)
    # the same sum by another algorithm
    assert float((points - grid).norm() / grid.norm()) < 1e-12


def test_points_beside_the_grid_agree_with_the_direct_sum():
    spacing, z, pitch, offset = 1e-6, 0.4e-3, 0.7e-6, (8e-6, -6e-6)
    field = beam((80, 72), spacing, 9e-6)
    ours = propagate_to_points(
        field, spacing=spacing, wavelength=WAVELENGTH, distance=z, points=(7, 6), pitch=pitch,
        offset=offset,
    )  # fmt: skip
    y, x = (coordinates(n, pitch) + o for n, o in zip((7, 6), offset, strict=True))
    grid = torch.meshgrid(y, x, indexing="ij")
    where = torch.stack([*grid, torch.full_like(grid[0], z)], -1)
    exact = rayleigh_sommerfeld(field, where, spacing=spacing, wavelength=WAVELENGTH)
    # the beam is 1e-8 at the grid's edge
    assert float((ours - exact).norm() / exact.norm()) < 1e-6


def test_wavelengths_in_one_call_are_the_same_as_one_by_one():
    waves = [640e-9, 440e-9]
    field = noise(3, 2, *SHAPE)
    together = FreeSpace(SHAPE, SPACING, torch.tensor(waves), 2e-3, padding=3.0,
                         dtype=torch.complex128)  # fmt: skip
    out = together(field)
    for w, wave in enumerate(waves):
        alone = FreeSpace(SHAPE, SPACING, wave, 2e-3, padding=3.0, dtype=torch.complex128)
        # the band begins to fall off at another place only where nothing arrives
        error = (alone(field[:, w]) - out[:, w]).norm() / out[:, w].norm()
        assert float(error) < 0.05
        kernel = transfer_function(
            together.decision.padded, SPACING, float(torch.tensor(wave)), 2e-3,
            reach=together.decision.reach, within=together.decision.within,
        )  # fmt: skip
        spectrum = torch.fft.fft2(field[:, w], s=together.decision.padded)
        plain = torch.fft.ifft2(spectrum * kernel)[..., : SHAPE[0], : SHAPE[1]]
        torch.testing.assert_close(out[:, w], plain, rtol=1e-9, atol=1e-12)


GIVEN = {"spacing": SPACING, "wavelength": [WAVELENGTH, 640e-9]}
PLACES = noise(5, 3, dtype=torch.float64) * 1e-5 + torch.tensor([0.0, 0.0, 9e-3])
MAKERS = {  # of the field and the distance: beyond 0.5 mm the band is cut
    "grid": lambda f, z: propagate(f, distance=z, **GIVEN),
    "off axis": lambda f, z: propagate(f, distance=z, offset=(30e-6, -9e-6), **GIVEN),
    "points": lambda f, z: propagate_to_points(f, distance=z, points=(9, 7), pitch=5e-6, **GIVEN),
    "direct": lambda f, z: rayleigh_sommerfeld(f, PLACES, spacing=SPACING, wavelength=WAVELENGTH),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    # rounding of float64 and float32
    ("dtype", "bar"),
    [(torch.complex128, 1e-12), (torch.complex64, 1e-5)],
)
def test_gradient_is_the_adjoint(name, dtype, bar):
    """<A x, y> == <x, A* y>."""
    x = noise(2, 12, 15, dtype=dtype).requires_grad_()
    ax = MAKERS[name](x, 2e-3)
    y = noise(*ax.shape, dtype=dtype, seed=2)
    (back,) = torch.autograd.grad(ax, x, grad_outputs=y)
    left = torch.vdot(y.flatten(), ax.detach().flatten())
    right = torch.vdot(back.flatten(), x.detach().flatten())
    assert abs(complex(left - right)) < bar * float(ax.detach().norm() * y.norm())


@pytest.mark.parametrize("name", MAKERS)
def test_gradcheck(name):
    def light(x):
        return MAKERS[name](x, 0.3e-3).abs().square()

    field = noise(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(light, field)
    assert torch.autograd.gradgradcheck(light, field, fast_mode=True)


@pytest.mark.parametrize("name", MAKERS)
def test_it_is_its_own_tangent_and_maps_over_batches(name):
    def send(field):
        return MAKERS[name](field, 2e-3)

    many, step = noise(4, 2, 12, 15), noise(4, 2, 12, 15, seed=2)
    mapped = torch.func.vmap(send, in_dims=1)(many.movedim(0, 1))
    torch.testing.assert_close(mapped, torch.stack([send(f) for f in many]))
    _, tangent = torch.func.jvp(send, (many[0],), (step[0],))
    torch.testing.assert_close(tangent, send(step[0]))


def test_backward_keeps_nothing_but_the_kernel():
    free = FreeSpace(SHAPE, SPACING, WAVELENGTH, 2e-3, dtype=torch.complex128)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        free(noise(*SHAPE).requires_grad_())
    assert [t.shape for t in kept] == [free.kernel.shape]
    assert kept[0].data_ptr() == free.kernel.data_ptr()


def test_direct_sum_of_a_point_is_its_huygens_wave():
    """One sample: z/r (1/r - ik) exp(ikr) / (2 pi r) times its area."""
    field = torch.zeros(5, 3, dtype=torch.complex128)
    field[2, 1] = 1.0
    place = torch.tensor([3e-4, -1e-4, 2e-3], dtype=torch.float64)
    ours = rayleigh_sommerfeld(field, place, spacing=1e-6, wavelength=WAVELENGTH)
    k, r = 2 * math.pi / WAVELENGTH, float(place.norm())
    size = 2e-3 / r**2 * 1e-12 / (2 * math.pi)
    expected = (
        size * complex(1 / r, -k) * complex(cis(torch.tensor(k * (r - 2e-3), dtype=torch.float64)))
    )
    # k r is 2e4 radians
    assert abs(complex(ours) - expected) < 1e-11 * abs(expected)


def test_direct_sum_in_parts_is_the_whole(monkeypatch):
    field, where = noise(6, 7), noise(11, 3, dtype=torch.float64) * 1e-5
    where[:, 2] = 1e-3
    whole = rayleigh_sommerfeld(field, where, spacing=1e-6, wavelength=WAVELENGTH)
    monkeypatch.setattr("optics.propagation.direct.AT_ONCE", 3 * 6 * 7 * 16)
    parts = rayleigh_sommerfeld(field, where, spacing=1e-6, wavelength=WAVELENGTH)
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: FreeSpace(SHAPE, SPACING, 633, 1e-2),
            r"wavelength = 633 m .* 550e-9",
        ),
        (
            lambda: FreeSpace(SHAPE, SPACING, WAVELENGTH, 1e-2)(noise(8, 8)),
            r"field is \(8, 8\), expected \(\.\.\., 40, 33\)",
        ),
        (
            lambda: FreeSpace(SHAPE, SPACING, [5e-7, 6e-7], 1e-2)(noise(3, *SHAPE)),
            r"expected \(\.\.\., 2 or 1, 40, 33\): one plane per wavelength",
        ),
        (
            lambda: rayleigh_sommerfeld(
                noise(4, 4), torch.tensor([0.0, 0.0, -1e-3]), spacing=1e-6, wavelength=WAVELENGTH
            ),
            r"smallest z = -0.001 m.*use FreeSpace with a negative distance",
        ),
        (
            lambda: rayleigh_sommerfeld(
                noise(4, 4), torch.tensor([1e-3, 0.0, 1e-3]), spacing=1e-6, wavelength=WAVELENGTH
            ),
            r"1.3 wavelengths per sample along y.*spacing of at most 3.88e-07 m",
        ),
        (
            lambda: rayleigh_sommerfeld(
                noise(4, 4), torch.zeros(3, 2), spacing=1e-6, wavelength=WAVELENGTH
            ),
            r"points is \(3, 2\), expected \(\.\.\., 3\)",
        ),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_mixed_precision_is_refused_with_the_remedy():
    free = FreeSpace(SHAPE, SPACING, WAVELENGTH, 1e-2)
    with pytest.raises(TypeError, match=r"pass dtype=torch.complex128"):
        free(noise(*SHAPE))
