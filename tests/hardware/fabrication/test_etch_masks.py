"""GDSII and OASIS masks: every cell comes back, seen from the right side, marks on all layers."""

from dataclasses import replace

import gdstk
import numpy as np
import pytest

from hardware.errors import HardwareError
from hardware.fabrication import gds, gds_records
from hardware.fabrication.design import asymmetric_letter
from hardware.fabrication.gds import Gds
from hardware.fabrication.layout import Grid
from hardware.fabrication.oasis import Oasis
from tests.hardware.fabrication.designs import blazed, design_of

both = pytest.mark.parametrize("target", [Gds, Oasis])
OPTIONS = [
    {},
    {"levels": 2, "marks": False, "witness": False},
    {"levels": 256, "waves": 6},
    {"layers": "level"},
    {"layers": "level", "levels": 64, "marks": False},
    {"copy_rows": 2, "copy_columns": 3, "copy_gap": 33e-6, "levels": 4},
    {"copy_rows": 1, "copy_columns": 2, "dose_step": -0.2, "levels": 4},
]


def read(path):
    return (gdstk.read_gds if path.suffix == ".gds" else gdstk.read_oas)(path)


def flat(path, layer, datatype=None):
    """Bounding boxes in nm and areas of a layer, all cells placed."""
    (top,) = read(path).top_level()
    found = [
        p
        for p in top.get_polygons()
        if p.layer == layer and (datatype is None or p.datatype == datatype)
    ]
    return np.array([p.bounding_box() for p in found]).reshape(-1, 4) * 1e3, found


@both
@pytest.mark.parametrize("options", OPTIONS)
def test_every_cell_comes_back(target, options, tmp_path):
    design = blazed()
    chosen = target(**options)
    written = chosen.write(design, tmp_path)
    trip = chosen.compare(design, chosen.read(tmp_path, written))
    assert trip.exact
    # depths pass through nanometres in decimal: a few roundings of a micrometre in doubles
    assert trip.max_height_error < 1e-20


@both
@pytest.mark.parametrize("cell", [4e-6, 3.45e-6, 1.2345e-6, 0.00155e-3])
def test_cells_of_any_hundredth_of_a_nanometre_come_back(target, cell, tmp_path):
    design = blazed(33, 41, cell=cell)
    written = target().write(design, tmp_path)
    assert target().compare(design, target().read(tmp_path, written)).exact


@both
def test_the_letter_is_upright_and_not_mirrored_for_whoever_opens_the_file(target, tmp_path):
    letter = asymmetric_letter(16)
    height = np.full((24, 40), 7 / 8)
    height[3:19, 10:26][letter] = 0.0  # deepest: in all three layers
    design = design_of(height * 540e-9 / 0.4604)
    design = replace(design, diameter=24 * 4e-6)
    written = target(marks=False, witness=False).write(design, tmp_path)
    seen = np.zeros((24, 40), int)
    for left, lower, right, upper in np.rint(flat(written.files[0], 3)[0] / 4000).astype(int):
        # a viewer shows y up: the first row on the screen is the largest y
        seen[12 - upper : 12 - lower, 20 + left : 20 + right] += 1
    wanted = np.zeros((24, 40), int)
    wanted[3:19, 10:26] = letter & design.clear[3:19, 10:26]
    np.testing.assert_array_equal(seen, wanted)
    assert not np.array_equal(seen, np.fliplr(seen))
    assert wanted.sum() > 40


@both
def test_equal_designs_give_equal_bytes(target, tmp_path):
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files.append(target().write(blazed(), tmp_path / name).files[0])
    assert files[0].read_bytes() == files[1].read_bytes()
    (tmp_path / "c").mkdir()
    other = replace(blazed(), height=blazed().height[:, ::-1])
    assert target().write(other, tmp_path / "c").files[0].read_bytes() != files[0].read_bytes()


@both
def test_area_of_each_layer_is_that_of_its_cells(target, tmp_path):
    design = blazed()
    chosen = target(levels=16, marks=False, witness=False)
    written = chosen.write(design, tmp_path)
    for b, cells in enumerate(chosen.relief_levels().etched(design)):
        _, polygons = flat(written.files[0], b + 1)
        # gdstk computes in um: a million roundings of 1e-16 at most
        assert sum(p.area() for p in polygons) == pytest.approx(16.0 * cells.sum(), rel=1e-9)


@both
@pytest.mark.parametrize("options", [{}, {"layers": "level"}, {"copy_columns": 2}])
def test_klayout_finds_the_same_area_and_no_overlap(target, options, tmp_path):
    kdb = pytest.importorskip("klayout.db")
    design = blazed()
    written = target(**options).write(design, tmp_path)
    layout = kdb.Layout()
    layout.read(str(written.files[0]))
    assert layout.dbu == pytest.approx(1e-3, rel=1e-12)
    top = layout.top_cell()
    cells = target(**options)._etched(design)
    for etch, wanted in cells:
        layer = layout.layer(etch.layer, 0)
        drawn = kdb.Region(top.begin_shapes_rec(layer))
        drawn.merged_semantics = False
        merged = kdb.Region(top.begin_shapes_rec(layer)).merged()
        # shapes that overlapped would have more area before merging
        assert drawn.area() == merged.area()
        copy = written.notes["copies"][-1]
        x, y = (round(copy[k] * 1e9) for k in ("x_m", "y_m"))
        window = kdb.Region(kdb.Box(x - 28 * 4000, y - 20 * 4000, x + 28 * 4000, y + 20 * 4000))
        assert (merged & window).area() == int(wanted.sum()) * 4000**2


