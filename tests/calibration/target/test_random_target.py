"""The random target: the same everywhere, half black, and of true size in its files."""

import re

import numpy as np
import pytest
from PIL import Image

from calibration.target.random_target import RandomTarget

TARGET = RandomTarget(40, 56, 0.5e-3, marker=8, gap=4, seed=7)


def test_seed_gives_the_same_cells_for_ever():
    field = TARGET.cells[16:-16, 16:-16]
    assert abs(field.mean() - 0.5) < 4 * 0.5 / field.size**0.5
    first = int(np.random.PCG64(7).random_raw())
    bits = [(first >> (7 - n)) & 1 for n in range(8)]
    assert field.ravel()[:8].tolist() == bits
    assert (TARGET.cells == RandomTarget(**TARGET.as_dict()).cells).all()
    assert (TARGET.cells != RandomTarget(40, 56, 0.5e-3, marker=8, gap=4, seed=8).cells).any()


def test_luminance_is_the_mean_over_a_square():
    whole = TARGET.luminance(np.zeros((1, 2)), 1.0)  # the sheet is 0.036 m high
    dark = (TARGET.cells == 0).sum() * TARGET.cell**2
    assert whole[0] == pytest.approx(1 - dark, rel=1e-12)
    assert TARGET.luminance(TARGET.markers, 1e-3) == pytest.approx(np.zeros(4), abs=1e-9)


def test_png_has_its_cells_and_its_size(tmp_path):
    TARGET.save_png(tmp_path / "t.png", cell_pixels=3)
    with Image.open(tmp_path / "t.png") as image:
        dots = np.asarray(image.convert("L"))
        dpi = image.info["dpi"]
    assert (dots[1::3, 1::3] > 0).astype(int).tolist() == TARGET.cells.tolist()
    assert dots.shape[1] / dpi[0] * 25.4e-3 == pytest.approx(TARGET.size[1], rel=1e-3)


def test_svg_paints_every_black_cell_in_true_size(tmp_path):
    TARGET.save_svg(tmp_path / "t.svg")
    text = (tmp_path / "t.svg").read_text()
    assert f'width="{TARGET.size[1] * 1e3:.6f}mm"' in text
    runs = [int(n) for n in re.findall(r"h(\d+)v1", text)]
    assert sum(runs) == (TARGET.cells == 0).sum()


def test_millimetres_are_refused():
    with pytest.raises(ValueError, match=r"cell = 0\.5 m"):
        RandomTarget(40, 40, 0.5)
