"""Masks on their way out: every format through the real configs, both sides, twice the same."""

import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import yaml

from configs.quantities import parse_quantity
from experiments.composing import compose
from experiments.exporting import as_mask, as_meant, design_of, options_of, write_files
from experiments.preview import as_made, corners
from experiments.settings import build, to_si
from hardware.fabrication.design import HeightMap
from hardware.fabrication.findings import Report
from hardware.fabrication.gds import Gds
from hardware.fabrication.levels import Levels
from hardware.fabrication.outline import Outline
from hardware.fabrication.rules import Process
from hardware.fabrication.sag import Sag
from hardware.fabrication.sidecar import read_sidecar
from hardware.fabrication.slm import Slm
from optics import Errors, GivenSurface
from tests.experiments.tiny_codesign import REFERENCE, ROOT, tiny_camera
from tests.hardware.fabrication.designs import blazed

TARGETS = sorted(path.stem for path in (ROOT / "configs/target").glob("*.yaml"))
PROCESSES = sorted(path.stem for path in (ROOT / "configs/process").glob("*.yaml"))
SMALLER = {"slm": ["target.columns=192", "target.rows=108"], "mirror": ["target.samples=24"]}
#: Files that are the same whichever way the relief faces: what a device shows along the light,
#: and outlines, which do not know the relief. Lens design files differ by the sign of their sag.
SAME_FILES = {"slm", "mirror", "dxf"}


def target_of(name, faces="object"):
    words = [f"target={name}", f"faces={faces}", *SMALLER.get(name, ())]
    return build(to_si(compose("export", words))["target"])


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def export(target, folder, faces="object", design=None):
    design = design or blazed(40, 56)
    return write_files(target, design, Report(()), folder, faces=faces, force=False)


# formats


@pytest.mark.parametrize("name", TARGETS)
def test_every_format_comes_back_exactly_from_both_sides_and_twice_the_same(tmp_path, name):
    target = target_of(name)
    along = export(target, tmp_path / "object")
    again = export(target, tmp_path / "again")
    other = replace(target, faces="sensor") if hasattr(target, "faces") else target
    behind = export(other, tmp_path / "sensor", "sensor")
    assert contents(along.folder) == contents(again.folder)
    for exported, faces in ((along, "object"), (behind, "sensor")):
        assert exported.trip.exact
        sheet = read_sidecar(exported.folder / "mask.json")
        assert sheet["target"]["name"] == name
        assert sheet["target"]["notes"]["relief_faces"] == faces
        assert sheet["failed"] is False
        listed = {entry["name"] for entry in sheet["files"]}
        assert listed | {"mask.json"} == set(contents(exported.folder))
        assert exported.size == sum(map(len, contents(exported.folder).values()))
    # the mirror is undone, so what the light meets is the same to half a step of the format
    np.testing.assert_allclose(
        along.found.height, behind.found.height, rtol=0, atol=along.trip.step * 0.5
    )
    assert along.found.spacing == behind.found.spacing
    first, second = contents(along.folder), contents(behind.folder)
    files = set(first) - {"mask.json"}
    assert all((first[f] == second[f]) == (name in SAME_FILES) for f in files)


def test_the_file_of_a_relief_that_faces_the_sensor_is_mirrored_left_to_right(tmp_path):
    design = blazed(40, 56)
    for faces, expected in (("object", design.height), ("sensor", design.height[:, ::-1])):
        exported = export(Sag(format="npz"), tmp_path / faces, faces, design)
        with np.load(exported.folder / "mask.npz") as stored:
            np.testing.assert_array_equal(stored["height_m"], expected)
        notes = read_sidecar(exported.folder / "mask.json")["target"]["notes"]
        assert notes["mirrored"] is (faces == "sensor")


@pytest.mark.parametrize("name", ["zemax", "codev"])
def test_the_sign_of_a_lens_design_file_follows_the_faces_of_the_job(name):
    assert [target_of(name, faces).faces for faces in ("object", "sensor")] == ["object", "sensor"]


@pytest.mark.parametrize("name", PROCESSES)
def test_the_limits_of_a_process_are_those_of_its_file(name):
    text = yaml.safe_load((ROOT / f"configs/process/{name}.yaml").read_text())
    process = build(to_si(compose("export", [f"process={name}"]))["process"])
    assert isinstance(process, Process)
    limits = {key: value for key, value in text.items() if key != "_target_"}
    assert len(limits) >= 3
    for key, value in limits.items():
        expected = parse_quantity(value, "length") if isinstance(value, str) else value
        assert getattr(process, key) == expected


