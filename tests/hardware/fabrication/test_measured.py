"""Measured surfaces: every format upright and in metres, every damaged file refused."""

import math
import struct
import warnings

import numpy as np
import pytest

from hardware.fabrication.design import asymmetric_letter
from hardware.fabrication.measured import Measured, MeasurementError, read_measured

SHAPE, PITCH = (20, 28), 1.5e-6


@pytest.fixture
def surface():
    """An F in the upper left corner on a slope, with two points missing."""
    y, x = np.indices(SHAPE)
    height = 2e-9 * x + 5e-9 * y
    height[1:17, 1:17][asymmetric_letter(16)] += 400e-9
    height[3, 20] = height[18, 2] = np.nan
    return height


def prysm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries it imports
        return pytest.importorskip("prysm.io")


def metropro(height, *, pitch=PITCH, scale=0.5, obliquity=1.25, wavelength=633e-9, code=1):
    """Bytes of a file as MetroPro writes it, with a camera picture of another size."""
    rows, columns = height.shape
    head = bytearray(834)
    struct.pack_into(">4sHI", head, 0, b"\x88\x1b\x03\x6f", 1, 834)
    struct.pack_into(">HHH", head, 52, 5, 7, 2)
    struct.pack_into(">HH", head, 68, columns, rows)
    struct.pack_into(">ff", head, 164, scale, wavelength)
    struct.pack_into(">f", head, 176, obliquity)
    struct.pack_into(">f", head, 184, pitch)
    struct.pack_into(">H", head, 218, code)
    resolution = {0: 4096, 1: 32768, 2: 131072}.get(code, 1)
    phase = np.round(height * resolution / (scale * obliquity * wavelength))
    phase = np.where(np.isnan(phase), 2147483640, phase).astype(">i4")
    return bytes(head) + b"\x11" * (2 * 5 * 7 * 2) + phase.tobytes()


def text_table(height, order=None, header="x [um], y [um], z [nm]"):
    points = [
        f"{c * 1.5 + 100},{r * 1.5 - 7},{height[r, c] * 1e9:.6f}"
        for r in range(SHAPE[0])
        for c in range(SHAPE[1])
        if np.isfinite(height[r, c])
    ]
    if order is not None:
        points = [points[n] for n in order.permutation(len(points))]
    return "\n".join([header, *points]) + "\n"


def same(found, height, step):
    """Heights to half a step of the file, missing points at the same places."""
    np.testing.assert_array_equal(np.isnan(found.height), np.isnan(height))
    # half a step, and the float32 numbers of the header (6e-8 of half a micrometre)
    np.testing.assert_allclose(found.height, height, rtol=0, atol=0.5 * step + 1e-13)
    assert found.spacing_x == pytest.approx(PITCH, rel=1e-6)
    assert found.spacing_y == pytest.approx(PITCH, rel=1e-6)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_zygo_binary_comes_out_upright_and_in_metres(tmp_path, surface, code):
    path = tmp_path / "a.dat"
    path.write_bytes(metropro(surface, code=code))
    step = 0.5 * 1.25 * 633e-9 / {0: 4096, 1: 32768, 2: 131072}[code]
    same(read_measured(path), surface, step)


def test_zygo_binary_is_read_as_prysm_reads_it(tmp_path, surface):
    path = tmp_path / "a.dat"
    path.write_bytes(metropro(surface))
    theirs = prysm().read_zygo_dat(path)
    found = read_measured(path)
    # both from the same whole numbers; float32 factors, in nm there
    np.testing.assert_allclose(found.height * 1e9, theirs["phase"], rtol=1e-6)
    assert found.spacing_x == theirs["meta"]["lateral_resolution"]


