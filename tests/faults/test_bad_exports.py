"""Mistakes in exporting a mask: one line each, and nothing left behind."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments import export
from experiments.exporting import write_files
from experiments.store import ArtifactError, ResourceError
from hardware.errors import DesignRuleError
from hardware.fabrication.design import HeightMap
from hardware.fabrication.findings import Report
from hardware.fabrication.rules import Process
from hardware.fabrication.sag import Sag
from hardware.fabrication.sidecar import read_sidecar
from tests.experiments.calling import caller
from tests.hardware.fabrication.designs import blazed, design_of

CELL = 4e-6


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    """Run the export job in an empty folder; return exit code, output and errors."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return caller("export", export, place, monkeypatch, capsys)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Folder of surfaces from elsewhere, good ones and all kinds of bad ones."""
    place = tmp_path_factory.mktemp("surfaces")
    good = blazed(40, 56).height

    def save(name, height, spacing=CELL, **more):
        np.savez(place / f"{name}.npz", height_m=height, spacing_m=spacing, **more)

    def changed(value):
        height = good.copy()
        height[3, 5] = value
        return height

    save("good", good)
    save("nan", changed(np.nan))
    save("infinite", changed(np.inf))
    save("negative_pitch", good, -CELL)
    save("zero_pitch", good, 0.0)
    save("endless_pitch", good, np.nan)
    save("kilometre", good, 1e3)
    save("oblong", good, (CELL, 2 * CELL))
    save("three_pitches", good, (CELL, CELL, CELL))
    save("line", good[0])
    save("empty_map", np.zeros((0, 0)))
    save("single", np.zeros((1, 1)))
    save("stack", np.stack([good, good]))
    save("million", np.zeros((2, 1_000_000), np.float32))
    save("flat", np.zeros((40, 56)))
    save("deep", np.linspace(0, 12e-6, 40)[:, None] * np.ones((40, 56)))
    save("text", np.full((40, 56), "high"))
    np.savez(place / "no_spacing.npz", height_m=good)
    np.savez(place / "other_names.npz", z=good, dx=CELL)
    (place / "void.npz").write_bytes(b"")
    whole = (place / "good.npz").read_bytes()
    (place / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (place / "picture.npz").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)))
    (place / "no_unit.csv").write_text("x,y,z\n0,0,0\n1,0,0\n0,1,0\n1,1,0\n")
    for name, text in {
        "falling": "depth_nm,grey\n0,0\n500,100\n400,200\n9000,255\n",
        "turning": "depth_nm,grey\n0,0\n500,200\n900,100\n9000,255\n",
        "short": "depth_nm,grey\n0,0\n300,255\n",
        "words": "depth_nm,grey\n0,0\ndeep,255\n",
    }.items():
        (place / f"{name}.csv").write_text(text)
    return place


