"""Tables of wavefronts: exact at their nodes, linear between them, turned with the field."""

import math

import pytest
import torch

from optics import ThinLens
from optics.lenses import (
    FieldGrid,
    FieldPoints,
    FieldRadius,
    MappedLens,
    SeidelLens,
    TabulatedLens,
)
from optics.zernike import zernike_at
from tests.optics.lens_spots import DIAMETER, WAVE, axes

THIN = ThinLens(focal_length=50e-3)
EDGE = DIAMETER / 2


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) * 1e-7


def table(fields, coefficients, **more):
    return TabulatedLens(
        THIN, aperture_diameter=DIAMETER, fields=fields, coefficients=coefficients, **more
    )


def opd(lens, field, y=None, x=None, wavelength=WAVE):
    if y is None:
        y, x = axes(7, 10, DIAMETER / 10)
    return lens.opd(y, x, wavelength, field=field, object_distance=1.0, sensor_distance=0.05)


def synthesis(coefficients, y, x):
    return zernike_at(coefficients, y / EDGE, x / EDGE)[None]


LAYOUTS = {
    "grid": (FieldGrid((-0.1, 0.0, 0.2), (-0.2, 0.1)),
             [(y, x) for y in (-0.1, 0.0, 0.2) for x in (-0.2, 0.1)]),
    "points": (FieldPoints([(0.0, 0.0), (0.2, 0.0), (0.0, 0.3), (-0.1, -0.1)]),
               [(0.0, 0.0), (0.2, 0.0), (0.0, 0.3), (-0.1, -0.1)]),
    "radius": (FieldRadius((0.0, 0.1, 0.25)), [(0.0, 0.0), (0.0, 0.1), (0.0, 0.25)]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_table_is_exact_at_its_field_points(name):
    layout, points = LAYOUTS[name]
    coefficients = draw(len(points), 11)
    y, x = axes(7, 10, DIAMETER / 10)
    for row, field in zip(coefficients, points, strict=True):
        torch.testing.assert_close(
            opd(table(layout, coefficients), field), synthesis(row, y, x), rtol=1e-12, atol=1e-20
        )


@pytest.mark.parametrize("name", ["grid", "points"])
def test_a_wavefront_linear_in_the_field_is_reproduced_everywhere(name):
    layout, points = LAYOUTS[name]
    a, b, c = draw(3, 6)
    coefficients = torch.stack([a + v * b + u * c for v, u in points])
    y, x = axes(7, 10, DIAMETER / 10)
    for v, u in ((0.01, 0.05), (0.07, 0.02), (-0.02, -0.03)):
        torch.testing.assert_close(
            opd(table(layout, coefficients), (v, u)),
            synthesis(a + v * b + u * c, y, x),
            rtol=1e-12,
            atol=1e-20,
        )


def test_a_table_along_a_radius_turns_with_the_azimuth_of_the_field():
    """A Seidel lens tabulated along one direction is that lens in every direction."""
    lens = SeidelLens(
        THIN, aperture_diameter=DIAMETER, half_field=math.atan(0.2), spherical=1e-7, coma=3e-7
    )
    for azimuth in (0.0, -math.pi / 2, 0.7):
        rows = []
        for radius in (0.0, 0.1, 0.2):
            field = (radius * math.sin(azimuth), radius * math.cos(azimuth))
            rows.append(_fit(opd(lens, field)[0], 11))
        layout = FieldRadius((0.0, 0.1, 0.2), azimuth=azimuth)
        mine = table(layout, torch.stack(rows))
        # coma is linear in the field, so linear interpolation is exact
        for field in ((0.06, -0.08), (-0.15, 0.0), (0.0, 0.13), (0.0, 0.0)):
            torch.testing.assert_close(opd(mine, field), opd(lens, field), rtol=0, atol=1e-18)


def _fit(plane, count):
    y, x = axes(7, 10, DIAMETER / 10)
    basis = zernike_at(torch.eye(count, dtype=torch.float64), y / EDGE, x / EDGE)
    return torch.linalg.lstsq(basis.flatten(1).T, plane.reshape(-1, 1)).solution[:, 0]


def test_interpolation_is_between_wavefronts_and_linear_in_the_coefficients():
    layout, points = LAYOUTS["grid"]
    one, two = draw(len(points), 8), draw(len(points), 8, seed=1)
    field = (0.05, -0.03)
    together = opd(table(layout, 2 * one - 3 * two), field)
    parts = 2 * opd(table(layout, one), field) - 3 * opd(table(layout, two), field)
    torch.testing.assert_close(together, parts, rtol=1e-12, atol=1e-19)


def test_wavelengths_are_interpolated_between_and_held_beyond():
    coefficients = draw(2, 1, 5)
    lens = table(FieldRadius((0.0,)), coefficients, wavelengths=(5e-7, 6e-7))
    wavelength = torch.tensor([4e-7, 5e-7, 5.25e-7, 6e-7, 7e-7], dtype=torch.float64)
    got = opd(lens, (0.0, 0.0), wavelength=wavelength)
    first, last = got[1], got[3]
    torch.testing.assert_close(got[0], first, rtol=1e-12, atol=1e-20)
    torch.testing.assert_close(got[2], 0.75 * first + 0.25 * last, rtol=1e-12, atol=1e-20)
    torch.testing.assert_close(got[4], last, rtol=1e-12, atol=1e-20)


def test_gradient_of_the_coefficients():
    layout, points = LAYOUTS["points"]
    y, x = axes(4, 5, DIAMETER / 5)

    def wavefront(values):
        lens = table(layout, torch.zeros(len(points), 6))
        lens.coefficients = values[None]
        return opd(lens, (0.05, 0.04), y, x)

    values = torch.rand(len(points), 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(wavefront, (values,))


def mapped(maps, spacing, fields=None):
    return MappedLens(THIN, spacing=spacing, fields=fields or FieldRadius((0.0,)), maps=maps)


def test_a_map_on_its_own_samples_comes_back():
    maps = draw(1, 7, 10)
    torch.testing.assert_close(
        opd(mapped(maps, DIAMETER / 10), (0.0, 0.0)), maps, rtol=0, atol=1e-18
    )


def test_resampling_a_map_has_an_error_of_third_order_at_least():
    """Cubic convolution: halving the spacing divides the error by 8 or more (Keys 1981)."""
    coefficients = draw(1, 15)[0]
    y, x = axes(31, 33, DIAMETER / 40)  # well inside the maps
    truth = synthesis(coefficients, y, x)
    errors = []
    for count in (32, 64):
        spacing = 1.2 * DIAMETER / count
        v, u = axes(count, count + 1, spacing)
        lens = mapped(synthesis(coefficients, v, u), spacing)
        errors.append(float((opd(lens, (0.0, 0.0), y, x) - truth).abs().max()))
    assert errors[0] / errors[1] > 7.5  # 8 in the limit
    assert errors[1] < 1e-3 * float(truth.abs().max())


def test_a_map_turns_as_its_zernikes_do():
    coefficients = draw(2, 10)
    coefficients[0] = 0
    layout = FieldRadius((0.0, 0.2), azimuth=0.4)
    spacing = 1.4 * DIAMETER / 256
    v, u = axes(256, 256, spacing)
    maps = torch.stack([synthesis(row, v, u)[0] for row in coefficients])
    y, x = axes(7, 10, DIAMETER / 12)
    field = (-0.1, 0.05)
    # third order at 1 / 180 of the pupil
    torch.testing.assert_close(
        opd(mapped(maps, spacing, layout), field, y, x),
        opd(table(layout, coefficients), field, y, x),
        rtol=0,
        atol=1e-3 * 1e-7,
    )


def test_a_map_goes_on_beyond_the_last_measured_sample():
    coefficients = draw(1, 15)[0]
    spacing = DIAMETER / 64
    v, u = axes(70, 70, spacing)
    full = synthesis(coefficients, v, u)[0]
    known = v.square() + u.square() <= EDGE**2
    lens = mapped(torch.where(known, full, torch.nan)[None], spacing)
    near = v.square() + u.square() <= (EDGE + 1.5 * spacing) ** 2
    # 36 modes hold the 15 there are
    torch.testing.assert_close(lens.maps[0][near], full[near], rtol=0, atol=1e-15)


def test_gradient_of_a_map():
    y, x = axes(4, 5, DIAMETER / 7)
    values = torch.rand(1, 5, 6, dtype=torch.float64, requires_grad=True)

    def wavefront(maps):
        lens = mapped(torch.zeros(1, 5, 6), DIAMETER / 5)
        lens.maps = maps
        return opd(lens, (0.0, 0.0), y, x)

    assert torch.autograd.gradcheck(wavefront, (values,))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_field_point_outside_the_table_is_refused_with_a_remedy(name):
    layout, points = LAYOUTS[name]
    lens = table(layout, draw(len(points), 4))
    with pytest.raises(ValueError, match=r"outside the table.*export more field points"):
        opd(lens, (0.5, 0.5))


def test_wrong_tables_say_what_is_expected():
    with pytest.raises(ValueError, match="needs the wavefront on the axis"):
        FieldRadius((0.1, 0.2))
    with pytest.raises(ValueError, match="must ascend"):
        FieldGrid((0.0, 0.0), (1.0,))
    with pytest.raises(ValueError, match="span no area"):
        FieldPoints([(0.0, 0.0), (0.1, 0.1), (0.2, 0.2)])
    with pytest.raises(ValueError, match="coincide"):
        FieldPoints([(0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (0.0, 0.2)])
    with pytest.raises(ValueError, match=r"\(2, 4\), expected \(L, F, J\).*F = 1 "):
        table(FieldRadius((0.0,)), draw(2, 4))
    with pytest.raises(ValueError, match="given in metres"):
        table(FieldRadius((0.0,)), draw(1, 4) * 1e7)
    with pytest.raises(ValueError, match=r"\(7, 7\), expected \(F, H, W\)"):
        mapped(draw(7, 7), 1e-3)
    with pytest.raises(ValueError, match="no finite value"):
        mapped(torch.full((1, 4, 4), torch.nan), 1e-3)
