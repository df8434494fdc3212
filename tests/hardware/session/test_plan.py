"""Plans are plain data: they read the same from JSON, and refuse what makes no sense."""

import itertools
import json

import pytest

from hardware.frames import Roi
from hardware.session import AutoExposure, Found, Plan, Spot, Step
from hardware.session.plans import darks, flats, photon_transfer, psf_stack, single
from tests.hardware.session.small import MODE, small_plan

PLANS = [
    small_plan(),
    small_plan(exposure_times=(1e-3, 3e-3), size=None),
    darks((1e-3, 2e-3), roi=Roi(2, 4, 6, 8)),
    flats(),
    photon_transfer(0.04),
    single(repeats=2),
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_plan_reads_the_same_from_json(plan):
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 3},
        {"name": None, "steps": [{"name": "a"}]},
        {"steps": [darks((1e-3,)).to_json()["steps"][0] | {"exposures": "after"}]},
        {"steps": [darks((1e-3,)).to_json()["steps"][0] | {"region": "half"}]},
        {"steps": [darks((1e-3,)).to_json()["steps"][0] | {"colour": 1}]},
    ],
)
def test_what_is_no_plan_is_refused(change):
    with pytest.raises(ValueError, match=r"this is no plan"):
        Plan.from_json(darks((1e-3,)).to_json() | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a b"}, "a name is 1 to 60"),
        ({"kind": "bias"}, "kind = 'bias', expected one of psf, dark, flat, scene"),
        ({"exposures": ()}, "at least one, none twice"),
        ({"exposures": (1e-3, 1e-3)}, "at least one, none twice"),
        ({"exposures": (float("nan"),)}, "positive times are needed"),
        ({"repeats": 0}, "repeats = 0"),
        ({"gain": 0.5}, "gain = 0.5"),
        ({"position": {"z": float("inf")}}, "numbers are needed"),
        ({"light": {"point": 1.5}}, "levels are 0 to 1"),
        ({"kind": "dark", "light": {"point": 0.5}}, "is dark, but light"),
        ({"kind": "dark", "exposures": AutoExposure()}, "is dark: give its exposures"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Step(**({"name": "a", "kind": "flat", "exposures": (1e-3,)} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": 0.9, "high": 0.8}, "low = 0.9, high = 0.8"),
        ({"low": 0.8, "high": 0.85}, "at least 1.1 times low"),
        ({"high": 1.0}, "high <= 0.95"),
        ({"count": 0}, "count >= 1"),
        ({"ratio": 1.0}, "ratio 1.2 to 100"),
        ({"longest": 0.0}, "longest > 0 s"),
    ],
)
def test_a_rule_that_cannot_be_met_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AutoExposure(**change)


def test_a_plan_needs_steps_with_names_of_their_own_and_something_before_before():
    step = Step("a", "flat", (1e-3,))
    with pytest.raises(ValueError, match="at least one step"):
        Plan("p", ())
    with pytest.raises(ValueError, match="a is there twice"):
        Plan("p", (step, step))
    with pytest.raises(ValueError, match="it is the first"):
        Plan("p", (Step("d", "dark", "before"),))
    with pytest.raises(ValueError, match=r"gain = 2, but the steps before it, .* have 1"):
        Plan("p", (step, Step("d", "dark", "before", gain=2.0)))
    with pytest.raises(ValueError, match="even numbers of pixels"):
        Spot(31, 48)


def test_depths_are_uniform_in_the_reciprocal_of_the_distance():
    plan = psf_stack("z", 0.5, 2.0, depths=7, zero_distance=0.4, direction=-1)
    places = [step.position["z"] for step in plan.steps if step.kind == "psf"]
    reciprocal = [1 / (0.4 - place) for place in places]
    steps = [b - a for a, b in itertools.pairwise(reciprocal)]
    assert steps == pytest.approx([-1.5 / 6] * 6)
    assert (0.4 - places[0], 0.4 - places[-1]) == pytest.approx((0.5, 2.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nearest": 1.0, "farthest": 0.5}, "0 < nearest < farthest"),
        ({"depths": 1}, "depths = 1"),
        ({"direction": 0}, "direction = 0"),
    ],
)
def test_a_stack_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        psf_stack(**({"axis": "z", "nearest": 0.5, "farthest": 1.0} | arguments))


def test_photon_transfer_covers_the_range_and_is_finest_at_saturation():
    with pytest.raises(ValueError, match="difference of 2 frames"):
        photon_transfer(0.04, repeats=1)
    flat, dark = photon_transfer(0.04, levels=20, refined=8).steps
    times = flat.exposures
    assert len(times) >= 20
    assert times[-1] == pytest.approx(1.15 * 0.04)
    assert sum(time > 0.9 * 0.04 for time in times) >= 8
    assert (dark.exposures, flat.repeats) == ("before", 2)


def test_rungs_of_all_steps_are_the_same_numbers():
    """Else every depth would need darks of its own."""
    rule = AutoExposure(count=4, ratio=3.0, longest=10.0)
    first = rule.ladder(0.0123456789, anchor=None, shortest=1e-4)
    assert first[0] == pytest.approx(0.0123456789, rel=1e-8)
    for own in (0.0124, 0.03, 0.04, 0.0041, 0.5):
        rungs = rule.ladder(own, anchor=first[0], shortest=1e-4)
        assert own / 3 <= rungs[0] <= own
        shared = set(rungs) & set(first)
        overlap = [t for t in first if rungs[0] * 0.99 < t < rungs[-1] * 1.01]
        assert shared == set(overlap)


def test_a_ladder_ends_at_the_longest_exposure_and_begins_within_the_sensors_range():
    rule = AutoExposure(count=6, ratio=10.0, longest=0.05)
    assert rule.ladder(1e-3, anchor=None, shortest=1e-4) == (1e-3, 1e-2)
    assert (
        rule.ladder(2e-4, anchor=1e-3, shortest=1.5e-4)[0] == 2e-4
    )  # its rung, 1e-4, is too short


def test_darks_take_every_exposure_over_every_region_before_them():
    plan = small_plan(depths=2)
    found = {"psf-01": Found((1e-3, 3e-3), Roi(10, 20, 32, 48)),
             "psf-02": Found((3e-3, 9e-3), Roi(14, 16, 32, 48))}  # fmt: skip
    dark = plan.steps[-1]
    assert plan.exposures_of(dark, found) == (1e-3, 3e-3, 9e-3)
    assert plan.region_of(dark, found, MODE) == Roi(10, 16, 36, 52)


def test_a_stack_says_at_which_distances_it_was_taken():
    plan = psf_stack("z", 0.5, 2.0, depths=4, zero_distance=0.4, direction=-1)
    found = [(step.distance, step.position["z"]) for step in plan.steps if step.kind == "psf"]
    for distance, reading in found:
        assert reading == pytest.approx(-(distance - 0.4))
    reciprocal = [1 / distance for distance, _ in found]
    assert reciprocal == pytest.approx([2.0, 1.5, 1.0, 0.5])


def test_a_stack_has_flats_of_the_pixels_of_its_spots_unless_there_is_no_panel():
    kinds = [step.kind for step in psf_stack("z", 0.5, 2.0, depths=2).steps]
    assert kinds == ["psf", "psf", "flat", "dark"]
    flat = psf_stack("z", 0.5, 2.0, depths=2).steps[2]
    assert (flat.region, flat.light, flat.repeats) == ("before", {"panel": 1.0}, 32)
    without = psf_stack("z", 0.5, 2.0, depths=2, flat_repeats=0)
    assert [step.kind for step in without.steps] == ["psf", "psf", "dark"]