def test_zygo_ascii_written_by_prysm_comes_out_upright(tmp_path, surface):
    path = tmp_path / "a.asc"
    # Its writer divides by the wavelength twice and writes micrometres where the format has
    # metres: with 1 um and a pitch in thousandths of a millimetre both come out right.
    prysm().write_zygo_ascii(str(path), surface * 1e6, PITCH * 1e-3, wavelength=1.0)
    # it cuts whole numbers off instead of rounding: a whole step
    same(read_measured(path), surface, 2 * 0.5 * 1e-6 / 32768)


def test_an_array_with_two_pitches(tmp_path, surface):
    path = tmp_path / "afm.npz"
    np.savez(path, height_m=surface, spacing_m=[PITCH, 2 * PITCH])
    found = read_measured(path)
    np.testing.assert_array_equal(found.height, surface)
    assert (found.spacing_x, found.spacing_y) == (PITCH, 2 * PITCH)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_table_in_any_order_comes_out_upright(tmp_path, surface, shuffled):
    path = tmp_path / "profile.csv"
    path.write_text(text_table(surface, np.random.default_rng(2) if shuffled else None))
    same(read_measured(path), surface, 1e-15)


def test_tables_with_other_separators_and_units(tmp_path, surface):
    path = tmp_path / "profile.txt"
    whole = text_table(surface)
    body = whole.split("\n", 1)[1]
    path.write_text("x [µm]; y [um]; z [nm]\n" + body.replace(",", ";").replace(".", ","))
    same(read_measured(path), surface, 1e-15)
    path.write_text("# x (um) y (um) z (nm)\n" + body.replace(",", " "))
    same(read_measured(path), surface, 1e-15)


def test_a_matrix_with_missing_points(tmp_path, surface):
    path = tmp_path / "matrix.csv"
    rows = [",".join("BAD" if np.isnan(v) else f"{v * 1e9:.6f}" for v in row) for row in surface]
    path.write_text("# instrument: none\n# spacing = 1.5 um\n# unit = nm\n" + "\n".join(rows))
    same(read_measured(path), surface, 1e-15)


def test_y_up_turns_the_rows_over(tmp_path, surface):
    path = tmp_path / "a.dat"
    path.write_bytes(metropro(surface))
    np.testing.assert_array_equal(
        read_measured(path, y="up").height, read_measured(path).height[::-1]
    )
    with pytest.raises(ValueError, match="'down' or 'up'"):
        read_measured(path, y="left")


def test_orientations_move_the_right_upper_point_where_they_should():
    height = np.zeros((3, 5))
    height[0, 4] = 1e-6  # right, up
    seen = Measured(height, 1e-6, 2e-6, "test")
    turned = seen.oriented(mirrored=False, quarter_turns=1)  # x towards -y: to the upper left
    assert turned.height.shape == (5, 3)
    assert turned.height[0, 0] == 1e-6
    assert (turned.spacing_x, turned.spacing_y) == (2e-6, 1e-6)
    assert seen.oriented(mirrored=True, quarter_turns=0).height[0, 0] == 1e-6


HEADER = "x [um], y [um], z [nm]\n"
BAD_TEXT = {
    "no units": ("x, y, z\n1,2,3\n1,3,3\n", "names no units"),
    "no header": ("1,2,3\n1,3,3\n", "needs '# spacing"),
    "unknown unit": ("x [furlong], y [um], z [nm]\n1,2,3\n", "furlong"),
    "z missing": ("x [um], y [um]\n1,2\n2,3\n", "x, y and z are needed"),
    "one column": ("# spacing = 1 um\n# unit = nm\n1\n2\n3\n", "one column"),
    "nothing": ("", "cut short"),
    "header alone": (HEADER, "cut short"),
    "zero pitch": (HEADER + "1,1,3\n1,2,3\n1,3,4\n", "same x"),
    "zero spacing": ("# spacing = 0 um\n# unit = nm\n1,2\n2,3\n", "spacing_x = 0"),
    "spacing without unit": ("# spacing = 1.5\n# unit = nm\n1,2\n2,3\n", "number and a unit"),
    "all missing": ("# spacing = 1 um\n# unit = nm\nnan,nan\nnan,nan\n", "not one of 4"),
    "infinite": ("# spacing = 1 um\n# unit = nm\n1,inf\n2,3\n", "infinite"),
    "ragged": (HEADER + "1,1,3\n1,2\n2,1,3\n", "data line 2"),
    "words": (HEADER + "1,1,three\n1,2,3\n", "three"),
    "twice": (HEADER + "1,1,3\n2,1,3\n1,2,3\n2,2,3\n2,2,4\n", "same place"),
    "irregular": (HEADER + "0,0,3\n1,1,3\n2,0,3\n3.4,1,3\n4,0,1\n", "regular grid"),
    "position missing": (HEADER + "1,nan,3\n1,2,3\n", "position"),
    "metres": ("# spacing = 1.5 m\n# unit = nm\n1,2\n2,3\n", "100 mm"),
}


