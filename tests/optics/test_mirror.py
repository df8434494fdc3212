"""Deformable mirrors: reflection, stroke, and commands from a wanted surface."""

import math

import pytest
import torch

from optics.grids import disc_coverage
from optics.masks import DeformableMirror, GaussianActuators, GivenInfluence, ZernikeModes
from optics.zernike import zernike_surface
from tests.optics.cameras import small_camera, wave

DIAMETER = 1e-3


def mirror(influence=None, **changes):
    base = {"aperture_diameter": DIAMETER, "cell": DIAMETER / 48, "max_stroke": 3e-6}
    return DeformableMirror(influence=influence, **(base | changes))


def test_light_is_delayed_by_twice_the_height_at_every_wavelength():
    got = mirror().turns_per_metre(wave(450e-9, 650e-9))
    torch.testing.assert_close(got, wave(2 / 450e-9, 2 / 650e-9), rtol=1e-15, atol=0)
    assert mirror().turn_height == pytest.approx(270e-9)  # half of the design wavelength


def test_oblique_light_is_delayed_by_the_cosine():
    got = mirror().obliquity(wave(500e-9), 0.6)
    assert got.item() == pytest.approx(0.8)


def test_tilted_mirror_moves_the_spot_by_twice_its_angle_to_larger_columns():
    dm = mirror(ZernikeModes(first=2, modes=1), cell=DIAMETER / 64, aperture_diameter=DIAMETER)
    share = 0.2  # at the rim, of half the stroke
    dm.command(torch.tensor([share]))
    camera = small_camera(dm, window=61, aperture_diameter=DIAMETER)
    spot = camera.spot(1.0, wave(550e-9)).detach()[0]
    place = (torch.arange(61) - 30) * 5e-6
    angle = share * 1.5e-6 / (DIAMETER / 2)
    column = float((spot.sum(0) * place).sum() / spot.sum())
    # the window of 0.3 mm cuts the wings of the Airy pattern: 1 % of their moment
    assert column == pytest.approx(2 * angle * camera.sensor_distance, rel=0.02)
    assert abs(float((spot.sum(1) * place).sum() / spot.sum())) < 1e-9


def test_one_actuator_lifts_its_hill_and_its_neighbours_by_the_coupling():
    across = 7
    dm = mirror(GaussianActuators(across=across, coupling=0.3), cell=DIAMETER / 60)
    commands = torch.zeros(across, across)
    commands[3, 2] = 1.0
    dm.command(commands.flatten())
    height = dm.height().detach()
    place = (torch.arange(60) - 29.5) / 30  # pupil radii
    square = (place[:, None] - 0) ** 2 + (place - (2 - 3) / 3) ** 2
    expected = 1.5e-6 * 0.3 ** (square * 9)
    # commands of 1 are 1 - 1e-12
    torch.testing.assert_close(height, expected.to(torch.float64), rtol=1e-5, atol=1e-15)


def test_modal_mirror_moves_each_mode_by_half_the_stroke_at_its_highest_point():
    for place in range(14):
        commands = torch.zeros(14, dtype=torch.float64)
        commands[place] = 1.0
        shape = ZernikeModes().surface(commands, 400, 2.0)
        # the highest point lies on the rim, the last sample up to 1 / 400 within: n (n + 1) / 400
        assert float(shape.abs().max()) == pytest.approx(1.0, abs=0.06)


def test_commands_of_a_known_shape_are_recovered():
    for influence in (GaussianActuators(across=6), ZernikeModes()):
        dm = mirror(influence)
        generator = torch.Generator().manual_seed(1)
        wanted = torch.rand(influence.count, dtype=torch.float64, generator=generator) - 0.5
        found = dm.best_commands(dm.surface_of(wanted))
        # as surfaces: 36 hills make a piston too, which does not count
        rest = dm.surface_of(found - wanted)
        inside = torch.hypot(*torch.meshgrid(*[torch.arange(48) - 23.5] * 2, indexing="ij")) < 23
        assert float(rest[inside].std()) < 1e-8 * 3e-6


@pytest.mark.parametrize("noll", [4, 6, 8])
def test_least_squares_makes_a_zernike_mode(noll):
    """Over 12 actuators a low mode is smooth: the residual is the ripple of the hills."""
    dm = mirror(GaussianActuators(across=12, coupling=0.3, span=1.3))
    mode = zernike_surface(torch.tensor([1e-7], dtype=torch.float64), 48, first=noll)
    rest = dm.surface_of(dm.best_commands(mode)) - mode
    inside = torch.hypot(*torch.meshgrid(*[torch.arange(48) - 23.5] * 2, indexing="ij")) < 23
    assert float((rest - rest[inside].mean())[inside].square().mean().sqrt()) < 3e-3 * 1e-7


