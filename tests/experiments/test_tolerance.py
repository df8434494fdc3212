"""Tolerances: known scatter in, the same scatter out."""

import math

import pytest
import torch

from experiments.cameras import Maker
from experiments.tolerancing import (
    Bench,
    Measure,
    monte_carlo,
    scaled,
    scattering,
    sensitivities,
    yield_at,
)
from optics import Fabricated, Fabrication
from tests.experiments.tiny_codesign import REFERENCE, tiny_camera

PROCESS = Fabrication(etch_scale=0.02, gap=20e-6, wavelength_shift=2e-9, tilt=1e-5)
PLAIN = {
    "height": Measure("mean height [m]", lambda c, psf: c.mask.height().mean(), True),
    "gap": Measure("gap [m]", lambda c, psf: torch.tensor(c.gap, dtype=torch.float64), True),
    "red": Measure(
        "red [m]", lambda c, psf: torch.tensor(c.sensor.bands[0].centre, dtype=torch.float64), True
    ),
}


def bench(process=PROCESS, measures=PLAIN, **changes):
    return Bench(tiny_camera().replace(gap=1e-3, **changes), process, REFERENCE, 3, measures)


def test_every_error_moves_what_it_is_named_after_by_its_tolerance():
    height = float(tiny_camera().mask.height().detach().mean())
    found = sensitivities(bench(), 40, seed=1)
    assert set(found) == {"etch_scale", "gap", "wavelength_shift", "tilt"}
    expected = {
        ("etch_scale", "height"): 0.02 * height,
        ("gap", "gap"): 20e-6,
        ("wavelength_shift", "red"): 2e-9,
    }
    for (error, name), size in expected.items():
        effect = found[error][name]
        assert effect.first_order == pytest.approx(size, rel=1e-6)
        # the root mean square of 40 normal numbers scatters by 11 %
        assert effect.alone == pytest.approx(size, rel=0.35)
    assert found["gap"]["red"].alone == 0.0
    assert found["tilt"]["height"].first_order < 1e-3 * height  # a wedge has no mean


def test_the_gradient_of_a_psf_number_is_its_difference_quotient():
    weights = torch.rand(3, *[tiny_camera().window] * 2, generator=torch.Generator().manual_seed(2))
    measures = {"psf": Measure("", lambda c, psf: (psf * weights).sum(), True)}
    camera = bench(Fabrication(etch_scale=0.05), measures)
    slope = sensitivities(camera, 2, seed=0)["etch_scale"]["psf"].first_order
    nominal = camera.fabrication.nominal()
    step = torch.tensor(1e-4, dtype=torch.float64)
    high, low = (camera.numbers(type(nominal)(etch_scale=s * step))["psf"] for s in (1.0, -1.0))
    # single-precision PSFs over a step of 1e-4
    assert slope == pytest.approx(abs(high - low) / 2e-4 * 0.05, rel=2e-2)


def test_monte_carlo_draws_all_errors_at_once_and_repeats_with_its_seed():
    first, again = (monte_carlo(bench(), 60, seed=5) for _ in range(2))
    assert first == again
    wider = monte_carlo(bench(), 60, seed=5, scale=2.0)
    spread, double = (float(torch.tensor(v["gap"]).std()) for v in (first, wider))
    assert spread == pytest.approx(20e-6, rel=0.3)  # 60 draws: 9 %
    assert double == pytest.approx(2 * spread, rel=1e-3)


@pytest.mark.parametrize(
    ("higher", "values"), [(True, [0.88, 0.91, 1.5]), (False, [1.12, 1.0, 0.2])]
)
def test_yield_counts_what_is_not_worse_than_allowed(higher, values):
    assert yield_at(values, 1.0, allowed=0.1, higher_is_better=higher) == pytest.approx(2 / 3)


def test_the_habits_of_a_process_are_no_scatter():
    process = Fabrication(levels=4, blur=1e-7, min_feature=1e-6, overlay=3e-7)
    assert scattering(process) == ["overlay"]
    assert scaled(process, 2.0) == Fabrication(levels=4, blur=1e-7, min_feature=1e-6, overlay=6e-7)


def test_training_sees_a_new_mask_each_step_and_teaches_the_design():
    design = tiny_camera()
    made = design.replace(mask=Fabricated(design.mask, fabrication=Fabrication(etch_scale=0.1)))
    maker = Maker(design, made)
    generator = torch.Generator().manual_seed(0)
    heights = [maker.draw(generator).mask.height().detach() for _ in range(2)]
    ratio = float((heights[0] / heights[1]).nanmedian())
    assert not math.isclose(ratio, 1.0, rel_tol=1e-3)
    maker.draw(generator).psf([REFERENCE]).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in design.mask.parameters())
