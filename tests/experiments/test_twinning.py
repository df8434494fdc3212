"""Designs laid on stacks of a bench without errors, and measured PSFs on binned pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration.bench import BenchErrors
from calibration.errors import CalibrationError
from experiments.measured_psf import binned_psf
from experiments.store import ArtifactError
from experiments.twinning import lay_design, load_laid
from hardware.frames import Roi
from tests.calibration.bench_stacks import (
    FRAME,
    PITCH,
    SOURCE,
    merged,
    scene_rates,
    small_bench,
    small_design,
)

READINGS = (0.2, 0.3)
EXACT = BenchErrors(**dict.fromkeys(vars(BenchErrors()), 0.0))


def stack_of(*, errors=EXACT, seed=4):
    rig = small_bench(seed, errors=errors)
    roi = Roi(0, 0, *FRAME)
    return merged(scene_rates(rig, READINGS, roi), READINGS, roi=roi, frame=FRAME), rig.truth


@pytest.fixture(scope="module")
def design():
    return small_design()


@pytest.fixture(scope="module")
def stack():
    # on a frame of even sides the image in its middle lies between two pixels, and which of them
    # becomes the middle of a window is up to the noise
    return stack_of()[0]


@pytest.fixture(scope="module")
def laid(design, stack):
    return lay_design(design, stack, source_diameter=SOURCE.diameter)


def test_a_camera_without_errors_shows_what_its_design_shows(laid, stack):
    assert laid.correlation > 0.9999
    # a hundredth of a pixel beside its place it would be 2.6; what a registration misses is less
    assert laid.chi_square < 1.5
    assert laid.ambient == pytest.approx(SOURCE.ambient, abs=1)
    seen = stack.valid & np.isfinite(laid.expected)
    bright = seen & (laid.expected > 0.1 * np.nanmax(laid.expected))
    ratio = (stack.rate - laid.ambient)[bright] / laid.expected[bright]
    assert np.median(ratio) == pytest.approx(1, abs=2e-3)


def test_the_image_is_found_where_the_camera_looks_aside(design):
    moved = replace(EXACT, boresight=12e-6)
    stack, truth = stack_of(errors=moved)
    found = lay_design(design, stack, source_diameter=SOURCE.diameter)
    for k, axis in enumerate("yx"):
        assert abs(truth.boresight[k]) > PITCH / 4
        off = (found.values[f"boresight_{axis}"] - truth.boresight[k]) / PITCH
        assert off == pytest.approx(0, abs=0.01)
    assert found.correlation > 0.9999


def test_another_mask_is_told_by_its_correlation(stack):
    other = small_design()
    height = torch.flip(other.mask.height(), (-1,))
    mirrored = small_design(mask=type(other.mask)(height, cell=other.mask.cell))
    assert lay_design(mirrored, stack, source_diameter=0.0).correlation < 0.8


def test_a_stack_of_other_pixels_does_not_belong_to_the_design(design, stack):
    other = replace(stack, pixel_pitch=2 * stack.pixel_pitch)
    with pytest.raises(CalibrationError, match="its pixels are 3 um"):
        lay_design(design, other, source_diameter=0.0)


def test_what_was_laid_reads_back(laid, design, tmp_path):
    laid.save(tmp_path / "design.npz")
    again = load_laid(tmp_path / "design.npz", design)
    np.testing.assert_array_equal(again.expected, laid.expected)
    assert (again.values, again.power) == (laid.values, laid.power)
    (tmp_path / "design.npz").write_bytes(b"PK")
    with pytest.raises(ArtifactError):
        load_laid(tmp_path / "design.npz", design)


def test_a_measured_psf_on_binned_pixels_is_that_of_the_design(laid, design, stack):
    with torch.no_grad():
        expected = design.psf([READINGS[1]])[0]
    energy = expected.sum((-2, -1))
    found = binned_psf(stack, laid, 1, design, energy=energy)
    assert found.shape == expected.shape
    torch.testing.assert_close(found.sum((-2, -1)), energy)
    # of 2 x 2 raw pixels one or two see a colour, a quarter of a binned pixel beside its middle,
    # and the blocks lie within half a raw pixel
    for plane, colour in zip(found.double(), expected.double(), strict=True):
        both = np.corrcoef(plane.flatten(), colour.flatten())[0, 1]
        assert both > 0.9
        assert np.corrcoef(plane.flip(-1).flatten(), colour.flatten())[0, 1] < both - 0.05
        y, x = (torch.arange(n, dtype=torch.float64) for n in plane.shape)
        centres = [((p.sum(1) @ y) / p.sum(), (p.sum(0) @ x) / p.sum()) for p in (plane, colour)]
        assert np.subtract(*centres) == pytest.approx(0, abs=0.5)


def test_a_region_that_cuts_the_psf_is_refused(laid, design, stack):
    small = stack.crop(30, 30, 24, 24)
    part = replace(laid, expected=laid.expected[:, 30:54, 30:54])
    with torch.no_grad():
        energy = design.psf([READINGS[1]])[0].sum((-2, -1))
    with pytest.raises(CalibrationError, match="larger one"):
        binned_psf(small, part, 1, design, energy=energy)
