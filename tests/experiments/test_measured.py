"""A simulated print of known errors: found again, looked through, and better the next time."""

import json
import math
import re

import numpy as np
import pytest
import torch
from scipy import ndimage

from experiments import measured
from experiments.measuring import along_light, compare, made_camera, numbers
from experiments.preview import Seen
from experiments.report.measured_sheet import measured_sheet
from experiments.report.sheet import write_sheet
from hardware.fabrication.design import asymmetric_letter
from hardware.fabrication.measured import Measured
from optics import GivenSurface
from tests.experiments.calling import caller
from tests.experiments.tiny_codesign import REFERENCE, tiny_camera
from tests.hardware.fabrication.designs import design_of

CELL, PITCH, PARTS = 8e-6, 2.5e-6, 8  # cells, points of the scan, parts of a cell in the simulation
SHAPE, FIELD = (60, 72), (216, 250)  # cells of the design, points of the scan
TURN = 540e-9 / 0.4604
SHIFT, TURNED, SIZE, TILT = (11.3e-6, -7.7e-6), 0.018, (1.003, 0.998), (4e-4, -7e-4)
DEPTH, BLUR, NOISE = 0.96, 1.2e-6, 4e-9


def heights(shape=SHAPE, waves=1.0):
    """A relief of slow waves with a letter F in it: no mirror or turn leaves it alone [m]."""
    y, x = np.indices(shape, float)
    turns = 0.9 + 0.5 * np.cos(0.21 * x + 0.09 * y) + 0.3 * np.cos(0.13 * y - 0.05 * x + 1.0)
    letter = asymmetric_letter(32)
    turns[14:46, 20:52][letter] += 0.4
    return waves * turns * TURN / 2


def printed(height):
    """Flat cells in eight parts, too shallow and blurred."""
    fine = np.repeat(np.repeat(height, PARTS, 0), PARTS, 1)
    return DEPTH * ndimage.gaussian_filter(fine, BLUR / CELL * PARTS, mode="nearest")


def scanned(fine, *, field=FIELD, missing=0.03, seed=1):
    """The print under an instrument: every point the mean of 3 x 3 in it, y down."""
    rng = np.random.default_rng(seed)

    def grid(shape, pitch):
        y, x = np.indices(shape, float)
        return (x - (shape[1] - 1) / 2) * pitch, (y - (shape[0] - 1) / 2) * pitch

    x, y = grid((field[0] * 3, field[1] * 3), PITCH / 3)
    c, s = math.cos(TURNED), math.sin(TURNED)
    u, v = x - SHIFT[0], y - SHIFT[1]
    u, v = (c * u + s * v) / SIZE[0], (c * v - s * u) / SIZE[1]
    part = CELL / PARTS
    places = [v / part + (fine.shape[0] - 1) / 2, u / part + (fine.shape[1] - 1) / 2]
    height = ndimage.map_coordinates(fine, places, order=0, mode="nearest")
    height = height.reshape(field[0], 3, field[1], 3).mean((1, 3))
    x, y = grid(field, PITCH)
    height += 2e-6 + TILT[0] * x + TILT[1] * y + rng.normal(size=field) * NOISE
    height[rng.random(field) < missing] = np.nan
    return Measured(height, PITCH, PITCH, "simulated")


