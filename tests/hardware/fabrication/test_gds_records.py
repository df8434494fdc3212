"""GDSII records: numbers of the manual, and what an independent reader makes of them."""

import struct

import gdstk
import numpy as np
import pytest

from hardware.fabrication import gds_records
from hardware.fabrication.layout import Boxes, Cell, Grid, Layout, Polygon


def layout(boxes, polygons=(), parts=1):
    cells = [Cell("A", boxes, list(polygons)), Cell("TOP", references=[("A", -5, 2_000_000_000)])]
    return Layout("odd", Grid(parts, 4000, (3, 5)), cells)


def excess_64(data):
    """Value of an eight-byte real, from its definition."""
    exponent = (data[0] & 0x7F) - 64
    value = int.from_bytes(data[1:], "big") / 2.0**56 * 16.0**exponent
    return -value if data[0] & 0x80 else value


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-9, 1e-3, -0.5, 1 / 16, 255.99, 1e-11])
def test_reals_are_exact_in_doubles(value):
    data = gds_records.excess_64(value)
    assert excess_64(data) == value
    assert value == 0 or data[1] >= 16  # the fraction is at least 1/16: no digit is wasted


def test_a_rectangle_is_the_boundary_that_the_manual_prescribes(tmp_path):
    gds_records.write(
        layout([Boxes(7, np.array([[-1, 2, 3, 2**31 - 1]], np.int32), 9)]), tmp_path / "a.gds"
    )
    wanted = struct.pack(
        ">2H2Hh2Hh2H10i2H",
        *(4, 0x0800, 6, 0x0D02, 7, 6, 0x0E02, 9, 44, 0x1003),
        *(-1, 2, 3, 2, 3, 2**31 - 1, -1, 2**31 - 1, -1, 2),
        *(4, 0x1100),
    )
    assert len(wanted) == gds_records.BOX_SIZE
    assert (tmp_path / "a.gds").read_bytes().count(wanted) == 1


def test_gdstk_reads_coordinates_layers_and_places(tmp_path, monkeypatch):
    monkeypatch.setattr(gds_records, "_CHUNK", 16)  # several chunks, the last one not full
    rng = np.random.default_rng(5)
    low = rng.integers(-(10**9), 10**9, (41, 2))
    edges = np.concatenate([low, low + rng.integers(1, 10**6, (41, 2))], axis=1).astype(np.int32)
    corner = np.array([[0, 0], [70, 0], [0, 90]], np.int32)
    written = layout([Boxes(300, edges, 63)], [Polygon(2, corner)], parts=10)
    gds_records.write(written, tmp_path / "a.gds")
    assert (tmp_path / "a.gds").stat().st_size == gds_records.stream_size(written)
    library = gdstk.read_gds(tmp_path / "a.gds")
    assert library.name == "odd"
    assert library.precision == pytest.approx(1e-10, rel=1e-15)
    cells = {cell.name: cell for cell in library.cells}
    found = [p for p in cells["A"].polygons if (p.layer, p.datatype) == (300, 63)]
    boxes = np.array([p.bounding_box() for p in found]).reshape(-1, 4) * 1e4
    np.testing.assert_array_equal(np.rint(boxes), edges)
    assert all(p.area() == pytest.approx(np.prod(p.points.max(0) - p.points.min(0))) for p in found)
    (other,) = [p for p in cells["A"].polygons if p.layer == 2]
    np.testing.assert_array_equal(np.rint(other.points * 1e4), corner)
    (reference,) = cells["TOP"].references
    assert reference.cell.name == "A"
    np.testing.assert_array_equal(np.rint(np.array(reference.origin) * 1e4), [-5, 2_000_000_000])


def test_a_file_beyond_two_gigabytes_is_refused_before_it_is_begun(tmp_path):
    many = np.broadcast_to(np.array([0, 0, 1, 1], np.int32), (2**25, 4))
    with pytest.raises(ValueError, match="use target=oasis"):
        gds_records.write(layout([Boxes(1, many)]), tmp_path / "a.gds")
    assert not list(tmp_path.iterdir())