# words, code, what the message names, what it says; {} is the folder of the surfaces
SURFACES = [
    ("nan", 2, "height[3, 5] = nan", "fill the gaps"),
    ("infinite", 3, "infinite", "1 heights"),
    ("negative_pitch", 3, "spacing_x = -4e-06", "0.1 nm to 100 mm"),
    ("zero_pitch", 3, "spacing_x = 0 m", "0.1 nm to 100 mm"),
    ("endless_pitch", 3, "spacing_x = nan", "0.1 nm to 100 mm"),
    ("kilometre", 3, "spacing_x = 1000 m", "check the"),
    ("oblong", 2, "surface = oblong.npz", "square cells"),
    ("three_pitches", 3, "spacing_m has 3 numbers", "one for x and one for y"),
    ("line", 3, "(56,)", "2 x 2"),
    ("empty_map", 3, "(0, 0)", "2 x 2"),
    ("single", 3, "(1, 1)", "2 x 2"),
    ("stack", 3, "(2, 40, 56)", "2 x 2"),
    ("million", 3, "(2, 1000000)", "32768"),
    ("text", 3, "text.npz", "high"),
    ("no_spacing", 3, "spacing_m is missing", "height_m (H, W)"),
    ("other_names", 3, "height_m, spacing_m is missing", "it holds z, dx"),
    ("void", 3, "void.npz", "cut short"),
    ("cut", 3, "cut.npz", "no readable .npz"),
    ("picture", 3, "picture.npz", "no text in UTF-8"),
    ("no_unit.csv", 3, "no_unit.csv", "unit"),
    ("nowhere", 3, "nowhere.npz", "No such file"),
]
GOOD = "surface={}/good.npz"
SETTINGS = [
    ([], 2, "needs the mask", "one of them"),
    ([GOOD, "run=latest"], 2, "needs the mask", "one of them"),
    (["run=latest"], 4, "run = latest", "there are: shipped"),
    (["run=elsewhere"], 4, "run = elsewhere", "no run of codesign"),
    ([GOOD, "target=gerber"], 2, "target = gerber", "gds"),
    ([GOOD, "process=magic"], 2, "process = magic", "binary_optics"),
    ([GOOD, "faces=up"], 2, "faces = 'up'", "object or sensor"),
    ([GOOD, "target=zemax", "target.faces=sensor"], 2, "target.faces = 'sensor'", "set faces"),
    ([GOOD, "surface_material=butter"], 2, "butter", "fused_silica"),
    ([GOOD, "surface_wavelength=540"], 2, "surface_wavelength", "has no unit"),
    ([GOOD, "surface_wavelength=540 mm"], 2, "0.54", "wavelength"),
    ([GOOD, "name=my mask"], 2, "name = 'my mask'", "letters, digits"),
    ([GOOD, "name="], 2, "name = ''", "letters, digits"),
    ([GOOD, "target.levels=6"], 2, "levels = 6", "2, 4, 8"),
    ([GOOD, "target.levels=0"], 2, "levels = 0", "2, 4, 8"),
    ([GOOD, "target.levels=512"], 2, "levels = 512", "128, 256"),
    ([GOOD, "target.levels=8.5"], 2, "target.levels", "whole number"),
    ([GOOD, "target.waves=0"], 2, "waves = 0", "at least 1"),
    ([GOOD, "target.layers=all"], 2, "target.layers", "bit, level"),
    ([GOOD, "target.margin=4"], 2, "target.margin", "has no unit"),
    ([GOOD, "target.margin=4 kg"], 2, "target.margin", "nm, um, mm, cm or m"),
    ([GOOD, "target.margin=-4 um"], 2, "margin = -4", "1e-05 m to 0.1 m"),
    ([GOOD, "target.dose_step=1 mm"], 2, "target.dose_step", "expected a number"),
    ([GOOD, "target.copy_rows=1000000000"], 2, "copy_rows", "1000000000"),
    ([GOOD, "target.label=Maske für Łódź"], 2, "label", "für"),
    ([GOOD, "target.colour=red"], 2, "target.colour", "not a setting"),
    ([GOOD, "target=sag", "target.levels=8"], 2, "target.levels", "not a setting"),
    ([GOOD, "target=sag", "target.format=xls"], 2, "target.format", "csv"),
    ([GOOD, "target=stl", "target.base_thickness=0 mm"], 2, "base_thickness = 0", "1e-6 to 0.1"),
    ([GOOD, "target=stl", "target.tiles=20"], 2, "tiles = 20", "at most 10"),
    ([GOOD, "target=3mf", "target.wall=0.9"], 2, "wall = 0.9", "0.5 of a cell"),
    ([GOOD, "target=greyscale", "target.bits=12"], 2, "bits = 12", "8 or 16"),
    (["surface={}/flat.npz", "target=greyscale"], 2, "full_depth", "flat"),
    ([GOOD, "target=greyscale", "target.curve={}/falling.csv"], 5, "falling.csv", "depth_nm"),
    ([GOOD, "target=greyscale", "target.curve={}/turning.csv"], 5, "turning.csv", "grey"),
    ([GOOD, "target=greyscale", "target.curve={}/short.csv"], 2, "300 nm", "reaches further"),
    ([GOOD, "target=greyscale", "target.curve={}/words.csv"], 5, "words.csv", "deep"),
    ([GOOD, "target=greyscale", "target.curve={}/gone.csv"], 5, "gone.csv", "No such file"),
    ([GOOD, "target=slm", "target.columns=16", "target.rows=9"], 2, "panel", "smaller mask"),
    ([GOOD, "target=slm", "target.resample=refuse"], 2, "resample = 'refuse'", "pitch"),
    ([GOOD, "target=slm", "target.pixel_pitch=1 km"], 2, "target.pixel_pitch", "cm or m"),
    ([GOOD, "target=slm", "target.pixel_pitch=1000 m"], 2, "pixel_pitch = 1000", "1e-3"),
    ([GOOD, "target=slm", "target.lut={}/gone.csv"], 5, "gone.csv", "No such file"),
    ([GOOD, "target=mirror", "target.modes=[]"], 2, "modes = []", "from 2 on"),
    ([GOOD, "target=mirror", "target.modes=[1]"], 2, "modes = [1]", "from 2 on"),
    ([GOOD, "target=mirror", "target.modes=[4,4]"], 2, "modes = [4, 4]", "different"),
    ([GOOD, "target=mirror", "target.actuators=1000"], 2, "actuators = 1000", "3 to 64"),
    ([GOOD, "target=zemax", "target.modes=0"], 2, "modes = 0", "Noll"),
    ([GOOD, "process.min_feature=0 um"], 2, "min_feature = 0", "null"),
    ([GOOD, "process.min_feature=1 s"], 2, "process.min_feature", "cm or m"),
    ([GOOD, "process.max_levels=1"], 2, "max_levels = 1", "at least 2"),
    ([GOOD, "process.max_aspect=-1.0"], 2, "max_aspect = -1", "positive"),
    ([GOOD, "corners.etch_scale=[5.0]"], 2, "corners.etch_scale = 5", "below 1"),
    ([GOOD, "corners.blur=['-1 um']"], 2, "corners.blur = -1e-06", "zero or more"),
    ([GOOD, "corners.overlay=['0.5']"], 2, "corners.overlay[0]", "has no unit"),
    ([GOOD, "pictures=1"], 2, "pictures = 1", "pictures >= 2"),
    ([GOOD, "nodes=1"], 2, "nodes = 1", "nodes >= 3"),
    ([GOOD, "force=perhaps"], 2, "force", "true or false"),
    ([GOOD, "resume=true"], 2, "resume", "not a setting"),
]
CASES = [([f"surface={{}}/{s if '.' in s else s + '.npz'}"], *rest) for s, *rest in SURFACES]
CASES += SETTINGS