def test_best_commands_are_the_least_squares_of_the_influence_matrix():
    influence = GaussianActuators(across=4, coupling=0.2)
    dm = mirror(influence, cell=DIAMETER / 30)
    wanted = torch.rand(30, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    unit = torch.eye(16, dtype=torch.float64)
    columns = [*(dm.surface_of(row) for row in unit), torch.full((30, 30), 1e-6)]  # and a piston
    weight = (disc_coverage((30, 30), dm.cell, DIAMETER) > 1 - 1e-9).flatten()
    matrix = torch.stack([c.flatten() * weight for c in columns], dim=1) * 1e6
    given = (wanted.flatten() * weight)[:, None]
    expected = torch.linalg.lstsq(matrix, given).solution[:16, 0]
    torch.testing.assert_close(dm.best_commands(wanted * 1e-6), expected, rtol=1e-8, atol=1e-8)


def test_zernike_modes_are_recovered_one_by_one():
    dm = mirror(ZernikeModes())
    wanted = zernike_surface(torch.tensor([5e-8], dtype=torch.float64), 48, first=8)
    found = dm.best_commands(wanted)
    expected = torch.zeros(14, dtype=torch.float64)
    expected[6] = 5e-8 * math.sqrt(8) / 1.5e-6  # Noll 8 reaches sqrt(8) at the rim
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_given_influence_is_the_sum_of_its_shapes():
    shapes = torch.rand(5, 48, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dm = mirror(GivenInfluence(shapes))
    commands = torch.tensor([0.1, -0.2, 0.3, 0.0, 0.5], dtype=torch.float64)
    dm.command(commands)
    expected = sum(c * s for c, s in zip(commands, shapes, strict=True)) * 1.5e-6
    torch.testing.assert_close(dm.height(), expected, rtol=1e-12, atol=1e-20)
    torch.testing.assert_close(dm.commands(), commands, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("influence", [GaussianActuators(across=4), ZernikeModes()])
def test_height_passes_gradcheck(influence):
    dm = mirror(influence, cell=DIAMETER / 8)
    start = dm.drive.detach().clone().requires_grad_()

    def micrometres(drive):
        return torch.func.functional_call(_Height(dm), {"dm.drive": drive}, ()) * 1e6

    assert torch.autograd.gradcheck(micrometres, start)


class _Height(torch.nn.Module):
    def __init__(self, dm):
        super().__init__()
        self.dm = dm

    def forward(self):
        return self.dm.height()


def test_commands_never_leave_their_range_and_excess_asks_for_the_stroke():
    dm = mirror(GaussianActuators(across=4))
    with torch.no_grad():
        dm.drive.mul_(1e3)
    assert float(dm.commands().detach().abs().max()) <= 1.0
    with torch.no_grad():
        dm.drive.copy_(torch.linspace(-2, 2, 16))
    relief = float((dm.height().max() - dm.height().min()).detach())
    assert float(dm.excess().detach()) == pytest.approx(max(relief / 3e-6 - 1, 0) ** 2)
    (slope,) = torch.autograd.grad(dm.excess(), dm.drive)
    assert float((slope * dm.drive.detach()).sum()) > 0


def test_bad_settings_say_what_is_allowed():
    with pytest.raises(ValueError, match=r"commands reach 1.5, allowed is -1 to 1"):
        mirror(ZernikeModes()).command(torch.full((14,), 1.5))
    with pytest.raises(ValueError, match=r"commands is \(3,\), expected \(14,\)"):
        mirror(ZernikeModes()).command(torch.zeros(3))
    with pytest.raises(ValueError, match=r"coupling = 1.5 is outside \(0, 1\)"):
        GaussianActuators(coupling=1.5)
    with pytest.raises(ValueError, match=r"shapes is \(2, 3, 4\)"):
        GivenInfluence(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"shapes is \(2, 3, 3\), the mirror has 48 x 48"):
        mirror(GivenInfluence(torch.zeros(2, 3, 3))).height()
    with pytest.raises(ValueError, match=r"surface is \(4, 5\), expected \(48, 48\)"):
        mirror().best_commands(torch.zeros(4, 5))