def cell_means(fine):
    rows, columns = fine.shape
    return fine.reshape(rows // PARTS, PARTS, columns // PARTS, PARTS).mean((1, 3))


def rms(values):
    return float(np.sqrt(np.mean((values - values.mean()) ** 2)))


def save_npz(path, scan):
    np.savez(path, height_m=scan.height, spacing_m=[scan.spacing_x, scan.spacing_y])


def save_csv(path, scan):
    """A table with y up, as many instruments write it; rows without a height stay empty."""
    x, y = scan.axes()
    x, y = np.meshgrid(x * 1e6, -y * 1e6)
    lines = ["x [um], y [um], z [nm]"]
    for a, b, z in zip(x.flat, y.flat, (scan.height * 1e9).flat, strict=True):
        lines.append(f"{a:.4f},{b:.4f},{'' if np.isnan(z) else f'{z:.3f}'}")
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def print_one():
    design = design_of(heights(), cell=CELL)
    fine = printed(design.height)
    return design, fine, scanned(fine)


@pytest.fixture
def lab(tmp_path, monkeypatch, capsys):
    """Run the job in an empty folder; return exit code, output and errors."""

    def headline(folder, sheet):  # drawing a page takes longer than all the rest
        (folder / "report.html").write_text(sheet.headline)

    monkeypatch.setattr(measured, "write_sheet", headline)

    return caller("measured", measured, tmp_path, monkeypatch, capsys, "max_turn=2 deg")


def stored(path):
    with np.load(path) as arrays:
        return arrays["height_m"], float(arrays["spacing_m"])


def test_a_scan_becomes_the_surface_as_made_and_a_next_print_that_is_better(
    lab, tmp_path, print_one
):
    design, fine, scan = print_one
    np.savez(tmp_path / "design.npz", height_m=design.height, spacing_m=CELL)
    save_csv(tmp_path / "scan.csv", scan)
    common = ["surface=design.npz", "max_height=2 um", "gain=1.0", "low_pass=2 um"]
    assert lab(*common, "scan=scan.csv", "y=up", "hydra.run.dir=one")[0] == 0
    found = json.loads((tmp_path / "one/metrics.json").read_text())
    # Steps between cells lie anywhere between two points: some 1e4 points on steps, each off by
    # up to half a point, leave a hundredth of a cell.
    assert math.hypot(found["shift_x_m"] - SHIFT[0], found["shift_y_m"] - SHIFT[1]) < 0.02 * CELL
    assert found["turn_rad"] == pytest.approx(TURNED, abs=5e-4)  # that at the rim of 30 cells
    assert found["scale_x"] == pytest.approx(SIZE[0], abs=5e-4)
    assert found["scale_y"] == pytest.approx(SIZE[1], abs=5e-4)
    assert found["tilt_x_rad"] == pytest.approx(TILT[0], abs=2e-5)  # 5 nm over the half side
    assert found["tilt_y_rad"] == pytest.approx(TILT[1], abs=2e-5)
    assert found["depth_scale"] == pytest.approx(DEPTH, abs=5e-3)  # steps that are smoothed
    # 3 % of the points; a cell of ten loses half of them never
    assert found["unmeasured_cells"] == 0

    made, spacing = stored(tmp_path / "one/as_made.npz")
    assert spacing == CELL
    truth = cell_means(fine)
    error = rms((made - truth)[design.clear])
    wrong = rms((truth - design.height)[design.clear])
    # Points are 2.5 um wide in cells of 8 um: those on a step belong to two cells.
    assert error < 4e-9  # 1.3 nm of noise, and as much of the steps
    assert error < 0.4 * wrong
    residual, _ = stored(tmp_path / "one/residual.npz")
    np.testing.assert_allclose(residual + design.height, made, atol=1e-15)
    assert found["residual_rms_m"] == pytest.approx(wrong, rel=0.15)

    following, _ = stored(tmp_path / "one/next.npz")
    assert following.max() <= 2e-6
    after = rms((cell_means(printed(following)) - design.height)[design.clear])
    # The closed form for slow waves leaves 1 - gain x depth = 0.04 of the error; the noise of ten
    # points a cell, 4 nm / sqrt(10), and points on steps add some 1.5 nm to the 11 nm of before.
    assert after < 0.25 * wrong

    # The second round: what was ordered is no longer the design.
    save_npz(tmp_path / "second.npz", scanned(printed(following), seed=2))
    words = [*common, "scan=second.npz", "ordered=one/next.npz", "hydra.run.dir=two"]
    assert lab(*words)[0] == 0
    last, _ = stored(tmp_path / "two/next.npz")
    third = rms((cell_means(printed(last)) - design.height)[design.clear])
    assert third < 0.25 * wrong  # at the noise already; corrections of the design itself lose it
    assert "depth 96" in (tmp_path / "one/report.html").read_text()


def test_points_that_are_missing_leave_the_design_and_are_counted(print_one):
    design, _, scan = print_one
    height = scan.height.copy()
    height[60:100, 40:80] = np.nan  # 100 x 100 um: 156 cells
    hole = Measured(height, PITCH, PITCH, "hole")
    result = compare(hole, design, max_turn=0.05, orientations="given")
    # cells of the hole's rim are measured by more than half or by less
    assert result.unmeasured_cells == pytest.approx((100 / 8) ** 2, rel=0.25)
    empty = np.isnan(result.residual)
    np.testing.assert_array_equal(result.as_made[empty], design.height[empty])


def test_a_relief_that_faces_the_sensor_was_scanned_from_behind(print_one):
    design, _, scan = print_one
    behind = Measured(scan.height[:, ::-1].copy(), PITCH, PITCH, "behind")
    result = compare(along_light(behind, "sensor"), design, max_turn=0.05, orientations="given")
    assert result.found.surface.placement.turn == pytest.approx(TURNED, abs=5e-4)
    with pytest.raises(ValueError, match="faces"):
        along_light(scan, "left")


def test_a_mask_on_levels_is_compared_with_its_levels(lab, tmp_path):
    from hardware.fabrication.levels import Levels

    drawn = design_of(heights(waves=1.3), cell=CELL)
    np.savez(tmp_path / "design.npz", height_m=drawn.height, spacing_m=CELL)
    levelled = Levels(4, 1).surface(drawn).height
    save_npz(tmp_path / "scan.npz", scanned(printed(levelled)))
    words = ["surface=design.npz", "scan=scan.npz", "max_height=2 um"]
    assert lab(*words, "levels=4", "hydra.run.dir=levels")[0] == 0
    found = json.loads((tmp_path / "levels/metrics.json").read_text())
    assert found["depth_scale"] == pytest.approx(DEPTH, abs=5e-3)
    made, _ = stored(tmp_path / "levels/as_made.npz")
    truth = cell_means(printed(levelled))
    levels_error = rms((made - truth)[drawn.clear])
    assert levels_error < 60e-9  # walls of 0.9 um, on which one point of ten is off by half


def test_the_camera_sees_the_walls_of_the_scan_and_not_mean_heights():
    """Soft walls of three wavelengths: the scan's own points come nearer to the true PSF."""
    camera = tiny_camera()
    rng = np.random.default_rng(4)
    count = camera.mask.samples
    slow = ndimage.gaussian_filter(rng.normal(size=(count, count)), 8, mode="wrap")
    design = design_of(
        (0.4 * slow / slow.std() % 1.0) * 3 * TURN, cell=CELL, diameter=camera.aperture_diameter
    )
    fine = printed(design.height)
    result = compare(
        scanned(fine, field=(190, 200), missing=0.0), design, max_turn=0.05, orientations="given"
    )
    assert result.parts == 6  # two for each of three points
    with torch.no_grad():

        def psf(height, cell):
            mask = GivenSurface(torch.from_numpy(height), cell=cell)
            return camera.replace(mask=mask).psf([REFERENCE])[0]

        truth = psf(fine, CELL / PARTS)
        seen = made_camera(camera, result).psf([REFERENCE])[0]
        means = psf(cell_means(fine), CELL)

    def off(one):
        return float((one - truth).abs().sum() / truth.sum())

    # Walls of three waves: their mean height is another phase.
    assert off(means) > 0.15
    # What is left is the width of the scan's points, 2.5 um, twice that of the blur.
    assert off(seen) < 0.3 * off(means)


def test_the_page_shows_the_camera_too(tmp_path, print_one):
    design, _, scan = print_one
    result = compare(scan, design, max_turn=0.05, orientations="given")
    correction = measured.next_heights(result, design, max_height=2e-6, gain=0.8, low_pass=4e-6)
    psf = torch.rand(3, 9, 11, generator=torch.Generator().manual_seed(0))
    seen = {
        "design": Seen(psf, {"landmark_nme": 0.0512, "reid_auc_retrained": 0.61}),
        "as_made": Seen(psf, {"landmark_nme": 0.0634, "reid_auc_retrained": 0.58}),
    }
    sheet = measured_sheet(result, design, correction, numbers(result, correction), seen)
    (tmp_path / "run").mkdir()
    page = write_sheet(tmp_path / "run", sheet, dpi=40).read_text()
    assert page.count("<img") >= 4
    text = re.sub(r'"data:[^"]*"', "", page)
    assert not re.search(r"\bnan\b|\{\{|\{%|None|TODO", text)
    found = numbers(result, correction)
    wanted = {"0.051", "0.063", "0.610", "0.580", f"{found['residual_rms_m'] * 1e9:.1f} nm rms"}
    wanted |= {f"{found['depth_scale']:.3f}", f"{found['shift_x_m'] * 1e6:.3f}"}
    assert {number for number in wanted if number not in text} == set()
    assert (tmp_path / "run/figures/psfs.png").exists()


# words, exit code, what the one line says
MISTAKES = [
    (["scan=null"], 2, "scan=<npz"),
    (["surface=null"], 2, "measured needs the design"),
    (["run=latest"], 2, "one of them"),
    (["scan=nowhere.npz"], 3, "nowhere.npz cannot be read"),
    (["scan=damaged.npz"], 3, "damaged.npz is no readable .npz"),
    (["scan=small.npz"], 3, "at least half of its area"),
    (["scan=other.npz"], 3, "does not fit"),
    (["scan=unit.npz"], 3, "906 times as much as the design"),
    (["ordered=small.npz"], 2, "give the next.npz of this design"),
    (["y=left"], 2, "y = 'left', expected down or up"),
    (["faces=up"], 2, "faces = 'up', expected object or sensor"),
    (["orientations=some"], 2, "orientations = 'some', expected given or all"),
    (["levels=6"], 2, "levels = 6"),
    (["max_turn=200 deg"], 2, "max_turn = 200 deg"),
    (["max_turn=5"], 2, "max_turn = 5"),
    (["gain=2.5"], 2, "gain = 2.5"),
    (["low_pass=4"], 2, "low_pass = 4"),
    (["max_height=0.1 um"], 2, "max_height = 0.1 um is below"),
    (["gian=1.0"], 2, "did you mean 'gain'"),
    (["pictures=1"], 2, "pictures >= 2"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory, print_one):
    design, _, scan = print_one
    place = tmp_path_factory.mktemp("files")
    np.savez(place / "design.npz", height_m=design.height, spacing_m=CELL)
    save_npz(place / "scan.npz", scan)
    save_npz(place / "small.npz", Measured(scan.height[:90, :100], PITCH, PITCH, ""))
    save_npz(place / "unit.npz", Measured(scan.height * 1e3, PITCH, PITCH, ""))
    other = ndimage.gaussian_filter(np.random.default_rng(9).normal(size=FIELD), 20)
    save_npz(place / "other.npz", Measured(other / other.std() * 3e-7, PITCH, PITCH, ""))
    (place / "damaged.npz").write_bytes((place / "scan.npz").read_bytes()[:4000])
    return place


@pytest.mark.parametrize(("words", "code", "says"), MISTAKES, ids=[w[0][0] for w in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_nothing(lab, tmp_path, files, words, code, says):
    given = {"surface": "design.npz", "scan": "scan.npz"} | dict(w.split("=", 1) for w in words)
    for key in ("surface", "scan", "ordered"):
        if given.get(key, "null") != "null":
            given[key] = str(files / given[key])
    found, _, error = lab(*(f"{k}='{v}'" if " " in v else f"{k}={v}" for k, v in given.items()))
    assert found == code, error
    assert says in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("runs/measured/*/*.npz"))
    assert not list(tmp_path.glob("runs/measured/*/report.html"))