def test_every_etch_layer_has_marks_that_stay_clear_of_the_mask_and_within_the_street(tmp_path):
    design = blazed()
    written = Gds(levels=16, street=80e-6).write(design, tmp_path)
    path, notes = written.files[0], written.notes
    street, _ = flat(path, notes["street_layer"])
    half = street[:, 2:].max(0)
    inner = half - 80_000
    for etch in notes["etches"]:
        boxes, _ = flat(path, etch["layer"])
        inside = (np.abs(boxes) <= np.tile([28 * 4000 + 1, 20 * 4000 + 1], 2)).all(1)
        beside = boxes[~inside]
        gap = np.maximum(
            np.maximum(beside[:, 0], -beside[:, 2]) - 28 * 4000,
            np.maximum(beside[:, 1], -beside[:, 3]) - 20 * 4000,
        )
        assert gap.min() >= 100_000 - 1e-3  # the margin; nm in floating-point um
        assert (np.abs(beside) <= np.tile(inner, 2) - 100_000 + 1e-3).all()
        # a cross or its outline, and a scale, on the left and on the right
        assert (beside[:, 2] < -28 * 4000).sum() >= 3
        assert (beside[:, 0] > 28 * 4000).sum() >= 3


@pytest.mark.parametrize("layer", [2, 3])
def test_a_layer_displaced_by_three_tenths_of_a_micrometre_reads_three(layer, tmp_path):
    path = Gds().write(blazed(), tmp_path).files[0]
    bars = []
    for k in (1, layer):
        boxes = np.rint(flat(path, k)[0]).astype(int)
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        tall = (width == 4000) & np.isin(height, [24_000, 32_000, 40_000])
        bars.append(boxes[tall & (boxes[:, 0] > 28 * 4000)])
    main, secondary = bars
    main = main[np.isin(main[:, 1], secondary[:, 3].max() + 2000)]  # across the line of this scale
    assert len(main) == len(secondary) == 21
    zero = main[(main[:, 3] - main[:, 1]).argmax(), 0]
    moved = set((secondary[:, 0] + 300).tolist())
    assert [(x - zero) // 8000 for x in main[:, 0] if x in moved] == [3]


def test_the_staircase_holds_every_depth_once(tmp_path):
    written = Gds(marks=False).write(blazed(), tmp_path)
    depth = {}
    for etch in written.notes["etches"]:
        for left, lower, right, upper in np.rint(flat(written.files[0], etch["layer"])[0]):
            if (right - left, upper - lower) == (50_000, 100_000):
                depth[left] = depth.get(left, 0) + etch["depth_nm"]
    step = written.notes["etches"][0]["depth_nm"]
    np.testing.assert_allclose([depth[x] for x in sorted(depth)], step * np.arange(1, 8))


def test_depths_of_the_table_add_up_to_the_relief():
    design = blazed()
    for options in ({"levels": 16, "waves": 2}, {"levels": 16, "waves": 2, "layers": "level"}):
        table = Gds(**options)._etch_table(design)
        relief = 2 * 15 / 16 * design.turn_height * 1e9
        assert table[-1]["cumulative_nm"] == pytest.approx(relief, rel=1e-12)  # rounding
    assert [row["depth_nm"] / table[0]["depth_nm"] for row in table] == pytest.approx(range(1, 16))


def test_each_copy_has_its_datatype_and_dose_and_the_middle_one_the_nominal(tmp_path):
    design = blazed()
    written = Gds(copy_columns=3, dose_step=0.1, levels=2).write(design, tmp_path)
    copies = written.notes["copies"]
    assert [copy["dose_ratio"] for copy in copies] == pytest.approx([0.9, 1.0, 1.1])
    for copy in copies[1:]:
        boxes, _ = flat(written.files[0], 1, copy["datatype"])
        middle = (boxes[:, [0, 1]].min(0) + boxes[:, [2, 3]].max(0)) / 2
        # the mask is smaller than a copy: off by less than half of it
        assert np.abs(middle - [copy["x_m"] * 1e9, copy["y_m"] * 1e9]).max() < 28 * 4000


def test_copies_keep_the_gap_between_their_streets(tmp_path):
    written = Gds(copy_rows=2, copy_columns=2, copy_gap=70e-6).write(blazed(), tmp_path)
    street, _ = flat(written.files[0], written.notes["street_layer"])
    for axis in (0, 1):
        low, high = street[:, axis], street[:, axis + 2]
        assert low[low > 0].min() - high[high < 0].max() == pytest.approx(70_000, abs=2)  # even nm
    assert [copy["name"] for copy in written.notes["copies"]] == ["A1", "A2", "B1", "B2"]
    (a1, a2, b1, _) = written.notes["copies"]
    assert a1["x_m"] < a2["x_m"]
    assert a1["y_m"] > b1["y_m"]


def test_layers_of_documents_never_meet_etch_layers():
    for options in (
        {"levels": 256},
        {"levels": 64, "layers": "level"},
        {"levels": 256, "layers": "level"},
    ):
        target = Gds(**options)
        etched = {etch.layer for etch in target.etches()}
        assert not etched & set(target._documents)
        assert target.layers == "level" or max(target._documents) <= 63  # old programs' last layer


@both
def test_the_estimate_is_what_gets_written(target, tmp_path):
    design = blazed(120, 168)
    for i, options in enumerate(OPTIONS):
        folder = tmp_path / str(i)
        folder.mkdir()
        chosen = target(**options)
        estimate = chosen.estimate(design)
        written = chosen.write(design, folder)
        size = written.files[0].stat().st_size
        assert estimate.items == written.notes["polygons"]
        if target is Gds:
            assert estimate.size == size
        else:
            assert size / 2 < estimate.size < 2 * size + 4000  # compression differs by mask


def test_noise_is_pointed_to_oasis_and_a_file_too_large_is_announced(monkeypatch):
    noise = design_of(np.random.default_rng(2).random((60, 70)) * 540e-9 / 0.4604)
    monkeypatch.setattr(gds, "_MANY", 1000)  # in proportion to a map that is quick to count
    assert "target=oasis" in Gds().estimate(noise).remark
    assert not Gds().estimate(design_of(np.zeros((60, 70)))).remark
    assert not Oasis().estimate(noise).remark
    monkeypatch.setattr(gds_records, "LARGEST", 50_000)
    assert "refused" in Gds().estimate(noise).remark


@both
def test_a_file_that_was_tampered_with_is_refused(target, tmp_path):
    chosen = target(marks=False, witness=False)
    written = chosen.write(blazed(), tmp_path)
    path = written.files[0]
    library = read(path)
    (mask,) = [cell for cell in library.cells if cell.name == "MASK"]
    edges = [p.bounding_box() for p in mask.polygons if p.layer == 1]
    (left, lower), (right, upper) = edges[0]
    bad = {
        "overlap": gdstk.rectangle((left, lower), (right, upper), layer=1),
        "between": gdstk.rectangle((-111, 70), (-110, 71), layer=1),
        "across": gdstk.rectangle((-116, 72), (-108, 76), layer=1),
        "no rectangles": gdstk.Polygon([(-112, 72), (-108, 72), (-112, 76)], layer=1),
    }
    for message, polygon in bad.items():
        mask.add(polygon)
        if target is Gds:
            library.write_gds(path)
        else:
            library.write_oas(path, validation="crc32")
        with pytest.raises(HardwareError, match=message):
            chosen.read(tmp_path, written)
        mask.remove(polygon)


def test_a_damaged_oasis_file_is_told_by_its_check_sum(tmp_path):
    written = Oasis().write(blazed(), tmp_path)
    data = bytearray(written.files[0].read_bytes())
    data[len(data) // 2] ^= 1
    written.files[0].write_bytes(data)
    with pytest.raises(HardwareError, match="check sum"):
        Oasis().read(tmp_path, written)


def test_the_database_unit_is_the_coarsest_that_holds_the_cells():
    assert Grid.of(blazed(cell=4e-6)).parts == 1
    assert Grid.of(blazed(33, 41, cell=3e-9 * 1001)).parts == 10  # odd: the middle is at half a nm
    assert Grid.of(blazed(cell=3e-9 * 1001)).parts == 1  # even: the middle is an edge of cells
    assert Grid.of(blazed(cell=1.2345e-6)).parts == 10
    assert Grid.of(blazed(33, 41, cell=1.23456e-6)).parts == 100


@pytest.mark.parametrize("cell", [1e-6 / 3, 4.000001e-6, 1e-12])
def test_cells_that_no_layout_holds_are_refused_with_a_length_that_fits(cell):
    with pytest.raises(ValueError, match=r"hundredths of a nm.*use [0-9.]+ nm"):
        Gds().meant(blazed(cell=cell))


def test_a_layout_wider_than_its_numbers_is_refused(tmp_path):
    with pytest.raises(ValueError, match="use fewer copies"):
        Gds(copy_columns=50, copy_gap=0.1).write(blazed(), tmp_path)
    with pytest.raises(ValueError, match="at most"):
        # with 0.01 nm, 21 mm in all
        Grid.of(design_of(np.zeros((2, 2001)), cell=20.00002e-6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 6}, "levels = 6"),
        ({"layers": "grey"}, "layers = 'grey'"),
        ({"margin": 100.0}, "margin = 100 m"),
        ({"street": -1e-6}, "street"),
        ({"vernier": 1e-6}, "vernier"),
        ({"label": "mäsk"}, "label"),
        ({"copy_rows": 0}, "copy_rows"),
        ({"copy_columns": 30, "dose_step": 0.1}, "dose_step"),
        ({"dose_step": float("nan")}, "dose_step"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Gds(**options)
