"""CODE V files: read by prysm, by the project's reader of lens files and by a reader of ours."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments.lens_formats import read_listing
from hardware.errors import HardwareError
from hardware.fabrication.codev import CodeV, read_grid_int
from optics.zernike import fringe_to_nm, zernike_at
from tests.hardware.fabrication.designs import blazed, design_of


@pytest.mark.parametrize("faces", ["object", "sensor"])
def test_heights_come_back_within_half_a_65534th(faces, tmp_path):
    design = blazed()
    target = CodeV(faces=faces)
    found = target.read(tmp_path, target.write(design, tmp_path))
    trip = target.compare(design, found)
    assert trip.exact
    assert trip.max_height_error < 1e-18
    assert trip.step == pytest.approx(np.ptp(design.height) / 65534, rel=1e-8)
    middle = (design.height.max() + design.height.min()) / 2
    error = np.abs(found.height - (design.height - middle)).max()
    assert 0.4 * trip.step < error <= 0.5 * trip.step * (1 + 1e-6)


def test_prysm_reads_the_same_heights(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pkg_resources
        io = pytest.importorskip("prysm.io")
        design = blazed()
        target = CodeV(faces="sensor")
        grid, _ = target.write(design, tmp_path).files
        values, meta = io.read_codev_gridint(grid)
    assert meta["data meaning"] == "surface error"
    assert meta["wavelength"] == 1.0
    # prysm gives nx rows of ny; the numbers themselves are in the order of the file
    found = np.asarray(values).reshape(40, 56) * 1e-9
    np.testing.assert_allclose(found, target.meant(design).height, atol=1e-16)  # float64 of 1e3 nm


def test_records_have_at_most_80_characters_and_the_first_number_is_upper_left(tmp_path):
    design = blazed()
    grid, zernike = CodeV(faces="sensor").write(design, tmp_path).files
    for file in (grid, zernike):
        assert max(len(line) for line in file.read_text().splitlines()) <= 80
    lines = grid.read_text().splitlines()
    ssz = float(re.search(r"SSZ (\S+)", lines[3])[1])
    middle = (design.height.max() + design.height.min()) / 2
    first = int(lines[4].split()[0])
    assert first == pytest.approx((design.height[0, 0] - middle) * 1e6 * ssz, abs=0.51)
    assert all(-32767 <= int(word) <= 32767 for line in lines[4:] for word in line.split())


@pytest.mark.parametrize("j", range(2, 17))
def test_a_fringe_mode_is_one_coefficient_for_the_lens_reader(j, tmp_path):
    """The project's reader of CODE V files, with y up, finds what was drawn with y down."""
    n, m = fringe_to_nm(j)
    angle = np.arctan2(*np.meshgrid(np.arange(60) - 29.5, np.arange(76) - 37.5, indexing="ij"))
    radius = np.hypot(*np.meshgrid(np.arange(60) - 29.5, np.arange(76) - 37.5, indexing="ij")) / 30
    radial = _radial(n, abs(m), radius)
    upwards = np.cos(m * angle) if m >= 0 else np.sin(-m * -angle)  # -angle: y up
    design = replace(design_of(2e-7 * radial * upwards), pixelated=False)
    _, file = CodeV(modes=16, faces="sensor").write(design, tmp_path).files
    text = file.read_text()
    file.write_text(text.replace("SUR", "WFR"))  # the reader takes wavefronts only
    listing = read_listing(file)
    wanted = np.zeros(16)
    wanted[j - 1] = 0.2  # waves of 1 um
    assert listing.kind == "fringe"
    np.testing.assert_allclose(listing.values, wanted, atol=1e-12)  # printed with 13 digits


def _radial(n, m, rho):
    """Table of radial polynomials up to order 6, M. Born, E. Wolf, table 9.1."""
    table = {
        (1, 1): rho,
        (2, 0): 2 * rho**2 - 1,
        (2, 2): rho**2,
        (3, 1): 3 * rho**3 - 2 * rho,
        (3, 3): rho**3,
        (4, 0): 6 * rho**4 - 6 * rho**2 + 1,
        (4, 2): 4 * rho**4 - 3 * rho**2,
        (5, 1): 10 * rho**5 - 12 * rho**3 + 3 * rho,
        (6, 0): 20 * rho**6 - 30 * rho**4 + 12 * rho**2 - 1,
    }
    return table[n, m]


def test_a_square_grid_is_a_map_for_the_lens_reader(tmp_path):
    square = replace(blazed(), height=blazed().height[:, 2:42], name="square")
    target = CodeV(faces="sensor")
    grid, _ = target.write(square, tmp_path).files
    grid.write_text(grid.read_text().replace("SUR", "WFR"))
    listing = read_listing(grid)
    np.testing.assert_allclose(
        np.array(listing.values) * listing.wavelength, target.meant(square).height, atol=1e-18
    )


def test_a_large_map_is_averaged_and_says_so(tmp_path):
    target = CodeV(most=28)
    written = target.write(blazed(), tmp_path)
    assert target.compare(blazed(), target.read(tmp_path, written)).exact
    assert target.meant(blazed()).shape == (20, 28)
    assert "56 x 40" in str(written.notes["resampled"])
    assert "1/65534" in target.estimate(blazed()).remark


def test_coefficients_rebuild_a_smooth_surface(tmp_path):
    a = torch.tensor(np.random.default_rng(3).normal(size=10) * 1e-7)
    y, x = ((np.arange(n) - (n - 1) / 2) / 30 for n in (60, 76))
    height = zernike_at(a, torch.tensor(y)[:, None], torch.tensor(x)[None, :]).numpy()
    written = CodeV().write(replace(design_of(height), pixelated=False), tmp_path)
    # Noll 1 to 10 all belong to the Fringe set
    assert written.notes["zernike_residual_rms_nm"] < 1e-9


def test_a_flat_map_comes_back(tmp_path):
    flat = design_of(np.full((16, 20), 4e-7))
    target = CodeV()
    assert target.compare(flat, target.read(tmp_path, target.write(flat, tmp_path))).exact


@pytest.mark.parametrize(
    ("old", "new"), [("GRD 56", "GRD 57"), ("SUR", "WFR"), ("NDA", "ABC"), (" SSZ ", " SSZ x")]
)
def test_a_damaged_file_is_refused(old, new, tmp_path):
    grid, _ = CodeV().write(blazed(), tmp_path).files
    grid.write_text(grid.read_text().replace(old, new))
    with pytest.raises(HardwareError, match="expected a title"):
        read_grid_int(grid)


@pytest.mark.parametrize("options", [{"most": 4}, {"modes": 38}, {"faces": "up"}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CodeV(**options)
