"""The twin: hidden errors of the simulated bench come back from what its camera showed."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from calibration.bench import true_camera
from calibration.errors import CalibrationError
from calibration.twin import camera_parameters, fit_twin, known
from optics import FlatMask
from optics.quality import register
from tests.calibration.bench_stacks import (
    ERRORS,
    SOURCE,
    knowledge,
    small_bench,
    small_design,
    small_stack,
    true_values,
)

#: A lens without errors and few depths, for the fits that have to be quick.
QUICK = dataclasses.replace(ERRORS, wavefront=0.0)
READINGS = (0.14, 0.22, 0.5)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quick_design(**changes):
    return small_design(window=15, **changes)


def quick_parameters(**changes):
    given = camera_parameters(source_diameter=SOURCE.diameter, modes=())
    scatter = {k: v for k, v in knowledge(QUICK).items() if not k.startswith("noll_")}
    return known(given, scatter | changes)


def pulls(fit, truth, design):
    """Errors of the estimates in their uncertainties."""
    expected = true_values(truth, design) | {"red": 0.0, "blue": 0.0, "ambient": SOURCE.ambient}
    return {
        name: (e.value - expected[name]) / e.uncertainty
        for name, e in fit.estimates.items()
        if name in expected
    }


@pytest.fixture(scope="module")
def quick():
    design = quick_design()
    rig = small_bench(3, design=design, errors=QUICK)
    stack = small_stack(rig, readings=READINGS)
    return design, rig, stack, fit_twin(design, stack, quick_parameters())


def test_hidden_errors_come_back_within_their_uncertainty(quick):
    design, rig, _, fit = quick
    found = pulls(fit, rig.truth, design)
    assert {"etch_scale", "focus", "decentre_y", "tilt_x", "boresight_y"} <= set(found)
    # some fifteen normal numbers: 4 is exceeded once in a thousand seeds
    assert max(map(abs, found.values())) < 4, found
    # 2900 pixels: their mean square scatters by 2.6 %
    assert fit.chi_square == pytest.approx(1, abs=0.1)


def test_the_fit_shows_the_stack_and_the_design_does_not(quick):
    fit = quick[3]
    assert fit.correlation > 0.999
    assert fit.start_correlation < 0.95


def test_resampled_pixels_scatter_as_the_covariance_says(quick):
    ratios = [quick[3].bootstrap[name] for name in quick[3].estimates]
    # some 200 tiles: each ratio scatters by a tenth, and some rest on a few bright tiles
    assert 0.7 < np.median(ratios) < 1.3


def test_the_twin_is_a_camera_like_the_true_one(quick):
    design, rig, _, fit = quick
    pair = [c.psf([0.3])[0].detach() for c in (fit.camera(), true_camera(design, rig.truth))]
    assert float(register(*pair).correlation.min()) > 0.999
    assert fit.stray_light().veil == fit.values["veil"]


def test_the_report_of_a_fit_is_plain(quick):
    told = json.loads(json.dumps(quick[3].as_dict()))
    assert told["units"]["focus"] == "m"
    assert set(told["estimates"]) & set(told["unidentifiable"]) == set()
    assert told["direction"] == 1


def test_a_rail_that_is_mounted_the_other_way_round_is_found_out(quick):
    design, _, stack, fit = quick
    mirrored = dataclasses.replace(
        stack, readings=stack.readings.min() + stack.readings.max() - stack.readings
    )
    other = fit_twin(design, mirrored, quick_parameters())
    assert other.direction == -1
    assert "direction" not in other.unidentifiable
    assert other.chi_square == pytest.approx(fit.chi_square, rel=1e-3)
    assert other.values["focus"] == pytest.approx(fit.values["focus"], rel=1e-3)


def test_a_mask_without_relief_cannot_tell_where_it_stands():
    mask = FlatMask(aperture_diameter=1e-3, cell=1e-3 / 64)
    design = quick_design(mask=mask)
    rig = small_bench(3, design=design, errors=QUICK)
    stack = small_stack(rig, readings=READINGS)
    fit = fit_twin(design, stack, quick_parameters(), directions=(1,))
    silent = {"etch_scale", "blur", "decentre_y", "decentre_x"}
    assert silent <= set(fit.unidentifiable)
    assert not silent & set(fit.estimates)
    assert "focus" in fit.estimates


def test_a_short_range_ties_the_scale_of_the_rail_to_its_zero():
    design = quick_design()
    rig = small_bench(3, design=design, errors=QUICK)
    # 0.6 mm of range say little of the scale
    stack = small_stack(rig, readings=(0.2500, 0.2503, 0.2506), frames=2)
    given = quick_parameters(stage_offset=20e-3, stage_scale=0.02)
    fit = fit_twin(design, stack, given, directions=(1,))
    assert "stage_offset above all" in fit.unidentifiable["stage_scale"]
    assert "stage_scale" not in fit.estimates
    pairs = {frozenset(pair[:2]) for pair in fit.posterior.correlated}
    assert frozenset(("stage_scale", "stage_offset")) in pairs
    # what gets a number is right all the same
    found = pulls(fit, rig.truth, design)
    assert max(map(abs, found.values())) < 4, found


def test_a_stack_without_a_pixel_is_told(quick):
    design, _, stack, _ = quick
    dark = dataclasses.replace(stack, valid=np.zeros_like(stack.valid))
    with pytest.raises(CalibrationError, match="no pixel of the stack is valid"):
        fit_twin(design, dark, quick_parameters())
    with pytest.raises(ValueError, match="directions"):
        fit_twin(design, stack, quick_parameters(), directions=())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_uncertainties_are_those_of_the_errors_made():
    """Twenty cameras, each with its own errors and noise."""
    design, found, squares = small_design(), [], []
    given = known(camera_parameters(source_diameter=SOURCE.diameter), knowledge(ERRORS))
    for seed in range(10, 30):
        rig = small_bench(seed, design=design)
        fit = fit_twin(design, small_stack(rig, seed=seed), given, directions=(1,))
        found.append(pulls(fit, rig.truth, design))
        squares.append(fit.chi_square)
        assert fit.correlation > 0.99 > fit.start_correlation
    for name in set().union(*found):
        within = [abs(own[name]) < 3 for own in found if name in own]
        assert np.mean(within) >= 0.9, name
    together = np.concatenate([list(own.values()) for own in found])
    # 400 pulls and more, correlated within a camera
    assert np.sqrt(np.mean(np.square(together))) == pytest.approx(1, abs=0.15)
    assert np.mean(np.abs(together) > 3) < 0.02
    assert all(0.9 < square < 1.1 for square in squares)
