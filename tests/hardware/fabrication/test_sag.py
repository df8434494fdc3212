"""Tables in metres: every format gives the map back, upright, and the same bytes every day."""

import csv
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from hardware.errors import HardwareError
from hardware.fabrication.sag import Sag
from tests.hardware.fabrication.designs import blazed, design_of

FORMATS = ["csv", "matrix", "npz", "hdf5"]


@pytest.mark.parametrize("kind", FORMATS)
def test_heights_come_back(kind, tmp_path):
    design = blazed()
    target = Sag(kind)
    found = target.read(tmp_path, target.write(design, tmp_path))
    trip = target.compare(design, found)
    assert trip.exact
    assert trip.max_height_error <= trip.step / 2
    if kind in ("npz", "hdf5"):
        np.testing.assert_array_equal(found.height, design.height)


def test_a_line_of_the_csv_names_the_place_of_its_height(tmp_path):
    design = blazed()
    (file,) = Sag("csv").write(design, tmp_path).files
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 40 * 56
    # the third column of the second row lies left of and above the middle: y down is negative
    cell = rows[56 + 2]
    assert float(cell["x_m"]) == pytest.approx((2 - 27.5) * 4e-6)
    assert float(cell["y_m"]) == pytest.approx((1 - 19.5) * 4e-6)
    assert float(cell["height_m"]) == pytest.approx(design.height[1, 2], rel=1e-9)


def test_other_programs_find_the_arrays_by_name_and_unit(tmp_path):
    design = blazed()
    (npz,) = Sag("npz").write(design, tmp_path).files
    with np.load(npz) as arrays:
        np.testing.assert_array_equal(arrays["height_m"], design.height)
        np.testing.assert_array_equal(arrays["x_m"], design.axes()[0])
        np.testing.assert_array_equal(arrays["y_m"], design.axes()[1])
    (h5,) = Sag("hdf5").write(design, tmp_path).files
    with h5py.File(h5) as file:
        assert {key: file[key].attrs["units"] for key in file} == dict.fromkeys(
            ("x_m", "y_m", "height_m"), "m"
        )
        assert file["height_m"][3, 7] == design.height[3, 7]
    (matrix,) = Sag("matrix").write(design, tmp_path).files
    np.testing.assert_allclose(np.loadtxt(matrix), design.height, rtol=1e-9)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_design_gives_the_same_bytes_on_another_day(kind, tmp_path, monkeypatch):
    found = []
    for day in (0, 1):
        folder = tmp_path / str(day)
        folder.mkdir()
        monkeypatch.setattr(time, "time", lambda day=day: 1.7e9 + 86400.0 * day)
        found.append(Sag(kind).write(blazed(), folder).files[0].read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_flat_and_a_negative_map_come_back(kind, tmp_path):
    for height in (np.zeros((5, 9)), np.full((5, 9), -3e-7)):
        design = design_of(height)
        target = Sag(kind)
        found = target.read(tmp_path, target.write(design, tmp_path))
        assert target.compare(design, found).exact


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_refused(kind, tmp_path):
    target = Sag(kind)
    written = target.write(blazed(), tmp_path)
    (file,) = written.files
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if kind == "matrix":  # half a row: the row before it is whole
        file.write_text(file.read_text().rsplit(" ", 1)[0])
    with pytest.raises(HardwareError, match="cannot be read"):
        target.read(tmp_path, written)


def test_unevenly_spaced_samples_are_refused(tmp_path):
    target = Sag("csv")
    written = target.write(replace(blazed(), name="m"), tmp_path)
    (file,) = written.files
    first = file.read_text().splitlines()[1].split(",")[0]
    file.write_text(file.read_text().replace(first + ",", "-1.200000000e-04,"))
    with pytest.raises(HardwareError, match="evenly spaced"):
        target.read(tmp_path, written)


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="csv, matrix, npz, hdf5"):
        Sag("xls")
