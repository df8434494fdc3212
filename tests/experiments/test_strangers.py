"""Faces of strangers from a folder."""

import numpy as np
import pytest
from PIL import Image

from anonymizer.colour import encode_srgb
from experiments.data.errors import DataError
from experiments.strangers import read_strangers


def test_middle_squares_in_order_of_names_as_linear_light(tmp_path):
    for n, name in enumerate(("b.png", "a.png", "c.png")):
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[:, 10:50] = 60 * (n + 1)  # the middle square
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    strangers = read_strangers(str(tmp_path), size=20, limit=2)
    assert strangers.shape == (2, 3, 20, 20)
    values = (255 * encode_srgb(strangers)).round()
    assert values.amin(dim=(1, 2, 3)).tolist() == values.amax(dim=(1, 2, 3)).tolist() == [120, 60]


def test_empty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        read_strangers(str(tmp_path))