def test_rules_judge_what_the_files_hold_and_not_what_they_stand_for():
    design = blazed(40, 56)
    levels = Levels(4)
    np.testing.assert_array_equal(
        as_meant(design, Gds(levels=4)).height, levels.surface(design).height
    )
    assert as_meant(design, Outline()) is design  # its map of 0 and 1 um is no relief
    # a panel of as many pixels as the mask has cells, but of another size
    assert as_meant(design, Slm(columns=56, rows=40, pixel_pitch=8e-6)) is design
    assert as_meant(design, Slm(columns=56, rows=40, pixel_pitch=4e-6)) is not design


@dataclass(frozen=True)
class Odd(Sag):
    """Options of every kind."""

    units: ClassVar = {"share": "ratio"}

    width: float = 2e-6
    share: float = 0.25
    count: int = 3
    on: bool = True
    nothing: float | None = None
    table: Path | None = Path("/home/someone/secret/table.csv")
    terms: tuple[int, ...] = (2, 3)
    places: tuple[float, ...] = (1e-3, 2e-3)


def test_options_carry_their_unit_and_no_folder_of_the_user():
    assert options_of(Odd(format="csv")) == {
        "format": "csv",
        "width_m": 2e-6,
        "share_ratio": 0.25,
        "count": 3,
        "on": True,
        "nothing": None,
        "table": "table.csv",
        "terms": [2, 3],
        "places_m": [1e-3, 2e-3],
    }


# the mask of the files in the camera


def psf_of(camera):
    with torch.no_grad():
        return camera.psf([REFERENCE])[0]


def test_a_mask_that_was_not_rounded_has_the_psf_of_the_design_to_the_last_bit(tmp_path):
    camera = tiny_camera()
    exported = export(Sag(), tmp_path / "mask", "sensor", design_of(camera, name="tiny"))
    mask = as_mask(exported.found, camera, levels=None)
    assert torch.equal(psf_of(camera.replace(mask=mask)), psf_of(camera))
    untouched = as_made(camera, mask, Errors(), levels=0)
    assert torch.equal(psf_of(untouched), psf_of(camera))


def test_the_design_of_a_camera_says_what_a_maker_has_to_know():
    camera = tiny_camera()
    design = design_of(camera, name="tiny")
    assert design.shape == (50, 50)
    assert (design.spacing, design.diameter) == (8e-6, pytest.approx(0.4e-3))
    assert design.pixelated
    assert design.index == pytest.approx(1.4604, abs=1e-4)  # fused silica at 540 nm, Malitson
    np.testing.assert_array_equal(design.height, camera.mask.height().detach().numpy())


def test_flat_cells_twice_as_wide_diffract_like_pairs_of_cells():
    camera = tiny_camera()
    draw = np.random.default_rng(1).uniform(0, 1e-6, (25, 25))
    wide = as_mask(HeightMap(draw, 16e-6), camera, levels=None)
    assert (wide.pixelated, wide.cell) == (True, 16e-6)
    pairs = GivenSurface(
        torch.from_numpy(draw.repeat(2, 0).repeat(2, 1)),
        cell=8e-6,
        material=camera.mask.material.name,
    )
    one, other = (psf_of(camera.replace(mask=m)) for m in (wide, pairs))
    # single precision; the rim of the stop cuts cells of 16 um more coarsely than those of 8 um
    assert float((one - other).abs().sum() / other.sum()) < 0.05


@pytest.mark.parametrize(("ratio", "flat"), [(1.37, None), (2.51, None), (0.5, None), (1.0, False)])
def test_other_samples_are_a_smooth_surface_fine_enough_for_the_window(ratio, flat):
    camera = tiny_camera()
    count = math.ceil(50 / ratio) + 2
    found = HeightMap(np.zeros((count, count)), ratio * 8e-6)
    x, y = found.axes()
    bowl = 40 * (x[None, :] ** 2 + 2 * y[:, None] ** 2)
    mask = as_mask(replace(found, height=bowl), camera, levels=None, flat=flat)
    assert not mask.pixelated
    columns = mask.height().shape[1]
    assert columns * mask.cell == pytest.approx(count * ratio * 8e-6)
    fine = HeightMap(mask.height().numpy(), mask.cell)
    x, y = fine.axes()
    expected = 40 * (x[None, :] ** 2 + 2 * y[:, None] ** 2)
    inside = np.hypot(x[None, :], y[:, None]) < 0.13e-3
    # a cubic spline is exact for a parabola but for what the flat edge sends in, which falls by
    # 0.27 with every sample; the middle lies at least three samples away from it
    error = np.abs(fine.height - expected)[inside].max()
    assert error < 0.02 * expected.max()
    psf_of(camera.replace(mask=mask))  # refuses a pupil that is sampled too coarsely


