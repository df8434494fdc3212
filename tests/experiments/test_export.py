"""The export job from its command line, and a finished run through the mask of its files."""

import json
import os
import re
from pathlib import Path

import klayout.db as layout
import numpy as np
import pytest

from experiments import export
from experiments.preview import SHOWN
from hardware.fabrication.levels import Levels
from hardware.fabrication.sidecar import read_sidecar
from tests.experiments.calling import caller
from tests.experiments.tiny_codesign import ROOT
from tests.hardware.fabrication.designs import blazed, design_of

CELL = 4e-6


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    """Run the export job in an empty folder; return exit code, output and errors."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return caller("export", export, tmp_path, monkeypatch, capsys)


@pytest.fixture
def surface(tmp_path):
    path = tmp_path / "relief.npz"
    np.savez(path, height_m=blazed(40, 56).height, spacing_m=CELL)
    return path


def test_a_surface_from_elsewhere_becomes_masks_that_a_second_program_reads(lab, surface):
    words = [f"surface={surface}", "target.levels=4", "process.min_feature=null", "name=prism"]
    code, output, errors = lab(*words, "faces=sensor", "hydra.run.dir=out")
    assert (code, errors) == (0, "")
    assert output.endswith("out\n")
    assert json.loads(Path("out/run.json").read_text())["state"] == "finished"
    sheet = read_sidecar(Path("out/mask/mask.json"))
    made = sheet["design"]
    assert (made["rows"], made["columns"], made["name"]) == (40, 56, "prism")
    assert made["material"] == "fused_silica"
    assert made["clear_diameter_m"] == pytest.approx(40 * CELL)
    assert [e["cumulative_depth_nm"] for e in sheet["levels"]["etches"]] == pytest.approx(
        [made["turn_height_m"] * 1e9 / 4, made["turn_height_m"] * 1e9 * 3 / 4]
    )
    numbers = json.loads(Path("out/metrics.json").read_text())
    assert numbers["rules/failed"] == numbers["readback/area_error_cells"] == 0
    assert numbers["bytes"] == sum(p.stat().st_size for p in Path("out/mask").iterdir())
    # KLayout on the file: the area of every etch within the map is that of its cells
    design = design_of(blazed(40, 56).height, index=made["index_ratio"]).as_seen("sensor")
    etched = Levels(4).etched(design)
    (file,) = Path("out/mask").glob("*.gds")
    read = layout.Layout()
    read.read(str(file))
    areas = {round(area) for area in _areas_within_the_map(read)}
    for etch in etched:
        assert round(float(etch.sum()) * (CELL * 1e6) ** 2) in areas


def _areas_within_the_map(read):
    """Areas [um2] of every layer within the 224 x 160 um of the map, which lies in the middle."""
    unit = read.dbu
    half = [round(n * CELL * 1e6 / 2 / unit) for n in (56, 40)]
    window = layout.Region(layout.Box(-half[0], -half[1], half[0], half[1]))
    for index in read.layer_indexes():
        shapes = layout.Region(read.top_cell().begin_shapes_rec(index))
        yield (shapes & window).merged().area() * unit**2


def test_the_page_shows_relief_rules_etches_and_the_hashes_of_the_files(lab, surface):
    words = [f"surface={surface}", "process.min_feature=null", "process.min_gap=null"]
    assert lab(*words, "hydra.run.dir=out")[0] == 0
    page = Path("out/report.html").read_text()
    headings = re.findall(r"<h2[^>]*>(?:<[^>]+>)*([^<]+)", page)
    assert [h.strip() for h in headings][:4] == ["Relief", "Design rules", "Etches", "Files"]
    for entry in read_sidecar(Path("out/mask/mask.json"))["files"]:
        assert entry["name"] in page
        assert entry["sha256"][:16] in page
    assert "read back exactly" in page
    figures = {path.stem for path in Path("out/figures").iterdir()}
    assert {"relief", "etches", "read_back"} <= figures


def test_the_same_export_twice_gives_the_same_files(lab, surface):
    for name in ("one", "two"):
        words = [
            f"surface={surface}",
            "target=3mf",
            "process=two_photon",
            "process.max_aspect=100.0",
        ]
        assert lab(*words, f"hydra.run.dir={name}")[0] == 0
    one, two = ({p.name: p.read_bytes() for p in Path(n, "mask").iterdir()} for n in ("one", "two"))
    assert one == two


def test_a_second_export_into_the_same_folder_is_refused(lab, surface):
    words = [f"surface={surface}", "target=sag", "hydra.run.dir=out"]
    assert lab(*words)[0] == 0
    before = {p.name: p.read_bytes() for p in Path("out/mask").iterdir()}
    code, _, errors = lab(*words)
    assert code != 0
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert {p.name: p.read_bytes() for p in Path("out/mask").iterdir()} == before


@pytest.mark.slow
def test_a_finished_run_through_the_mask_of_its_files(lab, finished_run):
    """A mask that was not rounded has the design's own numbers; errors change them."""
    words = ["device=cpu", "progress=false", f"run={finished_run}", "pictures=6", "nodes=3"]
    words += [f"cache={finished_run.parent / 'cache'}", "target=sag", "process.max_aspect=100.0"]
    words += [f"weights_path=[{ROOT / 'anonymizer/weights'}]", "process.max_height=null"]
    code, _, errors = lab(*words, "corners.blur=['2 um']", "hydra.run.dir=out")
    assert (code, errors) == (0, "")
    numbers = json.loads(Path("out/metrics.json").read_text())
    shared = [key for key in SHOWN if f"design/{key}" in numbers]
    assert len(shared) >= 4
    for key in shared:
        assert numbers[f"as exported/{key}"] == numbers[f"design/{key}"]
    for corner in ("depth -5%", "depth +5%", "blur 2 um"):
        assert any(numbers[f"{corner}/{key}"] != numbers[f"design/{key}"] for key in shared)
