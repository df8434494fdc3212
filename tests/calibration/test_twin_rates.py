"""The twin's light: that of the simulated camera and bench, and slopes that are derivatives."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from calibration.bench import BenchErrors, draw_truth, true_camera
from calibration.twin.frame import Window
from calibration.twin.light import PointLight
from calibration.twin.parameters import camera_parameters, expected_values, known, rail_distance
from calibration.twin.problem import StackProblem
from calibration.twin.pupil import Ray
from calibration.twin.rates import RateModel, raw_camera
from hardware.cameras import SensorNoise
from hardware.frames import Roi
from optics import Sensor
from tests.calibration.bench_stacks import (
    BANDS,
    ERRORS,
    FRAME,
    PITCH,
    SOURCE,
    knowledge,
    merged,
    scene_rates,
    small_bench,
    small_design,
    true_values,
)

ROI = Roi(7, 4, 80, 90)  # odd origin: another colour comes first
READINGS = (0.15, 0.3)
NONE = BenchErrors(**dict.fromkeys(vars(BenchErrors()), 0.0))


def parameters(**changes):
    own = knowledge(ERRORS) | changes
    return known(camera_parameters(source_diameter=SOURCE.diameter), own)


def values_of(**changes):
    return expected_values(parameters()) | {"blur": 0.0} | changes


def model_of(rig, design, given, *, near, across=(0.0, 0.0), direction=1, readings=READINGS):
    rates = scene_rates(rig, READINGS, ROI, across=across)
    stack = merged(rates, readings, roi=ROI, frame=FRAME, cfa="GBRG", across=across)
    power = rig.camera.scene._power
    window = raw_camera(design).window
    model = RateModel(
        design, stack, given, direction=direction, power=power, window=window, near=near
    )
    return model, rates


@pytest.mark.parametrize("tangent", [(0.0, 0.0), (0.02, -0.05)])
def test_energy_is_that_of_the_camera_with_the_same_errors(tangent):
    design = small_design()
    truth = draw_truth(ERRORS, SensorNoise(), 5)
    camera = true_camera(design, truth)
    psf = camera.psf([0.3], fields=[tangent])[0, 0].detach()
    light = PointLight(raw_camera(design), design.nodes)
    values = values_of(**true_values(truth, design))
    for colour in range(3):
        plane = light.plane(colour, values, Ray(0.3, tangent), Window((63, 63), PITCH, (0.0, 0.0)))
        # at the ends of its map the bench's mask has no neighbour that could blur into it
        torch.testing.assert_close(plane, psf[colour], rtol=0, atol=2e-4 * float(psf.max()))


def test_energy_behind_a_gap_is_that_of_the_camera():
    camera = raw_camera(small_design()).replace(gap=1e-3)
    psf = camera.psf([0.3], fields=[(0.02, -0.05)])[0, 0].detach()
    light = PointLight(camera, camera.nodes)
    plane = light.plane(
        1, values_of(), Ray(0.3, (0.02, -0.05)), Window((63, 63), PITCH, (0.0, 0.0))
    )
    torch.testing.assert_close(plane, psf[1], rtol=0, atol=1e-9 * float(psf.max()))


def test_a_decentre_between_cells_lies_between_those_of_whole_cells():
    light = PointLight(raw_camera(small_design()), 3)
    window = Window((63, 63), PITCH, (0.0, 0.0))
    cell = 15.625e-6

    def at(shift):
        return light.plane(1, values_of(decentre_x=shift), Ray(0.3), window)

    one, half, two = at(0.0), at(cell / 2), at(cell)
    # a smooth path: what is left of the middle is its curvature, less than the way itself
    assert float((half - (one + two) / 2).norm()) < 0.2 * float((two - one).norm())


def test_rates_are_those_of_the_bench_with_its_truth():
    design = small_design()
    rig = small_bench(3)
    values = values_of(**true_values(rig.truth, design), ambient=SOURCE.ambient)
    across = (2e-4, -5e-4)
    model, rates = model_of(rig, design, parameters(), near=values, across=across)
    for depth, view in enumerate(model.views):
        expected = rates[depth][view.rows, view.columns]
        # the envelope of the cells is moved point by point here, pixel by pixel there
        np.testing.assert_allclose(
            model.predict(values, depth), expected, rtol=0, atol=1e-5 * expected.max()
        )


def test_an_image_between_two_pixels_looks_the_same_from_either():
    rig = small_bench(3, errors=NONE)
    # what spreads light beyond the window is cut elsewhere
    values = values_of(veil=0.0, skirt=0.0, source_diameter=0.0)
    seen = []
    for side in (-1e-12, 1e-12):  # on a frame of even sides, its middle lies between pixels
        near = {**values, "boresight_y": side, "boresight_x": side}
        model, _ = model_of(rig, small_design(), parameters(), near=near)
        rates = np.full(model.stack.shape, np.nan)
        rates[model.views[0].rows, model.views[0].columns] = model.predict(near, 0)
        seen.append(rates)
    both = np.isfinite(seen).all(0)
    assert 0 < np.isfinite(seen[0]).sum() - both.sum() < 0.1 * both.sum()  # two windows
    np.testing.assert_allclose(*(rates[both] for rates in seen), rtol=1e-3)


def test_slopes_are_the_derivatives_of_the_rates():
    free = {"diffusion": 0.02, "source_diameter": 10e-6, "wavelength_shift": 2e-9, "slant": 1e-3,
            "bandwidth": 0.1}  # fmt: skip
    design, given = small_design(), parameters(**free)
    rig = small_bench(3)
    # between two cells, where the coverage of the stop has no kink
    values = values_of(blur=0.4e-6, decentre_y=4e-6, decentre_x=-5e-6, tilt_x=3e-4, focus=3e-5)
    model, _ = model_of(rig, design, given, near=values, across=(1e-4, 2e-4))
    _, slopes = model.linearise(values, 0)
    worst = {}
    for name, slope in zip(model.free, slopes, strict=True):
        step = 0.01 * next(p.scatter for p in given if p.name == name)
        pair = [model.predict({**values, name: values[name] + s * step}, 0) for s in (1, -1)]
        exact = (pair[0] - pair[1]) / (2 * step)
        worst[name] = float((slope - exact).norm() / exact.norm())
    # the skirt, 1 % of the light, and the envelope of the cells are left out of the slopes
    assert max(worst.values()) < 0.05, max(worst, key=worst.get)


def test_fewer_points_per_pixel_do_for_slopes():
    sensor = Sensor(pixel_pitch=8.5e-6, binning=1, bands=BANDS)
    camera = small_design(sensor=sensor, window=21)
    assert camera.subsamples == 3  # for the light itself
    light, values = PointLight(camera, camera.nodes), values_of()
    window = Window((21, 21), 8.5e-6, (2e-6, -3e-6))
    names = ("etch_scale", "noll_7", "tilt_x")
    slopes = light.slopes(2, values, Ray(0.3), window, names)
    for name, step in zip(names, (1e-4, 1e-10, 1e-6), strict=True):
        pair = [
            light.plane(2, {**values, name: values[name] + s * step}, Ray(0.3), window)
            for s in (1, -1)
        ]
        exact = (pair[0] - pair[1]) / (2 * step)
        assert float((slopes[name][0] - exact).norm()) < 0.05 * float(exact.norm()), name


def test_strips_show_what_the_whole_window_does():
    design, given = small_design(window=51), parameters(slant=1e-3)
    values = values_of(blur=0.4e-6, decentre_y=4e-6, tilt_x=3e-4, focus=3e-5)
    stack = dataclasses.replace(
        model_of(small_bench(3), small_design(), given, near=values)[0].stack, frame=(110, 118)
    )
    whole, sparse = (
        RateModel(
            design, stack, given, direction=1, power=1.0, window=103, near=values, sparse=sparse
        )
        for sparse in (False, True)
    )
    for depth, view in enumerate(sparse.views):
        among = np.isin(whole.views[depth].rows, view.rows)
        assert 12 <= among.sum() < 0.3 * len(among)
        np.testing.assert_array_equal(
            sparse.predict(values, depth), whole.predict(values, depth)[among]
        )
        slopes, others = (m.linearise(values, depth)[1] for m in (sparse, whole))
        for name, one, other in zip(sparse.free, slopes, others[:, among], strict=True):
            # the source is two pixels wide, and a strip ends two pixels beside what is compared
            assert float((one - other).norm() / other.norm()) < 0.05, name
    first, second = (set(view.rows) for view in sparse.views)
    assert first != second


@pytest.mark.parametrize("slack", [0.0, 0.02])
def test_residuals_tell_the_correlation_of_the_rates(slack):
    rig, design, values = small_bench(3), small_design(), values_of(focus=3e-5)
    model, _ = model_of(rig, design, parameters(), near=values)
    stack = model.stack
    stack.valid[0, 10:60] = False
    problem = StackProblem(model, slack=slack)
    measured, expected = [], []
    for depth, view in enumerate(model.views):
        part = (depth, view.rows, view.columns)
        measured.append(stack.rate[part][stack.valid[part]])
        expected.append(model.predict(values, depth).numpy()[stack.valid[part]])
    wanted = np.corrcoef(np.concatenate(measured), np.concatenate(expected))[0, 1]
    assert 0.1 < wanted < 0.999
    assert problem.correlation(problem.residual(values)) == pytest.approx(wanted, rel=1e-12)


def test_slopes_behind_a_gap_are_differences():
    design, given = small_design(gap=1e-3), parameters(gap=50e-6)
    values = values_of(blur=0.4e-6)
    model, _ = model_of(small_bench(3), small_design(), given, near=values)
    model = RateModel(
        design, model.stack, given, direction=1, power=1.0, window=31, near=values
    )  # fmt: skip
    _, slopes = model.linearise(values, 0)
    for name in ("gap", "focus", "etch_scale", "stage_offset"):
        step = 0.01 * model.scatter[name]
        pair = [model.predict({**values, name: values[name] + s * step}, 0) for s in (1, -1)]
        exact = (pair[0] - pair[1]) / (2 * step)
        slope = slopes[model.free.index(name)]
        assert float((slope - exact).norm() / exact.norm()) < 0.06, name


def test_a_reversed_rail_has_its_readings_mirrored():
    values = {"stage_scale": 1.01, "stage_offset": 2e-3}
    assert rail_distance(values, 0.4, direction=1, pivot=0.5) == pytest.approx(0.406)
    assert rail_distance(values, 0.4, direction=-1, pivot=0.5) == pytest.approx(0.608)
    with pytest.raises(ValueError, match="distance of the source"):
        rail_distance({"stage_scale": 1.0, "stage_offset": -1.0}, 0.4, direction=1, pivot=0.5)


def test_a_slanted_rail_moves_the_image_with_the_depth():
    design = small_design()
    values = values_of(slant_x=5e-3)
    model, _ = model_of(small_bench(3), design, parameters(), near=values)
    near, far = (model.ray(values, k).tangent for k in (0, 1))
    assert near == pytest.approx((0.0, -5e-3 * 0.075 / 0.15))
    assert far == pytest.approx((0.0, 5e-3 * 0.075 / 0.3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_pitch": 2 * PITCH}, "not the same sensor"),
        ({"cfa": ""}, "the stack has no colours"),
        ({"origin": (0, 0), "frame": (400, 400)}, "outside of the region"),
    ],
)
def test_a_stack_of_another_camera_is_refused(changes, message):
    model, _ = model_of(small_bench(3), small_design(), parameters(), near=values_of())
    stack = dataclasses.replace(model.stack, **changes)
    with pytest.raises(ValueError, match=message):
        RateModel(
            small_design(), stack, parameters(), direction=1, power=1.0, window=63, near=values_of()
        )


def test_what_is_known_of_a_pair_is_given_once():
    given = {p.name: p.scatter for p in known(camera_parameters(source_diameter=0.0),
                                              {"tilt": 1e-5, "noll_5": 0.0})}  # fmt: skip
    assert given["tilt_y"] == given["tilt_x"] == 1e-5
    assert given["noll_5"] == 0.0
    with pytest.raises(ValueError, match="no parameter is called tlit"):
        known(camera_parameters(source_diameter=0.0), {"tlit": 1.0})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: camera_parameters(source_diameter=-1.0), "source_diameter = -1 m"),
        (lambda: camera_parameters(source_diameter=0.0, modes=range(4, 8)), "begin at Noll 4"),
        (lambda: known(camera_parameters(source_diameter=0.0), {"focus": math.nan}), "focus = nan"),
    ],
)
def test_what_no_parameter_can_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