@pytest.mark.parametrize("shape", [(40, 60), (60, 41), (41, 60)])
@pytest.mark.parametrize(("flat", "ratio"), [(True, 1.3), (False, 1.3), (False, 0.7)])
def test_of_a_panel_that_is_not_square_the_middle_is_taken(shape, flat, ratio):
    spacing = ratio * 8e-6  # 0.7 is fine enough as it is, 1.3 is halved
    x, y = HeightMap(np.zeros(shape), spacing).axes()
    ramp = x[None, :] + 3 * y[:, None]
    mask = as_mask(HeightMap(ramp, spacing), tiny_camera(), levels=None, flat=flat)
    assert mask.pixelated is flat
    fine = HeightMap(mask.height().numpy(), mask.cell)
    assert fine.shape[0] == fine.shape[1]
    assert fine.size[0] == pytest.approx(min(shape) * spacing)
    across, down = fine.axes()
    error = fine.height - (across[None, :] + 3 * down[:, None])
    middle = error[fine.shape[0] // 4 : -(fine.shape[0] // 4), fine.shape[1] // 4 :][:, :-10]
    # halves of a flat cell lie a quarter of it off the middle, along x and three times along y;
    # a spline keeps a ramp, but for 0.27^10 of what its edge sends in
    assert np.abs(middle).max() < (1.001 * spacing if flat else 1e-3 * spacing)
    assert abs(error.mean()) < 1e-9 * spacing


# errors of the making


def test_corners_are_one_error_each_and_named_after_it():
    found = corners(
        levels=8, etch_scale=[-0.05, 0.051], overlay=[-5e-7, 5e-8], blur=[2e-7, 1.25e-6]
    )
    assert list(found) == [
        "as exported",
        "depth -5%",
        "depth +5.1%",
        "overlay -0.5 um",
        "overlay +0.05 um",
        "blur 0.2 um",
        "blur 1.25 um",
    ]
    assert found["depth +5.1%"].etch_scale == pytest.approx(0.051)
    shifts = found["overlay -0.5 um"].overlay
    assert shifts.shape == (3, 2)  # 8 levels are 3 etches; the first is what others are laid on
    assert shifts.tolist() == [[0, 0], [-5e-7, -5e-7], [-5e-7, -5e-7]]
    assert found["blur 1.25 um"].blur == pytest.approx(1.25e-6)
    no_masks = corners(levels=0, etch_scale=[0.05], overlay=[5e-7], blur=[])
    assert list(no_masks) == ["as exported", "depth +5%"]


def test_every_corner_changes_the_psf():
    camera = tiny_camera()
    design = design_of(camera, name="tiny")
    levels = Levels(8)
    mask = as_mask(levels.surface(design), camera, levels=levels)
    errors = corners(levels=8, etch_scale=[-0.05, 0.05], overlay=[1e-6], blur=[1e-6])
    seen = {n: psf_of(as_made(camera, mask, e, levels=8)) for n, e in errors.items()}
    base = seen.pop("as exported")
    torch.testing.assert_close(base, psf_of(camera.replace(mask=mask)), rtol=0, atol=1e-7)
    for name, psf in seen.items():
        # single-precision noise of a PSF that sums to about 3 is 1e-6
        assert float((psf - base).abs().sum()) > 1e-3, name
    assert not torch.allclose(seen["depth -5%"], seen["depth +5%"], atol=1e-5)


def test_a_depth_corner_scales_the_relief():
    camera = tiny_camera()
    mask = as_mask(HeightMap(camera.mask.height().detach().numpy(), 8e-6), camera, levels=None)
    errors = corners(levels=0, etch_scale=[0.05], overlay=[], blur=[])["depth +5%"]
    made = as_made(camera, mask, errors, levels=0).mask.height()
    # float32 of the scale
    assert float(np.ptp(made.numpy()) / np.ptp(mask.height().numpy())) == pytest.approx(1.05, 1e-6)


# what a Raspberry Pi can import

#: Modules of the fabrication package that need more than numpy.
THIRD_PARTY = {
    "gdstk": ["dies", "etch_masks", "gds", "layout_reader", "marks", "oasis"],
    "tifffile": ["greyscale", "raster", "slm"],
    "scipy": ["relief", "rules"],
    "trimesh": ["mesh"],
    "ezdxf": ["outline"],
    "h5py": ["sag"],
}
_WITHOUT = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name + " is not here", name=name)

sys.meta_path.insert(0, Refuse())
import hardware.fabrication
for found in pkgutil.iter_modules(hardware.fabrication.__path__):
    if found.name not in {left_out!r}:
        importlib.import_module("hardware.fabrication." + found.name)
        print(found.name)
"""


@pytest.mark.parametrize("more", [False, True], ids=["torch", "all but numpy"])
def test_fabrication_imports_where_there_is_no_torch_and_no_matplotlib(more):
    blocked = ["torch", "matplotlib", *(THIRD_PARTY if more else ())]
    left_out = [name for names in THIRD_PARTY.values() for name in names] if more else []
    code = _WITHOUT.format(blocked=blocked, left_out=left_out)
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    expected = {path.stem for path in (ROOT / "hardware/fabrication").glob("[!_]*.py")}
    assert set(found.stdout.split()) == expected - set(left_out)