def case(index, words, code, names, says):
    # every case takes a quarter of a second; those left out take half a minute with -m slow
    quick = index % (2 if index < len(SURFACES) else 3) == 0
    marks = [] if quick else [pytest.mark.slow]
    return pytest.param(words, code, names, says, id=" ".join(words) or "nothing", marks=marks)


@pytest.mark.parametrize(
    ("words", "code", "names", "says"), [case(n, *one) for n, one in enumerate(CASES)]
)
def test_a_bad_input_is_one_line_that_names_it(lab, tmp_path, stored, words, code, names, says):
    place = tmp_path / "here"
    quoted = [_quoted(word.replace("{}", str(stored))) for word in words]
    output = lab(*quoted)
    assert output[2].startswith("error: ")
    assert (output[0], output[1]) == (code, "")
    assert names in output[2]
    assert says in output[2]
    assert output[2].count("\n") == 1
    assert list(place.iterdir()) == []


def _quoted(word):
    key, _, value = word.partition("=")
    return word if value[:1] == "[" or " " not in value else f"{key}='{value}'"


@pytest.mark.parametrize("force", [False, True])
def test_broken_rules_leave_a_page_that_shows_where_or_files_marked_as_failed(lab, stored, force):
    words = [f"surface={stored}/deep.npz", "target=sag", "target.format=npz"]
    code, _, errors = lab(*words, f"force={str(force).lower()}", "hydra.run.dir=out")
    numbers = json.loads(Path("out/metrics.json").read_text())
    page = Path("out/report.html").read_text()
    assert numbers["rules/failed"] == 1
    # 12 um over 40 rows in steps of 12 / 39 um: from row 27 on, more than 8 um above the lowest
    y, x = np.mgrid[-19.5:20, -27.5:28]
    lowest = 12 / 39 * np.nonzero(np.hypot(x, y) <= 20)[0].min()
    high = (12 / 39 * (y + 19.5) > lowest + 8.001) & (np.hypot(x, y) <= 20)
    assert f"{high.sum()} cells that break a rule are in pink" in page
    assert "max_height" in page
    assert "broken" in page
    if force:
        assert (code, errors) == (0, "")
        sheet = read_sidecar(Path("out/mask/mask.json"))
        assert sheet["failed"] is True
        assert len(sheet["target"]["notes"]["failed"]) == 1
    else:
        assert code == 2
        assert errors.startswith("error: the design breaks the rules of its process. max_height")
        assert errors.count("\n") == 1
        assert not Path("out/mask").exists()
        assert "Not written: 1 design rules are broken" in page
    assert not list(Path("out").glob(".*.part"))


class Full(Sag):
    """A disk that fills up after the first file."""

    def write(self, design, folder):
        super().write(design, folder)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Forgetful(Sag):
    """A file in which one cell in the middle lies 1 nm too high."""

    def read(self, folder, written):
        found = super().read(folder, written)
        height = found.height.copy()
        height[20, 30] += 1e-9
        return HeightMap(height, found.spacing)


