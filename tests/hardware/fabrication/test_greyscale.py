"""Grey images: read by Pillow, through the curve of the process, within half a grey."""

import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from hardware.errors import HardwareError
from hardware.fabrication.greyscale import Greyscale
from tests.hardware.fabrication.designs import blazed, design_of

FORMATS = [("tiff", 16), ("tiff", 8), ("png", 16), ("png", 8), ("bmp", 8)]


def curve(path, top=255.0):
    """Contrast curve of a resist, eight points: depth grows faster than dose."""
    grey = np.linspace(0.08, 0.95, 8) * top
    depth = 1500 * (grey / top) ** 1.7
    rows = [f"{d:.3f},{g:.2f}" for d, g in zip(depth, grey, strict=True)]
    path.write_text("# resist A, 2024\ndepth_nm,grey\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(("kind", "bits"), FORMATS)
@pytest.mark.parametrize("polarity", ["deep_is_bright", "deep_is_dark"])
def test_heights_come_back_within_half_a_grey(kind, bits, polarity, tmp_path):
    design = blazed()
    target = Greyscale(bits, kind, polarity)
    written = target.write(design, tmp_path)
    found = target.read(tmp_path, written)
    trip = target.compare(design, found)
    assert trip.exact
    assert trip.max_height_error < 1e-18  # the same grey through the same line
    assert trip.step == pytest.approx(np.ptp(design.height) / (2**bits - 1))
    error = np.abs(found.height - (design.height - design.height.min())).max()
    assert 0.4 * trip.step < error <= trip.step * (0.5 + 1e-9)


@pytest.mark.parametrize(("kind", "bits"), FORMATS)
def test_the_letter_stands_upright_in_the_image_and_is_dark_where_it_is_high(kind, bits, tmp_path):
    design = blazed()
    letter = np.zeros(design.shape)
    letter[4:16, 6:8] = letter[4:6, 6:14] = letter[8:10, 6:12] = 1e-6
    (file,) = Greyscale(bits, kind).write(replace(design, height=letter), tmp_path).files
    with Image.open(file) as image:
        assert image.size == (56, 40)
        pixels = np.asarray(image)
    np.testing.assert_array_equal(pixels, np.where(letter > 0, 0, 2**bits - 1))


def test_a_tiff_says_its_pitch_and_tifffile_agrees_with_pillow(tmp_path):
    design = replace(blazed(cell=3.74e-6), diameter=1e-4)
    target = Greyscale()
    written = target.write(design, tmp_path)
    found = target.read(tmp_path, replace(written, notes={**written.notes, "pitch_m": 1.0}))
    assert found.spacing == pytest.approx(3.74e-6, rel=1e-8)  # a ratio of 32-bit integers
    with Image.open(written.files[0]) as image:
        np.testing.assert_array_equal(np.asarray(image), tifffile.imread(written.files[0]))


@pytest.mark.parametrize(("kind", "bits"), [("tiff", 16), ("png", 8)])
@pytest.mark.parametrize("polarity", ["deep_is_bright", "deep_is_dark"])
def test_a_curve_is_inverted(kind, bits, polarity, tmp_path):
    top = 2**bits - 1
    table = curve(tmp_path / "curve.csv", top)
    if polarity == "deep_is_dark":
        rows = [line.split(",") for line in table.read_text().splitlines()[2:]]
        table.write_text("depth_nm,grey\n" + "".join(f"{d},{top - float(g)}\n" for d, g in rows))
    design = blazed()
    out = tmp_path / "out"
    out.mkdir()
    target = Greyscale(bits, kind, polarity, surface_depth=50e-9, curve=table)
    found = target.read(out, target.write(design, out))
    assert target.compare(design, found).exact
    error = np.abs(found.height - (design.height - design.height.min())).max()
    assert 0.2 * target.step(design) < error <= target.step(design) * (0.5 + 1e-9)
    with Image.open(next(out.iterdir())) as image:
        pixels = np.asarray(image).astype(float)
    # by hand: the deepest cell through the table
    lines = [line for line in table.read_text().splitlines() if line[0].isdigit()]
    depths, greys = np.array([line.split(",") for line in lines], float).T
    wanted = np.interp(50 + np.ptp(design.height) * 1e9, depths, greys)
    deepest = pixels.max() if polarity == "deep_is_bright" else pixels.min()
    assert abs(deepest - wanted) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depth_nm,grey\n0,0\n400,120\n300,255\n", "depth_nm = 300 follows 400"),
        ("depth_nm,grey\n0,0\n300,120\n900,100\n", "grey = 100 follows 120"),
        ("depth_nm,grey\n0,0\n300,120\n900,120\n", "grey = 120 follows 120"),
        ("depth_nm,grey\n0,0\n900,400\n", "8 bits hold 0 to 255"),
        ("depth_nm,grey\n0,250\n900,10\n", "falls with depth"),
        ("depth,grey\n0,0\n900,255\n", "no column depth_nm"),
        ("depth_nm,grey\n0,0\n", "1 rows"),
        ("depth_nm,grey\n0,0\nx,3\n", "could not convert"),
        ("depth_nm,grey\n0,0\nnan,3\n", "not finite"),
        ("", "no column"),
    ],
)
def test_a_curve_that_cannot_be_inverted_is_refused(text, message, tmp_path):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(HardwareError, match=message):
        Greyscale(8, curve=tmp_path / "c.csv").meant(blazed())


def test_heights_beyond_the_scale_are_refused(tmp_path):
    with pytest.raises(ValueError, match="wrap the design"):
        Greyscale(full_depth=0.9e-6).meant(blazed())
    with pytest.raises(ValueError, match="wrap the design"):
        Greyscale(8, curve=curve(tmp_path / "c.csv")).meant(blazed())  # starts at 20 nm


def test_a_flat_map_needs_a_depth():
    flat = design_of(np.full((8, 12), 1e-6))
    with pytest.raises(ValueError, match="full_depth"):
        Greyscale().meant(flat)
    assert (Greyscale(full_depth=1e-6).meant(flat).height == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 12}, "bits = 12"),
        ({"bits": 16, "format": "bmp"}, "BMP"),
        ({"format": "gif"}, "format"),
        ({"polarity": "dark"}, "polarity"),
        ({"full_depth": -1e-6}, "full_depth"),
        ({"full_depth": 700.0}, "full_depth"),
        ({"surface_depth": -1e-9}, "surface_depth"),
        ({"full_depth": 1e-6, "curve": "c.csv"}, "both"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Greyscale(**options)


@pytest.mark.parametrize(("kind", "bits"), FORMATS)
def test_the_same_design_gives_the_same_bytes_on_another_day(kind, bits, tmp_path, monkeypatch):
    found = []
    for day in (0, 1):
        folder = tmp_path / str(day)
        folder.mkdir()
        monkeypatch.setattr(time, "time", lambda day=day: 1.7e9 + 86400.0 * day)
        found.append(Greyscale(bits, kind).write(blazed(), folder).files[0].read_bytes())
    assert found[0] == found[1]


def test_a_damaged_image_is_said_to_be_one(tmp_path):
    target = Greyscale(8, "png")
    written = target.write(blazed(), tmp_path)
    written.files[0].write_bytes(b"no image")
    with pytest.raises(HardwareError, match="cannot be read"):
        target.read(tmp_path, written)


def test_coarse_greys_are_remarked():
    tall = replace(blazed(), height=blazed().height * 20)
    assert "16 bits" in Greyscale(8).estimate(tall).remark
    assert not Greyscale(16).estimate(tall).remark
