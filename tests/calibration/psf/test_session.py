"""Sessions on the bench, evaluated: what is found is what stood there."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.bench import Source, open_bench
from calibration.errors import CalibrationError
from calibration.noise.dark import DarkConditions
from calibration.noise.model import NoiseModel, PlaneNoise
from calibration.psf.session import merge_step, psf_stacks, session_darks, spot_drift
from calibration.psf.spot import measure_psf
from calibration.psf.stack import load_stack
from hardware.frames import Roi
from hardware.session import AutoExposure, Plan, Session, run_session
from hardware.session.plans import psf_stack
from optics import Sensor
from optics.sensor import Band
from tests.calibration.brackets import exactly
from tests.optics.cameras import small_camera

BANDS = (Band(600e-9, 20e-9), Band(540e-9, 20e-9), Band(460e-9, 20e-9))
SIZE = (128, 120)


def bench(seed=1):
    design = small_camera(sensor=Sensor(pixel_pitch=2.5e-6, binning=2, bands=BANDS))
    source = Source(peak_rate=4e5, reference=1.0, diameter=0.0)
    rig = open_bench(design, seed=seed, source=source, shape=(200, 240))
    rig.home()
    return rig


def noise_of(rig, session):
    true = rig.truth.noise
    plane = PlaneNoise(
        exactly(true.system_gain),
        exactly(true.black_level),
        exactly(true.read_noise),
        exactly(0.0),
        dark_current=exactly(true.dark_current),
        full_well=exactly(true.full_well),
        prnu=exactly(true.prnu),
    )
    mode = session.identity["camera"]["mode"]["name"]
    return NoiseModel(mode, "RGGB", 12, 1.0, 25.0, dict.fromkeys(("R", "Gr", "Gb", "B"), plane))


def light_of_the_source(rig, step):
    """What the bench shines into a step's region: with the source less without [e-/s]."""
    rig.move_to(dict(step.position))
    region = Roi(*step.merged.origin, *step.merged.rate.shape)
    rig.light({"point": 1.0})
    lit = rig.camera.scene(region)
    rig.light({})
    return lit - rig.camera.scene(region)


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """Two depths of six exposures x eight frames, as a session takes them by default."""
    rig = bench()
    auto = AutoExposure(longest=10.0)
    plan = psf_stack("z", 0.8, 1.3, depths=2, size=SIZE, auto=auto, dark_repeats=12)
    folder = tmp_path_factory.mktemp("psf") / "session"
    run_session(folder, plan, rig)
    session = Session.open(folder)
    darks, noise = session_darks(session), noise_of(rig, session)
    steps = [merge_step(session, name, noise, darks) for name in ("psf-01", "psf-02")]
    return rig, session, darks, noise, steps


def test_rates_are_those_of_the_bench(taken):
    rig, _, _, _, steps = taken
    for step in steps:
        pull = (step.merged.rate - light_of_the_source(rig, step)) / np.sqrt(step.merged.variance)
        pull = pull[step.merged.valid]
        # 15 000 pixels, hot ones of the darks aside: 0.008 and 0.006
        assert abs(pull.mean()) < 0.05
        assert pull.std() == pytest.approx(1, abs=0.03)
        assert step.merged.valid.mean() > 0.999
        assert step.warnings == ("12 dark frames; 32 or more are advised",)


def test_the_dynamic_range_is_well_above_80_db(taken):
    """Six exposures of eight frames, by the pixels around the spot as they came out."""
    _, _, _, _, steps = taken
    for step in steps:
        assert len(step.merged.exposures) == 6
        assert all(use.frames == 8 for use in step.merged.exposures)
        assert measure_psf(step.merged).dynamic_range > 100


def test_a_stack_holds_the_rates_where_the_rail_said(taken, tmp_path):
    _, session, _, _, steps = taken
    (stack,) = psf_stacks(steps[::-1], session)
    assert stack.readings == pytest.approx([0.8, 1.3], abs=1e-4)
    assert stack.frame == (200, 240)
    assert stack.pixel_pitch == pytest.approx(2.5e-6)
    for number, step in enumerate(steps):
        row, column = (o - s for o, s in zip(stack.origin, step.merged.origin, strict=True))
        part = (slice(row, row + stack.shape[0]), slice(column, column + stack.shape[1]))
        seen = stack.valid[number]
        np.testing.assert_array_equal(seen, step.merged.valid[part])
        np.testing.assert_array_equal(stack.rate[number][seen], step.merged.rate[part][seen])
    stack.save(tmp_path / "stack.npz")
    assert load_stack(tmp_path / "stack.npz").notes["steps"] == ["psf-01", "psf-02"]


def test_regions_are_cut_to_what_they_have_in_common(taken):
    _, session, _, _, (near, far) = taken
    cut = replace(
        far.merged,
        **{name: getattr(far.merged, name)[3:, 5:] for name in ("rate", "variance", "valid")},
        origin=(far.merged.origin[0] + 3, far.merged.origin[1] + 5),
        cfa={"RGGB": "BGGR"}[far.merged.cfa],
    )
    (stack,) = psf_stacks([near, replace(far, merged=cut)], session)
    (whole,) = psf_stacks([near, far], session)
    row, column = (a - b for a, b in zip(stack.origin, whole.origin, strict=True))
    again = whole.crop(row, column, *stack.shape)
    assert stack.cfa == again.cfa
    np.testing.assert_array_equal(stack.rate, again.rate)
    away = replace(cut, origin=(cut.origin[0] + 400, cut.origin[1]))
    with pytest.raises(CalibrationError, match="no region in common"):
        psf_stacks([near, replace(far, merged=away)], session)


