"""Phase images: the right phase at the right pixel, wrapped at the operating wavelength."""

import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hardware.errors import HardwareError
from hardware.fabrication.slm import Slm
from tests.hardware.fabrication.designs import blazed, design_of

TURN = 2 * np.pi


def panel(**options):
    """Panel of the size of `blazed`, with its pitch."""
    return Slm(**({"columns": 56, "rows": 40, "pixel_pitch": 4e-6} | options))


def circle(phase):
    """Phase between -pi and pi."""
    return np.mod(phase + np.pi, TURN) - np.pi


@pytest.mark.parametrize("bits", [2, 8, 10])
@pytest.mark.parametrize("wavelength", [540e-9, 633e-9, 450e-9])
def test_phases_are_those_of_the_mask_to_half_a_grey(bits, wavelength, tmp_path):
    design = replace(blazed(), height=blazed().height * 2.7)  # more than a turn
    target = panel(bits=bits, wavelength=wavelength)
    written = target.write(design, tmp_path)
    with Image.open(written.files[0]) as image:
        shown = np.asarray(image) * (TURN / 2**bits)
    wanted = TURN / wavelength * 0.4604 * design.height
    error = np.abs(circle(shown - wanted)).max()
    assert 0.9 * np.pi / 2**bits < error <= np.pi / 2**bits * (1 + 1e-9)
    found = target.read(tmp_path, written)
    trip = target.compare(design, found)
    assert trip.exact
    assert trip.step == pytest.approx(wavelength / 0.4604 / 2**bits)
    assert trip.max_height_error < 1e-18
    assert 0 <= found.height.min() <= found.height.max() < wavelength / 0.4604


def test_the_index_at_the_operating_wavelength_counts(tmp_path):
    target = panel(wavelength=633e-9, index=1.4570)
    design = design_of(np.full((40, 56), 700e-9))
    with Image.open(target.write(design, tmp_path).files[0]) as image:
        assert set(np.unique(image)) == {round(700e-9 * 0.4570 / 633e-9 * 256)}


def test_kept_phases_are_those_of_the_design_wavelength(tmp_path):
    target = panel(wavelength=633e-9, keep="phase")
    design = blazed()
    with Image.open(target.write(design, tmp_path).files[0]) as image:
        shown = np.asarray(image) / 256
    turns = design.height * 0.4604 / 540e-9
    assert np.abs(np.mod(shown - turns + 0.5, 1) - 0.5).max() <= 0.5 / 256 * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["png", "bmp"])
def test_the_letter_stands_upright_in_the_middle_of_a_larger_panel(kind, tmp_path):
    letter = np.zeros((40, 56))
    letter[4:16, 6:8] = letter[4:6, 6:14] = letter[8:10, 6:12] = 540e-9 / 0.4604 / 2
    target = panel(columns=70, rows=44, format=kind)
    written = target.write(replace(blazed(), height=letter), tmp_path)
    with Image.open(written.files[0]) as image:
        pixels = np.asarray(image)
    wanted = np.zeros((44, 70))
    wanted[2:42, 7:63] = np.where(letter > 0, 128, 0)
    np.testing.assert_array_equal(pixels, wanted)


@pytest.mark.parametrize("turn", [217, 256])
def test_a_panel_with_its_own_grey_of_one_turn(turn, tmp_path):
    target = panel(turn_grey=turn)
    design = blazed()
    written = target.write(design, tmp_path)
    with Image.open(written.files[0]) as image:
        pixels = np.asarray(image)
    assert pixels.max() <= turn - 1
    error = circle(pixels * (TURN / turn) - TURN * design.height * 0.4604 / 540e-9)
    assert np.abs(error).max() <= np.pi / turn * (1 + 1e-9)
    assert target.compare(design, target.read(tmp_path, written)).exact


