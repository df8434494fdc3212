"""The page for the maker: its numbers are those of the design, and odd masks can be drawn."""

import numpy as np
import pytest
import torch

from experiments.exporting import write_files
from experiments.preview import Seen
from experiments.report.export_sheet import _quantity, export_sheet
from experiments.report.sheet import write_sheet
from experiments.store import file_sha256
from hardware.fabrication.findings import Report
from hardware.fabrication.gds import Gds
from hardware.fabrication.rules import Process
from hardware.fabrication.sag import Sag
from tests.hardware.fabrication.designs import blazed, design_of


def tables(sheet):
    return {s.heading: s.tables for s in sheet.sections}


def test_etches_add_up_to_the_relief_of_all_levels_but_one(tmp_path):
    design, target = blazed(40, 56), Gds(levels=8)
    exported = write_files(
        target, design, Report(()), tmp_path / "mask", faces="object", force=False
    )
    sheet = export_sheet(design, target, Process(), Report(()), exported, {})
    found = tables(sheet)
    (etches,) = found["Etches"]
    assert [row[0] for row in etches.rows] == ["etch 1", "etch 2", "etch 3"]
    turn = 540 / 0.4604  # nm
    for row, steps, total in zip(etches.rows, (1, 2, 4), (1, 3, 7), strict=True):
        assert float(row[1]) == pytest.approx(steps * turn / 8, abs=0.051)  # one decimal is shown
        assert float(row[2]) == pytest.approx(total * turn / 8, abs=0.051)
    (files,) = found["Files"]
    names = [row[0] for row in files.rows]
    assert names == sorted(p.name for p in exported.folder.iterdir())
    assert [r[2] for r in files.rows] == [file_sha256(exported.folder / n)[:16] for n in names]
    assert sheet.headline == "mask as gds: read back exactly"


def test_every_broken_rule_is_listed_with_its_first_places_and_what_to_do():
    height = np.zeros((40, 56))
    height[18:20, 25:28] = 9e-6
    design = design_of(height)
    process = Process(max_height=8e-6, max_size=1e-3)
    report = process.check(design)
    sheet = export_sheet(design, Sag(), process, report, None, {})
    assert sheet.headline == "Not written: 1 design rules are broken"
    rules, places = tables(sheet)["Design rules"]
    state = {row[0]: row for row in rules.rows}
    assert state["size"][1:4] == ["kept", "224 um", "1 mm"]
    assert state["max_height"][1:5] == ["broken", "9 um", "8 um", "6"]
    assert state["max_height"][5] != ""
    # column 25 of 56 cells of 4 um lies 2.5 cells left of the middle, row 18 of 40 1.5 above it
    assert places.rows[0] == ["max_height", "18, 25", "-0.0100", "-0.0060"]
    assert len(places.rows) == 6


@pytest.mark.parametrize(
    ("height", "broken"),
    [
        (np.zeros((40, 56)), False),
        (blazed(150, 110).height, True),
        (np.indices((2, 1300)).sum(0) * 1e-8, True),  # thinned out when it is drawn
    ],
    ids=["flat", "tall", "thin"],
)
def test_odd_masks_can_be_drawn(tmp_path, height, broken):
    design = design_of(height)
    process = Process(max_height=1e-9)
    report = process.check(design)
    assert bool(report.failed) is broken
    exported = write_files(Sag(), design, report, tmp_path / "mask", faces="sensor", force=True)
    sheet = export_sheet(design, Sag(), process, report, exported, {})
    assert ("marked as failed" in sheet.headline) is broken
    page = write_sheet(tmp_path, sheet, dpi=40)
    assert page.stat().st_size > 10_000


def test_numbers_of_all_masks_stand_in_one_table_and_a_missing_one_in_none():
    psf = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0))
    metrics = {"landmark_nme": 0.0612, "reid_auc_retrained": 0.6, "reid_auc_retrained_lo": 0.55}
    metrics |= {"reid_auc_retrained_hi": 0.65}
    seen = {
        "design": Seen(psf, metrics | {"psf_energy_inside": 0.9}),
        "as exported": Seen(psf, metrics),
    }
    design = blazed(40, 56)
    sheet = export_sheet(design, Sag(), Process(), Report(()), None, seen)
    (table,) = tables(sheet)["The mask as it will be made"]
    assert table.columns == ["mask", "landmark error", "retrained"]
    assert table.rows == [[name, "0.061", "0.600 [0.550, 0.650]"] for name in seen]


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (5.008e-3, "m", "5.008 mm"),
        (7.038e-6, "m", "7.038 um"),
        (20e-9, "m", "20 nm"),
        (0.0, "m", "0 nm"),
        (-2e-6, "m", "-2 um"),
        (float("inf"), "m", "none"),
        (0.879375, "", "0.8794"),
        (16.0, "", "16"),
        (2e9, "B", "2e+09 B"),
    ],
)
def test_a_quantity_is_said_in_the_unit_that_suits_it(value, unit, said):
    assert _quantity(value, unit) == said