class Stopped(Sag):
    """A writer that is interrupted."""

    def write(self, design, folder):
        super().write(design, folder)
        raise KeyboardInterrupt


class Wrong(Sag):
    """A reader that finds another number of samples."""

    def read(self, folder, written):
        return HeightMap(np.zeros((4, 5)), CELL)


def export_to(folder, target, *, faces="object", force=False, report=None):
    report = report or Report(())
    return write_files(target, blazed(40, 56), report, folder, faces=faces, force=force)


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (Full(), ResourceError, "No space left on device"),
        (Forgetful(), ArtifactError, "1 cells came back wrong, by 1e-09 m"),
        (Stopped(), KeyboardInterrupt, None),
        (Wrong(), ValueError, "(4, 5) samples were read back, (40, 56) were meant"),
    ],
    ids=["full", "forgetful", "stopped", "wrong"],
)
def test_a_failure_half_way_leaves_nothing(tmp_path, target, error, says):
    with pytest.raises(error, match=says and re.escape(says)):
        export_to(tmp_path / "mask", target)
    assert list(tmp_path.iterdir()) == []


def test_cells_that_came_back_wrong_are_marked_by_force(tmp_path):
    exported = export_to(tmp_path / "mask", Forgetful(), force=True)
    assert not exported.trip.exact
    sheet = read_sidecar(exported.folder / "mask.json")
    assert sheet["failed"] is True
    assert sheet["round_trip"]["cells_off"] == 1
    assert "1 cells" in sheet["target"]["notes"]["failed"][0]


@pytest.mark.parametrize("step", ["mkdir", "rename"])
def test_a_folder_that_may_not_be_written_is_said_and_left_alone(tmp_path, monkeypatch, step):
    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, step, refuse)  # root may write everywhere
    with pytest.raises(ResourceError, match=r"mask could not be written: Permission denied"):
        export_to(tmp_path / "mask", Sag())
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_too_little_room_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ResourceError, match="free space"):
        export_to(tmp_path / "mask", Sag())
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_are_not_written_over(tmp_path):
    first = export_to(tmp_path / "mask", Sag())
    before = {p.name: p.read_bytes() for p in first.folder.iterdir()}
    with pytest.raises(ResourceError, match="is there already"):
        export_to(tmp_path / "mask", Sag(format="npz"))
    assert {p.name: p.read_bytes() for p in first.folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["mask"]


def test_what_a_killed_export_left_is_cleared_away(tmp_path):
    (tmp_path / ".mask.part").mkdir()
    (tmp_path / ".mask.part" / "old.gds").write_bytes(b"half")
    exported = export_to(tmp_path / "mask", Sag())
    assert [p.name for p in tmp_path.iterdir()] == ["mask"]
    assert sorted(p.name for p in exported.folder.iterdir()) == ["mask.h5", "mask.json"]


@pytest.mark.parametrize("faces", ["up", "Object", None])
def test_an_unknown_side_is_refused(tmp_path, faces):
    with pytest.raises(ValueError, match="object or sensor"):
        export_to(tmp_path / "mask", Sag(), faces=faces)
    assert list(tmp_path.iterdir()) == []


def test_broken_rules_are_refused_before_a_folder_is_made(tmp_path):
    report = Process(max_size=100e-6).check(blazed(40, 56))
    with pytest.raises(DesignRuleError, match=r"size = 224 um, allowed is 100 um"):
        export_to(tmp_path / "mask", Sag(), report=report)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"diameter": 161e-6}, "larger than the map of 0.224 x 0.16 mm"),
        ({"diameter": -1e-3}, "diameter = -0.001"),
        ({"wavelength": 540.0}, "wavelength = 540 m: 0.1 um to 20 um"),
        ({"wavelength": float("nan")}, "wavelength = nan"),
        ({"index": 1.0}, "index = 1: a number above 1"),
        ({"cell": 0.0, "diameter": 1e-4}, "spacing = 0 m"),
        ({"cell": -4e-6, "diameter": 1e-4}, "spacing = -4e-06 m"),
        ({"height": np.zeros(7)}, "(7,)"),
        ({"height": np.zeros((0, 4)), "diameter": 1e-4}, "(0, 4)"),
        ({"height": np.full((3, 4), -np.inf)}, "height[0, 0] = -inf m, and 11 more"),
        ({"height": np.zeros((2, 32769))}, "at most 32768 cells"),
    ],
)
def test_a_design_that_cannot_be_made_is_refused(change, says):
    change = {"height": blazed(40, 56).height} | change
    with pytest.raises(ValueError, match=re.escape(says)):
        design_of(change.pop("height"), **change)
