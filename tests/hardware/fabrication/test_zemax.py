"""Zemax files: the layout of the manual, axes with y up, coefficients found again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hardware.errors import HardwareError
from hardware.fabrication.zemax import Zemax, read_grid_sag
from optics.zernike import zernike_at
from tests.hardware.fabrication.designs import blazed, design_of


def smooth(j=8, size=(60, 80)):
    """Noll mode `j` of 300 nm RMS over a disc of 60 cells, from `optics`."""
    y, x = ((np.arange(n) - (n - 1) / 2) / 30 for n in size)
    one = torch.zeros(j, dtype=torch.float64)
    one[-1] = 300e-9
    height = zernike_at(one, torch.tensor(y)[:, None], torch.tensor(x)[None, :]).numpy()
    return replace(design_of(height), pixelated=False)


@pytest.mark.parametrize("faces", ["object", "sensor"])
def test_heights_come_back(faces, tmp_path):
    design = blazed()
    target = Zemax(faces=faces)
    trip = target.compare(design, target.read(tmp_path, target.write(design, tmp_path)))
    assert trip.exact
    assert trip.max_height_error < 1e-15  # the same decimals
    assert np.abs(target.meant(design).height - design.height).max() <= 0.5e-12 * (1 + 1e-6)


def test_the_first_line_is_the_upper_left_corner_in_millimetres(tmp_path):
    design = blazed()
    sag, _ = Zemax(faces="sensor").write(design, tmp_path).files
    lines = sag.read_text().splitlines()
    head = lines[0].split()
    assert head[:2] == ["56", "40"]
    assert [float(word) for word in head[2:]] == pytest.approx([4e-3, 4e-3, 0, 0, 0])
    assert len(lines) == 1 + 40 * 56
    for row, column in [(0, 0), (0, 55), (5, 6), (39, 0)]:
        words = lines[1 + 56 * row + column].split()
        assert float(words[0]) == pytest.approx(design.height[row, column] * 1e3, abs=0.51e-9)
        assert words[1:] == ["0", "0", "0", "0"]


def test_a_relief_that_faces_the_object_bulges_against_the_light(tmp_path):
    lens = smooth(4)  # Noll 4 rises to the rim
    sag, _ = Zemax(faces="object").write(lens, tmp_path).files
    read = read_grid_sag(sag).height
    assert read[30, 40] > read[30, 11]
    np.testing.assert_allclose(read, -lens.height, atol=0.51e-12)


@pytest.mark.parametrize(
    ("j", "sign"), [(2, 1), (3, -1), (5, -1), (6, 1), (7, -1), (8, 1), (11, 1)]
)
def test_a_mode_is_one_coefficient_and_sine_modes_turn_over_with_y(j, sign, tmp_path):
    written = Zemax(modes=15, faces="sensor").write(smooth(j), tmp_path)
    lines = written.files[1].read_text().splitlines()
    assert "NORM_RADIUS_MM 0.12" in lines
    found = [float(line.split()[2]) for line in lines if line.startswith("Z ")]
    wanted = np.zeros(15)
    wanted[j - 1] = sign * 300e-6  # mm
    np.testing.assert_allclose(found, wanted, atol=1e-15)  # exact combination, float64 of 3e-4
    assert written.notes["zernike_residual_rms_nm"] < 1e-9
    assert "zernike_remark" not in written.notes


def test_coefficients_and_grid_are_the_same_surface(tmp_path):
    """Both files rebuilt with y up, as the program does."""
    rng = np.random.default_rng(2)
    y, x = ((np.arange(n) - (n - 1) / 2) / 30 for n in (60, 80))
    down, right = torch.tensor(y)[:, None], torch.tensor(x)[None, :]
    a = torch.tensor(rng.normal(size=15) * 1e-7)
    design = replace(design_of(zernike_at(a, down, right).numpy()), pixelated=False)
    sag, listing = Zemax(modes=15).write(design, tmp_path).files
    z = [float(line.split()[2]) for line in listing.read_text().splitlines() if line[0] == "Z"]
    table = np.loadtxt(sag, skiprows=1)[:, 0].reshape(60, 80)
    rebuilt = zernike_at(torch.tensor(z, dtype=torch.float64), -down, right).numpy()
    np.testing.assert_allclose(rebuilt, table, atol=0.51e-9)  # the grid has nine decimals of a mm


def test_a_wrapped_relief_is_said_to_be_no_matter_for_zernikes(tmp_path):
    assert "use the grid" in str(Zemax().write(blazed(), tmp_path).notes["zernike_remark"])


def test_a_large_map_is_averaged_and_says_so(tmp_path):
    target = Zemax(most=28)
    design = blazed()
    written = target.write(design, tmp_path)
    found = target.read(tmp_path, written)
    assert found.shape == (20, 28)
    assert found.spacing == pytest.approx(8e-6)
    wanted = design.height.reshape(20, 2, 28, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(found.height, wanted, atol=0.51e-12)
    assert "56 x 40" in str(written.notes["resampled"])
    assert target.estimate(design).remark
    assert not Zemax().estimate(design).remark


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("56 40", "56 41", "numbers for 56 x 41"),
        ("56 40", "56", "expected"),
        (" 0 0 0\n", " 9 0 0\n", "KeyError"),
        (" 0 0 0\n", " 0 1 0\n", "decentred"),
        (" 0 0 0 0\n", " 0 0 0 1\n", "without data"),
        (" 0 0 0 0\n", " 0 0 0 x\n", "expected"),
    ],
)
def test_a_damaged_file_is_refused(old, new, message, tmp_path):
    sag, _ = Zemax().write(blazed(), tmp_path).files
    text = sag.read_text()
    place = text.index(old)
    sag.write_text(text[:place] + new + text[place + len(old) :])
    with pytest.raises(HardwareError, match=message):
        read_grid_sag(sag)


def test_other_units_of_the_format_are_understood(tmp_path):
    (tmp_path / "inch.DAT").write_text("3 2 0.1 0.1 2 0 0\n" + "0.5 0 0 0\n" * 6)
    found = read_grid_sag(tmp_path / "inch.DAT")
    assert found.spacing == pytest.approx(2.54e-3)
    np.testing.assert_allclose(found.height, 12.7e-3)


@pytest.mark.parametrize("options", [{"most": 4}, {"most": 9999}, {"modes": 0}, {"faces": "up"}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Zemax(**options)


def test_the_same_design_gives_the_same_bytes(tmp_path):
    texts = []
    for name in "ab":
        (tmp_path / name).mkdir()
        texts.append([f.read_bytes() for f in Zemax().write(blazed(), tmp_path / name).files])
    assert texts[0] == texts[1]