@pytest.mark.parametrize("text", BAD_TEXT, ids=str)
def test_a_bad_text_is_refused_with_its_reason(tmp_path, text):
    path = tmp_path / "bad.csv"
    content, message = BAD_TEXT[text]
    path.write_text(content)
    with pytest.raises(MeasurementError, match=message) as caught:
        read_measured(path)
    assert "bad.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pitch": 0.0}, "calibrated laterally"),
        ({"wavelength": 633.0}, "wavelength"),
        ({"scale": 0.0}, "no height"),
        ({"obliquity": math.nan}, "no height"),
        ({"code": 9}, "phase resolution 9"),
    ],
)
def test_a_zygo_header_that_means_nothing_is_refused(tmp_path, surface, changes, message):
    content = metropro(surface)
    if changes != {"code": 9} and "scale" not in changes and "obliquity" not in changes:
        content = metropro(surface, **changes)
    else:
        place, form, value = {
            "code": (218, ">H", 9),
            "scale": (164, ">f", 0.0),
            "obliquity": (176, ">f", math.nan),
        }[next(iter(changes))]
        damaged = bytearray(content)
        struct.pack_into(form, damaged, place, value)
        content = bytes(damaged)
    path = tmp_path / "a.dat"
    path.write_bytes(content)
    with pytest.raises(MeasurementError, match=message):
        read_measured(path)


@pytest.mark.parametrize("keep", [3, 64, 833, 900, -1])
def test_a_zygo_file_cut_short_is_refused(tmp_path, surface, keep):
    path = tmp_path / "a.dat"
    path.write_bytes(metropro(surface)[:keep])
    with pytest.raises(MeasurementError, match="cut short"):
        read_measured(path)


@pytest.mark.parametrize("keep", [30, 300, -10])
def test_a_zygo_text_cut_short_is_refused(tmp_path, surface, keep):
    path = tmp_path / "a.asc"
    prysm().write_zygo_ascii(str(path), surface * 1e6, PITCH * 1e-3, wavelength=1.0)
    path.write_text(path.read_text()[:keep])
    with pytest.raises(MeasurementError, match="cut short"):
        read_measured(path)


def test_bad_arrays_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, height=np.zeros((3, 4)))
    with pytest.raises(MeasurementError, match="height_m, spacing_m is missing"):
        read_measured(path)
    np.savez(path, height_m=np.zeros((3, 4)), spacing_m=[1e-6, 1e-6, 1e-6])
    with pytest.raises(MeasurementError, match="3 numbers"):
        read_measured(path)
    np.savez(path, height_m=np.array([[{}, 1], [2, 3]], object), spacing_m=1e-6)
    with pytest.raises(MeasurementError, match="npz"):
        read_measured(path)
    np.savez(path, height_m=np.zeros(5), spacing_m=1e-6)
    with pytest.raises(MeasurementError, match="shape"):
        read_measured(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MeasurementError, match="npz"):
        read_measured(path)
    with pytest.raises(MeasurementError, match="cannot be read"):
        read_measured(tmp_path / "nothing.npz")