def test_darks_of_a_larger_region_are_cut_to_that_of_the_frames(taken):
    _, session, darks, noise, (near, _) = taken
    around = ((6, 2), (4, 8))
    larger = replace(
        darks,
        masters={
            key: replace(
                dark,
                mean=np.pad(dark.mean, around, constant_values=1e4),
                hot=np.pad(dark.hot, around, constant_values=True),
            )
            for key, dark in darks.masters.items()
        },
        region=Roi(
            darks.region.row - 6,
            darks.region.column - 4,
            darks.region.height + 8,
            darks.region.width + 12,
        ),
    )
    again = merge_step(session, "psf-01", noise, larger)
    np.testing.assert_array_equal(again.merged.rate, near.merged.rate)


@pytest.mark.parametrize(("off", "fits"), [(1.009, True), (0.991, True), (1.02, False)])
def test_a_dark_serves_within_the_tolerance_of_the_camera(taken, off, fits):
    """A frame of a search that is a little off may be taken for what was asked next."""
    _, session, darks, noise, (near, _) = taken
    moved = {}
    for key, dark in darks.masters.items():
        other = replace(key, exposure=off * key.exposure)
        moved[other] = replace(dark, conditions=other)
    others = replace(darks, masters=moved)
    if fits:
        step = merge_step(session, "psf-01", noise, others)
        np.testing.assert_array_equal(step.merged.rate, near.merged.rate)
    else:
        with pytest.raises(CalibrationError, match="take darks of every exposure"):
            merge_step(session, "psf-01", noise, others)


def test_places_across_the_axis_are_stacks_of_their_own(taken):
    _, session, _, _, (near, far) = taken
    beside = replace(far, position={**far.position, "x": 0.05})
    stacks = psf_stacks([near, far, beside], session)
    assert sorted((s.depths, s.across) for s in stacks) == [
        (1, (pytest.approx(0, abs=1e-6), pytest.approx(0.05))),
        (2, (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))),
    ]
    with pytest.raises(CalibrationError, match="no position of axis 'w'"):
        psf_stacks([near], session, axis="w")


def test_the_spot_of_a_steady_bench_does_not_drift(taken):
    _, session, darks, noise, _ = taken
    log = spot_drift(session, "psf-01", darks, noise)
    assert len(log.shifts) == 7
    for axis in log.rate():
        assert abs(axis.value) < 4 * axis.uncertainty
    assert log.largest < 0.1


def test_a_frame_in_which_the_light_failed_is_left_out(tmp_path):
    rig = bench(seed=2)
    scene, calls = rig.camera.scene, []

    def failing(roi):
        calls.append(roi)
        return scene(roi) * (0.7 if len(calls) == 11 else 1.0)

    rig.camera.scene = failing
    times = (0.01, 0.03, 0.09)
    plan = psf_stack(
        "z", 0.9, 1.0, depths=2, size=None, exposure_times=times, repeats=6, dark_repeats=8
    )
    run_session(tmp_path / "s", plan, rig)
    session = Session.open(tmp_path / "s")
    noise = noise_of(rig, session)
    step = merge_step(session, "psf-01", noise, session_darks(session))
    (odd,) = step.log.outliers
    assert sum(use.frames for use in step.merged.exposures) == 17
    assert step.warnings[0].startswith(f"frame {odd.number} ")
    rig.camera.scene = scene
    pull = (step.merged.rate - light_of_the_source(rig, step)) / np.sqrt(step.merged.variance)
    assert abs(np.nanmean(pull)) < 0.05


def test_what_a_session_lacks_is_said(taken, tmp_path):
    rig, session, darks, noise, _ = taken
    with pytest.raises(CalibrationError, match="noise model is of mode 'other'"):
        merge_step(session, "psf-01", replace(noise, mode="other"), darks)
    few = {key: dark for key, dark in darks.masters.items() if key.exposure < 0.1}
    with pytest.raises(CalibrationError, match=r"dark of .* at gain 1: take darks"):
        merge_step(session, "psf-01", noise, replace(darks, masters=few))
    with pytest.raises(CalibrationError, match="take darks of the same region"):
        merge_step(session, "psf-01", noise, replace(darks, region=Roi(60, 60, 64, 64)))
    warm = {
        DarkConditions.of(key.exposure, key.gain, 40.0): replace(
            dark, conditions=DarkConditions.of(key.exposure, key.gain, 40.0)
        )
        for key, dark in darks.masters.items()
    }
    step = merge_step(session, "psf-01", noise, replace(darks, masters=warm))
    assert any("in the darks at about 40" in note for note in step.warnings)
    plan = Plan("alone", (replace(session.plan.steps[0], exposures=(0.01,), repeats=1),))
    run_session(tmp_path / "alone", plan, rig)
    alone = Session.open(tmp_path / "alone")
    with pytest.raises(CalibrationError, match="alone has no darks"):
        session_darks(alone)
    with pytest.raises(CalibrationError, match="psf-01 has 1 frames"):
        merge_step(alone, "psf-01", noise, darks)
