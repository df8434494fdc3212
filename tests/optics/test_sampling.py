"""The sampling guard: what it decides, why, and what it refuses."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optics.grids import coordinates
from optics.propagation import SamplingError, cis, plan_fresnel, plan_propagation, propagate

WAVELENGTH, SPACING = 550e-9, 4e-6


def test_samples_that_carry_no_steep_light_need_little_padding():
    """Across 2 mm the steepest light of 4 um samples moves 0.14 mm: less than a tenth of 2 mm."""
    plan = plan_propagation((500, 400), SPACING, WAVELENGTH, 2e-3)
    steepest = 2e-3 * 0.06875 / math.sqrt(1 - 2 * 0.06875**2)
    assert plan.padded[0] * SPACING == pytest.approx(500 * SPACING + steepest, rel=0.01)
    assert plan.reach == (math.inf, math.inf)
    assert re.match(r"pad 1\.\d\dx because the steepest light of this spacing moves 0\.138 mm",
                    plan.reason)  # fmt: skip


def test_far_away_the_window_the_light_and_its_edge_waves_set_the_padding():
    plan = plan_propagation((500, 500), SPACING, WAVELENGTH, 0.5, extent=1e-3)
    expected = 2e-3 + 1e-3 + 3 * math.sqrt(WAVELENGTH * 0.5)
    assert plan.padded[0] * SPACING == pytest.approx(expected, rel=0.01)  # next good size
    # what comes back round the grid misses the window
    assert plan.padded[0] * SPACING - plan.reach[0] == pytest.approx(1.5e-3)
    assert "edge waves reach 1.57 mm" in plan.reason


def test_known_directions_need_less():
    known = plan_propagation((500, 500), SPACING, WAVELENGTH, 20e-3, largest_sine=1e-3)
    unknown = plan_propagation((500, 500), SPACING, WAVELENGTH, 20e-3)
    assert known.padded[0] < unknown.padded[0]
    assert "largest_sine moves 0.02 mm" in known.reason


def test_longest_wavelength_decides():
    both = plan_propagation((300, 300), SPACING, [440e-9, 640e-9], 20e-3)
    assert both.padded == plan_propagation((300, 300), SPACING, 640e-9, 20e-3).padded


def test_light_that_leaves_does_not_come_back_on_the_other_side():
    """A tilted beam walks out of the window; nothing may enter at the opposite edge."""
    n, z, sine = 128, 40e-3, 0.02  # moves 0.8 mm, the window is 0.5 mm wide
    x = coordinates(n, SPACING)
    field = torch.exp(-((x[:, None] ** 2 + x**2) / 60e-6**2)) * cis(
        2 * math.pi * sine / WAVELENGTH * x
    )
    out = propagate(field, spacing=SPACING, wavelength=WAVELENGTH, distance=z).abs() ** 2
    assert float(out[:, : n // 2].sum() / field.abs().square().sum()) < 1e-9
    wrapped = propagate(
        field, spacing=SPACING, wavelength=WAVELENGTH, distance=z, padding="periodic"
    )
    assert float(wrapped.abs().square().sum() / field.abs().square().sum()) > 0.99


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(8, 400), spacing=st.floats(3e-7, 2e-5), distance=st.floats(1e-5, 1.0),
    share=st.floats(0.05, 1.0),
)  # fmt: skip
def test_no_light_folds_back_whatever_the_geometry(samples, spacing, distance, share):
    """Padded grid >= (window + light) / 2 + reach, unless no light goes that far."""
    size = samples * spacing
    plan = plan_propagation(
        (samples, samples), spacing, WAVELENGTH, distance, extent=share * size, budget=2**60
    )
    across = (1 + share) * size / 2
    sine = WAVELENGTH / (2 * spacing)
    steepest = distance * sine / math.sqrt(1 - 2 * sine**2) if 2 * sine**2 < 1 else math.inf
    farthest = min(plan.reach[0], steepest)
    assert plan.padded[0] * spacing >= (across + farthest) * (1 - 1e-9)
    # and everything that can land in the window passes
    assert plan.within[0] >= min(across, steepest) * (1 - 1e-9)


def test_too_little_padding_is_refused_and_what_is_named_works():
    with pytest.raises(SamplingError, match=r"come back round.*pad at least 2x") as refusal:
        plan_propagation((300, 300), SPACING, WAVELENGTH, 50e-3, padding=1.4)
    least = float(re.search(r"pad at least ([\d.]+)x", str(refusal.value))[1])
    plan_propagation((300, 300), SPACING, WAVELENGTH, 50e-3, padding=least)


def test_too_much_memory_is_refused_and_the_spacing_named_works():
    big = {"wavelength": WAVELENGTH, "distance": 0.1, "budget": 2**26}
    with pytest.raises(SamplingError, match=r"budget = 64 MiB.*fresnel_to_points") as refusal:
        plan_propagation((4000, 3000), 2e-6, **big)
    spacing = float(re.search(r"a spacing of ([\d.e-]+) m would fit", str(refusal.value))[1])
    shape = (int(4000 * 2e-6 / spacing), int(3000 * 2e-6 / spacing))
    plan_propagation(shape, spacing, **big)


def test_a_window_that_no_light_reaches_is_refused():
    with pytest.raises(SamplingError, match=r"offset = 0.005 m: the samples carry light only"):
        plan_propagation((100, 100), SPACING, WAVELENGTH, 10e-3, offset=(0.0, 5e-3))


def test_evanescent_samples_are_said_to_be_dropped():
    plan = plan_propagation((64, 64), 0.2e-6, WAVELENGTH, 20e-6)
    assert "below half a wavelength, so the highest frequencies are evanescent" in plan.reason


def test_near_takes_the_transfer_function_and_far_the_impulse_response():
    near = plan_fresnel((200, 200), SPACING, WAVELENGTH, 2e-3)
    far = plan_fresnel((200, 200), SPACING, WAVELENGTH, 0.5)
    assert (near.method, far.method) == ("fresnel_transfer", "fresnel_impulse")
    assert far.padded[0] >= 400
    assert plan_fresnel((200, 200), SPACING, WAVELENGTH, 0.0).method == "identity"


def test_a_paraxial_kernel_is_refused_for_evanescent_samples():
    with pytest.raises(SamplingError, match=r"use FreeSpace, or a spacing of at least 2.75e-07 m"):
        plan_fresnel((64, 64), 0.2e-6, WAVELENGTH, 1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding": "some"}, r"padding = 'some', expected 'auto', 'periodic' or a number"),
        ({"padding": 0.5}, r"padding = 0.5: .* pad at least"),
        ({"largest_sine": 1.2}, r"largest_sine = 1.2 is outside \[0, 1\)"),
        ({"extent": -1e-3}, r"extent = -0.001 m: a positive number"),
        ({"spacing": 4.0}, r"spacing = 4 m is outside"),
        ({"distance": math.nan}, r"distance = nan m"),
        ({"wavelength": []}, r"wavelength is empty"),
        ({"shape": (0, 4)}, r"shape = \(0, 4\): two positive numbers"),
    ],
)
def test_bad_input_says_what_is_wrong(change, message):
    sound = {"shape": (64, 48), "spacing": SPACING, "wavelength": WAVELENGTH, "distance": 1e-2}
    with pytest.raises(ValueError, match=message):
        plan_propagation(**{**sound, **change})
