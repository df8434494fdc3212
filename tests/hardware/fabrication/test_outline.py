"""Outlines in DXF: right way up, in millimetres, the same bytes every time."""

from dataclasses import replace

import ezdxf
import numpy as np
import pytest

from hardware.errors import HardwareError
from hardware.fabrication.design import asymmetric_letter
from hardware.fabrication.outline import Outline
from tests.hardware.fabrication.designs import blazed


def corners(path, layer):
    space = ezdxf.readfile(path).modelspace()
    return [np.array(p.get_points("xy")) for p in space.query(f'LWPOLYLINE[layer=="{layer}"]')]


@pytest.mark.parametrize("diameter", [160e-6, 101e-6, 120e-6])
@pytest.mark.parametrize("shape", [(40, 56), (41, 63)])
def test_the_clear_aperture_comes_back(diameter, shape, tmp_path):
    design = replace(blazed(*shape), diameter=diameter)
    written = Outline().write(design, tmp_path)
    found = Outline().read(tmp_path, written)
    assert Outline().compare(design, found).exact
    np.testing.assert_array_equal(found.height > 0.5e-6, design.clear)


def test_ezdxf_and_klayout_see_the_same_millimetres(tmp_path):
    design = blazed()
    path = Outline(margin=50e-6, street=80e-6).write(design, tmp_path).files[0]
    document = ezdxf.readfile(path)
    assert document.units == ezdxf.units.MM
    assert not document.audit().has_errors
    (edge,) = corners(path, "MAP")
    # doubles in decimal: the last digits of a tenth of a millimetre
    np.testing.assert_allclose(np.ptp(edge, axis=0), [0.224, 0.16], rtol=1e-12)
    kdb = pytest.importorskip("klayout.db")
    options = kdb.LoadLayoutOptions()
    options.dxf_unit = 1000.0  # a drawing unit is 1000 um
    layout = kdb.Layout()
    layout.read(str(path), options)
    areas = {
        layout.get_info(i).name: kdb.Region(layout.top_cell().begin_shapes_rec(i)).area()
        * layout.dbu**2
        for i in layout.layer_indexes()
    }
    assert areas["MAP"] == pytest.approx(224 * 160, rel=1e-6)  # corners rounded to 1 nm
    # KLayout draws 32 corners around the circle: (pi / 32)^2 / 3 = 3.2e-3 more
    assert areas["APERTURE"] == pytest.approx(np.pi * 80**2, rel=4e-3)
    assert areas["MARKS"] == pytest.approx(4 * (400 * 20 * 2 - 20 * 20), rel=1e-6)


def test_the_letter_is_upright_with_y_up_and_left_above_the_map(tmp_path):
    path = Outline().write(blazed(), tmp_path).files[0]
    (letter,) = corners(path, "ORIENTATION")
    (edge,) = corners(path, "MAP")
    assert letter[:, 1].min() > edge[:, 1].max()
    unit = 0.1  # of eight, 0.8 mm in all
    origin = edge[:, 0].min(), edge[:, 1].max() + 0.1
    middles = np.arange(8) + 0.5
    drawn = np.zeros((8, 8), dtype=bool)
    for row, v in enumerate(middles[::-1]):  # the uppermost first
        for column, u in enumerate(middles):
            drawn[row, column] = inside(letter, origin[0] + u * unit, origin[1] + v * unit)
    np.testing.assert_array_equal(drawn, asymmetric_letter(8))


def inside(polygon, x, y):
    """Even-odd rule: edges crossed by a ray to the right."""
    crossed = False
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            crossed = not crossed
    return crossed


def test_marks_stand_between_map_and_street(tmp_path):
    path = Outline(margin=50e-6, street=80e-6).write(blazed(), tmp_path).files[0]
    inner, outer = sorted(corners(path, "STREET"), key=np.max)
    np.testing.assert_allclose(outer.max(0) - inner.max(0), 0.08, rtol=1e-9)  # doubles
    (edge,) = corners(path, "MAP")
    crosses = corners(path, "MARKS")
    assert len(crosses) == 4
    for cross in crosses:
        assert (np.abs(cross).min(0) > edge.max(0)).all()
    for drawn in [*crosses, *corners(path, "ORIENTATION")]:
        assert (np.abs(drawn).max(0) < inner.max(0)).all()


def test_equal_designs_give_equal_bytes_and_the_option_of_ezdxf_is_as_before(tmp_path):
    before = ezdxf.options.write_fixed_meta_data_for_testing
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(Outline().write(blazed(), tmp_path / name).files[0].read_bytes())
    assert files[0] == files[1]
    assert ezdxf.options.write_fixed_meta_data_for_testing == before
    # of the file's own frame, and entities of some hundred bytes
    assert Outline().estimate(blazed()).size == pytest.approx(len(files[0]), rel=0.1)
    assert Outline().estimate(blazed()).items == 9


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("$INSUNITS\n 70\n4", "$INSUNITS\n 70\n1", "INSUNITS"),
        ("\nCIRCLE\n", "\nCIRCLET\n", "0 apertures"),
    ],
)
def test_a_file_in_other_units_or_without_aperture_is_refused(old, new, message, tmp_path):
    written = Outline().write(blazed(), tmp_path)
    text = written.files[0].read_text()
    assert old in text
    written.files[0].write_text(text.replace(old, new))
    with pytest.raises(HardwareError, match=message):
        Outline().read(tmp_path, written)


@pytest.mark.parametrize("options", [{"margin": 0.0}, {"street": 100.0}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match="are allowed"):
        Outline(**options)