@pytest.mark.parametrize("falling", [False, True])
def test_a_response_from_a_table(falling, tmp_path):
    grey = np.linspace(3, 250, 9)
    phase = 7.0 * ((grey - 3) / 247) ** 1.3 + 0.4  # more than a turn
    if falling:
        phase = phase[::-1]
    rows = "".join(f"{g},{p}\n" for g, p in zip(grey, phase, strict=True))
    (tmp_path / "lut.csv").write_text("grey,phase_rad\n" + rows)
    target = panel(lut=tmp_path / "lut.csv")
    design = blazed()
    out = tmp_path / "out"
    out.mkdir()
    written = target.write(design, out)
    assert target.compare(design, target.read(out, written)).exact
    with Image.open(written.files[0]) as image:
        shown = np.interp(np.asarray(image), grey, phase)
    error = np.abs(circle(shown - TURN * design.height * 0.4604 / 540e-9)).max()
    steepest = np.abs(np.diff(phase) / np.diff(grey)).max()
    assert error <= written.notes["phase_error_rad"] * (1 + 1e-9)
    assert written.notes["phase_error_rad"] <= steepest / 2 * (1 + 1e-9)


def test_a_panel_that_does_not_reach_a_turn_says_how_wrong_it_is(tmp_path):
    (tmp_path / "lut.csv").write_text("grey,phase_rad\n0,0\n255,5.0\n")
    target = panel(lut=tmp_path / "lut.csv")
    assert "gap of 1.28 rad" in target.estimate(blazed()).remark
    assert target.step(blazed()) == pytest.approx((TURN - 5) / TURN * 540e-9 / 0.4604)
    (tmp_path / "lut.csv").write_text("grey,phase_rad\n0,0\n255,3.0\n")
    with pytest.raises(HardwareError, match="half of a turn"):
        target.estimate(blazed())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_correction_is_added_before_wrapping(dtype, tmp_path):
    top = int(np.iinfo(dtype).max) + 1
    flatness = np.random.default_rng(4).integers(0, top, (40, 56)).astype(dtype)
    Image.fromarray(flatness).save(tmp_path / "flat.png")
    target = panel(correction=tmp_path / "flat.png")
    design = blazed()
    out = tmp_path / "out"
    out.mkdir()
    written = target.write(design, out)
    with Image.open(written.files[0]) as image:
        shown = np.asarray(image) / 256
    error = shown - flatness / top - design.height * 0.4604 / 540e-9
    assert np.abs(np.mod(error + 0.5, 1) - 0.5).max() <= 0.5 / 256 * (1 + 1e-9)
    assert target.compare(design, target.read(out, written)).exact
    with pytest.raises(HardwareError, match="the panel has"):
        panel(columns=58, correction=tmp_path / "flat.png").meant(design)


def test_other_pitches_take_the_nearest_cell_and_say_so(tmp_path):
    target = panel(columns=112, rows=80, pixel_pitch=2e-6)
    design = blazed()
    written = target.write(design, tmp_path)
    assert "nearest" in str(written.notes["resampled"])
    same = panel().meant(design).height
    found = target.read(tmp_path, written)
    wanted = same.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(found.height, wanted, rtol=1e-14)  # nanometres in the notes
    with pytest.raises(ValueError, match="resample = 'refuse'"):
        replace(target, resample="refuse").meant(design)
    with pytest.raises(ValueError, match="half a pixel"):
        panel(columns=57, resample="refuse").meant(design)
    assert "finer cells are lost" in panel(pixel_pitch=4.5e-6).estimate(design).remark
    assert not panel(resample="refuse").estimate(design).remark


def test_a_mask_larger_than_the_panel_is_refused():
    with pytest.raises(ValueError, match=r"relay the pupil at 1\.25:1"):
        panel(rows=32).meant(blazed())


@pytest.mark.parametrize(
    "options",
    [
        {"columns": 1},
        {"pixel_pitch": 8.0},
        {"wavelength": 540.0},
        {"index": 0.5},
        {"keep": "both"},
        {"bits": 0},
        {"format": "bmp", "bits": 10},
        {"turn_grey": 300},
        {"turn_grey": 200, "lut": "x.csv"},
        {"correction_turn_grey": 1},
        {"resample": "linear"},
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        panel(**options)


def test_the_same_design_gives_the_same_bytes_on_another_day(tmp_path, monkeypatch):
    found = []
    for day in (0, 1):
        folder = tmp_path / str(day)
        folder.mkdir()
        monkeypatch.setattr(time, "time", lambda day=day: 1.7e9 + 86400.0 * day)
        found.append(panel().write(blazed(), folder).files[0].read_bytes())
    assert found[0] == found[1]
