"""Noise models from recorded sessions of a small bench whose sensor is known."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.noise.session import (
    flats_of,
    transfer_of,
    two_point_noise,
    with_fixed_pattern,
)
from calibration.psf.session import session_darks
from hardware.frames import Roi
from hardware.session import Session, run_session
from hardware.session.plans import photon_transfer, psf_stack
from tests.calibration.bench_stacks import small_bench

PANEL = 2e5  # e-/s of a green pixel


def taken(folder, plan, seed=1):
    rig = small_bench(seed)
    run_session(folder, plan, rig)
    return Session.open(folder), rig.truth.noise


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield tmp_path_factory.mktemp("sessions")


@pytest.fixture(scope="module")
def transfer(place):
    # the panel is dimmer in red and blue: their wells want twice the time
    return taken(place / "transfer", photon_transfer(8180 / PANEL, levels=20, refined=12))


@pytest.fixture(scope="module")
def stack(place):
    plan = psf_stack("z", 0.75, 3.0, depths=2, repeats=2, size=None, exposure_times=[1e-3, 0.05],
                     flat_repeats=32, dark_repeats=32)  # fmt: skip
    return taken(place / "stack", plan)


def test_a_photon_transfer_gives_gain_read_noise_and_full_well(transfer):
    session, truth = transfer
    found = transfer_of(session)
    for plane in found.noise.planes.values():
        gain, read = plane.system_gain, plane.read_noise
        assert abs(gain.value - truth.system_gain) < 4 * gain.uncertainty
        assert abs(read.value - truth.read_noise) < 4 * read.uncertainty
    # the converter ends before the well does
    full = min(truth.full_well, (4095 - 256) / truth.system_gain)
    assert found.noise.planes["Gr"].full_well.value == pytest.approx(full, rel=0.02)
    assert found.noise.mode == session.identity["camera"]["mode"]["name"]
    assert len(found.levels["Gr"]) > 25


def test_flats_and_darks_alone_give_the_gain_by_two_points(stack):
    session, truth = stack
    darks = session_darks(session)
    flats = flats_of(session, darks)
    noise = two_point_noise(session, flats, darks)
    for plane in noise.planes.values():
        for found, true in (
            (plane.system_gain, truth.system_gain),
            (plane.read_noise, truth.read_noise),
            (plane.prnu, truth.prnu),
            (plane.dsnu, truth.dsnu),
        ):
            assert abs(found.value - true) < 4 * found.uncertainty
        assert plane.system_gain.uncertainty < 0.01 * truth.system_gain
        assert plane.full_well is None
    assert "two points" in noise.warnings[0]


def test_a_transfer_takes_the_fixed_pattern_from_the_session_of_the_psfs(transfer, stack):
    session, truth = stack
    bare = transfer_of(transfer[0]).noise
    darks = session_darks(session)
    found = with_fixed_pattern(bare, flats_of(session, darks), darks)
    for name, plane in found.planes.items():
        assert plane.system_gain == bare.planes[name].system_gain
        assert plane.prnu.value == pytest.approx(truth.prnu, rel=0.15)
        assert plane.dsnu.value == pytest.approx(truth.dsnu, rel=0.25)


def test_flats_are_cut_to_a_region_inside_of_theirs(stack):
    session, _ = stack
    flats = flats_of(session, session_darks(session))
    region = flats.region
    assert (region.row, region.column) == (0, 0)
    part = flats.of(Roi(2, 4, 32, 40))
    np.testing.assert_array_equal(part.response, flats.field.response[2:34, 4:44])
    with pytest.raises(CalibrationError, match="take flats of all regions"):
        flats.of(Roi(60, 0, 32, 40))


def test_a_session_without_flats_has_none(place):
    plan = psf_stack("z", 0.75, 3.0, depths=2, repeats=2, size=None, exposure_times=[1e-3],
                     flat_repeats=0, dark_repeats=2)  # fmt: skip
    session, _ = taken(place / "bare", plan)
    assert flats_of(session, session_darks(session)) is None
    with pytest.raises(CalibrationError, match="no flats: take a photon transfer"):
        transfer_of(session)


def test_flats_that_are_dark_tell_no_gain(stack):
    session, _ = stack
    darks = session_darks(session)
    flats = flats_of(session, darks)
    almost = (flats.statistics.mean() - 1).astype(np.float32)
    dim = replace(flats, dark=replace(flats.dark, mean=almost))
    with pytest.raises(CalibrationError, match="about half of saturation"):
        two_point_noise(session, dim, darks)
